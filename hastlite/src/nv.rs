//! nv lists: named, typed values one after the other, as FreeBSD's hastd puts them on the wire and
//! on disk. Reading borrows and copies nothing; writing appends to a buffer. What the names mean is
//! the business of who asks.
//!
//! An entry is packed and little-endian: a type byte, the length of the name with its NUL (one
//! byte), the length of the value (four), the name and the value, each filled up to a multiple of
//! eight. There is no count; the end of the bytes ends the list, and so does a type byte of 0.
//! Order means nothing, and of two entries of one name the first holds.
//!
//! Source: FreeBSD `sbin/hastd/nv.h`, 12.1 to 15.

mod error;
#[cfg(test)]
mod tests;
mod value;

pub use error::NvError;
pub use value::Value;

/// The most bytes that we take as a list. Real ones have less than 1 KiB; FreeBSD has no limit.
pub const MAX: usize = 64 * 1024;

/// Type, length of the name, length of the value.
const HEADER: usize = 6;

/// What a value is. The number is the one of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One byte, signed.
    Int8 = 1,
    /// One byte.
    Uint8,
    /// Two bytes, signed.
    Int16,
    /// Two bytes.
    Uint16,
    /// Four bytes, signed.
    Int32,
    /// Four bytes.
    Uint32,
    /// Eight bytes, signed.
    Int64,
    /// Eight bytes.
    Uint64,
    /// Any number of [`Kind::Int8`], but not none.
    Int8Array,
    /// As above.
    Uint8Array,
    /// As above.
    Int16Array,
    /// As above.
    Uint16Array,
    /// As above.
    Int32Array,
    /// As above.
    Uint32Array,
    /// As above.
    Int64Array,
    /// As above.
    Uint64Array,
    /// Bytes and a NUL.
    String,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Kind; 17] = [
        Kind::Int8,
        Kind::Uint8,
        Kind::Int16,
        Kind::Uint16,
        Kind::Int32,
        Kind::Uint32,
        Kind::Int64,
        Kind::Uint64,
        Kind::Int8Array,
        Kind::Uint8Array,
        Kind::Int16Array,
        Kind::Uint16Array,
        Kind::Int32Array,
        Kind::Uint32Array,
        Kind::Int64Array,
        Kind::Uint64Array,
        Kind::String,
    ];

    fn of(number: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Bytes of one element.
    fn width(self) -> usize {
        match self {
            Kind::Int8 | Kind::Uint8 | Kind::Int8Array | Kind::Uint8Array | Kind::String => 1,
            Kind::Int16 | Kind::Uint16 | Kind::Int16Array | Kind::Uint16Array => 2,
            Kind::Int32 | Kind::Uint32 | Kind::Int32Array | Kind::Uint32Array => 4,
            Kind::Int64 | Kind::Uint64 | Kind::Int64Array | Kind::Uint64Array => 8,
        }
    }

    fn is_scalar(self) -> bool {
        (self as u8) < Kind::Int8Array as u8
    }

    /// Whether `bytes` can be a value of this kind.
    fn check(self, bytes: &[u8]) -> Result<(), NvError> {
        match bytes.split_last() {
            None => Err(NvError::EmptyValue),
            Some((last, text)) if self == Kind::String => match (*last, text.contains(&0)) {
                (0, false) => Ok(()),
                (0, true) => Err(NvError::StringNul),
                _ => Err(NvError::StringEnd),
            },
            Some(_) if self.is_scalar() && bytes.len() != self.width() => {
                Err(NvError::ScalarLength { kind: self, length: bytes.len() })
            }
            Some(_) if !bytes.len().is_multiple_of(self.width()) => {
                Err(NvError::ArrayLength { kind: self, length: bytes.len() })
            }
            Some(_) => Ok(()),
        }
    }
}

/// One entry, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name, without the NUL. Any bytes but NUL.
    pub name: &'a [u8],
    /// What it is.
    pub kind: Kind,
    /// The value as it lies there: little-endian, a string with its NUL.
    pub bytes: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The bytes, if they are of that kind.
    ///
    /// # Errors
    /// [`NvError::WrongKind`].
    pub fn of(&self, kind: Kind) -> Result<&'a [u8], NvError> {
        if self.kind == kind {
            return Ok(self.bytes);
        }
        let name = self.name.escape_ascii().to_string();
        Err(NvError::WrongKind { name, wanted: kind, found: self.kind })
    }

    fn array<const N: usize>(&self, kind: Kind) -> Result<[u8; N], NvError> {
        // Of the right kind it has the right length: it was checked.
        self.of(kind)?.try_into().map_err(|_| NvError::ScalarLength { kind, length: N })
    }

    /// The string, without its NUL.
    ///
    /// # Errors
    /// [`NvError::WrongKind`]; [`NvError::NotUtf8`], as our names and texts are.
    pub fn string(&self) -> Result<&'a str, NvError> {
        let bytes = self.of(Kind::String)?;
        let text = bytes.strip_suffix(&[0]).unwrap_or(bytes);
        str::from_utf8(text).map_err(|_| NvError::NotUtf8(self.name.escape_ascii().to_string()))
    }
}

