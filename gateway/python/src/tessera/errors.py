"""What can go wrong, one type per thing that a caller may want to do about it.

A message says what happened, where, and what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tessera.codes import CloseCode, LogoutReason, MdRejectReason, RejectReason, SessionRejectReason

if TYPE_CHECKING:
    from tessera.messages import BusinessReject, CancelReject, ExecutionReport, MassActionReport, Reject


class TesseraError(Exception):
    """Base of everything that this package raises on purpose."""


class CredentialsError(TesseraError):
    """A file of the credentials directory is missing or is not what it should be."""


class EncodeError(TesseraError):
    """A message cannot be written: a field is outside what its width can hold."""


class DecodeError(TesseraError):
    """Bytes that are not the message they claim to be.

    `reason` is what the protocol calls the fault, `tag` the field at fault (0 = the whole message).
    """

    def __init__(self, message: str, reason: SessionRejectReason, tag: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.tag = tag


class FrameError(TesseraError):
    """The stream is not a sequence of frames any more; the connection has to go."""

    def __init__(self, message: str, code: CloseCode) -> None:
        super().__init__(message)
        self.code = code


class ProtocolError(TesseraError):
    """The server did what the protocol does not allow; log on again."""


class NotSupported(TesseraError):
    """The exchange does not have this yet; the message says what is missing."""


class ConnectError(TesseraError):
    """No connection could be made within the time given: address, certificates or protocol name."""


class SessionEnded(TesseraError):
    """The session is over.

    `logout` is the reason of the server's Logout when there was one, `close` the code with which the
    connection was closed when the application closed it.
    """

    def __init__(
        self, message: str, logout: LogoutReason | None = None, close: CloseCode | int | None = None
    ) -> None:
        super().__init__(message)
        self.logout = logout
        self.close = close


class NotSent(SessionEnded):
    """The session was already over when the request was made: nothing left this machine."""


class OutcomeUnknown(SessionEnded):
    """The session ended between the request and its answer.

    The next LogonAck's `last_cl_ord_id` says whether the request arrived; see `orders.Resume`.
    """


class RequestRefused(TesseraError):
    """Base of the refusals of one request; the session goes on."""

    reason: RejectReason


class OrderRejected(RequestRefused):
    """The engine refused an order; `report` is its ExecutionReport."""

    def __init__(self, report: ExecutionReport) -> None:
        super().__init__(f"order {report.cl_ord_id} rejected: {report.reason.name.lower()}")
        self.report = report
        self.reason = report.reason


class CancelRejected(RequestRefused):
    """The engine refused a cancel, replace or reduce; `reject` says where the order stands."""

    def __init__(self, reject: CancelReject) -> None:
        super().__init__(f"request {reject.cl_ord_id} rejected: {reject.reason.name.lower()}")
        self.reject = reject
        self.reason = reject.reason


class MassActionRejected(RequestRefused):
    """The engine refused a mass action."""

    def __init__(self, report: MassActionReport) -> None:
        super().__init__(f"mass action {report.cl_ord_id} rejected: {report.reason.name.lower()}")
        self.report = report
        self.reason = report.reason


class GatewayRefused(RequestRefused):
    """The gateway refused a request before the engine; its ClOrdID has not been used up."""

    def __init__(self, reject: BusinessReject) -> None:
        super().__init__(f"request {reject.cl_ord_id} refused: {reject.reason.name.lower()}")
        self.reject = reject
        self.reason = reject.reason


class Throttled(GatewayRefused):
    """The rate limit is exceeded; `retry_after_ns` nanoseconds later there is room again."""

    def __init__(self, reject: BusinessReject) -> None:
        super().__init__(reject)
        self.retry_after_ns = reject.retry_after


class Busy(GatewayRefused):
    """The disk is behind: orders and replaces are refused for the moment, cancels are served."""


class FormRefused(TesseraError):
    """The server could not read a message: this client and the server disagree about the protocol."""

    def __init__(self, reject: Reject) -> None:
        super().__init__(
            f"template {reject.ref_template} with number {reject.ref_seq} refused for its form: "
            f"{reject.reason.name.lower()}, tag {reject.ref_tag}"
        )
        self.reject = reject


class MdRefused(TesseraError):
    """A market-data request was refused."""

    def __init__(self, request_id: int, reason: MdRejectReason) -> None:
        super().__init__(f"market-data request {request_id} refused: {reason.name.lower()}")
        self.request_id = request_id
        self.reason = reason


class AdminRefused(TesseraError):
    """An admin command was refused."""

    def __init__(self, cl_ord_id: int, reason: RejectReason) -> None:
        super().__init__(f"admin command {cl_ord_id} refused: {reason.name.lower()}")
        self.cl_ord_id = cl_ord_id
        self.reason = reason


class Resyncing(TesseraError):
    """The book is not known exactly at the moment; `why` says what was lost."""

    def __init__(self, instrument: int, why: str) -> None:
        super().__init__(f"the book of instrument {instrument} is being resynchronised: {why}")
        self.instrument = instrument
        self.why = why
