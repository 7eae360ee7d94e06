//! What may be asked about accounts, their limits, and the risk parameters.
//!
//! Amounts are micro-USD, quantities lots, values ticks times lots.

use crate::command::ClientHeader;
use crate::contract::{Name, code_enum};
use crate::ids::{AccountId, InstrumentId, SessionId};
use crate::units::Price;

/// A request about an account or a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountCommand {
    /// Who asks; `header.account` means nothing here.
    pub header: ClientHeader,
    /// What.
    pub action: AccountAction,
}

/// What is asked about an account or a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountAction {
    /// Begin to keep the account, or switch its margin check on or off.
    Open {
        /// Which; not 0.
        account: AccountId,
        /// Whether its orders must be covered by cash and credit.
        margined: bool,
    },
    /// Pay in or out. Paying in begins the account when it is new, without margin.
    Move {
        /// Which; not 0.
        account: AccountId,
        /// Which way.
        movement: CashMove,
        /// How much, at least 1.
        amount: i64,
    },
    /// Set how much the account may owe beside its cash.
    Credit {
        /// Which.
        account: AccountId,
        /// How much, not negative.
        credit: i64,
    },
    /// Set every pre-trade limit of an account or a session; what is `None` is not limited.
    Limits {
        /// Whose.
        scope: Scope,
        /// The limits from now on.
        limits: Limits,
    },
    /// Refuse every new order and replace of an account or a session, and cancel what is live; or
    /// let it trade again.
    Kill {
        /// Whose.
        scope: Scope,
        /// On or off.
        on: bool,
    },
    /// Say how positions in an instrument are margined.
    Margin {
        /// Which instrument.
        instrument: InstrumentId,
        /// How.
        spec: MarginSpec,
    },
}

code_enum! {
    /// Which way money moves between an account and the outside.
    CashMove {
        /// From outside into the account.
        Deposit = 0, "deposit";
        /// From the account to outside.
        Withdraw = 1, "withdraw";
    }
}

/// Whose orders a limit or a kill switch is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Those of an account, in whatever session they came.
    Account(AccountId),
    /// Those of a session, for whatever account.
    Session(SessionId),
}

/// Pre-trade limits. Each has a reject reason of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// How far a buy's limit may lie above, a sell's below the reference (the last trade, else the
    /// instrument's reference price), in 1/10000 of its size. Without a reference it is not checked.
    pub collar_bps: Option<u32>,
    /// Largest open quantity of one order.
    pub max_qty: Option<u64>,
    /// Largest value of one order at its limit, or at the reference where it has no limit.
    pub max_value: Option<u64>,
    /// Largest quantity of all open orders together.
    pub max_open_qty: Option<u64>,
    /// Largest value of all open orders together, each at its limit; those without one count 0.
    pub max_open_value: Option<u64>,
    /// Largest sum over instruments of the larger worst case of position and open orders, in lots
    /// times the instrument's weight (1/10000 of a device). Accounts only.
    pub max_position: Option<u64>,
    /// A new order like the one before (instrument, side, price, quantity) is refused for so many
    /// nanoseconds.
    pub duplicate_ns: Option<u64>,
}

/// How positions in an instrument are margined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarginSpec {
    /// The product and tenor bucket whose row of the risk parameters counts; without it the row with
    /// the instrument's own name.
    pub product: Option<Name>,
    /// Flat margin where there is no such row, in 1/10000 of the value of a lot at `price`.
    pub initial_margin_bps: Option<u32>,
    /// Price at which a lot is valued for the flat margin; without it the instrument's reference.
    pub price: Option<Price>,
}

/// A part of a set of risk parameters, which is announced, sent row by row, and then put in force
/// whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RiskParams {
    /// Who asks.
    pub header: ClientHeader,
    /// Which part.
    pub action: RiskAction,
}

/// A part of a set of risk parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "rare, and behind a box in the command"
)]
pub enum RiskAction {
    /// A set begins; one that was being sent is forgotten.
    Begin(RiskBegin),
    /// The next row.
    Row(RiskRow),
    /// The set is complete: from this command on it counts.
    Commit(RiskCommit),
    /// Tell when the set in force has become so old, and again after each such time; 0 = never.
    MaxAge {
        /// Nanoseconds.
        max_age_ns: u64,
    },
}

/// Announces a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RiskBegin {
    /// Above that of the set in force.
    pub version: u32,
    /// How many rows follow.
    pub rows: u32,
    /// Version of the model.
    pub model: u32,
    /// Seed of the simulation.
    pub seed: u64,
    /// Scenarios of the simulation.
    pub scenarios: u32,
    /// Largest change of the margin of one lot from the set in force, in 1/10000; 0 = any.
    pub step_limit_bps: u32,
    /// BLAKE3 of the model text.
    pub input_hash: [u8; 32],
}

/// Scenarios of a row.
pub const RISK_SCENARIOS: usize = 64;

/// Most steps of one add-on table.
pub const RISK_STEPS: usize = 8;

/// The risk of one lot of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RiskRow {
    /// Version of the set.
    pub version: u32,
    /// Product and tenor bucket; rows come in rising order of it.
    pub product: Name,
    /// Losses of one long lot in micro-USD; scenario k is the same state of the world in every row.
    pub losses: [i64; RISK_SCENARIOS],
    /// Half spread by size.
    pub liquidity: Vec<RiskStep>,
    /// Concentration by size.
    pub concentration: Vec<RiskStep>,
    /// Replacement of failed deliveries, on what is sold.
    pub delivery: Vec<RiskStep>,
}

/// One step of an add-on table: the whole size pays the rate of the step that it falls into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RiskStep {
    /// From so many lots on.
    pub from_lots: u32,
    /// Micro-USD per lot; rates of a table never fall.
    pub uusd_per_lot: i64,
}

impl RiskRow {
    /// The bytes that the hash of a set is made of, little-endian: version (4), length of the
    /// product's name (2), name, losses (64 x 8), then per table of steps their number (1) and for
    /// each step from (4) and rate (8).
    pub fn hashed_bytes(&self, out: &mut Vec<u8>) {
        out.extend(self.version.to_le_bytes());
        let name = self.product.as_str().as_bytes();
        out.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend(name);
        for loss in &self.losses {
            out.extend(loss.to_le_bytes());
        }
        for steps in [&self.liquidity, &self.concentration, &self.delivery] {
            out.push(u8::try_from(steps.len()).unwrap_or(u8::MAX));
            for step in steps {
                out.extend(step.from_lots.to_le_bytes());
                out.extend(step.uusd_per_lot.to_le_bytes());
            }
        }
    }
}

/// Ends a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RiskCommit {
    /// Version of the set.
    pub version: u32,
    /// Number of its rows.
    pub rows: u32,
    /// BLAKE3 over [`RiskRow::hashed_bytes`] of its rows.
    pub table_hash: [u8; 32],
}
