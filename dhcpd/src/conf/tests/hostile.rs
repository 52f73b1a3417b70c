//! Input that means harm: never a panic, never long, always a place that can be shown.

use super::*;
use proptest::prelude::*;
use std::time::Instant;

/// Reads it and checks what can be said of any result.
fn survives(text: &[u8]) -> Result<(), TestCaseError> {
    let mut sources = RecordedSources::default();
    sources.add_file(PATH, text);
    crate::conf::differences(PATH, &mut sources).iter().for_each(|note| drop(note.render()));
    let said = match load(PATH, &mut sources) {
        Ok((config, warnings)) => {
            for (id, subnet) in config.subnets.iter().enumerate() {
                prop_assert_eq!(config.subnet_of(subnet.net.network()), Some(id));
                for range in &subnet.ranges {
                    prop_assert!(range.low <= range.high);
                    prop_assert!(subnet.net.contains(range.low));
                    prop_assert!(subnet.net.contains(range.high));
                }
            }
            warnings
        }
        Err(errors) => errors,
    };
    let lines = text.split(|byte| *byte == b'\n').count();
    let mut last = (0, 0);
    for diagnostic in &said {
        let at = (diagnostic.at.line, diagnostic.at.column);
        prop_assert!(last <= at, "in order");
        last = at;
        prop_assert!(at.0 as usize <= lines && at.1 as usize <= text.len() + 1);
        let text = diagnostic.render();
        let lines: Vec<&str> = text.split('\n').collect();
        prop_assert_eq!(lines.len(), 3, "{}", text);
        prop_assert!(lines[2].ends_with('^'));
        prop_assert!(lines[2].chars().count() <= lines[1].chars().count() + 1);
    }
    Ok(())
}

const WORDS: &[&str] = &[
    "subnet",
    "netmask",
    "10.0.0.0",
    "255.255.255.0",
    "{",
    "}",
    ";",
    "range",
    "10.0.0.1",
    "host",
    "h",
    "group",
    "shared-network",
    "option",
    "routers",
    "domain-search",
    "\"a.b\"",
    "\"",
    ",",
    "hardware",
    "ethernet",
    "1:2:3:4:5:6",
    "fixed-address",
    "allow",
    "bootp",
    "if",
    "else",
    "=",
    "class",
    "include",
    "\"/etc/dhcpd.conf\"",
    "classless-static-routes",
    "10/8",
    "0/0",
    "-",
    "0",
    "4294967296",
    "max-lease-time",
    "vendor-class",
    "not",
    "authoritative",
    "\n",
    "#",
    "code",
    "dynamic-bootp-lease-cutoff",
    "4 2026/06/30 10:00:00",
    "timestamp",
    "option-43",
    "dhcp",
    ".",
    "dhcp-client-identifier",
    "use-host-decl-names",
    "on",
    "\u{e4}",
    "\t",
    "\\",
    "elsif",
    "pool",
];

proptest! {
    #[test]
    fn any_bytes(text: Vec<u8>) {
        survives(&text)?;
    }

    #[test]
    fn any_words(words in prop::collection::vec(prop::sample::select(WORDS), 0..80)) {
        survives(words.join(" ").as_bytes())?;
    }

    /// A right configuration with a few bytes changed comes closer to the far corners.
    #[test]
    fn almost_right(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut: prop::sample::Index,
    ) {
        let mut text = include_bytes!("sample.conf").to_vec();
        for (at, byte) in changes {
            let at = at.index(text.len());
            text[at] = byte;
        }
        survives(&text)?;
        text.truncate(cut.index(text.len()));
        survives(&text)?;
    }
}

#[test]
fn the_sample_of_that_test_is_right() {
    let (config, _) = warned(include_str!("sample.conf"));
    assert_eq!(config.subnets.len(), 3);
    assert_eq!(config.hosts.len(), 2);
}

#[test]
fn large_and_deep_input_takes_time_in_proportion() {
    let size = 2 << 20;
    let of = |piece: &str| piece.repeat(size / piece.len());
    let hostile = [
        of("{"),
        of("}"),
        of("a{"),
        of(";"),
        of("a;"),
        of("\""),
        of("\"\n"),
        of("option routers x,\n"),
        of("option routers x,\nrange,\n"),
        of("option routers 1.1.1.1,\n"),
        of("option x code 1 = {"),
        of("option domain-search \"a.b.c\", \"d.b.c\";"),
        of("if x { } else { } "),
        of("group {\nsubnet\n"),
        of("subnet 10.0.0.0 netmask 255.0.0.0 { }\n"),
        of("sbnet 1;\n"),
        of("range"),
        of("1.1.1.1,"),
        format!("subnet 0.0.0.0 netmask 0.0.0.0 {{ {} }}", of("range 1.1.1.1 2.2.2.2;")),
        format!("option routers {};", of("1.1.1.1,")),
        format!("fixed-address {};", of("a.")),
        format!("option domain-search {} \"x\";", of("\"a.b.c\",")),
    ];
    for text in hostile {
        let start = Instant::now();
        assert!(load(PATH, &mut sources(&text)).is_err() || !text.contains('1'));
        let took = start.elapsed().as_secs();
        // Without optimisation; quadratic would be minutes.
        assert!(took < 20, "{took} s for {:?}...", &text[..40]);
    }
}

/// Few files that name each other often are many when read.
#[test]
fn includes_do_not_multiply_without_limit() {
    let mut sources = sources("include \"0\";");
    for level in 0..3 {
        let next = format!("include \"{}\";", level + 1).repeat(50);
        sources.add_file(&format!("/etc/{level}"), next.into_bytes());
    }
    sources.add_file("/etc/3", *b"");
    let start = Instant::now();
    let errors = load(PATH, &mut sources).unwrap_err();
    assert!(start.elapsed().as_secs() < 20);
    assert!(errors.iter().any(|error| error.text.contains("more than 1000 files")));
}

#[test]
fn fifty_thousand_hosts_are_read_in_a_second() {
    use std::fmt::Write;
    let mut text =
        String::from("subnet 10.0.0.0 netmask 255.0.0.0 { range 10.200.0.0 10.210.0.0; }\n");
    text.push_str("group { option domain-name \"x\"; option routers 10.0.0.1; filename \"f\";\n");
    for host in 0..50_000u32 {
        let [_, a, b, c] = host.to_be_bytes();
        writeln!(
            text,
            "host machine-{host}.example {{\n  hardware ethernet 02:00:00:{a:x}:{b:02x}:{c:02x};\n  \
             fixed-address 10.{a}.{b}.{c};\n  option host-name \"machine-{host}\";\n}}"
        )
        .unwrap();
    }
    text.push('}');
    let start = Instant::now();
    let config = good(&text);
    let took = start.elapsed();
    let limit = if cfg!(debug_assertions) { 20 } else { 1 };
    assert!(took.as_secs() < limit, "{took:?}");
    assert_eq!(config.hosts.len(), 50_000);
    assert_eq!(config.hosts_by_hardware(1, &[2, 0, 0, 0, 0xc3, 0x4f]), [49_999]);
    println!("{took:?}");
}
