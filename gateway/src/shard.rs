//! One shard: a thread, a runtime, a socket, and the state that its tasks share.
//!
//! The tasks run on one thread, so the state is plain cells. A task never holds a borrow across an
//! await, and none waits for a peer on behalf of another.
//!
//! | task | how many | does |
//! |---|---|---|
//! | accept | 1 | takes connections, within limits |
//! | connection | 1 per connection | reads frames, keeps the connection's timers |
//! | egress | 1 | moves durable events and feed items into the sessions' streams |
//! | tick | 1 | what is neither: lag limits, graces, snapshot requests, counters |
//! | outbox | 1 per outgoing stream | waits for the peer's credit |

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use tessera_market_data::FeedItem;
use tessera_proto::Monotime;
use tessera_proto::codes::{CloseCode, Durability, LogoutReason};
use tessera_proto::throttle::Rates;
use tessera_ring::Cursor;
use tessera_ring::Wake;
use tessera_ring::spsc::{Consumer, Producer, PushError};
use tessera_types::{
    Command, ConnToken, Event, EventRecord, Name, RejectReason, Seq, SessionFence, SessionId,
    Timestamp,
};
use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};
use tracing::{debug, error, info, warn};

use crate::auth::Guard;
use crate::clock::{Clock, utc};
use crate::credentials::Credentials;
use crate::egress;
use crate::endpoint::{self, BindError};
use crate::feed::{FeedHub, code};
use crate::life::{Departure, Life, LifePhase};
use crate::link::{self, Link};
use crate::outbox::LagLimit;
use crate::ports::{
    ClaimedLife, Directory, Orphan, Sessions, ShardPorts, ShardStats, ShardWaker, SnapshotRequests,
    StatsSnapshot,
};
use crate::tls::{self, TlsError};

/// What may be chosen about a shard.
#[derive(Clone)]
pub struct ShardConfig {
    /// Where to listen. Port 0 takes a free one, see [`ShardHandle::addr`].
    pub listen: SocketAddr,
    /// Share the address with other shards; set it for all of them when there are several.
    pub reuse_port: bool,
    /// Who the server is and whom it lets in.
    pub credentials: Arc<Credentials>,
    /// The life of session numbers, told at logon.
    pub session_epoch: u64,
    /// The life of the channel's numbers when the shard starts; later ones come with the feed.
    pub feed_epoch: u64,
    /// What an acknowledgement promises, told at logon.
    pub durability: Durability,
    /// Rate limits of every session.
    pub rates: Rates,
    /// How far the reader of a session's events may be behind.
    pub session_lag: LagLimit,
    /// How far the reader of a market-data channel may be behind.
    pub feed_lag: LagLimit,
    /// Connections at once.
    pub max_connections: usize,
    /// How long a drain may take before connections are closed the hard way.
    pub drain_timeout: Duration,
    /// For looking around only: sessions come and go without touching their orders, and every other request
    /// that would change something is refused with reason `read_only`.
    pub read_only: bool,
}

impl ShardConfig {
    /// The defaults of the protocol, for development credentials: no rate limit.
    #[must_use]
    pub fn new(listen: SocketAddr, credentials: Arc<Credentials>) -> Self {
        Self {
            listen,
            reuse_port: false,
            rates: if credentials.is_development() {
                Rates::UNLIMITED
            } else {
                Rates::DEFAULT
            },
            credentials,
            session_epoch: 1,
            feed_epoch: 1,
            durability: Durability::Synced,
            session_lag: LagLimit {
                messages: 64 * 1024,
                age: Duration::from_secs(2),
            },
            feed_lag: LagLimit {
                messages: 8 * 1024,
                age: Duration::from_secs(1),
            },
            max_connections: 4_096,
            drain_timeout: Duration::from_secs(5),
            read_only: false,
        }
    }
}

impl fmt::Debug for ShardConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardConfig")
            .field("listen", &self.listen)
            .field("reuse_port", &self.reuse_port)
            .finish_non_exhaustive()
    }
}

/// Starts shards.
#[derive(Debug)]
pub struct Shard;

