//! What the engine tells about accounts and risk parameters.

use crate::account_command::{CashMove, Scope};
use crate::event::Requester;
use crate::ids::{AccountId, InstrumentId};

/// What happened to an account, a limit or the risk parameters. Amounts are micro-USD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountEvent {
    /// An account is kept from now on, or its margin check was switched.
    Opened {
        /// Who asked.
        by: Requester,
        /// Which.
        account: AccountId,
        /// Whether its orders must be covered.
        margined: bool,
    },
    /// Money was paid in or out.
    CashMoved {
        /// Who asked.
        by: Requester,
        /// Which account.
        account: AccountId,
        /// Which way.
        movement: CashMove,
        /// How much.
        amount: i64,
        /// What the account has now.
        cash: i64,
    },
    /// An account has another credit.
    CreditSet {
        /// Who asked.
        by: Requester,
        /// Which account.
        account: AccountId,
        /// The credit now.
        credit: i64,
    },
    /// Limits were set; they are in the command.
    LimitsSet {
        /// Who asked.
        by: Requester,
        /// Whose.
        scope: Scope,
    },
    /// A kill switch was put on or off; the cancels came before.
    KillSwitched {
        /// Who asked.
        by: Requester,
        /// Whose.
        scope: Scope,
        /// On or off.
        on: bool,
        /// How many orders ended.
        canceled: u32,
    },
    /// An instrument is margined in another way; it is in the command.
    MarginSet {
        /// Who asked.
        by: Requester,
        /// Which instrument.
        instrument: InstrumentId,
    },
    /// An account needs more margin than it has funds; it may only lower its risk. No order ends.
    MarginBreached {
        /// Which.
        account: AccountId,
        /// What it needs.
        margin: i64,
        /// Its cash and credit.
        funds: i64,
    },
    /// An account that was in breach has enough again.
    MarginRestored {
        /// Which.
        account: AccountId,
        /// What it needs.
        margin: i64,
        /// Its cash and credit.
        funds: i64,
    },
    /// A set of risk parameters was announced, or a row of it taken; the set in force stands.
    RiskStaged {
        /// Who asked.
        by: Requester,
        /// Version of the announced set.
        version: u32,
        /// Rows taken so far.
        rows: u32,
    },
    /// A set of risk parameters is in force.
    RiskActive {
        /// Who asked.
        by: Requester,
        /// Its version.
        version: u32,
        /// Its rows.
        rows: u32,
    },
    /// The age that is told of was set.
    RiskAgeSet {
        /// Who asked.
        by: Requester,
        /// Nanoseconds, 0 = never.
        max_age_ns: u64,
    },
    /// The set in force has become old.
    RiskAged {
        /// Its version.
        version: u32,
        /// For how long it has been in force, in nanoseconds.
        age_ns: u64,
    },
}

impl AccountEvent {
    /// Who asked for it, when somebody did.
    #[must_use]
    pub const fn by(&self) -> Option<&Requester> {
        match self {
            Self::Opened { by, .. }
            | Self::CashMoved { by, .. }
            | Self::CreditSet { by, .. }
            | Self::LimitsSet { by, .. }
            | Self::KillSwitched { by, .. }
            | Self::MarginSet { by, .. }
            | Self::RiskStaged { by, .. }
            | Self::RiskActive { by, .. }
            | Self::RiskAgeSet { by, .. } => Some(by),
            Self::MarginBreached { .. } | Self::MarginRestored { .. } | Self::RiskAged { .. } => {
                None
            }
        }
    }
}
