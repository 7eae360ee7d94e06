//! The threads between the core and the disk: journal, sync, and the one that prepares segments.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tessera_journal::{Preparer, Status, Syncer, Writer};
use tessera_ring::spsc::{Consumer, Producer};
use tessera_ring::{Agent, CursorWriter, Unparker, Wake};
use tessera_types::{Seq, Timestamp, wire};

use super::core::{JournalItem, wall_clock};
use super::stats::Recorder;
use super::sync_log::SyncLog;
use crate::exit;

/// The journal thread: encode, checksum, store, publish.
pub(crate) struct JournalAgent {
    items: Consumer<JournalItem>,
    writer: Writer,
    payload: Vec<u8>,
    /// An item that found no segment ready.
    held: Option<JournalItem>,
    sync_wake: Unparker,
    marks: Producer<Mark>,
    /// In mode `async` an acknowledgement waits for this thread only.
    durable: Option<CursorWriter>,
    framing: Recorder,
}

/// A published batch, for the durability histogram: the age of its oldest command counts for all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    last: Seq,
    oldest: Timestamp,
    count: u64,
}

/// Records stored before they are published.
const BATCH: usize = 256;

impl JournalAgent {
    pub(crate) fn new(
        items: Consumer<JournalItem>,
        writer: Writer,
        sync_wake: Unparker,
        marks: Producer<Mark>,
        durable: Option<CursorWriter>,
        framing: Recorder,
    ) -> Self {
        let payload = Vec::with_capacity(wire::MAX_PAYLOAD);
        Self {
            items,
            writer,
            payload,
            held: None,
            sync_wake,
            marks,
            durable,
            framing,
        }
    }

    /// Appends one item, or holds it back when no segment is ready for it and says false.
    fn append(&mut self, item: JournalItem) -> bool {
        let result = match &item {
            JournalItem::Command(sequenced) => {
                self.payload.clear();
                match wire::encode_command(&sequenced.command, sequenced.time, &mut self.payload) {
                    Ok(kind) => {
                        self.writer
                            .append(sequenced.seq, sequenced.time, kind, &self.payload)
                    }
                    Err(error) => fail_stop(format_args!(
                        "command {} cannot be journaled: {error}",
                        sequenced.seq
                    )),
                }
            }
            JournalItem::StateHash {
                hash,
                events_digest,
                ..
            } => self.writer.append_state_hash(hash, *events_digest),
        };
        match result {
            Ok(()) => true,
            Err(error) if error.is_stall() => {
                self.held = Some(item);
                false
            }
            Err(error) => fail_stop(error),
        }
    }
}

impl Agent for JournalAgent {
    fn name(&self) -> &str {
        "tessera-journal"
    }

    fn do_work(&mut self) -> usize {
        let mut count = 0;
        let mut oldest = None;
        for _ in 0..BATCH {
            let Some(item) = self.held.take().or_else(|| self.items.try_pop()) else {
                break;
            };
            let time = match &item {
                JournalItem::Command(sequenced) => Some(sequenced.time),
                JournalItem::StateHash { .. } => None,
            };
            if !self.append(item) {
                break;
            }
            count += 1;
            oldest = oldest.or(time);
        }
        if count == 0 {
            return 0;
        }
        let last = self.writer.publish();
        if let Some(durable) = &mut self.durable {
            durable.publish(last.get());
            durable.wake_all();
        }
        if let Some(oldest) = oldest {
            self.framing
                .record_n(wall_clock().nanos_since(oldest), count);
            // A full ring only means that a few values are missing from a histogram.
            let _ = self.marks.try_push(Mark {
                last,
                oldest,
                count,
            });
        }
        self.sync_wake.wake();
        self.framing.flush();
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    fn on_stop(&mut self) {
        while !self.items.is_drained() || self.held.is_some() {
            if self.do_work() == 0 {
                thread::sleep(Duration::from_micros(100)); // a segment is being prepared
            }
        }
        self.framing.flush();
    }
}

/// The sync thread: one fdatasync per group, then the cursor that everybody waits for.
pub(crate) struct SyncAgent {
    syncer: Syncer,
    status: Status,
    marks: Consumer<Mark>,
    durable: Option<CursorWriter>,
    durability: Recorder,
    sync: Recorder,
    group_records: Recorder,
    last_check: Instant,
}

impl SyncAgent {
    pub(crate) fn new(
        syncer: Syncer,
        status: Status,
        marks: Consumer<Mark>,
        durable: Option<CursorWriter>,
        durability: Recorder,
        sync: Recorder,
        group_records: Recorder,
    ) -> Self {
        Self {
            syncer,
            status,
            marks,
            durable,
            durability,
            sync,
            group_records,
            last_check: Instant::now(),
        }
    }

    /// The clean end, after the journal thread has stopped.
    pub(crate) fn finish(self) -> Seq {
        match self.syncer.finish() {
            Ok(seq) => seq,
            Err(error) => fail_stop(error),
        }
    }

    fn note_durable(&mut self) {
        let synced = self.status.synced();
        let now = wall_clock();
        while self.marks.peek(0).is_some_and(|mark| mark.last <= synced) {
            let Some(mark) = self.marks.try_pop() else {
                break;
            };
            self.durability
                .record_n(now.nanos_since(mark.oldest), mark.count);
        }
        self.durability.flush();
    }
}

impl Agent for SyncAgent {
    fn name(&self) -> &str {
        "tessera-sync"
    }

    fn do_work(&mut self) -> usize {
        if self.last_check.elapsed() > Duration::from_secs(1) {
            self.last_check = Instant::now();
            if let Err(error) = self.syncer.check_file() {
                fail_stop(error);
            }
        }
        match self.syncer.sync_once() {
            Ok(None) => 0,
            Ok(Some(synced)) => {
                if let Some(durable) = &mut self.durable {
                    durable.publish(synced.durable.get());
                    durable.wake_all();
                }
                self.sync.record(synced.sync_ns);
                self.sync.flush();
                self.group_records.record(synced.records);
                self.group_records.flush();
                self.note_durable();
                1
            }
            Err(error) => fail_stop(error),
        }
    }

    fn on_stop(&mut self) {
        while self.do_work() > 0 {}
    }
}

/// Starts the thread that keeps segments ready, and says when the disk leaves no room for another.
pub(crate) fn spawn_preparer(
    mut preparer: Preparer,
    status: Status,
    low_disk: Arc<AtomicBool>,
    mut sync_log: SyncLog,
) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name("tessera-preparer".into())
        .spawn(move || {
            while !preparer.is_finished() {
                match preparer.prepare_if_needed() {
                    Ok(true) => continue,
                    Ok(false) => low_disk.store(false, Ordering::Release),
                    Err(error) => {
                        let low = status.segments_ready() <= 1;
                        if low && !low_disk.swap(true, Ordering::AcqRel) {
                            tracing::error!(%error, "the next journal segment cannot be made; \
                            new orders are refused until there is room");
                        }
                    }
                }
                preparer.wait(Duration::from_secs(1));
                sync_log.write_if_due();
            }
            sync_log.write();
        })
}

/// Ends the process after an I/O error: memory may be ahead of the disk, so nothing may leave any more.
fn fail_stop(error: impl std::fmt::Display) -> ! {
    eprintln!("tessera: fail-stop: {error}");
    process::exit(i32::from(exit::IO_FAIL_STOP));
}
