//! `cargo xtask`: the gate that CI runs, and the slow proofs as verbs of their own.
//!
//! Nothing here is needed to build or run the exchange. Tools beyond the toolchain are used where
//! they are; where one is missing, one line says what was skipped and how to get it.

mod arrows;
mod instructions;
mod steps;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "The gate that CI runs, and the slow proofs"
)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Everything that must pass before a change lands.
    Ci,
    /// Formatting, lints and the arrows between packages.
    Lint,
    /// All tests (nextest where it is installed), then the doc tests.
    Test,
    /// Exhaustive checks of the rings' atomics.
    Loom,
    /// Licences, bans and sources of the dependencies; advisories where the database can be read.
    Deny,
    /// The Python client: format, lints, types, tests and examples.
    Python,
    /// The engine against the plain model over a range of seeds.
    Model {
        /// Range of seeds, such as 0..1000.
        #[arg(long, default_value = "0..1000")]
        seeds: String,
    },
    /// Lines of the engine that scripts against the plain model reach.
    Coverage {
        /// Range of seeds, such as 0..1000.
        #[arg(long, default_value = "0..300")]
        seeds: String,
        /// Name the lines that are not reached.
        #[arg(long)]
        lines: bool,
    },
    /// Faults planted in the matching code, which the engine's tests must find.
    Mutants {
        /// Only these files.
        #[arg(default_values = MATCHING)]
        files: Vec<String>,
        /// One part of them, such as 0/5.
        #[arg(long, default_value = "0/1")]
        shard: String,
        /// The tests against the model instead: they find more and take minutes for each fault.
        #[arg(long)]
        model: bool,
    },
    /// Kill the server with SIGKILL under load, restart it, and look for every acknowledged order.
    Kill9 {
        /// How many cycles.
        #[arg(long, default_value_t = 500)]
        cycles: u32,
    },
    /// Decoders of outside bytes on random and mutated input.
    Fuzz {
        /// How many inputs per decoder.
        #[arg(long, default_value_t = 20_000_000)]
        count: u64,
    },
    /// One journal replayed by the debug and the release build, under another locale, time zone and allocation,
    /// and on one core.
    Determinism {
        /// How many commands.
        #[arg(long, default_value_t = 10_000_000)]
        commands: u64,
    },
    /// Miri, address and thread sanitizer over rings, types and journal; needs a nightly toolchain.
    Sanitize,
    /// Failing calls, power cuts and torn tails over the journal's scripted disk, more than CI takes.
    Faults {
        /// At least how many power cuts at a call; everything else grows with it.
        #[arg(long, default_value_t = 20_000)]
        cases: u64,
    },
    /// Power cuts under a running exchange on a real file system (loop device, root).
    PowerCuts {
        /// How many.
        #[arg(long, default_value_t = 20)]
        cuts: u32,
    },
    /// Write the golden journal of this release and its hash anew.
    Golden,
    /// Generated reports: `risk` writes `docs/risk-report`.
    Report {
        /// Which report.
        name: String,
    },
    /// Studies: `market` writes `docs/market-study`.
    Study {
        /// Which study.
        name: String,
        /// How many seeds.
        #[arg(long, default_value_t = 20)]
        seeds: u64,
        /// The plain model of the tests in place of the engine: the same figures, slowly.
        #[arg(long)]
        model: bool,
    },
    /// Criterion benches, or what `docs/performance.md` holds.
    Bench {
        /// Only this criterion bench; `journal` measures the journal beside bare probes first.
        name: Option<String>,
        /// Whole workloads instead: every table of `docs/performance.md`.
        #[arg(long, conflicts_with = "name")]
        tables: bool,
        /// Instructions, branch and cache misses per command instead, counted by valgrind.
        #[arg(long, conflicts_with = "name")]
        instructions: bool,
        /// Only these flows, separated by commas, of the instructions.
        #[arg(long, value_delimiter = ',', requires = "instructions")]
        flow: Vec<String>,
    },
}

/// The code that decides what trades.
const MATCHING: [&str; 4] = [
    "engine/src/book/matching.rs",
    "engine/src/auction.rs",
    "engine/src/stops.rs",
    "engine/src/volatility.rs",
];

fn main() -> ExitCode {
    let result = match Args::parse().verb {
        Verb::Ci => steps::ci(),
        Verb::Lint => steps::lint(),
        Verb::Test => steps::test(),
        Verb::Loom => steps::loom(),
        Verb::Deny => steps::deny(),
        Verb::Python => steps::python(),
        Verb::Model { seeds } => steps::model(&seeds),
        Verb::Coverage { seeds, lines } => steps::coverage(&seeds, lines),
        Verb::Mutants {
            files,
            shard,
            model,
        } => steps::mutants(&files, &shard, model),
        Verb::Kill9 { cycles } => steps::kill9(cycles),
        Verb::Fuzz { count } => steps::fuzz(count),
        Verb::Determinism { commands } => steps::determinism(commands),
        Verb::Sanitize => steps::sanitize(),
        Verb::Faults { cases } => steps::faults(cases),
        Verb::PowerCuts { cuts } => steps::power_cuts(cuts),
        Verb::Golden => steps::golden(),
        Verb::Report { name } => steps::report(&name),
        Verb::Study { name, seeds, model } => steps::study(&name, seeds, model),
        Verb::Bench {
            name,
            tables,
            instructions,
            flow,
        } => steps::bench(name.as_deref(), tables, instructions, &flow),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
