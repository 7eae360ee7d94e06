//! Enumerations of the wire, one byte each.

use tessera_types::{CancelReason, ExpireReason, RejectReason, Side};

use crate::field::code_field;

macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $word:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $doc])+ $variant = $code,)+ }

        impl $name {
            /// Every value, in order of its code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The lower-case word of tools and logs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The code on the wire.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// What the value means, for the reference.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)+ }
            }
        }

        impl TryFrom<u8> for $name {
            type Error = u8;
            fn try_from(code: u8) -> Result<Self, u8> {
                match code { $($code => Ok(Self::$variant),)+ other => Err(other) }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.as_str())
            }
        }

        code_field!($name);
    };
}

codes! {
    /// When a session's orders are canceled by its end.
    CancelOnDisconnect {
        /// Never.
        None = 0, "none";
        /// When the connection is lost.
        Disconnect = 1, "disconnect";
        /// When the client logs out.
        Logout = 2, "logout";
        /// Either way.
        Both = 3, "both";
    }
}

codes! {
    /// What an acknowledgement promises.
    Durability {
        /// What is acknowledged is on disk.
        Synced = 0, "synced";
        /// What is acknowledged is in the page cache: a power cut may lose it.
        Async = 1, "async";
        /// What is acknowledged is on disk, and so is the watermark that says so.
        Strict = 2, "strict";
    }
}

codes! {
    /// Why a session ends, in a Logout of either side.
    LogoutReason {
        /// It was asked for.
        Normal = 0, "normal";
        /// Certificate, key, signature, or names do not belong together; no more is said.
        Auth = 1, "auth";
        /// SendingTime is more than 5 s off the server's clock.
        SendingTime = 2, "sending_time";
        /// HeartBtInt is outside 1 to 60 s.
        HeartBtInt = 3, "heart_bt_int";
        /// The schema minor is not supported; the text names the range.
        Version = 4, "version";
        /// A ClientSeq was skipped.
        SeqGap = 5, "seq_gap";
        /// A ClientSeq came twice.
        SeqLow = 6, "seq_low";
        /// A second Logon on a session that is logged on.
        SecondLogon = 7, "second_logon";
        /// The session is logged on over another connection.
        DuplicateSession = 8, "duplicate_session";
        /// Another connection took the session over.
        Superseded = 9, "superseded";
        /// A message that is not legal in this direction, protocol or state.
        IllegalMessage = 10, "illegal_message";
        /// The client does not read its messages.
        SlowConsumer = 11, "slow_consumer";
        /// The rate limit was exceeded for too long.
        Throttled = 12, "throttled";
        /// Nothing came for 2.4 heartbeat intervals.
        Silent = 13, "silent";
        /// The exchange is stopping.
        Draining = 14, "draining";
        /// A sequence number is near its end; the epoch must roll first.
        SeqExhausted = 15, "seq_exhausted";
        /// The server gave up on this session for a reason of its own; log on again.
        Internal = 16, "internal";
        /// Too many resend requests.
        ResendLimit = 17, "resend_limit";
    }
}

codes! {
    /// SessionRejectReason(373): why a message was refused for its form. FIX's numbers where it has one.
    SessionRejectReason {
        /// A code, a bool or a bit that means nothing.
        ValueOutOfRange = 5, "value_out_of_range";
        /// Text that is not printable ASCII or not zero padded, or a reserved byte that is not zero.
        BadFormat = 6, "bad_format";
        /// A template that this server does not know.
        UnknownTemplate = 11, "unknown_template";
        /// A group's count is above its cap or is not the number of entries.
        GroupCount = 16, "group_count";
        /// The body is shorter than its template.
        BodyTooShort = 100, "body_too_short";
        /// Bytes after the end of the body's last field.
        TrailingBytes = 101, "trailing_bytes";
        /// A resend that is busy, or a range that does not exist.
        ResendRange = 102, "resend_range";
    }
}

codes! {
    /// ExecType(150): what happened to the order.
    ExecType {
        /// It was accepted.
        New = 0, "new";
        /// It traded.
        Trade = 1, "trade";
        /// It was canceled.
        Canceled = 2, "canceled";
        /// Price, total quantity, trigger or client id changed.
        Replaced = 3, "replaced";
        /// It got smaller and kept its place.
        Reduced = 4, "reduced";
        /// It was refused.
        Rejected = 5, "rejected";
        /// Its time ran out.
        Expired = 6, "expired";
        /// Its stop was elected.
        Triggered = 7, "triggered";
    }
}

codes! {
    /// OrdStatus(39): where the order stands after the event.
    OrdStatus {
        /// Live, nothing filled.
        New = 0, "new";
        /// Live, partly filled.
        PartiallyFilled = 1, "partially_filled";
        /// Done: filled.
        Filled = 2, "filled";
        /// Done: canceled.
        Canceled = 3, "canceled";
        /// Done: expired.
        Expired = 4, "expired";
        /// Never lived: refused.
        Rejected = 5, "rejected";
        /// Not known here.
        Unknown = 6, "unknown";
    }
}

