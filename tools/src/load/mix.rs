//! What a load sends: a stream of requests that depends on its seed and its instrument, and on
//! nothing that the exchange answers.

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use tessera_proto::Lots;
use tessera_proto::message::{
    Cancel, CancelReplace, Changes, ExecInstBits, NewOrderSingle, SecurityDefinition,
};
use tessera_proto::session::Request;
use tessera_types::{
    AccountId, ClOrdId, InstrumentId, OrdType, OrderId, Price, SelfMatch, Side, TimeInForce,
    Timestamp,
};

use crate::load::ledger::Kind;

/// Limit orders that rest away from each other, and the cancels and replaces that keep their number
/// near [`TARGET`].
///
/// One request in ten moves an order to another price on its side. The others enter an order or
/// cancel one: with `n` orders resting a cancel has the odds `n : 2 * TARGET - n`, so that the book
/// grows to `TARGET` orders and stays there. Bids lie below one price and offers above it, so that
/// orders of the load never trade with each other; with those of others they may.
#[derive(Debug)]
pub(crate) struct Mix {
    rng: Pcg64Mcg,
    instrument: InstrumentId,
    account: AccountId,
    grid: Grid,
    resting: Vec<(ClOrdId, Side)>,
}

/// The prices and quantities that an instrument takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Nothing is offered at or below it and nothing bid at or above it.
    middle: i64,
    tick: i64,
    /// Prices used on each side.
    depth: i64,
    lot: u32,
    /// Smallest quantity in lots, a multiple of `lot`.
    least: u32,
    /// How many multiples of `lot` above `least` may be taken.
    spread: u32,
}

impl Grid {
    /// The part of an instrument's prices and quantities that a load uses, or why there is none.
    pub(crate) fn of(definition: &SecurityDefinition) -> Result<Self, &'static str> {
        let tick = definition.tick.max(1);
        let low = ceil_to(i128::from(definition.min_price.ticks()), i128::from(tick));
        let high = floor_to(i128::from(definition.max_price.ticks()), i128::from(tick));
        let steps = (high - low) / i128::from(tick);
        if steps < 2 {
            return Err("its price bounds leave no room for a bid below an offer");
        }
        let depth = (steps / 2).min(i128::from(DEPTH));
        let reach = depth * i128::from(tick);
        // A price that fits the bounds; without bounds worth the name, one far from zero.
        let middle = (10_000 * i128::from(tick)).clamp(low + reach, high - reach);
        let lot = definition.lot.max(1);
        let least = definition.min_qty.lots().div_ceil(lot).max(1) * lot;
        let most = definition.max_qty.lots().min(u64::from(u32::MAX));
        if least > most {
            return Err("its smallest order does not fit the 32 bits of a quantity on the wire");
        }
        let spread = ((most - least) / lot).min(9);
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(Self {
            middle: i64::try_from(middle).map_err(|_| "its prices are out of range")?,
            tick,
            depth: i64::try_from(depth).map_err(|_| "its prices are out of range")?,
            lot: narrow(lot),
            least: narrow(least),
            spread: narrow(spread),
        })
    }
}

impl Mix {
    pub(crate) fn new(seed: u64, instrument: InstrumentId, account: AccountId, grid: Grid) -> Self {
        Self {
            rng: Pcg64Mcg::seed_from_u64(seed),
            instrument,
            account,
            grid,
            resting: Vec::new(),
        }
    }

    /// The next request, under this id.
    pub(crate) fn next(&mut self, id: ClOrdId) -> (Kind, Request) {
        let resting = self.resting.len();
        if resting > 0 && self.rng.random_range(0..10) == 0 {
            (Kind::Replace, self.replace(id))
        } else if self.rng.random_range(0..2 * TARGET) < resting {
            (Kind::Cancel, self.cancel(id))
        } else {
            (Kind::New, self.new_order(id))
        }
    }

    fn new_order(&mut self, id: ClOrdId) -> Request {
        let side = if self.rng.random() {
            Side::Buy
        } else {
            Side::Sell
        };
        self.resting.push((id, side));
        let lots = self.grid.least + self.grid.lot * self.rng.random_range(0..=self.grid.spread);
        Request::New(NewOrderSingle {
            cl_ord_id: id,
            account: self.account,
            instrument: self.instrument,
            side,
            ord_type: OrdType::Limit,
            time_in_force: TimeInForce::Gtc,
            price: self.price(side),
            order_qty: Lots::new(lots),
            min_qty: Lots::ZERO,
            display_qty: Lots::ZERO,
            stop_px: 0,
            expire_time: Timestamp::ZERO,
            exec_inst: ExecInstBits::NONE,
            smp_id: 0,
            smp_mode: SelfMatch::None,
            mmp_group: 0,
            transact_time: Timestamp::ZERO,
        })
    }

    fn replace(&mut self, id: ClOrdId) -> Request {
        let at = self.rng.random_range(0..self.resting.len());
        let (order, side) = self.resting[at];
        self.resting[at].0 = id;
        Request::Replace(CancelReplace {
            cl_ord_id: id,
            account: self.account,
            orig_cl_ord_id: order,
            order_id: OrderId::new(0),
            price: self.price(side),
            order_qty: Lots::ZERO,
            min_qty: Lots::ZERO,
            stop_px: Price::ZERO,
            expire_time: Timestamp::ZERO,
            exec_inst: ExecInstBits::NONE,
            changes: Changes::PRICE,
            on_failure: tessera_proto::field::Reserved,
            in_flight: tessera_proto::field::Reserved,
        })
    }

