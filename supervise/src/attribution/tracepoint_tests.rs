//! What a kernel (6.18, x86-64) recorded, and what it means.

use super::*;
use crate::attribution::ring::Layout;

const HEADER: &str = include_str!("../../tests/vectors/ring/header_page");
/// A shell that has started sleep and kills it, then itself.
const KILL: &[u8] = include_bytes!("../../tests/vectors/ring/kill.page");

fn format(name: &'static str) -> Result<String, Unfit> {
    Ok(match name {
        SIGNAL => include_str!("../../tests/vectors/ring/signal_generate"),
        TASK => include_str!("../../tests/vectors/ring/task_newtask"),
        RENAME => include_str!("../../tests/vectors/ring/task_rename"),
        EXEC => include_str!("../../tests/vectors/ring/sched_process_exec"),
        EXIT => include_str!("../../tests/vectors/ring/sched_process_exit"),
        _ => return Err(Unfit(name)),
    }
    .to_owned())
}

#[test]
fn a_kernels_page() {
    let formats = Formats::parse(format).expect("formats");
    let page = Layout::parse(HEADER).expect("a layout").page(KILL).expect("a page");
    let records: Vec<Record> = page
        .events()
        .map(|event| formats.decode(&event.expect("sound")).expect("one of ours"))
        .collect();
    let (test, shell, sleep, kill) = (26_544, 26_628, 26_629, 26_630);
    let task = |by, tid, name: &str| Record::Task { by, tid, name: name.into(), kind: Kind::Child };
    let rename = |tid, name: &str| Record::Rename { tid, name: name.into() };
    let exec = |pid, path: &str| Record::Exec { pid, by: pid, path: path.into() };
    let signal = |signal, code, target, by| {
        Record::Signal(Generated { signal, code, target, group: true, by, interrupt: false })
    };
    assert_eq!(
        records,
        [
            task(test, shell, "python3"),
            rename(shell, "sh"),
            exec(shell, "/bin/sh"),
            task(shell, sleep, "sh"),
            rename(sleep, "sleep"),
            exec(sleep, "/bin/sleep"),
            task(shell, kill, "sh"),
            rename(kill, "kill"),
            exec(kill, "/bin/kill"),
            signal(libc::SIGTERM, 0, sleep, kill),
            Record::Exit { tid: sleep },
            // No filter was set.
            signal(libc::SIGCHLD, 2, shell, sleep),
            Record::Exit { tid: kill },
            signal(libc::SIGCHLD, 1, shell, kill),
            signal(libc::SIGKILL, 0, shell, shell),
            Record::Exit { tid: shell },
            signal(libc::SIGCHLD, 2, test, shell),
        ]
    );
}

#[test]
fn what_is_missing_is_named() {
    for (name, lacks) in [(SIGNAL, "group"), (TASK, "clone_flags"), (EXEC, "old_pid")] {
        let less = |asked| {
            let text = format(asked)?;
            Ok(if asked == name { text.replace(lacks, "other") } else { text })
        };
        assert_eq!(Formats::parse(less).err(), Some(Unfit(name)));
    }
}

#[test]
fn nobody_is_blamed_for_the_kernel() {
    const TERM: i32 = libc::SIGTERM;
    let sent = Generated { signal: TERM, code: 0, target: 7, group: true, by: 8, interrupt: false };
    let other = Runner::default();
    let own = Runner { same_process: true, ..other };
    let kernel = Runner { kernel: true, ..other };
    let ending = Runner { ending: true, ..other };
    let nobody = (Via::Kernel, false);
    let code = |code| Generated { code, ..sent };
    assert_eq!(sent.via(other), (Via::Process, true));
    assert_eq!(sent.via(own), (Via::Process, true));
    assert_eq!(sent.via(ending), (Via::ParentDeath, true));
    assert_eq!(sent.via(kernel), nobody);
    assert_eq!(Generated { interrupt: true, ..sent }.via(other), nobody);
    assert_eq!(code(libc::SI_KERNEL).via(other), nobody);
    assert_eq!(code(1).via(other), nobody);
    assert_eq!(code(libc::SI_TKILL).via(other), (Via::Thread, true));
    assert_eq!(code(libc::SI_QUEUE).via(other), (Via::Queue, true));
    assert_eq!(code(libc::SI_TIMER).via(own), nobody);
    assert_eq!(code(libc::SI_TIMER).via(other), (Via::Queue, true));
    let thread = Generated { group: false, ..sent };
    assert_eq!(thread.via(other), (Via::Unknown, true));
    assert_eq!(Generated { by: 7, ..thread }.via(own), nobody);
    let killed = Generated { signal: libc::SIGKILL, ..thread };
    assert_eq!(killed.via(other), (Via::Cgroup, true));
    assert_eq!(Generated { by: 7, ..killed }.via(own), (Via::Cgroup, true));
}

#[test]
fn harmless_signals_are_left_out() {
    let filter = filter();
    assert!(filter.starts_with("sig != 17 && ") && filter.contains("sig != 23"), "{filter}");
    assert!(!filter.contains("sig != 15"));
}
