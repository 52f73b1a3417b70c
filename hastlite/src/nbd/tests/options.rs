//! Negotiation: what is agreed on, what is refused, and how it ends.

use super::*;

#[test]
fn the_greeting_and_the_old_way_in() {
    let said = [&[0, 0, 0, 1][..], &ask_option(option::EXPORT_NAME, b"disk")].concat();
    let (heard, end) = talk(session(), &said, 1 << 20);
    assert_eq!(heard[..GREETING], *b"NBDMAGICIHAVEOPT\0\x03");
    assert_eq!(heard[GREETING..GREETING + 8], SIZE.to_be_bytes());
    // All but READ_ONLY, ROTATIONAL, DF (not without structured replies), RESIZE.
    assert_eq!(heard[GREETING + 8..GREETING + 10], 0b1101_0110_1101_u16.to_be_bytes());
    assert_eq!(heard[GREETING + 10..], [0; 124]);
    assert_eq!(end, Ok(false));

    let said = [&FLAGS[..], &ask_option(option::EXPORT_NAME, b"")].concat();
    assert_eq!(talk(session(), &said, 1 << 20).0.len(), GREETING + 10, "no zeroes");
    let said = [&FLAGS[..], &ask_option(option::EXPORT_NAME, b"other")].concat();
    let (heard, end) = talk(session(), &said, 1 << 20);
    assert_eq!((heard.len(), end), (GREETING, Err(Violation::UnknownExport("other".into()))));
}

#[test]
fn go_tells_size_flags_and_block_sizes() {
    let said = [
        FLAGS.to_vec(),
        ask_option(option::STRUCTURED_REPLY, &[]),
        ask_info(option::GO, "disk", &[info::BLOCK_SIZE, 77, info::NAME, info::DESCRIPTION]),
    ];
    let (heard, end) = talk(session(), &said.concat(), 1 << 20);
    assert_eq!(end, Ok(false));
    let mut want = Output::default();
    want.option(option::STRUCTURED_REPLY, rep::ACK, &[]);
    let flags = 0b1101_1110_1101_u16.to_be_bytes();
    want.option(option::GO, rep::INFO, &[&[0, 0], &SIZE.to_be_bytes(), &flags]);
    want.option(option::GO, rep::INFO, &[&[0, 1], b"disk"]);
    want.option(option::GO, rep::INFO, &[&[0, 2], b"a disk"]);
    let sizes = [[0, 0, 2, 0], [0, 0, 0x10, 0], [2, 0, 0, 0]].concat();
    want.option(option::GO, rep::INFO, &[&[0, 3], &sizes]);
    want.option(option::GO, rep::ACK, &[]);
    let mut slices = [IoSlice::new(&[]); 1];
    assert_eq!(want.gather(&mut slices), 1);
    assert_eq!(heard[GREETING..], slices[0][..]);
}

#[test]
fn what_cannot_be_had_is_refused_and_the_options_go_on() {
    let long = vec![b'x'; LONGEST_OPTION + 1];
    let mut bad_info = ask_info(option::INFO, "disk", &[info::NAME]);
    bad_info.extend_from_slice(&[0, 3]);
    bad_info[15] += 2;
    let options = [
        (ask_option(99, b"whatever"), vec![rep::ERR_UNSUP]),
        (ask_option(option::STARTTLS, b""), vec![rep::ERR_POLICY]),
        (ask_option(option::LIST, b"x"), vec![rep::ERR_INVALID]),
        (ask_option(option::LIST, b""), vec![rep::SERVER, rep::ACK]),
        (ask_option(option::STRUCTURED_REPLY, b"x"), vec![rep::ERR_INVALID]),
        (ask_info(option::INFO, "other", &[]), vec![rep::ERR_UNKNOWN]),
        (ask_info(option::GO, "other", &[]), vec![rep::ERR_UNKNOWN]),
        (bad_info, vec![rep::ERR_INVALID]),
        (ask_option(option::GO, &[0xff; 8]), vec![rep::ERR_INVALID]),
        (ask_option(option::GO, &[]), vec![rep::ERR_INVALID]),
        (ask_option(98, &long), vec![rep::ERR_TOO_BIG]),
        (ask_info(option::INFO, "", &[]), vec![rep::INFO, rep::INFO, rep::INFO, rep::ACK]),
        (ask_option(option::ABORT, &long), vec![rep::ACK]),
    ];
    let said: Vec<_> = options.iter().map(|(said, _)| said.clone()).collect();
    let want: Vec<_> = options.into_iter().flat_map(|(_, want)| want).collect();
    assert_eq!(negotiate(&said), (want, Ok(true)));
}

