//! What the clock does: attestations lapse, requests close, windows begin. \[12\]
//!
//! Deadlines fire one by one in order of time, kind and number; orders that expire are of kind 1 and
//! kept by the store.

use tessera_types::{
    Event, EventSink, ExpireReason, InstrumentId, Phase, PhaseCause, Requester, Timestamp,
};

use super::groups::GroupKind;
use crate::book::order::flag;
use crate::exchange::Exchange;

/// A pool's attestation lapses; the number is the pool's.
pub(crate) const LAPSE: u8 = 0;
/// Orders expire; kept by the store.
pub(crate) const EXPIRY: u8 = 1;
/// A request closes; the number is its age.
pub(crate) const CLOSE: u8 = 2;
/// A window begins; the number is the contract's.
pub(crate) const WINDOW: u8 = 3;

impl Exchange {
    /// Notes a deadline; one that no clock can reach is none.
    pub(super) fn arm(&mut self, time: u128, kind: u8, number: u64) {
        if let Ok(time) = u64::try_from(time) {
            self.contracts.deadlines.insert((time, kind, number));
        }
    }

    pub(super) fn disarm(&mut self, time: u64, kind: u8, number: u64) {
        self.contracts.deadlines.remove(&(time, kind, number));
    }

    /// Moves attestations that would have lapsed while the exchange was down to `until`, so that a restart
    /// wipes no supply: nobody could attest meanwhile. Windows begin when they begin.
    pub(crate) fn extend_attestations(&mut self, now: u64, until: u64) {
        let fallen = ..=(now, u8::MAX, u64::MAX);
        let fallen = self.contracts.deadlines.range(fallen);
        let lapses = fallen.filter(|&&(time, kind, _)| kind == LAPSE && time < until);
        let lapses: Vec<(u64, u64)> = lapses.map(|&(time, _, pool)| (time, pool)).collect();
        for (time, number) in lapses {
            let at = usize::try_from(number).unwrap_or(usize::MAX);
            if let Some(pool) = self.contracts.pools.get_mut(at) {
                pool.until = until;
                self.disarm(time, LAPSE, number);
                self.arm(u128::from(until), LAPSE, number);
            }
        }
    }

    /// Time and kind of the first deadline of contracts.
    #[inline]
    pub(crate) fn next_contract_deadline(&self) -> Option<(u64, u8)> {
        let &(time, kind, _) = self.contracts.deadlines.first()?;
        Some((time, kind))
    }

    /// Fires the first deadline of contracts.
    pub(crate) fn fire_contract_deadline<S: EventSink + ?Sized>(&mut self, sink: &mut S) {
        let Some((time, kind, number)) = self.contracts.deadlines.pop_first() else {
            return;
        };
        self.clock = self.clock.max(Timestamp::from_nanos(time));
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        match kind {
            LAPSE => self.lapse(at, sink),
            CLOSE => self.close_request(number, sink),
            _ => self.begin_window(at, sink),
        }
    }

    /// Trading in a contract ends: its orders and the group orders that include it expire, oldest
    /// first. \[4\]
    fn begin_window<S: EventSink + ?Sized>(&mut self, number: usize, sink: &mut S) {
        self.set_phase(number, Phase::Closed);
        let event = Event::PhaseChanged {
            by: Requester::default(),
            instrument: InstrumentId::new(self.books[number].number),
            phase: Phase::Closed,
            cause: PhaseCause::Window,
            until: None,
        };
        self.emit(event, sink);
        self.collect_book(number, |order, _| order.has(flag::INDEXED));
        let mut ending = core::mem::take(&mut self.ending);
        let book = self.books[number].number;
        for (&id, group) in &self.contracts.groups {
            if group.includes(book) {
                ending.push((id, group.slot));
            }
        }
        ending.sort_unstable();
        for &(id, slot) in &ending {
            if self.store.orders[slot].id != id {
                continue; // a quote that ended with its request
            }
            match self.contracts.groups.contains_key(&id) {
                true => self.expire_group(id, ExpireReason::Window, sink),
                false => self.expire(slot, ExpireReason::Window, sink),
            }
        }
        self.ending = ending;
    }
}

impl super::groups::Group {
    /// True when the group order is of this contract, or may buy or sell in it.
    fn includes(&self, book: u32) -> bool {
        match &self.kind {
            GroupKind::Sub(sub) => sub.legs.iter().any(|leg| leg.book == book),
            GroupKind::Carve(carve) => carve.slices.iter().flatten().any(|s| s.book == book),
            GroupKind::Rfq(rfq) => rfq.book == book,
            GroupKind::Quote(quote) => quote.book == book,
        }
    }
}
