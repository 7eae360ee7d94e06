//! Rules 31 and 34: a device in slices, by trying everything.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Profile, compute slices, memory slots, starts.
pub const PROFILES: [(&str, u8, u8, &[u8]); 6] = [
    ("1g", 1, 1, &[0, 1, 2, 3, 4, 5, 6]),
    ("1g+mem", 1, 2, &[0, 2, 4, 6]),
    ("2g", 2, 2, &[0, 2, 4]),
    ("3g", 3, 4, &[0, 4]),
    ("4g", 4, 4, &[0]),
    ("7g", 7, 8, &[0]),
];

/// Memory slots in use, and compute slices in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// A bit for each slot of memory.
    pub mask: u8,
    /// Slices of 7.
    pub compute: u8,
}

/// How many of each profile are wanted.
pub type Demand = [u64; 6];

impl Device {
    /// The states after placing one slice of a profile, with the start of each, lowest first.
    pub fn next(self, profile: usize) -> Vec<(u8, Self)> {
        let (_, compute, memory, starts) = PROFILES[profile];
        let slots = |start: u8| (start..start + memory).fold(0_u8, |mask, slot| mask | 1 << slot);
        starts
            .iter()
            .filter(|&&start| self.mask & slots(start) == 0 && self.compute + compute <= 7)
            .map(|&start| {
                let next = Self {
                    mask: self.mask | slots(start),
                    compute: self.compute + compute,
                };
                (start, next)
            })
            .collect()
    }

    /// Rule 32, by placing one after the other as often as it goes.
    pub fn capacity(self, profile: usize) -> u64 {
        if let Some(known) = CAPACITIES.with_borrow(|memo| memo.get(&(self, profile)).copied()) {
            return known;
        }
        let after = self.next(profile).into_iter();
        let most = after
            .map(|(_, next)| 1 + next.capacity(profile))
            .max()
            .unwrap_or(0);
        CAPACITIES.with_borrow_mut(|memo| memo.insert((self, profile), most));
        most
    }

    /// The most compute slices of the demand that fit, over all ways to place any part of it.
    pub fn pack(self, demand: Demand, memo: &mut BTreeMap<(Self, Demand), u64>) -> u64 {
        if let Some(&known) = memo.get(&(self, demand)) {
            return known;
        }
        let mut most = 0;
        for profile in 0..PROFILES.len() {
            if demand[profile] == 0 {
                continue;
            }
            let mut left = demand;
            left[profile] -= 1;
            for (_, next) in self.next(profile) {
                most = most.max(u64::from(PROFILES[profile].1) + next.pack(left, memo));
            }
        }
        memo.insert((self, demand), most);
        most
    }

    /// How many multisets of profiles can still be placed, the empty one included.
    pub fn completions(self) -> usize {
        COMPLETIONS.with_borrow_mut(|memo| self.multisets(memo).len())
    }

    fn multisets(self, memo: &mut Multisets) -> BTreeSet<[u8; 6]> {
        if let Some(known) = memo.get(&self) {
            return known.clone();
        }
        let mut sets = BTreeSet::from([[0; 6]]);
        for profile in 0..PROFILES.len() {
            for (_, next) in self.next(profile) {
                for mut set in next.multisets(memo) {
                    set[profile] += 1;
                    sets.insert(set);
                }
            }
        }
        memo.insert(self, sets.clone());
        sets
    }

    /// Rule 34: where the next slice goes.
    pub fn place(self, profile: usize, demand: Demand) -> Option<(u8, Self)> {
        let mut packs = BTreeMap::new();
        self.next(profile).into_iter().min_by_key(|&(start, next)| {
            let packed = next.pack(demand, &mut packs);
            (Reverse(packed), Reverse(next.completions()), start)
        })
    }
}

type Multisets = BTreeMap<Device, BTreeSet<[u8; 6]>>;

thread_local! {
    // What has been worked out: trying everything once is enough.
    static CAPACITIES: RefCell<BTreeMap<(Device, usize), u64>> = const { RefCell::new(BTreeMap::new()) };
    static COMPLETIONS: RefCell<Multisets> = const { RefCell::new(BTreeMap::new()) };
}
