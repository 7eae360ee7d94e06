//! Money as integers, estimates with their errors, and the two error types of the models.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Money in millionths of a US dollar.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MicroUsd(i64);

impl MicroUsd {
    /// From whole micro-USD.
    #[must_use]
    pub const fn new(micro_usd: i64) -> Self {
        Self(micro_usd)
    }

    /// Whole micro-USD.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// As US dollars; exact up to 2^53 micro-USD.
    #[must_use]
    pub fn usd(self) -> f64 {
        self.0 as f64 / MICRO_PER_USD
    }

    /// Rounds US dollars towards plus infinity: margins, premiums and losses.
    ///
    /// # Errors
    /// [`ModelError::Range`] if the amount is not finite or beyond 2^62 micro-USD.
    pub fn up(usd: f64) -> Result<Self, ModelError> {
        Self::narrow((usd * MICRO_PER_USD).ceil())
    }

    /// Rounds US dollars towards minus infinity: credits and gains.
    ///
    /// # Errors
    /// [`ModelError::Range`] if the amount is not finite or beyond 2^62 micro-USD.
    pub fn down(usd: f64) -> Result<Self, ModelError> {
        Self::narrow((usd * MICRO_PER_USD).floor())
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole and below 2^62 by the check"
    )]
    fn narrow(micro_usd: f64) -> Result<Self, ModelError> {
        const LIMIT: f64 = 4_611_686_018_427_387_904.0; // 2^62
        if micro_usd.is_finite() && micro_usd.abs() < LIMIT {
            Ok(Self(micro_usd as i64))
        } else {
            Err(ModelError::Range {
                what: "amount in micro-USD",
                value: micro_usd,
                rule: "finite and below 2^62",
            })
        }
    }
}

impl fmt::Display for MicroUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6} USD", self.usd())
    }
}

/// An estimate from data: the unit is the one of the quantity it estimates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Point estimate.
    pub value: f64,
    /// Standard error, in the unit of `value`; NaN never, infinite when the data say nothing.
    pub se: f64,
    /// Observations behind it.
    pub n: u64,
}

/// A Monte Carlo result: the same seed and scenario count give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonteCarlo {
    /// Mean over scenarios (or a tail statistic where that is said).
    pub value: f64,
    /// Its standard error.
    pub se: f64,
    /// Number of scenarios.
    pub scenarios: u64,
    /// Seed of the generator.
    pub seed: u64,
}

impl MonteCarlo {
    /// Mean and standard error of `samples`, summed in the order given.
    ///
    /// # Errors
    /// [`ModelError::Shape`] with fewer than two samples.
    pub fn mean(samples: &[f64], seed: u64) -> Result<Self, ModelError> {
        if samples.len() < 2 {
            return Err(ModelError::Shape {
                what: "Monte Carlo sample",
            });
        }
        let n = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / n;
        let square = samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        Ok(Self {
            value: mean,
            se: (square / (n - 1.0) / n).sqrt(),
            scenarios: samples.len() as u64,
            seed,
        })
    }
}

/// Why a model cannot be evaluated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// A slice is empty or its length does not fit.
    #[error("{what} is empty or has the wrong length")]
    Shape {
        /// Which slice.
        what: &'static str,
    },
    /// A number lies outside the domain of the formula, or is not a number.
    #[error("{what} is {value}, which is not allowed: it must be {rule}")]
    Range {
        /// Which number.
        what: &'static str,
        /// What it was.
        value: f64,
        /// What it must be.
        rule: &'static str,
    },
    /// The tail is so heavy that the mean does not exist, and no cap limits it.
    #[error(
        "the tail index {xi} is 1 or more and there is no cap: the expected shortfall is infinite"
    )]
    InfiniteMean {
        /// Tail index of the generalised Pareto distribution.
        xi: f64,
    },
}

/// Why an estimator has no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FitError {
    /// Not enough usable observations.
    #[error("{what}: {found} usable observations, at least {needed} are needed")]
    TooFew {
        /// Which estimator.
        what: &'static str,
        /// Observations found.
        found: usize,
        /// Observations needed.
        needed: usize,
    },
    /// The likelihood has no inner maximum, or a matrix is singular.
    #[error("{what}: no maximum found; the data do not identify the parameters")]
    NoMaximum {
        /// Which estimator.
        what: &'static str,
    },
    /// A number in the data is outside the model's domain.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Checks that `value` is finite and above zero.
///
/// # Errors
/// [`ModelError::Range`] otherwise.
pub fn positive(what: &'static str, value: f64) -> Result<f64, ModelError> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(ModelError::Range {
            what,
            value,
            rule: "finite and above 0",
        })
    }
}

/// Checks that `value` is finite and not below zero.
///
/// # Errors
/// [`ModelError::Range`] otherwise.
pub fn not_negative(what: &'static str, value: f64) -> Result<f64, ModelError> {
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err(ModelError::Range {
            what,
            value,
            rule: "finite and not below 0",
        })
    }
}

/// Checks that `value` is finite.
///
/// # Errors
/// [`ModelError::Range`] otherwise.
pub fn finite(what: &'static str, value: f64) -> Result<f64, ModelError> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(ModelError::Range {
            what,
            value,
            rule: "finite",
        })
    }
}

/// Checks that `value` lies strictly between 0 and 1.
///
/// # Errors
/// [`ModelError::Range`] otherwise.
pub fn open_unit(what: &'static str, value: f64) -> Result<f64, ModelError> {
    if value > 0.0 && value < 1.0 {
        Ok(value)
    } else {
        Err(ModelError::Range {
            what,
            value,
            rule: "strictly between 0 and 1",
        })
    }
}

/// Checks that `value` is a probability.
///
/// # Errors
/// [`ModelError::Range`] otherwise.
pub fn probability(what: &'static str, value: f64) -> Result<f64, ModelError> {
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(ModelError::Range {
            what,
            value,
            rule: "between 0 and 1",
        })
    }
}

const MICRO_PER_USD: f64 = 1e6;

/// Hours in a day.
pub const HOURS_PER_DAY: f64 = 24.0;

/// Days in a year of the seasonal terms.
pub const DAYS_PER_YEAR: f64 = 365.25;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_round_up_and_credits_down_on_both_sides_of_zero() {
        for (usd, up, down) in [
            (0.000_000_4, 1, 0),
            (-0.000_000_4, 0, -1),
            (2.5, 2_500_000, 2_500_000),
        ] {
            assert_eq!(MicroUsd::up(usd).unwrap().get(), up);
            assert_eq!(MicroUsd::down(usd).unwrap().get(), down);
        }
    }

    #[test]
    fn what_is_not_a_number_is_an_error() {
        for usd in [f64::NAN, f64::INFINITY, -1e300] {
            assert!(MicroUsd::up(usd).is_err());
            assert!(MicroUsd::down(usd).is_err());
        }
    }
}
