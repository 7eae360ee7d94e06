//! Market data: the channel's increments, and mirrors that are exact or say that they are not.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tessera_market_data::{
    BookSnapshot, ChannelTracker, Increment, IncrementKind, LevelAction, Mirror, MirrorState,
    ResyncReason, Update,
};
use tessera_proto::codes::{self, MdMode, MdRejectReason, MdRequestKind, MdScope, StreamKind};
use tessera_proto::message::{
    MdReject, MdRequest, Message, NO_INSTRUMENT, SecurityDefinition, StreamStart,
};
use tessera_proto::session::ClientStream;
use tessera_types::{ExecId, InstrumentId, Phase, Seq, Timestamp};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::connect::{Established, LogonInfo};
use crate::error::SessionError;
use crate::frames::FrameReader;
use crate::link::{Incoming, Owner};

/// What the feed says.
#[derive(Clone, Debug, PartialEq)]
pub enum FeedEvent {
    /// An instrument was listed.
    Listed(Box<SecurityDefinition>),
    /// One increment of the channel, as it came, with its number; those of one command come together
    /// and end with [`IncrementKind::EndOfEvent`].
    Increment(Increment),
    /// The mirror of this instrument has a new, exact book.
    Book(InstrumentId),
    /// The mirror of this instrument has lost its book; a snapshot has been asked for.
    Lost {
        /// Which.
        instrument: InstrumentId,
        /// Why.
        reason: ResyncReason,
    },
}

/// A session of `txp-md/1` with a mirror for each instrument that was subscribed to.
pub struct Feed {
    link: Arc<Owner>,
    info: LogonInfo,
    notices: mpsc::Receiver<Message>,
    incoming: mpsc::UnboundedReceiver<Incoming>,
    channel: Option<(StreamStart, FrameReader)>,
    tracker: ChannelTracker,
    /// Messages of the command that is not complete yet.
    command: Vec<(u64, Message)>,
    books: BTreeMap<InstrumentId, Book>,
    all: bool,
    /// Requests under way, with the instrument of those that are about one.
    asked: HashMap<u64, Option<InstrumentId>>,
    /// Instruments to ask for again at that time, because the server was busy.
    retry: Option<(Instant, Vec<InstrumentId>)>,
    events: VecDeque<FeedEvent>,
}

struct Book {
    mirror: Mirror,
    definition: Option<SecurityDefinition>,
    asked: bool,
}

impl Book {
    fn new(instrument: InstrumentId) -> Self {
        Self {
            mirror: Mirror::new(instrument),
            definition: None,
            asked: true, // the subscription asks for every snapshot of its scope
        }
    }
}

impl Feed {
    pub(crate) fn new(established: Established) -> Self {
        let Established { link, ends, info } = established;
        Self {
            link,
            info,
            notices: ends.notices,
            incoming: ends.incoming,
            channel: None,
            tracker: ChannelTracker::new(),
            command: Vec::new(),
            books: BTreeMap::new(),
            all: false,
            asked: HashMap::new(),
            retry: None,
            events: VecDeque::new(),
        }
    }

    /// What the server said when the session began.
    #[must_use]
    pub const fn info(&self) -> &LogonInfo {
        &self.info
    }

