//! Around a secondary's engine: what its worker does in the daemon.

use super::Sim;
use super::net::{Message, Way};
use super::node::Process;
use crate::engine::{SecondaryAction, SecondaryInput};

impl Sim {
    pub(super) fn tell_secondary(&mut self, node: usize, input: SecondaryInput) {
        let Process::Secondary(engine) = &mut self.nodes[node].process_kind else { return };
        let mut out = std::mem::take(&mut self.secondary_out);
        engine.on(input, self.now, &mut out);
        let process = self.nodes[node].process;
        for action in out.drain(..) {
            if self.nodes[node].process == process {
                self.secondary_acts(node, action);
            }
        }
        self.secondary_out = out;
        self.wake(node);
    }

    pub(super) fn secondary_hears(&mut self, node: usize, id: u64, message: Message) {
        match message {
            Message::Handshake(message) => {
                self.tell_secondary(node, SecondaryInput::Handshake(id, message));
            }
            Message::Request(request) => {
                if self.nodes[node].link.is_some_and(|link| link.0 == id) {
                    self.tell_secondary(node, SecondaryInput::Request(request));
                }
            }
            Message::End => {
                if self.nodes[node].link.is_some_and(|link| link.0 == id || link.1 == id) {
                    self.nodes[node].link = None;
                }
                let why = "closed by the other node".to_owned();
                self.tell_secondary(node, SecondaryInput::Lost(id, why));
            }
            Message::Reply(_) => {}
        }
    }

    fn secondary_acts(&mut self, node: usize, action: SecondaryAction) {
        match action {
            SecondaryAction::Io(token, io) => self.io_begins(node, token, io),
            SecondaryAction::Handshake(id, message) => {
                self.send(id, Way::Back, Message::Handshake(message));
            }
            SecondaryAction::Link(c1, c2) => self.nodes[node].link = Some((c1, c2)),
            SecondaryAction::Reply(reply) => {
                if let Some((_, c2)) = self.nodes[node].link {
                    self.send(c2, Way::Back, Message::Reply(reply));
                }
            }
            SecondaryAction::Close(id) => {
                if self.nodes[node].link.is_some_and(|link| link.0 == id || link.1 == id) {
                    self.nodes[node].link = None;
                }
                self.send(id, Way::Back, Message::End);
                self.net.deafen(id, Way::There);
            }
            SecondaryAction::Tell(happening) => self.told(node, &happening),
            SecondaryAction::Stopped => self.stopped(node),
        }
    }
}
