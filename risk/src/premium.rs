//! What the rights in a contract are worth, per unit.
//!
//! Options on the compute price are lognormal around a forward curve; power options come from
//! [`crate::energy`], guarantees from [`crate::sla`]. Rights with choice (Bermudan preemption, swing)
//! use regression Monte Carlo: the rule is fitted on one set of paths and valued on another, so the
//! result is a lower bound apart from its sampling error.
//!
//! # Source
//! `docs/risk.md`, premiums.

use serde::Serialize;

use crate::energy::{OuJump, black};
use crate::numeric::{normal_cdf, ols, tail};
use crate::rng::Stream;
use crate::units::{
    FitError, HOURS_PER_DAY, MicroUsd, ModelError, MonteCarlo, finite, not_negative, positive,
};

/// One priced right of one unit over the whole contract.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Premium {
    /// Which right.
    pub right: String,
    /// Expected discounted payoff, USD.
    pub expected: f64,
    /// Standard error of `expected`; 0 for a closed form.
    pub se: f64,
    /// Mean payoff in the worst 1 % of outcomes of one unit, USD.
    pub es99: f64,
    /// Charge per unit-hour, micro-USD, rounded up.
    pub premium_per_unit_hour_uusd: MicroUsd,
    /// Charge per unit for the whole contract, micro-USD, rounded up.
    pub premium_uusd: MicroUsd,
    /// How it was computed.
    pub method: String,
}

impl Premium {
    /// Expected value plus `loading` times what the tail costs beyond it.
    ///
    /// # Errors
    /// [`ModelError::Range`] if a number is not finite or `hours` is not positive.
    pub fn new(
        right: &str,
        method: &str,
        value: Value,
        loading: f64,
        hours: f64,
    ) -> Result<Self, ModelError> {
        positive("hours", hours)?;
        let charge = finite("expected value", value.expected)?
            + not_negative("ES loading", loading)? * (value.es99 - value.expected).max(0.0);
        Ok(Self {
            right: right.into(),
            expected: value.expected,
            se: value.se,
            es99: value.es99,
            premium_per_unit_hour_uusd: MicroUsd::up(charge / hours)?,
            premium_uusd: MicroUsd::up(charge)?,
            method: method.into(),
        })
    }
}

/// Expected payoff, its error and its tail, in USD.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Value {
    /// Expected discounted payoff.
    pub expected: f64,
    /// Standard error.
    pub se: f64,
    /// Expected shortfall at 99 % of the payoff (a payoff is the writer's loss).
    pub es99: f64,
}

impl Value {
    /// Mean, error and tail of simulated payoffs.
    ///
    /// # Errors
    /// [`ModelError`] with fewer than two payoffs or one that is not finite.
    pub fn of(mut payoffs: Vec<f64>, seed: u64) -> Result<Self, ModelError> {
        let mc = MonteCarlo::mean(&payoffs, seed)?;
        Ok(Self {
            expected: mc.value,
            se: mc.se,
            es99: tail(&mut payoffs, 0.99)?.es,
        })
    }
}

/// Power used by one unit and the terms of an energy cap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EnergyCap {
    /// MWh per hour of the unit.
    pub mwh: f64,
    /// Strike K, USD/MWh.
    pub strike: f64,
    /// Legal cap C, USD/MWh.
    pub cap: f64,
    /// Hours until the window starts.
    pub start_hours: f64,
    /// Hours of the window.
    pub hours: u32,
    /// Discount rate per day.
    pub discount: f64,
}

impl EnergyCap {
    /// `Σ_h MWh · caplet_h`: a strip of caplets, one per hour, in USD.
    ///
    /// `f` is the level of ln price per hour of the window, `x0` today's deviation.
    ///
    /// # Errors
    /// [`ModelError::Shape`] if `f` has another length than the window; as [`OuJump::caplet`].
    pub fn strip(&self, process: &OuJump, f: &[f64], x0: f64) -> Result<f64, ModelError> {
        self.check(f)?;
        let mut sum = 0.0;
        // The deviation hardly moves within an hour, and Fourier inversion is dear: hours of one day
        // share a maturity, each with its own level.
        for (h, f) in f.iter().enumerate() {
            let day = (self.start_hours + h as f64) / HOURS_PER_DAY;
            sum += self.mwh
                * process.capped_caplet(
                    *f,
                    x0,
                    day.max(1.0 / 48.0),
                    self.strike,
                    self.cap,
                    self.discount,
                )?;
        }
        Ok(sum)
    }

