//! From the engine's events to the feed.

use std::collections::VecDeque;
use std::sync::Arc;

use tessera_types::{Event, EventRecord, InstrumentId, Phase, RejectReason, Seq, Side, Timestamp};

use crate::book::{L2Book, Level};
use crate::checksum::checksum;
use crate::increment::{FeedItem, Increment, IncrementKind};
use crate::snapshot::{BookSnapshot, LastTrade, LevelEntry, SnapshotRequest};

/// Keeps the book of every instrument by the engine's `Level` events and numbers what changed.
///
/// The caller hands in records that are already durable, in the order of the ring, sends what comes
/// back to every shard, and then hands out [`poll_answer`](Self::poll_answer). A shard whose feed
/// ring is full just misses increments: the numbers tell it, and a snapshot repairs it, so the
/// builder waits for nobody.
///
/// ```
/// use tessera_market_data::{Builder, BuilderConfig, FeedItem, SnapshotRequest};
/// use tessera_types::{Event, EventRecord, InstrumentId, Requester, Seq, Timestamp};
///
/// let mut builder = Builder::new(1, BuilderConfig::default());
/// let listed = EventRecord {
///     seq: Seq::new(1),
///     time: Timestamp::ZERO,
///     received: Timestamp::ZERO,
///     index: 0,
///     last: true,
///     event: Event::InstrumentListed { instrument: InstrumentId::new(0), by: Requester::default() },
/// };
/// assert_eq!(builder.on_record(&listed).len(), 2); // listed, end of event
///
/// builder.on_request(SnapshotRequest { shard: 0, request: 7, instrument: InstrumentId::new(0) });
/// let Some((0, FeedItem::Snapshot(snapshot))) = builder.poll_answer() else { panic!() };
/// assert_eq!((snapshot.request, snapshot.last_seq_applied), (7, 2));
/// ```
#[derive(Debug)]
pub struct Builder {
    config: BuilderConfig,
    epoch: u64,
    /// Number of the last increment, 0 before the first.
    channel_seq: u64,
    /// The last command taken in, or the one that the restored books are the result of.
    seq: Seq,
    time: Timestamp,
    /// By instrument number, which the engine deals out from 0 without holes.
    tracked: Vec<Option<Tracked>>,
    /// The increments of the command being taken in, or of the one before when that is complete.
    batch: Vec<Increment>,
    /// Instruments in the batch.
    touched: Vec<InstrumentId>,
    /// The instrument whose levels are coming in.
    open: Option<InstrumentId>,
    /// Records of the current command are still to come.
    inside_command: bool,
    requests: VecDeque<SnapshotRequest>,
}

/// What may be chosen about a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuilderConfig {
    /// A checksum after every n-th command that changes an instrument's levels; 0 for none. 1 tells a
    /// mirror at once; a larger number saves a message per command and half of the builder's work (160 of
    /// 330 ns per command, books of 400 levels a side, 2-core virtual machine).
    pub checksum_every: u32,
}

impl Default for BuilderConfig {
    fn default() -> Self {
        Self { checksum_every: 1 }
    }
}

/// The market data of one instrument as a recovery or a replica knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstrumentState {
    /// Which.
    pub instrument: InstrumentId,
    /// Its phase.
    pub phase: Phase,
    /// Bids in any order.
    pub bids: Vec<LevelEntry>,
    /// Asks in any order.
    pub asks: Vec<LevelEntry>,
    /// Its last trade, when known.
    pub last_trade: Option<LastTrade>,
}

#[derive(Debug)]
struct Tracked {
    book: L2Book,
    phase: Phase,
    last_trade: Option<LastTrade>,
    rpt_seq: u32,
    /// Commands that changed levels since the last checksum.
    unchecked: u32,
    /// Index of this instrument's newest increment in the batch.
    newest: usize,
}

impl Builder {
    /// A feed without instruments; they come with their `InstrumentListed` events.
    #[must_use]
    pub fn new(epoch: u64, config: BuilderConfig) -> Self {
        Self {
            config,
            epoch,
            channel_seq: 0,
            seq: Seq::ZERO,
            time: Timestamp::ZERO,
            tracked: Vec::new(),
            batch: Vec::new(),
            touched: Vec::new(),
            open: None,
            inside_command: false,
            requests: VecDeque::new(),
        }
    }

