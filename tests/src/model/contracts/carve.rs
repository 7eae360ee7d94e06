//! Section 7: carving a device.

use std::collections::BTreeMap;

use serde_json::Value;

use super::device::{Demand, Device, PROFILES};
use super::form::Fields;
use super::inventory::{Lease, Moved};
use super::{Group, Kind, MIG, MOST_PRICE, Model, Refused, Side, State, WHOLE, quoted};

#[derive(Clone, Debug)]
pub(super) struct Carve {
    pub(super) pool: usize,
    pub(super) start: i64,
    pub(super) end: i64,
    /// Profile and price by contract.
    pub(super) prices: BTreeMap<usize, (usize, i64)>,
    pub(super) device: Device,
    /// A slice has sold the unit.
    pub(super) sold: bool,
}

impl Model {
    pub(super) fn carve(&mut self, mut fields: Fields) -> Result<(), Refused> {
        let id = u64::try_from(fields.int("id", 1, i64::MAX)?).expect("positive");
        let party = fields.name("party")?;
        let pool = fields.name("pool")?;
        let tier = fields.int_or("tier", 0, 4, 2)?;
        let start = fields.int("start", 0, i64::from(u32::MAX))?;
        let hours = fields.int_or("hours", 1, 8_784, 1)?;
        let prices = fields.object("prices")?.ok_or("missing_field")?.rest();
        fields.end()?;
        let mut priced = Vec::new();
        for (name, price) in prices {
            let profile = PROFILES
                .iter()
                .position(|known| known.0 == name)
                .ok_or("bad_field")?;
            let price = match price {
                Value::Number(number) => number.as_i64().ok_or("bad_field")?,
                _ => return Err("bad_field"),
            };
            if !(-MOST_PRICE..=MOST_PRICE).contains(&price) {
                return Err("bad_field");
            }
            priced.push((profile, price));
        }
        if priced.is_empty() {
            return Err("bad_field");
        }
        priced.sort_unstable();
        let pool = self.pool_named(&pool).ok_or("unknown_pool")?;
        let held = &self.contracts.pools[pool];
        if held.party != party {
            return Err("unknown_pool");
        }
        if held.partition != WHOLE {
            return Err("wrong_pool");
        }
        let mut prices = BTreeMap::new();
        for &(profile, price) in &priced {
            let contract = self.contracts().into_iter().find(|&at| {
                let terms = self.terms(at);
                (&terms.class, &terms.zone) == (&held.class, &held.zone)
                    && (terms.partition, terms.tier) == (MIG, tier)
                    && terms.profile.as_deref() == Some(PROFILES[profile].0)
                    && (terms.start, terms.hours) == (start, hours)
            });
            prices.insert(contract.ok_or("no_contract")?, (profile, price));
        }
        for contract in prices.keys() {
            self.check_trading(*contract)?;
        }
        if self.id_is_live(id) {
            return Err("duplicate_id");
        }
        for (contract, (_, price)) in &prices {
            self.check_price(*contract, *price)
                .map_err(|reason| reason.as_str())?;
        }
        if self.asks_on(super::Backing::Pool(pool)) >= 256 {
            return Err("too_many_orders");
        }
        if self.free_in(pool, start, start + hours) == 0 {
            return Err("inventory");
        }
        for (&contract, &(_, price)) in &prices {
            let meets_order = self.orders.iter().any(|order| {
                (order.instrument, order.side, order.state) == (contract, Side::Buy, State::Book)
                    && order.price.is_some_and(|bid| bid >= price)
            });
            let notice_s = self.terms(contract).notice_s();
            let meets_shadow = self.contracts.groups.iter().any(|group| {
                let Kind::Sub(sub) = &group.kind else {
                    return false;
                };
                self.shadow(group, contract)
                    .is_some_and(|(bid, _)| bid >= price)
                    && group.party != party
                    && self
                        .pool_refusal(&sub.need, &group.party, contract, pool, notice_s)
                        .is_none()
            });
            if meets_order || meets_shadow {
                return Err("post_only");
            }
        }
        let age = self.accept(id, &party);
        self.rest_group(Group {
            id,
            party,
            age,
            place: 0,
            kind: Kind::Carve(Carve {
                pool,
                start,
                end: start + hours,
                prices,
                device: Device::default(),
                sold: false,
            }),
        });
        Ok(())
    }

