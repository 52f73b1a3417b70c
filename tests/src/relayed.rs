//! A relay agent between the server and its clients: a third namespace, and one of the agents that
//! people run in it.

use crate::daemon::LIMIT;
use crate::lab::{Lab, Namespace, SERVER};
use crate::process;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// The agent's address on the clients' wire, 198.51.100.0/24.
pub const AGENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Its address on the server's.
pub const UPWARD: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Server, agent, clients; the agent routes between the two wires.
pub struct Relayed {
    /// The server's `srv0` ends at the agent, and the clients' `cli0` too.
    pub lab: Lab,
    /// Its interfaces are `up0`, 192.0.2.2, and `down0`, 198.51.100.1.
    pub agent: Namespace,
}

impl Relayed {
    /// Makes it.
    ///
    /// # Panics
    /// If it cannot: these tests need root and iproute2.
    #[allow(clippy::new_without_default, reason = "it does things to the machine")]
    pub fn new() -> Self {
        let (lab, agent) = (Lab::new(), Namespace::new("rly"));
        let (name, clients) = (agent.name(), lab.client.name());
        lab.client.run(&format!("ip link set cli0 netns {name} name up0"));
        agent.run(&format!("ip addr add {UPWARD}/24 dev up0"));
        agent.run("ip link set up0 up");
        agent.run(&format!("ip link add down0 type veth peer name cli0 netns {clients}"));
        agent.run(&format!("ip addr add {AGENT}/24 dev down0"));
        agent.run("ip link set down0 up");
        lab.client.run("ip link set cli0 up");
        agent.run("sysctl -qw net.ipv4.ip_forward=1");
        lab.server.run(&format!("ip route add 198.51.100.0/24 via {UPWARD}"));
        Relayed { lab, agent }
    }

    /// Leads everything between agent and server over another wire, to an interface of the
    /// server's that has no subnet in dhcpd.conf: `srv1`, 203.0.113.1. The agent's is `up1`.
    pub fn detour(&self) {
        let server = self.lab.server.name();
        self.agent.run(&format!("ip link add up1 type veth peer name srv1 netns {server}"));
        self.agent.run("ip addr add 203.0.113.2/24 dev up1");
        self.agent.run("ip link set up1 up");
        self.lab.server.run("ip addr add 203.0.113.1/24 dev srv1");
        self.lab.server.run("ip link set srv1 up");
        self.agent.run("ip addr flush dev up0");
        self.agent.run("ip route add 192.0.2.0/24 via 203.0.113.1");
        self.lab.server.run("ip route replace 198.51.100.0/24 via 203.0.113.2");
    }
}

/// A program that is a relay agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// ISC's, which adds option 82, with these further arguments.
    Dhcrelay(&'static [&'static str]),
    /// `dnsmasq --dhcp-relay`.
    Dnsmasq,
    /// Simon Kelley's, unpacked where `tools/packages` says.
    DhcpHelper,
}

/// Where `tools/packages` unpacks what cannot be installed.
const DHCP_HELPER: &str = "/usr/local/lib/tandem-tests/usr/sbin/dhcp-helper";

/// One that runs; killed when dropped.
pub struct Agent {
    child: Child,
    log: PathBuf,
}

impl Agent {
    /// Starts it on the agent's host and waits until it listens.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(relayed: &Relayed, program: Program) -> Self {
        let space = &relayed.agent;
        let mut command = match program {
            Program::Dhcrelay(more) => {
                let mut command = space.command("dhcrelay");
                command.args(["-4", "-d", "--no-pid", "-a", "-id", "down0", "-iu", "up0"]);
                command.args(more).arg(SERVER);
                command
            }
            Program::Dnsmasq => {
                let mut command = space.command("dnsmasq");
                command.args(["-k", "--port=0", "--conf-file=/dev/null", "--pid-file"]);
                command.args(["--user=root", "--log-dhcp", "--log-facility=-"]);
                command.arg(format!("--dhcp-relay={AGENT},{SERVER}"));
                command
            }
            Program::DhcpHelper => {
                let mut command = space.command(DHCP_HELPER);
                command.args(["-d", "-i", "down0", "-s", SERVER]);
                command
            }
        };
        let log = relayed.lab.path("agent.log");
        let file = std::fs::File::create(&log).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log file"))
            .stderr(file)
            .spawn()
            .expect("start a relay agent");
        let mut agent = Agent { child, log };
        process::until("the relay agent listens", LIMIT, || {
            let ended = agent.child.try_wait().expect("wait for a relay agent");
            assert!(ended.is_none(), "{program:?}: {ended:?}\n{}", agent.log());
            match program {
                // It listens with packet sockets first.
                Program::Dhcrelay(_) => agent.log().contains("Socket/fallback"),
                _ => listens(agent.child.id()),
            }
        });
        agent
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Whether somebody in the namespace of a process has DHCP's port.
fn listens(pid: u32) -> bool {
    let own = std::fs::read_link("/proc/self/ns/net").expect("our own namespace");
    let theirs = std::fs::read_link(format!("/proc/{pid}/ns/net"));
    // Until it is there, it is the one that it was started in.
    theirs.is_ok_and(|theirs| theirs != own)
        && std::fs::read_to_string(format!("/proc/{pid}/net/udp"))
            .is_ok_and(|sockets| sockets.contains(":0043 "))
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
