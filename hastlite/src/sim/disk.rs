//! A disk with a volatile cache. A sector is known by a number alone: which write it is from.
//!
//! A process that dies leaves what the disk was asked for done, half done or not done; a machine
//! that loses its power loses any of the sectors that no flush has covered, each by itself.

use super::random::Random;
use crate::Data;
use crate::engine::Metadata;

/// Bytes of a sector.
pub const SECTOR: u64 = 512;

/// See the module.
#[derive(Clone, Debug)]
pub struct Disk {
    /// What a read returns.
    pub seen: Vec<u64>,
    /// What is there after a loss of power, at least.
    stable: Vec<u64>,
    /// Written since, in order.
    cached: Vec<(u32, u64)>,
    /// How many entries have left `cached` at its front.
    gone: u64,
    /// On stable storage.
    pub meta: Metadata,
    /// On stable storage.
    pub map: Vec<u8>,
    /// What metadata is on stable storage, if it is not what is read (the reference's way).
    pub meta_stable: Option<Metadata>,
    /// Not readable any more: half of a block is new.
    pub torn: bool,
}

impl Disk {
    /// Zeroes, and what `hastctl create` writes.
    pub fn new(meta: Metadata, map: usize) -> Self {
        let sectors = (meta.datasize / SECTOR) as usize;
        Self {
            seen: vec![0; sectors],
            stable: vec![0; sectors],
            cached: Vec::new(),
            gone: 0,
            meta,
            map: vec![0; map],
            meta_stable: None,
            torn: false,
        }
    }

    /// Whatever was there before the node was new.
    #[cfg(test)]
    pub fn litter(&mut self, value: u64) {
        self.seen.fill(value);
        self.stable.fill(value);
        self.map.fill(0xff);
    }

    /// The numbers of the sectors of a range.
    pub fn read(&self, offset: u64, length: u64) -> Data {
        let from = (offset / SECTOR) as usize;
        let count = (length / SECTOR) as usize;
        data_of(&self.seen[from..from + count])
    }

    /// One sector is written.
    pub fn write(&mut self, sector: usize, value: u64) {
        self.seen[sector] = value;
        self.cached.push((sector as u32, value));
    }

    /// Where a flush that begins now will have to reach.
    pub fn begin_flush(&self) -> u64 {
        self.gone + self.cached.len() as u64
    }

    /// It has reached that.
    pub fn end_flush(&mut self, to: u64) {
        let count = to.saturating_sub(self.gone) as usize;
        for (sector, value) in self.cached.drain(..count.min(self.cached.len())) {
            self.stable[sector as usize] = value;
            self.gone += 1;
        }
    }

    /// The power fails.
    pub fn power_loss(&mut self, random: &mut Random) {
        let chance = random.pick(&[0, 300, 700, 1000]);
        for (sector, value) in self.cached.drain(..) {
            self.gone += 1;
            if random.permille(chance) {
                self.stable[sector as usize] = value;
            }
        }
        self.seen.copy_from_slice(&self.stable);
        if let Some(meta) = self.meta_stable.take() {
            self.meta = meta;
        }
    }
}

/// Sectors as bytes: the number first, the rest is nothing.
pub fn data_of(values: &[u64]) -> Data {
    let mut bytes = vec![0; values.len() * SECTOR as usize];
    for (place, value) in bytes.chunks_exact_mut(SECTOR as usize).zip(values) {
        place[..8].copy_from_slice(&value.to_le_bytes());
    }
    Data::from(bytes)
}

/// The numbers of the sectors in these bytes.
pub fn values_of(data: &[u8]) -> impl Iterator<Item = u64> + '_ {
    data.chunks_exact(SECTOR as usize).map(|sector| {
        let mut number = [0; 8];
        number.copy_from_slice(&sector[..8]);
        u64::from_le_bytes(number)
    })
}
