//! dhcpd.conf(5): from text to a [`Config`].
//!
//! Bytes become tokens (`lexer`), tokens a tree (`parser`), the tree a configuration
//! (`interpreter`, with the table of `statements`). The first two have ISC's shape and are one
//! for both dialects; what a statement means is OpenBSD's dhcpd(8) here. What only ISC's dialect
//! has is parsed over and named in a warning: the server starts, and says what it does without.

mod arguments;
mod check;
mod definition;
mod diagnostic;
mod differences;
mod interpreter;
mod lexer;
mod option_data;
mod options;
mod outline;
mod parameters;
mod parser;
mod source;
mod sources;
mod statements;
mod suggest;
mod tree;

pub use diagnostic::{Diagnostic, Severity};
pub use options::{Type as OptionType, named_code};
pub use source::MAX_FILE;
pub use sources::{DecodeError, RecordedSources, Sources, SystemSources};

use crate::config::Config;

/// Reads a configuration and everything it names.
///
/// # Errors
/// Everything that is wrong with it, in order of file, line and column, warnings among it.
/// Warnings alone are returned beside the configuration, in the same order.
pub fn load(
    path: &str,
    sources: &mut dyn Sources,
) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    interpreter::Interpreter::new(sources).run(path)
}

/// Each setting whose outcome differs from what OpenBSD's dhcpd(8) makes of it, as notes, in order
/// of file, line and column. Of a configuration that is refused: what OpenBSD's dhcpd takes of it.
pub fn differences(path: &str, sources: &mut dyn Sources) -> Vec<Diagnostic> {
    interpreter::Interpreter::new(sources).differences(path)
}

#[cfg(test)]
mod tests;
