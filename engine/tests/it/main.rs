//! The engine at its own boundary: commands in, events out.
//!
//! `script` is the language of the rule tests; `rules` has one test per rule; `random` throws
//! commands of any content at the engine and checks every structure after each; `snapshot` saves and
//! restores between them.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod accounts;
mod random;
mod rules;
mod script;
mod snapshot;
