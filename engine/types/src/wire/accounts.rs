//! Journal payloads of accounts and risk parameters.
//!
//! | type | command | payload bytes |
//! |---:|---|---:|
//! | 0x50 | open or switch an account | 31 |
//! | 0x51 | pay in or out | 39 |
//! | 0x52 | credit | 38 |
//! | 0x53 | limits | 84 |
//! | 0x54 | kill switch | 32 |
//! | 0x55 | margin of an instrument | 108 |
//! | 0x60 | risk parameters begin | 86 |
//! | 0x61 | a row of them | 631 + 12 per step |
//! | 0x62 | they count from here | 66 |
//! | 0x63 | age that is told of | 34 |

use super::{Decode, Encode, encode_into};
use super::{DecodeError, EncodeError, HeaderV1, MAX_PAYLOAD, check_name, code, decode_exact};
use crate::account_command::{
    AccountAction, AccountCommand, Limits, MarginSpec, RISK_SCENARIOS, RISK_STEPS, RiskAction,
    RiskBegin, RiskCommit, RiskParams, RiskRow, RiskStep, Scope,
};
use crate::command::Command;
use crate::contract::Name;
use crate::ids::{AccountId, InstrumentId, SessionId};
use crate::units::Price;

const OPEN: u8 = 0x50;
const MOVE: u8 = 0x51;
const CREDIT: u8 = 0x52;
const LIMITS: u8 = 0x53;
const KILL: u8 = 0x54;
const MARGIN: u8 = 0x55;
const RISK_BEGIN: u8 = 0x60;
const RISK_ROW: u8 = 0x61;
const RISK_COMMIT: u8 = 0x62;
const RISK_AGE: u8 = 0x63;

/// The first and the last type of this file.
pub(super) const KINDS: core::ops::RangeInclusive<u8> = 0x50..=0x6F;

#[derive(Encode, Decode)]
struct OpenV1 {
    header: HeaderV1,
    account: AccountId,
    margined: bool,
}

#[derive(Encode, Decode)]
struct MoveV1 {
    header: HeaderV1,
    account: AccountId,
    movement: u8,
    amount: i64,
}

#[derive(Encode, Decode)]
struct CreditV1 {
    header: HeaderV1,
    account: AccountId,
    credit: i64,
}

/// `of`: 0 an account, 1 a session.
#[derive(Encode, Decode)]
struct ScopeV1 {
    of: u8,
    id: u32,
}

impl From<Scope> for ScopeV1 {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Account(id) => Self {
                of: 0,
                id: id.get(),
            },
            Scope::Session(id) => Self {
                of: 1,
                id: id.get(),
            },
        }
    }
}

impl TryFrom<ScopeV1> for Scope {
    type Error = DecodeError;
    fn try_from(scope: ScopeV1) -> Result<Self, DecodeError> {
        match scope.of {
            0 => Ok(Self::Account(AccountId::new(scope.id))),
            1 => Ok(Self::Session(SessionId::new(scope.id))),
            other => Err(DecodeError::Code {
                field: "scope",
                code: other.into(),
            }),
        }
    }
}

/// `present`: bit 0 collar, 1 quantity, 2 value, 3 open quantity, 4 open value, 5 position, 6
/// duplicates; absent fields are zero.
#[derive(Encode, Decode)]
struct LimitsV1 {
    header: HeaderV1,
    scope: ScopeV1,
    present: u8,
    collar_bps: u32,
    max_qty: u64,
    max_value: u64,
    max_open_qty: u64,
    max_open_value: u64,
    max_position: u64,
    duplicate_ns: u64,
}

#[derive(Encode, Decode)]
struct KillV1 {
    header: HeaderV1,
    scope: ScopeV1,
    on: bool,
}

/// `present`: bit 0 product, 1 flat margin, 2 price; absent fields are zero.
#[derive(Encode, Decode)]
struct MarginV1 {
    header: HeaderV1,
    instrument: InstrumentId,
    present: u8,
    product: [u8; Name::MAX + 1],
    initial_margin_bps: u32,
    price: Price,
}

#[derive(Encode, Decode)]
struct RiskBeginV1 {
    header: HeaderV1,
    version: u32,
    rows: u32,
    model: u32,
    seed: u64,
    scenarios: u32,
    step_limit_bps: u32,
    input_hash: [u8; 32],
}

#[derive(Encode, Decode)]
struct StepV1 {
    from_lots: u32,
    uusd_per_lot: i64,
}

