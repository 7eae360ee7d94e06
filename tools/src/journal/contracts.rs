//! Requests about compute contracts as `journal dump` shows them.

use serde_json::{Value, json};
use tessera_types::{
    BackedBy, Backing, BlockLimit, ContractCommand, Leg, MigProfile, Need, Price, SubOrder,
};

use super::describe::target;

/// All fields of a request but its identity.
pub(super) fn command_json(command: &ContractCommand) -> Value {
    match command {
        ContractCommand::Pool(c) => json!({
            "name": c.name.as_str(),
            "class": c.class,
            "partition": c.partition.as_str(),
            "profile": c.profile,
            "zone": c.zone,
            "path": c.path.components(),
            "first_device": c.first_device,
            "devices": c.devices,
        }),
        ContractCommand::Attest(c) => json!({
            "pool": c.pool.get(),
            "qty": c.qty,
            "until_ns": c.until.nanos(),
            "score": c.score,
            "stake": c.stake,
        }),
        ContractCommand::Limit(c) => json!({ "max_weight": c.max_weight }),
        ContractCommand::Sub(c) => sub(c),
        ContractCommand::Block(c) => {
            let (limit, limit_total) = match c.limit {
                BlockLimit::Average(limit) => (Some(limit), None),
                BlockLimit::Total(limit) => (None, Some(limit)),
            };
            json!({
                "instrument": c.instrument.get(),
                "qty": c.qty,
                "windows": c.windows,
                "flex": c.flex,
                "level": c.level.as_str(),
                "moves": c.moves,
                "fee": c.fee,
                "limit": limit,
                "limit_total": limit_total,
                "need": need(&c.need),
            })
        }
        ContractCommand::Carve(c) => {
            let mut prices = serde_json::Map::new();
            for (profile, price) in MigProfile::ALL.iter().zip(c.prices) {
                if let Some(price) = price.map(Price::ticks) {
                    prices.insert(profile.as_str().to_owned(), price.into());
                }
            }
            json!({
                "pool": c.pool.get(),
                "tier": c.tier,
                "start_hour": c.start_hour,
                "hours": c.hours,
                "prices": prices,
            })
        }
        ContractCommand::Rfq(c) => json!({
            "instrument": c.instrument.get(),
            "qty": c.qty,
            "price": c.price,
            "level": c.level.as_str(),
            "closes_ns": c.closes.nanos(),
            "max_quotes": c.max_quotes,
            "auto": c.auto,
            "need": need(&c.need),
        }),
        ContractCommand::Quote(c) => json!({
            "rfq": target(&c.rfq),
            "pool": c.pool.get(),
            "price": c.price,
            "notice_s": c.notice_s,
        }),
        ContractCommand::Award(c) => json!({
            "rfq": target(&c.rfq),
            "quote": target(&c.quote),
        }),
        ContractCommand::Preempt(c) => json!({
            "instrument": c.instrument.get(),
            "qty": c.qty.lots(),
            "price": c.price.ticks(),
            "from_hour": c.from_hour,
        }),
    }
}

fn sub(c: &SubOrder) -> Value {
    let leg = |leg: &Leg| {
        json!({
            "classes": format!("{:#x}", leg.classes),
            "partitions": format!("{:#x}", leg.partitions),
            "profiles": format!("{:#x}", leg.profiles),
            "zones": format!("{:#x}", leg.zones),
            "min_tier": leg.min_tier,
            "bias": leg.bias,
        })
    };
    json!({
        "start_hour": c.start_hour,
        "hours": c.hours,
        "mode": c.mode.as_str(),
        "qty": c.qty,
        "workload": c.workload,
        "limit": c.limit,
        "legs": c.legs.iter().map(leg).collect::<Vec<_>>(),
        "tif": c.time_in_force.as_str(),
        "need": need(&c.need),
    })
}

fn need(need: &Need) -> Value {
    json!({
        "isolation": need.isolation.as_str(),
        "min_notice_s": need.min_notice_s,
        "exclude": need.exclude.iter().map(|account| account.get()).collect::<Vec<_>>(),
        "min_score": need.min_score,
        "max_age_s": need.max_age_s,
        "min_stake": need.min_stake,
    })
}

/// What stands behind an ask; null when nothing does.
pub(super) fn backing(backing: Backing) -> Value {
    match backing.by() {
        BackedBy::Nothing => Value::Null,
        BackedBy::Pool(pool) => json!({ "pool": pool.get() }),
        BackedBy::Lease(lease) => json!({ "lease": lease.get() }),
    }
}