impl Shard {
    /// Binds the socket and starts the shard's thread. Clients can connect when this returns.
    ///
    /// # Errors
    /// [`SpawnError`] when the address is taken, the credentials do not belong together, or the
    /// system refuses a thread.
    pub fn spawn(ports: ShardPorts, config: ShardConfig) -> Result<ShardHandle, SpawnError> {
        if config.credentials.is_development() && !config.listen.ip().is_loopback() {
            return Err(SpawnError::Development {
                addr: config.listen,
            });
        }
        let server = tls::server_config(&config.credentials)?;
        let socket = endpoint::bind(config.listen, config.reuse_port)?;
        let addr = socket.local_addr().map_err(|source| BindError {
            addr: config.listen,
            source,
        })?;
        let index = ports.index;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|source| SpawnError::Start { index, source })?;
        let stop = Arc::new(Stop::default());
        let inside = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name(format!("tessera-shard-{index}"))
            .spawn(move || run(&runtime, ports, config, server, socket, inside))
            .map_err(|source| SpawnError::Start { index, source })?;
        Ok(ShardHandle {
            addr,
            index,
            stop,
            thread,
        })
    }
}

/// Why a shard could not be started.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// The credentials do not belong together.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Everybody who can read the development credentials could be anybody here.
    #[error(
        "{addr} can be reached from other machines, and the credentials are development ones; \
         listen on 127.0.0.1 or [::1], or use credentials of your own"
    )]
    Development {
        /// The address.
        addr: SocketAddr,
    },
    /// The address is taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system has no thread or no event queue left.
    #[error("shard {index} cannot start: {source}; raise the limit of threads or open files")]
    Start {
        /// Which shard.
        index: u16,
        /// Why.
        source: io::Error,
    },
}

/// A running shard.
#[derive(Debug)]
pub struct ShardHandle {
    addr: SocketAddr,
    index: u16,
    stop: Arc<Stop>,
    thread: JoinHandle<Result<ShardEnd, ServeError>>,
}

#[derive(Debug, Default)]
struct Stop {
    asked: AtomicBool,
    notify: Notify,
}

impl ShardHandle {
    /// Where it listens, with the port that was taken.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Number of the shard.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Asks for a drain: no new connections, a Logout to everybody, the fences through the core, and
    /// then the end. The core and the sync thread must go on until the shard has ended.
    pub fn drain(&self) {
        self.stop.asked.store(true, Ordering::Release); // pairs with the Acquire in `drain_asked`
        self.stop.notify.notify_one();
    }

    /// Whether the shard has ended by itself or after a drain.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// [`ServeError`] when the shard could not serve, or panicked.
    pub fn join(self) -> Result<ShardEnd, ServeError> {
        self.thread.join().unwrap_or(Err(ServeError::Panicked))
    }
}

/// Why a shard ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardEnd {
    /// It was asked to, and every session has come back from the core.
    Drained,
    /// It was asked to; this many sessions had not come back from the core in time.
    DrainTimeout {
        /// How many.
        sessions: usize,
    },
    /// The core closed its event ring: it lagged too far, or the core has ended. Its sessions were
    /// logged out, and may log on again through another shard.
    Evicted,
}

/// Why a shard could not serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The socket cannot be used by the runtime.
    #[error("the shard's socket cannot be used: {0}")]
    Socket(#[from] io::Error),
    /// The shard's thread panicked; its sessions are gone, the core goes on.
    #[error("the shard's thread panicked; see the log")]
    Panicked,
}

/// What the tasks of a shard share.
pub(crate) struct ShardState {
    pub(crate) config: ShardConfig,
    pub(crate) clock: Clock,
    pub(crate) directory: Arc<Directory>,
    pub(crate) hub: RefCell<FeedHub>,
    pub(crate) stopping: Cell<bool>,
    pub(crate) tally: RefCell<Tally>,
    pub(crate) guard: RefCell<Guard>,
    panicked: Notify,
    index: u16,
    ingress: RefCell<Producer<Command>>,
    urgent: RefCell<Producer<Command>>,
    /// Fences that found their ring full: they wait here, because a fence is never dropped.
    late_fences: RefCell<VecDeque<Command>>,
    late_in_order: RefCell<VecDeque<Command>>,
    submitted: Cell<bool>,
    core_wake: Arc<dyn Wake>,
    durable: Cursor,
    pressure: Arc<AtomicU64>,
    snapshots: SnapshotRequests,
    sessions: Arc<Sessions>,
    stats: Arc<ShardStats>,
    links: RefCell<HashMap<ConnToken, Rc<Link>>>,
    /// Lives whose logon has not come back, by the connection that asked.
    starting: RefCell<HashMap<ConnToken, Rc<Life>>>,
    lives: RefCell<HashMap<SessionId, Rc<Life>>>,
    /// Starts at the time in microseconds, so that a shard that takes the place of another does not
    /// give a number again whose logon may still be on its way.
    next_connection: Cell<u64>,
}

