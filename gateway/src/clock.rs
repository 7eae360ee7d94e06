//! The two clocks of a shard: one for timers, which never steps, and UTC for what is compared with a
//! peer's clock or stored in a command.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tessera_proto::Monotime;
use tessera_types::Timestamp;

/// Reads both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// Time for timers.
    pub(crate) fn now(&self) -> Monotime {
        let ns = self.origin.elapsed().as_nanos();
        Monotime::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// The moment at which timers say `at`.
    pub(crate) fn instant(&self, at: Monotime) -> Instant {
        self.origin + std::time::Duration::from_nanos(at.nanos())
    }
}

/// Nanoseconds since 1970 UTC; 0 for a machine whose clock stands before.
pub(crate) fn utc() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
