//! The one error of this crate, and of others that do such things: what was tried, on what, and
//! what the system said.
//! It is for people to read; nothing in it is meant to be matched on.

use std::fmt;
use std::io;

/// What was tried, on what, and the system's answer if it gave one.
pub struct Error {
    tried: String,
    source: Option<io::Error>,
}

impl Error {
    /// The system refused: `tried` names the call and its object.
    pub fn system(tried: impl Into<String>, source: impl Into<io::Error>) -> Error {
        Error { tried: tried.into(), source: Some(source.into()) }
    }

    /// The same, with the error number the last system call left.
    pub fn last(tried: impl Into<String>) -> Error {
        Error::system(tried, io::Error::last_os_error())
    }

    /// Our own objection, without a system call behind it.
    pub fn says(tried: impl Into<String>) -> Error {
        Error { tried: tried.into(), source: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.tried),
            None => f.write_str(&self.tried),
        }
    }
}

/// As [`fmt::Display`]: it is what a `main` that returns it shows.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