/// The entries of a list, each checked as it is come to. After an error, nothing more.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
}

/// Cuts off `length` bytes and what fills them up to a multiple of eight.
#[inline]
fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (field, after) = rest.split_at_checked(length.checked_next_multiple_of(8)?)?;
    *rest = after;
    field.get(..length)
}

impl<'a> Entries<'a> {
    /// What `bytes` hold; nothing has been checked yet.
    pub fn of(bytes: &'a [u8]) -> Entries<'a> {
        Entries { rest: bytes }
    }

    #[inline]
    fn step(&mut self) -> Result<Option<Entry<'a>>, NvError> {
        let rest = std::mem::take(&mut self.rest);
        match rest.first() {
            None | Some(0) => return Ok(None),
            Some(number) if number & 0x80 != 0 => return Err(NvError::HostOrder),
            Some(_) => {}
        }
        let &[number, name_length, a, b, c, d, ref fields @ ..] = rest else {
            return Err(NvError::Truncated);
        };
        let kind = Kind::of(number).ok_or(NvError::UnknownKind(number))?;
        if name_length < 2 {
            return Err(NvError::NameLength(name_length));
        }
        let mut fields = fields;
        let name = take(&mut fields, usize::from(name_length)).ok_or(NvError::NameTruncated)?;
        let name = match name.iter().position(|byte| *byte == 0) {
            Some(end) if end + 1 == name.len() => &name[..end],
            Some(_) => return Err(NvError::NameNul),
            None => return Err(NvError::NameEnd),
        };
        let length = u32::from_le_bytes([a, b, c, d]);
        let bytes = usize::try_from(length)
            .ok()
            .and_then(|length| take(&mut fields, length))
            .ok_or(NvError::ValueTruncated(length))?;
        kind.check(bytes)?;
        self.rest = fields;
        Ok(Some(Entry { name, kind, bytes }))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, NvError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// The next entry of what has been checked. Where it had not been, the list ends.
#[inline]
fn sound<'a>(rest: &mut &'a [u8]) -> Option<Entry<'a>> {
    let &[number, name_length, a, b, c, d, ref fields @ ..] = *rest else { return None };
    let mut fields = fields;
    let (_, name) = take(&mut fields, name_length.into())?.split_last()?;
    let bytes = take(&mut fields, u32::from_le_bytes([a, b, c, d]) as usize)?;
    *rest = fields;
    Some(Entry { name, kind: Kind::of(number)?, bytes })
}

/// A list that has been read: every entry of it is sound.
#[derive(Clone, Copy, Debug)]
pub struct Nv<'a> {
    bytes: &'a [u8],
}

macro_rules! integer {
    ($get:ident, $put:ident, $type:ident, $kind:ident) => {
        impl<'a> Nv<'a> {
            /// The number of that name. FreeBSD takes an absent one as 0.
            ///
            /// # Errors
            /// [`NvError::WrongKind`] if the name is there with another type.
            pub fn $get(self, name: &str) -> Result<Option<$type>, NvError> {
                self.get(name).map(|entry| entry.$type()).transpose()
            }
        }

        impl<'a> Entry<'a> {
            /// The number.
            ///
            /// # Errors
            /// [`NvError::WrongKind`].
            #[inline]
            pub fn $type(&self) -> Result<$type, NvError> {
                self.array(Kind::$kind).map($type::from_le_bytes)
            }
        }

        /// Appends a number. The name is ours: 1 to 254 bytes, none of them NUL.
        #[inline]
        pub fn $put(out: &mut Vec<u8>, name: &'static str, value: $type) {
            put_bytes(out, Kind::$kind, name.as_bytes(), &value.to_le_bytes());
        }
    };
}

