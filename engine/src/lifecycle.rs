//! What each phase of an instrument lets in.
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
//! Any phase may follow any other. Going to continuous uncrosses; going to closed expires day orders
//! and waiting market orders.

use tessera_types::{ExecInst, NewOrder, OrdType, Phase, Qty, RejectReason, Replace, TimeInForce};

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
pub(crate) fn admits_replace(phase: Phase, _replace: &Replace) -> Result<(), RejectReason> {
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

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use tessera_types::{ClientHeader, InstrumentId, Price, Side};

    use super::*;

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
