//! A program that is worth starting only once: it reads a dictionary before it can answer the first
//! question. Each call is asked for words and exits 1 if one of them is unknown.
//!
//! ```sh
//! cargo build --release -p prefork --example prefork-example
//! prefork-interp -U target/release/examples/prefork-example /usr/share/dict/words apple
//! prefork-interp -U target/release/examples/prefork-example /usr/share/dict/words appel
//! ```
//!
//! The second call is answered by the server that the first one has left, until the dictionary or
//! the program changes. Started without `prefork-interp`, it answers as well, and is gone.

use std::collections::HashSet;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use prefork::{Call, Options, serve};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    // The script is the same for all calls of a server, as the hash of the socket's name has it.
    let path = std::env::args_os().nth(1).map(PathBuf::from).ok_or("which dictionary?")?;
    let text = std::fs::read_to_string(&path)?;
    let known: HashSet<&str> = text.lines().collect();

    let options = Options { autoreload_extra: vec![path], ..Options::default() };
    Ok(serve(&options, |call| answer(&known, &call))?)
}

/// The part that runs once a call, in a process of its own.
fn answer(known: &HashSet<&str>, call: &Call) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for word in call.args() {
        if !word.to_str().is_some_and(|word| known.contains(word)) {
            println!("{}: unknown", word.display());
            code = ExitCode::FAILURE;
        }
    }
    code
}
