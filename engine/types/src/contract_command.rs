//! Requests about compute contracts: inventory, orders that span several books, requests for quotes,
//! preemption. The rules are in `docs/contracts.md`.
//!
//! Payloads are boxed and lists are bounded: none of this is on the way of a plain order.

use bincode::{Decode, Encode};

use crate::command::{ClientHeader, OrderTarget, TimeInForce};
use crate::contract::{Name, Partition, code_enum};
use crate::ids::{AccountId, InstrumentId};
use crate::reject::CommandKind;
use crate::units::{Price, Qty, Timestamp};

/// The largest size of a price, bias or fee of a contract, in ticks: 2^40.
pub const MAX_CONTRACT_PRICE: i64 = 1 << 40;

/// The largest quantity of a contract order in lots: 2^31-1.
pub const MAX_CONTRACT_QTY: u32 = i32::MAX.cast_unsigned();

macro_rules! number {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[repr(transparent)]
        pub struct $name(u32);

        impl $name {
            /// The largest number.
            pub const MAX: Self = Self(MAX_CONTRACT_QTY - 1);

            /// The one with this number.
            #[must_use]
            pub const fn new(number: u32) -> Self {
                Self(number)
            }

            /// Its number.
            #[must_use]
            pub const fn get(self) -> u32 {
                self.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A pool, numbered from 0 in order of declaration.
    PoolId
}

number! {
    /// A lease, numbered from 1 in order of its fill; 0 is none.
    LeaseId
}

/// What stands behind an ask on a contract: units of a pool, a lease that is sold on, or nothing (a
/// buy, or an order on a plain instrument).
///
/// 0 is nothing, n is pool n - 1, 2^31 + n is lease n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
#[repr(transparent)]
pub struct Backing(u32);

/// What a [`Backing`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackedBy {
    /// Nothing.
    Nothing,
    /// Units of a pool.
    Pool(PoolId),
    /// A lease that is sold on.
    Lease(LeaseId),
}

impl Backing {
    const LEASE: u32 = 1 << 31;

    /// Nothing stands behind the order.
    pub const NOTHING: Self = Self(0);

    /// Units of a pool, at most number [`PoolId::MAX`].
    #[must_use]
    pub const fn pool(pool: PoolId) -> Self {
        Self((pool.0 & !Self::LEASE) + 1)
    }

    /// A lease.
    #[must_use]
    pub const fn lease(lease: LeaseId) -> Self {
        Self(lease.0 | Self::LEASE)
    }

    /// What it names.
    #[must_use]
    pub const fn by(self) -> BackedBy {
        match self.0 {
            0 => BackedBy::Nothing,
            bits if bits & Self::LEASE != 0 => BackedBy::Lease(LeaseId(bits & !Self::LEASE)),
            bits => BackedBy::Pool(PoolId(bits - 1)),
        }
    }

    /// True when nothing stands behind the order.
    #[must_use]
    pub const fn is_nothing(self) -> bool {
        self.0 == 0
    }

    /// The bits, for a journal record.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The backing with these bits.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

code_enum! {
    /// A hardware slice of a device with seven compute slices and eight slots of memory.
    MigProfile {
        /// One compute slice, one slot of memory.
        G1 = 0, "1g";
        /// One compute slice, two slots of memory.
        G1Mem = 1, "1g+mem";
        /// Two compute slices, two slots.
        G2 = 2, "2g";
        /// Three compute slices, four slots.
        G3 = 3, "3g";
        /// Four compute slices, four slots.
        G4 = 4, "4g";
        /// The whole device: seven compute slices, eight slots.
        G7 = 5, "7g";
    }
}

code_enum! {
    /// How well a buyer is kept apart from others on the device, in rising order.
    Isolation {
        /// Shared memory.
        None = 0, "none";
        /// A virtual machine.
        Vm = 1, "vm";
        /// A hardware slice.
        Hardware = 2, "hardware";
        /// The whole device.
        Device = 3, "device";
        /// The whole device in confidential mode.
        Confidential = 4, "confidential";
    }
}

impl Isolation {
    /// What a partition offers.
    #[must_use]
    pub const fn of(partition: Partition) -> Self {
        match partition {
            Partition::TimeSlice => Self::None,
            Partition::Vgpu => Self::Vm,
            Partition::Mig => Self::Hardware,
            Partition::Whole => Self::Device,
            Partition::Tee => Self::Confidential,
        }
    }
}

code_enum! {
    /// What must be the same for all lots of one window of a block.
    ColoLevel {
        /// The pool.
        Pool = 0, "pool";
        /// All five components of the path.
        Device = 1, "device";
        /// The first four.
        Node = 2, "node";
        /// The first three.
        NvLink = 3, "nvlink";
        /// The first two.
        Leaf = 4, "leaf";
        /// The first.
        Site = 5, "site";
        /// Nothing but the contract's zone.
        Zone = 6, "zone";
    }
}

impl ColoLevel {
    /// How many components of a path must be the same; none when it is the pool.
    #[must_use]
    pub const fn components(self) -> Option<usize> {
        match self {
            Self::Pool => None,
            Self::Device => Some(5),
            Self::Node => Some(4),
            Self::NvLink => Some(3),
            Self::Leaf => Some(2),
            Self::Site => Some(1),
            Self::Zone => Some(0),
        }
    }
}

/// Where a pool's devices are: up to five numbers, site, leaf, nvlink, node, device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolPath {
    parts: [u32; Self::MAX],
    len: u8,
}

impl PoolPath {
    /// Most components.
    pub const MAX: usize = 5;

    /// The path with these components, nothing when they are more than five.
    #[must_use]
    pub fn new(components: &[u32]) -> Option<Self> {
        let mut parts = [0; Self::MAX];
        parts
            .get_mut(..components.len())?
            .copy_from_slice(components);
        let len = u8::try_from(components.len()).ok()?;
        Some(Self { parts, len })
    }

    /// Its components.
    #[must_use]
    pub fn components(&self) -> &[u32] {
        &self.parts[..usize::from(self.len)]
    }

    /// Its first components, nothing when it is shorter.
    #[must_use]
    pub fn prefix(&self, components: usize) -> Option<Self> {
        Self::new(self.components().get(..components)?)
    }
}

/// Declare a pool: one seller's identical units inside one co-location path. `header.account` is the
/// seller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclarePool {
    /// Who asks, for whom.
    pub header: ClientHeader,
    /// Its name, unique in the exchange.
    pub name: Name,
    /// Number of the class in the catalogue.
    pub class: u16,
    /// What of a device one unit is.
    pub partition: Partition,
    /// Number of the profile, 0 for whole devices.
    pub profile: u8,
    /// Number of the zone in the catalogue.
    pub zone: u16,
    /// Where the devices are.
    pub path: PoolPath,
    /// Number of the first device, within the class.
    pub first_device: u32,
    /// How many devices, 1 to 2^31-1.
    pub devices: u32,
}

