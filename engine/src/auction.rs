//! Phases, and the uncross when an instrument goes to continuous.

use tessera_types::{
    Aggressor, CancelReason, ClOrdId, CommandKind, Event, EventSink, ExpireReason, InstrumentId,
    Phase, PhaseCause, Price, Qty, RejectReason, SetPhase, Side,
};

use crate::book::order::{Place, flag};
use crate::book::slab::NONE;
use crate::book::{Book, crosses};
use crate::exchange::{Exchange, Subject};

/// What an uncross would do at one price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outcome {
    price: i64,
    volume: u128,
    /// What is left at the price, buyers positive.
    surplus: i128,
}

impl Exchange {
    #[inline(never)]
    pub(crate) fn on_set_phase<S: EventSink + ?Sized>(&mut self, request: &SetPhase, sink: &mut S) {
        let header = &request.header;
        let number = request.instrument.get() as usize;
        let subject = Subject::Book(request.instrument, None);
        if let Err(reason) = self.sessions.admit(header) {
            return self.reject(header, CommandKind::Phase, subject, reason, sink);
        }
        let Some(book) = self.books.get_mut(number) else {
            let reason = RejectReason::UnknownInstrument;
            return self.reject(header, CommandKind::Phase, subject, reason, sink);
        };
        if let Some(price) = request.ref_price {
            book.rest.ref_price = Some(price.ticks());
            book.rest.guard.reference = Some(price.ticks());
            book.rest.guard.fixed = None;
        }
        self.set_phase(number, request.phase);
        let event = Event::PhaseChanged {
            by: self.requester(header),
            instrument: request.instrument,
            phase: request.phase,
            cause: PhaseCause::Request,
            until: None,
        };
        self.emit(event, sink);
        match request.phase {
            Phase::Continuous => self.open_trading(number, sink),
            Phase::Closed => self.close_day(number, sink),
            Phase::Auction | Phase::Halt => {}
        }
    }

    /// What collected trades at one price; what may not rest ends; then all-or-none orders try.
    pub(crate) fn open_trading<S: EventSink + ?Sized>(&mut self, number: usize, sink: &mut S) {
        if self.books[number].contract {
            self.uncross_contract(number, sink);
        } else {
            self.uncross(number, sink);
        }
        self.collect_book(number, |_, place| place == Place::Market);
        self.cancel_collected(CancelReason::NoLiquidity, ClOrdId::new(0), sink);
        self.retry_all_or_none(number, sink);
        if self.books[number].contract {
            self.meet_groups(number, sink);
        }
    }

    /// Day orders and waiting market orders end, oldest first.
    fn close_day<S: EventSink + ?Sized>(&mut self, number: usize, sink: &mut S) {
        self.collect_book(number, |order, place| {
            order.has(flag::DAY) || place == Place::Market
        });
        let ending = core::mem::take(&mut self.ending);
        for &(_, slot) in &ending {
            self.expire(slot, ExpireReason::Day, sink);
        }
        self.ending = ending;
    }

    /// Trades at one price what collected during an auction.
    fn uncross<S: EventSink + ?Sized>(&mut self, number: usize, sink: &mut S) {
        let Some(outcome) = self.clearing(number) else {
            return;
        };
        let instrument = InstrumentId::new(self.books[number].number);
        let cleared = Event::AuctionCleared {
            instrument,
            price: Price::from_ticks(outcome.price),
            volume: Qty::from_lots(outcome.lots()),
            surplus: outcome.surplus_lots(),
        };
        self.emit(cleared, sink);
        while let Some(buy) = self.first_in_auction(number, Side::Buy, outcome.price)
            && let Some(sell) = self.first_in_auction(number, Side::Sell, outcome.price)
        {
            let older_buys = self.store.orders[buy].id < self.store.orders[sell].id;
            let (maker, taker) = if older_buys { (buy, sell) } else { (sell, buy) };
            let maker_leaves = self.store.orders[maker].leaves;
            let taker_leaves = self.store.orders[taker].leaves;
            let qty = maker_leaves.min(taker_leaves);
            let trade = Event::Trade {
                instrument,
                aggressor: Aggressor::None,
                maker_side: if older_buys { Side::Buy } else { Side::Sell },
                price: Price::from_ticks(outcome.price),
                qty: Qty::from_lots(qty),
                maker: self.party(maker),
                taker: self.party(taker),
                maker_leaves: Qty::from_lots(maker_leaves - qty),
                taker_leaves: Qty::from_lots(taker_leaves - qty),
                maker_cum: Qty::from_lots(self.store.cum(maker) + qty),
                taker_cum: Qty::from_lots(self.store.cum(taker) + qty),
            };
            self.emit(trade, sink);
            if self.accounts.on {
                self.accounts.fill(maker, qty);
                self.accounts.fill(taker, qty);
            }
            self.store.fill(&mut self.books[number], maker, qty);
            self.store.fill(&mut self.books[number], taker, qty);
        }
        self.on_traded(number, outcome.price, outcome.price);
        self.books[number].rest.guard.fixed = None; // the auction's price is the reference now
    }

