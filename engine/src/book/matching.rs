//! How an incoming order trades: the rule book.
//!
//! The numbers in brackets are those of the matching rules in `docs/order-script.md`.

use tessera_types::{
    Aggressor, CancelReason, ClOrdId, Event, EventSink, InstrumentId, MatchAlgo, NewOrder, OrdType,
    Phase, Price, Qty, SelfMatch, Side, TimeInForce,
};

use super::crosses;
use super::order::{Order, Place, flag};
use super::slab::NONE;
use super::store::Store;
use crate::exchange::Exchange;

/// How an order enters the book.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// None for a market order.
    pub(crate) limit: Option<i64>,
    pub(crate) rest: Rest,
    pub(crate) least: Least,
}

/// What becomes of what does not trade at once. \[2\]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Stay,
    Cancel(CancelReason),
}

/// What must be able to trade on entry, hidden quantity counted, before anything does. \[2\]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Least {
    None,
    Qty(u64),
    /// All of it, and within the budget when there is one.
    Whole {
        budget: Option<u64>,
    },
}

impl Entry {
    #[inline]
    pub(crate) fn of(request: &NewOrder) -> Self {
        let limit = request
            .ord_type
            .has_price()
            .then_some(request.price.ticks());
        Self::new(
            limit,
            request.time_in_force,
            request.min_qty.lots(),
            request.budget,
        )
        .for_market(request.ord_type == OrdType::Market)
    }

    #[inline]
    pub(crate) fn new(
        limit: Option<i64>,
        time_in_force: TimeInForce,
        min_qty: u64,
        budget: Option<u64>,
    ) -> Self {
        let rest = match time_in_force {
            TimeInForce::Ioc => Rest::Cancel(CancelReason::Ioc),
            TimeInForce::Fok => Rest::Cancel(CancelReason::Fok),
            TimeInForce::Gtc | TimeInForce::Day | TimeInForce::Gtd => Rest::Stay,
        };
        let least = match (time_in_force, min_qty) {
            (TimeInForce::Fok, _) => Least::Whole { budget },
            (_, 0) => Least::None,
            (_, min_qty) => Least::Qty(min_qty),
        };
        Self { limit, rest, least }
    }

    /// Why the order cannot wait in an auction, when it asks for what must be answered at once. New
    /// orders of this kind are refused before; a stop may become one while an auction collects.
    fn refused_by_auction(&self) -> Option<CancelReason> {
        match (self.least, self.rest) {
            (Least::Whole { .. }, _) => Some(CancelReason::Fok),
            (Least::Qty(_), _) => Some(CancelReason::MinQty),
            (Least::None, Rest::Cancel(reason)) if self.limit.is_some() => Some(reason),
            (Least::None, _) => None,
        }
    }

    /// A market order never stays, whatever its time in force is.
    #[inline]
    pub(crate) fn for_market(mut self, market: bool) -> Self {
        if market {
            self.rest = Rest::Cancel(CancelReason::NoLiquidity);
        }
        self
    }
}

/// What an incoming order could trade, and what that would cost.
#[derive(Clone, Copy, Debug, Default)]
struct Reach {
    qty: u64,
    cost: i128,
}

impl Exchange {
    /// Lets an order that stands in no queue into the book: it trades what it can, then rests or
    /// ends.
    #[inline]
    pub(crate) fn enter<S: EventSink + ?Sized>(
        &mut self,
        incoming: &mut Incoming,
        entry: &Entry,
        sink: &mut S,
    ) {
        if self.books[incoming.number].phase != Phase::Continuous {
            // [8] orders collect, none trades
            return match entry.refused_by_auction() {
                None => self.rest(incoming, entry.limit),
                Some(reason) => self.cancel_incoming(incoming, reason, sink),
            };
        }
        if self.books[incoming.number].contract {
            return self.enter_contract(incoming.number, incoming.slot, entry, sink);
        }
        incoming.limit = entry.limit.or_else(|| self.protection(incoming));
        if let Err(verdict) = self.test_entry(incoming, entry) {
            return match verdict {
                Rest::Stay => self.rest(incoming, incoming.limit), // [11] an all-or-none order waits
                Rest::Cancel(reason) => self.cancel_incoming(incoming, reason, sink),
            };
        }
        match self.trade(incoming, sink) {
            Traded::Open => {}
            Traded::Ended => return,
            Traded::Interrupted => return self.interrupt(incoming, entry, sink), // [12]
        }
        match entry.rest {
            Rest::Cancel(reason) => self.cancel_incoming(incoming, reason, sink),
            Rest::Stay if incoming.limit.is_none() => {
                self.cancel_incoming(incoming, CancelReason::NoLiquidity, sink);
            }
            Rest::Stay => self.rest(incoming, incoming.limit),
        }
    }

