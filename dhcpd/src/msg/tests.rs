//! What is said between parent and server is heard, and nothing else is.

use super::*;
use proptest::prelude::*;

fn encoded(message: &impl Message) -> (u16, Vec<u8>) {
    let mut payload = Vec::new();
    let kind = message.encode(&mut payload);
    (kind, payload)
}

fn null() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

#[test]
fn start_and_interface_survive_the_channel() {
    let start = Start {
        config: "/etc/dhcpd.conf".into(),
        leases: "/var/db/dhcpd.leases".into(),
        tables: Tables { leased: Some("leased".parse().unwrap()), ..Tables::default() },
        element_timeout: Some(90),
        hooks: true,
    };
    let (kind, payload) = encoded(&ToServer::Start(start.clone()));
    match ToServer::decode(kind, &payload, None).unwrap() {
        ToServer::Start(back) => assert_eq!(back, start),
        other => panic!("{other:?}"),
    }
    let interface = Interface {
        name: "em0".into(),
        index: 7,
        mac: [2, 0, 0, 0, 0, 1],
        addresses: vec![Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 1)],
    };
    let message = ToServer::Interface(interface.clone(), null());
    assert!(message.fd().is_some());
    let (kind, payload) = encoded(&message);
    match ToServer::decode(kind, &payload, Some(null())).unwrap() {
        ToServer::Interface(back, _) => assert_eq!(back, interface),
        other => panic!("{other:?}"),
    }
    assert!(matches!(ToServer::decode(kind, &payload, None), Err(Error::MissingFd)));

    let (kind, payload) = encoded(&ToServer::Readdressed(interface.clone()));
    match ToServer::decode(kind, &payload, None).unwrap() {
        ToServer::Readdressed(back) => assert_eq!(back, interface),
        other => panic!("{other:?}"),
    }
    let (kind, payload) = encoded(&ToServer::InterfaceGone("em0".into()));
    let back = ToServer::decode(kind, &payload, None).unwrap();
    assert!(matches!(back, ToServer::InterfaceGone(name) if name == "em0"));
    let (kind, payload) = encoded(&ToServer::Apply);
    assert!(matches!(ToServer::decode(kind, &payload, None), Ok(ToServer::Apply)));
    for answer in [ToParent::Applied(Ok(())), ToParent::Applied(Err("why".into()))] {
        let (kind, payload) = encoded(&answer);
        assert_eq!(ToParent::decode(kind, &payload, None).unwrap(), answer);
    }
}

#[test]
fn what_a_reload_came_to_and_who_is_there_survive_the_channel() {
    let errors = "/etc/dhcpd.conf:1:2: one\n/etc/dhcpd.conf:3:4: two";
    for outcome in [Ok(()), Err(errors.to_owned())] {
        let (kind, payload) = encoded(&ToServer::Reloaded(outcome.clone()));
        let back = ToServer::decode(kind, &payload, None).unwrap();
        assert!(matches!(back, ToServer::Reloaded(b) if b == outcome));
    }
    let children = vec![
        Process { title: "dhcpd: parent".into(), pid: 7 },
        Process { title: "dhcpd: server".into(), pid: 8 },
    ];
    let (kind, payload) = encoded(&ToServer::Children(children.clone()));
    let back = ToServer::decode(kind, &payload, None).unwrap();
    assert!(matches!(back, ToServer::Children(b) if b == children));
    let asked = ToParent::WantReload { who: "pid 1 (uid 0, gid 0)".into() };
    let (kind, payload) = encoded(&asked);
    assert_eq!(ToParent::decode(kind, &payload, None).unwrap(), asked);
}

#[test]
fn a_descriptor_where_none_belongs_is_refused() {
    for (kind, payload) in [(1, vec![1]), (10, vec![]), (9, b"why".to_vec())] {
        assert!(matches!(ToServer::decode(kind, &payload, Some(null())), Err(Error::UnexpectedFd)));
    }
    assert!(matches!(ToParent::decode(1, &[], Some(null())), Err(Error::UnexpectedFd)));
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let (kind, payload) = encoded(&ToParent::Refused("\u{20ac}".repeat(2000)));
    let cut = ToParent::Refused("\u{20ac}".repeat(4096 / 3));
    assert_eq!(ToParent::decode(kind, &payload, None).unwrap(), cut);
}

proptest! {
    #[test]
    fn whatever_comes_never_panics(kind in 0u16..40, payload: Vec<u8>, fd: bool) {
        let _ = ToServer::decode(kind, &payload, fd.then(null));
        let _ = ToParent::decode(kind, &payload, fd.then(null));
    }
}

/// Whatever an administrator gives an interface, telling of it must not end service.
#[test]
fn an_interface_with_very_many_addresses_fits_into_a_message() {
    let addresses: Vec<Ipv4Addr> =
        (0..20_000u32).map(|n| Ipv4Addr::from(0x0a00_0000 + n)).collect();
    let name = "em0".to_owned();
    let interface = Interface { name, index: 7, mac: [2; 6], addresses: addresses.clone() };
    let (kind, payload) = encoded(&ToServer::Readdressed(interface));
    assert!(payload.len() <= MAX_PAYLOAD, "{}", payload.len());
    match ToServer::decode(kind, &payload, None).unwrap() {
        ToServer::Readdressed(back) => assert!(addresses.starts_with(&back.addresses)),
        other => panic!("{other:?}"),
    }
}