integer!(get_i8, put_i8, i8, Int8);
integer!(get_u8, put_u8, u8, Uint8);
integer!(get_i16, put_i16, i16, Int16);
integer!(get_u16, put_u16, u16, Uint16);
integer!(get_i32, put_i32, i32, Int32);
integer!(get_u32, put_u32, u32, Uint32);
integer!(get_i64, put_i64, i64, Int64);
integer!(get_u64, put_u64, u64, Uint64);

impl<'a> Nv<'a> {
    /// Checks all of `bytes` up to the list's end; what lies behind a type byte of 0 is ignored.
    ///
    /// # Errors
    /// The first fault, each its own.
    pub fn decode(bytes: &'a [u8]) -> Result<Nv<'a>, NvError> {
        if bytes.len() > MAX {
            return Err(NvError::TooLong(bytes.len()));
        }
        let mut entries = Entries::of(bytes);
        while entries.step()?.is_some() {}
        Ok(Nv { bytes })
    }

    /// What was once checked, so that it need not be again. If it was not, reading ends early.
    pub(crate) fn checked(bytes: &'a [u8]) -> Nv<'a> {
        Nv { bytes }
    }

    /// All entries, as they came.
    #[inline]
    pub fn entries(self) -> impl Iterator<Item = Entry<'a>> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || sound(&mut rest))
    }

    /// The first entry of that name.
    pub fn get(self, name: &str) -> Option<Entry<'a>> {
        self.entries().find(|entry| entry.name == name.as_bytes())
    }

    /// Whether the name is there, whatever its value: so are flags told.
    pub fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The string of that name.
    ///
    /// # Errors
    /// [`NvError::WrongKind`], [`NvError::NotUtf8`].
    pub fn get_string(self, name: &str) -> Result<Option<&'a str>, NvError> {
        self.get(name).map(|entry| entry.string()).transpose()
    }

    /// The array of bytes of that name.
    ///
    /// # Errors
    /// [`NvError::WrongKind`].
    pub fn get_bytes(self, name: &str) -> Result<Option<&'a [u8]>, NvError> {
        self.get(name).map(|entry| entry.of(Kind::Uint8Array)).transpose()
    }
}

/// Appends one entry whose parts are known to be sound.
#[inline]
fn put_bytes(out: &mut Vec<u8>, kind: Kind, name: &[u8], value: &[u8]) {
    debug_assert!((1..=254).contains(&name.len()) && !name.contains(&0), "a name of ours");
    let name_field = (name.len() + 1).next_multiple_of(8);
    let at = out.len();
    // The NULs and what fills up are all zero; FreeBSD leaves old memory behind the name.
    out.resize(at + HEADER + name_field + value.len().next_multiple_of(8), 0);
    let entry = &mut out[at..];
    entry[0] = kind as u8;
    entry[1] = name.len() as u8 + 1;
    entry[2..HEADER].copy_from_slice(&(value.len() as u32).to_le_bytes());
    entry[HEADER..HEADER + name.len()].copy_from_slice(name);
    let value_at = HEADER + name_field;
    entry[value_at..value_at + value.len()].copy_from_slice(value);
}

/// Appends an entry of any name and kind.
///
/// # Errors
/// What a list cannot say: [`NvError::Name`], [`NvError::EmptyValue`], [`NvError::StringNul`],
/// [`NvError::TooLong`]. Nothing is appended then.
pub fn put(out: &mut Vec<u8>, name: &[u8], value: &Value) -> Result<(), NvError> {
    put_checked(out, value.kind(), name, &value.bytes())
}

/// Appends a string.
///
/// # Errors
/// As [`put`].
pub fn put_string(out: &mut Vec<u8>, name: &str, text: &str) -> Result<(), NvError> {
    let bytes: Vec<u8> = text.bytes().chain([0]).collect();
    put_checked(out, Kind::String, name.as_bytes(), &bytes)
}

/// Appends an array of bytes.
///
/// # Errors
/// As [`put`].
pub fn put_u8_array(out: &mut Vec<u8>, name: &str, bytes: &[u8]) -> Result<(), NvError> {
    put_checked(out, Kind::Uint8Array, name.as_bytes(), bytes)
}

fn put_checked(out: &mut Vec<u8>, kind: Kind, name: &[u8], value: &[u8]) -> Result<(), NvError> {
    if !(1..=254).contains(&name.len()) || name.contains(&0) {
        return Err(NvError::Name(name.escape_ascii().to_string()));
    }
    if value.len() > MAX {
        return Err(NvError::TooLong(value.len()));
    }
    kind.check(value)?;
    put_bytes(out, kind, name, value);
    Ok(())
}
