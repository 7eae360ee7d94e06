//! From floats to integers: the parameter set that the engine replays.
//!
//! Per product 64 representative scenarios, as losses of one long lot in micro-USD. Scenario k is the
//! same state of the world for every product: a book is margined by adding integers. 48 scenarios
//! come from the tail of the joint Monte Carlo ([`representatives()`]), 16 are the stress scenarios. The
//! margin of a book is the mean of its worst [`WORST`] scenarios, rounded up, never below zero.
//! [`coverage()`] judges a set against the full model.
//!
//! Stress scenarios enter at [`STRESS_COVER`], the weight of stress in the float margin, or less
//! where one would by itself ask more than ES99 of 3 % of the books: at full size a storm at 9,000
//! USD/MWh would set the margin of every book that it touches. The float margin and `risk stress`
//! carry them at full size.
//!
//! # Source
//! `docs/risk.md`, from floats to integers.

mod coverage;

mod representatives;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::coverage::{BookKind, Coverage, KindCoverage, RandomBook, coverage, random_books};
pub use self::representatives::{Representatives, representatives};
use crate::margin::AddOns;
use crate::model::Model;
use crate::scenario::Joint;
use crate::stress;
use crate::units::{MicroUsd, ModelError};

/// Scenarios per row.
pub const SCENARIOS: usize = 64;
/// Of these, drawn from the tail of the Monte Carlo; the rest are stresses.
pub const TAIL_SCENARIOS: usize = 48;
/// The margin is the mean of this many worst scenarios.
pub const WORST: usize = 3;
/// Largest fraction of a stress loss that a representative scenario carries.
pub const STRESS_COVER: f64 = 0.25;
/// Largest loss of one lot in size, micro-USD.
pub const LOSS_LIMIT: i64 = 1 << 34;
/// Largest gross position of an account, lots, open orders counted.
pub const LOTS_LIMIT: i64 = 1 << 28;
/// Largest encoded row, so that it fits one admin message.
pub const ROW_BYTES: usize = 1024;
/// Format of the file and of the hashed bytes.
pub const FORMAT: u32 = 1;

/// A whole parameter set: begin, rows, commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterSet {
    /// Format of this file.
    pub format: u32,
    /// Announces the rows.
    pub begin: Begin,
    /// One row per product, sorted by name.
    pub rows: Vec<Row>,
    /// Ends the set; the engine applies it only if the hash fits.
    pub commit: Commit,
}

/// `SetRiskParams::Begin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// Version of the set, rising.
    pub version: u32,
    /// Number of rows that follow.
    pub rows: u32,
    /// Version of the model.
    pub model: u32,
    /// Seed of the Monte Carlo.
    pub seed: u64,
    /// Its scenarios.
    pub scenarios: u32,
    /// BLAKE3 of the model text, lower-case hex.
    pub input_hash: String,
}

/// `SetRiskParams::Row`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Version of the set.
    pub version: u32,
    /// Product and tenor bucket.
    pub product: String,
    /// Losses of one long lot, micro-USD: [`TAIL_SCENARIOS`] from the tail, then the stresses.
    pub losses: Vec<i64>,
    /// Half spread by size.
    pub liquidity: Vec<Level>,
    /// Concentration by size.
    pub concentration: Vec<Level>,
    /// Replacement of failed deliveries, short positions only.
    pub delivery: Vec<Level>,
}

/// One step of an add-on table: the whole position pays the rate of the step its size falls into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// From this many lots.
    pub from_lots: u32,
    /// Micro-USD per lot, not negative.
    pub uusd_per_lot: i64,
}

/// `SetRiskParams::Commit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Version of the set.
    pub version: u32,
    /// Number of rows.
    pub rows: u32,
    /// BLAKE3 of the encoded rows, lower-case hex.
    pub table_hash: String,
}

