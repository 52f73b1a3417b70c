//! The lines that people search their logs for, spec section 21, to the letter.

use super::tests_kit::*;
use super::*;
use crate::config::Hardware;
use log::Level;
use std::cell::RefCell;

thread_local! {
    static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.with_borrow_mut(|lines| lines.push((record.level(), record.args().to_string())));
    }

    fn flush(&self) {}
}

/// The lines above debug level since the last call.
pub(super) fn lines() -> Vec<String> {
    let all = LINES.take();
    all.into_iter().filter(|(l, _)| *l <= Level::Info).map(|(l, t)| format!("{l} {t}")).collect()
}

pub(super) fn capture() {
    let _ = log::set_logger(&Capture);
    log::set_max_level(log::LevelFilter::Debug);
    lines();
}

#[test]
fn the_messages() {
    capture();
    let mut b = Bench::pinging(config());
    b.silent(&discover(1));
    assert_eq!(lines(), ["INFO DHCPDISCOVER from 02:00:00:00:00:01 via em0"]);
    b.silent(&discover(1));
    assert_eq!(lines()[1], "INFO already acking lease 10.0.0.10");
    b.pass(1);
    assert_eq!(lines(), ["INFO DHCPOFFER on 10.0.0.10 to 02:00:00:00:00:01 via em0"]);
    b.send(&select(1, ip("10.0.0.10")));
    assert_eq!(
        lines(),
        [
            "INFO DHCPREQUEST for 10.0.0.10 from 02:00:00:00:00:01 via em0",
            "INFO DHCPACK on 10.0.0.10 to 02:00:00:00:00:01 via em0",
        ]
    );
    b.send(&reboot(1, ip("10.0.0.10")).relayed());
    assert_eq!(
        lines(),
        [
            "INFO DHCPREQUEST for 10.0.0.10 from 02:00:00:00:00:01 via 10.1.0.1",
            "INFO DHCPNAK on 10.0.0.10 to 02:00:00:00:00:01 via 10.1.0.1",
        ]
    );
    b.send(&release(1, ip("10.0.0.10")));
    b.send(&release(1, ip("10.0.0.10")));
    b.send(&release(2, ip("10.0.0.10")));
    b.pass(1);
    b.send(&release(1, ip("10.0.0.10")));
    let release = "INFO DHCPRELEASE of 10.0.0.10 from 02:00:00:00:00:01 via em0";
    assert_eq!(
        lines(),
        [
            format!("{release} (found)"),
            format!("{release} ignored (release already pending)"),
            "INFO DHCPRELEASE of 10.0.0.10 from 02:00:00:00:00:02 via em0 (not found)".to_owned(),
            "INFO Released lease for IP address 10.0.0.10".to_owned(),
            format!("{release} for nonexistent lease"),
        ]
    );
    b.send(&Ask { ciaddr: ip("10.0.0.9"), ..ask(message::INFORM, 3) });
    assert_eq!(
        lines(),
        ["INFO DHCPINFORM from 10.0.0.9", "INFO DHCPACK to 10.0.0.9 (02:00:00:00:00:03) via em0"]
    );
    b.send(&Ask { hw: vec![], ..discover(1) }.id(b"x"));
    assert_eq!(lines(), ["INFO DHCPDISCOVER from <null> via em0"]);
}

#[test]
fn trouble() {
    capture();
    let mut config = config();
    config.subnets[0].ranges[0].high = ip("10.0.0.10");
    config.subnets[1].settings.unknown_clients = Some(false);
    config.hosts.push(host("denied", mac(9), &[]));
    config.hosts.push(host("fixed", mac(8), &["10.1.0.10"]));
    config.hosts[0].settings.booting = Some(false);
    let mut b = Bench::with(config);
    let address = ip("10.0.0.10");
    b.send(&discover(1));
    b.send(&select(1, address));
    lines();

    b.send(&discover(2));
    assert_eq!(lines()[1..], ["INFO no free leases on subnet 10.0.0.0"]);
    b.send(&discover(3).relayed());
    assert_eq!(lines()[1..], ["INFO Ignoring unknown client 02:00:00:00:00:03"]);
    b.send(&discover(9).relayed());
    assert_eq!(lines()[1..], ["INFO Declining to boot client denied"]);
    b.send(&reboot(9, ip("10.1.0.11")).relayed());
    assert_eq!(lines()[1..], ["INFO Declining to renew client denied"]);

    b.send(&decline(1, address));
    assert_eq!(
        lines(),
        [
            "INFO DHCPDECLINE on 10.0.0.10 from 02:00:00:00:00:01 via em0",
            "ERROR Abandoning IP address 10.0.0.10 for 43200 seconds: declined.",
        ]
    );
    b.send(&reboot(2, address));
    assert_eq!(lines()[1], "ERROR Reclaiming REQUESTed abandoned IP address 10.0.0.10.");
    b.send(&decline(2, address));
    b.pass(43_200);
    lines();
    b.send(&discover(1));
    assert_eq!(lines()[1], "ERROR Reclaiming abandoned IP address 10.0.0.10.");

    let record = |address: Ipv4Addr, client: u16| LeaseRecord {
        ends: b.now.wall + 100,
        client_id: Some(b"id".to_vec()),
        hardware: Some(Hardware { htype: 1, addr: mac(client).to_vec() }),
        ..LeaseRecord::new(address)
    };
    let records =
        [record(ip("10.1.0.10"), 1), record(ip("10.1.0.11"), 8), record(ip("10.1.0.12"), 8)];
    records.into_iter().for_each(|r| b.engine.load(r, b.now));
    assert_eq!(lines(), ["ERROR Both dynamic and static leases present for 10.1.0.10."]);
}

