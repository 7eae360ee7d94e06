//! The journal's own records: what their payloads mean. Pure.
//!
//! Commands (0x01..=0x7f) are bytes to this package. The records from 0x80 up are:
//!
//! | Kind | Name | Payload |
//! |---|---|---|
//! | 0x80 | Checkpoint | chain \[32\], records in block u32 |
//! | 0x81 | `StateHash` | hash \[32\], events digest u32 |
//! | 0x82 | Epoch | new epoch u64, node u64, reason u8, durability u8 |
//! | 0x83 | Recovered | discarded from seq u64, slots u32, accepted by operator u8 |
//! | 0x84 | Format | format u16, payload schema u16, rules version u32 |
//! | 0x85 | `SegmentEnd` | chain \[32\] |
//! | 0x86 | Signature | key id u32, Ed25519 \[64\] |
//! | 0x87 | Batch | term u64, index u64, first seq u64 |
//! | 0x88 | `SegmentStart` | first seq u64, epoch u64, previous chain \[32\], previous CRC u32 |
//! | 0x89 | Void | kind of the command u8, BLAKE3 of its payload \[32\] |
//! | 0x8a | Activation | rules version u32 |

use std::fmt;

use tessera_types::{Seq, Timestamp};

use crate::Durability;
use crate::slot::{read_u32, read_u64};

/// Record types at and above 0x80. Everything from 0x01 to 0x7f is a command.
pub mod kind {
    /// Closes a block of the hash chain.
    pub const CHECKPOINT: u8 = 0x80;
    /// Hash of the engine's state, handed in by the core.
    pub const STATE_HASH: u8 = 0x81;
    /// A new life of the journal begins.
    pub const EPOCH: u8 = 0x82;
    /// A torn tail was cut here.
    pub const RECOVERED: u8 = 0x83;
    /// Names the versions in force; second record of a segment.
    pub const FORMAT: u8 = 0x84;
    /// Last record of a sealed segment.
    pub const SEGMENT_END: u8 = 0x85;
    /// Signature over the chain at the end of the segment before.
    pub const SIGNATURE: u8 = 0x86;
    /// Maps a replicated log entry to a range of sequences.
    pub const BATCH: u8 = 0x87;
    /// First record of every segment.
    pub const SEGMENT_START: u8 = 0x88;
    /// Stands where a command stood that an operator has neutralised, with its sequence. From format 2.
    pub const VOID: u8 = 0x89;
    /// Another version of the engine's rules holds from the next command on. From format 2.
    pub const ACTIVATION: u8 = 0x8a;

    /// True for a command.
    #[must_use]
    pub const fn is_command(kind: u8) -> bool {
        kind != 0 && kind < 0x80
    }

    /// True for a record with a sequence of its own: a command, or what stands in place of one.
    #[must_use]
    pub const fn has_seq(kind: u8) -> bool {
        is_command(kind) || kind == VOID
    }
}

/// One record as a reader sees it. The payload is borrowed from the reader's own buffer, never from a
/// mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The command's sequence, or the last one before a journal record.
    pub seq: Seq,
    /// Sequencer clock.
    pub time: Timestamp,
    /// Record type: a command's own, or one of [`kind`].
    pub kind: u8,
    /// The whole epoch in which the record was written.
    pub epoch: u64,
    /// Number of its segment, from 0.
    pub segment_no: u64,
    /// Bytes from the start of the segment file.
    pub offset: u64,
    /// 64-byte slots the record takes.
    pub slots: u32,
    /// Its checksum.
    pub crc: u32,
    /// The bytes of the command or the journal record.
    pub payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// The payload's meaning, as far as this package knows it.
    ///
    /// # Errors
    /// [`BodyError`] if a journal record's payload has another size, or its kind is not known.
    pub fn body(&self) -> Result<Body<'a>, BodyError> {
        Body::decode(self.kind, self.payload)
    }
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A command, whose bytes mean nothing here.
    Command(&'a [u8]),
    /// Closes a block of the hash chain.
    Checkpoint {
        /// The chain over everything up to this record.
        chain: [u8; 32],
        /// Records in the block it closes.
        records: u32,
    },
    /// Hash of the engine's state after the command with this record's sequence.
    StateHash {
        /// The state's hash.
        hash: [u8; 32],
        /// Digest of the events so far.
        events_digest: u32,
    },
    /// A new life of the journal begins.
    Epoch(Epoch),
    /// A torn tail was cut here.
    Recovered {
        /// Sequence expected at the first byte that was cut.
        from_seq: Seq,
        /// Slots that were cut, up to the last one that was not zero.
        slots: u32,
        /// True if an operator accepted the loss.
        by_operator: bool,
    },
    /// The versions in force from here on.
    Format {
        /// Journal format.
        format: u16,
        /// Version of the command payloads.
        payload_schema: u16,
        /// Version of the engine's rules.
        rules_version: u32,
    },
    /// Last record of a sealed segment.
    SegmentEnd {
        /// The chain over the whole segment.
        chain: [u8; 32],
    },
    /// Signature over the chain at the end of the segment before.
    Signature {
        /// Which key.
        key_id: u32,
        /// Ed25519.
        signature: &'a [u8],
    },
    /// A replicated log entry.
    Batch {
        /// Term of the leader.
        term: u64,
        /// Index of the entry.
        index: u64,
        /// First sequence it carries.
        first_seq: Seq,
    },
    /// First record of a segment.
    SegmentStart(SegmentStart),
    /// A command that an operator has neutralised stood here.
    Void {
        /// Its kind.
        kind: u8,
        /// BLAKE3 of its payload, which the operator keeps.
        payload_hash: [u8; 32],
    },
    /// The engine's rules from the next command on.
    Activation {
        /// Their version.
        rules_version: u32,
    },
}

