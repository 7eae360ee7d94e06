//! Call auctions on contracts, and what meets when trading goes on. \[49\] to \[51\]

use tessera_types::{
    Aggressor, CancelReason, ClOrdId, Event, EventSink, InstrumentId, Price, Qty, Side,
};

use super::Tag;
use super::fills::{Buyer, Fill, Seller};
use super::tally::Tally;
use crate::book::order::{Place, flag};
use crate::book::slab::NONE;
use crate::exchange::Exchange;

/// An order that takes part, with how much.
#[derive(Clone, Copy, Debug)]
struct Part {
    slot: u32,
    /// None for a market order.
    limit: Option<i64>,
    qty: u64,
}

impl Exchange {
    /// Market orders that wait, then the plain orders of the book, in the order in which they trade.
    fn auction_orders(&self, number: usize, side: Side) -> Vec<(u32, Option<i64>)> {
        let room = self.books[number].rest.markets[side as usize];
        let mut orders = Vec::new();
        if room != NONE {
            let mut slot = self.store.queues[room].head;
            while slot != NONE {
                orders.push((slot, None));
                slot = self.store.orders[slot].next;
            }
        }
        let plain = self.queued(number, side).filter(|&slot| {
            let tag = self.contracts.tag(slot);
            !matches!(tag, Tag::Shadow { .. } | Tag::Slice { .. })
        });
        orders.extend(plain.map(|slot| (slot, Some(self.price_of(slot)))));
        orders
    }

    /// Who takes part, fixed before the price: buys with what is open, asks with what of it is free
    /// behind those before them. \[50\]
    fn parts(&self, number: usize, side: Side) -> Vec<Part> {
        let mut tally = Tally::default();
        let orders = self.auction_orders(number, side).into_iter();
        let parts = orders.map(|(slot, limit)| {
            let qty = match side {
                Side::Buy => self.store.orders[slot].leaves,
                Side::Sell => {
                    let qty = self.can_give(&tally, slot);
                    self.take(&mut tally, slot, qty);
                    qty
                }
            };
            Part { slot, limit, qty }
        });
        parts.filter(|part| part.qty > 0).collect()
    }

    /// Trades at one price what collected in the book of a contract.
    pub(crate) fn uncross_contract<S: EventSink + ?Sized>(&mut self, number: usize, sink: &mut S) {
        let mut buys = self.parts(number, Side::Buy);
        let mut sells = self.parts(number, Side::Sell);
        let market = |parts: &[Part]| -> u128 {
            let waiting = parts.iter().filter(|part| part.limit.is_none());
            waiting.map(|part| u128::from(part.qty)).sum()
        };
        let levels = |parts: &[Part]| {
            let mut levels: Vec<(i64, u128)> = Vec::new();
            for part in parts {
                let Some(limit) = part.limit else { continue };
                match levels.last_mut() {
                    Some((price, qty)) if *price == limit => *qty += u128::from(part.qty),
                    _ => levels.push((limit, u128::from(part.qty))),
                }
            }
            levels
        };
        let markets = [market(&buys), market(&sells)];
        let Some((price, volume, surplus)) =
            self.clear_levels(number, markets, levels(&buys), levels(&sells))
        else {
            return;
        };
        let event = Event::AuctionCleared {
            instrument: InstrumentId::new(self.books[number].number),
            price: Price::from_ticks(price),
            volume: Qty::from_lots(volume),
            surplus,
        };
        self.emit(event, sink);
        buys.retain(|part| part.limit.is_none_or(|limit| limit >= price));
        sells.retain(|part| part.limit.is_none_or(|limit| limit <= price));
        let (mut buyers, mut sellers) = (buys.iter_mut(), sells.iter_mut());
        let (mut buy, mut sell) = (buyers.next(), sellers.next());
        while let (Some(bid), Some(ask)) = (&mut buy, &mut sell) {
            let qty = bid.qty.min(ask.qty);
            let orders = &self.store.orders;
            let fill = Fill {
                number,
                seller: Seller::Order(ask.slot),
                buyer: Buyer::Order(bid.slot),
                price,
                qty,
                aggressor: Aggressor::None,
                maker_buys: orders[bid.slot].id < orders[ask.slot].id,
                block: 0,
            };
            self.make_fill(&fill, sink);
            bid.qty -= qty;
            ask.qty -= qty;
            if bid.qty == 0 {
                buy = buyers.next();
            }
            if ask.qty == 0 {
                sell = sellers.next();
            }
        }
    }

    /// The plain orders left meet shadows and implied asks, oldest first, without losing their
    /// place. \[51\]
    pub(crate) fn meet_groups<S: EventSink + ?Sized>(&mut self, number: usize, sink: &mut S) {
        self.collect_book(number, |order, place| {
            place == Place::Book && order.has(flag::INDEXED)
        });
        let left = core::mem::take(&mut self.ending);
        for &(id, slot) in &left {
            if self.store.orders[slot].id != id {
                continue;
            }
            let limit = Some(self.price_of(slot));
            if self.trade_contract(number, slot, limit, true, sink) {
                self.cancel(slot, CancelReason::Stp, ClOrdId::new(0), sink);
            }
        }
        self.ending = left;
    }
}
