//! What is printed, to the letter; and whole commands against a daemon that says what it is told to
//! and against components in files.

mod commands;

use super::message::tests::{full, resource, worker};
use super::message::{Answer, Code, Objection};
use super::watch::{Screen, Watch, settled};
use super::{json, render};
use crate::engine::{Consistency, Role};
use proptest::prelude::*;

const PLAIN: Screen = Screen { terminal: false, width: 80 };

fn answer(name: &str) -> Answer {
    Answer::Status(Box::new(full(name)))
}

fn failed(name: &str) -> Answer {
    Answer::Failed {
        resource: name.to_owned(),
        code: Code::NoEntry,
        why: "no such resource".to_owned(),
        loses: None,
    }
}

#[test]
fn status_as_freebsd_prints_it() {
    let mut idle = resource("idle");
    idle.role = Role::Init;
    let mut alone = full("alone");
    alone.worker.as_mut().unwrap().status.connected = false;
    let answers =
        [answer("data"), Answer::Status(idle.into()), failed("x"), Answer::Status(alone.into())];
    assert_eq!(
        render::status(&answers),
        "Name\tStatus\t Role\t\tComponents\n\
         data\tcomplete primary        /dev/da0\ttcp4://10.0.0.2\n\
         idle\t-        init           /dev/da0\ttcp4://10.0.0.2\n\
         x\tERR1\n\
         alone\tdegraded primary        /dev/da0\ttcp4://10.0.0.2\n"
    );
    assert_eq!(render::status(&[]), "");
}

#[test]
fn list_as_freebsd_prints_it_and_then_what_is_ours() {
    assert_eq!(
        render::list(&[answer("data"), failed("x")]),
        "data:
  role: primary
  provname: data
  localpath: /dev/da0
  extentsize: 2097152 (2.0MB)
  keepdirty: 64
  remoteaddr: tcp4://10.0.0.2
  sourceaddr: 10.0.0.1
  replication: memsync
  status: complete
  workerpid: 4711
  dirty: 6291456 (6.0MB)
  statistics:
    reads: 1
    writes: 2
    deletes: 3
    flushes: 4
    activemap updates: 5
    local errors: read: 6, write: 7, delete: 8, flush: 9
    queues: local: 12, send: 13, recv: 14, done: 0, idle: 245
  export: nbd+unix:///data?socket=/var/run/hastlite/data.sock
  checksum: none
  compression: hole
  datasize: 1073741824 (1.0GB)
  resuid: 18446744073709551615
  localcnt: 3
  remotecnt: 2
  consistency: consistent
  remote errors: 10
  marked: 8388608 (8.0MB)
  note: synchronizing from primary: 25% of 100MB, 5.0MB/s
  note: promotion needs --force (9B): the other node has newer data
x:
  error: 1
"
    );
    let mut bare = resource("b");
    bare.source = None;
    let text = render::list(&[Answer::Status(bare.into())]);
    let begin = "b:\n  role: primary\n  provname: b\n  localpath: /dev/da0\n  extentsize: 0 (0B)\n  \
                 keepdirty: 0\n  remoteaddr: tcp4://10.0.0.2\n  replication: memsync\n  dirty: 0 (0B)\n";
    assert!(text.starts_with(begin), "{text}");
}

#[test]
fn notes_say_what_is_wrong() {
    let mut one = full("data");
    one.objection = Some(Objection { loses: None, why: "two\nprimaries".to_owned() });
    let worker = one.worker.as_mut().unwrap();
    worker.status.connected = false;
    worker.status.sync = None;
    worker.status.detached = true;
    worker.status.consistency = Consistency::Inconsistent;
    worker.status.trouble = Some("Split-brain\x1b condition!".to_owned());
    assert_eq!(
        render::notes(&one),
        [
            "the local component has failed; the other node serves",
            "not connected: Split-brain? condition!",
            "6.0MB to be synchronized",
            "the local data is of different ages",
            "promotion needs --force: two?primaries"
        ]
    );
}

#[test]
fn numbers_for_people() {
    let cases = [
        (0, "0"),
        (999, "999"),
        (1000, "1.0K"),
        (1536, "1.5K"),
        (10_137, "9.9K"),
        (10_240, "10K"),
        (131_072, "128K"),
        (1_073_737_216, "1.0G"),
        (1 << 40, "1.0T"),
        (u64::MAX, "16E"),
    ];
    for (bytes, text) in cases {
        assert_eq!(render::human(bytes), text, "{bytes}");
    }
    assert_eq!(render::percent(0, 0), 100);
    assert_eq!(render::percent(999_999, 1_000_000), 99);
    assert_eq!(render::percent(u64::MAX, u64::MAX), 100);
    assert_eq!(render::percent(u64::MAX - 1, u64::MAX), 99);
}

