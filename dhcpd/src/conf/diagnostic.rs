//! What is to be said about a configuration, and how it looks. Decides nothing.

use super::source::SourceFile;
use crate::config::Place;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// How much of a source line is shown, in bytes.
const WINDOW: usize = 120;

/// Diagnostics of one severity that are kept; a hostile file cannot have more than these.
const MAX_KEPT: usize = 10_000;

/// What a diagnostic means for the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It is refused.
    Error,
    /// It is taken, and somebody should look at this.
    Warning,
    /// It is taken as it is meant; good to know.
    Note,
}

/// One thing to be said about a place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What follows from it.
    pub severity: Severity,
    /// Where. Line 0 stands for the file as a whole.
    pub at: Place,
    /// What.
    pub text: String,
    /// The source line up to the place, and from it on.
    source: Option<(String, String)>,
}

impl Diagnostic {
    /// About one place in a file.
    pub fn new(severity: Severity, file: &SourceFile, offset: u32, text: String) -> Diagnostic {
        let at = file.place(offset);
        let line = file.line(at.line);
        let column = (at.column as usize - 1).min(line.len());
        // Of a long line, the part around the place.
        let start = if line.len() <= WINDOW { 0 } else { column.saturating_sub(WINDOW / 2) };
        let before = line.get(start..column).unwrap_or_default();
        let after = line.get(column..).unwrap_or_default();
        let after = after.get(..WINDOW - before.len().min(WINDOW)).unwrap_or(after);
        Diagnostic { severity, at, text, source: Some((printable(before), printable(after))) }
    }

    /// About a file as a whole.
    pub fn of_file(severity: Severity, file: Arc<str>, text: String) -> Diagnostic {
        Diagnostic { severity, at: Place { file, line: 0, column: 0 }, text, source: None }
    }

    /// As it is shown: `FILE:LINE:COLUMN: text`, the source line, and a caret below the place.
    /// Lines are separated, not ended, by newlines.
    pub fn render(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { file, line, column } = &self.at;
        write!(f, "{file}:")?;
        if *line > 0 {
            write!(f, "{line}:{column}:")?;
        }
        let severity = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
            Severity::Note => "note: ",
        };
        write!(f, " {severity}{}", self.text)?;
        if let Some((before, after)) = &self.source {
            // A tab stays a tab on both lines, so that the caret is below its column.
            let blank: String =
                before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            write!(f, "\n{before}{after}\n{blank}^")?;
        }
        Ok(())
    }
}

/// A source line goes to terminals and logs: no control characters, whatever the bytes were.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect()
}

/// Something to be said about a file that the sayer has at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What follows from it.
    pub severity: Severity,
    /// Offset in the file.
    pub offset: u32,
    /// What.
    pub text: String,
    /// What OpenBSD's dhcpd does with it, where that is something else.
    pub there: Option<&'static str>,
}

impl Problem {
    /// The configuration is refused.
    pub fn error(offset: u32, text: impl Into<String>) -> Problem {
        Problem { severity: Severity::Error, offset, text: text.into(), there: None }
    }

    /// The configuration is taken.
    pub fn warning(offset: u32, text: impl Into<String>) -> Problem {
        Problem { severity: Severity::Warning, offset, text: text.into(), there: None }
    }

    /// There is nothing to say of it but what OpenBSD's dhcpd does with it.
    pub fn only_there(offset: u32, does: &'static str) -> Problem {
        Problem { severity: Severity::Note, offset, text: String::new(), there: Some(does) }
    }

    /// Whether it is only about OpenBSD's dhcpd.
    pub fn is_only_there(&self) -> bool {
        self.severity == Severity::Note && self.text.is_empty()
    }

    /// OpenBSD's dhcpd does this with it, and refuses nothing.
    pub fn there(mut self, does: &'static str) -> Problem {
        self.there = Some(does);
        self
    }
}

