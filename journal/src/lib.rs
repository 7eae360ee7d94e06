//! The journal: sequenced commands as bytes in memory-mapped segments, made durable in groups.
//!
//! It knows [`Seq`](tessera_types::Seq), [`Timestamp`](tessera_types::Timestamp) and byte slices, and
//! refuses to know what a payload means. The byte format, the recovery table and what each durability
//! mode promises are described in `docs/journal.md`.
//!
//! Read in this order: [`slot`], [`record`], [`segment`] and [`chain`] are the bytes; [`recovery`] is the
//! decision table; `reader` walks one segment and `survey` a directory; `writer`, `sync` and `preparer`
//! are the three threads' parts, `status` what they share; `open` is a start, `scan` a tool's look;
//! [`storage`] is the disk under all of it.
//!
//! Three threads share an open journal: the journal thread owns the [`Writer`], the sync thread the
//! [`Syncer`], and a third one the [`Preparer`]. None of them is started here; each has one function to
//! call in a loop. Everyone else looks through a [`Status`]. Tools read with [`Scan`].
//!
//! ```
//! use std::ops::ControlFlow;
//! use tessera_journal::{Body, Config, Journal, Opened};
//! use tessera_types::{Seq, Timestamp};
//!
//! let dir = tempfile::tempdir()?;
//! let config = Config { segment_bytes: 64 * 1024, ..Config::default() };
//! let Opened { mut writer, mut syncer, status, .. } = Journal::open(dir.path(), config.clone())?;
//! writer.append(Seq::new(1), Timestamp::from_nanos(5), 0x01, b"a command")?;
//! writer.publish();
//! syncer.sync_once()?;
//! assert_eq!(status.durable(), Seq::new(1));
//! syncer.finish()?;
//! drop((writer, status));
//!
//! let again = Journal::open(dir.path(), config)?;
//! let mut commands = Vec::new();
//! again.replay.run(|record| {
//!     if let Ok(Body::Command(bytes)) = record.body() {
//!         commands.push((record.seq, bytes.to_vec()));
//!     }
//!     ControlFlow::<()>::Continue(())
//! })?;
//! assert_eq!(commands, [(Seq::new(1), b"a command".to_vec())]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
pub mod chain;
mod config;
mod copy;
mod crc;
mod follow;
mod live;
mod open;
mod preparer;
mod reader;
pub mod record;
pub mod recovery;
mod scan;
pub mod segment;
#[cfg(unix)]
pub mod sigbus;
pub mod slot;
mod snapshot_file;
mod status;
pub mod storage;
mod survey;
mod sync;
mod truncate;
mod writer;

pub use archive::{Archive, ArchiveError, Archived, Retention};
pub use config::{CommitRule, Config, ConfigError, Durability, Identity, Signer};
pub use copy::{Copied, Copy, CopyError, Discarded};
pub use follow::{Follower, Limit, Next};
pub use live::LiveView;
pub use open::{Journal, OpenError, Opened, RecoveryReport, Replay};
pub use preparer::{PrepareError, Preparer};
pub use reader::hex;
pub use record::{Body, BodyError, Record, kind, kind_name};
pub use recovery::{Finding, FindingKind, Verdict};
pub use scan::{Report, Scan, SegmentReport};
pub use snapshot_file::{
    MAX_SECTIONS, SNAP_NAME, Snapshot, SnapshotEntry, SnapshotError, SnapshotInput, SnapshotMeta,
    SnapshotState, Snapshots,
};
pub use status::{CommitCursor, Status};
pub use survey::{Counts, ScanError, Torn};
pub use sync::{SyncError, Synced, Syncer};
pub use truncate::{TruncateError, Truncated};
pub use writer::{AppendError, Writer};

/// Name of the lock file.
pub const LOCK_NAME: &str = "LOCK";
/// Name of the page that tells other processes how far the journal has come.
pub const LIVE_NAME: &str = "LIVE";
/// Directory of segments that were retired.
pub const ARCHIVE_NAME: &str = "archive";
/// Directory of bytes that were cut from torn tails.
pub const DISCARD_NAME: &str = "discard";
