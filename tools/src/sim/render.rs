//! Event lines: the fields of each event in the order that `docs/order-script.md` shows.

use std::fmt::{Display, Write as _};

use tessera_engine::{DepthLevel, OrderState, OrderView};
use tessera_types::{
    AccountId, ClOrdId, CommandKind, Event, InstrumentId, PhaseCause, PoolId, RejectReason,
};

use super::contracts::with_lease;
use crate::script::Resolver;

/// Writes event lines and numbers them.
#[derive(Debug, Default)]
pub(super) struct Printer {
    /// Lines printed so far.
    seq: u64,
    /// The line of the command that is being answered, from 1.
    pub(super) line: u64,
}

/// JSON text for the numbers in events.
pub(super) trait Names: std::fmt::Debug {
    fn instrument_json(&self, id: InstrumentId) -> &str;
    fn party_json(&self, account: AccountId) -> &str;
    fn pool_json(&self, pool: PoolId) -> &str;
}

impl Names for Resolver {
    fn instrument_json(&self, id: InstrumentId) -> &str {
        Self::instrument_json(self, id)
    }

    fn party_json(&self, account: AccountId) -> &str {
        Self::party_json(self, account)
    }

    fn pool_json(&self, pool: PoolId) -> &str {
        Self::pool_json(self, pool)
    }
}

/// What the printer cannot see in an event of the engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) names: &'a dyn Names,
    /// The id on the line.
    pub(super) id: Option<ClOrdId>,
    /// The line gives the order another id.
    pub(super) new_id: bool,
    /// The line is a mass quote.
    pub(super) quoting: bool,
}

impl Printer {
    /// Prints events of the engine, except level events unless `levels`.
    pub(super) fn events(
        &mut self,
        out: &mut String,
        events: &[&Event],
        levels: bool,
        context: Context<'_>,
    ) {
        for (at, event) in events.iter().enumerate() {
            if levels || !matches!(event, Event::Level { .. }) {
                self.event(out, event, &events[at + 1..], context);
            }
        }
    }

    /// Prints one event of the engine. Events that no script can cause print nothing. `rest`: those
    /// behind it, as some tell one thing together.
    fn event(&mut self, out: &mut String, event: &Event, rest: &[&Event], context: Context<'_>) {
        let names = context.names;
        match *event {
            Event::InstrumentListed { instrument, .. } => self
                .open(out, "instrument")
                .raw("instrument", names.instrument_json(instrument)),
            Event::OrderAccepted { party, .. } => self
                .open(out, "accepted")
                .num("id", party.cl_ord_id)
                .raw("party", names.party_json(party.account)),
            Event::Rejected {
                cl_ord_id,
                kind,
                reason,
                ..
            } => {
                let id = match kind {
                    CommandKind::MassQuote => Some(cl_ord_id).filter(|id| id.get() != 0),
                    _ => context.id,
                };
                let op = match kind {
                    CommandKind::Catalogue => "catalog",
                    kind => kind.as_str(),
                };
                return self.rejected(out, Some(op), reason, id);
            }
            Event::Trade {
                instrument,
                aggressor,
                price,
                qty,
                maker,
                taker,
                maker_leaves,
                taker_leaves,
                ..
            } => with_lease(
                self.open(out, "fill")
                    .raw("instrument", names.instrument_json(instrument))
                    .num("maker", maker.cl_ord_id)
                    .num("taker", taker.cl_ord_id)
                    .num("price", price)
                    .num("qty", qty)
                    .word("aggressor", aggressor.as_str())
                    .num("maker_open", maker_leaves)
                    .num("taker_open", taker_leaves),
                rest.first(),
                names,
            ),
            Event::OrderCanceled {
                party, qty, reason, ..
            } => self
                .open(out, "canceled")
                .num("id", party.cl_ord_id)
                .num("qty", qty)
                .word("reason", reason.as_str()),
            Event::OrderReduced {
                party,
                leaves,
                self_match,
                inventory,
                ..
            } => {
                let line = self
                    .open(out, "reduced")
                    .num("id", party.cl_ord_id)
                    .num("open", leaves);
                if self_match {
                    line.word("reason", "stp")
                } else if inventory {
                    line.word("reason", "inventory")
                } else {
                    line
                }
            }
            Event::OrderReplaced {
                party,
                old_id,
                price,
                qty,
                leaves,
                ..
            } => {
                let line = self.open(out, "replaced").num("id", party.cl_ord_id);
                let line = if context.new_id || context.quoting {
                    line.num("old_id", old_id)
                } else {
                    line
                };
                line.num("price", price).num("qty", qty).num("open", leaves)
            }
            Event::OrderTriggered { party, stop, .. } => self
                .open(out, "triggered")
                .num("id", party.cl_ord_id)
                .num("stop", stop),
            Event::OrderExpired {
                party, qty, reason, ..
            } => self
                .open(out, "expired")
                .num("id", party.cl_ord_id)
                .num("qty", qty)
                .word("reason", reason.as_str()),
            Event::AuctionCleared {
                instrument,
                price,
                volume,
                surplus,
            } => self
                .open(out, "auction")
                .raw("instrument", names.instrument_json(instrument))
                .num("price", price)
                .num("volume", volume)
                .num("surplus", surplus),
            Event::PhaseChanged {
                instrument,
                phase,
                cause,
                until,
                ..
            } => {
                let mut line = self
                    .open(out, "phase")
                    .raw("instrument", names.instrument_json(instrument))
                    .word("phase", phase.as_str());
                if matches!(cause, PhaseCause::Volatility | PhaseCause::Restart) {
                    line = line.word("reason", cause.as_str());
                }
                match until {
                    Some(until) => line.num("until", until),
                    None => line,
                }
            }
            Event::Indicative {
                instrument,
                price,
                volume,
                surplus,
            } => {
                let line = self
                    .open(out, "indicative")
                    .raw("instrument", names.instrument_json(instrument));
                match price {
                    Some(price) => line
                        .num("price", price)
                        .num("volume", volume)
                        .num("surplus", surplus),
                    None => line.num("volume", volume),
                }
            }
            Event::MassCanceled { count, .. } => {
                self.open(out, "mass_canceled").num("count", count)
            }
            Event::Level {
                instrument,
                side,
                price,
                qty,
                orders,
            } => self
                .open(out, "level")
                .raw("instrument", names.instrument_json(instrument))
                .word("side", side.as_str())
                .num("price", price)
                .num("qty", qty)
                .num("orders", orders),
            Event::Account(ref event) => return self.account_event(out, event, names),
            Event::CatalogueSet { version, .. } => {
                self.open(out, "catalog").num("version", version)
            }
            Event::Contract(ref event) => return self.contract_event(out, event, rest, context),
            Event::SessionStarted { .. } | Event::SessionFenced { .. } => return,
        }
        .close();
    }

