//! The messages: one struct for each template of schema minor 0, its fields in order, and how a frame
//! is made of it.
//!
//! # Streams, and how a peer knows which is which
//!
//! The client opens exactly one bidirectional stream, first of all (S0 on `txp-oe/1`, M0 on
//! `txp-md/1`, A0 on `txp-admin/1`), and its first frame there is a [`Logon`]. On `txp-oe/1` it may
//! open one unidirectional stream, S1, for the numbered requests; it exists for the server with its
//! first frame.
//!
//! The server opens unidirectional streams only. **The first frame on each of them is a
//! [`StreamStart`]**, which says what the stream is (events, answer, channel, snapshot), what it
//! belongs to and which number comes next; QUIC shows a stream to the peer only when bytes have been
//! written to it, so the frame also makes the stream visible. On `txp-oe/1` the server opens S2 right
//! after the [`LogonAck`], before any event exists.
//!
//! | stream | who opens | carries |
//! |---|---|---|
//! | S0 | client, bidi | Logon, LogonAck, Logout, Heartbeat, TestRequest, Reject, BusinessReject, KillSwitch, CancelAllAfter, SecurityListRequest |
//! | S1 | client, uni | NewOrderSingle, CancelReplace, Cancel, Reduce, MassAction; header seq = ClientSeq from 1 |
//! | S2 | server, uni | ExecutionReport, CancelReject, MassActionReport; header seq = ServerSeq |
//! | S4 | server, uni, one per SecurityListRequest | SecurityDefinition …, SecurityListEnd, FIN; on every protocol |
//! | M0 | client, bidi | Logon, LogonAck, Logout, Heartbeat, TestRequest, Reject, MDRequest, MDReject, ChannelHeartbeat, SecurityListRequest |
//! | channel | server, uni, one per channel | L2Update, Trade, Status, SecurityDefinition, BookChecksum, EndOfEvent; header seq = the channel's number |
//! | snapshot | server, uni, one per (instrument, request) | Snapshot …, the last with `LAST_IN_BATCH`, FIN |
//! | A0 | client, bidi | Logon, LogonAck, Logout, Heartbeat, TestRequest, Reject, BusinessReject, AdminInstrument, AdminPhase, AdminCommand, AdminReply, SecurityListRequest |
//!
//! A channel's stream carries the whole channel: a subscription to one instrument chooses which
//! snapshots are sent, so that the channel's numbers stay without gaps and a frame is encoded once for
//! all subscribers.

use tessera_types::wire;
use tessera_types::{
    AccountId, Aggressor, ClOrdId, ExecId, InstrumentId, MatchAlgo, OrdType, OrderId, Partition,
    Phase, Price, Qty, RejectReason, SelfMatch, Seq, ServerSeq, Side, TimeInForce, Timestamp,
};
use thiserror::Error;

use crate::codes::{
    CancelOnDisconnect, Durability, EndReason, ExecType, InstrumentKind, KillAction, KillScope,
    LevelAction, Liquidity, LogoutReason, MassActionScope, MassActionType, MdMode, MdRejectReason,
    MdRequestKind, MdScope, OrdStatus, SessionRejectReason, SideCode, StreamKind,
};
use crate::field::{Field, FieldProblem, FieldSpec, Lots, Text};
use crate::header::{Flags, Header, MAX_CLIENT_BODY, MAX_SERVER_BODY, MINOR};

/// A message of the protocol.
pub trait Body: Sized {
    /// Which one.
    const TEMPLATE: Template;
    /// Fewest bytes of its body; all of them, when it has no group.
    const MIN_LEN: usize;
    /// The fields of its fixed part, in order.
    const FIELDS: &'static [FieldSpec];
    /// The group behind the fixed part, whose last field is then the count.
    const GROUP: Option<Group> = None;

    /// Appends the body's bytes.
    fn encode_body(&self, out: &mut Vec<u8>);

    /// Reads a body that a peer with schema minor `minor` sent. Bytes after the last known field are
    /// accepted from a higher minor only.
    ///
    /// # Errors
    /// [`BodyError`], by row of the malformed-input table.
    fn decode_body(body: &[u8], minor: u8) -> Result<Self, BodyError>;

    /// Appends header and body.
    fn encode_frame(&self, seq: u64, flags: Flags, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; Header::LEN]);
        self.encode_body(out);
        let body_len = out.len() - start - Header::LEN;
        debug_assert!(body_len <= Self::TEMPLATE.max_body());
        let header = Header {
            body_len: u16::try_from(body_len).unwrap_or(u16::MAX),
            template: Self::TEMPLATE.number(),
            minor: MINOR,
            flags,
            seq,
        };
        out[start..start + Header::LEN].copy_from_slice(&header.to_bytes());
    }
}

/// A repeating group at the end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Most entries.
    pub max: usize,
    /// The fields of one entry, in order.
    pub fields: &'static [FieldSpec],
}

/// Why a body is refused. The session stays (class B), and the reject names the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BodyError {
    /// A template that this code does not know (row 20).
    #[error("template {0} is not known")]
    UnknownTemplate(u16),
    /// The body ends before its template's last field (row 14).
    #[error("the body has {len} bytes, its template takes {expected}")]
    TooShort {
        /// Bytes that came.
        len: usize,
        /// Fewest that the template takes.
        expected: usize,
    },
    /// Bytes after the last field, from a peer of the same minor (row 15).
    #[error("the body has {len} bytes, its template takes {expected}")]
    Trailing {
        /// Bytes that came.
        len: usize,
        /// Bytes that the template takes.
        expected: usize,
    },
    /// A field's value is refused (rows 22 to 25).
    #[error("field {tag}: {problem}")]
    Field {
        /// Which field.
        tag: u16,
        /// What is wrong with it.
        problem: FieldProblem,
    },
}

