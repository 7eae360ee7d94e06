"""Every message of section 9 of docs/protocol.md, field by field.

The fields of a class are the bytes of its body in their order; the number after a field's kind is its
FIX tag. A test compares these classes with the tables of that section: offsets, widths, tags and kinds.
Quantities are in lots, prices in ticks, times in nanoseconds since 1970 UTC, unless a field says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from tessera.codes import (
    Aggressor,
    CancelOnDisconnect,
    Changes,
    Durability,
    EndReason,
    ExecInst,
    ExecType,
    InstrumentKind,
    KillAction,
    KillScope,
    LevelAction,
    Liquidity,
    LogoutReason,
    MassActionScope,
    MassActionType,
    MatchAlgo,
    MdMode,
    MdRejectReason,
    MdRequestKind,
    MdScope,
    OrdStatus,
    OrdType,
    Partition,
    Phase,
    RejectReason,
    SelfMatch,
    SessionRejectReason,
    Side,
    SideCode,
    StreamKind,
    TimeInForce,
)
from tessera.wire import (
    I64,
    U8,
    U16,
    U32,
    U64,
    ZERO,
    Bits,
    Enumerated,
    Fields,
    Flag,
    Group,
    Message,
    Raw,
    Text,
)

NO_INSTRUMENT = 4_294_967_295
"""SecurityID of a report that names no instrument."""


@dataclass(frozen=True, slots=True)
class Logon(Message):
    """A client says who it is."""

    TEMPLATE: ClassVar[int] = 1

    sender: Annotated[str, Text(16), 49]
    """SenderCompID: the session's name."""
    target: Annotated[str, Text(16), 56]
    """TargetCompID: the venue's name, `TESSERA`."""
    heart_bt_int: Annotated[int, U16, 108]
    """Heartbeat interval in units of 100 ms, 10 to 600."""
    epoch: Annotated[int, U64, 20101]
    """Life of the session that the client knows; 0 = none yet."""
    next_server_seq: Annotated[int, U64, 789]
    """ServerSeq that the client expects next; 0 = whatever comes."""
    schema_minor: Annotated[int, U8, 20102]
    """Highest schema minor that the client speaks."""
    cancel_on_disconnect: Annotated[CancelOnDisconnect, Enumerated(CancelOnDisconnect), 20103]
    """When the end of the session cancels its orders."""
    cancel_grace: Annotated[int, U16, 20104]
    """Milliseconds before that happens, 0 to 5,000."""
    username: Annotated[str, Text(16), 553]
    """Name of the signing key."""
    sending_time: Annotated[int, U64, 52]
    """When the client signed, ns since 1970 UTC."""
    signature: Annotated[bytes, Raw(64), 96]
    """Ed25519 signature over the bytes of section 4."""
    take_over: Annotated[bool, Flag(), 20105]
    """End the session's other connection instead of being refused."""


@dataclass(frozen=True, slots=True)
class LogonAck(Message):
    """The server accepts it."""

    TEMPLATE: ClassVar[int] = 2

    epoch: Annotated[int, U64, 20101]
    """Life of the session."""
    last_cl_ord_id: Annotated[int, U64, 20106]
    """Highest client id that has reached the engine, durable; continue above it."""
    next_server_seq: Annotated[int, U64, 789]
    """ServerSeq of the next message on S2."""
    heart_bt_int: Annotated[int, U16, 108]
    """Granted heartbeat interval in units of 100 ms."""
    schema_minor: Annotated[int, U8, 20102]
    """Schema minor that both sides use from now on."""
    durability: Annotated[Durability, Enumerated(Durability), 20107]
    """What an acknowledgement promises."""
    rate: Annotated[int, U32, 20108]
    """Requests per second in the long run; 0 = not limited."""
    burst: Annotated[int, U32, 20109]
    """Requests at once; 0 = not limited."""
    cancel_rate: Annotated[int, U32, 20110]
    """Cancels per second in the long run; 0 = not limited."""
    cancel_burst: Annotated[int, U32, 20111]
    """Cancels at once; 0 = not limited."""
    sending_time: Annotated[int, U64, 52]
    """The server's clock, ns since 1970 UTC."""


