//! Power prices: a seasonal level, a mean-reverting deviation, jumps, and legal caps.
//!
//! `y_t = f(t) + x_t` with `y = ln P` or `asinh(P / c)`, `dx = -κ x dt + σ dW + J dN`,
//! `J ~ N(m, s²)`, rate λ per day, not compensated. κ, σ² and λ are per day whatever the step of the
//! data. Two estimators stand side by side: filtered jumps and maximum likelihood on the mixture.
//!
//! Options beside it: two factors, Markov regimes with independent spikes, and a jump rate that follows
//! season and load.
//!
//! # Source
//! `docs/risk.md`, energy.

pub mod intensity;

pub mod regime;

pub mod two_factor;

use num_complex::Complex64;
use rand_distr::{Distribution, Poisson};
use serde::{Deserialize, Serialize};

use crate::numeric::{integrate, legendre, maximise, mean, normal_cdf, normal_pdf, ols, variance};
use crate::rng::Stream;
use crate::units::{DAYS_PER_YEAR, Estimate, FitError, ModelError, finite, not_negative, positive};

/// How a price becomes the modelled number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// `ln P`: daily base prices; a price at or below zero has none.
    Ln,
    /// `asinh(P / scale)`: any sign.
    Asinh {
        /// Price at which the transform turns from linear to logarithmic, in USD/MWh.
        scale: f64,
    },
}

impl Transform {
    /// The modelled number of a price in USD/MWh, or `None` outside the domain.
    #[must_use]
    pub fn forward(self, price: f64) -> Option<f64> {
        let y = match self {
            Self::Ln => price.ln(),
            Self::Asinh { scale } => (price / scale).asinh(),
        };
        y.is_finite().then_some(y)
    }

    /// The price in USD/MWh.
    #[must_use]
    pub fn back(self, y: f64) -> f64 {
        match self {
            Self::Ln => y.exp(),
            Self::Asinh { scale } => scale * y.sinh(),
        }
    }
}

/// Step of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// UTC days.
    Day,
    /// UTC hours.
    Hour,
}

impl Interval {
    /// Steps per day.
    #[must_use]
    pub const fn per_day(self) -> i64 {
        match self {
            Self::Day => 1,
            Self::Hour => 24,
        }
    }
}

/// One price: the index counts days or hours since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Day or hour since the epoch, UTC.
    pub index: i64,
    /// USD/MWh.
    pub price: f64,
}

/// The seasonal part: level, trend per year, two annual harmonics, weekend; for hours also 23
/// differences of the hour of day from hour 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Season {
    /// Index at which the trend is zero.
    pub origin: i64,
    /// Step of the index.
    pub interval: Interval,
    /// Coefficients in the order of [`Season::names`].
    pub coefficients: Vec<f64>,
}

impl Season {
    /// Names of the coefficients.
    #[must_use]
    pub fn names(interval: Interval) -> Vec<String> {
        let mut names: Vec<String> = [
            "level",
            "trend_per_year",
            "cos_1",
            "sin_1",
            "cos_2",
            "sin_2",
            "weekend",
        ]
        .map(String::from)
        .into();
        if interval == Interval::Hour {
            names.extend((1..24).map(|h| format!("hour_{h:02}")));
        }
        names
    }

    /// Regressors at `index`.
    #[must_use]
    pub fn row(origin: i64, interval: Interval, index: i64) -> Vec<f64> {
        let per_day = interval.per_day();
        let years = |i: i64| i as f64 / per_day as f64 / DAYS_PER_YEAR;
        let angle = 2.0 * std::f64::consts::PI * years(index);
        let day = index.div_euclid(per_day);
        let weekend = (day + 3).rem_euclid(7) >= 5; // day 0 was a Thursday
        let mut row = vec![
            1.0,
            years(index - origin),
            angle.cos(),
            angle.sin(),
            (2.0 * angle).cos(),
            (2.0 * angle).sin(),
            f64::from(u8::from(weekend)),
        ];
        if interval == Interval::Hour {
            let hour = index.rem_euclid(24);
            row.extend((1..24).map(|h| f64::from(u8::from(h == hour))));
        }
        row
    }

    /// `f(t)` at `index`.
    #[must_use]
    pub fn at(&self, index: i64) -> f64 {
        crate::numeric::dot(
            &self.coefficients,
            &Self::row(self.origin, self.interval, index),
        )
    }
}

