//! A simulated disk: what is not synced may be lost, in part and in any order, when it crashes; it
//! fills up; it fails. All of it follows from one seed.
//!
//! Harsher than any one file system: data, size and names reach the disk independently of each
//! other, and what a failed sync did not write is never written.

use super::commit::Disk;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is written at once or not at all, in bytes. Small, so that a record has several.
const SECTOR: usize = 64;

/// Random numbers from a seed (splitmix64): the same everywhere, for ever.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// The next 64 random bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 if there is none.
    pub fn below(&mut self, n: usize) -> usize {
        (self.draw() % n.max(1) as u64) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// How often the disk misbehaves: each once in so many times, 0 for never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A write ends half way, with EIO.
    pub write: usize,
    /// A sync loses some of what it should have written, with EIO.
    pub sync: usize,
    /// A truncation does not happen, with EIO.
    pub truncate: usize,
}

#[derive(Clone, Default)]
struct Inode {
    /// What a reader sees.
    cache: Vec<u8>,
    /// What is on the disk, and how much of it belongs to the file.
    blocks: Vec<u8>,
    size: usize,
    /// Sectors that differ.
    dirty: BTreeSet<usize>,
}

enum Naming {
    Set(String, usize),
    Remove(String),
}

struct World {
    rng: Rng,
    faults: Faults,
    /// How much all files may hold, in bytes.
    capacity: usize,
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    namings: Vec<Naming>,
    /// How many more operations succeed before the crash.
    left: usize,
}

/// A directory on the simulated disk.
#[derive(Clone)]
pub struct SimDirectory(Arc<Mutex<World>>);

/// An open file on it.
pub struct SimFile {
    directory: SimDirectory,
    inode: usize,
}

impl SimDirectory {
    /// An empty disk that crashes at its `operations`th operation.
    pub fn new(seed: u64, operations: usize, capacity: usize, faults: Faults) -> Self {
        SimDirectory(Arc::new(Mutex::new(World {
            rng: Rng(seed),
            faults,
            capacity,
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            namings: Vec::new(),
            left: operations,
        })))
    }

    /// Whether it has crashed: nothing works any more then.
    pub fn crashed(&self) -> bool {
        self.world().left == 0
    }

    /// Changes how much all files may hold, in bytes.
    pub fn set_capacity(&self, capacity: usize) {
        self.world().capacity = capacity;
    }

    /// Changes how often the disk misbehaves.
    pub fn set_faults(&self, faults: Faults) {
        self.world().faults = faults;
    }

    /// Makes an empty file, in place of any that has the name.
    ///
    /// # Errors
    /// If the disk has crashed.
    pub fn create(&self, name: &str) -> io::Result<SimFile> {
        let mut world = self.world();
        world.operation()?;
        let inode = world.inodes.len();
        world.inodes.push(Inode::default());
        world.name(Naming::Set(name.to_owned(), inode));
        Ok(SimFile { directory: self.clone(), inode })
    }

    /// Opens a file, if there is one.
    pub fn open(&self, name: &str) -> Option<SimFile> {
        let inode = *self.world().names.get(name)?;
        Some(SimFile { directory: self.clone(), inode })
    }

