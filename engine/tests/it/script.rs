//! A small language for rule tests: commands separated by `|`, events as lines.
//!
//! ```text
//! alice#1 sell 5 @ 210            limit; flags may follow: ioc fok day post aon stay
//! bob#2 buy 5 market              kinds: market, iceberg=2, stop=3 (with @: stop-limit), trail=2
//!                                 and gtd=9 min=2 budget=7 stp=cancel_old
//! alice#1 cancel                  also: reduce by 2; replace qty 3 price 9 stop 8 id 7
//! mass_cancel alice sell          both filters optional
//! alice quote 1:5@99 2:5@101 keep post
//! phase auction ref 100
//! time 50
//! list X tick=5 lot=10            see `list`
//! in X                            the instrument of what follows
//! logon s / fence s 1 kill        sessions; `s/alice#1 ...` is a request of session s
//! ```
//!
//! An event line starts with the number of its command. After each command the structures of the
//! engine are checked, and at the end a second exchange with another index seed must have the same
//! hashes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::Expect;
use tessera_engine::{EngineConfig, Exchange, OrderState};
use tessera_types::{
    AccountId, AdvanceTime, Cancel, ClOrdId, ClientHeader, Command, ConnToken, Event, ExecInst,
    FenceReason, Generation, Instrument, InstrumentId, ListInstrument, MassCancel, MassQuote,
    MatchAlgo, Name, NewOrder, OrdType, OrderTarget, Party, Phase, Price, Qty, QuoteEntry, Reduce,
    Replace, SelfMatch, Seq, Sequenced, SessionFence, SessionId, SessionLogon, SetPhase, Side,
    TimeInForce, Timestamp, VolatilityGuard,
};

/// Runs a script on one instrument `SIM` and compares the events.
pub(crate) fn check(script: &str, expected: Expect) {
    expected.assert_eq(&run(script, false));
}

/// The same with level events.
pub(crate) fn check_levels(script: &str, expected: Expect) {
    expected.assert_eq(&run(script, true));
}

/// The state hash after a script; the clock stands still in all of them.
pub(crate) fn hash_after(script: &str) -> [u8; 32] {
    played(script, false).exchange.state_hash()
}

fn run(script: &str, levels: bool) -> String {
    let mut bench = played(script, levels);
    bench.compare_with_twin();
    bench.book();
    bench.out
}

fn played(script: &str, levels: bool) -> Bench {
    let mut bench = Bench::new(levels);
    bench.list(&["SIM"]);
    bench.out.clear();
    bench.line = 0;
    for command in script
        .split('|')
        .map(str::trim)
        .filter(|command| !command.is_empty())
    {
        bench.line += 1;
        bench.command(command);
    }
    bench
}

struct Bench {
    exchange: Exchange,
    history: Vec<Sequenced>,
    out: String,
    line: usize,
    levels: bool,
    clock: u64,
    parties: Vec<String>,
    sessions: BTreeMap<String, (SessionId, Generation)>,
    instrument: u32,
}

impl Bench {
    fn new(levels: bool) -> Self {
        Self {
            exchange: Exchange::new(EngineConfig {
                index_seed: 1,
                expected_orders: 0,
                ..EngineConfig::default()
            }),
            history: Vec::new(),
            out: String::new(),
            line: 0,
            levels,
            clock: 0,
            parties: Vec::new(),
            sessions: BTreeMap::new(),
            instrument: 0,
        }
    }