/// Parameters of the deviation `x`, per day.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OuJump {
    /// Reversion κ, per day.
    pub kappa: f64,
    /// Diffusion σ, per square root of a day.
    pub sigma: f64,
    /// Jumps per day λ.
    pub lambda: f64,
    /// Mean jump m.
    pub jump_mean: f64,
    /// Standard deviation s of a jump.
    pub jump_sd: f64,
}

/// One calibration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// Method: `filtered` or `maximum likelihood`.
    pub method: &'static str,
    /// Transform of the prices.
    pub transform: Transform,
    /// Seasonal part.
    pub season: Season,
    /// Seasonal coefficients with their errors, by name.
    pub coefficients: Vec<(String, Estimate)>,
    /// Slope of x(t+1) on x(t).
    pub phi: Estimate,
    /// -ln φ, per day.
    pub kappa: Estimate,
    /// ln 2 / κ, in days.
    pub half_life_days: Estimate,
    /// σ per square root of a day.
    pub sigma: Estimate,
    /// Standard deviation v of a diffusive innovation over one step.
    pub innovation_sd: f64,
    /// Jumps per day.
    pub lambda: Estimate,
    /// Mean of the whole innovation of a jump step.
    pub jump_mean: Estimate,
    /// Its standard deviation.
    pub jump_sd: Estimate,
    /// Log-likelihood of the innovations under the mixture.
    pub log_likelihood: f64,
    /// Pairs of consecutive steps used.
    pub pairs: u64,
    /// Steps used.
    pub used: u64,
    /// Steps dropped because the transform has no value there.
    pub dropped: u64,
    /// Deviation at the last step.
    pub last_x: f64,
    /// Index of the last step.
    pub last_index: i64,
}

impl Calibration {
    /// The continuous-time parameters.
    #[must_use]
    pub fn process(&self) -> OuJump {
        OuJump {
            kappa: self.kappa.value,
            sigma: self.sigma.value,
            lambda: self.lambda.value,
            jump_mean: self.jump_mean.value,
            jump_sd: self.jump_sd.value,
        }
    }

    /// The law of the next step's `y`, given this step's: a mixture of two normals.
    #[must_use]
    pub fn next(&self, index: i64, x: f64) -> NormalMixture {
        let centre = self.season.at(index + 1) + self.phi.value * x;
        NormalMixture {
            weight: self.lambda.value / self.season.interval.per_day() as f64,
            mean: [centre, centre + self.jump_mean.value],
            sd: [self.innovation_sd, self.jump_sd.value.max(1e-12)],
        }
    }
}

/// Two normals; the second has probability `weight`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormalMixture {
    /// Probability of the second.
    pub weight: f64,
    /// Means.
    pub mean: [f64; 2],
    /// Standard deviations, above zero.
    pub sd: [f64; 2],
}

impl NormalMixture {
    /// Distribution function.
    #[must_use]
    pub fn cdf(&self, y: f64) -> f64 {
        let part = |i: usize| normal_cdf((y - self.mean[i]) / self.sd[i]);
        (1.0 - self.weight) * part(0) + self.weight * part(1)
    }

    /// Density.
    #[must_use]
    pub fn pdf(&self, y: f64) -> f64 {
        let part = |i: usize| normal_pdf((y - self.mean[i]) / self.sd[i]) / self.sd[i];
        (1.0 - self.weight) * part(0) + self.weight * part(1)
    }

    /// Quantile by bisection, for `q` in (0, 1); 1e-12 of the bracket.
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        let ends = |sign: f64| {
            let a = self.mean[0] + sign * 10.0 * self.sd[0];
            let b = self.mean[1] + sign * 10.0 * self.sd[1];
            if sign < 0.0 { a.min(b) } else { a.max(b) }
        };
        let (mut low, mut high) = (ends(-1.0), ends(1.0));
        for _ in 0..60 {
            let mid = 0.5 * (low + high);
            if self.cdf(mid) < q {
                low = mid;
            } else {
                high = mid;
            }
        }
        0.5 * (low + high)
    }

    /// `E[e^y; y > from]`: the mean price beyond a quantile, times its probability.
    #[must_use]
    pub fn exp_beyond(&self, from: f64) -> f64 {
        let part = |i: usize| {
            let (m, s) = (self.mean[i], self.sd[i]);
            (m + 0.5 * s * s).exp() * normal_cdf((m + s * s - from) / s)
        };
        (1.0 - self.weight) * part(0) + self.weight * part(1)
    }

    /// One draw.
    pub fn draw(&self, stream: &mut Stream) -> f64 {
        let i = usize::from(stream.uniform() < self.weight);
        self.mean[i] + self.sd[i] * stream.normal()
    }
}

