//! Everything a shard is given by the program that composes the exchange, and nothing else.
//!
//! The rings and cursors are the shard's own ends; the tables ([`Directory`], [`Sessions`],
//! [`ShardStats`]) are shared, behind locks that no thread holds across I/O and that the core takes
//! only for the rare commands that change them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crossbeam::channel::Sender;
use hdrhistogram::Histogram;
use parking_lot::{Mutex, RwLock};
use tessera_market_data::{FeedItem, SnapshotRequest};
use tessera_ring::spsc::{Consumer, Producer};
use tessera_ring::{Cursor, WaitFlag, Wake};
use tessera_types::{
    Catalogue, Command, ConnToken, EventRecord, Generation, Instrument, InstrumentId, Name, Phase,
    Seq, SessionId,
};
use tokio::sync::Notify;

/// The ends of the rings, cursors and tables that one shard works with.
pub struct ShardPorts {
    /// Number of the shard; the upper 16 bits of its [`ConnToken`]s.
    pub index: u16,
    /// Requests to the core, in the order in which they were received.
    pub ingress: Producer<Command>,
    /// Fences, which the core polls before `ingress`.
    pub urgent: Producer<Command>,
    /// Wakes the core, once for each batch of commands.
    pub core_wake: Arc<dyn Wake>,
    /// What the engine said, in order. Closed by the core when this shard lags too far.
    pub events: Consumer<EventRecord>,
    /// What the market-data thread publishes, already durable.
    pub feed: Consumer<FeedItem>,
    /// Asks the market-data thread for snapshots, which come back through `feed`.
    pub snapshots: SnapshotRequests,
    /// The last command that is safely on disk: an event leaves when its `seq` is at most this.
    pub durable: Cursor,
    /// Wakes this shard. The same one that the threads on the other side were given, see
    /// [`ShardWaker`].
    pub waker: Arc<ShardWaker>,
    /// Until `durable` has reached this command, commands that [add orders](Command::adds_orders) are
    /// refused with reason `busy`. A number and not a flag, so that it lapses by itself as soon as the
    /// disk has caught up. 0: nothing is refused.
    pub pressure: Arc<AtomicU64>,
    /// Instruments and catalogue; one for all shards.
    pub directory: Arc<Directory>,
    /// Who is logged on; one for all shards.
    pub sessions: Arc<Sessions>,
    /// Counters and latencies of this shard.
    pub stats: Arc<ShardStats>,
}

/// The way to ask the market-data thread for a snapshot.
#[derive(Clone)]
pub struct SnapshotRequests {
    /// The queue that the market-data thread drains. Bounded: a full one makes the shard try later.
    pub sender: Sender<SnapshotRequest>,
    /// Wakes the market-data thread.
    pub wake: Arc<dyn Wake>,
}

/// Wakes the egress task of a shard from any thread: from the sync thread when `durable` has moved,
/// from the market-data thread when there is something in `feed`, and from the core when it closed
/// the event ring, or published an event that `durable` had already passed.
///
/// Made before the shard and before the cursor, whose writer fixes its waiters when it is made.
/// Costs its callers a fence and a load while the task is busy. A wake-up is never lost: the task
/// announces that it will sleep, looks at its rings once more, and only then sleeps.
#[derive(Debug, Default)]
pub struct ShardWaker {
    flag: WaitFlag,
    notify: Notify,
}

impl ShardWaker {
    /// A waker that nobody waits on yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Sleeps until somebody calls [`Wake::wake`], unless `has_work` finds something to do.
    pub(crate) async fn sleep_unless(&self, has_work: impl FnOnce() -> bool) {
        self.flag.announce();
        if !has_work() {
            self.notify.notified().await;
        }
        self.flag.withdraw();
    }
}

impl Wake for ShardWaker {
    fn wake(&self) {
        if self.flag.take() {
            self.notify.notify_one();
        }
    }
}

/// The listed instruments and the catalogue, as the edge shows them.
///
/// The core appends to it before it publishes the event of a listing, so that whoever sees the event
/// finds the definition here. An entry becomes visible to clients when its command is durable.
#[derive(Debug, Default)]
pub struct Directory {
    tables: RwLock<Tables>,
}

