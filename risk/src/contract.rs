//! One contract, every right in it, one answer: what `tessera risk price` prints.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::failure::{Baseline, failure_charge};
use crate::model::{Class, Model, OpenError, Tier, Zone};
use crate::premium::{EnergyCap, Lognormal, Premium, Spread, Value, preempted_buyer};
use crate::repair::Repair;
use crate::sla::{Guarantee, Steps};
use crate::units::{FitError, HOURS_PER_DAY, MicroUsd, ModelError, positive};

/// Terms of a contract, as in its TOML file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// Class of the model.
    pub class: String,
    /// Tier of the model.
    pub tier: String,
    /// Zone of the model.
    pub zone: String,
    /// Share of a device per unit.
    #[serde(default = "one")]
    pub share: f64,
    /// Hours until the window starts.
    pub start_hours: f64,
    /// Hours of the window.
    pub hours: u32,
    /// Price, USD per unit-hour; the class price at the tier's fraction when absent.
    pub price_usd_hour: Option<f64>,
    /// Strike of an energy cap, USD/MWh; none when absent.
    pub energy_strike_usd_mwh: Option<f64>,
    /// Compensation when the seller takes the unit back, USD per hour that is left; the tier's when
    /// absent and the tier is reclaimable.
    pub compensation_usd_hour: Option<f64>,
    /// Hours lost to a restart after an interruption.
    #[serde(default)]
    pub restart_hours: f64,
    /// Hours of the window that the buyer may sell back at market; no right when absent.
    pub swing_hours: Option<usize>,
    /// Fixed cost besides energy at which a provider may shut down, USD per hour; no right when
    /// absent.
    pub shutdown_fixed_usd_hour: Option<f64>,
}

fn one() -> f64 {
    1.0
}

/// How a contract is priced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PriceSettings {
    /// Scenarios per simulated right.
    pub scenarios: u64,
    /// Seed.
    pub seed: u64,
    /// Units.
    pub quantity: u64,
    /// Power price of the spike question, USD/MWh.
    pub spike_usd_mwh: f64,
}

/// Every right of a contract and what a spike costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContractPrice {
    /// The rights that the contract has.
    pub rights: Vec<Premium>,
    /// Sum of the premiums for all units, micro-USD.
    pub total_uusd: MicroUsd,
    /// Units.
    pub quantity: u64,
    /// Power of one unit-hour, MWh.
    pub mwh_per_unit_hour: f64,
    /// Cost of the energy of one unit-hour at the spike, USD.
    pub spike_cost_per_unit_hour: f64,
    /// Power price at which energy eats the whole price, USD/MWh.
    pub break_even_usd_mwh: f64,
    /// Scenarios behind simulated figures.
    pub scenarios: u64,
    /// Seed behind them.
    pub seed: u64,
}

/// Why a contract has no price.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// The contract file.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It names something that the model does not have.
    #[error("no {kind} is called {name} in the model; it has {known}")]
    Unknown {
        /// Class, tier or zone.
        kind: &'static str,
        /// The name.
        name: String,
        /// Names that are known.
        known: String,
    },
    /// A number outside its domain.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A regression without an answer.
    #[error(transparent)]
    Fit(#[from] FitError),
}

impl Contract {
    /// Reads a contract file.
    ///
    /// # Errors
    /// [`OpenError`] with path, line and column.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let text = std::fs::read_to_string(path).map_err(|source| OpenError::Read {
            path: path.into(),
            source,
        })?;
        toml::from_str(&text).map_err(|error| OpenError::Contract {
            path: path.into(),
            message: error.to_string(),
        })
    }

    /// Prices every right of this contract.
    ///
    /// # Errors
    /// [`PriceError`] for a name or number that cannot be.
    pub fn price(
        &self,
        model: &Model,
        settings: PriceSettings,
    ) -> Result<ContractPrice, PriceError> {
        let unknown = |kind, name: &str, known: Vec<&str>| PriceError::Unknown {
            kind,
            name: name.into(),
            known: known.join(", "),
        };
        let class = model.class(&self.class).ok_or_else(|| {
            unknown(
                "class",
                &self.class,
                model.classes.iter().map(|c| c.name.as_str()).collect(),
            )
        })?;
        let tier = model.tier(&self.tier).ok_or_else(|| {
            unknown(
                "tier",
                &self.tier,
                model.tiers.iter().map(|t| t.name.as_str()).collect(),
            )
        })?;
        let zone = model.zone(&self.zone).ok_or_else(|| {
            unknown(
                "zone",
                &self.zone,
                model.zones.iter().map(|z| z.name.as_str()).collect(),
            )
        })?;
        positive("share", self.share)?;
        let hours = positive("hours", f64::from(self.hours))?;
        let market = class.price_usd_hour.value * tier.price_fraction * self.share;
        let price = positive("price", self.price_usd_hour.unwrap_or(market))?;
        let mwh = class.mwh_per_hour()? * self.share;
        let all = Terms {
            contract: self,
            model,
            class,
            tier,
            zone,
            market,
            price,
            hours,
            mwh,
            settings,
        };
        let mut rights = Vec::new();
        rights.extend(all.guarantee()?);
        rights.push(all.lost_work()?);
        rights.extend(all.energy_cap()?);
        rights.extend(all.preemption()?);
        rights.extend(all.swing()?);
        rights.extend(all.shutdown()?);
        let sum: f64 = rights.iter().map(|r| r.premium_uusd.usd()).sum();
        Ok(ContractPrice {
            rights,
            total_uusd: MicroUsd::up(sum * settings.quantity as f64)?,
            quantity: settings.quantity,
            mwh_per_unit_hour: mwh,
            spike_cost_per_unit_hour: mwh * settings.spike_usd_mwh,
            break_even_usd_mwh: crate::energy::break_even_price(price, mwh)?,
            scenarios: settings.scenarios,
            seed: settings.seed,
        })
    }
}

