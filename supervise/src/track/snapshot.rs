//! Which processes there are, as somebody has looked them up. The looking is `snapshot_linux`'s.

use crate::Moment;

/// The processes of the machine, looked up between two moments. A process that began, or a thread
/// that ended, in between may be in it or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Before anything was looked up.
    pub begun: Moment,
    /// All of them.
    pub rows: Vec<Row>,
    /// The tracker's own process if it adopts orphans among its descendants. Whoever is its child
    /// and was not made by it then is a descendant of somebody that it has made.
    pub adopter: Option<i32>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub pid: i32,
    /// Its parent of today, which should be among the rows too, and is not younger.
    pub parent: i32,
    /// When it began, in steps of 10 ms.
    pub start: Moment,
    /// Whether its first thread has ended.
    pub ended: bool,
    /// Its other threads. A process that has `ended` and has none has ended as a whole.
    pub others: Vec<i32>,
}
