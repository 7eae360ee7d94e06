//! Going to sleep when there is nothing to do, without missing what arrives meanwhile.
//!
//! The two sides run this, and one of them always sees the other:
//!
//! ```text
//!   waiting side                      publishing side
//!   flag := true                      publish the data
//!   full fence                        full fence
//!   look at the data again            look at the flag
//!     found some: flag := false         set: clear it, leave a wake-up
//!     nothing: park until a wake-up     clear: the other side is awake, nothing to do
//! ```
//!
//! Without both fences each side may read the old value of what the other has just stored (store
//! buffering), and the waiting side sleeps on data. Acquire and Release do not forbid that.
//!
//! A wake-up may come for nothing, never too few: a late one is kept for the next park. Callers look
//! at their data in a loop.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::utils::CachePadded;

use crate::sync::{AtomicBool, Fault, Ordering, Site, TokenParker, TokenUnparker, model_failed};

/// Somebody who may be asleep: a thread ([`Unparker`]) or, behind a [`WaitFlag`], an async task.
///
/// Publish first, then wake. `wake` never blocks for longer than it takes to leave a wake-up.
pub trait Wake: Send + Sync {
    /// Makes sure that the waiting side looks at its data after this call began.
    fn wake(&self);
}

impl<W: Wake + ?Sized> Wake for Arc<W> {
    fn wake(&self) {
        (**self).wake();
    }
}

/// The right of one thread to sleep until somebody publishes something.
///
/// It can be made on any thread and sent to the one that will park.
#[derive(Debug)]
pub struct Parker {
    flag: Arc<WaitFlag>,
    token: TokenParker,
}

impl Parker {
    /// A parker nobody can wake yet; see [`Self::unparker`].
    pub fn new() -> Self {
        Self::with_fault(Fault::NONE)
    }

    pub(crate) fn with_fault(fault: Fault) -> Self {
        Self {
            flag: Arc::new(WaitFlag::with_fault(fault)),
            token: TokenParker::new(),
        }
    }

    /// The other end, for whoever publishes to this thread.
    pub fn unparker(&self) -> Unparker {
        Unparker {
            flag: Arc::clone(&self.flag),
            token: self.token.unparker().clone(),
        }
    }

    /// Announces that this thread is about to park. Look at **all** the data once more after this
    /// call; then park, or drop the result if there was something.
    pub fn prepare_park(&mut self) -> PreparedPark<'_> {
        self.flag.announce();
        PreparedPark { parker: self }
    }

    /// Parks unless `has_work` finds something, for at most `timeout` (for ever if `None`).
    ///
    /// Returns whether it had to park. It may come back early; look at the data again.
    pub fn park_unless(
        &mut self,
        timeout: Option<Duration>,
        mut has_work: impl FnMut() -> bool,
    ) -> bool {
        let prepared = self.prepare_park();
        if has_work() {
            return false;
        }
        match timeout {
            Some(timeout) => prepared.park_timeout(timeout),
            None => prepared.park(),
        }
        true
    }
}

impl Default for Parker {
    fn default() -> Self {
        Self::new()
    }
}

/// A park that has been announced: the data is looked at while this exists.
///
/// Dropping it withdraws the announcement.
#[derive(Debug)]
#[must_use = "dropping it at once withdraws the park"]
pub struct PreparedPark<'a> {
    parker: &'a mut Parker,
}

impl PreparedPark<'_> {
    /// Sleeps until a wake-up, including one sent since [`Parker::prepare_park`].
    pub fn park(self) {
        self.parker.token.park();
    }

    /// Sleeps until a wake-up, or until `timeout` has passed.
    pub fn park_timeout(self, timeout: Duration) {
        self.parker.token.park_timeout(timeout);
    }
}

impl Drop for PreparedPark<'_> {
    fn drop(&mut self) {
        if model_failed() {
            return;
        }
        self.parker.flag.withdraw();
    }
}

/// Wakes the thread that holds the [`Parker`]; clone one for every publisher.
#[derive(Clone)]
pub struct Unparker {
    flag: Arc<WaitFlag>,
    token: TokenUnparker,
}