/// The venue's snapshot of a pool: how much of it is there, and for how long that may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttestPool {
    /// Who asks.
    pub header: ClientHeader,
    /// Which pool.
    pub pool: PoolId,
    /// Units that are there.
    pub qty: u32,
    /// When the attestation lapses.
    pub until: Timestamp,
    /// Score in 1/10000, at most 10,000; none leaves it as it is.
    pub score: Option<u16>,
    /// Stake in ticks; none leaves it as it is.
    pub stake: Option<u64>,
}

/// Set the limit of `header.account`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetLimit {
    /// Who asks, for whom.
    pub header: ClientHeader,
    /// The largest sum of weights, in 1/10000 of a whole device.
    pub max_weight: u64,
}

/// What a buyer asks of the contract, the pool and the seller. [`Need::NOTHING`] asks nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// At least this isolation.
    pub isolation: Isolation,
    /// At least this notice before the contract may be reclaimed, in seconds.
    pub min_notice_s: u32,
    /// Not from these sellers, at most [`Need::MAX_EXCLUDED`].
    pub exclude: Vec<AccountId>,
    /// At least this score, in 1/10000.
    pub min_score: u16,
    /// At most this many seconds since the pool's attestation.
    pub max_age_s: Option<u32>,
    /// At least this stake per attested unit, in ticks.
    pub min_stake: u64,
}

