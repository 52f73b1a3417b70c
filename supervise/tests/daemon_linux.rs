//! The test starts itself again as a daemon, in each of the ways in which a daemon is started. The
//! daemon connects to the test, tells what has become of it, and ends with that connection.

#[allow(dead_code, reason = "nothing here has to be waited for")]
#[path = "runner.rs"]
mod runner;

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::Duration;

use supervise::daemon::{self, Readiness};

/// The variable that tells the test that it is a daemon, and where to connect to.
const ROLE: &str = "DAEMON_ROLE";
const REPORT: &str = "DAEMON_REPORT";

pub fn main() -> ExitCode {
    let Ok(role) = std::env::var(ROLE) else {
        return runner::run(&[
            ("the_launcher_returns_when_service_has_begun", launcher_returns),
            ("a_start_that_fails_exits_1", start_that_fails),
            ("ready_is_said_to_a_path", ready_to_a_path),
            ("ready_is_said_to_an_abstract_name", ready_to_an_abstract_name),
            ("ready_is_said_from_the_background_too", ready_from_the_background),
            ("nobody_to_hear_it_is_an_error", nobody_to_hear_it),
            ("nothing_but_the_three_is_kept", nothing_is_kept),
        ]);
    };
    // Should a test fail, this ends it.
    // SAFETY: a number.
    unsafe { libc::alarm(60) };
    // As daemons do: the test may itself have been started with more than the three.
    daemon::close_inherited().expect("close");
    match role.as_str() {
        "background" => serve(daemon::background().expect("background")),
        "foreground" => serve(daemon::foreground()),
        "fails" => {
            let _readiness = daemon::background().expect("background");
            eprintln!("no such interface");
            ExitCode::from(3)
        }
        "is killed" => {
            let _readiness = daemon::background().expect("background");
            std::process::abort()
        }
        "looks" => {
            println!("{}", descriptors());
            ExitCode::SUCCESS
        }
        other => panic!("unknown role {other}"),
    }
}

/// Says that it is ready, tells what has become of it, and stays until the test lets it go.
fn serve(readiness: Readiness) -> ExitCode {
    let mut test = UnixStream::connect(std::env::var_os(REPORT).expect("a path")).expect("connect");
    if let Err(error) = readiness.ready() {
        let _ = write!(test, "{error}");
        return ExitCode::FAILURE;
    }
    let pid = nix::unistd::getpid();
    let leads = nix::unistd::getsid(None) == Ok(pid);
    let folder = std::env::current_dir().expect("a working directory");
    let _ = write!(test, "leads: {leads}, in: {}, {}", folder.display(), descriptors());
    let _ = test.shutdown(std::net::Shutdown::Write);
    let _ = test.read(&mut [0]);
    ExitCode::SUCCESS
}

/// What 0, 1 and 2 are, and how many others there are (but for the one that looks).
fn descriptors() -> String {
    let name = |fd: &str| fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    let kind = |fd: &str| match name(fd) {
        null if null == Path::new("/dev/null") => "null",
        _ => "other",
    };
    let count = fs::read_dir("/proc/self/fd").expect("descriptors").count() - 4;
    format!("{} {} {}, {count} more", kind("0"), kind("1"), kind("2"))
}

/// Where the daemon of a test connects to. Gone after the test.
struct Meeting(PathBuf, UnixListener);

impl Meeting {
    fn new(name: &str) -> Meeting {
        let name = format!("supervise-daemon-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("bind");
        Meeting(path, listener)
    }

    /// The daemon's report, and the connection that keeps it there.
    fn report(&self) -> (String, UnixStream) {
        let (mut daemon, _) = self.1.accept().expect("accept");
        daemon.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
        let mut text = String::new();
        daemon.read_to_string(&mut text).expect("a report within ten seconds");
        (text, daemon)
    }

    fn command(&self, role: &str, notify: Option<OsString>) -> Command {
        let mut command = command(role);
        command.env(REPORT, &self.0);
        if let Some(notify) = notify {
            command.env("NOTIFY_SOCKET", notify);
        }
        command
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn command(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.env(ROLE, role).env_remove("NOTIFY_SOCKET");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn launcher_returns() {
    let meeting = Meeting::new("returns");
    let launcher = meeting.command("background", None).spawn().expect("start");
    // The end of its output, too: the daemon has let go of it, and is still there.
    let output = launcher.wait_with_output().expect("the launcher's end");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let (report, mut daemon) = meeting.report();
    // Its connection to the test is the one other descriptor.
    assert_eq!(report, "leads: true, in: /, null null null, 1 more");
    daemon.set_nonblocking(true).expect("do not wait");
    daemon.write_all(b"x").expect("it is there");
}

fn start_that_fails() {
    for role in ["fails", "is killed"] {
        let output = command(role).output().expect("start");
        assert_eq!(output.status.code(), Some(1), "{role}");
        assert_eq!(text(&output).contains("no such interface"), role == "fails");
    }
}

/// Starts a daemon that is to tell `socket`; its report.
fn told(role: &str, socket: &UnixDatagram, name: OsString) -> String {
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
    let meeting = Meeting::new("told");
    let mut child = meeting.command(role, Some(name)).spawn().expect("start");
    let mut bytes = [0; 64];
    let length = socket.recv(&mut bytes).expect("a datagram within ten seconds");
    assert_eq!(&bytes[..length], b"READY=1");
    let (report, daemon) = meeting.report();
    drop(daemon);
    assert!(child.wait().expect("wait").success());
    report
}

/// A socket at a path, and the path.
fn notify(name: &str) -> (UnixDatagram, PathBuf) {
    let path = std::env::temp_dir().join(format!("supervise-{name}-{}", std::process::id()));
    let _ = fs::remove_file(&path);
    (UnixDatagram::bind(&path).expect("bind"), path)
}

fn ready_to_a_path() {
    let (socket, path) = notify("notify");
    let report = told("foreground", &socket, path.clone().into());
    // It stays where it is, and keeps what it has.
    assert!(report.starts_with("leads: false, in: ") && !report.contains("in: /,"), "{report}");
    assert!(report.ends_with(", null other other, 1 more"), "{report}");
    fs::remove_file(path).expect("clean up");
}

fn ready_to_an_abstract_name() {
    let name = format!("supervise-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&address).expect("bind");
    told("foreground", &socket, format!("@{name}").into());
}

fn ready_from_the_background() {
    let (socket, path) = notify("notify-behind");
    let report = told("background", &socket, path.clone().into());
    assert_eq!(report, "leads: true, in: /, null null null, 1 more");
    fs::remove_file(path).expect("clean up");
}

fn nobody_to_hear_it() {
    for (role, name) in [("foreground", "/nowhere/notify"), ("background", "@supervise-nobody")] {
        let meeting = Meeting::new("nobody");
        let output = meeting.command(role, Some(name.into())).output().expect("start");
        assert_eq!(output.status.code(), Some(1), "{role}");
        let (report, _daemon) = meeting.report();
        assert!(report.contains("os error") || report.contains("ECONN"), "{report}");
    }
}

fn nothing_is_kept() {
    let zero = fs::File::open("/dev/zero").expect("open");
    // Two that stay open across exec, one of them far up.
    for least in [3, 500] {
        // SAFETY: numbers; the copy is nobody's but the program's that is started below.
        assert!(unsafe { libc::fcntl(zero.as_raw_fd(), libc::F_DUPFD, least) } >= least);
    }
    let output = command("looks").output().expect("start");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "null other other, 0 more\n");
}
