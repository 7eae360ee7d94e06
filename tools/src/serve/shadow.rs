//! The shadow: a second engine that makes snapshots from the journal, so that the matching thread need not.
//!
//! It exists only while a snapshot is made. Every `every` commands this thread
//!
//! 1. rebuilds an engine from the newest verified snapshot and the durable journal up to a state hash,
//! 2. writes it as a snapshot and forgets it,
//! 3. reads the file back, restores it, goes on to the journal's next state hash, and only if that is
//!    equal marks the snapshot verified,
//! 4. removes old snapshots and retires the segments that may leave.
//!
//! So every snapshot was restored from its file once before anything relies on it, the chain of
//! snapshots is itself the shadow replica, and its memory (as much as the state of the engine, and the
//! bytes of the snapshot beside it) is used for seconds, not for ever. The other way, an engine that
//! follows all the time, costs that memory always and saves the reading of one snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tessera_journal::storage::Storage;
use tessera_journal::{
    Archive, ArchiveError, Limit, Next, Retention, Scan, ScanError, SnapshotError, Snapshots,
    Status,
};
use tessera_types::Seq;
use thiserror::Error;

use super::rebuild::{Rebuild, RebuildError, Taken};

/// What the shadow is told.
#[derive(Clone, Debug)]
pub(crate) struct ShadowConfig {
    /// Commands from one snapshot to the next.
    pub(crate) every: u64,
    /// Commands from one state hash to the next.
    pub(crate) state_hash_every: u64,
    /// What may leave.
    pub(crate) retention: Retention,
    pub(crate) cluster_id: [u8; 16],
    pub(crate) shard: u32,
}

/// What others may know of it.
#[derive(Debug, Default)]
pub(crate) struct ShadowProgress {
    /// Last command of the newest verified snapshot; 0 for none.
    pub(crate) snapshot_seq: AtomicU64,
    /// Snapshots verified since the start.
    pub(crate) snapshots: AtomicU64,
    /// Segments that left since the start.
    pub(crate) retired: AtomicU64,
    /// Attempts that failed since the start.
    pub(crate) failures: AtomicU64,
}

/// The running thread.
pub(crate) struct Shadow {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

/// Verified snapshots that are kept.
const KEEP: usize = 3;
/// How often it looks whether there is something to do.
const LOOK: Duration = Duration::from_millis(200);
/// Pauses of 5 ms that it waits for a record.
const PATIENCE: u32 = 200;
/// How often segments that have only now grown old enough may leave.
const RETIRE_EVERY: Duration = Duration::from_secs(60);

impl Shadow {
    /// Starts the thread. `newest` is the last command of the newest verified snapshot.
    pub(crate) fn spawn(
        storage: Arc<dyn Storage>,
        status: Status,
        config: ShadowConfig,
        newest: Seq,
        progress: Arc<ShadowProgress>,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = bounded(0);
        progress.snapshot_seq.store(newest.get(), Ordering::Relaxed);
        let mut maker = Maker {
            storage,
            status,
            config,
            stopped,
            newest,
            progress,
        };
        let thread = thread::Builder::new()
            .name("tessera-shadow".into())
            .spawn(move || maker.run())?;
        Ok(Self { stop, thread })
    }

    /// Ends it, whatever it is doing: what it leaves is a file that is not marked.
    pub(crate) fn finish(self) {
        drop(self.stop);
        // A panic there has cost nothing but snapshots.
        let _ = self.thread.join();
    }
}

/// Why there is no new snapshot.
#[derive(Debug, Error)]
enum MakeError {
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the journal is damaged: {0}")]
    Damaged(String),
    #[error("the snapshot that was just written cannot be used: {0}")]
    Unusable(String),
    /// The node is ending.
    #[error("stopped")]
    Stopped,
}

struct Maker {
    storage: Arc<dyn Storage>,
    status: Status,
    config: ShadowConfig,
    stopped: Receiver<()>,
    newest: Seq,
    progress: Arc<ShadowProgress>,
}

impl Maker {
    fn run(&mut self) {
        // Matching must not wait for a snapshot: this thread has what is left of the processor.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(None, 10);
        // The age rule may have let segments go while the node was down.
        let mut retired = Instant::now() - RETIRE_EVERY;
        let mut base = self.newest;
        loop {
            match self.stopped.recv_timeout(LOOK) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return,
            }
            let mut made = false;
            if self.status.synced() >= self.due(base) {
                match self.make(base) {
                    Ok(seq) => (base, made) = (seq, true),
                    Err(MakeError::Stopped) => return,
                    Err(error) => {
                        self.progress.failures.fetch_add(1, Ordering::Relaxed);
                        tracing::error!(%error, "no snapshot could be made; the next attempt comes \
                        after as many commands, and no segment is retired meanwhile");
                        base = self.status.synced();
                    }
                }
            }
            if made || retired.elapsed() > RETIRE_EVERY {
                retired = Instant::now();
                if let Err(error) = self.retire() {
                    tracing::error!(%error, "no segment could be retired");
                }
            }
        }
    }

