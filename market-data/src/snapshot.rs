//! A book written down, and how to ask for one.

use std::fmt;

use tessera_types::{InstrumentId, Phase, Price, Qty, Seq, Timestamp};

use crate::book::{L2Book, Level};

/// A shard's question to the market-data thread. The answer is a
/// [`FeedItem::Snapshot`](crate::FeedItem::Snapshot) or a
/// [`FeedItem::Refused`](crate::FeedItem::Refused) in that shard's feed ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// Which shard asks: the feed ring of the answer.
    pub shard: u16,
    /// The shard's own number of the question; it comes back in the answer.
    pub request: u64,
    /// Which instrument.
    pub instrument: InstrumentId,
}

/// One instrument's whole book, true after a known increment.
#[derive(Clone, PartialEq, Eq)]
pub struct BookSnapshot {
    /// The [`SnapshotRequest::request`] it answers.
    pub request: u64,
    /// Which instrument.
    pub instrument: InstrumentId,
    /// The life of the channel.
    pub epoch: u64,
    /// The channel sequence of the last increment, of whatever instrument, that came before: drop
    /// increments up to it, apply those after it. 0 when there was none in this epoch.
    pub last_seq_applied: u64,
    /// [`Increment::rpt_seq`](crate::Increment::rpt_seq) of this instrument's last increment that
    /// is contained, 0 when there was none. The first increment to apply has the next number, which
    /// is how a loss between snapshot and feed is seen.
    pub rpt_seq: u32,
    /// The engine command that the book is the result of.
    pub seq: Seq,
    /// That command's time.
    pub time: Timestamp,
    /// The trading phase.
    pub phase: Phase,
    /// Bids, best first, all of them.
    pub bids: Vec<LevelEntry>,
    /// Asks, best first, all of them.
    pub asks: Vec<LevelEntry>,
    /// The last trade since the market data started, if there was one.
    pub last_trade: Option<LastTrade>,
}

/// One level of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LevelEntry {
    /// At which price.
    pub price: Price,
    /// Visible quantity.
    pub qty: Qty,
    /// Number of orders.
    pub orders: u32,
}

/// Price, size and time of a trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastTrade {
    /// At which price.
    pub price: Price,
    /// How much.
    pub qty: Qty,
    /// When.
    pub time: Timestamp,
}

impl LevelEntry {
    /// The level without its price.
    #[must_use]
    pub const fn level(&self) -> Level {
        Level {
            qty: self.qty,
            orders: self.orders,
        }
    }
}

impl BookSnapshot {
    /// The book that was written down.
    #[must_use]
    pub fn book(&self) -> L2Book {
        L2Book::from_levels(&self.bids, &self.asks)
    }
}

impl fmt::Debug for LevelEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}({})", self.price, self.qty, self.orders)
    }
}

impl fmt::Debug for BookSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "snapshot of {} after {}/{} (rpt {}, command {}) {} bids {:?} asks {:?}",
            self.instrument,
            self.epoch,
            self.last_seq_applied,
            self.rpt_seq,
            self.seq,
            self.phase,
            self.bids,
            self.asks
        )
    }
}
