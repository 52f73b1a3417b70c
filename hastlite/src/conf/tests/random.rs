//! Files that nobody wrote: understood or refused with a place, and nothing panics.

use super::*;
use proptest::prelude::*;

/// Pieces that files are made of, and some that they are not.
fn piece() -> impl Strategy<Value = String> {
    let words: &[&str] = &[
        "on",
        "hasta",
        "hastb",
        "resource",
        "r",
        "{",
        "}",
        "local",
        "/dev/da0",
        "remote",
        "none",
        "tcp4://10.0.0.1",
        "[::1]:8457",
        "source",
        "name",
        "timeout",
        "20",
        "0",
        "replication",
        "memsync",
        "metaflush",
        "off",
        "exec",
        "control",
        "listen",
        "pidfile",
        "#",
        "\n",
        "\t",
        "\"",
        ";",
        "\u{fffd}",
        "checksum",
        "crc32",
        "x:y:z",
        "99999999999999999999",
        "[",
        "://",
        "tcp://",
    ];
    prop_oneof![9 => prop::sample::select(words).prop_map(str::to_owned), 1 => ".{0,6}"]
}

fn check(text: &[u8]) {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let all = match parse("f", text, &node()) {
        Ok((config, warnings)) => {
            for resource in &config.resources {
                assert!(resource.timeout > 0 && resource.local.is_absolute());
            }
            warnings
        }
        Err(all) => {
            assert!(all.iter().any(|one| one.severity == Severity::Error));
            all
        }
    };
    for one in all {
        let line = lines[one.at.line as usize - 1];
        assert!((1..=line.len() + 1).contains(&(one.at.column as usize)), "{one}");
        assert!(!one.to_string().contains('\0'));
    }
}

proptest! {
    #[test]
    fn any_words_are_understood_or_refused_with_a_place(pieces in prop::collection::vec(piece(), 0..60)) {
        check(pieces.join(" ").as_bytes());
    }

    #[test]
    fn any_bytes_are_understood_or_refused_with_a_place(text in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&text);
    }

    #[test]
    fn a_good_file_with_one_piece_more_or_less(cut in any::<prop::sample::Index>(), piece in piece()) {
        let good = with("timeout 5 on hasta { listen ::1 }", "local /d", "remote none name x");
        let mut words: Vec<&str> = good.split_whitespace().collect();
        let at = cut.index(words.len());
        let gone = std::mem::replace(&mut words[at], &piece);
        check(words.join(" ").as_bytes());
        words[at] = gone;
        words.remove(at);
        check(words.join(" ").as_bytes());
    }
}