impl Need {
    /// Most excluded sellers.
    pub const MAX_EXCLUDED: usize = 16;

    /// Asks nothing.
    pub const NOTHING: Self = Self {
        isolation: Isolation::None,
        min_notice_s: 0,
        exclude: Vec::new(),
        min_score: 0,
        max_age_s: None,
        min_stake: 0,
    };
}

/// Which contracts a substitution order takes, and what the buyer adds to their effective price.
///
/// Sets are bits by catalogue number; all bits set is every number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Classes.
    pub classes: u64,
    /// Partitions, by code.
    pub partitions: u8,
    /// Profiles; bit 0 is the whole device.
    pub profiles: u64,
    /// Zones.
    pub zones: u64,
    /// At least this tier.
    pub min_tier: u8,
    /// Added to the effective price, in ticks.
    pub bias: i64,
}

impl Leg {
    /// Fits every contract.
    pub const ALL: Self = Self {
        classes: u64::MAX,
        partitions: u8::MAX,
        profiles: u64::MAX,
        zones: u64::MAX,
        min_tier: 0,
        bias: 0,
    };
}

code_enum! {
    /// What the quantity of a substitution order counts.
    SubMode {
        /// Lots, of whichever contract.
        Units = 0, "units";
        /// Units of work of the reference.
        Work = 1, "work";
    }
}

/// Buy in whichever contract of a window is best for a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubOrder {
    /// Who asks; `cl_ord_id` becomes the order's id.
    pub header: ClientHeader,
    /// First hour of the window.
    pub start_hour: u32,
    /// Length of the window in hours.
    pub hours: u16,
    /// What `qty` counts.
    pub mode: SubMode,
    /// Lots, or units of work.
    pub qty: u32,
    /// Number of the workload in the catalogue.
    pub workload: u8,
    /// The highest effective price per reference unit, in ticks.
    pub limit: i64,
    /// Which contracts, at most [`SubOrder::MAX_LEGS`]; more are refused by name.
    pub legs: Vec<Leg>,
    /// `gtc`, `ioc` or `fok`.
    pub time_in_force: TimeInForce,
    /// What is asked of pool and seller.
    pub need: Need,
}

impl SubOrder {
    /// Most legs.
    pub const MAX_LEGS: usize = 16;
    /// Most contracts.
    pub const MAX_CONTRACTS: usize = 64;
}

/// What a block may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockLimit {
    /// On average per unit-hour, in ticks.
    Average(i64),
    /// In all, in ticks x lots x hours.
    Total(i64),
}

/// Buy the same quantity in consecutive windows, each from one domain, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockOrder {
    /// Who asks; `cl_ord_id` becomes the order's id.
    pub header: ClientHeader,
    /// The first window.
    pub instrument: InstrumentId,
    /// Lots in each window.
    pub qty: u32,
    /// How many windows.
    pub windows: u32,
    /// How many windows later it may start.
    pub flex: u32,
    /// What must be the same within a window.
    pub level: ColoLevel,
    /// How often the domain may change.
    pub moves: u32,
    /// Ticks per move.
    pub fee: i64,
    /// What it may cost.
    pub limit: BlockLimit,
    /// What is asked of pool and seller.
    pub need: Need,
}

impl BlockOrder {
    /// Most windows, and most windows later.
    pub const MAX_WINDOWS: u32 = 720;
    /// Most changes of the domain.
    pub const MAX_MOVES: u32 = 3;
    /// Most domains.
    pub const MAX_DOMAINS: usize = 64;
    /// Most cells of the search: (flex + 1) x windows x domains x (moves + 1).
    pub const MAX_CELLS: u64 = 200_000;
    /// Most asks of one book that are looked at.
    pub const MAX_ASKS: usize = 1024;
}

/// Offer one whole device of a pool as hardware slices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarveOrder {
    /// Who asks; `cl_ord_id` becomes the order's id.
    pub header: ClientHeader,
    /// Which pool.
    pub pool: PoolId,
    /// Tier of the contracts.
    pub tier: u8,
    /// First hour of the window.
    pub start_hour: u32,
    /// Length of the window in hours.
    pub hours: u16,
    /// Price of each profile that is offered, by code.
    pub prices: [Option<Price>; MigProfile::ALL.len()],
}

