//! Command lines, and what they ask for.

use super::*;

fn run(line: &str) -> Result<Wanted, String> {
    parse(line.split_whitespace().map(OsString::from))
}

fn options_of(line: &str) -> Options {
    match run(line) {
        Ok(Wanted::Run(options)) => *options,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a_command_alone_is_enough() {
    let plain = options_of("-- sleep 1");
    assert_eq!(plain.words, ["sleep", "1"]);
    let who = Who { auto: true, ..Who::default() };
    assert_eq!(plain, Options { words: plain.words.clone(), who, ..Options::default() });
    // What comes after it is the command's, whatever it looks like.
    assert_eq!(options_of("-v -- stop --json -- -n").words, ["stop", "--json", "--", "-n"]);
}

#[test]
fn every_option_is_understood() {
    let o = options_of(
        "-bq -n web --ptrace --audit --track --json=/tmp/j --pidfile /run/p --ready=fd:3 \
         --restart=on-failure --restart-limit=3/60 --stop-timeout 2.5 --keep-rest \
         --log=syslog:local3 --log-stderr --exit-code-style=128+n -- x",
    );
    assert!(o.background && o.quiet && !o.verbose && o.track && o.keep_rest && o.log_stderr);
    assert_eq!(o.name.as_deref(), Some("web"));
    assert_eq!(o.who, Who { auto: false, ptrace: true, trace: false, audit: true });
    assert_eq!(o.json, Json::File("/tmp/j".into()));
    assert_eq!(o.pidfile, Some("/run/p".into()));
    assert_eq!(o.ready, Ready::Fd(3));
    assert_eq!((o.restart, o.limit), (Policy::OnFailure, "3/60".parse().expect("a limit")));
    assert_eq!(o.stop_timeout, Some(Duration::from_millis(2500)));
    assert_eq!(o.log, Some(Log::Syslog("local3".parse().expect("a facility"))));
    assert_eq!(o.style, Style::Code);
    assert_eq!(options_of("--json -- x").json, Json::Log);
    assert_eq!(options_of("--who=siginfo -- x").who, Who::default());
    assert!(options_of("--who trace,ptrace -- x").who.trace);
}

#[test]
fn requests_have_a_name() {
    let ask = |verb, wait| Ask { verb, name: "web".into(), wait, json: false };
    assert_eq!(run("stop web"), Ok(Wanted::Ask(ask(Verb::Stop, PATIENCE))));
    let soon = Duration::from_secs(1);
    assert_eq!(run("restart --wait 1 web"), Ok(Wanted::Ask(ask(Verb::Restart, soon))));
    for usr1 in ["USR1", "usr1", "SIGUSR1", &libc::SIGUSR1.to_string()] {
        let wanted = run(&format!("signal web {usr1}"));
        assert_eq!(wanted, Ok(Wanted::Ask(ask(Verb::Signal(libc::SIGUSR1), PATIENCE))));
    }
    assert!(matches!(run("status --json web"), Ok(Wanted::Ask(Ask { json: true, .. }))));
}

#[test]
fn track_follows_one_thing() {
    assert!(matches!(run("track --pid 1"), Ok(Wanted::Track(Track { pid: Some(1), .. }))));
    assert!(matches!(run("track --json -- x y"), Ok(Wanted::Track(Track { json: true, .. }))));
    for bad in ["track", "track --pid 1 -- x", "track --pid 0", "track x", "track --backend=z"] {
        assert!(run(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    for (line, says) in [
        ("", "no command"),
        ("--", "no command"),
        ("sleep 1", "put -- before the command: supervise -- sleep"),
        ("--who=nobody -- x", "nobody"),
        ("--ready=later -- x", "later"),
        ("--ready=fd:-1 -- x", "fd:-1"),
        ("--restart=maybe -- x", "maybe"),
        ("--restart-limit=3 -- x", "3"),
        ("--stop-timeout -1 -- x", "-1"),
        ("--stop-timeout nan -- x", "nan"),
        ("--log=stderr:daemon -- x", "stderr:daemon"),
        ("--log=syslog:nowhere -- x", "nowhere"),
        ("--exit-code-style=3 -- x", "3"),
        ("--nothing -- x", "--nothing"),
        ("-n ../x -- x", "../x"),
        ("stop", "one name"),
        ("stop a b", "one name"),
        ("stop a/b", "a/b"),
        ("signal web", "a signal"),
        ("signal web NONE", "NONE"),
        ("signal web 0", "0"),
        ("status --wait 3 web", "--wait"),
    ] {
        let wrong = run(line).expect_err(line);
        assert!(wrong.contains(says) && !wrong.contains('\n'), "{line}: {wrong}");
    }
}

#[test]
fn the_manual_and_the_help_tell_of_every_option_and_no_other() {
    let page = include_str!("../../supervise.8");
    let told: Vec<&str> = page.lines().filter(|line| line.starts_with(".It Fl ")).collect();
    let told: Vec<&str> = told.iter().flat_map(|line| line.split_whitespace()).collect();
    let options: Vec<&str> = HELP
        .split(|c: char| c.is_whitespace() || "[]=|".contains(c))
        .filter_map(|word| word.strip_prefix("--"))
        .filter(|word| {
            !word.is_empty() && !["wait", "pid", "backend", "check", "count"].contains(word)
        })
        .collect();
    assert!(options.len() > 15, "{options:?}");
    for option in &options {
        assert!(told.contains(option), "--{option} is not in supervise(8)");
        let wrong = run(&format!("--{option}"));
        let unknown = format!("invalid option '--{option}'");
        assert_ne!(wrong, Err(unknown), "--{option} is in the help");
    }
    for word in page.lines().filter(|line| line.starts_with(".It Fl")).flat_map(|line| {
        line.split("Fl Fl ").skip(1).filter_map(|rest| rest.split([' ', ',']).next())
    }) {
        let long = ["background", "help", "name", "quiet", "verbose"];
        assert!(options.contains(&word) || long.contains(&word), "--{word} is not in the help");
    }
}
