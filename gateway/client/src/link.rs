//! One connection: its session, its control stream, and the streams that the server opens.

use std::collections::HashMap;
use std::ops::{ControlFlow, Deref};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, VarInt};
use tessera_market_data::{BookSnapshot, LastTrade, LevelEntry};
use tessera_proto::codes::{CloseCode, LogoutReason, StreamKind};
use tessera_proto::message::{Body, Message, SecurityDefinition, SecurityListRequest, StreamStart};
use tessera_proto::session::{ClientError, ClientOutput, ClientSession, ClientStream};
use tessera_proto::{Flags, FrameError, Monotime};
use tessera_types::{Qty, Side};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::SessionError;
use crate::frames::FrameReader;

/// What the parts of one session share. The first reason for its end counts.
pub(crate) struct Link {
    pub(crate) connection: Connection,
    session: Mutex<ClientSession>,
    origin: Instant,
    end: watch::Sender<Option<SessionError>>,
    commands: mpsc::UnboundedSender<Command>,
    incoming: mpsc::UnboundedSender<Incoming>,
    answers: Mutex<HashMap<u64, oneshot::Sender<Vec<SecurityDefinition>>>>,
    next_request: AtomicU64,
    notices: usize,
}

/// The owner's hold on a session: when the last one is dropped, so is the connection. The background
/// tasks hold the link itself and would keep it for ever.
pub(crate) struct Owner(Arc<Link>);

impl Deref for Owner {
    type Target = Link;
    fn deref(&self) -> &Link {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.fail(SessionError::Ended);
    }
}

/// What a session asks of its background task.
enum Command {
    /// Write these frames on the control stream.
    Send(Vec<u8>),
    /// Say Logout.
    Logout,
}

/// A stream of the server, as far as it concerns the kind of session.
pub(crate) enum Incoming {
    /// S2.
    Events(FrameReader),
    /// A market-data channel.
    Channel(StreamStart, FrameReader),
    /// A whole snapshot.
    Snapshot(StreamStart, BookSnapshot),
}

/// The ends that belong to the session's owner.
pub(crate) struct Ends {
    /// Messages of the control stream.
    pub(crate) notices: mpsc::Receiver<Message>,
    /// Streams of the server.
    pub(crate) incoming: mpsc::UnboundedReceiver<Incoming>,
}

impl Link {
    /// Starts the background tasks of a session that is logged on.
    pub(crate) fn start(
        connection: Connection,
        session: ClientSession,
        origin: Instant,
        control: (SendStream, FrameReader),
        notices: usize,
    ) -> (Arc<Owner>, Ends) {
        let (commands, orders) = mpsc::unbounded_channel();
        let (tell, told) = mpsc::channel(notices);
        let (incoming, streams) = mpsc::unbounded_channel();
        let link = Arc::new(Self {
            connection,
            session: Mutex::new(session),
            origin,
            end: watch::Sender::new(None),
            commands,
            incoming,
            answers: Mutex::default(),
            next_request: AtomicU64::new(1),
            notices,
        });
        let (send, reader) = control;
        let task = ControlTask {
            link: Arc::clone(&link),
            send,
            reader,
            orders,
            tell,
        };
        tokio::spawn(task.run());
        tokio::spawn(accept(Arc::clone(&link)));
        let ends = Ends {
            notices: told,
            incoming: streams,
        };
        (Arc::new(Owner(link)), ends)
    }

    pub(crate) fn now(&self) -> Monotime {
        monotime(self.origin)
    }

    /// Ends the session for this reason, unless it has ended for another, and closes the connection.
    pub(crate) fn fail(&self, error: SessionError) {
        self.set_end(error);
        self.close();
    }

