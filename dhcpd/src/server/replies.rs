//! Replies on their way out: each to the wire it belongs to, many by one system call.

use crate::engine::{Actions, Destination, Reply};
use crate::link::{Link, OutFrame};
use crate::socket::Sent;
use crate::udp::{Outgoing, Udp};
use std::sync::atomic::{AtomicU64, Ordering};

/// Messages that the system did not take: this is the one process that sends any.
static UNSENT: AtomicU64 = AtomicU64::new(0);

/// How many messages the system did not take.
pub fn unsent() -> u64 {
    UNSENT.load(Ordering::Relaxed)
}

/// Sends the replies of a batch: those that had to wait for the disk, or the others.
pub fn send(links: &mut [Link], udp: &mut Udp, indexes: &[u32], actions: &Actions, durable: bool) {
    let replies = || actions.replies.iter().filter(|reply| reply.durable == durable);
    if replies().next().is_none() {
        return;
    }
    for (number, link) in links.iter_mut().enumerate() {
        let frames = replies().filter_map(|reply| match reply.destination {
            Destination::Link { interface, mac, address, port } if interface == number => {
                Some(OutFrame {
                    mac,
                    source: reply.source,
                    dest: address,
                    dest_port: port,
                    payload: payload(actions, reply),
                })
            }
            _ => None,
        });
        report(link.send(frames));
    }
    let routed = replies().filter_map(|reply| match reply.destination {
        Destination::Udp { interface, address, port } => Some(Outgoing {
            interface: interface.and_then(|number| indexes.get(number).copied()),
            source: reply.source,
            dest: address,
            dest_port: port,
            payload: payload(actions, reply),
        }),
        Destination::Link { .. } => None,
    });
    report(udp.send(routed));
}

fn payload<'a>(actions: &'a Actions, reply: &Reply) -> &'a [u8] {
    actions.arena.get(reply.bytes.clone()).unwrap_or_default()
}

/// A message that could not leave is like one lost on the wire: the client asks again.
pub fn report(sent: Sent) {
    if let Some(error) = sent.error {
        UNSENT.fetch_add(sent.failed as u64, Ordering::Relaxed);
        log::error!("{} messages not sent: {error}", sent.failed);
    }
}
