//! What is measured: the engine as `serve` drives it, and the interface that others share with it.

use tessera_engine::{EngineConfig, Exchange};
use tessera_types::{Event, EventSink, InstrumentId, Price, Qty, Sequenced, Side};

use crate::flows::Workload;

/// Books that take commands.
pub trait Subject {
    /// Does `commands[place]`. What comes after it may be looked at, as in a ring, for hints to the
    /// memory system only.
    fn step(&mut self, commands: &[Sequenced], place: usize);

    /// What has traded since the start.
    fn outcome(&self) -> Outcome;
}

/// What has traded. A measurement counts only when all agree on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many trades.
    pub trades: u64,
    /// Their quantities together.
    pub lots: u64,
}

/// The engine with the ring that its events go to.
#[derive(Debug)]
pub struct Engine {
    exchange: Exchange,
    ring: Ring,
}

impl Engine {
    /// An engine that has listed the workload's books.
    #[must_use]
    pub fn new(workload: &Workload) -> Self {
        let mut exchange = Exchange::new(EngineConfig {
            index_seed: 7,
            expected_orders: workload.fill.len() + 1_000,
            ..EngineConfig::default()
        });
        let mut ring = Ring::new();
        for listing in &workload.listings {
            exchange.apply(listing, &mut ring);
        }
        Self { exchange, ring }
    }

    /// The engine.
    #[must_use]
    pub const fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// How many events there were.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.ring.next
    }
}

impl Subject for Engine {
    #[inline]
    fn step(&mut self, commands: &[Sequenced], place: usize) {
        self.exchange
            .look_ahead(|distance| Some(&commands.get(place + distance)?.command));
        self.exchange.apply(&commands[place], &mut self.ring);
    }

    fn outcome(&self) -> Outcome {
        self.ring.outcome
    }
}

/// Takes the events as an outgoing ring does: each is written once, into the next slot.
#[derive(Debug)]
struct Ring {
    slots: Box<[Event; Self::CAPACITY]>,
    /// Events so far; the next one goes into this slot, wrapped.
    next: u64,
    outcome: Outcome,
}

impl Ring {
    const CAPACITY: usize = 4096;

    fn new() -> Self {
        let nothing = Event::Level {
            instrument: InstrumentId::new(0),
            side: Side::Buy,
            price: Price::ZERO,
            qty: Qty::ZERO,
            orders: 0,
        };
        let slots = vec![nothing; Self::CAPACITY].into_boxed_slice();
        Self {
            slots: slots.try_into().expect("as many slots as were asked for"),
            next: 0,
            outcome: Outcome::default(),
        }
    }
}

impl EventSink for Ring {
    #[inline]
    fn emit(&mut self, event: Event) {
        if let Event::Trade { qty, .. } = event {
            self.outcome.trades += 1;
            self.outcome.lots += qty.lots();
        }
        #[expect(clippy::cast_possible_truncation, reason = "wrapped to the slots")]
        let slot = self.next as usize % Self::CAPACITY;
        self.slots[slot] = event;
        self.next += 1;
    }
}
