//! The far tail: generalised Pareto above a threshold, and what a legal cap makes of it.
//!
//! # Source
//! `docs/risk.md`, energy: `P(X > x | X > u) = (1 + ξ (x-u)/β)^(-1/ξ)`.

use serde::{Deserialize, Serialize};

use crate::numeric::{maximise, mean};
use crate::units::{Estimate, FitError, ModelError, finite, open_unit, positive};

/// A generalised Pareto tail above a threshold; unit of `threshold` and `beta` is that of the data.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParetoTail {
    /// Threshold u.
    pub threshold: f64,
    /// `P(X > u)`.
    pub exceed: f64,
    /// Tail index ξ.
    pub xi: f64,
    /// Scale β.
    pub beta: f64,
}

/// A fitted tail.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ParetoFit {
    /// The tail.
    pub tail: ParetoTail,
    /// Tail index with its error.
    pub xi: Estimate,
    /// Scale with its error.
    pub beta: Estimate,
    /// Log-likelihood of the excesses.
    pub log_likelihood: f64,
}

/// Fits the excesses of `data` over `threshold` by maximum likelihood.
///
/// # Errors
/// [`FitError::TooFew`] with fewer than 20 excesses; [`FitError::Model`] if a datum is not finite.
pub fn fit_pareto(data: &[f64], threshold: f64) -> Result<ParetoFit, FitError> {
    let what = "generalised Pareto tail";
    finite("threshold", threshold)?;
    for x in data {
        finite("price", *x)?;
    }
    let excess: Vec<f64> = data
        .iter()
        .map(|x| x - threshold)
        .filter(|y| *y > 0.0)
        .collect();
    if excess.len() < 20 {
        return Err(FitError::TooFew {
            what,
            found: excess.len(),
            needed: 20,
        });
    }
    let scale = mean(&excess);
    let log_likelihood = |p: &[f64]| -> f64 {
        let (xi, beta) = (p[0], p[1]);
        if beta <= 0.0 || xi < -1.0 {
            return f64::NEG_INFINITY;
        }
        excess
            .iter()
            .map(|y| {
                let z = y / beta;
                let log = if xi.abs() < 1e-8 {
                    z
                } else if 1.0 + xi * z > 0.0 {
                    (1.0 + 1.0 / xi) * (xi * z).ln_1p()
                } else {
                    return f64::NEG_INFINITY;
                };
                -beta.ln() - log
            })
            .sum()
    };
    let fit = maximise(what, log_likelihood, &[0.1, scale], &[0.2, 0.3 * scale])?;
    let n = excess.len() as u64;
    Ok(ParetoFit {
        tail: ParetoTail {
            threshold,
            exceed: excess.len() as f64 / data.len() as f64,
            xi: fit.at[0],
            beta: fit.at[1],
        },
        xi: Estimate {
            value: fit.at[0],
            se: fit.se[0],
            n,
        },
        beta: Estimate {
            value: fit.at[1],
            se: fit.se[1],
            n,
        },
        log_likelihood: fit.value,
    })
}

impl ParetoTail {
    /// `P(X > x)` for `x` at or above the threshold.
    #[must_use]
    pub fn survival(&self, x: f64) -> f64 {
        let z = (x - self.threshold).max(0.0) / self.beta;
        let beyond = if self.xi.abs() < 1e-12 {
            (-z).exp()
        } else {
            (1.0 + self.xi * z).max(0.0).powf(-1.0 / self.xi)
        };
        self.exceed * beyond
    }

    /// Value at risk at level `q`.
    ///
    /// # Errors
    /// [`ModelError::Range`] if the level lies below the threshold's own.
    pub fn var(&self, q: f64) -> Result<f64, ModelError> {
        open_unit("level", q)?;
        positive("beta", self.beta)?;
        let ratio = self.exceed / (1.0 - q);
        if ratio < 1.0 {
            return Err(ModelError::Range {
                what: "level",
                value: q,
                rule: "at or above the share of data below the threshold",
            });
        }
        Ok(self.threshold
            + if self.xi.abs() < 1e-12 {
                self.beta * ratio.ln()
            } else {
                self.beta / self.xi * (ratio.powf(self.xi) - 1.0)
            })
    }

    /// Expected shortfall without a cap: `(VaR + β - ξu) / (1 - ξ)`.
    ///
    /// # Errors
    /// [`ModelError::InfiniteMean`] if ξ >= 1; as [`ParetoTail::var`].
    pub fn es(&self, q: f64) -> Result<f64, ModelError> {
        if self.xi >= 1.0 {
            return Err(ModelError::InfiniteMean { xi: self.xi });
        }
        Ok((self.var(q)? + self.beta - self.xi * self.threshold) / (1.0 - self.xi))
    }

