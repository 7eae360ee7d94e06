//! What is traded: instruments, their compute coordinates, and the catalogue these refer to.

use core::fmt;

use bincode::{Decode, Encode};
use thiserror::Error;

use crate::units::{Price, Qty};

/// A name of 1 to 64 bytes of UTF-8, stored inline so that commands stay free of allocation.
///
/// | offset | field | width |
/// |---:|---|---:|
/// | 0 | length | 1 |
/// | 1 | bytes, zero padded | 64 |
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Name {
    len: u8,
    bytes: [u8; Self::MAX],
}

/// Why a text is no [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name must have at least one byte")]
    Empty,
    /// The text is too long.
    #[error("a name has at most 64 bytes, this one has {0}")]
    TooLong(usize),
    /// The stored bytes are not UTF-8 or not zero padded.
    #[error("the bytes of a name must be UTF-8 and zero padded")]
    Malformed,
}

impl Name {
    /// The longest name in bytes.
    pub const MAX: usize = 64;

    /// A name with this text.
    ///
    /// # Errors
    /// [`NameError`] when the text is empty or longer than 64 bytes.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let len = u8::try_from(text.len())
            .ok()
            .filter(|&len| usize::from(len) <= Self::MAX)
            .ok_or(NameError::TooLong(text.len()))?;
        let mut bytes = [0; Self::MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { len, bytes })
    }

    /// Checks a name that came from outside bytes.
    ///
    /// # Errors
    /// [`NameError`] when length, encoding or padding is wrong.
    pub fn validate(&self) -> Result<(), NameError> {
        let len = usize::from(self.len);
        if len == 0 {
            return Err(NameError::Empty);
        }
        if len > Self::MAX {
            return Err(NameError::TooLong(len));
        }
        if core::str::from_utf8(&self.bytes[..len]).is_err()
            || self.bytes[len..].iter().any(|&byte| byte != 0)
        {
            return Err(NameError::Malformed);
        }
        Ok(())
    }

    /// The text; empty for bytes that [`validate`](Self::validate) refuses.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes
            .get(..usize::from(self.len))
            .and_then(|bytes| core::str::from_utf8(bytes).ok())
            .unwrap_or("")
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

macro_rules! code_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $code:literal, $word:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vmeta])* $variant = $code,)+ }

        impl $name {
            /// Every value, in order of its code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The lower-case word of order scripts and tools.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The value that this word names.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }

            /// The code in journal records and on the wire.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }
        }

        impl TryFrom<u8> for $name {
            type Error = u8;
            fn try_from(code: u8) -> Result<Self, u8> {
                match code { $($code => Ok(Self::$variant),)+ other => Err(other) }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use code_enum;

code_enum! {
    /// Trading phase of an instrument.
    Phase {
        /// Orders match as they come.
        Continuous = 0, "continuous";
        /// Orders collect and do not match.
        Auction = 1, "auction";
        /// New and replace are refused, cancel and reduce work.
        Halt = 2, "halt";
        /// New and replace are refused, day orders have expired.
        Closed = 3, "closed";
    }
}

code_enum! {
    /// How a level is shared among its resting orders.
    MatchAlgo {
        /// First in, first out.
        Fifo = 0, "fifo";
        /// In proportion to open quantity.
        ProRata = 1, "pro_rata";
        /// First a share for the order that set the best price, then pro rata.
        TopProRata = 2, "top_pro_rata";
        /// A percentage first in, first out, the rest pro rata.
        Split = 3, "split";
    }
}

code_enum! {
    /// What of a device one lot is, in rising order of isolation.
    Partition {
        /// A share of time on a device without memory isolation.
        TimeSlice = 0, "time_slice";
        /// A virtual machine's share of a device.
        Vgpu = 1, "vgpu";
        /// A hardware partition of a device.
        Mig = 2, "mig";
        /// A whole device.
        Whole = 3, "whole";
        /// A whole device in confidential mode.
        Tee = 4, "tee";
    }
}

/// The compute coordinate of a contract: class x partition x tier x zone x window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContractTerms {
    /// Number of the GPU class in the catalogue.
    pub class: u16,
    /// What of a device one lot is.
    pub partition: Partition,
    /// Number of the partition profile in the catalogue, 0 for whole devices.
    pub profile: u8,
    /// 0 best effort, 1 reclaimable, 2 standard, 3 firm, 4 firm with damages.
    pub tier: u8,
    /// Number of the energy zone in the catalogue.
    pub zone: u16,
    /// Start of delivery in hours since the Unix epoch.
    pub start_hour: u32,
    /// Length of the window in hours, 1 to 8,784.
    pub hours: u16,
    /// Weight for limits: 1/10000 of a whole device per lot.
    pub weight: u32,
    /// How many contracts to list, one after the other, 1 to 720: more than 1 lists the series
    /// `name.0`, `name.1` and so on. Always 1 in an instrument that is listed.
    pub windows: u16,
    /// Under which terms its units may be reclaimed; none when they may not be.
    pub reclaim: Option<Reclaim>,
}

/// Terms under which the units of a contract of tier 0 or 1 may be reclaimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reclaim {
    /// Notice in seconds, at most 2,592,000.
    pub notice_s: u32,
    /// Ticks per unit-hour that the displaced buyer gets.
    pub compensation: i64,
    /// How often one buyer may be displaced.
    pub max_times: u32,
    /// Seconds that a lease runs at least.
    pub min_run_s: u32,
    /// Minutes that a restart costs the displaced buyer.
    pub restart_minutes: u32,
}

