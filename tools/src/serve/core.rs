//! The core thread: sequence, journal, apply, publish.
//!
//! It polls the urgent rings, then the ingress rings in bounded batches with a rotating start, stamps
//! sequence and time, hands the command to the journal ring, applies it, and routes the events. It
//! waits for nobody but the journal ring: a shard whose event ring is full is evicted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, Sender};
use tessera_engine::Exchange;
use tessera_gateway::Directory;
use tessera_ring::spsc::{self, Consumer, Producer, PushError};
use tessera_ring::{Agent, Cursor, Unparker, Wake};
use tessera_types::{
    AdvanceTime, Command, Event, EventRecord, Reopen, Seq, Sequenced, SessionId, Timestamp,
};

use super::market::{Books, Reattached};
use super::stats::Recorder;

/// What travels from the core to the journal thread.
#[derive(Clone, Debug)]
pub(crate) enum JournalItem {
    /// A command, before its effects leave.
    Command(Sequenced),
    /// The state after the command `seq`.
    StateHash {
        /// [`Exchange::state_hash`] after the last command.
        hash: [u8; 32],
        /// [`Exchange::events_digest`] of the block.
        events_digest: u32,
    },
}

/// The core's ends of one shard's rings.
pub(crate) struct ShardLink {
    pub(crate) ingress: Consumer<Command>,
    pub(crate) urgent: Consumer<Command>,
    /// None once the shard has been evicted.
    pub(crate) events: Option<Producer<EventRecord>>,
    pub(crate) wake: Arc<dyn Wake>,
}

/// Everything the core is built with.
pub(crate) struct CoreParts {
    pub(crate) engine: Exchange,
    pub(crate) shards: Vec<ShardLink>,
    /// New rings for shards that start again.
    pub(crate) seats: Receiver<(u16, ShardLink)>,
    /// None once market data has been evicted.
    pub(crate) market: Option<Producer<EventRecord>>,
    pub(crate) market_wake: Arc<dyn Wake>,
    /// Takes a new event ring to the market-data thread; holds one.
    pub(crate) market_reattach: Sender<Reattached>,
    /// Events that one ring holds.
    pub(crate) ring_capacity: usize,
    pub(crate) journal: Producer<JournalItem>,
    pub(crate) journal_wake: Unparker,
    pub(crate) durable: Cursor,
    pub(crate) directory: Arc<Directory>,
    /// Until `durable` has reached this command, ingress refuses new orders; 0 for never.
    pub(crate) pressure: Arc<AtomicU64>,
    /// The disk leaves no room for another segment.
    pub(crate) low_disk: Arc<AtomicBool>,
    pub(crate) run_ahead: Duration,
    /// Commands between two state hashes.
    pub(crate) state_hash_every: u64,
    /// Time stands still: nothing falls due, nothing expires.
    pub(crate) frozen: bool,
    pub(crate) matching: Recorder,
    pub(crate) progress: Arc<CoreProgress>,
}

/// What other threads may know of the core, each a single atomic.
#[derive(Debug, Default)]
pub(crate) struct CoreProgress {
    /// The last command applied.
    pub(crate) seq: AtomicU64,
    /// Trades so far, since this start.
    pub(crate) trades: AtomicU64,
    /// Shards evicted so far.
    pub(crate) evictions: AtomicU64,
    /// Times the wall clock stood behind the journal's.
    pub(crate) clock_clamps: AtomicU64,
}

/// The core thread.
pub(crate) struct Core {
    parts: CoreParts,
    seq: Seq,
    time: Timestamp,
    since_hash: u64,
    first_shard: usize,
    /// By session number: the shard that holds its connection.
    shard_of: Vec<Option<u16>>,
    events: Vec<Event>,
    targets: Vec<Target>,
    /// Last command and time of poll batches that were not durable when they were made.
    unsynced: VecDeque<(Seq, Timestamp)>,
    /// When the hold of this start ends.
    reopen_at: Option<Timestamp>,
}

/// Commands between two state hashes, unless configured.
pub(crate) const STATE_HASH_INTERVAL: u64 = 65_536;
/// Commands taken from one shard before the next has its turn.
const BATCH: usize = 64;
/// Shards that fit the routing mask beside the market-data thread.
pub(crate) const MAX_SHARDS: usize = 63;
const MARKET: u64 = 1 << 63;
/// Poll batches remembered for the run-ahead limit; when full, the newest are not added, which makes
/// the measured age too high, never too low.
const MAX_UNSYNCED: usize = 4096;

