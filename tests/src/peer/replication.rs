//! A primary's side of the connections: the handshake, the replies, the guard, and the resync
//! (sections 2, 3, 8, 12).
//!
//! A connection has a thread that receives and one that resynchronises, with one request in
//! flight as FreeBSD has; both end with it.

use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::disk::Access;
use super::flight::{Connected, Progress, Shared, State, overlap};
use super::frame::{Connection, Link};
use super::map::map_bytes;
use super::nv::List;
use super::primary::ConnectError;
use super::{
    Broken, Mode, SYNC_FROM_PRIMARY, SYNC_FROM_SECONDARY, TOKEN, abort, cmd, errno, lock,
    unguessable,
};

/// No map is longer: it would be one of 1 PiB.
const LONGEST_MAP: u32 = 64 << 20;

/// What step 2 was answered.
struct Greeting {
    c1: Link,
    c2: Link,
    version: u8,
    localcnt: u64,
    remotecnt: u64,
    syncsrc: u8,
    map: Vec<u8>,
}

/// The whole handshake; what it brings is on disk before the first request.
pub(super) fn connect(shared: &Arc<Shared>) -> Result<(), ConnectError> {
    let _one = lock(&shared.connecting);
    shared.disconnect(None, &Broken::Link("a new connection".to_string()));
    // Those of the old connection must not meddle with the new one.
    let threads = std::mem::take(&mut lock(&shared.state).threads);
    for thread in threads {
        let _ = thread.join();
    }
    let greeting = greet(shared).inspect_err(|error| match error {
        ConnectError::Broken(broken) => shared.faults.record(broken),
        ConnectError::Refused { errmsg, .. } if errmsg == "Split-brain condition!" => {
            lock(&shared.state).status.events.push("split-brain");
        }
        ConnectError::Refused { .. } => {}
    })?;
    let Greeting { c1, c2, version, localcnt, remotecnt, syncsrc, map } = greeting;
    let sockets = [c1.handle()?, c2.handle()?];
    let mut state = lock(&shared.state);
    if state.stop {
        return Err(Broken::Link("the node stops".to_string()).into());
    }
    state.map.merge(&map);
    shared.store_map(&state);
    state.theirs = (localcnt, remotecnt);
    state.bumped = false;
    state.last_sent = Instant::now();
    let generation = state.status.sessions + 1;
    state.status.sessions = generation;
    state.status.connected = true;
    state.status.synced = false;
    state.status.version = version;
    state.status.syncsrc = syncsrc;
    state.status.dirty = state.map.dirty();
    state.status.events.push("connect");
    state.connection = Some(Connected { generation, sockets, c1: Arc::new(Mutex::new(c1)) });
    let own = shared.clone();
    state.threads.push(std::thread::spawn(move || {
        if let Err(broken) = receive(&own, c2, generation) {
            own.disconnect(Some(generation), &broken);
        }
    }));
    if shared.config.resync {
        let own = shared.clone();
        state.threads.push(std::thread::spawn(move || resync(&own, generation)));
    }
    drop(state);
    shared.changed.notify_all();
    Ok(())
}

fn open(shared: &Shared, connection: Connection) -> Result<Link, Broken> {
    let config = &shared.config;
    let stream = TcpStream::connect_timeout(&config.remote, config.timeout)
        .map_err(|error| Broken::Link(format!("connect to {}: {error}", config.remote)))?;
    let mut link = Link::new(stream, connection, config.version, shared.cuts.clone());
    link.goes_on_after_cut = config.reference;
    Ok(link)
}

fn refused(list: &List) -> Result<(), ConnectError> {
    match list.text("errmsg").map_err(Broken::Misuse)? {
        None => Ok(()),
        Some(errmsg) => {
            let wait = list.has("wait");
            Err(ConnectError::Refused { errmsg: errmsg.to_string(), wait })
        }
    }
}

