//! Compute contracts in the plain model, written from `docs/contracts.md` alone.
//!
//! What may be sold is worked out from the list of sales each time, every ask of a book is looked at,
//! substitution tries whole plans on a copy of the exchange, blocks try every sequence of domains, and
//! a device is packed by trying every placement.
//!
//! `form` reads the commands, `device` has the slices, `inventory` pools and leases, `sub`, `block`,
//! `carve`, `rfq` and `preempt` one command each; this file has the catalog, the books, and how an
//! order meets what rests in them.

mod block;
mod carve;
pub mod device;
mod form;
mod inventory;
mod preempt;
mod rfq;
mod sub;

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tessera::script::{ScriptCommand, parse_line};
use tessera_types::{NewOrder, OrdType, SelfMatch};

use super::book::{Order, State, Traded, accepts};
use super::lines::quoted;
use super::{Model, Phase, Side};

use carve::Carve;
use form::Fields;
pub(super) use inventory::Backing;
use inventory::{Lease, Pool};
use rfq::{Quote, Rfq};
use sub::Sub;

/// The word of a reject.
pub(super) type Refused = &'static str;

/// Everything about contracts that is not in the books.
#[derive(Clone, Debug, Default)]
pub(super) struct Contracts {
    catalog: Option<Catalog>,
    pools: Vec<Pool>,
    /// Lease n is at n - 1.
    leases: Vec<Lease>,
    /// Live group orders and quotes, in order of acceptance.
    groups: Vec<Group>,
    /// Largest weight by party.
    limits: BTreeMap<String, i128>,
    /// How often a party was displaced, by contract.
    displaced: BTreeMap<(String, usize), i64>,
}

#[derive(Clone, Debug)]
struct Catalog {
    version: i64,
    tick: i64,
    classes: Vec<(String, i64, i64)>,
    zones: Vec<String>,
    efficiency: Vec<Efficiency>,
}

#[derive(Clone, Debug)]
struct Efficiency {
    class: String,
    partition: usize,
    profile: Option<String>,
    workload: String,
    share: i64,
    overhead: i64,
    factor: i64,
}

/// The coordinate of a contract, and what else it says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Terms {
    class: String,
    /// By isolation: time_slice, vgpu, mig, whole, tee.
    partition: usize,
    profile: Option<String>,
    tier: i64,
    zone: String,
    start: i64,
    hours: i64,
    weight: i64,
    reclaim: Option<Reclaim>,
    /// Rule 4 has closed it.
    begun: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Reclaim {
    notice_s: i64,
    compensation: i64,
    max_times: i64,
    min_run_s: i64,
    restart_minutes: i64,
}

/// An order that is in no single book, or a quote for a request.
#[derive(Clone, Debug)]
struct Group {
    id: u64,
    party: String,
    age: u64,
    /// Its place in the queues of its shadows.
    place: u64,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Sub(Sub),
    Carve(Carve),
    Rfq(Rfq),
    Quote(Quote),
}

/// Section 4.
#[derive(Clone, Debug, Default)]
struct Need {
    isolation: usize,
    min_notice_s: i64,
    exclude: Vec<String>,
    min_score: i64,
    max_age_s: Option<i64>,
    min_stake: i64,
}

/// A sell that rests in a book: an order, or one profile of a carve.
#[derive(Clone, Debug)]
struct Ask {
    price: i64,
    place: u64,
    /// Of the order or the carve.
    age: u64,
    is_carve: bool,
    party: String,
    lots: u64,
    pool: usize,
    lease: Option<usize>,
    notice_s: i64,
}

/// What an order meets in a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Maker {
    Order(u64),
    Shadow(u64),
    Implied(u64),
}

/// What a sell names as its backing.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    pub(super) pool: Option<String>,
    pub(super) lease: Option<i64>,
}

impl Named {
    /// What a line says beside the fields of a plain order.
    fn take(fields: &mut Fields) -> Result<Self, Refused> {
        let named = Self {
            pool: fields.name_or_none("pool")?,
            lease: fields.int_or_none("lease", 1, MOST_LOTS)?,
        };
        match (&named.pool, named.lease) {
            (Some(_), Some(_)) => Err("bad_field"),
            _ => Ok(named),
        }
    }

    pub(super) fn is_there(&self) -> bool {
        self.pool.is_some() || self.lease.is_some()
    }
}

impl Need {
    fn read(fields: Option<Fields>) -> Result<Self, Refused> {
        let Some(mut fields) = fields else {
            return Ok(Self::default());
        };
        let need = Self {
            isolation: fields.word("isolation", &ISOLATION)?.unwrap_or(0),
            min_notice_s: fields.int_or("min_notice_s", 0, MOST_NOTICE, 0)?,
            exclude: fields.names("exclude", 16)?.unwrap_or_default(),
            min_score: fields.int_or("min_score", 0, 10_000, 0)?,
            max_age_s: fields.int_or_none("max_age_s", 0, i64::from(u32::MAX))?,
            min_stake: fields.int_or("min_stake", 0, i64::MAX, 0)?,
        };
        fields.end()?;
        Ok(need)
    }
}

impl Terms {
    fn end(&self) -> i64 {
        self.start + self.hours
    }

    fn start_ns(&self) -> u64 {
        u64::try_from(self.start).expect("hours are positive") * HOUR_NS
    }

    fn notice_s(&self) -> i64 {
        self.reclaim.map_or(0, |reclaim| reclaim.notice_s)
    }

