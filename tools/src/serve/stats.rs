//! Latency histograms of the stages of an order's way, filled by the threads that know.

use std::sync::{Arc, Mutex};

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency told apart: one minute.
const MAX_NS: u64 = 60_000_000_000;
/// Samples kept back while a reader holds the histogram.
const MAX_PENDING: usize = 16_384;

/// A histogram of nanoseconds, 1 ns to 60 s with three digits, that one thread fills and others read.
#[derive(Clone, Debug)]
pub struct StageHistogram(Arc<Mutex<Histogram<u64>>>);

impl Default for StageHistogram {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(empty())))
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_NS, 3)
        .expect("1 ns to 60 s with three digits is a valid range")
}

impl StageHistogram {
    /// A copy of what was recorded so far.
    #[must_use]
    pub fn snapshot(&self) -> Histogram<u64> {
        match self.0.lock() {
            Ok(histogram) => histogram.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    /// The writing end.
    pub(crate) fn recorder(&self) -> Recorder {
        Recorder {
            pending: Vec::with_capacity(MAX_PENDING),
            shared: self.clone(),
        }
    }
}

/// The writing end of a [`StageHistogram`]: it never waits for a reader.
#[derive(Debug)]
pub(crate) struct Recorder {
    pending: Vec<(u64, u64)>,
    shared: StageHistogram,
}

impl Recorder {
    /// Notes one latency.
    pub(crate) fn record(&mut self, ns: u64) {
        self.record_n(ns, 1);
    }

    /// Notes `count` equal latencies.
    pub(crate) fn record_n(&mut self, ns: u64, count: u64) {
        if self.pending.len() == MAX_PENDING {
            self.flush();
        }
        if self.pending.len() < MAX_PENDING {
            self.pending.push((ns, count));
        }
    }

    /// Moves the notes to the shared histogram, unless a reader has it just now.
    pub(crate) fn flush(&mut self) {
        if let Ok(mut histogram) = self.shared.0.try_lock() {
            for (ns, count) in self.pending.drain(..) {
                histogram.saturating_record_n(ns.clamp(1, MAX_NS), count);
            }
        }
    }
}

/// Percentiles of one stage in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// How many values.
    pub count: u64,
    /// Median.
    pub p50_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p99_9_ns: u64,
    /// Largest.
    pub max_ns: u64,
}

impl From<&Histogram<u64>> for Percentiles {
    fn from(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        Self {
            count: histogram.len(),
            p50_ns: histogram.value_at_quantile(0.5),
            p99_ns: histogram.value_at_quantile(0.99),
            p99_9_ns: histogram.value_at_quantile(0.999),
            max_ns: histogram.max(),
        }
    }
}

/// The stages of an order's way through the exchange, as `ARCHITECTURE.md` numbers its time points.
#[derive(Clone, Debug, Default)]
pub struct StageHistograms {
    /// Sequenced to matched (t3 to t4).
    pub matching: StageHistogram,
    /// Sequenced to published in the mapping (t3 to t5).
    pub framing: StageHistogram,
    /// Sequenced to durable (t3 to t6), per command as the age of the oldest of its batch.
    pub durability: StageHistogram,
    /// Time of one sync.
    pub sync: StageHistogram,
    /// Records of one sync, a number and no time.
    pub group_records: StageHistogram,
    /// Sequenced to handed to the feed (t3 to t8).
    pub tape: StageHistogram,
}
