//! The plain book beside ours: what one writes first.
//!
//! Sorted maps of levels, a slab of linked orders, a hash map of ids. It does what the flows ask for
//! and nothing else: no checks of price or quantity, no sessions, no accounts, no hashes, no events;
//! trades are counted.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use hashbrown::HashMap;
use tessera_types::{
    Command, OrderTarget, Phase, Price, Qty, Replace, Sequenced, Side, TimeInForce,
};

use crate::subject::{Outcome, Subject};

/// Plain books, by the way their ids are hashed.
#[derive(Debug)]
pub struct Baseline<H> {
    books: Vec<Book>,
    orders: Vec<Order>,
    free: Vec<u32>,
    ids: HashMap<u64, u32, H>,
    outcome: Outcome,
}

#[derive(Debug, Default)]
struct Book {
    sides: [BTreeMap<i64, Level>; 2],
    /// Orders collect and do not match.
    collects: bool,
}

#[derive(Debug)]
struct Level {
    head: u32,
    tail: u32,
    qty: u64,
}

#[derive(Clone, Copy, Debug)]
struct Order {
    id: u64,
    price: i64,
    leaves: u64,
    filled: u64,
    book: u32,
    side: Side,
    next: u32,
    prev: u32,
}

const NONE: u32 = u32::MAX;

impl Baseline<foldhash::fast::FixedState> {
    /// With a fast hash of ids: the baseline of every ratio.
    #[must_use]
    pub fn plain(books: u32) -> Self {
        Self::with_hasher(books, foldhash::fast::FixedState::default())
    }
}

impl Baseline<RandomState> {
    /// With the standard library's hash of ids.
    #[must_use]
    pub fn std_hash(books: u32) -> Self {
        Self::with_hasher(books, RandomState::new())
    }
}

impl<H: BuildHasher> Subject for Baseline<H> {
    #[inline]
    fn step(&mut self, commands: &[Sequenced], place: usize) {
        self.on_command(&commands[place].command);
    }

    fn outcome(&self) -> Outcome {
        self.outcome
    }
}

impl<H: BuildHasher> Baseline<H> {
    fn with_hasher(books: u32, hasher: H) -> Self {
        Self {
            books: (0..books).map(|_| Book::default()).collect(),
            orders: Vec::new(),
            free: Vec::new(),
            ids: HashMap::with_hasher(hasher),
            outcome: Outcome::default(),
        }
    }

