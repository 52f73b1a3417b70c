//! Places in a file, what is to be said about them, and how it looks. Decides nothing.

use std::fmt;
use std::sync::Arc;

/// How much of a source line is shown, in bytes.
const WINDOW: usize = 120;

/// What is kept; a hostile file cannot have more to be said about it than this.
const MAX_KEPT: usize = 1000;

/// A place in a file. Lines and columns count from 1; columns are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, by the name it was read by.
    pub file: Arc<str>,
    /// 0 stands for the file as a whole.
    pub line: u32,
    /// Of the first byte that is meant.
    pub column: u32,
}

/// What a diagnostic means for the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It is refused.
    Error,
    /// It is taken, and somebody should look at this.
    Warning,
}

/// One thing to be said about a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What follows from it.
    pub severity: Severity,
    /// Where.
    pub at: Place,
    /// What.
    pub text: String,
    /// The source line up to the place, and from it on.
    source: Option<(String, String)>,
}

impl Diagnostic {
    /// About a file as a whole.
    pub fn of_file(severity: Severity, file: Arc<str>, text: String) -> Diagnostic {
        Diagnostic { severity, at: Place { file, line: 0, column: 0 }, text, source: None }
    }

    fn new(severity: Severity, file: &SourceFile<'_>, offset: usize, text: String) -> Diagnostic {
        let at = file.place(offset);
        let line = file.line(at.line);
        let column = (at.column as usize).saturating_sub(1).min(line.len());
        // Of a long line, the part around the place.
        let start = if line.len() <= WINDOW { 0 } else { column.saturating_sub(WINDOW / 2) };
        let before = line.get(start..column).unwrap_or_default();
        let after = line.get(column..).unwrap_or_default();
        let after = after.get(..WINDOW.saturating_sub(before.len())).unwrap_or(after);
        Diagnostic { severity, at, text, source: Some((printable(before), printable(after))) }
    }
}

/// `FILE:LINE:COLUMN: text`, the source line, and a caret below the place. Lines are separated, not
/// ended, by newlines.
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

/// A file that is being read, with its lines found.
#[derive(Debug)]
pub struct SourceFile<'a> {
    name: Arc<str>,
    text: &'a [u8],
    /// Offset of each line's first byte.
    lines: Vec<usize>,
}

impl<'a> SourceFile<'a> {
    /// Takes a file's bytes. `None` above [`super::MAX_FILE`].
    pub fn new(name: Arc<str>, text: &'a [u8]) -> Option<Self> {
        if text.len() > super::MAX_FILE {
            return None;
        }
        let ends = text.iter().zip(1..).filter(|(byte, _)| **byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(_, next)| next)).collect();
        Some(SourceFile { name, text, lines })
    }

    /// All of it.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The line an offset is in, from 1.
    pub fn line_of(&self, offset: usize) -> u32 {
        // The first line starts at 0, so at least one does not start after `offset`; and a file
        // has fewer lines than 32 bits count.
        self.lines.partition_point(|start| *start <= offset) as u32
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.line_of(offset);
        let column = offset.saturating_sub(self.start(line)) as u32 + 1;
        Place { file: Arc::clone(&self.name), line, column }
    }

    fn line(&self, line: u32) -> &'a [u8] {
        let rest = self.text.get(self.start(line)..).unwrap_or_default();
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    fn start(&self, line: u32) -> usize {
        self.lines.get((line as usize).saturating_sub(1)).copied().unwrap_or(self.text.len())
    }
}

/// Everything said so far about a file.
#[derive(Debug)]
pub struct Diagnostics<'a> {
    file: &'a SourceFile<'a>,
    kept: Vec<Diagnostic>,
    errors: usize,
    dropped: usize,
}

impl<'a> Diagnostics<'a> {
    /// Nothing yet.
    pub fn new(file: &'a SourceFile<'a>) -> Self {
        Diagnostics { file, kept: Vec::new(), errors: 0, dropped: 0 }
    }

    /// The configuration is refused for what is at `offset`.
    pub fn error(&mut self, offset: usize, text: impl Into<String>) {
        self.errors += 1;
        self.push(Severity::Error, offset, text.into());
    }

    /// The configuration is taken, and what is at `offset` is to be looked at.
    pub fn warning(&mut self, offset: usize, text: impl Into<String>) {
        self.push(Severity::Warning, offset, text.into());
    }

    fn push(&mut self, severity: Severity, offset: usize, text: String) {
        if self.kept.len() < MAX_KEPT {
            self.kept.push(Diagnostic::new(severity, self.file, offset, text));
        } else {
            self.dropped += 1;
        }
    }

    /// The file that is spoken of.
    pub fn file(&self) -> &'a SourceFile<'a> {
        self.file
    }

    /// How many errors there are, kept or not: any, and the configuration is refused.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// All of them in order of line and column.
    pub fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.kept.sort_by_key(|said| (said.at.line, said.at.column));
        if self.dropped > 0 {
            let text = format!("{} more of the like are not shown", self.dropped);
            let file = Arc::clone(&self.file.name);
            self.kept.push(Diagnostic::of_file(Severity::Warning, file, text));
        }
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &[u8], offset: usize) -> String {
        let file = SourceFile::new("etc/x".into(), text).unwrap();
        Diagnostic::new(Severity::Error, &file, offset, "what".to_owned()).to_string()
    }

    #[test]
    fn place_text_source_line_and_caret() {
        assert_eq!(shown(b"one\ntwo three\n", 8), "etc/x:2:5: what\ntwo three\n    ^");
        assert_eq!(shown(b"one", 3), "etc/x:1:4: what\none\n   ^");
        assert_eq!(shown(b"one\r\ntwo", 0), "etc/x:1:1: what\none\n^");
        assert_eq!(shown(b"", 0), "etc/x:1:1: what\n\n^");
    }

    #[test]
    fn the_caret_stays_below_its_column_after_tabs_and_wide_text() {
        assert_eq!(shown(b"\tx y", 3), "etc/x:1:4: what\n\tx y\n\t  ^");
        assert_eq!(shown("# \u{e4} x".as_bytes(), 5), "etc/x:1:6: what\n# \u{e4} x\n    ^");
        assert_eq!(shown(b"\x1b[2J\xff x", 6), "etc/x:1:7: what\n?[2J\u{fffd} x\n      ^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let mut line = vec![b'a'; 1000];
        line[500] = b'X';
        let text = shown(&line, 500);
        let mut lines = text.lines().skip(1);
        let (source, caret) = (lines.next().unwrap(), lines.next().unwrap());
        assert_eq!(source.len(), WINDOW);
        assert_eq!(source.find('X'), caret.find('^'));
    }

    #[test]
    fn severity_and_whole_files() {
        let about = |severity| Diagnostic::of_file(severity, "f".into(), "t".into()).to_string();
        assert_eq!(about(Severity::Error), "f: t");
        assert_eq!(about(Severity::Warning), "f: warning: t");
    }

    #[test]
    fn too_many_are_counted_not_kept() {
        let file = SourceFile::new("f".into(), b"").unwrap();
        let mut all = Diagnostics::new(&file);
        (0..MAX_KEPT + 3).for_each(|_| all.error(0, "x"));
        assert_eq!(all.errors(), MAX_KEPT + 3);
        let all = all.into_sorted();
        assert_eq!(all.len(), MAX_KEPT + 1);
        assert_eq!(all.last().unwrap().text, "3 more of the like are not shown");
    }
}
