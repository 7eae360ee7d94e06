//! What the whole-system tests share.
//!
//! [`model`] is the plain reference model, [`scripts`] writes random order scripts, and [`duel`]
//! runs one script through engine and model and finds the first difference. [`sessions`] runs it through
//! sessions too, [`ledger`] books what the events say about every order, [`listing`] offers catalogues and
//! contracts.

pub mod contract_scripts;
pub mod duel;
pub mod ledger;
pub mod listing;
pub mod model;
pub mod scripts;
pub mod sessions;
