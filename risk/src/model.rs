//! The model file: every number with its standard error and its source.
//!
//! Versioned TOML. The same file and seed give the same numbers. [`Model::default_model`] is the one
//! that ships with the program.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::energy::OuJump;
use crate::price::ComputePrice;
use crate::sla::{Step, Steps};
use crate::units::{ModelError, finite, not_negative, positive, probability};

/// A number, how sure it is and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// Value, in the unit its field names.
    pub value: f64,
    /// Standard error; 0 for terms that are not estimated.
    #[serde(default)]
    pub se: f64,
    /// File and estimator, document, or the word `assumption` with its reason.
    pub source: String,
}

/// A whole model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Version of this format; 1.
    pub format: u32,
    /// Version of the numbers; goes into the parameter set.
    pub version: u32,
    /// Name for reports.
    pub name: String,
    /// Seed of every simulation unless the command line gives another.
    pub seed: u64,
    /// Discount rate, per day.
    pub discount_per_day: Param,
    /// Share of ES beyond the mean that a premium charges.
    pub es_loading: Param,
    /// Floor of the margin as a fraction of the long-run level.
    pub floor: Param,
    /// How strongly the systemic factor moves each risk.
    pub systemic: Systemic,
    /// Places.
    pub zones: Vec<Zone>,
    /// GPU classes.
    pub classes: Vec<Class>,
    /// Service tiers.
    pub tiers: Vec<Tier>,
    /// Products: what a row of the parameter set is keyed by.
    pub products: Vec<Product>,
    /// Data behind the estimates.
    #[serde(default)]
    pub data: Vec<DataFile>,
}

/// Loadings on the systemic factor M.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Systemic {
    /// ln hazard per unit of M.
    pub hazard: Param,
    /// Correlation of power innovations with M.
    pub power: Param,
    /// Correlation of compute price innovations with M.
    pub compute: Param,
    /// ln preemption rate per unit of M.
    pub preemption: Param,
    /// Correlation between the compute prices of two classes beyond M.
    pub class_correlation: Param,
}

/// One zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Name.
    pub name: String,
    /// Level of the power price, USD/MWh (the exponential of f).
    pub level_usd_mwh: Param,
    /// Deviation of ln price today.
    pub x0: Param,
    /// Reversion per day.
    pub kappa: Param,
    /// Diffusion per square root of a day.
    pub sigma: Param,
    /// Jumps per day.
    pub lambda: Param,
    /// Mean jump of ln price.
    pub jump_mean: Param,
    /// Standard deviation of a jump.
    pub jump_sd: Param,
    /// Legal cap, USD/MWh.
    pub cap_usd_mwh: Param,
    /// Legal floor, USD/MWh.
    pub floor_usd_mwh: Param,
    /// Failures per node-hour.
    pub failure_per_hour: Param,
    /// Gamma shape of the frailty of a zone's fleet.
    pub frailty: Param,
    /// Mean of ln repair hours.
    pub repair_mu: Param,
    /// Standard deviation of ln repair hours.
    pub repair_sigma: Param,
    /// Zone shocks per day.
    pub shock_per_day: Param,
    /// Share of the zone that a shock takes down.
    pub shock_share: Param,
    /// Preemptions per up hour of a reclaimable unit.
    pub preemption_per_hour: Param,
}

/// One GPU class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Name.
    pub name: String,
    /// Market price of a whole device, USD per GPU-hour.
    pub price_usd_hour: Param,
    /// Reversion of ln price, per day.
    pub alpha: Param,
    /// Fall of the trend, per day.
    pub decline: Param,
    /// Volatility per square root of a day.
    pub sigma: Param,
    /// Falls per day (a new generation).
    pub lambda: Param,
    /// Mean fall of ln price.
    pub jump_mean: Param,
    /// Standard deviation of a fall.
    pub jump_sd: Param,
    /// Power of the device, watts.
    pub watts: Param,
    /// Whole node over its devices.
    pub node_factor: Param,
    /// Facility over node.
    pub pue: Param,
}

/// One service tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Name.
    pub name: String,
    /// Where the terms come from.
    pub source: String,
    /// Price as a fraction of the class price.
    pub price_fraction: f64,
    /// Share of a change in energy cost that the market price follows.
    pub power_pass_through: f64,
    /// Credit steps.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Largest credit and damages as a fraction of the fee.
    pub damages_cap: f64,
    /// May the seller take it back?
    pub reclaimable: bool,
    /// Compensation on reclaim, as a fraction of the price.
    pub compensation: f64,
}

