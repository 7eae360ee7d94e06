//! Latencies of a run: the histogram, its percentiles, the table and the log file.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2Serializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use serde::Serialize;

/// Latencies from 1 ns to 60 s with three significant digits; what is beyond counts as the bound.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        Self(
            Histogram::new_with_bounds(1, MAX_NS, 3)
                .expect("the bounds are constants that fit each other"),
        )
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(ns.max(1));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        // Bounds and digits are the same, so every bucket fits.
        let _ = self.0.add(&other.0);
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let at = |quantile| self.0.value_at_quantile(quantile);
        Percentiles {
            count: self.0.len(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p99_9_ns: at(0.999),
            p99_99_ns: at(0.9999),
            max_ns: self.0.max(),
        }
    }

    /// Writes an HDR interval log with one histogram, which the usual viewers read.
    pub(crate) fn write_log(
        &self,
        path: &Path,
        started: SystemTime,
        took: Duration,
    ) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        let mut serializer = V2Serializer::new();
        let failed = |error: &dyn std::fmt::Debug| io::Error::other(format!("{error:?}"));
        let mut writer = IntervalLogWriterBuilder::new()
            .add_comment("order-to-acknowledgement latency in nanoseconds, tessera load")
            .with_start_time(started)
            .with_max_value_divisor(1e6) // the readers' convention: milliseconds
            .begin_log_with(&mut file, &mut serializer)
            .map_err(|error| failed(&error))?;
        writer
            .write_histogram(&self.0, Duration::ZERO, took, None)
            .map_err(|error| failed(&error))?;
        file.flush()
    }
}

const MAX_NS: u64 = 60_000_000_000;

/// The figures of a histogram, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p90_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p99_9_ns: u64,
    pub(crate) p99_99_ns: u64,
    pub(crate) max_ns: u64,
}

impl Percentiles {
    fn rows(&self) -> [(&'static str, u64); 6] {
        [
            ("p50", self.p50_ns),
            ("p90", self.p90_ns),
            ("p99", self.p99_ns),
            ("p99.9", self.p99_9_ns),
            ("p99.99", self.p99_99_ns),
            ("max", self.max_ns),
        ]
    }
}

/// Columns of percentiles side by side, in microseconds.
pub(crate) fn table(columns: &[(&str, Percentiles)]) -> String {
    let mut lines = format!("{:<8}", "us");
    for (title, _) in columns {
        lines.push_str(&format!(" {title:>16}"));
    }
    for (row, (name, _)) in Percentiles::default().rows().into_iter().enumerate() {
        lines.push_str(&format!("\n{name:<8}"));
        for (_, percentiles) in columns {
            let (_, ns) = percentiles.rows()[row];
            let us = format!("{}.{:03}", ns / 1_000, ns % 1_000);
            lines.push_str(&format!(" {us:>16}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;

    fn thousand() -> Latencies {
        let mut latencies = Latencies::new();
        for us in 1..=1_000 {
            latencies.record(Duration::from_micros(us));
        }
        latencies
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let found = thousand().percentiles();
        assert_eq!(found.count, 1_000);
        for (value, us) in [
            (found.p50_ns, 500),
            (found.p90_ns, 900),
            (found.p99_ns, 990),
            (found.p99_9_ns, 999),
            (found.p99_99_ns, 1_000),
            (found.max_ns, 1_000),
        ] {
            let exact = us * 1_000;
            assert!(
                value.abs_diff(exact) <= exact / 1_000,
                "{value} for {exact}"
            );
        }
    }

    #[test]
    fn what_is_out_of_bounds_counts_as_the_bound() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::ZERO);
        latencies.record(Duration::from_secs(3_600));
        let found = latencies.percentiles();
        assert_eq!((found.count, found.p50_ns), (2, 1));
        assert!(found.max_ns >= MAX_NS);
    }

    #[test]
    fn sums_are_the_same_as_one_histogram() {
        let (mut one, all) = (Latencies::new(), thousand());
        one.add(&all);
        one.add(&Latencies::new());
        assert_eq!(one.percentiles(), all.percentiles());
    }

    #[test]
    fn tables_put_columns_side_by_side() {
        let left = Percentiles {
            count: 3,
            p50_ns: 1_000,
            p90_ns: 20_500,
            p99_ns: 99_999,
            p99_9_ns: 1_000_000,
            p99_99_ns: 1_000_001,
            max_ns: 60_000_000_000,
        };
        expect![[r#"
            us           order-to-ack       quinn echo
            p50                 1.000            0.000
            p90                20.500            0.000
            p99                99.999            0.000
            p99.9            1000.000            0.000
            p99.99           1000.001            0.000
            max          60000000.000            0.000"#]]
        .assert_eq(&table(&[
            ("order-to-ack", left),
            ("quinn echo", Percentiles::default()),
        ]));
    }

    #[test]
    fn the_log_file_holds_the_histogram() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("load.hdr");
        thousand()
            .write_log(&path, SystemTime::now(), Duration::from_secs(2))
            .unwrap();
        let text = std::fs::read(&path).unwrap();
        let intervals: Vec<_> = IntervalLogIterator::new(&text)
            .filter_map(|entry| match entry.unwrap() {
                LogEntry::Interval(interval) => Some((interval.duration(), interval.max())),
                _ => None,
            })
            .collect();
        // The log counts in milliseconds, as its readers expect.
        assert_eq!(intervals.len(), 1);
        assert_eq!(intervals[0].0, Duration::from_secs(2));
        assert!((intervals[0].1 - 1.0).abs() < 0.001, "{}", intervals[0].1);
    }
}
