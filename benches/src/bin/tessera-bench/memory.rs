//! Heap bytes per resting plain order.

use std::collections::HashSet;
use std::process::ExitCode;

use tessera_benches::flows::{Flow, Workload};
use tessera_benches::heap;
use tessera_engine::{EngineConfig, Exchange};
use tessera_types::{Command, Event, EventSink, Sequenced};

/// Prints a row for one book and one for a thousand.
pub(crate) fn run() -> ExitCode {
    println!(
        "| orders | books | levels | bytes per order, all heap | of these levels and ladders | the rest | goal |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    for (flow, goal) in [(Flow::W2, 64), (Flow::W3, 96)] {
        let workload = flow.workload(0, flow.seed());
        let (all, exchange) = bytes(&workload, &workload.fill);
        let orders = exchange.live_orders();
        drop(exchange);
        let (empty, _) = bytes(&workload, &[]);
        let first = first_of_each_level(&workload);
        let (thin, exchange) = bytes(&workload, &first);
        let levels = exchange.live_orders();
        drop(exchange);
        // Space for the orders was set aside at the start: what comes with the first order of each
        // level is the level itself and its place in the ladder.
        let ladders = thin - empty;
        let per_order = |bytes: i64| bytes as f64 / orders as f64;
        println!(
            "| {orders} | {} | {levels} | {:.1} | {:.1} | {:.1} | {goal} |",
            workload.books,
            per_order(all),
            per_order(ladders),
            per_order(all - ladders),
        );
    }
    ExitCode::SUCCESS
}

/// An exchange that was told to expect the workload's orders, and all the heap it holds after some.
fn bytes(workload: &Workload, orders: &[Sequenced]) -> (i64, Exchange) {
    let before = heap::counts().live_bytes;
    let mut exchange = Exchange::new(EngineConfig {
        index_seed: 7,
        expected_orders: workload.fill.len(),
        ..EngineConfig::default()
    });
    for command in workload.listings.iter().chain(orders) {
        exchange.apply(command, &mut Nowhere);
    }
    (heap::counts().live_bytes - before, exchange)
}

/// The workload's first order at each price of each book.
fn first_of_each_level(workload: &Workload) -> Vec<Sequenced> {
    let mut seen = HashSet::new();
    let first = |command: &&Sequenced| match &command.command {
        Command::NewOrder(new) => seen.insert((new.instrument, new.side, new.price)),
        _ => false,
    };
    workload.fill.iter().filter(first).cloned().collect()
}

struct Nowhere;

impl EventSink for Nowhere {
    fn emit(&mut self, _event: Event) {}
}