/// Calibrates by filtered jumps: least squares of y on the season, slope of consecutive deviations
/// without intercept, innovations outside mean ± 3 sd taken as jumps until none are left.
///
/// # Errors
/// [`FitError::TooFew`] with fewer usable steps than twice the number of coefficients or fewer than
/// 30 pairs; [`FitError::NoMaximum`] if the deviations do not revert (φ outside (0, 1)) or the
/// season is not identified.
pub fn calibrate_filtered(
    points: &[Point],
    interval: Interval,
    transform: Transform,
) -> Result<Calibration, FitError> {
    let prepared = Prepared::new(points, interval, transform)?;
    let Prepared { phi, phi_se, .. } = prepared;
    if !(phi > 0.0 && phi < 1.0) {
        return Err(FitError::NoMaximum {
            what: "mean reversion (slope of deviations outside 0 to 1)",
        });
    }
    let innovations = prepared.innovations(phi);
    let (calm, jumps) = split(&innovations);
    let v = variance(&calm).sqrt();
    let n = innovations.len() as f64;
    let k = jumps.len() as f64;
    let p = k / n;
    let (m, s) = match jumps.len() {
        0 => (0.0, 0.0),
        1 => (jumps[0], 0.0),
        _ => (mean(&jumps), variance(&jumps).sqrt()),
    };
    let estimate = |value: f64, se: f64, n: f64| Raw { value, se, n };
    Ok(prepared.finish(
        "filtered",
        estimate(phi, phi_se, n),
        estimate(v, v / (2.0 * calm.len() as f64).sqrt(), calm.len() as f64),
        estimate(p, (p * (1.0 - p) / n).sqrt(), k),
        estimate(m, s / k.max(1.0).sqrt(), k),
        estimate(s, s / (2.0 * k.max(1.0)).sqrt(), k),
    ))
}

/// Calibrates by maximum likelihood on the mixture `(1-p) N(0, v²) + p N(m, s²)` of innovations,
/// with φ free; the season is the least-squares one. Starts at the filtered estimate.
///
/// # Errors
/// As [`calibrate_filtered`], and [`FitError::NoMaximum`] if the likelihood has no inner maximum.
pub fn calibrate_likelihood(
    points: &[Point],
    interval: Interval,
    transform: Transform,
) -> Result<Calibration, FitError> {
    let start = calibrate_filtered(points, interval, transform)?;
    let prepared = Prepared::new(points, interval, transform)?;
    let n = prepared.pairs.len() as f64;
    let p0 = (start.lambda.value / interval.per_day() as f64).clamp(0.5 / n, 0.5);
    let s0 = start.jump_sd.value.max(start.innovation_sd);
    let logit = |p: f64| (p / (1.0 - p)).ln();
    let unlogit = |z: f64| 1.0 / (1.0 + (-z).exp());
    let log_likelihood = |t: &[f64]| -> f64 {
        // Bounds keep the jump part from collapsing onto one point, where a mixture has no maximum.
        if !(0.0..1.0).contains(&t[0]) || t[4] < t[1] - 4.0 {
            return f64::NEG_INFINITY;
        }
        mixture_log_likelihood(
            &prepared.pairs,
            t[0],
            t[1].exp(),
            unlogit(t[2]),
            t[3],
            t[4].exp(),
        )
    };
    let fit = maximise(
        "jump mixture",
        log_likelihood,
        &[
            start.phi.value,
            start.innovation_sd.ln(),
            logit(p0),
            start.jump_mean.value,
            s0.ln(),
        ],
        &[0.02, 0.1, 0.5, 0.3 * s0, 0.2],
    )?;
    let t = &fit.at;
    let p = unlogit(t[2]);
    let raw = |value: f64, se: f64| Raw { value, se, n };
    Ok(prepared.finish(
        "maximum likelihood",
        raw(t[0], fit.se[0]),
        raw(t[1].exp(), fit.se[1] * t[1].exp()),
        raw(p, fit.se[2] * p * (1.0 - p)),
        raw(t[3], fit.se[3]),
        raw(t[4].exp(), fit.se[4] * t[4].exp()),
    ))
}

