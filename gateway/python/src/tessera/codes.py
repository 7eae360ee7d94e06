"""Codes of section 10 of docs/protocol.md, one enumeration each.

Enumerations that describe structure are closed: a code that is not listed is a decode error. Reasons
are open (`OpenCode`): a newer server may have more of them, and a reason that this client does not
know must not cost it the session. Such a code is a member named `CODE_<number>`.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Self


class Code(IntEnum):
    """An enumeration that travels as one byte; codes that are not listed do not exist."""


class OpenCode(IntEnum):
    """A reason, which travels as one byte (a CloseCode as QUIC's variable integer); more may come."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, int) or not 0 <= value < 1 << 62:
            return None
        unknown = int.__new__(cls, value)
        unknown._name_ = f"CODE_{value}"
        unknown._value_ = value
        return unknown


class ExecInst(IntFlag):
    """Instructions of an order, FIX's ExecInst(18)."""

    NONE = 0
    POST_ONLY = 1
    """Refuse instead of trading on entry."""
    REDUCE_ONLY = 2
    """Only lower a position; refused `unsupported` today."""
    STAY_ON_DISCONNECT = 4
    """Cancel on disconnect leaves this order alone."""
    CANCEL_ON_SYSTEM_FAILURE = 8
    """Cancel when the exchange restarts."""
    ALL_OR_NONE = 16
    """Trade whole or not at all."""


class Changes(IntFlag):
    """Which fields a CancelReplace changes."""

    NONE = 0
    PRICE = 1
    QTY = 2
    STOP_PX = 4


class Liquidity(Code):
    """Maker or taker, FIX's LastLiquidityInd(851)."""

    NONE = 0
    ADDED = 1
    REMOVED = 2
    AUCTION = 4


class CancelOnDisconnect(Code):
    """When the end of a session cancels its orders."""

    NONE = 0
    """Never."""
    DISCONNECT = 1
    """When the connection is lost."""
    LOGOUT = 2
    """When the client logs out."""
    BOTH = 3
    """Either way."""


class Durability(Code):
    """What an acknowledgement promises."""

    SYNCED = 0
    """What is acknowledged is on disk."""
    ASYNC = 1
    """What is acknowledged is in the page cache: a power cut may lose it."""
    STRICT = 2
    """What is acknowledged is on disk, and so is the watermark that says so."""


class EndReason(OpenCode):
    """Why an order ended or shrank, open."""

    NONE = 0
    """It did not."""
    USER = 1
    """Its owner asked."""
    IOC = 2
    """The rest of an immediate-or-cancel order."""
    FOK = 3
    """A fill-or-kill order that could not be filled whole."""
    NO_LIQUIDITY = 4
    """The rest of a market order."""
    MIN_QTY = 5
    """Less than its minimum could trade on entry."""
    STP = 6
    """Self-match prevention."""
    REPLACED = 7
    """A replace left nothing open."""
    MASS_CANCEL = 8
    """A mass cancel."""
    REQUOTE = 9
    """A new quote took its place."""
    DISCONNECT = 10
    """The session's connection was lost."""
    KILL = 11
    """The kill switch."""
    SYSTEM = 12
    """The exchange restarted, or the operator."""
    GTD = 13
    """Its time came."""
    DAY = 14
    """The instrument closed."""
    INVENTORY = 20
    """The pool or lease behind it has fewer units."""
    ATTESTATION = 21
    """The attestation of the pool behind it ran out."""
    LOST = 22
    """Another quote was taken."""
    RFQ_ENDED = 23
    """The request it answered has ended."""
    NO_MATCH = 24
    """Nobody quoted."""
    NOT_AWARDED = 25
    """No quote was taken."""
    INFEASIBLE = 26
    """There is no such block, or nothing to preempt."""
    WINDOW = 27
    """The window of the contract began."""


class ExecType(Code):
    """What happened to an order."""

    NEW = 0
    """It was accepted."""
    TRADE = 1
    """It traded."""
    CANCELED = 2
    """It was canceled."""
    REPLACED = 3
    """Price, total quantity, trigger or client id changed."""
    REDUCED = 4
    """It got smaller and kept its place."""
    REJECTED = 5
    """It was refused."""
    EXPIRED = 6
    """Its time ran out."""
    TRIGGERED = 7
    """Its stop was elected."""


class InstrumentKind(Code):
    """What an instrument is."""

    PLAIN = 0
    """A plain instrument: the compute fields are zero."""
    COMPUTE = 1
    """A compute contract."""


class KillAction(Code):
    """What a kill switch does."""

    ENGAGE = 0
    """Cancel and refuse from now on."""
    RELEASE = 1
    """Accept orders again."""


class KillScope(Code):
    """Whom a kill switch hits."""

    SESSION = 0
    """The session that sends it."""


class LevelAction(Code):
    """What happened to a price level."""

    SET = 0
    """The level appears or changes."""
    DELETE = 1
    """The level is gone."""


class LogoutReason(OpenCode):
    """Why a session ended, open."""

    NORMAL = 0
    """It was asked for."""
    AUTH = 1
    """Certificate, key, signature, or names do not belong together; no more is said."""
    SENDING_TIME = 2
    """SendingTime is more than 5 s off the server's clock."""
    HEART_BT_INT = 3
    """HeartBtInt is outside 1 to 60 s."""
    VERSION = 4
    """The schema minor is not supported; the text names the range."""
    SEQ_GAP = 5
    """A ClientSeq was skipped."""
    SEQ_LOW = 6
    """A ClientSeq came twice."""
    SECOND_LOGON = 7
    """A second Logon on a session that is logged on."""
    DUPLICATE_SESSION = 8
    """The session is logged on over another connection."""
    SUPERSEDED = 9
    """Another connection took the session over."""
    ILLEGAL_MESSAGE = 10
    """A message that is not legal in this direction, protocol or state."""
    SLOW_CONSUMER = 11
    """The client does not read its messages."""
    THROTTLED = 12
    """The rate limit was exceeded for too long."""
    SILENT = 13
    """Nothing came for 2.4 heartbeat intervals."""
    DRAINING = 14
    """The exchange is stopping."""
    SEQ_EXHAUSTED = 15
    """A sequence number is near its end; the epoch must roll first."""
    INTERNAL = 16
    """The server gave up on this session for a reason of its own; log on again."""
    RESEND_LIMIT = 17
    """Too many resend requests."""


class MassActionScope(Code):
    """Which orders a mass action hits."""

    INSTRUMENT = 1
    """Those of one instrument."""
    ALL = 7
    """All."""


class MassActionType(Code):
    """What a mass action does."""

    CANCEL = 3
    """Cancel orders."""


class MdMode(Code):
    """How a channel is delivered."""

    STREAM = 0
    """In order, on a stream."""
    DATAGRAM = 1
    """In datagrams."""
    CONFLATED = 2
    """Newest value wins."""


class MdRejectReason(OpenCode):
    """Why a market-data request was refused, open."""

    UNKNOWN_INSTRUMENT = 0
    """No such instrument."""
    DUPLICATE_REQUEST = 1
    """A request with this id is being served."""
    UNSUPPORTED_MODE = 4
    """A mode that this server does not offer."""
    UNSUPPORTED_DEPTH = 5
    """A depth that this server does not offer."""
    UNSUPPORTED_CHANNEL = 6
    """A channel that this server does not offer."""
    BUSY = 100
    """Too many requests at once; ask again when answers have come."""
    LAGGED = 101
    """The subscriber read too slowly and its channel was reset: subscribe again."""


class MdRequestKind(Code):
    """What a market-data request asks."""

    SUBSCRIBE = 0
    """Snapshots now, and the channel from then on."""
    UNSUBSCRIBE = 1
    """Stop the channel."""
    SNAPSHOT = 2
    """Snapshots only, after a gap."""


class MdScope(Code):
    """Which instruments get a snapshot."""

    ALL = 0
    """Those listed now and those listed later."""
    INSTRUMENT = 1
    """One."""


class OrdStatus(Code):
    """Where an order stands."""

    NEW = 0
    """Live, nothing filled."""
    PARTIALLY_FILLED = 1
    """Live, partly filled."""
    FILLED = 2
    """Done: filled."""
    CANCELED = 3
    """Done: canceled."""
    EXPIRED = 4
    """Done: expired."""
    REJECTED = 5
    """Never lived: refused."""
    UNKNOWN = 6
    """Not known here."""


class SessionRejectReason(OpenCode):
    """Why a message was refused for its form, open."""

    VALUE_OUT_OF_RANGE = 5
    """A code, a bool or a bit that means nothing."""
    BAD_FORMAT = 6
    """Text that is not printable ASCII or not zero padded, or a reserved byte that is not zero."""
    UNKNOWN_TEMPLATE = 11
    """A template that this server does not know."""
    GROUP_COUNT = 16
    """A group's count is above its cap or is not the number of entries."""
    BODY_TOO_SHORT = 100
    """The body is shorter than its template."""
    TRAILING_BYTES = 101
    """Bytes after the end of the body's last field."""
    RESEND_RANGE = 102
    """A resend that is busy, or a range that does not exist."""


class SideCode(Code):
    """A side, or both."""

    BUY = 0
    """Bids."""
    SELL = 1
    """Offers."""
    ANY = 2
    """Both in a filter; not said in a report."""


class StreamKind(Code):
    """What a stream of the server carries."""

    EVENTS = 1
    """S2: what the engine said to the session; lives as long as the connection."""
    REPLAY = 2
    """S3: a retransmission; ends with FIN."""
    ANSWER = 3
    """S4: the answer to one request; ends with FIN."""
    CHANNEL = 4
    """A market-data channel; lives as long as the subscription."""
    SNAPSHOT = 5
    """Snapshots of one instrument for one request; ends with FIN."""


class OrdType(Code):
    """How an order is priced and shown."""

    LIMIT = 0
    MARKET = 1
    ICEBERG = 2
    STOP = 3
    STOP_LIMIT = 4
    TRAILING_STOP = 5


class TimeInForce(Code):
    """How long an order stays."""

    GTC = 0
    IOC = 1
    FOK = 2
    DAY = 3
    GTD = 4


class SelfMatch(Code):
    """What happens when an order would trade with its own kind."""

    NONE = 0
    CANCEL_NEW = 1
    CANCEL_OLD = 2
    CANCEL_BOTH = 3
    DECREMENT = 4


class Phase(Code):
    """What an instrument does at the moment."""

    CONTINUOUS = 0
    AUCTION = 1
    HALT = 2
    CLOSED = 3


class Partition(Code):
    """What of a device one lot is."""

    TIME_SLICE = 0
    VGPU = 1
    MIG = 2
    WHOLE = 3
    TEE = 4


class Aggressor(Code):
    """Which side of a trade came in."""

    BUY = 0
    SELL = 1
    NONE = 2


class MatchAlgo(Code):
    """Sharing inside one price level."""

    FIFO = 0
    PRO_RATA = 1
    TOP_PRO_RATA = 2
    SPLIT = 3


class Side(Code):
    """Side of an order or a level."""

    BUY = 0
    SELL = 1


class RejectReason(OpenCode):
    """The exact reason of a refusal, open."""

    NONE = 0
    """It was not refused."""
    UNKNOWN_INSTRUMENT = 1
    UNKNOWN_ORDER = 2
    WRONG_PHASE = 3
    HALTED = 4
    CLOSED = 5
    DUPLICATE_ID = 6
    BAD_PRICE = 7
    BAD_QTY = 8
    EXPIRED = 9
    POST_ONLY = 10
    DUPLICATE_INSTRUMENT = 11
    TIME_BACKWARDS = 12
    CROSSED_QUOTE = 13
    BAD_FIELD = 14
    MISSING_FIELD = 15
    UNKNOWN_OP = 16
    PARSE_ERROR = 17
    STALE_SESSION = 18
    UNKNOWN_SESSION = 19
    UNSUPPORTED = 20
    TOO_MANY_ORDERS = 21
    STALE_VERSION = 22
    UNKNOWN_CLASS = 23
    UNKNOWN_ZONE = 24
    UNKNOWN_PROFILE = 25
    DUPLICATE_CONTRACT = 26
    LIMIT_REACHED = 27
    BUSY = 28
    THROTTLED = 29
    NOT_PERMITTED = 30
    NO_CONTRACT = 31
    UNKNOWN_POOL = 32
    WRONG_POOL = 33
    DUPLICATE_POOL = 34
    DUPLICATE_DEVICE = 35
    INVENTORY = 36
    LIMIT = 37
    TOO_MANY_LEGS = 38
    TOO_MANY_CONTRACTS = 39
    NO_EFFICIENCY = 40
    TOO_MANY_QUOTES = 41
    TOO_MUCH_WORK = 42
    TOO_MANY_DOMAINS = 43
    RECLAIMABLE = 44
    NOT_RECLAIMABLE = 45
    UNKNOWN_LEASE = 46
    WRONG_LEASE = 47
    WRONG_KIND = 48
    SELF = 49
    ISOLATION = 50
    NOTICE = 51
    EXCLUDE = 52
    SCORE = 53
    AGE = 54
    STAKE = 55
    COLO = 56
    PRICE = 57
    UNKNOWN_ACCOUNT = 80
    INSUFFICIENT_FUNDS = 81
    INSUFFICIENT_MARGIN = 82
    NOT_MARGINED = 83
    LOTS_LIMIT = 84
    PRICE_COLLAR = 85
    ORDER_QTY_LIMIT = 86
    ORDER_VALUE_LIMIT = 87
    OPEN_QTY_LIMIT = 88
    OPEN_VALUE_LIMIT = 89
    POSITION_LIMIT = 90
    DUPLICATE_ORDER = 91
    KILLED = 92
    RISK_NOT_BEGUN = 93
    RISK_ROW = 94
    RISK_STEP = 95
    RISK_REFUSED = 96
    RISK_ROWS = 97
    RISK_HASH = 98
    RISK_MISSING_ROW = 99
    READ_ONLY = 119


class CloseCode(OpenCode):
    """Application code with which a connection or a stream ends, open."""

    DONE = 0
    """The session ended as agreed; the Logout before it says why."""
    NO_LOGON = 1
    """The first stream was not bidirectional or the first frame not a Logon (row 3)."""
    LOGON_TIMEOUT = 2
    """No Logon within 5 s (row 4)."""
    BAD_HEADER = 3
    """A header with reserved or unknown bits (row 12)."""
    BODY_TOO_LARGE = 4
    """A body larger than the limit (row 13)."""
    TRUNCATED = 5
    """The stream ended inside a frame (row 17)."""
    SLOW_FRAME = 6
    """A frame was not complete within 1 s (row 19)."""
    TOO_MANY_REJECTS = 7
    """More than 10 messages refused for their form within 10 s."""
    SILENT = 8
    """Nothing came for 2.4 heartbeat intervals."""
    INTERNAL = 9
    """The server's events outran it, or it failed; log on again."""
    LAGGED = 10
    """A reset stream: the subscriber read too slowly."""
    REFUSED = 11
    """The connection is one too many, or its address is blocked for a while."""
    BAD_STREAM = 12
    """A stream where none is allowed."""
