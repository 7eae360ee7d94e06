//! The load's lanes: one session each, all in one thread.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use tessera_client::baseline::Echo;
use tessera_client::{OrderEvents, OrderSender, OrderSession};
use tessera_types::ClOrdId;

use crate::client_args::VerbError;
use crate::load::ledger::{Done, Kind, Ledger, Outcome};
use crate::load::mix::Mix;
use crate::load::pacer::Pacer;
use crate::load::schedule::Schedule;
use crate::load::stats::Latencies;
use crate::trade::message_of;

/// When requests may go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// This many without an answer at most; latency counts from the write.
    Closed { window: usize },
    /// At the times of a schedule that began then, whatever is answered; latency counts from the
    /// times that were meant.
    Open { schedule: Schedule, start: Instant },
}

impl Pace {
    /// How many requests may go now, of `left`.
    fn allowed(&self, sent: u64, unanswered: usize, left: u64, now: Instant) -> u64 {
        let room = match self {
            Self::Closed { window } => window.saturating_sub(unanswered) as u64,
            Self::Open { schedule, start } => {
                let due = schedule.due_by(now.saturating_duration_since(*start));
                due.saturating_sub(sent)
            }
        };
        room.min(left)
    }

    /// From when the latency of request `n` counts, when it is sent at `now`.
    fn counts_from(&self, n: u64, now: Instant) -> Instant {
        match self {
            Self::Closed { .. } => now,
            Self::Open { schedule, start } => *start + schedule.due(n),
        }
    }

    /// How long until request `n` may go, if that does not depend on answers.
    fn wait(&self, n: u64) -> Option<Duration> {
        match self {
            Self::Closed { .. } => None,
            Self::Open { schedule, start } => {
                let due = *start + schedule.due(n);
                Some(due.saturating_duration_since(Instant::now()))
            }
        }
    }
}

/// One session of the load and its books.
pub(crate) struct Lane {
    pub(crate) sender: OrderSender,
    pub(crate) events: OrderEvents,
    pub(crate) ledger: Ledger,
    pub(crate) latencies: Latencies,
}

impl Lane {
    pub(crate) fn new(session: OrderSession, first: ClOrdId) -> Self {
        let (sender, events) = session.split();
        Self {
            sender,
            events,
            ledger: Ledger::new(first),
            latencies: Latencies::new(),
        }
    }

    /// Sends `count` requests of the mix and waits for all their answers.
    pub(crate) async fn run(
        &mut self,
        mix: &mut Mix,
        count: u64,
        pace: Pace,
        batch: u64,
        acks: Option<&RefCell<Acks>>,
    ) -> Result<(), VerbError> {
        let pacer = Pacer::new()?;
        let mut sent = 0;
        while sent < count || self.ledger.unanswered() > 0 {
            let now = Instant::now();
            let allowed = pace.allowed(sent, self.ledger.unanswered(), count - sent, now);
            for _ in 0..allowed.min(batch) {
                let (kind, request) = mix.next(self.ledger.next_id());
                self.ledger.send(kind, pace.counts_from(sent, now));
                self.sender.queue(request)?;
                sent += 1;
            }
            let more = allowed > batch;
            let wait = pace.wait(sent).filter(|_| sent < count && !more);
            tokio::select! {
                flushed = self.sender.flush(), if self.sender.queued() > 0 => {
                    flushed?;
                    // Requests that may go at once still go after a look at what has come.
                    continue;
                }
                event = self.events.next_event() => self.on_events(event?, acks, |_| {})?,
                slept = pacer.sleep(wait.unwrap_or_default()), if wait.is_some() => slept?,
                () = tokio::time::sleep(PATIENCE), if !more => {
                    if self.ledger.unanswered() > 0 && wait.is_none_or(|wait| wait < PATIENCE) {
                        return Err(self.no_answer());
                    }
                }
                () = std::future::ready(()), if more => {}
            }
        }
        Ok(())
    }

    /// Writes what is queued and waits until everything is answered. `see` gets every message.
    pub(crate) async fn settle(
        &mut self,
        acks: Option<&RefCell<Acks>>,
        mut see: impl FnMut(&tessera_proto::Message),
    ) -> Result<(), VerbError> {
        while self.ledger.unanswered() > 0 {
            tokio::select! {
                flushed = self.sender.flush(), if self.sender.queued() > 0 => flushed?,
                event = self.events.next_event() => self.on_events(event?, acks, &mut see)?,
                () = tokio::time::sleep(PATIENCE) => return Err(self.no_answer()),
            }
        }
        Ok(())
    }