codes! {
    /// ExecRestatementReason(378), widened: why an order ended or shrank.
    EndReason {
        /// It did not.
        None = 0, "none";
        /// Its owner asked.
        User = 1, "user";
        /// The rest of an immediate-or-cancel order.
        Ioc = 2, "ioc";
        /// A fill-or-kill order that could not be filled whole.
        Fok = 3, "fok";
        /// The rest of a market order.
        NoLiquidity = 4, "no_liquidity";
        /// Less than its minimum could trade on entry.
        MinQty = 5, "min_qty";
        /// Self-match prevention.
        SelfMatch = 6, "stp";
        /// A replace left nothing open.
        Replaced = 7, "replaced";
        /// A mass cancel.
        MassCancel = 8, "mass_cancel";
        /// A new quote took its place.
        Requote = 9, "requote";
        /// The session's connection was lost.
        Disconnect = 10, "disconnect";
        /// The kill switch.
        Kill = 11, "kill";
        /// The exchange restarted, or the operator.
        System = 12, "system";
        /// Its time came.
        Gtd = 13, "gtd";
        /// The instrument closed.
        Day = 14, "day";
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
        /// The window of the contract began.
        Window = 27, "window";
    }
}

impl From<CancelReason> for EndReason {
    fn from(reason: CancelReason) -> Self {
        match reason {
            CancelReason::User => Self::User,
            CancelReason::Ioc => Self::Ioc,
            CancelReason::Fok => Self::Fok,
            CancelReason::NoLiquidity => Self::NoLiquidity,
            CancelReason::MinQty => Self::MinQty,
            CancelReason::Stp => Self::SelfMatch,
            CancelReason::Replaced => Self::Replaced,
            CancelReason::MassCancel => Self::MassCancel,
            CancelReason::Requote => Self::Requote,
            CancelReason::Disconnect => Self::Disconnect,
            CancelReason::Kill => Self::Kill,
            CancelReason::System => Self::System,
            CancelReason::Inventory => Self::Inventory,
            CancelReason::Attestation => Self::Attestation,
            CancelReason::Lost => Self::Lost,
            CancelReason::RfqEnded => Self::RfqEnded,
            CancelReason::NoMatch => Self::NoMatch,
            CancelReason::NotAwarded => Self::NotAwarded,
            CancelReason::Infeasible => Self::Infeasible,
        }
    }
}

impl From<ExpireReason> for EndReason {
    fn from(reason: ExpireReason) -> Self {
        match reason {
            ExpireReason::Gtd => Self::Gtd,
            ExpireReason::Day => Self::Day,
            ExpireReason::Window => Self::Window,
        }
    }
}

codes! {
    /// LastLiquidityInd(851).
    Liquidity {
        /// No trade.
        None = 0, "none";
        /// The order was resting.
        Added = 1, "added";
        /// The order came in.
        Removed = 2, "removed";
        /// An auction.
        Auction = 4, "auction";
    }
}

codes! {
    /// Side(54) where it may be missing.
    SideCode {
        /// Bids.
        Buy = 0, "buy";
        /// Offers.
        Sell = 1, "sell";
        /// Both in a filter; not said in a report.
        Any = 2, "any";
    }
}

impl From<Side> for SideCode {
    fn from(side: Side) -> Self {
        match side {
            Side::Buy => Self::Buy,
            Side::Sell => Self::Sell,
        }
    }
}

impl SideCode {
    /// The side, when one is said.
    #[must_use]
    pub const fn side(self) -> Option<Side> {
        match self {
            Self::Buy => Some(Side::Buy),
            Self::Sell => Some(Side::Sell),
            Self::Any => None,
        }
    }
}

codes! {
    /// MassActionType(1373).
    MassActionType {
        /// Cancel orders.
        Cancel = 3, "cancel";
    }
}

codes! {
    /// MassActionScope(1374): which orders. FIX's numbers.
    MassActionScope {
        /// Those of one instrument.
        Instrument = 1, "instrument";
        /// All.
        All = 7, "all";
    }
}

codes! {
    /// What a kill switch does.
    KillAction {
        /// Cancel and refuse from now on.
        Engage = 0, "engage";
        /// Accept orders again.
        Release = 1, "release";
    }
}

codes! {
    /// Whom a kill switch hits.
    KillScope {
        /// The session that sends it.
        Session = 0, "session";
    }
}

codes! {
    /// What a server's unidirectional stream is.
    StreamKind {
        /// S2: what the engine said to the session; lives as long as the connection.
        Events = 1, "events";
        /// S3: a retransmission; ends with FIN.
        Replay = 2, "replay";
        /// S4: the answer to one request; ends with FIN.
        Answer = 3, "answer";
        /// A market-data channel; lives as long as the subscription.
        Channel = 4, "channel";
        /// Snapshots of one instrument for one request; ends with FIN.
        Snapshot = 5, "snapshot";
    }
}

codes! {
    /// What is asked of the market data.
    MdRequestKind {
        /// Snapshots now, and the channel from then on.
        Subscribe = 0, "subscribe";
        /// Stop the channel.
        Unsubscribe = 1, "unsubscribe";
        /// Snapshots only, after a gap.
        Snapshot = 2, "snapshot";
    }
}

