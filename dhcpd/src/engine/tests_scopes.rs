//! Which scope's word counts, from the text of dhcpd.conf to the reply: each parameter in every
//! scope it may stand in, by the documented order.

use super::tests_kit::*;
use super::*;

/// The scopes from the outermost to the strongest, and what each of them says.
fn config(says: impl Fn(&str) -> String) -> Config {
    let [root, outer, network, group, subnet] =
        ["root", "outer", "network", "group", "subnet"].map(&says);
    let [vendor_group, vendor, user, host_group, host] =
        ["vgroup", "vendor", "user", "hgroup", "host"].map(&says);
    read(&format!(
        "{root}
         group {{ {outer}
           shared-network wire {{ {network}
             group {{ {group}
               subnet 10.0.0.0 netmask 255.255.255.0 {{ range 10.0.0.10 10.0.0.19; {subnet} }}
             }}
           }}
         }}
         group {{ {vendor_group} vendor-class \"v\" {{ {vendor} }} }}
         user-class \"u\" {{ {user} }}
         group {{ {host_group} host pc {{ hardware ethernet 2:0:0:0:0:1; {host} }} }}"
    ))
}

const ALL: [&str; 10] =
    ["root", "outer", "network", "group", "subnet", "vgroup", "vendor", "user", "hgroup", "host"];

/// The reply to the host, which is of both classes, if only these scopes say something.
fn told(scopes: &[&str], says: impl Fn(&str) -> String) -> Got {
    let one = |scope: &str| if scopes.contains(&scope) { says(scope) } else { String::new() };
    Bench::with(config(one)).one(&discover(1).with(60, "v").with(77, "u").id(b"me"))
}

/// Each scope is stronger than all before it; `not` have no say.
fn in_order(not: &[&str], says: impl Fn(&str) -> String, read: impl Fn(&Got) -> String) {
    let scopes: Vec<&str> = ALL.into_iter().filter(|scope| !not.contains(scope)).collect();
    let silent = read(&told(&[], &says));
    for weak in not {
        assert_eq!(read(&told(&[weak], &says)), silent, "{weak} has no say");
    }
    for upto in 1..=scopes.len() {
        let said = read(&told(&[&scopes[..upto], not].concat(), &says));
        assert_eq!(said, scopes[upto - 1], "of {:?}", &scopes[..upto]);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

/// An address that stands for a scope, and which one it stands for.
fn number(scope: &str) -> String {
    format!("10.9.9.{}", ALL.iter().position(|s| *s == scope).unwrap() + 1)
}

fn name(address: Ipv4Addr) -> String {
    let last = usize::from(address.octets()[3]);
    let known = address.octets()[..3] == [10, 9, 9];
    ALL.get(last.wrapping_sub(1)).filter(|_| known).map_or("none".into(), |s| (*s).to_owned())
}

#[test]
fn options() {
    let value = |got: &Got| got.options.get(15).map_or("none".to_owned(), text);
    in_order(&[], |scope| format!("option domain-name \"{scope}\";"), value);
}

#[test]
fn filename_and_server_name() {
    in_order(&[], |s| format!("filename \"{s}\";"), |got| text(got.message().file()));
    in_order(&[], |s| format!("server-name \"{s}\";"), |got| text(got.message().sname()));
}

/// What the client asks for stands between its classes and its subnet.
#[test]
fn the_clients_own_file_is_stronger_than_its_subnets_only() {
    for (upto, file) in [(5, "own"), (6, "vgroup"), (8, "user"), (10, "host")] {
        let one = |scope: &str| match ALL[..upto].contains(&scope) {
            true => format!("filename \"{scope}\";"),
            false => String::new(),
        };
        let ask = Ask { file: b"own".to_vec(), ..discover(1) }.with(60, "v").with(77, "u");
        assert_eq!(text(Bench::with(config(one)).one(&ask).message().file()), file);
    }
}

#[test]
fn server_identifier() {
    let id = |got: &Got| name(got.options.ipv4(54).unwrap());
    in_order(&[], |scope| format!("server-identifier {};", number(scope)), id);
    in_order(&[], |s| format!("option dhcp-server-identifier {};", number(s)), id);
}

#[test]
fn next_server() {
    let siaddr = |got: &Got| name(got.message().siaddr());
    let classes = ["vgroup", "vendor", "user"];
    in_order(&classes, |scope| format!("next-server {};", number(scope)), siaddr);
}

#[test]
fn lease_times() {
    let seconds = |scope: &str| 1001 + ALL.iter().position(|s| *s == scope).unwrap();
    let which = |got: &Got| {
        let said = got.options.u32(51).unwrap() as usize;
        ALL.get(said.wrapping_sub(1001)).map_or("none".to_owned(), |s| (*s).to_owned())
    };
    let classes = ["vgroup", "vendor", "user"];
    in_order(&classes, |s| format!("default-lease-time {};", seconds(s)), which);
    in_order(&classes, |s| format!("max-lease-time {};", seconds(s)), which);
}

/// A flag of some scope against the opposite of all weaker ones.
fn flag(not: &[&str], parameter: &str, is_on: impl Fn(&Got) -> bool) {
    let scopes: Vec<&str> = ALL.into_iter().filter(|scope| !not.contains(scope)).collect();
    for (strongest, scope) in scopes.iter().enumerate() {
        for on in [true, false] {
            let got = told(&scopes[..=strongest], |s| {
                format!("{parameter} {};", if s == *scope { on } else { !on })
            });
            assert_eq!(is_on(&got), on, "{parameter} {on} in {scope}");
        }
    }
}

#[test]
fn use_lease_addr_for_default_route() {
    flag(&[], "use-lease-addr-for-default-route", |got| got.options.ipv4(3) == Some(got.yours()));
}

#[test]
fn echo_client_id() {
    flag(&[], "echo-client-id", |got| got.options.get(61).is_some());
}

#[test]
fn use_host_decl_names() {
    let not = ["vgroup", "vendor", "user", "host"];
    flag(&not, "use-host-decl-names", |got| got.options.get(12) == Some(&b"pc"[..]));
}

#[test]
fn classes_are_matched_exactly_and_named_in_the_reply() {
    let mut b = Bench::with(config(|scope| format!("option domain-name \"{scope}\";")));
    let cases: [(&[(u8, &str)], &str); 6] = [
        (&[(60, "v")], "vendor"),
        (&[(77, "u")], "user"),
        (&[(60, "v"), (77, "u")], "user"),
        (&[(60, "vv"), (77, "")], "subnet"),
        (&[(60, "V"), (77, "u\0")], "subnet"),
        (&[(77, "v"), (60, "u")], "subnet"),
    ];
    for (client, (options, domain)) in (2..).zip(cases) {
        let mut ask = discover(client);
        for (code, value) in options {
            ask = ask.with(*code, value);
        }
        let got = b.one(&ask);
        assert_eq!(got.options.get(15).map(text).unwrap(), domain, "{options:?}");
        for code in [60, 77] {
            let sent = options.iter().find(|(c, _)| *c == code).map(|(_, v)| *v);
            let named = sent.filter(|v| (code, *v) == (60, "v") || (code, *v) == (77, "u"));
            assert_eq!(got.options.get(code), named.map(str::as_bytes), "{options:?}");
        }
    }
}

#[test]
fn booting_is_denied_to_a_class_in_itself_or_by_a_group_around_it_but_not_to_a_host() {
    for scope in ["vgroup", "vendor", "user"] {
        let denied = |s: &str| if s == scope { "deny booting;".into() } else { String::new() };
        let mut b = Bench::with(config(denied));
        let ask = |client| discover(client).with(60, "v").with(77, "u");
        b.silent(&ask(2));
        assert!(b.engine.is_empty() && b.engine.counters().class_denied == 1, "{scope}");
        b.one(&discover(2));
        b.one(&ask(1));
    }
    // What is said further out is said of hosts, unless one says otherwise.
    for scope in ["root", "outer", "network", "group", "subnet", "hgroup", "host"] {
        let denied = |s: &str| if s == scope { "deny booting;".into() } else { String::new() };
        let mut b = Bench::with(config(denied));
        b.silent(&discover(1));
        assert_eq!(b.engine.counters().host_denied, 1, "{scope}");
        b.one(&discover(2).with(60, "v"));
    }
    let own = |s: &str| match s {
        "root" => "deny booting;".into(),
        "host" => "allow booting;".into(),
        _ => String::new(),
    };
    Bench::with(config(own)).one(&discover(1));
}
