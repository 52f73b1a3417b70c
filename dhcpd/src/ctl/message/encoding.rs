//! Requests and answers as bytes. Texts that are for people are cut to what a message has room for.

use super::{Answer, Child, Counter, Request, Served, Status, TableState};
use crate::config::{Hardware, MAX_HARDWARE};
use crate::engine::inspect::{Entry, Filter, PoolUse, State};
use crate::engine::orders::Order;
use crate::engine::why::{Question, Step};
use proto::unix::{Error, Message, Reader, Writer, cut as cut_at, no_fd};
use std::os::fd::OwnedFd;

/// A text is not longer, in bytes.
const LONGEST: usize = 4096;
/// What failed may be many lines.
const LONGEST_FAILURE: usize = 40_000;

impl Message for Request {
    const CARRIES_FD: bool = false;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        let mut out = Writer::new(payload);
        match self {
            Request::Status => 1,
            Request::Leases(filter) => {
                put_filter(filter, &mut out);
                2
            }
            Request::ShowAddress(address) => {
                out.ipv4(*address);
                3
            }
            Request::ShowHardware(hardware) => {
                out.bytes(hardware);
                4
            }
            Request::Why(question) => {
                put_question(question, &mut out);
                5
            }
            Request::Order(order, address) => {
                out.bool(*order == Order::Delete).ipv4(*address);
                6
            }
            Request::Reload => 7,
            Request::Pools => 8,
            Request::Counters => 9,
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        no_fd(fd)?;
        let mut input = Reader::new(payload);
        let request = match kind {
            1 => Request::Status,
            2 => Request::Leases(filter(&mut input)?),
            3 => Request::ShowAddress(input.ipv4()?),
            4 => Request::ShowHardware(hardware(input.bytes()?)?),
            5 => Request::Why(question(&mut input)?),
            6 => {
                let order = if input.bool()? { Order::Delete } else { Order::Release };
                Request::Order(order, input.ipv4()?)
            }
            7 => Request::Reload,
            8 => Request::Pools,
            9 => Request::Counters,
            _ => return Err(Error::UnknownKind(kind)),
        };
        input.finish()?;
        Ok(request)
    }
}

impl Message for Answer {
    const CARRIES_FD: bool = false;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        let mut out = Writer::new(payload);
        match self {
            Answer::Status(status) => {
                put_status(status, &mut out);
                1
            }
            Answer::Leases(entries) => {
                entries.iter().for_each(|entry| put_entry(entry, &mut out));
                2
            }
            Answer::Fact(name, value) => {
                out.str(cut(name)).str(cut(value));
                3
            }
            Answer::Step(step) => {
                out.str(cut(&step.rule)).bool(step.applies).str(cut(&step.why));
                4
            }
            Answer::Pools(pools) => {
                pools.iter().for_each(|pool| put_pool(pool, &mut out));
                5
            }
            Answer::Counters(counters) => {
                for Counter { name, help, label, value, count } in counters {
                    out.str(cut(name)).str(cut(help)).str(cut(label)).str(cut(value)).u64(*count);
                }
                6
            }
            Answer::Done(what) => {
                out.str(cut(what));
                7
            }
            Answer::Failed(why) => {
                out.str(cut_at(why, LONGEST_FAILURE));
                8
            }
            Answer::End => 9,
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        no_fd(fd)?;
        let mut input = Reader::new(payload);
        let answer = match kind {
            1 => Answer::Status(Box::new(status(&mut input)?)),
            2 => Answer::Leases(all(&mut input, entry)?),
            3 => Answer::Fact(text(&mut input)?, text(&mut input)?),
            4 => Answer::Step(Step {
                rule: text(&mut input)?,
                applies: input.bool()?,
                why: text(&mut input)?,
            }),
            5 => Answer::Pools(all(&mut input, pool)?),
            6 => Answer::Counters(all(&mut input, counter)?),
            7 => Answer::Done(text(&mut input)?),
            8 => Answer::Failed(text(&mut input)?),
            9 => Answer::End,
            _ => return Err(Error::UnknownKind(kind)),
        };
        input.finish()?;
        Ok(answer)
    }
}

fn cut(text: &str) -> &str {
    cut_at(text, LONGEST)
}