    /// Gives an incoming order its place: at a limit in the book, without one among the market orders
    /// that wait.
    #[inline]
    pub(crate) fn rest(&mut self, incoming: &Incoming, limit: Option<i64>) {
        let slot = match incoming.slot {
            NONE => self.store.insert_filled(&incoming.order, incoming.filled),
            slot => slot,
        };
        let book = &mut self.books[incoming.number];
        match limit {
            Some(price) => self.store.rest(book, slot, price),
            None => self.store.wait(book, slot, Place::Market, 0),
        }
    }

    /// The limit that protects a market order from a thin book, where the instrument has one.
    fn protection(&self, incoming: &Incoming) -> Option<i64> {
        let book = &self.books[incoming.number];
        let protect = i64::try_from(book.rest.instrument.protect?).unwrap_or(i64::MAX);
        let side = incoming.order.side();
        let best = book.side(side.opposite()).best;
        if best == NONE {
            return None;
        }
        let best = self.store.queues[best].price;
        Some(match side {
            Side::Buy => best.saturating_add(protect),
            Side::Sell => best.saturating_sub(protect),
        })
    }

    /// Looks whether enough could trade; if not, says what becomes of the order. \[2\] \[11\]
    #[inline]
    fn test_entry(&mut self, incoming: &Incoming, entry: &Entry) -> Result<(), Rest> {
        let order = &incoming.order;
        let all_or_none = order.has(flag::ALL_OR_NONE);
        if entry.least == Least::None && !all_or_none {
            return Ok(());
        }
        let (side, leaves) = (order.side(), order.leaves);
        let reach = self.reach(incoming);
        match entry.least {
            Least::Whole { budget } => {
                let pays = budget.is_none_or(|budget| match side {
                    Side::Buy => reach.cost <= i128::from(budget),
                    Side::Sell => reach.cost >= i128::from(budget),
                });
                if reach.qty < leaves || !pays {
                    return Err(Rest::Cancel(CancelReason::Fok));
                }
            }
            Least::Qty(least) if reach.qty < least => {
                return Err(Rest::Cancel(CancelReason::MinQty));
            }
            Least::Qty(_) | Least::None => {}
        }
        if all_or_none && reach.qty < leaves {
            Err(entry.rest)
        } else {
            Ok(())
        }
    }

    /// Trades an incoming order against the other side: best price first, then first in, first
    /// out. \[1\] Returns what became of it.
    pub(crate) fn trade<S: EventSink + ?Sized>(
        &mut self,
        taker: &mut Incoming,
        sink: &mut S,
    ) -> Traded {
        let number = taker.number;
        let band = self.band(number);
        let mut passed = NONE;
        let mut ended = false;
        let mut interrupted = false;
        while taker.order.leaves > 0
            && let Some(maker) = self.next_maker(taker, passed)
        {
            let order = &self.store.orders[maker];
            if order.has(flag::ALL_OR_NONE) && order.leaves > taker.order.leaves {
                passed = maker; // [11] too small a taker passes it over
            } else if is_outside(band, self.store.queues[order.queue].price) {
                interrupted = true; // [12]
                break;
            } else if self.shares(taker, order.queue) {
                if self.share_level(taker, order.queue, sink) {
                    ended = true;
                    break;
                }
            } else if self.is_self_match(taker, order) {
                if self.prevent_self_match(taker, maker, sink) {
                    ended = true;
                    break;
                }
            } else {
                let qty = taker.order.leaves.min(self.store.shown(order));
                self.look_behind(maker);
                self.execute(taker, maker, qty, sink);
            }
        }
        if taker.slot != NONE {
            self.store
                .set_open(taker.slot, taker.order.leaves, taker.filled);
        }
        if let Some((first, last)) = taker.prices {
            self.on_traded(number, first, last);
        }
        if ended {
            self.cancel_incoming(taker, CancelReason::Stp, sink);
            return Traded::Ended;
        }
        if taker.order.leaves == 0 {
            self.forget(taker);
            return Traded::Ended;
        }
        if interrupted {
            Traded::Interrupted
        } else {
            Traded::Open
        }
    }

