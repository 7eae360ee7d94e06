//! The exchange as one value: `apply` takes a command, events come out.
//!
//! This file receives commands, admits them, and answers questions. What an order may do is in
//! [`orders`](crate::orders), how it trades in `book/matching.rs`.

use std::collections::BTreeMap;

use tessera_types::{
    AccountId, Catalogue, ClOrdId, ClientHeader, Command, CommandKind, Event, EventSink,
    ExpireReason, FenceReason, Instrument, InstrumentId, Name, OrderTarget, Party, Phase, Price,
    Qty, RejectReason, Requester, Seq, Sequenced, SessionFence, SessionId, SessionLogon, Side,
    Timestamp,
};

use crate::accounts::Accounts;
use crate::auction::AuctionScratch;
use crate::book::Book;
use crate::book::order::{Order, Place, flag};
use crate::book::slab::NONE;
use crate::book::store::Store;
use crate::contracts::{Contracts, EXPIRY};
use crate::digest::{EventsDigest, Folder};
use crate::lookahead::Lookahead;
use crate::sessions::Sessions;
use crate::snapshot::{Reader, SnapshotError, Writer};
use crate::view::{DepthLevel, OrderState, OrderView, SessionView};
use crate::volatility::Interruptions;

/// What an exchange is built with. None of it changes the result of a command.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Key of the hash of the id index, so that no peer can choose ids that collide.
    pub index_seed: u64,
    /// Orders that memory is set aside for at the start; more are welcome.
    pub expected_orders: usize,
    /// Live orders from which on [`Exchange::look_ahead`] gives hints.
    pub look_ahead_from: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            index_seed: 0,
            expected_orders: 1024,
            look_ahead_from: crate::lookahead::MANY_ORDERS,
        }
    }
}

/// Far beyond what any exchange accepts, and far from where the count would overflow.
const MOST_ORDERS_EVER: u64 = 1 << 62;

/// What a refused request was about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject {
    Nothing,
    /// An order, by the id that the request used.
    Order(OrderTarget),
    /// An instrument, which need not exist, and a side of it.
    Book(InstrumentId, Option<Side>),
    /// A side of every instrument.
    Books(Option<Side>),
}

/// The deterministic core: instruments, books, orders, sessions.
#[derive(Debug)]
pub struct Exchange {
    pub(crate) books: Vec<Book>,
    pub(crate) store: Store,
    pub(crate) sessions: Sessions,
    pub(crate) clock: Timestamp,
    /// The next order's id: 1, 2, 3 in order of acceptance.
    pub(crate) next_order_id: u64,
    /// (book, order) of stops that were elected and have not entered yet; empty between commands.
    pub(crate) elected: Vec<(usize, u32)>,
    /// (age, order) of what is about to end; kept for its memory.
    pub(crate) ending: Vec<(u64, u32)>,
    /// (order, open, visible) of a level while it is tried out; kept for its memory.
    pub(crate) plan: Vec<(u32, u64, u64)>,
    /// Volatility interruptions that run.
    pub(crate) interruptions: Interruptions,
    /// Books in an auction whose outcome is told while they collect.
    pub(crate) collecting: u32,
    pub(crate) scratch: AuctionScratch,
    pub(crate) names: BTreeMap<Name, InstrumentId>,
    pub(crate) catalogue: Option<Catalogue>,
    pub(crate) contracts: Contracts,
    pub(crate) last_seq: Seq,
    pub(crate) events: EventsDigest,
    pub(crate) accounts: Accounts,
    /// Has no influence on anything but time.
    pub(crate) lookahead: Lookahead,
}

