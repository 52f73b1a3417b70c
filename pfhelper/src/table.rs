//! The name of a firewall table as the administrator writes it after -A, -C or -L.
//!
//! A name is checked here as far as its text goes; whether the firewall has such a table, and
//! whether that table can hold addresses, only the handler can tell.

use std::fmt;
use std::str::FromStr;

/// The name of one table: on Linux `[family/table/]set` of nftables, elsewhere a table of pf.
///
/// Only a name that this system's firewall could have can be made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table(String);

impl Table {
    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Table {
    type Err = InvalidTable;

    fn from_str(text: &str) -> Result<Self, InvalidTable> {
        if cfg!(target_os = "linux") {
            crate::table_nft::parse(text)?;
        } else {
            crate::table_pf::parse(text)?;
        }
        Ok(Table(text.to_owned()))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tables that follow the leases; one that was not named is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// -A: addresses in use by somebody they were not given to.
    pub abandoned: Option<Table>,
    /// -C: addresses leave it when they change hands; nothing is ever added to it.
    pub changed: Option<Table>,
    /// -L: addresses offered or leased.
    pub leased: Option<Table>,
}

impl Tables {
    /// Whether no table is named at all, so that no handler is needed.
    pub fn is_empty(&self) -> bool {
        self.abandoned.is_none() && self.changed.is_none() && self.leased.is_none()
    }
}

/// Why a text is not the name of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTable {
    text: String,
    reason: &'static str,
}

impl InvalidTable {
    pub(crate) fn new(text: &str, reason: &'static str) -> Self {
        InvalidTable { text: text.to_owned(), reason }
    }
}

impl fmt::Display for InvalidTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {:?}: {}", self.text, self.reason)
    }
}

impl std::error::Error for InvalidTable {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_keeps_the_text_it_was_made_from() {
        let table: Table = "leased".parse().unwrap();
        assert_eq!(table.as_str(), "leased");
        assert_eq!(table.to_string(), "leased");
    }

    #[test]
    fn the_reason_names_the_text() {
        let error = "".parse::<Table>().unwrap_err();
        assert_eq!(error.to_string(), "table \"\": the name is empty");
    }

    #[test]
    fn tables_are_empty_until_one_is_named() {
        let mut tables = Tables::default();
        assert!(tables.is_empty());
        tables.changed = Some("drain".parse().unwrap());
        assert!(!tables.is_empty());
    }
}
