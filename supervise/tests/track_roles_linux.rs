//! What the processes do that are followed. Each role is this test's own executable, started
//! again; it uses nothing but system calls where it forks much.

use std::ffi::{CString, c_int};
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A role and its words, and how it ends.
pub fn play(words: &[String]) -> ! {
    // Should a test fail, this ends what it leaves.
    // SAFETY: a number.
    unsafe { libc::alarm(120) };
    let number = |place: usize| words.get(place).and_then(|word| word.parse().ok()).unwrap_or(0);
    let code = match words.first().map_or("", String::as_str) {
        "exit" => number(1),
        "burst" => burst(number(1), number(2)),
        "burst and stay" => burst_and_stay(number(1)),
        "spawn" => spawn(number(1)),
        "daemon" => daemon(),
        "session" => session(),
        "same number" => same_number(number(1)),
        "leader ends first" => leader_ends_first(),
        "threads end with it" => threads_end_with_it(number(1)),
        "thread executes" => thread_executes(),
        "killed with threads" => killed_with_threads(),
        "forest" => forest(number(1)),
        "namespace" => namespace(),
        other => panic!("unknown role {other}"),
    };
    exit(code)
}

fn exit(code: c_int) -> ! {
    // SAFETY: ends the process; nothing of it is needed after that.
    unsafe { libc::_exit(code) }
}

/// Forks: 0 in the child, which may go on as it likes, because there is only one thread.
fn fork() -> c_int {
    // SAFETY: the roles that call this have one thread, so the child may do anything.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    pid
}

/// Waits for any child; its number and exit code.
fn wait() -> (c_int, c_int) {
    let mut status = 0;
    // SAFETY: the pointer is to an int.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, 0) };
    (pid, if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 })
}

/// The seed's load: fork, a failed execve, exit(127).
fn burst(count: c_int, at_once: c_int) -> c_int {
    let missing = CString::new("/nonexistent/program").expect("a string");
    let argv = [missing.as_ptr(), std::ptr::null()];
    let mut running = 0;
    for _ in 0..count {
        if running == at_once {
            assert_eq!(wait().1, 127);
            running -= 1;
        }
        if fork() == 0 {
            // SAFETY: strings ended by a zero and lists ended by a null pointer.
            unsafe { libc::execve(missing.as_ptr(), argv.as_ptr(), argv[1..].as_ptr()) };
            exit(127);
        }
        running += 1;
    }
    while running > 0 {
        assert_eq!(wait().1, 127);
        running -= 1;
    }
    0
}

/// The same, and then three that stay, one with a second thread and one a grandchild, until
/// standard input ends.
fn burst_and_stay(count: c_int) -> c_int {
    burst(count, 16);
    for code in 11..14 {
        if fork() == 0 {
            match code {
                12 => {
                    let thread = std::thread::spawn(until_eof);
                    thread.join().expect("join");
                }
                13 if fork() == 0 => {
                    until_eof();
                    exit(14);
                }
                _ => until_eof(),
            }
            if code == 13 {
                wait();
            }
            exit(code);
        }
    }
    println!("there");
    (0..3).for_each(|_| assert!(wait().1 > 0));
    10
}

fn until_eof() {
    let mut byte = 0u8;
    // SAFETY: one byte, to which the pointer is good.
    while unsafe { libc::read(0, (&raw mut byte).cast(), 1) } > 0 {}
}

/// posix_spawn, which is a vfork.
fn spawn(count: c_int) -> c_int {
    for _ in 0..count {
        let status = std::process::Command::new("/bin/sh").args(["-c", "exit 5"]).status();
        assert_eq!(status.expect("spawn").code(), Some(5));
    }
    6
}

/// Detaches itself as daemons do; what is left is nobody's child.
fn daemon() -> c_int {
    if fork() == 0 {
        // SAFETY: no arguments.
        unsafe { libc::setsid() };
        if fork() == 0 {
            until_eof();
            exit(43);
        }
        exit(42);
    }
    assert_eq!(wait().1, 42);
    41
}

fn session() -> c_int {
    if fork() == 0 {
        // SAFETY: no arguments.
        unsafe { libc::setsid() };
        exit(2);
    }
    wait();
    1
}

/// Children one after the other which all have the same number, as far as the rest of the machine
/// lets them.
fn same_number(count: c_int) -> c_int {
    let mut last = 0;
    for code in 0..count {
        if last > 0 {
            fs::write("/proc/sys/kernel/ns_last_pid", (last - 1).to_string()).expect("as root");
        }
        let pid = fork();
        if pid == 0 {
            exit(code % 100);
        }
        assert_eq!(wait(), (pid, code % 100));
        last = pid;
    }
    100
}

fn leader_ends_first() -> c_int {
    let stat = format!("/proc/{}/stat", std::process::id());
    std::thread::spawn(move || {
        while !fs::read_to_string(&stat).expect("stat").contains(") Z ") {
            std::thread::yield_now();
        }
        // A process of its own, made when there is no first thread any more.
        let made = std::process::Command::new("/bin/true").status();
        assert!(made.expect("spawn").success());
        exit(7);
    });
    // SAFETY: ends this thread only; nothing on its stack is used by the other one.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!()
}

