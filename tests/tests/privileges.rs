//! Every process of a running dhcpd as /proc has it: whose it is, what it may do, what it sees and
//! what it holds. A process that is not in the table below must have no right at all, so that a new
//! one is looked at too; what it has beside that is to be written down here, with the reason.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tests::daemon::{Dhcpd, LIMIT};
use tests::descriptors::descriptors;
use tests::lab::Lab;
use tests::process::{self, Rights, until};

const CONFIG: &str = "get-lease-hostnames true;\n\
    subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.100 192.0.2.250; }\n";

const NONE: &str = "0000000000000000";

/// What a process has left.
struct Expected {
    title: &'static str,
    /// Permitted and effective capabilities, in hexadecimal.
    capabilities: &'static str,
    /// Of [`Confined::No`] the reason is beside the row.
    confined: Confined,
    /// Beside standard input, output and error; `LEASES` and `FOLDER` are the lease file and its folder.
    holds: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq)]
enum Confined {
    /// The account, an empty root, no new privileges, and a filter.
    Yes,
    /// The same, and the file system to read.
    Reading,
    /// The account, and the file system.
    Account,
    /// Root's.
    No,
}

const CHILDREN: [Expected; 4] = [
    Expected {
        title: "dhcpd: server",
        capabilities: NONE,
        confined: Confined::Yes,
        holds: &[
            "LEASES",
            // The journal's way to wake the loop.
            "pipe",
            "pipe",
            // DISCOVERs have a queue of their own.
            "socket packet",
            "socket packet",
            "socket raw",
            "socket udp",
            "socket udp",
            // Parent, table handler, hooks, resolver, and where dhcpctl(8) connects to.
            "socket unix",
            "socket unix",
            "socket unix",
            "socket unix",
            "socket unix",
        ],
    },
    Expected {
        title: "dhcpd: pf table handler",
        capabilities: "0000000000001000", // CAP_NET_ADMIN: the kernel asks for it at every request.
        confined: Confined::Yes,
        // Parent and server.
        holds: &["socket netlink", "socket unix", "socket unix"],
    },
    Expected {
        title: "dhcpd: resolver",
        capabilities: NONE,
        // The C library reads hosts and resolv.conf when it is asked; landlock(7) says what else.
        confined: Confined::Reading,
        // How its threads wake it; parent and server.
        holds: &["pipe", "pipe", "socket unix", "socket unix"],
    },
    Expected {
        title: "dhcpd: hooks",
        capabilities: NONE,
        // It runs programs of the administrator's, who may have to use sudo(8).
        confined: Confined::Account,
        // Parent and server.
        holds: &["socket unix", "socket unix"],
    },
];

const PARENT: Expected = Expected {
    title: "",
    capabilities: "",
    // It opens what the others are given, and starts them.
    confined: Confined::No,
    holds: &[
        "FOLDER",
        "LEASES",
        "[pidfd]",
        "[pidfd]",
        "[pidfd]",
        "[signalfd]",
        // Whether interfaces come and go.
        "socket netlink",
        "[pidfd]",
        // One to each child, and where dhcpctl(8) connects to: its name is taken away at the end.
        "socket unix",
        "socket unix",
        "socket unix",
        "socket unix",
        "socket unix",
    ],
};

fn hook(lab: &Lab) -> String {
    let hook = lab.write("hook", "#!/bin/sh\nexit 0\n");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("chmod");
    hook.display().to_string()
}

fn link(pid: u32, name: &str) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/{name}")).expect("read a link")
}

