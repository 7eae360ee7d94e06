//! The engine that a journal leads to: from the first command, or from a snapshot and what follows it.
//!
//! Every state hash on the way is compared. A snapshot is one of several ways to the same state, so
//! whatever is wrong with it is a reason to take an older one, and said; what is wrong with the
//! journal is a reason not to start.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use tessera_engine::{EngineConfig, Exchange, SNAPSHOT_SCHEMA};
use tessera_journal::segment::FORMAT;
use tessera_journal::{
    Body, Record, Replay, ScanError, SnapshotEntry, SnapshotMeta, SnapshotState, Snapshots,
};
use tessera_types::{Event, EventSink, Seq};
use thiserror::Error;

use crate::journal::commands::{RULES, rules_message, sequenced, unknown_rules};

/// Why no engine could be rebuilt.
#[derive(Debug, Error)]
pub enum RebuildError {
    /// The journal cannot be read back.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A record does not decode, although its checksum is right.
    #[error(
        "record {seq} (type {kind:#04x}) is no command this version knows: {source}; \
         start the version that wrote it, or run `tessera journal verify`"
    )]
    Payload {
        /// Which record.
        seq: Seq,
        /// Its type.
        kind: u8,
        /// What is wrong.
        source: tessera_types::wire::DecodeError,
    },
    /// The replay came to another state than the one that was journaled.
    #[error(
        "the state after command {seq} has the hash {found}, the journal says {expected}; the last \
         equal one was after {last_equal}: this program does not replay the journal as it was made"
    )]
    StateHash {
        /// After which command.
        seq: Seq,
        /// The last command after which the hashes were equal; 0 for none.
        last_equal: Seq,
        /// The journal's.
        expected: String,
        /// Ours.
        found: String,
    },
    /// The replay emitted other events than those that clients were told.
    #[error(
        "the events up to command {seq} have the digest {found:#010x}, the journal says \
         {expected:#010x}; the last equal one was after {last_equal}: this program does not replay the \
         journal as it was made"
    )]
    EventsDigest {
        /// The last command of the block.
        seq: Seq,
        /// The last command up to which the digests were equal; 0 for none.
        last_equal: Seq,
        /// The journal's.
        expected: u32,
        /// Ours.
        found: u32,
    },
    /// The journal is under rules of the engine that this program does not know.
    #[error("{0}")]
    Rules(String),
    /// The snapshot does not belong to what the journal says.
    #[error("the snapshot after command {0} is of another history than the journal")]
    History(Seq),
}

/// An engine on its way through a journal.
#[derive(Debug)]
pub(crate) struct Rebuild {
    pub(crate) engine: Exchange,
    /// The snapshot it began with.
    from: Option<SnapshotMeta>,
    /// The snapshot has been found to fit the journal.
    joined: bool,
    /// Of the last record seen.
    epoch: u64,
    rules: u32,
    /// Chain value at the last block border seen.
    chain: [u8; 32],
    last_equal: Seq,
    pub(crate) applied: u64,
}

/// What a record was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The engine has applied a command, or there was nothing to do.
    On,
    /// The engine's state and events are the journal's.
    Equal,
}

impl Rebuild {
    /// Before the first command.
    pub(crate) fn genesis(cluster_id: &[u8; 16]) -> Self {
        Self::with(Exchange::new(engine_config(cluster_id)), None)
    }

    fn with(engine: Exchange, from: Option<SnapshotMeta>) -> Self {
        Self {
            engine,
            from,
            joined: false,
            epoch: 0,
            rules: 0,
            chain: [0; 32],
            last_equal: Seq::ZERO,
            applied: 0,
        }
    }

