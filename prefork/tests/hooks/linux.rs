//! See `hooks.rs`.

#[path = "../../../supervise/tests/runner.rs"]
mod runner;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use prefork::hooks::{Event, FromParent, Teller, role};
use runner::eventually;
use supervise::Attendant;

const TITLE: &str = "hooks: runner";
const USER: &str = "65533:65532";
const PATIENCE: Duration = Duration::from_secs(5);

pub fn main() -> ExitCode {
    match supervise::role().as_deref() {
        None => runner::run(&[
            ("runs_as_an_account_with_what_it_is_told", runs_as_an_account_with_what_it_is_told),
            ("a_hook_that_waits_warm", a_hook_that_waits_warm),
            ("keeps_the_order_of_a_key", keeps_the_order_of_a_key),
            ("who_hangs_delays_nobody_else", who_hangs_delays_nobody_else),
            ("a_flood_is_read_to_its_end", a_flood_is_read_to_its_end),
            ("what_a_hook_leaves_behind_is_killed", what_a_hook_leaves_behind_is_killed),
            ("nothing_is_left_without_the_parent", nothing_is_left_without_the_parent),
            ("a_runner_that_dies_is_replaced", a_runner_that_dies_is_replaced),
            ("a_hook_that_is_not_there", a_hook_that_is_not_there),
            ("an_account_that_is_not_there", an_account_that_is_not_there),
        ]),
        Some(TITLE) => ended(prefork::hooks::run(USER, "hooks")),
        Some("hooks: nobody") => ended(prefork::hooks::run("no-such-user-here", "hooks")),
        Some(other) => panic!("unknown role {other}"),
    }
}

fn ended(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// A directory that anybody may write to, with a hook in it; and a runner.
struct Lab {
    folder: PathBuf,
    runner: Option<Attendant<FromParent>>,
    teller: Teller,
}

impl Lab {
    fn new(name: &str, script: &str) -> Lab {
        Lab::of(name, &|folder| format!("#!/bin/sh\nDIR={}\n{script}\n", folder.display()))
    }

    fn of(name: &str, text: &dyn Fn(&Path) -> String) -> Lab {
        let own = format!("tandem-hooks-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(own);
        fs::create_dir(&folder).expect("a directory");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("chmod");
        let hook = folder.join("hook");
        fs::write(&hook, text(&folder)).expect("write");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("chmod");
        let missing = folder.join("missing");
        let runner = Attendant::start(role(TITLE, vec![hook, missing])).expect("start");
        let mut lab = Lab { folder, runner: Some(runner), teller: Teller::default() };
        lab.connect(false);
        lab
    }

    /// Waits for a runner; `again` says whether it is not the first.
    fn connect(&mut self, again: bool) {
        let runner = self.runner.as_mut().expect("a runner");
        loop {
            if let Some((channel, before)) = runner.see_to(Instant::now()).expect("it works") {
                assert_eq!(before, again);
                self.teller.connect(channel).expect("a channel");
                return;
            }
            poll(&mut runner.poll_fds(), PollTimeout::from(100u16)).expect("poll");
        }
    }

    fn tell(&mut self, key: &str, words: &[&str]) {
        self.tell_with(key, words, &[]);
    }

    fn tell_with(&mut self, key: &str, words: &[&str], variables: &[(&str, &str)]) {
        self.teller.tell(Event {
            script: 0,
            key: key.into(),
            arguments: words.iter().map(|word| word.as_bytes().to_vec()).collect(),
            environment: variables.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
        });
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap_or_default()
    }

    fn lines(&self, file: &str) -> Vec<String> {
        self.text(file).lines().map(str::to_owned).collect()
    }

    fn pid(&self, file: &str) -> i32 {
        eventually(file, || self.text(file).ends_with('\n'));
        self.text(file).trim().parse().expect("a number")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(runner) = self.runner.take() {
            let (channel, child) = runner.into_parts();
            supervise::stop(channel, child.into_iter().collect(), PATIENCE);
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn gone(pid: i32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')),
        Err(_) => true,
    }
}

fn runs_as_an_account_with_what_it_is_told() {
    let mut lab = Lab::new(
        "told",
        "{ echo \"$0 $*\"; id -u; id -G; pwd; env | sort; readlink /proc/$$/fd/* | sort -u; \
         grep -E '^(CapEff|SigBlk)' /proc/self/status; } >$DIR/out 2>&1; mv $DIR/out $DIR/done",
    );
    lab.tell_with("k", &["commit", "two words"], &[("LEASE_ADDRESS", "192.0.2.7"), ("A_B", "x=y")]);
    eventually("the hook", || lab.folder.join("done").exists());
    let hook = lab.folder.join("hook").display().to_string();
    let lines = lab.lines("done");
    let text = lines.join("\n");
    assert_eq!(lines.first(), Some(&format!("{hook} commit two words")), "{text}");
    for wanted in ["65533", "65532", "/", "LEASE_ADDRESS=192.0.2.7", "A_B=x=y", "/dev/null"] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted} in {text}");
    }
    for wanted in ["CapEff:\t0000000000000000", "SigBlk:\t0000000000000000"] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted} in {text}");
    }
    // Nothing of ours; some variables the shell makes itself.
    let names = lines.iter().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    let own = ["A_B", "HOME", "LEASE_ADDRESS", "OLDPWD", "PATH", "PWD", "SHLVL", "_"];
    names.for_each(|name| assert!(own.contains(&name), "{name} in {text}"));
    let open = |line: &&String| line.starts_with("socket:") || line.starts_with("anon_inode:");
    assert_eq!(lines.iter().find(open), None, "{text}");
}

