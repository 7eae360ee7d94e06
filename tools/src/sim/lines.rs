//! Event lines of commands that come from a journal instead of a script.

use std::collections::HashMap;

use tessera_engine::Exchange;
use tessera_types::{
    AccountId, ClOrdId, Command, ContractEvent, Event, InstrumentId, OrderTarget, PoolId, Seq,
};

use super::render::{Context, Names, Printer};

/// Prints the events of journaled commands as order scripts print theirs. `line` is the sequence of the
/// command; a party is named by its account number, since a journal holds no other name.
#[derive(Debug, Default)]
pub struct EventLines {
    printer: Printer,
    names: JournalNames,
}

impl EventLines {
    /// Appends the lines of one command's events. `exchange` is the state after it.
    pub fn command(
        &mut self,
        command: &Command,
        seq: Seq,
        events: &[Event],
        exchange: &Exchange,
        out: &mut String,
    ) {
        self.printer.line = seq.get();
        let header = command.header();
        let (target, new_id) = match command {
            Command::Cancel(cancel) => (Some(cancel.target), false),
            Command::Reduce(reduce) => (Some(reduce.target), false),
            Command::Replace(replace) => (Some(replace.target), replace.new_id.is_some()),
            _ => (None, false),
        };
        let id = match (command, target) {
            (Command::NewOrder(order), _) => Some(order.header.cl_ord_id),
            (_, Some(OrderTarget::Client(id))) => Some(id),
            _ => header.map(|header| header.cl_ord_id),
        };
        self.names.learn(events, exchange);
        let context = Context {
            names: &self.names,
            id: id.filter(|id| *id != ClOrdId::new(0)),
            new_id,
            quoting: matches!(command, Command::MassQuote(_)),
        };
        let events: Vec<&Event> = events.iter().collect();
        self.printer.events(out, &events, false, context);
    }
}

/// JSON text of the names that events mention.
#[derive(Debug, Default)]
struct JournalNames {
    instruments: Vec<String>,
    parties: HashMap<AccountId, String>,
    pools: Vec<String>,
}

impl JournalNames {
    fn learn(&mut self, events: &[Event], exchange: &Exchange) {
        for event in events {
            match event {
                Event::InstrumentListed { .. } => {
                    let known = self.instruments.len();
                    let new = exchange.instruments().skip(known);
                    self.instruments.extend(new.map(|(_, instrument, _)| {
                        serde_json::Value::from(instrument.name.as_str()).to_string()
                    }));
                }
                Event::OrderAccepted { party, .. } => {
                    let account = party.account;
                    self.parties
                        .entry(account)
                        .or_insert_with(|| format!("\"{account}\""));
                }
                Event::Contract(ContractEvent::PoolDeclared { pool, account, .. }) => {
                    let name = exchange.pool_name(*pool).map_or("", |name| name.as_str());
                    self.pools.push(serde_json::Value::from(name).to_string());
                    let account = *account;
                    self.parties
                        .entry(account)
                        .or_insert_with(|| format!("\"{account}\""));
                }
                Event::Contract(ContractEvent::LimitSet { account, .. }) => {
                    let account = *account;
                    self.parties
                        .entry(account)
                        .or_insert_with(|| format!("\"{account}\""));
                }
                _ => {}
            }
        }
    }
}

impl Names for JournalNames {
    fn instrument_json(&self, id: InstrumentId) -> &str {
        self.instruments
            .get(id.get() as usize)
            .map_or("\"\"", String::as_str)
    }

    fn party_json(&self, account: AccountId) -> &str {
        self.parties.get(&account).map_or("\"\"", String::as_str)
    }

    fn pool_json(&self, pool: PoolId) -> &str {
        self.pools
            .get(pool.get() as usize)
            .map_or("\"\"", String::as_str)
    }
}
