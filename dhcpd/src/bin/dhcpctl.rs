//! dhcpctl(8): asks a running dhcpd(8). All that it does is in the library's `ctl`.

use dhcpd::ctl::args::USAGE;
use dhcpd::ctl::{Output, run};
use std::io::{self, BufWriter};
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(said) = supervise::about("dhcpctl", USAGE) {
        return said;
    }
    let (mut out, mut err) = (BufWriter::new(io::stdout().lock()), io::stderr().lock());
    let mut output = Output { out: &mut out, err: &mut err };
    ExitCode::from(run(std::env::args_os().skip(1), &mut output))
}
