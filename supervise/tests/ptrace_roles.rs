//! What a traced command does, when it is this test's own executable.

use std::ffi::CStr;
use std::process::ExitCode;
use std::ptr;
use std::sync::Barrier;

use super::stage::CHANNEL;

pub fn play(role: &str, words: &[String]) -> ExitCode {
    let number = |at: usize| words[at].parse::<usize>().expect("a number");
    match role {
        "burst" => burst(number(0), number(1)),
        "waits" => {
            say("");
            pause()
        }
        "threads" => {
            tell_threads(number(0));
            pause()
        }
        "first blocks" => first_blocks(),
        "alarm" => {
            // SAFETY: a system call on a plain number.
            unsafe { libc::alarm(1) };
            pause()
        }
        "echoes" => {
            say("");
            loop {
                let heard = hear();
                if heard.is_empty() {
                    return ExitCode::SUCCESS;
                }
                say(&heard);
            }
        }
        "jobs" => jobs(),
        "exits 143" => exits_143(),
        "daemon" => daemon(),
        "vfork" => vfork(),
        "thread executes" => thread_executes(false),
        "thread executes, first ended" => thread_executes(true),
        "first ends" => first_ends(),
        "storm" => storm(number(0), number(1)),
        "bomb" => {
            say("");
            bomb(3)
        }
        "family" => family(),
        "pid namespace" => pid_namespace(),
        _ => panic!("no such role: {role}"),
    }
}

fn say(text: &str) {
    let text = if text.is_empty() { " " } else { text };
    // SAFETY: the bytes are alive; the descriptor is the one we were given.
    let sent = unsafe { libc::write(CHANNEL, text.as_ptr().cast(), text.len()) };
    assert_eq!(sent, text.len() as isize);
}

fn hear() -> String {
    let mut bytes = [0u8; 64];
    // SAFETY: the buffer is alive and as long as is said.
    let length = unsafe { libc::read(CHANNEL, bytes.as_mut_ptr().cast(), bytes.len()) };
    String::from_utf8_lossy(&bytes[..usize::try_from(length).unwrap_or(0)]).into_owned()
}

fn pause() -> ! {
    loop {
        // SAFETY: a system call without arguments.
        unsafe { libc::pause() };
    }
}

fn fork() -> i32 {
    // SAFETY: these processes have one thread when they fork.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    pid
}

fn exit(code: i32) -> ! {
    // SAFETY: it does not return.
    unsafe { libc::_exit(code) }
}

/// The whole wait status of a child, or of any (-1).
fn wait(pid: i32, flags: i32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is a live number for the kernel to fill.
    unsafe { libc::waitpid(pid, &mut status, flags) };
    status
}

fn burst(count: usize, width: usize) -> ExitCode {
    let mut outstanding = 0;
    for _ in 0..count {
        if outstanding == width {
            wait(-1, 0);
            outstanding -= 1;
        }
        if fork() == 0 {
            // SAFETY: a path and two lists, each ended as they must be.
            unsafe { libc::execv(c"/nonexistent".as_ptr(), [ptr::null()].as_ptr()) };
            exit(127);
        }
        outstanding += 1;
    }
    for _ in 0..outstanding {
        wait(-1, 0);
    }
    ExitCode::SUCCESS
}

fn tid() -> i32 {
    nix::unistd::gettid().as_raw()
}

/// Starts threads that wait for ever, and tells their numbers.
fn tell_threads(count: usize) {
    let (send, receive) = std::sync::mpsc::channel();
    for _ in 0..count {
        let send = send.clone();
        std::thread::spawn(move || {
            send.send(tid()).expect("send");
            pause();
        });
    }
    let tids: Vec<_> = receive.iter().take(count).map(|tid| tid.to_string()).collect();
    say(&tids.join(" "));
}

fn first_blocks() -> ExitCode {
    std::thread::spawn(|| pause());
    let set: nix::sys::signal::SigSet = [nix::sys::signal::SIGTERM].into_iter().collect();
    set.thread_block().expect("block");
    say("");
    pause()
}

/// What a shell does with its jobs.
fn jobs() -> ExitCode {
    let child = fork();
    if child == 0 {
        // SAFETY: a system call on a plain number.
        unsafe { libc::raise(libc::SIGSTOP) };
        exit(7);
    }
    let stopped = wait(child, libc::WUNTRACED);
    assert!(libc::WIFSTOPPED(stopped) && libc::WSTOPSIG(stopped) == libc::SIGSTOP, "{stopped:x}");
    // SAFETY: a system call on plain numbers.
    unsafe { libc::kill(child, libc::SIGCONT) };
    let ended = wait(child, 0);
    assert!(libc::WIFEXITED(ended) && libc::WEXITSTATUS(ended) == 7, "{ended:x}");
    ExitCode::SUCCESS
}

extern "C" fn exit_143(_: i32) {
    exit(143);
}

