//! Weights: how much of the venue one party may have. \[15\]

use std::collections::BTreeMap;

use tessera_types::{AccountId, ContractEvent, Event, EventSink, RejectReason, SetLimit, Side};

use super::groups::GroupKind;
use super::{HOUR_NS, ensure};
use crate::book::slab::NONE;
use crate::exchange::Exchange;

/// What counts against a party's limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) limit: Option<u64>,
    /// (id, record) of plain buys; those that have ended may still be listed.
    buys: Vec<(u64, u32)>,
    /// Substitution orders and requests; those that have ended may still be listed.
    groups: Vec<u64>,
    /// Weight of leases by the hour in which their window ends; those that have ended may still be there.
    pub(crate) held: BTreeMap<u32, u128>,
    /// How long `buys` and `groups` may get before what has ended is forgotten.
    patience: usize,
}

impl Exchange {
    pub(super) fn on_limit<S: EventSink + ?Sized>(&mut self, request: &SetLimit, sink: &mut S) {
        let account = request.header.account;
        let entry = self.contracts.accounts.entry(account).or_default();
        entry.limit = Some(request.max_weight);
        let used = u64::try_from(self.used(account)).unwrap_or(i64::MAX.unsigned_abs());
        let by = self.requester(&request.header);
        let event = ContractEvent::LimitSet { account, used, by };
        self.emit(Event::Contract(event), sink);
    }

    /// Weight of one lot of a contract.
    pub(super) fn weight(&self, number: usize) -> u128 {
        u128::from(self.terms(number).weight)
    }

    /// Refuses what would raise the party above its limit.
    pub(super) fn check_limit(&self, account: AccountId, more: u128) -> Result<(), RejectReason> {
        let entry = self.contracts.accounts.get(&account);
        let Some(limit) = entry.and_then(|entry| entry.limit) else {
            return Ok(());
        };
        ensure(
            self.used(account) + more <= u128::from(limit),
            RejectReason::Limit,
        )
    }

    /// What counts against a party's limit now.
    pub(super) fn used(&self, account: AccountId) -> u128 {
        let Some(entry) = self.contracts.accounts.get(&account) else {
            return 0;
        };
        let mut used = 0;
        for &(id, slot) in &entry.buys {
            let order = &self.store.orders[slot];
            if order.id == id && order.queue != NONE {
                used += self.weight(self.book_of(slot)) * u128::from(order.leaves);
            }
        }
        for id in &entry.groups {
            used += match self.contracts.groups.get(id).map(|group| &group.kind) {
                Some(GroupKind::Sub(sub)) => self.sub_weight(sub),
                Some(GroupKind::Rfq(rfq)) => self.weight(rfq.book as usize) * u128::from(rfq.qty),
                _ => 0,
            };
        }
        let leases = entry.held.iter().rev();
        let running = leases.take_while(|&(&end, _)| !self.has_ended(end));
        used + running.map(|(_, weight)| weight).sum::<u128>()
    }

    /// True when the clock has reached this hour.
    pub(super) fn has_ended(&self, end: u32) -> bool {
        u128::from(end) * HOUR_NS <= u128::from(self.clock.nanos())
    }

    /// Notes an accepted plain buy.
    pub(super) fn note_buy(&mut self, slot: u32) {
        let order = &self.store.orders[slot];
        debug_assert_eq!(order.side(), Side::Buy);
        let (account, id) = (order.account_id(), order.id);
        self.forget_ended(account);
        self.contracts
            .accounts
            .entry(account)
            .or_default()
            .buys
            .push((id, slot));
    }

    pub(super) fn note_group_of(&mut self, account: AccountId, id: u64) {
        self.forget_ended(account);
        self.contracts
            .accounts
            .entry(account)
            .or_default()
            .groups
            .push(id);
    }

    /// Forgets what has ended, once that is about half of what is listed.
    fn forget_ended(&mut self, account: AccountId) {
        let Some(entry) = self.contracts.accounts.get_mut(&account) else {
            return;
        };
        if entry.buys.len() + entry.groups.len() < entry.patience.max(64) {
            return;
        }
        let orders = &self.store.orders;
        entry.buys.retain(|&(id, slot)| orders[slot].id == id);
        let groups = &self.contracts.groups;
        entry.groups.retain(|id| groups.contains_key(id));
        entry.patience = 2 * (entry.buys.len() + entry.groups.len());
    }

    pub(super) fn hold_weight(&mut self, account: AccountId, end: u32, weight: u128) {
        let entry = self.contracts.accounts.entry(account).or_default();
        *entry.held.entry(end).or_default() += weight;
    }

    pub(super) fn release_weight(&mut self, account: AccountId, end: u32, weight: u128) {
        let entry = self.contracts.accounts.entry(account).or_default();
        if let Some(held) = entry.held.get_mut(&end) {
            *held = held.saturating_sub(weight);
            if *held == 0 {
                entry.held.remove(&end);
            }
        }
    }
}