/// Why a set is refused. One bad row refuses all of it.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Path.
        path: PathBuf,
        /// Reason.
        source: std::io::Error,
    },
    /// Not a parameter set; line and column are in the message.
    #[error("{path}: {message}; write a set with `tessera risk margin --emit`")]
    Form {
        /// Path.
        path: PathBuf,
        /// What was expected where.
        message: String,
    },
    /// A rule is broken, in a file.
    #[error("{path}:{line}: {source}")]
    At {
        /// Path.
        path: PathBuf,
        /// Line of the row or of the frame, from 1.
        line: usize,
        /// Which rule.
        source: Box<SetError>,
    },
    /// A row breaks a rule.
    #[error("row {row} ({product}): {reason}; the whole set is refused and the old one stands")]
    Row {
        /// Row number, from 1.
        row: usize,
        /// Its product.
        product: String,
        /// Which rule.
        reason: String,
    },
    /// The frame does not fit the rows.
    #[error("{reason}; the whole set is refused and the old one stands")]
    Frame {
        /// What does not fit.
        reason: String,
    },
    /// A figure of the model is no number.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Position and open orders of one account in one product, lots; orders not negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    /// Position, long positive.
    pub lots: i64,
    /// Open buy orders.
    pub buys: i64,
    /// Open sell orders.
    pub sells: i64,
}

/// The scenario part of the margin, in integers, as the engine computes it: per scenario
/// `Σ max((pos + buys) L, (pos - sells) L)`, mean of the worst [`WORST`], rounded up, not below 0.
/// `None` if a limit is broken so far that a sum does not fit.
#[must_use]
pub fn scenario_margin(positions: &[(&Row, Exposure)]) -> Option<MicroUsd> {
    let mut losses = [0_i64; SCENARIOS];
    for (row, e) in positions {
        let long = e.lots.checked_add(e.buys)?;
        let short = e.lots.checked_sub(e.sells)?;
        for (sum, l) in losses.iter_mut().zip(&row.losses) {
            let worst = long.checked_mul(*l)?.max(short.checked_mul(*l)?);
            *sum = sum.checked_add(worst)?;
        }
    }
    losses.sort_unstable_by(|a, b| b.cmp(a));
    let sum: i128 = losses[..WORST].iter().map(|l| i128::from(*l)).sum();
    let k = WORST as i128;
    let mean = sum.div_euclid(k) + i128::from(sum.rem_euclid(k) != 0);
    i64::try_from(mean.max(0)).ok().map(MicroUsd::new)
}

/// The add-ons of a book: the worse side of each position pays the rate of its size.
#[must_use]
pub fn add_ons(positions: &[(&Row, Exposure)]) -> Option<MicroUsd> {
    let mut sum = 0_i64;
    for (row, e) in positions {
        let long = e.lots.checked_add(e.buys)?;
        let short = e.lots.checked_sub(e.sells)?;
        let size = long.checked_abs()?.max(short.checked_abs()?);
        let sold = short.min(0).checked_neg()?;
        for (levels, size) in [
            (&row.liquidity, size),
            (&row.concentration, size),
            (&row.delivery, sold),
        ] {
            let rate = levels
                .iter()
                .rev()
                .find(|l| size >= i64::from(l.from_lots))
                .map_or(0, |l| l.uusd_per_lot);
            sum = sum.checked_add(size.checked_mul(rate)?)?;
        }
    }
    Some(MicroUsd::new(sum))
}

/// How a set is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmitSettings {
    /// Version of the set.
    pub version: u32,
    /// Joint scenarios.
    pub scenarios: u32,
    /// Seed.
    pub seed: u64,
    /// Reference books.
    pub books: usize,
}

