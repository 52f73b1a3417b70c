//! The five tracepoints from which a trace learns who sent a signal, and what they mean. It reads
//! the bytes of an event; what was before it, the census knows.
//!
//! | tracepoint | says |
//! |---|---|
//! | signal/signal_generate | a signal was sent: number, code, to which thread, by which |
//! | task/task_newtask | a process or thread began: unlike sched_process_fork it says which |
//! | task/task_rename | a thread has another name: by its own wish, or about to execute |
//! | sched/sched_process_exec | a process became another program: its path, as it was called |
//! | sched/sched_process_exit | a thread ends |
//!
//! A path that is nearly as long as a page of the buffer, 4 KiB, the kernel does not record, and
//! does not say so. That would be a way to pass for the program one was before; so a new name that
//! no path follows is a reason to doubt.
//!
//! Source: the kernel's include/trace/events/{signal,task,sched}.h and kernel/signal.c; what each
//! way to send a signal looks like was measured on 6.18, and is measured again by tests/trace.rs.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::Via;
use super::ring::{Event, Field, Format};

/// The tracepoint of signals.
pub const SIGNAL: &str = "signal/signal_generate";
/// The tracepoint of new threads and processes.
pub const TASK: &str = "task/task_newtask";
/// The tracepoint of new names.
pub const RENAME: &str = "task/task_rename";
/// The tracepoint of new programs.
pub const EXEC: &str = "sched/sched_process_exec";
/// The tracepoint of ends.
pub const EXIT: &str = "sched/sched_process_exit";

/// Something that happened, as the kernel recorded it where it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A signal was sent.
    Signal(Generated),
    /// A thread or process began.
    Task {
        /// The thread that made it.
        by: i32,
        /// Its number.
        tid: i32,
        /// Its name.
        name: String,
        /// What it is to its maker.
        kind: Kind,
    },
    /// A thread has another name.
    Rename {
        /// Which.
        tid: i32,
        /// At most 15 bytes.
        name: String,
    },
    /// A process became another program.
    Exec {
        /// Which.
        pid: i32,
        /// The thread of it that called execve and has the process's number now.
        by: i32,
        /// What it called execve with: of a script the script, of a link the link.
        path: PathBuf,
    },
    /// A thread ends; the last of a process ends this.
    Exit {
        /// Which.
        tid: i32,
    },
}

/// What a new task is to the one that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A process, its child.
    Child,
    /// A process, the child of its parent (`CLONE_PARENT`).
    Sibling,
    /// Another thread of its process.
    Thread,
}

/// A signal, where it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Its number.
    pub signal: i32,
    /// `si_code`.
    pub code: i32,
    /// The thread whose number was given, or one for which the kernel decided.
    pub target: i32,
    /// Whether it is for the whole process.
    pub group: bool,
    /// The thread that was running: the sender, if there is one.
    pub by: i32,
    /// Whether that one was only interrupted.
    pub interrupt: bool,
}

/// What must be known of who was running, to say whether it sent a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runner {
    /// It is the target's own process.
    pub same_process: bool,
    /// It is the kernel's own thread.
    pub kernel: bool,
    /// It is on its way out, and can call nothing any more.
    pub ending: bool,
}

impl Generated {
    /// How it was sent, and whether who was running has sent it.
    ///
    /// The number of who was running is in every event, but where a timer, a key or a fault sends
    /// a signal, that is just whoever was interrupted, and must not be blamed.
    pub fn via(&self, runner: Runner) -> (Via, bool) {
        /// By sigqueue(3), and whatever a caller of rt_sigqueueinfo(2) may choose below 0.
        const TIMER: i32 = -2;
        /// tkill(2), tgkill(2).
        const THREAD: i32 = -6;
        const KERNEL: (Via, bool) = (Via::Kernel, false);
        if self.interrupt || runner.kernel || self.code > 0 {
            return KERNEL;
        }
        match (self.code, self.group) {
            // An ending process can call nothing: the kernel signals who asked for that.
            (0, true) if runner.ending => (Via::ParentDeath, true),
            (0, true) => (Via::Process, true),
            // kill(2) always means the process: this is a write into cgroup.kill.
            (0, false) if self.signal == libc::SIGKILL => (Via::Cgroup, true),
            // The answer to what it did itself: SIGPIPE, SIGXFSZ.
            (0, false) if self.by == self.target => KERNEL,
            (0, false) => (Via::Unknown, true),
            (THREAD, _) => (Via::Thread, true),
            // Timers of CPU time run out in the process itself. Elsewhere, and not in an
            // interrupt, somebody has written that number.
            (TIMER, _) if runner.same_process => KERNEL,
            _ => (Via::Queue, true),
        }
    }
}

/// A tracepoint that is not what is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit(pub &'static str);

/// What the events look like on this kernel.
#[derive(Clone, Debug)]
pub struct Formats {
    kind: Field,
    running: Field,
    flags: Field,
    signal: Signal,
    task: Task,
    rename: Rename,
    exec: Exec,
    exit: Exit,
}

