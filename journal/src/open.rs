//! Opening a journal: the lock, the first segment of a new one, recovery of an old one.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use tessera_types::{Seq, Timestamp};

use crate::archive::with_archive;
use crate::config::{CommitRule, Config, ConfigError, Identity};
use crate::live::{LivePage, LiveView};
use crate::preparer::{PrepareError, Preparer, adopt, first_header};
use crate::record::{Body, Epoch, EpochReason, Record, kind};
use crate::recovery::{Finding, FindingKind, Verdict};
use crate::segment::{
    FORMAT, FileName, HEADER_BYTES, MIN_READER, SegmentHeader, WATERMARK_AT, Watermark,
};
use crate::slot::SLOT_BYTES;
use crate::snapshot_file::Snapshots;
use crate::status::{CommitCursor, Position, Segment, Shared, Status, durable_at_start};
use crate::storage::{Access, LockError, MapAccess, Mapped, Region, Storage, write_all};
use crate::survey::{
    Counts, Files, Look, ScanError, Survey, Torn, joined, list_files, look_at_live, survey,
};
use crate::sync::{SyncError, Syncer};
use crate::writer::{AppendError, Resume, Writer};
use crate::{DISCARD_NAME, LIVE_NAME, LOCK_NAME};

/// Entry to the journal of a directory.
pub struct Journal;

/// An open journal, taken apart for its threads.
pub struct Opened {
    /// What was found and done at the start.
    pub report: RecoveryReport,
    /// Everything the journal held before this start.
    pub replay: Replay,
    /// For the journal thread.
    pub writer: Writer,
    /// For the sync thread.
    pub syncer: Syncer,
    /// For the thread that prepares segments.
    pub preparer: Preparer,
    /// For everyone who waits or watches.
    pub status: Status,
    /// Moves `durable`, where that is not the sync thread's part.
    pub commit: Option<CommitCursor>,
}

/// What a start found and did.
#[derive(Clone, Debug)]
pub struct RecoveryReport {
    /// True if the journal was made by this start.
    pub created: bool,
    /// Clean, or torn and cut; a corrupt journal does not open.
    pub verdict: Verdict,
    /// What was cut.
    pub torn: Option<Torn>,
    /// Where the bytes that were cut are kept, relative to the directory.
    pub discarded: Vec<String>,
    /// Last command in the journal; the next one must follow it.
    pub last_seq: Seq,
    /// Time of the last record; no command may be earlier.
    pub last_time: Timestamp,
    /// Epoch of this start.
    pub epoch: u64,
    /// Last command that the watermarks on disk vouched for.
    pub watermark_seq: Seq,
    /// Segments that were there.
    pub segments: usize,
    /// Those of them whose records were left unread, since [`Config::covered`] holds them.
    pub segments_unread: usize,
    /// Records in the others.
    pub counts: Counts,
    /// Which journal this is.
    pub cluster_id: [u8; 16],
    /// Version of the engine's rules in force when the journal was opened: every command in it came under
    /// this or an older one.
    pub rules_version: u32,
}