    /// Prints a rejection.
    pub(super) fn rejected(
        &mut self,
        out: &mut String,
        op: Option<&str>,
        reason: RejectReason,
        id: Option<ClOrdId>,
    ) {
        let mut line = self.open(out, "rejected");
        if let Some(op) = op {
            line = line.text("op", op);
        }
        line = line.word("reason", reason.as_str());
        if let Some(id) = id {
            line = line.num("id", id);
        }
        line.close();
    }

    /// Prints the depth of one instrument.
    pub(super) fn depth(
        &mut self,
        out: &mut String,
        names: &Resolver,
        instrument: InstrumentId,
        bids: impl Iterator<Item = DepthLevel>,
        asks: impl Iterator<Item = DepthLevel>,
    ) {
        self.open(out, "depth")
            .raw("instrument", names.instrument_json(instrument))
            .levels("bids", bids)
            .levels("asks", asks)
            .close();
    }

    /// Prints one live order.
    pub(super) fn order(&mut self, out: &mut String, names: &Resolver, order: &OrderView) {
        let state = match order.state {
            OrderState::Open => "open",
            OrderState::Stop => "stop",
        };
        let mut line = self
            .open(out, "order")
            .num("id", order.cl_ord_id)
            .raw("party", names.party_json(order.account))
            .raw("instrument", names.instrument_json(order.instrument))
            .word("side", order.side.as_str())
            .word("state", state)
            .num("qty", order.qty)
            .num("open", order.leaves);
        if let Some(price) = order.price {
            line = line.num("price", price);
        }
        if let Some(stop) = order.stop {
            line = line.num("stop", stop);
        }
        line.close();
    }

    pub(super) fn open<'o>(&mut self, out: &'o mut String, event: &'static str) -> Line<'o> {
        self.seq += 1;
        out.push_str("{\"ev\":\"");
        out.push_str(event);
        out.push('"');
        Line(out).num("seq", self.seq).num("line", self.line)
    }
}

/// One event line being written.
#[must_use]
pub(super) struct Line<'o>(&'o mut String);

impl Line<'_> {
    fn key(&mut self, key: &'static str) {
        self.0.push_str(",\"");
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    pub(super) fn num(mut self, key: &'static str, value: impl Display) -> Self {
        self.key(key);
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{value}");
        self
    }

    /// A string that needs no escapes.
    pub(super) fn word(mut self, key: &'static str, value: &'static str) -> Self {
        self.key(key);
        self.0.push('"');
        self.0.push_str(value);
        self.0.push('"');
        self
    }

    /// A string from outside.
    fn text(self, key: &'static str, value: &str) -> Self {
        let json = serde_json::Value::from(value).to_string();
        self.raw(key, &json)
    }

    /// A value that is JSON text already.
    pub(super) fn raw(mut self, key: &'static str, json: &str) -> Self {
        self.key(key);
        self.0.push_str(json);
        self
    }

    fn levels(mut self, key: &'static str, levels: impl Iterator<Item = DepthLevel>) -> Self {
        self.key(key);
        self.0.push('[');
        for (index, level) in levels.enumerate() {
            if index > 0 {
                self.0.push(',');
            }
            let _ = write!(self.0, "[{},{},{}]", level.price, level.qty, level.orders);
        }
        self.0.push(']');
        self
    }

    pub(super) fn close(self) {
        self.0.push_str("}\n");
    }
}
