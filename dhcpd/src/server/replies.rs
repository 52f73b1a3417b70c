//! Replies on their way out: each to the wire it belongs to, many by one system call.
//!
//! The server sends what may leave at once, the journal's thread what had to be on disk before.

use crate::engine::{Actions, Destination, Interface, Reply};
use crate::link::{Link, OutFrame, Wire};
use crate::socket::Sent;
use crate::udp::{Outgoing, Port, Udp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Messages that the system did not take: this is the one process that sends any.
static UNSENT: AtomicU64 = AtomicU64::new(0);

/// How many messages the system did not take.
pub fn unsent() -> u64 {
    UNSENT.load(Ordering::Relaxed)
}

/// The ways out, under the numbers that the engine's interfaces have at the time. When those change
/// there are others; a reply that waits leaves by those it was meant for.
pub struct Wires {
    links: Vec<Arc<Wire>>,
    /// The system's indexes of the links' interfaces, in the same order.
    indexes: Vec<u32>,
    udp: Arc<Port>,
}

impl Wires {
    /// Takes the links in the order of the engine's interfaces.
    pub fn new(links: &[Link], udp: &Udp, interfaces: &[Interface]) -> Arc<Wires> {
        Arc::new(Wires {
            links: links.iter().map(|link| Arc::clone(link.wire())).collect(),
            indexes: interfaces.iter().map(|interface| interface.index).collect(),
            udp: Arc::clone(udp.port()),
        })
    }

    /// The system's indexes of the interfaces that packet sockets read.
    pub fn indexes(&self) -> &[u32] {
        &self.indexes
    }

    /// Sends the replies of batches: those that had to wait for the disk, or the others.
    pub fn send<'a, B>(&self, batches: B, durable: bool)
    where
        B: IntoIterator<Item = &'a Actions, IntoIter: Clone>,
    {
        let batches = batches.into_iter();
        let replies = || {
            let of = |actions: &'a Actions| actions.replies.iter().map(move |it| (actions, it));
            batches.clone().flat_map(of).filter(|(_, reply)| reply.durable == durable)
        };
        if replies().next().is_none() {
            return;
        }
        for (number, link) in self.links.iter().enumerate() {
            let frames = replies().filter_map(|(actions, reply)| match reply.destination {
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
        let routed = replies().filter_map(|(actions, reply)| match reply.destination {
            Destination::Udp { interface, address, port } => Some(Outgoing {
                interface: interface.and_then(|number| self.indexes.get(number).copied()),
                source: reply.source,
                dest: address,
                dest_port: port,
                payload: payload(actions, reply),
            }),
            Destination::Link { .. } => None,
        });
        report(self.udp.send(routed));
    }
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