/// Why a journal did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another process writes this journal.
    #[error("{path} is in use by {holder}; one journal has one writer, stop that process first")]
    Locked {
        /// The directory.
        path: String,
        /// What the holder wrote into the lock file.
        holder: String,
    },
    /// The directory holds something else.
    #[error(
        "{path} holds no journal, but {name:?}; give an empty directory, or the one of an earlier run"
    )]
    Foreign {
        /// The directory.
        path: String,
        /// The first name that is not a journal's.
        name: String,
    },
    /// The segments are of another shard.
    #[error("{path} is the journal of shard {found}, this process is shard {expected}")]
    Shard {
        /// The directory.
        path: String,
        /// Of the segments.
        found: u32,
        /// Of the configuration.
        expected: u32,
    },
    /// The journal is under later rules than the ones asked for.
    #[error(
        "{path} is under version {found} of the engine's rules, version {asked} was asked for: rules \
         never go back"
    )]
    Rules {
        /// The directory.
        path: String,
        /// In force in the journal.
        found: u32,
        /// Asked for.
        asked: u32,
    },
    /// The directory cannot be read as a journal this program knows.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// Something that was acknowledged is damaged or missing, or may be.
    #[error("{0}")]
    Corrupt(Box<Corruption>),
    /// A file cannot be made, written or synced.
    #[error("{what} of {path}: {source}")]
    Io {
        /// Which call.
        what: &'static str,
        /// The file or directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The first segments could not be made.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The first records could not be written.
    #[error("first record of the new epoch: {0}")]
    Append(#[from] AppendError),
    /// The first records could not be synced.
    #[error("first sync of the new epoch: {0}")]
    Sync(#[from] SyncError),
}

/// Everything that is wrong with a journal that did not open.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "{path}: the journal is corrupt and nothing was changed: {first}{more}; \
     `tessera journal verify --data {path}` lists everything",
    first = self.findings.first().map_or_else(String::new, ToString::to_string),
    more = match self.findings.len() { 0 | 1 => String::new(), n => format!(" (and {} more)", n - 1) },
)]
pub struct Corruption {
    /// The directory.
    pub path: String,
    /// Findings, the decisive one first.
    pub findings: Vec<Finding>,
    /// Last good record before the first finding.
    pub last_seq: Seq,
    /// Last command that the watermarks on disk vouched for.
    pub watermark_seq: Seq,
}

impl Journal {
    /// Opens the journal of a directory for writing, making the directory and a new journal if there is
    /// none. When it returns, a new epoch is on disk and its lock is held until every part of
    /// [`Opened`] has been dropped.
    ///
    /// # Errors
    /// [`OpenError`]. A journal that is damaged below anything known to be on disk is never changed.
    pub fn open(directory: &Path, config: Config) -> Result<Opened, OpenError> {
        let failed = |what, source| OpenError::Io {
            what,
            path: directory.display().to_string(),
            source,
        };
        if !directory.exists() {
            std::fs::create_dir_all(directory).map_err(|source| failed("creation", source))?;
        }
        let storage = Mapped::open(directory).map_err(|source| failed("opening", source))?;
        Self::open_on(Arc::new(storage), config)
    }

    /// As [`Journal::open`], over any storage.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_on(storage: Arc<dyn Storage>, config: Config) -> Result<Opened, OpenError> {
        let begin = match config.commit {
            CommitRule::Local => Begin::Epoch,
            CommitRule::External => Begin::Silent,
        };
        Self::open_with(storage, config, begin)
    }

    pub(crate) fn open_with(
        storage: Arc<dyn Storage>,
        config: Config,
        begin: Begin,
    ) -> Result<Opened, OpenError> {
        config.check()?;
        let lock = storage.lock(LOCK_NAME).map_err(|error| match error {
            LockError::Held(holder) => OpenError::Locked {
                path: joined(&*storage, ""),
                holder: if holder.is_empty() {
                    "another process".to_owned()
                } else {
                    holder
                },
            },
            LockError::Io(source) => OpenError::Io {
                what: "lock",
                path: joined(&*storage, LOCK_NAME),
                source,
            },
        })?;
        let files = list_files(&*storage, false)?;
        let (_, live) = look_at_live(&*storage)?;
        let known_seq = known_seq(live.as_ref()).max(verified_seq(&storage)?);
        let is_new = files.segments.is_empty() && files.findings.is_empty();
        if is_new {
            check_is_fresh(&*storage, &files, live.as_ref(), &config)?;
        }
        let found = survey(
            files,
            Look {
                check_chain: true,
                known_seq,
                covered: config.covered,
                live: None,
            },
            &mut |_, _| ControlFlow::Continue(()),
        );
        if found.verdict == Verdict::Corrupt {
            return Err(OpenError::Corrupt(Box::new(Corruption {
                path: joined(&*storage, ""),
                last_seq: found.end.carry.seq,
                watermark_seq: found.watermark_seq,
                findings: found.findings,
            })));
        }
        let identity = match found.files.segments.first() {
            Some(first) if first.header.shard != config.shard => {
                return Err(OpenError::Shard {
                    path: joined(&*storage, ""),
                    found: first.header.shard,
                    expected: config.shard,
                });
            }
            Some(first) => SegmentHeader {
                format: FORMAT,
                min_reader: MIN_READER,
                segment_bytes: config.segment_bytes,
                rules_version: rules_in_force(&found).unwrap_or(config.rules_version),
                ..first.header.clone()
            },
            None => new_identity(&config)?,
        };
        Start {
            storage,
            config,
            identity,
            found,
            lock,
            begin,
        }
        .run(is_new)
    }
}

