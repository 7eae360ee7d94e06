//! Walking over the records of one segment: the only code that decides whether a record is good.

use tessera_types::{Seq, Timestamp};

use crate::chain::{BLOCK_RECORDS, Chain};
use crate::crc;
use crate::record::{Body, Record, kind};
use crate::recovery::{FindingKind, SlotState};
use crate::segment::{HEADER_BYTES, HEADER_CRC_AT, NameBuf, SegmentHeader};
use crate::slot::{
    Commit, Head, MAX_SLOTS, SLOT_BYTES, continuation_mark, copy_payload, crc_of_words, low_half,
    put_words, read_u32, record_crc, stored_crc,
};
use crate::storage::Region;

/// What the end of one segment hands to the start of the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carry {
    pub(crate) seq: Seq,
    pub(crate) time: Timestamp,
    pub(crate) epoch: u64,
    pub(crate) chain: [u8; 32],
    pub(crate) crc: u32,
    /// Version of the engine's rules; nothing where the format did not bind it.
    pub(crate) rules: Option<u32>,
}

impl Carry {
    /// True if a segment that was walked from `self` was walked from what really precedes it.
    pub(crate) fn continues(&self, actual: &Self) -> bool {
        // A segment that begins under an activated version says so in its header, which its first record
        // is compared with; without a version in `self` that comparison has not been made.
        self == actual
            || actual.rules.is_none()
                && Self {
                    rules: None,
                    ..*self
                } == *actual
    }
}

/// Reads one segment, record by record, and checks everything that the format says about them.
pub(crate) struct Walker {
    region: Region,
    header: SegmentHeader,
    carry: Carry,
    offset: usize,
    crc: u32,
    chain: Option<Chain>,
    checkpoint: [u8; 32],
    index: u64,
    sealed: bool,
    /// The record's slots, and how many bytes of them.
    slots: Box<[u8; MAX_SLOTS * SLOT_BYTES]>,
    used: usize,
    /// The payload of a record of several slots.
    payload: Vec<u8>,
    /// Where the walk stood before the last record.
    before: Place,
    /// The last record changed nothing of a place but offset, sequence, time and checksum, so the rest of
    /// `before` is out of date.
    was_plain: bool,
}

/// Where a walk stands, between two records.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub(crate) offset: usize,
    pub(crate) carry: Carry,
    pub(crate) checkpoint: [u8; 32],
}

/// What a step found.
pub(crate) enum Step<'a> {
    Record(Record<'a>),
    /// The segment's last record has been read.
    Sealed,
    /// No valid record stands here.
    Stop(Stop),
}

/// Where and why reading ended.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    pub(crate) offset: usize,
    pub(crate) state: SlotState,
    pub(crate) fault: Fault,
}

/// What is wrong with a slot.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: FindingKind,
    pub(crate) expected: String,
    pub(crate) found: String,
    pub(crate) message: String,
}

impl Walker {
    /// Begins behind the header. With `check_chain` the hash chain is computed and compared.
    pub(crate) fn new(
        region: Region,
        header: SegmentHeader,
        carry: Carry,
        check_chain: bool,
    ) -> Self {
        let bytes = header.encode();
        let chain = check_chain
            .then(|| Chain::start(&header.hash_seed, &carry.chain, &bytes[..HEADER_CRC_AT]));
        let checkpoint = chain.as_ref().map_or([0; 32], |chain| *chain.value());
        Self {
            region,
            crc: header.crc(),
            header,
            carry,
            offset: HEADER_BYTES,
            chain,
            checkpoint,
            index: 0,
            sealed: false,
            slots: Box::new([0; MAX_SLOTS * SLOT_BYTES]),
            used: 0,
            payload: Vec::new(),
            before: Place::default(),
            was_plain: false,
        }
    }

