//! What an administrator sees of dhcpd before it serves: `dhcpd -n`, what is not active yet, and
//! starts that are refused, each with the reason and with nobody left.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use nix::mount::{MsFlags, mount};
use std::path::Path;
use std::process::{Command, Output};
use tests::daemon::{Dhcpd, LIMIT};
use tests::lab::{Lab, binary, copy_program};
use tests::wire::Relay;

const GOOD: &str = "subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.100 192.0.2.110; }\n";

/// Runs a command that must end by itself, and soon.
fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().expect("run it");
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

/// `dhcpd -n`, as anybody may run it.
fn check(config: &Path, flags: &[&str]) -> (Option<i32>, String) {
    run(Command::new(binary("dhcpd")).arg("-n").arg("-c").arg(config).args(flags))
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

#[test]
fn a_good_file_is_ok_and_nothing_is_touched() {
    let lab = Lab::new();
    let config = lab.write("dhcpd.conf", GOOD);
    let leases = lab.path("leases");
    let flags = ["-l", leases.to_str().expect("a name"), "-L", "leased", "no-such-interface"];
    let ok = format!("{}: OK\n", config.display());
    assert_eq!(check(&config, &flags), (Some(0), ok));
    assert!(!leases.exists());
}

#[test]
fn samples_are_ok() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut count = 0;
    for entry in std::fs::read_dir(root.join("etc")).expect("read etc/") {
        let path = entry.expect("read etc/").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("dhcpd.conf")) {
            let (code, text) = check(&path, &[]);
            assert_eq!(last_line(&text), format!("{}: OK", path.display()), "{text}");
            assert_eq!(code, Some(0));
            shows_its_notes(&path, &text);
            count += 1;
        }
    }
    assert!(count >= 3, "{count}");
}

/// What differs from OpenBSD's dhcpd is shown in the comments before its line.
fn shows_its_notes(path: &Path, said: &str) {
    let sample = std::fs::read_to_string(path).expect("read a sample");
    let comments: String =
        sample.lines().filter_map(|line| line.trim_start().strip_prefix('#')).collect();
    let notes = said.lines().filter_map(|line| line.split_once(": note: "));
    let notes: Vec<&str> = notes.map(|(_, text)| text).collect();
    let shown = comments.matches(" note: ").count();
    if path.to_string_lossy().ends_with("isc-style") {
        // Its comments are about what ISC's dialect has beyond both.
        assert!(notes.len() == 1 && notes[0].contains("does not know, and refuses"), "{said}");
        return;
    }
    assert_eq!(notes.len(), shown, "{said}");
    assert_eq!(shown > 0, path.to_string_lossy().ends_with("office"), "{said}");
    for note in notes {
        assert!(comments.contains(note), "{} does not show: {note}", path.display());
    }
}

const BAD: &str = "\
default-lease-time 10 minutes;
option domain-nam \"example.net\";
subnet 192.0.2.0 netmask 255.255.255.0 {
\trange 192.0.2.100 192.0.3.1;
\toption routers 192.0.2.1, 192.0.2.300;
  \tautoritative;
\thost a { hardware ethernet 00:11:22:33:44:xx; }
}
subnet 192.0.2.128 netmask 255.255.255.128 { }
include \"/no/such/file\";
";

/// Where each is, and a word of what is said of it.
const WRONG: [(usize, &str, &str); 8] = [
    (1, "minutes", "expected"),
    (2, "domain-nam", "domain-name"),
    (4, "192.0.3.1", "not in the subnet"),
    (5, "300", "octet"),
    (6, "autoritative", "authoritative"),
    (7, "xx", "not an octet"),
    (9, "subnet", "overlaps"),
    (10, "\"/no/such", "No such file"),
];

