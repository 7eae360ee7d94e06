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
    AdminInstrument, AdminPhase, Body, BodyError, BusinessReject, Cancel, CancelAllAfter,
    CancelReplace, Heartbeat, KillSwitch, Logon, LogonAck, Logout, MassAction, MdRequest,
    NewOrderSingle, Reduce, Reject, SecurityListRequest, Template, TestRequest,
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
