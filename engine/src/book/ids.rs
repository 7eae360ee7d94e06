//! From (session, client id) to the order's handle.
//!
//! Clients count their ids up, so the orders of a session that live at the same time mostly have ids
//! close to each other. A [`Window`] of pages per session is indexed by the id itself: no hash, no
//! probing, four bytes an order, and neighbouring ids share a cache line. Whatever does not fit that
//! picture (ids that jump, the few old orders of a page that has emptied) is in a hash table beside
//! it, so that no choice of ids costs more than some pages of memory.
//!
//! Which of the two holds an id decides its page alone: an id whose page exists is there or nowhere.

use super::index::IdIndex;
use super::slab::NONE;
use crate::prefetch::make_room;

/// Ids on one page.
const PAGE: usize = 64;
const PAGE_BITS: u32 = PAGE.trailing_zeros();
/// A page with fewer live ids than this is given up once it is no longer among the latest.
const CROWD: u32 = 8;
/// How many of a session's latest pages are kept however empty they are.
const RECENT: usize = 256;
/// Most pages that a rising id may leave out without leaving the window.
const MOST_SKIPPED: u64 = 4;

/// Handles by session and client id.
#[derive(Debug)]
pub(crate) struct ClientIds {
    /// By number of the session.
    windows: Vec<Window>,
    /// Handles by the low bits of the id; page 0 is none.
    pages: Vec<[u32; PAGE]>,
    /// Live ids of each page.
    crowds: Vec<u32>,
    /// Pages that wait for use.
    free: Vec<u32>,
    sparse: IdIndex,
    live: usize,
}

/// The pages of one session.
#[derive(Clone, Debug, Default)]
struct Window {
    /// Number of the first page: ids divided by the size of a page.
    first: u64,
    /// Pages in order of their ids; 0 where there is none, never at the front.
    pages: Vec<u32>,
    /// No new page may have a lower number, since ids up to there may be in the hash table.
    open_from: u64,
}

impl Window {
    /// The page with this number, 0 when it has none.
    #[inline]
    fn page(&self, number: u64) -> u32 {
        self.pages.get(self.place(number)).copied().unwrap_or(NONE)
    }

    /// Where a page stands, or would; far behind the end for one before the first.
    #[inline]
    fn place(&self, number: u64) -> usize {
        usize::try_from(number.wrapping_sub(self.first)).unwrap_or(usize::MAX)
    }
}

impl ClientIds {
    /// `seed` is the key of the hash.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            windows: vec![Window::default()],
            pages: vec![[NONE; PAGE]],
            crowds: vec![0],
            free: Vec::new(),
            sparse: IdIndex::new(seed, 0),
            live: 0,
        }
    }

    /// Makes room for a session. Every session is expected before it is used.
    pub(crate) fn expect_session(&mut self, session: u32) {
        let sessions = session as usize + 1;
        if self.windows.len() < sessions {
            self.windows.resize_with(sessions, Window::default);
        }
    }

    /// The handle under an id. `is_it` recognises the order among those whose hash is the same.
    #[inline(always)]
    pub(crate) fn find(&self, session: u32, id: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let (number, place) = split(id);
        let page = self.windows.get(session as usize)?.page(number);
        let handle = if page == NONE {
            return self.find_sparse(session, id, is_it);
        } else {
            self.pages[page as usize][place]
        };
        (handle != NONE).then_some(handle)
    }

    #[cold]
    fn find_sparse(&self, session: u32, id: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.sparse.find(self.sparse.hash(session, id), is_it)
    }

    /// Adds an id that is not there yet. `id_of` tells the id of a handle that is.
    #[inline(always)]
    pub(crate) fn insert(
        &mut self,
        session: u32,
        id: u64,
        handle: u32,
        id_of: impl Fn(u32) -> u64,
    ) {
        self.live += 1;
        let (number, place) = split(id);
        let mut page = self.windows[session as usize].page(number);
        if page == NONE {
            page = self.open_page(session, number, id_of);
            if page == NONE {
                let hash = self.sparse.hash(session, id);
                return self.sparse.insert(hash, handle);
            }
        }
        self.pages[page as usize][place] = handle;
        self.crowds[page as usize] += 1;
    }

    /// Takes an id out.
    #[inline(always)]
    pub(crate) fn remove(
        &mut self,
        session: u32,
        id: u64,
        handle: u32,
        id_of: impl Fn(u32) -> u64,
    ) {
        self.live -= 1;
        let (number, place) = split(id);
        let page = self.windows[session as usize].page(number);
        if page == NONE {
            return self.remove_sparse(session, id, handle);
        }
        debug_assert_eq!(self.pages[page as usize][place], handle);
        self.pages[page as usize][place] = NONE;
        self.crowds[page as usize] -= 1;
        if self.crowds[page as usize] < CROWD {
            self.consider(session, number, id_of);
        }
    }

    #[cold]
    fn remove_sparse(&mut self, session: u32, id: u64, handle: u32) {
        self.sparse.remove(self.sparse.hash(session, id), handle);
    }

    /// Live ids.
    pub(crate) const fn live(&self) -> usize {
        self.live
    }

    /// The page of an id, [`NONE`] when it has none: for hints.
    #[inline(always)]
    pub(crate) fn page_of(&self, session: u32, id: u64) -> u32 {
        let window = self.windows.get(session as usize);
        window.map_or(NONE, |window| window.page(split(id).0))
    }

    /// The handle under an id whose page this is, [`NONE`] on no page: for hints.
    #[inline(always)]
    pub(crate) fn entry(&self, page: u32, id: u64) -> &u32 {
        let page = self.pages.get(page as usize).unwrap_or(&self.pages[0]);
        &page[split(id).1]
    }

    /// Begins the page of a rising id, or tells that the id belongs into the hash table.
    #[cold]
    fn open_page(&mut self, session: u32, number: u64, id_of: impl Fn(u32) -> u64) -> u32 {
        let window = &mut self.windows[session as usize];
        if window.pages.is_empty() {
            window.first = number;
        }
        let end = window.first + window.pages.len() as u64;
        let rises = (end..=end + MOST_SKIPPED).contains(&number);
        if number < window.open_from || !rises {
            window.open_from = window.open_from.max(number + 1);
            return NONE;
        }
        window.pages.resize(window.place(number), NONE);
        let page = self.free.pop().unwrap_or_else(|| {
            make_room(&mut self.pages);
            self.pages.push([NONE; PAGE]);
            self.crowds.push(0);
            u32::try_from(self.pages.len() - 1).expect("fewer pages than orders")
        });
        window.pages.push(page);
        // The page that has just ceased to be among the latest may be nearly empty.
        if let Some(older) = (number + 1).checked_sub(RECENT as u64 + 1) {
            self.consider(session, older, id_of);
        }
        page
    }

    /// Gives a page up when few ids are left on it and it is not among the latest.
    #[cold]
    fn consider(&mut self, session: u32, number: u64, id_of: impl Fn(u32) -> u64) {
        let window = &mut self.windows[session as usize];
        let page = window.page(number);
        let end = window.first + window.pages.len() as u64;
        if page == NONE || self.crowds[page as usize] >= CROWD || number + RECENT as u64 >= end {
            return;
        }
        let place = window.place(number);
        window.pages[place] = NONE;
        window.open_from = window.open_from.max(number + 1);
        let gone = window
            .pages
            .iter()
            .take_while(|&&page| page == NONE)
            .count();
        // Shifting costs as much as what is left, so it waits until half is gone.
        if gone * 2 >= window.pages.len() {
            window.pages.drain(..gone);
            window.first += gone as u64;
        }
        for handle in core::mem::replace(&mut self.pages[page as usize], [NONE; PAGE]) {
            if handle != NONE {
                let hash = self.sparse.hash(session, id_of(handle));
                self.sparse.insert(hash, handle);
            }
        }
        self.crowds[page as usize] = 0;
        self.free.push(page);
    }
}

