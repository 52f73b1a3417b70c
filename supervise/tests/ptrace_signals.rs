//! Who sent a signal that ended a traced process, or could have: by every way that there is to
//! send one.

use supervise::attribution::{Confidence, Reason, Seen, Target, Via, Witness};
use supervise::{Exe, Exit};

use super::stage::{self, Stage, ends, kill};
use super::{TERM, forks, in_order};

/// What was seen of one signal, and only of that one.
pub fn only(stage: &Stage) -> &Seen {
    assert_eq!(stage.heard.seen.len(), 1, "{:?}", stage.heard.seen);
    &stage.heard.seen[0]
}

pub fn by_us(seen: &Seen, via: Via, target: Target) {
    assert_eq!((seen.signal, seen.via, seen.target), (libc::SIGTERM, via, target), "{seen}");
    assert_eq!((seen.confidence, seen.witness), (Confidence::Reported, Witness::Ptrace), "{seen}");
    let sender = seen.sender.as_ref().expect("a sender");
    assert_eq!(sender.pid, std::process::id().cast_signed());
    assert_eq!(sender.uid, Some(nix::unistd::getuid().as_raw()));
    assert_eq!(sender.exe, own_exe());
}

pub fn kills_straight_to_it_are_attributed() {
    let mut stage = Stage::start("waits", &[]);
    stage.ready();
    kill(stage.pid, libc::SIGTERM);
    assert_eq!(stage.end(), TERM);
    by_us(only(&stage), Via::Process, Target { pid: stage.pid, tid: stage.pid });
    in_order(&stage.heard);
}

pub fn another_programs_kill_is_attributed() {
    let mut stage = Stage::start("waits", &[]);
    stage.ready();
    let script = format!("kill -TERM {}; exec sleep 100", stage.pid);
    let mut shell = std::process::Command::new("/bin/sh");
    let shell = shell.args(["-c", &script]).spawn().expect("sh").id().cast_signed();
    assert_eq!(stage.end(), TERM);
    let sender = only(&stage).sender.clone().expect("a sender");
    kill(shell, libc::SIGKILL);
    stage.until("the shell is heard too", |heard| !ends(heard, shell).is_empty());
    assert_eq!(sender.pid, shell);
    let Exe::Path(exe) = &sender.exe else { panic!("{sender}") };
    let names = [std::fs::canonicalize("/bin/sh"), std::fs::canonicalize("/bin/sleep")];
    assert!(names.iter().any(|name| name.as_ref().is_ok_and(|name| name == exe)), "{sender}");
    assert!(!ends(&stage.heard, shell)[0].1, "nobody traces it");
}

pub fn a_number_of_a_thread() {
    let mut stage = Stage::start("threads", &["50"]);
    let tids = stage.ready();
    assert_eq!(tids.len(), 50);
    let tid = tids[31];
    assert_eq!(stage.waiter.member(tid).map(|id| id.pid), Some(stage.pid));
    kill(tid, libc::SIGTERM);
    assert_eq!(stage.end(), TERM);
    by_us(only(&stage), Via::Process, Target { pid: stage.pid, tid });
    in_order(&stage.heard);
    assert_eq!(forks(&stage.heard).len(), 1, "threads are no processes");
    assert_eq!(stage.waiter.member(tid), None);
}

/// Another thread has it then, and nobody's number but the process's was used.
pub fn the_first_thread_does_not_take_it() {
    let mut stage = Stage::start("first blocks", &[]);
    stage.ready();
    kill(stage.pid, libc::SIGTERM);
    assert_eq!(stage.end(), TERM);
    by_us(only(&stage), Via::Process, Target { pid: stage.pid, tid: stage.pid });
}

pub fn to_one_thread_on_purpose() {
    let mut stage = Stage::start("threads", &["3"]);
    let tid = stage.ready()[1];
    // SAFETY: a system call on plain numbers; both are those of a process of ours.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, stage.pid, tid, libc::SIGTERM) };
    assert_eq!(sent, 0);
    assert_eq!(stage.end(), TERM);
    by_us(only(&stage), Via::Thread, Target { pid: stage.pid, tid });
}

pub fn a_forged_sender_only_claims() {
    let mut stage = Stage::start("waits", &[]);
    stage.ready();
    stage::queue(stage.pid, libc::SIGTERM, libc::SI_QUEUE, 1);
    assert_eq!(stage.end(), TERM);
    let seen = only(&stage);
    assert_eq!((seen.via, seen.confidence), (Via::Queue, Confidence::Claimed));
    assert_eq!(seen.sender.as_ref().map(|sender| sender.pid), Some(1));

    // Nor is somebody believed who says that he is a timer.
    let mut stage = Stage::start("waits", &[]);
    stage.ready();
    stage::queue(stage.pid, libc::SIGTERM, libc::SI_TIMER, 1);
    assert_eq!(stage.end(), TERM);
    let seen = only(&stage);
    assert_eq!((seen.confidence, &seen.sender), (Confidence::Claimed, &None));
}

pub fn an_alarm_is_the_kernels() {
    let mut stage = Stage::start("alarm", &[]);
    assert_eq!(stage.end(), Exit::Signaled { signal: libc::SIGALRM, core: false });
    let seen = only(&stage);
    assert_eq!((seen.via, &seen.sender), (Via::Kernel, &None));
    assert_eq!(seen.confidence, Confidence::Unknown(Reason::Kernel));
}

pub fn a_code_of_143_stays_one() {
    let mut stage = Stage::start("exits 143", &[]);
    stage.ready();
    kill(stage.pid, libc::SIGTERM);
    assert_eq!(stage.end(), Exit::Exited(143));
    by_us(only(&stage), Via::Process, Target { pid: stage.pid, tid: stage.pid });
}

/// A number from another namespace is nobody's here.
pub fn from_another_pid_namespace() {
    if !nix::unistd::getuid().is_root() {
        return;
    }
    let mut stage = Stage::start("pid namespace", &[]);
    let heard = stage.all_ended();
    in_order(heard);
    let seen: Vec<_> = heard.seen.iter().filter(|seen| seen.signal == libc::SIGTERM).collect();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].confidence, Confidence::Unknown(Reason::OutOfNamespace));
    assert_eq!(seen[0].sender, None);
    assert!(forks(heard).iter().any(|(id, _)| id.pid == seen[0].target.pid));
}

pub fn own_exe() -> Exe {
    Exe::Path(std::fs::read_link("/proc/self/exe").expect("our own"))
}
