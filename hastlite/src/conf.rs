//! hast.conf: from text to a [`Config`] for one node, or to everything that is wrong with it.
//!
//! ```text
//!  bytes ─ lexer ─▶ tokens ─ parser ─▶ tree ─ interpreter ─▶ Config
//!                     └── problems, each with file, line and column ──▶ refused
//! ```
//!
//! Nothing here resolves names, looks at devices or asks what this node is called: that comes in
//! with the text. The grammar is FreeBSD's (`sbin/hastd/parse.y`, hast.conf(5)).

pub mod address;
pub mod diagnostic;

mod interpreter;
mod keyword;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

pub use diagnostic::{Diagnostic, Place, Severity};

use crate::config::{Config, Node};
use diagnostic::{Diagnostics, SourceFile};
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

/// Where the file is, unless `-c` says otherwise.
pub const PATH: &str = "/etc/hast.conf";

/// The largest file that is read, in bytes.
pub const MAX_FILE: usize = 1 << 20;

/// Understands a file as the node `node` has to. `file` is what places in it are named by.
///
/// What comes with the configuration are warnings.
///
/// # Errors
/// Everything that is wrong and everything to be warned of, in the order of the file.
pub fn parse(
    file: &str,
    text: &[u8],
    node: &Node,
) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let Some(source) = SourceFile::new(file.into(), text) else {
        let text = format!("{} bytes; at most {MAX_FILE} are read", text.len());
        return Err(vec![Diagnostic::of_file(Severity::Error, file.into(), text)]);
    };
    let mut said = Diagnostics::new(&source);
    let tree = parser::parse(&source, &mut said);
    let config = interpreter::interpret(&tree, node, &mut said);
    if said.errors() > 0 { Err(said.into_sorted()) } else { Ok((config, said.into_sorted())) }
}

/// Reads and understands a file.
///
/// # Errors
/// It cannot be read, or is wrong.
pub fn load(path: &Path, node: &Node) -> Result<(Config, Vec<Diagnostic>), LoadError> {
    let text =
        fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    parse(&path.display().to_string(), &text, node).map_err(LoadError::Wrong)
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read.
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is something wrong in it.
    Wrong(Vec<Diagnostic>),
}

impl LoadError {
    /// What sysexits(3) calls it: `EX_OSFILE` or `EX_CONFIG`.
    pub fn exit_code(&self) -> u8 {
        match self {
            LoadError::Read { .. } => 72,
            LoadError::Wrong(_) => 78,
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Read { path, source } => write!(f, "read {}: {source}", path.display()),
            LoadError::Wrong(all) => {
                for (at, one) in all.iter().enumerate() {
                    let end = if at > 0 { "\n" } else { "" };
                    write!(f, "{end}{one}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for LoadError {}
