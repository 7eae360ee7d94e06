//! How often nodes fail, together and alone, and what an interruption costs.
//!
//! Node `i` fails at `z_i h0(t) exp(b'x_i)` per up hour. `z` is gamma frailty with mean 1 ("lemon"
//! nodes), `h0` constant or Weibull. Shocks are Poisson clocks of a domain that take each member down
//! with a probability. Estimators, closed forms and the simulator stand side by side, so that each
//! can be checked against the others.
//!
//! # Source
//! `docs/risk.md`, failures. Times are in one unit throughout (the caller's; hours in models, days
//! in the fault files).

use rand_distr::{Distribution, Gamma};
use serde::{Deserialize, Serialize};

use crate::numeric::{
    chi_square_p, integrate, ln_factorial, ln_gamma, maximise, mean, normal_cdf, normal_pdf,
    variance,
};
use crate::repair::Repair;
use crate::rng::{Stream, normal_quantile};
use crate::units::{
    Estimate, FitError, MicroUsd, ModelError, not_negative, open_unit, positive, probability,
};

/// Baseline hazard of one node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// Constant rate, per unit of time.
    Exponential {
        /// Failures per unit of up-time.
        rate: f64,
    },
    /// `(k/s)(t/s)^(k-1)`, `t` counted from the last repair.
    Weibull {
        /// Shape k; below 1 failures cluster after a repair.
        shape: f64,
        /// Scale s, in the unit of time.
        scale: f64,
    },
}

impl Baseline {
    /// Time to failure when the hazard is multiplied by `factor`, drawn by inversion of the
    /// cumulative hazard.
    #[must_use]
    pub fn draw(self, factor: f64, stream: &mut Stream) -> f64 {
        let target = -stream.uniform().ln() / factor;
        match self {
            Self::Exponential { rate } => target / rate,
            Self::Weibull { shape, scale } => scale * target.powf(1.0 / shape),
        }
    }
}

/// A Poisson clock that takes members of a domain down together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shock {
    /// Shocks per unit of time.
    pub rate: f64,
    /// First node of the domain.
    pub first: usize,
    /// Number of nodes in the domain.
    pub nodes: usize,
    /// Probability that a member goes down; 1 is Marshall-Olkin.
    pub hit: f64,
}

/// Everything the simulator of a pool needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Hazard before frailty and covariates.
    pub baseline: Baseline,
    /// Gamma shape r of the frailty (variance 1/r); `None` for equal nodes.
    pub frailty: Option<f64>,
    /// `exp(b'x)` per node; its length is the number of nodes.
    pub factors: Vec<f64>,
    /// Common shocks.
    pub shocks: Vec<Shock>,
    /// Time to repair.
    pub repair: Repair,
}

/// One outage of one node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Episode {
    /// Node, from 0.
    pub node: usize,
    /// Start, in the unit of time of the model or the file.
    pub start: f64,
    /// End, not before the start.
    pub end: f64,
}

impl Pool {
    /// Covariate factors `exp(b'x_i)` from coefficients and one row of covariates per node.
    ///
    /// # Errors
    /// [`ModelError::Shape`] if a row has another length than `b`.
    pub fn factors(b: &[f64], rows: &[Vec<f64>]) -> Result<Vec<f64>, ModelError> {
        rows.iter()
            .map(|row| {
                if row.len() == b.len() {
                    Ok(crate::numeric::dot(b, row).exp())
                } else {
                    Err(ModelError::Shape { what: "covariates" })
                }
            })
            .collect()
    }

