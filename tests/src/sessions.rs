//! The commands of a script a second time, each through a session of its party.
//!
//! What a session adds to the rules of trading is little: who may ask, under which numbers, and what
//! a fence ends. So one exchange gets the commands from the venue, another one gets them through
//! sessions, and their events must be the same but for names and numbers; requests that a session
//! may not make, and fences, come in between.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tessera_engine::{EngineConfig, Exchange, OrderView};
use tessera_types::{
    AccountId, AdvanceTime, Cancel, CancelReason, ClOrdId, ClientHeader, Command, ConnToken, Event,
    ExecInst, FenceReason, Generation, InstrumentId, MassQuote, Name, NewOrder, OrderTarget, Party,
    Price, Qty, RejectReason, Seq, Sequenced, ServerSeq, SessionFence, SessionId, SessionLogon,
    Side, Timestamp,
};

/// Runs the commands, which are the venue's, both ways.
///
/// # Panics
/// At the first difference, and when a session is told or allowed what it should not be.
pub fn compare(seed: u64, commands: &[Sequenced]) {
    let mut pair = Pair {
        rng: Pcg64Mcg::seed_from_u64(seed),
        venue: Exchange::new(EngineConfig::default()),
        sessions: Exchange::new(EngineConfig {
            look_ahead_from: 0,
            ..EngineConfig::default()
        }),
        lives: BTreeMap::new(),
        names: BTreeMap::new(),
        ids: BTreeMap::new(),
        seq: Seq::ZERO,
        time: Timestamp::ZERO,
    };
    for sequenced in commands {
        if sequenced.time > pair.time {
            // By itself, since a logon may come before the command.
            pair.time = sequenced.time;
            pair.step(&Command::AdvanceTime(AdvanceTime));
        }
        pair.step(&sequenced.command);
    }
}

struct Pair {
    rng: Pcg64Mcg,
    /// Gets every command from the venue.
    venue: Exchange,
    /// Gets it through a session of its party.
    sessions: Exchange,
    /// By party, as the venue knows it.
    lives: BTreeMap<AccountId, Life>,
    /// The session and the id there of the latest order that the venue knows by an id.
    names: BTreeMap<u64, (AccountId, ClOrdId)>,
    /// The venue's id of an order by what its session calls it.
    ids: BTreeMap<(SessionId, ClOrdId), ClOrdId>,
    seq: Seq,
    time: Timestamp,
}

/// What a session should be.
#[derive(Clone, Copy, Debug)]
struct Life {
    session: SessionId,
    generation: Generation,
    last_id: u64,
    next_message: u64,
}

impl Pair {
    fn step(&mut self, command: &Command) {
        let mut command = command.clone();
        if let Command::NewOrder(order) = &mut command
            && self.rng.random_bool(0.2)
        {
            order.exec_inst = order.exec_inst.with(ExecInst::STAY_ON_DISCONNECT);
        }
        if self.is_left_out(&command) {
            return;
        }
        let through = self.translate(&command);
        let wanted = self.ask_venue(command);
        let told = self.ask(through);
        assert_eq!(wanted.len(), told.len(), "{wanted:#?} {told:#?}");
        for (wanted, told) in wanted.iter().zip(&told) {
            if let (
                Event::OrderAccepted { party, .. } | Event::OrderReplaced { party, .. },
                Event::OrderAccepted { party: there, .. }
                | Event::OrderReplaced { party: there, .. },
            ) = (wanted, told)
            {
                let name = (there.account, there.cl_ord_id);
                self.names.insert(party.cl_ord_id.get(), name);
                self.ids
                    .insert((there.session, there.cl_ord_id), party.cl_ord_id);
            }
            assert_eq!(self.plain(*wanted), self.plain(*told));
        }
        self.compare_orders();
        if self.rng.random_bool(0.1) {
            self.refused();
        }
        if self.rng.random_bool(0.04) {
            self.fence();
        }
    }

    /// Ids are unique in a session only, and a mass cancel reaches no further, so what depends on
    /// that has no counterpart.
    fn is_left_out(&self, command: &Command) -> bool {
        let taken = |id: ClOrdId| self.venue.order(SessionId::VENUE, id).is_some();
        match command {
            Command::NewOrder(order) => taken(order.header.cl_ord_id),
            Command::Replace(replace) => {
                let target = OrderTarget::Client(replace.new_id.unwrap_or_default());
                replace.new_id.is_some_and(taken) && replace.target != target
            }
            Command::MassQuote(quote) => {
                let legs = quote
                    .entries
                    .iter()
                    .flat_map(|entry| [entry.bid_id, entry.ask_id]);
                let mut legs: Vec<ClOrdId> = legs.filter(|id| id.get() != 0).collect();
                let count = legs.len();
                legs.sort_unstable();
                legs.dedup();
                legs.len() < count || legs.into_iter().any(taken)
            }
            Command::MassCancel(cancel) => cancel.account.is_none(),
            _ => false,
        }
    }