impl BodyError {
    /// The reason and the field of the session reject.
    #[must_use]
    pub const fn reject(self) -> (SessionRejectReason, u16) {
        match self {
            Self::UnknownTemplate(_) => (SessionRejectReason::UnknownTemplate, 0),
            Self::TooShort { .. } => (SessionRejectReason::BodyTooShort, 0),
            Self::Trailing { .. } => (SessionRejectReason::TrailingBytes, 0),
            Self::Field { tag, problem } => (
                match problem {
                    FieldProblem::OutOfRange => SessionRejectReason::ValueOutOfRange,
                    FieldProblem::Reserved | FieldProblem::Text => SessionRejectReason::BadFormat,
                    FieldProblem::GroupCount => SessionRejectReason::GroupCount,
                },
                tag,
            ),
        }
    }
}

/// Who may send a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The client only.
    Client,
    /// The server only.
    Server,
    /// Either side.
    Both,
}

/// Fields in a row, fixed in width: a body, the fixed part of one, or an entry of a group.
pub trait Record: Sized {
    /// Bytes.
    const WIDTH: usize;
    /// The fields in order.
    const FIELDS: &'static [FieldSpec];

    /// Appends the bytes.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads a record from exactly [`WIDTH`](Self::WIDTH) bytes.
    ///
    /// # Errors
    /// [`BodyError::Field`] for a value that means nothing, [`BodyError::TooShort`] or
    /// [`BodyError::Trailing`] for another number of bytes.
    fn read(bytes: &[u8]) -> Result<Self, BodyError>;
}

/// Nested pairs in place of a struct: the codec writes them one after the other without anything in
/// between, and the derive of the codec (and with it its crate) stays out of this package.
macro_rules! pairs {
    () => { () };
    ($head:expr $(, $tail:expr)* $(,)?) => { ($head, pairs!($($tail),*)) };
}
macro_rules! pairs_pattern {
    () => { () };
    ($head:ident $(, $tail:ident)* $(,)?) => { ($head, pairs_pattern!($($tail),*)) };
}
macro_rules! pairs_type {
    () => { () };
    ($head:ty $(, $tail:ty)* $(,)?) => { (<$head as Field>::Raw, pairs_type!($($tail),*)) };
}

macro_rules! record {
    ($(#[$meta:meta])* $name:ident {
        $($(#[doc = $doc:literal])+ $field:ident: $ty:ty = $tag:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[doc = $doc])+ pub $field: $ty,)+ }

        impl Record for $name {
            const WIDTH: usize = 0 $(+ <$ty as Field>::WIDTH)+;
            const FIELDS: &'static [FieldSpec] = &[$(FieldSpec {
                name: stringify!($field),
                tag: $tag,
                width: <$ty as Field>::WIDTH,
                kind: <$ty as Field>::KIND,
                doc: concat!($($doc),+),
            },)+];

            #[inline]
            fn write(&self, out: &mut Vec<u8>) {
                let raw = pairs!($(self.$field.to_raw()),+);
                let start = out.len();
                out.resize(start + Self::WIDTH, 0);
                wire::encode_to_slice(&raw, &mut out[start..])
                    .expect("fields are as wide as they say");
            }

            #[inline]
            fn read(bytes: &[u8]) -> Result<Self, BodyError> {
                let (len, expected) = (bytes.len(), Self::WIDTH);
                if len > expected {
                    return Err(BodyError::Trailing { len, expected });
                }
                let pairs_pattern!($($field),+) =
                    wire::decode_exact::<pairs_type!($($ty),+), MAX_CLIENT_BODY>(bytes)
                        .map_err(|_| BodyError::TooShort { len, expected })?;
                Ok(Self {
                    $($field: <$ty as Field>::from_raw($field)
                        .map_err(|problem| BodyError::Field { tag: $tag, problem })?,)+
                })
            }
        }
    };
}

macro_rules! templates {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $msg_type:literal, $sender:ident;)+) => {
        /// Number of a message in the header.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Template { $($(#[doc = $doc])+ $name = $number,)+ }

        impl Template {
            /// Every template of this minor, in order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// FIX's MsgType(35), empty where FIX has none.
            #[must_use]
            pub const fn msg_type(self) -> &'static str {
                match self { $(Self::$name => $msg_type,)+ }
            }

            /// Who may send it.
            #[must_use]
            pub const fn sender(self) -> Sender {
                match self { $(Self::$name => Sender::$sender,)+ }
            }

            /// Its name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// Fewest bytes of its body.
            #[must_use]
            pub const fn min_body(self) -> usize {
                match self { $(Self::$name => <$name as Body>::MIN_LEN,)+ }
            }

            /// The fields of its fixed part, in order.
            #[must_use]
            pub const fn fields(self) -> &'static [FieldSpec] {
                match self { $(Self::$name => <$name as Body>::FIELDS,)+ }
            }

            /// Its group, if it has one.
            #[must_use]
            pub const fn group(self) -> Option<Group> {
                match self { $(Self::$name => <$name as Body>::GROUP,)+ }
            }

            /// What it says, for the reference.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }
        }

        impl TryFrom<u16> for Template {
            type Error = u16;
            fn try_from(number: u16) -> Result<Self, u16> {
                match number { $($number => Ok(Self::$name),)+ other => Err(other) }
            }
        }

        /// Any message.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Message { $($(#[doc = $doc])+ $name($name),)+ }

        impl Message {
            /// Which message it is.
            #[must_use]
            pub const fn template(&self) -> Template {
                match self { $(Self::$name(_) => Template::$name,)+ }
            }

            /// Appends header and body.
            pub fn encode_frame(&self, seq: u64, flags: Flags, out: &mut Vec<u8>) {
                match self { $(Self::$name(body) => body.encode_frame(seq, flags, out),)+ }
            }

            /// Reads the body that follows `header`.
            ///
            /// # Errors
            /// [`BodyError`], by row of the malformed-input table.
            pub fn decode(header: &Header, body: &[u8]) -> Result<Self, BodyError> {
                let template =
                    Template::try_from(header.template).map_err(BodyError::UnknownTemplate)?;
                Ok(match template {
                    $(Template::$name => Self::$name($name::decode_body(body, header.minor)?),)+
                })
            }
        }

        $(impl From<$name> for Message {
            fn from(body: $name) -> Self {
                Self::$name(body)
            }
        })+
    };
}

/// True for a peer whose bodies may have fields that this code does not know.
const fn newer(minor: u8) -> bool {
    minor > MINOR
}

