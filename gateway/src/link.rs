//! One connection: its task, which reads frames and keeps its timers, and what the rest of the shard
//! needs of it to answer.
//!
//! What a frame means is decided by [`Session`]; this module moves bytes and acts on its outputs. The
//! session of order entry and administration has a [`Life`] in the engine; market data has none.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connecting, Connection, RecvStream};
use rustls_pki_types::CertificateDer;
use tessera_proto::codes::{CancelOnDisconnect, CloseCode, KillAction, LogoutReason, StreamKind};
use tessera_proto::convert::{Origin, Report};
use tessera_proto::header::MAX_CLIENT_BODY;
use tessera_proto::message::{
    Logon, Logout, SecurityDefinition, SecurityListEnd, SecurityListRequest, StreamStart,
};
use tessera_proto::session::server::{Reply, business_reject};
use tessera_proto::session::{Control, Options, Output, Request, Session, Started};
use tessera_proto::{Body, Flags, Framer, Monotime, Protocol, Stream, Template};
use tessera_types::{
    ClOrdId, Command, ConnToken, FenceReason, InstrumentId, Name, RejectReason, ServerSeq,
    Timestamp,
};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tracing::{debug, info, warn};

use crate::auth;
use crate::clock::utc;
use crate::credentials::{Scope, Subject};
use crate::feed::{code, frame, open, send_whole};
use crate::life::{Departure, Life, LifePhase};
use crate::outbox::Outbox;
use crate::shard::{Refused, ShardState};
use crate::tls;

/// A connection as the rest of the shard sees it.
pub(crate) struct Link {
    pub(crate) token: ConnToken,
    connection: Connection,
    subject: Option<Subject>,
    session: RefCell<Session>,
    /// Replies on the client's first stream.
    control: Rc<Outbox>,
    /// The stream of numbered messages, from the start of the session.
    events: OnceCell<Rc<Outbox>>,
    /// Messages of the drain in progress.
    batch: RefCell<Batch>,
    life: RefCell<Option<Rc<Life>>>,
    terms: OnceCell<Terms>,
    /// Answers to list requests that are being written.
    answering: Rc<Cell<usize>>,
    /// The server has sent a Logout of its own.
    said_goodbye: Cell<bool>,
    /// What others ask of the connection's task.
    order: Cell<Option<Order>>,
    ordered: Notify,
}

/// What the Logon said, as far as it matters later.
#[derive(Debug)]
struct Terms {
    name: Name,
    cancel_on_disconnect: CancelOnDisconnect,
    grace: Duration,
    accounts: Scope<u32>,
}

#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    messages: usize,
    next_server_seq: ServerSeq,
}

/// What the connection's task is asked to do.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// Log the client out.
    Stop(LogoutReason, Departure),
    /// The session's life is over and everything is written: say good-bye and close.
    Leave,
}

/// When a batch of bytes was read: once per batch, because reading two clocks costs as much as
/// deciding about a frame.
#[derive(Clone, Copy, Debug)]
struct Moment {
    now: Monotime,
    utc: Timestamp,
}