    /// The order of one side that is next to trade at the clearing price: market orders first, then
    /// by price and time. All-or-none orders stay out.
    fn first_in_auction(&self, number: usize, side: Side, price: i64) -> Option<u32> {
        let book = &self.books[number];
        let room = book.rest.markets[side as usize];
        let waiting = if room == NONE {
            None
        } else {
            self.taking_part(room).next()
        };
        if waiting.is_some() {
            return waiting;
        }
        for at in book
            .side(side)
            .queues(&self.store.queues, &self.store.nodes)
        {
            let queue = &self.store.queues[at];
            let takes_part = match side {
                Side::Buy => queue.price >= price,
                Side::Sell => queue.price <= price,
            };
            if !takes_part {
                return None;
            }
            let first = self.taking_part(at).next();
            if first.is_some() {
                return first;
            }
        }
        None
    }

    /// The orders of a queue that an uncross reaches, in turn: all but all-or-none orders. One of
    /// those waits as a market order when its trigger is reached while the auction collects.
    fn taking_part(&self, at: u32) -> impl Iterator<Item = u32> {
        let orders = &self.store.orders;
        let head = Some(self.store.queues[at].head).filter(|&slot| slot != NONE);
        core::iter::successors(head, |&slot| {
            Some(orders[slot].next).filter(|&slot| slot != NONE)
        })
        .filter(|&slot| !orders[slot].has(flag::ALL_OR_NONE))
    }

    /// Where the uncross clears, unless nothing trades at any price.
    ///
    /// Candidates are the limits, the prices one tick beside them, and the reference. Reads the
    /// levels that cross, and market orders only as a sum: see
    /// [`levels_in_auction`](Self::levels_in_auction).
    fn clearing(&mut self, number: usize) -> Option<Outcome> {
        let mut scratch = core::mem::take(&mut self.scratch);
        let outcome = self.clearing_in(number, &mut scratch);
        self.scratch = scratch;
        outcome
    }

    fn clearing_in(&self, number: usize, scratch: &mut AuctionScratch) -> Option<Outcome> {
        let [buys, sells] = &mut scratch.levels;
        let book = &self.books[number];
        let markets = [Side::Buy, Side::Sell].map(|side| self.waiting(book, side));
        let [market_buys, market_sells] = markets;
        self.levels_in_auction(book, Side::Buy, market_sells, buys);
        self.levels_in_auction(book, Side::Sell, market_buys, sells);
        self.choose(number, markets, scratch)
    }

    /// Where levels clear that were put together elsewhere, best first: price, volume, surplus.
    pub(crate) fn clear_levels(
        &self,
        number: usize,
        markets: [u128; 2],
        buys: Vec<(i64, u128)>,
        sells: Vec<(i64, u128)>,
    ) -> Option<(i64, u64, i64)> {
        let mut scratch = AuctionScratch {
            levels: [buys, sells],
            ..AuctionScratch::default()
        };
        let outcome = self.choose(number, markets, &mut scratch)?;
        Some((outcome.price, outcome.lots(), outcome.surplus_lots()))
    }

    /// Where the levels of a scratch clear; `markets`: what market orders buy and sell.
    fn choose(
        &self,
        number: usize,
        [market_buys, market_sells]: [u128; 2],
        scratch: &mut AuctionScratch,
    ) -> Option<Outcome> {
        let AuctionScratch {
            levels: [buys, sells],
            candidates,
            choice,
            ..
        } = scratch;
        let book = &self.books[number];
        let reference = book.rest.ref_price.or(book.last);
        if reference.is_none() && (buys.is_empty() || sells.is_empty()) {
            return None; // with market orders alone on one side only a reference gives a price
        }
        candidates.clear();
        let tick = book.rest.instrument.tick;
        for &(limit, _) in buys.iter().chain(sells.iter()) {
            let beside = [limit.checked_sub(tick), limit.checked_add(tick)];
            candidates.extend(beside.into_iter().flatten().chain([limit]));
        }
        candidates.extend(reference);
        candidates.retain(|&price| book.price_fits(price));
        candidates.sort_unstable();
        candidates.dedup();

        // From the lowest candidate up, buyers drop out and sellers join.
        let mut buyers = buys.iter().rev().peekable();
        let mut sellers = sells.iter().peekable();
        let mut bought = market_buys + buys.iter().map(|&(_, open)| open).sum::<u128>();
        let mut sold = market_sells;
        choice.0.clear();
        for &price in candidates.iter() {
            while let Some((_, open)) = buyers.next_if(|&&(limit, _)| limit < price) {
                bought -= open;
            }
            while let Some((_, open)) = sellers.next_if(|&&(limit, _)| limit <= price) {
                sold += open;
            }
            choice.offer(Outcome {
                price,
                volume: bought.min(sold),
                surplus: bought.cast_signed() - sold.cast_signed(),
            });
        }
        choice.decide(reference)
    }

