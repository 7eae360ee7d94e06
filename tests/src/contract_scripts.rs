//! Random scripts about compute contracts, in a world so small that everything meets everything: few
//! pools, few windows, few prices.

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::{Value, json};

/// The script of a seed: the same seed and length give the same lines on every machine.
#[must_use]
pub fn random_contract_script(seed: u64, commands: usize) -> Vec<String> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let writer = Writer {
        spread: rng.random_range(1..=6),
        // Some scripts have none of a kind, so that the others meet more.
        kinds: std::array::from_fn(|_| rng.random_bool(0.7)),
        next_id: 1,
        clock: 0,
        focus: "W",
        leases: 0,
        requests: Vec::new(),
        quotes: Vec::new(),
        lines: Vec::new(),
        rng,
    };
    writer.write(commands)
}

struct Writer {
    rng: Pcg64Mcg,
    spread: i64,
    kinds: [bool; 8],
    next_id: i64,
    /// In hours.
    clock: i64,
    /// Where much happens at the moment.
    focus: &'static str,
    /// A guess at how many leases there are.
    leases: i64,
    requests: Vec<(i64, &'static str)>,
    quotes: Vec<(i64, i64)>,
    lines: Vec<String>,
}

type Pool = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
    &'static [i64],
);

/// Name, seller, class, partition, profile, path.
const POOLS: [Pool; 7] = [
    ("a", "dc1", "H100", "whole", None, &[1, 1, 1, 1]),
    ("b", "dc2", "H100", "whole", None, &[1, 1, 1, 2]),
    ("c", "dc1", "H100", "whole", None, &[1, 1, 2]),
    ("h", "dc3", "H200", "whole", None, &[1, 2, 1, 1]),
    ("t", "dc4", "H100", "time_slice", Some("1/2"), &[1, 1, 3, 1]),
    ("m", "dc2", "H100", "mig", Some("3g"), &[1, 1, 1, 3]),
    ("v", "dc3", "H100", "whole", None, &[2]),
];
/// Contracts by name, with the pools that fit.
const CONTRACTS: [(&str, &[&str]); 14] = [
    ("W", &["a", "b", "c"]),
    ("F", &["a", "b", "c"]),
    ("s.0", &["a", "b", "c"]),
    ("s.1", &["a", "b", "c"]),
    ("s.2", &["a", "b", "c"]),
    ("H2", &["h"]),
    ("TS", &["t"]),
    ("G1", &[]),
    ("G2", &[]),
    ("G3", &["m"]),
    ("R", &["a", "b", "c"]),
    ("V", &["v"]),
    ("G4", &[]),
    ("G1m", &[]),
];
const BUYERS: [&str; 3] = ["lab", "fund", "mm"];
const HOUR: i64 = 3_600_000_000_000;

impl Writer {
    fn write(mut self, commands: usize) -> Vec<String> {
        self.begin();
        while self.lines.len() < commands {
            self.command();
        }
        self.lines
    }

    fn begin(&mut self) {
        let stake = *[0, 0, 50].choose(&mut self.rng).unwrap_or(&0);
        self.catalog(1, 14_328, stake);
        for (at, (pool, party, class, partition, profile, path)) in POOLS.into_iter().enumerate() {
            let zone = if pool == "v" { "va" } else { "tx" };
            let mut line = json!({"op": "pool", "pool": pool, "party": party, "class": class,
                "zone": zone, "path": path, "first_device": at * 10, "devices": 6});
            if partition != "whole" {
                line["partition"] = partition.into();
            }
            if let Some(profile) = profile {
                line["profile"] = profile.into();
            }
            self.push(line);
            self.attest(pool);
        }
        let tick = self.rng.random_range(1..=2);
        for (name, extra) in [
            ("W", json!({"tier": 3})),
            ("F", json!({"tier": 2, "weight": 5_000})),
            ("s", json!({"start": 102, "windows": 3, "tick": tick})),
            ("H2", json!({"class": "H200"})),
            ("TS", json!({"partition": "time_slice", "profile": "1/2"})),
            (
                "G1",
                json!({"partition": "mig", "profile": "1g", "weight": 1_212}),
            ),
            (
                "G2",
                json!({"partition": "mig", "profile": "2g", "weight": 2_424}),
            ),
            (
                "G3",
                json!({"partition": "mig", "profile": "3g", "weight": 4_545}),
            ),
            ("G4", json!({"partition": "mig", "profile": "4g"})),
            ("G1m", json!({"partition": "mig", "profile": "1g+mem"})),
            (
                "R",
                json!({"tier": 1, "hours": 4, "reclaim": {"notice_s": 3_600, "compensation": 3,
                "max_times": 1, "min_run_s": 3_600, "restart_minutes": 30}}),
            ),
            ("V", json!({"zone": "va"})),
        ] {
            let mut line = json!({"op": "instrument", "instrument": name, "class": "H100",
                "zone": "tx", "start": 100});
            for (field, value) in extra.as_object().into_iter().flatten() {
                line[field.as_str()] = value.clone();
            }
            self.push(line);
        }
        if self.rng.random_bool(0.3) {
            self.push(json!({"op": "instrument", "instrument": "plain"}));
        }
    }

