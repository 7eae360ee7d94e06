//! `tessera-bench`: whole workloads, the engine beside other books, as tables.

mod adapter;
mod contracts;
mod count;
mod growth;
mod memory;
mod race;
mod shapes;
mod tables;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tessera_benches::heap::Heap;

#[global_allocator]
static HEAP: Heap = Heap;

#[derive(Parser)]
#[command(
    name = "tessera-bench",
    about = "Whole workloads: the engine beside other books on the same commands",
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  cargo run --release -p tessera-benches
  cargo run --release -p tessera-benches -- --flow W1,W3 --commands 10000000 --json

Instructions, branch and cache misses per command, under valgrind:
  cargo xtask bench --instructions
which runs, for each subject and flow, what `tessera-bench count` is for:
  valgrind --tool=callgrind --cache-sim=yes --branch-sim=yes --collect-atstart=no \\
    --toggle-collect='*run_all*' target/release/tessera-bench count --flow W1 --subject engine"
)]
struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    race: race::Args,
}

#[derive(Subcommand)]
enum Verb {
    /// Commands a second and latencies, as without a verb.
    Race(race::Args),
    /// Messages a second through the interface of the public benchmark, on two threads.
    Adapter(adapter::Args),
    /// What the orders of compute contracts cost.
    Contracts(contracts::Args),
    /// Does a small fixed number of commands and measures nothing: for a profiler.
    Count(count::Args),
    /// How the cost of a command grows with orders and books.
    Growth(growth::Args),
    /// Heap bytes per resting plain order.
    Memory,
    /// Everything, as `docs/performance.md` shows it.
    Tables(tables::Args),
    /// Says what each flow is, and how large its books are with each of a range of seeds.
    Flows(shapes::Args),
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.verb.unwrap_or(Verb::Race(args.race)) {
        Verb::Race(args) => race::run(&args),
        Verb::Adapter(args) => adapter::run(&args),
        Verb::Contracts(args) => contracts::run(&args),
        Verb::Count(args) => count::run(&args),
        Verb::Growth(args) => growth::run(&args),
        Verb::Memory => memory::run(),
        Verb::Tables(args) => tables::run(&args),
        Verb::Flows(args) => shapes::run(&args),
    }
}
