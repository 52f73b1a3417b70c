//! Every rule, on both sides of its edge.

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn facts() -> Facts {
    Facts { regular: true, owner: 0, mode: 0o100644, size: 5, modified: 1000 * SECOND }
}

fn process() -> Process {
    Process {
        pid: 77,
        name: "daemon".into(),
        began: 900 * SECOND,
        user: 0,
        exe: Image::Path("/usr/sbin/daemon".into()),
    }
}

fn fault(text: &str) -> (usize, usize, &'static str) {
    let fault = number(text.as_bytes()).expect_err(text);
    (fault.line, fault.column, fault.why)
}

#[test]
fn one_number() {
    for text in ["77", "77\n", "  77 \r\n", "\n\t0077\n\n"] {
        assert_eq!(number(text.as_bytes()), Ok(77), "{text:?}");
    }
    assert_eq!(number(b"2147483647"), Ok(i32::MAX));
}

#[test]
fn and_nothing_else() {
    assert_eq!(fault(""), (1, 1, "the file is empty"));
    assert_eq!(fault(" \n "), (2, 2, "no number in the file"));
    assert_eq!(fault("\n 0\n"), (2, 2, "0: to kill it means one's own process group"));
    assert_eq!(fault("1\n"), (1, 1, "1: that is init"));
    assert_eq!(fault(" -77"), (1, 2, "a negative number: a process group's"));
    assert_eq!(fault("+77"), (1, 1, "not a number"));
    assert_eq!(fault("0x77"), (1, 2, "something behind the number"));
    assert_eq!(fault("77-"), (1, 3, "something behind the number"));
    assert_eq!(fault("77\n78"), (2, 1, "a second number"));
    assert_eq!(fault("77\n/usr/sbin/daemon\n"), (2, 1, "something behind the number"));
    assert_eq!(fault("77\0"), (1, 3, "something behind the number"));
    assert_eq!(fault(" 2147483648"), (1, 2, "no process has so large a number"));
    assert_eq!(fault(&"9".repeat(40)), (1, 1, "no process has so large a number"));
    assert_eq!(fault(&" ".repeat(65)), (1, 65, "too long for a PID file"));
    assert_eq!(fault(&format!("77{}", "\n".repeat(65))), (63, 1, "too long for a PID file"));
}

#[test]
fn a_file_that_only_its_owner_can_write() {
    assert_eq!(file(&facts()), Ok(()));
    let with = |mode| file(&Facts { mode, ..facts() }).expect_err("writable");
    assert_eq!(with(0o100664), "can be written by its group (mode 0664)");
    assert_eq!(with(0o100666), "can be written by everybody (mode 0666)");
    assert_eq!(with(0o100602), "can be written by everybody (mode 0602)");
    assert!(file(&Facts { regular: false, ..facts() }).is_err());
}

#[test]
fn begun_before_it_was_written_since_boot() {
    let clock = Clock { now: 2000 * SECOND, boot: 500 * SECOND };
    let judge = |modified, began| age(&Facts { modified, ..facts() }, began, &clock);
    let written = 1000 * SECOND;
    assert_eq!(judge(written, written), Ok(()));
    assert_eq!(judge(written, written + STEP), Ok(()));
    let reused = judge(written, written + STEP + 1).expect_err("reused");
    assert_eq!(
        reused,
        "it began 0.02 s after the file was written: the number has been used again"
    );
    assert!(judge(clock.boot, clock.boot).is_ok());
    assert!(judge(clock.boot - STEP, clock.boot - STEP).is_ok());
    assert!(judge(clock.boot - STEP - 1, 0).expect_err("old").contains("booted"));
    assert!(judge(clock.now + STEP, 900 * SECOND).is_ok());
    assert!(judge(clock.now + STEP + 1, 900 * SECOND).expect_err("future").contains("from now"));
    assert!(judge(u64::MAX, u64::MAX).is_err());
    assert!(judge(0, u64::MAX).is_err());
}

#[test]
fn an_owner_speaks_for_his_own() {
    let of = |owner| Facts { owner, ..facts() };
    let user = Process { user: 7, ..process() };
    assert_eq!(owner(&of(0), &user, None), Ok(()));
    assert_eq!(owner(&of(7), &user, None), Ok(()));
    assert!(owner(&of(8), &user, None).is_err());
    assert_eq!(owner(&of(8), &user, Some(7)), Ok(()));
    assert_eq!(
        owner(&of(7), &process(), None).expect_err("root's"),
        "belongs to uid 7, who cannot speak for process 77 (daemon, uid 0, /usr/sbin/daemon)"
    );
}

#[test]
fn what_was_expected() {
    let daemon = Path::new("/usr/sbin/daemon");
    assert_eq!(expected(&process(), None, None), Ok(()));
    assert_eq!(expected(&process(), Some(daemon), Some(0)), Ok(()));
    assert!(expected(&process(), None, Some(1)).is_err());
    assert!(expected(&process(), Some(Path::new("/usr/sbin/other")), None).is_err());
    let replaced = Process { exe: Image::Replaced(daemon.into()), ..process() };
    assert_eq!(expected(&replaced, Some(daemon), None), Ok(()));
    let hidden = Process { exe: Image::Hidden, ..process() };
    assert_eq!(expected(&hidden, None, None), Ok(()));
    assert!(expected(&hidden, Some(daemon), None).expect_err("hidden").contains("cannot be seen"));
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        if let Err(fault) = number(&bytes) {
            prop_assert!(fault.line >= 1 && fault.column >= 1);
        }
    }

    #[test]
    fn what_is_printed_is_read(pid in 2i32.., before in "[ \t\n]{0,20}", after in "[ \t\r\n]{0,20}") {
        prop_assert_eq!(number(format!("{before}{pid}{after}").as_bytes()), Ok(pid));
    }
}