    fn command(&mut self, text: &str) {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["list", ..] => self.list(&words[1..]),
            ["in", name] => {
                self.instrument = self.exchange.instrument_by_name(name).unwrap().get();
            }
            ["time", t] => {
                self.clock = number(t);
                self.apply(Command::AdvanceTime(AdvanceTime));
            }
            ["phase", phase, ref rest @ ..] => {
                let ref_price = match rest {
                    ["ref", price] => Some(price_of(price)),
                    _ => None,
                };
                self.apply(Command::SetPhase(SetPhase {
                    header: ClientHeader::default(),
                    instrument: InstrumentId::new(self.instrument),
                    phase: Phase::from_word(phase).unwrap(),
                    ref_price,
                }));
            }
            ["logon", name] => {
                self.apply(Command::SessionLogon(Box::new(SessionLogon {
                    name: Name::new(name).unwrap(),
                    conn: ConnToken::new(0),
                    received: Timestamp::ZERO,
                })));
            }
            ["fence", name, generation, reason] => {
                let (session, _) = self.sessions[name];
                self.apply(Command::SessionFence(SessionFence {
                    session,
                    generation: Generation::new(u16::try_from(number(generation)).unwrap()),
                    reason: FenceReason::from_word(reason).unwrap(),
                    cancel_orders: true,
                    received: Timestamp::ZERO,
                }));
            }
            ["mass_cancel", ref filters @ ..] => {
                let mut request = MassCancel {
                    header: ClientHeader::default(),
                    account: None,
                    instrument: None,
                    side: None,
                };
                for filter in filters {
                    match *filter {
                        "buy" => request.side = Some(Side::Buy),
                        "sell" => request.side = Some(Side::Sell),
                        "here" => request.instrument = Some(InstrumentId::new(self.instrument)),
                        party => request.account = Some(self.account(party)),
                    }
                }
                self.apply(Command::MassCancel(request));
            }
            [party, "quote", ref rest @ ..] => self.quote(party, rest),
            [who, ref rest @ ..] => self.request(who, rest),
            [] => unreachable!("empty commands are filtered out"),
        }
    }

    fn list(&mut self, words: &[&str]) {
        let mut instrument = Instrument::plain(Name::new(words[0]).unwrap());
        for word in &words[1..] {
            let (key, value) = word.split_once('=').unwrap();
            match key {
                "tick" => instrument.tick = number(value).cast_signed(),
                "lot" => instrument.lot = number(value),
                "min_price" => instrument.min_price = price_of(value),
                "max_price" => instrument.max_price = price_of(value),
                "min_qty" => instrument.min_qty = Qty::from_lots(number(value)),
                "max_qty" => instrument.max_qty = Qty::from_lots(number(value)),
                "vi" => {
                    let (band, length) = value.split_once('/').unwrap();
                    instrument.volatility = Some(VolatilityGuard {
                        band: number(band),
                        length_ns: number(length),
                    });
                }
                "indicative" => instrument.indicative = value == "yes",
                "ref_price" => instrument.ref_price = Some(price_of(value)),
                "protect" => instrument.protect = Some(number(value)),
                "algo" => instrument.algo = MatchAlgo::from_word(value).unwrap(),
                "min_alloc" => instrument.min_alloc = number(value),
                "top_min" => instrument.top_min = number(value),
                "top_max" => instrument.top_max = number(value),
                "fifo_pct" => instrument.fifo_pct = u8::try_from(number(value)).unwrap(),
                other => panic!("unknown field {other}"),
            }
        }
        let header = ClientHeader::default();
        self.apply(Command::ListInstrument(Box::new(ListInstrument {
            header,
            instrument,
        })));
        if let Some(id) = self.exchange.instrument_by_name(words[0]) {
            self.instrument = id.get();
        }
    }

    fn quote(&mut self, party: &str, rest: &[&str]) {
        let mut entry = QuoteEntry {
            instrument: InstrumentId::new(self.instrument),
            refused: None,
            bid_id: ClOrdId::new(0),
            bid_price: Price::ZERO,
            bid_qty: None,
            ask_id: ClOrdId::new(0),
            ask_price: Price::ZERO,
            ask_qty: None,
            backing: tessera_types::Backing::NOTHING,
        };
        let parse = |text: &str| {
            let (id, rest) = text.split_once(':').unwrap();
            let (qty, price) = rest.split_once('@').unwrap();
            (
                ClOrdId::new(number(id)),
                Qty::from_lots(number(qty)),
                price_of(price),
            )
        };
        if rest[0] != "-" {
            let (id, qty, price) = parse(rest[0]);
            (entry.bid_id, entry.bid_qty, entry.bid_price) = (id, Some(qty), price);
        }
        if rest[1] != "-" {
            let (id, qty, price) = parse(rest[1]);
            (entry.ask_id, entry.ask_qty, entry.ask_price) = (id, Some(qty), price);
        }
        let header = self.header(party, 0);
        self.apply(Command::MassQuote(Box::new(MassQuote {
            header,
            post_only: rest.contains(&"post"),
            keep_priority: rest.contains(&"keep"),
            self_match: SelfMatch::None,
            entries: vec![entry],
        })));
    }

    /// `[session/]party#id` and what it wants.
    fn request(&mut self, who: &str, rest: &[&str]) {
        let (party, id) = who.split_once('#').unwrap();
        let id = number(id);
        let header = self.header(party, id);
        let target = OrderTarget::Client(ClOrdId::new(id));
        match rest {
            ["cancel"] => self.apply(Command::Cancel(Cancel { header, target })),
            ["cancel", of] => {
                let target = OrderTarget::Client(ClOrdId::new(number(of)));
                self.apply(Command::Cancel(Cancel { header, target }));
            }
            ["cancel", "order", of] => {
                let target = OrderTarget::Exchange(tessera_types::OrderId::new(number(of)));
                self.apply(Command::Cancel(Cancel { header, target }));
            }
            ["reduce", "by", by] => {
                let by = Qty::from_lots(number(by));
                self.apply(Command::Reduce(Reduce { header, target, by }));
            }
            ["replace", changes @ ..] => {
                let mut request = Replace {
                    header,
                    target,
                    price: None,
                    qty: None,
                    stop: None,
                    new_id: None,
                };
                for change in changes.chunks(2) {
                    match change[0] {
                        "qty" => request.qty = Some(Qty::from_lots(number(change[1]))),
                        "price" => request.price = Some(price_of(change[1])),
                        "stop" => request.stop = Some(price_of(change[1])),
                        "id" => request.new_id = Some(ClOrdId::new(number(change[1]))),
                        "of" => {
                            request.target = OrderTarget::Client(ClOrdId::new(number(change[1])));
                        }
                        other => panic!("unknown change {other}"),
                    }
                }
                self.apply(Command::Replace(request));
            }
            [side, qty, flags @ ..] => self.new_order(header, side, qty, flags),
            _ => panic!("cannot read {who} {rest:?}"),
        }
    }

    fn new_order(&mut self, header: ClientHeader, side: &str, qty: &str, mut flags: &[&str]) {
        let side = if side == "buy" { Side::Buy } else { Side::Sell };
        let instrument = InstrumentId::new(self.instrument);
        let qty = Qty::from_lots(number(qty));
        let mut order = NewOrder::limit(header, instrument, side, Price::ZERO, qty);
        if let ["@", price, rest @ ..] = flags {
            order.price = price_of(price);
            flags = rest;
        }
        for flag in flags {
            let (key, value) = flag.split_once('=').unwrap_or((flag, ""));
            match key {
                "ioc" => order.time_in_force = TimeInForce::Ioc,
                "fok" => order.time_in_force = TimeInForce::Fok,
                "day" => order.time_in_force = TimeInForce::Day,
                "gtc" => order.time_in_force = TimeInForce::Gtc,
                "gtd" => {
                    order.time_in_force = TimeInForce::Gtd;
                    order.expire = Timestamp::from_nanos(number(value));
                }
                "post" => order.exec_inst = order.exec_inst.with(ExecInst::POST_ONLY),
                "aon" => order.exec_inst = order.exec_inst.with(ExecInst::ALL_OR_NONE),
                "stay" => order.exec_inst = order.exec_inst.with(ExecInst::STAY_ON_DISCONNECT),
                "market" => {
                    order.ord_type = OrdType::Market;
                    if order.time_in_force == TimeInForce::Gtc {
                        order.time_in_force = TimeInForce::Ioc;
                    }
                }
                "iceberg" => {
                    order.ord_type = OrdType::Iceberg;
                    order.display = Qty::from_lots(number(value));
                }
                "stop" => {
                    let limited = order.price != Price::ZERO;
                    order.ord_type = if limited {
                        OrdType::StopLimit
                    } else {
                        OrdType::Stop
                    };
                    order.trigger = number(value).cast_signed();
                }
                "trail" => {
                    order.ord_type = OrdType::TrailingStop;
                    order.trigger = number(value).cast_signed();
                }
                "min" => order.min_qty = Qty::from_lots(number(value)),
                "budget" => order.budget = Some(number(value)),
                "stp" => order.self_match = SelfMatch::from_word(value).unwrap(),
                other => panic!("unknown flag {other}"),
            }
        }
        self.apply(Command::NewOrder(order));
    }

    fn header(&mut self, party: &str, id: u64) -> ClientHeader {
        let (session, party) = party
            .split_once('/')
            .map_or((None, party), |(s, p)| (Some(s), p));
        let (party, generation) = match party.split_once('~') {
            Some((party, generation)) => (
                party,
                Some(Generation::new(u16::try_from(number(generation)).unwrap())),
            ),
            None => (party, None),
        };
        let account = if party.is_empty() {
            AccountId::new(0)
        } else {
            self.account(party)
        };
        let (session, current) = match session {
            None => (SessionId::VENUE, Generation::new(0)),
            Some(name) => *self
                .sessions
                .get(name)
                .unwrap_or(&(SessionId::new(99), Generation::new(0))),
        };
        ClientHeader {
            session,
            generation: generation.unwrap_or(current),
            account,
            cl_ord_id: ClOrdId::new(id),
            received: Timestamp::ZERO,
        }
    }

    fn account(&mut self, party: &str) -> AccountId {
        let at = self
            .parties
            .iter()
            .position(|known| known == party)
            .unwrap_or_else(|| {
                self.parties.push(party.to_owned());
                self.parties.len() - 1
            });
        AccountId::new(u32::try_from(at).unwrap() + 1)
    }

    fn apply(&mut self, command: Command) {
        let seq = Seq::new(self.history.len() as u64 + 1);
        let sequenced = Sequenced {
            seq,
            time: Timestamp::from_nanos(self.clock),
            command,
        };
        let mut events = Vec::new();
        self.exchange.apply(&sequenced, &mut events);
        self.exchange.check_invariants();
        self.history.push(sequenced);
        for event in &events {
            if let Event::SessionStarted {
                session,
                generation,
                ..
            } = *event
            {
                let name = self.exchange.session(session).unwrap().name;
                self.sessions
                    .insert(name.to_string(), (session, generation));
            }
            if let Some(text) = self.text(event) {
                writeln!(self.out, "{} {text}", self.line).unwrap();
            }
        }
    }

    fn who(&self, party: &Party) -> String {
        let mut text = String::new();
        if party.session != SessionId::VENUE {
            write!(text, "[{}:{}] ", party.session, party.server_seq).unwrap();
        }
        let account = party.account.get() as usize;
        let name = account
            .checked_sub(1)
            .map_or("?", |at| self.parties[at].as_str());
        write!(text, "{name}#{}", party.cl_ord_id).unwrap();
        text
    }

    fn text(&self, event: &Event) -> Option<String> {
        Some(match *event {
            Event::OrderAccepted {
                ref party,
                side,
                price,
                qty,
                ..
            } => {
                format!("accepted {} {side} {qty} @ {price}", self.who(party))
            }
            Event::Rejected {
                session,
                server_seq,
                cl_ord_id,
                target,
                kind,
                reason,
                ..
            } => {
                let id = if target.get() == 0 { cl_ord_id } else { target };
                let session = if session == SessionId::VENUE {
                    String::new()
                } else {
                    format!("[{session}:{server_seq}] ")
                };
                format!("rejected {session}{kind} #{id} {reason}")
            }
            Event::Trade {
                aggressor,
                price,
                qty,
                ref maker,
                ref taker,
                maker_leaves,
                taker_leaves,
                ..
            } => format!(
                "trade    {} {} {qty} @ {price} {aggressor} open {maker_leaves} {taker_leaves}",
                self.who(maker),
                self.who(taker)
            ),
            Event::OrderCanceled {
                ref party,
                qty,
                cum,
                reason,
                ..
            } => {
                format!(
                    "canceled {} open {qty} filled {cum} {reason}",
                    self.who(party)
                )
            }
            Event::OrderReduced {
                ref party,
                leaves,
                self_match,
                ..
            } => {
                let why = if self_match { " stp" } else { "" };
                format!("reduced  {} open {leaves}{why}", self.who(party))
            }
            Event::OrderReplaced {
                ref party,
                old_id,
                price,
                qty,
                leaves,
                ..
            } => format!(
                "replaced {} (was #{old_id}) {qty} @ {price} open {leaves}",
                self.who(party)
            ),
            Event::OrderTriggered {
                ref party, stop, ..
            } => {
                format!("trigger  {} at {stop}", self.who(party))
            }
            Event::OrderExpired {
                ref party,
                qty,
                reason,
                ..
            } => {
                format!("expired  {} open {qty} {reason}", self.who(party))
            }
            Event::AuctionCleared {
                price,
                volume,
                surplus,
                ..
            } => {
                format!("auction  {volume} @ {price} surplus {surplus}")
            }
            Event::PhaseChanged { phase, until, .. } => {
                let until = until.map_or(String::new(), |until| format!(" until {until}"));
                format!("phase    {phase}{until}")
            }
            Event::Indicative {
                price,
                volume,
                surplus,
                ..
            } => match price {
                Some(price) => format!("indicate {volume} @ {price} surplus {surplus}"),
                None => format!("indicate {volume}"),
            },
            Event::MassCanceled { count, .. } => format!("mass cancel of {count}"),
            Event::InstrumentListed { instrument, .. } => format!("listed   {instrument}"),
            Event::CatalogueSet { version, .. } => format!("catalogue {version}"),
            Event::SessionStarted {
                session,
                generation,
                last_cl_ord_id,
                next_server_seq,
                ..
            } => format!(
                "session  {session} life {generation} last id {last_cl_ord_id} next message \
                 {next_server_seq}"
            ),
            Event::SessionFenced {
                session,
                generation,
                canceled,
            } => {
                format!("fenced   {session} life {generation} canceled {canceled}")
            }
            Event::Level {
                side,
                price,
                qty,
                orders,
                ..
            } if self.levels => {
                format!("level    {side} {price} {qty} ({orders})")
            }
            Event::Contract(ref event) => format!("contract {event:?}"),
            Event::Account(account) => format!("{account:?}"),
            Event::Level { .. } => return None,
        })
    }

    /// Writes what rests at the end.
    fn book(&mut self) {
        let ids: Vec<InstrumentId> = self.exchange.instruments().map(|(id, ..)| id).collect();
        for id in ids {
            let side = |side| {
                let levels = self.exchange.depth(id, side);
                levels
                    .map(|level| format!(" {}x{}({})", level.price, level.qty, level.orders))
                    .collect::<String>()
            };
            let (bids, asks) = (side(Side::Buy), side(Side::Sell));
            if !bids.is_empty() || !asks.is_empty() {
                writeln!(self.out, "= bids{bids} asks{asks}").unwrap();
            }
        }
        let mut stops: Vec<_> = self
            .exchange
            .orders()
            .filter(|order| order.state == OrderState::Stop)
            .collect();
        stops.sort_by_key(|order| order.order_id);
        for order in stops {
            let at = order
                .stop
                .map_or("none".to_owned(), |stop| stop.to_string());
            writeln!(self.out, "= stop #{} at {at}", order.cl_ord_id).unwrap();
        }
    }

    fn compare_with_twin(&self) {
        let mut twin = Exchange::new(EngineConfig {
            index_seed: 99,
            expected_orders: 500,
            ..EngineConfig::default()
        });
        for sequenced in &self.history {
            twin.apply(sequenced, &mut Vec::new());
        }
        assert_eq!(
            twin.state_hash(),
            self.exchange.state_hash(),
            "state of a replay"
        );
        assert_eq!(
            twin.events_digest(),
            self.exchange.events_digest(),
            "events of a replay"
        );
    }
}

fn number(text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("{text} is no number"))
}

fn price_of(text: &str) -> Price {
    Price::from_ticks(
        text.parse()
            .unwrap_or_else(|_| panic!("{text} is no price")),
    )
}
