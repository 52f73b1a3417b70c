//! One worker of a secondary: step 2, then requests, the disk and replies (sections 2.2, 3, 7).
//!
//! As FreeBSD's, it receives, works and sends in three threads with queues between them, and
//! its one disk thread does requests strictly in the order they came.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::frame::Link;
use super::nv::List;
use super::secondary::{Claim, Fate, Request, Shared};
use super::{Broken, Role, SYNC_FROM_PRIMARY, SYNC_FROM_SECONDARY, abort, cmd, data, errno, lock};

/// A reply, before it is a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields' own names, section 3")]
pub struct Answer {
    pub cmd: u8,
    pub seq: u64,
    pub offset: u64,
    pub length: u64,
    /// The first of two.
    pub received: bool,
    /// None comes after it.
    pub last: bool,
    /// 0: success.
    pub error: i16,
    pub data: Vec<u8>,
}

struct Due {
    at: Instant,
    answer: Answer,
    cut: Option<usize>,
}

#[derive(Default)]
struct Waiting {
    due: Vec<Due>,
    withheld: Vec<Answer>,
    closed: bool,
}

/// Replies that are not sent yet.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Outbox {
    fn put(&self, answer: Answer, delay: Duration, cut: Option<usize>) {
        lock(&self.waiting).due.push(Due { at: Instant::now() + delay, answer, cut });
        self.changed.notify_all();
    }

    pub fn release(&self, arrange: impl FnOnce(&mut Vec<Answer>)) {
        let mut withheld = std::mem::take(&mut lock(&self.waiting).withheld);
        arrange(&mut withheld);
        for answer in withheld {
            self.put(answer, Duration::ZERO, None);
        }
    }

    fn close(&self) {
        lock(&self.waiting).closed = true;
        self.changed.notify_all();
    }

    /// The next to send; of those due the one that was put first. None: closed.
    fn next(&self) -> Option<Due> {
        let mut waiting = lock(&self.waiting);
        loop {
            if waiting.closed {
                return None;
            }
            let now = Instant::now();
            if let Some(at) = waiting.due.iter().position(|due| due.at <= now) {
                return Some(waiting.due.remove(at));
            }
            let soonest = waiting.due.iter().map(|due| due.at - now).min();
            let limit = soonest.unwrap_or(Duration::from_secs(60));
            waiting = self.changed.wait_timeout(waiting, limit).ok()?.0;
        }
    }
}

/// What step 2 comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The map (empty: none), who has the newer data, and whether we were new.
    #[allow(missing_docs)]
    Go { map: Vec<u8>, syncsrc: u8, virgin: bool },
    /// The text to refuse with.
    Refuse(String),
}

/// The decision of sections 6.2 and 7; a new component takes the primary's resuid.
pub fn decide(disk: &mut Disk, step2: &List) -> Result<Verdict, String> {
    let resuid = step2.uint64("resuid")?;
    let (theirs_l, theirs_r) = (step2.uint64("localcnt")?, step2.uint64("remotecnt")?);
    let ones = vec![0xff; disk.mapsize()];
    if disk.metadata.resuid == 0 {
        disk.metadata.resuid = resuid;
        disk.metadata.prevrole = Role::Secondary;
        disk.store_metadata();
        let map = if step2.has("virgin") { Vec::new() } else { ones };
        return Ok(Verdict::Go { map, syncsrc: SYNC_FROM_PRIMARY, virgin: true });
    }
    if disk.metadata.resuid != resuid {
        return Ok(Verdict::Refuse(format!(
            "Resource unique ID mismatch (primary={resuid}, secondary={}).",
            disk.metadata.resuid
        )));
    }
    let (own_l, own_r) = (disk.metadata.localcnt, disk.metadata.remotecnt);
    use Ordering::{Equal, Greater, Less};
    let (map, syncsrc) = match (own_l.cmp(&theirs_r), own_r.cmp(&theirs_l)) {
        (Equal, Equal | Less) => (disk.map(), SYNC_FROM_PRIMARY),
        (Greater, Equal) => (disk.map(), SYNC_FROM_SECONDARY),
        (Greater, Less) => return Ok(Verdict::Refuse("Split-brain condition!".to_string())),
        (Less, _) | (Equal, Greater) => (ones, SYNC_FROM_PRIMARY),
        (Greater, Greater) => (ones, SYNC_FROM_SECONDARY),
    };
    Ok(Verdict::Go { map, syncsrc, virgin: false })
}