struct Terms<'a> {
    contract: &'a Contract,
    model: &'a Model,
    class: &'a Class,
    tier: &'a Tier,
    zone: &'a Zone,
    market: f64,
    price: f64,
    hours: f64,
    mwh: f64,
    settings: PriceSettings,
}

impl Terms<'_> {
    fn premium(&self, right: &str, method: &str, value: Value) -> Result<Premium, ModelError> {
        Premium::new(
            right,
            method,
            value,
            self.model.es_loading.value,
            self.hours,
        )
    }

    fn repair(&self) -> Repair {
        Repair::Lognormal {
            mu: self.zone.repair_mu.value,
            sigma: self.zone.repair_sigma.value,
        }
    }

    fn guarantee(&self) -> Result<Option<Premium>, ModelError> {
        if self.tier.steps.is_empty() {
            return Ok(None);
        }
        let guarantee = Guarantee {
            steps: Steps::new(self.tier.steps.clone())?,
            fee: self.price * self.hours,
            hours: self.hours,
            discount: self.model.discount_per_day.value / HOURS_PER_DAY,
        };
        let value = guarantee.simulate(
            Baseline::Exponential {
                rate: self.zone.failure_per_hour.value,
            },
            &self.repair(),
            self.settings.scenarios,
            self.settings.seed,
        )?;
        let value = Value {
            expected: value.expected,
            se: value.se,
            es99: value.es99,
        };
        self.premium(
            "sla_guarantee",
            "simulation of up times and lognormal repairs",
            value,
        )
        .map(Some)
    }

    /// The buyer's own loss: work from the first failure to the end of the window, without
    /// checkpoints.
    fn lost_work(&self) -> Result<Premium, ModelError> {
        let hazard = vec![self.zone.failure_per_hour.value; self.contract.hours as usize];
        let expected = failure_charge(&hazard, MicroUsd::up(self.price)?)?.usd();
        let fail = -(-self.zone.failure_per_hour.value * self.hours).exp_m1();
        // The worst 1 %: the earliest failures. The lost share falls linearly with the hour.
        let earliest = fail.min(0.01);
        let es99 =
            self.price * self.hours * earliest / 0.01 * (1.0 - 0.5 * earliest / fail.max(1e-12));
        let value = Value {
            expected,
            se: 0.0,
            es99,
        };
        self.premium(
            "lost_work_without_checkpoints",
            "discrete-time survival",
            value,
        )
    }

    fn energy_cap(&self) -> Result<Option<Premium>, ModelError> {
        let Some(strike) = self.contract.energy_strike_usd_mwh else {
            return Ok(None);
        };
        let cap = EnergyCap {
            mwh: self.mwh,
            strike,
            cap: self.zone.cap_usd_mwh.value,
            start_hours: self.contract.start_hours,
            hours: self.contract.hours,
            discount: self.model.discount_per_day.value,
        };
        let f = vec![self.zone.level_usd_mwh.value.ln(); self.contract.hours as usize];
        let value = cap.simulate(
            &self.zone.process(),
            &f,
            self.zone.x0.value,
            self.settings.scenarios,
            self.settings.seed,
        )?;
        self.premium(
            "energy_cap",
            "strip of caplets under the legal cap, simulated",
            value,
        )
        .map(Some)
    }

    fn lognormal(&self) -> Lognormal {
        Lognormal {
            forward: self.market,
            sigma: self.class.sigma.value,
            discount: self.model.discount_per_day.value,
        }
    }

    fn preemption(&self) -> Result<Option<Premium>, PriceError> {
        let compensation = match self.contract.compensation_usd_hour {
            Some(usd) => usd,
            None if self.tier.reclaimable => self.tier.compensation * self.price,
            None => return Ok(None),
        };
        let strike = self.price + compensation;
        let value = self.lognormal().bermudan(
            self.contract.start_hours,
            self.contract.hours.min(MAX_STEPS),
            strike,
            self.settings.scenarios,
            self.settings.seed,
        )?;
        let hazard = self.zone.preemption_per_hour.value;
        let restart = self.contract.restart_hours * self.price;
        let per_hour = preempted_buyer(hazard, 0.5 * self.price, restart, compensation)?;
        let mut premium = self.premium(
            "preemption_right",
            "Bermudan, regression Monte Carlo (lower bound)",
            value,
        )?;
        premium.method = format!(
            "{}; the buyer loses {per_hour:.6} USD per hour at the zone's preemption rate",
            premium.method
        );
        Ok(Some(premium))
    }

    fn swing(&self) -> Result<Option<Premium>, PriceError> {
        let Some(rights) = self.contract.swing_hours else {
            return Ok(None);
        };
        let steps = self.contract.hours.min(MAX_STEPS);
        let rights = rights.min(steps as usize);
        let (start, s) = (self.contract.start_hours, self.settings);
        let price = self.lognormal();
        let value = price.swing(start, steps, self.price, rights, s.scenarios, s.seed)?;
        let (low, high) =
            price.swing_bounds(start, steps, self.price, rights, s.scenarios, s.seed)?;
        let method = format!(
            "regression Monte Carlo between {low:.6} (best fixed hours) and {:.6} USD (perfect foresight)",
            high.expected
        );
        Ok(Some(self.premium("resale_or_swing", &method, value)?))
    }

    fn shutdown(&self) -> Result<Option<Premium>, ModelError> {
        let Some(fixed) = self.contract.shutdown_fixed_usd_hour else {
            return Ok(None);
        };
        let process = self.zone.process();
        let f = self.zone.level_usd_mwh.value.ln();
        let mut expected = 0.0;
        for hour in 0..self.contract.hours {
            let days = (self.contract.start_hours + f64::from(hour)) / HOURS_PER_DAY;
            let days = days.max(1.0 / 48.0);
            let jumps = process.lambda * (process.jump_mean.powi(2) + process.jump_sd.powi(2))
                / process.sigma.powi(2).max(1e-12);
            // Kirk wants one lognormal per leg: the power leg carries the variance of its jumps too.
            let variance = process.diffusive_variance(days) * (1.0 + jumps);
            // max(energy - (rent - fixed), 0): energy is received, rent paid, the fixed cost saved.
            let spread = Spread {
                f1: self.mwh * process.forward(f, self.zone.x0.value, days)?,
                f2: self.price,
                v1: (variance / days).sqrt(),
                v2: self.class.sigma.value,
                rho: self.model.systemic.power.value * self.model.systemic.compute.value,
            };
            expected +=
                spread.kirk(-fixed, days)? * (-self.model.discount_per_day.value * days).exp();
        }
        let value = Value {
            expected,
            se: 0.0,
            es99: expected,
        };
        self.premium(
            "provider_shutdown",
            "Kirk; jumps enter by their variance, so no tail is given",
            value,
        )
        .map(Some)
    }
}

