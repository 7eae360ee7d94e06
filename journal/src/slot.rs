//! Slots and records as bytes: pure encoding, no I/O.
//!
//! A record is one or more 64-byte slots. Its first slot:
//!
//! | Offset | Field | Width | Note |
//! |---:|---|---:|---|
//! | 0 | len | 4 | commit word: 28 + payload bytes, never 0 |
//! | 4 | kind | 1 | command 0x01..=0x7f, journal record 0x80 and up |
//! | 5 | flags | 1 | 0 |
//! | 6 | `epoch_low` | 2 | low 16 bits of the epoch |
//! | 8 | seq | 8 | |
//! | 16 | `time_ns` | 8 | |
//! | 24 | payload | 36 | zero padded |
//! | 60 | crc32c | 4 | |
//!
//! A continuation slot: mark (4 bytes, `0x8000_0000` and the low 31 bits of seq), payload (60 bytes).
//! Everything is little endian. The first eight bytes of a slot are one aligned word, which the writer
//! stores last: a slot whose word is zero is not finished.

use tessera_types::{Seq, Timestamp};

use crate::crc;

/// What every record begins with, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Payload length in bytes.
    pub payload_bytes: usize,
    /// Record type: a command's kind, or one of [`crate::record::kind`].
    pub kind: u8,
    /// Reserved, 0.
    pub flags: u8,
    /// Low 16 bits of the epoch.
    pub epoch_low: u16,
    /// The command's sequence, or the last one before a journal record.
    pub seq: Seq,
    /// Sequencer clock.
    pub time: Timestamp,
}

/// What the first slot of a record says about itself, before its checksum is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The commit word is zero: nothing was finished here.
    Empty,
    /// The commit word is a possible length.
    Finished {
        /// Payload length in bytes.
        payload_bytes: usize,
        /// Slots of the whole record.
        slots: usize,
    },
    /// The commit word is no possible length: damage.
    Impossible(u32),
}

impl Commit {
    /// Reads the commit word of a record's first slot.
    #[must_use]
    pub fn of(slot: &[u8; SLOT_BYTES]) -> Self {
        Self::of_word(read_u32(slot, 0))
    }

    /// What a commit word says.
    pub(crate) fn of_word(len: u32) -> Self {
        if len == 0 {
            return Self::Empty;
        }
        match len.checked_sub(LEN_BASE).map(|n| n as usize) {
            Some(payload_bytes) if payload_bytes <= MAX_PAYLOAD => Self::Finished {
                payload_bytes,
                slots: slots_for(payload_bytes),
            },
            _ => Self::Impossible(len),
        }
    }
}

