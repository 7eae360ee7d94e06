//! How a slot and the sync thread's position go from one thread to another: the two protocols of this
//! package that rest on the order of plain stores, over whatever atomics the caller has.
//!
//! In every build these are `std`'s, over mapped memory and over the heap. Under `cfg(tessera_loom)` the unit
//! tests run the same functions over loom's, in every interleaving that loom finds, and once more with each
//! ordering taken away: then a model must fail, which shows that the scenario would notice.

use std::sync::atomic::Ordering;

/// A 64-bit word that several threads load and store.
pub(crate) trait Word {
    fn load(&self, order: Ordering) -> u64;
    fn store(&self, value: u64, order: Ordering);
    fn fence(order: Ordering);
}

impl Word for std::sync::atomic::AtomicU64 {
    #[inline(always)]
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    #[inline(always)]
    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    #[inline(always)]
    fn fence(order: Ordering) {
        std::sync::atomic::fence(order);
    }
}

/// The orderings of the protocols; the models run with weaker ones too.
pub(crate) trait Orders {
    /// The store of a slot's first word; pairs with the fence in [`load_slot`].
    const COMMIT: Ordering = Ordering::Release;
    /// Fences after the load of a slot's first word.
    const COMMIT_FENCE: bool = true;
    /// The store of an even version; pairs with the first load of [`load_version`].
    const VERSION_STORE: Ordering = Ordering::Release;
    /// The first load of a version.
    const VERSION_LOAD: Ordering = Ordering::Acquire;
    /// The fence between an odd version and the words; pairs with the next one.
    const WRITE_FENCE: bool = true;
    /// The fence between the words and the second load of the version.
    const READ_FENCE: bool = true;
}

/// As it ships.
pub(crate) struct Shipped;

impl Orders for Shipped {}

/// Stores words, the first one last and with Release: who sees it sees the others.
#[inline(always)]
pub(crate) fn store_slot<O: Orders, W: Word>(words: &[W], values: impl Iterator<Item = u64>) {
    let mut first = 0;
    for (index, (word, value)) in words.iter().zip(values).enumerate() {
        if index == 0 {
            first = value;
        } else {
            word.store(value, Ordering::Relaxed);
        }
    }
    words[0].store(first, O::COMMIT);
}

/// Loads words, the first one first: the others are at least as new as it is.
#[inline(always)]
pub(crate) fn load_slot<O: Orders, W: Word>(words: &[W], mut take: impl FnMut(usize, u64)) {
    for (index, word) in words.iter().enumerate() {
        // Relaxed plus fence instead of Acquire: only relaxed loads are promised to work on memory that is
        // mapped read-only.
        take(index, word.load(Ordering::Relaxed));
        if index == 0 && O::COMMIT_FENCE {
            W::fence(Ordering::Acquire);
        }
    }
}

/// Stores words under a version that is odd meanwhile: a sequence lock with one writer.
#[inline(always)]
pub(crate) fn store_version<O: Orders, W: Word>(version: &W, words: &[W], values: &[u64]) {
    let before = version.load(Ordering::Relaxed);
    version.store(before + 1, Ordering::Relaxed);
    // A reader that sees one of the words below sees the odd version.
    if O::WRITE_FENCE {
        W::fence(Ordering::Release);
    }
    for (word, value) in words.iter().zip(values) {
        word.store(*value, Ordering::Relaxed);
    }
    version.store(before + 2, O::VERSION_STORE);
}

/// One attempt to load words whole; false if a writer was at work.
#[inline(always)]
pub(crate) fn load_version<O: Orders, W: Word>(version: &W, words: &[W], out: &mut [u64]) -> bool {
    let before = version.load(O::VERSION_LOAD);
    for (word, value) in words.iter().zip(out) {
        *value = word.load(Ordering::Relaxed);
    }
    if O::READ_FENCE {
        W::fence(Ordering::Acquire);
    }
    before.is_multiple_of(2) && before == version.load(Ordering::Relaxed)
}

