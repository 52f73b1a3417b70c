//! What the program learns of the call that it runs for.

use std::ffi::{OsStr, OsString};

/// One call of the program: its arguments. Everything else of the caller's is where a program
/// always finds it: `std::env::vars_os`, standard input, output and error.
#[derive(Clone, Debug)]
pub struct Call {
    argv: Vec<OsString>,
    served: bool,
}

impl Call {
    pub(super) fn served(argv: Vec<OsString>) -> Call {
        Call { argv, served: true }
    }

    /// Of a program that was started in the ordinary way.
    pub(super) fn alone() -> Call {
        Call { argv: std::env::args_os().collect(), served: false }
    }

    /// All words: the program (INTERP) as the caller named it, the script if there is one, the
    /// arguments. It is what `std::env::args_os` says of a program that runs alone; of one that is
    /// served that still says how its server was started.
    pub fn argv(&self) -> &[OsString] {
        &self.argv
    }

    /// The script: the first word after the program.
    pub fn script(&self) -> Option<&OsStr> {
        self.argv.get(1).map(OsString::as_os_str)
    }

    /// The words after the script, which the server has not been told of before.
    pub fn args(&self) -> &[OsString] {
        self.argv.get(2..).unwrap_or_default()
    }

    /// Whether a server runs this call; if not, the program was started for it alone.
    pub fn is_served(&self) -> bool {
        self.served
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart() {
        let call = |words: &[&str]| Call::served(words.iter().map(OsString::from).collect());
        let full = call(&["prog", "script", "a", "b"]);
        assert_eq!(full.argv().len(), 4);
        assert_eq!(full.script(), Some(OsStr::new("script")));
        assert_eq!(full.args(), ["a", "b"]);
        let bare = call(&["prog"]);
        assert_eq!((bare.script(), bare.args()), (None, &[][..]));
        assert_eq!((call(&[]).script(), call(&[]).args()), (None, &[][..]));
        assert!(bare.is_served() && !Call::alone().is_served());
    }
}
