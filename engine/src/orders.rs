//! Requests about single orders: what is checked, in which order, and what is answered.
//!
//! When several things are wrong with a request the first of these counts: session, form of the
//! fields, unknown instrument or order, phase, duplicate id, price, quantity, expiry, post-only.

use tessera_types::{
    Cancel, CancelReason, ClOrdId, ClientHeader, CommandKind, Event, EventSink, ExecInst,
    ExpireReason, InstrumentId, MassCancel, NewOrder, OrdType, OrderTarget, Phase, Price, Qty,
    Reduce, RejectReason, Replace, SessionId, Side, TimeInForce,
};

use crate::book::matching::{Entry, Incoming, Least, Rest};
use crate::book::order::{Ext, Order, Place, flag};
use crate::book::slab::NONE;
use crate::book::store::MAX_ORDERS;
use crate::book::{Book, crosses};
use crate::exchange::{Exchange, Subject};
use crate::lifecycle;

/// Most slices of one iceberg, beyond which its quantity is `bad_qty`: each slice is a trade of its
/// own, and one command must not make more events than the rings behind the engine can hold.
const MAX_SLICES: u64 = 100_000;

/// A checked replace.
#[derive(Clone, Copy, Debug)]
struct ReplacePlan {
    slot: u32,
    /// Of its book.
    number: usize,
    /// What is open before.
    leaves: u64,
    total: u64,
    /// What is open after.
    open: u64,
    old_limit: Option<i64>,
    limit: Option<i64>,
    /// It is a stop that has not been elected.
    waits: bool,
}

impl ReplacePlan {
    fn keeps_place(&self) -> bool {
        !self.waits && self.limit == self.old_limit && self.open <= self.leaves
    }
}

impl Exchange {
    #[inline(never)]
    pub(crate) fn on_new_order<S: EventSink + ?Sized>(&mut self, request: &NewOrder, sink: &mut S) {
        if self.accounts.on && self.enter_watched(request, sink) {
            return;
        }
        let admitted = self.sessions.admit(&request.header);
        match admitted.and_then(|()| self.check_new_order(request)) {
            Ok(()) => {
                self.accept(request, false, sink);
                self.retry_all_or_none(request.instrument.get() as usize, sink);
            }
            Err(reason) => {
                let subject = Subject::Book(request.instrument, Some(request.side));
                self.reject(&request.header, CommandKind::New, subject, reason, sink);
            }
        }
    }

    /// Whether an order may enter.
    #[inline]
    pub(crate) fn check_new_order(&self, request: &NewOrder) -> Result<(), RejectReason> {
        check_form(request)?;
        let book = self
            .books
            .get(request.instrument.get() as usize)
            .ok_or(RejectReason::UnknownInstrument)?;
        if book.contract {
            return self.check_contract_order(request);
        }
        if !request.backing.is_nothing() {
            return Err(RejectReason::BadField);
        }
        lifecycle::admits(book.phase, request)?;
        if self
            .store
            .find(request.header.session, request.header.cl_ord_id.get())
            .is_some()
        {
            return Err(RejectReason::DuplicateId);
        }
        if request.ord_type.has_price() && !book.price_fits(request.price.ticks()) {
            return Err(RejectReason::BadPrice);
        }
        if matches!(request.ord_type, OrdType::Stop | OrdType::StopLimit)
            && !book.price_fits(request.trigger)
        {
            return Err(RejectReason::BadPrice);
        }
        let (qty, display) = (request.qty.lots(), request.display.lots());
        if !book.qty_fits(qty) || !slices_fit(qty, display) || !book.on_lot(display) {
            return Err(RejectReason::BadQty);
        }
        if request.time_in_force == TimeInForce::Gtd && request.expire <= self.clock {
            return Err(RejectReason::Expired);
        }
        if request.exec_inst.contains(ExecInst::POST_ONLY)
            && self.would_cross(book, request.side, request.price.ticks())
        {
            return Err(RejectReason::PostOnly);
        }
        if self.store.orders.live() >= MAX_ORDERS {
            return Err(RejectReason::TooManyOrders);
        }
        if self.accounts.on {
            self.check_accounts(request)?;
        }
        Ok(())
    }

