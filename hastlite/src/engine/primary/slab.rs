//! Things under way, found by a key in constant time and without allocation once it has grown.

/// What a thing is found by: 24 bits that change with every use of its place, 32 bits of place.
/// Never 0, and of no meaning any more once the thing is gone.
pub type Key = u64;

/// See the module.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub fn add(&mut self, thing: T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        place.0 = (place.0 + 1) & 0xff_ffff;
        if place.0 == 0 {
            place.0 = 1;
        }
        place.1 = Some(thing);
        u64::from(place.0) << 32 | u64::from(index)
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key as u32 as usize)?;
        place.1.as_ref().filter(|_| u64::from(place.0) == key >> 32)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key as u32 as usize)?;
        place.1.as_mut().filter(|_| u64::from(place.0) == key >> 32)
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        self.free.push(key as u32);
        self.places[key as u32 as usize].1.take()
    }

    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All the keys: for what happens once in a link's life.
    pub fn keys(&self) -> Vec<Key> {
        let used = self.places.iter().enumerate().filter(|(_, place)| place.1.is_some());
        used.map(|(index, place)| u64::from(place.0) << 32 | index as u64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_means_nothing_once_its_thing_is_gone() {
        let mut slab = Slab::new();
        let a = slab.add('a');
        let b = slab.add('b');
        assert!(a != 0 && a != b);
        assert_eq!(slab.remove(a), Some('a'));
        let c = slab.add('c');
        assert_eq!((slab.get(a), slab.get(c)), (None, Some(&'c')));
        assert_eq!(slab.remove(a), None);
        assert_eq!((slab.len(), slab.keys()), (2, vec![c, b]));
    }
}
