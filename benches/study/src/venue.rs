//! The exchange of a study: the engine, or the plain reference model, behind script lines.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tessera::sim::Runner;
use tessera_engine::EngineConfig;
use tessera_tests::model::Model;

use crate::outcome::Trade;
use crate::world::{HOURS, PROFILES, Product, WINDOWS, World, ZONES};

/// What runs the script lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    /// The engine.
    Engine,
    /// The plain model of the tests: the rules of the documents, slowly.
    Model,
}

enum Running {
    Engine(Box<Runner>),
    Model(Box<Model>),
}

/// An exchange, and who is behind its orders.
pub(crate) struct Venue {
    running: Running,
    next_id: u64,
    owners: HashMap<u64, Owner>,
    instruments: HashMap<String, (Product, usize)>,
    /// What was traded so far.
    pub(crate) trades: Vec<Trade>,
}

/// Who is behind an order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner {
    /// A seller's pool; a carve when `carve`.
    Pool {
        /// Which pool.
        pool: usize,
        /// Whether the order cuts a device.
        carve: bool,
    },
    /// A buyer.
    Buyer(usize),
}

impl Venue {
    /// An exchange with one instrument for each product and window: contracts, or plain instruments
    /// that know nothing of each other.
    ///
    /// # Errors
    /// When the engine refuses one.
    pub(crate) fn new(world: &World, contracts: bool, machine: Machine) -> Result<Self> {
        let mut venue = Self {
            running: match machine {
                Machine::Engine => {
                    Running::Engine(Box::new(Runner::new(EngineConfig::default(), false)))
                }
                Machine::Model => Running::Model(Box::new(Model::new(false))),
            },
            next_id: 1,
            owners: HashMap::new(),
            instruments: HashMap::new(),
            trades: Vec::new(),
        };
        if contracts {
            venue.must(&catalog(world))?;
        }
        for product in world.products() {
            for window in 0..WINDOWS {
                let name = name(world, product, window);
                let mut line = json!({"op": "instrument", "instrument": name});
                if contracts {
                    line["class"] = world.classes[product.class].name.clone().into();
                    line["zone"] = ZONES[product.zone].into();
                    line["start"] = start(window).into();
                    line["hours"] = HOURS.into();
                    if let Some(profile) = product.profile {
                        line["partition"] = "mig".into();
                        line["profile"] = PROFILES[profile].0.into();
                    }
                }
                venue.must(&line)?;
                venue.instruments.insert(name, (product, window));
            }
        }
        Ok(venue)
    }

    /// The number of the next order, which has this owner.
    pub(crate) fn id(&mut self, owner: Owner) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.owners.insert(id, owner);
        id
    }

    /// Sends a line and books its fills.
    ///
    /// # Errors
    /// When the events cannot be read.
    pub(crate) fn send(&mut self, line: &Value) -> Result<Vec<Value>> {
        let text = line.to_string();
        let out = match &mut self.running {
            Running::Engine(runner) => {
                let mut out = String::new();
                let _ = runner.line(text.as_bytes(), &mut out);
                out
            }
            Running::Model(model) => model.line(&text),
        };
        let mut events = Vec::new();
        for text in out.lines() {
            let event: Value = serde_json::from_str(text)?;
            if event["ev"] == "fill" {
                self.book(&event)?;
            }
            events.push(event);
        }
        Ok(events)
    }

    /// Sends a line that must not be refused.
    ///
    /// # Errors
    /// When it is.
    pub(crate) fn must(&mut self, line: &Value) -> Result<Vec<Value>> {
        let events = self.send(line)?;
        if let Some(refused) = events.iter().find(|event| event["ev"] == "rejected") {
            bail!("{line} was refused: {refused}");
        }
        Ok(events)
    }

    fn book(&mut self, fill: &Value) -> Result<()> {
        let number = |field: &str| {
            fill[field]
                .as_u64()
                .with_context(|| format!("no {field}: {fill}"))
        };
        let (maker, taker) = (number("maker")?, number("taker")?);
        let owner = |id: u64| self.owners.get(&id).copied().context("an order of nobody");
        let (pool, carve, buyer, order) = match (owner(maker)?, owner(taker)?) {
            (Owner::Pool { pool, carve }, Owner::Buyer(buyer)) => (pool, carve, buyer, maker),
            (Owner::Buyer(buyer), Owner::Pool { pool, carve }) => (pool, carve, buyer, taker),
            _ => bail!("a trade between two of a kind: {fill}"),
        };
        let name = fill["instrument"]
            .as_str()
            .context("a fill has an instrument")?;
        let &(product, window) = self.instruments.get(name).context("a known instrument")?;
        self.trades.push(Trade {
            buyer,
            pool,
            product,
            window,
            lots: number("qty")?,
            price: fill["price"].as_i64().context("a fill has a price")?,
            carve: carve.then_some(order),
        });
        Ok(())
    }
}

/// Name of the instrument of a product and window.
#[must_use]
pub(crate) fn name(world: &World, product: Product, window: usize) -> String {
    let class = &world.classes[product.class].name;
    let profile = product
        .profile
        .map_or("whole", |profile| PROFILES[profile].0);
    format!("{class}.{profile}.{}.{window}", ZONES[product.zone])
}

/// First hour of a window.
#[must_use]
pub(crate) fn start(window: usize) -> i64 {
    100 + HOURS * i64::try_from(window).unwrap_or(0)
}

fn catalog(world: &World) -> Value {
    let mut rows = Vec::new();
    for class in &world.classes {
        let name = &class.name;
        rows.push(json!({"class": name, "workload": "inference", "factor": class.whole}));
        for (at, eta) in class.slices.iter().flatten().enumerate() {
            let profile = PROFILES[at].0;
            rows.push(
                json!({"class": name, "partition": "mig", "profile": profile,
                "workload": "inference", "factor": eta}),
            );
        }
    }
    let classes: Vec<Value> = world
        .classes
        .iter()
        .map(|class| json!({"class": class.name, "slices": class.slices.map_or(0, |_| 7)}))
        .collect();
    json!({"op": "catalog", "version": 1, "classes": classes, "zones": ZONES, "efficiency": rows})
}
