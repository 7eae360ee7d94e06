//! A bounded ring between one producer thread and one consumer thread.
//!
//! ```text
//!            head                tail              positions only grow; a slot is position & mask
//!   ── free ──┼──── elements ─────┼── free ──
//!             ▲                   ▲
//!    consumer stores it    producer stores it
//! ```
//!
//! Each side keeps a copy of the other side's position and reads the real one only when the copy
//! says "full" or "empty", so that in steady state the two cache lines move once per batch and not
//! once per element.
//!
//! Either side can close the ring. Elements pushed before the producer closed it still reach the
//! consumer; elements that nobody takes are dropped with the ring.

#![expect(
    unsafe_code,
    reason = "slots are written and read in place by two threads; the positions say whose they are"
)]

use std::cell::Cell;
use std::fmt;
use std::mem::MaybeUninit;

use crossbeam::utils::CachePadded;

use crate::park::Wake;
use crate::sync::{
    Arc, AtomicBool, AtomicUsize, Backoff, Fault, Ordering, Site, UnsafeCell, model_failed,
};

/// A ring for at most `capacity` elements, as its two ends.
///
/// Storage is rounded up to a power of two; the bound is exactly `capacity`. Nothing is allocated
/// afterwards.
///
/// # Panics
/// If `capacity` is zero, or so large that the slots cannot be addressed. Configured capacities are
/// validated where the configuration is read.
pub fn channel<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    channel_from(capacity, RingPos(0), Fault::NONE)
}

/// The pushing end. One thread at a time: it can be sent, but neither shared nor cloned.
///
/// ```compile_fail,E0277
/// fn shared_between_threads<T: Sync>() {}
/// shared_between_threads::<tessera_ring::spsc::Producer<u64>>();
/// ```
///
/// ```compile_fail,E0277
/// fn cloned<T: Clone>() {}
/// cloned::<tessera_ring::spsc::Producer<u64>>();
/// ```
///
/// Dropping it closes the ring.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// What `shared.tail` holds: only this side stores it.
    tail: Cell<RingPos>,
    /// A head that was true once. The real one can only be further, so room seen here is room.
    head_seen: Cell<RingPos>,
}

impl<T> Producer<T> {
    /// Appends one element and publishes it.
    ///
    /// # Errors
    /// [`PushError`] with the element, if the ring is full or closed.
    #[inline]
    pub fn try_push(&mut self, value: T) -> Result<(), PushError<T>> {
        let mut batch = self.batch();
        batch.push(value)
    }

    /// A writer whose elements become visible together, with one store, when it is dropped.
    #[inline]
    pub fn batch(&mut self) -> Batch<'_, T> {
        Batch {
            tail: self.tail.get(),
            producer: self,
        }
    }

    /// Moves elements from `items` into the ring until either runs out, publishes them together and
    /// returns how many were moved. No element is taken from `items` without a place for it.
    ///
    /// # Errors
    /// [`Closed`], with nothing taken from `items`, if the ring is closed.
    pub fn try_push_batch(&mut self, items: &mut impl Iterator<Item = T>) -> Result<usize, Closed> {
        if self.is_closed() {
            return Err(Closed);
        }
        let mut batch = self.batch();
        while batch.has_room() {
            let Some(item) = items.next() else { break };
            batch.write(item);
        }
        Ok(batch.len())
    }

    /// Appends one element, waiting for room. For rings whose bound is meant to stall the producer,
    /// such as the journal ring of the core.
    ///
    /// `consumer` is woken before each wait: it may have parked while the ring filled up.
    ///
    /// # Errors
    /// The element, if the ring is closed.
    pub fn push_waiting(&mut self, value: T, consumer: &dyn Wake) -> Result<(), T> {
        let backoff = Backoff::new();
        let mut value = value;
        loop {
            match self.try_push(value) {
                Ok(()) => return Ok(()),
                Err(PushError::Closed(refused)) => return Err(refused),
                Err(PushError::Full(refused)) => value = refused,
            }
            consumer.wake();
            backoff.snooze();
        }
    }

    /// Ends the stream. The consumer still receives everything pushed so far.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Whether either side has closed the ring.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// How many elements wait for the consumer, at most: it may have taken some since.
    #[inline]
    pub fn len(&self) -> usize {
        self.refresh_head();
        self.tail.get().since(self.head_seen.get())
    }

    /// Whether the consumer has taken everything pushed so far.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many elements fit at least: the consumer may have made more room since.
    #[inline]
    pub fn free(&self) -> usize {
        self.capacity() - self.len()
    }

    /// The bound given to [`channel`], in elements.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }

    #[inline]
    fn refresh_head(&self) {
        let order = self
            .shared
            .fault
            .order(Site::HeadAcquire, Ordering::Acquire);
        // Pairs with the Release in `Consumer::release`: the slots before it have been read out.
        self.head_seen.set(RingPos(self.shared.head.load(order)));
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// Elements written but not yet visible; see [`Producer::batch`].
///
/// Dropping it publishes them. A batch that is leaked instead leaks its elements and nothing else:
/// the next push writes over their slots.
pub struct Batch<'a, T> {
    producer: &'a mut Producer<T>,
    tail: RingPos,
}

