//! Our own queue: reports are written in place and become visible in batches.
//!
//! One report at a time costs a transfer of the shared position per report, which is more than
//! matching. Here the position moves once per [`BATCH`], and on `flush`, as in the event ring of
//! `serve`; and each side keeps a copy of the other's position.
#![expect(
    unsafe_code,
    reason = "slots are written and read in place by two threads; the positions say whose they are"
)]

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::layout::{Report, Transport};

/// Reports that become visible together.
const BATCH: usize = 64;

/// The ring as the interface names it.
pub(crate) static TRANSPORT: Transport = Transport {
    create,
    push,
    drain,
    flush,
    destroy,
};

/// A bounded queue of one producer and one consumer. Positions only grow and wrap.
pub(crate) struct Ring {
    slots: Box<[UnsafeCell<Report>]>,
    /// Reports that the consumer may read: the producer stores it.
    tail: Line<AtomicUsize>,
    /// Reports that the consumer has read: the consumer stores it.
    head: Line<AtomicUsize>,
    producer: Line<UnsafeCell<Producer>>,
    consumer: Line<UnsafeCell<Consumer>>,
}

/// On cache lines of its own: two, since they are fetched in pairs.
#[repr(align(128))]
struct Line<T>(T);

struct Producer {
    /// Where the next report goes.
    next: usize,
    /// What `tail` holds.
    published: usize,
    /// A head that was true once.
    head_seen: usize,
}

struct Consumer {
    /// What `head` holds.
    next: usize,
    /// A tail that was true once.
    tail_seen: usize,
}

// SAFETY: the two threads meet in `tail` and `head` only; a slot belongs to the producer outside
// `head..tail` and to the consumer inside, and `producer` and `consumer` to one thread each, which the
// unsafe methods ask their callers for. Test `reports_cross_threads_in_order_and_whole`.
unsafe impl Sync for Ring {}

impl Ring {
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(2 * BATCH).next_power_of_two();
        let slots = (0..capacity).map(|_| UnsafeCell::new(Report::default()));
        Self {
            slots: slots.collect(),
            tail: Line(AtomicUsize::new(0)),
            head: Line(AtomicUsize::new(0)),
            producer: Line(UnsafeCell::new(Producer {
                next: 0,
                published: 0,
                head_seen: 0,
            })),
            consumer: Line(UnsafeCell::new(Consumer {
                next: 0,
                tail_seen: 0,
            })),
        }
    }

    /// Takes a report, or nothing when the ring is full; then all before it are visible.
    ///
    /// # Safety
    /// By one thread at a time: the producer.
    #[inline]
    pub(crate) unsafe fn push(&self, report: Report) -> bool {
        // SAFETY: only the producer's methods touch this, and the caller is the producer.
        let producer = unsafe { &mut *self.producer.0.get() };
        if producer.next.wrapping_sub(producer.head_seen) == self.slots.len() {
            // Acquire pairs with the Release in `drain`: the slots before it have been read.
            producer.head_seen = self.head.0.load(Ordering::Acquire);
            if producer.next.wrapping_sub(producer.head_seen) == self.slots.len() {
                self.publish(producer);
                return false;
            }
        }
        let slot = self.slots[producer.next & (self.slots.len() - 1)].get();
        // SAFETY: the slot is outside `head..tail`, so the consumer does not look at it.
        unsafe { slot.write(report) };
        producer.next = producer.next.wrapping_add(1);
        if producer.next.wrapping_sub(producer.published) >= BATCH {
            self.publish(producer);
        }
        true
    }

    /// Lets the consumer see everything.
    ///
    /// # Safety
    /// By one thread at a time: the producer.
    pub(crate) unsafe fn flush(&self) {
        // SAFETY: as in `push`.
        let producer = unsafe { &mut *self.producer.0.get() };
        self.publish(producer);
    }

    #[inline]
    fn publish(&self, producer: &mut Producer) {
        producer.published = producer.next;
        // Release pairs with the Acquire in `drain`: the slots before it have been written.
        self.tail.0.store(producer.next, Ordering::Release);
    }

    /// Moves reports into `out` until it is full or nothing is visible; returns how many.
    ///
    /// # Safety
    /// By one thread at a time: the consumer.
    pub(crate) unsafe fn drain(&self, out: &mut [Report]) -> usize {
        // SAFETY: only this method touches it, and the caller is the consumer.
        let consumer = unsafe { &mut *self.consumer.0.get() };
        if consumer.tail_seen.wrapping_sub(consumer.next) < out.len() {
            consumer.tail_seen = self.tail.0.load(Ordering::Acquire);
        }
        let count = consumer
            .tail_seen
            .wrapping_sub(consumer.next)
            .min(out.len());
        for (ahead, out) in out[..count].iter_mut().enumerate() {
            let place = consumer.next.wrapping_add(ahead) & (self.slots.len() - 1);
            // SAFETY: the slot is in `head..tail`: written, and not written again before `head`
            // has passed it.
            *out = unsafe { *self.slots[place].get() };
        }
        if count > 0 {
            consumer.next = consumer.next.wrapping_add(count);
            self.head.0.store(consumer.next, Ordering::Release);
        }
        count
    }
}