/// One instrument of the [`Directory`].
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its number.
    pub id: InstrumentId,
    /// Its definition.
    pub definition: Arc<Instrument>,
    /// Its phase, as far as durable events have told.
    pub phase: Phase,
    /// The command that listed it.
    pub listed_by: Seq,
    /// The command that set `phase`.
    phase_by: Seq,
}

#[derive(Debug, Default)]
struct Tables {
    instruments: Vec<Listed>,
    catalogue: Option<(Seq, Arc<Catalogue>)>,
}

impl Directory {
    /// Adds an instrument: called by the core before it publishes `InstrumentListed`, and once for
    /// each instrument after recovery. Instruments are numbered from 0 in order of listing; one that
    /// is already there is left alone, so that recovery may call this again.
    ///
    /// # Panics
    /// If a number is skipped: the core and this table would disagree about every later one.
    pub fn list(&self, id: InstrumentId, by: Seq, definition: Instrument, phase: Phase) {
        let mut tables = self.tables.write();
        let index = id.get() as usize;
        assert!(
            index <= tables.instruments.len(),
            "instruments are listed in the order of their numbers"
        );
        if index == tables.instruments.len() {
            tables.instruments.push(Listed {
                id,
                definition: Arc::new(definition),
                phase,
                listed_by: by,
                phase_by: by,
            });
        }
    }

    /// Notes a phase change. Called with durable events, by every shard that sees one: the newest
    /// command wins.
    pub fn set_phase(&self, id: InstrumentId, by: Seq, phase: Phase) {
        let mut tables = self.tables.write();
        if let Some(listed) = tables.instruments.get_mut(id.get() as usize)
            && by >= listed.phase_by
        {
            listed.phase = phase;
            listed.phase_by = by;
        }
    }

    /// Sets the catalogue: called by the core before it publishes `CatalogueSet`, and after recovery.
    pub fn set_catalogue(&self, by: Seq, catalogue: Catalogue) {
        self.tables.write().catalogue = Some((by, Arc::new(catalogue)));
    }

    /// The instrument with this number, if its listing is durable.
    #[must_use]
    pub fn get(&self, id: InstrumentId, durable: Seq) -> Option<Listed> {
        let tables = self.tables.read();
        let listed = tables.instruments.get(id.get() as usize)?;
        (listed.listed_by <= durable).then(|| listed.clone())
    }

    /// Every instrument whose listing is durable, in order of its number.
    #[must_use]
    pub fn visible(&self, durable: Seq) -> Vec<Listed> {
        let tables = self.tables.read();
        tables
            .instruments
            .iter()
            .filter(|listed| listed.listed_by <= durable)
            .cloned()
            .collect()
    }

    /// The catalogue, if there is one and it is durable.
    #[must_use]
    pub fn catalogue(&self, durable: Seq) -> Option<Arc<Catalogue>> {
        let tables = self.tables.read();
        let (by, catalogue) = tables.catalogue.as_ref()?;
        (*by <= durable).then(|| Arc::clone(catalogue))
    }
}

/// Which connection a session name belongs to, across all shards: a name has one owner at a time.
///
/// A name is claimed before its logon goes to the core, and released only when the fence that ends
/// that life has come back as a durable event. A logon through another shard can therefore never
/// overtake the fence of the life before it, which would make the fence late and leave orders behind.
#[derive(Debug, Default)]
pub struct Sessions {
    claims: Mutex<HashMap<Name, Claim>>,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    owner: ConnToken,
    /// The connection is gone and its cancel-on-disconnect grace runs: a logon may take the name.
    leaving: bool,
    life: Option<ClaimedLife>,
}

/// What it takes to fence a session whose shard is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClaimedLife {
    /// The engine's number.
    pub(crate) session: SessionId,
    /// The present life.
    pub(crate) generation: Generation,
    /// Whether a lost connection cancels its orders.
    pub(crate) cancel_orders: bool,
}

/// A claim that a former run of a shard has left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orphan {
    pub(crate) name: Name,
    pub(crate) owner: ConnToken,
    /// None while its logon was under way.
    pub(crate) life: Option<ClaimedLife>,
}

