//! Cutting an uncommitted suffix off a replica's journal.
//!
//! A deposed leader may hold groups that no majority ever had. They are on its disk, below its own
//! watermark, so a start would rightly refuse to lose them; the one who knows what is committed takes
//! them out here, group by group, and the engine is rebuilt from what is left.

use std::io;
use std::sync::Arc;

use tessera_types::Seq;

use crate::record::{Body, kind};
use crate::recovery::Verdict;
use crate::segment::{HEADER_BYTES, Watermark};
use crate::slot::SLOT_BYTES;
use crate::storage::{Access, LockError, MapAccess, Region, Storage, write_all};
use crate::survey::{Look, ScanError, joined, list_files, nonzero_span, survey};
use crate::{DISCARD_NAME, Journal, LIVE_NAME, LOCK_NAME};

/// What a truncation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// Last command that is left.
    pub last_seq: Seq,
    /// Slots that were cut.
    pub slots: u64,
    /// Where their bytes are kept, relative to the directory.
    pub discarded: Vec<String>,
}

/// Why nothing, or not everything, was cut. A second attempt goes on where the first one ended.
#[derive(Debug, thiserror::Error)]
pub enum TruncateError {
    /// Committed commands would go.
    #[error("{keep} is before {committed}, up to which everything is committed; that is never cut")]
    Committed {
        /// What was to be kept.
        keep: Seq,
        /// What is committed.
        committed: Seq,
    },
    /// The place is inside a group, or not in the journal at all.
    #[error("the journal cannot end at {keep}: the groups around it end at {before} and {after}")]
    NoBorder {
        /// What was to be kept.
        keep: Seq,
        /// The last end of a group before it.
        before: Seq,
        /// The next one.
        after: Seq,
    },
    /// The journal is in use.
    #[error("{path} is in use by {holder}")]
    Locked {
        /// The directory.
        path: String,
        /// Who holds it.
        holder: String,
    },
    /// The journal is damaged; that is looked into first.
    #[error("{path} is {verdict}, and is not truncated")]
    NotClean {
        /// The directory.
        path: String,
        /// Its verdict.
        verdict: Verdict,
    },
    /// It cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A file cannot be written or synced.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Where a journal can be cut.
#[derive(Clone, Copy)]
struct Border {
    segment: usize,
    offset: usize,
    seq: Seq,
    checkpoint: [u8; 32],
}

impl Journal {
    /// Cuts every group behind `keep`, which must be the end of a group, and never anything up to
    /// `committed`. The journal must be closed. The bytes go to `discard/`; the next start writes nothing
    /// about them, since what was never committed was never told to anyone.
    ///
    /// The order of the steps makes a crash in between leave either the whole suffix or a tail that a
    /// start may cut: the witness goes first, then the segments behind from the last one down, then the
    /// watermark falls, and only then are the slots zeroed.
    ///
    /// # Errors
    /// [`TruncateError`].
    pub fn truncate_on(
        storage: &Arc<dyn Storage>,
        keep: Seq,
        committed: Seq,
    ) -> Result<Truncated, TruncateError> {
        if keep < committed {
            return Err(TruncateError::Committed { keep, committed });
        }
        let storage = &**storage;
        let io = |name: &str, source| TruncateError::Io {
            path: joined(storage, name),
            source,
        };
        let _lock = storage.lock(LOCK_NAME).map_err(|error| match error {
            LockError::Held(holder) => TruncateError::Locked {
                path: joined(storage, ""),
                holder,
            },
            LockError::Io(source) => io(LOCK_NAME, source),
        })?;
        let files = list_files(storage, false)?;
        // The last command of a group is the one before a Batch, an Epoch or the end.
        let mut cut = None;
        let mut before = Seq::ZERO;
        let mut after = None;
        let mut at: Option<Border> = None;
        let mut numbers: Vec<u64> = Vec::new();
        let mut in_new_term = false;
        let found = survey(
            files,
            Look {
                check_chain: true,
                ..Look::default()
            },
            &mut |record, _| {
                if numbers.last() != Some(&record.segment_no) {
                    numbers.push(record.segment_no);
                }
                if let Ok(Body::Batch { first_seq, .. }) = record.body() {
                    let end = Seq::new(first_seq.get() - 1);
                    if end <= keep {
                        before = end;
                    } else {
                        after.get_or_insert(end);
                    }
                    if end == keep && cut.is_none() {
                        cut = at.map(|border| Border { seq: end, ..border });
                    }
                }
                let here = Border {
                    segment: numbers.len() - 1,
                    offset: usize::try_from(record.offset).unwrap_or(usize::MAX)
                        + record.slots as usize * SLOT_BYTES,
                    seq: record.seq,
                    checkpoint: [0; 32],
                };
                // A term goes with its first group: a replica whose deposed term stayed behind could not
                // take over groups of an earlier one. What belongs to the files stays with its segment, and
                // a segment that would hold nothing but its start goes as a whole.
                in_new_term = match record.kind {
                    kind::EPOCH => true,
                    other if kind::has_seq(other) => false,
                    _ => in_new_term,
                };
                let is_start = matches!(
                    record.kind,
                    kind::SEGMENT_START | kind::FORMAT | kind::SIGNATURE
                );
                let is_first = numbers.len() == 1 && record.kind == kind::FORMAT;
                if is_first || !is_start && !in_new_term {
                    at = Some(here);
                }
                std::ops::ControlFlow::Continue(())
            },
        );
        if found.verdict != Verdict::Clean {
            return Err(TruncateError::NotClean {
                path: joined(storage, ""),
                verdict: found.verdict,
            });
        }
        let last = found.end.carry.seq;
        if keep == last && cut.is_none() {
            return Ok(Truncated {
                last_seq: last,
                slots: 0,
                discarded: Vec::new(),
            });
        }
        let Some(cut) = cut else {
            let after = after.unwrap_or(last);
            return Err(TruncateError::NoBorder {
                keep,
                before,
                after,
            });
        };
        let checkpoint = found.checkpoint_at(cut.segment, cut.offset);
        let cut = Border { checkpoint, ..cut };
        let mut discarded = Vec::new();
        let mut slots = 0;
        storage
            .make_dir(DISCARD_NAME)
            .map_err(|source| io(DISCARD_NAME, source))?;
        for (index, segment) in found.files.segments.iter().enumerate().skip(cut.segment) {
            let from = if index == cut.segment {
                cut.offset
            } else {
                HEADER_BYTES
            };
            let span = nonzero_span(&segment.region, from);
            slots += span;
            let stem = format!(
                "{keep}-term{}-{}",
                found.end.carry.epoch, segment.header.segment_no
            );
            let kept = keep_bytes(storage, &stem, &segment.region, from, span);
            discarded.extend(kept.map_err(|source| io(DISCARD_NAME, source))?);
        }
        storage
            .sync_dir(DISCARD_NAME)
            .map_err(|source| io(DISCARD_NAME, source))?;
        match storage.remove(LIVE_NAME) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io(LIVE_NAME, error));
            }
            _ => {}
        }
        storage.sync_dir("").map_err(|source| io("", source))?;
        for later in found.files.segments[cut.segment + 1..].iter().rev() {
            storage
                .remove(&later.name)
                .and_then(|()| storage.sync_dir(""))
                .map_err(|source| io(&later.name, source))?;
        }
        let segment = &found.files.segments[cut.segment];
        let failed = |source| io(&segment.name, source);
        let file = storage.open(&segment.name, Access::Write).map_err(failed)?;
        let region = file
            .map(segment.region.len(), MapAccess::Write)
            .map_err(failed)?;
        let generation = segment.watermark().unwrap_or_default().generation;
        // One slot at a time: a cut between the two leaves one that says how it was.
        for generation in [generation + 1, generation + 2] {
            let mark = Watermark {
                generation,
                durable_seq: cut.seq,
                durable_offset: cut.offset as u64,
                chain: cut.checkpoint,
            };
            region.store_slot(Watermark::slot_offset(generation), &mark.encode());
            file.sync_data().map_err(failed)?;
        }
        for at in (cut.offset..region.len()).step_by(SLOT_BYTES) {
            if !region.is_zero_slot(at) {
                region.store_slot(at, &[0; SLOT_BYTES]);
            }
        }
        file.sync().map_err(failed)?;
        Ok(Truncated {
            last_seq: cut.seq,
            slots,
            discarded,
        })
    }
}

fn keep_bytes(
    storage: &dyn Storage,
    stem: &str,
    region: &Region,
    from: usize,
    slots: u64,
) -> io::Result<Option<String>> {
    if slots == 0 {
        return Ok(None);
    }
    let slots = usize::try_from(slots).map_err(io::Error::other)?;
    let mut bytes = vec![0; slots * SLOT_BYTES];
    region.load(from, &mut bytes);
    for attempt in 0.. {
        let name = format!("{DISCARD_NAME}/{stem}.{attempt}.bin");
        match storage.create(&name) {
            Ok(file) => {
                write_all(&*file, 0, &bytes)?;
                file.sync()?;
                return Ok(Some(name));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
