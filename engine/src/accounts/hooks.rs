//! Where the order path meets the accounts. Nothing here runs before somebody uses accounts.

use tessera_types::{
    AccountEvent, Cancel, ClientHeader, Event, EventSink, NewOrder, OrderTarget, RejectReason,
    Replace,
};

use super::{Ask, MAX_POSITIONS, Print, SWEEP_ACCOUNTS, SWEEP_POSITIONS};
use crate::exchange::Exchange;

/// Between two re-margining commands of an exchange that nobody asks anything.
const SWEEP_PAUSE_NS: u64 = 1_000;

impl Exchange {
    /// What comes before a command: the age of the parameters, and some of the re-margin after a
    /// switch.
    #[cold]
    #[inline(never)]
    pub(crate) fn before_command<S: EventSink + ?Sized>(&mut self, sink: &mut S) {
        if let Some(age_ns) = self.accounts.params.age(self.clock) {
            let version = self.accounts.params.version;
            self.emit(
                Event::Account(AccountEvent::RiskAged { version, age_ns }),
                sink,
            );
        }
        let (mut looked_at, mut positions) = (0, 0);
        while looked_at < SWEEP_ACCOUNTS
            && positions < SWEEP_POSITIONS
            && self.accounts.is_sweeping()
        {
            let place = u32::try_from(self.accounts.sweep).expect("an account has a place");
            self.accounts.sweep += 1;
            looked_at += 1;
            positions += self.accounts.held(&self.accounts.list[place as usize]);
            self.judge_account(place, sink);
        }
    }

    /// When the clock next does something for the accounts. While some wait for their re-margin a quiet
    /// exchange goes on with it a microsecond later.
    pub(crate) fn accounts_due(&self) -> u64 {
        let sweep = if self.accounts.is_sweeping() {
            self.clock.nanos().saturating_add(SWEEP_PAUSE_NS)
        } else {
            u64::MAX
        };
        self.accounts.params.age_due.min(sweep)
    }

    /// Looks at the accounts whose margin or funds the command changed, in order of their opening.
    #[inline(never)]
    pub(crate) fn settle_accounts<S: EventSink + ?Sized>(&mut self, sink: &mut S) {
        let mut touched = core::mem::take(&mut self.accounts.touched);
        touched.sort_unstable();
        for &place in &touched {
            self.judge_account(place, sink);
        }
        touched.clear();
        self.accounts.touched = touched;
    }

    #[inline]
    fn judge_account<S: EventSink + ?Sized>(&mut self, place: u32, sink: &mut S) {
        let Some((breached, margin, funds)) = self.accounts.judge(place) else {
            return;
        };
        let account = self.accounts.list[place as usize].id;
        let event = if breached {
            AccountEvent::MarginBreached {
                account,
                margin,
                funds,
            }
        } else {
            AccountEvent::MarginRestored {
                account,
                margin,
                funds,
            }
        };
        self.emit(Event::Account(event), sink);
    }

    /// Brings the account of a request up to the parameters in force, before the request is judged.
    #[inline]
    pub(crate) fn refresh_account<S: EventSink + ?Sized>(&mut self, account: u32, sink: &mut S) {
        if let Some(place) = self.accounts.place(account) {
            let kept = &self.accounts.list[place as usize];
            if kept.margined && kept.epoch != self.accounts.params.epoch {
                self.judge_account(place, sink);
            }
        }
    }

    /// A new order while accounts are kept. It takes the short way when the accounts let it pass; the
    /// general way finds out what is wrong first when they do not. Returns whether it has been done.
    #[inline(never)]
    pub(crate) fn enter_watched<S: EventSink + ?Sized>(
        &mut self,
        request: &NewOrder,
        sink: &mut S,
    ) -> bool {
        let (account, session) = (request.header.account.get(), request.header.session);
        let quiet = self.store.untouched();
        if !self.accounts.keeps(account, session.get()) {
            return quiet && self.enter_plain(request, sink);
        }
        self.refresh_account(account, sink);
        if quiet
            && let Some(ask) = self.ask_of(request)
            && self.accounts.check(&ask).is_ok()
            && self.enter_plain(request, sink)
        {
            let slot = self.store.find(session, request.header.cl_ord_id.get());
            self.accounts
                .track(slot.expect("the short way has stored it"), &ask);
            return true;
        }
        false
    }

    /// A cancel while accounts are kept. A change of margin is told before the levels, so the short
    /// way is for accounts about which there is nothing to tell.
    #[inline(never)]
    pub(crate) fn cancel_watched<S: EventSink + ?Sized>(
        &mut self,
        request: &Cancel,
        sink: &mut S,
    ) -> bool {
        let slot = self.named_slot(&request.header, request.target);
        let calm = slot.is_none_or(|slot| self.accounts.is_calm(slot));
        let done = calm && self.store.untouched() && self.cancel_plain(request, sink);
        if done && let Some(slot) = slot {
            self.accounts.close(slot);
        }
        done
    }

    /// A replace while accounts are kept: a new price alone leaves positions and margin as they are.
    #[inline(never)]
    pub(crate) fn replace_watched<S: EventSink + ?Sized>(
        &mut self,
        request: &Replace,
        sink: &mut S,
    ) -> bool {
        let quiet = self.store.untouched();
        let slot = self.named_slot(&request.header, request.target);
        let Some((slot, (open, _))) =
            slot.and_then(|slot| Some((slot, self.accounts.open_of(slot)?)))
        else {
            return quiet && self.move_plain(request, sink);
        };
        self.refresh_account(self.store.orders[slot].account, sink);
        let price = request.price.map(tessera_types::Price::ticks);
        if quiet
            && let Some(price) = price
            && self.check_change(slot, open, Some(price)).is_ok()
            && self.move_plain(request, sink)
        {
            self.accounts.set_open(slot, open, price);
            return true;
        }
        false
    }

