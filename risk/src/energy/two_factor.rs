//! Two factors: a short-lived deviation and a long-run level that wanders.
//!
//! `ln P = f + χ + ξ`, `dχ = -κ χ dt + σ_χ dW`, `dξ = μ dt + σ_ξ dZ`, `dW dZ = ρ dt`, per day. One
//! factor forgets every shock within days; with two, part of a shock stays, which is what a change of
//! the fuel regime looks like. Estimated by the Kalman filter on deviations from the season; gaps in
//! the series are longer steps. ρ is given, not estimated: spot prices alone are an ARIMA(1,1,1), which
//! has three parameters (φ, θ and a variance), one fewer than the model; forwards would tell.
//!
//! # Source
//! Lucia and Schwartz, Electricity prices and power derivatives (2002), model with two factors.

use serde::Serialize;

use super::{Interval, Point, Prepared, Transform, black};
use crate::numeric::maximise;
use crate::rng::Stream;
use crate::units::{Estimate, FitError, ModelError, finite, not_negative, positive};

/// Parameters, per day.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TwoFactor {
    /// Reversion κ of the deviation.
    pub kappa: f64,
    /// Diffusion σ_χ of the deviation, per square root of a day.
    pub sigma_short: f64,
    /// Drift μ of the level.
    pub drift: f64,
    /// Diffusion σ_ξ of the level, per square root of a day.
    pub sigma_long: f64,
    /// Correlation ρ of the two.
    pub rho: f64,
}

impl TwoFactor {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`ModelError::Range`].
    pub fn check(&self) -> Result<(), ModelError> {
        positive("kappa", self.kappa)?;
        not_negative("sigma of the deviation", self.sigma_short)?;
        not_negative("sigma of the level", self.sigma_long)?;
        finite("drift", self.drift)?;
        if !(-1.0..=1.0).contains(&self.rho) {
            return Err(ModelError::Range {
                what: "correlation",
                value: self.rho,
                rule: "between -1 and 1",
            });
        }
        Ok(())
    }

    /// Variances of χ and ξ and their covariance after `t` days.
    fn covariance(&self, t: f64) -> [f64; 3] {
        let short =
            self.sigma_short.powi(2) * -(-2.0 * self.kappa * t).exp_m1() / (2.0 * self.kappa);
        let long = self.sigma_long.powi(2) * t;
        let both = self.rho * self.sigma_short * self.sigma_long * -(-self.kappa * t).exp_m1()
            / self.kappa;
        [short, long, both]
    }

    /// Mean and variance of `χ_T + ξ_T`, `t` in days, from `chi` and `xi` today.
    #[must_use]
    pub fn law(&self, chi: f64, xi: f64, t: f64) -> (f64, f64) {
        let [short, long, both] = self.covariance(t);
        let mean = chi * (-self.kappa * t).exp() + xi + self.drift * t;
        (mean, short + long + 2.0 * both)
    }

    /// Forward price of `e^{f+χ+ξ}` in `t` days: `exp(f + χ e^{-κT} + ξ + μT + V/2)`.
    ///
    /// # Errors
    /// [`ModelError::Range`] for parameters outside their domain.
    pub fn forward(&self, f: f64, chi: f64, xi: f64, t: f64) -> Result<f64, ModelError> {
        self.check()?;
        not_negative("maturity in days", t)?;
        let (mean, variance) = self.law(chi, xi, t);
        Ok((f + mean + 0.5 * variance).exp())
    }

    /// Undiscounted mean of `max(min(P, C) - K, 0)` in `t` days, strike and cap above zero.
    ///
    /// # Errors
    /// As [`TwoFactor::forward`].
    pub fn capped_caplet(
        &self,
        f: f64,
        chi: f64,
        xi: f64,
        t: f64,
        strike: f64,
        cap: f64,
    ) -> Result<f64, ModelError> {
        let forward = self.forward(f, chi, xi, t)?;
        positive("strike", strike)?;
        if strike >= cap {
            return Ok(0.0);
        }
        let (_, variance) = self.law(chi, xi, t);
        Ok(black(forward, strike, variance) - black(forward, cap, variance))
    }

    /// χ and ξ after `t` days, drawn exactly.
    pub fn draw(&self, chi: f64, xi: f64, t: f64, stream: &mut Stream) -> (f64, f64) {
        let [short, long, both] = self.covariance(t);
        let (a, b) = (stream.normal(), stream.normal());
        let sd = short.sqrt();
        let slope = if sd > 0.0 { both / sd } else { 0.0 };
        (
            chi * (-self.kappa * t).exp() + sd * a,
            xi + self.drift * t + slope * a + (long - slope * slope).max(0.0).sqrt() * b,
        )
    }
}

