//! A fixed number of commands for a profiler that counts.

use std::process::ExitCode;

use clap::ValueEnum;
use tessera_benches::baseline::Baseline;
use tessera_benches::contest;
use tessera_benches::flows::{Flow, Workload};
use tessera_benches::subject::{Engine, Subject};

/// Does a small fixed number of commands and measures nothing: for a profiler.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which flow.
    #[arg(long, default_value = "W1")]
    flow: Flow,
    /// Who does them.
    #[arg(long, value_enum, default_value_t = Who::Engine)]
    subject: Who,
    /// How many commands are made.
    #[arg(long, default_value_t = 100_000)]
    commands: usize,
    /// How many of these are done first, outside the function `run_all`, to warm the caches.
    #[arg(long, default_value_t = 20_000)]
    warm_up: usize,
    /// Chooses among equal flows; each has one of its own.
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Who {
    /// The engine.
    Engine,
    /// The plain book.
    Baseline,
}

/// Prints how many commands `run_all` did.
pub(crate) fn run(args: &Args) -> ExitCode {
    let workload = args
        .flow
        .workload(args.commands, args.seed.unwrap_or(args.flow.seed()));
    let warm_up = args.warm_up.min(workload.commands.len());
    match args.subject {
        Who::Engine => apply(Engine::new(&workload), &workload, warm_up),
        Who::Baseline => apply(Baseline::plain(workload.books), &workload, warm_up),
    }
    println!("{}", workload.commands.len() - warm_up);
    ExitCode::SUCCESS
}

fn apply<S: Subject>(mut subject: S, workload: &Workload, warm_up: usize) {
    contest::fill(&mut subject, workload);
    for place in 0..warm_up {
        subject.step(&workload.commands, place);
    }
    contest::run_all(&mut subject, &workload.commands[warm_up..]);
    eprintln!("{:?}", subject.outcome());
}