    /// The next record, or why there is none. After anything but a record it says the same again.
    pub(crate) fn step(&mut self) -> Step<'_> {
        if self.sealed {
            return Step::Sealed;
        }
        if let Some((head, crc)) = self.step_plain() {
            let payload = &self.slots[24..24 + head.payload_bytes];
            return Step::Record(self.record(&head, self.before.offset, crc, payload));
        }
        self.before = self.place();
        self.was_plain = false;
        let (head, crc) = match self.read_slots() {
            Ok(found) => found,
            Err(stop) => return Step::Stop(stop),
        };
        if let Err(fault) = self.admit(&head, crc) {
            return Step::Stop(Stop {
                offset: self.offset,
                state: SlotState::Broken,
                fault,
            });
        }
        let offset = self.offset;
        self.offset += self.used;
        self.index += 1;
        self.carry.seq = head.seq;
        self.carry.time = head.time;
        Step::Record(self.record(&head, offset, crc, &self.payload))
    }

    fn record<'a>(&self, head: &Head, offset: usize, crc: u32, payload: &'a [u8]) -> Record<'a> {
        Record {
            seq: head.seq,
            time: head.time,
            kind: head.kind,
            epoch: self.carry.epoch,
            segment_no: self.header.segment_no,
            offset: offset as u64,
            #[expect(clippy::cast_possible_truncation, reason = "at most 547")]
            slots: (self.used / SLOT_BYTES) as u32,
            crc,
            payload,
        }
    }

    /// The next record, if it is a command in one slot and nothing is wrong with it: nearly every record. Else
    /// nothing is changed, and the long way says what there is.
    #[inline]
    fn step_plain(&mut self) -> Option<(Head, u32)> {
        let offset = self.offset;
        if offset + SLOT_BYTES > self.region.len() || self.index == 0 {
            return None;
        }
        let words = self.region.load_words(offset);
        let Commit::Finished {
            payload_bytes,
            slots: 1,
        } = Commit::of_word(low_half(words[0]))
        else {
            return None;
        };
        let head = Head::of_words(&words, payload_bytes);
        let crc = crc_of_words(&words);
        let is_good = kind::is_command(head.kind)
            && head.flags == 0
            && head.seq == self.carry.seq.next()
            && u64::from(head.epoch_low) == self.carry.epoch & 0xffff
            && crc::of_slot(self.crc, &words) == crc;
        if !is_good || self.chain.as_ref().is_some_and(Chain::is_full) {
            return None;
        }
        if let Some(chain) = &mut self.chain {
            chain.absorb_slot(&words);
        }
        self.before.offset = offset;
        self.before.carry.seq = self.carry.seq;
        self.before.carry.time = self.carry.time;
        self.before.carry.crc = self.crc;
        self.was_plain = true;
        put_words(&words, &mut self.slots[..SLOT_BYTES]);
        self.used = SLOT_BYTES;
        self.offset = offset + SLOT_BYTES;
        self.index += 1;
        self.carry.seq = head.seq;
        self.carry.time = head.time;
        // The checksum as stored, not as computed: the processor need not wait for the one to begin the next.
        self.crc = crc;
        Some((head, crc))
    }

    /// Where the walk stands.
    pub(crate) const fn place(&self) -> Place {
        Place {
            offset: self.offset,
            carry: self.carry(),
            checkpoint: self.checkpoint,
        }
    }

    /// Where the walk stood before the last record.
    pub(crate) fn place_before(&self) -> Place {
        if !self.was_plain {
            return self.before;
        }
        Place {
            offset: self.before.offset,
            carry: Carry {
                seq: self.before.carry.seq,
                time: self.before.carry.time,
                crc: self.before.carry.crc,
                ..self.carry
            },
            checkpoint: self.checkpoint,
        }
    }

    /// End of the last good record.
    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }

    /// The slot in which the next record begins; nothing behind the `SegmentEnd` and the end of the file.
    pub(crate) fn first_slot(&self) -> Option<[u8; SLOT_BYTES]> {
        (!self.sealed && self.offset < self.region.len())
            .then(|| self.region.load_slot(self.offset))
    }

    /// True after a `SegmentEnd`.
    pub(crate) const fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// What the next segment, or the writer, continues from.
    pub(crate) const fn carry(&self) -> Carry {
        Carry {
            crc: self.crc,
            ..self.carry
        }
    }

    /// The chain value of the last block border.
    pub(crate) const fn checkpoint(&self) -> [u8; 32] {
        self.checkpoint
    }

    /// The open chain, if it was asked for.
    pub(crate) fn into_chain(self) -> Option<Chain> {
        self.chain
    }

    /// Copies the slots of the record at `offset` and checks commit word, marks and checksum.
    fn read_slots(&mut self) -> Result<(Head, u32), Stop> {
        let offset = self.offset;
        let stop = |state, fault| Stop {
            offset,
            state,
            fault,
        };
        let room = self.region.len().saturating_sub(offset) / SLOT_BYTES;
        if room == 0 {
            let fault = Fault {
                kind: FindingKind::Order,
                expected: "SegmentEnd".into(),
                found: "end of file".into(),
                message: "the segment is full and has no SegmentEnd".into(),
            };
            return Err(stop(SlotState::Broken, fault));
        }
        let first = self.region.load_slot(offset);
        let (payload_bytes, slots) = match Commit::of(&first) {
            Commit::Empty if first.iter().all(|byte| *byte == 0) => {
                return Err(stop(SlotState::Zero, self.missing("nothing")));
            }
            Commit::Empty => {
                return Err(stop(
                    SlotState::Unfinished,
                    self.missing("an unfinished slot"),
                ));
            }
            Commit::Finished {
                payload_bytes,
                slots,
            } if slots <= room => (payload_bytes, slots),
            Commit::Finished { .. } | Commit::Impossible(_) => {
                let found = read_u32(&first, 0);
                let fault = Fault {
                    kind: FindingKind::Crc,
                    expected: "a length".into(),
                    found: format!("{found:#010x}"),
                    message: format!("the record's length word is {found:#010x}, which cannot be"),
                };
                return Err(stop(SlotState::Damaged, fault));
            }
        };
        self.used = slots * SLOT_BYTES;
        self.slots[..SLOT_BYTES].copy_from_slice(&first);
        for slot in 1..slots {
            let at = slot * SLOT_BYTES;
            let next = self.region.load_slot(offset + at);
            if read_u32(&next, 0) == 0 {
                let fault = self.missing("a record whose continuation is not finished");
                return Err(stop(SlotState::Unfinished, fault));
            }
            self.slots[at..at + SLOT_BYTES].copy_from_slice(&next);
        }
        let record = &self.slots[..self.used];
        let expected = record_crc(self.crc, record);
        let found = stored_crc(&first);
        if expected != found {
            let fault = Fault {
                kind: FindingKind::Crc,
                expected: format!("{expected:#010x}"),
                found: format!("{found:#010x}"),
                message: format!("checksum is {found:#010x}, expected {expected:#010x}"),
            };
            return Err(stop(SlotState::Damaged, fault));
        }
        let head = Head::decode(&first, payload_bytes);
        copy_payload(record, payload_bytes, &mut self.payload);
        Ok((head, expected))
    }

    /// Checks the rules behind the checksum, and takes the record into chain and epoch.
    fn admit(&mut self, head: &Head, crc: u32) -> Result<(), Fault> {
        let broken = |kind, expected: String, found: String, what: &str| Fault {
            kind,
            message: format!("{what} is {found}, expected {expected}"),
            expected,
            found,
        };
        let is_first = self.index == 0;
        if is_first != (head.kind == kind::SEGMENT_START) {
            let expected = if is_first {
                "SegmentStart"
            } else {
                "a record other than SegmentStart"
            };
            let found = format!("{:#04x}", head.kind);
            return Err(broken(
                FindingKind::Order,
                expected.into(),
                found,
                "record type",
            ));
        }
        let expected_seq = if kind::has_seq(head.kind) {
            self.carry.seq.next()
        } else {
            self.carry.seq
        };
        if head.seq != expected_seq {
            let (expected, found) = (expected_seq.to_string(), head.seq.to_string());
            return Err(broken(FindingKind::Sequence, expected, found, "sequence"));
        }
        let mark = continuation_mark(head.seq);
        for slot in self.slots[SLOT_BYTES..self.used].chunks_exact(SLOT_BYTES) {
            let found = read_u32(slot, 0);
            if found != mark {
                let (expected, found) = (format!("{mark:#010x}"), format!("{found:#010x}"));
                return Err(broken(
                    FindingKind::Sequence,
                    expected,
                    found,
                    "continuation mark",
                ));
            }
        }
        if head.flags != 0 {
            let found = head.flags.to_string();
            return Err(broken(
                FindingKind::Payload,
                "0".into(),
                found,
                "flags byte",
            ));
        }
        let body = Body::decode(head.kind, &self.payload).map_err(|error| Fault {
            kind: FindingKind::Payload,
            expected: "a record of this format".into(),
            found: format!("{:#04x}", head.kind),
            message: error.to_string(),
        })?;
        if self.header.format < 2 && matches!(head.kind, kind::VOID | kind::ACTIVATION) {
            let expected = "one of format 1".into();
            let found = format!("{:#04x}", head.kind);
            return Err(broken(FindingKind::Payload, expected, found, "record type"));
        }
        let mut epoch = self.carry.epoch;
        let mut rules = self.carry.rules;
        match body {
            Body::Epoch(new) if new.epoch <= epoch => {
                let expected = format!("above {epoch}");
                return Err(broken(
                    FindingKind::Epoch,
                    expected,
                    new.epoch.to_string(),
                    "epoch",
                ));
            }
            Body::Epoch(new) => epoch = new.epoch,
            Body::SegmentStart(start) => {
                let same = |what, kind, expected: String, found: String| {
                    if expected == found {
                        Ok(())
                    } else {
                        Err(broken(kind, expected, found, what))
                    }
                };
                let first_seq = self.carry.seq.next().to_string();
                let found = start.first_seq.to_string();
                same(
                    "first sequence of the segment",
                    FindingKind::Sequence,
                    first_seq,
                    found,
                )?;
                let found = start.epoch.to_string();
                same(
                    "epoch of the segment",
                    FindingKind::Epoch,
                    epoch.to_string(),
                    found,
                )?;
                let (expected, found) = (hex(&self.carry.chain), hex(&start.previous_chain));
                same(
                    "chain value of the segment before",
                    FindingKind::Chain,
                    expected,
                    found,
                )?;
                let expected = format!("{:#010x}", self.carry.crc);
                let found = format!("{:#010x}", start.previous_crc);
                same(
                    "checksum of the segment before",
                    FindingKind::Order,
                    expected,
                    found,
                )?;
                if let Some(rules) = self.carry.rules {
                    let found = self.header.rules_version.to_string();
                    same(
                        "rules version of the segment",
                        FindingKind::Order,
                        rules.to_string(),
                        found,
                    )?;
                }
                // Format 1 did not say what a change of the rules takes.
                rules = (self.header.format >= 2).then_some(self.header.rules_version);
            }
            Body::Batch {
                term, first_seq, ..
            } if (term, first_seq) != (epoch, self.carry.seq.next()) => {
                let expected = format!("{:?}", (epoch, self.carry.seq.next().get()));
                let found = format!("{:?}", (term, first_seq.get()));
                let what = "(term, first sequence) of the group";
                return Err(broken(FindingKind::Order, expected, found, what));
            }
            Body::Activation { rules_version } => {
                if rules.is_none_or(|rules| rules_version <= rules) {
                    let expected = format!("above {}", self.header.rules_version);
                    let found = rules_version.to_string();
                    return Err(broken(FindingKind::Order, expected, found, "rules version"));
                }
                rules = Some(rules_version);
            }
            Body::Format {
                format,
                rules_version,
                ..
            } => {
                if self.index != 1 {
                    let found = format!("record {} of it", self.index);
                    let expected = "second record of a segment".into();
                    return Err(broken(
                        FindingKind::Order,
                        expected,
                        found,
                        "place of Format",
                    ));
                }
                let expected = (self.header.format, self.header.rules_version);
                if (format, rules_version) != expected {
                    let found = format!("{:?}", (format, rules_version));
                    let what = "(format, rules version)";
                    return Err(broken(
                        FindingKind::Payload,
                        format!("{expected:?}"),
                        found,
                        what,
                    ));
                }
            }
            _ => {}
        }
        if u64::from(head.epoch_low) != epoch & 0xffff {
            let (expected, found) = ((epoch & 0xffff).to_string(), head.epoch_low.to_string());
            return Err(broken(
                FindingKind::Epoch,
                expected,
                found,
                "low half of the epoch",
            ));
        }
        if let Some(chain) = &mut self.chain {
            let records = chain.records();
            let closes = match body {
                Body::Checkpoint {
                    chain,
                    records: counted,
                } => {
                    if counted != records {
                        let (expected, found) = (records.to_string(), counted.to_string());
                        let what = "record count of the block";
                        return Err(broken(FindingKind::Chain, expected, found, what));
                    }
                    Some(chain)
                }
                Body::SegmentEnd { chain } => Some(chain),
                _ if chain.is_full() => {
                    let expected = format!("a Checkpoint after {BLOCK_RECORDS} records");
                    let found = format!("{:#04x}", head.kind);
                    return Err(broken(FindingKind::Chain, expected, found, "record type"));
                }
                _ => None,
            };
            if let Some(found) = closes {
                let expected = chain.close();
                if found != expected {
                    let (expected, found) = (hex(&expected), hex(&found));
                    return Err(broken(FindingKind::Chain, expected, found, "chain value"));
                }
                self.checkpoint = expected;
            }
            chain.absorb(&self.slots[..self.used]);
        }
        if let Body::SegmentEnd { chain } = body {
            self.sealed = true;
            self.carry.chain = chain;
        }
        self.carry.epoch = epoch;
        self.carry.rules = rules;
        self.crc = crc;
        Ok(())
    }

    fn missing(&self, found: &str) -> Fault {
        let expected = self.carry.seq.next();
        Fault {
            kind: FindingKind::Sequence,
            expected: format!("record {expected}"),
            found: found.into(),
            message: format!("record {expected} is missing, there is {found}"),
        }
    }
}

/// The name a segment must have if its first command will follow `carry`.
pub(crate) fn expected_name(carry: &Carry) -> NameBuf {
    NameBuf::segment(carry.seq.next())
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