/// Threads that end by themselves at the very moment when the process does.
fn threads_end_with_it(count: c_int) -> c_int {
    let threads: Vec<_> = (0..count).map(|_| std::thread::spawn(|| {})).collect();
    for thread in threads {
        thread.join().expect("join");
    }
    9
}

fn thread_executes() -> c_int {
    let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(until_eof)).collect();
    std::thread::spawn(|| execute(&["exit", "8"])).join().expect("join");
    drop(threads);
    unreachable!()
}

fn killed_with_threads() -> c_int {
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(until_eof)).collect();
    // SAFETY: a number; the process ends.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    drop(threads);
    until_eof();
    1
}

/// Workers that make children that make children, until standard input ends.
fn forest(workers: c_int) -> c_int {
    for _ in 0..workers {
        if fork() == 0 {
            let over = libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 };
            loop {
                let mut fds = [over];
                // SAFETY: one pollfd.
                if unsafe { libc::poll(fds.as_mut_ptr(), 1, 0) } != 0 {
                    exit(3);
                }
                if fork() == 0 {
                    if fork() == 0 {
                        exit(5);
                    }
                    assert_eq!(wait().1, 5);
                    exit(4);
                }
                assert_eq!(wait().1, 4);
            }
        }
    }
    println!("there");
    (0..workers).for_each(|_| assert_eq!(wait().1, 3));
    2
}

/// As the first process of a new pid namespace, where the kernel does not answer.
fn namespace() -> c_int {
    // SAFETY: a number.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
        return 77;
    }
    if fork() != 0 {
        return wait().1;
    }
    let began = std::time::Instant::now();
    let error = match supervise::track::Tracker::open(supervise::track::Backend::Connector) {
        Ok(_) => return 1,
        Err(error) => error.to_string(),
    };
    let quick = began.elapsed() < std::time::Duration::from_secs(1);
    println!("{error}");
    if quick && error.contains("connector is not available") { 0 } else { 2 }
}

/// Becomes another role.
pub fn execute(words: &[&str]) {
    let image = Image::new(words);
    image.execute();
}

/// What is executed, laid out beforehand.
pub struct Image {
    words: Vec<CString>,
}

impl Image {
    pub fn new(words: &[&str]) -> Image {
        let all = ["track", "role"].iter().chain(words);
        Image { words: all.map(|word| CString::new(*word).expect("a word")).collect() }
    }

    /// Only a system call: it may be done in the child of a process with threads.
    pub fn execute(&self) {
        let mut argv = [std::ptr::null(); 8];
        for (place, word) in argv.iter_mut().take(7).zip(&self.words) {
            *place = word.as_ptr();
        }
        let none = [std::ptr::null()];
        // SAFETY: strings ended by a zero and lists ended by a null pointer.
        unsafe { libc::execve(c"/proc/self/exe".as_ptr(), argv.as_ptr(), none.as_ptr()) };
    }
}

/// A process that is forked and held until it is let go; it is killed and reaped when dropped.
pub struct Held {
    pub pid: i32,
    gate: Option<OwnedFd>,
    /// Its standard input, until it is closed.
    pub input: Option<OwnedFd>,
    /// Its standard output.
    pub output: OwnedFd,
    reaped: bool,
}

impl Held {
    pub fn start(words: &[&str]) -> Held {
        let image = Image::new(words);
        let (gate, open) = pipe();
        let (stdin, input) = pipe();
        let (output, stdout) = pipe();
        // SAFETY: until execve the child makes system calls only.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork");
        if pid == 0 {
            let mut byte = 0u8;
            // SAFETY: system calls on our own descriptors and one byte.
            unsafe {
                libc::close(open.as_raw_fd());
                libc::dup2(stdin.as_raw_fd(), 0);
                libc::dup2(stdout.as_raw_fd(), 1);
                if libc::read(gate.as_raw_fd(), (&raw mut byte).cast(), 1) == 1 {
                    image.execute();
                }
            }
            exit(99);
        }
        Held { pid, gate: Some(open), input: Some(input), output, reaped: false }
    }

    /// Lets it go.
    pub fn go(&mut self) {
        let gate = self.gate.take().expect("held");
        assert_eq!(nix::unistd::write(&gate, b"g"), Ok(1));
    }

    /// Waits for a line of its.
    pub fn hear(&self) -> String {
        let mut bytes = [0; 200];
        let length = nix::unistd::read(&self.output, &mut bytes).expect("read");
        String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
    }

    /// Reaps it; its exit code.
    pub fn reap(&mut self) -> c_int {
        let mut status = 0;
        // SAFETY: the pointer is to an int, and the child is ours and not reaped.
        assert_eq!(unsafe { libc::waitpid(self.pid, &raw mut status, 0) }, self.pid);
        self.reaped = true;
        if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.input = None;
        if !self.reaped {
            // SAFETY: a child of ours that has not been reaped, so the number is its own.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
            self.reap();
        }
    }
}

/// A pipe whose ends are closed on exec.
fn pipe() -> (OwnedFd, OwnedFd) {
    let mut fds = [0; 2];
    // SAFETY: two ints.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: the kernel has just made these and only we know them.
    unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) }
}