/// Payload of an Epoch record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// The new epoch.
    pub epoch: u64,
    /// Which node writes it; 0 on a single machine.
    pub node: u64,
    /// Why it begins.
    pub reason: EpochReason,
    /// What acknowledged means in it.
    pub durability: Durability,
}

/// Why an epoch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EpochReason {
    /// The first start, or a start after a clean end.
    Start = 0,
    /// A start that cut a torn tail.
    Recovered = 1,
    /// A new leader of a replicated journal.
    Failover = 2,
}

/// Payload of a `SegmentStart` record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentStart {
    /// Sequence of the first command that will be in the segment; the file's name.
    pub first_seq: Seq,
    /// Epoch at the border.
    pub epoch: u64,
    /// Chain value of the `SegmentEnd` before; zero in the first segment.
    pub previous_chain: [u8; 32],
    /// Checksum of the `SegmentEnd` before; zero in the first segment.
    pub previous_crc: u32,
}

/// Why a journal record's payload cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The payload has another size than its kind.
    #[error("a {name} record has {expected} payload bytes, found {found}")]
    Size {
        /// The kind's name.
        name: &'static str,
        /// Bytes it must have.
        expected: usize,
        /// Bytes it has.
        found: usize,
    },
    /// A field has a value that does not exist.
    #[error("a {name} record has {field} {value}")]
    Field {
        /// The kind's name.
        name: &'static str,
        /// The field's name.
        field: &'static str,
        /// What it held.
        value: u8,
    },
    /// The kind is not one of this format.
    #[error("record type {0:#04x} is not one this program knows")]
    Unknown(u8),
}

