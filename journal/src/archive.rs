//! Retired segments: the order in which a segment leaves, and the index that says what is gone.
//!
//! `archive/index.jsonl` has one line per retired segment, first to last: everything the segment behind it
//! must agree with, and a checksum. A segment leaves in two steps, line synced first, then the rename; a
//! crash in between leaves a line for a segment that is still there, which the next attempt finds.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use tessera_types::{Seq, Timestamp};

use crate::ARCHIVE_NAME;
use crate::reader::{Carry, hex};
use crate::recovery::{Finding, FindingKind};
use crate::snapshot_file::{Snapshots, read_file};
use crate::storage::{Storage, write_all};
use crate::survey::{
    Files, ScanError, SegmentFile, claimed_carry, joined, list_files, name_seq, open_segment,
};

/// What may leave the journal's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Segments to keep in any case, the live one included; at least 1.
    pub segments: usize,
    /// Nanoseconds that the last record of a segment must be older than the begin of the live one.
    pub age_ns: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            segments: 4,
            age_ns: 24 * 3600 * 1_000_000_000,
        }
    }
}

/// The archive of a journal.
pub struct Archive {
    storage: Arc<dyn Storage>,
}

/// One line of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// Name of the file.
    pub name: String,
    /// Its number.
    pub segment_no: u64,
    /// First command that it could hold.
    pub first_seq: Seq,
    /// Last command in it or before it.
    pub last_seq: Seq,
    /// Time of its last record.
    pub last_time: Timestamp,
    /// Epoch at its end.
    pub epoch: u64,
    /// Version of the engine's rules at its end; 0 where the format did not bind it.
    pub rules: u32,
    /// Chain value of its `SegmentEnd`.
    pub chain: [u8; 32],
    /// Checksum of its `SegmentEnd`.
    pub crc: u32,
    /// Size of the file.
    pub bytes: u64,
    /// Signature over the chain, from the segment behind it.
    pub signature: Option<(u32, [u8; 64])>,
}

/// Why a segment did not leave.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The journal cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A file cannot be written or moved.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The snapshots cannot be read.
    #[error(transparent)]
    Snapshot(#[from] crate::SnapshotError),
    /// Something in the journal is not as it should be; nothing leaves until that is looked into.
    #[error("{0}; no segment is retired")]
    Damaged(Box<Finding>),
}

impl Archive {
    /// The archive in a journal's directory.
    #[must_use]
    pub fn on(storage: Arc<dyn Storage>) -> Self {
        Self { storage }
    }

    /// Retires every segment that may leave: sealed, with all its commands in a verified snapshot and
    /// confirmed by the replicas (`confirmed`; the last sequence there is, where there are none), and
    /// beyond the retention rule. May be called while the journal is written. Returns what left now.
    ///
    /// # Errors
    /// [`ArchiveError`]; what left until then has left.
    pub fn retire(
        &self,
        retention: Retention,
        confirmed: Seq,
    ) -> Result<Vec<Archived>, ArchiveError> {
        let Some(covered) = Snapshots::on(Arc::clone(&self.storage)).newest_verified()? else {
            return Ok(Vec::new());
        };
        let covered = covered.min(confirmed);
        let files = list_files(&*self.storage, true)?;
        if let Some((_, finding)) = files.findings.first() {
            return Err(ArchiveError::Damaged(Box::new(finding.clone())));
        }
        let segments = &files.segments;
        let newest = segments
            .iter()
            .filter_map(last_time)
            .max()
            .unwrap_or(Timestamp::ZERO);
        let may_leave = segments.len().saturating_sub(retention.segments.max(1));
        let mut left = Vec::new();
        for pair in segments.windows(2).take(may_leave) {
            let (segment, next) = (&pair[0], &pair[1]);
            let after = claimed_carry(next);
            let is_old = newest.nanos_since(after.time) >= retention.age_ns;
            if after.seq > covered || !is_old {
                break;
            }
            let line = Archived {
                name: segment.name.clone(),
                segment_no: segment.header.segment_no,
                first_seq: name_seq(&segment.name),
                last_seq: after.seq,
                last_time: after.time,
                epoch: after.epoch,
                rules: after.rules.unwrap_or(0),
                chain: after.chain,
                crc: after.crc,
                bytes: segment.header.segment_bytes,
                signature: signature_in(next),
            };
            self.move_away(&line)?;
            left.push(line);
        }
        Ok(left)
    }

