//! supervise(8), which can be put before any command: see `command.rs`.

mod command;

fn main() -> std::process::ExitCode {
    command::main()
}
