//! Why risks are drawn together: a book small enough for quadrature, with failures and a power cap on
//! one systemic factor.
//!
//! `L = a F + b max(P - K, 0)`: F failures of n nodes in a one-factor copula loaded on M, and
//! `ln P = ln P0 + v (-β M + √(1-β²) h)`. Low M is bad for both. The mean of L does not depend on β;
//! its tail does, and a sum of separate figures misses that.
//!
//! # Source
//! `docs/risk.md`, aggregation.

use rayon::prelude::*;
use serde::Serialize;

use crate::energy::black;
use crate::failure::copula_conditional;
use crate::numeric::{Tail, integrate, ln_factorial, normal_cdf, normal_pdf, tail};
use crate::rng::Stream;
use crate::units::{ModelError, not_negative, open_unit, positive};

/// The test book.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TestBook {
    /// Loss per failure, USD.
    pub per_failure: f64,
    /// Nodes.
    pub nodes: u32,
    /// Failure probability of a node.
    pub p: f64,
    /// Correlation of the nodes' latent variables.
    pub rho: f64,
    /// MWh short.
    pub mwh: f64,
    /// Power price at the centre, USD/MWh.
    pub p0: f64,
    /// Standard deviation of ln price.
    pub v: f64,
    /// Loading of the price on -M.
    pub beta: f64,
    /// Strike, USD/MWh.
    pub strike: f64,
}

impl TestBook {
    fn check(&self) -> Result<(), ModelError> {
        open_unit("failure probability", self.p)?;
        open_unit("correlation", self.rho)?;
        positive("MWh", self.mwh)?;
        positive("price", self.p0)?;
        positive("volatility", self.v)?;
        positive("strike", self.strike)?;
        not_negative("loss per failure", self.per_failure)?;
        if self.beta.abs() >= 1.0 || self.beta.is_nan() {
            return Err(ModelError::Range {
                what: "loading",
                value: self.beta,
                rule: "above -1 and below 1",
            });
        }
        Ok(())
    }

    /// Losses of `scenarios` scenarios, the same bits on any number of threads.
    ///
    /// # Errors
    /// [`ModelError::Range`] for a number outside its domain.
    pub fn simulate(&self, scenarios: u64, seed: u64) -> Result<Vec<f64>, ModelError> {
        self.check()?;
        Ok((0..scenarios)
            .into_par_iter()
            .map(|s| {
                let mut stream = Stream::new(seed, s, 0);
                let m = stream.normal();
                let h = stream.normal();
                let p = copula_conditional(self.p, self.rho, m);
                let failures = (0..self.nodes).filter(|_| stream.uniform() < p).count() as f64;
                let y = self.v * ((1.0 - self.beta * self.beta).sqrt() * h - self.beta * m);
                self.per_failure * failures + self.mwh * (self.p0 * y.exp() - self.strike).max(0.0)
            })
            .collect())
    }

    /// VaR and ES of a simulation.
    ///
    /// # Errors
    /// As [`TestBook::simulate`].
    pub fn tail(&self, scenarios: u64, seed: u64, q: f64) -> Result<Tail, ModelError> {
        tail(&mut self.simulate(scenarios, seed)?, q)
    }

    /// Expected loss, VaR and ES at `q` by quadrature over M: given M, failures are binomial, and
    /// the excess of the lognormal leg over any level is a Black formula.
    ///
    /// # Errors
    /// [`ModelError::Range`] for a number outside its domain.
    pub fn exact(&self, q: f64) -> Result<(f64, f64, f64), ModelError> {
        self.check()?;
        open_unit("level", q)?;
        let mean = self.over_m(|m| self.excess(m, 0.0));
        let (mut low, mut high) = (0.0, 1.0);
        while self.over_m(|m| self.beyond(m, high)) > 1.0 - q {
            high *= 2.0;
        }
        for _ in 0..60 {
            let mid = 0.5 * (low + high);
            if self.over_m(|m| self.beyond(m, mid)) > 1.0 - q {
                low = mid;
            } else {
                high = mid;
            }
        }
        let var = 0.5 * (low + high);
        Ok((
            mean,
            var,
            var + self.over_m(|m| self.excess(m, var)) / (1.0 - q),
        ))
    }

    fn over_m(&self, f: impl Fn(f64) -> f64) -> f64 {
        // Equal panels: the integrand is smooth, and 40 of them leave nothing to adapt.
        (0..40)
            .map(|i| {
                let a = -9.0 + 0.45 * f64::from(i);
                integrate(|m| normal_pdf(m) * f(m), a, a + 0.45, 1e-7)
            })
            .sum()
    }

    fn pmf(&self, p: f64, k: u32) -> f64 {
        let (n, k) = (f64::from(self.nodes), f64::from(k));
        if p <= 0.0 || p >= 1.0 {
            return f64::from(u8::from(k == if p <= 0.0 { 0.0 } else { n }));
        }
        (ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
            + k * p.ln()
            + (n - k) * (-p).ln_1p())
        .exp()
    }

    /// `E[(L - x)+ | M = m]`.
    fn excess(&self, m: f64, x: f64) -> f64 {
        let p = copula_conditional(self.p, self.rho, m);
        let (forward, variance) = self.price_given(m);
        (0..=self.nodes)
            .map(|k| {
                let rest = x - self.per_failure * f64::from(k);
                let value = if rest <= 0.0 {
                    self.mwh * black(forward, self.strike, variance) - rest
                } else {
                    self.mwh * black(forward, self.strike + rest / self.mwh, variance)
                };
                self.pmf(p, k) * value
            })
            .sum()
    }

