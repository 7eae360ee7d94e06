//! Rule 10: sharing inside one price level.
//!
//! All-or-none orders have no share, because a share is a part of an order.

use super::book::{Order, Traded};
use super::{MatchAlgo, Model};

impl Model {
    /// Shares the incoming order among the level that it meets next. False when the level is filled
    /// first in, first out because the order is at least as large as all of it.
    pub(super) fn share_level(
        &mut self,
        taker: &mut Order,
        limit: Option<i64>,
        sum: &mut Traded,
    ) -> bool {
        let level = self.level(taker, limit);
        let all = self.open_of(&level);
        if u128::from(taker.open) >= all {
            return false;
        }
        let own = level.iter().copied().find(|&age| {
            taker.self_match != tessera_types::SelfMatch::None
                && self.orders[self.index_of(age)].party == taker.party
        });
        if let Some(own) = own {
            self.meet(taker, own, u64::MAX, sum);
            return true;
        }

        let terms = self.listings[taker.instrument].terms;
        match terms.algo {
            MatchAlgo::TopProRata => {
                let top = self.listings[taker.instrument].top[taker.side.opposite() as usize];
                if let Some(top) = top.filter(|top| level.contains(top))
                    && self.orders[self.index_of(top)].open >= terms.top_min
                {
                    self.give(taker, top, terms.top_max, sum);
                }
            }
            MatchAlgo::Split => {
                let first = u128::from(taker.open) * u128::from(terms.fifo_pct) / 100;
                let first = u64::try_from(first).expect("a part of a u64");
                let end = taker.open - first;
                self.fill_in_turn(taker, limit, end, sum);
            }
            MatchAlgo::Fifo | MatchAlgo::ProRata => {}
        }

        let level = self.level(taker, limit);
        let (rest, all) = (u128::from(taker.open), self.open_of(&level));
        let shares: Vec<(u64, u64)> = level
            .iter()
            .map(|&age| {
                let open = u128::from(self.orders[self.index_of(age)].open);
                let share = u64::try_from(rest * open / all).expect("a part of a u64");
                (age, if share < terms.min_alloc { 0 } else { share })
            })
            .collect();
        for (age, share) in shares {
            self.give(taker, age, share, sum);
        }
        self.fill_in_turn(taker, limit, 0, sum);
        true
    }

    /// First in, first out, slice by slice, until the incoming order has no more than `end` open.
    fn fill_in_turn(&mut self, taker: &mut Order, limit: Option<i64>, end: u64, sum: &mut Traded) {
        while taker.open > end {
            let first = self.level(taker, limit)[0];
            self.meet(taker, first, taker.open - end, sum);
        }
    }

    /// Ages of the orders at the best price, in the order of their queue.
    fn level(&self, taker: &Order, limit: Option<i64>) -> Vec<u64> {
        let makers = self.makers(taker, limit);
        let price = |age: u64| self.orders[self.index_of(age)].price;
        makers
            .iter()
            .copied()
            .filter(|&age| price(age) == price(makers[0]))
            .filter(|&age| !self.orders[self.index_of(age)].all_or_none)
            .collect()
    }

    fn open_of(&self, level: &[u64]) -> u128 {
        level
            .iter()
            .map(|&age| u128::from(self.orders[self.index_of(age)].open))
            .sum()
    }

    /// Trades up to `most` with one order of the level, slice by slice.
    fn give(&mut self, taker: &mut Order, age: u64, most: u64, sum: &mut Traded) {
        let end = taker.open.saturating_sub(most);
        while taker.open > end && self.orders.iter().any(|order| order.age == age) {
            self.meet(taker, age, taker.open - end, sum);
        }
    }
}
