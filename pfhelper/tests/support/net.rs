//! A network namespace with a firewall of its own, that belongs to the calling thread: what the
//! thread starts is in it too, and other tests are not. `nft` makes and lists things, never what
//! is tested.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "all of it is for tests")]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Command;

/// Gives the calling thread a network of its own.
pub fn own_network() {
    // SAFETY: a system call on a plain number; it changes this thread's namespace only.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(result, 0, "a network namespace needs root: {}", std::io::Error::last_os_error());
    run("ip", &["link", "set", "lo", "up"]);
}

/// Runs a program to its end; its standard output. Panics if it fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect(program);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// Feeds a script to nft.
pub fn nft(script: &str) {
    run("nft", &[script]);
}

/// Makes the table `inet dhcpd` with the three sets, of plain addresses.
pub fn three_sets() {
    nft("table inet dhcpd {
        set abandoned { type ipv4_addr; }
        set changed { type ipv4_addr; }
        set leased { type ipv4_addr; }
    }");
}

/// What is in a set of the table `inet dhcpd`.
pub fn members(set: &str) -> BTreeSet<Ipv4Addr> {
    loop {
        let text = run("nft", &["list", "set", "inet", "dhcpd", set]);
        let words = text.split(|c: char| c != '.' && !c.is_ascii_digit());
        let told: Vec<Ipv4Addr> = words.filter_map(|word| word.parse().ok()).collect();
        let members: BTreeSet<_> = told.iter().copied().collect();
        // While the kernel sorts a set into a larger table, it tells some twice and some not.
        if members.len() == told.len() {
            return members;
        }
    }
}

/// Says what is wrong with a set of the table `inet dhcpd`, not all that is in it.
pub fn assert_members(set: &str, expected: impl IntoIterator<Item = Ipv4Addr>) {
    let (found, expected) = (members(set), BTreeSet::from_iter(expected));
    let only = |a: &BTreeSet<_>, b: &BTreeSet<Ipv4Addr>| -> Vec<Ipv4Addr> {
        a.difference(b).take(5).copied().collect()
    };
    let (more, less) = (only(&found, &expected), only(&expected, &found));
    let counts = (found.len(), expected.len());
    assert!(found == expected, "{set}: {counts:?}, too much: {more:?}.., not there: {less:?}..");
}

/// 10.0.0.0 and so many.
pub fn address(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + n)
}
