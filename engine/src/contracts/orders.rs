//! Plain orders on contracts: what is checked, and how they trade.

use tessera_types::{
    AccountId, Aggressor, BackedBy, Backing, CancelReason, ClOrdId, Event, EventSink, InstrumentId,
    NewOrder, OrdType, Phase, PoolId, Qty, RejectReason, SelfMatch, Side, TimeInForce,
};

use super::fills::{Buyer, Fill, Seller};
use super::groups::GroupKind;
use super::pools::AskList;
use super::substitution::Sub;
use super::tally::Tally;
use super::{Tag, ensure};
use crate::book::crosses;
use crate::book::matching::{Entry, Incoming, Least, Rest};
use crate::book::slab::NONE;
use crate::book::store::MAX_ORDERS;
use crate::exchange::Exchange;

impl Exchange {
    /// Whether a plain order may enter a contract. \[6\]
    pub(crate) fn check_contract_order(&self, request: &NewOrder) -> Result<(), RejectReason> {
        let number = request.instrument.get() as usize;
        let book = &self.books[number];
        let kinds = matches!(request.ord_type, OrdType::Limit | OrdType::Market)
            && request.budget.is_none()
            && !request
                .exec_inst
                .contains(tessera_types::ExecInst::ALL_OR_NONE);
        ensure(kinds, RejectReason::BadField)?;
        match request.side {
            Side::Buy => ensure(request.backing.is_nothing(), RejectReason::BadField)?,
            Side::Sell => ensure(!request.backing.is_nothing(), RejectReason::MissingField)?,
        }
        crate::lifecycle::admits(book.phase, request)?;
        let id = request.header.cl_ord_id.get();
        let taken = self.store.find(request.header.session, id).is_some();
        ensure(!taken, RejectReason::DuplicateId)?;
        let price = request.price.ticks();
        let priced = request.ord_type.has_price();
        ensure(!priced || book.price_fits(price), RejectReason::BadPrice)?;
        let qty = request.qty.lots();
        ensure(book.qty_fits(qty), RejectReason::BadQty)?;
        let expires = request.time_in_force == TimeInForce::Gtd;
        ensure(
            !expires || request.expire > self.clock,
            RejectReason::Expired,
        )?;
        let account = request.header.account;
        match request.side {
            Side::Buy => self.check_limit(account, self.weight(number) * u128::from(qty))?,
            Side::Sell => self.check_backing(request, number)?,
        }
        let post_only = request
            .exec_inst
            .contains(tessera_types::ExecInst::POST_ONLY);
        let tag = Tag::from(request.backing);
        if post_only && self.would_trade(number, request.side, price, tag, account) {
            return Err(RejectReason::PostOnly);
        }
        ensure(
            self.store.orders.live() < MAX_ORDERS,
            RejectReason::TooManyOrders,
        )?;
        match self.accounts.on {
            true => self.check_accounts(request),
            false => Ok(()),
        }
    }

    /// Pool or lease, bounds, inventory.
    fn check_backing(&self, request: &NewOrder, number: usize) -> Result<(), RejectReason> {
        let account = request.header.account;
        let (list, most, free) = match request.backing.by() {
            BackedBy::Nothing => return Err(RejectReason::MissingField),
            BackedBy::Pool(pool) => {
                let at = self.pool_of(account, pool)?;
                self.check_pool_fits(at, number)?;
                let free = self.contracts.pools[at].free(self.window(number));
                (AskList::Pool(at), super::pools::MAX_ASKS, u64::from(free))
            }
            BackedBy::Lease(lease) => {
                let at = self.check_lease(account, number, lease)?;
                (
                    AskList::Lease(at),
                    super::leases::MAX_ASKS,
                    self.lease_free(at),
                )
            }
        };
        let few = self.asks(list).len() < most || self.live_asks(list) < most;
        ensure(few, RejectReason::TooManyOrders)?;
        ensure(request.qty.lots() <= free, RejectReason::Inventory)
    }

    /// Whether a pool holds what a contract is about.
    pub(super) fn check_pool_fits(&self, at: usize, number: usize) -> Result<(), RejectReason> {
        ensure(self.pool_fits(at, number), RejectReason::WrongPool)
    }

    pub(super) fn pool_fits(&self, at: usize, number: usize) -> bool {
        let (pool, terms) = (&self.contracts.pools[at], self.terms(number));
        (pool.class, pool.partition, pool.profile, pool.zone)
            == (terms.class, terms.partition, terms.profile, terms.zone)
    }

