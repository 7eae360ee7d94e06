//! The sync thread's part: one fdatasync per group, then the watermark.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tessera_types::Seq;

use crate::Durability;
use crate::segment::Watermark;
use crate::status::{Handover, Position, Segment, Shared};

/// Makes published records durable. Owned by one thread.
pub struct Syncer {
    shared: Arc<Shared>,
    current: Option<Arc<Segment>>,
    generation: u64,
    synced: Position,
    watermark_is_dirty: bool,
    queue: VecDeque<Handover>,
}

/// What one group commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synced {
    /// Last command that may be acknowledged now.
    pub durable: Seq,
    /// Records in the group, the journal's own included.
    pub records: u64,
    /// Nanoseconds that the synced calls took.
    pub sync_ns: u64,
}

/// Why nothing will be acknowledged any more.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// A sync, or the rename before it, failed. The file system may have dropped the pages, so there is
    /// no second attempt.
    #[error(
        "{what} of segment {segment_no}: {source}; nothing after record {durable} is acknowledged"
    )]
    Io {
        /// Which call.
        what: &'static str,
        /// Of which segment.
        segment_no: u64,
        /// The last command that is known to be on disk.
        durable: Seq,
        /// What the system said.
        source: io::Error,
    },
    /// The segment file was truncated, replaced or removed under the running process.
    #[error("segment {segment_no} {what}; nothing after record {durable} is acknowledged")]
    Changed {
        /// Which segment.
        segment_no: u64,
        /// What happened to it.
        what: &'static str,
        /// The last command that is known to be on disk.
        durable: Seq,
    },
    /// The journal failed before.
    #[error("the journal has failed before and makes no more progress")]
    Poisoned,
}

impl Syncer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        current: Option<Arc<Segment>>,
        generation: u64,
        synced: Position,
    ) -> Self {
        let queue = VecDeque::with_capacity(64);
        Self {
            shared,
            current,
            generation,
            synced,
            watermark_is_dirty: true,
            queue,
        }
    }

    /// Syncs what is published, writes the watermark and advances `durable`. Nothing if there is nothing
    /// new. Waking those who wait for `durable` is the caller's part.
    ///
    /// # Errors
    /// [`SyncError`]; the first one poisons the journal for good.
    pub fn sync_once(&mut self) -> Result<Option<Synced>, SyncError> {
        if self.shared.is_poisoned() {
            return Err(SyncError::Poisoned);
        }
        let target = self.shared.position();
        if target == self.synced || target == Position::default() {
            return Ok(None);
        }
        let started = Instant::now();
        self.cross_borders(&target)?;
        let Some(current) = self.current.clone() else {
            return Ok(None);
        };
        self.sync_data(&current)?;
        self.write_watermark(&current, &target);
        if self.shared.config.durability == Durability::Strict {
            self.sync_data(&current)?;
            self.watermark_is_dirty = false;
        }
        let records = target.records - self.synced.records;
        self.synced = target;
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        self.shared.set_synced(target.seq);
        if self.shared.config.durability != Durability::Async && self.shared.is_local() {
            self.shared.set_durable(target.seq);
        }
        let sync_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Ok(Some(Synced {
            durable: target.seq,
            records,
            sync_ns,
        }))
    }

    /// Brings everything to disk, the watermark included, so that the next start finds nothing in doubt.
    ///
    /// # Errors
    /// As [`Syncer::sync_once`].
    pub fn settle(&mut self) -> Result<(), SyncError> {
        while self.sync_once()?.is_some() {}
        if self.watermark_is_dirty
            && let Some(current) = self.current.clone()
        {
            self.sync_data(&current)?;
            self.watermark_is_dirty = false;
        }
        Ok(())
    }

    /// The clean end: settles, and says so in the `LIVE` page. Call it after the writer's last
    /// `publish`; the lock is free when every part of the journal is dropped.
    ///
    /// # Errors
    /// As [`Syncer::sync_once`].
    pub fn finish(mut self) -> Result<Seq, SyncError> {
        self.settle()?;
        self.shared.live.set_closed();
        self.shared.ready().closed = true;
        self.shared.want_segment();
        Ok(self.synced.seq)
    }

    /// Looks whether the live segment is still the file that was opened; once a second is enough.
    ///
    /// # Errors
    /// [`SyncError::Changed`], which poisons the journal.
    pub fn check_file(&self) -> Result<(), SyncError> {
        let Some(current) = &self.current else {
            return Ok(());
        };
        let stat = current
            .file
            .stat()
            .map_err(|source| self.failed("stat", current, source))?;
        let what = if stat.bytes != current.header.segment_bytes {
            "was truncated or extended by someone else"
        } else if stat.links == 0 {
            "was removed or replaced by someone else"
        } else {
            return Ok(());
        };
        self.shared.poison();
        let segment_no = current.header.segment_no;
        Err(SyncError::Changed {
            segment_no,
            what,
            durable: self.synced.seq,
        })
    }

    /// Seals on disk every segment that `target` has left behind: its data, then its last watermark, then
    /// the directory that names the next one. Only after that may `durable` pass the border.
    fn cross_borders(&mut self, target: &Position) -> Result<(), SyncError> {
        while self
            .current
            .as_ref()
            .is_none_or(|c| c.header.segment_no < target.segment_no)
        {
            if self.queue.is_empty() {
                let mut sealed = self.shared.sealed();
                self.queue.extend(sealed.drain(..));
            }
            let Some(Handover { end, next }) = self.queue.pop_front() else {
                debug_assert!(
                    false,
                    "a position was published before its segment was handed over"
                );
                return Ok(());
            };
            if let Some(old) = self.current.take() {
                self.sync_data(&old)?;
                // Synced at once, so that a sealed segment has no slot caught half written.
                self.write_watermark(&old, &end);
                self.sync_data(&old)?;
            }
            if let Err(source) = self.shared.storage.sync_dir("") {
                return Err(self.failed("sync of the directory", &next, source));
            }
            self.generation = next.watermark_generation();
            self.current = Some(next);
        }
        Ok(())
    }

    fn sync_data(&self, segment: &Segment) -> Result<(), SyncError> {
        segment
            .file
            .sync_data()
            .map_err(|source| self.failed("fdatasync", segment, source))
    }

    fn failed(&self, what: &'static str, segment: &Segment, source: io::Error) -> SyncError {
        self.shared.poison();
        let segment_no = segment.header.segment_no;
        SyncError::Io {
            what,
            segment_no,
            durable: self.synced.seq,
            source,
        }
    }

    fn write_watermark(&mut self, segment: &Segment, position: &Position) {
        self.generation += 1;
        let mark = Watermark {
            generation: self.generation,
            durable_seq: position.seq,
            durable_offset: position.offset,
            chain: position.chain,
        };
        segment
            .region
            .store_slot(Watermark::slot_offset(self.generation), &mark.encode());
        self.watermark_is_dirty = true;
    }
}

impl Segment {
    /// Generation of the watermark that counts.
    pub(crate) fn watermark_generation(&self) -> u64 {
        crate::segment::WATERMARK_AT
            .iter()
            .filter_map(|at| Watermark::decode(&self.region.load_slot(*at)))
            .map(|mark| mark.generation)
            .max()
            .unwrap_or(1)
    }
}