impl<T> Batch<'_, T> {
    /// Writes one element behind those already written.
    ///
    /// # Errors
    /// [`PushError`] with the element, if the ring is full or closed. What was written before is
    /// published all the same.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), PushError<T>> {
        if self.producer.is_closed() {
            return Err(PushError::Closed(value));
        }
        if !self.has_room() {
            return Err(PushError::Full(value));
        }
        self.write(value);
        Ok(())
    }

    /// How many elements this batch holds.
    #[inline]
    pub fn len(&self) -> usize {
        self.tail.since(self.producer.tail.get())
    }

    /// Whether this batch holds nothing yet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether one more element fits.
    #[inline]
    pub fn has_room(&self) -> bool {
        let producer = &*self.producer;
        if self.tail.since(producer.head_seen.get()) < producer.capacity() {
            return true;
        }
        producer.refresh_head();
        self.tail.since(producer.head_seen.get()) < producer.capacity()
    }

    /// The caller has seen [`Self::has_room`].
    #[inline]
    fn write(&mut self, value: T) {
        debug_assert!(self.tail.since(self.producer.head_seen.get()) < self.producer.capacity());
        self.producer.shared.slot(self.tail).with_mut(|slot| {
            // SAFETY: the slot must not be in use by the consumer. `tail` is at least the published
            // tail, so the consumer will not read the slot before the Release store in `drop`, and
            // fewer than `capacity` positions past a head that the consumer has released, so it has
            // finished with the slot's earlier element. `&mut Producer` rules out a second writer.
            // Models `loom_publish_and_consume_with_wrap` and `finds_relaxed_head_store`.
            let slot = unsafe { &mut *slot };
            slot.write(value);
        });
        self.tail = self.tail.advance(1);
    }
}

impl<T> Drop for Batch<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_empty() {
            let shared = &self.producer.shared;
            let order = shared.fault.order(Site::TailRelease, Ordering::Release);
            shared.tail.store(self.tail.0, order); // pairs with the Acquire in `refresh_tail`
            self.producer.tail.set(self.tail);
        }
    }
}

impl<T> fmt::Debug for Batch<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("len", &self.len()).finish()
    }
}

/// The popping end. One thread at a time: it can be sent, but neither shared nor cloned.
///
/// ```compile_fail,E0277
/// fn shared_between_threads<T: Sync>() {}
/// shared_between_threads::<tessera_ring::spsc::Consumer<u64>>();
/// ```
///
/// ```compile_fail,E0277
/// fn cloned<T: Clone>() {}
/// cloned::<tessera_ring::spsc::Consumer<u64>>();
/// ```
///
/// Dropping it closes the ring.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// What `shared.head` holds, except inside [`Consumer::pop_batch`], where it runs ahead.
    head: Cell<RingPos>,
    /// A tail that was true once. The real one can only be further, so elements seen here are there.
    tail_seen: Cell<RingPos>,
}

impl<T> Consumer<T> {
    /// Takes the oldest element.
    #[inline]
    pub fn try_pop(&mut self) -> Option<T> {
        if self.seen_at_least(1) == 0 {
            return None;
        }
        let value = self.read_out();
        self.release();
        Some(value)
    }