/// Exercise dates of a simulated choice; a longer window is cut to these, which the docs say.
const MAX_STEPS: u32 = 168;

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> PriceSettings {
        PriceSettings {
            scenarios: 2000,
            seed: 4,
            quantity: 8,
            spike_usd_mwh: 5000.0,
        }
    }

    fn contract() -> Contract {
        Contract {
            class: "H100_80_SXM".into(),
            tier: "reclaimable".into(),
            zone: "tx".into(),
            share: 1.0,
            start_hours: 24.0,
            hours: 24,
            price_usd_hour: None,
            energy_strike_usd_mwh: Some(60.0),
            compensation_usd_hour: None,
            restart_hours: 0.5,
            swing_hours: Some(4),
            shutdown_fixed_usd_hour: Some(0.2),
        }
    }

    #[test]
    fn every_right_has_a_price_and_the_same_seed_gives_the_same() {
        let model = Model::default_model();
        let p = contract().price(&model, settings()).unwrap();
        let names: Vec<&str> = p.rights.iter().map(|r| r.right.as_str()).collect();
        assert_eq!(
            names,
            [
                "sla_guarantee",
                "lost_work_without_checkpoints",
                "energy_cap",
                "preemption_right",
                "resale_or_swing",
                "provider_shutdown"
            ]
        );
        for r in &p.rights {
            assert!(r.expected >= 0.0 && r.es99 >= r.expected * 0.999, "{r:?}");
        }
        assert!((p.spike_cost_per_unit_hour - 6.825).abs() < 1e-9);
        assert_eq!(p, contract().price(&model, settings()).unwrap());
    }

    #[test]
    fn a_plain_contract_has_only_what_it_grants() {
        let model = Model::default_model();
        let plain = Contract {
            tier: "firm".into(),
            energy_strike_usd_mwh: None,
            swing_hours: None,
            shutdown_fixed_usd_hour: None,
            ..contract()
        };
        assert_eq!(plain.price(&model, settings()).unwrap().rights.len(), 2);
        let unknown = Contract {
            zone: "mars".into(),
            ..contract()
        };
        let error = unknown.price(&model, settings()).unwrap_err().to_string();
        assert!(
            error.contains("mars") && error.contains("tx, va"),
            "{error}"
        );
    }
}