@dataclass(frozen=True, slots=True)
class Logout(Message):
    """Either side ends the session."""

    TEMPLATE: ClassVar[int] = 3

    reason: Annotated[LogoutReason, Enumerated(LogoutReason), 20112] = LogoutReason.NORMAL
    """Why."""
    reserved: Annotated[int, ZERO, 20100] = 0
    """Zero."""
    last_client_seq: Annotated[int, U64, 20113] = 0
    """From a client: its last ClientSeq, which the server serves before it closes. From the server: the last
    one that it has read."""
    text: Annotated[str, Text(64), 58] = ""
    """For people."""


@dataclass(frozen=True, slots=True)
class Heartbeat(Message):
    """A sign of life, also the answer to a test request."""

    TEMPLATE: ClassVar[int] = 4

    test_req_id: Annotated[int, U64, 112] = 0
    """TestReqID of the request that it answers, else 0."""
    next_server_seq: Annotated[int, U64, 789] = 0
    """From the server: ServerSeq of the next message on S2. From a client: 0."""


@dataclass(frozen=True, slots=True)
class TestRequest(Message):
    """Asks for a sign of life."""

    TEMPLATE: ClassVar[int] = 5

    test_req_id: Annotated[int, U64, 112] = 0
    """Any number but 0."""
    next_server_seq: Annotated[int, U64, 789] = 0
    """From the server: ServerSeq of the next message on S2. From a client: 0."""


@dataclass(frozen=True, slots=True)
class Reject(Message):
    """A message was refused for its form."""

    TEMPLATE: ClassVar[int] = 8

    ref_seq: Annotated[int, U64, 45]
    """Header seq of the refused frame."""
    ref_tag: Annotated[int, U16, 371]
    """The field at fault, 0 = the whole message."""
    ref_template: Annotated[int, U16, 372]
    """Template of the refused frame."""
    reason: Annotated[SessionRejectReason, Enumerated(SessionRejectReason), 373]
    """Why."""


@dataclass(frozen=True, slots=True)
class StreamStart(Message):
    """First frame on every stream that the server opens."""

    TEMPLATE: ClassVar[int] = 10

    kind: Annotated[StreamKind, Enumerated(StreamKind), 20114]
    """What it is."""
    channel: Annotated[int, U16, 20115]
    """Channel number, for a channel, else 0."""
    instrument: Annotated[int, U32, 48]
    """Instrument, for a snapshot, else 0."""
    request_id: Annotated[int, U64, 262]
    """The request that it answers: MDReqID or list request id; 0 = none."""
    epoch: Annotated[int, U64, 20101]
    """Life of the numbers on this stream."""
    next_seq: Annotated[int, U64, 20116]
    """Header seq of the next numbered frame on this stream, 0 = frames are not numbered."""


@dataclass(frozen=True, slots=True)
class NewOrderSingle(Message):
    """Enter an order."""

    TEMPLATE: ClassVar[int] = 20

    cl_ord_id: Annotated[int, U64, 11]
    """The request's id and the order's client id, above all before it in the session."""
    account: Annotated[int, U32, 1]
    """The owner."""
    instrument: Annotated[int, U32, 48]
    """SecurityID."""
    side: Annotated[Side, Enumerated(Side), 54]
    """Side."""
    ord_type: Annotated[OrdType, Enumerated(OrdType), 40] = OrdType.LIMIT
    """How it is priced and shown."""
    time_in_force: Annotated[TimeInForce, Enumerated(TimeInForce), 59] = TimeInForce.GTC
    """How long it stays."""
    price: Annotated[int, I64, 44] = 0
    """Limit in ticks; 0 for types without one."""
    order_qty: Annotated[int, U32, 38] = 0
    """Total quantity in lots."""
    min_qty: Annotated[int, U32, 110] = 0
    """Least quantity in lots that must trade on entry; 0 = none."""
    display_qty: Annotated[int, U32, 1138] = 0
    """Visible slice in lots, iceberg only."""
    stop_px: Annotated[int, I64, 99] = 0
    """Trigger price in ticks of a stop; distance in ticks of a trailing stop."""
    expire_time: Annotated[int, U64, 126] = 0
    """When a GTD order ends, ns since 1970 UTC."""
    exec_inst: Annotated[ExecInst, Bits(ExecInst, 2), 18] = ExecInst.NONE
    """Instructions."""
    smp_id: Annotated[int, U32, 2362] = 0
    """Self-match group; 0 = the account."""
    smp_mode: Annotated[SelfMatch, Enumerated(SelfMatch), 2964] = SelfMatch.NONE
    """Self-match mode while this order is the incoming one."""
    mmp_group: Annotated[int, U8, 20117] = 0
    """Market-maker protection group, 0 = none."""
    transact_time: Annotated[int, U64, 60] = 0
    """TransactTime: when the client decided, ns since 1970 UTC; not read by the exchange."""


