//! Books of other crates on the same commands: `lobster`, `matchcore`, `orderbook-rs`.
//!
//! Each is driven through its public functions in the nearest way it offers:
//!
//! | | immediate-or-cancel limit | move of a price | new total quantity |
//! |---|---|---|---|
//! | `lobster` | a limit order, its rest canceled | cancel, then a new order of the open quantity | the same |
//! | `matchcore` | its own | its own amend | its own amend, to the open quantity |
//! | `orderbook-rs` | its own | its own update | its own update, to the open quantity |
//!
//! A replace that changes nothing keeps its place in the engine; some of these would move the order to
//! the back, so they are not asked. `matchcore` 0.4 matches a limit order that crosses as one without a
//! limit, so it trades more wherever a limit binds. None has auctions. What of an order has been filled, which a total or a re-entry needs, is kept
//! beside them in a vector by id: ids are dense, so that is a cache line at most.

use std::sync::Arc;

use parking_lot::Mutex;
use tessera_types::{
    Command, NewOrder, OrderTarget, Price, Qty, Replace, Sequenced, Side, TimeInForce,
};

use crate::flows::Workload;
use crate::subject::{Outcome, Subject};

/// One book of a peer. Ids are those of the flow, prices ticks, quantities lots.
pub trait PeerBook {
    /// Its name in tables.
    const NAME: &'static str;

    /// An empty book for about so many orders.
    fn new(orders: usize) -> Self;

    /// Enters a limit order.
    fn enter(&mut self, id: u64, order: &Placed, fills: &mut Fills);

    /// Cancels an order, if it rests.
    fn cancel(&mut self, id: u64, order: &Placed);

    /// Moves an order that may rest to a price, and to an open quantity where one is named.
    fn change(&mut self, id: u64, order: &Placed, open: Option<u64>, fills: &mut Fills);
}

/// An order as the flow last asked for it.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    book: u32,
    side: Side,
    price: u64,
    /// All that it is for, what has been filled included.
    total: u64,
    filled: u64,
    immediate: bool,
    ended: bool,
}

impl Placed {
    const fn open(&self) -> u64 {
        self.total.saturating_sub(self.filled)
    }
}

/// The trades of one command: the resting order and the lots.
pub type Fills = Vec<(u64, u64)>;

/// Books of one peer.
#[derive(Debug)]
pub struct Peer<B> {
    books: Vec<B>,
    /// By id.
    orders: Vec<Option<Placed>>,
    fills: Fills,
    outcome: Outcome,
}

