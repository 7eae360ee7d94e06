//! A queue such as a harness brings: every report is published at once, every position read anew.
#![expect(unsafe_code, reason = "as in `ring`")]

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::layout::{Report, Transport};

/// The queue as the interface names it.
pub(crate) static TRANSPORT: Transport = Transport {
    create,
    push,
    drain,
    flush,
    destroy,
};

struct Queue {
    slots: Box<[UnsafeCell<Report>]>,
    tail: Line<AtomicUsize>,
    head: Line<AtomicUsize>,
}

#[repr(align(128))]
struct Line<T>(T);

extern "C" fn create(capacity: u32) -> *mut c_void {
    let capacity = (capacity as usize).max(2).next_power_of_two();
    let slots = (0..capacity).map(|_| UnsafeCell::new(Report::default()));
    let queue = Queue {
        slots: slots.collect(),
        tail: Line(AtomicUsize::new(0)),
        head: Line(AtomicUsize::new(0)),
    };
    Box::into_raw(Box::new(queue)).cast()
}

unsafe extern "C" fn push(queue: *mut c_void, report: *const Report) -> i32 {
    // SAFETY: what `create` returned, until `destroy`.
    let queue = unsafe { &*queue.cast::<Queue>() };
    // SAFETY: a report that can be read.
    let report = unsafe { *report };
    let tail = queue.tail.0.load(Ordering::Relaxed);
    // Pairs with the Release in `drain`.
    if tail.wrapping_sub(queue.head.0.load(Ordering::Acquire)) == queue.slots.len() {
        return 0;
    }
    let slot = queue.slots[tail & (queue.slots.len() - 1)].get();
    // SAFETY: outside `head..tail`, and there is one producer.
    unsafe { slot.write(report) };
    // Pairs with the Acquire in `drain`.
    queue.tail.0.store(tail.wrapping_add(1), Ordering::Release);
    1
}

unsafe extern "C" fn drain(queue: *mut c_void, out: *mut Report, max: u32) -> u32 {
    // SAFETY: as in `push`.
    let queue = unsafe { &*queue.cast::<Queue>() };
    // SAFETY: room for `max` reports.
    let out = unsafe { std::slice::from_raw_parts_mut(out, max as usize) };
    let mut count = 0;
    for out in out {
        let head = queue.head.0.load(Ordering::Relaxed);
        if head == queue.tail.0.load(Ordering::Acquire) {
            break;
        }
        let slot = queue.slots[head & (queue.slots.len() - 1)].get();
        // SAFETY: inside `head..tail`, and there is one consumer.
        *out = unsafe { *slot };
        queue.head.0.store(head.wrapping_add(1), Ordering::Release);
        count += 1;
    }
    count
}

extern "C" fn flush(_queue: *mut c_void) {}

unsafe extern "C" fn destroy(queue: *mut c_void) {
    // SAFETY: what `create` made, once, when nobody uses it any more.
    drop(unsafe { Box::from_raw(queue.cast::<Queue>()) });
}
