//! supervise(8): what was asked for, and where it is done. What it is made of is the library's.

pub mod args;
mod ask;
mod ending;
mod run;
mod terminal;
mod track;

use std::process::ExitCode;

use args::Wanted;

/// The code for a command line that makes no sense.
const USAGE: u8 = 2;

/// The code for a failure of our own, as env(1) and timeout(1) have it.
const OURS: u8 = 125;

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let wanted = match args::parse(std::env::args_os().skip(1)) {
        Ok(wanted) => wanted,
        Err(wrong) => {
            eprintln!("supervise: {wrong}");
            return ExitCode::from(USAGE);
        }
    };
    match wanted {
        Wanted::Help => {
            println!("{}", args::HELP);
            ExitCode::SUCCESS
        }
        Wanted::Run(options) => run::run(&options),
        Wanted::Ask(request) => ask::ask(&request),
        Wanted::Track(wanted) => track::track(&wanted),
    }
}
