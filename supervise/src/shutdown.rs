//! The end of a parent: its children first, in order, none left.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use crate::{Child, Error, Exit, signal_name};

/// How a child ended when its parent stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its title.
    pub title: String,
    /// The process id it had.
    pub pid: i32,
    /// How it ended; `None` if not even SIGKILL did it in time, so that init will reap it.
    pub exit: Option<Exit>,
    /// The strongest signal it needed; `None` if it ended at the end of its channel.
    pub needed: Option<c_int>,
}

/// Ends all children: drops the `channels`, waits, sends SIGTERM to those that still run, waits,
/// sends SIGKILL, and reaps each, with a log line for each step. Each of the three waits lasts at
/// most `patience`, and ends when the last child has.
///
/// `channels` is whatever holds our ends of the children's channels. It is taken and dropped here,
/// first, so that a child never gets a signal before it has seen the end of its channel.
pub fn stop<C>(channels: C, children: Vec<Child>, patience: Duration) -> Vec<Ended> {
    drop(channels);
    let mut running: Vec<(Child, Option<c_int>)> = Vec::new();
    for child in children {
        running.push((child, None));
    }
    let mut ended = Vec::new();
    reap_until(&mut running, &mut ended, Instant::now() + patience);
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        for (child, needed) in &mut running {
            let name = signal_name(signal);
            log::warn!("{child} still runs after {} ms; sending {name}", patience.as_millis());
            if let Err(error) = child.kill(signal) {
                log::error!("{error}");
            }
            *needed = Some(signal);
        }
        reap_until(&mut running, &mut ended, Instant::now() + patience);
    }
    for (child, needed) in running {
        log::error!("{child} still runs after SIGKILL; leaving it to init");
        ended.push(Ended { title: child.title().to_owned(), pid: child.pid(), exit: None, needed });
    }
    ended
}

/// Moves those that end before `moment` from `running` to `ended`.
fn reap_until(running: &mut Vec<(Child, Option<c_int>)>, ended: &mut Vec<Ended>, moment: Instant) {
    // One after the other is as good as all at once: each wait ends when its child does, and
    // those behind it have had the same time.
    let mut still = Vec::new();
    for (mut child, needed) in running.drain(..) {
        match child.wait_until(moment) {
            Ok(None) => still.push((child, needed)),
            Ok(Some(exit)) => {
                report(&child, exit);
                let (title, pid) = (child.title().to_owned(), child.pid());
                ended.push(Ended { title, pid, exit: Some(exit), needed });
            }
            Err(error) => {
                lost(&child, &error);
                let (title, pid) = (child.title().to_owned(), child.pid());
                ended.push(Ended { title, pid, exit: None, needed });
            }
        }
    }
    *running = still;
}

fn report(child: &Child, exit: Exit) {
    if exit.success() {
        log::info!("{child} {exit}");
    } else {
        log::warn!("{child} {exit}");
    }
}

fn lost(child: &Child, error: &Error) {
    log::error!("{child} cannot be waited for: {error}");
}
