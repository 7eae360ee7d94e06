//! Markov regimes: a mean-reverting base and independent spikes.
//!
//! Each step is base or spike, a Markov chain. In the base the deviation reverts, `x' = φ x + v ε`; in
//! a spike it is an independent normal `N(m, s²)` and the base goes on unseen below it. Jumps of the
//! mixture model decay at the speed of the base; spikes end when the chain leaves them, which fits
//! series whose spikes are gone after a day.
//!
//! The likelihood is exact up to [`HIDDEN`] unseen steps: the filter carries, beside the regime, how
//! many steps ago the base was last seen, because the base today has the law of that many steps.
//!
//! # Source
//! Huisman and Mahieu 2003; independent spikes: Janczura and Weron, An empirical comparison of
//! alternate regime-switching models for electricity spot prices (2010).

use serde::Serialize;

use super::{Interval, Point, Prepared, Transform, black};
use crate::numeric::maximise;
use crate::rng::Stream;
use crate::units::{Estimate, FitError, ModelError, finite, positive, probability};

/// Steps that the base may stay unseen before its stationary law is used.
pub const HIDDEN: usize = 20;

/// Parameters, per step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Regimes {
    /// Slope φ of the base, in (0, 1).
    pub phi: f64,
    /// Standard deviation v of a base innovation.
    pub base_sd: f64,
    /// Mean deviation m in a spike.
    pub spike_mean: f64,
    /// Standard deviation s in a spike.
    pub spike_sd: f64,
    /// Probability of a spike after a base step.
    pub enter: f64,
    /// Probability of the base after a spike step.
    pub leave: f64,
}

/// What is known today: the regime, and the base as last seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Today {
    /// Deviation of the base when it was last seen.
    pub base: f64,
    /// Steps since then; 0 if it is seen today.
    pub age: u32,
    /// Is today a spike?
    pub spike: bool,
}

impl Regimes {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`ModelError::Range`].
    pub fn check(&self) -> Result<(), ModelError> {
        positive("phi", self.phi)?;
        positive("1 - phi", 1.0 - self.phi)?;
        positive("sd of the base", self.base_sd)?;
        finite("mean of a spike", self.spike_mean)?;
        positive("sd of a spike", self.spike_sd)?;
        probability("probability of a spike", self.enter)?;
        probability("probability of its end", self.leave)?;
        Ok(())
    }

    /// Mean and variance of the base `steps` after it was `x`.
    #[must_use]
    pub fn base(&self, x: f64, steps: f64) -> (f64, f64) {
        let decay = self.phi.powf(steps);
        let variance = self.base_sd.powi(2) * (1.0 - decay * decay) / (1.0 - self.phi.powi(2));
        (x * decay, variance)
    }

    /// Probability of a spike in `steps`.
    #[must_use]
    pub fn spike_probability(&self, today: Today, steps: u32) -> f64 {
        let long_run = self.enter / (self.enter + self.leave).max(f64::MIN_POSITIVE);
        let start = f64::from(u8::from(today.spike));
        long_run + (start - long_run) * (1.0 - self.enter - self.leave).powf(f64::from(steps))
    }

    /// Forward price of `e^{f+x}` in `steps`: a mixture of two lognormals.
    ///
    /// # Errors
    /// [`ModelError::Range`] for parameters outside their domain.
    pub fn forward(&self, f: f64, today: Today, steps: u32) -> Result<f64, ModelError> {
        self.check()?;
        Ok(self
            .parts(f, today, steps)
            .iter()
            .map(|(weight, forward, _)| weight * forward)
            .sum())
    }

    /// Undiscounted mean of `max(min(P, C) - K, 0)` in `steps`, strike and cap above zero.
    ///
    /// # Errors
    /// As [`Regimes::forward`].
    pub fn capped_caplet(
        &self,
        f: f64,
        today: Today,
        steps: u32,
        strike: f64,
        cap: f64,
    ) -> Result<f64, ModelError> {
        self.check()?;
        positive("strike", strike)?;
        if strike >= cap {
            return Ok(0.0);
        }
        Ok(self
            .parts(f, today, steps)
            .iter()
            .map(|(w, forward, v)| w * (black(*forward, strike, *v) - black(*forward, cap, *v)))
            .sum())
    }

    /// (weight, forward, variance of the logarithm) of base and spike.
    fn parts(&self, f: f64, today: Today, steps: u32) -> [(f64, f64, f64); 2] {
        let spike = self.spike_probability(today, steps);
        let (mean, variance) = self.base(today.base, f64::from(today.age + steps));
        let spiked = self.spike_sd.powi(2);
        [
            (1.0 - spike, (f + mean + 0.5 * variance).exp(), variance),
            (spike, (f + self.spike_mean + 0.5 * spiked).exp(), spiked),
        ]
    }

    /// The next step: the unseen base, whether it is a spike, and the deviation that is seen.
    pub fn draw(&self, base: f64, spike: bool, stream: &mut Stream) -> (f64, bool, f64) {
        let base = self.phi * base + self.base_sd * stream.normal();
        let u = stream.uniform();
        let spike = if spike {
            u >= self.leave
        } else {
            u < self.enter
        };
        let own = self.spike_mean + self.spike_sd * stream.normal();
        (base, spike, if spike { own } else { base })
    }
}

