//! A local component laid out as FreeBSD has it (section 6): a block of metadata, the map, the
//! data. In memory, or in a file that is a component itself.
//!
//! Reads, writes, flushes and deletes can be made to fail. There is no volatile cache here.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::map::{MAP_AT, map_bytes};
use super::nv::List;
use super::{Role, cmd, errno, lock};

/// A disk that a peer works on and a test looks at; it outlives the peer.
pub type SharedDisk = Arc<Mutex<Disk>>;
/// Decides which accesses to the data fail, with what FreeBSD errno.
pub type Failing = Box<dyn FnMut(Access) -> Option<i16> + Send>;

/// An access to the data area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// One of [`cmd`].
    pub cmd: u8,
    /// Bytes from the start of the data area.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// The nine fields of the block.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields' own names, section 6")]
pub struct Metadata {
    pub resource: String,
    pub datasize: u64,
    pub extentsize: u32,
    pub keepdirty: u32,
    pub offset: u64,
    pub resuid: u64,
    pub localcnt: u64,
    pub remotecnt: u64,
    pub prevrole: Role,
}

enum Store {
    Memory(Vec<u8>),
    File(File),
}

/// One component.
pub struct Disk {
    store: Store,
    media: u64,
    sector: u32,
    /// As it is in memory; [`Disk::store_metadata`] puts it on the disk.
    pub metadata: Metadata,
    failing: Option<Failing>,
    /// What a FLUSH fails with: 45 where there is no support, 25 on a plain file (B5).
    pub flush_error: Option<i16>,
    /// What a DELETE fails with, likewise.
    pub delete_error: Option<i16>,
}

impl Disk {
    /// A new component in memory with `datasize` usable bytes.
    pub fn memory(resource: &str, datasize: u64, extentsize: u32) -> Disk {
        let media = media_for(datasize, extentsize, 512);
        Disk::create(resource, Store::Memory(vec![0; media as usize]), media, extentsize, 512)
    }

    /// A new component in a new file with `datasize` usable bytes.
    pub fn file(path: &Path, resource: &str, datasize: u64, extentsize: u32, sector: u32) -> Disk {
        let media = media_for(datasize, extentsize, sector);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
        let file = file.unwrap_or_else(|error| panic!("create {}: {error}", path.display()));
        file.set_len(media).unwrap_or_else(|error| panic!("size of {}: {error}", path.display()));
        Disk::create(resource, Store::File(file), media, extentsize, sector)
    }

    fn create(resource: &str, store: Store, media: u64, extentsize: u32, sector: u32) -> Disk {
        let mapsize = map_bytes(media - MAP_AT, extentsize, sector) as u64;
        let metadata = Metadata {
            resource: resource.to_string(),
            datasize: media - MAP_AT - mapsize,
            extentsize,
            keepdirty: 64,
            offset: MAP_AT + mapsize,
            resuid: 0,
            localcnt: 0,
            remotecnt: 0,
            prevrole: Role::Init,
        };
        let mut disk = Disk::over(store, media, sector, metadata);
        disk.store_metadata();
        disk
    }

    fn over(store: Store, media: u64, sector: u32, metadata: Metadata) -> Disk {
        Disk {
            store,
            media,
            sector,
            metadata,
            failing: None,
            flush_error: None,
            delete_error: None,
        }
    }

    /// A component somebody else made. As strict as FreeBSD: every field, of its exact type (A5).
    pub fn open(path: &Path, resource: &str, sector: u32) -> Result<Disk, String> {
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(|error| format!("open {}: {error}", path.display()))?;
        let media = file.metadata().map_err(|error| error.to_string())?.len();
        let mut block = [0; MAP_AT as usize];
        file.read_exact_at(&mut block, 0).map_err(|error| format!("read metadata: {error}"))?;
        let metadata = parse(&block)?;
        if metadata.resource != resource {
            return Err(format!("the component of resource {}", metadata.resource));
        }
        if metadata.offset + metadata.datasize > media {
            return Err(format!("{metadata:?} does not fit in {media} bytes"));
        }
        Ok(Disk::over(Store::File(file), media, sector, metadata))
    }