impl Core {
    /// A core that continues after the last command its engine has applied.
    pub(crate) fn new(parts: CoreParts) -> Self {
        assert!(
            parts.shards.len() <= MAX_SHARDS,
            "the routing mask has room for 63 shards"
        );
        let seq = parts.engine.last_seq();
        let time = parts.engine.clock();
        parts.progress.seq.store(seq.get(), Ordering::Relaxed);
        Self {
            since_hash: seq.get() % parts.state_hash_every,
            seq,
            time,
            first_shard: 0,
            shard_of: Vec::new(),
            events: Vec::with_capacity(1024),
            targets: Vec::with_capacity(1024),
            unsynced: VecDeque::with_capacity(MAX_UNSYNCED),
            reopen_at: None,
            parts,
        }
    }

    /// Sequences a command of the venue itself, as the rings' commands are.
    pub(crate) fn submit(&mut self, command: Command) {
        let now = self.now();
        if let Command::Restart(restart) = &command
            && restart.hold_ns > 0
        {
            let end = now.nanos().saturating_add(restart.hold_ns);
            self.reopen_at = Some(Timestamp::from_nanos(end));
        }
        self.execute(now, command);
        self.parts.journal_wake.wake();
    }

    /// Ends the hold of a restart when its time has come.
    fn reopen_if_due(&mut self) -> usize {
        if self.reopen_at.is_none_or(|at| at > wall_clock()) {
            return 0;
        }
        self.reopen_at = None;
        let now = self.now();
        self.execute(now, Command::Reopen(Reopen));
        1
    }

    /// The last command applied.
    pub(crate) fn last_seq(&self) -> Seq {
        self.seq
    }

    /// The engine, for the drain's last words.
    pub(crate) fn engine(&self) -> &Exchange {
        &self.parts.engine
    }

    fn now(&mut self) -> Timestamp {
        if self.parts.frozen {
            return self.time;
        }
        let wall = wall_clock();
        if wall < self.time {
            self.parts
                .progress
                .clock_clamps
                .fetch_add(1, Ordering::Relaxed);
        }
        self.time = self.time.max(wall);
        self.time
    }

    fn poll(&mut self) -> usize {
        let shards = self.parts.shards.len();
        let mut work = 0;
        let mut now = None;
        for index in 0..shards {
            while let Some(command) = self.parts.shards[index].urgent.try_pop() {
                let now = *now.get_or_insert_with(|| self.now());
                self.execute(now, command);
                work += 1;
            }
        }
        for offset in 0..shards {
            let index = (self.first_shard + offset) % shards;
            for _ in 0..BATCH {
                let ingress = &mut self.parts.shards[index].ingress;
                self.parts.engine.look_ahead(|next| ingress.peek(next));
                let Some(command) = ingress.try_pop() else {
                    break;
                };
                let now = *now.get_or_insert_with(|| self.now());
                self.execute(now, command);
                work += 1;
            }
        }
        if shards > 0 {
            self.first_shard = (self.first_shard + 1) % shards;
        }
        work
    }

    fn execute(&mut self, now: Timestamp, command: Command) {
        let seq = self.seq.next();
        let sequenced = Sequenced {
            seq,
            time: now,
            command,
        };
        let journal = &mut self.parts.journal;
        if journal
            .push_waiting(
                JournalItem::Command(sequenced.clone()),
                &self.parts.journal_wake,
            )
            .is_err()
        {
            // The journal thread is gone: the process is on its way to exit 6 or 7, and nothing that
            // is not journaled may have an effect.
            return;
        }
        self.seq = seq;
        self.events.clear();
        self.parts.engine.apply(&sequenced, &mut self.events);
        self.parts.progress.seq.store(seq.get(), Ordering::Relaxed);
        let received = sequenced
            .command
            .header()
            .map_or(Timestamp::ZERO, |h| h.received);
        self.publish(seq, now, received);
        self.parts.matching.record(wall_clock().nanos_since(now));

        self.since_hash += 1;
        if self.since_hash >= self.parts.state_hash_every {
            self.push_state_hash();
        }
    }