    fn fits(&self, pool: &Pool) -> bool {
        (&self.class, self.partition, &self.profile, &self.zone)
            == (&pool.class, pool.partition, &pool.profile, &pool.zone)
    }
}

impl Model {
    /// Runs the line when only contracts know it; says whether it did.
    pub(super) fn contract_line(&mut self, line: &str) -> bool {
        let Ok(Value::Object(map)) = serde_json::from_str::<Value>(line) else {
            return false;
        };
        let Some(op) = map.get("op").and_then(Value::as_str).map(str::to_owned) else {
            return false;
        };
        let on_contract = |field: &str| map.get(field).is_some_and(|value| !value.is_null());
        let ours = match op.as_str() {
            "instrument" => CONTRACT_FIELDS.iter().any(|field| on_contract(field)),
            "new" => on_contract("pool") || on_contract("lease"),
            "mass_quote" => map.get("quotes").is_some_and(names_backing),
            op => OPS.contains(&op),
        };
        if !ours {
            return false;
        }
        let id = map.get("id").and_then(Value::as_u64);
        let mut fields = Fields::new(map);
        fields.take("op");
        match fields.int_or_none("t", 0, i64::MAX) {
            Err(reason) => {
                self.refuse(&op, reason, id);
                return true;
            }
            Ok(None) => {}
            Ok(Some(time)) => {
                let time = u64::try_from(time).expect("not negative");
                if time < self.clock {
                    self.refuse(&op, "time_backwards", id);
                    return true;
                }
                self.move_clock(time);
            }
        }
        let done = match op.as_str() {
            "catalog" => self.catalog(fields),
            "instrument" => self.list_contract(fields),
            "pool" => self.declare_pool(fields),
            "attest" => self.attest(fields),
            "pools" => self.print_pools(fields),
            "leases" => self.print_leases(fields),
            "limit" => self.set_limit(fields),
            "new" => self.new_with_backing(fields),
            "mass_quote" => self.quotes_with_backing(fields),
            "sub" => self.sub(fields),
            "block" => self.block(fields),
            "gang_depth" => self.print_gangs(fields),
            "carve" => self.carve(fields),
            "rfq" => self.rfq(fields),
            "quote" => self.quote_request(fields),
            "award" => self.award(fields),
            "preempt" => self.preempt(fields),
            _ => Err("unknown_op"),
        };
        if let Err(reason) = done {
            self.refuse(&op, reason, id);
        }
        true
    }

