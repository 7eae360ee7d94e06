//! What the engine tells of compute contracts. Plain data, like every event.

use crate::contract::code_enum;
use crate::contract_command::{LeaseId, MigProfile, PoolId, PoolPath};
use crate::event::{Party, Requester};
use crate::ids::{AccountId, InstrumentId};
use crate::units::Price;

code_enum! {
    /// Why an ask, a pool or a lease is no match, in the order in which reports name them.
    Refusal {
        /// The contract is not trading continuously.
        Closed = 0, "closed";
        /// Another class, partition or profile.
        Class = 1, "class";
        /// Another zone.
        Zone = 2, "zone";
        /// The pool or the ask is the buyer's own.
        Own = 3, "self";
        /// Too little isolation.
        Isolation = 4, "isolation";
        /// Too short a notice.
        Notice = 5, "notice";
        /// An excluded seller.
        Exclude = 6, "exclude";
        /// Too low a score.
        Score = 7, "score";
        /// Attested too long ago.
        Age = 8, "age";
        /// Too little stake.
        Stake = 9, "stake";
        /// The path is too short for the level.
        Colo = 10, "colo";
        /// Displaced as often as may be.
        Times = 11, "times";
        /// Has not run long enough.
        MinRun = 12, "min_run";
        /// Too dear.
        Price = 13, "price";
        /// Not enough units in the pool.
        Inventory = 14, "inventory";
        /// Would fit, but nobody quoted.
        Silent = 15, "silent";
        /// Would do, but there is not enough.
        Short = 16, "short";
    }
}

/// How many were refused for each reason: lots of asks or leases, or pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusalCounts([u32; Refusal::ALL.len()]);

impl RefusalCounts {
    /// Counts `lots` more; the sum stops at 2^32-1.
    pub fn add(&mut self, reason: Refusal, lots: u64) {
        let count = &mut self.0[usize::from(reason.code())];
        *count = count.saturating_add(u32::try_from(lots).unwrap_or(u32::MAX));
    }

    /// What is not zero, in the order of the reasons.
    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u32)> {
        let all = Refusal::ALL.iter().copied().zip(self.0);
        all.filter(|&(_, count)| count > 0)
    }
}

/// Up to seven slots of memory, in order of their use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotList {
    slots: [u8; 7],
    len: u8,
}

impl SlotList {
    /// Adds a slot; one beyond the seventh is lost.
    pub fn push(&mut self, slot: u8) {
        if let Some(place) = self.slots.get_mut(usize::from(self.len)) {
            *place = slot;
            self.len += 1;
        }
    }

    /// The slots.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.slots[..usize::from(self.len)]
    }
}

/// The place that all lots of a window of a block are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// One pool.
    Pool(PoolId),
    /// The first components of the path.
    Path(PoolPath),
}

/// Something happened that only contracts know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ContractEvent {
    /// A pool was declared; its definition is in the command.
    PoolDeclared {
        /// Which.
        pool: PoolId,
        /// Its seller.
        account: AccountId,
        /// Who asked.
        by: Requester,
    },
    /// A pool was attested.
    PoolAttested {
        /// Which.
        pool: PoolId,
        /// Units that may be sold now.
        cover: u32,
        /// Who asked.
        by: Requester,
    },
    /// A pool's attestation ran out.
    PoolLapsed {
        /// Which.
        pool: PoolId,
    },
    /// A party's limit was set.
    LimitSet {
        /// Whose.
        account: AccountId,
        /// What counts against it now, in 1/10000 of a whole device; at most 2^63-1.
        used: u64,
        /// Who asked.
        by: Requester,
    },
    /// The lease that the trade just told of made; follows that trade at once.
    Leased {
        /// Which.
        lease: LeaseId,
        /// Where its units are.
        pool: PoolId,
        /// The lease that it was sold out of, when it was.
        of: Option<LeaseId>,
        /// The buyer.
        account: AccountId,
        /// Where.
        instrument: InstrumentId,
        /// How many lots.
        qty: u32,
        /// In ticks.
        price: Price,
        /// Notice before its units may be reclaimed, in seconds; 0 when they may not be.
        notice_s: u32,
    },
    /// A block found its plan; so many [`BlockStretch`](Self::BlockStretch) and its trades follow.
    BlockPlanned {
        /// Whose.
        party: Party,
        /// The first window.
        instrument: InstrumentId,
        /// How many windows.
        windows: u16,
        /// How often the domain changes.
        moves: u8,
        /// What it costs, in ticks x lots x hours.
        cost: i64,
    },
    /// Windows of a block in one domain.
    BlockStretch {
        /// The domain.
        domain: Domain,
        /// How many windows.
        windows: u16,
    },
    /// Slices of a carved device were placed; follows the trade that sold them.
    Placed {
        /// Whose.
        party: Party,
        /// The lease that the slice is in.
        lease: LeaseId,
        /// Its profile.
        profile: MigProfile,
        /// The slots at which the slices of the fill start, in the order of their placement.
        starts: SlotList,
        /// Memory slots in use on the device now.
        mem_mask: u8,
        /// Compute slices in use on the device now.
        compute_used: u8,
    },
    /// Why an order found nothing.
    NoMatch {
        /// Whose.
        party: Party,
        /// How many lots or pools for each reason.
        counts: RefusalCounts,
    },
    /// The rest of a lease went to a higher bidder.
    Preempted {
        /// The bidder.
        party: Party,
        /// The lease before.
        lease: LeaseId,
        /// The bidder's.
        new_lease: LeaseId,
        /// Whose lease it was.
        victim: AccountId,
        /// Where its units are.
        pool: PoolId,
        /// How many lots.
        qty: u32,
        /// Hours of the rest.
        hours: u16,
        /// What the bidder pays per unit-hour.
        price: Price,
        /// What it had to beat.
        floor: Price,
        /// Price x lots x hours.
        paid: i64,
        /// What the victim gets back.
        refund: i64,
        /// What the victim gets on top.
        compensation: i64,
        /// What is left for the seller.
        seller_gain: i64,
    },
}
