//! What one line of an order script may say.

use std::borrow::Cow;

use super::contracts::ScriptContract;
use tessera_types::contract::{Instrument, Phase};
use tessera_types::{
    AccountAction, Cancel, CashMove, ClOrdId, NewOrder, Price, QuoteEntry, Reduce, RejectReason,
    Replace, Restart, RiskAction, SelfMatch, Side, Timestamp,
};

/// A name as the script writes it, 1 to 64 bytes; borrowed from the line unless it had escapes.
pub type Text<'a> = Cow<'a, str>;

/// A well-formed line.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptLine<'a> {
    /// Where the clock moves to before the command, when the line says so.
    pub time: Option<Timestamp>,
    /// What is asked.
    pub command: ScriptCommand<'a>,
}

/// A line that is refused for its form, before anybody looks at the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// `parse_error`, `unknown_op`, `missing_field` or `bad_field`.
    pub reason: RejectReason,
    /// The operation as the line names it, when it names one.
    pub op: Option<String>,
    /// The id on the line, when it has a valid one.
    pub id: Option<ClOrdId>,
    /// The line's `t`, when the operation is known and `t` is a time: it counts all the same.
    pub time: Option<Timestamp>,
}

/// A command with its names unresolved.
///
/// Where a variant holds a command of [`tessera_types`], the account in its header and its
/// instrument are zero: the names beside it stand for them. An instrument left out is `None` and
/// means the default instrument, as a filter all instruments.
#[derive(Clone, Debug, PartialEq)]
pub enum ScriptCommand<'a> {
    /// List an instrument.
    Instrument(Box<Instrument>),
    /// Enter an order.
    New {
        /// Owner.
        party: Text<'a>,
        /// Where.
        instrument: Option<Text<'a>>,
        /// The pool behind a sell on a contract.
        pool: Option<Text<'a>>,
        /// The rest.
        order: NewOrder,
    },
    /// Cancel one order.
    Cancel {
        /// Owner, when said.
        party: Option<Text<'a>>,
        /// The rest.
        cancel: Cancel,
    },
    /// Take quantity off an order.
    Reduce {
        /// Owner, when said.
        party: Option<Text<'a>>,
        /// The rest.
        reduce: Reduce,
    },
    /// Change an order.
    Replace {
        /// Owner, when said.
        party: Option<Text<'a>>,
        /// The rest.
        replace: Replace,
    },
    /// Cancel every order that passes the filters.
    MassCancel {
        /// Owner filter.
        party: Option<Text<'a>>,
        /// Instrument filter.
        instrument: Option<Text<'a>>,
        /// Side filter.
        side: Option<Side>,
    },
    /// Quotes on many instruments.
    MassQuote {
        /// Owner.
        party: Text<'a>,
        /// Reject sides that would trade.
        post_only: bool,
        /// Keep the place of sides that only shrink.
        keep_priority: bool,
        /// Self-trade mode.
        self_match: SelfMatch,
        /// The entries, bad ones in their place.
        entries: Vec<ScriptQuote<'a>>,
    },
    /// Change a phase.
    Phase {
        /// Where.
        instrument: Option<Text<'a>>,
        /// To what.
        phase: Phase,
        /// Reference price of the uncross.
        ref_price: Option<Price>,
    },
    /// Move the clock; where to is in [`ScriptLine::time`].
    Time,
    /// The exchange goes on after it was down since the line before.
    Restart(Restart),
    /// The hold of a restart ends.
    Reopen,
    /// Ask for the depth of one instrument.
    Depth {
        /// Where.
        instrument: Option<Text<'a>>,
        /// How many levels a side, none = all.
        levels: Option<usize>,
    },
    /// Ask for the live orders.
    Orders {
        /// Owner filter.
        party: Option<Text<'a>>,
        /// Instrument filter.
        instrument: Option<Text<'a>>,
    },
    /// Money, limits, kill switch, margin of an instrument. Account and instrument in it are zero.
    Account {
        /// Whose account.
        party: Option<Text<'a>>,
        /// Which instrument.
        instrument: Option<Text<'a>>,
        /// The rest.
        action: AccountAction,
    },
    /// A part of a set of risk parameters.
    Risk(Box<RiskAction>),
    /// Ask for the accounts.
    Accounts,
    /// Something about contracts.
    Contract(Box<ScriptContract<'a>>),
}

