//! Whole files: what they mean, and everything that can be wrong in them.

use super::*;
use crate::config::{Change, Export, Resource};
use crate::engine::Replication;
use crate::wire::data::{Checksum, Compression};

mod random;

fn node() -> Node {
    Node {
        hostname: "hasta.example.org".to_owned(),
        uuids: vec!["564d7d1d-4b79-4a2b-8b3c-0123456789ab".to_owned()],
        hostid: Some(8323329),
    }
}

fn good(text: &str) -> Config {
    let (config, warnings) = parse("f", text.as_bytes(), &node())
        .unwrap_or_else(|said| panic!("{}", LoadError::Wrong(said)));
    assert_eq!(warnings, []);
    config
}

/// `LINE:COLUMN: text` of everything that is said about a file.
fn said(text: &str) -> Vec<String> {
    let said = match parse("f", text.as_bytes(), &node()) {
        Ok((_, warnings)) => warnings,
        Err(said) => said,
    };
    let short = |one: Diagnostic| {
        assert!(one.at.line > 0);
        let warning = if one.severity == Severity::Warning { "warning: " } else { "" };
        format!("{}:{}: {warning}{}", one.at.line, one.at.column, one.text)
    };
    said.into_iter().map(short).collect()
}

/// A file of one resource, on both nodes.
fn with(global: &str, resource: &str, own: &str) -> String {
    format!(
        "{global}\nresource data {{\n{resource}\non hasta {{\n{own}\n}}\non hastb {{ remote x }}\n}}\n"
    )
}

fn minimal(global: &str, resource: &str, own: &str) -> Resource {
    let own = format!("local /d remote tcp4://10.0.0.2 {own}");
    let mut config = good(&with(global, resource, &own));
    config.resources.remove(0)
}

#[test]
fn what_is_left_unsaid() {
    let config = good(&with("", "", "local /dev/da0 remote tcp4://10.0.0.2"));
    assert_eq!(config.control, Path::new("/var/run/hastctl"));
    assert_eq!(config.pidfile, Path::new("/var/run/hastd.pid"));
    let listen: Vec<_> =
        config.listen.iter().map(|l| (l.address.to_string(), l.required)).collect();
    assert_eq!(
        listen,
        [("tcp4://0.0.0.0:8457".to_owned(), false), ("tcp6://[::]:8457".to_owned(), false)]
    );
    let resource = config.resource("data").unwrap();
    assert_eq!((resource.name.as_str(), resource.provname.as_str()), ("data", "data"));
    assert_eq!(resource.export, Export::Unix("/var/run/hastlite/data.sock".into()));
    assert_eq!(resource.uri(), "nbd+unix:///data?socket=/var/run/hastlite/data.sock");
    assert_eq!(resource.local, Path::new("/dev/da0"));
    assert_eq!(resource.remote.as_ref().unwrap().to_string(), "tcp4://10.0.0.2");
    assert_eq!(resource.source, None);
    assert_eq!(resource.replication, Replication::Memsync);
    assert_eq!((resource.checksum, resource.compression), (Checksum::None, Compression::Hole));
    assert_eq!((resource.timeout, resource.metaflush, &resource.exec), (20, true, &None));
}

#[test]
fn an_empty_file_has_no_resources() {
    assert_eq!(good("# nothing\n").resources, []);
    assert_eq!(good("").resources, []);
}