impl Moment {
    fn read(state: &ShardState) -> Self {
        Self {
            now: state.clock.now(),
            utc: utc(),
        }
    }
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
struct Exit {
    departure: Departure,
    code: CloseCode,
}

impl Exit {
    const fn lost(code: CloseCode) -> Self {
        Self {
            departure: Departure::Lost,
            code,
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// The task of a connection, from the handshake to its end.
pub(crate) async fn serve(state: Rc<ShardState>, connecting: Connecting) {
    let address = connecting.remote_address();
    let connection = match tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            debug!(%address, %error, "no connection");
            return;
        }
        Err(_) => return, // dropping it closes it
    };
    let Some(protocol) = protocol_of(&connection) else {
        connection.close(code(CloseCode::Refused), b"");
        return;
    };
    tls::widen(protocol, &connection);
    let options = Options {
        rates: state.config.rates,
        durability: state.config.durability,
        ..Options::default()
    };
    let now = state.clock.now();
    let mut session = Session::new(protocol, options, now);
    let (send, receive) = match first_stream(&state, &connection, &mut session).await {
        Ok(streams) => streams,
        Err(code_of_end) => {
            state.tally.borrow_mut().protocol_errors += 1;
            debug!(%address, code = code_of_end.as_str(), "closed before a Logon");
            connection.close(code(code_of_end), b"");
            return;
        }
    };
    let _ = send.set_priority(CONTROL_PRIORITY); // fails only on a stream that has ended
    let control = Rc::new(Outbox::new(send));
    let task = Rc::clone(&control);
    spawn_local(async move { task.run(never_opens()).await });
    let link = Rc::new(Link {
        token: state.next_token(),
        subject: subject_of(&connection),
        connection,
        session: RefCell::new(session),
        control,
        events: OnceCell::new(),
        batch: RefCell::default(),
        life: RefCell::default(),
        terms: OnceCell::new(),
        answering: Rc::default(),
        said_goodbye: Cell::default(),
        order: Cell::default(),
        ordered: Notify::new(),
    });
    state.connect(&link);
    let exit = Reader::new(receive).run(&state, &link).await;
    link.finish(&state, exit).await;
}

/// Waits for the stream that must come first. A unidirectional one instead breaks the protocol: it
/// cannot have overtaken the Logon of a client that waits for its LogonAck, as it must.
async fn first_stream(
    state: &ShardState,
    connection: &Connection,
    session: &mut Session,
) -> Result<(quinn::SendStream, RecvStream), CloseCode> {
    let deadline = session.next_deadline();
    tokio::select! {
        biased;
        streams = connection.accept_bi() => streams.map_err(|_| CloseCode::NoLogon),
        _ = connection.accept_uni() => Err(CloseCode::NoLogon),
        () = until(state, deadline) => Err(CloseCode::LogonTimeout),
    }
}

/// What the task of a connection keeps to itself.
struct Reader {
    control: RecvStream,
    control_open: bool,
    control_framer: Framer,
    requests: Option<RecvStream>,
    requests_framer: Framer,
    /// Bytes of S1 that have been read and not yet acted on.
    backlog: VecDeque<Bytes>,
    /// A request that found the core's ring full and must not be lost. S1 waits behind it.
    stalled: Option<Command>,
    control_buffers: [Bytes; READ_CHUNKS],
    request_buffers: [Bytes; READ_CHUNKS],
}

/// Whether a step left something to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Idle,
    Busy,
}

impl Reader {
    fn new(control: RecvStream) -> Self {
        Self {
            control,
            control_open: true,
            control_framer: Framer::new(MAX_CLIENT_BODY),
            requests: None,
            requests_framer: Framer::new(MAX_CLIENT_BODY),
            backlog: VecDeque::new(),
            stalled: None,
            control_buffers: Default::default(),
            request_buffers: Default::default(),
        }
    }

    async fn run(mut self, state: &Rc<ShardState>, link: &Rc<Link>) -> Exit {
        loop {
            let step = self.step(state, link).await;
            state.kick();
            match step {
                Ok(Pace::Idle) => {}
                // There may be more at once: a client that keeps its stream full gets turns like all
                // others, and no more.
                Ok(Pace::Busy) => tokio::task::yield_now().await,
                Err(exit) => return exit,
            }
        }
    }

    /// Waits for one thing to happen and acts on it.
    async fn step(&mut self, state: &Rc<ShardState>, link: &Rc<Link>) -> Result<Pace, Exit> {
        let (deadline, reads_requests) = {
            let session = link.session.borrow();
            (session.next_deadline(), session.reads_requests())
        };
        // First, because streams that are always readable would keep the timer from its turn.
        if deadline.is_some_and(|deadline| deadline <= state.clock.now()) {
            self.on_timer(state, link)?;
            return Ok(Pace::Idle);
        }
        let has_requests = self.requests.is_some();
        let connection = &link.connection;
        let mut pace = Pace::Idle;
        let done = tokio::select! {
            biased;
            () = link.ordered.notified() => self.on_order(state, link),
            read = self.control.read_chunks(&mut self.control_buffers), if self.control_open => {
                match read {
                    Ok(Some(count)) => self.on_control(state, link, count),
                    Ok(None) => self.on_control_end(link),
                    Err(_) => Err(link.stream_lost()),
                }
            }
            () = tokio::time::sleep(RETRY), if self.stalled.is_some() => self.retry(state, link),
            read = read_requests(self.requests.as_mut(), &mut self.request_buffers),
                if has_requests && reads_requests && self.stalled.is_none() =>
            {
                match read {
                    Ok(Some(count)) => {
                        if count == READ_CHUNKS {
                            pace = Pace::Busy;
                        }
                        self.on_requests(state, link, count)
                    }
                    Ok(None) => self.on_requests_end(link),
                    Err(_) => Err(link.stream_lost()),
                }
            }
            stream = connection.accept_uni() => self.on_stream(link, stream),
            stream = connection.accept_bi() => match stream {
                Ok(_) => Err(Exit::lost(CloseCode::BadStream)),
                Err(_) => Err(Exit::lost(CloseCode::Done)),
            },
            () = until(state, deadline) => self.on_timer(state, link),
        };
        done.map(|()| pace)
    }

