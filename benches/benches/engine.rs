//! What does each kind of command cost the engine by itself, in a warm book of 1,000 orders?
//!
//! Every iteration leaves the book as it was, so a figure is that of the whole little sequence which
//! its name says. Events go into a ring, as in `serve`. Whole workloads are `tessera-bench`'s.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use tessera_benches::flows::{Flow, Workload};
use tessera_benches::subject::{Engine, Subject};
use tessera_types::{
    AccountId, Cancel, ClOrdId, ClientHeader, Command, InstrumentId, MassQuote, NewOrder,
    OrderTarget, Phase, Price, Qty, QuoteEntry, Reduce, Replace, SelfMatch, Seq, Sequenced,
    SetPhase, Side, TimeInForce, Timestamp,
};

criterion_group!(benches, commands);
criterion_main!(benches);

/// The book holds 20 orders of 10 lots at each of 25 prices a side, from 1 to 25 ticks off the middle.
const MIDDLE: i64 = 1_000;
const LEVELS: u64 = 25;
const EACH: u64 = 20;
const LOTS: u64 = 10;
/// Ids above those of the book.
const NEW: u64 = 10_000;

fn commands(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine");
    let mut case = |name: &str, commands: Vec<Command>| {
        let commands = sequence(commands);
        let mut engine = warm();
        let orders = engine.exchange().live_orders();
        group.bench_function(name, |b| {
            b.iter(|| {
                for place in 0..commands.len() {
                    engine.step(black_box(&commands), place);
                }
            });
        });
        assert_eq!(engine.exchange().live_orders(), orders, "{name}");
    };

    let rest = || order(NEW, Side::Buy, MIDDLE - 3, LOTS);
    case("new and cancel", vec![rest(), cancel(NEW)]);
    case("new and cancel, a level of its own", {
        vec![order(NEW, Side::Buy, MIDDLE, LOTS), cancel(NEW)]
    });
    case(
        "move away and back",
        vec![
            replace(5, Some(MIDDLE - 9), None),
            replace(5, Some(MIDDLE - 1), None),
        ],
    );
    case(
        "new, reduce, cancel",
        vec![rest(), reduce(NEW, 3), cancel(NEW)],
    );
    case("refused cancel", vec![cancel(NEW)]);
    case(
        "new, taken whole",
        vec![
            order(NEW, Side::Sell, MIDDLE, 1),
            immediate(NEW + 1, Side::Buy, MIDDLE, 1),
        ],
    );
    case("20 new on a level, taken by one", {
        let mut commands: Vec<_> = (0..20)
            .map(|n| order(NEW + n, Side::Sell, MIDDLE, 1))
            .collect();
        commands.push(immediate(NEW + 20, Side::Buy, MIDDLE, 20));
        commands
    });
    case("auction of 200 orders that all trade", {
        let mut commands = vec![phase(Phase::Auction)];
        commands.extend((0..200).map(|n| {
            let side = if n < 100 { Side::Buy } else { Side::Sell };
            order(NEW + n, side, MIDDLE, LOTS)
        }));
        commands.push(phase(Phase::Continuous));
        commands
    });
    case("mass quote of both sides, moved and moved back", {
        vec![quote(NEW, 1), quote(NEW + 2, 2), quote_nothing(NEW + 4)]
    });
    group.finish();
}

fn warm() -> Engine {
    let nothing = Flow::W1.workload(0, 1);
    let mut book = Vec::new();
    for place in 0..LEVELS * EACH {
        let distance = 1 + (place % LEVELS).cast_signed();
        book.push(order(1 + 2 * place, Side::Buy, MIDDLE - distance, LOTS));
        book.push(order(2 + 2 * place, Side::Sell, MIDDLE + distance, LOTS));
    }
    let workload = Workload {
        fill: sequence(book),
        ..nothing
    };
    let mut engine = Engine::new(&workload);
    for place in 0..workload.fill.len() {
        engine.step(&workload.fill, place);
    }
    engine
}

fn sequence(commands: Vec<Command>) -> Vec<Sequenced> {
    let at = |command| Sequenced {
        seq: Seq::new(1),
        time: Timestamp::ZERO,
        command,
    };
    commands.into_iter().map(at).collect()
}

fn header(id: u64) -> ClientHeader {
    ClientHeader {
        account: AccountId::new(1),
        cl_ord_id: ClOrdId::new(id),
        ..ClientHeader::default()
    }
}

fn limit(id: u64, side: Side, price: i64, qty: u64) -> NewOrder {
    let (price, qty) = (Price::from_ticks(price), Qty::from_lots(qty));
    NewOrder::limit(header(id), InstrumentId::new(0), side, price, qty)
}

fn order(id: u64, side: Side, price: i64, qty: u64) -> Command {
    Command::NewOrder(limit(id, side, price, qty))
}

fn immediate(id: u64, side: Side, price: i64, qty: u64) -> Command {
    Command::NewOrder(NewOrder {
        time_in_force: TimeInForce::Ioc,
        ..limit(id, side, price, qty)
    })
}

fn cancel(id: u64) -> Command {
    Command::Cancel(Cancel {
        header: header(id),
        target: OrderTarget::Client(ClOrdId::new(id)),
    })
}

fn reduce(id: u64, by: u64) -> Command {
    Command::Reduce(Reduce {
        header: header(id),
        target: OrderTarget::Client(ClOrdId::new(id)),
        by: Qty::from_lots(by),
    })
}

fn replace(id: u64, price: Option<i64>, qty: Option<u64>) -> Command {
    Command::Replace(Replace {
        header: header(id),
        target: OrderTarget::Client(ClOrdId::new(id)),
        price: price.map(Price::from_ticks),
        qty: qty.map(Qty::from_lots),
        stop: None,
        new_id: None,
    })
}

fn phase(phase: Phase) -> Command {
    Command::SetPhase(SetPhase {
        header: ClientHeader::default(),
        instrument: InstrumentId::new(0),
        phase,
        ref_price: None,
    })
}

fn quote_both(id: u64, off: i64, qty: u64) -> Command {
    let qty = Some(Qty::from_lots(qty));
    Command::MassQuote(Box::new(MassQuote {
        header: ClientHeader {
            account: AccountId::new(2),
            ..ClientHeader::default()
        },
        post_only: false,
        keep_priority: false,
        self_match: SelfMatch::None,
        entries: vec![QuoteEntry {
            instrument: InstrumentId::new(0),
            refused: None,
            bid_id: ClOrdId::new(id),
            bid_price: Price::from_ticks(MIDDLE - off),
            bid_qty: qty,
            ask_id: ClOrdId::new(id + 1),
            ask_price: Price::from_ticks(MIDDLE + off),
            ask_qty: qty,
            backing: tessera_types::Backing::NOTHING,
        }],
    }))
}

fn quote(id: u64, off: i64) -> Command {
    quote_both(id, off, LOTS)
}

fn quote_nothing(id: u64) -> Command {
    quote_both(id, 3, 0)
}
