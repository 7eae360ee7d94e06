//! Blocks: the same quantity in consecutive windows, each from one domain, all or nothing. \[24\] to
//! \[30\]

use std::collections::BTreeMap;

use tessera_types::{
    AccountId, Aggressor, BlockLimit, BlockOrder, CancelReason, ColoLevel, ContractEvent, Domain,
    Event, EventSink, InstrumentId, MAX_CONTRACT_PRICE, MAX_CONTRACT_QTY, Need, Phase, Refusal,
    RefusalCounts, RejectReason, Side,
};

use super::fills::{Buyer, Fill, Seller};
use super::listing::coordinate;
use super::tally::Tally;
use super::{eligibility, ensure, narrow};
use crate::exchange::Exchange;

/// What one window costs in each domain; none where there is not enough.
type Costs = Vec<Option<i128>>;

/// Everything a search needs.
#[derive(Debug)]
struct Search {
    /// Contracts from the first window on, as far as they are listed.
    books: Vec<Option<usize>>,
    /// In order.
    domains: Vec<Domain>,
    /// By window, then by domain.
    costs: Vec<Costs>,
}

/// Where each window of a block is bought.
#[derive(Debug)]
struct Plan {
    first: usize,
    /// Number of the domain, by window.
    domains: Vec<usize>,
    moves: u8,
    cost: i128,
}

impl Exchange {
    pub(super) fn on_block<S: EventSink + ?Sized>(
        &mut self,
        request: &BlockOrder,
        sink: &mut S,
    ) -> Result<(), RejectReason> {
        let search = self.check_block(request)?;
        let header = &request.header;
        let number = request.instrument.get();
        let windows = request.windows as usize;
        let open = u64::from(request.qty) * u64::from(request.windows);
        let price = match request.limit {
            BlockLimit::Average(limit) | BlockLimit::Total(limit) => limit,
        };
        let slot = self.accept_group(header, number, Side::Buy, price, open, sink);
        let hours = i128::from(self.terms(number as usize).hours);
        let most = match request.limit {
            BlockLimit::Total(total) => i128::from(total),
            BlockLimit::Average(limit) => i128::from(limit) * i128::from(open) * hours,
        };
        let mut here = false;
        for first in 0..=request.flex as usize {
            let end = first + windows;
            if search
                .books
                .get(first..end)
                .is_none_or(|books| books.iter().any(Option::is_none))
            {
                continue;
            }
            let Some(plan) = search.solve(first, windows, request.moves, request.fee) else {
                continue;
            };
            here |= first == 0;
            if plan.cost <= most {
                self.buy_block(request, &search, &plan, slot, sink);
                self.drop_group(number, slot);
                return Ok(());
            }
        }
        let good = if here { Refusal::Price } else { Refusal::Short };
        let counts = self.count_block(request, &search.books[..windows], good);
        let party = self.party(slot);
        self.emit(
            Event::Contract(ContractEvent::NoMatch { party, counts }),
            sink,
        );
        let reason = CancelReason::Infeasible;
        self.cancel_entering(slot, number, u64::from(request.qty), reason, sink);
        Ok(())
    }

    /// Instrument, bounds, reclaimable, phase, series, id, domains, cells, limit. \[6\]
    fn check_block(&self, request: &BlockOrder) -> Result<Search, RejectReason> {
        let most = MAX_CONTRACT_PRICE.unsigned_abs();
        let limit = match request.limit {
            BlockLimit::Average(limit) => limit.unsigned_abs() <= most,
            BlockLimit::Total(_) => true,
        };
        let form = request.header.cl_ord_id.get() != 0
            && (1..=MAX_CONTRACT_QTY).contains(&request.qty)
            && request.windows >= 1
            && (0..=MAX_CONTRACT_PRICE).contains(&request.fee)
            && request.need.exclude.len() <= Need::MAX_EXCLUDED
            && limit;
        ensure(form, RejectReason::BadField)?;
        let number = self.contract(request.instrument)?;
        let bounded = request.windows <= BlockOrder::MAX_WINDOWS
            && request.flex <= BlockOrder::MAX_WINDOWS
            && request.moves <= BlockOrder::MAX_MOVES;
        ensure(bounded, RejectReason::TooMuchWork)?;
        let reclaimable = self.terms(number).reclaim.is_some() && request.windows > 1;
        ensure(!reclaimable, RejectReason::Reclaimable)?;
        self.admits_group(number)?;
        let books = self.series(number, (request.windows + request.flex) as usize);
        let whole = books[..request.windows as usize]
            .iter()
            .all(Option::is_some);
        ensure(whole, RejectReason::NoContract)?;
        self.check_id(&request.header)?;
        let search = self.search(request, books)?;
        let cells = u64::from(request.flex + 1)
            * u64::from(request.windows)
            * search.domains.len() as u64
            * u64::from(request.moves + 1);
        ensure(cells <= BlockOrder::MAX_CELLS, RejectReason::TooMuchWork)?;
        let lots = u128::from(request.qty) * u128::from(request.windows);
        self.check_limit(request.header.account, self.weight(number) * lots)?;
        Ok(search)
    }

