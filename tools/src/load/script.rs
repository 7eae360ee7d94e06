//! From the lines of an order script to requests of one session.
//!
//! No I/O: a line becomes a [`Step`], and the messages that come back tell which orders still live.
//! Parties are accounts in order of appearance; script ids, which may be used again once their order
//! has ended, stand for client ids, which only rise.

use std::collections::HashMap;

use tessera_proto::codes::{ExecType, MassActionScope, MassActionType, SideCode};
use tessera_proto::field::{Reserved, TooManyLots};
use tessera_proto::message::{
    Cancel, CancelReplace, Changes, ExecInstBits, MassAction, NewOrderSingle, Reduce,
};
use tessera_proto::session::Request;
use tessera_proto::{Lots, Message};
use tessera_types::contract::{Instrument, Name};
use tessera_types::{
    ClOrdId, Command, ExecInst, InstrumentId, OrderId, OrderTarget, RejectReason, SetPhase,
    Timestamp,
};

use crate::load::ledger::{Outcome, answer_of};
use crate::script::{Resolver, ScriptCommand};

/// What a line asks of whoever runs the script.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing: the line asks only the simulator.
    Skip,
    /// Send this, without waiting for what was sent before.
    Send(Request),
    /// Wait until everything sent is answered, then offer the line again: what it means depends on
    /// the answers. With `fence` also until everything that those requests caused has been told, not
    /// only the answers.
    Settle { fence: bool },
    /// Wait until everything sent is answered, list this instrument, say so with
    /// [`Mapper::listed`], and offer the line again when it is `again`.
    List {
        instrument: Box<Instrument>,
        again: bool,
    },
    /// Wait until everything sent is answered, then change the phase.
    Phase(SetPhase),
    /// The line is refused without being sent.
    Refuse(RejectReason),
}

/// The ids and names of a script in terms of the session.
#[derive(Debug, Default)]
pub(crate) struct Mapper {
    names: Resolver,
    first_instrument: Option<(InstrumentId, String)>,
    orders: HashMap<u64, Order>,
    /// Script id of an order by the client id that it has now.
    by_client: HashMap<u64, u64>,
    /// Replaces without an answer, by their client id.
    replaces: HashMap<u64, Replacing>,
}

#[derive(Clone, Copy, Debug)]
struct Order {
    id: ClOrdId,
    live: bool,
}

#[derive(Clone, Copy, Debug)]
struct Replacing {
    script_id: u64,
    new_script_id: u64,
}

impl Mapper {
    /// What to do for a command; a request takes the client id `next`. `settled` says that
    /// everything sent so far is answered.
    ///
    /// # Errors
    /// [`TooManyLots`] for a quantity that the wire cannot carry.
    pub(crate) fn step(
        &mut self,
        command: ScriptCommand<'_>,
        next: ClOrdId,
        settled: bool,
    ) -> Result<Step, TooManyLots> {
        if command.uses_default_instrument() && self.names.default_instrument().is_none() {
            return Ok(match Name::new(DEFAULT_INSTRUMENT) {
                Ok(name) => Step::List {
                    instrument: Box::new(Instrument::plain(name)),
                    again: true,
                },
                Err(_) => Step::Refuse(RejectReason::UnknownInstrument),
            });
        }
        let command = match self.names.resolve(command) {
            Ok(Some(command)) => command,
            Ok(None) => return Ok(Step::Skip),
            Err(reason) => return Ok(Step::Refuse(reason)),
        };
        match command {
            Command::ListInstrument(command) => {
                let instrument = command.instrument;
                let known = self
                    .names
                    .instrument(Some(instrument.name.as_str()))
                    .is_ok();
                Ok(if known {
                    Step::Refuse(RejectReason::DuplicateInstrument)
                } else {
                    Step::List {
                        instrument: Box::new(instrument),
                        again: false,
                    }
                })
            }
            Command::SetPhase(command) => Ok(Step::Phase(command)),
            Command::NewOrder(order) => self.new_order(&order, next, settled),
            Command::Cancel(cancel) => {
                let request = |id| {
                    Request::Cancel(Cancel {
                        cl_ord_id: next,
                        account: cancel.header.account,
                        orig_cl_ord_id: id,
                        order_id: OrderId::new(0),
                    })
                };
                Ok(self.about(cancel.target, settled, request))
            }
            Command::Reduce(reduce) => {
                let by = Lots::try_from(reduce.by)?;
                let request = |id| {
                    Request::Reduce(Reduce {
                        cl_ord_id: next,
                        account: reduce.header.account,
                        orig_cl_ord_id: id,
                        order_id: OrderId::new(0),
                        by,
                    })
                };
                Ok(self.about(reduce.target, settled, request))
            }
            Command::Replace(replace) => self.replace(&replace, next, settled),
            Command::MassCancel(mass) => Ok(Step::Send(Request::Mass(MassAction {
                cl_ord_id: next,
                account: mass.account.unwrap_or_default(),
                action: MassActionType::Cancel,
                scope: match mass.instrument {
                    Some(_) => MassActionScope::Instrument,
                    None => MassActionScope::All,
                },
                instrument: mass.instrument.unwrap_or_default(),
                product: 0,
                side: mass.side.map_or(SideCode::Any, SideCode::from),
                mmp_group: 0,
            }))),
            // Schema minor 0 has no message for it.
            _ => Ok(Step::Refuse(RejectReason::Unsupported)),
        }
    }

