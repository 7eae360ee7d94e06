//! The probes: what the journal thread and the sync thread do, with nothing around it.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use tempfile::TempDir;
use tessera_journal::chain::Chain;
use tessera_journal::slot::{Head, SLOT_BYTES};
use tessera_journal::storage::memory::MemoryStorage;
use tessera_journal::storage::{Access, MapAccess, Mapped, Region, Storage as _};
use tessera_types::{Seq, Timestamp};

use crate::bed::{PAYLOAD, SEGMENT_BYTES};

/// Encodes records into a region and begins again at its end: checksum, chain and stores of the journal
/// thread, without its checks and its bookkeeping.
pub(crate) struct Encoder {
    region: Region,
    at: usize,
    seq: u64,
    crc: u32,
    chain: Chain,
}

impl Encoder {
    pub(crate) fn new(region: Region) -> Self {
        Self {
            region,
            at: 0,
            seq: 0,
            crc: 0,
            chain: Chain::start(&[7; 32], &[0; 32], &[]),
        }
    }

    #[inline]
    pub(crate) fn append(&mut self) {
        self.seq += 1;
        self.put(1, black_box(&PAYLOAD));
        if self.chain.is_full() {
            let value = self.chain.close();
            self.put(0x80, &value);
        }
    }

    #[inline]
    fn put(&mut self, kind: u8, payload: &[u8]) {
        let head = Head {
            payload_bytes: payload.len(),
            kind,
            flags: 0,
            epoch_low: 1,
            seq: Seq::new(self.seq),
            time: Timestamp::from_nanos(self.seq),
        };
        let mut slot = [0; SLOT_BYTES];
        self.crc = head.encode(payload, self.crc, &mut slot);
        self.chain.absorb(&slot);
        self.region.store_slot(self.at, &slot);
        self.at += SLOT_BYTES;
        if self.at == self.region.len() {
            self.at = 0;
        }
    }
}

/// Memory that stays in a cache.
pub(crate) fn cached(bytes: u64) -> Region {
    let disk = MemoryStorage::new();
    let file = disk.create("ring").expect("a fresh disk");
    file.preallocate(bytes).expect("memory");
    let bytes = usize::try_from(bytes).expect("it fits into memory");
    file.map(bytes, MapAccess::Write).expect("memory")
}

/// A file of real zeros, written in 4 KiB writes, mapped and populated, then synced, as segments are.
pub(crate) struct Zeros {
    pub(crate) region: Region,
    /// A descriptor of its own for writes beside the mapping and for syncs.
    pub(crate) file: File,
    _dir: TempDir,
}

impl Zeros {
    pub(crate) fn new(parent: &Path, bytes: u64) -> Self {
        let dir = tempfile::tempdir_in(parent).expect("a directory that can be written");
        let path = dir.path().join("zeros");
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .expect("a fresh name");
        for offset in (0..bytes).step_by(4096) {
            file.write_all_at(&[0; 4096], offset)
                .expect("room on the disk");
        }
        file.sync_all().expect("a disk that works");
        let storage = Mapped::open(dir.path()).expect("a directory");
        let mapped = storage.open("zeros", Access::Write).expect("a file");
        let len = usize::try_from(bytes).expect("it fits into memory");
        let region = mapped.map(len, MapAccess::Populated).expect("a mapping");
        file.sync_all().expect("a disk that works");
        Self {
            region,
            file,
            _dir: dir,
        }
    }

    pub(crate) fn segment(parent: &Path) -> Self {
        Self::new(parent, SEGMENT_BYTES)
    }
}
