//! The hash chain: finds edits whose checksum was repaired.
//!
//! `c = BLAKE3(key = hash_seed, previous c || raw slots of the block)`. A block is 1,024 records; the
//! Checkpoint that carries its hash is the first record of the next block, so every record of a segment
//! but its `SegmentEnd` is covered by a block, and the `SegmentEnd` by the `SegmentStart` that follows.

use crate::slot::{SLOT_BYTES, Words, put_words};

/// The chain of one segment, fed record by record.
///
/// Slots are gathered into pieces of 16 KiB before they are hashed: BLAKE3 hashes many chunks side by
/// side, so one call per piece costs a fraction of one call per slot.
#[derive(Clone)]
pub struct Chain {
    hasher: blake3::Hasher,
    piece: Box<[u8; PIECE_BYTES]>,
    used: usize,
    records: u32,
    value: [u8; 32],
}

impl Chain {
    /// The chain at the start of a segment: the same hash over the value before and the first 508 bytes
    /// of the segment's header.
    #[must_use]
    pub fn start(hash_seed: &[u8; 32], previous: &[u8; 32], header: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(hash_seed);
        hasher.update(previous);
        hasher.update(header);
        let value = *hasher.finalize().as_bytes();
        let mut chain = Self {
            hasher,
            piece: Box::new([0; PIECE_BYTES]),
            used: 0,
            records: 0,
            value,
        };
        chain.begin_block();
        chain
    }

    /// Adds one record of one slot.
    #[inline]
    pub(crate) fn absorb_slot(&mut self, words: &Words) {
        match self.piece.get_mut(self.used..self.used + SLOT_BYTES) {
            Some(place) if self.used + SLOT_BYTES < PIECE_BYTES => {
                put_words(words, place);
                self.used += SLOT_BYTES;
                self.records += 1;
            }
            _ => {
                let mut bytes = [0; SLOT_BYTES];
                put_words(words, &mut bytes);
                self.absorb(&bytes);
            }
        }
    }

    /// Adds one record, all its slots.
    pub fn absorb(&mut self, slots: &[u8]) {
        self.records += 1;
        if let Ok(slot) = <&[u8; SLOT_BYTES]>::try_from(slots)
            && self.used + SLOT_BYTES < PIECE_BYTES
        {
            self.piece[self.used..self.used + SLOT_BYTES].copy_from_slice(slot);
            self.used += SLOT_BYTES;
            return;
        }
        let mut rest = slots;
        while !rest.is_empty() {
            let take = rest.len().min(PIECE_BYTES - self.used);
            self.piece[self.used..self.used + take].copy_from_slice(&rest[..take]);
            self.used += take;
            rest = &rest[take..];
            if self.used == PIECE_BYTES {
                self.hasher.update(&self.piece[..]);
                self.used = 0;
            }
        }
    }

    /// Ends the block and returns the chain value; the next record opens a new block.
    pub fn close(&mut self) -> [u8; 32] {
        self.hasher.update(&self.piece[..self.used]);
        self.value = *self.hasher.finalize().as_bytes();
        self.begin_block();
        self.value
    }

    /// The value at the last block border.
    #[must_use]
    pub const fn value(&self) -> &[u8; 32] {
        &self.value
    }

    /// Records in the open block.
    #[must_use]
    pub const fn records(&self) -> u32 {
        self.records
    }

    /// True when the block is full and the next record must be a Checkpoint.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.records >= BLOCK_RECORDS
    }

    fn begin_block(&mut self) {
        self.hasher.reset();
        self.piece[..32].copy_from_slice(&self.value);
        self.used = 32;
        self.records = 0;
    }
}

/// Records between two Checkpoints.
pub const BLOCK_RECORDS: u32 = 1024;
const PIECE_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn keyed(parts: &[&[u8]]) -> [u8; 32] {
        let whole: Vec<u8> = parts.concat();
        *blake3::keyed_hash(&[7; 32], &whole).as_bytes()
    }

    #[test]
    fn equals_the_formula_for_any_record_sizes() {
        let header = [3; 508];
        let mut chain = Chain::start(&[7; 32], &[9; 32], &header);
        let mut expected = keyed(&[&[9; 32], &header]);
        assert_eq!(*chain.value(), expected);
        for block in 0..4_u8 {
            let records: Vec<Vec<u8>> = (1..=200_usize)
                .map(|n| vec![block; 64 * (1 + n * n % 7)])
                .collect();
            for record in &records {
                chain.absorb(record);
            }
            assert_eq!(chain.records(), 200);
            expected = keyed(&[&expected, &records.concat()]);
            assert_eq!(chain.close(), expected);
        }
    }

    #[test]
    fn a_block_is_full_at_its_last_record() {
        let mut chain = Chain::start(&[0; 32], &[0; 32], &[]);
        for _ in 0..BLOCK_RECORDS - 1 {
            chain.absorb(&[1; 64]);
        }
        assert!(!chain.is_full());
        chain.absorb(&[1; 64]);
        assert!(chain.is_full());
        chain.close();
        assert!(!chain.is_full());
    }
}
