//! The server side of the edge: QUIC endpoints, sessions, order entry, market data and admin.
//!
//! A [`Shard`] is one thread with one single-threaded tokio runtime and one UDP socket. It turns
//! frames into commands for the core and durable events into frames, and it owns every timer. What
//! a frame means is decided by the state machines of `tessera-proto`; what an order does is decided
//! by the engine, which this package does not know. Nothing leaves a shard before the `durable`
//! cursor has passed it, and no peer can make a shard wait or keep more than its bound in memory.
//!
//! Read in this order: [`ports`] is all that a shard is given by the program; [`credentials`] and
//! [`tls`] say who may connect, `auth` who may log on; [`shard`] is the thread and the state that its
//! tasks share, `link` one connection, `life` its session in the engine, `egress` and `feed` the ways
//! out, [`outbox`] one outgoing stream. [`http`] is apart: what an operator's monitoring reads.

pub mod ports;

pub mod credentials;
pub mod tls;

mod auth;
mod clock;
pub mod endpoint;

pub mod shard;

mod egress;
mod feed;
mod life;
mod link;
pub mod outbox;

pub mod http;

pub use credentials::{Credentials, CredentialsError, LogonKey, Role, Scope};
pub use endpoint::BindError;
pub use http::{Health, HttpServer};
pub use outbox::LagLimit;
pub use ports::{
    Directory, Listed, Sessions, ShardPorts, ShardStats, ShardWaker, SnapshotRequests,
    StatsSnapshot,
};
pub use shard::{ServeError, Shard, ShardConfig, ShardEnd, ShardHandle, SpawnError};
pub use tls::TlsError;
