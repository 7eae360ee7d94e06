//! The server's side of a session: checks every frame, keeps the timers, decides every reaction of
//! the malformed-input table that needs neither a key nor the engine.

use core::time::Duration;

use tessera_types::{ClOrdId, RejectReason, ServerSeq, Timestamp};

use crate::codes::{
    CloseCode, Durability, KillAction, LogoutReason, SessionRejectReason, business_reject_reason,
};
use crate::field::Text;
use crate::framer::FrameError;
use crate::header::{Flags, Header, MINOR};
use crate::message::{
    AdminCommand, AdminInstrument, AdminPhase, Body, BodyError, BusinessReject, Cancel,
    CancelAllAfter, CancelReplace, Heartbeat, KillSwitch, Logon, LogonAck, Logout, MassAction,
    MdRequest, NewOrderSingle, Reduce, Reject, SecurityListRequest, Template, TestRequest,
};
use crate::protocol::{Protocol, Stream, client_may_send};
use crate::session::state::{Input, State};
use crate::throttle::{Rates, Throttle};
use crate::time::Monotime;

/// What a session may do and must promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Rate limits.
    pub rates: Rates,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// Lowest and highest schema minor that is spoken.
    pub minors: (u8, u8),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rates: Rates::DEFAULT,
            durability: Durability::Synced,
            minors: (MINOR, MINOR),
        }
    }
}

/// What the shell must do about one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nothing.
    Nothing,
    /// Verify signature and names, then ask the engine for the session: [`Session::started`] with its
    /// answer, or [`Session::end`] with [`LogoutReason::Auth`] or [`LogoutReason::DuplicateSession`].
    Logon(Box<Logon>),
    /// Give this to the engine, or refuse it with [`business_reject`].
    Request {
        /// Its ClientSeq.
        seq: u64,
        /// The client says that it may have sent it before.
        poss_resend: bool,
        /// What is asked.
        request: Request,
    },
    /// Do this, which is not in the order of the requests.
    Control(Control),
    /// Send this on the control stream.
    Reply(Reply),
    /// The peer logs out. When [`Session::requests_served`] says so and the answers have been
    /// written, send [`Session::logout_answer`] and close with [`CloseCode::Done`].
    PeerLogout(Logout),
    /// Send this on the control stream and read no more; close when [`Session::on_timer`] says so, or
    /// when the peer has closed.
    Logout(Logout),
    /// Close the connection with this code, without another word.
    Close(CloseCode),
}

/// A request of S1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Enter an order.
    New(NewOrderSingle),
    /// Change one.
    Replace(CancelReplace),
    /// Cancel one.
    Cancel(Cancel),
    /// Make one smaller.
    Reduce(Reduce),
    /// Cancel many.
    Mass(MassAction),
}

impl Request {
    /// Which message it was.
    #[must_use]
    pub const fn template(&self) -> Template {
        match self {
            Self::New(_) => Template::NewOrderSingle,
            Self::Replace(_) => Template::CancelReplace,
            Self::Cancel(_) => Template::Cancel,
            Self::Reduce(_) => Template::Reduce,
            Self::Mass(_) => Template::MassAction,
        }
    }

    /// Its client id.
    #[must_use]
    pub const fn cl_ord_id(&self) -> ClOrdId {
        match self {
            Self::New(m) => m.cl_ord_id,
            Self::Replace(m) => m.cl_ord_id,
            Self::Cancel(m) => m.cl_ord_id,
            Self::Reduce(m) => m.cl_ord_id,
            Self::Mass(m) => m.cl_ord_id,
        }
    }

    /// Gives it a client id.
    pub const fn set_cl_ord_id(&mut self, id: ClOrdId) {
        match self {
            Self::New(m) => m.cl_ord_id = id,
            Self::Replace(m) => m.cl_ord_id = id,
            Self::Cancel(m) => m.cl_ord_id = id,
            Self::Reduce(m) => m.cl_ord_id = id,
            Self::Mass(m) => m.cl_ord_id = id,
        }
    }

    /// Appends the frame.
    pub fn encode_frame(&self, seq: u64, flags: Flags, out: &mut Vec<u8>) {
        match self {
            Self::New(m) => m.encode_frame(seq, flags, out),
            Self::Replace(m) => m.encode_frame(seq, flags, out),
            Self::Cancel(m) => m.encode_frame(seq, flags, out),
            Self::Reduce(m) => m.encode_frame(seq, flags, out),
            Self::Mass(m) => m.encode_frame(seq, flags, out),
        }
    }

    /// Whether it can add risk: what a draining or killed session may not do.
    #[must_use]
    pub const fn adds_orders(&self) -> bool {
        matches!(self, Self::New(_) | Self::Replace(_))
    }

    fn decode(template: Template, body: &[u8], minor: u8) -> Result<Self, BodyError> {
        Ok(match template {
            Template::NewOrderSingle => Self::New(NewOrderSingle::decode_body(body, minor)?),
            Template::CancelReplace => Self::Replace(CancelReplace::decode_body(body, minor)?),
            Template::Cancel => Self::Cancel(Cancel::decode_body(body, minor)?),
            Template::Reduce => Self::Reduce(Reduce::decode_body(body, minor)?),
            Template::MassAction => Self::Mass(MassAction::decode_body(body, minor)?),
            other => return Err(BodyError::UnknownTemplate(other.number())),
        })
    }
}

macro_rules! requests {
    ($($message:ident => $variant:ident),+ $(,)?) => {$(
        impl From<$message> for Request {
            fn from(message: $message) -> Self {
                Self::$variant(message)
            }
        }
    )+};
}
requests!(
    NewOrderSingle => New,
    CancelReplace => Replace,
    Cancel => Cancel,
    Reduce => Reduce,
    MassAction => Mass,
);

/// A request of the control stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Fence the session.
    Kill(KillSwitch),
    /// Send all definitions.
    SecurityList(SecurityListRequest),
    /// Market data.
    MarketData(MdRequest),
    /// List an instrument.
    Instrument(Box<AdminInstrument>),
    /// Change a phase.
    Phase(AdminPhase),
    /// Accounts, limits, risk parameters.
    Command(Box<AdminCommand>),
}

/// A message for the control stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// "I am here."
    Heartbeat(Heartbeat),
    /// "Are you there?"
    TestRequest(TestRequest),
    /// Refused for its form.
    Reject(Reject),
    /// Refused before it reached the engine.
    BusinessReject(BusinessReject),
}

impl Reply {
    /// Appends the frame; the control stream has no numbers.
    pub fn encode_frame(&self, out: &mut Vec<u8>) {
        match self {
            Self::Heartbeat(m) => m.encode_frame(0, Flags::NONE, out),
            Self::TestRequest(m) => m.encode_frame(0, Flags::NONE, out),
            Self::Reject(m) => m.encode_frame(0, Flags::NONE, out),
            Self::BusinessReject(m) => m.encode_frame(0, Flags::NONE, out),
        }
    }
}

/// What the engine said about a session that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Life of its numbers.
    pub epoch: u64,
    /// Highest client id that has reached the engine, durable.
    pub last_cl_ord_id: ClOrdId,
    /// Number of the next message to it.
    pub next_server_seq: ServerSeq,
}