impl<'a> Body<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`BodyError`] if a journal record's payload has another size or an unknown value.
    pub fn decode(record_kind: u8, payload: &'a [u8]) -> Result<Self, BodyError> {
        if kind::is_command(record_kind) {
            return Ok(Self::Command(payload));
        }
        let name = kind_name(record_kind).ok_or(BodyError::Unknown(record_kind))?;
        let expected = match record_kind {
            kind::CHECKPOINT | kind::STATE_HASH => 36,
            kind::EPOCH => 18,
            kind::RECOVERED => 13,
            kind::FORMAT => 8,
            kind::SEGMENT_END => 32,
            kind::SIGNATURE => 68,
            kind::BATCH => 24,
            kind::VOID => 33,
            kind::ACTIVATION => 4,
            _ => SEGMENT_START_BYTES,
        };
        if payload.len() != expected {
            return Err(BodyError::Size {
                name,
                expected,
                found: payload.len(),
            });
        }
        let field = |field, value| BodyError::Field { name, field, value };
        Ok(match record_kind {
            kind::CHECKPOINT => Self::Checkpoint {
                chain: read_hash(payload, 0),
                records: read_u32(payload, 32),
            },
            kind::STATE_HASH => Self::StateHash {
                hash: read_hash(payload, 0),
                events_digest: read_u32(payload, 32),
            },
            kind::EPOCH => Self::Epoch(Epoch {
                epoch: read_u64(payload, 0),
                node: read_u64(payload, 8),
                reason: EpochReason::from_u8(payload[16])
                    .ok_or_else(|| field("reason", payload[16]))?,
                durability: Durability::from_u8(payload[17])
                    .ok_or_else(|| field("durability", payload[17]))?,
            }),
            kind::RECOVERED => Self::Recovered {
                from_seq: Seq::new(read_u64(payload, 0)),
                slots: read_u32(payload, 8),
                by_operator: match payload[12] {
                    0 => false,
                    1 => true,
                    other => return Err(field("accepted by operator", other)),
                },
            },
            kind::FORMAT => Self::Format {
                format: u16::from_le_bytes([payload[0], payload[1]]),
                payload_schema: u16::from_le_bytes([payload[2], payload[3]]),
                rules_version: read_u32(payload, 4),
            },
            kind::SEGMENT_END => Self::SegmentEnd {
                chain: read_hash(payload, 0),
            },
            kind::SIGNATURE => Self::Signature {
                key_id: read_u32(payload, 0),
                signature: &payload[4..],
            },
            kind::BATCH => Self::Batch {
                term: read_u64(payload, 0),
                index: read_u64(payload, 8),
                first_seq: Seq::new(read_u64(payload, 16)),
            },
            kind::VOID => Self::Void {
                kind: payload[0],
                payload_hash: read_hash(payload, 1),
            },
            kind::ACTIVATION => Self::Activation {
                rules_version: read_u32(payload, 0),
            },
            _ => Self::SegmentStart(SegmentStart {
                first_seq: Seq::new(read_u64(payload, 0)),
                epoch: read_u64(payload, 8),
                previous_chain: read_hash(payload, 16),
                previous_crc: read_u32(payload, 48),
            }),
        })
    }

    /// Writes the payload into `out` and returns its length in bytes.
    ///
    /// # Panics
    /// If `out` is shorter than the payload; the journal's own records need at most 68 bytes.
    pub fn encode(&self, out: &mut [u8]) -> usize {
        let mut put = Put { out, at: 0 };
        match *self {
            Self::Command(bytes) => put.bytes(bytes),
            Self::Checkpoint { chain, records } => {
                put.bytes(&chain);
                put.bytes(&records.to_le_bytes());
            }
            Self::StateHash {
                hash,
                events_digest,
            } => {
                put.bytes(&hash);
                put.bytes(&events_digest.to_le_bytes());
            }
            Self::Epoch(Epoch {
                epoch,
                node,
                reason,
                durability,
            }) => {
                put.bytes(&epoch.to_le_bytes());
                put.bytes(&node.to_le_bytes());
                put.bytes(&[reason as u8, durability as u8]);
            }
            Self::Recovered {
                from_seq,
                slots,
                by_operator,
            } => {
                put.bytes(&from_seq.get().to_le_bytes());
                put.bytes(&slots.to_le_bytes());
                put.bytes(&[u8::from(by_operator)]);
            }
            Self::Format {
                format,
                payload_schema,
                rules_version,
            } => {
                put.bytes(&format.to_le_bytes());
                put.bytes(&payload_schema.to_le_bytes());
                put.bytes(&rules_version.to_le_bytes());
            }
            Self::SegmentEnd { chain } => put.bytes(&chain),
            Self::Signature { key_id, signature } => {
                put.bytes(&key_id.to_le_bytes());
                put.bytes(signature);
            }
            Self::Batch {
                term,
                index,
                first_seq,
            } => {
                put.bytes(&term.to_le_bytes());
                put.bytes(&index.to_le_bytes());
                put.bytes(&first_seq.get().to_le_bytes());
            }
            Self::SegmentStart(start) => {
                put.bytes(&start.first_seq.get().to_le_bytes());
                put.bytes(&start.epoch.to_le_bytes());
                put.bytes(&start.previous_chain);
                put.bytes(&start.previous_crc.to_le_bytes());
            }
            Self::Void { kind, payload_hash } => {
                put.bytes(&[kind]);
                put.bytes(&payload_hash);
            }
            Self::Activation { rules_version } => put.bytes(&rules_version.to_le_bytes()),
        }
        put.at
    }
}

impl EpochReason {
    /// The reason with this number.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Start),
            1 => Some(Self::Recovered),
            2 => Some(Self::Failover),
            _ => None,
        }
    }
}

