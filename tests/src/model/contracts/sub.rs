//! Section 5: substitution orders.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::form::Fields;
use super::{
    Ask, Backing, Group, Kind, MOST_LOTS, MOST_PRICE, Model, Need, PARTITIONS, Refused, ceil_div,
};

#[derive(Clone, Debug)]
pub(super) struct Sub {
    pub(super) need: Need,
    work: bool,
    /// As it was asked for: lots, or reference units.
    pub(super) qty: i64,
    /// Lots, or 1/10000 of a reference unit.
    pub(super) open: i128,
    limit: i64,
    pub(super) entries: Vec<Entry>,
}

/// One of its contracts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) contract: usize,
    eta: i64,
    bias: i64,
}

struct Leg {
    classes: Option<Vec<String>>,
    partitions: Option<Vec<String>>,
    profiles: Option<Vec<String>>,
    zones: Option<Vec<String>>,
    min_tier: i64,
    bias: i64,
}

impl Sub {
    fn total(&self) -> i128 {
        i128::from(self.qty) * if self.work { 10_000 } else { 1 }
    }

    fn entry(&self, contract: usize) -> Option<Entry> {
        self.entries
            .iter()
            .copied()
            .find(|entry| entry.contract == contract)
    }

    /// Rule 19: lots wanted from a contract.
    fn wanted(&self, entry: Entry) -> u64 {
        let lots = if self.work {
            ceil_div(self.open, i128::from(entry.eta))
        } else {
            self.open
        };
        u64::try_from(lots).expect("never negative")
    }

    pub(super) fn fill(&mut self, contract: usize, lots: u64) {
        let entry = self.entry(contract).expect("one of its contracts");
        let each = if self.work { i128::from(entry.eta) } else { 1 };
        self.open = (self.open - i128::from(lots) * each).max(0);
    }
}

impl Leg {
    fn read(mut fields: Fields) -> Result<Self, Refused> {
        let leg = Self {
            classes: fields.names("class", 64)?,
            partitions: fields.names("partition", 64)?,
            profiles: fields.names("profile", 64)?,
            zones: fields.names("zone", 64)?,
            min_tier: fields.int_or("min_tier", 0, 4, 0)?,
            bias: fields.int_or("bias", -MOST_PRICE, MOST_PRICE, 0)?,
        };
        fields.end()?;
        Ok(leg)
    }
}

impl Model {
    pub(super) fn sub(&mut self, mut fields: Fields) -> Result<(), Refused> {
        let id = u64::try_from(fields.int("id", 1, i64::MAX)?).expect("positive");
        let party = fields.name("party")?;
        let start = fields.int("start", 0, i64::from(u32::MAX))?;
        let hours = fields.int_or("hours", 1, 8_784, 1)?;
        let work = fields.word("mode", &["units", "work"])?.unwrap_or(0) == 1;
        let qty = fields.int("qty", 1, MOST_LOTS)?;
        let workload = fields.name("workload")?;
        let limit = fields.int("limit", -MOST_PRICE, MOST_PRICE)?;
        let legs = fields.objects("legs")?.ok_or("missing_field")?;
        if legs.is_empty() {
            return Err("bad_field");
        }
        let many = legs.len() > 16;
        let legs = legs
            .into_iter()
            .map(Leg::read)
            .collect::<Result<Vec<_>, _>>()?;
        let tif = fields.word("tif", &["gtc", "ioc", "fok"])?.unwrap_or(0);
        let need = Need::read(fields.object("need")?)?;
        fields.end()?;
        if many {
            return Err("too_many_legs");
        }
        let mut entries = Vec::new();
        for contract in self.contracts() {
            let terms = self.terms(contract);
            let open = !terms.begun && self.listings[contract].phase != super::Phase::Closed;
            if (terms.start, terms.hours) != (start, hours) || !open {
                continue;
            }
            if let Some(leg) = legs.iter().find(|leg| self.leg_fits(leg, contract)) {
                entries.push(Entry {
                    contract,
                    eta: self.eta(contract, &workload),
                    bias: leg.bias,
                });
            }
        }
        if entries.is_empty() {
            return Err("no_contract");
        }
        if entries.len() > 64 {
            return Err("too_many_contracts");
        }
        entries.retain(|entry| entry.eta > 0);
        if entries.is_empty() {
            return Err("no_efficiency");
        }
        if self.id_is_live(id) {
            return Err("duplicate_id");
        }
        let mut sub = Sub {
            need,
            work,
            qty,
            open: 0,
            limit,
            entries,
        };
        sub.open = sub.total();
        self.check_weight(&party, self.sub_weight(&sub))?;

        let age = self.accept(id, &party);
        let mut group = Group {
            id,
            party,
            age,
            place: 0,
            kind: Kind::Sub(sub),
        };
        if tif == 2 {
            self.fill_whole(group);
            return Ok(());
        }
        let before = Self::group_open(&group);
        self.take(&mut group, None);
        let open = Self::group_open(&group);
        if open == 0 {
            return Ok(());
        }
        if tif == 0 {
            self.rest_group(group);
            return Ok(());
        }
        if open == before {
            self.explain_sub(&group);
        }
        self.say_end("canceled", id, open, "ioc");
        Ok(())
    }

