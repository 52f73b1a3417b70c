//! The pages of the kernel's ring buffer, as per_cpu/cpuN/trace_pipe_raw of a tracefs gives them,
//! and the fields of the events on them, as events/*/format describes these.
//!
//! The pages and not the text of trace_pipe, because in that a process could write what it likes:
//! names of processes stand in it as they are, line ends too. What an event means is
//! `tracepoint`'s; nothing here knows one event from another, and no offset is fixed but those of
//! the event header, which the kernel has promised (events/header_event).
//!
//! Source: the kernel's Documentation/trace/ring-buffer-design.rst, events/header_page and
//! events/header_event.

use std::fmt;

/// Set in the length of a page before which events were lost.
const MISSED: u64 = 1 << 31;
/// Set if how many stands behind the data of the page.
const MISSED_STORED: u64 = 1 << 30;
/// What is left of the length without flags; no page is larger.
const LENGTH: u64 = (1 << 27) - 1;

/// How many bits of time an event's header holds; an extension gives those above.
const DELTA_BITS: u32 = 27;
/// How many bits of time an absolute stamp holds; those above are of the page's.
const STAMP_BITS: u32 = 59;

/// Not what the kernel writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged(&'static str);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Damaged {}

/// Where things are on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    stamp: Field,
    length: Field,
    data: usize,
}

impl Layout {
    /// Reads events/header_page; `None` if something needed is not in it.
    pub fn parse(text: &str) -> Option<Layout> {
        let fields: Vec<Field> = text.lines().filter_map(Field::parse).collect();
        let find = |name| fields.iter().find(|field| field.name == name);
        let (stamp, length) = (find("timestamp")?.clone(), find("commit")?.clone());
        Some(Layout { stamp, length, data: find("data")?.offset })
    }

    /// Takes a page apart.
    ///
    /// # Errors
    /// If its header or its length does not fit into it.
    pub fn page<'a>(&self, bytes: &'a [u8]) -> Result<Page<'a>, Damaged> {
        let header = |field: &Field| field.unsigned(bytes).ok_or(Damaged("a page without header"));
        let (start, length) = (header(&self.stamp)?, header(&self.length)?);
        let rest = bytes.get(self.data..).ok_or(Damaged("a page without data"))?;
        let end = usize::try_from(length & LENGTH).unwrap_or(usize::MAX);
        let data = rest.get(..end).ok_or(Damaged("a page longer than itself"))?;
        let missed = (length & MISSED != 0).then(|| {
            // As wide as the length itself: both are of the kernel's word size.
            let count = rest.get(end..).and_then(|tail| unsigned(tail.get(..self.length.size)?));
            Missed { count: count.filter(|_| length & MISSED_STORED != 0) }
        });
        Ok(Page { start, missed, data })
    }
}

/// One page: events of one CPU, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// When its first event was, by the buffer's clock.
    pub start: u64,
    /// Whether events were lost between this page and the one read before it.
    pub missed: Option<Missed>,
    data: &'a [u8],
}

/// That events were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// How many; `None` if the page is so full that it could not be told.
    pub count: Option<u64>,
}

impl<'a> Page<'a> {
    /// The events on it.
    pub fn events(&self) -> Events<'a> {
        Events { rest: self.data, now: self.start, page: self.start }
    }
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// When, by the buffer's clock.
    pub at: u64,
    /// What a [`Format`] describes. There may be up to three bytes more than it says.
    pub bytes: &'a [u8],
}

/// Goes through the events of a page. After damage there is nothing more.
#[derive(Clone, Debug)]
pub struct Events<'a> {
    rest: &'a [u8],
    now: u64,
    page: u64,
}