    /// Whether a replace may change a plain order on a contract; `open` is what it would have open.
    pub(crate) fn check_contract_replace(
        &self,
        slot: u32,
        open: u64,
        limit: Option<i64>,
        keeps_place: bool,
    ) -> Result<(), RejectReason> {
        let order = &self.store.orders[slot];
        let (number, side) = (self.book_of(slot), order.side());
        if open > order.leaves {
            match side {
                Side::Sell => ensure(open <= self.free_behind(slot), RejectReason::Inventory)?,
                Side::Buy => {
                    let more = self.weight(number) * u128::from(open - order.leaves);
                    self.check_limit(order.account_id(), more)?;
                }
            }
        }
        let post_only = order.has(crate::book::order::flag::POST_ONLY);
        if post_only
            && open > 0
            && !keeps_place
            && let Some(price) = limit
            && self.would_trade(
                number,
                side,
                price,
                self.contracts.tag(slot),
                order.account_id(),
            )
        {
            return Err(RejectReason::PostOnly);
        }
        Ok(())
    }

    /// True when an order that comes in would trade at once.
    fn would_trade(
        &self,
        number: usize,
        side: Side,
        price: i64,
        tag: Tag,
        account: AccountId,
    ) -> bool {
        if self.books[number].phase != Phase::Continuous {
            return false;
        }
        let mut others = self.queued(number, side.opposite());
        others.any(|other| {
            let at = self.store.queues[self.store.orders[other].queue].price;
            crosses(side, Some(price), at)
                && (side == Side::Buy || self.bid_takes(number, other, tag, account))
        })
    }

    /// True when an ask at this price would meet a bid that it may trade with.
    pub(super) fn meets_bid(
        &self,
        number: usize,
        price: i64,
        pool: PoolId,
        account: AccountId,
    ) -> bool {
        self.would_trade(number, Side::Sell, price, Tag::Pool(pool), account)
    }

    /// Whether a resting bid takes an ask: a plain one always, a shadow when its need is met. \[22\]
    fn bid_takes(&self, number: usize, bid: u32, ask: Tag, seller: AccountId) -> bool {
        let Tag::Shadow { group } = self.contracts.tag(bid) else {
            return true;
        };
        let (Some(sub), Some((_, offer))) = (self.sub(group), self.offer_of(ask, seller)) else {
            return false;
        };
        let buyer = self.store.orders[bid].account_id();
        self.refusal(&sub.need, buyer, number, &offer).is_none()
    }

    pub(super) fn sub(&self, group: u64) -> Option<&Sub> {
        match &self.contracts.groups.get(&group)?.kind {
            GroupKind::Sub(sub) => Some(sub),
            _ => None,
        }
    }

    /// The orders of one side of a book in order of price and time.
    pub(super) fn queued(&self, number: usize, side: Side) -> impl Iterator<Item = u32> {
        let half = *self.books[number].side(side);
        let levels = half.queues(&self.store.queues, &self.store.nodes);
        levels.flat_map(move |at| {
            let head = Some(self.store.queues[at].head).filter(|&slot| slot != NONE);
            core::iter::successors(head, move |&slot| {
                Some(self.store.orders[slot].next).filter(|&slot| slot != NONE)
            })
        })
    }

    pub(super) fn price_of(&self, slot: u32) -> i64 {
        self.store.queues[self.store.orders[slot].queue].price
    }

    /// Notes an accepted plain order on a contract.
    pub(crate) fn note_contract_order(&mut self, slot: u32, request: &NewOrder) {
        self.contracts.set_tag(slot, Tag::from(request.backing));
        match request.side {
            Side::Buy => self.note_buy(slot),
            Side::Sell => self.list_ask(slot, request.instrument.get() as usize),
        }
    }

    /// Lets a plain order that stands in no queue into the book of a contract that trades.
    pub(crate) fn enter_contract<S: EventSink + ?Sized>(
        &mut self,
        number: usize,
        slot: u32,
        entry: &Entry,
        sink: &mut S,
    ) {
        let order = &self.store.orders[slot];
        let least = match entry.least {
            Least::None => 0,
            Least::Qty(least) => least,
            Least::Whole { .. } => order.leaves,
        };
        if least > 0 && self.contract_reach(number, slot, entry.limit) < least {
            let reason = match entry.least {
                Least::Whole { .. } => CancelReason::Fok,
                _ => CancelReason::MinQty,
            };
            let incoming = Incoming::stored(&self.store, number, slot);
            return self.cancel_incoming(&incoming, reason, sink);
        }
        let ended = self.trade_contract(number, slot, entry.limit, false, sink);
        let incoming = Incoming::stored(&self.store, number, slot);
        if ended {
            return self.cancel_incoming(&incoming, CancelReason::Stp, sink);
        }
        if self.store.orders[slot].leaves == 0 {
            return self.store.remove(&mut self.books[number], slot);
        }
        match entry.rest {
            Rest::Cancel(reason) => self.cancel_incoming(&incoming, reason, sink),
            Rest::Stay if entry.limit.is_none() => {
                self.cancel_incoming(&incoming, CancelReason::NoLiquidity, sink);
            }
            Rest::Stay => self.rest(&incoming, entry.limit),
        }
    }