impl Exchange {
    /// An exchange without instruments, sessions or orders; its clock stands at 0.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self {
            books: Vec::new(),
            store: Store::new(config.index_seed, config.expected_orders),
            sessions: Sessions::default(),
            clock: Timestamp::ZERO,
            next_order_id: 1,
            elected: Vec::new(),
            ending: Vec::new(),
            plan: Vec::new(),
            interruptions: Interruptions::default(),
            collecting: 0,
            scratch: AuctionScratch::default(),
            names: BTreeMap::new(),
            catalogue: None,
            contracts: Contracts::default(),
            last_seq: Seq::ZERO,
            events: EventsDigest::default(),
            accounts: Accounts::default(),
            lookahead: Lookahead::new(config.look_ahead_from),
        }
    }

    /// Applies one command and hands its events to `sink`, in the order of `docs/order-script.md`:
    /// expiries, the answer, auction and trades, what is left of the order, elected stops, levels.
    ///
    /// Every command of any content is answered; none panics. The sequencer never lets the time
    /// fall; should it do so here, the clock stands still.
    #[inline]
    pub fn apply<S: EventSink + ?Sized>(&mut self, sequenced: &Sequenced, sink: &mut S) {
        self.last_seq = sequenced.seq;
        let now = self.clock.max(sequenced.time);
        if self.next_due() <= now.nanos() {
            if let Command::Restart(request) = &sequenced.command {
                self.extend_over_outage(request, now);
            }
            self.run_due(now, sink);
            self.clock = now;
            return self.apply_at_length(&sequenced.command, sink);
        }
        self.clock = now;
        // A short way does all of its command or nothing.
        let done = !self.accounts.on
            && match &sequenced.command {
                Command::NewOrder(request) => self.enter_plain(request, sink),
                Command::Cancel(request) => self.cancel_plain(request, sink),
                Command::Replace(request) => self.move_plain(request, sink),
                _ => false,
            };
        if !done {
            self.apply_at_length(&sequenced.command, sink);
        }
    }

    /// The general way of every command, once its time is set.
    #[inline(never)]
    fn apply_at_length<S: EventSink + ?Sized>(&mut self, command: &Command, sink: &mut S) {
        if self.accounts.on && self.accounts.has_work(self.clock) {
            self.before_command(sink);
        }
        match command {
            Command::NewOrder(request) => self.on_new_order(request, sink),
            Command::Cancel(request) => self.on_cancel(request, sink),
            Command::Reduce(request) => self.on_reduce(request, sink),
            Command::Replace(request) => self.on_replace(request, sink),
            Command::MassCancel(request) => self.on_mass_cancel(request, sink),
            Command::MassQuote(request) => self.on_mass_quote(request, sink),
            Command::SessionLogon(logon) => self.on_logon(logon, sink),
            Command::SessionFence(fence) => self.on_fence(fence, sink),
            Command::ListInstrument(request) => self.on_list_instrument(request, sink),
            Command::SetPhase(request) => self.on_set_phase(request, sink),
            Command::SetCatalogue(request) => self.on_set_catalogue(request, sink),
            Command::Contract(request) => self.on_contract(request, sink),
            Command::Restart(request) => self.on_restart(request, sink),
            Command::Reopen(_) => self.on_reopen(sink),
            Command::AdvanceTime(_) => {}
            Command::Account(request) => {
                self.on_account(request, command.kind(), sink);
            }
            Command::RiskParams(request) => {
                self.on_risk_params(request, command.kind(), sink);
            }
        }
        self.finish(sink);
    }

    /// What comes behind the answer of a command: elected stops, what auctions would do, levels.
    #[inline]
    pub(crate) fn finish<S: EventSink + ?Sized>(&mut self, sink: &mut S) {
        if !self.elected.is_empty() {
            self.enter_elected(sink);
        }
        if self.accounts.has_touched() {
            self.settle_accounts(sink);
        }
        if !self.store.auctions_touched.is_empty() || self.collecting > 0 {
            self.tell_indications(sink);
        }
        self.store.emit_levels(sink);
    }

    // ---- sessions ----

    #[inline(never)]
    fn on_logon<S: EventSink + ?Sized>(&mut self, logon: &SessionLogon, sink: &mut S) {
        let header = ClientHeader {
            received: logon.received,
            ..ClientHeader::default()
        };
        if logon.name.validate().is_err() {
            let reason = RejectReason::BadField;
            return self.reject(
                &header,
                CommandKind::SessionLogon,
                Subject::Nothing,
                reason,
                sink,
            );
        }
        let Some((session, life)) = self.sessions.logon(&logon.name) else {
            let reason = RejectReason::LimitReached;
            return self.reject(
                &header,
                CommandKind::SessionLogon,
                Subject::Nothing,
                reason,
                sink,
            );
        };
        self.store.expect_session(session);
        self.emit(
            Event::SessionStarted {
                session,
                generation: life.generation,
                conn: logon.conn,
                last_cl_ord_id: life.last_cl_ord_id,
                next_server_seq: life.next_server_seq,
            },
            sink,
        );
    }

    /// Ends a life of a session. A fence that names another life came late and does nothing.
    #[inline(never)]
    fn on_fence<S: EventSink + ?Sized>(&mut self, fence: &SessionFence, sink: &mut S) {
        let Some(generation) = self.sessions.fence(fence.session, fence.generation) else {
            return;
        };
        let mut canceled = 0;
        if fence.cancel_orders {
            let reason = match fence.reason {
                FenceReason::Kill => tessera_types::CancelReason::Kill,
                FenceReason::Operator => tessera_types::CancelReason::System,
                _ => tessera_types::CancelReason::Disconnect,
            };
            let spares = fence.reason != FenceReason::Kill;
            let session = fence.session;
            self.collect_orders(session, |order| !(spares && order.has(flag::STAY)));
            canceled = self.cancel_collected(reason, ClOrdId::new(0), sink);
        }
        let session = fence.session;
        self.emit(
            Event::SessionFenced {
                session,
                generation,
                canceled,
            },
            sink,
        );
    }

    // ---- snapshots ----

    /// The clock, the counters and the digest of the events that no state hash has closed yet.
    pub(crate) fn save_core(&self, writer: &mut Writer) {
        writer.u64(self.clock.nanos());
        writer.u64(self.next_order_id);
        writer.u64(self.last_seq.get());
        writer.u64(self.events.word());
    }

    pub(crate) fn restore_core(&mut self, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
        self.clock = Timestamp::from_nanos(reader.u64()?);
        self.next_order_id = reader.u64()?;
        let fits = (1..=MOST_ORDERS_EVER).contains(&self.next_order_id);
        reader.ensure(fits, "no order has this id")?;
        self.last_seq = Seq::new(reader.u64()?);
        self.events = EventsDigest::resume(reader.u64()?);
        Ok(())
    }

    // ---- ending many orders ----

    /// The next time at which the clock does something; `u64::MAX` when there is none.
    #[inline]
    fn next_due(&self) -> u64 {
        let end = self.interruptions.first();
        let end = end.map_or(u64::MAX, |(ends, _)| ends.nanos());
        let contracts = self
            .next_contract_deadline()
            .map_or(u64::MAX, |(time, _)| time);
        self.store.expiries.next.min(end).min(contracts)
    }

    /// Does what the clock reaches on its way to `now`, one by one, each at its own time: by time;
    /// of what is due together, expiries by age before ends of auctions by number.
    #[cold]
    pub(crate) fn run_due<S: EventSink + ?Sized>(&mut self, now: Timestamp, sink: &mut S) {
        loop {
            let orders = (self.store.expiries.next, EXPIRY);
            let other = self
                .interruptions
                .first()
                .map_or(u64::MAX, |(ends, _)| ends.nanos());
            if let Some((time, kind)) = self.next_contract_deadline()
                && time <= now.nanos()
                && (time, kind) < orders
                && time <= other
            {
                self.fire_contract_deadline(sink);
                continue;
            }
            let end = self
                .interruptions
                .first()
                .filter(|&(ends, _)| ends <= now)
                .filter(|&(ends, _)| ends.nanos() < self.store.expiries.next);
            if let Some((ends, number)) = end {
                self.clock = self.clock.max(ends);
                self.end_interruption(number as usize, sink);
            } else if let Some(slot) = self.store.due(now.nanos()) {
                let time = Timestamp::from_nanos(self.store.expiries.next);
                self.clock = self.clock.max(time);
                self.expire(slot, ExpireReason::Gtd, sink);
            } else {
                return;
            }
        }
    }

    /// Notes the live orders of a session that `wanted` picks, in order of acceptance; of every
    /// session when it is the venue's.
    ///
    /// Reads the orders in memory order, 48 bytes each, until it has seen as many of the session as
    /// live, so nothing for a session without orders and at worst every record: a list per session
    /// or account would cost every order 8 bytes for a command that is rare.
    pub(crate) fn collect_orders(&mut self, session: SessionId, wanted: impl Fn(&Order) -> bool) {
        self.ending.clear();
        let venue = session == SessionId::VENUE;
        let at_most = if venue {
            self.store.ids.live()
        } else {
            self.store.live_of(session)
        };
        if at_most > 0 {
            let orders = self.store.orders.iter();
            let of_session = orders.filter(|(_, order)| {
                order.has(flag::INDEXED) && (venue || order.session() == session)
            });
            let picked = of_session.take(at_most).filter(|(_, order)| wanted(order));
            self.ending
                .extend(picked.map(|(slot, order)| (order.id, slot)));
        }
        self.ending.sort_unstable();
    }

    // ---- answers ----

    #[inline(always)]
    pub(crate) fn emit<S: EventSink + ?Sized>(&mut self, event: Event, sink: &mut S) {
        self.events.add(&event);
        sink.emit(event);
    }

    /// Refuses a request.
    #[cold]
    pub(crate) fn reject<S: EventSink + ?Sized>(
        &mut self,
        header: &ClientHeader,
        kind: CommandKind,
        subject: Subject,
        reason: RejectReason,
        sink: &mut S,
    ) {
        let target = match subject {
            Subject::Order(OrderTarget::Client(id)) => id,
            _ => ClOrdId::new(0),
        };
        let (instrument, side) = match subject {
            Subject::Nothing | Subject::Order(_) => (None, None),
            Subject::Book(instrument, side) => (Some(instrument), side),
            Subject::Books(side) => (None, side),
        };
        let event = Event::Rejected {
            session: header.session,
            account: header.account,
            server_seq: self.sessions.number_message(header.session),
            cl_ord_id: header.cl_ord_id,
            target,
            kind,
            reason,
            instrument: instrument.filter(|id| (id.get() as usize) < self.books.len()),
            side,
        };
        self.emit(event, sink);
    }

    pub(crate) fn requester(&mut self, header: &ClientHeader) -> Requester {
        Requester {
            session: header.session,
            cl_ord_id: header.cl_ord_id,
            server_seq: self.sessions.number_message(header.session),
        }
    }

    /// Addresses one message to the owner of an order.
    #[inline]
    pub(crate) fn party(&mut self, slot: u32) -> Party {
        let order = &self.store.orders[slot];
        order.party(self.sessions.number_message(order.session()))
    }

    // ---- questions ----

    /// When the clock next does something, an expiry or the end of an auction: the sequencer journals an `AdvanceTime` then, if it is quiet.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let due = self.next_due().min(self.accounts_due());
        (due != u64::MAX).then(|| Timestamp::from_nanos(due))
    }

    /// The time of the latest command.
    #[must_use]
    pub fn clock(&self) -> Timestamp {
        self.clock
    }

    /// The latest command.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// Hash over everything that can influence a later event, and over nothing else.
    ///
    /// Orders enter through a sum that is kept up with every change, so the cost depends on the
    /// number of instruments and sessions only.
    #[must_use]
    pub fn state_hash(&self) -> [u8; 32] {
        let mut folder = Folder::new();
        folder.word(self.clock.nanos());
        folder.word(self.next_order_id);
        folder.word(self.store.sum().word());
        folder.word(self.books.len() as u64);
        for book in &self.books {
            book.fold(&mut folder);
        }
        folder.option(
            self.catalogue
                .as_ref()
                .map(|catalogue| u64::from(catalogue.version)),
        );
        if let Some(catalogue) = &self.catalogue {
            crate::listing::fold_catalogue(catalogue, &mut folder);
        }
        self.fold_contracts(&mut folder);
        for (session, name, life) in self.sessions.iter() {
            folder.word(u64::from(session.get()));
            folder.name(name);
            folder.word(u64::from(life.generation.get()));
            folder.word(life.last_cl_ord_id.get());
            folder.word(life.next_server_seq.get());
        }
        self.accounts.fold(&mut folder);
        folder.finish()
    }

    /// Digest of the events since [`restart_events_digest`](Self::restart_events_digest).
    #[must_use]
    pub fn events_digest(&self) -> u32 {
        self.events.value()
    }

    /// Starts a new block of events: call it after a `StateHash` record was written or checked.
    pub fn restart_events_digest(&mut self) {
        self.events = EventsDigest::default();
    }

    /// Every instrument with its number and phase, in order of listing.
    pub fn instruments(&self) -> impl Iterator<Item = (InstrumentId, &Instrument, Phase)> {
        self.books.iter().map(|book| {
            (
                InstrumentId::new(book.number),
                &book.rest.instrument,
                book.phase,
            )
        })
    }

    /// One instrument.
    #[must_use]
    pub fn instrument(&self, id: InstrumentId) -> Option<(&Instrument, Phase)> {
        self.books
            .get(id.get() as usize)
            .map(|book| (&book.rest.instrument, book.phase))
    }

    /// The number of the instrument with this name.
    #[must_use]
    pub fn instrument_by_name(&self, name: &str) -> Option<InstrumentId> {
        self.names.get(&Name::new(name).ok()?).copied()
    }

    /// The price of the last trade in an instrument.
    #[must_use]
    pub fn last_trade(&self, id: InstrumentId) -> Option<Price> {
        self.books
            .get(id.get() as usize)?
            .last
            .map(Price::from_ticks)
    }

    /// The catalogue, once one has been set.
    #[must_use]
    pub fn catalogue(&self) -> Option<&Catalogue> {
        self.catalogue.as_ref()
    }

    /// One side of a book, best price first; empty for an unknown instrument.
    pub fn depth(&self, instrument: InstrumentId, side: Side) -> impl Iterator<Item = DepthLevel> {
        let half = self
            .books
            .get(instrument.get() as usize)
            .map(|book| *book.side(side));
        half.into_iter()
            .flat_map(|half| half.queues(&self.store.queues, &self.store.nodes))
            .map(|at| {
                let queue = &self.store.queues[at];
                DepthLevel {
                    price: queue.price(),
                    qty: queue.shown(),
                    orders: queue.orders,
                }
            })
    }

    /// Every live order of a book, in no particular order: sort by what you need. Group orders are
    /// in [`group_orders`](Self::group_orders).
    pub fn orders(&self) -> impl Iterator<Item = OrderView> {
        let orders = self.store.orders.iter();
        let queued = orders.filter(|(_, order)| order.is_single());
        queued.map(|(slot, _)| self.view(slot))
    }

    /// The live order that a session calls `cl_ord_id`.
    #[must_use]
    pub fn order(&self, session: SessionId, cl_ord_id: ClOrdId) -> Option<OrderView> {
        self.store
            .find(session, cl_ord_id.get())
            .filter(|&slot| self.store.orders[slot].queue != NONE)
            .map(|slot| self.view(slot))
    }

    fn view(&self, slot: u32) -> OrderView {
        let order = &self.store.orders[slot];
        let queue = &self.store.queues[order.queue];
        let waits = matches!(queue.place(), Place::Stop | Place::Trail);
        let cum = self.store.cum(slot);
        OrderView {
            order_id: order.order_id(),
            session: order.session(),
            account: AccountId::new(order.account),
            cl_ord_id: order.client_id(),
            instrument: queue.instrument(),
            side: order.side(),
            state: if waits {
                OrderState::Stop
            } else {
                OrderState::Open
            },
            qty: Qty::from_lots(order.leaves.saturating_add(cum)),
            leaves: Qty::from_lots(order.leaves),
            cum: Qty::from_lots(cum),
            exec_inst: order.exec_inst(),
            price: self.store.limit(slot).map(Price::from_ticks),
            stop: self
                .store
                .ext(slot)
                .filter(|_| waits)
                .and_then(|ext| ext.stop)
                .map(Price::from_ticks),
        }
    }

    /// Number of live orders.
    #[must_use]
    pub fn live_orders(&self) -> usize {
        self.store.ids.live()
    }

    /// One session, as a restart must find it again.
    #[must_use]
    pub fn session(&self, id: SessionId) -> Option<SessionView> {
        let (name, life) = self.sessions.get(id)?;
        Some(self.session_view(id, name, life))
    }

    /// Every session in order of its number.
    pub fn sessions(&self) -> impl Iterator<Item = SessionView> {
        self.sessions
            .iter()
            .map(|(id, name, life)| self.session_view(id, name, life))
    }

    fn session_view(
        &self,
        session: SessionId,
        name: &Name,
        life: &crate::sessions::Life,
    ) -> SessionView {
        SessionView {
            session,
            name: *name,
            generation: life.generation,
            last_cl_ord_id: life.last_cl_ord_id,
            next_server_seq: life.next_server_seq,
            live_orders: self.store.live_of(session),
        }
    }

    /// Walks every structure and panics at the first thing that does not fit. For tests: slow.
    pub fn check_invariants(&self) {
        self.store.check(&self.books);
        self.check_accounts_from_scratch();
        assert!(self.elected.is_empty(), "elected stops were left over");
        self.check_contracts();
        for book in &self.books {
            let [bid, ask] = [Side::Buy, Side::Sell]
                .map(|side| self.depth(InstrumentId::new(book.number), side).next());
            if let (Some(bid), Some(ask)) = (bid, ask)
                && book.phase == Phase::Continuous
                && book.aon_resting == 0
                && !book.contract
            {
                assert!(bid.price < ask.price, "book {} is crossed", book.number);
            }
        }
        let ends = |book: &Book| Some((book.rest.guard.ends?, book.number));
        self.interruptions.check(self.books.iter().filter_map(ends));
        let collecting = self.books.iter().filter(|book| book.collects());
        assert_eq!(self.collecting as usize, collecting.count(), "auctions");
        let mut live = 0;
        for session in self.sessions() {
            live += session.live_orders;
        }
        live += self.store.live_of(SessionId::VENUE);
        assert_eq!(live, self.live_orders(), "live orders per session");
    }
}
