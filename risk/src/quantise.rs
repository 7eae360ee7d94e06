//! From floats to integers: the parameter set that the engine replays.
//!
//! Per product 64 representative scenarios, as losses of one long lot in micro-USD. Scenario k is the
//! same state of the world for every product: a book is margined by adding integers. 48 scenarios
//! come from the tail of the joint Monte Carlo, 16 are the stress scenarios. The margin of a book is
//! the mean of its worst [`WORST`] scenarios, rounded up, never below zero.
//!
//! How the 48 are chosen. For a reference book `w`, the mean loss vector of its worst 1 % of
//! scenarios, `t(w)`, has `w · t(w) = ES99(w)`, and no other such vector gives more. The 48 start as
//! the tail means that together cover the reference books best, are then moved towards the tail means
//! of the books they still miss (a representative stays a mixture of tail states, common to all
//! products), and are scaled up last, so that 99.4 % of the reference books are covered. The tests
//! and the report judge them on other books than those.
//!
//! Stress scenarios enter at [`STRESS_COVER`], the weight of stress in the float margin, or less
//! where one would by itself ask more than ES99 of 3 % of the books: at full size a storm at 9,000
//! USD/MWh would set the margin of every book that it touches. The float margin and `risk stress`
//! carry them at full size.
//!
//! # Source
//! `docs/risk.md`, from floats to integers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::margin::AddOns;
use crate::model::Model;
use crate::numeric::{dot, order};
use crate::rng::Stream;
use crate::scenario::{Joint, LossMatrix};
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
/// What the cover of the reference books is above 1, because their ES99 is itself an estimate: two to
/// three per cent is its standard error at 10,000 scenarios.
pub const SAMPLING: f64 = 0.02;
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

/// Representative scenarios before rounding, and how they were found.
#[derive(Clone, Debug, PartialEq)]
pub struct Representatives {
    /// [`SCENARIOS`] rows of one loss per product, USD per long lot.
    pub rows: Vec<Vec<f64>>,
    /// Factor by which the tail scenarios were scaled at the end.
    pub scale: f64,
    /// Fraction of each stress loss that its representative carries.
    pub stress_cover: Vec<f64>,
    /// Reference books used.
    pub books: usize,
}

/// Fraction at which a stress enters: [`STRESS_COVER`], or less where the stress alone would ask more
/// than ES99 of more than 3 % of the reference books.
fn stress_cover(reference: &[Reference], row: &[f64]) -> f64 {
    let mut asked: Vec<f64> = reference.iter().map(|r| dot(&r.weights, row)).collect();
    asked.sort_by(f64::total_cmp);
    let high = asked[order(0.97, asked.len()) - 1];
    if high > 1.0 / STRESS_COVER {
        1.0 / high
    } else {
        STRESS_COVER
    }
}

/// Chooses the representatives of `matrix` with `books` reference books.
///
/// # Errors
/// [`ModelError`] if a loss is not finite or there are fewer reference books than scenarios.
pub fn representatives(
    model: &Model,
    matrix: &LossMatrix,
    stress_rows: &[Vec<f64>],
    books: usize,
    seed: u64,
) -> Result<Representatives, ModelError> {
    let reference: Vec<Reference> = random_books(model, books, seed)
        .into_par_iter()
        .map(|book| Reference::new(model, matrix, &book))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect();
    if reference.len() < TAIL_SCENARIOS {
        return Err(ModelError::Shape {
            what: "reference books",
        });
    }
    let covers: Vec<f64> = stress_rows
        .iter()
        .map(|row| stress_cover(&reference, row))
        .collect();
    let stresses: Vec<Vec<f64>> = stress_rows
        .iter()
        .zip(&covers)
        .map(|(row, cover)| row.iter().map(|l| l * cover).collect())
        .collect();
    let chosen = greedy(&reference, &stresses);
    let mut tails: Vec<Vec<f64>> = chosen.iter().map(|i| reference[*i].tail.clone()).collect();
    refine(&reference, &stresses, &mut tails);
    // Scaling the tail rows alone, until 99.4 % of the reference books are covered.
    let covered = |scale: f64| {
        let rows: Vec<Vec<f64>> = tails
            .iter()
            .map(|row| row.iter().map(|l| l * scale).collect())
            .chain(stresses.iter().cloned())
            .collect();
        let mut cover: Vec<f64> = reference
            .par_iter()
            .map(|r| worst_mean(rows.iter().map(|row| dot(&r.weights, row))))
            .collect();
        cover.sort_by(f64::total_cmp);
        cover[order(0.006, cover.len()) - 1]
    };
    let (mut low, mut high) = (0.25, 4.0);
    for _ in 0..30 {
        let mid = 0.5 * (low + high);
        if covered(mid) < 1.0 + SAMPLING {
            low = mid;
        } else {
            high = mid;
        }
    }
    for row in &mut tails {
        row.iter_mut().for_each(|l| *l *= high);
    }
    tails.extend(stresses);
    Ok(Representatives {
        rows: tails,
        scale: high,
        stress_cover: covers,
        books: reference.len(),
    })
}