/// The reject of a request that did not reach the engine.
#[must_use]
pub const fn business_reject(
    seq: u64,
    template: Template,
    cl_ord_id: ClOrdId,
    reason: RejectReason,
    retry_after: u64,
) -> BusinessReject {
    BusinessReject {
        ref_seq: seq,
        ref_template: template.number(),
        business_reject_reason: business_reject_reason(reason),
        cl_ord_id,
        reason: Some(reason),
        retry_after,
    }
}

/// The server's side of one connection.
#[derive(Clone, Debug)]
pub struct Session {
    protocol: Protocol,
    options: Options,
    state: State,
    heart_bt_int: u16,
    throttle: Throttle,
    throttled: u32,
    next_client_seq: u64,
    next_server_seq: ServerSeq,
    last_heard: Monotime,
    last_sent: Monotime,
    partial_since: Option<Monotime>,
    test_req_id: u64,
    rejects: [Option<Monotime>; MAX_REJECTS],
    next_reject: usize,
    killed: bool,
    /// ClientSeq that the peer's Logout named: requests up to it are still served.
    serve_up_to: Option<u64>,
}

impl Session {
    /// A session whose TLS handshake has just been completed.
    #[must_use]
    pub fn new(protocol: Protocol, options: Options, now: Monotime) -> Self {
        let deadline = now.after(LOGON_PATIENCE);
        Self {
            protocol,
            options,
            state: State::AwaitLogon { deadline },
            heart_bt_int: 0,
            throttle: Throttle::new(options.rates),
            throttled: 0,
            next_client_seq: 1,
            next_server_seq: ServerSeq::new(0),
            last_heard: now,
            last_sent: now,
            partial_since: None,
            test_req_id: 0,
            rejects: [None; MAX_REJECTS],
            next_reject: 0,
            killed: false,
            serve_up_to: None,
        }
    }

    /// Where the session stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// What it speaks.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Sets the rate limits, which may depend on the key of the Logon: before [`Session::started`].
    pub fn set_rates(&mut self, rates: Rates) {
        self.options.rates = rates;
        self.throttle = Throttle::new(rates);
    }

    /// Whether S1 is to be read now. Before the session has started its bytes are left in the
    /// transport, because they may have overtaken the Logon; flow control bounds them.
    #[must_use]
    pub const fn reads_requests(&self) -> bool {
        match self.state {
            State::Active | State::AwaitingTestReply { .. } | State::Draining => true,
            State::LogoutPending { .. } => !self.requests_served(),
            _ => false,
        }
    }

    /// Whether every request that the peer's Logout counted has been read.
    #[must_use]
    pub const fn requests_served(&self) -> bool {
        match self.serve_up_to {
            Some(last) => self.next_client_seq > last,
            None => true,
        }
    }

    /// Notes bytes from the peer: any count as a sign of life. `partial` says whether a frame is left
    /// incomplete on that stream ([`Framer::is_partial`](crate::Framer::is_partial)).
    pub fn on_bytes(&mut self, now: Monotime, stream: Stream, partial: bool) {
        self.last_heard = now;
        if let Ok(next) = self.state.next(Input::Traffic) {
            self.state = next;
        }
        if stream == Stream::Requests {
            self.partial_since = if partial {
                self.partial_since.or(Some(now))
            } else {
                None
            };
        }
    }

    /// Decides about one frame. `utc` is the server's clock for the check of a Logon.
    pub fn on_frame(
        &mut self,
        now: Monotime,
        utc: Timestamp,
        stream: Stream,
        header: &Header,
        body: &[u8],
    ) -> Output {
        if stream == Stream::Requests {
            self.partial_since = None;
        }
        match self.state {
            State::AwaitLogon { .. } => self.on_first_frame(now, utc, stream, header, body),
            State::LogonPending
            | State::Active
            | State::AwaitingTestReply { .. }
            | State::Draining => match stream {
                Stream::Control => self.on_control(now, header, body),
                Stream::Requests => self.on_request(now, header, body),
            },
            // Row 46: requests after the Logout that counted them are ignored.
            State::LogoutPending { .. } => match (stream, self.serve_up_to) {
                (Stream::Requests, Some(last)) if header.seq <= last => {
                    self.on_request(now, header, body)
                }
                _ => Output::Nothing,
            },
            State::Handshaking | State::Closed => Output::Nothing,
        }
    }

    /// Row 12, 13 and 17: a stream that cannot be cut into frames.
    pub fn on_frame_error(&mut self, error: FrameError) -> Output {
        self.close(error.close_code())
    }

    /// Row 18: the peer reset a stream that it writes. What was incomplete is dropped; a connection
    /// without that stream is of no use, so it ends as if it were lost.
    pub fn on_stream_reset(&mut self) -> Output {
        self.close(CloseCode::Truncated)
    }

    /// The engine's answer to the Logon is durable: the acknowledgement to send on the control
    /// stream, or nothing when the session has ended meanwhile. On `txp-md/1`, where the engine knows
    /// no session, call it at once.
    pub fn started(&mut self, now: Monotime, utc: Timestamp, started: Started) -> Option<LogonAck> {
        if self.state != State::LogonPending {
            return None;
        }
        if let Ok(next) = self.state.next(Input::Started) {
            self.state = next;
        }
        self.last_heard = now;
        self.last_sent = now;
        self.next_server_seq = started.next_server_seq;
        let rates = self.options.rates;
        Some(LogonAck {
            epoch: started.epoch,
            last_cl_ord_id: started.last_cl_ord_id,
            next_server_seq: started.next_server_seq,
            heart_bt_int: self.heart_bt_int,
            schema_minor: self.options.minors.1,
            durability: self.options.durability,
            rate: rates.rate,
            burst: rates.burst,
            cancel_rate: rates.cancel_rate,
            cancel_burst: rates.cancel_burst,
            sending_time: utc,
        })
    }

    /// Ends the session for a reason of the server's (class C).
    pub fn end(&mut self, now: Monotime, reason: LogoutReason, text: &str) -> Output {
        let deadline = now.after(LOGOUT_PATIENCE);
        match self.state.next(Input::Logout { deadline }) {
            Ok(next) if matches!(self.state, State::LogoutPending { .. } | State::Closed) => {
                self.state = next;
                Output::Nothing
            }
            Ok(next) => {
                self.state = next;
                self.serve_up_to = None;
                Output::Logout(self.logout(reason, text))
            }
            Err(_) => self.close(CloseCode::Internal),
        }
    }

    /// The server's Logout in answer to the peer's.
    #[must_use]
    pub fn logout_answer(&self) -> Logout {
        self.logout(LogoutReason::Normal, "")
    }

    /// The exchange is about to stop: new orders are refused from now on, cancels are served.
    pub fn drain(&mut self) {
        if let Ok(next) = self.state.next(Input::Drain) {
            self.state = next;
        }
    }

    /// The connection is gone.
    pub fn gone(&mut self) {
        self.state = State::Closed;
    }

    /// Notes that something was written to the peer, and which number its next message will have.
    pub fn on_sent(&mut self, now: Monotime, next_server_seq: ServerSeq) {
        self.last_sent = now;
        self.next_server_seq = next_server_seq;
    }

