//! Command lines that are understood, and what is said of the others.

use super::*;
use proptest::prelude::*;
use std::os::unix::ffi::OsStrExt;

fn run(line: &str) -> Result<Args, String> {
    parse(line.split_whitespace().map(OsString::from))
}

fn command(line: &str) -> Command {
    run(line).unwrap().command
}

fn named(names: &[&str]) -> Selection {
    Selection::Named(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn commands_as_freebsd_has_them() {
    let made = |line: &str| match command(line) {
        Command::Create { options: Options { wish, keepdirty, zero }, names } => {
            assert_eq!((names, zero), (vec!["data".to_owned()], false));
            (wish, keepdirty)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(made("create data"), (Wish::default(), 64));
    let wish = Wish { extentsize: 4 << 20, mediasize: Some(1 << 30), ..Wish::default() };
    assert_eq!(made("create -d -c /x -e 4M -k 8 -m 1g data"), (wish, 8));
    let role = |role, force, of| Command::Role { role, force, of };
    assert_eq!(command("role init all"), role(Role::Init, false, Selection::All));
    assert_eq!(command("role -c/x primary a b"), role(Role::Primary, false, named(&["a", "b"])));
    assert_eq!(command("role secondary all b"), role(Role::Secondary, false, named(&["all", "b"])));
    assert_eq!(command("list"), Command::List { json: false, of: Selection::All });
    assert_eq!(command("dump all"), Command::Dump { json: false, of: Selection::All });
    assert_eq!(
        command("status data"),
        Command::Status { json: false, watch: None, wait: None, of: named(&["data"]) }
    );
    assert_eq!(command("stop"), Command::Stop);
    let args = run("list -ddd -c /tmp/x").unwrap();
    assert_eq!((args.debug, args.config), (3, PathBuf::from("/tmp/x")));
    assert_eq!(run("stop").unwrap().config, PathBuf::from("/etc/hast.conf"));
}

#[test]
fn what_is_ours() {
    let second = Duration::from_secs(1);
    let status = |json, watch, wait| Command::Status { json, watch, wait, of: Selection::All };
    assert_eq!(command("status --json"), status(true, None, None));
    assert_eq!(command("status --watch"), status(false, Some(second), None));
    assert_eq!(command("status --watch=0.5"), status(false, Some(second / 2), None));
    assert_eq!(command("status --watch=0"), status(false, Some(second / 10), None));
    assert_eq!(command("status --wait 3"), status(false, None, Some(second * 3)));
    assert_eq!(
        command("role primary data --force"),
        Command::Role { role: Role::Primary, force: true, of: named(&["data"]) }
    );
    assert_eq!(command("discard data"), Command::Discard { names: vec!["data".to_owned()] });
    let Command::Create { options: Options { wish, zero, .. }, .. } =
        command("create --layout freebsd --datasize=10M --zero -- -x")
    else {
        panic!()
    };
    assert_eq!(
        (wish.arrangement, wish.datasize, zero),
        (Arrangement::FreeBsd, Some(10 << 20), true)
    );
    for line in ["-h", "--help", "create -h", "status --help x"] {
        assert_eq!(command(line), Command::Help);
    }
}

#[test]
fn what_is_wrong_is_said() {
    let wrong = |line: &str| run(line).unwrap_err();
    assert_eq!(wrong(""), "no command");
    assert_eq!(wrong("start"), "no command is called `start`");
    assert_eq!(wrong("create"), "no resource is named");
    assert_eq!(wrong("role"), "no role is named");
    assert_eq!(wrong("role primary"), "no resource is named");
    assert_eq!(wrong("role master x"), "no role is called `master`");
    assert_eq!(wrong("list -c"), "option -c requires an argument");
    assert_eq!(wrong("list -x"), "unknown option -x");
    assert_eq!(wrong("list --x"), "unknown option --x");
    assert_eq!(wrong("list --force"), "--force belongs to another command");
    assert_eq!(wrong("role --force=1 init x"), "--force takes no value");
    assert_eq!(wrong("discard all"), "what is to be discarded has to be named");
    assert!(wrong("list -e 1").contains("another command"));
    assert!(wrong("stop x").starts_with("stop ends all"));
    assert!(wrong("create -e 5q x").starts_with("-e 5q: not a size"));
    assert!(wrong("create -e 8G x").contains("at most"));
    assert!(wrong("create -m 99999999999E x").starts_with("-m"));
    assert!(wrong("status --wait=soon").starts_with("--wait soon: not a number"));
    assert!(wrong("create --layout=x y").contains("`aligned` or `freebsd`"));
    let bytes = std::ffi::OsStr::from_bytes(b"\xff").to_owned();
    assert!(parse([bytes]).unwrap_err().contains("is not text"));
}

#[test]
fn sizes() {
    let cases = [
        ("0", 0),
        ("512", 512),
        ("64k", 65536),
        ("2M", 2 << 20),
        ("1g", 1 << 30),
        ("3T", 3 << 40),
        ("7b", 7),
    ];
    for (text, bytes) in cases {
        assert_eq!(size(text), Some(bytes), "{text}");
    }
    for text in ["", "k", "1.5G", "-1", "+1", "1 k", "1kk", "16E", "1kb"] {
        assert_eq!(size(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn any_words_are_understood_or_refused(words in prop::collection::vec("(create|role|status|-[a-z]{1,3}|--[a-z]{1,6}(=[0-9a-z]{0,3})?|[a-z0-9]{0,4}|\\PC{0,3})", 0..6)) {
        if let Err(why) = parse(words.into_iter().map(OsString::from)) {
            prop_assert!(!why.is_empty() && !why.contains('\n'));
        }
    }
}
