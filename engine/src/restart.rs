//! What a restart does to what the clock would have done while the exchange was down, and the hold behind
//! it.
//!
//! A held instrument is an instrument in phase `halt` that remembers where it comes from. Whoever sets
//! another phase decides for it alone; [`Reopen`](tessera_types::Reopen) decides for all the others.

use tessera_types::{
    Event, EventSink, InstrumentId, Phase, PhaseCause, Requester, Restart, Timestamp,
};

use crate::book::Book;
use crate::digest::Folder;
use crate::exchange::Exchange;
use crate::snapshot::{Reader, SnapshotError, Writer};

/// Where a held instrument goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Continuous or auction.
    pub(crate) phase: Phase,
    /// When the clock was to end that phase.
    pub(crate) ends: Option<Timestamp>,
}

impl Exchange {
    /// Moves what fell due while the exchange was down behind `now`; before the clock gets there.
    #[cold]
    pub(crate) fn extend_over_outage(&mut self, request: &Restart, now: Timestamp) {
        let until = now.nanos().saturating_add(request.grace_ns);
        let mut postponed = core::mem::take(&mut self.ending);
        postponed.clear();
        // Without grace what is due at this very time stays where it is.
        while self.store.expiries.next < until
            && let Some(slot) = self.store.due(now.nanos())
        {
            self.store.unlist_expiry(slot);
            postponed.push((self.store.orders[slot].id, slot));
        }
        // By age, so that each goes to the end of its list.
        postponed.sort_unstable();
        for &(_, slot) in &postponed {
            self.store.rearm(slot, until);
        }
        self.ending = postponed;
        self.extend_attestations(now.nanos(), until);
        let until = Timestamp::from_nanos(until);
        while let Some((ends, number)) = self.interruptions.first()
            && ends <= now
            && ends < until
        {
            self.interruptions.move_to(ends, until, number);
            self.books[number as usize].rest.guard.ends = Some(until);
        }
    }

    /// Halts what trades or collects, if a hold was asked for; what is held already stays held. Without
    /// a hold everything goes on, also what an earlier restart held.
    #[inline(never)]
    pub(crate) fn on_restart<S: EventSink + ?Sized>(&mut self, request: &Restart, sink: &mut S) {
        if request.hold_ns == 0 {
            return self.on_reopen(sink);
        }
        let until = self.clock.nanos().saturating_add(request.hold_ns);
        for number in 0..self.books.len() {
            let book = &self.books[number];
            let held = match (book.rest.held, book.phase) {
                (Some(held), _) => held,
                (None, phase @ (Phase::Continuous | Phase::Auction)) => Held {
                    phase,
                    ends: book.rest.guard.ends,
                },
                (None, Phase::Halt | Phase::Closed) => continue,
            };
            self.set_phase(number, Phase::Halt);
            self.books[number].rest.held = Some(held);
            self.tell_phase(number, Some(Timestamp::from_nanos(until)), sink);
        }
    }

    /// Ends the hold. An interruption that should have ended meanwhile ends now.
    #[inline(never)]
    pub(crate) fn on_reopen<S: EventSink + ?Sized>(&mut self, sink: &mut S) {
        for number in 0..self.books.len() {
            let Some(held) = self.books[number].rest.held else {
                continue;
            };
            self.set_phase(number, held.phase);
            let ends = held.ends.map(|ends| ends.max(self.clock));
            if let Some(ends) = ends {
                self.books[number].rest.guard.ends = Some(ends);
                self.interruptions.restore(ends, self.books[number].number);
            }
            self.tell_phase(number, ends, sink);
        }
        self.run_due(self.clock, sink);
    }

    fn tell_phase<S: EventSink + ?Sized>(
        &mut self,
        number: usize,
        until: Option<Timestamp>,
        sink: &mut S,
    ) {
        let book = &self.books[number];
        let event = Event::PhaseChanged {
            by: Requester::default(),
            instrument: InstrumentId::new(book.number),
            phase: book.phase,
            cause: PhaseCause::Restart,
            until,
        };
        self.emit(event, sink);
    }

    /// The held instruments, by number.
    pub(crate) fn save_held(&self, writer: &mut Writer) {
        for book in &self.books {
            if let Some(held) = book.rest.held {
                writer.u32(book.number);
                writer.u8(held.phase.code());
                writer.option(held.ends.map(Timestamp::nanos), Writer::u64);
            }
        }
    }

    pub(crate) fn restore_held(&mut self, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let mut next = 0;
        while !reader.at_end() {
            let number = reader.u32()?;
            reader.ensure(number >= next, "held instruments out of order")?;
            next = number.saturating_add(1);
            let held = Held {
                phase: reader.code("no phase")?,
                ends: reader.option(Reader::u64)?.map(Timestamp::from_nanos),
            };
            let book = self
                .books
                .get_mut(number as usize)
                .ok_or_else(|| reader.bad("no such instrument"))?;
            let fits = book.phase == Phase::Halt
                && match held.phase {
                    Phase::Continuous => held.ends.is_none(),
                    Phase::Auction => held.ends.is_none() || book.guarded,
                    Phase::Halt | Phase::Closed => false,
                };
            reader.ensure(fits, "an instrument that no restart holds so")?;
            book.rest.held = Some(held);
            let book = &self.books[number as usize];
            let apart = held.phase != Phase::Continuous || self.is_uncrossed(book);
            reader.ensure(apart, "a crossed book")?;
        }
        Ok(())
    }
}

/// The hold of an instrument in the state hash: nothing without one.
pub(crate) fn fold_held(book: &Book, folder: &mut Folder) {
    if let Some(held) = book.rest.held {
        folder.word(u64::from_le_bytes(*b"held\0\0\0\0"));
        folder.word(u64::from(held.phase.code()));
        folder.option(held.ends.map(Timestamp::nanos));
    }
}
