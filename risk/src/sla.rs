//! What an uptime guarantee is worth: credit steps on realised downtime.

use serde::{Deserialize, Serialize};

use crate::failure::{Baseline, downtime_cdf};
use crate::numeric::tail;
use crate::repair::Repair;
use crate::rng::Stream;
use crate::units::{ModelError, MonteCarlo, finite, not_negative, positive, probability};

/// Credit steps: below uptime `u_1 > u_2 > ...` the buyer gets `c_1 < c_2 < ...` of the fee.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Steps(Vec<Step>);

/// One credit step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The credit is due when uptime falls below this fraction.
    pub below: f64,
    /// Fraction of the fee; with damages it may exceed 1.
    pub credit: f64,
}

impl Steps {
    /// Steps in any order; sorted by falling uptime.
    ///
    /// # Errors
    /// [`ModelError::Range`] if an uptime is not a fraction, or a lower uptime does not earn a
    /// higher credit.
    pub fn new(mut steps: Vec<Step>) -> Result<Self, ModelError> {
        steps.sort_by(|a, b| b.below.total_cmp(&a.below));
        let mut previous = 0.0;
        for step in &steps {
            probability("uptime step", step.below)?;
            if !(step.credit.is_finite() && step.credit > previous) {
                return Err(ModelError::Range {
                    what: "credit step",
                    value: step.credit,
                    rule: "above 0 and above the credit of every higher uptime",
                });
            }
            previous = step.credit;
        }
        Ok(Self(steps))
    }

    /// The steps, by falling uptime.
    #[must_use]
    pub fn as_slice(&self) -> &[Step] {
        &self.0
    }

    /// Credit, as a fraction of the fee, for `down` hours of a window of `hours`.
    #[must_use]
    pub fn credit(&self, down: f64, hours: f64) -> f64 {
        self.0
            .iter()
            .rev()
            .find(|s| down > (1.0 - s.below) * hours)
            .map_or(0.0, |s| s.credit)
    }
}

/// A guarantee on one unit over one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Guarantee {
    /// Credit steps.
    pub steps: Steps,
    /// Fee of the unit for the whole window, in USD.
    pub fee: f64,
    /// Length of the window, in hours.
    pub hours: f64,
    /// Discount rate per hour.
    pub discount: f64,
}

/// Value of a guarantee: expected credit and its tail, both discounted, in USD.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GuaranteeValue {
    /// Expected credit; the standard error is 0 for the closed form.
    pub expected: f64,
    /// Standard error of `expected`.
    pub se: f64,
    /// Mean credit in the worst 1 % of outcomes of one unit.
    pub es99: f64,
}

impl Guarantee {
    fn check(&self) -> Result<f64, ModelError> {
        not_negative("fee", self.fee)?;
        positive("window in hours", self.hours)?;
        Ok(self.fee * (-finite("discount", self.discount)? * self.hours).exp())
    }

    /// Closed form for exponential up times (`rate` per hour) and repairs (`repair_rate` per hour).
    ///
    /// # Errors
    /// [`ModelError`] for a number outside its domain.
    ///
    /// # Source
    /// `docs/risk.md`, premiums: `fee · e^{-rT} Σ_j (c_j - c_{j-1}) P(D > (1-u_j) T)`, P by Takács.
    pub fn closed_form(&self, rate: f64, repair_rate: f64) -> Result<GuaranteeValue, ModelError> {
        let fee = self.check()?;
        let mut expected = 0.0;
        let mut shortfall = 0.0;
        let mut below = 0.0;
        for step in self.steps.as_slice() {
            let d = (1.0 - step.below) * self.hours;
            let p = 1.0 - downtime_cdf(d, self.hours, rate, repair_rate)?;
            expected += (step.credit - below) * p;
            // The worst 1 % holds min(p, 1 %) of this step.
            shortfall += (step.credit - below) * p.min(0.01) / 0.01;
            below = step.credit;
        }
        Ok(GuaranteeValue {
            expected: fee * expected,
            se: 0.0,
            es99: fee * shortfall,
        })
    }

    /// Simulation, for any baseline and repair law; the node is up at the start.
    ///
    /// # Errors
    /// [`ModelError`] for a number outside its domain or fewer than two scenarios.
    pub fn simulate(
        &self,
        baseline: Baseline,
        repair: &Repair,
        scenarios: u64,
        seed: u64,
    ) -> Result<GuaranteeValue, ModelError> {
        let fee = self.check()?;
        repair.check()?;
        let mut credits: Vec<f64> = (0..scenarios)
            .map(|s| {
                let mut stream = Stream::new(seed, s, 0);
                fee * self.steps.credit(
                    downtime(self.hours, baseline, repair, &mut stream),
                    self.hours,
                )
            })
            .collect();
        let mean = MonteCarlo::mean(&credits, seed)?;
        Ok(GuaranteeValue {
            expected: mean.value,
            se: mean.se,
            es99: tail(&mut credits, 0.99)?.es,
        })
    }
}

/// Downtime within `[0, hours]` of one simulated node that is up at 0.
#[must_use]
pub fn downtime(hours: f64, baseline: Baseline, repair: &Repair, stream: &mut Stream) -> f64 {
    let mut now = 0.0;
    let mut down = 0.0;
    loop {
        now += baseline.draw(1.0, stream);
        if now >= hours {
            return down;
        }
        let end = now + repair.draw(stream);
        down += end.min(hours) - now;
        now = end;
        if now >= hours {
            return down;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guarantee() -> Guarantee {
        let step = |below, credit| Step { below, credit };
        Guarantee {
            steps: Steps::new(vec![step(0.99, 0.25), step(0.999, 0.1), step(0.95, 1.0)]).unwrap(),
            fee: 1700.0,
            hours: 720.0,
            discount: 0.04 / 8766.0,
        }
    }

    #[test]
    fn the_closed_form_agrees_with_simulation() {
        for (rate, repair_rate) in [(1.0 / 300.0, 0.5), (1.0 / 2000.0, 1.0 / 24.0), (0.02, 1.0)] {
            let g = guarantee();
            let exact = g.closed_form(rate, repair_rate).unwrap();
            let repair = Repair::Exponential { rate: repair_rate };
            let mc = g
                .simulate(Baseline::Exponential { rate }, &repair, 20_000, 11)
                .unwrap();
            assert!(
                (mc.expected - exact.expected).abs() < 4.0 * mc.se,
                "{mc:?} {exact:?}"
            );
        }
    }

    #[test]
    fn steps_out_of_order_are_sorted_and_falling_credits_refused() {
        let g = guarantee();
        assert_eq!(g.steps.credit(0.5, 720.0), 0.0);
        assert_eq!(g.steps.credit(1.0, 720.0), 0.1);
        assert_eq!(g.steps.credit(8.0, 720.0), 0.25);
        assert_eq!(g.steps.credit(720.0, 720.0), 1.0);
        let bad = vec![
            Step {
                below: 0.99,
                credit: 0.5,
            },
            Step {
                below: 0.9,
                credit: 0.2,
            },
        ];
        assert!(Steps::new(bad).is_err());
    }
}
