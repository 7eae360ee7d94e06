//! The store of live orders: records, queues, ladders, ids, expiries, and the hash over them.
//!
//! Every change of an order's place or quantity goes through here, so that sums of the queues, the
//! index, the list of touched levels and the state hash cannot drift apart. What *should* change is
//! decided elsewhere.

use tessera_types::{AccountId, Event, MatchAlgo, OrderId, Price, Qty, SessionId, Side};

use super::index::IdIndex;
use super::ladder::{Ladder, Node};
use super::order::{Ext, Order, Place, Queue, flag};
use super::slab::{NONE, Record, Slab};
use super::{Book, Half};
use crate::digest::{StateSum, mix};

/// Most live orders: what the handles and the sums of the queues are made for.
pub(crate) const MAX_ORDERS: usize = 1 << 28;

/// All live orders of all books.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) orders: Slab<Order>,
    pub(crate) exts: Slab<Ext>,
    pub(crate) queues: Slab<Queue>,
    pub(crate) nodes: Slab<Node>,
    pub(crate) ids: IdIndex,
    /// Orders by the exchange's id; made when somebody first names an order so, since most venues'
    /// flows never do and it would cost every order a cache line.
    order_ids: Option<IdIndex>,
    seed: u64,
    /// Live quotes by instrument, side and owner.
    quotes: IdIndex,
    touched: Vec<Touched>,
    /// Books whose auction this command has touched in another way than by a level.
    pub(crate) auctions_touched: Vec<u32>,
    sum: StateSum,
    expiries: Ladder,
    deadlines: Slab<Deadline>,
    /// The first deadline, `u64::MAX` when there is none.
    pub(crate) next_expiry: u64,
    /// Live orders of each session, by its number.
    live: Vec<u32>,
}

/// A level before the command that is being applied.
#[derive(Clone, Copy, Debug)]
struct Touched {
    price: i64,
    qty: Qty,
    /// Instrument and side, in the order of level events.
    home: u32,
    queue: u32,
    orders: u32,
}

/// The orders that end at one time.
#[derive(Debug)]
struct Deadline {
    time: u64,
    head: u32,
    tail: u32,
}

impl Record for Deadline {
    fn set_free(&mut self, next: u32) {
        self.head = NONE;
        self.tail = next;
    }

    fn next_free(&self) -> Option<u32> {
        (self.head == NONE).then_some(self.tail)
    }
}

impl Store {
    pub(crate) fn new(seed: u64, orders: usize) -> Self {
        Self {
            orders: Slab::with_capacity(orders),
            exts: Slab::with_capacity(0),
            queues: Slab::with_capacity(256),
            nodes: Slab::with_capacity(16),
            ids: IdIndex::new(seed, orders),
            order_ids: None,
            seed,
            quotes: IdIndex::new(seed, 0),
            touched: Vec::with_capacity(64),
            auctions_touched: Vec::new(),
            sum: StateSum::default(),
            expiries: Ladder::EMPTY,
            deadlines: Slab::with_capacity(0),
            next_expiry: u64::MAX,
            live: vec![0],
        }
    }

    /// Makes room to count the orders of a session.
    pub(crate) fn expect_session(&mut self, session: SessionId) {
        let sessions = session.get() as usize + 1;
        if self.live.len() < sessions {
            self.live.resize(sessions, 0);
        }
    }

    /// How many live orders a session has.
    pub(crate) fn live_of(&self, session: SessionId) -> usize {
        self.live
            .get(session.get() as usize)
            .map_or(0, |&live| live as usize)
    }

    // ---- looking up ----

    /// The order that a session calls `cl_ord_id`.
    #[inline]
    pub(crate) fn find(&self, session: SessionId, cl_ord_id: u64) -> Option<u32> {
        self.ids
            .find(self.ids.hash(session.get(), cl_ord_id), |slot| {
                let order = &self.orders[slot];
                order.cl_ord_id == cl_ord_id && order.session() == session
            })
    }

    /// The order with the exchange's id. The first call reads every order to build an index.
    pub(crate) fn find_by_order_id(&mut self, id: OrderId) -> Option<u32> {
        let orders = &self.orders;
        let index = self.order_ids.get_or_insert_with(|| {
            let mut index = IdIndex::new(self.seed, orders.live());
            for (slot, order) in orders.iter().filter(|(_, order)| order.has(flag::INDEXED)) {
                index.insert(index.hash(0, order.id), slot);
            }
            index
        });
        index.find(index.hash(0, id.get()), |slot| orders[slot].id == id.get())
    }

