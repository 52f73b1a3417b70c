//! How pf(4) names a table: up to 31 bytes in a field of 32.
//!
//! Plain text work, the same on every system; anchors are not supported, so a name is only a name.

use crate::InvalidTable;

/// Bytes of a table's name with its zero (PF_TABLE_NAME_SIZE of pfvar.h).
pub const NAME_FIELD: usize = 32;

/// Checks the name of a table of pf and gives the field the kernel wants: the name, then zeros.
///
/// # Errors
/// The name is empty, longer than 31 bytes, or has what pf.conf(5) could not name.
pub fn parse(text: &str) -> Result<[u8; NAME_FIELD], InvalidTable> {
    let refuse = |reason| Err(InvalidTable::new(text, reason));
    if text.is_empty() {
        return refuse("the name is empty");
    }
    if text.len() >= NAME_FIELD {
        return refuse("the name is longer than 31 bytes");
    }
    if !text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"' | b'/')) {
        return refuse("the name has a character that pf does not name tables with");
    }
    let mut field = [0; NAME_FIELD];
    for (to, from) in field.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    Ok(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_the_name_and_zeros() {
        let field = parse("abandoned_ip_table").unwrap();
        assert_eq!(&field[..18], b"abandoned_ip_table");
        assert!(field[18..].iter().all(|&b| b == 0));
    }

    #[test]
    fn thirty_one_bytes_fit_and_thirty_two_do_not() {
        assert_eq!(parse(&"x".repeat(31)).unwrap()[31], 0);
        assert!(parse(&"x".repeat(32)).unwrap_err().to_string().contains("31 bytes"));
    }

    #[test]
    fn what_pf_could_not_have_is_refused() {
        for text in ["", "<leased>", "a b", "a\0b", "é", "anchor/table"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