@dataclass(frozen=True, slots=True)
class CancelReplace(Message):
    """Change an order."""

    TEMPLATE: ClassVar[int] = 21

    cl_ord_id: Annotated[int, U64, 11]
    """The request's id, and the order's client id from then on."""
    account: Annotated[int, U32, 1] = 0
    """The owner; 0 = not said."""
    orig_cl_ord_id: Annotated[int, U64, 41] = 0
    """OrigClOrdID: the order's client id, when order_id is 0."""
    order_id: Annotated[int, U64, 37] = 0
    """The exchange's id; 0 = by client id."""
    price: Annotated[int, I64, 44] = 0
    """New limit in ticks, when bit 0 of `changes` is set."""
    order_qty: Annotated[int, U32, 38] = 0
    """New total in lots, what has been filled included, when bit 1 is set."""
    min_qty: Annotated[int, U32, 110] = 0
    """Least quantity; 0, changing it is not supported."""
    stop_px: Annotated[int, I64, 99] = 0
    """New trigger price in ticks, when bit 2 is set."""
    expire_time: Annotated[int, U64, 126] = 0
    """New expiry; 0, changing it is not supported."""
    exec_inst: Annotated[ExecInst, Bits(ExecInst, 2), 18] = ExecInst.NONE
    """New instructions; 0, changing them is not supported."""
    changes: Annotated[Changes, Bits(Changes, 1), 20118] = Changes.NONE
    """Which fields change."""
    on_failure: Annotated[int, ZERO, 20119] = 0
    """After a failure the order stays as it was; 0 is the only value."""
    in_flight: Annotated[int, ZERO, 20120] = 0
    """The total counts what has been filled, so an order is never overfilled; 0 is the only value."""


@dataclass(frozen=True, slots=True)
class Cancel(Message):
    """Cancel an order."""

    TEMPLATE: ClassVar[int] = 22

    cl_ord_id: Annotated[int, U64, 11]
    """The request's id."""
    account: Annotated[int, U32, 1] = 0
    """The owner; 0 = not said."""
    orig_cl_ord_id: Annotated[int, U64, 41] = 0
    """OrigClOrdID: the order's client id, when order_id is 0."""
    order_id: Annotated[int, U64, 37] = 0
    """The exchange's id; 0 = by client id."""


@dataclass(frozen=True, slots=True)
class MassAction(Message):
    """Cancel many orders, in order with the requests around it."""

    TEMPLATE: ClassVar[int] = 23

    cl_ord_id: Annotated[int, U64, 11]
    """The request's id."""
    account: Annotated[int, U32, 1] = 0
    """Only orders of this account; 0 = all."""
    action: Annotated[MassActionType, Enumerated(MassActionType), 1373] = MassActionType.CANCEL
    """What to do."""
    scope: Annotated[MassActionScope, Enumerated(MassActionScope), 1374] = MassActionScope.ALL
    """Which orders."""
    instrument: Annotated[int, U32, 48] = 0
    """SecurityID, for scope `instrument`, else 0."""
    product: Annotated[int, U16, 20122] = 0
    """Product; 0, not supported."""
    side: Annotated[SideCode, Enumerated(SideCode), 54] = SideCode.ANY
    """Only this side."""
    mmp_group: Annotated[int, U8, 20117] = 0
    """Market-maker protection group; 0, not supported."""


