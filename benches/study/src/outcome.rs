//! What a market did for everybody.

use std::collections::BTreeMap;

use crate::world::{HOURS, PROFILES, Product, World};

/// Lots that changed hands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trade {
    /// Who bought.
    pub(crate) buyer: usize,
    /// Whose device.
    pub(crate) pool: usize,
    /// What.
    pub(crate) product: Product,
    /// When.
    pub(crate) window: usize,
    /// How many lots.
    pub(crate) lots: u64,
    /// Ticks per lot and hour.
    pub(crate) price: i64,
    /// Number of the carve that a slice was cut from; none when devices were cut beforehand.
    pub(crate) carve: Option<u64>,
}

/// Figures of one market in one world. Money in ticks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Worth to the buyers minus cost to the sellers.
    pub(crate) surplus: f64,
    /// Lot-hours bought of those wanted; a strip counts when it is complete.
    pub(crate) served: f64,
    /// GPU-hours in use of those offered; a slice counts its compute.
    pub(crate) utilisation: f64,
    /// What a buyer paid per unit of work.
    pub(crate) price: f64,
    /// What the sellers got.
    pub(crate) revenue: f64,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and prices are far below 2^52"
)]
impl Outcome {
    /// Adds up what was traded.
    #[must_use]
    pub(crate) fn of(world: &World, trades: &[Trade]) -> Self {
        let hours = HOURS as f64;
        let (mut worth, mut paid, mut work) = (0.0, 0.0, 0.0);
        let (mut served, mut wanted, mut used) = (0.0, 0.0, 0.0);
        for (number, buyer) in world.buyers.iter().enumerate() {
            let own: Vec<&Trade> = trades
                .iter()
                .filter(|trade| trade.buyer == number)
                .collect();
            let lots = |window: usize| -> u64 {
                own.iter()
                    .filter(|trade| trade.window == window)
                    .map(|trade| trade.lots)
                    .sum()
            };
            let windows = buyer.window..buyer.window + buyer.windows;
            wanted += (buyer.lots * buyer.windows as u64) as f64 * hours;
            let complete = windows.clone().all(|window| lots(window) == buyer.lots);
            let counts = buyer.windows == 1 || complete;
            for trade in &own {
                let lot_hours = trade.lots as f64 * hours;
                paid += trade.price as f64 * lot_hours;
                if counts {
                    served += lot_hours;
                    worth += world.worth(number, trade.product) * lot_hours;
                    work += world.eta(trade.product) as f64 / 10_000.0 * lot_hours;
                }
            }
            if buyer.windows > 1 && complete {
                // Each change of place costs the whole strip an hour of work.
                let hour: f64 = own
                    .iter()
                    .map(|trade| world.worth(number, trade.product) * trade.lots as f64)
                    .sum();
                worth -= moves(&own, windows) as f64 * hour / buyer.windows as f64;
            }
        }
        let mut cost = 0.0;
        for (pool, devices) in devices(trades) {
            cost += devices as f64 * world.pools[pool].cost as f64 * hours;
        }
        for trade in trades {
            let share = trade
                .product
                .profile
                .map_or(1.0, |profile| PROFILES[profile].1 as f64 / 7.0);
            used += trade.lots as f64 * share * hours;
        }
        let offered: u64 = world.pools.iter().map(|pool| pool.devices).sum();
        let offered = offered as f64 * hours * crate::world::WINDOWS as f64;
        Self {
            surplus: worth - cost,
            served: served / wanted,
            utilisation: used / offered,
            price: paid / work,
            revenue: paid,
        }
    }
}

/// How often a strip changes its place; a window in several pools is a change each time.
fn moves(trades: &[&Trade], windows: std::ops::Range<usize>) -> usize {
    let mut before: Option<Vec<usize>> = None;
    let mut moves = 0;
    for window in windows {
        let mut pools: Vec<usize> = trades
            .iter()
            .filter(|trade| trade.window == window)
            .map(|trade| trade.pool)
            .collect();
        pools.sort_unstable();
        pools.dedup();
        let same = before.as_ref().is_none_or(|before| *before == pools);
        moves += usize::from(!same) + (pools.len() - 1);
        before = Some(pools);
    }
    moves
}

/// Device-windows that had to run, by pool.
fn devices(trades: &[Trade]) -> Vec<(usize, u64)> {
    let mut whole: BTreeMap<usize, u64> = BTreeMap::new();
    let mut carved: BTreeMap<u64, usize> = BTreeMap::new();
    // Devices that were cut beforehand: slices by pool and window.
    let mut cut: BTreeMap<(usize, usize), [u64; PROFILES.len()]> = BTreeMap::new();
    for trade in trades {
        match (trade.product.profile, trade.carve) {
            (None, _) => *whole.entry(trade.pool).or_default() += trade.lots,
            (Some(_), Some(carve)) => drop(carved.insert(carve, trade.pool)),
            (Some(profile), None) => {
                cut.entry((trade.pool, trade.window)).or_default()[profile] += trade.lots;
            }
        }
    }
    for pool in carved.into_values() {
        *whole.entry(pool).or_default() += 1;
    }
    for ((pool, _), slices) in cut {
        let running = slices
            .iter()
            .zip(CUT)
            .map(|(sold, of)| sold.div_ceil(of))
            .max();
        *whole.entry(pool).or_default() += running.unwrap_or(0);
    }
    whole.into_iter().collect()
}

/// Slices of each profile on a device that was cut beforehand: two of 1g, one of 2g, one of 3g.
pub(crate) const CUT: [u64; PROFILES.len()] = [2, 1, 1];
