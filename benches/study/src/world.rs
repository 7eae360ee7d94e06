//! Who sells and who buys: drawn from a seed, the offer cross-section and the shipped catalogue.

use anyhow::{Context, Result};
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal};
use rand_pcg::Pcg64Mcg;
use tessera::catalogue::{self, CatalogueFile};

/// Four windows of six hours.
pub(crate) const WINDOWS: usize = 4;
/// Hours of one window.
pub(crate) const HOURS: i64 = 6;
/// Zones by name.
pub(crate) const ZONES: [&str; 2] = ["us-tx", "us-va"];
/// Profiles that devices are cut into, with their compute slices and memory slots.
pub(crate) const PROFILES: [(&str, u64, u64); 3] = [("1g", 1, 1), ("2g", 2, 2), ("3g", 3, 4)];
const POOLS: usize = 30;
const BUYERS: usize = 160;
/// Micro-USD per unit-hour of a tick.
const TICK: f64 = 60.0;

/// A GPU class and how much work its partitions do, in 1/10000 of a whole H100.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    /// Its name in the catalogue.
    pub(crate) name: String,
    /// Work of a whole device.
    pub(crate) whole: i64,
    /// Work of a slice by profile; none when the class has no slices.
    pub(crate) slices: Option<[i64; PROFILES.len()]>,
    /// Offers in USD per hour.
    offers: Vec<f64>,
    /// Share of first choices.
    weight: f64,
}

/// What can be bought in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Product {
    /// Number of the class.
    pub(crate) class: usize,
    /// Number of the zone.
    pub(crate) zone: usize,
    /// A slice of this profile, or the whole device.
    pub(crate) profile: Option<usize>,
}

/// A seller's machines in one place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    /// Number of the class.
    pub(crate) class: usize,
    /// Number of the zone.
    pub(crate) zone: usize,
    /// How many devices, the same in every window.
    pub(crate) devices: u64,
    /// What a device costs its owner, and what it is asked for, in ticks per hour.
    pub(crate) cost: i64,
}

/// A buyer.
#[derive(Clone, Debug)]
pub(crate) struct Buyer {
    /// First choice.
    pub(crate) first: Product,
    /// First window.
    pub(crate) window: usize,
    /// How many consecutive windows, all or nothing when more than one.
    pub(crate) windows: usize,
    /// Lots in each window.
    pub(crate) lots: u64,
    /// What a unit of work (a whole H100 for an hour) is worth, in ticks.
    pub(crate) value: f64,
    /// Draw in 0..1: flexible when below the share of flexible buyers.
    pub(crate) flexibility: f64,
}

/// Everything that one seed draws.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// Classes.
    pub(crate) classes: Vec<Class>,
    /// Sellers.
    pub(crate) pools: Vec<Pool>,
    /// Buyers.
    pub(crate) buyers: Vec<Buyer>,
    /// Order of arrival of sellers and buyers.
    pub(crate) arrivals: Vec<Arrival>,
    /// The share of flexible buyers.
    pub(crate) flexible: f64,
}

/// Who comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The seller of a pool.
    Pool(usize),
    /// A buyer.
    Buyer(usize),
}