/// One entry of a mass quote; its instrument number is zero, the name counts. An entry that is bad
/// in itself says so in [`QuoteEntry::refused`].
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptQuote<'a> {
    /// Where.
    pub instrument: Option<Text<'a>>,
    /// The pool behind its ask on a contract.
    pub pool: Option<Text<'a>>,
    /// The rest.
    pub entry: QuoteEntry,
}

/// The operations of an order script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// List an instrument.
    Instrument,
    /// Enter an order.
    New,
    /// Cancel one order.
    Cancel,
    /// Take quantity off an order.
    Reduce,
    /// Change an order.
    Replace,
    /// Cancel many orders.
    MassCancel,
    /// Quotes on many instruments.
    MassQuote,
    /// Change a phase.
    Phase,
    /// Move the clock.
    Time,
    /// Go on after the exchange was down.
    Restart,
    /// End the hold of a restart.
    Reopen,
    /// Ask for depth.
    Depth,
    /// Ask for the live orders.
    Orders,
    /// Keep an account.
    Account,
    /// Pay in.
    Deposit,
    /// Pay out.
    Withdraw,
    /// Set a credit.
    Credit,
    /// Set pre-trade limits.
    Limits,
    /// Put a kill switch on or off.
    Kill,
    /// Say how an instrument is margined.
    Margin,
    /// Announce risk parameters.
    RiskBegin,
    /// A row of them.
    RiskRow,
    /// Put them in force.
    RiskCommit,
    /// Say when they are old.
    RiskAge,
    /// Ask for the accounts.
    Accounts,
    /// Set the catalogue.
    Catalog,
    /// Declare a pool.
    Pool,
    /// Attest a pool.
    Attest,
    /// Limit a party.
    Limit,
    /// Enter a substitution order.
    Sub,
    /// Enter a block.
    Block,
    /// Offer a device in slices.
    Carve,
    /// Ask for quotes.
    Rfq,
    /// Quote.
    Quote,
    /// Take a quote.
    Award,
    /// Bid for the rest of leases.
    Preempt,
    /// Ask what of the pools is free.
    Pools,
    /// Ask which gangs there are.
    GangDepth,
    /// Ask for leases.
    Leases,
}

impl Op {
    /// Every operation.
    pub const ALL: &'static [Self] = &[
        Self::Instrument,
        Self::New,
        Self::Cancel,
        Self::Reduce,
        Self::Replace,
        Self::MassCancel,
        Self::MassQuote,
        Self::Phase,
        Self::Time,
        Self::Restart,
        Self::Reopen,
        Self::Depth,
        Self::Orders,
        Self::Account,
        Self::Deposit,
        Self::Withdraw,
        Self::Credit,
        Self::Limits,
        Self::Kill,
        Self::Margin,
        Self::RiskBegin,
        Self::RiskRow,
        Self::RiskCommit,
        Self::RiskAge,
        Self::Accounts,
        Self::Catalog,
        Self::Pool,
        Self::Attest,
        Self::Limit,
        Self::Sub,
        Self::Block,
        Self::Carve,
        Self::Rfq,
        Self::Quote,
        Self::Award,
        Self::Preempt,
        Self::Pools,
        Self::GangDepth,
        Self::Leases,
    ];

    /// The word of the script.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instrument => "instrument",
            Self::New => "new",
            Self::Cancel => "cancel",
            Self::Reduce => "reduce",
            Self::Replace => "replace",
            Self::MassCancel => "mass_cancel",
            Self::MassQuote => "mass_quote",
            Self::Phase => "phase",
            Self::Time => "time",
            Self::Restart => "restart",
            Self::Reopen => "reopen",
            Self::Depth => "depth",
            Self::Orders => "orders",
            Self::Account => "account",
            Self::Deposit => "deposit",
            Self::Withdraw => "withdraw",
            Self::Credit => "credit",
            Self::Limits => "limits",
            Self::Kill => "kill",
            Self::Margin => "margin",
            Self::RiskBegin => "risk_begin",
            Self::RiskRow => "risk_row",
            Self::RiskCommit => "risk_commit",
            Self::RiskAge => "risk_age",
            Self::Accounts => "accounts",
            Self::Catalog => "catalog",
            Self::Pool => "pool",
            Self::Attest => "attest",
            Self::Limit => "limit",
            Self::Sub => "sub",
            Self::Block => "block",
            Self::Carve => "carve",
            Self::Rfq => "rfq",
            Self::Quote => "quote",
            Self::Award => "award",
            Self::Preempt => "preempt",
            Self::Pools => "pools",
            Self::GangDepth => "gang_depth",
            Self::Leases => "leases",
        }
    }

    /// The operation that this word names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|op| op.as_str() == word)
    }
}