fn mixture_log_likelihood(pairs: &[(f64, f64)], phi: f64, v: f64, p: f64, m: f64, s: f64) -> f64 {
    let density = |e: f64, m: f64, s: f64| (-0.5 * ((e - m) / s).powi(2)).exp() / s;
    let constant = 0.5 * (2.0 * std::f64::consts::PI).ln();
    pairs
        .iter()
        .map(|(x, next)| {
            let e = next - phi * x;
            let jump = if p > 0.0 && s > 0.0 {
                p * density(e, m, s)
            } else {
                0.0
            };
            ((1.0 - p) * density(e, 0.0, v) + jump)
                .max(f64::MIN_POSITIVE)
                .ln()
                - constant
        })
        .sum()
}

#[derive(Clone, Copy)]
struct Raw {
    value: f64,
    se: f64,
    n: f64,
}

/// The part both estimators share: the season, and pairs of consecutive deviations.
struct Prepared {
    interval: Interval,
    transform: Transform,
    season: Season,
    coefficients: Vec<(String, Estimate)>,
    /// (index, x) of every usable step.
    deviations: Vec<(i64, f64)>,
    pairs: Vec<(f64, f64)>,
    /// Index of the second of each pair.
    ends: Vec<i64>,
    phi: f64,
    phi_se: f64,
    used: u64,
    dropped: u64,
    last_x: f64,
    last_index: i64,
}

impl Prepared {
    fn new(points: &[Point], interval: Interval, transform: Transform) -> Result<Self, FitError> {
        if let Transform::Asinh { scale } = transform {
            positive("asinh scale", scale)?;
        }
        let data: Vec<(i64, f64)> = points
            .iter()
            .filter_map(|p| Some((p.index, transform.forward(p.price)?)))
            .collect();
        let names = Season::names(interval);
        let too_few = |found: usize, needed: usize| FitError::TooFew {
            what: "energy calibration",
            found,
            needed,
        };
        let (Some(first), Some(last)) = (data.first(), data.last()) else {
            return Err(too_few(0, 2 * names.len()));
        };
        if data.len() < 2 * names.len() {
            return Err(too_few(data.len(), 2 * names.len()));
        }
        let origin = first.0;
        let x: Vec<Vec<f64>> = data
            .iter()
            .map(|(i, _)| Season::row(origin, interval, *i))
            .collect();
        let y: Vec<f64> = data.iter().map(|(_, y)| *y).collect();
        let fit = ols(&x, &y)?;
        let n = data.len() as u64;
        let (pairs, ends): (Vec<(f64, f64)>, Vec<i64>) = data
            .windows(2)
            .zip(fit.residuals.windows(2))
            .filter(|(d, _)| d[1].0 == d[0].0 + 1)
            .map(|(d, r)| ((r[0], r[1]), d[1].0))
            .unzip();
        if pairs.len() < 30 {
            return Err(too_few(pairs.len(), 30));
        }
        let square: f64 = pairs.iter().map(|(a, _)| a * a).sum();
        let phi = pairs.iter().map(|(a, b)| a * b).sum::<f64>() / square;
        let rest: f64 = pairs.iter().map(|(a, b)| (b - phi * a).powi(2)).sum();
        let phi_se = (rest / (pairs.len() as f64 - 1.0) / square).sqrt();
        Ok(Self {
            interval,
            transform,
            coefficients: names
                .into_iter()
                .zip(fit.beta.iter().zip(&fit.se))
                .map(|(name, (value, se))| {
                    let estimate = Estimate {
                        value: *value,
                        se: *se,
                        n,
                    };
                    (name, estimate)
                })
                .collect(),
            season: Season {
                origin,
                interval,
                coefficients: fit.beta,
            },
            deviations: data
                .iter()
                .zip(&fit.residuals)
                .map(|((index, _), x)| (*index, *x))
                .collect(),
            pairs,
            ends,
            phi,
            phi_se,
            used: n,
            dropped: points.len() as u64 - n,
            last_x: *fit.residuals.last().unwrap_or(&0.0),
            last_index: last.0,
        })
    }