    /// True when an order at this price meets the other side of a book that trades.
    fn would_cross(&self, book: &Book, side: Side, price: i64) -> bool {
        let best = book.side(side.opposite()).best;
        book.phase == Phase::Continuous
            && best != NONE
            && crosses(side, Some(price), self.store.queues[best].price)
    }

    /// Takes a checked order in: it waits, trades, rests, or all three.
    pub(crate) fn accept<S: EventSink + ?Sized>(
        &mut self,
        request: &NewOrder,
        quote: bool,
        sink: &mut S,
    ) {
        let number = request.instrument.get() as usize;
        let mut incoming = Incoming::new(number, Order::new(self.next_order_id, request));
        self.next_order_id += 1;
        let order = &mut incoming.order;
        order.set(flag::QUOTE, quote);
        let event = Event::OrderAccepted {
            party: order.party(self.sessions.number_message(order.session())),
            instrument: request.instrument,
            side: request.side,
            price: request.price,
            qty: request.qty,
        };
        self.emit(event, sink);
        let ext = extension(request, self.books[number].last);
        let contract = self.books[number].contract;
        if ext.is_some() || self.accounts.on || contract {
            let slot = self.store.insert(incoming.order.clone(), ext);
            if self.accounts.on {
                self.track_new(slot, request, quote);
            }
            if contract {
                self.note_contract_order(slot, request);
            }
            incoming = Incoming::stored(&self.store, number, slot);
        }
        match request.ord_type {
            OrdType::Stop | OrdType::StopLimit | OrdType::TrailingStop => {
                self.place_stop(number, incoming.slot, sink);
            }
            OrdType::Limit | OrdType::Market | OrdType::Iceberg => {
                self.enter(&mut incoming, &Entry::of(request), sink);
            }
        }
    }

    #[inline(never)]
    pub(crate) fn on_cancel<S: EventSink + ?Sized>(&mut self, request: &Cancel, sink: &mut S) {
        if self.accounts.on && self.cancel_watched(request, sink) {
            return;
        }
        let header = &request.header;
        let admitted = self.sessions.admit(header);
        match admitted.and_then(|()| self.target(header, request.target)) {
            Ok(slot) => self.cancel(slot, CancelReason::User, header.cl_ord_id, sink),
            Err(reason) => {
                let subject = Subject::Order(request.target);
                self.reject(header, CommandKind::Cancel, subject, reason, sink);
            }
        }
    }

    #[inline(never)]
    pub(crate) fn on_reduce<S: EventSink + ?Sized>(&mut self, request: &Reduce, sink: &mut S) {
        let header = &request.header;
        let by = request.by.lots();
        let checked = self
            .sessions
            .admit(header)
            .and_then(|()| self.target(header, request.target))
            .and_then(|slot| {
                if self.store.orders[slot].queue == NONE {
                    return Err(RejectReason::WrongKind);
                }
                let book = &self.books[self.book_of(slot)];
                if by > 0 && book.on_lot(by) {
                    Ok(slot)
                } else {
                    Err(RejectReason::BadQty)
                }
            });
        match checked {
            Ok(slot) if by >= self.store.orders[slot].leaves => {
                self.cancel(slot, CancelReason::User, header.cl_ord_id, sink);
            }
            Ok(slot) => self.reduce(slot, by, false, header.cl_ord_id, sink),
            Err(reason) => {
                self.reject(
                    header,
                    CommandKind::Reduce,
                    Subject::Order(request.target),
                    reason,
                    sink,
                );
            }
        }
    }

    #[inline(never)]
    pub(crate) fn on_replace<S: EventSink + ?Sized>(&mut self, request: &Replace, sink: &mut S) {
        if self.accounts.on && self.replace_watched(request, sink) {
            return;
        }
        let header = &request.header;
        let admitted = self.sessions.admit(header);
        let planned = admitted
            .and_then(|()| check_replace_form(request))
            .and_then(|()| self.target(header, request.target))
            .and_then(|slot| self.plan_replace(slot, request));
        match planned {
            Ok(plan) => self.replace(request, &plan, sink),
            Err(reason) => {
                let subject = Subject::Order(request.target);
                self.reject(header, CommandKind::Replace, subject, reason, sink);
            }
        }
    }