    /// The first resting order behind `passed` that the taker's limit reaches.
    #[inline]
    fn next_maker(&self, taker: &Incoming, passed: u32) -> Option<u32> {
        let half = self.books[taker.number].side(taker.order.side().opposite());
        let queue = if passed == NONE {
            half.best
        } else {
            let order = &self.store.orders[passed];
            if order.next != NONE {
                return Some(order.next);
            }
            let rank = self.store.queues[order.queue].rank;
            half.ladder.next(&self.store.nodes, rank).unwrap_or(NONE)
        };
        if queue == NONE {
            return None;
        }
        let queue = &self.store.queues[queue];
        crosses(taker.order.side(), taker.limit, queue.price).then_some(queue.head)
    }

    /// One trade at the resting order's price. \[1\]
    #[inline]
    fn execute<S: EventSink + ?Sized>(
        &mut self,
        taker: &mut Incoming,
        maker: u32,
        qty: u64,
        sink: &mut S,
    ) {
        taker.order.leaves -= qty;
        taker.filled += qty;
        let order = &self.store.orders[maker];
        let queue = &self.store.queues[order.queue];
        let (price, instrument) = (queue.price, queue.instrument());
        let maker_leaves = order.leaves - qty;
        let side = taker.order.side();
        let event = Event::Trade {
            instrument,
            aggressor: match side {
                Side::Buy => Aggressor::Buy,
                Side::Sell => Aggressor::Sell,
            },
            maker_side: side.opposite(),
            price: Price::from_ticks(price),
            qty: Qty::from_lots(qty),
            maker: order.party(self.sessions.number_message(order.session())),
            taker: taker
                .order
                .party(self.sessions.number_message(taker.order.session())),
            maker_leaves: Qty::from_lots(maker_leaves),
            taker_leaves: Qty::from_lots(taker.order.leaves),
            maker_cum: Qty::from_lots(self.store.cum(maker) + qty),
            taker_cum: Qty::from_lots(taker.cum + taker.filled),
        };
        self.emit(event, sink);
        taker.prices = Some((taker.prices.map_or(price, |(first, _)| first), price));
        if self.accounts.on {
            self.accounts.fill(maker, qty);
            self.accounts.fill(taker.slot, qty);
        }
        self.store.fill(&mut self.books[taker.number], maker, qty);
    }

    #[inline]
    fn is_self_match(&self, taker: &Incoming, maker: &Order) -> bool {
        taker.order.self_match() != SelfMatch::None && maker.account == taker.order.account
    }

    /// Keeps an incoming order from trading with its own party, by the incoming order's mode; of
    /// two events the resting order's comes first. \[6\] Returns whether the incoming order ends.
    fn prevent_self_match<S: EventSink + ?Sized>(
        &mut self,
        taker: &mut Incoming,
        maker: u32,
        sink: &mut S,
    ) -> bool {
        let none = ClOrdId::new(0);
        match taker.order.self_match() {
            SelfMatch::None => false,
            SelfMatch::CancelNew => true,
            SelfMatch::CancelOld => {
                self.cancel(maker, CancelReason::Stp, none, sink);
                false
            }
            SelfMatch::CancelBoth => {
                self.cancel(maker, CancelReason::Stp, none, sink);
                true
            }
            SelfMatch::Decrement => {
                let order = &self.store.orders[maker];
                let by = order.leaves.min(taker.order.leaves);
                if by == order.leaves {
                    let instrument = self.store.queues[order.queue].instrument();
                    self.emit_canceled(maker, instrument, 0, CancelReason::Stp, none, sink);
                    self.store.end(&mut self.books[taker.number], maker);
                } else {
                    self.reduce(maker, by, true, none, sink);
                }
                let order = &mut taker.order;
                order.leaves -= by;
                self.accounts.shrink(taker.slot, by);
                if order.leaves == 0 {
                    return true;
                }
                let event = Event::OrderReduced {
                    party: order.party(self.sessions.number_message(order.session())),
                    instrument: InstrumentId::new(self.books[taker.number].number),
                    side: order.side(),
                    leaves: Qty::from_lots(order.leaves),
                    cum: Qty::from_lots(taker.cum + taker.filled),
                    self_match: true,
                    inventory: false,
                    request: none,
                };
                self.emit(event, sink);
                false
            }
        }
    }

