//! The deterministic core of the exchange: books, sessions, phases.
//!
//! [`Exchange::apply`] is a function of its state and one sequenced command; events go to a buffer
//! that the caller owns. There is no clock, file, socket, thread, random number or float in here, and
//! nothing that is iterated in hash order.
//!
//! Read [`exchange`] first, which answers each kind of command, then [`view`], what can be asked
//! without changing anything.

pub mod exchange;
pub mod view;

pub use exchange::{EngineConfig, Exchange};
pub use view::{DepthLevel, OrderState, OrderView, SessionView};
