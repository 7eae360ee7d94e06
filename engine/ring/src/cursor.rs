//! A number that only grows: stored by one thread, read by many.
//!
//! `published` and `durable` are cursors. What a reader may do once it has seen a value is the
//! writer's promise: everything the writer did before `publish(n)` is visible to whoever gets `n`
//! or more.

use std::fmt;
use std::sync::Arc;

use crossbeam::utils::CachePadded;

use crate::park::Wake;
use crate::sync::{AtomicU64, Fault, Ordering, Site};

/// The storing end. There is one per cursor; it can be sent to the thread that advances it.
pub struct CursorWriter {
    shared: Arc<Shared>,
    /// What `shared.value` holds: only this side stores it.
    value: u64,
    waiters: Vec<Arc<dyn Wake>>,
}

impl CursorWriter {
    /// A cursor at `initial`, and those whom [`Self::wake_all`] wakes.
    ///
    /// The waiters are fixed here, before the threads start, so that waking takes no lock.
    pub fn new(initial: u64, waiters: Vec<Arc<dyn Wake>>) -> Self {
        Self::with_fault(initial, waiters, Fault::NONE)
    }

    pub(crate) fn with_fault(initial: u64, waiters: Vec<Arc<dyn Wake>>, fault: Fault) -> Self {
        let shared = Arc::new(Shared {
            value: CachePadded::new(AtomicU64::new(initial)),
            fault,
        });
        Self {
            shared,
            value: initial,
            waiters,
        }
    }

    /// Another reading end.
    pub fn reader(&self) -> Cursor {
        Cursor {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Makes `value`, and everything done before, visible to readers. Wakes nobody: call
    /// [`Self::wake_all`] once after a group of stores.
    ///
    /// `value` is never below the one before, which is checked in debug builds.
    #[inline]
    pub fn publish(&mut self, value: u64) {
        debug_assert!(
            value >= self.value,
            "a cursor never goes back: {value} after {}",
            self.value
        );
        let order = self
            .shared
            .fault
            .order(Site::CursorRelease, Ordering::Release);
        self.shared.value.store(value, order); // pairs with the Acquire in `Cursor::get`
        self.value = value;
    }

    /// Wakes every waiter that is parked. For the others it costs one fence and one load each.
    #[inline]
    pub fn wake_all(&self) {
        for waiter in &self.waiters {
            waiter.wake();
        }
    }

    /// The value published last.
    #[inline]
    pub fn get(&self) -> u64 {
        self.value
    }
}

impl fmt::Debug for CursorWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CursorWriter")
            .field("value", &self.value)
            .field("waiters", &self.waiters.len())
            .finish()
    }
}

/// The reading end: cheap to clone, one for every thread that waits for the number.
#[derive(Clone)]
pub struct Cursor {
    shared: Arc<Shared>,
}

impl Cursor {
    /// The newest value this thread can see; never less than one it has seen before.
    #[inline]
    pub fn get(&self) -> u64 {
        let order = self
            .shared
            .fault
            .order(Site::CursorAcquire, Ordering::Acquire);
        self.shared.value.load(order) // pairs with the Release in `CursorWriter::publish`
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cursor").field(&self.get()).finish()
    }
}

struct Shared {
    /// Padded: the writer stores it often, and nothing else should move with its line.
    value: CachePadded<AtomicU64>,
    fault: Fault,
}

#[cfg(all(test, not(tessera_loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn readers_follow_the_writer() {
        let mut writer = CursorWriter::new(7, Vec::new());
        let reader = writer.reader();
        assert_eq!((reader.get(), writer.get()), (7, 7));
        writer.publish(7);
        writer.publish(12);
        assert_eq!((reader.clone().get(), writer.get()), (12, 12));
    }

    #[test]
    fn publishing_wakes_nobody_and_wake_all_wakes_everybody_once() {
        let counts: Vec<_> = (0..3)
            .map(|_| Arc::new(Count(AtomicUsize::new(0))))
            .collect();
        let mut writer = CursorWriter::new(
            0,
            counts.iter().map(|c| c.clone() as Arc<dyn Wake>).collect(),
        );
        let woken = |counts: &[Arc<Count>]| -> Vec<usize> {
            counts.iter().map(|c| c.0.load(Ordering::Relaxed)).collect()
        };
        writer.publish(1);
        assert_eq!(woken(&counts), [0, 0, 0]);
        writer.wake_all();
        assert_eq!(woken(&counts), [1, 1, 1]);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "a cursor never goes back: 4 after 5")]
    fn going_back_is_a_bug_of_the_writer() {
        let mut writer = CursorWriter::new(5, Vec::new());
        writer.publish(4);
    }
}