@dataclass(frozen=True, slots=True)
class KillSwitch(Message):
    """Cancel and refuse everything, overtaking the requests under way."""

    TEMPLATE: ClassVar[int] = 24

    action: Annotated[KillAction, Enumerated(KillAction), 20123]
    """Engage or release."""
    scope: Annotated[KillScope, Enumerated(KillScope), 20124] = KillScope.SESSION
    """Whom it hits."""


@dataclass(frozen=True, slots=True)
class CancelAllAfter(Message):
    """Dead-man timer."""

    TEMPLATE: ClassVar[int] = 25

    deadline: Annotated[int, U64, 20125] = 0
    """When, ns since 1970 UTC; 0 = disarm."""
    include_stops: Annotated[bool, Flag(), 20126] = False
    """Stops too."""


@dataclass(frozen=True, slots=True)
class Reduce(Message):
    """Take quantity off an order."""

    TEMPLATE: ClassVar[int] = 36

    cl_ord_id: Annotated[int, U64, 11]
    """The request's id."""
    account: Annotated[int, U32, 1] = 0
    """The owner; 0 = not said."""
    orig_cl_ord_id: Annotated[int, U64, 41] = 0
    """OrigClOrdID: the order's client id, when order_id is 0."""
    order_id: Annotated[int, U64, 37] = 0
    """The exchange's id; 0 = by client id."""
    by: Annotated[int, U32, 20121] = 0
    """How much to take off, in lots."""


@dataclass(frozen=True, slots=True)
class ExecutionReport(Message):
    """What happened to an order."""

    TEMPLATE: ClassVar[int] = 40

    exec_id: Annotated[int, U64, 17]
    """Names this execution, for ever."""
    cl_ord_id: Annotated[int, U64, 11]
    """The request's id where one asked for this, else the order's client id."""
    orig_cl_ord_id: Annotated[int, U64, 41]
    """The order's client id before this, where a request asked; else 0."""
    order_id: Annotated[int, U64, 37]
    """The exchange's id; 0 for a rejected order."""
    account: Annotated[int, U32, 1]
    """The owner."""
    instrument: Annotated[int, U32, 48]
    """SecurityID; 4,294,967,295 = not said, for an order refused before it named a known instrument."""
    side: Annotated[SideCode, Enumerated(SideCode), 54]
    """Side; `any` = not said, for a quote refused whole."""
    exec_type: Annotated[ExecType, Enumerated(ExecType), 150]
    """What happened."""
    ord_status: Annotated[OrdStatus, Enumerated(OrdStatus), 39]
    """Where the order stands now."""
    price: Annotated[int, I64, 44]
    """Limit in ticks, for ExecTypes new and replaced; the trigger for triggered; else 0."""
    last_px: Annotated[int, I64, 31]
    """Price of the trade in ticks."""
    last_qty: Annotated[int, U32, 32]
    """Size of the trade in lots."""
    leaves_qty: Annotated[int, U32, 151]
    """Open quantity in lots after this; 0 for an order that ended."""
    cum_qty: Annotated[int, U32, 14]
    """Filled so far in lots."""
    match_id: Annotated[int, U64, 880]
    """Same on both sides of a trade and on the feed."""
    liquidity: Annotated[Liquidity, Enumerated(Liquidity), 851]
    """Maker or taker."""
    ord_rej_reason: Annotated[int, U16, 103]
    """OrdRejReason: FIX's nearest number."""
    end_reason: Annotated[EndReason, Enumerated(EndReason), 378]
    """Why it ended or shrank."""
    fee: Annotated[int, I64, 20127]
    """Fee in micro-USD, negative = rebate; 0 until fees exist."""
    transact_time: Annotated[int, U64, 60]
    """The command's time, ns since 1970 UTC."""
    engine_seq: Annotated[int, U64, 20128]
    """The command's place in the journal."""
    reason: Annotated[RejectReason, Enumerated(RejectReason), 20129]
    """The exact reason of a rejection, 0 = none."""