    /// Renames a file over another.
    ///
    /// # Errors
    /// If the disk has crashed, which may be before or after, or there is no such file.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        let inode = *world.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        let result = world.operation();
        world.name(Naming::Remove(from.to_owned()));
        world.name(Naming::Set(to.to_owned(), inode));
        result
    }

    /// Makes names durable.
    ///
    /// # Errors
    /// If the disk has crashed.
    pub fn sync(&self) -> io::Result<()> {
        let mut world = self.world();
        world.operation()?;
        world.namings.clear();
        world.durable_names = world.names.clone();
        Ok(())
    }

    /// What a reader sees of a file.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let world = self.world();
        world.names.get(name).and_then(|&inode| world.inodes.get(inode)).map(|i| i.cache.clone())
    }

    /// What is found after the power is back; `operations` from here to the next crash.
    pub fn power_cut(&self, operations: usize) -> SimDirectory {
        let mut world = self.world();
        let World { rng, inodes, .. } = &mut *world;
        let mut inodes = inodes.clone();
        for inode in &mut inodes {
            inode.write_back(rng);
            inode.blocks.resize(inode.size, 0);
            inode.cache = inode.blocks.clone();
            inode.dirty.clear();
        }
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
    pub fn kill(&self, operations: usize) -> SimDirectory {
        let mut world = self.world();
        let (names, durable) = (world.names.clone(), world.durable_names.clone());
        let (inodes, namings) = (world.inodes.clone(), std::mem::take(&mut world.namings));
        world.successor(inodes, names, durable, namings, operations)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimFile {
    /// How long a reader finds it, in bytes.
    pub fn length(&self) -> u64 {
        let world = self.directory.world();
        world.inodes.get(self.inode).map_or(0, |inode| inode.cache.len() as u64)
    }
}

impl Disk for SimFile {
    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.directory.world();
        let result = world.operation();
        let used: usize = world.inodes.iter().map(|inode| inode.cache.len()).sum();
        let room = world.capacity.saturating_sub(used);
        let fails = world.fault(|faults| faults.write);
        let (rng, inode) = world.inode(self.inode)?;
        let part = rng.below(bytes.len());
        if result.is_err() || fails {
            inode.write(&bytes[..part.min(room)], offset as usize);
            return result.and(Err(io::Error::from_raw_os_error(libc::EIO)));
        }
        inode.write(&bytes[..bytes.len().min(room)], offset as usize);
        if bytes.len() > room {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut world = self.directory.world();
        let result = world.operation();
        let fails = world.fault(|faults| faults.sync);
        let (rng, inode) = world.inode(self.inode)?;
        if result.is_err() || fails {
            inode.write_back(rng);
            if fails {
                inode.dirty.clear();
            }
            return result.and(Err(io::Error::from_raw_os_error(libc::EIO)));
        }
        inode.sync();
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut world = self.directory.world();
        world.operation()?;
        if world.fault(|faults| faults.truncate) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let (_, inode) = world.inode(self.inode)?;
        inode.truncate(length as usize);
        Ok(())
    }
}

impl World {
    /// Counts an operation. Meanwhile the system writes back what it likes.
    fn operation(&mut self) -> io::Result<()> {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            return Err(io::Error::other("crashed"));
        }
        let which = self.rng.below(self.inodes.len() * 4);
        if let Some(inode) = self.inodes.get_mut(which) {
            inode.write_back(&mut self.rng);
        }
        Ok(())
    }

    fn successor(
        &mut self,
        inodes: Vec<Inode>,
        names: BTreeMap<String, usize>,
        durable_names: BTreeMap<String, usize>,
        namings: Vec<Naming>,
        left: usize,
    ) -> SimDirectory {
        SimDirectory(Arc::new(Mutex::new(World {
            rng: Rng(self.rng.draw()),
            faults: self.faults,
            capacity: self.capacity,
            inodes,
            names,
            durable_names,
            namings,
            left,
        })))
    }

    fn fault(&mut self, which: fn(&Faults) -> usize) -> bool {
        let often = which(&self.faults);
        often > 0 && self.rng.one_in(often)
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.namings.push(naming);
    }

    fn inode(&mut self, inode: usize) -> io::Result<(&mut Rng, &mut Inode)> {
        let found = self.inodes.get_mut(inode).ok_or(io::ErrorKind::NotFound)?;
        Ok((&mut self.rng, found))
    }
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Naming::Set(name, inode) => names.insert(name.clone(), *inode),
            Naming::Remove(name) => names.remove(name),
        };
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.cache.len() < end {
            self.cache.resize(end, 0);
        }
        self.cache[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }

    fn truncate(&mut self, length: usize) {
        self.cache.truncate(length);
        self.dirty.retain(|sector| sector * SECTOR < length);
        if !length.is_multiple_of(SECTOR) {
            self.dirty.insert(length / SECTOR);
        }
    }

    /// Some of what is dirty reaches the disk: nothing, all, or any part.
    fn write_back(&mut self, rng: &mut Rng) {
        let often = [1, 2, 4, usize::MAX][rng.below(4)];
        let chosen: Vec<usize> = self.dirty.iter().copied().filter(|_| rng.one_in(often)).collect();
        for sector in chosen {
            self.write_sector(sector);
        }
        if rng.one_in(2) {
            self.write_size();
        }
    }

    fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.write_sector(sector);
        }
        self.write_size();
    }

    fn write_sector(&mut self, sector: usize) {
        let (start, end) = (sector * SECTOR, (sector + 1) * SECTOR);
        if self.blocks.len() < end {
            self.blocks.resize(end, 0);
        }
        let held = self.cache.len().clamp(start, end);
        if let Some(bytes) = self.cache.get(start..held) {
            self.blocks[start..held].copy_from_slice(bytes);
            self.blocks[held..end].fill(0);
        }
        self.dirty.remove(&sector);
    }

    /// What is behind the end is given back, and zeros when it comes to be used again.
    fn write_size(&mut self) {
        self.size = self.cache.len();
        let whole = self.size.next_multiple_of(SECTOR);
        if self.blocks.len() > whole {
            self.blocks.truncate(whole);
        }
    }
}
