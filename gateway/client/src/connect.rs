//! Makes connections and logs on.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use quinn::{Connection, Endpoint, ReadError, SendStream};
use tessera_proto::auth::{EXPORTER_LABEL, EXPORTER_LEN, logon_signing_bytes};
use tessera_proto::codes::CloseCode;
use tessera_proto::header::MINOR;
use tessera_proto::message::{Body, Logon, LogonAck};
use tessera_proto::session::{ClientError, ClientOutput, ClientSession, ClientStream};
use tessera_proto::{Flags, Protocol, Text};
use tessera_types::{ClOrdId, ServerSeq, Timestamp};

use crate::admin::AdminSession;
use crate::config::Config;
use crate::credentials::Credentials;
use crate::error::{ConnectError, SessionError};
use crate::feed::Feed;
use crate::frames::FrameReader;
use crate::link::{Ends, FrameFault, Link, Owner, lost, monotime};
use crate::orders::OrderSession;

/// The venue that a Logon addresses.
pub const VENUE: &str = "TESSERA";

/// Makes sessions with one server over one UDP socket. Must be made inside a tokio runtime.
#[derive(Debug)]
pub struct Client {
    config: Config,
    endpoint: Endpoint,
}

/// What the server said about a session when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogonInfo {
    /// Life of the session's numbers.
    pub epoch: u64,
    /// Highest client id that had reached the engine, durable: whatever was sent above it before
    /// this session did not arrive, and will not.
    pub last_cl_ord_id: ClOrdId,
    /// Number of the next message of the engine.
    pub next_server_seq: ServerSeq,
    /// The whole answer.
    pub ack: LogonAck,
}

impl From<LogonAck> for LogonInfo {
    fn from(ack: LogonAck) -> Self {
        Self {
            epoch: ack.epoch,
            last_cl_ord_id: ack.last_cl_ord_id,
            next_server_seq: ack.next_server_seq,
            ack,
        }
    }
}

/// A session that is logged on, of whatever kind.
pub(crate) struct Established {
    pub(crate) link: Arc<Owner>,
    pub(crate) ends: Ends,
    pub(crate) info: LogonInfo,
}

impl Client {
    /// A client with a socket of its own.
    ///
    /// # Errors
    /// [`ConnectError::Socket`].
    pub fn new(config: Config) -> Result<Self, ConnectError> {
        // A socket that others can reach only where the server is not on this machine.
        let local: SocketAddr = match (config.addr, config.addr.ip().is_loopback()) {
            (SocketAddr::V4(_), true) => (Ipv4Addr::LOCALHOST, 0).into(),
            (SocketAddr::V4(_), false) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            (SocketAddr::V6(_), true) => (Ipv6Addr::LOCALHOST, 0).into(),
            (SocketAddr::V6(_), false) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let endpoint = Endpoint::client(local)?;
        Ok(Self { config, endpoint })
    }

    /// Its configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Logs on for order entry under this session name (SenderCompID).
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn orders(&self, session: &str) -> Result<OrderSession, ConnectError> {
        let name = &self.config.trader;
        let established = self.establish(Protocol::OrderEntry, name, session).await?;
        OrderSession::new(established).await.map_err(Into::into)
    }

    /// Logs on for administration under this session name.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn admin(&self, session: &str) -> Result<AdminSession, ConnectError> {
        let name = &self.config.admin;
        let established = self.establish(Protocol::Admin, name, session).await?;
        Ok(AdminSession::new(established))
    }

