//! Contracts in the state hash, and what must hold between them.

use tessera_types::{MigProfile, Need};

use super::Contracts;
use super::deadlines::LAPSE;
use super::groups::GroupKind;
use super::pools::Ask;
use crate::digest::Folder;
use crate::exchange::Exchange;

impl Contracts {
    /// True when nothing of contracts can influence an event.
    pub(crate) fn is_empty(&self) -> bool {
        !self.in_use
    }
}

fn fold_need(need: &Need, folder: &mut Folder) {
    folder.word(u64::from(need.isolation.code()));
    folder.word(u64::from(need.min_notice_s));
    folder.word(need.exclude.len() as u64);
    for account in &need.exclude {
        folder.word(u64::from(account.get()));
    }
    folder.word(u64::from(need.min_score));
    folder.option(need.max_age_s.map(u64::from));
    folder.word(need.min_stake);
}

impl Exchange {
    /// Folds what contracts add to the state; nothing when there is nothing, so that the hash of an
    /// exchange without them is what it was.
    pub(crate) fn fold_contracts(&self, folder: &mut Folder) {
        let all = &self.contracts;
        if all.is_empty() {
            return;
        }
        folder.word(u64::from_le_bytes(*b"contract"));
        folder.word(all.pools.len() as u64);
        for pool in &all.pools {
            folder.name(&pool.name);
            for word in [
                pool.account.get(),
                u32::from(pool.class),
                u32::from(pool.partition.code()),
                u32::from(pool.profile),
                u32::from(pool.zone),
                pool.first_device,
                pool.devices,
                pool.attested,
                u32::from(pool.score),
                pool.cover,
            ] {
                folder.word(u64::from(word));
            }
            for word in [pool.since, pool.until, pool.stake] {
                folder.word(word);
            }
            folder.word(pool.path.components().len() as u64);
            for &part in pool.path.components() {
                folder.word(u64::from(part));
            }
            for (hour, count) in pool.taken.iter() {
                folder.word(u64::from(hour) << 32 | u64::from(count));
            }
            self.fold_asks(&pool.asks, folder);
        }
        folder.word(all.leases.len() as u64);
        for (number, lease) in all
            .leases
            .iter()
            .enumerate()
            .filter(|(_, lease)| lease.qty > 0)
        {
            for word in [
                number as u64,
                u64::from(lease.account.get()) << 32 | u64::from(lease.book),
                u64::from(lease.pool) << 32 | u64::from(lease.qty),
                lease.price.cast_unsigned(),
                u64::from(lease.notice_s),
                u64::from(lease.window.start) << 32 | u64::from(lease.window.end),
                lease.block,
            ] {
                folder.word(word);
            }
            self.fold_asks(&lease.asks, folder);
        }
        for (&id, group) in &all.groups {
            folder.word(id);
            let order = &self.store.orders[group.slot];
            folder.word(order.cl_ord_id);
            folder.word(order.owner_word());
            folder.word(order.leaves);
            folder.word(self.store.cum(group.slot));
            fold_group(&group.kind, folder);
        }
        for (account, entry) in &all.accounts {
            if let Some(limit) = entry.limit {
                folder.word(u64::from(account.get()));
                folder.word(limit);
            }
        }
        for (&(book, account), &times) in &all.displaced {
            folder.word(u64::from(book) << 32 | u64::from(account.get()));
            folder.word(u64::from(times));
        }
    }

    fn fold_asks(&self, asks: &[Ask], folder: &mut Folder) {
        let live = asks
            .iter()
            .filter(|ask| self.store.orders[ask.slot].id == ask.id);
        for ask in live {
            folder.word(ask.id);
        }
        folder.word(u64::MAX);
    }

