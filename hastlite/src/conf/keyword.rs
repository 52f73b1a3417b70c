//! The words that mean something in hast.conf, and what each is followed by, where. Nothing here
//! reads a file.

/// A word that no resource, node or device can be called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    /// `control`
    Control,
    /// `pidfile`
    Pidfile,
    /// `listen`
    Listen,
    /// `replication`
    Replication,
    /// `checksum`
    Checksum,
    /// `compression`
    Compression,
    /// `timeout`
    Timeout,
    /// `exec`
    Exec,
    /// `metaflush`
    Metaflush,
    /// `resource`
    Resource,
    /// `name`
    Name,
    /// `local`
    Local,
    /// `remote`
    Remote,
    /// `source`
    Source,
    /// `on`: a section, and a value.
    On,
    /// `off`
    Off,
    /// `fullsync`
    Fullsync,
    /// `memsync`
    Memsync,
    /// `async`
    Async,
    /// `none`
    None,
    /// `crc32`
    Crc32,
    /// `sha256`
    Sha256,
    /// `hole`
    Hole,
    /// `lzf`
    Lzf,
}

use Keyword as K;

/// All of them as they are written. Upper case is another word.
const WORDS: &[(&str, Keyword)] = &[
    ("control", K::Control),
    ("pidfile", K::Pidfile),
    ("listen", K::Listen),
    ("replication", K::Replication),
    ("checksum", K::Checksum),
    ("compression", K::Compression),
    ("timeout", K::Timeout),
    ("exec", K::Exec),
    ("metaflush", K::Metaflush),
    ("resource", K::Resource),
    ("name", K::Name),
    ("local", K::Local),
    ("remote", K::Remote),
    ("source", K::Source),
    ("on", K::On),
    ("off", K::Off),
    ("fullsync", K::Fullsync),
    ("memsync", K::Memsync),
    ("async", K::Async),
    ("none", K::None),
    ("crc32", K::Crc32),
    ("sha256", K::Sha256),
    ("hole", K::Hole),
    ("lzf", K::Lzf),
];

/// What a statement stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Nothing.
    File,
    /// `on`, outside of resources.
    Node,
    /// `resource`.
    Resource,
    /// `on`, within a resource.
    ResourceNode,
}

/// What a statement's word is followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A word: what it is called in messages.
    Word(&'static str),
    /// A word, or `none`.
    WordOrNone(&'static str),
    /// A number.
    Number(&'static str),
    /// One of these.
    OneOf(&'static [Keyword]),
}

impl Keyword {
    /// The keyword that is written like this.
    pub fn of(word: &[u8]) -> Option<Keyword> {
        WORDS.iter().find(|(name, _)| name.as_bytes() == word).map(|(_, keyword)| *keyword)
    }

    /// As it is written.
    pub fn word(self) -> &'static str {
        WORDS.iter().find(|(_, keyword)| *keyword == self).map_or("", |(word, _)| word)
    }

    /// What follows it, and where it may stand; `None` for values and for what begins a section.
    pub fn statement(self) -> Option<(Argument, &'static [Context])> {
        use Context::{File, Node, Resource, ResourceNode};
        const SHARED: &[Context] = &[File, Resource];
        const GLOBAL: &[Context] = &[File, Node];
        const RESOURCE: &[Context] = &[Resource, ResourceNode];
        const PEER: &[Context] = &[ResourceNode];
        Some(match self {
            K::Control => (Argument::Word("an address"), GLOBAL),
            K::Pidfile => (Argument::Word("a path"), GLOBAL),
            K::Listen => (Argument::Word("an address"), GLOBAL),
            K::Replication => (Argument::OneOf(&[K::Fullsync, K::Memsync, K::Async]), SHARED),
            K::Checksum => (Argument::OneOf(&[K::None, K::Crc32, K::Sha256]), SHARED),
            K::Compression => (Argument::OneOf(&[K::None, K::Hole, K::Lzf]), SHARED),
            K::Timeout => (Argument::Number("seconds"), SHARED),
            K::Exec => (Argument::Word("a path"), SHARED),
            K::Metaflush => (Argument::OneOf(&[K::On, K::Off]), &[File, Resource, ResourceNode]),
            K::Name => (Argument::Word("a name"), RESOURCE),
            K::Local => (Argument::Word("a path"), RESOURCE),
            K::Remote => (Argument::WordOrNone("an address"), PEER),
            K::Source => (Argument::Word("an address"), PEER),
            _ => return None,
        })
    }

    /// Whether a statement or a section can begin with it.
    pub fn begins(self) -> bool {
        self.statement().is_some() || matches!(self, K::On | K::Resource)
    }
}

/// The statement, or word that begins a section, that somebody may have meant by `word`: at most
/// one letter in three is another, too many, too few or swapped with its neighbour.
pub fn nearest(word: &[u8]) -> Option<&'static str> {
    if !(2..=32).contains(&word.len()) {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let limit = (word.len() / 3).clamp(1, 3);
    let statements = WORDS.iter().filter(|(_, keyword)| keyword.begins()).map(|(name, _)| *name);
    let near = statements.map(|name| (distance(&word, name.as_bytes()), name));
    near.filter(|(edits, _)| *edits <= limit).min_by_key(|(edits, _)| *edits).map(|(_, name)| name)
}

/// Edits from one to the other, the restricted Damerau-Levenshtein distance. Both are short.
fn distance(from: &[u8], to: &[u8]) -> usize {
    let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.iter().enumerate() {
        let mut this = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let exchanged = at(&last, column) + usize::from(letter != other);
            let mut best = exchanged.min(at(&this, column) + 1).min(at(&last, column + 1) + 1);
            let swapped = row > 0
                && column > 0
                && from.get(row - 1) == Some(other)
                && to.get(column - 1) == Some(letter);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            this.push(best);
        }
        before = std::mem::replace(&mut last, this);
    }
    at(&last, to.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_keyword_is_written_one_way() {
        for (word, keyword) in WORDS {
            assert_eq!(Keyword::of(word.as_bytes()), Some(*keyword));
            assert_eq!(keyword.word(), *word);
        }
        assert_eq!(Keyword::of(b"Resource"), None);
        assert_eq!(Keyword::of(b"resources"), None);
    }

    #[test]
    fn what_was_meant() {
        assert_eq!(nearest(b"resorce"), Some("resource"));
        assert_eq!(nearest(b"Resource"), Some("resource"));
        assert_eq!(nearest(b"lokal"), Some("local"));
        assert_eq!(nearest(b"rmeote"), Some("remote"));
        assert_eq!(nearest(b"no"), Some("on"));
        assert_eq!(nearest(b"banana"), None);
        // Values are not statements.
        assert_eq!(nearest(b"crc33"), None);
        assert_eq!(nearest(&[b'x'; 1000]), None);
    }
}