impl ScriptCommand<'_> {
    /// Which operation this is.
    #[must_use]
    pub const fn op(&self) -> Op {
        match self {
            Self::Account { action, .. } => match action {
                AccountAction::Open { .. } => Op::Account,
                AccountAction::Move { movement, .. } => match movement {
                    CashMove::Deposit => Op::Deposit,
                    CashMove::Withdraw => Op::Withdraw,
                },
                AccountAction::Credit { .. } => Op::Credit,
                AccountAction::Limits { .. } => Op::Limits,
                AccountAction::Kill { .. } => Op::Kill,
                AccountAction::Margin { .. } => Op::Margin,
            },
            Self::Risk(action) => match **action {
                RiskAction::Begin(_) => Op::RiskBegin,
                RiskAction::Row(_) => Op::RiskRow,
                RiskAction::Commit(_) => Op::RiskCommit,
                RiskAction::MaxAge { .. } => Op::RiskAge,
            },
            Self::Accounts => Op::Accounts,
            Self::Instrument(_) => Op::Instrument,
            Self::New { .. } => Op::New,
            Self::Cancel { .. } => Op::Cancel,
            Self::Reduce { .. } => Op::Reduce,
            Self::Replace { .. } => Op::Replace,
            Self::MassCancel { .. } => Op::MassCancel,
            Self::MassQuote { .. } => Op::MassQuote,
            Self::Phase { .. } => Op::Phase,
            Self::Time => Op::Time,
            Self::Restart(_) => Op::Restart,
            Self::Reopen => Op::Reopen,
            Self::Depth { .. } => Op::Depth,
            Self::Orders { .. } => Op::Orders,
            Self::Contract(command) => command.op(),
        }
    }

    /// True when the command stands or falls with an instrument that it leaves out, so that the
    /// default instrument must exist.
    #[must_use]
    pub fn uses_default_instrument(&self) -> bool {
        match self {
            Self::Contract(command) => command.uses_default_instrument(),
            Self::New { instrument, .. }
            | Self::Phase { instrument, .. }
            | Self::Depth { instrument, .. } => instrument.is_none(),
            Self::MassQuote { entries, .. } => entries
                .iter()
                .any(|quote| quote.instrument.is_none() && quote.entry.refused.is_none()),
            Self::Instrument(_)
            | Self::Cancel { .. }
            | Self::Reduce { .. }
            | Self::Replace { .. }
            | Self::MassCancel { .. }
            | Self::Time
            | Self::Risk(_)
            | Self::Accounts
            | Self::Restart(_)
            | Self::Reopen
            | Self::Orders { .. } => false,
            Self::Account {
                instrument, action, ..
            } => matches!(action, AccountAction::Margin { .. }) && instrument.is_none(),
        }
    }
}