    /// What has left, first to last.
    ///
    /// # Errors
    /// [`ArchiveError`]; a damaged line is an error, since nothing behind it can be relied on.
    pub fn list(&self) -> Result<Vec<Archived>, ArchiveError> {
        match read_index(&*self.storage)? {
            Ok(lines) => Ok(lines),
            Err(finding) => Err(ArchiveError::Damaged(Box::new(finding))),
        }
    }

    fn move_away(&self, line: &Archived) -> Result<(), ArchiveError> {
        let io = |name: &str, source| ArchiveError::Io {
            path: joined(&*self.storage, name),
            source,
        };
        self.storage
            .make_dir(ARCHIVE_NAME)
            .and_then(|()| self.storage.sync_dir(""))
            .map_err(|source| io(ARCHIVE_NAME, source))?;
        let known = self.list()?;
        if known
            .last()
            .is_none_or(|last| last.segment_no < line.segment_no)
        {
            self.append_line(line, &known)
                .map_err(|source| io(INDEX, source))?;
        }
        let target = format!("{ARCHIVE_NAME}/{}", line.name);
        self.storage
            .rename(&line.name, &target)
            .and_then(|()| self.storage.sync_dir(ARCHIVE_NAME))
            .and_then(|()| self.storage.sync_dir(""))
            .map_err(|source| io(&line.name, source))
    }

    /// Writes the index anew beside the old one: a line that is caught half written must not stand
    /// between good ones.
    fn append_line(&self, line: &Archived, known: &[Archived]) -> io::Result<()> {
        let mut text = String::new();
        for line in known.iter().chain([line]) {
            text += &line.to_line();
        }
        let new = format!("{INDEX}.new");
        match self.storage.remove(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.storage.create(&new)?;
        write_all(&*file, 0, text.as_bytes())?;
        file.sync()?;
        self.storage.rename(&new, INDEX)?;
        self.storage.sync_dir(ARCHIVE_NAME)
    }
}

impl Archived {
    fn to_line(&self) -> String {
        let mut text = format!(
            "{{\"name\":\"{}\",\"segment_no\":{},\"first_seq\":{},\"last_seq\":{},\"last_time_ns\":{},\
             \"epoch\":{},\"rules_version\":{},\"chain\":\"{}\",\"crc\":{},\"bytes\":{}",
            self.name,
            self.segment_no,
            self.first_seq,
            self.last_seq,
            self.last_time.nanos(),
            self.epoch,
            self.rules,
            hex(&self.chain),
            self.crc,
            self.bytes,
        );
        if let Some((key_id, signature)) = &self.signature {
            let _ = write!(
                text,
                ",\"key_id\":{key_id},\"signature\":\"{}\"",
                hex(signature)
            );
        }
        let crc = crc32c::crc32c(text.as_bytes());
        let _ = writeln!(text, ",\"line_crc\":{crc}}}");
        text
    }

    fn from_line(line: &str) -> Option<Self> {
        let (covered, crc) = line.strip_suffix('}')?.rsplit_once(",\"line_crc\":")?;
        if crc.parse() != Ok(crc32c::crc32c(covered.as_bytes())) {
            return None;
        }
        let value = |key: &str| {
            let (_, rest) = covered.split_once(&format!("\"{key}\":"))?;
            Some(rest.split([',', '}']).next()?.trim_matches('"'))
        };
        let signature = match (value("key_id"), value("signature")) {
            (Some(key), Some(signature)) => Some((key.parse().ok()?, from_hex(signature)?)),
            _ => None,
        };
        Some(Self {
            name: value("name")?.to_owned(),
            segment_no: value("segment_no")?.parse().ok()?,
            first_seq: Seq::new(value("first_seq")?.parse().ok()?),
            last_seq: Seq::new(value("last_seq")?.parse().ok()?),
            last_time: Timestamp::from_nanos(value("last_time_ns")?.parse().ok()?),
            epoch: value("epoch")?.parse().ok()?,
            rules: value("rules_version")?.parse().ok()?,
            chain: from_hex(value("chain")?)?,
            crc: value("crc")?.parse().ok()?,
            bytes: value("bytes")?.parse().ok()?,
            signature,
        })
    }