    /// To be used by a peer and a test at once.
    pub fn shared(self) -> SharedDisk {
        Arc::new(Mutex::new(self))
    }

    /// From now on this decides what fails.
    pub fn fail(&mut self, failing: impl FnMut(Access) -> Option<i16> + Send + 'static) {
        self.failing = Some(Box::new(failing));
    }

    /// Nothing fails any more.
    pub fn heal(&mut self) {
        self.failing = None;
    }

    /// Bytes of a sector.
    pub fn sector(&self) -> u32 {
        self.sector
    }

    /// The map's size as a secondary computes it: from the whole media (section 5.1, B2).
    pub fn mapsize(&self) -> usize {
        map_bytes(self.media - MAP_AT, self.metadata.extentsize, self.sector)
    }

    /// The map as it is on the disk, with the size a secondary believes in.
    pub fn map(&self) -> Vec<u8> {
        self.get(MAP_AT, self.mapsize())
    }

    /// Writes the map, or as much of it as given.
    pub fn store_map(&mut self, bytes: &[u8]) {
        self.put(MAP_AT, bytes);
    }

    /// Rewrites the block.
    pub fn store_metadata(&mut self) {
        let own = &self.metadata;
        let mut list = List::new();
        list.put_text("resource", &own.resource);
        list.put_uint64("datasize", own.datasize);
        list.put_uint32("extentsize", own.extentsize);
        list.put_uint32("keepdirty", own.keepdirty);
        list.put_uint64("offset", own.offset);
        list.put_uint64("resuid", own.resuid);
        list.put_uint64("localcnt", own.localcnt);
        list.put_uint64("remotecnt", own.remotecnt);
        list.put_text("prevrole", own.prevrole.name());
        let mut block = list.encode();
        block.resize(MAP_AT as usize, 0);
        self.put(0, &block);
    }

    /// What the block on the disk says.
    pub fn stored_metadata(&self) -> Result<Metadata, String> {
        parse(&self.get(0, MAP_AT as usize))
    }

    /// The whole data area.
    pub fn contents(&self) -> Vec<u8> {
        self.get(self.metadata.offset, self.metadata.datasize as usize)
    }

    /// Reads data, or fails with a FreeBSD errno.
    pub fn read(&mut self, offset: u64, length: u64) -> Result<Vec<u8>, i16> {
        self.access(cmd::READ, offset, length)?;
        Ok(self.get(self.metadata.offset + offset, length as usize))
    }

    /// Writes data, or fails with a FreeBSD errno.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), i16> {
        self.access(cmd::WRITE, offset, bytes.len() as u64)?;
        self.put(self.metadata.offset + offset, bytes);
        Ok(())
    }

    /// Deletes: what was there reads as zeroes.
    pub fn delete(&mut self, offset: u64, length: u64) -> Result<(), i16> {
        self.access(cmd::DELETE, offset, length)?;
        if let Some(error) = self.delete_error {
            return Err(error);
        }
        self.put(self.metadata.offset + offset, &vec![0; length as usize]);
        Ok(())
    }

    /// Flushes its cache, which it has not.
    pub fn flush(&mut self) -> Result<(), i16> {
        self.access(cmd::FLUSH, 0, 0)?;
        self.flush_error.map_or(Ok(()), Err)
    }

    fn access(&mut self, cmd: u8, offset: u64, length: u64) -> Result<(), i16> {
        if offset.checked_add(length).is_none_or(|end| end > self.metadata.datasize) {
            return Err(errno::EINVAL);
        }
        let access = Access { cmd, offset, length };
        match self.failing.as_mut().and_then(|failing| failing(access)) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn get(&self, at: u64, length: usize) -> Vec<u8> {
        match &self.store {
            Store::Memory(bytes) => bytes[at as usize..][..length].to_vec(),
            Store::File(file) => {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, at).expect("read the peer's own file");
                bytes
            }
        }
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        match &mut self.store {
            Store::Memory(own) => own[at as usize..][..bytes.len()].copy_from_slice(bytes),
            Store::File(file) => file.write_all_at(bytes, at).expect("write the peer's own file"),
        }
    }
}

