//! Which extents have been changed since the disk last said that all is on stable storage: what
//! nobody can rely on should it ever say that something is not.

/// See the module. Bits are as in an activemap.
#[derive(Debug)]
pub struct Unflushed {
    /// Changed since the newest flush began.
    fresh: Vec<u8>,
    /// Changed before it, and not yet known to be stored.
    older: Vec<u8>,
    /// The newest flush that has begun.
    newest: u64,
}

impl Unflushed {
    /// For a map of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self { fresh: vec![0; bytes], older: vec![0; bytes], newest: 0 }
    }

    /// The disk has a change, by its extents, first and last. Those of a change that ends after a
    /// flush has begun may not be covered by it.
    pub fn changed(&mut self, first: u64, last: u64) {
        mark(&mut self.fresh, first, last);
    }

    /// A flush begins.
    pub fn begins(&mut self, id: u64) {
        merge(&self.fresh, &mut self.older);
        self.fresh.fill(0);
        self.newest = id;
    }

    /// It has succeeded. One that began before another one does not know of what that covers.
    pub fn succeeded(&mut self, id: u64) {
        if id == self.newest {
            self.older.fill(0);
        }
    }

    /// One has failed: all that is in doubt is added to `map`.
    pub fn failed(&self, map: &mut [u8]) {
        merge(&self.fresh, map);
        merge(&self.older, map);
    }
}

/// Sets the bits of extents, first and last.
pub fn mark(map: &mut [u8], first: u64, last: u64) {
    for extent in first..=last {
        if let Some(byte) = map.get_mut((extent / 8) as usize) {
            *byte |= 1 << (extent % 8);
        }
    }
}

fn merge(from: &[u8], into: &mut [u8]) {
    into.iter_mut().zip(from).for_each(|(into, from)| *into |= from);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubt(unflushed: &Unflushed) -> u8 {
        let mut map = [0];
        unflushed.failed(&mut map);
        map[0]
    }

    #[test]
    fn a_flush_covers_what_ended_before_it_began() {
        let mut unflushed = Unflushed::new(1);
        unflushed.changed(0, 1);
        unflushed.begins(1);
        unflushed.changed(3, 3);
        assert_eq!(doubt(&unflushed), 0b1011);
        unflushed.succeeded(1);
        assert_eq!(doubt(&unflushed), 0b1000);
        unflushed.begins(2);
        unflushed.changed(4, 4);
        unflushed.begins(3);
        unflushed.succeeded(2);
        assert_eq!(doubt(&unflushed), 0b11000, "the newer one knows");
        unflushed.succeeded(3);
        assert_eq!(doubt(&unflushed), 0);
        unflushed.changed(7, 100);
        assert_eq!(doubt(&unflushed), 0b1000_0000);
    }
}