    /// The contracts on a coordinate, window after window; none where no contract is listed.
    fn series(&self, number: usize, windows: usize) -> Vec<Option<usize>> {
        let mut terms = *self.terms(number);
        let mut books = Vec::with_capacity(windows);
        for _ in 0..windows {
            let book = self.contracts.coordinates.get(&coordinate(&terms));
            books.push(book.map(|&book| book as usize));
            match terms.start_hour.checked_add(u32::from(terms.hours)) {
                Some(start) => terms.start_hour = start,
                None => break,
            }
        }
        books.resize(windows, None);
        books
    }

    /// The good asks of a book in its order, with their domains; at most as many are looked at as a
    /// block may. \[25\]
    fn good_asks(
        &self,
        number: usize,
        need: &Need,
        buyer: AccountId,
        level: ColoLevel,
    ) -> impl Iterator<Item = (u32, Domain)> {
        let open = self.books[number].phase == Phase::Continuous;
        let most = if open { BlockOrder::MAX_ASKS } else { 0 };
        let asks = self.queued(number, Side::Sell).take(most);
        asks.filter_map(move |ask| {
            let (pool, offer) = self.offer(ask)?;
            if self.refusal(need, buyer, number, &offer).is_some() {
                return None;
            }
            Some((ask, eligibility::domain(pool, &offer.pool.path, level)?))
        })
    }

    /// Domains, and what every window costs in each.
    fn search(
        &self,
        request: &BlockOrder,
        books: Vec<Option<usize>>,
    ) -> Result<Search, RejectReason> {
        let buyer = request.header.account;
        let mut domains: Vec<Domain> = Vec::new();
        let mut asks: Vec<Vec<(u32, Domain)>> = Vec::with_capacity(books.len());
        for book in &books {
            let good = book.map(|number| {
                let good = self.good_asks(number, &request.need, buyer, request.level);
                good.collect::<Vec<_>>()
            });
            let good = good.unwrap_or_default();
            for (_, domain) in &good {
                if let Err(place) = domains.binary_search(domain) {
                    domains.insert(place, *domain);
                }
            }
            ensure(
                domains.len() <= BlockOrder::MAX_DOMAINS,
                RejectReason::TooManyDomains,
            )?;
            asks.push(good);
        }
        let mut costs = Vec::with_capacity(books.len());
        for (book, good) in books.iter().zip(&asks) {
            let hours = book.map_or(1, |number| i128::from(self.terms(number).hours));
            let mut sums = vec![(u64::from(request.qty), 0i128); domains.len()];
            let mut tally = Tally::default();
            for (ask, domain) in good {
                let Ok(at) = domains.binary_search(domain) else {
                    continue;
                };
                let (left, cost) = &mut sums[at];
                if *left == 0 {
                    continue;
                }
                let qty = self.can_give(&tally, *ask).min(*left);
                if qty > 0 {
                    self.take(&mut tally, *ask, qty);
                    *left -= qty;
                    *cost += i128::from(self.price_of(*ask)) * i128::from(qty);
                }
            }
            let cost = |&(left, cost): &(u64, i128)| (left == 0).then_some(cost * hours);
            costs.push(sums.iter().map(cost).collect());
        }
        Ok(Search {
            books,
            domains,
            costs,
        })
    }

