//! One subscriber's wish for one instrument, as the gateway shard keeps it.
//!
//! ```text
//!             snapshot            written
//! Requested ───────────▶ Snapshotting ────▶ Live
//!   ▲  │                     │               │
//!   │  └────────┬────────────┴───────────────┘
//!   │           ▼ gap
//!   └──────── Gapped          any ── refused, unsubscribe ──▶ Ended
//!     request
//! ```

use tessera_types::InstrumentId;
use thiserror::Error;

use crate::increment::{Increment, IncrementKind};
use crate::snapshot::BookSnapshot;

/// A subscription and the snapshot request that it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    instrument: InstrumentId,
    request: u64,
    state: SubscriptionState,
}

/// Where a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionState {
    /// The market-data thread was asked for a snapshot.
    Requested,
    /// The snapshot is being written to the subscriber; increments follow it already.
    Snapshotting,
    /// The subscriber has the snapshot and gets increments.
    Live,
    /// Increments were lost on the way to the subscriber: it needs another snapshot.
    Gapped,
    /// Over.
    Ended,
}

/// What can happen to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionInput {
    /// The snapshot that was asked for came through the feed ring.
    Snapshot,
    /// The snapshot's stream is written to its end.
    Written,
    /// Increments were lost: the feed ring was full, or the subscriber's stream lagged and was reset.
    Gap,
    /// A snapshot was asked for again.
    Request,
    /// The instrument is unknown.
    Refused,
    /// The subscriber has had enough, or is gone.
    Unsubscribe,
}

/// An input that a state cannot get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a subscription that is {state:?} cannot get {input:?}")]
pub struct Unexpected {
    /// The state.
    pub state: SubscriptionState,
    /// The input.
    pub input: SubscriptionInput,
}

impl SubscriptionState {
    /// The next state, or what is wrong. Pure.
    ///
    /// # Errors
    /// [`Unexpected`] when the caller lost track, for instance wrote a snapshot that never came.
    pub const fn next(self, input: SubscriptionInput) -> Result<Self, Unexpected> {
        use SubscriptionInput::{Gap, Refused, Request, Snapshot, Unsubscribe, Written};
        Ok(match (self, input) {
            (Self::Ended, _) => Self::Ended, // answers to what was asked before it ended
            (_, Unsubscribe) => Self::Ended,

            (Self::Requested, Snapshot) => Self::Snapshotting,
            (Self::Requested, Refused) => Self::Ended,
            // The lost items may include the snapshot, so the question is asked again.
            (Self::Requested | Self::Snapshotting | Self::Live | Self::Gapped, Gap) => Self::Gapped,

            (Self::Snapshotting, Written) => Self::Live,
            (Self::Gapped, Request) => Self::Requested,
            (Self::Gapped, Written) => Self::Gapped, // the snapshot before the gap

            (state, input) => return Err(Unexpected { state, input }),
        })
    }
}

impl Subscription {
    /// A subscription whose snapshot was asked for as `request`.
    #[must_use]
    pub const fn new(instrument: InstrumentId, request: u64) -> Self {
        Self {
            instrument,
            request,
            state: SubscriptionState::Requested,
        }
    }

    /// Which instrument.
    #[must_use]
    pub const fn instrument(&self) -> InstrumentId {
        self.instrument
    }

