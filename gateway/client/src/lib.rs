//! The client library of Tessera: order entry, administration and market data over QUIC.
//!
//! A [`Client`] is an address, a credentials directory and a UDP socket. Each session is a connection
//! of its own: [`OrderSession`] for orders, [`AdminSession`] for operating the exchange, [`Feed`] for
//! market data with exact mirrors of the books. Heartbeats, test requests and timers are served in the
//! background. What the bytes mean is decided by `tessera-proto`; this package moves them.
//!
//! Reconnecting is the caller's part: a session that ended says why in a [`SessionError`],
//! and a new one starts from the exchange's state ([`LogonInfo`]).
//!
//! ```no_run
//! use tessera_client::{Client, Config, OrderEvent};
//! use tessera_proto::Lots;
//! use tessera_proto::message::NewOrderSingle;
//! use tessera_types::{AccountId, ClOrdId, Price, Side};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new(Config::new("127.0.0.1:7000".parse()?, "data/credentials".into()))?;
//! let mut session = client.orders("ALICE").await?;
//! let instruments = session.instruments().await?;
//!
//! let order = NewOrderSingle::limit(
//!     ClOrdId::new(0), // 0: the session takes the next free id
//!     AccountId::new(7),
//!     instruments[0].instrument,
//!     Side::Buy,
//!     Price::from_ticks(240),
//!     Lots::new(5),
//! );
//! let id = session.send(order).await?;
//! loop {
//!     match session.next_event().await? {
//!         OrderEvent::Execution { report, .. } if report.cl_ord_id == id => {
//!             println!("{} {}", report.exec_type, report.engine_seq);
//!             break;
//!         }
//!         other => println!("{other:?}"),
//!     }
//! }
//! session.logout().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Read in this order: [`config`] and [`credentials`] are what a client is given; [`connect`] makes a
//! connection and logs on; [`orders`], [`admin`] and [`feed`] are the three kinds of session. [`baseline`] is
//! what an exchange is measured against.

pub mod admin;
pub mod baseline;
pub mod config;
pub mod connect;
pub mod credentials;
pub mod error;
pub mod feed;
mod frames;
mod link;
pub mod orders;
mod tls;

pub use admin::AdminSession;
pub use config::Config;
pub use connect::{Client, LogonInfo};
pub use credentials::{Credentials, CredentialsError};
pub use error::{ConnectError, SendError, SessionError};
pub use feed::{Feed, FeedEvent};
pub use orders::{OrderEvent, OrderEvents, OrderSender, OrderSession};
#[cfg(test)]
mod testing;