/// What is counted between two updates of the shared counters.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) commands_in: u64,
    pub(crate) messages_out: u64,
    pub(crate) gateway_rejects: u64,
    pub(crate) busy_rejects: u64,
    pub(crate) protocol_errors: u64,
    pub(crate) slow_consumers: u64,
    /// Latencies of the drain in progress.
    pub(crate) ack_latencies_ns: Vec<u64>,
}

/// A request that the core has no room for, handed back.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Orders are refused until the journal has caught up, or the ring has room.
    Busy,
    /// Nothing may be changed here.
    ReadOnly,
    /// The ring is full, and this request must not be lost.
    Full(Command),
    /// The core has ended.
    Closed,
}

impl ShardState {
    /// The last durable command.
    pub(crate) fn durable(&self) -> Seq {
        Seq::new(self.durable.get())
    }

    /// Passes a client's request to the core; [`ShardState::kick`] wakes it, once per batch.
    pub(crate) fn submit(&self, command: Command) -> Result<(), Refused> {
        if self.config.read_only && !matches!(command, Command::SessionLogon(_)) {
            return Err(Refused::ReadOnly);
        }
        let adds_orders = command.adds_orders();
        // Relaxed is enough: a request that slips through at the edge is only a little late.
        if adds_orders && self.durable.get() < self.pressure.load(Ordering::Relaxed) {
            return Err(Refused::Busy);
        }
        match self.ingress.borrow_mut().try_push(command) {
            Ok(()) => {
                self.submitted.set(true);
                self.tally.borrow_mut().commands_in += 1;
                Ok(())
            }
            Err(PushError::Full(_)) if adds_orders => Err(Refused::Busy),
            Err(PushError::Full(command)) => Err(Refused::Full(command)),
            Err(PushError::Closed(_)) => Err(Refused::Closed),
        }
    }

    /// Passes a fence to the core, ahead of everything else.
    pub(crate) fn submit_fence(&self, fence: SessionFence) {
        let fence = self.fence(fence);
        self.late_fences.borrow_mut().push_back(fence);
        self.push_fences();
        self.kick();
    }

    /// Passes a fence to the core behind the session's requests, which are to be served first.
    pub(crate) fn submit_fence_in_order(&self, fence: SessionFence) {
        let fence = self.fence(fence);
        self.late_in_order.borrow_mut().push_back(fence);
        self.push_fences();
    }

    fn fence(&self, fence: SessionFence) -> Command {
        Command::SessionFence(SessionFence {
            cancel_orders: fence.cancel_orders && !self.config.read_only,
            ..fence
        })
    }

    /// Wakes the core if something was passed to it since the last call.
    pub(crate) fn kick(&self) {
        if self.submitted.replace(false) {
            self.core_wake.wake();
        }
    }

    fn push_fences(&self) {
        for (late, ring) in [
            (&self.late_fences, &self.urgent),
            (&self.late_in_order, &self.ingress),
        ] {
            let mut late = late.borrow_mut();
            let mut ring = ring.borrow_mut();
            while let Some(fence) = late.pop_front() {
                match ring.try_push(fence) {
                    Ok(()) => {
                        self.submitted.set(true);
                        self.tally.borrow_mut().commands_in += 1;
                    }
                    Err(PushError::Full(fence)) => {
                        late.push_front(fence);
                        break;
                    }
                    Err(PushError::Closed(_)) => {} // the core has ended, and all sessions with it
                }
            }
        }
    }

    pub(crate) fn next_token(&self) -> ConnToken {
        let number = self.next_connection.get();
        self.next_connection.set(number + 1);
        ConnToken::new((u64::from(self.index) << 48) | (number & 0xffff_ffff_ffff))
    }

