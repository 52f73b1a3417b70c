//! How each client is started: its command line, its configuration, and where it keeps what it
//! knows. Not what becomes of it then.

use super::{Habits, Kind};
use crate::lab::Lab;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What every client with a script calls on each event. It writes the event down and, where the
/// client leaves that to its script, looks whether somebody has the address already and gives it to
/// the interface.
const SCRIPT: &str = r#"#!/bin/sh
event=${reason:-$1}
address=${new_ip_address:-$ip}
case $event in
BOUND|REBOOT)
	if [ "$LOOKS" ] && ! busybox arping -D -q -c 2 -w 2 -I "$interface" "$address"; then
		echo "event=CONFLICT address=$address" >>"$EVENTS"
		exit 1
	fi ;;
esac
case $event in
bound|renew|BOUND|RENEW|REBIND|REBOOT)
	[ "$CONFIGURES_ITSELF" ] || ip addr replace "$address/24" dev "$interface" ;;
deconfig|PREINIT|EXPIRE|FAIL|RELEASE|STOP)
	[ "$CONFIGURES_ITSELF" ] || ip addr flush dev "$interface" ;;
esac
echo "event=$event address=$address router=${new_routers:-$router} \
dns=${new_domain_name_servers:-$dns} domain=${new_domain_name:-$domain} \
lease=${new_dhcp_lease_time:-$lease} mtu=${new_interface_mtu:-$mtu}" | tr -s ' ' >>"$EVENTS"
"#;

/// The command, and the file that its events are read from.
pub(super) fn command(lab: &Lab, kind: Kind, habits: &Habits) -> (Command, PathBuf) {
    let name = kind.name();
    let script = lab.write("script", SCRIPT);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("chmod");
    let events = lab.path(&format!("{name}.events"));
    fs::write(&events, "").expect("write the events");
    let mut command = match kind {
        Kind::Udhcpc => udhcpc(lab, habits, &script),
        Kind::Dhclient => dhclient(lab, habits, &script, &events),
        Kind::Dhcpcd => dhcpcd(lab, habits, &script, &events),
        Kind::Networkd => networkd(lab),
    };
    command.env("EVENTS", &events);
    (command, events)
}

/// Its package named udhcpc is one symbolic link: not every machine has it.
fn udhcpc(lab: &Lab, habits: &Habits, script: &Path) -> Command {
    let mut command = lab.client.command("busybox");
    command
        .args(["udhcpc", "-f", "-i", "cli0", "-t", "10", "-T", "1", "-A", "1", "-s"])
        .arg(script);
    if habits.looks {
        command.arg("-a");
    }
    if let Some(address) = habits.wants {
        command.arg("-r").arg(address.to_string());
    }
    if habits.asks_for_ipv6 {
        command.args(["-O", "108"]);
    }
    command
}

fn dhclient(lab: &Lab, habits: &Habits, script: &Path, events: &Path) -> Command {
    let config = lab.write(
        "dhclient.conf",
        "initial-interval 1; backoff-cutoff 2; timeout 30; retry 1; reboot 5;\n\
         request subnet-mask, routers, domain-name, domain-name-servers, interface-mtu;\n",
    );
    let mut command = lab.client.command("dhclient");
    command.args(["-4", "-d", "-cf"]).arg(config);
    command.arg("-lf").arg(lab.path("dhclient.leases"));
    command.arg("-pf").arg(lab.path("dhclient.pid"));
    command.arg("-sf").arg(script).arg("cli0");
    command.arg("-e").arg(format!("EVENTS={}", events.display()));
    if habits.looks {
        command.args(["-e", "LOOKS=1"]);
    }
    command
}

/// Its state has a fixed place; `ip netns exec` has made a mount namespace, so each lab puts a place
/// of its own there.
fn dhcpcd(lab: &Lab, habits: &Habits, script: &Path, events: &Path) -> Command {
    let (events, script) = (events.display(), script.display());
    let mut config = format!(
        "ipv4only\nnoipv4ll\nduid\nclientid\nscript {script}\nenv EVENTS={events}\n\
         env CONFIGURES_ITSELF=1\noption routers, domain_name_servers, domain_name, interface_mtu\n"
    );
    if !habits.looks {
        // It takes seconds.
        config += "noarp\n";
    }
    if let Some(address) = habits.informs {
        config += &format!("inform {address}/24\n");
    }
    let config = lab.write("dhcpcd.conf", &config);
    let state = folder(lab, "dhcpcd.state");
    let mut command = lab.client.command("sh");
    command.arg("-c").arg(format!(
        "mkdir -p /run/dhcpcd /var/lib/dhcpcd && mount -t tmpfs none /run/dhcpcd && \
         mount --bind {} /var/lib/dhcpcd && exec dhcpcd -4 -B -f {} cli0",
        state.display(),
        config.display()
    ));
    command
}

/// It runs without systemd as process 1, without D-Bus and without udev, which it does not wait for
/// where /sys cannot be written to.
fn networkd(lab: &Lab) -> Command {
    let state = folder(lab, "networkd");
    fs::create_dir_all(state.join("network")).expect("a folder");
    fs::write(
        state.join("network/10-cli0.network"),
        "[Match]\nName=cli0\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n\
         [DHCPv4]\nClientIdentifier=mac\nUseMTU=yes\n",
    )
    .expect("its configuration");
    let mut command = lab.client.command("sh");
    command.arg("-c").arg(format!(
        "mount -t tmpfs none /run && mount -o remount,bind,ro /sys && mkdir /run/systemd && \
         mount --bind {} /run/systemd && mkdir -p /run/systemd/netif/leases /run/systemd/netif/links && \
         chown -R systemd-network:systemd-network /run/systemd/netif && \
         SYSTEMD_LOG_LEVEL=debug exec /lib/systemd/systemd-networkd",
        state.display()
    ));
    command
}

fn folder(lab: &Lab, name: &str) -> PathBuf {
    let path = lab.path(name);
    fs::create_dir_all(&path).expect("a folder");
    path
}