    fn innovations(&self, phi: f64) -> Vec<f64> {
        self.pairs.iter().map(|(a, b)| b - phi * a).collect()
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts, carried as floats"
    )]
    fn finish(self, method: &'static str, phi: Raw, v: Raw, p: Raw, m: Raw, s: Raw) -> Calibration {
        let per_day = self.interval.per_day() as f64;
        let whole = |r: Raw| Estimate {
            value: r.value,
            se: r.se,
            n: r.n as u64,
        };
        let kappa = -phi.value.ln() * per_day;
        let kappa_se = phi.se / phi.value * per_day;
        let scale = (2.0 * kappa / (1.0 - phi.value * phi.value)).sqrt();
        // σ = v g(φ): the errors of v and of φ are independent to first order.
        let g_slope = {
            let g = |f: f64| (-2.0 * f.ln() * per_day / (1.0 - f * f)).sqrt();
            let h = 1e-5 * (1.0 - phi.value);
            (g(phi.value + h) - g(phi.value - h)) / (2.0 * h)
        };
        let log_likelihood =
            mixture_log_likelihood(&self.pairs, phi.value, v.value, p.value, m.value, s.value);
        Calibration {
            method,
            transform: self.transform,
            coefficients: self.coefficients,
            phi: whole(phi),
            kappa: whole(Raw {
                value: kappa,
                se: kappa_se,
                n: phi.n,
            }),
            half_life_days: whole(Raw {
                value: std::f64::consts::LN_2 / kappa,
                se: std::f64::consts::LN_2 / (kappa * kappa) * kappa_se,
                n: phi.n,
            }),
            sigma: whole(Raw {
                value: v.value * scale,
                se: (v.se * scale).hypot(v.value * g_slope * phi.se),
                n: v.n,
            }),
            innovation_sd: v.value,
            lambda: whole(Raw {
                value: p.value * per_day,
                se: p.se * per_day,
                n: p.n,
            }),
            jump_mean: whole(m),
            jump_sd: whole(s),
            log_likelihood,
            pairs: self.pairs.len() as u64,
            used: self.used,
            dropped: self.dropped,
            last_x: self.last_x,
            last_index: self.last_index,
            season: self.season,
        }
    }
}

/// Calm innovations and jumps: outside mean ± 3 sd of the calm ones, to a fixed point.
fn split(innovations: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut calm = innovations.to_vec();
    loop {
        let m = mean(&calm);
        let band = 3.0 * variance(&calm).sqrt();
        let kept: Vec<f64> = calm
            .iter()
            .copied()
            .filter(|e| (e - m).abs() <= band)
            .collect();
        if kept.len() == calm.len() || kept.len() < 3 {
            let jumps = innovations
                .iter()
                .copied()
                .filter(|e| (e - m).abs() > band)
                .collect();
            return (calm, jumps);
        }
        calm = kept;
    }
}

