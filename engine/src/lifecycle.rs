//! The lives of instruments and orders.
//!
//! What each phase of an instrument lets in:
//!
//! ```text
//!        ┌────────────┐  uncross   ┌────────────┐
//!        │  auction   │───────────▶│ continuous │
//!        └────────────┘            └────────────┘
//!   orders collect, none trade    orders trade as they come
//!        ┌────────────┐            ┌────────────┐
//!        │    halt    │            │   closed   │
//!        └────────────┘            └────────────┘
//!   cancel and reduce only        the same; day orders have expired
//! ```
//!
//! Any phase may follow any other, by a command; a volatility interruption goes from continuous to
//! auction by itself, and the clock ends it. Going to continuous uncrosses; going to closed expires day orders
//! and waiting market orders.
//!
//! The life of an order, as its events tell it:
//!
//! ```text
//!              ┌─────────┐ trigger ┌─────────┐  fill   ┌──────────────────┐
//!         ┌───▶│ waiting │────────▶│ resting │────────▶│ partially filled │
//!  accept │    └─────────┘         └─────────┘         └──────────────────┘
//!         │         accept ▲            │ last fill             │ last fill
//!  ┌─────────┐─────────────┘            ▼                       ▼
//!  │ pending │                      ┌────────┐   cancel, expire: from all three
//!  └─────────┘──reject──▶ rejected  │ filled │   that live, to canceled, expired
//!                                   └────────┘
//! ```
//!
//! The engine keeps no status: where an order stands and what is open says it all. This table is what
//! its events must obey, and what a reader of events may rely on.

use tessera_types::{ExecInst, NewOrder, OrdType, Phase, Qty, RejectReason, TimeInForce};

/// Whether a new order may enter in this phase. Pure.
#[inline]
pub(crate) fn admits(phase: Phase, order: &NewOrder) -> Result<(), RejectReason> {
    match phase {
        Phase::Continuous => Ok(()),
        Phase::Halt => Err(RejectReason::Halted),
        Phase::Closed => Err(RejectReason::Closed),
        Phase::Auction if trades_at_once(order) => Err(RejectReason::WrongPhase),
        Phase::Auction => Ok(()),
    }
}

/// Whether a replace may change an order in this phase. Pure.
#[inline]
pub(crate) fn admits_replace(phase: Phase) -> Result<(), RejectReason> {
    match phase {
        Phase::Continuous | Phase::Auction => Ok(()),
        Phase::Halt => Err(RejectReason::Halted),
        Phase::Closed => Err(RejectReason::Closed),
    }
}

/// True for orders that ask for something an auction cannot answer on entry. A market order is `ioc`
/// by nature and waits nevertheless.
fn trades_at_once(order: &NewOrder) -> bool {
    match order.time_in_force {
        TimeInForce::Fok => return true,
        TimeInForce::Ioc if order.ord_type != OrdType::Market => return true,
        _ => {}
    }
    order.min_qty > Qty::ZERO || order.exec_inst.contains(ExecInst::ALL_OR_NONE)
}

/// Where an order is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStatus {
    /// Asked for, not answered.
    Pending,
    /// A stop whose trigger has not been reached.
    Waiting,
    /// In the book or in an auction, or just coming in, nothing filled.
    Resting,
    /// The same, with something filled.
    PartiallyFilled,
    /// Ended: nothing is open.
    Filled,
    /// Ended by a cancel.
    Canceled,
    /// Ended by the clock or the close.
    Expired,
    /// Never lived.
    Rejected,
}

/// What happens to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderInput {
    /// It is accepted.
    Accept,
    /// It is accepted as a stop, which waits.
    AcceptStop,
    /// It is refused.
    Reject,
    /// Its trigger is reached.
    Trigger,
    /// A trade that leaves something open.
    Fill,
    /// A trade that leaves nothing open.
    LastFill,
    /// It gets smaller, or is replaced.
    Amend,
    /// It is canceled.
    Cancel,
    /// Its time is over.
    Expire,
}

impl OrderStatus {
    /// Every status.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Waiting,
        Self::Resting,
        Self::PartiallyFilled,
        Self::Filled,
        Self::Canceled,
        Self::Expired,
        Self::Rejected,
    ];

    /// The next status, or nothing when that cannot happen to such an order. Pure.
    #[must_use]
    pub fn next(self, input: OrderInput) -> Option<Self> {
        use OrderInput::{
            Accept, AcceptStop, Amend, Cancel, Expire, Fill, LastFill, Reject, Trigger,
        };
        Some(match (self, input) {
            (Self::Pending, Accept) => Self::Resting,
            (Self::Pending, AcceptStop) => Self::Waiting,
            (Self::Pending, Reject) => Self::Rejected,

            (Self::Waiting, Trigger) => Self::Resting,

            (Self::Resting | Self::PartiallyFilled, Fill) => Self::PartiallyFilled,
            (Self::Resting | Self::PartiallyFilled, LastFill) => Self::Filled,

            (Self::Waiting | Self::Resting | Self::PartiallyFilled, Amend) => self,
            (Self::Waiting | Self::Resting | Self::PartiallyFilled, Cancel) => Self::Canceled,
            (Self::Waiting | Self::Resting | Self::PartiallyFilled, Expire) => Self::Expired,

            _ => return None,
        })
    }

    /// True when nothing can happen to the order any more.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(
            self,
            Self::Filled | Self::Canceled | Self::Expired | Self::Rejected
        )
    }
}

impl OrderInput {
    /// Everything that can happen.
    pub const ALL: [Self; 9] = [
        Self::Accept,
        Self::AcceptStop,
        Self::Reject,
        Self::Trigger,
        Self::Fill,
        Self::LastFill,
        Self::Amend,
        Self::Cancel,
        Self::Expire,
    ];
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use tessera_types::{ClientHeader, InstrumentId, Price, Side};

