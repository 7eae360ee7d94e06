//! A journal over a disk in memory, driven from one thread, with commands that say which they are.

use std::ops::ControlFlow;
use std::sync::Arc;

use tessera_journal::segment::HEADER_BYTES;
use tessera_journal::storage::memory::MemoryStorage;
use tessera_journal::{
    AppendError, Body, Config, Durability, Identity, Journal, OpenError, Opened, Report, Scan,
};
use tessera_types::{Seq, Timestamp};

/// `count`, times what `cargo xtask faults` asks for.
pub(crate) fn scaled(count: u64) -> u64 {
    let scale = std::env::var("TESSERA_FAULT_SCALE").map_or(1, |text| text.parse().unwrap());
    count * scale
}

pub(crate) const SEGMENT_BYTES: u64 = 64 * 1024;
pub(crate) const HEADER: usize = HEADER_BYTES;
pub(crate) const FIRST: &str = "00000000000000000001.jnl";

pub(crate) fn config() -> Config {
    Config {
        segment_bytes: SEGMENT_BYTES,
        segments_ahead: 1,
        identity: Some(Identity {
            cluster_id: *b"a test's cluster",
            hash_seed: [7; 32],
        }),
        wall_clock: || Timestamp::from_nanos(1_000_000),
        ..Config::default()
    }
}

pub(crate) fn with(durability: Durability) -> Config {
    Config {
        durability,
        ..config()
    }
}

pub(crate) fn open(disk: &MemoryStorage, config: Config) -> Result<Opened, OpenError> {
    Journal::open_on(Arc::new(disk.clone()), config)
}

/// An open journal and the last command in it.
pub(crate) struct Bed {
    pub opened: Opened,
    pub last: u64,
}

impl Bed {
    pub(crate) fn new(disk: &MemoryStorage) -> Self {
        Self::with(disk, config())
    }

    pub(crate) fn with(disk: &MemoryStorage, config: Config) -> Self {
        Self::from(open(disk, config).unwrap())
    }

    pub(crate) fn from(opened: Opened) -> Self {
        let last = opened.report.last_seq.get();
        Self { opened, last }
    }

    /// Appends the next command, preparing a segment when one is missing.
    pub(crate) fn try_append(&mut self, bytes: usize) -> Result<(), AppendError> {
        let seq = self.last + 1;
        let (time, kind) = (Timestamp::from_nanos(seq * 10), kind_of(seq));
        let payload = payload(seq, bytes);
        loop {
            match self
                .opened
                .writer
                .append(Seq::new(seq), time, kind, &payload)
            {
                Err(AppendError::Stalled) => match self.opened.preparer.prepare_if_needed() {
                    Ok(made) => assert!(made, "stalled with a segment ready"),
                    Err(error) => return Err(AppendError::NoSegment(error.to_string())),
                },
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        self.last = seq;
        Ok(())
    }

    pub(crate) fn append(&mut self, bytes: usize) {
        self.try_append(bytes).unwrap();
    }

    pub(crate) fn append_many(&mut self, count: u64, bytes: usize) {
        (0..count).for_each(|_| self.append(bytes));
    }

    pub(crate) fn publish(&mut self) {
        self.opened.writer.publish();
    }

    /// Publishes and syncs; returns what may be acknowledged now.
    pub(crate) fn commit(&mut self) -> Seq {
        self.publish();
        self.opened.syncer.sync_once().unwrap();
        self.opened.status.durable()
    }

    /// The clean end.
    pub(crate) fn finish(mut self) {
        self.publish();
        self.opened.syncer.finish().unwrap();
    }
}

/// Commands of a small journal: `count` of them, with payloads of `bytes`, all synced, cleanly ended.
pub(crate) fn written(count: u64, bytes: usize) -> MemoryStorage {
    let disk = MemoryStorage::new();
    let mut bed = Bed::new(&disk);
    for _ in 0..count {
        bed.append(bytes);
        if bed.last.is_multiple_of(16) {
            bed.commit();
        }
    }
    bed.finish();
    disk
}

pub(crate) fn kind_of(seq: u64) -> u8 {
    u8::try_from(seq % 127).unwrap() + 1
}

/// Bytes that say which command they are of.
pub(crate) fn payload(seq: u64, bytes: usize) -> Vec<u8> {
    seq.to_le_bytes().into_iter().cycle().take(bytes).collect()
}

pub(crate) fn verify(disk: &MemoryStorage) -> Report {
    Scan::on(Arc::new(disk.clone())).verify().unwrap()
}

/// Commands of an open journal as it was at its start, checked to be the ones that were written.
pub(crate) fn replayed(opened: &Opened) -> Vec<u64> {
    let mut seqs = Vec::new();
    let broke = opened.replay.run(|record| {
        if let Ok(Body::Command(bytes)) = record.body() {
            let seq = record.seq.get();
            assert_eq!(bytes, payload(seq, bytes.len()), "payload of {seq}");
            assert_eq!((record.kind, record.time.nanos()), (kind_of(seq), seq * 10));
            seqs.push(seq);
        }
        ControlFlow::<()>::Continue(())
    });
    assert!(broke.unwrap().is_none());
    assert!(
        seqs.iter().copied().eq(1..=seqs.len() as u64),
        "a gapless prefix"
    );
    seqs
}

/// Opens what is there, checks that it holds every acknowledged command, that it can go on, and that the
/// result is clean. Returns the last command found.
pub(crate) fn recovers(disk: &MemoryStorage, acknowledged: Seq) -> u64 {
    let mut bed = Bed::new(disk);
    let found = replayed(&bed.opened).len() as u64;
    assert_eq!(found, bed.last);
    assert!(
        found >= acknowledged.get(),
        "lost: {acknowledged} acknowledged, {found} found"
    );
    bed.append(40);
    assert_eq!(bed.commit().get(), found + 1);
    bed.finish();
    let report = verify(disk);
    assert_eq!(report.findings, []);
    assert_eq!(
        (report.last_seq.get(), report.watermark_seq.get()),
        (found + 1, found + 1)
    );
    found
}