    fn push_state_hash(&mut self) {
        self.since_hash = 0;
        let item = JournalItem::StateHash {
            hash: self.parts.engine.state_hash(),
            events_digest: self.parts.engine.events_digest(),
        };
        self.parts.engine.restart_events_digest();
        // As above: a closed ring means that the process is ending.
        let _ = self
            .parts
            .journal
            .push_waiting(item, &self.parts.journal_wake);
    }

    /// Hands the events of one command to the rings of those they concern.
    fn publish(&mut self, seq: Seq, time: Timestamp, received: Timestamp) {
        let mut events = std::mem::take(&mut self.events);
        let mut targets = std::mem::take(&mut self.targets);
        targets.clear();
        let mut trades = 0;
        for event in &events {
            trades += u64::from(matches!(event, Event::Trade { .. }));
            targets.push(Target {
                rings: self.route(seq, event),
                last: 0,
            });
        }
        if trades > 0 {
            self.parts
                .progress
                .trades
                .fetch_add(trades, Ordering::Relaxed);
        }
        let mut seen = 0;
        for target in targets.iter_mut().rev() {
            target.last = target.rings & !seen;
            seen |= target.rings;
        }
        for ((event, target), index) in events.iter().zip(&targets).zip(0_u32..) {
            let mut rings = target.rings;
            while rings != 0 {
                let ring = rings.trailing_zeros() as usize;
                rings &= rings - 1;
                let last = target.last >> ring & 1 == 1;
                let record = EventRecord {
                    seq,
                    time,
                    received,
                    index,
                    last,
                    event: *event,
                };
                self.push_event(ring, record);
            }
        }
        events.clear();
        self.events = events;
        self.targets = targets;
    }

    fn push_event(&mut self, ring: usize, record: EventRecord) {
        let slot = match self.parts.shards.get_mut(ring) {
            Some(shard) => &mut shard.events,
            None => &mut self.parts.market,
        };
        let Some(producer) = slot else { return };
        match producer.try_push(record) {
            Ok(()) => {}
            Err(PushError::Full(_)) => {
                // The consumer lags by the whole ring. Closing it is all the core does: what was
                // pushed is still read, and the other side decides how to come back.
                producer.close();
                *slot = None;
                self.parts
                    .progress
                    .evictions
                    .fetch_add(1, Ordering::Relaxed);
                match self.parts.shards.get(ring) {
                    Some(shard) => shard.wake.wake(),
                    None => self.parts.market_wake.wake(),
                }
            }
            Err(PushError::Closed(_)) => *slot = None,
        }
    }

    /// The rings that an event goes to, as bits; bit 63 is market data.
    fn route(&mut self, seq: Seq, event: &Event) -> u64 {
        let all_shards = (1_u64 << self.parts.shards.len()) - 1;
        match event {
            Event::OrderAccepted { party, .. }
            | Event::OrderCanceled { party, .. }
            | Event::OrderReduced { party, .. }
            | Event::OrderReplaced { party, .. }
            | Event::OrderTriggered { party, .. }
            | Event::OrderExpired { party, .. } => self.shard_bit(party.session),
            Event::Contract(_) => 0,
            Event::Rejected { session, .. }
            | Event::MassCanceled { session, .. }
            | Event::SessionFenced { session, .. } => self.shard_bit(*session),
            Event::SessionStarted { session, conn, .. } => {
                let index = session.get() as usize;
                if self.shard_of.len() <= index {
                    self.shard_of.resize(index + 1, None);
                }
                self.shard_of[index] = u16::try_from(conn.get() >> 48)
                    .ok()
                    .filter(|&shard| usize::from(shard) < self.parts.shards.len());
                self.shard_bit(*session)
            }
            Event::Trade { maker, taker, .. } => {
                MARKET | self.shard_bit(maker.session) | self.shard_bit(taker.session)
            }
            Event::InstrumentListed { instrument, .. } => {
                if let Some((definition, phase)) = self.parts.engine.instrument(*instrument) {
                    self.parts
                        .directory
                        .list(*instrument, seq, *definition, phase);
                }
                MARKET | all_shards
            }
            Event::PhaseChanged { .. } => MARKET | all_shards,
            Event::CatalogueSet { .. } => {
                if let Some(catalogue) = self.parts.engine.catalogue() {
                    self.parts.directory.set_catalogue(seq, catalogue.clone());
                }
                all_shards
            }
            Event::Account(event) => event.by().map_or(0, |by| self.shard_bit(by.session)),
            Event::AuctionCleared { .. } | Event::Indicative { .. } | Event::Level { .. } => MARKET,
        }
    }

