//! Copies of a journal: its good prefix, a prefix with one command neutralised, or a history to go on
//! from under another name. The source is never written to.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use tessera_types::Seq;

use crate::config::{Config, Identity};
use crate::open::{Begin, Journal, OpenError, Opened, fill_random};
use crate::preparer::PrepareError;
use crate::record::{Body, Epoch, EpochReason, Record, kind};
use crate::recovery::Verdict;
use crate::scan::Scan;
use crate::segment::{HEADER_BYTES, Watermark};
use crate::slot::SLOT_BYTES;
use crate::storage::{EntryKind, Region, Storage, write_all};
use crate::survey::{ScanError, SegmentFile, Survey, Torn, joined, survey};
use crate::sync::SyncError;
use crate::writer::AppendError;
use crate::{DISCARD_NAME, Durability};

/// What a copy is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// The good prefix of the same journal. What a start would cut is left out.
    Repair {
        /// An operator accepts the loss of everything from this command on; needed where the journal is
        /// corrupt, and then it must be the first bad sequence.
        accept_tail: Option<Seq>,
        /// A command to put a Void record in place of.
        void: Option<Seq>,
    },
    /// Another journal (new cluster id, new epoch) with the history up to a command.
    Fork {
        /// The last command it shares.
        at: Seq,
    },
}

/// What a copy came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Segments written.
    pub segments: usize,
    /// Records of the source that are in the copy, Checkpoints and borders of segments included.
    pub records: u64,
    /// Last command in it.
    pub last_seq: Seq,
    /// Epoch of its last record.
    pub epoch: u64,
    /// Which journal it is.
    pub cluster_id: [u8; 16],
    /// Chain value of the source at the last block border that was copied.
    pub parent_chain: [u8; 32],
    /// What was left out.
    pub discarded: Option<Discarded>,
}

/// Bytes of the source that are not records of the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// Sequence of the first command in them.
    pub from_seq: Seq,
    /// Slots from there to the last one that is not zero.
    pub slots: u64,
    /// File in the copy that keeps the first segment's part of them.
    pub file: Option<String>,
}