    /// Outages over `[0, span]` in scenario `scenario`, in order of start; ends may lie beyond the
    /// span. A node that is down is not hit again.
    ///
    /// # Errors
    /// [`ModelError::Range`] for a rate, probability or shape outside its domain.
    pub fn simulate(
        &self,
        span: f64,
        seed: u64,
        scenario: u64,
    ) -> Result<Vec<Episode>, ModelError> {
        positive("span", span)?;
        match self.baseline {
            Baseline::Exponential { rate } => {
                positive("failure rate", rate)?;
            }
            Baseline::Weibull { shape, scale } => {
                positive("Weibull shape", shape)?;
                positive("Weibull scale", scale)?;
            }
        }
        // A node's shock times first: they do not depend on its own history.
        let mut hits: Vec<Vec<f64>> = vec![Vec::new(); self.factors.len()];
        for (d, shock) in (0..).zip(&self.shocks) {
            not_negative("shock rate", shock.rate)?;
            probability("shock probability", shock.hit)?;
            if shock.rate == 0.0 {
                continue;
            }
            let mut stream = Stream::new(seed, scenario, SHOCK + d);
            let mut t = stream.exponential(shock.rate);
            while t < span {
                for node in shock.first..shock.first + shock.nodes {
                    let hit = stream.uniform() < shock.hit;
                    if let Some(times) = hits.get_mut(node).filter(|_| hit) {
                        times.push(t);
                    }
                }
                t += stream.exponential(shock.rate);
            }
        }
        let frailty = match self.frailty {
            None => None,
            Some(r) => Some(gamma(r)?),
        };
        let mut episodes = Vec::new();
        for ((node, factor), mut shocks) in (0..).zip(&self.factors).zip(hits) {
            shocks.sort_by(f64::total_cmp);
            let node_number = u32::try_from(node).map_err(|_| ModelError::Shape {
                what: "pool (more than 2^32 nodes)",
            })?;
            let mut stream = Stream::new(seed, scenario, NODE + node_number);
            let z = frailty.map_or(1.0, |law| law.sample(&mut stream));
            let mut shocks = shocks.into_iter().peekable();
            let mut now = 0.0;
            loop {
                let own = now
                    + self
                        .baseline
                        .draw(z * positive("covariate factor", *factor)?, &mut stream);
                while shocks.next_if(|t| *t < now).is_some() {}
                let start = shocks.peek().map_or(own, |t| own.min(*t));
                if start >= span {
                    break;
                }
                let end = start + self.repair.draw(&mut stream);
                episodes.push(Episode { node, start, end });
                now = end;
            }
        }
        episodes.sort_by(|a, b| a.start.total_cmp(&b.start).then(a.node.cmp(&b.node)));
        Ok(episodes)
    }
}

/// Gamma law with shape `r` and mean 1.
fn gamma(r: f64) -> Result<Gamma<f64>, ModelError> {
    positive("frailty shape", r)?;
    Gamma::new(r, 1.0 / r).map_err(|_| ModelError::Range {
        what: "frailty shape",
        value: r,
        rule: "a valid gamma shape",
    })
}

/// Domain separation of the streams: shocks and nodes never share a counter.
const SHOCK: u32 = 0x4000_0000;
const NODE: u32 = 0x8000_0000;

/// What a set of outages says about a pool of nodes that are alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PoolEstimate {
    /// Failures per unit of up node-time.
    pub rate: Estimate,
    /// Up node-time: nodes x span minus merged downtime.
    pub exposure: f64,
    /// Up node-time per failure.
    pub mtbf: f64,
    /// 1 - merged downtime / (nodes x span).
    pub availability: f64,
    /// Variance over mean of failures per node, nodes without one included.
    pub dispersion: f64,
    /// Failures per node.
    pub counts: Vec<u32>,
}

/// Rate, availability and dispersion of `nodes` nodes watched over `[0, span]`. Outages of one node
/// may overlap; downtime is merged, and cut at the span.
///
/// # Errors
/// [`FitError::Model`] if an outage names a node at or above `nodes`, ends before it starts, or the
/// span is not positive; [`FitError::TooFew`] without a node.
///
/// # Source
/// `docs/risk.md`, estimators: `n / E`, `sqrt(n) / E`.
pub fn estimate_pool(
    episodes: &[Episode],
    nodes: usize,
    span: f64,
) -> Result<PoolEstimate, FitError> {
    positive("span", span)?;
    if nodes == 0 {
        return Err(FitError::TooFew {
            what: "failure rate (nodes)",
            found: 0,
            needed: 1,
        });
    }
    let mut counts = vec![0_u32; nodes];
    let mut down: Vec<Vec<(f64, f64)>> = vec![Vec::new(); nodes];
    for e in episodes {
        let Some(count) = counts.get_mut(e.node) else {
            return Err(ModelError::Range {
                what: "node number",
                value: e.node as f64,
                rule: "below the number of nodes",
            }
            .into());
        };
        not_negative("episode start", e.start)?;
        not_negative("episode length", e.end - e.start)?;
        *count += 1;
        down[e.node].push((e.start.min(span), e.end.min(span)));
    }
    let lost: f64 = down.into_iter().map(merged).sum();
    let total = nodes as f64 * span;
    let exposure = total - lost;
    let n = episodes.len() as f64;
    let per_node: Vec<f64> = counts.iter().map(|c| f64::from(*c)).collect();
    Ok(PoolEstimate {
        rate: Estimate {
            value: n / exposure,
            se: n.sqrt() / exposure,
            n: episodes.len() as u64,
        },
        exposure,
        mtbf: exposure / n,
        availability: 1.0 - lost / total,
        dispersion: variance(&per_node) / mean(&per_node),
        counts,
    })
}