    fn named_slot(&self, header: &ClientHeader, target: OrderTarget) -> Option<u32> {
        match target {
            OrderTarget::Client(id) => self.store.find(header.session, id.get()),
            OrderTarget::Exchange(_) => None,
        }
    }

    /// What the accounts are asked about a new order; none when its instrument is unknown.
    #[inline]
    fn ask_of(&self, request: &NewOrder) -> Option<Ask> {
        let book = self.books.get(request.instrument.get() as usize)?;
        let price = request.ord_type.has_price().then(|| request.price.ticks());
        Some(Ask {
            account: request.header.account.get(),
            session: request.header.session.get(),
            print: Print {
                instrument: request.instrument.get(),
                side: request.side,
                price,
                qty: request.qty.lots(),
                time: self.clock.nanos(),
            },
            reference: book.last.or(book.rest.ref_price),
            before: None,
        })
    }

    /// Whether the accounts let a new order in.
    #[inline(never)]
    pub(crate) fn check_accounts(&self, request: &NewOrder) -> Result<(), RejectReason> {
        let (account, session) = (request.header.account.get(), request.header.session.get());
        if !self.accounts.keeps(account, session) {
            return Ok(());
        }
        self.ask_of(request)
            .map_or(Ok(()), |ask| self.accounts.check(&ask))
    }

    /// Whether the accounts let a live order change to so much open at this limit. An order that only
    /// gets smaller always may.
    pub(crate) fn check_change(
        &self,
        slot: u32,
        open: u64,
        limit: Option<i64>,
    ) -> Result<(), RejectReason> {
        let Some((open_before, limit_before)) = self.accounts.open_of(slot) else {
            return Ok(());
        };
        if open <= open_before && limit.unwrap_or(0) == limit_before {
            return Ok(());
        }
        let order = &self.store.orders[slot];
        let book = &self.books[self.book_of(slot)];
        self.accounts.check(&Ask {
            account: order.account,
            session: order.session().get(),
            print: Print {
                instrument: book.number,
                side: order.side(),
                price: limit,
                qty: open,
                time: self.clock.nanos(),
            },
            reference: book.last.or(book.rest.ref_price),
            before: Some((open_before, limit_before)),
        })
    }

    /// Takes note of an order that was just accepted.
    #[inline(never)]
    pub(crate) fn track_new(&mut self, slot: u32, request: &NewOrder, quote: bool) {
        let (account, session) = (request.header.account.get(), request.header.session.get());
        if self.accounts.keeps(account, session)
            && let Some(mut ask) = self.ask_of(request)
        {
            // Quotes are repeated by nature, so none is remembered as an order to repeat.
            ask.before = quote.then_some((0, 0));
            self.accounts.track(slot, &ask);
        }
    }

    /// Takes note of the live orders of an account or session that begins to be kept: they are found
    /// by reading every order, once.
    ///
    /// # Errors
    /// `lots_limit` when they are more than an account may have; then nothing has changed.
    pub(crate) fn adopt(
        &mut self,
        wanted: impl Fn(&crate::book::order::Order) -> bool,
        limited: bool,
        keep: impl FnOnce(&mut Self) -> Result<(), RejectReason>,
    ) -> Result<(), RejectReason> {
        let live = self.store.orders.iter();
        let mut slots: Vec<u32> = live
            .filter(|(_, order)| order.is_single() && wanted(order))
            .map(|(slot, _)| slot)
            .collect();
        slots.sort_unstable_by_key(|&slot| self.store.orders[slot].id);
        if limited {
            let lots = |&slot: &u32| u128::from(self.store.orders[slot].leaves);
            let sum: u128 = slots.iter().map(lots).sum();
            if sum > super::LOTS_LIMIT.unsigned_abs().into() || slots.len() > MAX_POSITIONS {
                return Err(RejectReason::LotsLimit);
            }
        }
        // Books that begin know nothing of these orders, so they are taken out of all and put back.
        slots.iter().for_each(|&slot| self.accounts.close(slot));
        let kept = keep(self);
        for slot in slots {
            let order = &self.store.orders[slot];
            let (account, session) = (order.account, order.session().get());
            let print = Print {
                instrument: self.books[self.book_of(slot)].number,
                side: order.side(),
                price: self.store.limit(slot),
                qty: order.leaves,
                time: self.clock.nanos(),
            };
            if !self.accounts.keeps(account, session) {
                continue;
            }
            // An order that was here before is no order to repeat.
            self.accounts.track(
                slot,
                &Ask {
                    account,
                    session,
                    print,
                    reference: None,
                    before: Some((0, 0)),
                },
            );
        }
        kept
    }
}

impl super::Accounts {
    /// True when something comes before the next command.
    #[inline]
    pub(crate) fn has_work(&self, now: tessera_types::Timestamp) -> bool {
        self.is_sweeping() || now.nanos() >= self.params.age_due
    }

    /// True when the command has changed what an account needs or has.
    #[inline]
    pub(crate) fn has_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// True when no change of the order's account could be worth telling.
    fn is_calm(&self, slot: u32) -> bool {
        let Some(tracked) = self.tracked.get(slot as usize).filter(|t| t.open > 0) else {
            return true;
        };
        let Some(position) = self.positions.get(tracked.position as usize) else {
            return true;
        };
        let account = &self.list[position.account as usize];
        !account.margined || (!account.breached && account.epoch == self.params.epoch)
    }
}
