//! ethers(5): Ethernet addresses by host name.

use std::collections::HashMap;

/// The names in the file and their addresses; the first line with a name counts. Lines that are
/// not of the form `0:1f:2:3:4:5 name` are passed over, as ether_line(3)'s callers do.
pub fn parse(text: &[u8]) -> HashMap<String, [u8; 6]> {
    let mut names = HashMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line);
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        if let (Some(address), Some(name)) = (words.next(), words.next())
            && let Some(address) = ethernet(address)
        {
            names.entry(name.to_owned()).or_insert(address);
        }
    }
    names
}

/// Six hexadecimal octets of one or two digits, separated by colons.
fn ethernet(text: &str) -> Option<[u8; 6]> {
    let mut address = [0; 6];
    let mut octets = text.split(':');
    for byte in &mut address {
        let octet = octets.next()?;
        if octet.len() > 2 || !octet.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(octet, 16).ok()?;
    }
    octets.next().is_none().then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_their_addresses() {
        let names = parse(
            b"# comment\n0:1:2:a:B:ff\tfirst # more\n 00:00:00:00:00:01 second third\n\
              0:0:0:0:0:2 first\n0:0:0:0:0 short\n0:0:0:0:0:0:0 long\n0:0:0:0:0:100 big\n\
              0:0:0:0:0:+1 sign\nlonely\n\xff\xff\n",
        );
        assert_eq!(names.len(), 2);
        assert_eq!(names["first"], [0, 1, 2, 10, 11, 255]);
        assert_eq!(names["second"], [0, 0, 0, 0, 0, 1]);
    }
}
