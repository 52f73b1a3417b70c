//! Records as a kernel 6.18 wrote them, and as none ever would.

use std::path::Path;

use proptest::prelude::*;

use super::*;

const CLOCK: Clock = Clock { moment: Moment(50_000_000_000), wall: 1_763_760_005_000_000_000 };

/// A call's event: SYSCALL with this number and these arguments, these targets, a command, an end.
fn event(call: &str, targets: &[i32]) -> Vec<(u16, String)> {
    let stamp = "audit(1763760000.250:77): ";
    let sender = "success=yes exit=0 items=0 ppid=900 pid=901 auid=1000 uid=1 gid=0 euid=2 suid=0 \
        fsuid=0 egid=0 sgid=0 fsgid=0 tty=pts0 ses=3 comm=\"kill\" exe=\"/usr/bin/kill\" key=(null)";
    let mut records = vec![(wire::SYSCALL, format!("{stamp}{call} {sender}"))];
    for target in targets {
        let text = format!("{stamp}opid={target} oauid=-1 ouid=0 oses=-1 ocomm=\"daemon\"");
        records.push((wire::OBJ_PID, text));
    }
    let command = "2F62696E2F6B696C6C002D5445524D003134363239";
    records.push((wire::PROCTITLE, format!("{stamp}proctitle={command}")));
    records.push((wire::EOE, stamp.to_owned()));
    records
}

fn told(records: &[(u16, String)]) -> Vec<Seen> {
    let (mut assembler, mut seen) = (Assembler::default(), Vec::new());
    for (kind, text) in records {
        assembler.record(*kind, text.as_bytes(), CLOCK, &mut seen);
    }
    seen
}

#[test]
fn a_kill_aimed_at_a_thread() {
    let seen = told(&event("arch=c000003e syscall=62 a0=3925 a1=f a2=0 a3=0", &[14628]));
    let [seen] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(seen.target, Target { pid: 14628, tid: 14629 });
    assert_eq!((seen.signal, seen.via), (libc::SIGTERM, Via::Kill));
    assert_eq!((seen.confidence, seen.witness), (Confidence::Certain, Witness::Audit));
    // 4.75 s before the clock was read.
    assert_eq!(seen.at, Moment(45_250_000_000));
    let sender = seen.sender.as_ref().expect("a sender");
    assert_eq!(
        (sender.pid, sender.uid, sender.euid, sender.auid),
        (901, Some(1), Some(2), Some(1000))
    );
    assert_eq!(sender.exe, Exe::Path("/usr/bin/kill".into()));
    assert_eq!(sender.name.as_deref(), Some("kill"));
    assert_eq!(sender.command_line().as_deref(), Some("/bin/kill -TERM 14629"));
    assert_eq!(sender.parents, [(900, String::new())]);
}

#[test]
fn every_way_on_every_machine() {
    let (pid, tid) = (0x100, 0x101);
    let process = Target { pid, tid: pid };
    let thread = Target { pid, tid };
    for (call, via, target) in [
        ("arch=c000003e syscall=62 a0=100 a1=9 a2=0", Via::Kill, process),
        ("arch=c000003e syscall=62 a0=ffffff00 a1=9 a2=0", Via::Group, process),
        ("arch=c000003e syscall=62 a0=0 a1=9 a2=0", Via::Group, process),
        ("arch=c000003e syscall=200 a0=101 a1=9 a2=0", Via::Thread, thread),
        ("arch=c000003e syscall=234 a0=100 a1=101 a2=9", Via::Thread, thread),
        ("arch=c000003e syscall=129 a0=100 a1=9 a2=7ffe", Via::Queue, process),
        ("arch=c000003e syscall=297 a0=100 a1=101 a2=9", Via::Queue, thread),
        ("arch=c000003e syscall=424 a0=3 a1=9 a2=0", Via::Pidfd, process),
        ("arch=40000003 syscall=37 a0=100 a1=9 a2=0", Via::Kill, process),
        ("arch=40000003 syscall=270 a0=100 a1=101 a2=9", Via::Thread, thread),
        ("arch=c00000b7 syscall=129 a0=100 a1=9 a2=0", Via::Kill, process),
        ("arch=40000028 syscall=268 a0=100 a1=101 a2=9", Via::Thread, thread),
    ] {
        let seen = told(&event(&format!("{call} a3=0"), &[pid]));
        assert_eq!(seen.len(), 1, "{call}");
        assert_eq!((seen[0].via, seen[0].target, seen[0].signal), (via, target, 9), "{call}");
    }
}

