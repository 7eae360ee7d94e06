//! A journal of records that say nothing.

use std::path::Path;

use tempfile::TempDir;
use tessera_journal::{Config, Journal, Opened, Scan, Verdict};
use tessera_types::{Seq, Timestamp};

/// Size of the segments that are measured: a million slots.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 20;
/// Records that fit into one segment with room to spare for its own records.
pub(crate) const SEGMENT_RECORDS: u64 = 1_000_000;
/// A payload as long as that of the common new order.
pub(crate) const PAYLOAD: [u8; 36] = [7; 36];

/// An open journal in a directory of its own.
pub(crate) struct Bed {
    pub(crate) opened: Opened,
    pub(crate) dir: TempDir,
    seq: u64,
}

impl Bed {
    pub(crate) fn new(parent: &Path) -> Self {
        let dir = tempfile::tempdir_in(parent).expect("a directory that can be written");
        let config = Config {
            segment_bytes: SEGMENT_BYTES,
            ..Config::default()
        };
        let opened = Journal::open(dir.path(), config).expect("a fresh directory");
        Self {
            opened,
            dir,
            seq: 0,
        }
    }

    /// Appends one record of one slot. The caller sees to it that a segment is ready.
    pub(crate) fn append(&mut self) {
        self.seq += 1;
        append(&mut self.opened.writer, self.seq);
    }

    /// Makes everything durable and prepares what is missing.
    pub(crate) fn settle(&mut self) {
        self.opened.writer.publish();
        self.opened.syncer.settle().expect("a disk that works");
        while self
            .opened
            .preparer
            .prepare_if_needed()
            .expect("room on the disk")
        {}
    }

    /// Ends the journal and checks it: fast and wrong must not win.
    pub(crate) fn close(mut self) -> TempDir {
        self.opened.writer.publish();
        let Opened { syncer, .. } = self.opened;
        syncer.finish().expect("a disk that works");
        check(self.dir.path(), self.seq);
        self.dir
    }

    /// Says how many records other code has appended.
    pub(crate) fn appended(&mut self, count: u64) {
        self.seq += count;
    }

    pub(crate) const fn seq(&self) -> u64 {
        self.seq
    }
}

/// Appends the record with this sequence.
#[inline]
pub(crate) fn append(writer: &mut tessera_journal::Writer, seq: u64) {
    let time = Timestamp::from_nanos(seq);
    if let Err(error) = writer.append(Seq::new(seq), time, 1, std::hint::black_box(&PAYLOAD)) {
        panic!("record {seq}: {error}");
    }
}

/// Panics unless the journal in `directory` is clean and has `commands` commands.
pub(crate) fn check(directory: &Path, commands: u64) {
    let report = Scan::open(directory)
        .and_then(|scan| scan.verify())
        .expect("a journal");
    let found = (report.verdict, report.counts.commands);
    assert_eq!(found, (Verdict::Clean, commands));
}