@dataclass(frozen=True, slots=True)
class CancelReject(Message):
    """A cancel, replace or reduce was refused by the engine."""

    TEMPLATE: ClassVar[int] = 41

    cl_ord_id: Annotated[int, U64, 11]
    """The request's id."""
    orig_cl_ord_id: Annotated[int, U64, 41]
    """The client id that the request named, 0 = none."""
    order_id: Annotated[int, U64, 37]
    """The exchange's id that the request named, 0 = none or not known here."""
    cxl_rej_reason: Annotated[int, U16, 102]
    """CxlRejReason: FIX's nearest number."""
    ord_status: Annotated[OrdStatus, Enumerated(OrdStatus), 39]
    """Where the order stands."""
    account: Annotated[int, U32, 1]
    """The account on the request."""
    engine_seq: Annotated[int, U64, 20128]
    """The command's place in the journal."""
    reason: Annotated[RejectReason, Enumerated(RejectReason), 20129]
    """The exact reason."""


@dataclass(frozen=True, slots=True)
class BusinessReject(Message):
    """A request was refused before it reached the engine."""

    TEMPLATE: ClassVar[int] = 42

    ref_seq: Annotated[int, U64, 45]
    """ClientSeq of the request."""
    ref_template: Annotated[int, U16, 372]
    """Its template."""
    business_reject_reason: Annotated[int, U16, 380]
    """BusinessRejectReason: FIX's nearest number."""
    cl_ord_id: Annotated[int, U64, 379]
    """The request's id, 0 = it had none."""
    reason: Annotated[RejectReason, Enumerated(RejectReason), 20129]
    """The exact reason."""
    retry_after: Annotated[int, U64, 20130]
    """Nanoseconds after which the rate limit has room again; 0 = does not apply."""


@dataclass(frozen=True, slots=True)
class MassActionReport(Message):
    """A mass action is complete or refused."""

    TEMPLATE: ClassVar[int] = 43

    report_id: Annotated[int, U64, 1369]
    """MassActionReportID: the command's place in the journal."""
    cl_ord_id: Annotated[int, U64, 11]
    """The request's id."""
    account: Annotated[int, U32, 1]
    """The account on the request."""
    action: Annotated[MassActionType, Enumerated(MassActionType), 1373]
    """What was asked."""
    affected: Annotated[int, U32, 533]
    """How many orders ended."""
    reason: Annotated[RejectReason, Enumerated(RejectReason), 20129]
    """Why it was refused, 0 = it was not."""


@dataclass(frozen=True, slots=True)
class MdRequest(Message):
    """Ask for market data."""

    TEMPLATE: ClassVar[int] = 60

    request_id: Annotated[int, U64, 262]
    """Names the request on this connection, not 0."""
    kind: Annotated[MdRequestKind, Enumerated(MdRequestKind), 263] = MdRequestKind.SUBSCRIBE
    """What is asked."""
    scope: Annotated[MdScope, Enumerated(MdScope), 20131] = MdScope.ALL
    """Which instruments get a snapshot."""
    instrument: Annotated[int, U32, 48] = 0
    """SecurityID, for scope `instrument`, else 0."""
    channel: Annotated[int, U16, 20115] = 0
    """Channel number; 0 is the first and holds every instrument."""
    depth: Annotated[int, U8, 264] = 0
    """Levels per side of a snapshot; 0 = all."""
    mode: Annotated[MdMode, Enumerated(MdMode), 265] = MdMode.STREAM
    """How the channel is delivered."""


@dataclass(frozen=True, slots=True)
class MdReject(Message):
    """A market-data request was refused."""

    TEMPLATE: ClassVar[int] = 61

    request_id: Annotated[int, U64, 262]
    """The request."""
    reason: Annotated[MdRejectReason, Enumerated(MdRejectReason), 281]
    """Why."""


@dataclass(frozen=True, slots=True)
class Level(Fields):
    """A price level of a snapshot."""

    side: Annotated[Side, Enumerated(Side), 54]
    """Side."""
    price: Annotated[int, I64, 44]
    """Price in ticks."""
    qty: Annotated[int, U64, 271]
    """Visible quantity in lots."""
    orders: Annotated[int, U32, 346]
    """Number of orders."""


