//! Group orders: in no single book, but under a client id like every order.

use tessera_types::{
    CancelReason, ClOrdId, ClientHeader, Event, EventSink, ExpireReason, InstrumentId, NewOrder,
    Price, Qty, RejectReason, Side,
};

use super::Tag;
use super::carve::Carve;
use super::rfq::{Quote, Rfq};
use super::substitution::Sub;
use crate::book::order::{Ext, Order};
use crate::book::store::MAX_ORDERS;
use crate::exchange::Exchange;

/// A live group order.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Its record, which stands in no queue.
    pub(crate) slot: u32,
    pub(crate) kind: GroupKind,
}

#[derive(Clone, Debug)]
pub(crate) enum GroupKind {
    Sub(Box<Sub>),
    Carve(Box<Carve>),
    Rfq(Box<Rfq>),
    Quote(Quote),
}

impl GroupKind {
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Sub(_) => "sub",
            Self::Carve(_) => "carve",
            Self::Rfq(_) => "rfq",
            Self::Quote(_) => "quote",
        }
    }

    /// The contract that its events name: the first one.
    pub(crate) fn book(&self) -> u32 {
        match self {
            Self::Sub(sub) => sub.legs.first().map_or(0, |leg| leg.book),
            Self::Carve(carve) => carve
                .slices
                .iter()
                .flatten()
                .map(|s| s.book)
                .min()
                .unwrap_or(0),
            Self::Rfq(rfq) => rfq.book,
            Self::Quote(quote) => quote.book,
        }
    }
}

impl Exchange {
    /// Notes the requests and quotes of one contract for a mass cancel, in order of acceptance. \[23\]
    pub(crate) fn collect_requests(
        &mut self,
        instrument: InstrumentId,
        wanted: impl Fn(&Order) -> bool,
    ) {
        for (&id, group) in &self.contracts.groups {
            let of_contract = matches!(group.kind, GroupKind::Rfq(_) | GroupKind::Quote(_));
            let here = of_contract && group.kind.book() == instrument.get();
            if here && wanted(&self.store.orders[group.slot]) {
                self.ending.push((id, group.slot));
            }
        }
        self.ending.sort_unstable();
    }

    /// Whether a group order may take this id.
    pub(super) fn check_id(&self, header: &ClientHeader) -> Result<(), RejectReason> {
        if header.cl_ord_id.get() == 0 {
            return Err(RejectReason::BadField);
        }
        if self
            .store
            .find(header.session, header.cl_ord_id.get())
            .is_some()
        {
            return Err(RejectReason::DuplicateId);
        }
        if self.store.orders.live() + 128 > MAX_ORDERS {
            return Err(RejectReason::TooManyOrders);
        }
        Ok(())
    }

    /// The record of an accepted group order, in no queue and not yet under its id.
    pub(super) fn accept_group<S: EventSink + ?Sized>(
        &mut self,
        header: &ClientHeader,
        book: u32,
        side: Side,
        price: i64,
        qty: u64,
        sink: &mut S,
    ) -> u32 {
        let instrument = InstrumentId::new(book);
        let (price, qty) = (Price::from_ticks(price), Qty::from_lots(qty));
        let request = NewOrder::limit(*header, instrument, side, price, qty);
        let order = Order::new(self.next_order_id, &request);
        self.next_order_id += 1;
        let id = order.id;
        let slot = self.store.insert(order, Some(Ext::PLAIN));
        self.contracts.set_tag(slot, Tag::Group { group: id });
        let event = Event::OrderAccepted {
            party: self.party(slot),
            instrument,
            side,
            price,
            qty,
        };
        self.emit(event, sink);
        slot
    }

    /// Makes a group order live.
    pub(super) fn keep_group(&mut self, slot: u32, kind: GroupKind) {
        let order = &self.store.orders[slot];
        let (id, account) = (order.id, order.account_id());
        self.store.publish(kind.book(), slot);
        if matches!(kind, GroupKind::Sub(_) | GroupKind::Rfq(_)) {
            self.note_group_of(account, id);
        }
        self.contracts.groups.insert(id, Group { slot, kind });
    }

    /// Forgets the record of a group order that was never made live.
    pub(super) fn drop_group(&mut self, book: u32, slot: u32) {
        self.contracts.set_tag(slot, Tag::Plain);
        self.store.remove(&mut self.books[book as usize], slot);
    }

