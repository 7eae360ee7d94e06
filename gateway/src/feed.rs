//! Market data for the subscribers of one shard.
//!
//! Every increment is encoded once, into one buffer per drain of the feed ring, and each subscriber's
//! channel stream gets a reference to that buffer. A subscription chooses which snapshots are sent;
//! the channel carries all instruments, so its numbers have no gaps.

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tessera_market_data::{
    BookSnapshot, FeedItem, Increment, IncrementKind, LevelAction, SnapshotRequest,
};
use tessera_proto::codes::{
    self, CloseCode, MdMode, MdRejectReason, MdRequestKind, MdScope, StreamKind,
};
use tessera_proto::message::{
    BookChecksum, ChannelHeartbeat, EndOfEvent, L2Update, LevelEntry, MdReject, MdRequest,
    SecurityDefinition, Snapshot, Status, StreamStart, Trade,
};
use tessera_proto::{Body, Flags};
use tessera_types::{InstrumentId, Price, Qty, Seq, Side, Timestamp};
use tokio::task::spawn_local;

use crate::outbox::{LagLimit, Outbox};
use crate::ports::{Directory, SnapshotRequests};

/// The subscribers of a shard and what they wait for.
#[derive(Debug)]
pub(crate) struct FeedHub {
    shard: u16,
    epoch: u64,
    /// Number of the next increment on the channel, as far as this shard knows.
    next_seq: u64,
    /// Frames of the drain in progress, and how many.
    batch: Vec<u8>,
    batched: usize,
    subscribers: HashMap<u64, Subscriber>,
    next_request: u64,
    /// Snapshot requests that the market-data thread has not answered, by their number.
    asked: HashMap<u64, Asked>,
    encoded: u64,
}

#[derive(Debug)]
struct Subscriber {
    connection: quinn::Connection,
    control: Rc<Outbox>,
    /// The request that opened the channel, and its stream.
    channel: Option<(u64, Rc<Outbox>)>,
    /// Snapshots to ask for.
    wanted: VecDeque<Wanted>,
    /// Requests whose snapshots are not all asked for and answered, with how many are missing.
    open: HashMap<u64, usize>,
    /// Snapshot requests under way.
    asked: usize,
    /// Snapshot streams being written.
    writing: Rc<std::cell::Cell<usize>>,
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    request_id: u64,
    instrument: InstrumentId,
    depth: u8,
}

#[derive(Debug)]
struct Asked {
    subscriber: u64,
    wanted: Wanted,
    at: Instant,
}

impl FeedHub {
    pub(crate) fn new(shard: u16, epoch: u64) -> Self {
        Self {
            shard,
            epoch,
            next_seq: 1,
            batch: Vec::new(),
            batched: 0,
            subscribers: HashMap::new(),
            next_request: 1,
            asked: HashMap::new(),
            encoded: 0,
        }
    }

    /// Adds a connection that may ask for market data.
    pub(crate) fn join(&mut self, id: u64, connection: quinn::Connection, control: Rc<Outbox>) {
        let subscriber = Subscriber {
            connection,
            control,
            channel: None,
            wanted: VecDeque::new(),
            open: HashMap::new(),
            asked: 0,
            writing: Rc::default(),
        };
        self.subscribers.insert(id, subscriber);
    }

    /// Forgets a connection.
    pub(crate) fn leave(&mut self, id: u64) {
        if let Some(subscriber) = self.subscribers.remove(&id)
            && let Some((_, channel)) = subscriber.channel
        {
            channel.reset(code(CloseCode::Done));
        }
        self.asked.retain(|_, asked| asked.subscriber != id);
    }

    /// How many channels are live.
    pub(crate) fn live(&self) -> usize {
        let subscribers = self.subscribers.values();
        subscribers.filter(|one| one.channel.is_some()).count()
    }

    /// Increments encoded since the last call.
    pub(crate) fn take_encoded(&mut self) -> u64 {
        std::mem::take(&mut self.encoded)
    }