    /// Expected shortfall of `min(X, cap)`: finite for every ξ.
    ///
    /// # Errors
    /// As [`ParetoTail::var`]; [`ModelError::Range`] if the cap is not finite.
    pub fn es_capped(&self, q: f64, cap: f64) -> Result<f64, ModelError> {
        finite("cap", cap)?;
        let var = self.var(q)?;
        if var >= cap {
            return Ok(cap);
        }
        // ES = VaR + ∫ P(X > x) / (1 - q) dx from VaR to the cap.
        let z = |x: f64| 1.0 + self.xi * (x - self.threshold) / self.beta;
        let area = if self.xi.abs() < 1e-9 {
            let e = |x: f64| (-(x - self.threshold) / self.beta).exp();
            self.beta * (e(var) - e(cap))
        } else if (self.xi - 1.0).abs() < 1e-9 {
            self.beta * (z(cap) / z(var)).ln()
        } else {
            let power = |x: f64| z(x).max(0.0).powf(1.0 - 1.0 / self.xi);
            self.beta / (self.xi - 1.0) * (power(cap) - power(var))
        };
        Ok(var + self.exceed * area / (1.0 - q))
    }
}

/// Mean excess over each of `thresholds`: the plot that shows where a tail becomes Pareto. Thresholds
/// without an excess are left out.
#[must_use]
pub fn mean_excess(data: &[f64], thresholds: &[f64]) -> Vec<(f64, f64)> {
    thresholds
        .iter()
        .filter_map(|u| {
            let beyond: Vec<f64> = data.iter().filter(|x| *x > u).map(|x| x - u).collect();
            (!beyond.is_empty()).then(|| (*u, mean(&beyond)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::integrate;
    use crate::rng::Stream;

    fn tail(xi: f64) -> ParetoTail {
        ParetoTail {
            threshold: 100.0,
            exceed: 0.05,
            xi,
            beta: 40.0,
        }
    }

    #[test]
    fn var_and_es_agree_with_quadrature() {
        for xi in [-0.2, 0.0, 0.3, 0.6, 1.0, 1.4] {
            let t = tail(xi);
            let var = t.var(0.99).unwrap();
            assert!((t.survival(var) - 0.01).abs() < 1e-12, "{xi}");
            let cap = 5000.0;
            let exact = var + integrate(|x| t.survival(x), var, cap, 1e-12) / 0.01;
            let es = t.es_capped(0.99, cap).unwrap();
            assert!((es / exact - 1.0).abs() < 1e-6, "{xi} {es} {exact}");
            match t.es(0.99) {
                Ok(es) => assert!(xi < 1.0 && es >= t.es_capped(0.99, cap).unwrap() - 1e-9),
                Err(error) => {
                    assert!(xi >= 1.0 && matches!(error, ModelError::InfiniteMean { .. }))
                }
            }
        }
        assert!(tail(0.1).var(0.5).is_err());
        assert_eq!(tail(0.1).es_capped(0.99, 120.0).unwrap(), 120.0);
    }

    #[test]
    fn known_tails_come_back() {
        for (xi, beta) in [(0.25, 30.0), (0.7, 5.0), (0.0, 1.0)] {
            let mut s = Stream::new(3, 0, 0);
            let data: Vec<f64> = (0..3000)
                .map(|_| {
                    let u = s.uniform();
                    if xi == 0.0 {
                        -beta * f64::ln(u)
                    } else {
                        beta / xi * (f64::powf(u, -xi) - 1.0)
                    }
                })
                .collect();
            let fit = fit_pareto(&data, 0.0).unwrap();
            assert!((fit.xi.value - xi).abs() < 4.0 * fit.xi.se, "{fit:?}");
            assert!((fit.beta.value - beta).abs() < 4.0 * fit.beta.se, "{fit:?}");
        }
        assert!(matches!(
            fit_pareto(&[1.0; 10], 0.0),
            Err(FitError::TooFew { .. })
        ));
        assert!(fit_pareto(&[f64::NAN; 50], 0.0).is_err());
    }

    #[test]
    fn the_mean_excess_of_an_exponential_is_flat() {
        let data: Vec<f64> = (1..2000).map(|i| -f64::ln(f64::from(i) / 2000.0)).collect();
        for (_, e) in mean_excess(&data, &[0.0, 1.0, 2.0]) {
            assert!((e - 1.0).abs() < 0.05);
        }
        assert!(mean_excess(&data, &[1e9]).is_empty());
    }
}
