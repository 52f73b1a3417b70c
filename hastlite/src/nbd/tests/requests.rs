//! Requests: what the engine is asked, what is refused with which number, and what is answered.

use super::super::protocol::{chunk, command, command_flag, error};
use super::*;

/// The one request that `said` is, which must be refused with this error, and then another one
/// that is not.
fn refused(structured: bool, said: &[u8]) -> u32 {
    let mut session = transmitting(structured, Limits::default());
    let good = request(0, command::FLUSH, 99, 0, 0);
    let whole = said.len();
    let said = [said, &good].concat();
    let mut at = 0;
    let asked = loop {
        at += feed(&mut session, &said[at..]);
        if let Some(asked) = session.next().unwrap() {
            break asked;
        }
        assert!(at >= whole || session.unsent() == 0, "a reply before the data has gone by");
        assert!(at < said.len(), "the good one is not seen");
    };
    assert!(matches!(asked, Asked::Io { request: ClientRequest { op: Op::Flush, .. }, .. }));
    let heard = drain(&mut session, usize::MAX);
    let number = |at: usize| u32::from_be_bytes(heard[at..at + 4].try_into().unwrap());
    if heard[..4] == [0x66, 0x8e, 0x33, 0xef] {
        assert_eq!(
            (heard[4..8].to_vec(), heard.len()),
            (vec![0, 1, 0x80, 1], 20 + number(16) as usize)
        );
        number(20)
    } else {
        assert!(heard[..4] == [0x67, 0x44, 0x66, 0x98] && heard.len() == 16);
        number(4)
    }
}

#[test]
fn requests_that_make_no_sense_have_their_error_numbers() {
    use command::*;
    let size = SIZE;
    let data = |bytes: usize, head: Vec<u8>| [head, vec![0; bytes]].concat();
    for (number, structured, said) in [
        (error::EINVAL, false, request(0, 77, 1, 0, 0)),
        (error::EINVAL, true, request(0, 77, 1, 0, 0)),
        (error::EINVAL, false, request(0, READ, 1, 1, 512)),
        (error::EINVAL, true, request(0, READ, 1, 0, 513)),
        (error::EINVAL, true, request(0, READ, 1, size, 512)),
        (error::EINVAL, true, request(0, READ, 1, u64::MAX - 511, 512)),
        (error::EOVERFLOW, true, request(0, READ, 1, 0, MAX_PAYLOAD + 512)),
        (error::EINVAL, false, request(0, READ, 1, 0, MAX_PAYLOAD + 512)),
        (error::EINVAL, false, request(command_flag::DF, READ, 1, 0, 512)),
        (error::EINVAL, true, request(command_flag::NO_HOLE, READ, 1, 0, 512)),
        (error::ENOSPC, true, data(1024, request(0, WRITE, 1, size - 512, 1024))),
        (error::ENOSPC, false, data(512, request(0, WRITE, 1, u64::MAX - 511, 512))),
        (error::EINVAL, true, data(511, request(0, WRITE, 1, 0, 511))),
        (error::EINVAL, true, data(512, request(1 << 5, WRITE, 1, 0, 512))),
        (error::EINVAL, true, data(34 << 20, request(0, WRITE, 1, 0, 34 << 20))),
        (error::EINVAL, true, request(0, TRIM, 1, size - 512, 1024)),
        (error::EINVAL, true, request(command_flag::FAST_ZERO, TRIM, 1, 0, 512)),
        (error::ENOSPC, true, request(0, WRITE_ZEROES, 1, size, u32::MAX - 511)),
        (error::EINVAL, true, request(0, FLUSH, 1, 512, 0)),
        (error::EINVAL, true, request(0, FLUSH, 1, 0, 512)),
        (error::EINVAL, true, request(0, CACHE, 1, size, 512)),
        (error::EINVAL, true, request(0, BLOCK_STATUS, 1, 0, 0)),
        (error::EINVAL, true, request(0, BLOCK_STATUS, 1, size, 512)),
        (error::EINVAL, true, request(command_flag::DF, BLOCK_STATUS, 1, 0, 512)),
        (error::EINVAL, false, request(0, BLOCK_STATUS, 1, 0, 512)),
    ] {
        assert_eq!(refused(structured, &said), number, "{:?}", &said[..28]);
    }
}