#[derive(Clone, Debug)]
struct Signal {
    id: u16,
    number: Field,
    code: Field,
    target: Field,
    group: Field,
}

#[derive(Clone, Debug)]
struct Task {
    id: u16,
    tid: Field,
    name: Field,
    flags: Field,
}

#[derive(Clone, Debug)]
struct Rename {
    id: u16,
    tid: Field,
    name: Field,
}

#[derive(Clone, Debug)]
struct Exec {
    id: u16,
    pid: Field,
    by: Field,
    path: Field,
}

#[derive(Clone, Debug)]
struct Exit {
    id: u16,
    tid: Field,
}

impl Formats {
    /// Reads the format files, which `text` gives by the names of the tracepoints.
    ///
    /// # Errors
    /// Those of `text`, and with the tracepoint in which something needed is missing.
    pub fn parse<E: From<Unfit>>(
        mut text: impl FnMut(&'static str) -> Result<String, E>,
    ) -> Result<Formats, E> {
        let mut read = |name| Format::parse(&text(name)?).ok_or(E::from(Unfit(name)));
        let (signal, task, rename) = (read(SIGNAL)?, read(TASK)?, read(RENAME)?);
        let (exec, exit) = (read(EXEC)?, read(EXIT)?);
        let of =
            |format: &Format, name, field| format.field(field).cloned().ok_or(E::from(Unfit(name)));
        let of_signal = |field| of(&signal, SIGNAL, field);
        let of_task = |field| of(&task, TASK, field);
        let of_exec = |field| of(&exec, EXEC, field);
        Ok(Formats {
            // These three are the same in every format.
            kind: of_signal("common_type")?,
            running: of_signal("common_pid")?,
            flags: of_signal("common_flags")?,
            signal: Signal {
                id: signal.id,
                number: of_signal("sig")?,
                code: of_signal("code")?,
                target: of_signal("pid")?,
                group: of_signal("group")?,
            },
            task: Task {
                id: task.id,
                tid: of_task("pid")?,
                name: of_task("comm")?,
                flags: of_task("clone_flags")?,
            },
            rename: Rename {
                id: rename.id,
                tid: of(&rename, RENAME, "pid")?,
                name: of(&rename, RENAME, "newcomm")?,
            },
            exec: Exec {
                id: exec.id,
                pid: of_exec("pid")?,
                by: of_exec("old_pid")?,
                path: of_exec("filename")?,
            },
            exit: Exit { id: exit.id, tid: of(&exit, EXIT, "pid")? },
        })
    }

    /// What an event says; `None` if it is none of ours or lacks something.
    pub fn decode(&self, event: &Event<'_>) -> Option<Record> {
        /// In an interrupt, a soft one, or one that cannot be masked.
        const INTERRUPT: i64 = 0x08 | 0x10 | 0x40;
        const CLONE_PARENT: i64 = 0x8000;
        const CLONE_THREAD: i64 = 0x1_0000;

        let number = |field: &Field| field.number(event.bytes);
        let small = |field: &Field| i32::try_from(number(field)?).ok();
        let kind = u16::try_from(number(&self.kind)?).ok()?;
        if kind == self.signal.id {
            let form = &self.signal;
            Some(Record::Signal(Generated {
                signal: small(&form.number)?,
                code: small(&form.code)?,
                target: small(&form.target)?,
                group: number(&form.group)? != 0,
                by: small(&self.running)?,
                interrupt: number(&self.flags)? & INTERRUPT != 0,
            }))
        } else if kind == self.task.id {
            let (form, flags) = (&self.task, number(&self.task.flags)?);
            let kind = match flags {
                _ if flags & CLONE_THREAD != 0 => Kind::Thread,
                _ if flags & CLONE_PARENT != 0 => Kind::Sibling,
                _ => Kind::Child,
            };
            let name = String::from_utf8_lossy(form.name.text(event.bytes)?).into_owned();
            Some(Record::Task { by: small(&self.running)?, tid: small(&form.tid)?, name, kind })
        } else if kind == self.rename.id {
            let name = String::from_utf8_lossy(self.rename.name.text(event.bytes)?).into_owned();
            Some(Record::Rename { tid: small(&self.rename.tid)?, name })
        } else if kind == self.exec.id {
            let form = &self.exec;
            let path = OsStr::from_bytes(form.path.text(event.bytes)?).into();
            Some(Record::Exec { pid: small(&form.pid)?, by: small(&form.by)?, path })
        } else if kind == self.exit.id {
            Some(Record::Exit { tid: small(&self.exit.tid)? })
        } else {
            None
        }
    }
}

/// What the kernel is to record of signals: those that can end a process. The others are left out
/// where they are sent, because of some there are many: Go's runtime sends itself SIGURG all day.
pub fn filter() -> String {
    const HARMLESS: [i32; 8] = [
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGURG,
        libc::SIGWINCH,
        libc::SIGSTOP,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
    ];
    HARMLESS.map(|signal| format!("sig != {signal}")).join(" && ")
}

// The numbers in it are Linux's.
#[cfg(all(test, target_os = "linux"))]
#[path = "tracepoint_tests.rs"]
mod tests;
