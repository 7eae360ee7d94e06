//! An order script applied to an exchange, line by line.

use tessera_engine::{EngineConfig, Exchange};
use tessera_types::contract::{Instrument, Name};
use tessera_types::{
    AdvanceTime, ClOrdId, ClientHeader, Command, ContractEvent, Event, ListInstrument, OrderTarget,
    RejectReason, Seq, Sequenced, Timestamp,
};

use super::render::{Context, Printer};
use crate::script::{
    BadLine, Op, Resolver, ScriptCommand, ScriptContract, ScriptLine, Text, parse_line,
};

/// Runs a script against an exchange of its own. No I/O: lines come in, event lines go out.
#[derive(Debug)]
pub struct Runner {
    config: EngineConfig,
    exchange: Exchange,
    names: Resolver,
    printer: Printer,
    levels: bool,
    clock: Timestamp,
    seq: Seq,
    /// Events of the command being applied.
    events: Vec<Event>,
    /// What the exchange has been asked, when somebody wants to know.
    commands: Option<Vec<Sequenced>>,
}

/// What a line meant for `--strict`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Well formed, whatever the exchange made of it.
    Fine,
    /// It was refused with `parse_error`, `unknown_op`, `missing_field` or `bad_field`.
    Malformed,
}

impl Runner {
    /// A runner with an empty exchange; with `levels` it prints level events too.
    #[must_use]
    pub fn new(config: EngineConfig, levels: bool) -> Self {
        Self {
            config,
            exchange: Exchange::new(config),
            names: Resolver::new(),
            printer: Printer::default(),
            levels,
            clock: Timestamp::ZERO,
            seq: Seq::ZERO,
            events: Vec::new(),
            commands: None,
        }
    }

    /// Keeps every command from here on, as a journal would.
    pub fn keep_commands(&mut self) {
        self.commands = Some(Vec::new());
    }

    /// The commands kept; applied to another exchange, they lead to the same state.
    #[must_use]
    pub fn commands(&self) -> &[Sequenced] {
        self.commands.as_deref().unwrap_or_default()
    }