    fn set_end(&self, error: SessionError) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            if first {
                *end = Some(error);
            }
            first
        });
    }

    fn close(&self) {
        let code = VarInt::from_u32(u32::from(CloseCode::Done.code()));
        self.connection.close(code, b"");
    }

    /// Why the session is over, if it is.
    pub(crate) fn end(&self) -> Option<SessionError> {
        self.end.borrow().clone()
    }

    /// Waits for the end of the session.
    pub(crate) async fn ended(&self) -> SessionError {
        let mut end = self.end.subscribe();
        let ended = end.wait_for(Option::is_some).await;
        ended
            .ok()
            .and_then(|end| end.clone())
            .unwrap_or(SessionError::Ended)
    }

    /// Sends a message on the control stream.
    pub(crate) fn send_control(&self, message: &impl Body) -> Result<(), SessionError> {
        let mut frame = Vec::new();
        message.encode_frame(0, Flags::NONE, &mut frame);
        self.command(Command::Send(frame))
    }

    /// Says Logout and waits for the end.
    pub(crate) async fn logout(&self) -> Result<(), SessionError> {
        self.command(Command::Logout)?;
        match self.ended().await {
            SessionError::LoggedOut {
                reason: LogoutReason::Normal,
                ..
            }
            | SessionError::Closed(CloseCode::Done) => Ok(()),
            other => Err(other),
        }
    }

    /// Takes the number for the next request on S1.
    pub(crate) fn take_client_seq(&self) -> u64 {
        self.session.lock().take_client_seq()
    }

    /// Notes that something was written.
    pub(crate) fn on_sent(&self) {
        let now = self.now();
        self.session.lock().on_sent(now);
    }

    /// Takes every frame that a reader has, in one go.
    pub(crate) fn take_frames(
        &self,
        reader: &mut FrameReader,
        stream: ClientStream,
        mut deliver: impl FnMut(u64, Flags, Message),
    ) -> Result<(), SessionError> {
        let now = self.now();
        let mut session = self.session.lock();
        session.on_bytes(now);
        let taken: Result<(), FrameFault> = reader.drain(|frame| {
            let output = session.on_frame(now, stream, &frame.header, frame.body)?;
            if let ClientOutput::Deliver { seq, message } = output {
                deliver(seq, frame.header.flags, message);
            }
            Ok(ControlFlow::Continue(()))
        });
        taken.map_err(SessionError::from)
    }

    /// A number for a request on the control stream.
    pub(crate) fn next_request(&self) -> u64 {
        self.next_request.fetch_add(1, Ordering::Relaxed)
    }

    /// The definitions of all instruments.
    pub(crate) async fn instruments(&self) -> Result<Vec<SecurityDefinition>, SessionError> {
        let request_id = self.next_request();
        let (answer, answered) = oneshot::channel();
        self.answers.lock().insert(request_id, answer);
        self.send_control(&SecurityListRequest { request_id })?;
        tokio::select! {
            Ok(definitions) = answered => Ok(definitions),
            error = self.ended() => Err(error),
            () = tokio::time::sleep(ANSWER_PATIENCE) => {
                self.answers.lock().remove(&request_id);
                Err(SessionError::Protocol(ClientError::NoAnswer))
            }
        }
    }

    fn command(&self, command: Command) -> Result<(), SessionError> {
        let sent = self.commands.send(command);
        sent.map_err(|_| self.end().unwrap_or(SessionError::Ended))
    }
}

/// A frame that cannot be cut out, or one that the session refuses.
pub(crate) enum FrameFault {
    Frame(FrameError),
    Session(ClientError),
}

