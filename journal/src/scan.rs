//! Reading a journal without touching it: what the operator tools are built on.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use tessera_types::{Seq, Timestamp};

use crate::open::known_seq;
use crate::record::Record;
use crate::recovery::{Finding, FindingKind, Verdict};
use crate::storage::{Mapped, Storage};
use crate::survey::{Counts, Look, ScanError, Torn, list_files, look_at_live, survey};

/// A journal directory, live or copied. Never written to.
pub struct Scan {
    storage: Arc<dyn Storage>,
}

/// What a scan found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Over everything.
    pub verdict: Verdict,
    /// Each segment, in order.
    pub segments: Vec<SegmentReport>,
    /// Records that were read.
    pub counts: Counts,
    /// First command; 0 if there is none.
    pub first_seq: Seq,
    /// Last command; 0 if there is none.
    pub last_seq: Seq,
    /// Time of the last record.
    pub last_time: Timestamp,
    /// Last command that the watermarks vouch for.
    pub watermark_seq: Seq,
    /// Epoch of the last record.
    pub epoch: u64,
    /// Format of the last segment.
    pub format: u16,
    /// Which journal.
    pub cluster_id: [u8; 16],
    /// Chain value at the last block border.
    pub chain: [u8; 32],
    /// False if a chain value did not match.
    pub chain_ok: bool,
    /// Bytes of all segment files.
    pub bytes: u64,
    /// The cut that the next start would make.
    pub torn: Option<Torn>,
    /// What is wrong, the decisive finding first.
    pub findings: Vec<Finding>,
    /// Who writes the journal at this moment; then nothing is said about what is above `durable`.
    pub writer: Option<String>,
}

/// What a scan found about one segment.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// Its file.
    pub name: String,
    /// Its number, from 0.
    pub segment_no: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Records in it that are good.
    pub records: u64,
    /// Commands among them.
    pub commands: u64,
    /// First command in it; 0 if there is none.
    pub first_seq: Seq,
    /// Last command in it; 0 if there is none.
    pub last_seq: Seq,
    /// Its watermark.
    pub watermark_seq: Seq,
}

impl Scan {
    /// Opens a directory for reading.
    ///
    /// # Errors
    /// [`ScanError::Io`] if it cannot be opened.
    pub fn open(directory: &Path) -> Result<Self, ScanError> {
        let storage = Mapped::open(directory).map_err(|source| ScanError::Io {
            path: directory.display().to_string(),
            source,
        })?;
        Ok(Self::on(Arc::new(storage)))
    }

    /// The journal of any storage.
    #[must_use]
    pub fn on(storage: Arc<dyn Storage>) -> Self {
        Self { storage }
    }

    /// Checks everything: section by section the same that a start checks, without the repair.
    ///
    /// # Errors
    /// [`ScanError`] if there is no journal, it cannot be read, or it is of a later format.
    pub fn verify(&self) -> Result<Report, ScanError> {
        self.look(true, &mut |_, _| ControlFlow::Continue(()))
    }

    /// As [`Scan::verify`], calling `visit` with each good record and the name of its segment file. If
    /// `visit` breaks off, the report covers what was read until then.
    ///
    /// # Errors
    /// As [`Scan::verify`].
    pub fn read(
        &self,
        mut visit: impl FnMut(&Record<'_>, &str) -> ControlFlow<()>,
    ) -> Result<Report, ScanError> {
        self.look(true, &mut visit)
    }

    fn look(
        &self,
        check_chain: bool,
        visit: &mut dyn FnMut(&Record<'_>, &str) -> ControlFlow<()>,
    ) -> Result<Report, ScanError> {
        let (writer, live) = look_at_live(&*self.storage)?;
        let limit = writer
            .as_ref()
            .map(|_| live.map_or(Seq::ZERO, |live| live.durable));
        let files = list_files(&*self.storage, writer.is_some())?;
        if files.segments.is_empty()
            && files.findings.is_empty()
            && !live.is_some_and(|live| live.is_started)
        {
            return Err(ScanError::NoJournal {
                path: self.storage.path().display().to_string(),
            });
        }
        let mut segments: Vec<SegmentReport> = files
            .segments
            .iter()
            .map(|segment| SegmentReport {
                name: segment.name.clone(),
                segment_no: segment.header.segment_no,
                bytes: segment.header.segment_bytes,
                records: 0,
                commands: 0,
                first_seq: Seq::ZERO,
                last_seq: Seq::ZERO,
                watermark_seq: segment.watermark().unwrap_or_default().durable_seq,
            })
            .collect();
        let known_seq = limit.unwrap_or_else(|| known_seq(live.as_ref()));
        let look = Look {
            check_chain,
            known_seq,
            live: limit,
        };
        let found = survey(files, look, &mut |record, name| {
            if let Some(segment) = usize::try_from(record.segment_no)
                .ok()
                .and_then(|no| segments.get_mut(no))
            {
                segment.records += 1;
                if crate::kind::is_command(record.kind) {
                    segment.commands += 1;
                    segment.last_seq = record.seq;
                    if segment.first_seq == Seq::ZERO {
                        segment.first_seq = record.seq;
                    }
                }
            }
            visit(record, name)
        });
        let last = found.files.segments.last();
        Ok(Report {
            verdict: found.verdict,
            counts: found.counts,
            first_seq: found.first_seq,
            last_seq: found.end.carry.seq,
            last_time: found.end.carry.time,
            watermark_seq: found.watermark_seq,
            epoch: found.end.carry.epoch,
            format: last.map_or(crate::segment::FORMAT, |segment| segment.header.format),
            cluster_id: last.map_or([0; 16], |segment| segment.header.cluster_id),
            chain: found.end.checkpoint,
            chain_ok: found
                .findings
                .iter()
                .all(|finding| finding.kind != FindingKind::Chain),
            bytes: segments.iter().map(|segment| segment.bytes).sum(),
            segments,
            torn: found.torn,
            findings: found.findings,
            writer,
        })
    }
}
