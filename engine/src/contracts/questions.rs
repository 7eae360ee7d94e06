//! What can be asked about contracts without changing anything.

use tessera_types::{
    AccountId, ClOrdId, ContractTerms, InstrumentId, LeaseId, Name, OrderId, PoolId, SessionId,
    Side,
};

use super::groups::GroupKind;
use crate::exchange::Exchange;

/// What of a pool is free in the window of a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolFree {
    /// Which pool.
    pub pool: PoolId,
    /// Units that may be sold at all.
    pub cover: u32,
    /// Units that are free.
    pub free: u32,
}

/// A lease with units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// Its number.
    pub lease: LeaseId,
    /// Its holder.
    pub account: AccountId,
    /// Of which contract.
    pub instrument: InstrumentId,
    /// Where its units are.
    pub pool: PoolId,
    /// Units.
    pub qty: u32,
    /// Ticks per unit-hour.
    pub price: i64,
    /// First hour.
    pub start: u32,
    /// First hour behind it.
    pub end: u32,
}

/// A live group order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// The exchange's id.
    pub order_id: OrderId,
    /// Whose session.
    pub session: SessionId,
    /// The owner.
    pub account: AccountId,
    /// The owner's id.
    pub cl_ord_id: ClOrdId,
    /// `sub`, `carve`, `rfq` or `quote`.
    pub kind: &'static str,
    /// Which side it is on.
    pub side: Side,
    /// The contract of a request or quote; none for orders of several contracts.
    pub instrument: Option<InstrumentId>,
    /// As it was asked for: lots, units of work, or 1 device.
    pub qty: u64,
    /// What is open: lots, 1/10000 units of work, or 1 device.
    pub open: u64,
}

impl Exchange {
    /// The pool of this name.
    #[must_use]
    pub fn pool_by_name(&self, name: &str) -> Option<PoolId> {
        self.contracts
            .pool_names
            .get(&Name::new(name).ok()?)
            .copied()
    }

    /// The name of a pool.
    #[must_use]
    pub fn pool_name(&self, pool: PoolId) -> Option<&Name> {
        let pool = self.contracts.pools.get(pool.get() as usize)?;
        Some(&pool.name)
    }

    /// The terms of a contract, none for a plain or unknown instrument.
    #[must_use]
    pub fn contract_terms(&self, instrument: InstrumentId) -> Option<&ContractTerms> {
        let book = self.books.get(instrument.get() as usize)?;
        book.rest.instrument.terms.as_ref()
    }

    /// Every pool that fits a contract, by number.
    #[must_use]
    pub fn pools_free(&self, instrument: InstrumentId) -> Vec<PoolFree> {
        let Ok(number) = self.contract(instrument) else {
            return Vec::new();
        };
        let window = self.window(number);
        let fitting = (0..self.contracts.pools.len()).filter(|&at| self.pool_fits(at, number));
        let free = fitting.map(|at| {
            let pool = &self.contracts.pools[at];
            PoolFree {
                pool: PoolId::new(u32::try_from(at).unwrap_or(u32::MAX)),
                cover: pool.cover,
                free: pool.free(window),
            }
        });
        free.collect()
    }

    /// Every lease with units, by number.
    pub fn leases(&self) -> impl Iterator<Item = LeaseView> {
        let numbered = (1..).map(LeaseId::new).zip(&self.contracts.leases);
        let live = numbered.filter(|(_, lease)| lease.qty > 0);
        live.map(|(number, lease)| LeaseView {
            lease: number,
            account: lease.account,
            instrument: InstrumentId::new(lease.book),
            pool: PoolId::new(lease.pool),
            qty: lease.qty,
            price: lease.price,
            start: lease.window.start,
            end: lease.window.end,
        })
    }

    /// Every live group order, oldest first.
    pub fn group_orders(&self) -> impl Iterator<Item = GroupView> {
        self.contracts.groups.values().map(|group| {
            let order = &self.store.orders[group.slot];
            let (instrument, qty) = match &group.kind {
                GroupKind::Sub(sub) => (None, u64::from(sub.qty)),
                GroupKind::Carve(_) => (None, 1),
                GroupKind::Rfq(rfq) => (Some(rfq.book), u64::from(rfq.qty)),
                GroupKind::Quote(quote) => (Some(quote.book), u64::from(quote.qty)),
            };
            GroupView {
                order_id: order.order_id(),
                session: order.session(),
                account: order.account_id(),
                cl_ord_id: order.client_id(),
                kind: group.kind.word(),
                side: order.side(),
                instrument: instrument.map(InstrumentId::new),
                qty,
                open: order.leaves,
            }
        })
    }
}