    /// The live quote of this owner on this side of an instrument.
    pub(crate) fn find_quote(
        &self,
        instrument: u32,
        session: SessionId,
        account: AccountId,
        side: Side,
    ) -> Option<u32> {
        let owner = (u64::from(session.get()) << 32) | u64::from(account.get());
        self.quotes.find(
            self.quotes.hash(quote_space(instrument, side), owner),
            |slot| {
                let order = &self.orders[slot];
                order.session() == session
                    && order.account_id() == account
                    && order.side() == side
                    && self.queues[order.queue].instrument().get() == instrument
            },
        )
    }

    #[inline]
    pub(crate) fn cum(&self, slot: u32) -> u64 {
        let order = &self.orders[slot];
        match order.ext() {
            None => order.plain_cum(),
            Some(ext) => self.exts[ext].cum,
        }
    }

    /// The visible part of what is open.
    #[inline]
    pub(crate) fn shown(&self, order: &Order) -> u64 {
        match order.ext() {
            None => order.leaves,
            Some(ext) => {
                let ext = &self.exts[ext];
                if ext.display == 0 {
                    order.leaves
                } else {
                    ext.shown
                }
            }
        }
    }

    pub(crate) fn ext(&self, slot: u32) -> Option<&Ext> {
        self.orders[slot].ext().map(|ext| &self.exts[ext])
    }

    /// The limit of an order that has one: the level's price in the book, else what a stop keeps.
    pub(crate) fn limit(&self, slot: u32) -> Option<i64> {
        let order = &self.orders[slot];
        let queue = &self.queues[order.queue];
        match queue.place() {
            Place::Book => Some(queue.price),
            Place::Market => None,
            Place::Stop | Place::Trail => self
                .ext(slot)
                .filter(|ext| ext.ord_type.has_price())
                .map(|ext| ext.limit),
        }
    }

    // ---- records ----

    /// Stores a new order, in no queue and not yet under its id.
    #[inline]
    pub(crate) fn insert(&mut self, order: Order, ext: Option<Ext>) -> u32 {
        let slot = self.orders.insert(order);
        if let Some(ext) = ext {
            let ext = self.exts.insert(ext);
            self.orders[slot].set_ext(ext);
        }
        slot
    }

    /// Forgets an order that stands in no queue.
    #[inline]
    pub(crate) fn remove(&mut self, book: &mut Book, slot: u32) {
        let order = &self.orders[slot];
        debug_assert_eq!(order.queue, NONE);
        let ext = order.ext();
        if book.algo == MatchAlgo::TopProRata {
            let top = &mut book.rest.top[order.side() as usize];
            if *top == order.id {
                *top = 0; // it would mean nothing any more, so it must not show in the state hash
            }
        }
        if order.has(flag::INDEXED) {
            self.forget_id(book.number, slot);
        }
        if let Some(ext) = ext {
            self.exts.remove(ext);
        }
        self.orders.remove(slot);
    }

    /// Makes the order known under its ids, and arms its expiry.
    #[inline]
    fn publish(&mut self, instrument: u32, slot: u32) {
        let order = &mut self.orders[slot];
        if order.has(flag::INDEXED) {
            return;
        }
        order.set(flag::INDEXED, true);
        self.live[order.session().get() as usize] += 1;
        let hash = self.ids.hash(order.session().get(), order.cl_ord_id);
        self.ids.insert(hash, slot);
        if let Some(index) = &mut self.order_ids {
            index.insert(index.hash(0, order.id), slot);
        }
        if order.has(flag::QUOTE) {
            let space = quote_space(instrument, order.side());
            self.quotes
                .insert(self.quotes.hash(space, quote_owner(order)), slot);
        }
        if let Some(ext) = order.ext() {
            self.arm_expiry(slot, ext);
        }
    }

    #[inline]
    fn forget_id(&mut self, instrument: u32, slot: u32) {
        let order = &self.orders[slot];
        self.live[order.session().get() as usize] -= 1;
        self.ids
            .remove(self.ids.hash(order.session().get(), order.cl_ord_id), slot);
        if let Some(index) = &mut self.order_ids {
            index.remove(index.hash(0, order.id), slot);
        }
        if order.has(flag::QUOTE) {
            let space = quote_space(instrument, order.side());
            self.quotes
                .remove(self.quotes.hash(space, quote_owner(order)), slot);
        }
        if let Some(ext) = order.ext() {
            self.disarm_expiry(slot, ext);
        }
    }

