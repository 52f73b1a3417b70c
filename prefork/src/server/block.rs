//! The bytes of a request, made into what a process has: the environment as an array of pointers
//! into those very bytes, and the words of the command line. It says the same as
//! [`crate::protocol::Request`], without a copy of each string: this is done once a call.

use std::ffi::{OsString, c_char};
use std::os::unix::ffi::OsStringExt;

use super::inherited::VARIABLE;
use crate::protocol::Malformed;

/// A caller's environment and arguments.
#[derive(Debug)]
pub(super) struct Block {
    /// Strings that end with a zero byte each.
    bytes: Vec<u8>,
    /// Where those begin that are entries of the environment.
    entries: Vec<usize>,
    arguments: Vec<OsString>,
}

impl Block {
    /// Reads a request. The variable that has made this process a server is left out: what the
    /// program may start is none.
    ///
    /// # Errors
    /// The bytes are not what a client sends.
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Block, Malformed> {
        let mut entries = Vec::with_capacity(128);
        let mut arguments = Vec::new();
        let mut environment = true;
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let fault = if environment { Malformed::Environment } else { Malformed::Unfinished };
            let length = rest.iter().position(|byte| *byte == 0).ok_or(fault)?;
            let string = rest.get(..length).unwrap_or_default();
            match (environment, string) {
                (true, []) => environment = false,
                (true, entry) if !entry.contains(&b'=') => return Err(Malformed::Entry),
                (true, entry) if is_ours(entry) => {}
                (true, _) => entries.push(at),
                (false, word) => arguments.push(OsString::from_vec(word.to_vec())),
            }
            at += length + 1;
        }
        if environment {
            Err(Malformed::Environment)
        } else {
            Ok(Block { bytes, entries, arguments })
        }
    }

    /// The environment as execve(2) leaves it, entry by entry as the caller has it, doubles and
    /// strange names too; and the words. The memory is never freed: it becomes the process's own.
    pub(super) fn leak(self) -> (&'static mut [*mut c_char], Vec<OsString>) {
        let bytes = self.bytes.leak();
        let start: *mut c_char = bytes.as_mut_ptr().cast();
        let mut pointers = Vec::with_capacity(self.entries.len() + 1);
        // Each lies inside of `bytes`, as `parse` has seen.
        pointers.extend(self.entries.iter().map(|at| start.wrapping_add(*at)));
        pointers.push(std::ptr::null_mut());
        (pointers.leak(), self.arguments)
    }
}

fn is_ours(entry: &[u8]) -> bool {
    entry.strip_prefix(VARIABLE.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
}

#[cfg(test)]
mod tests {
    use std::ffi::{CStr, OsStr};
    use std::os::unix::ffi::OsStrExt;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::Request;

    fn entries(block: Block) -> (Vec<Vec<u8>>, Vec<OsString>) {
        let (pointers, words) = block.leak();
        let (last, entries) = pointers.split_last().expect("at least the last");
        assert!(last.is_null());
        // SAFETY: all but the last point at strings that end, and that nobody frees.
        let text = |p: &*mut c_char| unsafe { CStr::from_ptr(*p) }.to_bytes().to_vec();
        (entries.iter().map(text).collect(), words)
    }

    #[test]
    fn what_a_caller_has_is_kept_but_for_the_servers_own() {
        let bytes = b"A=1\0A=2\0=C:=x\0E=\0PREFORK_INTERP=v1\0PREFORK_INTERPX=1\0\0prog\0\0\xff\0";
        let (entries, words) = entries(Block::parse(bytes.to_vec()).expect("good"));
        let expected: [&[u8]; 5] = [b"A=1", b"A=2", b"=C:=x", b"E=", b"PREFORK_INTERPX=1"];
        assert_eq!(entries, expected);
        assert_eq!(words, [OsStr::new("prog"), OsStr::new(""), OsStr::from_bytes(b"\xff")]);
    }

    proptest! {
        #[test]
        fn it_says_what_a_request_says(bytes in prop::collection::vec(
            prop_oneof![Just(0u8), Just(b'='), Just(b'a'), any::<u8>()], 0..60,
        )) {
            match (Block::parse(bytes.clone()), Request::decode(&bytes)) {
                (Ok(block), Ok(request)) => {
                    let (entries, words) = entries(block);
                    let joined = |(name, value): &(OsString, OsString)| {
                        [name.as_bytes(), b"=", value.as_bytes()].concat()
                    };
                    let expected: Vec<_> = request.environment.iter().map(joined).collect();
                    prop_assert_eq!(entries, expected);
                    prop_assert_eq!(words, request.arguments);
                }
                (Err(ours), Err(theirs)) => prop_assert_eq!(ours, theirs),
                (ours, theirs) => prop_assert!(false, "{ours:?} but {theirs:?}"),
            }
        }
    }
}