#[test]
fn zeroes_that_are_not_fast_are_refused_only_if_they_are_to_be() {
    let slow = Arc::new(Export::new("disk", "", SIZE, 512));
    let go = [FLAGS.to_vec(), ask_info(option::GO, "disk", &[])].concat();
    let fast = request(command_flag::FAST_ZERO, command::WRITE_ZEROES, 1, 0, 512);
    let said = [go, fast, request(0, command::WRITE_ZEROES, 2, 0, 512)].concat();
    let (heard, _) = talk(Session::new(7, slow, Limits::default()), &said, 1 << 20);
    assert_eq!(heard[heard.len() - 28..heard.len() - 24], error::ENOTSUP.to_be_bytes());
    assert_eq!(heard[heard.len() - 12..heard.len() - 8], [0; 4]);
}

#[test]
fn what_the_engine_is_asked() {
    use command::*;
    let mut session = transmitting(true, Limits::default());
    let said = [
        request(command_flag::FUA, WRITE, 5, 1024, 512),
        vec![0xaa; 512],
        request(command_flag::NO_HOLE, WRITE_ZEROES, 6, 0, 1 << 29),
        request(command_flag::FUA, TRIM, 7, 512, 512),
        request(command_flag::FUA, READ, 8, 0, 4096),
        request(command_flag::REQ_ONE, BLOCK_STATUS, 9, 4096, 8192),
        request(0, CACHE, 10, 0, 512),
        request(0, DISC, 11, 0, 0),
        request(0, FLUSH, 12, 0, 0),
    ];
    assert_eq!(feed(&mut session, &said.concat()), said.concat().len());
    let mut asked = || match session.next().unwrap() {
        Some(Asked::Io { request: r, provision }) => {
            let data = r.data.map(|data| data.to_vec());
            (r.tag - TAGS, format!("{:?}", r.op), r.offset, r.length, r.fua, provision, data)
        }
        other => panic!("{other:?}"),
    };
    let io = |tag, op: &str, offset, length, fua, provision, data| {
        (tag, op.to_string(), offset, length, fua, provision, data)
    };
    assert_eq!(asked(), io(0, "Write", 1024, 512, true, false, Some(vec![0xaa; 512])));
    assert_eq!(asked(), io(1, "Zero", 0, 1 << 29, false, true, None));
    assert_eq!(asked(), io(2, "Trim", 512, 512, true, false, None));
    assert_eq!(asked(), io(3, "Read", 0, 4096, false, false, None));
    let Some(Asked::Status { tag, offset: 4096, length: 8192, one: true, .. }) =
        session.next().unwrap()
    else {
        panic!("no status")
    };
    assert!(matches!(session.next(), Ok(Some(Asked::WillNeed { offset: 0, length: 512 }))));
    assert!(session.next().unwrap().is_none(), "nothing is asked behind the leave-taking");
    assert!(!session.wants_bytes());
    drain(&mut session, usize::MAX);
    for tag in [TAGS + 3, TAGS, TAGS + 1, TAGS + 2] {
        assert!(!session.is_done());
        assert!(!session.answer(tag ^ 1 << 32, Ok(None)), "another connection's");
        assert!(!session.answer_status(tag, Ok(BlockStatus::default())), "no status");
        assert!(session.answer(tag, Err(Errno(libc::ENOSPC))));
    }
    assert!(session.answer_status(tag, Err(Errno::EIO)));
    assert!(!session.is_done(), "there are replies to be sent");
    drain(&mut session, usize::MAX);
    assert!(session.is_done());
    assert_eq!(session.in_flight(), (0, 0));
}

#[test]
fn a_read_without_its_data_is_an_error() {
    let mut session = transmitting(false, Limits::default());
    feed(&mut session, &request(0, command::READ, 1, 0, 1024));
    let asked = session.next().unwrap().unwrap();
    let Asked::Io { request, .. } = asked else { panic!("no read") };
    assert!(session.answer(request.tag, Ok(Some(Data::from(vec![0; 512])))));
    assert_eq!(drain(&mut session, usize::MAX)[4..8], error::EIO.to_be_bytes());
    assert_eq!(session.in_flight(), (0, 0));
}

#[test]
fn status_of_both_contexts_is_one_reply() {
    let mut session = transmitting(true, Limits::default());
    feed(&mut session, &request(0, command::BLOCK_STATUS, 1, 0, 8192));
    let asked = session.next().unwrap().unwrap();
    answer(&mut session, &asked);
    let mut want = Output::default();
    let run = |length: u32, flags: u32| [length.to_be_bytes(), flags.to_be_bytes()].concat();
    want.status(1, 1, &run(4096, 3), false);
    want.status(1, 2, &run(8192, 0), true);
    let mut slices = [IoSlice::new(&[]); 1];
    want.gather(&mut slices);
    assert_eq!(drain(&mut session, usize::MAX), slices[0][..]);
    assert!(slices[0][4..8] == [0, 0, 0, 5] && chunk::BLOCK_STATUS == 5);
}