impl Wake for Unparker {
    #[inline]
    fn wake(&self) {
        if self.flag.take() {
            self.token.unpark();
        }
    }
}

impl fmt::Debug for Unparker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unparker").finish_non_exhaustive()
    }
}

/// The flag of the protocol above, for those who sleep by other means than a [`Parker`].
///
/// An async task shares one with its publishers: the task announces, looks at its data, and awaits
/// its notification; [`Wake::wake`] is `if flag.take() { notify.notify_one() }`. The notification
/// must keep one permit if it comes before the await, as tokio's `Notify` does.
#[derive(Debug)]
pub struct WaitFlag {
    /// Padded: publishers load it after every batch, and it rarely changes under load.
    waiting: CachePadded<AtomicBool>,
    fault: Fault,
}

impl WaitFlag {
    /// A flag nobody has raised.
    pub fn new() -> Self {
        Self::with_fault(Fault::NONE)
    }

    fn with_fault(fault: Fault) -> Self {
        Self {
            waiting: CachePadded::new(AtomicBool::new(false)),
            fault,
        }
    }

    /// Waiting side: says that it is about to sleep. Look at all the data after this call, and
    /// sleep only if there was none.
    #[inline]
    pub fn announce(&self) {
        // Relaxed: the fence orders it, and what is found afterwards has orderings of its own.
        self.waiting.store(true, Ordering::Relaxed);
        self.fault.full_fence(Site::ParkFence); // pairs with the fence in `take`
    }

    /// Waiting side: is awake again, or found something after all.
    #[inline]
    pub fn withdraw(&self) {
        self.waiting.store(false, Ordering::Relaxed);
    }

    /// Publishing side, after publishing: whether the waiting side needs a wake-up from this caller.
    ///
    /// Of several publishers one is told so. The others rely on it: the waiting side has then yet to
    /// announce again, and its look at the data after that is ordered after their fences.
    #[inline]
    #[must_use = "nobody else will wake the waiting side"]
    pub fn take(&self) -> bool {
        self.fault.full_fence(Site::WakeFence); // pairs with the fence in `announce`
        // The load first: an exchange takes the cache line away from the other publishers each time.
        // Not a swap: one that comes too late would store `false` beside the next announcement.
        self.waiting.load(Ordering::Relaxed)
            && self
                .waiting
                .compare_exchange(true, false, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

impl Default for WaitFlag {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(tessera_loom)))]
mod tests {
    use super::*;
    use std::time::Instant;

    const AGES: Duration = Duration::from_secs(30);

    #[test]
    fn work_found_after_the_announcement_cancels_the_park() {
        let mut parker = Parker::new();
        assert!(!parker.park_unless(None, || true));
    }

    #[test]
    fn a_wake_up_between_the_announcement_and_the_park_ends_the_park() {
        let mut parker = Parker::new();
        let unparker = parker.unparker();
        let prepared = parker.prepare_park();
        unparker.wake();
        prepared.park(); // would hang if the wake-up were lost
    }

    #[test]
    fn only_an_announced_park_leaves_a_wake_up() {
        let mut parker = Parker::new();
        let unparker = parker.unparker();
        unparker.wake();
        let timeout = Duration::from_millis(5);
        let began = Instant::now();
        assert!(parker.park_unless(Some(timeout), || false));
        assert!(began.elapsed() >= timeout);
    }

    #[test]
    fn of_two_publishers_one_is_told_to_wake() {
        let flag = WaitFlag::new();
        assert!(!flag.take());
        flag.announce();
        assert!(flag.take());
        assert!(!flag.take());
        flag.announce();
        flag.withdraw();
        assert!(!flag.take());
    }

    #[test]
    fn a_parked_thread_is_woken_from_another() {
        let mut parker = Parker::new();
        let unparker = parker.unparker();
        let ready = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = ready.clone();
        let waiting = std::thread::spawn(move || {
            let began = Instant::now();
            while !seen.load(Ordering::Acquire) {
                parker.park_unless(Some(AGES), || seen.load(Ordering::Acquire));
            }
            began.elapsed()
        });
        ready.store(true, Ordering::Release);
        unparker.wake();
        assert!(waiting.join().expect("the waiting thread does not panic") < AGES);
    }
}
