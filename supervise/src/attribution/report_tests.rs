//! What people and programs read.

use super::*;
use crate::attribution::{Target, Via};
use crate::track::ProcId;

const ID: ProcId = ProcId { pid: 684, start: Moment(0) };

fn at(seconds: u64) -> Moment {
    Moment(seconds * 1_000_000_000)
}

fn term(tid: i32) -> Entry {
    let sender = Sender {
        uid: Some(0),
        exe: Exe::Path("/usr/sbin/second".into()),
        command: Some(vec!["second".into(), "-d".into()]),
        parents: vec![(500, "cron".to_owned())],
        ..Sender::of(762)
    };
    let seen = Seen {
        at: at(10_799),
        signal: libc::SIGTERM,
        via: Via::Process,
        target: Target { pid: 684, tid },
        sender: Some(sender),
        confidence: Confidence::Certain,
        witness: Witness::Trace,
    };
    Entry { seen, witnesses: vec![Witness::Trace], relayed: None }
}

fn end(exit: Exit, signals: Vec<Entry>, verdict: Verdict) -> Explanation {
    Explanation { id: ID, exit: Some(exit), at: at(10_800), signals, verdict }
}

fn lines(end: &Explanation) -> String {
    Report { unit: "first", exe: Some(Path::new("/usr/sbin/first")), main: true, end }
        .lines()
        .join("\n")
}

const KILLED: Exit = Exit::Signaled { signal: libc::SIGTERM, core: false };

#[test]
fn the_story_of_the_stale_number() {
    let end = end(KILLED, vec![term(731)], Verdict::Killed(0));
    assert_eq!(
        lines(&end),
        "first (pid 684, /usr/sbin/first) killed by SIGTERM after 3 h 0 min\n\
         SIGTERM to thread 731 of process 684 by kill or pidfd_send_signal from pid 762 (uid 0, \
         /usr/sbin/second: second -d) (certain), seen by tracefs\n\
         pid 762: started by cron (500)\n\
         731 is no process but a thread of 684: whoever sends to the number in an old pid file \
         hits like this"
    );
}

#[test]
fn exit_143_three_ways() {
    let code = Exit::Exited(143);
    let unasked = lines(&end(code, vec![], Verdict::Left(None)));
    assert_eq!(
        unasked,
        "first (pid 684, /usr/sbin/first) exited with code 143 after 3 h 0 min\n\
         code 143 is 128 + 15 by the shells' convention, but the process called exit itself, and \
         no SIGTERM to it was seen"
    );
    let asked = lines(&end(code, vec![term(684)], Verdict::Left(Some(0))));
    assert!(asked.contains("1.0 s after SIGTERM, which it must have caught"), "{asked}");
    let killed = lines(&end(KILLED, vec![], Verdict::Unseen(Reason::NotObserved)));
    assert!(killed.contains("killed by SIGTERM") && !killed.contains("143"), "{killed}");
    assert!(killed.contains("--who=trace"), "{killed}");
}

#[test]
fn programs_read_it_too() {
    let json = |end: &Explanation| {
        let report = Report { unit: "first", exe: None, main: true, end };
        let text = report.json(&|moment| moment.0 / 1_000_000);
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")
    };
    let killed = json(&end(KILLED, vec![term(731)], Verdict::Killed(0)));
    assert_eq!(killed["outcome"]["signaled"]["name"], "SIGTERM");
    assert_eq!(killed["outcome"]["exited"], serde_json::Value::Null);
    assert_eq!((&killed["verdict"], &killed["signal"]), (&"killed".into(), &0.into()));
    let signal = &killed["signal_log"][0];
    assert_eq!((&signal["target_pid"], &signal["target_tid"]), (&684.into(), &731.into()));
    assert_eq!(signal["sender"]["exe"], "/usr/sbin/second");
    assert_eq!(signal["sender"]["command"], serde_json::json!(["second", "-d"]));
    assert_eq!(signal["at"], 10_799_000);
    let left = json(&end(Exit::Exited(143), vec![], Verdict::Left(None)));
    assert_eq!(left["outcome"], serde_json::json!({"exited": {"code": 143}}));
    assert_eq!(left["signal"], serde_json::Value::Null);
}

#[test]
fn who_asked_is_named_behind_us() {
    let mut passed = term(684);
    let mut asked = term(600).seen;
    asked.target = Target { pid: 600, tid: 600 };
    asked.witness = Witness::Wrapper;
    passed.seen.sender = Some(Sender::of(600));
    passed.relayed = Some(Box::new(asked));
    let text = lines(&end(KILLED, vec![passed], Verdict::Killed(0)));
    assert!(
        text.contains(
            "from pid 600 (gone) (certain), seen by tracefs\nwhich passes on SIGTERM to process 600"
        ),
        "{text}"
    );
    assert!(text.contains("pid 762: started by cron (500)"), "{text}");
}

#[test]
fn times_as_people_say_them() {
    let text = |seconds: u64, millis: u64| lasted(Duration::from_millis(seconds * 1000 + millis));
    assert_eq!(text(0, 7), "7 ms");
    assert_eq!(text(59, 990), "59.9 s");
    assert_eq!(text(61, 0), "1 min 1 s");
    assert_eq!(text(7260, 0), "2 h 1 min");
    assert_eq!(text(200_000, 0), "2 d 7 h");
}
