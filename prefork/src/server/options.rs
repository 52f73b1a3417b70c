//! What a program may ask of its server. Nothing here does anything.

use std::path::PathBuf;
use std::time::Duration;

pub use nix::syslog::Facility;

/// How a server behaves. The defaults are those of the Perl module where it has the same option.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many calls may run at once; further callers wait in connect(2). `None`: any number.
    /// The default is 4, and 0 is taken for 1.
    pub max_servers: Option<usize>,
    /// A server that has had nothing to do for so long ends; the next call starts a new one.
    /// `None`: never. The default is 1,000,000 seconds.
    pub idle_timeout: Option<Duration>,
    /// Whether the server ends, before it takes the next call, when the program's executable has
    /// been changed or replaced. The default is yes.
    pub autoreload: bool,
    /// Files that are watched in the same way, whatever `autoreload` says: configuration that is
    /// read before [`serve`](crate::serve). One that is not there may appear.
    pub autoreload_extra: Vec<PathBuf>,
    /// The server ends after so many failures to take a call with no success between them. The
    /// default is 100.
    pub max_errors: u32,
    /// Where in syslog errors go; `None`: nowhere. The default is LOG_USER.
    pub log_facility: Option<Facility>,
    /// How long a caller may take to send its descriptors, environment and arguments. The default
    /// is 30 seconds.
    pub request_timeout: Duration,
    /// When a caller has gone away, its processes get SIGINT at once, SIGTERM after this time and
    /// SIGKILL after this time again. The default is 5 seconds.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            max_servers: Some(4),
            idle_timeout: Some(Duration::from_secs(1_000_000)),
            autoreload: true,
            autoreload_extra: Vec::new(),
            max_errors: 100,
            log_facility: Some(Facility::LOG_USER),
            request_timeout: Duration::from_secs(30),
            grace: Duration::from_secs(5),
        }
    }
}