/// A reference book scaled to an ES of 1, and the mean loss vector of its tail.
struct Reference {
    weights: Vec<f64>,
    tail: Vec<f64>,
}

impl Reference {
    fn new(
        model: &Model,
        matrix: &LossMatrix,
        book: &[(usize, f64)],
    ) -> Result<Option<Self>, ModelError> {
        let losses = matrix.book(book);
        if let Some(bad) = losses.iter().find(|l| !l.is_finite()) {
            return Err(ModelError::Range {
                what: "loss of a reference book",
                value: *bad,
                rule: "finite",
            });
        }
        let n = losses.len();
        let rank = order(0.99, n).min(n - 1);
        let mut by_loss: Vec<usize> = (0..n).collect();
        by_loss.select_nth_unstable_by(rank, |a, b| {
            losses[*a].total_cmp(&losses[*b]).then(a.cmp(b))
        });
        let mut worst = by_loss[rank..].to_vec();
        worst.sort_unstable();
        let tail: Vec<f64> = (0..matrix.products())
            .map(|p| {
                let column = matrix.column(p);
                worst.iter().map(|s| column[*s]).sum::<f64>() / worst.len() as f64
            })
            .collect();
        let es: f64 = book.iter().map(|(p, w)| w * tail[*p]).sum();
        // A book that loses less than half a per cent of what it holds is flat in all but name: the half
        // spread of its legs, which every add-on table charges, is more. As a reference it would pull
        // at the representatives with weights of hundreds.
        let gross: f64 = book.iter().map(|(p, w)| w.abs() * fee(model, *p)).sum();
        if es <= 0.005 * gross {
            return Ok(None);
        }
        let mut weights = vec![0.0; matrix.products()];
        for (p, w) in book {
            weights[*p] += w / es;
        }
        Ok(Some(Self { weights, tail }))
    }
}

/// Picks tail means one by one, each the one that lifts the least covered books most.
fn greedy(reference: &[Reference], stresses: &[Vec<f64>]) -> Vec<usize> {
    const ENOUGH: f64 = 0.9;
    // Candidates are thinned: a thousand directions are plenty to choose 48 from.
    let stride = reference.len().div_ceil(1000);
    let candidates: Vec<usize> = (0..reference.len()).step_by(stride).collect();
    let mut top: Vec<[f64; WORST]> = reference
        .iter()
        .map(|r| {
            let mut top = [0.0; WORST];
            for row in stresses {
                push(&mut top, dot(&r.weights, row));
            }
            top
        })
        .collect();
    let cover: Vec<Vec<f64>> = candidates
        .par_iter()
        .map(|c| {
            reference
                .iter()
                .map(|r| dot(&r.weights, &reference[*c].tail))
                .collect()
        })
        .collect();
    let worth = |top: &[f64; WORST]| (top.iter().sum::<f64>() / WORST as f64).min(ENOUGH);
    let mut chosen = Vec::with_capacity(TAIL_SCENARIOS);
    for _ in 0..TAIL_SCENARIOS {
        let gains: Vec<f64> = cover
            .par_iter()
            .map(|column| {
                top.iter()
                    .zip(column)
                    .map(|(top, loss)| {
                        let mut with = *top;
                        push(&mut with, *loss);
                        worth(&with) - worth(top)
                    })
                    .sum()
            })
            .collect();
        let mut best = 0;
        for (i, gain) in gains.iter().enumerate() {
            if *gain > gains[best] {
                best = i;
            }
        }
        for (top, loss) in top.iter_mut().zip(&cover[best]) {
            push(top, *loss);
        }
        chosen.push(candidates[best]);
    }
    chosen
}

fn push(top: &mut [f64; WORST], loss: f64) {
    let mut loss = loss;
    for slot in top.iter_mut() {
        if loss > *slot {
            std::mem::swap(slot, &mut loss);
        }
    }
}

