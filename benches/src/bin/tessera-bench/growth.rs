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

/// Prints two tables.
pub(crate) fn run(args: &Args) -> ExitCode {
    println!(
        "| resting orders, one book | engine ns per command | times the first | baseline | times the first |"
    );
    println!("|---:|---:|---:|---:|---:|");
    series(args, (3..=args.most).map(|power| (1, 10_usize.pow(power))));
    println!(
        "\n| books of {EACH} orders | engine ns per command | times the first | baseline | times the first |"
    );
    println!("|---:|---:|---:|---:|---:|");
    let books = (0..=args.most.saturating_sub(3)).map(|power| (10_u32.pow(power), EACH));
    series(args, books);
    ExitCode::SUCCESS
}

fn series(args: &Args, sizes: impl Iterator<Item = (u32, usize)>) {
    let contenders = [
        Contender::new("engine", Engine::new),
        Contender::new("baseline", |workload| Baseline::plain(workload.books)),
    ];
    let rounds = Rounds {
        throughput: usize::from(args.rounds),
        latency: 0,
    };
    let mut first = None;
    for (books, each) in sizes {
        let workload = Workload::moves("growth", books, each, args.commands, 23);
        let rows = contest::run(&workload, &contenders, rounds);
        let ns: Vec<_> = rows.iter().map(|row| 1e3 / row.best).collect();
        let [engine, baseline] = [ns[0], ns[1]];
        let (engine_first, baseline_first) = *first.get_or_insert((engine, baseline));
        let size = if books == 1 && each != EACH {
            each
        } else {
            books as usize
        };
        println!(
            "| {size} | {engine:.1} | {:.2} | {baseline:.1} | {:.2} |",
            engine / engine_first,
            baseline / baseline_first,
        );
    }
}
