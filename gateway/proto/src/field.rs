//! Fields: how one value of a message becomes fixed-width bytes, and what is checked on the way back.

use core::fmt;

use tessera_types::{
    AccountId, Aggressor, ClOrdId, ExecId, InstrumentId, MatchAlgo, OrdType, OrderId, Partition,
    Phase, Price, Qty, RejectReason, SelfMatch, Seq, ServerSeq, Side, TimeInForce, Timestamp,
};
use thiserror::Error;

/// A value with a fixed width on the wire.
///
/// `Raw` is what the codec sees (integers and byte arrays only, never an enum: bincode would write a
/// four-byte tag); `from_raw` is where outside values are checked.
pub trait Field: Sized {
    /// The value as the codec sees it.
    type Raw;
    /// Bytes on the wire.
    const WIDTH: usize;
    /// The type's name in the reference: `u32`, `text`, or that of an enumeration.
    const KIND: &'static str;

    /// The value to encode.
    fn to_raw(&self) -> Self::Raw;

    /// The value, or what is wrong with it.
    ///
    /// # Errors
    /// [`FieldProblem`] when the value means nothing.
    fn from_raw(raw: Self::Raw) -> Result<Self, FieldProblem>;
}

/// What is wrong with a field that came from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum FieldProblem {
    /// A code, or a bit of a set, that means nothing (row 22).
    #[error("the value means nothing")]
    OutOfRange,
    /// A reserved byte that is not zero (row 23).
    #[error("a reserved byte is not zero")]
    Reserved,
    /// Text that is not printable ASCII, or not padded with zeros (row 24).
    #[error("text must be printable ASCII, padded with zeros")]
    Text,
    /// A group whose count is above its cap, or not the number of entries that follow (row 25).
    #[error("the group's count is too large or is not the number of entries")]
    GroupCount,
}

/// One line of the reference: a field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    /// Its name in this code.
    pub name: &'static str,
    /// FIX's tag where FIX has the field, else a number of ours from 20,001 on.
    pub tag: u16,
    /// Width in bytes.
    pub width: usize,
    /// Type on the wire; the name of an enumeration for its one-byte codes.
    pub kind: &'static str,
    /// Unit and meaning.
    pub doc: &'static str,
}

/// Printable ASCII of at most `N` bytes, padded with zeros.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const N: usize>([u8; N]);

/// Why a text does not fit a field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TextError {
    /// Too long.
    #[error("{text:?} has {len} bytes, the field takes at most {max}; use a shorter text")]
    TooLong {
        /// The text.
        text: String,
        /// Its length in bytes.
        len: usize,
        /// The field's width in bytes.
        max: usize,
    },
    /// Other characters than printable ASCII.
    #[error("{0:?} may have printable ASCII characters only")]
    NotAscii(String),
}

impl<const N: usize> Text<N> {
    /// No text.
    pub const EMPTY: Self = Self([0; N]);

    /// The field with this text.
    ///
    /// # Errors
    /// [`TextError`] when the text is too long or not printable ASCII.
    pub fn new(text: &str) -> Result<Self, TextError> {
        if text.len() > N {
            return Err(TextError::TooLong {
                text: text.to_owned(),
                len: text.len(),
                max: N,
            });
        }
        if !text.bytes().all(printable) {
            return Err(TextError::NotAscii(text.to_owned()));
        }
        let mut bytes = [0; N];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self(bytes))
    }

    /// As much of `text` as fits, with `?` for what is not printable ASCII: for explanations, where
    /// losing the end does no harm.
    #[must_use]
    pub fn clipped(text: &str) -> Self {
        let mut bytes = [0; N];
        for (slot, byte) in bytes.iter_mut().zip(text.bytes()) {
            *slot = if printable(byte) { byte } else { b'?' };
        }
        Self(bytes)
    }

    /// The text without its padding.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|&byte| byte == 0).unwrap_or(N);
        core::str::from_utf8(&self.0[..len]).unwrap_or("")
    }

    /// The field's bytes, padding included.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

const fn printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// An order's size in lots as it travels: 32 bits, where the engine has 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lots(u32);

impl Lots {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// A size of `lots` lots.
    #[must_use]
    pub const fn new(lots: u32) -> Self {
        Self(lots)
    }

    /// The size in lots.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The size as the engine counts.
    #[must_use]
    pub const fn qty(self) -> Qty {
        Qty::from_lots(self.0 as u64)
    }
}

impl fmt::Display for Lots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A quantity above the 32 bits that the wire has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} lots do not fit an order of this protocol, which takes at most 4294967295")]
pub struct TooManyLots(pub Qty);

impl TryFrom<Qty> for Lots {
    type Error = TooManyLots;
    fn try_from(qty: Qty) -> Result<Self, TooManyLots> {
        u32::try_from(qty.lots())
            .map(Self)
            .map_err(|_| TooManyLots(qty))
    }
}

