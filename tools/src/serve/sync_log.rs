//! `sync.hlog`: how long syncs took and how many records they carried, as an HDR interval log.
//!
//! The sync thread only notes numbers; the thread that prepares segments writes the file, about once a
//! second. The file is disposable: it is not synced, and when it cannot be written it is left alone.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2Serializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::stats::StageHistogram;

/// Writes what two histograms have grown by.
pub(crate) struct SyncLog {
    path: PathBuf,
    parts: [Part; 2],
    interval: Duration,
    begun: Instant,
    /// An error has been said.
    failed: bool,
}

struct Part {
    tag: &'static str,
    histogram: StageHistogram,
    written: Histogram<u64>,
}

impl SyncLog {
    /// The log of a data directory. What an earlier start wrote stays, up to a size.
    pub(crate) fn new(
        data: &Path,
        sync_ns: StageHistogram,
        group_records: StageHistogram,
        interval: Duration,
    ) -> Self {
        let part = |tag, histogram: StageHistogram| Part {
            tag,
            written: histogram.snapshot(),
            histogram,
        };
        Self {
            path: data.join("sync.hlog"),
            parts: [
                part("sync_ns", sync_ns),
                part("group_records", group_records),
            ],
            interval,
            begun: Instant::now(),
            failed: false,
        }
    }

    /// Appends an interval, if one is over and there is anything to say.
    pub(crate) fn write_if_due(&mut self) {
        if self.begun.elapsed() >= self.interval {
            self.write();
        }
    }

    /// Appends what there is.
    pub(crate) fn write(&mut self) {
        let took = self.begun.elapsed();
        self.begun = Instant::now();
        if let Err(error) = self.append(took)
            && !std::mem::replace(&mut self.failed, true)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot write sync times");
        }
    }

    fn append(&mut self, took: Duration) -> io::Result<()> {
        let failed = |error: &dyn std::fmt::Debug| io::Error::other(format!("{error:?}"));
        let mut grown = Vec::new();
        for part in &mut self.parts {
            let now = part.histogram.snapshot();
            let mut new = now.clone();
            new.subtract(&part.written)
                .map_err(|error| failed(&error))?;
            part.written = now;
            if !new.is_empty() {
                grown.push((part.tag, new));
            }
        }
        if grown.is_empty() {
            return Ok(());
        }
        let mut file = BufWriter::new(self.open()?);
        let mut serializer = V2Serializer::new();
        let started = SystemTime::now() - took;
        let since_1970 = started
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let mut writer = IntervalLogWriterBuilder::new()
            .with_max_value_divisor(1.0)
            .begin_log_with(&mut file, &mut serializer)
            .map_err(|error| failed(&error))?;
        for (tag, histogram) in &grown {
            writer
                .write_histogram(histogram, since_1970, took, Tag::new(tag))
                .map_err(|error| failed(&error))?;
        }
        file.flush()
    }

    fn open(&self) -> io::Result<File> {
        let options = OpenOptions::new().append(true).create(true).clone();
        let file = options.open(&self.path)?;
        if file.metadata()?.len() > MAX_BYTES {
            // About a month of seconds; the old half is of no more use than the file as a whole.
            file.set_len(0)?;
        }
        Ok(file)
    }
}

const MAX_BYTES: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_hold_what_came_since_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let (sync, group) = (StageHistogram::default(), StageHistogram::default());
        let mut note = (sync.recorder(), group.recorder());
        let mut log = SyncLog::new(dir.path(), sync, group, Duration::ZERO);
        log.write_if_due();
        assert!(!dir.path().join("sync.hlog").exists(), "nothing to say");
        for ns in [100, 200, 300] {
            note.0.record(ns);
            note.1.record(7);
        }
        note.0.flush();
        note.1.flush();
        log.write_if_due();
        note.0.record(400);
        note.0.flush();
        log.write_if_due();
        let text = std::fs::read_to_string(dir.path().join("sync.hlog")).unwrap();
        let tags: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("Tag=")?.split(',').next())
            .collect();
        assert_eq!(tags, ["sync_ns", "group_records", "sync_ns"]);
    }
}
