//! ISC's dialect: all of it parses, and what is passed over is named.

use super::*;

#[test]
fn what_only_iscs_dialect_has_is_passed_over_and_named() {
    let (config, warnings) = warned(
        r#"ddns-update-style none;
option space pxelinux;
option pxelinux.magic code 208 = string;
option arch code 93 = unsigned integer 16;
option rec code 200 = { ip-address, integer 8 };
option arch 7;
option pxelinux.magic f1:00:74:7e;
option domain-name = concat("a", ".example");
allow client-updates;
failover peer "x" { primary; address 10.0.0.1; }
key k { algorithm hmac-md5; secret abc+/==; };
zone example.org. { primary 127.0.0.1; key k; }
class "phones" { match if substring(option vendor-class-identifier, 0, 3) = "abc"; }
subclass "phones" 1:0:1:2:3:4:5;
if option arch = 00:07 { filename "a"; } elsif exists foo { filename "b"; } else { filename "c"; }
on commit { set x = binary-to-ascii(16, 8, ":", hardware); execute("/bin/x", x); }
subnet 10.0.0.0 netmask 255.255.255.0 {
    pool { range 10.0.0.1 10.0.0.9; allow members of "phones"; }
}"#,
    );
    assert_eq!(config.subnets.len(), 1);
    assert_eq!(config.subnets[0].ranges, []);
    let names: Vec<&str> = warnings
        .iter()
        .map(|warning| {
            let (place, text) = warning.split_once(": warning: ").unwrap();
            assert!(place.ends_with(":1") || place == "18:5", "{warning}");
            text.strip_suffix(" is not supported yet; it is passed over").unwrap()
        })
        .collect();
    assert_eq!(
        names,
        [
            "`ddns-update-style`",
            "`option space`",
            "`option pxelinux.magic`",
            "`option arch code`",
            "`option rec code`",
            "`option arch`",
            "`option pxelinux.magic`",
            "`option domain-name =`",
            "`allow client-updates`",
            "`failover`",
            "`key`",
            "`zone`",
            "`class`",
            "`subclass`",
            "`if`",
            "`on`",
            "`pool`",
        ]
    );
}

#[test]
fn errors_beside_it_are_still_found() {
    assert_eq!(
        bad("class \"x\" { match if a = \"b\" }\nbogus;"),
        [
            "1:1: warning: `class` is not supported yet; it is passed over",
            "1:29: `;` missing before `}`",
            "2:1: unknown statement `bogus`"
        ]
    );
    assert_eq!(
        bad("subnet6 2001:db8::/32 { range6 2001:db8::1; }"),
        [
            "1:1: `subnet6` does not belong here: DHCPv6 is another protocol, which this server does \
         not speak"
        ]
    );
}

#[test]
fn parameters_after_declarations_stay_an_error() {
    assert_eq!(
        bad(&format!("{SUBNET}option domain-name \"x\";")),
        ["2:1: parameters come before the first declaration, in line 1"]
    );
}

#[test]
fn a_group_may_have_a_name() {
    let (config, warnings) = warned(&format!("group \"floor\" {{ filename \"x\"; {SUBNET} }}"));
    assert_eq!(config.subnets[0].settings.filename.as_deref(), Some(&b"x"[..]));
    assert_eq!(
        warnings,
        ["1:7: warning: the name of a group is not supported yet; it is passed over"]
    );
}
