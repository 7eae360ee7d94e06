//! How the cost of a command grows with the orders that rest and with the number of books.

use std::process::ExitCode;

use tessera_benches::baseline::Baseline;
use tessera_benches::contest::{self, Contender, Rounds};
use tessera_benches::flows::Workload;
use tessera_benches::subject::Engine;

/// How the cost of a command grows with the orders that rest and with the number of books.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many commands of each.
    #[arg(long, default_value_t = 500_000)]
    commands: usize,
    /// Rounds of which the best counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Most orders in one book, and most books of 100 orders, in powers of ten.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(3..=7))]
    most: u32,
}

impl Args {
    /// What the tables of `docs/performance.md` are made with.
    pub(crate) fn tables(commands: usize, rounds: u16) -> Self {
        Self {
            commands,
            rounds: rounds.min(3),
            most: 7,
        }
    }
}

/// Orders of each book where there are many books.
const EACH: usize = 100;

/// Prints two tables. Every size takes turns with the smallest, so that a machine that slows down
/// meanwhile does not look like growth.
pub(crate) fn run(args: &Args) -> ExitCode {
    println!("| resting orders, one book {HEAD}");
    let sizes = (3..=args.most).map(|power| (1, 10_usize.pow(power)));
    series(args, sizes, |(_, each)| each);
    println!("\n| books of {EACH} orders {HEAD}");
    let sizes = (0..=args.most.saturating_sub(3)).map(|power| (10_u32.pow(power), EACH));
    series(args, sizes, |(books, _)| books as usize);
    ExitCode::SUCCESS
}

const HEAD: &str = "| engine ns per command | times the smallest | baseline | times the smallest |
|---:|---:|---:|---:|---:|";

/// Books and orders of each.
type Size = (u32, usize);

fn series(args: &Args, sizes: impl Iterator<Item = Size>, label: fn(Size) -> usize) {
    let workload = |(books, each): Size| Workload::moves("growth", books, each, args.commands, 23);
    let mut smallest: Option<Workload> = None;
    for size in sizes {
        let this = workload(size);
        let smallest = smallest.get_or_insert_with(|| workload(size));
        let (mut best, mut best_smallest) = ([f64::MAX; 2], [f64::MAX; 2]);
        for _ in 0..args.rounds {
            keep_best(&mut best_smallest, smallest);
            keep_best(&mut best, &this);
        }
        let [engine, baseline] = best;
        println!(
            "| {} | {engine:.1} | {:.2} | {baseline:.1} | {:.2} |",
            label(size),
            engine / best_smallest[0],
            baseline / best_smallest[1],
        );
    }
}

/// Lowers the nanoseconds per command of engine and baseline to those of one more round.
fn keep_best(best: &mut [f64; 2], workload: &Workload) {
    let contenders = [
        Contender::new("engine", Engine::new),
        Contender::new("baseline", |workload| Baseline::plain(workload.books)),
    ];
    let once = Rounds {
        throughput: 1,
        latency: 0,
    };
    for (best, row) in best
        .iter_mut()
        .zip(contest::run(workload, &contenders, once))
    {
        *best = best.min(1e3 / row.best);
    }
}