    /// What a replace will do, or why it may not.
    #[inline]
    fn plan_replace(&self, slot: u32, request: &Replace) -> Result<ReplacePlan, RejectReason> {
        let order = &self.store.orders[slot];
        if order.queue == NONE {
            return Err(RejectReason::WrongKind);
        }
        let queue = &self.store.queues[order.queue];
        let book = &self.books[queue.book()];
        let limit = self.store.limit(slot);
        let waits = matches!(queue.place(), Place::Stop | Place::Trail);
        if (request.price.is_some() && limit.is_none()) || (request.stop.is_some() && !waits) {
            return Err(RejectReason::BadField);
        }
        lifecycle::admits_replace(book.phase)?;
        if let Some(id) = request.new_id
            && id != order.client_id()
            && self.store.find(order.session(), id.get()).is_some()
        {
            return Err(RejectReason::DuplicateId);
        }
        let fits = |price: Option<Price>| price.is_none_or(|price| book.price_fits(price.ticks()));
        if !fits(request.price) || !fits(request.stop) {
            return Err(RejectReason::BadPrice);
        }
        let leaves = order.leaves;
        let cum = self.store.cum(slot);
        let total = request.qty.map_or(leaves + cum, Qty::lots);
        if request.qty.is_some() {
            // A total that leaves nothing open cancels, whatever the bounds of new orders are.
            let display = self.store.ext(slot).map_or(0, |ext| ext.display);
            let fits = book.qty_fits(total) && slices_fit(total, display);
            if !book.on_lot(total) || (total > cum && !fits) {
                return Err(RejectReason::BadQty);
            }
        }
        let plan = ReplacePlan {
            slot,
            number: queue.book(),
            leaves,
            total,
            open: total.saturating_sub(cum),
            old_limit: limit,
            limit: request.price.map(Price::ticks).or(limit),
            waits,
        };
        if book.contract {
            let (open, limit) = (plan.open, plan.limit);
            self.check_contract_replace(slot, open, limit, plan.keeps_place())?;
            return Ok(plan);
        }
        if order.has(flag::POST_ONLY)
            && plan.open > 0
            && !plan.keeps_place()
            && let Some(price) = plan.limit
            && self.would_cross(book, order.side(), price)
        {
            return Err(RejectReason::PostOnly);
        }
        if self.accounts.on {
            self.check_change(slot, plan.open, plan.limit)?;
        }
        Ok(plan)
    }

    /// Changes an order. The same or a lower quantity at the same price keeps the place; anything
    /// else loses it, and the order trades like a new one if it now crosses.
    fn replace<S: EventSink + ?Sized>(
        &mut self,
        request: &Replace,
        plan: &ReplacePlan,
        sink: &mut S,
    ) {
        let &ReplacePlan {
            slot,
            number,
            leaves,
            total,
            open,
            limit,
            waits,
            ..
        } = plan;
        if open == 0 {
            return self.cancel(slot, CancelReason::Replaced, request.header.cl_ord_id, sink);
        }
        let order = &self.store.orders[slot];
        let (side, old_id) = (order.side(), order.client_id());
        if let Some(id) = request.new_id
            && id != old_id
        {
            self.store.rename(slot, id.get());
        }
        let stop = if waits {
            let now = self.store.ext(slot).and_then(|ext| ext.stop);
            request.stop.map(Price::ticks).or(now)
        } else {
            None
        };
        let event = Event::OrderReplaced {
            party: self.party(slot),
            old_id,
            instrument: InstrumentId::new(self.books[number].number),
            side,
            price: Price::from_ticks(limit.or(stop).unwrap_or(0)),
            qty: Qty::from_lots(total),
            leaves: Qty::from_lots(open),
        };
        self.emit(event, sink);
        if self.accounts.open_of(slot).is_some() {
            self.accounts.set_open(slot, open, limit.unwrap_or(0));
        }
        if plan.keeps_place() {
            if open < leaves {
                self.store.shrink(slot, leaves - open);
            }
        } else {
            self.store.detach(&mut self.books[number], slot);
            self.store.set_open(slot, open, 0);
            if waits {
                self.store.set_stop(slot, limit.unwrap_or(0), stop);
                self.place_stop(number, slot, sink);
            } else {
                let entry = Entry {
                    limit,
                    rest: Rest::Stay,
                    least: Least::None,
                };
                let mut incoming = Incoming::stored(&self.store, number, slot);
                self.enter(&mut incoming, &entry, sink);
            }
        }
        self.retry_all_or_none(number, sink);
    }