    fn leg_fits(&self, leg: &Leg, contract: usize) -> bool {
        let terms = self.terms(contract);
        let fits = |list: &Option<Vec<String>>, name: Option<&str>| {
            list.as_ref()
                .is_none_or(|list| list.iter().any(|listed| Some(listed.as_str()) == name))
        };
        fits(&leg.classes, Some(&terms.class))
            && fits(&leg.partitions, Some(PARTITIONS[terms.partition]))
            && fits(&leg.profiles, terms.profile.as_deref())
            && fits(&leg.zones, Some(&terms.zone))
            && terms.tier >= leg.min_tier
    }

    /// Rule 15: the largest of weight x lots it could still buy.
    pub(super) fn sub_weight(&self, sub: &Sub) -> i128 {
        let weights = sub.entries.iter().map(|entry| {
            i128::from(self.terms(entry.contract).weight) * i128::from(sub.wanted(*entry))
        });
        weights.max().unwrap_or(0)
    }

    /// Rule 21: price and visible lots of a resting sub in a book.
    pub(super) fn shadow(&self, group: &Group, contract: usize) -> Option<(i64, u64)> {
        let Kind::Sub(sub) = &group.kind else {
            return None;
        };
        let entry = sub.entry(contract)?;
        let terms = self.terms(contract);
        let notice = terms.reclaim.is_none() || terms.notice_s() >= sub.need.min_notice_s;
        if terms.partition < sub.need.isolation || !notice {
            return None;
        }
        let plain = &self.listings[contract].terms;
        let price = (i128::from(sub.limit) - i128::from(entry.bias)) * i128::from(entry.eta);
        let price = price
            .div_euclid(10_000)
            .min(i128::from(plain.max_price.ticks()));
        let price = price - price.rem_euclid(i128::from(plain.tick));
        if price < i128::from(plain.min_price.ticks()) {
            return None;
        }
        Some((
            i64::try_from(price).expect("at most the highest price"),
            sub.wanted(entry),
        ))
    }

    /// Rule 17: the good asks, in the order of rule 18.
    fn good_asks(&self, group: &Group, only: Option<usize>) -> Vec<(Entry, Ask)> {
        let Kind::Sub(sub) = &group.kind else {
            unreachable!("only subs take");
        };
        let mut good = Vec::new();
        for &entry in &sub.entries {
            if only.is_some_and(|only| only != entry.contract) || !self.is_trading(entry.contract) {
                continue;
            }
            for ask in self.asks(entry.contract) {
                let eff = effective(entry, ask.price);
                let refused = self.refusal(&sub.need, &group.party, entry.contract, &ask);
                if eff <= i128::from(sub.limit) && refused.is_none() {
                    let isolation = Reverse(self.terms(entry.contract).partition);
                    let rank = (eff, isolation, entry.contract, ask.price, ask.place);
                    good.push((rank, entry, ask));
                }
            }
        }
        good.sort_by_key(|(rank, _, _)| *rank);
        good.into_iter()
            .map(|(_, entry, ask)| (entry, ask))
            .collect()
    }

