//! Requests for quotes. \[36\] to \[38\] A quote is firm: it holds its units until it ends.

use tessera_types::{
    Aggressor, AwardQuote, CancelReason, ClOrdId, ColoLevel, ContractEvent, Event, EventSink, Need,
    OrderTarget, Phase, PoolId, Refusal, RefusalCounts, RejectReason, RfqOrder, RfqQuote,
    SessionId, Side,
};

use super::deadlines::CLOSE;
use super::eligibility::{self, Offer};
use super::fills::{Buyer, Fill, Seller};
use super::groups::{Group, GroupKind};
use super::listing::MAX_NOTICE;
use super::pools::{Ask, AskList};
use super::{HOUR_NS, Tag, ensure};
use crate::exchange::Exchange;

/// Most quotes of a request.
pub(crate) const MAX_QUOTES: u8 = 64;

/// A request that waits for quotes.
#[derive(Clone, Debug)]
pub(crate) struct Rfq {
    pub(crate) book: u32,
    pub(crate) qty: u32,
    pub(crate) price: i64,
    pub(crate) level: ColoLevel,
    pub(crate) closes: u64,
    pub(crate) max_quotes: u8,
    pub(crate) auto: bool,
    pub(crate) need: Need,
    /// Live quotes by age.
    pub(crate) quotes: Vec<u64>,
}

/// A firm price for all of a request.
#[derive(Clone, Debug)]
pub(crate) struct Quote {
    pub(crate) rfq: u64,
    pub(crate) pool: usize,
    pub(crate) book: u32,
    pub(crate) qty: u32,
    pub(crate) price: i64,
    pub(crate) notice_s: u32,
}

impl Exchange {
    fn rfq(&self, id: u64) -> Option<&Rfq> {
        match &self.contracts.groups.get(&id)?.kind {
            GroupKind::Rfq(rfq) => Some(rfq),
            _ => None,
        }
    }

    fn rfq_quote(&self, id: u64) -> Option<&Quote> {
        match &self.contracts.groups.get(&id)?.kind {
            GroupKind::Quote(quote) => Some(quote),
            _ => None,
        }
    }

    /// The group order that a request names, whoever it belongs to.
    fn named_group(&self, session: SessionId, target: OrderTarget) -> Option<u64> {
        match target {
            OrderTarget::Exchange(id) => Some(id.get()),
            OrderTarget::Client(id) => {
                let slot = self.store.find(session, id.get())?;
                match self.store.orders[slot].queue {
                    crate::book::slab::NONE => match self.contracts.tag(slot) {
                        Tag::Group { group } => Some(group),
                        _ => None,
                    },
                    _ => None,
                }
            }
        }
    }

    pub(super) fn on_rfq<S: EventSink + ?Sized>(
        &mut self,
        request: &RfqOrder,
        sink: &mut S,
    ) -> Result<(), RejectReason> {
        let header = &request.header;
        let form = header.cl_ord_id.get() != 0
            && (1..=MAX_QUOTES).contains(&request.max_quotes)
            && request.need.exclude.len() <= Need::MAX_EXCLUDED;
        ensure(form, RejectReason::BadField)?;
        let number = self.contract(request.instrument)?;
        self.admits_group(number)?;
        self.check_id(header)?;
        let book = &self.books[number];
        ensure(book.price_fits(request.price), RejectReason::BadPrice)?;
        ensure(book.qty_fits(request.qty.into()), RejectReason::BadQty)?;
        ensure(request.closes > self.clock, RejectReason::Expired)?;
        let start = u128::from(self.window(number).start) * HOUR_NS;
        let before = u128::from(request.closes.nanos()) <= start;
        ensure(before, RejectReason::BadField)?;
        let weight = self.weight(number) * u128::from(request.qty);
        self.check_limit(header.account, weight)?;
        let book = self.books[number].number;
        let qty = u64::from(request.qty);
        let slot = self.accept_group(header, book, Side::Buy, request.price, qty, sink);
        let id = self.store.orders[slot].id;
        let rfq = Rfq {
            book,
            qty: request.qty,
            price: request.price,
            level: request.level,
            closes: request.closes.nanos(),
            max_quotes: request.max_quotes,
            auto: request.auto,
            need: request.need.clone(),
            quotes: Vec::new(),
        };
        self.keep_group(slot, GroupKind::Rfq(Box::new(rfq)));
        self.arm(u128::from(request.closes.nanos()), CLOSE, id);
        Ok(())
    }