/// Messages without a group: the record is the body.
macro_rules! plain_bodies {
    ($($name:ident),+ $(,)?) => {$(
        impl Body for $name {
            const TEMPLATE: Template = Template::$name;
            const MIN_LEN: usize = <Self as Record>::WIDTH;
            const FIELDS: &'static [FieldSpec] = <Self as Record>::FIELDS;

            #[inline]
            fn encode_body(&self, out: &mut Vec<u8>) {
                self.write(out);
            }

            #[inline]
            fn decode_body(body: &[u8], minor: u8) -> Result<Self, BodyError> {
                let known = if newer(minor) {
                    body.get(..Self::WIDTH).unwrap_or(body)
                } else {
                    body
                };
                Self::read(known)
            }
        }
    )+};
}

templates! {
    /// A client says who it is.
    Logon = 1, "A", Client;
    /// The server accepts it.
    LogonAck = 2, "A", Server;
    /// Either side ends the session.
    Logout = 3, "5", Both;
    /// "I am here", also the answer to a test request.
    Heartbeat = 4, "0", Both;
    /// "Are you there?"
    TestRequest = 5, "1", Both;
    /// A message was refused for its form.
    Reject = 8, "3", Server;
    /// First frame on every stream that the server opens.
    StreamStart = 10, "", Server;
    /// Enter an order.
    NewOrderSingle = 20, "D", Client;
    /// Change an order.
    CancelReplace = 21, "G", Client;
    /// Cancel an order.
    Cancel = 22, "F", Client;
    /// Cancel many orders, in order with the requests around it.
    MassAction = 23, "CA", Client;
    /// Cancel and refuse everything, overtaking the requests under way.
    KillSwitch = 24, "CA", Client;
    /// Dead-man timer.
    CancelAllAfter = 25, "", Client;
    /// Take quantity off an order.
    Reduce = 36, "", Client;
    /// What happened to an order.
    ExecutionReport = 40, "8", Server;
    /// A cancel, replace or reduce was refused by the engine.
    CancelReject = 41, "9", Server;
    /// A request was refused before it reached the engine.
    BusinessReject = 42, "j", Server;
    /// A mass action is complete or refused.
    MassActionReport = 43, "BZ", Server;
    /// Ask for market data.
    MdRequest = 60, "V", Client;
    /// A market-data request was refused.
    MdReject = 61, "Y", Server;
    /// A part of a book as it stands.
    Snapshot = 62, "W", Server;
    /// A price level has new values.
    L2Update = 63, "X", Server;
    /// A trade.
    Trade = 69, "", Server;
    /// An instrument's phase.
    Status = 70, "f", Server;
    /// Checksum of a book's top.
    BookChecksum = 75, "", Server;
    /// A channel's next number, so that silence and a lost tail can be told apart.
    ChannelHeartbeat = 76, "", Server;
    /// Everything that one command did to the channel has been said.
    EndOfEvent = 77, "", Server;
    /// An instrument.
    SecurityDefinition = 80, "d", Server;
    /// Ask for the definitions of all instruments.
    SecurityListRequest = 81, "x", Client;
    /// The definitions are complete.
    SecurityListEnd = 84, "y", Server;
    /// List an instrument.
    AdminInstrument = 100, "", Client;
    /// Change an instrument's phase.
    AdminPhase = 101, "", Client;
    /// An admin command is durable, or refused.
    AdminReply = 102, "", Server;
    /// Ask something about accounts, limits or risk parameters.
    AdminCommand = 103, "", Client;
}

impl Template {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Most bytes of its body.
    #[must_use]
    pub const fn max_body(self) -> usize {
        match self.sender() {
            Sender::Client => MAX_CLIENT_BODY,
            Sender::Server | Sender::Both => MAX_SERVER_BODY,
        }
    }
}

plain_bodies!(
    Logon,
    LogonAck,
    Logout,
    Heartbeat,
    TestRequest,
    Reject,
    StreamStart,
    NewOrderSingle,
    CancelReplace,
    Cancel,
    MassAction,
    KillSwitch,
    CancelAllAfter,
    Reduce,
    ExecutionReport,
    CancelReject,
    BusinessReject,
    MassActionReport,
    MdRequest,
    MdReject,
    L2Update,
    Trade,
    Status,
    BookChecksum,
    ChannelHeartbeat,
    EndOfEvent,
    SecurityDefinition,
    SecurityListRequest,
    SecurityListEnd,
    AdminInstrument,
    AdminPhase,
    AdminReply,
);

record! {
    /// First frame of every connection, on its control stream.
    Logon {
        /// SenderCompID: the session's name.
        sender: Text<16> = 49,
        /// TargetCompID: the venue's name, `TESSERA`.
        target: Text<16> = 56,
        /// Heartbeat interval in units of 100 ms, 10 to 600.
        heart_bt_int: u16 = 108,
        /// Life of the session that the client knows; 0 = none yet.
        epoch: u64 = 20101,
        /// ServerSeq that the client expects next; 0 = whatever comes.
        next_server_seq: ServerSeq = 789,
        /// Highest schema minor that the client speaks.
        schema_minor: u8 = 20102,
        /// When the end of the session cancels its orders.
        cancel_on_disconnect: CancelOnDisconnect = 20103,
        /// Milliseconds before that happens, 0 to 5,000.
        cancel_grace: u16 = 20104,
        /// Name of the signing key.
        username: Text<16> = 553,
        /// When the client signed, ns since 1970 UTC.
        sending_time: Timestamp = 52,
        /// Ed25519 signature over [`logon_signing_bytes`](crate::auth::logon_signing_bytes).
        signature: [u8; 64] = 96,
        /// End the session's other connection instead of being refused.
        take_over: bool = 20105,
    }
}