    /// Takes what is good, worked out anew after each fill; returns what rule 20 adds up.
    fn take(&mut self, group: &mut Group, only: Option<usize>) -> i128 {
        let mut total = 0;
        while Self::group_open(group) > 0 {
            let Some((entry, ask)) = self.good_asks(group, only).into_iter().next() else {
                break;
            };
            let Kind::Sub(sub) = &mut group.kind else {
                unreachable!("only subs take");
            };
            let lots = sub.wanted(entry).min(ask.lots);
            sub.fill(entry.contract, lots);
            let open = sub.open;
            let each =
                i128::from(ask.price) * 10_000 + i128::from(entry.bias) * i128::from(entry.eta);
            total += i128::from(lots) * each;
            self.buy_from(
                &ask,
                entry.contract,
                &group.party,
                group.id,
                lots,
                open,
                None,
            );
        }
        total
    }

    /// A group order takes lots of an ask.
    #[expect(clippy::too_many_arguments, reason = "the fields of the event")]
    pub(super) fn buy_from(
        &mut self,
        ask: &Ask,
        contract: usize,
        buyer: &str,
        buyer_id: u64,
        lots: u64,
        taker_open: i128,
        block: Option<u64>,
    ) {
        if ask.is_carve {
            return self.sell_slices(ask.age, contract, buyer, buyer_id, lots, taker_open, block);
        }
        let index = self.index_of(ask.age);
        let order = &mut self.orders[index];
        order.open -= lots;
        order.filled += lots;
        order.slice = order.open;
        let order = order.clone();
        if order.open == 0 {
            self.orders.remove(index);
        }
        let backing = order.backing.expect("a sell on a contract is backed");
        let moved = self.transfer(contract, buyer, backing, ask.price, lots);
        self.contracts.leases[moved.lease].block = block;
        let opens = (i128::from(order.open), taker_open);
        self.say_lease_fill(
            contract,
            (order.id, buyer_id),
            ask.price,
            lots,
            "buy",
            opens,
            &moved,
        );
        self.shrink(backing);
    }

    /// Rule 20: the plans are tried on copies of the exchange, the best one is carried out.
    fn fill_whole(&mut self, group: Group) {
        let Kind::Sub(sub) = &group.kind else {
            unreachable!("only subs are filled whole");
        };
        let mut plans = vec![None];
        if sub.work {
            plans.extend(sub.entries.iter().map(|entry| Some(entry.contract)));
        }
        let costs = plans.iter().enumerate().filter_map(|(at, &only)| {
            let (mut copy, mut group) = (self.clone(), group.clone());
            let cost = copy.take(&mut group, only);
            (Self::group_open(&group) == 0).then_some((cost, at))
        });
        if let Some((_, at)) = costs.min() {
            self.take(&mut group.clone(), plans[at]);
        } else {
            self.explain_sub(&group);
            self.say_end("canceled", group.id, Self::group_open(&group), "fok");
        }
    }

    /// Rule 14 for an order that found nothing.
    fn explain_sub(&mut self, group: &Group) {
        let Kind::Sub(sub) = &group.kind else {
            unreachable!("asked of subs");
        };
        let mut counts = BTreeMap::new();
        for &entry in &sub.entries {
            for ask in self.asks(entry.contract) {
                let name = if !self.is_trading(entry.contract) {
                    "closed"
                } else if let Some(name) =
                    self.refusal(&sub.need, &group.party, entry.contract, &ask)
                {
                    name
                } else if effective(entry, ask.price) > i128::from(sub.limit) {
                    "price"
                } else {
                    "short"
                };
                *counts.entry(name).or_default() += ask.lots;
            }
        }
        self.say_no_match(group.id, &counts);
    }
}

/// Rule 17.
fn effective(entry: Entry, price: i64) -> i128 {
    ceil_div(i128::from(price) * 10_000, i128::from(entry.eta)) + i128::from(entry.bias)
}

/// What stands behind an ask.
pub(super) fn backing_of(ask: &Ask) -> Backing {
    ask.lease.map_or(Backing::Pool(ask.pool), Backing::Lease)
}
