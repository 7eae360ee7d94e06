//! Order scripts: one command per line of JSON, as the document `docs/order-script.md` defines them.
//!
//! [`parse_line`] reads one line and judges its *form* only: fields, types, ranges that need no
//! knowledge of the exchange. Names stay names; a [`Resolver`] turns them into numbers. What remains
//! to be said about a well-formed command (unknown order, wrong phase, bad price) is the engine's
//! business.
//!
//! Read [`command`] first, then `parse`, then `fields` for the JSON underneath.

pub mod accounts;
mod command;
mod contracts;
mod fields;
mod parse;
mod resolve;

pub use command::{BadLine, Op, ScriptCommand, ScriptLine, ScriptQuote, Text};
pub use contracts::ScriptContract;
pub use parse::parse_line;
pub use resolve::Resolver;
