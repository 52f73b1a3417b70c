//! How OpenBSD's dhcpd splits a lease file: a backslash in a string is dropped and protects nothing,
//! a string may span lines, a record ends at its brace. Enough of it to see what it would obey.

/// The first word of each statement of each record.
pub fn heads(text: &[u8]) -> Vec<Vec<String>> {
    let mut records = Vec::new();
    let mut tokens = tokens(text).into_iter();
    while let Some(token) = tokens.next() {
        assert_eq!(token, "lease");
        for _ in 0..7 {
            tokens.next(); // four numbers and three dots
        }
        assert_eq!(tokens.next().as_deref(), Some("{"));
        let mut heads = Vec::new();
        while let Some(head) = tokens.next().filter(|t| t != "}") {
            heads.push(head);
            assert!(tokens.by_ref().any(|t| t == ";"));
        }
        records.push(heads);
    }
    records
}

fn tokens(text: &[u8]) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let length = match rest[0] {
            b' ' | b'\t' | b'\n' | b'\r' => 0,
            b'#' => rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len()),
            b'"' => {
                let end = rest[1..].iter().position(|&b| b == b'"').expect("a closing quote");
                tokens.push("\"string\"".to_owned());
                end + 2
            }
            b if b.is_ascii_alphanumeric() || b == b'-' => {
                let word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
                let end = rest.iter().position(|b| !word(b)).unwrap_or(rest.len());
                tokens.push(String::from_utf8(rest[..end].to_vec()).unwrap());
                end
            }
            b => {
                tokens.push(char::from(b).to_string());
                1
            }
        };
        at += length.max(1);
    }
    tokens
}