#[test]
fn what_no_client_says_ends_the_connection() {
    let end = |said: &[u8]| talk(session(), said, 1 << 20).1;
    assert_eq!(end(&[0, 0, 0, 4]), Err(Violation::ClientFlags(4)));
    assert_eq!(end(&[0, 1, 0, 1]), Err(Violation::ClientFlags(0x1_0001)));
    let said = [&FLAGS[..], b"HAVEAOPT00000000"].concat();
    assert_eq!(end(&said), Err(Violation::OptionMagic(0x4841_5645_414f_5054)));
    let said = [&FLAGS[..], b"IHAVEOPT", &[0, 0, 0, 3, 2, 0, 0, 0]].concat();
    assert_eq!(end(&said), Err(Violation::OptionTooLong { option: 3, length: 1 << 25 }));
    let said = [&FLAGS[..], &ask_option(option::EXPORT_NAME, &[0; LONGEST_OPTION + 1])].concat();
    assert!(matches!(end(&said), Err(Violation::OptionTooLong { option: 1, .. })));
    let list = ask_option(option::LIST, &[]);
    assert_eq!(negotiate(&vec![list; 1001]).1, Err(Violation::TooManyOptions));
    let said = [FLAGS.to_vec(), ask_info(option::GO, "", &[]), b"\x25\x60\x95\x14".to_vec()];
    assert_eq!(end(&said.concat()), Err(Violation::RequestMagic(0x2560_9514)));
}

#[test]
fn metadata_contexts() {
    let structured = ask_option(option::STRUCTURED_REPLY, &[]);
    let list = |queries: &[&str]| ask_contexts(option::LIST_META_CONTEXT, "disk", queries);
    let set = |queries: &[&str]| ask_contexts(option::SET_META_CONTEXT, "", queries);
    let after = |options: &[Vec<u8>]| {
        let options: Vec<_> = [std::slice::from_ref(&structured), options].concat();
        let (kinds, end) = negotiate(&options);
        assert_eq!((kinds[0], end), (rep::ACK, Ok(false)));
        kinds[1..].to_vec()
    };
    const ONE: u32 = rep::META_CONTEXT;
    assert_eq!(negotiate(&[set(&["base:allocation"])]).0, [rep::ERR_INVALID]);
    assert_eq!(after(&[list(&[])]), [ONE, ONE, rep::ACK]);
    assert_eq!(after(&[list(&["base:"])]), [ONE, rep::ACK]);
    assert_eq!(after(&[list(&["qemu:", "y:z"])]), [rep::ACK]);
    assert_eq!(after(&[list(&["nothing"])]), [rep::ERR_INVALID]);
    assert_eq!(after(&[set(&[])]), [rep::ACK]);
    assert_eq!(after(&[set(&["base:", "x-hastlite:dirty"])]), [ONE, rep::ACK]);
    assert_eq!(after(&[set(&["base:allocation"; 65])]), [rep::ERR_TOO_BIG]);
    let other = ask_contexts(option::SET_META_CONTEXT, "other", &[]);
    assert_eq!(after(&[other]), [rep::ERR_UNKNOWN]);
    let mut cut = list(&["base:"]);
    cut.pop();
    cut[15] -= 1;
    assert_eq!(after(&[cut]), [rep::ERR_INVALID]);

    // One that fails, too, takes back what was selected.
    let (_, end) = negotiate(&[structured.clone(), set(&["base:allocation"]), set(&["bad"])]);
    assert_eq!(end, Ok(false));
    let options =
        [FLAGS.to_vec(), structured.clone(), set(&["base:allocation"]), set(&["bad"])].concat();
    let mut session = session();
    feed(&mut session, &options);
    assert!(session.next().unwrap().is_none());
    let Phase::Handshake(handshake) = &session.phase else { panic!("still at the options") };
    assert!(handshake.agreed().contexts.is_empty() && handshake.agreed().structured);
}

#[test]
fn options_without_end_are_not_answered_to_a_client_that_does_not_read() {
    let mut session = session();
    feed(&mut session, &FLAGS);
    let list = ask_option(option::INFO, &[string("disk"), vec![0, 0]].concat()).repeat(900);
    let mut at = 0;
    while session.wants_bytes() && at < list.len() {
        at += feed(&mut session, &list[at..]);
        assert!(session.next().unwrap().is_none());
    }
    assert!(session.unsent() <= UNSENT_OPTIONS + 1000, "{} bytes wait", session.unsent());
}
