//! Whole commands: exit codes, what goes where, and what the daemon is asked.

use super::super::message::{Request, Selection};
use super::super::{Output, run};
use super::{PLAIN, failed, full};
use crate::ctl::message::{Answer, Code};
use crate::engine::Role;
use proto::unix::Listener;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

/// A directory with a hast.conf of two resources on files, and the way to the daemon in it.
struct Site {
    dir: PathBuf,
}

impl Site {
    fn new() -> Site {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("hastctl-{}-{count}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
        let base = dir.display();
        let resource = |name: &str| {
            format!("resource {name} {{ local {base}/{name} on {host} {{ remote none }} }}\n")
        };
        let text = format!("control {base}/control\n{}{}", resource("data"), resource("more"));
        fs::write(dir.join("hast.conf"), text).unwrap();
        Site { dir }
    }

    /// Answers the requests of one connection, a list of answers each, and returns the requests.
    fn daemon(&self, answers: Vec<Vec<Answer>>) -> JoinHandle<Vec<Request>> {
        let listener = Listener::bind(&self.dir.join("control"), 0o600).unwrap();
        std::thread::spawn(move || {
            let connection = loop {
                let mut fds = [nix::poll::PollFd::new(
                    std::os::fd::AsFd::as_fd(&listener),
                    nix::poll::PollFlags::POLLIN,
                )];
                assert_eq!(nix::poll::poll(&mut fds, 10_000_u16), Ok(1), "nobody has connected");
                if let Some(connection) = listener.accept::<Answer, Request>().unwrap() {
                    break connection;
                }
            };
            let mut requests = Vec::new();
            for list in answers {
                requests.push(connection.channel.recv().unwrap());
                list.iter().for_each(|answer| connection.channel.send(answer).unwrap());
            }
            requests
        })
    }

    /// Exit code, stdout, stderr.
    fn run(&self, line: &str) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        words.push("-c".into());
        words.push(self.dir.join("hast.conf").into());
        let code = run(words, &mut Output { out: &mut out, err: &mut err, screen: PLAIN });
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn done(name: &str) -> Answer {
    Answer::Done { resource: name.to_owned(), before: Role::Init }
}

fn status(name: &str) -> Answer {
    Answer::Status(Box::new(full(name)))
}

#[test]
fn role_is_asked_for_and_refusals_are_named() {
    let site = Site::new();
    let refused = Answer::Failed {
        resource: "more".to_owned(),
        code: Code::Unsafe,
        why: "7 bytes are newer on the other node".to_owned(),
        loses: Some(7),
    };
    let daemon = site.daemon(vec![vec![done("data"), refused, Answer::End]]);
    let (code, out, err) = site.run("role primary all");
    assert_eq!((code, out.as_str()), (5, ""));
    assert_eq!(err, "hastctl: more: 7 bytes are newer on the other node\n");
    let of = Selection::All;
    assert_eq!(daemon.join().unwrap(), [Request::Role { role: Role::Primary, force: false, of }]);

    let daemon = site.daemon(vec![vec![done("data"), Answer::End]]);
    assert_eq!(site.run("role secondary data --force"), (0, String::new(), String::new()));
    let of = Selection::Named(vec!["data".to_owned()]);
    assert_eq!(daemon.join().unwrap(), [Request::Role { role: Role::Secondary, force: true, of }]);

    let daemon = site.daemon(vec![vec![done("data"), Answer::End]]);
    assert_eq!(site.run("discard data").0, 0);
    assert_eq!(daemon.join().unwrap(), [Request::Discard { of: vec!["data".to_owned()] }]);
}

#[test]
fn status_and_list_go_to_stdout() {
    let site = Site::new();
    let answers = || vec![status("data"), failed("x"), Answer::End];
    for (line, begin) in [
        ("status data x", "Name\tStatus"),
        ("status --json data x", "{\"resources\":[{\"name\":\"data\""),
        ("list data x", "data:\n  role"),
        ("list --json data x", "{\"resources\""),
    ] {
        let daemon = site.daemon(vec![answers()]);
        let (code, out, err) = site.run(line);
        assert_eq!((code, err.as_str()), (1, ""), "{line}");
        assert!(out.starts_with(begin), "{line}: {out}");
        let of = Selection::Named(vec!["data".to_owned(), "x".to_owned()]);
        assert_eq!(daemon.join().unwrap(), [Request::Status { of }]);
    }
}

#[test]
fn watching_until_all_is_well() {
    let site = Site::new();
    let mut one = full("data");
    let progress = vec![Answer::Status(one.clone().into()), Answer::End];
    let state = &mut one.worker.as_mut().unwrap().status;
    (state.sync, state.dirty) = (None, 0);
    let good = vec![Answer::Status(one.into()), Answer::End];
    let daemon = site.daemon(vec![progress.clone(), progress.clone(), good.clone()]);
    let (code, out, err) = site.run("status --watch=0.1 --wait=20");
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out.matches("Components").count(), 3);
    assert_eq!(out.matches("ETA").count(), 2);
    assert_eq!(daemon.join().unwrap().len(), 3);

    let daemon = site.daemon(vec![progress.clone(), good]);
    let (code, out, _) = site.run("status --wait=20");
    assert_eq!((code, out.matches("Components").count()), (0, 1));
    daemon.join().unwrap();

    // The time is over, and the last state is shown.
    let daemon = site.daemon(vec![progress.clone()]);
    let (code, out, _) = site.run("status --wait=0");
    assert_eq!((code, out.matches("complete").count()), (75, 1));
    daemon.join().unwrap();

    // What does not exist will never be well.
    let daemon = site.daemon(vec![vec![failed("x"), Answer::End]]);
    let (code, _, err) = site.run("status --wait=20 x");
    assert_eq!((code, err.as_str()), (1, "hastctl: x: no such resource\n"));
    daemon.join().unwrap();

    // The daemon ends meanwhile.
    let daemon = site.daemon(vec![progress]);
    let (code, _, err) = site.run("status --watch=20");
    assert_eq!((code, err.as_str()), (69, "hastctl: the daemon has ended\n"));
    daemon.join().unwrap();
}

#[test]
fn stop_waits_for_the_end() {
    let site = Site::new();
    let daemon = site.daemon(vec![vec![Answer::End]]);
    assert_eq!(site.run("stop"), (0, String::new(), String::new()));
    assert_eq!(daemon.join().unwrap(), [Request::Stop]);
}

#[test]
fn exit_codes() {
    let site = Site::new();
    let (code, out, err) = site.run("frobnicate");
    assert_eq!((code, out.as_str()), (64, ""));
    assert!(err.starts_with("hastctl: no command is called `frobnicate`\nusage: hastctl create"));
    let (code, out, _) = site.run("status -h");
    assert_eq!((code, out.starts_with("usage: ")), (0, true));
    // No daemon.
    let (code, _, err) = site.run("status");
    assert_eq!(code, 71);
    assert!(err.starts_with("hastctl: connect ") && err.contains("control: "), "{err}");
    // A daemon that refuses, and one that goes away.
    let daemon = site.daemon(vec![vec![Answer::Refused("it is ending".to_owned())]]);
    assert_eq!(site.run("status"), (70, String::new(), "hastctl: it is ending\n".to_owned()));
    daemon.join().unwrap();
    let daemon = site.daemon(vec![vec![status("data")]]);
    let (code, out, err) = site.run("status");
    assert_eq!((code, out.as_str()), (69, ""));
    assert!(err.starts_with("hastctl: receive the answer: "), "{err}");
    daemon.join().unwrap();
    // No file, and a wrong one.
    fs::write(site.dir.join("hast.conf"), "timeout 0\n").unwrap();
    let (code, _, err) = site.run("status");
    assert_eq!(code, 78);
    assert!(
        err.contains("hast.conf:1:9: a timeout of 0") && err.ends_with("\n        ^\n"),
        "{err}"
    );
    fs::remove_file(site.dir.join("hast.conf")).unwrap();
    assert_eq!(site.run("status").0, 72);
}

#[test]
fn create_and_dump() {
    let site = Site::new();
    let file = fs::File::create(site.dir.join("data")).unwrap();
    file.set_len(1 << 30).unwrap();
    assert_eq!(site.run("create --layout=freebsd data"), (0, String::new(), String::new()));
    let (code, out, err) = site.run("dump data");
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "resource: data
    datasize: 1073737216 (1.0GB)
    extentsize: 2097152 (2.0MB)
    keepdirty: 64
    localoff: 4608
    resuid: 0
    localcnt: 0
    remotecnt: 0
    prevrole: init
    consistency: consistent
"
    );
    let (code, out, _) = site.run("dump --json data");
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "{\"resources\":[{\"name\":\"data\",\"datasize\":1073737216,\"extentsize\":2097152,\
         \"keepdirty\":64,\"resuid\":\"0\",\"localcnt\":0,\"remotecnt\":0,\"localoff\":4608,\
         \"prevrole\":\"init\",\"consistency\":\"consistent\"}]}\n"
    );
    assert_eq!(site.run("create -e 1M -k 3 -m 512M data").0, 0);
    let (_, out, _) = site.run("dump data");
    assert!(
        out.contains("extentsize: 1048576 (1.0MB)\n    keepdirty: 3\n    localoff: 1048576\n"),
        "{out}"
    );
}

