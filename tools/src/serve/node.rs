//! An exchange in one process: the agents, put together and taken apart in order.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use crossbeam::channel;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tessera_engine::Exchange;
use tessera_gateway::{
    Credentials, CredentialsError, Directory, Sessions, ShardConfig, ShardStats, ShardWaker,
    SnapshotRequests, SpawnError, StatsSnapshot,
};
use tessera_journal::storage::{Mapped, Storage};
use tessera_journal::{Journal, OpenError, Opened, Retention, Signer, Snapshots, Status};
use tessera_market_data::{Builder, BuilderConfig};
use tessera_proto::codes;
use tessera_ring::{CursorWriter, IdleConfig, Parker, Unparker, Wake, agent, spsc};
use tessera_types::{Cancel, ClientHeader, Command, ExecInst, OrderId, OrderTarget, Restart, Seq};
use thiserror::Error;

use super::core::{Core, CoreParts, CoreProgress, STATE_HASH_INTERVAL, wall_clock};
use super::health::{Pulse, Ticking};
use super::journal_key::{JournalKey, JournalKeyError};
use super::journaling::{JournalAgent, SyncAgent, spawn_preparer};
use super::market::{Books, MarketData};
use super::rebuild::{Rebuild, RebuildError, hex, rebuild};
use super::shadow::{Shadow, ShadowConfig, ShadowProgress};
use super::stats::{Percentiles, StageHistograms};
use super::supervisor::{Plumbing, Seats, Supervisor};
use super::sync_log::SyncLog;
use crate::catalogue::{self, CatalogueError};
use crate::exit;
use crate::journal::commands::RULES;

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The group of the command has been synced.
    #[default]
    Default,
    /// The watermark that says so has been synced too.
    Strict,
    /// The command is stored in the mapping; a power cut loses the last groups.
    Async,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Strict => "strict",
            Self::Async => "async",
        })
    }
}

/// What may be chosen about an exchange. Nothing here changes the result of a journaled command.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Directory of the journal.
    pub data: PathBuf,
    /// UDP address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Directory of certificates and keys; `data/credentials` unless changed.
    pub credentials: PathBuf,
    /// Catalogue of a fresh data directory, instead of the shipped one.
    pub catalogue: Option<PathBuf>,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Size of new journal segments.
    pub segment_bytes: u64,
    /// Gateway threads.
    pub shards: u16,
    /// Age of the oldest unsynced command above which new orders are refused.
    pub run_ahead: Duration,
    /// How the core, journal and sync threads wait.
    pub idle: IdleConfig,
    /// What the journal is kept on, instead of the files of `data`: for tests that break it.
    pub storage: Option<JournalStorage>,
    /// Commands from one snapshot to the next; 0 makes none, and then no segment is retired either. While
    /// a snapshot is made, the memory of a second engine is in use.
    pub snapshot_every: u64,
    /// Which segments stay although a verified snapshot holds all of them.
    pub retention: Retention,
    /// Commands from one state hash in the journal to the next.
    pub state_hash_every: u64,
    /// How long a start over an old journal is cancel-only.
    pub restart_hold: Duration,
    /// How long after a start the orders end that would have ended before it.
    pub restart_grace: Duration,
    /// Version of the engine's rules to put in force at this start, if the journal is under an older one.
    pub activate_rules: Option<u32>,
    /// Events that each event ring holds: the longest stall of a consumer times the rate to survive.
    pub ring_capacity: usize,
    /// For looking around in a copy: time stands still at its last record, orders stay as they are, and
    /// whatever would change them is refused.
    pub read_only: bool,
}

impl NodeConfig {
    /// The defaults.
    #[must_use]
    pub fn new(data: PathBuf, listen: SocketAddr) -> Self {
        Self {
            credentials: data.join("credentials"),
            data,
            listen,
            catalogue: None,
            durability: Durability::Default,
            segment_bytes: 256 << 20,
            shards: 1,
            run_ahead: Duration::from_millis(100),
            idle: IdleConfig {
                park_timeout: Duration::from_millis(5),
                ..IdleConfig::default()
            },
            storage: None,
            snapshot_every: 1_000_000,
            retention: Retention::default(),
            state_hash_every: STATE_HASH_INTERVAL,
            activate_rules: None,
            restart_hold: Duration::ZERO,
            restart_grace: Duration::from_secs(5),
            ring_capacity: 1 << 17,
            read_only: false,
        }
    }