/// A fit of two factors.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TwoFactorFit {
    /// κ per day.
    pub kappa: Estimate,
    /// σ_χ per square root of a day.
    pub sigma_short: Estimate,
    /// σ_ξ per square root of a day.
    pub sigma_long: Estimate,
    /// ρ as given.
    pub rho: f64,
    /// Log-likelihood.
    pub log_likelihood: f64,
    /// χ and ξ at the last observation.
    pub last: [f64; 2],
    /// Index of the last observation.
    pub last_index: i64,
}

impl TwoFactorFit {
    /// The parameters; the drift of the level is part of the season's trend.
    #[must_use]
    pub fn process(&self) -> TwoFactor {
        TwoFactor {
            kappa: self.kappa.value,
            sigma_short: self.sigma_short.value,
            drift: 0.0,
            sigma_long: self.sigma_long.value,
            rho: self.rho,
        }
    }
}

/// Fits two factors to prices: season by least squares, then the filter on what is left. The season
/// takes some of the level's wandering with it, so σ_ξ is a lower figure.
///
/// # Errors
/// As [`super::calibrate_filtered`], and [`FitError::NoMaximum`] if the likelihood has no maximum.
pub fn fit_two_factor(
    points: &[Point],
    interval: Interval,
    transform: Transform,
    rho: f64,
) -> Result<TwoFactorFit, FitError> {
    let prepared = Prepared::new(points, interval, transform)?;
    fit_deviations(&prepared.deviations, interval.per_day() as f64, rho)
}

/// Fits two factors to deviations `(index, x)` in order of index, `per_day` of them per day.
///
/// # Errors
/// [`FitError::TooFew`] below 60 deviations, [`FitError::NoMaximum`], or a correlation outside its
/// domain.
pub fn fit_deviations(
    series: &[(i64, f64)],
    per_day: f64,
    rho: f64,
) -> Result<TwoFactorFit, FitError> {
    positive("1 - |rho|", 1.0 - rho.abs())?;
    if series.len() < 60 {
        return Err(FitError::TooFew {
            what: "two-factor calibration",
            found: series.len(),
            needed: 60,
        });
    }
    let moves: Vec<f64> = series
        .windows(2)
        .filter(|w| w[1].0 == w[0].0 + 1)
        .map(|w| (w[1].1 - w[0].1).powi(2))
        .collect();
    let sd = (moves.iter().sum::<f64>() / moves.len().max(1) as f64 * per_day).sqrt();
    if !(sd.is_finite() && sd > 0.0) {
        return Err(FitError::NoMaximum {
            what: "two-factor model (a series that does not move)",
        });
    }
    let model = |t: &[f64]| TwoFactor {
        kappa: t[0].exp(),
        sigma_short: t[1].exp(),
        drift: 0.0,
        sigma_long: t[2].exp(),
        rho,
    };
    let fit = maximise(
        "two-factor model",
        |t: &[f64]| {
            // Where one factor vanishes the likelihood is flat: stay where both can be told apart.
            if t[0].abs() > 7.0 || (t[1] - sd.ln()).abs() > 6.0 || (t[2] - sd.ln()).abs() > 6.0 {
                return f64::NEG_INFINITY;
            }
            filter(&model(t), series, per_day).0
        },
        &[(0.5_f64).ln(), (0.9 * sd).ln(), (0.2 * sd).ln()],
        &[0.5, 0.2, 0.5],
    )?;
    let n = series.len() as u64;
    let best = model(&fit.at);
    let estimate = |value: f64, slope: f64, i: usize| Estimate {
        value,
        se: fit.se[i] * slope,
        n,
    };
    Ok(TwoFactorFit {
        kappa: estimate(best.kappa, best.kappa, 0),
        sigma_short: estimate(best.sigma_short, best.sigma_short, 1),
        sigma_long: estimate(best.sigma_long, best.sigma_long, 2),
        rho,
        log_likelihood: fit.value,
        last: filter(&best, series, per_day).1,
        last_index: series[series.len() - 1].0,
    })
}

