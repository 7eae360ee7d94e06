//! Order entry.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use quinn::SendStream;
use tessera_proto::codes::{
    KillAction, KillScope, MassActionScope, MassActionType, SideCode, StreamKind,
};
use tessera_proto::field::Reserved;
use tessera_proto::message::{
    BusinessReject, Cancel, CancelReject, CancelReplace, Changes, ExecInstBits, ExecutionReport,
    KillSwitch, MassAction, MassActionReport, Message, NO_INSTRUMENT, Reduce, Reject,
    SecurityDefinition,
};
use tessera_proto::session::{ClientStream, Request};
use tessera_proto::{Flags, Lots};
use tessera_types::{
    AccountId, ClOrdId, InstrumentId, OrderId, Price, RejectReason, ServerSeq, Side, Timestamp,
};
use tokio::sync::mpsc;

use crate::connect::{Established, LogonInfo};
use crate::error::{SendError, SessionError};
use crate::frames::FrameReader;
use crate::link::{Incoming, Owner, lost};

/// A session of order entry: a sender and its events. [`split`](Self::split) it to use both at once.
#[derive(Debug)]
pub struct OrderSession {
    sender: OrderSender,
    events: OrderEvents,
}

/// What the exchange says to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderEvent {
    /// Something happened to an order. Durable.
    Execution {
        /// Its number in the session.
        seq: ServerSeq,
        /// What.
        report: ExecutionReport,
    },
    /// A cancel, replace or reduce was refused by the engine. Durable.
    CancelReject {
        /// Its number in the session.
        seq: ServerSeq,
        /// Why.
        report: CancelReject,
    },
    /// A mass action is complete, or refused. Durable.
    MassAction {
        /// Its number in the session.
        seq: ServerSeq,
        /// What it did.
        report: MassActionReport,
    },
    /// A request was refused before it reached the engine: its id was not used up.
    Refused(BusinessReject),
    /// A message was refused for its form: client and server disagree about the protocol.
    Malformed(Reject),
}

impl OrderEvent {
    /// The request, or the order, that it is about; none for a malformed message.
    #[must_use]
    pub const fn cl_ord_id(&self) -> Option<ClOrdId> {
        match self {
            Self::Execution { report, .. } => Some(report.cl_ord_id),
            Self::CancelReject { report, .. } => Some(report.cl_ord_id),
            Self::MassAction { report, .. } => Some(report.cl_ord_id),
            Self::Refused(reject) => Some(reject.cl_ord_id),
            Self::Malformed(_) => None,
        }
    }

    /// Why a request was refused, if this says so.
    #[must_use]
    pub const fn rejection(&self) -> Option<RejectReason> {
        match self {
            Self::Execution { report, .. } => report.reason,
            Self::CancelReject { report, .. } => report.reason,
            Self::MassAction { report, .. } => report.reason,
            Self::Refused(reject) => reject.reason,
            Self::Malformed(_) => None,
        }
    }
}

impl OrderSession {
    pub(crate) async fn new(established: Established) -> Result<Self, SessionError> {
        let Established { link, ends, info } = established;
        // The stream costs nothing until something is written.
        let opened = link.connection.open_uni().await;
        let stream = opened.map_err(lost)?;
        let sender = OrderSender {
            link: Arc::clone(&link),
            stream,
            queue: Vec::with_capacity(4_096),
            written: 0,
            last_id: info.last_cl_ord_id,
        };
        let events = OrderEvents {
            link,
            info,
            reader: None,
            notices: ends.notices,
            incoming: ends.incoming,
            queue: VecDeque::new(),
        };
        Ok(Self { sender, events })
    }

    /// What the server said when the session began.
    #[must_use]
    pub const fn info(&self) -> &LogonInfo {
        &self.events.info
    }

    /// The two halves, for two tasks.
    #[must_use]
    pub fn split(self) -> (OrderSender, OrderEvents) {
        (self.sender, self.events)
    }

    /// The sending half.
    pub const fn sender(&mut self) -> &mut OrderSender {
        &mut self.sender
    }

    /// [`OrderSender::send`].
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&mut self, request: impl Into<Request>) -> Result<ClOrdId, SendError> {
        self.sender.send(request).await
    }

    /// [`OrderEvents::next_event`].
    ///
    /// # Errors
    /// [`SessionError`]: the session is over.
    pub async fn next_event(&mut self) -> Result<OrderEvent, SessionError> {
        self.events.next_event().await
    }

    /// The definitions of all instruments.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn instruments(&self) -> Result<Vec<SecurityDefinition>, SessionError> {
        self.sender.instruments().await
    }

    /// [`OrderSender::logout`].
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn logout(mut self) -> Result<(), SendError> {
        self.sender.logout().await
    }
}