    #[inline(never)]
    pub(crate) fn on_mass_cancel<S: EventSink + ?Sized>(
        &mut self,
        request: &MassCancel,
        sink: &mut S,
    ) {
        let header = &request.header;
        let checked = self.sessions.admit(header).and_then(|()| {
            let known = |id: InstrumentId| (id.get() as usize) < self.books.len();
            if request.instrument.is_none_or(known) {
                Ok(())
            } else {
                Err(RejectReason::UnknownInstrument)
            }
        });
        if let Err(reason) = checked {
            let subject = match request.instrument {
                Some(instrument) => Subject::Book(instrument, request.side),
                None => Subject::Books(request.side),
            };
            return self.reject(header, CommandKind::MassCancel, subject, reason, sink);
        }
        self.collect_mass_cancel(request);
        let count = self.cancel_collected(CancelReason::MassCancel, header.cl_ord_id, sink);
        let event = Event::MassCanceled {
            session: header.session,
            account: header.account,
            server_seq: self.sessions.number_message(header.session),
            cl_ord_id: header.cl_ord_id,
            count,
        };
        self.emit(event, sink);
    }

    /// Notes what a mass cancel reaches: a book's queues when it names one, all orders otherwise.
    fn collect_mass_cancel(&mut self, request: &MassCancel) {
        let session = request.header.session;
        let wanted = |order: &Order| {
            order.has(flag::INDEXED)
                && (session == SessionId::VENUE || order.session() == session)
                && request
                    .account
                    .is_none_or(|account| order.account_id() == account)
                && request.side.is_none_or(|side| order.side() == side)
        };
        let Some(instrument) = request.instrument else {
            return self.collect_orders(session, wanted);
        };
        self.collect_book(instrument.get() as usize, |order, _| wanted(order));
        self.collect_requests(instrument, wanted);
    }

    /// Notes the orders of one book that `wanted` picks, in order of acceptance.
    pub(crate) fn collect_book(&mut self, number: usize, wanted: impl Fn(&Order, Place) -> bool) {
        self.ending.clear();
        let book = &self.books[number];
        let store = &self.store;
        let halves = book.sides.iter().chain(&book.rest.stops);
        let rooms = book.rest.trails.iter().chain(&book.rest.markets).copied();
        let queues = halves
            .flat_map(|half| half.queues(&store.queues, &store.nodes))
            .chain(rooms.filter(|&room| room != NONE));
        for at in queues {
            let place = store.queues[at].place();
            let mut slot = store.queues[at].head;
            while slot != NONE {
                let order = &store.orders[slot];
                if wanted(order, place) {
                    self.ending.push((order.id, slot));
                }
                slot = order.next;
            }
        }
        self.ending.sort_unstable();
    }

    /// Cancels what was noted, oldest first; returns how many.
    pub(crate) fn cancel_collected<S: EventSink + ?Sized>(
        &mut self,
        reason: CancelReason,
        request: ClOrdId,
        sink: &mut S,
    ) -> u32 {
        let ending = core::mem::take(&mut self.ending);
        let mut count = 0;
        for &(id, slot) in &ending {
            if self.store.orders[slot].id == id {
                count += 1;
                self.cancel(slot, reason, request, sink);
            }
        }
        self.ending = ending;
        count
    }

    // ---- what the other modules share ----

