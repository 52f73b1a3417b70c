//! What hastctl(8) prints: `status` and `list` as FreeBSD's do, with what only ours knows behind
//! that, and the same for programs. Pure.

use super::message::{Answer, Code, Resource, Worker};
use crate::engine::{Consistency, Counters, Replication, Role, Status};
use crate::wire::data::{Checksum, Compression};
use crate::wire::hello::SyncSource;
use std::fmt::Write;

/// One line a resource, below a heading.
pub fn status(answers: &[Answer]) -> String {
    let mut text = String::new();
    if !answers.is_empty() {
        text.push_str("Name\tStatus\t Role\t\tComponents\n");
    }
    for answer in answers {
        status_line(answer, &mut text);
    }
    text
}

/// A resource's line of [`status`]; nothing for an answer that is about none.
pub fn status_line(answer: &Answer, text: &mut String) {
    // Writing to a string does not fail, here and below.
    let _ = match answer {
        Answer::Status(one) => {
            let state = one.worker.as_ref().map_or("-", state);
            let Resource { name, local, remote, .. } = &**one;
            writeln!(text, "{name}\t{state:<9}{:<15}{local}\t{remote}", role_name(one.role))
        }
        Answer::Failed { resource, code, .. } => writeln!(text, "{resource}\tERR{}", *code as u8),
        _ => Ok(()),
    };
}

/// All about each resource.
pub fn list(answers: &[Answer]) -> String {
    let mut text = String::new();
    for answer in answers {
        let _ = match answer {
            Answer::Status(one) => list_one(one, &mut text),
            Answer::Failed { resource, code, .. } => {
                writeln!(text, "{resource}:\n  error: {}", *code as u8)
            }
            _ => Ok(()),
        };
    }
    text
}

fn list_one(one: &Resource, out: &mut String) -> std::fmt::Result {
    let status = one.worker.as_ref().map(|worker| &worker.status);
    let (extentsize, keepdirty) =
        one.volume.map_or((0, 0), |volume| (volume.extentsize, volume.keepdirty));
    writeln!(out, "{}:", one.name)?;
    writeln!(out, "  role: {}", role_name(one.role))?;
    writeln!(out, "  provname: {}", one.provname)?;
    writeln!(out, "  localpath: {}", one.local)?;
    writeln!(out, "  extentsize: {extentsize} ({}B)", human(extentsize.into()))?;
    writeln!(out, "  keepdirty: {keepdirty}")?;
    writeln!(out, "  remoteaddr: {}", one.remote)?;
    if let Some(source) = &one.source {
        writeln!(out, "  sourceaddr: {source}")?;
    }
    writeln!(out, "  replication: {}", replication_name(one.replication))?;
    if let Some(worker) = &one.worker {
        writeln!(out, "  status: {}", state(worker))?;
        writeln!(out, "  workerpid: {}", worker.pid)?;
    }
    let dirty = status.map_or(0, |status| status.dirty);
    writeln!(out, "  dirty: {dirty} ({}B)", human(dirty))?;
    let counters = status.map_or_else(Counters::default, |status| status.counters);
    writeln!(out, "  statistics:")?;
    writeln!(out, "    reads: {}", counters.reads)?;
    writeln!(out, "    writes: {}", counters.writes)?;
    writeln!(out, "    deletes: {}", counters.deletes)?;
    writeln!(out, "    flushes: {}", counters.flushes)?;
    writeln!(out, "    activemap updates: {}", counters.map_updates)?;
    writeln!(
        out,
        "    local errors: read: {}, write: {}, delete: {}, flush: {}",
        counters.read_errors, counters.write_errors, counters.delete_errors, counters.flush_errors
    )?;
    let queues = status.map_or([0; 4], queues);
    let [local, send, recv, idle] = queues;
    writeln!(out, "    queues: local: {local}, send: {send}, recv: {recv}, done: 0, idle: {idle}")?;
    // What FreeBSD does not know, behind what it does.
    writeln!(out, "  export: {}", one.uri)?;
    writeln!(out, "  checksum: {}", checksum_name(one.checksum))?;
    writeln!(out, "  compression: {}", compression_name(one.compression))?;
    if let Some(volume) = &one.volume {
        writeln!(out, "  datasize: {} ({}B)", volume.datasize, human(volume.datasize))?;
        writeln!(out, "  resuid: {}", volume.resuid)?;
        writeln!(out, "  localcnt: {}", volume.localcnt)?;
        writeln!(out, "  remotecnt: {}", volume.remotecnt)?;
    }
    if let Some(status) = status {
        writeln!(out, "  consistency: {}", consistency_name(status.consistency))?;
        writeln!(out, "  remote errors: {}", counters.remote_errors)?;
        writeln!(out, "  marked: {} ({}B)", status.marked, human(status.marked))?;
    }
    for note in notes(one) {
        writeln!(out, "  note: {note}")?;
    }
    Ok(())
}

