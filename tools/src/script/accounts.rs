//! The lines about accounts, limits and risk parameters.

use serde_json::value::RawValue;
use tessera_types::account_command::{RISK_SCENARIOS, RISK_STEPS};
use tessera_types::{
    AccountAction, AccountId, CashMove, InstrumentId, Limits, MarginSpec, Name, RiskAction,
    RiskBegin, RiskCommit, RiskRow, RiskStep, Scope, SessionId,
};

use super::command::{Op, ScriptCommand, Text};
use super::fields::{Field, Form, integer};

/// The account that stands for one that is still a name.
const UNRESOLVED: AccountId = AccountId::new(0);

/// Reads the line of one of these operations; nothing for others and for lines without a valid name
/// where a command cannot be without one.
pub(super) fn read<'a>(op: Op, form: &mut Form<'_, 'a>) -> Option<ScriptCommand<'a>> {
    Some(match op {
        Op::Account => {
            let margined = form.flag(Field::Margined);
            of_party(
                form,
                AccountAction::Open {
                    account: UNRESOLVED,
                    margined,
                },
            )
        }
        Op::Deposit => cash(form, CashMove::Deposit),
        Op::Withdraw => cash(form, CashMove::Withdraw),
        Op::Credit => {
            form.require(Field::Amount);
            let credit = form.int(Field::Amount, 0).unwrap_or(0);
            of_party(
                form,
                AccountAction::Credit {
                    account: UNRESOLVED,
                    credit,
                },
            )
        }
        Op::Limits => limits(form),
        Op::Kill => {
            form.require(Field::On);
            let party = form.name(Field::Party);
            let on = form.flag(Field::On);
            let scope = scope(party.as_ref());
            account(party, None, AccountAction::Kill { scope, on })
        }
        Op::Margin => margin(form)?,
        Op::RiskBegin => parameters(RiskAction::Begin(begin(form))),
        Op::RiskRow => parameters(RiskAction::Row(row(form)?)),
        Op::RiskCommit => {
            for field in [Field::Version, Field::Rows, Field::TableHash] {
                form.require(field);
            }
            parameters(RiskAction::Commit(RiskCommit {
                version: small(form, Field::Version),
                rows: small(form, Field::Rows),
                table_hash: hash(form, Field::TableHash),
            }))
        }
        Op::RiskAge => {
            form.require(Field::MaxAgeNs);
            let max_age_ns = form.uint(Field::MaxAgeNs, 0).unwrap_or(0);
            parameters(RiskAction::MaxAge { max_age_ns })
        }
        Op::Accounts => ScriptCommand::Accounts,
        _ => return None,
    })
}

fn account<'a>(
    party: Option<Text<'a>>,
    instrument: Option<Text<'a>>,
    action: AccountAction,
) -> ScriptCommand<'a> {
    ScriptCommand::Account {
        party,
        instrument,
        action,
    }
}

fn parameters<'a>(action: RiskAction) -> ScriptCommand<'a> {
    ScriptCommand::Risk(Box::new(action))
}

fn of_party<'a>(form: &mut Form<'_, 'a>, action: AccountAction) -> ScriptCommand<'a> {
    form.require(Field::Party);
    let party = form.name(Field::Party);
    account(party, None, action)
}

fn cash<'a>(form: &mut Form<'_, 'a>, movement: CashMove) -> ScriptCommand<'a> {
    form.require(Field::Amount);
    let amount = form.int(Field::Amount, 1).unwrap_or(1);
    of_party(
        form,
        AccountAction::Move {
            account: UNRESOLVED,
            movement,
            amount,
        },
    )
}

/// Without a party the limits are those of the script's own session.
fn scope(party: Option<&Text<'_>>) -> Scope {
    match party {
        Some(_) => Scope::Account(UNRESOLVED),
        None => Scope::Session(SessionId::VENUE),
    }
}

