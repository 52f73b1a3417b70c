//! A value of an nv list of any type, for who does not know beforehand what it will be: tests,
//! fuzzers and whoever prints a list. The daemon asks for the types that it wants.

use super::{Entry, Kind};

macro_rules! values {
    ($($scalar:ident, $array:ident, $type:ident;)*) => {
        /// A value, owned.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Value {
            $(
                /// One number.
                $scalar($type),
                /// Numbers; none cannot be written.
                $array(Vec<$type>),
            )*
            /// Bytes, none of them NUL; the one at the end is not told.
            String(Vec<u8>),
        }

        impl Value {
            /// What it is.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Value::$scalar(_) => Kind::$scalar, Value::$array(_) => Kind::$array,)*
                    Value::String(_) => Kind::String,
                }
            }

            /// As it is written, a string with its NUL.
            pub(super) fn bytes(&self) -> Vec<u8> {
                match self {
                    $(
                        Value::$scalar(number) => number.to_le_bytes().to_vec(),
                        Value::$array(numbers) => {
                            numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
                        }
                    )*
                    Value::String(text) => text.iter().copied().chain([0]).collect(),
                }
            }
        }

        impl Entry<'_> {
            /// The value, copied.
            pub fn value(&self) -> Value {
                match self.kind {
                    $(
                        Kind::$scalar => {
                            let mut number = [0; size_of::<$type>()];
                            let length = number.len().min(self.bytes.len());
                            number[..length].copy_from_slice(&self.bytes[..length]);
                            Value::$scalar($type::from_le_bytes(number))
                        }
                        Kind::$array => {
                            let (numbers, _) = self.bytes.as_chunks();
                            let numbers = numbers.iter().map(|bytes| $type::from_le_bytes(*bytes));
                            Value::$array(numbers.collect())
                        }
                    )*
                    Kind::String => {
                        let text = self.bytes.strip_suffix(&[0]).unwrap_or(self.bytes);
                        Value::String(text.to_vec())
                    }
                }
            }
        }
    };
}

values! {
    Int8, Int8Array, i8;
    Uint8, Uint8Array, u8;
    Int16, Int16Array, i16;
    Uint16, Uint16Array, u16;
    Int32, Int32Array, i32;
    Uint32, Uint32Array, u32;
    Int64, Int64Array, i64;
    Uint64, Uint64Array, u64;
}