/// Log-likelihood and the last filtered state. χ + ξ is observed without error; the first deviation
/// sets the state, with the stationary variance of χ and a wide one of ξ.
fn filter(p: &TwoFactor, series: &[(i64, f64)], per_day: f64) -> (f64, [f64; 2]) {
    let [stationary, ..] = p.covariance(1e6 / p.kappa);
    let (mut chi, mut xi) = (0.0, 0.0);
    // Covariance of the state: variances of χ and ξ, and covariance.
    let (mut a, mut b, mut c) = (stationary, 100.0 * stationary.max(p.sigma_long), 0.0);
    let mut log_likelihood = 0.0;
    let mut before = None;
    for (index, x) in series {
        if let Some(before) = before {
            let t = (index - before) as f64 / per_day;
            let decay = (-p.kappa * t).exp();
            let [short, long, both] = p.covariance(t);
            chi *= decay;
            xi += p.drift * t;
            a = a * decay * decay + short;
            c = c * decay + both;
            b += long;
        }
        let variance = a + b + 2.0 * c;
        let error = x - chi - xi;
        if before.is_some() {
            log_likelihood -=
                0.5 * ((2.0 * std::f64::consts::PI * variance).ln() + error * error / variance);
        }
        let (gain_a, gain_b) = ((a + c) / variance, (b + c) / variance);
        chi += gain_a * error;
        xi += gain_b * error;
        // After an exact observation the two variances and the covariance differ by sign only.
        let left = ((a * b - c * c) / variance).max(0.0);
        (a, b, c) = (left, left, -left);
        before = Some(*index);
    }
    (log_likelihood, [chi, xi])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::MonteCarlo;

    const TRUTH: TwoFactor = TwoFactor {
        kappa: 0.4,
        sigma_short: 0.25,
        drift: 0.0,
        sigma_long: 0.06,
        rho: 0.3,
    };

    #[test]
    fn forward_and_caplet_agree_with_simulation() {
        let (f, chi, xi, t) = (3.5, 0.3, -0.1, 6.0);
        let check = |exact: f64, payoff: &dyn Fn(f64) -> f64| {
            let draws: Vec<f64> = (0..60_000)
                .map(|s| {
                    // In two steps: the law must not depend on how the time is cut.
                    let mut stream = Stream::new(3, s, 0);
                    let (c, x) = TRUTH.draw(chi, xi, 2.5, &mut stream);
                    let (c, x) = TRUTH.draw(c, x, 3.5, &mut stream);
                    payoff((f + c + x).exp())
                })
                .collect();
            let mc = MonteCarlo::mean(&draws, 3).unwrap();
            assert!(
                (mc.value - exact).abs() < 4.0 * mc.se,
                "{mc:?} against {exact}"
            );
        };
        check(TRUTH.forward(f, chi, xi, t).unwrap(), &|p| p);
        check(
            TRUTH.capped_caplet(f, chi, xi, t, 35.0, 80.0).unwrap(),
            &|p| (p.min(80.0) - 35.0).max(0.0),
        );
        assert_eq!(TRUTH.capped_caplet(f, chi, xi, t, 90.0, 80.0).unwrap(), 0.0);
    }

    /// Without a level that wanders it is the one-factor model.
    #[test]
    fn one_factor_is_a_special_case() {
        let one = super::super::OuJump {
            kappa: 0.4,
            sigma: 0.25,
            lambda: 0.0,
            jump_mean: 0.0,
            jump_sd: 0.0,
        };
        let two = TwoFactor {
            sigma_long: 0.0,
            ..TRUTH
        };
        let (a, b) = (one.forward(3.0, 0.2, 5.0), two.forward(3.0, 0.2, 0.0, 5.0));
        assert!((a.unwrap() / b.unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn known_parameters_are_recovered_across_gaps() {
        let mut stream = Stream::new(8, 0, 0);
        let (mut chi, mut xi) = (0.0, 0.0);
        let series: Vec<(i64, f64)> = (0..3000_i64)
            .map(|day| {
                (chi, xi) = TRUTH.draw(chi, xi, 1.0, &mut stream);
                (day, chi + xi)
            })
            .filter(|(day, _)| day % 31 != 7)
            .collect();
        let fit = fit_deviations(&series, 1.0, TRUTH.rho).unwrap();
        for (e, truth) in [
            (fit.kappa, 0.4),
            (fit.sigma_short, 0.25),
            (fit.sigma_long, 0.06),
        ] {
            assert!((e.value - truth).abs() < 4.0 * e.se, "{e:?} {truth}");
            assert!(e.se.is_finite() && e.se > 0.0);
        }
        assert!((fit.last[0] + fit.last[1] - series.last().unwrap().1).abs() < 1e-9);
    }

    #[test]
    fn bad_series_and_parameters_are_named() {
        assert!(matches!(
            fit_deviations(&[(0, 1.0)], 1.0, 0.0),
            Err(FitError::TooFew { .. })
        ));
        let flat: Vec<(i64, f64)> = (0..100).map(|i| (i, 0.0)).collect();
        assert!(matches!(
            fit_deviations(&flat, 1.0, 0.0),
            Err(FitError::NoMaximum { .. })
        ));
        assert!(fit_deviations(&flat, 1.0, 1.0).is_err());
        let bad = TwoFactor { rho: 1.5, ..TRUTH };
        assert!(bad.forward(3.0, 0.0, 0.0, 1.0).is_err());
    }
}