/// A worker's life.
pub(super) fn run(shared: &Shared, mut c1: Link, c2: Link, step2: &List) {
    let sockets = [c1.handle(), c2.handle()];
    let outbox = Arc::new(Outbox::default());
    let result = greet(shared, &mut c1, step2, &outbox).and_then(|()| {
        let outstanding = Mutex::new(HashSet::new());
        let end = || {
            outbox.close();
            for socket in sockets.iter().flatten() {
                let _ = socket.shutdown(Shutdown::Both);
            }
        };
        std::thread::scope(|scope| {
            let (work, works) = channel();
            let to_send = &outbox;
            scope.spawn(move || disk_thread(shared, to_send, &works));
            let sender = scope.spawn(|| {
                let result = send_thread(shared, c2, &outbox, &outstanding);
                end();
                result
            });
            let result = receive_thread(shared, &mut c1, &outbox, &outstanding, work);
            end();
            // The first to break is the cause; a test's cut of C2 shows on C1 as an end.
            match (sender.join(), result) {
                (Ok(Err(cause)), Err(Broken::Link(_)) | Ok(())) => Err(cause),
                (_, result) => result,
            }
        })
    });
    for socket in sockets.iter().flatten() {
        let _ = socket.shutdown(Shutdown::Both);
    }
    // The reason first: who waits for the end asks for it.
    if let Err(broken) = result {
        shared.ended("session", &broken);
    }
    shared.update(|state| {
        state.status.connected = false;
        state.status.withheld = 0;
        state.outbox = None;
    });
}

fn greet(shared: &Shared, c1: &mut Link, step2: &List, outbox: &Arc<Outbox>) -> Result<(), Broken> {
    let config = &shared.config;
    if step2.uint64("resuid")? == 0 {
        return Err(Broken::Misuse("section 2.2: resuid 0 in step 2".to_string()));
    }
    let (claim, late, version) = {
        let state = lock(&shared.state);
        let late = state.refuse.clone().filter(|refusal| refusal.late);
        (state.claim.clone(), late, state.status.version)
    };
    let (metadata, verdict) = {
        let mut disk = lock(&shared.disk);
        let verdict = match late {
            Some(refusal) => Verdict::Refuse(refusal.errmsg),
            None => decide(&mut disk, step2)?,
        };
        (disk.metadata.clone(), verdict)
    };
    let Claim { datasize, extentsize, localcnt, remotecnt, virgin: new, syncsrc: from, map: bits } =
        claim;
    let mut answer = List::new();
    answer.put_int64("datasize", datasize.unwrap_or(metadata.datasize as i64));
    answer.put_int32("extentsize", extentsize.unwrap_or(metadata.extentsize as i32));
    answer.put_uint64("localcnt", localcnt.unwrap_or(metadata.localcnt));
    answer.put_uint64("remotecnt", remotecnt.unwrap_or(metadata.remotecnt));
    match verdict {
        Verdict::Refuse(errmsg) => {
            answer.put_text("errmsg", &errmsg);
            shared.update(|state| state.status.refusals.push(errmsg.clone()));
            c1.send(version, &answer, &[], config.timeout)?;
            Err(Broken::Link(format!("refused: {errmsg}")))
        }
        Verdict::Go { map, syncsrc, virgin } => {
            if new.unwrap_or(virgin) {
                answer.put_int8("virgin", 1);
            }
            let syncsrc = from.unwrap_or(syncsrc);
            answer.put_uint8("syncsrc", syncsrc);
            let map = bits.unwrap_or(map);
            answer.put_uint32("mapsize", map.len() as u32);
            let bytes = match map.is_empty() {
                true => map,
                false => data::pack(&mut answer, &map, config.checksum, config.compression),
            };
            // Before the answer is out: who has seen it finds a secondary that says so too.
            shared.update(|state| {
                state.outbox = Some(outbox.clone());
                state.status.connected = true;
                state.status.sessions += 1;
                state.status.syncsrc = syncsrc;
            });
            c1.send(version, &answer, &bytes, config.timeout)
        }
    }
}

