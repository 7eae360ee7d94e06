//! What the whole-system tests share.
//!
//! [`model`] is the plain reference model, [`scripts`] writes random order scripts, and [`duel`]
//! runs one script through engine and model and finds the first difference. [`ledger`] books what
//! the events say about every order.

pub mod duel;
pub mod ledger;
pub mod model;
pub mod scripts;
pub mod sessions;