    /// Panics unless what contracts keep fits together. For tests: slow.
    pub(crate) fn check_contracts(&self) {
        let all = &self.contracts;
        for (at, pool) in all.pools.iter().enumerate() {
            let lapse = (pool.until, LAPSE, at as u64);
            assert_eq!(
                all.deadlines.contains(&lapse),
                pool.until > 0,
                "lapse of a pool"
            );
            for ask in &pool.asks {
                let order = &self.store.orders[ask.slot];
                if order.id == ask.id && !all.groups.contains_key(&ask.id) {
                    assert!(
                        order.leaves <= u64::from(pool.free(ask.window)),
                        "an ask beyond its pool"
                    );
                }
            }
        }
        for lease in all.leases.iter().filter(|lease| lease.qty > 0) {
            for ask in &lease.asks {
                let order = &self.store.orders[ask.slot];
                assert!(
                    order.id != ask.id || order.leaves <= u64::from(lease.qty),
                    "ask on a lease"
                );
            }
        }
        for (id, group) in &all.groups {
            assert_eq!(
                self.store.orders[group.slot].id, *id,
                "record of a group order"
            );
            match &group.kind {
                GroupKind::Sub(sub) => {
                    assert!(sub.open > 0, "a substitution order with nothing open");
                    for leg in sub.legs.iter().filter(|leg| leg.shadow != 0) {
                        assert_eq!(self.store.orders[leg.shadow].id, *id, "shadow");
                    }
                }
                GroupKind::Carve(carve) => {
                    let bits = carve.state.mem_mask.count_ones();
                    assert!(
                        bits >= u32::from(carve.state.compute_used)
                            && carve.state.compute_used <= 7
                    );
                    for (profile, slice) in carve.slices.iter().enumerate() {
                        let Some(slice) = slice else { continue };
                        let open = match slice.shadow {
                            0 => 0,
                            shadow => self.store.orders[shadow].leaves,
                        };
                        let capacity = u64::from(carve.state.capacity(profile));
                        assert_eq!(open, capacity, "slice {}", MigProfile::ALL[profile]);
                    }
                }
                GroupKind::Rfq(rfq) => {
                    assert!(
                        rfq.quotes
                            .iter()
                            .all(|quote| all.groups.contains_key(quote))
                    );
                }
                GroupKind::Quote(quote) => assert!(all.groups.contains_key(&quote.rfq)),
            }
        }
        for account in all.accounts.keys() {
            let ends = |window: super::Window| !self.has_ended(window.end);
            let leases = all.leases.iter();
            let own = leases.filter(|lease| lease.account == *account && ends(lease.window));
            let weight = own.map(|lease| self.weight(lease.book as usize) * u128::from(lease.qty));
            let held = all.accounts[account].held.iter();
            let held = held.filter(|&(&end, _)| !self.has_ended(end));
            assert_eq!(
                weight.sum::<u128>(),
                held.map(|(_, weight)| weight).sum(),
                "weight of leases"
            );
        }
    }
}

fn fold_group(kind: &GroupKind, folder: &mut Folder) {
    match kind {
        GroupKind::Sub(sub) => {
            folder.word(u64::from(sub.mode.code()) << 32 | u64::from(sub.qty));
            folder.signed(sub.limit);
            fold_need(&sub.need, folder);
            for leg in &sub.legs {
                folder.word(u64::from(leg.book) << 1 | u64::from(leg.shadow != 0));
                folder.signed(leg.eta);
                folder.signed(leg.bias);
            }
        }
        GroupKind::Carve(carve) => {
            folder.word(carve.pool as u64);
            folder.word(u64::from(carve.state.mem_mask) << 8 | u64::from(carve.state.compute_used));
            for slice in carve.slices.iter().flatten() {
                folder.word(u64::from(slice.book) << 1 | u64::from(slice.shadow != 0));
                folder.signed(slice.price);
            }
        }
        GroupKind::Rfq(rfq) => {
            folder.word(u64::from(rfq.book) << 32 | u64::from(rfq.qty));
            folder.signed(rfq.price);
            folder.word(rfq.closes);
            let level = u64::from(rfq.level.code());
            folder.word(level << 16 | u64::from(rfq.max_quotes) << 8 | u64::from(rfq.auto));
            fold_need(&rfq.need, folder);
        }
        GroupKind::Quote(quote) => {
            folder.word(quote.rfq);
            folder.word((quote.pool as u64) << 32 | u64::from(quote.book));
            folder.word(u64::from(quote.qty) << 32 | u64::from(quote.notice_s));
            folder.signed(quote.price);
        }
    }
}