#[test]
fn everything_wrong_is_said_with_its_place_and_a_caret() {
    let lab = Lab::new();
    let config = lab.write("dhcpd.conf", BAD);
    let (code, text) = check(&config, &[]);
    assert_eq!(code, Some(1));
    let mut lines = text.lines();
    for (line, place, word) in WRONG {
        let source = BAD.lines().nth(line - 1).expect("a line");
        let at = source.find(place).expect("its place");
        let head = format!("{}:{line}:{}: ", config.display(), at + 1);
        let said = lines.next().unwrap_or_default();
        assert!(said.starts_with(&head), "{said:?} is not about {head}\n{text}");
        assert!(said[head.len()..].contains(word), "{said:?} says nothing of {word}");
        assert_eq!(lines.next(), Some(source), "{text}");
        // Below the place, wherever tabs end on this terminal.
        let caret: String =
            source[..at].chars().map(|c| if c == '\t' { c } else { ' ' }).chain(['^']).collect();
        assert_eq!(lines.next(), Some(&*caret), "{text}");
    }
    // Then, what of it OpenBSD's dhcpd takes.
    let rest: Vec<&str> = lines.collect();
    let (last, notes) = rest.split_last().expect("a last line");
    assert!(last.contains("Configuration file errors encountered"), "{text}");
    let heads: Vec<&str> = notes.iter().copied().filter(|line| line.contains(": note: ")).collect();
    assert!(notes.len() == 6 && heads.len() == 2, "{text}");
    assert!(heads[0].contains(":5:36: note: OpenBSD's dhcpd takes this"), "{text}");
    assert!(heads[1].contains(":9:1: note: OpenBSD's dhcpd takes this"), "{text}");

    // A start says the same, without that.
    let text = text.replace(&format!("{}\n", notes.join("\n")), "");
    lab.make_sets();
    let mut start = lab.server.command("timeout");
    start.arg("20").arg(binary("dhcpd")).arg("-d").arg("-c").arg(&config);
    start.arg("-l").arg(lab.path("leases")).arg("-s").arg(lab.path("dhcpd.sock"));
    start.args(["-L", "leased"]);
    assert_eq!(run(&mut start), (Some(1), text));
    assert_eq!(lab.server.pids(), []);
    assert!(!lab.path("leases").exists());
}

#[test]
fn what_cannot_be_read_or_understood_at_all_is_said() {
    let (code, text) = check(Path::new("/no/such/dhcpd.conf"), &[]);
    assert_eq!(code, Some(1));
    assert!(text.contains("open /no/such/dhcpd.conf: No such file or directory"), "{text}");
    let (code, text) = check(Path::new("/"), &[]);
    assert_eq!(code, Some(1));
    assert!(text.starts_with("/: "), "{text}");
    let (code, text) = run(Command::new(binary("dhcpd")).args(["-n", "-q"]));
    assert_eq!(code, Some(1));
    assert!(text.starts_with("dhcpd: unknown option -q\nusage: dhcpd "), "{text}");
}

const NOT_YET: &str = "\
min-lease-time 60;
vendor-class \"MSFT 5.0\" { option routers 192.0.2.9; }
class \"phones\" { match if substring(hardware, 1, 3) = 00:04:f2; }
subnet 192.0.2.0 netmask 255.255.255.0 {
\trange 192.0.2.100 192.0.2.110;
\tping-check false;
}
";

#[test]
fn what_is_not_active_yet_is_said_and_the_rest_is_served() {
    let lab = Lab::new();
    let config = lab.write("dhcpd.conf", NOT_YET);
    let (code, checked) = check(&config, &[]);
    assert_eq!((code, last_line(&checked)), (Some(0), &*format!("{}: OK", config.display())));

    let dhcpd = Dhcpd::start(&lab, NOT_YET, &[]);
    let said = |text: &str| {
        for log in [&checked, &dhcpd.log()] {
            assert!(log.lines().any(|line| line.contains(text)), "no word of {text}\n{log}");
        }
    };
    said("dhcpd.conf:1:1: warning: `min-lease-time` is not supported yet");
    said("dhcpd.conf:3:1: warning: `class` is not supported yet");
    // OpenBSD's own classes are served.
    assert!(!checked.contains("dhcpd.conf:2:"), "{checked}");
    let relay = Relay::new(&lab);
    assert_eq!(relay.lease([2, 0, 0, 0, 0, 1], 1).octets(), [192, 0, 2, 100]);
}