    /// Price and lots of a carve in one of its contracts.
    pub(super) fn carve_offer(&self, age: u64, contract: usize) -> (i64, u64) {
        let Kind::Carve(carve) = &self.contracts.groups[self.group_at(age)].kind else {
            unreachable!("only carves imply asks");
        };
        let (profile, price) = carve.prices[&contract];
        (price, carve.device.capacity(profile))
    }

    /// Rule 34: lots of resting bids by profile.
    fn demand(&self, carve: &Carve) -> Demand {
        let mut demand = [0; 6];
        for (&contract, &(profile, _)) in &carve.prices {
            let orders = self.orders.iter().filter(|order| {
                (order.instrument, order.side, order.state) == (contract, Side::Buy, State::Book)
            });
            let shadows = self.contracts.groups.iter();
            demand[profile] = orders.map(|order| order.open).sum::<u64>()
                + shadows
                    .filter_map(|group| self.shadow(group, contract))
                    .map(|shadow| shadow.1)
                    .sum::<u64>();
        }
        demand
    }

    /// Sells slices of a carve: the fill, where they lie, and what follows for the pool.
    #[expect(clippy::too_many_arguments, reason = "the fields of the event")]
    pub(super) fn sell_slices(
        &mut self,
        age: u64,
        contract: usize,
        buyer: &str,
        buyer_id: u64,
        lots: u64,
        taker_open: i128,
        block: Option<u64>,
    ) {
        let at = self.group_at(age);
        let group = self.contracts.groups[at].clone();
        let Kind::Carve(mut carve) = group.kind.clone() else {
            unreachable!("only carves have slices");
        };
        let (profile, price) = carve.prices[&contract];
        let demand = self.demand(&carve);
        let mut slots = Vec::new();
        for _ in 0..lots {
            let mut demand = demand;
            for (of, lots) in demand.iter_mut().enumerate() {
                *lots = (*lots).min(carve.device.capacity(of));
            }
            let (start, next) = carve
                .device
                .place(profile, demand)
                .expect("within capacity");
            slots.push(start.to_string());
            carve.device = next;
        }
        let first = !carve.sold;
        carve.sold = true;
        let device = carve.device;
        let left = device.capacity(profile);
        let pool = carve.pool;
        if first {
            self.sell_units(pool, carve.start, carve.end, 1);
        }
        let over = carve
            .prices
            .values()
            .all(|&(profile, _)| device.capacity(profile) == 0);
        let notice_s = self.terms(contract).notice_s();
        let lease = self.add_lease(Lease {
            party: buyer.to_owned(),
            contract,
            pool,
            qty: lots,
            price,
            start: carve.start,
            end: carve.end,
            notice_s,
            block,
        });
        if over {
            self.contracts.groups.remove(at);
        } else {
            self.contracts.groups[at].kind = Kind::Carve(carve);
        }
        let moved = Moved {
            lease,
            pool,
            of: None,
        };
        let ids = (group.id, buyer_id);
        self.say_lease_fill(
            contract,
            ids,
            price,
            lots,
            "buy",
            (i128::from(left), taker_open),
            &moved,
        );
        let words = format!(
            r#""id":{},"lease":{},"profile":{},"slots":[{}],"mem_mask":{},"compute_used":{}"#,
            group.id,
            lease + 1,
            quoted(PROFILES[profile].0),
            slots.join(","),
            device.mask,
            device.compute
        );
        self.say("placed", &words);
        if first {
            self.shrink_pool(pool, "inventory");
        }
    }
}