#[test]
fn every_statement_in_every_place() {
    let config = good(
        "control uds:///a pidfile /b listen tcp4://0.0.0.0
        replication async checksum crc32 compression lzf timeout 7 exec /e metaflush off
        on hasta { control /c pidfile /d listen [::1]:99 }
        on hastb { control /x pidfile /y listen 1.2.3.4 }
        resource one { on hasta { local /1 remote none } }
        resource two {
            replication fullsync checksum sha256 compression none timeout 8 exec /f metaflush on
            name big local /2
            on hastb { name other local /o remote hasta source hastb metaflush on }
            on hasta { remote hastb source tcp4://10.0.0.1 metaflush off name small local /3 }
        }",
    );
    assert_eq!((config.control, config.pidfile), ("/c".into(), "/d".into()));
    let listen: Vec<_> = config.listen.iter().map(|one| one.address.to_string()).collect();
    assert_eq!(listen, ["tcp4://0.0.0.0", "[::1]:99"]);
    let [one, two] = &config.resources[..] else { panic!() };
    assert_eq!(one.remote, None);
    assert_eq!((one.replication, one.checksum), (Replication::Async, Checksum::Crc32));
    assert_eq!((one.compression, one.timeout, one.metaflush), (Compression::Lzf, 7, false));
    assert_eq!(one.exec.as_deref(), Some(Path::new("/e")));
    assert_eq!((two.replication, two.checksum), (Replication::Fullsync, Checksum::Sha256));
    assert_eq!((two.compression, two.timeout, two.metaflush), (Compression::None, 8, false));
    assert_eq!(two.exec.as_deref(), Some(Path::new("/f")));
    assert_eq!((two.provname.as_str(), two.local.as_path()), ("small", Path::new("/3")));
    assert_eq!(two.source.as_ref().unwrap().to_string(), "tcp4://10.0.0.1");
}

#[test]
fn what_is_said_for_all_holds_for_resources_before_it() {
    let text = with("", "", "local /d remote none") + "timeout 5 replication async";
    let config = good(&text);
    assert_eq!(
        (config.resources[0].timeout, config.resources[0].replication),
        (5, Replication::Async)
    );
    let inner = minimal("timeout 5 metaflush off", "metaflush on timeout 6", "");
    assert_eq!((inner.timeout, inner.metaflush), (6, true));
    assert!(!minimal("", "metaflush on", "metaflush off").metaflush);
}

#[test]
fn a_node_is_known_by_many_names() {
    let node = node();
    let names =
        ["hasta.example.org", "hasta", "564D7D1D-4b79-4a2b-8b3c-0123456789ab", "hostid8323329"];
    for name in names {
        assert!(node.is(name), "{name}");
        let text = format!("resource r {{ local /d on {name} {{ remote none }} }}");
        assert_eq!(good(&text).resources.len(), 1);
    }
    for name in ["hastb", "HASTA", "hasta.example", "hostid1", "hostid", ""] {
        assert!(!node.is(name), "{name}");
    }
    assert!(!Node::default().is(""));
    assert_eq!(Node { hostname: "a".to_owned(), ..Node::default() }.names(), ["a"]);
}

#[test]
fn other_nodes_may_say_what_means_nothing_here() {
    let text = "on hastb { control tcp://x listen gopher://y }
        resource r { local /d on hasta { remote none } on hastb { remote 1.2.3 local x name a/b } }";
    assert_eq!(good(text).resources.len(), 1);
}

#[test]
fn two_sections_of_one_node_are_one() {
    let text = "resource r { on hasta { local /d } on hasta.example.org { remote none } }";
    assert_eq!(good(text).resources.len(), 1);
}

#[test]
fn a_name_may_say_where_clients_connect() {
    let export = |name: &str| minimal("", "", &format!("name {name}"));
    assert_eq!(export("vol").export, Export::Unix("/var/run/hastlite/vol.sock".into()));
    assert_eq!(export("/run/x.sock").export, Export::Unix("/run/x.sock".into()));
    assert_eq!(export("unix:///run/y").export, Export::Unix("/run/y".into()));
    assert_eq!(export("tcp4://127.0.0.1").uri(), "nbd://127.0.0.1:10809/data");
    assert_eq!(export("tcp6://[::1]:9").uri(), "nbd://[::1]:9/data");
    assert_eq!(export("tcp://here:9").uri(), "nbd://here:9/data");
    let name = "x".repeat(100);
    for (bad, why) in [
        ("hast/vol", "cannot be the name of a socket"),
        ("..", "cannot be the name of a socket"),
        ("ftp://x", "`ftp://` is none of"),
        (name.as_str(), "at most 103 for a socket"),
    ] {
        let found = said(&with("", "", &format!("local /d remote x name {bad}")));
        assert!(found.len() == 1 && found[0].contains(why), "{found:?}");
    }
    let found = said("resource a/b { local /d on hasta { remote none } }");
    assert!(found.len() == 1 && found[0].ends_with("give the resource a `name`"), "{found:?}");
}

#[test]
fn what_is_missing() {
    assert_eq!(
        said("resource r { local /d on hastb { remote none } }"),
        ["1:10: `r` has no `on` for this node, which is any of: hasta.example.org, hasta, \
          564d7d1d-4b79-4a2b-8b3c-0123456789ab, hostid8323329"]
    );
    assert_eq!(said("resource r { local /d on hasta { } }"), ["1:26: `r` has no `remote` here"]);
    assert_eq!(
        said("resource r { on hasta { remote x } }"),
        ["1:10: `r` has no `local` on this node"]
    );
    assert_eq!(
        said(&with("", "remote x", "local /d"))[0],
        "3:1: `remote` belongs into an `on` section of a resource"
    );
}

#[test]
fn what_is_said_twice() {
    let text = with("timeout 5\ntimeout 6", "local /a\nlocal /b", "remote none");
    assert_eq!(
        said(&text),
        [
            "2:1: warning: `timeout` again: this one counts, and not that of line 1",
            "5:1: warning: `local` again: this one counts, and not that of line 4"
        ]
    );
    let one = "resource r { local /d on hasta { remote none } }\n";
    let found = said(&[one, one].concat());
    assert_eq!(found[0], "2:10: `r` is already a resource, in line 1");
    let other = "resource q { local /d name r on hasta { remote none } }\n";
    assert_eq!(
        said(&[one, other].concat()),
        [
            "2:10: `q` has the same `local` as `r`",
            "2:10: `q` is exported at /var/run/hastlite/r.sock, as `r` is"
        ]
    );
}

#[test]
fn values_that_cannot_be() {
    let own = "local /d remote none";
    let global = |text: &str| said(&with(text, "", own));
    assert_eq!(global("timeout 0"), ["1:9: a timeout of 0: from 1 to 2147483647 seconds"]);
    assert_eq!(global("timeout 9999999999").len(), 1);
    assert_eq!(global("timeout 20s"), ["1:9: `timeout` wants a number of seconds, not `20s`"]);
    assert_eq!(global("exec hook"), ["1:6: `hook` is not an absolute path"]);
    assert_eq!(global("control tcp://x"), ["1:9: `tcp://` is neither uds:// nor unix://"]);
    assert_eq!(global("listen :9"), ["1:8: an address without a host"]);
    assert_eq!(
        global("replication sync"),
        ["1:13: `replication` wants `fullsync`, `memsync` or `async`, not `sync`"]
    );
    assert_eq!(global("metaflush yes"), ["1:11: `metaflush` wants `on` or `off`, not `yes`"]);
    assert_eq!(global("compression crc32").len(), 1);
    assert_eq!(
        said("resource r { local /d on hasta { remote 10 } }"),
        ["1:41: `remote` wants an address or `none`, not `10`; digits alone are a number"]
    );
    assert_eq!(
        said("resource 10 { }"),
        ["1:10: `resource` wants a name, not `10`; digits alone are a number"]
    );
    assert_eq!(
        said("resource hole { }"),
        [
            "1:10: `resource` wants a name, not `hole`; this word has its own meaning here, and names nothing"
        ]
    );
    let ends = "local /d remote tcp4://10.0.0.2 source ::1";
    assert_eq!(said(&with("", "", ends)), ["5:33: nothing connects from ::1 to tcp4://10.0.0.2"]);
    let long = "x".repeat(255);
    let found = said(&format!("resource {long} {{ name a local /d on hasta {{ remote none }} }}"));
    assert_eq!(found, ["1:10: a name of 255 bytes; at most 254"]);
}

#[test]
fn braces() {
    assert_eq!(said("on hasta {"), ["1:10: no `}` ends what begins here"]);
    assert_eq!(said("}"), ["1:1: no section is open that this could end"]);
    assert_eq!(said("{ resource { } x }"), ["1:1: `{` where a statement should begin"]);
    assert_eq!(said("on hastb\nlisten x\n}"), ["1:1: `on` without `{` behind its name"]);
    assert_eq!(said("on hastb"), ["1:1: `on` without `{` behind its name"]);
    assert_eq!(
        said("resource"),
        [
            "1:1: `resource` without its value: a name",
            "1:1: `resource` without `{` behind its name"
        ]
    );
    let forgotten = "resource a { local /a on hasta { remote none }
        resource b { local /b on hasta { remote none } }";
    assert_eq!(
        said(forgotten),
        ["2:9: `resource` cannot be inside `resource`; is a `}` missing above?"]
    );
    let forgotten = "resource a { local /a on hasta { remote none
        on hastb { remote none } }";
    assert_eq!(said(forgotten), ["2:9: `on` cannot be inside `on`; is a `}` missing above?"]);
}

