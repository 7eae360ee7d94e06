//! Identities and positions. Each is its own type because mixing them up compiles otherwise.

use core::fmt;

use bincode::{Decode, Encode};

macro_rules! id {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode,
        )]
        #[repr(transparent)]
        pub struct $name($inner);

        impl $name {
            /// The id with this number.
            #[must_use]
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The number of this id.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// Position of a command in the journal: 1, 2, 3 and so on; 0 means "before the first".
    Seq(u64)
}

impl Seq {
    /// Before the first command.
    pub const ZERO: Self = Self(0);

    /// The sequence after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

id! {
    /// A logical session. 0 is the unsequenced session of order scripts and of the venue itself: it
    /// keeps no ClOrdID mark, and its client ids need only be unique among live orders.
    SessionId(u32)
}

impl SessionId {
    /// The unsequenced session.
    pub const VENUE: Self = Self(0);
    /// The largest session number; the compact journal record gives it 20 bits.
    pub const MAX: Self = Self((1 << 20) - 1);
}

id! {
    /// Which life of a session a request belongs to. A fence (kill, dead-man, cancel on disconnect)
    /// and a logon raise it; requests of an older generation are rejected `stale_session`.
    ///
    /// 12 bits, wrapping: only equality with the current generation counts, and far fewer than 4,096
    /// fences fit between a request's way through a bounded ring and its fence.
    Generation(u16)
}

impl Generation {
    /// Number of distinct generations.
    pub const MODULUS: u16 = 1 << 12;

    /// The generation after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self((self.0 + 1) % Self::MODULUS)
    }
}

id! {
    /// The owner of orders and positions; self-match is judged by it. 0 on a request means "not said".
    AccountId(u32)
}

id! {
    /// An instrument, numbered from 0 in order of listing.
    InstrumentId(u32)
}

id! {
    /// The exchange's name of an order, never 0 for a real order.
    OrderId(u64)
}

id! {
    /// The client's name of a request, strictly rising within a session; 0 means "none".
    ClOrdId(u64)
}

id! {
    /// Number of a message from the exchange to one session, a function of the event stream alone.
    ServerSeq(u64)
}

id! {
    /// One execution: [`EventRecord`](crate::EventRecord) position packed into 64 bits,
    /// `seq << 24 | index`.
    ExecId(u64)
}

id! {
    /// Opaque value by which a gateway finds the connection that asked for a logon.
    ConnToken(u64)
}

id! {
    /// Bytes from the start of a file.
    FileOffset(u64)
}
