//! How many commands a second does the engine apply, beside a plain book on the same commands?
//!
//! ```text
//! cargo run --release -p tessera-engine --example throughput -- [COMMANDS] [FLOW]
//! ```
//!
//! Three flows, one thread, commands made beforehand. W1: one book, about 1,000 resting orders,
//! mostly moves near the touch. W2: one book with 1,000,000 resting orders. W3: 1,000 books with
//! 1,000 resting orders each. The engine validates, keeps its hashes and writes every event into a
//! ring; the plain book (`BTreeMap` of levels, slab of orders, hash map of ids) only matches. A
//! figure counts only when both traded the same quantity in the same number of trades.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a measurement takes the time, and its numbers are small"
)]

use std::collections::BTreeMap;
use std::time::Instant;

use hashbrown::HashMap;
use tessera_engine::{EngineConfig, Exchange, PrefetchStep};
use tessera_types::{
    AccountId, Cancel, ClOrdId, ClientHeader, Command, Event, EventSink, Instrument, InstrumentId,
    ListInstrument, Name, NewOrder, OrderTarget, Price, Qty, Replace, Seq, Sequenced, SessionId,
    Side, TimeInForce, Timestamp,
};

fn main() {
    let commands = std::env::args()
        .nth(1)
        .map_or(2_000_000, |text| text.parse().unwrap());
    let only = std::env::args().nth(2);
    println!("flow  books resting  commands      trades  engine M/s  plain M/s  ratio  p99.9 ns");
    for (name, books, resting) in [("W1", 1, 1_000), ("W2", 1, 1_000_000), ("W3", 1_000, 1_000)] {
        if only.as_deref().is_none_or(|only| only == name) {
            measure(name, books, resting, commands);
        }
    }
}