    /// `P(L > x | M = m)`.
    fn beyond(&self, m: f64, x: f64) -> f64 {
        let p = copula_conditional(self.p, self.rho, m);
        let (forward, variance) = self.price_given(m);
        (0..=self.nodes)
            .map(|k| {
                let rest = x - self.per_failure * f64::from(k);
                let beyond = if rest < 0.0 {
                    1.0
                } else {
                    let level = self.strike + rest / self.mwh;
                    normal_cdf(((forward / level).ln() - 0.5 * variance) / variance.sqrt())
                };
                self.pmf(p, k) * beyond
            })
            .sum()
    }

    fn price_given(&self, m: f64) -> (f64, f64) {
        let variance = self.v * self.v * (1.0 - self.beta * self.beta);
        (
            self.p0 * (-self.v * self.beta * m + 0.5 * variance).exp(),
            variance,
        )
    }
}

/// Slope of ln(root mean square error) against ln N of the mean of `draw`, over sizes that double
/// from `first`, `repeats` seeds each. A Monte Carlo that works has -1/2.
///
/// `draw(seed, n)` returns the estimate from `n` scenarios.
pub fn convergence_slope(
    exact: f64,
    first: u64,
    sizes: u32,
    repeats: u64,
    draw: impl Fn(u64, u64) -> f64,
) -> f64 {
    let points: Vec<(f64, f64)> = (0..sizes)
        .map(|i| {
            let n = first << i;
            let square: f64 = (0..repeats)
                .map(|r| (draw(r * 1000 + u64::from(i), n) - exact).powi(2))
                .sum();
            ((n as f64).ln(), 0.5 * (square / repeats as f64).ln())
        })
        .collect();
    let n = points.len() as f64;
    let mx = points.iter().map(|p| p.0).sum::<f64>() / n;
    let my = points.iter().map(|p| p.1).sum::<f64>() / n;
    points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum::<f64>()
        / points.iter().map(|p| (p.0 - mx).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::{mean, variance};
    use crate::units::MonteCarlo;

    const BOOK: TestBook = TestBook {
        per_failure: 300.0,
        nodes: 20,
        p: 0.04,
        rho: 0.25,
        mwh: 4.0,
        p0: 40.0,
        v: 1.0,
        beta: 0.6,
        strike: 100.0,
    };

    #[test]
    fn simulation_agrees_with_quadrature_with_and_without_wrong_way_risk() {
        for beta in [0.0, 0.6] {
            let book = TestBook { beta, ..BOOK };
            let (mean, _, es) = book.exact(0.99).unwrap();
            let losses = book.simulate(40_000, 3).unwrap();
            let mc = MonteCarlo::mean(&losses, 3).unwrap();
            assert!((mc.value - mean).abs() < 4.0 * mc.se, "{mc:?} {mean}");
            let t = book.tail(40_000, 3, 0.99).unwrap();
            assert!((t.es - es).abs() < 4.0 * t.es_se, "{t:?} {es}");
        }
    }

    #[test]
    fn wrong_way_risk_adds_to_the_tail_and_nothing_to_the_mean() {
        let with = BOOK.exact(0.99).unwrap();
        let without = TestBook { beta: 0.0, ..BOOK }.exact(0.99).unwrap();
        assert!(
            (with.0 / without.0 - 1.0).abs() < 1e-6,
            "{with:?} {without:?}"
        );
        assert!(with.2 > 1.05 * without.2, "{with:?} {without:?}");
        let gap = with.2 - without.2;
        let a = BOOK.tail(60_000, 5, 0.99).unwrap();
        let b = TestBook { beta: 0.0, ..BOOK }
            .tail(60_000, 6, 0.99)
            .unwrap();
        let se = a.es_se.hypot(b.es_se);
        assert!(
            (a.es - b.es - gap).abs() < 4.0 * se,
            "{} {gap} {se}",
            a.es - b.es
        );
    }

    #[test]
    fn the_error_falls_with_the_root_of_n_and_is_the_reported_one() {
        let (exact, _, _) = BOOK.exact(0.99).unwrap();
        let slope = convergence_slope(exact, 200, 6, 60, |seed, n| {
            mean(&BOOK.simulate(n, seed).unwrap())
        });
        assert!((-0.55..=-0.45).contains(&slope), "{slope}");
        let runs: Vec<MonteCarlo> = (0..200)
            .map(|s| MonteCarlo::mean(&BOOK.simulate(500, 900 + s).unwrap(), s).unwrap())
            .collect();
        let spread = variance(&runs.iter().map(|r| r.value).collect::<Vec<_>>()).sqrt();
        let reported = mean(&runs.iter().map(|r| r.se).collect::<Vec<_>>());
        assert!((reported / spread - 1.0).abs() < 0.2, "{reported} {spread}");
    }

    #[test]
    fn the_reported_error_of_the_shortfall_is_its_spread() {
        let runs: Vec<Tail> = (0..60)
            .map(|s| BOOK.tail(4000, 5000 + s, 0.99).unwrap())
            .collect();
        let spread = variance(&runs.iter().map(|r| r.es).collect::<Vec<_>>()).sqrt();
        let reported = mean(&runs.iter().map(|r| r.es_se).collect::<Vec<_>>());
        assert!(
            (reported / spread - 1.0).abs() < 0.25,
            "{reported} {spread}"
        );
    }

    #[test]
    fn bad_books_are_named() {
        for book in [
            TestBook { p: 0.0, ..BOOK },
            TestBook { beta: 1.0, ..BOOK },
            TestBook {
                v: f64::NAN,
                ..BOOK
            },
        ] {
            assert!(book.exact(0.99).is_err() && book.simulate(10, 1).is_err());
        }
    }
}
