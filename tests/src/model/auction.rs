//! Rule 8: the uncross; rule 11: all-or-none orders that rest.

use std::collections::BTreeMap;

use super::book::{Order, State};
use super::contracts::Backing;
use super::{Model, OrdType, Phase, Side};

impl Model {
    /// An instrument went to continuous: what collected trades at one price.
    pub(super) fn uncross(&mut self, instrument: usize) {
        if let Some((price, volume, surplus)) = self.outcome(instrument) {
            let fields = format!(
                r#""instrument":{},"price":{price},"volume":{volume},"surplus":{surplus}"#,
                self.name(instrument)
            );
            self.say("auction", &fields);
            self.trade_auction(instrument, price);
            self.listings[instrument].reference_at_start = Some(price);
        }
        let left: Vec<u64> = self
            .orders
            .iter()
            .filter(|order| {
                order.instrument == instrument
                    && order.state == State::Book
                    && order.kind == OrdType::Market
            })
            .map(|order| order.age)
            .collect();
        for age in left {
            self.cancel(self.index_of(age), "no_liquidity");
        }
    }

    /// Price, volume and surplus as events tell them: sums of quantities near 2^63 go beyond what
    /// the fields hold.
    pub(super) fn outcome(&self, instrument: usize) -> Option<(i64, u64, i64)> {
        let (price, volume, surplus) = self.auction_price(instrument)?;
        let volume = u64::try_from(volume).unwrap_or(u64::MAX);
        let surplus = surplus.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        Some((price, volume, i64::try_from(surplus).expect("clamped")))
    }

    /// The orders of one side that take part, best first, each with what of it does: everything that
    /// is open, or what of a pool or lease is left by asks before it (rule 50 of contracts).
    fn participants(&self, instrument: usize, side: Side) -> Vec<(&Order, u64)> {
        let mut left: Vec<(Backing, u64)> = Vec::new();
        let mut part = |order: &Order| {
            let Some(backing) = order.backing else {
                return order.open;
            };
            let at = left
                .iter()
                .position(|(of, _)| *of == backing)
                .unwrap_or_else(|| {
                    left.push((backing, self.free_for(backing, instrument)));
                    left.len() - 1
                });
            let qty = order.open.min(left[at].1);
            left[at].1 -= qty;
            qty
        };
        let ranked = self.ranked(instrument, side).into_iter();
        ranked
            .map(|order| (order, part(order)))
            .filter(|(_, qty)| *qty > 0)
            .collect()
    }

    /// The orders of one side, best first: market orders, then by price and place.
    fn ranked(&self, instrument: usize, side: Side) -> Vec<&Order> {
        let mut orders: Vec<&Order> = self
            .orders
            .iter()
            .filter(|order| {
                order.instrument == instrument
                    && order.side == side
                    && order.state == State::Book
                    && !order.all_or_none
            })
            .collect();
        orders.sort_by_key(|order| {
            let rank = order.price.map(|price| match side {
                Side::Buy => -price,
                Side::Sell => price,
            });
            (rank, order.place) // no price sorts first
        });
        orders
    }

    /// Price, volume and surplus of the uncross; nothing when no price lets anything trade.
    fn auction_price(&self, instrument: usize) -> Option<(i64, u128, i128)> {
        let listing = &self.listings[instrument];
        let terms = &listing.terms;
        let reference = listing.ref_price.or(listing.last_trade);
        let buys = self.participants(instrument, Side::Buy);
        let sells = self.participants(instrument, Side::Sell);
        let only_market =
            |orders: &[(&Order, u64)]| orders.iter().all(|(order, _)| order.price.is_none());
        if reference.is_none() && (only_market(&buys) || only_market(&sells)) {
            return None;
        }

        let limits = buys
            .iter()
            .chain(&sells)
            .filter_map(|(order, _)| order.price);
        let mut candidates: Vec<i64> = limits
            .flat_map(|limit| {
                [
                    Some(limit),
                    limit.checked_sub(terms.tick),
                    limit.checked_add(terms.tick),
                ]
            })
            .flatten()
            .chain(reference)
            .filter(|&price| self.check_price(instrument, price).is_ok())
            .collect();
        candidates.sort_unstable();
        candidates.dedup();

        let open = |orders: &[(&Order, u64)], takes: &dyn Fn(i64) -> bool| -> u128 {
            orders
                .iter()
                .filter(|(order, _)| order.price.is_none_or(takes))
                .map(|(_, qty)| u128::from(*qty))
                .sum()
        };
        let outcomes: Vec<(i64, u128, i128)> = candidates
            .into_iter()
            .map(|price| {
                let bought = open(&buys, &|limit| limit >= price);
                let sold = open(&sells, &|limit| limit <= price);
                let surplus = i128::try_from(bought).expect("far below the limit")
                    - i128::try_from(sold).expect("far below the limit");
                (price, bought.min(sold), surplus)
            })
            .collect();

        let volume = outcomes.iter().map(|outcome| outcome.1).max()?;
        if volume == 0 {
            return None;
        }
        let best: Vec<_> = outcomes
            .iter()
            .filter(|outcome| outcome.1 == volume)
            .collect();
        let surplus = best.iter().map(|outcome| outcome.2.abs()).min()?;
        let best: Vec<_> = best
            .into_iter()
            .filter(|outcome| outcome.2.abs() == surplus)
            .collect();
        let (lowest, highest) = (best.first()?, best.last()?);
        let chosen = if best.iter().all(|outcome| outcome.2 > 0) {
            highest
        } else if best.iter().all(|outcome| outcome.2 < 0) {
            lowest
        } else {
            let middle = (i128::from(lowest.0) + i128::from(highest.0)).div_euclid(2);
            let target = reference.map_or(middle, i128::from);
            best.iter().min_by_key(|outcome| {
                let price = i128::from(outcome.0);
                ((price - target).abs(), -price)
            })?
        };
        Some(**chosen)
    }