fn limits<'a>(form: &mut Form<'_, 'a>) -> ScriptCommand<'a> {
    let party = form.name(Field::Party);
    let collar = form.uint(Field::CollarBps, 0);
    let collar_bps = collar.map(|bps| u32::try_from(bps).unwrap_or(u32::MAX));
    let limits = Limits {
        collar_bps,
        max_qty: form.uint(Field::MaxQty, 0),
        max_value: form.uint(Field::MaxValue, 0),
        max_open_qty: form.uint(Field::MaxOpenQty, 0),
        max_open_value: form.uint(Field::MaxOpenValue, 0),
        max_position: form.uint(Field::MaxPosition, 0),
        duplicate_ns: form.uint(Field::DuplicateNs, 0),
    };
    form.refuse_if(party.is_none() && limits.max_position.is_some());
    let scope = scope(party.as_ref());
    account(party, None, AccountAction::Limits { scope, limits })
}

fn margin<'a>(form: &mut Form<'_, 'a>) -> Option<ScriptCommand<'a>> {
    let instrument = form.name(Field::Instrument);
    let product = form.name(Field::Product);
    let product = match product {
        Some(name) => Some(Name::new(&name).ok()?),
        None => None,
    };
    let bps = form.uint(Field::InitialMarginBps, 0);
    let spec = MarginSpec {
        product,
        initial_margin_bps: bps.map(|bps| u32::try_from(bps).unwrap_or(u32::MAX)),
        price: form.price(Field::Price),
    };
    let action = AccountAction::Margin {
        instrument: InstrumentId::new(0),
        spec,
    };
    Some(account(None, instrument, action))
}

fn begin(form: &mut Form<'_, '_>) -> RiskBegin {
    for field in [Field::Version, Field::Rows] {
        form.require(field);
    }
    RiskBegin {
        version: small(form, Field::Version),
        rows: small(form, Field::Rows),
        model: small(form, Field::Model),
        seed: form.uint(Field::Seed, 0).unwrap_or(0),
        scenarios: small(form, Field::Scenarios),
        step_limit_bps: small(form, Field::StepLimitBps),
        input_hash: hash(form, Field::InputHash),
    }
}

fn row(form: &mut Form<'_, '_>) -> Option<RiskRow> {
    for field in [Field::Version, Field::Product, Field::Losses] {
        form.require(field);
    }
    let version = small(form, Field::Version);
    let numbers = form.list(Field::Losses).unwrap_or_default();
    let numbers: Vec<_> = numbers.iter().map_while(|raw| integer(raw.get())).collect();
    let losses = <[i64; RISK_SCENARIOS]>::try_from(numbers);
    form.refuse_if(losses.is_err());
    let [liquidity, concentration, delivery] =
        [Field::Liquidity, Field::Concentration, Field::Delivery].map(|field| steps(form, field));
    let product = form.name(Field::Product);
    Some(RiskRow {
        version,
        product: Name::new(&product?).ok()?,
        losses: losses.unwrap_or([0; RISK_SCENARIOS]),
        liquidity,
        concentration,
        delivery,
    })
}

/// A list of pairs: from so many lots, micro-USD per lot.
fn steps(form: &mut Form<'_, '_>, field: Field) -> Vec<RiskStep> {
    let pair = |raw: &RawValue| {
        let (from_lots, uusd_per_lot) = serde_json::from_str::<(u32, i64)>(raw.get()).ok()?;
        Some(RiskStep {
            from_lots,
            uusd_per_lot,
        })
    };
    let raw = form.list(field).unwrap_or_default();
    let steps: Vec<_> = raw.iter().map_while(|raw| pair(raw)).collect();
    form.refuse_if(steps.len() != raw.len() || steps.len() > RISK_STEPS);
    steps
}

/// An unsigned integer of 32 bits, 0 when it is absent.
fn small(form: &mut Form<'_, '_>, field: Field) -> u32 {
    let value = form.uint(field, 0).unwrap_or(0);
    form.refuse_if(u32::try_from(value).is_err());
    u32::try_from(value).unwrap_or(0)
}

/// 64 hexadecimal digits, zeros when they are absent.
fn hash(form: &mut Form<'_, '_>, field: Field) -> [u8; 32] {
    form.word(field, |text| {
        let mut bytes = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |d: u8| {
                char::from(d)
                    .to_digit(16)
                    .and_then(|d| u8::try_from(d).ok())
            };
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(bytes)
    })
    .unwrap_or([0; 32])
}
