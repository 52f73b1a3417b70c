//! The DHCP clients that people run: udhcpc, dhclient, dhcpcd and systemd-networkd, each with a state
//! of its own.

mod command;

use crate::daemon::LIMIT;
use crate::lab::Lab;
use crate::process;
use nix::sys::signal::Signal;
use std::collections::HashMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// busybox's.
    Udhcpc,
    /// ISC's.
    Dhclient,
    /// Roy Marples's.
    Dhcpcd,
    /// systemd's.
    Networkd,
}

/// All of them.
pub const ALL: [Kind; 4] = [Kind::Udhcpc, Kind::Dhclient, Kind::Dhcpcd, Kind::Networkd];

impl Kind {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// What a client does beside the usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habits {
    /// It looks by ARP whether somebody has its address, and declines it then: not networkd.
    pub looks: bool,
    /// It has this address, and only tells of it (INFORM): dhcpcd.
    pub informs: Option<Ipv4Addr>,
    /// It asks for this address: udhcpc.
    pub wants: Option<Ipv4Addr>,
    /// It asks whether IPv6 is enough, and requests an address whatever the answer: udhcpc.
    pub asks_for_ipv6: bool,
}

/// A running client.
pub struct Client {
    kind: Kind,
    child: Child,
    events: PathBuf,
    seen: usize,
    leases: PathBuf,
}

/// One line of the script: what the client was told.
pub type Event = HashMap<String, String>;

impl Client {
    /// Starts one on `cli0`; it stays and keeps its lease. Started again in the same lab, it finds
    /// what it left there.
    pub fn start(lab: &Lab, kind: Kind) -> Self {
        Self::start_with(lab, kind, &Habits::default())
    }

    /// The same, with habits.
    pub fn start_with(lab: &Lab, kind: Kind, habits: &Habits) -> Self {
        let (mut command, events) = command::command(lab, kind, habits);
        let log = lab.path(&format!("{}.log", kind.name()));
        let file = fs::File::create(&log).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log file"))
            .stderr(file)
            .spawn()
            .expect("start a client");
        // The one without a script has its events in its log.
        let events = if kind == Kind::Networkd { log } else { events };
        Client { kind, child, events, seen: 0, leases: lab.path("networkd/netif/leases") }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the next event that says the client has an address, and returns what it said.
    pub fn bound(&mut self) -> (Ipv4Addr, Event) {
        let bound = ["bound", "renew", "BOUND", "RENEW", "REBIND", "REBOOT"];
        let mut event = self.event(&bound);
        if self.kind == Kind::Networkd {
            self.complete(&mut event);
        }
        (event["address"].parse().expect("an address"), event)
    }

    /// What networkd was told beside the address: it writes that down in a moment.
    fn complete(&self, event: &mut Event) {
        let address = format!("ADDRESS={}\n", event["address"]);
        let mut text = String::new();
        process::until("networkd writes its lease down", LIMIT, || {
            let files = fs::read_dir(&self.leases).into_iter().flatten().flatten();
            text = files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect();
            text.contains(&address)
        });
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            event.insert(name.to_lowercase(), value.to_owned());
        }
        for (name, theirs) in [("domain", "domainname"), ("lease", "lifetime")] {
            let value = event.get(theirs).cloned().unwrap_or_default();
            event.insert(name.to_owned(), value);
        }
    }

    /// Waits for the next event of one of these names.
    pub fn event(&mut self, names: &[&str]) -> Event {
        let mut found = None;
        process::until(&format!("{:?} says {names:?}", self.kind), LIMIT, || {
            let text = fs::read_to_string(&self.events).unwrap_or_default();
            let complete = text.rfind('\n').map_or("", |end| &text[..end]);
            for line in complete.lines().skip(self.seen) {
                self.seen += 1;
                let event = match self.kind {
                    Kind::Networkd => said_by_networkd(line),
                    _ => Some(said_by_script(line)),
                };
                let Some(event) = event else { continue };
                if names.contains(&event["event"].as_str()) {
                    found = Some(event);
                    return true;
                }
            }
            false
        });
        found.expect("an event")
    }

