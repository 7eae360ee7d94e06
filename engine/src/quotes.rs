//! Mass quotes: a party's two-sided prices on many instruments, replaced together.

use tessera_types::{
    Backing, CancelReason, ClOrdId, ClientHeader, CommandKind, Event, EventSink, ExecInst,
    InstrumentId, MassQuote, NewOrder, Phase, Price, Qty, QuoteEntry, RejectReason, Side,
};

use crate::book::order::{Place, flag};
use crate::exchange::{Exchange, Subject};

/// One side of an entry that names its quantity.
#[derive(Clone, Copy, Debug)]
struct Leg {
    side: Side,
    id: ClOrdId,
    price: Price,
    qty: Qty,
    backing: Backing,
}

impl Exchange {
    #[inline(never)]
    pub(crate) fn on_mass_quote<S: EventSink + ?Sized>(
        &mut self,
        request: &MassQuote,
        sink: &mut S,
    ) {
        if let Err(reason) = self.sessions.admit(&request.header) {
            let kind = CommandKind::MassQuote;
            return self.reject(&request.header, kind, Subject::Nothing, reason, sink);
        }
        if self.accounts.on {
            self.refresh_account(request.header.account.get(), sink);
        }
        let plain = |entry: &QuoteEntry| {
            let number = entry.instrument.get() as usize;
            self.books.get(number).is_none_or(|book| !book.contract)
        };
        let strange = |entry: &QuoteEntry| !entry.backing.is_nothing() && plain(entry);
        if request.entries.iter().any(strange) {
            let (kind, reason) = (CommandKind::MassQuote, RejectReason::BadField);
            return self.reject(&request.header, kind, Subject::Nothing, reason, sink);
        }
        for entry in &request.entries {
            match self.check_entry(entry) {
                Ok(number) => self.quote(number, request, entry, sink),
                Err(reason) => {
                    let subject = Subject::Book(entry.instrument, None);
                    self.reject(
                        &request.header,
                        CommandKind::MassQuote,
                        subject,
                        reason,
                        sink,
                    );
                }
            }
        }
        for entry in &request.entries {
            // Nothing that this looks at has changed since, so it answers as before.
            if let Ok(number) = self.check_entry(entry) {
                self.retry_all_or_none(number, sink);
            }
        }
    }

    /// What is wrong with an entry as a whole; then its earlier quotes stay.
    fn check_entry(&self, entry: &QuoteEntry) -> Result<usize, RejectReason> {
        if let Some(reason) = entry.refused {
            return Err(reason);
        }
        let number = entry.instrument.get() as usize;
        let book = self
            .books
            .get(number)
            .ok_or(RejectReason::UnknownInstrument)?;
        let asks = entry.ask_qty.is_some_and(|qty| !qty.is_zero());
        if book.contract && asks == entry.backing.is_nothing() {
            return Err(match asks {
                true => RejectReason::MissingField,
                false => RejectReason::BadField,
            });
        }
        match book.phase {
            Phase::Halt => return Err(RejectReason::Halted),
            Phase::Closed => return Err(RejectReason::Closed),
            Phase::Continuous | Phase::Auction => {}
        }
        let quoted = |qty: Option<Qty>| qty.is_some_and(|qty| !qty.is_zero());
        if quoted(entry.bid_qty) && quoted(entry.ask_qty) && entry.bid_price >= entry.ask_price {
            return Err(RejectReason::CrossedQuote);
        }
        Ok(number)
    }

    /// Earlier quotes go first, the bid's before the ask's; then the bid enters, then the ask.
    fn quote<S: EventSink + ?Sized>(
        &mut self,
        number: usize,
        request: &MassQuote,
        entry: &QuoteEntry,
        sink: &mut S,
    ) {
        let leg = |side, id, price, qty: Option<Qty>| {
            qty.map(|qty| Leg {
                side,
                id,
                price,
                qty,
                backing: match side {
                    Side::Buy => Backing::NOTHING,
                    Side::Sell => entry.backing,
                },
            })
        };
        let mut legs = [
            leg(Side::Buy, entry.bid_id, entry.bid_price, entry.bid_qty),
            leg(Side::Sell, entry.ask_id, entry.ask_price, entry.ask_qty),
        ];
        for place in &mut legs {
            if let Some(leg) = place
                && (self.replace_quote(number, request, leg, sink) || leg.qty.is_zero())
            {
                *place = None;
            }
        }
        for leg in legs.into_iter().flatten() {
            let header = ClientHeader {
                cl_ord_id: leg.id,
                ..request.header
            };
            let instrument = entry.instrument;
            let mut order = NewOrder::limit(header, instrument, leg.side, leg.price, leg.qty);
            order.self_match = request.self_match;
            order.backing = leg.backing;
            if request.post_only {
                order.exec_inst = ExecInst::POST_ONLY;
            }
            match self.check_new_order(&order) {
                Ok(()) => self.accept(&order, true, sink),
                Err(reason) => {
                    let subject = Subject::Book(instrument, Some(leg.side));
                    self.reject(&header, CommandKind::MassQuote, subject, reason, sink);
                }
            }
        }
    }

    /// The party's earlier quote on that side ends, or is kept in its place: then true.
    fn replace_quote<S: EventSink + ?Sized>(
        &mut self,
        number: usize,
        request: &MassQuote,
        leg: &Leg,
        sink: &mut S,
    ) -> bool {
        let header = &request.header;
        let instrument = self.books[number].number;
        let found = self
            .store
            .find_quote(instrument, header.session, header.account, leg.side);
        let Some(slot) = found else { return false };
        if !request.keep_priority || !self.may_keep(number, slot, leg) {
            self.cancel(slot, CancelReason::Requote, header.cl_ord_id, sink);
            return false;
        }
        let order = &self.store.orders[slot];
        let (old_id, leaves) = (order.client_id(), order.leaves);
        if leg.id != old_id {
            self.store.rename(slot, leg.id.get());
        }
        if leg.qty.lots() < leaves {
            self.store.shrink(slot, leaves - leg.qty.lots());
            self.accounts.shrink(slot, leaves - leg.qty.lots());
        }
        self.store.forget_fills(slot);
        self.store.amend(slot, |order, _| {
            order.set(flag::POST_ONLY, request.post_only);
            order.set_self_match(request.self_match);
        });
        let event = Event::OrderReplaced {
            party: self.party(slot),
            old_id,
            instrument: InstrumentId::new(instrument),
            side: leg.side,
            price: leg.price,
            qty: leg.qty,
            leaves: leg.qty,
        };
        self.emit(event, sink);
        true
    }

    /// True when a quote may take the place of the earlier one: same price, no more than is open,
    /// and an id that is its own or free.
    fn may_keep(&self, number: usize, slot: u32, leg: &Leg) -> bool {
        let order = &self.store.orders[slot];
        let queue = &self.store.queues[order.queue];
        queue.place() == Place::Book
            && queue.price() == leg.price
            && (1..=order.leaves).contains(&leg.qty.lots())
            && self.books[number].qty_fits(leg.qty.lots())
            && (!self.books[number].contract || self.is_backed_by(slot, leg.backing))
            && leg.id.get() != 0
            && (leg.id == order.client_id()
                || self.store.find(order.session(), leg.id.get()).is_none())
    }
}
