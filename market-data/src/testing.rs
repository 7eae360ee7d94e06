//! Random event streams, and the books after each of their commands, kept the plain way.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tessera_types::{
    AccountId, Aggressor, ClOrdId, Event, EventRecord, InstrumentId, OrderId, Party, Phase,
    PhaseCause, Price, Qty, Requester, Seq, ServerSeq, SessionId, Side, Timestamp,
};

use crate::book::{L2Book, Level};
use crate::builder::{Builder, BuilderConfig};
use crate::increment::{FeedItem, Increment};
use crate::snapshot::{BookSnapshot, SnapshotRequest};

/// The events of one command, in the order the engine gives them.
pub(crate) type Events = Vec<Event>;

/// How many instruments the streams speak of.
const INSTRUMENTS: u32 = 3;

/// Up to `max` commands; the first lists all instruments.
///
/// Prices cover ten ticks, so that the checksum covers the whole book.
pub(crate) fn commands(max: usize) -> impl Strategy<Value = Vec<Events>> {
    let listing = (0..INSTRUMENTS).map(listed).collect::<Events>();
    prop::collection::vec(command(), 1..max)
        .prop_map(move |commands| std::iter::once(listing.clone()).chain(commands).collect())
}

fn command() -> impl Strategy<Value = Events> {
    let level = (0..INSTRUMENTS, prop::bool::ANY, 100i64..110, 0u64..6);
    let trades = prop::collection::vec((0..INSTRUMENTS, 100i64..110, 1u64..5), 0..3);
    let levels = prop::collection::vec(level, 0..5);
    prop_oneof![
        8 => (trades, levels).prop_map(|(trades, levels)| {
            let mut events = vec![quiet()];
            events.extend(trades.into_iter().map(|(id, price, qty)| trade(id, price, qty)));
            let levels: BTreeMap<_, _> = levels
                .into_iter()
                .map(|(id, sell, price, qty)| ((id, sell, price), qty))
                .collect();
            events.extend(levels.into_iter().map(|((id, sell, price), qty)| Event::Level {
                instrument: InstrumentId::new(id),
                side: if sell { Side::Sell } else { Side::Buy },
                price: Price::from_ticks(price),
                qty: Qty::from_lots(qty * 3),
                orders: u32::try_from(qty).unwrap(),
            }));
            events
        }),
        1 => (0..INSTRUMENTS, 0u8..4).prop_map(|(id, phase)| vec![Event::PhaseChanged {
            by: Requester::default(),
            instrument: InstrumentId::new(id),
            phase: Phase::try_from(phase).unwrap(),
            cause: PhaseCause::Request,
            until: None,
        }]),
        1 => Just(vec![quiet()]),
    ]
}

fn listed(id: u32) -> Event {
    Event::InstrumentListed {
        instrument: InstrumentId::new(id),
        by: Requester::default(),
    }
}

/// An event that the market does not see.
fn quiet() -> Event {
    Event::CatalogueSet {
        by: Requester::default(),
        version: 1,
    }
}

fn trade(id: u32, price: i64, qty: u64) -> Event {
    let party = Party {
        session: SessionId::VENUE,
        account: AccountId::new(1),
        cl_ord_id: ClOrdId::new(1),
        order_id: OrderId::new(1),
        server_seq: ServerSeq::new(0),
    };
    Event::Trade {
        instrument: InstrumentId::new(id),
        aggressor: Aggressor::Buy,
        maker_side: Side::Sell,
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

/// The records of command number `at` (its seq is `at + 1`).
pub(crate) fn records(at: usize, events: &[Event]) -> Vec<EventRecord> {
    let seq = u64::try_from(at).unwrap() + 1;
    events
        .iter()
        .enumerate()
        .map(|(index, &event)| EventRecord {
            seq: Seq::new(seq),
            time: Timestamp::from_nanos(seq * 1_000),
            received: Timestamp::ZERO,
            index: u32::try_from(index).unwrap(),
            last: index + 1 == events.len(),
            event,
        })
        .collect()
}

/// What a builder made of a stream, beside the books that it should have had.
pub(crate) struct Feed {
    /// Per command.
    pub(crate) increments: Vec<Vec<Increment>>,
    /// The builder's number after the last command.
    pub(crate) next_channel_seq: u64,
    /// Before the first command and after each.
    books: Vec<[L2Book; INSTRUMENTS as usize]>,
    phases: Vec<[Option<Phase>; INSTRUMENTS as usize]>,
    snapshots: Vec<Vec<Arc<BookSnapshot>>>,
}

impl Feed {
    /// Runs a builder over the commands and asks for all snapshots before and after each.
    pub(crate) fn run(commands: &[Events], checksum_every: u32) -> Self {
        let mut builder = Builder::new(1, BuilderConfig { checksum_every });
        let mut feed = Self {
            increments: Vec::new(),
            next_channel_seq: 1,
            books: vec![Default::default()],
            phases: vec![Default::default()],
            snapshots: vec![snapshots(&mut builder)],
        };
        for (at, events) in commands.iter().enumerate() {
            let mut books = feed.books[at].clone();
            let mut phases = feed.phases[at];
            for event in events {
                match *event {
                    Event::InstrumentListed { instrument, .. } => {
                        phases[instrument.get() as usize] = Some(Phase::Continuous);
                    }
                    Event::PhaseChanged {
                        instrument, phase, ..
                    } => phases[instrument.get() as usize] = Some(phase),
                    Event::Level {
                        instrument,
                        side,
                        price,
                        qty,
                        orders,
                    } => {
                        books[instrument.get() as usize].set(side, price, Level { qty, orders });
                    }
                    _ => {}
                }
            }
            let mut increments = Vec::new();
            for record in records(at, events) {
                assert!(increments.is_empty(), "increments before the last record");
                increments.extend_from_slice(builder.on_record(&record));
            }
            feed.increments.push(increments);
            feed.books.push(books);
            feed.phases.push(phases);
            feed.snapshots.push(snapshots(&mut builder));
        }
        feed.next_channel_seq = builder.next_channel_seq();
        feed
    }

    /// The book before command number `at`.
    pub(crate) fn book(&self, at: usize, instrument: InstrumentId) -> &L2Book {
        &self.books[at][instrument.get() as usize]
    }

    /// The book after the command with this sequence.
    pub(crate) fn book_at_seq(&self, seq: Seq, instrument: InstrumentId) -> &L2Book {
        self.book(usize::try_from(seq.get()).unwrap(), instrument)
    }

    /// The phase before command number `at`.
    pub(crate) fn phase(&self, at: usize, instrument: InstrumentId) -> Option<Phase> {
        self.phases[at][instrument.get() as usize]
    }

    /// The snapshot before command number `at`; none while the instrument was not listed.
    pub(crate) fn snapshot(
        &self,
        at: usize,
        instrument: InstrumentId,
    ) -> Option<Arc<BookSnapshot>> {
        self.snapshots[at]
            .iter()
            .find(|snapshot| snapshot.instrument == instrument)
            .cloned()
    }
}

fn snapshots(builder: &mut Builder) -> Vec<Arc<BookSnapshot>> {
    for id in 0..INSTRUMENTS {
        builder.on_request(SnapshotRequest {
            shard: 0,
            request: u64::from(id),
            instrument: InstrumentId::new(id),
        });
    }
    std::iter::from_fn(|| builder.poll_answer())
        .filter_map(|(_, item)| match item {
            FeedItem::Snapshot(snapshot) => Some(snapshot),
            FeedItem::Refused { .. } => None,
            FeedItem::Increment(_) => unreachable!("answers are no increments"),
        })
        .collect()
}