/// Length of the union of intervals.
fn merged(mut intervals: Vec<(f64, f64)>) -> f64 {
    intervals.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut covered = f64::NEG_INFINITY;
    let mut length = 0.0;
    for (start, end) in intervals {
        let start = start.max(covered);
        if end > start {
            length += end - start;
            covered = end;
        }
    }
    length
}

/// Shape r of the negative binomial over counts per node, by maximum likelihood with the mean fixed
/// at the sample mean; infinite (with infinite error) when the counts are no wider than Poisson.
///
/// # Errors
/// [`FitError::TooFew`] without two nodes or without a failure.
pub fn fit_negative_binomial(counts: &[u32]) -> Result<Estimate, FitError> {
    let what = "negative binomial";
    let total: u64 = counts.iter().map(|c| u64::from(*c)).sum();
    if counts.len() < 2 || total == 0 {
        return Err(FitError::TooFew {
            what,
            found: counts.len(),
            needed: 2,
        });
    }
    let n = counts.len() as u64;
    let m = total as f64 / n as f64;
    // A histogram: the likelihood asks for every count many times.
    let largest = counts.iter().copied().max().unwrap_or(0);
    let mut histogram = vec![0.0_f64; largest as usize + 1];
    for c in counts {
        histogram[*c as usize] += 1.0;
    }
    let log_likelihood = |ln_r: f64| -> f64 {
        let r = ln_r.exp();
        (0..)
            .zip(&histogram)
            .filter(|(_, weight)| **weight > 0.0)
            .map(|(count, weight)| {
                let k = f64::from(count);
                weight
                    * (ln_gamma(k + r) - ln_gamma(r) - ln_factorial(k)
                        + r * (r / (r + m)).ln()
                        + k * (m / (r + m)).ln())
            })
            .sum()
    };
    let per_node: Vec<f64> = counts.iter().map(|c| f64::from(*c)).collect();
    let excess = variance(&per_node) - m;
    if excess <= 0.0 {
        return Ok(Estimate {
            value: f64::INFINITY,
            se: f64::INFINITY,
            n,
        });
    }
    let fit = maximise(
        what,
        |p| log_likelihood(p[0]),
        &[(m * m / excess).ln()],
        &[0.3],
    )?;
    let r = fit.at[0].exp();
    Ok(Estimate {
        value: r,
        se: r * fit.se[0],
        n,
    })
}

/// A duration, and whether its end was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lifetime {
    /// Length, above zero.
    pub length: f64,
    /// False when watching ended first (right-censored).
    pub ended: bool,
}

/// Weibull fit, with the exponential beside it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WeibullFit {
    /// Shape k.
    pub shape: Estimate,
    /// Scale s, in the unit of the lifetimes.
    pub scale: Estimate,
    /// Log-likelihood at the maximum.
    pub log_likelihood: f64,
    /// `2 (ℓ_Weibull - ℓ_exp)`: is the gap exponential?
    pub lr: f64,
    /// Its chi-square p-value, one degree of freedom.
    pub p: f64,
}

