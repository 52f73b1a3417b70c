//! Log lines as they leave whole processes, parent and confined child: to a syslogd of the test's
//! own, in a private /dev, and to a standard error that is a pipe. Root is needed.

#[path = "runner.rs"]
mod runner;

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use log::{debug, error, info, warn};
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};
use supervise::confine::{Call, Confinement, Rules, When, confine};
use supervise::logger::{self, Destination};
use supervise::{Child, Exit, Identity, Program, start};

pub fn main() -> ExitCode {
    let Some(_) = supervise::role() else {
        // In this order: the second one gives the whole process its logger.
        return runner::run(&[
            ("stderr_is_gathered_text", stderr_is_gathered_text),
            ("syslog_knows_who_and_how_bad", syslog_knows_who_and_how_bad),
        ]);
    };
    let channel = supervise::inherited_channel().expect("channel");
    logger::inherit("tagged").expect("inherit");
    assert!(logger::inherit("twice").is_err());
    while let Some(order) = hear(&channel) {
        match order.as_str() {
            "confine" => confine_us(),
            "levels" => {
                debug!("debug {}", 1);
                info!("info \n 2");
                warn!("warn 3");
                say(&channel, "logged");
                assert_eq!(hear(&channel).as_deref(), Some("go on"));
                log::logger().flush();
            }
            "error" => error!("error 4"),
            "much" => (0..500).for_each(|n| info!("{n:099}")),
            "panic" => panic!("as asked"),
            "fatal" => logger::fatal(format_args!("pf channel closed, {} to go", 5)),
            "exit" => {
                info!("last words");
                std::process::exit(0);
            }
            other => panic!("unknown order {other}"),
        }
        say(&channel, "done");
    }
    ExitCode::SUCCESS
}

fn confine_us() {
    const CALLS: &[Call] = &[
        Call::when(libc::SYS_sendto, &[When::Is(0, supervise::CHANNEL_FD)], "answers"),
        Call::when(libc::SYS_recvfrom, &[When::Is(0, supervise::CHANNEL_FD)], "orders"),
    ];
    const RULES: Rules = Rules { keep: &[], calls: &[CALLS] };
    let identity = Identity::numeric(65533, 65532);
    let confinement = Confinement { identity: &identity, parent_death: None, rules: &RULES };
    confine(&confinement).expect("confine");
}

fn say(channel: &OwnedFd, text: &str) {
    send(channel.as_raw_fd(), text.as_bytes(), MsgFlags::MSG_NOSIGNAL).expect("send");
}

fn hear(channel: &OwnedFd) -> Option<String> {
    let mut bytes = vec![0; 4096];
    let length = recv(channel.as_raw_fd(), &mut bytes, MsgFlags::empty()).expect("recv");
    (length > 0).then(|| String::from_utf8_lossy(&bytes[..length]).into_owned())
}

fn readable(fd: impl AsFd, patience: u16) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(patience)).expect("poll") == 1
}

/// Gives an order; returns whether it was carried out, or the end of the channel came.
fn told(channel: &OwnedFd, order: &str) -> bool {
    say(channel, order);
    assert!(readable(channel, 10_000), "no answer to {order}");
    hear(channel).is_some()
}

fn end(mut child: Child) -> Exit {
    let moment = Instant::now() + Duration::from_secs(10);
    child.wait_until(moment).expect("wait").expect("ends within ten seconds")
}

/// A child whose standard error is the pipe that is returned, and which logs there.
fn with_stderr() -> (Child, OwnedFd, std::io::PipeReader) {
    let (reader, writer) = std::io::pipe().expect("pipe");
    // Before `init`: nothing is said about logging, so that the child takes its default.
    // SAFETY: our own standard error, put away and put back while nobody else writes to it.
    let (child, channel) = unsafe {
        let kept = libc::dup(2);
        libc::dup2(writer.as_raw_fd(), 2);
        let started = start(Program::Myself, "logged: by stderr", &[]).expect("start");
        libc::dup2(kept, 2);
        libc::close(kept);
        started
    };
    (child, channel, reader)
}

fn all(mut reader: std::io::PipeReader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("UTF-8 until the end");
    text
}