fn receive_thread(
    shared: &Shared,
    c1: &mut Link,
    outbox: &Outbox,
    outstanding: &Mutex<HashSet<u64>>,
    work: Sender<(Request, Vec<u8>)>,
) -> Result<(), Broken> {
    let config = &shared.config;
    loop {
        let list = c1.receive(config.idle)?;
        let cmd = list.uint8("cmd").map_err(Broken::Misuse)?;
        if cmd == cmd::KEEPALIVE {
            if list.has("size") {
                return Err(Broken::Misuse("a keepalive with data".to_string()));
            }
            shared.update(|state| state.status.keepalives += 1);
            continue;
        }
        if !(cmd::READ..=cmd::FLUSH).contains(&cmd) {
            return Err(abort("H11", format!("cmd {cmd}")));
        }
        let mut request = Request {
            cmd,
            seq: list.uint64("seq").map_err(Broken::Misuse)?,
            offset: list.uint64("offset").map_err(Broken::Misuse)?,
            length: list.uint64("length").map_err(Broken::Misuse)?,
            memsync: list.has("memsync"),
            list,
            stale: false,
        };
        // What a FreeBSD secondary does not mind, or not at once, but must not be sent.
        let (valid, wrong) = judge(shared, &request, outstanding);
        if let Some(wrong) = wrong {
            shared.faults.record(&Broken::Misuse(format!("{wrong}: {:?}", request)));
        }
        let bytes = match (cmd, valid) {
            (cmd::WRITE, true) => {
                let data = c1.receive_data(&request.list, config.maxphys, config.timeout)?;
                if data.bytes.len() as u64 != request.length {
                    let have = data.bytes.len();
                    return Err(Broken::Misuse(format!("H9: {have} bytes for {request:?}")));
                }
                request.stale = data.stale;
                data.bytes
            }
            _ => Vec::new(),
        };
        // A secondary of version 1 knows no memsync and sends one reply.
        let twice = cmd == cmd::WRITE && request.memsync && config.version >= 2;
        if !valid {
            // A3: the flag is set before the request is looked at.
            reply(shared, outbox, answer(&request, twice, true, errno::EINVAL));
            shared.update(|state| state.status.requests.push(request));
            if cmd == cmd::WRITE {
                // Its data was not drained. FreeBSD takes it for the next header.
                return Err(Broken::Link("out of step after an invalid WRITE".to_string()));
            }
            continue;
        }
        shared.update(|state| state.status.requests.push(request.clone()));
        if twice {
            reply(shared, outbox, answer(&request, true, false, 0));
        }
        if work.send((request, bytes)).is_err() {
            return Ok(());
        }
    }
}

/// Whether FreeBSD takes the request, and what is wrong with it even if it does.
fn judge(
    shared: &Shared,
    request: &Request,
    outstanding: &Mutex<HashSet<u64>>,
) -> (bool, Option<String>) {
    let (config, version) = (&shared.config, lock(&shared.state).status.version);
    let (sector, datasize) = {
        let disk = lock(&shared.disk);
        (u64::from(disk.sector()), disk.metadata.datasize)
    };
    let Request { cmd, seq, offset, length, memsync, .. } = *request;
    let says = |text: &str| Some(text.to_string());
    if seq == 0 {
        return (false, says("B8: no seq"));
    }
    if !lock(outstanding).insert(seq) {
        return (true, says("section 3: the seq of a request that is not answered yet"));
    }
    if memsync && (cmd != cmd::WRITE || version < 2) {
        return (true, says("section 3: memsync where it does not belong"));
    }
    if cmd != cmd::WRITE && request.list.has("size") {
        return (true, says("section 3: data, which will be taken for the next header"));
    }
    if cmd == cmd::FLUSH {
        let zero = offset == 0 && length == 0;
        return (true, if zero { None } else { says("section 3: FLUSH of a range") });
    }
    // A4: in version 1 the buffer's size bounds DELETE too.
    let bounded = cmd != cmd::DELETE || config.version == 1;
    if bounded && length > config.maxphys as u64 {
        return (false, Some(format!("section 1.4: {length} bytes, MAXPHYS {}", config.maxphys)));
    }
    let fits = offset.checked_add(length).is_some_and(|end| end <= datasize);
    let valid = length > 0 && length % sector == 0 && offset % sector == 0 && fits;
    // EINVAL is a good answer to the others; after a WRITE it comes with a stream out of step.
    let wrong = !valid && cmd == cmd::WRITE;
    (valid, if wrong { says("section 3: an invalid WRITE") } else { None })
}

fn answer(request: &Request, received: bool, last: bool, error: i16) -> Answer {
    Answer {
        cmd: request.cmd,
        seq: request.seq,
        offset: request.offset,
        length: request.length,
        received,
        last,
        error,
        data: Vec::new(),
    }
}

fn reply(shared: &Shared, outbox: &Outbox, mut answer: Answer) {
    let fate = match lock(&shared.judge).as_mut() {
        None => Fate::Send,
        Some(judge) => judge(&answer),
    };
    match fate {
        Fate::Send => outbox.put(answer, Duration::ZERO, None),
        Fate::Delay(delay) => outbox.put(answer, delay, None),
        Fate::Cut(byte) => outbox.put(answer, Duration::ZERO, Some(byte)),
        Fate::Fail(error) => {
            answer.error = error;
            answer.data.clear();
            outbox.put(answer, Duration::ZERO, None);
        }
        Fate::Withhold => {
            lock(&outbox.waiting).withheld.push(answer);
            shared.update(|state| state.status.withheld += 1);
        }
    }
}

