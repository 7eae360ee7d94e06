//! What may be asked of the engine. Every command is journaled before its effects leave.

use crate::account_command::{AccountAction, AccountCommand, CashMove, RiskAction, RiskParams};
use crate::contract::{Catalogue, Instrument, Name, Phase, code_enum};
use crate::contract_command::{Backing, ContractCommand};
use crate::ids::{
    AccountId, ClOrdId, ConnToken, Generation, InstrumentId, OrderId, Seq, SessionId,
};
use crate::reject::{CommandKind, RejectReason};
use crate::restart_command::{Reopen, Restart};
use crate::units::{Price, Qty, Side, Timestamp};

/// A command with its place in history. The engine sees no other clock than `time`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequenced {
    /// Position in the journal, rising by one.
    pub seq: Seq,
    /// The sequencer's clock, never falling.
    pub time: Timestamp,
    /// What is asked.
    pub command: Command,
}

/// One request to the engine.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Enter an order.
    NewOrder(NewOrder),
    /// Cancel one order.
    Cancel(Cancel),
    /// Take quantity off an order.
    Reduce(Reduce),
    /// Change price, quantity, trigger or id of an order.
    Replace(Replace),
    /// Cancel every order that passes the filters.
    MassCancel(MassCancel),
    /// Two-sided quotes on many instruments.
    MassQuote(Box<MassQuote>),
    /// A session begins or resumes.
    SessionLogon(Box<SessionLogon>),
    /// Cut a session off.
    SessionFence(SessionFence),
    /// List an instrument.
    ListInstrument(Box<ListInstrument>),
    /// Change an instrument's phase.
    SetPhase(SetPhase),
    /// Move the clock in a quiet period; the new time is the record's.
    AdvanceTime(AdvanceTime),
    /// Set or extend the catalogue.
    SetCatalogue(Box<SetCatalogue>),
    /// The exchange goes on after it was down.
    Restart(Restart),
    /// The hold of a restart ends.
    Reopen(Reopen),
    /// Something about compute contracts.
    Contract(ContractCommand),
    /// Money, limits and the kill switch.
    Account(Box<AccountCommand>),
    /// A part of a set of risk parameters.
    RiskParams(Box<RiskParams>),
}

const _: () = assert!(size_of::<Command>() == 120);

impl Command {
    /// Which kind of request this is.
    #[must_use]
    pub const fn kind(&self) -> CommandKind {
        match self {
            Self::NewOrder(_) => CommandKind::New,
            Self::Cancel(_) => CommandKind::Cancel,
            Self::Reduce(_) => CommandKind::Reduce,
            Self::Replace(_) => CommandKind::Replace,
            Self::MassCancel(_) => CommandKind::MassCancel,
            Self::MassQuote(_) => CommandKind::MassQuote,
            Self::SessionLogon(_) => CommandKind::SessionLogon,
            Self::SessionFence(_) => CommandKind::SessionFence,
            Self::ListInstrument(_) => CommandKind::Instrument,
            Self::SetPhase(_) => CommandKind::Phase,
            Self::AdvanceTime(_) => CommandKind::Time,
            Self::SetCatalogue(_) => CommandKind::Catalogue,
            Self::Restart(_) => CommandKind::Restart,
            Self::Reopen(_) => CommandKind::Reopen,
            Self::Contract(c) => c.kind(),
            Self::Account(c) => match c.action {
                AccountAction::Open { .. } => CommandKind::Account,
                AccountAction::Move { movement, .. } => match movement {
                    CashMove::Deposit => CommandKind::Deposit,
                    CashMove::Withdraw => CommandKind::Withdraw,
                },
                AccountAction::Credit { .. } => CommandKind::Credit,
                AccountAction::Limits { .. } => CommandKind::Limits,
                AccountAction::Kill { .. } => CommandKind::Kill,
                AccountAction::Margin { .. } => CommandKind::Margin,
            },
            Self::RiskParams(c) => match c.action {
                RiskAction::Begin(_) => CommandKind::RiskBegin,
                RiskAction::Row(_) => CommandKind::RiskRow,
                RiskAction::Commit(_) => CommandKind::RiskCommit,
                RiskAction::MaxAge { .. } => CommandKind::RiskAge,
            },
        }
    }

    /// Who asked, for the commands that a client sends; none for the venue's own.
    #[must_use]
    pub const fn header(&self) -> Option<&ClientHeader> {
        match self {
            Self::NewOrder(c) => Some(&c.header),
            Self::Cancel(c) => Some(&c.header),
            Self::Reduce(c) => Some(&c.header),
            Self::Replace(c) => Some(&c.header),
            Self::MassCancel(c) => Some(&c.header),
            Self::MassQuote(c) => Some(&c.header),
            Self::ListInstrument(c) => Some(&c.header),
            Self::SetPhase(c) => Some(&c.header),
            Self::SetCatalogue(c) => Some(&c.header),
            Self::Contract(c) => Some(c.header()),
            Self::Account(c) => Some(&c.header),
            Self::RiskParams(c) => Some(&c.header),
            Self::SessionLogon(_)
            | Self::SessionFence(_)
            | Self::AdvanceTime(_)
            | Self::Restart(_)
            | Self::Reopen(_) => None,
        }
    }

