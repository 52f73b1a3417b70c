//! A dhcpd under test: started in the foreground, ready when it says so, its log read line by line.

use crate::lab::{Lab, binary};
use crate::process;
use nix::sys::signal::Signal;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long anything a test waits for may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A running dhcpd; killed when dropped, and its children end with it.
pub struct Dhcpd {
    child: Child,
    log: Arc<Log>,
    read: usize,
    notify: Option<UnixDatagram>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

impl Dhcpd {
    /// Starts it with this configuration and waits until it serves. The lease file is the lab's
    /// `leases`, and stays from one start to the next.
    pub fn start(lab: &Lab, config: &str, flags: &[&str]) -> Self {
        Self::start_by(lab, &[], config, flags)
    }

    /// The same, by way of a command that becomes dhcpd.
    pub fn start_by(lab: &Lab, by: &[&str], config: &str, flags: &[&str]) -> Self {
        let socket = lab.path("notify");
        let _ = std::fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).expect("bind the notify socket");
        let mut daemon = Self::spawn(lab, by, config, flags, Some(&socket));
        let mut text = [0; 64];
        notify.set_nonblocking(true).expect("do not wait");
        process::until("dhcpd is ready", LIMIT, || match notify.recv(&mut text) {
            Ok(length) => &text[..length] == b"READY=1",
            Err(_) => {
                let ended = daemon.child.try_wait().expect("wait for dhcpd");
                assert!(ended.is_none(), "dhcpd is not ready: {ended:?}");
                false
            }
        });
        daemon.notify = Some(notify);
        daemon
    }

    /// What it tells its service manager next (sd_notify(3)).
    pub fn notified(&self) -> String {
        let socket = self.notify.as_ref().expect("started with a service manager");
        let mut text = [0; 256];
        let mut said = None;
        process::until("the service manager is told something", LIMIT, || {
            said = socket.recv(&mut text).ok();
            said.is_some()
        });
        String::from_utf8_lossy(&text[..said.unwrap_or(0)]).into_owned()
    }

    /// Takes what it has told its service manager, if it has.
    pub fn has_notified(&self) -> bool {
        self.notify.as_ref().is_some_and(|socket| socket.recv(&mut [0; 256]).is_ok())
    }

    /// Has it read another configuration, without waiting for what comes of that.
    pub fn reload(&self, lab: &Lab, config: &str) {
        lab.write("dhcpd.conf", config);
        process::kill(self.pid(), Signal::SIGHUP);
    }

    /// Starts it and does not wait.
    pub fn launch(lab: &Lab, config: &str, flags: &[&str]) -> Self {
        Self::spawn(lab, &[], config, flags, None)
    }

    fn spawn(lab: &Lab, by: &[&str], config: &str, flags: &[&str], notify: Option<&Path>) -> Self {
        let config = lab.write("dhcpd.conf", config);
        let dhcpd = binary("dhcpd");
        let mut words: Vec<&OsStr> = by.iter().map(OsStr::new).collect();
        words.push(dhcpd.as_os_str());
        let mut command = lab.server.command(words[0]);
        command.args(&words[1..]).arg("-d").arg("-c").arg(config);
        command.arg("-l").arg(lab.path("leases"));
        if !flags.contains(&"-s") {
            command.arg("-s").arg(lab.path("dhcpd.sock"));
        }
        command.args(flags);
        if let Some(socket) = notify {
            command.env("NOTIFY_SOCKET", socket);
        }
        // Standard output is not ours: what that is depends on who runs the tests.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start dhcpd");
        let log = Arc::new(Log::default());
        let stderr = child.stderr.take().expect("its stderr");
        let writer = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                writer.lines.lock().expect("log").0.push(line);
                writer.more.notify_all();
            }
            writer.lines.lock().expect("log").1 = true;
            writer.more.notify_all();
        });
        Dhcpd { child, log, read: 0, notify: None }
    }

    /// The parent's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process id of the server.
    pub fn server(&self) -> u32 {
        process::child_titled(self.pid(), "dhcpd: server").expect("the server")
    }

    /// The process id of the pf table handler.
    pub fn helper(&self) -> Option<u32> {
        process::child_titled(self.pid(), "dhcpd: pf table handler")
    }

    /// The whole log so far.
    pub fn log(&self) -> String {
        self.log.lines.lock().expect("log").0.join("\n")
    }

    /// All it has logged, once it has ended and so has every process that it started.
    pub fn whole_log(&self) -> String {
        process::until("all of it has ended", LIMIT, || self.log.lines.lock().expect("log").1);
        self.log()
    }

    /// Waits for a line that contains `text`, after all lines that earlier calls have seen.
    pub fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        let mut lines = self.log.lines.lock().expect("log");
        loop {
            while let Some(line) = lines.0.get(self.read) {
                self.read += 1;
                if line.contains(text) {
                    return line.clone();
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.1 {
                // Whoever shows the log needs the lines, and a second panic would end all tests.
                drop(lines);
                panic!("no line with {text:?} in the log");
            }
            lines = self.log.more.wait_timeout(lines, left).expect("log").0;
        }
    }

    /// Ends it as an administrator would, and waits for that.
    pub fn terminate(mut self) -> ExitStatus {
        process::kill(self.pid(), Signal::SIGTERM);
        self.ended()
    }

    /// Kills the parent without a warning, and returns when all its processes are gone.
    pub fn kill(mut self) {
        let children = process::children(self.pid());
        process::kill(self.pid(), Signal::SIGKILL);
        self.ended();
        process::until("dhcpd's children end with it", LIMIT, || {
            children.iter().all(|child| process::gone(*child))
        });
    }

    /// Waits for it to end by itself, and for the end of its log.
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        process::until("dhcpd ends", LIMIT, || {
            status = self.child.try_wait().expect("wait for dhcpd");
            status.is_some()
        });
        // Its last words may still be on their way to us.
        process::until("the log ends", LIMIT, || self.log.lines.lock().expect("log").1);
        status.expect("its status")
    }
}

impl Drop for Dhcpd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Mostly it knows why.
            eprintln!("dhcpd's log:\n{}", self.log());
        }
        if let Ok(None) = self.child.try_wait() {
            let children = process::children(self.pid());
            let _ = self.child.kill();
            let _ = self.child.wait();
            process::until("dhcpd's children end with it", LIMIT, || {
                children.iter().all(|child| process::gone(*child))
            });
        }
    }
}