/// Weibull maximum likelihood with right censoring; lifetimes of zero length are left out.
///
/// The scale has a closed form given the shape, so the search is over one number.
///
/// # Errors
/// [`FitError::TooFew`] without two ends; [`FitError::NoMaximum`] if all lifetimes are equal.
pub fn fit_weibull(lifetimes: &[Lifetime]) -> Result<WeibullFit, FitError> {
    let what = "Weibull";
    let data: Vec<Lifetime> = lifetimes
        .iter()
        .copied()
        .filter(|l| l.length > 0.0 && l.length.is_finite())
        .collect();
    let events: Vec<f64> = data
        .iter()
        .filter(|l| l.ended)
        .map(|l| l.length.ln())
        .collect();
    let n = events.len() as f64;
    if events.len() < 2 {
        return Err(FitError::TooFew {
            what,
            found: events.len(),
            needed: 2,
        });
    }
    // Lengths relative to their geometric mean keep t^k in range for any unit.
    let unit = mean(&events);
    let logs: Vec<f64> = data.iter().map(|l| l.length.ln() - unit).collect();
    let event_sum: f64 = events.iter().map(|x| x - unit).sum();
    let power = |k: f64| -> f64 { logs.iter().map(|x| (k * x).exp()).sum() };
    let profile = |k: f64| n * (k.ln() - (power(k) / n).ln()) + (k - 1.0) * event_sum - n;
    let start = 1.0;
    let best = maximise(what, |p| profile(p[0].exp()), &[f64::ln(start)], &[0.2])?;
    let shape = best.at[0].exp();
    if !(1e-3..1e3).contains(&shape) {
        return Err(FitError::NoMaximum { what });
    }
    let scale = (power(shape) / n).powf(1.0 / shape);
    // Standard errors want both parameters.
    let full = |p: &[f64]| -> f64 {
        let (k, s) = (p[0], p[1]);
        if k <= 0.0 || s <= 0.0 {
            return f64::NEG_INFINITY;
        }
        n * (k.ln() - k * s.ln()) + (k - 1.0) * event_sum - power(k) * s.powf(-k)
    };
    let at = maximise(what, full, &[shape, scale], &[0.02 * shape, 0.02 * scale])?;
    let exponential = {
        let s = power(1.0) / n;
        -n * s.ln() - n
    };
    let lr = (2.0 * (at.value - exponential)).max(0.0);
    let factor = unit.exp();
    Ok(WeibullFit {
        shape: Estimate {
            value: at.at[0],
            se: at.se[0],
            n: events.len() as u64,
        },
        scale: Estimate {
            value: at.at[1] * factor,
            se: at.se[1] * factor,
            n: events.len() as u64,
        },
        log_likelihood: at.value - n * unit,
        lr,
        p: chi_square_p(lr, 1.0),
    })
}

/// Kaplan-Meier survival: (time, probability to live longer), one step per distinct end.
#[must_use]
pub fn kaplan_meier(lifetimes: &[Lifetime]) -> Vec<(f64, f64)> {
    let mut sorted = lifetimes.to_vec();
    sorted.sort_by(|a, b| a.length.total_cmp(&b.length));
    let mut at_risk = sorted.len() as f64;
    let mut survival = 1.0;
    let mut curve = Vec::new();
    for group in sorted.chunk_by(|a, b| a.length == b.length) {
        let ends = group.iter().filter(|l| l.ended).count() as f64;
        if ends > 0.0 {
            survival *= 1.0 - ends / at_risk;
            curve.push((group[0].length, survival));
        }
        at_risk -= group.len() as f64;
    }
    curve
}

/// Failures per day of a pool, and the days that look like shocks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ShockDays {
    /// Complete days counted.
    pub days: u64,
    /// Mean failures per day.
    pub mean: f64,
    /// Variance of failures per day (divisor n - 1).
    pub variance: f64,
    /// The threshold: a day with more failures is a shock day.
    pub threshold: u32,
    /// Shock days per day.
    pub rate: Estimate,
    /// Mean failures on a shock day; 0 without one.
    pub size: f64,
}

/// Counts failures per complete day. The threshold is the 99.9 % point of a Poisson law with the
/// *median* count as its mean (at least 0.5), which the shock days themselves cannot move much.
///
/// # Errors
/// [`FitError::TooFew`] with fewer than two complete days.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "days are checked to be finite, not negative and below the span"
)]
pub fn shock_days(starts_days: &[f64], span_days: f64) -> Result<ShockDays, FitError> {
    positive("span in days", span_days)?;
    let days = span_days.floor() as usize;
    if days < 2 {
        return Err(FitError::TooFew {
            what: "shock days",
            found: days,
            needed: 2,
        });
    }
    let mut counts = vec![0_u32; days];
    for start in starts_days {
        let day = not_negative("start in days", *start)?.floor() as usize;
        if let Some(count) = counts.get_mut(day) {
            *count += 1;
        }
    }
    let mut sorted = counts.clone();
    sorted.sort_unstable();
    let base = f64::from(sorted[days / 2]).max(0.5);
    let mut threshold = 0;
    let mut term = (-base).exp();
    let mut below = term;
    while below < 0.999 {
        threshold += 1;
        term *= base / f64::from(threshold);
        below += term;
    }
    let shocks: Vec<f64> = counts
        .iter()
        .filter(|c| **c > threshold)
        .map(|c| f64::from(*c))
        .collect();
    let n = shocks.len() as f64;
    let counts: Vec<f64> = counts.into_iter().map(f64::from).collect();
    Ok(ShockDays {
        days: days as u64,
        mean: mean(&counts),
        variance: variance(&counts),
        threshold,
        rate: Estimate {
            value: n / days as f64,
            se: n.sqrt() / days as f64,
            n: shocks.len() as u64,
        },
        size: if shocks.is_empty() {
            0.0
        } else {
            mean(&shocks)
        },
    })
}

