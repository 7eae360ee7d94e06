//! Accounts against a model that keeps nothing up: it counts every live order and every trade anew for
//! each question. And the rules of a switch of parameters.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tessera_engine::{EngineConfig, Exchange};
use tessera_types::{
    AccountAction, AccountCommand, AccountEvent, AccountId, CashMove, ClOrdId, ClientHeader,
    Command, Event, Instrument, InstrumentId, Limits, ListInstrument, MarginSpec, Name, NewOrder,
    Price, Qty, RejectReason, RiskAction, RiskBegin, RiskCommit, RiskParams, RiskRow, RiskStep,
    Scope, Seq, Sequenced, SessionId, Side, Timestamp,
};

use crate::random::{Dice, Maker, Wildness};

/// Commands of any kind, every fourth about accounts.
struct AccountMaker {
    maker: Maker,
    dice: Dice,
    version: u32,
    /// Rows of the set that is being sent, the rows yet to come first.
    rows: Vec<RiskRow>,
    sent: Vec<u8>,
    announced: u32,
    /// The latest order, which is sometimes sent again.
    latest: Option<NewOrder>,
}

impl AccountMaker {
    fn new(seed: u64) -> Self {
        let wild = Wildness {
            raw: 300,
            rare: 8,
            sessions: true,
        };
        Self {
            maker: Maker::new(seed, wild),
            dice: Dice(seed ^ 0x5151 | 1),
            version: 0,
            rows: Vec::new(),
            sent: Vec::new(),
            announced: 0,
            latest: None,
        }
    }

    fn next(&mut self, seq: u64) -> Sequenced {
        let mut next = self.maker.next(seq);
        if seq > 4 && self.dice.one_in(4) {
            next.command = self.command();
        }
        if let Command::NewOrder(order) = &mut next.command {
            let again = self.latest.filter(|_| self.dice.one_in(5));
            if let Some(latest) = again.filter(|o| o.header.session == SessionId::VENUE) {
                let id = order.header.cl_ord_id;
                *order = latest;
                order.header.cl_ord_id = id;
            }
            self.latest = Some(*order);
        }
        next
    }

    fn account(&mut self) -> AccountId {
        AccountId::new(u32::try_from(self.dice.below(4)).unwrap())
    }

    fn scope(&mut self) -> Scope {
        if self.dice.one_in(4) {
            Scope::Session(SessionId::new(u32::try_from(self.dice.below(4)).unwrap()))
        } else {
            Scope::Account(self.account())
        }
    }

    fn maybe(&mut self, up_to: u64) -> Option<u64> {
        let value = self.dice.below(up_to);
        self.dice.one_in(3).then_some(value)
    }

    fn command(&mut self) -> Command {
        let action = match self.dice.below(20) {
            0..2 => AccountAction::Open {
                account: self.account(),
                margined: !self.dice.one_in(5),
            },
            2..6 => AccountAction::Move {
                account: self.account(),
                movement: self.dice.pick(CashMove::ALL),
                amount: self.dice.below(3_000).cast_signed() - 10,
            },
            6..7 => AccountAction::Credit {
                account: self.account(),
                credit: self.dice.below(2_000).cast_signed() - 10,
            },
            7..9 => {
                let scope = self.scope();
                let bps = self.maybe(600);
                AccountAction::Limits {
                    scope,
                    limits: Limits {
                        collar_bps: bps.map(|bps| u32::try_from(bps).unwrap()),
                        max_qty: self.maybe(20),
                        max_value: self.maybe(3_000),
                        max_open_qty: self.maybe(100),
                        max_open_value: self.maybe(9_000),
                        max_position: self.maybe(900_000),
                        duplicate_ns: self.maybe(20),
                    },
                }
            }
            9..10 => AccountAction::Kill {
                scope: self.scope(),
                on: self.dice.one_in(4),
            },
            10..12 => AccountAction::Margin {
                instrument: InstrumentId::new(u32::try_from(self.dice.below(5)).unwrap()),
                spec: MarginSpec {
                    product: self.maybe(3).map(product),
                    initial_margin_bps: Some(u32::try_from(self.dice.below(4_000)).unwrap()),
                    price: Some(Price::from_ticks(self.dice.below(200).cast_signed())),
                },
            },
            _ => return self.risk(),
        };
        account(action)
    }

