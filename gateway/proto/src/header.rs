//! The 16 bytes before every body.
//!
//! | offset | field | width | unit |
//! |---:|---|---:|---|
//! | 0 | body_len | 2 | bytes after the header |
//! | 2 | template | 2 | number of the message, [`Template`](crate::Template) |
//! | 4 | minor | 1 | schema minor of the sender |
//! | 5 | flags | 1 | bits, see [`Flags`] |
//! | 6 | reserved | 2 | 0 |
//! | 8 | seq | 8 | number in the stream's sequence space, 0 where it has none |
//!
//! All integers are little-endian.

use thiserror::Error;

/// The schema minor that this code speaks.
pub const MINOR: u8 = 0;

/// Largest body from a client, in bytes.
pub const MAX_CLIENT_BODY: usize = 1_024;

/// Largest body from the server, in bytes.
pub const MAX_SERVER_BODY: usize = 16_384;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Bytes of the body.
    pub body_len: u16,
    /// Which message; not necessarily one that this code knows.
    pub template: u16,
    /// The sender's schema minor.
    pub minor: u8,
    /// What is special about the frame.
    pub flags: Flags,
    /// ClientSeq on S1, ServerSeq on S2, the channel's number on a feed, else 0.
    pub seq: u64,
}

/// Why 16 bytes are no header. The peer does not speak this protocol: close (row 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// The reserved field is not zero.
    #[error("the header's reserved field is {0:#06x} and must be 0")]
    Reserved(u16),
    /// A flag bit that means nothing.
    #[error("the header has unknown flag bits in {0:#04x}")]
    Flags(u8),
}

impl Header {
    /// Bytes of a header.
    pub const LEN: usize = 16;

    /// The header in these bytes.
    ///
    /// # Errors
    /// [`HeaderError`] when the reserved field or an unknown flag is set.
    pub fn parse(bytes: &[u8; Self::LEN]) -> Result<Self, HeaderError> {
        let [l0, l1, t0, t1, minor, flags, r0, r1, seq @ ..] = *bytes;
        let reserved = u16::from_le_bytes([r0, r1]);
        if reserved != 0 {
            return Err(HeaderError::Reserved(reserved));
        }
        Ok(Self {
            body_len: u16::from_le_bytes([l0, l1]),
            template: u16::from_le_bytes([t0, t1]),
            minor,
            flags: Flags::from_bits(flags).ok_or(HeaderError::Flags(flags))?,
            seq: u64::from_le_bytes(seq),
        })
    }

    /// The bytes of this header.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0..2].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.template.to_le_bytes());
        bytes[4] = self.minor;
        bytes[5] = self.flags.bits();
        bytes[8..16].copy_from_slice(&self.seq.to_le_bytes());
        bytes
    }
}

/// What is special about a frame, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// A retransmission of a message that was sent before under the same number.
    pub const POSS_DUP: Self = Self(1);
    /// A request that may have been sent before, on another connection, under the same ClOrdID.
    pub const POSS_RESEND: Self = Self(1 << 1);
    /// The last frame of a set that belongs together: of a snapshot, or of one event on a feed.
    pub const LAST_IN_BATCH: Self = Self(1 << 2);

    /// The flags in `bits`, or nothing when an unknown bit is set. The bit for a compressed body
    /// (`1 << 3`) is unknown on purpose: bodies are never compressed.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !0b111 == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True when all of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}
