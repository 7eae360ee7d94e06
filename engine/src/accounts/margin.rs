//! The integer margin: 64 scenarios, kept up with every order and fill, and integer add-ons.
//!
//! An open order counts on its worse side: with `long` the position if all buys fill and `short` the
//! position if all sells fill, a scenario costs `max(long * loss, short * loss)`, and since
//! `long >= short` that is `long * loss` where the loss is positive and `short * loss` elsewhere. So
//! the sums over instruments follow every change by additions, and nothing is ever recomputed but
//! after a switch of the parameters.
//!
//! # Overflow
//! A loss is at most 2^34 and an account has at most 2^28 lots, so a sum stays below 2^62.

use tessera_types::account_command::{RISK_SCENARIOS, RISK_STEPS};
use tessera_types::{RiskRow, RiskStep};

/// Scenarios.
pub(crate) const SCENARIOS: usize = RISK_SCENARIOS;
/// The margin is the mean of so many worst scenarios, rounded up.
pub(crate) const WORST: usize = 3;
/// Largest loss of one lot in size, and largest rate of a step, in micro-USD.
pub(crate) const LOSS_LIMIT: i64 = 1 << 34;
/// Most lots of an account, open orders counted on their worse side.
pub(crate) const LOTS_LIMIT: i64 = 1 << 28;

/// What an account loses in each scenario.
pub(crate) type Losses = [i64; SCENARIOS];

/// A row of the parameters as the margin uses it.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Losses where they are positive, else 0.
    up: Losses,
    /// Losses where they are negative, else 0.
    down: Losses,
    /// The largest of `up`.
    up_most: i64,
    /// The largest of `-down`.
    down_most: i64,
    liquidity: Steps,
    concentration: Steps,
    delivery: Steps,
}

/// The steps of an add-on table; unused ones begin beyond every size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Steps {
    from: [i64; RISK_STEPS],
    rate: [i64; RISK_STEPS],
}

impl Steps {
    /// None when sizes do not rise, rates fall, or anything is out of range.
    fn new(steps: &[RiskStep]) -> Option<Self> {
        let rises = steps
            .windows(2)
            .all(|w| w[0].from_lots < w[1].from_lots && w[0].uusd_per_lot <= w[1].uusd_per_lot);
        let sane = steps
            .iter()
            .all(|step| (0..=LOSS_LIMIT).contains(&step.uusd_per_lot));
        if steps.len() > RISK_STEPS || !rises || !sane {
            return None;
        }
        let mut all = Self {
            from: [i64::MAX; RISK_STEPS],
            rate: [0; RISK_STEPS],
        };
        for (place, step) in steps.iter().enumerate() {
            all.from[place] = i64::from(step.from_lots);
            all.rate[place] = step.uusd_per_lot;
        }
        Some(all)
    }

    /// The whole size pays the rate of the step it falls into.
    fn charge(&self, size: i64) -> i128 {
        let mut rate = 0;
        for (from, step) in self.from.iter().zip(&self.rate) {
            if size < *from {
                break;
            }
            rate = *step;
        }
        i128::from(size) * i128::from(rate)
    }
}

impl Table {
    /// None for a row that breaks a rule: a loss or a rate out of range, steps that fall.
    pub(crate) fn new(row: &RiskRow) -> Option<Self> {
        let range = -LOSS_LIMIT..=LOSS_LIMIT;
        if !row.losses.iter().all(|loss| range.contains(loss)) {
            return None;
        }
        let up = row.losses.map(|loss| loss.max(0));
        let down = row.losses.map(|loss| loss.min(0));
        Some(Self {
            up_most: up.iter().copied().max().unwrap_or(0),
            down_most: down.iter().map(|loss| -loss).max().unwrap_or(0),
            up,
            down,
            liquidity: Steps::new(&row.liquidity)?,
            concentration: Steps::new(&row.concentration)?,
            delivery: Steps::new(&row.delivery)?,
        })
    }

    /// Changes the losses of an account whose `long` and `short` change by so much.
    #[inline]
    pub(crate) fn shift(&self, losses: &mut Losses, long: i64, short: i64) {
        match (long, short) {
            (0, 0) => {}
            (by, 0) => add(losses, &self.up, by),
            (0, by) => add(losses, &self.down, by),
            (long, short) => {
                add(losses, &self.up, long);
                add(losses, &self.down, short);
            }
        }
    }

