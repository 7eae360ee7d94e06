//! Event lines of compute contracts, and the answers to questions about them.

use std::fmt::Write as _;

use tessera_engine::{GroupView, LeaseView, PoolFree};
use tessera_types::{ContractEvent, Domain, Event, InstrumentId};

use super::render::{Context, Line, Names, Printer};
use crate::script::Resolver;

impl Printer {
    /// Prints one event of contracts. `rest`: the events behind it, since a block's plan is told in
    /// several.
    pub(super) fn contract_event(
        &mut self,
        out: &mut String,
        event: &ContractEvent,
        rest: &[&Event],
        context: Context<'_>,
    ) {
        let names = context.names;
        match event {
            ContractEvent::PoolDeclared { pool, account, .. } => self
                .open(out, "pool")
                .raw("pool", names.pool_json(*pool))
                .raw("party", names.party_json(*account)),
            ContractEvent::PoolAttested { pool, cover, .. } => self
                .open(out, "attested")
                .raw("pool", names.pool_json(*pool))
                .num("cover", cover),
            ContractEvent::PoolLapsed { pool } => {
                self.open(out, "lapsed").raw("pool", names.pool_json(*pool))
            }
            ContractEvent::LimitSet { account, used, .. } => self
                .open(out, "limit")
                .raw("party", names.party_json(*account))
                .num("used", used),
            ContractEvent::BlockPlanned {
                party,
                instrument,
                windows,
                moves,
                cost,
            } => self
                .open(out, "block")
                .num("id", party.cl_ord_id)
                .raw("instrument", names.instrument_json(*instrument))
                .num("windows", windows)
                .num("cost", cost)
                .num("moves", moves)
                .raw("plan", &plan(rest, names)),
            ContractEvent::Placed {
                party,
                lease,
                profile,
                starts,
                mem_mask,
                compute_used,
            } => self
                .open(out, "placed")
                .num("id", party.cl_ord_id)
                .num("lease", lease)
                .word("profile", profile.as_str())
                .raw("slots", &list(starts.as_slice()))
                .num("mem_mask", mem_mask)
                .num("compute_used", compute_used),
            ContractEvent::NoMatch { party, counts } => {
                let mut object = String::from("{");
                for (reason, count) in counts.iter() {
                    let comma = if object.len() > 1 { "," } else { "" };
                    let _ = write!(object, "{comma}\"{reason}\":{count}");
                }
                object.push('}');
                self.open(out, "no_match")
                    .num("id", party.cl_ord_id)
                    .raw("counts", &object)
            }
            ContractEvent::Preempted {
                party,
                lease,
                new_lease,
                victim,
                pool,
                qty,
                hours,
                price,
                floor,
                paid,
                refund,
                compensation,
                seller_gain,
            } => self
                .open(out, "preempted")
                .num("id", party.cl_ord_id)
                .num("lease", lease)
                .num("new_lease", new_lease)
                .raw("victim", names.party_json(*victim))
                .raw("pool", names.pool_json(*pool))
                .num("qty", qty)
                .num("price", price)
                .num("floor", floor)
                .num("hours", hours)
                .num("paid", paid)
                .num("refund", refund)
                .num("compensation", compensation)
                .num("seller_gain", seller_gain),
            // Told with the trade, and with the block.
            ContractEvent::Leased { .. } | ContractEvent::BlockStretch { .. } => return,
        }
        .close();
    }

    /// Prints what of a pool is free.
    pub(super) fn pool_free(
        &mut self,
        out: &mut String,
        names: &Resolver,
        instrument: InstrumentId,
        free: &PoolFree,
    ) {
        self.open(out, "pool_free")
            .raw("pool", names.pool_json(free.pool))
            .raw("instrument", names.instrument_json(instrument))
            .num("cover", free.cover)
            .num("free", free.free)
            .close();
    }

    /// Prints which gangs there are.
    pub(super) fn gang_depth(
        &mut self,
        out: &mut String,
        names: &Resolver,
        instrument: InstrumentId,
        level: &'static str,
        sizes: &[(u32, u64, i64)],
    ) {
        let mut rows = String::from("[");
        for (size, lots, best) in sizes {
            let comma = if rows.len() > 1 { "," } else { "" };
            let _ = write!(rows, "{comma}[{size},{lots},{best}]");
        }
        rows.push(']');
        self.open(out, "gang_depth")
            .raw("instrument", names.instrument_json(instrument))
            .word("level", level)
            .raw("sizes", &rows)
            .close();
    }

    /// Prints a lease.
    pub(super) fn lease(&mut self, out: &mut String, names: &Resolver, lease: &LeaseView) {
        self.open(out, "lease")
            .num("lease", lease.lease)
            .raw("party", names.party_json(lease.account))
            .raw("instrument", names.instrument_json(lease.instrument))
            .raw("pool", names.pool_json(lease.pool))
            .num("qty", lease.qty)
            .num("price", lease.price)
            .num("start", lease.start)
            .num("end", lease.end)
            .close();
    }

    /// Prints a group order.
    pub(super) fn group(&mut self, out: &mut String, names: &Resolver, group: &GroupView) {
        self.open(out, "order")
            .num("id", group.cl_ord_id)
            .raw("party", names.party_json(group.account))
            .word("kind", group.kind)
            .num("qty", group.qty)
            .num("open", group.open)
            .close();
    }
}

/// Adds to the line of a fill what the event behind it tells of its lease.
pub(super) fn with_lease<'o>(line: Line<'o>, next: Option<&&Event>, names: &dyn Names) -> Line<'o> {
    let Some(Event::Contract(ContractEvent::Leased {
        lease, pool, of, ..
    })) = next
    else {
        return line;
    };
    let line = line.num("lease", lease).raw("pool", names.pool_json(*pool));
    match of {
        Some(of) => line.num("of", of),
        None => line,
    }
}

/// `[[domain, windows], ...]` of the stretches that follow.
fn plan(rest: &[&Event], names: &dyn Names) -> String {
    let mut plan = String::from("[");
    for event in rest {
        let Event::Contract(ContractEvent::BlockStretch { domain, windows }) = event else {
            break;
        };
        let comma = if plan.len() > 1 { "," } else { "" };
        let domain = match domain {
            Domain::Pool(pool) => names.pool_json(*pool).to_owned(),
            Domain::Path(path) => list(path.components()),
        };
        let _ = write!(plan, "{comma}[{domain},{windows}]");
    }
    plan.push(']');
    plan
}

fn list<T: std::fmt::Display>(values: &[T]) -> String {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    format!("[{}]", values.join(","))
}