/// Everything a journal held before this start, for rebuilding what depends on it.
pub struct Replay {
    storage: Arc<dyn Storage>,
    end_seq: Seq,
}

impl Replay {
    /// Calls `visit` with every record in order, the journal's own included, up to the last command
    /// there was at the start. Returns what `visit` broke with.
    ///
    /// # Errors
    /// [`ScanError`] if the files cannot be read any more, or the first segments are gone.
    pub fn run<B>(
        &self,
        visit: impl FnMut(&Record<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>, ScanError> {
        self.run_from(Seq::ZERO, visit)
    }

    /// As [`run`](Self::run), from the segment that holds the command behind `after` on: segments that hold
    /// nothing behind it are not read, and need not be there. Earlier records of the first segment read
    /// come too.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_from<B>(
        &self,
        after: Seq,
        mut visit: impl FnMut(&Record<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>, ScanError> {
        let mut files = list_files(&*self.storage, true)?;
        if files.start.seq > after {
            files = with_archive(&*self.storage, files)?;
        }
        if files.start.seq > after {
            return Err(ScanError::Gone {
                path: joined(&*self.storage, ""),
                first: files.start.seq.next(),
                wanted: after.next(),
            });
        }
        let mut broke = None;
        // The chain was compared when the journal was opened; checksums are compared again.
        let look = Look {
            live: Some(self.end_seq),
            known_seq: self.end_seq,
            covered: after,
            ..Look::default()
        };
        let found = survey(files, look, &mut |record, _| match visit(record) {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(value) => {
                broke = Some(value);
                ControlFlow::Break(())
            }
        });
        let end = found.end.carry.seq;
        if broke.is_none() && end < self.end_seq {
            let path = joined(&*self.storage, "");
            return Err(ScanError::Changed {
                path,
                expected: self.end_seq,
                found: end,
            });
        }
        Ok(broke)
    }

    /// Last command there was at the start.
    #[must_use]
    pub const fn end_seq(&self) -> Seq {
        self.end_seq
    }
}

/// The second half of opening: everything that writes.
struct Start {
    storage: Arc<dyn Storage>,
    config: Config,
    identity: SegmentHeader,
    found: Survey,
    lock: Box<dyn crate::storage::LockGuard>,
    begin: Begin,
}

/// How an opened journal begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With a new epoch, on disk before anything else.
    Epoch,
    /// With nothing: the caller goes on in the epoch that was.
    Silent,
}

impl Start {
    fn run(mut self, created: bool) -> Result<Opened, OpenError> {
        let begin = self.begin;
        let epoch = self.found.end.carry.epoch + u64::from(begin == Begin::Epoch);
        for name in std::mem::take(&mut self.found.files.leftovers) {
            self.remove(&name)?;
        }
        let discarded = self.cut(epoch)?;
        let resume = self.open_last()?;
        let end = &self.found.end;
        let (last_seq, last_time) = (end.carry.seq, end.carry.time);
        self.lock
            .write(&lock_text(epoch, (self.config.wall_clock)()))
            .map_err(|source| self.failed("writing", LOCK_NAME, source))?;
        let live = LivePage::create(
            &*self.storage,
            &self.identity.cluster_id,
            epoch,
            self.config.durability,
            last_seq,
            durable_at_start(&self.config, last_seq),
        )
        .map_err(|source| self.failed("creation", LIVE_NAME, source))?;

        let spares = self.spares()?;
        let last_no = end
            .segment
            .map(|index| self.found.files.segments[index].header.segment_no);
        let next_no = last_no.map_or(0, |no| no + 1) + spares.len() as u64;
        let first_seq = match end
            .segment
            .map(|i| FileName::parse(&self.found.files.segments[i].name))
        {
            Some(Ok(Some(FileName::Segment(seq)))) if resume.is_some() || end.sealed => seq,
            _ => Seq::ZERO,
        };
        let report = RecoveryReport {
            created,
            verdict: self.found.verdict,
            torn: self.found.torn.clone(),
            discarded,
            last_seq,
            last_time,
            epoch,
            watermark_seq: self.found.watermark_seq,
            segments: self.found.files.segments.len(),
            segments_unread: self.found.unread,
            counts: self.found.counts,
            cluster_id: self.identity.cluster_id,
            rules_version: self.identity.rules_version,
        };
        let activate = self.activation()?;
        let carry = self.found.end.carry;
        let durability = self.config.durability;
        let node = self.config.node;
        let shared = Arc::new(Shared::new(
            Arc::clone(&self.storage),
            self.config,
            self.identity,
            self.lock,
            live,
            epoch,
            last_seq,
            next_no,
        ));
        shared.ready().queue.extend(spares);

        let mut preparer = Preparer::new(Arc::clone(&shared));
        let (mut writer, mut syncer) = match resume {
            // The segment is there, but its first record is not.
            Some(resume) if resume.offset == HEADER_BYTES => {
                let segment = Arc::clone(&resume.segment);
                let syncer = resumed_syncer(&shared, &segment, &carry, &resume);
                let mut writer = Writer::new(Arc::clone(&shared), carry, None, first_seq);
                writer.begin(segment);
                (writer, syncer)
            }
            Some(resume) => {
                let syncer = resumed_syncer(&shared, &resume.segment, &carry, &resume);
                (
                    Writer::new(Arc::clone(&shared), carry, Some(resume), first_seq),
                    syncer,
                )
            }
            None => {
                let syncer = Syncer::new(Arc::clone(&shared), None, 1, Position::default());
                (
                    Writer::new(Arc::clone(&shared), carry, None, first_seq),
                    syncer,
                )
            }
        };
        // One segment in hand before anything is promised; the rest is the preparer's thread's work.
        if shared.ready().queue.is_empty() {
            preparer.prepare_if_needed()?;
        }
        let reason = if report.torn.is_some() {
            EpochReason::Recovered
        } else {
            EpochReason::Start
        };
        let body = Body::Epoch(Epoch {
            epoch,
            node,
            reason,
            durability,
        });
        if begin == Begin::Epoch {
            writer.append_own(kind::EPOCH, &body)?;
        } else if created {
            // LIVE says from here on that there is a segment.
            writer.rotate()?;
        }
        if let Some(torn) = &report.torn {
            let slots = u32::try_from(torn.slots).unwrap_or(u32::MAX);
            let body = Body::Recovered {
                from_seq: torn.seq,
                slots,
                by_operator: false,
            };
            writer.append_own(kind::RECOVERED, &body)?;
        }
        if let Some(rules) = activate {
            if writer.format().is_some_and(|format| format < FORMAT) {
                writer.rotate()?;
            }
            writer.append_activation(rules)?;
        }
        writer.publish();
        syncer.settle()?;
        if activate.is_some() {
            preparer.prepare_if_needed()?;
        }
        shared.live.set_started();
        let replay = Replay {
            storage: Arc::clone(&shared.storage),
            end_seq: last_seq,
        };
        Ok(Opened {
            report,
            replay,
            writer,
            syncer,
            preparer,
            commit: (!shared.is_local()).then(|| CommitCursor(Arc::clone(&shared))),
            status: Status(shared),
        })
    }

    /// The version of the rules that this start puts in force, if any.
    fn activation(&self) -> Result<Option<u32>, OpenError> {
        let found = self.identity.rules_version;
        match self.config.activate_rules {
            Some(asked) if asked < found => Err(OpenError::Rules {
                path: joined(&*self.storage, ""),
                found,
                asked,
            }),
            asked => Ok(asked.filter(|asked| *asked > found)),
        }
    }

    /// Cuts a torn tail, and removes segments behind the end that hold nothing.
    fn cut(&mut self, epoch: u64) -> Result<Vec<String>, OpenError> {
        let end_index = self.found.end.segment;
        let mut discarded = Vec::new();
        let segments = &self.found.files.segments;
        let first_behind = end_index.map_or(0, |index| index + 1);
        let is_torn = self.found.torn.is_some();
        if let Some(torn) = &self.found.torn {
            self.storage
                .make_dir(DISCARD_NAME)
                .and_then(|()| self.storage.sync_dir(""))
                .map_err(|source| self.failed("creation", DISCARD_NAME, source))?;
            if let Some(index) = end_index {
                let segment = &segments[index];
                let stem = format!("{}-{epoch}", torn.seq);
                discarded.extend(self.keep(&stem, &segment.region, self.found.end.offset)?);
                for later in &segments[first_behind..] {
                    let stem = format!("{}-{epoch}-{}", torn.seq, later.header.segment_no);
                    discarded.extend(self.keep(&stem, &later.region, HEADER_BYTES)?);
                }
            }
            self.storage
                .sync_dir(DISCARD_NAME)
                .map_err(|source| self.failed("sync", DISCARD_NAME, source))?;
        }
        // From the last one down, so that a crash in between leaves no hole.
        for later in segments[first_behind..].iter().rev() {
            self.remove(&later.name)?;
        }
        if first_behind < segments.len() {
            self.sync_dir()?;
        }
        if let Some(index) = end_index
            && is_torn
        {
            let name = segments[index].name.clone();
            let from = self.found.end.offset;
            let failed = |what, source| self.failed(what, &name, source);
            let file = self
                .storage
                .open(&name, Access::Write)
                .map_err(|e| failed("opening", e))?;
            let region = file
                .map(segments[index].region.len(), MapAccess::Write)
                .map_err(|e| failed("mapping", e))?;
            for at in (from..region.len()).step_by(SLOT_BYTES) {
                if !region.is_zero_slot(at) {
                    region.store_slot(at, &[0; SLOT_BYTES]);
                }
            }
            file.sync().map_err(|e| failed("sync", e))?;
        }
        self.found.files.segments.truncate(first_behind);
        Ok(discarded)
    }

    /// Copies the bytes from `from` to the last one that is not zero into a side file.
    fn keep(&self, stem: &str, region: &Region, from: usize) -> Result<Option<String>, OpenError> {
        let last = (from..region.len())
            .step_by(SLOT_BYTES)
            .rev()
            .find(|at| !region.is_zero_slot(*at));
        let Some(last) = last else { return Ok(None) };
        let mut bytes = vec![0; last + SLOT_BYTES - from];
        region.load(from, &mut bytes);
        // A crash during an earlier attempt may have left the name; what it kept stays.
        let mut name = format!("{DISCARD_NAME}/{stem}.bin");
        let mut attempt = 0;
        let file = loop {
            match self.storage.create(&name) {
                Ok(file) => break file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    attempt += 1;
                    name = format!("{DISCARD_NAME}/{stem}.{attempt}.bin");
                }
                Err(source) => return Err(self.failed("creation", &name, source)),
            }
        };
        write_all(&*file, 0, &bytes)
            .and_then(|()| file.sync())
            .map_err(|source| self.failed("writing", &name, source))?;
        Ok(Some(name))
    }

    /// Opens the segment in which the journal goes on, if it goes on in one, and brings everything that
    /// was read to disk: after a kill it may only be in the page cache.
    fn open_last(&mut self) -> Result<Option<Resume>, OpenError> {
        let Some(index) = self.found.end.segment else {
            return Ok(None);
        };
        for at in 0..=index {
            self.refresh(at, index)?;
        }
        let segment = &mut self.found.files.segments[index];
        if segment.is_ready {
            let first_seq = match self.found.end.offset {
                HEADER_BYTES => self.found.end.carry.seq.next(),
                _ => first_seq_of(&segment.region),
            };
            let name = crate::segment::NameBuf::segment(first_seq)
                .as_str()
                .to_owned();
            let from = std::mem::replace(&mut segment.name, name.clone());
            segment.is_ready = false;
            self.storage
                .rename(&from, &name)
                .map_err(|source| self.failed("rename", &from, source))?;
        }
        self.sync_dir()?;
        let end = &mut self.found.end;
        if end.sealed {
            return Ok(None);
        }
        let found = &self.found.files.segments[index];
        let segment = adopt(&*self.storage, &found.name, found.header.clone())?;
        let Some(chain) = end.chain.take() else {
            return Ok(None);
        };
        Ok(Some(Resume {
            segment: Arc::new(segment),
            offset: end.offset,
            chain,
            checkpoint: end.checkpoint,
        }))
    }

    /// Syncs a segment that may hold bytes which are not on disk, and repairs a watermark slot of a
    /// sealed one that was caught half written.
    fn refresh(&self, index: usize, last: usize) -> Result<(), OpenError> {
        let segment = &self.found.files.segments[index];
        let is_half = self.found.half_marks.contains(&index);
        let mark_no = self.found.high.position.map_or(0, |(no, _)| no);
        if segment.header.segment_no < mark_no && !is_half {
            return Ok(());
        }
        let failed = |what, source| self.failed(what, &segment.name, source);
        let file = self
            .storage
            .open(&segment.name, Access::Write)
            .map_err(|e| failed("opening", e))?;
        if is_half && index < last {
            let region = file
                .map(segment.region.len(), MapAccess::Write)
                .map_err(|e| failed("mapping", e))?;
            let good = segment.watermark().unwrap_or_default();
            if let Some(bad) = segment.watermarks.iter().position(Option::is_none) {
                // One generation below the good one, which goes on to count.
                let generation = good.generation.saturating_sub(1);
                let mark = Watermark { generation, ..good };
                region.store_slot(WATERMARK_AT[bad], &mark.encode());
            }
        }
        file.sync().map_err(|e| failed("sync", e))
    }

    /// Takes over the prepared segments that fit, in order, and removes the others.
    fn spares(&self) -> Result<Vec<Arc<Segment>>, OpenError> {
        let mut next_no = self.found.end.segment.map_or(0, |index| {
            self.found.files.segments[index].header.segment_no + 1
        });
        let mut spares = Vec::new();
        for ready in &self.found.files.ready {
            let wanted = SegmentHeader {
                segment_no: next_no,
                created_ns: ready.header.created_ns,
                ..self.identity.clone()
            };
            if ready.header == wanted && spares.len() < self.config.segments_ahead {
                spares.push(Arc::new(adopt(&*self.storage, &ready.name, wanted)?));
                next_no += 1;
            } else {
                self.remove(&ready.name)?;
            }
        }
        Ok(spares)
    }

    fn remove(&self, name: &str) -> Result<(), OpenError> {
        self.storage
            .remove(name)
            .map_err(|source| self.failed("removal", name, source))
    }

    fn sync_dir(&self) -> Result<(), OpenError> {
        self.storage
            .sync_dir("")
            .map_err(|source| self.failed("sync", "", source))
    }

    fn failed(&self, what: &'static str, name: &str, source: io::Error) -> OpenError {
        OpenError::Io {
            what,
            path: joined(&*self.storage, name),
            source,
        }
    }
}

fn resumed_syncer(
    shared: &Arc<Shared>,
    segment: &Arc<Segment>,
    carry: &crate::reader::Carry,
    resume: &Resume,
) -> Syncer {
    let synced = Position {
        segment_no: segment.header.segment_no,
        offset: resume.offset as u64,
        seq: carry.seq,
        records: 0,
        chain: resume.checkpoint,
    };
    let generation = segment.watermark_generation();
    Syncer::new(
        Arc::clone(shared),
        Some(Arc::clone(segment)),
        generation,
        synced,
    )
}

/// The version of the engine's rules that holds at the end of what was found.
fn rules_in_force(found: &Survey) -> Option<u32> {
    let last = found.files.segments.last();
    found
        .end
        .carry
        .rules
        .or(last.map(|segment| segment.header.rules_version))
}

/// Highest sequence that the `LIVE` page proves to have been on disk.
pub(crate) fn known_seq(live: Option<&LiveView>) -> Seq {
    live.filter(|view| view.is_witness)
        .and_then(|view| view.synced)
        .unwrap_or_default()
}

/// Last command of the newest verified snapshot: it was on disk when the snapshot was verified.
pub(crate) fn verified_seq(storage: &Arc<dyn Storage>) -> Result<Seq, ScanError> {
    match Snapshots::on(Arc::clone(storage)).newest_verified() {
        Ok(seq) => Ok(seq.unwrap_or_default()),
        Err(error) => Err(ScanError::Io {
            path: joined(&**storage, crate::SNAP_NAME),
            source: io::Error::other(error),
        }),
    }
}

/// A new journal is made only where nothing speaks against it.
fn check_is_fresh(
    storage: &dyn Storage,
    files: &Files,
    live: Option<&LiveView>,
    config: &Config,
) -> Result<(), OpenError> {
    if let Some(live) = live.filter(|live| live.is_started) {
        return Err(OpenError::Corrupt(Box::new(Corruption {
            path: joined(storage, ""),
            last_seq: Seq::ZERO,
            watermark_seq: live.synced.unwrap_or_default(),
            findings: vec![Finding {
                kind: FindingKind::MissingSegment,
                segment: crate::segment::NameBuf::segment(Seq::new(1))
                    .as_str()
                    .to_owned(),
                offset: 0,
                seq: Seq::new(1),
                expected: "segments".into(),
                found: "none".into(),
                message: format!(
                    "LIVE says that a journal of epoch {} was here and no segment is left; \
                     to begin a new journal in this directory, remove LIVE",
                    live.epoch
                ),
            }],
        })));
    }
    let known = |name: &str| {
        const OURS: [&str; 8] = [
            LOCK_NAME,
            LIVE_NAME,
            "LIVE.new",
            "journal.key",
            DISCARD_NAME,
            "snap",
            "sync.hlog",
            "archive",
        ];
        OURS.contains(&name) || config.companions.iter().any(|c| c == name)
    };
    match files.others.iter().find(|name| !known(name)) {
        Some(name) => Err(OpenError::Foreign {
            path: joined(storage, ""),
            name: name.clone(),
        }),
        None => Ok(()),
    }
}

fn new_identity(config: &Config) -> Result<SegmentHeader, OpenError> {
    let Identity {
        cluster_id,
        hash_seed,
    } = match config.identity {
        Some(identity) => identity,
        None => {
            let mut identity = Identity {
                cluster_id: [0; 16],
                hash_seed: [0; 32],
            };
            fill_random(&mut identity.cluster_id)?;
            fill_random(&mut identity.hash_seed)?;
            identity
        }
    };
    Ok(first_header(config, cluster_id, hash_seed))
}

pub(crate) fn fill_random(mut out: &mut [u8]) -> Result<(), OpenError> {
    while !out.is_empty() {
        match rustix::rand::getrandom(&mut *out, rustix::rand::GetRandomFlags::empty()) {
            Ok(filled) => out = &mut out[filled..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                return Err(OpenError::Io {
                    what: "random bytes for the identity",
                    path: "the new journal".into(),
                    source: error.into(),
                });
            }
        }
    }
    Ok(())
}

/// The `SegmentStart` of a valid segment names its first command.
fn first_seq_of(region: &Region) -> Seq {
    let first = region.load_slot(HEADER_BYTES);
    Seq::new(crate::slot::read_u64(&first, 24))
}

fn lock_text(epoch: u64, started: Timestamp) -> String {
    let name = rustix::system::uname();
    let host = name.nodename().to_string_lossy();
    format!(
        "pid={} host={host} epoch={epoch} started_ns={started}\n",
        std::process::id()
    )
}