#[test]
fn words_that_begin_nothing() {
    let own = "local /d remote none";
    assert_eq!(
        said(&with("replicaton memsync timeout 3", "", own)),
        ["1:1: no statement is called `replicaton`; did you mean `replication`?"]
    );
    assert_eq!(
        said(&with("frobnicate { timeout 3 { } }", "", own)),
        ["1:1: no statement is called `frobnicate`"]
    );
    assert_eq!(
        said(&with("memsync", "", own)),
        ["1:1: `memsync` is a value, and here should be a statement"]
    );
    assert_eq!(said(&with("5 6", "", own)), ["1:1: `5` where a statement should begin"]);
    assert_eq!(
        said(&with("", "listen x", own)),
        [
            "3:1: `listen` belongs outside of all sections or into an `on` section outside of resources"
        ]
    );
    assert_eq!(
        said(&with("", "", "timeout 5 local /d remote none")),
        ["5:1: `timeout` belongs outside of all sections or into a `resource`"]
    );
}

#[test]
fn a_statement_on_the_next_line_is_no_value() {
    let text = "resource r {\n local\n on hasta {\n remote\n }\n }\n";
    assert_eq!(
        said(text),
        [
            "2:2: `local` without its value: a path",
            "4:2: `remote` without its value: an address or `none`"
        ]
    );
    // But `on` may be one.
    assert!(minimal("metaflush\non", "", "").metaflush);
}