    /// The next part of a set: mostly in order, sometimes not.
    fn risk(&mut self) -> Command {
        if self.announced <= self.version && !self.dice.one_in(10) {
            self.announced = self.version + 1;
            self.sent.clear();
            self.rows = (0..3).rev().map(|p| self.row(p)).collect();
            return risk(RiskAction::Begin(begin(self.announced, 3)));
        }
        if let Some(row) = self.rows.pop() {
            row.hashed_bytes(&mut self.sent);
            return risk(RiskAction::Row(row));
        }
        if self.dice.one_in(10) {
            let max_age_ns = self.dice.below(100);
            return risk(RiskAction::MaxAge { max_age_ns });
        }
        let table_hash = *blake3::hash(&self.sent).as_bytes();
        let version = self.announced;
        // Whether or not it is taken: the next set has a higher version.
        self.version = self.announced;
        risk(RiskAction::Commit(RiskCommit {
            version,
            rows: 3,
            table_hash,
        }))
    }

    fn row(&mut self, p: u64) -> RiskRow {
        let wild = if self.dice.one_in(40) { 1 << 40 } else { 1 };
        RiskRow {
            version: self.announced,
            product: product(p),
            losses: core::array::from_fn(|_| {
                (self.dice.below(120).cast_signed() - 60).saturating_mul(wild)
            }),
            liquidity: vec![RiskStep {
                from_lots: 5,
                uusd_per_lot: self.dice.below(4).cast_signed(),
            }],
            concentration: vec![],
            delivery: vec![RiskStep {
                from_lots: 0,
                uusd_per_lot: self.dice.below(4).cast_signed(),
            }],
        }
    }
}

fn product(number: u64) -> Name {
    Name::new(&format!("product-{number}")).unwrap()
}

fn account(action: AccountAction) -> Command {
    Command::Account(Box::new(AccountCommand {
        header: ClientHeader::default(),
        action,
    }))
}

fn risk(action: RiskAction) -> Command {
    Command::RiskParams(Box::new(RiskParams {
        header: ClientHeader::default(),
        action,
    }))
}

fn begin(version: u32, rows: u32) -> RiskBegin {
    RiskBegin {
        version,
        rows,
        model: 1,
        seed: 1,
        scenarios: 1,
        step_limit_bps: 0,
        input_hash: [0; 32],
    }
}

/// The document's rules, computed from lists of everything.
#[derive(Debug, Default)]
struct Plain {
    kept: BTreeMap<AccountId, Kept>,
    sessions: BTreeMap<SessionId, (Limits, bool, Latest)>,
    /// Lots by account and instrument, from the first command that kept the account.
    lots: BTreeMap<(AccountId, u32), i64>,
    specs: BTreeMap<u32, (Option<Name>, i64)>,
    names: Vec<Name>,
    rows: BTreeMap<Name, RiskRow>,
    staged: BTreeMap<Name, RiskRow>,
    /// Last trades, and reference prices for want of one.
    last: BTreeMap<u32, i64>,
    references: BTreeMap<u32, i64>,
    breached: BTreeMap<AccountId, bool>,
}

#[derive(Debug, Default)]
struct Kept {
    margined: bool,
    cash: i128,
    credit: i128,
    limits: Limits,
    killed: bool,
    latest: Latest,
}

/// The latest order and when it came.
type Latest = Option<(NewOrder, u64)>;

type Worst = BTreeMap<u32, (i64, i64)>;

