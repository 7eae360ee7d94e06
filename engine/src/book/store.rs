//! The store of live orders: records, queues, ladders, ids, and the hash over them.
//!
//! Every change of an order's place or quantity goes through here, so that sums of the queues, the
//! index, the list of touched levels and the state hash cannot drift apart. What *should* change is
//! decided elsewhere.

use core::hint::select_unpredictable;

use tessera_types::{AccountId, Event, EventSink, MatchAlgo, OrderId, Qty, SessionId, Side};

use super::expiries::Expiries;
use super::ids::ClientIds;
use super::index::IdIndex;
use super::ladder::Node;
use super::order::{Ext, Order, Place, Queue, flag};
use super::slab::{NONE, Slab};
use super::touched::Touched;
use super::{Book, Half};
use crate::digest::{StateSum, combine, fold_product, key, lead, trail};

/// Most live orders: what the handles and the sums of the queues are made for.
pub(crate) const MAX_ORDERS: usize = 1 << 28;

/// All live orders of all books.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) orders: Slab<Order>,
    pub(crate) exts: Slab<Ext>,
    pub(crate) queues: Slab<Queue>,
    pub(crate) nodes: Slab<Node>,
    pub(crate) ids: ClientIds,
    /// Orders by the exchange's id; made when somebody first names an order so, since most venues'
    /// flows never do and it would cost every order a cache line.
    order_ids: Option<IdIndex>,
    seed: u64,
    /// Live quotes by instrument, side and owner.
    pub(crate) quotes: IdIndex,
    pub(crate) touched: Touched,
    /// Books whose auction this command has touched in another way than by a level.
    pub(crate) auctions_touched: Vec<u32>,
    sum: StateSum,
    pub(crate) expiries: Expiries,
    /// Live orders of each session, by its number.
    live: Vec<u32>,
}

impl Store {
    pub(crate) fn new(seed: u64, orders: usize) -> Self {
        Self {
            orders: Slab::with_capacity(orders),
            exts: Slab::with_capacity(0),
            queues: Slab::with_capacity(256),
            nodes: Slab::with_capacity(16),
            ids: ClientIds::new(seed),
            order_ids: None,
            seed,
            quotes: IdIndex::new(seed, 0),
            touched: Touched::new(),
            auctions_touched: Vec::new(),
            sum: StateSum::default(),
            expiries: Expiries::new(),
            live: vec![0],
        }
    }