fn disk_thread(shared: &Shared, outbox: &Outbox, works: &Receiver<(Request, Vec<u8>)>) {
    let mut first = true;
    for (request, bytes) in works {
        let mut disk = lock(&shared.disk);
        if std::mem::take(&mut first) {
            // Section 5.4: the first request says that the primary has the merged map. FreeBSD
            // takes the media's size for it, not the metadata's (B2).
            let clean = vec![0; disk.mapsize()];
            disk.store_map(&clean);
        }
        let result = match request.cmd {
            cmd::READ => disk.read(request.offset, request.length),
            cmd::WRITE => disk.write(request.offset, &bytes).map(|()| Vec::new()),
            cmd::DELETE => disk.delete(request.offset, request.length).map(|()| Vec::new()),
            _ => disk.flush().map(|()| Vec::new()),
        };
        drop(disk);
        let error = result.as_ref().err().copied().unwrap_or(0);
        let mut answer = answer(&request, false, true, error);
        answer.data = result.unwrap_or_default();
        reply(shared, outbox, answer);
    }
}

fn send_thread(
    shared: &Shared,
    mut c2: Link,
    outbox: &Outbox,
    outstanding: &Mutex<HashSet<u64>>,
) -> Result<(), Broken> {
    let config = &shared.config;
    while let Some(Due { answer, cut, .. }) = outbox.next() {
        let mut list = List::new();
        list.put_uint64("seq", answer.seq);
        if answer.received {
            list.put_int8("received", 1);
        }
        let mut bytes = Vec::new();
        if answer.error != 0 {
            list.put_int16("error", answer.error);
        } else if answer.cmd == cmd::READ {
            bytes = data::pack(&mut list, &answer.data, config.checksum, config.compression);
        }
        if answer.last {
            // Before it is out: the primary may use the number again at once.
            lock(outstanding).remove(&answer.seq);
        }
        if let Some(byte) = cut {
            c2.cut_next(byte);
        }
        let version = lock(&shared.state).status.version;
        c2.send(version, &list, &bytes, config.timeout)?;
        shared.update(|state| state.status.answered += 1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step2(resuid: u64, localcnt: u64, remotecnt: u64, virgin: bool) -> List {
        let mut list = List::new();
        if virgin {
            list.put_int8("virgin", 1);
        }
        list.put_uint64("resuid", resuid);
        list.put_uint64("localcnt", localcnt);
        list.put_uint64("remotecnt", remotecnt);
        list
    }

    #[test]
    fn the_worked_values_of_section_7() {
        let mut disk = Disk::memory("data", 8 << 20, 2 << 20);
        (disk.metadata.resuid, disk.metadata.localcnt, disk.metadata.remotecnt) = (9, 3, 3);
        let mut own = vec![0; disk.mapsize()];
        own[0] = 5;
        disk.store_map(&own);
        let ones = vec![0xff; own.len()];
        let go = |map: &Vec<u8>, syncsrc| Verdict::Go { map: map.clone(), syncsrc, virgin: false };
        for (l, r, verdict) in [
            (2, 2, go(&ones, 2)),
            (2, 3, go(&ones, 1)),
            (2, 4, go(&ones, 1)),
            (3, 4, go(&ones, 1)),
            (4, 4, go(&ones, 1)),
            (3, 2, go(&own, 2)),
            (3, 3, go(&own, 1)),
            (4, 2, Verdict::Refuse("Split-brain condition!".to_string())),
            (4, 3, go(&own, 1)),
        ] {
            assert_eq!(decide(&mut disk, &step2(9, l, r, false)), Ok(verdict), "({l}, {r})");
        }
        assert_eq!(
            decide(&mut disk, &step2(8, 3, 3, false)),
            Ok(Verdict::Refuse(
                "Resource unique ID mismatch (primary=8, secondary=9).".to_string()
            ))
        );
    }

    #[test]
    fn a_new_component_takes_the_number_and_everything_or_nothing() {
        for virgin in [true, false] {
            let mut disk = Disk::memory("data", 8 << 20, 2 << 20);
            let map = if virgin { Vec::new() } else { vec![0xff; disk.mapsize()] };
            let verdict = decide(&mut disk, &step2(9, 1, 0, virgin));
            assert_eq!(verdict, Ok(Verdict::Go { map, syncsrc: 1, virgin: true }));
            assert_eq!(disk.stored_metadata().map(|metadata| metadata.resuid), Ok(9));
        }
    }
}
