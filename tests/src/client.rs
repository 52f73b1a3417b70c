//! The DHCP clients that people run: udhcpc, dhclient and dhcpcd, each with a state of its own.

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
}

/// All of them.
pub const ALL: [Kind; 3] = [Kind::Udhcpc, Kind::Dhclient, Kind::Dhcpcd];

/// What every client calls on each event. It writes the event down and, where the client leaves
/// that to its script, gives the interface its address.
const SCRIPT: &str = r#"#!/bin/sh
event=${reason:-$1}
address=${new_ip_address:-$ip}
case $event in
bound|renew|BOUND|RENEW|REBIND|REBOOT)
	[ "$CONFIGURES_ITSELF" ] || ip addr replace "$address/24" dev "$interface" ;;
deconfig|PREINIT|EXPIRE|RELEASE|STOP)
	[ "$CONFIGURES_ITSELF" ] || ip addr flush dev "$interface" ;;
esac
echo "event=$event address=$address router=${new_routers:-$router} \
dns=${new_domain_name_servers:-$dns} domain=${new_domain_name:-$domain} \
lease=${new_dhcp_lease_time:-$lease} mtu=${new_interface_mtu:-$mtu}" | tr -s ' ' >>"$EVENTS"
"#;

/// A running client.
pub struct Client {
    kind: Kind,
    child: Child,
    events: PathBuf,
    seen: usize,
}

/// One line of the script: what the client was told.
pub type Event = HashMap<String, String>;

impl Client {
    /// Starts one on `cli0`; it stays and keeps its lease.
    pub fn start(lab: &Lab, kind: Kind) -> Self {
        let name = format!("{kind:?}").to_lowercase();
        let script = lab.write("script", SCRIPT);
        let events = lab.path(&format!("{name}.events"));
        let _ = fs::remove_file(&events);
        fs::write(&events, "").expect("write the events");
        make_executable(&script);
        let mut command = match kind {
            Kind::Udhcpc => {
                // Its package named udhcpc is one symbolic link: not every machine has it.
                let mut command = lab.client.command("busybox");
                command
                    .args(["udhcpc", "-f", "-i", "cli0", "-t", "10", "-T", "1", "-s"])
                    .arg(&script);
                command
            }
            Kind::Dhclient => {
                let config = lab.write(
                    "dhclient.conf",
                    "initial-interval 1; backoff-cutoff 2; timeout 30; retry 1;\n\
                     request subnet-mask, routers, domain-name, domain-name-servers, interface-mtu;\n",
                );
                let mut command = lab.client.command("dhclient");
                command.args(["-4", "-d", "-cf"]).arg(config);
                command.arg("-lf").arg(lab.path("dhclient.leases"));
                command.arg("-pf").arg(lab.path("dhclient.pid"));
                command.arg("-sf").arg(&script).arg("cli0");
                command.arg("-e").arg(format!("EVENTS={}", events.display()));
                command
            }
            Kind::Dhcpcd => {
                let config = lab.write(
                    "dhcpcd.conf",
                    &format!(
                        "ipv4only\nnoipv4ll\nduid\nclientid\nscript {}\nenv EVENTS={}\n\
                         env CONFIGURES_ITSELF=1\noption routers, domain_name_servers, \
                         domain_name, interface_mtu\n",
                        script.display(),
                        events.display()
                    ),
                );
                // Its state has a fixed place; `ip netns exec` has made a mount namespace, so
                // each one gets an empty place of its own.
                let mut command = lab.client.command("sh");
                command.arg("-c").arg(format!(
                    "mkdir -p /run/dhcpcd /var/lib/dhcpcd && \
                     mount -t tmpfs none /run/dhcpcd && mount -t tmpfs none /var/lib/dhcpcd && \
                     exec dhcpcd -4 -B -f {} cli0",
                    config.display()
                ));
                command
            }
        };
        let log = fs::File::create(lab.path(&format!("{name}.log"))).expect("a log file");
        let child = command
            .env("EVENTS", &events)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("start a client");
        Client { kind, child, events, seen: 0 }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the next event that says the client has an address, and returns what it said.
    pub fn bound(&mut self) -> (Ipv4Addr, Event) {
        let bound = ["bound", "renew", "BOUND", "RENEW", "REBIND", "REBOOT"];
        let event = self.event(&bound);
        (event["address"].parse().expect("an address"), event)
    }

    /// Waits for the next event of one of these names.
    pub fn event(&mut self, names: &[&str]) -> Event {
        let mut found = None;
        process::until(&format!("{:?} says {names:?}", self.kind), LIMIT, || {
            let text = fs::read_to_string(&self.events).unwrap_or_default();
            let complete = text.rfind('\n').map_or("", |end| &text[..end]);
            for line in complete.lines().skip(self.seen) {
                self.seen += 1;
                let event: Event = line
                    .split(' ')
                    .filter_map(|word| word.split_once('='))
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
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
            Kind::Dhclient | Kind::Dhcpcd => panic!("{:?} renews by its own clock", self.kind),
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

fn make_executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}
