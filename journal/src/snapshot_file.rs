//! Snapshot files: the container around an engine's state, which is bytes to this package.
//!
//! ```text
//! Writing --fsync, rename--> Written --a replay from it agrees--> Verified --newer ones--> Retired
//! (.snap.new)                (.snap)                              (.snap and .ok)          (removed)
//! ```
//!
//! | Offset | Field | Width |
//! |---:|---|---:|
//! | 0 | magic `TSRASNAP` | 8 |
//! | 8 | version, 1 | 2 |
//! | 10 | journal format | 2 |
//! | 12 | engine schema | 4 |
//! | 16 | `cluster_id` | 16 |
//! | 32 | shard | 4 |
//! | 36 | rules version | 4 |
//! | 40 | seq: last command in the state | 8 |
//! | 48 | epoch | 8 |
//! | 56 | `time_ns` | 8 |
//! | 64 | chain value at the last block border | 32 |
//! | 96 | state hash | 32 |
//! | 128 | body bytes | 8 |
//! | 136 | sections, at most 128 | 4 |
//! | 140 | events digest of the open block | 4 |
//! | 508 | crc32c over 0..508 | 4 |
//! | 512 | section table: (id u32, zero u32, offset in the body u64, bytes u64) each | 24 each |
//! | 4092 | crc32c over 512..4092 | 4 |
//! | 4096 | body: the sections, one behind the other | |
//! | behind it | crc32c of each 64 KiB block of the body, then one over these | 4 each |
//!
//! `<seq>.ok` beside it says that the snapshot was verified: magic `TSRASNOK`, seq u64, the sequence of
//! the state hash it was compared at u64, crc32c of the snapshot's header u32, crc32c over these 28 bytes.

use std::fmt;
use std::io;
use std::sync::Arc;

use tessera_types::{Seq, Timestamp};

use crate::slot::{read_u32, read_u64};
use crate::storage::{Access, EntryKind, Storage, write_all};

/// What a snapshot says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// Which journal.
    pub cluster_id: [u8; 16],
    /// Which shard.
    pub shard: u32,
    /// Format of the journal.
    pub format: u16,
    /// Version of the engine's serialised state.
    pub engine_schema: u32,
    /// Version of the engine's rules in force.
    pub rules_version: u32,
    /// Last command in the state.
    pub seq: Seq,
    /// Epoch of that command.
    pub epoch: u64,
    /// Its time.
    pub time: Timestamp,
    /// Chain value at the last block border before it.
    pub chain: [u8; 32],
    /// Hash of the state.
    pub state_hash: [u8; 32],
    /// Digest of the events since the last state hash of the journal.
    pub events_digest: u32,
}

/// A snapshot, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What it says about itself.
    pub meta: SnapshotMeta,
    /// Number and bytes of each section, in the order they were written.
    pub sections: Vec<(u32, Vec<u8>)>,
}

/// How far a snapshot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SnapshotState {
    /// Its file is being written.
    Writing,
    /// It is on disk.
    Written,
    /// A replay from it came to the journal's next state hash.
    Verified,
    /// It is gone.
    Retired,
}

/// What happens to a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotInput {
    /// The file and its name are on disk.
    Synced,
    /// A replay from it agreed with the journal.
    Agreed,
    /// A replay from it did not agree, or it cannot be read.
    Disagreed,
    /// Enough newer verified ones are there.
    Superseded,
}

impl SnapshotState {
    /// The next state; nothing where the input cannot come. Pure.
    #[must_use]
    pub const fn next(self, input: SnapshotInput) -> Option<Self> {
        use SnapshotInput::{Agreed, Disagreed, Superseded, Synced};
        match (self, input) {
            (Self::Writing, Synced) => Some(Self::Written),
            (Self::Written | Self::Verified, Agreed) => Some(Self::Verified),
            (Self::Writing | Self::Written | Self::Verified, Disagreed)
            | (Self::Written | Self::Verified, Superseded) => Some(Self::Retired),
            _ => None,
        }
    }
}

/// A snapshot in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// Last command in its state.
    pub seq: Seq,
    /// Written or Verified.
    pub state: SnapshotState,
}

