//! Pre-trade limits of accounts and sessions, each with a reject reason of its own.

use tessera_types::{Limits, RejectReason, Side};

use crate::digest::Folder;

/// What the limits of an account or a session are about.
#[derive(Debug, Default)]
pub(crate) struct Scoped {
    pub(crate) limits: Limits,
    pub(crate) killed: bool,
    /// Lots of all open orders.
    pub(crate) open_qty: u128,
    /// Their value at their limits, ticks times lots.
    pub(crate) open_value: u128,
    /// The latest accepted order.
    pub(crate) latest: Option<Print>,
}

/// What makes an order like another, and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Print {
    pub(crate) instrument: u32,
    pub(crate) side: Side,
    pub(crate) price: Option<i64>,
    pub(crate) qty: u64,
    pub(crate) time: u64,
}

/// An order that wants to enter, or a live one that wants to change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) account: u32,
    pub(crate) session: u32,
    pub(crate) print: Print,
    /// The last trade, else the instrument's reference price.
    pub(crate) reference: Option<i64>,
    /// What is open of the live order, and its limit.
    pub(crate) before: Option<(u64, i64)>,
}

impl Scoped {
    /// The first limit that the order would break: kill switch, collar, quantity, value, duplicate,
    /// open quantity, open value.
    pub(crate) fn check(&self, ask: &Ask) -> Result<(), RejectReason> {
        if self.killed {
            return Err(RejectReason::Killed);
        }
        let limits = &self.limits;
        if *limits == NONE {
            return Ok(());
        }
        let Print {
            price, qty, side, ..
        } = ask.print;
        if let (Some(bps), Some(price), Some(reference)) = (limits.collar_bps, price, ask.reference)
            && beyond(side, price, reference, bps)
        {
            return Err(RejectReason::PriceCollar);
        }
        if limits.max_qty.is_some_and(|most| qty > most) {
            return Err(RejectReason::OrderQtyLimit);
        }
        let at = price.or(ask.reference).unwrap_or(0);
        if exceeds(value(at, qty), limits.max_value) {
            return Err(RejectReason::OrderValueLimit);
        }
        if let (Some(within), Some(latest), None) = (limits.duplicate_ns, self.latest, ask.before)
            && (Print {
                time: ask.print.time,
                ..latest
            }) == ask.print
            && ask.print.time - latest.time < within
        {
            return Err(RejectReason::DuplicateOrder);
        }
        let (open, at) = ask.before.unwrap_or((0, 0));
        let open_qty = self.open_qty + u128::from(qty) - u128::from(open);
        if open_qty > self.open_qty && exceeds(open_qty, limits.max_open_qty) {
            return Err(RejectReason::OpenQtyLimit);
        }
        let after = self.open_value + value(price.unwrap_or(0), qty) - value(at, open);
        if after > self.open_value && exceeds(after, limits.max_open_value) {
            return Err(RejectReason::OpenValueLimit);
        }
        Ok(())
    }

    pub(crate) fn fold(&self, folder: &mut Folder) {
        let limits = &self.limits;
        folder.option(limits.collar_bps.map(u64::from));
        for limit in [
            limits.max_qty,
            limits.max_value,
            limits.max_open_qty,
            limits.max_open_value,
            limits.max_position,
            limits.duplicate_ns,
        ] {
            folder.option(limit);
        }
        folder.word(u64::from(self.killed));
        folder.word(u64::from(self.latest.is_some()));
        if let Some(latest) = &self.latest {
            folder.word(u64::from(latest.instrument) << 1 | latest.side as u64);
            folder.option(latest.price.map(i64::cast_unsigned));
            folder.word(latest.qty);
            folder.word(latest.time);
        }
    }
}

const NONE: Limits = Limits {
    collar_bps: None,
    max_qty: None,
    max_value: None,
    max_open_qty: None,
    max_open_value: None,
    max_position: None,
    duplicate_ns: None,
};

