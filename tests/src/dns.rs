//! The DNS of a laboratory: a real server, and whom what is started there asks.

use crate::daemon::LIMIT;
use crate::lab::Lab;
use crate::process::until;
use nix::mount::{MsFlags, mount};
use std::process::{Child, Stdio};

/// A DNS server on the server's side; ended when dropped.
pub struct Dns(Child);

impl Drop for Dns {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What this thread starts asks this machine's DNS server, and nobody else.
///
/// # Panics
/// If files cannot be mounted over the system's.
pub fn use_own_dns(lab: &Lab, options: &str) {
    lab.own_mounts();
    let none: Option<&str> = None;
    let resolv = format!("nameserver 127.0.0.1\n{options}\n");
    for (name, text) in [("resolv.conf", &*resolv), ("hosts", "127.0.0.1 localhost\n")] {
        let ours = lab.write(name, text);
        let theirs = format!("/etc/{name}");
        mount(Some(&ours), &*theirs, none, MsFlags::MS_BIND, none).expect("bind a file");
    }
}

/// Starts it, and waits until it serves.
///
/// # Panics
/// If it does not.
pub fn dnsmasq(lab: &Lab) -> Dns {
    let mut command = lab.server.command("dnsmasq");
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv"]);
    command.args(["--user=root", "--pid-file=", "--listen-address=127.0.0.1", "--bind-interfaces"]);
    command.args(["--local=/2.0.192.in-addr.arpa/", "--host-record=pc.example.org,192.0.2.100"]);
    command.args(["--host-record=other.example.org,192.0.2.102"]);
    // What is no host's name goes nowhere.
    command.args(["--ptr-record=103.2.0.192.in-addr.arpa,-rf.example.org"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let dns = Dns(command.spawn().expect("start dnsmasq"));
    until("the DNS serves", LIMIT, || {
        lab.server.run("ss -Hulnp sport = 53").contains("127.0.0.1:53")
    });
    dns
}
