//! Whole-system tests: the program as its users start it, and the pieces as it composes them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod cli;
mod flow;
mod fuzz;
mod kill9;
mod recovery;
mod support;
