//! Everything that `docs/performance.md` shows, one after the other.

use std::fs;
use std::process::ExitCode;

use crate::{adapter, growth, memory, race};

/// Everything, as `docs/performance.md` shows it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many commands of each flow.
    #[arg(long, default_value_t = 2_000_000)]
    commands: usize,
    /// Rounds of each measurement.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

/// Markdown on standard output.
pub(crate) fn run(args: &Args) -> ExitCode {
    println!("Machine: {}\n", machine());
    println!("## Flows");
    let flows = race::run(&race::Args::tables(args.commands, args.rounds));
    println!("\n## Memory\n");
    let memory = memory::run();
    println!("\n## Growth\n");
    let growth = growth::run(&growth::Args::tables(args.commands / 4, args.rounds));
    println!("\n## Adapter\n");
    let adapter = adapter::run(&adapter::Args::tables(args.commands, args.rounds));
    if [flows, memory, growth, adapter].contains(&ExitCode::FAILURE) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Processor, threads, and how busy it is, where the system says.
fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let threads = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().take(3).collect::<Vec<_>>();
    format!(
        "{model}, {threads} threads, load averages {}",
        load.join(" ")
    )
}
