//! Section 6: gangs and strips, by trying every start and every sequence of domains.

use std::collections::{BTreeMap, BTreeSet};

use super::form::Fields;
use super::sub::backing_of;
use super::{Ask, Backing, Kind, MOST_LOTS, MOST_PRICE, Model, Need, Refused, quoted};

pub(super) const LEVELS: [&str; 7] = ["pool", "device", "node", "nvlink", "leaf", "site", "zone"];

/// How many components of the path are the same in a domain; nothing when it is the pool.
pub(super) const fn components(level: usize) -> Option<usize> {
    match level {
        0 => None,
        level => Some(6 - level),
    }
}

type Domain = Vec<i64>;

/// What is taken of an ask.
type Piece = (Ask, u64);

impl Model {
    pub(super) fn block(&mut self, mut fields: Fields) -> Result<(), Refused> {
        let id = u64::try_from(fields.int("id", 1, i64::MAX)?).expect("positive");
        let party = fields.name("party")?;
        let instrument = fields.name("instrument")?;
        let qty = fields.int("qty", 1, MOST_LOTS)?;
        let windows = fields.int_or("windows", 1, i64::from(u32::MAX), 1)?;
        let flex = fields.int_or("flex", 0, i64::from(u32::MAX), 0)?;
        let level = fields.word("level", &LEVELS)?.unwrap_or(0);
        let moves = fields.int_or("moves", 0, i64::from(u32::MAX), 0)?;
        let fee = fields.int_or("fee", 0, MOST_PRICE, 0)?;
        let limit = fields.int_or_none("limit", -MOST_PRICE, MOST_PRICE)?;
        let total = fields.int_or_none("limit_total", i64::MIN, i64::MAX)?;
        let need = Need::read(fields.object("need")?)?;
        fields.end()?;
        if limit.is_some() == total.is_some() {
            return Err(if limit.is_some() {
                "bad_field"
            } else {
                "missing_field"
            });
        }
        let first = self.contract_named(&instrument)?;
        if windows > 720 || flex > 720 || moves > 3 {
            return Err("too_much_work");
        }
        if windows > 1 && self.terms(first).reclaim.is_some() {
            return Err("reclaimable");
        }
        self.check_trading(first)?;
        let windows = usize::try_from(windows).expect("at most 720");
        let flex = usize::try_from(flex).expect("at most 720");
        let moves = usize::try_from(moves).expect("at most 3");
        let series = self.following(first, windows + flex);
        if series[..windows].iter().any(Option::is_none) {
            return Err("no_contract");
        }
        if self.id_is_live(id) {
            return Err("duplicate_id");
        }
        let mut domains = BTreeSet::new();
        for &contract in series.iter().flatten() {
            let asks = self.block_asks(contract, &need, &party, level);
            domains.extend(asks.into_iter().map(|(_, domain)| domain));
        }
        if domains.len() > 64 {
            return Err("too_many_domains");
        }
        if (flex + 1) * windows * domains.len() * (moves + 1) > 200_000 {
            return Err("too_much_work");
        }
        let hours = self.terms(first).hours;
        let lots = u64::try_from(qty).expect("positive");
        self.check_limit(&party, first, i128::from(qty) * windows as i128)?;
        let most = match (limit, total) {
            (Some(limit), _) => {
                i128::from(limit) * i128::from(qty) * windows as i128 * i128::from(hours)
            }
            (_, total) => i128::from(total.expect("one of the two")),
        };

        let age = self.accept(id, &party);
        let domains: Vec<Domain> = domains.into_iter().collect();
        let mut planned_first = false;
        for start in 0..=flex {
            let Some(contracts) = series[start..start + windows]
                .iter()
                .copied()
                .collect::<Option<Vec<_>>>()
            else {
                continue;
            };
            let costs: Vec<Vec<Option<i128>>> = contracts
                .iter()
                .map(|&contract| {
                    let cost = |domain: &Domain| {
                        let pieces = self.cheapest(contract, &need, &party, level, domain, lots)?;
                        let sum: i128 = pieces
                            .iter()
                            .map(|(ask, lots)| i128::from(ask.price) * i128::from(*lots))
                            .sum();
                        Some(sum * i128::from(hours))
                    };
                    domains.iter().map(cost).collect()
                })
                .collect();
            let Some((cost, used, sequence)) = least(&costs, moves, fee) else {
                continue;
            };
            planned_first |= start == 0;
            if cost > most {
                continue;
            }
            self.say_plan(id, level, &contracts, cost, used, &sequence, &domains);
            let mut open = i128::from(qty) * windows as i128;
            for (&contract, &at) in contracts.iter().zip(&sequence) {
                let pieces = self.cheapest(contract, &need, &party, level, &domains[at], lots);
                for (ask, lots) in pieces.expect("it has a cost") {
                    open -= i128::from(lots);
                    self.buy_from(&ask, contract, &party, id, lots, open, Some(age));
                }
            }
            return Ok(());
        }
        self.explain_block(
            (id, &party),
            &series[..windows],
            &need,
            level,
            planned_first,
        );
        self.say_end("canceled", id, i128::from(qty), "infeasible");
        Ok(())
    }