    /// Starts over from known books: after a recovery, or when the event ring was lost.
    ///
    /// `epoch` must be higher than the one before, which tells subscribers that their books are void.
    /// Numbers restart, a command half taken in is forgotten, requests stay. Records up to `seq`,
    /// whose effects the books contain, are skipped from here on.
    pub fn restore(
        &mut self,
        epoch: u64,
        seq: Seq,
        time: Timestamp,
        instruments: impl IntoIterator<Item = InstrumentState>,
    ) {
        let requests = std::mem::take(&mut self.requests);
        *self = Self::new(epoch, self.config);
        self.requests = requests;
        self.seq = seq;
        self.time = time;
        for state in instruments {
            *self.slot(state.instrument) = Some(Tracked {
                book: L2Book::from_levels(&state.bids, &state.asks),
                phase: state.phase,
                last_trade: state.last_trade,
                ..Tracked::new()
            });
        }
    }

    /// Takes the next record. Returns the increments of its command when this record completes it
    /// and the market moved, else nothing.
    pub fn on_record(&mut self, record: &EventRecord) -> &[Increment] {
        if !self.inside_command {
            self.batch.clear();
            if record.seq <= self.seq {
                return &[]; // contained in the restored books
            }
        }
        debug_assert!(!self.inside_command || record.seq == self.seq);
        self.seq = record.seq;
        self.time = record.time;
        self.inside_command = !record.last;
        self.on_event(record);
        if self.inside_command {
            return &[];
        }
        self.complete();
        &self.batch
    }

    /// Notes a question. The answer comes from [`poll_answer`](Self::poll_answer).
    pub fn on_request(&mut self, request: SnapshotRequest) {
        self.requests.push_back(request);
    }

    /// The next answer and the shard it is for; none while a command is half taken in, because a
    /// snapshot is a book between two commands. It belongs behind all increments handed out so far.
    pub fn poll_answer(&mut self) -> Option<(u16, FeedItem)> {
        if self.inside_command {
            return None;
        }
        let request = self.requests.pop_front()?;
        let item = match self.snapshot(request.request, request.instrument) {
            Some(snapshot) => FeedItem::Snapshot(Arc::new(snapshot)),
            None => FeedItem::Refused {
                request,
                reason: RejectReason::UnknownInstrument,
            },
        };
        Some((request.shard, item))
    }

    /// The book of an instrument; in the middle of a command, as far as its records have come.
    #[must_use]
    pub fn book(&self, instrument: InstrumentId) -> Option<&L2Book> {
        self.tracked(instrument).map(|tracked| &tracked.book)
    }

    /// The phase of an instrument.
    #[must_use]
    pub fn phase(&self, instrument: InstrumentId) -> Option<Phase> {
        self.tracked(instrument).map(|tracked| tracked.phase)
    }

    /// The life of the channel.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The number that the next increment will have: what a channel heartbeat carries, so that
    /// silence is told from loss.
    #[must_use]
    pub const fn next_channel_seq(&self) -> u64 {
        self.channel_seq + 1
    }

