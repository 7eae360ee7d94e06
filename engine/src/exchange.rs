//! The exchange as one value: `apply` takes a command, events come out.

use tessera_types::{
    Catalogue, ClOrdId, Command, EventSink, Instrument, InstrumentId, Phase, Seq, Sequenced,
    SessionId, Side, Timestamp,
};

use crate::view::{DepthLevel, OrderView, SessionView};

/// What an exchange is built with. None of it changes the result of a command.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Key of the hash of the id index, so that no peer can choose ids that collide.
    pub index_seed: u64,
    /// Orders that memory is set aside for at the start; more are welcome.
    pub expected_orders: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            index_seed: 0,
            expected_orders: 1024,
        }
    }
}

/// The deterministic core.
#[derive(Debug)]
pub struct Exchange {
    clock: Timestamp,
    last_seq: Seq,
}

impl Exchange {
    /// An exchange without instruments, sessions or orders; its clock stands at 0.
    #[must_use]
    pub fn new(_config: EngineConfig) -> Self {
        Self {
            clock: Timestamp::ZERO,
            last_seq: Seq::ZERO,
        }
    }

    /// Applies one command and hands its events to `sink`, in order.
    pub fn apply<S: EventSink + ?Sized>(&mut self, sequenced: &Sequenced, _sink: &mut S) {
        self.clock = self.clock.max(sequenced.time);
        self.last_seq = sequenced.seq;
    }

    /// The time of the latest command.
    #[must_use]
    pub fn clock(&self) -> Timestamp {
        self.clock
    }

    /// The latest command.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// Hash over everything that can influence a later event.
    #[must_use]
    pub fn state_hash(&self) -> [u8; 32] {
        [0; 32]
    }

    /// Digest of the events since [`restart_events_digest`](Self::restart_events_digest).
    #[must_use]
    pub fn events_digest(&self) -> u32 {
        0
    }

    /// Starts a new block of events: call it after a `StateHash` record was written or checked.
    pub fn restart_events_digest(&mut self) {}

    /// Every instrument with its number and phase, in order of listing.
    pub fn instruments(&self) -> impl Iterator<Item = (InstrumentId, &Instrument, Phase)> {
        core::iter::empty()
    }

    /// One instrument.
    #[must_use]
    pub fn instrument(&self, _id: InstrumentId) -> Option<(&Instrument, Phase)> {
        None
    }

    /// The number of the instrument with this name.
    #[must_use]
    pub fn instrument_by_name(&self, _name: &str) -> Option<InstrumentId> {
        None
    }

    /// The catalogue, once one has been set.
    #[must_use]
    pub fn catalogue(&self) -> Option<&Catalogue> {
        None
    }

    /// One side of a book, best price first; empty for an unknown instrument.
    pub fn depth(
        &self,
        _instrument: InstrumentId,
        _side: Side,
    ) -> impl Iterator<Item = DepthLevel> {
        core::iter::empty()
    }

    /// Every live order, in no particular order: sort by what you need.
    pub fn orders(&self) -> impl Iterator<Item = OrderView> {
        core::iter::empty()
    }

    /// The live order that a session calls `cl_ord_id`.
    #[must_use]
    pub fn order(&self, _session: SessionId, _cl_ord_id: ClOrdId) -> Option<OrderView> {
        None
    }

    /// Number of live orders.
    #[must_use]
    pub fn live_orders(&self) -> usize {
        0
    }

    /// One session, as a restart must find it again.
    #[must_use]
    pub fn session(&self, _id: SessionId) -> Option<SessionView> {
        None
    }

    /// Every session in order of its number.
    pub fn sessions(&self) -> impl Iterator<Item = SessionView> {
        core::iter::empty()
    }

    /// Asks the memory system for the lines that a coming command will touch. Changes nothing.
    pub fn prefetch(&self, _command: &Command) {}

    /// Walks every structure and panics at the first thing that does not fit. For tests: slow.
    pub fn check_invariants(&self) {}
}
