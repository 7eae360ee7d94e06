//! Substitution orders: which book such an order hits next, and why. \[16\] to \[23\]
//!
//! At entry the legs resolve to a list of contracts of the window, bounded and in order of listing; it
//! never changes ([`resolve`](Exchange::resolve_legs)). Every contract has an efficiency and a bias of its
//! own, so every ask has an effective price, and the order takes the ask that comes first by
//! [`Rank`]: effective price, stronger isolation, contract, then the book's own order
//! ([`next_ask`](Exchange::next_ask)). That is worked out anew after each fill. What is left rests as a
//! bid in each of the contracts, at the highest price that its limit allows there.

use core::cmp::Reverse;

use tessera_types::{
    AccountId, Aggressor, CancelReason, ContractEvent, Event, EventSink, Isolation,
    MAX_CONTRACT_PRICE, MAX_CONTRACT_QTY, Need, Phase, Refusal, RefusalCounts, RejectReason, Side,
    SubMode, SubOrder, TimeInForce,
};

use super::fills::{Buyer, Fill, Seller};
use super::groups::{Group, GroupKind};
use super::listing::{self, MAX_HOURS};
use super::tally::Tally;
use super::{Tag, ceil_div, ensure, narrow};
use crate::exchange::Exchange;

/// What a substitution order buys.
#[derive(Clone, Debug)]
pub(crate) struct Sub {
    pub(crate) mode: SubMode,
    /// As it was asked for.
    pub(crate) qty: u32,
    /// Lots, or 1/10000 units of work. \[19\]
    pub(crate) open: u64,
    pub(crate) limit: i64,
    pub(crate) need: Need,
    /// Its contracts in order of listing.
    pub(crate) legs: Vec<SubLeg>,
}

/// One contract of a substitution order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubLeg {
    pub(crate) book: u32,
    /// Efficiency in 1/10000, above 0.
    pub(crate) eta: i64,
    pub(crate) bias: i64,
    /// Its bid while the order rests, else 0.
    pub(crate) shadow: u32,
}

/// What decides between asks of different contracts. \[18\]
type Rank = (i128, Reverse<Isolation>, u32);

impl SubLeg {
    /// The effective price of an ask. \[17\]
    fn effective(&self, price: i64) -> i128 {
        ceil_div(i128::from(price) * 10_000, i128::from(self.eta)) + i128::from(self.bias)
    }

    /// The highest price whose effective price is within the limit. \[17\]
    fn reach(&self, limit: i64) -> i128 {
        ((i128::from(limit) - i128::from(self.bias)) * i128::from(self.eta)).div_euclid(10_000)
    }
}

impl Sub {
    /// Lots that are still wanted of a contract. \[19\]
    pub(super) fn wanted(&self, open: u64, leg: &SubLeg) -> u64 {
        match self.mode {
            SubMode::Units => open,
            SubMode::Work => open.div_ceil(leg.eta.unsigned_abs()),
        }
    }

    /// What is open behind a fill.
    fn behind(&self, open: u64, leg: &SubLeg, lots: u64) -> u64 {
        match self.mode {
            SubMode::Units => open - lots,
            SubMode::Work => {
                let done = u128::from(lots) * u128::from(leg.eta.unsigned_abs());
                open.saturating_sub(u64::try_from(done).unwrap_or(u64::MAX))
            }
        }
    }
}

impl Exchange {
    pub(super) fn on_sub<S: EventSink + ?Sized>(
        &mut self,
        request: &SubOrder,
        sink: &mut S,
    ) -> Result<(), RejectReason> {
        let sub = self.check_sub(request)?;
        let header = &request.header;
        let (account, first) = (header.account, sub.legs[0].book);
        let slot = self.accept_group(header, first, Side::Buy, sub.limit, sub.open, sink);
        let mut sub = sub;
        let before = sub.open;
        let mut whole = true;
        if request.time_in_force == TimeInForce::Fok {
            match self.plan(&sub, account) {
                Some(only) => self.buy_best(&mut sub, slot, account, only, sink),
                None => whole = false,
            }
        } else {
            self.buy_best(&mut sub, slot, account, None, sink);
        }
        if sub.open == 0 {
            self.drop_group(first, slot);
            return Ok(());
        }
        let reason = match request.time_in_force {
            TimeInForce::Ioc => CancelReason::Ioc,
            TimeInForce::Fok => CancelReason::Fok,
            _ => {
                self.rest_sub(sub, slot);
                return Ok(());
            }
        };
        debug_assert!(!whole || request.time_in_force == TimeInForce::Ioc);
        if sub.open == before {
            let counts = self.count_refusals(&sub, account);
            let party = self.party(slot);
            self.emit(
                Event::Contract(ContractEvent::NoMatch { party, counts }),
                sink,
            );
        }
        self.cancel_entering(slot, first, sub.open, reason, sink);
        Ok(())
    }

