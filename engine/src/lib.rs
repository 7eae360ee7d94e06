//! The deterministic core of the exchange: books, sessions, phases.
//!
//! [`Exchange::apply`] is a function of its state and one sequenced command; events go to a buffer
//! that the caller owns. There is no clock, file, socket, thread, random number or float in here, and
//! nothing that is iterated in hash order.
//!
//! Read `exchange` first, which receives every command, then `orders`, what is checked and answered,
//! and `book/matching`, how an order trades. `plain` is the short way of what most requests ask.
//! `book/store` keeps the records together. `view` is what can be asked without changing anything,
//! `snapshot` the whole state as bytes.

mod accounts;
mod auction;
mod book;
mod contracts;
mod digest;
mod exchange;
mod lifecycle;
mod listing;
mod lookahead;
mod orders;
mod plain;
mod prefetch;
mod quotes;
mod restart;
mod sessions;
mod snapshot;
mod stops;
mod view;
mod volatility;

pub use accounts::{AccountView, PositionView, RiskView};
pub use contracts::{GroupView, LeaseView, PoolFree};
pub use exchange::{EngineConfig, Exchange};
pub use lifecycle::{OrderInput, OrderStatus};
pub use snapshot::{SNAPSHOT_SCHEMA, SnapshotError};
pub use view::{DepthLevel, OrderState, OrderView, SessionView};