/// `P(D <= d)` for the downtime D over `[0, window]` of a node that is up at 0, with exponential up
/// times (`rate`) and repairs (`repair_rate`).
///
/// # Errors
/// [`ModelError::Range`] for a negative number.
///
/// # Source
/// Takács 1957: `Σ_n e^{-λ(T-d)} (λ(T-d))^n / n! · G_n(μ d)`.
pub fn downtime_cdf(d: f64, window: f64, rate: f64, repair_rate: f64) -> Result<f64, ModelError> {
    not_negative("downtime", d)?;
    not_negative("window", window)?;
    let rate = not_negative("failure rate", rate)?;
    let repair_rate = not_negative("repair rate", repair_rate)?;
    if d >= window {
        return Ok(1.0);
    }
    let a = rate * (window - d);
    let y = repair_rate * d;
    // Weights and survival terms are Poisson probabilities; logs keep the start from underflowing.
    let weight = |n: f64| {
        if a == 0.0 {
            f64::from(u8::from(n == 0.0))
        } else {
            (n * a.ln() - a - ln_factorial(n)).exp()
        }
    };
    let repairs = |n: f64| {
        if y == 0.0 {
            f64::from(u8::from(n == 0.0))
        } else {
            (n * y.ln() - y - ln_factorial(n)).exp()
        }
    };
    let mut sum = 0.0;
    let mut below: f64 = 0.0; // P(Poisson(y) < n)
    let mut n = 0.0;
    loop {
        let w = weight(n);
        sum += w * (1.0 - below).max(0.0);
        below += repairs(n);
        n += 1.0;
        if n > a && (w < 1e-18 || below >= 1.0 - 1e-17) {
            break;
        }
    }
    Ok(sum.clamp(0.0, 1.0))
}

/// Probability that more than `s` of `n` nodes fail by time `t` (no repair).
///
/// # Errors
/// [`ModelError::Range`] for a negative rate or time.
pub fn more_than_down(s: u32, n: u32, rate: f64, t: f64) -> Result<f64, ModelError> {
    let p = -(-not_negative("failure rate", rate)? * not_negative("time", t)?).exp_m1();
    Ok(binomial_above(s, n, p))
}

/// The same with a shock of rate `c` that takes all nodes: `1 - e^{-ct} (1 - P)`.
///
/// # Errors
/// [`ModelError::Range`] for a negative rate or time.
pub fn more_than_down_with_shock(
    s: u32,
    n: u32,
    rate: f64,
    shock_rate: f64,
    t: f64,
) -> Result<f64, ModelError> {
    let alone = more_than_down(s, n, rate, t)?;
    if s >= n {
        return Ok(0.0); // not even the shock takes more nodes than there are
    }
    Ok(1.0 - (-not_negative("shock rate", shock_rate)? * t).exp() * (1.0 - alone))
}

/// `P(X > s)` for X binomial (n, p).
#[must_use]
pub fn binomial_above(s: u32, n: u32, p: f64) -> f64 {
    if s >= n || p <= 0.0 {
        return 0.0;
    }
    if p >= 1.0 {
        return 1.0;
    }
    // The shorter side is summed, so that a small answer keeps its digits.
    let term = |i: u32| {
        let (i, n) = (f64::from(i), f64::from(n));
        (ln_factorial(n) - ln_factorial(i) - ln_factorial(n - i)
            + i * p.ln()
            + (n - i) * (-p).ln_1p())
        .exp()
    };
    if f64::from(s) < p * f64::from(n) {
        1.0 - (0..=s).map(term).sum::<f64>()
    } else {
        (s + 1..=n).map(term).sum()
    }
}

/// Probability that two nodes live beyond `a` and `b` with own rates and a common shock.
///
/// # Source
/// Marshall and Olkin 1967: `exp(-λ1 a - λ2 b - λ12 max(a,b))`.
#[must_use]
pub fn marshall_olkin(a: f64, b: f64, rate_1: f64, rate_2: f64, common: f64) -> f64 {
    (-rate_1 * a - rate_2 * b - common * a.max(b)).exp()
}

/// Conditional failure probability in a one-factor Gaussian copula, given factor value `m` (large
/// `m` is good: the factor enters with a minus sign).
#[must_use]
pub fn copula_conditional(p: f64, rho: f64, m: f64) -> f64 {
    normal_cdf((normal_quantile(p) - rho.sqrt() * m) / (1.0 - rho).sqrt())
}