    /// The exchange as the script has left it.
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// How many lines have been read.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.printer.line
    }

    /// Runs the next line and appends its event lines to `out`.
    pub fn line(&mut self, line: &[u8], out: &mut String) -> Outcome {
        self.printer.line += 1;
        match parse_line(line) {
            Ok(None) => Outcome::Fine,
            Ok(Some(line)) => self.command(line, out),
            Err(bad) => self.bad_line(&bad, out),
        }
    }

    fn bad_line(&mut self, bad: &BadLine, out: &mut String) -> Outcome {
        let time = bad.time.filter(|&time| time >= self.clock);
        self.answer(time, out, bad.id, |this, out| {
            this.printer
                .rejected(out, bad.op.as_deref(), bad.reason, bad.id);
        });
        Outcome::Malformed
    }

    fn command(&mut self, line: ScriptLine<'_>, out: &mut String) -> Outcome {
        let ScriptLine { time, command } = line;
        let (op, id) = (command.op(), id_of(&command));
        if time.is_some_and(|time| time < self.clock) {
            let op = Some(op.as_str());
            self.printer
                .rejected(out, op, RejectReason::TimeBackwards, id);
            return Outcome::Fine;
        }
        let implicit =
            command.uses_default_instrument() && self.names.default_instrument().is_none();
        if implicit {
            self.list_implicit();
        }
        match command {
            ScriptCommand::Depth { instrument, levels } => {
                self.answer(time, out, None, |this, out| {
                    this.depth(instrument.as_ref(), levels, out);
                });
                Outcome::Fine
            }
            ScriptCommand::Orders { party, instrument } => {
                self.answer(time, out, None, |this, out| {
                    this.orders(party.as_ref(), instrument.as_ref(), out);
                });
                Outcome::Fine
            }
            ScriptCommand::Accounts => {
                self.answer(time, out, None, Self::accounts);
                Outcome::Fine
            }
            ScriptCommand::Time => {
                self.answer(time, out, None, |_, _| {});
                Outcome::Fine
            }
            ScriptCommand::Contract(question) if question.asks() => {
                self.answer(time, out, None, |this, out| {
                    this.contract_question(&question, out)
                });
                Outcome::Fine
            }
            command => self.execute(time, op, id, command, implicit, out),
        }
    }

    /// A command that goes to the engine as it is.
    fn execute(
        &mut self,
        time: Option<Timestamp>,
        op: Op,
        id: Option<ClOrdId>,
        command: ScriptCommand<'_>,
        implicit: bool,
        out: &mut String,
    ) -> Outcome {
        let command = match self.names.resolve(command) {
            Ok(Some(command)) => command,
            Ok(None) => return Outcome::Fine,
            Err(reason) => {
                self.answer(time, out, id, |this, out| {
                    this.printer.rejected(out, Some(op.as_str()), reason, id);
                });
                return Outcome::Fine;
            }
        };
        let new_id = matches!(&command, Command::Replace(replace) if replace.new_id.is_some());
        self.clock = time.unwrap_or(self.clock);
        self.apply(command);
        self.note_names();
        let context = Context {
            names: &self.names,
            id,
            new_id,
            quoting: op == Op::MassQuote,
        };
        let events: Vec<&Event> = self.events.iter().collect();
        self.printer.events(out, &events, self.levels, context);
        // With accounts there is more to an exchange than its instruments, so it is not begun anew.
        if implicit && refused(&self.events) && self.exchange.risk_params().is_none() {
            self.forget_implicit();
        }
        if self.events.iter().any(is_malformed) {
            Outcome::Malformed
        } else {
            Outcome::Fine
        }
    }

    /// Moves the clock when the line says so, prints what that caused, then what `print` says, then
    /// indicative prices and level events, which end every command.
    fn answer(
        &mut self,
        time: Option<Timestamp>,
        out: &mut String,
        id: Option<ClOrdId>,
        print: impl FnOnce(&mut Self, &mut String),
    ) {
        self.events.clear();
        if let Some(time) = time {
            self.clock = time;
            self.apply(Command::AdvanceTime(AdvanceTime));
        }
        let events = std::mem::take(&mut self.events);
        let (last, others): (Vec<_>, Vec<_>) = events.iter().partition(|event| ends_command(event));
        self.print_all(out, &others, id);
        print(self, out);
        let last = last.into_iter();
        let shown = last.filter(|event| self.levels || !matches!(event, Event::Level { .. }));
        let shown: Vec<_> = shown.collect();
        self.print_all(out, &shown, id);
        self.events = events;
    }

    fn print_all(&mut self, out: &mut String, events: &[&Event], id: Option<ClOrdId>) {
        let context = Context {
            names: &self.names,
            id,
            new_id: false,
            quoting: false,
        };
        self.printer.events(out, events, true, context);
    }

    fn depth(&mut self, name: Option<&Text<'_>>, levels: Option<usize>, out: &mut String) {
        use tessera_types::Side::{Buy, Sell};
        let instrument = match self.names.instrument(name.map(|name| &**name)) {
            Ok(instrument) => instrument,
            Err(reason) => {
                let op = Some(Op::Depth.as_str());
                return self.printer.rejected(out, op, reason, None);
            }
        };
        let most = levels.unwrap_or(usize::MAX);
        self.printer.depth(
            out,
            &self.names,
            instrument,
            self.exchange.depth(instrument, Buy).take(most),
            self.exchange.depth(instrument, Sell).take(most),
        );
    }

    fn orders(&mut self, party: Option<&Text<'_>>, name: Option<&Text<'_>>, out: &mut String) {
        let instrument = match self.names.instrument_filter(name.map(|name| &**name)) {
            Ok(instrument) => instrument,
            Err(reason) => {
                let op = Some(Op::Orders.as_str());
                return self.printer.rejected(out, op, reason, None);
            }
        };
        let account = party.map(|party| self.names.account(party));
        let mut orders: Vec<_> = self
            .exchange
            .orders()
            .filter(|order| account.is_none_or(|account| order.account == account))
            .filter(|order| instrument.is_none_or(|instrument| order.instrument == instrument))
            .collect();
        orders.sort_unstable_by_key(|order| order.cl_ord_id);
        let groups = self.exchange.group_orders();
        let groups = groups
            .filter(|group| account.is_none_or(|account| group.account == account))
            .filter(|group| instrument.is_none() || group.instrument == instrument);
        let mut groups: Vec<_> = groups.collect();
        groups.sort_unstable_by_key(|group| group.cl_ord_id);
        let mut groups = groups.iter().peekable();
        for order in &orders {
            while let Some(group) = groups.next_if(|group| group.cl_ord_id < order.cl_ord_id) {
                self.printer.group(out, &self.names, group);
            }
            self.printer.order(out, &self.names, order);
        }
        for group in groups {
            self.printer.group(out, &self.names, group);
        }
    }

    /// Answers a question about contracts.
    fn contract_question(&mut self, question: &ScriptContract<'_>, out: &mut String) {
        let op = Some(question.op().as_str());
        let named = |this: &Self, name: &Option<Text<'_>>| this.names.instrument(name.as_deref());
        let done = match question {
            ScriptContract::Pools { instrument } => named(self, instrument).map(|instrument| {
                for free in self.exchange.pools_free(instrument) {
                    self.printer.pool_free(out, &self.names, instrument, &free);
                }
            }),
            ScriptContract::GangDepth { instrument, level } => {
                named(self, instrument).map(|instrument| {
                    let sizes = self.exchange.gang_depth(instrument, *level);
                    let level = level.as_str();
                    self.printer
                        .gang_depth(out, &self.names, instrument, level, &sizes);
                })
            }
            ScriptContract::Leases { party, instrument } => {
                let account = party.as_ref().map(|party| self.names.account(party));
                self.names
                    .instrument_filter(instrument.as_deref())
                    .map(|instrument| {
                        for lease in self.exchange.leases() {
                            let held = account.is_none_or(|account| lease.account == account);
                            let here = instrument.is_none_or(|id| lease.instrument == id);
                            if held && here {
                                self.printer.lease(out, &self.names, &lease);
                            }
                        }
                    })
            }
            _ => Ok(()),
        };
        if let Err(reason) = done {
            self.printer.rejected(out, op, reason, None);
        }
    }

    /// One line per account, by name.
    fn accounts(&mut self, out: &mut String) {
        let mut accounts: Vec<_> = self.exchange.accounts().collect();
        let names = &self.names;
        accounts.sort_by(|a, b| names.party_json(a.account).cmp(names.party_json(b.account)));
        for account in &accounts {
            self.printer.account(out, names, account);
        }
    }

    /// Applies a command at the clock; its events are in `self.events` afterwards.
    fn apply(&mut self, command: Command) {
        self.seq = self.seq.next();
        self.events.clear();
        let sequenced = Sequenced {
            seq: self.seq,
            time: self.clock,
            command,
        };
        self.exchange.apply(&sequenced, &mut self.events);
        if let Some(commands) = &mut self.commands {
            commands.push(sequenced);
        }
    }

    /// Notes what the events have given numbers to.
    fn note_names(&mut self) {
        for event in &self.events {
            match event {
                Event::InstrumentListed { instrument, .. } => {
                    if let Some((listed, _)) = self.exchange.instrument(*instrument) {
                        self.names.list(listed.name.as_str(), *instrument);
                    }
                }
                Event::CatalogueSet { .. } => self.names.note_catalogue(),
                Event::Contract(ContractEvent::PoolDeclared { pool, .. }) => {
                    if let Some(name) = self.exchange.pool_name(*pool) {
                        self.names.note_pool(name.as_str(), *pool);
                    }
                }
                _ => {}
            }
        }
    }

    /// Lists the instrument that stands for one left out when none has been declared. Nobody asked
    /// for it in so many words, so it has no event line.
    fn list_implicit(&mut self) {
        let Ok(name) = Name::new("SIM") else { return };
        self.apply(Command::ListInstrument(Box::new(ListInstrument {
            header: ClientHeader::default(),
            instrument: Instrument::plain(name),
        })));
        self.note_names();
    }

    /// Takes the implicit instrument back, because the command that needed it was refused and a
    /// refused command changes nothing. There was no instrument before it and so no order either:
    /// all that such an exchange knows is its clock, and a new one is as good.
    fn forget_implicit(&mut self) {
        self.exchange = Exchange::new(self.config);
        self.seq = Seq::ZERO;
        self.commands = self.commands.take().map(|_| Vec::new());
        self.names.unlist_all();
        let events = std::mem::take(&mut self.events);
        self.apply(Command::AdvanceTime(AdvanceTime));
        self.events = events;
    }
}

