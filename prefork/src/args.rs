//! The command line of prefork-interp(1), in both of its forms: typed word by word, and as the
//! kernel passes on a `#!` line, which is as one word however many were meant.
//!
//! Nothing here allocates or panics: it also serves the program that has no standard library at
//! work. What the words are for is not decided here.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// How many `-E` and `-G` there may be.
pub const MAX_MARKS: usize = 64;

/// How many pieces the one word of a `#!` line may have, INTERP included.
const MAX_PIECES: usize = 4;

/// What the caller wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The usage, on standard output.
    Help,
    /// A call, by a server that runs or is started.
    Call,
    /// A call, by a server that is started for it (`-f`).
    Fresh,
    /// That the server accepts no more calls (`--kill`).
    Kill,
}

/// What a server's identity depends on besides the interpreter and the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark<'a> {
    /// `-E`: a variable of the environment, by its name.
    Variable(&'a [u8]),
    /// `-G`: a word.
    Word(&'a [u8]),
}

/// An understood command line.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// What is to be done. After `--help` nothing else is looked at.
    pub wanted: Wanted,
    /// `-g`: the identity itself.
    pub ident: Option<&'a [u8]>,
    /// The interpreter, as typed.
    pub interp: &'a [u8],
    /// The script, as typed.
    pub script: Option<&'a [u8]>,
    /// The number of the word after the interpreter: the script's, if there is one.
    pub rest: usize,
    marks: [Mark<'a>; MAX_MARKS],
    marked: usize,
}

impl<'a> Command<'a> {
    /// The `-E` and `-G`, in their order.
    pub fn marks(&self) -> &[Mark<'a>] {
        self.marks.get(..self.marked).unwrap_or_default()
    }
}

/// What cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault<'a> {
    /// No such letter.
    Letter(u8),
    /// No such long option.
    Long(&'a [u8]),
    /// This long option takes no value.
    Valued(&'a [u8]),
    /// This letter takes a value.
    Valueless(u8),
    /// More than [`MAX_MARKS`].
    Marks,
    /// A `-g` that would name something outside its directory.
    Ident,
    /// The word of a `#!` line has too many pieces.
    Pieces,
    /// No `-U`.
    Laundered,
    /// No interpreter.
    Interp,
    /// No script, which a `#!` line always has.
    Script,
}

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |word: &[u8]| OsStr::from_bytes(word).to_string_lossy().into_owned();
        match self {
            Fault::Letter(letter) => write!(f, "unknown option -{}", letter.escape_ascii()),
            Fault::Long(word) => write!(f, "unknown option {}", shown(word)),
            Fault::Valued(word) => write!(f, "{}: this option takes no value", shown(word)),
            Fault::Valueless(letter) => write!(f, "-{}: needs a value", letter.escape_ascii()),
            Fault::Marks => write!(f, "more than {MAX_MARKS} options -E and -G"),
            Fault::Ident => f.write_str("-g: an identity has no \"/\" in it"),
            Fault::Pieces => {
                write!(f, "more than {} options in the one word of a #! line", MAX_PIECES - 1)
            }
            Fault::Laundered => f.write_str(
                "-U is missing: it says that the script gets its environment and arguments as they \
                 are, and nothing else has been invented yet",
            ),
            Fault::Interp => f.write_str("no interpreter was given"),
            Fault::Script => f.write_str("no script was given: this is the form of a #! line"),
        }
    }
}

/// Reads a command line; `word` gives its words by their numbers, the program's own being 0.
///
/// # Errors
/// It cannot be understood.
pub fn parse<'a>(word: &dyn Fn(usize) -> Option<&'a [u8]>) -> Result<Command<'a>, Fault<'a>> {
    let mut command = Command {
        wanted: Wanted::Call,
        ident: None,
        interp: b"",
        script: None,
        rest: 0,
        marks: [Mark::Word(b""); MAX_MARKS],
        marked: 0,
    };
    let first = word(1).unwrap_or_default();
    let combined = first.starts_with(b"-") && first.iter().any(|byte| matches!(byte, b' ' | b','));
    let mut words = if combined { Words::split(first, word)? } else { Words::new(word) };

    let mut unlaundered = false;
    while let Some(option) = words.option() {
        match option {
            b"--" => break,
            b"--help" => return Ok(Command { wanted: Wanted::Help, ..command }),
            b"--kill" => command.wanted = Wanted::Kill,
            [b'-', b'-', long @ ..] => return Err(long_fault(option, long)),
            [_, letters @ ..] => {
                let mut letters = letters;
                while let [letter, after @ ..] = letters {
                    letters = after;
                    match letter {
                        b'U' => unlaundered = true,
                        b'f' => command.wanted = Wanted::Fresh,
                        b'E' | b'G' | b'g' => {
                            let value = if after.is_empty() { words.take() } else { Some(after) };
                            let value = value.ok_or(Fault::Valueless(*letter))?;
                            letters = b"";
                            command.value(*letter, value)?;
                        }
                        _ => return Err(Fault::Letter(*letter)),
                    }
                }
            }
            [] => {}
        }
    }
    command.interp = words.take().ok_or(Fault::Interp)?;
    command.rest = words.next;
    command.script = word(words.next);
    if combined && command.script.is_none() {
        return Err(Fault::Script);
    }
    if !unlaundered {
        return Err(Fault::Laundered);
    }
    Ok(command)
}

