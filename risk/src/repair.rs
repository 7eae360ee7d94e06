//! How long a repair takes: exponential, lognormal or as observed.

use serde::{Deserialize, Serialize};

use crate::numeric::{mean, order, population_sd};
use crate::rng::Stream;
use crate::units::{Estimate, FitError, ModelError, positive};

/// Law of the time to repair, in the unit of time of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repair {
    /// Exponential.
    Exponential {
        /// Repairs per unit of time.
        rate: f64,
    },
    /// `exp(mu + sigma Z)`: the long repairs that an exponential misses.
    Lognormal {
        /// Mean of the logarithm.
        mu: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
    /// Drawn from the durations themselves, with replacement.
    Empirical {
        /// Observed durations, at least one.
        durations: Vec<f64>,
    },
}

impl Repair {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`ModelError::Range`] or [`ModelError::Shape`].
    pub fn check(&self) -> Result<(), ModelError> {
        match self {
            Self::Exponential { rate } => positive("repair rate", *rate).map(|_| ()),
            Self::Lognormal { mu, sigma } => {
                crate::units::finite("repair mu", *mu)?;
                crate::units::not_negative("repair sigma", *sigma).map(|_| ())
            }
            Self::Empirical { durations } if durations.is_empty() => {
                Err(ModelError::Shape { what: "repairs" })
            }
            Self::Empirical { durations } => durations
                .iter()
                .try_for_each(|d| crate::units::not_negative("repair", *d).map(|_| ())),
        }
    }

    /// One duration; of an empty empirical law, 0.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a uniform below 1 times a length is an index"
    )]
    pub fn draw(&self, stream: &mut Stream) -> f64 {
        match self {
            Self::Exponential { rate } => stream.exponential(*rate),
            Self::Lognormal { mu, sigma } => (mu + sigma * stream.normal()).exp(),
            Self::Empirical { durations } => {
                let i = stream.uniform() * durations.len() as f64;
                durations.get(i as usize).copied().unwrap_or(0.0)
            }
        }
    }

    /// Mean duration.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match self {
            Self::Exponential { rate } => 1.0 / rate,
            Self::Lognormal { mu, sigma } => (mu + 0.5 * sigma * sigma).exp(),
            Self::Empirical { durations } => mean(durations),
        }
    }
}

/// Lognormal fit of repair times, and the sample beside it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RepairFit {
    /// Mean of ln duration over positive repairs, unit of the input.
    pub mu: Estimate,
    /// Population standard deviation of ln duration.
    pub sigma: Estimate,
    /// Mean of all durations, zeros included.
    pub mean: f64,
    /// Median of all durations.
    pub median: f64,
    /// 95 % point of all durations.
    pub p95: f64,
    /// Durations of exactly zero: left out of mu and sigma.
    pub zeros: u64,
}

/// Fits repair durations.
///
/// # Errors
/// [`FitError::TooFew`] without two positive durations; [`FitError::Model`] for a negative one.
pub fn fit_repair(durations: &[f64]) -> Result<RepairFit, FitError> {
    for d in durations {
        crate::units::not_negative("repair", *d)?;
    }
    let logs: Vec<f64> = durations
        .iter()
        .filter(|d| **d > 0.0)
        .map(|d| d.ln())
        .collect();
    if logs.len() < 2 {
        return Err(FitError::TooFew {
            what: "lognormal repair",
            found: logs.len(),
            needed: 2,
        });
    }
    let n = logs.len() as u64;
    let sigma = population_sd(&logs);
    let mut sorted = durations.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |q| sorted[order(q, sorted.len()) - 1];
    Ok(RepairFit {
        mu: Estimate {
            value: mean(&logs),
            se: sigma / (n as f64).sqrt(),
            n,
        },
        sigma: Estimate {
            value: sigma,
            se: sigma / (2.0 * n as f64).sqrt(),
            n,
        },
        mean: mean(durations),
        median: at(0.5),
        p95: at(0.95),
        zeros: durations.len() as u64 - n,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_parameters_come_back_within_four_errors() {
        let law = Repair::Lognormal {
            mu: 1.2,
            sigma: 1.5,
        };
        let mut stream = Stream::new(5, 0, 0);
        let mut data: Vec<f64> = (0..4000).map(|_| law.draw(&mut stream)).collect();
        data.extend([0.0; 7]);
        let fit = fit_repair(&data).unwrap();
        assert!((fit.mu.value - 1.2).abs() < 4.0 * fit.mu.se);
        assert!((fit.sigma.value - 1.5).abs() < 4.0 * fit.sigma.se);
        assert_eq!(fit.zeros, 7);
    }

    #[test]
    fn nothing_and_negative_durations_are_named() {
        assert!(matches!(fit_repair(&[]), Err(FitError::TooFew { .. })));
        assert!(matches!(
            fit_repair(&[1.0, -1.0, 2.0]),
            Err(FitError::Model(_))
        ));
        assert!(matches!(
            fit_repair(&[0.0, 0.0]),
            Err(FitError::TooFew { found: 0, .. })
        ));
    }
}
