//! Joint scenarios: one draw of everything, and what every product loses on it.
//!
//! A scenario is a path over the margin period, in days. The systemic factor M moves hazard, power,
//! compute price and preemption together; that is wrong-way risk, and a sum of separate figures
//! misses it. Scenario `s` is the same state of the world for every product, and each row of the
//! result is a function of (model, seed, s) alone, so threads cannot change a bit.

use rand_distr::{Distribution, Gamma, Poisson};
use rayon::prelude::*;

use crate::model::{Class, Model, Zone};
use crate::rng::{Stream, normal_quantile};
use crate::sla::Steps;
use crate::units::{HOURS_PER_DAY, ModelError};

/// The world after some days, relative to today.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Per zone.
    pub zones: Vec<ZoneState>,
    /// Change of ln compute price per class.
    pub classes: Vec<f64>,
}

/// One zone in a [`State`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZoneState {
    /// Deviation of ln power price.
    pub x: f64,
    /// A price (USD/MWh) that holds for some hours from now, on top of the path; stress only.
    pub spike: Option<(f64, f64)>,
    /// Share of the zone's unit-hours lost over the period.
    pub down: f64,
    /// Share of reclaimable units taken back over the period.
    pub preempted: f64,
}

/// Historical innovations in place of drawn ones, standardised; one index is one day for all
/// factors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Innovations of ln power price.
    pub power: Vec<f64>,
    /// Innovations of ln compute price; empty when there is no series.
    pub compute: Vec<f64>,
}

/// Losses of one long lot, USD: one column per product, one row per scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct LossMatrix {
    scenarios: usize,
    columns: Vec<Vec<f64>>,
}

impl LossMatrix {
    /// From columns of equal length.
    ///
    /// # Errors
    /// [`ModelError::Shape`] if there is no column or lengths differ.
    pub fn new(columns: Vec<Vec<f64>>) -> Result<Self, ModelError> {
        let scenarios = columns.first().map_or(0, Vec::len);
        if scenarios == 0 || columns.iter().any(|c| c.len() != scenarios) {
            return Err(ModelError::Shape {
                what: "loss matrix",
            });
        }
        Ok(Self { scenarios, columns })
    }

    /// Number of scenarios.
    #[must_use]
    pub fn scenarios(&self) -> usize {
        self.scenarios
    }

    /// Number of products.
    #[must_use]
    pub fn products(&self) -> usize {
        self.columns.len()
    }

    /// Losses of a product, one per scenario.
    #[must_use]
    pub fn column(&self, product: usize) -> &[f64] {
        &self.columns[product]
    }

    /// Losses of a book of (product, lots), one per scenario, in USD. Summed in the order given.
    #[must_use]
    pub fn book(&self, lots: &[(usize, f64)]) -> Vec<f64> {
        let mut losses = vec![0.0; self.scenarios];
        self.book_into(lots, &mut losses);
        losses
    }

    /// [`LossMatrix::book`] into a buffer of one entry per scenario.
    ///
    /// Blocks of the buffer stay in the first-level cache while the columns pass by.
    pub fn book_into(&self, lots: &[(usize, f64)], losses: &mut [f64]) {
        const BLOCK: usize = 2048;
        for (b, block) in losses.chunks_mut(BLOCK).enumerate() {
            block.fill(0.0);
            for (product, lots) in lots {
                let column = &self.columns[*product][b * BLOCK..];
                for (loss, l) in block.iter_mut().zip(column) {
                    *loss += lots * l;
                }
            }
        }
    }
}

/// A model made ready for simulation.
pub struct Joint {
    zones: Vec<ZoneNumbers>,
    classes: Vec<Class>,
    valuations: Vec<Valuation>,
    horizons: Vec<u32>,
    systemic: [f64; 5],
}

struct ZoneNumbers {
    kappa: f64,
    day_sd: f64,
    jump_rate: f64,
    jump: (f64, f64),
    x0: f64,
    unavailability: f64,
    frailty: f64,
    repair: (f64, f64),
    shock_rate: f64,
    shock_share: f64,
    preemption: f64,
}

/// Constants of one product: its value is a function of the state.
struct Valuation {
    zone: usize,
    class: usize,
    horizon: usize,
    /// Fee of one lot for the whole window, USD.
    fee: f64,
    /// How much of a price move is still there when the window is delivered.
    price_weight: f64,
    /// Power used by one lot over the window that the market price follows, MWh.
    mwh: f64,
    /// Mean of e^{-κτ} over the window.
    power_weight: f64,
    /// Forward power price at x = 0, USD/MWh, and today's forward.
    power_base: f64,
    power_today: f64,
    cap: (f64, f64),
    start: f64,
    hours: f64,
    /// Share of the window that lies within the margin period.
    delivered: f64,
    largest_credit: f64,
    compensation: f64,
}