/// Ask sellers for quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RfqOrder {
    /// Who asks; `cl_ord_id` becomes the order's id.
    pub header: ClientHeader,
    /// Where.
    pub instrument: InstrumentId,
    /// How many lots.
    pub qty: u32,
    /// The most it pays, in ticks.
    pub price: i64,
    /// What must be the same for all lots.
    pub level: ColoLevel,
    /// When it ends.
    pub closes: Timestamp,
    /// Most quotes, 1 to 64.
    pub max_quotes: u8,
    /// Takes the best quote at its end by itself.
    pub auto: bool,
    /// What is asked of pool and seller.
    pub need: Need,
}

/// Answer a request with a firm price for all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RfqQuote {
    /// Who asks; `cl_ord_id` becomes the order's id.
    pub header: ClientHeader,
    /// The request.
    pub rfq: OrderTarget,
    /// The pool that the units are held in.
    pub pool: PoolId,
    /// In ticks.
    pub price: i64,
    /// Notice before the units may be reclaimed, in seconds; none is the contract's.
    pub notice_s: Option<u32>,
}

/// Take a quote. `header.account` is the buyer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwardQuote {
    /// Who asks.
    pub header: ClientHeader,
    /// The request.
    pub rfq: OrderTarget,
    /// The quote.
    pub quote: OrderTarget,
}

/// Bid for the rest of leases in a reclaimable contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreemptOrder {
    /// Who asks; `cl_ord_id` becomes the order's id.
    pub header: ClientHeader,
    /// Where.
    pub instrument: InstrumentId,
    /// How many lots, all or nothing.
    pub qty: Qty,
    /// The most it pays, in ticks.
    pub price: Price,
    /// First hour of the rest.
    pub from_hour: u32,
}

/// A request about compute contracts.
#[derive(Clone, Debug, PartialEq)]
pub enum ContractCommand {
    /// Declare a pool.
    Pool(Box<DeclarePool>),
    /// Attest a pool.
    Attest(Box<AttestPool>),
    /// Limit a party.
    Limit(Box<SetLimit>),
    /// Enter a substitution order.
    Sub(Box<SubOrder>),
    /// Enter a block.
    Block(Box<BlockOrder>),
    /// Offer a device in slices.
    Carve(Box<CarveOrder>),
    /// Ask for quotes.
    Rfq(Box<RfqOrder>),
    /// Quote.
    Quote(Box<RfqQuote>),
    /// Take a quote.
    Award(Box<AwardQuote>),
    /// Bid for the rest of leases.
    Preempt(Box<PreemptOrder>),
}

impl ContractCommand {
    /// Which kind of request this is.
    #[must_use]
    pub const fn kind(&self) -> CommandKind {
        match self {
            Self::Pool(_) => CommandKind::Pool,
            Self::Attest(_) => CommandKind::Attest,
            Self::Limit(_) => CommandKind::Limit,
            Self::Sub(_) => CommandKind::Sub,
            Self::Block(_) => CommandKind::Block,
            Self::Carve(_) => CommandKind::Carve,
            Self::Rfq(_) => CommandKind::Rfq,
            Self::Quote(_) => CommandKind::Quote,
            Self::Award(_) => CommandKind::Award,
            Self::Preempt(_) => CommandKind::Preempt,
        }
    }

    /// Who asked.
    #[must_use]
    pub const fn header(&self) -> &ClientHeader {
        match self {
            Self::Pool(c) => &c.header,
            Self::Attest(c) => &c.header,
            Self::Limit(c) => &c.header,
            Self::Sub(c) => &c.header,
            Self::Block(c) => &c.header,
            Self::Carve(c) => &c.header,
            Self::Rfq(c) => &c.header,
            Self::Quote(c) => &c.header,
            Self::Award(c) => &c.header,
            Self::Preempt(c) => &c.header,
        }
    }

    /// True for those that may add risk.
    #[must_use]
    pub const fn adds_orders(&self) -> bool {
        !matches!(self, Self::Pool(_) | Self::Attest(_) | Self::Limit(_))
    }
}
