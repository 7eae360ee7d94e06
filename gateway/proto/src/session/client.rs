//! The client's side of a session: numbers requests, checks the server's numbers, answers test
//! requests and keeps the timers.

use core::time::Duration;

use tessera_types::ServerSeq;
use thiserror::Error;

use crate::codes::{LogoutReason, StreamKind};
use crate::field::{Reserved, Text};
use crate::header::Header;
use crate::message::{
    BodyError, Heartbeat, Logon, LogonAck, Logout, Message, StreamStart, Template, TestRequest,
};
use crate::session::server::{LOGOUT_PATIENCE, Reply};
use crate::time::Monotime;

/// A stream that the server writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientStream {
    /// The bidirectional one.
    Control,
    /// A unidirectional one, whose first frame has said this.
    Opened(StreamKind),
    /// A unidirectional one whose first frame has not come.
    New,
}

/// What the shell must do about one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientOutput {
    /// Nothing.
    Nothing,
    /// The session is on; requests may be sent.
    LoggedOn(LogonAck),
    /// The first frame of a stream: pass [`ClientStream::Opened`] with its frames from now on.
    Opened(StreamStart),
    /// Give this to the user.
    Deliver {
        /// Header seq.
        seq: u64,
        /// The message.
        message: Message,
    },
    /// Send this on the control stream.
    Reply(Reply),
    /// The server ends the session, or answers our Logout, or refuses the Logon: close.
    LoggedOut(Logout),
    /// No answer to our Logout came in time: close.
    Close,
}

