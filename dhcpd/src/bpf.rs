//! The packet filter machine of BSD and Linux: our programs for it, and how three systems number
//! and lay out what bpf(4) exchanges. Bytes and numbers only, so that all of it is tested anywhere;
//! `link_linux` and `link_bpf` talk to the kernel.
//!
//! The numbers are amd64's, and those of every 64-bit machine the three systems run on.

use crate::socket::Queue;
use crate::wire::frame::UdpChecksum;
use crate::wire::{CLIENT_PORT, SERVER_PORT};

/// One instruction (struct bpf_insn, struct sock_filter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs, reason = "each is the C field of that name")]
pub struct Insn {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_AT_X: u16 = 0x48;
const LOAD_BYTE_AT_X: u16 = 0x50;
const LOAD_LENGTH: u16 = 0x80;
const LOAD_X: u16 = 0x01;
/// X becomes the length of the IPv4 header that starts there.
const LOAD_HEADER_LEN: u16 = 0xb1;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_BITS: u16 = 0x45;
const RETURN: u16 = 0x06;

/// What a program returns to have the whole packet: more than any is long.
const ALL: u32 = 0x0004_0000;

const fn load(code: u16, k: u32) -> Insn {
    Insn { code, jt: 0, jf: 0, k }
}

const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Insn {
    Insn { code, jt, jf, k }
}

/// Ethernet, IPv4, UDP, not a later fragment, to the server's port; nothing else.
const TO_SERVER: [Insn; 11] = [
    load(LOAD_HALF, 12),
    jump(IF_EQUAL, 0x0800, 0, 8),
    load(LOAD_BYTE, 23),
    jump(IF_EQUAL, 17, 0, 6),
    load(LOAD_HALF, 20),
    jump(IF_BITS, 0x1fff, 4, 0),
    load(LOAD_HEADER_LEN, 14),
    load(LOAD_HALF_AT_X, 16),
    jump(IF_EQUAL, SERVER_PORT as u32, 0, 1),
    load(RETURN, ALL),
    load(RETURN, 0),
];

/// Linux keeps what kind of address a packet came to beside it: SKF_AD_OFF + SKF_AD_PKTTYPE.
const PACKET_TYPE: u32 = 0xffff_f004;
const PACKET_HOST: u32 = 0;
const PACKET_BROADCAST: u32 = 1;
const PACKET_MULTICAST: u32 = 2;

/// Where in a message its first option is: behind the cookie (RFC 2131 section 2).
const FIRST_OPTION: u32 = 240;
/// That it is option 53, of one byte (RFC 2132 section 9.6), where clients have it.
const MESSAGE_TYPE: u32 = 0x3501;
const DISCOVER: u32 = 1;

/// For a packet socket of Linux: what came to everybody, as far as it belongs to this queue. What
/// came to us alone is the UDP sockets'.
pub fn link_program_linux(queue: Queue) -> Vec<Insn> {
    let group = [
        load(LOAD_WORD, PACKET_TYPE),
        jump(IF_EQUAL, PACKET_BROADCAST, 1, 0),
        jump(IF_EQUAL, PACKET_MULTICAST, 0, TO_SERVER.len() as u8 - 1),
    ];
    let which = only(queue, load(LOAD_HEADER_LEN, 14), 14 + 8, 60);
    [&which[..], &group, &TO_SERVER].concat()
}

/// For a UDP socket of Linux: what came to us alone, as far as it belongs to this queue.
pub fn udp_program_linux(queue: Queue) -> Vec<Insn> {
    let alone = [
        load(LOAD_WORD, PACKET_TYPE),
        jump(IF_EQUAL, PACKET_HOST, 0, 1),
        load(RETURN, ALL),
        load(RETURN, 0),
    ];
    [&only(queue, load(LOAD_X, 0), 8, 0)[..], &alone].concat()
}

/// Refuses what belongs to the other queue, and goes on behind itself with the rest. The message is
/// `message` bytes behind what `header` makes X, which is `longest` at most.
fn only(queue: Queue, header: Insn, message: u32, longest: u32) -> [Insn; 8] {
    // How many instructions further a DISCOVER goes on, and anything else: one of them is refused.
    let (discover, other) = match queue {
        Queue::Discovers => (1, 0),
        Queue::Others => (0, 1),
    };
    let option = message + FIRST_OPTION;
    [
        // No load may be beyond the end: that would refuse.
        load(LOAD_LENGTH, 0),
        jump(IF_AT_LEAST, longest + option + 3, 0, 5 + other),
        header,
        load(LOAD_HALF_AT_X, option),
        jump(IF_EQUAL, MESSAGE_TYPE, 0, 2 + other),
        load(LOAD_BYTE_AT_X, option + 2),
        jump(IF_EQUAL, DISCOVER, discover, other),
        load(RETURN, 0),
    ]
}

/// For the UDP sockets of Linux: which of the two takes a message, by the order in which they were
/// bound, [`Queue::Others`] first. A load beyond the end returns 0. (What is addressed to many goes
/// to both, whatever this says: hence the filters.)
pub fn udp_queue_program_linux() -> Vec<Insn> {
    vec![
        load(LOAD_HALF, FIRST_OPTION),
        jump(IF_EQUAL, MESSAGE_TYPE, 0, 3),
        load(LOAD_BYTE, FIRST_OPTION + 2),
        jump(IF_EQUAL, DISCOVER, 0, 1),
        load(RETURN, 1),
        load(RETURN, 0),
    ]
}

/// For bpf(4): what came to everybody, told by the group bit of the frame's destination.
pub fn read_program_bsd() -> Vec<Insn> {
    let group = [load(LOAD_BYTE, 0), jump(IF_BITS, 1, 0, TO_SERVER.len() as u8 - 1)];
    [&group[..], &TO_SERVER].concat()
}

/// For bpf(4): all that may be sent, namely from the server's port to its like or to clients.
pub fn write_program_bsd() -> Vec<Insn> {
    vec![
        load(LOAD_HALF, 12),
        jump(IF_EQUAL, 0x0800, 0, 11),
        load(LOAD_BYTE, 23),
        jump(IF_EQUAL, 17, 0, 9),
        load(LOAD_HALF, 20),
        jump(IF_BITS, 0x1fff, 7, 0),
        load(LOAD_HEADER_LEN, 14),
        load(LOAD_HALF_AT_X, 14),
        jump(IF_EQUAL, SERVER_PORT as u32, 0, 4),
        load(LOAD_HALF_AT_X, 16),
        jump(IF_EQUAL, SERVER_PORT as u32, 1, 0),
        jump(IF_EQUAL, CLIENT_PORT as u32, 0, 1),
        load(RETURN, ALL),
        load(RETURN, 0),
    ]
}

/// DLT_EN10MB: the only kind of link there is a program for.
pub const ETHERNET: u32 = 1;
/// Bytes of packets that one read takes. The kernel wants every read to ask for just this many.
pub const BUFFER: u32 = 32768;

/// How one system's bpf(4) is spoken to.
#[derive(Clone, Copy, Debug)]
pub struct System {
    /// BIOCSBLEN.
    pub set_buffer: u64,
    /// BIOCSETIF; its argument is a struct ifreq, of which only the name is read.
    pub set_interface: u64,
    /// Size of that struct, in bytes.
    pub ifreq: usize,
    /// BIOCGDLT.
    pub get_link_type: u64,
    /// BIOCIMMEDIATE.
    pub set_immediate: u64,
    /// BIOCSHDRCMPLT.
    pub set_header_complete: u64,
    /// BIOCSDIRECTION or BIOCSDIRFILT.
    pub set_direction: u64,
    /// What its argument is for incoming packets only.
    pub incoming: u32,
    /// BIOCSETF.
    pub set_read_program: u64,
    /// BIOCSETWF.
    pub set_write_program: u64,
    /// BIOCSFILDROP, whose argument 1 takes what is captured away from the system's own stack.
    pub set_capture: Option<u64>,
    /// BIOCLOCK.
    pub lock: u64,
    /// What stands before each packet.
    pub header: Header,
}

/// Where the fields of struct bpf_hdr are, in bytes. Numbers are in the machine's own order.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// `bh_caplen`, 32 bits.
    pub caplen: usize,
    /// `bh_datalen`, 32 bits.
    pub datalen: usize,
    /// `bh_hdrlen`, 16 bits: what to skip, never the size of the struct.
    pub hdrlen: usize,
    /// `bh_csumflags`, 16 bits.
    pub csumflags: Option<usize>,
    /// What every packet's start is a multiple of.
    pub align: usize,
}

