//! After warm-up the engine does not allocate while it matches.
//!
//! Each case runs once to bring every structure to its size, then again from the same state, and the
//! second time must not ask the allocator for anything.
#![expect(clippy::unwrap_used, reason = "a test may stop at once")]

use tessera_benches::baseline::Baseline;
use tessera_benches::flows::{Flow, Scenario, Workload, listing};
use tessera_benches::heap::{self, Heap};
use tessera_benches::subject::{Engine, Subject};
use tessera_engine::{EngineConfig, Exchange};
use tessera_types::{
    AccountId, ClOrdId, ClientHeader, Command, Event, EventSink, InstrumentId, MassCancel,
    MassQuote, NewOrder, OrdType, Phase, Price, Qty, QuoteEntry, SelfMatch, Seq, Sequenced,
    SessionId, SetPhase, Side, TimeInForce, Timestamp,
};

#[global_allocator]
static HEAP: Heap = Heap;

/// Takes events without keeping them; counts trades.
#[derive(Default)]
struct Trades(u64);

impl EventSink for Trades {
    fn emit(&mut self, event: Event) {
        self.0 += u64::from(matches!(event, Event::Trade { .. }));
    }
}

/// Applies `round` again and again: from the second time on, nothing may be allocated. It must leave
/// no order behind, so that every time begins at the same state.
fn check(round: &[Command]) {
    let mut exchange = Exchange::new(EngineConfig::default());
    let mut trades = Trades::default();
    let mut seq = 0;
    let mut apply = |exchange: &mut Exchange, command: &Command| {
        seq += 1;
        let sequenced = Sequenced {
            seq: Seq::new(seq),
            time: Timestamp::from_nanos(seq),
            command: command.clone(),
        };
        let before = heap::counts().calls;
        exchange.apply(&sequenced, &mut trades);
        heap::counts().calls - before
    };
    for number in 0..4 {
        apply(&mut exchange, &listing(number));
    }
    for time in 0..5 {
        for command in round {
            let calls = apply(&mut exchange, command);
            assert!(
                time == 0 || calls == 0,
                "{calls} in round {time}: {command:?}"
            );
        }
        assert_eq!(exchange.live_orders(), 0, "a round leaves nothing behind");
    }
    assert!(trades.0 > 0, "nothing traded");
}

fn header(id: u64) -> ClientHeader {
    ClientHeader {
        session: SessionId::VENUE,
        account: AccountId::new(u32::try_from(id % 5).unwrap() + 1),
        cl_ord_id: ClOrdId::new(id),
        ..ClientHeader::default()
    }
}

fn order(id: u64, side: Side, price: i64, qty: u64) -> NewOrder {
    NewOrder::limit(
        header(id),
        InstrumentId::new(0),
        side,
        Price::from_ticks(price),
        Qty::from_lots(qty),
    )
}

fn sweep(id: u64, side: Side, qty: u64) -> Command {
    let price = if side == Side::Buy { 10_000 } else { 1 };
    Command::NewOrder(NewOrder {
        time_in_force: TimeInForce::Ioc,
        ..order(id, side, price, qty)
    })
}

fn phase(phase: Phase) -> Command {
    Command::SetPhase(SetPhase {
        header: ClientHeader::default(),
        instrument: InstrumentId::new(0),
        phase,
        ref_price: Some(Price::from_ticks(1_000)),
    })
}

fn mass_cancel() -> Command {
    Command::MassCancel(MassCancel {
        header: ClientHeader::default(),
        account: None,
        instrument: None,
        side: None,
    })
}

/// Both sides around 1,000, a hundred levels with ten orders each.
fn book() -> Vec<Command> {
    let pair = |pair: u64| {
        let distance = i64::try_from(pair % 50).unwrap() + 1;
        let qty = 1 + pair % 7;
        [
            order(2 * pair + 1, Side::Buy, 1_000 - distance, qty),
            order(2 * pair + 2, Side::Sell, 1_000 + distance, qty),
        ]
    };
    (0..500).flat_map(pair).map(Command::NewOrder).collect()
}

/// The second time, a flow allocates nothing.
///
/// Once is not enough, because levels and orders reach their largest numbers at different times; ids
/// are free again once their orders have ended.
fn check_flow(workload: &Workload) {
    let mut engine = Engine::new(workload);
    for place in 0..workload.fill.len() {
        engine.step(&workload.fill, place);
    }
    let clear = [Sequenced {
        seq: Seq::new(1),
        time: Timestamp::ZERO,
        command: mass_cancel(),
    }];
    for place in 0..workload.commands.len() {
        engine.step(&workload.commands, place);
    }
    engine.step(&clear, 0);
    for place in 0..workload.fill.len() {
        engine.step(&workload.fill, place);
    }
    let before = heap::counts();
    for place in 0..workload.commands.len() {
        engine.step(&workload.commands, place);
    }
    assert_eq!(heap::counts().calls - before.calls, 0, "{}", workload.name);
    assert!(engine.outcome().trades > 0);
}