    use super::*;

    #[test]
    fn every_status_and_input() {
        let mut table = String::new();
        for status in OrderStatus::ALL {
            for input in OrderInput::ALL {
                let next = status
                    .next(input)
                    .map_or("-".to_owned(), |next| format!("{next:?}"));
                table += &format!(
                    "{:16} {:10} {next}\n",
                    format!("{status:?}"),
                    format!("{input:?}")
                );
            }
        }
        expect![[r#"
            Pending          Accept     Resting
            Pending          AcceptStop Waiting
            Pending          Reject     Rejected
            Pending          Trigger    -
            Pending          Fill       -
            Pending          LastFill   -
            Pending          Amend      -
            Pending          Cancel     -
            Pending          Expire     -
            Waiting          Accept     -
            Waiting          AcceptStop -
            Waiting          Reject     -
            Waiting          Trigger    Resting
            Waiting          Fill       -
            Waiting          LastFill   -
            Waiting          Amend      Waiting
            Waiting          Cancel     Canceled
            Waiting          Expire     Expired
            Resting          Accept     -
            Resting          AcceptStop -
            Resting          Reject     -
            Resting          Trigger    -
            Resting          Fill       PartiallyFilled
            Resting          LastFill   Filled
            Resting          Amend      Resting
            Resting          Cancel     Canceled
            Resting          Expire     Expired
            PartiallyFilled  Accept     -
            PartiallyFilled  AcceptStop -
            PartiallyFilled  Reject     -
            PartiallyFilled  Trigger    -
            PartiallyFilled  Fill       PartiallyFilled
            PartiallyFilled  LastFill   Filled
            PartiallyFilled  Amend      PartiallyFilled
            PartiallyFilled  Cancel     Canceled
            PartiallyFilled  Expire     Expired
            Filled           Accept     -
            Filled           AcceptStop -
            Filled           Reject     -
            Filled           Trigger    -
            Filled           Fill       -
            Filled           LastFill   -
            Filled           Amend      -
            Filled           Cancel     -
            Filled           Expire     -
            Canceled         Accept     -
            Canceled         AcceptStop -
            Canceled         Reject     -
            Canceled         Trigger    -
            Canceled         Fill       -
            Canceled         LastFill   -
            Canceled         Amend      -
            Canceled         Cancel     -
            Canceled         Expire     -
            Expired          Accept     -
            Expired          AcceptStop -
            Expired          Reject     -
            Expired          Trigger    -
            Expired          Fill       -
            Expired          LastFill   -
            Expired          Amend      -
            Expired          Cancel     -
            Expired          Expire     -
            Rejected         Accept     -
            Rejected         AcceptStop -
            Rejected         Reject     -
            Rejected         Trigger    -
            Rejected         Fill       -
            Rejected         LastFill   -
            Rejected         Amend      -
            Rejected         Cancel     -
            Rejected         Expire     -
        "#]]
        .assert_eq(&table);
    }

    #[test]
    fn every_phase_and_kind_of_order() {
        let plain = NewOrder::limit(
            ClientHeader::default(),
            InstrumentId::new(0),
            Side::Buy,
            Price::from_ticks(1),
            Qty::from_lots(1),
        );
        let kinds = [
            ("limit", plain),
            (
                "day",
                NewOrder {
                    time_in_force: TimeInForce::Day,
                    ..plain
                },
            ),
            (
                "ioc",
                NewOrder {
                    time_in_force: TimeInForce::Ioc,
                    ..plain
                },
            ),
            (
                "fok",
                NewOrder {
                    time_in_force: TimeInForce::Fok,
                    ..plain
                },
            ),
            (
                "market",
                NewOrder {
                    ord_type: OrdType::Market,
                    time_in_force: TimeInForce::Ioc,
                    ..plain
                },
            ),
            (
                "market fok",
                NewOrder {
                    ord_type: OrdType::Market,
                    time_in_force: TimeInForce::Fok,
                    ..plain
                },
            ),
            (
                "min_qty",
                NewOrder {
                    min_qty: Qty::from_lots(1),
                    ..plain
                },
            ),
            (
                "aon",
                NewOrder {
                    exec_inst: ExecInst::ALL_OR_NONE,
                    ..plain
                },
            ),
        ];
        let mut table = String::new();
        for phase in Phase::ALL {
            for (name, order) in &kinds {
                let answer = match admits(*phase, order) {
                    Ok(()) => "enters",
                    Err(reason) => reason.as_str(),
                };
                table += &format!("{phase:10} {name:10} {answer}\n");
            }
        }
        expect![[r#"
            continuous limit      enters
            continuous day        enters
            continuous ioc        enters
            continuous fok        enters
            continuous market     enters
            continuous market fok enters
            continuous min_qty    enters
            continuous aon        enters
            auction    limit      enters
            auction    day        enters
            auction    ioc        wrong_phase
            auction    fok        wrong_phase
            auction    market     enters
            auction    market fok wrong_phase
            auction    min_qty    wrong_phase
            auction    aon        wrong_phase
            halt       limit      halted
            halt       day        halted
            halt       ioc        halted
            halt       fok        halted
            halt       market     halted
            halt       market fok halted
            halt       min_qty    halted
            halt       aon        halted
            closed     limit      closed
            closed     day        closed
            closed     ioc        closed
            closed     fok        closed
            closed     market     closed
            closed     market fok closed
            closed     min_qty    closed
            closed     aon        closed
        "#]]
        .assert_eq(&table);
    }
}
