//! A file that is being read, and places in it. Reads nothing itself.

use crate::config::Place;
use std::sync::Arc;

/// The largest file that is read, in bytes.
pub const MAX_FILE: usize = 16 << 20;

/// A file's name and bytes, with its lines found.
#[derive(Debug)]
pub struct SourceFile {
    name: Arc<str>,
    text: Arc<[u8]>,
    /// Offset of each line's first byte.
    lines: Vec<u32>,
}

impl SourceFile {
    /// Takes a file's bytes. `None` above [`MAX_FILE`].
    pub fn new(name: Arc<str>, text: Arc<[u8]>) -> Option<SourceFile> {
        if text.len() > MAX_FILE {
            return None;
        }
        let ends = text.iter().zip(1u32..).filter(|(byte, _)| **byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(_, next)| next)).collect();
        Some(SourceFile { name, text, lines })
    }

    /// The name it was opened by.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// All of it.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Bytes from `start`, fewer where the file ends.
    pub fn slice(&self, start: u32, len: usize) -> &[u8] {
        let rest = self.text.get(start as usize..).unwrap_or_default();
        rest.get(..len).unwrap_or(rest)
    }

    /// The line an offset is in, from 1.
    pub fn line_of(&self, offset: u32) -> u32 {
        // The first line starts at 0, so at least one does not start after `offset`.
        self.lines.partition_point(|start| *start <= offset) as u32
    }

    /// Line and column of an offset.
    pub fn place(&self, offset: u32) -> Place {
        let line = self.line_of(offset);
        let column = offset - self.line_start(line) + 1;
        Place { file: self.name.clone(), line, column }
    }

    /// A line's bytes without its end.
    pub fn line(&self, line: u32) -> &[u8] {
        let start = self.line_start(line) as usize;
        let rest = self.text.get(start..).unwrap_or_default();
        let len = self.lines.get(line as usize).map_or(rest.len(), |next| *next as usize - start);
        let line = rest.get(..len).unwrap_or(rest);
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    fn line_start(&self, line: u32) -> u32 {
        let at = (line as usize).saturating_sub(1);
        self.lines.get(at).copied().unwrap_or(self.text.len() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &[u8]) -> SourceFile {
        SourceFile::new("f".into(), text.into()).unwrap()
    }

    #[test]
    fn places_count_from_one() {
        let file = file(b"ab\n\ncd");
        let at = |offset| {
            let Place { line, column, .. } = file.place(offset);
            (line, column)
        };
        assert_eq!([at(0), at(1), at(2)], [(1, 1), (1, 2), (1, 3)]);
        assert_eq!([at(3), at(4), at(6)], [(2, 1), (3, 1), (3, 3)]);
        assert_eq!(
            [file.line(1), file.line(2), file.line(3), file.line(4)],
            [&b"ab"[..], b"", b"cd", b""]
        );
    }

    #[test]
    fn lines_lose_their_end_of_either_kind() {
        let file = file(b"ab\r\ncd\n");
        assert_eq!([file.line(1), file.line(2), file.line(3)], [&b"ab"[..], b"cd", b""]);
    }

    #[test]
    fn a_file_above_the_limit_is_refused() {
        assert!(SourceFile::new("f".into(), vec![b' '; MAX_FILE].into()).is_some());
        assert!(SourceFile::new("f".into(), vec![b' '; MAX_FILE + 1].into()).is_none());
    }
}