    fn catalog(&mut self, version: i64, factor: i64, stake: i64) {
        self.push(json!({"op": "catalog", "version": version,
            "classes": [{"class": "H100", "slices": 7, "stake": stake}, {"class": "H200", "slices": 7}],
            "zones": ["tx", "va"],
            "efficiency": [
                {"class": "H100", "workload": "inf"},
                {"class": "H200", "workload": "inf", "factor": factor},
                {"class": "H100", "partition": "time_slice", "profile": "1/2", "workload": "inf", "share": 5_000, "overhead": 2_400},
                {"class": "H100", "partition": "mig", "profile": "1g", "workload": "inf", "share": 1_212},
                {"class": "H100", "partition": "mig", "profile": "2g", "workload": "inf", "share": 2_424, "overhead": -100},
                {"class": "H100", "partition": "mig", "profile": "3g", "workload": "inf", "share": 4_545, "overhead": 300},
                {"class": "H200", "workload": "train"}]}));
    }

    fn command(&mut self) {
        match self.rng.random_range(0..100) {
            0..26 => self.sell(),
            26..44 => self.buy(),
            44..54 if self.kinds[0] => self.sub(),
            54..61 if self.kinds[1] => self.block(),
            61..68 if self.kinds[2] => self.carve(),
            68..72 if self.kinds[3] => self.rfq(),
            72..77 if self.kinds[3] => self.quote(),
            77..78 if self.kinds[3] => self.award(),
            78..81 if self.kinds[4] => self.preempt(),
            81..85 => self.cancel(),
            85..87 => self.change(),
            87..90 if self.kinds[5] => self.phase(),
            90..91 => self.limit(),
            91..92 => self.time(),
            92..93 => {
                let pool = POOLS.choose(&mut self.rng).map_or("a", |pool| pool.0);
                self.attest(pool);
            }
            93..94 => self.time(),
            94..96 if self.kinds[6] => self.mass_quote(),
            96..99 => self.question(),
            99 if self.rng.random_bool(0.3) => {
                let factor = self.rng.random_range(10_000..16_000);
                let version = self.rng.random_range(1..=4);
                self.catalog(version, factor, 0);
            }
            _ => self.sell(),
        }
    }

    fn sell(&mut self) {
        let contract = self.contract();
        let lease = self.leases > 0 && self.rng.random_bool(0.25);
        let pools = CONTRACTS
            .iter()
            .find(|known| known.0 == contract)
            .map_or(&[][..], |c| c.1);
        let id = self.id();
        let mut line = json!({"op": "new", "id": id, "instrument": contract, "side": "sell",
            "qty": self.lots()});
        if lease {
            line["lease"] = self.rng.random_range(1..=self.leases).into();
            line["party"] = (*BUYERS.choose(&mut self.rng).unwrap_or(&"mm")).into();
        } else {
            let fitting = pools
                .choose(&mut self.rng)
                .filter(|_| self.rng.random_bool(0.97));
            let pool = match fitting {
                Some(pool) => POOLS.iter().find(|known| known.0 == *pool).copied(),
                None => POOLS.choose(&mut self.rng).copied(),
            }
            .unwrap_or(POOLS[0]);
            line["pool"] = pool.0.into();
            line["party"] = pool.1.into();
        }
        self.price_and_life(&mut line, contract, lease);
        self.push(line);
    }

    fn buy(&mut self) {
        let contract = self.contract();
        let mut line = json!({"op": "new", "id": self.id(), "party": self.buyer(),
            "instrument": contract, "side": "buy", "qty": self.lots()});
        self.price_and_life(&mut line, contract, true);
        self.leases += 1;
        self.push(line);
    }