    /// From a snapshot: every byte of it read and checked, the state's hash computed and compared.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(crate) fn from_snapshot(snapshots: &Snapshots, seq: Seq) -> Result<Self, String> {
        let snapshot = snapshots.read(seq).map_err(|error| error.to_string())?;
        let meta = snapshot.meta;
        if !RULES.contains(&meta.rules_version) {
            return Err(rules_message(meta.rules_version));
        }
        if meta.engine_schema != SNAPSHOT_SCHEMA {
            return Err(format!(
                "it has engine schema {}, this program reads schema {SNAPSHOT_SCHEMA}",
                meta.engine_schema
            ));
        }
        let engine = Exchange::restore(engine_config(&meta.cluster_id), &snapshot.sections)
            .map_err(|error| error.to_string())?;
        let found = engine.state_hash();
        if (found, engine.last_seq()) != (meta.state_hash, meta.seq) {
            return Err(format!(
                "the state read from it is of command {} and has the hash {}, it says {} and {}",
                engine.last_seq(),
                hex(&found),
                meta.seq,
                hex(&meta.state_hash)
            ));
        }
        Ok(Self::with(engine, Some(meta)))
    }

    /// From the newest verified snapshot below `below` that can be used; what is wrong with newer ones is
    /// logged. None when there is none.
    pub(crate) fn newest(snapshots: &Snapshots, below: Seq) -> Option<Self> {
        let mut all = snapshots.list().unwrap_or_else(|error| {
            tracing::warn!(%error, "the snapshots cannot be listed");
            Vec::new()
        });
        all.retain(|entry| entry.state == SnapshotState::Verified && entry.seq < below);
        all.iter().rev().find_map(|&SnapshotEntry { seq, .. }| {
            Self::from_snapshot(snapshots, seq)
                .inspect_err(|error| {
                    tracing::warn!(%seq, %error, "a snapshot cannot be used; an older one is taken");
                })
                .ok()
        })
    }

    /// The last command of the snapshot it began with; 0 for none.
    pub(crate) fn begun_at(&self) -> Seq {
        self.from.as_ref().map_or(Seq::ZERO, |meta| meta.seq)
    }

    /// The journal of the snapshot it began with.
    pub(crate) fn cluster_id(&self) -> Option<[u8; 16]> {
        self.from.as_ref().map(|meta| meta.cluster_id)
    }

    /// Takes the next record; those that the snapshot holds come first and are only looked at.
    ///
    /// # Errors
    /// [`RebuildError`].
    pub(crate) fn take(&mut self, record: &Record<'_>) -> Result<Taken, RebuildError> {
        if let Some(found) = unknown_rules(record) {
            return Err(RebuildError::Rules(rules_message(found)));
        }
        self.epoch = record.epoch;
        let from = self.begun_at();
        match record.body() {
            Ok(Body::Command(_) | Body::Void { .. }) if record.seq <= from => {}
            Ok(Body::Command(_) | Body::Void { .. }) => {
                if self.from.is_some() && !self.joined {
                    return Err(RebuildError::History(from));
                }
                let command = sequenced(record).map_err(|source| RebuildError::Payload {
                    seq: record.seq,
                    kind: record.kind,
                    source,
                })?;
                if let Some(command) = command {
                    self.engine.apply(&command, &mut Discard);
                    self.applied += 1;
                }
            }
            Ok(Body::StateHash {
                hash,
                events_digest,
            }) => return self.compare(record.seq, hash, events_digest),
            Ok(Body::Checkpoint { chain, .. } | Body::SegmentEnd { chain }) => self.chain = chain,
            Ok(Body::SegmentStart(start)) => {
                self.chain = start.previous_chain;
                // Everything before has left the directory, or was not read: nothing to compare with.
                self.joined |= start.first_seq == from.next();
            }
            Ok(Body::Format { rules_version, .. } | Body::Activation { rules_version }) => {
                self.rules = rules_version;
            }
            _ => {}
        }
        Ok(Taken::On)
    }

    fn compare(
        &mut self,
        seq: Seq,
        hash: [u8; 32],
        events_digest: u32,
    ) -> Result<Taken, RebuildError> {
        if let Some(meta) = self.from.as_ref().filter(|meta| seq <= meta.seq) {
            if seq == meta.seq && !self.joined {
                if meta.state_hash != hash || meta.chain != self.chain {
                    return Err(RebuildError::History(meta.seq));
                }
                self.joined = true;
                self.last_equal = seq;
            }
            return Ok(Taken::On);
        }
        let found = self.engine.state_hash();
        if found != hash {
            return Err(RebuildError::StateHash {
                seq,
                last_equal: self.last_equal,
                expected: hex(&hash),
                found: hex(&found),
            });
        }
        let found = self.engine.events_digest();
        if found != events_digest {
            return Err(RebuildError::EventsDigest {
                seq,
                last_equal: self.last_equal,
                expected: events_digest,
                found,
            });
        }
        self.engine.restart_events_digest();
        self.last_equal = seq;
        Ok(Taken::Equal)
    }

    /// What a snapshot of this moment says about itself; right behind [`Taken::Equal`].
    pub(crate) fn meta(&self, cluster_id: [u8; 16], shard: u32) -> SnapshotMeta {
        SnapshotMeta {
            cluster_id,
            shard,
            format: FORMAT,
            engine_schema: SNAPSHOT_SCHEMA,
            rules_version: self.rules,
            seq: self.engine.last_seq(),
            epoch: self.epoch,
            time: self.engine.clock(),
            chain: self.chain,
            state_hash: self.engine.state_hash(),
            events_digest: self.engine.events_digest(),
        }
    }
}

/// The engine after everything that a journal held at its start, from `begin` on if that fits, else from
/// older snapshots, else from the first command.
///
/// # Errors
/// [`RebuildError`] of the last way tried, which is the one from the first command unless the segments
/// that hold it are gone.
pub(crate) fn rebuild(
    begin: Option<Rebuild>,
    snapshots: &Snapshots,
    replay: &Replay,
    cluster_id: &[u8; 16],
) -> Result<Rebuild, RebuildError> {
    let mut begin = begin;
    loop {
        let Some(mut rebuild) = begin.take() else {
            let mut rebuild = Rebuild::genesis(cluster_id);
            run(&mut rebuild, replay)?;
            return Ok(rebuild);
        };
        let from = rebuild.begun_at();
        let result = if rebuild.cluster_id() == Some(*cluster_id) {
            run(&mut rebuild, replay)
        } else {
            Err(RebuildError::History(from))
        };
        match result {
            Ok(()) => return Ok(rebuild),
            Err(
                error @ (RebuildError::History(_)
                | RebuildError::StateHash { .. }
                | RebuildError::EventsDigest { .. }),
            ) => {
                tracing::warn!(%from, %error, "a snapshot does not lead where the journal leads; an older one is taken");
                begin = Rebuild::newest(snapshots, from);
            }
            Err(error) => return Err(error),
        }
    }
}

fn run(rebuild: &mut Rebuild, replay: &Replay) -> Result<(), RebuildError> {
    let from = rebuild.begun_at();
    let stopped = replay.run_from(from, |record| match rebuild.take(record) {
        Ok(_) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    })?;
    match stopped {
        Some(error) => Err(error),
        None if rebuild.from.is_some() && !rebuild.joined && replay.end_seq() > Seq::ZERO => {
            Err(RebuildError::History(from))
        }
        None => Ok(()),
    }
}

fn engine_config(cluster_id: &[u8; 16]) -> EngineConfig {
    let mut seed = [0; 8];
    seed.copy_from_slice(&cluster_id[..8]);
    EngineConfig {
        index_seed: u64::from_le_bytes(seed),
        ..EngineConfig::default()
    }
}

/// Takes events that nobody waits for.
struct Discard;

impl EventSink for Discard {
    #[inline]
    fn emit(&mut self, _event: Event) {}
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
