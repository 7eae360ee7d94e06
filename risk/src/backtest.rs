//! Did the forecasts hold? Tests of VaR and ES forecasts, and the methods that make them.
//!
//! The loss is that of a seller short of energy, `B_t - B_{t-1}` in USD/MWh, forecast one day ahead
//! from data up to the day before. Red results are results.
//!
//! # Source
//! `docs/risk.md`, back-tests.

use rayon::prelude::*;
use serde::Serialize;

use crate::energy::{Calibration, Interval, NormalMixture, Point, Transform, calibrate_filtered};
use crate::numeric::{chi_square_p, population_sd, tail};
use crate::rng::Stream;
use crate::units::{FitError, ModelError, open_unit};

/// A way to forecast tomorrow's loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The jump model, calibrated once on the first window.
    Frozen,
    /// The jump model, calibrated every day on the window before it.
    Rolling,
    /// Order statistics of the window's losses.
    Historical,
    /// Order statistics of returns scaled by their EWMA volatility.
    Filtered,
}

impl Method {
    /// All, in the order of reports.
    pub const ALL: [Self; 4] = [
        Self::Frozen,
        Self::Rolling,
        Self::Historical,
        Self::Filtered,
    ];

    /// Name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Rolling => "rolling",
            Self::Historical => "historical",
            Self::Filtered => "filtered",
        }
    }
}

/// One forecast and what happened.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// Day since 1970-01-01 UTC of the loss.
    pub day: i64,
    /// Forecast VaR, USD/MWh.
    pub var: f64,
    /// Forecast ES, USD/MWh.
    pub es: f64,
    /// Realised loss, USD/MWh.
    pub loss: f64,
}

impl Forecast {
    /// Strictly above the forecast.
    #[must_use]
    pub fn exception(&self) -> bool {
        self.loss > self.var
    }
}

/// Result of all tests on one run of forecasts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Forecasts.
    pub n: u64,
    /// Exceptions.
    pub exceptions: u64,
    /// Exceptions expected.
    pub expected: f64,
    /// Kupiec's likelihood ratio.
    pub kupiec_lr: f64,
    /// Its p-value.
    pub kupiec_p: f64,
    /// Days without an exception after a day without.
    pub n00: u64,
    /// Exceptions after a day without.
    pub n01: u64,
    /// Days without an exception after an exception.
    pub n10: u64,
    /// Exceptions after an exception.
    pub n11: u64,
    /// Christoffersen's likelihood ratio of independence.
    pub ind_lr: f64,
    /// Its p-value.
    pub ind_p: f64,
    /// Sum of the two.
    pub cc_lr: f64,
    /// Its p-value, two degrees of freedom.
    pub cc_p: f64,
    /// Traffic light over the last 250 forecasts; none with fewer.
    pub light: Option<Light>,
    /// Acerbi-Szekely Z2: 0 expected, negative means too little.
    pub z2: f64,
    /// Share of simulated Z2 under the forecasts that are as low or lower.
    pub z2_p: f64,
}

/// Traffic light at 99 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Light {
    /// 0 to 4 exceptions.
    Green,
    /// 5 to 9.
    Yellow,
    /// 10 and more.
    Red,
}

impl Light {
    /// Light of so many exceptions in 250.
    #[must_use]
    pub const fn of(exceptions: usize) -> Self {
        match exceptions {
            0..=4 => Self::Green,
            5..=9 => Self::Yellow,
            _ => Self::Red,
        }
    }
}

impl Verdict {
    /// Did every test pass at 5 %, and the light is not red?
    #[must_use]
    pub fn passed(&self) -> bool {
        self.kupiec_p >= 0.05
            && self.ind_p >= 0.05
            && self.cc_p >= 0.05
            && self.z2_p >= 0.05
            && self.light != Some(Light::Red)
    }
}

/// `a ln b` with `0 ln 0 = 0`.
fn xlny(a: f64, b: f64) -> f64 {
    if a == 0.0 { 0.0 } else { a * b.ln() }
}

/// Kupiec's likelihood ratio for `x` exceptions in `n` forecasts at exception probability `p`.
///
/// # Errors
/// [`ModelError::Range`] unless `p` is in (0, 1), `n` positive and `x` at most `n`.
pub fn kupiec(n: u64, x: u64, p: f64) -> Result<f64, ModelError> {
    open_unit("exception probability", p)?;
    if n == 0 || x > n {
        return Err(ModelError::Range {
            what: "exceptions",
            value: x as f64,
            rule: "at most the number of forecasts, which must be above 0",
        });
    }
    let (n, x) = (n as f64, x as f64);
    let under = xlny(n - x, 1.0 - p) + xlny(x, p);
    let free = xlny(n - x, 1.0 - x / n) + xlny(x, x / n);
    Ok((-2.0 * (under - free)).max(0.0))
}

