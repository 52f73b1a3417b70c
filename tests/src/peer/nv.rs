//! Lists of named values, as the packets and the metadata block of HAST hold them.
//!
//! Only the encoding: what the names mean is said where they are used. Strict where the
//! specification asks a receiver to be strict (section 1.2), so that what another
//! implementation sends is judged and not merely read.

/// An entry's fixed part: type, name length, data length.
const FIXED: usize = 6;
/// Type byte of a string.
const STRING: u8 = 17;
/// The first type byte of an array; the element's scalar type is this much less.
const ARRAYS: u8 = 8;

fn padded(length: usize) -> usize {
    length.div_ceil(8) * 8
}

macro_rules! scalars {
    ($($name:ident $kind:ty, $code:literal, $get:ident, $put:ident;)*) => {
        /// One value with its type. Multi-byte numbers are little-endian on the wire.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Value {
            $(#[doc = concat!("a scalar of type ", stringify!($kind))] $name($kind),)*
            /// `code` is the array's own type byte (9 to 16); the elements as they are on the wire.
            Array { #[allow(missing_docs)] code: u8, #[allow(missing_docs)] bytes: Vec<u8> },
            /// Without its NUL.
            Text(Vec<u8>),
        }

        impl Value {
            fn code(&self) -> u8 {
                match self {
                    $(Value::$name(_) => $code,)*
                    Value::Array { code, .. } => *code,
                    Value::Text(_) => STRING,
                }
            }

            fn bytes(&self) -> Vec<u8> {
                match self {
                    $(Value::$name(number) => number.to_le_bytes().to_vec(),)*
                    Value::Array { bytes, .. } => bytes.clone(),
                    Value::Text(text) => [text, &[0][..]].concat(),
                }
            }

            fn scalar(code: u8, bytes: &[u8]) -> Option<Value> {
                match code {
                    $($code => Some(Value::$name(<$kind>::from_le_bytes(bytes.try_into().ok()?))),)*
                    _ => None,
                }
            }
        }

        impl List {
            $(
                #[doc = concat!("Appends a ", stringify!($kind), ".")]
                pub fn $put(&mut self, name: &str, number: $kind) {
                    self.put(name, Value::$name(number));
                }

                #[doc = concat!("The first value of that name; 0 where there is none, an error where it is not a ", stringify!($kind), ".")]
                pub fn $get(&self, name: &str) -> Result<$kind, String> {
                    match self.find(name) {
                        None => Ok(0),
                        Some(Value::$name(number)) => Ok(*number),
                        Some(other) => Err(wrong(name, stringify!($kind), other)),
                    }
                }
            )*
        }
    };
}

scalars! {
    Int8 i8, 1, int8, put_int8;
    Uint8 u8, 2, uint8, put_uint8;
    Int16 i16, 3, int16, put_int16;
    Uint16 u16, 4, uint16, put_uint16;
    Int32 i32, 5, int32, put_int32;
    Uint32 u32, 6, uint32, put_uint32;
    Int64 i64, 7, int64, put_int64;
    Uint64 u64, 8, uint64, put_uint64;
}

fn wrong(name: &str, wanted: &str, found: &Value) -> String {
    format!("field {name}: wanted {wanted}, its type byte is {}", found.code())
}

/// A list: entries in the order they stand on the wire. Of equal names the first counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    entries: Vec<(Vec<u8>, Value)>,
}

impl List {
    /// An empty list.
    pub fn new() -> List {
        List::default()
    }

    /// Appends an entry.
    pub fn put(&mut self, name: &str, value: Value) {
        self.entries.push((name.as_bytes().to_vec(), value));
    }

    /// Appends a string.
    pub fn put_text(&mut self, name: &str, text: &str) {
        self.put(name, Value::Text(text.as_bytes().to_vec()));
    }

    /// Appends an array of bytes.
    pub fn put_array(&mut self, name: &str, bytes: &[u8]) {
        self.put(name, Value::Array { code: ARRAYS + 2, bytes: bytes.to_vec() });
    }

    /// The first value of that name.
    pub fn find(&self, name: &str) -> Option<&Value> {
        self.entries.iter().find(|(own, _)| own == name.as_bytes()).map(|(_, value)| value)
    }