    /// Notes the number that the exchange has given an instrument.
    pub(crate) fn listed(&mut self, name: &str, id: InstrumentId) {
        self.names.list(name, id);
        self.first_instrument
            .get_or_insert_with(|| (id, name.to_owned()));
    }

    /// The instrument that the script named first.
    pub(crate) fn first_instrument(&self) -> Option<&(InstrumentId, String)> {
        self.first_instrument.as_ref()
    }

    /// Takes what the exchange says about the script's orders.
    pub(crate) fn on_message(&mut self, message: &Message) {
        if let Some(answer) = answer_of(message) {
            let id = answer.id.get();
            let replaced =
                matches!(message, Message::ExecutionReport(m) if m.exec_type == ExecType::Replaced);
            if let Some(replacing) = self.replaces.remove(&id)
                && replaced
                && let Some(order) = self.orders.remove(&replacing.script_id)
            {
                self.by_client.remove(&order.id.get());
                self.by_client.insert(id, replacing.new_script_id);
                let order = Order {
                    id: answer.id,
                    live: order.live,
                };
                self.orders.insert(replacing.new_script_id, order);
            }
            if let Outcome::Rejected(_) = answer.outcome {
                self.end(id); // of a new order; a refused cancel has no order of its own
            }
        }
        if let Message::ExecutionReport(m) = message {
            match m.exec_type {
                ExecType::Trade if m.leaves_qty == Lots::ZERO => self.end(m.cl_ord_id.get()),
                ExecType::Expired => self.end(m.cl_ord_id.get()),
                ExecType::Canceled if m.orig_cl_ord_id.get() != 0 => {
                    self.end(m.orig_cl_ord_id.get());
                }
                ExecType::Canceled => self.end(m.cl_ord_id.get()),
                _ => {}
            }
        }
    }

    fn end(&mut self, client_id: u64) {
        if let Some(script_id) = self.by_client.remove(&client_id)
            && let Some(order) = self.orders.get_mut(&script_id)
        {
            order.live = false;
        }
    }

    fn is_taken(&self, script_id: u64) -> bool {
        self.orders.get(&script_id).is_some_and(|order| order.live)
    }

