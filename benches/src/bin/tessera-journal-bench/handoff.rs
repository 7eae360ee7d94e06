//! What does the core pay for handing a command to the journal thread, while that thread writes and the sync
//! thread syncs?

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tessera_benches::flows::Flow;
use tessera_journal::Opened;
use tessera_ring::spsc;
use tessera_types::{Seq, Sequenced, Timestamp, wire};

use crate::Plan;
use crate::bed::Bed;
use crate::table::{Goal, Table};

const COMMANDS: usize = 400_000;
/// What the core would do with a command otherwise: a command each two microseconds.
const GAP: Duration = Duration::from_micros(2);

pub(crate) fn run(plan: &Plan, table: &mut Table) {
    let commands = Flow::W1.workload(COMMANDS, 23).commands;
    let clock = clock_cost();
    let mut best = [f64::INFINITY; 3];
    for _ in 0..plan.rounds.min(3) {
        let found = round(plan, &commands);
        for (best, quantile) in best.iter_mut().zip([0.5, 0.99, 0.999]) {
            let ns = found.value_at_quantile(quantile).saturating_sub(clock);
            *best = best.min(f64::from(u32::try_from(ns).unwrap_or(u32::MAX)));
        }
    }
    table.alone("hand-off seen by the core, p50", "ns", best[0], Goal::None);
    table.alone("hand-off seen by the core, p99", "ns", best[1], Goal::None);
    table.alone(
        "hand-off seen by the core, p99.9",
        "ns",
        best[2],
        Goal::AtMost(500.0),
    );
}

/// One command each [`GAP`] into the ring; the time of each push.
fn round(plan: &Plan, commands: &[Sequenced]) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("three digits");
    let mut bed = Bed::new(&plan.dir);
    bed.settle();
    let Opened { writer, syncer, .. } = &mut bed.opened;
    let (mut producer, mut consumer) = spsc::channel::<Sequenced>(1 << 16);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let done = &done;
        scope.spawn(move || {
            let mut payload = Vec::with_capacity(wire::MAX_PAYLOAD);
            let mut seq = 0;
            loop {
                let mut moved = 0;
                while moved < 256
                    && let Some(sequenced) = consumer.try_pop()
                {
                    seq += 1;
                    payload.clear();
                    let time = Timestamp::from_nanos(seq);
                    let kind = wire::encode_command(&sequenced.command, time, &mut payload)
                        .expect("a command that fits");
                    writer
                        .append(Seq::new(seq), time, kind, &payload)
                        .expect("room in the segment");
                    moved += 1;
                }
                if moved > 0 {
                    writer.publish();
                } else if consumer.is_drained() {
                    break;
                } else {
                    thread::yield_now();
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                if syncer.sync_once().expect("a disk that works").is_none() {
                    thread::yield_now();
                }
            }
        });
        let mut due = Instant::now();
        for command in commands {
            let command = command.clone();
            due += GAP;
            while Instant::now() < due {
                std::hint::spin_loop();
            }
            let started = Instant::now();
            let pushed = producer.try_push(command);
            let spent = started.elapsed();
            assert!(pushed.is_ok(), "the ring is larger than the load");
            histogram.saturating_record(u64::try_from(spent.as_nanos()).expect("short"));
        }
        drop(producer);
    });
    bed.appended(commands.len() as u64);
    bed.close();
    histogram
}

/// Nanoseconds of two readings of the clock with nothing between them, the median.
fn clock_cost() -> u64 {
    let mut histogram =
        Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("three digits");
    for _ in 0..100_000 {
        let started = Instant::now();
        let spent = started.elapsed();
        histogram.saturating_record(u64::try_from(spent.as_nanos()).expect("short"));
    }
    histogram.value_at_quantile(0.5)
}