impl OuJump {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`ModelError::Range`].
    pub fn check(&self) -> Result<(), ModelError> {
        positive("kappa", self.kappa)?;
        not_negative("sigma", self.sigma)?;
        not_negative("lambda", self.lambda)?;
        finite("jump mean", self.jump_mean)?;
        not_negative("jump sd", self.jump_sd)?;
        Ok(())
    }

    /// Variance V of the diffusive part of `x_T`, `t` in days.
    #[must_use]
    pub fn diffusive_variance(&self, t: f64) -> f64 {
        self.sigma * self.sigma * -(-2.0 * self.kappa * t).exp_m1() / (2.0 * self.kappa)
    }

    /// `x_T` drawn exactly: jumps at their own times.
    pub fn draw(&self, x0: f64, t: f64, stream: &mut Stream) -> f64 {
        let mut x =
            x0 * (-self.kappa * t).exp() + self.diffusive_variance(t).sqrt() * stream.normal();
        if self.lambda > 0.0 {
            let count = Poisson::new(self.lambda * t).map_or(0.0, |law| law.sample(stream));
            let mut left = count;
            while left > 0.0 {
                let age = t * stream.uniform();
                x += (self.jump_mean + self.jump_sd * stream.normal()) * (-self.kappa * age).exp();
                left -= 1.0;
            }
        }
        x
    }

    /// Characteristic function of `x_T` at complex `u`.
    #[must_use]
    pub fn characteristic(&self, u: Complex64, x0: f64, t: f64) -> Complex64 {
        let i = Complex64::i();
        let mut exponent =
            i * u * (x0 * (-self.kappa * t).exp()) - 0.5 * u * u * self.diffusive_variance(t);
        if self.lambda > 0.0 {
            // The integrand turns with u (m + s) e^{-κv}: short panels where that is fast.
            let turn = u.norm() * (self.jump_mean.abs() + self.jump_sd) * (self.kappa * t).min(1.0);
            let panels = (4.0 + turn + self.kappa * t).min(400.0).floor();
            let width = t / panels;
            let nodes = legendre();
            let mut sum = Complex64::new(0.0, 0.0);
            let mut k = 0.0;
            while k < panels {
                for (z, w) in &nodes {
                    let v = width * (k + 0.5 * (1.0 + z));
                    let e = (-self.kappa * v).exp();
                    let inner =
                        i * u * self.jump_mean * e - 0.5 * u * u * (self.jump_sd * e).powi(2);
                    sum += 0.5 * width * w * (inner.exp() - 1.0);
                }
                k += 1.0;
            }
            exponent += self.lambda * sum;
        }
        exponent.exp()
    }

    /// Forward price of `e^{f+x}` in `t` days: `exp(f + x0 e^{-κT} + V/2 + λ ∫ ...)`.
    ///
    /// # Errors
    /// [`ModelError::Range`] for parameters outside their domain.
    pub fn forward(&self, f: f64, x0: f64, t: f64) -> Result<f64, ModelError> {
        self.check()?;
        not_negative("maturity in days", t)?;
        let jumps = integrate(
            |u| {
                let e = (-self.kappa * u).exp();
                (self.jump_mean * e + 0.5 * (self.jump_sd * e).powi(2)).exp_m1()
            },
            0.0,
            t,
            1e-13,
        );
        Ok((f
            + x0 * (-self.kappa * t).exp()
            + 0.5 * self.diffusive_variance(t)
            + self.lambda * jumps)
            .exp())
    }

    /// Discounted mean of `max(P - K, 0)` for `P = e^{f+x_T}`, `t` in days, rate `r` per day: closed
    /// form without jumps, Fourier inversion with them. `strike` above zero.
    ///
    /// # Errors
    /// [`ModelError::Range`] for parameters outside their domain, or jumps without diffusion.
    pub fn caplet(&self, f: f64, x0: f64, t: f64, strike: f64, r: f64) -> Result<f64, ModelError> {
        let forward = self.forward(f, x0, t)?;
        positive("strike", strike)?;
        let discount = (-finite("discount rate", r)? * t).exp();
        let v = self.diffusive_variance(t);
        if self.lambda == 0.0 {
            return Ok(discount * black(forward, strike, v));
        }
        positive("diffusive variance", v)?;
        let k = strike.ln() - f;
        let i = Complex64::i();
        let unit = self.characteristic(-i, x0, t);
        // Beyond this point |Φ| < e^{-37}.
        let end = (74.0 / v).sqrt();
        let probability = |shift: Complex64, norm: Complex64| {
            let integrand = |u: f64| {
                let phi = self.characteristic(Complex64::new(u, 0.0) - shift, x0, t) / norm;
                ((-i * u * k).exp() * phi / (i * u)).re
            };
            0.5 + integrate(integrand, 0.0, end, 1e-11) / std::f64::consts::PI
        };
        let in_money = probability(Complex64::new(0.0, 0.0), Complex64::new(1.0, 0.0));
        let share = probability(i, unit);
        Ok((discount * (forward * share - strike * in_money)).max(0.0))
    }

    /// Caplet on `min(P, C)`: `caplet(K) - caplet(C)`, 0 when the strike is at or above the cap.
    ///
    /// # Errors
    /// As [`OuJump::caplet`].
    pub fn capped_caplet(
        &self,
        f: f64,
        x0: f64,
        t: f64,
        strike: f64,
        cap: f64,
        r: f64,
    ) -> Result<f64, ModelError> {
        if strike >= cap {
            return Ok(0.0);
        }
        Ok(self.caplet(f, x0, t, strike, r)? - self.caplet(f, x0, t, cap, r)?)
    }
}

/// An [`OuJump`] made ready to be stepped over a regular grid: at most one jump per step, at its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    decay: f64,
    sd: f64,
    jump: f64,
    mean: f64,
    jump_sd: f64,
}

