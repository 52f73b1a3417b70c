//! The options of one message, found by code.
//!
//! Honours overload (RFC 2132 section 9.3) and joins what is repeated (RFC 3396). One table is made
//! at start and used for every packet: reading allocates nothing once the scratch has grown, and
//! forgetting the packet before costs one addition. What a value means is the engine's business.

use super::code::option;
use super::message::{Message, ParseError};
use std::net::Ipv4Addr;
use std::ops::Range;

/// Where an option's value lies in the scratch, if `generation` is the table's.
#[derive(Clone, Copy)]
struct Slot {
    generation: u32,
    start: u32,
    len: u32,
}

/// The options of the message last read.
pub struct OptionTable {
    slots: [Slot; 256],
    generation: u32,
    /// The fields as they came, and behind them the values that had to be joined.
    scratch: Vec<u8>,
}

impl Default for OptionTable {
    fn default() -> Self {
        OptionTable::new()
    }
}

impl OptionTable {
    /// An empty table.
    pub fn new() -> OptionTable {
        OptionTable {
            slots: [Slot { generation: 0, start: 0, len: 0 }; 256],
            generation: 1,
            scratch: Vec::with_capacity(4096),
        }
    }

    /// Reads all options of `message` and forgets those of the one before.
    ///
    /// # Errors
    /// [`ParseError::OptionOverrun`] if one reaches beyond its field, [`ParseError::OptionValue`]
    /// if 52 or 53 cannot mean anything. The table is empty then: nothing of a malformed packet
    /// is to be acted on.
    pub fn parse(&mut self, message: &Message<'_>) -> Result<(), ParseError> {
        self.clear();
        let read = self.read(message);
        if read.is_err() {
            self.clear();
        }
        read
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.scratch.clear();
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            // Once in four thousand million packets: no slot may be as old as the new count says.
            *self = OptionTable { scratch: std::mem::take(&mut self.scratch), ..Self::new() };
        }
    }

    /// The value of an option: all of its parts, joined. An option may be present and empty.
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        let slot = self.slots[usize::from(code)];
        if slot.generation != self.generation {
            return None;
        }
        let start = slot.start as usize;
        self.scratch.get(start..start + slot.len as usize)
    }

    /// Option 53; `None` makes it a BOOTP message.
    pub fn message_type(&self) -> Option<u8> {
        self.get(option::MESSAGE_TYPE).and_then(|value| value.first().copied())
    }

    /// The value of an option that is one address; `None` also if it has not exactly 4 bytes.
    pub fn ipv4(&self, code: u8) -> Option<Ipv4Addr> {
        <[u8; 4]>::try_from(self.get(code)?).ok().map(Ipv4Addr::from)
    }

    /// The value of a 32-bit option; `None` also if it has not exactly 4 bytes.
    pub fn u32(&self, code: u8) -> Option<u32> {
        <[u8; 4]>::try_from(self.get(code)?).ok().map(u32::from_be_bytes)
    }

    /// The value of a 16-bit option; `None` also if it has not exactly 2 bytes.
    pub fn u16(&self, code: u8) -> Option<u16> {
        <[u8; 2]>::try_from(self.get(code)?).ok().map(u16::from_be_bytes)
    }

    fn read(&mut self, message: &Message<'_>) -> Result<(), ParseError> {
        self.scratch.extend_from_slice(message.options_field());
        let main = 0..self.scratch.len();
        let mut repeated = self.index(main.clone(), false)?;
        let overload = match self.get(option::OVERLOAD) {
            None => 0,
            Some(&[fields @ 0..=3]) => fields,
            Some(_) => return Err(ParseError::OptionValue { code: option::OVERLOAD }),
        };
        let mut file = main.end..main.end;
        if overload & 1 != 0 {
            self.scratch.extend_from_slice(message.file());
            file.end = self.scratch.len();
            repeated |= self.index(file.clone(), true)?;
        }
        let mut sname = file.end..file.end;
        if overload & 2 != 0 {
            self.scratch.extend_from_slice(message.sname());
            sname.end = self.scratch.len();
            repeated |= self.index(sname.clone(), true)?;
        }
        if repeated {
            self.join([(main, false), (file, true), (sname, true)]);
        }
        match self.get(option::MESSAGE_TYPE) {
            None | Some([_]) => Ok(()),
            Some(_) => Err(ParseError::OptionValue { code: option::MESSAGE_TYPE }),
        }
    }

    /// Notes where each option of a field is. A repeated one keeps its first place, and its length
    /// becomes that of all its parts; the result says whether there was one.
    fn index(&mut self, field: Range<usize>, overloaded: bool) -> Result<bool, ParseError> {
        let mut repeated = false;
        let mut at = field.start;
        while let Some((code, value)) = next(&self.scratch, &mut at, field.end)? {
            if overloaded && code == option::OVERLOAD {
                continue; // RFC 2131 section 4.1: it has a meaning in the options field only
            }
            let slot = &mut self.slots[usize::from(code)];
            if slot.generation == self.generation {
                slot.len += value.len() as u32;
                repeated = true;
            } else {
                *slot = Slot {
                    generation: self.generation,
                    start: value.start as u32,
                    len: value.len() as u32,
                };
            }
        }
        Ok(repeated)
    }

    /// Copies every value behind the fields, the parts of each side by side and in their order.
    ///
    /// Each byte is copied once however the parts are mixed, so that no packet is expensive.
    fn join(&mut self, fields: [(Range<usize>, bool); 3]) {
        let mut end = self.scratch.len();
        let mut write = [0usize; 256];
        for (slot, write) in self.slots.iter_mut().zip(&mut write) {
            if slot.generation == self.generation {
                *write = end;
                slot.start = end as u32;
                end += slot.len as usize;
            }
        }
        self.scratch.resize(end, 0);
        for (field, overloaded) in fields {
            let mut at = field.start;
            while let Ok(Some((code, value))) = next(&self.scratch, &mut at, field.end) {
                if overloaded && code == option::OVERLOAD {
                    continue;
                }
                let write = &mut write[usize::from(code)];
                let len = value.len();
                self.scratch.copy_within(value, *write);
                *write += len;
            }
        }
    }
}