    fn carry(&self) -> Carry {
        Carry {
            seq: self.last_seq,
            time: self.last_time,
            epoch: self.epoch,
            chain: self.chain,
            crc: self.crc,
            rules: (self.rules > 0).then_some(self.rules),
        }
    }
}

/// If the first segments have left, the others begin behind them.
pub(crate) fn begin_behind_archive(
    storage: &dyn Storage,
    files: &mut Files,
) -> Result<(), ScanError> {
    let lines = match read_index(storage)? {
        Ok(lines) => lines,
        Err(finding) => {
            files.findings.push((0, finding));
            return Ok(());
        }
    };
    let Some(first) = files.segments.first() else {
        if let Some(last) = lines.last() {
            files.start = last.carry();
            files.start_no = last.segment_no + 1;
        }
        return Ok(());
    };
    // A segment that is in the index and still here has not left.
    let before = first.header.segment_no.checked_sub(1);
    if let Some(line) = lines.iter().rfind(|line| Some(line.segment_no) == before) {
        files.start = line.carry();
        files.start_no = line.segment_no + 1;
    }
    Ok(())
}

/// The archived segments whose files are still in `archive/` and lead up to the first one here, in front of
/// those: for tools that need the whole history.
pub(crate) fn with_archive(storage: &dyn Storage, mut files: Files) -> Result<Files, ScanError> {
    let Ok(lines) = read_index(storage)? else {
        return Ok(files);
    };
    let mut front: Vec<SegmentFile> = Vec::new();
    while let Some(no) = files.start_no.checked_sub(1) {
        let Some(line) = lines.iter().rfind(|line| line.segment_no == no) else {
            break;
        };
        let name = format!("{ARCHIVE_NAME}/{}", line.name);
        match open_segment(storage, &name, line.first_seq, true) {
            Ok(Ok(segment)) => front.push(segment),
            Ok(Err(finding)) => {
                files.findings.insert(0, (0, finding));
                return Ok(files);
            }
            Err(ScanError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
        files.start_no = no;
        let before = no.checked_sub(1);
        let before = lines.iter().rfind(|line| Some(line.segment_no) == before);
        files.start = before.map_or_else(Carry::default, Archived::carry);
    }
    for (index, _) in &mut files.findings {
        *index += front.len();
    }
    front.reverse();
    front.append(&mut files.segments);
    files.segments = front;
    Ok(files)
}

fn read_index(storage: &dyn Storage) -> Result<Result<Vec<Archived>, Finding>, ScanError> {
    let bytes = match read_file(storage, INDEX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(Vec::new())),
        Err(source) => {
            return Err(ScanError::Io {
                path: joined(storage, INDEX),
                source,
            });
        }
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<Archived> = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let next_no = lines.last().map_or(0, |last| last.segment_no + 1);
        match Archived::from_line(line.trim_end_matches('\n')) {
            Some(found) if found.segment_no == next_no => lines.push(found),
            _ => {
                return Ok(Err(Finding {
                    kind: FindingKind::Header,
                    segment: INDEX.to_owned(),
                    offset,
                    seq: lines.last().map_or(Seq::ZERO, |last| last.last_seq).next(),
                    expected: format!("the line of segment {next_no}"),
                    found: "another line, or a damaged one".into(),
                    message: format!("line {} of the index cannot be used", lines.len() + 1),
                }));
            }
        }
        offset += line.len() as u64;
    }
    Ok(Ok(lines))
}

/// The signature that a segment carries over the one before.
fn signature_in(segment: &SegmentFile) -> Option<(u32, [u8; 64])> {
    use crate::reader::{Step, Walker};
    let carry = claimed_carry(segment);
    let mut walker = Walker::new(segment.region.clone(), segment.header.clone(), carry, false);
    for _ in 0..3 {
        let Step::Record(record) = walker.step() else {
            return None;
        };
        if let Ok(crate::Body::Signature { key_id, signature }) = record.body() {
            return Some((key_id, signature.try_into().ok()?));
        }
    }
    None
}

fn last_time(segment: &SegmentFile) -> Option<Timestamp> {
    let carry = claimed_carry(segment);
    (carry != Carry::default()).then_some(carry.time)
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    if text.len() != N * 2 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

/// The index, relative to the directory.
const INDEX: &str = "archive/index.jsonl";