    fn on_order(&mut self, state: &Rc<ShardState>, link: &Rc<Link>) -> Result<(), Exit> {
        match link.order.take() {
            None => Ok(()),
            Some(Order::Leave) => {
                if !link.said_goodbye.get() {
                    let answer = link.session.borrow().logout_answer();
                    link.send(&answer);
                }
                Err(Exit {
                    departure: Departure::Logout,
                    code: CloseCode::Done,
                })
            }
            Some(Order::Stop(reason, departure)) => {
                let now = state.clock.now();
                let output = link.session.borrow_mut().end(now, reason, reason.as_str());
                match output {
                    Output::Logout(logout) => {
                        let exit = link.log_out(&logout, departure);
                        if departure == Departure::Draining && link.fence_and_stay(state) {
                            Ok(()) // what the fence cancels is still told
                        } else {
                            Err(exit)
                        }
                    }
                    // The session is ending already; a drain or a lag does not wait for the peer.
                    _ => Err(Exit {
                        departure,
                        code: CloseCode::Done,
                    }),
                }
            }
        }
    }

    fn on_timer(&mut self, state: &Rc<ShardState>, link: &Rc<Link>) -> Result<(), Exit> {
        loop {
            let output = link.session.borrow_mut().on_timer(state.clock.now());
            if output == Output::Nothing {
                return Ok(());
            }
            if matches!(output, Output::Reply(Reply::Heartbeat(_))) {
                state.hub.borrow().heartbeat(link.token.get());
            }
            link.act(state, Moment::read(state), output, &mut self.stalled)?;
        }
    }

    fn on_control(
        &mut self,
        state: &Rc<ShardState>,
        link: &Rc<Link>,
        count: usize,
    ) -> Result<(), Exit> {
        let at = Moment::read(state);
        for index in 0..count {
            let bytes = std::mem::take(&mut self.control_buffers[index]);
            let mut input = &bytes[..];
            loop {
                let next = self.control_framer.next_frame(&mut input);
                let output = match next {
                    Ok(None) => break,
                    Ok(Some(next)) => {
                        let mut session = link.session.borrow_mut();
                        session.on_bytes(at.now, Stream::Control, false);
                        session.on_frame(at.now, at.utc, Stream::Control, &next.header, next.body)
                    }
                    Err(error) => link.session.borrow_mut().on_frame_error(error),
                };
                link.act(state, at, output, &mut self.stalled)?;
            }
            let partial = self.control_framer.is_partial();
            let mut session = link.session.borrow_mut();
            session.on_bytes(at.now, Stream::Control, partial);
        }
        Ok(())
    }

    /// The client will say nothing more: it must have said Logout, else it is gone.
    fn on_control_end(&mut self, link: &Rc<Link>) -> Result<(), Exit> {
        self.control_open = false;
        stream_ended(link, &self.control_framer)
    }

    fn on_stream(
        &mut self,
        link: &Rc<Link>,
        stream: Result<RecvStream, quinn::ConnectionError>,
    ) -> Result<(), Exit> {
        let Ok(stream) = stream else {
            return Err(Exit::lost(CloseCode::Done)); // the connection is gone
        };
        let takes_requests = link.session.borrow().protocol() == Protocol::OrderEntry;
        if self.requests.is_some() || !takes_requests {
            return Err(Exit::lost(CloseCode::BadStream));
        }
        self.requests = Some(stream);
        Ok(())
    }