    /// Hands the oldest elements, at most `max`, to `each` in order and returns how many.
    ///
    /// Their slots are given back together, afterwards; if `each` panics, those of the elements it
    /// was given. Keep `max` well below the capacity where the producer must not stall.
    #[inline]
    pub fn pop_batch(&mut self, max: usize, mut each: impl FnMut(T)) -> usize {
        /// Gives the slots back on every way out.
        struct Release<'a, T>(&'a Consumer<T>);
        impl<T> Drop for Release<'_, T> {
            #[inline]
            fn drop(&mut self) {
                self.0.release();
            }
        }

        let count = self.seen_at_least(max).min(max);
        if count > 0 {
            let batch = Release(self);
            for _ in 0..count {
                each(batch.0.read_out());
            }
        }
        count
    }

    /// The element `ahead` places behind the oldest, without taking it: zero is what
    /// [`Self::try_pop`] takes next. For touching what the next commands will need.
    #[inline]
    pub fn peek(&self, ahead: usize) -> Option<&T> {
        if self.seen_at_least(ahead.saturating_add(1)) <= ahead {
            return None;
        }
        let slot = self.shared.slot(self.head.get().advance(ahead));
        Some(slot.with(|slot| {
            // SAFETY: the slot must stay ours while the reference lives. It lies in
            // `head..tail_seen`, and the producer leaves it alone until `head` passes it, which takes
            // `&mut self`. Model `loom_peek_is_the_element_popped_next`.
            let slot = unsafe { &*slot };
            // SAFETY: the slot must be initialised: positions below `tail_seen` were written before
            // the Release store that `refresh_tail` has read. Same model, and `finds_relaxed_tail_*`.
            unsafe { slot.assume_init_ref() }
        }))
    }

    /// Refuses everything the producer pushes from now on. Elements already in the ring can still be
    /// taken; one pushed at the same moment may end up among them.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Whether either side has closed the ring. Elements may be left: see [`Self::is_drained`].
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Whether the ring is closed and holds nothing more. Once true after the producer closed, true
    /// for ever.
    #[inline]
    pub fn is_drained(&self) -> bool {
        // In this order: what was pushed before closing is visible once closing is.
        self.is_closed() && self.is_empty()
    }

    /// How many elements can be taken, at least: the producer may have pushed more since.
    #[inline]
    pub fn len(&self) -> usize {
        self.refresh_tail();
        self.tail_seen.get().since(self.head.get())
    }

    /// Whether there is nothing to take.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.seen_at_least(1) == 0
    }

    /// The bound given to [`channel`], in elements.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }

    /// How many elements are known to be there, after looking again if that is fewer than `wanted`.
    #[inline]
    fn seen_at_least(&self, wanted: usize) -> usize {
        let seen = self.tail_seen.get().since(self.head.get());
        if seen >= wanted {
            return seen;
        }
        self.refresh_tail();
        self.tail_seen.get().since(self.head.get())
    }

    #[inline]
    fn refresh_tail(&self) {
        let order = self
            .shared
            .fault
            .order(Site::TailAcquire, Ordering::Acquire);
        // Pairs with the Release in `Batch::drop`: the slots before it have been written.
        self.tail_seen.set(RingPos(self.shared.tail.load(order)));
    }

    /// Moves the element at `head` out and steps over it. The caller has seen that there is one, and
    /// gives the slot back with [`Self::release`].
    ///
    /// Private to the `&mut self` methods above; it takes `&self` only for the guard of `pop_batch`.
    #[inline]
    fn read_out(&self) -> T {
        let head = self.head.get();
        debug_assert!(self.tail_seen.get().since(head) > 0);
        // First, so that a slot is never read twice, whatever happens to the element.
        self.head.set(head.advance(1));
        self.shared.slot(head).with(|slot| {
            // SAFETY: the producer must not be writing the slot. It lies below `tail_seen`, which it
            // has published, and the `head` it knows does not pass the slot before `release`.
            // Models `loom_publish_and_consume_with_wrap` and `finds_relaxed_tail_store`.
            let slot = unsafe { &*slot };
            // SAFETY: the element must be initialised and moved out once. It was written before the
            // Release store that `refresh_tail` has read; `head` has just stepped over it, and
            // `Shared::drop` starts at `head`. Model `loom_every_element_is_dropped_once`.
            unsafe { slot.assume_init_read() }
        })
    }

    #[inline]
    fn release(&self) {
        let order = self
            .shared
            .fault
            .order(Site::HeadRelease, Ordering::Release);
        // Pairs with the Acquire in `refresh_head`.
        self.shared.head.store(self.head.get().0, order);
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// Why an element was not pushed; it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError<T> {
    /// The consumer is behind by the whole capacity.
    #[error("the ring is full; its consumer is behind by the whole capacity")]
    Full(T),
    /// One side has closed the ring; no later push will succeed.
    #[error("the ring is closed; nothing more can be pushed")]
    Closed(T),
}

