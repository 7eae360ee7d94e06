//! The market-data thread: durable events in, feed items out to every shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::channel::Receiver;
use tessera_engine::Exchange;
use tessera_market_data::{Builder, FeedItem, InstrumentState, LevelEntry, SnapshotRequest};
use tessera_ring::spsc::{Consumer, Producer, PushError};
use tessera_ring::{Agent, Cursor, Wake};
use tessera_types::{EventRecord, InstrumentId, Phase, Seq, Side, Timestamp};

use super::core::wall_clock;
use super::stats::Recorder;

/// The books as an engine has them: what a feed starts from after a recovery or a lost ring.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) seq: Seq,
    pub(crate) time: Timestamp,
    pub(crate) instruments: Vec<InstrumentState>,
}

impl Books {
    /// Every book of `engine`, after the last command it has applied.
    pub(crate) fn of(engine: &Exchange) -> Self {
        Self {
            seq: engine.last_seq(),
            time: engine.clock(),
            instruments: engine
                .instruments()
                .map(|(instrument, _, phase)| state_of(engine, instrument, phase))
                .collect(),
        }
    }
}

fn state_of(engine: &Exchange, instrument: InstrumentId, phase: Phase) -> InstrumentState {
    let side = |side| {
        engine
            .depth(instrument, side)
            .map(|level| LevelEntry {
                price: level.price,
                qty: level.qty,
                orders: level.orders,
            })
            .collect()
    };
    InstrumentState {
        instrument,
        phase,
        bids: side(Side::Buy),
        asks: side(Side::Sell),
        last_trade: None,
    }
}

/// A new event ring in place of one that overflowed, and the books it continues from.
pub(crate) struct Reattached {
    pub(crate) events: Consumer<EventRecord>,
    pub(crate) books: Books,
}

/// The feed ring of one shard.
pub(crate) struct FeedLink {
    pub(crate) feed: Producer<FeedItem>,
    pub(crate) wake: Arc<dyn Wake>,
}

/// The market-data thread.
pub(crate) struct MarketData {
    pub(crate) events: Consumer<EventRecord>,
    /// A new event ring in place of one that overflowed.
    pub(crate) reattach: Receiver<Reattached>,
    pub(crate) durable: Cursor,
    pub(crate) requests: Receiver<SnapshotRequest>,
    pub(crate) shards: Vec<FeedLink>,
    /// New rings for shards that start again.
    pub(crate) seats: Receiver<(u16, FeedLink)>,
    pub(crate) builder: Builder,
    pub(crate) epoch: u64,
    pub(crate) tape: Recorder,
    /// Items that a full feed ring did not take; its subscribers come back by snapshot.
    pub(crate) missed: Arc<AtomicU64>,
}

/// Records taken in before the shards are woken.
const BATCH: usize = 256;

impl MarketData {
    fn take_records(&mut self) -> usize {
        let durable = self.durable.get();
        let mut taken = 0;
        while taken < BATCH {
            match self.events.peek(0) {
                Some(record) if record.seq.get() <= durable => {}
                _ => break,
            }
            let Some(record) = self.events.try_pop() else {
                break;
            };
            taken += 1;
            let increments = self.builder.on_record(&record);
            if increments.is_empty() {
                continue;
            }
            for shard in &mut self.shards {
                for &increment in increments {
                    push(shard, FeedItem::Increment(increment), &self.missed);
                }
            }
            self.tape.record(wall_clock().nanos_since(record.time));
        }
        taken
    }

    fn answer_requests(&mut self) -> usize {
        let mut answered = 0;
        while let Ok(request) = self.requests.try_recv() {
            self.builder.on_request(request);
        }
        while let Some((shard, item)) = self.builder.poll_answer() {
            answered += 1;
            if let Some(link) = self.shards.get_mut(usize::from(shard)) {
                push(link, item, &self.missed);
            }
        }
        answered
    }

    /// The core closed the ring because it was full: go on from the books it left for us.
    fn come_back(&mut self) -> usize {
        if !self.events.is_drained() {
            return 0;
        }
        let Ok(Reattached { events, books }) = self.reattach.try_recv() else {
            return 0;
        };
        self.events = events;
        self.epoch += 1;
        self.builder
            .restore(self.epoch, books.seq, books.time, books.instruments);
        1
    }
}

fn push(shard: &mut FeedLink, item: FeedItem, missed: &AtomicU64) {
    match shard.feed.try_push(item) {
        Ok(()) | Err(PushError::Closed(_)) => {}
        Err(PushError::Full(_)) => {
            missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Agent for MarketData {
    fn name(&self) -> &str {
        "tessera-market"
    }

    fn do_work(&mut self) -> usize {
        while let Ok((index, link)) = self.seats.try_recv() {
            if let Some(seat) = self.shards.get_mut(usize::from(index)) {
                *seat = link;
            }
        }
        let work = self.take_records() + self.answer_requests() + self.come_back();
        if work > 0 {
            self.tape.flush();
            for shard in &self.shards {
                shard.wake.wake();
            }
        }
        work
    }

    fn on_stop(&mut self) {
        while self.do_work() > 0 {}
        for shard in &self.shards {
            shard.feed.close();
            shard.wake.wake();
        }
    }
}