    pub(crate) fn connect(&self, link: &Rc<Link>) {
        self.links.borrow_mut().insert(link.token, Rc::clone(link));
    }

    pub(crate) fn connections(&self) -> usize {
        self.links.borrow().len()
    }

    /// Begins a life: claims the name and asks the core for its number.
    pub(crate) fn begin(
        &self,
        name: Name,
        link: &Rc<Link>,
        received: Timestamp,
    ) -> Result<Rc<Life>, LogoutReason> {
        if !self.sessions.claim(name, link.token) {
            return Err(LogoutReason::DuplicateSession);
        }
        let logon = tessera_types::SessionLogon {
            name,
            conn: link.token,
            received,
        };
        if self.submit(Command::SessionLogon(Box::new(logon))).is_err() {
            self.sessions.release(name, link.token);
            return Err(LogoutReason::Internal);
        }
        let life = Life::starting(name, link, self.clock.now());
        self.starting
            .borrow_mut()
            .insert(link.token, Rc::clone(&life));
        Ok(life)
    }

    /// Forgets a connection that is closed.
    pub(crate) fn disconnect(&self, token: ConnToken) {
        self.links.borrow_mut().remove(&token);
    }

    /// The session of a connection is over: what becomes of it in the engine.
    pub(crate) fn depart(&self, link: &Link, departure: Departure) {
        self.hub.borrow_mut().leave(link.token.get());
        let Some(life) = link.take_life() else {
            return;
        };
        life.take_link();
        match life.phase.get() {
            LifePhase::Starting => life.phase.set(LifePhase::Orphaned),
            LifePhase::Active => {
                let (mode, grace) = link.cancel_on_disconnect();
                let cancel = departure.cancels(mode);
                let waits = cancel && departure == Departure::Lost && !self.stopping.get();
                if waits && !grace.is_zero() {
                    let until = self.clock.now().after(grace);
                    life.phase.set(LifePhase::Grace(until));
                    self.sessions.leave(life.name, life.token);
                } else {
                    life.begin_fencing(self.clock.now());
                    self.submit_fence(life.fence(departure.fence_reason(), cancel, utc()));
                }
            }
            LifePhase::Orphaned | LifePhase::Grace(_) | LifePhase::Fencing => {}
        }
    }

    /// The engine numbered a session.
    pub(crate) fn on_started(&self, event: &Event) {
        let Event::SessionStarted {
            session,
            generation,
            conn,
            last_cl_ord_id,
            next_server_seq,
        } = *event
        else {
            return;
        };
        if conn.get() >> 48 != u64::from(self.index) {
            return; // another shard's
        }
        let Some(life) = self.starting.borrow_mut().remove(&conn) else {
            return; // began in a former run of the exchange, whose connections are gone
        };
        life.session.set(session);
        life.generation.set(generation);
        let former = self.lives.borrow_mut().insert(session, Rc::clone(&life));
        if let Some(former) = former {
            debug!(session = %former.name, "the session came back within its grace");
        }
        match life.link() {
            Some(link) if life.phase.get() == LifePhase::Starting => {
                life.phase.set(LifePhase::Active);
                self.note_life(&life, &link);
                link.on_started(self, last_cl_ord_id, next_server_seq);
            }
            _ => {
                life.begin_fencing(self.clock.now());
                let reason = Departure::Lost.fence_reason();
                self.submit_fence(life.fence(reason, false, utc()));
            }
        }
    }

    /// A fence came back: the life is over, or goes on in a new generation. Gives the connection
    /// that may leave now.
    pub(crate) fn on_fenced(&self, event: &Event) -> Option<Rc<Link>> {
        let Event::SessionFenced {
            session,
            generation,
            canceled,
        } = *event
        else {
            return None;
        };
        let life = self.life(session)?;
        life.generation.set(generation);
        if life.phase.get() != LifePhase::Fencing {
            if let Some(link) = life.link() {
                self.note_life(&life, &link);
            }
            return None;
        }
        debug!(session = %life.name, canceled, "fenced");
        self.lives.borrow_mut().remove(&session);
        self.sessions.release(life.name, life.token);
        life.take_link()
    }

