//! An allocator that counts: bytes that live and calls made, by thread.
//!
//! A program or test that wants the figures makes [`Heap`] its global allocator.
#![expect(unsafe_code, reason = "an allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counting.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heap;

/// What the calling thread has allocated and freed since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes allocated less bytes freed; what another thread frees is counted there.
    pub live_bytes: i64,
    /// Calls that gave memory: allocations and changes of size.
    pub calls: u64,
}

thread_local! {
    static COUNTS: Cell<Counts> = const {
        Cell::new(Counts {
            live_bytes: 0,
            calls: 0,
        })
    };
}

/// The counts of the calling thread; all zero unless [`Heap`] is the global allocator.
#[must_use]
pub fn counts() -> Counts {
    COUNTS.get()
}

fn count(bytes: usize, freed: usize, calls: u64) {
    // A thread that is being taken down counts no more.
    let _ = COUNTS.try_with(|counts| {
        let mut now = counts.get();
        now.live_bytes += bytes.cast_signed() as i64 - freed.cast_signed() as i64;
        now.calls += calls;
        counts.set(now);
    });
}

// SAFETY: every call goes on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0, 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0, 1);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size(), 1);
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}