/// Runs the model and writes a set.
///
/// # Errors
/// [`SetError`] if any figure is not a number or breaks a limit: then there is no set at all.
pub fn emit(
    model: &Model,
    model_text: &str,
    settings: EmitSettings,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<ParameterSet, SetError> {
    let joint = Joint::new(model)?;
    let matrix = joint.even_losses(settings.scenarios as usize, settings.seed, progress)?;
    let stress_rows = stress::losses(&joint);
    let chosen = representatives(model, &matrix, &stress_rows, settings.books, settings.seed)?;
    let mut rows = Vec::with_capacity(model.products.len());
    for (p, product) in model.products.iter().enumerate() {
        let losses = chosen
            .rows
            .iter()
            .map(|row| MicroUsd::up(row[p]).map(MicroUsd::get))
            .collect::<Result<Vec<_>, _>>()?;
        let add_ons = AddOns::new(model, product)?;
        let levels = |steps: &[(u32, f64)]| -> Result<Vec<Level>, ModelError> {
            steps
                .iter()
                .map(|(from_lots, usd)| {
                    Ok(Level {
                        from_lots: *from_lots,
                        uusd_per_lot: MicroUsd::up(*usd)?.get(),
                    })
                })
                .collect()
        };
        rows.push(Row {
            version: settings.version,
            product: product.name.clone(),
            losses,
            liquidity: levels(&add_ons.liquidity)?,
            concentration: levels(&add_ons.concentration)?,
            delivery: levels(&add_ons.delivery)?,
        });
    }
    rows.sort_by(|a, b| a.product.cmp(&b.product));
    let count = u32::try_from(rows.len()).map_err(|_| SetError::Frame {
        reason: "more than 2^32 products".into(),
    })?;
    let mut set = ParameterSet {
        format: FORMAT,
        begin: Begin {
            version: settings.version,
            rows: count,
            model: model.version,
            seed: settings.seed,
            scenarios: settings.scenarios,
            input_hash: blake3::hash(model_text.as_bytes()).to_hex().to_string(),
        },
        rows,
        commit: Commit {
            version: settings.version,
            rows: count,
            table_hash: String::new(),
        },
    };
    set.commit.table_hash = set.table_hash();
    set.check(None, None)?;
    Ok(set)
}

/// What a set is compared with before it is accepted.
#[derive(Clone, Copy, Debug)]
pub struct Previous<'a> {
    /// The set in force.
    pub set: &'a ParameterSet,
    /// Largest change of the margin of one lot, long or short, as a fraction of the old one.
    pub step_limit: f64,
}