    fn on_requests(
        &mut self,
        state: &Rc<ShardState>,
        link: &Rc<Link>,
        count: usize,
    ) -> Result<(), Exit> {
        for buffer in &mut self.request_buffers[..count] {
            self.backlog.push_back(std::mem::take(buffer));
        }
        self.work_off(state, link)
    }

    /// Acts on the bytes of S1 that have been read, until they are used up or a request stalls.
    fn work_off(&mut self, state: &Rc<ShardState>, link: &Rc<Link>) -> Result<(), Exit> {
        let at = Moment::read(state);
        while let Some(bytes) = self.backlog.pop_front() {
            let mut input = &bytes[..];
            loop {
                let next = self.requests_framer.next_frame(&mut input);
                let output = match next {
                    Ok(None) => break,
                    Ok(Some(next)) => {
                        let mut session = link.session.borrow_mut();
                        session.on_frame(at.now, at.utc, Stream::Requests, &next.header, next.body)
                    }
                    Err(error) => link.session.borrow_mut().on_frame_error(error),
                };
                link.act(state, at, output, &mut self.stalled)?;
                if self.stalled.is_some() {
                    let used = bytes.len() - input.len();
                    if used < bytes.len() {
                        self.backlog.push_front(bytes.slice(used..));
                    }
                    return Ok(());
                }
            }
            let partial = self.requests_framer.is_partial();
            let mut session = link.session.borrow_mut();
            session.on_bytes(at.now, Stream::Requests, partial);
        }
        link.leave_if_served(state);
        Ok(())
    }

    fn retry(&mut self, state: &Rc<ShardState>, link: &Rc<Link>) -> Result<(), Exit> {
        if let Some(command) = self.stalled.take() {
            match state.submit(command) {
                Ok(()) => return self.work_off(state, link),
                Err(Refused::Full(command)) => self.stalled = Some(command),
                Err(Refused::Busy | Refused::ReadOnly | Refused::Closed) => {} // the core is gone, and we follow it
            }
        }
        Ok(())
    }

    fn on_requests_end(&mut self, link: &Rc<Link>) -> Result<(), Exit> {
        self.requests = None;
        stream_ended(link, &self.requests_framer)
    }
}

impl Link {
    /// Acts on what the session decided.
    fn act(
        self: &Rc<Self>,
        state: &Rc<ShardState>,
        at: Moment,
        output: Output,
        stalled: &mut Option<Command>,
    ) -> Result<(), Exit> {
        match output {
            Output::Nothing => Ok(()),
            Output::Logon(logon) => self.on_logon(state, &logon),
            Output::Request {
                seq,
                poss_resend: _, // the engine knows the id, or processes it as new
                request,
            } => {
                self.on_request(state, at, seq, &request, stalled);
                Ok(())
            }
            Output::Control(control) => {
                self.on_control(state, at, control, stalled);
                Ok(())
            }
            Output::Reply(reply) => {
                if let Reply::BusinessReject(reject) = &reply {
                    state.count_reject(reject.reason.unwrap_or(RejectReason::BadField));
                }
                self.reply(&reply);
                Ok(())
            }
            Output::PeerLogout(_) => {
                if self.life.borrow().is_none() {
                    let answer = self.session.borrow().logout_answer();
                    self.send(&answer);
                    return Err(Exit {
                        departure: Departure::Logout,
                        code: CloseCode::Done,
                    });
                }
                self.leave_if_served(state);
                Ok(())
            }
            Output::Logout(logout) => {
                state.tally.borrow_mut().protocol_errors += 1;
                Err(self.log_out(&logout, Departure::Lost))
            }
            Output::Close(code) => {
                if code != CloseCode::Done {
                    state.tally.borrow_mut().protocol_errors += 1;
                }
                Err(Exit::lost(code))
            }
        }
    }

