//! When `gtd` orders end: a ladder of deadlines, each with its orders by age.

use super::ladder::Ladder;
use super::order::Ext;
use super::slab::{NONE, Record, Slab};
use super::store::Store;

/// All deadlines of all books.
#[derive(Debug)]
pub(crate) struct Expiries {
    /// By time.
    pub(crate) ladder: Ladder,
    pub(crate) deadlines: Slab<Deadline>,
    /// The first deadline, `u64::MAX` when there is none.
    pub(crate) next: u64,
}

/// The orders that end at one time.
#[derive(Debug)]
pub(crate) struct Deadline {
    pub(crate) time: u64,
    pub(crate) head: u32,
    pub(crate) tail: u32,
}

impl Record for Deadline {
    const NULL: Self = Self {
        time: 0,
        head: NONE,
        tail: NONE,
    };

    fn set_free(&mut self, next: u32) {
        self.head = NONE;
        self.tail = next;
    }

    fn next_free(&self) -> Option<u32> {
        (self.head == NONE).then_some(self.tail)
    }
}

impl Expiries {
    pub(crate) fn new() -> Self {
        Self {
            ladder: Ladder::EMPTY,
            deadlines: Slab::with_capacity(0),
            next: u64::MAX,
        }
    }
}

impl Store {
    #[cold]
    pub(crate) fn arm_expiry(&mut self, slot: u32, ext: u32) {
        let time = self.exts[ext].expire;
        if time == 0 {
            return;
        }
        if let Some(deadline) = self.expiries.ladder.get(&self.nodes, time) {
            // Orders arm in order of acceptance, so the end of the list is the place by age.
            let tail = self.expiries.deadlines[deadline].tail;
            self.exts[ext].expire_prev = tail;
            if let Some(ext) = self.orders[tail].ext() {
                self.exts[ext].expire_next = slot;
            }
            self.expiries.deadlines[deadline].tail = slot;
        } else {
            let deadline = self.expiries.deadlines.insert(Deadline {
                time,
                head: slot,
                tail: slot,
            });
            self.expiries.ladder.insert(&mut self.nodes, time, deadline);
            self.expiries.next = self.expiries.next.min(time);
        }
    }

    #[cold]
    pub(crate) fn disarm_expiry(&mut self, slot: u32, ext: u32) {
        let Ext {
            expire: time,
            expire_next: next,
            expire_prev: prev,
            ..
        } = self.exts[ext];
        if time == 0 {
            return;
        }
        let deadline = self
            .expiries
            .ladder
            .get(&self.nodes, time)
            .expect("an order that expires is listed under its time");
        if let Some(ext) = self.ext_of(next) {
            self.exts[ext].expire_prev = prev;
        } else {
            self.expiries.deadlines[deadline].tail = prev;
        }
        if let Some(ext) = self.ext_of(prev) {
            self.exts[ext].expire_next = next;
        } else {
            debug_assert_eq!(self.expiries.deadlines[deadline].head, slot);
            self.expiries.deadlines[deadline].head = next;
        }
        if self.expiries.deadlines[deadline].head == NONE {
            // An empty list looks like a free record; give it a head for the moment.
            self.expiries.deadlines[deadline].head = slot;
            self.expiries.deadlines.remove(deadline);
            self.expiries.ladder.remove(&mut self.nodes, time);
            let first = self.expiries.ladder.first(&self.nodes);
            self.expiries.next =
                first.map_or(u64::MAX, |first| self.expiries.deadlines[first].time);
        }
    }

    /// Takes an order off its deadline, which it keeps until [`rearm`](Self::rearm).
    #[cold]
    pub(crate) fn unlist_expiry(&mut self, slot: u32) {
        if let Some(ext) = self.orders[slot].ext() {
            self.disarm_expiry(slot, ext);
            let ext = &mut self.exts[ext];
            (ext.expire_next, ext.expire_prev) = (NONE, NONE);
        }
    }

    /// Gives an order that is on no deadline a new one, in its place by age.
    #[cold]
    pub(crate) fn rearm(&mut self, slot: u32, time: u64) {
        let Some(ext) = self.orders[slot].ext() else {
            return;
        };
        self.amend(slot, |_, ext| {
            if let Some(ext) = ext {
                ext.expire = time;
            }
        });
        let age = self.orders[slot].id;
        let deadline = self.expiries.ladder.get(&self.nodes, time).filter(|&at| {
            let tail = self.expiries.deadlines[at].tail;
            self.orders[tail].id > age
        });
        let Some(deadline) = deadline else {
            return self.arm_expiry(slot, ext);
        };
        let mut younger = self.expiries.deadlines[deadline].head;
        while self.orders[younger].id < age {
            younger = self.ext(younger).map_or(NONE, |ext| ext.expire_next);
        }
        let before = self.ext(younger).map_or(NONE, |ext| ext.expire_prev);
        (self.exts[ext].expire_next, self.exts[ext].expire_prev) = (younger, before);
        if let Some(ext) = self.ext_of(younger) {
            self.exts[ext].expire_prev = slot;
        }
        match self.ext_of(before) {
            Some(ext) => self.exts[ext].expire_next = slot,
            None => self.expiries.deadlines[deadline].head = slot,
        }
    }

    fn ext_of(&self, slot: u32) -> Option<u32> {
        if slot == NONE {
            None
        } else {
            self.orders[slot].ext()
        }
    }

    /// The order that ends first at or before `now`: by time, then by age.
    pub(crate) fn due(&self, now: u64) -> Option<u32> {
        if self.expiries.next > now {
            return None;
        }
        self.expiries
            .ladder
            .first(&self.nodes)
            .map(|deadline| self.expiries.deadlines[deadline].head)
    }
}
