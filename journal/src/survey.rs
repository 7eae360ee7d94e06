//! One look at a whole journal directory: which segments there are, which records are good, and what
//! the decision table says about the end. Never writes; recovery and every tool start here.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tessera_types::{Seq, Timestamp};

use crate::chain::Chain;
use crate::live::{LiveView, read_live};
use crate::reader::{Carry, Fault, Place, Step, Stop, Walker, expected_name};
use crate::record::{Body, Record, SEGMENT_START_BYTES, kind};
use crate::recovery::{Decision, Finding, FindingKind, HighMark, SlotState, Verdict};
use crate::segment::{
    BadName, FileName, HEADER_BYTES, HEADER_SECTOR, HeaderError, SegmentHeader, WATERMARK_AT,
    Watermark, is_reserved,
};
use crate::slot::{SLOT_BYTES, copy_payload, read_u64};
use crate::storage::{Access, EntryKind, MapAccess, Region, Storage};

/// Why a directory could not be looked at as a journal.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The directory or a file in it cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Directory or file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no journal.
    #[error(
        "{path}: no journal here (no *.jnl file); give the directory that `tessera serve --data` uses"
    )]
    NoJournal {
        /// The directory.
        path: String,
    },
    /// The files are not what they were when the journal was opened.
    #[error(
        "{path}: records up to {expected} were there when the journal was opened, now they end at \
         {found}; the files were changed by someone else"
    )]
    Changed {
        /// The directory.
        path: String,
        /// Last command at the start.
        expected: Seq,
        /// Last command that can be read now.
        found: Seq,
    },
    /// The place that was asked for cannot be read.
    #[error("{path}: {finding}")]
    Damaged {
        /// The directory.
        path: String,
        /// What is wrong.
        finding: Box<Finding>,
    },
    /// The segments that hold the beginning have left, and are not in `archive/`.
    #[error(
        "{path} begins with command {first}, command {wanted} is needed: put the retired segments back \
         into archive/, or a verified snapshot into snap/"
    )]
    Gone {
        /// The directory.
        path: String,
        /// First command there is.
        first: Seq,
        /// First command that is needed.
        wanted: Seq,
    },
    /// A segment was written by a later release.
    #[error("{path} {source}")]
    Newer {
        /// The segment file.
        path: String,
        /// Its version and ours.
        source: HeaderError,
    },
}

/// A segment file, mapped for reading.
pub(crate) struct SegmentFile {
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
    pub(crate) region: Region,
    pub(crate) watermarks: [Option<Watermark>; 2],
    /// Still has its `.ready` name although it holds records.
    pub(crate) is_ready: bool,
}

impl SegmentFile {
    /// The watermark that counts.
    pub(crate) fn watermark(&self) -> Option<Watermark> {
        let [a, b] = self.watermarks;
        [a, b]
            .into_iter()
            .flatten()
            .max_by_key(|mark| mark.generation)
    }
}

/// A prepared segment without records.
pub(crate) struct ReadyFile {
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
}

/// What the directory holds.
#[derive(Default)]
pub(crate) struct Files {
    /// In order of their names; those that cannot be used at all are missing and have a finding.
    pub(crate) segments: Vec<SegmentFile>,
    pub(crate) ready: Vec<ReadyFile>,
    /// `.new` files, and `.ready` files that cannot be used.
    pub(crate) leftovers: Vec<String>,
    /// Names that are not the journal's.
    pub(crate) others: Vec<String>,
    /// What is wrong with single files, and how many segments before it can be walked.
    pub(crate) findings: Vec<(usize, Finding)>,
    /// What the first segment follows.
    pub(crate) start: Carry,
    /// Number that the first segment must have.
    pub(crate) start_no: u64,
}

/// A cut the next start would make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Segment file in which the cut begins.
    pub segment: String,
    /// Bytes from its start.
    pub offset: u64,
    /// First sequence that would be discarded.
    pub seq: Seq,
    /// Slots from there to the last one that is not zero, following segments included.
    pub slots: u64,
}

/// Counts over the records that were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All records.
    pub records: u64,
    /// Commands among them.
    pub commands: u64,
    /// State hashes among them.
    pub state_hashes: u64,
    /// Signatures among them.
    pub signatures: u64,
    /// Commands that an operator has neutralised; not counted as commands.
    pub voids: u64,
}

