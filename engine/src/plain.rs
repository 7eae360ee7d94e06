//! The three requests that make up nearly every flow: a plain order comes and rests, moves to another
//! price, goes. Here they take the short way.
//!
//! Each of these functions does all that its request asks for, or nothing; then it returns false and
//! the general way in [`orders`](crate::orders), which is complete without this file, answers. What
//! makes the short way short: nobody trades, so no other order changes, and what the levels are now is
//! known at once.

use tessera_types::{
    Cancel, CancelReason, ClientHeader, Event, EventSink, ExecInst, MatchAlgo, NewOrder, OrdType,
    OrderId, OrderTarget, Party, Price, Qty, Replace, Side, TimeInForce,
};

use crate::book::order::{Order, Place};
use crate::book::slab::NONE;
use crate::book::store::{LevelNow, MAX_ORDERS, Store};
use crate::book::{Book, crosses};
use crate::exchange::Exchange;

impl Exchange {
    /// A new order that asks for nothing special.
    #[inline(never)]
    pub(crate) fn enter_plain<S: EventSink + ?Sized>(
        &mut self,
        request: &NewOrder,
        sink: &mut S,
    ) -> bool {
        let Some(book) = self.books.get_mut(request.instrument.get() as usize) else {
            return false;
        };
        let header = &request.header;
        let price = request.price.ticks();
        let fits = is_plain(request)
            && book.is_simple()
            && header.cl_ord_id.get() != 0
            && book.price_fits(price)
            && book.qty_fits(request.qty.lots())
            && self.sessions.examine(header).is_ok()
            && self.store.orders.live() < MAX_ORDERS
            && self
                .store
                .find(header.session, header.cl_ord_id.get())
                .is_none();
        if !fits {
            return false;
        }
        if request.time_in_force == TimeInForce::Ioc
            || meets(book, &self.store, request.side, price)
        {
            // The accounts are told of a taker by the general way.
            if self.accounts.on || request.exec_inst.contains(ExecInst::POST_ONLY) {
                return false;
            }
            self.sessions.mark(header);
            self.accept(request, false, sink);
            self.finish(sink);
            return true;
        }
        self.sessions.mark(header);
        let id = self.next_order_id;
        self.next_order_id += 1;
        let accepted = Event::OrderAccepted {
            party: Party {
                session: header.session,
                account: header.account,
                cl_ord_id: header.cl_ord_id,
                order_id: OrderId::new(id),
                server_seq: self.sessions.number_message(header.session),
            },
            instrument: request.instrument,
            side: request.side,
            price: request.price,
            qty: request.qty,
        };
        self.events.add(&accepted);
        let order = Order::new(id, request);
        let level = self.store.rest_alone(book, order, request.side, price);
        sink.emit(accepted);
        sink.emit(level);
        true
    }

    /// A new price for a plain order, where it meets nobody.
    #[inline(never)]
    pub(crate) fn move_plain<S: EventSink + ?Sized>(
        &mut self,
        request: &Replace,
        sink: &mut S,
    ) -> bool {
        let Some(slot) = self.named(&request.header, request.target) else {
            return false;
        };
        let order = &self.store.orders[slot];
        let queue = &self.store.queues[order.queue];
        let side = order.side();
        let book = &mut self.books[queue.book()];
        let Some(price) = request.price.map(Price::ticks) else {
            return false;
        };
        let fits = request.qty.is_none()
            && request.stop.is_none()
            && request.new_id.is_none()
            && order.ext().is_none()
            && queue.place() == Place::Book
            && book.is_simple()
            && book.algo == MatchAlgo::Fifo
            && price != queue.price
            && book.price_fits(price)
            && !meets(book, &self.store, side, price)
            && self.sessions.examine(&request.header).is_ok();
        if !fits {
            return false;
        }
        self.sessions.mark(&request.header);
        let instrument = queue.instrument();
        let replaced = Event::OrderReplaced {
            party: order.party(self.sessions.number_message(order.session())),
            old_id: order.client_id(),
            instrument,
            side,
            price: Price::from_ticks(price),
            qty: Qty::from_lots(order.leaves + order.plain_cum()),
            leaves: Qty::from_lots(order.leaves),
        };
        self.events.add(&replaced);
        let levels = self.store.move_alone(book, slot, price);
        sink.emit(replaced);
        for level in LevelNow::sort(levels) {
            sink.emit(Event::Level {
                instrument,
                side,
                price: Price::from_ticks(level.price),
                qty: level.qty,
                orders: level.orders,
            });
        }
        true
    }

    /// The cancel of a plain order.
    #[inline(never)]
    pub(crate) fn cancel_plain<S: EventSink + ?Sized>(
        &mut self,
        request: &Cancel,
        sink: &mut S,
    ) -> bool {
        let Some(slot) = self.named(&request.header, request.target) else {
            return false;
        };
        let order = &self.store.orders[slot];
        let queue = &self.store.queues[order.queue];
        let book = &mut self.books[queue.book()];
        let fits = order.ext().is_none()
            && queue.place() == Place::Book
            && book.is_simple()
            && self.sessions.examine(&request.header).is_ok();
        if !fits {
            return false;
        }
        self.sessions.mark(&request.header);
        let canceled = Event::OrderCanceled {
            party: order.party(self.sessions.number_message(order.session())),
            instrument: queue.instrument(),
            side: order.side(),
            qty: Qty::from_lots(order.leaves),
            cum: Qty::from_lots(order.plain_cum()),
            reason: CancelReason::User,
            request: request.header.cl_ord_id,
        };
        self.events.add(&canceled);
        let level = self.store.end_alone(book, slot);
        sink.emit(canceled);
        sink.emit(level);
        true
    }

    /// The order that a request names by its own id, if it may.
    #[inline(always)]
    fn named(&self, header: &ClientHeader, target: OrderTarget) -> Option<u32> {
        let OrderTarget::Client(id) = target else {
            return None;
        };
        let slot = self.store.find(header.session, id.get())?;
        let account = header.account;
        (account.get() == 0 || self.store.orders[slot].account_id() == account).then_some(slot)
    }
}

/// True for a limit order that asks for nothing but to trade at once, or to stay.
#[inline]
fn is_plain(request: &NewOrder) -> bool {
    let asks = request.display.lots()
        | request.trigger.cast_unsigned()
        | request.expire.nanos()
        | request.min_qty.lots();
    request.ord_type == OrdType::Limit
        && matches!(
            request.time_in_force,
            TimeInForce::Gtc | TimeInForce::Day | TimeInForce::Ioc
        )
        && asks == 0
        && request.budget.is_none()
        && !request.exec_inst.contains(ExecInst::ALL_OR_NONE)
}

/// True when an order at this price would trade at once.
#[inline(always)]
fn meets(book: &Book, store: &Store, side: Side, price: i64) -> bool {
    let best = book.side(side.opposite()).best;
    best != NONE && crosses(side, Some(price), store.queues[best].price)
}