#[test]
fn duplicates_pings_and_the_rest() {
    capture();
    let mut b = Bench::pinging(config());
    for (last, ends) in [(10, 500), (11, 900)] {
        let record = LeaseRecord {
            ends: START + ends,
            client_id: Some(b"id".to_vec()),
            hardware: Some(Hardware { htype: 1, addr: mac(1).to_vec() }),
            ..LeaseRecord::new(Ipv4Addr::new(10, 0, 0, last))
        };
        b.engine.load(record, b.now);
    }
    b.send(&renew(1, ip("10.0.0.10")).id(b"id"));
    assert_eq!(lines()[1], "ERROR client 02:00:00:00:00:01 has duplicate leases on 10.0.0.0");

    b.send(&discover(2));
    b.echo(ip("10.0.0.12"));
    b.echo(ip("10.0.0.12"));
    b.echo(ip("10.0.0.99"));
    assert_eq!(
        lines()[1..],
        [
            "ERROR Abandoning IP address 10.0.0.12 for 43200 seconds: pinged before offer",
            "WARN ICMP Echo Reply for 10.0.0.12 arrived late or is spurious.",
            "WARN unexpected ICMP Echo Reply from 10.0.0.99",
        ]
    );
    b.send(&release(1, ip("10.0.0.10")).id(b"id"));
    b.echo(ip("10.0.0.10"));
    assert_eq!(lines()[1..], ["WARN Possible release spoof - Not releasing address 10.0.0.10"]);

    let mut bytes = discover(1).bytes();
    bytes[2] = 17;
    b.engine.input(&bytes, &Bench::meta(None), b.now, &mut b.out);
    assert_eq!(lines(), ["INFO Discarding packet with invalid hlen."]);

    let mut bytes = discover(1).bytes();
    bytes[242] = 0;
    bytes.truncate(240);
    for cookie in [99, 0, 0] {
        bytes[239] = cookie;
        b.engine.input(&bytes, &Bench::meta(None), b.now, &mut b.out);
    }
    assert_eq!(
        lines(),
        [
            "INFO BOOTREQUEST from 02:00:00:00:00:01 via em0",
            "INFO No applicable record for BOOTP host 02:00:00:00:00:01 via em0",
            "INFO BOOTREQUEST from 02:00:00:00:00:01 via em0 (non-rfc1048)",
            "INFO No applicable record for BOOTP host 02:00:00:00:00:01 via em0",
            "INFO BOOTREQUEST from 02:00:00:00:00:01 via em0 (non-rfc1048)",
            "INFO No applicable record for BOOTP host 02:00:00:00:00:01 via em0",
        ]
    );
}

/// Rapid commit says what came and what left, each once, however long the ping takes.
#[test]
fn a_lease_at_once() {
    capture();
    let mut config = config();
    config.subnets[0].settings.rapid_commit = Some(true);
    let mut b = Bench::pinging(config);
    b.send(&discover(1).with(80, []));
    assert_eq!(lines(), ["INFO DHCPDISCOVER from 02:00:00:00:00:01 via em0"]);
    b.pass(1);
    assert_eq!(lines(), ["INFO DHCPACK on 10.0.0.10 to 02:00:00:00:00:01 via em0"]);
    b.send(&discover(1).with(80, []));
    assert_eq!(
        lines(),
        [
            "INFO DHCPDISCOVER from 02:00:00:00:00:01 via em0",
            "INFO DHCPACK on 10.0.0.10 to 02:00:00:00:00:01 via em0",
        ]
    );
}