/// Probability that more than `s` of `n` nodes fail when each fails with probability `p` and their
/// latent variables have correlation `rho`.
///
/// # Errors
/// [`ModelError::Range`] unless `p` is in (0, 1) and `rho` in [0, 1).
pub fn copula_more_than(s: u32, n: u32, p: f64, rho: f64) -> Result<f64, ModelError> {
    open_unit("failure probability", p)?;
    if !(0.0..1.0).contains(&rho) {
        return Err(ModelError::Range {
            what: "correlation",
            value: rho,
            rule: "at least 0 and below 1",
        });
    }
    Ok(integrate(
        |m| normal_pdf(m) * binomial_above(s, n, copula_conditional(p, rho, m)),
        -9.0,
        9.0,
        1e-13,
    ))
}

/// `q`-quantile of the failed share of a very large pool (Vasicek).
///
/// # Errors
/// [`ModelError::Range`] unless all three are in (0, 1).
pub fn large_pool_quantile(p: f64, rho: f64, q: f64) -> Result<f64, ModelError> {
    open_unit("failure probability", p)?;
    open_unit("correlation", rho)?;
    open_unit("level", q)?;
    Ok(copula_conditional(p, rho, -normal_quantile(q)))
}

/// Young's checkpoint interval `√(2CM)`; cost and MTBF in one unit of time.
///
/// # Errors
/// [`ModelError::Range`] unless both are positive.
pub fn checkpoint_young(cost: f64, mtbf: f64) -> Result<f64, ModelError> {
    Ok((2.0 * positive("checkpoint cost", cost)? * positive("MTBF", mtbf)?).sqrt())
}

/// Daly's higher-order interval for `cost < 2 mtbf`, else `mtbf`.
///
/// # Errors
/// [`ModelError::Range`] unless both are positive.
///
/// # Source
/// Daly 2006: `√(2CM) [1 + ⅓ √(C/2M) + ⅑ C/2M] - C`.
pub fn checkpoint_daly(cost: f64, mtbf: f64) -> Result<f64, ModelError> {
    let young = checkpoint_young(cost, mtbf)?;
    let x = cost / (2.0 * mtbf);
    Ok(if x < 1.0 {
        young * (1.0 + x.sqrt() / 3.0 + x / 9.0) - cost
    } else {
        mtbf
    })
}

/// Wall time per unit of useful work with checkpoints every `interval`, each costing `cost`, and
/// `restart` lost per failure: `M e^{R/M} (e^{(τ+C)/M} - 1) / τ`.
///
/// # Errors
/// [`ModelError::Range`] unless `interval` and `mtbf` are positive and the others not negative.
pub fn checkpoint_slowdown(
    interval: f64,
    cost: f64,
    mtbf: f64,
    restart: f64,
) -> Result<f64, ModelError> {
    let tau = positive("checkpoint interval", interval)?;
    let m = positive("MTBF", mtbf)?;
    let c = not_negative("checkpoint cost", cost)?;
    let r = not_negative("restart time", restart)?;
    Ok(m * (r / m).exp() * ((tau + c) / m).exp_m1() / tau)
}

/// Expected failure charge for one lot held through a window, in micro-USD, rounded up.
///
/// `hazard[h]` is the failure rate in hour `h` of the window, per GPU-hour, one entry per hour;
/// `rerun` is the cost of one lost hour. Work from the first failure to the end of the window is
/// lost, so the charge is `Σ survive(h) · (1 - exp(-hazard[h])) · (hours - h) · rerun`.
///
/// # Errors
/// [`ModelError::Shape`] if `hazard` is empty, [`ModelError::Range`] if an entry is negative or NaN.
///
/// # Source
/// Discrete-time survival; `docs/risk.md`, failures.
pub fn failure_charge(hazard: &[f64], rerun: MicroUsd) -> Result<MicroUsd, ModelError> {
    if hazard.is_empty() {
        return Err(ModelError::Shape { what: "hazard" });
    }
    let hours = hazard.len() as f64;
    let mut survive = 1.0;
    let mut lost_hours = 0.0;
    for (h, rate) in hazard.iter().enumerate() {
        let fail = -(-not_negative("hazard", *rate)?).exp_m1();
        lost_hours += survive * fail * (hours - h as f64);
        survive *= 1.0 - fail;
    }
    MicroUsd::up(lost_hours * rerun.usd())
}

#[cfg(test)]
mod tests;