/// One product in one tenor bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Name: class/partition/tier/zone/terms/tenor.
    pub name: String,
    /// Class.
    pub class: String,
    /// Partition, such as `whole` or `mig-3g`.
    pub partition: String,
    /// Share of a device per lot.
    pub share: f64,
    /// Tier.
    pub tier: String,
    /// Zone.
    pub zone: String,
    /// Hours until the window starts (middle of the bucket).
    pub start_hours: f64,
    /// Hours of the window.
    pub hours: f64,
    /// Margin period in days: 2 liquid, 5 bespoke, the whole window for what cannot be replaced.
    pub margin_days: u32,
    /// Half of the usual spread, as a fraction of the price.
    pub half_spread: f64,
    /// Average daily volume, lots.
    pub daily_lots: f64,
    /// Lots of the zone's capacity.
    pub capacity_lots: f64,
}

/// A data file behind the estimates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFile {
    /// File name.
    pub file: String,
    /// BLAKE3 of its bytes, lower-case hex.
    pub blake3: String,
    /// First and last moment.
    pub span: String,
}

/// Why a model file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read.
    #[error(
        "{path}: {source}; give the path of a model file, or leave --model out for the default"
    )]
    Read {
        /// Path.
        path: PathBuf,
        /// Reason.
        source: std::io::Error,
    },
    /// Not TOML, an unknown or a missing field; the message carries line and column.
    #[error(
        "{path}: {message}\nprint the default model with `tessera risk calibrate default` and compare"
    )]
    Form {
        /// Path.
        path: PathBuf,
        /// Line, column and what was expected.
        message: String,
    },
    /// A contract file that is not one; the message carries line and column.
    #[error(
        "{path}: {message}\na contract needs class, tier, zone, start_hours and hours; docs/risk.md shows one"
    )]
    Contract {
        /// Path.
        path: PathBuf,
        /// Line, column and what was expected.
        message: String,
    },
    /// A number or name that cannot be.
    #[error("{path}:{line}: {place}: {reason}; correct it there")]
    Value {
        /// Path.
        path: PathBuf,
        /// Line of the entry, from 1; 1 if it is not found.
        line: usize,
        /// Table and name.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

impl Model {
    /// The model that ships with the program.
    ///
    /// # Panics
    /// Never: the file is part of the program and read by a test.
    #[must_use]
    pub fn default_model() -> Self {
        match Self::parse(Path::new("default.toml"), DEFAULT) {
            Ok(model) => model,
            Err(error) => unreachable!("the shipped model is read by a test: {error}"),
        }
    }

    /// Text of the shipped model.
    #[must_use]
    pub const fn default_text() -> &'static str {
        DEFAULT
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// [`OpenError`] with path, line and column or the table concerned.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let text = std::fs::read_to_string(path).map_err(|source| OpenError::Read {
            path: path.into(),
            source,
        })?;
        Self::parse(path, &text)
    }

    /// Parses a model file; `path` is for messages.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, OpenError> {
        let model: Self = toml::from_str(text).map_err(|error| OpenError::Form {
            path: path.into(),
            message: error.to_string(),
        })?;
        model.check().map_err(|(place, reason)| OpenError::Value {
            path: path.into(),
            line: locate(text, &place),
            place,
            reason,
        })?;
        Ok(model)
    }

    fn check(&self) -> Result<(), (String, String)> {
        let at = |place: &str| {
            let place = place.to_owned();
            move |e: ModelError| (place, e.to_string())
        };
        if self.format != 1 {
            return Err((
                "format".into(),
                format!("{} is not known; this program reads format 1", self.format),
            ));
        }
        for (name, p) in self.params() {
            finite("value", p.value).map_err(at(&name))?;
            not_negative("standard error", p.se).map_err(at(&name))?;
            if p.source.trim().is_empty() {
                return Err((
                    name,
                    "has no source; say where the number comes from".into(),
                ));
            }
        }
        for zone in &self.zones {
            let place = at(&format!("zone {}", zone.name));
            let all = || -> Result<(), ModelError> {
                zone.process().check()?;
                positive("level", zone.level_usd_mwh.value)?;
                positive(
                    "cap less floor",
                    zone.cap_usd_mwh.value - zone.floor_usd_mwh.value,
                )?;
                not_negative("failure rate", zone.failure_per_hour.value)?;
                positive("frailty", zone.frailty.value)?;
                not_negative("repair sigma", zone.repair_sigma.value)?;
                not_negative("shock rate", zone.shock_per_day.value)?;
                probability("shock share", zone.shock_share.value)?;
                not_negative("preemption rate", zone.preemption_per_hour.value)?;
                Ok(())
            };
            all().map_err(place)?;
        }
        for class in &self.classes {
            let all = || -> Result<(), ModelError> {
                positive("price", class.price_usd_hour.value)?;
                positive("alpha", class.alpha.value)?;
                not_negative("sigma", class.sigma.value)?;
                not_negative("lambda", class.lambda.value)?;
                not_negative("jump sd", class.jump_sd.value)?;
                class.mwh_per_hour().map(|_| ())
            };
            all().map_err(at(&format!("class {}", class.name)))?;
        }
        for tier in &self.tiers {
            let all = || -> Result<(), ModelError> {
                positive("price fraction", tier.price_fraction)?;
                probability("power pass-through", tier.power_pass_through)?;
                not_negative("damages cap", tier.damages_cap)?;
                not_negative("compensation", tier.compensation)?;
                Steps::new(tier.steps.clone()).map(|_| ())
            };
            all().map_err(at(&format!("tier {}", tier.name)))?;
        }
        for product in &self.products {
            let place = format!("product {}", product.name);
            let known = |kind: &str, name: &str, ok: bool| {
                if ok {
                    Ok(())
                } else {
                    Err((place.clone(), format!("no {kind} is called {name}")))
                }
            };
            known(
                "class",
                &product.class,
                self.class(&product.class).is_some(),
            )?;
            known("tier", &product.tier, self.tier(&product.tier).is_some())?;
            known("zone", &product.zone, self.zone(&product.zone).is_some())?;
            let all = || -> Result<(), ModelError> {
                positive("share", product.share)?;
                not_negative("start", product.start_hours)?;
                positive("hours", product.hours)?;
                positive("margin days", f64::from(product.margin_days))?;
                probability("half spread", product.half_spread)?;
                positive("daily lots", product.daily_lots)?;
                positive("capacity lots", product.capacity_lots)?;
                Ok(())
            };
            all().map_err(at(&place))?;
        }
        for (kind, names) in [
            (
                "zone",
                self.zones.iter().map(|x| &x.name).collect::<Vec<_>>(),
            ),
            ("class", self.classes.iter().map(|x| &x.name).collect()),
            ("tier", self.tiers.iter().map(|x| &x.name).collect()),
            ("product", self.products.iter().map(|x| &x.name).collect()),
        ] {
            let mut sorted = names;
            sorted.sort();
            if let Some(twice) = sorted.windows(2).find(|w| w[0] == w[1]) {
                return Err((format!("{kind} {}", twice[0]), "occurs twice".into()));
            }
        }
        let loadings = &self.systemic;
        for (name, p) in [
            ("systemic.power", &loadings.power),
            ("systemic.compute", &loadings.compute),
            ("systemic.class_correlation", &loadings.class_correlation),
        ] {
            if !(-1.0..=1.0).contains(&p.value) {
                return Err((name.into(), "a correlation lies between -1 and 1".into()));
            }
        }
        probability("class correlation", loadings.class_correlation.value)
            .map_err(at("systemic.class_correlation"))?;
        Ok(())
    }

    /// Index of a product.
    #[must_use]
    pub fn product(&self, name: &str) -> Option<usize> {
        self.products.iter().position(|p| p.name == name)
    }

    /// A class by name.
    #[must_use]
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.classes.iter().find(|c| c.name == name)
    }

    /// A tier by name.
    #[must_use]
    pub fn tier(&self, name: &str) -> Option<&Tier> {
        self.tiers.iter().find(|t| t.name == name)
    }

    /// A zone by name.
    #[must_use]
    pub fn zone(&self, name: &str) -> Option<&Zone> {
        self.zones.iter().find(|z| z.name == name)
    }

    /// Every estimated number, with a path-like name.
    fn params(&self) -> Vec<(String, &Param)> {
        let mut copy = Vec::new();
        let s = &self.systemic;
        for (name, p) in [
            ("discount_per_day", &self.discount_per_day),
            ("es_loading", &self.es_loading),
            ("floor", &self.floor),
            ("systemic.hazard", &s.hazard),
            ("systemic.power", &s.power),
            ("systemic.compute", &s.compute),
            ("systemic.preemption", &s.preemption),
            ("systemic.class_correlation", &s.class_correlation),
        ] {
            copy.push((name.to_owned(), p));
        }
        for z in &self.zones {
            copy.extend(
                z.params()
                    .into_iter()
                    .map(|(n, p)| (format!("zone {}.{n}", z.name), p)),
            );
        }
        for c in &self.classes {
            copy.extend(
                c.params()
                    .into_iter()
                    .map(|(n, p)| (format!("class {}.{n}", c.name), p)),
            );
        }
        copy
    }

    /// The model with every estimated number moved by a normal draw of its standard error, kept in
    /// its domain: numbers that must be positive are moved on a logarithmic scale.
    #[must_use]
    pub fn redrawn(&self, seed: u64, draw: u64) -> Self {
        let mut stream = crate::rng::Stream::new(seed, draw, 0x2000_0000);
        let mut model = self.clone();
        let mut positive = |p: &mut Param| {
            let z = stream.normal();
            if p.value > 0.0 && p.se > 0.0 {
                p.value *= (z * (p.se / p.value).min(1.0)).exp();
            }
        };
        for z in &mut model.zones {
            for p in [
                &mut z.level_usd_mwh,
                &mut z.kappa,
                &mut z.sigma,
                &mut z.lambda,
                &mut z.jump_sd,
                &mut z.failure_per_hour,
                &mut z.frailty,
                &mut z.repair_sigma,
                &mut z.shock_per_day,
                &mut z.preemption_per_hour,
            ] {
                positive(p);
            }
        }
        for c in &mut model.classes {
            for p in [
                &mut c.price_usd_hour,
                &mut c.alpha,
                &mut c.sigma,
                &mut c.lambda,
                &mut c.jump_sd,
            ] {
                positive(p);
            }
        }
        let mut free = |p: &mut Param, low: f64, high: f64| {
            p.value = (p.value + p.se * stream.normal()).clamp(low, high);
        };
        for z in &mut model.zones {
            free(&mut z.jump_mean, -5.0, 5.0);
            free(&mut z.repair_mu, -10.0, 10.0);
            free(&mut z.shock_share, 0.0, 1.0);
        }
        for c in &mut model.classes {
            free(&mut c.jump_mean, 0.0, 5.0);
        }
        let s = &mut model.systemic;
        free(&mut s.hazard, 0.0, 3.0);
        free(&mut s.power, -0.95, 0.95);
        free(&mut s.compute, -0.95, 0.95);
        free(&mut s.preemption, 0.0, 3.0);
        free(&mut s.class_correlation, 0.0, 0.95);
        model
    }

    /// The model with every loading on M at zero: each risk on its own.
    #[must_use]
    pub fn independent(&self) -> Self {
        let mut model = self.clone();
        for p in [
            &mut model.systemic.hazard,
            &mut model.systemic.power,
            &mut model.systemic.compute,
            &mut model.systemic.preemption,
        ] {
            p.value = 0.0;
        }
        model
    }
}