#[derive(Encode, Decode)]
struct RiskRowV1 {
    header: HeaderV1,
    version: u32,
    product: Name,
    losses: [i64; RISK_SCENARIOS],
    liquidity: Vec<StepV1>,
    concentration: Vec<StepV1>,
    delivery: Vec<StepV1>,
}

#[derive(Encode, Decode)]
struct RiskCommitV1 {
    header: HeaderV1,
    version: u32,
    rows: u32,
    table_hash: [u8; 32],
}

#[derive(Encode, Decode)]
struct RiskAgeV1 {
    header: HeaderV1,
    max_age_ns: u64,
}

/// Appends the payload of a request about accounts and returns its type.
pub(super) fn encode_account(
    command: &AccountCommand,
    out: &mut Vec<u8>,
) -> Result<u8, EncodeError> {
    let header = HeaderV1::from(&command.header);
    Ok(match command.action {
        AccountAction::Open { account, margined } => {
            let record = OpenV1 {
                header,
                account,
                margined,
            };
            encode_into(&record, out)?;
            OPEN
        }
        AccountAction::Move {
            account,
            movement,
            amount,
        } => {
            let record = MoveV1 {
                header,
                account,
                movement: movement.code(),
                amount,
            };
            encode_into(&record, out)?;
            MOVE
        }
        AccountAction::Credit { account, credit } => {
            let record = CreditV1 {
                header,
                account,
                credit,
            };
            encode_into(&record, out)?;
            CREDIT
        }
        AccountAction::Limits { scope, limits: l } => {
            let flags = [
                l.collar_bps.is_some(),
                l.max_qty.is_some(),
                l.max_value.is_some(),
                l.max_open_qty.is_some(),
                l.max_open_value.is_some(),
                l.max_position.is_some(),
                l.duplicate_ns.is_some(),
            ];
            let record = LimitsV1 {
                header,
                scope: scope.into(),
                present: bits(&flags),
                collar_bps: l.collar_bps.unwrap_or(0),
                max_qty: l.max_qty.unwrap_or(0),
                max_value: l.max_value.unwrap_or(0),
                max_open_qty: l.max_open_qty.unwrap_or(0),
                max_open_value: l.max_open_value.unwrap_or(0),
                max_position: l.max_position.unwrap_or(0),
                duplicate_ns: l.duplicate_ns.unwrap_or(0),
            };
            encode_into(&record, out)?;
            LIMITS
        }
        AccountAction::Kill { scope, on } => {
            let record = KillV1 {
                header,
                scope: scope.into(),
                on,
            };
            encode_into(&record, out)?;
            KILL
        }
        AccountAction::Margin { instrument, spec } => {
            let flags = [
                spec.product.is_some(),
                spec.initial_margin_bps.is_some(),
                spec.price.is_some(),
            ];
            let mut product = [0; Name::MAX + 1];
            if let Some(name) = &spec.product {
                super::encode_to_slice(name, &mut product)?;
            }
            let record = MarginV1 {
                header,
                instrument,
                present: bits(&flags),
                product,
                initial_margin_bps: spec.initial_margin_bps.unwrap_or(0),
                price: spec.price.unwrap_or_default(),
            };
            encode_into(&record, out)?;
            MARGIN
        }
    })
}

/// Appends the payload of a part of a set of risk parameters and returns its type.
pub(super) fn encode_risk(command: &RiskParams, out: &mut Vec<u8>) -> Result<u8, EncodeError> {
    let header = HeaderV1::from(&command.header);
    Ok(match &command.action {
        RiskAction::Begin(b) => {
            let record = RiskBeginV1 {
                header,
                version: b.version,
                rows: b.rows,
                model: b.model,
                seed: b.seed,
                scenarios: b.scenarios,
                step_limit_bps: b.step_limit_bps,
                input_hash: b.input_hash,
            };
            encode_into(&record, out)?;
            RISK_BEGIN
        }
        RiskAction::Row(r) => {
            let record = RiskRowV1 {
                header,
                version: r.version,
                product: r.product,
                losses: r.losses,
                liquidity: steps(&r.liquidity),
                concentration: steps(&r.concentration),
                delivery: steps(&r.delivery),
            };
            encode_into(&record, out)?;
            RISK_ROW
        }
        RiskAction::Commit(c) => {
            let record = RiskCommitV1 {
                header,
                version: c.version,
                rows: c.rows,
                table_hash: c.table_hash,
            };
            encode_into(&record, out)?;
            RISK_COMMIT
        }
        RiskAction::MaxAge { max_age_ns } => {
            let max_age_ns = *max_age_ns;
            encode_into(&RiskAgeV1 { header, max_age_ns }, out)?;
            RISK_AGE
        }
    })
}