/// M_UDP_CSUM_IN_OK of OpenBSD's mbuf(9).
const OPENBSD_UDP_OK: u16 = 0x80;

const VOID: u64 = 0x2000_0000;
const OUT: u64 = 0x4000_0000;
const IN: u64 = 0x8000_0000;
/// A C unsigned int, and struct bpf_program.
const INT: u64 = 4;
const PROGRAM: u64 = 16;

/// A request of the group 'B' (_IO, _IOR, _IOW and _IOWR of sys/ioccom.h).
const fn request(direction: u64, number: u64, size: u64) -> u64 {
    direction | size << 16 | (b'B' as u64) << 8 | number
}

/// FreeBSD.
pub const FREEBSD: System = System {
    set_buffer: request(IN | OUT, 102, INT),
    set_interface: request(IN, 108, 32),
    ifreq: 32,
    get_link_type: request(OUT, 106, INT),
    set_immediate: request(IN, 112, INT),
    set_header_complete: request(IN, 117, INT),
    set_direction: request(IN, 119, INT),
    incoming: 0,
    set_read_program: request(IN, 103, PROGRAM),
    set_write_program: request(IN, 123, PROGRAM),
    set_capture: None,
    lock: request(VOID, 122, 0),
    header: Header { caplen: 16, datalen: 20, hdrlen: 24, csumflags: None, align: 8 },
};

