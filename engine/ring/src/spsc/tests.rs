use std::collections::VecDeque;
use std::iter;
use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::park::Parker;

/// A number whose references are counted, so that a lost or repeated drop shows.
type Element = Rc<u64>;

#[derive(Clone, Debug)]
enum Step {
    Push,
    PushBatch(usize),
    /// Element by element through `Batch`, past the end of the room if there are more.
    Batch(usize),
    Pop,
    PopBatch(usize),
    Peek(usize),
    CloseByProducer,
    CloseByConsumer,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => Just(Step::Push),
        6 => (0..12_usize).prop_map(Step::PushBatch),
        6 => (0..12_usize).prop_map(Step::Batch),
        12 => Just(Step::Pop),
        6 => (0..12_usize).prop_map(Step::PopBatch),
        6 => (0..12_usize).prop_map(Step::Peek),
        1 => Just(Step::CloseByProducer),
        1 => Just(Step::CloseByConsumer),
    ]
}

/// Runs the steps on a ring and on a `VecDeque`, and compares all that can be observed.
#[track_caller]
fn check(capacity: usize, start: usize, steps: &[Step]) {
    let (mut producer, mut consumer) =
        channel_from::<Element>(capacity, RingPos(start), Fault::NONE);
    let mut model: VecDeque<u64> = VecDeque::new();
    let mut closed = false;
    let mut next = 0_u64;
    // A second reference to every element in the ring, in the same order as the model.
    let mut alive: VecDeque<Element> = VecDeque::new();

    for step in steps {
        match *step {
            Step::Push => {
                let element = Rc::new(next);
                match producer.try_push(element.clone()) {
                    Ok(()) => {
                        assert!(!closed && model.len() < capacity);
                        model.push_back(next);
                        alive.push_back(element);
                    }
                    Err(PushError::Full(back)) => {
                        assert!(!closed && model.len() == capacity);
                        assert_eq!(*back, next);
                    }
                    Err(PushError::Closed(back)) => {
                        assert!(closed);
                        assert_eq!(*back, next);
                    }
                }
                next += 1;
            }
            Step::PushBatch(count) => {
                let elements: Vec<Element> = (next..).take(count).map(Rc::new).collect();
                let mut items = elements.iter().cloned();
                let room = capacity - model.len();
                let expected = if closed { 0 } else { count.min(room) };
                let answer = producer.try_push_batch(&mut items);
                assert_eq!(answer, if closed { Err(Closed) } else { Ok(expected) });
                assert_eq!(
                    items.len(),
                    count - expected,
                    "none is taken without a place"
                );
                for element in elements.iter().take(expected) {
                    model.push_back(**element);
                    alive.push_back(element.clone());
                }
                next += count as u64;
            }
            Step::Batch(count) => {
                let before = model.len();
                let mut batch = producer.batch();
                for _ in 0..count {
                    let element = Rc::new(next);
                    next += 1;
                    match batch.push(element.clone()) {
                        Ok(()) => {
                            model.push_back(*element);
                            alive.push_back(element);
                        }
                        Err(PushError::Full(_)) => assert_eq!(model.len(), capacity),
                        Err(PushError::Closed(_)) => assert!(closed),
                    }
                }
                assert_eq!(batch.len(), model.len() - before);
                assert_eq!(consumer.len(), before, "nothing is visible before the end");
            }
            Step::Pop => {
                assert_eq!(consumer.try_pop().as_deref().copied(), model.pop_front());
                alive.pop_front();
            }
            Step::PopBatch(max) => {
                let mut taken = Vec::new();
                let count = consumer.pop_batch(max, |element| taken.push(*element));
                let expected: Vec<u64> = model.drain(..max.min(model.len())).collect();
                assert_eq!((count, &taken), (expected.len(), &expected));
                alive.drain(..count);
            }
            Step::Peek(ahead) => {
                assert_eq!(consumer.peek(ahead).map(|e| **e), model.get(ahead).copied());
            }
            Step::CloseByProducer => {
                producer.close();
                closed = true;
            }
            Step::CloseByConsumer => {
                consumer.close();
                closed = true;
            }
        }
        assert_eq!(producer.len(), model.len());
        assert_eq!(consumer.len(), model.len());
        assert_eq!(producer.free(), capacity - model.len());
        assert_eq!(consumer.is_empty(), model.is_empty());
        assert_eq!(producer.is_empty(), model.is_empty());
        assert_eq!(
            (producer.is_closed(), consumer.is_closed()),
            (closed, closed)
        );
        assert_eq!(consumer.is_drained(), closed && model.is_empty());
        // One reference is ours, the other in the ring: neither dropped early nor twice.
        assert!(alive.iter().all(|element| Rc::strong_count(element) == 2));
    }
    drop(producer);
    assert!(alive.iter().all(|element| Rc::strong_count(element) == 2));
    drop(consumer);
    assert!(alive.iter().all(|element| Rc::strong_count(element) == 1));
}