record! {
    /// The server accepts a Logon.
    LogonAck {
        /// Life of the session.
        epoch: u64 = 20101,
        /// Highest client id that has reached the engine, durable; continue above it.
        last_cl_ord_id: ClOrdId = 20106,
        /// ServerSeq of the next message on S2.
        next_server_seq: ServerSeq = 789,
        /// Granted heartbeat interval in units of 100 ms.
        heart_bt_int: u16 = 108,
        /// Schema minor that both sides use from now on.
        schema_minor: u8 = 20102,
        /// What an acknowledgement promises.
        durability: Durability = 20107,
        /// Requests per second in the long run; 0 = not limited.
        rate: u32 = 20108,
        /// Requests at once; 0 = not limited.
        burst: u32 = 20109,
        /// Cancels per second in the long run; 0 = not limited.
        cancel_rate: u32 = 20110,
        /// Cancels at once; 0 = not limited.
        cancel_burst: u32 = 20111,
        /// The server's clock, ns since 1970 UTC.
        sending_time: Timestamp = 52,
    }
}

record! {
    /// Ends the session; the connection is closed after it.
    Logout {
        /// Why.
        reason: LogoutReason = 20112,
        /// Zero.
        reserved: crate::field::Reserved<1> = 20100,
        /// From a client: its last ClientSeq, which the server serves before it closes. From the
        /// server: the last one that it has read.
        last_client_seq: u64 = 20113,
        /// For people.
        text: Text<64> = 58,
    }
}

record! {
    /// Sent after an interval without other traffic, and as the answer to a test request.
    Heartbeat {
        /// TestReqID of the request that it answers, else 0.
        test_req_id: u64 = 112,
        /// From the server: ServerSeq of the next message on S2. From a client: 0.
        next_server_seq: ServerSeq = 789,
    }
}

record! {
    /// Asks for a heartbeat with the same id.
    TestRequest {
        /// Any number but 0.
        test_req_id: u64 = 112,
        /// From the server: ServerSeq of the next message on S2. From a client: 0.
        next_server_seq: ServerSeq = 789,
    }
}

record! {
    /// A message was refused for its form; the session goes on.
    Reject {
        /// Header seq of the refused frame.
        ref_seq: u64 = 45,
        /// The field at fault, 0 = the whole message.
        ref_tag: u16 = 371,
        /// Template of the refused frame.
        ref_template: u16 = 372,
        /// Why.
        reason: SessionRejectReason = 373,
    }
}

record! {
    /// Says what a stream of the server is.
    StreamStart {
        /// What it is.
        kind: StreamKind = 20114,
        /// Channel number, for a channel, else 0.
        channel: u16 = 20115,
        /// Instrument, for a snapshot, else 0.
        instrument: InstrumentId = 48,
        /// The request that it answers: MDReqID or list request id; 0 = none.
        request_id: u64 = 262,
        /// Life of the numbers on this stream.
        epoch: u64 = 20101,
        /// Header seq of the next numbered frame on this stream, 0 = frames are not numbered.
        next_seq: u64 = 20116,
    }
}

record! {
    /// Enter an order. Fields that its type does not use are zero.
    NewOrderSingle {
        /// The request's id and the order's client id, above all before it in the session.
        cl_ord_id: ClOrdId = 11,
        /// The owner.
        account: AccountId = 1,
        /// SecurityID.
        instrument: InstrumentId = 48,
        /// Side.
        side: Side = 54,
        /// How it is priced and shown.
        ord_type: OrdType = 40,
        /// How long it stays.
        time_in_force: TimeInForce = 59,
        /// Limit in ticks; 0 for types without one.
        price: Price = 44,
        /// Total quantity in lots.
        order_qty: Lots = 38,
        /// Least quantity in lots that must trade on entry; 0 = none.
        min_qty: Lots = 110,
        /// Visible slice in lots, iceberg only.
        display_qty: Lots = 1138,
        /// Trigger price in ticks of a stop; distance in ticks of a trailing stop.
        stop_px: i64 = 99,
        /// When a GTD order ends, ns since 1970 UTC.
        expire_time: Timestamp = 126,
        /// Instructions.
        exec_inst: ExecInstBits = 18,
        /// Self-match group; 0 = the account.
        smp_id: u32 = 2362,
        /// Self-match mode while this order is the incoming one.
        smp_mode: SelfMatch = 2964,
        /// Market-maker protection group, 0 = none.
        mmp_group: u8 = 20117,
        /// TransactTime: when the client decided, ns since 1970 UTC; not read by the exchange.
        transact_time: Timestamp = 60,
    }
}

/// ExecInst(18) as it travels.
///
/// | bit | meaning |
/// |---:|---|
/// | 0 | post-only |
/// | 1 | reduce-only |
/// | 2 | stay when the connection is lost: cancel on disconnect leaves this order alone |
/// | 3 | cancel when the exchange restarts |
/// | 4 | all or none |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExecInstBits(u16);

impl ExecInstBits {
    /// No instruction.
    pub const NONE: Self = Self(0);
    /// Reject instead of trading on entry.
    pub const POST_ONLY: Self = Self(1);
    /// Only lower a position.
    pub const REDUCE_ONLY: Self = Self(1 << 1);
    /// Cancel on disconnect leaves this order alone.
    pub const STAY_ON_DISCONNECT: Self = Self(1 << 2);
    /// Cancel when the exchange restarts.
    pub const CANCEL_ON_SYSTEM_FAILURE: Self = Self(1 << 3);
    /// All or none.
    pub const ALL_OR_NONE: Self = Self(1 << 4);

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

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }
}

impl Field for ExecInstBits {
    type Raw = u16;
    const WIDTH: usize = 2;
    const KIND: &'static str = "bits16";
    fn to_raw(&self) -> u16 {
        self.0
    }
    fn from_raw(raw: u16) -> Result<Self, FieldProblem> {
        if raw & !0b1_1111 == 0 {
            Ok(Self(raw))
        } else {
            Err(FieldProblem::OutOfRange)
        }
    }
}