impl Joint {
    /// Prepares a checked model.
    ///
    /// # Errors
    /// [`ModelError`] if a product names something unknown or a number is outside its domain; both
    /// are excluded for a model that was read from a file.
    pub fn new(model: &Model) -> Result<Self, ModelError> {
        let mut horizons: Vec<u32> = model.products.iter().map(|p| p.margin_days).collect();
        horizons.sort_unstable();
        horizons.dedup();
        let unknown = ModelError::Shape {
            what: "product with an unknown class, tier or zone",
        };
        let valuations = model
            .products
            .iter()
            .map(|p| {
                let zone = position(&model.zones, |z| z.name == p.zone);
                let class = position(&model.classes, |c| c.name == p.class);
                let (Some(zone), Some(class), Some(tier)) = (zone, class, model.tier(&p.tier))
                else {
                    return Err(unknown.clone());
                };
                let z = &model.zones[zone];
                let c = &model.classes[class];
                let days = f64::from(p.margin_days);
                let mid = (p.start_hours + 0.5 * p.hours) / HOURS_PER_DAY;
                let lag = (mid - days).max(0.0);
                // Average of e^{-κτ} over what is left of the window after the period.
                let from = (p.start_hours / HOURS_PER_DAY - days).max(0.0);
                let to = ((p.start_hours + p.hours) / HOURS_PER_DAY - days).max(0.0);
                let kappa = z.kappa.value;
                let power_weight = if to - from < 1e-9 {
                    1.0
                } else {
                    ((-kappa * from).exp() - (-kappa * to).exp()) / (kappa * (to - from))
                };
                let process = z.process();
                let f = z.level_usd_mwh.value.ln();
                Ok(Valuation {
                    zone,
                    class,
                    horizon: horizons
                        .iter()
                        .position(|h| *h == p.margin_days)
                        .unwrap_or(0),
                    fee: c.price_usd_hour.value * tier.price_fraction * p.share * p.hours,
                    price_weight: (-c.alpha.value * lag).exp(),
                    mwh: c.mwh_per_hour()? * p.share * p.hours * tier.power_pass_through,
                    power_weight,
                    power_base: process.forward(f, 0.0, lag)?,
                    power_today: process.forward(f, z.x0.value, mid)?,
                    cap: (z.floor_usd_mwh.value, z.cap_usd_mwh.value),
                    start: p.start_hours,
                    hours: p.hours,
                    delivered: ((days * HOURS_PER_DAY - p.start_hours).max(0.0) / p.hours).min(1.0),
                    largest_credit: Steps::new(tier.steps.clone())?
                        .credit(1.0, 1.0)
                        .min(tier.damages_cap),
                    compensation: if tier.reclaimable {
                        tier.compensation
                    } else {
                        0.0
                    },
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let s = &model.systemic;
        Ok(Self {
            zones: model.zones.iter().map(ZoneNumbers::new).collect(),
            classes: model.classes.clone(),
            valuations,
            horizons,
            systemic: [
                s.hazard.value,
                s.power.value,
                s.compute.value,
                s.preemption.value,
                s.class_correlation.value,
            ],
        })
    }

    /// Losses of one long lot of every product in `scenarios` scenarios. `progress` is called with
    /// the number of scenarios done since the last call, from any thread.
    ///
    /// # Errors
    /// [`ModelError::Shape`] without a scenario or a product.
    pub fn losses(
        &self,
        scenarios: usize,
        seed: u64,
        history: Option<&History>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<LossMatrix, ModelError> {
        self.run(
            scenarios,
            |s| self.states(seed, s, history, false),
            progress,
        )
    }

    /// As [`Joint::losses`] without history, with the jumps of power spread evenly over time and size.
    ///
    /// The tail of a book that is short of power hangs on the few largest jumps; spread evenly, they
    /// are neither too many nor too large by chance. The losses are those of the same model, but no
    /// longer independent of each other: the standard error that a tail reports is too large here, so
    /// this serves where one figure is fitted to, not where an error is reported.
    ///
    /// # Errors
    /// As [`Joint::losses`].
    pub fn even_losses(
        &self,
        scenarios: usize,
        seed: u64,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<LossMatrix, ModelError> {
        self.run(scenarios, |s| self.states(seed, s, None, true), progress)
    }

    fn run(
        &self,
        scenarios: usize,
        states: impl Fn(u64) -> Vec<State> + Sync,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<LossMatrix, ModelError> {
        const CHUNK: usize = 256;
        let products = self.valuations.len();
        if scenarios == 0 || products == 0 {
            return Err(ModelError::Shape { what: "scenarios" });
        }
        let chunks: Vec<Vec<f64>> = (0..scenarios.div_ceil(CHUNK))
            .into_par_iter()
            .map(|chunk| {
                let range = chunk * CHUNK..((chunk + 1) * CHUNK).min(scenarios);
                let done = range.len() as u64;
                let mut rows = Vec::with_capacity(range.len() * products);
                for s in range {
                    let states = states(s as u64);
                    rows.extend(self.valuations.iter().map(|v| v.loss(&states[v.horizon])));
                }
                progress(done);
                rows
            })
            .collect();
        let mut columns = vec![Vec::with_capacity(scenarios); products];
        for row in chunks.iter().flat_map(|c| c.chunks_exact(products)) {
            for (column, loss) in columns.iter_mut().zip(row) {
                column.push(*loss);
            }
        }
        LossMatrix::new(columns)
    }

    /// Loss of one long lot of every product in a given state, USD.
    #[must_use]
    pub fn revalue(&self, state: &State) -> Vec<f64> {
        self.valuations.iter().map(|v| v.loss(state)).collect()
    }

    /// The state in which nothing happens: power keeps its deviation of today, prices stand still.
    #[must_use]
    pub fn calm(&self) -> State {
        State {
            zones: self
                .zones
                .iter()
                .map(|z| ZoneState {
                    x: z.x0,
                    spike: None,
                    down: z.unavailability,
                    preempted: 0.0,
                })
                .collect(),
            classes: vec![0.0; self.classes.len()],
        }
    }

    /// States at each margin period of one scenario.
    fn states(
        &self,
        seed: u64,
        scenario: u64,
        history: Option<&History>,
        even: bool,
    ) -> Vec<State> {
        let [hazard, power, compute, preemption, class_correlation] = self.systemic;
        let days = self.horizons.last().copied().unwrap_or(0);
        let stream = |factor: u32| Stream::new(seed, scenario, factor);
        let mut market = stream(0);
        let mut common = stream(1);
        let mut pick = stream(2);
        let mut zone_streams: Vec<Stream> = (100..).take(self.zones.len()).map(stream).collect();
        let mut class_streams: Vec<Stream> = (200..).take(self.classes.len()).map(stream).collect();
        let mut x: Vec<f64> = self.zones.iter().map(|z| z.x0).collect();
        let mut y = vec![0.0; self.classes.len()];
        let mut m_sum = 0.0;
        let mut states = Vec::with_capacity(self.horizons.len());
        let mut next = 0;
        for day in 1..=days {
            let m = market.normal();
            m_sum += m;
            let past = history.map(|h| index(&mut pick, h.power.len()));
            let zones = self.zones.iter().zip(&mut x).zip(&mut zone_streams);
            for (number, ((z, x), s)) in (0..).zip(zones) {
                let own = s.normal();
                let mut jump = s.uniform() < z.jump_rate;
                let mut size = s.normal();
                if even && let Some(u) = evenly(seed, scenario, number * days + day - 1) {
                    jump = u < z.jump_rate;
                    size = if jump {
                        normal_quantile(u / z.jump_rate)
                    } else {
                        0.0
                    };
                }
                let innovation = match (history, past) {
                    (Some(h), Some(Some(i))) => h.power[i] * z.total_sd(),
                    _ => {
                        let e = z.day_sd * mix(power, m, own);
                        if jump {
                            e + z.jump.0 + z.jump.1 * size
                        } else {
                            e
                        }
                    }
                };
                *x = *x * (-z.kappa).exp() + innovation;
            }
            let g = common.normal();
            for ((c, y), s) in self.classes.iter().zip(&mut y).zip(&mut class_streams) {
                let own = s.normal();
                let jump = s.uniform() < c.lambda.value;
                let size = s.normal();
                let rest = class_correlation.sqrt() * g + (1.0 - class_correlation).sqrt() * own;
                let innovation = match (history, past) {
                    (Some(h), Some(Some(i))) if i < h.compute.len() => h.compute[i],
                    _ => mix(compute, m, rest),
                };
                *y = *y * (-c.alpha.value).exp() + c.sigma.value * innovation
                    - if jump {
                        c.jump_mean.value + c.jump_sd.value * size
                    } else {
                        0.0
                    };
            }
            if self.horizons.get(next) == Some(&day) {
                next += 1;
                let t = f64::from(day);
                let m_bar = m_sum / t.sqrt();
                let lift = (hazard * m_bar - 0.5 * hazard * hazard).exp();
                let storm = (preemption * m_bar - 0.5 * preemption * preemption).exp();
                states.push(State {
                    zones: (300..)
                        .zip(self.zones.iter().zip(&x))
                        .map(|(factor, (z, x))| {
                            // The same factor at every horizon: a longer period starts with the
                            // same draws.
                            let mut s = stream(factor);
                            ZoneState {
                                x: *x,
                                spike: None,
                                down: z.down(lift, t, &mut s),
                                preempted: -(-z.preemption * storm * t * HOURS_PER_DAY).exp_m1(),
                            }
                        })
                        .collect(),
                    classes: y.clone(),
                });
            }
        }
        states
    }
}

/// Index of a historical day, or `None` without history.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a uniform below 1 times a length is an index"
)]
fn index(stream: &mut Stream, len: usize) -> Option<usize> {
    let u = stream.uniform();
    if len == 0 {
        None
    } else {
        Some((u * len as f64) as usize)
    }
}

/// Number `scenario` of an even sequence in (0, 1), one sequence per `dimension`, shifted by the seed;
/// `None` beyond the dimensions in which the sequence is even for a few thousand scenarios.
///
/// # Source
/// Halton 1960; random shift: Cranley and Patterson 1976.
fn evenly(seed: u64, scenario: u64, dimension: u32) -> Option<f64> {
    const BASES: [u64; 16] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53];
    let base = *BASES.get(dimension as usize)?;
    let mut digits = scenario + 1;
    let (mut u, mut unit) = (0.0, 1.0);
    while digits > 0 {
        unit /= base as f64;
        u += unit * (digits % base) as f64;
        digits /= base;
    }
    let shift = Stream::new(seed, u64::from(dimension), 400).uniform();
    Some((u + shift).fract().clamp(1e-12, 1.0 - 1e-12))
}

fn mix(loading: f64, m: f64, own: f64) -> f64 {
    loading * m + (1.0 - loading * loading).sqrt() * own
}

fn position<T>(all: &[T], is: impl Fn(&T) -> bool) -> Option<usize> {
    all.iter().position(is)
}

impl ZoneNumbers {
    fn new(zone: &Zone) -> Self {
        let process = zone.process();
        Self {
            kappa: process.kappa,
            day_sd: process.diffusive_variance(1.0).sqrt(),
            jump_rate: -(-process.lambda).exp_m1(),
            jump: (process.jump_mean, process.jump_sd),
            x0: zone.x0.value,
            unavailability: zone.failure_per_hour.value
                * (zone.repair_mu.value + 0.5 * zone.repair_sigma.value.powi(2)).exp(),
            frailty: zone.frailty.value,
            repair: (zone.repair_mu.value, zone.repair_sigma.value),
            shock_rate: zone.shock_per_day.value,
            shock_share: zone.shock_share.value,
            preemption: zone.preemption_per_hour.value,
        }
    }

    /// Standard deviation of a whole day's innovation, jumps included.
    fn total_sd(&self) -> f64 {
        let p = self.jump_rate;
        let (m, s) = self.jump;
        (self.day_sd.powi(2) + p * (s * s + m * m) - (p * m).powi(2)).sqrt()
    }

    /// Share of unit-hours lost over `days`, with hazards times `lift`.
    fn down(&self, lift: f64, days: f64, stream: &mut Stream) -> f64 {
        let lemon =
            Gamma::new(self.frailty, 1.0 / self.frailty).map_or(1.0, |law| law.sample(stream));
        let base = self.unavailability * lift * lemon;
        let rate = self.shock_rate * lift * days;
        let mut shocks = Poisson::new(rate).map_or(0.0, |law: Poisson<f64>| law.sample(stream));
        let hours = days * HOURS_PER_DAY;
        let mut up = 1.0 - base.min(1.0);
        while shocks > 0.0 {
            let length = (self.repair.0 + self.repair.1 * stream.normal()).exp();
            up *= 1.0 - self.shock_share * (length / hours).min(1.0);
            shocks -= 1.0;
        }
        1.0 - up
    }
}

impl Valuation {
    fn loss(&self, state: &State) -> f64 {
        let zone = &state.zones[self.zone];
        let price = self.fee * (state.classes[self.class] * self.price_weight).exp_m1();
        let (floor, cap) = self.cap;
        let forward = (self.power_base * (zone.x * self.power_weight).exp()).clamp(floor, cap);
        let mut power = self.mwh * (forward - self.power_today);
        let end = self.start + self.hours;
        if let Some((spike, hours)) = zone.spike {
            let overlap = (end.min(hours) - self.start).max(0.0) / self.hours;
            power += self.mwh * overlap * (spike - forward);
        }
        // What a window delivers within the period earns credits and compensation.
        // Lost hours fall on the units that failed, and those lose most of a short window: the share
        // of units that is down earns the largest credit, the others none.
        let credit = zone.down * self.largest_credit;
        let reclaimed = self.compensation * zone.preempted;
        let flows = self.fee * self.delivered * (credit + reclaimed);
        -(price + power + flows)
    }
}

#[cfg(test)]
mod tests;