/// How much of the reference unit one lot does for a workload, in 1/10000 parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Efficiency {
    /// Number of the class.
    pub class: u16,
    /// What of a device one lot is.
    pub partition: Partition,
    /// Number of the profile, 0 for whole devices.
    pub profile: u8,
    /// Number of the workload.
    pub workload: u8,
    /// Share of the device, at most 2^20.
    pub share: u32,
    /// What partitioning costs.
    pub overhead: i32,
    /// The class against the reference, at most 2^20.
    pub factor: u32,
}

/// An instrument as it is listed. Absent bounds take the defaults of the order script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Its name, unique in the exchange.
    pub name: Name,
    /// Price step in ticks, at least 1.
    pub tick: i64,
    /// Quantity step in lots, at least 1.
    pub lot: u64,
    /// Lowest limit price, inclusive.
    pub min_price: Price,
    /// Highest limit price, inclusive.
    pub max_price: Price,
    /// Smallest total quantity of an order, inclusive.
    pub min_qty: Qty,
    /// Largest total quantity of an order, inclusive.
    pub max_qty: Qty,
    /// Reference of auctions; without it the last trade.
    pub ref_price: Option<Price>,
    /// Market orders get the limit "best opposite price plus or minus this many ticks".
    pub protect: Option<u64>,
    /// Sharing inside one price level.
    pub algo: MatchAlgo,
    /// Pro-rata shares below this go first in, first out.
    pub min_alloc: u64,
    /// Least open quantity for the top-order share.
    pub top_min: u64,
    /// Most that the top order gets first.
    pub top_max: u64,
    /// Percent shared first in, first out, 0 to 100.
    pub fifo_pct: u8,
    /// Micro-USD per unit-hour of one tick, a multiple of 60; 0 for a plain instrument.
    pub tick_micro_usd: u32,
    /// The compute coordinate; none for a plain instrument.
    pub terms: Option<ContractTerms>,
    /// When trading is interrupted by an auction because a price would move too far at once.
    pub volatility: Option<VolatilityGuard>,
    /// Whether an auction that collects tells its outcome with every change.
    pub indicative: bool,
}

/// How far a trade may be from the reference before an auction interrupts trading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolatilityGuard {
    /// The largest distance in ticks, 1 to 2^63-1.
    pub band: u64,
    /// How long the auction collects, in nanoseconds, at least 1.
    pub length_ns: u64,
}

impl Instrument {
    /// A plain instrument with the defaults of the order script.
    #[must_use]
    pub const fn plain(name: Name) -> Self {
        Self {
            name,
            tick: 1,
            lot: 1,
            min_price: Price::from_ticks(1),
            max_price: Price::MAX,
            min_qty: Qty::from_lots(1),
            max_qty: Qty::MAX,
            ref_price: None,
            protect: None,
            algo: MatchAlgo::Fifo,
            min_alloc: 1,
            top_min: 1,
            top_max: i64::MAX as u64,
            fifo_pct: 0,
            tick_micro_usd: 0,
            terms: None,
            volatility: None,
            indicative: false,
        }
    }
}

/// One GPU class of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassDef {
    /// Its name.
    pub name: Name,
    /// Hardware slices of one device: 0 or 7.
    pub slices: u8,
    /// Ticks of stake per attested device.
    pub stake: u64,
}

/// The tables that contracts refer to by number.
///
/// Versions only rise, and entries are only appended, so that a number keeps its meaning for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// Larger than the version before.
    pub version: u16,
    /// The venue's tick in micro-USD per unit-hour, a multiple of 60.
    pub tick_micro_usd: u32,
    /// GPU classes, at most 64; the index is the class number.
    pub classes: Vec<ClassDef>,
    /// Partition profiles such as `1g` or `1/2`, at most 64; number 0 is the whole device.
    pub profiles: Vec<Name>,
    /// Energy zones, at most 64.
    pub zones: Vec<Name>,
    /// Workloads, at most 64.
    pub workloads: Vec<Name>,
    /// Efficiency of partitions for workloads, at most [`Catalogue::MAX_EFFICIENCY`]; the last of
    /// several rows for the same counts. What has no row does no work.
    pub efficiency: Vec<Efficiency>,
}

impl Catalogue {
    /// Most entries of each table.
    pub const MAX_ENTRIES: usize = 64;
    /// Most rows of the efficiency table: the whole catalogue must fit a journal record.
    pub const MAX_EFFICIENCY: usize = 700;
}
