//! Answers given before, and their way through a channel.
//!
//! Encoded as a sequence of entries: kind (1 byte), question (4-byte length, UTF-8), outcome
//! (1 byte: 0 for an answer, 1 for an error's text), answer (4-byte length, bytes). Integers are
//! big-endian. Entries of one kind are in order of their questions, none twice.

use super::Sources;
use crate::conf::source::MAX_FILE;
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

const FILE: u8 = 1;
const ADDRESSES: u8 = 2;
const ETHERNET: u8 = 3;

/// What was answered, an error's text included, by question.
type Answers<T> = BTreeMap<String, Result<T, String>>;

/// Answers recorded by [`super::SystemSources`], or made up for a test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedSources {
    pub(super) files: Answers<Arc<[u8]>>,
    pub(super) addresses: Answers<Vec<Ipv4Addr>>,
    pub(super) ethernet: Answers<[u8; 6]>,
}

impl RecordedSources {
    /// The most addresses kept of one name.
    pub const MAX_ADDRESSES: usize = 64;
    /// The most answers of all kinds.
    const MAX_ANSWERS: usize = 1 << 20;
    /// The longest question or error, in bytes.
    const MAX_TEXT: usize = 16 << 10;
    /// The most bytes of all files together.
    const MAX_FILES: usize = 64 << 20;

    /// Records a file's bytes.
    pub fn add_file(&mut self, path: &str, text: impl Into<Arc<[u8]>>) {
        self.files.insert(path.to_owned(), Ok(text.into()));
    }

    /// Records a name's addresses.
    pub fn add_addresses(&mut self, name: &str, addresses: &[Ipv4Addr]) {
        self.addresses.insert(name.to_owned(), Ok(addresses.to_vec()));
    }

    /// Records a name's Ethernet address.
    pub fn add_ethernet(&mut self, name: &str, address: [u8; 6]) {
        self.ethernet.insert(name.to_owned(), Ok(address));
    }

    /// All answers as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (path, answer) in &self.files {
            entry(&mut out, FILE, path, answer.as_ref().map(|text| text.to_vec()));
        }
        for (name, answer) in &self.addresses {
            let octets = |list: &Vec<Ipv4Addr>| list.iter().flat_map(Ipv4Addr::octets).collect();
            entry(&mut out, ADDRESSES, name, answer.as_ref().map(octets));
        }
        for (name, answer) in &self.ethernet {
            entry(&mut out, ETHERNET, name, answer.as_ref().map(|address| address.to_vec()));
        }
        out
    }

    /// Answers from bytes, none of them trusted.
    pub fn decode(mut bytes: &[u8]) -> Result<RecordedSources, DecodeError> {
        let mut answers = RecordedSources::default();
        let (mut count, mut files) = (0, 0);
        while let Some((kind, rest)) = bytes.split_first() {
            bytes = rest;
            let question = text(take_counted(&mut bytes)?)?;
            let failed = match take(&mut bytes, 1)? {
                [0] => false,
                [1] => true,
                _ => return Err(DecodeError("an outcome that is neither")),
            };
            let answer = take_counted(&mut bytes)?;
            count += 1;
            if count > Self::MAX_ANSWERS {
                return Err(DecodeError("too many answers"));
            }
            let error = if failed { Some(text(answer)?) } else { None };
            match *kind {
                FILE => {
                    files += answer.len();
                    if answer.len() > MAX_FILE || files > Self::MAX_FILES {
                        return Err(DecodeError("files larger than allowed"));
                    }
                    add(&mut answers.files, question, error, || Some(answer.into()))?;
                }
                ADDRESSES => add(&mut answers.addresses, question, error, || addresses(answer))?,
                ETHERNET => {
                    add(&mut answers.ethernet, question, error, || answer.try_into().ok())?;
                }
                _ => return Err(DecodeError("an unknown kind of answer")),
            }
        }
        Ok(answers)
    }
}

impl Sources for RecordedSources {
    fn file(&mut self, path: &str) -> Result<Arc<[u8]>, String> {
        recall(&self.files, "open", path)
    }

    fn addresses(&mut self, name: &str) -> Result<Vec<Ipv4Addr>, String> {
        recall(&self.addresses, "look up", name)
    }

    fn ethernet(&mut self, name: &str) -> Result<[u8; 6], String> {
        recall(&self.ethernet, "look up the Ethernet address of", name)
    }
}

/// Why bytes are not recorded answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError(&'static str);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "recorded answers: {}", self.0)
    }
}

impl std::error::Error for DecodeError {}

fn recall<T: Clone>(answers: &Answers<T>, verb: &str, question: &str) -> Result<T, String> {
    let unknown = || Err(format!("{verb} {question}: this was not asked when answers were made"));
    answers.get(question).map_or_else(unknown, Result::clone)
}

fn entry(out: &mut Vec<u8>, kind: u8, question: &str, answer: Result<Vec<u8>, &String>) {
    out.push(kind);
    counted(out, question.as_bytes());
    match answer {
        Ok(bytes) => {
            out.push(0);
            counted(out, &bytes);
        }
        Err(error) => {
            out.push(1);
            counted(out, error.as_bytes());
        }
    }
}