impl From<FrameError> for FrameFault {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<ClientError> for FrameFault {
    fn from(error: ClientError) -> Self {
        Self::Session(error)
    }
}

impl From<FrameFault> for SessionError {
    fn from(fault: FrameFault) -> Self {
        match fault {
            FrameFault::Frame(error) => Self::Closed(error.close_code()),
            FrameFault::Session(error) => Self::Protocol(error),
        }
    }
}

pub(crate) fn monotime(origin: Instant) -> Monotime {
    let nanos = origin.elapsed().as_nanos();
    Monotime::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// What a lost connection means to the session.
pub(crate) fn lost(error: ConnectionError) -> SessionError {
    match &error {
        ConnectionError::ApplicationClosed(close) => {
            match CloseCode::from_code(close.error_code.into_inner()) {
                Some(code) => SessionError::Closed(code),
                None => SessionError::Lost(error),
            }
        }
        ConnectionError::LocallyClosed => SessionError::Ended,
        _ => SessionError::Lost(error),
    }
}

/// Reads the control stream and keeps the timers, so that a caller who is busy stays logged on.
struct ControlTask {
    link: Arc<Link>,
    send: SendStream,
    reader: FrameReader,
    orders: mpsc::UnboundedReceiver<Command>,
    tell: mpsc::Sender<Message>,
}

impl ControlTask {
    async fn run(mut self) {
        let error = match self.serve().await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        let leaving = matches!(error, SessionError::LoggedOut { .. });
        self.link.set_end(error);
        if leaving {
            // The Logout may have overtaken the last events: the server closes when it has written
            // them, and until then they can be read.
            let closed = self.link.connection.closed();
            let _ = tokio::time::timeout(FAREWELL_PATIENCE, closed).await;
        }
        self.link.close();
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, SessionError> {
        self.on_frames().await?; // what came with the LogonAck
        loop {
            let deadline = self.link.session.lock().next_deadline();
            let sleep = deadline.map(|deadline| deadline.since(self.link.now()));
            tokio::select! {
                filled = self.reader.fill() => match filled {
                    Ok(true) => self.on_frames().await?,
                    Ok(false) => return Err(self.closed().await),
                    Err(ReadError::ConnectionLost(error)) => return Err(lost(error)),
                    Err(_) => return Err(self.closed().await),
                },
                command = self.orders.recv() => match command {
                    Some(Command::Send(frame)) => self.write(&frame).await?,
                    Some(Command::Logout) => {
                        let logout = self.link.session.lock().logout(self.link.now());
                        let mut frame = Vec::new();
                        logout.encode_frame(0, Flags::NONE, &mut frame);
                        self.write(&frame).await?;
                    }
                    None => return Err(SessionError::Ended),
                },
                () = tokio::time::sleep(sleep.unwrap_or(IDLE)), if sleep.is_some() => {
                    self.on_timer().await?;
                }
                error = self.link.ended() => return Err(error),
            }
        }
    }

    async fn on_frames(&mut self) -> Result<(), SessionError> {
        let now = self.link.now();
        let mut outputs = Vec::new();
        {
            let mut session = self.link.session.lock();
            session.on_bytes(now);
            let taken: Result<(), FrameFault> = self.reader.drain(|frame| {
                let stream = ClientStream::Control;
                outputs.push(session.on_frame(now, stream, &frame.header, frame.body)?);
                Ok(ControlFlow::Continue(()))
            });
            taken?;
        }
        for output in outputs {
            self.act(output).await?;
        }
        Ok(())
    }

    async fn on_timer(&mut self) -> Result<(), SessionError> {
        loop {
            let output = self.link.session.lock().on_timer(self.link.now())?;
            if output == ClientOutput::Nothing {
                return Ok(());
            }
            self.act(output).await?;
        }
    }

    async fn act(&mut self, output: ClientOutput) -> Result<(), SessionError> {
        match output {
            ClientOutput::Nothing | ClientOutput::LoggedOn(_) | ClientOutput::Opened(_) => Ok(()),
            ClientOutput::Deliver { message, .. } => {
                self.tell.try_send(message).or_else(|error| match error {
                    mpsc::error::TrySendError::Full(_) => {
                        Err(SessionError::NotRead(self.link.notices))
                    }
                    // The caller has dropped what would read it and keeps only the sender.
                    mpsc::error::TrySendError::Closed(_) => Ok(()),
                })
            }
            ClientOutput::Reply(reply) => {
                let mut frame = Vec::new();
                reply.encode_frame(&mut frame);
                self.write(&frame).await
            }
            ClientOutput::LoggedOut(logout) => {
                // The Logout may overtake events, as its stream goes first. The server closes when
                // it knows that they have arrived; what has can still be read after that.
                let _ = tokio::time::timeout(CLOSE_PATIENCE, self.link.connection.closed()).await;
                Err(SessionError::LoggedOut {
                    reason: logout.reason,
                    text: logout.text.as_str().to_owned(),
                })
            }
            ClientOutput::Close => Err(SessionError::Ended),
        }
    }

    async fn write(&mut self, frame: &[u8]) -> Result<(), SessionError> {
        match self.send.write_all(frame).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.closed().await),
        }
    }

    /// The server ended the control stream: it is about to close, and its code says why.
    async fn closed(&self) -> SessionError {
        match tokio::time::timeout(CLOSE_PATIENCE, self.link.connection.closed()).await {
            Ok(error) => lost(error),
            Err(_) => SessionError::Closed(CloseCode::BadStream),
        }
    }
}

/// Takes every stream that the server opens; each is read by a task of its own, because the first
/// bytes of one may be lost and come later than those of the next.
async fn accept(link: Arc<Link>) {
    while let Ok(stream) = link.connection.accept_uni().await {
        let link = Arc::clone(&link);
        tokio::spawn(async move {
            if let Err(error) = open(&link, stream).await {
                link.fail(error);
            }
        });
    }
}

async fn open(link: &Link, stream: RecvStream) -> Result<(), SessionError> {
    let mut reader = FrameReader::new(stream);
    let mut start = None;
    while start.is_none() {
        match reader.fill().await {
            Ok(true) => {}
            // A stream that was given up before it said what it is.
            Ok(false) | Err(_) => return Ok(()),
        }
        let now = link.now();
        let mut session = link.session.lock();
        session.on_bytes(now);
        let taken: Result<(), FrameFault> = reader.drain(|frame| {
            let output = session.on_frame(now, ClientStream::New, &frame.header, frame.body)?;
            if let ClientOutput::Opened(opened) = output {
                start = Some(opened);
            }
            Ok(ControlFlow::Break(()))
        });
        taken?;
    }
    let Some(start) = start else { return Ok(()) };
    // The owner may be gone and only the sender left; then nobody wants the stream.
    let _ = match start.kind {
        StreamKind::Events => link.incoming.send(Incoming::Events(reader)),
        StreamKind::Channel => link.incoming.send(Incoming::Channel(start, reader)),
        StreamKind::Snapshot => match read_snapshot(link, start, reader).await? {
            Some(snapshot) => link.incoming.send(Incoming::Snapshot(start, snapshot)),
            None => Ok(()),
        },
        StreamKind::Answer => {
            if let Some(definitions) = read_answer(link, reader).await?
                && let Some(answer) = link.answers.lock().remove(&start.request_id)
            {
                let _ = answer.send(definitions);
            }
            Ok(())
        }
        StreamKind::Replay => Ok(()), // not asked for
    };
    Ok(())
}

/// The whole answer, or nothing when it was given up on the way.
async fn read_answer(
    link: &Link,
    mut reader: FrameReader,
) -> Result<Option<Vec<SecurityDefinition>>, SessionError> {
    let mut definitions = Vec::new();
    let mut count = None;
    let stream = ClientStream::Opened(StreamKind::Answer);
    loop {
        link.take_frames(&mut reader, stream, |_, _, message| match message {
            Message::SecurityDefinition(definition) => definitions.push(definition),
            Message::SecurityListEnd(end) => count = Some(end.count),
            _ => {}
        })?;
        if count.is_some_and(|count| count as usize == definitions.len()) {
            return Ok(Some(definitions));
        }
        if !matches!(reader.fill().await, Ok(true)) {
            return Ok(None);
        }
    }
}

/// The whole snapshot, or nothing when it was given up on the way.
async fn read_snapshot(
    link: &Link,
    start: StreamStart,
    mut reader: FrameReader,
) -> Result<Option<BookSnapshot>, SessionError> {
    let mut book: Option<BookSnapshot> = None;
    let mut complete = false;
    let stream = ClientStream::Opened(StreamKind::Snapshot);
    loop {
        link.take_frames(&mut reader, stream, |_, flags, message| {
            let Message::Snapshot(part) = message else {
                return;
            };
            let book = book.get_or_insert_with(|| BookSnapshot {
                request: start.request_id,
                instrument: part.instrument,
                epoch: start.epoch,
                last_seq_applied: part.last_seq,
                rpt_seq: part.rpt_seq,
                seq: part.engine_seq,
                time: part.transact_time,
                phase: part.phase,
                bids: Vec::new(),
                asks: Vec::new(),
                last_trade: (part.last_qty != Qty::ZERO).then_some(LastTrade {
                    price: part.last_px,
                    qty: part.last_qty,
                    time: part.last_time,
                }),
            });
            for entry in part.entries {
                let levels = match entry.side {
                    Side::Buy => &mut book.bids,
                    Side::Sell => &mut book.asks,
                };
                levels.push(LevelEntry {
                    price: entry.price,
                    qty: entry.qty,
                    orders: entry.orders,
                });
            }
            complete |= flags.contains(Flags::LAST_IN_BATCH);
        })?;
        if complete {
            return Ok(book);
        }
        if !matches!(reader.fill().await, Ok(true)) {
            return Ok(None);
        }
    }
}

const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
const FAREWELL_PATIENCE: Duration = Duration::from_secs(3);
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(3_600);