record! {
    /// Change an order. The request's own id becomes the order's client id, as FIX chains them.
    CancelReplace {
        /// The request's id, and the order's client id from then on.
        cl_ord_id: ClOrdId = 11,
        /// The owner; 0 = not said.
        account: AccountId = 1,
        /// OrigClOrdID: the order's client id, when order_id is 0.
        orig_cl_ord_id: ClOrdId = 41,
        /// The exchange's id; 0 = by client id.
        order_id: OrderId = 37,
        /// New limit in ticks, when bit 0 of `changes` is set.
        price: Price = 44,
        /// New total in lots, what has been filled included, when bit 1 is set.
        order_qty: Lots = 38,
        /// Least quantity; 0, changing it is not supported.
        min_qty: Lots = 110,
        /// New trigger price in ticks, when bit 2 is set.
        stop_px: Price = 99,
        /// New expiry; 0, changing it is not supported.
        expire_time: Timestamp = 126,
        /// New instructions; 0, changing them is not supported.
        exec_inst: ExecInstBits = 18,
        /// Which fields change.
        changes: Changes = 20118,
        /// After a failure the order stays as it was; 0 is the only value.
        on_failure: crate::field::Reserved<1> = 20119,
        /// The total counts what has been filled, so an order is never overfilled; 0 is the only value.
        in_flight: crate::field::Reserved<1> = 20120,
    }
}

/// SecurityID of messages that are about no instrument, or about one that is not said.
pub const NO_INSTRUMENT: InstrumentId = InstrumentId::new(u32::MAX);

/// Which fields a CancelReplace changes, as bits: 0 price, 1 quantity, 2 trigger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Changes(u8);

impl Changes {
    /// None.
    pub const NONE: Self = Self(0);
    /// The limit.
    pub const PRICE: Self = Self(1);
    /// The total quantity.
    pub const QTY: Self = Self(1 << 1);
    /// The trigger.
    pub const STOP: Self = Self(1 << 2);

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

impl Field for Changes {
    type Raw = u8;
    const WIDTH: usize = 1;
    const KIND: &'static str = "bits8";
    fn to_raw(&self) -> u8 {
        self.0
    }
    fn from_raw(raw: u8) -> Result<Self, FieldProblem> {
        if raw & !0b111 == 0 {
            Ok(Self(raw))
        } else {
            Err(FieldProblem::OutOfRange)
        }
    }
}

record! {
    /// Cancel one order.
    Cancel {
        /// The request's id.
        cl_ord_id: ClOrdId = 11,
        /// The owner; 0 = not said.
        account: AccountId = 1,
        /// OrigClOrdID: the order's client id, when order_id is 0.
        orig_cl_ord_id: ClOrdId = 41,
        /// The exchange's id; 0 = by client id.
        order_id: OrderId = 37,
    }
}

record! {
    /// Take quantity off an order; at or above the open quantity it cancels.
    Reduce {
        /// The request's id.
        cl_ord_id: ClOrdId = 11,
        /// The owner; 0 = not said.
        account: AccountId = 1,
        /// OrigClOrdID: the order's client id, when order_id is 0.
        orig_cl_ord_id: ClOrdId = 41,
        /// The exchange's id; 0 = by client id.
        order_id: OrderId = 37,
        /// How much to take off, in lots.
        by: Lots = 20121,
    }
}

record! {
    /// Cancel the session's orders that pass the filters.
    MassAction {
        /// The request's id.
        cl_ord_id: ClOrdId = 11,
        /// Only orders of this account; 0 = all.
        account: AccountId = 1,
        /// What to do.
        action: MassActionType = 1373,
        /// Which orders.
        scope: MassActionScope = 1374,
        /// SecurityID, for scope `instrument`, else 0.
        instrument: InstrumentId = 48,
        /// Product; 0, not supported.
        product: u16 = 20122,
        /// Only this side.
        side: SideCode = 54,
        /// Market-maker protection group; 0, not supported.
        mmp_group: u8 = 20117,
    }
}

record! {
    /// Ends the session's generation: requests under way are refused, orders are canceled.
    KillSwitch {
        /// Engage or release.
        action: KillAction = 20123,
        /// Whom it hits.
        scope: KillScope = 20124,
    }
}

record! {
    /// Dead-man timer: cancel everything unless repeated in time.
    CancelAllAfter {
        /// When, ns since 1970 UTC; 0 = disarm.
        deadline: Timestamp = 20125,
        /// Stops too.
        include_stops: bool = 20126,
    }
}

record! {
    /// What happened to an order. Which fields say something: see the table of ExecTypes.
    ExecutionReport {
        /// Names this execution, for ever.
        exec_id: ExecId = 17,
        /// The request's id where one asked for this, else the order's client id.
        cl_ord_id: ClOrdId = 11,
        /// The order's client id before this, where a request asked; else 0.
        orig_cl_ord_id: ClOrdId = 41,
        /// The exchange's id; 0 for a rejected order.
        order_id: OrderId = 37,
        /// The owner.
        account: AccountId = 1,
        /// SecurityID; 4,294,967,295 = not said, for an order refused before it named a known instrument.
        instrument: InstrumentId = 48,
        /// Side; `any` = not said, for a quote refused whole.
        side: SideCode = 54,
        /// What happened.
        exec_type: ExecType = 150,
        /// Where the order stands now.
        ord_status: OrdStatus = 39,
        /// Limit in ticks, for ExecTypes new and replaced; the trigger for triggered; else 0.
        price: Price = 44,
        /// Price of the trade in ticks.
        last_px: Price = 31,
        /// Size of the trade in lots.
        last_qty: Lots = 32,
        /// Open quantity in lots after this; 0 for an order that ended.
        leaves_qty: Lots = 151,
        /// Filled so far in lots.
        cum_qty: Lots = 14,
        /// Same on both sides of a trade and on the feed.
        match_id: u64 = 880,
        /// Maker or taker.
        liquidity: Liquidity = 851,
        /// OrdRejReason: FIX's nearest number.
        ord_rej_reason: u16 = 103,
        /// Why it ended or shrank.
        end_reason: EndReason = 378,
        /// Fee in micro-USD, negative = rebate; 0 until fees exist.
        fee: i64 = 20127,
        /// The command's time, ns since 1970 UTC.
        transact_time: Timestamp = 60,
        /// The command's place in the journal.
        engine_seq: Seq = 20128,
        /// The exact reason of a rejection, 0 = none.
        reason: Option<RejectReason> = 20129,
    }
}

record! {
    /// A cancel, replace or reduce was refused by the engine; the order stays as it was.
    CancelReject {
        /// The request's id.
        cl_ord_id: ClOrdId = 11,
        /// The client id that the request named, 0 = none.
        orig_cl_ord_id: ClOrdId = 41,
        /// The exchange's id that the request named, 0 = none or not known here.
        order_id: OrderId = 37,
        /// CxlRejReason: FIX's nearest number.
        cxl_rej_reason: u16 = 102,
        /// Where the order stands.
        ord_status: OrdStatus = 39,
        /// The account on the request.
        account: AccountId = 1,
        /// The command's place in the journal.
        engine_seq: Seq = 20128,
        /// The exact reason.
        reason: Option<RejectReason> = 20129,
    }
}

record! {
    /// A request was refused before it reached the engine. It did not use up its client id.
    BusinessReject {
        /// ClientSeq of the request.
        ref_seq: u64 = 45,
        /// Its template.
        ref_template: u16 = 372,
        /// BusinessRejectReason: FIX's nearest number.
        business_reject_reason: u16 = 380,
        /// The request's id, 0 = it had none.
        cl_ord_id: ClOrdId = 379,
        /// The exact reason.
        reason: Option<RejectReason> = 20129,
        /// Nanoseconds after which the rate limit has room again; 0 = does not apply.
        retry_after: u64 = 20130,
    }
}

record! {
    /// A mass action is complete; the reports of its cancels came before. Or it was refused.
    MassActionReport {
        /// MassActionReportID: the command's place in the journal.
        report_id: Seq = 1369,
        /// The request's id.
        cl_ord_id: ClOrdId = 11,
        /// The account on the request.
        account: AccountId = 1,
        /// What was asked.
        action: MassActionType = 1373,
        /// How many orders ended.
        affected: u32 = 533,
        /// Why it was refused, 0 = it was not.
        reason: Option<RejectReason> = 20129,
    }
}

record! {
    /// Ask for market data.
    MdRequest {
        /// Names the request on this connection, not 0.
        request_id: u64 = 262,
        /// What is asked.
        kind: MdRequestKind = 263,
        /// Which instruments get a snapshot.
        scope: MdScope = 20131,
        /// SecurityID, for scope `instrument`, else 0.
        instrument: InstrumentId = 48,
        /// Channel number; 0 is the first and holds every instrument.
        channel: u16 = 20115,
        /// Levels per side of a snapshot; 0 = all.
        depth: u8 = 264,
        /// How the channel is delivered.
        mode: MdMode = 265,
    }
}

record! {
    /// A market-data request was refused, or a subscription ended.
    MdReject {
        /// The request.
        request_id: u64 = 262,
        /// Why.
        reason: MdRejectReason = 281,
    }
}

record! {
    /// The fixed part of a snapshot.
    SnapshotHead {
        /// SecurityID.
        instrument: InstrumentId = 48,
        /// Channel number up to which the levels include everything.
        last_seq: u64 = 369,
        /// The instrument's own count of updates up to then.
        rpt_seq: u32 = 83,
        /// The instrument's phase then.
        phase: Phase = 20132,
        /// The command that the levels are the result of, its place in the journal.
        engine_seq: Seq = 20128,
        /// That command's time, ns since 1970 UTC.
        transact_time: Timestamp = 60,
        /// Price of the last trade in ticks.
        last_px: Price = 31,
        /// Size of the last trade in lots; 0 = none yet.
        last_qty: Qty = 32,
        /// Time of the last trade, ns since 1970 UTC.
        last_time: Timestamp = 779,
        /// How many entries follow.
        count: u8 = 268,
    }
}

record! {
    /// A price level, as an entry of a snapshot.
    LevelEntry {
        /// Side.
        side: Side = 54,
        /// Price in ticks.
        price: Price = 44,
        /// Visible quantity in lots.
        qty: Qty = 271,
        /// Number of orders.
        orders: u32 = 346,
    }
}

/// A book as it stands: all frames of one snapshot stream together. Levels come best first, bids
/// before asks; a book without orders is one frame without entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// SecurityID.
    pub instrument: InstrumentId,
    /// Channel number up to which the levels include everything.
    pub last_seq: u64,
    /// The instrument's own count of updates up to then.
    pub rpt_seq: u32,
    /// The instrument's phase then.
    pub phase: Phase,
    /// The command that the levels are the result of.
    pub engine_seq: Seq,
    /// That command's time.
    pub transact_time: Timestamp,
    /// Price of the last trade.
    pub last_px: Price,
    /// Size of the last trade; 0 = none yet.
    pub last_qty: Qty,
    /// Time of the last trade.
    pub last_time: Timestamp,
    /// The levels of this frame, at most [`MAX_ENTRIES`](Self::MAX_ENTRIES).
    pub entries: Vec<LevelEntry>,
}

