//! What is shipped as an example works: every file under `etc/`, and the demonstration's own.

use dhcpd::conf::{SystemSources, load};
use std::process::Command;

fn file(name: &str) -> String {
    format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn configurations_are_without_fault() {
    for name in ["etc/dhcpd.conf", "demo/dhcpd.conf"] {
        let shown = |notes: &[dhcpd::conf::Diagnostic]| -> String {
            notes.iter().map(|note| note.render() + "\n").collect()
        };
        match load(&file(name), &mut SystemSources::default()) {
            Ok((config, notes)) => {
                assert!(notes.is_empty(), "{}", shown(&notes));
                assert!(!config.subnets.is_empty(), "{name} serves nobody");
            }
            Err(notes) => panic!("{}", shown(&notes)),
        }
    }
}

/// nft checks against the kernel, so it needs a namespace of its own, and root to make one.
#[test]
fn the_ruleset_loads() {
    let output = Command::new("unshare")
        .args(["--net", "--map-root-user", "nft", "-c", "-f", &file("etc/nftables.conf")])
        .output()
        .expect("run unshare");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// No pfctl is here: at least the tables of the manual's example are the ones that it makes.
#[test]
fn the_pf_sample_makes_every_table() {
    let text = std::fs::read_to_string(file("etc/pf.conf")).expect("read etc/pf.conf");
    for table in ["leased", "abandoned", "changed"] {
        assert!(text.contains(&format!("table <{table}> persist")), "{table}");
        assert!(text.contains(&format!("-{} {table}", &table[..1].to_uppercase())), "{table}");
    }
}

#[test]
fn the_unit_starts_what_is_installed() {
    let text = std::fs::read_to_string(file("etc/systemd/dhcpd.service")).expect("read the unit");
    for line in ["Type=notify", "KillMode=mixed", "NoNewPrivileges=yes"] {
        assert!(text.lines().any(|l| l == line), "{line}");
    }
    let start = text.lines().find(|line| line.starts_with("ExecStart=")).expect("ExecStart");
    assert!(start.starts_with("ExecStart=/usr/local/sbin/dhcpd "), "{start}");
}
