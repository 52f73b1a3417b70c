//! Tests of `bpf`: the programs on a machine of our own, the walk over a read's buffer.

use super::*;
use crate::wire::frame::{Addressing, headers};
use proptest::prelude::*;
use std::net::Ipv4Addr;

/// Runs a program as bpf(4) describes it, as far as ours go; `kind` is Linux's packet type.
fn run(program: &[Insn], packet: &[u8], kind: u32) -> u32 {
    let load = |at: u64, len: u64| -> Option<u32> {
        if at == u64::from(PACKET_TYPE) {
            return Some(kind);
        }
        let bytes = packet.get(at as usize..(at + len) as usize)?;
        Some(bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b)))
    };
    let (mut a, mut x, mut pc) = (0, 0, 0);
    loop {
        let i = program[pc];
        pc += 1;
        let loaded = match i.code {
            LOAD_WORD => load(i.k.into(), 4),
            LOAD_HALF => load(i.k.into(), 2),
            LOAD_BYTE => load(i.k.into(), 1),
            LOAD_HALF_AT_X => load(u64::from(i.k) + x, 2),
            LOAD_BYTE_AT_X => load(u64::from(i.k) + x, 1),
            LOAD_LENGTH => Some(packet.len() as u32),
            LOAD_HEADER_LEN => {
                let Some(first) = load(i.k.into(), 1) else { return 0 };
                x = u64::from(first & 15) * 4;
                continue;
            }
            LOAD_X => {
                x = i.k.into();
                continue;
            }
            IF_EQUAL | IF_BITS | IF_AT_LEAST => {
                let yes = match i.code {
                    IF_EQUAL => a == i.k,
                    IF_BITS => a & i.k != 0,
                    _ => a >= i.k,
                };
                pc += usize::from(if yes { i.jt } else { i.jf });
                continue;
            }
            RETURN => return i.k,
            code => panic!("unknown instruction {code:#x}"),
        };
        // A load beyond the packet ends the program, and refuses.
        let Some(loaded) = loaded else { return 0 };
        a = loaded;
    }
}

fn frame(mac: [u8; 6], ports: (u16, u16)) -> Vec<u8> {
    let to = Addressing {
        source_mac: [2, 0, 0, 0, 0, 1],
        dest_mac: mac,
        source: Ipv4Addr::UNSPECIFIED,
        dest: Ipv4Addr::BROADCAST,
        source_port: ports.0,
        dest_port: ports.1,
    };
    [&headers(&to, &[0; 300]).unwrap()[..], &[0; 300]].concat()
}

/// What every program must refuse, made from a frame that it takes.
fn spoilt(good: &[u8]) -> Vec<Vec<u8>> {
    let change = |at: usize, value: u8| {
        let mut f = good.to_vec();
        f[at] = value;
        f
    };
    vec![
        change(12, 0x86),    // not IPv4
        change(23, 6),       // TCP
        change(20, 0x01),    // a later fragment
        change(20, 0x10),    // so is this
        change(37, 69),      // another port
        change(14, 0x46),    // the port is four bytes further on
        good[..37].to_vec(), // no port
        good[..20].to_vec(),
        Vec::new(),
    ]
}

#[test]
fn linux_takes_what_came_to_everybody_for_the_link_and_to_us_for_udp() {
    let (link, udp) = (link_program_linux(Queue::Others), udp_program_linux(Queue::Others));
    let good = frame([0xff; 6], (68, 67));
    for kind in 0..8 {
        let group = kind == PACKET_BROADCAST || kind == PACKET_MULTICAST;
        assert_eq!(run(&link, &good, kind) != 0, group, "type {kind}");
        assert_eq!(run(&udp, &good[34..], kind) != 0, kind == PACKET_HOST, "type {kind}");
    }
    for bad in spoilt(&good) {
        assert_eq!(run(&link, &bad, PACKET_BROADCAST), 0, "{bad:?}");
    }
    assert_eq!(run(&link, &frame([0xff; 6], (67, 68)), PACKET_BROADCAST), 0);
    let mut options = good.clone();
    options.splice(34..34, [1; 8]);
    options[14] = 0x47;
    assert!(run(&link, &options, PACKET_BROADCAST) as usize >= options.len());
    let mut first_part = good.clone();
    first_part[20] = 0x20;
    assert_ne!(run(&link, &first_part, PACKET_BROADCAST), 0, "the frame's reader says why");
}

#[test]
fn linux_puts_every_message_into_one_of_two_queues() {
    let others = link_program_linux(Queue::Others);
    let discovers = link_program_linux(Queue::Discovers);
    let with = |option: &[u8], header: usize| {
        let mut f = frame([0xff; 6], (68, 67));
        f.splice(34..34, vec![1; header * 4]);
        f[14] = 0x45 + header as u8;
        let at = 14 + 20 + header * 4 + 8 + 240;
        f[at..at + option.len()].copy_from_slice(option);
        f
    };
    let queues =
        |f: &[u8]| [&others, &discovers].map(|program| run(program, f, PACKET_BROADCAST) != 0);
    for header in [0, 1, 10] {
        assert_eq!(queues(&with(&[53, 1, 1], header)), [false, true], "{header} words more");
        for other in [[53, 1, 3], [53, 2, 1], [12, 1, 1], [0, 0, 0]] {
            assert_eq!(queues(&with(&other, header)), [true, false], "{other:?}");
        }
    }
    let discover = with(&[53, 1, 1], 0);
    for length in 42..discover.len() {
        let [others, discovers] = queues(&discover[..length]);
        assert!(others != discovers, "cut to {length}");
    }
    for bad in spoilt(&discover) {
        assert_eq!(queues(&bad), [false; 2], "{bad:?}");
    }
    for kind in [PACKET_HOST, 3, 4] {
        assert_eq!(run(&discovers, &discover, kind), 0, "type {kind}");
    }
    let udp = udp_queue_program_linux();
    let payload = &discover[42..];
    assert_eq!(run(&udp, payload, PACKET_HOST), 1);
    assert_eq!(run(&udp, &with(&[53, 1, 3], 0)[42..], PACKET_HOST), 0);
    assert_eq!(run(&udp, &payload[..242], PACKET_HOST), 0);
    assert_eq!(run(&udp, &[], PACKET_HOST), 0);
    let [others, discovers] = [Queue::Others, Queue::Discovers].map(udp_program_linux);
    for length in 34..discover.len() {
        let is_discover = length >= 34 + 8 + 243;
        let datagram = &discover[34..length];
        assert_eq!(run(&discovers, datagram, PACKET_HOST) != 0, is_discover, "{length}");
        assert_eq!(run(&others, datagram, PACKET_HOST) != 0, !is_discover, "{length}");
        assert_eq!(run(&discovers, datagram, PACKET_BROADCAST), 0);
    }
}