macro_rules! integer_field {
    ($($ty:ty: $kind:literal),+) => {$(
        impl Field for $ty {
            type Raw = $ty;
            const WIDTH: usize = size_of::<$ty>();
            const KIND: &'static str = $kind;
            fn to_raw(&self) -> $ty {
                *self
            }
            fn from_raw(raw: $ty) -> Result<Self, FieldProblem> {
                Ok(raw)
            }
        }
    )+};
}
integer_field!(u8: "u8", u16: "u16", u32: "u32", u64: "u64", i64: "i64");

macro_rules! wrapped_field {
    ($($ty:ident($raw:ty, $new:ident, $get:ident)),+ $(,)?) => {$(
        impl Field for $ty {
            type Raw = $raw;
            const WIDTH: usize = size_of::<$raw>();
            const KIND: &'static str = <$raw as Field>::KIND;
            fn to_raw(&self) -> $raw {
                self.$get()
            }
            fn from_raw(raw: $raw) -> Result<Self, FieldProblem> {
                Ok(Self::$new(raw))
            }
        }
    )+};
}
wrapped_field!(
    AccountId(u32, new, get),
    ClOrdId(u64, new, get),
    ExecId(u64, new, get),
    InstrumentId(u32, new, get),
    OrderId(u64, new, get),
    Seq(u64, new, get),
    ServerSeq(u64, new, get),
    Price(i64, from_ticks, ticks),
    Qty(u64, from_lots, lots),
    Lots(u32, new, get),
    Timestamp(u64, from_nanos, nanos),
);

/// Enumerations travel as one byte, checked on arrival.
macro_rules! code_field {
    ($($ty:ident),+ $(,)?) => {$(
        impl $crate::field::Field for $ty {
            type Raw = u8;
            const WIDTH: usize = 1;
            const KIND: &'static str = stringify!($ty);
            fn to_raw(&self) -> u8 {
                *self as u8
            }
            fn from_raw(raw: u8) -> Result<Self, $crate::field::FieldProblem> {
                Self::try_from(raw).map_err(|_| $crate::field::FieldProblem::OutOfRange)
            }
        }
    )+};
}
pub(crate) use code_field;

code_field!(
    Side,
    OrdType,
    TimeInForce,
    SelfMatch,
    Phase,
    Partition,
    Aggressor,
    MatchAlgo
);

/// A reason; 0 on the wire means that there is none.
impl Field for Option<RejectReason> {
    type Raw = u8;
    const WIDTH: usize = 1;
    const KIND: &'static str = "RejectReason";
    fn to_raw(&self) -> u8 {
        self.map_or(0, RejectReason::code)
    }
    fn from_raw(raw: u8) -> Result<Self, FieldProblem> {
        match raw {
            0 => Ok(None),
            code => RejectReason::try_from(code)
                .map(Some)
                .map_err(|_| FieldProblem::OutOfRange),
        }
    }
}

impl Field for bool {
    type Raw = u8;
    const WIDTH: usize = 1;
    const KIND: &'static str = "bool";
    fn to_raw(&self) -> u8 {
        u8::from(*self)
    }
    fn from_raw(raw: u8) -> Result<Self, FieldProblem> {
        match raw {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FieldProblem::OutOfRange),
        }
    }
}

impl<const N: usize> Field for Text<N> {
    type Raw = [u8; N];
    const WIDTH: usize = N;
    const KIND: &'static str = "text";
    fn to_raw(&self) -> [u8; N] {
        self.0
    }
    fn from_raw(raw: [u8; N]) -> Result<Self, FieldProblem> {
        let len = raw.iter().position(|&byte| byte == 0).unwrap_or(N);
        let (text, padding) = raw.split_at(len);
        if text.iter().all(|&byte| printable(byte)) && padding.iter().all(|&byte| byte == 0) {
            Ok(Self(raw))
        } else {
            Err(FieldProblem::Text)
        }
    }
}

/// Raw bytes, such as a signature.
impl<const N: usize> Field for [u8; N] {
    type Raw = [u8; N];
    const WIDTH: usize = N;
    const KIND: &'static str = "bytes";
    fn to_raw(&self) -> [u8; N] {
        *self
    }
    fn from_raw(raw: [u8; N]) -> Result<Self, FieldProblem> {
        Ok(raw)
    }
}

/// `N` bytes kept for later, zero today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reserved<const N: usize>;

impl<const N: usize> Field for Reserved<N> {
    type Raw = [u8; N];
    const WIDTH: usize = N;
    const KIND: &'static str = "zero";
    fn to_raw(&self) -> [u8; N] {
        [0; N]
    }
    fn from_raw(raw: [u8; N]) -> Result<Self, FieldProblem> {
        if raw.iter().all(|&byte| byte == 0) {
            Ok(Self)
        } else {
            Err(FieldProblem::Reserved)
        }
    }
}