    /// Gives a live order another client id, which must be free.
    pub(crate) fn rename(&mut self, slot: u32, cl_ord_id: u64) {
        let order = &self.orders[slot];
        let queued = order.queue != NONE;
        if queued {
            self.sum.subtract(self.fact(slot));
        }
        let order = &mut self.orders[slot];
        let space = order.session().get();
        if order.has(flag::INDEXED) {
            self.ids.remove(self.ids.hash(space, order.cl_ord_id), slot);
            self.ids.insert(self.ids.hash(space, cl_ord_id), slot);
        }
        order.cl_ord_id = cl_ord_id;
        if queued {
            self.sum.add(self.fact(slot));
        }
    }

    // ---- expiries ----

    fn arm_expiry(&mut self, slot: u32, ext: u32) {
        let time = self.exts[ext].expire;
        if time == 0 {
            return;
        }
        if let Some(deadline) = self.expiries.get(&self.nodes, time) {
            // Orders arm in order of acceptance, so the end of the list is the place by age.
            let tail = self.deadlines[deadline].tail;
            self.exts[ext].expire_prev = tail;
            if let Some(ext) = self.orders[tail].ext() {
                self.exts[ext].expire_next = slot;
            }
            self.deadlines[deadline].tail = slot;
        } else {
            let deadline = self.deadlines.insert(Deadline {
                time,
                head: slot,
                tail: slot,
            });
            self.expiries.insert(&mut self.nodes, time, deadline);
            self.next_expiry = self.next_expiry.min(time);
        }
    }

