//! Jump rates that follow the season and the load.
//!
//! The probability of a jump in a step is `1 - exp(-λ_t / steps per day)` with
//! `ln λ_t = b0 + b1 cos + b2 sin + b3 cos 2 + b4 sin 2 + b5 load`, the harmonics annual and the load
//! standardised. A constant rate calls a spike in April as likely as one in August. Jumps are those
//! that the filtered calibration finds.
//!
//! # Source
//! `docs/risk.md`, energy; complementary log-log regression of a counting process on covariates.

use serde::Serialize;

use super::{Interval, Point, Prepared, Season, Transform};
use crate::numeric::{chi_square_p, dot, maximise, mean, variance};
use crate::units::{Estimate, FitError};

/// One step: was there a jump?
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JumpStep {
    /// Day or hour since the epoch.
    pub index: i64,
    /// A jump, by the filter.
    pub jump: bool,
}

/// A fitted rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Intensity {
    /// Step of the index.
    pub interval: Interval,
    /// Coefficients of ln λ with their errors, by name.
    pub coefficients: Vec<(String, Estimate)>,
    /// Mean and standard deviation that standardise the load; `None` without load.
    pub load: Option<(f64, f64)>,
    /// Log-likelihood.
    pub log_likelihood: f64,
    /// Likelihood ratio against a constant rate, and its p-value.
    pub lr: f64,
    /// Chi-square p-value of `lr`.
    pub lr_p: f64,
    /// Jumps.
    pub jumps: u64,
    /// Steps.
    pub steps: u64,
}

impl Intensity {
    /// λ at a step, jumps per day; `load` in the unit of the data, ignored by a fit without it. A fit
    /// with load takes a missing one as the mean.
    #[must_use]
    pub fn at(&self, index: i64, load: Option<f64>) -> f64 {
        let z = match (self.load, load) {
            (Some((m, s)), Some(load)) => Some((load - m) / s),
            (Some(_), None) => Some(0.0),
            (None, _) => None,
        };
        let b: Vec<f64> = self.coefficients.iter().map(|c| c.1.value).collect();
        dot(&b, &regressors(self.interval, index, z)).exp()
    }
}

/// Steps with and without a jump, as the filtered calibration sees them.
///
/// # Errors
/// As [`super::calibrate_filtered`].
pub fn jump_steps(
    points: &[Point],
    interval: Interval,
    transform: Transform,
) -> Result<Vec<JumpStep>, FitError> {
    let prepared = Prepared::new(points, interval, transform)?;
    let innovations = prepared.innovations(prepared.phi);
    let (calm, _) = super::split(&innovations);
    let centre = mean(&calm);
    let far = calm
        .iter()
        .map(|e| (e - centre).abs())
        .fold(0.0_f64, f64::max);
    Ok(prepared
        .ends
        .iter()
        .zip(&innovations)
        .map(|(index, e)| JumpStep {
            index: *index,
            jump: (e - centre).abs() > far,
        })
        .collect())
}