    /// True for commands that may add risk: what ingress refuses first when the disk is behind.
    #[must_use]
    pub const fn adds_orders(&self) -> bool {
        match self {
            Self::NewOrder(_) | Self::Replace(_) | Self::MassQuote(_) => true,
            Self::Contract(c) => c.adds_orders(),
            _ => false,
        }
    }
}

/// Identity of a request: who asked, in which life of the session, and when the gateway saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientHeader {
    /// The session; [`SessionId::VENUE`] for scripts and the venue itself.
    pub session: SessionId,
    /// The life of the session this request belongs to.
    pub generation: Generation,
    /// The account it acts for; 0 = not said.
    pub account: AccountId,
    /// The request's own id, strictly rising within the session; 0 in the venue's session.
    pub cl_ord_id: ClOrdId,
    /// When the gateway received it (UTC), 0 = unknown. Never read by the engine.
    pub received: Timestamp,
}

code_enum! {
    /// How an order is priced and shown.
    OrdType {
        /// At its limit or better.
        Limit = 0, "limit";
        /// At any price the other side offers.
        Market = 1, "market";
        /// A limit order that shows only a slice.
        Iceberg = 2, "iceberg";
        /// A market order that waits for a trade price.
        Stop = 3, "stop";
        /// A limit order that waits for a trade price.
        StopLimit = 4, "stop_limit";
        /// A stop whose trigger follows the last trade.
        TrailingStop = 5, "trailing_stop";
    }
}

impl OrdType {
    /// True for the types that carry a limit price.
    #[must_use]
    pub const fn has_price(self) -> bool {
        matches!(self, Self::Limit | Self::Iceberg | Self::StopLimit)
    }
}

code_enum! {
    /// How long an order stays.
    TimeInForce {
        /// Until canceled.
        Gtc = 0, "gtc";
        /// What does not trade at once is canceled.
        Ioc = 1, "ioc";
        /// All at once or nothing.
        Fok = 2, "fok";
        /// Until the instrument closes.
        Day = 3, "day";
        /// Until a time.
        Gtd = 4, "gtd";
    }
}

code_enum! {
    /// What happens when an incoming order is about to meet one of the same account.
    SelfMatch {
        /// They trade.
        None = 0, "none";
        /// The incoming order ends.
        CancelNew = 1, "cancel_new";
        /// The resting order ends.
        CancelOld = 2, "cancel_old";
        /// Both end.
        CancelBoth = 3, "cancel_both";
        /// Both shrink by the smaller open quantity.
        Decrement = 4, "decrement";
    }
}

/// Instructions of an order as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExecInst(u8);

impl ExecInst {
    /// No instruction.
    pub const NONE: Self = Self(0);
    /// Reject instead of trading on entry.
    pub const POST_ONLY: Self = Self(1);
    /// All or none.
    pub const ALL_OR_NONE: Self = Self(1 << 1);
    /// Cancel on disconnect leaves this order alone.
    pub const STAY_ON_DISCONNECT: Self = Self(1 << 2);
    /// Cancel when the exchange restarts.
    pub const CANCEL_ON_SYSTEM_FAILURE: Self = Self(1 << 3);
    /// Every bit that means something.
    pub const ALL: Self = Self(0b1111);

    /// The instructions in `bits`, or nothing when an unknown bit is set.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True when all of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Enter an order. Fields that its type does not use are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// Who asks; `header.cl_ord_id` becomes the order's client id.
    pub header: ClientHeader,
    /// Where.
    pub instrument: InstrumentId,
    /// Which side.
    pub side: Side,
    /// How it is priced and shown.
    pub ord_type: OrdType,
    /// How long it stays.
    pub time_in_force: TimeInForce,
    /// Self-trade mode, used while this order is the incoming one.
    pub self_match: SelfMatch,
    /// Instructions.
    pub exec_inst: ExecInst,
    /// What stands behind a sell on a contract; nothing everywhere else.
    pub backing: Backing,
    /// Limit in ticks, for the types that have one.
    pub price: Price,
    /// Total quantity in lots.
    pub qty: Qty,
    /// Least quantity that must trade on entry; 0 = none.
    pub min_qty: Qty,
    /// Visible slice of an iceberg.
    pub display: Qty,
    /// Trigger price of a stop, or distance in ticks of a trailing stop.
    pub trigger: i64,
    /// When a `gtd` order ends.
    pub expire: Timestamp,
    /// With `fok`: buy only if the whole costs at most, sell only if it earns at least this
    /// (ticks x lots).
    pub budget: Option<u64>,
}

impl NewOrder {
    /// A plain good-till-cancel limit order; change what differs.
    #[must_use]
    pub const fn limit(
        header: ClientHeader,
        instrument: InstrumentId,
        side: Side,
        price: Price,
        qty: Qty,
    ) -> Self {
        Self {
            header,
            instrument,
            side,
            ord_type: OrdType::Limit,
            time_in_force: TimeInForce::Gtc,
            self_match: SelfMatch::None,
            exec_inst: ExecInst::NONE,
            backing: Backing::NOTHING,
            price,
            qty,
            min_qty: Qty::ZERO,
            display: Qty::ZERO,
            trigger: 0,
            expire: Timestamp::ZERO,
            budget: None,
        }
    }
}