    pub(super) fn on_quote<S: EventSink + ?Sized>(
        &mut self,
        request: &RfqQuote,
        sink: &mut S,
    ) -> Result<(), RejectReason> {
        let header = &request.header;
        let form = header.cl_ord_id.get() != 0
            && request.notice_s.is_none_or(|notice| notice <= MAX_NOTICE);
        ensure(form, RejectReason::BadField)?;
        let id = self.named_group(header.session, request.rfq);
        let id = id.ok_or(RejectReason::UnknownOrder)?;
        let rfq = self.rfq(id).ok_or(RejectReason::UnknownOrder)?;
        let (number, qty) = (rfq.book as usize, rfq.qty);
        let buyer = self.store.orders[self.contracts.groups[&id].slot].account_id();
        let at = self.pool_of(header.account, request.pool)?;
        self.admits_group(number)?;
        self.check_pool_fits(at, number)?;
        self.check_id(header)?;
        let few = rfq.quotes.len() < usize::from(rfq.max_quotes);
        ensure(few, RejectReason::TooManyQuotes)?;
        let fits = self.books[number].price_fits(request.price);
        ensure(fits, RejectReason::BadPrice)?;
        let contract = self.terms(number).reclaim.map(|reclaim| reclaim.notice_s);
        let notice_s = match (contract, request.notice_s) {
            (None, Some(_)) => return Err(RejectReason::BadField),
            (None, None) => 0,
            (Some(least), notice) => notice.unwrap_or(least),
        };
        ensure(notice_s >= contract.unwrap_or(0), RejectReason::Notice)?;
        let pool = &self.contracts.pools[at];
        let offer = Offer {
            pool,
            seller: header.account,
            notice_s: Some(notice_s),
        };
        if let Some(refusal) = self.refusal(&rfq.need, buyer, number, &offer) {
            return Err(reject_reason(refusal));
        }
        let domain = eligibility::domain(request.pool, &pool.path, rfq.level);
        ensure(domain.is_some(), RejectReason::Colo)?;
        ensure(request.price <= rfq.price, RejectReason::Price)?;
        let list = AskList::Pool(at);
        let room = self.live_asks(list) < super::pools::MAX_ASKS;
        ensure(room, RejectReason::TooManyOrders)?;
        let window = self.window(number);
        let free = self.contracts.pools[at].free(window);
        ensure(qty <= free, RejectReason::Inventory)?;

        let book = self.books[number].number;
        let slot = self.accept_group(header, book, Side::Sell, request.price, qty.into(), sink);
        let quote = self.store.orders[slot].id;
        let kind = GroupKind::Quote(Quote {
            rfq: id,
            pool: at,
            book,
            qty,
            price: request.price,
            notice_s,
        });
        self.keep_group(slot, kind);
        if let Some(Group {
            kind: GroupKind::Rfq(rfq),
            ..
        }) = self.contracts.groups.get_mut(&id)
        {
            rfq.quotes.push(quote);
        }
        self.room_for_ask(list, super::pools::MAX_ASKS);
        self.asks_mut(list).push(Ask {
            id: quote,
            slot,
            window,
        });
        self.contracts.pools[at].taken.add(window, i64::from(qty));
        self.shrink_pool(at, Some(window), CancelReason::Inventory, sink);
        Ok(())
    }

    pub(super) fn on_award<S: EventSink + ?Sized>(
        &mut self,
        request: &AwardQuote,
        sink: &mut S,
    ) -> Result<(), RejectReason> {
        let header = &request.header;
        let id = self.named_group(header.session, request.rfq);
        let id = id.ok_or(RejectReason::UnknownOrder)?;
        let rfq = self.rfq(id).ok_or(RejectReason::UnknownOrder)?;
        let buyer = self.store.orders[self.contracts.groups[&id].slot].account_id();
        ensure(buyer == header.account, RejectReason::UnknownOrder)?;
        let quote = self.named_group(header.session, request.quote);
        let quote = quote.filter(|quote| rfq.quotes.contains(quote));
        let quote = quote.ok_or(RejectReason::UnknownOrder)?;
        self.admits_group(rfq.book as usize)?;
        self.award(id, quote, sink);
        Ok(())
    }

