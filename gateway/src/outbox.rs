//! One outgoing stream: a bounded queue that whoever has something to say pushes into, and a task
//! that waits for the peer in their place.
//!
//! Pushing never waits. When nothing is queued, the bytes go to quinn at once, in the caller's turn,
//! which saves the task switch on the path of an acknowledgement. What quinn does not take, because
//! the peer has given no credit, is queued and the stream's task writes it when credit comes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{SendStream, VarInt, WriteError};
use tokio::sync::Notify;

/// The queue of one outgoing stream.
#[derive(Default)]
pub(crate) struct Outbox {
    /// Here while nobody is waiting for credit; with the task while it is.
    stream: Cell<Option<SendStream>>,
    queue: RefCell<Queue>,
    changed: Notify,
    drained: Notify,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Chunk>,
    messages: usize,
    end: Option<End>,
    done: bool,
}

#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    messages: usize,
    queued: Instant,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Finish,
    Reset(VarInt),
}

/// How far a peer is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lag {
    /// Messages that quinn has not taken.
    pub(crate) messages: usize,
    /// Age of the oldest of them.
    pub(crate) age: Duration,
}

/// How far a peer may be behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LagLimit {
    /// Messages that wait for the peer to read.
    pub messages: usize,
    /// Age of the oldest of them.
    pub age: Duration,
}

impl LagLimit {
    pub(crate) const fn exceeded_by(&self, lag: Lag) -> bool {
        lag.messages > self.messages || lag.age.as_nanos() > self.age.as_nanos()
    }
}

impl Outbox {
    /// A queue for a stream that is open.
    pub(crate) fn new(stream: SendStream) -> Self {
        let outbox = Self::default();
        outbox.stream.set(Some(stream));
        outbox
    }

    /// A queue for a stream that its task has yet to open, see [`Outbox::run`].
    pub(crate) fn unopened() -> Self {
        Self::default()
    }

    /// Sends `bytes`, which hold `messages` whole messages, after everything pushed before.
    ///
    /// Dropped silently once the stream has ended or the peer is gone: its connection's task learns
    /// that by itself.
    pub(crate) fn push(&self, bytes: Bytes, messages: usize) {
        let mut queue = self.queue.borrow_mut();
        if queue.end.is_some() || queue.done || bytes.is_empty() {
            return;
        }
        let mut rest = [bytes];
        if queue.chunks.is_empty()
            && let Some(mut stream) = self.stream.take()
        {
            let written = {
                let attempt = pin!(stream.write_chunks(&mut rest));
                attempt.poll(&mut Context::from_waker(Waker::noop()))
            };
            self.stream.set(Some(stream));
            if matches!(written, Poll::Ready(Err(_))) {
                queue.done = true;
                self.changed.notify_one();
                return;
            }
        }
        let [bytes] = rest;
        if bytes.is_empty() {
            return;
        }
        queue.messages += messages;
        queue.chunks.push_back(Chunk {
            bytes,
            messages,
            queued: Instant::now(),
        });
        self.changed.notify_one();
    }

    /// What waits for the peer.
    pub(crate) fn lag(&self) -> Lag {
        let queue = self.queue.borrow();
        Lag {
            messages: queue.messages,
            age: queue
                .chunks
                .front()
                .map_or(Duration::ZERO, |chunk| chunk.queued.elapsed()),
        }
    }

    /// Ends the stream after everything pushed before.
    pub(crate) fn finish(&self) {
        self.end(End::Finish);
    }

    /// Ends the stream now and drops what waits.
    pub(crate) fn reset(&self, code: VarInt) {
        let mut queue = self.queue.borrow_mut();
        queue.chunks.clear();
        queue.messages = 0;
        queue.end = Some(End::Reset(code));
        drop(queue);
        self.changed.notify_one();
    }

    fn end(&self, end: End) {
        let mut queue = self.queue.borrow_mut();
        if queue.end.is_none() {
            queue.end = Some(end);
        }
        drop(queue);
        self.changed.notify_one();
    }

    /// Returns when the stream has ended and, if it was finished, the peer has everything.
    pub(crate) async fn ended(&self) {
        loop {
            if self.queue.borrow().done {
                return;
            }
            self.drained.notified().await;
        }
    }

    /// The stream's task: opens the stream if it was made [`unopened`](Outbox::unopened), and writes
    /// what [`Outbox::push`] could not. Returns when the stream has ended or the peer is gone.
    pub(crate) async fn run(
        &self,
        open: impl Future<Output = Result<SendStream, quinn::ConnectionError>>,
    ) {
        let _ = self.write(open).await; // a broken stream has a broken connection, whose task knows
        self.queue.borrow_mut().done = true;
        self.drained.notify_one();
    }

    async fn write(
        &self,
        open: impl Future<Output = Result<SendStream, quinn::ConnectionError>>,
    ) -> Result<(), WriteError> {
        let opened = match self.stream.take() {
            Some(stream) => stream,
            None => open.await?,
        };
        self.stream.set(Some(opened));
        loop {
            let mut batch = self.next_batch();
            if batch.is_empty() {
                let (end, done) = {
                    let queue = self.queue.borrow();
                    (queue.end, queue.done)
                };
                match (end, self.stream.take()) {
                    (_, None) => return Ok(()),
                    (Some(End::Finish), Some(mut stream)) => {
                        let _ = stream.finish(); // only fails on a stream that has ended
                        let _ = stream.stopped().await;
                        return Ok(());
                    }
                    (Some(End::Reset(code)), Some(mut stream)) => {
                        let _ = stream.reset(code); // likewise
                        return Ok(());
                    }
                    (None, Some(_)) if done => return Ok(()),
                    (None, Some(stream)) => self.stream.set(Some(stream)),
                }
                self.changed.notified().await;
                continue;
            }
            let Some(mut stream) = self.stream.take() else {
                return Ok(());
            };
            // A reset must not wait for credit that never comes.
            let result = tokio::select! {
                biased;
                () = self.until_reset() => Ok(None),
                written = stream.write_chunks(&mut batch) => written.map(Some),
            };
            self.stream.set(Some(stream));
            match result {
                Ok(Some(_)) => self.retire(&batch),
                Ok(None) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The oldest chunks, still queued: they count as lag until quinn has taken them.
    fn next_batch(&self) -> Vec<Bytes> {
        const MOST: usize = 64;
        let queue = self.queue.borrow();
        queue
            .chunks
            .iter()
            .take(MOST)
            .map(|chunk| chunk.bytes.clone())
            .collect()
    }

    /// Takes off the queue what of the batch was written: written chunks are empty now.
    fn retire(&self, batch: &[Bytes]) {
        let mut queue = self.queue.borrow_mut();
        for rest in batch {
            if !rest.is_empty() {
                if let Some(chunk) = queue.chunks.front_mut() {
                    chunk.bytes = rest.clone();
                }
                break;
            }
            if let Some(chunk) = queue.chunks.pop_front() {
                queue.messages -= chunk.messages;
            }
        }
    }

    async fn until_reset(&self) {
        loop {
            if matches!(self.queue.borrow().end, Some(End::Reset(_))) {
                return;
            }
            self.changed.notified().await;
        }
    }
}