    fn new_order(
        &mut self,
        order: &tessera_types::NewOrder,
        next: ClOrdId,
        settled: bool,
    ) -> Result<Step, TooManyLots> {
        if order.budget.is_some() {
            return Ok(Step::Refuse(RejectReason::Unsupported));
        }
        let message = NewOrderSingle {
            cl_ord_id: next,
            account: order.header.account,
            instrument: order.instrument,
            side: order.side,
            ord_type: order.ord_type,
            time_in_force: order.time_in_force,
            price: order.price,
            order_qty: order.qty.try_into()?,
            min_qty: order.min_qty.try_into()?,
            display_qty: order.display.try_into()?,
            stop_px: order.trigger,
            expire_time: order.expire,
            exec_inst: exec_inst(order.exec_inst),
            smp_id: 0,
            smp_mode: order.self_match,
            mmp_group: 0,
            transact_time: Timestamp::ZERO,
        };
        let script_id = order.header.cl_ord_id.get();
        let may_take = |r: &Replacing| r.new_script_id == script_id;
        let fence = self.is_taken(script_id);
        if !settled && (fence || self.replaces.values().any(may_take)) {
            return Ok(Step::Settle { fence });
        }
        if self.is_taken(script_id) {
            return Ok(Step::Refuse(RejectReason::DuplicateId));
        }
        let live = Order {
            id: next,
            live: true,
        };
        self.orders.insert(script_id, live);
        self.by_client.insert(next.get(), script_id);
        Ok(Step::Send(Request::New(message)))
    }

    fn replace(
        &mut self,
        replace: &tessera_types::Replace,
        next: ClOrdId,
        settled: bool,
    ) -> Result<Step, TooManyLots> {
        let mut changes = Changes::NONE;
        for (there, bit) in [
            (replace.price.is_some(), Changes::PRICE),
            (replace.qty.is_some(), Changes::QTY),
            (replace.stop.is_some(), Changes::STOP),
        ] {
            if there {
                changes = changes.with(bit);
            }
        }
        let order_qty = Lots::try_from(replace.qty.unwrap_or_default())?;
        let script_id = script_id(replace.target);
        let new_script_id = replace.new_id.map_or(script_id, ClOrdId::get);
        if new_script_id != script_id && self.is_taken(new_script_id) {
            return Ok(if settled {
                Step::Refuse(RejectReason::DuplicateId)
            } else {
                Step::Settle { fence: true }
            });
        }
        if changes == Changes::NONE {
            // Only the script's own name of the order changes, which the exchange never sees.
            return Ok(self.rename(script_id, new_script_id, settled));
        }
        let step = self.about(replace.target, settled, |id| {
            Request::Replace(CancelReplace {
                cl_ord_id: next,
                account: replace.header.account,
                orig_cl_ord_id: id,
                order_id: OrderId::new(0),
                price: replace.price.unwrap_or_default(),
                order_qty,
                min_qty: Lots::ZERO,
                stop_px: replace.stop.unwrap_or_default(),
                expire_time: Timestamp::ZERO,
                exec_inst: ExecInstBits::NONE,
                changes,
                on_failure: Reserved,
                in_flight: Reserved,
            })
        });
        if let Step::Send(_) = step {
            let replacing = Replacing {
                script_id,
                new_script_id,
            };
            self.replaces.insert(next.get(), replacing);
        }
        Ok(step)
    }

    fn rename(&mut self, from: u64, to: u64, settled: bool) -> Step {
        if !settled {
            return Step::Settle { fence: true };
        }
        if !self.is_taken(from) {
            return Step::Refuse(RejectReason::UnknownOrder);
        }
        if let Some(order) = self.orders.remove(&from) {
            self.by_client.insert(order.id.get(), to);
            self.orders.insert(to, order);
        }
        Step::Skip
    }

    /// A request about the order with this script id. One that never was is refused here, since there
    /// is no client id to name it by; whether another still lives is for the exchange to say.
    fn about(
        &self,
        target: OrderTarget,
        settled: bool,
        request: impl FnOnce(ClOrdId) -> Request,
    ) -> Step {
        let script_id = script_id(target);
        let replacing = |r: &Replacing| r.script_id == script_id || r.new_script_id == script_id;
        // Which client id the order has depends on whether the replace succeeds.
        if !settled && self.replaces.values().any(replacing) {
            return Step::Settle { fence: false };
        }
        match self.orders.get(&script_id) {
            Some(order) => Step::Send(request(order.id)),
            None => Step::Refuse(RejectReason::UnknownOrder),
        }
    }
}

