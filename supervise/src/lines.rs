//! What a program writes to its standard error, cut into lines for the system's log. Pure: pieces
//! of bytes in, lines with a priority out.
//!
//! A line may begin with its priority, `<N>` with N from 0 to 7, as sd-daemon(3) has it.

/// A longer line is handed out in pieces of this many bytes.
pub const LONGEST: usize = 2000;

/// The priority of a line that says nothing about it: LOG_INFO.
pub const PLAIN: u8 = 6;

/// Puts lines together from pieces.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// A line whose end has not come.
    begun: Vec<u8>,
    /// The priority of the line that a piece of was handed out already.
    cut: Option<u8>,
}

impl Lines {
    /// Takes a piece, and calls `line` with the priority and the text of each line that it
    /// completes. Empty lines are left out.
    pub fn add(&mut self, piece: &[u8], mut line: impl FnMut(u8, &[u8])) {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (head, tail) = rest.split_at(end);
            self.gather(head, &mut line);
            self.finish(&mut line);
            rest = tail.get(1..).unwrap_or_default();
        }
        self.gather(rest, &mut line);
    }

    /// There will be no more: a last line need not have an end.
    pub fn finish(&mut self, mut line: impl FnMut(u8, &[u8])) {
        let cut = self.cut.take();
        let (priority, text) = match cut {
            Some(priority) => (priority, self.begun.as_slice()),
            None => parse(&self.begun),
        };
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if !text.is_empty() {
            line(priority, text);
        }
        self.begun.clear();
    }

    /// Takes a part of a line; what is too long of it goes out at once.
    fn gather(&mut self, mut part: &[u8], line: &mut impl FnMut(u8, &[u8])) {
        while self.begun.len() + part.len() > LONGEST {
            let (now, later) = part.split_at(LONGEST - self.begun.len());
            self.begun.extend_from_slice(now);
            let (priority, text) = match self.cut {
                Some(priority) => (priority, self.begun.as_slice()),
                None => parse(&self.begun),
            };
            line(priority, text);
            self.cut = Some(priority);
            self.begun.clear();
            part = later;
        }
        self.begun.extend_from_slice(part);
    }
}

/// The priority in front of a line, and the rest.
fn parse(line: &[u8]) -> (u8, &[u8]) {
    match line {
        [b'<', digit @ b'0'..=b'7', b'>', text @ ..] => (digit - b'0', text),
        _ => (PLAIN, line),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<(u8, String)> {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let mut note = |priority, text: &[u8]| {
            seen.push((priority, String::from_utf8_lossy(text).into_owned()));
        };
        for piece in pieces {
            lines.add(piece, &mut note);
        }
        lines.finish(&mut note);
        seen
    }

    #[test]
    fn a_line_has_a_priority_or_not() {
        let seen = all(&[b"<3>bad\nplain\n\r\n\n<8>eight\n<3\n", b"<7", b">last"]);
        let expected = [(3, "bad"), (6, "plain"), (6, "<8>eight"), (6, "<3"), (7, "last")];
        assert_eq!(seen, expected.map(|(priority, text)| (priority, text.to_owned())));
    }

    #[test]
    fn what_is_too_long_is_cut_and_keeps_its_priority() {
        let text = [b"<2>".as_slice(), &[b'x'; 2 * LONGEST], b"\nnext\n"].concat();
        let seen = all(&[&text]);
        let lengths: Vec<(u8, usize)> = seen.iter().map(|(p, text)| (*p, text.len())).collect();
        assert_eq!(lengths, [(2, LONGEST - 3), (2, LONGEST), (2, 3), (PLAIN, 4)]);
    }

    proptest! {
        #[test]
        fn how_it_comes_in_pieces_does_not_matter(
            text in prop::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'<'), Just(b'3'), Just(b'>'), any::<u8>()], 0..5000
            ),
            cuts in prop::collection::vec(0usize..5000, 0..9),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                pieces.push(&text[from..cut]);
                from = cut;
            }
            let whole = all(&[&text]);
            prop_assert_eq!(&all(&pieces), &whole);
            prop_assert!(whole.iter().all(|(priority, _)| *priority < 8));
        }
    }
}