    /// The contracts of the same coordinate and length that start one after the other.
    fn following(&self, first: usize, count: usize) -> Vec<Option<usize>> {
        let wanted = |window: usize| {
            let mut terms = super::coordinate(self.terms(first));
            terms.5 += terms.6 * i64::try_from(window).expect("at most 1440");
            terms
        };
        (0..count)
            .map(|window| {
                let wanted = wanted(window);
                self.contracts()
                    .into_iter()
                    .find(|&at| super::coordinate(self.terms(at)) == wanted)
            })
            .collect()
    }

    /// The good asks of a book with their domains, in book order, among the first 1024.
    fn block_asks(
        &self,
        contract: usize,
        need: &Need,
        party: &str,
        level: usize,
    ) -> Vec<(Ask, Domain)> {
        if !self.is_trading(contract) {
            return Vec::new();
        }
        let asks = self.asks(contract).into_iter().take(1_024);
        asks.filter(|ask| self.refusal(need, party, contract, ask).is_none())
            .filter_map(|ask| {
                let domain = self.domain(ask.pool, level)?;
                Some((ask, domain))
            })
            .collect()
    }

    /// Rule 25: the cheapest lots of a domain, or nothing when there are fewer.
    fn cheapest(
        &self,
        contract: usize,
        need: &Need,
        party: &str,
        level: usize,
        domain: &Domain,
        lots: u64,
    ) -> Option<Vec<Piece>> {
        let mut wanted = lots;
        let mut taken = Vec::new();
        let mut left = BTreeMap::new();
        for (ask, of) in self.block_asks(contract, need, party, level) {
            if of != *domain || wanted == 0 {
                continue;
            }
            let lots = self.available(&ask, contract, wanted, &mut left);
            if lots > 0 {
                wanted -= lots;
                taken.push((ask, lots));
            }
        }
        (wanted == 0).then_some(taken)
    }