fn exits_143() -> ExitCode {
    // SAFETY: the handler only ends the process.
    unsafe { libc::signal(libc::SIGTERM, exit_143 as extern "C" fn(i32) as libc::sighandler_t) };
    say("");
    pause()
}

fn daemon() -> ExitCode {
    if fork() != 0 {
        return ExitCode::SUCCESS;
    }
    nix::unistd::setsid().expect("setsid");
    let parent = nix::unistd::getpid();
    if fork() != 0 {
        exit(0);
    }
    // Until our parent has ended, and beyond.
    while nix::unistd::getppid() == parent {
        std::thread::yield_now();
    }
    exit(5);
}

const SHELL: &CStr = c"/bin/sh";

fn shell_words(script: &CStr) -> [*const libc::c_char; 4] {
    [SHELL.as_ptr(), c"-c".as_ptr(), script.as_ptr(), ptr::null()]
}

#[allow(deprecated, reason = "it is what is to be shown")]
fn vfork() -> ExitCode {
    let words = shell_words(c"exit 7");
    // SAFETY: the child only calls execv, and _exit if that fails.
    let child = unsafe { libc::vfork() };
    if child == 0 {
        // SAFETY: a path and a list of words that a null pointer ends.
        unsafe { libc::execv(SHELL.as_ptr(), words.as_ptr()) };
        exit(1);
    }
    assert_eq!(wait(child, 0), 7 << 8);
    ExitCode::SUCCESS
}

/// Ends this thread only, the first of the process.
fn end_thread() -> ! {
    // SAFETY: other threads use nothing of this one's stack.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("the thread has ended");
}

fn thread_executes(first_ends: bool) -> ExitCode {
    static ALL: Barrier = Barrier::new(6);
    let others = || {
        ALL.wait();
        pause()
    };
    (0..4).for_each(|_| drop(std::thread::spawn(others)));
    std::thread::spawn(move || {
        ALL.wait();
        let first = std::process::id();
        let ended = || {
            let stat = std::fs::read_to_string(format!("/proc/self/task/{first}/stat"));
            stat.is_ok_and(|stat| stat.contains(") Z "))
        };
        while first_ends && !ended() {
            std::thread::yield_now();
        }
        let words = shell_words(c"exit 7");
        // SAFETY: a path and a list of words that a null pointer ends.
        unsafe { libc::execv(SHELL.as_ptr(), words.as_ptr()) };
        exit(1);
    });
    ALL.wait();
    if first_ends { end_thread() } else { pause() }
}

fn first_ends() -> ExitCode {
    std::thread::spawn(|| {
        hear();
        // The whole process, from a thread that is not its first.
        exit(9);
    });
    say("");
    end_thread()
}

fn storm(rounds: usize, count: usize) -> ExitCode {
    for _ in 0..rounds {
        let threads: Vec<_> = (0..count).map(|_| std::thread::spawn(tid)).collect();
        for thread in threads {
            thread.join().expect("join");
        }
    }
    ExitCode::SUCCESS
}

/// Processes that make processes, at most three each at a time, so many generations deep; the
/// first goes on for ever.
fn bomb(generations: u32) -> ! {
    let mut made = 0;
    loop {
        if made >= 3 {
            wait(-1, 0);
        }
        if generations < 3 && made == 6 {
            exit(0);
        }
        if fork() == 0 {
            if generations > 0 {
                bomb(generations - 1);
            }
            exit(1);
        }
        made += 1;
    }
}

/// Ourselves, a child, one that is stopped, and one that has got away into a session of its own.
fn family() -> ExitCode {
    let (reader, writer) = nix::unistd::pipe().expect("a pipe");
    let child = fork();
    if child == 0 {
        pause();
    }
    let stopped = fork();
    if stopped == 0 {
        pause();
    }
    // SAFETY: a system call on plain numbers.
    unsafe { libc::kill(stopped, libc::SIGSTOP) };
    wait(stopped, libc::WUNTRACED);
    let between = fork();
    if between == 0 {
        nix::unistd::setsid().expect("setsid");
        let daemon = fork();
        if daemon == 0 {
            pause();
        }
        nix::unistd::write(&writer, daemon.to_string().as_bytes()).expect("write");
        exit(0);
    }
    wait(between, 0);
    let mut bytes = [0; 16];
    let length = nix::unistd::read(&reader, &mut bytes).expect("read");
    let daemon = String::from_utf8_lossy(&bytes[..length]);
    say(&format!("{} {child} {stopped} {daemon}", std::process::id()));
    pause()
}

fn pid_namespace() -> ExitCode {
    // SAFETY: a system call on a plain number.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
    let init = fork();
    if init == 0 {
        let victim = fork();
        if victim == 0 {
            pause();
        }
        // SAFETY: a system call on plain numbers.
        unsafe { libc::kill(victim, libc::SIGTERM) };
        exit(wait(victim, 0));
    }
    assert_eq!(wait(init, 0), libc::SIGTERM << 8);
    ExitCode::SUCCESS
}