fn some(reader: &mut std::io::PipeReader) -> String {
    assert!(readable(&*reader, 10_000), "nothing was written");
    let mut bytes = [0; 65536];
    let length = reader.read(&mut bytes).expect("read");
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

fn stderr_is_gathered_text() {
    let (child, channel, mut reader) = with_stderr();
    assert!(told(&channel, "confine"));
    assert!(told(&channel, "levels"));
    assert!(!readable(&reader, 0), "written before anybody asked");
    assert!(told(&channel, "go on"));
    assert_eq!(some(&mut reader), "info \\012 2\nwarn 3\n");
    assert!(told(&channel, "error"));
    assert!(readable(&reader, 0), "an error must not wait");
    assert_eq!(some(&mut reader), "error 4\n");
    assert!(told(&channel, "much"));
    // Of 50,000 bytes more than half must be there, in whole lines.
    let text = some(&mut reader);
    assert!(text.len() > 32_000 && text.len() < 50_000 && text.ends_with('\n'), "{}", text.len());
    assert!(!told(&channel, "exit"));
    assert_eq!(end(child), Exit::Exited(0));
    let rest = all(reader);
    assert_eq!(text.len() + rest.len(), 500 * 100 + "last words\n".len());
    assert!(rest.ends_with("last words\n"));

    let (child, channel, reader) = with_stderr();
    assert!(!told(&channel, "fatal"));
    assert_eq!(end(child), Exit::Exited(1));
    assert_eq!(all(reader), "fatal in by stderr: pf channel closed, 5 to go\n");

    let (child, channel, reader) = with_stderr();
    assert!(told(&channel, "confine") && !told(&channel, "panic"));
    assert_eq!(end(child), Exit::Exited(101));
    let text = all(reader);
    assert!(text.starts_with("panic at ") && text.ends_with(": as asked\n"), "{text}");
    assert_eq!(text.lines().count(), 1);
}

/// Gives this process, and its children, a /dev with nothing but `null` in it.
fn private_dev() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("unshare (needs root)");
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private");
    let dev = std::env::temp_dir().join(format!("supervise-dev-{}", std::process::id()));
    fs::create_dir(&dev).expect("a directory");
    mount(Some("none"), &dev, Some("tmpfs"), MsFlags::empty(), none).expect("tmpfs");
    fs::write(dev.join("null"), "").expect("a place for null");
    mount(Some("/dev/null"), &dev.join("null"), none, MsFlags::MS_BIND, none).expect("null");
    mount(Some(&dev), "/dev", none, MsFlags::MS_MOVE, none).expect("move");
    fs::remove_dir(&dev).expect("clean up");
}

fn syslogd() -> UnixDatagram {
    let socket = UnixDatagram::bind("/dev/log").expect("bind");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
    socket
}

fn next(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let length = socket.recv(&mut bytes).expect("a line within ten seconds");
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

fn syslog_knows_who_and_how_bad() {
    private_dev();
    let socket = syslogd();
    logger::init(Destination::Syslog, "logged", true).expect("init");
    assert!(logger::init(Destination::Stderr, "logged", false).is_err());
    // This process is the test: its panics are for whoever runs it.
    drop(std::panic::take_hook());
    info!("ours");
    log::logger().flush();
    assert_eq!(next(&socket), format!("<30>logged[{}]: ours", std::process::id()));

    let begin = || start(Program::Myself, "logged: by syslog", &[]).expect("start");
    let (child, channel) = begin();
    assert!(told(&channel, "confine"));
    assert!(told(&channel, "levels") && told(&channel, "go on"));
    let head = format!("tagged[{}]: ", child.pid());
    assert_eq!(next(&socket), format!("<31>{head}debug 1"));
    assert_eq!(next(&socket), format!("<30>{head}info \\012 2"));
    assert_eq!(next(&socket), format!("<28>{head}warn 3"));
    assert!(told(&channel, "error"));
    assert_eq!(next(&socket), format!("<27>{head}error 4"));
    let fds = fs::read_dir(format!("/proc/{}/fd", child.pid())).expect("fds").count();
    assert_eq!(fds, 5, "0, 1, 2, the channel and the way to syslog");

    // syslogd is started anew. The parent finds it; the child could not, and need not.
    drop(socket);
    fs::remove_file("/dev/log").expect("remove");
    let socket = syslogd();
    info!("found again");
    runner::eventually("the parent finds syslogd", || {
        log::logger().flush();
        !logger::backlog()
    });
    assert!(next(&socket).ends_with(": found again"));
    assert!(told(&channel, "error"));
    assert_eq!(next(&socket), format!("<27>{head}error 4"));

    assert!(!told(&channel, "fatal"));
    let last = next(&socket);
    assert_eq!(last, format!("<26>{head}fatal in by syslog: pf channel closed, 5 to go"));
    assert_eq!(end(child), Exit::Exited(1));

    // Far more lines than a queue holds, to a syslogd that does not read for now: kept up to a
    // limit, the rest counted.
    let line = "x".repeat(1000);
    for _ in 0..1000 {
        info!("{line}");
    }
    assert!(logger::backlog());
    let mut kept = 0;
    let mut told = None;
    runner::eventually("it is said how many were lost", || {
        log::logger().flush();
        while readable(&socket, 0) {
            let text = next(&socket);
            match text.strip_suffix(" log lines were lost: nobody took them in time") {
                Some(text) => told = Some(text.rsplit_once(' ').expect("a number").1.to_owned()),
                None => kept += 1,
            }
        }
        told.is_some()
    });
    let lost: usize = told.expect("told").parse().expect("a number");
    assert!(kept >= 256 && lost > 0 && kept + lost == 1000, "{kept} kept, {lost} lost");
}
