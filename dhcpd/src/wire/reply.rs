//! Writing a reply: the fixed fields, then the options into the room there is.
//!
//! Which options, and in which order, the engine has decided. Here is only how they are laid out:
//! overload (RFC 2132 section 9.3), long options (RFC 3396), the relay agent's option last
//! (RFC 3046 section 2.2), and the 300 bytes that old relays and clients want.

use super::code::option;
use super::{COOKIE, FILE, FIXED, SNAME};
use std::net::Ipv4Addr;

/// Room for options, in bytes, for a client that says nothing: 576 less the headers.
pub const OPTIONS_DEFAULT: usize = 312;
/// Room for options for a BOOTP client (RFC 951's vendor area).
pub const OPTIONS_BOOTP: usize = 64;
/// Room for options in an Ethernet frame: 1500 less the headers.
pub const OPTIONS_MAX: usize = 1236;

/// IPv4 and UDP headers and the fixed part: what option 57 counts beside the options.
const OVERHEAD: u16 = 264;
/// Nothing shorter is sent.
const SMALLEST: usize = 300;

/// Room for options that option 57's value leaves, in bytes, cookie and end included.
///
/// Values under 576 are taken as 576, which every host must accept (RFC 2132 section 9.10).
pub fn limit(max_message_size: Option<u16>) -> usize {
    match max_message_size {
        None => OPTIONS_DEFAULT,
        Some(size) => usize::from(size.max(576) - OVERHEAD).min(OPTIONS_MAX),
    }
}

/// The fixed fields of a reply but `sname` and `file`. Numbers are in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is RFC 2131 section 2's field of that name")]
pub struct Header {
    pub op: u8,
    pub htype: u8,
    pub hlen: u8,
    pub hops: u8,
    pub xid: u32,
    pub secs: u16,
    pub flags: u16,
    pub ciaddr: Ipv4Addr,
    pub yiaddr: Ipv4Addr,
    pub siaddr: Ipv4Addr,
    pub giaddr: Ipv4Addr,
    pub chaddr: [u8; 16],
}

impl Header {
    fn put(&self, out: &mut Vec<u8>) {
        let mut fixed = [0u8; FIXED];
        fixed[..4].copy_from_slice(&[self.op, self.htype, self.hlen, self.hops]);
        fixed[4..8].copy_from_slice(&self.xid.to_be_bytes());
        fixed[8..10].copy_from_slice(&self.secs.to_be_bytes());
        fixed[10..12].copy_from_slice(&self.flags.to_be_bytes());
        fixed[12..16].copy_from_slice(&self.ciaddr.octets());
        fixed[16..20].copy_from_slice(&self.yiaddr.octets());
        fixed[20..24].copy_from_slice(&self.siaddr.octets());
        fixed[24..28].copy_from_slice(&self.giaddr.octets());
        fixed[28..44].copy_from_slice(&self.chaddr);
        out.extend_from_slice(&fixed);
    }
}

/// One of the three places where options go, as positions in the output.
#[derive(Clone, Copy)]
struct Area {
    at: usize,
    /// Where it is full; its end option has its place behind this.
    end: usize,
}

impl Area {
    fn room(&self) -> usize {
        self.end - self.at
    }

    fn put(&mut self, out: &mut [u8], code: u8, value: &[u8]) {
        let end = self.at + 2 + value.len();
        if let Some([c, l, v @ ..]) = out.get_mut(self.at..end) {
            (*c, *l) = (code, value.len() as u8);
            v.copy_from_slice(value);
            self.at = end;
        }
    }
}

/// Whether a relay agent's option finds its room under this limit.
pub fn holds(limit: usize, relay_agent: &[u8]) -> bool {
    encoded_len(relay_agent.len()) <= limit.saturating_sub(COOKIE.len() + 1)
}