@dataclass(frozen=True, slots=True)
class Snapshot(Message):
    """A part of a book as it stands."""

    TEMPLATE: ClassVar[int] = 62

    instrument: Annotated[int, U32, 48]
    """SecurityID."""
    last_seq: Annotated[int, U64, 369]
    """Channel number up to which the levels include everything."""
    rpt_seq: Annotated[int, U32, 83]
    """The instrument's own count of updates up to then."""
    phase: Annotated[Phase, Enumerated(Phase), 20132]
    """The instrument's phase then."""
    engine_seq: Annotated[int, U64, 20128]
    """The command that the levels are the result of, its place in the journal."""
    transact_time: Annotated[int, U64, 60]
    """That command's time, ns since 1970 UTC."""
    last_px: Annotated[int, I64, 31]
    """Price of the last trade in ticks."""
    last_qty: Annotated[int, U64, 32]
    """Size of the last trade in lots; 0 = none yet."""
    last_time: Annotated[int, U64, 779]
    """Time of the last trade, ns since 1970 UTC."""
    entries: Annotated[tuple[Level, ...], Group(Level, 200), 268]
    """How many entries follow."""


@dataclass(frozen=True, slots=True)
class L2Update(Message):
    """A price level has new values."""

    TEMPLATE: ClassVar[int] = 63

    instrument: Annotated[int, U32, 48]
    """SecurityID."""
    rpt_seq: Annotated[int, U32, 83]
    """The instrument's own count of updates, modulo 2^32."""
    side: Annotated[Side, Enumerated(Side), 54]
    """Side."""
    action: Annotated[LevelAction, Enumerated(LevelAction), 279]
    """Set or delete."""
    price: Annotated[int, I64, 44]
    """Price in ticks."""
    qty: Annotated[int, U64, 271]
    """Visible quantity in lots, now."""
    orders: Annotated[int, U32, 346]
    """Number of orders, now."""
    last_fragment: Annotated[bool, Flag(), 893]
    """The last message of its command on this instrument."""


@dataclass(frozen=True, slots=True)
class Trade(Message):
    """A trade."""

    TEMPLATE: ClassVar[int] = 69

    instrument: Annotated[int, U32, 48]
    """SecurityID."""
    rpt_seq: Annotated[int, U32, 83]
    """The instrument's own count of updates, modulo 2^32."""
    aggressor: Annotated[Aggressor, Enumerated(Aggressor), 2446]
    """Which side came in."""
    price: Annotated[int, I64, 31]
    """Price in ticks."""
    qty: Annotated[int, U64, 32]
    """Size in lots."""
    match_id: Annotated[int, U64, 880]
    """Same as on the execution reports of both sides."""
    transact_time: Annotated[int, U64, 60]
    """The command's time, ns since 1970 UTC."""
    last_fragment: Annotated[bool, Flag(), 893]
    """The last message of its command on this instrument."""


@dataclass(frozen=True, slots=True)
class Status(Message):
    """An instrument's phase."""

    TEMPLATE: ClassVar[int] = 70

    instrument: Annotated[int, U32, 48]
    """SecurityID."""
    rpt_seq: Annotated[int, U32, 83]
    """The instrument's own count of updates, modulo 2^32."""
    phase: Annotated[Phase, Enumerated(Phase), 20132]
    """The phase now."""
    transact_time: Annotated[int, U64, 60]
    """The command's time, ns since 1970 UTC."""
    last_fragment: Annotated[bool, Flag(), 893]
    """The last message of its command on this instrument."""


@dataclass(frozen=True, slots=True)
class BookChecksum(Message):
    """Checksum of a book's top."""

    TEMPLATE: ClassVar[int] = 75

    instrument: Annotated[int, U32, 48]
    """SecurityID."""
    rpt_seq: Annotated[int, U32, 83]
    """The instrument's own count of updates, modulo 2^32."""
    checksum: Annotated[int, U32, 10]
    """The checksum."""