/// Everything of one process.
fn check(lab: &Lab, pid: u32, parent: u32, expected: &Expected) {
    let title = process::title(pid);
    let name = |word: &&str| match *word {
        "LEASES" => lab.path("leases").display().to_string(),
        "FOLDER" => lab.path("").display().to_string().trim_end_matches('/').to_owned(),
        // As its link has it.
        word => word.trim_matches(['[', ']']).to_owned(),
    };
    // Nobody's input, no output, and what is logged.
    let standard = ["/dev/null", "/dev/null", "pipe"].map(str::to_owned);
    let mut wanted: Vec<String> = expected.holds.iter().map(name).chain(standard).collect();
    wanted.sort();
    let mut held = Vec::new();
    // Soon after the start the lease file is replaced; for a moment there are two.
    let limit = std::time::Instant::now() + LIMIT;
    while held != wanted && std::time::Instant::now() < limit {
        held =
            descriptors(pid).iter().map(|word| word.trim_matches(['[', ']']).to_owned()).collect();
        held.sort();
    }
    assert_eq!(held, wanted, "the descriptors of {title:?}");

    for space in ["net", "mnt", "pid", "user", "uts", "ipc"] {
        let space = format!("ns/{space}");
        assert_eq!(link(pid, &space), link(parent, &space), "{title}: {space}");
    }
    let rights = process::rights(pid);
    let status = |name: &str| rights.status.get(name).map_or("", String::as_str);
    assert_eq!(status("TracerPid"), "0", "{title}");
    if expected.confined == Confined::No {
        assert_eq!((status("Uid"), status("Seccomp")), ("0\t0\t0\t0", "0"), "{title}");
        return;
    }
    // Nothing of whoever started dhcpd comes as far as here.
    let environment = fs::read(format!("/proc/{pid}/environ")).expect("its environment");
    for variable in environment.split(|byte| *byte == 0).filter(|text| !text.is_empty()) {
        let text = String::from_utf8_lossy(variable);
        let ours = text.starts_with("TANDEM_LOG=") || text.starts_with("RUST_BACKTRACE=");
        assert!(ours, "{title}: {text}");
    }
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).expect("its arguments");
    assert_eq!(arguments.iter().filter(|byte| **byte == 0).count(), 1, "{title}: one argument");
    check_rights(&title, &rights, expected);
    let own = link(parent, "root");
    match expected.confined {
        Confined::Yes => {
            assert_eq!(rights.root, 0, "{title}: its root directory is empty");
            assert_ne!(link(pid, "root"), own, "{title}");
            assert_eq!(link(pid, "cwd"), link(pid, "root"), "{title}");
        }
        _ => assert_eq!((link(pid, "root"), link(pid, "cwd")), (own.clone(), own), "{title}"),
    }
}

fn check_rights(title: &str, rights: &Rights, expected: &Expected) {
    if expected.confined != Confined::Account {
        rights.assert_unprivileged("_dhcp", expected.capabilities);
        assert_eq!(rights.status["Seccomp_filters"], "1", "{title}");
        return;
    }
    let user = nix::unistd::User::from_name("_dhcp").expect("look up").expect("_dhcp");
    let ids = |id: u32| format!("{id}\t{id}\t{id}\t{id}");
    assert_eq!(rights.status["Uid"], ids(user.uid.as_raw()), "{title}");
    assert_eq!(rights.status["Gid"], ids(user.gid.as_raw()), "{title}");
    assert_eq!(rights.status["Groups"], user.gid.to_string(), "{title}");
    for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert_eq!(rights.status[set], expected.capabilities, "{title}: {set}");
    }
}

#[test]
fn every_process_has_its_rights_and_descriptors_and_no_others() {
    // Whoever starts it may hold more than the standard three, and none of it is dhcpd's.
    let zero = fs::File::open("/dev/zero").expect("open /dev/zero");
    let _open_across_exec = nix::unistd::dup(&zero).expect("dup");
    let lab = Lab::new();
    lab.make_sets();
    let hook = hook(&lab);
    let flags = ["-A", "abandoned", "-C", "changed", "-L", "leased", "-T", "60", "-E", &hook];
    let dhcpd = Dhcpd::start(&lab, CONFIG, &flags);

    let mut found = BTreeMap::new();
    for pid in process::descendants(dhcpd.pid()) {
        let title = process::title(pid);
        // One that is not in the table may do nothing, and hold nothing but its channel.
        let unknown = Expected {
            title: "",
            capabilities: NONE,
            confined: Confined::Yes,
            holds: &["socket unix"],
        };
        let row = CHILDREN.iter().find(|row| row.title == title).unwrap_or(&unknown);
        check(&lab, pid, dhcpd.pid(), row);
        *found.entry(title).or_insert(0) += 1;
    }
    for row in &CHILDREN {
        assert_eq!(found.get(row.title), Some(&1), "{}", row.title);
    }
    check(&lab, dhcpd.pid(), dhcpd.pid(), &PARENT);
    until("all of it is still there", LIMIT, || {
        process::descendants(dhcpd.pid()).len() == found.len()
    });
    assert!(dhcpd.terminate().success());
}