/// Why the connection is of no more use to the client.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// A message that cannot be read.
    #[error(
        "the server's {template} is malformed: {error}; client and server disagree about the protocol"
    )]
    Malformed {
        /// Which, by number.
        template: u16,
        /// What is wrong.
        error: BodyError,
    },
    /// A message where it does not belong.
    #[error("the server sent {template} where it does not belong")]
    Misplaced {
        /// Which.
        template: &'static str,
    },
    /// A ServerSeq is missing or came twice.
    #[error(
        "ServerSeq {found} came instead of {expected}; log on again to continue from the server's state"
    )]
    Gap {
        /// What was next.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The server has not answered the Logon.
    #[error("the server did not answer the Logon within {} s", LOGON_ANSWER.as_secs())]
    NoAnswer,
    /// Nothing came for 2.4 heartbeat intervals.
    #[error("nothing came from the server for {0:?}; log on again")]
    Silent(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientState {
    AwaitAck { deadline: Monotime },
    Active,
    AwaitingTestReply { deadline: Monotime },
    LogoutPending { deadline: Monotime },
    Closed,
}

/// The client's side of one connection.
#[derive(Clone, Debug)]
pub struct ClientSession {
    state: ClientState,
    heart_bt_int: u16,
    next_client_seq: u64,
    /// Number of the next message on S2, once its first frame has said so.
    next_server_seq: Option<u64>,
    test_req_id: u64,
    last_heard: Monotime,
    last_sent: Monotime,
}

impl ClientSession {
    /// A session whose Logon is being sent.
    #[must_use]
    pub fn new(logon: &Logon, now: Monotime) -> Self {
        Self {
            state: ClientState::AwaitAck {
                deadline: now.after(LOGON_ANSWER),
            },
            heart_bt_int: logon.heart_bt_int,
            next_client_seq: 1,
            next_server_seq: None,
            test_req_id: 0,
            last_heard: now,
            last_sent: now,
        }
    }

    /// Takes the number for the next request on S1.
    pub fn take_client_seq(&mut self) -> u64 {
        let seq = self.next_client_seq;
        self.next_client_seq += 1;
        seq
    }

    /// The last number that was taken.
    #[must_use]
    pub const fn last_client_seq(&self) -> u64 {
        self.next_client_seq - 1
    }

    /// Whether requests may be sent.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        matches!(
            self.state,
            ClientState::Active | ClientState::AwaitingTestReply { .. }
        )
    }

    /// Notes bytes from the server, on any stream.
    pub fn on_bytes(&mut self, now: Monotime) {
        self.last_heard = now;
        if let ClientState::AwaitingTestReply { .. } = self.state {
            self.state = ClientState::Active;
        }
    }

    /// Notes that something was sent.
    pub fn on_sent(&mut self, now: Monotime) {
        self.last_sent = now;
    }

    /// Decides about one frame.
    ///
    /// # Errors
    /// [`ClientError`]: the connection is to be closed.
    pub fn on_frame(
        &mut self,
        now: Monotime,
        stream: ClientStream,
        header: &Header,
        body: &[u8],
    ) -> Result<ClientOutput, ClientError> {
        let message = Message::decode(header, body).map_err(|error| ClientError::Malformed {
            template: header.template,
            error,
        })?;
        match stream {
            ClientStream::Control => self.on_control(now, header, message),
            ClientStream::New => match message {
                Message::StreamStart(start) => {
                    if start.kind == StreamKind::Events {
                        self.next_server_seq = Some(start.next_seq);
                    }
                    Ok(ClientOutput::Opened(start))
                }
                other => Err(misplaced(&other)),
            },
            ClientStream::Opened(StreamKind::Events) => self.on_event(header, message),
            ClientStream::Opened(_) => Ok(ClientOutput::Deliver {
                seq: header.seq,
                message,
            }),
        }
    }

    /// The Logout to send when the client wants to end the session.
    pub fn logout(&mut self, now: Monotime) -> Logout {
        self.state = ClientState::LogoutPending {
            deadline: now.after(LOGOUT_PATIENCE * 2),
        };
        self.last_sent = now;
        Logout {
            reason: LogoutReason::Normal,
            reserved: Reserved,
            last_client_seq: self.last_client_seq(),
            text: Text::EMPTY,
        }
    }

    /// When [`ClientSession::on_timer`] is to be called at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotime> {
        match self.state {
            ClientState::AwaitAck { deadline } | ClientState::LogoutPending { deadline } => {
                Some(deadline)
            }
            ClientState::Active => Some(self.silence_at().min(self.heartbeat_at())),
            ClientState::AwaitingTestReply { deadline } => Some(deadline.min(self.heartbeat_at())),
            ClientState::Closed => None,
        }
    }

    /// Acts on the timers that have run out, one at a time: call again until it gives
    /// [`ClientOutput::Nothing`].
    ///
    /// # Errors
    /// [`ClientError::NoAnswer`] and [`ClientError::Silent`]: the connection is to be closed.
    pub fn on_timer(&mut self, now: Monotime) -> Result<ClientOutput, ClientError> {
        match self.state {
            ClientState::AwaitAck { deadline } if now >= deadline => {
                self.state = ClientState::Closed;
                return Err(ClientError::NoAnswer);
            }
            ClientState::AwaitingTestReply { deadline } if now >= deadline => {
                self.state = ClientState::Closed;
                return Err(ClientError::Silent(now.since(self.last_heard)));
            }
            ClientState::LogoutPending { deadline } if now >= deadline => {
                self.state = ClientState::Closed;
                return Ok(ClientOutput::Close);
            }
            ClientState::Active if now >= self.silence_at() => {
                let deadline = self.last_heard.after(self.interval() * 24 / 10);
                self.state = ClientState::AwaitingTestReply { deadline };
                self.test_req_id += 1;
                self.last_sent = now;
                return Ok(ClientOutput::Reply(Reply::TestRequest(TestRequest {
                    test_req_id: self.test_req_id,
                    next_server_seq: ServerSeq::new(0),
                })));
            }
            _ => {}
        }
        if self.is_active() && now >= self.heartbeat_at() {
            self.last_sent = now;
            return Ok(ClientOutput::Reply(Reply::Heartbeat(heartbeat(0))));
        }
        Ok(ClientOutput::Nothing)
    }

    fn on_control(
        &mut self,
        now: Monotime,
        header: &Header,
        message: Message,
    ) -> Result<ClientOutput, ClientError> {
        match (self.state, message) {
            (ClientState::AwaitAck { .. }, Message::LogonAck(ack)) => {
                self.state = ClientState::Active;
                self.heart_bt_int = ack.heart_bt_int;
                self.last_sent = now;
                Ok(ClientOutput::LoggedOn(ack))
            }
            (_, Message::Logout(logout)) => {
                self.state = ClientState::Closed;
                Ok(ClientOutput::LoggedOut(logout))
            }
            (ClientState::AwaitAck { .. }, Message::Reject(reject)) => Ok(ClientOutput::Deliver {
                seq: header.seq,
                message: reject.into(),
            }),
            (ClientState::AwaitAck { .. }, other) => Err(misplaced(&other)),
            (_, Message::TestRequest(request)) => {
                self.last_sent = now;
                let answer = heartbeat(request.test_req_id);
                Ok(ClientOutput::Reply(Reply::Heartbeat(answer)))
            }
            (_, Message::Heartbeat(_)) => Ok(ClientOutput::Nothing),
            (_, message) => match message.template() {
                Template::Reject
                | Template::BusinessReject
                | Template::MdReject
                | Template::ChannelHeartbeat
                | Template::AdminReply => Ok(ClientOutput::Deliver {
                    seq: header.seq,
                    message,
                }),
                _ => Err(misplaced(&message)),
            },
        }
    }

    fn on_event(&mut self, header: &Header, message: Message) -> Result<ClientOutput, ClientError> {
        let expected = self.next_server_seq.unwrap_or(header.seq);
        if header.seq != expected {
            return Err(ClientError::Gap {
                expected,
                found: header.seq,
            });
        }
        self.next_server_seq = Some(expected + 1);
        match message {
            Message::ExecutionReport(_)
            | Message::CancelReject(_)
            | Message::MassActionReport(_) => Ok(ClientOutput::Deliver {
                seq: header.seq,
                message,
            }),
            other => Err(misplaced(&other)),
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

const fn heartbeat(test_req_id: u64) -> Heartbeat {
    Heartbeat {
        test_req_id,
        next_server_seq: ServerSeq::new(0),
    }
}

const fn misplaced(message: &Message) -> ClientError {
    ClientError::Misplaced {
        template: message.template().as_str(),
    }
}

/// How long the server may take to answer a Logon.
pub const LOGON_ANSWER: Duration = Duration::from_secs(10);
