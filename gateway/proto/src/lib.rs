//! TXP, the Tessera exchange protocol, without I/O: the bytes, and what either side does about them.
//!
//! Nothing here reads a socket, a clock or a random number, and nothing names tokio or quinn. A shell
//! feeds a session one input at a time, with the time as an argument, and acts on the one output. The
//! layout of every message is in `docs/protocol.md`, which a test compares with this code.
//!
//! Read in this order: [`field`], [`header`] and [`message`] are the bytes, [`codes`] their
//! enumerations; [`protocol`] says what may travel where; [`framer`] cuts a stream into frames;
//! [`session`] says what a peer does about each; [`auth`] and [`throttle`] are parts of that;
//! [`convert`] goes between messages and the engine's commands and events.

pub mod auth;
pub mod codes;
pub mod convert;
pub mod field;
pub mod framer;
pub mod header;
pub mod message;
pub mod protocol;
#[cfg(test)]
mod reference;
pub mod session;
#[cfg(test)]
mod testing;
pub mod throttle;
pub mod time;

pub use field::{FieldProblem, FieldSpec, Lots, Text, TextError};
pub use framer::{Frame, FrameError, Framer};
pub use header::{Flags, Header, HeaderError};
pub use message::{Body, BodyError, Message, Sender, Template};
pub use protocol::{Protocol, Stream};
pub use time::Monotime;
