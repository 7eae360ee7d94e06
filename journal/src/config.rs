//! What an open journal is told from outside.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tessera_types::{Seq, Timestamp};

use crate::segment::{MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES, is_segment_size};

/// Settings of a journal. None of them changes what a journaled command does.
#[derive(Clone, Debug)]
pub struct Config {
    /// Size of new segments, a multiple of 4096 from 64 KiB up.
    pub segment_bytes: u64,
    /// What acknowledged means.
    pub durability: Durability,
    /// Which shard's journal; must equal the shard of the segments that are there.
    pub shard: u32,
    /// Which node writes, for the Epoch record; 0 on a single machine.
    pub node: u64,
    /// Segments to keep prepared, at least 1.
    pub segments_ahead: usize,
    /// Version of the command payloads, for the Format record.
    pub payload_schema: u16,
    /// Version of the engine's rules that a new journal begins under.
    pub rules_version: u32,
    /// Version of the rules to put in force at this start, if the journal is under an older one.
    pub activate_rules: Option<u32>,
    /// Signs the ends of segments.
    pub signer: Option<Arc<dyn Signer>>,
    /// What moves `durable`.
    pub commit: CommitRule,
    /// The last command in a snapshot that the caller has read, checked and will go on from; 0 for none.
    /// Of the segments that hold nothing behind it a start checks file, header, number, watermark and
    /// border, and leaves the records unread.
    pub covered: Seq,
    /// Names that may stand beside a new journal in its directory.
    pub companions: Vec<String>,
    /// Identity of a journal that is made; random if nothing is given.
    pub identity: Option<Identity>,
    /// Wall clock, for the creation time of segments, which only people read.
    pub wall_clock: fn() -> Timestamp,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment_bytes: 256 << 20,
            durability: Durability::Default,
            shard: 0,
            node: 0,
            segments_ahead: 2,
            payload_schema: 1,
            rules_version: 1,
            activate_rules: None,
            signer: None,
            commit: CommitRule::default(),
            covered: Seq::ZERO,
            companions: COMPANIONS.map(str::to_owned).to_vec(),
            identity: None,
            wall_clock: system_clock,
        }
    }
}

impl Config {
    /// Checks what a type cannot.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !is_segment_size(self.segment_bytes) {
            return Err(ConfigError::SegmentBytes(self.segment_bytes));
        }
        if self.segments_ahead == 0 || self.segments_ahead > 32 {
            return Err(ConfigError::SegmentsAhead(self.segments_ahead));
        }
        Ok(())
    }
}

/// A setting that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `segment_bytes` is not a multiple of a page or out of range.
    #[error(
        "journal.segment_bytes is {0}; it must be a multiple of 4096 from {MIN_SEGMENT_BYTES} to \
         {MAX_SEGMENT_BYTES}"
    )]
    SegmentBytes(u64),
    /// `segments_ahead` is out of range.
    #[error("journal.segments_ahead is {0}; it must be from 1 to 32")]
    SegmentsAhead(usize),
}

/// Signs the chain value at the end of each segment. The key is somebody else's: this package knows no
/// signature scheme, only that a signature has the 64 bytes of Ed25519.
pub trait Signer: fmt::Debug + Send + Sync {
    /// Which key, for the Signature record.
    fn key_id(&self) -> u32;

    /// The signature over a chain value. Called by the journal thread, once per segment.
    fn sign(&self, chain: &[u8; 32]) -> [u8; 64];
}

/// What moves the cursor that everybody who acknowledges waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommitRule {
    /// This journal's own sync, as [`Durability`] says.
    #[default]
    Local,
    /// Someone who knows what a majority of replicas has on disk, through a [`crate::CommitCursor`]. The
    /// epoch is the term of the leader then: a start begins none by itself.
    External,
}

/// What makes one journal different from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the cluster.
    pub cluster_id: [u8; 16],
    /// Key of the hash chain.
    pub hash_seed: [u8; 32],
}

/// What "acknowledged" means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Durability {
    /// The group's fdatasync has returned.
    #[default]
    Default = 0,
    /// The watermark that says so is on disk too.
    Strict = 1,
    /// Stored in the mapping; the sync follows. A power cut loses the last groups.
    Async = 2,
}

impl Durability {
    /// The mode with this number.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Default),
            1 => Some(Self::Strict),
            2 => Some(Self::Async),
            _ => None,
        }
    }

    /// The word in configuration, `READY` line and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Strict => "strict",
            Self::Async => "async",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Default, Self::Strict, Self::Async]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| format!("unknown durability {text:?}; known are default, strict, async"))
    }
}

fn system_clock() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// What the rest of the program keeps in a data directory, and what a fresh file system puts there.
const COMPANIONS: [&str; 5] = [
    "credentials",
    "outbound",
    "tessera.toml",
    "catalogue.toml",
    "lost+found",
];