    /// Legs, contracts, efficiency, id, limit. \[6\]
    fn check_sub(&self, request: &SubOrder) -> Result<Sub, RejectReason> {
        let small = |price: i64| price.unsigned_abs() <= MAX_CONTRACT_PRICE.unsigned_abs();
        let form = request.header.cl_ord_id.get() != 0
            && (1..=MAX_CONTRACT_QTY).contains(&request.qty)
            && (1..=MAX_HOURS).contains(&request.hours)
            && small(request.limit)
            && request
                .legs
                .iter()
                .all(|leg| small(leg.bias) && leg.min_tier <= 4)
            && !request.legs.is_empty()
            && request.need.exclude.len() <= Need::MAX_EXCLUDED
            && matches!(
                request.time_in_force,
                TimeInForce::Gtc | TimeInForce::Ioc | TimeInForce::Fok
            );
        ensure(form, RejectReason::BadField)?;
        let few = request.legs.len() <= SubOrder::MAX_LEGS;
        ensure(few, RejectReason::TooManyLegs)?;
        let legs = self.resolve_legs(request)?;
        self.check_id(&request.header)?;
        let open = match request.mode {
            SubMode::Units => u64::from(request.qty),
            SubMode::Work => u64::from(request.qty) * 10_000,
        };
        let sub = Sub {
            mode: request.mode,
            qty: request.qty,
            open,
            limit: request.limit,
            need: request.need.clone(),
            legs,
        };
        self.check_limit(request.header.account, self.sub_weight(&sub))?;
        Ok(sub)
    }

    /// The contracts of a substitution order: those of its window that a leg fits and that do its
    /// workload, in order of listing; the first leg that fits gives the bias. \[16\]
    fn resolve_legs(&self, request: &SubOrder) -> Result<Vec<SubLeg>, RejectReason> {
        let window = (request.start_hour, request.hours);
        let listed = self.contracts.windows.get(&window);
        let listed = listed.map_or(&[][..], Vec::as_slice);
        let mut fitting = Vec::new();
        for &book in listed {
            let number = book as usize;
            if self.books[number].phase == Phase::Closed {
                continue;
            }
            let terms = self.terms(number);
            let has = |set: u64, number: u32| set >> (number % 64) & 1 == 1 && number < 64;
            let fits = request.legs.iter().find(|leg| {
                (leg.classes == u64::MAX || has(leg.classes, terms.class.into()))
                    && leg.partitions >> terms.partition.code() & 1 == 1
                    && (leg.profiles == u64::MAX || has(leg.profiles, terms.profile.into()))
                    && (leg.zones == u64::MAX || has(leg.zones, terms.zone.into()))
                    && terms.tier >= leg.min_tier
            });
            if let Some(leg) = fits {
                fitting.push((book, leg.bias));
                let few = fitting.len() <= SubOrder::MAX_CONTRACTS;
                ensure(few, RejectReason::TooManyContracts)?;
            }
        }
        ensure(!fitting.is_empty(), RejectReason::NoContract)?;
        let mut legs = Vec::with_capacity(fitting.len());
        for (book, bias) in fitting {
            let terms = self.terms(book as usize);
            let catalogue = self.catalogue.as_ref();
            let eta = catalogue.map_or(0, |all| listing::eta(all, terms, request.workload));
            if eta > 0 {
                legs.push(SubLeg {
                    book,
                    eta,
                    bias,
                    shadow: 0,
                });
            }
        }
        ensure(!legs.is_empty(), RejectReason::NoEfficiency)?;
        Ok(legs)
    }

