//! Section 8: requests for quotes.

use std::collections::BTreeMap;

use super::block::{LEVELS, components};
use super::form::Fields;
use super::inventory::Lease;
use super::{Backing, Group, Kind, MOST_LOTS, MOST_NOTICE, MOST_PRICE, Model, Need, Refused};

#[derive(Clone, Debug)]
pub(super) struct Rfq {
    pub(super) instrument: usize,
    pub(super) qty: u64,
    price: i64,
    level: usize,
    pub(super) closes: u64,
    max_quotes: usize,
    auto: bool,
    need: Need,
}

#[derive(Clone, Debug)]
pub(super) struct Quote {
    /// Age of the request.
    rfq: u64,
    pub(super) instrument: usize,
    pub(super) pool: usize,
    pub(super) qty: u64,
    price: i64,
    notice_s: i64,
}

impl Model {
    pub(super) fn rfq(&mut self, mut fields: Fields) -> Result<(), Refused> {
        let id = u64::try_from(fields.int("id", 1, i64::MAX)?).expect("positive");
        let party = fields.name("party")?;
        let instrument = fields.name("instrument")?;
        let qty = fields.int("qty", 1, MOST_LOTS)?;
        let price = fields.int("price", -MOST_PRICE, MOST_PRICE)?;
        let level = fields.word("level", &LEVELS)?.unwrap_or(0);
        let closes = fields.int("closes", 0, i64::MAX)?;
        let max_quotes = fields.int_or("max_quotes", 1, 64, 20)?;
        let auto = fields.flag("auto", true)?;
        let need = Need::read(fields.object("need")?)?;
        fields.end()?;
        let contract = self.contract_named(&instrument)?;
        self.check_trading(contract)?;
        if self.id_is_live(id) {
            return Err("duplicate_id");
        }
        let qty = u64::try_from(qty).expect("positive");
        self.check_price(contract, price)
            .map_err(|reason| reason.as_str())?;
        self.check_total(contract, qty)
            .map_err(|reason| reason.as_str())?;
        let closes = u64::try_from(closes).expect("not negative");
        if closes <= self.clock {
            return Err("expired");
        }
        if closes > self.terms(contract).start_ns() {
            return Err("bad_field");
        }
        self.check_limit(&party, contract, i128::from(qty))?;
        let age = self.accept(id, &party);
        self.rest_group(Group {
            id,
            party,
            age,
            place: 0,
            kind: Kind::Rfq(Rfq {
                instrument: contract,
                qty,
                price,
                level,
                closes,
                max_quotes: usize::try_from(max_quotes).expect("at most 64"),
                auto,
                need,
            }),
        });
        Ok(())
    }

    /// Live quotes for a request, in order of acceptance.
    pub(super) fn quotes_of(&self, rfq: u64) -> Vec<u64> {
        let groups = self.contracts.groups.iter();
        groups
            .filter(|group| matches!(&group.kind, Kind::Quote(quote) if quote.rfq == rfq))
            .map(|group| group.age)
            .collect()
    }

    fn request(&self, age: u64) -> (Group, Rfq) {
        let group = self.contracts.groups[self.group_at(age)].clone();
        let Kind::Rfq(rfq) = group.kind.clone() else {
            unreachable!("asked of requests");
        };
        (group, rfq)
    }

    fn request_with_id(&self, id: u64) -> Result<u64, Refused> {
        let found = self
            .contracts
            .groups
            .iter()
            .find(|group| group.id == id && matches!(group.kind, Kind::Rfq(_)));
        found.map(|group| group.age).ok_or("unknown_order")
    }

    /// Rule 36.
    pub(super) fn quote_request(&mut self, mut fields: Fields) -> Result<(), Refused> {
        let id = u64::try_from(fields.int("id", 1, i64::MAX)?).expect("positive");
        let party = fields.name("party")?;
        let rfq_id = u64::try_from(fields.int("rfq", 1, i64::MAX)?).expect("positive");
        let pool = fields.name("pool")?;
        let price = fields.int("price", -MOST_PRICE, MOST_PRICE)?;
        let notice_s = fields.int_or_none("notice_s", 0, MOST_NOTICE)?;
        fields.end()?;
        let rfq_age = self.request_with_id(rfq_id)?;
        let (request, rfq) = self.request(rfq_age);
        let contract = rfq.instrument;
        let reclaimable = self.terms(contract).reclaim.is_some();
        if notice_s.is_some() && !reclaimable {
            return Err("bad_field");
        }
        let pool = self.pool_named(&pool).ok_or("unknown_pool")?;
        if self.contracts.pools[pool].party != party {
            return Err("unknown_pool");
        }
        self.check_trading(contract)?;
        if !self.terms(contract).fits(&self.contracts.pools[pool]) {
            return Err("wrong_pool");
        }
        if self.id_is_live(id) {
            return Err("duplicate_id");
        }
        if self.quotes_of(rfq_age).len() >= rfq.max_quotes {
            return Err("too_many_quotes");
        }
        self.check_price(contract, price)
            .map_err(|reason| reason.as_str())?;
        let least = self.terms(contract).notice_s();
        let notice_s = notice_s.unwrap_or(least);
        if notice_s < least {
            return Err("notice");
        }
        if let Some(name) = self.pool_refusal(&rfq.need, &request.party, contract, pool, notice_s) {
            return Err(name);
        }
        if self.domain(pool, rfq.level).is_none() {
            return Err("colo");
        }
        if price > rfq.price {
            return Err("price");
        }
        if self.asks_on(Backing::Pool(pool)) >= 256 {
            return Err("too_many_orders");
        }
        if rfq.qty > self.free(pool, contract) {
            return Err("inventory");
        }
        let age = self.accept(id, &party);
        self.rest_group(Group {
            id,
            party,
            age,
            place: 0,
            kind: Kind::Quote(Quote {
                rfq: rfq_age,
                instrument: contract,
                pool,
                qty: rfq.qty,
                price,
                notice_s,
            }),
        });
        self.shrink_pool(pool, "inventory");
        Ok(())
    }