    fn disarm_expiry(&mut self, slot: u32, ext: u32) {
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
            .get(&self.nodes, time)
            .expect("an order that expires is listed under its time");
        if let Some(ext) = self.ext_of(next) {
            self.exts[ext].expire_prev = prev;
        } else {
            self.deadlines[deadline].tail = prev;
        }
        if let Some(ext) = self.ext_of(prev) {
            self.exts[ext].expire_next = next;
        } else {
            debug_assert_eq!(self.deadlines[deadline].head, slot);
            self.deadlines[deadline].head = next;
        }
        if self.deadlines[deadline].head == NONE {
            // An empty list looks like a free record; give it a head for the moment.
            self.deadlines[deadline].head = slot;
            self.deadlines.remove(deadline);
            self.expiries.remove(&mut self.nodes, time);
            let first = self.expiries.first(&self.nodes);
            self.next_expiry = first.map_or(u64::MAX, |first| self.deadlines[first].time);
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
        if self.next_expiry > now {
            return None;
        }
        self.expiries
            .first(&self.nodes)
            .map(|deadline| self.deadlines[deadline].head)
    }

    // ---- queues ----

    /// Puts an order at the end of a queue.
    pub(crate) fn attach(&mut self, book: &mut Book, slot: u32, place: Place, price: i64) {
        self.publish(book.number, slot);
        let side = self.orders[slot].side();
        let at = self.queue_for(book, place, side, price);
        if place == Place::Book {
            self.touch(at);
            if book.algo == MatchAlgo::TopProRata
                && book.side(side).best == at
                && self.queues[at].orders == 0
            {
                book.rest.top[side as usize] = self.orders[slot].id;
            }
        }
        let order = &self.orders[slot];
        let (shown, leaves) = (self.shown(order), order.leaves);
        let aon = order.has(flag::ALL_OR_NONE);
        let queue = &mut self.queues[at];
        queue.visible += u128::from(shown);
        queue.open += u128::from(leaves);
        queue.orders += 1;
        self.link_last(slot, at, place);
        self.sum.add(self.fact(slot));
        match place {
            Place::Book => book.aon_resting += u32::from(aon),
            Place::Stop | Place::Trail => book.stops_waiting += 1,
            Place::Market => {
                book.rest.aon_waiting += u32::from(aon);
                self.auctions_touched.push(book.number);
            }
        }
    }

    /// Takes an order out of its queue; the record stays.
    pub(crate) fn detach(&mut self, book: &mut Book, slot: u32) {
        self.sum.subtract(self.fact(slot));
        let order = &self.orders[slot];
        let at = order.queue;
        let place = self.queues[at].place();
        match place {
            Place::Book => {
                book.aon_resting -= u32::from(order.has(flag::ALL_OR_NONE));
                self.touch(at);
            }
            Place::Stop | Place::Trail => book.stops_waiting -= 1,
            Place::Market => {
                book.rest.aon_waiting -= u32::from(order.has(flag::ALL_OR_NONE));
                self.auctions_touched.push(book.number);
            }
        }
        let order = &self.orders[slot];
        let (shown, leaves) = (self.shown(order), order.leaves);
        let queue = &mut self.queues[at];
        queue.visible -= u128::from(shown);
        queue.open -= u128::from(leaves);
        queue.orders -= 1;
        self.unlink(slot, at, place);
        self.orders[slot].queue = NONE;
        if self.queues[at].orders == 0 {
            self.drop_queue(book, at);
        }
    }

    /// Moves a plain order of the book to the end of the queue at another price: what
    /// [`detach`](Self::detach) and [`attach`](Self::attach) do, for the most frequent request.
    pub(crate) fn reprice(&mut self, book: &mut Book, slot: u32, price: i64) {
        self.sum.subtract(self.fact(slot));
        let order = &self.orders[slot];
        debug_assert!(order.ext().is_none() && !order.has(flag::ALL_OR_NONE));
        let (from, side, leaves) = (order.queue, order.side(), u128::from(order.leaves));
        self.touch(from);
        let queue = &mut self.queues[from];
        queue.visible -= leaves;
        queue.open -= leaves;
        queue.orders -= 1;
        let empty = queue.orders == 0;
        self.unlink(slot, from, Place::Book);
        if empty {
            self.drop_queue(book, from);
        }
        let to = self.queue_for(book, Place::Book, side, price);
        self.touch(to);
        let queue = &mut self.queues[to];
        queue.visible += leaves;
        queue.open += leaves;
        queue.orders += 1;
        self.link_last(slot, to, Place::Book);
        self.sum.add(self.fact(slot));
    }

    /// Ends a live order: out of its queue, out of the index, record freed.
    pub(crate) fn end(&mut self, book: &mut Book, slot: u32) {
        self.detach(book, slot);
        self.remove(book, slot);
    }

    /// Books a fill of an order in the book. Returns true when it was filled whole and has ended.
    ///
    /// An iceberg whose slice is gone shows the next one at the end of the queue.
    #[inline]
    pub(crate) fn fill(&mut self, book: &mut Book, slot: u32, qty: u64) -> bool {
        let at = self.orders[slot].queue;
        if self.queues[at].place() == Place::Book {
            self.touch(at);
        }
        if self.orders[slot].leaves == qty {
            self.end(book, slot);
            return true;
        }
        self.sum.subtract(self.fact(slot));
        let queue = &mut self.queues[at];
        queue.open -= u128::from(qty);
        let order = &mut self.orders[slot];
        order.leaves -= qty;
        let leaves = order.leaves;
        self.add_cum(slot, qty);
        let queue = &mut self.queues[at];
        match self.orders[slot].ext() {
            Some(ext) if self.exts[ext].display != 0 => {
                let ext = &mut self.exts[ext];
                let before = ext.shown;
                if qty < before {
                    ext.shown -= qty;
                } else {
                    // In an auction more than the slice may trade at once: the slices that follow
                    // go the same way, and the last of them may be left in part.
                    let begun = (qty - before) % ext.display;
                    ext.shown = (ext.display - begun).min(leaves);
                }
                queue.visible = queue.visible - u128::from(before) + u128::from(ext.shown);
                if qty >= before {
                    self.move_last(slot, at);
                }
            }
            _ => queue.visible -= u128::from(qty),
        }
        self.sum.add(self.fact(slot));
        false
    }

    /// Lowers what is open of a queued order, hidden quantity first; its place stays. `qty` is less
    /// than what is open.
    pub(crate) fn shrink(&mut self, slot: u32, qty: u64) {
        let at = self.orders[slot].queue;
        match self.queues[at].place() {
            Place::Book => self.touch(at),
            Place::Market => {
                let number = self.queues[at].instrument().get();
                self.auctions_touched.push(number);
            }
            Place::Stop | Place::Trail => {}
        }
        self.sum.subtract(self.fact(slot));
        let before = self.shown(&self.orders[slot]);
        let order = &mut self.orders[slot];
        debug_assert!(qty < order.leaves);
        order.leaves -= qty;
        let leaves = order.leaves;
        if let Some(ext) = order.ext() {
            let ext = &mut self.exts[ext];
            ext.shown = ext.shown.min(leaves);
        }
        let after = self.shown(&self.orders[slot]);
        let queue = &mut self.queues[at];
        queue.open -= u128::from(qty);
        queue.visible = queue.visible - u128::from(before) + u128::from(after);
        self.sum.add(self.fact(slot));
    }

    /// Sets open and filled quantity of an order that stands in no queue.
    #[inline]
    pub(crate) fn set_open(&mut self, slot: u32, leaves: u64, filled: u64) {
        debug_assert_eq!(self.orders[slot].queue, NONE);
        self.orders[slot].leaves = leaves;
        if filled > 0 {
            self.add_cum(slot, filled);
        }
        if let Some(ext) = self.orders[slot].ext() {
            let ext = &mut self.exts[ext];
            ext.shown = ext.slice(leaves);
        }
    }

    /// Sets trigger and limit of a stop that stands in no queue.
    pub(crate) fn set_stop(&mut self, slot: u32, limit: i64, stop: Option<i64>) {
        debug_assert_eq!(self.orders[slot].queue, NONE);
        if let Some(ext) = self.orders[slot].ext() {
            let ext = &mut self.exts[ext];
            (ext.limit, ext.stop) = (limit, stop);
        }
    }

    /// Makes a stop that stands in no queue an ordinary order, and tells what it was.
    pub(crate) fn trigger(&mut self, slot: u32) -> Ext {
        debug_assert_eq!(self.orders[slot].queue, NONE);
        let Some(ext) = self.orders[slot].ext() else {
            unreachable!("a stop has an extension")
        };
        let ext = &mut self.exts[ext];
        let stop = ext.clone();
        *ext = Ext {
            cum: stop.cum,
            expire: stop.expire,
            expire_next: stop.expire_next,
            expire_prev: stop.expire_prev,
            ..Ext::PLAIN
        };
        stop
    }

    /// Changes a queued order in a way that leaves its queue alone.
    pub(crate) fn amend(&mut self, slot: u32, change: impl FnOnce(&mut Order, Option<&mut Ext>)) {
        self.sum.subtract(self.fact(slot));
        let order = &mut self.orders[slot];
        let ext = order.ext();
        change(order, ext.map(|ext| &mut self.exts[ext]));
        self.sum.add(self.fact(slot));
    }

    /// Makes an order's fills count no more, as a kept quote asks.
    pub(crate) fn forget_fills(&mut self, slot: u32) {
        self.sum.subtract(self.fact(slot));
        match self.orders[slot].ext() {
            None => self.orders[slot].set_plain_cum(0),
            Some(ext) => self.exts[ext].cum = 0,
        }
        self.sum.add(self.fact(slot));
    }

    #[inline]
    fn add_cum(&mut self, slot: u32, qty: u64) {
        let order = &mut self.orders[slot];
        if let Some(ext) = order.ext() {
            self.exts[ext].cum += qty;
            return;
        }
        let cum = order.plain_cum() + qty;
        match u32::try_from(cum) {
            Ok(cum) => order.set_plain_cum(cum),
            Err(_) => {
                // Too much for the short field: the long one lives in an extension record.
                let ext = self.exts.insert(Ext { cum, ..Ext::PLAIN });
                self.orders[slot].set_ext(ext);
            }
        }
    }

    #[inline]
    fn queue_for(&mut self, book: &mut Book, place: Place, side: Side, price: i64) -> u32 {
        let number = book.number;
        match place {
            Place::Book | Place::Stop => {
                // Buy stops are elected from the lowest up, so they stand as asks do.
                let ranked = if place == Place::Book {
                    side
                } else {
                    side.opposite()
                };
                let rank = book.rank(ranked, price);
                let Some(half) = book.half(place, side) else {
                    unreachable!("both have ladders")
                };
                if half.best != NONE && self.queues[half.best].rank == rank {
                    return half.best;
                }
                if let Some(at) = half.ladder.get(&self.nodes, rank) {
                    return at;
                }
                let at = self
                    .queues
                    .insert(Queue::new(number, place, side, price, rank));
                half.ladder.insert(&mut self.nodes, rank, at);
                if half.best == NONE || rank < self.queues[half.best].rank {
                    half.best = at;
                }
                at
            }
            Place::Market | Place::Trail => {
                let room = book.room(place, side);
                if *room == NONE {
                    *room = self.queues.insert(Queue::new(number, place, side, 0, 0));
                }
                *room
            }
        }
    }

    fn drop_queue(&mut self, book: &mut Book, at: u32) {
        let queue = &self.queues[at];
        let (place, side, rank) = (queue.place(), queue.side(), queue.rank);
        if let Some(half) = book.half(place, side) {
            if half.best == at {
                half.best = half.ladder.next(&self.nodes, rank).unwrap_or(NONE);
            }
            half.ladder.remove(&mut self.nodes, rank);
        } else {
            *book.room(place, side) = NONE;
        }
        self.queues.remove(at);
    }

    #[inline]
    fn link_last(&mut self, slot: u32, at: u32, place: Place) {
        let queue = &mut self.queues[at];
        let tail = queue.tail;
        queue.tail = slot;
        if tail == NONE {
            queue.head = slot;
        } else {
            self.orders[tail].next = slot;
            if ranks_by_arrival(place) {
                self.sum
                    .add(mix([self.orders[tail].id, self.orders[slot].id]));
            }
        }
        let order = &mut self.orders[slot];
        order.prev = tail;
        order.next = NONE;
        order.queue = at;
    }

    #[inline]
    fn unlink(&mut self, slot: u32, at: u32, place: Place) {
        let order = &self.orders[slot];
        let (id, prev, next) = (order.id, order.prev, order.next);
        let counts = ranks_by_arrival(place);
        let mut before = 0;
        if prev == NONE {
            self.queues[at].head = next;
        } else {
            self.orders[prev].next = next;
            before = self.orders[prev].id;
            if counts {
                self.sum.subtract(mix([before, id]));
            }
        }
        if next == NONE {
            self.queues[at].tail = prev;
        } else {
            self.orders[next].prev = prev;
            let after = self.orders[next].id;
            if counts {
                self.sum.subtract(mix([id, after]));
                if prev != NONE {
                    self.sum.add(mix([before, after]));
                }
            }
        }
    }

    fn move_last(&mut self, slot: u32, at: u32) {
        if self.queues[at].tail != slot {
            self.unlink(slot, at, Place::Book);
            self.link_last(slot, at, Place::Book);
        }
    }

    // ---- level events ----

    /// Remembers what a level was before the command changes it.
    #[inline]
    fn touch(&mut self, at: u32) {
        let queue = &mut self.queues[at];
        if queue.touched() {
            return;
        }
        self.touched.push(Touched {
            price: queue.price,
            qty: queue.shown(),
            home: queue.home(),
            queue: at,
            orders: queue.orders,
        });
        queue.set_touched(true);
    }

    /// The books with a level that this command has touched, in any order and more than once.
    pub(crate) fn books_touched(&self) -> impl Iterator<Item = u32> {
        self.touched.iter().map(|level| level.home >> 4)
    }

    /// Tells which levels are not what they were before the command, in order of instrument, side
    /// and price.
    #[inline]
    pub(crate) fn emit_levels(&mut self, mut emit: impl FnMut(Event)) {
        let mut touched = core::mem::take(&mut self.touched);
        Touched::sort(&mut touched);
        let mut at = 0;
        while let Some(&before) = touched.get(at) {
            let (mut qty, mut orders) = self.settle(&before);
            at += 1;
            // A level that ended and came back within the command has two records.
            while let Some(again) = touched.get(at).filter(|again| again.key() == before.key()) {
                let now = self.settle(again);
                if now.1 > 0 {
                    (qty, orders) = now;
                }
                at += 1;
            }
            if (qty, orders) != (before.qty, before.orders) {
                let (instrument, side) = Queue::parse_home(before.home);
                let price = Price::from_ticks(before.price);
                emit(Event::Level {
                    instrument,
                    side,
                    price,
                    qty,
                    orders,
                });
            }
        }
        touched.clear();
        self.touched = touched;
    }

    /// What a touched level is now, nothing when it has ended; its mark goes. A record that was used
    /// again for another level differs in price or home.
    #[inline]
    fn settle(&mut self, record: &Touched) -> (Qty, u32) {
        let queue = &mut self.queues[record.queue];
        if queue.home() != record.home || queue.price != record.price || queue.next_free().is_some()
        {
            return (Qty::ZERO, 0);
        }
        queue.set_touched(false);
        (queue.shown(), queue.orders)
    }

    // ---- state hash ----

    /// Sum over every live order and its place.
    pub(crate) const fn sum(&self) -> StateSum {
        self.sum
    }

    /// Who the order is, where it stands, and what of it is open, filled and visible.
    #[inline]
    fn fact(&self, slot: u32) -> u128 {
        let order = &self.orders[slot];
        let queue = &self.queues[order.queue];
        let (cum, shown, more) = match order.ext() {
            None => (order.plain_cum(), order.leaves, 0),
            Some(ext) => {
                let ext = &self.exts[ext];
                let shown = if ext.display == 0 {
                    order.leaves
                } else {
                    ext.shown
                };
                (ext.cum, shown, ext_word(ext))
            }
        };
        mix([
            order.id,
            order.cl_ord_id,
            order.owner_word(),
            u64::from(queue.home()) ^ more,
            queue.price.cast_unsigned(),
            order.leaves,
            cum,
            shown,
        ])
    }

    // ---- checking ----

    /// The sum over everything, computed from nothing; what [`sum`](Self::sum) must equal.
    fn sum_from_scratch(&self) -> StateSum {
        let mut sum = StateSum::default();
        for (slot, order) in self.orders.iter() {
            sum.add(self.fact(slot));
            if order.prev != NONE && ranks_by_arrival(self.queues[order.queue].place()) {
                sum.add(mix([self.orders[order.prev].id, order.id]));
            }
        }
        sum
    }

    /// Panics unless every structure fits every other. Between commands only.
    pub(crate) fn check(&self, books: &[Book]) {
        self.orders.check();
        self.exts.check();
        self.queues.check();
        self.nodes.check();
        self.deadlines.check();
        assert!(self.touched.is_empty(), "touched levels were left over");
        assert!(self.auctions_touched.is_empty(), "touched auctions");
        assert_eq!(self.sum, self.sum_from_scratch(), "state sum");
        let (mut orders, mut queues) = (0, 0);
        let mut nodes = self.expiries.check(&self.nodes);
        for book in books {
            let (mut stops, mut aon, mut waiting) = (0, 0, 0);
            for side in [Side::Buy, Side::Sell] {
                for (place, half) in [
                    (Place::Book, book.sides[side as usize]),
                    (Place::Stop, book.rest.stops[side as usize]),
                ] {
                    nodes += half.ladder.check(&self.nodes);
                    assert_eq!(
                        half.ladder.first(&self.nodes),
                        (half.best != NONE).then_some(half.best),
                        "best"
                    );
                    let mut last = None;
                    for at in half.queues(&self.queues, &self.nodes) {
                        assert!(last < Some(self.queues[at].rank), "ladder out of order");
                        last = Some(self.queues[at].rank);
                        queues += 1;
                        orders += self.check_queue(book, at, place, side, &half, &mut aon);
                        if place == Place::Stop {
                            stops += self.queues[at].orders;
                        }
                    }
                }
                for (place, at) in [
                    (Place::Market, book.rest.markets[side as usize]),
                    (Place::Trail, book.rest.trails[side as usize]),
                ] {
                    if at != NONE {
                        queues += 1;
                        let half = &Half::EMPTY;
                        orders += self.check_queue(book, at, place, side, half, &mut waiting);
                        if place == Place::Trail {
                            stops += self.queues[at].orders;
                        }
                    }
                }
            }
            assert_eq!(book.stops_waiting, stops, "waiting stops");
            assert_eq!(book.aon_resting, aon, "resting all-or-none orders");
            assert_eq!(book.rest.aon_waiting, waiting, "waiting all-or-none orders");
        }
        assert_eq!(orders, self.orders.live(), "orders outside of every queue");
        assert_eq!(queues, self.queues.live(), "queues outside of every book");
        assert_eq!(
            nodes,
            self.nodes.live(),
            "trie nodes outside of every ladder"
        );
        assert_eq!(self.ids.live(), self.orders.live(), "ids in the index");
        let quotes = self
            .orders
            .iter()
            .filter(|(_, order)| order.has(flag::QUOTE))
            .count();
        assert_eq!(self.quotes.live(), quotes, "quotes in their index");
        self.check_expiries();
    }

    fn check_queue(
        &self,
        book: &Book,
        at: u32,
        place: Place,
        side: Side,
        half: &Half,
        aon: &mut u32,
    ) -> usize {
        let queue = &self.queues[at];
        assert_eq!(
            (queue.place(), queue.side()),
            (place, side),
            "home of a queue"
        );
        assert_eq!(queue.book(), book.number as usize, "book of a queue");
        assert!(!queue.touched(), "a touched mark was left over");
        assert!(queue.head != NONE, "an empty queue");
        if place == Place::Book {
            assert_eq!(queue.rank, book.rank(side, queue.price), "rank");
        }
        let mut ladder = half.ladder;
        if place == Place::Book || place == Place::Stop {
            assert_eq!(
                ladder.get(&self.nodes, queue.rank),
                Some(at),
                "ladder entry"
            );
        }
        let (mut count, mut visible, mut open) = (0u32, 0u128, 0u128);
        let (mut slot, mut prev) = (queue.head, NONE);
        while slot != NONE {
            let order = &self.orders[slot];
            assert_eq!(order.prev, prev, "back link");
            assert_eq!(order.queue, at, "queue of an order");
            assert_eq!(order.side(), side, "side of an order");
            assert!(order.leaves > 0, "a live order with nothing open");
            assert!(order.has(flag::INDEXED), "a live order without its id");
            assert_eq!(
                self.find(order.session(), order.cl_ord_id),
                Some(slot),
                "client id"
            );
            let shown = self.shown(order);
            assert!(shown > 0 && shown <= order.leaves, "visible quantity");
            count += 1;
            visible += u128::from(shown);
            open += u128::from(order.leaves);
            let counts = matches!(place, Place::Book | Place::Market);
            *aon += u32::from(counts && order.has(flag::ALL_OR_NONE));
            (prev, slot) = (slot, order.next);
        }
        assert_eq!(queue.tail, prev, "tail");
        assert_eq!(
            (queue.orders, queue.visible, queue.open),
            (count, visible, open),
            "sums"
        );
        count as usize
    }

    fn check_expiries(&self) {
        let mut listed = 0;
        let mut first = u64::MAX;
        for (_, deadline) in self.deadlines.iter() {
            first = first.min(deadline.time);
            let (mut slot, mut prev, mut age) = (deadline.head, NONE, 0);
            while slot != NONE {
                let ext = self
                    .ext(slot)
                    .expect("an order that expires has an extension");
                assert_eq!(
                    (ext.expire, ext.expire_prev),
                    (deadline.time, prev),
                    "deadline"
                );
                assert!(
                    self.orders[slot].id > age,
                    "orders that end together are sorted by age"
                );
                age = self.orders[slot].id;
                listed += 1;
                (prev, slot) = (slot, ext.expire_next);
            }
            assert_eq!(deadline.tail, prev, "end of a deadline");
        }
        assert_eq!(self.next_expiry, first, "first deadline");
        let expected = self
            .orders
            .iter()
            .filter(|&(slot, _)| self.ext(slot).is_some_and(|ext| ext.expire != 0));
        assert_eq!(listed, expected.count(), "orders with a deadline");
    }
}

impl Touched {
    #[inline]
    fn key(&self) -> (u32, i64) {
        (self.home, self.price)
    }