    /// The largest weight that a substitution order can still come to. \[15\]
    pub(super) fn sub_weight(&self, sub: &Sub) -> u128 {
        let legs = sub.legs.iter();
        let weights =
            legs.map(|leg| self.weight(leg.book as usize) * u128::from(sub.wanted(sub.open, leg)));
        weights.max().unwrap_or(0)
    }

    /// The ask that a substitution order takes next: of each contract the first ask in book order that
    /// its need allows, and of these the one that ranks first. \[18\] `only`: in this leg.
    fn next_ask(
        &self,
        sub: &Sub,
        account: AccountId,
        only: Option<usize>,
        tally: &Tally,
    ) -> Option<(usize, u32)> {
        let mut best: Option<(Rank, usize, u32)> = None;
        for (at, leg) in sub.legs.iter().enumerate() {
            let number = leg.book as usize;
            let skipped = only.is_some_and(|only| only != at);
            if skipped || self.books[number].phase != Phase::Continuous {
                continue;
            }
            let highest = leg.reach(sub.limit);
            for ask in self.queued(number, Side::Sell) {
                let price = self.price_of(ask);
                if i128::from(price) > highest {
                    break;
                }
                if !self.suits(&sub.need, account, number, ask) || self.can_give(tally, ask) == 0 {
                    continue;
                }
                let isolation = Isolation::of(self.terms(number).partition);
                let rank = (leg.effective(price), Reverse(isolation), leg.book);
                if best.is_none_or(|(other, ..)| rank < other) {
                    best = Some((rank, at, ask));
                }
                break;
            }
        }
        best.map(|(_, at, ask)| (at, ask))
    }

    /// Buys what there is, best first; the order is worked out anew after each fill.
    fn buy_best<S: EventSink + ?Sized>(
        &mut self,
        sub: &mut Sub,
        slot: u32,
        account: AccountId,
        only: Option<usize>,
        sink: &mut S,
    ) {
        let nothing = Tally::default();
        while sub.open > 0
            && let Some((at, ask)) = self.next_ask(sub, account, only, &nothing)
        {
            let leg = sub.legs[at];
            let qty = self.can_give(&nothing, ask).min(sub.wanted(sub.open, &leg));
            let open = sub.behind(sub.open, &leg, qty);
            let fill = Fill {
                number: leg.book as usize,
                seller: Seller::Order(ask),
                buyer: Buyer::Group { slot, open },
                price: self.price_of(ask),
                qty,
                aggressor: Aggressor::Buy,
                maker_buys: false,
                block: 0,
            };
            self.make_fill(&fill, sink);
            let filled = sub.open - open;
            sub.open = open;
            self.store.set_open(slot, open, filled);
        }
    }

    /// Whether an order that must be filled whole can be, and how: in the order of ranks, or, counting
    /// work, in one leg alone where that costs less. \[20\]
    fn plan(&self, sub: &Sub, account: AccountId) -> Option<Option<usize>> {
        let mut best: Option<(i128, Option<usize>)> = None;
        let alone = match sub.mode {
            SubMode::Units => 0,
            SubMode::Work => sub.legs.len(),
        };
        let plans = core::iter::once(None).chain((0..alone).map(Some));
        for only in plans {
            if let Some(cost) = self.try_plan(sub, account, only)
                && best.is_none_or(|(least, _)| cost < least)
            {
                best = Some((cost, only));
            }
        }
        best.map(|(_, only)| only)
    }

    /// What a plan costs, none when it does not finish.
    fn try_plan(&self, sub: &Sub, account: AccountId, only: Option<usize>) -> Option<i128> {
        let (mut open, mut cost) = (sub.open, 0);
        let mut tally = Tally::default();
        while open > 0 {
            let (at, ask) = self.next_ask(sub, account, only, &tally)?;
            let leg = &sub.legs[at];
            let qty = self.can_give(&tally, ask).min(sub.wanted(open, leg));
            self.take(&mut tally, ask, qty);
            open = sub.behind(open, leg, qty);
            let price = i128::from(self.price_of(ask)) * 10_000;
            let bias = i128::from(leg.bias) * i128::from(leg.eta);
            cost += i128::from(qty) * (price + bias);
        }
        Some(cost)
    }