    /// Takes a client's request; what can be answered at once is answered on its control stream.
    pub(crate) fn on_request(
        &mut self,
        id: u64,
        request: &MdRequest,
        directory: &Directory,
        durable: Seq,
    ) {
        let (epoch, next_seq) = (self.epoch, self.next_seq);
        let Some(subscriber) = self.subscribers.get_mut(&id) else {
            return;
        };
        if let Err(reason) = subscriber.take_request(request, epoch, next_seq, directory, durable) {
            subscriber.refuse(request.request_id, reason);
        }
    }

    /// Asks for snapshots that are wanted, again for those that got no answer, and ends channels
    /// whose reader is too far behind. Returns how many were ended.
    pub(crate) fn tick(&mut self, snapshots: &SnapshotRequests, limit: &LagLimit) -> u64 {
        let lost: Vec<u64> = self
            .asked
            .iter()
            .filter(|(_, asked)| asked.at.elapsed() > ANSWER_TIMEOUT)
            .map(|(&number, _)| number)
            .collect();
        for number in lost {
            // The answer was lost with a feed ring that ran full, or is late: one more is harmless.
            if let Some(asked) = self.asked.remove(&number)
                && let Some(subscriber) = self.subscribers.get_mut(&asked.subscriber)
            {
                subscriber.asked -= 1;
                subscriber.wanted.push_back(asked.wanted);
            }
        }
        let ended = self
            .subscribers
            .values_mut()
            .map(|subscriber| subscriber.drop_if_lagging(limit))
            .sum();
        self.ask(snapshots);
        ended
    }

    /// Passes wanted snapshots to the market-data thread, as many as there is room for.
    pub(crate) fn ask(&mut self, snapshots: &SnapshotRequests) {
        let mut any = false;
        for (&id, subscriber) in &mut self.subscribers {
            while subscriber.asked + subscriber.writing.get() < SNAPSHOTS_AT_ONCE
                && let Some(&wanted) = subscriber.wanted.front()
            {
                let request = SnapshotRequest {
                    shard: self.shard,
                    request: self.next_request,
                    instrument: wanted.instrument,
                };
                if snapshots.sender.try_send(request).is_err() {
                    break; // full: the next tick tries again
                }
                any = true;
                subscriber.wanted.pop_front();
                subscriber.asked += 1;
                let asked = Asked {
                    subscriber: id,
                    wanted,
                    at: Instant::now(),
                };
                self.asked.insert(self.next_request, asked);
                self.next_request += 1;
            }
        }
        if any {
            snapshots.wake.wake();
        }
    }

    /// Takes the next item of the feed ring.
    pub(crate) fn on_item(&mut self, item: FeedItem, directory: &Directory, durable: Seq) {
        match item {
            FeedItem::Increment(increment) => self.on_increment(&increment, directory, durable),
            FeedItem::Snapshot(snapshot) => {
                // The increments before it go out first: the snapshot contains them.
                self.flush();
                self.on_snapshot(&snapshot);
            }
            FeedItem::Refused { request, .. } => {
                if let Some((wanted, subscriber)) = self.answered(request.request) {
                    subscriber.settle(wanted.request_id);
                    subscriber.refuse(wanted.request_id, MdRejectReason::UnknownInstrument);
                }
            }
        }
    }

    /// Sends what the drain has encoded, one reference per subscriber.
    pub(crate) fn flush(&mut self) {
        if self.batched == 0 {
            return;
        }
        let messages = std::mem::take(&mut self.batched);
        // A fresh buffer of the same size: the old one lives until the slowest subscriber has it.
        let next = Vec::with_capacity(self.batch.capacity().min(MAX_SPARE));
        let bytes = Bytes::from(std::mem::replace(&mut self.batch, next));
        for subscriber in self.subscribers.values() {
            if let Some((_, channel)) = &subscriber.channel {
                channel.push(bytes.clone(), messages);
            }
        }
    }

