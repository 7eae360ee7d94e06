//! The server side of the edge: QUIC endpoints, sessions, order entry, market data and admin.
//!
//! A [`Shard`] is one thread with one single-threaded tokio runtime and one UDP socket. It turns
//! frames into commands for the core and durable events into frames, and it owns every timer. What
//! a frame means is decided by the state machines of `tessera-proto`; what an order does is decided
//! by the engine, which this package does not know. Nothing leaves a shard before the `durable`
//! cursor has passed it, and no peer can make a shard wait or keep more than its bound in memory.
//!
//! Read in this order: [`ports`] is all that a shard is given by the program; [`credentials`] and
//! [`tls`] say who may connect.

pub mod credentials;
pub mod ports;
pub mod tls;

pub use credentials::{Credentials, CredentialsError, LogonKey, Role, Scope};
pub use ports::{
    Directory, Listed, Sessions, ShardPorts, ShardStats, ShardWaker, SnapshotRequests,
    StatsSnapshot,
};
pub use tls::{Protocol, TlsError};