impl Snapshot {
    /// Most entries of one frame.
    pub const MAX_ENTRIES: usize = 200;
}

impl Body for Snapshot {
    const TEMPLATE: Template = Template::Snapshot;
    const MIN_LEN: usize = SnapshotHead::WIDTH;
    const FIELDS: &'static [FieldSpec] = SnapshotHead::FIELDS;
    const GROUP: Option<Group> = Some(Group {
        max: Self::MAX_ENTRIES,
        fields: LevelEntry::FIELDS,
    });

    fn encode_body(&self, out: &mut Vec<u8>) {
        debug_assert!(self.entries.len() <= Self::MAX_ENTRIES);
        let entries = &self.entries[..self.entries.len().min(Self::MAX_ENTRIES)];
        SnapshotHead {
            instrument: self.instrument,
            last_seq: self.last_seq,
            rpt_seq: self.rpt_seq,
            phase: self.phase,
            engine_seq: self.engine_seq,
            transact_time: self.transact_time,
            last_px: self.last_px,
            last_qty: self.last_qty,
            last_time: self.last_time,
            count: u8::try_from(entries.len()).expect("at most MAX_ENTRIES"),
        }
        .write(out);
        for entry in entries {
            entry.write(out);
        }
    }

    fn decode_body(body: &[u8], minor: u8) -> Result<Self, BodyError> {
        let Some((head, rest)) = body.split_at_checked(SnapshotHead::WIDTH) else {
            return Err(BodyError::TooShort {
                len: body.len(),
                expected: SnapshotHead::WIDTH,
            });
        };
        let head = SnapshotHead::read(head)?;
        let count = usize::from(head.count);
        let bytes = count * LevelEntry::WIDTH;
        let group = BodyError::Field {
            tag: 268,
            problem: FieldProblem::GroupCount,
        };
        if count > Self::MAX_ENTRIES || rest.len() < bytes || (rest.len() > bytes && !newer(minor))
        {
            return Err(group);
        }
        let entries = rest[..bytes]
            .chunks_exact(LevelEntry::WIDTH)
            .map(LevelEntry::read)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            instrument: head.instrument,
            last_seq: head.last_seq,
            rpt_seq: head.rpt_seq,
            phase: head.phase,
            engine_seq: head.engine_seq,
            transact_time: head.transact_time,
            last_px: head.last_px,
            last_qty: head.last_qty,
            last_time: head.last_time,
            entries,
        })
    }
}