    /// The newest snapshot request.
    #[must_use]
    pub const fn request(&self) -> u64 {
        self.request
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> SubscriptionState {
        self.state
    }

    /// True when the increment goes to the subscriber: it is of this instrument and the snapshot came
    /// before it. Increments before the snapshot are contained in it. The end of event belongs to
    /// no instrument; send it to subscribers who got something of its command.
    #[must_use]
    pub fn wants(&self, increment: &Increment) -> bool {
        matches!(
            self.state,
            SubscriptionState::Snapshotting | SubscriptionState::Live
        ) && increment.instrument == self.instrument
            && increment.kind != IncrementKind::EndOfEvent
    }

    /// True when this snapshot is the one waited for; it is then to be written. A snapshot that was
    /// asked for before a gap is not.
    #[must_use]
    pub fn on_snapshot(&mut self, snapshot: &BookSnapshot) -> bool {
        let awaited =
            self.state == SubscriptionState::Requested && snapshot.request == self.request;
        if awaited {
            self.state = SubscriptionState::Snapshotting;
        }
        awaited
    }

    /// Asks again after a gap, under a new number.
    ///
    /// # Errors
    /// [`Unexpected`] unless the state is [`SubscriptionState::Gapped`].
    pub fn on_request(&mut self, request: u64) -> Result<(), Unexpected> {
        self.on(SubscriptionInput::Request)?;
        self.request = request;
        Ok(())
    }

    /// Takes any other input.
    ///
    /// # Errors
    /// [`Unexpected`], the state stays.
    pub fn on(&mut self, input: SubscriptionInput) -> Result<SubscriptionState, Unexpected> {
        self.state = self.state.next(input)?;
        Ok(self.state)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::expect;
    use tessera_types::{Phase, Seq, Timestamp};

    use super::*;

    #[test]
    fn every_transition() {
        use SubscriptionInput::{Gap, Refused, Request, Snapshot, Unsubscribe, Written};
        use SubscriptionState::{Ended, Gapped, Live, Requested, Snapshotting};
        let mut table = String::new();
        for state in [Requested, Snapshotting, Live, Gapped, Ended] {
            for input in [Snapshot, Written, Gap, Request, Refused, Unsubscribe] {
                let next = match state.next(input) {
                    Ok(next) => format!("{next:?}"),
                    Err(_) => "-".to_owned(),
                };
                let (from, with) = (format!("{state:?}"), format!("{input:?}"));
                writeln!(table, "{from:<12} {with:<11} {next}").unwrap();
            }
        }
        expect![[r#"
            Requested    Snapshot    Snapshotting
            Requested    Written     -
            Requested    Gap         Gapped
            Requested    Request     -
            Requested    Refused     Ended
            Requested    Unsubscribe Ended
            Snapshotting Snapshot    -
            Snapshotting Written     Live
            Snapshotting Gap         Gapped
            Snapshotting Request     -
            Snapshotting Refused     -
            Snapshotting Unsubscribe Ended
            Live         Snapshot    -
            Live         Written     -
            Live         Gap         Gapped
            Live         Request     -
            Live         Refused     -
            Live         Unsubscribe Ended
            Gapped       Snapshot    -
            Gapped       Written     Gapped
            Gapped       Gap         Gapped
            Gapped       Request     Requested
            Gapped       Refused     -
            Gapped       Unsubscribe Ended
            Ended        Snapshot    Ended
            Ended        Written     Ended
            Ended        Gap         Ended
            Ended        Request     Ended
            Ended        Refused     Ended
            Ended        Unsubscribe Ended
        "#]]
        .assert_eq(&table);
    }

    #[test]
    fn a_snapshot_from_before_the_gap_is_not_used() {
        let mut subscription = Subscription::new(InstrumentId::new(3), 10);
        assert_eq!(
            subscription.on(SubscriptionInput::Gap),
            Ok(SubscriptionState::Gapped)
        );
        assert_eq!(subscription.on_request(11), Ok(()));
        let mut snapshot = BookSnapshot {
            request: 10,
            instrument: InstrumentId::new(3),
            epoch: 1,
            last_seq_applied: 0,
            rpt_seq: 0,
            seq: Seq::ZERO,
            time: Timestamp::ZERO,
            phase: Phase::Continuous,
            bids: Vec::new(),
            asks: Vec::new(),
            last_trade: None,
        };
        assert!(!subscription.on_snapshot(&snapshot));
        snapshot.request = 11;
        assert!(subscription.on_snapshot(&snapshot));
        assert_eq!(subscription.state(), SubscriptionState::Snapshotting);
    }
}
