//! Commands and journal records as JSON, field by field, in the words of the code.

use super::contracts;
use super::describe_accounts;
use serde_json::{Value, json};
use tessera_journal::{Body, Record, hex, kind_name};
use tessera_types::{
    ClientHeader, Command, ContractTerms, ExecInst, Instrument, NewOrder, OrderTarget, Price, Qty,
};

/// The word for a record's type: the request's as order scripts call it, or the journal's own record in
/// lower case.
pub(super) fn kind_word(kind: u8, command: Option<&Command>) -> &'static str {
    match command {
        Some(command) => command.kind().as_str(),
        None => match kind_name(kind) {
            Some("Checkpoint") => "checkpoint",
            Some("StateHash") => "state_hash",
            Some("Epoch") => "epoch",
            Some("Recovered") => "recovered",
            Some("Format") => "format",
            Some("SegmentEnd") => "segment_end",
            Some("Signature") => "signature",
            Some("Batch") => "batch",
            Some("SegmentStart") => "segment_start",
            Some("Void") => "void",
            Some("Activation") => "activation",
            _ => "unknown",
        },
    }
}

/// The client's id of a request, 0 for one that has none.
pub(super) fn client_id(command: &Command) -> u64 {
    command.header().map_or(0, |header| header.cl_ord_id.get())
}

/// The session that a command is of or about.
pub(super) fn session(command: &Command) -> Option<u32> {
    match command {
        Command::SessionFence(fence) => Some(fence.session.get()),
        command => command.header().map(|header| header.session.get()),
    }
}

/// All fields of a command.
pub(super) fn command_json(command: &Command) -> Value {
    let mut object = match command {
        Command::NewOrder(order) => new_order(order),
        Command::Cancel(cancel) => json!({ "target": target(&cancel.target) }),
        Command::Reduce(reduce) => {
            json!({ "target": target(&reduce.target), "by": reduce.by.lots() })
        }
        Command::Replace(replace) => json!({
            "target": target(&replace.target),
            "price": replace.price.map(Price::ticks),
            "qty": replace.qty.map(Qty::lots),
            "stop": replace.stop.map(Price::ticks),
            "new_id": replace.new_id.map(|id| id.get()),
        }),
        Command::MassCancel(mass) => json!({
            "of_account": mass.account.map(|account| account.get()),
            "instrument": mass.instrument.map(|instrument| instrument.get()),
            "side": mass.side.map(|side| side.as_str()),
        }),
        Command::MassQuote(quote) => json!({
            "post_only": quote.post_only,
            "keep_priority": quote.keep_priority,
            "self_match": quote.self_match.as_str(),
            "entries": quote.entries.iter().map(|entry| json!({
                "instrument": entry.instrument.get(),
                "refused": entry.refused.map(|reason| reason.as_str()),
                "bid_id": entry.bid_id.get(),
                "bid_price": entry.bid_price.ticks(),
                "bid_qty": entry.bid_qty.map(Qty::lots),
                "ask_id": entry.ask_id.get(),
                "backing": contracts::backing(entry.backing),
                "ask_price": entry.ask_price.ticks(),
                "ask_qty": entry.ask_qty.map(Qty::lots),
            })).collect::<Vec<_>>(),
        }),
        Command::SessionLogon(logon) => json!({
            "name": logon.name.as_str(),
            "conn": logon.conn.get(),
            "received_ns": logon.received.nanos(),
        }),
        Command::SessionFence(fence) => json!({
            "session": fence.session.get(),
            "generation": fence.generation.get(),
            "reason": fence.reason.as_str(),
            "cancel_orders": fence.cancel_orders,
            "received_ns": fence.received.nanos(),
        }),
        Command::ListInstrument(list) => instrument(&list.instrument),
        Command::SetPhase(set) => json!({
            "instrument": set.instrument.get(),
            "phase": set.phase.as_str(),
            "ref_price": set.ref_price.map(Price::ticks),
        }),
        Command::Contract(contract) => contracts::command_json(contract),
        Command::AdvanceTime(_) | Command::Reopen(_) => json!({}),
        Command::Restart(restart) => json!({
            "hold_ns": restart.hold_ns,
            "grace_ns": restart.grace_ns,
        }),
        Command::SetCatalogue(set) => json!({
            "version": set.catalogue.version,
            "tick_uusd": set.catalogue.tick_micro_usd,
            "classes": set.catalogue.classes.iter().map(|class| json!({
                "name": class.name.as_str(),
                "slices": class.slices,
                "stake": class.stake,
            })).collect::<Vec<_>>(),
            "profiles": set.catalogue.profiles.iter().map(|n| n.as_str()).collect::<Vec<_>>(),
            "zones": set.catalogue.zones.iter().map(|n| n.as_str()).collect::<Vec<_>>(),
            "workloads": set.catalogue.workloads.iter().map(|n| n.as_str()).collect::<Vec<_>>(),
            "efficiency": set.catalogue.efficiency.iter().map(|row| json!({
                "class": row.class,
                "partition": row.partition.as_str(),
                "profile": row.profile,
                "workload": row.workload,
                "share": row.share,
                "overhead": row.overhead,
                "factor": row.factor,
            })).collect::<Vec<_>>(),
        }),
        Command::Account(request) => describe_accounts::account(&request.action),
        Command::RiskParams(request) => describe_accounts::risk(&request.action),
    };
    if let Some(header) = command.header() {
        identity(header, &mut object);
    }
    object
}

