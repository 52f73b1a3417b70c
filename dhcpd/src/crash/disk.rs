//! A simulated disk: what is not synced may be lost, in part and in any order, when it crashes; it
//! fills up; it fails. All of it follows from one seed.
//!
//! Harsher than any one file system: data, size and names reach the disk independently of each
//! other, a sector may be half written, and what a failed sync did not write is never written, and
//! may be gone for readers too. Names are kinder: a directory that could not be synced forgets
//! nothing (see `succession`).

use super::inode::Inode;
use super::random::Rng;
use crate::journal::commit::{Disk, End};
use crate::leasefile::store::Error;
use crate::leasefile::succession::Folder;
use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;
use std::rc::Rc;

/// The lease file, and what becomes it.
pub(crate) const FILE: &str = "leases";
pub(crate) const NEW: &str = "leases.new";

/// How often the disk misbehaves: each once in so many times, 0 for never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// A write ends half way, with EIO.
    pub(crate) write: usize,
    /// A sync loses some of what it should have written, with EIO.
    pub(crate) sync: usize,
    /// A truncation does not happen, with EIO.
    pub(crate) truncate: usize,
    /// A file is not made or removed, a rename may not be done, a directory not synced; with EIO.
    pub(crate) names: usize,
}

#[derive(Clone, Copy)]
enum Naming {
    Set(&'static str, usize),
    Remove(&'static str),
}

type Names = BTreeMap<&'static str, usize>;

struct World {
    rng: Rng,
    faults: Faults,
    /// How much all files that have a name may hold, in bytes.
    capacity: usize,
    inodes: Vec<Inode>,
    names: Names,
    durable_names: Names,
    namings: Vec<Naming>,
    /// How many more operations succeed before the crash.
    left: usize,
    done: usize,
    /// Every record that anybody has ever written, whatever has become of it.
    written: Rc<RefCell<HashSet<Vec<u8>>>>,
    trace: bool,
}

/// What the crash has to do with an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lives,
    /// It is the last one, and done in part.
    Dies,
    Dead,
}

/// A directory on the simulated disk.
#[derive(Clone)]
pub(crate) struct SimDirectory(Rc<RefCell<World>>);

/// An open file on it.
#[derive(Clone)]
pub(crate) struct SimFile {
    directory: SimDirectory,
    inode: usize,
}

fn crashed() -> io::Error {
    io::Error::other("crashed")
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

impl SimDirectory {
    /// A disk with an empty lease file, that crashes at its `operations`th operation.
    pub(crate) fn new(seed: u64, operations: usize) -> Self {
        let names = Names::from([(FILE, 0)]);
        SimDirectory(Rc::new(RefCell::new(World {
            rng: Rng(seed),
            faults: Faults::default(),
            capacity: usize::MAX,
            inodes: vec![Inode::default()],
            names: names.clone(),
            durable_names: names,
            namings: Vec::new(),
            left: operations,
            done: 0,
            written: Rc::default(),
            trace: false,
        })))
    }

    /// Whether it has crashed: nothing works any more then.
    pub(crate) fn crashed(&self) -> bool {
        self.world().left == 0
    }

    /// Changes how many more operations succeed before the crash.
    pub(crate) fn set_left(&self, operations: usize) {
        self.world().left = operations;
    }

    /// How many operations there have been.
    pub(crate) fn operations(&self) -> usize {
        self.world().done
    }

    /// Changes how much all files may hold, in bytes, beyond what they do.
    pub(crate) fn set_room(&self, room: usize) {
        let mut world = self.world();
        world.capacity = world.used().saturating_add(room);
    }

    /// Changes how often the disk misbehaves.
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.world().faults = faults;
    }

    /// Tells every operation on standard error.
    pub(crate) fn set_trace(&self, trace: bool) {
        self.world().trace = trace;
    }

    /// Opens the lease file.
    pub(crate) fn open(&self) -> Option<SimFile> {
        let inode = *self.world().names.get(FILE)?;
        Some(SimFile { directory: self.clone(), inode })
    }

    /// Makes a file beside it.
    pub(crate) fn make(&self) -> SimFile {
        let _ = self.remove();
        self.create(&self.open().unwrap()).unwrap()
    }

    /// What a reader sees of a file.
    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let world = self.world();
        world.names.get(name).and_then(|&inode| world.inodes.get(inode)).map(|i| i.cache.clone())
    }

    /// Whether a record, as text, was ever written.
    pub(crate) fn was_written(&self, record: &[u8]) -> bool {
        self.world().written.borrow().contains(record)
    }

