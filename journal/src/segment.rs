//! The first page of a segment file, its watermark slots, and file names. Pure.
//!
//! ```text
//! Preparing --rename--> Ready --rotation--> Live --SegmentEnd--> Sealed --retirement--> Archived
//!  (.new)              (.ready)             (.jnl)               (.jnl)                (archive/)
//! ```
//!
//! | Offset | Field | Width |
//! |---:|---|---:|
//! | 0 | magic `TSRAJRNL` | 8 |
//! | 8 | format | 2 |
//! | 10 | `min_reader` | 2 |
//! | 12 | `header_bytes` | 4 |
//! | 16 | `cluster_id` | 16 |
//! | 32 | shard | 4 |
//! | 36 | `slot_bytes` | 4 |
//! | 40 | `segment_no` | 8 |
//! | 48 | `segment_bytes` | 8 |
//! | 56 | `created_ns` | 8 |
//! | 64 | `hash_seed` | 32 |
//! | 96 | `rules_version` | 4 |
//! | 100 | zero | 408 |
//! | 508 | crc32c over 0..508 | 4 |
//! | 1024, 2048 | watermark slots A, B | 64 each |
//! | other | zero | |

use tessera_types::Seq;

use crate::slot::{MAX_SLOTS, SLOT_BYTES, read_u32, read_u64};

/// What a segment says about itself; never changes after preparation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Format of the file.
    pub format: u16,
    /// Oldest reader format that may read it.
    pub min_reader: u16,
    /// Random, set at the creation of the journal.
    pub cluster_id: [u8; 16],
    /// Which shard's journal.
    pub shard: u32,
    /// Position in the journal, from 0, without holes.
    pub segment_no: u64,
    /// Size of the file.
    pub segment_bytes: u64,
    /// Wall clock of the preparer, for people only.
    pub created_ns: u64,
    /// Key of the hash chain.
    pub hash_seed: [u8; 32],
    /// Version of the engine's rules when the segment was prepared.
    pub rules_version: u32,
}

/// Why a header cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not a segment at all.
    #[error("is not a journal segment: it begins with {found:02x?}, expected \"TSRAJRNL\"")]
    Magic {
        /// The first eight bytes.
        found: [u8; 8],
    },
    /// A segment of a later release.
    #[error(
        "has journal format {found}, this program reads up to format {FORMAT} \
         (the file asks for a reader of format {min_reader} or later): use a newer release"
    )]
    Newer {
        /// Its format.
        found: u16,
        /// The oldest reader it allows.
        min_reader: u16,
    },
    /// The header's bytes are not those that were written.
    #[error("header has checksum {found:#010x}, expected {expected:#010x}")]
    Crc {
        /// Over the bytes as they are.
        expected: u32,
        /// In the file.
        found: u32,
    },
    /// A field has a value that no release has written.
    #[error("header field {field} is {found}, expected {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it holds.
        found: u64,
        /// What it must hold.
        expected: u64,
    },
}