impl fmt::Display for EpochReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Recovered => "recovered",
            Self::Failover => "failover",
        })
    }
}

/// The name of a journal record's kind; nothing for commands and for kinds this format does not have.
#[must_use]
pub const fn kind_name(record_kind: u8) -> Option<&'static str> {
    Some(match record_kind {
        kind::CHECKPOINT => "Checkpoint",
        kind::STATE_HASH => "StateHash",
        kind::EPOCH => "Epoch",
        kind::RECOVERED => "Recovered",
        kind::FORMAT => "Format",
        kind::SEGMENT_END => "SegmentEnd",
        kind::SIGNATURE => "Signature",
        kind::BATCH => "Batch",
        kind::SEGMENT_START => "SegmentStart",
        kind::VOID => "Void",
        kind::ACTIVATION => "Activation",
        _ => return None,
    })
}

/// Room for the payload of any of the journal's own records.
pub(crate) const OWN_PAYLOAD_MAX: usize = 68;
/// Payload of a `SegmentStart`.
pub(crate) const SEGMENT_START_BYTES: usize = 52;

struct Put<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Put<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

fn read_hash(bytes: &[u8], at: usize) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(&bytes[at..at + 32]);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(record_kind: u8, body: &Body<'_>, bytes: usize) {
        let mut out = [0xaa; OWN_PAYLOAD_MAX + 1];
        let used = body.encode(&mut out);
        assert_eq!(used, bytes, "{body:?}");
        assert_eq!(Body::decode(record_kind, &out[..used]).as_ref(), Ok(body));
        for wrong in [used - 1, used + 1] {
            assert!(
                matches!(
                    Body::decode(record_kind, &out[..wrong]),
                    Err(BodyError::Size { .. })
                ),
                "{body:?} accepted with {wrong} bytes"
            );
        }
    }

    #[test]
    fn every_journal_record_keeps_its_size_and_meaning() {
        let hash: [u8; 32] = std::array::from_fn(|i| i.to_le_bytes()[0]);
        let signature: [u8; 64] = std::array::from_fn(|i| 100 + i.to_le_bytes()[0]);
        check(
            kind::CHECKPOINT,
            &Body::Checkpoint {
                chain: hash,
                records: 1024,
            },
            36,
        );
        check(
            kind::STATE_HASH,
            &Body::StateHash {
                hash,
                events_digest: 0xfeed,
            },
            36,
        );
        let epoch = Epoch {
            epoch: 1 << 40,
            node: 3,
            reason: EpochReason::Recovered,
            durability: Durability::Strict,
        };
        check(kind::EPOCH, &Body::Epoch(epoch), 18);
        let recovered = Body::Recovered {
            from_seq: Seq::new(9),
            slots: 4,
            by_operator: true,
        };
        check(kind::RECOVERED, &recovered, 13);
        let format = Body::Format {
            format: 1,
            payload_schema: 2,
            rules_version: 3,
        };
        check(kind::FORMAT, &format, 8);
        check(kind::SEGMENT_END, &Body::SegmentEnd { chain: hash }, 32);
        check(
            kind::SIGNATURE,
            &Body::Signature {
                key_id: 5,
                signature: &signature,
            },
            68,
        );
        check(
            kind::BATCH,
            &Body::Batch {
                term: 1,
                index: 2,
                first_seq: Seq::new(3),
            },
            24,
        );
        let start = SegmentStart {
            first_seq: Seq::new(7),
            epoch: 2,
            previous_chain: hash,
            previous_crc: 0xdead_beef,
        };
        check(kind::SEGMENT_START, &Body::SegmentStart(start), 52);
        let void = Body::Void {
            kind: 3,
            payload_hash: hash,
        };
        check(kind::VOID, &void, 33);
        check(kind::ACTIVATION, &Body::Activation { rules_version: 7 }, 4);
    }

    #[test]
    fn unknown_kinds_and_values_are_named() {
        assert_eq!(Body::decode(0x8b, &[]), Err(BodyError::Unknown(0x8b)));
        assert_eq!(Body::decode(0, &[]), Err(BodyError::Unknown(0)));
        assert_eq!(Body::decode(0x7f, &[1]), Ok(Body::Command(&[1])));
        let mut epoch = [0; 18];
        epoch[16] = 3;
        let error = Body::decode(kind::EPOCH, &epoch).unwrap_err();
        assert_eq!(error.to_string(), "a Epoch record has reason 3");
    }
}