/// Christoffersen's likelihood ratio of independence from the four transition counts.
#[must_use]
pub fn christoffersen(n00: u64, n01: u64, n10: u64, n11: u64) -> f64 {
    let [n00, n01, n10, n11] = [n00, n01, n10, n11].map(|n| n as f64);
    let share = |a: f64, b: f64| if a + b == 0.0 { 0.0 } else { b / (a + b) };
    let pi = share(n00 + n10, n01 + n11);
    let pi0 = share(n00, n01);
    let pi1 = share(n10, n11);
    let under = xlny(n00 + n10, 1.0 - pi) + xlny(n01 + n11, pi);
    let free = xlny(n00, 1.0 - pi0) + xlny(n01, pi0) + xlny(n10, 1.0 - pi1) + xlny(n11, pi1);
    (-2.0 * (under - free)).max(0.0)
}

/// Z2 of Acerbi and Szekely: `1 - Σ I_t L_t / ES_t / (n (1-q))`.
#[must_use]
pub fn z2(forecasts: &[Forecast], q: f64) -> f64 {
    let sum: f64 = forecasts
        .iter()
        .filter(|f| f.exception())
        .map(|f| f.loss / f.es)
        .sum();
    1.0 - sum / (forecasts.len() as f64 * (1.0 - q))
}

/// The law behind one forecast, kept to simulate Z2 under it.
#[derive(Clone, Debug)]
pub enum Law {
    /// Sorted losses, each equally likely.
    Empirical(Vec<f64>),
    /// Tomorrow's ln price is a mixture; the loss is `e^y` less today's price.
    Mixture(NormalMixture, f64),
}

impl Law {
    fn tail(&self, q: f64) -> Result<(f64, f64), ModelError> {
        match self {
            Self::Empirical(losses) => {
                let t = tail(&mut losses.clone(), q)?;
                Ok((t.var, t.es))
            }
            Self::Mixture(law, today) => {
                let y = law.quantile(q);
                Ok((y.exp() - today, law.exp_beyond(y) / (1.0 - q) - today))
            }
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a uniform below 1 times a length is an index"
    )]
    fn draw(&self, stream: &mut Stream) -> f64 {
        match self {
            Self::Empirical(losses) => losses[(stream.uniform() * losses.len() as f64) as usize],
            Self::Mixture(law, today) => law.draw(stream).exp() - today,
        }
    }
}

/// A run: forecasts with the laws behind them.
#[derive(Clone, Debug)]
pub struct Run {
    /// Forecasts by day.
    pub forecasts: Vec<Forecast>,
    /// The law behind each.
    pub laws: Vec<Law>,
    /// Days without a forecast, because the model had no answer or a price no logarithm.
    pub skipped: u64,
}

/// Forecasts every day after the first `window` days of `points` (daily, by rising day).
///
/// # Errors
/// [`FitError::TooFew`] if there are fewer than `window` + 10 days; [`FitError`] if the frozen
/// model cannot be calibrated.
pub fn run(points: &[Point], method: Method, window: usize, q: f64) -> Result<Run, FitError> {
    open_unit("level", q)?;
    let needed = window + 10;
    if points.len() < needed || window < 50 {
        return Err(FitError::TooFew {
            what: "back-test (days; the window must be at least 50)",
            found: points.len().min(window),
            needed: needed.max(50),
        });
    }
    let frozen = match method {
        Method::Frozen => Some(calibrate_filtered(
            &points[..window],
            Interval::Day,
            Transform::Ln,
        )?),
        _ => None,
    };
    let laws: Vec<Option<(Forecast, Law)>> = (window + 1..points.len())
        .into_par_iter()
        .map(|t| {
            // One day more than the window: n losses need n + 1 prices.
            let past = &points[t - window - 1..t];
            let yesterday = points[t - 1];
            // A gap means that the loss is not a one-day loss.
            if points[t].index != yesterday.index + 1 {
                return None;
            }
            let law = match method {
                Method::Frozen => model_law(frozen.as_ref()?, yesterday),
                Method::Rolling => {
                    let fit = calibrate_filtered(&past[1..], Interval::Day, Transform::Ln).ok()?;
                    model_law(&fit, yesterday)
                }
                Method::Historical => historical(past),
                Method::Filtered => filtered(&points[..t], window),
            }?;
            let (var, es) = law.tail(q).ok()?;
            let forecast = Forecast {
                day: points[t].index,
                var,
                es,
                loss: points[t].price - yesterday.price,
            };
            Some((forecast, law))
        })
        .collect();
    let skipped = laws.iter().filter(|l| l.is_none()).count() as u64;
    let (forecasts, laws): (Vec<Forecast>, Vec<Law>) = laws.into_iter().flatten().unzip();
    if forecasts.len() < 10 {
        return Err(FitError::TooFew {
            what: "back-test forecasts",
            found: forecasts.len(),
            needed: 10,
        });
    }
    Ok(Run {
        forecasts,
        laws,
        skipped,
    })
}

