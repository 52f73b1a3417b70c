//! The secondary's half of the handshake, from the resource's own checks on.

use super::super::decision::{self, Decision, MapToSend, Refused, Verdict};
use super::super::{Consistency, Happening, Metadata, Now, Role, SecondaryAction, ext};
use super::{Link, Secondary};
use crate::wire::hello::{FirstReply, Handshake, Hello, Refusal, Second, SecondReply};
use crate::wire::hello::{SyncSource, TOKEN, VERSION};
use sha2::{Digest, Sha256};

/// Random numbers nobody can foresee, of a seed that nobody knows.
#[derive(Debug)]
pub struct Tokens {
    seed: [u8; 32],
    count: u64,
}

impl Tokens {
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, count: 0 }
    }

    fn next(&mut self) -> [u8; TOKEN] {
        self.count += 1;
        let hash = Sha256::new().chain_update(self.seed).chain_update(self.count.to_le_bytes());
        let hash = hash.finalize();
        let mut token = [0; TOKEN];
        token.copy_from_slice(&hash[..TOKEN]);
        token
    }
}

/// A C1 that waits for its C2. Gone once a C2 has come with the token, so that a token serves once
/// (B4).
#[derive(Debug)]
pub struct Half {
    pub c1: u64,
    token: [u8; TOKEN],
    ext: u64,
    pub since: Now,
}

/// A pair of connections that belong together, and the answer that is due on them.
#[derive(Debug)]
pub struct Answering {
    pub c1: u64,
    pub c2: u64,
    ext: u64,
    second: Second,
    /// Taken as soon as nothing is being recorded any more.
    decision: Option<Decision>,
    since: Now,
}

impl Secondary {
    pub(super) fn handshake(
        &mut self,
        conn: u64,
        message: Handshake,
        now: Now,
        out: &mut Vec<SecondaryAction>,
    ) {
        match message {
            _ if self.stopping => {
                let text = "Remote node acts as init for the resource and not as secondary.";
                refuse(conn, text.to_owned(), out);
                out.push(SecondaryAction::Close(conn));
            }
            Handshake::Hello(hello) => self.hello(conn, &hello, now, out),
            Handshake::Second(second) => self.second(conn, second, now, out),
            // Nothing that a primary says.
            Handshake::FirstReply(_) | Handshake::SecondReply(_) | Handshake::Refusal(_) => {
                out.push(SecondaryAction::Close(conn));
            }
        }
    }

    /// A new C1 takes the place of all that there is: the primary has given it up.
    fn hello(&mut self, conn: u64, hello: &Hello, now: Now, out: &mut Vec<SecondaryAction>) {
        self.drop_handshake(out);
        self.end_link("the primary has connected anew", out);
        if hello.resource != self.meta.resource {
            refuse(conn, "Resource not configured.".to_owned(), out);
            out.push(SecondaryAction::Close(conn));
            return;
        }
        let token = self.tokens.next();
        let version = hello.version.min(VERSION);
        let common = hello.ext & ext::OURS;
        self.half = Some(Half { c1: conn, token, ext: common, since: now });
        let reply = FirstReply { version, token, ext: common };
        out.push(SecondaryAction::Handshake(conn, Handshake::FirstReply(reply)));
    }

    fn second(&mut self, conn: u64, second: Second, now: Now, out: &mut Vec<SecondaryAction>) {
        let fits = |half: &mut Half| half.token == second.token;
        let Some(half) = self.half.take_if(fits) else {
            refuse(conn, "Token doesn't match.".to_owned(), out);
            out.push(SecondaryAction::Close(conn));
            return;
        };
        self.answering = Some(Answering {
            c1: half.c1,
            c2: conn,
            ext: half.ext,
            second,
            decision: None,
            since: now,
        });
        self.answer(out);
    }

    /// Ends what has not become a link yet.
    pub(super) fn drop_handshake(&mut self, out: &mut Vec<SecondaryAction>) {
        if let Some(half) = self.half.take() {
            out.push(SecondaryAction::Close(half.c1));
        }
        if let Some(answering) = self.answering.take() {
            out.push(SecondaryAction::Close(answering.c1));
            out.push(SecondaryAction::Close(answering.c2));
        }
    }

    /// The answer that is due cannot be given.
    pub(super) fn refuse_answer(&mut self, why: &str, out: &mut Vec<SecondaryAction>) {
        if let Some(answering) = &self.answering {
            self.trouble = Some(why.to_owned());
            let text = format!("Remote node was unable to prepare return header: {why}");
            refuse(answering.c1, text, out);
            self.drop_handshake(out);
        }
    }