    /// When [`Session::on_timer`] is to be called at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotime> {
        let frame = self.partial_since.map(|since| since.after(FRAME_PATIENCE));
        let state = match self.state {
            State::AwaitLogon { deadline } | State::LogoutPending { deadline } => Some(deadline),
            State::Active => Some(self.silence_at().min(self.heartbeat_at())),
            State::AwaitingTestReply { deadline } => Some(deadline.min(self.heartbeat_at())),
            State::Draining => Some(self.heartbeat_at()),
            State::Handshaking | State::LogonPending | State::Closed => None,
        };
        match (state, frame) {
            (Some(state), Some(frame)) => Some(state.min(frame)),
            (state, frame) => state.or(frame),
        }
    }

    /// Acts on the timers that have run out, one at a time: call again until it gives
    /// [`Output::Nothing`].
    pub fn on_timer(&mut self, now: Monotime) -> Output {
        if self.state == State::Closed {
            return Output::Nothing;
        }
        let before = self.state;
        if let Ok(next) = before.next(Input::Deadline(now)) {
            self.state = next;
        }
        match (before, self.state) {
            (State::AwaitLogon { .. }, State::Closed) => {
                return Output::Close(CloseCode::LogonTimeout);
            }
            (State::AwaitingTestReply { .. }, State::Closed) => {
                return Output::Close(CloseCode::Silent);
            }
            (State::LogoutPending { .. }, State::Closed) => return Output::Close(CloseCode::Done),
            _ => {}
        }
        if let Some(since) = self.partial_since
            && now >= since.after(FRAME_PATIENCE)
        {
            return self.close(CloseCode::SlowFrame); // row 19
        }
        if self.state == State::Active && now >= self.silence_at() {
            let give_up = self.last_heard.after(self.interval() * 24 / 10);
            if let Ok(next) = self.state.next(Input::Silence { give_up }) {
                self.state = next;
            }
            self.test_req_id += 1;
            self.last_sent = now;
            return Output::Reply(Reply::TestRequest(TestRequest {
                test_req_id: self.test_req_id,
                next_server_seq: self.next_server_seq,
            }));
        }
        let logged_on = matches!(
            self.state,
            State::Active | State::AwaitingTestReply { .. } | State::Draining
        );
        if logged_on && now >= self.heartbeat_at() {
            self.last_sent = now;
            return Output::Reply(Reply::Heartbeat(self.heartbeat(0)));
        }
        Output::Nothing
    }

    fn on_first_frame(
        &mut self,
        now: Monotime,
        utc: Timestamp,
        stream: Stream,
        header: &Header,
        body: &[u8],
    ) -> Output {
        if stream != Stream::Control || header.template != Template::Logon.number() {
            return self.close(CloseCode::NoLogon); // row 3
        }
        let logon = match Logon::decode_body(body, header.minor) {
            Ok(logon) => logon,
            Err(error) => return self.reject(now, header, error),
        };
        let (lowest, highest) = self.options.minors;
        if logon.schema_minor < lowest {
            let text = format!("this server speaks schema minors {lowest} to {highest}");
            return self.end(now, LogoutReason::Version, &text); // row 11
        }
        self.options.minors.1 = highest.min(logon.schema_minor);
        if !HEART_BT_INT.contains(&logon.heart_bt_int) {
            let text = "HeartBtInt must be 10 to 600 units of 100 ms";
            return self.end(now, LogoutReason::HeartBtInt, text); // row 7
        }
        let skew = logon
            .sending_time
            .nanos_since(utc)
            .max(utc.nanos_since(logon.sending_time));
        if u128::from(skew) > MAX_CLOCK_SKEW.as_nanos() {
            let text = "SendingTime is more than 5 s off; set the client's clock";
            return self.end(now, LogoutReason::SendingTime, text); // row 6
        }
        if exhausted(logon.next_server_seq.get()) {
            let text = "NextExpectedMsgSeqNum is near its end";
            return self.end(now, LogoutReason::SeqExhausted, text); // row 47
        }
        self.heart_bt_int = logon.heart_bt_int;
        match self.state.next(Input::Logon) {
            Ok(next) => {
                self.state = next;
                Output::Logon(Box::new(logon))
            }
            Err(_) => self.close(CloseCode::Internal),
        }
    }

    fn on_control(&mut self, now: Monotime, header: &Header, body: &[u8]) -> Output {
        let template = match self.legal(now, Stream::Control, header) {
            Ok(template) => template,
            Err(output) => return output,
        };
        match self.control(now, template, body, header) {
            Ok(output) => output,
            Err(error) => self.reject(now, header, error),
        }
    }

    fn control(
        &mut self,
        now: Monotime,
        template: Template,
        body: &[u8],
        header: &Header,
    ) -> Result<Output, BodyError> {
        let minor = header.minor;
        let pending = self.state == State::LogonPending;
        let (control, cl_ord_id) = match template {
            Template::Logon => {
                let text = "this connection is logged on";
                return Ok(self.end(now, LogoutReason::SecondLogon, text)); // row 9
            }
            // Row 45: the id is not compared, because any bytes have already counted as life.
            Template::Heartbeat => {
                Heartbeat::decode_body(body, minor)?;
                return Ok(Output::Nothing);
            }
            Template::TestRequest => {
                let request = TestRequest::decode_body(body, minor)?;
                self.last_sent = now;
                let answer = self.heartbeat(request.test_req_id);
                return Ok(Output::Reply(Reply::Heartbeat(answer)));
            }
            Template::Logout => {
                let logout = Logout::decode_body(body, minor)?;
                let deadline = now.after(LOGOUT_PATIENCE);
                if let Ok(next) = self.state.next(Input::Logout { deadline }) {
                    self.state = next;
                }
                self.serve_up_to = Some(logout.last_client_seq);
                return Ok(Output::PeerLogout(logout));
            }
            _ if pending => {
                let text = "only a Logout may come before the LogonAck";
                return Ok(self.end(now, LogoutReason::IllegalMessage, text)); // row 21
            }
            Template::CancelAllAfter => {
                CancelAllAfter::decode_body(body, minor)?;
                return Ok(refuse(
                    header.seq,
                    template,
                    ClOrdId::new(0),
                    RejectReason::Unsupported,
                    0,
                ));
            }
            Template::KillSwitch => {
                let kill = KillSwitch::decode_body(body, minor)?;
                self.killed = kill.action == KillAction::Engage;
                return Ok(Output::Control(Control::Kill(kill)));
            }
            Template::SecurityListRequest => (
                Control::SecurityList(SecurityListRequest::decode_body(body, minor)?),
                ClOrdId::new(0),
            ),
            Template::MdRequest => (
                Control::MarketData(MdRequest::decode_body(body, minor)?),
                ClOrdId::new(0),
            ),
            Template::AdminInstrument => {
                let message = AdminInstrument::decode_body(body, minor)?;
                (Control::Instrument(Box::new(message)), message.cl_ord_id)
            }
            Template::AdminPhase => {
                let message = AdminPhase::decode_body(body, minor)?;
                (Control::Phase(message), message.cl_ord_id)
            }
            Template::AdminCommand => {
                let message = AdminCommand::decode_body(body, minor)?;
                let id = message.cl_ord_id;
                (Control::Command(Box::new(message)), id)
            }
            other => return Err(BodyError::UnknownTemplate(other.number())),
        };
        Ok(self
            .throttled(now, header.seq, template, cl_ord_id)
            .unwrap_or(Output::Control(control)))
    }

    fn on_request(&mut self, now: Monotime, header: &Header, body: &[u8]) -> Output {
        if exhausted(header.seq) {
            let text = "ClientSeq is near its end";
            return self.end(now, LogoutReason::SeqExhausted, text); // row 47
        }
        if header.seq != self.next_client_seq {
            let reason = if header.seq > self.next_client_seq {
                LogoutReason::SeqGap // row 26
            } else {
                LogoutReason::SeqLow // row 27
            };
            let text = format!(
                "ClientSeq {}, expected {}",
                header.seq, self.next_client_seq
            );
            return self.end(now, reason, &text);
        }
        self.next_client_seq += 1;
        let template = match self.legal(now, Stream::Requests, header) {
            Ok(template) => template,
            Err(output) => return output,
        };
        let request = match Request::decode(template, body, header.minor) {
            Ok(request) => request,
            Err(error) => return self.reject(now, header, error),
        };
        let id = request.cl_ord_id();
        if request.adds_orders() {
            if self.killed {
                return refuse(header.seq, template, id, RejectReason::NotPermitted, 0);
            }
            if self.state == State::Draining {
                return refuse(header.seq, template, id, RejectReason::Busy, 0);
            }
        }
        if let Some(output) = self.throttled(now, header.seq, template, id) {
            return output;
        }
        Output::Request {
            seq: header.seq,
            poss_resend: header.flags.contains(Flags::POSS_RESEND),
            request,
        }
    }

    /// The template, or the reaction to one that is unknown (row 20) or out of place (row 21).
    fn legal(
        &mut self,
        now: Monotime,
        stream: Stream,
        header: &Header,
    ) -> Result<Template, Output> {
        let template = match Template::try_from(header.template) {
            Ok(template) => template,
            Err(number) => {
                return Err(self.reject(now, header, BodyError::UnknownTemplate(number)));
            }
        };
        if client_may_send(self.protocol, stream, template) {
            return Ok(template);
        }
        let text = format!("{} is not legal here", template.as_str());
        Err(self.end(now, LogoutReason::IllegalMessage, &text))
    }

    /// Row 39: the reject, and the end for a peer that goes on regardless.
    fn throttled(
        &mut self,
        now: Monotime,
        seq: u64,
        template: Template,
        cl_ord_id: ClOrdId,
    ) -> Option<Output> {
        match self.throttle.take(template, now) {
            Ok(()) => {
                self.throttled = 0;
                None
            }
            Err(_) if self.throttled >= MAX_THROTTLED => {
                let text = "the rate limit was exceeded for too long";
                Some(self.end(now, LogoutReason::Throttled, text))
            }
            Err(retry_after) => {
                self.throttled += 1;
                let reason = RejectReason::Throttled;
                Some(refuse(seq, template, cl_ord_id, reason, retry_after))
            }
        }
    }

    /// Class B: a session reject, or the end for a peer that sends too many of these.
    fn reject(&mut self, now: Monotime, header: &Header, error: BodyError) -> Output {
        // The slot to be overwritten holds the tenth reject before this one.
        let tenth_before = self.rejects[self.next_reject];
        if tenth_before.is_some_and(|then| now.since(then) <= REJECT_WINDOW) {
            return self.close(CloseCode::TooManyRejects);
        }
        self.rejects[self.next_reject] = Some(now);
        self.next_reject = (self.next_reject + 1) % MAX_REJECTS;
        let (reason, ref_tag): (SessionRejectReason, u16) = error.reject();
        Output::Reply(Reply::Reject(Reject {
            ref_seq: header.seq,
            ref_tag,
            ref_template: header.template,
            reason,
        }))
    }

    fn close(&mut self, code: CloseCode) -> Output {
        if self.state == State::Closed {
            return Output::Nothing;
        }
        self.state = State::Closed;
        Output::Close(code)
    }

    fn logout(&self, reason: LogoutReason, text: &str) -> Logout {
        Logout {
            reason,
            reserved: crate::field::Reserved,
            last_client_seq: self.next_client_seq - 1,
            text: Text::clipped(text),
        }
    }

    fn heartbeat(&self, test_req_id: u64) -> Heartbeat {
        Heartbeat {
            test_req_id,
            next_server_seq: self.next_server_seq,
        }
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(100 * u64::from(self.heart_bt_int))
    }

    fn silence_at(&self) -> Monotime {
        self.last_heard.after(self.interval() * 12 / 10)
    }

    fn heartbeat_at(&self) -> Monotime {
        self.last_sent.after(self.interval())
    }
}

