//! What can be told of ranges of blocks: the metadata contexts, and runs of equal blocks as the
//! reply to a status query carries them.
//!
//! - `base:allocation` (the protocol's): bit 0 is set if nothing is allocated, bit 1 if the blocks
//!   read as zeroes.
//! - `x-hastlite:dirty` (ours; the protocol has `x-` for namespaces that nobody has registered):
//!   bit 0 is set if the other node does not have, or may not have, what is in the blocks; bit 1 if
//!   the range is marked on disk, which is what would be copied again after a crash now.

/// `base:allocation`: nothing is allocated there.
pub const HOLE: u32 = 1 << 0;
/// `base:allocation`: it reads as zeroes.
pub const ZERO: u32 = 1 << 1;
/// `x-hastlite:dirty`: the two nodes have to be assumed to differ.
pub const DIRTY: u32 = 1 << 0;
/// `x-hastlite:dirty`: marked in the map on disk.
pub const MARKED: u32 = 1 << 1;

/// The most runs that one reply tells of a context. Clients ask on where it ends.
pub const MOST_RUNS: usize = 4096;
/// The most extents that are looked at for one reply: all of a question, if they are not tiny.
const MOST_EXTENTS: usize = 1 << 14;
/// Bytes of the longest name of a context.
pub const LONGEST_NAME: usize = 32;

/// A metadata context.
#[derive(Debug, PartialEq, Eq)]
pub struct Context {
    pub id: u32,
    pub name: &'static str,
}

pub const ALLOCATION: Context = Context { id: 1, name: "base:allocation" };
pub const DIRT: Context = Context { id: 2, name: "x-hastlite:dirty" };

/// A set of contexts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contexts {
    pub allocation: bool,
    pub dirty: bool,
}

impl Contexts {
    pub const ALL: Self = Self { allocation: true, dirty: true };

    /// Adds what a query means: a name or, where contexts are listed, a namespace.
    pub fn add(&mut self, query: &[u8], wildcards: bool) {
        let names = |context: &Context| {
            let name = context.name.as_bytes();
            let namespace = query.last() == Some(&b':') && name.starts_with(query);
            query == name || wildcards && namespace
        };
        self.allocation |= names(&ALLOCATION);
        self.dirty |= names(&DIRT);
    }

    pub fn is_empty(self) -> bool {
        !self.allocation && !self.dirty
    }

    pub fn iter(self) -> impl Iterator<Item = Context> {
        let allocation = self.allocation.then_some(ALLOCATION);
        allocation.into_iter().chain(self.dirty.then_some(DIRT))
    }
}

/// Blocks behind each other of which the same is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Bytes.
    pub length: u64,
    /// Of the context in question.
    pub flags: u32,
}

/// The runs of a range, from what is known of extents by their number; it ends earlier than the
/// question where there are very many. Offset, length and the length of an extent are bytes.
pub fn runs(offset: u64, length: u64, extent: u64, flags: impl Fn(usize) -> u32) -> Vec<Run> {
    let mut found: Vec<Run> = Vec::new();
    let extent = extent.max(1);
    let (mut at, end) = (offset, offset.saturating_add(length));
    for _ in 0..MOST_EXTENTS {
        if at >= end || found.len() >= MOST_RUNS {
            break;
        }
        let number = at / extent;
        let next = (number + 1).saturating_mul(extent).min(end);
        let flags = flags(usize::try_from(number).unwrap_or(usize::MAX));
        match found.last_mut() {
            Some(last) if last.flags == flags => last.length += next - at,
            _ => found.push(Run { length: next - at, flags }),
        }
        at = next;
    }
    found
}

/// What is known of the range that a client has asked about, from where it begins. Runs may reach
/// beyond it, and may end before it does: the client asks again from there. Where a context has no
/// runs, the whole range is told with the flags that promise nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockStatus {
    /// [`HOLE`], [`ZERO`].
    pub allocation: Vec<Run>,
    /// [`DIRTY`], [`MARKED`].
    pub dirty: Vec<Run>,
}

impl BlockStatus {
    /// What a reply says of a context, for a question about `length` bytes.
    pub fn encode(&self, context: &Context, length: u32, one: bool) -> Vec<u8> {
        if *context == ALLOCATION {
            encode(&self.allocation, 0, length, one)
        } else {
            encode(&self.dirty, DIRTY | MARKED, length, one)
        }
    }
}