record! {
    /// A price level has new values.
    L2Update {
        /// SecurityID.
        instrument: InstrumentId = 48,
        /// The instrument's own count of updates, modulo 2^32.
        rpt_seq: u32 = 83,
        /// Side.
        side: Side = 54,
        /// Set or delete.
        action: LevelAction = 279,
        /// Price in ticks.
        price: Price = 44,
        /// Visible quantity in lots, now.
        qty: Qty = 271,
        /// Number of orders, now.
        orders: u32 = 346,
        /// The last message of its command on this instrument.
        last_fragment: bool = 893,
    }
}

record! {
    /// A trade.
    Trade {
        /// SecurityID.
        instrument: InstrumentId = 48,
        /// The instrument's own count of updates, modulo 2^32.
        rpt_seq: u32 = 83,
        /// Which side came in.
        aggressor: Aggressor = 2446,
        /// Price in ticks.
        price: Price = 31,
        /// Size in lots.
        qty: Qty = 32,
        /// Same as on the execution reports of both sides.
        match_id: u64 = 880,
        /// The command's time, ns since 1970 UTC.
        transact_time: Timestamp = 60,
        /// The last message of its command on this instrument.
        last_fragment: bool = 893,
    }
}

record! {
    /// An instrument's phase.
    Status {
        /// SecurityID.
        instrument: InstrumentId = 48,
        /// The instrument's own count of updates, modulo 2^32.
        rpt_seq: u32 = 83,
        /// The phase now.
        phase: Phase = 20132,
        /// The command's time, ns since 1970 UTC.
        transact_time: Timestamp = 60,
        /// The last message of its command on this instrument.
        last_fragment: bool = 893,
    }
}

record! {
    /// CRC32C over the ten best levels of both sides, as the mirror computes it.
    BookChecksum {
        /// SecurityID.
        instrument: InstrumentId = 48,
        /// The instrument's own count of updates, modulo 2^32.
        rpt_seq: u32 = 83,
        /// The checksum.
        checksum: u32 = 10,
    }
}

record! {
    /// A channel's next number.
    ChannelHeartbeat {
        /// Which channel.
        channel: u16 = 20115,
        /// Life of its numbers.
        epoch: u64 = 20101,
        /// Number of the next message on it.
        next_seq: u64 = 20116,
    }
}

record! {
    /// Everything that one command did to the channel has been said.
    EndOfEvent {
        /// The command's place in the journal.
        engine_seq: Seq = 20128,
        /// The command's time, ns since 1970 UTC.
        transact_time: Timestamp = 60,
    }
}

record! {
    /// An instrument and its compute coordinate.
    SecurityDefinition {
        /// SecurityID.
        instrument: InstrumentId = 48,
        /// Its name.
        symbol: Text<64> = 55,
        /// Plain or compute; the fields that only a compute contract has are 0 for a plain one.
        kind: InstrumentKind = 20133,
        /// GPU class, a number of the catalogue.
        class: u16 = 20001,
        /// What of a device one lot is.
        partition: Partition = 20002,
        /// Partition profile, a number of the catalogue; 0 = a whole device.
        profile: u8 = 20134,
        /// 0 best effort, 1 reclaimable, 2 standard, 3 firm, 4 firm with damages.
        tier: u8 = 20003,
        /// Energy zone, a number of the catalogue.
        zone: u16 = 20004,
        /// Start of delivery, ns since 1970 UTC.
        delivery_start: Timestamp = 20005,
        /// End of delivery, ns since 1970 UTC.
        delivery_end: Timestamp = 20006,
        /// Attestation required: 0 none, 1 confidential mode.
        attestation: u8 = 20007,
        /// Price step in ticks.
        tick: i64 = 969,
        /// Quantity step in lots.
        lot: u64 = 561,
        /// GPU-seconds of one lot over the window; 0 for a plain instrument.
        lot_gpu_seconds: u32 = 20135,
        /// Lowest limit price in ticks.
        min_price: Price = 1148,
        /// Highest limit price in ticks.
        max_price: Price = 1149,
        /// Smallest order in lots.
        min_qty: Qty = 562,
        /// Largest order in lots.
        max_qty: Qty = 1140,
        /// Micro-USD per unit-hour of one tick; 0 for a plain instrument.
        tick_micro_usd: u32 = 20136,
        /// 1/10,000 of a whole device per lot; 0 for a plain instrument.
        weight: u32 = 20137,
        /// Its phase when this was sent.
        phase: Phase = 20132,
    }
}

record! {
    /// Ask for the definitions of all instruments.
    SecurityListRequest {
        /// Names the request on this connection, not 0.
        request_id: u64 = 320,
    }
}

record! {
    /// The definitions are complete.
    SecurityListEnd {
        /// The request.
        request_id: u64 = 320,
        /// How many were sent.
        count: u32 = 393,
    }
}