    /// The payoff of the strip on simulated paths: its mean agrees with [`EnergyCap::strip`], and it
    /// has a tail.
    ///
    /// # Errors
    /// As [`EnergyCap::strip`].
    pub fn simulate(
        &self,
        process: &OuJump,
        f: &[f64],
        x0: f64,
        scenarios: u64,
        seed: u64,
    ) -> Result<Value, ModelError> {
        self.check(f)?;
        process.check()?;
        let payoffs = (0..scenarios)
            .map(|s| {
                let mut stream = Stream::new(seed, s, 0);
                let mut at = 0.0;
                let mut x = x0;
                let mut sum = 0.0;
                for (h, f) in f.iter().enumerate() {
                    let day = ((self.start_hours + h as f64) / HOURS_PER_DAY).max(1.0 / 48.0);
                    if day > at {
                        x = process.draw(x, day - at, &mut stream);
                        at = day;
                    }
                    let price = (f + x).exp().min(self.cap);
                    sum += self.mwh * (price - self.strike).max(0.0) * (-self.discount * day).exp();
                }
                sum
            })
            .collect();
        Value::of(payoffs, seed)
    }

    fn check(&self, f: &[f64]) -> Result<(), ModelError> {
        positive("MWh per hour", self.mwh)?;
        not_negative("start", self.start_hours)?;
        if f.len() != self.hours as usize || f.is_empty() {
            return Err(ModelError::Shape {
                what: "price level per hour",
            });
        }
        Ok(())
    }
}

/// Lognormal compute price around a flat forward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lognormal {
    /// Forward price, USD per unit-hour.
    pub forward: f64,
    /// Volatility per square root of a day.
    pub sigma: f64,
    /// Discount rate per day.
    pub discount: f64,
}

impl Lognormal {
    /// Prices at the start of each of `hours` hours from `start_hours` on, in one scenario.
    #[must_use]
    pub fn path(&self, start_hours: f64, hours: u32, seed: u64, scenario: u64) -> Vec<f64> {
        let mut stream = Stream::new(seed, scenario, 0);
        let mut y = self.forward.ln();
        let mut step = |days: f64| {
            let v = self.sigma * self.sigma * days;
            y += v.sqrt() * stream.normal() - 0.5 * v;
            y.exp()
        };
        let first = step(start_hours / HOURS_PER_DAY);
        let mut path = vec![first];
        path.extend((1..hours).map(|_| step(1.0 / HOURS_PER_DAY)));
        path
    }

    /// Black-76 strip: `Σ_h e^{-rt} E max(S_h - strike, 0)` per hour of the window.
    ///
    /// # Errors
    /// [`ModelError::Range`] for numbers outside their domain.
    pub fn strip(&self, start_hours: f64, hours: u32, strike: f64) -> Result<Vec<f64>, ModelError> {
        positive("forward", self.forward)?;
        positive("strike", strike)?;
        not_negative("sigma", self.sigma)?;
        not_negative("start", start_hours)?;
        Ok((0..hours)
            .map(|h| {
                let day = (start_hours + f64::from(h)) / HOURS_PER_DAY;
                (-self.discount * day).exp()
                    * black(self.forward, strike, self.sigma * self.sigma * day)
            })
            .collect())
    }

    fn discount_at(&self, start_hours: f64, h: usize) -> f64 {
        (-self.discount * (start_hours + h as f64) / HOURS_PER_DAY).exp()
    }

    /// The right to take the unit back once, for the rest of the window: exercised at hour `j` it
    /// earns `(hours - j)(S_j - strike)`.
    ///
    /// # Errors
    /// [`FitError`] if the regression has no answer or numbers are outside their domain.
    pub fn bermudan(
        &self,
        start_hours: f64,
        hours: u32,
        strike: f64,
        scenarios: u64,
        seed: u64,
    ) -> Result<Value, FitError> {
        self.strip(start_hours, hours, strike)?;
        let payoff = |h: usize, s: f64| {
            (f64::from(hours) - h as f64) * (s - strike).max(0.0) * self.discount_at(start_hours, h)
        };
        self.exercise(start_hours, hours, 1, scenarios, seed, &payoff)
    }

    /// Up to `rights` of the hours may be sold at market against `strike`.
    ///
    /// # Errors
    /// As [`Lognormal::bermudan`].
    pub fn swing(
        &self,
        start_hours: f64,
        hours: u32,
        strike: f64,
        rights: usize,
        scenarios: u64,
        seed: u64,
    ) -> Result<Value, FitError> {
        self.strip(start_hours, hours, strike)?;
        let payoff = |h: usize, s: f64| (s - strike).max(0.0) * self.discount_at(start_hours, h);
        self.exercise(start_hours, hours, rights, scenarios, seed, &payoff)
    }