    /// The request takes a quote; the others are lost. \[37\]
    fn award<S: EventSink + ?Sized>(&mut self, id: u64, quote: u64, sink: &mut S) {
        let (Some(rfq), Some(taken)) = (self.rfq(id), self.rfq_quote(quote)) else {
            return;
        };
        let number = rfq.book as usize;
        let (pool, qty) = (taken.pool, taken.qty);
        let fill = Fill {
            number,
            seller: Seller::Quote(quote),
            buyer: Buyer::Group {
                slot: self.contracts.groups[&id].slot,
                open: 0,
            },
            price: taken.price,
            qty: u64::from(qty),
            aggressor: Aggressor::Buy,
            maker_buys: false,
            block: 0,
        };
        self.make_fill(&fill, sink);
        // What was held is sold: the end of the quote gives back what this adds.
        let window = self.window(number);
        self.contracts.pools[pool].taken.add(window, i64::from(qty));
        self.end_group(quote, sink);
        let lost = self
            .rfq(id)
            .map(|rfq| rfq.quotes.clone())
            .unwrap_or_default();
        for other in lost {
            self.cancel_group(other, CancelReason::Lost, ClOrdId::new(0), sink);
        }
        self.end_group(id, sink);
    }

    /// A request reaches its end: the best quote is taken, or it is told why there is none. \[38\]
    pub(super) fn close_request<S: EventSink + ?Sized>(&mut self, id: u64, sink: &mut S) {
        let none = ClOrdId::new(0);
        let Some(rfq) = self.rfq(id) else { return };
        if rfq.quotes.is_empty() {
            let counts = self.count_pools(id, rfq);
            let slot = self.contracts.groups[&id].slot;
            let party = self.party(slot);
            self.emit(
                Event::Contract(ContractEvent::NoMatch { party, counts }),
                sink,
            );
            return self.cancel_group(id, CancelReason::NoMatch, none, sink);
        }
        let open = self.books[rfq.book as usize].phase == Phase::Continuous;
        let quotes = rfq.quotes.iter();
        let best = quotes.min_by_key(|&&quote| {
            (
                self.rfq_quote(quote).map_or(i64::MAX, |quote| quote.price),
                quote,
            )
        });
        match best {
            Some(&quote) if rfq.auto && open => self.award(id, quote, sink),
            _ => self.cancel_group(id, CancelReason::NotAwarded, none, sink),
        }
    }

    /// Why no pool quoted. \[14\]
    fn count_pools(&self, id: u64, rfq: &Rfq) -> RefusalCounts {
        let mut counts = RefusalCounts::default();
        let number = rfq.book as usize;
        let (terms, window) = (self.terms(number), self.window(number));
        let buyer = self.store.orders[self.contracts.groups[&id].slot].account_id();
        for (at, pool) in (0..).map(PoolId::new).zip(&self.contracts.pools) {
            let same = (pool.class, pool.partition, pool.profile)
                == (terms.class, terms.partition, terms.profile);
            let offer = Offer {
                pool,
                seller: pool.account,
                notice_s: None,
            };
            let refusal = self.refusal(&rfq.need, buyer, number, &offer);
            let reason = if !same {
                Refusal::Class
            } else if pool.zone != terms.zone {
                Refusal::Zone
            } else if let Some(refusal) = refusal {
                refusal
            } else if eligibility::domain(at, &pool.path, rfq.level).is_none() {
                Refusal::Colo
            } else if pool.free(window) < rfq.qty {
                Refusal::Inventory
            } else {
                Refusal::Silent
            };
            counts.add(reason, 1);
        }
        counts
    }
}

/// The reason of a rejection that a refusal is.
const fn reject_reason(refusal: Refusal) -> RejectReason {
    match refusal {
        Refusal::Own => RejectReason::Own,
        Refusal::Isolation => RejectReason::Isolation,
        Refusal::Notice => RejectReason::Notice,
        Refusal::Exclude => RejectReason::Exclude,
        Refusal::Score => RejectReason::Score,
        Refusal::Age => RejectReason::Age,
        Refusal::Stake => RejectReason::Stake,
        Refusal::Colo => RejectReason::Colo,
        _ => RejectReason::Price,
    }
}