    /// Tells one subscriber the channel's next number; nothing without a live channel.
    pub(crate) fn heartbeat(&self, id: u64) {
        if let Some(subscriber) = self.subscribers.get(&id)
            && subscriber.channel.is_some()
        {
            let beat = ChannelHeartbeat {
                channel: CHANNEL,
                epoch: self.epoch,
                next_seq: self.next_seq,
            };
            subscriber.tell(&beat);
        }
    }

    fn on_increment(&mut self, increment: &Increment, directory: &Directory, durable: Seq) {
        if increment.epoch != self.epoch {
            self.restart(increment.epoch);
        }
        self.next_seq = increment.channel_seq + 1;
        if let IncrementKind::Status { phase } = increment.kind {
            directory.set_phase(increment.instrument, increment.seq, phase);
        }
        if self.live() == 0 {
            return;
        }
        encode(increment, directory, durable, &mut self.batch);
        self.batched += 1;
        self.encoded += 1;
    }

    /// The channel's numbers start over: every subscriber's book is void, and says so.
    fn restart(&mut self, epoch: u64) {
        self.flush();
        self.epoch = epoch;
        self.next_seq = 1;
        for subscriber in self.subscribers.values_mut() {
            subscriber.drop_channel();
        }
    }

    fn on_snapshot(&mut self, snapshot: &BookSnapshot) {
        let epoch = snapshot.epoch;
        if epoch != self.epoch {
            self.restart(epoch);
            self.next_seq = snapshot.last_seq_applied + 1;
        }
        if let Some((wanted, subscriber)) = self.answered(snapshot.request) {
            subscriber.settle(wanted.request_id);
            subscriber.send_snapshot(wanted, epoch, encode_snapshot(&wanted, snapshot));
        }
    }

    fn answered(&mut self, number: u64) -> Option<(Wanted, &mut Subscriber)> {
        let asked = self.asked.remove(&number)?;
        let subscriber = self.subscribers.get_mut(&asked.subscriber)?;
        subscriber.asked -= 1;
        Some((asked.wanted, subscriber))
    }
}

impl Subscriber {
    fn take_request(
        &mut self,
        request: &MdRequest,
        epoch: u64,
        next_seq: u64,
        directory: &Directory,
        durable: Seq,
    ) -> Result<(), MdRejectReason> {
        if request.channel != CHANNEL {
            return Err(MdRejectReason::UnsupportedChannel);
        }
        if request.kind == MdRequestKind::Unsubscribe {
            if let Some((_, channel)) = self.channel.take() {
                channel.finish();
            }
            self.wanted.clear();
            self.open.clear();
            return Ok(());
        }
        if request.mode != MdMode::Stream {
            return Err(MdRejectReason::UnsupportedMode);
        }
        let serving = self.channel.as_ref().map(|(request_id, _)| *request_id);
        if request.request_id == 0
            || self.open.contains_key(&request.request_id)
            || serving == Some(request.request_id)
        {
            return Err(MdRejectReason::DuplicateRequest);
        }
        let instruments: Vec<InstrumentId> = match request.scope {
            MdScope::Instrument => match directory.get(request.instrument, durable) {
                Some(listed) => vec![listed.id],
                None => return Err(MdRejectReason::UnknownInstrument),
            },
            MdScope::All => directory
                .visible(durable)
                .iter()
                .map(|one| one.id)
                .collect(),
        };
        if self.open.len() >= REQUESTS_AT_ONCE {
            return Err(MdRejectReason::Busy);
        }
        if request.kind == MdRequestKind::Subscribe && self.channel.is_none() {
            self.open_channel(request.request_id, epoch, next_seq);
        }
        // A snapshot that is already on its way to somebody else's request is asked for again: each
        // request has its own streams.
        let waiting: HashSet<InstrumentId> = instruments.iter().copied().collect();
        if !waiting.is_empty() {
            self.open.insert(request.request_id, instruments.len());
        }
        self.wanted
            .extend(instruments.into_iter().map(|instrument| Wanted {
                request_id: request.request_id,
                instrument,
                depth: request.depth,
            }));
        Ok(())
    }

