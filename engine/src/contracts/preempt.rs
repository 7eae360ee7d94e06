//! Priced preemption: bids for the rest of leases in a reclaimable contract. \[39\] to \[43\]

use core::cmp::Reverse;
use std::collections::BTreeMap;

use tessera_types::{
    CancelReason, ContractEvent, Event, EventSink, LeaseId, Phase, PoolId, PreemptOrder, Price,
    Reclaim, Refusal, RefusalCounts, RejectReason, Side,
};

use super::leases::Lease;
use super::{HOUR_NS, Window, ceil_div, ensure, narrow};
use crate::exchange::Exchange;

/// Leases that are displaced together: those of one block, else one.
#[derive(Debug)]
struct Unit {
    floor: i128,
    latest: usize,
    /// Places of the leases, oldest first.
    leases: Vec<usize>,
    qty: u64,
    /// Of a block: whole or not at all.
    whole: bool,
}

impl Exchange {
    pub(super) fn on_preempt<S: EventSink + ?Sized>(
        &mut self,
        request: &PreemptOrder,
        sink: &mut S,
    ) -> Result<(), RejectReason> {
        let header = &request.header;
        ensure(header.cl_ord_id.get() != 0, RejectReason::BadField)?;
        let number = self.contract(request.instrument)?;
        let reclaim = self.terms(number).reclaim;
        let reclaim = reclaim.ok_or(RejectReason::NotReclaimable)?;
        let window = self.window(number);
        let inside = (window.start..window.end).contains(&request.from_hour);
        ensure(inside, RejectReason::BadField)?;
        match self.books[number].phase {
            Phase::Halt => return Err(RejectReason::Halted),
            Phase::Auction => return Err(RejectReason::WrongPhase),
            Phase::Continuous | Phase::Closed => {}
        }
        self.check_id(header)?;
        let book = &self.books[number];
        let (price, qty) = (request.price.ticks(), request.qty.lots());
        ensure(book.price_fits(price), RejectReason::BadPrice)?;
        ensure(book.qty_fits(qty), RejectReason::BadQty)?;
        let from = u128::from(request.from_hour) * HOUR_NS;
        let ahead = from >= u128::from(self.clock.nanos());
        ensure(ahead, RejectReason::Expired)?;
        let weight = self.weight(number) * u128::from(qty);
        self.check_limit(header.account, weight)?;

        let book = self.books[number].number;
        let slot = self.accept_group(header, book, Side::Buy, price, qty, sink);
        let mut counts = RefusalCounts::default();
        let mut units = self.units(request, number, &reclaim, &mut counts);
        units.sort_by_key(|unit| (unit.floor, Reverse(unit.latest)));
        let mut left = qty;
        let mut parts: Vec<(usize, i128, u64)> = Vec::new();
        let mut displaced = Vec::new();
        for unit in &units {
            if left == 0 || (unit.whole && unit.qty > left) {
                continue;
            }
            displaced.push(self.contracts.leases[unit.leases[0]].account);
            for &at in &unit.leases {
                let part = u64::from(self.contracts.leases[at].qty).min(left);
                if part > 0 {
                    left -= part;
                    parts.push((at, unit.floor, part));
                }
            }
        }
        if left > 0 {
            for unit in &units {
                counts.add(Refusal::Short, unit.qty);
            }
            let party = self.party(slot);
            self.emit(
                Event::Contract(ContractEvent::NoMatch { party, counts }),
                sink,
            );
            self.cancel_entering(slot, book, qty, CancelReason::Infeasible, sink);
            return Ok(());
        }
        for holder in displaced {
            *self.contracts.displaced.entry((book, holder)).or_default() += 1;
        }
        for (at, floor, part) in parts {
            self.displace(request, slot, window, (at, floor, part), sink);
        }
        self.drop_group(book, slot);
        Ok(())
    }