#[test]
fn create_and_dump_go_on_after_what_fails() {
    let site = Site::new();
    let file = fs::File::create(site.dir.join("more")).unwrap();
    file.set_len(64 << 20).unwrap();
    // `data` has no file, `x` is no resource; `more` is made all the same.
    let (code, _, err) = site.run("create data x more");
    assert_eq!(code, 66);
    assert_eq!(err.lines().count(), 2, "{err}");
    assert!(err.contains("hastctl: no resource is called x\n"), "{err}");
    let (code, out, _) = site.run("dump");
    assert_eq!(code, 66);
    assert!(out.starts_with("resource: more\n"), "{out}");
    assert_eq!(site.run("dump x").0, 65);
    // Bad sizes.
    let (code, _, err) = site.run("create -m 1G more");
    assert_eq!(code, 65, "{err}");
    let (code, _, err) = site.run("create -e 3k more");
    assert_eq!(code, 65, "{err}");
    // Of another resource.
    fs::rename(site.dir.join("more"), site.dir.join("data")).unwrap();
    let (code, _, err) = site.run("dump data");
    assert_eq!(code, 66);
    assert!(err.contains("it is of resource more"), "{err}");
    // Not metadata at all.
    fs::write(site.dir.join("data"), [b'x'; 8192]).unwrap();
    assert_eq!(site.run("dump data").0, 66);
}
