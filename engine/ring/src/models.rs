//! Every interleaving of small scenarios, by loom:
//!
//! ```text
//! RUSTFLAGS="--cfg tessera_loom" CARGO_TARGET_DIR=target/loom cargo test -p tessera-ring --release
//! ```
//!
//! `loom_*` models must hold. `finds_*` models run the same scenarios with one ordering taken away
//! from the shipped code ([`Fault`]) and must fail: they show that the scenario would notice.
//!
//! Parks have no timeout here, so a lost wake-up is a deadlock, which loom reports.
//!
//! Loom 0.7 remembers one access per atomic when it decides which schedules to come back to: a load
//! by the thread that stores next hides an earlier load by the other thread. The main scenarios
//! therefore run twice, with either side as the spawned thread; each hides what the other shows.

#![expect(clippy::unwrap_used, reason = "the helpers are test code as well")]

use std::sync::Arc;

use loom::sync::Notify;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use crate::cursor::CursorWriter;
use crate::park::{Parker, Unparker, Wake};
use crate::spsc::{Consumer, Producer, PushError, RingPos, channel_from};
use crate::sync::{Fault, Site};

// ---- rings ---------------------------------------------------------------------------------------

/// A ring of one slot makes every push reuse the slot of an element just read, at both ends of the
/// machine word.
#[test]
fn loom_publish_and_consume_with_wrap() {
    for capacity in [1, 2] {
        check_both(move |spawned| publish_and_consume(spawned, capacity, 3, Fault::NONE));
    }
}

