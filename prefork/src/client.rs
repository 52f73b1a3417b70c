//! prefork-interp(1), all of it: finds the server for a script or starts one, has it make the call,
//! and ends as the script did.
//!
//! It is what prefork-spawn is; the short way of a call, by a server that runs already and greets
//! at once, is also in the program prefork-interp, which leaves everything else to this.
//!
//! ```text
//!  connect ── a server greets ──────────────────────────────────────────────▶ request, status
//!     │ there is none, or it is hung
//!  clean up the directory; take the lock
//!     │
//!  connect again ── somebody else has been quicker ─────────────────────────▶ request, status
//!     │
//!  listen; start the watcher; start the script with the listening socket and
//!  one end of a pair; wait until it exits 0 and the other end has greeted ──▶ request, status
//! ```
//!
//! One thread, and no time without a limit but for the script's own and for a server that is busy:
//! see [`alarm`] for how, and [`Patience`] for how long.

mod alarm;
mod call;
mod connect;
mod lock;
mod preclean;
mod setup;
mod system;
mod watcher;

#[cfg_attr(target_os = "linux", path = "client/holder_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "client/holder_bsd.rs")]
mod holder;

use std::ffi::{CStr, OsString};
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Uid;

use crate::Error;
use crate::args::{self, Command, Wanted};
use crate::ident::{self, Place, Surroundings};
use crate::protocol::Status;
use crate::rundir::RunDirectory;
use connect::Answer;

/// What the program itself exits with, when it is not the script's end that it tells.
const UNUSUAL: u8 = 127;

const USAGE: &str = "\
usage: prefork-interp -U [-f | --kill] [-E VARIABLE] [-G WORD] [-g IDENT] INTERP [SCRIPT [ARGUMENT ...]]
       #!/path/to/prefork-interp -U,INTERP
";

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For a script to be ready for calls, before it is ended.
    setup: Duration,
    /// For another caller to have started the server, before we give up.
    lock: Duration,
    /// For a greeting, before the server is looked at; and again after that.
    greeting: Duration,
    /// For a server that is neither stopped nor busy to greet, before it is replaced.
    idle: Duration,
    /// For a server to read what we send.
    send: Duration,
}

/// The variable of the environment that says how many seconds a script may take to be ready.
pub const TIMEOUT: &str = "PREFORK_INTERP_TIMEOUT";

impl Patience {
    fn new(setup: Option<u64>) -> Patience {
        let setup = Duration::from_secs(setup.unwrap_or(120).clamp(1, 86_400));
        Patience {
            setup,
            lock: setup + Duration::from_secs(10),
            greeting: Duration::from_secs(2),
            idle: Duration::from_secs(30),
            send: Duration::from_secs(30),
        }
    }
}

/// What is asked for, and what is known before anything is tried.
struct Job<'a> {
    command: Command<'a>,
    /// INTERP, SCRIPT and what comes after them.
    words: Vec<OsString>,
    directory: RunDirectory,
    socket: PathBuf,
    lock: PathBuf,
    patience: Patience,
}

/// The whole program; `words` is its command line.
pub fn main(words: &[OsString]) -> u8 {
    let parsed = args::parse(&|at| words.get(at).map(|word| word.as_bytes()));
    let end = match parsed {
        Ok(command) if command.wanted == Wanted::Help => {
            return u8::from(std::io::stdout().write_all(USAGE.as_bytes()).is_err()) * UNUSUAL;
        }
        Ok(command) => run(command, words),
        Err(fault) => {
            say(&fault.to_string());
            eprint!("{USAGE}");
            return UNUSUAL;
        }
    };
    match end {
        Ok(End::Done) => 0,
        Ok(End::Called(status)) => call::end(status, "the script"),
        Ok(End::Setup(status)) => call::end(status, "the script, before it was ready for calls,"),
        Err(error) => {
            say(&error.to_string());
            UNUSUAL
        }
    }
}

fn say(what: &str) {
    eprintln!("prefork-interp: {what}");
}

/// How it all came out.
enum End {
    /// `--kill` is done.
    Done,
    /// The script has made the call.
    Called(Status),
    /// The script has ended before it was ready for calls.
    Setup(Status),
}

