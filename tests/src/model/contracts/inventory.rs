//! Rules 7 to 11 and 44 to 46: pools, what is left of them, leases and their resale.

use serde_json::Value;

use super::form::Fields;
use super::{Kind, MIG, MOST_LOTS, Model, Named, PARTITIONS, Refused, WHOLE, quoted};

#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) name: String,
    pub(super) party: String,
    pub(super) class: String,
    pub(super) partition: usize,
    pub(super) profile: Option<String>,
    pub(super) zone: String,
    pub(super) path: Vec<i64>,
    first_device: i64,
    devices: i64,
    pub(super) attested: i64,
    pub(super) until: Option<u64>,
    pub(super) score: i64,
    pub(super) stake: i64,
    pub(super) attested_at: u64,
    pub(super) cover: i64,
    /// Start, end and quantity of every sale.
    sales: Vec<(i64, i64, i64)>,
}

#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) party: String,
    pub(super) contract: usize,
    pub(super) pool: usize,
    pub(super) qty: u64,
    pub(super) price: i64,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) notice_s: i64,
    /// Age of the block that made it.
    pub(super) block: Option<u64>,
}

/// What stands behind a sell: a pool, or a lease by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) enum Backing {
    Pool(usize),
    Lease(usize),
}

impl Backing {
    pub(super) const fn most_asks(self) -> usize {
        match self {
            Self::Pool(_) => 256,
            Self::Lease(_) => 16,
        }
    }
}

/// The lease that a fill made.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Moved {
    pub(super) lease: usize,
    pub(super) pool: usize,
    /// The lease that was sold on.
    pub(super) of: Option<usize>,
}