impl Plain {
    /// Takes note of a command that was not refused, and of its events.
    fn note(&mut self, command: &Command, now: Timestamp, events: &[Event]) {
        for event in events {
            match *event {
                Event::Trade {
                    instrument,
                    maker_side,
                    price,
                    qty,
                    maker,
                    taker,
                    ..
                } => {
                    self.last.insert(instrument.get(), price.ticks());
                    let lots = i64::try_from(qty.lots()).unwrap_or(0);
                    let sides = [(maker, maker_side), (taker, maker_side.opposite())];
                    for (party, side) in sides {
                        if self.kept.contains_key(&party.account) {
                            let held = self.lots.entry((party.account, instrument.get()));
                            *held.or_default() += if side == Side::Buy { lots } else { -lots };
                        }
                    }
                }
                Event::Account(AccountEvent::MarginBreached { account, .. }) => {
                    assert_ne!(self.breached.insert(account, true), Some(true));
                }
                Event::Account(AccountEvent::MarginRestored { account, .. }) => {
                    assert_eq!(self.breached.insert(account, false), Some(true));
                }
                _ => {}
            }
        }
        let refused = |event: &Event| matches!(event, Event::Rejected { .. });
        if events.iter().any(refused) {
            return;
        }
        match command {
            Command::ListInstrument(list) => {
                let number = u32::try_from(self.names.len()).unwrap();
                self.names.push(list.instrument.name);
                if let Some(price) = list.instrument.ref_price {
                    self.references.insert(number, price.ticks());
                }
            }
            Command::SetPhase(set) => {
                if let Some(price) = set.ref_price {
                    self.references.insert(set.instrument.get(), price.ticks());
                }
            }
            Command::NewOrder(order) => self.remember(order, now),
            Command::Account(request) => self.act(&request.action),
            Command::RiskParams(request) => match &request.action {
                RiskAction::Begin(_) => self.staged.clear(),
                RiskAction::Row(row) => drop(self.staged.insert(row.product, row.clone())),
                RiskAction::Commit(_) => self.rows = std::mem::take(&mut self.staged),
                RiskAction::MaxAge { .. } => {}
            },
            _ => {}
        }
    }

    fn remember(&mut self, order: &NewOrder, now: Timestamp) {
        let print = Some((*order, now.nanos()));
        if let Some(kept) = self.kept.get_mut(&order.header.account)
            && kept.limits.duplicate_ns.is_some()
        {
            kept.latest = print;
        }
        if let Some((limits, _, latest)) = self.sessions.get_mut(&order.header.session)
            && limits.duplicate_ns.is_some()
        {
            *latest = print;
        }
    }

    fn act(&mut self, action: &AccountAction) {
        match *action {
            AccountAction::Open { account, margined } => {
                self.kept.entry(account).or_default().margined = margined;
            }
            AccountAction::Move {
                account,
                movement,
                amount,
            } => {
                let by = match movement {
                    CashMove::Deposit => amount,
                    CashMove::Withdraw => -amount,
                };
                self.kept.entry(account).or_default().cash += i128::from(by);
            }
            AccountAction::Credit { account, credit } => {
                self.kept.get_mut(&account).unwrap().credit = credit.into();
            }
            AccountAction::Limits { scope, limits } => match scope {
                Scope::Account(account) => self.kept.entry(account).or_default().limits = limits,
                Scope::Session(id) => self.sessions.entry(id).or_default().0 = limits,
            },
            AccountAction::Kill { scope, on } => match scope {
                Scope::Account(account) => self.kept.entry(account).or_default().killed = on,
                Scope::Session(id) => self.sessions.entry(id).or_default().1 = on,
            },
            AccountAction::Margin { instrument, spec } => {
                let bps = i64::from(spec.initial_margin_bps.unwrap());
                let price = spec.price.unwrap().ticks();
                let flat = (price * bps + 9_999) / 10_000;
                self.specs.insert(instrument.get(), (spec.product, flat));
            }
        }
    }

    /// Lots if all buys, if all sells of an account fill, by instrument.
    fn worst(&self, exchange: &Exchange, account: AccountId) -> Worst {
        let mut worst = Worst::new();
        for (&(owner, instrument), &lots) in &self.lots {
            if owner == account {
                worst.insert(instrument, (lots, lots));
            }
        }
        for order in exchange.orders().filter(|order| order.account == account) {
            let place = worst.entry(order.instrument.get()).or_default();
            let open = i64::try_from(order.leaves.lots()).unwrap();
            match order.side {
                Side::Buy => place.0 += open,
                Side::Sell => place.1 -= open,
            }
        }
        worst
    }