/// Moves the rows a book is margined by towards (or from) its tail mean, in proportion to how far
/// its margin is from the target; a fixed order of books and rounds, so the result is one result.
fn refine(reference: &[Reference], stresses: &[Vec<f64>], tails: &mut [Vec<f64>]) {
    const ROUNDS: u32 = 60;
    const TARGET: f64 = 1.0;
    for round in 0..ROUNDS {
        let step = 0.3 * (1.0 - f64::from(round) / f64::from(ROUNDS));
        // One pass is split into batches: within a batch the rows stand still, so it runs in
        // parallel and is summed in the order of books.
        for batch in reference.chunks(256) {
            let moves: Vec<(f64, [usize; WORST])> = batch
                .par_iter()
                .map(|r| {
                    let mut top = [(f64::NEG_INFINITY, usize::MAX); WORST];
                    for (k, row) in tails.iter().chain(stresses).enumerate() {
                        let mut entry = (dot(&r.weights, row), k);
                        for slot in &mut top {
                            if entry.0 > slot.0 {
                                std::mem::swap(slot, &mut entry);
                            }
                        }
                    }
                    let margin = top.iter().map(|t| t.0).sum::<f64>() / WORST as f64;
                    // Too little matters more than too much.
                    let miss = (TARGET - margin).clamp(-1.0, 1.0);
                    let weight = if miss > 0.0 { 4.0 } else { 1.0 };
                    (weight * miss, top.map(|t| t.1))
                })
                .collect();
            // A row moves by the mean of what its books ask for: the step stays bounded however many
            // books hang on one row.
            let mut asked = vec![(0_u32, vec![0.0; tails[0].len()]); tails.len()];
            for ((miss, rows), r) in moves.into_iter().zip(batch) {
                for k in rows {
                    if let Some((count, sum)) = asked.get_mut(k) {
                        *count += 1;
                        for (s, t) in sum.iter_mut().zip(&r.tail) {
                            *s += miss * t;
                        }
                    }
                }
            }
            for (row, (count, sum)) in tails.iter_mut().zip(&asked) {
                for (l, s) in row.iter_mut().zip(sum) {
                    *l += step * s / f64::from((*count).max(1));
                }
            }
        }
    }
}

/// Mean of the [`WORST`] largest, not below 0.
fn worst_mean(losses: impl Iterator<Item = f64>) -> f64 {
    let mut top = [f64::NEG_INFINITY; WORST];
    for loss in losses {
        push(&mut top, loss);
    }
    (top.iter().sum::<f64>() / WORST as f64).max(0.0)
}

/// Random books over the products of a model: one product, one side, mixed signs, and hedges between
/// tenors, zones, classes and tiers. Sizes are drawn by value, so that a cheap product counts as much
/// as a dear one. The same family judges the result, from other seeds.
#[must_use]
pub fn random_books(model: &Model, books: usize, seed: u64) -> Vec<Vec<(usize, f64)>> {
    let products = &model.products;
    (0..books as u64)
        .map(|b| {
            let mut s = Stream::new(seed, b, 0x1000_0000);
            let sign = if s.uniform() < 0.5 { -1.0 } else { 1.0 };
            let mut lots: BTreeMap<usize, f64> = BTreeMap::new();
            let mut add =
                |p: usize, value: f64| *lots.entry(p).or_insert(0.0) += value / fee(model, p);
            let legs = 1 + pick(&mut s, 8);
            match pick(&mut s, 8) {
                0 => add(pick(&mut s, products.len()), sign),
                1 | 2 => {
                    for _ in 0..2 * legs {
                        add(pick(&mut s, products.len()), sign * s.uniform());
                    }
                }
                3 => {
                    for _ in 0..2 * legs {
                        add(pick(&mut s, products.len()), s.normal());
                    }
                }
                kind => {
                    // Hedges: the second leg differs in exactly one respect.
                    for _ in 0..legs {
                        let first = pick(&mut s, products.len());
                        let a = &products[first];
                        let others: Vec<usize> = (0..products.len())
                            .filter(|i| {
                                let b = &products[*i];
                                let tenor = b.start_hours != a.start_hours || b.hours != a.hours;
                                let differs = [
                                    tenor,
                                    b.zone != a.zone,
                                    b.class != a.class,
                                    b.tier != a.tier,
                                ];
                                differs[kind - 4] && differs.iter().filter(|d| **d).count() == 1
                            })
                            .collect();
                        let size = sign * (0.2 + s.uniform());
                        add(first, size);
                        if !others.is_empty() {
                            let other = others[pick(&mut s, others.len())];
                            add(other, -size * (0.7 + 0.6 * s.uniform()));
                        }
                    }
                }
            }
            lots.into_iter().collect()
        })
        .collect()
}