fn model_law(fit: &Calibration, today: Point) -> Option<Law> {
    let x = fit.transform.forward(today.price)? - fit.season.at(today.index);
    Some(Law::Mixture(fit.next(today.index, x), today.price))
}

fn historical(past: &[Point]) -> Option<Law> {
    let mut losses: Vec<f64> = past
        .windows(2)
        .filter(|w| w[1].index == w[0].index + 1)
        .map(|w| w[1].price - w[0].price)
        .collect();
    losses.sort_by(f64::total_cmp);
    (!losses.is_empty()).then_some(Law::Empirical(losses))
}

/// Filtered historical simulation: `r = ln(B_t / B_{t-1})`, `s²` an EWMA (0.94) of past `r²` that
/// starts at the population variance of the first 50; the forecast is `s` times the order statistic
/// of the last `window` values of `z = r / s`, turned into a price.
fn filtered(past: &[Point], window: usize) -> Option<Law> {
    const LAMBDA: f64 = 0.94;
    let returns: Vec<f64> = past
        .windows(2)
        .filter(|w| w[1].index == w[0].index + 1)
        .map(|w| (w[1].price / w[0].price).ln())
        .filter(|r| r.is_finite())
        .collect();
    let first = returns.get(..50)?;
    let mut s2 = population_sd(first).powi(2);
    let mut z = Vec::with_capacity(returns.len());
    for r in &returns {
        z.push(r / s2.sqrt());
        s2 = LAMBDA * s2 + (1.0 - LAMBDA) * r * r;
    }
    let today = past.last().filter(|p| p.price > 0.0)?.price;
    let mut losses: Vec<f64> = z[z.len().saturating_sub(window)..]
        .iter()
        .map(|z| today * (s2.sqrt() * z).exp_m1())
        .collect();
    losses.sort_by(f64::total_cmp);
    Some(Law::Empirical(losses))
}