    /// Whether the name is there at all: the test for presence flags, whose value says nothing.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// A string, or none; an error where the value has another type or is no UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<&str>, String> {
        match self.find(name) {
            None => Ok(None),
            Some(Value::Text(text)) => std::str::from_utf8(text)
                .map(Some)
                .map_err(|error| format!("field {name}: {error}")),
            Some(other) => Err(wrong(name, "string", other)),
        }
    }

    /// An array of bytes, or none; an error where the value has another type.
    pub fn array(&self, name: &str) -> Result<Option<&[u8]>, String> {
        match self.find(name) {
            None => Ok(None),
            Some(Value::Array { code, bytes }) if *code == ARRAYS + 2 => Ok(Some(bytes)),
            Some(other) => Err(wrong(name, "uint8 array", other)),
        }
    }

    /// The names, in order.
    pub fn names(&self) -> Vec<String> {
        self.entries.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// The bytes of the list: padding is zero, after names too.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in &self.entries {
            let bytes = value.bytes();
            let name_length = name.len() + 1;
            assert!(name_length <= 255, "field name of {name_length} bytes");
            out.push(value.code());
            out.push(name_length as u8);
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            // A name's NUL is the first byte of its padding, or of eight more.
            for (part, length) in [(name, name_length), (&bytes, bytes.len())] {
                let end = out.len() + padded(length);
                out.extend_from_slice(part);
                out.resize(end, 0);
            }
        }
        out
    }

    /// Reads a list, entry by entry; the first that is not as section 1.2 demands is named.
    pub fn decode(mut rest: &[u8]) -> Result<List, String> {
        let mut list = List::new();
        while let Some(&head) = rest.first() {
            if head == 0 {
                break;
            }
            let number = list.entries.len() + 1;
            let (entry, used) =
                decode_entry(rest).map_err(|error| format!("entry {number}: {error}"))?;
            list.entries.push(entry);
            rest = &rest[used..];
        }
        Ok(list)
    }
}