fn refuse(
    seq: u64,
    template: Template,
    cl_ord_id: ClOrdId,
    reason: RejectReason,
    retry_after: u64,
) -> Output {
    Output::Reply(Reply::BusinessReject(business_reject(
        seq,
        template,
        cl_ord_id,
        reason,
        retry_after,
    )))
}

/// Sequence numbers end here, far before they could wrap.
const fn exhausted(seq: u64) -> bool {
    seq > u64::MAX - (1 << 32)
}

/// HeartBtInt in units of 100 ms that is accepted.
pub const HEART_BT_INT: core::ops::RangeInclusive<u16> = 10..=600;
/// How long a connection may wait with its Logon.
pub const LOGON_PATIENCE: Duration = Duration::from_secs(5);
/// How long a Logout may take to be answered.
pub const LOGOUT_PATIENCE: Duration = Duration::from_secs(2);
/// How long a frame of S1 may stay incomplete.
pub const FRAME_PATIENCE: Duration = Duration::from_secs(1);
/// How far a Logon's SendingTime may be off.
pub const MAX_CLOCK_SKEW: Duration = Duration::from_secs(5);
/// Session rejects within [`REJECT_WINDOW`] that are tolerated.
pub const MAX_REJECTS: usize = 10;
/// The window of [`MAX_REJECTS`].
pub const REJECT_WINDOW: Duration = Duration::from_secs(10);
/// Requests in a row that are refused for their rate before the session is ended.
pub const MAX_THROTTLED: u32 = 1_000;

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use tessera_types::{AccountId, InstrumentId, Price, Side};

    use super::*;
    use crate::codes::{CancelOnDisconnect, KillScope};
    use crate::field::{FieldProblem, Lots};
    use crate::header::HeaderError;
    use crate::message::Message;

    const UTC: Timestamp = Timestamp::from_nanos(1_800_000_000_000_000_000);
    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> Monotime {
        Monotime::from_nanos(ms * MS)
    }

    fn text<const N: usize>(text: &str) -> Text<N> {
        Text::new(text).unwrap()
    }

    fn logon() -> Logon {
        Logon {
            sender: text("ALICE"),
            target: text("TESSERA"),
            heart_bt_int: 10,
            epoch: 0,
            next_server_seq: ServerSeq::new(0),
            schema_minor: 0,
            cancel_on_disconnect: CancelOnDisconnect::Both,
            cancel_grace: 0,
            username: text("trader"),
            sending_time: UTC,
            signature: [7; 64],
            take_over: false,
        }
    }

    fn order(id: u64) -> NewOrderSingle {
        NewOrderSingle::limit(
            ClOrdId::new(id),
            AccountId::new(1),
            InstrumentId::new(0),
            Side::Buy,
            Price::from_ticks(100),
            Lots::new(5),
        )
    }

    fn frame(body: &impl Body, seq: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        body.encode_frame(seq, Flags::NONE, &mut bytes);
        bytes
    }

    /// One session under test, driven with frames and a clock in milliseconds; writes down what it
    /// does about each.
    struct Peer {
        session: Session,
        log: String,
    }

    impl Peer {
        fn fresh(protocol: Protocol, rates: Rates) -> Self {
            let options = Options {
                rates,
                ..Options::default()
            };
            Self {
                session: Session::new(protocol, options, at(0)),
                log: String::new(),
            }
        }

        fn logged_on(protocol: Protocol, rates: Rates) -> Self {
            let mut peer = Self::fresh(protocol, rates);
            let output = peer.give(0, Stream::Control, &frame(&logon(), 0));
            assert_eq!(output, Output::Logon(Box::new(logon())));
            let started = Started {
                epoch: 1,
                last_cl_ord_id: ClOrdId::new(41),
                next_server_seq: ServerSeq::new(9),
            };
            peer.session.started(at(0), UTC, started).unwrap();
            peer.log.clear();
            peer
        }

        fn oe() -> Self {
            Self::logged_on(Protocol::OrderEntry, Rates::UNLIMITED)
        }

        fn give(&mut self, ms: u64, stream: Stream, bytes: &[u8]) -> Output {
            let header = Header::parse(bytes.first_chunk().unwrap()).unwrap();
            self.session.on_bytes(at(ms), stream, false);
            let body = &bytes[Header::LEN..];
            let output = self.session.on_frame(at(ms), UTC, stream, &header, body);
            self.note(&output);
            output
        }

        fn control(mut self, body: &impl Body) -> Self {
            self.give(0, Stream::Control, &frame(body, 0));
            self
        }

        fn request(mut self, body: &impl Body, seq: u64) -> Self {
            self.give(0, Stream::Requests, &frame(body, seq));
            self
        }

        fn raw(mut self, stream: Stream, bytes: &[u8]) -> Self {
            self.give(0, stream, bytes);
            self
        }

        fn timer(mut self, ms: u64) -> Self {
            loop {
                let output = self.session.on_timer(at(ms));
                if output == Output::Nothing {
                    return self;
                }
                self.log.push_str(&format!("{ms} ms: "));
                self.note(&output);
            }
        }

        fn note(&mut self, output: &Output) {
            let line = match output {
                Output::Nothing => "ignored".to_owned(),
                Output::Logon(_) => "logon passed on".to_owned(),
                Output::Request { seq, request, .. } => {
                    let id = request.cl_ord_id();
                    format!("{seq} {:?} {id} passed on", request.template())
                }
                Output::Control(control) => format!("passed on {control:?}"),
                Output::Reply(Reply::Reject(m)) => format!(
                    "reject {} of template {} seq {} field {}",
                    m.reason, m.ref_template, m.ref_seq, m.ref_tag
                ),
                Output::Reply(Reply::BusinessReject(m)) => format!(
                    "business reject {} ({}) of template {} seq {} id {} retry after {} ns",
                    m.reason.unwrap(),
                    m.business_reject_reason,
                    m.ref_template,
                    m.ref_seq,
                    m.cl_ord_id,
                    m.retry_after
                ),
                Output::Reply(Reply::Heartbeat(m)) => {
                    format!("heartbeat {} next {}", m.test_req_id, m.next_server_seq)
                }
                Output::Reply(Reply::TestRequest(m)) => {
                    format!("test request {} next {}", m.test_req_id, m.next_server_seq)
                }
                Output::PeerLogout(m) => format!("peer logs out after {}", m.last_client_seq),
                Output::Logout(m) => {
                    format!(
                        "logout {} after {}: {}",
                        m.reason, m.last_client_seq, m.text
                    )
                }
                Output::Close(code) => format!("close {} {}", code.code(), code.as_str()),
            };
            self.log.push_str(&line);
            self.log.push('\n');
        }

        fn check(self, expected: Expect) {
            expected.assert_eq(&self.log);
        }
    }

    /// A row whose input comes on a session that is logged on.
    fn check_raw(stream: Stream, bytes: &[u8], expected: Expect) {
        Peer::oe().raw(stream, bytes).check(expected);
    }

    #[test]
    fn row_3_first_frame_is_not_a_logon() {
        let fresh = || Peer::fresh(Protocol::OrderEntry, Rates::UNLIMITED);
        let close = expect![[r#"
            close 1 no_logon
        "#]];
        fresh()
            .control(&KillSwitch {
                action: KillAction::Engage,
                scope: KillScope::Session,
            })
            .check(close);
        fresh().request(&logon(), 1).check(expect![[r#"
            close 1 no_logon
        "#]]);
        let mut unknown = frame(&logon(), 0);
        unknown[2] = 99;
        fresh().raw(Stream::Control, &unknown).check(expect![[r#"
            close 1 no_logon
        "#]]);
    }

    #[test]
    fn row_4_no_logon_in_time() {
        Peer::fresh(Protocol::OrderEntry, Rates::UNLIMITED)
            .timer(4_999)
            .timer(5_000)
            .timer(5_001)
            .check(expect![[r#"
                5000 ms: close 2 logon_timeout
            "#]]);
    }

    #[test]
    fn row_5_and_8_the_shell_refuses_a_logon_without_saying_why() {
        let mut peer = Peer::fresh(Protocol::OrderEntry, Rates::UNLIMITED).control(&logon());
        let output = peer.session.end(at(1), LogoutReason::Auth, "");
        peer.note(&output);
        peer.request(&order(1), 1).timer(2_001).check(expect![[r#"
            logon passed on
            logout auth after 0: 
            ignored
            2001 ms: close 0 done
        "#]]);
    }

    fn check_logon(change: impl FnOnce(&mut Logon), expected: Expect) {
        let mut logon = logon();
        change(&mut logon);
        Peer::fresh(Protocol::OrderEntry, Rates::UNLIMITED)
            .control(&logon)
            .check(expected);
    }

    #[test]
    fn row_6_sending_time_is_off() {
        let shift = |ns: i64| {
            move |logon: &mut Logon| {
                let shifted = UTC.nanos().checked_add_signed(ns).unwrap();
                logon.sending_time = Timestamp::from_nanos(shifted);
            }
        };
        check_logon(
            shift(5_000_000_000),
            expect![[r#"
            logon passed on
        "#]],
        );
        check_logon(
            shift(-5_000_000_000),
            expect![[r#"
            logon passed on
        "#]],
        );
        check_logon(
            shift(5_000_000_001),
            expect![[r#"
            logout sending_time after 0: SendingTime is more than 5 s off; set the client's clock
        "#]],
        );
        check_logon(
            shift(-5_000_000_001),
            expect![[r#"
            logout sending_time after 0: SendingTime is more than 5 s off; set the client's clock
        "#]],
        );
    }

    #[test]
    fn row_7_heartbeat_interval_out_of_range() {
        check_logon(
            |logon| logon.heart_bt_int = 0,
            expect![[r#"
            logout heart_bt_int after 0: HeartBtInt must be 10 to 600 units of 100 ms
        "#]],
        );
        check_logon(
            |logon| logon.heart_bt_int = 9,
            expect![[r#"
            logout heart_bt_int after 0: HeartBtInt must be 10 to 600 units of 100 ms
        "#]],
        );
        check_logon(
            |logon| logon.heart_bt_int = 601,
            expect![[r#"
            logout heart_bt_int after 0: HeartBtInt must be 10 to 600 units of 100 ms
        "#]],
        );
        check_logon(
            |logon| logon.heart_bt_int = 600,
            expect![[r#"
            logon passed on
        "#]],
        );
    }

    #[test]
    fn row_9_second_logon() {
        Peer::oe().control(&logon()).check(expect![[r#"
            logout second_logon after 0: this connection is logged on
        "#]]);
    }

    #[test]
    fn row_11_minor_version() {
        let minor = |offered: u8, minors| {
            let mut peer = Peer::fresh(Protocol::OrderEntry, Rates::UNLIMITED);
            peer.session.options.minors = minors;
            let mut logon = logon();
            logon.schema_minor = offered;
            peer.control(&logon)
        };
        minor(1, (2, 3)).check(expect![[r#"
            logout version after 0: this server speaks schema minors 2 to 3
        "#]]);
        for (offered, answered) in [(2, 2), (3, 3), (9, 3)] {
            let mut peer = minor(offered, (2, 3));
            let started = Started {
                epoch: 1,
                last_cl_ord_id: ClOrdId::new(0),
                next_server_seq: ServerSeq::new(1),
            };
            let ack = peer.session.started(at(1), UTC, started).unwrap();
            assert_eq!(ack.schema_minor, answered);
        }
    }

    #[test]
    fn rows_12_13_and_17_a_stream_that_is_no_stream_of_frames() {
        for (error, expected) in [
            (
                FrameError::Header(HeaderError::Reserved(1)),
                "close 3 bad_header\n",
            ),
            (
                FrameError::TooLarge {
                    len: 1_025,
                    max: 1_024,
                },
                "close 4 body_too_large\n",
            ),
            (FrameError::Truncated { missing: 3 }, "close 5 truncated\n"),
        ] {
            let mut peer = Peer::oe();
            let output = peer.session.on_frame_error(error);
            peer.note(&output);
            assert_eq!(peer.log, expected);
            assert_eq!(peer.session.state(), State::Closed);
        }
    }

    #[test]
    fn row_14_body_too_short() {
        let mut bytes = frame(&order(1), 1);
        bytes.truncate(Header::LEN + 70);
        check_raw(
            Stream::Requests,
            &bytes,
            expect![[r#"
            reject body_too_short of template 20 seq 1 field 0
        "#]],
        );
    }

    #[test]
    fn row_15_trailing_bytes_at_the_same_minor() {
        let mut bytes = frame(&order(1), 1);
        bytes.push(0);
        check_raw(
            Stream::Requests,
            &bytes,
            expect![[r#"
            reject trailing_bytes of template 20 seq 1 field 0
        "#]],
        );
    }

    #[test]
    fn row_16_trailing_bytes_at_a_higher_minor() {
        let mut bytes = frame(&order(1), 1);
        bytes[4] = MINOR + 1;
        bytes.extend_from_slice(&[1, 2, 3]);
        check_raw(
            Stream::Requests,
            &bytes,
            expect![[r#"
            1 NewOrderSingle 1 passed on
        "#]],
        );
    }

    #[test]
    fn row_18_stream_reset() {
        let mut peer = Peer::oe();
        let output = peer.session.on_stream_reset();
        peer.note(&output);
        peer.check(expect![[r#"
            close 5 truncated
        "#]]);
    }

    #[test]
    fn row_19_a_frame_stays_incomplete() {
        let mut peer = Peer::oe();
        peer.session.on_bytes(at(100), Stream::Requests, true);
        // One byte more does not buy more time.
        peer.session.on_bytes(at(900), Stream::Requests, true);
        assert_eq!(
            peer.session.next_deadline(),
            Some(at(1_000)),
            "a heartbeat of ours"
        );
        let peer = peer.timer(1_000);
        assert_eq!(peer.session.next_deadline(), Some(at(1_100)));
        peer.timer(1_099).timer(1_100).check(expect![[r#"
            1000 ms: heartbeat 0 next 9
            1100 ms: close 6 slow_frame
        "#]]);

        let mut complete = Peer::oe();
        complete.session.on_bytes(at(100), Stream::Requests, true);
        complete.give(900, Stream::Requests, &frame(&order(1), 1));
        complete.timer(1_100).check(expect![[r#"
            1 NewOrderSingle 1 passed on
            1100 ms: heartbeat 0 next 9
        "#]]);
    }

    #[test]
    fn row_20_unknown_template() {
        let mut bytes = frame(&order(1), 1);
        bytes[2] = 0xff;
        check_raw(
            Stream::Requests,
            &bytes,
            expect![[r#"
            reject unknown_template of template 255 seq 1 field 0
        "#]],
        );
        let mut bytes = frame(&order(1), 0);
        bytes[2..4].copy_from_slice(&[6, 0]);
        check_raw(
            Stream::Control,
            &bytes,
            expect![[r#"
            reject unknown_template of template 6 seq 0 field 0
        "#]],
        );
    }

    #[test]
    fn row_21_not_legal_here() {
        check_raw(
            Stream::Control,
            &frame(&order(1), 0),
            expect![[r#"
            logout illegal_message after 0: NewOrderSingle is not legal here
        "#]],
        );
        let phase = AdminPhase {
            cl_ord_id: ClOrdId::new(1),
            instrument: InstrumentId::new(0),
            phase: tessera_types::Phase::Halt,
            has_ref_price: false,
            ref_price: Price::ZERO,
        };
        check_raw(
            Stream::Control,
            &frame(&phase, 0),
            expect![[r#"
            logout illegal_message after 0: AdminPhase is not legal here
        "#]],
        );
        let start = crate::message::StreamStart {
            kind: crate::codes::StreamKind::Events,
            channel: 0,
            instrument: InstrumentId::new(0),
            request_id: 0,
            epoch: 0,
            next_seq: 0,
        };
        check_raw(
            Stream::Control,
            &frame(&start, 0),
            expect![[r#"
            logout illegal_message after 0: StreamStart is not legal here
        "#]],
        );
        let list = SecurityListRequest { request_id: 1 };
        Peer::fresh(Protocol::OrderEntry, Rates::UNLIMITED)
            .control(&logon())
            .control(&list)
            .check(expect![[r#"
                logon passed on
                logout illegal_message after 0: only a Logout may come before the LogonAck
            "#]]);
    }

    #[test]
    fn row_22_codes_and_bools_that_mean_nothing() {
        let offset = |name: &str| offset::<NewOrderSingle>(name);
        for (field, value, tag) in [
            ("side", 2, 54),
            ("ord_type", 6, 40),
            ("time_in_force", 5, 59),
            ("exec_inst", 0x20, 18),
            ("smp_mode", 5, 2964),
        ] {
            let mut bytes = frame(&order(1), 1);
            bytes[Header::LEN + offset(field)] = value;
            let peer = Peer::oe().raw(Stream::Requests, &bytes);
            let expected = format!("reject value_out_of_range of template 20 seq 1 field {tag}\n");
            assert_eq!(peer.log, expected);
            // The session goes on with the next number.
            let peer = peer.request(&order(1), 2);
            assert!(peer.log.ends_with("2 NewOrderSingle 1 passed on\n"));
        }
        let mut bytes = frame(&logon(), 0);
        let at = Header::LEN + self::offset::<Logon>("take_over");
        bytes[at] = 2;
        Peer::fresh(Protocol::OrderEntry, Rates::UNLIMITED)
            .raw(Stream::Control, &bytes)
            .control(&logon())
            .check(expect![[r#"
                reject value_out_of_range of template 1 seq 0 field 20105
                logon passed on
            "#]]);
    }

    #[test]
    fn row_23_a_reserved_byte_is_set() {
        let logout = Peer::oe().session.logout_answer();
        let mut bytes = frame(&logout, 0);
        bytes[Header::LEN + 1] = 1;
        check_raw(
            Stream::Control,
            &bytes,
            expect![[r#"
            reject bad_format of template 3 seq 0 field 20100
        "#]],
        );
    }

    #[test]
    fn row_24_text_that_is_none() {
        for (at, byte) in [(0, 0x07), (0, 0xc3), (0, 0), (9, b'x')] {
            let mut bytes = frame(&logon(), 0);
            bytes[Header::LEN + at] = byte;
            let peer =
                Peer::fresh(Protocol::OrderEntry, Rates::UNLIMITED).raw(Stream::Control, &bytes);
            assert_eq!(peer.log, "reject bad_format of template 1 seq 0 field 49\n");
        }
    }

    #[test]
    fn row_25_a_group_that_is_not_as_counted() {
        // No message of a client has a group yet; the codec is shared with the server's.
        let snapshot = crate::message::Snapshot {
            instrument: InstrumentId::new(0),
            last_seq: 1,
            rpt_seq: 1,
            phase: tessera_types::Phase::Continuous,
            engine_seq: tessera_types::Seq::ZERO,
            transact_time: Timestamp::ZERO,
            last_px: Price::ZERO,
            last_qty: tessera_types::Qty::ZERO,
            last_time: Timestamp::ZERO,
            entries: Vec::new(),
        };
        for (count, entries) in [(1, 0), (0, 1), (201, 201), (2, 1)] {
            let mut body = frame(&snapshot, 0)[Header::LEN..].to_vec();
            let fixed = body.len();
            body[fixed - 1] = count;
            body.resize(fixed + 21 * entries, 0);
            let error = crate::message::Snapshot::decode_body(&body, MINOR).unwrap_err();
            let problem = FieldProblem::GroupCount;
            assert_eq!(error, BodyError::Field { tag: 268, problem });
            assert_eq!(error.reject(), (SessionRejectReason::GroupCount, 268));
        }
    }

    #[test]
    fn rows_26_and_27_client_seq() {
        Peer::oe()
            .request(&order(1), 2)
            .request(&order(1), 1)
            .check(expect![[r#"
                logout seq_gap after 0: ClientSeq 2, expected 1
                ignored
            "#]]);
        Peer::oe()
            .request(&order(1), 1)
            .request(&order(2), 1)
            .check(expect![[r#"
                1 NewOrderSingle 1 passed on
                logout seq_low after 1: ClientSeq 1, expected 2
            "#]]);
        Peer::oe().request(&order(1), 0).check(expect![[r#"
            logout seq_low after 0: ClientSeq 0, expected 1
        "#]]);
    }

    #[test]
    fn rows_28_to_30_are_passed_on_to_the_engine() {
        let mut bytes = Vec::new();
        order(7).encode_frame(1, Flags::POSS_RESEND, &mut bytes);
        let mut peer = Peer::oe();
        let Output::Request { poss_resend, .. } = peer.give(0, Stream::Requests, &bytes) else {
            panic!("a request");
        };
        assert!(poss_resend);
        peer.request(&order(7), 2)
            .request(&order(3), 3)
            .check(expect![[r#"
                1 NewOrderSingle 7 passed on
                2 NewOrderSingle 7 passed on
                3 NewOrderSingle 3 passed on
            "#]]);
    }

    #[test]
    fn row_39_throttled() {
        let rates = Rates {
            rate: 10,
            burst: 2,
            cancel_rate: 10,
            cancel_burst: 1,
        };
        let cancel = Cancel {
            cl_ord_id: ClOrdId::new(9),
            account: AccountId::new(1),
            orig_cl_ord_id: ClOrdId::new(1),
            order_id: tessera_types::OrderId::new(0),
        };
        let mut peer = Peer::logged_on(Protocol::OrderEntry, rates)
            .request(&order(1), 1)
            .request(&order(2), 2)
            .request(&order(3), 3)
            .request(&cancel, 4)
            .request(&cancel, 5);
        let sent = std::mem::take(&mut peer.log);
        expect![[r#"
            1 NewOrderSingle 1 passed on
            2 NewOrderSingle 2 passed on
            business reject throttled (8) of template 20 seq 3 id 3 retry after 100000000 ns
            4 Cancel 9 passed on
            business reject throttled (8) of template 22 seq 5 id 9 retry after 100000000 ns
        "#]]
        .assert_eq(&sent);
        for seq in 6..1_100 {
            peer = peer.request(&order(seq), seq);
        }
        let lines: Vec<&str> = peer.log.lines().collect();
        let ended = lines
            .iter()
            .position(|line| line.starts_with("logout"))
            .unwrap();
        assert_eq!(ended + 1, 1_000, "one refused cancel came before");
        expect!["logout throttled after 1005: the rate limit was exceeded for too long"]
            .assert_eq(lines[ended]);
        assert!(lines[ended + 1..].iter().all(|line| *line == "ignored"));
    }

    #[test]
    fn row_45_heartbeat_with_a_wrong_id() {
        let heartbeat = |test_req_id| Heartbeat {
            test_req_id,
            next_server_seq: ServerSeq::new(0),
        };
        let mut peer = Peer::oe().timer(1_200);
        peer.give(1_300, Stream::Control, &frame(&heartbeat(99), 0));
        assert_eq!(peer.session.state(), State::Active);
        peer.check(expect![[r#"
            1200 ms: test request 1 next 9
            ignored
        "#]]);
    }

    #[test]
    fn row_46_requests_after_logout() {
        let mut logout = Peer::oe().session.logout_answer();
        logout.last_client_seq = 2;
        let peer = Peer::oe().request(&order(1), 1).control(&logout);
        assert!(!peer.session.requests_served() && peer.session.reads_requests());
        let peer = peer.request(&order(2), 2);
        assert!(peer.session.requests_served() && !peer.session.reads_requests());
        peer.request(&order(3), 3)
            .control(&logon())
            .timer(2_000)
            .check(expect![[r#"
                1 NewOrderSingle 1 passed on
                peer logs out after 2
                2 NewOrderSingle 2 passed on
                ignored
                ignored
                2000 ms: close 0 done
            "#]]);
    }

    #[test]
    fn row_47_numbers_near_their_end() {
        Peer::oe().request(&order(1), u64::MAX).check(expect![[r#"
            logout seq_exhausted after 0: ClientSeq is near its end
        "#]]);
        check_logon(
            |logon| logon.next_server_seq = ServerSeq::new(u64::MAX),
            expect![[r#"
                logout seq_exhausted after 0: NextExpectedMsgSeqNum is near its end
            "#]],
        );
    }

    #[test]
    fn ten_rejects_within_ten_seconds_are_tolerated() {
        let mut bad = frame(&order(1), 1);
        bad[2] = 0xff;
        let send = |peer: &mut Peer, seq: u64, ms: u64| {
            bad[8..16].copy_from_slice(&seq.to_le_bytes());
            peer.give(ms, Stream::Requests, &bad)
        };
        let mut peer = Peer::oe();
        let mut send = send;
        for seq in 1..=10 {
            assert!(matches!(
                send(&mut peer, seq, 0),
                Output::Reply(Reply::Reject(_))
            ));
        }
        let mut patient = Peer {
            session: peer.session.clone(),
            log: String::new(),
        };
        let output = send(&mut peer, 11, 10_000);
        assert_eq!(output, Output::Close(CloseCode::TooManyRejects));
        assert!(matches!(
            send(&mut patient, 11, 10_001),
            Output::Reply(Reply::Reject(_))
        ));
    }

    #[test]
    fn liveness_asks_at_1_2_and_gives_up_at_2_4_intervals() {
        Peer::oe()
            .timer(999)
            .timer(1_000)
            .timer(1_199)
            .timer(1_200)
            .timer(2_200)
            .timer(2_399)
            .timer(2_400)
            .check(expect![[r#"
                1000 ms: heartbeat 0 next 9
                1200 ms: test request 1 next 9
                2200 ms: heartbeat 0 next 9
                2400 ms: close 8 silent
            "#]]);
    }

    #[test]
    fn any_bytes_count_as_life() {
        let mut peer = Peer::oe().timer(1_200);
        peer.session.on_bytes(at(2_399), Stream::Requests, false);
        assert_eq!(peer.session.state(), State::Active);
        peer.timer(2_400).check(expect![[r#"
            1200 ms: test request 1 next 9
            2400 ms: heartbeat 0 next 9
        "#]]);
    }

    #[test]
    fn a_test_request_is_answered_with_its_id() {
        let request = TestRequest {
            test_req_id: 77,
            next_server_seq: ServerSeq::new(0),
        };
        Peer::oe().control(&request).check(expect![[r#"
            heartbeat 77 next 9
        "#]]);
    }

    #[test]
    fn a_kill_refuses_new_orders_until_it_is_released() {
        let kill = |action| KillSwitch {
            action,
            scope: KillScope::Session,
        };
        let cancel = MassAction {
            cl_ord_id: ClOrdId::new(3),
            account: AccountId::new(0),
            action: crate::codes::MassActionType::Cancel,
            scope: crate::codes::MassActionScope::All,
            instrument: InstrumentId::new(0),
            product: 0,
            side: crate::codes::SideCode::Any,
            mmp_group: 0,
        };
        Peer::oe()
            .control(&kill(KillAction::Engage))
            .request(&order(2), 1)
            .request(&cancel, 2)
            .control(&kill(KillAction::Release))
            .request(&order(4), 3)
            .check(expect![[r#"
                passed on Kill(KillSwitch { action: Engage, scope: Session })
                business reject not_permitted (6) of template 20 seq 1 id 2 retry after 0 ns
                2 MassAction 3 passed on
                passed on Kill(KillSwitch { action: Release, scope: Session })
                3 NewOrderSingle 4 passed on
            "#]]);
    }

    #[test]
    fn what_is_not_there_yet_is_refused_by_name() {
        let timer = CancelAllAfter {
            deadline: Timestamp::from_nanos(1),
            include_stops: false,
        };
        Peer::oe().control(&timer).check(expect![[r#"
            business reject unsupported (3) of template 25 seq 0 id 0 retry after 0 ns
        "#]]);
    }

    #[test]
    fn a_draining_session_serves_cancels_only() {
        let mut peer = Peer::oe();
        peer.session.drain();
        let reduce = Reduce {
            cl_ord_id: ClOrdId::new(2),
            account: AccountId::new(0),
            orig_cl_ord_id: ClOrdId::new(1),
            order_id: tessera_types::OrderId::new(0),
            by: Lots::new(1),
        };
        peer.request(&order(1), 1)
            .request(&reduce, 2)
            .check(expect![[r#"
                business reject busy (4) of template 20 seq 1 id 1 retry after 0 ns
                2 Reduce 2 passed on
            "#]]);
    }

    #[test]
    fn requests_wait_until_the_session_has_started() {
        let peer = Peer::fresh(Protocol::OrderEntry, Rates::UNLIMITED).control(&logon());
        assert!(!peer.session.reads_requests());
        assert!(Peer::oe().session.reads_requests());
    }

    #[test]
    fn a_session_that_ended_while_the_engine_answered_is_not_acknowledged() {
        let mut peer = Peer::fresh(Protocol::OrderEntry, Rates::UNLIMITED).control(&logon());
        peer.session.end(at(1), LogoutReason::Draining, "");
        let started = Started {
            epoch: 1,
            last_cl_ord_id: ClOrdId::new(0),
            next_server_seq: ServerSeq::new(1),
        };
        assert_eq!(peer.session.started(at(2), UTC, started), None);
    }

    #[test]
    fn random_frames_never_panic_and_never_reach_the_engine_malformed() {
        let mut random = crate::testing::Random::new(0x5eed);
        let mut passed = 0_u32;
        for _ in 0..20_000 {
            let mut peer = Peer::oe();
            for seq in 1..=4 {
                let template = Template::ALL[random.below(Template::ALL.len())];
                let mut bytes = vec![0; Header::LEN + random.below(120)];
                if random.below(2) == 0 {
                    bytes.resize(Header::LEN + template.min_body(), 0);
                }
                random.fill(&mut bytes[Header::LEN..], 4);
                let header = Header {
                    body_len: u16::try_from(bytes.len() - Header::LEN).unwrap(),
                    template: template.number(),
                    minor: u8::try_from(random.below(2)).unwrap(),
                    flags: Flags::NONE,
                    seq,
                };
                let stream = [Stream::Control, Stream::Requests][random.below(2)];
                let body = &bytes[Header::LEN..];
                if let Output::Request { request, .. } =
                    peer.session.on_frame(at(0), UTC, stream, &header, body)
                {
                    // Whatever was passed on is what a peer that follows the rules could have sent.
                    let again = Message::decode(&header, body).unwrap();
                    assert_eq!(again.template(), request.template());
                    passed += 1;
                }
            }
        }
        assert!(
            passed > 100,
            "{passed}: the frames must reach the checks behind the codec too"
        );
    }

    fn offset<R: Body>(name: &str) -> usize {
        let at = R::FIELDS
            .iter()
            .position(|field| field.name == name)
            .unwrap();
        R::FIELDS[..at].iter().map(|field| field.width).sum()
    }
}