    /// Type, price, time in force, and now and then a condition; `stp` where no carve is the party's.
    fn price_and_life(&mut self, line: &mut Value, contract: &str, stp: bool) {
        if self.rng.random_bool(0.06) {
            line["type"] = "market".into();
        } else {
            line["price"] = self.price(contract).into();
            match self.rng.random_range(0..20) {
                0..2 => line["tif"] = "ioc".into(),
                2..4 => line["tif"] = "fok".into(),
                4 => {
                    line["tif"] = "gtd".into();
                    line["expire"] = ((self.clock + self.rng.random_range(0..4)) * HOUR).into();
                }
                5 => line["tif"] = "day".into(),
                6 => line["post_only"] = true.into(),
                7 => line["min_qty"] = 1.into(),
                _ => {}
            }
        }
        if stp && self.rng.random_bool(0.1) {
            let modes = ["cancel_new", "cancel_old", "cancel_both", "decrement"];
            line["stp"] = (*modes.choose(&mut self.rng).unwrap_or(&"cancel_new")).into();
        }
    }

    fn need(&mut self, line: &mut Value, stake: bool) {
        if self.rng.random_bool(0.6) {
            return;
        }
        let mut need = json!({});
        match self.rng.random_range(0..7) {
            0 => {
                need["isolation"] = (*["vm", "hardware", "device"]
                    .choose(&mut self.rng)
                    .unwrap_or(&"vm"))
                .into()
            }
            1 => need["min_notice_s"] = self.rng.random_range(3_500..3_700).into(),
            2 => {
                need["exclude"] = json!([*["dc1", "dc2", "dc3"]
                    .choose(&mut self.rng)
                    .unwrap_or(&"dc1")])
            }
            3 => need["min_score"] = 8_000.into(),
            4 if stake => need["max_age_s"] = 7_200.into(),
            5 if stake => need["min_stake"] = 60.into(),
            _ => need = json!({"min_score": 7_000, "exclude": ["dc2"]}),
        }
        line["need"] = need;
    }

    fn sub(&mut self) {
        let work = self.rng.random_bool(0.4);
        let window = *[(100, 1), (100, 1), (100, 1), (100, 4), (102, 1)]
            .choose(&mut self.rng)
            .unwrap_or(&(100, 1));
        let mut line = json!({"op": "sub", "id": self.id(), "party": self.buyer(), "start": window.0,
            "hours": window.1, "qty": self.lots(), "limit": self.centre("W") + self.rng.random_range(-self.spread..=self.spread + 3)});
        line["workload"] = (if self.rng.random_bool(0.95) {
            "inf"
        } else {
            "train"
        })
        .into();
        if work {
            line["mode"] = "work".into();
        }
        let legs: Vec<Value> = (0..self.rng.random_range(1..=2))
            .map(|_| match self.rng.random_range(0..6) {
                0 => json!({"class": ["H100"], "bias": self.rng.random_range(-3..=3)}),
                1 => json!({"class": ["H200"], "bias": self.rng.random_range(-3..=3)}),
                2 => json!({"partition": ["mig", "time_slice"]}),
                3 => json!({"zone": ["tx"], "min_tier": 2}),
                4 => json!({"profile": ["1g", "3g"], "bias": 1}),
                _ => json!({}),
            })
            .collect();
        line["legs"] = legs.into();
        match self.rng.random_range(0..10) {
            0..2 => line["tif"] = "ioc".into(),
            2..4 => line["tif"] = "fok".into(),
            _ => {}
        }
        self.need(&mut line, true);
        self.leases += 1;
        self.push(line);
    }

    fn block(&mut self) {
        let strip = self.rng.random_bool(0.7);
        let mut line = json!({"op": "block", "id": self.id(), "party": self.buyer(),
            "qty": self.rng.random_range(1..=4)});
        if strip {
            let first = self.rng.random_range(0..2);
            line["instrument"] = format!("s.{first}").into();
            line["windows"] = self.rng.random_range(1..=3 - first).into();
            line["flex"] = self.rng.random_range(0..=1).into();
            line["moves"] = self.rng.random_range(0..=2).into();
            line["fee"] = self.rng.random_range(0..=2).into();
        } else {
            line["instrument"] = self.contract().into();
        }
        let levels = ["pool", "node", "nvlink", "leaf", "site", "zone", "device"];
        line["level"] = (*levels.choose(&mut self.rng).unwrap_or(&"pool")).into();
        let contract = line["instrument"].as_str().unwrap_or("W").to_owned();
        let limit = self.price(&contract) + 1;
        if self.rng.random_bool(0.7) {
            line["limit"] = limit.into();
        } else {
            let lots = line["qty"].as_i64().unwrap_or(1) * line["windows"].as_i64().unwrap_or(1);
            line["limit_total"] = (limit * lots).into();
        }
        self.need(&mut line, true);
        self.leases += 1;
        self.push(line);
    }