impl<'a> Command<'a> {
    fn value(&mut self, letter: u8, value: &'a [u8]) -> Result<(), Fault<'a>> {
        if letter == b'g' {
            if value.contains(&b'/') {
                return Err(Fault::Ident);
            }
            self.ident = Some(value);
            return Ok(());
        }
        let mark = self.marks.get_mut(self.marked).ok_or(Fault::Marks)?;
        *mark = if letter == b'E' { Mark::Variable(value) } else { Mark::Word(value) };
        self.marked += 1;
        Ok(())
    }
}

fn long_fault<'a>(option: &'a [u8], long: &'a [u8]) -> Fault<'a> {
    match long {
        [b'k', b'i', b'l', b'l', b'=', ..] | [b'h', b'e', b'l', b'p', b'=', ..] => {
            Fault::Valued(option)
        }
        _ => Fault::Long(option),
    }
}

/// The words to go through: either the pieces of a `#!` line's one word, which end with the
/// interpreter, or the words as they are.
struct Words<'a, 'w> {
    pieces: [&'a [u8]; MAX_PIECES],
    /// How many pieces there are, and how many of them are taken.
    known: usize,
    taken: usize,
    next: usize,
    word: &'w dyn Fn(usize) -> Option<&'a [u8]>,
}

impl<'a, 'w> Words<'a, 'w> {
    fn new(word: &'w dyn Fn(usize) -> Option<&'a [u8]>) -> Self {
        Words { pieces: [b""; MAX_PIECES], known: 0, taken: 0, next: 1, word }
    }

    /// Pieces are cut at a space, or at a comma where there is no space: a `#!` line has no other
    /// way to say several words. What no longer begins with `-` is the interpreter, whole.
    fn split(
        whole: &'a [u8],
        word: &'w dyn Fn(usize) -> Option<&'a [u8]>,
    ) -> Result<Self, Fault<'a>> {
        let mut words = Words { next: 2, ..Words::new(word) };
        let mut left = Some(whole);
        while let Some(rest) = left {
            let cut = |at: u8| rest.iter().position(|byte| *byte == at);
            let at = if rest.starts_with(b"-") { cut(b' ').or_else(|| cut(b',')) } else { None };
            let (piece, after) = match at.and_then(|at| rest.split_at_checked(at)) {
                Some((piece, after)) => (piece, after.get(1..)),
                None => (rest, None),
            };
            let place = words.pieces.get_mut(words.known).ok_or(Fault::Pieces)?;
            *place = piece;
            words.known += 1;
            left = after;
        }
        Ok(words)
    }

    fn peek(&self) -> Option<&'a [u8]> {
        match self.known {
            0 => (self.word)(self.next),
            known => self.pieces.get(..known)?.get(self.taken).copied(),
        }
    }

