"""Client of the Tessera compute exchange: order entry, market data and operation, over QUIC.

Read the modules from the bytes up: `wire` and `messages` (what travels), `framer`, `session` (a session
without I/O), `tls` and `connection` (the same over aioquic), then what people use: `orders`, `quoting`,
`feed`, `admin`. Written from docs/protocol.md of the exchange; it shares no code with the exchange.

Prices are integers in ticks of the instrument, quantities integers in lots, times nanoseconds since 1970 UTC.
"""

from tessera.admin import AdminSession
from tessera.codes import (
    CancelOnDisconnect,
    ExecInst,
    ExecType,
    OrdStatus,
    OrdType,
    Phase,
    RejectReason,
    SelfMatch,
    Side,
    SideCode,
    TimeInForce,
)
from tessera.credentials import Credentials
from tessera.errors import (
    Busy,
    CancelRejected,
    ConnectError,
    GatewayRefused,
    NotSent,
    NotSupported,
    OrderRejected,
    OutcomeUnknown,
    Resyncing,
    SessionEnded,
    TesseraError,
    Throttled,
)
from tessera.feed import Feed
from tessera.market import Book, BookLevel, Changed, Listed, Lost, Synced
from tessera.orders import OrderSession, Resume, Resumed
from tessera.quoting import Quote, Quoter

__all__ = [
    "AdminSession",
    "Book",
    "BookLevel",
    "Busy",
    "CancelOnDisconnect",
    "CancelRejected",
    "Changed",
    "ConnectError",
    "Credentials",
    "ExecInst",
    "ExecType",
    "Feed",
    "GatewayRefused",
    "Listed",
    "Lost",
    "NotSent",
    "NotSupported",
    "OrdStatus",
    "OrdType",
    "OrderRejected",
    "OrderSession",
    "OutcomeUnknown",
    "Phase",
    "Quote",
    "Quoter",
    "RejectReason",
    "Resume",
    "Resumed",
    "Resyncing",
    "SelfMatch",
    "SessionEnded",
    "Side",
    "SideCode",
    "Synced",
    "TesseraError",
    "Throttled",
    "TimeInForce",
]
