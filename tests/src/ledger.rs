//! Books every order's quantity from events alone: nothing is made, nothing is lost.

use std::collections::BTreeMap;

use tessera_engine::Exchange;
use tessera_types::{CancelReason, Event, OrderId, Party, Qty, Side};

/// What the events say about the orders that live.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    orders: BTreeMap<OrderId, Account>,
}

/// One order. What was accepted is `filled`, `open`, and what went with a reduce, replace or cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Account {
    side: Side,
    open: u64,
    filled: u64,
}

impl Ledger {
    /// Books one event.
    ///
    /// # Panics
    /// When an event contradicts those before it.
    pub fn book(&mut self, event: &Event) {
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