    fn on_logon(self: &Rc<Self>, state: &Rc<ShardState>, logon: &Logon) -> Result<(), Exit> {
        let now = state.clock.now();
        let address = self.connection.remote_address().ip();
        let protocol = self.session.borrow().protocol();
        let key_name = *logon.username.bytes();
        let blocked = state.guard.borrow_mut().blocks(address, &key_name, now);
        let verified = if blocked {
            Err("too many failures")
        } else {
            let credentials = &state.config.credentials;
            let subject = self.subject.as_ref();
            auth::verify(credentials, protocol, subject, &self.connection, logon)
        };
        let key = match verified {
            Ok(key) => key,
            Err(why) => {
                if !blocked {
                    state.guard.borrow_mut().failed(address, key_name, now);
                }
                warn!(%address, session = %logon.sender, why, "logon refused");
                return self.refuse_logon(state, LogoutReason::Auth);
            }
        };
        let Ok(name) = Name::new(logon.sender.as_str()) else {
            return self.refuse_logon(state, LogoutReason::Auth);
        };
        let terms = Terms {
            name,
            cancel_on_disconnect: logon.cancel_on_disconnect,
            grace: Duration::from_millis(logon.cancel_grace.min(MAX_GRACE_MS).into()),
            accounts: key.accounts.clone(),
        };
        let _ = self.terms.set(terms); // the session gives one Logon only
        if protocol == Protocol::MarketData {
            let control = Rc::clone(&self.control);
            let connection = self.connection.clone();
            let mut hub = state.hub.borrow_mut();
            hub.join(self.token.get(), connection, control);
            drop(hub);
            self.on_started(state, ClOrdId::default(), ServerSeq::default());
            return Ok(());
        }
        match state.begin(name, self, utc()) {
            Ok(life) => {
                *self.life.borrow_mut() = Some(life);
                Ok(())
            }
            Err(reason) => self.refuse_logon(state, reason),
        }
    }

    fn refuse_logon(&self, state: &ShardState, reason: LogoutReason) -> Result<(), Exit> {
        let now = state.clock.now();
        let output = self.session.borrow_mut().end(now, reason, reason.as_str());
        match output {
            Output::Logout(logout) => Err(self.log_out(&logout, Departure::Lost)),
            _ => Err(Exit::lost(CloseCode::Done)),
        }
    }

    /// The engine's answer to the Logon is durable, or there is none to wait for.
    pub(crate) fn on_started(
        &self,
        state: &ShardState,
        last_cl_ord_id: ClOrdId,
        next_server_seq: ServerSeq,
    ) {
        let started = Started {
            epoch: state.config.session_epoch,
            last_cl_ord_id,
            next_server_seq,
        };
        let now = state.clock.now();
        let ack = self.session.borrow_mut().started(now, utc(), started);
        let Some(ack) = ack else {
            return self.leave_if_served(state); // the client has logged out meanwhile
        };
        self.send(&ack);
        let protocol = self.session.borrow().protocol();
        let name = self.terms.get().map(|terms| terms.name);
        if let Some(name) = name {
            let address = self.connection.remote_address();
            info!(session = %name, %protocol, %address, "logged on");
        }
        self.batch.borrow_mut().next_server_seq = next_server_seq;
        if protocol == Protocol::OrderEntry {
            let outbox = Rc::new(Outbox::unopened());
            let start = StreamStart {
                kind: StreamKind::Events,
                channel: 0,
                instrument: InstrumentId::default(),
                request_id: 0,
                epoch: started.epoch,
                next_seq: next_server_seq.get(),
            };
            outbox.push(frame(&start), 0);
            let task = Rc::clone(&outbox);
            let connection = self.connection.clone();
            spawn_local(async move { task.run(open(&connection, EVENTS_PRIORITY)).await });
            let _ = self.events.set(outbox); // a session starts once
        }
        self.ordered.notify_one(); // timers and S1 are on from now
    }

    fn on_request(
        &self,
        state: &ShardState,
        at: Moment,
        seq: u64,
        request: &Request,
        stalled: &mut Option<Command>,
    ) {
        let template = request.template();
        let id = request.cl_ord_id();
        let refused = |reason| self.refuse(state, seq, template, id, reason);
        let (Some(origin), Some(terms)) = (self.origin(at), self.terms.get()) else {
            return refused(RejectReason::UnknownSession);
        };
        let account = request.account().get();
        // "Not said" is everybody's: the engine reaches only orders of the session then.
        if account != 0 && !terms.accounts.contains(&account) {
            return refused(RejectReason::NotPermitted);
        }
        match request.command(origin) {
            Ok(command) => self.submit(state, seq, template, id, command, stalled),
            Err(reason) => refused(reason),
        }
    }

