//! Keeps every shard served: one that was evicted or died gets new rings and starts again at the same
//! address, while the core and the other shards go on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::Sender;
use tessera_gateway::{
    Directory, Sessions, Shard, ShardConfig, ShardEnd, ShardHandle, ShardPorts, ShardStats,
    ShardWaker, SnapshotRequests, SpawnError,
};
use tessera_ring::{Cursor, Unparker, Wake, spsc};

use super::core::ShardLink;
use super::market::FeedLink;

/// Room for commands on their way to the core, per shard.
const INGRESS: usize = 1 << 13;
/// Room for fences, per shard.
const URGENT: usize = 1 << 10;
/// Room for feed items, per shard.
const FEED: usize = 1 << 16;
/// How often the supervisor looks at its shards.
const ROUND: Duration = Duration::from_millis(20);

/// What all shards share, and what it takes to connect one to the core and the market data.
pub(crate) struct Plumbing {
    pub(crate) core_wake: Unparker,
    pub(crate) market_wake: Arc<dyn Wake>,
    pub(crate) wakers: Vec<Arc<ShardWaker>>,
    pub(crate) snapshots: SnapshotRequests,
    pub(crate) durable: Cursor,
    pub(crate) pressure: Arc<AtomicU64>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) stats: Vec<Arc<ShardStats>>,
    pub(crate) ring_capacity: usize,
}

/// The other ends of a shard's rings.
pub(crate) struct Connected {
    pub(crate) ports: ShardPorts,
    pub(crate) link: ShardLink,
    pub(crate) feed: FeedLink,
}

impl Plumbing {
    /// New rings for the shard `index`.
    pub(crate) fn connect(&self, index: u16) -> Connected {
        let waker = &self.wakers[usize::from(index)];
        let wake: Arc<dyn Wake> = Arc::clone(waker) as Arc<dyn Wake>;
        let (ingress, ingress_out) = spsc::channel(INGRESS);
        let (urgent, urgent_out) = spsc::channel(URGENT);
        let (events_in, events) = spsc::channel(self.ring_capacity);
        let (feed_in, feed) = spsc::channel(FEED);
        Connected {
            ports: ShardPorts {
                index,
                ingress,
                urgent,
                core_wake: Arc::new(self.core_wake.clone()),
                events,
                feed,
                snapshots: self.snapshots.clone(),
                durable: self.durable.clone(),
                waker: Arc::clone(waker),
                pressure: Arc::clone(&self.pressure),
                directory: Arc::clone(&self.directory),
                sessions: Arc::clone(&self.sessions),
                stats: Arc::clone(&self.stats[usize::from(index)]),
            },
            link: ShardLink {
                ingress: ingress_out,
                urgent: urgent_out,
                events: Some(events_in),
                wake: Arc::clone(&wake),
            },
            feed: FeedLink {
                feed: feed_in,
                wake,
            },
        }
    }
}

/// New rings on their way to the threads that hold the old ones.
pub(crate) struct Seats {
    pub(crate) core: Sender<(u16, ShardLink)>,
    pub(crate) market: Sender<(u16, FeedLink)>,
}

/// The running shards.
pub(crate) struct Supervisor {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Supervisor {
    /// Starts a shard on each of `ports`, and watches them.
    pub(crate) fn start(
        plumbing: Plumbing,
        ports: Vec<ShardPorts>,
        mut config: ShardConfig,
        seats: Seats,
    ) -> Result<Self, SpawnError> {
        let mut shards = Vec::new();
        for port in ports {
            match Shard::spawn(port, config.clone()) {
                Ok(shard) => {
                    config.listen = shard.addr(); // the others, and restarts, take the same port
                    shards.push(shard);
                }
                Err(error) => {
                    drain(shards);
                    return Err(error);
                }
            }
        }
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let addr = config.listen;
        let watch = Watch {
            plumbing,
            config,
            seats,
        };
        let thread = thread::Builder::new()
            .name("tessera-supervisor".into())
            .spawn(move || watch.run(shards, &asked))
            .map_err(|source| SpawnError::Start { index: 0, source })?;
        Ok(Self { addr, stop, thread })
    }

    /// Where the shards serve.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Drains the shards and waits for their end; the core must go on until then.
    pub(crate) fn finish(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // A panic of the supervisor leaves no shard to wait for.
        let _ = self.thread.join();
    }
}

struct Watch {
    plumbing: Plumbing,
    config: ShardConfig,
    seats: Seats,
}

impl Watch {
    fn run(self, mut shards: Vec<ShardHandle>, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            shards = shards
                .into_iter()
                .filter_map(|shard| self.look_after(shard))
                .collect();
            thread::park_timeout(ROUND);
        }
        drain(shards);
    }

    /// The shard, or another in its place when it has ended.
    fn look_after(&self, shard: ShardHandle) -> Option<ShardHandle> {
        if !shard.is_finished() {
            return Some(shard);
        }
        let index = shard.index();
        match shard.join() {
            Ok(ShardEnd::Evicted) => {
                tracing::warn!(
                    shard = index,
                    "event ring overflowed: starting the shard again"
                );
            }
            Ok(end) => tracing::warn!(
                shard = index,
                ?end,
                "shard ended by itself: starting it again"
            ),
            Err(error) => tracing::error!(shard = index, %error, "shard failed: starting it again"),
        }
        let Connected { ports, link, feed } = self.plumbing.connect(index);
        // Both receivers live as long as the exchange.
        let _ = self.seats.core.send((index, link));
        let _ = self.seats.market.send((index, feed));
        self.plumbing.core_wake.wake();
        self.plumbing.market_wake.wake();
        match Shard::spawn(ports, self.config.clone()) {
            Ok(shard) => Some(shard),
            Err(error) => {
                tracing::error!(shard = index, %error, "shard cannot start again; others go on");
                None
            }
        }
    }
}

fn drain(shards: Vec<ShardHandle>) {
    for shard in &shards {
        shard.drain();
    }
    for shard in shards {
        let index = shard.index();
        if let Err(error) = shard.join() {
            tracing::error!(shard = index, %error, "shard failed while draining");
        }
    }
}
