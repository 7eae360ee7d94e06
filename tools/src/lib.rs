//! The one program of the exchange as a library, so that tests can drive the verbs in process.

pub mod admin;
pub mod catalogue;
pub mod client_args;
pub mod config;
pub mod demo;
pub mod exit;
pub mod feed;
pub mod journal;
pub mod load;
pub mod risk;
pub mod script;
pub mod serve;
pub mod sim;
pub mod trade;
