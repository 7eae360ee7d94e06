//! The journal thread's part: records into the mapping, rolling checksum, chain, rotation.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tessera_types::{Seq, Timestamp};

use crate::chain::Chain;
use crate::reader::Carry;
use crate::record::{Body, Epoch, EpochReason, OWN_PAYLOAD_MAX, SegmentStart, kind};
use crate::segment::{HEADER_BYTES, HEADER_CRC_AT, NameBuf};
use crate::slot::{HEAD_PAYLOAD, Head, MAX_PAYLOAD, MAX_SLOTS, SLOT_BYTES, slots_for};
use crate::status::{Handover, Position, Segment, Shared};

/// Appends records. Owned by one thread; allocates nothing and makes no system call but the rename at a
/// rotation.
///
/// A record is in the mapping when `append` returns, and other threads are told by
/// [`Writer::publish`], which a thread calls once per batch.
pub struct Writer {
    shared: Arc<Shared>,
    current: Option<Open>,
    carry: Carry,
    records: u64,
    bytes: u64,
    scratch: Box<[u8; MAX_SLOTS * SLOT_BYTES]>,
    /// First command of the segment that is written now; its name.
    first_seq: Seq,
    /// The last append found no segment, so the next that does is the same stall.
    is_stalled: bool,
}

/// The segment that is written now.
struct Open {
    segment: Arc<Segment>,
    offset: usize,
    chain: Chain,
    checkpoint: [u8; 32],
}

/// Where a writer goes on.
pub(crate) struct Resume {
    pub(crate) segment: Arc<Segment>,
    pub(crate) offset: usize,
    pub(crate) chain: Chain,
    pub(crate) checkpoint: [u8; 32],
}

/// Why a record was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The segment is full and the next one is not ready yet. Nothing was written: try again.
    #[error("no segment is ready yet, the preparer is behind")]
    Stalled,
    /// The segment is full and the next one cannot be made.
    #[error("the next segment cannot be made: {0}; make room on the disk, then start again")]
    NoSegment(String),
    /// A sync or write failed before. The process must end.
    #[error("the journal has failed before and takes no more records")]
    Poisoned,
    /// A rotation could not rename its segment. The journal is poisoned by it.
    #[error("rename of the next segment to {name}: {source}")]
    Rename {
        /// The name it should have got.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The segment is full of starts and holds no command, so the next would get the same name.
    #[error(
        "the segment that begins at {0} is full and holds no command, so the next one would have the \
         same name; start with a larger journal.segment_bytes"
    )]
    NoCommand(Seq),
    /// The caller skipped or repeated a sequence.
    #[error("command {found} cannot follow {last}")]
    Sequence {
        /// Last command in the journal.
        last: Seq,
        /// The one that was to be appended.
        found: Seq,
    },
    /// The caller's clock fell. The engine saw another time than a replay would, so nothing is clamped
    /// here.
    #[error("time {found} of command {seq} is before {last}, the time of the record before")]
    Time {
        /// The command.
        seq: Seq,
        /// Nanoseconds of the record before.
        last: Timestamp,
        /// Nanoseconds of the command.
        found: Timestamp,
    },
    /// The term of a replicated entry is not the one in force, or does not rise.
    #[error("term {term} does not fit the journal, whose epoch is {epoch}")]
    Term {
        /// The term.
        term: u64,
        /// The epoch of the journal.
        epoch: u64,
    },
    /// The kind is not a command's.
    #[error("record type {0:#04x} is not a command's (0x01 to 0x7f)")]
    Kind(u8),
    /// The payload is too long.
    #[error("payload of {0} bytes is above the limit of 32768")]
    Payload(usize),
}

impl AppendError {
    /// True if the same call can succeed later.
    #[must_use]
    pub const fn is_stall(&self) -> bool {
        matches!(self, Self::Stalled)
    }
}

impl Writer {
    /// `first_seq` is the name of the last segment there is, 0 for none.
    pub(crate) fn new(
        shared: Arc<Shared>,
        carry: Carry,
        resume: Option<Resume>,
        first_seq: Seq,
    ) -> Self {
        let resumed = resume.is_some();
        let current = resume.map(|resume| Open {
            segment: resume.segment,
            offset: resume.offset,
            chain: resume.chain,
            checkpoint: resume.checkpoint,
        });
        let scratch = Box::new([0; MAX_SLOTS * SLOT_BYTES]);
        let mut writer = Self {
            shared,
            current,
            carry,
            records: 0,
            bytes: 0,
            scratch,
            first_seq,
            is_stalled: false,
        };
        if resumed {
            // A cut may have taken just the Checkpoint that a full block needs.
            writer.close_full_block();
        }
        writer
    }