    /// Trades a plan, window after window, each in book order.
    fn buy_block<S: EventSink + ?Sized>(
        &mut self,
        request: &BlockOrder,
        search: &Search,
        plan: &Plan,
        slot: u32,
        sink: &mut S,
    ) {
        let id = self.store.orders[slot].id;
        let buyer = request.header.account;
        let first = search.books[plan.first].unwrap_or_default();
        let event = ContractEvent::BlockPlanned {
            party: self.party(slot),
            instrument: InstrumentId::new(self.books[first].number),
            windows: u16::try_from(plan.domains.len()).unwrap_or(u16::MAX),
            moves: plan.moves,
            cost: narrow(plan.cost),
        };
        self.emit(Event::Contract(event), sink);
        for stretch in plan.domains.chunk_by(|a, b| a == b) {
            let event = ContractEvent::BlockStretch {
                domain: search.domains[stretch[0]],
                windows: u16::try_from(stretch.len()).unwrap_or(u16::MAX),
            };
            self.emit(Event::Contract(event), sink);
        }
        let mut open = self.store.orders[slot].leaves;
        for (window, &domain) in plan.domains.iter().enumerate() {
            let Some(number) = search.books[plan.first + window] else {
                continue;
            };
            let wanted = search.domains[domain];
            let mut left = u64::from(request.qty);
            // What a domain gives is fixed before the first trade of the window, as its cost was.
            let mut tally = Tally::default();
            let mut parts = Vec::new();
            for (ask, domain) in self.good_asks(number, &request.need, buyer, request.level) {
                if domain != wanted || left == 0 {
                    continue;
                }
                let qty = self.can_give(&tally, ask).min(left);
                if qty > 0 {
                    self.take(&mut tally, ask, qty);
                    left -= qty;
                    parts.push((ask, qty, self.price_of(ask)));
                }
            }
            debug_assert_eq!(left, 0, "a plan is whole");
            for (ask, qty, price) in parts {
                open -= qty;
                let fill = Fill {
                    number,
                    seller: Seller::Order(ask),
                    buyer: Buyer::Group { slot, open },
                    price,
                    qty,
                    aggressor: Aggressor::Buy,
                    maker_buys: false,
                    block: id,
                };
                self.make_fill(&fill, sink);
                self.store.set_open(slot, open, qty);
            }
        }
    }

    /// Why the asks of the first start were no match. \[28\]
    fn count_block(
        &self,
        request: &BlockOrder,
        books: &[Option<usize>],
        good: Refusal,
    ) -> RefusalCounts {
        let mut counts = RefusalCounts::default();
        let buyer = request.header.account;
        for number in books.iter().flatten().copied() {
            let open = self.books[number].phase == Phase::Continuous;
            for ask in self.queued(number, Side::Sell).take(BlockOrder::MAX_ASKS) {
                let Some((pool, offer)) = self.offer(ask) else {
                    continue;
                };
                let refusal = self.refusal(&request.need, buyer, number, &offer);
                let placed = eligibility::domain(pool, &offer.pool.path, request.level);
                let reason = match refusal {
                    _ if !open => Refusal::Closed,
                    Some(refusal) => refusal,
                    None if placed.is_none() => Refusal::Colo,
                    None => good,
                };
                counts.add(reason, self.store.orders[ask].leaves);
            }
        }
        counts
    }

