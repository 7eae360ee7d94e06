//! Reading a journal without touching it: what the operator tools are built on.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use tessera_types::{Seq, Timestamp};

use crate::archive::with_archive;
use crate::open::{known_seq, verified_seq};
use crate::record::Record;
use crate::recovery::{Finding, FindingKind, Verdict};
use crate::storage::{Mapped, Storage};
use crate::survey::{
    Counts, Files, Look, ScanError, SegmentFile, Survey, Torn, joined, list_files, look_at_live,
    survey, survey_parallel,
};

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
    /// Last command of the newest verified snapshot; 0 if there is none.
    pub snapshot_seq: Seq,
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
        self.read(|_, _| ControlFlow::Continue(()))
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
        self.look(|files, look| survey(files, look, &mut visit))
    }

    /// As [`Scan::verify`], with `threads` threads. `judge` sees every record; those of one segment in
    /// order, those of different segments at the same time. It may also see records behind the first
    /// fault, which the report does not count.
    ///
    /// # Errors
    /// As [`Scan::verify`].
    pub fn verify_with(
        &self,
        threads: usize,
        judge: impl Fn(&Record<'_>, &str) + Sync,
    ) -> Result<Report, ScanError> {
        self.look(|files, look| survey_parallel(files, look, threads, &judge))
    }

    fn look(&self, survey: impl FnOnce(Files, Look) -> Survey) -> Result<Report, ScanError> {
        let (found, writer) = self.list_and(survey)?;
        Ok(report(found, writer, verified_seq(&self.storage)?))
    }

    /// The files, and how far they may be looked at.
    pub(crate) fn list(&self) -> Result<(Files, Look), ScanError> {
        let (files, look, _) = self.list_with_writer()?;
        Ok((files, look))
    }

    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage)
    }

    /// Bytes of all segment files and the last command that the watermarks vouch for, from their first
    /// pages alone: what a tool needs to say how long it will take.
    ///
    /// # Errors
    /// As [`Scan::verify`].
    pub fn extent(&self) -> Result<(u64, Seq), ScanError> {
        let (files, _) = self.list()?;
        let bytes = files.segments.iter().map(|s| s.header.segment_bytes).sum();
        let marks = files.segments.iter().filter_map(SegmentFile::watermark);
        let last = marks.map(|mark| mark.durable_seq).max();
        Ok((bytes, last.unwrap_or_default()))
    }

    /// The directory, for messages.
    pub(crate) fn path(&self) -> String {
        joined(&*self.storage, "")
    }

    fn list_and(
        &self,
        survey: impl FnOnce(Files, Look) -> Survey,
    ) -> Result<(Survey, Option<String>), ScanError> {
        let (files, look, writer) = self.list_with_writer()?;
        Ok((survey(files, look), writer))
    }

    fn list_with_writer(&self) -> Result<(Files, Look, Option<String>), ScanError> {
        let (writer, live) = look_at_live(&*self.storage)?;
        let limit = writer
            .as_ref()
            .map(|_| live.map_or(Seq::ZERO, |live| live.durable));
        let files = list_files(&*self.storage, writer.is_some())?;
        let files = with_archive(&*self.storage, files)?;
        if files.segments.is_empty()
            && files.findings.is_empty()
            && !live.is_some_and(|live| live.is_started)
        {
            return Err(ScanError::NoJournal {
                path: self.storage.path().display().to_string(),
            });
        }
        let snapshot_seq = verified_seq(&self.storage)?;
        let known_seq = limit.unwrap_or_else(|| known_seq(live.as_ref()).max(snapshot_seq));
        let look = Look {
            covered: Seq::ZERO,
            check_chain: true,
            known_seq,
            live: limit,
        };
        Ok((files, look, writer))
    }
}

fn report(found: Survey, writer: Option<String>, snapshot_seq: Seq) -> Report {
    let segments: Vec<SegmentReport> = found
        .files
        .segments
        .iter()
        .enumerate()
        .map(|(index, segment)| {
            let totals = found.totals.get(index).copied().unwrap_or_default();
            SegmentReport {
                name: segment.name.clone(),
                segment_no: segment.header.segment_no,
                bytes: segment.header.segment_bytes,
                records: totals.counts.records,
                commands: totals.counts.commands,
                first_seq: totals.first_seq,
                last_seq: totals.last_seq,
                watermark_seq: segment.watermark().unwrap_or_default().durable_seq,
            }
        })
        .collect();
    let last = found.files.segments.last();
    Report {
        verdict: found.verdict,
        counts: found.counts,
        first_seq: found.first_seq,
        last_seq: found.end.carry.seq,
        last_time: found.end.carry.time,
        watermark_seq: found.watermark_seq,
        snapshot_seq,
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
    }
}