    /// What an ask gives when others on the same pool or lease may have been taken before it.
    fn available(
        &self,
        ask: &Ask,
        contract: usize,
        wanted: u64,
        left: &mut BTreeMap<(usize, Option<usize>), u64>,
    ) -> u64 {
        let free = match backing_of(ask) {
            Backing::Pool(pool) => self.free(pool, contract),
            Backing::Lease(lease) => self.free_of_lease(lease),
        };
        let left = left.entry((ask.pool, ask.lease)).or_insert(free);
        if !ask.is_carve {
            let lots = ask.lots.min(wanted).min(*left);
            *left -= lots;
            return lots;
        }
        let Kind::Carve(carve) = &self.contracts.groups[self.group_at(ask.age)].kind else {
            unreachable!("it is a carve");
        };
        if !carve.sold {
            if *left == 0 {
                return 0;
            }
            *left -= 1;
        }
        ask.lots.min(wanted)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of the event")]
    fn say_plan(
        &mut self,
        id: u64,
        level: usize,
        contracts: &[usize],
        cost: i128,
        moves: usize,
        sequence: &[usize],
        domains: &[Domain],
    ) {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for &at in sequence {
            match runs.last_mut() {
                Some((last, count)) if *last == at => *count += 1,
                _ => runs.push((at, 1)),
            }
        }
        let runs: Vec<String> = runs
            .into_iter()
            .map(|(at, count)| {
                let domain = &domains[at];
                let domain = if level == 0 {
                    let pool = usize::try_from(domain[0]).expect("an index");
                    quoted(&self.contracts.pools[pool].name)
                } else {
                    let parts: Vec<String> = domain.iter().map(i64::to_string).collect();
                    format!("[{}]", parts.join(","))
                };
                format!("[{domain},{count}]")
            })
            .collect();
        let words = format!(
            r#""id":{id},"instrument":{},"windows":{},"cost":{cost},"moves":{moves},"plan":[{}]"#,
            self.name(contracts[0]),
            contracts.len(),
            runs.join(",")
        );
        self.say("block", &words);
    }

    /// Rule 28: counted over the windows of the first start.
    fn explain_block(
        &mut self,
        (id, party): (u64, &str),
        windows: &[Option<usize>],
        need: &Need,
        level: usize,
        planned: bool,
    ) {
        let mut counts = BTreeMap::new();
        for &contract in windows.iter().flatten() {
            for ask in self.asks(contract) {
                let name = if !self.is_trading(contract) {
                    "closed"
                } else if let Some(name) = self.refusal(need, party, contract, &ask) {
                    name
                } else if self.domain(ask.pool, level).is_none() {
                    "colo"
                } else if planned {
                    "price"
                } else {
                    "short"
                };
                *counts.entry(name).or_default() += ask.lots;
            }
        }
        self.say_no_match(id, &counts);
    }

    /// Rule 30.
    pub(super) fn print_gangs(&mut self, mut fields: Fields) -> Result<(), Refused> {
        let instrument = fields.name("instrument")?;
        let level = fields.word("level", &LEVELS)?.unwrap_or(0);
        fields.end()?;
        let contract = self.contract_named(&instrument)?;
        let need = Need::default();
        let asks = self.block_asks(contract, &need, "", level);
        let domains: BTreeSet<Domain> = asks.iter().map(|(_, domain)| domain.clone()).collect();
        let mut sizes = Vec::new();
        for size in [1, 2, 4, 8, 16, 32, 64] {
            let mut lots = 0;
            let mut best: Option<i128> = None;
            for domain in &domains {
                let mut left = BTreeMap::new();
                let available: u64 = asks
                    .iter()
                    .filter(|(_, of)| of == domain)
                    .map(|(ask, _)| self.available(ask, contract, u64::MAX, &mut left))
                    .sum();
                lots += size * (available / size);
                if let Some(pieces) = self.cheapest(contract, &need, "", level, domain, size) {
                    let cost = pieces
                        .iter()
                        .map(|(ask, lots)| i128::from(ask.price) * i128::from(*lots))
                        .sum();
                    best = Some(best.map_or(cost, |best| best.min(cost)));
                }
            }
            if lots > 0 {
                sizes.push(format!("[{size},{lots},{}]", best.expect("a gang exists")));
            }
        }
        let words = format!(
            r#""instrument":{},"level":"{}","sizes":[{}]"#,
            self.name(contract),
            LEVELS[level],
            sizes.join(",")
        );
        self.say("gang_depth", &words);
        Ok(())
    }
}

/// Rule 26 over all sequences of domains: cost, moves and the sequence.
fn least(
    costs: &[Vec<Option<i128>>],
    most_moves: usize,
    fee: i64,
) -> Option<(i128, usize, Vec<usize>)> {
    let mut best = None;
    extend(costs, most_moves, fee, (0, 0), &mut Vec::new(), &mut best);
    best
}

/// Tries every domain in the next window.
fn extend(
    costs: &[Vec<Option<i128>>],
    most_moves: usize,
    fee: i64,
    (cost, moves): (i128, usize),
    sequence: &mut Vec<usize>,
    best: &mut Option<(i128, usize, Vec<usize>)>,
) {
    let Some(window) = costs.get(sequence.len()) else {
        let plan = (cost, moves, sequence.clone());
        if best.as_ref().is_none_or(|best| plan < *best) {
            *best = Some(plan);
        }
        return;
    };
    for (domain, here) in window.iter().enumerate() {
        let Some(here) = here else { continue };
        let moved = sequence.last().is_some_and(|&last| last != domain);
        if moved && moves == most_moves {
            continue;
        }
        let moves = moves + usize::from(moved);
        let cost = cost + here + if moved { i128::from(fee) } else { 0 };
        sequence.push(domain);
        extend(costs, most_moves, fee, (cost, moves), sequence, best);
        sequence.pop();
    }
}