/// Reads a command of one of [`KINDS`].
pub(super) fn decode(kind: u8, payload: &[u8]) -> Result<Command, DecodeError> {
    fn read<T: Decode<()>>(payload: &[u8]) -> Result<T, DecodeError> {
        decode_exact::<T, MAX_PAYLOAD>(payload)
    }
    let account = |header: HeaderV1, action| {
        Command::Account(Box::new(AccountCommand {
            header: header.into(),
            action,
        }))
    };
    let risk = |header: HeaderV1, action| {
        Command::RiskParams(Box::new(RiskParams {
            header: header.into(),
            action,
        }))
    };
    Ok(match kind {
        OPEN => {
            let r = read::<OpenV1>(payload)?;
            let (account_id, margined) = (r.account, r.margined);
            account(
                r.header,
                AccountAction::Open {
                    account: account_id,
                    margined,
                },
            )
        }
        MOVE => {
            let r = read::<MoveV1>(payload)?;
            let action = AccountAction::Move {
                account: r.account,
                movement: code("movement", r.movement)?,
                amount: r.amount,
            };
            account(r.header, action)
        }
        CREDIT => {
            let r = read::<CreditV1>(payload)?;
            let action = AccountAction::Credit {
                account: r.account,
                credit: r.credit,
            };
            account(r.header, action)
        }
        LIMITS => {
            let r = read::<LimitsV1>(payload)?;
            let has = presence(r.present, 7)?;
            let limits = Limits {
                collar_bps: has(0).then_some(r.collar_bps),
                max_qty: has(1).then_some(r.max_qty),
                max_value: has(2).then_some(r.max_value),
                max_open_qty: has(3).then_some(r.max_open_qty),
                max_open_value: has(4).then_some(r.max_open_value),
                max_position: has(5).then_some(r.max_position),
                duplicate_ns: has(6).then_some(r.duplicate_ns),
            };
            let scope = r.scope.try_into()?;
            account(r.header, AccountAction::Limits { scope, limits })
        }
        KILL => {
            let r = read::<KillV1>(payload)?;
            let scope = r.scope.try_into()?;
            account(r.header, AccountAction::Kill { scope, on: r.on })
        }
        MARGIN => {
            let r = read::<MarginV1>(payload)?;
            let has = presence(r.present, 3)?;
            let product = if has(0) {
                let name: Name = decode_exact::<Name, { Name::MAX + 1 }>(&r.product)?;
                check_name(&name, "product")?;
                Some(name)
            } else {
                None
            };
            let spec = MarginSpec {
                product,
                initial_margin_bps: has(1).then_some(r.initial_margin_bps),
                price: has(2).then_some(r.price),
            };
            let instrument = r.instrument;
            account(r.header, AccountAction::Margin { instrument, spec })
        }
        RISK_BEGIN => {
            let r = read::<RiskBeginV1>(payload)?;
            let begin = RiskBegin {
                version: r.version,
                rows: r.rows,
                model: r.model,
                seed: r.seed,
                scenarios: r.scenarios,
                step_limit_bps: r.step_limit_bps,
                input_hash: r.input_hash,
            };
            risk(r.header, RiskAction::Begin(begin))
        }
        RISK_ROW => {
            let r = read::<RiskRowV1>(payload)?;
            check_name(&r.product, "product")?;
            let row = RiskRow {
                version: r.version,
                product: r.product,
                losses: r.losses,
                liquidity: table("liquidity", r.liquidity)?,
                concentration: table("concentration", r.concentration)?,
                delivery: table("delivery", r.delivery)?,
            };
            risk(r.header, RiskAction::Row(row))
        }
        RISK_COMMIT => {
            let r = read::<RiskCommitV1>(payload)?;
            let commit = RiskCommit {
                version: r.version,
                rows: r.rows,
                table_hash: r.table_hash,
            };
            risk(r.header, RiskAction::Commit(commit))
        }
        RISK_AGE => {
            let r = read::<RiskAgeV1>(payload)?;
            let max_age_ns = r.max_age_ns;
            risk(r.header, RiskAction::MaxAge { max_age_ns })
        }
        other => return Err(DecodeError::UnknownKind(other)),
    })
}

/// The first flag is bit 0.
fn bits(flags: &[bool]) -> u8 {
    let place = flags.iter().enumerate();
    place.fold(0, |bits, (at, &flag)| bits | u8::from(flag) << at)
}

fn presence(present: u8, fields: u8) -> Result<impl Fn(u8) -> bool, DecodeError> {
    if present >> fields != 0 {
        return Err(DecodeError::Code {
            field: "present",
            code: present.into(),
        });
    }
    Ok(move |bit| present >> bit & 1 == 1)
}

