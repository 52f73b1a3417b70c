//! Signals that are sent to us, and are meant for the command.

use std::time::Instant;

use supervise::{Exit, Moment, Origin, Signal, signal_name};

use super::{Over, Run, Stop, text};

impl Run<'_> {
    /// Reads what has come, and passes on what is to be passed on.
    pub fn read_signals(&mut self) -> Result<(), String> {
        while let Some(signal) = self.signals.read().map_err(text)? {
            if signal.number != libc::SIGCHLD {
                self.signal(&signal);
            }
        }
        Ok(())
    }

    fn signal(&mut self, signal: &Signal) {
        let number = signal.number;
        let Some(main) = &mut self.main else {
            log::info!("{signal}");
            return self.nobody_there(number);
        };
        main.look_again();
        let pid = main.id.pid;
        if number == libc::SIGCONT {
            return self.terminal.continued(pid);
        }
        if self.has_it_already(signal) {
            log::info!("{signal}, which pid {pid} has got as well");
        } else {
            // The record comes first: whatever the signal does, who sent it is known.
            let seen = signal.seen(self.us, Moment::now());
            self.hear(&[pid]);
            let seen = self.reporter.passed_on(seen, pid);
            match &seen.sender {
                Some(sender) => {
                    log::info!("{} from {sender}; passing it on to pid {pid}", signal_name(number));
                }
                None => log::info!("{signal}; passing it on to pid {pid}"),
            }
            log::logger().flush();
            let main = self.main.as_ref();
            if let Some(Err(error)) = main.map(|main| main.running.kill(number)) {
                log::error!("{error}");
            }
        }
        if matches!(number, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT) {
            self.stop(false);
        }
    }

    /// The command is to end, and has been told. `again`: to be started anew.
    pub fn stop(&mut self, again: bool) {
        let deadline = self.options.stop_timeout.map(|patience| Instant::now() + patience);
        let deadline = self.stop.and_then(|stop| stop.deadline).or(deadline);
        self.stop = Some(Stop { deadline, again });
    }

    /// The command has had its time.
    pub fn insist(&mut self, now: Instant) {
        let Some(stop) = &mut self.stop else { return };
        if stop.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        stop.deadline = None;
        if let Some(main) = &self.main {
            let (unit, pid) = (self.reporter.unit(), main.id.pid);
            log::warn!("{unit} (pid {pid}) has not ended in time; sending SIGKILL");
            self.reporter.sent(libc::SIGKILL, pid);
            log::logger().flush();
            if let Err(error) = main.running.kill(libc::SIGKILL) {
                log::error!("{error}");
            }
        }
    }

    /// A key on the terminal is for the whole group, and the command is in ours.
    fn has_it_already(&self, signal: &Signal) -> bool {
        let key =
            matches!(signal.number, libc::SIGINT | libc::SIGQUIT | libc::SIGTSTP | libc::SIGWINCH);
        key && signal.origin == Origin::Kernel && self.terminal.is_shared()
    }

    /// A signal between two starts of the command.
    fn nobody_there(&mut self, number: i32) {
        match number {
            libc::SIGTERM | libc::SIGINT | libc::SIGQUIT => {
                log::info!(
                    "{} is not started again: {}",
                    self.reporter.unit(),
                    signal_name(number)
                );
                self.over = Some(Over::Like(Exit::Signaled { signal: number, core: false }));
            }
            // Stopped while nothing runs: a shell goes on with us, we with nobody.
            libc::SIGCONT | libc::SIGWINCH => {}
            _ => log::info!("there is nobody to pass it on to"),
        }
    }
}
