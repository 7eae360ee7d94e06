//! Whole-system tests: the program as its users start it, and the pieces as it composes them.

mod cli;
mod flow;
mod fuzz;
mod kill9;
mod recovery;
mod support;