impl SegmentHeader {
    /// The first 512 bytes of the file.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_SECTOR] {
        let mut out = [0; HEADER_SECTOR];
        out[0..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&self.format.to_le_bytes());
        out[10..12].copy_from_slice(&self.min_reader.to_le_bytes());
        out[12..16].copy_from_slice(&4096_u32.to_le_bytes());
        out[16..32].copy_from_slice(&self.cluster_id);
        out[32..36].copy_from_slice(&self.shard.to_le_bytes());
        out[36..40].copy_from_slice(&64_u32.to_le_bytes());
        out[40..48].copy_from_slice(&self.segment_no.to_le_bytes());
        out[48..56].copy_from_slice(&self.segment_bytes.to_le_bytes());
        out[56..64].copy_from_slice(&self.created_ns.to_le_bytes());
        out[64..96].copy_from_slice(&self.hash_seed);
        out[96..100].copy_from_slice(&self.rules_version.to_le_bytes());
        let crc = crc32c::crc32c(&out[..HEADER_CRC_AT]);
        out[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the first 512 bytes of a file.
    ///
    /// # Errors
    /// [`HeaderError`]: a newer format is reported as such only if the checksum holds, so that a damaged
    /// version field is damage.
    pub fn decode(bytes: &[u8; HEADER_SECTOR]) -> Result<Self, HeaderError> {
        let mut found = [0; 8];
        found.copy_from_slice(&bytes[0..8]);
        if found != MAGIC {
            return Err(HeaderError::Magic { found });
        }
        let expected = crc32c::crc32c(&bytes[..HEADER_CRC_AT]);
        let stored = read_u32(bytes, HEADER_CRC_AT);
        if stored != expected {
            return Err(HeaderError::Crc {
                expected,
                found: stored,
            });
        }
        let format = u16::from_le_bytes([bytes[8], bytes[9]]);
        let min_reader = u16::from_le_bytes([bytes[10], bytes[11]]);
        if format > FORMAT {
            return Err(HeaderError::Newer {
                found: format,
                min_reader,
            });
        }
        let field = |field, found, expected| HeaderError::Field {
            field,
            found,
            expected,
        };
        for (name, at, expected) in [("header_bytes", 12, 4096), ("slot_bytes", 36, 64)] {
            let found = u64::from(read_u32(bytes, at));
            if found != expected {
                return Err(field(name, found, expected));
            }
        }
        if format == 0 {
            return Err(field("format", 0, 1));
        }
        let segment_bytes = read_u64(bytes, 48);
        if !is_segment_size(segment_bytes) {
            return Err(field("segment_bytes", segment_bytes, MIN_SEGMENT_BYTES));
        }
        let mut cluster_id = [0; 16];
        cluster_id.copy_from_slice(&bytes[16..32]);
        let mut hash_seed = [0; 32];
        hash_seed.copy_from_slice(&bytes[64..96]);
        Ok(Self {
            format,
            min_reader,
            cluster_id,
            shard: read_u32(bytes, 32),
            segment_no: read_u64(bytes, 40),
            segment_bytes,
            created_ns: read_u64(bytes, 56),
            hash_seed,
            rules_version: read_u32(bytes, 96),
        })
    }

    /// The header's checksum, with which the rolling checksum of the segment starts.
    #[must_use]
    pub fn crc(&self) -> u32 {
        read_u32(&self.encode(), HEADER_CRC_AT)
    }
}

/// How far the journal is known to be on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermark {
    /// Rises by one with each write; the valid slot with the higher one counts.
    pub generation: u64,
    /// Last command that is on disk.
    pub durable_seq: Seq,
    /// End of the last record that is on disk, in bytes from the start of the file; 0 for none.
    pub durable_offset: u64,
    /// Chain value at the last block border before that.
    pub chain: [u8; 32],
}

impl Watermark {
    /// The 64 bytes of its slot.
    #[must_use]
    pub fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut out = [0; SLOT_BYTES];
        out[0..8].copy_from_slice(&self.generation.to_le_bytes());
        out[8..16].copy_from_slice(&self.durable_seq.get().to_le_bytes());
        out[16..24].copy_from_slice(&self.durable_offset.to_le_bytes());
        out[24..56].copy_from_slice(&self.chain);
        let crc = crc32c::crc32c(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a slot; nothing if it was caught half written or damaged.
    #[must_use]
    pub fn decode(slot: &[u8; SLOT_BYTES]) -> Option<Self> {
        if crc32c::crc32c(&slot[..60]) != read_u32(slot, 60) || read_u32(slot, 56) != 0 {
            return None;
        }
        let mut chain = [0; 32];
        chain.copy_from_slice(&slot[24..56]);
        Some(Self {
            generation: read_u64(slot, 0),
            durable_seq: Seq::new(read_u64(slot, 8)),
            durable_offset: read_u64(slot, 16),
            chain,
        })
    }

    /// Offset of the slot that a generation is written to.
    #[must_use]
    pub const fn slot_offset(generation: u64) -> usize {
        WATERMARK_AT[(generation % 2) as usize]
    }
}

/// What a file name in the journal directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileName {
    /// `<first seq, 20 digits>.jnl`
    Segment(Seq),
    /// `<segment number>.ready`
    Ready(u64),
    /// `<segment number>.new`: in preparation, deleted at a start.
    New,
}