    fn shard_bit(&self, session: SessionId) -> u64 {
        match self.shard_of.get(session.get() as usize) {
            Some(Some(shard)) => 1 << shard,
            _ => 0,
        }
    }

    /// Wakes everybody who waits for events when the disk was faster than this thread: the wake that came
    /// with `durable` then found their rings still empty. `first` is the first command of the batch.
    fn wake_if_overtaken(&self, first: Seq) {
        // The pushes before and the load after must not change places; the other side stores `durable`,
        // wakes (a full fence), and only then looks at the rings.
        fence(Ordering::SeqCst);
        if self.parts.durable.get() >= first.get() {
            for shard in &self.parts.shards {
                shard.wake.wake();
            }
            self.parts.market_wake.wake();
        }
    }

    /// Takes the new rings of a shard that starts again, after all that its old ones still hold.
    fn reseat_shards(&mut self) {
        while let Ok((index, link)) = self.parts.seats.try_recv() {
            while self.poll() > 0 {}
            if let Some(seat) = self.parts.shards.get_mut(usize::from(index)) {
                *seat = link;
            }
        }
    }

    /// Gives the market-data thread a new ring in place of one that overflowed, with the books it goes
    /// on from. Not while there is work, and not before the last one was taken: a feed that cannot
    /// keep up must not slow matching down.
    fn reattach_market(&mut self) {
        if self.parts.market.is_none() && self.parts.market_reattach.is_empty() {
            let (producer, events) = spsc::channel(self.parts.ring_capacity);
            let books = Books::of(&self.parts.engine);
            if self
                .parts
                .market_reattach
                .try_send(Reattached { events, books })
                .is_ok()
            {
                self.parts.market = Some(producer);
                self.parts.market_wake.wake();
            }
        }
    }

    /// Notes how long the oldest command waits for its sync, and lets ingress know when that is
    /// too long.
    fn watch_run_ahead(&mut self) {
        let durable = self.parts.durable.get();
        while self
            .unsynced
            .front()
            .is_some_and(|(seq, _)| seq.get() <= durable)
        {
            self.unsynced.pop_front();
        }
        let newest = self.unsynced.back().map_or(durable, |(seq, _)| seq.get());
        if self.seq.get() > newest && self.unsynced.len() < MAX_UNSYNCED {
            self.unsynced.push_back((self.seq, self.time));
        }
        let too_old = self.unsynced.front().filter(|(_, time)| {
            u128::from(wall_clock().nanos_since(*time)) > self.parts.run_ahead.as_nanos()
        });
        let until = if self.parts.low_disk.load(Ordering::Acquire) {
            u64::MAX
        } else {
            too_old.map_or(0, |(seq, _)| seq.get())
        };
        if until != self.parts.pressure.load(Ordering::Relaxed) {
            self.parts.pressure.store(until, Ordering::Release);
        }
    }
}

impl Agent for Core {
    fn name(&self) -> &str {
        "tessera-core"
    }

    fn do_work(&mut self) -> usize {
        if !self.parts.seats.is_empty() {
            self.reseat_shards();
        }
        let before = self.seq;
        let mut work = self.poll() + self.reopen_if_due();
        if work == 0
            && !self.parts.frozen
            && let Some(deadline) = self.parts.engine.next_deadline()
            && deadline <= wall_clock()
        {
            let now = self.now();
            self.execute(now, Command::AdvanceTime(AdvanceTime));
            work = 1;
        }
        if work > 0 {
            self.parts.journal_wake.wake();
            self.wake_if_overtaken(before.next());
            self.parts.matching.flush();
        } else {
            self.reattach_market();
        }
        self.watch_run_ahead();
        work
    }