    /// True when a level is shared: its instrument says so and the taker is smaller than the level.
    /// Otherwise it is filled first in, first out. \[10\]
    #[inline]
    fn shares(&self, taker: &Incoming, at: u32) -> bool {
        self.books[taker.number].algo != MatchAlgo::Fifo
            && u128::from(taker.order.leaves) < self.shareable(at)
    }

    /// Shares a level that is larger than the taker. \[10\] Returns whether the taker ends by
    /// self-match prevention.
    ///
    /// All-or-none orders take no part. An order of the taker's own party anywhere in the level is
    /// dealt with first, since here the taker meets all of them at once; then the level is looked at
    /// again.
    fn share_level<S: EventSink + ?Sized>(
        &mut self,
        taker: &mut Incoming,
        at: u32,
        sink: &mut S,
    ) -> bool {
        if let Some(own) = self.own_in_queue(taker, at) {
            return self.prevent_self_match(taker, own, sink);
        }
        let book = &self.books[taker.number];
        let instrument = &book.rest.instrument;
        let (min_alloc, top_min, top_max) =
            (instrument.min_alloc, instrument.top_min, instrument.top_max);
        match instrument.algo {
            MatchAlgo::TopProRata => {
                let top = book.rest.top[taker.order.side().opposite() as usize];
                if let Some(slot) = self.find_in_queue(at, top)
                    && self.store.orders[slot].leaves >= top_min
                {
                    self.give(taker, slot, top_max, sink);
                }
            }
            MatchAlgo::Split => {
                let first = u128::from(taker.order.leaves) * u128::from(instrument.fifo_pct) / 100;
                let first = u64::try_from(first).expect("at most 100 percent of 64 bits");
                self.fill_in_turn(taker, at, first, sink);
            }
            MatchAlgo::Fifo | MatchAlgo::ProRata => {}
        }
        let (rest, open) = (u128::from(taker.order.leaves), self.shareable(at));
        // The shares are fixed before the first of them trades: a trade may move an iceberg.
        let mut plan = core::mem::take(&mut self.plan);
        plan.clear();
        let mut slot = self.store.queues[at].head;
        while slot != NONE {
            let order = &self.store.orders[slot];
            if !order.has(flag::ALL_OR_NONE) {
                let share = rest * u128::from(order.leaves) / open;
                let share = u64::try_from(share).expect("no share is larger than the order");
                plan.push((slot, if share < min_alloc { 0 } else { share }, 0));
            }
            slot = order.next;
        }
        for &(slot, share, _) in &plan {
            self.give(taker, slot, share, sink);
        }
        self.plan = plan;
        self.fill_in_turn(taker, at, taker.order.leaves, sink);
        false
    }

    /// Trades up to `most` with one order, slice by slice.
    fn give<S: EventSink + ?Sized>(
        &mut self,
        taker: &mut Incoming,
        slot: u32,
        most: u64,
        sink: &mut S,
    ) {
        let mut qty = most
            .min(taker.order.leaves)
            .min(self.store.orders[slot].leaves);
        while qty > 0 {
            let part = qty.min(self.store.shown(&self.store.orders[slot]));
            qty -= part;
            self.execute(taker, slot, part, sink);
        }
    }

    /// Open quantity of the orders of a queue that share it or uncross: all but all-or-none orders.
    pub(crate) fn shareable(&self, at: u32) -> u128 {
        let queue = &self.store.queues[at];
        let mut open = queue.open();
        if self.books[queue.book()].aon_resting > 0 {
            let mut slot = queue.head;
            while slot != NONE {
                let order = &self.store.orders[slot];
                if order.has(flag::ALL_OR_NONE) {
                    open -= u128::from(order.leaves);
                }
                slot = order.next;
            }
        }
        open
    }

    fn own_in_queue(&self, taker: &Incoming, at: u32) -> Option<u32> {
        if taker.order.self_match() == SelfMatch::None {
            return None;
        }
        let mut slot = self.store.queues[at].head;
        while slot != NONE {
            let order = &self.store.orders[slot];
            if order.account == taker.order.account && !order.has(flag::ALL_OR_NONE) {
                return Some(slot);
            }
            slot = order.next;
        }
        None
    }

    fn find_in_queue(&self, at: u32, id: u64) -> Option<u32> {
        let mut slot = self.store.queues[at].head;
        while slot != NONE {
            let order = &self.store.orders[slot];
            if order.id == id {
                return (!order.has(flag::ALL_OR_NONE)).then_some(slot);
            }
            slot = order.next;
        }
        None
    }