    /// Subscribes to every instrument, those that will be listed later included.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn subscribe_all(&mut self) -> Result<(), SessionError> {
        self.all = true;
        // First the channel, then the list: a listing in between is in both, not in neither.
        self.request(MdRequestKind::Subscribe, None)?;
        for definition in self.link.instruments().await? {
            self.book(definition.instrument).definition = Some(definition);
        }
        Ok(())
    }

    /// Subscribes to one instrument.
    ///
    /// # Errors
    /// [`SessionError`].
    pub fn subscribe(&mut self, instrument: InstrumentId) -> Result<(), SessionError> {
        self.book(instrument);
        self.request(MdRequestKind::Subscribe, Some(instrument))
    }

    /// The definitions of all instruments.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn instruments(&self) -> Result<Vec<SecurityDefinition>, SessionError> {
        self.link.instruments().await
    }

    /// The mirror of an instrument that was subscribed to.
    #[must_use]
    pub fn mirror(&self, instrument: InstrumentId) -> Option<&Mirror> {
        self.books.get(&instrument).map(|book| &book.mirror)
    }

    /// Every mirror, by instrument.
    pub fn mirrors(&self) -> impl Iterator<Item = &Mirror> {
        self.books.values().map(|book| &book.mirror)
    }

    /// The definition of an instrument, once it is known.
    #[must_use]
    pub fn definition(&self, instrument: InstrumentId) -> Option<&SecurityDefinition> {
        self.books.get(&instrument)?.definition.as_ref()
    }

    /// The next event that is here already.
    pub fn try_next(&mut self) -> Option<FeedEvent> {
        self.events.pop_front()
    }

    /// Waits for the next event. The mirrors are as new as the newest event that is here, so a caller
    /// who is behind sees a later book than the event that it reads. Cancel safe.
    ///
    /// # Errors
    /// [`SessionError`]: the session is over, or a subscription was refused.
    pub async fn next_event(&mut self) -> Result<FeedEvent, SessionError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let retry_at = self.retry.as_ref().map(|(at, _)| *at);
            tokio::select! {
                biased; // everything that was said comes before the end
                Some(incoming) = self.incoming.recv() => self.on_incoming(incoming)?,
                filled = fill(self.channel.as_mut()), if self.channel.is_some() => {
                    if filled {
                        self.on_frames()?;
                    } else {
                        // Reset, with MdReject to follow on the control stream, or unsubscribed.
                        self.channel = None;
                        self.command.clear();
                    }
                }
                Some(notice) = self.notices.recv() => self.on_notice(notice)?,
                () = tokio::time::sleep_until(retry_at.unwrap_or_else(Instant::now)),
                    if retry_at.is_some() => self.retry_now()?,
                error = self.link.ended() => return Err(error),
            }
        }
    }

    /// Logs out and waits for the server's answer.
    ///
    /// # Errors
    /// [`SessionError`] when the session ended in another way.
    pub async fn logout(self) -> Result<(), SessionError> {
        self.link.logout().await
    }

    fn book(&mut self, instrument: InstrumentId) -> &mut Book {
        let book = self.books.entry(instrument);
        book.or_insert_with(|| Book::new(instrument))
    }

    fn request(
        &mut self,
        kind: MdRequestKind,
        instrument: Option<InstrumentId>,
    ) -> Result<(), SessionError> {
        let request_id = self.link.next_request();
        self.link.send_control(&MdRequest {
            request_id,
            kind,
            scope: match instrument {
                Some(_) => MdScope::Instrument,
                None => MdScope::All,
            },
            instrument: instrument.unwrap_or(NO_INSTRUMENT),
            channel: 0,
            depth: 0,
            mode: MdMode::Stream,
        })?;
        self.asked.insert(request_id, instrument);
        Ok(())
    }

    fn on_incoming(&mut self, incoming: Incoming) -> Result<(), SessionError> {
        match incoming {
            Incoming::Channel(start, reader) => {
                self.channel = Some((start, reader));
                self.tracker = ChannelTracker::new();
                self.command.clear();
                self.on_frames()
            }
            Incoming::Snapshot(start, snapshot) => self.on_snapshot(&start, &snapshot),
            Incoming::Events(_) => Ok(()),
        }
    }

    fn on_snapshot(
        &mut self,
        start: &StreamStart,
        snapshot: &BookSnapshot,
    ) -> Result<(), SessionError> {
        if self.asked.get(&start.request_id) == Some(&Some(snapshot.instrument)) {
            self.asked.remove(&start.request_id);
        }
        if !self.all && !self.books.contains_key(&snapshot.instrument) {
            return Ok(());
        }
        let book = self.book(snapshot.instrument);
        book.asked = false;
        let update = book.mirror.on_snapshot(snapshot);
        self.on_update(snapshot.instrument, update)
    }

    fn on_frames(&mut self) -> Result<(), SessionError> {
        let Some((start, reader)) = &mut self.channel else {
            return Ok(());
        };
        let epoch = start.epoch;
        let mut came = Vec::new();
        let stream = ClientStream::Opened(StreamKind::Channel);
        let taken = self.link.take_frames(reader, stream, |seq, _, message| {
            came.push((seq, message));
        });
        taken.inspect_err(|error| self.link.fail(error.clone()))?;
        for (seq, message) in came {
            // The end of event names the command and its time, which all its increments have.
            let end = match &message {
                Message::EndOfEvent(end) => Some((end.engine_seq, end.transact_time)),
                _ => None,
            };
            self.command.push((seq, message));
            if let Some((engine_seq, time)) = end {
                self.on_command(epoch, engine_seq, time)?;
            }
        }
        Ok(())
    }

    fn on_command(
        &mut self,
        epoch: u64,
        engine_seq: Seq,
        time: Timestamp,
    ) -> Result<(), SessionError> {
        let mut last = NO_INSTRUMENT;
        for (channel_seq, message) in std::mem::take(&mut self.command) {
            let Some((instrument, rpt_seq, last_fragment, kind)) = parts(&message, last) else {
                continue;
            };
            last = instrument;
            let increment = Increment {
                channel_seq,
                epoch,
                seq: engine_seq,
                time,
                instrument,
                rpt_seq,
                last_fragment,
                kind,
            };
            if let Some(gap) = self.tracker.on_increment(&increment) {
                let instruments: Vec<InstrumentId> = self.books.keys().copied().collect();
                for lost in instruments {
                    let update = self.book(lost).mirror.on_channel_gap(gap);
                    self.on_update(lost, update)?;
                }
            }
            let wanted = self.all || self.books.contains_key(&instrument);
            if kind == IncrementKind::EndOfEvent || !wanted {
                if kind == IncrementKind::EndOfEvent {
                    self.events.push_back(FeedEvent::Increment(increment));
                }
                continue;
            }
            self.events.push_back(FeedEvent::Increment(increment));
            if let Message::SecurityDefinition(definition) = message {
                self.on_listed(definition, &increment)?;
            } else {
                let update = self.book(instrument).mirror.on_increment(&increment);
                self.on_update(instrument, update)?;
            }
        }
        Ok(())
    }

    /// A new instrument needs no snapshot: its book is empty now.
    fn on_listed(
        &mut self,
        definition: SecurityDefinition,
        increment: &Increment,
    ) -> Result<(), SessionError> {
        let instrument = definition.instrument;
        let book = self.book(instrument);
        book.definition = Some(definition);
        book.asked = false;
        let update = book.mirror.on_snapshot(&BookSnapshot {
            request: 0,
            instrument,
            epoch: increment.epoch,
            last_seq_applied: increment.channel_seq,
            rpt_seq: increment.rpt_seq,
            seq: increment.seq,
            time: increment.time,
            phase: Phase::Continuous,
            bids: Vec::new(),
            asks: Vec::new(),
            last_trade: None,
        });
        let listed = FeedEvent::Listed(Box::new(definition));
        self.events.push_back(listed);
        self.on_update(instrument, update)
    }

    fn on_update(&mut self, instrument: InstrumentId, update: Update) -> Result<(), SessionError> {
        match update {
            Update::Ignored | Update::Buffered | Update::Staged => Ok(()),
            Update::Applied => {
                self.events.push_back(FeedEvent::Book(instrument));
                Ok(())
            }
            Update::SnapshotNeeded(reason) => {
                let book = self.book(instrument);
                if book.asked {
                    return Ok(());
                }
                book.asked = true;
                self.events
                    .push_back(FeedEvent::Lost { instrument, reason });
                self.request(MdRequestKind::Snapshot, Some(instrument))
            }
        }
    }

    fn on_notice(&mut self, notice: Message) -> Result<(), SessionError> {
        let Message::MdReject(MdReject { request_id, reason }) = notice else {
            // A channel heartbeat can overtake the channel, whose stream loses nothing itself.
            return Ok(());
        };
        let about = self.asked.remove(&request_id);
        match (reason, about.flatten()) {
            (MdRejectReason::Lagged, _) => self.subscribe_again(),
            (MdRejectReason::Busy, Some(instrument)) => {
                let later = (Instant::now() + RETRY, Vec::new());
                self.retry.get_or_insert(later).1.push(instrument);
                Ok(())
            }
            _ => Err(SessionError::MarketData { request_id, reason }),
        }
    }

    /// The channel was reset because this side read too slowly: every book comes anew.
    fn subscribe_again(&mut self) -> Result<(), SessionError> {
        self.channel = None;
        self.command.clear();
        let instruments: Vec<InstrumentId> = self.books.keys().copied().collect();
        for &instrument in &instruments {
            let book = self.book(instrument);
            book.asked = true;
            book.mirror.on_reset();
            if let MirrorState::Resyncing(reason) = book.mirror.state() {
                self.events
                    .push_back(FeedEvent::Lost { instrument, reason });
            }
        }
        if self.all {
            return self.request(MdRequestKind::Subscribe, None);
        }
        for instrument in instruments {
            self.request(MdRequestKind::Subscribe, Some(instrument))?;
        }
        Ok(())
    }

    fn retry_now(&mut self) -> Result<(), SessionError> {
        for instrument in self.retry.take().map_or_else(Vec::new, |(_, again)| again) {
            self.request(MdRequestKind::Snapshot, Some(instrument))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("books", &self.books.len())
            .field("queued", &self.events.len())
            .finish_non_exhaustive()
    }
}

