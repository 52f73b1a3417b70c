//! The system call filter: what its tables are made of, the table every process has, and making
//! a program of them. A call that no table names kills the whole process with SIGSYS; so does one
//! made in another architecture's way.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_long};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::{Error, SYSLOG_FD};

/// A system call that stays allowed, and why.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    number: c_long,
    reason: &'static str,
    when: &'static [When],
}

impl Call {
    /// Allows the call with any arguments. `number` is one of `libc::SYS_*`.
    pub const fn new(number: c_long, reason: &'static str) -> Call {
        Call { number, reason, when: &[] }
    }

    /// Allows the call only where all of `when` hold. Several entries for one call are
    /// alternatives.
    pub const fn when(number: c_long, when: &'static [When], reason: &'static str) -> Call {
        Call { number, reason, when }
    }

    /// Why it is allowed.
    pub const fn reason(&self) -> &'static str {
        self.reason
    }
}

/// A condition on one argument of a call, counted from 0. Only the lower 32 bits are looked at,
/// which is all that the kernel itself looks at in a descriptor, a flag word or a command.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// The argument is this number.
    Is(u8, c_int),
    /// The argument is this number or a smaller one.
    AtMost(u8, c_int),
    /// None of these bits are set in the argument.
    Without(u8, c_int),
    /// The argument is our own process id.
    Self_(u8),
}

/// What every process of ours needs: memory, locks, time, log lines, its own end.
pub const COMMON: &[Call] = &[
    Call::new(libc::SYS_brk, "malloc: the heap grows"),
    Call::when(
        libc::SYS_mmap,
        &[When::Without(2, libc::PROT_EXEC)],
        "malloc and thread stacks: memory, never executable",
    ),
    Call::when(
        libc::SYS_mprotect,
        &[When::Without(2, libc::PROT_EXEC)],
        "malloc's arenas and guard pages: never executable",
    ),
    Call::new(libc::SYS_munmap, "malloc: memory is given back"),
    Call::new(libc::SYS_mremap, "realloc of something big"),
    Call::new(libc::SYS_madvise, "malloc: unused pages are given back"),
    Call::new(libc::SYS_futex, "locks"),
    Call::new(libc::SYS_getrandom, "the seeds of hash maps"),
    Call::new(libc::SYS_clock_gettime, "the time, where the vDSO cannot tell it"),
    Call::new(libc::SYS_restart_syscall, "poll goes on after the process was stopped"),
    Call::new(libc::SYS_close, "descriptors are closed"),
    Call::when(
        libc::SYS_fcntl,
        &[When::Is(1, libc::F_GETFD)],
        "debug builds look whether what they close is open",
    ),
    Call::when(libc::SYS_write, &[When::Is(0, 2)], "log lines to stderr"),
    Call::when(libc::SYS_sendmmsg, &[When::Is(0, SYSLOG_FD)], "log lines to syslog"),
    Call::new(libc::SYS_rt_sigreturn, "a signal handler returns"),
    Call::new(libc::SYS_rt_sigprocmask, "abort, and the start of a thread"),
    Call::new(libc::SYS_rt_sigaction, "abort: SIGABRT gets its default action"),
    Call::new(libc::SYS_sigaltstack, "the runtime takes its signal stack away at the end"),
    Call::new(libc::SYS_getpid, "abort asks who we are"),
    Call::new(libc::SYS_gettid, "abort asks who we are"),
    Call::when(libc::SYS_tgkill, &[When::Self_(0)], "abort: SIGABRT to ourselves"),
    Call::new(libc::SYS_exit, "a thread ends"),
    Call::new(libc::SYS_exit_group, "the process ends"),
    #[cfg(target_arch = "x86_64")]
    Call::new(libc::SYS_poll, "the loop waits; the log waits for syslogd"),
    Call::new(libc::SYS_ppoll, "the loop waits; the log waits for syslogd"),
];

/// For a process that starts threads after it was confined.
pub const THREADS: &[Call] = &[
    Call::new(libc::SYS_clone3, "a thread starts"),
    Call::when(
        libc::SYS_clone,
        &[When::Without(0, libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWNET)],
        "a thread starts, under a C library that does not use clone3",
    ),
    Call::new(libc::SYS_set_robust_list, "the C library, in a new thread"),
    Call::new(libc::SYS_rseq, "the C library, in a new thread"),
    Call::new(libc::SYS_sched_getaffinity, "the C library, asked for a thread's stack"),
    Call::when(libc::SYS_prctl, &[When::Is(0, libc::PR_SET_NAME)], "a thread gets its name"),
    Call::when(
        libc::SYS_openat,
        &[When::Is(0, libc::AT_FDCWD), When::Is(2, libc::O_RDONLY | libc::O_CLOEXEC)],
        "glibc's malloc, before a thread's heap shrinks, asks /proc how memory is committed; in an \
         empty root nothing is found",
    ),
];

/// The tables as a program for the kernel.
pub(super) fn program(tables: &[&[Call]]) -> Result<BpfProgram, Error> {
    let bad = |e: &dyn std::fmt::Display| Error::says(format!("make the filter: {e}"));
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut always = Vec::new();
    for call in tables.iter().copied().chain([COMMON]).flatten() {
        let alternatives = rules.entry(call.number).or_default();
        if call.when.is_empty() {
            always.push(call.number);
            continue;
        }
        let mut conditions = Vec::new();
        for when in call.when {
            conditions.push(condition(*when).map_err(|e| bad(&e))?);
        }
        alternatives.push(SeccompRule::new(conditions).map_err(|e| bad(&e))?);
    }
    for number in always {
        // No alternatives at all stands for any arguments.
        rules.insert(number, Vec::new());
    }
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| bad(&e))?;
    let otherwise = SeccompAction::KillProcess;
    let filter = SeccompFilter::new(rules, otherwise, SeccompAction::Allow, architecture);
    filter.and_then(BpfProgram::try_from).map_err(|e| bad(&e))
}

fn condition(when: When) -> Result<SeccompCondition, seccompiler::BackendError> {
    let number = |value: c_int| u64::from(value.cast_unsigned());
    let (argument, compare, value) = match when {
        When::Is(argument, value) => (argument, SeccompCmpOp::Eq, number(value)),
        When::AtMost(argument, value) => (argument, SeccompCmpOp::Le, number(value)),
        When::Without(argument, bits) => (argument, SeccompCmpOp::MaskedEq(number(bits)), 0),
        When::Self_(argument) => (argument, SeccompCmpOp::Eq, u64::from(std::process::id())),
    };
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, value)
}

/// Puts the filter on for every thread.
pub(super) fn put_on(tables: &[&[Call]]) -> Result<(), Error> {
    let program = program(tables)?;
    seccompiler::apply_filter_all_threads(&program)
        .map_err(|e| Error::says(format!("put the filter on: {e}")))
}
