//! Every way to send a signal, and what the kernel records of it: measured anew on each kernel
//! that this runs on.

use std::ffi::c_void;
use std::fs;
use std::path::PathBuf;

use supervise::Exe;
use supervise::attribution::{Confidence, Reason, Seen, Target, Trace, Via};

use super::runner::Test;
use super::{only, sender, sent_to, traced};

pub const TESTS: &[Test] = &[
    ("kill_means_a_process", kill_means_a_process),
    ("a_group_is_one_each", a_group_is_one_each),
    ("tkill_and_tgkill_mean_a_thread", tkill_and_tgkill_mean_a_thread),
    ("who_queues_cannot_lie", who_queues_cannot_lie),
    ("a_queued_timer_is_no_timer", a_queued_timer_is_no_timer),
    ("by_pidfd", by_pidfd),
    ("by_cgroup", by_cgroup),
    ("by_cgroup_on_itself", by_cgroup_on_itself),
    ("a_parent_that_dies", a_parent_that_dies),
    ("a_parent_thread_that_dies", a_parent_thread_that_dies),
    ("abort_is_by_itself", abort_is_by_itself),
    ("timers_are_the_kernels", timers_are_the_kernels),
    ("faults_are_the_kernels", faults_are_the_kernels),
    ("a_key_is_the_kernels", a_key_is_the_kernels),
    ("a_hangup_is_the_kernels", a_hangup_is_the_kernels),
];

fn us() -> i32 {
    std::process::id().cast_signed()
}

/// Forks a child of this, the only thread; it must do with system calls.
fn fork(child: impl FnOnce()) -> i32 {
    // SAFETY: there is one thread, and the child ends without unwinding into the test.
    match unsafe { libc::fork() } {
        0 => {
            // Nothing a test does leaves a core, or a process for long.
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: a live structure and numbers.
            unsafe {
                libc::setrlimit(libc::RLIMIT_CORE, &none);
                libc::alarm(30);
            }
            child();
            // SAFETY: it ends here.
            unsafe { libc::_exit(0) }
        }
        pid => {
            assert!(pid > 0, "fork");
            pid
        }
    }
}

fn wait_for_a_signal() {
    loop {
        // SAFETY: no arguments.
        unsafe { libc::pause() };
    }
}

fn wait(pid: i32) {
    // SAFETY: no status is asked for.
    assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }, pid);
}

/// What a child was sent that did this to itself, or to whom this was done.
fn only_one(child: impl FnOnce(), act: impl FnOnce(i32)) -> Seen {
    let mut trace = traced();
    let pid = fork(child);
    act(pid);
    wait(pid);
    let seen = only(&mut trace, pid);
    assert_eq!(seen.target, Target { pid, tid: pid });
    seen
}

fn ok(result: impl Into<i64>) {
    assert_eq!(result.into(), 0, "{}", std::io::Error::last_os_error());
}

/// That we sent it, and for certain.
fn by_us(seen: &Seen, signal: i32, via: Via) {
    assert_eq!((seen.signal, seen.via, seen.confidence), (signal, via, Confidence::Certain));
    assert_eq!(sender(seen).pid, us());
    assert_eq!(sender(seen).exe, Exe::Path(std::env::current_exe().expect("our path")));
    assert_eq!(sender(seen).command, Some(std::env::args_os().collect()));
}

/// That nobody is blamed.
fn by_nobody(seen: &Seen, signal: i32) {
    assert_eq!((seen.signal, seen.via), (signal, Via::Kernel));
    assert_eq!(seen.confidence, Confidence::Unknown(Reason::Kernel));
    assert_eq!(seen.sender, None);
}

fn kill_means_a_process() {
    let seen = only_one(wait_for_a_signal, |pid| {
        // SAFETY: plain numbers, of a child that has not been reaped.
        ok(unsafe { libc::kill(pid, libc::SIGTERM) });
    });
    by_us(&seen, libc::SIGTERM, Via::Process);
}

fn a_group_is_one_each() {
    let mut trace = traced();
    // SAFETY: plain numbers.
    let first = fork(wait_for_a_signal);
    let second = fork(wait_for_a_signal);
    // SAFETY: plain numbers, of children that have not been reaped.
    unsafe {
        ok(libc::setpgid(first, first));
        ok(libc::setpgid(second, first));
        ok(libc::killpg(first, libc::SIGUSR1));
    }
    wait(first);
    wait(second);
    by_us(&only(&mut trace, first), libc::SIGUSR1, Via::Process);
}

fn tkill_and_tgkill_mean_a_thread() {
    let seen = only_one(wait_for_a_signal, |pid| {
        // SAFETY: plain numbers, of a child that has not been reaped.
        ok(unsafe { libc::syscall(libc::SYS_tkill, pid, libc::SIGTERM) });
    });
    by_us(&seen, libc::SIGTERM, Via::Thread);
    let seen = only_one(wait_for_a_signal, |pid| {
        // SAFETY: plain numbers, of a child that has not been reaped.
        ok(unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, libc::SIGKILL) });
    });
    by_us(&seen, libc::SIGKILL, Via::Thread);
}

