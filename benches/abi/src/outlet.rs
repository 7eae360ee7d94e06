//! Where reports go: into our own ring directly, or through the harness's functions.
#![expect(unsafe_code, reason = "the harness's queue is a pointer and functions")]

use std::ffi::c_void;
use std::fmt;
use std::hint::spin_loop;

use crate::layout::{Report, Transport};
use crate::ring::{self, Ring};

/// The producer's end of a queue.
pub(crate) enum Outlet {
    /// A ring of ours.
    Own(&'static Ring),
    /// Somebody else's queue.
    Other(Transport, *mut c_void),
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own(_) => "Own",
            Self::Other(..) => "Other",
        })
    }
}

impl Outlet {
    /// The queue that the harness has made.
    ///
    /// # Safety
    /// `queue` comes of `transport.create` and lives as long as this; this is its only producer.
    pub(crate) unsafe fn new(transport: &Transport, queue: *mut c_void) -> Self {
        if std::ptr::fn_addr_eq(transport.push, ring::TRANSPORT.push) {
            // SAFETY: it comes of our own `create`, and lives as long as this.
            Self::Own(unsafe { &*queue.cast::<Ring>() })
        } else {
            Self::Other(*transport, queue)
        }
    }

    /// Hands one report over, waiting for room.
    #[inline]
    pub(crate) fn push(&mut self, report: Report) {
        while !self.try_push(&report) {
            wait();
        }
    }

    #[inline]
    fn try_push(&mut self, report: &Report) -> bool {
        match self {
            // SAFETY: `new` was promised that this is the only producer.
            Self::Own(ring) => unsafe { ring.push(*report) },
            Self::Other(transport, queue) => {
                // SAFETY: `new` was promised that the queue lives and that this is its only producer.
                let taken = unsafe { (transport.push)(*queue, report) };
                taken != 0
            }
        }
    }

    /// Lets the other side see everything.
    pub(crate) fn flush(&mut self) {
        match self {
            // SAFETY: as in `try_push`.
            Self::Own(ring) => unsafe { ring.flush() },
            // SAFETY: as in `try_push`.
            Self::Other(transport, queue) => unsafe { (transport.flush)(*queue) },
        }
    }
}

#[cold]
fn wait() {
    for _ in 0..64 {
        spin_loop();
    }
    // With fewer cores than threads the other side needs this one to go on.
    std::thread::yield_now();
}