/// How a request names the order it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderTarget {
    /// By client id within the request's session.
    Client(ClOrdId),
    /// By the exchange's id; the order must belong to the request's session.
    Exchange(OrderId),
}

/// Cancel one order. `header.account`, when said, must be the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// Who asks.
    pub header: ClientHeader,
    /// Which order.
    pub target: OrderTarget,
}

/// Take quantity off an order; at or above the open quantity it cancels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduce {
    /// Who asks.
    pub header: ClientHeader,
    /// Which order.
    pub target: OrderTarget,
    /// How much, in lots, a multiple of the lot.
    pub by: Qty,
}

/// Change an order; what is `None` stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replace {
    /// Who asks.
    pub header: ClientHeader,
    /// Which order.
    pub target: OrderTarget,
    /// New limit.
    pub price: Option<Price>,
    /// New total quantity, what has been filled included.
    pub qty: Option<Qty>,
    /// New trigger price, before the trigger only.
    pub stop: Option<Price>,
    /// New client id. The gateway passes the request's own, as FIX chains ids.
    pub new_id: Option<ClOrdId>,
}

/// Cancel every live order that passes all the filters, in order of acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MassCancel {
    /// Who asks. In a client's session only orders of that session are reached; in the venue's, all.
    pub header: ClientHeader,
    /// Only orders of this account.
    pub account: Option<AccountId>,
    /// Only this instrument.
    pub instrument: Option<InstrumentId>,
    /// Only this side.
    pub side: Option<Side>,
}

/// One instrument of a mass quote. A side whose quantity is `None` is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuoteEntry {
    /// Where.
    pub instrument: InstrumentId,
    /// The edge already found this entry malformed: the engine only reports it, in its place.
    pub refused: Option<RejectReason>,
    /// Client id of the bid.
    pub bid_id: ClOrdId,
    /// Bid price.
    pub bid_price: Price,
    /// Bid quantity; zero only removes.
    pub bid_qty: Option<Qty>,
    /// Client id of the ask.
    pub ask_id: ClOrdId,
    /// Ask price.
    pub ask_price: Price,
    /// Ask quantity; zero only removes.
    pub ask_qty: Option<Qty>,
    /// What stands behind the ask on a contract; nothing everywhere else.
    pub backing: Backing,
}

/// Two-sided quotes on many instruments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MassQuote {
    /// Who asks.
    pub header: ClientHeader,
    /// Reject sides that would trade.
    pub post_only: bool,
    /// Keep the place of a side quoted at the same price with no more than is open.
    pub keep_priority: bool,
    /// Self-trade mode of the quotes.
    pub self_match: SelfMatch,
    /// The entries, at most [`MassQuote::MAX_ENTRIES`].
    pub entries: Vec<QuoteEntry>,
}

impl MassQuote {
    /// Most entries of one journaled command.
    pub const MAX_ENTRIES: usize = 512;
}

/// A session begins: the engine numbers it by name and raises its generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLogon {
    /// The peer's CompID.
    pub name: Name,
    /// Comes back in the answer, for the gateway to find the connection.
    pub conn: ConnToken,
    /// When the gateway received the Logon.
    pub received: Timestamp,
}

code_enum! {
    /// Why a session is fenced.
    FenceReason {
        /// The connection is gone.
        Disconnect = 0, "disconnect";
        /// The peer logged out.
        Logout = 1, "logout";
        /// The kill switch.
        Kill = 2, "kill";
        /// The dead-man timer ran out.
        DeadMan = 3, "dead_man";
        /// The session read too slowly.
        SlowConsumer = 4, "slow_consumer";
        /// The operator, or the exchange is draining.
        Operator = 5, "operator";
    }
}

/// Raise a session's generation, so that requests still queued are refused, and cancel its orders
/// when asked. It overtakes the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionFence {
    /// Which session.
    pub session: SessionId,
    /// The life it ends; another one means that the fence came late and does nothing.
    pub generation: Generation,
    /// Why.
    pub reason: FenceReason,
    /// Also cancel the session's orders, those with [`ExecInst::STAY_ON_DISCONNECT`] excepted
    /// (unless the reason is [`FenceReason::Kill`]).
    pub cancel_orders: bool,
    /// When the gateway decided it.
    pub received: Timestamp,
}

/// List an instrument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListInstrument {
    /// Who asks.
    pub header: ClientHeader,
    /// What.
    pub instrument: Instrument,
}

/// Change an instrument's phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetPhase {
    /// Who asks.
    pub header: ClientHeader,
    /// Which instrument.
    pub instrument: InstrumentId,
    /// To what.
    pub phase: Phase,
    /// Reference price of the uncross.
    pub ref_price: Option<Price>,
}

/// Move the clock to the record's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdvanceTime;

/// Set or extend the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCatalogue {
    /// Who asks.
    pub header: ClientHeader,
    /// The whole new catalogue.
    pub catalogue: Catalogue,
}