    fn exercise(
        &self,
        start_hours: f64,
        hours: u32,
        rights: usize,
        scenarios: u64,
        seed: u64,
        payoff: &dyn Fn(usize, f64) -> f64,
    ) -> Result<Value, FitError> {
        let paths = |from: u64| -> Vec<Vec<f64>> {
            (from..from + scenarios)
                .map(|s| self.path(start_hours, hours, seed, s))
                .collect()
        };
        let rule = Rule::fit(&paths(scenarios), rights, payoff)?;
        let values = paths(0)
            .iter()
            .map(|path| rule.follow(path, payoff))
            .collect();
        Ok(Value::of(values, seed)?)
    }

    /// Bounds of a swing: the best fixed choice of hours, and perfect foresight.
    ///
    /// # Errors
    /// [`ModelError`] for numbers outside their domain.
    pub fn swing_bounds(
        &self,
        start_hours: f64,
        hours: u32,
        strike: f64,
        rights: usize,
        scenarios: u64,
        seed: u64,
    ) -> Result<(f64, Value), ModelError> {
        let best = |mut values: Vec<f64>| -> f64 {
            values.sort_by(|a, b| b.total_cmp(a));
            values.iter().take(rights).sum()
        };
        let fixed = best(self.strip(start_hours, hours, strike)?);
        let foresight = (0..scenarios)
            .map(|s| {
                let path = self.path(start_hours, hours, seed, s);
                best(
                    path.iter()
                        .enumerate()
                        .map(|(h, s)| (s - strike).max(0.0) * self.discount_at(start_hours, h))
                        .collect(),
                )
            })
            .collect();
        Ok((fixed, Value::of(foresight, seed)?))
    }
}

/// A rule of exercise: per hour and number of rights left, a polynomial for the value of waiting.
struct Rule {
    waiting: Vec<Vec<Option<Vec<f64>>>>,
    rights: usize,
}

impl Rule {
    fn fit(
        paths: &[Vec<f64>],
        rights: usize,
        payoff: &dyn Fn(usize, f64) -> f64,
    ) -> Result<Self, FitError> {
        let steps = paths.first().map_or(0, Vec::len);
        if steps == 0 || paths.len() < 10 {
            return Err(FitError::TooFew {
                what: "regression Monte Carlo (paths)",
                found: paths.len(),
                needed: 10,
            });
        }
        // realised[r][path]: what the rest of the path earns with r rights under the rule so far.
        let mut realised = vec![vec![0.0; paths.len()]; rights + 1];
        let mut rule = Self {
            waiting: vec![vec![None; rights + 1]; steps],
            rights,
        };
        for t in (0..steps).rev() {
            if t + 1 < steps {
                let x: Vec<Vec<f64>> = paths.iter().map(|p| basis(p[t])).collect();
                for (r, earned) in realised.iter().enumerate().skip(1) {
                    // At the first step of a window that starts now every path is the same; then
                    // the mean is the best forecast.
                    rule.waiting[t][r] = Some(match ols(&x, earned) {
                        Ok(fit) => fit.beta,
                        Err(_) => vec![crate::numeric::mean(earned), 0.0, 0.0, 0.0],
                    });
                }
            }
            let before = realised.clone();
            for (i, path) in paths.iter().enumerate() {
                let now = payoff(t, path[t]);
                for (r, earned) in realised.iter_mut().enumerate().skip(1) {
                    if rule.takes(t, r, path[t], now) {
                        earned[i] = now + before[r - 1][i];
                    }
                }
            }
        }
        Ok(rule)
    }

    fn takes(&self, t: usize, r: usize, s: f64, now: f64) -> bool {
        let wait = |r: usize| {
            self.waiting[t][r]
                .as_ref()
                .map_or(0.0, |beta| crate::numeric::dot(beta, &basis(s)).max(0.0))
        };
        now > 0.0 && now + wait(r - 1) >= wait(r)
    }

    fn follow(&self, path: &[f64], payoff: &dyn Fn(usize, f64) -> f64) -> f64 {
        let mut left = self.rights;
        let mut sum = 0.0;
        for (t, s) in path.iter().enumerate() {
            let now = payoff(t, *s);
            if left > 0 && self.takes(t, left, *s, now) {
                sum += now;
                left -= 1;
            }
        }
        sum
    }
}

fn basis(s: f64) -> Vec<f64> {
    vec![1.0, s, s * s, s * s * s]
}

