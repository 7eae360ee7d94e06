//! Inventory: what a pool has, what of it is sold or held in each hour, and what happens to its asks
//! when that changes.

use std::collections::{BTreeMap, BTreeSet};

use tessera_types::{
    AccountId, AttestPool, CancelReason, ClOrdId, ContractEvent, DeclarePool, Event, EventSink,
    LeaseId, MAX_CONTRACT_QTY, Name, Partition, PoolId, PoolPath, RejectReason, Side, Timestamp,
};

use super::deadlines::LAPSE;
use super::groups::{Group, GroupKind};
use super::{Window, ensure, listing};
use crate::exchange::Exchange;

/// Most live orders, carves and quotes of one pool.
pub(crate) const MAX_ASKS: usize = 256;
/// The best score.
pub(crate) const MAX_SCORE: u16 = 10_000;

/// One seller's identical units inside one co-location path.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) name: Name,
    pub(crate) account: AccountId,
    pub(crate) class: u16,
    pub(crate) partition: Partition,
    pub(crate) profile: u8,
    pub(crate) zone: u16,
    pub(crate) path: PoolPath,
    pub(crate) first_device: u32,
    pub(crate) devices: u32,
    pub(crate) attested: u32,
    /// When the attestation was made.
    pub(crate) since: u64,
    /// When it lapses; 0 when it has, or there was none.
    pub(crate) until: u64,
    pub(crate) score: u16,
    pub(crate) stake: u64,
    /// Units that may be sold now. \[7\]
    pub(crate) cover: u32,
    /// Units sold or held, by hour.
    pub(crate) taken: Hours,
    /// Its orders, carves and quotes by age; those that have ended may still be listed.
    pub(crate) asks: Vec<Ask>,
    /// Leases of it that asks stand on, or did.
    pub(crate) resold: BTreeSet<LeaseId>,
}

/// An ask of a pool or lease. It has ended when its record has another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) id: u64,
    pub(crate) slot: u32,
    pub(crate) window: Window,
}

impl Pool {
    /// Units that are free in a window. \[8\]
    pub(crate) fn free(&self, window: Window) -> u32 {
        self.cover.saturating_sub(self.taken.most(window))
    }

    pub(super) fn forget(&mut self, id: u64) {
        self.asks.retain(|ask| ask.id != id);
    }
}

/// A count per hour, in chunks so that hours far apart cost nothing between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hours(BTreeMap<u32, Box<[u32; CHUNK as usize]>>);

const CHUNK: u32 = 128;

impl Hours {
    /// Adds `by`, which may be negative, to every hour of a window.
    pub(crate) fn add(&mut self, window: Window, by: i64) {
        for hour in window.start..window.end {
            let chunk = self
                .0
                .entry(hour / CHUNK)
                .or_insert_with(|| Box::new([0; CHUNK as usize]));
            let count = &mut chunk[(hour % CHUNK) as usize];
            let sum = i64::from(*count) + by;
            debug_assert!(sum >= 0, "more given back than was taken");
            *count = u32::try_from(sum).unwrap_or(0);
        }
    }

    /// The largest count of a window.
    pub(crate) fn most(&self, window: Window) -> u32 {
        let (first, last) = (window.start / CHUNK, (window.end - 1) / CHUNK);
        let mut most = 0;
        for (&number, chunk) in self.0.range(first..=last) {
            let base = number * CHUNK;
            let from = window.start.saturating_sub(base);
            let to = (window.end - base).min(CHUNK);
            for &count in &chunk[from as usize..to as usize] {
                most = most.max(count);
            }
        }
        most
    }

    /// The count of one hour.
    pub(crate) fn at(&self, hour: u32) -> u32 {
        let chunk = self.0.get(&(hour / CHUNK));
        chunk.map_or(0, |chunk| chunk[(hour % CHUNK) as usize])
    }

    /// (hour, count) of what is not zero.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        let hours = self.0.iter().flat_map(|(&number, chunk)| {
            let base = number * CHUNK;
            (base..).zip(chunk.iter().copied())
        });
        hours.filter(|&(_, count)| count > 0)
    }
}

