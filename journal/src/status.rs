//! What the three threads of a journal and its watchers share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tessera_types::Seq;

use crate::live::LivePage;
use crate::segment::SegmentHeader;
use crate::storage::words::{self, Shipped};
use crate::storage::{File, LockGuard, Region, Storage};
use crate::{CommitRule, Config, Durability};

/// A view of an open journal that any thread may keep: cursors and counters.
#[derive(Clone)]
pub struct Status(pub(crate) Arc<Shared>);

impl Status {
    /// Last command stored and published. Acquire: what was stored before it can be read.
    #[must_use]
    pub fn published(&self) -> Seq {
        Seq::new(self.0.published.0.load(Ordering::Acquire))
    }

    /// Last command that may be acknowledged. In mode `async` that is the last published one.
    #[must_use]
    pub fn durable(&self) -> Seq {
        Seq::new(self.0.durable.0.load(Ordering::Acquire))
    }

    /// Last command known to be on disk, whatever the mode.
    #[must_use]
    pub fn synced(&self) -> Seq {
        Seq::new(self.0.synced.0.load(Ordering::Acquire))
    }

    /// True once a sync or a write has failed: nothing will ever be acknowledged again and the process
    /// must end.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.0.is_poisoned()
    }

    /// What acknowledged means.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.0.config.durability
    }

    /// The epoch this process writes in.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::Relaxed)
    }

    /// Segments prepared ahead. At 1 new orders should be refused, at 0 the journal will stall.
    #[must_use]
    pub fn segments_ready(&self) -> usize {
        self.0.ready().queue.len()
    }

    /// Why the next segment could not be prepared at the last attempt.
    #[must_use]
    pub fn prepare_error(&self) -> Option<String> {
        self.0.ready().error.clone()
    }

    /// Times an append found no segment ready.
    #[must_use]
    pub fn stalls(&self) -> u64 {
        self.0.stalls.load(Ordering::Relaxed)
    }

    /// Segments sealed since the start.
    #[must_use]
    pub fn rotations(&self) -> u64 {
        self.0.rotations.load(Ordering::Relaxed)
    }

    /// Group commits since the start.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.0.syncs.load(Ordering::Relaxed)
    }

    /// Bytes of records written since the start.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.0.bytes_written.load(Ordering::Relaxed)
    }
}

/// Moves `durable` of a journal whose commit rule is [`CommitRule::External`].
#[derive(Clone)]
pub struct CommitCursor(pub(crate) Arc<Shared>);

impl CommitCursor {
    /// Everything up to `seq` is committed. The cursor never falls, and never passes what is published
    /// here. Returns where it stands.
    pub fn advance(&self, seq: Seq) -> Seq {
        let shared = &self.0;
        let now = Seq::new(shared.durable.0.load(Ordering::Acquire));
        let published = Seq::new(shared.published.0.load(Ordering::Acquire));
        let next = seq.min(published);
        if next <= now || shared.is_poisoned() {
            return now;
        }
        shared.set_durable(next);
        next
    }
}

/// Everything shared; the lock file is held as long as any part of the journal lives.
pub(crate) struct Shared {
    pub(crate) published: Line,
    pub(crate) durable: Line,
    pub(crate) synced: Line,
    position: PositionCell,
    poisoned: AtomicBool,
    pub(crate) epoch: AtomicU64,
    pub(crate) stalls: AtomicU64,
    pub(crate) rotations: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
    ready: Mutex<Ready>,
    wanted: Condvar,
    sealed: Mutex<VecDeque<Handover>>,
    pub(crate) live: LivePage,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) config: Config,
    pub(crate) identity: SegmentHeader,
    /// Version of the engine's rules in force.
    rules: AtomicU32,
    pub(crate) _lock: Box<dyn LockGuard>,
}

/// Where `durable` begins: what is in the journal is on disk when a start ends, but whether it is
/// committed only its replicas know.
pub(crate) fn durable_at_start(config: &Config, last: Seq) -> Seq {
    match config.commit {
        CommitRule::Local => last,
        CommitRule::External => Seq::ZERO,
    }
}

/// A counter on a cache line of its own: three threads store to three of them.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Line(pub(crate) AtomicU64);

/// A segment file with its one descriptor and its mapping.
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) file: Box<dyn File>,
    pub(crate) region: Region,
}

/// Segments prepared ahead, and the word from the preparer if it could not.
pub(crate) struct Ready {
    pub(crate) queue: VecDeque<Arc<Segment>>,
    pub(crate) next_no: u64,
    pub(crate) error: Option<String>,
    pub(crate) closed: bool,
}

/// What the journal thread hands to the sync thread at a rotation.
pub(crate) struct Handover {
    /// Where the sealed segment ends.
    pub(crate) end: Position,
    /// The segment that follows it.
    pub(crate) next: Arc<Segment>,
}

/// How far the journal thread has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) segment_no: u64,
    pub(crate) offset: u64,
    pub(crate) seq: Seq,
    pub(crate) records: u64,
    pub(crate) chain: [u8; 32],
}