/// The next option of `bytes[*at..end]`: its code and where its value is. `None` at the end.
fn next(
    bytes: &[u8],
    at: &mut usize,
    end: usize,
) -> Result<Option<(u8, Range<usize>)>, ParseError> {
    let field = bytes.get(..end).unwrap_or_default();
    loop {
        match field.get(*at) {
            Some(&option::PAD) => *at += 1,
            // A missing end is common enough in the field, and harmless.
            None | Some(&option::END) => return Ok(None),
            Some(&code) => {
                let overrun = ParseError::OptionOverrun { code };
                let len = usize::from(*field.get(*at + 1).ok_or(overrun)?);
                let value = *at + 2..*at + 2 + len;
                if value.end > end {
                    return Err(overrun);
                }
                *at = value.end;
                return Ok(Some((code, value)));
            }
        }
    }
}

/// One sub-option of option 82's value (RFC 3046 section 2.0), or of another that is built alike.
///
/// `None` if it is not there, or if what stands before it cannot be read.
pub fn sub_option(value: &[u8], code: u8) -> Option<&[u8]> {
    let mut rest = value;
    while let [found, len, tail @ ..] = rest {
        let (value, behind) = tail.split_at_checked(usize::from(*len))?;
        if *found == code {
            return Some(value);
        }
        rest = behind;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(options: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 236];
        packet.extend([99, 130, 83, 99]);
        packet.extend(options);
        packet
    }

    fn read(table: &mut OptionTable, packet: &[u8]) -> Result<(), ParseError> {
        table.parse(&Message::parse(packet).unwrap())
    }

    #[test]
    fn values_are_found_by_code_and_forgotten_with_the_next_packet() {
        let mut table = OptionTable::new();
        let first = [53, 1, 3, 0, 0, 50, 4, 10, 0, 0, 1, 57, 2, 5, 220, 51, 4, 0, 0, 1, 0, 80, 0];
        read(&mut table, &packet(&first)).unwrap();
        assert_eq!(table.message_type(), Some(3));
        assert_eq!(table.ipv4(50), Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(table.u16(57), Some(1500));
        assert_eq!(table.u32(51), Some(256));
        assert_eq!((table.u16(51), table.u32(57), table.ipv4(57)), (None, None, None));
        assert_eq!(table.get(80), Some(&[][..]));
        assert_eq!(table.get(12), None);
        read(&mut table, &packet(&[53, 1, 1, 255, 50, 4])).unwrap();
        assert_eq!(table.message_type(), Some(1));
        assert_eq!(
            (table.get(50), table.get(80), table.get(0), table.get(255)),
            (None, None, None, None)
        );
    }

    #[test]
    fn no_slot_outlives_the_count_of_generations() {
        let mut table = OptionTable::new();
        read(&mut table, &packet(&[12, 1, 7])).unwrap();
        let made = table.generation;
        table.generation = u32::MAX;
        for _ in 0..made + 2 {
            read(&mut table, &packet(&[13, 1, 7])).unwrap();
            assert_eq!(table.get(12), None);
        }
    }

    #[test]
    fn a_length_that_lies_refuses_the_packet_every_time() {
        let mut table = OptionTable::new();
        for bad in [&[53, 1, 1, 12][..], &[53, 1, 1, 12, 3, 1, 2], &[53, 1, 1, 12, 255]] {
            for _ in 0..6 {
                let error = read(&mut table, &packet(bad)).unwrap_err();
                assert_eq!(error, ParseError::OptionOverrun { code: 12 });
                assert_eq!(table.message_type(), None, "nothing of it may be left");
            }
        }
        for (bad, code) in [
            (&[53, 0][..], 53),
            (&[53, 2, 1, 1], 53),
            (&[53, 1, 1, 53, 1, 1], 53),
            (&[52, 0], 52),
            (&[52, 1, 4], 52),
            (&[52, 1, 1, 52, 1, 1], 52),
        ] {
            let error = read(&mut table, &packet(bad)).unwrap_err();
            assert_eq!(error, ParseError::OptionValue { code });
        }
    }

    #[test]
    fn overload_reads_file_then_sname_and_joins_in_that_order() {
        let mut packet = packet(&[53, 1, 1, 12, 1, b'a', 52, 1, 3, 61, 2, 1, 2, 12, 1, b'b', 255]);
        packet[44..49].copy_from_slice(&[12, 2, b'd', b'e', 255]); // sname
        packet[108..117].copy_from_slice(&[12, 1, b'c', 52, 1, 9, 60, 1, b'x']); // file
        let mut table = OptionTable::new();
        read(&mut table, &packet).unwrap();
        assert_eq!(table.get(12), Some(&b"abcde"[..]));
        assert_eq!(table.get(61), Some(&[1, 2][..]));
        assert_eq!(table.get(60), Some(&b"x"[..]));
        assert_eq!((table.message_type(), table.get(52)), (Some(1), Some(&[3][..])));
        for (overload, want) in [(1, &b"abc"[..]), (2, b"abde"), (0, b"ab")] {
            packet[248] = overload;
            read(&mut table, &packet).unwrap();
            assert_eq!(table.get(12), Some(want));
        }
        packet[248] = 3;
        packet[44..46].copy_from_slice(&[12, 63]);
        assert!(read(&mut table, &packet).is_err(), "an option may not leave sname for file");
    }

    #[test]
    fn joining_costs_each_byte_once() {
        // Two codes in turn, one byte each: copying at every repetition would need 230 MB.
        let many: Vec<u8> = (0..21_600u32).flat_map(|i| [12 + (i % 2) as u8, 1, i as u8]).collect();
        let mut table = OptionTable::new();
        read(&mut table, &packet(&many)).unwrap();
        assert_eq!((table.get(12).unwrap().len(), table.get(13).unwrap()[1]), (10_800, 3));
        assert!(table.scratch.len() <= many.len() * 2);
    }

    #[test]
    fn sub_options_of_a_relay_agent() {
        let value = [1, 2, 7, 8, 5, 4, 10, 0, 0, 0, 2, 0];
        assert_eq!(sub_option(&value, 1), Some(&[7, 8][..]));
        assert_eq!(sub_option(&value, 5), Some(&[10, 0, 0, 0][..]));
        assert_eq!(sub_option(&value, 2), Some(&[][..]));
        assert_eq!(sub_option(&value, 9), None);
        assert_eq!(sub_option(&value[..9], 5), None);
        assert_eq!(sub_option(&[5], 5), None);
    }

    proptest! {
        #[test]
        fn random_options_never_panic(
            fixed in prop::collection::vec(any::<u8>(), 236),
            options in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..6, Just(52)], 0..400),
        ) {
            let mut packet = fixed;
            packet[2] = 6;
            packet.extend([99, 130, 83, 99]);
            packet.extend(options);
            let mut table = OptionTable::new();
            let read = read(&mut table, &packet);
            for code in 0..=255 {
                prop_assert!(read.is_ok() || table.get(code).is_none());
                let _ = table.get(code).map(|value| sub_option(value, 5));
            }
        }
    }
}