/// True for the events that come behind everything else of a command.
fn ends_command(event: &Event) -> bool {
    matches!(event, Event::Indicative { .. } | Event::Level { .. })
}

/// True when nothing but rejections (and the events that end every command) came of a command.
fn refused(events: &[Event]) -> bool {
    let mut answers = events
        .iter()
        .filter(|event| !ends_command(event))
        .peekable();
    answers.peek().is_some() && answers.all(|event| matches!(event, Event::Rejected { .. }))
}

fn is_malformed(event: &Event) -> bool {
    matches!(
        event,
        Event::Rejected {
            reason: RejectReason::ParseError
                | RejectReason::UnknownOp
                | RejectReason::MissingField
                | RejectReason::BadField,
            ..
        }
    )
}

/// The id on the line.
fn id_of(command: &ScriptCommand<'_>) -> Option<ClOrdId> {
    let target = match command {
        ScriptCommand::New { order, .. } => return Some(order.header.cl_ord_id),
        ScriptCommand::Cancel { cancel, .. } => cancel.target,
        ScriptCommand::Reduce { reduce, .. } => reduce.target,
        ScriptCommand::Replace { replace, .. } => replace.target,
        ScriptCommand::Contract(command) => return command.id(),
        _ => return None,
    };
    match target {
        OrderTarget::Client(id) => Some(id),
        OrderTarget::Exchange(_) => None,
    }
}
