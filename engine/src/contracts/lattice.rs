//! Hardware slices of one device: which fit beside each other, and where the next one goes.
//!
//! A device has eight slots of memory and seven compute slices. A configuration is a set of slices that
//! fit; there are 723 of them, and 336 states (slots in use, compute in use), so what a state still
//! takes is looked up in tables that are computed once.

use std::sync::OnceLock;

use tessera_types::MigProfile;

/// Compute slices of one device.
const COMPUTE: u8 = 7;

/// Number of profiles.
pub(crate) const PROFILES: usize = MigProfile::ALL.len();

/// (compute, memory slots, starts) by code of the profile. \[31\]
const SHAPES: [(u8, u8, &[u8]); PROFILES] = [
    (1, 1, &[0, 1, 2, 3, 4, 5, 6]),
    (1, 2, &[0, 2, 4, 6]),
    (2, 2, &[0, 2, 4]),
    (3, 4, &[0, 4]),
    (4, 4, &[0]),
    (7, 8, &[0]),
];

/// What of a device is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct State {
    pub(crate) mem_mask: u8,
    pub(crate) compute_used: u8,
}

/// The slots that a slice takes which starts here.
const fn slots(profile: usize, start: u8) -> u8 {
    let (_, memory, _) = SHAPES[profile];
    let ones = (1u16 << memory) - 1;
    (ones << start).to_le_bytes()[0]
}

impl State {
    /// What a set of slices leaves in use; none when no set does.
    pub(crate) fn restored(mem_mask: u8, compute_used: u8) -> Option<Self> {
        let mut configurations = tables().configurations.iter();
        let known = configurations.any(|c| (c.mem_mask, c.compute) == (mem_mask, compute_used));
        known.then_some(Self {
            mem_mask,
            compute_used,
        })
    }

    /// How many slices of a profile could be placed now. \[32\]
    pub(crate) fn capacity(self, profile: usize) -> u32 {
        let (compute, _, starts) = SHAPES[profile];
        let free = starts
            .iter()
            .filter(|&&start| self.takes(profile, start))
            .count();
        let free = u32::try_from(free).unwrap_or(0);
        free.min(u32::from((COMPUTE - self.compute_used) / compute))
    }

    fn takes(self, profile: usize, start: u8) -> bool {
        self.mem_mask & slots(profile, start) == 0
    }

    pub(crate) fn with(self, profile: usize, start: u8) -> Self {
        Self {
            mem_mask: self.mem_mask | slots(profile, start),
            compute_used: self.compute_used + SHAPES[profile].0,
        }
    }

    /// Configurations that fit beside what is in use.
    fn fitting(self) -> impl Iterator<Item = &'static Configuration> {
        let configurations = tables().configurations.iter();
        configurations.filter(move |more| {
            more.mem_mask & self.mem_mask == 0 && more.compute + self.compute_used <= COMPUTE
        })
    }

    /// How many different multisets of profiles can still be placed, the empty one included.
    pub(crate) fn completions(self) -> u32 {
        let at = usize::from(self.mem_mask) * (usize::from(COMPUTE) + 1);
        tables().completions[at + usize::from(self.compute_used)]
    }

    /// The most compute slices of a demand that can still be placed.
    fn packs(self, demand: &[u32; PROFILES]) -> u8 {
        let within = |more: &&Configuration| {
            more.counts
                .iter()
                .zip(demand)
                .all(|(&count, &most)| u32::from(count) <= most)
        };
        self.fitting()
            .filter(within)
            .map(|more| more.compute)
            .max()
            .unwrap_or(0)
    }

    /// Where the next slice of a profile goes. \[34\] Of the free starts the one whose next state packs
    /// the most of the demand, then has the most completions, then is lowest.
    pub(crate) fn place(self, profile: usize, demand: &[u32; PROFILES]) -> Option<u8> {
        let (compute, _, starts) = SHAPES[profile];
        if self.compute_used + compute > COMPUTE {
            return None;
        }
        let free = starts
            .iter()
            .copied()
            .filter(|&start| self.takes(profile, start));
        free.max_by_key(|&start| {
            let next = self.with(profile, start);
            (
                next.packs(demand),
                next.completions(),
                core::cmp::Reverse(start),
            )
        })
    }
}