#[test]
fn bsd_reads_what_came_to_everybody_and_writes_replies_only() {
    let (read, write) = (read_program_bsd(), write_program_bsd());
    let good = frame([0xff; 6], (68, 67));
    assert!(run(&read, &good, 99) as usize >= good.len());
    assert_ne!(run(&read, &frame([1, 0, 0x5e, 0, 0, 1], (68, 67)), 99), 0);
    assert_eq!(run(&read, &frame([2, 0, 0, 0, 0, 9], (68, 67)), 99), 0, "to one alone");
    for bad in spoilt(&good) {
        assert_eq!(run(&read, &bad, 99), 0, "{bad:?}");
    }
    for (ports, allowed) in [
        ((67, 68), true),
        ((67, 67), true),
        ((67, 69), false),
        ((68, 67), false),
        ((68, 68), false),
    ] {
        assert_eq!(run(&write, &frame([0xff; 6], ports), 99) != 0, allowed, "{ports:?}");
    }
    for bad in spoilt(&frame([0xff; 6], (67, 68))) {
        assert_eq!(run(&write, &bad, 99), 0, "{bad:?}");
    }
}

/// One packet as a system's kernel puts it into the buffer, alignment included.
fn captured(h: Header, packet: &[u8], datalen: u32, hdrlen: usize, flags: u16) -> Vec<u8> {
    let mut out = vec![0xee; hdrlen];
    out[h.caplen..h.caplen + 4].copy_from_slice(&(packet.len() as u32).to_ne_bytes());
    out[h.datalen..h.datalen + 4].copy_from_slice(&datalen.to_ne_bytes());
    out[h.hdrlen..h.hdrlen + 2].copy_from_slice(&(hdrlen as u16).to_ne_bytes());
    if let Some(at) = h.csumflags {
        out[at..at + 2].copy_from_slice(&flags.to_ne_bytes());
    }
    out.extend(packet);
    out.resize(out.len().next_multiple_of(h.align), 0xee);
    out
}

#[test]
fn a_buffer_is_walked_by_what_its_headers_say() {
    for (system, hdrlen) in [(FREEBSD, 34), (OPENBSD, 30), (NETBSD, 34)] {
        let h = system.header;
        let buffer = [
            captured(h, b"one", 3, hdrlen, 0),
            captured(h, b"cut", 900, hdrlen, 0),
            captured(h, b"second", 6, hdrlen + 8, 0xa8), // a later kernel's longer header
            captured(h, b"last", 4, hdrlen, 0x28),
        ]
        .concat();
        let found: Vec<_> = h.packets(&buffer).collect();
        let settled =
            if h.csumflags.is_some() { UdpChecksum::Settled } else { UdpChecksum::Unknown };
        let unknown = UdpChecksum::Unknown;
        assert_eq!(found, [(&b"one"[..], unknown), (b"second", settled), (b"last", unknown)]);
        // The kernel does not align behind the last one.
        let unpadded = buffer.len() - (hdrlen + 4).next_multiple_of(h.align) + hdrlen + 4;
        assert_eq!(h.packets(&buffer[..unpadded]).count(), 3);
        assert_eq!(h.packets(&buffer[..unpadded - 1]).count(), 2);
    }
}

#[test]
fn a_header_that_leads_nowhere_ends_the_walk() {
    let h = FREEBSD.header;
    let mut buffer = captured(h, b"", 0, 34, 0);
    buffer[24..26].fill(0);
    assert_eq!(h.packets(&buffer).take(9).count(), 0);
    buffer[16..20].fill(0xff);
    buffer[20..24].fill(0xff);
    buffer[24..26].copy_from_slice(&34u16.to_ne_bytes());
    assert_eq!(h.packets(&buffer).count(), 0);
}

proptest! {
    #[test]
    fn random_buffers_neither_panic_nor_loop(
        mut buffer in prop::collection::vec(any::<u8>(), 0..400),
        small in any::<[u8; 3]>(),
    ) {
        for h in [FREEBSD.header, OPENBSD.header] {
            if buffer.len() > 32 {
                buffer[h.caplen..h.caplen + 4].copy_from_slice(&u32::from(small[0]).to_ne_bytes());
                buffer[h.datalen..h.datalen + 4].copy_from_slice(&u32::from(small[1]).to_ne_bytes());
                buffer[h.hdrlen..h.hdrlen + 2].copy_from_slice(&u16::from(small[2]).to_ne_bytes());
            }
            prop_assert!(h.packets(&buffer).count() <= buffer.len());
        }
    }
}