    /// The last command taken in.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    fn on_event(&mut self, record: &EventRecord) {
        match record.event {
            Event::InstrumentListed { instrument, .. } => {
                *self.slot(instrument) = Some(Tracked::new());
                self.push(instrument, IncrementKind::Listed);
            }
            Event::PhaseChanged {
                instrument, phase, ..
            } => {
                self.tracked_mut(instrument).phase = phase;
                self.push(instrument, IncrementKind::Status { phase });
            }
            Event::Trade {
                instrument,
                aggressor,
                price,
                qty,
                ..
            } => {
                let time = record.time;
                self.tracked_mut(instrument).last_trade = Some(LastTrade { price, qty, time });
                let match_id = record.exec_id();
                self.push(
                    instrument,
                    IncrementKind::Trade {
                        price,
                        qty,
                        aggressor,
                        match_id,
                    },
                );
            }
            Event::Level {
                instrument,
                side,
                price,
                qty,
                orders,
            } => {
                if self.open != Some(instrument) {
                    self.close_levels();
                    self.open = Some(instrument);
                }
                let book = &mut self.tracked_mut(instrument).book;
                let action = book.set(side, price, Level { qty, orders });
                self.push(
                    instrument,
                    IncrementKind::Level {
                        side,
                        price,
                        qty,
                        orders,
                        action,
                    },
                );
            }
            // What single orders, sessions and requests went through is for their owners; the
            // market sees it as levels and trades.
            Event::CatalogueSet { .. }
            | Event::OrderAccepted { .. }
            | Event::Rejected { .. }
            | Event::OrderCanceled { .. }
            | Event::OrderReduced { .. }
            | Event::OrderReplaced { .. }
            | Event::OrderTriggered { .. }
            | Event::OrderExpired { .. }
            | Event::AuctionCleared { .. }
            | Event::Indicative { .. }
            | Event::MassCanceled { .. }
            | Event::SessionStarted { .. }
            | Event::SessionFenced { .. }
            | Event::Contract(_)
            | Event::Account(_) => {}
        }
    }

    /// Ends the levels of one instrument with its checksum, when one is due.
    fn close_levels(&mut self) {
        let Some(instrument) = self.open.take() else {
            return;
        };
        let every = self.config.checksum_every;
        let tracked = self.tracked_mut(instrument);
        tracked.unchecked += 1;
        if every > 0 && tracked.unchecked >= every {
            tracked.unchecked = 0;
            let crc = checksum(&tracked.book);
            self.push(instrument, IncrementKind::Checksum { crc });
        }
    }

    fn complete(&mut self) {
        self.close_levels();
        let Some(&instrument) = self.touched.last() else {
            return;
        };
        while let Some(instrument) = self.touched.pop() {
            let newest = self.tracked_mut(instrument).newest;
            self.batch[newest].last_fragment = true;
        }
        self.channel_seq += 1;
        self.batch.push(Increment {
            channel_seq: self.channel_seq,
            epoch: self.epoch,
            seq: self.seq,
            time: self.time,
            instrument,
            rpt_seq: 0,
            last_fragment: true,
            kind: IncrementKind::EndOfEvent,
        });
    }

    fn push(&mut self, instrument: InstrumentId, kind: IncrementKind) {
        let newest = self.batch.len();
        let tracked = self.tracked_mut(instrument);
        tracked.newest = newest;
        tracked.rpt_seq = tracked.rpt_seq.wrapping_add(1);
        let rpt_seq = tracked.rpt_seq;
        // A command touches few instruments, except for a mass cancel or a mass quote; those touch
        // them in order, so looking at the newest first ends at once nearly always.
        if !self.touched.iter().rev().any(|&seen| seen == instrument) {
            self.touched.push(instrument);
        }
        self.channel_seq += 1;
        self.batch.push(Increment {
            channel_seq: self.channel_seq,
            epoch: self.epoch,
            seq: self.seq,
            time: self.time,
            instrument,
            rpt_seq,
            last_fragment: false,
            kind,
        });
    }

    fn snapshot(&self, request: u64, instrument: InstrumentId) -> Option<BookSnapshot> {
        let tracked = self.tracked(instrument)?;
        Some(BookSnapshot {
            request,
            instrument,
            epoch: self.epoch,
            last_seq_applied: self.channel_seq,
            rpt_seq: tracked.rpt_seq,
            seq: self.seq,
            time: self.time,
            phase: tracked.phase,
            bids: tracked.book.levels(Side::Buy).collect(),
            asks: tracked.book.levels(Side::Sell).collect(),
            last_trade: tracked.last_trade,
        })
    }

    fn tracked(&self, instrument: InstrumentId) -> Option<&Tracked> {
        self.tracked.get(index(instrument))?.as_ref()
    }

    /// The instrument's entry. The engine lists an instrument before it speaks of it, so making one
    /// here happens only to a builder that was started in mid-stream without its books.
    fn tracked_mut(&mut self, instrument: InstrumentId) -> &mut Tracked {
        self.slot(instrument).get_or_insert_with(Tracked::new)
    }

    fn slot(&mut self, instrument: InstrumentId) -> &mut Option<Tracked> {
        let index = index(instrument);
        if self.tracked.len() <= index {
            self.tracked.resize_with(index + 1, || None);
        }
        &mut self.tracked[index]
    }
}

impl Tracked {
    const fn new() -> Self {
        Self {
            book: L2Book::new(),
            phase: Phase::Continuous,
            last_trade: None,
            rpt_seq: 0,
            unchecked: 0,
            newest: 0,
        }
    }
}