/// Appends a whole message to `out` and returns how many options were left out for want of room.
///
/// `options` go in this order; a value over 255 bytes is split. `limit` is the room for options in
/// bytes, cookie and end included ([`limit`]). What does not fit there goes into `file`, then
/// `sname`, where those are `None`; `Some(b"")` keeps a field empty. An option that fits nowhere
/// whole is left out, and those behind it still have their chance. `relay_agent` is option 82's
/// value as it came: it goes last, and its room is kept for it. Codes that are layout rather than
/// content (0, 52, 82, 255) are passed over in `options`.
pub fn encode(
    out: &mut Vec<u8>,
    header: &Header,
    sname: Option<&[u8]>,
    file: Option<&[u8]>,
    options: &[(u8, &[u8])],
    limit: usize,
    relay_agent: Option<&[u8]>,
) -> usize {
    let base = out.len();
    header.put(out);
    let message = &mut out[base..];
    fill(&mut message[SNAME], sname.unwrap_or_default());
    fill(&mut message[FILE], file.unwrap_or_default());
    out.extend_from_slice(&COOKIE);

    let mut dropped = 0;
    let mut room = limit.saturating_sub(COOKIE.len() + 1);
    let relay_agent = relay_agent.filter(|value| {
        encoded_len(value.len()) <= room || {
            dropped += 1;
            false
        }
    });
    room -= relay_agent.map_or(0, |value| encoded_len(value.len()));
    let content = options.iter().filter(|(code, _)| is_content(*code));
    let wanted: usize = content.clone().map(|(_, value)| encoded_len(value.len())).sum();

    let start = out.len();
    let mut main = Area { at: start, end: start + room.min(wanted) };
    if wanted <= room {
        out.resize(main.end, 0);
        for (code, value) in content {
            put_split(out, std::slice::from_mut(&mut main), *code, value);
        }
    } else {
        let none = Area { at: start, end: start };
        let mut areas = [main, none, none];
        if room >= 3 && (file.is_none() || sname.is_none()) {
            areas[0].end -= 3; // option 52's own
            let field =
                |at: std::ops::Range<usize>| Area { at: base + at.start, end: base + at.end - 1 };
            areas[1] = if file.is_none() { field(FILE) } else { none };
            areas[2] = if sname.is_none() { field(SNAME) } else { none };
        }
        let empty = areas;
        out.resize(main.end, 0);
        for (code, value) in content {
            dropped += usize::from(!put_anywhere(out, &mut areas, *code, value));
        }
        main = areas[0];
        out.truncate(main.at);
        let mut overload = 0;
        for (bit, (area, empty)) in [1, 2].into_iter().zip(areas.iter().zip(&empty).skip(1)) {
            if area.at != empty.at {
                overload |= bit;
                out[area.at] = option::END;
            }
        }
        if overload != 0 {
            out.extend_from_slice(&[option::OVERLOAD, 1, overload]);
        }
    }
    if let Some(value) = relay_agent {
        let at = out.len();
        let end = at + encoded_len(value.len());
        out.resize(end, 0);
        put_split(out, &mut [Area { at, end }], option::RELAY_AGENT, value);
    }
    out.push(option::END);
    if out.len() - base < SMALLEST {
        out.resize(base + SMALLEST, 0);
    }
    dropped
}

/// Appends a whole message as before RFC 1048: where options would be, `vendor` as the client sent it.
/// What is beyond [`OPTIONS_BOOTP`] bytes of it is cut.
pub fn encode_plain(out: &mut Vec<u8>, header: &Header, sname: &[u8], file: &[u8], vendor: &[u8]) {
    let base = out.len();
    header.put(out);
    let message = &mut out[base..];
    fill(&mut message[SNAME], sname);
    fill(&mut message[FILE], file);
    out.extend_from_slice(&vendor[..vendor.len().min(OPTIONS_BOOTP)]);
    out.resize(base + SMALLEST, 0);
}

fn is_content(code: u8) -> bool {
    !matches!(code, option::PAD | option::OVERLOAD | option::RELAY_AGENT | option::END)
}

/// Bytes that a value of `len` bytes takes as an option, its codes and lengths included.
pub fn encoded_len(len: usize) -> usize {
    len + 2 * len.div_ceil(255).max(1)
}

/// Copies as much of `value` as the field holds.
fn fill(field: &mut [u8], value: &[u8]) {
    let len = value.len().min(field.len());
    field[..len].copy_from_slice(&value[..len]);
}

/// Puts an option into the first area that holds it whole. A value over 255 bytes, which needs a
/// client that joins parts anyway, may also go on from one area to the next.
fn put_anywhere(out: &mut [u8], areas: &mut [Area; 3], code: u8, value: &[u8]) -> bool {
    if value.len() <= 255 {
        let fits = |area: &&mut Area| area.room() >= value.len() + 2;
        return match areas.iter_mut().find(fits) {
            Some(area) => {
                area.put(out, code, value);
                true
            }
            None => false,
        };
    }
    let holds: usize = areas.iter().map(|area| value_room(area.room())).sum();
    holds >= value.len() && {
        put_split(out, areas, code, value);
        true
    }
}

/// How many bytes of a split value so many bytes hold.
fn value_room(room: usize) -> usize {
    room / 257 * 255 + (room % 257).saturating_sub(2)
}

/// Puts an option in parts of at most 255 bytes, filling one area after the other.
fn put_split(out: &mut [u8], areas: &mut [Area], code: u8, value: &[u8]) {
    let mut rest = value;
    for area in areas {
        while area.room() > 2 || (area.room() == 2 && value.is_empty()) {
            let (part, behind) = rest.split_at(rest.len().min(255).min(area.room() - 2));
            area.put(out, code, part);
            rest = behind;
            if rest.is_empty() {
                return;
            }
        }
    }
}