    fn take(&mut self) -> Option<&'a [u8]> {
        let word = self.peek()?;
        match self.known {
            0 => self.next += 1,
            _ => self.taken += 1,
        }
        Some(word)
    }

    fn option(&mut self) -> Option<&'a [u8]> {
        if self.peek()?.starts_with(b"-") { self.take() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with<T>(line: &[&str], look: impl FnOnce(Result<Command<'_>, Fault<'_>>) -> T) -> T {
        look(parse(&|at| line.get(at).map(|word| word.as_bytes())))
    }

    fn fault(line: &[&str]) -> String {
        with(line, |parsed| parsed.unwrap_err().to_string())
    }

    /// INTERP, SCRIPT and where the rest begins.
    fn words(line: &[&str]) -> (String, Option<String>, usize) {
        let text = |word: &[u8]| String::from_utf8(word.to_vec()).unwrap();
        with(line, |c| c.map(|c| (text(c.interp), c.script.map(text), c.rest)).unwrap())
    }

    #[test]
    fn words_typed_one_by_one() {
        let script = Some("s".to_owned());
        assert_eq!(words(&["p", "-U", "perl", "s", "-x"]), ("perl".into(), script.clone(), 3));
        assert_eq!(words(&["p", "-U", "--", "-i", "s"]), ("-i".into(), script.clone(), 4));
        assert_eq!(words(&["p", "-U", "-", "perl", "s"]), ("perl".into(), script, 4));
        assert_eq!(words(&["p", "-U", "perl"]), ("perl".into(), None, 3));
        assert_eq!(words(&["p", "-U", "a b,c"]), ("a b,c".into(), None, 3));
    }

    #[test]
    fn marks_keep_their_order() {
        with(&["p", "-UEA", "-G", "g", "-EB", "-g", "x", "-g", "y", "perl"], |command| {
            let command = command.unwrap();
            let [a, g, b] = [Mark::Variable(b"A"), Mark::Word(b"g"), Mark::Variable(b"B")];
            assert_eq!(command.marks(), [a, g, b]);
            assert_eq!(command.ident, Some(&b"y"[..]));
        });
    }

    #[test]
    fn the_last_of_kill_and_fresh_counts() {
        let wanted = |line: &[&str]| with(line, |command| command.unwrap().wanted);
        assert_eq!(wanted(&["p", "-U", "-f", "--kill", "perl"]), Wanted::Kill);
        assert_eq!(wanted(&["p", "--kill", "-fU", "perl"]), Wanted::Fresh);
        assert_eq!(wanted(&["p", "-U", "perl", "s", "-f"]), Wanted::Call);
        assert_eq!(wanted(&["p", "-f", "--help", "-x"]), Wanted::Help);
    }

    #[test]
    fn the_one_word_of_a_script() {
        let script = || Some("s".to_owned());
        for combined in [
            "-U,perl",
            "-U perl",
            "-U -GX,perl",
            "-U,-GX,perl",
            "-UGX perl",
            "-U,-GA,-GB,perl",
            "-U,--,perl",
            "-U,-,perl",
        ] {
            assert_eq!(
                words(&["p", combined, "s", "a"]),
                ("perl".into(), script(), 2),
                "{combined}"
            );
        }
        // As with the original: what does not begin with "-" is the interpreter, whole.
        assert_eq!(words(&["p", "-U,perl,-w", "s"]).0, "perl,-w");
        assert_eq!(words(&["p", "-U perl -w", "s"]).0, "perl -w");
        assert_eq!(words(&["p", "-U,", "s"]).0, "");
        assert_eq!(fault(&["p", "-U,-GX perl", "s"]), "unknown option -,");
        assert!(fault(&["p", "-U,perl"]).contains("no script"));
        assert!(fault(&["p", "-U,-G,X,perl", "s"]).contains("no interpreter"));
        assert!(fault(&["p", "-U,-GA,-GB,-GC,perl", "s"]).contains("more than 3"));
    }

    #[test]
    fn faults_are_named() {
        assert!(fault(&["p"]).contains("no interpreter"));
        assert!(fault(&["p", "perl"]).contains("-U is missing"));
        assert!(fault(&["p", "-U", "-g", "a/b", "perl"]).contains("\"/\""));
        assert!(fault(&["p", "-U", "-G"]).contains("-G: needs a value"));
        assert_eq!(fault(&["p", "-Ux", "perl"]), "unknown option -x");
        assert_eq!(fault(&["p", "--kil", "perl"]), "unknown option --kil");
        assert!(fault(&["p", "--kill=1", "perl"]).contains("takes no value"));
        let mut many = vec!["p", "-U"];
        many.extend(["-Ga"; MAX_MARKS]);
        assert!(fault(&[&many[..], &["-Gb", "perl"]].concat()).contains("more than 64"));
        many.push("perl");
        with(&many, |command| assert_eq!(command.unwrap().marks().len(), MAX_MARKS));
    }

    proptest! {
        #[test]
        fn any_words_are_read_or_refused(line in proptest::collection::vec("[-UEGgf, a/=]{0,9}|--help|--kill", 0..9)) {
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            with(&line, |parsed| match parsed {
                Ok(command) => assert!(command.wanted == Wanted::Help || command.rest <= line.len()),
                Err(fault) => assert!(!fault.to_string().is_empty()),
            });
        }
    }
}