extern "C" fn create(capacity: u32) -> *mut c_void {
    Box::into_raw(Box::new(Ring::new(capacity as usize))).cast()
}

unsafe extern "C" fn push(queue: *mut c_void, report: *const Report) -> i32 {
    // SAFETY: the interface passes what `create` returned, until `destroy`.
    let ring = unsafe { &*queue.cast::<Ring>() };
    // SAFETY: the interface passes a report that can be read.
    let report = unsafe { *report };
    // SAFETY: the interface calls this from the producer only.
    i32::from(unsafe { ring.push(report) })
}

unsafe extern "C" fn drain(queue: *mut c_void, out: *mut Report, max: u32) -> u32 {
    // SAFETY: as in `push`.
    let ring = unsafe { &*queue.cast::<Ring>() };
    // SAFETY: the interface passes room for `max` reports, which are plain integers.
    let out = unsafe { std::slice::from_raw_parts_mut(out, max as usize) };
    // SAFETY: the interface calls this from the consumer only.
    let count = unsafe { ring.drain(out) };
    u32::try_from(count).unwrap_or(max)
}

unsafe extern "C" fn flush(queue: *mut c_void) {
    // SAFETY: as in `push`.
    let ring = unsafe { &*queue.cast::<Ring>() };
    // SAFETY: as in `push`.
    unsafe { ring.flush() };
}

unsafe extern "C" fn destroy(queue: *mut c_void) {
    // SAFETY: the interface passes what `create` made, once, when nobody uses it any more.
    drop(unsafe { Box::from_raw(queue.cast::<Ring>()) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_cross_threads_in_order_and_whole() {
        const COUNT: u64 = 200_000;
        let ring = Ring::new(256);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..COUNT {
                    let report = Report {
                        sequence_number: n,
                        taker_order_id: !n,
                        ..Report::default()
                    };
                    // SAFETY: this thread is the producer.
                    while !unsafe { ring.push(report) } {
                        std::thread::yield_now();
                    }
                }
                // SAFETY: as above.
                unsafe { ring.flush() };
            });
            let mut out = [Report::default(); 100];
            let mut next = 0;
            while next < COUNT {
                // SAFETY: this thread is the consumer.
                let count = unsafe { ring.drain(&mut out) };
                for report in &out[..count] {
                    assert_eq!(report.sequence_number, next);
                    assert_eq!(report.taker_order_id, !next);
                    next += 1;
                }
                if count == 0 {
                    std::thread::yield_now();
                }
            }
        });
    }

    #[test]
    fn a_batch_is_seen_when_it_is_full_when_flushed_and_when_the_ring_is() {
        let ring = Ring::new(1);
        let mut out = [Report::default(); 256];
        let push = |count: usize| {
            // SAFETY: one thread.
            (0..count).all(|_| unsafe { ring.push(Report::default()) })
        };
        // SAFETY: one thread.
        let mut drain = || unsafe { ring.drain(&mut out) };
        assert!(push(BATCH - 1));
        assert_eq!(drain(), 0);
        assert!(push(1));
        assert_eq!(drain(), BATCH);
        assert!(push(3));
        // SAFETY: one thread.
        unsafe { ring.flush() };
        assert_eq!(drain(), 3);
        assert!(!push(2 * BATCH + 1));
        assert_eq!(drain(), 2 * BATCH);
    }
}