    /// What is found after the power is back; `operations` from here to the next crash. Another
    /// time it may be something else.
    pub(crate) fn power_cut(&self, operations: usize) -> SimDirectory {
        let mut world = self.world();
        let mut inodes = world.inodes.clone();
        inodes.iter_mut().for_each(|inode| inode.power_cut(&mut world.rng));
        let noted = world.namings.len();
        let kept = world.rng.below(noted + 1);
        let mut names = world.durable_names.clone();
        for naming in world.namings.iter().take(kept) {
            naming.apply(&mut names);
        }
        world.successor(inodes, names.clone(), names, Vec::new(), operations)
    }

    /// What is found after only the process has been killed: all that was written, and what was not
    /// synced still is not.
    pub(crate) fn kill(&self, operations: usize) -> SimDirectory {
        let mut world = self.world();
        let (names, durable) = (world.names.clone(), world.durable_names.clone());
        let (inodes, namings) = (world.inodes.clone(), world.namings.clone());
        world.successor(inodes, names, durable, namings, operations)
    }

    fn world(&self) -> RefMut<'_, World> {
        self.0.borrow_mut()
    }

    fn error(&self, tried: &str, error: io::Error) -> Error {
        Error::new(tried, self.path(), error)
    }
}

impl Folder for SimDirectory {
    type File = SimFile;

    fn path(&self) -> &Path {
        Path::new(FILE)
    }

    fn create(&self, _like: &SimFile) -> Result<SimFile, Error> {
        let mut world = self.world();
        let fate = world.operation("create", format_args!(""));
        if fate == Fate::Dead || world.fault(|faults| faults.names) {
            return Err(self.error("create", eio()));
        }
        if world.names.contains_key(NEW) {
            return Err(self.error("create", io::ErrorKind::AlreadyExists.into()));
        }
        let inode = world.inodes.len();
        world.inodes.push(Inode::default());
        world.name(&[Naming::Set(NEW, inode)]);
        drop(world);
        fate.lives(|| self.error("create", crashed()))?;
        Ok(SimFile { directory: self.clone(), inode })
    }

    fn remove(&self) -> Result<(), Error> {
        let mut world = self.world();
        if !world.names.contains_key(NEW) {
            return Ok(());
        }
        let fate = world.operation("remove", format_args!(""));
        if fate == Fate::Dead || world.fault(|faults| faults.names) {
            return Err(self.error("remove", eio()));
        }
        world.name(&[Naming::Remove(NEW)]);
        fate.lives(|| self.error("remove", crashed()))
    }

    fn rename(&self) -> Result<(), Error> {
        let mut world = self.world();
        let fate = world.operation("rename", format_args!(""));
        let fails = world.fault(|faults| faults.names);
        let inode = world.names.get(NEW).copied();
        let inode = inode.ok_or_else(|| self.error("rename", io::ErrorKind::NotFound.into()))?;
        if fate == Fate::Dead || fails && world.rng.one_in(2) {
            return Err(self.error("rename", eio()));
        }
        world.name(&[Naming::Remove(NEW), Naming::Set(FILE, inode)]);
        if fails {
            return Err(self.error("rename", eio()));
        }
        fate.lives(|| self.error("rename", crashed()))
    }

    fn has_name(&self, file: &SimFile) -> Result<bool, Error> {
        let mut world = self.world();
        if world.left == 0 || world.fault(|faults| faults.names) {
            return Err(self.error("stat", eio()));
        }
        Ok(world.names.get(FILE) == Some(&file.inode))
    }

    fn sync(&self) -> Result<(), Error> {
        let mut world = self.world();
        let fate = world.operation("sync the directory", format_args!(""));
        if fate != Fate::Lives || world.fault(|faults| faults.names) {
            return Err(self.error("sync the directory of", eio()));
        }
        world.namings.clear();
        world.durable_names = world.names.clone();
        Ok(())
    }
}