    fn carve(&mut self) {
        let (pool, party) = *[("a", "dc1"), ("b", "dc2"), ("c", "dc1"), ("h", "dc3")]
            .choose(&mut self.rng)
            .unwrap_or(&("a", "dc1"));
        let mut prices = json!({});
        for (profile, contract) in [
            ("1g", "G1"),
            ("2g", "G2"),
            ("3g", "G3"),
            ("4g", "G4"),
            ("1g+mem", "G1m"),
        ] {
            if self.rng.random_bool(0.6) {
                prices[profile] = (self.price(contract) + self.spread).into();
            }
        }
        if prices.as_object().is_none_or(serde_json::Map::is_empty) {
            prices["1g"] = (self.price("G1") + self.spread).into();
        }
        let line = json!({"op": "carve", "id": self.id(), "party": party, "pool": pool, "start": 100, "prices": prices});
        self.push(line);
    }

    fn rfq(&mut self) {
        let contract = *["W", "R", "R", "s.0", "H2"]
            .choose(&mut self.rng)
            .unwrap_or(&"R");
        let id = self.id();
        let mut line = json!({"op": "rfq", "id": id, "party": self.buyer(), "instrument": contract,
            "qty": self.rng.random_range(1..=4), "price": self.price(contract) + self.spread,
            "closes": (self.clock + self.rng.random_range(0..4)) * HOUR + 5});
        if self.rng.random_bool(0.3) {
            line["auto"] = false.into();
        }
        if self.rng.random_bool(0.3) {
            line["level"] = "node".into();
        }
        if self.rng.random_bool(0.1) {
            line["max_quotes"] = 1.into();
        }
        self.need(&mut line, false);
        self.requests.push((id, contract));
        self.leases += 1;
        self.push(line);
    }

    fn quote(&mut self) {
        let recent = self.requests.len().saturating_sub(3);
        let Some(&(rfq, contract)) = self.requests[recent..].choose(&mut self.rng) else {
            return self.rfq();
        };
        let pools = CONTRACTS
            .iter()
            .find(|known| known.0 == contract)
            .map_or(&["a"][..], |c| c.1);
        let wanted = pools.choose(&mut self.rng).copied().unwrap_or("a");
        let pool = POOLS
            .iter()
            .find(|known| known.0 == wanted)
            .copied()
            .unwrap_or(POOLS[0]);
        let id = self.id();
        let mut line = json!({"op": "quote", "id": id, "party": pool.1, "rfq": rfq, "pool": pool.0,
            "price": self.price(contract)});
        if contract == "R" && self.rng.random_bool(0.4) {
            line["notice_s"] = self.rng.random_range(3_500..3_800).into();
        }
        self.quotes.push((rfq, id));
        self.push(line);
    }

    fn award(&mut self) {
        let recent = self.quotes.len().saturating_sub(4);
        let Some(&(rfq, quote)) = self.quotes[recent..].choose(&mut self.rng) else {
            return;
        };
        let party = self.buyer();
        self.push(json!({"op": "award", "rfq": rfq, "quote": quote, "party": party}));
    }

    fn preempt(&mut self) {
        if self.rng.random_bool(0.5) {
            self.focus = "R";
            self.sell();
            self.buy();
        }
        let line = json!({"op": "preempt", "id": self.id(), "party": self.buyer(), "instrument": "R",
            "qty": self.rng.random_range(1..=4), "price": self.price("R") + self.rng.random_range(0..60),
            "from": self.rng.random_range(99..=104)});
        self.leases += 1;
        self.push(line);
    }

    fn cancel(&mut self) {
        if self.rng.random_bool(0.07) {
            let party = self.party();
            return self.push(json!({"op": "mass_cancel", "party": party}));
        }
        let id = self.known_id();
        self.push(json!({"op": "cancel", "id": id}));
    }

    fn change(&mut self) {
        let id = self.known_id();
        let line = if self.rng.random_bool(0.3) {
            json!({"op": "reduce", "id": id, "by": self.lots()})
        } else if self.rng.random_bool(0.5) {
            let contract = self.contract();
            json!({"op": "replace", "id": id, "price": self.price(contract)})
        } else {
            json!({"op": "replace", "id": id, "qty": self.lots()})
        };
        self.push(line);
    }

