//! The price of compute: mean reversion to a declining trend, and downward jumps when a new
//! generation arrives.
//!
//! `dlnS = α (a - b t - ln S) dt + σ dW - J dN`, t in days, S in USD per GPU-hour. Public data are
//! thin, so the fit reports wide intervals and says when reversion is not identified at all.
//!
//! # Source
//! `docs/risk.md`, compute price.

use serde::{Deserialize, Serialize};

use crate::energy::Point;
use crate::numeric::{mean, ols, variance};
use crate::rng::Stream;
use crate::units::{Estimate, FitError, ModelError, not_negative, positive};

/// Parameters of the log price, per day.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComputePrice {
    /// Reversion α, per day.
    pub alpha: f64,
    /// Level a of ln S at t = 0.
    pub level: f64,
    /// Fall b of the trend, per day.
    pub decline: f64,
    /// Volatility σ, per square root of a day.
    pub sigma: f64,
    /// Downward jumps per day.
    pub lambda: f64,
    /// Mean size of a fall in ln S, positive.
    pub jump_mean: f64,
    /// Its standard deviation.
    pub jump_sd: f64,
}

impl ComputePrice {
    /// Mean of ln S at day `t` given ln S = `y0` at day 0.
    ///
    /// # Errors
    /// [`ModelError::Range`] for parameters outside their domain.
    pub fn mean_log(&self, y0: f64, t: f64) -> Result<f64, ModelError> {
        positive("alpha", self.alpha)?;
        not_negative("days", t)?;
        // The trend a - b t is followed with the lag 1/α; a jump is forgotten at rate α.
        let e = (-self.alpha * t).exp();
        let gone = -(-self.alpha * t).exp_m1() / self.alpha;
        Ok(y0 * e + self.level * (1.0 - e)
            - self.decline * (t - gone)
            - self.lambda * self.jump_mean * gone)
    }

    /// Variance of ln S at day `t`.
    #[must_use]
    pub fn variance_log(&self, t: f64) -> f64 {
        let rate = self.sigma * self.sigma
            + self.lambda * (self.jump_mean * self.jump_mean + self.jump_sd * self.jump_sd);
        rate * -(-2.0 * self.alpha * t).exp_m1() / (2.0 * self.alpha)
    }

    /// ln S after `days` steps of one day, each exact but for jumps, which fall at the end of a day.
    pub fn draw(&self, y0: f64, days: u32, stream: &mut Stream) -> f64 {
        let e = (-self.alpha).exp();
        let gone = -(-self.alpha).exp_m1() / self.alpha;
        let sd =
            (self.sigma * self.sigma * -(-2.0 * self.alpha).exp_m1() / (2.0 * self.alpha)).sqrt();
        let mut y = y0;
        for day in 0..days {
            let target = self.level - self.decline * f64::from(day);
            y = y * e + target * (1.0 - e) - self.decline * (1.0 - gone) + sd * stream.normal();
            if stream.uniform() < -(-self.lambda).exp_m1() {
                y -= self.jump_mean + self.jump_sd * stream.normal();
            }
        }
        y
    }
}

/// A fit, with what the data cannot say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComputePriceFit {
    /// Point estimates.
    pub model: ComputePrice,
    /// Reversion, per day.
    pub alpha: Estimate,
    /// Fall of the trend, per day.
    pub decline: Estimate,
    /// Volatility, per square root of a day.
    pub sigma: Estimate,
    /// Falls per day.
    pub lambda: Estimate,
    /// 95 % interval of the half-life in days; the upper end is infinite without evidence of
    /// reversion and is written as null.
    pub half_life_days: [f64; 2],
    /// False when a random walk is within two standard errors: do not read the half-life as
    /// knowledge.
    pub reversion_identified: bool,
    /// Day pairs used.
    pub pairs: u64,
}