fn greet(shared: &Shared) -> Result<Greeting, ConnectError> {
    let config = &shared.config;
    let fresh = lock(&shared.state).status.version;
    let mut c1 = open(shared, Connection::C1)?;
    let mut hello = List::new();
    hello.put_text("resource", &config.resource);
    if config.version >= 2 {
        hello.put_uint8("version", config.version);
    }
    c1.send(fresh, &hello, &[], config.timeout)?;
    let list = c1.receive(config.timeout)?;
    refused(&list)?;
    // B6: FreeBSD up to 9 does not say.
    let version = list.uint8("version").map_err(Broken::Misuse)?.max(1);
    if version > config.version {
        let text = format!("version {version} answered to {}", config.version);
        return Err(Broken::Misuse(text).into());
    }
    let token = list.array("token").map_err(Broken::Misuse)?.unwrap_or_default();
    let Ok(token) = <[u8; TOKEN]>::try_from(token) else {
        return Err(Broken::Misuse(format!("section 2.1: a token of {}", token.len())).into());
    };

    let mut c2 = open(shared, Connection::C2)?;
    let (own, sector, virgin) = {
        let mut disk = lock(&shared.disk);
        let virgin = disk.metadata.resuid == 0;
        if virgin {
            disk.metadata.resuid = u64::from_le_bytes(unguessable()).max(1);
            disk.store_metadata();
        }
        (disk.metadata.clone(), disk.sector(), virgin)
    };
    let mut step2 = List::new();
    step2.put_text("resource", &config.resource);
    step2.put_array("token", &token);
    if virgin {
        step2.put_int8("virgin", 1);
    }
    step2.put_uint64("resuid", own.resuid);
    step2.put_uint64("localcnt", own.localcnt);
    step2.put_uint64("remotecnt", own.remotecnt);
    c2.send(version, &step2, &[], config.timeout)?;

    let list = c1.receive(config.timeout)?;
    refused(&list)?;
    let wrong = |text: String| ConnectError::Broken(Broken::Misuse(text));
    let datasize = list.int64("datasize").map_err(wrong)?;
    let extentsize = list.int32("extentsize").map_err(wrong)?;
    if datasize != own.datasize as i64 || extentsize != own.extentsize as i32 {
        let text = format!("{datasize} bytes in extents of {extentsize}, here {own:?}");
        return Err(Broken::Link(text).into());
    }
    let localcnt = list.uint64("localcnt").map_err(wrong)?;
    let remotecnt = list.uint64("remotecnt").map_err(wrong)?;
    let syncsrc = list.uint8("syncsrc").map_err(wrong)?;
    if syncsrc != SYNC_FROM_PRIMARY && syncsrc != SYNC_FROM_SECONDARY {
        return Err(wrong(format!("section 2.2: syncsrc {syncsrc}")));
    }
    if list.has("virgin") {
        let mut disk = lock(&shared.disk);
        let fresh = disk.metadata.localcnt == 0;
        if localcnt != 0 || syncsrc != SYNC_FROM_PRIMARY || (fresh && remotecnt != 0) {
            let text = format!("virgin with ({localcnt}, {remotecnt}), syncsrc {syncsrc}");
            return Err(abort("B3", text).into());
        }
        if fresh {
            // The new secondary is out of date until it is synchronised.
            disk.metadata.localcnt = 1;
            disk.store_metadata();
        }
    }
    let mapsize = list.uint32("mapsize").map_err(wrong)?;
    let needed = map_bytes(own.datasize, own.extentsize, sector);
    if mapsize == 0 && list.has("size") {
        return Err(wrong("section 2.2: data, but mapsize 0".to_string()));
    }
    if mapsize != 0 && (mapsize as usize) < needed {
        return Err(abort("B3", format!("mapsize {mapsize}, own bitmap {needed}")).into());
    }
    if mapsize > LONGEST_MAP {
        return Err(wrong(format!("a map of {mapsize} bytes")));
    }
    let map = c1.receive_data(&list, mapsize as usize, config.timeout)?;
    if map.stale {
        return Err(Broken::Link("the link ended inside the map".to_string()).into());
    }
    if map.bytes.len() != mapsize as usize {
        return Err(wrong(format!("B9: {} bytes of a map of {mapsize}", map.bytes.len())));
    }
    Ok(Greeting { c1, c2, version, localcnt, remotecnt, syncsrc, map: map.bytes })
}

fn current(state: &State, generation: usize) -> bool {
    state.connection.as_ref().is_some_and(|own| own.generation == generation)
}