    /// Cancels a group order that is not live yet.
    pub(super) fn cancel_entering<S: EventSink + ?Sized>(
        &mut self,
        slot: u32,
        book: u32,
        qty: u64,
        reason: CancelReason,
        sink: &mut S,
    ) {
        let none = ClOrdId::new(0);
        self.emit_canceled(slot, InstrumentId::new(book), qty, reason, none, sink);
        self.drop_group(book, slot);
    }

    /// Cancels a live group order; its shadows and holds are gone at once, and the quotes of a request
    /// follow it.
    pub(crate) fn cancel_group<S: EventSink + ?Sized>(
        &mut self,
        id: u64,
        reason: CancelReason,
        request: ClOrdId,
        sink: &mut S,
    ) {
        let Some(group) = self.contracts.groups.get(&id) else {
            return;
        };
        let (slot, book) = (group.slot, group.kind.book());
        let open = self.store.orders[slot].leaves;
        self.emit_canceled(slot, InstrumentId::new(book), open, reason, request, sink);
        self.end_group(id, sink);
    }

    pub(super) fn expire_group<S: EventSink + ?Sized>(
        &mut self,
        id: u64,
        reason: ExpireReason,
        sink: &mut S,
    ) {
        let Some(group) = self.contracts.groups.get(&id) else {
            return;
        };
        let (slot, book) = (group.slot, group.kind.book());
        let event = Event::OrderExpired {
            party: self.party(slot),
            instrument: InstrumentId::new(book),
            side: self.store.orders[slot].side(),
            qty: Qty::from_lots(self.store.orders[slot].leaves),
            cum: Qty::from_lots(self.store.cum(slot)),
            reason,
        };
        self.emit(event, sink);
        self.end_group(id, sink);
    }

    /// A live group order is over: filled, canceled or expired.
    pub(super) fn end_group<S: EventSink + ?Sized>(&mut self, id: u64, sink: &mut S) {
        let Some(group) = self.contracts.groups.remove(&id) else {
            return;
        };
        match &group.kind {
            GroupKind::Sub(sub) => {
                for leg in &sub.legs {
                    self.drop_shadow(leg.book, leg.shadow);
                }
            }
            GroupKind::Carve(carve) => {
                for slice in carve.slices.iter().flatten() {
                    self.drop_shadow(slice.book, slice.shadow);
                }
                self.forget_ask(carve.pool, id);
            }
            GroupKind::Rfq(rfq) => {
                self.disarm(rfq.closes, super::deadlines::CLOSE, id);
            }
            GroupKind::Quote(quote) => {
                let window = self.window(quote.book as usize);
                let pool = &mut self.contracts.pools[quote.pool];
                pool.taken.add(window, -i64::from(quote.qty));
                pool.forget(id);
                let rfq = quote.rfq;
                if let Some(Group {
                    kind: GroupKind::Rfq(rfq),
                    ..
                }) = self.contracts.groups.get_mut(&rfq)
                {
                    rfq.quotes.retain(|&other| other != id);
                }
            }
        }
        self.drop_group(group.kind.book(), group.slot);
        if let GroupKind::Rfq(rfq) = group.kind {
            for quote in rfq.quotes {
                self.cancel_group(quote, CancelReason::RfqEnded, ClOrdId::new(0), sink);
            }
        }
    }

    fn forget_ask(&mut self, pool: usize, id: u64) {
        self.contracts.pools[pool].forget(id);
    }

    /// Takes a shadow out of its book; none is 0.
    pub(super) fn drop_shadow(&mut self, book: u32, shadow: u32) {
        if shadow != 0 {
            self.contracts.set_tag(shadow, Tag::Plain);
            self.store.end(&mut self.books[book as usize], shadow);
        }
    }

    /// Puts a shadow of `parent` into a book.
    pub(super) fn add_shadow(
        &mut self,
        parent: u32,
        book: u32,
        price: i64,
        qty: u64,
        tag: Tag,
    ) -> u32 {
        let order = self.store.orders[parent].shadow(qty);
        let slot = self.store.insert(order, None);
        self.contracts.set_tag(slot, tag);
        self.store
            .rest_shadow(&mut self.books[book as usize], slot, price);
        slot
    }
}