    /// Appends a command.
    ///
    /// # Errors
    /// [`AppendError::Stalled`] is no failure: nothing was written and the call can be repeated. After
    /// any other error the process must not go on as if the command were journaled.
    pub fn append(
        &mut self,
        seq: Seq,
        time: Timestamp,
        record_kind: u8,
        payload: &[u8],
    ) -> Result<(), AppendError> {
        if self.shared.is_poisoned() {
            return Err(AppendError::Poisoned);
        }
        if !kind::is_command(record_kind) {
            return Err(AppendError::Kind(record_kind));
        }
        if payload.len() > MAX_PAYLOAD {
            return Err(AppendError::Payload(payload.len()));
        }
        self.append_next(seq, time, record_kind, payload)
    }

    /// Appends a record with the next sequence.
    fn append_next(
        &mut self,
        seq: Seq,
        time: Timestamp,
        record_kind: u8,
        payload: &[u8],
    ) -> Result<(), AppendError> {
        if seq != self.carry.seq.next() {
            return Err(AppendError::Sequence {
                last: self.carry.seq,
                found: seq,
            });
        }
        if time < self.carry.time {
            return Err(AppendError::Time {
                seq,
                last: self.carry.time,
                found: time,
            });
        }
        self.make_room(slots_for(payload.len()))?;
        self.carry.seq = seq;
        self.carry.time = time;
        self.put(record_kind, payload);
        self.close_full_block();
        Ok(())
    }

    /// Appends a Void record in place of a command that an operator neutralises.
    pub(crate) fn append_void(
        &mut self,
        seq: Seq,
        time: Timestamp,
        record_kind: u8,
        payload: &[u8],
    ) -> Result<(), AppendError> {
        let hash = *blake3::hash(payload).as_bytes();
        self.append_void_hash(seq, time, record_kind, hash)
    }

    pub(crate) fn append_void_hash(
        &mut self,
        seq: Seq,
        time: Timestamp,
        record_kind: u8,
        payload_hash: [u8; 32],
    ) -> Result<(), AppendError> {
        let mut payload = [0; OWN_PAYLOAD_MAX];
        let body = Body::Void {
            kind: record_kind,
            payload_hash,
        };
        let used = body.encode(&mut payload);
        self.append_next(seq, time, kind::VOID, &payload[..used])
    }

    /// Begins a term of a replicated journal: a new epoch with the leader's number.
    ///
    /// # Errors
    /// [`AppendError::Term`] if the term does not rise, else as [`Writer::append`].
    pub fn begin_term(&mut self, term: u64) -> Result<(), AppendError> {
        if term <= self.carry.epoch {
            return Err(AppendError::Term {
                term,
                epoch: self.carry.epoch,
            });
        }
        let epoch = Epoch {
            epoch: term,
            node: self.shared.config.node,
            reason: EpochReason::Failover,
            durability: self.shared.config.durability,
        };
        self.append_own(kind::EPOCH, &Body::Epoch(epoch))?;
        self.shared.epoch.store(term, Ordering::Relaxed);
        Ok(())
    }

    /// Stamps the commands that follow as one entry of a replicated log: a group that is committed or
    /// truncated as a whole.
    ///
    /// # Errors
    /// [`AppendError::Term`] if the term is not the journal's epoch, else as [`Writer::append`].
    pub fn begin_group(&mut self, term: u64, index: u64) -> Result<(), AppendError> {
        if term != self.carry.epoch {
            return Err(AppendError::Term {
                term,
                epoch: self.carry.epoch,
            });
        }
        let body = Body::Batch {
            term,
            index,
            first_seq: self.carry.seq.next(),
        };
        self.append_own(kind::BATCH, &body)
    }

    /// Version of the engine's rules in force.
    pub(crate) fn rules(&self) -> u32 {
        self.shared.rules()
    }

    /// Format of the segment that is written now.
    pub(crate) fn format(&self) -> Option<u16> {
        self.current.as_ref().map(|open| open.segment.header.format)
    }

