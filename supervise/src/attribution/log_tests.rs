//! The story of the daemon that died of somebody else's stale number, and others.

use super::*;

const DAEMON: ProcId = ProcId { pid: 684, start: Moment(1_000) };
const US: i32 = 600;
const TERM: i32 = libc::SIGTERM;

fn seconds(seconds: u64) -> Moment {
    Moment(seconds * 1_000_000_000)
}

fn sender(pid: i32, exe: &str) -> Sender {
    Sender { exe: Exe::Path(exe.into()), uid: Some(0), ..Sender::of(pid) }
}

fn seen(at: Moment, witness: Witness, target: i32, sender: Option<Sender>) -> Seen {
    let confidence = match witness {
        _ if sender.is_none() => Confidence::Unknown(Reason::Kernel),
        Witness::Wrapper | Witness::Ptrace => Confidence::Reported,
        Witness::Trace | Witness::Audit => Confidence::Certain,
    };
    let target = Target { pid: target, tid: target };
    Seen { at, signal: TERM, via: Via::Process, target, sender, confidence, witness }
}

fn killed(signal: i32) -> Option<Exit> {
    Some(Exit::Signaled { signal, core: false })
}

#[test]
fn a_thread_number_from_a_stale_file() {
    let mut log = Log::new(sender(US, "/usr/sbin/supervise"));
    let mut hit = seen(seconds(5), Witness::Trace, 684, Some(sender(762, "/usr/sbin/second")));
    hit.target.tid = 731;
    log.add(hit);
    let end = log.explain(DAEMON, killed(TERM), seconds(6), true);
    assert_eq!(end.verdict, Verdict::Killed(0));
    assert!(end.signals[0].seen.target.is_thread());
    assert_eq!(end.signals[0].seen.target.tid, 731);
}

#[test]
fn witnesses_are_put_together() {
    let mut log = Log::new(sender(US, "/usr/sbin/supervise"));
    log.add(seen(seconds(5), Witness::Trace, 684, Some(sender(762, "/bin/kill"))));
    let mut by_audit = seen(seconds(5), Witness::Audit, 684, Some(Sender::of(762)));
    by_audit.via = Via::Kill;
    by_audit.sender.as_mut().expect("one").auid = Some(1000);
    log.add(by_audit);
    let slow = seconds(5).after(Duration::from_millis(20));
    log.add(seen(slow, Witness::Ptrace, 684, Some(Sender::of(762))));
    let end = log.explain(DAEMON, killed(TERM), seconds(6), true);
    assert_eq!(end.signals.len(), 1);
    let entry = &end.signals[0];
    assert_eq!(entry.witnesses, [Witness::Ptrace, Witness::Trace, Witness::Audit]);
    assert_eq!((entry.seen.via, entry.seen.confidence), (Via::Kill, Confidence::Certain));
    let by = entry.seen.sender.as_ref().expect("a sender");
    assert_eq!((by.auid, &by.exe), (Some(1000), &Exe::Path("/bin/kill".into())));
    assert_eq!(entry.seen.at, seconds(5));
    // The same sender once more, and another one: two more signals.
    log.add(seen(seconds(5), Witness::Trace, 684, Some(sender(763, "/bin/kill"))));
    log.add(seen(seconds(6), Witness::Trace, 684, Some(sender(762, "/bin/kill"))));
    assert_eq!(log.explain(DAEMON, None, seconds(9), true).signals.len(), 3);
}

#[test]
fn a_lie_gives_way_to_the_truth() {
    let mut log = Log::new(sender(US, "/usr/sbin/supervise"));
    let mut claim = seen(seconds(5), Witness::Ptrace, 684, Some(Sender::of(1)));
    (claim.via, claim.confidence) = (Via::Queue, Confidence::Claimed);
    log.add(claim);
    let mut truth = seen(seconds(5), Witness::Trace, 684, Some(sender(4242, "/tmp/liar")));
    truth.via = Via::Queue;
    log.add(truth);
    let end = log.explain(DAEMON, killed(TERM), seconds(6), true);
    assert_eq!(end.signals.len(), 1);
    assert_eq!(end.signals[0].seen.sender.as_ref().expect("one").pid, 4242);
    assert_eq!(end.signals[0].seen.confidence, Confidence::Certain);
}

