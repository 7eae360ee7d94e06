//! A fixed number of commands for a profiler that counts.

use std::process::ExitCode;

use clap::ValueEnum;
use tessera_bench::driver::{self, Queue, Sender};
use tessera_bench::layout::{Message, Report};
use tessera_benches::baseline::Baseline;
use tessera_benches::contest;
use tessera_benches::flows::{Flow, Workload};
use tessera_benches::messages;
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
    /// The engine behind the interface of the public benchmark, with its own queue; a market scenario.
    Adapter,
}

/// Prints how many commands `run_all` did.
pub(crate) fn run(args: &Args) -> ExitCode {
    let workload = args
        .flow
        .workload(args.commands, args.seed.unwrap_or(args.flow.seed()));
    let warm_up = args.warm_up.min(workload.commands.len());
    match args.subject {
        Who::Engine => apply(Engine::new(&workload), &workload, warm_up),
        Who::Adapter => deliver(&workload, warm_up),
        Who::Baseline => apply(Baseline::plain(workload.books), &workload, warm_up),
    }
    println!("{}", workload.commands.len() - warm_up);
    ExitCode::SUCCESS
}

/// Messages in batches of as many as their reports fit the queue.
fn deliver(workload: &Workload, warm_up: usize) {
    let messages = messages::of(&workload.commands);
    let (mut sender, mut receiver) = driver::start(23, Queue::Own, 1 << 16);
    let mut out = vec![Report::default(); 1 << 16];
    let (first, then) = messages.split_at(warm_up.min(messages.len()));
    for batch in first.chunks(256) {
        sender.send_batch(batch);
        sender.flush();
        receiver.receive(&mut out);
    }
    for batch in then.chunks(256) {
        run_all_messages(&mut sender, batch);
        sender.flush();
        receiver.receive(&mut out);
    }
}

#[inline(never)]
fn run_all_messages(sender: &mut Sender, batch: &[Message]) {
    sender.send_batch(batch);
}

fn apply<S: Subject>(mut subject: S, workload: &Workload, warm_up: usize) {
    contest::fill(&mut subject, workload);
    for place in 0..warm_up {
        subject.step(&workload.commands, place);
    }
    contest::run_all(&mut subject, &workload.commands[warm_up..]);
    eprintln!("{:?}", subject.outcome());
}