    /// Ends the session, which the exchange answers when everything before is served, and takes what
    /// came up to then.
    pub(crate) async fn finish(
        &mut self,
        mut see: impl FnMut(&tessera_proto::Message),
    ) -> Result<(), VerbError> {
        let logout = self.sender.logout().await;
        while let Ok(event) = self.events.next_event().await {
            self.on_events(event, None, &mut see)?;
        }
        Ok(logout?)
    }

    /// Takes an event and all that came with it.
    fn on_events(
        &mut self,
        first: tessera_client::OrderEvent,
        acks: Option<&RefCell<Acks>>,
        mut see: impl FnMut(&tessera_proto::Message),
    ) -> Result<(), VerbError> {
        let now = Instant::now();
        let mut next = Some(first);
        while let Some(event) = next {
            let (seq, message) = message_of(&event);
            if let tessera_client::OrderEvent::Malformed(reject) = event {
                return Err(VerbError::Failed(format!(
                    "the exchange calls message {} malformed: {}",
                    reject.ref_seq, reject.reason
                )));
            }
            if let Some(done) = self.ledger.receive(seq, &message) {
                if done.sent.kind != Kind::Fence {
                    self.latencies
                        .record(now.saturating_duration_since(done.sent.at));
                }
                if let Some(acks) = acks {
                    acks.borrow_mut().note(&done)?;
                }
            }
            see(&message);
            next = self.events.try_next();
        }
        Ok(())
    }

    fn no_answer(&self) -> VerbError {
        VerbError::Failed(format!(
            "{} requests got no answer within {} s; is the exchange's disk stalled?",
            self.ledger.unanswered(),
            PATIENCE.as_secs()
        ))
    }
}

/// How long the exchange may say nothing to a load that waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The file of acknowledgements: a line `CLIENT_ID SEQ` for each, written at once, so that what the
/// file says is what had been acknowledged whatever happens next.
#[derive(Debug)]
pub(crate) struct Acks(File);

impl Acks {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self(file))
    }

    pub(crate) fn note(&mut self, done: &Done) -> io::Result<()> {
        match done.answer.outcome {
            Outcome::Accepted(seq) if done.sent.kind != Kind::Fence => {
                let line = format!("{} {seq}\n", done.answer.id);
                self.0.write_all(line.as_bytes())
            }
            _ => Ok(()),
        }
    }
}

/// Sends `count` messages of `size` bytes through a bare echo at the same pace.
pub(crate) async fn echo(
    count: u64,
    size: usize,
    pace: impl FnOnce() -> Pace,
    batch: u64,
) -> Result<Latencies, VerbError> {
    let failed = |error: tessera_client::baseline::EchoError| VerbError::Failed(error.to_string());
    let mut echo = Echo::start().await.map_err(failed)?;
    let (sender, receiver) = echo.split();
    let pacer = Pacer::new()?;
    let pace = pace();
    let mut latencies = Latencies::new();
    let mut waiting = std::collections::VecDeque::new();
    let (mut sent, mut bytes) = (0, 0);
    let mut buffer = Vec::new();
    while sent < count || !waiting.is_empty() {
        let now = Instant::now();
        let allowed = pace.allowed(sent, waiting.len(), count - sent, now);
        let going = allowed.min(batch);
        for _ in 0..going {
            waiting.push_back(pace.counts_from(sent, now));
            sent += 1;
        }
        if going > 0 {
            buffer.resize(size * usize::try_from(going).unwrap_or(usize::MAX), 0);
            sender.send(&buffer).await.map_err(failed)?;
        }
        let more = allowed > batch;
        let wait = pace.wait(sent).filter(|_| sent < count && !more);
        tokio::select! {
            received = receiver.receive() => {
                let now = Instant::now();
                let received = received.map_err(failed)?;
                if received == 0 {
                    return Err(VerbError::Failed("the echo has stopped".to_owned()));
                }
                bytes += received;
                while bytes >= size {
                    bytes -= size;
                    if let Some(at) = waiting.pop_front() {
                        latencies.record(now.saturating_duration_since(at));
                    }
                }
            }
            slept = pacer.sleep(wait.unwrap_or_default()), if wait.is_some() => slept?,
            () = std::future::ready(()), if more => {}
        }
    }
    echo.stop().await;
    Ok(latencies)
}