impl FileName {
    /// Reads a name; nothing for names that are not the journal's, and `Err` for a `.jnl` or `.ready`
    /// whose stem is not a number as we write it.
    ///
    /// # Errors
    /// The name carries our extension and no number.
    pub fn parse(name: &str) -> Result<Option<Self>, BadName> {
        if let Some(stem) = name.strip_suffix(SEGMENT_SUFFIX) {
            let seq = number(stem).filter(|_| stem.len() == 20).ok_or(BadName)?;
            return Ok(Some(Self::Segment(Seq::new(seq))));
        }
        if let Some(stem) = name.strip_suffix(READY_SUFFIX) {
            let no = number(stem)
                .filter(|no| no.to_string() == stem)
                .ok_or(BadName)?;
            return Ok(Some(Self::Ready(no)));
        }
        Ok(name
            .strip_suffix(NEW_SUFFIX)
            .and_then(number)
            .map(|_| Self::New))
    }
}

/// A name with one of our extensions that we never write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadName;

/// A file name on the stack: the journal thread renames without allocating.
#[derive(Clone, Copy)]
pub(crate) struct NameBuf {
    bytes: [u8; 32],
    len: usize,
}

impl NameBuf {
    /// `<first seq, 20 digits>.jnl`
    pub(crate) fn segment(first_seq: Seq) -> Self {
        Self::build(first_seq.get(), 20, SEGMENT_SUFFIX)
    }

    /// `<segment number>.ready`
    pub(crate) fn ready(segment_no: u64) -> Self {
        Self::build(segment_no, 1, READY_SUFFIX)
    }

    /// `<segment number>.new`
    pub(crate) fn new_file(segment_no: u64) -> Self {
        Self::build(segment_no, 1, NEW_SUFFIX)
    }

    pub(crate) fn as_str(&self) -> &str {
        // Digits and an ASCII suffix.
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }

    fn build(mut value: u64, digits: usize, suffix: &str) -> Self {
        let mut reversed = [b'0'; 20];
        let mut used = 0;
        while value > 0 || used < digits {
            let digit = (value % 10) as u8;
            reversed[used] = b'0' + digit;
            value /= 10;
            used += 1;
        }
        let mut name = Self {
            bytes: [0; 32],
            len: used + suffix.len(),
        };
        for (i, digit) in reversed[..used].iter().rev().enumerate() {
            name.bytes[i] = *digit;
        }
        name.bytes[used..name.len].copy_from_slice(suffix.as_bytes());
        name
    }
}

/// True for a file size that a segment can have.
#[must_use]
pub const fn is_segment_size(bytes: u64) -> bool {
    bytes >= MIN_SEGMENT_BYTES && bytes <= MAX_SEGMENT_BYTES && bytes.is_multiple_of(4096)
}

/// True for a position of the header page that must be zero.
#[must_use]
pub(crate) fn is_reserved(offset: usize) -> bool {
    offset >= HEADER_SECTOR
        && !WATERMARK_AT
            .iter()
            .any(|at| (*at..*at + SLOT_BYTES).contains(&offset))
}

fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// The journal format this program writes, and the newest it reads.
pub const FORMAT: u16 = 2;
/// The oldest reader that can read what this program writes: Void and Activation came with format 2.
pub const MIN_READER: u16 = 2;
/// First page of a segment.
pub const HEADER_BYTES: usize = 4096;
/// The part of it that holds fields.
pub const HEADER_SECTOR: usize = 512;
/// Offset of the header's checksum.
pub const HEADER_CRC_AT: usize = 508;
/// Offsets of the two watermark slots, in different sectors.
pub const WATERMARK_AT: [usize; 2] = [1024, 2048];
/// The smallest segment: it must hold the largest record and its own first and last records.
pub const MIN_SEGMENT_BYTES: u64 = 64 * 1024;
/// The largest segment; offsets of slots stay far inside every integer we use.
pub const MAX_SEGMENT_BYTES: u64 = 1 << 40;
/// Suffix of a segment in use.
pub const SEGMENT_SUFFIX: &str = ".jnl";
/// Suffix of a segment prepared ahead.
pub const READY_SUFFIX: &str = ".ready";
/// Suffix of a file in preparation.
pub const NEW_SUFFIX: &str = ".new";
const MAGIC: [u8; 8] = *b"TSRAJRNL";

