//! How threads of the exchange hand things to each other: bounded rings, cursors, park and wake.
//!
//! Every thread is an [`Agent`] that polls its rings, does a bounded amount of work and, when there
//! was none, lets [`Idle`] decide between spinning, yielding and parking. This package does not know
//! what travels in the rings, starts no clock, and never blocks the side that pushes: a full ring is
//! an answer ([`spsc::PushError::Full`]), and what it means is the caller's business.
//!
//! One hand-off, as the threads of the exchange do it:
//!
//! ```
//! use tessera_ring::{Parker, Wake, spsc};
//!
//! let (mut commands, mut inbox) = spsc::channel::<u64>(1024);
//! let mut parker = Parker::new();
//! let unparker = parker.unparker();
//!
//! let core = std::thread::spawn(move || {
//!     let mut sum = 0;
//!     while !inbox.is_drained() {
//!         if inbox.pop_batch(64, |command| sum += command) == 0 {
//!             parker.park_unless(None, || !inbox.is_empty() || inbox.is_closed());
//!         }
//!     }
//!     sum
//! });
//!
//! for command in 1..=100 {
//!     commands.try_push(command).expect("the ring holds 1024");
//!     unparker.wake(); // a fence and a load, unless the other side is parked
//! }
//! commands.close();
//! unparker.wake();
//! assert_eq!(core.join().expect("no panic"), 5050);
//! ```
//!
//! The orderings are checked by loom under `cfg(tessera_loom)`, together with deliberately weakened
//! ones that loom has to reject (module `models`).

mod sync;

pub mod agent;
pub mod cursor;
pub mod idle;
pub mod park;
pub mod spsc;

#[cfg(all(test, tessera_loom))]
mod models;

pub use agent::Agent;
pub use cursor::{Cursor, CursorWriter};
pub use idle::{Idle, IdleConfig};
pub use park::{Parker, Unparker, WaitFlag, Wake};
