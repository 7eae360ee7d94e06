//! Books every order's quantity and status from events alone: nothing is made, nothing is lost, and no
//! order does what the table of [`OrderStatus`] forbids.

use std::collections::BTreeMap;

use tessera_engine::{Exchange, OrderInput, OrderStatus};
use tessera_types::{CancelReason, Command, Event, OrdType, OrderId, Party, Qty, Side};

/// What the events say about the orders that live.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    orders: BTreeMap<OrderId, Account>,
    status: BTreeMap<OrderId, OrderStatus>,
}

/// One order. What was accepted is `filled`, `open`, and what went with a reduce, replace or cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Account {
    side: Side,
    open: u64,
    filled: u64,
}

impl Ledger {
    /// Books one event of this command.
    ///
    /// # Panics
    /// When an event contradicts those before it.
    pub fn book(&mut self, command: &Command, event: &Event) {
        self.follow(command, event);
        match *event {
            Event::OrderAccepted {
                party, side, qty, ..
            } => {
                let account = Account {
                    side,
                    open: qty.lots(),
                    filled: 0,
                };
                let before = self.orders.insert(party.order_id, account);
                assert_eq!(before, None, "an id given twice: {event:?}");
            }
            Event::Trade {
                maker_side,
                qty,
                maker,
                taker,
                maker_leaves,
                taker_leaves,
                maker_cum,
                taker_cum,
                ..
            } => {
                let taker_side = maker_side.opposite();
                for (party, side, leaves, cum) in [
                    (maker, maker_side, maker_leaves, maker_cum),
                    (taker, taker_side, taker_leaves, taker_cum),
                ] {
                    let account = self.account(&party, event);
                    assert_eq!(account.side, side, "{event:?}");
                    account.open = account.open.checked_sub(qty.lots()).expect("overfilled");
                    account.filled += qty.lots();
                    check(account, leaves, cum, event);
                    if leaves.is_zero() {
                        self.orders.remove(&party.order_id);
                    }
                }
            }
            Event::OrderReduced {
                party, leaves, cum, ..
            } => {
                let account = self.account(&party, event);
                assert!(leaves.lots() < account.open, "{event:?}");
                account.open = leaves.lots();
                check(account, leaves, cum, event);
            }
            Event::OrderReplaced {
                party, qty, leaves, ..
            } => {
                let account = self.account(&party, event);
                if qty == leaves {
                    account.filled = 0; // a kept quote begins anew
                }
                account.open = leaves.lots();
                assert_eq!(qty.lots(), account.open + account.filled, "{event:?}");
                assert!(!leaves.is_zero(), "{event:?}");
            }
            Event::OrderCanceled {
                party,
                qty,
                cum,
                reason,
                ..
            } => {
                let account = self.account(&party, event);
                // Decrement takes the quantity first, and cancels what has none left.
                if !(reason == CancelReason::Stp && qty.is_zero()) {
                    check(account, qty, cum, event);
                }
                self.orders.remove(&party.order_id);
            }
            Event::OrderExpired {
                party, qty, cum, ..
            } => {
                check(self.account(&party, event), qty, cum, event);
                self.orders.remove(&party.order_id);
            }
            _ => {}
        }
    }

    /// Compares with the orders of the exchange between two commands.
    ///
    /// # Panics
    /// When they are not the same.
    pub fn compare(&self, exchange: &Exchange) {
        let live: BTreeMap<OrderId, Account> = exchange
            .orders()
            .map(|order| {
                let account = Account {
                    side: order.side,
                    open: order.leaves.lots(),
                    filled: order.cum.lots(),
                };
                (order.order_id, account)
            })
            .collect();
        assert_eq!(self.orders, live, "orders by their events and in the books");
        let live = self.status.iter().filter(|(_, status)| !status.has_ended());
        assert!(live.map(|(order, _)| order).eq(self.orders.keys()));
    }

    /// Moves each order that the event is about along the table of its life.
    fn follow(&mut self, command: &Command, event: &Event) {
        let is_stop = |ord_type| {
            matches!(
                ord_type,
                OrdType::Stop | OrdType::StopLimit | OrdType::TrailingStop
            )
        };
        let filled = |leaves: Qty| {
            if leaves.is_zero() {
                OrderInput::LastFill
            } else {
                OrderInput::Fill
            }
        };
        match *event {
            Event::OrderAccepted { party, .. } => {
                let waits = matches!(command, Command::NewOrder(order) if is_stop(order.ord_type));
                let input = if waits {
                    OrderInput::AcceptStop
                } else {
                    OrderInput::Accept
                };
                self.step(&party, input);
            }
            Event::Trade {
                maker,
                taker,
                maker_leaves,
                taker_leaves,
                ..
            } => {
                self.step(&maker, filled(maker_leaves));
                self.step(&taker, filled(taker_leaves));
            }
            Event::OrderTriggered { party, .. } => self.step(&party, OrderInput::Trigger),
            Event::OrderReduced { party, .. } | Event::OrderReplaced { party, .. } => {
                self.step(&party, OrderInput::Amend);
            }
            Event::OrderCanceled { party, .. } => self.step(&party, OrderInput::Cancel),
            Event::OrderExpired { party, .. } => self.step(&party, OrderInput::Expire),
            _ => {}
        }
    }

    fn step(&mut self, party: &Party, input: OrderInput) {
        let status = self.status.entry(party.order_id);
        let status = status.or_insert(OrderStatus::Pending);
        *status = status
            .next(input)
            .unwrap_or_else(|| panic!("{input:?} of {party:?}, which is {status:?}"));
    }

    fn account(&mut self, party: &Party, event: &Event) -> &mut Account {
        self.orders
            .get_mut(&party.order_id)
            .unwrap_or_else(|| panic!("an order that does not live: {event:?}"))
    }
}

fn check(account: &Account, open: Qty, filled: Qty, event: &Event) {
    assert_eq!(
        (account.open, account.filled),
        (open.lots(), filled.lots()),
        "{event:?}"
    );
}