impl Sessions {
    /// Takes the name for `owner`; false when another connection has it.
    ///
    /// A name whose connection is gone and whose grace still runs can be taken: the logon then raises
    /// the session's generation itself, and [`Sessions::expire`] tells the former owner to let go.
    #[must_use]
    pub fn claim(&self, name: Name, owner: ConnToken) -> bool {
        let mut claims = self.claims.lock();
        match claims.get(&name) {
            Some(claim) if !claim.leaving => false,
            _ => {
                let claim = Claim {
                    owner,
                    leaving: false,
                    life: None,
                };
                claims.insert(name, claim);
                true
            }
        }
    }

    /// Notes what the engine said about the session of this name, for the case that its shard dies.
    pub(crate) fn live(&self, name: Name, owner: ConnToken, life: ClaimedLife) {
        if let Some(claim) = self.claims.lock().get_mut(&name)
            && claim.owner == owner
        {
            claim.life = Some(life);
        }
    }

    /// The claims of a shard, which has none of its own yet: those of a former run that died.
    pub(crate) fn orphans(&self, shard: u16) -> Vec<Orphan> {
        let claims = self.claims.lock();
        let of_shard = claims
            .iter()
            .filter(|(_, claim)| claim.owner.get() >> 48 == u64::from(shard));
        of_shard
            .map(|(&name, claim)| Orphan {
                name,
                owner: claim.owner,
                life: claim.life,
            })
            .collect()
    }

    /// Marks that the connection of `owner` is gone and its grace runs.
    pub fn leave(&self, name: Name, owner: ConnToken) {
        if let Some(claim) = self.claims.lock().get_mut(&name)
            && claim.owner == owner
        {
            claim.leaving = true;
        }
    }

    /// The grace of `owner` is over: takes the name back from [`Sessions::leave`] to fence it. False
    /// when another connection has taken it meanwhile, and there is nothing left to fence.
    #[must_use]
    pub fn expire(&self, name: Name, owner: ConnToken) -> bool {
        match self.claims.lock().get_mut(&name) {
            Some(claim) if claim.owner == owner => {
                claim.leaving = false;
                true
            }
            _ => false,
        }
    }

    /// Gives the name back, unless it belongs to another connection by now.
    pub fn release(&self, name: Name, owner: ConnToken) {
        let mut claims = self.claims.lock();
        if claims.get(&name).is_some_and(|claim| claim.owner == owner) {
            claims.remove(&name);
        }
    }

    /// How many names are taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.claims.lock().len()
    }

    /// Whether nobody is logged on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Counters and latencies of one shard, for metrics and summaries.
#[derive(Debug)]
pub struct ShardStats {
    inner: Mutex<StatsSnapshot>,
}

/// What a shard has counted since it started.
#[derive(Clone, Debug)]
pub struct StatsSnapshot {
    /// Nanoseconds from the receipt of a request to the writing of its first answer, 1 ns to 60 s.
    pub ack_latency_ns: Histogram<u64>,
    /// Connections that are open now, of every protocol.
    pub connections: u64,
    /// Order-entry sessions that are logged on now.
    pub sessions: u64,
    /// Market-data subscriptions that are live now.
    pub subscribers: u64,
    /// Commands given to the core.
    pub commands_in: u64,
    /// Messages of the engine written to sessions.
    pub messages_out: u64,
    /// Requests refused in the gateway.
    pub gateway_rejects: u64,
    /// Of these, requests refused because the exchange was busy.
    pub busy_rejects: u64,
    /// Feed messages encoded, each once however many subscribers it has.
    pub feed_encoded: u64,
    /// Connections closed because their peer broke the protocol.
    pub protocol_errors: u64,
    /// Sessions and subscriptions ended because their peer read too slowly.
    pub slow_consumers: u64,
}

impl Default for ShardStats {
    fn default() -> Self {
        Self::new()
    }
}

impl ShardStats {
    /// Counters at zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            inner: Mutex::new(StatsSnapshot::new()),
        }
    }

    /// A copy of the counters.
    #[must_use]
    pub fn snapshot(&self) -> StatsSnapshot {
        self.inner.lock().clone()
    }

    /// Changes the counters; the shard does so once per batch, not once per message.
    pub(crate) fn update(&self, change: impl FnOnce(&mut StatsSnapshot)) {
        change(&mut self.inner.lock());
    }
}