impl Head {
    /// Writes a whole record into `out`, whose length must be `slots_for(payload.len()) * 64`.
    ///
    /// Returns the record's checksum, which is `previous_crc` of the next record.
    ///
    /// # Panics
    /// If `out` has another length or the payload is not the one announced: the caller sizes both.
    pub fn encode(&self, payload: &[u8], previous_crc: u32, out: &mut [u8]) -> u32 {
        assert!(payload.len() == self.payload_bytes && payload.len() <= MAX_PAYLOAD);
        assert_eq!(out.len(), slots_for(payload.len()) * SLOT_BYTES);
        if payload.len() <= HEAD_PAYLOAD {
            let (words, crc) = self.encode_one(payload, previous_crc);
            put_words(&words, out);
            return crc;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most 32 KiB, asserted above"
        )]
        let len = LEN_BASE + payload.len() as u32;
        let (first, rest) = out.split_at_mut(SLOT_BYTES);
        first[0..4].copy_from_slice(&len.to_le_bytes());
        first[4] = self.kind;
        first[5] = self.flags;
        first[6..8].copy_from_slice(&self.epoch_low.to_le_bytes());
        first[8..16].copy_from_slice(&self.seq.get().to_le_bytes());
        first[16..24].copy_from_slice(&self.time.nanos().to_le_bytes());
        let (here, mut further) = payload.split_at(HEAD_PAYLOAD);
        first[24..CRC_AT].copy_from_slice(here);
        let mark = continuation_mark(self.seq).to_le_bytes();
        for slot in rest.chunks_exact_mut(SLOT_BYTES) {
            let here;
            (here, further) = further.split_at(further.len().min(CONTINUATION_PAYLOAD));
            slot[0..4].copy_from_slice(&mark);
            slot[4..4 + here.len()].copy_from_slice(here);
            slot[4 + here.len()..].fill(0);
        }
        let crc = record_crc(previous_crc, out);
        out[CRC_AT..SLOT_BYTES].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// A whole record of one slot, and its checksum.
    ///
    /// # Panics
    /// If the payload is not the one announced or does not fit.
    #[inline]
    pub(crate) fn encode_one(&self, payload: &[u8], previous_crc: u32) -> (Words, u32) {
        assert!(payload.len() == self.payload_bytes && payload.len() <= HEAD_PAYLOAD);
        let mut padded = [0; HEAD_PAYLOAD];
        match <&[u8; HEAD_PAYLOAD]>::try_from(payload) {
            // The common order: copied in registers.
            Ok(whole) => padded = *whole,
            Err(_) => padded[..payload.len()].copy_from_slice(payload),
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most 36 bytes, asserted above"
        )]
        let len = LEN_BASE + payload.len() as u32;
        let mut words = [
            u64::from(len)
                | u64::from(self.kind) << 32
                | u64::from(self.flags) << 40
                | u64::from(self.epoch_low) << 48,
            self.seq.get(),
            self.time.nanos(),
            read_u64(&padded, 0),
            read_u64(&padded, 8),
            read_u64(&padded, 16),
            read_u64(&padded, 24),
            u64::from(read_u32(&padded, 32)),
        ];
        let crc = crc::of_slot(previous_crc, &words);
        words[7] |= u64::from(crc) << 32;
        (words, crc)
    }

    /// The fields of a first slot given as words.
    #[inline]
    pub(crate) fn of_words(words: &Words, payload_bytes: usize) -> Self {
        let [_, _, _, _, kind, flags, low, high] = words[0].to_le_bytes();
        Self {
            payload_bytes,
            kind,
            flags,
            epoch_low: u16::from_le_bytes([low, high]),
            seq: Seq::new(words[1]),
            time: Timestamp::from_nanos(words[2]),
        }
    }

    /// Reads the fields of a first slot whose commit word announced `payload_bytes`.
    #[must_use]
    pub fn decode(slot: &[u8; SLOT_BYTES], payload_bytes: usize) -> Self {
        Self {
            payload_bytes,
            kind: slot[4],
            flags: slot[5],
            epoch_low: u16::from_le_bytes([slot[6], slot[7]]),
            seq: Seq::new(read_u64(slot, 8)),
            time: Timestamp::from_nanos(read_u64(slot, 16)),
        }
    }
}

/// The checksum a record must carry: over the checksum before it, bytes 0..60 of its first slot and all
/// its continuation slots.
///
/// `slots` is the whole record; the checksum field in it is not read. Chaining the checksums means that
/// a record left over from earlier use of the same bytes cannot follow a new one.
#[must_use]
pub fn record_crc(previous_crc: u32, slots: &[u8]) -> u32 {
    let crc = crc::of_slot(previous_crc, &get_words(slots));
    if slots.len() == SLOT_BYTES {
        crc
    } else {
        crc32c::crc32c_append(crc, &slots[SLOT_BYTES..])
    }
}

/// The checksum a record carries.
#[must_use]
pub fn stored_crc(first: &[u8]) -> u32 {
    read_u32(first, CRC_AT)
}

/// The mark of a continuation slot of the record with this sequence; its top bit makes it non-zero.
#[must_use]
pub const fn continuation_mark(seq: Seq) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low 31 bits are the definition"
    )]
    let low = seq.get() as u32;
    low | 0x8000_0000
}

/// Slots of a record with this many payload bytes.
#[must_use]
pub const fn slots_for(payload_bytes: usize) -> usize {
    1 + payload_bytes
        .saturating_sub(HEAD_PAYLOAD)
        .div_ceil(CONTINUATION_PAYLOAD)
}

/// Copies the payload out of a record's slots into `out`, which is replaced.
pub fn copy_payload(slots: &[u8], payload_bytes: usize, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&slots[24..24 + payload_bytes.min(HEAD_PAYLOAD)]);
    for slot in slots[SLOT_BYTES..].chunks_exact(SLOT_BYTES) {
        let take = (payload_bytes - out.len()).min(CONTINUATION_PAYLOAD);
        out.extend_from_slice(&slot[4..4 + take]);
    }
}

/// A slot as eight little-endian words: what is stored into a mapping and loaded from it.
pub(crate) type Words = [u64; SLOT_BYTES / 8];

/// The words of the slot at the beginning of `bytes`.
#[inline]
pub(crate) fn get_words(bytes: &[u8]) -> Words {
    std::array::from_fn(|index| read_u64(bytes, index * 8))
}

/// Writes a slot to the beginning of `bytes`.
#[inline]
pub(crate) fn put_words(words: &Words, bytes: &mut [u8]) {
    for (bytes, word) in bytes.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
}