impl Zone {
    /// The deviation of ln power price.
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

    fn params(&self) -> Vec<(&'static str, &Param)> {
        vec![
            ("level_usd_mwh", &self.level_usd_mwh),
            ("x0", &self.x0),
            ("kappa", &self.kappa),
            ("sigma", &self.sigma),
            ("lambda", &self.lambda),
            ("jump_mean", &self.jump_mean),
            ("jump_sd", &self.jump_sd),
            ("cap_usd_mwh", &self.cap_usd_mwh),
            ("floor_usd_mwh", &self.floor_usd_mwh),
            ("failure_per_hour", &self.failure_per_hour),
            ("frailty", &self.frailty),
            ("repair_mu", &self.repair_mu),
            ("repair_sigma", &self.repair_sigma),
            ("shock_per_day", &self.shock_per_day),
            ("shock_share", &self.shock_share),
            ("preemption_per_hour", &self.preemption_per_hour),
        ]
    }
}

impl Class {
    /// Energy of one device-hour with its share of node and facility, MWh.
    ///
    /// # Errors
    /// [`ModelError::Range`] unless the three factors are positive.
    pub fn mwh_per_hour(&self) -> Result<f64, ModelError> {
        crate::energy::gpu_hour_mwh(self.watts.value, self.node_factor.value, self.pue.value)
    }