    /// Asks for its lease to be renewed now.
    pub fn renew(&self) {
        match self.kind {
            Kind::Udhcpc => process::kill(self.pid(), Signal::SIGUSR1),
            _ => panic!("{:?} renews by its own clock", self.kind),
        }
    }

    /// Gives the lease back and ends.
    pub fn release(mut self, lab: &Lab) {
        match self.kind {
            Kind::Udhcpc => {
                process::kill(self.pid(), Signal::SIGUSR2);
                self.event(&["deconfig"]);
                process::kill(self.pid(), Signal::SIGTERM);
            }
            Kind::Dhcpcd => self.ask_dhcpcd(lab),
            Kind::Networkd => process::kill(self.pid(), Signal::SIGTERM),
            Kind::Dhclient => {
                process::kill(self.pid(), Signal::SIGTERM);
                self.ended();
                let status = lab
                    .client
                    .command("dhclient")
                    .args(["-4", "-r", "-cf"])
                    .arg(lab.path("dhclient.conf"))
                    .arg("-lf")
                    .arg(lab.path("dhclient.leases"))
                    .arg("-pf")
                    .arg(lab.path("dhclient.pid"))
                    .arg("-sf")
                    .arg(lab.path("script"))
                    .arg("-e")
                    .arg(format!("EVENTS={}", self.events.display()))
                    .arg("cli0")
                    .stdin(Stdio::null())
                    .output()
                    .expect("run dhclient -r");
                assert!(status.status.success());
                return;
            }
        }
        self.ended();
    }

    /// dhcpcd 9 loses a signal that comes while it waits for its script, and the events this test
    /// waits for come from that script: so it is asked until it says that it has heard.
    fn ask_dhcpcd(&self, lab: &Lab) {
        let mut asked: Option<Instant> = None;
        process::until("dhcpcd hears SIGALRM", LIMIT, || {
            if asked.is_none_or(|at| at.elapsed() > Duration::from_millis(500)) {
                process::kill(self.pid(), Signal::SIGALRM);
                asked = Some(Instant::now());
            }
            let log = fs::read_to_string(lab.path("dhcpcd.log")).unwrap_or_default();
            log.contains("received SIGALRM")
        });
    }

    fn ended(&mut self) {
        process::until("a client ends", Duration::from_secs(20), || {
            self.child.try_wait().expect("wait for a client").is_some()
        });
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // dhcpcd has helpers of its own; each is ended by its number.
        let all = process::descendants(self.pid());
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in all {
            if process::alive(pid) {
                let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            }
        }
    }
}

/// Runs it for all of these at once.
///
/// # Panics
/// If one of them does.
pub fn side_by_side<T: Copy + std::fmt::Debug + Send + 'static>(all: &[T], test: fn(T)) {
    let started = all.iter().map(|&one| {
        let thread = std::thread::Builder::new().name(format!("{one:?}"));
        (one, thread.spawn(move || test(one)).expect("a thread"))
    });
    let threads: Vec<_> = started.collect();
    let failed: Vec<T> = threads
        .into_iter()
        .filter_map(|(one, thread)| thread.join().is_err().then_some(one))
        .collect();
    assert!(failed.is_empty(), "with {failed:?}");
}

/// A line of the script's.
fn said_by_script(line: &str) -> Event {
    line.split(' ')
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A line of networkd's log, if it says that there was an acknowledgement:
/// `cli0: Requesting DHCPv4 address (n/a): 192.0.2.100/24 (valid for ...`.
fn said_by_networkd(line: &str) -> Option<Event> {
    let (_, rest) = line.split_once("Requesting DHCPv4 address (")?;
    let (_, rest) = rest.split_once("): ")?;
    let (address, _) = rest.split_once('/')?;
    let words = [("event", "BOUND"), ("address", address)];
    Some(words.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
}