impl World {
    /// The world of a seed, with this share of buyers flexible. The same seed gives the same sellers
    /// and buyers whatever the share.
    ///
    /// # Errors
    /// When the shipped catalogue or the offers cannot be read.
    pub(crate) fn draw(seed: u64, flexible: f64) -> Result<Self> {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let classes = classes()?;
        let pools = (0..POOLS)
            .map(|_| {
                // Every listed offer is as likely as any other.
                let all: Vec<(usize, f64)> = classes
                    .iter()
                    .enumerate()
                    .flat_map(|(at, class)| class.offers.iter().map(move |&usd| (at, usd)))
                    .collect();
                let &(class, usd) = all.choose(&mut rng).context("no offers")?;
                Ok(Pool {
                    class,
                    zone: rng.random_range(0..ZONES.len()),
                    devices: rng.random_range(2..=10),
                    cost: ticks(usd),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let spread = LogNormal::new(0.0, 0.35).context("a fixed spread")?;
        let buyers = (0..BUYERS)
            .map(|_| {
                let slice = rng.random_bool(0.25);
                let can = |class: &Class| !slice || class.slices.is_some();
                let class = loop {
                    let class = rng.random_range(0..classes.len());
                    if can(&classes[class]) && rng.random_bool(classes[class].weight) {
                        break class;
                    }
                };
                let strip = !slice && rng.random_bool(0.27);
                let windows = if strip {
                    rng.random_range(2..=WINDOWS)
                } else {
                    1
                };
                Buyer {
                    first: Product {
                        class,
                        zone: rng.random_range(0..ZONES.len()),
                        profile: slice.then(|| rng.random_range(0..PROFILES.len())),
                    },
                    window: rng.random_range(0..=WINDOWS - windows),
                    windows,
                    lots: match (slice, strip) {
                        (true, _) => rng.random_range(1..=10),
                        (_, true) => rng.random_range(1..=5),
                        _ => rng.random_range(1..=8),
                    },
                    value: spread.sample(&mut rng) * VALUE_USD * 1e6 / TICK,
                    flexibility: rng.random(),
                }
            })
            .collect::<Vec<_>>();
        let mut arrivals: Vec<Arrival> = (0..POOLS).map(Arrival::Pool).collect();
        arrivals.extend((0..BUYERS).map(Arrival::Buyer));
        arrivals.shuffle(&mut rng);
        Ok(Self {
            classes,
            pools,
            buyers,
            arrivals,
            flexible,
        })
    }

    /// The same world with all sellers there first, and buyers in falling order of what work is worth to
    /// them: what is lost by the order of arrival is not lost here.
    #[must_use]
    pub(crate) fn dearest_first(&self) -> Self {
        let mut buyers: Vec<usize> = (0..self.buyers.len()).collect();
        buyers.sort_by(|&a, &b| self.buyers[b].value.total_cmp(&self.buyers[a].value));
        let mut arrivals: Vec<Arrival> = (0..self.pools.len()).map(Arrival::Pool).collect();
        arrivals.extend(buyers.into_iter().map(Arrival::Buyer));
        Self {
            arrivals,
            ..self.clone()
        }
    }

    /// Work of one lot for an hour, in 1/10000.
    #[must_use]
    pub(crate) fn eta(&self, product: Product) -> i64 {
        let class = &self.classes[product.class];
        match product.profile {
            None => class.whole,
            Some(profile) => class.slices.map_or(0, |slices| slices[profile]),
        }
    }

    /// What one lot for an hour is worth to a buyer, in ticks.
    #[must_use]
    pub(crate) fn worth(&self, buyer: usize, product: Product) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "eta is far below 2^52")]
        let eta = self.eta(product) as f64;
        self.buyers[buyer].value * eta / 10_000.0
    }

    /// The most that a buyer pays for a lot, in ticks.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "prices are far below 2^52")]
    pub(crate) fn limit(&self, buyer: usize, product: Product) -> i64 {
        self.worth(buyer, product).floor() as i64
    }

    /// Whether the buyer takes anything that does the work.
    #[must_use]
    pub(crate) fn is_flexible(&self, buyer: usize) -> bool {
        self.buyers[buyer].flexibility < self.flexible
    }

    /// What a buyer would take: the first choice, then the others by what their work usually costs.
    #[must_use]
    pub(crate) fn choices(&self, buyer: usize) -> Vec<Product> {
        let first = self.buyers[buyer].first;
        if !self.is_flexible(buyer) {
            return vec![first];
        }
        let mut others: Vec<Product> = self
            .products()
            .into_iter()
            .filter(|product| match (first.profile, product.profile) {
                (None, None) => true,
                (Some(least), Some(profile)) => profile >= least,
                _ => false,
            })
            .filter(|product| *product != first)
            .collect();
        others.sort_by(|a, b| self.usual(*a).total_cmp(&self.usual(*b)));
        others.insert(0, first);
        others
    }

    /// The middle offer of a product per unit of work.
    fn usual(&self, product: Product) -> f64 {
        let class = &self.classes[product.class];
        let middle = class.offers[class.offers.len() / 2];
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let share = product
            .profile
            .map_or(1.0, |profile| PROFILES[profile].1 as f64 / 7.0);
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let eta = self.eta(product) as f64;
        middle * share / eta
    }

    /// Every product that somebody could sell.
    #[must_use]
    pub(crate) fn products(&self) -> Vec<Product> {
        let mut products = Vec::new();
        for (class, of) in self.classes.iter().enumerate() {
            for zone in 0..ZONES.len() {
                let profiles = (0..PROFILES.len())
                    .filter(|_| of.slices.is_some())
                    .map(Some);
                for profile in [None].into_iter().chain(profiles) {
                    products.push(Product {
                        class,
                        zone,
                        profile,
                    });
                }
            }
        }
        products
    }

    /// What a slice of a pool's device is asked for, in ticks per hour: its share of the device by
    /// compute, and a tenth for what may stay unsold.
    #[must_use]
    pub(crate) fn slice_price(&self, pool: usize, profile: usize) -> i64 {
        let compute = i64::try_from(PROFILES[profile].1).unwrap_or(0);
        (self.pools[pool].cost * compute * 11 + 69) / 70
    }
}

fn ticks(usd: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "prices are far below 2^52")]
    let ticks = (usd * 1e6 / TICK).round() as i64;
    ticks
}