    pub(super) fn refuse(&mut self, op: &str, reason: &str, id: Option<u64>) {
        let id = id.map_or(String::new(), |id| format!(r#","id":{id}"#));
        self.say(
            "rejected",
            &format!(r#""op":"{op}","reason":"{reason}"{id}"#),
        );
    }

    pub(super) fn is_contract(&self, instrument: usize) -> bool {
        self.listings[instrument].contract.is_some()
    }

    fn terms(&self, contract: usize) -> &Terms {
        self.listings[contract]
            .contract
            .as_ref()
            .expect("a contract")
    }

    fn contract_named(&self, name: &str) -> Result<usize, Refused> {
        let at = self.find_instrument(name).ok_or("unknown_instrument")?;
        if self.is_contract(at) {
            Ok(at)
        } else {
            Err("bad_field")
        }
    }

    /// All contracts, by ContractId.
    fn contracts(&self) -> Vec<usize> {
        (0..self.listings.len())
            .filter(|&at| self.is_contract(at))
            .collect()
    }

    pub(super) fn id_is_live(&self, id: u64) -> bool {
        self.orders.iter().any(|order| order.id == id)
            || self.contracts.groups.iter().any(|group| group.id == id)
    }

    fn catalog(&mut self, mut fields: Fields) -> Result<(), Refused> {
        let version = fields.int("version", 0, i64::from(u16::MAX))?;
        let tick = fields.int_or_none("tick_micro_usd", 60, i64::from(u32::MAX))?;
        if tick.is_some_and(|tick| tick % 60 != 0) {
            return Err("bad_field");
        }
        let mut classes = Vec::new();
        for mut class in fields.objects("classes")?.unwrap_or_default() {
            let name = class.name("class")?;
            let slices = class.int_or("slices", 0, 7, 0)?;
            if slices != 0 && slices != 7 {
                return Err("bad_field");
            }
            let stake = class.int_or("stake", 0, i64::MAX, 0)?;
            class.end()?;
            classes.push((name, slices, stake));
        }
        let zones = fields.names("zones", 64)?.unwrap_or_default();
        let mut efficiency = Vec::new();
        for mut row in fields.objects("efficiency")?.unwrap_or_default() {
            efficiency.push(Efficiency {
                class: row.name("class")?,
                partition: row.word("partition", &PARTITIONS)?.unwrap_or(WHOLE),
                profile: row.name_or_none("profile")?,
                workload: row.name("workload")?,
                share: row.int_or("share", 0, 1 << 20, 10_000)?,
                overhead: row.int_or("overhead", i64::from(i32::MIN), i64::from(i32::MAX), 0)?,
                factor: row.int_or("factor", 0, 1 << 20, 10_000)?,
            });
            row.end()?;
        }
        fields.end()?;
        let tick = tick.unwrap_or(60);
        if let Some(old) = &self.contracts.catalog {
            if version <= old.version {
                return Err("stale_version");
            }
            if tick != old.tick {
                return Err("bad_field");
            }
        }
        self.contracts.catalog = Some(Catalog {
            version,
            tick,
            classes,
            zones,
            efficiency,
        });
        self.say("catalog", &format!(r#""version":{version}"#));
        Ok(())
    }

    /// Number of hardware slices and stake per device, when the class is known.
    fn class(&self, name: &str) -> Result<(i64, i64), Refused> {
        let catalog = self.contracts.catalog.as_ref();
        let classes = catalog.map_or(&[][..], |catalog| &catalog.classes[..]);
        let found = classes.iter().find(|class| class.0 == name);
        found.map(|class| (class.1, class.2)).ok_or("unknown_class")
    }

    fn check_zone(&self, name: &str) -> Result<(), Refused> {
        let catalog = self.contracts.catalog.as_ref();
        let known = catalog.is_some_and(|catalog| catalog.zones.iter().any(|zone| zone == name));
        if known { Ok(()) } else { Err("unknown_zone") }
    }

    fn list_contract(&mut self, mut fields: Fields) -> Result<(), Refused> {
        let name = fields.name("instrument")?;
        let mut plain = Map::new();
        plain.insert("op".to_owned(), "instrument".into());
        plain.insert("instrument".to_owned(), name.clone().into());
        for field in ["tick", "min_price", "max_price", "min_qty", "max_qty"] {
            if let Some(value) = fields.take(field) {
                plain.insert(field.to_owned(), value);
            }
        }
        let class = fields.name("class")?;
        let zone = fields.name("zone")?;
        let partition = fields.word("partition", &PARTITIONS)?.unwrap_or(WHOLE);
        let profile = fields.name_or_none("profile")?;
        if profile.is_none() && partition < WHOLE {
            return Err("missing_field");
        }
        if profile.is_some() && partition >= WHOLE {
            return Err("bad_field");
        }
        let tier = fields.int_or("tier", 0, 4, 2)?;
        let start = fields.int("start", 0, i64::from(u32::MAX))?;
        let hours = fields.int_or("hours", 1, 8_784, 1)?;
        let windows = fields.int_or("windows", 1, 720, 1)?;
        let weight = fields.int_or("weight", 1, MOST_LOTS, 10_000)?;
        let reclaim = match fields.object("reclaim")? {
            None => None,
            Some(mut reclaim) => {
                let read = Reclaim {
                    notice_s: reclaim.int("notice_s", 0, MOST_NOTICE)?,
                    compensation: reclaim.int_or("compensation", 0, MOST_PRICE, 0)?,
                    max_times: reclaim.int_or("max_times", 0, i64::from(u32::MAX), 1)?,
                    min_run_s: reclaim.int_or("min_run_s", 0, i64::from(u32::MAX), 0)?,
                    restart_minutes: reclaim.int_or(
                        "restart_minutes",
                        0,
                        i64::from(u32::MAX),
                        0,
                    )?,
                };
                reclaim.end()?;
                Some(read)
            }
        };
        fields.end()?;
        if reclaim.is_some() && tier > 1 {
            return Err("bad_field");
        }
        let text = Value::Object(plain).to_string();
        let listing = match parse_line(text.as_bytes()) {
            Ok(Some(line)) => match line.command {
                ScriptCommand::Instrument(listing) => *listing,
                _ => unreachable!("the line says instrument"),
            },
            Ok(None) => unreachable!("the line is not empty"),
            Err(bad) => return Err(bad.reason.as_str()),
        };
        let (slices, _) = self.class(&class)?;
        self.check_zone(&zone)?;
        if partition == MIG && !self.is_mig_profile(slices, profile.as_deref()) {
            return Err("unknown_profile");
        }
        if u64::try_from(start).expect("not negative") * HOUR_NS <= self.clock {
            return Err("closed");
        }
        let names: Vec<String> = match windows {
            1 => vec![name],
            _ => (0..windows)
                .map(|window| format!("{name}.{window}"))
                .collect(),
        };
        if names
            .iter()
            .any(|name| self.find_instrument(name).is_some())
        {
            return Err("duplicate_instrument");
        }
        let terms = |window: i64| Terms {
            class: class.clone(),
            partition,
            profile: profile.clone(),
            tier,
            zone: zone.clone(),
            start: start + window * hours,
            hours,
            weight,
            reclaim,
            begun: false,
        };
        let taken = (0..windows).any(|window| {
            let wanted = coordinate(&terms(window));
            self.contracts()
                .iter()
                .any(|&at| coordinate(self.terms(at)) == wanted)
        });
        if taken {
            return Err("duplicate_contract");
        }
        for (window, name) in (0..windows).zip(names) {
            let mut listing = listing;
            listing.name = tessera_types::Name::new(&name).map_err(|_| "bad_field")?;
            self.list(listing);
            self.listings.last_mut().expect("just listed").contract = Some(terms(window));
            self.say("instrument", &format!(r#""instrument":{}"#, quoted(&name)));
        }
        Ok(())
    }

    fn is_mig_profile(&self, slices: i64, profile: Option<&str>) -> bool {
        slices == 7
            && device::PROFILES
                .iter()
                .any(|known| Some(known.0) == profile)
    }

    /// Rule 1.
    fn eta(&self, contract: usize, workload: &str) -> i64 {
        let terms = self.terms(contract);
        let Some(catalog) = &self.contracts.catalog else {
            return 0;
        };
        let row = catalog.efficiency.iter().rev().find(|row| {
            (&row.class, row.partition, &row.profile)
                == (&terms.class, terms.partition, &terms.profile)
                && row.workload == workload
        });
        let Some(row) = row else { return 0 };
        let share = i128::from(row.share) * (10_000 - i128::from(row.overhead));
        let eta = (share.div_euclid(10_000) * i128::from(row.factor)).div_euclid(10_000);
        i64::try_from(eta).expect("bounded factors")
    }

    /// Rule 5, and the form of what a sell names.
    pub(super) fn check_named(
        &self,
        instrument: usize,
        new: &NewOrder,
        named: &Named,
    ) -> Result<(), Refused> {
        if !self.is_contract(instrument) {
            return if named.is_there() {
                Err("bad_field")
            } else {
                Ok(())
            };
        }
        let plain = matches!(new.ord_type, OrdType::Limit | OrdType::Market)
            && !new.exec_inst.contains(tessera_types::ExecInst::ALL_OR_NONE)
            && new.budget.is_none();
        match (new.side, named.is_there()) {
            _ if !plain => Err("bad_field"),
            (Side::Buy, true) => Err("bad_field"),
            (Side::Sell, false) => Err("missing_field"),
            _ => Ok(()),
        }
    }

    /// Rule 48: a kept ask names the same pool or lease.
    pub(super) fn is_named(&self, backing: Option<Backing>, named: &Named) -> bool {
        match backing {
            None => true,
            Some(Backing::Pool(pool)) => {
                named.pool.as_ref() == Some(&self.contracts.pools[pool].name)
            }
            Some(Backing::Lease(lease)) => named.lease == i64::try_from(lease + 1).ok(),
        }
    }

    /// What comes after the plain checks: pool or lease, bounds, inventory or limit.
    pub(super) fn check_contract_order(
        &self,
        order: &Order,
        named: &Named,
    ) -> Result<Option<Backing>, Refused> {
        if order.side == Side::Buy {
            self.check_limit(&order.party, order.instrument, i128::from(order.open))?;
            return Ok(None);
        }
        let backing = self.backing(&order.party, order.instrument, named)?;
        if self.asks_on(backing) >= backing.most_asks() {
            return Err("too_many_orders");
        }
        if order.open > self.free_for(backing, order.instrument) {
            return Err("inventory");
        }
        Ok(Some(backing))
    }

    fn new_with_backing(&mut self, mut fields: Fields) -> Result<(), Refused> {
        let named = Named::take(&mut fields)?;
        let mut map: Map<String, Value> = fields.rest().into_iter().collect();
        map.insert("op".to_owned(), "new".into());
        let text = Value::Object(map).to_string();
        match parse_line(text.as_bytes()) {
            Ok(Some(line)) => match line.command {
                ScriptCommand::New {
                    party,
                    instrument,
                    order,
                    ..
                } => {
                    if order.side == Side::Buy {
                        return Err("bad_field");
                    }
                    let instrument = self.instrument(instrument.as_deref());
                    let instrument = instrument.map_err(|reason| reason.as_str())?;
                    self.new_order(&party, instrument, &order, false, &named)?;
                    self.finish(&[instrument]);
                    Ok(())
                }
                _ => unreachable!("the line says new"),
            },
            Ok(None) => unreachable!("the line is not empty"),
            Err(bad) => Err(bad.reason.as_str()),
        }
    }

    fn quotes_with_backing(&mut self, mut fields: Fields) -> Result<(), Refused> {
        let Some(Value::Array(entries)) = fields.take("quotes") else {
            return Err("bad_field");
        };
        let mut named = Vec::new();
        let mut plain = Vec::new();
        for entry in entries {
            let Value::Object(entry) = entry else {
                return Err("bad_field");
            };
            let mut entry = Fields::new(entry);
            named.push(Named::take(&mut entry));
            plain.push(Value::Object(entry.rest().into_iter().collect()));
        }
        let mut map: Map<String, Value> = fields.rest().into_iter().collect();
        map.insert("op".to_owned(), "mass_quote".into());
        map.insert("quotes".to_owned(), plain.into());
        let text = Value::Object(map).to_string();
        match parse_line(text.as_bytes()) {
            Ok(Some(line)) => self.mass_quote(line.command, &named),
            Ok(None) => unreachable!("the line is not empty"),
            Err(bad) => Err(bad.reason.as_str()),
        }
    }

    /// Rule 15.
    fn used(&self, party: &str) -> i128 {
        let mut used = 0;
        for order in &self.orders {
            if order.party == party && order.side == Side::Buy && self.is_contract(order.instrument)
            {
                used += i128::from(self.terms(order.instrument).weight) * i128::from(order.open);
            }
        }
        for group in self
            .contracts
            .groups
            .iter()
            .filter(|group| group.party == party)
        {
            used += match &group.kind {
                Kind::Rfq(rfq) => {
                    i128::from(self.terms(rfq.instrument).weight) * i128::from(rfq.qty)
                }
                Kind::Sub(sub) => self.sub_weight(sub),
                Kind::Carve(_) | Kind::Quote(_) => 0,
            };
        }
        for lease in self
            .contracts
            .leases
            .iter()
            .filter(|lease| lease.party == party)
        {
            let end = u64::try_from(lease.end).expect("hours are positive") * HOUR_NS;
            if self.clock < end {
                used += i128::from(self.terms(lease.contract).weight) * i128::from(lease.qty);
            }
        }
        used
    }

    /// Whether so many lots of a contract more are within the party's limit.
    pub(super) fn check_limit(
        &self,
        party: &str,
        contract: usize,
        lots: i128,
    ) -> Result<(), Refused> {
        self.check_weight(party, i128::from(self.terms(contract).weight) * lots)
    }

    fn check_weight(&self, party: &str, weight: i128) -> Result<(), Refused> {
        match self.contracts.limits.get(party) {
            Some(&most) if self.used(party) + weight > most => Err("limit"),
            _ => Ok(()),
        }
    }

    fn set_limit(&mut self, mut fields: Fields) -> Result<(), Refused> {
        let party = fields.name("party")?;
        let most = fields.int("max_weight", 0, i64::MAX)?;
        fields.end()?;
        self.contracts
            .limits
            .insert(party.clone(), i128::from(most));
        let used = self.used(&party);
        self.say(
            "limit",
            &format!(r#""party":{},"used":{used}"#, quoted(&party)),
        );
        Ok(())
    }

    /// The asks of a book, best first.
    fn asks(&self, contract: usize) -> Vec<Ask> {
        let mut asks = Vec::new();
        for order in &self.orders {
            if (order.instrument, order.side, order.state) != (contract, Side::Sell, State::Book) {
                continue;
            }
            let (Some(price), Some(backing)) = (order.price, order.backing) else {
                continue;
            };
            let (pool, lease) = match backing {
                Backing::Pool(pool) => (pool, None),
                Backing::Lease(lease) => (self.contracts.leases[lease].pool, Some(lease)),
            };
            asks.push(Ask {
                price,
                place: order.place,
                age: order.age,
                is_carve: false,
                party: order.party.clone(),
                lots: order.open,
                pool,
                lease,
                notice_s: lease.map_or(self.terms(contract).notice_s(), |lease| {
                    self.contracts.leases[lease].notice_s
                }),
            });
        }
        for group in &self.contracts.groups {
            if let Kind::Carve(carve) = &group.kind
                && let Some(&(profile, price)) = carve.prices.get(&contract)
                && carve.device.capacity(profile) > 0
            {
                asks.push(Ask {
                    price,
                    place: group.place,
                    age: group.age,
                    is_carve: true,
                    party: group.party.clone(),
                    lots: carve.device.capacity(profile),
                    pool: carve.pool,
                    lease: None,
                    notice_s: self.terms(contract).notice_s(),
                });
            }
        }
        asks.sort_by_key(|ask| (ask.price, ask.place));
        asks
    }

    /// The first predicate that an ask fails.
    fn refusal(&self, need: &Need, buyer: &str, contract: usize, ask: &Ask) -> Option<Refused> {
        if ask.party == buyer {
            return Some("self");
        }
        self.pool_refusal(need, buyer, contract, ask.pool, ask.notice_s)
    }

    fn pool_refusal(
        &self,
        need: &Need,
        buyer: &str,
        contract: usize,
        pool: usize,
        notice_s: i64,
    ) -> Option<Refused> {
        let pool = &self.contracts.pools[pool];
        let terms = self.terms(contract);
        let age_ns = self.clock - pool.attested_at;
        if pool.party == buyer {
            Some("self")
        } else if terms.partition < need.isolation {
            Some("isolation")
        } else if terms.reclaim.is_some() && notice_s < need.min_notice_s {
            Some("notice")
        } else if need.exclude.contains(&pool.party) {
            Some("exclude")
        } else if pool.score < need.min_score {
            Some("score")
        } else if need
            .max_age_s
            .is_some_and(|most| i128::from(age_ns) > i128::from(most) * SECOND_NS)
        {
            Some("age")
        } else if pool.attested == 0 && need.min_stake > 0
            || pool.attested > 0 && pool.stake / pool.attested < need.min_stake
        {
            Some("stake")
        } else {
            None
        }
    }

    /// An incoming order on a contract meets orders, shadows and implied asks; `groups_only` for one
    /// that rests already (rule 51).
    pub(super) fn match_on_contract(
        &mut self,
        taker: &mut Order,
        limit: Option<i64>,
        groups_only: bool,
    ) -> Traded {
        let mut sum = Traded::default();
        while taker.open > 0 && !sum.ended {
            let makers = self.contract_makers(taker, limit);
            let wanted =
                |maker: &&(i64, u64, Maker)| !groups_only || !matches!(maker.2, Maker::Order(_));
            let Some(&(_, _, maker)) = makers.iter().find(wanted) else {
                break;
            };
            match maker {
                Maker::Order(age) => self.meet_order(taker, age, &mut sum),
                Maker::Shadow(age) => self.meet_shadow(taker, age, &mut sum),
                Maker::Implied(age) => self.meet_carve(taker, age, &mut sum),
            }
        }
        sum
    }

    /// What an order may trade with, in price-time order.
    fn contract_makers(&self, taker: &Order, limit: Option<i64>) -> Vec<(i64, u64, Maker)> {
        let contract = taker.instrument;
        let mut makers = Vec::new();
        if taker.side == Side::Buy {
            for ask in self.asks(contract) {
                if accepts(Side::Buy, limit, ask.price) {
                    let maker = if ask.is_carve {
                        Maker::Implied(ask.age)
                    } else {
                        Maker::Order(ask.age)
                    };
                    makers.push((ask.price, ask.place, maker));
                }
            }
        } else {
            for order in &self.orders {
                if (order.instrument, order.side, order.state) == (contract, Side::Buy, State::Book)
                    && let Some(price) = order.price
                    && accepts(Side::Sell, limit, price)
                {
                    makers.push((-price, order.place, Maker::Order(order.age)));
                }
            }
            for group in &self.contracts.groups {
                if let Some((price, _)) = self.shadow(group, contract)
                    && accepts(Side::Sell, limit, price)
                    && self.shadow_takes(group, taker)
                {
                    makers.push((-price, group.place, Maker::Shadow(group.age)));
                }
            }
        }
        makers.sort_unstable();
        makers
    }

    /// Whether the need behind a shadow is met by a sell.
    fn shadow_takes(&self, group: &Group, sell: &Order) -> bool {
        let Kind::Sub(sub) = &group.kind else {
            return false;
        };
        let backing = sell.backing.expect("a sell on a contract is backed");
        let (pool, notice_s) = match backing {
            Backing::Pool(pool) => (pool, self.terms(sell.instrument).notice_s()),
            Backing::Lease(lease) => {
                let lease = &self.contracts.leases[lease];
                (lease.pool, lease.notice_s)
            }
        };
        sell.party != group.party
            && self
                .pool_refusal(&sub.need, &group.party, sell.instrument, pool, notice_s)
                .is_none()
    }

    fn meet_order(&mut self, taker: &mut Order, age: u64, sum: &mut Traded) {
        let index = self.index_of(age);
        if taker.self_match != SelfMatch::None && self.orders[index].party == taker.party {
            return self.prevent(taker, index, sum);
        }
        let maker = &mut self.orders[index];
        let price = maker.price.expect("orders in the book have a price");
        let qty = maker.open.min(taker.open);
        for order in [&mut *maker, taker] {
            order.open -= qty;
            order.filled += qty;
        }
        maker.slice = maker.open;
        let maker = maker.clone();
        if maker.open == 0 {
            self.orders.remove(index);
        }
        count(sum, price, qty);
        let (buyer, seller) = match taker.side {
            Side::Buy => (&*taker, &maker),
            Side::Sell => (&maker, &*taker),
        };
        let backing = seller.backing.expect("a sell on a contract is backed");
        let moved = self.transfer(taker.instrument, &buyer.party, backing, price, qty);
        let opens = (maker.open, i128::from(taker.open));
        let side = taker.side.as_str();
        self.say_lease_fill(
            taker.instrument,
            (maker.id, taker.id),
            price,
            qty,
            side,
            (i128::from(opens.0), opens.1),
            &moved,
        );
        self.shrink(backing);
    }

    fn meet_shadow(&mut self, taker: &mut Order, age: u64, sum: &mut Traded) {
        let at = self.group_at(age);
        let mut group = self.contracts.groups[at].clone();
        let contract = taker.instrument;
        let (price, shown) = self.shadow(&group, contract).expect("it was in the book");
        let qty = shown.min(taker.open);
        taker.open -= qty;
        taker.filled += qty;
        let Kind::Sub(sub) = &mut group.kind else {
            unreachable!("only subs have shadows");
        };
        sub.fill(contract, qty);
        let open = sub.open;
        if open == 0 {
            self.contracts.groups.remove(at);
        } else {
            self.contracts.groups[at] = group.clone();
        }
        count(sum, price, qty);
        let backing = taker.backing.expect("a sell on a contract is backed");
        let moved = self.transfer(contract, &group.party, backing, price, qty);
        let ids = (group.id, taker.id);
        self.say_lease_fill(
            contract,
            ids,
            price,
            qty,
            "sell",
            (open, i128::from(taker.open)),
            &moved,
        );
        self.shrink(backing);
    }

    fn meet_carve(&mut self, taker: &mut Order, age: u64, sum: &mut Traded) {
        let contract = taker.instrument;
        let party = taker.party.clone();
        let open = taker.open;
        let (price, qty) = self.carve_offer(age, contract);
        let qty = qty.min(open);
        taker.open -= qty;
        taker.filled += qty;
        count(sum, price, qty);
        self.sell_slices(
            age,
            contract,
            &party,
            taker.id,
            qty,
            i128::from(taker.open),
            None,
        );
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of the event")]
    pub(super) fn say_lease_fill(
        &mut self,
        contract: usize,
        (maker, taker): (u64, u64),
        price: i64,
        qty: u64,
        aggressor: &str,
        (maker_open, taker_open): (i128, i128),
        moved: &inventory::Moved,
    ) {
        let of = moved
            .of
            .map_or(String::new(), |of| format!(r#","of":{}"#, of + 1));
        let fields = format!(
            r#""instrument":{},"maker":{maker},"taker":{taker},"price":{price},"qty":{qty},"aggressor":"{aggressor}","maker_open":{maker_open},"taker_open":{taker_open},"lease":{},"pool":{}{of}"#,
            self.name(contract),
            moved.lease + 1,
            quoted(&self.contracts.pools[moved.pool].name),
        );
        self.say("fill", &fields);
        self.note_trade(contract, price);
    }

    /// Rule 51: what rests meets shadows and implied asks, oldest first.
    pub(super) fn meet_groups(&mut self, contract: usize) {
        let ages: Vec<u64> = self
            .orders
            .iter()
            .filter(|order| order.instrument == contract)
            .map(|order| order.age)
            .collect();
        for age in ages {
            let Some(index) = self.orders.iter().position(|order| order.age == age) else {
                continue;
            };
            let mut order = self.orders.remove(index);
            let limit = order.price;
            self.match_on_contract(&mut order, limit, true);
            if order.open > 0 {
                order.slice = order.open;
                self.keep(order);
            }
        }
    }

    /// What an order that would not cross must not meet.
    pub(super) fn would_meet(&self, order: &Order) -> bool {
        self.listings[order.instrument].phase == Phase::Continuous
            && !self.contract_makers(order, order.price).is_empty()
    }

    fn group_at(&self, age: u64) -> usize {
        let at = self
            .contracts
            .groups
            .iter()
            .position(|group| group.age == age);
        at.expect("the group order is live")
    }

    /// Takes a group order in: it rests from now on.
    fn rest_group(&mut self, mut group: Group) {
        group.place = self.next_place;
        self.next_place += 1;
        let at = self
            .contracts
            .groups
            .iter()
            .position(|other| other.age > group.age);
        let at = at.unwrap_or(self.contracts.groups.len());
        self.contracts.groups.insert(at, group);
    }

    /// Accepts a group order and gives it its age.
    fn accept(&mut self, id: u64, party: &str) -> u64 {
        let age = self.next_age;
        self.next_age += 1;
        self.say(
            "accepted",
            &format!(r#""id":{id},"party":{}"#, quoted(party)),
        );
        age
    }

    fn say_end(&mut self, event: &str, id: u64, qty: i128, reason: &str) {
        self.say(
            event,
            &format!(r#""id":{id},"qty":{qty},"reason":"{reason}""#),
        );
    }

    /// What the events call the open quantity of a group order.
    fn group_open(group: &Group) -> i128 {
        match &group.kind {
            Kind::Sub(sub) => sub.open,
            Kind::Carve(_) => 1,
            Kind::Rfq(rfq) => i128::from(rfq.qty),
            Kind::Quote(quote) => i128::from(quote.qty),
        }
    }

    /// Ends a group order; the quotes of a request follow at once.
    fn end_group(&mut self, age: u64, event: &str, reason: &str) {
        let group = self.contracts.groups.remove(self.group_at(age));
        self.say_end(event, group.id, Self::group_open(&group), reason);
        if let Kind::Rfq(_) = group.kind {
            for quote in self.quotes_of(age) {
                self.end_group(quote, "canceled", "rfq_ended");
            }
        }
    }

    /// Cancels a live group order by id; says whether there is one of that party.
    pub(super) fn cancel_group(&mut self, id: u64, party: Option<&str>) -> bool {
        let found = self
            .contracts
            .groups
            .iter()
            .find(|group| group.id == id && party.is_none_or(|party| party == group.party));
        let age = found.map(|group| group.age);
        if let Some(age) = age {
            self.end_group(age, "canceled", "user");
        }
        age.is_some()
    }

    pub(super) fn has_group(&self, id: u64, party: Option<&str>) -> bool {
        self.contracts
            .groups
            .iter()
            .any(|group| group.id == id && party.is_none_or(|party| party == group.party))
    }

    /// Ages of the group orders that a mass cancel ends.
    pub(super) fn groups_filtered(
        &self,
        party: Option<&str>,
        instrument: Option<usize>,
        side: Option<Side>,
    ) -> Vec<u64> {
        self.contracts
            .groups
            .iter()
            .filter(|group| party.is_none_or(|party| party == group.party))
            .filter(|group| {
                let of = match &group.kind {
                    Kind::Rfq(rfq) => (Side::Buy, Some(rfq.instrument)),
                    Kind::Quote(quote) => (Side::Sell, Some(quote.instrument)),
                    Kind::Sub(_) => (Side::Buy, None),
                    Kind::Carve(_) => (Side::Sell, None),
                };
                side.is_none_or(|side| side == of.0) && (instrument.is_none() || instrument == of.1)
            })
            .map(|group| group.age)
            .collect()
    }

    /// Ends one of them unless an earlier end took it along; says whether it did.
    pub(super) fn mass_cancel_group(&mut self, age: u64) -> bool {
        let live = self.contracts.groups.iter().any(|group| group.age == age);
        if live {
            self.end_group(age, "canceled", "mass_cancel");
        }
        live
    }

    /// The `order` events of group orders, by id.
    pub(super) fn group_lines(
        &self,
        party: Option<&str>,
        instrument: Option<usize>,
    ) -> Vec<(u64, String)> {
        let ages = self.groups_filtered(party, instrument, None);
        ages.into_iter()
            .map(|age| {
                let group = &self.contracts.groups[self.group_at(age)];
                let (kind, qty) = match &group.kind {
                    Kind::Sub(sub) => ("sub", i128::from(sub.qty)),
                    Kind::Carve(_) => ("carve", 1),
                    Kind::Rfq(rfq) => ("rfq", i128::from(rfq.qty)),
                    Kind::Quote(quote) => ("quote", i128::from(quote.qty)),
                };
                let fields = format!(
                    r#""id":{},"party":{},"kind":"{kind}","qty":{qty},"open":{}"#,
                    group.id,
                    quoted(&group.party),
                    Self::group_open(group)
                );
                (group.id, fields)
            })
            .collect()
    }

    /// What group orders show in the books.
    pub(super) fn show_groups(&self, levels: &mut BTreeMap<(usize, Side, i64), (u64, u64)>) {
        for contract in self.contracts() {
            let shadows = self.contracts.groups.iter().filter_map(|group| {
                let (price, lots) = self.shadow(group, contract)?;
                Some((Side::Buy, price, lots))
            });
            let implied = self.asks(contract).into_iter().filter(|ask| ask.is_carve);
            let implied = implied.map(|ask| (Side::Sell, ask.price, ask.lots));
            for (side, price, lots) in shadows.chain(implied) {
                let level: &mut (u64, u64) = levels.entry((contract, side, price)).or_default();
                level.0 += lots;
                level.1 += 1;
            }
        }
    }

    /// A restart: attestations that would have lapsed by `time` lapse at `until`.
    pub(super) fn extend_attestations(&mut self, time: u64, until: u64) {
        for pool in &mut self.contracts.pools {
            if pool.until.is_some_and(|end| end <= time) {
                pool.until = Some(until);
            }
        }
    }

    /// What is due next of what only contracts have: (time, kind, number) of rule 12.
    pub(super) fn contract_deadline(&self) -> Option<(u64, u8, u64)> {
        let lapses = self
            .contracts
            .pools
            .iter()
            .enumerate()
            .filter_map(|(at, pool)| Some((pool.until?, 0, at as u64)));
        let closes = self
            .contracts
            .groups
            .iter()
            .filter_map(|group| match &group.kind {
                Kind::Rfq(rfq) => Some((rfq.closes, 2, group.age)),
                _ => None,
            });
        let starts = self.contracts().into_iter().filter_map(|at| {
            let terms = self.terms(at);
            (!terms.begun).then_some((terms.start_ns(), 3, at as u64))
        });
        lapses.chain(closes).chain(starts).min()
    }

    /// What is due happens; the clock is at its time.
    pub(super) fn contract_due(&mut self, kind: u8, number: u64) {
        match kind {
            0 => self.lapse(usize::try_from(number).expect("an index")),
            2 => self.close_request(number),
            _ => self.begin(usize::try_from(number).expect("an index")),
        }
    }

    /// Rule 4.
    fn begin(&mut self, contract: usize) {
        self.listings[contract]
            .contract
            .as_mut()
            .expect("a contract")
            .begun = true;
        self.set_phase(contract, Phase::Closed);
        let fields = format!(r#""instrument":{},"phase":"closed""#, self.name(contract));
        self.say("phase", &fields);
        let mut ages: Vec<(u64, bool)> = self
            .orders
            .iter()
            .filter(|order| order.instrument == contract)
            .map(|order| (order.age, false))
            .collect();
        for group in &self.contracts.groups {
            let includes = match &group.kind {
                Kind::Sub(sub) => sub.entries.iter().any(|entry| entry.contract == contract),
                Kind::Carve(carve) => carve.prices.contains_key(&contract),
                Kind::Rfq(rfq) => rfq.instrument == contract,
                Kind::Quote(_) => false,
            };
            if includes {
                ages.push((group.age, true));
            }
        }
        ages.sort_unstable();
        for (age, is_group) in ages {
            if is_group {
                self.end_group(age, "expired", "window");
            } else {
                self.expire(self.index_of(age), "window");
            }
        }
    }

    /// Counts in the order of rule 14.
    fn say_no_match(&mut self, id: u64, counts: &BTreeMap<Refused, u64>) {
        let counts: Vec<String> = NAMES
            .iter()
            .filter_map(|name| {
                let count = counts.get(name).filter(|&&count| count > 0)?;
                Some(format!(r#""{name}":{count}"#))
            })
            .collect();
        self.say(
            "no_match",
            &format!(r#""id":{id},"counts":{{{}}}"#, counts.join(",")),
        );
    }

    fn check_trading(&self, contract: usize) -> Result<(), Refused> {
        match self.listings[contract].phase {
            Phase::Continuous => Ok(()),
            Phase::Auction => Err("wrong_phase"),
            Phase::Halt => Err("halted"),
            Phase::Closed => Err("closed"),
        }
    }

    fn is_trading(&self, contract: usize) -> bool {
        self.listings[contract].phase == Phase::Continuous
    }
}

fn coordinate(terms: &Terms) -> (String, usize, Option<String>, i64, String, i64, i64) {
    (
        terms.class.clone(),
        terms.partition,
        terms.profile.clone(),
        terms.tier,
        terms.zone.clone(),
        terms.start,
        terms.hours,
    )
}

fn names_backing(quotes: &Value) -> bool {
    quotes.as_array().is_some_and(|entries| {
        entries
            .iter()
            .any(|entry| entry.get("pool").is_some() || entry.get("lease").is_some())
    })
}

fn count(sum: &mut Traded, price: i64, qty: u64) {
    sum.qty += qty;
    sum.notional += i128::from(price) * i128::from(qty);
}

fn ceil_div(a: i128, b: i128) -> i128 {
    -(-a).div_euclid(b)
}

const OPS: [&str; 14] = [
    "catalog",
    "pool",
    "attest",
    "pools",
    "leases",
    "limit",
    "sub",
    "block",
    "gang_depth",
    "carve",
    "rfq",
    "quote",
    "award",
    "preempt",
];
const CONTRACT_FIELDS: [&str; 10] = [
    "class",
    "zone",
    "partition",
    "profile",
    "tier",
    "start",
    "hours",
    "windows",
    "weight",
    "reclaim",
];
/// By isolation.
const PARTITIONS: [&str; 5] = ["time_slice", "vgpu", "mig", "whole", "tee"];
const ISOLATION: [&str; 5] = ["none", "vm", "hardware", "device", "confidential"];
const MIG: usize = 2;
const WHOLE: usize = 3;
/// Rule 14, with the names of requests and preemptions where they stand.
const NAMES: [&str; 17] = [
    "closed",
    "class",
    "zone",
    "self",
    "isolation",
    "notice",
    "exclude",
    "score",
    "age",
    "stake",
    "colo",
    "times",
    "min_run",
    "price",
    "inventory",
    "silent",
    "short",
];
const HOUR_NS: u64 = 3_600_000_000_000;
const SECOND_NS: i128 = 1_000_000_000;
const MOST_PRICE: i64 = 1 << 40;
const MOST_LOTS: i64 = (1 << 31) - 1;
const MOST_NOTICE: i64 = 2_592_000;
