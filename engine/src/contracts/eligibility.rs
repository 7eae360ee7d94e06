//! The buyer's need, tried ask by ask. \[13\] The first predicate that fails names the refusal.

use tessera_types::{AccountId, ColoLevel, Domain, Isolation, Need, PoolId, Refusal};

use super::Tag;
use super::pools::Pool;
use crate::exchange::Exchange;

/// An ask as a need sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) pool: &'a Pool,
    /// Who sells: the pool's party, or a reseller.
    pub(crate) seller: AccountId,
    /// The notice of its lease or quote; none is the contract's.
    pub(crate) notice_s: Option<u32>,
}

impl Exchange {
    /// What an ask in the book of a contract offers.
    pub(super) fn offer(&self, slot: u32) -> Option<(PoolId, Offer<'_>)> {
        let seller = self.store.orders[slot].account_id();
        self.offer_of(self.contracts.tag(slot), seller)
    }

    /// The same for an ask that stands nowhere yet.
    pub(super) fn offer_of(&self, tag: Tag, seller: AccountId) -> Option<(PoolId, Offer<'_>)> {
        let (pool, notice_s) = match tag {
            Tag::Pool(pool) => (pool, None),
            Tag::Lease(lease) => {
                let lease = self.lease(lease)?;
                (PoolId::new(lease.pool), Some(lease.notice_s))
            }
            Tag::Slice { group, .. } => (self.carve_pool(group)?, None),
            _ => return None,
        };
        let offer = Offer {
            pool: self.contracts.pools.get(pool.get() as usize)?,
            seller,
            notice_s,
        };
        Some((pool, offer))
    }

    /// Why a buyer with this need does not take an offer in a contract.
    pub(super) fn refusal(
        &self,
        need: &Need,
        buyer: AccountId,
        number: usize,
        offer: &Offer<'_>,
    ) -> Option<Refusal> {
        let (pool, terms) = (offer.pool, self.terms(number));
        if pool.account == buyer || offer.seller == buyer {
            return Some(Refusal::Own);
        }
        if Isolation::of(terms.partition) < need.isolation {
            return Some(Refusal::Isolation);
        }
        if let Some(reclaim) = terms.reclaim
            && offer.notice_s.unwrap_or(reclaim.notice_s) < need.min_notice_s
        {
            return Some(Refusal::Notice);
        }
        if need.exclude.contains(&pool.account) || need.exclude.contains(&offer.seller) {
            return Some(Refusal::Exclude);
        }
        if pool.score < need.min_score {
            return Some(Refusal::Score);
        }
        let age = self.now().nanos().saturating_sub(pool.since);
        if need
            .max_age_s
            .is_some_and(|most| u128::from(age) > u128::from(most) * 1_000_000_000)
        {
            return Some(Refusal::Age);
        }
        let stake = pool
            .stake
            .checked_div(u64::from(pool.attested))
            .unwrap_or(0);
        (stake < need.min_stake).then_some(Refusal::Stake)
    }

    /// Whether a resting or coming bid with a need may trade with an ask.
    pub(super) fn suits(&self, need: &Need, buyer: AccountId, number: usize, ask: u32) -> bool {
        self.offer(ask)
            .is_some_and(|(_, offer)| self.refusal(need, buyer, number, &offer).is_none())
    }
}

/// The domain of a pool on a level, none when its path is too short. \[24\]
pub(crate) fn domain(
    pool: PoolId,
    path: &tessera_types::PoolPath,
    level: ColoLevel,
) -> Option<Domain> {
    match level.components() {
        None => Some(Domain::Pool(pool)),
        Some(components) => path.prefix(components).map(Domain::Path),
    }
}