impl<'a> Events<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (head, rest) =
            self.rest.split_at_checked(length).ok_or(Damaged("an event longer than its page"))?;
        self.rest = rest;
        Ok(head)
    }

    fn word(&mut self) -> Result<u32, Damaged> {
        let bytes = self.take(4)?.try_into().map_err(|_| Damaged("no word"))?;
        Ok(u32::from_ne_bytes(bytes))
    }

    /// One step; `None` if it was no event, but about time, or one taken back.
    fn step(&mut self) -> Result<Option<Event<'a>>, Damaged> {
        let header = self.word()?;
        // Two bit fields of C: the first one is at the low end, or at the high one.
        let (kind, delta) = if cfg!(target_endian = "little") {
            (header & 31, header >> 5)
        } else {
            (header >> DELTA_BITS, header & ((1 << DELTA_BITS) - 1))
        };
        let delta = u64::from(delta);
        match kind {
            // The rest of the page is empty.
            29 if delta == 0 => {
                self.rest = &[];
                Ok(None)
            }
            // An event that its writer took back; its time has passed all the same.
            29 => {
                self.now = self.now.wrapping_add(delta);
                let length = self.word()? as usize;
                self.take(length.checked_sub(4).ok_or(Damaged("padding too short"))?)?;
                Ok(None)
            }
            30 => {
                let high = u64::from(self.word()?) << DELTA_BITS;
                self.now = self.now.wrapping_add(high | delta);
                Ok(None)
            }
            31 => {
                let stamp = u64::from(self.word()?) << DELTA_BITS | delta;
                let above = self.page & !((1 << STAMP_BITS) - 1);
                let full = above | stamp;
                let passed = full < self.page;
                self.now = full.wrapping_add(if passed { 1 << STAMP_BITS } else { 0 });
                Ok(None)
            }
            _ => {
                self.now = self.now.wrapping_add(delta);
                let length = if kind == 0 {
                    // The length counts its own word, and what follows is filled up to whole ones.
                    let length = self.word()? as usize;
                    let data = length.checked_sub(4).ok_or(Damaged("an event too short"))?;
                    data.checked_next_multiple_of(4).ok_or(Damaged("an event too long"))?
                } else {
                    kind as usize * 4
                };
                Ok(Some(Event { at: self.now, bytes: self.take(length)? }))
            }
        }
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<Event<'a>, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            match self.step() {
                Ok(None) => {}
                Ok(Some(event)) => return Some(Ok(event)),
                Err(damaged) => {
                    self.rest = &[];
                    return Some(Err(damaged));
                }
            }
        }
        None
    }
}

/// What an event of one kind looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Its number, which `common_type` of its events holds.
    pub id: u16,
    fields: Vec<Field>,
}

impl Format {
    /// Reads a file events/*/*/format; `None` if it has no number or no fields.
    pub fn parse(text: &str) -> Option<Format> {
        let id = text.lines().find_map(|line| line.strip_prefix("ID:"))?.trim().parse().ok()?;
        let fields: Vec<Field> = text.lines().filter_map(Field::parse).collect();
        (!fields.is_empty()).then_some(Format { id, fields })
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// All of them.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }
}

/// One field of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    name: String,
    offset: usize,
    size: usize,
    signed: bool,
    place: Place,
}

/// Where the value of a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the field.
    Here,
    /// Where the field says, counted from the beginning of the event (`__data_loc`).
    There,
    /// Where the field says, counted from its own end (`__rel_loc`).
    Behind,
}

impl Field {
    /// Reads a line like `field:char comm[16]; offset:20; size:16; signed:0;`.
    fn parse(line: &str) -> Option<Field> {
        let mut parts = line.trim().split(';').map(str::trim);
        let declared = parts.next()?.strip_prefix("field:")?.trim_start();
        let (mut offset, mut size, mut signed) = (None, None, false);
        for part in parts {
            match part.split_once(':') {
                Some(("offset", value)) => offset = value.parse().ok(),
                Some(("size", value)) => size = value.parse().ok(),
                Some(("signed", value)) => signed = value != "0",
                _ => {}
            }
        }
        let name = declared.rsplit(' ').next()?.split('[').next()?.to_owned();
        let place = match declared.split(' ').next()? {
            "__data_loc" => Place::There,
            "__rel_loc" => Place::Behind,
            _ => Place::Here,
        };
        Some(Field { name, offset: offset?, size: size?, signed, place })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value, if it is a number of one to eight bytes and the event has it.
    pub fn number(&self, event: &[u8]) -> Option<i64> {
        let value = self.unsigned(event)?;
        let unused = 64 - 8 * u32::try_from(self.size).ok()?;
        let moved = (value << unused).cast_signed();
        Some(if self.signed { moved >> unused } else { value.cast_signed() })
    }

    /// Its value, if it is a text and the event has it: up to the first NUL.
    pub fn text<'a>(&self, event: &'a [u8]) -> Option<&'a [u8]> {
        let bytes = match self.place {
            Place::Here => self.raw(event)?,
            Place::There | Place::Behind => {
                let at = u32::try_from(unsigned(self.raw(event)?)?).ok()?;
                let (offset, size) = ((at & 0xffff) as usize, (at >> 16) as usize);
                let behind = self.place == Place::Behind;
                let base = if behind { self.offset.checked_add(self.size)? } else { 0 };
                let start = base.checked_add(offset)?;
                event.get(start..start.checked_add(size)?)?
            }
        };
        bytes.split(|&byte| byte == 0).next()
    }

    fn raw<'a>(&self, event: &'a [u8]) -> Option<&'a [u8]> {
        event.get(self.offset..self.offset.checked_add(self.size)?)
    }

    fn unsigned(&self, bytes: &[u8]) -> Option<u64> {
        unsigned(self.raw(bytes)?)
    }
}

/// A number as this machine has it in memory.
fn unsigned(bytes: &[u8]) -> Option<u64> {
    Some(match *bytes {
        [a] => a.into(),
        [a, b] => u16::from_ne_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        _ => return None,
    })
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