/// All fields of one of the journal's own records.
pub(super) fn own_record_json(record: &Record<'_>) -> Value {
    match record.body() {
        Ok(Body::Checkpoint { chain, records }) => {
            json!({ "chain": hex(&chain), "records": records })
        }
        Ok(Body::StateHash {
            hash,
            events_digest,
        }) => {
            json!({ "hash": hex(&hash), "events_digest": format!("{events_digest:08x}") })
        }
        Ok(Body::Epoch(new)) => json!({
            "epoch": new.epoch,
            "node": new.node,
            "reason": new.reason.to_string(),
            "durability": new.durability.as_str(),
        }),
        Ok(Body::Recovered {
            from_seq,
            slots,
            by_operator,
        }) => json!({
            "from_seq": from_seq.get(),
            "slots": slots,
            "by_operator": by_operator,
        }),
        Ok(Body::Format {
            format,
            payload_schema,
            rules_version,
        }) => json!({
            "format": format,
            "payload_schema": payload_schema,
            "rules_version": rules_version,
        }),
        Ok(Body::SegmentEnd { chain }) => json!({ "chain": hex(&chain) }),
        Ok(Body::Signature { key_id, signature }) => {
            json!({ "key_id": key_id, "signature": hex(signature) })
        }
        Ok(Body::Batch {
            term,
            index,
            first_seq,
        }) => {
            json!({ "term": term, "index": index, "first_seq": first_seq.get() })
        }
        Ok(Body::SegmentStart(start)) => json!({
            "first_seq": start.first_seq.get(),
            "epoch": start.epoch,
            "previous_chain": hex(&start.previous_chain),
            "previous_crc": format!("{:08x}", start.previous_crc),
        }),
        Ok(Body::Void { kind, payload_hash }) => {
            json!({ "kind": kind, "payload_blake3": hex(&payload_hash) })
        }
        Ok(Body::Activation { rules_version }) => json!({ "rules_version": rules_version }),
        Ok(Body::Command(bytes)) => json!({ "bytes": hex(bytes) }),
        Err(error) => json!({ "unreadable": error.to_string() }),
    }
}

fn identity(header: &ClientHeader, object: &mut Value) {
    object["session"] = header.session.get().into();
    object["generation"] = header.generation.get().into();
    object["account"] = header.account.get().into();
    object["cl_ord_id"] = header.cl_ord_id.get().into();
    object["received_ns"] = header.received.nanos().into();
}

fn new_order(order: &NewOrder) -> Value {
    let mut object = json!({
        "instrument": order.instrument.get(),
        "side": order.side.as_str(),
        "ord_type": order.ord_type.as_str(),
        "tif": order.time_in_force.as_str(),
        "self_match": order.self_match.as_str(),
        "exec_inst": exec_inst(order.exec_inst),
        "price": order.price.ticks(),
        "qty": order.qty.lots(),
        "min_qty": order.min_qty.lots(),
        "display": order.display.lots(),
        "trigger": order.trigger,
        "expire_ns": order.expire.nanos(),
        "budget": order.budget,
    });
    if !order.backing.is_nothing() {
        object["backing"] = contracts::backing(order.backing);
    }
    object
}

fn exec_inst(set: ExecInst) -> Vec<&'static str> {
    [
        (ExecInst::POST_ONLY, "post_only"),
        (ExecInst::ALL_OR_NONE, "all_or_none"),
        (ExecInst::STAY_ON_DISCONNECT, "stay_on_disconnect"),
        (
            ExecInst::CANCEL_ON_SYSTEM_FAILURE,
            "cancel_on_system_failure",
        ),
    ]
    .into_iter()
    .filter_map(|(flag, word)| set.contains(flag).then_some(word))
    .collect()
}

pub(super) fn target(target: &OrderTarget) -> Value {
    match target {
        OrderTarget::Client(id) => json!({ "cl_ord_id": id.get() }),
        OrderTarget::Exchange(id) => json!({ "order_id": id.get() }),
    }
}

fn instrument(instrument: &Instrument) -> Value {
    json!({
        "name": instrument.name.as_str(),
        "tick": instrument.tick,
        "lot": instrument.lot,
        "min_price": instrument.min_price.ticks(),
        "max_price": instrument.max_price.ticks(),
        "min_qty": instrument.min_qty.lots(),
        "max_qty": instrument.max_qty.lots(),
        "ref_price": instrument.ref_price.map(Price::ticks),
        "protect": instrument.protect,
        "algo": instrument.algo.as_str(),
        "min_alloc": instrument.min_alloc,
        "top_min": instrument.top_min,
        "top_max": instrument.top_max,
        "fifo_pct": instrument.fifo_pct,
        "tick_uusd": instrument.tick_micro_usd,
        "terms": instrument.terms.as_ref().map(terms),
        "volatility": instrument.volatility.map(|guard| json!({
            "band": guard.band,
            "length_ns": guard.length_ns,
        })),
        "indicative": instrument.indicative,
    })
}

fn terms(terms: &ContractTerms) -> Value {
    json!({
        "class": terms.class,
        "partition": terms.partition.as_str(),
        "profile": terms.profile,
        "tier": terms.tier,
        "zone": terms.zone,
        "start_hour": terms.start_hour,
        "hours": terms.hours,
        "weight": terms.weight,
        "windows": terms.windows,
        "reclaim": terms.reclaim.map(|reclaim| json!({
            "notice_s": reclaim.notice_s,
            "compensation": reclaim.compensation,
            "max_times": reclaim.max_times,
            "min_run_s": reclaim.min_run_s,
            "restart_minutes": reclaim.restart_minutes,
        })),
    })
}