const _: () = assert!(HEADER_BYTES + (MAX_SLOTS + 8) * SLOT_BYTES <= 64 * 1024);

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn header() -> SegmentHeader {
        SegmentHeader {
            format: FORMAT,
            min_reader: MIN_READER,
            cluster_id: *b"0123456789abcdef",
            shard: 2,
            segment_no: 3,
            segment_bytes: 1 << 20,
            created_ns: 77,
            hash_seed: [5; 32],
            rules_version: 1,
        }
    }

    fn patched(
        change: impl FnOnce(&mut [u8; HEADER_SECTOR]),
    ) -> Result<SegmentHeader, HeaderError> {
        let mut bytes = header().encode();
        change(&mut bytes);
        let crc = crc32c::crc32c(&bytes[..HEADER_CRC_AT]);
        bytes[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        SegmentHeader::decode(&bytes)
    }

    #[test]
    fn a_header_is_read_back_and_every_bit_counts() {
        let bytes = header().encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
        for bit in 0..HEADER_SECTOR * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = SegmentHeader::decode(&flipped).unwrap_err();
            assert!(
                matches!(error, HeaderError::Magic { .. } | HeaderError::Crc { .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let newer = patched(|b| {
            b[8] = 3;
            b[10] = 3;
        });
        expect![[r#"has journal format 3, this program reads up to format 2 (the file asks for a reader of format 3 or later): use a newer release"#]]
            .assert_eq(&newer.unwrap_err().to_string());
    }

    #[test]
    fn impossible_fields_are_refused() {
        for (at, value) in [(12, 1), (36, 1), (8, 0), (48, 1), (53, 1)] {
            let result = patched(|b| b[at] = value);
            assert!(
                matches!(result, Err(HeaderError::Field { .. })),
                "byte {at}: {result:?}"
            );
        }
    }

    #[test]
    fn a_watermark_is_read_back_and_every_bit_counts() {
        let mark = Watermark {
            generation: 9,
            durable_seq: Seq::new(1000),
            durable_offset: 8192,
            chain: [4; 32],
        };
        let bytes = mark.encode();
        assert_eq!(Watermark::decode(&bytes), Some(mark));
        for bit in 0..SLOT_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Watermark::decode(&flipped), None, "bit {bit}");
        }
        assert_eq!(Watermark::decode(&[0; SLOT_BYTES]), None);
        assert_eq!([0, 1, 2].map(Watermark::slot_offset), [1024, 2048, 1024]);
    }

    #[test]
    fn names_are_exact() {
        let name = |text| FileName::parse(text);
        assert_eq!(
            NameBuf::segment(Seq::new(1)).as_str(),
            "00000000000000000001.jnl"
        );
        assert_eq!(
            NameBuf::segment(Seq::new(u64::MAX)).as_str(),
            "18446744073709551615.jnl"
        );
        assert_eq!(NameBuf::ready(0).as_str(), "0.ready");
        assert_eq!(NameBuf::new_file(120).as_str(), "120.new");
        assert_eq!(
            name("00000000000000000042.jnl"),
            Ok(Some(FileName::Segment(Seq::new(42))))
        );
        assert_eq!(name("7.ready"), Ok(Some(FileName::Ready(7))));
        assert_eq!(name("7.new"), Ok(Some(FileName::New)));
        assert_eq!(name("LIVE"), Ok(None));
        assert_eq!(name("notes.new"), Ok(None), "somebody else's file");
        for bad in [
            "1.jnl",
            ".jnl",
            "x.jnl",
            "+0000000000000000042.jnl",
            "07.ready",
            "99999999999999999999.jnl",
        ] {
            assert_eq!(name(bad), Err(BadName), "{bad}");
        }
    }

    #[test]
    fn reserved_bytes_are_all_but_header_and_watermarks() {
        let reserved = (0..HEADER_BYTES).filter(|at| is_reserved(*at)).count();
        assert_eq!(reserved, HEADER_BYTES - HEADER_SECTOR - 2 * SLOT_BYTES);
    }
}
