//! The one program of the exchange as a library, so that tests can drive the verbs in process.

pub mod catalogue;
pub mod exit;
pub mod script;
pub mod serve;
pub mod sim;