codes! {
    /// Which instruments a market-data request is about.
    MdScope {
        /// Those listed now and those listed later.
        All = 0, "all";
        /// One.
        Instrument = 1, "instrument";
    }
}

codes! {
    /// How a channel is delivered.
    MdMode {
        /// In order, on a stream.
        Stream = 0, "stream";
        /// In datagrams.
        Datagram = 1, "datagram";
        /// Newest value wins.
        Conflated = 2, "conflated";
    }
}

codes! {
    /// MDReqRejReason(281): why a market-data request was refused. FIX's numbers where it has one.
    MdRejectReason {
        /// No such instrument.
        UnknownInstrument = 0, "unknown_instrument";
        /// A request with this id is being served.
        DuplicateRequest = 1, "duplicate_request";
        /// A mode that this server does not offer.
        UnsupportedMode = 4, "unsupported_mode";
        /// A depth that this server does not offer.
        UnsupportedDepth = 5, "unsupported_depth";
        /// A channel that this server does not offer.
        UnsupportedChannel = 6, "unsupported_channel";
        /// Too many requests at once; ask again when answers have come.
        Busy = 100, "busy";
        /// The subscriber read too slowly and its channel was reset: subscribe again.
        Lagged = 101, "lagged";
    }
}

codes! {
    /// What an L2 update does to its level. Price, quantity and orders are the new values in any case.
    LevelAction {
        /// The level appears or changes.
        Set = 0, "set";
        /// The level is gone.
        Delete = 1, "delete";
    }
}

codes! {
    /// What is listed.
    InstrumentKind {
        /// A plain instrument: the compute fields are zero.
        Plain = 0, "plain";
        /// A compute contract.
        Compute = 1, "compute";
    }
}

codes! {
    /// Application codes of closed connections and reset streams (class A reactions and the end of a
    /// session), as QUIC's error codes.
    CloseCode {
        /// The session ended as agreed; the Logout before it says why.
        Done = 0, "done";
        /// The first stream was not bidirectional or the first frame not a Logon (row 3).
        NoLogon = 1, "no_logon";
        /// No Logon within 5 s (row 4).
        LogonTimeout = 2, "logon_timeout";
        /// A header with reserved or unknown bits (row 12).
        BadHeader = 3, "bad_header";
        /// A body larger than the limit (row 13).
        BodyTooLarge = 4, "body_too_large";
        /// The stream ended inside a frame (row 17).
        Truncated = 5, "truncated";
        /// A frame was not complete within 1 s (row 19).
        SlowFrame = 6, "slow_frame";
        /// More than 10 messages refused for their form within 10 s.
        TooManyRejects = 7, "too_many_rejects";
        /// Nothing came for 2.4 heartbeat intervals.
        Silent = 8, "silent";
        /// The server's events outran it, or it failed; log on again.
        Internal = 9, "internal";
        /// A reset stream: the subscriber read too slowly.
        Lagged = 10, "lagged";
        /// The connection is one too many, or its address is blocked for a while.
        Refused = 11, "refused";
        /// A stream where none is allowed.
        BadStream = 12, "bad_stream";
    }
}

impl CloseCode {
    /// The code with this number, as QUIC gives it.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        u8::try_from(code)
            .ok()
            .and_then(|code| Self::try_from(code).ok())
    }
}

/// OrdRejReason(103) of a reason: FIX's nearest number. The exact one travels beside it.
#[must_use]
pub const fn ord_rej_reason(reason: RejectReason) -> u16 {
    use RejectReason as R;
    match reason {
        R::UnknownInstrument | R::UnknownClass | R::UnknownZone | R::UnknownProfile => 1,
        R::Halted | R::Closed | R::WrongPhase => 2,
        R::TooManyOrders | R::LimitReached => 3,
        R::Expired => 4,
        R::UnknownOrder => 5,
        R::DuplicateId => 6,
        R::PostOnly | R::BadField | R::MissingField | R::Unsupported | R::CrossedQuote => 11,
        R::BadQty => 13,
        R::NotPermitted => 15,
        R::BadPrice => 16,
        _ => 99,
    }
}

/// CxlRejReason(102) of a reason: FIX's nearest number. The exact one travels beside it.
#[must_use]
pub const fn cxl_rej_reason(reason: RejectReason) -> u16 {
    use RejectReason as R;
    match reason {
        R::UnknownOrder => 1,
        R::Halted | R::Closed | R::WrongPhase => 2,
        R::DuplicateId => 6,
        R::BadPrice => 18,
        _ => 99,
    }
}

/// BusinessRejectReason(380) of a reason: FIX's nearest number. The exact one travels beside it.
#[must_use]
pub const fn business_reject_reason(reason: RejectReason) -> u16 {
    use RejectReason as R;
    match reason {
        R::UnknownInstrument => 2,
        R::Unsupported | R::UnknownOp => 3,
        R::Busy => 4,
        R::MissingField => 5,
        R::NotPermitted | R::ReadOnly => 6,
        R::Throttled => 8,
        _ => 0,
    }
}