/// OpenBSD.
pub const OPENBSD: System = System {
    set_direction: request(IN, 125, INT),
    incoming: 2, // names the direction to leave out
    set_write_program: request(IN, 119, PROGRAM),
    set_capture: Some(request(IN, 121, INT)),
    lock: request(VOID, 118, 0),
    header: Header { caplen: 8, datalen: 12, hdrlen: 16, csumflags: Some(24), align: 4 },
    ..FREEBSD
};

/// NetBSD.
pub const NETBSD: System = System {
    set_interface: request(IN, 108, 144),
    ifreq: 144,
    set_direction: request(IN, 121, INT),
    incoming: 0,
    set_write_program: request(IN, 127, PROGRAM),
    set_capture: None,
    lock: request(VOID, 126, 0),
    ..FREEBSD
};

const _: () = {
    assert!(FREEBSD.set_buffer == 0xc004_4266 && FREEBSD.get_link_type == 0x4004_426a);
    assert!(FREEBSD.set_immediate == 0x8004_4270 && FREEBSD.set_header_complete == 0x8004_4275);
    assert!(FREEBSD.set_read_program == 0x8010_4267 && FREEBSD.set_interface == 0x8020_426c);
    assert!(FREEBSD.set_direction == 0x8004_4277 && FREEBSD.lock == 0x2000_427a);
    assert!(FREEBSD.set_write_program == 0x8010_427b);
    assert!(OPENBSD.set_direction == 0x8004_427d && OPENBSD.lock == 0x2000_4276);
    assert!(OPENBSD.set_write_program == 0x8010_4277 && OPENBSD.set_interface == 0x8020_426c);
    assert!(NETBSD.set_direction == 0x8004_4279 && NETBSD.lock == 0x2000_427e);
    assert!(NETBSD.set_write_program == 0x8010_427f && NETBSD.set_interface == 0x8090_426c);
    assert!(size_of::<Insn>() == 8);
};

impl Header {
    /// The packets in what one read gave. One that was cut short, or that its header lies about,
    /// is left out; behind a header that cannot be stepped over, all are.
    pub fn packets(self, buffer: &[u8]) -> impl Iterator<Item = (&[u8], UdpChecksum)> {
        let mut rest = buffer;
        std::iter::from_fn(move || {
            loop {
                let hdrlen = usize::from(u16_at(rest, self.hdrlen)?);
                let caplen = u32_at(rest, self.caplen)? as usize;
                let whole = u32_at(rest, self.datalen)? as usize == caplen;
                if hdrlen < self.hdrlen + 2 {
                    return None;
                }
                let end = hdrlen.checked_add(caplen)?;
                let packet = rest.get(hdrlen..end)?;
                let checksum = match self.csumflags.and_then(|at| u16_at(rest, at)) {
                    Some(flags) if flags & OPENBSD_UDP_OK != 0 => UdpChecksum::Settled,
                    _ => UdpChecksum::Unknown,
                };
                rest = rest.get(end.next_multiple_of(self.align)..).unwrap_or_default();
                if whole {
                    return Some((packet, checksum));
                }
            }
        })
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests;
