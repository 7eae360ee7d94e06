//! Requests about accounts and risk parameters as JSON, each field named with its unit.

use serde_json::{Value, json};
use tessera_journal::hex;
use tessera_types::{AccountAction, Limits, Price, RiskAction, RiskStep, Scope};

/// The fields of a request about an account.
pub(super) fn account(action: &AccountAction) -> Value {
    match action {
        AccountAction::Open { account, margined } => {
            json!({ "of_account": account.get(), "margined": margined })
        }
        AccountAction::Move {
            account,
            movement,
            amount,
        } => json!({
            "of_account": account.get(),
            "movement": movement.as_str(),
            "amount_uusd": amount,
        }),
        AccountAction::Credit { account, credit } => {
            json!({ "of_account": account.get(), "credit_uusd": credit })
        }
        AccountAction::Limits { scope, limits } => of_scope(scope, self::limits(limits)),
        AccountAction::Kill { scope, on } => of_scope(scope, json!({ "on": on })),
        AccountAction::Margin { instrument, spec } => json!({
            "instrument": instrument.get(),
            "product": spec.product.as_ref().map(|name| name.as_str()),
            "initial_margin_bps": spec.initial_margin_bps,
            "price": spec.price.map(Price::ticks),
        }),
    }
}

/// The limits that are set.
pub(super) fn limits(limits: &Limits) -> Value {
    json!({
        "collar_bps": limits.collar_bps,
        "max_qty": limits.max_qty,
        "max_value": limits.max_value,
        "max_open_qty": limits.max_open_qty,
        "max_open_value": limits.max_open_value,
        "max_position": limits.max_position,
        "duplicate_ns": limits.duplicate_ns,
    })
}

fn of_scope(scope: &Scope, mut object: Value) -> Value {
    match scope {
        Scope::Account(account) => object["of_account"] = account.get().into(),
        Scope::Session(session) => object["of_session"] = session.get().into(),
    }
    object
}

/// The fields of a part of a set of risk parameters.
pub(super) fn risk(action: &RiskAction) -> Value {
    let steps = |steps: &[RiskStep]| -> Value {
        let step = |step: &RiskStep| json!([step.from_lots, step.uusd_per_lot]);
        steps.iter().map(step).collect()
    };
    match action {
        RiskAction::Begin(begin) => json!({
            "version": begin.version,
            "rows": begin.rows,
            "model": begin.model,
            "seed": begin.seed,
            "scenarios": begin.scenarios,
            "step_limit_bps": begin.step_limit_bps,
            "input_hash": hex(&begin.input_hash),
        }),
        RiskAction::Row(row) => json!({
            "version": row.version,
            "product": row.product.as_str(),
            "losses_uusd": row.losses.to_vec(),
            "liquidity": steps(&row.liquidity),
            "concentration": steps(&row.concentration),
            "delivery": steps(&row.delivery),
        }),
        RiskAction::Commit(commit) => json!({
            "version": commit.version,
            "rows": commit.rows,
            "table_hash": hex(&commit.table_hash),
        }),
        RiskAction::MaxAge { max_age_ns } => json!({ "max_age_ns": max_age_ns }),
    }
}
