//! The levels that a command has changed, and what they were before it.
//!
//! Market data hears at the end of a command what each level is *now*, once, and only if that is not
//! what it was before the command.

use tessera_types::{Event, EventSink, Price, Qty};

use super::order::Queue;
use super::slab::{Record as _, Slab};

/// The levels of one command; empty between commands.
#[derive(Debug)]
pub(crate) struct Touched {
    levels: Vec<Before>,
}

/// A level before the command that is being applied.
#[derive(Clone, Copy, Debug)]
struct Before {
    price: i64,
    qty: Qty,
    /// Instrument and side, in the order of level events.
    home: u32,
    queue: u32,
    orders: u32,
}

impl Touched {
    pub(crate) fn new() -> Self {
        Self {
            levels: Vec::with_capacity(64),
        }
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Remembers what a level is, before the command changes it for the first time.
    #[inline]
    pub(crate) fn note(&mut self, queues: &mut Slab<Queue>, at: u32) {
        let queue = &mut queues[at];
        if queue.touched() {
            return;
        }
        self.levels.push(Before {
            price: queue.price,
            qty: queue.shown(),
            home: queue.home(),
            queue: at,
            orders: queue.orders,
        });
        queue.set_touched(true);
    }

    /// The books of the levels, in any order and more than once.
    pub(crate) fn books(&self) -> impl Iterator<Item = u32> {
        self.levels.iter().map(|level| level.home >> 4)
    }

    /// Tells which levels are not what they were, in order of instrument, side and price.
    #[cold]
    pub(crate) fn emit<S: EventSink + ?Sized>(&mut self, queues: &mut Slab<Queue>, sink: &mut S) {
        Before::sort(&mut self.levels);
        let mut at = 0;
        while let Some(&before) = self.levels.get(at) {
            let (mut qty, mut orders) = before.settle(queues);
            at += 1;
            // A level that ended and came back within the command has two records.
            while let Some(again) = self
                .levels
                .get(at)
                .filter(|again| again.key() == before.key())
            {
                let now = again.settle(queues);
                if now.1 > 0 {
                    (qty, orders) = now;
                }
                at += 1;
            }
            if (qty, orders) != (before.qty, before.orders) {
                let (instrument, side) = Queue::parse_home(before.home);
                sink.emit(Event::Level {
                    instrument,
                    side,
                    price: Price::from_ticks(before.price),
                    qty,
                    orders,
                });
            }
        }
        self.levels.clear();
    }
}

impl Before {
    #[inline]
    fn key(&self) -> (u32, i64) {
        (self.home, self.price)
    }

    /// Sorts by level; of two records of one level the older stays first.
    #[inline]
    fn sort(levels: &mut [Self]) {
        // A taker leaves its levels in order or in reverse, so most of the time there is little to do.
        for end in 1..levels.len().min(SMALL) {
            let mut at = end;
            while at > 0 && levels[at].key() < levels[at - 1].key() {
                levels.swap(at, at - 1);
                at -= 1;
            }
        }
        if levels.len() > SMALL {
            levels.sort_by_key(Self::key);
        }
    }

    /// What a touched level is now, nothing when it has ended; its mark goes. A record that was used
    /// again for another level differs in price or home.
    #[inline]
    fn settle(&self, queues: &mut Slab<Queue>) -> (Qty, u32) {
        let queue = &mut queues[self.queue];
        if queue.home() != self.home || queue.price != self.price || queue.next_free().is_some() {
            return (Qty::ZERO, 0);
        }
        queue.set_touched(false);
        (queue.shown(), queue.orders)
    }
}

/// Up to here insertion beats a general sort.
const SMALL: usize = 8;
