//! How many hooks a second the runner gets done. For bench/prefork; also how a daemon uses
//! `prefork::hooks`, in its shortest form. Needs root, because the runner becomes another account.
//!
//! ```sh
//! hook-load 200 /path/to/hook
//! ```
//!
//! The hook has to write one byte, no more, to the FIFO that the variable `HOOK_LOAD` names: so it
//! is known when the last one has run. One line is printed: hooks a second. One hook that is run
//! before the others is not counted; it may have had a server to start.

use std::error::Error;
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use prefork::hooks::{Event, FromParent, Teller, role};
use supervise::Attendant;

const TITLE: &str = "hook-load: runner";

/// Nobody's: whose servers there are is nobody's business either.
const ACCOUNT: &str = "65533:65532";

/// How long nothing may happen, and how long the runner has to end.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if supervise::role().as_deref() == Some(TITLE) {
        prefork::hooks::run(ACCOUNT, "hooks")?;
        return Ok(ExitCode::SUCCESS);
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [count, hook] = words.as_slice() else {
        return Err("usage: hook-load COUNT HOOK".into());
    };
    let count: usize = count.parse()?;

    // Not in /tmp itself: whoever may write there could be refused a FIFO of somebody else's.
    let folder = std::env::temp_dir().join(format!("hook-load-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let taken = load(&folder, hook.into(), count);
    fs::remove_dir_all(&folder)?;
    println!("{:.1}", count as f64 / taken?.as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

/// The time from the first event until the last hook has run.
fn load(folder: &Path, hook: PathBuf, count: usize) -> Result<Duration, Box<dyn Error>> {
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    let path = folder.join("done");
    nix::unistd::mkfifo(&path, Mode::S_IRWXU)?;
    fs::set_permissions(&path, Permissions::from_mode(0o622))?;
    // For reading and writing: so it has no end when no hook has it open.
    let fifo = File::options().read(true).write(true).open(&path)?;
    let mut load = Load {
        runner: Attendant::start(role(TITLE, vec![hook]))?,
        teller: Teller::default(),
        fifo,
        path,
        told: 0,
        ran: 0,
    };
    let result = load.run(1).and_then(|_| load.run(count));
    let (channel, child) = load.runner.into_parts();
    supervise::stop(channel, child.into_iter().collect(), PATIENCE);
    result
}

struct Load {
    runner: Attendant<FromParent>,
    teller: Teller,
    fifo: File,
    path: PathBuf,
    told: usize,
    ran: usize,
}

impl Load {
    /// Tells of so many events at once, and waits until their hooks have run.
    fn run(&mut self, count: usize) -> Result<Duration, Box<dyn Error>> {
        let began = Instant::now();
        let wanted = self.ran + count;
        for _ in 0..count {
            self.told += 1;
            // Each about something else: none has to wait for another.
            self.teller.tell(Event {
                key: self.told.to_string().into_bytes(),
                arguments: vec![b"commit".to_vec()],
                environment: vec![(b"HOOK_LOAD".into(), self.path.as_os_str().as_bytes().into())],
                ..Event::default()
            });
        }
        while self.ran < wanted {
            self.turn()?;
        }
        Ok(began.elapsed())
    }

    fn turn(&mut self) -> Result<(), Box<dyn Error>> {
        if let Some((channel, again)) = self.runner.see_to(Instant::now())? {
            if again {
                return Err("the runner died".into());
            }
            self.teller.connect(channel)?;
        }
        self.teller.flush();
        let mut fds = self.runner.poll_fds();
        fds.push(PollFd::new(self.fifo.as_fd(), PollFlags::POLLIN));
        if let Some(channel) = self.teller.blocked() {
            fds.push(PollFd::new(channel, PollFlags::POLLOUT));
        }
        if poll(&mut fds, PollTimeout::try_from(PATIENCE)?)? == 0 {
            return Err(
                format!("{} of {} hooks have run, and no more do", self.ran, self.told).into()
            );
        }
        drop(fds);
        let mut fds = [PollFd::new(self.fifo.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::ZERO)? > 0 {
            self.ran += self.fifo.read(&mut [0; 4096])?;
        }
        Ok(())
    }
}