    /// Gives `qty` to the orders of a queue in turn; less than what they have open together.
    fn fill_in_turn<S: EventSink + ?Sized>(
        &mut self,
        taker: &mut Incoming,
        at: u32,
        mut qty: u64,
        sink: &mut S,
    ) {
        let mut passed = NONE;
        while qty > 0 {
            let slot = if passed == NONE {
                self.store.queues[at].head
            } else {
                self.store.orders[passed].next
            };
            if slot == NONE {
                return;
            }
            let order = &self.store.orders[slot];
            if order.has(flag::ALL_OR_NONE) {
                passed = slot;
                continue;
            }
            let part = qty.min(self.store.shown(order));
            qty -= part;
            self.execute(taker, slot, part, sink);
        }
    }

    /// What an incoming order could really trade, without trading it. \[2\] \[6\]
    ///
    /// Sums of the levels answer as long as every resting order takes whatever comes; only
    /// all-or-none orders and self-trade modes make it walk order by order.
    fn reach(&mut self, incoming: &Incoming) -> Reach {
        let &Incoming {
            ref order,
            number,
            limit,
            ..
        } = incoming;
        let band = self.band(number);
        let mut probe = Probe {
            number,
            account: order.account,
            self_match: order.self_match(),
            left: order.leaves,
            reach: Reach::default(),
        };
        let side = order.side();
        let half = *self.books[number].side(side.opposite());
        let simple = self.books[number].aon_resting == 0 && probe.self_match == SelfMatch::None;
        let mut plan = core::mem::take(&mut self.plan);
        for at in half.queues(&self.store.queues, &self.store.nodes) {
            let queue = &self.store.queues[at];
            if probe.left == 0 || !crosses(side, limit, queue.price) {
                break;
            }
            if is_outside(band, queue.price) {
                // [12] only orders that it would pass over leave what lies behind in reach.
                if simple || self.meets_any(at, probe.left) {
                    break;
                }
            } else if simple {
                probe.take(u64::try_from(queue.open()).unwrap_or(u64::MAX), queue.price);
            } else if !self.reach_into(&mut probe, at, &mut plan) {
                break;
            }
        }
        self.plan = plan;
        probe.reach
    }

    /// True when an order of this queue does not pass over a taker of this size.
    fn meets_any(&self, at: u32, size: u64) -> bool {
        let mut slot = self.store.queues[at].head;
        while slot != NONE {
            let order = &self.store.orders[slot];
            if !order.has(flag::ALL_OR_NONE) || order.leaves <= size {
                return true;
            }
            slot = order.next;
        }
        false
    }

    /// Walks one level as [`trade`](Self::trade) would. Returns false when the taker ends there.
    ///
    /// `plan` is scratch: (order, open, visible) as they would be.
    fn reach_into(&self, probe: &mut Probe, at: u32, plan: &mut Vec<(u32, u64, u64)>) -> bool {
        let orders = &self.store.orders;
        let aon = |slot: u32| orders[slot].has(flag::ALL_OR_NONE);
        let queue = &self.store.queues[at];
        plan.clear();
        let mut slot = queue.head;
        while slot != NONE {
            plan.push((slot, orders[slot].leaves, self.store.shown(&orders[slot])));
            slot = orders[slot].next;
        }
        let shared = self.books[probe.number].algo != MatchAlgo::Fifo;
        let mut sharers = self.shareable(at);
        let mut turn = 0;
        while turn < plan.len() && probe.left > 0 {
            let (slot, open, shown) = plan[turn];
            if open == 0 || (aon(slot) && open > probe.left) {
                turn += 1;
                continue;
            }
            let mut own = probe.is_own(&orders[slot]).then_some(turn);
            if shared && u128::from(probe.left) < sharers {
                let is_own = |&(slot, open, _): &(u32, u64, u64)| {
                    open > 0 && probe.is_own(&orders[slot]) && !aon(slot)
                };
                own = plan[turn..]
                    .iter()
                    .position(is_own)
                    .map(|place| turn + place);
                if own.is_none() {
                    probe.take(probe.left, queue.price);
                    return true;
                }
            } else {
                turn += 1;
            }
            let by = match (own, probe.self_match) {
                (None, _) => {
                    let qty = probe.take(shown, queue.price);
                    if open > qty
                        && let Some(ext) = self.store.ext(slot)
                    {
                        plan.push((slot, open - qty, ext.slice(open - qty)));
                    }
                    if !aon(slot) {
                        sharers -= u128::from(qty);
                    }
                    continue;
                }
                (_, SelfMatch::CancelNew | SelfMatch::CancelBoth) => return false,
                (Some(own), SelfMatch::Decrement) => {
                    let by = plan[own].1.min(probe.left);
                    probe.left -= by;
                    plan[own].1 -= by;
                    (own, by)
                }
                (Some(own), SelfMatch::CancelOld | SelfMatch::None) => {
                    (own, core::mem::take(&mut plan[own].1))
                }
            };
            if !aon(plan[by.0].0) {
                sharers -= u128::from(by.1);
            }
        }
        true
    }