const fn index(instrument: InstrumentId) -> usize {
    instrument.get() as usize
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use tessera_types::{Aggressor, Event, PhaseCause, Price, Qty, Requester};

    use super::*;
    use crate::testing::{Feed, commands, records};

    fn listed(id: u32) -> Event {
        Event::InstrumentListed {
            instrument: InstrumentId::new(id),
            by: Requester::default(),
        }
    }

    fn level(id: u32, side: Side, price: i64, qty: u64) -> Event {
        Event::Level {
            instrument: InstrumentId::new(id),
            side,
            price: Price::from_ticks(price),
            qty: Qty::from_lots(qty),
            orders: u32::from(qty > 0),
        }
    }

    fn trade(id: u32, price: i64, qty: u64) -> Event {
        let party = tessera_types::Party {
            session: tessera_types::SessionId::VENUE,
            account: tessera_types::AccountId::new(1),
            cl_ord_id: tessera_types::ClOrdId::new(1),
            order_id: tessera_types::OrderId::new(1),
            server_seq: tessera_types::ServerSeq::new(0),
        };
        Event::Trade {
            instrument: InstrumentId::new(id),
            aggressor: Aggressor::Sell,
            maker_side: Side::Buy,
            price: Price::from_ticks(price),
            qty: Qty::from_lots(qty),
            maker: party,
            taker: party,
            maker_leaves: Qty::ZERO,
            taker_leaves: Qty::ZERO,
            maker_cum: Qty::ZERO,
            taker_cum: Qty::ZERO,
        }
    }

    /// Prints the increments of each command.
    fn check(commands: &[Vec<Event>], expect: &Expect) {
        let mut builder = Builder::new(5, BuilderConfig::default());
        let mut out = String::new();
        for (at, events) in commands.iter().enumerate() {
            for record in records(at, events) {
                for i in builder.on_record(&record) {
                    let last = if i.last_fragment { "last" } else { "" };
                    writeln!(
                        out,
                        "{} | {:>2} rpt {} of {} {last:<4} {:?}",
                        i.seq, i.channel_seq, i.rpt_seq, i.instrument, i.kind
                    )
                    .unwrap();
                }
            }
        }
        expect.assert_eq(&out);
    }

    #[test]
    fn a_command_becomes_trades_levels_checksums_and_an_end() {
        check(
            &[
                vec![listed(0), listed(1)],
                vec![level(0, Side::Buy, 99, 5)],
                vec![
                    trade(0, 99, 2),
                    level(0, Side::Buy, 99, 3),
                    level(1, Side::Sell, 7, 1),
                ],
                vec![Event::PhaseChanged {
                    by: Requester::default(),
                    instrument: InstrumentId::new(1),
                    phase: Phase::Halt,
                    cause: PhaseCause::Request,
                    until: None,
                }],
                vec![Event::CatalogueSet {
                    by: Requester::default(),
                    version: 1,
                }],
                vec![level(0, Side::Buy, 99, 0)],
            ],
            &expect![[r#"
                1 |  1 rpt 1 of 0 last Listed
                1 |  2 rpt 1 of 1 last Listed
                1 |  3 rpt 0 of 1 last EndOfEvent
                2 |  4 rpt 2 of 0      Level { side: Buy, price: Price(99), qty: Qty(5), orders: 1, action: New }
                2 |  5 rpt 3 of 0 last Checksum { crc: 126261861 }
                2 |  6 rpt 0 of 0 last EndOfEvent
                3 |  7 rpt 4 of 0      Trade { price: Price(99), qty: Qty(2), aggressor: Sell, match_id: ExecId(50331648) }
                3 |  8 rpt 5 of 0      Level { side: Buy, price: Price(99), qty: Qty(3), orders: 1, action: Change }
                3 |  9 rpt 6 of 0 last Checksum { crc: 2694996677 }
                3 | 10 rpt 2 of 1      Level { side: Sell, price: Price(7), qty: Qty(1), orders: 1, action: New }
                3 | 11 rpt 3 of 1 last Checksum { crc: 1468380019 }
                3 | 12 rpt 0 of 1 last EndOfEvent
                4 | 13 rpt 4 of 1 last Status { phase: Halt }
                4 | 14 rpt 0 of 1 last EndOfEvent
                6 | 15 rpt 7 of 0      Level { side: Buy, price: Price(99), qty: Qty(0), orders: 0, action: Delete }
                6 | 16 rpt 8 of 0 last Checksum { crc: 4049696722 }
                6 | 17 rpt 0 of 0 last EndOfEvent
            "#]],
        );
    }

    #[test]
    fn a_snapshot_waits_for_the_end_of_the_command() {
        let mut builder = Builder::new(1, BuilderConfig::default());
        let request = |request, instrument| SnapshotRequest {
            shard: 3,
            request,
            instrument: InstrumentId::new(instrument),
        };
        builder.on_request(request(1, 0));
        builder.on_request(request(2, 9));
        let [first, second] = &records(0, &[listed(0), level(0, Side::Buy, 99, 5)])[..] else {
            panic!("two records");
        };
        assert_eq!(builder.on_record(first), []);
        assert_eq!(
            builder.poll_answer(),
            None,
            "half of the command is missing"
        );
        assert_eq!(builder.on_record(second).len(), 4);
        let Some((3, FeedItem::Snapshot(snapshot))) = builder.poll_answer() else {
            panic!("no snapshot");
        };
        assert_eq!((snapshot.last_seq_applied, snapshot.rpt_seq), (4, 3));
        assert_eq!(
            builder.poll_answer(),
            Some((
                3,
                FeedItem::Refused {
                    request: request(2, 9),
                    reason: RejectReason::UnknownInstrument
                }
            ))
        );
        assert_eq!(builder.poll_answer(), None);
    }

    #[test]
    fn checksums_come_as_often_as_configured() {
        for (every, expected) in [(0, 0), (1, 6), (2, 3), (4, 1)] {
            let mut builder = Builder::new(
                1,
                BuilderConfig {
                    checksum_every: every,
                },
            );
            let mut count = 0;
            for at in 0..6 {
                for record in records(at, &[level(0, Side::Buy, 99, 1 + at as u64)]) {
                    count += builder
                        .on_record(&record)
                        .iter()
                        .filter(|i| matches!(i.kind, IncrementKind::Checksum { .. }))
                        .count();
                }
            }
            assert_eq!(count, expected, "every {every}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Numbers have no holes, fragments end where they say, and the builder's books are those of
        /// the plain model.
        #[test]
        fn numbers_are_contiguous_and_books_agree(commands in commands(40)) {
            let feed = Feed::run(&commands, 1);
            let all: Vec<_> = feed.increments.iter().flatten().collect();
            let mut rpt = [0u32; 3];
            for (at, increment) in all.iter().enumerate() {
                prop_assert_eq!(increment.channel_seq, at as u64 + 1);
                if increment.kind == IncrementKind::EndOfEvent {
                    prop_assert_eq!(increment.rpt_seq, 0);
                    continue;
                }
                let rpt = &mut rpt[increment.instrument.get() as usize];
                *rpt += 1;
                prop_assert_eq!(increment.rpt_seq, *rpt);
                let more = all[at + 1..].iter().any(|later| {
                    later.seq == increment.seq
                        && later.instrument == increment.instrument
                        && later.kind != IncrementKind::EndOfEvent
                });
                prop_assert_eq!(increment.last_fragment, !more);
            }
            prop_assert_eq!(feed.next_channel_seq, all.len() as u64 + 1);
            for at in 0..=commands.len() {
                for id in 0..3 {
                    let id = InstrumentId::new(id);
                    if let Some(snapshot) = feed.snapshot(at, id) {
                        prop_assert_eq!(&snapshot.book(), feed.book(at, id));
                    }
                }
            }
        }

        /// A builder restored in the middle goes on with the same books, skips what they contain, and
        /// numbers anew.
        #[test]
        fn a_restored_builder_continues(commands in commands(40), cut in any::<prop::sample::Index>()) {
            let cut = 1 + cut.index(commands.len());
            let feed = Feed::run(&commands, 1);
            let states: Vec<_> = (0..3)
                .filter_map(|id| feed.snapshot(cut, InstrumentId::new(id)))
                .map(|snapshot| InstrumentState {
                    instrument: snapshot.instrument,
                    phase: snapshot.phase,
                    bids: snapshot.bids.clone(),
                    asks: snapshot.asks.clone(),
                    last_trade: snapshot.last_trade,
                })
                .collect();
            let mut builder = Builder::new(1, BuilderConfig::default());
            // Half a command and a waiting question: the first is forgotten, the second is not.
            builder.on_record(&records(0, &commands[0])[0]);
            builder.on_request(SnapshotRequest { shard: 0, request: 1, instrument: InstrumentId::new(0) });
            builder.restore(2, Seq::new(cut as u64), Timestamp::ZERO, states);
            prop_assert!(matches!(builder.poll_answer(), Some((0, FeedItem::Snapshot(_)))));
            for (at, events) in commands.iter().enumerate() {
                let mut kinds = Vec::new();
                for record in records(at, events) {
                    kinds.extend(builder.on_record(&record).iter().map(|i| (i.epoch, i.kind)));
                }
                let expected: Vec<_> = if at < cut {
                    Vec::new()
                } else {
                    feed.increments[at].iter().map(|i| (2, i.kind)).collect()
                };
                prop_assert_eq!(kinds, expected);
            }
            for id in (0..3).map(InstrumentId::new) {
                prop_assert_eq!(builder.book(id), Some(feed.book(commands.len(), id)));
            }
        }
    }
}