    /// Rule 37.
    pub(super) fn award(&mut self, mut fields: Fields) -> Result<(), Refused> {
        let rfq = u64::try_from(fields.int("rfq", 1, i64::MAX)?).expect("positive");
        let quote = u64::try_from(fields.int("quote", 1, i64::MAX)?).expect("positive");
        let party = fields.name("party")?;
        fields.end()?;
        let age = self.request_with_id(rfq)?;
        let (request, rfq) = self.request(age);
        if request.party != party {
            return Err("unknown_order");
        }
        let groups = &self.contracts.groups;
        let found = groups.iter().find(|group| {
            group.id == quote && matches!(&group.kind, Kind::Quote(quote) if quote.rfq == age)
        });
        let quote = found.map(|group| group.age).ok_or("unknown_order")?;
        self.check_trading(rfq.instrument)?;
        self.award_to(age, quote);
        Ok(())
    }

    fn award_to(&mut self, rfq_age: u64, winner: u64) {
        let (request, rfq) = self.request(rfq_age);
        let won = self.contracts.groups.remove(self.group_at(winner));
        let Kind::Quote(quote) = won.kind else {
            unreachable!("only quotes win");
        };
        let losers = self.quotes_of(rfq_age);
        self.contracts.groups.remove(self.group_at(rfq_age));
        let terms = self.terms(rfq.instrument);
        let (start, end) = (terms.start, terms.end());
        self.sell_units(quote.pool, start, end, quote.qty);
        let lease = self.add_lease(Lease {
            party: request.party,
            contract: rfq.instrument,
            pool: quote.pool,
            qty: quote.qty,
            price: quote.price,
            start,
            end,
            notice_s: quote.notice_s,
            block: None,
        });
        let moved = super::inventory::Moved {
            lease,
            pool: quote.pool,
            of: None,
        };
        let ids = (won.id, request.id);
        self.say_lease_fill(
            rfq.instrument,
            ids,
            quote.price,
            quote.qty,
            "buy",
            (0, 0),
            &moved,
        );
        self.shrink_pool(quote.pool, "inventory");
        for loser in losers {
            // The shrink may have ended it; it cannot, since held became sold, but the rule is the rule.
            if self.contracts.groups.iter().any(|group| group.age == loser) {
                self.end_group(loser, "canceled", "lost");
            }
        }
    }

    /// Rule 38.
    pub(super) fn close_request(&mut self, age: u64) {
        let (request, rfq) = self.request(age);
        let quotes = self.quotes_of(age);
        if quotes.is_empty() {
            let mut counts = BTreeMap::new();
            for pool in 0..self.contracts.pools.len() {
                *counts
                    .entry(self.silence(&request, &rfq, pool))
                    .or_default() += 1;
            }
            self.say_no_match(request.id, &counts);
            self.end_group(age, "canceled", "no_match");
        } else if rfq.auto && self.is_trading(rfq.instrument) {
            let price = |age: u64| match &self.contracts.groups[self.group_at(age)].kind {
                Kind::Quote(quote) => quote.price,
                _ => unreachable!("only quotes were listed"),
            };
            let best = quotes.into_iter().min_by_key(|&age| (price(age), age));
            self.award_to(age, best.expect("there are some"));
        } else {
            self.end_group(age, "canceled", "not_awarded");
        }
    }

    /// Why a pool did not quote.
    fn silence(&self, request: &Group, rfq: &Rfq, at: usize) -> Refused {
        let pool = &self.contracts.pools[at];
        let terms = self.terms(rfq.instrument);
        let same = (&terms.class, terms.partition, &terms.profile)
            == (&pool.class, pool.partition, &pool.profile);
        if !same {
            return "class";
        }
        if terms.zone != pool.zone {
            return "zone";
        }
        let notice_s = terms.notice_s();
        if let Some(name) =
            self.pool_refusal(&rfq.need, &request.party, rfq.instrument, at, notice_s)
        {
            return name;
        }
        if self.domain(at, rfq.level).is_none() {
            return "colo";
        }
        if rfq.qty > self.free(at, rfq.instrument) {
            return "inventory";
        }
        "silent"
    }

    /// Rule 24: the domain of a pool at a level.
    pub(super) fn domain(&self, pool: usize, level: usize) -> Option<Vec<i64>> {
        match components(level) {
            None => Some(vec![i64::try_from(pool).expect("an index")]),
            Some(count) => self.contracts.pools[pool]
                .path
                .get(..count)
                .map(<[i64]>::to_vec),
        }
    }
}