fn steps(table: &[RiskStep]) -> Vec<StepV1> {
    let step = |s: &RiskStep| StepV1 {
        from_lots: s.from_lots,
        uusd_per_lot: s.uusd_per_lot,
    };
    table.iter().map(step).collect()
}

fn table(field: &'static str, steps: Vec<StepV1>) -> Result<Vec<RiskStep>, DecodeError> {
    if steps.len() > RISK_STEPS {
        return Err(DecodeError::Code {
            field,
            code: steps.len() as u64,
        });
    }
    let step = |s: StepV1| RiskStep {
        from_lots: s.from_lots,
        uusd_per_lot: s.uusd_per_lot,
    };
    Ok(steps.into_iter().map(step).collect())
}

#[cfg(test)]
mod tests {
    use super::super::{decode_command, encode_command};
    use super::*;
    use crate::account_command::CashMove;
    use crate::command::ClientHeader;
    use crate::units::Timestamp;
    use expect_test::{Expect, expect};

    /// Type and length of each command; all survive the journal, and no part of one is one.
    fn check(commands: &[Command], expected: Expect) {
        let mut text = String::new();
        for command in commands {
            let mut bytes = Vec::new();
            let kind = encode_command(command, Timestamp::ZERO, &mut bytes).unwrap();
            assert!(KINDS.contains(&kind));
            let decode = |bytes: &[u8]| decode_command(kind, Timestamp::ZERO, bytes);
            assert_eq!(decode(&bytes).unwrap(), *command);
            for cut in 0..bytes.len() {
                assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
            }
            let used = bytes.len();
            bytes.push(0);
            assert!(decode(&bytes).is_err());
            text += &format!("{kind:#04x} {used} {}\n", command.kind());
        }
        expected.assert_eq(&text);
    }

    #[test]
    fn every_request_survives_the_journal() {
        let header = ClientHeader {
            account: AccountId::new(0),
            ..ClientHeader::default()
        };
        let account = |action| Command::Account(Box::new(AccountCommand { header, action }));
        let risk = |action| Command::RiskParams(Box::new(RiskParams { header, action }));
        let id = AccountId::new(7);
        let name = Name::new("H100/whole/firm/tx/-/day").unwrap();
        let limits = Limits {
            collar_bps: Some(500),
            max_open_value: Some(1 << 40),
            ..Limits::default()
        };
        let step = RiskStep {
            from_lots: 1,
            uusd_per_lot: 2,
        };
        let spec = MarginSpec {
            product: Some(name),
            initial_margin_bps: None,
            price: Some(Price::from_ticks(-3)),
        };
        let move_cash = |movement| AccountAction::Move {
            account: id,
            movement,
            amount: 5,
        };
        check(
            &[
                account(AccountAction::Open {
                    account: id,
                    margined: true,
                }),
                account(move_cash(CashMove::Deposit)),
                account(move_cash(CashMove::Withdraw)),
                account(AccountAction::Credit {
                    account: id,
                    credit: 9,
                }),
                account(AccountAction::Limits {
                    scope: Scope::Session(SessionId::new(3)),
                    limits,
                }),
                account(AccountAction::Kill {
                    scope: Scope::Account(id),
                    on: true,
                }),
                account(AccountAction::Margin {
                    instrument: InstrumentId::new(4),
                    spec,
                }),
                risk(RiskAction::Begin(RiskBegin {
                    version: 2,
                    rows: 1,
                    model: 1,
                    seed: 7,
                    scenarios: 10_000,
                    step_limit_bps: 5_000,
                    input_hash: [3; 32],
                })),
                risk(RiskAction::Row(RiskRow {
                    version: 2,
                    product: name,
                    losses: core::array::from_fn(|s| s as i64 - 32),
                    liquidity: vec![step; 8],
                    concentration: vec![step; 8],
                    delivery: vec![step; 8],
                })),
                risk(RiskAction::Commit(RiskCommit {
                    version: 2,
                    rows: 1,
                    table_hash: [4; 32],
                })),
                risk(RiskAction::MaxAge { max_age_ns: 1 }),
            ],
            expect![[r#"
                0x50 31 account
                0x51 39 deposit
                0x51 39 withdraw
                0x52 38 credit
                0x53 84 limits
                0x54 32 kill
                0x55 108 margin
                0x60 86 risk_begin
                0x61 919 risk_row
                0x62 66 risk_commit
                0x63 34 risk_age
            "#]],
        );
    }
}
