//! Measures a tracker: `follow BACKEND COMMAND...` starts the command, follows it and all that it
//! makes to the last one's end, and prints what was told, how fast, and how much was lost. Linux
//! only.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    linux::follow()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("follow: only on Linux");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::error::Error;
    use std::os::fd::AsFd;
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::time::Instant;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use supervise::track::{Cause, Event, Tracker};

    pub fn follow() -> Result<(), Box<dyn Error>> {
        let mut words = std::env::args().skip(1);
        let (Some(backend), Some(program)) = (words.next(), words.next()) else {
            return Err("usage: follow BACKEND COMMAND...".into());
        };
        let mut tracker = Tracker::open(backend.parse()?)?;
        let (gate, open) = nix::unistd::pipe()?;
        let mut command = Command::new(program);
        command.args(words);
        // SAFETY: only system calls on descriptors that are open.
        unsafe {
            command.pre_exec(move || {
                // Until the byte comes.
                nix::unistd::read(&gate, &mut [0])?;
                Ok(())
            })
        };
        // spawn() returns when the command is executed, so another thread starts it.
        let began = Instant::now();
        let starter = std::thread::spawn(move || command.status());
        let pid = loop {
            let us = std::process::id();
            let mut children = String::new();
            for task in std::fs::read_dir("/proc/self/task")? {
                let tid = task?.file_name();
                let path = format!("/proc/{us}/task/{}/children", tid.display());
                children += &std::fs::read_to_string(path).unwrap_or_default();
            }
            if let Some(pid) = children.split_ascii_whitespace().next() {
                break pid.parse()?;
            }
        };
        tracker.watch(pid)?;
        nix::unistd::write(&open, b"g")?;
        let (mut forks, mut exits, mut lost, mut told) = (0u64, 0u64, 0, 0);
        let mut events = Vec::new();
        let mut over = false;
        while !over {
            poll(&mut [PollFd::new(tracker.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
            events.clear();
            tracker.read_all(&mut events, &mut |_| told += 1)?;
            for event in &events {
                match event {
                    Event::Fork { .. } => forks += 1,
                    Event::Exit { .. } => exits += 1,
                    Event::Gap { cause: Cause::Overrun { lost: Some(count) }, .. } => lost += count,
                    Event::Empty { .. } => over = true,
                    _ => {}
                }
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let status = starter.join().map_err(|_| "the starter panicked")??;
        println!(
            "{forks} forks {exits} exits, {told} notes in {seconds:.2} s: {:.0}/s, {lost} lost, {status}",
            told as f64 / seconds
        );
        Ok(())
    }
}