    /// Trades a plain order against the other side, best price first, then first in, first out; bids
    /// with a need that it fails are passed over. `groups_only`: it rests, and meets shadows and
    /// implied asks only. \[51\] Returns whether self-match prevention ends it.
    pub(super) fn trade_contract<S: EventSink + ?Sized>(
        &mut self,
        number: usize,
        slot: u32,
        limit: Option<i64>,
        groups_only: bool,
        sink: &mut S,
    ) -> bool {
        let order = &self.store.orders[slot];
        let (id, side) = (order.id, order.side());
        // Who was passed over stays so for the whole command, and where it stands.
        let mut passed: Option<(u64, u32)> = None;
        loop {
            let order = &self.store.orders[slot];
            if order.id != id || order.leaves == 0 {
                return false;
            }
            let Some(other) = self.next_other(number, side.opposite(), passed) else {
                return false;
            };
            let record = &self.store.orders[other];
            if !crosses(side, limit, self.price_of(other)) {
                return false;
            }
            let tag = self.contracts.tag(other);
            let grouped = matches!(tag, Tag::Shadow { .. } | Tag::Slice { .. });
            let meets = (grouped || !groups_only) && self.may_meet(number, slot, other);
            let own = order.self_match() != SelfMatch::None && record.account == order.account;
            if !meets {
                passed = Some((record.id, other));
            } else if own {
                match self.stop_self_match(number, slot, other, sink) {
                    Some(ends) if ends => return true,
                    _ => {}
                }
            } else {
                let qty = order.leaves.min(record.leaves);
                self.meet(number, slot, other, qty, sink);
            }
        }
    }

    fn next_other(&self, number: usize, side: Side, passed: Option<(u64, u32)>) -> Option<u32> {
        let mut queued = self.queued(number, side);
        let Some((id, slot)) = passed else {
            return queued.next();
        };
        let order = &self.store.orders[slot];
        if order.id != id || order.queue == NONE {
            return queued.next(); // it has ended; those before it are looked at once more
        }
        if order.next != NONE {
            return Some(order.next);
        }
        let half = self.books[number].side(side);
        let rank = self.store.queues[order.queue].rank;
        let level = half.ladder.next(&self.store.nodes, rank)?;
        Some(self.store.queues[level].head).filter(|&slot| slot != NONE)
    }

    fn may_meet(&self, number: usize, slot: u32, other: u32) -> bool {
        let order = &self.store.orders[slot];
        order.side() == Side::Buy
            || self.bid_takes(number, other, self.contracts.tag(slot), order.account_id())
    }

    /// One trade of an incoming plain order with a resting one.
    fn meet<S: EventSink + ?Sized>(
        &mut self,
        number: usize,
        slot: u32,
        other: u32,
        qty: u64,
        sink: &mut S,
    ) {
        let price = self.price_of(other);
        let fill = Fill {
            number,
            seller: Seller::Order(other),
            buyer: Buyer::Order(slot),
            price,
            qty,
            aggressor: Aggressor::Buy,
            maker_buys: false,
            block: 0,
        };
        if self.store.orders[slot].side() == Side::Buy {
            return self.make_fill(&fill, sink);
        }
        let fill = Fill {
            seller: Seller::Order(slot),
            buyer: Buyer::Order(other),
            aggressor: Aggressor::Sell,
            maker_buys: true,
            ..fill
        };
        match self.contracts.tag(other) {
            Tag::Shadow { group } => self.hit_shadow(group, &fill, sink),
            _ => self.make_fill(&fill, sink),
        }
    }

