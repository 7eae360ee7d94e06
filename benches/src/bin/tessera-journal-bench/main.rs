//! `tessera-journal-bench`: the journal beside bare probes of the same limits, in the same run.
//!
//! Every figure is a ratio to a probe that meets the same limit with as little as possible around it, on the
//! same disk and a moment apart: in each round ours and the probe take turns, and the best round of each
//! counts. What is right is checked where it can be: the journals that were written verify as clean.

mod append;
mod bare;
mod bed;
mod blocks;
mod commit;
mod handoff;
mod parts;
mod recovery;
mod scan;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use table::Table;

#[derive(Parser)]
#[command(
    name = "tessera-journal-bench",
    about = "The journal beside bare probes of the same limits: the ratios of docs/performance.md"
)]
struct Args {
    /// Directory on the disk to measure; the system's temporary directory if nothing is given
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Only these parts
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Part>,

    /// Rounds of each measurement
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Commands of the recovery
    #[arg(long, default_value_t = 1_000_000)]
    commands: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// What a record costs before it is stored.
    Parts,
    /// Records into the mapping.
    Append,
    /// What the core pays for handing a command over.
    Handoff,
    /// From a record to its acknowledgement.
    Commit,
    /// What reaches the disk.
    Blocks,
    /// Reading it all again.
    Verify,
    /// From the start of the process to an engine that can trade.
    Recovery,
}

/// Adds the rows of a part.
type Measurement = fn(&Plan, &mut Table);

/// Where and how often is measured.
struct Plan {
    dir: PathBuf,
    rounds: usize,
    commands: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let plan = Plan {
        dir: args.dir.unwrap_or_else(std::env::temp_dir),
        rounds: args.rounds.max(1),
        commands: args.commands.max(1),
    };
    let mut table = Table::default();
    let parts: [(Part, Measurement); 7] = [
        (Part::Parts, parts::run),
        (Part::Append, append::run),
        (Part::Handoff, handoff::run),
        (Part::Commit, commit::run),
        (Part::Blocks, blocks::run),
        (Part::Verify, scan::run),
        (Part::Recovery, recovery::run),
    ];
    for (part, run) in parts {
        if args.only.is_empty() || args.only.contains(&part) {
            run(&plan, &mut table);
        }
    }
    print!("{table}");
    ExitCode::SUCCESS
}