fn text(input: &mut Reader<'_>) -> Result<String, Error> {
    Ok(input.str()?.to_owned())
}

/// As many as there are.
fn all<T>(
    input: &mut Reader<'_>,
    one: fn(&mut Reader<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let mut all = Vec::new();
    while !input.is_empty() {
        all.push(one(input)?);
    }
    Ok(all)
}

/// A number of them, which goes before them.
fn counted<T>(
    input: &mut Reader<'_>,
    one: fn(&mut Reader<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    (0..input.u16()?).map(|_| one(input)).collect()
}

fn count(items: usize) -> u16 {
    u16::try_from(items).unwrap_or(u16::MAX)
}

fn maybe<T>(
    input: &mut Reader<'_>,
    one: impl FnOnce(&mut Reader<'_>) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    Ok(if input.bool()? { Some(one(input)?) } else { None })
}

fn put_maybe<T>(value: Option<T>, out: &mut Writer<'_>, put: impl FnOnce(&mut Writer<'_>, T)) {
    out.bool(value.is_some());
    if let Some(value) = value {
        put(out, value);
    }
}

fn put_bytes(value: Option<&[u8]>, out: &mut Writer<'_>) {
    put_maybe(value, out, |out, value| {
        out.bytes(value);
    });
}

fn bytes(input: &mut Reader<'_>) -> Result<Option<Vec<u8>>, Error> {
    maybe(input, |input| Ok(input.bytes()?.to_vec()))
}

fn put_text(value: Option<&str>, out: &mut Writer<'_>) {
    put_bytes(value.map(|value| cut(value).as_bytes()), out);
}

fn hardware(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    match bytes.len() {
        1..=MAX_HARDWARE => Ok(bytes.to_vec()),
        _ => Err(Error::Malformed("the length of a hardware address")),
    }
}

fn put_filter(filter: &Filter, out: &mut Writer<'_>) {
    put_maybe(filter.addresses, out, |out, (low, high)| {
        out.ipv4(low).ipv4(high);
    });
    put_bytes(filter.hardware.as_deref(), out);
    put_bytes(filter.client_id.as_deref(), out);
    put_text(filter.hostname.as_deref(), out);
    put_text(filter.network.as_deref(), out);
    put_maybe(filter.state, out, |out, state| {
        out.u8(state as u8);
    });
}

fn filter(input: &mut Reader<'_>) -> Result<Filter, Error> {
    Ok(Filter {
        addresses: maybe(input, |input| Ok((input.ipv4()?, input.ipv4()?)))?,
        hardware: maybe(input, |input| hardware(input.bytes()?))?,
        client_id: bytes(input)?,
        hostname: maybe(input, text)?,
        network: maybe(input, text)?,
        state: maybe(input, state)?,
    })
}

fn state(input: &mut Reader<'_>) -> Result<State, Error> {
    let number = input.u8()?;
    let known = State::NAMES.iter().find(|(_, state)| *state as u8 == number);
    known.map(|(_, state)| *state).ok_or(Error::Malformed("the state of a lease"))
}

fn put_question(question: &Question, out: &mut Writer<'_>) {
    out.bytes(&question.hardware);
    put_bytes(question.client_id.as_deref(), out);
    put_maybe(question.giaddr, out, |out, giaddr| {
        out.ipv4(giaddr);
    });
    put_text(question.interface.as_deref(), out);
    put_bytes(question.vendor_class.as_deref(), out);
    put_bytes(question.user_class.as_deref(), out);
}

fn question(input: &mut Reader<'_>) -> Result<Question, Error> {
    Ok(Question {
        hardware: hardware(input.bytes()?)?,
        client_id: bytes(input)?,
        giaddr: maybe(input, |input| input.ipv4())?,
        interface: maybe(input, text)?,
        vendor_class: bytes(input)?,
        user_class: bytes(input)?,
    })
}

fn put_status(status: &Status, out: &mut Writer<'_>) {
    out.str(cut(&status.version)).i64(status.started).u64(status.uptime);
    out.str(cut(&status.config)).str(cut(&status.leases)).u64(status.addresses);
    put_text(status.trouble.as_deref(), out);
    put_maybe(status.tables, out, |out, tables| {
        out.bool(tables);
    });
    // As many as there is room for in any case.
    let interfaces = status.interfaces.get(..200).unwrap_or(&status.interfaces);
    out.u16(count(interfaces.len()));
    for Served { name, address, network } in interfaces {
        out.str(cut_at(name, 64)).ipv4(*address);
        put_text(network.as_deref().map(|network| cut_at(network, 64)), out);
    }
    let processes = status.processes.get(..20).unwrap_or(&status.processes);
    out.u16(count(processes.len()));
    for Child { title, pid } in processes {
        out.str(cut_at(title, 64)).u32(*pid);
    }
    let peers = status.peers.get(..20).unwrap_or(&status.peers);
    out.u16(count(peers.len()));
    for peer in peers {
        out.str(cut_at(peer, 256));
    }
    out.u16(count(status.table_states.len()));
    for TableState { name, ready, state } in &status.table_states {
        out.str(cut_at(name, 256)).bool(*ready).str(cut_at(state, 512));
    }
}

fn status(input: &mut Reader<'_>) -> Result<Status, Error> {
    Ok(Status {
        version: text(input)?,
        started: input.i64()?,
        uptime: input.u64()?,
        config: text(input)?,
        leases: text(input)?,
        addresses: input.u64()?,
        trouble: maybe(input, text)?,
        tables: maybe(input, |input| input.bool())?,
        interfaces: counted(input, |input| {
            let (name, address) = (text(input)?, input.ipv4()?);
            Ok(Served { name, address, network: maybe(input, text)? })
        })?,
        processes: counted(input, |input| Ok(Child { title: text(input)?, pid: input.u32()? }))?,
        peers: counted(input, text)?,
        table_states: counted(input, |input| {
            Ok(TableState { name: text(input)?, ready: input.bool()?, state: text(input)? })
        })?,
    })
}

fn put_entry(entry: &Entry, out: &mut Writer<'_>) {
    out.ipv4(entry.address).u8(entry.state as u8).i64(entry.ends).bool(entry.dynamic_bootp);
    put_maybe(entry.starts, out, |out, starts| {
        out.i64(starts);
    });
    put_maybe(entry.hardware.as_ref(), out, |out, Hardware { htype, addr }| {
        out.u8(*htype).bytes(addr);
    });
    put_bytes(entry.client_id.as_deref(), out);
    put_bytes(entry.client_hostname.as_deref(), out);
    put_bytes(entry.hostname.as_deref(), out);
    put_text(entry.network.as_deref(), out);
}

fn entry(input: &mut Reader<'_>) -> Result<Entry, Error> {
    let (address, state) = (input.ipv4()?, state(input)?);
    let (ends, dynamic_bootp) = (input.i64()?, input.bool()?);
    Ok(Entry {
        address,
        state,
        ends,
        dynamic_bootp,
        starts: maybe(input, |input| input.i64())?,
        hardware: maybe(input, |input| {
            Ok(Hardware { htype: input.u8()?, addr: hardware(input.bytes()?)? })
        })?,
        client_id: bytes(input)?,
        client_hostname: bytes(input)?,
        hostname: bytes(input)?,
        network: maybe(input, text)?,
    })
}

fn put_pool(pool: &PoolUse, out: &mut Writer<'_>) {
    out.str(cut_at(&pool.network, 256)).str(cut_at(&pool.subnet, 64));
    out.ipv4(pool.low).ipv4(pool.high);
    let PoolUse { size, reserved, leased, offered, abandoned, free, .. } = pool;
    for number in [size, reserved, leased, offered, abandoned, free] {
        out.u64(*number);
    }
}

fn pool(input: &mut Reader<'_>) -> Result<PoolUse, Error> {
    Ok(PoolUse {
        network: text(input)?,
        subnet: text(input)?,
        low: input.ipv4()?,
        high: input.ipv4()?,
        size: input.u64()?,
        reserved: input.u64()?,
        leased: input.u64()?,
        offered: input.u64()?,
        abandoned: input.u64()?,
        free: input.u64()?,
    })
}

fn counter(input: &mut Reader<'_>) -> Result<Counter, Error> {
    Ok(Counter {
        name: text(input)?,
        help: text(input)?,
        label: text(input)?,
        value: text(input)?,
        count: input.u64()?,
    })
}