/// Number of the page and place on it.
#[inline]
const fn split(id: u64) -> (u64, usize) {
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
    let place = id as usize % PAGE;
    (id >> PAGE_BITS, place)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::collections::btree_map::Entry;

    use proptest::prelude::*;

    use super::*;

    /// Ids that rise, with some that jump, and removals of any age.
    fn steps() -> impl Strategy<Value = Vec<(u8, u64)>> {
        prop::collection::vec((any::<u8>(), any::<u64>()), 1..40_000)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn it_is_a_map(steps in steps(), keep in 0u8..40) {
            let mut ids = ClientIds::new(7);
            ids.expect_session(2);
            let mut known: Vec<(u32, u64)> = vec![(0, 0)];
            let mut plain: BTreeMap<(u32, u64), u32> = BTreeMap::new();
            let mut next = [1u64; 3];
            for (what, dice) in steps {
                let session = u32::try_from(dice % 3).unwrap();
                let id_of = |handle: u32| known[handle as usize].1;
                if what >= keep * 4 || plain.is_empty() {
                    let leap = match dice >> 8 & 255 {
                        0 => dice >> 32,
                        1..4 => 2_000,
                        4..16 => 200,
                        _ => 1,
                    };
                    next[session as usize] = next[session as usize].wrapping_add(leap) % (1 << 40);
                    let id = next[session as usize];
                    if let Entry::Vacant(vacant) = plain.entry((session, id)) {
                        let handle = u32::try_from(known.len()).unwrap();
                        ids.insert(session, id, handle, id_of);
                        known.push((session, id));
                        vacant.insert(handle);
                    }
                } else {
                    let at = usize::try_from(dice >> 16).unwrap() % plain.len();
                    let (&(session, id), &handle) = plain.iter().nth(at).unwrap();
                    ids.remove(session, id, handle, id_of);
                    plain.remove(&(session, id));
                    prop_assert_eq!(ids.find(session, id, |other| known[other as usize] == (session, id)), None);
                }
                prop_assert_eq!(ids.live(), plain.len());
            }
            for (&(session, id), &handle) in &plain {
                let is_it = |other: u32| known[other as usize] == (session, id);
                prop_assert_eq!(ids.find(session, id, is_it), Some(handle));
                let is_it = |other: u32| known[other as usize] == (session, id + (1 << 41));
                prop_assert_eq!(ids.find(session, id + (1 << 41), is_it), None);
            }
        }
    }

    #[test]
    fn a_page_that_empties_is_used_again() {
        let mut ids = ClientIds::new(7);
        let id_of = |handle: u32| u64::from(handle);
        for handle in 1..400_000u32 {
            ids.insert(0, u64::from(handle), handle, id_of);
            if handle > 500 && handle % 1000 != 0 {
                let old = handle - 500;
                if old % 1000 != 0 {
                    ids.remove(0, u64::from(old), old, id_of);
                }
            }
        }
        assert!(ids.pages.len() < 300, "{} pages", ids.pages.len());
        assert_eq!(ids.find(0, 1000, |handle| handle == 1000), Some(1000));
        assert_eq!(ids.find(0, 1001, |handle| handle == 1001), None);
        assert_eq!(ids.find(0, 399_999, |_| true), Some(399_999));
    }
}