#[test]
fn the_allocator_counts() {
    let before = heap::counts();
    let vec = std::hint::black_box(vec![0_u8; 1_000]);
    let after = heap::counts();
    assert_eq!(
        (after.calls, after.live_bytes),
        (before.calls + 1, before.live_bytes + 1_000)
    );
    drop(vec);
    assert_eq!(heap::counts().live_bytes, before.live_bytes);
    // A book that allocates is found out.
    let workload = Flow::W1.workload(1_000, 1);
    let mut baseline = Baseline::plain(1);
    for command in &workload.fill {
        baseline.on_command(&command.command);
    }
    assert!(heap::counts().calls > after.calls);
}

#[test]
fn plain_flows() {
    check_flow(&Flow::W1.workload(20_000, 1));
    check_flow(&Flow::Market(Scenario::Static).workload(20_000, 1));
    check_flow(&Flow::Market(Scenario::FlashCrash).workload(20_000, 2));
}

#[test]
fn sweeps() {
    check_flow(&Flow::Sweep.workload(20_000, 1));
    let mut round = book();
    round.extend([
        sweep(2_001, Side::Buy, 5_000),
        sweep(2_002, Side::Sell, 5_000),
    ]);
    check(&round);
}

#[test]
fn auctions() {
    check_flow(&Flow::Auction.workload(20_000, 1));
    let mut round = vec![phase(Phase::Auction)];
    // From both sides across the middle.
    for id in 1..=500 {
        let side = if id % 2 == 0 { Side::Buy } else { Side::Sell };
        let price = 950 + i64::try_from(id * 37 % 101).unwrap();
        round.push(Command::NewOrder(order(id, side, price, 1 + id % 9)));
    }
    round.extend([phase(Phase::Continuous), mass_cancel()]);
    check(&round);
}

#[test]
fn icebergs() {
    let mut round = Vec::new();
    for id in 1..=50 {
        round.push(Command::NewOrder(NewOrder {
            ord_type: OrdType::Iceberg,
            display: Qty::from_lots(3),
            ..order(id, Side::Sell, 1_000 + i64::try_from(id % 5).unwrap(), 20)
        }));
    }
    round.push(sweep(100, Side::Buy, 700));
    round.push(mass_cancel());
    check(&round);
}

#[test]
fn stops_that_elect_each_other() {
    let mut round = book();
    for id in 2_001..=2_050 {
        let trigger = 1_000 + i64::try_from(id - 2_000).unwrap();
        round.push(Command::NewOrder(NewOrder {
            ord_type: OrdType::Stop,
            time_in_force: TimeInForce::Gtc,
            price: Price::ZERO,
            trigger,
            ..order(id, Side::Buy, 0, 40)
        }));
    }
    for id in 2_051..=2_060 {
        round.push(Command::NewOrder(NewOrder {
            ord_type: OrdType::TrailingStop,
            price: Price::ZERO,
            trigger: 5,
            ..order(id, Side::Sell, 0, 40)
        }));
    }
    round.extend([
        sweep(3_000, Side::Buy, 10),
        sweep(3_001, Side::Sell, 2_500),
        mass_cancel(),
    ]);
    check(&round);
}

/// The command itself is a box with a list: its sender allocates it, the engine does not.
#[test]
fn mass_quotes() {
    let quote = |id: u64, middle: i64, keep_priority: bool| {
        let entry = |number: u32| {
            let id = id + u64::from(number) * 2;
            QuoteEntry {
                instrument: InstrumentId::new(number),
                refused: None,
                bid_id: ClOrdId::new(id),
                bid_price: Price::from_ticks(middle - 1),
                bid_qty: Some(Qty::from_lots(10)),
                ask_id: ClOrdId::new(id + 1),
                ask_price: Price::from_ticks(middle + 1),
                ask_qty: Some(Qty::from_lots(10)),
                backing: tessera_types::Backing::NOTHING,
            }
        };
        Command::MassQuote(Box::new(MassQuote {
            header: ClientHeader {
                cl_ord_id: ClOrdId::new(0),
                account: AccountId::new(9),
                ..ClientHeader::default()
            },
            post_only: false,
            keep_priority,
            self_match: SelfMatch::CancelOld,
            entries: (0..4).map(entry).collect(),
        }))
    };
    let round: Vec<_> = (0..20)
        .map(|step| {
            quote(
                1_000 + step * 8,
                1_000 + i64::try_from(step % 4).unwrap(),
                step % 2 == 0,
            )
        })
        .chain([
            sweep(1, Side::Buy, 15),
            sweep(2, Side::Sell, 5),
            mass_cancel(),
        ])
        .collect();
    check(&round);
}