#[test]
fn what_we_pass_on_is_somebody_elses() {
    let mut log = Log::new(sender(US, "/usr/sbin/supervise"));
    let asked = seen(seconds(5), Witness::Wrapper, US, Some(sender(42, "/bin/systemctl")));
    log.passed_on(asked.clone(), 684, seconds(5));
    log.add(seen(seconds(5), Witness::Trace, 684, Some(sender(US, "/usr/sbin/supervise"))));
    let end = log.explain(DAEMON, killed(TERM), seconds(6), true);
    assert_eq!((end.verdict, end.signals.len()), (Verdict::Killed(0), 1));
    assert_eq!(end.signals[0].origin(), &asked);
    assert_eq!(end.signals[0].witnesses, [Witness::Wrapper, Witness::Trace]);
    // But what another one sends meanwhile is its own.
    log.add(seen(seconds(5), Witness::Trace, 684, Some(sender(77, "/bin/kill"))));
    let end = log.explain(DAEMON, killed(TERM), seconds(6), true);
    assert_eq!(end.signals[1].origin().sender.as_ref().expect("one").pid, 77);
    // And what we send because it did not stop is our own.
    log.sent(libc::SIGKILL, 684, seconds(9));
    let end = log.explain(DAEMON, killed(libc::SIGKILL), seconds(9), true);
    assert_eq!(end.signals[2].origin().sender.as_ref().expect("one").pid, US);
    assert_eq!(end.verdict, Verdict::Killed(2));
}

#[test]
fn who_raises_it_on_itself_was_asked_to() {
    let mut log = Log::new(sender(US, "/usr/sbin/supervise"));
    log.add(seen(seconds(5), Witness::Trace, 684, Some(sender(42, "/bin/kill"))));
    let mut own = seen(seconds(7), Witness::Trace, 684, Some(sender(684, "/usr/sbin/daemon")));
    own.via = Via::Thread;
    log.add(own);
    let end = log.explain(DAEMON, killed(TERM), seconds(7), true);
    assert_eq!(end.verdict, Verdict::Raised(1, Some(0)));
    let mut alone = Log::new(sender(US, "/usr/sbin/supervise"));
    alone.add(seen(seconds(7), Witness::Trace, 684, Some(sender(684, "/usr/sbin/daemon"))));
    let end = alone.explain(DAEMON, killed(TERM), seconds(7), true);
    assert_eq!(end.verdict, Verdict::Raised(0, None));
}

#[test]
fn exit_143_is_never_a_signal() {
    let mut log = Log::new(sender(US, "/usr/sbin/supervise"));
    let exit = Some(Exit::Exited(143));
    assert_eq!(log.explain(DAEMON, exit, seconds(6), true).verdict, Verdict::Left(None));
    log.add(seen(seconds(5), Witness::Trace, 684, Some(sender(42, "/bin/kill"))));
    let mut hup = seen(seconds(6), Witness::Trace, 684, Some(sender(42, "/bin/kill")));
    hup.signal = libc::SIGHUP;
    log.add(hup);
    assert_eq!(log.explain(DAEMON, exit, seconds(7), true).verdict, Verdict::Left(Some(0)));
    let other = Some(Exit::Exited(0));
    assert_eq!(log.explain(DAEMON, other, seconds(7), true).verdict, Verdict::Left(Some(1)));
    assert_eq!(log.explain(DAEMON, other, seconds(700), true).verdict, Verdict::Left(None));
}

#[test]
fn what_nobody_saw_is_not_guessed() {
    let mut log = Log::new(sender(US, "/usr/sbin/supervise"));
    // Another signal, to another process, before it began, and after it had ended.
    log.add(seen(seconds(5), Witness::Trace, 684, Some(sender(42, "/bin/kill"))));
    let kill = killed(libc::SIGKILL);
    let verdict = |log: &Log, watched| log.explain(DAEMON, kill, seconds(6), watched).verdict;
    assert_eq!(verdict(&log, false), Verdict::Unseen(Reason::NotObserved));
    assert_eq!(verdict(&log, true), Verdict::Unseen(Reason::Kernel));
    log.lost(seconds(4));
    assert_eq!(verdict(&log, true), Verdict::Unseen(Reason::Overrun));
    let later = ProcId { pid: 684, start: seconds(6) };
    assert!(log.explain(later, kill, seconds(9), true).signals.is_empty());
    assert!(log.explain(DAEMON, kill, seconds(4), true).signals.is_empty());
    assert_eq!(log.explain(DAEMON, None, seconds(6), true).verdict, Verdict::Lost);
}

#[test]
fn it_is_bounded() {
    let mut log = Log::new(sender(US, "/usr/sbin/supervise"));
    for at in 0..10_000 {
        log.add(seen(seconds(at), Witness::Trace, 684, None));
    }
    assert_eq!(log.entries.len(), KEPT);
    assert_eq!(log.explain(DAEMON, None, seconds(10_000), true).signals.len(), KEPT);
}