/// Replies, while there are any to come.
fn receive(shared: &Shared, mut c2: Link, generation: usize) -> Result<(), Broken> {
    let config = &shared.config;
    loop {
        let mut state = lock(&shared.state);
        while current(&state, generation) && state.outstanding.is_empty() {
            state = shared.wait(state, Duration::from_secs(60));
        }
        if !current(&state, generation) {
            return Ok(());
        }
        drop(state);
        let list = c2.receive(config.timeout)?;
        let seq = list.uint64("seq").map_err(Broken::Misuse)?;
        let error = list.int16("error").map_err(Broken::Misuse)?;
        let received = list.has("received");
        let size = list.uint32("size").map_err(Broken::Misuse)?;

        let mut state = lock(&shared.state);
        state.status.replies += 1;
        // The first: with FreeBSD's numbers there may be two (H24).
        let Some(at) = state.outstanding.iter().position(|flight| flight.seq == seq) else {
            if !current(&state, generation) {
                return Ok(());
            }
            return Err(Broken::Misuse(format!("a reply to nothing: {list:?}")));
        };
        let flight = &mut state.outstanding[at];
        let access = flight.access;
        if flight.memsync && !flight.received {
            if !received {
                return Err(abort("B3", format!("a plain first reply to memsync: {list:?}")));
            }
            flight.received = true;
            if error == 0 {
                lock(&flight.shot).received = true;
                drop(state);
                shared.changed.notify_all();
                if size != 0 {
                    return Err(Broken::Misuse(format!("data in a reply to a write: {list:?}")));
                }
                continue;
            }
            // A3: it was not even looked at; this is the only reply.
        } else if received && flight.memsync {
            return Err(abort("B3", format!("received twice: {list:?}")));
        } else if received {
            return Err(Broken::Misuse(format!("received for {access:?}: {list:?}")));
        }
        drop(state);
        let remote = if error != 0 { Err(error) } else { Ok(Vec::new()) };
        let remote = if access.cmd == cmd::READ && error == 0 {
            let data = c2.receive_data(&list, access.length as usize, config.timeout)?;
            if data.bytes.len() as u64 != access.length {
                let have = data.bytes.len();
                return Err(Broken::Misuse(format!("H9: {have} bytes for {access:?}")));
            }
            Ok(data.bytes)
        } else if size != 0 {
            return Err(Broken::Misuse(format!("data nobody reads: {list:?}")));
        } else {
            remote
        };
        let mut state = lock(&shared.state);
        if !current(&state, generation) {
            return Ok(());
        }
        let flight = state.outstanding.remove(at);
        state.status.outstanding = state.outstanding.len();
        shared.answered(&mut state, &flight.shot, remote);
    }
}

/// Keeps the link alive, and makes a new one if it is to (section 12).
pub(super) fn guard(shared: &Arc<Shared>) {
    let config = &shared.config;
    let mut tried = Instant::now();
    loop {
        let state = lock(&shared.state);
        if state.stop {
            return;
        }
        let now = Instant::now();
        let due = match (&state.connection, config.reconnect) {
            // H19: since anything was sent, and not only while there is nothing to send.
            (Some(_), _) => state.last_sent + config.keepalive,
            (None, Some(interval)) => tried + interval,
            (None, None) => now + Duration::from_secs(60),
        };
        if due > now {
            drop(shared.wait(state, due - now));
            continue;
        }
        match &state.connection {
            None => {
                drop(state);
                tried = now;
                if let Err(error) = connect(shared) {
                    let text = format!("reconnect: {error:?}");
                    lock(&shared.state).status.ends.push(text);
                    shared.changed.notify_all();
                }
            }
            Some(Connected { c1, generation, .. }) => {
                let (c1, generation, version) = (c1.clone(), *generation, state.status.version);
                drop(state);
                let mut list = List::new();
                list.put_uint8("cmd", cmd::KEEPALIVE);
                let sent = lock(&c1).send(version, &list, &[], config.timeout);
                match sent {
                    Err(broken) => shared.disconnect(Some(generation), &broken),
                    Ok(()) => {
                        let mut state = lock(&shared.state);
                        state.last_sent = Instant::now();
                        state.status.keepalives += 1;
                        drop(state);
                        shared.changed.notify_all();
                    }
                }
            }
        }
    }
}