    /// Logs on for market data.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn market_data(&self) -> Result<Feed, ConnectError> {
        let name = &self.config.trader;
        let established = self.establish(Protocol::MarketData, name, name).await?;
        Ok(Feed::new(established))
    }

    /// Waits until every connection of this client has said its good-bye to the peer. Without it a
    /// process that exits at once leaves the server to find out by silence.
    pub async fn wait_idle(&self) {
        self.endpoint.wait_idle().await;
    }

    async fn establish(
        &self,
        protocol: Protocol,
        key: &str,
        session: &str,
    ) -> Result<Established, ConnectError> {
        let config = &self.config;
        let credentials = Credentials::load(&config.credentials, key)?;
        let tls = crate::tls::client_config(&credentials, protocol, config.heartbeat)?;
        let addr = config.addr;
        let connection = self
            .endpoint
            .connect_with(tls, addr, &config.server_name)
            .map_err(|source| ConnectError::Start { addr, source })?
            .await
            .map_err(|source| ConnectError::Handshake { addr, source })?;
        let refused = |source| ConnectError::Handshake { addr, source };
        let (mut send, receive) = connection.open_bi().await.map_err(refused)?;
        // S0 goes first when there is not enough room for everything.
        let _ = send.set_priority(CONTROL_PRIORITY);
        let logon = self.logon(protocol, &credentials, session, &connection)?;
        let origin = Instant::now();
        let mut client = ClientSession::new(&logon, monotime(origin));
        let mut frame = Vec::new();
        logon.encode_frame(0, Flags::NONE, &mut frame);
        let mut reader = FrameReader::new(receive);
        let answered = log_on(
            &connection,
            &mut client,
            &mut send,
            &mut reader,
            &frame,
            origin,
        );
        match answered.await {
            Ok(ack) => {
                let control = (send, reader);
                let (link, ends) = Link::start(connection, client, origin, control, config.notices);
                let info = ack.into();
                Ok(Established { link, ends, info })
            }
            Err(SessionError::LoggedOut { reason, text }) => {
                connection.close(u32::from(CloseCode::Done.code()).into(), b"");
                Err(ConnectError::Refused { reason, text })
            }
            Err(error) => {
                connection.close(u32::from(CloseCode::Done.code()).into(), b"");
                Err(error.into())
            }
        }
    }

    fn logon(
        &self,
        protocol: Protocol,
        credentials: &Credentials,
        session: &str,
        connection: &Connection,
    ) -> Result<Logon, ConnectError> {
        let name = |what, text: &str| {
            Text::new(text).map_err(|error| ConnectError::Logon {
                what,
                why: error.to_string(),
            })
        };
        let units = |what, value: u128, lowest: u128, highest: u128| {
            u16::try_from(value)
                .ok()
                .filter(|_| (lowest..=highest).contains(&value))
                .ok_or_else(|| ConnectError::Logon {
                    what,
                    why: format!("it is {value}, and must be {lowest} to {highest}"),
                })
        };
        let config = &self.config;
        let heartbeat = config.heartbeat.as_millis() / 100;
        let mut logon = Logon {
            sender: name("the session name", session)?,
            target: name("the venue", VENUE)?,
            heart_bt_int: units("the heartbeat in units of 100 ms", heartbeat, 10, 600)?,
            epoch: 0,
            next_server_seq: ServerSeq::new(0),
            schema_minor: MINOR,
            cancel_on_disconnect: config.cancel_on_disconnect,
            cancel_grace: units("the grace in ms", config.cancel_grace.as_millis(), 0, 5_000)?,
            username: credentials.username,
            sending_time: utc(),
            signature: [0; 64],
            take_over: false,
        };
        let mut exporter = [0; EXPORTER_LEN];
        connection
            .export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
            .map_err(|_| ConnectError::Cipher)?;
        let bytes = logon_signing_bytes(protocol, &logon, &exporter);
        let signature = credentials.logon.sign(&bytes);
        logon.signature.copy_from_slice(signature.as_ref()); // Ed25519 signatures have 64 bytes
        Ok(logon)
    }
}

/// Sends the Logon and waits for the answer.
async fn log_on(
    connection: &Connection,
    session: &mut ClientSession,
    send: &mut SendStream,
    reader: &mut FrameReader,
    logon: &[u8],
    origin: Instant,
) -> Result<LogonAck, SessionError> {
    if send.write_all(logon).await.is_err() {
        return Err(lost(connection.closed().await));
    }
    loop {
        let now = monotime(origin);
        session.on_timer(now)?;
        let patience = session
            .next_deadline()
            .map_or_else(|| std::time::Duration::ZERO, |deadline| deadline.since(now));
        match tokio::time::timeout(patience, reader.fill()).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Err(lost(connection.closed().await)),
            Ok(Err(ReadError::ConnectionLost(error))) => return Err(lost(error)),
            Ok(Err(_)) => return Err(lost(connection.closed().await)),
            Err(_) => return Err(ClientError::NoAnswer.into()),
        }
        let now = monotime(origin);
        session.on_bytes(now);
        let mut answer = None;
        let taken: Result<(), FrameFault> = reader.drain(|frame| {
            let stream = ClientStream::Control;
            let output = session.on_frame(now, stream, &frame.header, frame.body)?;
            answer = match output {
                ClientOutput::LoggedOn(ack) => Some(Ok(ack)),
                ClientOutput::LoggedOut(logout) => Some(Err(SessionError::LoggedOut {
                    reason: logout.reason,
                    text: logout.text.as_str().to_owned(),
                })),
                _ => return Ok(ControlFlow::Continue(())),
            };
            Ok(ControlFlow::Break(()))
        });
        taken?;
        if let Some(answer) = answer {
            return answer;
        }
    }
}

/// Nanoseconds since 1970 UTC.
pub(crate) fn utc() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    });
    Timestamp::from_nanos(nanos)
}

const CONTROL_PRIORITY: i32 = 30;
