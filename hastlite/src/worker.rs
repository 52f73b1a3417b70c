//! A worker: one resource, in one role, and no rights. Everything it holds was given to it: the
//! local component, where clients connect, and the connections to the other node as they come.
//!
//! Here is how it begins; [`primary`] and [`secondary`] are the loops around the engines. They
//! move bytes, and decide nothing.

mod clients;
mod link;
mod primary;
mod probe;
mod secondary;

#[cfg_attr(target_os = "linux", path = "worker/rules_linux.rs")]
#[cfg_attr(target_os = "openbsd", path = "worker/rules_openbsd.rs")]
#[cfg_attr(target_os = "freebsd", path = "worker/rules_freebsd.rs")]
#[cfg_attr(target_os = "netbsd", path = "worker/rules_netbsd.rs")]
mod rules;

use crate::USER;
use crate::component::Component;
use crate::engine::{Happening, Metadata, Now, Role, Status};
use crate::msg::{FromWorker, Report, Start, ToWorker, WorkerSettings};
use crate::storage::{self, Loaded, Storage};
use crate::wire::data::Codec;
use proto::unix::{Channel, Error as ChannelError};
use std::os::fd::OwnedFd;
use std::time::Instant;
use supervise::confine::{Confinement, confine};
use supervise::{inherited_channel, logger};

/// Exit codes of sysexits(3), as far as a worker ends with them.
mod exit {
    /// Something would be lost, and force was not asked for.
    pub const NOPERM: u8 = 77;
    /// The component or its metadata cannot be used.
    pub const NOINPUT: u8 = 66;
    /// The system would not do it.
    pub const OSERR: u8 = 71;
}

/// The channel to the parent.
type Parent = Channel<FromWorker, ToWorker>;

/// Takes its channel, takes what the parent hands over, gives up every right, works. Returns
/// without an error once the parent has closed the channel or ended the role.
pub fn run() -> Result<(), String> {
    logger::inherit("hastlite").map_err(|e| e.to_string())?;
    let identity = supervise::user(USER).map_err(|e| e.to_string())?;
    let channel = inherited_channel().map_err(|e| e.to_string())?;
    let parent = Channel::from_fd(channel).map_err(|e| format!("channel to the parent: {e}"))?;
    // While /dev can still be seen.
    let seed = random()?;
    let rules = &rules::RULES;
    confine(&Confinement { identity: &identity, parent_death: Some(libc::SIGKILL), rules })
        .map_err(|e| e.to_string())?;
    let Some(handed) = Handed::receive(&parent, seed)? else { return Ok(()) };
    let result = match handed.start.role {
        Role::Primary => primary::serve(&parent, handed),
        Role::Secondary => secondary::serve(&parent, handed),
        Role::Init => Err(Refusal::new(exit::OSERR, "init is no role for a worker")),
    };
    result.map_err(|Refusal { code, loses, why }| {
        // The parent knows then what to do about it.
        let _ = parent.send(&FromWorker::Refused { code, loses, why: why.clone() });
        why
    })
}

/// Why a worker cannot go on.
struct Refusal {
    code: u8,
    /// Bytes that would be lost, if that is why and it is known.
    loses: Option<u64>,
    why: String,
}

impl Refusal {
    fn new(code: u8, why: impl std::fmt::Display) -> Self {
        Refusal { code, loses: None, why: why.to_string() }
    }
}

/// What the parent hands over before the start.
struct Handed {
    start: Start,
    component: OwnedFd,
    export: Option<OwnedFd>,
    /// What nobody can guess.
    seed: [u8; 32],
}

impl Handed {
    /// `None` if the parent ended meanwhile.
    fn receive(parent: &Parent, seed: [u8; 32]) -> Result<Option<Handed>, String> {
        let (mut component, mut export) = (None, None);
        loop {
            match parent.recv() {
                Ok(ToWorker::Component(fd)) => component = Some(fd),
                Ok(ToWorker::Export(fd)) => export = Some(fd),
                Ok(ToWorker::Start(start)) => {
                    let component = component.ok_or("the parent gave us no component")?;
                    return Ok(Some(Handed { start: *start, component, export, seed }));
                }
                Ok(other) => return Err(format!("the parent said {other:?} before the start")),
                Err(ChannelError::Closed) => return Ok(None),
                Err(error) => return Err(format!("channel to the parent: {error}")),
            }
        }
    }
}

/// Milliseconds since the worker began.
struct Clock(Instant);

impl Clock {
    fn now(&self) -> Now {
        self.at(Instant::now())
    }

    fn at(&self, moment: Instant) -> Now {
        let passed = moment.saturating_duration_since(self.0);
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Reads what the component says about the resource.
fn load(component: OwnedFd, name: &str) -> Result<(Component, Loaded), Refusal> {
    let component = Component::from_fd(component).map_err(|e| Refusal::new(exit::NOINPUT, e))?;
    let loaded = storage::load(&component, name).map_err(|e| Refusal::new(exit::NOINPUT, e))?;
    if let Some(note) = loaded.note {
        log::warn!("[{name}] {note}");
    }
    Ok((component, loaded))
}

/// Starts the disk's threads.
fn disk(component: Component, loaded: Loaded, metaflush: bool) -> Result<Storage, Refusal> {
    let options = storage::Options { metaflush, ..storage::Options::default() };
    Storage::start(component, loaded.layout, loaded.book, options)
        .map_err(|e| Refusal::new(exit::OSERR, format_args!("start the disk's threads: {e}")))
}

fn codec(settings: &WorkerSettings) -> Codec {
    Codec { checksum: settings.checksum, compression: settings.compression }
}

/// A line for what the hooks are told, too.
fn note(resource: &str, happening: &Happening) {
    match happening {
        Happening::Connect => log::info!("[{resource}] connected to the other node"),
        Happening::Disconnect(why) => log::warn!("[{resource}] disconnected: {why}"),
        Happening::SyncStart => log::info!("[{resource}] resynchronisation begins"),
        Happening::SyncDone => log::info!("[{resource}] resynchronisation is complete"),
        Happening::SyncIntr => log::warn!("[{resource}] resynchronisation is interrupted"),
        Happening::SplitBrain => {
            log::error!("[{resource}] split brain: both nodes have data that the other one has not")
        }
    }
}

/// What hastctl is told.
fn report(
    status: Status,
    metadata: &Metadata,
    objection: Option<&crate::engine::role::Refusal>,
    now: Now,
) -> FromWorker {
    FromWorker::Report(Box::new(Report {
        syncing: status.sync.map_or(0, |sync| now.saturating_sub(sync.since)),
        status,
        volume: metadata.into(),
        objection: objection.map(Into::into),
    }))
}

/// Bytes that nobody can guess.
fn random() -> Result<[u8; 32], String> {
    let mut bytes = [0; 32];
    let file = std::fs::File::open("/dev/urandom");
    file.and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
        .map_err(|e| format!("read /dev/urandom: {e}"))?;
    Ok(bytes)
}