impl Exchange {
    pub(super) fn on_pool<S: EventSink + ?Sized>(
        &mut self,
        request: &DeclarePool,
        sink: &mut S,
    ) -> Result<(), RejectReason> {
        let end = u64::from(request.first_device) + u64::from(request.devices);
        let form = request.name.validate().is_ok()
            && (1..=MAX_CONTRACT_QTY).contains(&request.devices)
            && end <= 1 << 32;
        ensure(form, RejectReason::BadField)?;
        listing::check_coordinate(
            self.catalogue.as_ref(),
            request.class,
            request.partition,
            request.profile,
            request.zone,
        )?;
        let known = self.contracts.pool_names.contains_key(&request.name);
        ensure(!known, RejectReason::DuplicatePool)?;
        let first = u64::from(request.first_device);
        let overlaps = |pool: &Pool| {
            let from = u64::from(pool.first_device);
            pool.class == request.class && from < end && first < from + u64::from(pool.devices)
        };
        let free = !self.contracts.pools.iter().any(overlaps);
        ensure(free, RejectReason::DuplicateDevice)?;
        let number = u32::try_from(self.contracts.pools.len()).unwrap_or(u32::MAX);
        ensure(number < PoolId::MAX.get(), RejectReason::LimitReached)?;
        let (pool, account) = (PoolId::new(number), request.header.account);
        self.contracts.pools.push(Pool {
            name: request.name,
            account,
            class: request.class,
            partition: request.partition,
            profile: request.profile,
            zone: request.zone,
            path: request.path,
            first_device: request.first_device,
            devices: request.devices,
            attested: 0,
            since: 0,
            until: 0,
            score: 0,
            stake: 0,
            cover: 0,
            taken: Hours::default(),
            asks: Vec::new(),
            resold: BTreeSet::new(),
        });
        self.contracts.pool_names.insert(request.name, pool);
        let by = self.requester(&request.header);
        let event = ContractEvent::PoolDeclared { pool, account, by };
        self.emit(Event::Contract(event), sink);
        Ok(())
    }

    pub(super) fn on_attest<S: EventSink + ?Sized>(
        &mut self,
        request: &AttestPool,
        sink: &mut S,
    ) -> Result<(), RejectReason> {
        let score = request.score.is_none_or(|score| score <= MAX_SCORE);
        let form = (1..=MAX_CONTRACT_QTY).contains(&request.qty) && score;
        ensure(form, RejectReason::BadField)?;
        let at = request.pool.get() as usize;
        let pool = self.contracts.pools.get(at);
        let pool = pool.ok_or(RejectReason::UnknownPool)?;
        ensure(request.qty <= pool.devices, RejectReason::BadQty)?;
        ensure(request.until > self.clock, RejectReason::Expired)?;
        let class_stake = self.catalogue.as_ref().and_then(|catalogue| {
            let class = catalogue.classes.get(usize::from(pool.class))?;
            Some(class.stake)
        });
        self.disarm(pool.until, LAPSE, u64::from(request.pool.get()));
        self.arm(
            u128::from(request.until.nanos()),
            LAPSE,
            u64::from(request.pool.get()),
        );
        let now = self.clock.nanos();
        let pool = &mut self.contracts.pools[at];
        pool.attested = request.qty;
        pool.since = now;
        pool.until = request.until.nanos();
        pool.score = request.score.unwrap_or(pool.score);
        pool.stake = request.stake.unwrap_or(pool.stake);
        let staked = match class_stake {
            Some(stake) if stake > 0 => pool.stake / stake,
            _ => u64::MAX,
        };
        pool.cover = pool.attested.min(u32::try_from(staked).unwrap_or(u32::MAX));
        let cover = pool.cover;
        let by = self.requester(&request.header);
        let event = ContractEvent::PoolAttested {
            pool: request.pool,
            cover,
            by,
        };
        self.emit(Event::Contract(event), sink);
        self.shrink_pool(at, None, CancelReason::Inventory, sink);
        Ok(())
    }

    /// An attestation runs out: nothing of the pool may be sold until it is attested again. \[11\]
    pub(super) fn lapse<S: EventSink + ?Sized>(&mut self, at: usize, sink: &mut S) {
        let pool = &mut self.contracts.pools[at];
        pool.attested = 0;
        pool.until = 0;
        pool.cover = 0;
        let pool = PoolId::new(u32::try_from(at).unwrap_or(u32::MAX));
        self.emit(Event::Contract(ContractEvent::PoolLapsed { pool }), sink);
        self.shrink_pool(at, None, CancelReason::Attestation, sink);
    }

    /// Whether a pool or a lease can take one more ask; forgets those that have ended.
    pub(super) fn room_for_ask(&mut self, asks: AskList, most: usize) -> bool {
        if self.asks(asks).len() < most {
            return true;
        }
        let mut list = core::mem::take(self.asks_mut(asks));
        list.retain(|ask| self.store.orders[ask.slot].id == ask.id);
        let room = list.len() < most;
        *self.asks_mut(asks) = list;
        room
    }

