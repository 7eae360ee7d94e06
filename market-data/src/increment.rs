//! What the market-data thread sends to a gateway shard.

use std::sync::Arc;

use tessera_types::{
    Aggressor, ExecId, InstrumentId, Phase, Price, Qty, RejectReason, Seq, Side, Timestamp,
};

use crate::snapshot::{BookSnapshot, SnapshotRequest};

/// One item in the feed ring of a shard.
///
/// All shards get the same increments in the same order; a snapshot goes to the shard that asked, at
/// the place in the order where it is true.
#[derive(Clone, Debug, PartialEq)]
pub enum FeedItem {
    /// The market moved.
    Increment(Increment),
    /// The answer to a [`SnapshotRequest`]: the book after the increments before it in this ring.
    Snapshot(Arc<BookSnapshot>),
    /// The answer to a [`SnapshotRequest`] that cannot be served.
    Refused {
        /// The request.
        request: SnapshotRequest,
        /// Why; an instrument that is not listed is [`RejectReason::UnknownInstrument`].
        reason: RejectReason,
    },
}

/// One change of the market, a copy of plain data.
///
/// The increments of one engine command follow each other without others between them, in the order
/// of the engine's events: trades and status first, then levels by instrument, side (buy first) and
/// price, after the levels of an instrument its checksum, and last one end of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Increment {
    /// Number in the channel: 1, 2, 3 and so on within an epoch. It counts every increment, the end
    /// of event included.
    pub channel_seq: u64,
    /// The life of the channel. A higher one means that numbers have restarted and that every book
    /// has to come from a snapshot again.
    pub epoch: u64,
    /// The engine command behind it.
    pub seq: Seq,
    /// That command's time.
    pub time: Timestamp,
    /// Which instrument. In an end of event the one touched last.
    pub instrument: InstrumentId,
    /// Number among this instrument's increments in this epoch, from 1, wrapping to 0 after
    /// `u32::MAX` (RptSeq, tag 83). It lets a subscriber of a few instruments see a gap where the
    /// channel sequence has holes by design. 0 in an end of event, which belongs to no instrument.
    pub rpt_seq: u32,
    /// The last increment of its command for this instrument (LastFragment, tag 893): the book is
    /// again one that the exchange had between two commands. A checksum always is the last one, and so
    /// is a listing.
    pub last_fragment: bool,
    /// What happened.
    pub kind: IncrementKind,
}

/// What an increment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncrementKind {
    /// A price level is now this. Quantity and orders are absolute.
    Level {
        /// Which side.
        side: Side,
        /// At which price.
        price: Price,
        /// Visible quantity, zero when the level is gone. A sum over orders: it may exceed 32 bits
        /// although no order does.
        qty: Qty,
        /// Orders, zero when the level is gone.
        orders: u32,
        /// What that means for somebody who keeps the book; it follows from the book, and is said
        /// so that a stateless reader knows it too.
        action: LevelAction,
    },
    /// Two orders traded.
    Trade {
        /// At which price.
        price: Price,
        /// How much.
        qty: Qty,
        /// Which side was incoming.
        aggressor: Aggressor,
        /// The execution's name, the same as in the parties' reports.
        match_id: ExecId,
    },
    /// The phase is now this.
    Status {
        /// Which.
        phase: Phase,
    },
    /// The instrument exists from now on: an empty book in continuous phase.
    Listed,
    /// What [`checksum`](fn@crate::checksum::checksum) gives for the book after the levels before it.
    Checksum {
        /// CRC-32C.
        crc: u32,
    },
    /// The engine command is complete, over all instruments.
    EndOfEvent,
}

/// What a level increment does to the book (MDUpdateAction, tag 279).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LevelAction {
    /// The price was not there.
    New = 0,
    /// The price was there.
    Change = 1,
    /// The price is gone.
    Delete = 2,
}

impl TryFrom<u8> for LevelAction {
    type Error = u8;
    fn try_from(code: u8) -> Result<Self, u8> {
        match code {
            0 => Ok(Self::New),
            1 => Ok(Self::Change),
            2 => Ok(Self::Delete),
            other => Err(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_item_fits_two_cache_lines() {
        // The rings hold thousands of items per shard; a careless field would be paid for in all of them.
        assert!(size_of::<Increment>() <= 96, "{}", size_of::<Increment>());
        assert!(size_of::<FeedItem>() <= 128, "{}", size_of::<FeedItem>());
    }

    #[test]
    fn level_actions_keep_their_codes() {
        for action in [LevelAction::New, LevelAction::Change, LevelAction::Delete] {
            assert_eq!(LevelAction::try_from(action as u8), Ok(action));
        }
        assert_eq!(LevelAction::try_from(3), Err(3));
    }
}