impl<B: PeerBook> Peer<B> {
    /// Empty books for a workload.
    #[must_use]
    pub fn new(workload: &Workload) -> Self {
        let each = (workload.fill.len() / workload.books as usize).max(1_000) * 2;
        Self {
            books: (0..workload.books).map(|_| B::new(each)).collect(),
            orders: vec![None; workload.fill.len() + workload.commands.len() + 1],
            fills: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    fn enter(&mut self, new: &NewOrder) {
        let (Some(id), Ok(price)) = (
            self.place(new.header.cl_ord_id.get()),
            new.price.ticks().try_into(),
        ) else {
            return;
        };
        let order = Placed {
            book: new.instrument.get(),
            side: new.side,
            price,
            total: new.qty.lots(),
            filled: 0,
            immediate: new.time_in_force == TimeInForce::Ioc,
            ended: false,
        };
        self.orders[id] = Some(order);
        self.books[order.book as usize].enter(id as u64, &order, &mut self.fills);
        self.settle(id);
    }

    fn cancel(&mut self, target: OrderTarget) {
        if let Some(id) = self.target(target)
            && let Some(order) = &mut self.orders[id]
        {
            self.books[order.book as usize].cancel(id as u64, order);
            order.ended = true;
        }
    }

    fn replace(&mut self, replace: &Replace) {
        let Some(id) = self.target(replace.target) else {
            return;
        };
        let Some(order) = &mut self.orders[id] else {
            return;
        };
        if order.ended {
            // Told all the same: an unknown id is the peer's to refuse.
            return self.books[order.book as usize].cancel(id as u64, order);
        }
        let before = (order.price, order.total);
        if let Some(Ok(price)) = replace.price.map(|price: Price| price.ticks().try_into()) {
            order.price = price;
        }
        order.total = replace.qty.map_or(order.total, Qty::lots);
        if before == (order.price, order.total) {
            return;
        }
        let order = *order;
        let open = replace.qty.map(|_| order.open());
        self.books[order.book as usize].change(id as u64, &order, open, &mut self.fills);
        self.settle(id);
    }

    /// Books the fills of a command on both sides.
    fn settle(&mut self, taker: usize) {
        for (maker, lots) in self.fills.drain(..) {
            self.outcome.trades += 1;
            self.outcome.lots += lots;
            for id in [usize::try_from(maker).unwrap_or(0), taker] {
                if let Some(Some(order)) = self.orders.get_mut(id) {
                    order.filled += lots;
                    order.ended |= order.filled >= order.total;
                }
            }
        }
        if let Some(order) = &mut self.orders[taker] {
            order.ended |= order.immediate;
        }
    }

    fn target(&self, target: OrderTarget) -> Option<usize> {
        match target {
            OrderTarget::Client(id) => self.place(id.get()),
            OrderTarget::Exchange(_) => None,
        }
    }

    fn place(&self, id: u64) -> Option<usize> {
        usize::try_from(id)
            .ok()
            .filter(|&id| id < self.orders.len())
    }
}

impl<B: PeerBook> Subject for Peer<B> {
    #[inline]
    fn step(&mut self, commands: &[Sequenced], place: usize) {
        match &commands[place].command {
            Command::NewOrder(new) => self.enter(new),
            Command::Cancel(cancel) => self.cancel(cancel.target),
            Command::Replace(replace) => self.replace(replace),
            _ => {}
        }
    }

    fn outcome(&self) -> Outcome {
        self.outcome
    }
}

/// A book of `lobster`.
pub struct Lobster(lobster::OrderBook);

impl PeerBook for Lobster {
    const NAME: &'static str = "lobster";

    fn new(orders: usize) -> Self {
        Self(lobster::OrderBook::new(orders, 16, false))
    }

    fn enter(&mut self, id: u64, order: &Placed, fills: &mut Fills) {
        let event = self.0.execute(lobster::OrderType::Limit {
            id: id.into(),
            side: match order.side {
                Side::Buy => lobster::Side::Bid,
                Side::Sell => lobster::Side::Ask,
            },
            qty: order.open(),
            price: order.price,
        });
        let (lobster::OrderEvent::PartiallyFilled { fills: made, .. }
        | lobster::OrderEvent::Filled { fills: made, .. }) = &event
        else {
            if order.immediate {
                self.cancel(id, order);
            }
            return;
        };
        let maker = |id| u64::try_from(id).unwrap_or(0);
        fills.extend(made.iter().map(|fill| (maker(fill.order_2), fill.qty)));
        if order.immediate && matches!(event, lobster::OrderEvent::PartiallyFilled { .. }) {
            self.cancel(id, order);
        }
    }

    fn cancel(&mut self, id: u64, _order: &Placed) {
        self.0.execute(lobster::OrderType::Cancel { id: id.into() });
    }

    fn change(&mut self, id: u64, order: &Placed, _open: Option<u64>, fills: &mut Fills) {
        self.cancel(id, order);
        if order.open() > 0 {
            self.enter(id, order, fills);
        }
    }
}

/// A book of `matchcore`, which names an order by the number of the command that brought it.
pub struct Matchcore {
    book: matchcore::OrderBook,
    next: u64,
    /// By command: the flow's id.
    ids: Vec<u64>,
    /// By the flow's id, less the first that this book has seen: the command.
    commands: hashbrown::HashMap<u64, u64, foldhash::fast::FixedState>,
}

impl Matchcore {
    fn execute(&mut self, id: u64, kind: matchcore::CommandKind, fills: Option<&mut Fills>) {
        let command = matchcore::Command {
            meta: matchcore::CommandMeta {
                sequence_number: matchcore::SequenceNumber(self.next),
                timestamp: matchcore::Timestamp(self.next),
            },
            kind,
        };
        self.next += 1;
        self.ids.push(id);
        let matchcore::CommandOutcome::Applied(
            matchcore::CommandReport::Submit(effects) | matchcore::CommandReport::Amend(effects),
        ) = self.book.execute(&command)
        else {
            return;
        };
        if let (Some(fills), Some(made)) = (fills, effects.target_order().match_result()) {
            for trade in made.trades() {
                let maker = usize::try_from(trade.maker_order_id().0).unwrap_or(0);
                fills.push((self.ids[maker], trade.quantity().0));
            }
        }
    }
}

impl PeerBook for Matchcore {
    const NAME: &'static str = "matchcore";

    fn new(_orders: usize) -> Self {
        Self {
            book: matchcore::OrderBook::new("B"),
            next: 0,
            ids: Vec::new(),
            commands: hashbrown::HashMap::default(),
        }
    }

    fn enter(&mut self, id: u64, order: &Placed, fills: &mut Fills) {
        let side = match order.side {
            Side::Buy => matchcore::Side::Buy,
            Side::Sell => matchcore::Side::Sell,
        };
        let time_in_force = if order.immediate {
            matchcore::TimeInForce::Ioc
        } else {
            self.commands.insert(id, self.next);
            matchcore::TimeInForce::Gtc
        };
        let limit = matchcore::LimitOrder::new(
            matchcore::Price(order.price),
            quantity(order.open()),
            matchcore::OrderFlags::new(side, false, time_in_force),
        );
        let order = matchcore::NewOrder::Limit(limit);
        let kind = matchcore::CommandKind::Submit(matchcore::SubmitCmd { order });
        self.execute(id, kind, Some(fills));
    }

    fn cancel(&mut self, id: u64, _order: &Placed) {
        let order_id = matchcore::OrderId(self.commands.remove(&id).unwrap_or(u64::MAX));
        let kind = matchcore::CommandKind::Cancel(matchcore::CancelCmd {
            order_id,
            order_kind: matchcore::OrderKind::Limit,
        });
        self.execute(id, kind, None);
    }

    fn change(&mut self, id: u64, order: &Placed, open: Option<u64>, fills: &mut Fills) {
        let Some(&command) = self.commands.get(&id) else {
            return;
        };
        let mut patch = matchcore::LimitOrderPatch::new().with_price(matchcore::Price(order.price));
        if let Some(open) = open {
            patch = patch.with_quantity_policy(quantity(open));
        }
        let kind = matchcore::CommandKind::Amend(matchcore::AmendCmd {
            order_id: matchcore::OrderId(command),
            patch: matchcore::AmendPatch::Limit(patch),
        });
        self.execute(id, kind, Some(fills));
    }
}

fn quantity(lots: u64) -> matchcore::QuantityPolicy {
    matchcore::QuantityPolicy::Standard {
        quantity: matchcore::Quantity(lots),
    }
}

/// A book of `orderbook-rs`, which tells of trades through a listener.
pub struct OrderbookRs {
    book: orderbook_rs::OrderBook<()>,
    fills: Arc<Mutex<Fills>>,
}

impl OrderbookRs {
    fn collect(&mut self, fills: &mut Fills) {
        fills.append(&mut self.fills.lock());
    }
}

impl PeerBook for OrderbookRs {
    const NAME: &'static str = "orderbook-rs";

    fn new(_orders: usize) -> Self {
        let fills = Arc::new(Mutex::new(Fills::new()));
        let told = Arc::clone(&fills);
        let listener = move |result: &orderbook_rs::TradeResult| {
            let trades = result.match_result.trades().as_vec();
            let fill = |trade: &pricelevel::Trade| {
                let maker = trade.maker_order_id().as_u64().unwrap_or(0);
                (maker, trade.quantity().as_u64())
            };
            told.lock().extend(trades.iter().map(fill));
        };
        Self {
            book: orderbook_rs::OrderBook::with_trade_listener("B", Arc::new(listener)),
            fills,
        }
    }

    fn enter(&mut self, id: u64, order: &Placed, fills: &mut Fills) {
        let side = match order.side {
            Side::Buy => pricelevel::Side::Buy,
            Side::Sell => pricelevel::Side::Sell,
        };
        let time_in_force = if order.immediate {
            pricelevel::TimeInForce::Ioc
        } else {
            pricelevel::TimeInForce::Gtc
        };
        // An immediate order that finds too little is an error here; its trades were told.
        let _ = self.book.add_limit_order(
            pricelevel::Id::Sequential(id),
            order.price.into(),
            order.open(),
            side,
            time_in_force,
            None,
        );
        self.collect(fills);
    }

    fn cancel(&mut self, id: u64, _order: &Placed) {
        // An order that is gone is no error of the flow.
        let _ = self.book.cancel_order(pricelevel::Id::Sequential(id));
    }

    fn change(&mut self, id: u64, order: &Placed, open: Option<u64>, fills: &mut Fills) {
        let order_id = pricelevel::Id::Sequential(id);
        let new_price = pricelevel::Price::new(order.price.into());
        let update = match open {
            Some(open) => pricelevel::OrderUpdate::UpdatePriceAndQuantity {
                order_id,
                new_price,
                new_quantity: pricelevel::Quantity::new(open),
            },
            None => pricelevel::OrderUpdate::UpdatePrice {
                order_id,
                new_price,
            },
        };
        // As above.
        let _ = self.book.update_order(update);
        self.collect(fills);
    }
}
