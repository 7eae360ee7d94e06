//! Market data: the feed from events, and the book back from the feed.
//!
//! Both sides live here because they have to agree: [`builder`] turns the engine's durable events
//! into increments and snapshots, [`mirror`] turns increments and snapshots into the same book again,
//! or says that it cannot. Nothing here knows a socket, a thread, a clock or the engine's own books.
//!
//! Read in this order: [`increment`] is what travels; [`book`] is what both sides keep; [`snapshot`]
//! is a book written down; [`mod@checksum`] is how two books are compared in four bytes; [`builder`]
//! makes the feed; [`mirror`] is the client's side;
//! [`conflate`] thins the feed for those who want less of it.

pub mod book;
pub mod builder;
pub mod checksum;
pub mod conflate;
pub mod increment;
pub mod mirror;
pub mod snapshot;
#[cfg(test)]
mod testing;

pub use book::{Bbo, L2Book, Level};
pub use builder::{Builder, BuilderConfig, InstrumentState};
pub use checksum::checksum;
pub use conflate::Conflator;
pub use increment::{FeedItem, Increment, IncrementKind, LevelAction};
pub use mirror::{ChannelGap, ChannelTracker, Mirror, MirrorState, ResyncReason, Update};
pub use snapshot::{BookSnapshot, LastTrade, LevelEntry, SnapshotRequest};