    /// What the journal is kept on.
    fn journal_storage(&self) -> std::io::Result<Arc<dyn Storage>> {
        if let Some(JournalStorage(storage)) = &self.storage {
            return Ok(Arc::clone(storage));
        }
        std::fs::create_dir_all(&self.data)?;
        Ok(Arc::new(Mapped::open(&self.data)?))
    }
}

/// A storage that a journal is kept on.
#[derive(Clone)]
pub struct JournalStorage(pub Arc<dyn Storage>);

impl fmt::Debug for JournalStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JournalStorage({})", self.0.path().display())
    }
}

/// Why an exchange did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The journal does not open.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The journal or its snapshots lead to no engine.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// Rules were to be activated that this program does not have.
    #[error(
        "rules version {asked} cannot be activated: this program has versions {first} to {last}; \
         install the release that brings it first"
    )]
    Activation {
        /// Asked for.
        asked: u32,
        /// The oldest there is.
        first: u32,
        /// The newest there is.
        last: u32,
    },
    /// The data directory cannot be made or opened.
    #[error("{path}: {source}")]
    Directory {
        /// The directory.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The credentials are wrong.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Development credentials on an address that others can reach.
    #[error(
        "{addr} can be reached from other machines, and {dir} holds development credentials whose \
         trader key may act for any account; listen on 127.0.0.1, or give real --credentials"
    )]
    NotLoopback {
        /// The address.
        addr: IpAddr,
        /// The credentials directory.
        dir: String,
    },
    /// The key that signs the journal is wrong.
    #[error(transparent)]
    JournalKey(#[from] JournalKeyError),
    /// The catalogue is wrong.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// A shard does not start.
    #[error(transparent)]
    Shard(#[from] SpawnError),
    /// The system refuses a thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl StartError {
    /// Says it on standard error and gives the exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        exit::with(self.code(), self)
    }

    fn code(&self) -> u8 {
        match self {
            Self::Journal(OpenError::Corrupt(_))
            | Self::Rebuild(
                RebuildError::Payload { .. }
                | RebuildError::StateHash { .. }
                | RebuildError::EventsDigest { .. },
            ) => exit::CORRUPT,
            Self::Journal(OpenError::Config(_))
            | Self::Activation { .. }
            | Self::NotLoopback { .. }
            | Self::Catalogue(_) => exit::USAGE,
            _ => exit::FAILED,
        }
    }
}

/// A running exchange.
pub struct Node {
    addr: SocketAddr,
    ready_seq: Seq,
    epoch: u64,
    supervisor: Supervisor,
    core: Running<Core>,
    journal: Running<JournalAgent>,
    sync: Running<SyncAgent>,
    market: Running<MarketData>,
    preparer: JoinHandle<()>,
    shadow: Option<Shadow>,
    watch: Watch,
}

/// What can be seen of a running exchange from any thread.
#[derive(Clone)]
pub(crate) struct Watch {
    pub(crate) durability: Durability,
    pub(crate) status: Status,
    pub(crate) low_disk: Arc<AtomicBool>,
    pub(crate) pulses: Vec<Pulse>,
    shadow: Arc<ShadowProgress>,
    progress: Arc<CoreProgress>,
    stages: StageHistograms,
    feed_missed: Arc<AtomicU64>,
    shards: Vec<Arc<ShardStats>>,
    started: Instant,
}

/// A thread that runs an agent until it is told to stop.
struct Running<A> {
    thread: JoinHandle<Ticking<A>>,
    stop: Arc<AtomicBool>,
    wake: Unparker,
    pulse: Pulse,
}

