//! Stops: waiting for a trade price, elected by it, entering one by one.
//!
//! A trade elects buy stops at or below its price and sell stops at or above it. The command that
//! traded finishes first; then the elected stops enter, oldest first, and those that they elect
//! queue behind. A trailing stop follows the last trade in its favour only.

use tessera_types::{Event, EventSink, InstrumentId, OrdType, Price, Side};

use crate::book::matching::{Entry, Incoming};
use crate::book::order::{Ext, Place};
use crate::book::slab::NONE;
use crate::exchange::Exchange;

impl Exchange {
    /// Puts a stop where it waits; one that the last trade has already reached enters at once.
    pub(crate) fn place_stop<S: EventSink + ?Sized>(
        &mut self,
        number: usize,
        slot: u32,
        sink: &mut S,
    ) {
        let book = &mut self.books[number];
        let side = self.store.orders[slot].side();
        let (trails, stop) = match self.store.ext(slot) {
            Some(ext) => (ext.trail > 0, ext.stop),
            None => unreachable!("a stop has an extension"),
        };
        if let (Some(last), Some(stop)) = (book.last, stop)
            && reached(side, stop, last)
        {
            return self.enter_stop(number, slot, sink);
        }
        match stop {
            Some(stop) if !trails => self.store.wait(book, slot, Place::Stop, stop),
            _ => self.store.wait(book, slot, Place::Trail, 0),
        }
    }

    /// Takes note of trades that ran from price `first` to price `last` without turning back.
    #[inline]
    pub(crate) fn on_traded(&mut self, number: usize, first: i64, last: i64) {
        let book = &mut self.books[number];
        book.last = Some(last);
        if book.guarded {
            book.rest.guard.reference = Some(last);
        }
        if book.stops_waiting > 0 {
            self.elect(number, first, last);
        }
    }

    #[cold]
    fn elect(&mut self, number: usize, first: i64, last: i64) {
        for side in [Side::Buy, Side::Sell] {
            // Of prices that run one way, the two ends reach whatever the others reach.
            for price in [first, last] {
                self.elect_fixed(number, side, price);
                self.elect_trailing(number, side, price);
            }
        }
    }

    fn elect_fixed(&mut self, number: usize, side: Side, price: i64) {
        loop {
            let book = &mut self.books[number];
            let best = book.rest.stops[side as usize].best;
            if best == NONE || !reached(side, self.store.queues[best].price, price) {
                return;
            }
            let slot = self.store.queues[best].head;
            self.store.detach(book, slot);
            self.elected.push((number, slot));
        }
    }

    /// Moves the trailing stops of one side after a trade, or elects them. Reads all of them.
    fn elect_trailing(&mut self, number: usize, side: Side, price: i64) {
        let room = self.books[number].rest.trails[side as usize];
        if room == NONE {
            return;
        }
        let mut slot = self.store.queues[room].head;
        while slot != NONE {
            let next = self.store.orders[slot].next;
            let Some(&Ext { stop, trail, .. }) = self.store.ext(slot) else {
                unreachable!("a trailing stop has an extension")
            };
            if stop.is_some_and(|stop| reached(side, stop, price)) {
                self.store.detach(&mut self.books[number], slot);
                self.elected.push((number, slot));
            } else {
                let behind = trigger_behind(side, price, trail);
                let better = match (side, stop) {
                    (_, None) => true,
                    (Side::Buy, Some(stop)) => behind < stop,
                    (Side::Sell, Some(stop)) => behind > stop,
                };
                if better {
                    self.store.amend(slot, |_, ext| {
                        if let Some(ext) = ext {
                            ext.stop = Some(behind);
                        }
                    });
                }
            }
            slot = next;
        }
    }

    /// Lets the elected stops in, one by one; each batch oldest first.
    #[inline(never)]
    pub(crate) fn enter_elected<S: EventSink + ?Sized>(&mut self, sink: &mut S) {
        let mut entered = 0;
        let mut sorted = 0;
        while entered < self.elected.len() {
            if sorted < self.elected.len() {
                let orders = &self.store.orders;
                self.elected[sorted..].sort_unstable_by_key(|&(_, slot)| orders[slot].id);
                sorted = self.elected.len();
            }
            let (number, slot) = self.elected[entered];
            entered += 1;
            self.enter_stop(number, slot, sink);
        }
        self.elected.clear();
    }

    /// A stop becomes the order that it was to become.
    fn enter_stop<S: EventSink + ?Sized>(&mut self, number: usize, slot: u32, sink: &mut S) {
        let stop = self.store.trigger(slot);
        let event = Event::OrderTriggered {
            party: self.party(slot),
            instrument: InstrumentId::new(self.books[number].number),
            side: self.store.orders[slot].side(),
            stop: Price::from_ticks(stop.stop.unwrap_or(0)),
        };
        self.emit(event, sink);
        let limited = stop.ord_type == OrdType::StopLimit;
        let limit = limited.then_some(stop.limit);
        let entry =
            Entry::new(limit, stop.time_in_force, stop.min_qty, stop.budget).for_market(!limited);
        let mut incoming = Incoming::stored(&self.store, number, slot);
        self.enter(&mut incoming, &entry, sink);
    }
}

/// True when a trade at `price` elects a stop of this side.
#[inline]
fn reached(side: Side, stop: i64, price: i64) -> bool {
    match side {
        Side::Buy => price >= stop,
        Side::Sell => price <= stop,
    }
}

/// The trigger of a trailing stop right after a trade.
pub(crate) fn trigger_behind(side: Side, last: i64, trail: u64) -> i64 {
    match side {
        Side::Buy => last.saturating_add_unsigned(trail),
        Side::Sell => last.saturating_sub_unsigned(trail),
    }
}