/// Sends requests. [`queue`](Self::queue) collects them, [`flush`](Self::flush) writes what was
/// collected at once: one write for many requests costs hardly more than for one.
pub struct OrderSender {
    link: Arc<Owner>,
    stream: SendStream,
    /// Frames to write, of which the first `written` bytes are.
    queue: Vec<u8>,
    written: usize,
    last_id: ClOrdId,
}

impl OrderSender {
    /// Numbers a request and puts it into the queue. A client id of 0 is replaced by the next one.
    ///
    /// # Errors
    /// [`SendError::NotRising`], or [`SendError::Session`] when the session is over.
    pub fn queue(&mut self, request: impl Into<Request>) -> Result<ClOrdId, SendError> {
        self.put(request.into(), Flags::NONE)
    }

    /// As [`queue`](Self::queue), for a request that an earlier connection may have sent under the
    /// same id: if it arrived then, it is refused `duplicate_id` now.
    ///
    /// # Errors
    /// As [`queue`](Self::queue).
    pub fn queue_again(&mut self, request: impl Into<Request>) -> Result<ClOrdId, SendError> {
        self.put(request.into(), Flags::POSS_RESEND)
    }

    /// Writes the queue. If the future is dropped, the next call goes on where this one stopped.
    ///
    /// # Errors
    /// [`SendError::Session`]: the session is over.
    pub async fn flush(&mut self) -> Result<(), SendError> {
        if self.written == self.queue.len() {
            return Ok(());
        }
        while self.written < self.queue.len() {
            match self.stream.write(&self.queue[self.written..]).await {
                Ok(count) => self.written += count,
                Err(_) => return Err(self.link.ended().await.into()),
            }
        }
        self.queue.clear();
        self.written = 0;
        self.link.on_sent();
        Ok(())
    }

    /// Queues a request and writes the queue.
    ///
    /// # Errors
    /// As [`queue`](Self::queue) and [`flush`](Self::flush).
    pub async fn send(&mut self, request: impl Into<Request>) -> Result<ClOrdId, SendError> {
        let id = self.queue(request)?;
        self.flush().await?;
        Ok(id)
    }

    /// Cancels and refuses everything of this session from now on, overtaking requests under way.
    ///
    /// # Errors
    /// [`SessionError`].
    pub fn kill(&self, action: KillAction) -> Result<(), SessionError> {
        self.link.send_control(&KillSwitch {
            action,
            scope: KillScope::Session,
        })
    }

    /// The highest client id so far.
    #[must_use]
    pub const fn last_id(&self) -> ClOrdId {
        self.last_id
    }

    /// Bytes that wait for [`flush`](Self::flush).
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len() - self.written
    }

    /// The definitions of all instruments.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn instruments(&self) -> Result<Vec<SecurityDefinition>, SessionError> {
        self.link.instruments().await
    }

    /// Writes the queue, logs out and waits for the server's answer, which comes after the answers to
    /// all requests. Events that came meanwhile can still be read from the other half.
    ///
    /// # Errors
    /// [`SendError::Session`] when the session ended in another way.
    pub async fn logout(&mut self) -> Result<(), SendError> {
        self.flush().await?;
        self.link.logout().await.map_err(Into::into)
    }

    fn put(&mut self, mut request: Request, flags: Flags) -> Result<ClOrdId, SendError> {
        if let Some(end) = self.link.end() {
            return Err(end.into());
        }
        let last = self.last_id;
        if request.cl_ord_id() == ClOrdId::new(0) {
            request.set_cl_ord_id(ClOrdId::new(last.get() + 1));
        }
        let given = request.cl_ord_id();
        if given <= last {
            return Err(SendError::NotRising { last, given });
        }
        self.last_id = given;
        let seq = self.link.take_client_seq();
        request.encode_frame(seq, flags, &mut self.queue);
        Ok(given)
    }
}

impl fmt::Debug for OrderSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderSender")
            .field("last_id", &self.last_id)
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}

/// Receives what the exchange says to the session, in order. Keep it for as long as the sender: a
/// session whose events nobody reads is ended by the server.
pub struct OrderEvents {
    link: Arc<Owner>,
    info: LogonInfo,
    /// S2, once the server has opened it.
    reader: Option<FrameReader>,
    notices: mpsc::Receiver<Message>,
    incoming: mpsc::UnboundedReceiver<Incoming>,
    queue: VecDeque<OrderEvent>,
}

impl OrderEvents {
    /// What the server said when the session began.
    #[must_use]
    pub const fn info(&self) -> &LogonInfo {
        &self.info
    }

    /// The next event that is here already.
    pub fn try_next(&mut self) -> Option<OrderEvent> {
        self.queue.pop_front()
    }