/// The result of a look at a journal.
pub(crate) struct Survey {
    pub(crate) files: Files,
    pub(crate) findings: Vec<Finding>,
    pub(crate) verdict: Verdict,
    pub(crate) torn: Option<Torn>,
    pub(crate) counts: Counts,
    pub(crate) first_seq: Seq,
    pub(crate) high: HighMark,
    pub(crate) watermark_seq: Seq,
    pub(crate) end: End,
    /// Segments of which one watermark slot was caught half written.
    pub(crate) half_marks: Vec<usize>,
    /// Of each segment that was walked, in order.
    pub(crate) totals: Vec<Totals>,
    /// Version of the command payloads, from the last Format record.
    pub(crate) payload_schema: Option<u16>,
    /// Segments that were not read, since a snapshot holds them.
    pub(crate) unread: usize,
}

/// Where the good records end.
#[derive(Default)]
pub(crate) struct End {
    /// Index of the segment, if there is any.
    pub(crate) segment: Option<usize>,
    pub(crate) offset: usize,
    pub(crate) carry: Carry,
    pub(crate) checkpoint: [u8; 32],
    pub(crate) chain: Option<Chain>,
    pub(crate) sealed: bool,
    /// Stopped by the visitor, so nothing is said about what follows.
    pub(crate) early: bool,
}

/// What to look at.
#[derive(Clone, Copy, Default)]
pub(crate) struct Look {
    /// Compute the hash chain.
    pub(crate) check_chain: bool,
    /// Highest sequence that anything else knows to be on disk.
    pub(crate) known_seq: Seq,
    /// What a good snapshot holds: sealed segments that end at or before it need not be read.
    pub(crate) covered: Seq,
    /// A writer is at work: check up to this sequence only.
    pub(crate) live: Option<Seq>,
}

/// Reads the directory and every segment's first page.
pub(crate) fn list_files(storage: &dyn Storage, live: bool) -> Result<Files, ScanError> {
    let io = |name: &str, source| ScanError::Io {
        path: joined(storage, name),
        source,
    };
    let mut files = Files::default();
    let mut segments = Vec::new();
    let mut ready = Vec::new();
    let mut entries = storage.list("").map_err(|source| io("", source))?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in entries {
        match FileName::parse(&entry.name) {
            Ok(Some(FileName::Segment(seq))) => segments.push((seq, entry)),
            Ok(Some(FileName::Ready(no))) => ready.push((no, entry)),
            Ok(Some(FileName::New)) => files.leftovers.push(entry.name),
            Ok(None) => files.others.push(entry.name),
            Err(BadName) => {
                let message = "is no name that the journal gives; move it away";
                files
                    .findings
                    .push((0, name_finding(&entry.name, Seq::ZERO, message)));
            }
        }
    }
    for (seq, entry) in segments {
        if entry.kind != EntryKind::File {
            let message = "is not a regular file, a segment must be one";
            files.findings.push((
                files.segments.len(),
                name_finding(&entry.name, seq, message),
            ));
            continue;
        }
        match open_segment(storage, &entry.name, seq, live)? {
            Ok(segment) => files.segments.push(segment),
            Err(finding) => files.findings.push((files.segments.len(), finding)),
        }
    }
    crate::archive::begin_behind_archive(storage, &mut files)?;
    if !live {
        ready.sort_by_key(|(no, _)| *no);
        for (no, entry) in ready {
            sort_ready(storage, &mut files, no, entry.kind, entry.name)?;
        }
    }
    Ok(files)
}