#[test]
fn everything_is_said_at_once() {
    let text = "timeout 0\nlisten tcp5://x\nresource r {\n\tlokal /d;\n\ton hasta {\n\t\tremote [::1\n\t}\n}\n";
    let (all, code) = match parse("/etc/hast.conf", text.as_bytes(), &node()) {
        Err(all) => (LoadError::Wrong(all.clone()).to_string(), LoadError::Wrong(all).exit_code()),
        Ok(_) => panic!(),
    };
    assert_eq!(code, 78);
    assert_eq!(
        all,
        "/etc/hast.conf:1:9: a timeout of 0: from 1 to 2147483647 seconds
timeout 0
        ^
/etc/hast.conf:2:8: `tcp5://` is none of tcp://, tcp4:// and tcp6://
listen tcp5://x
       ^
/etc/hast.conf:3:10: `r` has no `local` on this node
resource r {
         ^
/etc/hast.conf:4:2: no statement is called `lokal`; did you mean `local`?
\tlokal /d;
\t^
/etc/hast.conf:4:10: there are no semicolons in this file: a statement ends by itself
\tlokal /d;
\t        ^
/etc/hast.conf:6:10: `[` without `]`
\t\tremote [::1
\t\t       ^"
    );
}

#[test]
fn what_a_new_file_asks_of_a_primary() {
    let old = minimal("", "", "");
    let change = |global: &str, own: &str| old.change_to(&minimal(global, "", own));
    assert_eq!(change("", ""), Change::None);
    assert_eq!(change("timeout 30", ""), Change::Settings { address: false });
    assert_eq!(change("exec /x", ""), Change::Settings { address: false });
    assert_eq!(change("", "source 10.0.0.1"), Change::Settings { address: true });
    assert_eq!(change("", "name other"), Change::Restart);
}

#[test]
fn a_file_that_is_not_there_or_too_large() {
    let error = load(Path::new("/nonexistent/hast.conf"), &node()).unwrap_err();
    assert_eq!(error.exit_code(), 72);
    assert!(error.to_string().starts_with("read /nonexistent/hast.conf: "));
    let text = vec![b' '; MAX_FILE + 1];
    assert!(parse("f", &text, &node()).is_err());
    assert!(parse("f", &text[1..], &node()).is_ok());
}

#[test]
fn the_sample_file_means_what_it_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../etc/hast.conf");
    for name in ["hasta", "hastb"] {
        let node = Node { hostname: name.to_owned(), ..Node::default() };
        let (config, warnings) = load(Path::new(path), &node).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(warnings, []);
        assert!(config.resources.len() >= 2);
    }
}

#[test]
fn the_manual_has_every_word_and_its_own_example() {
    let manual = include_str!("../../hast.conf.5");
    let lines = manual.lines().filter(|line| line.starts_with('.'));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    for word in [
        "control",
        "pidfile",
        "listen",
        "replication",
        "checksum",
        "compression",
        "timeout",
        "exec",
        "metaflush",
        "resource",
        "name",
        "local",
        "remote",
        "source",
        "on",
        "off",
        "fullsync",
        "memsync",
        "async",
        "none",
        "crc32",
        "sha256",
        "hole",
        "lzf",
    ] {
        assert!(words.contains(&word), "hast.conf.5 does not name {word}");
    }
    let example = manual.split(".Sh EXAMPLES").nth(1).unwrap();
    let example = example.split(".Bd -literal\n").nth(1).unwrap().split(".Ed").next().unwrap();
    let node = Node { hostname: "hasta".to_owned(), ..Node::default() };
    let (config, _) = parse("hast.conf.5", example.as_bytes(), &node)
        .unwrap_or_else(|said| panic!("{}", LoadError::Wrong(said)));
    assert!(!config.resources.is_empty());
}