/// Whether the data of two disks is the same; if not, the first byte that differs.
pub fn first_difference(one: &SharedDisk, other: &SharedDisk) -> Option<usize> {
    let (one, other) = (lock(one).contents(), lock(other).contents());
    if one.len() != other.len() {
        return Some(one.len().min(other.len()));
    }
    one.iter().zip(&other).position(|(a, b)| a != b)
}

/// The smallest media with so much room for data.
fn media_for(datasize: u64, extentsize: u32, sector: u32) -> u64 {
    let mut media = MAP_AT + datasize;
    loop {
        let needed = MAP_AT + map_bytes(media - MAP_AT, extentsize, sector) as u64 + datasize;
        if needed == media {
            return media;
        }
        media = needed;
    }
}

fn parse(block: &[u8]) -> Result<Metadata, String> {
    let list = List::decode(block)?;
    for name in [
        "resource",
        "datasize",
        "extentsize",
        "keepdirty",
        "offset",
        "resuid",
        "localcnt",
        "remotecnt",
        "prevrole",
    ] {
        if !list.has(name) {
            return Err(format!("metadata without {name}"));
        }
    }
    let prevrole = list.text("prevrole")?.unwrap_or_default();
    Ok(Metadata {
        resource: list.text("resource")?.unwrap_or_default().to_string(),
        datasize: list.uint64("datasize")?,
        extentsize: list.uint32("extentsize")?,
        keepdirty: list.uint32("keepdirty")?,
        offset: list.uint64("offset")?,
        resuid: list.uint64("resuid")?,
        localcnt: list.uint64("localcnt")?,
        remotecnt: list.uint64("remotecnt")?,
        prevrole: [Role::Init, Role::Primary, Role::Secondary]
            .into_iter()
            .find(|role| role.name() == prevrole)
            .ok_or_else(|| format!("prevrole {prevrole}"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_section_6() {
        for (sector, datasize, offset) in [(512, 1_073_737_216, 4608), (4096, 1_073_733_632, 8192)]
        {
            let path = std::env::temp_dir()
                .join(format!("tandem-peer-disk-{}-{sector}", std::process::id()));
            let mut disk = Disk::file(&path, "data", datasize, 2 << 20, sector);
            assert_eq!(disk.media, 1 << 30);
            assert_eq!((disk.metadata.datasize, disk.metadata.offset), (datasize, offset));
            disk.write(datasize - 512, &[9; 512]).unwrap();
            disk.metadata.localcnt = 7;
            disk.store_metadata();
            let mut again = Disk::open(&path, "data", sector).unwrap();
            assert_eq!(again.metadata, disk.metadata);
            assert_eq!(again.read(datasize - 512, 512).unwrap(), [9; 512]);
            assert_eq!(again.read(datasize, 512), Err(errno::EINVAL));
            assert!(Disk::open(&path, "other", sector).is_err());
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn what_fails_is_not_done() {
        let mut disk = Disk::memory("data", 4 << 20, 2 << 20);
        assert_eq!(disk.contents().len(), 4 << 20);
        disk.fail(|access| (access.cmd == cmd::WRITE).then_some(errno::EIO));
        assert_eq!(disk.write(0, &[1; 512]), Err(errno::EIO));
        assert_eq!(disk.read(0, 512).unwrap(), [0; 512]);
        disk.heal();
        disk.write(0, &[1; 512]).unwrap();
        assert_eq!(disk.read(0, 512).unwrap(), [1; 512]);
    }
}