#[test]
fn json_for_programs() {
    assert_eq!(
        json::resources(&[
            answer("data"),
            failed("x"),
            Answer::Done { resource: "y".to_owned(), before: Role::Init }
        ]),
        concat!(
            r#"{"resources":[{"name":"data","error":0,"role":"primary","provname":"data","#,
            r#""export":"nbd+unix:///data?socket=/var/run/hastlite/data.sock","localpath":"/dev/da0","#,
            r#""remoteaddr":"tcp4://10.0.0.2","sourceaddr":"10.0.0.1","replication":"memsync","#,
            r#""checksum":"none","compression":"hole","volume":{"datasize":1073741824,"#,
            r#""extentsize":2097152,"keepdirty":64,"resuid":"18446744073709551615","localcnt":3,"#,
            r#""remotecnt":2},"status":"complete","worker":{"pid":4711,"connected":true,"trouble":null,"#,
            r#""consistency":"consistent","detached":false,"dirty":6291456,"marked":8388608,"#,
            r#""sync":{"source":"primary","total":104857600,"done":26214400,"percent":25,"#,
            r#""elapsed":5000,"rate":5242880,"eta":15000},"statistics":{"reads":1,"writes":2,"#,
            r#""deletes":3,"flushes":4,"activemap_updates":5,"read_errors":6,"write_errors":7,"#,
            r#""delete_errors":8,"flush_errors":9,"remote_errors":10},"queues":{"requests":11,"#,
            r#""local":12,"send":13,"recv":14}},"objection":{"loses":9,"#,
            r#""why":"the other node has newer data"}},"#,
            r#"{"name":"x","error":1,"code":"no-entry","why":"no such resource","loses":null},"#,
            r#"{"name":"y","error":0,"before":"init"}]}"#,
            "\n"
        )
    );
    let mut bare = resource("b");
    bare.remote = "a\"b\\c\n\x1b\u{e4}".to_owned();
    let text = json::resources(&[Answer::Status(bare.into()), Answer::End]);
    assert!(text.contains(r#""remoteaddr":"a\"b\\c\n\u001b"#), "{text}");
    assert!(
        text.contains(r#""volume":null,"status":null,"worker":null,"objection":null}"#),
        "{text}"
    );
    assert_eq!(json::resources(&[]), "{\"resources\":[]}\n");
}

#[test]
fn a_bar_leaves_room_for_its_figures() {
    let one = full("data");
    let line = |width| {
        let screen = Screen { terminal: true, width };
        let frame = Watch::default().frame(&[Answer::Status(one.clone().into())], screen);
        let line = frame.lines().find(|l| l.starts_with("        [")).unwrap().to_owned();
        line.trim_end_matches("\x1b[K").to_owned()
    };
    assert!(line(80).ends_with("/s  ETA 0:15"), "{}", line(80));
    assert_eq!(line(80).len(), 80);
    assert!(line(200).contains("[=======>                      ]"), "{}", line(200));
    // There is always something to be seen.
    assert!(line(60).contains("[==>       ]"), "{}", line(60));
    assert_eq!(line(60).len(), 60);
}

#[test]
fn a_frame_has_progress_and_what_is_wrong() {
    let mut watch = Watch::default();
    let bar = |frame: &str| frame.lines().find(|l| l.starts_with("\t[")).unwrap().to_owned();
    let mut one = full("data");
    one.objection = None;
    let mut at = |done: u64, elapsed| {
        let worker = one.worker.as_mut().unwrap();
        worker.syncing = elapsed;
        worker.status.sync.as_mut().unwrap().done = done << 20;
        watch.frame(&[Answer::Status(Box::new(one.clone()))], PLAIN)
    };
    let first = at(25, 5000);
    assert!(first.starts_with("Name\tStatus\t Role\t\tComponents\ndata\tcomplete primary"));
    assert_eq!(
        bar(&first),
        "\t[=======>                      ]  25%  25MB of 100MB from primary  5.0MB/s  ETA 0:15"
    );
    // Faster now: a quarter of that counts.
    assert_eq!(
        bar(&at(50, 6000)),
        "\t[===============>              ]  50%  50MB of 100MB from primary  10MB/s  ETA 0:05"
    );
    // Nothing has moved for no time: the rate is as it was.
    assert!(bar(&at(50, 6000)).ends_with("10MB/s  ETA 0:05"));
    // It has begun anew: what was is of no account.
    assert!(bar(&at(1, 1000)).ends_with("1.0MB/s  ETA 1:39"));
    assert_eq!(bar(&at(100, 9000)).matches('=').count(), 30);
    assert!(bar(&at(90, 10_000)).contains("  9.0MB/s"));
    assert!(bar(&at(0, 0)).ends_with("ETA -:--"));
    one.worker.as_mut().unwrap().status.sync = None;
    let calm = watch.frame(&[Answer::Status(one.into())], PLAIN);
    assert_eq!(calm.lines().count(), 3, "{calm}");
}

#[test]
fn on_a_terminal_a_frame_replaces_the_one_before() {
    let screen = Screen { terminal: true, width: 30 };
    let mut watch = Watch::default();
    let first = watch.frame(&[answer("data")], screen);
    assert!(!first.contains('\t') && first.starts_with("Name    Status   Role"));
    for line in first.lines() {
        let line = line.split('\x1b').next().unwrap();
        assert!(line.chars().count() <= 30, "{line}");
    }
    let lines = first.lines().filter(|line| line.ends_with("\x1b[K")).count();
    let second = watch.frame(&[failed("x")], screen);
    assert!(second.starts_with(&format!("\x1b[{lines}F")), "{second:?}");
    assert!(second.ends_with("\x1b[J"));
    assert!(watch.frame(&[], screen).starts_with("\x1b[2F"));
}

#[test]
fn settled_is_connected_with_nothing_to_do() {
    let good = || {
        let mut one = full("a");
        let status = &mut one.worker.as_mut().unwrap().status;
        (status.sync, status.dirty) = (None, 0);
        one
    };
    let is = |change: fn(&mut super::message::Worker)| {
        let mut one = good();
        change(one.worker.as_mut().unwrap());
        settled(&[Answer::Status(good().into()), Answer::Status(one.into())])
    };
    assert!(is(|_| {}));
    assert!(!is(|w| w.status.connected = false));
    assert!(!is(|w| w.status.dirty = 1));
    assert!(!is(|w| w.status.sync = worker().status.sync));
    assert!(!is(|w| w.status.detached = true));
    assert!(!is(|w| w.status.consistency = Consistency::Outdated));
    let mut idle = good();
    idle.worker = None;
    assert!(!settled(&[Answer::Status(idle.into())]));
    assert!(!settled(&[failed("x")]));
    assert!(!settled(&[]));
}

proptest! {
    #[test]
    fn any_numbers_and_texts_can_be_shown(
        numbers in any::<[u64; 5]>(),
        text in ".{0,40}",
        width in 0_usize..100,
    ) {
        let mut one = full("data");
        let [total, done, since, dirty, syncing] = numbers;
        let worker = one.worker.as_mut().unwrap();
        worker.syncing = syncing;
        worker.status.dirty = dirty;
        worker.status.trouble = Some(text.clone());
        let sync = worker.status.sync.as_mut().unwrap();
        (sync.total, sync.done, sync.since) = (total, done, since);
        let mut watch = Watch::default();
        for terminal in [true, false] {
            let answers = [Answer::Status(Box::new(one.clone()))];
            let frame = watch.frame(&answers, Screen { terminal, width });
            prop_assert!(frame.chars().all(|c| !c.is_control() || "\n\t\x1b".contains(c)));
            render::list(&answers);
            let json = json::resources(&answers);
            prop_assert!(json.chars().filter(|c| c.is_control()).eq("\n".chars()));
        }
        prop_assert!(render::human(total).len() <= 5);
    }
}

#[test]
fn the_manual_has_every_command_and_option() {
    let manual = include_str!("../../hastctl.8");
    let usage = super::args::USAGE.trim_start_matches("usage:");
    for word in usage.split(|c: char| c.is_whitespace() || "[]|=".contains(c)) {
        let found = match word.strip_prefix("--") {
            Some(long) => manual.contains(&format!("Fl -{long}")),
            None => manual.contains(word.trim_start_matches('-')),
        };
        assert!(found, "hastctl.8 does not have {word}");
    }
}