    /// A bound on what the worst scenarios can grow by when `long` and `short` change by so much.
    #[inline]
    pub(crate) fn growth(&self, long: i64, short: i64) -> i128 {
        let long = i128::from(long.max(0)) * i128::from(self.up_most);
        long + i128::from((-short).max(0)) * i128::from(self.down_most)
    }

    /// The add-ons of one instrument: the larger size pays liquidity and concentration, what may be
    /// sold pays delivery.
    #[inline]
    pub(crate) fn add_on(&self, long: i64, short: i64) -> i128 {
        let size = long.abs().max(short.abs());
        let sold = (-short).max(0);
        self.liquidity.charge(size) + self.concentration.charge(size) + self.delivery.charge(sold)
    }

    /// The scenario margin of one lot, long and short.
    pub(crate) fn one_lot(&self) -> [i64; 2] {
        [1, -1].map(|lots| {
            let mut losses = [0; SCENARIOS];
            self.shift(&mut losses, lots, lots);
            scenario_margin(&losses)
        })
    }

    pub(crate) fn fold(&self, folder: &mut crate::digest::Folder) {
        for (up, down) in self.up.iter().zip(&self.down) {
            folder.signed(up + down);
        }
        for steps in [&self.liquidity, &self.concentration, &self.delivery] {
            for (&from, &rate) in steps.from.iter().zip(&steps.rate) {
                folder.signed(from);
                folder.signed(rate);
            }
        }
    }
}

#[inline]
fn add(losses: &mut Losses, by_lot: &Losses, lots: i64) {
    for (loss, by) in losses.iter_mut().zip(by_lot) {
        *loss += lots * by;
    }
}