/// Never more than `length` bytes, never no run at all, neighbours never equal.
fn encode(runs: &[Run], unknown: u32, length: u32, one: bool) -> Vec<u8> {
    let most = if one { 1 } else { MOST_RUNS };
    let mut out = Vec::new();
    let mut push = |length: u32, flags: u32| {
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&flags.to_be_bytes());
    };
    let mut left = length;
    let mut pushed = 0;
    let mut runs = runs.iter().filter(|run| run.length > 0).peekable();
    while pushed < most && left > 0 {
        let Some(first) = runs.next() else { break };
        let mut whole = first.length;
        while let Some(next) = runs.next_if(|next| next.flags == first.flags) {
            whole = whole.saturating_add(next.length);
        }
        let now = u32::try_from(whole).map_or(left, |whole| whole.min(left));
        push(now, first.flags);
        left -= now;
        pushed += 1;
    }
    if pushed == 0 {
        push(length, unknown);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(runs: &[(u64, u32)], length: u32, one: bool) -> Vec<(u32, u32)> {
        let allocation =
            runs.iter().map(|(length, flags)| Run { length: *length, flags: *flags }).collect();
        let status = BlockStatus { allocation, dirty: Vec::new() };
        let bytes = status.encode(&ALLOCATION, length, one);
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u32::from(*byte));
        bytes.chunks(8).map(|run| (number(&run[..4]), number(&run[4..]))).collect()
    }

    #[test]
    fn runs_are_joined_and_cut_to_the_question() {
        let runs = [(512, 0), (0, 3), (512, 0), (4096, 3), (1 << 40, 0)];
        assert_eq!(told(&runs, 1 << 20, false), [(1024, 0), (4096, 3), ((1 << 20) - 5120, 0)]);
        assert_eq!(told(&runs, 512, false), [(512, 0)]);
        assert_eq!(told(&runs, 1 << 20, true), [(1024, 0)]);
        assert_eq!(told(&[(u64::MAX, 1), (u64::MAX, 1)], u32::MAX, true), [(u32::MAX, 1)]);
        assert_eq!(told(&[(512, 1)], 4096, false), [(512, 1)], "less than was asked");
    }

    #[test]
    fn runs_follow_extents_and_no_question_takes_long() {
        let third = |number| u32::from(number == 3);
        let run = |length, flags| Run { length, flags };
        assert_eq!(runs(0, 100, 10, third), [run(30, 0), run(10, 1), run(60, 0)]);
        assert_eq!(runs(35, 10, 10, third), [run(5, 1), run(5, 0)]);
        assert_eq!(runs(35, 5, 10, third), [run(5, 1)]);
        assert_eq!(runs(0, 0, 10, third), []);
        let asked = std::cell::Cell::new(0);
        let clean = |_| {
            asked.set(asked.get() + 1);
            0
        };
        assert_eq!(runs(512, u32::MAX.into(), 512, clean), [run(512 << 14, 0)]);
        assert_eq!(asked.get(), MOST_EXTENTS);
        assert_eq!(runs(0, u32::MAX.into(), 1 << 20, third).len(), 3);
    }

    #[test]
    fn what_is_not_known_promises_nothing() {
        assert_eq!(told(&[], 4096, false), [(4096, 0)]);
        assert_eq!(told(&[(0, 3)], 4096, true), [(4096, 0)]);
        let bytes = BlockStatus::default().encode(&DIRT, 512, false);
        assert_eq!(bytes, [0, 0, 2, 0, 0, 0, 0, 3]);
    }

    #[test]
    fn a_reply_has_a_limit() {
        let runs: Vec<_> = (0..10_000).map(|n| (512, n % 2)).collect();
        assert_eq!(told(&runs, u32::MAX, false).len(), MOST_RUNS);
    }

    #[test]
    fn queries_name_contexts_and_list_namespaces() {
        let found = |queries: &[&[u8]], wildcards| {
            let mut found = Contexts::default();
            queries.iter().for_each(|query| found.add(query, wildcards));
            found.iter().map(|context| context.name).collect::<Vec<_>>()
        };
        assert_eq!(found(&[b"base:allocation"], false), ["base:allocation"]);
        assert_eq!(found(&[b"base:"], true), ["base:allocation"]);
        assert!(found(&[b"base:"], false).is_empty());
        assert_eq!(found(&[b"x-hastlite:", b"base:x", b"qemu:"], true), ["x-hastlite:dirty"]);
        assert!(found(&[b":", b"x-:", b"bas:", b"base:allocation:"], true).is_empty());
    }

    #[test]
    fn names_are_as_the_protocol_wants_them() {
        for context in Contexts::ALL.iter() {
            assert!(context.name.len() <= LONGEST_NAME);
            let (namespace, leaf) = context.name.split_once(':').unwrap();
            assert!(namespace == "base" || namespace.starts_with("x-"));
            assert!(!leaf.is_empty() && !leaf.contains(':'));
        }
    }
}