    /// Waits for the next event. Cancel safe. A caller that takes no events for long stops the server
    /// from sending, and is logged out as a slow consumer in the end.
    ///
    /// # Errors
    /// [`SessionError`]: the session is over, and every event before its end has been given.
    pub async fn next_event(&mut self) -> Result<OrderEvent, SessionError> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(event);
            }
            tokio::select! {
                biased; // everything that was said comes before the end
                filled = fill(self.reader.as_mut()), if self.reader.is_some() => {
                    if filled {
                        self.on_frames()?;
                    } else {
                        self.reader = None;
                    }
                }
                Some(incoming) = self.incoming.recv() => {
                    if let Incoming::Events(reader) = incoming {
                        self.reader = Some(reader);
                        self.on_frames()?;
                    }
                }
                Some(notice) = self.notices.recv() => match notice {
                    Message::BusinessReject(reject) => {
                        self.queue.push_back(OrderEvent::Refused(reject));
                    }
                    Message::Reject(reject) => self.queue.push_back(OrderEvent::Malformed(reject)),
                    _ => {}
                },
                // The stream of events ends by itself soon after the session, and is read to its end.
                error = self.link.ended(), if self.reader.is_none() => return Err(error),
            }
        }
    }

    fn on_frames(&mut self) -> Result<(), SessionError> {
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        let queue = &mut self.queue;
        let stream = ClientStream::Opened(StreamKind::Events);
        let taken = self.link.take_frames(reader, stream, |seq, _, message| {
            let seq = ServerSeq::new(seq);
            queue.push_back(match message {
                Message::ExecutionReport(report) => OrderEvent::Execution { seq, report },
                Message::CancelReject(report) => OrderEvent::CancelReject { seq, report },
                Message::MassActionReport(report) => OrderEvent::MassAction { seq, report },
                _ => return, // the session lets no other message through here
            });
        });
        taken.inspect_err(|error| self.link.fail(error.clone()))
    }
}

impl fmt::Debug for OrderEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderEvents")
            .field("info", &self.info)
            .field("queued", &self.queue.len())
            .finish_non_exhaustive()
    }
}

/// Whether there is more to read.
async fn fill(reader: Option<&mut FrameReader>) -> bool {
    match reader {
        Some(reader) => reader.fill().await.unwrap_or(false),
        None => false,
    }
}

/// Cancels the order with this client id.
#[must_use]
pub const fn cancel(order: ClOrdId) -> Cancel {
    Cancel {
        cl_ord_id: ClOrdId::new(0),
        account: AccountId::new(0),
        orig_cl_ord_id: order,
        order_id: OrderId::new(0),
    }
}

/// Takes `by` lots off the order with this client id.
#[must_use]
pub const fn reduce(order: ClOrdId, by: Lots) -> Reduce {
    Reduce {
        cl_ord_id: ClOrdId::new(0),
        account: AccountId::new(0),
        orig_cl_ord_id: order,
        order_id: OrderId::new(0),
        by,
    }
}

/// Changes the order with this client id; what is `None` stays. The order is then named by the id
/// that this request gets.
#[must_use]
pub fn replace(order: ClOrdId, price: Option<Price>, qty: Option<Lots>) -> CancelReplace {
    let mut changes = Changes::NONE;
    if price.is_some() {
        changes = changes.with(Changes::PRICE);
    }
    if qty.is_some() {
        changes = changes.with(Changes::QTY);
    }
    CancelReplace {
        cl_ord_id: ClOrdId::new(0),
        account: AccountId::new(0),
        orig_cl_ord_id: order,
        order_id: OrderId::new(0),
        price: price.unwrap_or(Price::ZERO),
        order_qty: qty.unwrap_or(Lots::ZERO),
        min_qty: Lots::ZERO,
        stop_px: Price::ZERO,
        expire_time: Timestamp::ZERO,
        exec_inst: ExecInstBits::NONE,
        changes,
        on_failure: Reserved,
        in_flight: Reserved,
    }
}

/// Cancels the session's orders that pass the filters.
#[must_use]
pub fn mass_cancel(
    account: Option<AccountId>,
    instrument: Option<InstrumentId>,
    side: Option<Side>,
) -> MassAction {
    MassAction {
        cl_ord_id: ClOrdId::new(0),
        account: account.unwrap_or_default(),
        action: MassActionType::Cancel,
        scope: if instrument.is_some() {
            MassActionScope::Instrument
        } else {
            MassActionScope::All
        },
        instrument: instrument.unwrap_or(NO_INSTRUMENT),
        product: 0,
        side: side.map_or(SideCode::Any, SideCode::from),
        mmp_group: 0,
    }
}
