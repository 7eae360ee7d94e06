//! How long from the first record of a group to its acknowledgement, beside a bare store into the same kind
//! of mapping with an fdatasync, and beside pwrite with an fdatasync?

use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use hdrhistogram::Histogram;
use tessera_journal::slot::SLOT_BYTES;

use crate::Plan;
use crate::bare::Zeros;
use crate::bed::Bed;
use crate::table::{Goal, Table};

/// Groups that ours and the probes do in turn.
const TURN: u64 = 20;
const GROUPS: u64 = 1_000;

pub(crate) fn run(plan: &Plan, table: &mut Table) {
    for records in [1_u64, 16, 256] {
        // Best of the rounds, each quantile by itself: ours, bare mapping, pwrite.
        let mut best = [[f64::INFINITY; 3]; 3];
        for _ in 0..plan.rounds.min(3) {
            let found = round(plan, records);
            for (best, found) in best.iter_mut().zip(&found) {
                for (best, quantile) in best.iter_mut().zip([0.5, 0.99, 0.999]) {
                    *best = best.min(micros(found.value_at_quantile(quantile)));
                }
            }
        }
        let [ours, bare, pwrite] = best;
        for (index, name, goal) in [
            (0, "p50", Goal::RatioAtMost(1.2)),
            (1, "p99", Goal::RatioAtMost(1.5)),
            (2, "p99.9", Goal::None),
        ] {
            let what = format!("group commit of {records}, {name}, beside store + fdatasync");
            table.beside(&what, "µs", ours[index], bare[index], goal);
        }
        for (index, name) in [(0, "p50"), (1, "p99")] {
            let what = format!("group commit of {records}, {name}, beside pwrite + fdatasync");
            table.beside(&what, "µs", ours[index], pwrite[index], Goal::None);
        }
    }
}

fn round(plan: &Plan, records: u64) -> [Histogram<u64>; 3] {
    let mut found =
        [(); 3].map(|()| Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("three digits"));
    let mut bed = Bed::new(&plan.dir);
    bed.settle();
    let map = Zeros::segment(&plan.dir);
    let file = Zeros::segment(&plan.dir);
    let bytes = usize::try_from(records).expect("small") * SLOT_BYTES;
    let (slot, group) = ([7; SLOT_BYTES], vec![7; bytes]);
    let mut at = 0;
    for _ in 0..GROUPS / TURN {
        for _ in 0..TURN {
            let started = Instant::now();
            (0..records).for_each(|_| bed.append());
            bed.opened.writer.publish();
            bed.opened.syncer.sync_once().expect("a disk that works");
            record(&mut found[0], started);
        }
        let begin = at;
        for _ in 0..TURN {
            let started = Instant::now();
            for slot_at in (at..at + bytes).step_by(SLOT_BYTES) {
                map.region.store_slot(slot_at, &slot);
            }
            map.file.sync_data().expect("a disk that works");
            record(&mut found[1], started);
            at += bytes;
        }
        at = begin;
        for _ in 0..TURN {
            let started = Instant::now();
            file.file
                .write_all_at(&group, at as u64)
                .expect("room on the disk");
            file.file.sync_data().expect("a disk that works");
            record(&mut found[2], started);
            at += bytes;
        }
    }
    bed.close();
    found
}

fn record(histogram: &mut Histogram<u64>, started: Instant) {
    histogram.saturating_record(u64::try_from(started.elapsed().as_nanos()).expect("short"));
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a moment")]
fn micros(ns: u64) -> f64 {
    ns as f64 / 1e3
}