    /// For gangs of 1, 2, 4 up to 64 lots: the size, lots that such gangs could take, and the least
    /// cost of one for one hour; sizes without lots are left out. \[30\]
    #[must_use]
    pub fn gang_depth(&self, instrument: InstrumentId, level: ColoLevel) -> Vec<(u32, u64, i64)> {
        let Ok(number) = self.contract(instrument) else {
            return Vec::new();
        };
        let nobody = AccountId::new(0);
        let mut by_domain: BTreeMap<Domain, Vec<(i64, u64)>> = BTreeMap::new();
        let mut tally = Tally::default();
        for (ask, domain) in self.good_asks(number, &Need::NOTHING, nobody, level) {
            let qty = self.can_give(&tally, ask);
            if qty > 0 {
                self.take(&mut tally, ask, qty);
                by_domain
                    .entry(domain)
                    .or_default()
                    .push((self.price_of(ask), qty));
            }
        }
        let mut sizes = Vec::new();
        for size in [1u32, 2, 4, 8, 16, 32, 64] {
            let (mut lots, mut best) = (0, None);
            for asks in by_domain.values() {
                let there: u64 = asks.iter().map(|&(_, qty)| qty).sum();
                let gangs = there / u64::from(size);
                if gangs == 0 {
                    continue;
                }
                lots += gangs * u64::from(size);
                let (mut left, mut cost) = (u64::from(size), 0i128);
                for &(price, qty) in asks {
                    let part = qty.min(left);
                    left -= part;
                    cost += i128::from(price) * i128::from(part);
                }
                best = Some(best.map_or(cost, |least: i128| least.min(cost)));
            }
            if let Some(best) = best {
                sizes.push((size, lots, narrow(best)));
            }
        }
        sizes
    }
}

impl Search {
    /// The cheapest sequence of domains from a start on, with at most so many moves. Of equals the one
    /// with fewer moves, then the one whose domain is lower at the earliest window that differs. \[26\]
    fn solve(&self, first: usize, windows: usize, moves: u32, fee: i64) -> Option<Plan> {
        let (domains, moves) = (self.domains.len(), moves as usize);
        let fee = i128::from(fee);
        let costs = &self.costs[first..first + windows];
        // best[h][k][d]: the least cost of window h and all behind it, from domain d, k moves left.
        let mut best = vec![None::<i128>; windows * (moves + 1) * domains];
        let at = |h: usize, k: usize, d: usize| (h * (moves + 1) + k) * domains + d;
        for h in (0..windows).rev() {
            for k in 0..=moves {
                let leave = if h + 1 < windows && k > 0 {
                    two_least(&best[at(h + 1, k - 1, 0)..][..domains])
                } else {
                    [None, None]
                };
                for d in 0..domains {
                    let Some(cost) = costs[h][d] else { continue };
                    let rest = if h + 1 == windows {
                        (k == 0).then_some(0)
                    } else {
                        let stay = best[at(h + 1, k, d)];
                        let other = leave.iter().flatten().find(|&&(_, e)| e != d);
                        let go = other.map(|&(cost, _)| cost + fee);
                        stay.into_iter().chain(go).min()
                    };
                    best[at(h, k, d)] = rest.map(|rest| cost + rest);
                }
            }
        }
        let least = |k: usize| best[at(0, k, 0)..][..domains].iter().flatten().min();
        let ends = (0..=moves).filter_map(|k| Some((*least(k)?, k)));
        let (cost, mut k) = ends.min()?;
        let used = k;
        let mut d = (0..domains).find(|&d| best[at(0, k, d)] == Some(cost))?;
        let mut sequence = vec![d];
        for h in 1..windows {
            let rest = best[at(h - 1, k, d)]? - costs[h - 1][d]?;
            let next = (0..domains).find(|&e| {
                let (left, fee) = if e == d {
                    (Some(k), 0)
                } else {
                    (k.checked_sub(1), fee)
                };
                left.is_some_and(|k| best[at(h, k, e)].is_some_and(|cost| cost + fee == rest))
            })?;
            k -= usize::from(next != d);
            d = next;
            sequence.push(d);
        }
        Some(Plan {
            first,
            domains: sequence,
            moves: u8::try_from(used).unwrap_or(u8::MAX),
            cost,
        })
    }
}

/// The least two of a row with their places; of equals the earlier first.
fn two_least(row: &[Option<i128>]) -> [Option<(i128, usize)>; 2] {
    let [mut first, mut second] = [None::<(i128, usize)>; 2];
    for (place, cost) in row.iter().enumerate() {
        let Some(cost) = *cost else { continue };
        if first.is_none_or(|(least, _)| cost < least) {
            second = first;
            first = Some((cost, place));
        } else if second.is_none_or(|(least, _)| cost < least) {
            second = Some((cost, place));
        }
    }
    [first, second]
}
