//! Commands as the flows write them.

use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use tessera_types::{
    AccountId, Cancel, ClOrdId, ClientHeader, Command, InstrumentId, NewOrder, OrderTarget, Price,
    Qty, Replace, SessionId, Side, TimeInForce,
};

/// Accounts that orders are spread over.
const ACCOUNTS: u64 = 50;

/// A limit order; `id` is its client id.
pub(super) fn new_order(id: u64, book: u32, side: Side, price: i64, qty: u64) -> NewOrder {
    let account = u32::try_from(1 + id % ACCOUNTS).unwrap_or(1);
    let header = ClientHeader {
        account: AccountId::new(account),
        ..header(id)
    };
    NewOrder::limit(
        header,
        InstrumentId::new(book),
        side,
        Price::from_ticks(price),
        Qty::from_lots(qty),
    )
}

/// A limit order that stays.
pub(super) fn resting(id: u64, book: u32, side: Side, price: i64, qty: u64) -> Command {
    Command::NewOrder(new_order(id, book, side, price, qty))
}

/// A limit order that does not stay.
pub(super) fn immediate(id: u64, book: u32, side: Side, price: i64, qty: u64) -> Command {
    let mut order = new_order(id, book, side, price, qty);
    order.time_in_force = TimeInForce::Ioc;
    Command::NewOrder(order)
}

/// Cancels the order `id`.
pub(super) fn cancel(id: u64) -> Command {
    Command::Cancel(Cancel {
        header: header(id),
        target: OrderTarget::Client(ClOrdId::new(id)),
    })
}

/// Changes the order `id`; `qty` is its new total.
pub(super) fn replace(id: u64, price: i64, qty: Option<u64>) -> Command {
    Command::Replace(Replace {
        header: header(id),
        target: OrderTarget::Client(ClOrdId::new(id)),
        price: Some(Price::from_ticks(price)),
        qty: qty.map(Qty::from_lots),
        stop: None,
        new_id: None,
    })
}

/// Buy or sell.
pub(super) fn any_side(dice: &mut Pcg64Mcg) -> Side {
    if dice.random() { Side::Buy } else { Side::Sell }
}

/// The price `distance` ticks from `mid` on the passive side.
pub(super) const fn behind(side: Side, mid: i64, distance: i64) -> i64 {
    match side {
        Side::Buy => mid - distance,
        Side::Sell => mid + distance,
    }
}

fn header(id: u64) -> ClientHeader {
    ClientHeader {
        session: SessionId::VENUE,
        cl_ord_id: ClOrdId::new(id),
        ..ClientHeader::default()
    }
}