    /// Lets the other shards know what to fence should this one die.
    fn note_life(&self, life: &Life, link: &Link) {
        let (mode, _) = link.cancel_on_disconnect();
        let claimed = ClaimedLife {
            session: life.session.get(),
            generation: life.generation.get(),
            cancel_orders: Departure::Lost.cancels(mode),
        };
        self.sessions.live(life.name, life.token, claimed);
    }

    /// Fences the sessions of a former run of this shard that died. Their clients see a lost
    /// connection, and may log on again when the fence has come back.
    fn adopt_orphans(&self) {
        for Orphan { name, owner, life } in self.sessions.orphans(self.index) {
            warn!(session = %name, "left behind by a shard that died");
            let Some(claimed) = life else {
                self.sessions.release(name, owner); // the next logon ends whatever this one began
                continue;
            };
            let life = Life::orphaned(name, owner, claimed, self.clock.now());
            let reason = Departure::Lost.fence_reason();
            self.submit_fence(life.fence(reason, claimed.cancel_orders, utc()));
            self.lives.borrow_mut().insert(claimed.session, life);
        }
    }

    pub(crate) fn life(&self, session: SessionId) -> Option<Rc<Life>> {
        self.lives.borrow().get(&session).cloned()
    }

    /// Asks every connection to end.
    fn end_all(&self, reason: LogoutReason, departure: Departure) {
        for link in self.links.borrow().values() {
            link.stop(reason, departure);
        }
    }

    /// Once per tick: what no other task is woken for.
    fn tick(&self) {
        self.push_fences();
        self.kick();
        let now = self.clock.now();
        let expired: Vec<Rc<Life>> = self
            .lives
            .borrow()
            .values()
            .filter(|life| matches!(life.phase.get(), LifePhase::Grace(until) if until <= now))
            .cloned()
            .collect();
        for life in expired {
            if self.sessions.expire(life.name, life.token) {
                life.begin_fencing(self.clock.now());
                let reason = Departure::Lost.fence_reason();
                self.submit_fence(life.fence(reason, true, utc()));
            } else {
                self.lives.borrow_mut().remove(&life.session.get()); // logged on elsewhere
            }
        }
        self.give_up_unanswered(now);
        for link in self.links.borrow().values() {
            link.check_lag(self);
        }
        let ended = self
            .hub
            .borrow_mut()
            .tick(&self.snapshots, &self.config.feed_lag);
        self.tally.borrow_mut().slow_consumers += ended;
        self.publish_stats();
    }

    /// Lets go of what the core should have answered long ago: a logon for which the engine had no
    /// room, or a fence that came late and so did nothing. Should an answer still come, nobody acts
    /// for that life any more, and the next logon ends it.
    fn give_up_unanswered(&self, now: Monotime) {
        let late = |life: &&Rc<Life>| now.since(life.asked.get()) > ANSWER_TIMEOUT;
        let logons: Vec<Rc<Life>> = {
            let starting = self.starting.borrow();
            starting.values().filter(late).cloned().collect()
        };
        let fences: Vec<Rc<Life>> = {
            let lives = self.lives.borrow();
            let fencing = |life: &&Rc<Life>| life.phase.get() == LifePhase::Fencing;
            lives
                .values()
                .filter(fencing)
                .filter(late)
                .cloned()
                .collect()
        };
        for life in logons.iter().chain(&fences) {
            warn!(session = %life.name, phase = ?life.phase.get(), "the core has not answered");
            self.starting.borrow_mut().remove(&life.token);
            if life.session.get() != SessionId::default() {
                self.lives.borrow_mut().remove(&life.session.get());
            }
            self.sessions.release(life.name, life.token);
            if let Some(link) = life.take_link() {
                link.take_life();
                link.fail();
            }
        }
    }

    /// Asks for the snapshots that a request has made wanted.
    pub(crate) fn ask_snapshots(&self) {
        self.hub.borrow_mut().ask(&self.snapshots);
    }