    /// The command as a session gives it.
    fn translate(&mut self, command: &Command) -> Command {
        let mut command = command.clone();
        match &mut command {
            Command::NewOrder(order) => {
                let id = order.header.cl_ord_id;
                order.header = self.header(order.header.account);
                let name = (order.header.session, order.header.cl_ord_id);
                self.ids.insert(name, id);
            }
            Command::Cancel(request) => {
                (request.header, request.target) = self.target(request.header, request.target);
            }
            Command::Reduce(request) => {
                (request.header, request.target) = self.target(request.header, request.target);
            }
            Command::Replace(request) => {
                let kept = request.new_id.map(OrderTarget::Client) == Some(request.target);
                let old = self.name_of(request.target).map(|(_, id)| id);
                let (header, target) = self.target(request.header, request.target);
                (request.header, request.target) = (header, target);
                if let Some(id) = &mut request.new_id {
                    let there = old.filter(|_| kept).unwrap_or(header.cl_ord_id);
                    *id = there;
                }
            }
            Command::MassCancel(request) => {
                let account = request.account.expect("others are left out");
                let header = self.header(account);
                request.header = ClientHeader {
                    account: request.header.account,
                    ..header
                };
            }
            Command::MassQuote(request) => self.translate_quote(request),
            _ => {}
        }
        command
    }

    fn translate_quote(&mut self, request: &mut MassQuote) {
        let account = request.header.account;
        for entry in &mut request.entries {
            for id in [&mut entry.bid_id, &mut entry.ask_id] {
                if id.get() != 0 {
                    let there = self.header(account);
                    self.ids.insert((there.session, there.cl_ord_id), *id);
                    *id = there.cl_ord_id;
                }
            }
        }
        request.header = self.header(account);
    }

    fn name_of(&self, target: OrderTarget) -> Option<(AccountId, ClOrdId)> {
        match target {
            OrderTarget::Client(id) => self.names.get(&id.get()).copied(),
            OrderTarget::Exchange(_) => None,
        }
    }

    /// Header and target of a request on an order, now and then by the exchange's id.
    fn target(&mut self, header: ClientHeader, target: OrderTarget) -> (ClientHeader, OrderTarget) {
        let name = self.name_of(target);
        let account = name.map_or(AccountId::new(1), |(account, _)| account);
        let there = ClientHeader {
            account: header.account,
            ..self.header(account)
        };
        let Some((_, id)) = name else {
            return (there, OrderTarget::Client(ClOrdId::new(u64::MAX)));
        };
        let live = self.sessions.order(there.session, id);
        match live.filter(|_| self.rng.random_bool(0.3)) {
            Some(order) => (there, OrderTarget::Exchange(order.order_id)),
            None => (there, OrderTarget::Client(id)),
        }
    }

    /// The next request of a party's session, which logs on when it has not.
    fn header(&mut self, account: AccountId) -> ClientHeader {
        if !self.lives.contains_key(&account) {
            self.logon(account);
        }
        let life = self.lives.get_mut(&account).expect("it has logged on");
        life.last_id += 1;
        ClientHeader {
            session: life.session,
            generation: life.generation,
            account,
            cl_ord_id: ClOrdId::new(life.last_id),
            received: Timestamp::ZERO,
        }
    }

    fn logon(&mut self, account: AccountId) {
        let conn = ConnToken::new(u64::from(account.get()));
        let logon = Command::SessionLogon(Box::new(SessionLogon {
            name: Name::new(&format!("party {account}")).expect("a short name"),
            conn,
            received: Timestamp::ZERO,
        }));
        let events = self.apply(logon);
        let sessions = self.lives.len();
        let life = self.lives.entry(account).or_insert_with(|| Life {
            session: SessionId::new(u32::try_from(sessions + 1).expect("a few")),
            generation: Generation::new(0),
            last_id: 0,
            next_message: 1,
        });
        life.generation = life.generation.next();
        let started = Event::SessionStarted {
            session: life.session,
            generation: life.generation,
            conn,
            last_cl_ord_id: ClOrdId::new(life.last_id),
            next_server_seq: ServerSeq::new(life.next_message),
        };
        assert_eq!(settled(events), [started]);
        let view = self.sessions.session(life.session).expect("it has begun");
        assert_eq!(view.generation, life.generation);
        assert_eq!(view.last_cl_ord_id.get(), life.last_id);
    }