@dataclass(frozen=True, slots=True)
class ChannelHeartbeat(Message):
    """A channel's next number, so that silence and a lost tail can be told apart."""

    TEMPLATE: ClassVar[int] = 76

    channel: Annotated[int, U16, 20115]
    """Which channel."""
    epoch: Annotated[int, U64, 20101]
    """Life of its numbers."""
    next_seq: Annotated[int, U64, 20116]
    """Number of the next message on it."""


@dataclass(frozen=True, slots=True)
class EndOfEvent(Message):
    """Everything that one command did to the channel has been said."""

    TEMPLATE: ClassVar[int] = 77

    engine_seq: Annotated[int, U64, 20128]
    """The command's place in the journal."""
    transact_time: Annotated[int, U64, 60]
    """The command's time, ns since 1970 UTC."""


@dataclass(frozen=True, slots=True)
class SecurityDefinition(Message):
    """An instrument."""

    TEMPLATE: ClassVar[int] = 80

    instrument: Annotated[int, U32, 48]
    """SecurityID."""
    symbol: Annotated[str, Text(64), 55]
    """Its name."""
    kind: Annotated[InstrumentKind, Enumerated(InstrumentKind), 20133]
    """Plain or compute; the fields that only a compute contract has are 0 for a plain one."""
    gpu_class: Annotated[int, U16, 20001]
    """GPU class, a number of the catalogue."""
    partition: Annotated[Partition, Enumerated(Partition), 20002]
    """What of a device one lot is."""
    profile: Annotated[int, U8, 20134]
    """Partition profile, a number of the catalogue; 0 = a whole device."""
    tier: Annotated[int, U8, 20003]
    """0 best effort, 1 reclaimable, 2 standard, 3 firm, 4 firm with damages."""
    zone: Annotated[int, U16, 20004]
    """Energy zone, a number of the catalogue."""
    delivery_start: Annotated[int, U64, 20005]
    """Start of delivery, ns since 1970 UTC."""
    delivery_end: Annotated[int, U64, 20006]
    """End of delivery, ns since 1970 UTC."""
    attestation: Annotated[int, U8, 20007]
    """Attestation required: 0 none, 1 confidential mode."""
    tick: Annotated[int, I64, 969]
    """Price step in ticks."""
    lot: Annotated[int, U64, 561]
    """Quantity step in lots."""
    lot_gpu_seconds: Annotated[int, U32, 20135]
    """GPU-seconds of one lot over the window; 0 for a plain instrument."""
    min_price: Annotated[int, I64, 1148]
    """Lowest limit price in ticks."""
    max_price: Annotated[int, I64, 1149]
    """Highest limit price in ticks."""
    min_qty: Annotated[int, U64, 562]
    """Smallest order in lots."""
    max_qty: Annotated[int, U64, 1140]
    """Largest order in lots."""
    tick_micro_usd: Annotated[int, U32, 20136]
    """Micro-USD per unit-hour of one tick; 0 for a plain instrument."""
    weight: Annotated[int, U32, 20137]
    """1/10,000 of a whole device per lot; 0 for a plain instrument."""
    phase: Annotated[Phase, Enumerated(Phase), 20132]
    """Its phase when this was sent."""


@dataclass(frozen=True, slots=True)
class SecurityListRequest(Message):
    """Ask for the definitions of all instruments."""

    TEMPLATE: ClassVar[int] = 81

    request_id: Annotated[int, U64, 320]
    """Names the request on this connection, not 0."""


@dataclass(frozen=True, slots=True)
class SecurityListEnd(Message):
    """The definitions are complete."""

    TEMPLATE: ClassVar[int] = 84

    request_id: Annotated[int, U64, 320]
    """The request."""
    count: Annotated[int, U32, 393]
    """How many were sent."""


