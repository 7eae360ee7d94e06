//! Records of one kind in one allocation, named by `u32` handles.
//!
//! Half the width of a pointer, so that links fit beside the data in one cache line, and nothing is
//! allocated once the vector has reached its working size. Freed records form a last-in first-out
//! list through their own memory: the record reused next is the one most likely still in cache.
//!
//! Record 0 stands for "none" and is never handed out. It exists all the same, so that code which
//! follows a link need not ask first whether there is one: what it reads there means nothing, and what
//! it writes there nobody reads. A queue is linked and unlinked without a branch that way.

use core::ops::{Index, IndexMut};

use crate::prefetch::{make_room, table};

/// No record.
pub(crate) const NONE: u32 = 0;

/// A record that can remember the next free one while it is unused.
pub(crate) trait Record {
    /// What stands in the place of [`NONE`].
    const NULL: Self;
    /// Turns the record into a free one that points at `next`.
    fn set_free(&mut self, next: u32);
    /// The next free record, when this one is free.
    fn next_free(&self) -> Option<u32>;
}

/// A pool of records.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    records: Vec<T>,
    free: u32,
    live: usize,
}

impl<T: Record> Slab<T> {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let mut records = table(capacity.saturating_add(1));
        records.push(T::NULL);
        Self {
            records,
            free: NONE,
            live: 0,
        }
    }

    /// Stores a record and names it.
    #[inline(always)]
    pub(crate) fn insert(&mut self, record: T) -> u32 {
        self.insert_with(|place| *place = record)
    }

    /// Takes a record into use that `begin` makes ready from whatever it holds: for large records of
    /// which a part says what the rest means.
    #[inline(always)]
    pub(crate) fn insert_with(&mut self, begin: impl FnOnce(&mut T)) -> u32 {
        self.live += 1;
        let handle = match self.free {
            NONE => self.push(),
            free => free,
        };
        let record = &mut self.records[handle as usize];
        self.free = record
            .next_free()
            .expect("the free list holds free records only");
        begin(record);
        handle
    }

    /// Adds a free record behind all others. It takes no record, so that a new one is written to its
    /// place from registers and not by way of the stack, which the processor would wait for.
    #[cold]
    #[inline(never)]
    fn push(&mut self) -> u32 {
        let handle = u32::try_from(self.records.len())
            .expect("orders are bounded by MAX_ORDERS, and every other record by the orders");
        let mut record = T::NULL;
        record.set_free(NONE);
        make_room(&mut self.records);
        self.records.push(record);
        handle
    }

    /// Gives a record back.
    #[inline]
    pub(crate) fn remove(&mut self, handle: u32) {
        let record = &mut self.records[handle as usize];
        debug_assert!(
            record.next_free().is_none(),
            "record {handle} is freed twice"
        );
        record.set_free(self.free);
        self.free = handle;
        self.live -= 1;
    }

    /// Records in use.
    pub(crate) const fn live(&self) -> usize {
        self.live
    }

    /// Every record in use, by rising handle.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0u32..)
            .zip(&self.records)
            .skip(1)
            .filter(|(_, record)| record.next_free().is_none())
    }

    /// The records by handle, to be read.
    #[inline(always)]
    pub(crate) fn all(&self) -> &[T] {
        &self.records
    }

    /// The records by handle, free ones and [`NONE`]'s included: for code that follows many links and
    /// should load the slice once.
    #[inline(always)]
    pub(crate) fn all_mut(&mut self) -> &mut [T] {
        &mut self.records
    }

    /// Panics unless free list and live count describe the records.
    pub(crate) fn check(&self) {
        let mut free = self.free;
        let mut count = 0;
        while free != NONE {
            free = self.records[free as usize]
                .next_free()
                .expect("the free list leads to a live record");
            count += 1;
            assert!(count <= self.records.len(), "the free list is a ring");
        }
        assert_eq!(
            1 + self.live + count,
            self.records.len(),
            "records are lost"
        );
        assert_eq!(self.iter().count(), self.live, "live count");
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, handle: u32) -> &T {
        &self.records[handle as usize]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, handle: u32) -> &mut T {
        &mut self.records[handle as usize]
    }
}
