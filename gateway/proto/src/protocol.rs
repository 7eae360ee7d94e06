//! The three protocols and what a client may send where.

use core::fmt;

use crate::message::Template;

/// What a connection speaks, by its ALPN. The major version is part of the name: a peer of another
/// one fails in TLS, before any parser of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Order entry.
    OrderEntry,
    /// Market data.
    MarketData,
    /// Administration.
    Admin,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 3] = [Self::OrderEntry, Self::MarketData, Self::Admin];

    /// The ALPN name, at most 16 bytes.
    #[must_use]
    pub const fn alpn(self) -> &'static str {
        match self {
            Self::OrderEntry => "txp-oe/1",
            Self::MarketData => "txp-md/1",
            Self::Admin => "txp-admin/1",
        }
    }

    /// The protocol with this ALPN name.
    #[must_use]
    pub fn from_alpn(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.alpn().as_bytes() == name)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.alpn())
    }
}

/// A stream that the client writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The bidirectional one: S0, M0, A0.
    Control,
    /// S1, the numbered requests of order entry.
    Requests,
}

/// Whether a client may send this template here at all; when, is the session's affair.
#[must_use]
pub const fn client_may_send(protocol: Protocol, stream: Stream, template: Template) -> bool {
    use Template as T;
    match (stream, template) {
        (
            Stream::Control,
            T::Logon | T::Logout | T::Heartbeat | T::TestRequest | T::SecurityListRequest,
        ) => true,
        (Stream::Control, T::KillSwitch | T::CancelAllAfter) => {
            matches!(protocol, Protocol::OrderEntry)
        }
        (Stream::Control, T::MdRequest) => matches!(protocol, Protocol::MarketData),
        (Stream::Control, T::AdminInstrument | T::AdminPhase | T::AdminCommand) => {
            matches!(protocol, Protocol::Admin)
        }
        (
            Stream::Requests,
            T::NewOrderSingle | T::CancelReplace | T::Cancel | T::Reduce | T::MassAction,
        ) => matches!(protocol, Protocol::OrderEntry),
        _ => false,
    }
}