    pub(super) fn asks(&self, list: AskList) -> &Vec<Ask> {
        match list {
            AskList::Pool(at) => &self.contracts.pools[at].asks,
            AskList::Lease(at) => &self.contracts.leases[at].asks,
        }
    }

    pub(super) fn asks_mut(&mut self, list: AskList) -> &mut Vec<Ask> {
        match list {
            AskList::Pool(at) => &mut self.contracts.pools[at].asks,
            AskList::Lease(at) => &mut self.contracts.leases[at].asks,
        }
    }

    /// Counts live asks without forgetting any.
    pub(super) fn live_asks(&self, list: AskList) -> usize {
        let live = |ask: &&Ask| self.store.orders[ask.slot].id == ask.id;
        self.asks(list).iter().filter(live).count()
    }

    /// Ends or reduces what the pool can no longer back. \[10\] First quotes, newest first, as long as
    /// their hours are over-committed; then its other asks, oldest first; where the cover is gone those
    /// on its leases with them. `window`: only asks that share hours with it can be concerned.
    pub(super) fn shrink_pool<S: EventSink + ?Sized>(
        &mut self,
        at: usize,
        window: Option<Window>,
        reason: CancelReason,
        sink: &mut S,
    ) {
        let mut asks = core::mem::take(&mut self.contracts.pools[at].asks);
        let orders = &self.store.orders;
        if asks.len() >= MAX_ASKS {
            asks.retain(|ask| orders[ask.slot].id == ask.id);
        }
        let concerned = |ask: &Ask| window.is_none_or(|window| ask.window.overlaps(window));
        let cover = self.contracts.pools[at].cover;
        let mut list: Vec<Ask> = asks.iter().copied().filter(concerned).collect();
        self.contracts.pools[at].asks = asks;
        list.retain(|ask| self.store.orders[ask.slot].id == ask.id);
        for ask in list.iter().rev() {
            let quote = self.contracts.groups.get(&ask.id);
            let quote = quote.is_some_and(|group| matches!(group.kind, GroupKind::Quote(_)));
            let taken = self.contracts.pools[at].taken.most(ask.window);
            if quote && (taken > cover || cover == 0) {
                self.cancel_group(ask.id, reason, ClOrdId::new(0), sink);
            }
        }
        if cover == 0 {
            let resold = core::mem::take(&mut self.contracts.pools[at].resold);
            for lease in &resold {
                list.extend(&self.contracts.leases[lease.get() as usize - 1].asks);
            }
            self.contracts.pools[at].resold = resold;
            list.sort_unstable_by_key(|ask| ask.id);
        }
        for ask in list {
            if self.store.orders[ask.slot].id == ask.id {
                self.shrink_ask(at, &ask, reason, sink);
            }
        }
    }

    fn shrink_ask<S: EventSink + ?Sized>(
        &mut self,
        at: usize,
        ask: &Ask,
        reason: CancelReason,
        sink: &mut S,
    ) {
        let none = ClOrdId::new(0);
        let pool = &self.contracts.pools[at];
        match self.contracts.groups.get(&ask.id) {
            Some(Group {
                kind: GroupKind::Carve(carve),
                ..
            }) => {
                let sold = carve.state.compute_used > 0;
                if pool.cover == 0 || (!sold && pool.free(ask.window) == 0) {
                    self.cancel_group(ask.id, reason, none, sink);
                }
            }
            Some(_) => {}
            None => {
                let free = self.free_behind(ask.slot);
                self.shrink_to(ask.slot, free, reason, sink);
            }
        }
    }

    /// Lowers what an ask has open to what is free behind it.
    pub(super) fn shrink_to<S: EventSink + ?Sized>(
        &mut self,
        slot: u32,
        free: u64,
        reason: CancelReason,
        sink: &mut S,
    ) {
        let order = &self.store.orders[slot];
        if order.queue == crate::book::slab::NONE || order.leaves <= free {
            return; // the incoming order shrinks by its own trades
        }
        debug_assert_eq!(order.side(), Side::Sell);
        if free == 0 {
            self.cancel(slot, reason, ClOrdId::new(0), sink);
        } else {
            self.reduce_for_inventory(slot, order.leaves - free, sink);
        }
    }

    /// The time of the clock, as pools note it.
    pub(super) fn now(&self) -> Timestamp {
        self.clock
    }
}

/// Whose asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AskList {
    Pool(usize),
    Lease(usize),
}
