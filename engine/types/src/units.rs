//! Numbers that carry their unit.

use core::fmt;

use bincode::{Decode, Encode};

/// Limit price in ticks; one tick is `tick_micro_usd` micro-USD per unit-hour (a multiple of 60, so
/// that the price of one minute is a whole micro-USD).
///
/// Signed, because a sheddable contract may clear below zero during an energy surplus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[repr(transparent)]
pub struct Price(i64);

impl Price {
    /// No price at all: what a market order carries.
    pub const ZERO: Self = Self(0);
    /// The highest price that can be written down.
    pub const MAX: Self = Self(i64::MAX);
    /// The lowest price that can be written down.
    pub const MIN: Self = Self(i64::MIN);

    /// A price of `ticks` ticks.
    #[must_use]
    pub const fn from_ticks(ticks: i64) -> Self {
        Self(ticks)
    }

    /// The price in ticks.
    #[must_use]
    pub const fn ticks(self) -> i64 {
        self.0
    }

    /// Price times quantity in ticks x lots, wide enough for every pair.
    #[must_use]
    pub const fn notional(self, qty: Qty) -> i128 {
        self.0 as i128 * qty.0 as i128
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Size in lots; one lot is one partition unit for the whole delivery window.
///
/// At most 2^63-1 (the order script's bound); u32 on the wire, where the edge checks before it narrows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[repr(transparent)]
pub struct Qty(u64);

impl Qty {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest quantity an order may have: 2^63-1 lots.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// A quantity of `lots` lots.
    #[must_use]
    pub const fn from_lots(lots: u64) -> Self {
        Self(lots)
    }

    /// The quantity in lots.
    #[must_use]
    pub const fn lots(self) -> u64 {
        self.0
    }

    /// True when there is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The smaller of two quantities.
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if self.0 < other.0 { self } else { other }
    }

    /// `self - other`, or zero when `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `self - other`, or nothing when `other` is larger.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(lots) => Some(Self(lots)),
            None => None,
        }
    }

    /// The sum, or nothing when it does not fit 64 bits.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(lots) => Some(Self(lots)),
            None => None,
        }
    }
}

impl fmt::Display for Qty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Nanoseconds from an origin: UTC of the sequencer in an exchange, any origin in an order script.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[repr(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// `ns` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Nanoseconds from `earlier` to `self`, zero when `earlier` is later.
    #[must_use]
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which side of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Side {
    /// Bids.
    Buy = 0,
    /// Offers.
    Sell = 1,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// The lower-case word of order scripts and tools.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        }
    }
}

impl TryFrom<u8> for Side {
    type Error = u8;
    fn try_from(value: u8) -> Result<Self, u8> {
        match value {
            0 => Ok(Self::Buy),
            1 => Ok(Self::Sell),
            other => Err(other),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
