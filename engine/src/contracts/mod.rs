//! Compute contracts: inventory, orders that span several books, leases.
//!
//! A contract has a book of its own like every instrument, and its book stays what it is: levels in
//! order of price, orders in order of time. What is different is who stands in it and what a trade does.
//!
//! | file | subject |
//! |---|---|
//! | `listing` | what may be listed, efficiency |
//! | `pools` | inventory: pools, attestation, what is free, what shrinks |
//! | `leases` | what a fill makes, and what is sold on |
//! | `eligibility` | the buyer's need, tried ask by ask |
//! | `limits` | weights of a party |
//! | `orders` | plain orders on contracts: checks, trading |
//! | `fills` | one trade and all that follows from it |
//! | `tally` | what a taker could get, without taking it |
//! | `substitution` | which book a substitution order hits next, and why |
//! | `block` | the search for a block |
//! | `lattice`, `carve` | a device in hardware slices |
//! | `rfq`, `preempt` | requests for quotes; bids for the rest of leases |
//! | `uncross` | call auctions, and what meets when trading goes on |
//! | `deadlines` | what the clock does |
//!
//! Entries of group orders in books ("shadows") are records like those of orders, with the number and
//! so the age of their parent, but known under no client id. The parent is a record that stands in no
//! queue. [`Tag`] tells what a record is.

mod block;
mod carve;
mod deadlines;
pub(crate) mod digest;
mod eligibility;
mod fills;
mod groups;
mod hash;
mod lattice;
mod leases;
mod limits;
pub(crate) mod listing;
mod orders;
mod pools;
mod preempt;
mod questions;
mod rfq;
mod saved;
mod substitution;
mod tally;
mod uncross;

use std::collections::{BTreeMap, BTreeSet};

use tessera_types::{
    AccountId, BackedBy, Backing, CancelReason, ClOrdId, CommandKind, ContractCommand,
    ContractTerms, EventSink, InstrumentId, LeaseId, Name, PoolId, RejectReason,
};

use crate::exchange::{Exchange, Subject};
pub(crate) use deadlines::EXPIRY;
use groups::Group;
use leases::Lease;
use limits::Account;
use listing::Coordinate;
use pools::Pool;
pub use questions::{GroupView, LeaseView, PoolFree};

/// Nanoseconds of an hour.
pub(crate) const HOUR_NS: u128 = 3_600_000_000_000;

/// What the record of an order in the book of a contract is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Tag {
    /// A plain buy.
    #[default]
    Plain,
    /// An ask on units of a pool.
    Pool(PoolId),
    /// An ask on a lease.
    Lease(LeaseId),
    /// The bid of a substitution order in one of its contracts.
    Shadow { group: u64 },
    /// The ask of a carve for one profile, by code.
    Slice { group: u64, profile: u8 },
    /// The parent of shadows, or a request or quote: it stands in no book.
    Group { group: u64 },
}

impl From<Backing> for Tag {
    fn from(backing: Backing) -> Self {
        match backing.by() {
            BackedBy::Nothing => Self::Plain,
            BackedBy::Pool(pool) => Self::Pool(pool),
            BackedBy::Lease(lease) => Self::Lease(lease),
        }
    }
}

/// Everything about contracts that is not in their books.
#[derive(Debug, Default)]
pub(crate) struct Contracts {
    /// A command about contracts has come: from then on asks on contracts need something behind them.
    pub(crate) in_use: bool,
    /// By handle of the order; only what stands in a contract's book, or in none, is looked up.
    tags: Vec<Tag>,
    /// Contracts by start and length of their window, in order of listing.
    windows: BTreeMap<(u32, u16), Vec<u32>>,
    coordinates: BTreeMap<Coordinate, u32>,
    pools: Vec<Pool>,
    pool_names: BTreeMap<Name, PoolId>,
    /// Number 1 is the first.
    leases: Vec<Lease>,
    /// Live group orders by their id, which is their age.
    groups: BTreeMap<u64, Group>,
    accounts: BTreeMap<AccountId, Account>,
    /// Leases of reclaimable contracts by their place, by contract.
    reclaimable: BTreeMap<u32, Vec<usize>>,
    /// (time, kind, number) of what the clock will do.
    deadlines: BTreeSet<(u64, u8, u64)>,
    /// How often a holder has been displaced in a contract.
    displaced: BTreeMap<(u32, AccountId), u32>,
}