    /// None when something has neither a row nor a flat margin.
    fn margin(&self, worst: &Worst) -> i128 {
        let mut losses = [0_i128; 64];
        let mut add_ons = 0_i128;
        for (instrument, &(long, short)) in worst {
            let (long, short) = (i128::from(long), i128::from(short));
            let size = long.abs().max(short.abs());
            let Some(row) = self.row(*instrument) else {
                let flat = self.specs.get(instrument).map_or(0, |spec| spec.1);
                add_ons += size * i128::from(flat);
                continue;
            };
            for (sum, &loss) in losses.iter_mut().zip(&row.losses) {
                *sum += (long * i128::from(loss)).max(short * i128::from(loss));
            }
            let sold = (-short).max(0);
            for (steps, size) in [
                (&row.liquidity, size),
                (&row.concentration, size),
                (&row.delivery, sold),
            ] {
                let rate = steps.iter().rfind(|s| size >= i128::from(s.from_lots));
                add_ons += size * rate.map_or(0, |s| i128::from(s.uusd_per_lot));
            }
        }
        losses.sort_unstable();
        let sum: i128 = losses[61..].iter().sum();
        (sum.div_euclid(3) + i128::from(sum.rem_euclid(3) > 0)).max(0) + add_ons
    }

    fn row(&self, instrument: u32) -> Option<&RiskRow> {
        let chosen = self.specs.get(&instrument).and_then(|spec| spec.0);
        let own = self.names.get(instrument as usize).copied();
        self.rows.get(&chosen.or(own)?)
    }

    /// What the accounts say to a new order.
    fn verdict(
        &self,
        exchange: &Exchange,
        order: &NewOrder,
        now: Timestamp,
    ) -> Result<(), RejectReason> {
        use RejectReason as R;
        let id = order.header.account;
        let kept = self.kept.get(&id);
        let of_account = |o: &tessera_engine::OrderView| o.account == id;
        let of_session = |o: &tessera_engine::OrderView| o.session == order.header.session;
        if let Some(kept) = kept {
            let open: Vec<_> = exchange.orders().filter(of_account).collect();
            self.limits(&kept.limits, kept.killed, kept.latest, &open, order, now)?;
        }
        if let Some((limits, killed, latest)) = self.sessions.get(&order.header.session) {
            let open: Vec<_> = exchange.orders().filter(of_session).collect();
            self.limits(limits, *killed, *latest, &open, order, now)?;
        }
        let Some(kept) = kept else { return Ok(()) };
        let before = self.worst(exchange, id);
        let mut after = before.clone();
        let place = after.entry(order.instrument.get()).or_default();
        if order.qty.lots() > 1 << 28 {
            return Err(R::LotsLimit);
        }
        let lots = i64::try_from(order.qty.lots()).unwrap();
        let nearer = match order.side {
            Side::Buy => {
                place.0 += lots;
                place.0 <= 0
            }
            Side::Sell => {
                place.1 -= lots;
                place.1 >= 0
            }
        };
        let gross = |worst: &Worst| -> i64 {
            let sizes = worst
                .values()
                .map(|(long, short)| long.abs().max(short.abs()));
            sizes.sum()
        };
        if gross(&after) > gross(&before) && gross(&after) > 1 << 28 {
            return Err(R::LotsLimit);
        }
        let weighted = gross(&after).unsigned_abs() * 10_000;
        if gross(&after) > gross(&before)
            && kept.limits.max_position.is_some_and(|most| weighted > most)
        {
            return Err(R::PositionLimit);
        }
        if !kept.margined || nearer {
            return Ok(());
        }
        let instrument = order.instrument.get();
        if self.row(instrument).is_none() && !self.specs.contains_key(&instrument) {
            return Err(R::NotMargined);
        }
        if self.margin(&after) <= kept.cash + kept.credit {
            Ok(())
        } else {
            Err(R::InsufficientMargin)
        }
    }

