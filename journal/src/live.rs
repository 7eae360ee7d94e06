//! `LIVE`: one shared page that tells other processes how far the journal is published and durable.
//!
//! Rebuilt at each start and never needed for recovery. It serves as a witness all the same: if it was
//! written in place (its own inode number stands in it) or closed by a clean end, then a journal that
//! ends before its `synced` position has lost something.
//!
//! | Offset | Field | Width |
//! |---:|---|---:|
//! | 0 | magic `TSRALIVE` | 8 |
//! | 8 | version | 4 |
//! | 12 | pid | 4 |
//! | 16 | `cluster_id` | 16 |
//! | 32 | epoch | 8 |
//! | 40 | inode of this file | 8 |
//! | 48 | durability | 8 |
//! | 56 | crc32c over 0..56 | 4 |
//! | 60 | zero | 4 |
//! | 64 | published seq | 8 |
//! | 128 | durable seq | 8 |
//! | 192, 200 | synced seq, and its complement | 8 + 8 |
//! | 208 | 0 starting, 1 the start is on disk, 2 clean end | 8 |

use std::io;
use std::sync::atomic::Ordering;

use tessera_types::Seq;

use crate::Durability;
use crate::slot::{read_u32, read_u64};
use crate::storage::{Access, MapAccess, Region, Storage, write_all};

/// The writer's side of the page.
pub(crate) struct LivePage(Region);

/// What the page said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveView {
    /// Which journal.
    pub cluster_id: [u8; 16],
    /// Epoch of the writer.
    pub epoch: u64,
    /// Its process.
    pub pid: u32,
    /// What acknowledged means in it.
    pub durability: Durability,
    /// Last published command.
    pub published: Seq,
    /// Last acknowledged command.
    pub durable: Seq,
    /// Last command that was on disk, whatever the mode; nothing if the word was caught half written.
    pub synced: Option<Seq>,
    /// The page is where its writer made it, or was closed by a clean end: `synced` can be relied on.
    pub is_witness: bool,
    /// The writer's first records were on disk, so there must be a segment.
    pub is_started: bool,
}

impl LivePage {
    /// Builds the page anew and moves it into place.
    pub(crate) fn create(
        storage: &dyn Storage,
        cluster_id: &[u8; 16],
        epoch: u64,
        durability: Durability,
        seq: Seq,
        durable: Seq,
    ) -> io::Result<Self> {
        match storage.remove(NEW_NAME) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = storage.create(NEW_NAME)?;
        file.preallocate(LIVE_BYTES as u64)?;
        let mut page = [0; 256];
        page[0..8].copy_from_slice(&MAGIC);
        page[8..12].copy_from_slice(&VERSION.to_le_bytes());
        page[12..16].copy_from_slice(&std::process::id().to_le_bytes());
        page[16..32].copy_from_slice(cluster_id);
        page[32..40].copy_from_slice(&epoch.to_le_bytes());
        page[40..48].copy_from_slice(&file.stat()?.inode.to_le_bytes());
        page[48] = durability as u8;
        let crc = crc32c::crc32c(&page[..56]);
        page[56..60].copy_from_slice(&crc.to_le_bytes());
        for (at, seq) in [(PUBLISHED_AT, seq), (DURABLE_AT, durable), (SYNCED_AT, seq)] {
            page[at..at + 8].copy_from_slice(&seq.get().to_le_bytes());
        }
        page[SYNCED_AT + 8..SYNCED_AT + 16].copy_from_slice(&(!seq.get()).to_le_bytes());
        write_all(&*file, 0, &page)?;
        let region = file.map(LIVE_BYTES, MapAccess::Write)?;
        storage.rename(NEW_NAME, crate::LIVE_NAME)?;
        Ok(Self(region))
    }

    pub(crate) fn set_published(&self, seq: Seq) {
        self.0
            .word(PUBLISHED_AT)
            .store(seq.get().to_le(), Ordering::Release);
    }

    pub(crate) fn set_durable(&self, seq: Seq) {
        self.0
            .word(DURABLE_AT)
            .store(seq.get().to_le(), Ordering::Release);
    }

    pub(crate) fn set_synced(&self, seq: Seq) {
        self.0
            .word(SYNCED_AT)
            .store(seq.get().to_le(), Ordering::Release);
        self.0
            .word(SYNCED_AT + 8)
            .store((!seq.get()).to_le(), Ordering::Release);
    }

    pub(crate) fn set_started(&self) {
        self.0
            .word(STATE_AT)
            .store(STARTED.to_le(), Ordering::Release);
    }

    pub(crate) fn set_closed(&self) {
        self.0
            .word(STATE_AT)
            .store(CLOSED.to_le(), Ordering::Release);
    }
}

/// Reads the page; nothing if there is none or it makes no sense, since it is never needed.
pub(crate) fn read_live(storage: &dyn Storage) -> io::Result<Option<LiveView>> {
    let file = match storage.open(crate::LIVE_NAME, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let stat = file.stat()?;
    let mut page = [0; 256];
    if file.read_at(0, &mut page)? < page.len() {
        return Ok(None);
    }
    let durability = Durability::from_u8(page[48]);
    let is_ours = page[0..8] == MAGIC
        && read_u32(&page, 8) == VERSION
        && read_u32(&page, 56) == crc32c::crc32c(&page[..56]);
    let (true, Some(durability)) = (is_ours, durability) else {
        return Ok(None);
    };
    let mut cluster_id = [0; 16];
    cluster_id.copy_from_slice(&page[16..32]);
    let synced = read_u64(&page, SYNCED_AT);
    let in_place = read_u64(&page, 40) == stat.inode;
    let state = read_u64(&page, STATE_AT);
    Ok(Some(LiveView {
        cluster_id,
        epoch: read_u64(&page, 32),
        pid: read_u32(&page, 12),
        durability,
        published: Seq::new(read_u64(&page, PUBLISHED_AT)),
        durable: Seq::new(read_u64(&page, DURABLE_AT)),
        synced: (read_u64(&page, SYNCED_AT + 8) == !synced).then_some(Seq::new(synced)),
        is_witness: in_place || state == CLOSED,
        is_started: state == STARTED || state == CLOSED,
    }))
}

const MAGIC: [u8; 8] = *b"TSRALIVE";
const VERSION: u32 = 1;
const LIVE_BYTES: usize = 4096;
const PUBLISHED_AT: usize = 64;
const DURABLE_AT: usize = 128;
const SYNCED_AT: usize = 192;
const STATE_AT: usize = 208;
const STARTED: u64 = 1;
const CLOSED: u64 = 2;
const NEW_NAME: &str = "LIVE.new";
