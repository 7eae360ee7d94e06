//! The other side of the interface in Rust: calls what the library exports, as a harness does.
#![expect(unsafe_code, reason = "it calls C functions with pointers")]

use std::ffi::c_void;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::layout::{Message, Report, Transport, View};
use crate::{plain, symbols};

/// Which queue the reports travel in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// The library's own.
    Own,
    /// One that publishes every report at once, as harnesses bring it.
    Plain,
}

impl Queue {
    fn transport(self) -> &'static Transport {
        match self {
            // SAFETY: the library returns a table that lives as long as the program.
            Self::Own => unsafe { &*symbols::engine_get_transport() },
            Self::Plain => &plain::TRANSPORT,
        }
    }
}

/// The engine's one seat in this process.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The end that sends messages and asks questions. Shuts the engine down when dropped.
#[derive(Debug)]
pub struct Sender {
    handle: Arc<Handle>,
}

/// The end that takes reports, on a thread of its own if wanted.
#[derive(Debug)]
pub struct Receiver {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    transport: &'static Transport,
    queue: *mut c_void,
}

// SAFETY: the queue is used by one sender and one receiver, neither of which can be cloned, and the
// transports are made for two threads. Test `two_threads`.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: both ends are gone, and the engine with the sender.
        unsafe { (self.transport.destroy)(self.queue) };
    }
}

/// Starts the engine with an empty book and a queue for `capacity` reports. Waits while another
/// sender of this process has it.
///
/// # Panics
/// When there is no memory for the queue.
#[must_use]
pub fn start(seed: u64, queue: Queue, capacity: u32) -> (Sender, Receiver) {
    while TAKEN.swap(true, Ordering::Acquire) {
        std::thread::yield_now();
    }
    let transport = queue.transport();
    // SAFETY: a transport makes a queue of any capacity.
    let queue = unsafe { (transport.create)(capacity) };
    assert!(!queue.is_null(), "no memory for {capacity} reports");
    let handle = Arc::new(Handle { transport, queue });
    // SAFETY: the table is static, and the handle outlives the engine, which ends with the sender.
    unsafe { symbols::engine_init(seed, transport, queue) };
    let sender = Sender {
        handle: Arc::clone(&handle),
    };
    (sender, Receiver { handle })
}

impl Sender {
    /// Delivers one message through its own function.
    #[inline]
    pub fn send(&mut self, message: &Message) {
        // Through pointers that the compiler cannot see through, as behind `dlopen`.
        match message.view() {
            // SAFETY: the message can be read, and this sender has the engine to itself.
            Some(View::New(new)) => unsafe {
                black_box(symbols::engine_on_new_order as unsafe extern "C" fn(_))(&raw const new);
            },
            // SAFETY: as above.
            Some(View::Cancel(cancel)) => unsafe {
                black_box(symbols::engine_on_cancel as unsafe extern "C" fn(_))(&raw const cancel);
            },
            // SAFETY: as above.
            Some(View::Modify(modify)) => unsafe {
                black_box(symbols::engine_on_modify as unsafe extern "C" fn(_))(&raw const modify);
            },
            None => {}
        }
    }

    /// Delivers a run of messages in one call.
    ///
    /// # Panics
    /// If there are more than 2^32 of them.
    pub fn send_batch(&mut self, messages: &[Message]) {
        let count = u32::try_from(messages.len()).expect("a batch has fewer than 2^32 messages");
        // SAFETY: as above.
        unsafe { symbols::engine_on_batch(messages.as_ptr(), count) };
    }

    /// Returns when all is matched and every report can be received.
    pub fn flush(&mut self) {
        symbols::engine_flush();
        // SAFETY: the queue lives, and this is its producer.
        unsafe { (self.handle.transport.flush)(self.handle.queue) };
    }

    /// The best bid in ticks, `i64::MIN` without one.
    #[must_use]
    pub fn best_bid(&self) -> i64 {
        symbols::engine_query_best_bid()
    }

    /// The best offer in ticks, `i64::MAX` without one.
    #[must_use]
    pub fn best_ask(&self) -> i64 {
        symbols::engine_query_best_ask()
    }

    /// Lots that rest at a price; `side` is 0 for bids, 1 for offers.
    #[must_use]
    pub fn depth_at(&self, price_ticks: i64, side: u8) -> u64 {
        symbols::engine_query_depth_at(price_ticks, side)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        symbols::engine_shutdown();
        TAKEN.store(false, Ordering::Release);
    }
}

impl Receiver {
    /// Takes reports into `out`, as many as there are and fit; returns how many.
    pub fn receive(&mut self, out: &mut [Report]) -> usize {
        let max = u32::try_from(out.len()).unwrap_or(u32::MAX);
        // SAFETY: `out` has room for `max` reports, and this is the only consumer.
        let count =
            unsafe { (self.handle.transport.drain)(self.handle.queue, out.as_mut_ptr(), max) };
        count as usize
    }
}
