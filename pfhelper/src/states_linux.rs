//! Killing the states of an address on Linux: conntrack's entries are listed and those with the
//! address at any of their four ends deleted.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use crate::conntrack::{self, PLACES, Place};
use crate::netlink::{Failure, Netlink, refused};
use crate::nlmsg::{Meaning, Request};

/// For so many addresses the kernel is asked for their entries only; each asks it four times to
/// walk its table. For more, all entries are listed once and looked through here.
const FILTERED: usize = 4;
/// Deletions in one call.
const DELETIONS: usize = 128;

/// Deletes every entry from or to the addresses; returns how many there were.
///
/// A kernel without conntrack has no states, so there is nothing to do and that is no failure.
///
/// # Errors
/// What failed first; what could be deleted was.
pub fn kill(netlink: &mut Netlink, addresses: &[Ipv4Addr]) -> Result<usize, Failure> {
    let wanted: HashSet<Ipv4Addr> = addresses.iter().copied().collect();
    if wanted.len() > FILTERED {
        return pass(netlink, &wanted, None);
    }
    let mut count = 0;
    for &address in &wanted {
        // What one pass has deleted, the next does not meet.
        for place in PLACES {
            count += pass(netlink, &wanted, Some((place, address)))?;
        }
    }
    Ok(count)
}

fn pass(
    netlink: &mut Netlink,
    wanted: &HashSet<Ipv4Addr>,
    only: Option<(Place, Ipv4Addr)>,
) -> Result<usize, Failure> {
    let mut deletions: Vec<Request> = Vec::new();
    let mut count = 0;
    let seq = netlink.number();
    let told = netlink.list(
        |out, seq| conntrack::list(out, seq, only),
        |message| {
            if let Some(entry) = conntrack::parse(message)?
                && entry.addresses.iter().any(|address| wanted.contains(address))
            {
                if count % DELETIONS == 0 {
                    deletions.push(Request::default());
                }
                count += 1;
                if let Some(request) = deletions.last_mut() {
                    conntrack::delete(request, seq, &entry);
                }
            }
            Ok(())
        },
    );
    match told {
        Ok(()) | Err(Failure::Interrupted) => {}
        Err(failure) if failure.is(libc::EINVAL) && !exists(netlink) => return Ok(0),
        Err(failure) => return Err(failure),
    }
    let mut verdict = Ok(());
    for request in &deletions {
        // Only failures are answered.
        netlink.exchange(request, |message| {
            if message.seq == seq
                && let Meaning::Failed { errno, text } = message.meaning()?
                && errno != libc::ENOENT // it has ended by itself
                && verdict.is_ok()
            {
                verdict = Err(refused(errno, text));
            }
            Ok(())
        })?;
    }
    verdict.map(|()| count)
}

/// Whether there is a conntrack at all.
fn exists(netlink: &mut Netlink) -> bool {
    !netlink.ask(conntrack::get_statistics, |_| Ok(())).is_err_and(|e| e.is(libc::EINVAL))
}
