//! What hastctl(8) prints for programs: one object a line. Pure.
//!
//! Names are those of FreeBSD's control protocol, where it has one. Sizes are bytes, times are
//! milliseconds. What is not known is `null`. `resuid` is a string: numbers of 64 bits are too
//! large for many programs.

use super::message::{Answer, Resource, Volume, Worker};
use super::render;
use std::fmt::Write;

/// An object that is being written.
pub struct Object<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Object<'a> {
    /// Begins one at the end of `out`.
    pub fn begin(out: &'a mut String) -> Self {
        out.push('{');
        Object { out, first: true }
    }

    fn key(&mut self, key: &str) -> &mut String {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        string(key, self.out);
        self.out.push(':');
        self.out
    }

    /// Text.
    pub fn text(&mut self, key: &str, value: &str) -> &mut Self {
        string(value, self.key(key));
        self
    }

    /// Text that may be missing.
    pub fn maybe_text(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(key, value),
            None => self.null(key),
        }
    }

    /// A number.
    pub fn number(&mut self, key: &str, value: impl Into<u64>) -> &mut Self {
        let value = value.into();
        // Writing to a string does not fail.
        let _ = write!(self.key(key), "{value}");
        self
    }

    /// A number that may be missing.
    pub fn maybe(&mut self, key: &str, value: Option<u64>) -> &mut Self {
        match value {
            Some(value) => self.number(key, value),
            None => self.null(key),
        }
    }

    /// Yes or no.
    pub fn bool(&mut self, key: &str, value: bool) -> &mut Self {
        self.key(key).push_str(if value { "true" } else { "false" });
        self
    }

    /// Nothing.
    pub fn null(&mut self, key: &str) -> &mut Self {
        self.key(key).push_str("null");
        self
    }

    /// An object.
    pub fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        let mut inner = Object::begin(self.key(key));
        fill(&mut inner);
        inner.end();
        self
    }

    /// Ends it.
    pub fn end(self) {
        self.out.push('}');
    }
}

/// What was answered about each resource, on one line.
pub fn resources(answers: &[Answer]) -> String {
    let mut out = String::from("{\"resources\":[");
    let mut first = true;
    for answer in answers {
        if matches!(answer, Answer::End | Answer::Refused(_)) {
            continue;
        }
        if !first {
            out.push(',');
        }
        first = false;
        let mut object = Object::begin(&mut out);
        match answer {
            Answer::Status(one) => resource(one, &mut object),
            Answer::Failed { resource, code, why, loses } => {
                object.text("name", resource).number("error", *code as u8);
                object.text("code", render::code_name(*code)).text("why", why);
                object.maybe("loses", *loses);
            }
            Answer::Done { resource, before } => {
                object.text("name", resource).number("error", 0_u8);
                object.text("before", render::role_name(*before));
            }
            Answer::End | Answer::Refused(_) => {}
        }
        object.end();
    }
    out.push_str("]}\n");
    out
}

fn resource(one: &Resource, out: &mut Object<'_>) {
    out.text("name", &one.name).number("error", 0_u8).text("role", render::role_name(one.role));
    out.text("provname", &one.provname).text("export", &one.uri);
    out.text("localpath", &one.local).text("remoteaddr", &one.remote);
    out.maybe_text("sourceaddr", one.source.as_deref());
    out.text("replication", render::replication_name(one.replication));
    out.text("checksum", render::checksum_name(one.checksum));
    out.text("compression", render::compression_name(one.compression));
    match &one.volume {
        None => out.null("volume"),
        Some(volume) => out.object("volume", |out| write_volume(volume, out)),
    };
    out.maybe_text("status", one.worker.as_ref().map(render::state));
    match &one.worker {
        None => out.null("worker"),
        Some(worker) => out.object("worker", |out| write_worker(worker, out)),
    };
    match &one.objection {
        None => out.null("objection"),
        Some(objection) => out.object("objection", |out| {
            out.maybe("loses", objection.loses).text("why", &objection.why);
        }),
    };
}

/// What metadata says.
pub fn write_volume(volume: &Volume, out: &mut Object<'_>) {
    out.number("datasize", volume.datasize).number("extentsize", volume.extentsize);
    out.number("keepdirty", volume.keepdirty).text("resuid", &volume.resuid.to_string());
    out.number("localcnt", volume.localcnt).number("remotecnt", volume.remotecnt);
}

fn write_worker(worker: &Worker, out: &mut Object<'_>) {
    let status = &worker.status;
    out.number("pid", worker.pid).bool("connected", status.connected);
    out.maybe_text("trouble", status.trouble.as_deref());
    out.text("consistency", render::consistency_name(status.consistency));
    out.bool("detached", status.detached);
    out.number("dirty", status.dirty).number("marked", status.marked);
    match &status.sync {
        None => out.null("sync"),
        Some(sync) => out.object("sync", |out| {
            let rate = render::rate(worker);
            let left = sync.total.saturating_sub(sync.done);
            out.text("source", render::source_name(sync.source));
            out.number("total", sync.total).number("done", sync.done);
            out.number("percent", render::percent(sync.done, sync.total));
            out.number("elapsed", worker.syncing).number("rate", rate);
            out.maybe("eta", left.saturating_mul(1000).checked_div(rate));
        }),
    };
    let counters = &status.counters;
    out.object("statistics", |out| {
        out.number("reads", counters.reads).number("writes", counters.writes);
        out.number("deletes", counters.deletes).number("flushes", counters.flushes);
        out.number("activemap_updates", counters.map_updates);
        out.number("read_errors", counters.read_errors);
        out.number("write_errors", counters.write_errors);
        out.number("delete_errors", counters.delete_errors);
        out.number("flush_errors", counters.flush_errors);
        out.number("remote_errors", counters.remote_errors);
    });
    out.object("queues", |out| {
        out.number("requests", status.requests).number("local", status.local_queue);
        out.number("send", status.send_queue).number("recv", status.recv_queue);
    });
}

/// In quotes (RFC 8259 section 7).
fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1f' | '\x7f'..='\u{9f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
