//! Is a ring of our own worth keeping beside crossbeam's `ArrayQueue`, and what does a batch save?
//!
//! `same_thread` is the cost of the instructions alone: one push and one pop, nothing contended.
//! `two_threads` is the time per element while one thread pushes and another pops; both yield when
//! they cannot go on, so on a machine with busy cores it measures the scheduler as well. Compare
//! figures of one run only.
//!
//! Elements are as large as a sequenced command. Every run checks that all of them arrived, in order.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crossbeam::queue::ArrayQueue;
use crossbeam::utils::Backoff;
use tessera_benches::element::{COMMAND_WORDS, command_sized, number_of};
use tessera_ring::spsc;

type Element = [u64; COMMAND_WORDS];

const CAPACITY: usize = 1024;
const BATCH: usize = 32;

criterion_group!(benches, same_thread, two_threads);
criterion_main!(benches);

fn same_thread(c: &mut Criterion) {
    let mut group = c.benchmark_group("same_thread");
    group.throughput(Throughput::Elements(1));

    group.bench_function("ring", |b| {
        let (mut producer, mut consumer) = spsc::channel::<Element>(CAPACITY);
        let mut n = 0;
        b.iter(|| {
            n += 1;
            producer
                .try_push(black_box(command_sized(n)))
                .expect("the ring is empty before each push");
            let element = consumer.try_pop().expect("it has just been pushed");
            assert_eq!(number_of(black_box(&element)), Some(n));
        });
    });

    group.bench_function("array_queue", |b| {
        let queue = ArrayQueue::<Element>::new(CAPACITY);
        let mut n = 0;
        b.iter(|| {
            n += 1;
            queue
                .push(black_box(command_sized(n)))
                .expect("the queue is empty before each push");
            let element = queue.pop().expect("it has just been pushed");
            assert_eq!(number_of(black_box(&element)), Some(n));
        });
    });
    group.finish();
}

fn two_threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("two_threads");
    group.throughput(Throughput::Elements(1));

    group.bench_function("ring", |b| {
        b.iter_custom(|count| {
            let (mut producer, mut consumer) = spsc::channel::<Element>(CAPACITY);
            hand_over(
                count,
                move |next| match producer.try_push(command_sized(next)) {
                    Ok(()) => 1,
                    Err(_) => 0,
                },
                move |take| match consumer.try_pop() {
                    Some(element) => {
                        take(element);
                        1
                    }
                    None => 0,
                },
            )
        });
    });

    group.bench_function("ring_in_batches", |b| {
        b.iter_custom(|count| {
            let (mut producer, mut consumer) = spsc::channel::<Element>(CAPACITY);
            hand_over(
                count,
                move |next| {
                    let mut items = (next..count).take(BATCH).map(command_sized);
                    let moved = producer.try_push_batch(&mut items);
                    moved.expect("the consumer stays until the end") as u64
                },
                move |take| consumer.pop_batch(BATCH, take) as u64,
            )
        });
    });

    group.bench_function("array_queue", |b| {
        b.iter_custom(|count| {
            let queue = ArrayQueue::<Element>::new(CAPACITY);
            hand_over(
                count,
                |next| match queue.push(command_sized(next)) {
                    Ok(()) => 1,
                    Err(_) => 0,
                },
                |take| match queue.pop() {
                    Some(element) => {
                        take(element);
                        1
                    }
                    None => 0,
                },
            )
        });
    });
    group.finish();
}

/// Time from the first push to the last pop of the elements `0..count`.
///
/// `push(next)` pushes elements from number `next` on and returns how many it could; `pop(take)` hands
/// what it finds to `take` and returns how many there were.
fn hand_over(
    count: u64,
    mut push: impl FnMut(u64) -> u64,
    mut pop: impl FnMut(&mut dyn FnMut(Element)) -> u64 + Send,
) -> Duration {
    let start = Barrier::new(2);
    thread::scope(|scope| {
        let popping = scope.spawn(|| {
            start.wait();
            let mut expected = 0;
            let backoff = Backoff::new();
            while expected < count {
                let popped = pop(&mut |element| {
                    assert_eq!(number_of(&element), Some(expected), "torn or out of order");
                    expected += 1;
                });
                rest(&backoff, popped);
            }
        });
        start.wait();
        let began = Instant::now();
        let backoff = Backoff::new();
        let mut next = 0;
        while next < count {
            let pushed = push(next);
            next += pushed;
            rest(&backoff, pushed);
        }
        popping.join().expect("every element arrived in order");
        began.elapsed()
    })
}

fn rest(backoff: &Backoff, moved: u64) {
    if moved > 0 {
        backoff.reset();
    } else {
        backoff.snooze();
    }
}