fn decode_entry(bytes: &[u8]) -> Result<((Vec<u8>, Value), usize), String> {
    if bytes.len() < FIXED + 2 {
        return Err(format!("{} bytes left, fewer than an entry has", bytes.len()));
    }
    let code = bytes[0];
    if code & 0x80 != 0 {
        return Err("host byte order on the wire".to_string());
    }
    if code > STRING {
        return Err(format!("type {code}"));
    }
    let name_length = usize::from(bytes[1]);
    let data_length = u32::from_le_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]) as usize;
    if name_length < 2 {
        return Err(format!("name length {name_length}"));
    }
    let name_field =
        bytes[FIXED..].get(..padded(name_length)).ok_or("the name does not fit".to_string())?;
    let name = &name_field[..name_length];
    if name.iter().position(|byte| *byte == 0) != Some(name_length - 1) {
        return Err("the name's NUL is not at its end".to_string());
    }
    let name = &name[..name_length - 1];
    let said = String::from_utf8_lossy(name).into_owned();
    let data_start = FIXED + name_field.len();
    if data_length == 0 {
        return Err(format!("{said}: data length 0"));
    }
    let field = bytes[data_start..]
        .get(..padded(data_length))
        .ok_or_else(|| format!("{said}: {data_length} bytes of data do not fit"))?;
    let data = &field[..data_length];
    if field[data_length..].iter().any(|byte| *byte != 0) {
        // Section 1.2: only the padding of names is left as it was.
        return Err(format!("{said}: padding after the value is not zero"));
    }
    let value = match code {
        STRING => {
            if data.iter().position(|byte| *byte == 0) != Some(data_length - 1) {
                return Err(format!("{said}: the string's NUL is not at its end"));
            }
            Value::Text(data[..data_length - 1].to_vec())
        }
        9..=16 => {
            let element = 1usize << ((code - ARRAYS - 1) / 2);
            if !data_length.is_multiple_of(element) {
                return Err(format!("{said}: {data_length} bytes are no array of type {code}"));
            }
            Value::Array { code, bytes: data.to_vec() }
        }
        _ => Value::scalar(code, data)
            .ok_or_else(|| format!("{said}: {data_length} bytes for type {code}"))?,
    };
    Ok(((name.to_vec(), value), data_start + field.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// The vectors of section 1.6, without the packet's five bytes.
    fn vectors() -> Vec<(List, Vec<u8>)> {
        let list = |fill: &dyn Fn(&mut List)| {
            let mut list = List::new();
            fill(&mut list);
            list
        };
        vec![
            (
                list(&|l| l.put_uint8("cmd", 5)),
                hex("02 04 01000000 636d640000000000 0500000000000000"),
            ),
            (
                list(&|l| {
                    l.put_text("resource", "data");
                    l.put_uint8("version", 2);
                }),
                hex("11 09 05000000 7265736f757263650000000000000000 6461746100000000
                     02 08 01000000 76657273696f6e00 0200000000000000"),
            ),
            (
                list(&|l| {
                    l.put_uint8("version", 2);
                    l.put_array("token", &(0..16).collect::<Vec<u8>>());
                }),
                hex("02 08 01000000 76657273696f6e00 0200000000000000
                     0a 06 10000000 746f6b656e000000 000102030405060708090a0b0c0d0e0f"),
            ),
            (
                list(&|l| {
                    l.put_uint8("cmd", 2);
                    l.put_uint64("seq", 0x0102_0304_0506_0708);
                    l.put_uint64("offset", 4096);
                    l.put_uint64("length", 512);
                    l.put_uint8("memsync", 1);
                    l.put_uint32("size", 512);
                }),
                hex("02 04 01000000 636d640000000000 0200000000000000
                     08 04 08000000 7365710000000000 0807060504030201
                     08 07 08000000 6f66667365740000 0010000000000000
                     08 07 08000000 6c656e6774680000 0002000000000000
                     02 08 01000000 6d656d73796e6300 0100000000000000
                     06 05 04000000 73697a6500000000 0002000000000000"),
            ),
            (
                list(&|l| {
                    l.put_uint64("seq", 9);
                    l.put_int16("error", 5);
                }),
                hex("08 04 08000000 7365710000000000 0900000000000000
                     03 06 02000000 6572726f72000000 0500000000000000"),
            ),
            (
                list(&|l| l.put_int8("virgin", 1)),
                hex("01 07 01000000 76697267696e0000 0100000000000000"),
            ),
            (
                list(&|l| l.put_int32("extentsize", 2 << 20)),
                hex("05 0b 04000000 657874656e7473697a65000000000000 0000200000000000"),
            ),
        ]
    }

    #[test]
    fn the_vectors_both_ways() {
        let lengths: Vec<usize> = vectors().iter().map(|(_, bytes)| bytes.len()).collect();
        assert_eq!(lengths, [22, 52, 52, 132, 44, 22, 30]);
        for (list, bytes) in vectors() {
            assert_eq!(list.encode(), bytes, "{list:?}");
            assert_eq!(List::decode(&bytes).unwrap(), list);
        }
    }

    #[test]
    fn a_zero_type_ends_the_list_and_any_cut_elsewhere_is_refused() {
        for (list, bytes) in vectors() {
            let mut block = bytes.clone();
            block.resize(4096, 0);
            assert_eq!(List::decode(&block).unwrap(), list);
            let whole: Vec<usize> = (1..=list.entries.len())
                .map(|count| List { entries: list.entries[..count].to_vec() }.encode().len())
                .collect();
            for end in 1..bytes.len() {
                let read = List::decode(&bytes[..end]);
                assert_eq!(read.is_ok(), whole.contains(&end), "cut at {end}: {read:?}");
            }
        }
    }

    #[test]
    fn each_rule_of_an_entry() {
        let good = hex("03 06 02000000 6572726f72000000 0500000000000000");
        let broken = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            List::decode(&bytes).unwrap_err()
        };
        for (at, byte, says) in [
            (0, 0x83, "byte order"),
            (0, 18, "type 18"),
            (0, 1, "2 bytes for type 1"),
            (0, 15, "no array"),
            (1, 0, "name length 0"),
            (1, 1, "name length 1"),
            (1, 5, "NUL"),
            (1, 7, "NUL"),
            (1, 255, "name does not fit"),
            (2, 0, "data length 0"),
            (2, 9, "do not fit"),
            (5, 255, "do not fit"),
            (8, 0, "NUL"),
            (21, 1, "padding"),
        ] {
            assert!(broken(at, byte).contains(says), "{at}={byte}: {}", broken(at, byte));
        }
        // What fills a name up is whatever was in memory.
        let mut junk = good.clone();
        junk[13] = 0xee;
        assert_eq!(List::decode(&junk).unwrap().int16("error"), Ok(5));
    }

    #[test]
    fn the_first_of_equal_names_and_only_its_own_type() {
        let mut list = List::new();
        list.put_uint8("a", 1);
        list.put_uint8("a", 2);
        assert_eq!(list.uint8("a"), Ok(1));
        assert!(list.uint64("a").is_err());
        assert!(list.text("a").is_err());
        assert_eq!(list.uint64("b"), Ok(0));
        assert_eq!(list.array("b"), Ok(None));
    }
}