/// Sends what says that init has sent it.
fn queue(pid: i32, code: i32) {
    // SAFETY: an all-zero siginfo_t is a valid one.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    info.si_signo = libc::SIGTERM;
    info.si_code = code;
    // The number and the user id of the sender stand behind three numbers, aligned.
    let at = if size_of::<usize>() == 8 { 16 } else { 12 };
    // SAFETY: within the structure, which is all plain numbers.
    unsafe { (&raw mut info).cast::<u8>().add(at).cast::<i32>().write(1) };
    // SAFETY: a live structure and numbers of a child that has not been reaped.
    ok(unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, pid, libc::SIGTERM, &info) });
}

fn who_queues_cannot_lie() {
    let seen = only_one(wait_for_a_signal, |pid| queue(pid, libc::SI_QUEUE));
    by_us(&seen, libc::SIGTERM, Via::Queue);
}

fn a_queued_timer_is_no_timer() {
    for code in [libc::SI_TIMER, libc::SI_MESGQ, libc::SI_ASYNCIO, libc::SI_SIGIO] {
        let seen = only_one(wait_for_a_signal, |pid| queue(pid, code));
        by_us(&seen, libc::SIGTERM, Via::Queue);
    }
}

fn by_pidfd() {
    let seen = only_one(wait_for_a_signal, |pid| {
        let nothing = std::ptr::null::<c_void>();
        // SAFETY: plain numbers and a null pointer; the child has not been reaped.
        unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
            assert!(fd >= 0, "pidfd_open");
            ok(libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGINT, nothing, 0));
            libc::close(fd as i32);
        }
    });
    by_us(&seen, libc::SIGINT, Via::Process);
}

/// A cgroup, removed when it is dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new() -> Cgroup {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let root = mounts.find(|words| words.get(2) == Some(&"cgroup2")).expect("a cgroup2");
        let path = PathBuf::from(root[1]).join(format!("supervise-trace-test-{}", us()));
        fs::create_dir(&path).expect("a cgroup");
        Cgroup(path)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).expect("write");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Whoever was in it has been reaped, and leaves a moment later.
        for _ in 0..100_000 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::yield_now();
        }
        println!("{}: is left", self.0.display());
    }
}

fn by_cgroup() {
    let cgroup = Cgroup::new();
    let seen = only_one(wait_for_a_signal, |pid| {
        cgroup.write("cgroup.procs", &pid.to_string());
        cgroup.write("cgroup.kill", "1");
    });
    by_us(&seen, libc::SIGKILL, Via::Cgroup);
}

fn by_cgroup_on_itself() {
    let cgroup = Cgroup::new();
    let suicide = || {
        cgroup.write("cgroup.procs", "0");
        cgroup.write("cgroup.kill", "1");
        wait_for_a_signal();
    };
    let seen = only_one(suicide, |_| {});
    assert_eq!((seen.signal, seen.via), (libc::SIGKILL, Via::Cgroup));
    assert_eq!(sender(&seen).pid, seen.target.pid);
}

/// Forks a child that asks for a signal at its parent's death, and tells its number.
fn fork_orphan(pipe: [i32; 2]) {
    fork(|| {
        // SAFETY: plain numbers, and a live number to write.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            let pid = libc::getpid();
            libc::write(pipe[1], (&raw const pid).cast(), size_of::<i32>());
        }
        wait_for_a_signal();
    });
    // Not before it has asked: the pipe holds what we must not read.
    let mut fd = libc::pollfd { fd: pipe[0], events: libc::POLLIN, revents: 0 };
    // SAFETY: one live structure.
    assert_eq!(unsafe { libc::poll(&mut fd, 1, 10_000) }, 1);
}

fn orphan_of(parent: impl FnOnce([i32; 2])) {
    let mut trace = traced();
    adopt(true);
    let mut pipe = [0; 2];
    // SAFETY: an array of two, as it wants.
    ok(unsafe { libc::pipe(pipe.as_mut_ptr()) });
    let dying = fork(|| parent(pipe));
    wait(dying);
    let mut orphan: i32 = 0;
    // SAFETY: a live number to read into; both descriptors are ours.
    unsafe {
        let size = size_of::<i32>();
        assert_eq!(libc::read(pipe[0], (&raw mut orphan).cast(), size), size.cast_signed());
        libc::close(pipe[0]);
        libc::close(pipe[1]);
    }
    // A thread that dies leaves it to another one of its process, which dies then.
    let seen = sent_to(&mut trace, orphan, 1).remove(0);
    assert_eq!((seen.signal, seen.via), (libc::SIGTERM, Via::ParentDeath));
    assert_eq!(seen.confidence, Confidence::Certain);
    assert_eq!(sender(&seen).pid, dying);
    assert_eq!(sender(&seen).exe, Exe::Path(std::env::current_exe().expect("our path")));
    wait(orphan);
    adopt(false);
}