/// Fits one daily series (index in days, price in USD per GPU-hour): least squares of tomorrow's
/// ln S on today's and a trend, falls beyond three standard deviations taken as jumps.
///
/// # Errors
/// [`FitError::TooFew`] with fewer than 30 pairs of consecutive days; [`FitError::NoMaximum`] for a
/// constant series or one that explodes.
pub fn fit_compute_price(points: &[Point]) -> Result<ComputePriceFit, FitError> {
    let what = "compute price";
    let usable: Vec<(i64, f64)> = points
        .iter()
        .filter(|p| p.price.is_finite() && p.price > 0.0)
        .map(|p| (p.index, p.price.ln()))
        .collect();
    let origin = usable.first().map_or(0, |p| p.0);
    let pairs: Vec<(f64, f64, f64)> = usable
        .windows(2)
        .filter(|w| w[1].0 == w[0].0 + 1)
        .map(|w| ((w[0].0 - origin) as f64, w[0].1, w[1].1))
        .collect();
    if pairs.len() < 30 {
        return Err(FitError::TooFew {
            what,
            found: pairs.len(),
            needed: 30,
        });
    }
    let mut keep = vec![true; pairs.len()];
    let fit = loop {
        let kept: Vec<&(f64, f64, f64)> = pairs
            .iter()
            .zip(&keep)
            .filter_map(|(p, k)| k.then_some(p))
            .collect();
        let x: Vec<Vec<f64>> = kept.iter().map(|p| vec![1.0, p.0, p.1]).collect();
        let y: Vec<f64> = kept.iter().map(|p| p.2).collect();
        let fit = ols(&x, &y)?;
        let band = 3.0 * variance(&fit.residuals).sqrt();
        let mut changed = false;
        for (p, k) in pairs.iter().zip(&mut keep) {
            let residual = p.2 - fit.beta[0] - fit.beta[1] * p.0 - fit.beta[2] * p.1;
            if *k && residual < -band {
                *k = false;
                changed = true;
            }
        }
        if !changed {
            break fit;
        }
    };
    let phi = fit.beta[2];
    let phi_se = fit.se[2];
    if !(phi > 0.0 && phi < 1.0) {
        return Err(FitError::NoMaximum { what });
    }
    let n = pairs.len() as f64;
    let falls: Vec<f64> = pairs
        .iter()
        .zip(&keep)
        .filter(|(_, k)| !**k)
        .map(|(p, _)| fit.beta[0] + fit.beta[1] * p.0 + phi * p.1 - p.2)
        .collect();
    let alpha = -phi.ln();
    let gone = (1.0 - phi) / alpha;
    let decline = -fit.beta[1] / (1.0 - phi);
    let level = (fit.beta[0] + decline * (1.0 - gone)) / (1.0 - phi);
    let v = variance(&fit.residuals).sqrt();
    let sigma = v * (2.0 * alpha / (1.0 - phi * phi)).sqrt();
    let k = falls.len() as f64;
    let half_life = |phi: f64| {
        if phi >= 1.0 {
            f64::INFINITY
        } else {
            std::f64::consts::LN_2 / -phi.max(1e-9).ln()
        }
    };
    let whole = |value: f64, se: f64| Estimate {
        value,
        se,
        n: pairs.len() as u64,
    };
    Ok(ComputePriceFit {
        model: ComputePrice {
            alpha,
            level,
            decline,
            sigma,
            lambda: k / n,
            jump_mean: if falls.is_empty() { 0.0 } else { mean(&falls) },
            jump_sd: if falls.len() < 2 {
                0.0
            } else {
                variance(&falls).sqrt()
            },
        },
        alpha: whole(alpha, phi_se / phi),
        decline: whole(
            decline,
            (fit.se[1] / (1.0 - phi)).hypot(decline * phi_se / (1.0 - phi)),
        ),
        sigma: whole(sigma, sigma / (2.0 * n).sqrt()),
        lambda: whole(k / n, k.max(1.0).sqrt() / n),
        half_life_days: [
            half_life(phi - 1.96 * phi_se),
            half_life(phi + 1.96 * phi_se),
        ],
        reversion_identified: phi + 2.0 * phi_se < 1.0,
        pairs: pairs.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::MonteCarlo;

    const MODEL: ComputePrice = ComputePrice {
        alpha: 0.1,
        level: 1.0,
        decline: 0.001,
        sigma: 0.03,
        lambda: 0.01,
        jump_mean: 0.3,
        jump_sd: 0.05,
    };

    #[test]
    fn moments_agree_with_simulation() {
        let m = ComputePrice {
            lambda: 0.0,
            ..MODEL
        };
        let draws: Vec<f64> = (0..5000)
            .map(|s| m.draw(1.3, 20, &mut Stream::new(1, s, 0)))
            .collect();
        let mc = MonteCarlo::mean(&draws, 1).unwrap();
        assert!((mc.value - m.mean_log(1.3, 20.0).unwrap()).abs() < 4.0 * mc.se);
        let ratio = variance(&draws) / m.variance_log(20.0);
        assert!(
            (ratio - 1.0).abs() < 4.0 * (2.0 / 5000.0_f64).sqrt(),
            "{ratio}"
        );
    }

    #[test]
    fn known_parameters_come_back() {
        let mut stream = Stream::new(2, 0, 0);
        let mut y = 1.0;
        let points: Vec<Point> = (0..3000)
            .map(|day| {
                let shifted = ComputePrice {
                    level: MODEL.level - MODEL.decline * day as f64,
                    ..MODEL
                };
                y = shifted.draw(y, 1, &mut stream);
                Point {
                    index: day,
                    price: y.exp(),
                }
            })
            .collect();
        let fit = fit_compute_price(&points).unwrap();
        assert!(
            (fit.alpha.value - 0.1).abs() < 4.0 * fit.alpha.se,
            "{fit:?}"
        );
        assert!(
            (fit.decline.value - 0.001).abs() < 4.0 * fit.decline.se,
            "{fit:?}"
        );
        assert!(
            (fit.sigma.value - 0.03).abs() < 4.0 * fit.sigma.se,
            "{fit:?}"
        );
        assert!((fit.model.jump_mean - 0.3).abs() < 0.05, "{fit:?}");
        assert!(fit.reversion_identified);
    }

    #[test]
    fn thin_and_flat_data_are_named() {
        let flat: Vec<Point> = (0..90)
            .map(|i| Point {
                index: i,
                price: 2.0,
            })
            .collect();
        assert!(fit_compute_price(&flat).is_err());
        assert!(matches!(
            fit_compute_price(&flat[..20]),
            Err(FitError::TooFew { .. })
        ));
        let mut stream = Stream::new(3, 0, 0);
        let mut y = 1.0;
        let walk: Vec<Point> = (0..60)
            .map(|i| {
                y += 0.02 * stream.normal();
                Point {
                    index: i,
                    price: f64::exp(y),
                }
            })
            .collect();
        if let Ok(fit) = fit_compute_price(&walk) {
            assert!(
                !fit.reversion_identified || fit.half_life_days[1] > 2.0 * fit.half_life_days[0]
            );
        }
    }
}