    fn limits(
        &self,
        limits: &Limits,
        killed: bool,
        latest: Latest,
        open: &[tessera_engine::OrderView],
        order: &NewOrder,
        now: Timestamp,
    ) -> Result<(), RejectReason> {
        use RejectReason as R;
        let value = |price: i64, qty: Qty| i128::from(price).abs() * i128::from(qty.lots());
        let instrument = order.instrument.get();
        let reference = self.last.get(&instrument);
        let reference = reference.or(self.references.get(&instrument)).copied();
        let price = order.ord_type.has_price().then(|| order.price.ticks());
        let ensure = |holds: bool, reason| if holds { Ok(()) } else { Err(reason) };
        let fits = |amount: i128, most: Option<u64>| most.is_none_or(|most| amount <= most.into());
        ensure(!killed, R::Killed)?;
        if let (Some(bps), Some(price), Some(reference)) = (limits.collar_bps, price, reference) {
            let away = i128::from(price) - i128::from(reference);
            let away = if order.side == Side::Buy { away } else { -away };
            let most = i128::from(reference).abs() * i128::from(bps);
            ensure(away * 10_000 <= most, R::PriceCollar)?;
        }
        ensure(
            fits(order.qty.lots().into(), limits.max_qty),
            R::OrderQtyLimit,
        )?;
        let at = price.or(reference).unwrap_or(0);
        ensure(
            fits(value(at, order.qty), limits.max_value),
            R::OrderValueLimit,
        )?;
        if let (Some(within), Some((last, time))) = (limits.duplicate_ns, latest) {
            let print = |o: &NewOrder| {
                let price = o.ord_type.has_price().then_some(o.price);
                (o.instrument, o.side, price, o.qty)
            };
            let again = print(&last) == print(order) && now.nanos() - time < within;
            ensure(!again, R::DuplicateOrder)?;
        }
        let qty: i128 = open.iter().map(|o| i128::from(o.leaves.lots())).sum();
        let grows = order.qty.lots() > 0;
        let qty = qty + i128::from(order.qty.lots());
        ensure(!grows || fits(qty, limits.max_open_qty), R::OpenQtyLimit)?;
        let worth =
            |o: &tessera_engine::OrderView| value(o.price.map_or(0, Price::ticks), o.leaves);
        let more = value(price.unwrap_or(0), order.qty);
        let all = open.iter().map(worth).sum::<i128>() + more;
        ensure(
            more == 0 || fits(all, limits.max_open_value),
            R::OpenValueLimit,
        )
    }

    fn compare(&self, exchange: &Exchange, swept: bool) {
        assert_eq!(exchange.ledger_sum(), 0);
        assert_eq!(exchange.accounts().count(), self.kept.len());
        for (&id, kept) in &self.kept {
            let view = exchange.account(id).unwrap();
            assert_eq!(i128::from(view.cash), kept.cash);
            assert_eq!((view.margined, view.killed), (kept.margined, kept.killed));
            let worst = self.worst(exchange, id);
            let margin = if kept.margined {
                self.margin(&worst)
            } else {
                0
            };
            assert_eq!(i128::from(view.margin), margin, "margin of {id}");
            let breached = self.breached.get(&id).copied().unwrap_or(false);
            assert_eq!(view.breached, breached, "events about {id}");
            if swept {
                assert_eq!(breached, margin > kept.cash + kept.credit, "breach of {id}");
            }
            let near = kept.margined && margin * 5 > (kept.cash + kept.credit) * 4;
            if swept {
                assert_eq!(
                    exchange.accounts_near_limit().contains(&id),
                    near,
                    "near {id}"
                );
            }
        }
    }
}

