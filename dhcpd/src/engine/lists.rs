//! Doubly linked lists of slot numbers, eight bytes a slot. A slot is in at most one list.

#[derive(Clone, Copy, Debug)]
struct Link {
    prev: u32,
    next: u32,
}

#[derive(Debug)]
pub(super) struct Lists {
    /// First a sentinel for each list, then one for each slot; who is in no list is its own ring.
    links: Vec<Link>,
    lists: u32,
}

impl Lists {
    pub(super) fn new(lists: u32) -> Lists {
        Lists { links: (0..lists).map(|n| Link { prev: n, next: n }).collect(), lists }
    }

    /// How many lists there are.
    pub(super) fn lists(&self) -> u32 {
        self.lists
    }

    /// Makes it so many lists. Those that are no more must be empty.
    pub(super) fn resize(&mut self, lists: u32) {
        if lists == self.lists {
            return;
        }
        let (old, kept) = (self.lists, self.lists.min(lists));
        let moved = |n: u32| if n < old { n } else { n - old + lists };
        let moved = |link: &Link| Link { prev: moved(link.prev), next: moved(link.next) };
        let empty = (kept..lists).map(|n| Link { prev: n, next: n });
        let sentinels = self.links[..kept as usize].iter().map(moved);
        let slots = self.links[old as usize..].iter().map(moved);
        self.links = sentinels.chain(empty).chain(slots).collect();
        self.lists = lists;
    }

    /// Makes room for one more slot, whose number is the count of those before.
    pub(super) fn add_slot(&mut self) {
        let own = self.links.len() as u32;
        self.links.push(Link { prev: own, next: own });
    }

    pub(super) fn first(&self, list: u32) -> Option<u32> {
        let next = self.links[list as usize].next;
        (next != list).then(|| next - self.lists)
    }

    /// Who follows a slot that is in this list.
    pub(super) fn after(&self, list: u32, slot: u32) -> Option<u32> {
        let next = self.links[(slot + self.lists) as usize].next;
        (next != list).then(|| next - self.lists)
    }

    pub(super) fn push_back(&mut self, list: u32, slot: u32) {
        self.unlink(slot);
        let own = slot + self.lists;
        let last = self.links[list as usize].prev;
        self.links[own as usize] = Link { prev: last, next: list };
        self.links[last as usize].next = own;
        self.links[list as usize].prev = own;
    }

    /// Takes a slot out of its list, if it is in one.
    pub(super) fn unlink(&mut self, slot: u32) {
        let own = slot + self.lists;
        let Link { prev, next } = self.links[own as usize];
        self.links[prev as usize].next = next;
        self.links[next as usize].prev = prev;
        self.links[own as usize] = Link { prev: own, next: own };
    }

    #[cfg(test)]
    pub(super) fn is_linked(&self, slot: u32) -> bool {
        let own = slot + self.lists;
        self.links[own as usize].next != own
    }

    /// Orders a list; equal keys stay as they were.
    pub(super) fn sort_by_key<K: Ord>(&mut self, list: u32, key: impl Fn(u32) -> K) {
        let mut slots = Vec::new();
        while let Some(slot) = self.first(list) {
            self.unlink(slot);
            slots.push(slot);
        }
        slots.sort_by_key(|slot| key(*slot));
        for slot in slots {
            self.push_back(list, slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contents(lists: &mut Lists, list: u32) -> Vec<u32> {
        let mut all = Vec::new();
        while let Some(slot) = lists.first(list) {
            lists.unlink(slot);
            all.push(slot);
        }
        all
    }

    proptest! {
        #[test]
        fn agrees_with_vectors(steps in prop::collection::vec((0usize..4, 0u32..12), 0..200)) {
            let mut lists = Lists::new(3);
            (0..12).for_each(|_| lists.add_slot());
            let mut model: [Vec<u32>; 3] = Default::default();
            for (list, slot) in steps {
                model.iter_mut().for_each(|m| m.retain(|s| *s != slot));
                match model.get_mut(list) {
                    Some(m) => {
                        m.push(slot);
                        lists.push_back(list as u32, slot);
                    }
                    None => lists.unlink(slot),
                }
            }
            model[2].sort_by_key(|s| s / 4);
            lists.sort_by_key(2, |s| s / 4);
            // Another one, which is empty when it goes.
            lists.resize(5);
            lists.push_back(4, 3);
            lists.unlink(3);
            model.iter_mut().for_each(|m| m.retain(|s| *s != 3));
            lists.resize(3);
            for (list, model) in model.iter().enumerate() {
                prop_assert_eq!(lists.first(list as u32), model.first().copied());
                prop_assert_eq!(&contents(&mut lists, list as u32), model);
            }
        }
    }
}