    fn phase(&mut self) {
        let contract = self.contract();
        let phases = ["continuous", "continuous", "auction", "auction", "halt"];
        let phase = *phases.choose(&mut self.rng).unwrap_or(&"continuous");
        // What has begun stays closed.
        if self.clock >= 100 {
            return self.sell();
        }
        self.push(json!({"op": "phase", "instrument": contract, "phase": phase}));
        if phase == "auction" && self.rng.random_bool(0.7) {
            self.focus = contract;
            for _ in 0..6 {
                self.sell();
                self.buy();
            }
            self.push(json!({"op": "phase", "instrument": contract, "phase": "continuous"}));
        }
    }

    fn limit(&mut self) {
        let most = self.rng.random_range(0..300_000);
        let party = self.buyer();
        self.push(json!({"op": "limit", "party": party, "max_weight": most}));
    }

    fn attest(&mut self, pool: &str) {
        let until = (self.clock + self.rng.random_range(1..160)) * HOUR + 7;
        let mut line = json!({"op": "attest", "pool": pool, "qty": self.rng.random_range(1..=6), "until": until});
        if self.rng.random_bool(0.5) || self.clock == 0 {
            line["score"] = self.rng.random_range(6_000..=10_000).into();
            line["stake"] = self.rng.random_range(100..=400).into();
        }
        self.push(line);
    }

    fn time(&mut self) {
        self.clock += *[0, 1, 2, 30, 60].choose(&mut self.rng).unwrap_or(&1);
        let t = self.clock * HOUR;
        self.push(json!({"op": "time", "t": t}));
    }

    fn mass_quote(&mut self) {
        let contract = self.contract();
        let price = self.price(contract);
        let mut entry = json!({"instrument": contract, "bid_id": self.id(), "bid_price": price,
            "bid_qty": self.lots(), "ask_id": self.id(), "ask_price": price + self.rng.random_range(1..=3),
            "ask_qty": self.lots()});
        if self.leases > 0 {
            entry["lease"] = self.rng.random_range(1..=self.leases).into();
        }
        let keep = self.rng.random_bool(0.5);
        self.push(
            json!({"op": "mass_quote", "party": "mm", "quotes": [entry], "keep_priority": keep}),
        );
    }

    fn question(&mut self) {
        let contract = self.contract();
        let line = match self.rng.random_range(0..6) {
            0 => json!({"op": "depth", "instrument": contract}),
            1 => json!({"op": "pools", "instrument": contract}),
            2 => json!({"op": "leases"}),
            3 => json!({"op": "orders"}),
            4 => json!({"op": "leases", "party": self.buyer()}),
            _ => {
                let level = *["pool", "node", "nvlink"]
                    .choose(&mut self.rng)
                    .unwrap_or(&"pool");
                json!({"op": "gang_depth", "instrument": contract, "level": level})
            }
        };
        self.push(line);
    }

    fn push(&mut self, line: Value) {
        self.lines.push(line.to_string());
    }

    fn id(&mut self) -> i64 {
        if self.rng.random_bool(0.02) {
            return self.known_id();
        }
        self.next_id += 1;
        self.next_id
    }

    fn known_id(&mut self) -> i64 {
        (self.next_id - self.rng.random_range(0..20)).max(1)
    }

    fn contract(&mut self) -> &'static str {
        if self.rng.random_bool(0.4) {
            return self.focus;
        }
        let chosen = CONTRACTS
            .choose(&mut self.rng)
            .map_or("W", |contract| contract.0);
        if self.rng.random_bool(0.1) {
            self.focus = chosen;
        }
        chosen
    }

    fn buyer(&mut self) -> &'static str {
        BUYERS.choose(&mut self.rng).copied().unwrap_or("lab")
    }

    fn party(&mut self) -> &'static str {
        let all = ["dc1", "dc2", "dc3", "dc4", "lab", "fund", "mm"];
        all.choose(&mut self.rng).copied().unwrap_or("lab")
    }

    fn lots(&mut self) -> i64 {
        self.rng.random_range(1..=5)
    }

    /// Where the prices of a contract are: an H100 costs 100.
    fn centre(&self, contract: &str) -> i64 {
        match contract {
            "H2" => 143,
            "TS" => 38,
            "G1" => 12,
            "G1m" => 19,
            "G2" => 24,
            "G3" => 44,
            "G4" => 48,
            _ => 100,
        }
    }

    fn price(&mut self, contract: &str) -> i64 {
        let spread = self.spread;
        let price = self.centre(contract) + self.rng.random_range(-spread..=spread);
        // The series may have a tick of 2.
        if contract.starts_with("s.") {
            price / 2 * 2
        } else {
            price
        }
    }
}