record! {
    /// List an instrument. Every number counts as it stands: there are no defaults on the wire.
    AdminInstrument {
        /// The request's id, above all before it in the session.
        cl_ord_id: ClOrdId = 11,
        /// Its name.
        symbol: Text<64> = 55,
        /// Plain or compute.
        kind: InstrumentKind = 20133,
        /// GPU class, a number of the catalogue.
        class: u16 = 20001,
        /// What of a device one lot is.
        partition: Partition = 20002,
        /// Partition profile, a number of the catalogue; 0 = a whole device.
        profile: u8 = 20134,
        /// 0 best effort, 1 reclaimable, 2 standard, 3 firm, 4 firm with damages.
        tier: u8 = 20003,
        /// Energy zone, a number of the catalogue.
        zone: u16 = 20004,
        /// Start of delivery, hours since 1970 UTC.
        start_hour: u32 = 20005,
        /// Length of the window in hours, 1 to 8,784.
        hours: u16 = 20006,
        /// 1/10,000 of a whole device per lot.
        weight: u32 = 20137,
        /// Price step in ticks.
        tick: i64 = 969,
        /// Quantity step in lots.
        lot: u64 = 561,
        /// Lowest limit price in ticks.
        min_price: Price = 1148,
        /// Highest limit price in ticks.
        max_price: Price = 1149,
        /// Smallest order in lots.
        min_qty: Qty = 562,
        /// Largest order in lots.
        max_qty: Qty = 1140,
        /// Micro-USD per unit-hour of one tick, a multiple of 60; 0 for a plain instrument.
        tick_micro_usd: u32 = 20136,
        /// The reference price counts.
        has_ref_price: bool = 20138,
        /// Reference of auctions in ticks.
        ref_price: Price = 20139,
        /// The protection counts.
        has_protect: bool = 20140,
        /// Market orders get the limit "best opposite price plus or minus this many ticks".
        protect: u64 = 20141,
        /// Sharing inside one price level.
        algo: MatchAlgo = 1142,
        /// Pro-rata shares below this go first in, first out.
        min_alloc: u64 = 20142,
        /// Least open quantity for the top-order share.
        top_min: u64 = 20143,
        /// Most that the top order gets first.
        top_max: u64 = 20144,
        /// Percent shared first in, first out, 0 to 100.
        fifo_pct: u8 = 20145,
    }
}

record! {
    /// Change an instrument's phase.
    AdminPhase {
        /// The request's id, above all before it in the session.
        cl_ord_id: ClOrdId = 11,
        /// SecurityID.
        instrument: InstrumentId = 48,
        /// The new phase.
        phase: Phase = 20132,
        /// The reference price counts.
        has_ref_price: bool = 20138,
        /// Reference of the uncross in ticks.
        ref_price: Price = 20139,
    }
}

record! {
    /// The fixed part of an admin command.
    AdminCommandHead {
        /// The request's id, above all before it in the session.
        cl_ord_id: ClOrdId = 11,
        /// The journal's record type, 80 to 111.
        record_type: u8 = 20160,
        /// Bytes of the payload that count; the rest of its last entry is zero.
        payload_len: u16 = 20161,
        /// How many entries follow.
        count: u8 = 20162,
    }
}

record! {
    /// Eight bytes of a payload, as an entry of an admin command.
    PayloadPart {
        /// The bytes.
        bytes: [u8; 8] = 20163,
    }
}

/// Asks something about accounts, limits or risk parameters, in the bytes in which the journal keeps
/// it; who asks is taken from the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminCommand {
    /// The request's id, above all before it in the session.
    pub cl_ord_id: ClOrdId,
    /// The journal's record type.
    pub record_type: u8,
    /// Bytes of the payload that count.
    pub payload_len: u16,
    /// The payload, padded with zeros, at most [`MAX_PARTS`](Self::MAX_PARTS).
    pub parts: Vec<PayloadPart>,
}

impl AdminCommand {
    /// Most entries.
    pub const MAX_PARTS: usize = 120;
}

impl Body for AdminCommand {
    const TEMPLATE: Template = Template::AdminCommand;
    const MIN_LEN: usize = AdminCommandHead::WIDTH;
    const FIELDS: &'static [FieldSpec] = AdminCommandHead::FIELDS;
    const GROUP: Option<Group> = Some(Group {
        max: Self::MAX_PARTS,
        fields: PayloadPart::FIELDS,
    });

    fn encode_body(&self, out: &mut Vec<u8>) {
        debug_assert!(self.parts.len() <= Self::MAX_PARTS);
        let parts = &self.parts[..self.parts.len().min(Self::MAX_PARTS)];
        AdminCommandHead {
            cl_ord_id: self.cl_ord_id,
            record_type: self.record_type,
            payload_len: self.payload_len,
            count: u8::try_from(parts.len()).expect("at most MAX_PARTS"),
        }
        .write(out);
        for part in parts {
            part.write(out);
        }
    }

    fn decode_body(body: &[u8], minor: u8) -> Result<Self, BodyError> {
        let Some((head, rest)) = body.split_at_checked(AdminCommandHead::WIDTH) else {
            return Err(BodyError::TooShort {
                len: body.len(),
                expected: AdminCommandHead::WIDTH,
            });
        };
        let head = AdminCommandHead::read(head)?;
        let count = usize::from(head.count);
        let bytes = count * PayloadPart::WIDTH;
        if count > Self::MAX_PARTS || rest.len() < bytes || (rest.len() > bytes && !newer(minor)) {
            return Err(BodyError::Field {
                tag: 20162,
                problem: FieldProblem::GroupCount,
            });
        }
        let parts = rest[..bytes]
            .chunks_exact(PayloadPart::WIDTH)
            .map(PayloadPart::read)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            cl_ord_id: head.cl_ord_id,
            record_type: head.record_type,
            payload_len: head.payload_len,
            parts,
        })
    }
}

record! {
    /// An admin command is durable, or refused.
    AdminReply {
        /// The request.
        cl_ord_id: ClOrdId = 11,
        /// Why it was refused, 0 = it was not.
        reason: Option<RejectReason> = 20129,
        /// The instrument that was listed or changed.
        instrument: InstrumentId = 48,
        /// The command's place in the journal, 0 = it did not get there.
        engine_seq: Seq = 20128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_order_takes_sixteen_and_seventy_one_bytes() {
        assert_eq!((Header::LEN, NewOrderSingle::WIDTH), (16, 71));
    }

    #[test]
    fn templates_and_their_numbers_go_both_ways() {
        for &template in Template::ALL {
            assert_eq!(Template::try_from(template.number()), Ok(template));
            assert!(template.min_body() <= template.max_body());
        }
    }
}