/// Runs both, with a third exchange that is restored from the first every so often.
fn run(seed: u64, count: u64, seen: &mut BTreeMap<String, u64>) {
    let mut maker = AccountMaker::new(seed);
    let mut exchange = Exchange::new(EngineConfig::default());
    let mut restored = Exchange::new(EngineConfig::default());
    let mut plain = Plain::default();
    let (mut events, mut others) = (Vec::new(), Vec::new());
    for seq in 1..=count {
        let command = maker.next(seq);
        let now = exchange.clock().max(command.time);
        // What the clock ends first counts for the verdict, so it is asked of the state in between.
        let order = match &command.command {
            Command::NewOrder(order) if exchange.next_deadline().is_none_or(|due| due > now) => {
                let known = (order.instrument.get() as usize) < plain.names.len();
                known.then(|| (order, plain.verdict(&exchange, order, now)))
            }
            _ => None,
        };
        events.clear();
        others.clear();
        exchange.apply(&command, &mut events);
        restored.apply(&command, &mut others);
        assert_eq!(events, others, "events of command {seq}");
        maker.maker.hear(&events);
        if let Some((order, verdict)) = order {
            let reason = events.iter().find_map(|event| match event {
                Event::Rejected { reason, .. } => Some(*reason),
                _ => None,
            });
            match (reason, verdict) {
                (None, verdict) => assert_eq!(verdict, Ok(()), "{order:?}"),
                (Some(reason), _) if reason.code() < 80 => {}
                (Some(reason), verdict) => assert_eq!(verdict, Err(reason), "{order:?}"),
            }
            let told = reason.map_or("accepted", RejectReason::as_str);
            *seen.entry(told.to_owned()).or_default() += 1;
        }
        for event in &events {
            if let Event::Account(account) = event {
                let text = format!("{account:?}");
                let word = text.split(' ').next().unwrap_or_default().to_owned();
                *seen.entry(word).or_default() += 1;
            }
            if let Event::Rejected { reason, kind, .. } = event
                && kind.code() >= 50
            {
                *seen.entry(format!("{kind} {reason}")).or_default() += 1;
            }
        }
        plain.note(&command.command, now, &events);
        exchange.check_invariants();
        let swept = exchange.risk_params().is_none_or(|risk| risk.waiting == 0);
        plain.compare(&exchange, swept);
        if seq % 23 == 0 {
            let saved = exchange.save();
            restored = Exchange::restore(EngineConfig::default(), &saved).unwrap();
            assert_eq!(saved, restored.save(), "bytes after command {seq}");
            assert_eq!(exchange.state_hash(), restored.state_hash(), "state {seq}");
            assert_eq!(exchange.next_deadline(), restored.next_deadline());
        }
    }
}

#[test]
fn accounts_agree_with_a_model_that_counts_everything_anew() {
    let mut seen = BTreeMap::new();
    for seed in 1..=30 {
        run(seed * 7_919, 600, &mut seen);
    }
    let wanted = [
        "accepted",
        "insufficient_margin",
        "not_margined",
        "price_collar",
        "order_qty_limit",
        "order_value_limit",
        "open_qty_limit",
        "open_value_limit",
        "position_limit",
        "duplicate_order",
        "killed",
        "MarginBreached",
        "MarginRestored",
        "RiskActive",
        "RiskAged",
        "KillSwitched",
        "risk_row risk_row",
        "risk_row risk_refused",
        "risk_commit risk_refused",
        "withdraw insufficient_funds",
        "credit unknown_account",
    ];
    let missing: Vec<_> = wanted
        .iter()
        .filter(|&&what| !seen.contains_key(what))
        .collect();
    assert!(missing.is_empty(), "never met {missing:?}: {seen:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_history_agrees(seed in any::<u64>()) {
        run(seed, 300, &mut BTreeMap::new());
    }
}

/// An exchange with one instrument, and how to ask it.
struct Venue {
    exchange: Exchange,
    seq: u64,
    time: u64,
}

impl Venue {
    fn new() -> Self {
        let mut venue = Self {
            exchange: Exchange::new(EngineConfig::default()),
            seq: 0,
            time: 0,
        };
        let name = Name::new("X").unwrap();
        venue.ask(Command::ListInstrument(Box::new(ListInstrument {
            header: ClientHeader::default(),
            instrument: Instrument {
                ref_price: Some(Price::from_ticks(100)),
                ..Instrument::plain(name)
            },
        })));
        venue
    }

