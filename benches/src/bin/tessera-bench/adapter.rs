//! Messages a second through the interface of the public benchmark, on two threads.
//!
//! One thread delivers messages, matches and pushes reports, the other takes the reports, as in that
//! benchmark's harness. With a plain queue and with our own, so that book and queue can be told apart.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tessera_bench::driver::{self, Queue};
use tessera_bench::layout::{Message, Report};
use tessera_benches::flows::{Flow, Scenario};
use tessera_benches::messages;

const SCENARIOS: [Scenario; 5] = [
    Scenario::Static,
    Scenario::Normal,
    Scenario::Swing25,
    Scenario::Swing40,
    Scenario::FlashCrash,
];
/// Reports that the queue holds.
const CAPACITY: u32 = 1 << 14;
/// Messages of one call, where they are delivered in batches.
const BATCH: usize = 1_024;

/// Messages a second through the interface of the public benchmark, on two threads.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// About how many messages of each scenario.
    #[arg(long, default_value_t = 2_000_000)]
    messages: usize,
    /// Runs of each, of which the best counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

impl Args {
    /// What the tables of `docs/performance.md` are made with.
    pub(crate) fn tables(commands: usize, rounds: u16) -> Self {
        Self {
            messages: commands,
            rounds,
        }
    }
}

/// Prints a table and its last line, the worst scenario.
pub(crate) fn run(args: &Args) -> ExitCode {
    println!(
        "| scenario | messages | reports | own queue, batches | own queue, one by one | plain queue, batches | plain queue, one by one |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    let ways = [
        (Queue::Own, true),
        (Queue::Own, false),
        (Queue::Plain, true),
        (Queue::Plain, false),
    ];
    let mut worst = [f64::MAX; 4];
    for scenario in SCENARIOS {
        let flow = Flow::Market(scenario);
        let messages = messages::of(&flow.workload(args.messages, flow.seed()).commands);
        let mut best = [0.0_f64; 4];
        let mut reports = 0;
        for _ in 0..args.rounds {
            for (way, best) in ways.into_iter().zip(&mut best) {
                let (seconds, received) = once(&messages, way.0, way.1);
                *best = best.max(messages.len() as f64 / seconds / 1e6);
                if reports != 0 && reports != received {
                    eprintln!("tessera-bench: {received} reports, {reports} before");
                    return ExitCode::FAILURE;
                }
                reports = received;
            }
        }
        let cells = best.map(|rate| format!("{rate:.2}")).join(" | ");
        println!("| {flow} | {} | {reports} | {cells} |", messages.len());
        for (worst, best) in worst.iter_mut().zip(best) {
            *worst = worst.min(best);
        }
    }
    let cells = worst.map(|rate| format!("**{rate:.2}**")).join(" | ");
    println!("| worst, M messages/s | | | {cells} |");
    ExitCode::SUCCESS
}

/// Seconds for all messages, and how many reports came.
fn once(messages: &[Message], queue: Queue, batches: bool) -> (f64, u64) {
    let (mut sender, mut receiver) = driver::start(23, queue, CAPACITY);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let drain = scope.spawn(|| {
            let mut out = vec![Report::default(); 1_024];
            let mut received = 0;
            loop {
                let last = done.load(Ordering::Acquire);
                let count = receiver.receive(&mut out);
                received += count as u64;
                if count == 0 {
                    if last {
                        return received;
                    }
                    std::hint::spin_loop();
                }
            }
        });
        let start = Instant::now();
        if batches {
            for batch in messages.chunks(BATCH) {
                sender.send_batch(batch);
            }
        } else {
            for message in messages {
                sender.send(message);
            }
        }
        sender.flush();
        let seconds = start.elapsed().as_secs_f64();
        done.store(true, Ordering::Release);
        let received = drain.join().expect("the draining thread does not panic");
        (seconds, received)
    })
}