    /// The log price.
    #[must_use]
    pub fn process(&self) -> ComputePrice {
        ComputePrice {
            alpha: self.alpha.value,
            level: self.price_usd_hour.value.ln(),
            decline: self.decline.value,
            sigma: self.sigma.value,
            lambda: self.lambda.value,
            jump_mean: self.jump_mean.value,
            jump_sd: self.jump_sd.value,
        }
    }

    fn params(&self) -> Vec<(&'static str, &Param)> {
        vec![
            ("price_usd_hour", &self.price_usd_hour),
            ("alpha", &self.alpha),
            ("decline", &self.decline),
            ("sigma", &self.sigma),
            ("lambda", &self.lambda),
            ("jump_mean", &self.jump_mean),
            ("jump_sd", &self.jump_sd),
            ("watts", &self.watts),
            ("node_factor", &self.node_factor),
            ("pue", &self.pue),
        ]
    }
}

/// Line, from 1, of an entry such as `zone tx.kappa`, `product NAME` or `systemic.power`; 1 if it is
/// not there.
fn locate(text: &str, place: &str) -> usize {
    let (table, field) = match place.split_once(' ') {
        Some((_, entry)) => match text.contains(&format!("\"{entry}\"")) {
            true => (format!("name = \"{entry}\""), None),
            false => match entry.rsplit_once('.') {
                Some((name, field)) => (format!("name = \"{name}\""), Some(field)),
                None => (format!("name = \"{entry}\""), None),
            },
        },
        None => match place.split_once('.') {
            Some((table, field)) => (format!("[{table}]"), Some(field)),
            None => (place.to_owned(), None),
        },
    };
    let mut lines = (1..).zip(text.lines());
    let Some((start, _)) = lines.find(|(_, line)| line.trim_start().starts_with(&table)) else {
        return 1;
    };
    let Some(field) = field else { return start };
    lines
        .find(|(_, line)| {
            line.trim_start()
                .strip_prefix(field)
                .is_some_and(|rest| rest.trim_start().starts_with('='))
        })
        .map_or(start, |(line, _)| line)
}