/// Lengths fit: files are limited to [`MAX_FILE`], questions come out of files.
fn counted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], DecodeError> {
    let (taken, rest) = bytes.split_at_checked(len).ok_or(DecodeError("cut short"))?;
    *bytes = rest;
    Ok(taken)
}

fn take_counted<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let len = take(bytes, 4)?.try_into().map_or(0, u32::from_be_bytes);
    take(bytes, len as usize)
}

fn text(bytes: &[u8]) -> Result<String, DecodeError> {
    if bytes.len() > RecordedSources::MAX_TEXT {
        return Err(DecodeError("a text longer than allowed"));
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError("a text that is not UTF-8"))
}

fn addresses(bytes: &[u8]) -> Option<Vec<Ipv4Addr>> {
    let (chunks, rest) = bytes.as_chunks::<4>();
    let count = 1..=RecordedSources::MAX_ADDRESSES;
    let whole = rest.is_empty() && count.contains(&chunks.len());
    whole.then(|| chunks.iter().copied().map(Ipv4Addr::from).collect())
}

fn add<T>(
    answers: &mut Answers<T>,
    question: String,
    error: Option<String>,
    answer: impl FnOnce() -> Option<T>,
) -> Result<(), DecodeError> {
    let answer = match error {
        Some(error) => Err(error),
        None => Ok(answer().ok_or(DecodeError("an answer of the wrong size"))?),
    };
    match answers.insert(question, answer) {
        None => Ok(()),
        Some(_) => Err(DecodeError("one question twice")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some() -> RecordedSources {
        let mut some = RecordedSources::default();
        some.add_file("/etc/dhcpd.conf", *b"subnet");
        some.files.insert("/x".into(), Err("open /x: no".into()));
        some.add_addresses("a.example", &[Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::LOCALHOST]);
        some.add_ethernet("a", [1, 2, 3, 4, 5, 6]);
        some
    }

    #[test]
    fn there_and_back() {
        assert_eq!(RecordedSources::decode(&some().encode()), Ok(some()));
        assert_eq!(RecordedSources::decode(b""), Ok(RecordedSources::default()));
    }

    #[test]
    fn cut_anywhere_is_an_error_or_fewer_answers() {
        let bytes = some().encode();
        let mut whole = 0;
        for len in 0..bytes.len() {
            whole += usize::from(RecordedSources::decode(&bytes[..len]).is_ok());
        }
        assert_eq!(whole, 4, "only between entries");
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let refused = |change: fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            entry(&mut out, ETHERNET, "a", Ok(vec![0; 6]));
            assert!(RecordedSources::decode(&out).is_ok());
            change(&mut out);
            RecordedSources::decode(&out).unwrap_err().0
        };
        assert_eq!(refused(|b| b[0] = 4), "an unknown kind of answer");
        assert_eq!(refused(|b| b[0] = ADDRESSES), "an answer of the wrong size");
        assert_eq!(refused(|b| b[4] = 255), "cut short");
        assert_eq!(refused(|b| b[1] = 255), "cut short");
        assert_eq!(refused(|b| b[5] = 255), "a text that is not UTF-8");
        assert_eq!(refused(|b| b[6] = 2), "an outcome that is neither");
        assert_eq!(refused(|b| b.extend(b.clone())), "one question twice");
        assert_eq!(
            refused(|b| entry(b, ADDRESSES, "b", Ok(vec![]))),
            "an answer of the wrong size"
        );
        let long = |b: &mut Vec<u8>| entry(b, FILE, &"x".repeat(20_000), Ok(vec![]));
        assert_eq!(refused(long), "a text longer than allowed");
        let large = |b: &mut Vec<u8>| entry(b, FILE, "x", Ok(vec![0; MAX_FILE + 1]));
        assert_eq!(refused(large), "files larger than allowed");
        let many = |b: &mut Vec<u8>| {
            for at in 0..5 {
                entry(b, FILE, &at.to_string(), Ok(vec![0; MAX_FILE]));
            }
        };
        assert_eq!(refused(many), "files larger than allowed");
    }

    #[test]
    fn what_was_not_asked_is_an_error() {
        let error = some().file("/etc/other").unwrap_err();
        assert!(error.starts_with("open /etc/other: "), "{error}");
        assert!(some().addresses("b").is_err());
        assert!(some().ethernet("b").is_err());
        assert_eq!(some().file("/x"), Err("open /x: no".to_owned()));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            if let Ok(answers) = RecordedSources::decode(&bytes) {
                let again = RecordedSources::decode(&answers.encode());
                prop_assert_eq!(again, Ok(answers));
            }
        }

        #[test]
        fn changed_bytes(at in any::<prop::sample::Index>(), to: u8) {
            let mut bytes = some().encode();
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = RecordedSources::decode(&bytes);
        }
    }
}