/// A fit of two regimes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegimeFit {
    /// φ per step.
    pub phi: Estimate,
    /// v.
    pub base_sd: Estimate,
    /// m.
    pub spike_mean: Estimate,
    /// s.
    pub spike_sd: Estimate,
    /// Probability of a spike after a base step.
    pub enter: Estimate,
    /// Probability of the base after a spike step.
    pub leave: Estimate,
    /// Log-likelihood.
    pub log_likelihood: f64,
    /// Probability that the last step is a spike.
    pub last_spike: f64,
    /// Index of the last step.
    pub last_index: i64,
}

impl RegimeFit {
    /// The parameters.
    #[must_use]
    pub fn process(&self) -> Regimes {
        Regimes {
            phi: self.phi.value,
            base_sd: self.base_sd.value,
            spike_mean: self.spike_mean.value,
            spike_sd: self.spike_sd.value,
            enter: self.enter.value,
            leave: self.leave.value,
        }
    }
}

/// Fits two regimes to prices: season by least squares, then maximum likelihood on what is left.
///
/// # Errors
/// As [`super::calibrate_filtered`], and [`FitError::NoMaximum`] if the likelihood has no maximum.
pub fn fit_regimes(
    points: &[Point],
    interval: Interval,
    transform: Transform,
) -> Result<RegimeFit, FitError> {
    let start = super::calibrate_filtered(points, interval, transform)?;
    let prepared = Prepared::new(points, interval, transform)?;
    let p = start.lambda.value / interval.per_day() as f64;
    let guess = Regimes {
        phi: start.phi.value.clamp(0.05, 0.98),
        base_sd: start.innovation_sd,
        spike_mean: start.jump_mean.value,
        spike_sd: start.jump_sd.value.max(start.innovation_sd),
        enter: p.clamp(0.005, 0.3),
        leave: 0.5,
    };
    fit_regime_deviations(&prepared.deviations, guess)
}

/// Fits two regimes to deviations `(index, x)` in order of index, from a first guess.
///
/// # Errors
/// [`FitError::TooFew`] below 100 deviations, [`FitError::NoMaximum`].
pub fn fit_regime_deviations(series: &[(i64, f64)], guess: Regimes) -> Result<RegimeFit, FitError> {
    guess.check()?;
    if series.len() < 100 {
        return Err(FitError::TooFew {
            what: "regime calibration",
            found: series.len(),
            needed: 100,
        });
    }
    let logit = |p: f64| (p / (1.0 - p)).ln();
    let unlogit = |z: f64| 1.0 / (1.0 + (-z).exp());
    let model = |t: &[f64]| Regimes {
        phi: unlogit(t[0]),
        base_sd: t[1].exp(),
        spike_mean: t[2],
        spike_sd: t[3].exp(),
        enter: unlogit(t[4]),
        leave: unlogit(t[5]),
    };
    let fit = maximise(
        "regime model",
        |t: &[f64]| {
            let p = model(t);
            // A spike law narrower than the base would collapse onto one point, where a mixture has
            // no maximum.
            if p.check().is_err() || p.spike_sd < p.base_sd {
                return f64::NEG_INFINITY;
            }
            filter(&p, series).0
        },
        &[
            logit(guess.phi),
            guess.base_sd.ln(),
            guess.spike_mean,
            guess.spike_sd.ln(),
            logit(guess.enter),
            logit(guess.leave),
        ],
        &[0.3, 0.1, 0.3 * guess.spike_sd, 0.2, 0.5, 0.5],
    )?;
    let n = series.len() as u64;
    let best = model(&fit.at);
    let estimate = |value: f64, slope: f64, i: usize| Estimate {
        value,
        se: fit.se[i] * slope,
        n,
    };
    let share = |p: f64, i: usize| estimate(p, p * (1.0 - p), i);
    Ok(RegimeFit {
        phi: share(best.phi, 0),
        base_sd: estimate(best.base_sd, best.base_sd, 1),
        spike_mean: estimate(best.spike_mean, 1.0, 2),
        spike_sd: estimate(best.spike_sd, best.spike_sd, 3),
        enter: share(best.enter, 4),
        leave: share(best.leave, 5),
        log_likelihood: fit.value,
        last_spike: filter(&best, series).1,
        last_index: series[series.len() - 1].0,
    })
}