    /// The live order that a request names and may change.
    fn target(&mut self, header: &ClientHeader, target: OrderTarget) -> Result<u32, RejectReason> {
        let found = match target {
            OrderTarget::Client(id) => self.store.find(header.session, id.get()),
            OrderTarget::Exchange(id) => self.store.find_by_order_id(id).filter(|&slot| {
                header.session == SessionId::VENUE
                    || self.store.orders[slot].session() == header.session
            }),
        };
        found
            .filter(|&slot| {
                header.account.get() == 0 || self.store.orders[slot].account_id() == header.account
            })
            .ok_or(RejectReason::UnknownOrder)
    }

    /// The book in which a queued order stands.
    #[inline]
    pub(crate) fn book_of(&self, slot: u32) -> usize {
        self.store.queues[self.store.orders[slot].queue].book()
    }

    /// Ends a queued order with a cancel.
    pub(crate) fn cancel<S: EventSink + ?Sized>(
        &mut self,
        slot: u32,
        reason: CancelReason,
        request: ClOrdId,
        sink: &mut S,
    ) {
        let order = &self.store.orders[slot];
        if order.queue == NONE {
            return self.cancel_group(order.id, reason, request, sink);
        }
        let queue = &self.store.queues[order.queue];
        let (number, instrument) = (queue.book(), queue.instrument());
        self.emit_canceled(slot, instrument, order.leaves, reason, request, sink);
        self.store.end(&mut self.books[number], slot);
    }

    /// Ends the incoming order, which stands in no queue, with a cancel.
    pub(crate) fn cancel_incoming<S: EventSink + ?Sized>(
        &mut self,
        incoming: &Incoming,
        reason: CancelReason,
        sink: &mut S,
    ) {
        self.accounts.close(incoming.slot);
        let order = &incoming.order;
        let event = Event::OrderCanceled {
            party: order.party(self.sessions.number_message(order.session())),
            instrument: InstrumentId::new(self.books[incoming.number].number),
            side: order.side(),
            qty: Qty::from_lots(order.leaves),
            cum: Qty::from_lots(incoming.cum + incoming.filled),
            reason,
            request: ClOrdId::new(0),
        };
        self.emit(event, sink);
        self.forget(incoming);
    }

    /// Frees the record of an incoming order that has ended, where it has one.
    #[inline]
    pub(crate) fn forget(&mut self, incoming: &Incoming) {
        if incoming.slot != NONE {
            self.store
                .remove(&mut self.books[incoming.number], incoming.slot);
        }
    }

    /// `qty` is what was open.
    pub(crate) fn emit_canceled<S: EventSink + ?Sized>(
        &mut self,
        slot: u32,
        instrument: InstrumentId,
        qty: u64,
        reason: CancelReason,
        request: ClOrdId,
        sink: &mut S,
    ) {
        self.accounts.close(slot);
        let event = Event::OrderCanceled {
            party: self.party(slot),
            instrument,
            side: self.store.orders[slot].side(),
            qty: Qty::from_lots(qty),
            cum: Qty::from_lots(self.store.cum(slot)),
            reason,
            request,
        };
        self.emit(event, sink);
    }

    /// Ends a queued order because its time is over.
    pub(crate) fn expire<S: EventSink + ?Sized>(
        &mut self,
        slot: u32,
        reason: ExpireReason,
        sink: &mut S,
    ) {
        let order = &self.store.orders[slot];
        let queue = &self.store.queues[order.queue];
        let (number, instrument) = (queue.book(), queue.instrument());
        self.accounts.close(slot);
        let event = Event::OrderExpired {
            party: self.party(slot),
            instrument,
            side: self.store.orders[slot].side(),
            qty: Qty::from_lots(self.store.orders[slot].leaves),
            cum: Qty::from_lots(self.store.cum(slot)),
            reason,
        };
        self.emit(event, sink);
        self.store.end(&mut self.books[number], slot);
    }

    /// Takes `by`, less than what is open, off a queued order; its place stays.
    pub(crate) fn reduce<S: EventSink + ?Sized>(
        &mut self,
        slot: u32,
        by: u64,
        self_match: bool,
        request: ClOrdId,
        sink: &mut S,
    ) {
        self.store.shrink(slot, by);
        self.accounts.shrink(slot, by);
        let instrument = self.store.queues[self.store.orders[slot].queue].instrument();
        let event = Event::OrderReduced {
            party: self.party(slot),
            instrument,
            side: self.store.orders[slot].side(),
            leaves: Qty::from_lots(self.store.orders[slot].leaves),
            cum: Qty::from_lots(self.store.cum(slot)),
            self_match,
            inventory: false,
            request,
        };
        self.emit(event, sink);
    }
}