    /// Tries the resting all-or-none orders of a book again: buys before sells, best first. \[11\]
    #[inline]
    pub(crate) fn retry_all_or_none<S: EventSink + ?Sized>(&mut self, number: usize, sink: &mut S) {
        let book = &self.books[number];
        if book.aon_resting > 0 && book.phase == Phase::Continuous {
            for side in [Side::Buy, Side::Sell] {
                self.retry_side(number, side, sink);
            }
        }
    }

    #[cold]
    fn retry_side<S: EventSink + ?Sized>(&mut self, number: usize, side: Side, sink: &mut S) {
        let half = *self.books[number].side(side);
        let mut tried = core::mem::take(&mut self.ending);
        tried.clear();
        for at in half.queues(&self.store.queues, &self.store.nodes) {
            let mut slot = self.store.queues[at].head;
            while slot != NONE {
                let order = &self.store.orders[slot];
                if order.has(flag::ALL_OR_NONE) {
                    tried.push((order.id, slot));
                }
                slot = order.next;
            }
        }
        for &(id, slot) in &tried {
            let order = &self.store.orders[slot];
            if order.id != id {
                continue; // an earlier one traded with it or ended it
            }
            let mut incoming = Incoming::stored(&self.store, number, slot);
            incoming.limit = Some(self.store.queues[order.queue].price);
            if self.reach(&incoming).qty < incoming.order.leaves {
                continue;
            }
            self.store.detach(&mut self.books[number], slot);
            if self.trade(&mut incoming, sink) != Traded::Ended {
                self.rest(&incoming, incoming.limit);
            }
        }
        self.ending = tried;
    }
}

/// What became of an incoming order that traded what it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traded {
    /// It has ended.
    Ended,
    /// Nobody is left that it could trade with.
    Open,
    /// The next trade would be beyond the band.
    Interrupted,
}

/// True when the instrument's volatility guard forbids a trade at this price. \[12\]
#[inline]
fn is_outside(band: Option<(i64, i64)>, price: i64) -> bool {
    band.is_some_and(|(low, high)| !(low..=high).contains(&price))
}

/// An incoming order whose trades are only tried out.
#[derive(Debug)]
struct Probe {
    number: usize,
    account: u32,
    self_match: SelfMatch,
    left: u64,
    reach: Reach,
}

impl Probe {
    #[inline]
    fn is_own(&self, maker: &Order) -> bool {
        self.self_match != SelfMatch::None && maker.account == self.account
    }

    /// Trades up to `most`; returns how much.
    #[inline]
    fn take(&mut self, most: u64, price: i64) -> u64 {
        let qty = most.min(self.left);
        self.left -= qty;
        self.reach.qty += qty;
        self.reach.cost += i128::from(price) * i128::from(qty);
        qty
    }
}

/// An order that comes in, stands in no queue, and trades. A new one that needs no extension has no
/// record yet either: most of those that trade never rest.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// The order; what is open is kept up here.
    pub(crate) order: Order,
    /// Its record, `NONE` when it has none.
    pub(crate) slot: u32,
    /// Its book.
    pub(crate) number: usize,
    limit: Option<i64>,
    /// Filled before it came in.
    pub(crate) cum: u64,
    /// Filled since it came in.
    pub(crate) filled: u64,
    /// The first and the last price it traded at; those between lie between.
    prices: Option<(i64, i64)>,
}

impl Incoming {
    /// An order without a record.
    #[inline]
    pub(crate) const fn new(number: usize, order: Order) -> Self {
        Self {
            order,
            slot: NONE,
            number,
            limit: None,
            cum: 0,
            filled: 0,
            prices: None,
        }
    }

    /// An order that has a record.
    pub(crate) fn stored(store: &Store, number: usize, slot: u32) -> Self {
        Self {
            slot,
            cum: store.cum(slot),
            ..Self::new(number, store.orders[slot].clone())
        }
    }
}