/// All tests on a run; `simulations` draws for the p-value of Z2.
///
/// # Errors
/// [`ModelError`] without a forecast.
pub fn judge(run: &Run, q: f64, simulations: u64, seed: u64) -> Result<Verdict, ModelError> {
    let hits: Vec<bool> = run.forecasts.iter().map(Forecast::exception).collect();
    let n = hits.len() as u64;
    let exceptions = hits.iter().filter(|h| **h).count() as u64;
    let kupiec_lr = kupiec(n, exceptions, 1.0 - q)?;
    let count =
        |a: bool, b: bool| hits.windows(2).filter(|w| w[0] == a && w[1] == b).count() as u64;
    let [n00, n01, n10, n11] = [
        count(false, false),
        count(false, true),
        count(true, false),
        count(true, true),
    ];
    let ind_lr = christoffersen(n00, n01, n10, n11);
    let observed = z2(&run.forecasts, q);
    let low = (0..simulations)
        .into_par_iter()
        .filter(|s| {
            let mut stream = Stream::new(seed, *s, 0);
            let drawn: Vec<Forecast> = run
                .forecasts
                .iter()
                .zip(&run.laws)
                .map(|(f, law)| Forecast {
                    loss: law.draw(&mut stream),
                    ..*f
                })
                .collect();
            z2(&drawn, q) <= observed
        })
        .count();
    let light = (n >= 250).then(|| {
        let last = &hits[hits.len() - 250..];
        Light::of(last.iter().filter(|h| **h).count())
    });
    Ok(Verdict {
        n,
        exceptions,
        expected: n as f64 * (1.0 - q),
        kupiec_lr,
        kupiec_p: chi_square_p(kupiec_lr, 1.0),
        n00,
        n01,
        n10,
        n11,
        ind_lr,
        ind_p: chi_square_p(ind_lr, 1.0),
        cc_lr: kupiec_lr + ind_lr,
        cc_p: chi_square_p(kupiec_lr + ind_lr, 2.0),
        light,
        z2: observed,
        z2_p: low as f64 / simulations.max(1) as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ln price: mean-reverting normal, so every method has a fair chance.
    fn series(days: i64, volatility: impl Fn(i64) -> f64) -> Vec<Point> {
        let mut s = Stream::new(6, 0, 0);
        let mut x = 0.0;
        (0..days)
            .map(|day| {
                x = 0.7 * x + volatility(day) * s.normal();
                Point {
                    index: 18_000 + day,
                    price: 30.0 * f64::exp(x),
                }
            })
            .collect()
    }

    #[test]
    fn likelihood_ratios_of_known_counts() {
        // x = n p exactly: no evidence at all.
        assert!(kupiec(1000, 10, 0.01).unwrap() < 1e-12);
        let lr = kupiec(250, 10, 0.01).unwrap();
        let by_hand = -2.0 * (240.0 * (0.99_f64 / 0.96).ln() + 10.0 * (0.01_f64 / 0.04).ln());
        assert!((lr - by_hand).abs() < 1e-9);
        assert!((kupiec(100, 0, 0.01).unwrap() + 200.0 * 0.99_f64.ln()).abs() < 1e-9);
        assert!(kupiec(0, 0, 0.01).is_err() && kupiec(5, 6, 0.01).is_err());
        assert_eq!(christoffersen(100, 0, 0, 0), 0.0);
        // Exceptions that always come in pairs are not independent.
        assert!(chi_square_p(christoffersen(980, 5, 5, 5), 1.0) < 1e-4);
        assert!((chi_square_p(3.841_458_820_694_124, 1.0) - 0.05).abs() < 1e-9);
    }

    #[test]
    fn lights_change_at_five_and_ten() {
        assert_eq!(
            [0, 4, 5, 9, 10].map(Light::of),
            [
                Light::Green,
                Light::Green,
                Light::Yellow,
                Light::Yellow,
                Light::Red
            ]
        );
    }

    #[test]
    fn the_true_model_passes_its_own_test() {
        let points = series(1500, |_| 0.2);
        for method in [Method::Frozen, Method::Rolling] {
            let run = run(&points, method, 730, 0.99).unwrap();
            let v = judge(&run, 0.99, 400, 1).unwrap();
            assert!(v.kupiec_p > 0.01 && v.z2_p > 0.01, "{method:?} {v:?}");
            assert_eq!(v.n00 + v.n01 + v.n10 + v.n11, v.n - 1);
            assert_eq!(run.skipped, 0);
        }
    }

    #[test]
    fn a_model_that_is_too_calm_is_caught() {
        let points = series(1500, |day| if day < 730 { 0.1 } else { 0.3 });
        let run = run(&points, Method::Frozen, 730, 0.99).unwrap();
        let v = judge(&run, 0.99, 400, 1).unwrap();
        assert!(v.kupiec_p < 1e-6 && v.z2 < -0.5 && v.z2_p < 0.01, "{v:?}");
        assert_eq!(v.light, Some(Light::Red));
        assert!(!v.passed());
    }

    #[test]
    fn filtering_follows_the_volatility_that_history_misses() {
        let points = series(1500, |day| if day < 900 { 0.08 } else { 0.3 });
        let count = |method| {
            let run = run(&points, method, 500, 0.99).unwrap();
            run.forecasts.iter().filter(|f| f.exception()).count()
        };
        assert!(count(Method::Filtered) < count(Method::Historical));
    }

    #[test]
    fn z2_is_zero_in_the_mean_under_its_own_law() {
        let points = series(900, |_| 0.2);
        let run = run(&points, Method::Historical, 250, 0.99).unwrap();
        let draws: Vec<f64> = (0..300)
            .map(|s| {
                let mut stream = Stream::new(8, s, 0);
                let drawn: Vec<Forecast> = run
                    .forecasts
                    .iter()
                    .zip(&run.laws)
                    .map(|(f, l)| Forecast {
                        loss: l.draw(&mut stream),
                        ..*f
                    })
                    .collect();
                z2(&drawn, 0.99)
            })
            .collect();
        let mc = crate::units::MonteCarlo::mean(&draws, 8).unwrap();
        // Strictly above the order statistic: of 250 losses, two lie beyond the 248th.
        assert!(mc.value.abs() < 0.3, "{mc:?}");
    }

    #[test]
    fn short_series_and_gaps_are_handled() {
        let points = series(100, |_| 0.2);
        assert!(run(&points, Method::Rolling, 250, 0.99).is_err());
        let gaps: Vec<Point> = series(700, |_| 0.2)
            .into_iter()
            .filter(|p| p.index % 50 != 7)
            .collect();
        let r = run(&gaps, Method::Historical, 250, 0.99).unwrap();
        assert!(r.skipped > 0 && r.forecasts.iter().all(|f| f.day % 50 != 8));
        let negative: Vec<Point> = series(400, |_| 0.2)
            .into_iter()
            .enumerate()
            .map(|(i, p)| Point {
                price: if i % 90 == 3 { -5.0 } else { p.price },
                ..p
            })
            .collect();
        for method in Method::ALL {
            let r = run(&negative, method, 250, 0.99).unwrap();
            assert!(
                r.forecasts
                    .iter()
                    .all(|f| f.var.is_finite() && f.es.is_finite())
            );
        }
    }
}