/// Everything said so far.
#[derive(Debug, Default)]
pub struct Diagnostics {
    kept: Vec<Diagnostic>,
    errors: usize,
    others: usize,
}

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let full = self.is_full(diagnostic.severity);
        self.count(diagnostic.severity);
        if !full {
            self.kept.push(diagnostic);
        }
    }

    /// Counts one that is not made because it would not be kept.
    pub fn count(&mut self, severity: Severity) {
        match severity {
            Severity::Error => self.errors += 1,
            Severity::Warning | Severity::Note => self.others += 1,
        }
    }

    /// Whether no more of these are kept.
    pub fn is_full(&self, severity: Severity) -> bool {
        match severity {
            Severity::Error => self.errors >= MAX_KEPT,
            Severity::Warning | Severity::Note => self.others >= MAX_KEPT,
        }
    }

    /// How many errors there are, kept or not: any, and the configuration is refused.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// All of them in order of file (as listed), line and column.
    pub fn into_sorted(mut self, files: &[Arc<str>]) -> Vec<Diagnostic> {
        let order: HashMap<&str, usize> =
            files.iter().enumerate().rev().map(|(at, name)| (&**name, at)).collect();
        self.kept.sort_by_key(|d| {
            (order.get(&*d.at.file).copied().unwrap_or(usize::MAX), d.at.line, d.at.column)
        });
        let dropped = self.errors.saturating_sub(MAX_KEPT) + self.others.saturating_sub(MAX_KEPT);
        if dropped > 0
            && let Some(main) = files.first()
        {
            let text = format!("{dropped} more of the like are not shown");
            self.kept.push(Diagnostic::of_file(Severity::Note, main.clone(), text));
        }
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &[u8], offset: u32) -> String {
        let file = SourceFile::new("etc/x".into(), text.into()).unwrap();
        Diagnostic::new(Severity::Error, &file, offset, "what".to_owned()).render()
    }

    #[test]
    fn place_text_source_line_and_caret() {
        assert_eq!(render(b"one\ntwo three\n", 8), "etc/x:2:5: what\ntwo three\n    ^");
        assert_eq!(render(b"one", 3), "etc/x:1:4: what\none\n   ^");
        assert_eq!(render(b"", 0), "etc/x:1:1: what\n\n^");
    }

    #[test]
    fn the_caret_stays_below_its_column_after_tabs_and_wide_text() {
        assert_eq!(render(b"\tx y", 3), "etc/x:1:4: what\n\tx y\n\t  ^");
        assert_eq!(
            render("# \u{e4}\u{f6} x".as_bytes(), 7),
            "etc/x:1:8: what\n# \u{e4}\u{f6} x\n     ^"
        );
        assert_eq!(render(b"\x1b[2J\xff x", 6), "etc/x:1:7: what\n?[2J\u{fffd} x\n      ^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let mut line = vec![b'a'; 1000];
        line[500] = b'X';
        let text = render(&line, 500);
        let mut lines = text.lines().skip(1);
        let (source, caret) = (lines.next().unwrap(), lines.next().unwrap());
        assert_eq!(source.len(), WINDOW);
        assert_eq!(source.find('X'), caret.find('^'));
    }

    #[test]
    fn severity_and_whole_files() {
        let about = |severity| Diagnostic::of_file(severity, "f".into(), "t".into()).render();
        assert_eq!(about(Severity::Error), "f: t");
        assert_eq!(about(Severity::Warning), "f: warning: t");
        assert_eq!(about(Severity::Note), "f: note: t");
    }

    #[test]
    fn too_many_are_counted_not_kept() {
        let mut all = Diagnostics::default();
        for _ in 0..MAX_KEPT + 3 {
            all.push(Diagnostic::of_file(Severity::Error, "f".into(), String::new()));
        }
        let all = all.into_sorted(&["f".into()]);
        assert_eq!(all.len(), MAX_KEPT + 1);
        assert_eq!(all.last().unwrap().text, "3 more of the like are not shown");
    }
}
