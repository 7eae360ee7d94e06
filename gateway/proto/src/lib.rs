//! TXP, the Tessera exchange protocol, without I/O: the bytes, and what either side does about them.
//!
//! Nothing here reads a socket, a clock or a random number, and nothing names tokio or quinn. A shell
//! feeds a session one input at a time, with the time as an argument, and drains its outputs. The
//! layout of every message is in `docs/protocol.md`, which a test compares with this code.
//!
//! Read in this order: [`field`] is what a field is, [`header`] and [`message`] are the bytes,
//! [`codes`] their enumerations.

pub mod codes;
pub mod field;
pub mod header;
pub mod message;

pub use field::{FieldProblem, FieldSpec, Lots, Text, TextError};
pub use header::{Flags, Header, HeaderError};
pub use message::{Body, BodyError, Message, Sender, Template};