const fn script_id(target: OrderTarget) -> u64 {
    match target {
        OrderTarget::Client(id) => id.get(),
        OrderTarget::Exchange(id) => id.get(),
    }
}

fn exec_inst(inst: ExecInst) -> ExecInstBits {
    [
        (ExecInst::POST_ONLY, ExecInstBits::POST_ONLY),
        (ExecInst::ALL_OR_NONE, ExecInstBits::ALL_OR_NONE),
    ]
    .into_iter()
    .filter(|&(bit, _)| inst.contains(bit))
    .fold(ExecInstBits::NONE, |all, (_, bit)| all.with(bit))
}

/// The instrument of a script that declares none.
const DEFAULT_INSTRUMENT: &str = "SIM";

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::fmt::Write as _;

    use tessera_engine::{EngineConfig, Exchange};
    use tessera_proto::convert::{self, Origin, Report};
    use tessera_types::{
        ClientHeader, ConnToken, Event, EventRecord, Generation, ListInstrument, Seq, Sequenced,
        SessionId, SessionLogon,
    };

    use super::*;
    use crate::load::ledger::Ledger;
    use crate::script::parse_line;
    use crate::sim::Runner;

    /// An exchange behind a wire: requests go in as messages, and what comes back is held until the
    /// test delivers it.
    struct Venue {
        exchange: Exchange,
        seq: u64,
        session: SessionId,
        generation: Generation,
        inbox: VecDeque<(u64, Message)>,
    }

    impl Venue {
        fn new() -> Self {
            let mut venue = Self {
                exchange: Exchange::new(EngineConfig::default()),
                seq: 0,
                session: SessionId::VENUE,
                generation: Generation::default(),
                inbox: VecDeque::new(),
            };
            let logon = SessionLogon {
                name: Name::new("LOAD").unwrap(),
                conn: ConnToken::new(1),
                received: Timestamp::ZERO,
            };
            for event in venue.apply(Command::SessionLogon(Box::new(logon))) {
                if let Event::SessionStarted {
                    session,
                    generation,
                    ..
                } = event
                {
                    (venue.session, venue.generation) = (session, generation);
                }
            }
            assert_ne!(venue.session, SessionId::VENUE);
            venue
        }

        fn apply(&mut self, command: Command) -> Vec<Event> {
            self.seq += 1;
            let sequenced = Sequenced {
                seq: Seq::new(self.seq),
                time: Timestamp::ZERO,
                command,
            };
            let mut events = Vec::new();
            self.exchange.apply(&sequenced, &mut events);
            for (event, index) in events.iter().zip(0..) {
                let record = EventRecord {
                    seq: sequenced.seq,
                    time: sequenced.time,
                    received: Timestamp::ZERO,
                    index,
                    last: false,
                    event: *event,
                };
                let inbox = &mut self.inbox;
                convert::reports(&record, |_, seq, report| {
                    inbox.push_back((
                        seq.get(),
                        match report {
                            Report::Execution(m) => m.into(),
                            Report::CancelReject(m) => m.into(),
                            Report::MassAction(m) => m.into(),
                            Report::Admin(m) => m.into(),
                        },
                    ));
                })
                .unwrap();
            }
            events
        }
    }

    /// Runs a script through the mapper and an exchange, delivering answers only when the mapper
    /// asks for them or `batch` requests are out. Gives trades and rejections as the simulator's
    /// lines show them.
    fn through_the_wire(script: &str, batch: usize) -> String {
        let mut venue = Venue::new();
        let mut mapper = Mapper::default();
        let mut ledger = Ledger::new(ClOrdId::new(1));
        let mut out = String::new();
        let deliver =
            |venue: &mut Venue, mapper: &mut Mapper, ledger: &mut Ledger, out: &mut String| {
                for (seq, message) in venue.inbox.drain(..) {
                    let done = ledger.receive(Some(seq), &message);
                    if let Some(Outcome::Rejected(Some(reason))) =
                        done.map(|done| done.answer.outcome)
                    {
                        writeln!(out, "reject {reason}").unwrap();
                    }
                    if let Message::ExecutionReport(m) = &message
                        && m.exec_type == ExecType::Trade
                        && m.liquidity == tessera_proto::codes::Liquidity::Removed
                    {
                        writeln!(out, "fill {} {}", m.last_px, m.last_qty).unwrap();
                    }
                    mapper.on_message(&message);
                }
            };
        for line in script.lines() {
            let mut settled = false;
            loop {
                let parsed = match parse_line(line.as_bytes()) {
                    Ok(Some(parsed)) => parsed,
                    Ok(None) => break,
                    Err(bad) => {
                        deliver(&mut venue, &mut mapper, &mut ledger, &mut out);
                        writeln!(out, "reject {}", bad.reason).unwrap();
                        break;
                    }
                };
                let step = mapper
                    .step(parsed.command, ledger.next_id(), settled)
                    .unwrap();
                match step {
                    Step::Skip => break,
                    Step::Send(request) => {
                        let origin = Origin {
                            session: venue.session,
                            generation: venue.generation,
                            received: Timestamp::ZERO,
                        };
                        ledger.send(
                            crate::load::ledger::Kind::of(&request),
                            std::time::Instant::now(),
                        );
                        venue.apply(request.command(origin).unwrap());
                        if ledger.unanswered() >= batch {
                            deliver(&mut venue, &mut mapper, &mut ledger, &mut out);
                        }
                        break;
                    }
                    Step::Settle { .. } => {
                        assert!(!settled, "a settled mapper decides");
                        deliver(&mut venue, &mut mapper, &mut ledger, &mut out);
                        assert_eq!(ledger.unanswered(), 0);
                        settled = true;
                    }
                    Step::List { instrument, again } => {
                        deliver(&mut venue, &mut mapper, &mut ledger, &mut out);
                        let name = instrument.name;
                        let command = ListInstrument {
                            header: ClientHeader::default(),
                            instrument: *instrument,
                        };
                        for event in venue.apply(Command::ListInstrument(Box::new(command))) {
                            if let Event::InstrumentListed { instrument, .. } = event {
                                mapper.listed(name.as_str(), instrument);
                            }
                        }
                        if !again {
                            break;
                        }
                    }
                    Step::Phase(phase) => {
                        deliver(&mut venue, &mut mapper, &mut ledger, &mut out);
                        venue.apply(Command::SetPhase(phase));
                        break;
                    }
                    Step::Refuse(reason) => {
                        deliver(&mut venue, &mut mapper, &mut ledger, &mut out);
                        writeln!(out, "reject {reason}").unwrap();
                        break;
                    }
                }
            }
        }
        deliver(&mut venue, &mut mapper, &mut ledger, &mut out);
        assert_eq!((ledger.unanswered(), ledger.faults().len()), (0, 0));
        out
    }

    fn through_the_simulator(script: &str) -> String {
        let mut runner = Runner::new(EngineConfig::default(), false);
        let (mut events, mut out) = (String::new(), String::new());
        for line in script.lines() {
            let _ = runner.line(line.as_bytes(), &mut events);
        }
        for line in events.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            match event["ev"].as_str().unwrap() {
                "fill" if event["aggressor"] != "none" => {
                    writeln!(out, "fill {} {}", event["price"], event["qty"]).unwrap();
                }
                "rejected" => {
                    writeln!(out, "reject {}", event["reason"].as_str().unwrap()).unwrap()
                }
                _ => {}
            }
        }
        out
    }

    /// The same fills and rejections as the simulator, however late the answers come.
    fn check(script: &str) {
        let expected = through_the_simulator(script);
        for batch in [1, 2, 3, 1_000] {
            assert_eq!(
                through_the_wire(script, batch),
                expected,
                "in batches of {batch}"
            );
        }
    }

    #[test]
    fn ids_are_free_again_when_their_order_has_ended() {
        check(
            r#"{"op":"new","id":1,"party":"a","side":"sell","price":10,"qty":5}
{"op":"new","id":1,"party":"a","side":"sell","price":10,"qty":5}
{"op":"new","id":2,"party":"b","side":"buy","price":10,"qty":5}
{"op":"new","id":1,"party":"a","side":"sell","price":11,"qty":4}
{"op":"cancel","id":1}
{"op":"new","id":1,"party":"a","side":"sell","price":12,"qty":3}
{"op":"reduce","id":1,"by":1}
{"op":"reduce","id":1,"by":9}
{"op":"cancel","id":1}
{"op":"new","id":1,"party":"a","side":"sell","price":0,"qty":3}
{"op":"cancel","id":1}
{"op":"cancel","id":77}"#,
        );
    }

    #[test]
    fn replaces_chain_whether_they_succeed_or_not() {
        check(
            r#"{"op":"instrument","instrument":"X"}
{"op":"new","id":1,"party":"a","side":"sell","price":10,"qty":5}
{"op":"new","id":2,"party":"b","side":"buy","price":8,"qty":5,"post_only":true}
{"op":"replace","id":2,"price":9}
{"op":"replace","id":2,"price":0}
{"op":"replace","id":2,"price":7}
{"op":"replace","id":2,"price":9,"new_id":3}
{"op":"cancel","id":2}
{"op":"replace","id":3,"new_id":1}
{"op":"replace","id":3,"new_id":4}
{"op":"new","id":3,"party":"c","side":"sell","price":9,"qty":2}
{"op":"replace","id":4,"qty":2}
{"op":"cancel","id":4}
{"op":"replace","id":1,"qty":6,"price":9}
{"op":"new","id":5,"party":"c","side":"buy","price":9,"qty":100}"#,
        );
    }

    #[test]
    fn parties_and_filters_are_accounts() {
        check(
            r#"{"op":"instrument","instrument":"X"}
{"op":"instrument","instrument":"Y"}
{"op":"instrument","instrument":"X"}
{"op":"new","id":1,"party":"a","side":"sell","price":10,"qty":5}
{"op":"new","id":2,"party":"b","side":"sell","price":10,"qty":5,"instrument":"Y"}
{"op":"new","id":9,"party":"b","side":"sell","price":10,"qty":5,"instrument":"Z"}
{"op":"cancel","id":1,"party":"b"}
{"op":"new","id":3,"party":"a","side":"buy","price":10,"qty":2,"stp":"cancel_new"}
{"op":"mass_cancel","party":"a"}
{"op":"mass_cancel","instrument":"Y","side":"buy"}
{"op":"new","id":1,"party":"a","side":"sell","price":10,"qty":5}
{"op":"new","id":4,"party":"c","side":"buy","price":10,"qty":2,"instrument":"Y"}
{"op":"new","id":5,"party":"c","side":"buy","type":"market","qty":2}
{"op":"phase","phase":"halt"}
{"op":"new","id":6,"party":"c","side":"buy","price":10,"qty":2}
{"op":"phase","phase":"continuous"}
{"op":"new","id":6,"party":"c","side":"buy","price":10,"qty":2,"tif":"fok"}
not json
{"op":"new","id":6}
{"op":"depth"}
{"op":"time","t":5}"#,
        );
    }

    #[test]
    fn what_the_wire_cannot_carry_is_refused_here() {
        let mut mapper = Mapper::default();
        mapper.listed("X", InstrumentId::new(0));
        let mut step = |line: &str| {
            let parsed = parse_line(line.as_bytes()).unwrap().unwrap();
            mapper.step(parsed.command, ClOrdId::new(1), true)
        };
        assert!(
            step(r#"{"op":"new","id":1,"party":"a","side":"buy","price":1,"qty":4294967296}"#)
                .is_err()
        );
        let budget = r#"{"op":"new","id":1,"party":"a","side":"buy","price":1,"qty":1,"tif":"fok","budget":9}"#;
        assert_eq!(step(budget), Ok(Step::Refuse(RejectReason::Unsupported)));
        let quotes = r#"{"op":"mass_quote","party":"a","quotes":[]}"#;
        assert_eq!(step(quotes), Ok(Step::Refuse(RejectReason::Unsupported)));
    }
}