    /// Why the asks of its contracts were no match. \[14\]
    fn count_refusals(&self, sub: &Sub, account: AccountId) -> RefusalCounts {
        let mut counts = RefusalCounts::default();
        for leg in &sub.legs {
            let number = leg.book as usize;
            let open = self.books[number].phase == Phase::Continuous;
            let highest = leg.reach(sub.limit);
            for ask in self.queued(number, Side::Sell) {
                let lots = self.store.orders[ask].leaves;
                let offer = self.offer(ask);
                let refusal =
                    offer.and_then(|(_, offer)| self.refusal(&sub.need, account, number, &offer));
                let dear = i128::from(self.price_of(ask)) > highest;
                let reason = match refusal {
                    _ if !open => Refusal::Closed,
                    Some(refusal) => refusal,
                    None if dear => Refusal::Price,
                    None => Refusal::Short,
                };
                counts.add(reason, lots);
            }
        }
        counts
    }

    /// The rest of an order rests once, with one time, and holds a shadow bid in each of its contracts
    /// that meets isolation and notice. \[21\]
    fn rest_sub(&mut self, mut sub: Sub, slot: u32) {
        let id = self.store.orders[slot].id;
        let mut shadows = vec![0; sub.legs.len()];
        for (at, leg) in sub.legs.iter().enumerate() {
            if let Some(price) = self.shadow_price(&sub, leg) {
                let qty = sub.wanted(sub.open, leg);
                let tag = Tag::Shadow { group: id };
                shadows[at] = self.add_shadow(slot, leg.book, price, qty, tag);
            }
        }
        for (leg, shadow) in sub.legs.iter_mut().zip(shadows) {
            leg.shadow = shadow;
        }
        self.keep_group(slot, GroupKind::Sub(Box::new(sub)));
    }

    /// What a resting order bids in one of its contracts; none where it holds no shadow.
    pub(super) fn shadow_price(&self, sub: &Sub, leg: &SubLeg) -> Option<i64> {
        let number = leg.book as usize;
        let terms = self.terms(number);
        let notice = terms
            .reclaim
            .is_none_or(|r| r.notice_s >= sub.need.min_notice_s);
        let isolated = Isolation::of(terms.partition) >= sub.need.isolation;
        let book = &self.books[number];
        let tick = i128::from(book.rest.instrument.tick);
        let most = leg.reach(sub.limit).min(i128::from(book.max_price));
        let price = most.div_euclid(tick) * tick;
        let holds = notice && isolated && price >= i128::from(book.min_price);
        holds.then(|| narrow(price))
    }

    /// A sell meets the shadow of a resting order: one fill changes all its shadows at once.
    pub(super) fn hit_shadow<S: EventSink + ?Sized>(&mut self, id: u64, fill: &Fill, sink: &mut S) {
        let Some(Group {
            slot,
            kind: GroupKind::Sub(sub),
        }) = self.contracts.groups.get(&id)
        else {
            return;
        };
        let slot = *slot;
        let book = self.books[fill.number].number;
        let Some(leg) = sub.legs.iter().find(|leg| leg.book == book) else {
            return;
        };
        let (before, open) = (sub.open, sub.behind(sub.open, leg, fill.qty));
        let buyer = Buyer::Group { slot, open };
        // The shadows change first, so that nothing that follows from the trade sees them as they were.
        let bids: Vec<(u32, u64)> = sub
            .legs
            .iter()
            .filter(|leg| leg.shadow != 0)
            .map(|leg| (leg.shadow, sub.wanted(open, leg)))
            .collect();
        if let Some(Group {
            kind: GroupKind::Sub(sub),
            ..
        }) = self.contracts.groups.get_mut(&id)
        {
            sub.open = open;
        }
        if open > 0 {
            for (shadow, qty) in bids {
                self.store.set_shadow(shadow, qty);
            }
        }
        self.make_fill(&Fill { buyer, ..*fill }, sink);
        self.store.set_open(slot, open, before - open);
        if open == 0 {
            self.end_group(id, sink);
        }
    }
}
