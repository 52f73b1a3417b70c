//! What is asked for over the control socket, and done.

use proto::unix::Peer;
use supervise::attribution::{Confidence, Seen, Target, Via, Witness};
use supervise::control::{Reply, Request, Status};
use supervise::{Moment, Sender, signal_name};

use super::control::Asker;
use super::{Over, Run, wall};

impl Run<'_> {
    /// Does what has been asked for since the last time.
    pub fn requests(&mut self) {
        let Some(control) = &mut self.control else { return };
        for (request, peer, asker) in control.read() {
            match request {
                Request::Status => asker.reply(&Reply::Status(self.status())),
                Request::Signal(number) => {
                    let reply = self.send(number, peer);
                    asker.reply(&reply);
                }
                Request::Stop => {
                    log::info!("{peer} asks for an end");
                    self.end(peer, false);
                    self.leaving.push(asker.keep(&Reply::Done));
                }
                Request::Restart => self.restart(peer, asker),
            }
        }
    }

    /// Passes on what somebody asks for, signals among it that we could not be sent ourselves.
    fn send(&mut self, number: i32, peer: Peer) -> Reply {
        let Some(main) = &self.main else {
            return Reply::Refused(format!("{} does not run now", self.reporter.unit()));
        };
        let pid = main.id.pid;
        log::info!("{peer} asks for {} to pid {pid}", signal_name(number));
        self.reporter.passed_on(asked(number, peer, self.us), pid);
        log::logger().flush();
        match main.running.kill(number) {
            Ok(()) => Reply::Done,
            Err(error) => Reply::Refused(error.to_string()),
        }
    }

    fn restart(&mut self, peer: Peer, asker: Asker) {
        if self.stop.is_some_and(|stop| !stop.again) {
            return asker.reply(&Reply::Refused(format!("{} is ending", self.reporter.unit())));
        }
        log::info!("{peer} asks for a restart");
        self.askers.push(asker);
        match self.main {
            Some(_) => self.end(peer, true),
            // It waits to be started again: now is as good.
            None if self.due.is_some() => {
                self.restarts.asked();
                self.due = Some(std::time::Instant::now());
            }
            // Its rest is being waited for.
            None => self.stop(true),
        }
    }

    /// Asks the command to end.
    fn end(&mut self, peer: Peer, again: bool) {
        if let Reply::Refused(why) = self.send(libc::SIGTERM, peer) {
            log::debug!("{why}");
        }
        match (&self.main, &self.rest) {
            (None, None) => {
                let exit = supervise::Exit::Signaled { signal: libc::SIGTERM, core: false };
                self.over = Some(Over::Like(exit));
            }
            _ => self.stop(again),
        }
    }

    fn status(&self) -> Status {
        let state = match (&self.main, self.stop) {
            (Some(_), None) => "running",
            (None, None) if self.due.is_some() => "waiting",
            _ => "ending",
        };
        let words = self.options.words.clone();
        let line = Sender { command: Some(words), ..Sender::of(0) }.command_line();
        Status {
            name: self.reporter.unit().to_owned(),
            state: state.to_owned(),
            supervisor: self.us,
            pid: self.main.as_ref().map(|main| main.id.pid),
            since: self.main.as_ref().map_or(0, |main| wall(main.id.start) / 1000),
            restarts: self.restarts.total(),
            members: self.container.members().into_iter().map(|(pid, _)| pid).collect(),
            ready: self.readying.ready(),
            last_end: self.last.map(|exit| exit.to_string()),
            command: line.unwrap_or_default(),
        }
    }
}

/// A request for a signal, as a witness says it.
fn asked(signal: i32, peer: Peer, us: i32) -> Seen {
    let sender = peer
        .pid
        .filter(|pid| *pid > 0)
        .map(|pid| Sender { uid: Some(peer.uid), ..Sender::look_up(pid) });
    Seen {
        at: Moment::now(),
        signal,
        via: Via::Request,
        target: Target { pid: us, tid: us },
        sender,
        confidence: Confidence::Reported,
        witness: Witness::Wrapper,
    }
}