/// The classes of the study, from the shipped catalogue and the offers beside it.
fn classes() -> Result<Vec<Class>> {
    let file = catalogue::load(None)?;
    let mut classes = Vec::new();
    for (name, weight) in FIRST_CHOICES {
        let mut offers: Vec<f64> = OFFERS
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(','))
            .map(|rest| {
                let usd = rest.split(',').nth(1).context("an offer has a price")?;
                Ok(usd.parse()?)
            })
            .collect::<Result<_>>()?;
        offers.sort_by(f64::total_cmp);
        let whole = eta(&file, name, None).with_context(|| format!("no efficiency of {name}"))?;
        let slices = PROFILES.map(|(profile, _, _)| eta(&file, name, Some(profile)));
        let slices = match slices {
            [Some(a), Some(b), Some(c)] => Some([a, b, c]),
            _ => None,
        };
        classes.push(Class {
            name: name.to_owned(),
            whole,
            slices,
            offers,
            weight,
        });
    }
    Ok(classes)
}

/// Inference work of a partition, from the catalogue.
fn eta(file: &CatalogueFile, class: &str, profile: Option<&str>) -> Option<i64> {
    let tables = file.tables();
    let wanted = if profile.is_some() { "mig" } else { "whole" };
    let found = file.efficiency().iter().find(|row| {
        tables.classes[usize::from(row.class)].name.as_str() == class
            && row.partition.as_str() == wanted
            && profile.is_none_or(|name| tables.profiles[usize::from(row.profile)].as_str() == name)
            && file.workloads()[usize::from(row.workload)].as_str() == "inference"
    });
    found.map(catalogue::eta)
}

const OFFERS: &str = include_str!("../data/offers.csv");
/// What most buyers name first, a guess.
const FIRST_CHOICES: [(&str, f64); 5] = [
    ("H100", 0.40),
    ("A100", 0.20),
    ("H200", 0.15),
    ("B200", 0.10),
    ("L40S", 0.15),
];
/// The middle of what a unit of work is worth, USD per hour: near the non-spot median of H100 offers.
const VALUE_USD: f64 = 2.4;