    fn ask(&mut self, command: Command) -> Vec<Event> {
        self.seq += 1;
        let mut events = Vec::new();
        let sequenced = Sequenced {
            seq: Seq::new(self.seq),
            time: Timestamp::from_nanos(self.time),
            command,
        };
        self.exchange.apply(&sequenced, &mut events);
        self.exchange.check_invariants();
        events
    }

    fn fund(&mut self, id: u32, cash: i64) {
        let id = AccountId::new(id);
        self.ask(account(AccountAction::Open {
            account: id,
            margined: true,
        }));
        self.ask(account(AccountAction::Move {
            account: id,
            movement: CashMove::Deposit,
            amount: cash,
        }));
    }

    /// The reason of a refusal.
    fn buy(&mut self, account: u32, id: u64, qty: u64) -> Option<RejectReason> {
        let header = ClientHeader {
            account: AccountId::new(account),
            cl_ord_id: ClOrdId::new(id),
            ..ClientHeader::default()
        };
        let (price, qty) = (Price::from_ticks(100), Qty::from_lots(qty));
        let order = NewOrder::limit(header, InstrumentId::new(0), Side::Buy, price, qty);
        rejection(&self.ask(Command::NewOrder(order)))
    }

    /// Sends a whole set: every lot of X loses `loss` in every scenario; returns what its commit did.
    fn set(&mut self, version: u32, loss: i64, change: impl FnOnce(&mut Set)) -> Vec<Event> {
        let row = RiskRow {
            version,
            product: Name::new("X").unwrap(),
            losses: [loss; 64],
            liquidity: vec![],
            concentration: vec![],
            delivery: vec![],
        };
        let mut set = Set {
            begin: begin(version, 1),
            rows: vec![row],
            hash: None,
        };
        change(&mut set);
        let mut bytes = Vec::new();
        self.ask(risk(RiskAction::Begin(set.begin)));
        for row in &set.rows {
            row.hashed_bytes(&mut bytes);
            self.ask(risk(RiskAction::Row(row.clone())));
        }
        let table_hash = set.hash.unwrap_or_else(|| *blake3::hash(&bytes).as_bytes());
        self.ask(risk(RiskAction::Commit(RiskCommit {
            version,
            rows: set.begin.rows,
            table_hash,
        })))
    }
}

struct Set {
    begin: RiskBegin,
    rows: Vec<RiskRow>,
    hash: Option<[u8; 32]>,
}

fn rejection(events: &[Event]) -> Option<RejectReason> {
    events.iter().find_map(|event| match event {
        Event::Rejected { reason, .. } => Some(*reason),
        _ => None,
    })
}

#[test]
fn a_set_counts_from_its_commit_on() {
    let mut venue = Venue::new();
    venue.fund(1, 100);
    assert_eq!(venue.buy(1, 1, 1), Some(RejectReason::NotMargined));
    venue.set(1, 10, |_| {});
    assert_eq!(venue.buy(1, 1, 5), None);
    // Announced and staged, the second set changes nothing yet.
    venue.ask(risk(RiskAction::Begin(begin(2, 1))));
    assert_eq!(venue.buy(1, 2, 5), None);
    assert_eq!(venue.buy(1, 3, 1), Some(RejectReason::InsufficientMargin));
    let committed = venue.set(2, 5, |_| {});
    assert!(matches!(
        committed[..],
        [Event::Account(AccountEvent::RiskActive { version: 2, .. })]
    ));
    assert_eq!(venue.buy(1, 3, 10), None);
    assert_eq!(venue.buy(1, 4, 1), Some(RejectReason::InsufficientMargin));
}