    fn on_control(
        &self,
        state: &Rc<ShardState>,
        at: Moment,
        control: Control,
        stalled: &mut Option<Command>,
    ) {
        match control {
            Control::Kill(kill) => {
                let life = self.life.borrow();
                if let Some(life) = life.as_ref()
                    && kill.action == KillAction::Engage
                {
                    state.submit_fence(life.fence(FenceReason::Kill, true, utc()));
                }
            }
            Control::SecurityList(request) => self.list_securities(state, request),
            Control::MarketData(request) => {
                let durable = state.durable();
                let mut hub = state.hub.borrow_mut();
                hub.on_request(self.token.get(), &request, &state.directory, durable);
                drop(hub);
                state.ask_snapshots();
            }
            Control::Instrument(listing) => {
                let (template, id) = (Template::AdminInstrument, listing.cl_ord_id);
                let command = self
                    .origin(at)
                    .ok_or(RejectReason::UnknownSession)
                    .and_then(|origin| listing.command(origin));
                match command {
                    Ok(command) => self.submit(state, 0, template, id, command, stalled),
                    Err(reason) => self.refuse(state, 0, template, id, reason),
                }
            }
            Control::Command(request) => {
                let (template, id) = (Template::AdminCommand, request.cl_ord_id);
                let command = self
                    .origin(at)
                    .ok_or(RejectReason::UnknownSession)
                    .and_then(|origin| request.command(origin));
                match command {
                    Ok(command) => self.submit(state, 0, template, id, command, stalled),
                    Err(reason) => self.refuse(state, 0, template, id, reason),
                }
            }
            Control::Phase(change) => {
                let (template, id) = (Template::AdminPhase, change.cl_ord_id);
                match self.origin(at) {
                    Some(origin) => {
                        self.submit(state, 0, template, id, change.command(origin), stalled);
                    }
                    None => self.refuse(state, 0, template, id, RejectReason::UnknownSession),
                }
            }
        }
    }

    fn submit(
        &self,
        state: &ShardState,
        seq: u64,
        template: Template,
        id: ClOrdId,
        command: Command,
        stalled: &mut Option<Command>,
    ) {
        match state.submit(command) {
            Ok(()) => {}
            Err(Refused::Busy) => self.refuse(state, seq, template, id, RejectReason::Busy),
            Err(Refused::ReadOnly) => {
                self.refuse(state, seq, template, id, RejectReason::ReadOnly);
            }
            // One may wait; S1 is not read meanwhile, so a second one can only come from the control
            // stream of an operator.
            Err(Refused::Full(command)) if stalled.is_none() => *stalled = Some(command),
            Err(Refused::Full(_)) => self.refuse(state, seq, template, id, RejectReason::Busy),
            Err(Refused::Closed) => self.stop(LogoutReason::Internal, Departure::Lost),
        }
    }

    fn refuse(
        &self,
        state: &ShardState,
        seq: u64,
        template: Template,
        id: ClOrdId,
        reason: RejectReason,
    ) {
        state.count_reject(reason);
        let reject = business_reject(seq, template, id, reason, 0);
        self.reply(&Reply::BusinessReject(reject));
    }

    fn list_securities(&self, state: &ShardState, request: SecurityListRequest) {
        if self.answering.get() >= MAX_ANSWERS {
            let template = Template::SecurityListRequest;
            return self.refuse(state, 0, template, ClOrdId::default(), RejectReason::Busy);
        }
        let listed = state.directory.visible(state.durable());
        let mut bytes = Vec::with_capacity(listed.len() * 256 + 256);
        let start = StreamStart {
            kind: StreamKind::Answer,
            channel: 0,
            instrument: InstrumentId::default(),
            request_id: request.request_id,
            epoch: 0,
            next_seq: 0,
        };
        start.encode_frame(0, Flags::NONE, &mut bytes);
        for one in &listed {
            SecurityDefinition::new(one.id, &one.definition, one.phase).encode_frame(
                0,
                Flags::NONE,
                &mut bytes,
            );
        }
        let end = SecurityListEnd {
            request_id: request.request_id,
            count: u32::try_from(listed.len()).unwrap_or(u32::MAX),
        };
        end.encode_frame(0, Flags::LAST_IN_BATCH, &mut bytes);
        let connection = self.connection.clone();
        let answering = Rc::clone(&self.answering);
        answering.set(answering.get() + 1);
        spawn_local(async move {
            send_whole(&connection, ANSWER_PRIORITY, bytes.into()).await;
            answering.set(answering.get() - 1);
        });
    }

