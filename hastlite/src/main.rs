//! hastlite(8): which process this is, the flags, and the way to the background.

use hastlite::args::{self, Args};
use hastlite::config::this_node::this_node;
use hastlite::{USER, conf, listener, parent, worker};
use std::process::ExitCode;
use supervise::logger::{self, Destination};
use supervise::{daemon, role};

/// Every process that this program can be besides the parent: the end of its title and where it
/// starts. A worker's title has the name of its resource in the middle.
const PROCESSES: &[(&str, Process)] = &[
    (": listener", listener::run),
    (" (primary)", worker::run),
    (" (secondary)", worker::run),
    (parent::HOOKS, || prefork::hooks::run(USER, "hastlite")),
];

/// Runs until there is nothing left to do; the error is why it ended.
type Process = fn() -> Result<(), String>;

/// sysexits(3).
const WRONG: u8 = 64;
const OSERR: u8 = 71;

fn main() -> ExitCode {
    if let Some(title) = role() {
        return match PROCESSES.iter().find(|(end, _)| title.ends_with(end)) {
            Some((_, process)) => ended(process()),
            None => ended(Err(format!("there is no process \"{title}\""))),
        };
    }
    if let Some(said) = supervise::about("hastlite", args::USAGE) {
        return said;
    }
    if let Err(error) = daemon::close_inherited() {
        eprintln!("hastlite: close inherited descriptors: {error}");
        return ExitCode::from(OSERR);
    }
    let args = match args::parse(std::env::args_os().skip(1)) {
        Ok(args) if args.help => {
            println!("{}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Ok(args) => args,
        Err(wrong) => {
            eprintln!("hastlite: {wrong}\n{}", args::USAGE);
            return ExitCode::from(WRONG);
        }
    };
    start(&args)
}

/// A process that ends for a reason says so at LOG_CRIT.
fn ended(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => logger::fatal(format_args!("{reason}")),
    }
}

/// Everything that can be wrong with what the administrator wrote is found here, on the terminal.
fn start(args: &Args) -> ExitCode {
    let failed = |code: u8, why: &dyn std::fmt::Display| {
        eprintln!("hastlite: {why}");
        ExitCode::from(code)
    };
    let node = match this_node() {
        Ok(node) => node,
        Err(error) => return failed(OSERR, &format_args!("who this node is: {error}")),
    };
    let config = match conf::load(&args.config, &node) {
        Ok((config, notes)) => {
            notes.iter().for_each(|note| eprintln!("{note}"));
            config
        }
        Err(wrong) => {
            eprintln!("{wrong}");
            return ExitCode::from(wrong.exit_code());
        }
    };
    if args.check {
        eprintln!("{}: OK", args.config.display());
        return ExitCode::SUCCESS;
    }
    if !nix::unistd::geteuid().is_root() {
        return failed(OSERR, &"must be started as root: it opens disks and changes users");
    }
    let (destination, readiness) = if args.foreground {
        (Destination::Stderr, daemon::foreground())
    } else {
        match daemon::background() {
            Ok(readiness) => (Destination::Syslog, readiness),
            Err(error) => return failed(OSERR, &format_args!("go to the background: {error}")),
        }
    };
    if let Err(error) = logger::init(destination, "hastlite", args.debug > 0) {
        return failed(OSERR, &error);
    }
    let path = std::path::absolute(&args.config).unwrap_or_else(|_| args.config.clone());
    match parent::run(&path, config, readiness) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            if !args.foreground {
                eprintln!("hastlite: {reason}");
            }
            log::error!("{reason}");
            log::logger().flush();
            ExitCode::from(OSERR)
        }
    }
}
