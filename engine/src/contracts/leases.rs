//! Leases: what a fill on a contract makes, and what may be sold on. \[44\] to \[46\]

use tessera_types::{AccountId, CancelReason, EventSink, LeaseId, RejectReason};

use super::pools::{Ask, AskList};
use super::{Tag, Window, ensure};
use crate::exchange::Exchange;

/// Most asks on one lease.
pub(crate) const MAX_ASKS: usize = 16;

/// Units of a pool that a buyer has for a window.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) account: AccountId,
    pub(crate) book: u32,
    pub(crate) pool: u32,
    pub(crate) qty: u32,
    pub(crate) price: i64,
    pub(crate) notice_s: u32,
    /// Of the hours that are the holder's; all of the contract's unless a preemption made it.
    pub(crate) window: Window,
    /// The id of the block that it was bought in, else 0.
    pub(crate) block: u64,
    /// Its asks by age; those that have ended may still be listed.
    pub(crate) asks: Vec<Ask>,
}

impl Exchange {
    pub(super) fn lease(&self, lease: LeaseId) -> Option<&Lease> {
        let at = (lease.get() as usize).checked_sub(1)?;
        self.contracts.leases.get(at)
    }

    /// Where the lease is that an ask of this party in this contract may name. \[44\]
    pub(super) fn check_lease(
        &self,
        account: AccountId,
        number: usize,
        lease: LeaseId,
    ) -> Result<usize, RejectReason> {
        let found = self.lease(lease);
        let found = found.filter(|lease| lease.account == account && lease.qty > 0);
        let found = found.ok_or(RejectReason::UnknownLease)?;
        let same = found.book as usize == number && found.window == self.window(number);
        ensure(same, RejectReason::WrongLease)?;
        Ok(lease.get() as usize - 1)
    }

    /// Units that may be sold out of a lease. \[45\]
    pub(super) fn lease_free(&self, at: usize) -> u64 {
        let lease = &self.contracts.leases[at];
        match self.contracts.pools[lease.pool as usize].cover {
            0 => 0,
            _ => u64::from(lease.qty),
        }
    }

    /// Units free behind an ask on a pool or a lease.
    pub(super) fn free_behind(&self, slot: u32) -> u64 {
        match self.contracts.tag(slot) {
            Tag::Pool(pool) => {
                let window = self.window(self.book_of(slot));
                u64::from(self.contracts.pools[pool.get() as usize].free(window))
            }
            Tag::Lease(lease) => self.lease_free(lease.get() as usize - 1),
            _ => 0,
        }
    }

    /// A new lease; its number.
    pub(super) fn add_lease(&mut self, lease: Lease) -> LeaseId {
        let weight = self.weight(lease.book as usize) * u128::from(lease.qty);
        self.hold_weight(lease.account, lease.window.end, weight);
        if self.terms(lease.book as usize).reclaim.is_some() {
            let at = self.contracts.leases.len();
            self.contracts
                .reclaimable
                .entry(lease.book)
                .or_default()
                .push(at);
        }
        self.contracts.leases.push(lease);
        LeaseId::new(u32::try_from(self.contracts.leases.len()).unwrap_or(u32::MAX))
    }

    /// Takes units off a lease, and from the weight of its holder; its asks shrink.
    pub(super) fn lower_lease<S: EventSink + ?Sized>(&mut self, at: usize, qty: u32, sink: &mut S) {
        let lease = &mut self.contracts.leases[at];
        lease.qty -= qty;
        let (account, end, book) = (lease.account, lease.window.end, lease.book);
        let weight = self.weight(book as usize) * u128::from(qty);
        self.release_weight(account, end, weight);
        self.shrink_lease(at, sink);
    }

    fn shrink_lease<S: EventSink + ?Sized>(&mut self, at: usize, sink: &mut S) {
        let asks = core::mem::take(&mut self.contracts.leases[at].asks);
        let free = self.lease_free(at);
        for ask in &asks {
            if self.store.orders[ask.slot].id == ask.id {
                self.shrink_to(ask.slot, free, CancelReason::Inventory, sink);
            }
        }
        self.contracts.leases[at].asks = asks;
    }

    /// Lists an accepted ask under what stands behind it.
    pub(super) fn list_ask(&mut self, slot: u32, number: usize) {
        let ask = Ask {
            id: self.store.orders[slot].id,
            slot,
            window: self.window(number),
        };
        match self.contracts.tag(slot) {
            Tag::Pool(pool) => {
                let list = AskList::Pool(pool.get() as usize);
                self.room_for_ask(list, super::pools::MAX_ASKS);
                self.asks_mut(list).push(ask);
            }
            Tag::Lease(lease) => {
                let at = lease.get() as usize - 1;
                let list = AskList::Lease(at);
                self.room_for_ask(list, MAX_ASKS);
                self.asks_mut(list).push(ask);
                let pool = self.contracts.leases[at].pool as usize;
                self.contracts.pools[pool].resold.insert(lease);
            }
            _ => {}
        }
    }
}
