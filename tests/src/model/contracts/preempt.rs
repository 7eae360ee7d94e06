//! Section 9: priced preemption.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::form::Fields;
use super::inventory::Lease;
use super::{HOUR_NS, MOST_LOTS, MOST_PRICE, Model, Phase, Refused, SECOND_NS, ceil_div, quoted};

/// Leases that are displaced together, or one alone.
#[derive(Clone, Debug)]
struct Unit {
    floor: i128,
    leases: Vec<usize>,
    lots: u64,
    is_block: bool,
}

impl Model {
    pub(super) fn preempt(&mut self, mut fields: Fields) -> Result<(), Refused> {
        let id = u64::try_from(fields.int("id", 1, i64::MAX)?).expect("positive");
        let party = fields.name("party")?;
        let instrument = fields.name("instrument")?;
        let qty = fields.int("qty", 1, MOST_LOTS)?;
        let price = fields.int("price", -MOST_PRICE, MOST_PRICE)?;
        let from = fields.int("from", 0, i64::from(u32::MAX))?;
        fields.end()?;
        let contract = self.contract_named(&instrument)?;
        let terms = self.terms(contract).clone();
        let Some(reclaim) = terms.reclaim else {
            return Err("not_reclaimable");
        };
        if !(terms.start..terms.end()).contains(&from) {
            return Err("bad_field");
        }
        match self.listings[contract].phase {
            Phase::Halt => return Err("halted"),
            Phase::Auction => return Err("wrong_phase"),
            Phase::Continuous | Phase::Closed => {}
        }
        if self.id_is_live(id) {
            return Err("duplicate_id");
        }
        let wanted = u64::try_from(qty).expect("positive");
        self.check_price(contract, price)
            .map_err(|reason| reason.as_str())?;
        self.check_total(contract, wanted)
            .map_err(|reason| reason.as_str())?;
        let from_ns = u64::try_from(from).expect("not negative") * HOUR_NS;
        if from_ns < self.clock {
            return Err("expired");
        }
        self.check_limit(&party, contract, i128::from(qty))?;

        self.accept(id, &party);
        let hours = terms.end() - from;
        let tick = self.listings[contract].terms.tick;
        let mut counts = BTreeMap::new();
        let mut units = Vec::new();
        for unit in self.units(contract, from, hours, reclaim) {
            let refused = NAMES.into_iter().find(|&name| {
                unit.leases.iter().any(|&at| {
                    let lease = &self.contracts.leases[at];
                    match name {
                        "self" => lease.party == party,
                        "notice" => {
                            let notice = i128::from(lease.notice_s) * SECOND_NS;
                            i128::from(self.clock) + notice > i128::from(from_ns)
                        }
                        "times" => {
                            let key = (lease.party.clone(), contract);
                            let times = self.contracts.displaced.get(&key).copied();
                            times.unwrap_or(0) >= reclaim.max_times
                        }
                        "min_run" => (from - lease.start) * 3_600 < reclaim.min_run_s,
                        _ => i128::from(price) < unit.floor + i128::from(tick),
                    }
                })
            });
            match refused {
                Some(name) => *counts.entry(name).or_default() += unit.lots,
                None => units.push(unit),
            }
        }
        units.sort_by_key(|unit| (unit.floor, Reverse(unit.leases.iter().max().copied())));
        let mut left = wanted;
        let mut chosen = Vec::new();
        for unit in &units {
            if left == 0 || unit.is_block && unit.lots > left {
                continue;
            }
            let lots = unit.lots.min(left);
            left -= lots;
            chosen.push((unit.clone(), lots));
        }
        if left > 0 {
            for unit in units {
                *counts.entry("short").or_default() += unit.lots;
            }
            self.say_no_match(id, &counts);
            self.say_end("canceled", id, i128::from(qty), "infeasible");
            return Ok(());
        }
        for (unit, lots) in chosen {
            let mut left = lots;
            let holder = self.contracts.leases[unit.leases[0]].party.clone();
            for &at in &unit.leases {
                let lots = self.contracts.leases[at].qty.min(left);
                left -= lots;
                self.displace(id, &party, at, lots, price, unit.floor, (from, hours));
            }
            *self
                .contracts
                .displaced
                .entry((holder, contract))
                .or_default() += 1;
        }
        Ok(())
    }

    /// Leases that run, with what is to be paid for them: rules 39 and 41.
    fn units(&self, contract: usize, from: i64, hours: i64, reclaim: super::Reclaim) -> Vec<Unit> {
        let mut units: Vec<(Option<u64>, Unit)> = Vec::new();
        for (at, lease) in self.contracts.leases.iter().enumerate() {
            let runs = (lease.start..lease.end).contains(&from);
            if lease.contract != contract || lease.qty == 0 || !runs {
                continue;
            }
            let restart = i128::from(reclaim.restart_minutes) * i128::from(lease.price.max(0));
            let floor = i128::from(lease.price)
                + i128::from(reclaim.compensation)
                + ceil_div(restart, 60 * i128::from(hours));
            let same = units
                .iter_mut()
                .find(|(block, _)| block.is_some() && *block == lease.block);
            if let Some((_, unit)) = same {
                unit.floor = unit.floor.max(floor);
                unit.leases.push(at);
                unit.lots += lease.qty;
                continue;
            }
            let unit = Unit {
                floor,
                leases: vec![at],
                lots: lease.qty,
                is_block: lease.block.is_some(),
            };
            units.push((lease.block, unit));
        }
        units.into_iter().map(|(_, unit)| unit).collect()
    }

    /// Rule 43.
    #[expect(clippy::too_many_arguments, reason = "the fields of the event")]
    fn displace(
        &mut self,
        id: u64,
        bidder: &str,
        at: usize,
        lots: u64,
        price: i64,
        floor: i128,
        (from, hours): (i64, i64),
    ) {
        let old = self.contracts.leases[at].clone();
        self.contracts.leases[at].qty -= lots;
        let new = self.add_lease(Lease {
            party: bidder.to_owned(),
            qty: lots,
            price,
            start: from,
            block: None,
            ..old.clone()
        });
        let n = i128::from(lots) * i128::from(hours);
        let (paid, refund) = (i128::from(price) * n, i128::from(old.price) * n);
        let compensation = (floor - i128::from(old.price)) * n;
        let gain = (i128::from(price) - floor) * n;
        let words = format!(
            r#""id":{id},"lease":{},"new_lease":{},"victim":{},"pool":{},"qty":{lots},"price":{price},"floor":{floor},"hours":{hours},"paid":{paid},"refund":{refund},"compensation":{compensation},"seller_gain":{gain}"#,
            at + 1,
            new + 1,
            quoted(&old.party),
            quoted(&self.contracts.pools[old.pool].name),
        );
        self.say("preempted", &words);
        self.shrink_lease(at);
    }
}

/// Rule 40.
const NAMES: [Refused; 5] = ["self", "notice", "times", "min_run", "price"];
