//! How long does the journal thread take per record, beside the same code into memory that stays in a cache
//! and into a bare mapping of the same kind?

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::Plan;
use crate::bare::{Encoder, Zeros, cached};
use crate::bed::{Bed, SEGMENT_RECORDS, append};
use crate::table::{Goal, Table};

/// Records timed together: a page.
const PAGE: u64 = 64;
/// Records between two calls of `publish`, as the journal thread makes them when it has much to do.
const BATCH: u64 = 256;
/// A whole number of batches.
const RECORDS: u64 = SEGMENT_RECORDS / BATCH * 9 / 10 * BATCH;
/// Half of a second-level cache or less.
const RING_BYTES: u64 = 256 << 10;

pub(crate) fn run(plan: &Plan, table: &mut Table) {
    let mut best = [f64::INFINITY; 3];
    let (mut ours_pages, mut bare_pages) = (Quantiles::worst(), Quantiles::worst());
    let mut keep = |slot: usize, spent: Duration| {
        best[slot] = best[slot].min(per_record(spent, RECORDS));
    };
    for _ in 0..plan.rounds {
        let mut ring = Encoder::new(cached(RING_BYTES));
        keep(0, timed(|| (0..RECORDS).for_each(|_| ring.append())));

        let map = Zeros::segment(&plan.dir);
        let mut bare = Encoder::new(map.region.clone());
        keep(1, timed(|| (0..RECORDS).for_each(|_| bare.append())));

        let mut bed = Bed::new(&plan.dir);
        bed.settle();
        keep(
            2,
            timed(|| {
                for _ in 0..RECORDS / BATCH {
                    (0..BATCH).for_each(|_| bed.append());
                    bed.opened.writer.publish();
                }
            }),
        );
        bed.close();

        let map = Zeros::segment(&plan.dir);
        let mut bare = Encoder::new(map.region.clone());
        bare_pages.keep(&pages(|| bare.append()));
        let mut bed = Bed::new(&plan.dir);
        bed.settle();
        ours_pages.keep(&pages(|| bed.append()));
        bed.close();
    }
    let [ring, bare, ours] = best.map(|ns| 1e3 / ns);
    let unit = "M records/s";
    let what = "append, one thread, beside the same code into 256 KiB";
    table.beside(what, unit, ours, ring, Goal::RatioAtLeast(0.6));
    let what = "append, one thread, beside the same code into a bare mapping";
    table.beside(what, unit, ours, bare, Goal::RatioAtLeast(0.85));
    let what = "append, 64 records, p50, beside the bare mapping";
    table.beside(what, "ns", ours_pages.p50, bare_pages.p50, Goal::None);
    let what = "append, 64 records, p99.9, beside the bare mapping";
    table.beside(
        what,
        "ns",
        ours_pages.p999,
        bare_pages.p999,
        Goal::RatioAtMost(3.0),
    );
    beside_a_sync(plan, table);
}

/// The same while another thread syncs as fast as it can.
fn beside_a_sync(plan: &Plan, table: &mut Table) {
    let (mut ours, mut bare) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..plan.rounds {
        let map = Zeros::segment(&plan.dir);
        let mut encoder = Encoder::new(map.region.clone());
        let done = AtomicBool::new(false);
        let spent = thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    map.file.sync_data().expect("a disk that works");
                }
            });
            let spent = timed(|| (0..RECORDS).for_each(|_| encoder.append()));
            done.store(true, Ordering::Relaxed);
            spent
        });
        bare = bare.min(per_record(spent, RECORDS));

        let mut bed = Bed::new(&plan.dir);
        bed.settle();
        let first = bed.seq();
        let (writer, syncer) = (&mut bed.opened.writer, &mut bed.opened.syncer);
        let done = AtomicBool::new(false);
        let spent = thread::scope(|scope| {
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    syncer.sync_once().expect("a disk that works");
                }
            });
            let spent = timed(|| {
                for batch in 0..RECORDS / BATCH {
                    let from = first + batch * BATCH;
                    (from + 1..=from + BATCH).for_each(|seq| append(writer, seq));
                    writer.publish();
                }
            });
            done.store(true, Ordering::Relaxed);
            spent
        });
        bed.appended(RECORDS);
        ours = ours.min(per_record(spent, RECORDS));
        bed.close();
    }
    let what = "append while another thread syncs without a pause";
    table.beside(what, "M records/s", 1e3 / ours, 1e3 / bare, Goal::None);
}

/// Nanoseconds of pages of records.
struct Quantiles {
    p50: f64,
    p999: f64,
}

impl Quantiles {
    const fn worst() -> Self {
        Self {
            p50: f64::INFINITY,
            p999: f64::INFINITY,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a moment")]
    fn keep(&mut self, found: &Histogram<u64>) {
        self.p50 = self.p50.min(found.value_at_quantile(0.5) as f64);
        self.p999 = self.p999.min(found.value_at_quantile(0.999) as f64);
    }
}

fn pages(mut append: impl FnMut()) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("three digits");
    for _ in 0..RECORDS / PAGE {
        let spent = timed(|| (0..PAGE).for_each(|_| append()));
        histogram.saturating_record(u64::try_from(spent.as_nanos()).expect("short"));
    }
    histogram
}

pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

#[expect(clippy::cast_precision_loss, reason = "a million records")]
pub(crate) fn per_record(spent: Duration, records: u64) -> f64 {
    spent.as_secs_f64() * 1e9 / records as f64
}
