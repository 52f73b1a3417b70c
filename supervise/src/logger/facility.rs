//! The facilities of syslog, by name; syslog(3), RFC 5424.

use std::str::FromStr;

/// Which part of the system a line is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

/// What a daemon's lines are from, unless somebody says otherwise.
pub const DAEMON: Facility = Facility(3);

const NAMES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

impl Facility {
    /// The number in front of a line: facility and severity (0 to 7) in one.
    pub(crate) fn priority(self, severity: u8) -> u8 {
        self.0 << 3 | severity & 7
    }
}

impl FromStr for Facility {
    type Err = String;

    fn from_str(name: &str) -> Result<Facility, String> {
        match NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, number)) => Ok(Facility(*number)),
            None => Err(format!("{name}: no facility of syslog")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_syslog_s() {
        assert_eq!("daemon".parse(), Ok(DAEMON));
        assert_eq!(DAEMON.priority(6), 30);
        assert_eq!("local7".parse::<Facility>().map(|f| f.priority(3)), Ok(187));
        assert!("".parse::<Facility>().is_err() && "LOCAL0".parse::<Facility>().is_err());
    }
}