impl Disk for SimFile {
    fn end(&self) -> io::Result<End> {
        let world = self.directory.world();
        let cache = world.inodes.get(self.inode).map_or(&[][..], |inode| &inode.cache);
        let size = cache.len() as u64;
        let Some(last) = cache.iter().rposition(|&byte| byte != b'\n') else {
            return Ok(End { length: 0, open: false, size });
        };
        let open = last + 1 == cache.len();
        Ok(End { length: last as u64 + if open { 1 } else { 2 }, open, size })
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.directory.world();
        let (inode, length) = (self.inode, bytes.len());
        let fate = world.operation("write", format_args!("{length} at {offset} of {inode}"));
        if fate == Fate::Dead {
            return Err(crashed());
        }
        // What is overwritten needs none.
        let held = world.inodes.get(self.inode).map_or(0, |inode| inode.cache.len());
        let room = world.capacity.saturating_sub(world.used());
        let room = room.saturating_add(held.saturating_sub(offset as usize));
        let fails = world.fault(|faults| faults.write) || fate == Fate::Dies;
        world.note_records(bytes);
        let (rng, inode) = world.inode(self.inode)?;
        if fails {
            let part = rng.below(bytes.len());
            inode.write(&bytes[..part.min(room)], offset as usize);
            return Err(eio());
        }
        inode.write(&bytes[..bytes.len().min(room)], offset as usize);
        if bytes.len() > room {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut world = self.directory.world();
        let fate = world.operation("sync", format_args!("{}", self.inode));
        if fate == Fate::Dead {
            return Err(crashed());
        }
        let fails = world.fault(|faults| faults.sync);
        let (rng, inode) = world.inode(self.inode)?;
        if fails || fate == Fate::Dies {
            inode.write_back(rng);
            if fails {
                inode.forget(rng);
            }
            return Err(eio());
        }
        inode.sync();
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut world = self.directory.world();
        let fate = world.operation("truncate", format_args!("{} to {length}", self.inode));
        if fate == Fate::Dead || world.fault(|faults| faults.truncate) {
            return Err(eio());
        }
        let (_, inode) = world.inode(self.inode)?;
        inode.truncate(length as usize);
        fate.lives(crashed)
    }
}

impl Fate {
    fn lives<E>(self, error: impl FnOnce() -> E) -> Result<(), E> {
        if self == Fate::Lives { Ok(()) } else { Err(error()) }
    }
}

impl World {
    /// Counts an operation. Meanwhile the system writes back what it likes.
    fn operation(&mut self, what: &str, how: std::fmt::Arguments<'_>) -> Fate {
        if self.left == 0 {
            return Fate::Dead;
        }
        self.left -= 1;
        self.done += 1;
        for inode in self.names.values() {
            if self.rng.one_in(4)
                && let Some(inode) = self.inodes.get_mut(*inode)
            {
                inode.write_back(&mut self.rng);
            }
        }
        if self.trace {
            let crash = if self.left == 0 { ": CRASH in the middle of it" } else { "" };
            eprintln!("    disk: {what} {how}{crash}");
        }
        if self.left == 0 { Fate::Dies } else { Fate::Lives }
    }

    fn used(&self) -> usize {
        self.names.values().filter_map(|inode| self.inodes.get(*inode)).map(|i| i.cache.len()).sum()
    }

    fn note_records(&mut self, bytes: &[u8]) {
        let mut written = self.written.borrow_mut();
        // No name in these schedules has a brace.
        for record in bytes.split_inclusive(|byte| *byte == b'}') {
            let record = record.trim_ascii_start();
            written.insert([record, b"\n"].concat());
        }
    }

    fn successor(
        &mut self,
        inodes: Vec<Inode>,
        names: Names,
        durable_names: Names,
        namings: Vec<Naming>,
        left: usize,
    ) -> SimDirectory {
        SimDirectory(Rc::new(RefCell::new(World {
            rng: Rng(self.rng.draw()),
            faults: self.faults,
            capacity: self.capacity,
            inodes,
            names,
            durable_names,
            namings,
            left,
            done: 0,
            written: Rc::clone(&self.written),
            trace: self.trace,
        })))
    }

    fn fault(&mut self, which: fn(&Faults) -> usize) -> bool {
        let often = which(&self.faults);
        let fails = self.rng.one_in(often);
        if fails && self.trace {
            eprintln!("    disk: that fails");
        }
        fails
    }

    fn name(&mut self, namings: &[Naming]) {
        for naming in namings {
            naming.apply(&mut self.names);
            self.namings.push(*naming);
        }
    }

    fn inode(&mut self, inode: usize) -> io::Result<(&mut Rng, &mut Inode)> {
        let found = self.inodes.get_mut(inode).ok_or(io::ErrorKind::NotFound)?;
        Ok((&mut self.rng, found))
    }
}

impl Naming {
    fn apply(self, names: &mut Names) {
        match self {
            Naming::Set(name, inode) => names.insert(name, inode),
            Naming::Remove(name) => names.remove(name),
        };
    }
}