    /// Adds a message to the drain in progress; true for the first of it.
    pub(crate) fn queue(&self, server_seq: ServerSeq, report: &Report) -> bool {
        let mut batch = self.batch.borrow_mut();
        // The control stream has no numbers.
        let seq = match self.events.get() {
            Some(_) => server_seq,
            None => ServerSeq::default(),
        };
        report.encode_frame(seq, &mut batch.bytes);
        batch.messages += 1;
        batch.next_server_seq = ServerSeq::new(server_seq.get() + 1);
        batch.messages == 1
    }

    /// Writes what the drain has queued, in one write.
    pub(crate) fn flush(&self, state: &ShardState) {
        let (bytes, messages, next) = {
            let mut batch = self.batch.borrow_mut();
            let spare = Vec::with_capacity(batch.bytes.len().min(MAX_SPARE));
            let bytes = std::mem::replace(&mut batch.bytes, spare);
            let messages = std::mem::take(&mut batch.messages);
            (bytes, messages, batch.next_server_seq)
        };
        if messages > 0 {
            let outbox = self.events.get().unwrap_or(&self.control);
            outbox.push(Bytes::from(bytes), messages);
            state.tally.borrow_mut().messages_out += messages as u64;
            let now = state.clock.now();
            self.session.borrow_mut().on_sent(now, next);
            self.check_lag(state);
        }
    }

    /// Ends the session of a client that does not read.
    pub(crate) fn check_lag(&self, state: &ShardState) {
        let limit = &state.config.session_lag;
        let lagging = |outbox: &Outbox| limit.exceeded_by(outbox.lag());
        if self.events.get().is_some_and(|events| lagging(events)) || lagging(&self.control) {
            state.tally.borrow_mut().slow_consumers += 1;
            self.stop(LogoutReason::SlowConsumer, Departure::SlowConsumer);
        }
    }

    /// Asks the connection's task to log the client out.
    pub(crate) fn stop(&self, reason: LogoutReason, departure: Departure) {
        self.ask(Order::Stop(reason, departure));
    }

    /// An event cannot be told to this session.
    pub(crate) fn fail(&self) {
        self.stop(LogoutReason::Internal, Departure::Lost);
    }

    /// The session's fence came back: nothing more will come for it.
    pub(crate) fn on_life_over(&self) {
        self.ask(Order::Leave);
    }

    fn ask(&self, order: Order) {
        self.order.set(Some(order));
        self.ordered.notify_one();
    }

    /// After the client's Logout: when all its requests have been read, the fence follows them in
    /// order, and when that comes back durable, so have all answers.
    fn leave_if_served(&self, state: &ShardState) {
        let life = self.life.borrow();
        if let Some(life) = life.as_ref()
            && life.phase.get() == LifePhase::Active
            && self.is_leaving()
            && self.session.borrow().requests_served()
        {
            let (mode, _) = self.cancel_on_disconnect();
            let cancel = Departure::Logout.cancels(mode);
            life.begin_fencing(state.clock.now());
            state.submit_fence_in_order(life.fence(FenceReason::Logout, cancel, utc()));
        }
    }

    /// After the server's own Logout for a drain: the fence goes out now, and the connection stays
    /// until it has come back, within the patience of a Logout. False without a session to fence.
    fn fence_and_stay(&self, state: &ShardState) -> bool {
        let life = self.life.borrow();
        let Some(life) = life
            .as_ref()
            .filter(|life| life.phase.get() == LifePhase::Active)
        else {
            return false;
        };
        let (mode, _) = self.cancel_on_disconnect();
        let departure = Departure::Draining;
        life.begin_fencing(state.clock.now());
        state.submit_fence(life.fence(departure.fence_reason(), departure.cancels(mode), utc()));
        true
    }

    fn is_leaving(&self) -> bool {
        use tessera_proto::session::State;
        matches!(
            self.session.borrow().state(),
            State::LogoutPending { .. } | State::Closed
        )
    }

