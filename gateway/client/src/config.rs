//! What a client is told before it connects.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tessera_proto::codes::CancelOnDisconnect;

/// Where to connect, as whom, and how a session behaves. Change what differs after [`Config::new`].
#[derive(Clone, Debug)]
pub struct Config {
    /// The server's address.
    pub addr: SocketAddr,
    /// The name that the server's certificate must have.
    pub server_name: String,
    /// The credentials directory, see [`Credentials`](crate::Credentials).
    pub credentials: PathBuf,
    /// Name of the files of order entry and market data in it.
    pub trader: String,
    /// Name of the files of administration in it.
    pub admin: String,
    /// Heartbeat interval, 1 to 60 s: a lost connection is noticed after 2.4 of them.
    pub heartbeat: Duration,
    /// When the end of a session cancels its orders.
    pub cancel_on_disconnect: CancelOnDisconnect,
    /// How long before that happens, at most 5 s.
    pub cancel_grace: Duration,
    /// Messages of the control stream that wait for the caller; a session whose caller reads none of
    /// them any more is ended rather than allowed to grow.
    pub notices: usize,
}

impl Config {
    /// The defaults: server name `localhost`, keys `trader` and `admin`, heartbeat 1 s, orders stay
    /// when the session ends.
    #[must_use]
    pub fn new(addr: SocketAddr, credentials: PathBuf) -> Self {
        Self {
            addr,
            server_name: "localhost".to_owned(),
            credentials,
            trader: "trader".to_owned(),
            admin: "admin".to_owned(),
            heartbeat: Duration::from_secs(1),
            cancel_on_disconnect: CancelOnDisconnect::None,
            cancel_grace: Duration::ZERO,
            notices: 65_536,
        }
    }
}