    fn cancel(&mut self, id: ClOrdId) -> Request {
        let at = self.rng.random_range(0..self.resting.len());
        let (order, _) = self.resting.swap_remove(at);
        Request::Cancel(Cancel {
            cl_ord_id: id,
            account: self.account,
            orig_cl_ord_id: order,
            order_id: OrderId::new(0),
        })
    }

    fn price(&mut self, side: Side) -> Price {
        let away = self.grid.tick * self.rng.random_range(1..=self.grid.depth);
        Price::from_ticks(match side {
            Side::Buy => self.grid.middle - away,
            Side::Sell => self.grid.middle + away,
        })
    }
}

/// Orders of one session that rest in the long run.
pub(crate) const TARGET: usize = 1_000;
/// Prices used on each side, bounds permitting.
const DEPTH: i64 = 500;

fn floor_to(value: i128, step: i128) -> i128 {
    value.div_euclid(step) * step
}

fn ceil_to(value: i128, step: i128) -> i128 {
    floor_to(value + step - 1, step)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tessera_proto::Text;
    use tessera_proto::codes::InstrumentKind;
    use tessera_types::{Partition, Phase, Qty};

    use super::*;

    pub(crate) fn definition(
        tick: i64,
        prices: (i64, i64),
        lot: u64,
        quantities: (u64, u64),
    ) -> SecurityDefinition {
        SecurityDefinition {
            instrument: InstrumentId::new(3),
            symbol: Text::clipped("TEST"),
            kind: InstrumentKind::Plain,
            class: 0,
            partition: Partition::Whole,
            profile: 0,
            tier: 0,
            zone: 0,
            delivery_start: Timestamp::ZERO,
            delivery_end: Timestamp::ZERO,
            attestation: 0,
            tick,
            lot,
            lot_gpu_seconds: 0,
            min_price: Price::from_ticks(prices.0),
            max_price: Price::from_ticks(prices.1),
            min_qty: Qty::from_lots(quantities.0),
            max_qty: Qty::from_lots(quantities.1),
            tick_micro_usd: 0,
            weight: 0,
            phase: Phase::Continuous,
        }
    }

    /// Runs a mix against a plain table of orders: every request must be about an order that lives,
    /// at a price and of a size that the instrument takes, and the sides must never cross.
    fn check(definition: &SecurityDefinition, requests: u64) -> usize {
        let grid = Grid::of(definition).unwrap();
        let mut mix = Mix::new(7, definition.instrument, AccountId::new(1), grid);
        let mut live: HashMap<u64, (Side, i64)> = HashMap::new();
        let fits = |price: Price| {
            assert!(
                price >= definition.min_price && price <= definition.max_price,
                "{price}"
            );
            assert_eq!(price.ticks() % definition.tick, 0);
            price.ticks()
        };
        for id in 1..=requests {
            match mix.next(ClOrdId::new(id)).1 {
                Request::New(m) => {
                    let lots = m.order_qty.qty();
                    assert!(
                        lots >= definition.min_qty && lots <= definition.max_qty,
                        "{lots}"
                    );
                    assert_eq!(lots.lots() % definition.lot, 0);
                    live.insert(id, (m.side, fits(m.price)));
                }
                Request::Replace(m) => {
                    let (side, _) = live.remove(&m.orig_cl_ord_id.get()).unwrap();
                    live.insert(id, (side, fits(m.price)));
                }
                Request::Cancel(m) => {
                    live.remove(&m.orig_cl_ord_id.get()).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
        let side_of = |wanted| live.values().filter(move |(side, _)| *side == wanted);
        let bid = side_of(Side::Buy).map(|(_, price)| *price).max();
        let ask = side_of(Side::Sell).map(|(_, price)| *price).min();
        assert!(bid.zip(ask).is_none_or(|(bid, ask)| bid < ask));
        live.len()
    }

    #[test]
    fn the_book_stays_bounded_and_uncrossed() {
        let plain = definition(1, (1, i64::MAX), 1, (1, i64::MAX.unsigned_abs()));
        let resting = check(&plain, 50_000);
        assert!((TARGET / 2..TARGET * 2).contains(&resting), "{resting}");
    }

    #[test]
    fn odd_instruments_get_prices_and_sizes_that_fit() {
        check(&definition(60, (61, 1_000), 5, (7, 21)), 3_000);
        check(&definition(7, (-100, -50), 1, (1, 1)), 3_000);
        check(&definition(3, (-10, 10), 4, (1, 5)), 3_000);
    }

    #[test]
    fn instruments_without_room_are_refused_by_name() {
        assert!(Grid::of(&definition(10, (1, 20), 1, (1, 9))).is_err());
        assert!(Grid::of(&definition(1, (1, 20), 1, (1 << 33, 1 << 34))).is_err());
        assert!(Grid::of(&definition(1, (1, 20), 10, (1, 9))).is_err());
    }

    #[test]
    fn the_first_request_is_an_order_and_the_stream_is_the_seeds() {
        let plain = definition(1, (1, i64::MAX), 1, (1, 1_000));
        let stream = |seed| {
            let grid = Grid::of(&plain).unwrap();
            let mut mix = Mix::new(seed, plain.instrument, AccountId::new(1), grid);
            (1..500)
                .map(|id| mix.next(ClOrdId::new(id)).1)
                .collect::<Vec<_>>()
        };
        for seed in 0..50 {
            assert!(matches!(stream(seed)[0], Request::New(_)));
        }
        assert_eq!(stream(1), stream(1));
        assert_ne!(stream(1), stream(2));
    }
}
