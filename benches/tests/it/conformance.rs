//! `libtessera_bench` says, byte for byte, what a plain reading of the interface says.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tessera_bench::driver::{self, Queue, Receiver};
use tessera_bench::layout::{Cancel, Message, Modify, NewOrder, Report, View};
use tessera_benches::flows::{Flow, Scenario};
use tessera_benches::messages;

use crate::oracle::{Oracle, canonical, line};

const SCENARIOS: [Scenario; 5] = [
    Scenario::Static,
    Scenario::Normal,
    Scenario::Swing25,
    Scenario::Swing40,
    Scenario::FlashCrash,
];

/// How the messages are delivered.
#[derive(Clone, Copy, Debug)]
enum Delivery {
    OneByOne,
    Batches,
}

/// Sends `messages` and compares all reports, and the book at some points on the way.
fn check(messages: &[Message], queue: Queue, delivery: Delivery) {
    let mut dice = Pcg64Mcg::seed_from_u64(messages.len() as u64);
    let mut oracle = Oracle::default();
    let (mut sender, mut receiver) = driver::start(5, queue, 4_096);
    let mut lines = Vec::new();
    let mut rest = messages;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(dice.random_range(1..=200).min(rest.len()));
        rest = later;
        match delivery {
            Delivery::OneByOne => now.iter().for_each(|message| sender.send(message)),
            Delivery::Batches => sender.send_batch(now),
        }
        for message in now {
            oracle.send(message.view().unwrap());
        }
        sender.flush();
        receive_all(&mut receiver, &mut lines);
        let (bid, ask) = (oracle.best_bid(), oracle.best_ask());
        assert_eq!((sender.best_bid(), sender.best_ask()), (bid, ask));
        for (side, near) in [(0, bid), (1, ask)] {
            let price = near.saturating_add(dice.random_range(-3..=3));
            assert_eq!(sender.depth_at(price, side), oracle.depth_at(price, side));
        }
    }
    let (ours, theirs) = (canonical(lines), oracle.text());
    for (number, (ours, theirs)) in ours.lines().zip(theirs.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {number}, {queue:?} {delivery:?}");
    }
    assert_eq!(ours.len(), theirs.len());
}

fn receive_all(receiver: &mut Receiver, lines: &mut Vec<crate::oracle::Line>) {
    let mut out = [Report::default(); 512];
    loop {
        let count = receiver.receive(&mut out);
        lines.extend(out[..count].iter().map(line));
        if count == 0 {
            return;
        }
    }
}

/// Both queues, both ways of delivery.
fn check_all(messages: &[Message]) {
    for queue in [Queue::Own, Queue::Plain] {
        for delivery in [Delivery::OneByOne, Delivery::Batches] {
            check(messages, queue, delivery);
        }
    }
}

#[test]
fn the_five_scenarios_of_several_seeds() {
    for scenario in SCENARIOS {
        let flow = Flow::Market(scenario);
        for seed in [flow.seed(), 1, 2, 3] {
            check_all(&messages::of(&flow.workload(6_000, seed).commands));
        }
    }
}

#[test]
fn many_orders_so_that_hints_are_given() {
    let flow = Flow::Market(Scenario::Static);
    let messages = messages::of(&flow.workload(600_000, flow.seed()).commands);
    check(&messages, Queue::Own, Delivery::Batches);
}

/// Anything goes: ids that are live, ended or never were, both sides, few prices, modifies that stay.
#[test]
fn messages_drawn_at_random() {
    for seed in 0..40 {
        let mut dice = Pcg64Mcg::seed_from_u64(seed);
        let messages: Vec<Message> = (0..600)
            .map(|sequence_number| {
                let order_id = dice.random_range(0..40);
                let price = dice.random_range(-3..=3);
                let quantity = dice.random_range(1..=5);
                match dice.random_range(0..10) {
                    0..6 => View::New(NewOrder {
                        order_id,
                        sequence_number,
                        price_ticks: price,
                        quantity,
                        side: dice.random_range(0..2),
                        ioc: u8::from(dice.random_range(0..6) == 0),
                        ..NewOrder::default()
                    }),
                    6..8 => View::Cancel(Cancel {
                        order_id,
                        sequence_number,
                    }),
                    _ => View::Modify(Modify {
                        order_id,
                        sequence_number,
                        new_price_ticks: price,
                        new_quantity: quantity,
                        ..Modify::default()
                    }),
                }
                .into()
            })
            .collect();
        check(&messages, Queue::Own, Delivery::OneByOne);
    }
}

