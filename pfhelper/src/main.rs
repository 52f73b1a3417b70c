//! pfhelper(8): the pf table handler of dhcpd(8).
//!
//! It is the one process with a right to the firewall, and has no other right. It is started by
//! dhcpd's parent, told once which tables to keep, and from then on changes them as the server
//! says, until one of its channels ends.

#[cfg_attr(target_os = "netbsd", allow(dead_code, reason = "no firewall to change there"))]
mod changes;
#[cfg(not(target_os = "netbsd"))]
mod complaint;
mod handler;

#[cfg_attr(target_os = "linux", path = "firewall_linux.rs")]
#[cfg_attr(any(target_os = "freebsd", target_os = "openbsd"), path = "firewall_pf.rs")]
#[cfg_attr(target_os = "netbsd", path = "firewall_netbsd.rs")]
mod firewall;

#[cfg(target_os = "linux")]
mod conntrack;
#[cfg(target_os = "linux")]
#[path = "kept_linux.rs"]
mod kept;
#[cfg(target_os = "linux")]
mod netlink;
#[cfg(target_os = "linux")]
mod nft;
#[cfg(target_os = "linux")]
mod nlmsg;
#[cfg(target_os = "linux")]
#[path = "states_linux.rs"]
mod states;

#[cfg(any(test, target_os = "freebsd"))]
mod nvlist;
#[cfg(any(test, target_os = "freebsd", target_os = "openbsd"))]
#[allow(dead_code, reason = "each system uses its own part")]
mod pf;

#[cfg_attr(target_os = "netbsd", allow(dead_code, reason = "no firewall to change there"))]
mod standing;
#[cfg(any(test, target_os = "freebsd", target_os = "openbsd"))]
mod tally;

#[cfg_attr(target_os = "linux", path = "rights_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "rights_bsd.rs")]
mod rights;

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use pfhelper::{FromParent, ToParent};
use proto::unix::{Channel, Error};
use supervise::logger;

use firewall::Firewall;
use handler::{Handler, ParentChannel};

/// Whom the handler becomes.
const USER: &str = "_dhcp";

/// What somebody is told who starts it by hand.
const USAGE: &str = "this is dhcpd's pf table handler; dhcpd -A, -C or -L starts it";

fn main() -> ExitCode {
    if supervise::role().is_none() {
        if let Some(said) = supervise::about("pfhelper", USAGE) {
            return said;
        }
        eprintln!("pfhelper: {USAGE}");
        return ExitCode::FAILURE;
    }
    supervise::leave_signals_to_parent();
    if let Err(error) = logger::inherit("dhcpd") {
        eprintln!("pfhelper: {error}");
        return ExitCode::FAILURE;
    }
    match supervise::inherited_channel() {
        Ok(channel) => logger::fatal(format_args!("{}", work(channel))),
        Err(error) => logger::fatal(format_args!("{error}")),
    }
}

/// All of it, from the channel to the end: why it ended, which is never a success.
fn work(channel: OwnedFd) -> String {
    let parent: ParentChannel = match Channel::from_fd(channel) {
        Ok(parent) => parent,
        Err(error) => return error.to_string(),
    };
    match start_up(&parent) {
        Ok(firewall) => match parent.send(&ToParent::Ready) {
            Ok(()) => of_channel(&Handler::new(parent, firewall).run()),
            Err(error) => of_channel(&error),
        },
        Err(reason) => {
            // Nobody may be there any more to hear it; then the log is.
            let _ = parent.send(&ToParent::Refused(reason.clone()));
            reason
        }
    }
}

/// The end of a channel in the words that people look for, anything else as it is.
fn of_channel(error: &Error) -> String {
    match error {
        Error::Closed => "pf channel closed".to_owned(),
        error => format!("pf channel: {error}"),
    }
}

/// The firewall, opened as root; then all rights but those to it given up; then looked at with
/// what is left.
fn start_up(parent: &ParentChannel) -> Result<Firewall, String> {
    let identity = supervise::user(USER).map_err(|error| error.to_string())?;
    let mut firewall = Firewall::open()?;
    rights::give_up(&identity).map_err(|error| error.to_string())?;
    match parent.recv() {
        Ok(FromParent::Setup { tables, element_timeout }) => {
            firewall.set_up(&tables, element_timeout)?;
            Ok(firewall)
        }
        Ok(FromParent::Commands(_)) => Err("pf channel: a server before the set-up".to_owned()),
        Err(error) => Err(of_channel(&error)),
    }
}