    /// Puts another version of the engine's rules in force from the next command on.
    pub(crate) fn append_activation(&mut self, rules_version: u32) -> Result<(), AppendError> {
        self.append_own(kind::ACTIVATION, &Body::Activation { rules_version })?;
        self.shared.set_rules(rules_version);
        Ok(())
    }

    /// Appends the hash of the state after the last command.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn append_state_hash(
        &mut self,
        hash: &[u8; 32],
        events_digest: u32,
    ) -> Result<(), AppendError> {
        self.append_own(
            kind::STATE_HASH,
            &Body::StateHash {
                hash: *hash,
                events_digest,
            },
        )
    }

    /// Tells the sync thread and all readers how far the journal has come. Returns the last sequence.
    ///
    /// In mode `async` this also moves `durable`; the caller wakes whoever waits for it.
    pub fn publish(&mut self) -> Seq {
        let seq = self.carry.seq;
        self.shared
            .bytes_written
            .store(self.bytes, Ordering::Relaxed);
        // After a failure nothing moves any more, `async` or not.
        if !self.shared.is_poisoned() {
            if let Some(position) = self.position() {
                self.shared.set_position(&position);
            }
            self.shared.set_published(seq);
            if self.shared.config.durability == crate::Durability::Async && self.shared.is_local() {
                self.shared.set_durable(seq);
            }
        }
        seq
    }

    /// The last command that was appended.
    #[must_use]
    pub const fn last_seq(&self) -> Seq {
        self.carry.seq
    }

    /// The time of the last record; no command may be earlier.
    #[must_use]
    pub const fn last_time(&self) -> Timestamp {
        self.carry.time
    }

    /// Appends one of the journal's own records.
    pub(crate) fn append_own(
        &mut self,
        record_kind: u8,
        body: &Body<'_>,
    ) -> Result<(), AppendError> {
        if self.shared.is_poisoned() {
            return Err(AppendError::Poisoned);
        }
        let mut payload = [0; OWN_PAYLOAD_MAX];
        let used = body.encode(&mut payload);
        self.make_room(slots_for(used))?;
        if let Body::Epoch(new) = body {
            self.carry.epoch = new.epoch;
        }
        self.put(record_kind, &payload[..used]);
        self.close_full_block();
        Ok(())
    }

    /// Makes sure that a record of `slots` slots fits, with the Checkpoint that may follow it and the
    /// `SegmentEnd`; rotates if it does not.
    fn make_room(&mut self, slots: usize) -> Result<(), AppendError> {
        if let Some(open) = &self.current {
            let needed = (slots + RESERVED_SLOTS) * SLOT_BYTES;
            if open.offset + needed <= open.segment.region.len() {
                return Ok(());
            }
        }
        self.rotate()
    }

    pub(crate) fn rotate(&mut self) -> Result<(), AppendError> {
        let next_first = self.carry.seq.next();
        if self.first_seq == next_first {
            return Err(AppendError::NoCommand(next_first));
        }
        let next = {
            let mut ready = self.shared.ready();
            match ready.queue.pop_front() {
                Some(segment) => segment,
                None => {
                    if !std::mem::replace(&mut self.is_stalled, true) {
                        self.shared.stalls.fetch_add(1, Ordering::Relaxed);
                    }
                    self.shared.want_segment();
                    return Err(match &ready.error {
                        Some(reason) => AppendError::NoSegment(reason.clone()),
                        None => AppendError::Stalled,
                    });
                }
            }
        };
        self.is_stalled = false;
        self.shared.want_segment();
        let end = self.seal();
        let name = NameBuf::segment(next_first);
        let from = NameBuf::ready(next.header.segment_no);
        if let Err(source) = self.shared.storage.rename(from.as_str(), name.as_str()) {
            self.shared.poison();
            return Err(AppendError::Rename {
                name: name.as_str().to_owned(),
                source,
            });
        }
        // The sync thread must find the segment in the queue before it sees a position in it.
        self.shared.sealed().push_back(Handover {
            end,
            next: Arc::clone(&next),
        });
        self.shared.rotations.fetch_add(1, Ordering::Relaxed);
        self.begin(next);
        Ok(())
    }

    /// Closes the current segment, if there is one, and says where it ends.
    fn seal(&mut self) -> Position {
        let Some(open) = &mut self.current else {
            return Position::default();
        };
        let chain = open.chain.close();
        open.checkpoint = chain;
        let mut payload = [0; OWN_PAYLOAD_MAX];
        let used = Body::SegmentEnd { chain }.encode(&mut payload);
        self.put(kind::SEGMENT_END, &payload[..used]);
        self.carry.chain = chain;
        self.position().unwrap_or_default()
    }

    /// Writes the first records of a fresh segment.
    pub(crate) fn begin(&mut self, segment: Arc<Segment>) {
        let header = segment.header.encode();
        let chain = Chain::start(
            &segment.header.hash_seed,
            &self.carry.chain,
            &header[..HEADER_CRC_AT],
        );
        let start = SegmentStart {
            first_seq: self.carry.seq.next(),
            epoch: self.carry.epoch,
            previous_chain: self.carry.chain,
            previous_crc: self.carry.crc,
        };
        self.first_seq = start.first_seq;
        self.carry.crc = segment.header.crc();
        let format = Body::Format {
            format: segment.header.format,
            payload_schema: self.shared.config.payload_schema,
            rules_version: segment.header.rules_version,
        };
        let checkpoint = *chain.value();
        self.current = Some(Open {
            segment,
            offset: HEADER_BYTES,
            chain,
            checkpoint,
        });
        let mut payload = [0; OWN_PAYLOAD_MAX];
        let used = Body::SegmentStart(start).encode(&mut payload);
        self.put(kind::SEGMENT_START, &payload[..used]);
        let used = format.encode(&mut payload);
        self.put(kind::FORMAT, &payload[..used]);
        if start.previous_chain != [0; 32]
            && let Some(signer) = self.shared.config.signer.clone()
        {
            let signature = signer.sign(&start.previous_chain);
            let body = Body::Signature {
                key_id: signer.key_id(),
                signature: &signature,
            };
            let used = body.encode(&mut payload);
            self.put(kind::SIGNATURE, &payload[..used]);
        }
    }

    fn close_full_block(&mut self) {
        let Some(open) = self.current.as_mut().filter(|open| open.chain.is_full()) else {
            return;
        };
        let records = open.chain.records();
        let chain = open.chain.close();
        open.checkpoint = chain;
        let mut payload = [0; OWN_PAYLOAD_MAX];
        let used = Body::Checkpoint { chain, records }.encode(&mut payload);
        self.put(kind::CHECKPOINT, &payload[..used]);
    }

    /// Stores a record for which there is room: continuation slots first, the commit word last.
    fn put(&mut self, record_kind: u8, payload: &[u8]) {
        let Some(open) = &mut self.current else {
            return;
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the low 16 bits are the definition"
        )]
        let epoch_low = self.carry.epoch as u16;
        let head = Head {
            payload_bytes: payload.len(),
            kind: record_kind,
            flags: 0,
            epoch_low,
            seq: self.carry.seq,
            time: self.carry.time,
        };
        if payload.len() <= HEAD_PAYLOAD {
            let (words, crc) = head.encode_one(payload, self.carry.crc);
            self.carry.crc = crc;
            open.chain.absorb_slot(&words);
            open.segment.region.store_words(open.offset, &words);
            open.offset += SLOT_BYTES;
            self.records += 1;
            self.bytes += SLOT_BYTES as u64;
            return;
        }
        let bytes = slots_for(payload.len()) * SLOT_BYTES;
        let slots = &mut self.scratch[..bytes];
        self.carry.crc = head.encode(payload, self.carry.crc, slots);
        open.chain.absorb(slots);
        let region = &open.segment.region;
        for at in (SLOT_BYTES..bytes).step_by(SLOT_BYTES) {
            region.store_slot(open.offset + at, &slots[at..at + SLOT_BYTES]);
        }
        region.store_slot(open.offset, &slots[..SLOT_BYTES]);
        open.offset += bytes;
        self.records += 1;
        self.bytes += bytes as u64;
    }

    fn position(&self) -> Option<Position> {
        self.current.as_ref().map(|open| Position {
            segment_no: open.segment.header.segment_no,
            offset: open.offset as u64,
            seq: self.carry.seq,
            records: self.records,
            chain: open.checkpoint,
        })
    }
}

/// A Checkpoint and the `SegmentEnd`, one slot each.
const RESERVED_SLOTS: usize = 2;