/// What preemption costs the buyer per hour: `hazard · (lost work + restart - compensation)`,
/// positive when the buyer loses, USD per unit-hour.
///
/// # Errors
/// [`ModelError::Range`] for a negative hazard or a number that is not finite.
pub fn preempted_buyer(
    hazard: f64,
    lost_work: f64,
    restart: f64,
    compensation: f64,
) -> Result<f64, ModelError> {
    Ok(not_negative("preemption hazard", hazard)?
        * (finite("lost work", lost_work)? + finite("restart", restart)?
            - finite("compensation", compensation)?))
}

/// Two lognormal legs of a spread option.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Forward of the leg received.
    pub f1: f64,
    /// Forward of the leg paid.
    pub f2: f64,
    /// Volatility of the first leg, per square root of the unit of `t`.
    pub v1: f64,
    /// Volatility of the second leg.
    pub v2: f64,
    /// Correlation of the two.
    pub rho: f64,
}

impl Spread {
    /// Undiscounted `E max(X1 - X2, 0)`.
    ///
    /// # Errors
    /// [`ModelError::Range`] for numbers outside their domain.
    ///
    /// # Source
    /// Margrabe 1978: variance `(v1² + v2² - 2ρ v1 v2) T`.
    pub fn margrabe(&self, t: f64) -> Result<f64, ModelError> {
        positive("first forward", self.f1)?;
        positive("second forward", self.f2)?;
        not_negative("first volatility", self.v1)?;
        not_negative("second volatility", self.v2)?;
        not_negative("maturity", t)?;
        if !(-1.0..=1.0).contains(&self.rho) {
            return Err(ModelError::Range {
                what: "correlation",
                value: self.rho,
                rule: "between -1 and 1",
            });
        }
        let v = self.v1 * self.v1 + self.v2 * self.v2 - 2.0 * self.rho * self.v1 * self.v2;
        Ok(black(self.f1, self.f2, v.max(0.0) * t))
    }

    /// Kirk's approximation of `E max(X1 - X2 - K, 0)`: second leg `F2 + K`, its volatility scaled by
    /// `F2 / (F2 + K)`.
    ///
    /// # Errors
    /// As [`Spread::margrabe`]; [`ModelError::Range`] unless `F2 + K` is positive.
    pub fn kirk(&self, strike: f64, t: f64) -> Result<f64, ModelError> {
        let leg = positive(
            "second leg plus strike",
            self.f2 + finite("strike", strike)?,
        )?;
        Self {
            f2: leg,
            v2: self.v2 * self.f2 / leg,
            ..*self
        }
        .margrabe(t)
    }
}