impl Default for StatsSnapshot {
    fn default() -> Self {
        Self::new()
    }
}

impl StatsSnapshot {
    /// Longest latency that is told apart: one minute.
    pub const LATENCY_MAX_NS: u64 = 60_000_000_000;

    /// Counters at zero.
    #[must_use]
    pub fn new() -> Self {
        let ack_latency_ns = Histogram::new_with_bounds(1, Self::LATENCY_MAX_NS, 3)
            .expect("1 ns to 60 s with three digits is a valid range");
        Self {
            ack_latency_ns,
            connections: 0,
            sessions: 0,
            subscribers: 0,
            commands_in: 0,
            messages_out: 0,
            gateway_rejects: 0,
            busy_rejects: 0,
            feed_encoded: 0,
            protocol_errors: 0,
            slow_consumers: 0,
        }
    }

    /// Adds another shard's counters to these.
    pub fn merge(&mut self, other: &Self) {
        // Same bounds on both sides, so nothing can fall outside.
        let _ = self.ack_latency_ns.add(&other.ack_latency_ns);
        self.connections += other.connections;
        self.sessions += other.sessions;
        self.subscribers += other.subscribers;
        self.commands_in += other.commands_in;
        self.messages_out += other.messages_out;
        self.gateway_rejects += other.gateway_rejects;
        self.busy_rejects += other.busy_rejects;
        self.feed_encoded += other.feed_encoded;
        self.protocol_errors += other.protocol_errors;
        self.slow_consumers += other.slow_consumers;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn an_instrument_is_visible_when_its_listing_is_durable() {
        let directory = Directory::default();
        for (id, by) in [(0, 3), (1, 5)] {
            let definition = Instrument::plain(name(&format!("I{id}")));
            let (id, by) = (InstrumentId::new(id), Seq::new(by));
            directory.list(id, by, definition, Phase::Continuous);
            directory.list(id, by, definition, Phase::Halt); // again, after a recovery
        }
        let visible = |durable| directory.visible(Seq::new(durable)).len();
        assert_eq!([2, 3, 4, 5].map(visible), [0, 1, 1, 2]);
        let second = InstrumentId::new(1);
        assert!(directory.get(second, Seq::new(4)).is_none());

        directory.set_phase(second, Seq::new(9), Phase::Closed);
        directory.set_phase(second, Seq::new(8), Phase::Auction); // a shard that is behind
        let listed = directory.get(second, Seq::new(9)).unwrap();
        assert_eq!(
            (listed.phase, listed.definition.name),
            (Phase::Closed, name("I1"))
        );
    }

    #[test]
    fn a_name_has_one_owner_until_it_is_released_or_its_grace_is_used() {
        let sessions = Sessions::default();
        let (alice, first, second) = (name("ALICE"), ConnToken::new(1), ConnToken::new(2));
        assert!(sessions.claim(alice, first));
        assert!(!sessions.claim(alice, second));
        sessions.release(alice, second); // not the owner
        assert!(!sessions.claim(alice, second));

        sessions.leave(alice, first);
        assert!(sessions.expire(alice, first), "nobody came back");
        assert!(
            !sessions.claim(alice, second),
            "until the fence has come back"
        );
        sessions.release(alice, first);
        assert!(sessions.claim(alice, second));

        sessions.leave(alice, second);
        assert!(sessions.claim(alice, first), "back within the grace");
        assert!(!sessions.expire(alice, second), "there is nothing to fence");
        sessions.release(alice, second);
        assert_eq!(sessions.len(), 1);
    }

    #[test]
    fn counters_of_shards_add_up() {
        let stats = ShardStats::new();
        stats.update(|one| {
            one.commands_in += 2;
            one.ack_latency_ns.saturating_record(1_000);
        });
        let mut sum = stats.snapshot();
        sum.merge(&stats.snapshot());
        assert_eq!((sum.commands_in, sum.ack_latency_ns.len()), (4, 2));
    }
}