/// Ticks times lots, without a sign: what an order is worth.
pub(crate) fn value(price: i64, qty: u64) -> u128 {
    u128::from(price.unsigned_abs()) * u128::from(qty)
}

fn exceeds(amount: u128, limit: Option<u64>) -> bool {
    limit.is_some_and(|limit| amount > u128::from(limit))
}

/// True for a buy above, a sell below the reference by more than this part of its size.
fn beyond(side: Side, price: i64, reference: i64, bps: u32) -> bool {
    let away = match side {
        Side::Buy => i128::from(price) - i128::from(reference),
        Side::Sell => i128::from(reference) - i128::from(price),
    };
    away * 10_000 > i128::from(reference.unsigned_abs()) * i128::from(bps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(limits: Limits, ask: Ask, expected: Result<(), RejectReason>) {
        let scoped = Scoped {
            limits,
            open_qty: 10,
            open_value: 1_000,
            latest: Some(Print {
                instrument: 1,
                side: Side::Buy,
                price: Some(100),
                qty: 5,
                time: 50,
            }),
            ..Scoped::default()
        };
        assert_eq!(scoped.check(&ask), expected, "{limits:?} {ask:?}");
        let killed = Scoped {
            killed: true,
            ..scoped
        };
        assert_eq!(killed.check(&ask), Err(RejectReason::Killed));
    }

    #[test]
    fn every_limit_at_its_edge() {
        use RejectReason as R;
        let print = Print {
            instrument: 1,
            side: Side::Buy,
            price: Some(105),
            qty: 5,
            time: 60,
        };
        let ask = Ask {
            account: 1,
            session: 0,
            print,
            reference: Some(100),
            before: None,
        };
        let none = Limits::default();
        let collar = |bps| Limits {
            collar_bps: Some(bps),
            ..none
        };
        check(collar(500), ask, Ok(()));
        check(collar(499), ask, Err(R::PriceCollar));
        let sell = Ask {
            print: Print {
                side: Side::Sell,
                price: Some(95),
                ..print
            },
            ..ask
        };
        check(collar(500), sell, Ok(()));
        check(collar(499), sell, Err(R::PriceCollar));
        let blind = Ask {
            reference: None,
            ..ask
        };
        check(collar(0), blind, Ok(()));
        let max_qty = |qty| Limits {
            max_qty: Some(qty),
            ..none
        };
        check(max_qty(5), ask, Ok(()));
        check(max_qty(4), ask, Err(R::OrderQtyLimit));
        let max_value = |value| Limits {
            max_value: Some(value),
            ..none
        };
        check(max_value(525), ask, Ok(()));
        check(max_value(524), ask, Err(R::OrderValueLimit));
        let market = Ask {
            print: Print {
                price: None,
                ..print
            },
            ..ask
        };
        check(max_value(500), market, Ok(()));
        check(max_value(499), market, Err(R::OrderValueLimit));
        let duplicate = |ns| Limits {
            duplicate_ns: Some(ns),
            ..none
        };
        let again = Ask {
            print: Print {
                price: Some(100),
                ..print
            },
            ..ask
        };
        check(duplicate(11), again, Err(R::DuplicateOrder));
        check(duplicate(10), again, Ok(()));
        check(duplicate(11), ask, Ok(()));
        let open = |qty| Limits {
            max_open_qty: Some(qty),
            ..none
        };
        check(open(15), ask, Ok(()));
        check(open(14), ask, Err(R::OpenQtyLimit));
        let smaller = Ask {
            before: Some((5, 105)),
            ..ask
        };
        check(open(0), smaller, Ok(()));
        let open_value = |value| Limits {
            max_open_value: Some(value),
            ..none
        };
        check(open_value(1_525), ask, Ok(()));
        check(open_value(1_524), ask, Err(R::OpenValueLimit));
        check(open_value(1_000), smaller, Ok(()));
    }
}