fn measure(name: &str, books: u32, resting: usize, count: usize) {
    let mut flow = Flow::new(books);
    let fill = flow.fill(resting);
    let commands = flow.commands(count);
    let (mut best_engine, mut best_plain) = (f64::MAX, f64::MAX);
    let mut tail = 0;
    // Where everything is in the caches, hints only cost.
    let ahead = resting * books as usize > 50_000;
    let mut outcome = Outcome::default();
    for round in 0..3 {
        let mut exchange = Exchange::new(EngineConfig {
            index_seed: 7,
            expected_orders: resting * books as usize + 1000,
        });
        let mut ring = Ring::new();
        for number in 0..books {
            let name = Name::new(&format!("I{number}")).unwrap();
            let listing = ListInstrument {
                header: ClientHeader::default(),
                instrument: Instrument::plain(name),
            };
            exchange.apply(
                &at(0, Command::ListInstrument(Box::new(listing))),
                &mut ring,
            );
        }
        for command in &fill {
            exchange.apply(command, &mut ring);
        }
        ring.outcome = Outcome::default();
        let start = Instant::now();
        if round < 2 {
            for (place, command) in commands.iter().enumerate() {
                if ahead {
                    for (distance, step) in [
                        (12, PrefetchStep::Index),
                        (8, PrefetchStep::Order),
                        (4, PrefetchStep::Level),
                    ] {
                        if let Some(coming) = commands.get(place + distance) {
                            exchange.prefetch_step(&coming.command, step);
                        }
                    }
                }
                exchange.apply(command, &mut ring);
            }
            best_engine = best_engine.min(start.elapsed().as_secs_f64());
        } else {
            let mut times: Vec<u32> = Vec::with_capacity(commands.len());
            for command in &commands {
                let start = Instant::now();
                exchange.apply(command, &mut ring);
                times.push(start.elapsed().as_nanos() as u32);
            }
            times.sort_unstable();
            tail = times[times.len() - times.len() / 1000 - 1];
        }
        outcome = ring.outcome;

        let mut plain = Plain::new(books);
        for command in &fill {
            plain.apply(&command.command);
        }
        plain.outcome = Outcome::default();
        let start = Instant::now();
        for command in &commands {
            plain.apply(&command.command);
        }
        best_plain = best_plain.min(start.elapsed().as_secs_f64());
        assert_eq!(plain.outcome, outcome, "the two books disagree");
    }
    let rate = |seconds: f64| count as f64 / seconds / 1e6;
    println!(
        "{name:4} {books:6} {resting:7} {count:9} {:11}  {:10.1} {:10.1} {:6.2} {tail:9}",
        outcome.trades,
        rate(best_engine),
        rate(best_plain),
        best_plain / best_engine,
    );
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Outcome {
    trades: u64,
    lots: u64,
}

/// Takes the events as an outgoing ring does: each is written once, into the next slot.
struct Ring {
    slots: Vec<Option<Event>>,
    next: usize,
    outcome: Outcome,
}

impl Ring {
    fn new() -> Self {
        Self {
            slots: vec![None; 4096],
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
        self.slots[self.next & 4095] = Some(event);
        self.next += 1;
    }
}

fn at(seq: u64, command: Command) -> Sequenced {
    Sequenced {
        seq: Seq::new(seq),
        time: Timestamp::from_nanos(seq),
        command,
    }
}

/// The commands, from a fixed seed (xorshift64*).
struct Flow {
    dice: u64,
    next_id: u64,
    books: u32,
    /// (id, book, side) of orders that rest, unless they traded since.
    live: Vec<(u64, u32, Side)>,
    mids: Vec<i64>,
    resting: usize,
}

impl Flow {
    fn new(books: u32) -> Self {
        let mids = vec![33_504; books as usize];
        Self {
            dice: 88_172_645_463_325_252,
            next_id: 0,
            books,
            live: Vec::new(),
            mids,
            resting: 0,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.dice ^= self.dice >> 12;
        self.dice ^= self.dice << 25;
        self.dice ^= self.dice >> 27;
        ((self.dice.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) * bound) >> 32
    }

    /// A passive price: near the touch mostly, deeper when many orders rest.
    fn price(&mut self, book: u32, side: Side) -> Price {
        let deep = if self.resting > 100_000 { 5_000 } else { 40 };
        let near = self.below(8);
        let distance = if self.below(4) == 0 {
            self.below(deep)
        } else {
            near
        };
        let distance = 1 + distance.cast_signed();
        let mid = self.mids[book as usize];
        Price::from_ticks(if side == Side::Buy {
            mid - distance
        } else {
            mid + distance
        })
    }

    fn header(&mut self, id: u64) -> ClientHeader {
        ClientHeader {
            session: SessionId::VENUE,
            account: AccountId::new(1 + (id % 50) as u32),
            cl_ord_id: ClOrdId::new(id),
            ..ClientHeader::default()
        }
    }

    fn new_order(&mut self) -> Command {
        self.next_id += 1;
        let book = self.below(u64::from(self.books)) as u32;
        let side = if self.below(2) == 0 {
            Side::Buy
        } else {
            Side::Sell
        };
        let header = self.header(self.next_id);
        let price = self.price(book, side);
        let qty = Qty::from_lots(1 + self.below(100));
        self.live.push((self.next_id, book, side));
        Command::NewOrder(NewOrder::limit(
            header,
            InstrumentId::new(book),
            side,
            price,
            qty,
        ))
    }

    fn fill(&mut self, resting: usize) -> Vec<Sequenced> {
        self.resting = resting;
        (0..resting * self.books as usize)
            .map(|_| at(1, self.new_order()))
            .collect()
    }

    fn commands(&mut self, count: usize) -> Vec<Sequenced> {
        (0..count as u64)
            .map(|seq| at(seq + 2, self.command()))
            .collect()
    }

    fn command(&mut self) -> Command {
        let roll = self.below(100);
        if roll < 20 || self.live.len() < 10 {
            return self.new_order();
        }
        let pick = self.below(self.live.len() as u64) as usize;
        let (id, book, side) = self.live[pick];
        let header = ClientHeader {
            account: AccountId::new(0),
            ..self.header(id)
        };
        let target = OrderTarget::Client(ClOrdId::new(id));
        if roll < 40 {
            self.live.swap_remove(pick);
            return Command::Cancel(Cancel { header, target });
        }
        if roll < 92 {
            return Command::Replace(Replace {
                header,
                target,
                price: Some(self.price(book, side)),
                qty: None,
                stop: None,
                new_id: None,
            });
        }
        if self.below(50) == 0 {
            let step = self.below(3).cast_signed() - 1;
            self.mids[book as usize] += step;
        }
        self.next_id += 1;
        let taker = if self.below(2) == 0 {
            Side::Buy
        } else {
            Side::Sell
        };
        let mid = self.mids[book as usize];
        let reach = if taker == Side::Buy { mid + 3 } else { mid - 3 };
        let header = self.header(self.next_id);
        let qty = Qty::from_lots(1 + self.below(60));
        let price = Price::from_ticks(reach);
        let mut order = NewOrder::limit(header, InstrumentId::new(book), taker, price, qty);
        order.time_in_force = TimeInForce::Ioc;
        Command::NewOrder(order)
    }
}

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct PlainOrder {
    id: u64,
    price: i64,
    leaves: u64,
    book: u32,
    side: Side,
    next: u32,
    prev: u32,
}

#[derive(Default)]
struct PlainLevel {
    head: Option<u32>,
    tail: u32,
    qty: u64,
}

/// What one writes first: sorted maps of levels, a slab of linked orders, a hash map of ids.
struct Plain {
    books: Vec<[BTreeMap<i64, PlainLevel>; 2]>,
    orders: Vec<PlainOrder>,
    free: Vec<u32>,
    ids: HashMap<u64, u32, foldhash::fast::FixedState>,
    outcome: Outcome,
}

impl Plain {
    fn new(books: u32) -> Self {
        Self {
            books: (0..books)
                .map(|_| [BTreeMap::new(), BTreeMap::new()])
                .collect(),
            orders: Vec::new(),
            free: Vec::new(),
            ids: HashMap::with_hasher(foldhash::fast::FixedState::default()),
            outcome: Outcome::default(),
        }
    }

    fn apply(&mut self, command: &Command) {
        match command {
            Command::NewOrder(new) => {
                let mut order = PlainOrder {
                    id: new.header.cl_ord_id.get(),
                    price: new.price.ticks(),
                    leaves: new.qty.lots(),
                    book: new.instrument.get(),
                    side: new.side,
                    next: NONE,
                    prev: NONE,
                };
                self.trade(&mut order);
                if order.leaves > 0 && new.time_in_force == TimeInForce::Gtc {
                    self.rest(order);
                }
            }
            Command::Cancel(cancel) => {
                if let OrderTarget::Client(id) = cancel.target
                    && let Some(slot) = self.ids.remove(&id.get())
                {
                    self.unlink(slot);
                    self.free.push(slot);
                }
            }
            Command::Replace(replace) => {
                if let OrderTarget::Client(id) = replace.target
                    && let Some(&slot) = self.ids.get(&id.get())
                    && let Some(price) = replace.price.map(Price::ticks)
                    && self.orders[slot as usize].price != price
                {
                    self.unlink(slot);
                    self.free.push(slot);
                    self.ids.remove(&id.get());
                    let mut order = PlainOrder {
                        price,
                        ..self.orders[slot as usize]
                    };
                    self.trade(&mut order);
                    if order.leaves > 0 {
                        self.rest(order);
                    }
                }
            }
            _ => {}
        }
    }

    fn trade(&mut self, order: &mut PlainOrder) {
        while order.leaves > 0 {
            let opposite = &self.books[order.book as usize][1 - order.side as usize];
            let best = match order.side {
                Side::Buy => opposite.first_key_value(),
                Side::Sell => opposite.last_key_value(),
            };
            let Some((&price, level)) = best else { return };
            let crosses = match order.side {
                Side::Buy => price <= order.price,
                Side::Sell => price >= order.price,
            };
            if !crosses {
                return;
            }
            let slot = level.head.unwrap();
            let maker = &mut self.orders[slot as usize];
            let qty = maker.leaves.min(order.leaves);
            order.leaves -= qty;
            self.outcome.trades += 1;
            self.outcome.lots += qty;
            if maker.leaves == qty {
                let id = maker.id;
                self.unlink(slot);
                self.ids.remove(&id);
                self.free.push(slot);
            } else {
                maker.leaves -= qty;
                let opposite = &mut self.books[order.book as usize][1 - order.side as usize];
                opposite.get_mut(&price).unwrap().qty -= qty;
            }
        }
    }

    fn rest(&mut self, order: PlainOrder) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.orders.push(order);
            self.orders.len() as u32 - 1
        });
        let side = &mut self.books[order.book as usize][order.side as usize];
        let level = side.entry(order.price).or_default();
        level.qty += order.leaves;
        let prev = if level.head.is_some() {
            level.tail
        } else {
            NONE
        };
        if prev == NONE {
            level.head = Some(slot);
        } else {
            self.orders[prev as usize].next = slot;
        }
        level.tail = slot;
        self.orders[slot as usize] = PlainOrder {
            prev,
            next: NONE,
            ..order
        };
        self.ids.insert(order.id, slot);
    }

    fn unlink(&mut self, slot: u32) {
        let order = self.orders[slot as usize];
        let side = &mut self.books[order.book as usize][order.side as usize];
        let level = side.get_mut(&order.price).unwrap();
        level.qty -= order.leaves;
        if order.prev == NONE {
            level.head = (order.next != NONE).then_some(order.next);
        } else {
            self.orders[order.prev as usize].next = order.next;
        }
        if order.next == NONE {
            level.tail = order.prev;
        } else {
            self.orders[order.next as usize].prev = order.prev;
        }
        if level.head.is_none() {
            side.remove(&order.price);
        }
    }
}