impl Contracts {
    pub(crate) fn tag(&self, slot: u32) -> Tag {
        self.tags.get(slot as usize).copied().unwrap_or_default()
    }

    /// True for the id of a live group order.
    pub(crate) fn is_group(&self, id: u64) -> bool {
        self.groups.contains_key(&id)
    }

    fn set_tag(&mut self, slot: u32, tag: Tag) {
        let at = slot as usize;
        if self.tags.len() <= at {
            self.tags.resize(at + 1, Tag::Plain);
        }
        self.tags[at] = tag;
    }
}

/// The hours of a window: first, and first behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Window {
    fn of(terms: &ContractTerms) -> Self {
        Self {
            start: terms.start_hour,
            end: terms.start_hour.saturating_add(u32::from(terms.hours)),
        }
    }

    const fn hours(self) -> u32 {
        self.end - self.start
    }

    const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

impl Exchange {
    #[inline(never)]
    pub(crate) fn on_contract<S: EventSink + ?Sized>(
        &mut self,
        request: &ContractCommand,
        sink: &mut S,
    ) {
        let header = request.header();
        let admitted = self.sessions.admit(header);
        if admitted.is_ok() {
            self.use_contracts(sink);
        }
        let done = admitted.and_then(|()| match request {
            ContractCommand::Pool(request) => self.on_pool(request, sink),
            ContractCommand::Attest(request) => self.on_attest(request, sink),
            ContractCommand::Limit(request) => {
                self.on_limit(request, sink);
                Ok(())
            }
            ContractCommand::Sub(request) => self.on_sub(request, sink),
            ContractCommand::Block(request) => self.on_block(request, sink),
            ContractCommand::Carve(request) => self.on_carve(request, sink),
            ContractCommand::Rfq(request) => self.on_rfq(request, sink),
            ContractCommand::Quote(request) => self.on_quote(request, sink),
            ContractCommand::Award(request) => self.on_award(request, sink),
            ContractCommand::Preempt(request) => self.on_preempt(request, sink),
        });
        if let Err(reason) = done {
            let subject = match request {
                ContractCommand::Block(c) => Subject::Book(c.instrument, None),
                ContractCommand::Rfq(c) => Subject::Book(c.instrument, None),
                ContractCommand::Preempt(c) => Subject::Book(c.instrument, None),
                _ => Subject::Nothing,
            };
            let kind: CommandKind = request.kind();
            self.reject(header, kind, subject, reason, sink);
        }
    }

    /// From the first command about contracts on their orders take the way of this module. What rests
    /// on contracts until then has nothing behind it, and ends.
    fn use_contracts<S: EventSink + ?Sized>(&mut self, sink: &mut S) {
        if core::mem::replace(&mut self.contracts.in_use, true) {
            return;
        }
        for number in 0..self.books.len() {
            if self.books[number].rest.instrument.terms.is_some() {
                self.collect_book(number, |_, _| true);
                self.cancel_collected(CancelReason::System, ClOrdId::new(0), sink);
                self.books[number].contract = true;
            }
        }
    }

    /// The terms of a contract's book.
    pub(crate) fn terms(&self, number: usize) -> &ContractTerms {
        match &self.books[number].rest.instrument.terms {
            Some(terms) => terms,
            None => unreachable!("only contracts are asked for their terms"),
        }
    }

    fn window(&self, number: usize) -> Window {
        Window::of(self.terms(number))
    }

    /// The book of a contract.
    fn contract(&self, instrument: InstrumentId) -> Result<usize, RejectReason> {
        let number = instrument.get() as usize;
        self.books
            .get(number)
            .filter(|book| book.rest.instrument.terms.is_some())
            .map(|_| number)
            .ok_or(RejectReason::UnknownInstrument)
    }

    /// The pool of this party.
    fn pool_of(&self, account: AccountId, pool: PoolId) -> Result<usize, RejectReason> {
        let at = pool.get() as usize;
        self.contracts
            .pools
            .get(at)
            .filter(|pool| pool.account == account)
            .map(|_| at)
            .ok_or(RejectReason::UnknownPool)
    }
}

fn ensure(holds: bool, reason: RejectReason) -> Result<(), RejectReason> {
    if holds { Ok(()) } else { Err(reason) }
}

/// `a / b` rounded towards plus infinity; `b` is positive.
fn ceil_div(a: i128, b: i128) -> i128 {
    -(-a).div_euclid(b)
}

/// As 64 bits, at the nearest end when it does not fit.
fn narrow(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}