    /// Does one command; those that the flows do not use are passed over.
    #[inline]
    pub fn on_command(&mut self, command: &Command) {
        match command {
            Command::NewOrder(new) => {
                let mut order = Order {
                    id: new.header.cl_ord_id.get(),
                    price: new.price.ticks(),
                    leaves: new.qty.lots(),
                    filled: 0,
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
                    && let Some(&slot) = self.ids.get(&id.get())
                {
                    self.remove(slot);
                }
            }
            Command::Replace(replace) => self.replace(replace),
            Command::SetPhase(set) => {
                let number = set.instrument.get();
                let book = &mut self.books[number as usize];
                let collected = book.collects;
                book.collects = set.phase == Phase::Auction;
                if collected && set.phase == Phase::Continuous {
                    self.uncross(number);
                }
            }
            _ => {}
        }
    }

    /// Orders that rest.
    #[must_use]
    pub fn resting(&self) -> usize {
        self.ids.len()
    }

    /// Whether the order with this client id rests.
    #[must_use]
    pub fn rests(&self, id: u64) -> bool {
        self.ids.contains_key(&id)
    }

    /// Prices at which orders rest, over all books and both sides.
    #[must_use]
    pub fn levels(&self) -> usize {
        let sides = self.books.iter().flat_map(|book| &book.sides);
        sides.map(BTreeMap::len).sum()
    }

    fn replace(&mut self, replace: &Replace) {
        let OrderTarget::Client(id) = replace.target else {
            return;
        };
        let Some(&slot) = self.ids.get(&id.get()) else {
            return;
        };
        let mut order = self.orders[slot as usize];
        let price = replace.price.map_or(order.price, Price::ticks);
        let total = replace.qty.map_or(order.leaves + order.filled, Qty::lots);
        let leaves = total.saturating_sub(order.filled);
        if leaves == 0 {
            self.remove(slot);
        } else if price == order.price && leaves <= order.leaves {
            // It got smaller and keeps its place.
            self.orders[slot as usize].leaves = leaves;
            self.level(order).qty -= order.leaves - leaves;
        } else {
            self.remove(slot);
            (order.price, order.leaves) = (price, leaves);
            self.trade(&mut order);
            if order.leaves > 0 {
                self.rest(order);
            }
        }
    }

    fn trade(&mut self, order: &mut Order) {
        if self.books[order.book as usize].collects {
            return;
        }
        while order.leaves > 0 {
            let Some((price, head)) = self.best(order.book, order.side.opposite()) else {
                return;
            };
            let crosses = match order.side {
                Side::Buy => price <= order.price,
                Side::Sell => price >= order.price,
            };
            if !crosses {
                return;
            }
            let qty = self.orders[head as usize].leaves.min(order.leaves);
            order.leaves -= qty;
            order.filled += qty;
            self.count(qty);
            self.fill(head, qty);
        }
    }

    /// Trades everything that crosses. The volume is that of the price of an auction: at the price
    /// where most trades, the best of both sides up to that volume take part.
    fn uncross(&mut self, book: u32) {
        while let (Some((bid, buyer)), Some((ask, seller))) =
            (self.best(book, Side::Buy), self.best(book, Side::Sell))
            && bid >= ask
        {
            let [buys, sells] = [buyer, seller].map(|slot| self.orders[slot as usize].leaves);
            let qty = buys.min(sells);
            self.count(qty);
            self.fill(buyer, qty);
            self.fill(seller, qty);
        }
    }

    fn count(&mut self, qty: u64) {
        self.outcome.trades += 1;
        self.outcome.lots += qty;
    }

    /// The best price of a side and the first order there.
    fn best(&self, book: u32, side: Side) -> Option<(i64, u32)> {
        let levels = &self.books[book as usize].sides[side as usize];
        let best = match side {
            Side::Buy => levels.last_key_value(),
            Side::Sell => levels.first_key_value(),
        };
        best.map(|(&price, level)| (price, level.head))
    }

    fn fill(&mut self, slot: u32, qty: u64) {
        let order = self.orders[slot as usize];
        if order.leaves == qty {
            return self.remove(slot);
        }
        self.orders[slot as usize].leaves -= qty;
        self.orders[slot as usize].filled += qty;
        self.level(order).qty -= qty;
    }

    fn level(&mut self, order: Order) -> &mut Level {
        let levels = &mut self.books[order.book as usize].sides[order.side as usize];
        let level = levels.get_mut(&order.price);
        level.expect("a resting order has a level")
    }

    fn rest(&mut self, order: Order) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.orders.push(order);
            u32::try_from(self.orders.len() - 1).expect("fewer than 2^32 orders")
        });
        let levels = &mut self.books[order.book as usize].sides[order.side as usize];
        let level = levels.entry(order.price).or_insert(Level {
            head: slot,
            tail: NONE,
            qty: 0,
        });
        level.qty += order.leaves;
        let prev = std::mem::replace(&mut level.tail, slot);
        if prev != NONE {
            self.orders[prev as usize].next = slot;
        }
        self.orders[slot as usize] = Order {
            prev,
            next: NONE,
            ..order
        };
        self.ids.insert(order.id, slot);
    }

    fn remove(&mut self, slot: u32) {
        let order = self.orders[slot as usize];
        let levels = &mut self.books[order.book as usize].sides[order.side as usize];
        if order.prev == NONE && order.next == NONE {
            levels.remove(&order.price);
        } else {
            let level = levels.get_mut(&order.price);
            let level = level.expect("a resting order has a level");
            level.qty -= order.leaves;
            match order.prev {
                NONE => level.head = order.next,
                prev => self.orders[prev as usize].next = order.next,
            }
            match order.next {
                NONE => level.tail = order.prev,
                next => self.orders[next as usize].prev = order.prev,
            }
        }
        self.ids.remove(&order.id);
        self.free.push(slot);
    }
}
