//! hastctl(8): looks after the resources of this node. All that it does is in the library's `ctl`.

use hastlite::ctl::args::USAGE;
use hastlite::ctl::watch::Screen;
use hastlite::ctl::{Output, run};
use std::io::{self, IsTerminal};
use std::process::ExitCode;

/// Columns of a terminal that does not tell.
const WIDTH: usize = 80;

fn main() -> ExitCode {
    if let Some(said) = supervise::about("hastctl", USAGE) {
        return said;
    }
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    let width = terminal::columns(&out).unwrap_or(WIDTH);
    let screen = Screen { terminal: out.is_terminal(), width };
    let mut output = Output { out: &mut out, err: &mut err, screen };
    ExitCode::from(run(std::env::args_os().skip(1), &mut output))
}

mod terminal {
    //! What a terminal tells of itself.

    use std::os::fd::{AsFd, AsRawFd};

    nix::ioctl_read_bad!(window_size, libc::TIOCGWINSZ, libc::winsize);

    /// How wide it is; nothing of what is none.
    pub fn columns(fd: &impl AsFd) -> Option<usize> {
        let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the descriptor is open as long as it is borrowed, and the call writes one winsize.
        let told = unsafe { window_size(fd.as_fd().as_raw_fd(), &mut size) };
        told.ok().map(|_| usize::from(size.ws_col)).filter(|width| *width > 0)
    }
}
