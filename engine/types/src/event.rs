//! What the engine answers.

use crate::account_event::AccountEvent;
use crate::contract::{Phase, code_enum};
use crate::contract_event::ContractEvent;
use crate::ids::{
    AccountId, ClOrdId, ConnToken, ExecId, Generation, InstrumentId, OrderId, Seq, ServerSeq,
    SessionId,
};
use crate::reject::{CommandKind, RejectReason};
use crate::units::{Price, Qty, Side, Timestamp};

/// Where the engine writes its events; owned by the caller.
pub trait EventSink {
    /// Takes the next event of the command being applied.
    fn emit(&mut self, event: Event);
}

impl EventSink for Vec<Event> {
    #[inline]
    fn emit(&mut self, event: Event) {
        self.push(event);
    }
}

/// An event with its place in history, as it travels in the event rings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventRecord {
    /// The command that caused it.
    pub seq: Seq,
    /// The command's time.
    pub time: Timestamp,
    /// When the gateway received the command, 0 = not from a gateway.
    pub received: Timestamp,
    /// 0, 1, 2 among the events of the command, those of other rings included.
    pub index: u32,
    /// The last record of its command *in this ring*.
    pub last: bool,
    /// What happened.
    pub event: Event,
}

impl EventRecord {
    /// Name of the execution that this record is.
    #[must_use]
    pub const fn exec_id(&self) -> ExecId {
        ExecId::new((self.seq.get() << 24) | (self.index as u64 & 0xff_ffff))
    }
}

/// The order an event is about, with all a gateway needs to address its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// Whose session is told.
    pub session: SessionId,
    /// The owner.
    pub account: AccountId,
    /// The owner's id of the order.
    pub cl_ord_id: ClOrdId,
    /// The exchange's id of the order.
    pub order_id: OrderId,
    /// Number of this message in the session; 0 in the venue's session.
    pub server_seq: ServerSeq,
}

/// Who asked for a change that everybody is told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requester {
    /// The session that asked.
    pub session: SessionId,
    /// Its request.
    pub cl_ord_id: ClOrdId,
    /// Number of the answer in that session; 0 in the venue's session.
    pub server_seq: ServerSeq,
}

code_enum! {
    /// Which side of a trade was incoming.
    Aggressor {
        /// The buyer.
        Buy = 0, "buy";
        /// The seller.
        Sell = 1, "sell";
        /// Neither: an auction.
        None = 2, "none";
    }
}

code_enum! {
    /// Why an order was canceled.
    CancelReason {
        /// Its owner asked.
        User = 0, "user";
        /// The rest of an immediate-or-cancel order.
        Ioc = 1, "ioc";
        /// A fill-or-kill order that could not be filled whole.
        Fok = 2, "fok";
        /// The rest of a market order.
        NoLiquidity = 3, "no_liquidity";
        /// Less than its minimum could trade on entry.
        MinQty = 4, "min_qty";
        /// Self-match prevention.
        Stp = 5, "stp";
        /// A replace left nothing open.
        Replaced = 6, "replaced";
        /// A mass cancel.
        MassCancel = 7, "mass_cancel";
        /// A new quote took its place.
        Requote = 8, "requote";
        /// The session's connection was lost.
        Disconnect = 9, "disconnect";
        /// The kill switch.
        Kill = 10, "kill";
        /// The exchange restarted, or the operator.
        System = 11, "system";
        /// The pool or lease behind it has fewer units.
        Inventory = 20, "inventory";
        /// The attestation of the pool behind it ran out.
        Attestation = 21, "attestation";
        /// Another quote was taken.
        Lost = 22, "lost";
        /// The request it answered has ended.
        RfqEnded = 23, "rfq_ended";
        /// Nobody quoted.
        NoMatch = 24, "no_match";
        /// No quote was taken.
        NotAwarded = 25, "not_awarded";
        /// There is no such block, or nothing to preempt.
        Infeasible = 26, "infeasible";
    }
}

code_enum! {
    /// Why an order expired.
    ExpireReason {
        /// Its time came.
        Gtd = 0, "gtd";
        /// The instrument closed.
        Day = 1, "day";
        /// The window of the contract began.
        Window = 20, "window";
    }
}

code_enum! {
    /// Why an instrument changed phase.
    PhaseCause {
        /// Somebody asked.
        Request = 0, "request";
        /// A trade beyond the band of [`Instrument::volatility`](crate::Instrument::volatility), or
        /// the end of the auction that it began.
        Volatility = 1, "volatility";
        /// The window of the contract began.
        Window = 8, "window";
        /// The exchange was down: a hold begins or ends.
        Restart = 9, "restart";
    }
}

