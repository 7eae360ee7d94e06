//! Volatility interruptions: a trade too far from the reference does not happen, an auction begins.
//!
//! The reference is the newest of the last trade and a reference price that was given, as it was
//! when the command began, so that no command and no chain of stops that it elects walks a price
//! away step by step. The auction's own price becomes the reference of what follows it.
//!
//! The auction ends when the clock reaches its end, unless somebody sets a phase before: then that
//! holds, and the clock ends nothing.

use tessera_types::{Event, EventSink, InstrumentId, Phase, PhaseCause, Requester, Seq, Timestamp};

use crate::book::matching::{Entry, Incoming, Rest};
use crate::exchange::Exchange;

/// What a book with a volatility guard knows besides.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GuardState {
    /// The newest of the last trade and a reference price that was given.
    pub(crate) reference: Option<i64>,
    /// The reference of the running command, once it was asked for; means nothing between commands.
    pub(crate) fixed: Option<(Seq, Option<i64>)>,
    /// When the clock ends the interruption that runs.
    pub(crate) ends: Option<Timestamp>,
}

/// The interruptions that run, the first to end last: few at any time.
#[derive(Debug, Default)]
pub(crate) struct Interruptions {
    running: Vec<(Timestamp, u32)>,
    /// Books with a guard: as many as may be interrupted at one time.
    books: usize,
}

impl Interruptions {
    /// Makes room for one more book that may be interrupted.
    pub(crate) fn expect_book(&mut self) {
        self.books += 1;
        self.running.reserve(self.books - self.running.len());
    }

    /// The first to end, by time and number.
    pub(crate) fn first(&self) -> Option<(Timestamp, u32)> {
        self.running.last().copied()
    }

    /// An interruption that ran when the state was saved.
    pub(crate) fn restore(&mut self, ends: Timestamp, number: u32) {
        self.arm(ends, number);
    }

    /// Moves an end.
    pub(crate) fn move_to(&mut self, ends: Timestamp, later: Timestamp, number: u32) {
        self.disarm(ends, number);
        self.arm(later, number);
    }

    fn arm(&mut self, ends: Timestamp, number: u32) {
        let entry = (ends, number);
        let at = self.running.partition_point(|&other| other > entry);
        self.running.insert(at, entry);
    }

    fn disarm(&mut self, ends: Timestamp, number: u32) {
        self.running.retain(|&entry| entry != (ends, number));
    }

    /// Panics unless these are the ends that the books know.
    pub(crate) fn check(&self, expected: impl Iterator<Item = (Timestamp, u32)>) {
        let mut expected: Vec<_> = expected.collect();
        expected.sort_unstable();
        expected.reverse();
        assert_eq!(self.running, expected, "interruptions that run");
    }
}

impl Exchange {
    /// The lowest and the highest price at which this command may trade in a guarded book; none
    /// while there is no reference, and in every other book.
    #[inline]
    pub(crate) fn band(&mut self, number: usize) -> Option<(i64, i64)> {
        if self.books[number].guarded {
            self.guarded_band(number)
        } else {
            None
        }
    }

    #[cold]
    fn guarded_band(&mut self, number: usize) -> Option<(i64, i64)> {
        let rest = &mut self.books[number].rest;
        let band = rest.instrument.volatility?.band;
        let reference = match rest.guard.fixed {
            Some((seq, reference)) if seq == self.last_seq => reference,
            _ => {
                rest.guard.fixed = Some((self.last_seq, rest.guard.reference));
                rest.guard.reference
            }
        }?;
        Some((
            reference.saturating_sub_unsigned(band),
            reference.saturating_add_unsigned(band),
        ))
    }

    /// An incoming order is about to trade beyond the band: an auction begins, and what is left of
    /// the order takes part if it may stay. Market orders wait as in every auction.
    #[cold]
    pub(crate) fn interrupt<S: EventSink + ?Sized>(
        &mut self,
        incoming: &Incoming,
        entry: &Entry,
        sink: &mut S,
    ) {
        let number = incoming.number;
        let length = self.books[number].rest.instrument.volatility;
        let length = length.map_or(0, |guard| guard.length_ns);
        let ends = Timestamp::from_nanos(self.clock.nanos().saturating_add(length));
        self.set_phase(number, Phase::Auction);
        self.books[number].rest.guard.ends = Some(ends);
        let id = self.books[number].number;
        self.interruptions.arm(ends, id);
        let event = Event::PhaseChanged {
            by: Requester::default(),
            instrument: InstrumentId::new(id),
            phase: Phase::Auction,
            cause: PhaseCause::Volatility,
            until: Some(ends),
        };
        self.emit(event, sink);
        match entry.rest {
            Rest::Cancel(reason) if entry.limit.is_some() => {
                self.cancel_incoming(incoming, reason, sink);
            }
            Rest::Cancel(_) | Rest::Stay => self.rest(incoming, entry.limit),
        }
    }

    /// The clock has reached the end of an interruption: trading goes on, and the stops that the
    /// auction elects enter before anything else happens.
    #[cold]
    pub(crate) fn end_interruption<S: EventSink + ?Sized>(&mut self, number: usize, sink: &mut S) {
        self.set_phase(number, Phase::Continuous);
        let event = Event::PhaseChanged {
            by: Requester::default(),
            instrument: InstrumentId::new(self.books[number].number),
            phase: Phase::Continuous,
            cause: PhaseCause::Volatility,
            until: None,
        };
        self.emit(event, sink);
        self.open_trading(number, sink);
        self.enter_elected(sink);
        // The command whose time this was begins with the reference that is the newest now.
        self.books[number].rest.guard.fixed = None;
    }

    /// Changes the phase of a book. Whatever end was armed is armed no more.
    pub(crate) fn set_phase(&mut self, number: usize, phase: Phase) {
        let book = &mut self.books[number];
        let indicative = u32::from(book.rest.instrument.indicative);
        if book.phase == Phase::Auction {
            self.collecting -= indicative;
        }
        if phase == Phase::Auction {
            self.collecting += indicative;
            self.store.auctions_touched.push(book.number);
        } else {
            book.rest.announced = None;
        }
        book.phase = phase;
        book.rest.held = None;
        if let Some(ends) = book.rest.guard.ends.take() {
            self.interruptions.disarm(ends, book.number);
        }
    }
}