/// ISC's pools: all of their addresses, or none and no service.
#[test]
fn a_pool_is_served_or_refused() {
    let pool = |more: &str| {
        format!(
            "subnet 192.0.2.0 netmask 255.255.255.0 {{\n\toption routers 192.0.2.1;
\tpool {{ deny dynamic bootp clients; range 192.0.2.120 192.0.2.121; {more} }}\n}}\n"
        )
    };
    let lab = Lab::new();
    let config = lab.write("other.conf", &pool("allow members of \"staff\";"));
    let (code, text) = check(&config, &[]);
    assert_eq!(code, Some(1), "{text}");
    let head = format!("{}:3:74: a pool for some clients only is not supported", config.display());
    assert!(text.starts_with(&head), "{text}");
    let mut start = lab.server.command("timeout");
    start.arg("20").arg(binary("dhcpd")).arg("-d").arg("-c").arg(&config);
    let (code, refused) = run(start.arg("-l").arg(lab.path("leases")));
    assert!(code == Some(1) && refused.starts_with(&head), "{refused}");
    assert!(!lab.path("leases").exists());

    let _dhcpd = Dhcpd::start(&lab, &pool(""), &[]);
    let relay = Relay::new(&lab);
    for (client, last) in [(1, 120), (2, 121)] {
        let mac = [2, 0, 0, 0, 0, client];
        assert_eq!(relay.lease(mac, client.into()).octets(), [192, 0, 2, last]);
    }
}

/// Starts dhcpd by way of another program, in the foreground and in the background: each time it
/// must refuse, say why last of all, and leave nobody.
fn refuses(lab: &Lab, by: &[&str], dhcpd: &Path, flags: &[&str], why: &str) {
    let config = lab.write("dhcpd.conf", GOOD);
    for foreground in [true, false] {
        let mut start = lab.server.command("timeout");
        start.arg("20").args(by).arg(dhcpd).arg("-c").arg(&config);
        start.arg("-l").arg(lab.path("leases")).arg("-s").arg(lab.path("dhcpd.sock")).args(flags);
        if foreground {
            start.arg("-d");
        }
        let (code, text) = run(&mut start);
        assert_eq!(code, Some(1), "{text}");
        assert!(last_line(&text).contains(why), "not {why:?} but\n{text}");
        tests::process::until("all of it ends", LIMIT, || lab.server.pids().is_empty());
    }
}

#[test]
fn without_the_right_to_the_firewall_it_refuses() {
    let lab = Lab::new();
    lab.make_sets();
    let without = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"];
    refuses(&lab, &without, &binary("dhcpd"), &["-L", "leased"], "CAP_NET_ADMIN");
    // Without tables there is no need of it.
    let _dhcpd = Dhcpd::start_by(&lab, &without, GOOD, &[]);
    assert_eq!(Relay::new(&lab).lease([2, 0, 0, 0, 0, 1], 1).octets(), [192, 0, 2, 100]);
}

#[test]
fn with_a_set_of_another_kind_it_refuses() {
    let lab = Lab::new();
    lab.server.nft("add table inet dhcpd; add set inet dhcpd leased { type ipv6_addr; }");
    refuses(&lab, &[], &binary("dhcpd"), &["-L", "leased"], "table leased cannot be used");
}

#[test]
fn without_its_handler_s_program_it_refuses() {
    let lab = Lab::new();
    lab.make_sets();
    let alone = lab.path("dhcpd");
    copy_program(&binary("dhcpd"), &alone);
    refuses(&lab, &[], &alone, &["-L", "leased"], "pfhelper");
}

#[test]
fn without_its_user_it_refuses() {
    let lab = Lab::new();
    lab.make_sets();
    lab.own_mounts();
    let users = std::fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
    let others: String = users
        .lines()
        .filter(|line| !line.starts_with("_dhcp:"))
        .map(|l| l.to_owned() + "\n")
        .collect();
    let others = lab.write("passwd", &others);
    let none: Option<&str> = None;
    mount(Some(&others), "/etc/passwd", none, MsFlags::MS_BIND, none).expect("bind a file");
    refuses(&lab, &[], &binary("dhcpd"), &["-L", "leased"], "_dhcp");
}

#[test]
fn without_root_it_refuses() {
    let lab = Lab::new();
    let copy = lab.path("dhcpd");
    copy_program(&binary("dhcpd"), &copy);
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    refuses(&lab, &nobody, &copy, &[], "must be started as root");
}

#[test]
fn where_another_serves_it_refuses() {
    let lab = Lab::new();
    let socket = lab.server.within(|| std::net::UdpSocket::bind("0.0.0.0:67").expect("port 67"));
    refuses(&lab, &[], &binary("dhcpd"), &[], "Address already in use");
    drop(socket);
}

#[test]
fn an_interface_that_can_never_be_served_is_refused() {
    let lab = Lab::new();
    refuses(&lab, &[], &binary("dhcpd"), &["lo"], "lo: it is a loopback interface");
}