    pub(crate) fn cancel_on_disconnect(&self) -> (CancelOnDisconnect, Duration) {
        self.terms
            .get()
            .map_or((CancelOnDisconnect::None, Duration::ZERO), |terms| {
                (terms.cancel_on_disconnect, terms.grace)
            })
    }

    pub(crate) fn take_life(&self) -> Option<Rc<Life>> {
        self.life.borrow_mut().take()
    }

    fn origin(&self, at: Moment) -> Option<Origin> {
        let life = self.life.borrow();
        let life = life.as_ref()?;
        Some(Origin {
            session: life.session.get(),
            generation: life.generation.get(),
            received: at.utc,
        })
    }

    fn stream_lost(&self) -> Exit {
        match self.session.borrow_mut().on_stream_reset() {
            Output::Close(code) => Exit::lost(code),
            _ => Exit::lost(CloseCode::Done),
        }
    }

    fn log_out(&self, logout: &Logout, departure: Departure) -> Exit {
        self.send(logout);
        self.said_goodbye.set(true);
        Exit {
            departure,
            code: CloseCode::Done,
        }
    }

    fn reply(&self, reply: &Reply) {
        let mut bytes = Vec::with_capacity(64);
        reply.encode_frame(&mut bytes);
        self.control.push(bytes.into(), 1);
    }

    fn send(&self, body: &impl Body) {
        self.control.push(frame(body), 1);
    }

    /// The end: the session leaves the engine, and what has been said still reaches the peer if it
    /// reads, within a bound.
    async fn finish(&self, state: &ShardState, exit: Exit) {
        state.depart(self, exit.departure);
        state.kick();
        if let Some(terms) = self.terms.get() {
            info!(
                session = %terms.name, departure = ?exit.departure, code = exit.code.as_str(),
                "session ended"
            );
        }
        if exit.code == CloseCode::Done && self.connection.close_reason().is_none() {
            self.control.finish();
            if let Some(events) = self.events.get() {
                events.finish();
            }
            let written = async {
                self.control.ended().await;
                if let Some(events) = self.events.get() {
                    events.ended().await;
                }
            };
            let _ = tokio::time::timeout(FAREWELL_TIMEOUT, written).await;
        }
        self.connection.close(code(exit.code), b"");
        state.disconnect(self.token);
    }
}

/// The end of a stream of the client: it must fall between two frames, and after a Logout.
fn stream_ended(link: &Link, framer: &Framer) -> Result<(), Exit> {
    if let Err(error) = framer.finish() {
        link.session.borrow_mut().on_frame_error(error);
        return Err(Exit::lost(error.close_code()));
    }
    if link.is_leaving() {
        Ok(())
    } else {
        Err(Exit::lost(CloseCode::Done))
    }
}

async fn read_requests(
    stream: Option<&mut RecvStream>,
    buffers: &mut [Bytes],
) -> Result<Option<usize>, quinn::ReadError> {
    match stream {
        Some(stream) => stream.read_chunks(buffers).await,
        None => std::future::pending().await,
    }
}

async fn until(state: &ShardState, deadline: Option<tessera_proto::Monotime>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(state.clock.instant(deadline).into()).await,
        None => std::future::pending().await,
    }
}

/// For a stream that the peer has opened: there is nothing to open.
async fn never_opens() -> Result<quinn::SendStream, quinn::ConnectionError> {
    Err(quinn::ConnectionError::LocallyClosed)
}

fn protocol_of(connection: &Connection) -> Option<Protocol> {
    let data = connection.handshake_data()?;
    let data = data.downcast::<HandshakeData>().ok()?;
    Protocol::from_alpn(data.protocol.as_deref()?)
}

fn subject_of(connection: &Connection) -> Option<Subject> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    Subject::of(chain.first()?)
}

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a farewell may take to reach a peer.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// How soon a request that found the core's ring full is tried again.
const RETRY: Duration = Duration::from_millis(1);
const MAX_GRACE_MS: u16 = 5_000;
const MAX_ANSWERS: usize = 4;
const READ_CHUNKS: usize = 16;
const MAX_SPARE: usize = 64 * 1024;
const CONTROL_PRIORITY: i32 = 30;
const EVENTS_PRIORITY: i32 = 20;
const ANSWER_PRIORITY: i32 = -10;