    fn trade_auction(&mut self, instrument: usize, price: i64) {
        // Who takes part, and with how much, is fixed before the first trade.
        let sides = [Side::Buy, Side::Sell];
        let mut parts: BTreeMap<u64, u64> = sides
            .into_iter()
            .flat_map(|side| self.participants(instrument, side))
            .map(|(order, qty)| (order.age, qty))
            .collect();
        loop {
            let first = |side: Side| {
                self.ranked(instrument, side)
                    .into_iter()
                    .find(|order| {
                        parts.get(&order.age).is_some_and(|&qty| qty > 0)
                            && order.price.is_none_or(|limit| match side {
                                Side::Buy => limit >= price,
                                Side::Sell => limit <= price,
                            })
                    })
                    .map(|order| order.age)
            };
            let (Some(buy), Some(sell)) = (first(Side::Buy), first(Side::Sell)) else {
                return;
            };
            let (buy_index, sell_index) = (self.index_of(buy), self.index_of(sell));
            let qty = parts[&buy].min(parts[&sell]);
            for age in [buy, sell] {
                *parts.entry(age).or_default() -= qty;
            }
            for index in [buy_index, sell_index] {
                self.fill_whole_quantity(index, qty);
            }
            let buy = self.orders[buy_index].clone();
            let sell = self.orders[sell_index].clone();
            self.orders.retain(|order| order.open > 0);
            let (maker, taker) = if buy.age < sell.age {
                (&buy, &sell)
            } else {
                (&sell, &buy)
            };
            if let Some(backing) = sell.backing {
                let moved = self.transfer(instrument, &buy.party, backing, price, qty);
                let opens = (i128::from(maker.open), i128::from(taker.open));
                let ids = (maker.id, taker.id);
                self.say_lease_fill(instrument, ids, price, qty, "none", opens, &moved);
                self.shrink(backing);
            } else {
                self.say_fill(maker, taker, price, qty, "none");
                self.note_trade(instrument, price);
            }
        }
    }

    /// An order trades with hidden quantity too; whenever a slice is gone the next one joins the
    /// back of the queue.
    fn fill_whole_quantity(&mut self, index: usize, qty: u64) {
        let order = &mut self.orders[index];
        order.open -= qty;
        order.filled += qty;
        let mut left = qty;
        while left > 0 {
            let part = left.min(order.slice);
            order.slice -= part;
            left -= part;
            if order.slice == 0 && order.open + left > 0 {
                order.slice = order
                    .display
                    .map_or(order.open + left, |display| display.min(order.open + left));
                order.place = self.next_place;
                self.next_place += 1;
            }
        }
    }

    /// All-or-none orders that rest are tried again, buys before sells, best first.
    pub(super) fn retry_all_or_none(&mut self, instrument: usize) {
        if self.listings[instrument].phase != Phase::Continuous {
            return;
        }
        for side in [Side::Buy, Side::Sell] {
            let mut waiting: Vec<(i64, u64, u64)> = self
                .orders
                .iter()
                .filter(|order| {
                    order.instrument == instrument
                        && order.side == side
                        && order.state == State::Book
                        && order.all_or_none
                })
                .map(|order| {
                    let price = order.price.expect("only limit orders rest all or none");
                    let rank = if side == Side::Buy { -price } else { price };
                    (rank, order.place, order.age)
                })
                .collect();
            waiting.sort_unstable();
            for (_, _, age) in waiting {
                let Some(index) = self.orders.iter().position(|order| order.age == age) else {
                    continue;
                };
                let mut order = self.orders[index].clone();
                if self.try_out(&order, order.price).qty == order.open {
                    self.orders.remove(index);
                    let limit = order.price;
                    self.match_order(&mut order, limit);
                }
            }
        }
    }
}