/// Why a snapshot cannot be written, read or marked.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error(
        "{path}: {what} at byte {offset}: {found}, expected {expected}; take an older snapshot"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        what: &'static str,
        /// Where.
        offset: u64,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A later release wrote it.
    #[error("{path} has snapshot version {found}, this program reads up to version {VERSION}")]
    Newer {
        /// The file.
        path: String,
        /// Its version.
        found: u16,
    },
    /// There are too many sections.
    #[error("{0} sections, a snapshot has room for {MAX_SECTIONS}")]
    Sections(usize),
}

/// The snapshots of a journal, in `snap/`.
pub struct Snapshots {
    storage: Arc<dyn Storage>,
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshots({})", self.storage.path().display())
    }
}

impl Snapshots {
    /// The snapshots in the directory of a journal.
    #[must_use]
    pub fn on(storage: Arc<dyn Storage>) -> Self {
        Self { storage }
    }

    /// Writes a snapshot; when it returns it is on disk under its name.
    ///
    /// # Errors
    /// [`SnapshotError`]; nothing but a `.snap.new` file is left then.
    pub fn write(
        &self,
        meta: &SnapshotMeta,
        sections: &[(u32, &[u8])],
    ) -> Result<(), SnapshotError> {
        if sections.len() > MAX_SECTIONS {
            return Err(SnapshotError::Sections(sections.len()));
        }
        let name = snapshot_name(meta.seq);
        let new = format!("{name}.new");
        let io = |source| self.io(&new, source);
        self.storage
            .make_dir(SNAP_NAME)
            .and_then(|()| self.storage.sync_dir(""))
            .map_err(|source| self.io(SNAP_NAME, source))?;
        match self.storage.remove(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let file = self.storage.create(&new).map_err(io)?;
        write_all(&*file, 0, &head(meta, sections)).map_err(io)?;
        let mut sums = Sums::default();
        let mut at = HEAD_BYTES as u64;
        for (_, bytes) in sections {
            for piece in bytes.chunks(BLOCK_BYTES) {
                write_all(&*file, at, piece).map_err(io)?;
                at += piece.len() as u64;
                sums.take(piece);
            }
        }
        write_all(&*file, at, &sums.end()).map_err(io)?;
        file.sync().map_err(io)?;
        self.storage
            .rename(&new, &name)
            .and_then(|()| self.storage.sync_dir(SNAP_NAME))
            .map_err(io)
    }

    /// Every snapshot with its state, oldest first.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn list(&self) -> Result<Vec<SnapshotEntry>, SnapshotError> {
        let entries = match self.storage.list(SNAP_NAME) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.io(SNAP_NAME, source)),
        };
        let mut found = Vec::new();
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File) {
            let seq = entry
                .name
                .strip_suffix(".snap")
                .filter(|stem| stem.len() == 20 && stem.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|stem| stem.parse().ok());
            let Some(seq) = seq.map(Seq::new) else {
                continue;
            };
            let state = if self.is_marked(seq)? {
                SnapshotState::Verified
            } else {
                SnapshotState::Written
            };
            found.push(SnapshotEntry { seq, state });
        }
        found.sort_by_key(|entry| entry.seq);
        Ok(found)
    }

    /// Reads a snapshot and checks every byte of it.
    ///
    /// # Errors
    /// [`SnapshotError`] names the first thing that is wrong.
    pub fn read(&self, seq: Seq) -> Result<Snapshot, SnapshotError> {
        let name = snapshot_name(seq);
        let bytes = self.bytes(&name)?;
        let path = crate::survey::joined(&*self.storage, &name);
        let damaged = |what, offset: usize, expected: String, found: String| {
            let path = path.clone();
            let offset = offset as u64;
            SnapshotError::Damaged {
                path,
                what,
                offset,
                expected,
                found,
            }
        };
        let short = |expected: usize| {
            let (expected, found) = (format!("{expected} bytes"), format!("{}", bytes.len()));
            damaged("length", 0, expected, found)
        };
        if bytes.len() < HEAD_BYTES {
            return Err(short(HEAD_BYTES));
        }
        let check = |what, at: usize, covered: &[u8]| {
            let (expected, found) = (crc32c::crc32c(covered), read_u32(&bytes, at));
            if expected == found {
                return Ok(());
            }
            let (expected, found) = (format!("{expected:#010x}"), format!("{found:#010x}"));
            Err(damaged(what, at, expected, found))
        };
        if bytes[0..8] != MAGIC {
            let found = format!("{:02x?}", &bytes[0..8]);
            return Err(damaged("magic", 0, "TSRASNAP".into(), found));
        }
        check("checksum of the header", 508, &bytes[..508])?;
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(SnapshotError::Newer {
                path,
                found: version,
            });
        }
        check("checksum of the section table", 4092, &bytes[512..4092])?;
        let meta = SnapshotMeta {
            cluster_id: array(&bytes, 16),
            shard: read_u32(&bytes, 32),
            format: u16::from_le_bytes([bytes[10], bytes[11]]),
            engine_schema: read_u32(&bytes, 12),
            rules_version: read_u32(&bytes, 36),
            seq: Seq::new(read_u64(&bytes, 40)),
            epoch: read_u64(&bytes, 48),
            time: Timestamp::from_nanos(read_u64(&bytes, 56)),
            chain: array(&bytes, 64),
            state_hash: array(&bytes, 96),
            events_digest: read_u32(&bytes, 140),
        };
        if meta.seq != seq {
            let (expected, found) = (seq.to_string(), meta.seq.to_string());
            return Err(damaged("sequence", 40, expected, found));
        }
        let body_bytes = usize::try_from(read_u64(&bytes, 128)).unwrap_or(usize::MAX);
        let expected = body_bytes
            .div_ceil(BLOCK_BYTES)
            .checked_add(1)
            .and_then(|sums| {
                sums.checked_mul(4)?
                    .checked_add(body_bytes)?
                    .checked_add(HEAD_BYTES)
            })
            .unwrap_or(usize::MAX);
        if bytes.len() != expected {
            return Err(short(expected));
        }
        let body = &bytes[HEAD_BYTES..HEAD_BYTES + body_bytes];
        let sums = HEAD_BYTES + body_bytes;
        let last = bytes.len() - 4;
        check("checksum of the block checksums", last, &bytes[sums..last])?;
        for (index, block) in body.chunks(BLOCK_BYTES).enumerate() {
            check("checksum of a block", sums + index * 4, block)?;
        }
        let mut sections = Vec::new();
        let mut end = 0;
        for index in 0..(read_u32(&bytes, 136) as usize).min(MAX_SECTIONS) {
            let at = 512 + index * 24;
            let offset = usize::try_from(read_u64(&bytes, at + 8)).unwrap_or(usize::MAX);
            let len = usize::try_from(read_u64(&bytes, at + 16)).unwrap_or(usize::MAX);
            let part = offset
                .checked_add(len)
                .filter(|_| offset == end)
                .and_then(|to| body.get(offset..to));
            let Some(part) = part else {
                let found = format!("{len} bytes from {offset}");
                return Err(damaged(
                    "section",
                    at,
                    format!("a part from {end} on"),
                    found,
                ));
            };
            end += len;
            sections.push((read_u32(&bytes, at), part.to_vec()));
        }
        if end != body_bytes {
            let (expected, found) = (format!("{body_bytes} bytes"), end.to_string());
            return Err(damaged("sections", 136, expected, found));
        }
        Ok(Snapshot { meta, sections })
    }

    /// Notes that a replay from the snapshot came to the journal's state hash at `compared_at`.
    ///
    /// # Errors
    /// [`SnapshotError`], also if the snapshot cannot be read: what is marked must be good.
    pub fn mark_verified(&self, seq: Seq, compared_at: Seq) -> Result<(), SnapshotError> {
        self.read(seq)?;
        let header = self.header_crc(seq)?;
        let mut mark = [0; MARK_BYTES];
        mark[0..8].copy_from_slice(&MARK_MAGIC);
        mark[8..16].copy_from_slice(&seq.get().to_le_bytes());
        mark[16..24].copy_from_slice(&compared_at.get().to_le_bytes());
        mark[24..28].copy_from_slice(&header.to_le_bytes());
        let crc = crc32c::crc32c(&mark[..28]);
        mark[28..].copy_from_slice(&crc.to_le_bytes());
        let name = mark_name(seq);
        let new = format!("{name}.new");
        let io = |source| self.io(&name, source);
        match self.storage.remove(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let file = self.storage.create(&new).map_err(io)?;
        write_all(&*file, 0, &mark)
            .and_then(|()| file.sync())
            .and_then(|()| self.storage.rename(&new, &name))
            .and_then(|()| self.storage.sync_dir(SNAP_NAME))
            .map_err(io)
    }

    /// Removes all but the newest `keep` verified snapshots and what is newer than those. Returns the
    /// sequences of those that are gone.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn retire(&self, keep: usize) -> Result<Vec<Seq>, SnapshotError> {
        let all = self.list()?;
        let verified = all
            .iter()
            .rev()
            .filter(|entry| entry.state == SnapshotState::Verified);
        // Without `keep` verified ones nothing is superseded.
        let Some(oldest) = verified.take(keep.max(1)).nth(keep.max(1) - 1) else {
            return Ok(Vec::new());
        };
        let mut gone = Vec::new();
        for entry in all.iter().filter(|entry| entry.seq < oldest.seq) {
            // The mark goes first: a mark without its snapshot would mean nothing.
            for name in [mark_name(entry.seq), snapshot_name(entry.seq)] {
                match self.storage.remove(&name) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(self.io(&name, error));
                    }
                    _ => {}
                }
            }
            gone.push(entry.seq);
        }
        if !gone.is_empty() {
            self.storage
                .sync_dir(SNAP_NAME)
                .map_err(|source| self.io(SNAP_NAME, source))?;
        }
        Ok(gone)
    }

    /// The newest verified snapshot of this journal, if any: what it holds was on disk.
    pub(crate) fn newest_verified(&self) -> Result<Option<Seq>, SnapshotError> {
        let all = self.list()?;
        let newest = all
            .iter()
            .rfind(|entry| entry.state == SnapshotState::Verified);
        Ok(newest.map(|entry| entry.seq))
    }

    /// True if the mark is there and of this very snapshot.
    fn is_marked(&self, seq: Seq) -> Result<bool, SnapshotError> {
        let mark = match self.bytes(&mark_name(seq)) {
            Ok(mark) => mark,
            Err(SnapshotError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        Ok(mark.len() == MARK_BYTES
            && mark[0..8] == MARK_MAGIC
            && read_u32(&mark, 28) == crc32c::crc32c(&mark[..28])
            && read_u64(&mark, 8) == seq.get()
            && read_u32(&mark, 24) == self.header_crc(seq)?)
    }

    fn header_crc(&self, seq: Seq) -> Result<u32, SnapshotError> {
        let name = snapshot_name(seq);
        let file = self
            .storage
            .open(&name, Access::Read)
            .map_err(|source| self.io(&name, source))?;
        let mut crc = [0; 4];
        let read = file
            .read_at(508, &mut crc)
            .map_err(|source| self.io(&name, source))?;
        Ok(if read == crc.len() {
            u32::from_le_bytes(crc)
        } else {
            0
        })
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, SnapshotError> {
        read_file(&*self.storage, name).map_err(|source| self.io(name, source))
    }

    fn io(&self, name: &str, source: io::Error) -> SnapshotError {
        SnapshotError::Io {
            path: crate::survey::joined(&*self.storage, name),
            source,
        }
    }
}

/// A whole file.
pub(crate) fn read_file(storage: &dyn Storage, name: &str) -> io::Result<Vec<u8>> {
    let file = storage.open(name, Access::Read)?;
    let bytes = usize::try_from(file.stat()?.bytes).map_err(io::Error::other)?;
    let mut out = vec![0; bytes];
    let mut have = 0;
    while have < out.len() {
        match file.read_at(have as u64, &mut out[have..]) {
            Ok(0) => break,
            Ok(read) => have += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    out.truncate(have);
    Ok(out)
}

fn head(meta: &SnapshotMeta, sections: &[(u32, &[u8])]) -> [u8; HEAD_BYTES] {
    let mut out = [0; HEAD_BYTES];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    let body: u64 = sections.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    put(0, &MAGIC);
    put(8, &VERSION.to_le_bytes());
    put(10, &meta.format.to_le_bytes());
    put(12, &meta.engine_schema.to_le_bytes());
    put(16, &meta.cluster_id);
    put(32, &meta.shard.to_le_bytes());
    put(36, &meta.rules_version.to_le_bytes());
    put(40, &meta.seq.get().to_le_bytes());
    put(48, &meta.epoch.to_le_bytes());
    put(56, &meta.time.nanos().to_le_bytes());
    put(64, &meta.chain);
    put(96, &meta.state_hash);
    put(128, &body.to_le_bytes());
    put(136, &(sections.len() as u64).to_le_bytes()[..4]);
    put(140, &meta.events_digest.to_le_bytes());
    let mut offset = 0_u64;
    for (index, (id, bytes)) in sections.iter().enumerate() {
        let at = 512 + index * 24;
        put(at, &id.to_le_bytes());
        put(at + 8, &offset.to_le_bytes());
        put(at + 16, &(bytes.len() as u64).to_le_bytes());
        offset += bytes.len() as u64;
    }
    let (header, table) = (crc32c::crc32c(&out[..508]), crc32c::crc32c(&out[512..4092]));
    out[508..512].copy_from_slice(&header.to_le_bytes());
    out[4092..].copy_from_slice(&table.to_le_bytes());
    out
}

/// Checksums of the body's blocks, whatever pieces it comes in.
#[derive(Default)]
struct Sums {
    crc: u32,
    used: usize,
    out: Vec<u8>,
}

impl Sums {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (here, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.used));
            self.crc = crc32c::crc32c_append(self.crc, here);
            self.used += here.len();
            bytes = rest;
            if self.used == BLOCK_BYTES {
                self.close();
            }
        }
    }

    fn close(&mut self) {
        self.out.extend_from_slice(&self.crc.to_le_bytes());
        self.crc = 0;
        self.used = 0;
    }

    fn end(mut self) -> Vec<u8> {
        if self.used > 0 {
            self.close();
        }
        let all = crc32c::crc32c(&self.out);
        self.out.extend_from_slice(&all.to_le_bytes());
        self.out
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn snapshot_name(seq: Seq) -> String {
    format!("{SNAP_NAME}/{:020}.snap", seq.get())
}

fn mark_name(seq: Seq) -> String {
    format!("{SNAP_NAME}/{:020}.ok", seq.get())
}

/// Directory of the snapshots.
pub const SNAP_NAME: &str = "snap";
/// Sections of one snapshot, at most.
pub const MAX_SECTIONS: usize = 128;
const MAGIC: [u8; 8] = *b"TSRASNAP";
const MARK_MAGIC: [u8; 8] = *b"TSRASNOK";
const MARK_BYTES: usize = 32;
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 4096;
const BLOCK_BYTES: usize = 64 * 1024;

const _: () = assert!(512 + MAX_SECTIONS * 24 <= 4092);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::{Fault, MemoryStorage};
    use expect_test::expect;

    fn meta(seq: u64) -> SnapshotMeta {
        SnapshotMeta {
            cluster_id: [1; 16],
            shard: 2,
            format: 2,
            engine_schema: 7,
            rules_version: 3,
            seq: Seq::new(seq),
            epoch: 4,
            time: Timestamp::from_nanos(5),
            chain: [6; 32],
            state_hash: [8; 32],
            events_digest: 9,
        }
    }

    fn snapshots(disk: &MemoryStorage) -> Snapshots {
        Snapshots::on(Arc::new(disk.clone()))
    }

    fn body(seed: u8, bytes: usize) -> Vec<u8> {
        (0..=250_u8)
            .cycle()
            .take(bytes)
            .map(|byte| byte ^ seed)
            .collect()
    }

    #[test]
    fn every_state_with_every_input() {
        use SnapshotInput::{Agreed, Disagreed, Superseded, Synced};
        use SnapshotState::{Retired, Verified, Writing, Written};
        let mut table = String::new();
        for state in [Writing, Written, Verified, Retired] {
            for input in [Synced, Agreed, Disagreed, Superseded] {
                table += &format!("{state:?} {input:?}: {:?}\n", state.next(input));
            }
        }
        expect![[r#"
            Writing Synced: Some(Written)
            Writing Agreed: None
            Writing Disagreed: Some(Retired)
            Writing Superseded: None
            Written Synced: None
            Written Agreed: Some(Verified)
            Written Disagreed: Some(Retired)
            Written Superseded: Some(Retired)
            Verified Synced: None
            Verified Agreed: Some(Verified)
            Verified Disagreed: Some(Retired)
            Verified Superseded: Some(Retired)
            Retired Synced: None
            Retired Agreed: None
            Retired Disagreed: None
            Retired Superseded: None
        "#]]
        .assert_eq(&table);
    }

    #[test]
    fn what_was_written_is_read_for_any_sizes() {
        for sizes in [
            &[][..],
            &[0],
            &[1, 0, 5],
            &[65_536],
            &[65_537, 3],
            &[10, 200_000, 65_536, 1],
        ] {
            let disk = MemoryStorage::new();
            let parts: Vec<Vec<u8>> = (1..).zip(sizes).map(|(n, size)| body(n, *size)).collect();
            let sections: Vec<(u32, &[u8])> = (10..)
                .zip(&parts)
                .map(|(id, part)| (id, part.as_slice()))
                .collect();
            snapshots(&disk).write(&meta(42), &sections).unwrap();
            let found = snapshots(&disk).read(Seq::new(42)).unwrap();
            assert_eq!(found.meta, meta(42));
            let read: Vec<(u32, &[u8])> = found
                .sections
                .iter()
                .map(|(id, part)| (*id, part.as_slice()))
                .collect();
            assert_eq!(read, sections);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_missing_byte_is_found() {
        let disk = MemoryStorage::new();
        let part = body(3, 70_000);
        snapshots(&disk)
            .write(&meta(42), &[(1, &part), (2, b"end")])
            .unwrap();
        let name = snapshot_name(Seq::new(42));
        let good = disk.read_file(&name).unwrap();
        let mut flips = 0;
        for byte in 0..good.len() {
            // Every bit of the fields and the checksums, some of the rest.
            let is_field = byte < 144 || (508..560).contains(&byte) || byte >= good.len() - 12;
            let stride = if byte < HEAD_BYTES { 7 } else { 301 };
            let bits = match byte % stride {
                _ if is_field || (4092..4096).contains(&byte) => 0..8,
                0 => byte % 8..byte % 8 + 1,
                _ => continue,
            };
            for bit in bits {
                let mut bad = good.clone();
                bad[byte] ^= 1 << bit;
                disk.put_file(&name, bad);
                let result = snapshots(&disk).read(Seq::new(42));
                assert!(result.is_err(), "bit {bit} of byte {byte}");
                flips += 1;
            }
        }
        assert!(flips > 2000, "{flips}");
        for len in (0..good.len()).step_by(1997).chain([good.len() - 1]) {
            disk.put_file(&name, good[..len].to_vec());
            assert!(snapshots(&disk).read(Seq::new(42)).is_err(), "{len} bytes");
        }
        let mut longer = good.clone();
        longer.push(0);
        disk.put_file(&name, longer);
        assert!(snapshots(&disk).read(Seq::new(42)).is_err());
        disk.put_file(&name, good);
        snapshots(&disk).read(Seq::new(42)).unwrap();
    }

    #[test]
    fn a_later_version_and_another_name_are_refused() {
        let disk = MemoryStorage::new();
        snapshots(&disk).write(&meta(42), &[]).unwrap();
        let mut bytes = disk.read_file(&snapshot_name(Seq::new(42))).unwrap();
        disk.put_file(&snapshot_name(Seq::new(43)), bytes.clone());
        let error = snapshots(&disk).read(Seq::new(43)).unwrap_err().to_string();
        assert!(
            error.contains("sequence") && error.contains("42"),
            "{error}"
        );
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..508]);
        bytes[508..512].copy_from_slice(&crc.to_le_bytes());
        disk.put_file(&snapshot_name(Seq::new(42)), bytes);
        let error = snapshots(&disk).read(Seq::new(42)).unwrap_err().to_string();
        assert!(
            error.contains("version 2") && error.contains("version 1"),
            "{error}"
        );
    }

    #[test]
    fn three_verified_ones_are_kept_and_nothing_goes_before_there_are_three() {
        let disk = MemoryStorage::new();
        let snaps = snapshots(&disk);
        let seqs = |entries: Vec<SnapshotEntry>| -> Vec<(u64, SnapshotState)> {
            entries
                .iter()
                .map(|entry| (entry.seq.get(), entry.state))
                .collect()
        };
        assert_eq!(snaps.list().unwrap(), []);
        for seq in [10, 20, 30, 40, 50] {
            snaps.write(&meta(seq), &[(1, b"state")]).unwrap();
        }
        for seq in [10, 30] {
            snaps
                .mark_verified(Seq::new(seq), Seq::new(seq + 5))
                .unwrap();
        }
        assert_eq!(snaps.retire(3).unwrap(), []);
        for seq in [20, 40] {
            snaps
                .mark_verified(Seq::new(seq), Seq::new(seq + 5))
                .unwrap();
        }
        assert_eq!(snaps.retire(3).unwrap(), [Seq::new(10)]);
        use SnapshotState::{Verified, Written};
        assert_eq!(
            seqs(snaps.list().unwrap()),
            [
                (20, Verified),
                (30, Verified),
                (40, Verified),
                (50, Written)
            ]
        );
        assert_eq!(snaps.newest_verified().unwrap(), Some(Seq::new(40)));
        // A mark counts for the snapshot it was made for only.
        let other = SnapshotMeta {
            epoch: 5,
            ..meta(40)
        };
        snaps.write(&other, &[(1, b"another")]).unwrap();
        assert_eq!(snaps.newest_verified().unwrap(), Some(Seq::new(30)));
        // What cannot be read is not marked.
        disk.flip_bit(&snapshot_name(Seq::new(50)), (HEAD_BYTES + 1) * 8);
        snaps.mark_verified(Seq::new(50), Seq::new(55)).unwrap_err();
    }

    #[test]
    fn whichever_call_fails_a_snapshot_is_there_whole_or_not_at_all() {
        let part = body(1, 150_000);
        let work = |disk: &MemoryStorage| {
            let snaps = snapshots(disk);
            snaps.write(&meta(10), &[(1, &part)])?;
            snaps.mark_verified(Seq::new(10), Seq::new(12))
        };
        let calls = {
            let disk = MemoryStorage::new();
            work(&disk).unwrap();
            disk.calls().len()
        };
        let mut cases = 0;
        for call in 1..=calls as u64 {
            for fault in [
                Fault::Error(rustix::io::Errno::IO),
                Fault::Error(rustix::io::Errno::NOSPC),
                Fault::Error(rustix::io::Errno::INTR),
                Fault::ShortWrite(100),
                Fault::PowerCut,
            ] {
                let disk = MemoryStorage::new();
                disk.fail_at(call, fault);
                let done = work(&disk);
                for keep in [false, true] {
                    let after = disk.after_power_cut(4096, |_| keep);
                    let snaps = snapshots(&after);
                    for entry in snaps.list().unwrap() {
                        let found = snaps.read(entry.seq).unwrap();
                        assert_eq!(found.sections[0].1, part, "call {call} {fault:?}");
                    }
                    if done.is_ok() {
                        assert_eq!(snaps.newest_verified().unwrap(), Some(Seq::new(10)));
                    }
                    // The next attempt works, whatever the first one left.
                    work(&after).unwrap();
                    cases += 1;
                }
            }
        }
        eprintln!("{cases} failed calls and power cuts around a snapshot");
        assert!(cases > 150, "{cases}");
    }
}