    /// Open quantity of the waiting market orders that take part.
    fn waiting(&self, book: &Book, side: Side) -> u128 {
        let room = book.rest.markets[side as usize];
        if room == NONE {
            0
        } else if book.rest.aon_waiting == 0 {
            self.store.queues[room].open()
        } else {
            let open = |slot: u32| u128::from(self.store.orders[slot].leaves);
            self.taking_part(room).map(open).sum()
        }
    }

    /// (price, open quantity) of the levels that take part, best first, as far as they can matter.
    ///
    /// `against` is the other side's market quantity. Those that cross the other side's best price
    /// matter, and, since market orders take any price, so many beyond it as `against` can reach.
    /// Behind these the level that is reached next is the last at which an outcome can be as good,
    /// and the one behind that still bounds it with the price one tick before it: at every price
    /// from there on the volume is the same and the surplus larger.
    fn levels_in_auction(
        &self,
        book: &Book,
        side: Side,
        against: u128,
        levels: &mut Vec<(i64, u128)>,
    ) {
        levels.clear();
        let other = book.side(side.opposite()).best;
        let other = (other != NONE).then(|| self.store.queues[other].price);
        let (mut sum, mut beyond) = (0u128, 0);
        let queues = book.side(side);
        for at in queues.queues(&self.store.queues, &self.store.nodes) {
            let (price, open) = (self.store.queues[at].price, self.shareable(at));
            if open == 0 {
                continue; // all-or-none orders alone
            }
            let meets = other.is_some_and(|other| crosses(side, Some(price), other));
            if !meets && sum >= against {
                beyond += 1;
            }
            levels.push((price, open));
            sum += open;
            if beyond == 2 {
                return;
            }
        }
    }

    /// Tells of every auction that this command touched what it would do now, where that is not
    /// what was told last.
    #[cold]
    pub(crate) fn tell_indications<S: EventSink + ?Sized>(&mut self, sink: &mut S) {
        let mut numbers = core::mem::take(&mut self.scratch.numbers);
        numbers.append(&mut self.store.auctions_touched);
        numbers.extend(self.store.touched.books());
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers.drain(..) {
            self.tell_indication(number as usize, sink);
        }
        self.scratch.numbers = numbers;
    }

    fn tell_indication<S: EventSink + ?Sized>(&mut self, number: usize, sink: &mut S) {
        if !self.books[number].collects() {
            return;
        }
        let outcome = self.clearing(number);
        let told = outcome.map(|outcome| (outcome.price, outcome.lots(), outcome.surplus_lots()));
        let book = &mut self.books[number];
        if book.rest.announced == told {
            return;
        }
        book.rest.announced = told;
        let (volume, surplus) = told.map_or((0, 0), |(_, volume, surplus)| (volume, surplus));
        let event = Event::Indicative {
            instrument: InstrumentId::new(book.number),
            price: told.map(|(price, ..)| Price::from_ticks(price)),
            volume: Qty::from_lots(volume),
            surplus,
        };
        self.emit(event, sink);
    }
}

impl Outcome {
    /// The volume as events tell it: sums of quantities near 2^63 go beyond it.
    fn lots(&self) -> u64 {
        u64::try_from(self.volume).unwrap_or(u64::MAX)
    }

    fn surplus_lots(&self) -> i64 {
        let end = if self.surplus < 0 { i64::MIN } else { i64::MAX };
        i64::try_from(self.surplus).unwrap_or(end)
    }
}

/// Memory of the calculation of an uncross, kept from one to the next.
#[derive(Debug, Default)]
pub(crate) struct AuctionScratch {
    /// Buys, sells.
    levels: [Vec<(i64, u128)>; 2],
    candidates: Vec<i64>,
    choice: Choice,
    numbers: Vec<u32>,
}

/// The candidates that are best so far: largest volume, then smallest surplus.
#[derive(Debug, Default)]
struct Choice(Vec<Outcome>);

impl Choice {
    fn offer(&mut self, outcome: Outcome) {
        if let Some(best) = self.0.first() {
            let better = (outcome.volume, best.surplus.unsigned_abs())
                .cmp(&(best.volume, outcome.surplus.unsigned_abs()));
            if better.is_lt() {
                return;
            }
            if better.is_gt() {
                self.0.clear();
            }
        }
        self.0.push(outcome);
    }

    /// Among the equals: the highest price when all have a buy surplus, the lowest when all have a
    /// sell surplus, else the nearest to the reference, the higher of two; without a reference the
    /// nearest to the middle.
    fn decide(&self, reference: Option<i64>) -> Option<Outcome> {
        let (lowest, highest) = (self.0.first()?, self.0.last()?);
        if lowest.volume == 0 {
            return None;
        }
        if self.0.iter().all(|outcome| outcome.surplus > 0) {
            return Some(*highest);
        }
        if self.0.iter().all(|outcome| outcome.surplus < 0) {
            return Some(*lowest);
        }
        let middle = (i128::from(lowest.price) + i128::from(highest.price)).div_euclid(2);
        let target = reference.map_or(middle, i128::from);
        let distance = |outcome: &&Outcome| {
            let price = i128::from(outcome.price);
            ((price - target).unsigned_abs(), core::cmp::Reverse(price))
        };
        self.0.iter().min_by_key(distance).copied()
    }
}