fn run(command: Command<'_>, words: &[OsString]) -> Result<End, Error> {
    system::open_standard()?;
    let job = Job::new(command, words)?;
    let greeted = match job.command.wanted {
        Wanted::Call => connect::connect(&job.socket, &job.patience)?,
        _ => Answer::None,
    };
    let server = match greeted {
        Answer::Greeted(server) => server,
        other => match job.start(other)? {
            Ok(server) => server,
            Err(end) => return Ok(end),
        },
    };
    call::call(&server, &job.words, job.patience.send).map(End::Called)
}

impl<'a> Job<'a> {
    fn new(command: Command<'a>, words: &[OsString]) -> Result<Job<'a>, Error> {
        let mut list = vec![OsString::from_vec(command.interp.to_vec())];
        list.extend_from_slice(words.get(command.rest..).unwrap_or_default());
        let system = system::name()?;
        let host = CStr::from_bytes_until_nul(&system.host)
            .map_err(|_| Error::says("the host's name has no end"))?;
        let directory = RunDirectory::find(Uid::current(), host, &mut |what| say(what))?;
        let ident = match command.ident {
            Some(ident) => {
                directory.check(ident)?;
                ident.to_vec()
            }
            None => {
                let (here, root) = (place(".")?, place("/")?);
                let around = Surroundings { system: &system.whole, here, root };
                let whole = ident::ident(&around, &command, &variable);
                directory.identity(&whole)?.to_vec()
            }
        };
        let seconds = std::env::var(TIMEOUT).ok().and_then(|text| text.parse().ok());
        Ok(Job {
            command,
            words: list,
            socket: directory.socket(&ident),
            lock: directory.lock(&ident),
            directory,
            patience: Patience::new(seconds),
        })
    }

    /// Starts a server, unless somebody else has when we have the lock.
    fn start(&self, before: Answer) -> Result<Result<OwnedFd, End>, Error> {
        preclean::preclean(&self.directory);
        let lock = lock::acquire(&self.lock, self.patience.lock)?;
        if self.command.wanted == Wanted::Kill {
            remove(&self.socket)?;
            remove(&self.lock)?;
            return Ok(Err(End::Done));
        }
        // A server that is hung is not asked again, unless it is another one by now.
        let hung = match before {
            Answer::Hung(socket) => connect::inode(&self.socket)? == Some(socket),
            _ => false,
        };
        if self.command.wanted == Wanted::Call
            && !hung
            && let Answer::Greeted(server) = connect::connect(&self.socket, &self.patience)?
        {
            return Ok(Ok(server));
        }
        let started = setup::start(&self.socket, &self.words, &self.patience);
        if !matches!(started, Ok(Ok(_))) {
            // Nobody answers there.
            remove(&self.socket)?;
        }
        drop(lock);
        Ok(started?.map_err(End::Setup))
    }
}

/// Removes a name, if it is there.
fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(Error::system(format!("remove {}", path.display()), e))
        }
        _ => Ok(()),
    }
}

fn place(path: &str) -> Result<Place, Error> {
    let found = nix::sys::stat::stat(path)
        .map_err(|e| Error::system(format!("look at the directory {path}"), e))?;
    Ok(Place { device: found.st_dev, inode: found.st_ino })
}

/// As getenv(3) finds it, as long as the environment is not changed.
fn variable<'v>(name: &[u8]) -> Option<&'v [u8]> {
    let name = std::ffi::CString::new(name).ok()?;
    // SAFETY: a C string; we have one thread, which never changes the environment, so that what is
    // found stays.
    unsafe {
        let value = libc::getenv(name.as_ptr());
        (!value.is_null()).then(|| CStr::from_ptr(value).to_bytes())
    }
}

/// The `main` of a program that is this client, as C calls it: Rust's own would first have SIGPIPE
/// ignored, which the script would inherit.
#[macro_export]
macro_rules! client_main {
    () => {
        /// Called by the C library.
        #[unsafe(no_mangle)]
        extern "C" fn main(
            words: ::core::ffi::c_int,
            list: *const *const ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            // SAFETY: they are what the C library gives `main`.
            let words = unsafe { $crate::client::words(words, list) };
            $crate::client::main(&words).into()
        }
    };
}

/// The words of a command line as C has them.
///
/// # Safety
/// `list` points to as many C strings as `count` says.
pub unsafe fn words(
    count: core::ffi::c_int,
    list: *const *const core::ffi::c_char,
) -> Vec<OsString> {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: the caller's promise.
    let word = |at| unsafe { CStr::from_ptr(*list.add(at)) };
    (0..count).map(|at| OsString::from_vec(word(at).to_bytes().to_vec())).collect()
}