/// The commit word, or the mark, in a slot's first word.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low half is the definition"
)]
pub(crate) const fn low_half(word: u64) -> u32 {
    word as u32
}

/// The checksum in a slot's last word.
#[inline]
pub(crate) const fn crc_of_words(words: &Words) -> u32 {
    (words[7] >> 32) as u32
}

#[inline]
pub(crate) fn read_u32(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

#[inline]
pub(crate) fn read_u64(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// One slot is one cache line and lies inside one disk sector.
pub const SLOT_BYTES: usize = 64;
/// Payload bytes of a record's first slot.
pub const HEAD_PAYLOAD: usize = 36;
/// Payload bytes of a continuation slot.
pub const CONTINUATION_PAYLOAD: usize = 60;
/// Largest payload of a record.
pub const MAX_PAYLOAD: usize = 32 * 1024;
/// Slots of the largest record.
pub const MAX_SLOTS: usize = slots_for(MAX_PAYLOAD);
/// `len` of a record without payload: the first slot's bytes that are neither payload nor padding.
pub const LEN_BASE: u32 = 28;
const CRC_AT: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(payload: &[u8]) -> Head {
        Head {
            payload_bytes: payload.len(),
            kind: 0x11,
            flags: 0,
            epoch_low: 0x0203,
            seq: Seq::new(0x1122_3344_5566_7788),
            time: Timestamp::from_nanos(0x0102_0304_0506_0708),
        }
    }

    fn encoded(payload: &[u8], previous_crc: u32) -> Vec<u8> {
        // Start from junk, so that padding which is not written shows.
        let mut out = vec![0xee; slots_for(payload.len()) * SLOT_BYTES];
        head(payload).encode(payload, previous_crc, &mut out);
        out
    }

    #[test]
    fn slots_grow_at_the_documented_sizes() {
        let sizes = [0, 1, 36, 37, 96, 97, 156, 157, MAX_PAYLOAD];
        assert_eq!(sizes.map(slots_for), [1, 1, 1, 2, 2, 3, 3, 4, 547]);
    }

    #[test]
    fn bytes_of_a_two_slot_record() {
        let payload: Vec<u8> = (1..=40).collect();
        let bytes = encoded(&payload, 7);
        assert_eq!(&bytes[0..8], &[68, 0, 0, 0, 0x11, 0, 3, 2]);
        assert_eq!(&bytes[8..16], &0x1122_3344_5566_7788_u64.to_le_bytes());
        assert_eq!(&bytes[16..24], &0x0102_0304_0506_0708_u64.to_le_bytes());
        assert_eq!(&bytes[24..60], &payload[..36]);
        assert_eq!(&bytes[64..68], &0xd566_7788_u32.to_le_bytes());
        assert_eq!(&bytes[68..72], &payload[36..]);
        assert!(bytes[72..].iter().all(|b| *b == 0));
        // The checksum spelled out: previous, first slot without its checksum, continuation.
        let mut covered = 7_u32.to_le_bytes().to_vec();
        covered.extend_from_slice(&bytes[..60]);
        covered.extend_from_slice(&bytes[64..]);
        assert_eq!(stored_crc(&bytes), crc32c::crc32c(&covered));
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(payload in proptest::collection::vec(any::<u8>(), 0..400), crc: u32) {
            let bytes = encoded(&payload, crc);
            let first: &[u8; SLOT_BYTES] = bytes[..SLOT_BYTES].try_into().unwrap();
            let slots = bytes.len() / SLOT_BYTES;
            prop_assert_eq!(Commit::of(first), Commit::Finished { payload_bytes: payload.len(), slots });
            prop_assert_eq!(Head::decode(first, payload.len()), head(&payload));
            prop_assert_eq!(record_crc(crc, &bytes), stored_crc(&bytes));
            prop_assert_ne!(record_crc(crc ^ 1, &bytes), stored_crc(&bytes));
            let mut copy = vec![9];
            copy_payload(&bytes, payload.len(), &mut copy);
            prop_assert_eq!(copy, payload);
        }

        #[test]
        fn any_first_slot_has_a_verdict(bytes in proptest::array::uniform32(any::<u8>())) {
            let mut slot = [0; SLOT_BYTES];
            slot[..32].copy_from_slice(&bytes);
            match Commit::of(&slot) {
                Commit::Empty => prop_assert_eq!(read_u32(&slot, 0), 0),
                Commit::Finished { payload_bytes, slots } => {
                    prop_assert!(payload_bytes <= MAX_PAYLOAD && slots <= MAX_SLOTS);
                }
                Commit::Impossible(len) => prop_assert!(!(28..=28 + 32768).contains(&len)),
            }
        }
    }
}