    /// Increments go to the stream from now on, before any snapshot: the client buffers them.
    fn open_channel(&mut self, request_id: u64, epoch: u64, next_seq: u64) {
        let outbox = Rc::new(Outbox::unopened());
        let start = StreamStart {
            kind: StreamKind::Channel,
            channel: CHANNEL,
            instrument: InstrumentId::default(),
            request_id,
            epoch,
            next_seq,
        };
        outbox.push(frame(&start), 1);
        let task = Rc::clone(&outbox);
        let connection = self.connection.clone();
        spawn_local(async move { task.run(open(&connection, CHANNEL_PRIORITY)).await });
        self.channel = Some((request_id, outbox));
    }

    fn drop_if_lagging(&mut self, limit: &LagLimit) -> u64 {
        let lagging = self
            .channel
            .as_ref()
            .is_some_and(|(_, channel)| limit.exceeded_by(channel.lag()));
        if lagging {
            self.drop_channel();
        }
        u64::from(lagging)
    }

    fn drop_channel(&mut self) {
        if let Some((request_id, channel)) = self.channel.take() {
            channel.reset(code(CloseCode::Lagged));
            self.refuse(request_id, MdRejectReason::Lagged);
        }
    }

    fn send_snapshot(&self, wanted: Wanted, epoch: u64, frames: Vec<u8>) {
        let start = StreamStart {
            kind: StreamKind::Snapshot,
            channel: CHANNEL,
            instrument: wanted.instrument,
            request_id: wanted.request_id,
            epoch,
            next_seq: 0,
        };
        let mut bytes = Vec::with_capacity(frames.len() + 64);
        start.encode_frame(0, Flags::NONE, &mut bytes);
        bytes.extend_from_slice(&frames);
        let connection = self.connection.clone();
        let writing = Rc::clone(&self.writing);
        writing.set(writing.get() + 1);
        spawn_local(async move {
            send_whole(&connection, SNAPSHOT_PRIORITY, bytes.into()).await;
            writing.set(writing.get() - 1);
        });
    }

    /// One snapshot of the request has been answered.
    fn settle(&mut self, request_id: u64) {
        if let Some(missing) = self.open.get_mut(&request_id) {
            *missing -= 1;
            if *missing == 0 {
                self.open.remove(&request_id);
            }
        }
    }

    fn refuse(&self, request_id: u64, reason: MdRejectReason) {
        self.tell(&MdReject { request_id, reason });
    }

    fn tell(&self, body: &impl Body) {
        self.control.push(frame(body), 1);
    }
}

/// Opens a stream of the server, writes it whole and ends it. Used for answers that exist at once;
/// quinn keeps what the peer has no credit for, within the connection's send window.
pub(crate) async fn send_whole(connection: &quinn::Connection, priority: i32, bytes: Bytes) {
    if let Ok(mut stream) = open(connection, priority).await
        && stream.write_chunk(bytes).await.is_ok()
    {
        let _ = stream.finish(); // fails only when the peer has stopped the stream
    }
}

/// Opens a stream of the server; waits while the peer allows no more.
pub(crate) async fn open(
    connection: &quinn::Connection,
    priority: i32,
) -> Result<quinn::SendStream, quinn::ConnectionError> {
    let stream = connection.open_uni().await?;
    let _ = stream.set_priority(priority); // fails only on a stream that has ended
    Ok(stream)
}

pub(crate) fn frame(body: &impl Body) -> Bytes {
    let mut bytes = Vec::with_capacity(128);
    body.encode_frame(0, Flags::NONE, &mut bytes);
    bytes.into()
}

pub(crate) fn code(code: CloseCode) -> quinn::VarInt {
    quinn::VarInt::from_u32(u32::from(code.code()))
}