/// A case in a line: `b5@100` and `s5@100` are orders (`!` makes them immediate), named 0, 1, 2 in
/// turn; `x0` cancels, `m0:7@101` modifies, `#0b5@100` names the order itself.
fn case(script: &str) -> Vec<Message> {
    let mut next = 0;
    let number = |text: &str| text.parse::<i64>().unwrap();
    let pair = |text: &str| {
        let (quantity, price) = text.split_once('@').unwrap();
        (u32::try_from(number(quantity)).unwrap(), number(price))
    };
    let messages = script.split_whitespace().enumerate().map(|(place, word)| {
        let sequence_number = place as u64;
        let id = |text: &str| number(text).cast_unsigned();
        match word.split_at(1) {
            ("x", order) => View::Cancel(Cancel {
                order_id: id(order),
                sequence_number,
            }),
            ("m", rest) => {
                let (order, what) = rest.split_once(':').unwrap();
                let (new_quantity, new_price_ticks) = pair(what);
                View::Modify(Modify {
                    order_id: id(order),
                    sequence_number,
                    new_price_ticks,
                    new_quantity,
                    ..Modify::default()
                })
            }
            _ => {
                let (order_id, word) = match word.strip_prefix('#') {
                    Some(named) => (id(&named[..1]), &named[1..]),
                    None => {
                        next += 1;
                        (next - 1, word)
                    }
                };
                let (word, ioc) = match word.strip_suffix('!') {
                    Some(word) => (word, 1),
                    None => (word, 0),
                };
                let (quantity, price_ticks) = pair(&word[1..]);
                View::New(NewOrder {
                    order_id,
                    sequence_number,
                    price_ticks,
                    quantity,
                    side: u8::from(word.starts_with('s')),
                    ioc,
                    ..NewOrder::default()
                })
            }
        }
    });
    messages.map(Message::from).collect()
}

#[test]
fn cases_made_by_hand() {
    for script in [
        // A canceled order in the middle, at the head, and several in a deep queue.
        "b1@9 b2@9 b3@9 x1 s6@9!",
        "b1@9 b2@9 b3@9 x0 s5@9!",
        "b1@9 b1@9 b1@9 b1@9 b1@9 b1@9 b1@9 x1 x3 x5 x6 s9@9!",
        // Sweeps over levels: with a rest, exact, with a rest that becomes the touch.
        "s1@10 s2@11 s3@12 b5@12!",
        "s1@10 s2@11 s3@12 b6@12 b1@9 s1@9",
        "s1@10 s2@11 b9@11 s4@11 s9@11",
        "s1@12 s1@11 s1@10 b2@11! b9@99!",
        // Modifies that cross, in part and whole, and that only move or grow.
        "b5@9 s5@12 m0:5@12 x1 x0",
        "b5@9 s2@12 m0:5@12 s1@12 s9@12",
        "b5@9 b5@9 m0:6@9 s5@9 s6@9",
        // The same price, as much or less: the place is lost as well.
        "b5@9 b5@9 m0:5@9 s5@9 x1",
        "b5@9 b5@9 m0:2@9 s5@9 x1 s2@9",
        // Filled in part, then canceled, modified to more, to less, to the same.
        "b5@9 s2@9 x0 x0",
        "b5@9 s2@9 m0:4@9 s4@9 x0",
        "b5@9 b1@9 s2@9 m0:3@9 s2@9 s2@9",
        "b5@9 s2@9 m0:1@8 s2@8 x0",
        // What does not rest is refused.
        "b5@9 s5@9 x0 x1 m0:1@9 m1:1@9",
        "x7 m7:1@1 b1@1! x0",
        "b5@9 x0 x0 m0:6@9 b5@9",
        // Ids: 0 is one, an ended one may come again, a live one not.
        "#0b5@9 x0 #0s5@11 x0",
        "#0b5@9 #0b7@8 s5@9 x0",
        "#0b5@9 s5@9 #0b1@9 x0",
        // Immediate orders without and with a rest, against nothing.
        "b5@9! s5@9! s1@9 b5@9! s1@9",
        // Prices below zero and far apart.
        "b5@-7 s5@-3 s9@-7! b1@1000000000000 s1@-1000000000000 s2@-1000000000000",
        // Price goes before time.
        "s1@10 s1@9 s1@10 s1@9 b1@10! b2@10! b9@10!",
    ] {
        check_all(&case(script));
    }
}

#[test]
fn the_reports_of_one_case_as_text() {
    let (mut sender, mut receiver) = driver::start(1, Queue::Own, 64);
    sender.send_batch(&case("s1@10 s4@11 b3@11 x1 x1 m9:1@1 b2@9! m1:1@1"));
    sender.flush();
    let mut lines = Vec::new();
    receive_all(&mut receiver, &mut lines);
    let text = canonical(lines);
    assert_eq!(
        text,
        "0,0,1,0,10,1\n0,1,1,1,11,4\n0,2,0,2,11,3\n1,2,10,1,0,2\n1,2,11,2,1,2\n2,3,1,1,11\n\
         4,4,1\n5,5,9\n0,6,0,3,9,2\n2,6,0,3,9\n5,7,1"
    );
}

#[test]
fn two_threads() {
    let flow = Flow::Market(Scenario::Normal);
    let messages = messages::of(&flow.workload(20_000, flow.seed()).commands);
    for queue in [Queue::Own, Queue::Plain] {
        let mut oracle = Oracle::default();
        for message in &messages {
            oracle.send(message.view().unwrap());
        }
        let theirs = oracle.text();
        let (mut sender, mut receiver) = driver::start(9, queue, 256);
        let mut lines = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for message in &messages {
                    sender.send(message);
                }
                sender.flush();
            });
            let mut out = [Report::default(); 64];
            while lines.len() < theirs.lines().count() {
                let count = receiver.receive(&mut out);
                lines.extend(out[..count].iter().map(line));
                if count == 0 {
                    std::thread::yield_now();
                }
            }
        });
        assert!(canonical(lines) == theirs, "{queue:?}");
    }
}

#[test]
fn messages_come_out_as_they_went_in() {
    for message in case("b5@9 x3 m4:7@8") {
        let view = message.view().unwrap();
        assert_eq!(Message::from(view).view(), Some(view));
    }
}