@dataclass(frozen=True, slots=True)
class AdminInstrument(Message):
    """List an instrument."""

    TEMPLATE: ClassVar[int] = 100

    cl_ord_id: Annotated[int, U64, 11]
    """The request's id, above all before it in the session."""
    symbol: Annotated[str, Text(64), 55]
    """Its name."""
    kind: Annotated[InstrumentKind, Enumerated(InstrumentKind), 20133] = InstrumentKind.PLAIN
    """Plain or compute."""
    gpu_class: Annotated[int, U16, 20001] = 0
    """GPU class, a number of the catalogue."""
    partition: Annotated[Partition, Enumerated(Partition), 20002] = Partition.TIME_SLICE
    """What of a device one lot is."""
    profile: Annotated[int, U8, 20134] = 0
    """Partition profile, a number of the catalogue; 0 = a whole device."""
    tier: Annotated[int, U8, 20003] = 0
    """0 best effort, 1 reclaimable, 2 standard, 3 firm, 4 firm with damages."""
    zone: Annotated[int, U16, 20004] = 0
    """Energy zone, a number of the catalogue."""
    start_hour: Annotated[int, U32, 20005] = 0
    """Start of delivery, hours since 1970 UTC."""
    hours: Annotated[int, U16, 20006] = 0
    """Length of the window in hours, 1 to 8,784."""
    weight: Annotated[int, U32, 20137] = 0
    """1/10,000 of a whole device per lot."""
    tick: Annotated[int, I64, 969] = 0
    """Price step in ticks."""
    lot: Annotated[int, U64, 561] = 0
    """Quantity step in lots."""
    min_price: Annotated[int, I64, 1148] = 0
    """Lowest limit price in ticks."""
    max_price: Annotated[int, I64, 1149] = 0
    """Highest limit price in ticks."""
    min_qty: Annotated[int, U64, 562] = 0
    """Smallest order in lots."""
    max_qty: Annotated[int, U64, 1140] = 0
    """Largest order in lots."""
    tick_micro_usd: Annotated[int, U32, 20136] = 0
    """Micro-USD per unit-hour of one tick, a multiple of 60; 0 for a plain instrument."""
    has_ref_price: Annotated[bool, Flag(), 20138] = False
    """The reference price counts."""
    ref_price: Annotated[int, I64, 20139] = 0
    """Reference of auctions in ticks."""
    has_protect: Annotated[bool, Flag(), 20140] = False
    """The protection counts."""
    protect: Annotated[int, U64, 20141] = 0
    """Market orders get the limit "best opposite price plus or minus this many ticks"."""
    algo: Annotated[MatchAlgo, Enumerated(MatchAlgo), 1142] = MatchAlgo.FIFO
    """Sharing inside one price level."""
    min_alloc: Annotated[int, U64, 20142] = 0
    """Pro-rata shares below this go first in, first out."""
    top_min: Annotated[int, U64, 20143] = 0
    """Least open quantity for the top-order share."""
    top_max: Annotated[int, U64, 20144] = 0
    """Most that the top order gets first."""
    fifo_pct: Annotated[int, U8, 20145] = 0
    """Percent shared first in, first out, 0 to 100."""


@dataclass(frozen=True, slots=True)
class AdminPhase(Message):
    """Change an instrument's phase."""

    TEMPLATE: ClassVar[int] = 101

    cl_ord_id: Annotated[int, U64, 11]
    """The request's id, above all before it in the session."""
    instrument: Annotated[int, U32, 48]
    """SecurityID."""
    phase: Annotated[Phase, Enumerated(Phase), 20132]
    """The new phase."""
    has_ref_price: Annotated[bool, Flag(), 20138] = False
    """The reference price counts."""
    ref_price: Annotated[int, I64, 20139] = 0
    """Reference of the uncross in ticks."""


@dataclass(frozen=True, slots=True)
class AdminReply(Message):
    """An admin command is durable, or refused."""

    TEMPLATE: ClassVar[int] = 102

    cl_ord_id: Annotated[int, U64, 11]
    """The request."""
    reason: Annotated[RejectReason, Enumerated(RejectReason), 20129]
    """Why it was refused, 0 = it was not."""
    instrument: Annotated[int, U32, 48]
    """The instrument that was listed or changed."""
    engine_seq: Annotated[int, U64, 20128]
    """The command's place in the journal, 0 = it did not get there."""


TEMPLATES: dict[int, type[Message]] = {
    message.TEMPLATE: message
    for message in (
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
        Snapshot,
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
    )
}
"""Every message by its template."""