/// Mean of the worst scenarios, rounded up, not below 0.
#[inline]
pub(crate) fn scenario_margin(losses: &Losses) -> i64 {
    const K: i64 = WORST as i64;
    // The smallest of the worst so far is last: most scenarios are compared with it alone.
    let mut worst = [i64::MIN; WORST];
    for &loss in losses {
        if loss > worst[WORST - 1] {
            worst[WORST - 1] = loss;
            let mut at = WORST - 1;
            while at > 0 && worst[at] > worst[at - 1] {
                worst.swap(at, at - 1);
                at -= 1;
            }
        }
    }
    // Quotients and remainders apart, so that the sum of three cannot overflow.
    let whole: i64 = worst.iter().map(|loss| loss.div_euclid(K)).sum();
    let parts: i64 = worst.iter().map(|loss| loss.rem_euclid(K)).sum();
    (whole + (parts + K - 1).div_euclid(K)).max(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tessera_types::Name;

    use super::*;

    fn table(losses: Vec<i64>) -> Table {
        let mut all = [0; SCENARIOS];
        all.copy_from_slice(&losses);
        Table::new(&RiskRow {
            version: 1,
            product: Name::new("P").unwrap(),
            losses: all,
            liquidity: vec![],
            concentration: vec![],
            delivery: vec![],
        })
        .unwrap()
    }

    fn losses_of(tables: &[Table], lots: &[(i64, i64, i64)]) -> Losses {
        let mut losses = [0; SCENARIOS];
        for (table, &(pos, buys, sells)) in tables.iter().zip(lots) {
            table.shift(&mut losses, pos + buys, pos - sells);
        }
        losses
    }

    fn tables() -> impl Strategy<Value = Vec<Table>> {
        let row = prop::collection::vec(-LOSS_LIMIT..=LOSS_LIMIT, SCENARIOS);
        prop::collection::vec(row.prop_map(table), 3)
    }

    fn book() -> impl Strategy<Value = Vec<(i64, i64, i64)>> {
        prop::collection::vec((-1000i64..1000, 0i64..1000, 0i64..1000), 3)
    }

    proptest! {
        /// The formula of the specification, scenario by scenario, sorted.
        #[test]
        fn equals_the_formula(tables in tables(), lots in book()) {
            let mut all: Vec<i128> = (0..SCENARIOS).map(|s| {
                tables.iter().zip(&lots).map(|(t, &(pos, buys, sells))| {
                    let l = i128::from(t.up[s] + t.down[s]);
                    (i128::from(pos + buys) * l).max(i128::from(pos - sells) * l)
                }).sum()
            }).collect();
            all.sort_unstable();
            let sum: i128 = all[SCENARIOS - WORST..].iter().sum();
            let mean = sum.div_euclid(3) + i128::from(sum.rem_euclid(3) != 0);
            let margin = scenario_margin(&losses_of(&tables, &lots));
            prop_assert_eq!(i128::from(margin), mean.max(0));
        }

        #[test]
        fn zero_when_flat(tables in tables()) {
            prop_assert_eq!(scenario_margin(&losses_of(&tables, &[(0, 0, 0); 3])), 0);
        }

        #[test]
        fn grows_in_proportion(tables in tables(), lots in book(), by in 1i64..1000) {
            let scaled: Vec<_> = lots.iter().map(|l| (l.0 * by, l.1 * by, l.2 * by)).collect();
            let one = i128::from(scenario_margin(&losses_of(&tables, &lots)));
            let many = i128::from(scenario_margin(&losses_of(&tables, &scaled)));
            prop_assert!(many <= one * i128::from(by) && many > (one - 1) * i128::from(by));
        }

        #[test]
        fn is_sub_additive(tables in tables(), a in book(), b in book()) {
            let both: Vec<_> = a.iter().zip(&b)
                .map(|(a, b)| (a.0 + b.0, a.1 + b.1, a.2 + b.2)).collect();
            let margin = |lots: &[_]| scenario_margin(&losses_of(&tables, lots));
            prop_assert!(margin(&both) <= margin(&a) + margin(&b));
        }

        #[test]
        fn no_resting_order_lowers_it(tables in tables(), lots in book(), more in 0i64..1000, side: bool) {
            let mut with = lots.clone();
            if side { with[1].1 += more } else { with[1].2 += more }
            let margin = |lots: &[_]| scenario_margin(&losses_of(&tables, lots));
            prop_assert!(margin(&with) >= margin(&lots));
            let growth = if side { tables[1].growth(more, 0) } else { tables[1].growth(0, -more) };
            prop_assert!(i128::from(margin(&with)) <= i128::from(margin(&lots)) + growth);
        }

        #[test]
        fn no_fill_raises_it(tables in tables(), lots in book(), part in 0i64..1000) {
            let mut filled = lots.clone();
            let part = part.min(filled[2].1);
            filled[2] = (filled[2].0 + part, filled[2].1 - part, filled[2].2);
            let margin = |lots: &[_]| scenario_margin(&losses_of(&tables, lots));
            prop_assert!(margin(&filled) <= margin(&lots));
        }
    }

    #[test]
    fn the_largest_book_fits() {
        let table = table(vec![LOSS_LIMIT; SCENARIOS]);
        for lots in [LOTS_LIMIT, -LOTS_LIMIT] {
            let mut losses = [0; SCENARIOS];
            table.shift(&mut losses, lots, lots);
            let expected = if lots > 0 { LOSS_LIMIT * LOTS_LIMIT } else { 0 };
            assert_eq!(scenario_margin(&losses), expected);
        }
    }

    #[test]
    fn steps_are_charged_by_the_worse_size() {
        let step = |from_lots, uusd_per_lot| RiskStep {
            from_lots,
            uusd_per_lot,
        };
        let row = |liquidity: Vec<RiskStep>| RiskRow {
            version: 1,
            product: Name::new("P").unwrap(),
            losses: [0; SCENARIOS],
            liquidity,
            concentration: vec![],
            delivery: vec![step(0, 7)],
        };
        let table = Table::new(&row(vec![step(1, 2), step(10, 3)])).unwrap();
        let cases = [
            ((0, 0), 0),
            ((9, 0), 18),
            ((10, 0), 30),
            ((0, -9), 18 + 63),
            ((3, -10), 30 + 70),
            ((12, 4), 36),
        ];
        for ((long, short), expected) in cases {
            assert_eq!(table.add_on(long, short), expected, "{long} {short}");
        }
        for bad in [
            vec![step(1, -1)],
            vec![step(2, 1), step(2, 2)],
            vec![step(1, 3), step(2, 2)],
            vec![step(1, LOSS_LIMIT + 1)],
        ] {
            assert!(Table::new(&row(bad)).is_none());
        }
    }
}