/// Fits the rate by maximum likelihood; `load(index)` gives the load of a step, and steps without one
/// are left out when there is a load at all.
///
/// # Errors
/// [`FitError::TooFew`] with fewer jumps than five per coefficient, [`FitError::NoMaximum`] without a
/// maximum or with a load that does not vary.
pub fn fit_intensity(
    steps: &[JumpStep],
    interval: Interval,
    load: Option<&dyn Fn(i64) -> Option<f64>>,
) -> Result<Intensity, FitError> {
    let mut rows: Vec<(Vec<f64>, bool)> = Vec::with_capacity(steps.len());
    let mut scale = None;
    if let Some(load) = load {
        let known: Vec<(&JumpStep, f64)> = steps
            .iter()
            .filter_map(|s| Some((s, load(s.index).filter(|l| l.is_finite())?)))
            .collect();
        let loads: Vec<f64> = known.iter().map(|k| k.1).collect();
        let sd = if loads.len() < 2 {
            0.0
        } else {
            variance(&loads).sqrt()
        };
        if !(sd.is_finite() && sd > 0.0) {
            return Err(FitError::NoMaximum {
                what: "jump rate by load (a load that does not vary)",
            });
        }
        let m = mean(&loads);
        scale = Some((m, sd));
        for (s, l) in known {
            rows.push((regressors(interval, s.index, Some((l - m) / sd)), s.jump));
        }
    } else {
        rows.extend(
            steps
                .iter()
                .map(|s| (regressors(interval, s.index, None), s.jump)),
        );
    }
    let jumps = rows.iter().filter(|r| r.1).count();
    let mut names = vec!["level", "cos_1", "sin_1", "cos_2", "sin_2"];
    if scale.is_some() {
        names.push("load");
    }
    if jumps < 5 * names.len() {
        return Err(FitError::TooFew {
            what: "jumps for a rate by season",
            found: jumps,
            needed: 5 * names.len(),
        });
    }
    let per_day = interval.per_day() as f64;
    let log_likelihood = |b: &[f64]| -> f64 {
        rows.iter()
            .map(|(x, jump)| {
                let h = dot(b, x).exp() / per_day;
                if *jump {
                    (-(-h).exp_m1()).max(f64::MIN_POSITIVE).ln()
                } else {
                    -h
                }
            })
            .sum()
    };
    let n = rows.len();
    let share = jumps as f64 / n as f64;
    let constant = (-(-share).ln_1p() * per_day).ln();
    let mut start = vec![0.0; names.len()];
    start[0] = constant;
    let fit = maximise(
        "jump rate by season",
        log_likelihood,
        &start,
        &vec![0.3; names.len()],
    )?;
    let lr = (2.0 * (fit.value - log_likelihood(&start))).max(0.0);
    Ok(Intensity {
        interval,
        coefficients: names
            .iter()
            .zip(fit.at.iter().zip(&fit.se))
            .map(|(name, (value, se))| {
                let estimate = Estimate {
                    value: *value,
                    se: *se,
                    n: n as u64,
                };
                ((*name).to_owned(), estimate)
            })
            .collect(),
        load: scale,
        log_likelihood: fit.value,
        lr,
        lr_p: chi_square_p(lr, (names.len() - 1) as f64),
        jumps: jumps as u64,
        steps: n as u64,
    })
}

fn regressors(interval: Interval, index: i64, load: Option<f64>) -> Vec<f64> {
    // Level and the four annual harmonics of the season, without trend and weekend.
    let season = Season::row(index, interval, index);
    let mut row = vec![1.0, season[2], season[3], season[4], season[5]];
    row.extend(load);
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    #[test]
    fn known_coefficients_are_recovered_and_a_constant_rate_is_not_rejected() {
        let truth = [-3.0, 0.8, -0.4, 0.3, 0.0, 0.7];
        let load = |i: i64| Some(50.0 + 10.0 * ((i as f64) * 0.37).sin() * 1.4);
        let mut stream = Stream::new(31, 0, 0);
        let z = |i: i64| (load(i).unwrap() - 50.0) / 10.0;
        let days = 20_000..26_000_i64;
        let steps: Vec<JumpStep> = days
            .clone()
            .map(|index| {
                let rate = dot(&truth, &regressors(Interval::Day, index, Some(z(index)))).exp();
                JumpStep {
                    index,
                    jump: stream.uniform() < -(-rate).exp_m1(),
                }
            })
            .collect();
        let fit = fit_intensity(&steps, Interval::Day, Some(&load)).unwrap();
        for ((name, e), truth) in fit.coefficients.iter().zip(truth) {
            assert!((e.value - truth).abs() < 4.0 * e.se, "{name} {e:?} {truth}");
        }
        assert!(fit.lr_p < 1e-6);
        let rate = dot(&truth, &regressors(Interval::Day, 21_000, Some(z(21_000)))).exp();
        assert!((fit.at(21_000, load(21_000)) / rate - 1.0).abs() < 0.3);

        let constant: Vec<JumpStep> = days
            .map(|index| JumpStep {
                index,
                jump: stream.uniform() < 0.05,
            })
            .collect();
        let fit = fit_intensity(&constant, Interval::Day, None).unwrap();
        assert!(fit.lr_p > 0.001, "{fit:?}");
        assert_eq!(fit.steps, 6000);
    }

    #[test]
    fn too_few_jumps_and_a_flat_load_are_named() {
        let none: Vec<JumpStep> = (0..400)
            .map(|index| JumpStep { index, jump: false })
            .collect();
        assert!(matches!(
            fit_intensity(&none, Interval::Day, None),
            Err(FitError::TooFew { .. })
        ));
        let flat = |_: i64| Some(1.0);
        assert!(matches!(
            fit_intensity(&none, Interval::Day, Some(&flat)),
            Err(FitError::NoMaximum { .. })
        ));
        assert!(matches!(
            fit_intensity(&[], Interval::Day, Some(&flat)),
            Err(FitError::NoMaximum { .. })
        ));
    }
}
