//! The lease file as a bystander reads it: line by line, with a few lines of its own rather than
//! dhcpd's parser.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

/// What a lease file says.
#[derive(Debug, Default)]
pub struct LeaseFile {
    /// The last whole record of each address.
    pub leases: BTreeMap<Ipv4Addr, Record>,
    /// Whole records there are.
    pub records: usize,
    /// Records that a crash cut off.
    pub torn: usize,
    /// Lines that have no place in a lease file that dhcpd wrote.
    pub strange: Vec<String>,
}

/// One record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// `hardware ethernet`.
    pub mac: Option<[u8; 6]>,
    /// `uid`.
    pub uid: Option<String>,
    /// `ends`, as it is written.
    pub ends: String,
    /// `abandoned`.
    pub abandoned: bool,
}

impl LeaseFile {
    /// Reads it.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).expect("read the lease file");
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    /// Takes its text apart.
    pub fn parse(text: &str) -> Self {
        let mut file = LeaseFile::default();
        let mut open: Option<(Ipv4Addr, Record)> = None;
        for line in text.split_inclusive('\n') {
            let whole = line.ends_with('\n');
            let line = line.trim_end_matches('\n');
            let address = line.strip_prefix("lease ").and_then(|rest| rest.strip_suffix(" {"));
            if let Some(Ok(address)) = address.map(str::parse) {
                file.torn += usize::from(open.is_some());
                open = Some((address, Record::default()));
            } else if line == "}" && whole && open.is_some() {
                file.records += 1;
                file.leases.extend(open.take());
            } else if !whole {
                // The last line of all: whatever it was to be, its record is torn.
                open = None;
                file.torn += 1;
            } else if let Some((_, record)) = &mut open {
                if !record.take(line.trim_start_matches('\t')) {
                    file.strange.push(line.to_owned());
                }
            } else if line.starts_with("lease ") || "lease ".starts_with(line) {
                // Torn in its first line, which the next dhcpd has then ended.
                file.torn += usize::from(!line.is_empty());
            } else {
                file.strange.push(line.to_owned());
            }
        }
        file.torn += usize::from(open.is_some());
        file
    }

    /// Who holds an address.
    pub fn holder(&self, address: Ipv4Addr) -> Option<[u8; 6]> {
        self.leases.get(&address)?.mac
    }
}

impl Record {
    /// A statement; false if it is none, which happens once at the end of a torn record.
    fn take(&mut self, line: &str) -> bool {
        let Some(statement) = line.strip_suffix(';') else { return false };
        let (word, value) = statement.split_once(' ').unwrap_or((statement, ""));
        match word {
            "starts" | "client-hostname" | "hostname" | "dynamic-bootp" => {}
            "ends" => self.ends = value.to_owned(),
            "uid" => self.uid = Some(value.to_owned()),
            "abandoned" => self.abandoned = true,
            "hardware" => {
                let octets = value.strip_prefix("ethernet ").unwrap_or_default().split(':');
                let octets: Vec<u8> =
                    octets.filter_map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
                self.mac = octets.try_into().ok();
                return self.mac.is_some();
            }
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_record_counts_and_torn_ones_are_counted() {
        let record = |mac: &str, tail: &str| {
            format!(
                "lease 192.0.2.10 {{\n\tstarts 2 2026/06/30 10:00:00 UTC;\n\tends 2 2026/06/30 \
                 22:00:00 UTC;\n\thardware ethernet {mac};\n{tail}"
            )
        };
        let text = record("00:00:00:00:00:01", "}\n")
            + &record("00:00:00:00:00:02", "\tuid 01:02;\n}\n")
            + &record("00:00:00:00:00:03", "\tui");
        let file = LeaseFile::parse(&text);
        assert_eq!((file.records, file.torn), (2, 1));
        assert_eq!(file.holder([192, 0, 2, 10].into()), Some([0, 0, 0, 0, 0, 2]));
        assert!(file.strange.is_empty(), "{:?}", file.strange);

        // The next process closed the line that was cut off.
        let file = LeaseFile::parse(&(text + "\n" + &record("00:00:00:00:00:04", "}\n")));
        assert_eq!((file.records, file.torn), (3, 1));
        assert_eq!(file.strange, ["\tui"]);
        for cut in ["l", "lease ", "lease 192.0.2.1"] {
            let file =
                LeaseFile::parse(&(cut.to_owned() + "\n" + &record("00:00:00:00:00:04", "}\n")));
            assert_eq!((file.records, file.torn, file.strange.len()), (1, 1, 0), "{cut}");
        }
        assert_eq!(LeaseFile::parse("nonsense;\n").strange, ["nonsense;"]);
    }
}