fn encode(increment: &Increment, directory: &Directory, durable: Seq, out: &mut Vec<u8>) {
    let Increment {
        channel_seq: seq,
        instrument,
        rpt_seq,
        last_fragment,
        ..
    } = *increment;
    match increment.kind {
        IncrementKind::Level {
            side,
            price,
            qty,
            orders,
            action,
        } => L2Update {
            instrument,
            rpt_seq,
            side,
            action: match action {
                LevelAction::New | LevelAction::Change => codes::LevelAction::Set,
                LevelAction::Delete => codes::LevelAction::Delete,
            },
            price,
            qty,
            orders,
            last_fragment,
        }
        .encode_frame(seq, Flags::NONE, out),
        IncrementKind::Trade {
            price,
            qty,
            aggressor,
            match_id,
        } => Trade {
            instrument,
            rpt_seq,
            aggressor,
            price,
            qty,
            match_id: match_id.get(),
            transact_time: increment.time,
            last_fragment,
        }
        .encode_frame(seq, Flags::NONE, out),
        IncrementKind::Status { phase } => Status {
            instrument,
            rpt_seq,
            phase,
            transact_time: increment.time,
            last_fragment,
        }
        .encode_frame(seq, Flags::NONE, out),
        // Its book is empty, so who subscribes to all needs no snapshot of it.
        // The core lists before it publishes, and the feed is durable: the definition is there. If it
        // were not, the number would be missing from the stream and the subscriber would see the gap.
        IncrementKind::Listed => {
            if let Some(listed) = directory.get(instrument, durable.max(increment.seq)) {
                SecurityDefinition::new(listed.id, &listed.definition, listed.phase).encode_frame(
                    seq,
                    Flags::NONE,
                    out,
                );
            }
        }
        IncrementKind::Checksum { crc } => BookChecksum {
            instrument,
            rpt_seq,
            checksum: crc,
        }
        .encode_frame(seq, Flags::NONE, out),
        IncrementKind::EndOfEvent => EndOfEvent {
            engine_seq: increment.seq,
            transact_time: increment.time,
        }
        .encode_frame(seq, Flags::LAST_IN_BATCH, out),
    }
}

fn encode_snapshot(wanted: &Wanted, snapshot: &BookSnapshot) -> Vec<u8> {
    let depth = match wanted.depth {
        0 => usize::MAX,
        levels => usize::from(levels),
    };
    let entries: Vec<LevelEntry> = [(Side::Buy, &snapshot.bids), (Side::Sell, &snapshot.asks)]
        .into_iter()
        .flat_map(|(side, levels)| {
            levels.iter().take(depth).map(move |level| LevelEntry {
                side,
                price: level.price,
                qty: level.qty,
                orders: level.orders,
            })
        })
        .collect();
    let mut frames = Vec::new();
    let mut parts: Vec<&[LevelEntry]> = entries.chunks(Snapshot::MAX_ENTRIES).collect();
    if parts.is_empty() {
        parts.push(&[]);
    }
    let last = parts.len() - 1;
    for (index, part) in parts.into_iter().enumerate() {
        let flags = if index == last {
            Flags::LAST_IN_BATCH
        } else {
            Flags::NONE
        };
        let body = Snapshot {
            instrument: snapshot.instrument,
            last_seq: snapshot.last_seq_applied,
            rpt_seq: snapshot.rpt_seq,
            phase: snapshot.phase,
            engine_seq: snapshot.seq,
            transact_time: snapshot.time,
            last_px: snapshot.last_trade.map_or(Price::ZERO, |trade| trade.price),
            last_qty: snapshot.last_trade.map_or(Qty::ZERO, |trade| trade.qty),
            last_time: snapshot
                .last_trade
                .map_or(Timestamp::ZERO, |trade| trade.time),
            entries: part.to_vec(),
        };
        body.encode_frame(0, flags, &mut frames);
    }
    frames
}

/// The one channel there is so far: every instrument, market by price.
const CHANNEL: u16 = 0;
const CHANNEL_PRIORITY: i32 = 20;
const SNAPSHOT_PRIORITY: i32 = -10;
/// Snapshots of one subscriber that are being made or written: they bound what a slow one can hold.
const SNAPSHOTS_AT_ONCE: usize = 16;
const REQUESTS_AT_ONCE: usize = 16;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_SPARE: usize = 256 * 1024;