/// Instrument, number, last fragment and content of a channel's message. An end of event is about
/// `last`, the instrument before it.
fn parts(
    message: &Message,
    last: InstrumentId,
) -> Option<(InstrumentId, u32, bool, IncrementKind)> {
    Some(match message {
        Message::L2Update(m) => {
            let kind = IncrementKind::Level {
                side: m.side,
                price: m.price,
                qty: m.qty,
                orders: m.orders,
                action: match m.action {
                    codes::LevelAction::Set => LevelAction::Change,
                    codes::LevelAction::Delete => LevelAction::Delete,
                },
            };
            (m.instrument, m.rpt_seq, m.last_fragment, kind)
        }
        Message::Trade(m) => {
            let kind = IncrementKind::Trade {
                price: m.price,
                qty: m.qty,
                aggressor: m.aggressor,
                match_id: ExecId::new(m.match_id),
            };
            (m.instrument, m.rpt_seq, m.last_fragment, kind)
        }
        Message::Status(m) => {
            let kind = IncrementKind::Status { phase: m.phase };
            (m.instrument, m.rpt_seq, m.last_fragment, kind)
        }
        Message::BookChecksum(m) => {
            let kind = IncrementKind::Checksum { crc: m.checksum };
            (m.instrument, m.rpt_seq, true, kind)
        }
        Message::SecurityDefinition(m) => (m.instrument, 1, true, IncrementKind::Listed),
        Message::EndOfEvent(_) => (last, 0, true, IncrementKind::EndOfEvent),
        _ => return None,
    })
}

/// Whether there is more to read.
async fn fill(channel: Option<&mut (StreamStart, FrameReader)>) -> bool {
    match channel {
        Some((_, reader)) => reader.fill().await.unwrap_or(false),
        None => false,
    }
}

const RETRY: Duration = Duration::from_millis(100);