/// Looks at a whole journal. `visit` sees every good record, with the name of its segment file.
pub(crate) fn survey(
    files: Files,
    look: Look,
    visit: &mut dyn FnMut(&Record<'_>, &str) -> ControlFlow<()>,
) -> Survey {
    Survey::run(files, look, |survey, usable| {
        survey.walk(usable, look, visit)
    })
}

/// As [`survey`], with `threads` threads over the segments; `judge` sees the records of one segment in
/// order, and those of different segments at the same time.
pub(crate) fn survey_parallel(
    files: Files,
    look: Look,
    threads: usize,
    judge: Judge<'_>,
) -> Survey {
    Survey::run(files, look, |survey, usable| {
        survey.walk_parallel(usable, look, threads, judge);
    })
}

impl Survey {
    fn run(files: Files, look: Look, walk: impl FnOnce(&mut Self, usize)) -> Self {
        let mut survey = Self {
            findings: Vec::new(),
            verdict: Verdict::Clean,
            torn: None,
            counts: Counts::default(),
            first_seq: Seq::ZERO,
            high: HighMark {
                position: None,
                seq: look.known_seq,
            },
            watermark_seq: Seq::ZERO,
            end: End {
                carry: files.start,
                ..End::default()
            },
            half_marks: Vec::new(),
            totals: Vec::new(),
            payload_schema: None,
            unread: 0,
            files,
        };
        let usable = survey.judge_files();
        survey.judge_watermarks(usable);
        walk(&mut survey, usable);
        if !survey.findings.is_empty() {
            survey.verdict = Verdict::Corrupt;
            survey.torn = None;
        }
        survey
    }
}

impl Survey {
    /// Judges names, numbers and identities; returns how many segments from the first can be walked.
    fn judge_files(&mut self) -> usize {
        let segments = &self.files.segments;
        let mut usable = segments.len();
        let mut findings: Vec<(usize, Finding)> = self.files.findings.drain(..).collect();
        // Behind a file that could not be used the positions are off; one finding is enough for that.
        let judged = findings
            .iter()
            .map(|(index, _)| *index)
            .min()
            .unwrap_or(usable);
        for (index, segment) in segments.iter().enumerate().take(judged) {
            let header = &segment.header;
            let first = &segments[0].header;
            let mut wrong = |kind, expected: String, found: String, what: &str| {
                findings.push((
                    index,
                    Finding {
                        kind,
                        segment: segment.name.clone(),
                        offset: 0,
                        seq: self::name_seq(&segment.name),
                        message: format!("{what} is {found}, expected {expected}"),
                        expected,
                        found,
                    },
                ));
            };
            if header.cluster_id != first.cluster_id || header.hash_seed != first.hash_seed {
                let hex = |id: &SegmentHeader| crate::reader::hex(&id.cluster_id);
                wrong(FindingKind::Header, hex(first), hex(header), "cluster id");
            } else if header.shard != first.shard {
                let (expected, found) = (first.shard.to_string(), header.shard.to_string());
                wrong(FindingKind::Header, expected, found, "shard");
            }
            let expected = self.files.start_no + index as u64;
            let found = header.segment_no;
            if found != expected {
                let count = |no| {
                    segments
                        .iter()
                        .filter(|s| s.header.segment_no == no)
                        .count()
                };
                let kind = if count(expected) > 0 || count(found) > 1 {
                    FindingKind::Order
                } else {
                    FindingKind::MissingSegment
                };
                wrong(
                    kind,
                    expected.to_string(),
                    found.to_string(),
                    "segment number",
                );
                break;
            }
        }
        findings.sort_by_key(|(index, _)| *index);
        if let Some((index, _)) = findings.first() {
            usable = usable.min(*index);
        }
        self.findings = findings.into_iter().map(|(_, finding)| finding).collect();
        usable
    }

    /// Finds the high mark, and slots that no crash can explain.
    fn judge_watermarks(&mut self, usable: usize) {
        let segments = &self.files.segments[..usable];
        for segment in segments {
            if let Some(mark) = segment.watermark().filter(|mark| mark.durable_offset > 0) {
                self.high.position = Some((segment.header.segment_no, mark.durable_offset));
                self.watermark_seq = self.watermark_seq.max(mark.durable_seq);
            }
        }
        for (index, segment) in segments.iter().enumerate() {
            let bad = segment
                .watermarks
                .iter()
                .filter(|slot| slot.is_none())
                .count();
            // The durable position passes the border only after both slots of the segment before were
            // synced, so from then on a bad one there is damage.
            let passed = segments[index + 1..].iter().any(|later| {
                later
                    .watermark()
                    .is_some_and(|mark| mark.durable_offset > 0)
            });
            match bad {
                0 => {}
                1 if !passed => self.half_marks.push(index),
                _ => {
                    let at = segment
                        .watermarks
                        .iter()
                        .position(Option::is_none)
                        .unwrap_or(0);
                    self.findings.push(Finding {
                        kind: FindingKind::Watermark,
                        segment: segment.name.clone(),
                        offset: WATERMARK_AT[at] as u64,
                        seq: name_seq(&segment.name),
                        expected: if passed {
                            "two valid slots"
                        } else {
                            "a valid slot"
                        }
                        .into(),
                        found: format!("{bad} damaged"),
                        message: format!("{bad} of the two watermark slots cannot be read"),
                    });
                }
            }
        }
    }

    /// Walks the segments one after the other, `visit` seeing every good record.
    fn walk(
        &mut self,
        usable: usize,
        look: Look,
        visit: &mut dyn FnMut(&Record<'_>, &str) -> ControlFlow<()>,
    ) {
        for index in 0..usable {
            if self.has_wrong_name(index) {
                return;
            }
            if let Some(after) = self.end_of_covered(index, usable, look.covered) {
                self.unread += 1;
                self.totals.push(Totals::default());
                self.end.segment = Some(index);
                self.end.carry = after;
                self.end.sealed = true;
                continue;
            }
            let segment = &self.files.segments[index];
            let walked = walk_segment(segment, self.end.carry, look, visit);
            if self.take(index, walked, look).is_break() {
                return;
            }
        }
        self.judge_end(usable, look);
    }

    /// What stands behind a segment that need not be read: it holds nothing behind `covered`, the next one
    /// begins with a good record, and that one names the very `SegmentEnd` with which this one ends.
    fn end_of_covered(&self, index: usize, usable: usize, covered: Seq) -> Option<Carry> {
        let next = self.files.segments[..usable].get(index + 1)?;
        let claimed = claimed_carry(next);
        if next.is_ready || claimed.seq == Seq::ZERO || claimed.seq > covered {
            return None;
        }
        let (region, header) = (next.region.clone(), next.header.clone());
        let mut walker = Walker::new(region, header, claimed, false);
        let Step::Record(_) = walker.step() else {
            return None;
        };
        let region = &self.files.segments[index].region;
        let last = nonzero_span(region, HEADER_BYTES).checked_sub(1)?;
        let last = usize::try_from(last).ok()? * SLOT_BYTES;
        let end = region.load_slot(HEADER_BYTES + last);
        let ends = end[0..4] == 60_u32.to_le_bytes()
            && end[4] == kind::SEGMENT_END
            && read_u64(&end, 8) == claimed.seq.get()
            && end[24..56] == claimed.chain
            && end[60..64] == claimed.crc.to_le_bytes();
        ends.then_some(claimed)
    }

    /// Walks the segments side by side. Each is walked from what its own `SegmentStart` claims about the
    /// segment before; the results are then joined in order, and a claim that does not hold is walked
    /// again from what really stands there, which finds and names the fault.
    fn walk_parallel(&mut self, usable: usize, look: Look, threads: usize, judge: Judge<'_>) {
        let segments = &self.files.segments[..usable];
        let next = AtomicUsize::new(0);
        let results: Vec<Mutex<Option<(Carry, Walked)>>> =
            segments.iter().map(|_| Mutex::new(None)).collect();
        let start = self.end.carry;
        std::thread::scope(|scope| {
            for _ in 0..threads.min(usable) {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(segment) = segments.get(index) else {
                            return;
                        };
                        let carry = if index == 0 {
                            start
                        } else {
                            claimed_carry(segment)
                        };
                        let walked = walk_segment(segment, carry, look, &mut |record, name| {
                            judge(record, name);
                            ControlFlow::Continue(())
                        });
                        *results[index]
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner) = Some((carry, walked));
                    }
                });
            }
        });
        for (index, result) in results.into_iter().enumerate() {
            if self.has_wrong_name(index) {
                return;
            }
            let actual = self.end.carry;
            let found = result.into_inner().unwrap_or_else(PoisonError::into_inner);
            let walked = match found {
                Some((claimed, walked)) if claimed.continues(&actual) => walked,
                _ => walk_segment(
                    &self.files.segments[index],
                    actual,
                    look,
                    &mut |record, name| {
                        judge(record, name);
                        ControlFlow::Continue(())
                    },
                ),
            };
            if self.take(index, walked, look).is_break() {
                return;
            }
        }
        self.judge_end(usable, look);
    }

    /// Walks one segment of those that were walked once more, without the chain.
    pub(crate) fn walk_again(
        &self,
        index: usize,
        visit: &mut dyn FnMut(&Record<'_>, &str) -> ControlFlow<()>,
    ) {
        let carry = match index.checked_sub(1) {
            Some(_) => claimed_carry(&self.files.segments[index]),
            None => self.files.start,
        };
        walk_segment(&self.files.segments[index], carry, Look::default(), visit);
    }

    /// The chain value of the last block border before a place in a segment.
    pub(crate) fn checkpoint_at(&self, index: usize, offset: usize) -> [u8; 32] {
        let segment = &self.files.segments[index];
        let carry = match index.checked_sub(1) {
            Some(_) => claimed_carry(segment),
            None => self.files.start,
        };
        let (region, header) = (segment.region.clone(), segment.header.clone());
        let mut walker = Walker::new(region, header, carry, true);
        let mut checkpoint = walker.checkpoint();
        while walker.offset() < offset && matches!(walker.step(), Step::Record(_)) {
            checkpoint = walker.checkpoint();
        }
        checkpoint
    }

    /// True, with a finding, if the segment has not the name that its place asks for.
    fn has_wrong_name(&mut self, index: usize) -> bool {
        let segment = &self.files.segments[index];
        let expected = expected_name(&self.end.carry);
        if segment.is_ready || base_name(&segment.name) == expected.as_str() {
            return false;
        }
        let name = segment.name.clone();
        let message = format!("the segment here must be named {}", expected.as_str());
        let finding = name_finding(&name, self.end.carry.seq.next(), &message);
        self.findings.push(Finding {
            expected: expected.as_str().into(),
            ..finding
        });
        true
    }

    /// Takes over what the walk over the next segment found; breaks where nothing can follow.
    fn take(&mut self, index: usize, walked: Walked, look: Look) -> ControlFlow<()> {
        self.counts.add(&walked.totals.counts);
        if self.first_seq == Seq::ZERO {
            self.first_seq = walked.totals.first_seq;
        }
        self.totals.push(walked.totals);
        self.payload_schema = walked.totals.payload_schema.or(self.payload_schema);
        self.end.segment = Some(index);
        self.end.offset = walked.offset;
        if walked.totals.counts.records > 0 {
            self.end.carry = walked.carry;
        }
        if let Some(finding) = walked.finding {
            self.findings.push(finding);
            return ControlFlow::Break(());
        }
        if walked.early {
            self.end.early = true;
            return ControlFlow::Break(());
        }
        self.end.checkpoint = walked.checkpoint;
        self.end.sealed = walked.sealed;
        self.end.chain = walked.chain;
        if let Some(stop) = walked.stop {
            self.judge_stop(index, stop, look);
            return ControlFlow::Break(());
        }
        if let Some(at) = walked.behind_end {
            self.findings.push(Finding {
                kind: FindingKind::Order,
                segment: self.files.segments[index].name.clone(),
                offset: at as u64,
                seq: self.end.carry.seq.next(),
                expected: "zeros".into(),
                found: "other bytes".into(),
                message: "there are bytes behind the SegmentEnd".into(),
            });
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// All segments are sealed, or there is none: is anything known that they do not hold?
    fn judge_end(&mut self, usable: usize, look: Look) {
        let next = self.end.carry.seq.next();
        if look.live.is_none() && usable == self.files.segments.len() && next <= self.high.seq {
            self.findings.push(Finding {
                kind: FindingKind::MissingSegment,
                segment: expected_name(&self.end.carry).as_str().into(),
                offset: 0,
                seq: next,
                expected: format!("records up to {}", self.high.seq),
                found: "no further segment".into(),
                message: format!(
                    "the journal ends at {} and {} is known to have been on disk",
                    self.end.carry.seq, self.high.seq
                ),
            });
        }
    }

    fn judge_stop(&mut self, index: usize, stop: Stop, look: Look) {
        let segment = &self.files.segments[index];
        let seq = self.end.carry.seq.next();
        if let Some(limit) = look.live {
            // The writer is at work behind `limit`; what stands there may change under our eyes.
            if seq > limit {
                return;
            }
        }
        let later = &self.files.segments[index + 1..];
        let mut slots = nonzero_span(&segment.region, stop.offset);
        for segment in later {
            let more = nonzero_span(&segment.region, HEADER_BYTES);
            if more > 0 {
                slots += more;
            }
        }
        let above = self
            .high
            .is_below(segment.header.segment_no, stop.offset as u64, seq);
        // A header page damaged further on is a finding of its own and already in the list.
        let decision = Decision::of(stop.state, slots == 0, above);
        self.verdict = decision.verdict();
        match decision {
            Decision::Clean => {}
            Decision::Cut => {
                self.torn = Some(Torn {
                    segment: segment.name.clone(),
                    offset: stop.offset as u64,
                    seq,
                    slots,
                });
            }
            Decision::Ask | Decision::Stop => {
                let Fault {
                    kind,
                    expected,
                    found,
                    message,
                } = stop.fault;
                let advice = match (decision, stop.state) {
                    (Decision::Ask, _) => {
                        "; it lies above everything known to be on disk, but a crash does not leave \
                         such bytes: an operator must decide"
                    }
                    (_, SlotState::Broken) => "",
                    _ => {
                        "; it lies below what is known to be on disk, so acknowledged records are lost"
                    }
                };
                self.findings.insert(
                    0,
                    Finding {
                        kind,
                        segment: segment.name.clone(),
                        offset: stop.offset as u64,
                        seq,
                        expected,
                        found,
                        message: format!("{message}{advice}; records before it are intact"),
                    },
                );
            }
        }
    }
}

/// Looks at every record of a segment; called from several threads at once.
pub(crate) type Judge<'a> = &'a (dyn Fn(&Record<'_>, &str) + Sync);

/// What the records of one segment amount to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) counts: Counts,
    pub(crate) first_seq: Seq,
    pub(crate) last_seq: Seq,
    /// Where its good records end: bytes, sequence, chain value of the last block border.
    pub(crate) end_offset: usize,
    pub(crate) end_seq: Seq,
    pub(crate) checkpoint: [u8; 32],
    pub(crate) payload_schema: Option<u16>,
}

/// What a walk over one segment found.
struct Walked {
    totals: Totals,
    offset: usize,
    carry: Carry,
    checkpoint: [u8; 32],
    sealed: bool,
    chain: Option<Chain>,
    stop: Option<Stop>,
    finding: Option<Finding>,
    /// A byte behind the `SegmentEnd` that is not zero.
    behind_end: Option<usize>,
    early: bool,
}

fn walk_segment(
    segment: &SegmentFile,
    carry: Carry,
    look: Look,
    visit: &mut dyn FnMut(&Record<'_>, &str) -> ControlFlow<()>,
) -> Walked {
    let mut walker = Walker::new(
        segment.region.clone(),
        segment.header.clone(),
        carry,
        look.check_chain,
    );
    let mut totals = Totals::default();
    // Where a watermark points; no record ends at 0.
    let marked = segment
        .watermarks
        .map(|mark| mark.map_or(0, |mark| mark.durable_offset));
    let mut finding = None;
    let mut early = false;
    let mut behind_end = None;
    let stop = loop {
        match walker.step() {
            Step::Record(record) => {
                if look.live.is_some_and(|limit| record.seq > limit) {
                    early = true;
                    break None;
                }
                if visit(&record, &segment.name).is_break() {
                    early = true;
                    break None;
                }
                totals.note(&record);
                let (seq, offset) = (record.seq, record.offset);
                if record.kind == kind::FORMAT
                    && let Ok(Body::Format { payload_schema, .. }) = record.body()
                {
                    totals.payload_schema = Some(payload_schema);
                }
                let here = walker.offset() as u64;
                if marked.contains(&here) {
                    finding = segment.watermarks.iter().flatten().find_map(|mark| {
                        check_mark(mark, &walker, seq, offset, &segment.name, look.check_chain)
                    });
                    if finding.is_some() {
                        break None;
                    }
                }
            }
            Step::Sealed => {
                behind_end = first_nonzero(&segment.region, walker.offset());
                break None;
            }
            Step::Stop(stop) => break Some(stop),
        }
    };
    // A record that the caller does not want, or that is not durable yet, has not been.
    let Place {
        offset,
        carry,
        checkpoint,
    } = if early {
        walker.place_before()
    } else {
        walker.place()
    };
    totals.end_offset = offset;
    totals.end_seq = carry.seq;
    totals.checkpoint = checkpoint;
    Walked {
        totals,
        offset,
        carry,
        checkpoint,
        sealed: walker.is_sealed(),
        chain: walker.into_chain(),
        stop,
        finding,
        behind_end,
        early,
    }
}

/// What a segment's first record says about the end of the segment before; nonsense if it is damaged, and
/// then the walk over it is not used.
pub(crate) fn claimed_carry(segment: &SegmentFile) -> Carry {
    let first = segment.region.load_slot(HEADER_BYTES);
    let second = segment.region.load_slot(HEADER_BYTES + SLOT_BYTES);
    let mut payload = Vec::with_capacity(SLOT_BYTES);
    let slots = [first, second].concat();
    copy_payload(&slots, SEGMENT_START_BYTES, &mut payload);
    match Body::decode(kind::SEGMENT_START, &payload) {
        Ok(Body::SegmentStart(start)) => Carry {
            seq: Seq::new(start.first_seq.get().saturating_sub(1)),
            time: Timestamp::from_nanos(read_u64(&first, 16)),
            epoch: start.epoch,
            chain: start.previous_chain,
            crc: start.previous_crc,
            rules: (segment.header.format >= 2).then_some(segment.header.rules_version),
        },
        _ => Carry::default(),
    }
}

impl Totals {
    fn note(&mut self, record: &Record<'_>) {
        self.counts.records += 1;
        match record.kind {
            kind::STATE_HASH => self.counts.state_hashes += 1,
            kind::SIGNATURE => self.counts.signatures += 1,
            kind::VOID => self.counts.voids += 1,
            other if kind::is_command(other) => self.counts.commands += 1,
            _ => {}
        }
        if kind::has_seq(record.kind) {
            self.last_seq = record.seq;
            if self.first_seq == Seq::ZERO {
                self.first_seq = record.seq;
            }
        }
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.commands += other.commands;
        self.state_hashes += other.state_hashes;
        self.signatures += other.signatures;
        self.voids += other.voids;
    }
}

/// If the record that was just read ends where a watermark points: do they agree?
fn check_mark(
    mark: &Watermark,
    walker: &Walker,
    seq: Seq,
    offset: u64,
    segment: &str,
    check_chain: bool,
) -> Option<Finding> {
    if mark.durable_offset != walker.offset() as u64 {
        return None;
    }
    let chain_differs = check_chain && mark.chain != walker.checkpoint();
    (mark.durable_seq != seq || chain_differs).then(|| Finding {
        kind: FindingKind::Watermark,
        segment: segment.to_owned(),
        offset,
        seq,
        expected: format!("{seq} {}", crate::reader::hex(&walker.checkpoint()[..8])),
        found: format!(
            "{} {}",
            mark.durable_seq,
            crate::reader::hex(&mark.chain[..8])
        ),
        message: "the watermark that points behind this record disagrees with it".into(),
    })
}

/// Opens and maps one `.jnl` file, or says what is wrong with it.
pub(crate) fn open_segment(
    storage: &dyn Storage,
    name: &str,
    seq: Seq,
    live: bool,
) -> Result<Result<SegmentFile, Finding>, ScanError> {
    let path = || joined(storage, name);
    let io = |source| ScanError::Io {
        path: path(),
        source,
    };
    let file = storage.open(name, Access::Read).map_err(io)?;
    let bytes = file.stat().map_err(io)?.bytes;
    let finding = |kind, expected: String, found: String, message: String| Finding {
        kind,
        segment: name.to_owned(),
        offset: 0,
        seq,
        expected,
        found,
        message,
    };
    let mut first = [0; HEADER_SECTOR];
    let mut have = 0;
    while have < first.len() {
        match file.read_at(have as u64, &mut first[have..]) {
            Ok(0) => break,
            Ok(read) => have += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(io(source)),
        }
    }
    if have < first.len() {
        let message = format!("the file is {bytes} bytes short of a header");
        let (expected, found) = ("at least 4096 bytes".into(), format!("{bytes} bytes"));
        return Ok(Err(finding(FindingKind::Length, expected, found, message)));
    }
    let header = match SegmentHeader::decode(&first) {
        Ok(header) => header,
        Err(source @ HeaderError::Newer { .. }) => {
            return Err(ScanError::Newer {
                path: path(),
                source,
            });
        }
        Err(error) => {
            let (expected, found) = match &error {
                HeaderError::Crc { expected, found } => {
                    (format!("{expected:#010x}"), format!("{found:#010x}"))
                }
                HeaderError::Magic { found } => ("TSRAJRNL".into(), format!("{found:02x?}")),
                HeaderError::Field {
                    found, expected, ..
                } => (expected.to_string(), found.to_string()),
                HeaderError::Newer { .. } => (String::new(), String::new()),
            };
            return Ok(Err(finding(
                FindingKind::Header,
                expected,
                found,
                error.to_string(),
            )));
        }
    };
    if bytes != header.segment_bytes {
        let message = format!(
            "the file has {bytes} bytes, its header says {}",
            header.segment_bytes
        );
        let (expected, found) = (header.segment_bytes.to_string(), bytes.to_string());
        return Ok(Err(finding(FindingKind::Length, expected, found, message)));
    }
    let length = usize::try_from(bytes).map_err(|error| io(io::Error::other(error)))?;
    let region = file.map(length, MapAccess::Read).map_err(io)?;
    let mut page = [0; HEADER_BYTES];
    region.load(0, &mut page);
    if let Some(at) = (0..HEADER_BYTES).find(|at| is_reserved(*at) && page[*at] != 0) {
        let message = format!("byte {at} of the header page is not zero");
        let found = format!("{:#04x}", page[at]);
        return Ok(Err(Finding {
            offset: at as u64,
            ..finding(FindingKind::Header, "0".into(), found, message)
        }));
    }
    let mut watermarks = read_watermarks(&region);
    // A live writer may be in the middle of one; it is done long before we have looked often enough.
    for _ in 0..if live { 1000 } else { 0 } {
        if watermarks.iter().all(Option::is_some) {
            break;
        }
        std::thread::yield_now();
        watermarks = read_watermarks(&region);
    }
    Ok(Ok(SegmentFile {
        name: name.to_owned(),
        header,
        region,
        watermarks,
        is_ready: false,
    }))
}

/// A `.ready` file is a segment if it holds anything behind its header, else a spare or a leftover.
fn sort_ready(
    storage: &dyn Storage,
    files: &mut Files,
    no: u64,
    kind: EntryKind,
    name: String,
) -> Result<(), ScanError> {
    if kind != EntryKind::File {
        let message = "is not a regular file, a prepared segment must be one";
        files.findings.push((
            files.segments.len(),
            name_finding(&name, Seq::ZERO, message),
        ));
        return Ok(());
    }
    let mut segment = match open_segment(storage, &name, Seq::ZERO, false)? {
        Ok(segment) => segment,
        // It was synced before it was renamed, so this is damage; but nothing was ever acknowledged out
        // of a file of this name, so it may go.
        Err(_) => {
            files.leftovers.push(name);
            return Ok(());
        }
    };
    let is_next = files
        .segments
        .last()
        .map_or(files.start_no, |last| last.header.segment_no + 1)
        == no;
    let same_journal = files.segments.first().is_none_or(|first| {
        first.header.cluster_id == segment.header.cluster_id
            && first.header.shard == segment.header.shard
    });
    if segment.header.segment_no != no || !same_journal {
        files.leftovers.push(name);
    } else if first_nonzero(&segment.region, HEADER_BYTES).is_none() {
        files.ready.push(ReadyFile {
            name,
            header: segment.header,
        });
    } else if is_next {
        segment.is_ready = true;
        files.segments.push(segment);
    } else {
        let message = "holds records and does not follow the last segment";
        files.findings.push((
            files.segments.len(),
            name_finding(&name, Seq::ZERO, message),
        ));
    }
    Ok(())
}

fn read_watermarks(region: &Region) -> [Option<Watermark>; 2] {
    WATERMARK_AT.map(|at| Watermark::decode(&region.load_slot(at)))
}

/// What the `LIVE` page and the lock say about the directory.
pub(crate) fn look_at_live(
    storage: &dyn Storage,
) -> Result<(Option<String>, Option<LiveView>), ScanError> {
    let io = |name: &str, source| ScanError::Io {
        path: joined(storage, name),
        source,
    };
    let holder = storage
        .lock_holder(crate::LOCK_NAME)
        .map_err(|source| io(crate::LOCK_NAME, source))?;
    let view = read_live(storage).map_err(|source| io(crate::LIVE_NAME, source))?;
    Ok((holder, view))
}

fn first_nonzero(region: &Region, from: usize) -> Option<usize> {
    (from..region.len())
        .step_by(SLOT_BYTES)
        .find(|at| !region.is_zero_slot(*at))
}

/// Slots from `from` up to and including the last one that is not zero.
pub(crate) fn nonzero_span(region: &Region, from: usize) -> u64 {
    let slots = (region.len() - from) / SLOT_BYTES;
    let last = (0..slots)
        .rev()
        .find(|slot| !region.is_zero_slot(from + slot * SLOT_BYTES));
    last.map_or(0, |slot| slot as u64 + 1)
}

fn name_finding(name: &str, seq: Seq, message: &str) -> Finding {
    Finding {
        kind: FindingKind::Name,
        segment: name.to_owned(),
        offset: 0,
        seq,
        expected: "a segment file of this journal".into(),
        found: name.to_owned(),
        message: format!("{name} {message}"),
    }
}

pub(crate) fn name_seq(name: &str) -> Seq {
    match FileName::parse(name) {
        Ok(Some(FileName::Segment(seq))) => seq,
        _ => Seq::ZERO,
    }
}

/// The name without its directory.
pub(crate) fn base_name(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, base)| base)
}

/// A file of the journal, for messages.
pub(crate) fn joined(storage: &dyn Storage, name: &str) -> String {
    let path = storage.path();
    if name.is_empty() {
        path.display().to_string()
    } else {
        path.join(name).display().to_string()
    }
}