/// A hook that has itself run by prefork-interp is set up once, by the account that hooks run as,
/// which nobody logs in as; and its exit code is its own.
fn a_hook_that_waits_warm() {
    let mut lab = Lab::of("warm", &|folder| {
        // Where that account may execute them.
        let built = Path::new(env!("CARGO_BIN_EXE_prefork-interp")).parent().expect("a folder");
        for name in ["prefork-interp", "prefork-spawn"] {
            fs::copy(built.join(name), folder.join(name)).expect("copy");
        }
        format!(
            "#!{}/prefork-interp -U,perl\n\
             use POSIX ();\nuse Proc::Prefork::Interp;\nmy $server = $$;\n\
             prefork_initialisation_complete();\n\
             open my $f, '>>', '{}/out';\n\
             syswrite $f, \"$server $ENV{{LEASE_ADDRESS}} @ARGV\\n\";\n\
             POSIX::_exit(0);\n",
            folder.display(),
            folder.display()
        )
    });
    for last in 0..20 {
        let address = format!("192.0.2.{last}");
        lab.tell_with("k", &["commit", &address], &[("LEASE_ADDRESS", &address)]);
    }
    eventually("all of them", || lab.lines("out").len() == 20);
    let lines = lab.lines("out");
    let server = lines[0].split(' ').next().expect("a number");
    for (last, line) in lines.iter().enumerate() {
        let address = format!("192.0.2.{last}");
        assert!(line.starts_with(&format!("{server} {address} ")), "{line} of {lines:?}");
        assert!(line.ends_with(&format!(" commit {address}")), "{line}");
    }
    // The server would wait for another hook for days.
    let hook = lab.folder.join("hook");
    let killed = std::process::Command::new("setpriv")
        .args(["--reuid=65533", "--regid=65532", "--clear-groups"])
        .arg(lab.folder.join("prefork-interp"))
        .args(["-U", "--kill", "perl"])
        .arg(&hook)
        .current_dir("/")
        .status();
    assert!(killed.expect("run it").success());
    let server: i32 = server.parse().expect("a number");
    eventually("the server ends", || gone(server));
}