/// Value of one lot at the class price, USD.
fn fee(model: &Model, product: usize) -> f64 {
    let product = &model.products[product];
    let price = model
        .class(&product.class)
        .map_or(1.0, |c| c.price_usd_hour.value);
    price * product.share * product.hours
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a uniform below 1 times a length is an index"
)]
fn pick(s: &mut Stream, n: usize) -> usize {
    (s.uniform() * n as f64) as usize
}

/// How well integer margins cover the expected shortfall of the full model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Coverage {
    /// Books judged.
    pub books: usize,
    /// Share of books whose margin is at least ES99.
    pub covered: f64,
    /// Median of margin over ES99.
    pub median: f64,
    /// Smallest ratio.
    pub worst: f64,
    /// 1 %, 5 %, 25 %, 75 %, 95 % and 99 % points of the ratio.
    pub quantiles: [f64; 6],
    /// The same for the whole margin, add-ons included: share covered, median, smallest ratio.
    pub with_add_ons: [f64; 3],
    /// All ratios, sorted.
    #[serde(skip)]
    pub ratios: Vec<f64>,
}

/// Judges a set on random books of another seed: ratio of the integer scenario margin to ES99 on
/// `matrix` (which should come from another seed as well).
///
/// # Errors
/// [`ModelError`] if a loss is not finite, or no book can lose.
pub fn coverage(
    model: &Model,
    set: &ParameterSet,
    matrix: &LossMatrix,
    books: usize,
    seed: u64,
) -> Result<Coverage, ModelError> {
    let rows: BTreeMap<&str, &Row> = set.rows.iter().map(|r| (r.product.as_str(), r)).collect();
    let table: Vec<&Row> = model
        .products
        .iter()
        .map(|p| {
            rows.get(p.name.as_str()).copied().ok_or(ModelError::Shape {
                what: "set (a product of the model has no row)",
            })
        })
        .collect::<Result<_, _>>()?;
    let pairs: Vec<(f64, f64)> = random_books(model, books, seed)
        .into_par_iter()
        .map_init(
            || vec![0.0; matrix.scenarios()],
            |losses, book| -> Result<Option<(f64, f64)>, ModelError> {
                // Whole lots: about a thousand in the largest leg, as an account would hold them.
                let largest = book.iter().map(|b| b.1.abs()).fold(0.0, f64::max);
                let lots: Vec<(usize, i64)> = book
                    .iter()
                    .map(|(p, w)| (*p, whole(w / largest * 1000.0)))
                    .filter(|(_, n)| *n != 0)
                    .collect();
                let float: Vec<(usize, f64)> = lots.iter().map(|(p, n)| (*p, *n as f64)).collect();
                matrix.book_into(&float, losses);
                let es = crate::numeric::tail(losses, 0.99)?.es;
                let positions: Vec<(&Row, Exposure)> = lots
                    .iter()
                    .map(|(p, n)| {
                        (
                            table[*p],
                            Exposure {
                                lots: *n,
                                ..Exposure::default()
                            },
                        )
                    })
                    .collect();
                let too_large = ModelError::Range {
                    what: "integer margin",
                    value: f64::INFINITY,
                    rule: "below 2^63",
                };
                let margin = scenario_margin(&positions).ok_or(too_large.clone())?.usd();
                let whole = margin + add_ons(&positions).ok_or(too_large)?.usd();
                Ok((es > 1e-6).then(|| (margin / es, whole / es)))
            },
        )
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect();
    if pairs.is_empty() {
        return Err(ModelError::Shape {
            what: "books that can lose",
        });
    }
    let (mut ratios, mut whole): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    ratios.sort_by(f64::total_cmp);
    whole.sort_by(f64::total_cmp);
    let at = |q: f64| ratios[order(q, ratios.len()) - 1];
    let covered = |all: &[f64]| all.iter().filter(|r| **r >= 1.0).count() as f64 / all.len() as f64;
    Ok(Coverage {
        books: ratios.len(),
        covered: covered(&ratios),
        with_add_ons: [
            covered(&whole),
            whole[order(0.5, whole.len()) - 1],
            whole[0],
        ],
        median: at(0.5),
        worst: ratios[0],
        quantiles: [0.01, 0.05, 0.25, 0.75, 0.95, 0.99].map(at),
        ratios,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "at most a thousand in size"
)]
fn whole(x: f64) -> i64 {
    x.round() as i64
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
    let matrix = joint.losses(settings.scenarios as usize, settings.seed, None, progress)?;
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
        set.check(None, None)?;
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