    /// From where on a snapshot behind `base` can be made and verified without waiting: two state hashes
    /// have followed.
    fn due(&self, base: Seq) -> Seq {
        let interval = self.config.state_hash_every;
        let first = base.get().saturating_add(self.config.every);
        Seq::new(first.next_multiple_of(interval).saturating_add(interval))
    }

    /// Makes a snapshot at least `every` behind `base`, at the last state hash but one, and verifies it at
    /// the last one.
    fn make(&mut self, base: Seq) -> Result<Seq, MakeError> {
        let start = Instant::now();
        let snapshots = Snapshots::on(Arc::clone(&self.storage));
        // As far on as can be verified at once: behind a long journal without snapshots one is enough.
        let latest = self.config.state_hash_every.saturating_mul(2);
        let latest = self.status.synced().get().saturating_sub(latest);
        let earliest = Seq::new(base.get().saturating_add(self.config.every).max(latest));
        let mut rebuild = Rebuild::newest(&snapshots, Seq::new(u64::MAX))
            .unwrap_or_else(|| Rebuild::genesis(&self.config.cluster_id));
        let seq = self.follow(&mut rebuild, earliest)?;
        let meta = rebuild.meta(self.config.cluster_id, self.config.shard);
        let sections = rebuild.engine.save();
        drop(rebuild);
        let parts: Vec<(u32, &[u8])> = sections
            .iter()
            .map(|(id, bytes)| (*id, bytes.as_slice()))
            .collect();
        let bytes: usize = parts.iter().map(|(_, bytes)| bytes.len()).sum();
        snapshots.write(&meta, &parts)?;
        drop(sections);

        let mut rebuild = Rebuild::from_snapshot(&snapshots, seq).map_err(MakeError::Unusable)?;
        let compared = self.follow(&mut rebuild, seq.next())?;
        snapshots.mark_verified(seq, compared)?;
        self.newest = seq;
        self.progress
            .snapshot_seq
            .store(seq.get(), Ordering::Relaxed);
        self.progress.snapshots.fetch_add(1, Ordering::Relaxed);
        let ms = start.elapsed().as_millis();
        tracing::info!(%seq, bytes, ms, "a snapshot was made, and verified at command {compared}");
        Ok(seq)
    }

    /// Goes on through what is synced to the first state hash at `earliest` or behind it.
    fn follow(&self, rebuild: &mut Rebuild, earliest: Seq) -> Result<Seq, MakeError> {
        let scan = Scan::on(Arc::clone(&self.storage));
        let next = rebuild.engine.last_seq().next();
        let mut follower = scan.follow(Some(next), Limit::Durable)?;
        let (mut polled, mut waited) = (0_u32, 0_u32);
        loop {
            polled = polled.wrapping_add(1);
            if polled.is_multiple_of(1024) && self.is_stopped() {
                return Err(MakeError::Stopped);
            }
            match follower.poll()? {
                Next::Record(record, _) => {
                    waited = 0;
                    let seq = record.seq;
                    if rebuild.take(&record)? == Taken::Equal && seq >= earliest {
                        // In mode `async` the journal is durable before it is on disk; a snapshot must
                        // never vouch for what is not.
                        while self.status.synced() < seq {
                            self.pause()?;
                        }
                        return Ok(seq);
                    }
                }
                // It began when everything it needs was synced, so there is nothing to wait for long.
                Next::Wait if waited < PATIENCE => {
                    waited += 1;
                    self.pause()?;
                }
                Next::Wait => {
                    let end = rebuild.engine.last_seq();
                    let what = format!("nothing can be read behind command {end}, which is synced");
                    return Err(MakeError::Damaged(what));
                }
                Next::Damaged(finding) => return Err(MakeError::Damaged(finding.to_string())),
            }
        }
    }

    fn retire(&self) -> Result<(), MakeError> {
        if self.newest == Seq::ZERO {
            return Ok(());
        }
        Snapshots::on(Arc::clone(&self.storage)).retire(KEEP)?;
        let archive = Archive::on(Arc::clone(&self.storage));
        for line in archive.retire(self.config.retention, self.status.synced())? {
            self.progress.retired.fetch_add(1, Ordering::Relaxed);
            tracing::info!(segment = line.name, last_seq = %line.last_seq, "a segment was retired");
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.stopped.recv_timeout(Duration::ZERO) != Err(RecvTimeoutError::Timeout)
    }

    fn pause(&self) -> Result<(), MakeError> {
        match self.stopped.recv_timeout(Duration::from_millis(5)) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(MakeError::Stopped),
        }
    }
}

#[cfg(test)]
mod tests;