#[test]
fn a_breach_ends_no_order_and_blocks_new_risk() {
    let mut venue = Venue::new();
    venue.fund(1, 100);
    venue.set(1, 10, |_| {});
    assert_eq!(venue.buy(1, 1, 10), None);
    venue.set(2, 11, |_| {});
    let next = venue.ask(Command::AdvanceTime(tessera_types::AdvanceTime));
    assert_eq!(
        next,
        [Event::Account(AccountEvent::MarginBreached {
            account: AccountId::new(1),
            margin: 110,
            funds: 100,
        })]
    );
    assert_eq!(venue.exchange.live_orders(), 1);
    assert_eq!(venue.exchange.accounts_near_limit(), [AccountId::new(1)]);
    assert_eq!(venue.buy(1, 2, 1), Some(RejectReason::InsufficientMargin));
    let paid = venue.ask(account(AccountAction::Move {
        account: AccountId::new(1),
        movement: CashMove::Deposit,
        amount: 10,
    }));
    assert!(matches!(
        paid[..],
        [
            Event::Account(AccountEvent::CashMoved { .. }),
            Event::Account(AccountEvent::MarginRestored { .. })
        ]
    ));
}

#[test]
fn one_bad_part_refuses_the_whole_set() {
    use RejectReason as R;
    let refused = |expected: RejectReason, change: fn(&mut Set)| {
        let mut venue = Venue::new();
        venue.fund(1, 100);
        venue.set(1, 10, |_| {});
        let answer = venue.set(2, 11, change);
        assert_eq!(rejection(&answer), Some(expected));
        let risk = venue.exchange.risk_params().unwrap();
        assert_eq!((risk.version, risk.rows), (1, 1));
        assert_eq!(venue.buy(1, 1, 10), None, "the first set still counts");
        // The same version may be tried again.
        let again = venue.set(2, 10, |_| {});
        assert_eq!(rejection(&again), None);
    };
    refused(R::RiskRefused, |set| set.rows[0].losses[63] = (1 << 34) + 1);
    refused(R::RiskRefused, |set| set.rows[0].version = 3);
    refused(R::RiskRefused, |set| set.rows.push(set.rows[0].clone()));
    refused(R::RiskRefused, |set| set.begin.step_limit_bps = 999);
    refused(R::RiskRows, |set| set.begin.rows = 2);
    refused(R::RiskHash, |set| set.hash = Some([7; 32]));
    refused(R::RiskMissingRow, |set| {
        set.rows[0].product = Name::new("other").unwrap();
    });
    refused(R::RiskRefused, |set| {
        set.rows[0].delivery = vec![RiskStep {
            from_lots: 0,
            uusd_per_lot: -1,
        }];
    });
}

#[test]
fn accounts_are_looked_at_a_few_with_every_command() {
    let mut venue = Venue::new();
    venue.set(1, 1, |_| {});
    for id in 1..=200 {
        venue.fund(id, 10);
        assert_eq!(venue.buy(id, id.into(), 10), None);
    }
    venue.set(2, 2, |_| {});
    let mut breaches = Vec::new();
    for _ in 0..9 {
        let events = venue.ask(Command::AdvanceTime(tessera_types::AdvanceTime));
        breaches.push(events.len());
        let waits = venue.exchange.next_deadline().is_some();
        assert_eq!(waits, venue.exchange.risk_params().unwrap().waiting > 0);
    }
    assert_eq!(breaches, [24, 24, 24, 24, 24, 24, 24, 24, 8]);
    assert_eq!(venue.exchange.accounts_near_limit().len(), 200);
}

#[test]
fn the_age_of_a_set_is_told_again_and_again() {
    let mut venue = Venue::new();
    venue.time = 50;
    venue.set(1, 1, |_| {});
    venue.ask(risk(RiskAction::MaxAge { max_age_ns: 100 }));
    let mut ages = Vec::new();
    for time in [149, 150, 151, 249, 460, 550] {
        venue.time = time;
        for event in venue.ask(Command::AdvanceTime(tessera_types::AdvanceTime)) {
            if let Event::Account(AccountEvent::RiskAged { age_ns, .. }) = event {
                ages.push((time, age_ns));
            }
        }
    }
    assert_eq!(ages, [(150, 100), (460, 410), (550, 500)]);
    let due = venue.exchange.next_deadline().map(Timestamp::nanos);
    assert_eq!(due, Some(650));
}
