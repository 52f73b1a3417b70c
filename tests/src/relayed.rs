//! A relay agent between the server and its clients: a third namespace, and ISC's dhcrelay in it.

use crate::daemon::LIMIT;
use crate::lab::{Lab, Namespace};
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

/// ISC's relay agent, which adds option 82; killed when dropped.
pub struct Dhcrelay {
    child: Child,
    log: PathBuf,
}

impl Dhcrelay {
    /// Starts it with `-a` and these further arguments, and waits until it listens.
    pub fn start(relayed: &Relayed, arguments: &[&str]) -> Self {
        let log = relayed.lab.path("dhcrelay.log");
        let file = std::fs::File::create(&log).expect("a log file");
        let child = relayed
            .agent
            .command("dhcrelay")
            .args(["-4", "-d", "--no-pid", "-a", "-id", "down0", "-iu", "up0"])
            .args(arguments)
            .arg(crate::lab::SERVER)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("start dhcrelay");
        let mut relay = Dhcrelay { child, log };
        process::until("dhcrelay listens", LIMIT, || {
            let ended = relay.child.try_wait().expect("wait for dhcrelay");
            assert!(ended.is_none(), "dhcrelay: {ended:?}\n{}", relay.log());
            relay.log().contains("Socket/fallback")
        });
        relay
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Dhcrelay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