    /// Requests that a session may not make change nothing but the number of its next message.
    fn refused(&mut self) {
        let Some((&account, &life)) = self.lives.iter().next() else {
            return;
        };
        let good = ClientHeader {
            session: life.session,
            generation: life.generation,
            account,
            cl_ord_id: ClOrdId::new(life.last_id + 1),
            received: Timestamp::ZERO,
        };
        let repeated = ClientHeader {
            cl_ord_id: ClOrdId::new(life.last_id),
            ..good
        };
        let stale = ClientHeader {
            generation: life.generation.next(),
            ..good
        };
        let unknown = ClientHeader {
            session: SessionId::new(1 << 19),
            ..good
        };
        for (header, reason) in [
            (repeated, RejectReason::DuplicateId),
            (stale, RejectReason::StaleSession),
            (unknown, RejectReason::UnknownSession),
        ] {
            let order = NewOrder::limit(
                header,
                InstrumentId::new(0),
                Side::Buy,
                Price::from_ticks(100),
                Qty::from_lots(1),
            );
            let before = self.all_orders();
            let events = settled(self.ask(Command::NewOrder(order)));
            let is = |event: &Event| matches!(event, Event::Rejected { reason: why, .. } if *why == reason);
            assert!(events.len() == 1 && is(&events[0]), "{reason}: {events:?}");
            assert_eq!(before, self.all_orders());
        }
    }

    /// Ends a life: the orders of its session go, oldest first, as if the venue had canceled each.
    fn fence(&mut self) {
        let Some((&account, &life)) = self.lives.iter().next_back() else {
            return;
        };
        let (reason, expected) = [
            (FenceReason::Kill, CancelReason::Kill),
            (FenceReason::Operator, CancelReason::System),
            (FenceReason::Disconnect, CancelReason::Disconnect),
        ][self.rng.random_range(0..3)];
        let fence = Command::SessionFence(SessionFence {
            session: life.session,
            generation: life.generation,
            reason,
            cancel_orders: true,
            received: Timestamp::ZERO,
        });
        let mut doomed: Vec<OrderView> = self
            .venue
            .orders()
            .filter(|order| order.account == account)
            .filter(|order| {
                reason == FenceReason::Kill
                    || !order.exec_inst.contains(ExecInst::STAY_ON_DISCONNECT)
            })
            .collect();
        doomed.sort_unstable_by_key(|order| order.order_id);
        let mut wanted = Vec::new();
        for order in &doomed {
            let cancel = Command::Cancel(Cancel {
                header: ClientHeader::default(),
                target: OrderTarget::Exchange(order.order_id),
            });
            wanted.extend(settled(self.ask_venue(cancel)));
        }
        let mut told = settled(self.ask(fence.clone()));
        let fenced = Event::SessionFenced {
            session: life.session,
            generation: life.generation.next(),
            canceled: u32::try_from(doomed.len()).expect("a few"),
        };
        assert_eq!(told.pop(), Some(fenced));
        for (wanted, told) in wanted.iter().zip(&told) {
            let is = matches!(told, Event::OrderCanceled { reason, .. } if *reason == expected);
            assert!(is, "{told:?}");
            assert_eq!(self.plain(*wanted), self.plain(*told));
        }
        assert_eq!(wanted.len(), told.len());
        assert_eq!(
            settled(self.ask(fence)),
            [],
            "a fence that comes late does nothing"
        );
        self.lives.get_mut(&account).expect("it lived").generation = life.generation.next();
        self.logon(account);
        self.compare_orders();
    }

    fn ask_venue(&mut self, command: Command) -> Vec<Event> {
        let mut events = Vec::new();
        self.seq = self.seq.next();
        let sequenced = Sequenced {
            seq: self.seq,
            time: self.time,
            command,
        };
        self.venue.apply(&sequenced, &mut events);
        events
    }

    /// Asks the exchange with sessions, and looks at the numbers of the messages.
    fn ask(&mut self, command: Command) -> Vec<Event> {
        let events = self.apply(command);
        for event in &events {
            self.count_messages(event);
        }
        events
    }

    fn apply(&mut self, command: Command) -> Vec<Event> {
        let mut events = Vec::new();
        self.seq = self.seq.next();
        let before = self.sessions.state_hash();
        self.sessions.look_ahead(|_| Some(&command));
        assert_eq!(before, self.sessions.state_hash(), "a hint changes nothing");
        let sequenced = Sequenced {
            seq: self.seq,
            time: self.time,
            command,
        };
        self.sessions.apply(&sequenced, &mut events);
        self.sessions.check_invariants();
        events
    }