#[test]
#[should_panic(expected = "Causality violation")]
fn finds_relaxed_tail_store() {
    check_both(|spawned| publish_and_consume(spawned, 1, 2, Fault::at(Site::TailRelease)));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn finds_relaxed_tail_load() {
    check_both(|spawned| publish_and_consume(spawned, 1, 2, Fault::at(Site::TailAcquire)));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn finds_relaxed_head_store() {
    check_both(|spawned| publish_and_consume(spawned, 1, 2, Fault::at(Site::HeadRelease)));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn finds_relaxed_head_load() {
    check_both(|spawned| publish_and_consume(spawned, 1, 2, Fault::at(Site::HeadAcquire)));
}

fn publish_and_consume(spawned: Spawned, capacity: usize, count: usize, fault: Fault) {
    let (mut producer, mut consumer) = ring(capacity, fault);
    let pushing = move || {
        for n in 0..count {
            push(&mut producer, n);
        }
    };
    let popping = move || {
        for n in 0..count {
            assert_eq!(pop(&mut consumer), n);
        }
        assert!(consumer.is_empty());
    };
    both(spawned, pushing, popping);
}

/// The consumer sees a batch whole or not at all.
#[test]
fn loom_a_batch_becomes_visible_at_once() {
    check(|| {
        let (mut producer, mut consumer) = ring(2, Fault::NONE);
        let pushing = thread::spawn(move || {
            let mut batch = producer.batch();
            batch.push(0).unwrap();
            batch.push(1).unwrap();
            drop(batch);
            let mut rest = 2..4;
            while !rest.is_empty() {
                producer.try_push_batch(&mut rest).unwrap();
                thread::yield_now();
            }
        });
        let mut taken = Vec::new();
        while taken.len() < 4 {
            let count = consumer.pop_batch(2, |n| taken.push(n));
            if taken.len() <= 2 {
                assert!(count == 0 || count == 2, "half of a batch was visible");
            }
            thread::yield_now();
        }
        pushing.join().unwrap();
        assert_eq!(taken, [0, 1, 2, 3]);
    });
}

#[test]
fn loom_peek_is_the_element_popped_next() {
    check(|| {
        let (mut producer, mut consumer) = ring(2, Fault::NONE);
        let pushing = thread::spawn(move || {
            for n in 0..3 {
                push(&mut producer, n);
            }
        });
        for n in 0..3 {
            assert!(consumer.peek(0).is_none_or(|&seen| seen == n));
            assert!(consumer.peek(1).is_none_or(|&seen| seen == n + 1));
            assert_eq!(pop(&mut consumer), n);
        }
        pushing.join().unwrap();
    });
}

/// Whoever sees the ring closed sees everything pushed before.
#[test]
fn loom_nothing_pushed_before_closing_is_lost() {
    check_both(|spawned| push_then_close(spawned, Fault::NONE));
}

#[test]
#[should_panic(expected = "an element was lost")]
fn finds_relaxed_close_store() {
    check_both(|spawned| push_then_close(spawned, Fault::at(Site::CloseRelease)));
}

#[test]
#[should_panic(expected = "an element was lost")]
fn finds_relaxed_close_load() {
    check_both(|spawned| push_then_close(spawned, Fault::at(Site::CloseAcquire)));
}

fn push_then_close(spawned: Spawned, fault: Fault) {
    let (mut producer, mut consumer) = ring(2, fault);
    let pushing = move || {
        producer.try_push(0).unwrap();
        producer.try_push(1).unwrap();
        producer.close();
        assert_eq!(producer.try_push(2), Err(PushError::Closed(2)));
    };
    let popping = move || {
        let mut taken = 0;
        while !consumer.is_drained() {
            taken += consumer.pop_batch(2, |_| ());
            thread::yield_now();
        }
        assert_eq!(taken, 2, "an element was lost");
    };
    both(spawned, pushing, popping);
}

/// Eviction by the producer of a consumer that never moves, and a consumer that leaves while the
/// producer pushes: each side learns of it, and no push succeeds after its own side has closed.
#[test]
fn loom_either_side_learns_that_the_other_has_closed() {
    check(|| {
        let (mut producer, mut consumer) = ring(1, Fault::NONE);
        let evicted = thread::spawn(move || {
            while !consumer.is_closed() {
                thread::yield_now();
            }
            // What was pushed before the eviction is still there.
            assert_eq!(consumer.try_pop(), Some(0));
            assert!(consumer.is_drained());
        });
        producer.try_push(0).unwrap();
        assert_eq!(producer.try_push(1), Err(PushError::Full(1)));
        producer.close();
        evicted.join().unwrap();
    });
    check(|| {
        let (mut producer, consumer) = ring(1, Fault::NONE);
        let leaving = thread::spawn(move || drop(consumer));
        let mut sent = 0;
        while producer.try_push(sent).is_ok() {
            sent += 1;
        }
        assert!(sent <= 1, "one slot, and nobody takes anything");
        leaving.join().unwrap();
        assert_eq!(producer.try_push(9), Err(PushError::Closed(9)));
    });
}

/// Wherever an element ends up (popped, left behind, refused) it is dropped once.
#[test]
fn loom_every_element_is_dropped_once() {
    struct Counted(Arc<std::sync::atomic::AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    check(|| {
        let drops = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (mut producer, mut consumer) = channel_from::<Counted>(2, START, Fault::NONE);
        let counter = drops.clone();
        let pushing = thread::spawn(move || {
            for _ in 0..3 {
                // Refused, popped or left in the ring, as the schedule has it.
                drop(producer.try_push(Counted(counter.clone())));
            }
        });
        drop(consumer.try_pop());
        drop(consumer);
        pushing.join().unwrap();
        assert_eq!(drops.load(std::sync::atomic::Ordering::Relaxed), 3);
    });
}

// ---- cursors -------------------------------------------------------------------------------------

/// Whoever gets a value sees what was written before it was published.
#[test]
fn loom_a_cursor_publishes_what_was_written_before() {
    check(|| cursor_publishes(Fault::NONE));
}

#[test]
#[should_panic(expected = "not yet written")]
fn finds_relaxed_cursor_store() {
    check(|| cursor_publishes(Fault::at(Site::CursorRelease)));
}

#[test]
#[should_panic(expected = "not yet written")]
fn finds_relaxed_cursor_load() {
    check(|| cursor_publishes(Fault::at(Site::CursorAcquire)));
}

fn cursor_publishes(fault: Fault) {
    let mut writer = CursorWriter::with_fault(0, Vec::new(), fault);
    let cursor = writer.reader();
    let record = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let written = record.clone();
    let writing = thread::spawn(move || {
        for n in 1..=2 {
            written[n - 1].store(n, Ordering::Relaxed);
            writer.publish(n as u64);
        }
    });
    let first = cursor.get();
    let second = cursor.get();
    assert!(first <= second, "a cursor went back");
    for n in 1..=usize::try_from(second).unwrap() {
        assert_eq!(record[n - 1].load(Ordering::Relaxed), n, "not yet written");
    }
    writing.join().unwrap();
}

// ---- park and wake -------------------------------------------------------------------------------

/// The waiting side sleeps only while there is nothing to see.
#[test]
fn loom_no_wake_up_is_lost() {
    check_both(|spawned| park_and_wake(spawned, Fault::NONE));
}

#[test]
#[should_panic(expected = "deadlock")]
fn finds_missing_fence_before_the_re_check() {
    check_both(|spawned| park_and_wake(spawned, Fault::at(Site::ParkFence)));
}

#[test]
#[should_panic(expected = "deadlock")]
fn finds_missing_fence_before_the_flag_is_read() {
    check_both(|spawned| park_and_wake(spawned, Fault::at(Site::WakeFence)));
}

/// Parks without looking at the data again: the mistake the protocol exists to prevent.
#[test]
#[should_panic(expected = "deadlock")]
fn finds_a_park_without_a_re_check() {
    check(|| {
        let mut parker = Parker::new();
        let (published, publishing) = publish_once(parker.unparker());
        while !published.load(Ordering::Acquire) {
            parker.park_unless(None, || false);
        }
        publishing.join().unwrap();
    });
}

fn park_and_wake(spawned: Spawned, fault: Fault) {
    let mut parker = Parker::with_fault(fault);
    let unparker = parker.unparker();
    let published = Arc::new(AtomicBool::new(false));
    let publish = published.clone();
    let publishing = move || {
        publish.store(true, Ordering::Release);
        unparker.wake();
    };
    let waiting = move || {
        while !published.load(Ordering::Acquire) {
            parker.park_unless(None, || published.load(Ordering::Acquire));
        }
    };
    both(spawned, publishing, waiting);
}

fn publish_once(unparker: Unparker) -> (Arc<AtomicBool>, thread::JoinHandle<()>) {
    let published = Arc::new(AtomicBool::new(false));
    let publish = published.clone();
    let publishing = thread::spawn(move || {
        publish.store(true, Ordering::Release);
        unparker.wake();
    });
    (published, publishing)
}

/// Of two publishers only one may be told to leave the wake-up; the other's data is seen as well.
#[test]
fn loom_no_wake_up_is_lost_between_two_publishers() {
    check(|| {
        let mut parker = Parker::new();
        let (first, one) = publish_once(parker.unparker());
        let (second, other) = publish_once(parker.unparker());
        let both = || first.load(Ordering::Acquire) && second.load(Ordering::Acquire);
        while !both() {
            parker.park_unless(None, both);
        }
        one.join().unwrap();
        other.join().unwrap();
    });
}

/// A thread that parks more than once, on a ring: the hand-off of the exchange.
#[test]
fn loom_a_parked_consumer_receives_everything() {
    check(|| {
        let (mut producer, mut consumer) = ring(2, Fault::NONE);
        let mut parker = Parker::new();
        let unparker = parker.unparker();
        let pushing = thread::spawn(move || {
            producer.try_push(0).unwrap();
            unparker.wake();
            producer.try_push(1).unwrap();
            producer.close();
            unparker.wake();
        });
        let mut taken = Vec::new();
        while !consumer.is_drained() {
            if consumer.pop_batch(2, |n| taken.push(n)) == 0 {
                parker.park_unless(None, || !consumer.is_empty() || consumer.is_closed());
            }
        }
        pushing.join().unwrap();
        assert_eq!(taken, [0, 1]);
    });
}

/// A producer that waits for room wakes the consumer which parked while the ring filled up.
#[test]
fn loom_a_full_ring_does_not_stop_both_sides() {
    check(|| {
        let (mut producer, mut consumer) = ring(1, Fault::NONE);
        let mut parker = Parker::new();
        let unparker = parker.unparker();
        let pushing = thread::spawn(move || {
            // No wake-up after the first: `push_waiting` has to send it.
            producer.try_push(0).unwrap();
            producer.push_waiting(1, &unparker).unwrap();
            unparker.wake();
        });
        for n in 0..2 {
            while consumer.is_empty() {
                parker.park_unless(None, || !consumer.is_empty());
            }
            assert_eq!(consumer.try_pop(), Some(n));
        }
        pushing.join().unwrap();
    });
}

/// The durable cursor: a reader parks until the value it holds an event for.
#[test]
fn loom_a_reader_parked_on_a_cursor_is_woken() {
    check(|| {
        let mut parker = Parker::new();
        let mut writer = CursorWriter::new(0, vec![Arc::new(parker.unparker())]);
        let cursor = writer.reader();
        let syncing = thread::spawn(move || {
            for n in 1..=2 {
                writer.publish(n);
                writer.wake_all();
            }
        });
        while cursor.get() < 2 {
            parker.park_unless(None, || cursor.get() >= 2);
        }
        syncing.join().unwrap();
    });
}

/// A task that sleeps by other means uses the flag alone.
#[test]
fn loom_a_flag_wakes_a_sleeper_of_another_kind() {
    struct Task {
        flag: crate::park::WaitFlag,
        /// Keeps one permit, as an async notification does.
        notify: Notify,
    }
    impl Wake for Task {
        fn wake(&self) {
            if self.flag.take() {
                self.notify.notify();
            }
        }
    }

    check(|| {
        let task = Arc::new(Task {
            flag: crate::park::WaitFlag::new(),
            notify: Notify::new(),
        });
        let published = Arc::new(AtomicBool::new(false));
        let (waker, publish) = (task.clone(), published.clone());
        let publishing = thread::spawn(move || {
            publish.store(true, Ordering::Release);
            waker.wake();
        });
        while !published.load(Ordering::Acquire) {
            task.flag.announce();
            if !published.load(Ordering::Acquire) {
                task.notify.wait();
            }
            task.flag.withdraw();
        }
        publishing.join().unwrap();
    });
}

// ---- helpers -------------------------------------------------------------------------------------

/// Explores every schedule with at most three forced switches, or `LOOM_MAX_PREEMPTIONS` of them.
/// Without a bound the longest two scenarios take minutes each.
#[track_caller]
fn check(scenario: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new(); // reads loom's environment variables
    model.preemption_bound = model.preemption_bound.or(Some(3));
    model.check(scenario);
}

/// Which side of a scenario is not the main thread of the model.
#[derive(Clone, Copy)]
enum Spawned {
    First,
    Second,
}

/// [`check`] with either side spawned; see the module comment.
#[track_caller]
fn check_both(scenario: impl Fn(Spawned) + Copy + Send + Sync + 'static) {
    check(move || scenario(Spawned::First));
    check(move || scenario(Spawned::Second));
}

fn both(spawned: Spawned, first: impl FnOnce() + 'static, second: impl FnOnce() + 'static) {
    let thread = match spawned {
        Spawned::First => {
            let thread = thread::spawn(first);
            second();
            thread
        }
        Spawned::Second => {
            let thread = thread::spawn(second);
            first();
            thread
        }
    };
    thread.join().unwrap();
}

/// Positions cross the end of the machine word in every model.
const START: RingPos = RingPos(usize::MAX);

fn ring(capacity: usize, fault: Fault) -> (Producer<usize>, Consumer<usize>) {
    channel_from(capacity, START, fault)
}

fn push(producer: &mut Producer<usize>, n: usize) {
    while let Err(refused) = producer.try_push(n) {
        assert!(refused.is_full());
        thread::yield_now();
    }
}

fn pop(consumer: &mut Consumer<usize>) -> usize {
    loop {
        if let Some(n) = consumer.try_pop() {
            return n;
        }
        thread::yield_now();
    }
}