/// A set of slices that fit beside each other on an empty device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Configuration {
    mem_mask: u8,
    compute: u8,
    counts: [u8; PROFILES],
}

#[derive(Debug)]
struct Tables {
    /// By slots, compute and number of slices. Sets that differ only in who sits where are one.
    configurations: Vec<Configuration>,
    /// By slots in use times eight plus compute in use.
    completions: Vec<u32>,
}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(Tables::compute)
}

impl Tables {
    fn compute() -> Self {
        let mut placed = Vec::new();
        let none = Configuration {
            mem_mask: 0,
            compute: 0,
            counts: [0; PROFILES],
        };
        extend(none, 0, &mut placed);
        let mut configurations = placed;
        configurations.sort_unstable();
        configurations.dedup();
        let mut completions = Vec::with_capacity(256 * 8);
        for mem_mask in 0..=u8::MAX {
            for compute_used in 0..=COMPUTE {
                let fits = configurations.iter().filter(|more| {
                    more.mem_mask & mem_mask == 0 && more.compute + compute_used <= COMPUTE
                });
                let mut counts: Vec<_> = fits.map(|more| more.counts).collect();
                counts.sort_unstable();
                counts.dedup();
                completions.push(u32::try_from(counts.len()).unwrap_or(u32::MAX));
            }
        }
        Self {
            configurations,
            completions,
        }
    }
}

/// Adds every set of slices that contains `from` and places with a higher number than those in it.
fn extend(from: Configuration, next: usize, all: &mut Vec<Configuration>) {
    all.push(from);
    for (at, (profile, start)) in places().enumerate().skip(next) {
        let state = State {
            mem_mask: from.mem_mask,
            compute_used: from.compute,
        };
        if state.takes(profile, start) && from.compute + SHAPES[profile].0 <= COMPUTE {
            let then = state.with(profile, start);
            let mut counts = from.counts;
            counts[profile] += 1;
            let with = Configuration {
                mem_mask: then.mem_mask,
                compute: then.compute_used,
                counts,
            };
            extend(with, at + 1, all);
        }
    }
}

/// Every place of every profile.
fn places() -> impl Iterator<Item = (usize, u8)> {
    let starts = |(profile, (_, _, starts)): (usize, (u8, u8, &'static [u8]))| {
        starts.iter().map(move |&start| (profile, start))
    };
    SHAPES.into_iter().enumerate().flat_map(starts)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn reachable() -> BTreeSet<State> {
        let mut seen = BTreeSet::new();
        let mut open = vec![State::default()];
        while let Some(state) = open.pop() {
            if seen.insert(state) {
                for (profile, start) in places() {
                    let compute = SHAPES[profile].0;
                    if state.takes(profile, start) && state.compute_used + compute <= COMPUTE {
                        open.push(state.with(profile, start));
                    }
                }
            }
        }
        seen
    }

    #[test]
    fn there_are_336_states_and_723_configurations() {
        assert_eq!(reachable().len(), 336);
        let mut sets = Vec::new();
        let none = Configuration {
            mem_mask: 0,
            compute: 0,
            counts: [0; PROFILES],
        };
        extend(none, 0, &mut sets);
        assert_eq!(sets.len(), 723);
    }

    #[test]
    fn an_empty_device() {
        let state = State::default();
        let capacity = core::array::from_fn::<_, PROFILES, _>(|profile| state.capacity(profile));
        assert_eq!(capacity, [7, 4, 3, 2, 1, 1]);
        // Without demand a 1g goes where the most can follow; a demand of three 2g moves it aside.
        assert_eq!(state.place(0, &[0; PROFILES]), Some(4));
        assert_eq!(state.with(0, 4).completions(), 45);
        assert_eq!(state.place(0, &[0, 0, 3, 0, 0, 0]), Some(6));
    }
}