#[cfg(all(test, tessera_loom))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, AtomicU64, fence};
    use loom::thread;

    impl Word for AtomicU64 {
        fn load(&self, order: Ordering) -> u64 {
            self.load(order)
        }

        fn store(&self, value: u64, order: Ordering) {
            self.store(value, order);
        }

        fn fence(order: Ordering) {
            fence(order);
        }
    }

    fn words(count: usize) -> Arc<Vec<AtomicU64>> {
        Arc::new((0..count).map(|_| AtomicU64::new(0)).collect())
    }

    /// A record of two slots, the second stored first: whoever sees the commit word sees all of it.
    fn commit_word<O: Orders + 'static>() {
        loom::model(|| {
            let slots = words(4);
            let writer = Arc::clone(&slots);
            let thread = thread::spawn(move || {
                store_slot::<O, _>(&writer[2..], [7, 8].into_iter());
                store_slot::<O, _>(&writer[..2], [5, 6].into_iter());
            });
            let mut first = [0; 2];
            load_slot::<O, _>(&slots[..2], |index, value| first[index] = value);
            if first[0] != 0 {
                let mut second = [0; 2];
                load_slot::<O, _>(&slots[2..], |index, value| second[index] = value);
                assert_eq!((first, second), ([5, 6], [7, 8]), "a record seen half");
            }
            thread.join().unwrap();
        });
    }

    /// The position that a sync covers is one the journal thread stood at, and what it points at is there.
    /// Loom hides some schedules from the thread that stores, so either side is the spawned one in turn.
    fn watermark<O: Orders + 'static>() {
        for writer_is_spawned in [true, false] {
            loom::model(move || {
                let (slot, version, position) = (words(2), words(1), words(2));
                let (s, v, p) = (
                    Arc::clone(&slot),
                    Arc::clone(&version),
                    Arc::clone(&position),
                );
                let write = move || {
                    store_slot::<O, _>(&s[..], [5, 6].into_iter());
                    store_version::<O, _>(&v[0], &p[..], &[1, 10]);
                };
                let read = move || {
                    let mut found = [0; 2];
                    if !load_version::<O, _>(&version[0], &position[..], &mut found) {
                        return;
                    }
                    assert_eq!(found[1], found[0] * 10, "a position read half");
                    if found[0] > 0 {
                        // The sync thread's fdatasync reads the pages; here the words are.
                        let mut record = [0; 2];
                        load_slot::<O, _>(&slot[..], |index, value| record[index] = value);
                        assert_eq!(record, [5, 6], "a watermark above what is stored");
                    }
                };
                let thread = if writer_is_spawned {
                    let thread = thread::spawn(write);
                    read();
                    thread
                } else {
                    let thread = thread::spawn(read);
                    write();
                    thread
                };
                thread.join().unwrap();
            });
        }
    }

    /// The clean end: what was stored before `closed` is seen by whoever sees it closed.
    fn shutdown(store: Ordering, load: Ordering) {
        loom::model(move || {
            let (last, closed) = (words(1), Arc::new(AtomicBool::new(false)));
            let (l, c) = (Arc::clone(&last), Arc::clone(&closed));
            let thread = thread::spawn(move || {
                l[0].store(9, Ordering::Relaxed);
                c.store(true, store);
            });
            if closed.load(load) {
                assert_eq!(
                    last[0].load(Ordering::Relaxed),
                    9,
                    "closed before the last record"
                );
            }
            thread.join().unwrap();
        });
    }

    #[test]
    fn loom_commit_word() {
        commit_word::<Shipped>();
    }

    #[test]
    fn loom_watermark() {
        watermark::<Shipped>();
    }

    #[test]
    fn loom_shutdown() {
        shutdown(Ordering::Release, Ordering::Acquire);
    }

    struct RelaxedCommit;
    impl Orders for RelaxedCommit {
        const COMMIT: Ordering = Ordering::Relaxed;
    }

    #[test]
    #[should_panic(expected = "a record seen half")]
    fn finds_relaxed_commit_store() {
        commit_word::<RelaxedCommit>();
    }

    struct NoCommitFence;
    impl Orders for NoCommitFence {
        const COMMIT_FENCE: bool = false;
    }

    #[test]
    #[should_panic(expected = "a record seen half")]
    fn finds_missing_commit_fence() {
        commit_word::<NoCommitFence>();
    }

    struct RelaxedVersionStore;
    impl Orders for RelaxedVersionStore {
        const VERSION_STORE: Ordering = Ordering::Relaxed;
    }

    #[test]
    #[should_panic]
    fn finds_relaxed_version_store() {
        watermark::<RelaxedVersionStore>();
    }

    struct RelaxedVersionLoad;
    impl Orders for RelaxedVersionLoad {
        const VERSION_LOAD: Ordering = Ordering::Relaxed;
    }

    #[test]
    #[should_panic]
    fn finds_relaxed_version_load() {
        watermark::<RelaxedVersionLoad>();
    }

    struct NoWriteFence;
    impl Orders for NoWriteFence {
        const WRITE_FENCE: bool = false;
    }

    #[test]
    #[should_panic(expected = "a position read half")]
    fn finds_missing_write_fence() {
        watermark::<NoWriteFence>();
    }

    struct NoReadFence;
    impl Orders for NoReadFence {
        const READ_FENCE: bool = false;
    }

    #[test]
    #[should_panic(expected = "a position read half")]
    fn finds_missing_read_fence() {
        watermark::<NoReadFence>();
    }

    #[test]
    #[should_panic(expected = "closed before the last record")]
    fn finds_relaxed_shutdown() {
        shutdown(Ordering::Relaxed, Ordering::Acquire);
    }
}