#[test]
fn what_is_none_of_ours() {
    for call in [
        "arch=c000003e syscall=61 a0=100 a1=9 a2=0",
        "arch=c000003e syscall=62 a0=100 a1=0 a2=0",
        "arch=c000003e syscall=62 a0=100 success=no a1=9 a2=0",
        "arch=deadbeef syscall=62 a0=100 a1=9 a2=0",
        "arch=c000003e syscall=62 a0=100",
        "arch=c000003e a0=100 a1=9 a2=0",
    ] {
        assert_eq!(told(&event(call, &[256])), [], "{call}");
    }
}

#[test]
fn a_group_has_many_targets() {
    let seen = told(&event("arch=c000003e syscall=62 a0=fffffffffffffc18 a1=f a2=0", &[5, 6, 7]));
    assert_eq!(seen.iter().map(|seen| seen.target.pid).collect::<Vec<_>>(), [5, 6, 7]);
    assert!(seen.iter().all(|seen| seen.via == Via::Group && !seen.target.is_thread()));
}

#[test]
fn without_a_targets_record() {
    let seen = told(&event("arch=c000003e syscall=234 a0=100 a1=101 a2=9", &[]));
    assert_eq!(seen[0].target, Target { pid: 256, tid: 257 });
    let seen = told(&event("arch=c000003e syscall=62 a0=100 a1=9 a2=0", &[]));
    assert_eq!(seen[0].target, Target { pid: 256, tid: 256 });
    // A descriptor says nothing to others.
    assert_eq!(told(&event("arch=c000003e syscall=424 a0=3 a1=9 a2=0", &[])), []);
}

#[test]
fn mixed_and_cut_short() {
    let first = event("arch=c000003e syscall=62 a0=100 a1=9 a2=0", &[256]);
    let second: Vec<_> = event("arch=c000003e syscall=62 a0=200 a1=f a2=0", &[512])
        .into_iter()
        .map(|(kind, text)| (kind, text.replace(":77)", ":78)")))
        .collect();
    let mixed: Vec<_> =
        first.iter().zip(&second).flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
    let seen = told(&mixed);
    assert_eq!(
        seen.iter().map(|seen| (seen.target.pid, seen.signal)).collect::<Vec<_>>(),
        [(256, 9), (512, 15)]
    );
    // Without its end an event is told when we give up waiting for it, with what there is.
    let (mut assembler, mut seen) = (Assembler::default(), Vec::new());
    for (kind, text) in first.iter().take(2) {
        assembler.record(*kind, text.as_bytes(), CLOCK, &mut seen);
    }
    assert_eq!(seen, []);
    assembler.finish(CLOCK, &mut seen);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].sender.as_ref().and_then(Sender::command_line), None);
    // And when too many others have begun.
    seen.clear();
    for number in 0..=OPEN {
        let text = first[0].1.replace(":77)", &format!(":{number})"));
        assembler.record(wire::SYSCALL, text.as_bytes(), CLOCK, &mut seen);
    }
    assert_eq!((seen.len(), assembler.open.len()), (1, OPEN));
}

#[test]
fn what_a_process_may_choose() {
    assert_eq!(value(b"\"kill\""), Some(b"kill".to_vec()));
    assert_eq!(value(b"612062"), Some(b"a b".to_vec()));
    assert_eq!(value(b"\"").as_deref(), None);
    for bad in ["", "6", "6g", "(null)", "\"open"] {
        assert_eq!(value(bad.as_bytes()), None, "{bad}");
    }
    let strange = "audit(1.000:1): arch=c000003e syscall=62 success=yes a0=2 a1=9 a2=0 pid=7 \
        auid=4294967295 uid=0 euid=0 ppid=1 comm=61206578653D exe=2F746D702F6120 key=(null)";
    let seen = told(&[(wire::SYSCALL, strange.into()), (wire::EOE, "audit(1.000:1):".into())]);
    let sender = seen[0].sender.as_ref().expect("a sender");
    assert_eq!(sender.name.as_deref(), Some("a exe="));
    assert!(matches!(&sender.exe, Exe::Path(path) if path == Path::new("/tmp/a ")));
    assert_eq!((sender.auid, sender.parents.len()), (None, 0));
    // Before we were booted, as a clock that was set says.
    assert_eq!(seen[0].at, Moment(0));
}

proptest! {
    #[test]
    fn any_text(texts in proptest::collection::vec(("[ -~]{0,80}", 0u16..5), 0..20)) {
        let kinds = [wire::SYSCALL, wire::OBJ_PID, wire::PROCTITLE, wire::EOE, 0];
        let records: Vec<_> = texts
            .into_iter()
            .map(|(text, kind)| (kinds[usize::from(kind)], format!("audit(1.0:1): {text}")))
            .collect();
        told(&records);
    }

    #[test]
    fn any_command(bytes in proptest::collection::vec(any::<u8>(), 1..100)) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        prop_assert_eq!(value(hex.as_bytes()), Some(bytes));
    }
}