    /// Adds the tally to the shared counters.
    pub(crate) fn publish_stats(&self) {
        let mut tally = self.tally.borrow_mut();
        let connections = self.links.borrow().len() as u64;
        let sessions = self
            .lives
            .borrow()
            .values()
            .filter(|life| life.phase.get() == LifePhase::Active)
            .count() as u64;
        let (subscribers, encoded) = {
            let mut hub = self.hub.borrow_mut();
            (hub.live() as u64, hub.take_encoded())
        };
        self.stats.update(|stats| {
            for &latency in &tally.ack_latencies_ns {
                let latency = latency.clamp(1, StatsSnapshot::LATENCY_MAX_NS);
                stats.ack_latency_ns.saturating_record(latency);
            }
            stats.connections = connections;
            stats.sessions = sessions;
            stats.subscribers = subscribers;
            stats.commands_in += tally.commands_in;
            stats.messages_out += tally.messages_out;
            stats.gateway_rejects += tally.gateway_rejects;
            stats.busy_rejects += tally.busy_rejects;
            stats.protocol_errors += tally.protocol_errors;
            stats.slow_consumers += tally.slow_consumers;
            stats.feed_encoded += encoded;
        });
        let mut latencies = std::mem::take(&mut tally.ack_latencies_ns);
        latencies.clear();
        *tally = Tally {
            ack_latencies_ns: latencies, // keeps its memory
            ..Tally::default()
        };
    }

    /// Counts a refusal in the gateway.
    pub(crate) fn count_reject(&self, reason: RejectReason) {
        let mut tally = self.tally.borrow_mut();
        tally.gateway_rejects += 1;
        if reason == RejectReason::Busy {
            tally.busy_rejects += 1;
        }
    }
}

/// The shard's thread.
fn run(
    runtime: &Runtime,
    ports: ShardPorts,
    config: ShardConfig,
    server: quinn::ServerConfig,
    socket: UdpSocket,
    stop: Arc<Stop>,
) -> Result<ShardEnd, ServeError> {
    let endpoint = {
        let _context = runtime.enter();
        let config = EndpointConfig::default();
        Endpoint::new(config, Some(server), socket, Arc::new(TokioRuntime))?
    };
    let tasks = LocalSet::new();
    let end = runtime.block_on(tasks.run_until(serve(ports, config, endpoint.clone(), stop)));
    // From here on the runtime drives quinn's tasks and not ours: after a panic nothing of our state is
    // to be trusted, and no task of ours may act on the end of its connection.
    let why = match &end {
        Ok(_) => CloseCode::Done,
        Err(_) => CloseCode::Internal,
    };
    endpoint.close(code(why), b"");
    runtime.block_on(async {
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, endpoint.wait_idle()).await;
    });
    drop(tasks);
    end
}

async fn serve(
    ports: ShardPorts,
    config: ShardConfig,
    endpoint: Endpoint,
    stop: Arc<Stop>,
) -> Result<ShardEnd, ServeError> {
    let ShardPorts {
        index,
        ingress,
        urgent,
        core_wake,
        events,
        feed,
        snapshots,
        durable,
        waker,
        pressure,
        directory,
        sessions,
        stats,
    } = ports;
    let state = Rc::new(ShardState {
        hub: RefCell::new(FeedHub::new(index, config.feed_epoch)),
        clock: Clock::start(),
        directory,
        stopping: Cell::new(false),
        tally: RefCell::default(),
        guard: RefCell::default(),
        panicked: Notify::new(),
        index,
        ingress: RefCell::new(ingress),
        urgent: RefCell::new(urgent),
        late_fences: RefCell::default(),
        late_in_order: RefCell::default(),
        submitted: Cell::new(false),
        core_wake,
        durable,
        pressure,
        snapshots,
        sessions,
        stats,
        links: RefCell::default(),
        starting: RefCell::default(),
        lives: RefCell::default(),
        next_connection: Cell::new(utc().nanos() / 1_000),
        config,
    });
    state.adopt_orphans();
    info!(shard = index, "serving");

    let accept = spawn(&state, accept(Rc::clone(&state), endpoint));
    let tick = spawn(&state, tick(Rc::clone(&state), Arc::clone(&waker)));
    let mut egress = spawn(&state, egress(Rc::clone(&state), events, feed, waker));
    let end = tokio::select! {
        biased;
        () = state.panicked.notified() => return Err(ServeError::Panicked),
        () = stop_asked(&stop) => {
            state.stopping.set(true);
            accept.abort();
            info!(shard = index, sessions = state.lives.borrow().len(), "draining");
            drain(&state).await
        }
        _ = &mut egress => {
            state.stopping.set(true);
            accept.abort();
            warn!(shard = index, "the event ring was closed by the core: sessions are logged out");
            state.end_all(LogoutReason::Internal, Departure::Evicted);
            let _ = tokio::time::timeout(EVICTION_TIMEOUT, connections_closed(&state)).await;
            release_names(&state);
            ShardEnd::Evicted
        }
    };
    egress.abort();
    tick.abort();
    state.publish_stats();
    info!(shard = index, ?end, "ended");
    Ok(end)
}