/// Why there is no copy. What was written until then stays, and is to be removed.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The target holds something.
    #[error("{path} holds {name:?} already; give an empty directory")]
    NotEmpty {
        /// The target.
        path: String,
        /// The first name in it.
        name: String,
    },
    /// The source is corrupt and nobody has accepted the loss.
    #[error(
        "{path} is corrupt: {first}; a copy without everything from record {seq} on loses it for good: \
         if that is accepted, say --accept-tail {seq}"
    )]
    Corrupt {
        /// The source.
        path: String,
        /// The decisive finding.
        first: String,
        /// The first sequence that is lost.
        seq: Seq,
    },
    /// The accepted loss is not the loss there would be.
    #[error("--accept-tail {asked} does not fit: {found}")]
    Accepted {
        /// What was accepted.
        asked: Seq,
        /// What there is.
        found: String,
    },
    /// The place that was asked for is not in the good prefix.
    #[error("record {asked} is not there: the good records end at {last}")]
    Beyond {
        /// The command asked for.
        asked: Seq,
        /// The last command.
        last: Seq,
    },
    /// A file cannot be made or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The copy does not open as a journal.
    #[error("the copy: {0}")]
    Open(#[from] OpenError),
    /// A record cannot be appended to the copy.
    #[error("the copy: {0}")]
    Append(#[from] AppendError),
    /// A segment of the copy cannot be made.
    #[error("the copy: {0}")]
    Prepare(#[from] PrepareError),
    /// The copy cannot be synced.
    #[error("the copy: {0}")]
    Sync(#[from] SyncError),
}

impl CopyError {
    /// True if the source is damaged, so that only an operator can go on.
    #[must_use]
    pub const fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}

impl Scan {
    /// Writes a copy of the journal into an empty directory. Beside a running writer the copy ends at
    /// what is durable.
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn copy_to(&self, target: Arc<dyn Storage>, what: Copy) -> Result<Copied, CopyError> {
        check_empty(&*target)?;
        let (files, look) = self.list()?;
        let wanted = match what {
            Copy::Fork { at } => Some(at),
            Copy::Repair { .. } => None,
        };
        let mut records = 0;
        let found = survey(files, look, &mut |record, _| {
            if wanted.is_some_and(|at| record.seq > at) {
                return ControlFlow::Break(());
            }
            records += 1;
            ControlFlow::Continue(())
        });
        let last = found.end.carry.seq;
        let cut = judge(self, &found, what, look.live)?;
        match what {
            Copy::Fork { at } if last < at => return Err(CopyError::Beyond { asked: at, last }),
            Copy::Repair {
                void: Some(seq), ..
            } if last < seq || seq == Seq::ZERO => {
                return Err(CopyError::Beyond { asked: seq, last });
            }
            _ => {}
        }
        let parent_chain = found.end.checkpoint;
        let job = Job {
            target,
            found: &found,
            what,
        };
        let discarded = job.keep_cut(cut.as_ref())?;
        let opened = job.write()?;
        let Opened {
            mut writer,
            syncer,
            status,
            report,
            ..
        } = opened;
        let epoch = found.end.carry.epoch + 1;
        let is_changed = cut.is_some() || !matches!(what, Copy::Repair { void: None, .. });
        if is_changed {
            let reason = match what {
                Copy::Fork { .. } => EpochReason::Start,
                Copy::Repair { .. } => EpochReason::Recovered,
            };
            writer.append_own(
                kind::EPOCH,
                &Body::Epoch(Epoch {
                    epoch,
                    node: 0,
                    reason,
                    durability: Durability::Default,
                }),
            )?;
        }
        if let Some(cut) = &cut {
            let by_operator = matches!(
                what,
                Copy::Repair {
                    accept_tail: Some(_),
                    ..
                }
            );
            let slots = u32::try_from(cut.slots).unwrap_or(u32::MAX);
            writer.append_own(
                kind::RECOVERED,
                &Body::Recovered {
                    from_seq: cut.seq,
                    slots,
                    by_operator,
                },
            )?;
        }
        writer.publish();
        let last_seq = syncer.finish()?;
        drop((writer, status));
        job.tidy()?;
        Ok(Copied {
            segments: job.count_segments()?,
            records,
            last_seq,
            epoch: found.end.carry.epoch + u64::from(is_changed),
            cluster_id: report.cluster_id,
            parent_chain,
            discarded,
        })
    }
}

/// What of the source is left out, if that is allowed.
fn judge(
    scan: &Scan,
    found: &Survey,
    what: Copy,
    live: Option<Seq>,
) -> Result<Option<Torn>, CopyError> {
    let next = found.end.carry.seq.next();
    let accepted = match what {
        Copy::Repair { accept_tail, .. } => accept_tail,
        // A fork ends before whatever is wrong further on.
        Copy::Fork { .. } if found.end.early => return Ok(None),
        Copy::Fork { .. } => None,
    };
    match (found.verdict, accepted) {
        (Verdict::Clean, None) => Ok(None),
        (Verdict::Torn, None) => Ok(found.torn.clone()),
        (Verdict::Clean | Verdict::Torn, Some(asked)) => Err(CopyError::Accepted {
            asked,
            found: format!(
                "the journal is {}, nothing has to be accepted",
                found.verdict
            ),
        }),
        (Verdict::Corrupt, None) => Err(CopyError::Corrupt {
            path: scan.path(),
            first: found
                .findings
                .first()
                .map_or_else(String::new, ToString::to_string),
            seq: next,
        }),
        (Verdict::Corrupt, Some(asked)) if asked != next || live.is_some() => {
            Err(CopyError::Accepted {
                asked,
                found: if live.is_some() {
                    "a journal that is being written cannot be cut".into()
                } else {
                    format!("the first record that is lost is {next}")
                },
            })
        }
        (Verdict::Corrupt, Some(_)) => Ok(Some(Torn {
            segment: found.end.segment.map_or_else(String::new, |index| {
                found.files.segments[index].name.clone()
            }),
            offset: found.end.offset as u64,
            seq: next,
            slots: slots_behind(found),
        })),
    }
}

fn slots_behind(found: &Survey) -> u64 {
    let first = found.end.segment.unwrap_or(0);
    let behind = found.files.segments.iter().enumerate().skip(first);
    behind
        .map(|(index, segment)| {
            let from = if Some(index) == found.end.segment {
                found.end.offset
            } else {
                HEADER_BYTES
            };
            crate::survey::nonzero_span(&segment.region, from)
        })
        .sum()
}

struct Job<'a> {
    target: Arc<dyn Storage>,
    found: &'a Survey,
    what: Copy,
}

impl Job<'_> {
    /// Writes the records and gives the copy opened behind them.
    fn write(&self) -> Result<Opened, CopyError> {
        let segments = match self.found.end.segment {
            Some(index) => &self.found.files.segments[..=index],
            None => &[],
        };
        // Segments before the first change are copied as they are, so that their signatures hold.
        let first_changed = match self.what {
            Copy::Fork { .. } => 0,
            Copy::Repair {
                void: Some(void), ..
            } => self
                .found
                .totals
                .iter()
                .position(|totals| totals.end_seq >= void)
                .unwrap_or(segments.len()),
            Copy::Repair { void: None, .. } => segments.len(),
        };
        for (index, segment) in segments[..first_changed].iter().enumerate() {
            self.copy_segment(segment, index)?;
        }
        self.target
            .sync_dir("")
            .map_err(|source| self.failed("", source))?;
        let config = self.config(segments)?;
        let mut opened = Journal::open_with(Arc::clone(&self.target), config, Begin::Silent)?;
        for index in first_changed..segments.len() {
            self.rewrite(index, first_changed, &mut opened)?;
        }
        Ok(opened)
    }

    fn config(&self, segments: &[SegmentFile]) -> Result<Config, CopyError> {
        let first = segments.first().map(|segment| &segment.header);
        let last = segments.last().map(|segment| &segment.header);
        let mut identity = Identity {
            cluster_id: first.map_or([0; 16], |header| header.cluster_id),
            hash_seed: first.map_or([0; 32], |header| header.hash_seed),
        };
        if matches!(self.what, Copy::Fork { .. }) || first.is_none() {
            fill_random(&mut identity.cluster_id)?;
            fill_random(&mut identity.hash_seed)?;
        }
        let default = Config::default();
        Ok(Config {
            segment_bytes: last.map_or(default.segment_bytes, |header| header.segment_bytes),
            shard: first.map_or(0, |header| header.shard),
            segments_ahead: 1,
            payload_schema: self.found.payload_schema.unwrap_or(default.payload_schema),
            rules_version: first.map_or(1, |header| header.rules_version),
            identity: Some(identity),
            ..default
        })
    }

    /// Copies the good part of a segment as it is, with a watermark that ends there.
    fn copy_segment(&self, segment: &SegmentFile, index: usize) -> Result<(), CopyError> {
        let totals = &self.found.totals[index];
        let name = crate::survey::base_name(&segment.name);
        let failed = |source| self.failed(name, source);
        let file = self.target.create(name).map_err(failed)?;
        file.preallocate(segment.header.segment_bytes)
            .map_err(failed)?;
        let mut page = [0; HEADER_BYTES];
        page[..512].copy_from_slice(&segment.header.encode());
        for generation in [1, 2] {
            let mark = Watermark {
                generation,
                durable_seq: totals.end_seq,
                durable_offset: totals.end_offset as u64,
                chain: totals.checkpoint,
            };
            let at = Watermark::slot_offset(generation);
            page[at..at + SLOT_BYTES].copy_from_slice(&mark.encode());
        }
        write_all(&*file, 0, &page).map_err(failed)?;
        for at in (HEADER_BYTES..segment.region.len()).step_by(HEADER_BYTES) {
            page.fill(0);
            let good = totals.end_offset.saturating_sub(at).min(HEADER_BYTES);
            segment.region.load(at, &mut page[..good]);
            write_all(&*file, at as u64, &page).map_err(failed)?;
        }
        file.sync().map_err(failed)
    }

    /// Appends the records of a segment to the copy anew.
    fn rewrite(
        &self,
        index: usize,
        first_changed: usize,
        opened: &mut Opened,
    ) -> Result<(), CopyError> {
        let mut failed = None;
        let end = self.found.totals[index].end_offset as u64;
        self.found.walk_again(index, &mut |record, _| {
            if record.offset >= end {
                return ControlFlow::Break(());
            }
            match self.append(record, index == first_changed, opened) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        failed.map_or(Ok(()), Err)
    }

    fn append(
        &self,
        record: &Record<'_>,
        follows_copy: bool,
        opened: &mut Opened,
    ) -> Result<(), CopyError> {
        loop {
            let done = self.append_once(record, follows_copy, opened);
            match done {
                Err(error) if error.is_stall() => {
                    opened.writer.publish();
                    opened.syncer.sync_once()?;
                    opened.preparer.prepare_if_needed()?;
                }
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(()),
            }
        }
    }

    fn append_once(
        &self,
        record: &Record<'_>,
        follows_copy: bool,
        opened: &mut Opened,
    ) -> Result<(), AppendError> {
        let writer = &mut opened.writer;
        let (void, is_fork) = match self.what {
            Copy::Repair { void, .. } => (void, false),
            Copy::Fork { .. } => (None, true),
        };
        let Ok(body) = record.body() else {
            return Ok(()); // the survey has read it
        };
        match body {
            // Written anew where their places are now.
            Body::Checkpoint { .. } | Body::SegmentStart(_) | Body::SegmentEnd { .. } => Ok(()),
            // Format 1 had no Activation: there the border of a segment was one.
            Body::Format { rules_version, .. } if rules_version > writer.rules() => {
                writer.append_activation(rules_version)
            }
            Body::Format { .. } => Ok(()),
            // A signature is over the chain of the segment before, which only the first one still has.
            Body::Signature { .. } if is_fork || !follows_copy => Ok(()),
            Body::Command(payload) if void == Some(record.seq) => {
                writer.append_void(record.seq, record.time, record.kind, payload)
            }
            Body::Command(payload) => writer.append(record.seq, record.time, record.kind, payload),
            Body::Void { kind, payload_hash } => {
                writer.append_void_hash(record.seq, record.time, kind, payload_hash)
            }
            Body::Activation { rules_version } => writer.append_activation(rules_version),
            body => writer.append_own(record.kind, &body),
        }
    }

    /// Keeps the bytes that are left out beside the copy.
    fn keep_cut(&self, cut: Option<&Torn>) -> Result<Option<Discarded>, CopyError> {
        let Some(cut) = cut else { return Ok(None) };
        let mut kept = Discarded {
            from_seq: cut.seq,
            slots: cut.slots,
            file: None,
        };
        let Some(index) = self.found.end.segment else {
            return Ok(Some(kept));
        };
        let io = |name: &str, source| self.failed(name, source);
        self.target
            .make_dir(DISCARD_NAME)
            .map_err(|source| io(DISCARD_NAME, source))?;
        let epoch = self.found.end.carry.epoch + 1;
        for (at, segment) in self.found.files.segments.iter().enumerate().skip(index) {
            let from = if at == index {
                self.found.end.offset
            } else {
                HEADER_BYTES
            };
            let Some(bytes) = tail_bytes(&segment.region, from) else {
                continue;
            };
            let name = if at == index {
                format!("{DISCARD_NAME}/{}-{epoch}.bin", cut.seq)
            } else {
                let no = segment.header.segment_no;
                format!("{DISCARD_NAME}/{}-{epoch}-{no}.bin", cut.seq)
            };
            let file = self
                .target
                .create(&name)
                .map_err(|source| io(&name, source))?;
            write_all(&*file, 0, &bytes)
                .and_then(|()| file.sync())
                .map_err(|source| io(&name, source))?;
            kept.file.get_or_insert(name);
        }
        self.target
            .sync_dir(DISCARD_NAME)
            .map_err(|source| io(DISCARD_NAME, source))?;
        Ok(Some(kept))
    }

    /// Removes what only a running writer needs.
    fn tidy(&self) -> Result<(), CopyError> {
        for entry in self.target.list("").map_err(|e| self.failed("", e))? {
            let is_spare = entry.name.ends_with(crate::segment::READY_SUFFIX)
                || entry.name == crate::LOCK_NAME
                || entry.name == crate::LIVE_NAME;
            if is_spare && entry.kind == EntryKind::File {
                self.target
                    .remove(&entry.name)
                    .map_err(|e| self.failed(&entry.name, e))?;
            }
        }
        self.target.sync_dir("").map_err(|e| self.failed("", e))
    }

    fn count_segments(&self) -> Result<usize, CopyError> {
        let entries = self.target.list("").map_err(|e| self.failed("", e))?;
        let is_segment = |name: &str| name.ends_with(crate::segment::SEGMENT_SUFFIX);
        Ok(entries.iter().filter(|e| is_segment(&e.name)).count())
    }

    fn failed(&self, name: &str, source: io::Error) -> CopyError {
        CopyError::Io {
            path: joined(&*self.target, name),
            source,
        }
    }
}

/// Bytes from `from` to the last slot that is not zero.
fn tail_bytes(region: &Region, from: usize) -> Option<Vec<u8>> {
    let slots = usize::try_from(crate::survey::nonzero_span(region, from)).ok()?;
    if slots == 0 {
        return None;
    }
    let mut bytes = vec![0; slots * SLOT_BYTES];
    region.load(from, &mut bytes);
    Some(bytes)
}

fn check_empty(target: &dyn Storage) -> Result<(), CopyError> {
    let entries = target.list("").map_err(|source| CopyError::Io {
        path: joined(target, ""),
        source,
    })?;
    match entries.first() {
        None => Ok(()),
        Some(entry) => Err(CopyError::NotEmpty {
            path: joined(target, ""),
            name: entry.name.clone(),
        }),
    }
}