    /// Keeps a plain order from trading with its own party. A carve cannot be made smaller, so
    /// `decrement` ends it as `cancel_old` does. Returns whether the incoming order ends.
    fn stop_self_match<S: EventSink + ?Sized>(
        &mut self,
        number: usize,
        slot: u32,
        other: u32,
        sink: &mut S,
    ) -> Option<bool> {
        let none = ClOrdId::new(0);
        let mode = self.store.orders[slot].self_match();
        let group = match self.contracts.tag(other) {
            Tag::Slice { group, .. } | Tag::Shadow { group } => Some(group),
            _ => None,
        };
        let end_other = |this: &mut Self, sink: &mut S| match group {
            Some(group) => this.cancel_group(group, CancelReason::Stp, none, sink),
            None => this.cancel(other, CancelReason::Stp, none, sink),
        };
        match mode {
            SelfMatch::None => None,
            SelfMatch::CancelNew => Some(true),
            SelfMatch::CancelOld => {
                end_other(self, sink);
                Some(false)
            }
            SelfMatch::CancelBoth => {
                end_other(self, sink);
                Some(true)
            }
            SelfMatch::Decrement if group.is_some() => {
                end_other(self, sink);
                Some(false)
            }
            SelfMatch::Decrement => {
                let (mine, its) = (
                    self.store.orders[slot].leaves,
                    self.store.orders[other].leaves,
                );
                let by = mine.min(its);
                if by == its {
                    let instrument = InstrumentId::new(self.books[number].number);
                    self.emit_canceled(other, instrument, 0, CancelReason::Stp, none, sink);
                    self.store.end(&mut self.books[number], other);
                } else {
                    self.reduce(other, by, true, none, sink);
                }
                self.lower_own(number, slot, by, sink)
            }
        }
    }

    fn lower_own<S: EventSink + ?Sized>(
        &mut self,
        number: usize,
        slot: u32,
        by: u64,
        sink: &mut S,
    ) -> Option<bool> {
        let order = &self.store.orders[slot];
        let leaves = order.leaves - by;
        if order.queue != NONE {
            debug_assert!(false, "a resting order meets groups only");
            return Some(false);
        }
        self.store.set_open(slot, leaves, 0);
        if leaves == 0 {
            return Some(true);
        }
        let event = Event::OrderReduced {
            party: self.party(slot),
            instrument: InstrumentId::new(self.books[number].number),
            side: self.store.orders[slot].side(),
            leaves: Qty::from_lots(leaves),
            cum: Qty::from_lots(self.store.cum(slot)),
            self_match: true,
            inventory: false,
            request: ClOrdId::new(0),
        };
        self.emit(event, sink);
        Some(false)
    }

    /// What a plain order could really trade on entry.
    fn contract_reach(&self, number: usize, slot: u32, limit: Option<i64>) -> u64 {
        let order = &self.store.orders[slot];
        let side = order.side();
        let (mut left, mut reach) = (order.leaves, 0);
        let mut tally = Tally::default();
        for other in self.queued(number, side.opposite()) {
            if left == 0 || !crosses(side, limit, self.price_of(other)) {
                break;
            }
            if !self.may_meet(number, slot, other) {
                continue;
            }
            let record = &self.store.orders[other];
            let there = match side {
                Side::Buy => self.can_give(&tally, other),
                Side::Sell => record.leaves,
            };
            let qty = there.min(left);
            if order.self_match() != SelfMatch::None && record.account == order.account {
                match order.self_match() {
                    SelfMatch::CancelNew | SelfMatch::CancelBoth => break,
                    SelfMatch::Decrement => left -= qty,
                    SelfMatch::CancelOld | SelfMatch::None => {}
                }
                continue;
            }
            if side == Side::Buy {
                self.take(&mut tally, other, qty);
            }
            left -= qty;
            reach += qty;
        }
        reach
    }

    /// Lowers a queued ask because less is behind it.
    pub(super) fn reduce_for_inventory<S: EventSink + ?Sized>(
        &mut self,
        slot: u32,
        by: u64,
        sink: &mut S,
    ) {
        self.store.shrink(slot, by);
        let order = &self.store.orders[slot];
        let event = Event::OrderReduced {
            instrument: self.store.queues[order.queue].instrument(),
            side: order.side(),
            leaves: Qty::from_lots(order.leaves),
            cum: Qty::from_lots(self.store.cum(slot)),
            party: self.party(slot),
            self_match: false,
            inventory: true,
            request: ClOrdId::new(0),
        };
        self.emit(event, sink);
    }

    /// True when this is what stands behind an order on a contract.
    pub(crate) fn is_backed_by(&self, slot: u32, backing: Backing) -> bool {
        self.contracts.tag(slot) == Tag::from(backing)
    }
}