proptest! {
    #![proptest_config(ProptestConfig {
        // Miri interprets; a few cases are enough to see a stray access.
        cases: if cfg!(miri) { 4 } else { 512 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn behaves_like_a_bounded_deque(
        capacity in 1..10_usize,
        // Some runs cross the end of the machine word.
        start in prop_oneof![Just(0), (0..20_usize).prop_map(|back| usize::MAX - back)],
        steps in vec(step(), 0..60),
    ) {
        check(capacity, start, &steps);
    }
}

#[test]
fn the_bound_is_exact_although_storage_is_rounded_up() {
    for capacity in 1..=9 {
        let steps: Vec<Step> = iter::repeat_n(Step::Push, capacity + 2)
            .chain([Step::Pop, Step::Push, Step::Push])
            .collect();
        check(capacity, usize::MAX - 3, &steps);
    }
}

#[test]
fn what_was_pushed_before_closing_still_arrives() {
    let (mut producer, mut consumer) = channel(4);
    producer.try_push(1).expect("room");
    producer.try_push(2).expect("room");
    drop(producer);
    assert!(consumer.is_closed() && !consumer.is_drained());
    assert_eq!((consumer.try_pop(), consumer.try_pop()), (Some(1), Some(2)));
    assert!(consumer.is_drained());
}

#[test]
fn a_consumer_that_left_is_reported_to_the_producer() {
    let (mut producer, consumer) = channel(1);
    producer.try_push(1).expect("room");
    drop(consumer);
    // Closed comes before full: waiting for room would wait for ever.
    assert_eq!(producer.try_push(2), Err(PushError::Closed(2)));
    assert_eq!(producer.push_waiting(3, &Parker::new().unparker()), Err(3));
}

#[test]
fn a_panic_inside_a_batch_gives_back_what_was_handed_out() {
    let (mut producer, mut consumer) = channel(4);
    let elements: Vec<Element> = (0..4).map(Rc::new).collect();
    producer
        .try_push_batch(&mut elements.iter().cloned())
        .expect("open");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        consumer.pop_batch(4, |element| {
            assert!(*element < 1, "the second is one too many")
        });
    }));
    assert!(panicked.is_err());
    assert_eq!(producer.free(), 2);
    assert_eq!(consumer.try_pop().as_deref(), Some(&2));
    let counts: Vec<usize> = elements.iter().map(Rc::strong_count).collect();
    assert_eq!(counts, [1, 1, 1, 2]);
}

#[test]
fn a_panic_while_filling_a_batch_publishes_what_was_written() {
    let (mut producer, mut consumer) = channel(4);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut items = (0..4).inspect(|n| assert!(*n < 2, "the source breaks"));
        producer.try_push_batch(&mut items)
    }));
    assert!(panicked.is_err());
    assert_eq!(consumer.len(), 2);
    assert_eq!((consumer.try_pop(), consumer.try_pop()), (Some(0), Some(1)));
}

#[test]
#[should_panic(expected = "a ring needs room for at least one element")]
fn an_empty_ring_is_refused() {
    channel::<u8>(0);
}

/// Elements cross two threads in order and whole, while both sides mix their ways of moving them.
///
/// Both sides park with no timeout: a lost wake-up hangs the test.
#[test]
fn a_million_elements_cross_in_order() {
    let count: u64 = if cfg!(miri) { 300 } else { 1_000_000 };
    let (mut producer, mut consumer) = channel::<[u64; 4]>(96);
    let mut consumer_parker = Parker::new();
    let mut producer_parker = Parker::new();
    let wake_consumer = consumer_parker.unparker();
    let wake_producer = producer_parker.unparker();
    let element = |n: u64| {
        [
            n,
            !n,
            n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            n.rotate_left(17),
        ]
    };

    let pushing = std::thread::spawn(move || {
        let mut source = (0..count).map(element);
        let mut sent = 0;
        while sent < count {
            let room = 1 + usize::try_from(sent % 40).expect("below 40");
            let moved = producer
                .try_push_batch(&mut source.by_ref().take(room))
                .expect("the consumer stays until the end");
            sent += moved as u64;
            wake_consumer.wake();
            if moved == 0 {
                producer_parker.park_unless(None, || producer.free() > 0);
            }
        }
        producer.close();
        wake_consumer.wake();
    });

    let mut received = 0;
    let mut whole = true;
    while !consumer.is_drained() {
        let mut moved = 0;
        if let (Some(first), true) = (consumer.peek(0), received % 3 == 0) {
            whole &= *first == element(received);
            let popped = consumer.try_pop().expect("it was just seen");
            whole &= popped == element(received);
            received += 1;
            moved = 1;
        } else {
            moved += consumer.pop_batch(50, |popped| {
                whole &= popped == element(received);
                received += 1;
            });
        }
        wake_producer.wake();
        if moved == 0 {
            consumer_parker.park_unless(None, || !consumer.is_empty() || consumer.is_closed());
        }
    }
    pushing.join().expect("the pushing thread does not panic");
    assert!(whole, "an element arrived torn or out of order");
    assert_eq!(received, count);
}