    /// Sorts by level; of two records of one level the older stays first.
    #[inline]
    fn sort(touched: &mut [Self]) {
        match touched {
            [] | [_] => {}
            [a, b] => {
                if b.key() < a.key() {
                    core::mem::swap(a, b);
                }
            }
            more => more.sort_by_key(Self::key),
        }
    }
}

#[inline]
fn quote_space(instrument: u32, side: Side) -> u32 {
    instrument << 1 | side as u32
}

#[inline]
fn quote_owner(order: &Order) -> u64 {
    u64::from(order.session().get()) << 32 | u64::from(order.account)
}

/// True where the order of arrival can influence a later event. Stops are elected by age.
#[inline]
const fn ranks_by_arrival(place: Place) -> bool {
    matches!(place, Place::Book | Place::Market)
}

fn ext_word(ext: &Ext) -> u64 {
    if ext.is_plain() {
        return 0;
    }
    let mixed = mix([
        ext.display,
        u64::from(ext.ord_type.code()) << 8 | u64::from(ext.time_in_force.code()),
        ext.limit.cast_unsigned(),
        u64::from(ext.stop.is_some()) << 1 | u64::from(ext.budget.is_some()),
        ext.stop.unwrap_or(0).cast_unsigned(),
        ext.trail,
        ext.min_qty,
        ext.budget.unwrap_or(0),
        ext.expire,
        0,
    ]);
    #[expect(clippy::cast_possible_truncation, reason = "half of a mix is a mix")]
    let word = mixed as u64;
    word
}