impl Shared {
    #[expect(
        clippy::too_many_arguments,
        reason = "one caller, and each part is of another type"
    )]
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        config: Config,
        identity: SegmentHeader,
        lock: Box<dyn LockGuard>,
        live: LivePage,
        epoch: u64,
        seq: Seq,
        next_no: u64,
    ) -> Self {
        let ahead = config.segments_ahead;
        Self {
            published: Line(AtomicU64::new(seq.get())),
            durable: Line(AtomicU64::new(durable_at_start(&config, seq).get())),
            synced: Line(AtomicU64::new(seq.get())),
            position: PositionCell::default(),
            poisoned: AtomicBool::new(false),
            epoch: AtomicU64::new(epoch),
            stalls: AtomicU64::new(0),
            rotations: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            ready: Mutex::new(Ready {
                queue: VecDeque::with_capacity(ahead + 2),
                next_no,
                error: None,
                closed: false,
            }),
            wanted: Condvar::new(),
            // More than the segments that can be waiting: each was prepared ahead.
            sealed: Mutex::new(VecDeque::with_capacity(64)),
            live,
            storage,
            config,
            rules: AtomicU32::new(identity.rules_version),
            identity,
            _lock: lock,
        }
    }

    /// Version of the engine's rules that a segment prepared now will begin under.
    pub(crate) fn rules(&self) -> u32 {
        self.rules.load(Ordering::Relaxed)
    }

    /// Another version of the rules holds. Segments prepared under the old one are of no use any more:
    /// their headers name it. They are left to the next start, which removes them.
    pub(crate) fn set_rules(&self, rules: u32) {
        let mut ready = self.ready();
        self.rules.store(rules, Ordering::Relaxed);
        while let Some(spare) = ready.queue.pop_back() {
            ready.next_no = spare.header.segment_no;
            let name = crate::segment::NameBuf::ready(spare.header.segment_no);
            let _ = self.storage.remove(name.as_str());
        }
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire) || crate::sigbus::was_hit()
    }

    /// True if this journal's own sync moves `durable`.
    pub(crate) fn is_local(&self) -> bool {
        self.config.commit == CommitRule::Local
    }

    /// Sets the latch. Nothing ever clears it.
    pub(crate) fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }

    pub(crate) fn position(&self) -> Position {
        self.position.load()
    }

    pub(crate) fn set_position(&self, position: &Position) {
        self.position.store(position);
    }

    pub(crate) fn set_published(&self, seq: Seq) {
        self.published.0.store(seq.get(), Ordering::Release);
        self.live.set_published(seq);
    }

    pub(crate) fn set_durable(&self, seq: Seq) {
        self.durable.0.store(seq.get(), Ordering::Release);
        self.live.set_durable(seq);
    }

    pub(crate) fn set_synced(&self, seq: Seq) {
        self.synced.0.store(seq.get(), Ordering::Release);
        self.live.set_synced(seq);
    }

    pub(crate) fn ready(&self) -> MutexGuard<'_, Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the preparer: a segment was taken, or the journal is closing.
    pub(crate) fn want_segment(&self) {
        self.wanted.notify_all();
    }

    /// Waits until a segment is wanted, the journal closes, or the time is over.
    pub(crate) fn wait_for_want(&self, timeout: Duration) {
        let ready = self.ready();
        if ready.queue.len() < self.config.segments_ahead || ready.closed {
            return;
        }
        let _ = self.wanted.wait_timeout(ready, timeout);
    }

    pub(crate) fn sealed(&self) -> MutexGuard<'_, VecDeque<Handover>> {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One writer's position, read whole by one reader: a sequence lock over atomic words, so the journal
/// thread never waits for the sync thread.
#[derive(Default)]
struct PositionCell {
    version: AtomicU64,
    words: [AtomicU64; 8],
}

impl PositionCell {
    fn store(&self, position: &Position) {
        words::store_version::<Shipped, _>(&self.version, &self.words, &position.to_words());
    }

    fn load(&self) -> Position {
        let mut found = [0; 8];
        while !words::load_version::<Shipped, _>(&self.version, &self.words, &mut found) {
            std::hint::spin_loop();
        }
        Position::from_words(&found)
    }
}

impl Position {
    fn to_words(self) -> [u64; 8] {
        let mut words = [0; 8];
        words[..4].copy_from_slice(&[self.segment_no, self.offset, self.seq.get(), self.records]);
        for (word, bytes) in words[4..].iter_mut().zip(self.chain.chunks_exact(8)) {
            *word = crate::slot::read_u64(bytes, 0);
        }
        words
    }

    fn from_words(words: &[u64; 8]) -> Self {
        let mut chain = [0; 32];
        for (bytes, word) in chain.chunks_exact_mut(8).zip(&words[4..]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self {
            segment_no: words[0],
            offset: words[1],
            seq: Seq::new(words[2]),
            records: words[3],
            chain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_never_read_half() {
        let cell = Arc::new(PositionCell::default());
        let position = |n: u64| Position {
            segment_no: n,
            offset: n,
            seq: Seq::new(n),
            records: n,
            chain: [n.to_le_bytes()[0]; 32],
        };
        let writer = {
            let cell = Arc::clone(&cell);
            std::thread::spawn(move || (1..=50_000).for_each(|n| cell.store(&position(n))))
        };
        let mut last = 0;
        while last < 50_000 {
            let found = cell.load();
            assert_eq!(found, position(found.segment_no));
            assert!(found.segment_no >= last, "positions never fall");
            last = found.segment_no;
        }
        writer.join().unwrap();
    }
}
