//! The network: connections, each a pair of streams that keep their order. What is under way when a
//! connection is cut arrives in part: any number of whole messages, and of the next one a piece
//! that the receiver's decoder makes nothing of.

use crate::wire::hello::Handshake;
use crate::wire::request::{Reply, Request};
use std::collections::{BTreeMap, VecDeque};

/// What goes over a connection.
#[derive(Clone, Debug)]
pub enum Message {
    /// Either way.
    Handshake(Handshake),
    /// To the secondary, on C1.
    Request(Request),
    /// To the primary, on C2.
    Reply(Reply),
    /// The other end has closed it, or it was cut.
    End,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the node that listens.
    There = 0,
    /// To the node that connected.
    Back = 1,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// The node that opened it, and its process.
    pub from: (usize, u32),
    /// The process that it was given to at the other end.
    pub to: u32,
    /// What is under way, and when the last of it arrives.
    ways: [(VecDeque<Message>, u64); 2],
    /// Nothing is delivered any more that way.
    closed: [bool; 2],
    /// Nothing more is sent that way.
    ended: [bool; 2],
}

/// All of them.
#[derive(Debug, Default)]
pub struct Net {
    connections: BTreeMap<u64, Connection>,
    count: u64,
    /// Nothing gets through until then.
    pub blocked: u64,
}

impl Net {
    /// A new one.
    pub fn open(&mut self, from: (usize, u32), to: u32) -> u64 {
        self.count += 1;
        let ways = [(VecDeque::new(), 0), (VecDeque::new(), 0)];
        self.connections.insert(
            self.count,
            Connection { from, to, ways, closed: [false; 2], ended: [false; 2] },
        );
        self.count
    }

    /// One that is there.
    pub fn get(&mut self, id: u64) -> Option<&mut Connection> {
        self.connections.get_mut(&id)
    }

    /// Puts a message on its way; when it arrives.
    pub fn send(&mut self, id: u64, way: Way, message: Message, at: u64) -> Option<u64> {
        let blocked = self.blocked;
        let connection = self.connections.get_mut(&id)?;
        if connection.closed[way as usize] || connection.ended[way as usize] {
            return None;
        }
        connection.ended[way as usize] = matches!(message, Message::End);
        let (queue, last) = &mut connection.ways[way as usize];
        queue.push_back(message);
        *last = at.max(*last).max(blocked);
        Some(*last)
    }

    /// What arrives next.
    pub fn arrives(&mut self, id: u64, way: Way) -> Option<Message> {
        let connection = self.connections.get_mut(&id)?;
        if connection.closed[way as usize] {
            return None;
        }
        let message = connection.ways[way as usize].0.pop_front()?;
        if matches!(message, Message::End) {
            connection.closed[way as usize] = true;
        }
        Some(message)
    }

    /// An end hears nothing any more.
    pub fn deafen(&mut self, id: u64, way: Way) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.closed[way as usize] = true;
            connection.ways[way as usize].0.clear();
            if connection.closed == [true; 2] {
                self.connections.remove(&id);
            }
        }
    }

    /// Nothing more is sent, and nobody is told.
    pub fn silence(&mut self, id: u64, way: Way) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.ended[way as usize] = true;
        }
    }

    /// Whether nobody takes anything from it at that end.
    pub fn is_deaf(&self, id: u64, way: Way) -> bool {
        self.connections.get(&id).is_some_and(|c| c.closed[way as usize])
    }

    /// The end of one that was silenced.
    pub fn reset(&mut self, id: u64, way: Way) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.ways[way as usize].0.push_back(Message::End);
        }
    }

    /// How many messages are under way.
    pub fn under_way(&self, id: u64, way: Way) -> usize {
        self.connections.get(&id).map_or(0, |c| c.ways[way as usize].0.len())
    }

    /// Cuts what is under way behind the first `keep` messages; those that are lost.
    pub fn cut(&mut self, id: u64, way: Way, keep: usize) -> Vec<Message> {
        let Some(connection) = self.connections.get_mut(&id) else { return Vec::new() };
        // Also if the end was under way already: it has to be told once more.
        connection.ended[way as usize] = false;
        let queue = &mut connection.ways[way as usize].0;
        let keep = keep.min(queue.len());
        queue.split_off(keep).into()
    }

    /// All of them.
    pub fn all(&self) -> Vec<u64> {
        self.connections.keys().copied().collect()
    }
}