/// What happened. Every variant is plain data, so that an event is copied and never allocated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// An instrument was listed; its definition is in the command.
    InstrumentListed {
        /// Its number.
        instrument: InstrumentId,
        /// Who asked.
        by: Requester,
    },
    /// The catalogue has a new version.
    CatalogueSet {
        /// Who asked.
        by: Requester,
        /// Which.
        version: u16,
    },
    /// An order was accepted: it rests, trades, or both.
    OrderAccepted {
        /// Whose.
        party: Party,
        /// Where.
        instrument: InstrumentId,
        /// Which side.
        side: Side,
        /// Its limit; 0 without one.
        price: Price,
        /// Its total quantity.
        qty: Qty,
    },
    /// A request was refused and changed nothing.
    Rejected {
        /// Whose session is told.
        session: SessionId,
        /// The account on the request.
        account: AccountId,
        /// Number of this message in the session.
        server_seq: ServerSeq,
        /// The request's client id. For a mass-quote side, that side's id.
        cl_ord_id: ClOrdId,
        /// The client id of the order that the request named; 0 when there was none.
        target: ClOrdId,
        /// What kind of request.
        kind: CommandKind,
        /// Why.
        reason: RejectReason,
        /// The instrument that the request named, when there is one of that number. A request on an
        /// order names none.
        instrument: Option<InstrumentId>,
        /// The side that a new order, a quote's side or a mass cancel named.
        side: Option<Side>,
    },
    /// Two orders traded at the resting order's price.
    Trade {
        /// Where.
        instrument: InstrumentId,
        /// Who came in.
        aggressor: Aggressor,
        /// The maker's side; the taker's is the other one.
        maker_side: Side,
        /// At which price.
        price: Price,
        /// How much.
        qty: Qty,
        /// The resting order; in an auction the earlier one.
        maker: Party,
        /// The incoming order.
        taker: Party,
        /// What the maker still has open.
        maker_leaves: Qty,
        /// What the taker still has open.
        taker_leaves: Qty,
        /// What of the maker has been filled so far.
        maker_cum: Qty,
        /// What of the taker has been filled so far.
        taker_cum: Qty,
    },
    /// An order ended without being filled.
    OrderCanceled {
        /// Whose.
        party: Party,
        /// Where.
        instrument: InstrumentId,
        /// Which side.
        side: Side,
        /// What was open.
        qty: Qty,
        /// What had been filled.
        cum: Qty,
        /// Why.
        reason: CancelReason,
        /// The request that asked for it; 0 when none did.
        request: ClOrdId,
    },
    /// An order got smaller and kept its place.
    OrderReduced {
        /// Whose.
        party: Party,
        /// Where.
        instrument: InstrumentId,
        /// Which side.
        side: Side,
        /// What is open now.
        leaves: Qty,
        /// What has been filled.
        cum: Qty,
        /// Self-match prevention did it.
        self_match: bool,
        /// The pool or lease behind it has fewer units.
        inventory: bool,
        /// The request that asked for it; 0 when none did.
        request: ClOrdId,
    },
    /// An order changed.
    OrderReplaced {
        /// Whose, under its new client id.
        party: Party,
        /// The client id before; equal to the new one when it did not change.
        old_id: ClOrdId,
        /// Where.
        instrument: InstrumentId,
        /// Which side.
        side: Side,
        /// Its limit now; for a waiting stop without a limit its trigger.
        price: Price,
        /// Its total quantity now.
        qty: Qty,
        /// What is open now.
        leaves: Qty,
    },
    /// A stop was elected.
    OrderTriggered {
        /// Whose.
        party: Party,
        /// Where.
        instrument: InstrumentId,
        /// Which side.
        side: Side,
        /// Its trigger price.
        stop: Price,
    },
    /// An order's time ran out.
    OrderExpired {
        /// Whose.
        party: Party,
        /// Where.
        instrument: InstrumentId,
        /// Which side.
        side: Side,
        /// What was open.
        qty: Qty,
        /// What had been filled.
        cum: Qty,
        /// Why.
        reason: ExpireReason,
    },
    /// An auction found its price; its trades follow.
    AuctionCleared {
        /// Where.
        instrument: InstrumentId,
        /// At which price.
        price: Price,
        /// How much trades.
        volume: Qty,
        /// What is left at that price, buyers positive.
        surplus: i64,
    },
    /// An instrument changed phase.
    PhaseChanged {
        /// Who asked; the venue when nobody did.
        by: Requester,
        /// Where.
        instrument: InstrumentId,
        /// To what.
        phase: Phase,
        /// Why.
        cause: PhaseCause,
        /// When the clock ends it, for an auction that it ends.
        until: Option<Timestamp>,
    },
    /// What an auction that collects would do now is not what was last told; behind everything else
    /// of a command but its level events.
    Indicative {
        /// Where.
        instrument: InstrumentId,
        /// At which price it would clear; none when nothing would trade.
        price: Option<Price>,
        /// How much would trade.
        volume: Qty,
        /// What would be left at that price, buyers positive.
        surplus: i64,
    },
    /// A mass cancel is complete; its cancels came before.
    MassCanceled {
        /// Whose session is told.
        session: SessionId,
        /// The account on the request.
        account: AccountId,
        /// Number of this message in the session.
        server_seq: ServerSeq,
        /// The request.
        cl_ord_id: ClOrdId,
        /// How many orders ended.
        count: u32,
    },
    /// A session began or resumed.
    SessionStarted {
        /// Its number.
        session: SessionId,
        /// Its new life.
        generation: Generation,
        /// The gateway's connection.
        conn: ConnToken,
        /// The highest client id that has reached the engine.
        last_cl_ord_id: ClOrdId,
        /// The number of the next message to it.
        next_server_seq: ServerSeq,
    },
    /// A session was cut off; the cancels of its orders came before.
    SessionFenced {
        /// Which session.
        session: SessionId,
        /// The life that begins.
        generation: Generation,
        /// How many orders ended.
        canceled: u32,
    },
    /// Visible quantity or number of orders at a price is not what it was before the command.
    /// These come last in a command, ordered by instrument, side (buy first), price.
    Level {
        /// Where.
        instrument: InstrumentId,
        /// Which side.
        side: Side,
        /// At which price.
        price: Price,
        /// Visible quantity now, 0 when the level is gone.
        qty: Qty,
        /// Orders now, 0 when the level is gone.
        orders: u32,
    },
    /// Something that only contracts know.
    Contract(ContractEvent),
    /// Something about an account, a limit or the risk parameters.
    Account(AccountEvent),
}

const _: () = assert!(size_of::<Event>() == 120);