/// Starts a task whose panic ends the shard: tokio would only end the task, and the shard would go on
/// with a state that nobody vouches for.
pub(crate) fn spawn(
    state: &Rc<ShardState>,
    task: impl Future<Output = ()> + 'static,
) -> tokio::task::JoinHandle<()> {
    struct Alarm(Rc<ShardState>);
    impl Drop for Alarm {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.panicked.notify_one();
            }
        }
    }
    let alarm = Alarm(Rc::clone(state));
    spawn_local(async move {
        let _alarm = alarm;
        task.await;
    })
}

async fn stop_asked(stop: &Stop) {
    while !stop.asked.load(Ordering::Acquire) {
        stop.notify.notified().await;
    }
}

async fn drain(state: &Rc<ShardState>) -> ShardEnd {
    state.end_all(LogoutReason::Draining, Departure::Draining);
    let all_back = async {
        connections_closed(state).await;
        while !(state.lives.borrow().is_empty() && state.starting.borrow().is_empty()) {
            for life in state.lives.borrow().values() {
                if let LifePhase::Grace(_) = life.phase.get() {
                    life.phase.set(LifePhase::Grace(state.clock.now())); // no time for graces
                }
            }
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(state.config.drain_timeout, all_back).await {
        Ok(()) => ShardEnd::Drained,
        Err(_) => {
            let sessions = state.lives.borrow().len() + state.starting.borrow().len();
            error!(
                sessions,
                "the drain took too long, sessions have not come back"
            );
            release_names(state);
            ShardEnd::DrainTimeout { sessions }
        }
    }
}

async fn connections_closed(state: &ShardState) {
    while state.connections() > 0 {
        tokio::time::sleep(POLL).await;
    }
}

/// Nothing comes back through a closed ring, so the names are free for other shards.
fn release_names(state: &ShardState) {
    let lives = state.lives.borrow();
    let starting = state.starting.borrow();
    for life in lives.values().chain(starting.values()) {
        state.sessions.release(life.name, life.token);
    }
}

async fn accept(state: Rc<ShardState>, endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        let open = endpoint.open_connections(); // those still shaking hands included
        let crowded = open + RETRY_HEADROOM > state.config.max_connections;
        if open >= state.config.max_connections {
            incoming.refuse();
        } else if crowded && !incoming.remote_address_validated() {
            // Costs the peer a round trip, and us nothing, until it has proved its address.
            let _ = incoming.retry();
        } else if let Ok(connecting) = incoming.accept() {
            spawn(&state, link::serve(Rc::clone(&state), connecting));
        }
    }
}

async fn tick(state: Rc<ShardState>, waker: Arc<ShardWaker>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        state.tick();
        // For an event that the core published after `durable` had passed it: whoever forgets to wake
        // this shard for it costs a tick, not the acknowledgement.
        waker.wake();
    }
}

async fn egress(
    state: Rc<ShardState>,
    events: Consumer<EventRecord>,
    feed: Consumer<FeedItem>,
    waker: Arc<ShardWaker>,
) {
    let mut egress = egress::Egress::new(events, feed);
    loop {
        if egress.drain(&state) {
            tokio::task::yield_now().await; // there may be more; readers get their turn first
        } else if egress.is_evicted() {
            return;
        } else {
            waker.sleep_unless(|| egress.has_work(&state)).await;
        }
    }
}

/// Period of what nobody is woken for.
const TICK: Duration = Duration::from_millis(20);
/// How long the core may take with a logon or a fence, the sync included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const EVICTION_TIMEOUT: Duration = Duration::from_secs(2);
/// When fewer connections than this are left, peers must prove their address first.
const RETRY_HEADROOM: usize = 256;