const DEFAULT: &str = include_str!("default.toml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_model_is_valid_and_every_number_names_its_source() {
        let model = Model::parse(Path::new("default.toml"), DEFAULT).unwrap();
        assert!(model.products.len() >= 64);
        assert!(model.params().iter().all(|(_, p)| !p.source.is_empty()));
    }

    /// The hashes of the shipped model are those of the files; skipped where these are not.
    #[test]
    fn the_data_behind_the_shipped_model_have_their_hashes() {
        let model = Model::default_model();
        assert!(model.data.len() >= 9);
        for d in &model.data {
            let hex = d.blake3.len() == 64 && d.blake3.chars().all(|c| c.is_ascii_hexdigit());
            assert!(hex && !d.span.is_empty(), "{d:?}");
        }
        let Some(data) = crate::calibrate::shared_data() else {
            println!("skipped: no shared data (set TESSERA_SHARED)");
            return;
        };
        for d in &model.data {
            let bytes = std::fs::read(data.join(&d.file)).unwrap();
            assert_eq!(
                blake3::hash(&bytes).to_hex().to_string(),
                d.blake3,
                "{}",
                d.file
            );
        }
    }

    #[test]
    fn mistakes_name_the_place() {
        let parse = |text: &str| match Model::parse(Path::new("m.toml"), text) {
            Err(error) => error.to_string(),
            Ok(_) => "accepted".into(),
        };
        let unknown = parse(&DEFAULT.replacen("es_loading", "es_load", 1));
        assert!(
            unknown.contains("m.toml") && unknown.contains("line"),
            "{unknown}"
        );
        let negative = parse(&DEFAULT.replacen("kappa = { value = ", "kappa = { value = -", 1));
        assert!(
            negative.contains("zone tx") && negative.contains("kappa"),
            "{negative}"
        );
        let line = 1 + DEFAULT
            .lines()
            .position(|l| l.starts_with("name = \"tx\""))
            .unwrap();
        assert!(negative.contains(&format!("m.toml:{line}:")), "{negative}");
        let from = DEFAULT.find("name = \"va\"").unwrap();
        let (head, tail) = DEFAULT.split_at(from);
        let source = tail.find("source = \"PJM").unwrap();
        let no_source = format!(
            "{head}{}source = \"\" }}{}",
            &tail[..source],
            &tail[tail.find(" }").unwrap() + 2..]
        );
        let unsourced = parse(&no_source);
        assert!(
            unsourced.contains("zone va.level_usd_mwh") && !unsourced.contains("m.toml:1:"),
            "{unsourced}"
        );
        let zone = parse(&DEFAULT.replacen("zone = \"tx\"", "zone = \"nowhere\"", 1));
        assert!(zone.contains("no zone is called nowhere"), "{zone}");
        assert!(Model::open(Path::new("/nonexistent/m.toml")).is_err());
    }

    #[test]
    fn redrawing_moves_estimates_and_keeps_the_model_valid() {
        let model = Model::default_model();
        for draw in 0..20 {
            let moved = model.redrawn(5, draw);
            assert_eq!(moved.check(), Ok(()));
            assert_ne!(moved.zones[0].kappa.value, model.zones[0].kappa.value);
            assert_eq!(moved, model.redrawn(5, draw));
        }
    }
}