/// Whether orphans among our descendants become our children. While one still has what it inherited
/// the instance cannot be removed, and only its wait tells that it has not: /proc shows none of its
/// descriptors any more before the first of them is closed.
fn adopt(orphans: bool) {
    // SAFETY: plain numbers.
    ok(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, libc::c_ulong::from(orphans)) });
}

fn a_parent_that_dies() {
    orphan_of(fork_orphan);
}

/// It is the thread's death that counts, not the process's, to the surprise of many.
fn a_parent_thread_that_dies() {
    orphan_of(|pipe| {
        std::thread::spawn(move || fork_orphan(pipe)).join().expect("join");
    });
}

fn abort_is_by_itself() {
    let seen = only_one(|| std::process::abort(), |_| {});
    assert_eq!((seen.signal, seen.via), (libc::SIGABRT, Via::Thread));
    assert_eq!(seen.confidence, Confidence::Certain);
    assert_eq!(sender(&seen).pid, seen.target.pid);
}

fn timers_are_the_kernels() {
    let soon = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
    let once =
        libc::itimerval { it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 }, it_value: soon };
    for (timer, signal) in [
        (libc::ITIMER_REAL, libc::SIGALRM),
        (libc::ITIMER_VIRTUAL, libc::SIGVTALRM),
        (libc::ITIMER_PROF, libc::SIGPROF),
    ] {
        let child = || {
            // SAFETY: a live structure, and none for the old value.
            unsafe { libc::setitimer(timer, &once, std::ptr::null_mut()) };
            loop {
                std::hint::spin_loop();
            }
        };
        by_nobody(&only_one(child, |_| {}), signal);
    }
    for clock in [libc::CLOCK_MONOTONIC, libc::CLOCK_PROCESS_CPUTIME_ID] {
        let child = || {
            // SAFETY: all-zero structures are valid ones; they live through the calls.
            unsafe {
                let mut event: libc::sigevent = std::mem::zeroed();
                event.sigev_notify = libc::SIGEV_SIGNAL;
                event.sigev_signo = libc::SIGTERM;
                let mut timer: libc::timer_t = std::mem::zeroed();
                libc::timer_create(clock, &mut event, &mut timer);
                let mut when: libc::itimerspec = std::mem::zeroed();
                when.it_value.tv_nsec = 20_000_000;
                libc::timer_settime(timer, 0, &when, std::ptr::null_mut());
            }
            loop {
                std::hint::spin_loop();
            }
        };
        by_nobody(&only_one(child, |_| {}), libc::SIGTERM);
    }
}

fn faults_are_the_kernels() {
    let fault = || {
        // The library's own handler would raise it a second time.
        // SAFETY: the default action; then a page that is not there, which is the test.
        unsafe {
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            std::ptr::null::<u8>().wrapping_add(8).read_volatile();
        }
    };
    by_nobody(&only_one(fault, |_| {}), libc::SIGSEGV);
    let pipe = || {
        let mut pipe = [0; 2];
        // SAFETY: an array of two, as it wants; plain numbers; one live byte.
        unsafe {
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            libc::pipe(pipe.as_mut_ptr());
            libc::close(pipe[0]);
            libc::write(pipe[1], c"x".as_ptr().cast(), 1);
        }
    };
    by_nobody(&only_one(pipe, |_| {}), libc::SIGPIPE);
}

/// A child that leads a session on a terminal of its own, whose other end we hold.
fn on_a_terminal() -> (Trace, i32, i32) {
    let trace = traced();
    let mut terminal = -1;
    let nothing = std::ptr::null_mut();
    // SAFETY: there is one thread; a live number; the rest is not asked for.
    let pid = unsafe { libc::forkpty(&mut terminal, nothing, nothing.cast(), nothing.cast()) };
    if pid == 0 {
        // SAFETY: plain numbers, and one live byte.
        unsafe {
            libc::alarm(30);
            libc::write(1, c"x".as_ptr().cast(), 1);
        }
        wait_for_a_signal();
    }
    assert!(pid > 0, "forkpty");
    let mut byte = [0u8; 1];
    // SAFETY: one live byte.
    assert_eq!(unsafe { libc::read(terminal, byte.as_mut_ptr().cast(), 1) }, 1);
    (trace, pid, terminal)
}

fn a_key_is_the_kernels() {
    let (mut trace, pid, terminal) = on_a_terminal();
    // SAFETY: one live byte: what the key for an interrupt sends.
    assert_eq!(unsafe { libc::write(terminal, c"\x03".as_ptr().cast(), 1) }, 1);
    wait(pid);
    // The end of a session leader is a hangup to its group, so to itself, which is ending.
    by_nobody(&sent_to(&mut trace, pid, 1)[0], libc::SIGINT);
    // SAFETY: a descriptor of ours.
    ok(unsafe { libc::close(terminal) });
}

fn a_hangup_is_the_kernels() {
    let (mut trace, pid, terminal) = on_a_terminal();
    // SAFETY: a descriptor of ours.
    ok(unsafe { libc::close(terminal) });
    wait(pid);
    by_nobody(&sent_to(&mut trace, pid, 1)[0], libc::SIGHUP);
}