/// Everything dirty, the lowest first; equal counters at the end (sections 6.1, 8).
fn resync(shared: &Shared, generation: usize) {
    let (datasize, extentsize) = {
        let metadata = &lock(&shared.disk).metadata;
        (metadata.datasize, u64::from(metadata.extentsize))
    };
    let step = shared.config.maxphys as u64;
    let (mut from, mut failed, mut moved) = (0, false, false);
    loop {
        let mut state = lock(&shared.state);
        if !current(&state, generation) {
            if moved {
                state.status.events.push("syncintr");
            }
            state.syncing = None;
            return;
        }
        let Some(extent) = state.map.next_sync(from) else {
            if from > 0 && !failed && state.map.next_sync(0).is_some() {
                from = 0;
                continue;
            }
            state.syncing = None;
            if !failed {
                finish(shared, &mut state, moved);
            }
            drop(state);
            shared.changed.notify_all();
            return;
        };
        if !moved {
            state.status.events.push("syncstart");
            moved = true;
        }
        let start = extent as u64 * extentsize;
        let end = (start + extentsize).min(datasize);
        let source = state.status.syncsrc;
        state.syncing = Some((start..end, false));
        drop(state);
        let (mut at, mut good) = (start, true);
        while at < end {
            let length = step.min(end - at);
            match chunk(shared, generation, source, at, length) {
                None => break,
                Some(Ok(())) => {}
                // H8: FreeBSD goes on and takes the extent for clean.
                Some(Err(_)) => good &= shared.config.reference,
            }
            at += length;
        }
        if at < end {
            continue;
        }
        let mut state = lock(&shared.state);
        let spoilt = state.syncing.take().is_some_and(|(_, spoilt)| spoilt);
        if good && !spoilt {
            state.map.synced(extent);
            shared.store_map(&state);
        }
        failed |= !good;
        state.status.dirty = state.map.dirty();
        from = if spoilt && good { extent } else { extent + 1 };
        drop(state);
        shared.changed.notify_all();
    }
}

fn finish(shared: &Shared, state: &mut State, moved: bool) {
    let mut disk = lock(&shared.disk);
    (disk.metadata.remotecnt, disk.metadata.localcnt) = state.theirs;
    disk.store_metadata();
    state.status.syncsrc = 0;
    state.status.synced = true;
    if moved {
        state.status.events.push("syncdone");
    }
}

/// One step of the resync, under its lock. None: the connection is gone.
fn chunk(
    shared: &Shared,
    generation: usize,
    source: u8,
    offset: u64,
    length: u64,
) -> Option<Result<(), i16>> {
    let from_here = source != SYNC_FROM_SECONDARY;
    let cmd = if from_here { cmd::WRITE } else { cmd::READ };
    let access = Access { cmd, offset, length };
    let mut state = lock(&shared.state);
    while state.regular.iter().any(|own| overlap(own, &access)) {
        if !current(&state, generation) {
            return None;
        }
        state = shared.wait(state, Duration::from_secs(1));
    }
    state.locked = Some(access);
    let unlock = |mut state: std::sync::MutexGuard<'_, State>| {
        state.locked = None;
        drop(state);
        shared.changed.notify_all();
    };
    let bytes = match from_here {
        false => Vec::new(),
        true => match lock(&shared.disk).read(offset, length) {
            Ok(bytes) => bytes,
            Err(error) => {
                unlock(state);
                return Some(Err(error));
            }
        },
    };
    let shot = Arc::new(Mutex::new(Progress {
        access,
        mode: Mode::Fullsync,
        local: None,
        remote: None,
        received: false,
        client: false,
    }));
    shared.to_secondary(state, &shot, &bytes);
    let mut state = lock(&shared.state);
    let remote = loop {
        // The receiving thread ends the connection if nothing comes in time.
        if let Some(remote) = lock(&shot).remote.take() {
            break remote;
        }
        state = shared.wait(state, Duration::from_secs(1));
    };
    let result = match remote {
        Err(error) => Err(error),
        Ok(_) if from_here => Ok(()),
        Ok(bytes) => lock(&shared.disk).write(offset, &bytes),
    };
    if result.is_ok() {
        state.status.moved += length;
    }
    let here = current(&state, generation);
    unlock(state);
    if !here && result == Err(errno::ENOTCONN) { None } else { Some(result) }
}
