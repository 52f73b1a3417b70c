//! One way to lay out a payload, so that every crate's messages look alike: integers big-endian,
//! variable bytes behind their length as u16. What the fields mean is each crate's.

use std::net::Ipv4Addr;

use super::Error;

/// Takes a payload apart from its beginning. Every step is checked: past the end is
/// [`Error::Malformed`], and nothing panics.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Begins at the first byte of `payload`.
    pub fn new(payload: &'a [u8]) -> Self {
        Reader { left: payload }
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`] if there are fewer, as for every step below.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, left) = self.left.split_at_checked(length).ok_or(ENDS_EARLY)?;
        self.left = left;
        Ok(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (chunk, left) = self.left.split_first_chunk::<N>().ok_or(ENDS_EARLY)?;
        self.left = left;
        Ok(*chunk)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Error> {
        self.chunk().map(u8::from_be_bytes)
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self) -> Result<u16, Error> {
        self.chunk().map(u16::from_be_bytes)
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self) -> Result<u32, Error> {
        self.chunk().map(u32::from_be_bytes)
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self) -> Result<u64, Error> {
        self.chunk().map(u64::from_be_bytes)
    }

    /// Eight bytes, big-endian, two's complement.
    pub fn i64(&mut self) -> Result<i64, Error> {
        self.chunk().map(i64::from_be_bytes)
    }

    /// One byte that is 0 or 1; any other is an error.
    pub fn bool(&mut self) -> Result<bool, Error> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::Malformed("neither yes nor no")),
        }
    }

    /// Four bytes in network order.
    pub fn ipv4(&mut self) -> Result<Ipv4Addr, Error> {
        self.chunk::<4>().map(Ipv4Addr::from)
    }

    /// Bytes behind their length (u16).
    pub fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// The same, which must be UTF-8.
    pub fn str(&mut self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Error::Malformed("text is not UTF-8"))
    }

    /// Everything that is left, maybe nothing.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.left)
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// The last step of every `decode`: bytes that nobody asked for are an error.
    pub fn finish(self) -> Result<(), Error> {
        if self.left.is_empty() { Ok(()) } else { Err(Error::Malformed("bytes after its end")) }
    }
}

const ENDS_EARLY: Error = Error::Malformed("the payload ends early");

/// Appends the fields of a payload, in the layout [`Reader`] takes apart.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends to `payload`.
    pub fn new(payload: &'a mut Vec<u8>) -> Self {
        Writer { out: payload }
    }

    /// Bytes as they are; the reader must know how many.
    pub fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.put(&[value])
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    /// Eight bytes, big-endian, two's complement.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    /// One byte, 0 or 1.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    /// Four bytes in network order.
    pub fn ipv4(&mut self, value: Ipv4Addr) -> &mut Self {
        self.put(&value.octets())
    }

    /// Bytes behind their length (u16). More than 65,535 have no length to say; they are put all
    /// the same, because a payload that long is over [`super::MAX_PAYLOAD`] and is never sent.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.u16(u16::try_from(value.len()).unwrap_or(u16::MAX)).put(value)
    }

    /// Text behind its length (u16), as [`Writer::bytes`].
    pub fn str(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }
}

/// As much of a text as may be so many bytes, without half of a character at its end: what is said
/// in words, a reason say, is cut rather than not said.
pub fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        for (most, left) in [(0, ""), (1, "a"), (2, "a"), (3, "aé"), (4, "aéb"), (9, "aéb")] {
            assert_eq!(cut("aéb", most), left, "{most}");
        }
    }

    #[derive(Clone, Debug, PartialEq)]
    enum Field {
        U8(u8),
        U16(u16),
        U32(u32),
        U64(u64),
        I64(i64),
        Bool(bool),
        Ipv4(Ipv4Addr),
        Bytes(Vec<u8>),
        Str(String),
        Take(Vec<u8>),
    }

    impl Field {
        fn write(&self, w: &mut Writer<'_>) {
            match self {
                Field::U8(v) => w.u8(*v),
                Field::U16(v) => w.u16(*v),
                Field::U32(v) => w.u32(*v),
                Field::U64(v) => w.u64(*v),
                Field::I64(v) => w.i64(*v),
                Field::Bool(v) => w.bool(*v),
                Field::Ipv4(v) => w.ipv4(*v),
                Field::Bytes(v) => w.bytes(v),
                Field::Str(v) => w.str(v),
                Field::Take(v) => w.put(v),
            };
        }

        /// Reads a field of the same type and, for bytes without a length, the same length.
        fn read_alike(&self, r: &mut Reader<'_>) -> Result<Field, Error> {
            Ok(match self {
                Field::U8(_) => Field::U8(r.u8()?),
                Field::U16(_) => Field::U16(r.u16()?),
                Field::U32(_) => Field::U32(r.u32()?),
                Field::U64(_) => Field::U64(r.u64()?),
                Field::I64(_) => Field::I64(r.i64()?),
                Field::Bool(_) => Field::Bool(r.bool()?),
                Field::Ipv4(_) => Field::Ipv4(r.ipv4()?),
                Field::Bytes(_) => Field::Bytes(r.bytes()?.to_owned()),
                Field::Str(_) => Field::Str(r.str()?.to_owned()),
                Field::Take(v) => Field::Take(r.take(v.len())?.to_owned()),
            })
        }
    }

    fn field() -> impl Strategy<Value = Field> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..300);
        prop_oneof![
            any::<u8>().prop_map(Field::U8),
            any::<u16>().prop_map(Field::U16),
            any::<u32>().prop_map(Field::U32),
            any::<u64>().prop_map(Field::U64),
            any::<i64>().prop_map(Field::I64),
            any::<bool>().prop_map(Field::Bool),
            any::<u32>().prop_map(|v| Field::Ipv4(v.into())),
            bytes().prop_map(Field::Bytes),
            ".{0,40}".prop_map(Field::Str),
            bytes().prop_map(Field::Take),
        ]
    }

    proptest! {
        #[test]
        fn fields_come_back_as_they_went(fields in prop::collection::vec(field(), 0..20)) {
            let mut payload = Vec::new();
            for field in &fields {
                field.write(&mut Writer::new(&mut payload));
            }
            let mut r = Reader::new(&payload);
            for field in &fields {
                prop_assert_eq!(&field.read_alike(&mut r).unwrap(), field);
            }
            prop_assert!(r.is_empty());
            r.finish().unwrap();
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            fields in prop::collection::vec(field(), 0..20),
        ) {
            let mut r = Reader::new(&payload);
            for field in &fields {
                let before = r.clone().rest().len();
                match field.read_alike(&mut r) {
                    Ok(_) => prop_assert!(r.clone().rest().len() <= before),
                    Err(e) => prop_assert!(matches!(e, Error::Malformed(_))),
                }
            }
            let left = r.clone().rest().len();
            prop_assert_eq!(r.finish().is_ok(), left == 0);
        }

        #[test]
        fn a_payload_cut_short_is_never_read_to_its_end(
            fields in prop::collection::vec(field(), 1..8), cut: prop::sample::Index
        ) {
            let mut payload = Vec::new();
            for field in &fields {
                field.write(&mut Writer::new(&mut payload));
            }
            prop_assume!(!payload.is_empty());
            let mut r = Reader::new(payload.get(..cut.index(payload.len())).unwrap());
            let read = fields.iter().take_while(|f| f.read_alike(&mut r).is_ok()).count();
            prop_assert!(read < fields.len());
        }
    }

    #[test]
    fn what_only_looks_like_a_value_is_refused() {
        assert!(matches!(Reader::new(&[2]).bool(), Err(Error::Malformed(_))));
        assert!(matches!(Reader::new(&[0, 1, 0xff]).str(), Err(Error::Malformed(_))));
        assert!(matches!(Reader::new(&[0, 2, 0]).bytes(), Err(Error::Malformed(_))));
        assert!(matches!(Reader::new(&[0]).finish(), Err(Error::Malformed(_))));
    }

    #[test]
    fn bytes_without_a_length_to_say_are_over_the_limit_anyway() {
        let mut payload = Vec::new();
        Writer::new(&mut payload).bytes(&vec![0; 65536]);
        assert!(payload.len() > crate::unix::MAX_PAYLOAD);
    }
}