    /// Makes room to count the orders of a session.
    pub(crate) fn expect_session(&mut self, session: SessionId) {
        self.ids.expect_session(session.get());
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
    #[inline(always)]
    pub(crate) fn find(&self, session: SessionId, cl_ord_id: u64) -> Option<u32> {
        self.ids.find(session.get(), cl_ord_id, |slot| {
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

    /// Stores an order of which something has been filled already.
    pub(crate) fn insert_filled(&mut self, order: &Order, filled: u64) -> u32 {
        let slot = self.insert(order.clone(), None);
        if filled > 0 {
            self.add_cum(slot, filled);
        }
        slot
    }

    /// Forgets an order that stands in no queue.
    #[inline(always)]
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
    pub(crate) fn publish(&mut self, instrument: u32, slot: u32) {
        let order = &mut self.orders[slot];
        if order.has(flag::INDEXED) {
            return;
        }
        order.set(flag::INDEXED, true);
        let (session, id) = (order.session().get(), order.cl_ord_id);
        self.live[session as usize] += 1;
        self.index_id(session, id, slot);
        let order = &self.orders[slot];
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

    #[inline(always)]
    fn index_id(&mut self, session: u32, id: u64, slot: u32) {
        let orders = &self.orders;
        self.ids
            .insert(session, id, slot, |other| orders[other].cl_ord_id);
    }

    #[inline(always)]
    fn forget_id(&mut self, instrument: u32, slot: u32) {
        let order = &self.orders[slot];
        let (session, id) = (order.session().get(), order.cl_ord_id);
        self.live[session as usize] -= 1;
        let orders = &self.orders;
        self.ids
            .remove(session, id, slot, |other| orders[other].cl_ord_id);
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
            let fact = self.fact(slot);
            self.sum.subtract(fact);
        }
        let order = &mut self.orders[slot];
        let space = order.session().get();
        let old = core::mem::replace(&mut order.cl_ord_id, cl_ord_id);
        if order.has(flag::INDEXED) {
            let orders = &self.orders;
            self.ids
                .remove(space, old, slot, |other| orders[other].cl_ord_id);
            self.index_id(space, cl_ord_id, slot);
        }
        if queued {
            let fact = self.fact(slot);
            self.sum.add(fact);
        }
    }

    // ---- queues ----

    /// Puts an order at the end of its level.
    #[inline]
    pub(crate) fn rest(&mut self, book: &mut Book, slot: u32, price: i64) {
        self.publish(book.number, slot);
        let side = self.orders[slot].side();
        let at = self.level(book, side, price);
        self.touched.note(&mut self.queues, at);
        self.join(book, slot, at);
    }

    /// Puts the shadow of a group order at the end of its level; it is known under no id.
    pub(crate) fn rest_shadow(&mut self, book: &mut Book, slot: u32, price: i64) {
        let side = self.orders[slot].side();
        let at = self.level(book, side, price);
        self.touched.note(&mut self.queues, at);
        self.join(book, slot, at);
    }

    /// Sets what a shadow has open; its place stays.
    pub(crate) fn set_shadow(&mut self, slot: u32, open: u64) {
        let at = self.orders[slot].queue;
        self.touched.note(&mut self.queues, at);
        let fact = self.fact(slot);
        self.sum.subtract(fact);
        let before = core::mem::replace(&mut self.orders[slot].leaves, open);
        self.queues[at].change((before, before), (open, open));
        let fact = self.fact(slot);
        self.sum.add(fact);
    }

    /// Puts an order into a waiting room: a stop under its trigger, the others without a price.
    pub(crate) fn wait(&mut self, book: &mut Book, slot: u32, place: Place, price: i64) {
        debug_assert_ne!(place, Place::Book);
        self.publish(book.number, slot);
        let side = self.orders[slot].side();
        let at = self.room(book, place, side, price);
        match place {
            Place::Market => {
                book.rest.aon_waiting += u32::from(self.orders[slot].has(flag::ALL_OR_NONE));
                self.auctions_touched.push(book.number);
            }
            _ => book.stops_waiting += 1,
        }
        self.link(slot, at, place == Place::Market);
    }

    /// Takes an order out of its queue; the record stays.
    pub(crate) fn detach(&mut self, book: &mut Book, slot: u32) {
        let at = self.orders[slot].queue;
        let place = self.queues[at].place();
        if place == Place::Book {
            self.touched.note(&mut self.queues, at);
            self.leave(book, slot);
            return;
        }
        match place {
            Place::Market => {
                book.rest.aon_waiting -= u32::from(self.orders[slot].has(flag::ALL_OR_NONE));
                self.auctions_touched.push(book.number);
            }
            _ => book.stops_waiting -= 1,
        }
        self.unlink(slot, at, place == Place::Market);
        if self.queues[at].orders == 0 {
            self.drop_room(book, at, place);
        }
    }

    /// Ends a live order: out of its queue, out of the index, record freed.
    #[inline]
    pub(crate) fn end(&mut self, book: &mut Book, slot: u32) {
        self.detach(book, slot);
        self.remove(book, slot);
    }

    // The three changes that make up nearly every flow. When nothing else happens in the command,
    // the level's event is known at once and nothing need be noted as touched.

    /// Stores a plain order at the end of its level: what the level is now.
    #[inline(always)]
    pub(crate) fn rest_alone(
        &mut self,
        book: &mut Book,
        mut order: Order,
        side: Side,
        price: i64,
    ) -> Event {
        debug_assert!(order.ext().is_none() && !order.has(flag::QUOTE | flag::ALL_OR_NONE));
        let at = self.level(book, side, price);
        if book.algo == MatchAlgo::TopProRata {
            self.note_top(book, &order, at);
        }
        order.set(flag::INDEXED, true);
        let (session, client_id, id) = (order.session().get(), order.cl_ord_id, order.id);
        let leaves = order.leaves;
        let slot = self.orders.insert(order);
        let orders = self.orders.all_mut();
        let queue = &mut self.queues[at];
        self.sum.add(fact(
            &orders[slot as usize],
            queue,
            &Parts::plain(leaves, 0),
        ));
        queue.visible += u128::from(leaves);
        queue.orders += 1;
        self.sum.add(chain(orders, queue, slot, at));
        let event = queue.event();
        self.live[session as usize] += 1;
        self.index_id(session, client_id, slot);
        if let Some(index) = &mut self.order_ids {
            index.insert(index.hash(0, id), slot);
        }
        event
    }

    /// Ends a plain order of the book: what its level is now.
    #[inline(always)]
    pub(crate) fn end_alone(&mut self, book: &mut Book, slot: u32) -> Event {
        let level = self.leave(book, slot);
        self.remove(book, slot);
        level
    }

    /// Moves a plain order of the book to the end of another level: what the old level and the new
    /// one are now.
    #[inline(always)]
    pub(crate) fn move_alone(&mut self, book: &mut Book, slot: u32, price: i64) -> [LevelNow; 2] {
        let order = &self.orders[slot];
        debug_assert!(order.ext().is_none() && !order.has(flag::ALL_OR_NONE));
        let (from, side) = (order.queue, order.side());
        let to = self.level(book, side, price);
        let orders = self.orders.all_mut();
        let queues = self.queues.all_mut();
        let Order { id, leaves, .. } = orders[slot as usize];

        let queue = &mut queues[from as usize];
        let gone = unchain(orders, queue, slot);
        queue.visible -= u128::from(leaves);
        queue.orders -= 1;
        let old = LevelNow::of(queue);

        let queue = &mut queues[to as usize];
        let come = chain(orders, queue, slot, to);
        queue.visible += u128::from(leaves);
        queue.orders += 1;
        let new = LevelNow::of(queue);

        // Of the order's own fact the price alone is another.
        let step = price.wrapping_sub(old.price).cast_unsigned();
        let fact = own(id).wrapping_mul(key(PRICE).wrapping_mul(step));
        self.sum.add(fact.wrapping_add(come).wrapping_sub(gone));
        if old.orders == 0 {
            self.close(&mut book.sides[side as usize], from);
        }
        [old, new]
    }

    /// True when no level has been touched by this command so far.
    #[inline]
    pub(crate) fn untouched(&self) -> bool {
        self.touched.is_empty()
    }

    /// Books a fill of an order in the book. Returns true when it was filled whole and has ended.
    ///
    /// An iceberg whose slice is gone shows the next one at the end of the queue.
    #[inline]
    pub(crate) fn fill(&mut self, book: &mut Book, slot: u32, qty: u64) -> bool {
        let order = &self.orders[slot];
        if order.leaves == qty {
            self.end(book, slot);
            return true;
        }
        let at = order.queue;
        let queue = &self.queues[at];
        if queue.place() == Place::Book {
            self.touched.note(&mut self.queues, at);
        }
        if order.has(flag::EXT) || order.plain_cum() + qty > u64::from(u32::MAX) {
            self.fill_part_of(slot, at, qty);
            return false;
        }
        let order = &mut self.orders[slot];
        order.leaves -= qty;
        order.add_plain_cum(qty);
        // Less open, less visible, more filled: three words of the order's fact.
        self.sum
            .add(own(order.id).wrapping_mul(FILLED.wrapping_mul(qty)));
        self.queues[at].visible -= u128::from(qty);
        false
    }

    /// The same for an order whose fills, slices or deadline are kept apart.
    fn fill_part_of(&mut self, slot: u32, at: u32, qty: u64) {
        let fact = self.fact(slot);
        self.sum.subtract(fact);
        let before = self.shown(&self.orders[slot]);
        let order = &mut self.orders[slot];
        order.leaves -= qty;
        let leaves = order.leaves;
        self.add_cum(slot, qty);
        let mut after = leaves;
        let mut slice_gone = false;
        if let Some(ext) = self.orders[slot].ext() {
            let ext = &mut self.exts[ext];
            if ext.display != 0 {
                if qty < before {
                    ext.shown -= qty;
                } else {
                    // In an auction more than the slice may trade at once: the slices that follow
                    // go the same way, and the last of them may be left in part.
                    let begun = (qty - before) % ext.display;
                    ext.shown = (ext.display - begun).min(leaves);
                }
                after = ext.shown;
                slice_gone = qty >= before;
            }
        }
        self.queues[at].change((leaves + qty, before), (leaves, after));
        let fact = self.fact(slot);
        self.sum.add(fact);
        if slice_gone {
            self.move_last(slot, at);
        }
    }

    /// Lowers what is open of a queued order, hidden quantity first; its place stays. `qty` is less
    /// than what is open.
    pub(crate) fn shrink(&mut self, slot: u32, qty: u64) {
        let at = self.orders[slot].queue;
        match self.queues[at].place() {
            Place::Book => self.touched.note(&mut self.queues, at),
            Place::Market => {
                let number = self.queues[at].instrument().get();
                self.auctions_touched.push(number);
            }
            Place::Stop | Place::Trail => {}
        }
        let fact = self.fact(slot);
        self.sum.subtract(fact);
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
        self.queues[at].change((leaves + qty, before), (leaves, after));
        let fact = self.fact(slot);
        self.sum.add(fact);
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
        let fact = self.fact(slot);
        self.sum.subtract(fact);
        let order = &mut self.orders[slot];
        let ext = order.ext();
        change(order, ext.map(|ext| &mut self.exts[ext]));
        let fact = self.fact(slot);
        self.sum.add(fact);
    }

    /// Makes an order's fills count no more, as a kept quote asks.
    pub(crate) fn forget_fills(&mut self, slot: u32) {
        let fact = self.fact(slot);
        self.sum.subtract(fact);
        match self.orders[slot].ext() {
            None => self.orders[slot].set_plain_cum(0),
            Some(ext) => self.exts[ext].cum = 0,
        }
        let fact = self.fact(slot);
        self.sum.add(fact);
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

    // ---- snapshots ----

    /// Puts an order that was saved behind those of its queue. It is not yet known by its ids: see
    /// [`restore_ids`](Self::restore_ids).
    pub(crate) fn restore_order(
        &mut self,
        book: &mut Book,
        home: (Place, Side, i64),
        order: Order,
        cum: u64,
        ext: Option<Ext>,
    ) -> u32 {
        let (place, side, price) = home;
        let slot = self.insert(order, ext);
        self.add_cum(slot, cum);
        let all_or_none = u32::from(self.orders[slot].has(flag::ALL_OR_NONE));
        let at = match place {
            Place::Book => {
                book.aon_resting += all_or_none;
                self.level(book, side, price)
            }
            Place::Market => {
                book.rest.aon_waiting += all_or_none;
                self.room(book, place, side, price)
            }
            Place::Stop | Place::Trail => {
                book.stops_waiting += 1;
                self.room(book, place, side, price)
            }
        };
        self.link(slot, at, matches!(place, Place::Book | Place::Market));
        slot
    }

    /// Makes a restored order known by its ids, and arms its expiry; to be called in order of acceptance.
    /// False when an id is taken.
    pub(crate) fn restore_ids(&mut self, slot: u32) -> bool {
        let order = &self.orders[slot];
        let instrument = self.queues[order.queue].instrument().get();
        let (session, account, side) = (order.session(), order.account_id(), order.side());
        let is_second_quote = order.has(flag::QUOTE)
            && self
                .find_quote(instrument, session, account, side)
                .is_some();
        if is_second_quote || self.find(session, order.cl_ord_id).is_some() {
            return false;
        }
        self.publish(instrument, slot);
        true
    }

    // ---- levels and waiting rooms ----

    /// The level of a price, begun when there is none.
    #[inline(always)]
    fn level(&mut self, book: &mut Book, side: Side, price: i64) -> u32 {
        let rank = book.rank(side, price);
        let half = &mut book.sides[side as usize];
        if let Some(at) = half.ladder.get(&self.nodes, rank) {
            return at;
        }
        self.begin(half, (book.number, Place::Book, side), price, rank)
    }

    /// Adds a queue to a ladder.
    #[inline(never)]
    fn begin(&mut self, half: &mut Half, home: (u32, Place, Side), price: i64, rank: u64) -> u32 {
        let (instrument, place, side) = home;
        let queue = Queue::new(instrument, place, side, price, rank);
        let first = half.best == NONE || rank < self.queues[half.best].rank;
        let at = self.queues.insert(queue);
        half.ladder.insert(&mut self.nodes, rank, at);
        if first {
            half.best = at;
        }
        at
    }

    /// Takes an empty queue out of its ladder.
    #[inline(never)]
    fn close(&mut self, half: &mut Half, at: u32) {
        let rank = self.queues[at].rank;
        if half.best == at {
            half.best = half.ladder.next(&self.nodes, rank).unwrap_or(NONE);
        }
        half.ladder.remove(&mut self.nodes, rank);
        self.queues.remove(at);
    }

    fn room(&mut self, book: &mut Book, place: Place, side: Side, price: i64) -> u32 {
        let number = book.number;
        if place == Place::Stop {
            // Buy stops are elected from the lowest up, so they stand as asks do.
            let rank = book.rank(side.opposite(), price);
            let half = &mut book.rest.stops[side as usize];
            if let Some(at) = half.ladder.get(&self.nodes, rank) {
                return at;
            }
            return self.begin(half, (number, place, side), price, rank);
        }
        let room = book.room(place, side);
        if *room == NONE {
            *room = self.queues.insert(Queue::new(number, place, side, 0, 0));
        }
        *room
    }

    fn drop_room(&mut self, book: &mut Book, at: u32, place: Place) {
        let side = self.queues[at].side();
        if place == Place::Stop {
            return self.close(&mut book.rest.stops[side as usize], at);
        }
        *book.room(place, side) = NONE;
        self.queues.remove(at);
    }

    /// Puts an order at the end of a level.
    #[inline]
    fn join(&mut self, book: &mut Book, slot: u32, at: u32) {
        let order = &self.orders[slot];
        book.aon_resting += u32::from(order.has(flag::ALL_OR_NONE));
        if book.algo == MatchAlgo::TopProRata {
            self.note_top(book, order, at);
        }
        self.link(slot, at, true);
    }

    /// Notes an order that improves the best price, for the algorithm that favours it.
    #[cold]
    fn note_top(&self, book: &mut Book, order: &Order, at: u32) {
        let side = order.side() as usize;
        if self.queues[at].orders == 0 && book.sides[side].best == at {
            book.rest.top[side] = order.id;
        }
    }

    /// Takes an order out of its level; returns what the level is now.
    #[inline(always)]
    fn leave(&mut self, book: &mut Book, slot: u32) -> Event {
        let order = &self.orders[slot];
        let (at, side) = (order.queue, order.side());
        book.aon_resting -= u32::from(order.has(flag::ALL_OR_NONE));
        self.unlink(slot, at, true);
        let event = self.queues[at].event();
        if self.queues[at].orders == 0 {
            self.close(&mut book.sides[side as usize], at);
        }
        event
    }

    /// Puts an order behind the last of a queue and into the queue's sums and the state's.
    ///
    /// `ranked`: the order of arrival can influence a later event, so it is part of the state.
    #[inline]
    fn link(&mut self, slot: u32, at: u32, ranked: bool) {
        let order = &self.orders[slot];
        let parts = self.parts(order);
        let queue = &mut self.queues[at];
        queue.visible += u128::from(parts.shown);
        queue.hidden += u128::from(order.leaves - parts.shown);
        queue.orders += 1;
        self.sum.add(fact(order, queue, &parts));
        let come = chain(self.orders.all_mut(), queue, slot, at);
        if ranked {
            self.sum.add(come);
        }
    }

    /// The reverse of [`link`](Self::link), from any place of the queue.
    #[inline(always)]
    fn unlink(&mut self, slot: u32, at: u32, ranked: bool) {
        let order = &self.orders[slot];
        let parts = self.parts(order);
        let queue = &mut self.queues[at];
        queue.visible -= u128::from(parts.shown);
        queue.hidden -= u128::from(order.leaves - parts.shown);
        queue.orders -= 1;
        self.sum.subtract(fact(order, queue, &parts));
        let orders = self.orders.all_mut();
        let gone = unchain(orders, queue, slot);
        orders[slot as usize].queue = NONE;
        if ranked {
            self.sum.subtract(gone);
        }
    }

    fn move_last(&mut self, slot: u32, at: u32) {
        if self.queues[at].tail != slot {
            self.unlink(slot, at, true);
            self.link(slot, at, true);
        }
    }

    /// Tells which levels the command has changed.
    #[inline]
    pub(crate) fn emit_levels<S: EventSink + ?Sized>(&mut self, sink: &mut S) {
        if !self.touched.is_empty() {
            self.touched.emit(&mut self.queues, sink);
        }
    }

    // ---- state hash ----

    /// Sum over every live order and its place.
    pub(crate) const fn sum(&self) -> StateSum {
        self.sum
    }

    /// The sum over everything, computed from nothing; what [`sum`](Self::sum) must equal.
    pub(crate) fn sum_from_scratch(&self) -> StateSum {
        let mut sum = StateSum::default();
        for (slot, order) in self.orders.iter() {
            if order.queue == NONE {
                continue; // a group order is in the hash of contracts
            }
            sum.add(self.fact(slot));
            if matches!(
                self.queues[order.queue].place(),
                Place::Book | Place::Market
            ) {
                let before = self.orders[order.prev].id;
                sum.add(lead(before).wrapping_mul(trail(order.id)));
            }
        }
        sum
    }

    /// Who a queued order is, where it stands, and what of it is open, filled and visible.
    #[inline(never)]
    fn fact(&self, slot: u32) -> u64 {
        let order = &self.orders[slot];
        fact(order, &self.queues[order.queue], &self.parts(order))
    }

    #[inline]
    fn parts(&self, order: &Order) -> Parts {
        match order.ext() {
            None => Parts::plain(order.leaves, order.plain_cum()),
            Some(ext) => self.long_parts(order, ext),
        }
    }

    #[cold]
    fn long_parts(&self, order: &Order, ext: u32) -> Parts {
        let ext = &self.exts[ext];
        Parts {
            shown: if ext.display == 0 {
                order.leaves
            } else {
                ext.shown
            },
            cum: ext.cum,
            more: ext_word(ext),
        }
    }
}

/// The links of an order that comes last in a queue. Returns what that adds to the state's sum.
#[inline(always)]
fn chain(orders: &mut [Order], queue: &mut Queue, slot: u32, at: u32) -> u64 {
    let last = core::mem::replace(&mut queue.tail, slot);
    queue.head = select_unpredictable(last == NONE, slot, queue.head);
    let before = &mut orders[last as usize];
    before.next = slot;
    let before = before.id;
    let order = &mut orders[slot as usize];
    order.prev = last;
    order.next = NONE;
    order.queue = at;
    lead(before).wrapping_mul(trail(order.id))
}

/// The links around an order that leaves a queue. Returns what that takes from the state's sum.
#[inline(always)]
fn unchain(orders: &mut [Order], queue: &mut Queue, slot: u32) -> u64 {
    let Order { id, prev, next, .. } = orders[slot as usize];
    queue.head = select_unpredictable(prev == NONE, next, queue.head);
    queue.tail = select_unpredictable(next == NONE, prev, queue.tail);
    let before = &mut orders[prev as usize];
    before.next = next;
    let before = before.id;
    let after = &mut orders[next as usize];
    after.prev = prev;
    let after = after.id;
    // Gone: (before, id) and (id, after). New: (before, after).
    let gone = lead(before).wrapping_mul(trail(id).wrapping_sub(trail(after)));
    gone.wrapping_add(lead(id).wrapping_mul(trail(after)))
}

/// What a level is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LevelNow {
    pub(crate) price: i64,
    pub(crate) qty: Qty,
    pub(crate) orders: u32,
}

impl LevelNow {
    #[inline(always)]
    fn of(queue: &Queue) -> Self {
        Self {
            price: queue.price,
            qty: queue.shown(),
            orders: queue.orders,
        }
    }

    /// The one with the lower price first. Nobody can predict which that is, so without a branch.
    #[inline(always)]
    pub(crate) fn sort([a, b]: [Self; 2]) -> [Self; 2] {
        let rises = a.price < b.price;
        let pick = |rises: bool| Self {
            price: select_unpredictable(rises, a.price, b.price),
            qty: select_unpredictable(rises, a.qty, b.qty),
            orders: select_unpredictable(rises, a.orders, b.orders),
        };
        [pick(rises), pick(!rises)]
    }
}

/// What of an order is in its record or in its extension.
#[derive(Clone, Copy, Debug)]
struct Parts {
    shown: u64,
    cum: u64,
    /// What else the extension says; 0 when nothing.
    more: u64,
}

impl Parts {
    #[inline]
    const fn plain(leaves: u64, cum: u64) -> Self {
        Self {
            shown: leaves,
            cum,
            more: 0,
        }
    }
}

/// The factor of an order in its own fact. Odd, so that no change of a word is lost.
#[inline]
const fn own(id: u64) -> u64 {
    lead(id) | 1
}

// Places of what changes among the words of a fact.
const PRICE: usize = 3;
const LEAVES: usize = 4;
const CUM: usize = 5;
const SHOWN: usize = 6;

/// By how much the words of a plain order's fact change with each lot that is filled.
const FILLED: u64 = key(CUM).wrapping_sub(key(LEAVES)).wrapping_sub(key(SHOWN));

#[inline(always)]
fn fact(order: &Order, queue: &Queue, parts: &Parts) -> u64 {
    let mut words = [
        order.cl_ord_id,
        order.owner_word(),
        u64::from(queue.home()) ^ parts.more,
        0,
        0,
        0,
        0,
    ];
    words[PRICE] = queue.price.cast_unsigned();
    words[LEAVES] = order.leaves;
    words[CUM] = parts.cum;
    words[SHOWN] = parts.shown;
    own(order.id).wrapping_mul(combine(words))
}

#[inline]
fn quote_space(instrument: u32, side: Side) -> u32 {
    instrument << 1 | side as u32
}

#[inline]
fn quote_owner(order: &Order) -> u64 {
    u64::from(order.session().get()) << 32 | u64::from(order.account)
}

fn ext_word(ext: &Ext) -> u64 {
    if ext.is_plain() {
        return 0;
    }
    let words = combine([
        ext.display,
        u64::from(ext.ord_type.code()) << 8 | u64::from(ext.time_in_force.code()),
        ext.limit.cast_unsigned(),
        u64::from(ext.stop.is_some()) << 1 | u64::from(ext.budget.is_some()),
        ext.stop.unwrap_or(0).cast_unsigned(),
        ext.trail,
        ext.min_qty,
        ext.budget.unwrap_or(0),
        ext.expire,
    ]);
    fold_product(words, key(9))
}