fn keeps_the_order_of_a_key() {
    let mut lab = Lab::new("order", "echo $1 >>$DIR/$2");
    for number in 0..100 {
        let key = format!("key{}", number % 3);
        lab.tell(&key, &[&number.to_string(), &key]);
    }
    for key in 0..3 {
        let wanted: Vec<String> =
            (0..100).filter(|n| n % 3 == key).map(|n| n.to_string()).collect();
        let file = format!("key{key}");
        eventually("all of a key", || lab.lines(&file).len() == wanted.len());
        assert_eq!(lab.lines(&file), wanted);
    }
}

fn who_hangs_delays_nobody_else() {
    let script = "case $1 in hang) echo $$ >$DIR/pid; read x <$DIR/fifo;; *) : >$DIR/$1;; esac";
    let mut lab = Lab::new("hangs", script);
    nix::unistd::mkfifo(&lab.folder.join("fifo"), nix::sys::stat::Mode::all()).expect("a fifo");
    lab.tell("a", &["hang"]);
    lab.pid("pid");
    lab.tell("a", &["behind"]);
    lab.tell("b", &["beside"]);
    eventually("one of another key", || lab.folder.join("beside").exists());
    assert!(!lab.folder.join("behind").exists());
}

fn a_flood_is_read_to_its_end() {
    let mut lab = Lab::new("flood", "yes | head -c 3000000; : >$DIR/done");
    lab.tell("a", &["flood"]);
    eventually("the end of the flood", || lab.folder.join("done").exists());
}

fn what_a_hook_leaves_behind_is_killed() {
    let mut lab = Lab::new(
        "leaves",
        "(trap '' TERM HUP; exec sleep 1000) & echo $! >$DIR/new; mv $DIR/new $DIR/pid",
    );
    lab.tell("a", &["x"]);
    let pid = lab.pid("pid");
    eventually("what it left is gone", || gone(pid));
}

fn nothing_is_left_without_the_parent() {
    let script = "trap '' TERM HUP INT; echo $$ >$DIR/pid; while :; do sleep 1; done";
    let mut lab = Lab::new("left", script);
    lab.tell("a", &["x"]);
    let pid = lab.pid("pid");
    let (channel, child) = lab.runner.take().expect("a runner").into_parts();
    let mut ended = supervise::stop(channel, child.into_iter().collect(), PATIENCE);
    assert_eq!(ended.pop().and_then(|end| end.needed), None, "it had to be told twice");
    assert!(gone(pid), "a hook is left");
}

fn a_runner_that_dies_is_replaced() {
    let script = "echo $PPID >$DIR/new; echo $$ >$DIR/own; mv $DIR/new $DIR/$1; \
                  while :; do sleep 1; done";
    let mut lab = Lab::new("dies", script);
    lab.tell("a", &["first"]);
    let (runner, hook) = (lab.pid("first"), lab.pid("own"));
    kill(Pid::from_raw(runner), Signal::SIGKILL).expect("kill");
    lab.connect(true);
    lab.tell("a", &["second"]);
    assert_ne!(lab.pid("second"), runner);
    eventually("its hook died with it", || gone(hook));
}

fn a_hook_that_is_not_there() {
    let mut lab = Lab::new("missing", ": >$DIR/done");
    for script in [1, 7] {
        lab.teller.tell(Event { script, key: b"k".to_vec(), ..Event::default() });
    }
    lab.tell("k", &["x"]);
    eventually("the one after them", || lab.folder.join("done").exists());
}

fn an_account_that_is_not_there() {
    let scripts = vec![Path::new("/bin/true").into()];
    let mut runner = Attendant::start(role("hooks: nobody", scripts)).expect("start");
    let error = loop {
        match runner.see_to(Instant::now()) {
            Ok(None) => {}
            Ok(Some(_)) => panic!("it works"),
            Err(error) => break error,
        }
        poll(&mut runner.poll_fds(), PollTimeout::from(100u16)).expect("poll");
    };
    assert_eq!(error, "hooks: nobody cannot work: user no-such-user-here: no such user");
}