impl Model {
    pub(super) fn declare_pool(&mut self, mut fields: Fields) -> Result<(), Refused> {
        let name = fields.name("pool")?;
        let party = fields.name("party")?;
        let class = fields.name("class")?;
        let partition = fields.word("partition", &PARTITIONS)?.unwrap_or(WHOLE);
        let profile = fields.name_or_none("profile")?;
        if profile.is_none() && partition < WHOLE {
            return Err("missing_field");
        }
        if profile.is_some() && partition >= WHOLE {
            return Err("bad_field");
        }
        let zone = fields.name("zone")?;
        let path = match fields.take("path") {
            None => Vec::new(),
            Some(Value::Array(parts)) if parts.len() <= 5 => {
                let parts = parts.iter().map(Value::as_i64).collect::<Option<Vec<_>>>();
                parts.ok_or("bad_field")?
            }
            Some(_) => return Err("bad_field"),
        };
        let first_device = fields.int("first_device", 0, i64::from(u32::MAX))?;
        let devices = fields.int("devices", 1, MOST_LOTS)?;
        fields.end()?;
        let (slices, _) = self.class(&class)?;
        self.check_zone(&zone)?;
        if partition == MIG && !self.is_mig_profile(slices, profile.as_deref()) {
            return Err("unknown_profile");
        }
        if self.contracts.pools.iter().any(|pool| pool.name == name) {
            return Err("duplicate_pool");
        }
        let overlaps = |pool: &Pool| {
            pool.class == class
                && pool.first_device < first_device + devices
                && first_device < pool.first_device + pool.devices
        };
        if self.contracts.pools.iter().any(overlaps) {
            return Err("duplicate_device");
        }
        let words = format!(r#""pool":{},"party":{}"#, quoted(&name), quoted(&party));
        self.contracts.pools.push(Pool {
            name,
            party,
            class,
            partition,
            profile,
            zone,
            path,
            first_device,
            devices,
            attested: 0,
            until: None,
            score: 0,
            stake: 0,
            attested_at: 0,
            cover: 0,
            sales: Vec::new(),
        });
        self.say("pool", &words);
        Ok(())
    }

    pub(super) fn pool_named(&self, name: &str) -> Option<usize> {
        self.contracts
            .pools
            .iter()
            .position(|pool| pool.name == name)
    }

    /// Rule 7.
    pub(super) fn attest(&mut self, mut fields: Fields) -> Result<(), Refused> {
        let name = fields.name("pool")?;
        let qty = fields.int("qty", 1, MOST_LOTS)?;
        let until = fields.int("until", 0, i64::MAX)?;
        let score = fields.int_or_none("score", 0, 10_000)?;
        let stake = fields.int_or_none("stake", 0, i64::MAX)?;
        fields.end()?;
        let at = self.pool_named(&name).ok_or("unknown_pool")?;
        if qty > self.contracts.pools[at].devices {
            return Err("bad_qty");
        }
        let until = u64::try_from(until).expect("not negative");
        if until <= self.clock {
            return Err("expired");
        }
        let (_, class_stake) = self.class(&self.contracts.pools[at].class)?;
        let clock = self.clock;
        let pool = &mut self.contracts.pools[at];
        pool.attested = qty;
        pool.until = Some(until);
        pool.score = score.unwrap_or(pool.score);
        pool.stake = stake.unwrap_or(pool.stake);
        pool.attested_at = clock;
        pool.cover = match class_stake {
            0 => qty,
            each => qty.min(pool.stake.div_euclid(each)),
        };
        let words = format!(r#""pool":{},"cover":{}"#, quoted(&name), pool.cover);
        self.say("attested", &words);
        self.shrink_pool(at, "inventory");
        Ok(())
    }

    /// Rule 11.
    pub(super) fn lapse(&mut self, at: usize) {
        let pool = &mut self.contracts.pools[at];
        pool.attested = 0;
        pool.cover = 0;
        pool.until = None;
        let words = format!(r#""pool":{}"#, quoted(&pool.name));
        self.say("lapsed", &words);
        self.shrink_pool(at, "attestation");
    }

    /// The most that is sold and held in an hour of the window.
    fn load(&self, pool: usize, start: i64, end: i64) -> i64 {
        let held: Vec<(i64, i64, i64)> = self
            .contracts
            .groups
            .iter()
            .filter_map(|group| match &group.kind {
                Kind::Quote(quote) if quote.pool == pool => {
                    let terms = self.terms(quote.instrument);
                    Some((
                        terms.start,
                        terms.end(),
                        i64::try_from(quote.qty).expect("lots"),
                    ))
                }
                _ => None,
            })
            .collect();
        let sold = &self.contracts.pools[pool].sales;
        (start..end)
            .map(|hour| {
                let all = sold.iter().chain(&held);
                all.filter(|(start, end, _)| (*start..*end).contains(&hour))
                    .map(|taken| taken.2)
                    .sum()
            })
            .max()
            .unwrap_or(0)
    }

    /// Rule 8.
    pub(super) fn free(&self, pool: usize, contract: usize) -> u64 {
        let terms = self.terms(contract);
        let load = self.load(pool, terms.start, terms.end());
        u64::try_from(self.contracts.pools[pool].cover - load).unwrap_or(0)
    }

    /// Rule 45.
    pub(super) fn free_of_lease(&self, lease: usize) -> u64 {
        let lease = &self.contracts.leases[lease];
        if self.contracts.pools[lease.pool].cover > 0 {
            lease.qty
        } else {
            0
        }
    }

    pub(in crate::model) fn free_for(&self, backing: Backing, contract: usize) -> u64 {
        match backing {
            Backing::Pool(pool) => self.free(pool, contract),
            Backing::Lease(lease) => self.free_of_lease(lease),
        }
    }

    /// Live orders, carves and quotes on a pool, or asks on a lease.
    pub(super) fn asks_on(&self, backing: Backing) -> usize {
        let orders = self
            .orders
            .iter()
            .filter(|order| order.backing == Some(backing))
            .count();
        let groups = self
            .contracts
            .groups
            .iter()
            .filter(|group| match &group.kind {
                Kind::Carve(carve) => backing == Backing::Pool(carve.pool),
                Kind::Quote(quote) => backing == Backing::Pool(quote.pool),
                _ => false,
            });
        orders + groups.count()
    }

    /// Rule 44.
    pub(super) fn backing(
        &self,
        party: &str,
        contract: usize,
        named: &Named,
    ) -> Result<Backing, Refused> {
        if let Some(name) = &named.pool {
            let pool = self.pool_named(name).ok_or("unknown_pool")?;
            if self.contracts.pools[pool].party != party {
                return Err("unknown_pool");
            }
            if !self.terms(contract).fits(&self.contracts.pools[pool]) {
                return Err("wrong_pool");
            }
            return Ok(Backing::Pool(pool));
        }
        let number = named.lease.ok_or("missing_field")?;
        let at = usize::try_from(number - 1).expect("at least 1");
        let lease = self.contracts.leases.get(at);
        let lease = lease.filter(|lease| lease.party == party && lease.qty > 0);
        let lease = lease.ok_or("unknown_lease")?;
        let terms = self.terms(contract);
        if lease.contract != contract || (lease.start, lease.end) != (terms.start, terms.end()) {
            return Err("wrong_lease");
        }
        Ok(Backing::Lease(at))
    }

    /// Units go over to the buyer.
    pub(in crate::model) fn transfer(
        &mut self,
        contract: usize,
        buyer: &str,
        backing: Backing,
        price: i64,
        qty: u64,
    ) -> Moved {
        let terms = self.terms(contract);
        let (start, end, notice_s) = (terms.start, terms.end(), terms.notice_s());
        let (pool, of, notice_s) = match backing {
            Backing::Pool(pool) => {
                self.sell_units(pool, start, end, qty);
                (pool, None, notice_s)
            }
            Backing::Lease(at) => {
                let lease = &mut self.contracts.leases[at];
                lease.qty -= qty;
                (lease.pool, Some(at), lease.notice_s)
            }
        };
        let lease = self.add_lease(Lease {
            party: buyer.to_owned(),
            contract,
            pool,
            qty,
            price,
            start,
            end,
            notice_s,
            block: None,
        });
        Moved { lease, pool, of }
    }

    pub(super) fn sell_units(&mut self, pool: usize, start: i64, end: i64, qty: u64) {
        let qty = i64::try_from(qty).expect("lots");
        self.contracts.pools[pool].sales.push((start, end, qty));
    }

    pub(super) fn add_lease(&mut self, lease: Lease) -> usize {
        self.contracts.leases.push(lease);
        self.contracts.leases.len() - 1
    }

    pub(in crate::model) fn shrink(&mut self, backing: Backing) {
        match backing {
            Backing::Pool(pool) => self.shrink_pool(pool, "inventory"),
            Backing::Lease(lease) => self.shrink_lease(lease),
        }
    }

    /// Rule 10: quotes newest first, then orders oldest first.
    pub(super) fn shrink_pool(&mut self, pool: usize, reason: &str) {
        let mut quotes: Vec<(u64, usize)> = Vec::new();
        let mut others: Vec<(u64, bool)> = Vec::new();
        let gone = self.contracts.pools[pool].cover == 0;
        for group in &self.contracts.groups {
            match &group.kind {
                Kind::Quote(quote) if quote.pool == pool => {
                    quotes.push((group.age, quote.instrument))
                }
                Kind::Carve(carve) if carve.pool == pool => others.push((group.age, true)),
                _ => {}
            }
        }
        for (age, contract) in quotes.into_iter().rev() {
            let terms = self.terms(contract);
            if self.load(pool, terms.start, terms.end()) > self.contracts.pools[pool].cover {
                self.end_group(age, "canceled", reason);
            }
        }
        for order in &self.orders {
            let on_lease = |lease: usize| self.contracts.leases[lease].pool == pool;
            let concerned = match order.backing {
                Some(Backing::Pool(of)) => of == pool,
                Some(Backing::Lease(lease)) => gone && on_lease(lease),
                None => false,
            };
            if concerned {
                others.push((order.age, false));
            }
        }
        others.sort_unstable();
        for (age, is_carve) in others {
            if is_carve {
                let group = &self.contracts.groups[self.group_at(age)];
                let Kind::Carve(carve) = &group.kind else {
                    unreachable!("only carves were listed");
                };
                let none_left = !carve.sold && self.free_in(pool, carve.start, carve.end) == 0;
                if gone || none_left {
                    self.end_group(age, "canceled", reason);
                }
            } else {
                self.shrink_order(age, reason);
            }
        }
    }

    pub(super) fn free_in(&self, pool: usize, start: i64, end: i64) -> u64 {
        u64::try_from(self.contracts.pools[pool].cover - self.load(pool, start, end)).unwrap_or(0)
    }

    pub(super) fn shrink_lease(&mut self, lease: usize) {
        let on_lease = self
            .orders
            .iter()
            .filter(|order| order.backing == Some(Backing::Lease(lease)));
        let ages: Vec<u64> = on_lease.map(|order| order.age).collect();
        for age in ages {
            self.shrink_order(age, "inventory");
        }
    }

    fn shrink_order(&mut self, age: u64, reason: &str) {
        let index = self.index_of(age);
        let order = &self.orders[index];
        let backing = order.backing.expect("listed by its backing");
        let free = self.free_for(backing, order.instrument);
        if free == 0 {
            self.cancel(index, reason);
        } else if order.open > free {
            let order = &mut self.orders[index];
            order.shrink(order.open - free);
            let words = format!(r#""id":{},"open":{free},"reason":"{reason}""#, order.id);
            self.say("reduced", &words);
        }
    }

    pub(super) fn print_pools(&mut self, mut fields: Fields) -> Result<(), Refused> {
        let name = fields.name("instrument")?;
        fields.end()?;
        let contract = self.contract_named(&name)?;
        for pool in 0..self.contracts.pools.len() {
            if !self.terms(contract).fits(&self.contracts.pools[pool]) {
                continue;
            }
            let words = format!(
                r#""pool":{},"instrument":{},"cover":{},"free":{}"#,
                quoted(&self.contracts.pools[pool].name),
                self.name(contract),
                self.contracts.pools[pool].cover,
                self.free(pool, contract)
            );
            self.say("pool_free", &words);
        }
        Ok(())
    }

    pub(super) fn print_leases(&mut self, mut fields: Fields) -> Result<(), Refused> {
        let party = fields.name_or_none("party")?;
        let instrument = fields.name_or_none("instrument")?;
        fields.end()?;
        let contract = match instrument {
            Some(name) => Some(self.contract_named(&name)?),
            None => None,
        };
        for (at, lease) in self.contracts.leases.clone().into_iter().enumerate() {
            let wanted = party.as_ref().is_none_or(|party| *party == lease.party)
                && contract.is_none_or(|contract| contract == lease.contract);
            if lease.qty == 0 || !wanted {
                continue;
            }
            let words = format!(
                r#""lease":{},"party":{},"instrument":{},"pool":{},"qty":{},"price":{},"start":{},"end":{}"#,
                at + 1,
                quoted(&lease.party),
                self.name(lease.contract),
                quoted(&self.contracts.pools[lease.pool].name),
                lease.qty,
                lease.price,
                lease.start,
                lease.end
            );
            self.say("lease", &words);
        }
        Ok(())
    }
}