    /// Takes what the closed rings still hold, and leaves the state hash as the journal's last word.
    fn on_stop(&mut self) {
        while self.poll() > 0 {}
        if self.since_hash > 0 {
            self.push_state_hash();
        }
        self.parts.matching.flush();
        self.parts.journal.close();
        for shard in &self.parts.shards {
            if let Some(events) = &shard.events {
                events.close();
            }
            shard.wake.wake();
        }
        if let Some(market) = &self.parts.market {
            market.close();
        }
        self.parts.market_wake.wake();
        self.parts.journal_wake.wake();
    }
}

/// Where one event goes: rings as bits, and those in which it is the last of its command.
#[derive(Clone, Copy)]
struct Target {
    rings: u64,
    last: u64,
}

/// Nanoseconds of UTC; the sequencer forces them monotone.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam::channel;
    use tessera_engine::EngineConfig;
    use tessera_ring::{CursorWriter, Parker};
    use tessera_types::{
        AccountId, ClOrdId, ClientHeader, ConnToken, FenceReason, Generation, Instrument,
        InstrumentId, ListInstrument, Name, NewOrder, Price, Qty, RejectReason, SessionFence,
        SessionLogon, Side,
    };

    use crate::serve::stats::StageHistogram;

    struct NoWake;

    impl Wake for NoWake {
        fn wake(&self) {}
    }

    struct ShardEnds {
        ingress: Producer<Command>,
        urgent: Producer<Command>,
        events: Consumer<EventRecord>,
    }

    /// A core with the test at the other end of every ring.
    struct Bench {
        core: Core,
        shards: Vec<ShardEnds>,
        journal: Consumer<JournalItem>,
        market: Consumer<EventRecord>,
        reattached: Receiver<Reattached>,
        durable: CursorWriter,
        pressure: Arc<AtomicU64>,
        seats: Sender<(u16, ShardLink)>,
        _parker: Parker,
    }

    fn seat(capacity: usize) -> (ShardLink, ShardEnds) {
        let (ingress, ingress_out) = spsc::channel(4096);
        let (urgent, urgent_out) = spsc::channel(64);
        let (events_in, events) = spsc::channel(capacity);
        let link = ShardLink {
            ingress: ingress_out,
            urgent: urgent_out,
            events: Some(events_in),
            wake: Arc::new(NoWake),
        };
        (
            link,
            ShardEnds {
                ingress,
                urgent,
                events,
            },
        )
    }

    fn bench(shards: usize, ring_capacity: usize, run_ahead: Duration) -> Bench {
        let (links, ends) = (0..shards).map(|_| seat(ring_capacity)).unzip();
        let parker = Parker::new();
        let durable = CursorWriter::new(0, Vec::new());
        let (to_journal, journal) = spsc::channel(1 << 14);
        let (to_market, market) = spsc::channel(ring_capacity);
        let (to_reattach, reattached) = channel::bounded(1);
        let (to_seats, seats) = channel::bounded(4);
        let pressure = Arc::new(AtomicU64::new(0));
        let mut core = Core::new(CoreParts {
            engine: Exchange::new(EngineConfig::default()),
            shards: links,
            seats,
            market: Some(to_market),
            market_wake: Arc::new(NoWake),
            market_reattach: to_reattach,
            ring_capacity,
            journal: to_journal,
            journal_wake: parker.unparker(),
            durable: durable.reader(),
            directory: Arc::default(),
            pressure: Arc::clone(&pressure),
            low_disk: Arc::default(),
            run_ahead,
            state_hash_every: STATE_HASH_INTERVAL,
            frozen: false,
            matching: StageHistogram::default().recorder(),
            progress: Arc::default(),
        });
        core.submit(Command::ListInstrument(Box::new(ListInstrument {
            header: ClientHeader::default(),
            instrument: Instrument::plain(Name::new("TEST").unwrap()),
        })));
        Bench {
            core,
            shards: ends,
            journal,
            market,
            reattached,
            durable,
            pressure,
            seats: to_seats,
            _parker: parker,
        }
    }

    fn logon(name: &str, shard: u64) -> Command {
        Command::SessionLogon(Box::new(SessionLogon {
            name: Name::new(name).unwrap(),
            conn: ConnToken::new(shard << 48 | 1),
            received: Timestamp::ZERO,
        }))
    }

    fn order(session: u32, generation: u16, id: u64) -> Command {
        Command::NewOrder(NewOrder::limit(
            ClientHeader {
                session: SessionId::new(session),
                generation: Generation::new(generation),
                account: AccountId::new(1),
                cl_ord_id: ClOrdId::new(id),
                received: Timestamp::ZERO,
            },
            InstrumentId::new(0),
            Side::Buy,
            Price::from_ticks(100),
            Qty::from_lots(1),
        ))
    }

    fn generation_of(bench: &Bench, session: u32) -> Generation {
        bench
            .core
            .engine()
            .session(SessionId::new(session))
            .unwrap()
            .generation
    }

    impl Bench {
        fn work(&mut self) {
            while self.core.poll() > 0 {}
        }

        fn events(&mut self, shard: usize) -> Vec<EventRecord> {
            std::iter::from_fn(|| self.shards[shard].events.try_pop()).collect()
        }
    }

    #[test]
    fn no_order_rests_after_its_fence() {
        let mut bench = bench(1, 1024, Duration::from_secs(1));
        bench.shards[0].ingress.try_push(logon("alice", 0)).unwrap();
        bench.work();
        let generation = generation_of(&bench, 1);
        for id in 1..=10 {
            bench.shards[0]
                .ingress
                .try_push(order(1, generation.get(), id))
                .unwrap();
        }
        bench.work();
        assert_eq!(bench.core.engine().live_orders(), 10);

        // These are in the queue when the fence overtakes them.
        for id in 11..=20 {
            bench.shards[0]
                .ingress
                .try_push(order(1, generation.get(), id))
                .unwrap();
        }
        let fence = Command::SessionFence(SessionFence {
            session: SessionId::new(1),
            generation,
            reason: FenceReason::Kill,
            cancel_orders: true,
            received: Timestamp::ZERO,
        });
        bench.shards[0].urgent.try_push(fence).unwrap();
        bench.work();

        assert_eq!(bench.core.engine().live_orders(), 0);
        let stale = bench
            .events(0)
            .iter()
            .filter(|record| {
                matches!(
                    record.event,
                    Event::Rejected {
                        reason: RejectReason::StaleSession,
                        ..
                    }
                )
            })
            .count();
        assert_eq!(stale, 10);
        // Every command is in the journal, refused or not: listing, logon, 20 orders, fence.
        assert_eq!(bench.journal.len(), 23);
        // The next life trades again.
        bench.shards[0]
            .ingress
            .try_push(order(1, generation.next().get(), 30))
            .unwrap();
        bench.work();
        assert_eq!(bench.core.engine().live_orders(), 1);
    }

    #[test]
    fn a_shard_that_lags_is_evicted_and_the_others_go_on() {
        let mut bench = bench(2, 16, Duration::from_secs(1));
        bench.shards[0].ingress.try_push(logon("slow", 0)).unwrap();
        bench.shards[1].ingress.try_push(logon("fast", 1)).unwrap();
        bench.work();
        let (slow, fast) = (
            generation_of(&bench, 1).get(),
            generation_of(&bench, 2).get(),
        );
        let mut received = bench.events(1).len();
        for id in 1..=100 {
            bench.shards[0]
                .ingress
                .try_push(order(1, slow, id))
                .unwrap();
            bench.shards[1]
                .ingress
                .try_push(order(2, fast, id))
                .unwrap();
            bench.work();
            received += bench.events(1).len();
            while bench.market.try_pop().is_some() {}
        }
        assert!(bench.shards[0].events.is_closed());
        assert!(!bench.shards[1].events.is_closed());
        assert_eq!(bench.core.engine().live_orders(), 200);
        assert_eq!(received, 102); // listing, session started, 100 accepted
        assert_eq!(
            bench.core.parts.progress.evictions.load(Ordering::Relaxed),
            1
        );
        // What was pushed before the eviction is still read.
        assert_eq!(bench.events(0).len(), 16);

        // A new seat in its place: the session can go on there.
        let (link, ends) = seat(16);
        bench.seats.send((0, link)).unwrap();
        bench.shards[0] = ends;
        bench.core.do_work();
        bench.shards[0]
            .ingress
            .try_push(order(1, slow, 101))
            .unwrap();
        bench.work();
        assert_eq!(bench.events(0).len(), 1);
    }

    #[test]
    fn market_data_that_lags_starts_over_from_the_books() {
        let mut bench = bench(1, 16, Duration::from_secs(1));
        bench.shards[0].ingress.try_push(logon("alice", 0)).unwrap();
        bench.work();
        let generation = generation_of(&bench, 1).get();
        for id in 1..=50 {
            bench.shards[0]
                .ingress
                .try_push(order(1, generation, id))
                .unwrap();
            bench.work();
            bench.events(0);
        }
        assert!(bench.market.is_closed());
        assert_eq!(bench.core.do_work(), 0); // the idle moment in which it comes back
        let Reattached { books, .. } = bench.reattached.try_recv().unwrap();
        assert_eq!(books.seq, bench.core.last_seq());
        assert_eq!(books.instruments[0].bids[0].qty, Qty::from_lots(50));
        assert!(bench.core.parts.market.is_some());
    }

    #[test]
    fn saturated_shards_get_equal_shares() {
        let mut bench = bench(3, 1 << 14, Duration::from_secs(1));
        for (index, name) in (0..).zip(["a", "b", "c"]) {
            let ingress = &mut bench.shards[index].ingress;
            ingress.try_push(logon(name, index as u64)).unwrap();
        }
        bench.work();
        for (index, session) in (0..3).zip(1..) {
            let generation = generation_of(&bench, session).get();
            for id in 1..=2000 {
                let command = order(session, generation, id);
                bench.shards[index].ingress.try_push(command).unwrap();
            }
        }
        for _ in 0..9 {
            bench.core.poll();
        }
        let left: Vec<_> = bench
            .shards
            .iter()
            .map(|shard| shard.ingress.len())
            .collect();
        assert_eq!(left, [2000 - 9 * BATCH; 3]);
    }

    #[test]
    fn ingress_is_told_when_the_disk_is_behind_and_when_it_has_caught_up() {
        let mut bench = bench(1, 1024, Duration::from_millis(20));
        bench.core.do_work();
        assert_eq!(bench.pressure.load(Ordering::Acquire), 0);
        let start = std::time::Instant::now();
        while bench.pressure.load(Ordering::Acquire) == 0 {
            bench.core.do_work();
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "pressure never rose"
            );
        }
        assert!(start.elapsed() >= Duration::from_millis(15));
        assert_eq!(
            bench.pressure.load(Ordering::Acquire),
            bench.core.last_seq().get()
        );
        bench.durable.publish(bench.core.last_seq().get());
        bench.core.do_work();
        assert_eq!(bench.pressure.load(Ordering::Acquire), 0);
    }

    #[test]
    fn the_last_record_of_a_command_is_marked_in_every_ring() {
        let mut bench = bench(1, 1024, Duration::from_secs(1));
        bench.shards[0].ingress.try_push(logon("alice", 0)).unwrap();
        bench.work();
        let generation = generation_of(&bench, 1).get();
        bench.shards[0]
            .ingress
            .try_push(order(1, generation, 1))
            .unwrap();
        let mut sell = order(1, generation, 2);
        if let Command::NewOrder(order) = &mut sell {
            order.side = Side::Sell;
        }
        bench.shards[0].ingress.try_push(sell).unwrap();
        bench.work();
        for records in [
            bench.events(0),
            std::iter::from_fn(|| bench.market.try_pop()).collect(),
        ] {
            for pair in records.windows(2) {
                assert_eq!(pair[0].last, pair[0].seq != pair[1].seq);
            }
            assert!(records.last().unwrap().last);
        }
    }

    #[test]
    fn a_stop_finishes_the_queue_and_leaves_the_state_hash() {
        let mut bench = bench(1, 1024, Duration::from_secs(1));
        bench.shards[0].ingress.try_push(logon("alice", 0)).unwrap();
        bench.core.on_stop();
        let items: Vec<_> = std::iter::from_fn(|| bench.journal.try_pop()).collect();
        assert_eq!(items.len(), 3);
        let JournalItem::StateHash { hash, .. } = &items[2] else {
            panic!("{items:?}")
        };
        assert_eq!(*hash, bench.core.engine().state_hash());
        assert!(bench.journal.is_drained());
    }
}
