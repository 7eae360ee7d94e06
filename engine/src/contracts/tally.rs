//! What a taker could get from asks that may share inventory, without taking it.
//!
//! The same units may back many asks, and the slices of a device exclude each other; so what a second
//! ask can give depends on what the first one gave. A tally keeps that.

use std::collections::BTreeMap;

use super::Tag;
use super::lattice::State;
use crate::exchange::Exchange;

/// What has been taken so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Units by pool; all asks of one tally are of one window.
    pools: BTreeMap<usize, u64>,
    leases: BTreeMap<usize, u64>,
    /// Lots by record of the ask.
    asks: BTreeMap<u32, u64>,
    /// Devices by carve.
    devices: BTreeMap<u64, State>,
}

impl Exchange {
    /// Lots that an ask can still give.
    pub(super) fn can_give(&self, tally: &Tally, slot: u32) -> u64 {
        let order = &self.store.orders[slot];
        let taken = tally.asks.get(&slot).copied().unwrap_or(0);
        let open = order.leaves.saturating_sub(taken);
        match self.contracts.tag(slot) {
            Tag::Pool(pool) => {
                let at = pool.get() as usize;
                let taken = tally.pools.get(&at).copied().unwrap_or(0);
                open.min(self.free_behind(slot).saturating_sub(taken))
            }
            Tag::Lease(lease) => {
                let at = lease.get() as usize - 1;
                let taken = tally.leases.get(&at).copied().unwrap_or(0);
                open.min(self.lease_free(at).saturating_sub(taken))
            }
            Tag::Slice { group, profile } => {
                let Some(carve) = self.carve(group) else {
                    return 0;
                };
                let state = tally.devices.get(&group).copied().unwrap_or(carve.state);
                if state.compute_used == 0 {
                    let taken = tally.pools.get(&carve.pool).copied().unwrap_or(0);
                    let free = self.contracts.pools[carve.pool].free(carve.window);
                    if u64::from(free) <= taken {
                        return 0;
                    }
                }
                u64::from(state.capacity(usize::from(profile)))
            }
            Tag::Plain | Tag::Shadow { .. } | Tag::Group { .. } => 0,
        }
    }

    /// Takes lots that an ask [can give](Self::can_give).
    pub(super) fn take(&self, tally: &mut Tally, slot: u32, qty: u64) {
        match self.contracts.tag(slot) {
            Tag::Pool(pool) => *tally.pools.entry(pool.get() as usize).or_default() += qty,
            Tag::Lease(lease) => *tally.leases.entry(lease.get() as usize - 1).or_default() += qty,
            Tag::Slice { group, profile } => {
                let Some(carve) = self.carve(group) else {
                    return;
                };
                let mut state = tally.devices.get(&group).copied().unwrap_or(carve.state);
                if state.compute_used == 0 {
                    *tally.pools.entry(carve.pool).or_default() += 1;
                }
                let at = usize::from(profile);
                for _ in 0..qty {
                    let demand = self.carve_demand(carve, state, 0);
                    if let Some(start) = state.place(at, &demand) {
                        state = state.with(at, start);
                    }
                }
                tally.devices.insert(group, state);
                return;
            }
            Tag::Plain | Tag::Shadow { .. } | Tag::Group { .. } => {}
        }
        *tally.asks.entry(slot).or_default() += qty;
    }
}