impl<T> PushError<T> {
    /// The element that was not pushed.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Closed(value) => value,
        }
    }

    /// Whether the ring was full, that is, whether a later push may succeed.
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

/// The ring is closed; nothing more can be pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ring is closed; nothing more can be pushed")]
pub struct Closed;

/// Counts slots since the ring was made, modulo the machine word, never modulo the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingPos(pub(crate) usize);

impl RingPos {
    #[inline(always)]
    const fn advance(self, slots: usize) -> Self {
        Self(self.0.wrapping_add(slots))
    }

    /// Slots from `earlier` to here.
    #[inline(always)]
    const fn since(self, earlier: Self) -> usize {
        self.0.wrapping_sub(earlier.0)
    }
}

type Slot<T> = UnsafeCell<MaybeUninit<T>>;

struct Shared<T> {
    /// Padded apart: each is stored by one side and read by the other.
    tail: CachePadded<AtomicUsize>,
    head: CachePadded<AtomicUsize>,
    /// Stored once in the ring's life, read at every push: a line of its own stays shared.
    closed: CachePadded<AtomicBool>,
    slots: Box<[Slot<T>]>,
    capacity: usize,
    fault: Fault,
}

// SAFETY: both ends hold a reference and move elements across threads, which `T: Send` permits; no
// `&T` is given to both sides at once, so `T: Sync` is not needed. That the two ends never touch one
// slot at the same time is argued at each access, and checked by every model of `models`.
unsafe impl<T: Send> Sync for Shared<T> {}

// SAFETY: whichever thread drops the last reference drops the elements left, which `T: Send` permits.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    #[inline(always)]
    fn slot(&self, position: RingPos) -> &Slot<T> {
        // The length is a power of two and not zero, so the mask keeps the index inside.
        &self.slots[position.0 & (self.slots.len() - 1)]
    }

    fn close(&self) {
        if model_failed() {
            return;
        }
        let order = self.fault.order(Site::CloseRelease, Ordering::Release);
        self.closed.store(true, order); // pairs with the Acquire in `is_closed`
    }

    #[inline(always)]
    fn is_closed(&self) -> bool {
        let order = self.fault.order(Site::CloseAcquire, Ordering::Acquire);
        self.closed.load(order) // pairs with the Release in `close`
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if !std::mem::needs_drop::<T>() || model_failed() {
            return;
        }
        // Relaxed is enough: the last reference is gone, and `Arc` has ordered both sides before us.
        let tail = RingPos(self.tail.load(Ordering::Relaxed));
        let mut position = RingPos(self.head.load(Ordering::Relaxed));
        while position != tail {
            self.slot(position).with_mut(|slot| {
                // SAFETY: `&mut self`, so nobody else can reach the slot.
                let slot = unsafe { &mut *slot };
                // SAFETY: the element must be initialised and not yet moved out; both hold in
                // `head..tail`. Model `loom_every_element_is_dropped_once`.
                unsafe { slot.assume_init_drop() };
            });
            position = position.advance(1);
        }
    }
}

/// [`channel`] from a chosen first position, so that tests reach the wrap of the machine word, and
/// with a chosen fault, so that models can show what they would find.
pub(crate) fn channel_from<T>(
    capacity: usize,
    start: RingPos,
    fault: Fault,
) -> (Producer<T>, Consumer<T>) {
    assert!(capacity > 0, "a ring needs room for at least one element");
    let slots = capacity
        .checked_next_power_of_two()
        .expect("a ring's capacity is below half of the address space");
    let shared = Arc::new(Shared {
        tail: CachePadded::new(AtomicUsize::new(start.0)),
        head: CachePadded::new(AtomicUsize::new(start.0)),
        closed: CachePadded::new(AtomicBool::new(false)),
        slots: (0..slots)
            .map(|_| Slot::new(MaybeUninit::uninit()))
            .collect(),
        capacity,
        fault,
    });
    let producer = Producer {
        shared: Arc::clone(&shared),
        tail: Cell::new(start),
        head_seen: Cell::new(start),
    };
    let consumer = Consumer {
        shared,
        head: Cell::new(start),
        tail_seen: Cell::new(start),
    };
    (producer, consumer)
}

#[cfg(all(test, not(tessera_loom)))]
mod tests;
