//! Whole-system tests: the program as its users start it, and the pieces as it composes them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod cli;
mod determinism;
mod failstop;
mod flow;
mod fuzz;
mod golden;
mod journal_tools;
mod kill9;
mod operating;
mod real_disk;
mod recovery;
mod replica;
mod support;
