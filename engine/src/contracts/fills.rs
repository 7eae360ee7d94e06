//! One trade on a contract, and all that follows from it: the lease, the slices, the shrinks.

use tessera_types::{
    Aggressor, CancelReason, ContractEvent, Event, EventSink, InstrumentId, LeaseId, PoolId, Price,
    Qty, Side,
};

use super::Tag;
use super::groups::GroupKind;
use super::leases::Lease;
use crate::book::slab::NONE;
use crate::exchange::Exchange;

/// Who sells in a trade.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seller {
    /// A plain ask, queued or incoming, or a slice of a carve: its record.
    Order(u32),
    /// A quote, by its id.
    Quote(u64),
}

/// Who buys in a trade.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Buyer {
    /// A plain bid, queued or incoming: its record.
    Order(u32),
    /// A group order by its record, with what it has open behind the trade.
    Group { slot: u32, open: u64 },
}

/// A trade that will be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    pub(crate) number: usize,
    pub(crate) seller: Seller,
    pub(crate) buyer: Buyer,
    pub(crate) price: i64,
    pub(crate) qty: u64,
    /// Which side came in; none in an auction.
    pub(crate) aggressor: Aggressor,
    /// The maker is the buyer.
    pub(crate) maker_buys: bool,
    /// The id of the block that buys, else 0.
    pub(crate) block: u64,
}

impl Exchange {
    /// Makes a trade: fill, lease, slices, then what shrinks.
    pub(super) fn make_fill<S: EventSink + ?Sized>(&mut self, fill: &Fill, sink: &mut S) {
        let Fill {
            number, price, qty, ..
        } = *fill;
        let lots = u32::try_from(qty).unwrap_or(u32::MAX);
        let book = self.books[number].number;
        let (buyer, buyer_open) = match fill.buyer {
            Buyer::Order(slot) => (slot, self.store.orders[slot].leaves - qty),
            Buyer::Group { slot, open } => (slot, open),
        };
        let (seller, tag) = match fill.seller {
            Seller::Order(slot) => (slot, self.contracts.tag(slot)),
            Seller::Quote(id) => (self.contracts.groups[&id].slot, Tag::Group { group: id }),
        };
        let placed = match tag {
            Tag::Slice { group, profile } => Some(self.place_slices(group, profile, lots, buyer)),
            _ => None,
        };
        let seller_open = match &placed {
            Some(placed) => placed.left,
            None => self.store.orders[seller].leaves - qty,
        };
        let window = self.window(number);
        let reclaim = self.terms(number).reclaim;
        let contract_notice = reclaim.map_or(0, |reclaim| reclaim.notice_s);
        let (pool, of, notice_s) = match tag {
            Tag::Pool(pool) => (pool, None, contract_notice),
            Tag::Lease(lease) => {
                let from = &self.contracts.leases[lease.get() as usize - 1];
                (PoolId::new(from.pool), Some(lease), from.notice_s)
            }
            Tag::Slice { group, .. } => {
                let pool = self.carve_pool(group).unwrap_or_default();
                (pool, None, contract_notice)
            }
            Tag::Group { group } => match &self.contracts.groups[&group].kind {
                GroupKind::Quote(quote) => {
                    let pool = PoolId::new(u32::try_from(quote.pool).unwrap_or(u32::MAX));
                    (pool, None, quote.notice_s)
                }
                _ => unreachable!("only quotes sell without a book"),
            },
            Tag::Plain | Tag::Shadow { .. } => unreachable!("bids do not sell"),
        };

        // What is sold, before anybody is told: the events say what is so.
        let account = self.store.orders[buyer].account_id();
        self.tell_trade(fill, (seller, seller_open), (buyer, buyer_open), sink);
        let lease = self.add_lease(Lease {
            account,
            book,
            pool: pool.get(),
            qty: lots,
            price,
            notice_s,
            window,
            block: fill.block,
            asks: Vec::new(),
        });
        let leased = ContractEvent::Leased {
            lease,
            pool,
            of,
            account,
            instrument: InstrumentId::new(book),
            qty: lots,
            price: Price::from_ticks(price),
            notice_s,
        };
        self.emit(Event::Contract(leased), sink);
        self.books[number].last = Some(price);
        self.book_buyer(fill);

        match tag {
            Tag::Pool(pool) => {
                self.book_ask(number, seller, qty);
                let at = pool.get() as usize;
                self.contracts.pools[at].taken.add(window, i64::from(lots));
                self.shrink_pool(at, Some(window), CancelReason::Inventory, sink);
            }
            Tag::Lease(from) => {
                self.book_ask(number, seller, qty);
                self.lower_lease(from.get() as usize - 1, lots, sink);
            }
            Tag::Slice { group, profile } => {
                if let Some(placed) = placed {
                    self.tell_placed(group, profile, lease, &placed, sink);
                }
            }
            _ => {}
        }
    }

    fn tell_trade<S: EventSink + ?Sized>(
        &mut self,
        fill: &Fill,
        (seller, seller_open): (u32, u64),
        (buyer, buyer_open): (u32, u64),
        sink: &mut S,
    ) {
        // The record of a slice carries the number of its carve, whose fills it counts.
        let sold = self.store.cum(seller) + fill.qty;
        let bought = self.store.cum(buyer) + fill.qty;
        let sells = (self.party_of(seller), seller_open, sold);
        let buys = (self.party_of(buyer), buyer_open, bought);
        let (maker_side, maker, taker) = if fill.maker_buys {
            (Side::Buy, buys, sells)
        } else {
            (Side::Sell, sells, buys)
        };
        let numbered = |this: &mut Self, party: tessera_types::Party| tessera_types::Party {
            server_seq: this.sessions.number_message(party.session),
            ..party
        };
        let event = Event::Trade {
            instrument: InstrumentId::new(self.books[fill.number].number),
            aggressor: fill.aggressor,
            maker_side,
            price: Price::from_ticks(fill.price),
            qty: Qty::from_lots(fill.qty),
            maker: numbered(self, maker.0),
            taker: numbered(self, taker.0),
            maker_leaves: Qty::from_lots(maker.1),
            taker_leaves: Qty::from_lots(taker.1),
            maker_cum: Qty::from_lots(maker.2),
            taker_cum: Qty::from_lots(taker.2),
        };
        self.emit(event, sink);
    }

    fn party_of(&self, slot: u32) -> tessera_types::Party {
        self.store.orders[slot].party(tessera_types::ServerSeq::new(0))
    }

    /// Books the bought lots where the bid stands; group orders do it themselves.
    fn book_buyer(&mut self, fill: &Fill) {
        if let Buyer::Order(slot) = fill.buyer {
            self.book_order(fill.number, slot, fill.qty);
        }
    }

    fn book_ask(&mut self, number: usize, slot: u32, qty: u64) {
        self.book_order(number, slot, qty);
    }

    /// Books a fill of a plain order: a queued one in its level, an incoming one in its record.
    fn book_order(&mut self, number: usize, slot: u32, qty: u64) {
        if self.accounts.on {
            self.accounts.fill(slot, qty);
        }
        let order = &self.store.orders[slot];
        if order.queue == NONE {
            let leaves = order.leaves - qty;
            self.store.set_open(slot, leaves, qty);
        } else {
            self.store.fill(&mut self.books[number], slot, qty);
        }
    }

    fn tell_placed<S: EventSink + ?Sized>(
        &mut self,
        group: u64,
        profile: u8,
        lease: LeaseId,
        placed: &super::carve::Placement,
        sink: &mut S,
    ) {
        self.emit_placed(group, profile, lease, placed, sink);
        self.settle_carve(group, placed.first, sink);
    }
}