    fn count_messages(&mut self, event: &Event) {
        let parties = match event {
            Event::Trade { maker, taker, .. } => [Some(*maker), Some(*taker)],
            other => [party_of(other), None],
        };
        let mut messages: Vec<(SessionId, ServerSeq)> = parties
            .into_iter()
            .flatten()
            .map(|party| (party.session, party.server_seq))
            .collect();
        if let Event::Rejected {
            session,
            server_seq,
            ..
        }
        | Event::MassCanceled {
            session,
            server_seq,
            ..
        } = event
        {
            messages.push((*session, *server_seq));
        }
        for (session, number) in messages {
            let life = self.lives.values_mut().find(|life| life.session == session);
            let expected = life.map_or(0, |life| {
                life.next_message += 1;
                life.next_message - 1
            });
            assert_eq!(number.get(), expected, "{event:?}");
        }
    }

    /// An event with the venue's ids, and without what only sessions have.
    fn plain(&self, mut event: Event) -> Event {
        let id = |session: SessionId, id: ClOrdId| {
            if session == SessionId::VENUE {
                id
            } else {
                self.ids.get(&(session, id)).copied().unwrap_or_default()
            }
        };
        let plain = |party: &mut Party| {
            party.cl_ord_id = id(party.session, party.cl_ord_id);
            party.session = SessionId::VENUE;
            party.server_seq = ServerSeq::default();
        };
        match &mut event {
            Event::Trade { maker, taker, .. } => {
                plain(maker);
                plain(taker);
            }
            Event::OrderReplaced { party, old_id, .. } => {
                *old_id = id(party.session, *old_id);
                plain(party);
            }
            Event::OrderCanceled {
                party,
                request,
                reason,
                ..
            } => {
                *request = ClOrdId::default();
                if matches!(
                    reason,
                    CancelReason::Kill | CancelReason::System | CancelReason::Disconnect
                ) {
                    *reason = CancelReason::User;
                }
                plain(party);
            }
            Event::OrderReduced { party, request, .. } => {
                *request = ClOrdId::default();
                plain(party);
            }
            Event::OrderAccepted { party, .. }
            | Event::OrderTriggered { party, .. }
            | Event::OrderExpired { party, .. } => plain(party),
            Event::Rejected {
                session,
                server_seq,
                cl_ord_id,
                target,
                ..
            } => {
                *cl_ord_id = id(*session, *cl_ord_id);
                (*session, *server_seq) = (SessionId::VENUE, ServerSeq::default());
                *target = ClOrdId::default();
            }
            Event::MassCanceled {
                session,
                server_seq,
                cl_ord_id,
                ..
            } => {
                (*session, *server_seq) = (SessionId::VENUE, ServerSeq::default());
                *cl_ord_id = ClOrdId::default();
            }
            _ => {}
        }
        event
    }

    fn compare_orders(&self) {
        let mut there = self.all_orders();
        for order in &mut there {
            assert_eq!(
                self.sessions.order(order.session, order.cl_ord_id),
                Some(*order)
            );
            order.cl_ord_id = self.ids[&(order.session, order.cl_ord_id)];
            order.session = SessionId::VENUE;
        }
        let mut here: Vec<OrderView> = self.venue.orders().collect();
        here.sort_unstable_by_key(|order| order.order_id);
        assert_eq!(here, there);
        for life in self.lives.values() {
            let view = self.sessions.session(life.session).expect("it has begun");
            let live = here
                .iter()
                .filter(|order| self.lives[&order.account].session == life.session);
            assert_eq!(view.live_orders, live.count());
            assert_eq!(view.next_server_seq.get(), life.next_message);
        }
        for (id, ..) in self.venue.instruments() {
            assert_eq!(self.venue.last_trade(id), self.sessions.last_trade(id));
            assert_eq!(self.venue.instrument(id), self.sessions.instrument(id));
        }
        assert_eq!(self.venue.next_deadline(), self.sessions.next_deadline());
    }

    fn all_orders(&self) -> Vec<OrderView> {
        let mut orders: Vec<OrderView> = self.sessions.orders().collect();
        orders.sort_unstable_by_key(|order| order.order_id);
        orders
    }
}

/// The events without those that sum a command up: one command here may be several there.
fn settled(mut events: Vec<Event>) -> Vec<Event> {
    events.retain(|event| !matches!(event, Event::Level { .. } | Event::Indicative { .. }));
    events
}

fn party_of(event: &Event) -> Option<Party> {
    match event {
        Event::OrderAccepted { party, .. }
        | Event::OrderCanceled { party, .. }
        | Event::OrderReduced { party, .. }
        | Event::OrderReplaced { party, .. }
        | Event::OrderTriggered { party, .. }
        | Event::OrderExpired { party, .. } => Some(*party),
        _ => None,
    }
}