    /// Answers a C2, if one waits and all that the answer depends on is on disk.
    pub(super) fn answer(&mut self, out: &mut Vec<SecondaryAction>) {
        if !self.book.is_idle() {
            return;
        }
        let Some(mut answering) = self.answering.take() else { return };
        let decision = match answering.decision {
            Some(decision) => decision,
            None => match decision::decide(&self.meta, &answering.second) {
                Ok(decision) => {
                    answering.decision = Some(decision);
                    self.record(&decision, &answering, out);
                    if !self.book.is_idle() {
                        self.answering = Some(answering);
                        return;
                    }
                    decision
                }
                Err(refused) => return self.refused(refused, &answering, out),
            },
        };
        self.link_up(&decision, &answering, out);
    }

    fn refused(&mut self, refused: Refused, answering: &Answering, out: &mut Vec<SecondaryAction>) {
        let text = refused.errmsg();
        self.trouble = Some(text.clone());
        refuse(answering.c1, text, out);
        out.push(SecondaryAction::Close(answering.c1));
        out.push(SecondaryAction::Close(answering.c2));
        if refused == Refused::SplitBrain {
            out.push(SecondaryAction::Tell(Happening::SplitBrain));
        }
    }

    /// What has to be on disk before the answer is given.
    fn record(
        &mut self,
        decision: &Decision,
        answering: &Answering,
        out: &mut Vec<SecondaryAction>,
    ) {
        let mut meta = Metadata { prevrole: Role::Secondary, ..self.meta.clone() };
        if decision.adopt {
            meta.resuid = answering.second.resuid;
            (meta.localcnt, meta.remotecnt) = (0, 0);
            if decision.map == MapToSend::Full {
                // With the uid alone the next handshake would find equal counters and no mark: if
                // this answer is lost, the map has to say that nothing is here yet.
                self.map.fill(0xff);
                self.write_map(out);
            }
        }
        meta.consistency = self.judged(decision, answering);
        self.write_meta(meta, out);
    }

    /// What the handshake tells about the data here.
    fn judged(&self, decision: &Decision, answering: &Answering) -> Consistency {
        let native = answering.ext & ext::STATE != 0;
        let have = self.meta.consistency;
        match (decision.verdict, decision.map) {
            (Verdict::Virgin, MapToSend::Full) => Consistency::Inconsistent,
            // A primary of our kind says when it has nothing more to copy. From another, equal
            // counters are the only sign that it came to its end.
            (Verdict::InSync, _) if !native && self.is_clean() => Consistency::Consistent,
            (Verdict::SecondaryOld | Verdict::Strange, _)
                if decision.source == SyncSource::Primary && have == Consistency::Consistent =>
            {
                Consistency::Outdated
            }
            _ => have,
        }
    }

    fn link_up(
        &mut self,
        decision: &Decision,
        answering: &Answering,
        out: &mut Vec<SecondaryAction>,
    ) {
        let map = match decision.map {
            // What a node left that died before it ever met another is told even so.
            MapToSend::None if self.is_clean() => None,
            MapToSend::None | MapToSend::Own => Some(self.map.clone()),
            MapToSend::Full => Some(vec![0xff; self.map.len()]),
        };
        // Where nothing is known to differ, a primary of our own kind says so if that is wrong.
        let nothing = match decision.map {
            MapToSend::None => self.is_clean(),
            MapToSend::Own => decision.verdict == Verdict::InSync && self.is_clean(),
            MapToSend::Full => false,
        };
        let sound = nothing && self.meta.consistency == Consistency::Consistent;
        let reply = SecondReply {
            datasize: self.meta.datasize,
            extentsize: self.meta.extentsize,
            localcnt: self.meta.localcnt,
            remotecnt: self.meta.remotecnt,
            virgin: decision.adopt,
            syncsrc: decision.source,
            map,
            ext: if self.meta.consistency == Consistency::Consistent {
                answering.ext
            } else {
                answering.ext & !ext::WHOLE
            },
        };
        let &Answering { c1, c2, ext: common, since, .. } = answering;
        self.links += 1;
        self.trouble = None;
        let target = decision.source == SyncSource::Primary && !sound;
        self.link = Some(Link { c1, c2, ext: common, heard: since, target, proven: false });
        out.push(SecondaryAction::Handshake(c1, Handshake::SecondReply(reply)));
        out.push(SecondaryAction::Link(c1, c2));
        out.push(SecondaryAction::Tell(Happening::Connect));
    }

    /// Whether nothing is marked.
    fn is_clean(&self) -> bool {
        self.map.iter().all(|byte| *byte == 0)
    }
}

/// Never with `wait`: FreeBSD's primary would connect, and forget to synchronise (A2).
fn refuse(conn: u64, errmsg: String, out: &mut Vec<SecondaryAction>) {
    let refusal = Refusal { errmsg, wait: false };
    out.push(SecondaryAction::Handshake(conn, Handshake::Refusal(refusal)));
}
