//! The atomics of this package: `std` in every build, loom's while models run.
//!
//! `Arc` is here for the rings only, where its last drop orders the two sides; elsewhere `std`'s does.
//!
//! Only the unit tests of this package see loom, and only under `cfg(tessera_loom)`: doc tests and
//! packages above it get `std` under every flag. The cfg is our own because plain `--cfg loom` also
//! reaches tokio, which then loses its networking.

pub(crate) use imp::{
    Arc, AtomicBool, AtomicU64, AtomicUsize, Backoff, Ordering, TokenParker, TokenUnparker,
    UnsafeCell, model_failed,
};

/// A place where a model may weaken an ordering, to prove that the models would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    /// The producer's store of `tail`.
    TailRelease,
    /// The consumer's load of `tail`.
    TailAcquire,
    /// The consumer's store of `head`.
    HeadRelease,
    /// The producer's load of `head`.
    HeadAcquire,
    /// The store of `closed`.
    CloseRelease,
    /// The load of `closed`.
    CloseAcquire,
    /// The writer's store of a cursor.
    CursorRelease,
    /// The reader's load of a cursor.
    CursorAcquire,
    /// The fence between announcing a park and looking at the data again.
    ParkFence,
    /// The fence between publishing the data and looking for a parked thread.
    WakeFence,
}

/// The deliberate defect of one object: none, except in the self-checks of the models.
///
/// Outside loom it is a zero-sized constant, and every question asked of it folds away. The point of
/// carrying it is that the self-checks break the code that ships, not a copy of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    #[cfg(all(test, tessera_loom))]
    site: Option<Site>,
}

impl Fault {
    pub(crate) const NONE: Self = Self {
        #[cfg(all(test, tessera_loom))]
        site: None,
    };

    #[cfg(all(test, tessera_loom))]
    pub(crate) const fn at(site: Site) -> Self {
        Self { site: Some(site) }
    }

    /// `right`, or `Relaxed` where this fault sits.
    #[inline(always)]
    pub(crate) fn order(self, site: Site, right: Ordering) -> Ordering {
        if self.hits(site) {
            Ordering::Relaxed
        } else {
            right
        }
    }

    /// A sequentially consistent fence, or nothing where this fault sits.
    #[inline(always)]
    pub(crate) fn full_fence(self, site: Site) {
        if !self.hits(site) {
            imp::fence(Ordering::SeqCst);
        }
    }

    #[cfg(all(test, tessera_loom))]
    fn hits(self, site: Site) -> bool {
        self.site == Some(site)
    }

    #[cfg(not(all(test, tessera_loom)))]
    #[inline(always)]
    const fn hits(self, _site: Site) -> bool {
        false
    }
}

#[cfg(not(all(test, tessera_loom)))]
mod imp {
    pub(crate) use crossbeam::sync::{Parker as TokenParker, Unparker as TokenUnparker};
    pub(crate) use crossbeam::utils::Backoff;
    pub(crate) use std::sync::Arc;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

    /// Whether a model is being torn down; never, outside models.
    #[inline(always)]
    pub(crate) const fn model_failed() -> bool {
        false
    }

    /// `std`'s cell with the closure interface of loom's.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

#[cfg(all(test, tessera_loom))]
mod imp {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

    use loom::sync::{Condvar, Mutex};
    use std::sync::Arc as StdArc;
    use std::time::Duration;

    /// Whether a model has found something and unwinds. Its atomics cannot be used any more: a
    /// destructor that tries turns the finding into an abort of the whole test program.
    pub(crate) fn model_failed() -> bool {
        std::thread::panicking()
    }

    /// Gives the turn back to the model; crossbeam's would spin inside one step for ever.
    #[derive(Debug)]
    pub(crate) struct Backoff;

    impl Backoff {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn spin(&self) {
            loom::thread::yield_now();
        }

        pub(crate) fn snooze(&self) {
            loom::thread::yield_now();
        }

        pub(crate) fn reset(&self) {}
    }

    /// What crossbeam's parker promises: a token that `unpark` leaves and `park` takes.
    #[derive(Debug)]
    pub(crate) struct TokenParker(TokenUnparker);

    impl TokenParker {
        pub(crate) fn new() -> Self {
            Self(TokenUnparker(StdArc::new((
                Mutex::new(false),
                Condvar::new(),
            ))))
        }

        pub(crate) fn unparker(&self) -> &TokenUnparker {
            &self.0
        }

        pub(crate) fn park(&self) {
            let (token, arrived) = &*self.0.0;
            let mut token = token
                .lock()
                .expect("no model panics while it holds the token");
            while !*token {
                token = arrived
                    .wait(token)
                    .expect("no model panics while it holds the token");
            }
            *token = false;
        }

        /// Never times out: a model in which only the clock ends a park has lost a wake-up, and
        /// loom reports it as a deadlock.
        pub(crate) fn park_timeout(&self, _timeout: Duration) {
            self.park();
        }
    }

    #[derive(Clone, Debug)]
    pub(crate) struct TokenUnparker(StdArc<(Mutex<bool>, Condvar)>);

    impl TokenUnparker {
        pub(crate) fn unpark(&self) {
            let (token, arrived) = &*self.0;
            *token
                .lock()
                .expect("no model panics while it holds the token") = true;
            arrived.notify_one();
        }
    }
}