/// Fields that exclude or require each other.
#[inline]
fn check_form(request: &NewOrder) -> Result<(), RejectReason> {
    let form = request.header.cl_ord_id.get() != 0
        && form_of_type(request)
        && form_of_time(request)
        && form_of_instructions(request);
    if form {
        Ok(())
    } else {
        Err(RejectReason::BadField)
    }
}

/// True for an order that is no iceberg (`display` is 0) and for one of few enough slices.
#[inline]
pub(crate) fn slices_fit(qty: u64, display: u64) -> bool {
    display == 0 || qty / display <= MAX_SLICES
}

fn form_of_type(request: &NewOrder) -> bool {
    let stop = matches!(
        request.ord_type,
        OrdType::Stop | OrdType::StopLimit | OrdType::TrailingStop
    );
    let (qty, display) = (request.qty.lots(), request.display.lots());
    let slice = match request.ord_type {
        OrdType::Iceberg => (1..=qty).contains(&display),
        _ => display == 0,
    };
    slice
        && (request.ord_type.has_price() || request.price == Price::ZERO)
        && (stop || request.trigger == 0)
        && (request.ord_type != OrdType::TrailingStop || request.trigger >= 1)
}

fn form_of_time(request: &NewOrder) -> bool {
    let tif = request.time_in_force;
    (tif == TimeInForce::Gtd || request.expire.nanos() == 0)
        && (request.ord_type != OrdType::Market
            || matches!(tif, TimeInForce::Ioc | TimeInForce::Fok))
        && (request.budget.is_none() || tif == TimeInForce::Fok)
}

fn form_of_instructions(request: &NewOrder) -> bool {
    let aon = request.exec_inst.contains(ExecInst::ALL_OR_NONE);
    let post_only = request.exec_inst.contains(ExecInst::POST_ONLY);
    let immediate = matches!(request.time_in_force, TimeInForce::Ioc | TimeInForce::Fok);
    let may_post = matches!(request.ord_type, OrdType::Limit | OrdType::Iceberg);
    request.min_qty <= request.qty
        && !(aon && (request.ord_type == OrdType::Iceberg || request.min_qty > Qty::ZERO))
        && !(post_only && (aon || immediate || !may_post))
}

fn check_replace_form(request: &Replace) -> Result<(), RejectReason> {
    let changes = request.price.is_some()
        || request.qty.is_some()
        || request.stop.is_some()
        || request.new_id.is_some();
    let id = request.new_id.is_none_or(|id| id.get() != 0);
    if changes && id {
        Ok(())
    } else {
        Err(RejectReason::BadField)
    }
}

/// What an order needs besides its record.
fn extension(request: &NewOrder, last: Option<i64>) -> Option<Ext> {
    let expire = request.expire.nanos();
    match request.ord_type {
        OrdType::Limit | OrdType::Market if expire == 0 => None,
        OrdType::Limit | OrdType::Market => Some(Ext {
            expire,
            ..Ext::PLAIN
        }),
        OrdType::Iceberg => {
            let display = request.display.lots();
            let shown = display.min(request.qty.lots());
            Some(Ext {
                display,
                shown,
                expire,
                ..Ext::PLAIN
            })
        }
        OrdType::Stop | OrdType::StopLimit | OrdType::TrailingStop => {
            let trails = request.ord_type == OrdType::TrailingStop;
            let trail = if trails {
                request.trigger.unsigned_abs()
            } else {
                0
            };
            let stop = if trails {
                last.map(|last| crate::stops::trigger_behind(request.side, last, trail))
            } else {
                Some(request.trigger)
            };
            Some(Ext {
                ord_type: request.ord_type,
                time_in_force: request.time_in_force,
                limit: request.price.ticks(),
                stop,
                trail,
                min_qty: request.min_qty.lots(),
                budget: request.budget,
                expire,
                ..Ext::PLAIN
            })
        }
    }
}
