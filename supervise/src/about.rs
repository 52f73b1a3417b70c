//! What a program says of itself when its first word asks for nothing else: how it is used, and which
//! version it is. The words are those that most programs of Linux know; whatever follows is ignored.

use std::io::{self, Write};
use std::process::ExitCode;

/// Answers `-h`, `--help`, `-V` and `--version` on standard output; `None` if the first word is none
/// of these. The version is that of all our programs, which are released together.
pub fn about(program: &str, usage: &str) -> Option<ExitCode> {
    let word = std::env::args_os().nth(1)?;
    let text = match word.to_str()? {
        "-h" | "--help" => usage.to_owned(),
        "-V" | "--version" => format!("{program} {}", env!("CARGO_PKG_VERSION")),
        _ => return None,
    };
    // Somebody who closed it does not want to know.
    let said = writeln!(io::stdout(), "{text}");
    Some(if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