/// Log-likelihood, and the probability that the last step is a spike.
fn filter(p: &Regimes, series: &[(i64, f64)]) -> (f64, f64) {
    let density = |e: f64, variance: f64| {
        (-0.5 * e * e / variance).exp() / (2.0 * std::f64::consts::PI * variance).sqrt()
    };
    let stationary = p.base_sd.powi(2) / (1.0 - p.phi * p.phi);
    let long_run = p.enter / (p.enter + p.leave);
    // weight[j]: the base was last seen j steps ago; the last entry, not since HIDDEN steps.
    let mut weight = [0.0; HIDDEN + 1];
    let mut seen: [f64; HIDDEN + 1] = [0.0; HIDDEN + 1];
    let mut log_likelihood = 0.0;
    let mut before: Option<i64> = None;
    for (index, x) in series {
        // A gap forgets the past: the next step starts from the long run.
        let follows = before.is_some_and(|b| b + 1 == *index);
        let mut next = [0.0; HIDDEN + 1];
        if follows {
            let spiked = density(x - p.spike_mean, p.spike_sd.powi(2));
            let mut base = 0.0;
            for j in 0..=HIDDEN {
                let (to_base, to_spike) = if j == 0 {
                    (1.0 - p.enter, p.enter)
                } else {
                    (p.leave, 1.0 - p.leave)
                };
                let (mean, variance) = if j == HIDDEN {
                    (0.0, stationary)
                } else {
                    p.base(seen[j], (j + 1) as f64)
                };
                base += weight[j] * to_base * density(x - mean, variance);
                next[(j + 1).min(HIDDEN)] += weight[j] * to_spike * spiked;
            }
            next[0] = base;
            let total: f64 = next.iter().sum();
            log_likelihood += total.max(f64::MIN_POSITIVE).ln();
            next.iter_mut()
                .for_each(|w| *w /= total.max(f64::MIN_POSITIVE));
            seen.copy_within(..HIDDEN, 1);
        } else {
            next[0] = (1.0 - long_run) * density(*x, stationary);
            next[HIDDEN] = long_run * density(x - p.spike_mean, p.spike_sd.powi(2));
            let total: f64 = next.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            log_likelihood += total.ln();
            next.iter_mut().for_each(|w| *w /= total);
        }
        seen[0] = *x;
        weight = next;
        before = Some(*index);
    }
    (log_likelihood, 1.0 - weight[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::MonteCarlo;

    const TRUTH: Regimes = Regimes {
        phi: 0.75,
        base_sd: 0.15,
        spike_mean: 1.0,
        spike_sd: 0.5,
        enter: 0.04,
        leave: 0.6,
    };

    #[test]
    fn forward_and_caplet_agree_with_simulation() {
        let today = Today {
            base: 0.3,
            age: 0,
            spike: false,
        };
        let check = |exact: f64, payoff: &dyn Fn(f64) -> f64| {
            let draws: Vec<f64> = (0..60_000)
                .map(|s| {
                    let mut stream = Stream::new(5, s, 0);
                    let mut state = (today.base, today.spike, 0.0);
                    for _ in 0..4 {
                        state = TRUTH.draw(state.0, state.1, &mut stream);
                    }
                    payoff((3.5 + state.2).exp())
                })
                .collect();
            let mc = MonteCarlo::mean(&draws, 5).unwrap();
            assert!(
                (mc.value - exact).abs() < 4.0 * mc.se,
                "{mc:?} against {exact}"
            );
        };
        check(TRUTH.forward(3.5, today, 4).unwrap(), &|p| p);
        check(
            TRUTH.capped_caplet(3.5, today, 4, 60.0, 200.0).unwrap(),
            &|p| (p.min(200.0) - 60.0).max(0.0),
        );
        let spiking = Today {
            age: 1,
            spike: true,
            ..today
        };
        assert!(TRUTH.forward(3.5, spiking, 1).unwrap() > TRUTH.forward(3.5, today, 1).unwrap());
    }

    #[test]
    fn known_parameters_are_recovered_across_gaps() {
        let mut stream = Stream::new(21, 0, 0);
        let mut state = (0.0, false, 0.0);
        let series: Vec<(i64, f64)> = (0..4000_i64)
            .map(|day| {
                state = TRUTH.draw(state.0, state.1, &mut stream);
                (day, state.2)
            })
            .filter(|(day, _)| day % 61 != 3)
            .collect();
        let guess = Regimes {
            phi: 0.5,
            base_sd: 0.2,
            spike_mean: 0.5,
            spike_sd: 0.7,
            enter: 0.02,
            leave: 0.5,
        };
        let fit = fit_regime_deviations(&series, guess).unwrap();
        for (e, truth) in [
            (fit.phi, TRUTH.phi),
            (fit.base_sd, TRUTH.base_sd),
            (fit.spike_mean, TRUTH.spike_mean),
            (fit.spike_sd, TRUTH.spike_sd),
            (fit.enter, TRUTH.enter),
            (fit.leave, TRUTH.leave),
        ] {
            assert!((e.value - truth).abs() < 4.0 * e.se, "{e:?} {truth}");
            assert!(e.se.is_finite() && e.se > 0.0);
        }
        assert!((0.0..=1.0).contains(&fit.last_spike));
    }

    #[test]
    fn bad_series_and_parameters_are_named() {
        assert!(matches!(
            fit_regime_deviations(&[(0, 1.0)], TRUTH),
            Err(FitError::TooFew { .. })
        ));
        let bad = Regimes { phi: 1.0, ..TRUTH };
        assert!(bad.check().is_err());
    }
}
