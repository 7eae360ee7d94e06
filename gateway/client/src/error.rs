//! What can go wrong, by what the caller can do about it.

use std::net::SocketAddr;

use quinn::ConnectionError;
use tessera_proto::codes::{CloseCode, LogoutReason, MdRejectReason};
use tessera_proto::session::ClientError;
use tessera_types::{ClOrdId, RejectReason};
use thiserror::Error;

use crate::credentials::CredentialsError;

/// Why there is no session.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The credentials cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// rustls refuses the certificates or the key.
    #[error(
        "the client's certificate or key is not usable: {0}; take a complete set from the venue"
    )]
    Certificate(#[from] rustls::Error),
    /// The crypto provider lacks what QUIC needs.
    #[error("the crypto provider has no cipher suite for QUIC; this is a fault of the build")]
    Cipher,
    /// No UDP socket.
    #[error("no UDP socket: {0}; check the limits of this machine")]
    Socket(#[from] std::io::Error),
    /// The connection could not be started.
    #[error("{addr}: {source}; check the address and the server name")]
    Start {
        /// The server.
        addr: SocketAddr,
        /// Why.
        source: quinn::ConnectError,
    },
    /// The connection could not be made.
    #[error(
        "{addr}: no connection: {source}; is the server running there, and are these its credentials?"
    )]
    Handshake {
        /// The server.
        addr: SocketAddr,
        /// Why.
        source: ConnectionError,
    },
    /// Something that no Logon can carry.
    #[error("{what} does not fit a Logon: {why}")]
    Logon {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The server refused the Logon.
    #[error("the server refused the logon: {}; {}", said(*reason, text), advice(*reason))]
    Refused {
        /// Why.
        reason: LogoutReason,
        /// The server's words.
        text: String,
    },
    /// The session ended before it began.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Why a session is over.
#[derive(Clone, Debug, Error)]
pub enum SessionError {
    /// The server, or we, said Logout.
    #[error("the session ended: {}", said(*reason, text))]
    LoggedOut {
        /// Why.
        reason: LogoutReason,
        /// The server's words.
        text: String,
    },
    /// The server closed the connection with a code of the protocol.
    #[error("the server closed the connection: {}; see the close codes in docs/protocol.md", .0.as_str())]
    Closed(CloseCode),
    /// The connection is lost; the exchange may have cancelled the session's orders.
    #[error(
        "the connection is lost: {0}; log on again, and compare LastClOrdID with what was sent"
    )]
    Lost(ConnectionError),
    /// The server broke the protocol, or was silent.
    #[error(transparent)]
    Protocol(#[from] ClientError),
    /// The caller does not take what comes.
    #[error(
        "more than {0} messages wait for the caller; take the events of a session as they come"
    )]
    NotRead(usize),
    /// The server refused a market-data request.
    #[error("market-data request {request_id} was refused: {reason}")]
    MarketData {
        /// The request.
        request_id: u64,
        /// Why.
        reason: MdRejectReason,
    },
    /// The server refused a request outright.
    #[error("the request was refused: {0}")]
    Refused(RejectReason),
    /// The session was closed on this side.
    #[error("the session was closed")]
    Ended,
}

/// Why a request was not sent. It has used neither its number nor its id.
#[derive(Clone, Debug, Error)]
pub enum SendError {
    /// The id does not rise.
    #[error("client id {given} is not above {last}; ids of a session rise, 0 takes the next one")]
    NotRising {
        /// The highest before.
        last: ClOrdId,
        /// The id that was given.
        given: ClOrdId,
    },
    /// The session is over.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// The reason, and the server's words where they say more.
fn said(reason: LogoutReason, text: &str) -> String {
    if text.is_empty() || text == reason.as_str() {
        reason.to_string()
    } else {
        format!("{reason} ({text})")
    }
}

const fn advice(reason: LogoutReason) -> &'static str {
    match reason {
        LogoutReason::Auth => {
            "are these credentials of this server, and may their key use this session name and protocol?"
        }
        LogoutReason::DuplicateSession => {
            "log the other connection out, or use another session name"
        }
        LogoutReason::SendingTime => "set the clock of this machine",
        LogoutReason::HeartBtInt => "use a heartbeat of 1 to 60 s",
        LogoutReason::Version => "use a client of the server's version",
        LogoutReason::Draining => "the server is stopping; try again when it is back",
        LogoutReason::Internal => "try again; the server's log says more",
        _ => "see the reasons in docs/protocol.md",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_and_what_to_do() {
        let refused = |reason, text: &str| {
            let text = text.to_owned();
            ConnectError::Refused { reason, text }.to_string()
        };
        assert_eq!(
            refused(LogoutReason::DuplicateSession, "duplicate_session"),
            "the server refused the logon: duplicate_session; log the other connection out, or use \
             another session name"
        );
        assert_eq!(
            refused(LogoutReason::HeartBtInt, "10 to 600"),
            "the server refused the logon: heart_bt_int (10 to 600); use a heartbeat of 1 to 60 s"
        );
    }
}