/// What somebody should know about a resource, a line each.
pub fn notes(one: &Resource) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(worker) = &one.worker {
        let status = &worker.status;
        if status.detached {
            let text = "the local component has failed; the other node serves";
            notes.push(text.to_owned());
        }
        if !status.connected {
            let why = status.trouble.as_deref().unwrap_or("no connection yet");
            notes.push(format!("not connected: {}", printable(why)));
            if status.dirty > 0 {
                notes.push(format!("{}B to be synchronized", human(status.dirty)));
            }
        } else if let Some(trouble) = &status.trouble {
            notes.push(printable(trouble));
        }
        match status.consistency {
            Consistency::Consistent => {}
            Consistency::Outdated => notes.push("the local data is out of date".to_owned()),
            Consistency::Inconsistent => {
                notes.push("the local data is of different ages".to_owned());
            }
        }
        if let Some(sync) = status.sync {
            let percent = percent(sync.done, sync.total);
            let from = source_name(sync.source);
            notes.push(format!(
                "synchronizing from {from}: {percent}% of {}B, {}B/s",
                human(sync.total),
                human(rate(worker))
            ));
        }
    }
    if let Some(objection) = &one.objection {
        let loses = objection.loses.map(|bytes| format!(" ({}B)", human(bytes)));
        let loses = loses.unwrap_or_default();
        notes.push(format!("promotion needs --force{loses}: {}", printable(&objection.why)));
    }
    notes
}

/// Bytes a second that a resynchronisation has copied on the average.
pub fn rate(worker: &Worker) -> u64 {
    let done = worker.status.sync.map_or(0, |sync| sync.done);
    done.saturating_mul(1000).checked_div(worker.syncing).unwrap_or(0)
}

/// How much of something is done; never 100 before all of it is.
pub fn percent(done: u64, total: u64) -> u64 {
    let percent = u128::from(done) * 100 / u128::from(total.max(1));
    if done >= total { 100 } else { percent as u64 }
}

/// `complete` if the nodes are connected.
pub fn state(worker: &Worker) -> &'static str {
    if worker.status.connected { "complete" } else { "degraded" }
}

fn queues(status: &Status) -> [u64; 4] {
    let idle = 256_u64.saturating_sub(status.requests);
    [status.local_queue, status.send_queue, status.recv_queue, idle]
}

/// Bytes in at most four characters and a letter, by powers of 1024, as humanize_number(3) has it.
pub fn human(bytes: u64) -> String {
    let mut shift = 0;
    for letter in ["", "K", "M", "G", "T", "P", "E"] {
        let tenths = (u128::from(bytes) * 10 + (1 << shift) / 2) >> shift;
        let whole = (u128::from(bytes) + (1 << shift) / 2) >> shift;
        if shift > 0 && tenths < 100 {
            return format!("{}.{}{letter}", tenths / 10, tenths % 10);
        }
        if whole < 1000 || shift == 60 {
            return format!("{whole}{letter}");
        }
        shift += 10;
    }
    String::new()
}

/// What peers and systems say goes to terminals.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// As hastctl and hast.conf(5) call it.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Init => "init",
        Role::Primary => "primary",
        Role::Secondary => "secondary",
    }
}

/// As hast.conf(5) calls it.
pub fn replication_name(replication: Replication) -> &'static str {
    match replication {
        Replication::Fullsync => "fullsync",
        Replication::Memsync => "memsync",
        Replication::Async => "async",
    }
}

/// As hast.conf(5) calls it.
pub fn checksum_name(checksum: Checksum) -> &'static str {
    match checksum {
        Checksum::None => "none",
        Checksum::Crc32 => "crc32",
        Checksum::Sha256 => "sha256",
    }
}

/// As hast.conf(5) calls it.
pub fn compression_name(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Hole => "hole",
        Compression::Lzf => "lzf",
    }
}

/// How data stands by itself.
pub fn consistency_name(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Consistent => "consistent",
        Consistency::Outdated => "outdated",
        Consistency::Inconsistent => "inconsistent",
    }
}

/// Whose data is copied.
pub fn source_name(source: SyncSource) -> &'static str {
    match source {
        SyncSource::Primary => "primary",
        SyncSource::Secondary => "secondary",
    }
}

/// Why something was not done, in a word.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::NoEntry => "no-entry",
        Code::Invalid => "invalid",
        Code::NoMemory => "no-memory",
        Code::Unimplemented => "unimplemented",
        Code::Unsafe => "unsafe",
        Code::Failed => "failed",
    }
}
