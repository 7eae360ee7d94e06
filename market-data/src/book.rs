//! A book by price, as both sides of the feed keep it.

use std::collections::BTreeMap;

use tessera_types::{Price, Qty, Side};

use crate::increment::LevelAction;
use crate::snapshot::LevelEntry;

/// Visible quantity and number of orders at each price of one instrument (L2, market by price).
///
/// A tree per side: books of contracts are thin at the touch and can be very deep below it, and a
/// level anywhere in the depth may change with each command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct L2Book {
    bids: BTreeMap<Price, Level>,
    asks: BTreeMap<Price, Level>,
}

/// What is at one price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Visible quantity in lots.
    pub qty: Qty,
    /// Number of orders.
    pub orders: u32,
}

/// Best bid and offer of one instrument (L1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bbo {
    /// Highest bid, if there is one.
    pub bid: Option<LevelEntry>,
    /// Lowest ask, if there is one.
    pub ask: Option<LevelEntry>,
}

impl L2Book {
    /// A book without levels.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
        }
    }

    /// A book from two lists of levels in any order.
    #[must_use]
    pub fn from_levels<'a>(
        bids: impl IntoIterator<Item = &'a LevelEntry>,
        asks: impl IntoIterator<Item = &'a LevelEntry>,
    ) -> Self {
        let mut book = Self::default();
        for (side, entry) in bids
            .into_iter()
            .map(|entry| (Side::Buy, entry))
            .chain(asks.into_iter().map(|entry| (Side::Sell, entry)))
        {
            book.set(side, entry.price, entry.level());
        }
        book
    }

    /// Puts a level to an absolute value and says what that did. A level without quantity and
    /// orders is removed; removing one that is not there is a [`LevelAction::Delete`] as well.
    pub fn set(&mut self, side: Side, price: Price, level: Level) -> LevelAction {
        let levels = self.side_mut(side);
        if level == Level::default() {
            levels.remove(&price);
            return LevelAction::Delete;
        }
        match levels.insert(price, level) {
            None => LevelAction::New,
            Some(_) => LevelAction::Change,
        }
    }

    /// The levels of one side, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = LevelEntry> + '_ {
        let (bids, asks) = match side {
            Side::Buy => (Some(self.bids.iter().rev()), None),
            Side::Sell => (None, Some(self.asks.iter())),
        };
        bids.into_iter()
            .flatten()
            .chain(asks.into_iter().flatten())
            .map(|(&price, level)| LevelEntry {
                price,
                qty: level.qty,
                orders: level.orders,
            })
    }

    /// The best level of one side.
    #[must_use]
    pub fn best(&self, side: Side) -> Option<LevelEntry> {
        self.levels(side).next()
    }

    /// Both best levels.
    #[must_use]
    pub fn bbo(&self) -> Bbo {
        Bbo {
            bid: self.best(Side::Buy),
            ask: self.best(Side::Sell),
        }
    }

    /// What is at one price, if anything.
    #[must_use]
    pub fn level(&self, side: Side, price: Price) -> Option<Level> {
        match side {
            Side::Buy => self.bids.get(&price),
            Side::Sell => self.asks.get(&price),
        }
        .copied()
    }

    /// Number of levels on one side.
    #[must_use]
    pub fn depth(&self, side: Side) -> usize {
        match side {
            Side::Buy => self.bids.len(),
            Side::Sell => self.asks.len(),
        }
    }

    /// Takes all levels out.
    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }

    fn side_mut(&mut self, side: Side) -> &mut BTreeMap<Price, Level> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(qty: u64, orders: u32) -> Level {
        Level {
            qty: Qty::from_lots(qty),
            orders,
        }
    }

    fn price(ticks: i64) -> Price {
        Price::from_ticks(ticks)
    }

    #[test]
    fn levels_come_best_first_on_both_sides() {
        let mut book = L2Book::default();
        for ticks in [100, 98, 99, -5] {
            assert_eq!(
                book.set(Side::Buy, price(ticks), level(1, 1)),
                LevelAction::New
            );
            assert_eq!(
                book.set(Side::Sell, price(ticks + 10), level(2, 1)),
                LevelAction::New
            );
        }
        let ticks = |side| {
            book.levels(side)
                .map(|l| l.price.ticks())
                .collect::<Vec<_>>()
        };
        assert_eq!(ticks(Side::Buy), [100, 99, 98, -5]);
        assert_eq!(ticks(Side::Sell), [5, 108, 109, 110]);
        assert_eq!(book.best(Side::Buy).map(|l| l.price), Some(price(100)));
        assert_eq!(book.bbo().ask.map(|l| l.qty), Some(Qty::from_lots(2)));
    }

    #[test]
    fn a_level_is_set_changed_and_removed() {
        let mut book = L2Book::default();
        assert_eq!(book.set(Side::Buy, price(1), level(1, 1)), LevelAction::New);
        assert_eq!(
            book.set(Side::Buy, price(1), level(5, 2)),
            LevelAction::Change
        );
        assert_eq!(book.level(Side::Buy, price(1)), Some(level(5, 2)));
        assert_eq!(
            book.set(Side::Buy, price(1), Level::default()),
            LevelAction::Delete
        );
        assert_eq!(
            book.set(Side::Buy, price(1), Level::default()),
            LevelAction::Delete
        );
        assert_eq!(book, L2Book::default());
    }
}
