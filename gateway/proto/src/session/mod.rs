//! What either side of a connection does about each frame, each timer and each decision of its shell.
//!
//! [`state`] is the server's state machine, [`server`] the session around it, [`client`] the other
//! side. None of them does anything: each input gives one output, which the shell acts on.

pub mod client;
pub mod server;
pub mod state;

pub use client::{ClientError, ClientOutput, ClientSession, ClientStream};
pub use server::{Control, Options, Output, Reply, Request, Session, Started};
pub use state::{Input, State, Unexpected};