impl<A: tessera_ring::Agent + Send + 'static> Running<A> {
    fn spawn(agent: A, idle: IdleConfig, parker: Parker) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let wake = parker.unparker();
        let (agent, pulse) = Ticking::new(agent);
        let thread = agent::spawn(agent, idle, parker, Arc::clone(&stop))?;
        Ok(Self {
            thread,
            stop,
            wake,
            pulse,
        })
    }

    /// Lets the agent finish and gives it back.
    fn finish(self) -> A {
        self.stop.store(true, Ordering::Release); // pairs with the Acquire in `agent::run`
        self.wake.wake();
        match self.thread.join() {
            Ok(ticking) => ticking.agent,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// What a clean end leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// The last command, which is durable.
    pub seq: Seq,
    /// The engine's state after it, lower-case hex.
    pub state_hash: String,
    /// Bytes of journal records that this start wrote.
    pub journal_bytes: u64,
    /// Trades since this start.
    pub trades: u64,
}

/// What an exchange can say about itself at any moment.
#[derive(Clone, Debug)]
pub struct NodeStats {
    /// Since the start.
    pub uptime: Duration,
    /// The last command applied.
    pub seq: Seq,
    /// The last command that may be acknowledged.
    pub durable: Seq,
    /// Trades since the start.
    pub trades: u64,
    /// Event rings that overflowed.
    pub evictions: u64,
    /// Times the wall clock stood behind the journal's.
    pub clock_clamps: u64,
    /// Bytes of journal records since the start.
    pub journal_bytes: u64,
    /// Group commits since the start.
    pub syncs: u64,
    /// Feed items that a full ring did not take.
    pub feed_missed: u64,
    /// Last command of the newest verified snapshot; 0 for none.
    pub snapshot_seq: Seq,
    /// Snapshots made and verified since the start.
    pub snapshots: u64,
    /// Snapshots that could not be made since the start.
    pub snapshot_failures: u64,
    /// Segments retired since the start.
    pub segments_retired: u64,
    /// Sequenced to matched.
    pub matching: Percentiles,
    /// Sequenced to published.
    pub framing: Percentiles,
    /// Sequenced to durable.
    pub durability: Percentiles,
    /// One sync.
    pub sync: Percentiles,
    /// Sequenced to the feed.
    pub tape: Percentiles,
    /// Received to the first byte of its answer written.
    pub ack: Percentiles,
    /// Counters of all shards together.
    pub gateway: StatsSnapshot,
}

/// Room for commands on their way to the disk.
const JOURNAL_RING: usize = 1 << 16;
/// Snapshot questions that may wait.
const SNAPSHOTS: usize = 1 << 12;
/// Batches whose durability latency is still unknown.
const MARKS: usize = 1 << 14;

impl Node {
    /// Opens the journal, replays it, and serves.
    ///
    /// # Errors
    /// [`StartError`]; nothing keeps running then.
    pub fn start(config: NodeConfig) -> Result<Self, StartError> {
        let key = Arc::new(JournalKey::load_or_make(&config.credentials)?);
        if let Some(asked) = config.activate_rules
            && !RULES.contains(&asked)
        {
            return Err(StartError::Activation {
                asked,
                first: *RULES.start(),
                last: *RULES.end(),
            });
        }
        let start = Instant::now();
        let storage = config
            .journal_storage()
            .map_err(|source| StartError::Directory {
                path: config.data.display().to_string(),
                source,
            })?;
        // Before the journal is opened, so that what a good snapshot holds need not be read.
        let snapshots = Snapshots::on(Arc::clone(&storage));
        let begin = Rebuild::newest(&snapshots, Seq::new(u64::MAX));
        let newest_snapshot = begin.as_ref().map_or(Seq::ZERO, Rebuild::begun_at);
        let journal_config = tessera_journal::Config {
            covered: newest_snapshot,
            activate_rules: config.activate_rules,
            segment_bytes: config.segment_bytes,
            durability: match config.durability {
                Durability::Default => tessera_journal::Durability::Default,
                Durability::Strict => tessera_journal::Durability::Strict,
                Durability::Async => tessera_journal::Durability::Async,
            },
            rules_version: *RULES.end(),
            signer: Some(Arc::clone(&key) as Arc<dyn Signer>),
            ..tessera_journal::Config::default()
        };
        let shard = journal_config.shard;
        let opened = Journal::open_on(Arc::clone(&storage), journal_config)?;
        let Opened {
            report,
            replay,
            writer,
            syncer,
            preparer,
            status,
            ..
        } = opened;
        if let Some(torn) = &report.torn {
            tracing::warn!(?torn, discarded = ?report.discarded, "cut a torn tail; nothing acknowledged was in it");
        }
        let rebuilt = rebuild(begin, &snapshots, &replay, &report.cluster_id)?;
        let newest_snapshot = rebuilt.begun_at();
        if !report.created {
            tracing::info!(
                seq = %report.last_seq,
                snapshot = %newest_snapshot,
                replayed = rebuilt.applied,
                segments = report.segments,
                unread = report.segments_unread,
                ms = start.elapsed().as_millis(),
                "the engine was rebuilt"
            );
        }
        let engine = rebuilt.engine;
        let credentials = load_credentials(&config)?;
        // Only now: a directory that holds anything gets no development set.
        key.save(&config.credentials)?;

        let stages = StageHistograms::default();
        let progress = Arc::new(CoreProgress::default());
        let directory = Arc::new(Directory::default());
        for (id, instrument, phase) in engine.instruments() {
            directory.list(id, engine.last_seq(), *instrument, phase);
        }
        if let Some(catalogue) = engine.catalogue() {
            directory.set_catalogue(engine.last_seq(), catalogue.clone());
        }
        let pressure = Arc::new(AtomicU64::new(0));
        let low_disk = Arc::new(AtomicBool::new(false));
        let feed_missed = Arc::new(AtomicU64::new(0));

        let core_parker = Parker::new();
        let journal_parker = Parker::new();
        let sync_parker = Parker::new();
        let market_parker = Parker::new();
        let market_wake: Arc<dyn Wake> = Arc::new(market_parker.unparker());

        // Every shard is woken by the cursor it waits for.
        let wakers: Vec<_> = (0..config.shards)
            .map(|_| Arc::new(ShardWaker::default()))
            .collect();
        let mut waiters: Vec<Arc<dyn Wake>> = vec![Arc::clone(&market_wake)];
        waiters.extend(
            wakers
                .iter()
                .map(|waker| Arc::clone(waker) as Arc<dyn Wake>),
        );
        let durable_writer = CursorWriter::new(status.durable().get(), waiters);
        let durable = durable_writer.reader();
        let (journal_durable, sync_durable) = match config.durability {
            Durability::Async => (Some(durable_writer), None),
            Durability::Default | Durability::Strict => (None, Some(durable_writer)),
        };

        let (to_journal, journal_items) = spsc::channel(JOURNAL_RING);
        let (to_market, market_events) = spsc::channel(config.ring_capacity);
        let (to_reattach, reattach) = channel::bounded(1);
        let (to_snapshots, snapshots) = channel::bounded(SNAPSHOTS);
        let (to_marks, marks) = spsc::channel(MARKS);
        let (to_core_seats, core_seats) = channel::bounded(usize::from(config.shards));
        let (to_market_seats, market_seats) = channel::bounded(usize::from(config.shards));
        let seats = Seats {
            core: to_core_seats,
            market: to_market_seats,
        };

        let plumbing = Plumbing {
            core_wake: core_parker.unparker(),
            market_wake: Arc::clone(&market_wake),
            wakers,
            snapshots: SnapshotRequests {
                sender: to_snapshots,
                wake: Arc::clone(&market_wake),
            },
            durable: durable.clone(),
            pressure: Arc::clone(&pressure),
            directory: Arc::clone(&directory),
            sessions: Arc::new(Sessions::default()),
            stats: (0..config.shards)
                .map(|_| Arc::new(ShardStats::new()))
                .collect(),
            ring_capacity: config.ring_capacity,
        };
        let mut links = Vec::new();
        let mut feeds = Vec::new();
        let mut ports = Vec::new();
        for index in 0..config.shards {
            let connected = plumbing.connect(index);
            links.push(connected.link);
            feeds.push(connected.feed);
            ports.push(connected.ports);
        }

        // Room for the epochs that begin when a ring overflows, so that no two starts share one.
        let feed_epoch = report.epoch << 16;
        let mut builder = Builder::new(feed_epoch, BuilderConfig::default());
        let books = Books::of(&engine);
        builder.restore(feed_epoch, books.seq, books.time, books.instruments);

        let is_fresh = engine.last_seq() == Seq::ZERO;
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let restart = Command::Restart(Restart {
            hold_ns: nanos(config.restart_hold),
            grace_ns: nanos(config.restart_grace),
        });
        // What is only looked at stays as it was.
        let begins = !config.read_only;
        let restart = (begins && !is_fresh).then_some(restart);
        let cancels = if begins {
            canceled_by_restart(&engine)
        } else {
            Vec::new()
        };
        let mut core = Core::new(CoreParts {
            engine,
            shards: links,
            seats: core_seats,
            market: Some(to_market),
            market_wake: Arc::clone(&market_wake),
            market_reattach: to_reattach,
            ring_capacity: config.ring_capacity,
            journal: to_journal,
            journal_wake: journal_parker.unparker(),
            durable: durable.clone(),
            directory: Arc::clone(&directory),
            pressure: Arc::clone(&pressure),
            low_disk: Arc::clone(&low_disk),
            run_ahead: config.run_ahead,
            state_hash_every: config.state_hash_every,
            frozen: config.read_only,
            matching: stages.matching.recorder(),
            progress: Arc::clone(&progress),
        });
        // The catalogue is checked before the first thread runs, so that a bad one leaves no trace.
        let listing = if is_fresh {
            catalogue::load(config.catalogue.as_deref())?.commands(wall_clock())?
        } else {
            if config.catalogue.is_some() {
                tracing::warn!("--catalogue is for a fresh data directory; this one keeps its own");
            }
            Vec::new()
        };

        let sync_log = SyncLog::new(
            &config.data,
            stages.sync.clone(),
            stages.group_records.clone(),
            Duration::from_secs(1),
        );
        let preparer = spawn_preparer(preparer, status.clone(), Arc::clone(&low_disk), sync_log)?;
        let sync = SyncAgent::new(
            syncer,
            status.clone(),
            marks,
            sync_durable,
            stages.durability.recorder(),
            stages.sync.recorder(),
            stages.group_records.recorder(),
        );
        let sync = Running::spawn(sync, config.idle, sync_parker)?;
        let journal = JournalAgent::new(
            journal_items,
            writer,
            sync.wake.clone(),
            to_marks,
            journal_durable,
            stages.framing.recorder(),
        );
        let journal = Running::spawn(journal, config.idle, journal_parker)?;
        for command in restart.into_iter().chain(listing).chain(cancels) {
            core.submit(command);
        }
        let ready_seq = core.last_seq();
        let core = Running::spawn(core, config.idle, core_parker)?;
        let market = MarketData {
            events: market_events,
            reattach,
            durable: durable.clone(),
            requests: snapshots,
            shards: feeds,
            seats: market_seats,
            builder,
            epoch: feed_epoch,
            tape: stages.tape.recorder(),
            missed: Arc::clone(&feed_missed),
        };
        let market_idle = IdleConfig {
            park_timeout: Duration::from_millis(20),
            ..IdleConfig::PARKING
        };
        let market = Running::spawn(market, market_idle, market_parker)?;
        while durable.get() < ready_seq.get() {
            thread::sleep(Duration::from_micros(200));
        }

        let mut shard_config = ShardConfig::new(config.listen, Arc::new(credentials));
        shard_config.reuse_port = config.shards > 1;
        shard_config.feed_epoch = feed_epoch;
        shard_config.read_only = config.read_only;
        shard_config.durability = match config.durability {
            Durability::Default => codes::Durability::Synced,
            Durability::Strict => codes::Durability::Strict,
            Durability::Async => codes::Durability::Async,
        };
        let shards = plumbing.stats.clone();
        let supervisor = match Supervisor::start(plumbing, ports, shard_config, seats) {
            Ok(supervisor) => supervisor,
            Err(error) => {
                stop_threads(core, journal, sync, market, preparer);
                return Err(error.into());
            }
        };
        let shadow_progress = Arc::new(ShadowProgress::default());
        let shadow = if config.snapshot_every > 0 {
            let shadow = ShadowConfig {
                every: config.snapshot_every,
                state_hash_every: config.state_hash_every,
                retention: config.retention,
                cluster_id: report.cluster_id,
                shard,
            };
            let progress = Arc::clone(&shadow_progress);
            let status = status.clone();
            Some(Shadow::spawn(
                storage,
                status,
                shadow,
                newest_snapshot,
                progress,
            )?)
        } else {
            None
        };
        Ok(Self {
            addr: supervisor.addr(),
            ready_seq,
            epoch: report.epoch,
            watch: Watch {
                durability: config.durability,
                status,
                low_disk,
                pulses: vec![
                    core.pulse.clone(),
                    journal.pulse.clone(),
                    sync.pulse.clone(),
                    market.pulse.clone(),
                ],
                progress,
                stages,
                feed_missed,
                shadow: shadow_progress,
                shards,
                started: Instant::now(),
            },
            supervisor,
            core,
            journal,
            sync,
            market,
            preparer,
            shadow,
        })
    }

    /// What other threads may look at while it runs.
    pub(crate) fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Where it serves, with the port that was taken.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The last command at the moment it was ready.
    #[must_use]
    pub fn ready_seq(&self) -> Seq {
        self.ready_seq
    }

    /// The journal's epoch of this start.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Counters and latencies as of now.
    #[must_use]
    pub fn stats(&self) -> NodeStats {
        self.watch.stats()
    }

    /// Drains: sessions are logged out, their cancel-on-disconnect is journaled, everything is synced,
    /// and the journal is closed.
    #[must_use]
    pub fn shutdown(self) -> Drained {
        self.supervisor.finish();
        if let Some(shadow) = self.shadow {
            shadow.finish();
        }
        let Watch {
            progress, status, ..
        } = self.watch;
        let (seq, state_hash) = stop_threads(
            self.core,
            self.journal,
            self.sync,
            self.market,
            self.preparer,
        );
        Drained {
            seq,
            state_hash: hex(&state_hash),
            journal_bytes: status.bytes_written(),
            trades: progress.trades.load(Ordering::Relaxed),
        }
    }
}

impl Watch {
    /// Counters and latencies as of now.
    pub(crate) fn stats(&self) -> NodeStats {
        let percentiles = |histogram: Histogram<u64>| Percentiles::from(&histogram);
        let mut gateway = StatsSnapshot::new();
        for shard in &self.shards {
            gateway.merge(&shard.snapshot());
        }
        NodeStats {
            uptime: self.started.elapsed(),
            seq: Seq::new(self.progress.seq.load(Ordering::Relaxed)),
            durable: self.status.durable(),
            trades: self.progress.trades.load(Ordering::Relaxed),
            evictions: self.progress.evictions.load(Ordering::Relaxed),
            clock_clamps: self.progress.clock_clamps.load(Ordering::Relaxed),
            journal_bytes: self.status.bytes_written(),
            syncs: self.status.syncs(),
            feed_missed: self.feed_missed.load(Ordering::Relaxed),
            snapshot_seq: Seq::new(self.shadow.snapshot_seq.load(Ordering::Relaxed)),
            snapshots: self.shadow.snapshots.load(Ordering::Relaxed),
            snapshot_failures: self.shadow.failures.load(Ordering::Relaxed),
            segments_retired: self.shadow.retired.load(Ordering::Relaxed),
            matching: percentiles(self.stages.matching.snapshot()),
            framing: percentiles(self.stages.framing.snapshot()),
            durability: percentiles(self.stages.durability.snapshot()),
            sync: percentiles(self.stages.sync.snapshot()),
            tape: percentiles(self.stages.tape.snapshot()),
            ack: Percentiles::from(&gateway.ack_latency_ns),
            gateway,
        }
    }
}

/// Stops the agents in the order in which the data flows, so that each finds its inputs complete.
fn stop_threads(
    core: Running<Core>,
    journal: Running<JournalAgent>,
    sync: Running<SyncAgent>,
    market: Running<MarketData>,
    preparer: JoinHandle<()>,
) -> (Seq, [u8; 32]) {
    let core = core.finish();
    let journal = journal.finish();
    let sync = sync.finish();
    drop(market.finish());
    let durable = sync.finish();
    drop(journal);
    // The preparer ends by itself once the journal is finished; a panic there cost nothing.
    let _ = preparer.join();
    debug_assert_eq!(durable, core.last_seq());
    (core.last_seq(), core.engine().state_hash())
}

/// The cancels of orders that asked not to survive a restart, oldest first: they are journaled before
/// anything else can match.
fn canceled_by_restart(engine: &Exchange) -> Vec<Command> {
    let mut orders: Vec<OrderId> = engine
        .orders()
        .filter(|order| order.exec_inst.contains(ExecInst::CANCEL_ON_SYSTEM_FAILURE))
        .map(|order| order.order_id)
        .collect();
    orders.sort_unstable();
    let cancel = |id| {
        Command::Cancel(Cancel {
            header: ClientHeader::default(),
            target: OrderTarget::Exchange(id),
        })
    };
    orders.into_iter().map(cancel).collect()
}

fn load_credentials(config: &NodeConfig) -> Result<Credentials, StartError> {
    let (credentials, created) = Credentials::load_or_create(&config.credentials)?;
    let dir = config.credentials.display().to_string();
    if created {
        tracing::warn!(
            %dir,
            "made development credentials: a CA, a server certificate, a trader key that may act for \
             any account, and an admin key; for loopback only"
        );
    }
    if credentials.is_development() && !config.listen.ip().is_loopback() {
        return Err(StartError::NotLoopback {
            addr: config.listen.ip(),
            dir,
        });
    }
    Ok(credentials)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tessera_engine::EngineConfig;
    use tessera_types::{
        AccountId, ClOrdId, Instrument, InstrumentId, ListInstrument, Name, NewOrder, Price, Qty,
        Sequenced, Side, Timestamp,
    };

    #[test]
    fn a_restart_cancels_the_orders_that_asked_for_it_oldest_first() {
        let mut engine = Exchange::new(EngineConfig::default());
        let mut events = Vec::new();
        let mut apply = |engine: &mut Exchange, command: Command| {
            let sequenced = Sequenced {
                seq: engine.last_seq().next(),
                time: Timestamp::ZERO,
                command,
            };
            engine.apply(&sequenced, &mut events);
        };
        let listing = ListInstrument {
            header: ClientHeader::default(),
            instrument: Instrument::plain(Name::new("TEST").unwrap()),
        };
        apply(&mut engine, Command::ListInstrument(Box::new(listing)));
        for id in 1..=6 {
            let header = ClientHeader {
                account: AccountId::new(1),
                cl_ord_id: ClOrdId::new(id),
                ..ClientHeader::default()
            };
            let mut order = NewOrder::limit(
                header,
                InstrumentId::new(0),
                Side::Buy,
                Price::from_ticks(10),
                Qty::from_lots(1),
            );
            if id % 2 == 0 {
                order.exec_inst = ExecInst::CANCEL_ON_SYSTEM_FAILURE;
            }
            apply(&mut engine, Command::NewOrder(order));
        }
        let cancels = canceled_by_restart(&engine);
        assert_eq!(cancels.len(), 3);
        assert!(cancels.is_sorted_by_key(|command| match command {
            Command::Cancel(cancel) => match cancel.target {
                OrderTarget::Exchange(id) => id,
                OrderTarget::Client(_) => panic!("a restart knows only the exchange's ids"),
            },
            other => panic!("{other:?}"),
        }));
        for cancel in cancels {
            apply(&mut engine, cancel);
        }
        let left: Vec<_> = engine
            .orders()
            .map(|order| order.cl_ord_id.get() % 2)
            .collect();
        assert_eq!(left, [1, 1, 1]);
        assert!(canceled_by_restart(&engine).is_empty());
    }
}
