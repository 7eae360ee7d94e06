//! The life of a session in the engine, as the shard that started it sees it.
//!
//! It is longer than its connection: a logon is under way before the engine has numbered it, and
//! after the connection is gone its fence has to come back durable before the name is free again.
//!
//! ```text
//!            started             gone, no grace                 fenced
//! Starting ───────────▶ Active ─────────────────▶ Fencing ───────────────▶ (over)
//!    │                    │ gone                    ▲  ▲
//!    │ gone               └──────▶ Grace ───────────┘  │
//!    ▼            started            │       expired    │
//! Orphaned ─────────────────────────────────────────────┘
//!                                    │ another logon took the name
//!                                    └──────────────────▶ (over)
//! ```

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use tessera_proto::Monotime;
use tessera_proto::codes::CancelOnDisconnect;
use tessera_types::{ConnToken, FenceReason, Generation, Name, SessionFence, SessionId, Timestamp};

use crate::link::Link;
use crate::ports::ClaimedLife;

/// One life of a session.
#[derive(Debug)]
pub(crate) struct Life {
    /// The session's name.
    pub(crate) name: Name,
    /// The connection that asked for it.
    pub(crate) token: ConnToken,
    pub(crate) phase: Cell<LifePhase>,
    /// When the core was asked for something it has not answered: the logon, or the fence.
    pub(crate) asked: Cell<Monotime>,
    /// The engine's number; 0 while starting.
    pub(crate) session: Cell<SessionId>,
    /// The present generation: fences that do not end the life (the kill switch) raise it.
    pub(crate) generation: Cell<Generation>,
    /// The connection, while there is one. It owns its life, and not the other way round: a cycle
    /// would keep the socket of a shard that died.
    link: RefCell<Weak<Link>>,
}

/// Where a life stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LifePhase {
    /// The logon is on its way through the core.
    Starting,
    /// The connection was lost before the engine answered the logon.
    Orphaned,
    /// Logged on.
    Active,
    /// The connection is gone and its orders live until then.
    Grace(Monotime),
    /// The fence is on its way through the core.
    Fencing,
}

/// How a connection ended, for the question whether its orders are canceled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// The client logged out.
    Logout,
    /// The connection was lost or closed for breaking the protocol.
    Lost,
    /// The client read too slowly.
    SlowConsumer,
    /// The exchange is draining.
    Draining,
    /// The core closed the shard's event ring.
    Evicted,
}

impl Departure {
    pub(crate) const fn fence_reason(self) -> FenceReason {
        match self {
            Self::Logout => FenceReason::Logout,
            Self::Lost => FenceReason::Disconnect,
            Self::SlowConsumer => FenceReason::SlowConsumer,
            Self::Draining | Self::Evicted => FenceReason::Operator,
        }
    }

    /// Whether a session in this mode loses its orders. A drain or an eviction is a disconnect that
    /// the client did not cause and a logout that it did not ask for: every mode but `none` applies.
    pub(crate) const fn cancels(self, mode: CancelOnDisconnect) -> bool {
        match self {
            Self::Logout => matches!(mode, CancelOnDisconnect::Logout | CancelOnDisconnect::Both),
            Self::Lost | Self::SlowConsumer => {
                matches!(
                    mode,
                    CancelOnDisconnect::Disconnect | CancelOnDisconnect::Both
                )
            }
            Self::Draining | Self::Evicted => !matches!(mode, CancelOnDisconnect::None),
        }
    }
}

impl Life {
    pub(crate) fn starting(name: Name, link: &Rc<Link>, now: Monotime) -> Rc<Self> {
        Rc::new(Self {
            name,
            token: link.token,
            asked: Cell::new(now),
            phase: Cell::new(LifePhase::Starting),
            session: Cell::default(),
            generation: Cell::default(),
            link: RefCell::new(Rc::downgrade(link)),
        })
    }

    /// A life that a former run of the shard has left behind, on its way out.
    pub(crate) fn orphaned(
        name: Name,
        token: ConnToken,
        claimed: ClaimedLife,
        now: Monotime,
    ) -> Rc<Self> {
        Rc::new(Self {
            name,
            token,
            asked: Cell::new(now),
            phase: Cell::new(LifePhase::Fencing),
            session: Cell::new(claimed.session),
            generation: Cell::new(claimed.generation),
            link: RefCell::default(),
        })
    }

    /// The connection, while there is one.
    pub(crate) fn link(&self) -> Option<Rc<Link>> {
        self.link.borrow().upgrade()
    }

    /// The connection goes its own way.
    pub(crate) fn take_link(&self) -> Option<Rc<Link>> {
        self.link.take().upgrade()
    }

    /// The fence is about to go to the core.
    pub(crate) fn begin_fencing(&self, now: Monotime) {
        self.phase.set(LifePhase::Fencing);
        self.asked.set(now);
    }

    /// The command that ends the present generation.
    pub(crate) fn fence(
        &self,
        reason: FenceReason,
        cancel_orders: bool,
        received: Timestamp,
    ) -> SessionFence {
        SessionFence {
            session: self.session.get(),
            generation: self.generation.get(),
            reason,
            cancel_orders,
            received,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_mode_cancels() {
        use CancelOnDisconnect::{Both, Disconnect, Logout, None};
        use Departure::{Draining, Evicted, Lost, SlowConsumer};
        let row = |departure: Departure| {
            [None, Disconnect, Logout, Both].map(|mode| departure.cancels(mode))
        };
        assert_eq!(row(Departure::Logout), [false, false, true, true]);
        assert_eq!(row(Lost), [false, true, false, true]);
        assert_eq!(row(SlowConsumer), [false, true, false, true]);
        assert_eq!(row(Draining), [false, true, true, true]);
        assert_eq!(row(Evicted), [false, true, true, true]);
    }
}
