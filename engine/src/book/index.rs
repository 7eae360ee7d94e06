//! From (session, client id) to the order's handle: open addressing, one 8-byte entry per order.
//!
//! An entry holds 32 bits of the hash beside the handle. So a probe meets a foreign order's record
//! about never, and growing and deleting read the table alone: the usual table of bare handles must
//! load a record, that is a cache miss, for every entry it moves. Deleting shifts entries back, so
//! there are no tombstones and no sudden clean-up. The size is any number, not a power of two.
//!
//! The hash is keyed, because peers choose their ids. It is used to look up, never to iterate.

use crate::digest::fold_product;

/// The table.
#[derive(Debug)]
pub(crate) struct IdIndex {
    /// `hash << 32 | handle + 1`; 0 is empty.
    entries: Vec<u64>,
    live: usize,
    /// How many entries fit before it grows.
    room: usize,
    seed: [u64; 2],
}

impl IdIndex {
    /// Room for `orders` before it grows.
    pub(crate) fn new(seed: u64, orders: usize) -> Self {
        let seed = [
            fold_product(seed ^ 0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03),
            fold_product(seed ^ 0x8cb9_2ba7_2f3d_8dd7, 0xaef1_7502_108e_f2d9),
        ];
        Self {
            entries: vec![0; Self::size_for(orders)],
            live: 0,
            room: orders,
            seed,
        }
    }

    /// At most three entries of four are taken.
    fn size_for(orders: usize) -> usize {
        orders.saturating_add(orders / 3).saturating_add(16)
    }

    /// The hash that every other call takes.
    #[inline]
    pub(crate) fn hash(&self, space: u32, id: u64) -> u32 {
        let mixed = fold_product(id ^ self.seed[0], u64::from(space) ^ self.seed[1]);
        let spread = fold_product(mixed, 0xff51_afd7_ed55_8ccd);
        (spread >> 32) as u32
    }

    /// The handle under this hash that `is_it` recognises.
    #[inline]
    pub(crate) fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        loop {
            let entry = self.entries[at];
            if entry == 0 {
                return None;
            }
            if hash_of(entry) == hash && is_it(handle_of(entry)) {
                return Some(handle_of(entry));
            }
            at = self.after(at);
        }
    }

    /// Adds a handle; the caller knows that its id is not there yet.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u32, handle: u32) {
        if self.live == self.room {
            self.grow();
        }
        self.place((u64::from(hash) << 32) | (u64::from(handle) + 1));
        self.live += 1;
    }

    /// Takes a handle out.
    #[inline]
    pub(crate) fn remove(&mut self, hash: u32, handle: u32) {
        let wanted = (u64::from(hash) << 32) | (u64::from(handle) + 1);
        let mut hole = self.home(hash);
        while self.entries[hole] != wanted {
            assert_ne!(
                self.entries[hole], 0,
                "only orders that are in the index are removed"
            );
            hole = self.after(hole);
        }
        // Each later entry of the run moves into the hole unless that would put it before its home.
        let mut at = hole;
        loop {
            at = self.after(at);
            let entry = self.entries[at];
            if entry == 0 {
                break;
            }
            let home = self.home(hash_of(entry));
            if self.distance(home, at) >= self.distance(hole, at) {
                self.entries[hole] = entry;
                hole = at;
            }
        }
        self.entries[hole] = 0;
        self.live -= 1;
    }

    pub(crate) const fn live(&self) -> usize {
        self.live
    }

    fn place(&mut self, entry: u64) {
        let mut at = self.home(hash_of(entry));
        while self.entries[at] != 0 {
            at = self.after(at);
        }
        self.entries[at] = entry;
    }

    #[cold]
    fn grow(&mut self) {
        self.room = self.live.saturating_mul(2).max(12);
        let size = Self::size_for(self.room);
        let old = core::mem::replace(&mut self.entries, vec![0; size]);
        for entry in old.into_iter().filter(|&entry| entry != 0) {
            self.place(entry);
        }
    }

    /// Where a hash belongs: its share of the table, which takes a multiplication, no division.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.entries.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.entries.len() {
            0
        } else {
            at + 1
        }
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from {
            to - from
        } else {
            to + self.entries.len() - from
        }
    }
}

#[inline]
const fn hash_of(entry: u64) -> u32 {
    (entry >> 32) as u32
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the two halves are wanted")]
const fn handle_of(entry: u64) -> u32 {
    (entry as u32).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0u64..200, any::<bool>()), 1..600)) {
            let mut index = IdIndex::new(7, 0);
            let mut ids = Vec::new();
            let mut plain: BTreeMap<u64, u32> = BTreeMap::new();
            for (id, insert) in steps {
                let hash = index.hash(1, id);
                if insert && !plain.contains_key(&id) {
                    let handle = u32::try_from(ids.len()).unwrap();
                    ids.push(id);
                    plain.insert(id, handle);
                    index.insert(hash, handle);
                } else if !insert && let Some(handle) = plain.remove(&id) {
                    index.remove(hash, handle);
                }
                prop_assert_eq!(index.live(), plain.len());
                for id in 0..200 {
                    let found = index.find(index.hash(1, id), |handle| ids[handle as usize] == id);
                    prop_assert_eq!(found, plain.get(&id).copied());
                }
            }
        }
    }
}
