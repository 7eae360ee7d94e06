//! Several subjects on the same commands, in turn.
//!
//! Every round runs each subject once, so that a slow moment of the machine meets them all; the best
//! round counts, since disturbances only ever add time. Latencies of single commands come from rounds
//! of their own, because reading the clock around each costs about as much as the command.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::flows::Workload;
use crate::subject::{Outcome, Subject};

/// Who takes part.
pub struct Contender {
    /// Its name in tables.
    pub name: &'static str,
    /// It takes part in the first round only and is stopped after a while, because it is slow.
    slow: bool,
    /// Runs it once over a workload, from new.
    run: Run,
}

/// How long a slow contender may take over the commands of a workload.
pub const PATIENCE: Duration = Duration::from_secs(20);

type Run = Box<dyn Fn(&Workload, Pass) -> Measured>;

impl Contender {
    /// A contender that `make` makes for a workload.
    pub fn new<S: Subject>(name: &'static str, make: impl Fn(&Workload) -> S + 'static) -> Self {
        Self {
            name,
            slow: false,
            run: Box::new(move |workload, pass| measure(make(workload), workload, pass)),
        }
    }

    /// The same, taking part in the first round only and stopped after [`PATIENCE`].
    #[must_use]
    pub fn slow(mut self) -> Self {
        self.slow = true;
        self
    }
}

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Throughput {
        limit: Option<Duration>,
    },
    /// Of single commands, less what the clock itself takes.
    Latency {
        clock_ns: u64,
    },
}

struct Measured {
    seconds: f64,
    /// How many commands were done in that time.
    done: usize,
    outcome: Outcome,
    /// Nanoseconds of single commands.
    latency: Option<Histogram<u64>>,
}

/// How often to run each.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// For throughput, at least 1.
    pub throughput: usize,
    /// For latency of single commands.
    pub latency: usize,
}

/// What a contender did.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which flow.
    pub flow: &'static str,
    /// Who.
    pub name: &'static str,
    /// How many commands were done: fewer than there are when it was stopped.
    pub commands: usize,
    /// Million commands a second, of the best round.
    pub best: f64,
    /// The same of the median round.
    pub median: f64,
    /// `best` as a multiple of the first contender's.
    pub ratio: f64,
    /// How many trades there were.
    pub trades: u64,
    /// Lots traded.
    pub lots: u64,
    /// Whether it traded as the first contender did; a row that did not counts for nothing.
    pub agrees: bool,
    /// Nanoseconds of single commands, where they were measured.
    pub latency: Option<Latency>,
}

/// Nanoseconds of single commands.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Half are no slower.
    pub p50: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1,000.
    pub p999: u64,
    /// 9,999 of 10,000.
    pub p9999: u64,
    /// The slowest.
    pub max: u64,
}

/// Runs them all; the first is the one that ratios and agreement are judged by.
#[must_use]
pub fn run(workload: &Workload, contenders: &[Contender], rounds: Rounds) -> Vec<Row> {
    let clock_ns = clock_overhead_ns();
    let mut seconds = vec![Vec::new(); contenders.len()];
    let mut outcomes = vec![Outcome::default(); contenders.len()];
    let mut done = vec![0; contenders.len()];
    let mut latencies: Vec<Option<Latency>> = vec![None; contenders.len()];
    for round in 0..rounds.throughput {
        for (index, contender) in contenders.iter().enumerate() {
            if contender.slow && round > 0 {
                continue;
            }
            let limit = contender.slow.then_some(PATIENCE);
            let measured = (contender.run)(workload, Pass::Throughput { limit });
            done[index] = measured.done;
            seconds[index].push(measured.seconds);
            outcomes[index] = measured.outcome;
        }
    }
    for round in 0..rounds.latency {
        for ((contender, latency), &done) in contenders.iter().zip(&mut latencies).zip(&done) {
            if (contender.slow && round > 0) || done < workload.commands.len() {
                continue;
            }
            let measured = (contender.run)(workload, Pass::Latency { clock_ns });
            let new = measured.latency.as_ref().map(summary);
            // The quieter round, judged by its tail.
            if let Some(new) = new
                && latency.is_none_or(|old| new.p999 < old.p999)
            {
                *latency = Some(new);
            }
        }
    }
    for of_one in &mut seconds {
        of_one.sort_by(f64::total_cmp);
    }
    let commands = workload.commands.len();
    let rows = contenders.iter().enumerate().map(|(index, contender)| {
        let rate = |seconds: f64| done[index] as f64 / seconds / 1e6;
        let best = rate(seconds[index][0]);
        Row {
            flow: workload.name,
            name: contender.name,
            commands: done[index],
            best,
            median: rate(seconds[index][seconds[index].len() / 2]),
            ratio: best * seconds[0][0] * 1e6 / commands as f64,
            trades: outcomes[index].trades,
            lots: outcomes[index].lots,
            agrees: outcomes[index] == outcomes[0] && done[index] == commands,
            latency: latencies[index],
        }
    });
    rows.collect()
}

fn measure<S: Subject>(mut subject: S, workload: &Workload, pass: Pass) -> Measured {
    fill(&mut subject, workload);
    let before = subject.outcome();
    let commands = &workload.commands;
    let mut done = commands.len();
    let start = Instant::now();
    let latency = match pass {
        Pass::Throughput { limit: None } => {
            run_all(&mut subject, commands);
            None
        }
        Pass::Throughput { limit: Some(limit) } => {
            done = run_for(&mut subject, commands, limit);
            None
        }
        Pass::Latency { clock_ns } => {
            let mut latency = histogram();
            for place in 0..commands.len() {
                let start = Instant::now();
                subject.step(commands, place);
                let taken = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
                latency.saturating_record(taken.saturating_sub(clock_ns));
            }
            Some(latency)
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    let after = subject.outcome();
    Measured {
        seconds,
        done,
        outcome: Outcome {
            trades: after.trades - before.trades,
            lots: after.lots - before.lots,
        },
        latency,
    }
}

/// Brings a subject to where the measurement starts.
pub fn fill<S: Subject>(subject: &mut S, workload: &Workload) {
    for place in 0..workload.fill.len() {
        subject.step(&workload.fill, place);
    }
}

/// The part that is measured, a function of its own so that a profiler finds it by name.
#[inline(never)]
pub fn run_all<S: Subject>(subject: &mut S, commands: &[tessera_types::Sequenced]) {
    for place in 0..commands.len() {
        subject.step(commands, place);
    }
}

/// As [`run_all`], but for at most about so long; returns how many commands were done.
fn run_for<S: Subject>(
    subject: &mut S,
    commands: &[tessera_types::Sequenced],
    limit: Duration,
) -> usize {
    let start = Instant::now();
    for place in 0..commands.len() {
        if place % 256 == 0 && start.elapsed() > limit {
            return place;
        }
        subject.step(commands, place);
    }
    commands.len()
}

/// What two readings of the clock are apart when nothing is between them, in nanoseconds (median).
#[must_use]
pub fn clock_overhead_ns() -> u64 {
    let mut readings = histogram();
    for _ in 0..100_000 {
        let start = Instant::now();
        readings.saturating_record(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    readings.value_at_quantile(0.5)
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 10_000_000_000, 3).expect("the bounds are in order")
}

fn summary(latency: &Histogram<u64>) -> Latency {
    let at = |quantile| latency.value_at_quantile(quantile);
    Latency {
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        p9999: at(0.9999),
        max: latency.max(),
    }
}