    /// What may be displaced; the rest is counted by its reason. \[40\] \[41\]
    fn units(
        &self,
        request: &PreemptOrder,
        number: usize,
        reclaim: &Reclaim,
        counts: &mut RefusalCounts,
    ) -> Vec<Unit> {
        let book = self.books[number].number;
        let tick = i128::from(self.books[number].rest.instrument.tick);
        let mut singles = Vec::new();
        let mut blocks: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        let of_book = self.contracts.reclaimable.get(&book);
        for &at in of_book.map_or(&[][..], Vec::as_slice) {
            let lease = &self.contracts.leases[at];
            let runs = (lease.window.start..lease.window.end).contains(&request.from_hour);
            if lease.qty == 0 || !runs {
                continue;
            }
            if lease.block == 0 {
                singles.push(vec![at]);
            } else {
                blocks.entry(lease.block).or_default().push(at);
            }
        }
        let price = i128::from(request.price.ticks());
        let mut units = Vec::new();
        for leases in singles.into_iter().chain(blocks.into_values()) {
            let all = leases.iter().map(|&at| &self.contracts.leases[at]);
            let lots = |lease: &Lease| u64::from(lease.qty);
            let floors = all
                .clone()
                .map(|lease| floor(lease, reclaim, request.from_hour));
            let floor = floors.max().unwrap_or(0);
            let refusals = all
                .clone()
                .map(|lease| self.kept(request, lease, reclaim, book));
            let refusals: Vec<Option<Refusal>> = refusals.collect();
            let dear = (price < floor + tick).then_some(Refusal::Price);
            let first = refusals.iter().flatten().next().copied().or(dear);
            if let Some(first) = first {
                for (lease, refusal) in all.zip(&refusals) {
                    counts.add(refusal.unwrap_or(first), lots(lease));
                }
                continue;
            }
            units.push(Unit {
                floor,
                latest: leases.iter().copied().max().unwrap_or(0),
                qty: all.clone().map(lots).sum(),
                whole: all.clone().any(|lease| lease.block != 0),
                leases,
            });
        }
        units
    }

    /// Why a lease may not be displaced, whatever is paid. \[40\]
    fn kept(
        &self,
        request: &PreemptOrder,
        lease: &Lease,
        reclaim: &Reclaim,
        book: u32,
    ) -> Option<Refusal> {
        if lease.account == request.header.account {
            return Some(Refusal::Own);
        }
        let told = u128::from(self.clock.nanos()) + u128::from(lease.notice_s) * 1_000_000_000;
        if told > u128::from(request.from_hour) * HOUR_NS {
            return Some(Refusal::Notice);
        }
        let times = self.contracts.displaced.get(&(book, lease.account));
        if times.copied().unwrap_or(0) >= reclaim.max_times {
            return Some(Refusal::Times);
        }
        let ran = u64::from(request.from_hour - lease.window.start) * 3_600;
        (ran < u64::from(reclaim.min_run_s)).then_some(Refusal::MinRun)
    }

    /// Moves units of a lease to the bidder from an hour on. \[43\]
    fn displace<S: EventSink + ?Sized>(
        &mut self,
        request: &PreemptOrder,
        slot: u32,
        window: Window,
        (at, floor, part): (usize, i128, u64),
        sink: &mut S,
    ) {
        let lots = u32::try_from(part).unwrap_or(u32::MAX);
        let rest = Window {
            start: request.from_hour,
            end: window.end,
        };
        let lease = &self.contracts.leases[at];
        let (victim, pool, old_price) = (lease.account, lease.pool, i128::from(lease.price));
        let new = Lease {
            account: request.header.account,
            qty: lots,
            price: request.price.ticks(),
            window: rest,
            block: 0,
            asks: Vec::new(),
            ..*lease
        };
        let n = i128::from(part) * i128::from(rest.hours());
        let price = i128::from(request.price.ticks());
        let new_lease = self.add_lease(new);
        let event = ContractEvent::Preempted {
            party: self.party(slot),
            lease: LeaseId::new(u32::try_from(at + 1).unwrap_or(u32::MAX)),
            new_lease,
            victim,
            pool: PoolId::new(pool),
            qty: lots,
            hours: u16::try_from(rest.hours()).unwrap_or(u16::MAX),
            price: request.price,
            floor: Price::from_ticks(narrow(floor)),
            paid: narrow(price * n),
            refund: narrow(old_price * n),
            compensation: narrow((floor - old_price) * n),
            seller_gain: narrow((price - floor) * n),
        };
        self.emit(Event::Contract(event), sink);
        self.lower_lease(at, lots, sink);
    }
}

/// What a bid must beat by a tick. \[39\]
fn floor(lease: &Lease, reclaim: &Reclaim, from: u32) -> i128 {
    let price = i128::from(lease.price);
    let hours = i128::from(lease.window.end - from);
    let restart = i128::from(reclaim.restart_minutes) * price.max(0);
    price + i128::from(reclaim.compensation) + ceil_div(restart, 60 * hours)
}