impl Grid {
    /// Constants of a step of `days`.
    ///
    /// # Errors
    /// [`ModelError::Range`] for parameters outside their domain.
    pub fn new(process: &OuJump, days: f64) -> Result<Self, ModelError> {
        process.check()?;
        positive("step in days", days)?;
        Ok(Self {
            decay: (-process.kappa * days).exp(),
            sd: process.diffusive_variance(days).sqrt(),
            jump: -(-process.lambda * days).exp_m1(),
            mean: process.jump_mean,
            jump_sd: process.jump_sd,
        })
    }

    /// The deviation one step on.
    #[inline]
    pub fn step(&self, x: f64, stream: &mut Stream) -> f64 {
        let x = x * self.decay + self.sd * stream.normal();
        if stream.uniform() < self.jump {
            x + self.mean + self.jump_sd * stream.normal()
        } else {
            x
        }
    }
}

/// Undiscounted Black value of a call: forward, strike, total variance of the logarithm.
#[must_use]
pub fn black(forward: f64, strike: f64, variance: f64) -> f64 {
    if variance <= 0.0 {
        return (forward - strike).max(0.0);
    }
    let sd = variance.sqrt();
    let d1 = ((forward / strike).ln() + 0.5 * variance) / sd;
    forward * normal_cdf(d1) - strike * normal_cdf(d1 - sd)
}

/// A legal price range and the day it starts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapEntry {
    /// First day of validity, in days since 1970-01-01 UTC.
    pub from_day: i64,
    /// Highest price, USD/MWh.
    pub cap: f64,
    /// Lowest price, USD/MWh.
    pub floor: f64,
}

/// Legal caps by date.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CapTable(Vec<CapEntry>);

impl CapTable {
    /// Entries in any order.
    ///
    /// # Errors
    /// [`ModelError::Range`] if a cap is not above its floor.
    pub fn new(mut entries: Vec<CapEntry>) -> Result<Self, ModelError> {
        for e in &entries {
            finite("price floor", e.floor)?;
            positive("cap less floor", e.cap - e.floor)?;
        }
        entries.sort_by_key(|e| e.from_day);
        Ok(Self(entries))
    }

    /// ERCOT: 9,000 USD/MWh until the end of 2021, 5,000 since; floor -251.
    #[must_use]
    pub fn ercot() -> Self {
        let entry = |from_day, cap| CapEntry {
            from_day,
            cap,
            floor: -251.0,
        };
        Self(vec![entry(i64::MIN, 9000.0), entry(18_993, 5000.0)])
    }

    /// The entry in force on `day`.
    #[must_use]
    pub fn at(&self, day: i64) -> Option<CapEntry> {
        self.0.iter().rev().find(|e| e.from_day <= day).copied()
    }

    /// A price moved into the legal range of its day.
    #[must_use]
    pub fn clamp(&self, day: i64, price: f64) -> f64 {
        self.at(day).map_or(price, |e| price.clamp(e.floor, e.cap))
    }
}

/// Energy of one GPU-hour in MWh: `watts / 1e6 · node_factor · PUE`.
///
/// # Errors
/// [`ModelError::Range`] unless all are positive.
pub fn gpu_hour_mwh(watts: f64, node_factor: f64, pue: f64) -> Result<f64, ModelError> {
    Ok(positive("watts", watts)? / 1e6
        * positive("node factor", node_factor)?
        * positive("PUE", pue)?)
}

/// Power price in USD/MWh at which energy eats the whole rent (USD per GPU-hour).
///
/// # Errors
/// [`ModelError::Range`] unless `mwh` is positive.
pub fn break_even_price(rent: f64, mwh: f64) -> Result<f64, ModelError> {
    Ok(finite("rent", rent)? / positive("MWh per GPU-hour", mwh)?)
}

/// Realised value of a cap over data: mean of `max(min(P, C) - K, 0)`, USD/MWh.
///
/// # Errors
/// [`ModelError::Shape`] without a price.
pub fn realised_cap(prices: &[f64], strike: f64, cap: f64) -> Result<f64, ModelError> {
    if prices.is_empty() {
        return Err(ModelError::Shape { what: "prices" });
    }
    Ok(mean(
        &prices
            .iter()
            .map(|p| (p.min(cap) - strike).max(0.0))
            .collect::<Vec<f64>>(),
    ))
}

#[cfg(test)]
mod tests;
