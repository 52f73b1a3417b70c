//! The administrator's programs (`exec` in hast.conf): started, not waited for, and told of if they
//! fail or do not come to an end.

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a hook may run before that is told, and then how often.
const LONG: Duration = Duration::from_secs(60);

/// How often to look whether hooks have ended.
const LOOK: Duration = Duration::from_millis(200);

/// The most that run at a time.
const MOST: usize = 32;

struct Hook {
    what: String,
    child: Child,
    told: Instant,
    since: Instant,
}

/// All that run.
#[derive(Default)]
pub struct Hooks(Vec<Hook>);

impl Hooks {
    /// Starts one.
    pub fn run(&mut self, exec: Option<&PathBuf>, arguments: &[&str]) {
        let Some(exec) = exec else { return };
        let what = format!("{} {}", exec.display(), arguments.join(" "));
        if self.0.len() >= MOST {
            log::error!("{what}: not started, {MOST} hooks are running");
            return;
        }
        match start(exec, arguments) {
            Ok(child) => {
                let now = Instant::now();
                self.0.push(Hook { what, child, told: now, since: now });
            }
            Err(error) => log::error!("{what}: {error}"),
        }
    }

    /// When [`Hooks::look`] is due.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        (!self.0.is_empty()).then(|| now + LOOK)
    }

    /// Tells of those that have ended badly, or do not end.
    pub fn look(&mut self, now: Instant) {
        self.0.retain_mut(|hook| match hook.child.try_wait() {
            Ok(Some(status)) => {
                if !status.success() {
                    log::error!("{}: {status}", hook.what);
                }
                false
            }
            Ok(None) => {
                if now.duration_since(hook.told) >= LONG {
                    let seconds = now.duration_since(hook.since).as_secs();
                    log::warn!("{}: has been running for {seconds} seconds", hook.what);
                    hook.told = now;
                }
                true
            }
            Err(error) => {
                log::error!("{}: wait: {error}", hook.what);
                false
            }
        });
    }
}

fn start(exec: &Path, arguments: &[&str]) -> std::io::Result<Child> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| {
        OsString::from("/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    });
    // Our own descriptors are all closed by execve.
    let mut command = Command::new(exec);
    let none = SigSet::empty();
    // SAFETY: what runs between fork and execve is one system call, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            // Or the hook, and all that it starts, could not be ended by SIGTERM: we read our own
            // signals from a descriptor, and have them blocked.
            Ok(pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&none), None)?)
        });
    }
    command
        .args(arguments)
        .env_clear()
        .env("PATH", path)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