impl ParameterSet {
    /// BLAKE3 over the encoded rows, lower-case hex.
    #[must_use]
    pub fn table_hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for row in &self.rows {
            hasher.update(&row.encode());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Reads and checks a set file.
    ///
    /// # Errors
    /// [`SetError`] with path, line and column, or the row concerned.
    pub fn open(path: &Path) -> Result<Self, SetError> {
        let text = std::fs::read_to_string(path).map_err(|source| SetError::Read {
            path: path.into(),
            source,
        })?;
        let set: Self = serde_json::from_str(&text).map_err(|error| SetError::Form {
            path: path.into(),
            message: error.to_string(),
        })?;
        set.check(None, None).map_err(|error| {
            let wanted = match &error {
                SetError::Row { product, .. } => format!("\"product\": \"{product}\""),
                _ => "\"commit\"".into(),
            };
            let line = text.lines().position(|line| line.contains(&wanted));
            SetError::At {
                path: path.into(),
                line: line.map_or(1, |l| l + 1),
                source: Box::new(error),
            }
        })?;
        Ok(set)
    }

    /// Checks the whole set: frame, hash, limits; with `known`, that every product is one of these;
    /// with `previous`, that the version rises and no margin steps further than the limit.
    ///
    /// # Errors
    /// [`SetError`]; nothing of the set may then be used.
    pub fn check(
        &self,
        known: Option<&[&str]>,
        previous: Option<Previous<'_>>,
    ) -> Result<(), SetError> {
        let frame = |reason: String| Err(SetError::Frame { reason });
        if self.format != FORMAT {
            return frame(format!(
                "format {} is not known; this program reads {FORMAT}",
                self.format
            ));
        }
        let rows = self.rows.len();
        if self.begin.rows as usize != rows || self.commit.rows as usize != rows {
            return frame(format!(
                "begin announces {} rows, commit {}, the set has {rows}",
                self.begin.rows, self.commit.rows
            ));
        }
        if self.begin.version != self.commit.version {
            return frame("begin and commit differ in version".into());
        }
        if self.begin.input_hash.len() != 64 {
            return frame("input_hash is not 64 hexadecimal digits".into());
        }
        let hash = self.table_hash();
        if hash != self.commit.table_hash {
            return frame(format!(
                "table hash is {hash}, commit says {}",
                self.commit.table_hash
            ));
        }
        let old: BTreeMap<&str, &Row> = previous
            .iter()
            .flat_map(|p| p.set.rows.iter().map(|r| (r.product.as_str(), r)))
            .collect();
        if let Some(p) = previous
            && p.set.begin.version >= self.begin.version
        {
            return frame(format!(
                "version {} is not above {}",
                self.begin.version, p.set.begin.version
            ));
        }
        for (i, row) in self.rows.iter().enumerate() {
            let bad = |reason: String| {
                Err(SetError::Row {
                    row: i + 1,
                    product: row.product.clone(),
                    reason,
                })
            };
            if row.version != self.begin.version {
                return bad(format!(
                    "version {} in a set of version {}",
                    row.version, self.begin.version
                ));
            }
            if i > 0 && self.rows[i - 1].product >= row.product {
                return bad("rows are not sorted by product, or one occurs twice".into());
            }
            if known.is_some_and(|k| !k.contains(&row.product.as_str())) {
                return bad("unknown product".into());
            }
            if row.losses.len() != SCENARIOS {
                return bad(format!(
                    "{} losses, {SCENARIOS} are needed",
                    row.losses.len()
                ));
            }
            if let Some(l) = row
                .losses
                .iter()
                .find(|l| l.unsigned_abs() > LOSS_LIMIT.unsigned_abs())
            {
                return bad(format!(
                    "loss {l} is beyond the limit of {LOSS_LIMIT} micro-USD"
                ));
            }
            for (name, levels) in [
                ("liquidity", &row.liquidity),
                ("concentration", &row.concentration),
                ("delivery", &row.delivery),
            ] {
                let sorted = levels.windows(2).all(|w| w[0].from_lots < w[1].from_lots);
                let sane = levels
                    .iter()
                    .all(|l| (0..=LOSS_LIMIT).contains(&l.uusd_per_lot));
                if !sorted || !sane || levels.len() > 8 {
                    return bad(format!(
                        "{name}: at most 8 steps of rising size, each from 0 to {LOSS_LIMIT} micro-USD per lot"
                    ));
                }
            }
            if row.encode().len() >= ROW_BYTES {
                return bad(format!(
                    "{} bytes, fewer than {ROW_BYTES} are allowed",
                    row.encode().len()
                ));
            }
            if let (Some(p), Some(before)) = (previous, old.get(row.product.as_str())) {
                for lots in [1, -1] {
                    let margin = |r: &Row| {
                        let e = Exposure {
                            lots,
                            ..Exposure::default()
                        };
                        scenario_margin(&[(r, e)]).map_or(f64::INFINITY, MicroUsd::usd)
                    };
                    let (was, is) = (margin(before), margin(row));
                    if (is - was).abs() > p.step_limit * was {
                        return bad(format!(
                            "the margin of {lots} lot moves from {was:.6} to {is:.6} USD, more than the step limit of {:.0} %",
                            100.0 * p.step_limit
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Row {
    /// The hashed bytes, little-endian:
    ///
    /// | Field | Width |
    /// |---|---|
    /// | version | 4 |
    /// | length of the product name, name | 2, n |
    /// | losses, micro-USD | 64 x 8 |
    /// | per table (liquidity, concentration, delivery): number of steps | 1 |
    /// | per step: from, lots; micro-USD per lot | 4, 8 |
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ROW_BYTES);
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(
            u16::try_from(self.product.len())
                .unwrap_or(u16::MAX)
                .to_le_bytes(),
        );
        bytes.extend(self.product.as_bytes());
        for l in &self.losses {
            bytes.extend(l.to_le_bytes());
        }
        for levels in [&self.liquidity, &self.concentration, &self.delivery] {
            bytes.push(u8::try_from(levels.len()).unwrap_or(u8::MAX));
            for level in levels {
                bytes.extend(level.from_lots.to_le_bytes());
                bytes.extend(level.uusd_per_lot.to_le_bytes());
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