/// `E max(X - K, 0)` of the shutdown right needs the joint law; this is `N(d)` of being shut down,
/// the share of hours in which energy costs more than the rent.
///
/// # Errors
/// As [`Spread::margrabe`].
pub fn shutdown_probability(spread: &Spread, t: f64) -> Result<f64, ModelError> {
    spread.margrabe(t)?;
    let v = (spread.v1.powi(2) + spread.v2.powi(2) - 2.0 * spread.rho * spread.v1 * spread.v2) * t;
    if v <= 0.0 {
        return Ok(f64::from(u8::from(spread.f1 > spread.f2)));
    }
    // Under the physical measure both legs keep their own drift of -v²/2.
    let drift = (spread.f1 / spread.f2).ln() - 0.5 * (spread.v1.powi(2) - spread.v2.powi(2)) * t;
    Ok(normal_cdf(drift / v.sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Lognormal = Lognormal {
        forward: 2.5,
        sigma: 0.08,
        discount: 0.0001,
    };

    fn check(exact: f64, payoff: impl Fn(&mut Stream) -> f64) {
        let draws: Vec<f64> = (0..40_000)
            .map(|s| payoff(&mut Stream::new(17, s, 0)))
            .collect();
        let mc = MonteCarlo::mean(&draws, 17).unwrap();
        assert!((mc.value - exact).abs() < 4.0 * mc.se, "{mc:?} {exact}");
    }

    #[test]
    fn the_strip_agrees_with_simulated_paths() {
        let exact: f64 = PRICE.strip(48.0, 12, 2.7).unwrap().iter().sum();
        let draws: Vec<f64> = (0..20_000)
            .map(|s| {
                let path = PRICE.path(48.0, 12, 3, s);
                path.iter()
                    .enumerate()
                    .map(|(h, s)| (s - 2.7).max(0.0) * PRICE.discount_at(48.0, h))
                    .sum()
            })
            .collect();
        let mc = MonteCarlo::mean(&draws, 3).unwrap();
        assert!((mc.value - exact).abs() < 4.0 * mc.se);
    }

    #[test]
    fn a_bermudan_with_one_date_is_black_76_and_more_dates_are_worth_more() {
        let one = PRICE.bermudan(72.0, 1, 2.6, 20_000, 5).unwrap();
        let exact = PRICE.strip(72.0, 1, 2.6).unwrap()[0];
        assert!((one.expected - exact).abs() < 4.0 * one.se);
        let hours = 24;
        let many = PRICE.bermudan(0.0, hours, 2.6, 4000, 6).unwrap();
        let single = (0..hours)
            .map(|h| (f64::from(hours - h)) * PRICE.strip(f64::from(h), 1, 2.6).unwrap()[0])
            .fold(0.0, f64::max);
        let strip: f64 = PRICE.strip(0.0, hours, 2.6).unwrap().iter().sum();
        assert!(many.expected > single - 4.0 * many.se, "{many:?} {single}");
        assert!(many.expected < strip + 4.0 * many.se, "{many:?} {strip}");
    }

    #[test]
    fn a_swing_lies_between_its_bounds_and_all_rights_are_the_strip() {
        let (hours, strike) = (12, 2.5);
        let (low, high) = PRICE.swing_bounds(24.0, hours, strike, 3, 4000, 7).unwrap();
        let swing = PRICE.swing(24.0, hours, strike, 3, 4000, 7).unwrap();
        assert!(swing.expected > low - 4.0 * swing.se, "{swing:?} {low}");
        assert!(
            swing.expected < high.expected + 4.0 * high.se,
            "{swing:?} {high:?}"
        );
        let all = PRICE.swing(24.0, hours, strike, 12, 4000, 7).unwrap();
        let strip: f64 = PRICE.strip(24.0, hours, strike).unwrap().iter().sum();
        assert!(
            (all.expected - strip).abs() < 4.0 * all.se,
            "{all:?} {strip}"
        );
    }

    #[test]
    fn the_energy_cap_strip_agrees_with_its_paths() {
        let process = OuJump {
            kappa: 0.4,
            sigma: 0.25,
            lambda: 0.05,
            jump_mean: 0.6,
            jump_sd: 0.4,
        };
        let cap = EnergyCap {
            mwh: 0.0014,
            strike: 60.0,
            cap: 5000.0,
            start_hours: 20.0,
            hours: 6,
            discount: 0.0,
        };
        let f = [3.6, 3.7, 3.8, 3.9, 3.8, 3.6];
        let exact = cap.strip(&process, &f, 0.2).unwrap();
        let mc = cap.simulate(&process, &f, 0.2, 20_000, 8).unwrap();
        assert!((mc.expected - exact).abs() < 4.0 * mc.se, "{mc:?} {exact}");
        assert!(mc.es99 > mc.expected);
        assert!(cap.strip(&process, &f[1..], 0.2).is_err());
    }

    #[test]
    fn margrabe_agrees_with_simulation_and_kirk_with_margrabe_at_zero() {
        let s = Spread {
            f1: 2.0,
            f2: 2.2,
            v1: 0.5,
            v2: 0.3,
            rho: 0.4,
        };
        let legs = |z: &mut Stream| {
            let a = z.normal();
            let b = 0.4 * a + (1.0_f64 - 0.16).sqrt() * z.normal();
            (2.0 * (0.5 * a - 0.125).exp(), 2.2 * (0.3 * b - 0.045).exp())
        };
        check(s.margrabe(1.0).unwrap(), |z| {
            let (x, y) = legs(z);
            (x - y).max(0.0)
        });
        check(shutdown_probability(&s, 1.0).unwrap(), |z| {
            let (x, y) = legs(z);
            f64::from(u8::from(x > y))
        });
        assert_eq!(s.kirk(0.0, 1.0).unwrap(), s.margrabe(1.0).unwrap());
        // Kirk is an approximation: within half a per cent at a small strike.
        let exact = {
            let draws: Vec<f64> = (0..100_000)
                .map(|i| {
                    let (x, y) = legs(&mut Stream::new(9, i, 0));
                    (x - y - 0.1).max(0.0)
                })
                .collect();
            MonteCarlo::mean(&draws, 9).unwrap()
        };
        let kirk = s.kirk(0.1, 1.0).unwrap();
        assert!((kirk - exact.value).abs() < 4.0 * exact.se + 0.005 * kirk);
    }

    #[test]
    fn the_preempted_buyer_loses_what_compensation_does_not_cover() {
        assert_eq!(preempted_buyer(0.5, 10.0, 2.0, 5.0).unwrap(), 3.5);
        assert!(preempted_buyer(-0.1, 1.0, 1.0, 1.0).is_err());
    }
}
