//! Real signals of real processes, and what a trace has seen of them. Root is needed, and without
//! it every test fails.

#[allow(dead_code, reason = "nothing here has to be waited for but a trace")]
#[path = "runner.rs"]
mod runner;

#[path = "trace_senders_linux.rs"]
mod senders;

#[path = "trace_ways_linux.rs"]
mod ways;

#[path = "trace_instances_linux.rs"]
mod instances;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use supervise::attribution::{Buffers, Seen, Trace};
use supervise::{Exe, Sender};

/// The variable that tells the test that it is a process of the story.
const ROLE: &str = "TRACE_ROLE";

pub fn main() -> ExitCode {
    if let Ok(role) = std::env::var(ROLE) {
        // Should a test fail, this ends it.
        // SAFETY: a number.
        unsafe { libc::alarm(60) };
        match role.as_str() {
            "victim" => senders::victim(),
            "owner" => instances::owner(),
            "without a mount" => instances::without_a_mount(),
            why => instances::refused(why),
        }
        return ExitCode::SUCCESS;
    }
    assert!(nix::unistd::geteuid().is_root(), "tracing needs root, and so does its test");
    let tests = [senders::TESTS, ways::TESTS, instances::TESTS].concat();
    runner::run(&tests)
}

/// This test again, as another process, with a pipe to its input.
fn again(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("our path"));
    command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// A process in a role, which says a line when it is ready and ends when it is dropped.
struct Actor {
    child: Child,
    input: Option<ChildStdin>,
    said: String,
}

impl Actor {
    fn start(command: &mut Command) -> Actor {
        let mut child = command.spawn().expect("start");
        let mut said = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut said).expect("a line");
        let input = child.stdin.take();
        Actor { child, input, said: said.trim_end().to_owned() }
    }

    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // Its input ends, and so it does.
        self.input.take();
        let _ = self.child.wait();
    }
}

/// A trace with room for what else goes on on the machine: the tests read it at their end.
fn traced() -> Trace {
    Trace::with(Buffers { signals: 1024, processes: 8192 }).expect("a trace")
}

/// What `pid` was sent, as soon as that is as many as this; fails after twenty seconds.
fn sent_to(trace: &mut Trace, pid: i32, count: usize) -> Vec<Seen> {
    let until = Instant::now() + Duration::from_secs(20);
    let mut all: Vec<Seen> = Vec::new();
    loop {
        trace.read_if(&mut |target| target.pid == pid, &mut all).expect("read");
        if all.len() >= count {
            return all;
        }
        let left = until.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{} of {count} seen: {all:#?}", all.len());
        // It wakes us for signals of others too.
        let mut fds = [PollFd::new(trace.as_fd(), PollFlags::POLLIN)];
        let woken = poll(&mut fds, PollTimeout::try_from(left).expect("short"));
        assert_eq!(woken, Ok(1), "{} of {count} seen: {all:#?}", all.len());
    }
}

/// The only signal that was sent to `pid`.
fn only(trace: &mut Trace, pid: i32) -> Seen {
    let mut all = sent_to(trace, pid, 1);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

fn sender(seen: &Seen) -> &Sender {
    seen.sender.as_ref().expect("a sender")
}

fn exe(path: &Path) -> Exe {
    Exe::Path(path.to_owned())
}

/// A directory that is removed with what is in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let name = format!("supervise-trace-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a directory");
        Folder(path)
    }

    /// A program that sends SIGTERM to the number that is its one argument, and ends: 162 bytes
    /// in all, so that of it nothing is left when anybody looks.
    fn killer(&self, name: &[u8]) -> PathBuf {
        let path = self.0.join(std::ffi::OsStr::from_bytes(name));
        if cfg!(target_arch = "x86_64") {
            self.write(&path, &program());
        } else {
            self.write(&path, &fs::read("/bin/kill").expect("kill"));
        }
        path
    }

    fn write(&self, path: &Path, bytes: &[u8]) {
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o755).open(path).expect("open");
        file.write_all(bytes).expect("write");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An ELF file for x86-64 with one segment, read and executed.
fn program() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    #[rustfmt::skip]
    const CODE: [u8; 42] = [
        0x48, 0x8b, 0x74, 0x24, 0x10,   // mov rsi, [rsp+16]: argv[1]
        0x31, 0xff,                     // xor edi, edi
        0x0f, 0xb6, 0x06,               // digit: movzx eax, byte [rsi]
        0x2c, 0x30,                     // sub al, '0'
        0x72, 0x0a,                     // jb done
        0x6b, 0xff, 0x0a,               // imul edi, edi, 10
        0x01, 0xc7,                     // add edi, eax
        0x48, 0xff, 0xc6,               // inc rsi
        0xeb, 0xef,                     // jmp digit
        0x6a, 0x0f, 0x5e,               // done: push SIGTERM; pop rsi
        0x6a, 0x3e, 0x58,               // push kill; pop rax
        0x0f, 0x05,                     // syscall
        0x6a, 0x3c, 0x58,               // push exit; pop rax
        0x31, 0xff,                     // xor edi, edi
        0x0f, 0x05,                     // syscall
        0xf4, 0xf4, 0xf4,               // hlt
    ];
    let size = HEADERS + CODE.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let put2 = |file: &mut Vec<u8>, value: u16| file.extend(value.to_le_bytes());
    let put4 = |file: &mut Vec<u8>, value: u32| file.extend(value.to_le_bytes());
    let put8 = |file: &mut Vec<u8>, value: u64| file.extend(value.to_le_bytes());
    put2(&mut file, 2); // executable
    put2(&mut file, 62); // x86-64
    put4(&mut file, 1);
    put8(&mut file, BASE + HEADERS); // where it begins
    put8(&mut file, 64); // its segments
    put8(&mut file, 0);
    put4(&mut file, 0);
    for value in [64, 56, 1, 64, 0, 0] {
        put2(&mut file, value);
    }
    put4(&mut file, 1); // loaded
    put4(&mut file, 5); // read, executed
    for value in [0, BASE, BASE, size, size, 0x1000] {
        put8(&mut file, value);
    }
    file.extend(CODE);
    file
}

/// Buffers that are soon full.
const SMALL: Buffers = Buffers { signals: 16, processes: 16 };
