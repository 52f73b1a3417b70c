//! dhcpd(8): which process this is, the flags, and the way to the background.

use dhcpd::args::{self, Args};
use dhcpd::conf::{self, SystemSources};
use dhcpd::{USER, doubts, hooks, parent, resolver, server, sync};
use std::path::Path;
use std::process::ExitCode;
use supervise::logger::{self, Destination};
use supervise::{daemon, role};

/// Every process that this program can be besides the parent: its title and where it starts.
const PROCESSES: &[(&str, Process)] = &[
    (parent::SERVER, server::run),
    (hooks::TITLE, || prefork::hooks::run(USER, "dhcpd")),
    (resolver::TITLE, resolver::run),
];

/// Runs until there is nothing left to do; the error is why it ended.
type Process = fn() -> Result<(), String>;

fn main() -> ExitCode {
    if let Some(title) = role() {
        return match PROCESSES.iter().find(|(name, _)| *name == title) {
            Some((_, process)) => ended(process()),
            None => ended(Err(format!("there is no process \"{title}\""))),
        };
    }
    if let Some(said) = supervise::about("dhcpd", args::USAGE) {
        return said;
    }
    if let Err(error) = daemon::close_inherited() {
        eprintln!("dhcpd: close inherited descriptors: {error}");
        return ExitCode::FAILURE;
    }
    let args = match args::parse(std::env::args_os().skip(1)) {
        Ok(args) => args,
        Err(wrong) => {
            eprintln!("dhcpd: {wrong}\n{}", args::USAGE);
            return ExitCode::FAILURE;
        }
    };
    ended(start(args))
}

/// A process that ends for a reason says so at LOG_CRIT.
fn ended(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => logger::fatal(format_args!("{reason}")),
    }
}

/// Everything that can be wrong with what the administrator wrote is found here, on the terminal.
fn start(mut args: Args) -> Result<(), String> {
    let doubts = doubts::about(&args);
    if args.check || !args.foreground {
        doubts.iter().for_each(|doubt| eprintln!("dhcpd: warning: {doubt}"));
    }
    let mut sources = SystemSources::new();
    let name = args.config.display().to_string();
    let read = conf::load(&name, &mut sources);
    let differences = if args.check { conf::differences(&name, &mut sources) } else { Vec::new() };
    let config = match read {
        Ok((config, notes)) => {
            notes.iter().for_each(|note| eprintln!("{}", note.render()));
            config
        }
        Err(wrong) => {
            wrong.iter().chain(&differences).for_each(|said| eprintln!("{}", said.render()));
            return Err("Configuration file errors encountered".to_owned());
        }
    };
    if args.check {
        differences.iter().for_each(|note| eprintln!("{}", note.render()));
        eprintln!("{}: OK", args.config.display());
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("must be started as root: it opens packet sockets and port 67".to_owned());
    }
    let (listening, first) = parent::Listening::start(&args.interfaces, args.udp, &config)?;
    let sync = sync::open::open(&args.sync_targets, args.sync_listen.as_deref())?;
    if args.leases == Path::new(args::LEASES)
        && let Some(folder) = args.leases.parent()
    {
        // Not every system has it, and nobody asked for another place.
        std::fs::create_dir_all(folder).map_err(|e| format!("create {}: {e}", folder.display()))?;
    }
    // In the background the working directory is another one.
    let base = std::env::current_dir().map_err(|e| format!("find the working directory: {e}"))?;
    args.leases = std::path::absolute(&args.leases)
        .map_err(|e| format!("find {}: {e}", args.leases.display()))?;
    if let args::Control::At(path) = &mut args.control {
        *path = std::path::absolute(&path).map_err(|e| format!("find {}: {e}", path.display()))?;
    }

    let (destination, readiness) = if args.foreground {
        (Destination::Stderr, daemon::foreground())
    } else {
        let readiness = daemon::background().map_err(|e| format!("go to the background: {e}"))?;
        (Destination::Syslog, readiness)
    };
    logger::init(destination, "dhcpd", args.verbose).map_err(|e| e.to_string())?;
    // Where nobody sits at the terminal too.
    doubts.iter().for_each(|doubt| log::warn!("{doubt}"));
    let sources = sources.into_recorded().encode();
    let reload = parent::Reload::new(&args, base, config, listening, readiness.notifier());
    let service = parent::Service { args: &args, sources: &sources, first, reload, sync };
    let result = parent::run(service, readiness);
    if let Err(reason) = &result
        && !args.foreground
    {
        eprintln!("dhcpd: {reason}");
    }
    result
}
