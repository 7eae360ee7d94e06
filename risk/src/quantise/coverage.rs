//! How well integer margins cover the expected shortfall of the full model.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Serialize;

use super::{Exposure, ParameterSet, Row, add_ons, scenario_margin};
use crate::model::Model;
use crate::numeric::{order, tail};
use crate::rng::Stream;
use crate::scenario::LossMatrix;
use crate::units::ModelError;

/// What a random book is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BookKind {
    /// One product.
    Single,
    /// Up to sixteen products, all long or all short.
    OneSide,
    /// Up to sixteen products, mixed signs.
    Mixed,
    /// Pairs of opposite sign that differ in tenor only.
    TenorHedge,
    /// Pairs that differ in zone only.
    ZoneHedge,
    /// Pairs that differ in class only.
    ClassHedge,
    /// Pairs that differ in tier only.
    TierHedge,
}

impl BookKind {
    const ALL: [Self; 8] = [
        Self::Single,
        Self::OneSide,
        Self::OneSide,
        Self::Mixed,
        Self::TenorHedge,
        Self::ZoneHedge,
        Self::ClassHedge,
        Self::TierHedge,
    ];

    /// Name for reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Single => "one product",
            Self::OneSide => "one side",
            Self::Mixed => "mixed signs",
            Self::TenorHedge => "hedged between tenors",
            Self::ZoneHedge => "hedged between zones",
            Self::ClassHedge => "hedged between classes",
            Self::TierHedge => "hedged between tiers",
        }
    }
}

/// One random book.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomBook {
    /// Its kind.
    pub kind: BookKind,
    /// (product, lots), long positive; lots are not whole.
    pub lots: Vec<(usize, f64)>,
}

/// Random books over the products of a model: one product, one side, mixed signs, and hedges between
/// tenors, zones, classes and tiers. Sizes are drawn by value, so that a cheap product counts as much
/// as a dear one. The same family judges the result, from other seeds.
#[must_use]
pub fn random_books(model: &Model, books: usize, seed: u64) -> Vec<RandomBook> {
    let products = &model.products;
    (0..books as u64)
        .map(|b| {
            let mut s = Stream::new(seed, b, 0x1000_0000);
            let sign = if s.uniform() < 0.5 { -1.0 } else { 1.0 };
            let mut lots: BTreeMap<usize, f64> = BTreeMap::new();
            let mut add =
                |p: usize, value: f64| *lots.entry(p).or_insert(0.0) += value / fee(model, p);
            let legs = 1 + pick(&mut s, 8);
            let kind = BookKind::ALL[pick(&mut s, BookKind::ALL.len())];
            match kind {
                BookKind::Single => add(pick(&mut s, products.len()), sign),
                BookKind::OneSide => {
                    for _ in 0..2 * legs {
                        add(pick(&mut s, products.len()), sign * s.uniform());
                    }
                }
                BookKind::Mixed => {
                    for _ in 0..2 * legs {
                        add(pick(&mut s, products.len()), s.normal());
                    }
                }
                _ => {
                    for _ in 0..legs {
                        let (first, other) = pair(model, kind, &mut s);
                        let size = sign * (0.2 + s.uniform());
                        add(first, size);
                        if let Some(other) = other {
                            add(other, -size * (0.7 + 0.6 * s.uniform()));
                        }
                    }
                }
            }
            RandomBook {
                kind,
                lots: lots.into_iter().collect(),
            }
        })
        .collect()
}

/// Hedges of one to four pairs, sizes apart by up to 30 % and mostly by little, half of them between
/// tenors: what is left of the risk lies in directions that the other books hardly show. They help to
/// fit and judge nothing.
pub(super) fn close_hedges(model: &Model, books: usize, seed: u64) -> Vec<RandomBook> {
    (0..books as u64)
        .map(|b| {
            let mut s = Stream::new(seed, b, 0x1000_0001);
            let mut lots: BTreeMap<usize, f64> = BTreeMap::new();
            let kind = match pick(&mut s, 2) {
                0 => BookKind::TenorHedge,
                _ => BookKind::ALL[4 + pick(&mut s, 4)],
            };
            for _ in 0..=pick(&mut s, 4) {
                let (first, other) = pair(model, kind, &mut s);
                let size = 2.0 * s.uniform() - 1.0;
                let mut add =
                    |p: usize, value: f64| *lots.entry(p).or_insert(0.0) += value / fee(model, p);
                add(first, size);
                if let Some(other) = other {
                    let apart = 2.0 * s.uniform() - 1.0;
                    add(other, -size * (1.0 + 0.3 * apart * apart.abs()));
                }
            }
            RandomBook {
                kind,
                lots: lots.into_iter().collect(),
            }
        })
        .collect()
}

/// Two products that differ in exactly the respect that `kind` hedges; no second one if there is none.
fn pair(model: &Model, kind: BookKind, s: &mut Stream) -> (usize, Option<usize>) {
    let products = &model.products;
    let first = pick(s, products.len());
    let a = &products[first];
    let others: Vec<usize> = (0..products.len())
        .filter(|i| {
            let b = &products[*i];
            let tenor = b.start_hours != a.start_hours || b.hours != a.hours;
            [
                (BookKind::TenorHedge, tenor),
                (BookKind::ZoneHedge, b.zone != a.zone),
                (BookKind::ClassHedge, b.class != a.class),
                (BookKind::TierHedge, b.tier != a.tier),
            ]
            .iter()
            .all(|(k, differs)| *differs == (*k == kind))
        })
        .collect();
    let other = (!others.is_empty()).then(|| others[pick(s, others.len())]);
    (first, other)
}

/// Value of one lot at the class price, USD.
pub(super) fn fee(model: &Model, product: usize) -> f64 {
    let product = &model.products[product];
    let price = model
        .class(&product.class)
        .map_or(1.0, |c| c.price_usd_hour.value);
    price * product.share * product.hours
}

/// A whole number below `n`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a uniform below 1 times a length is an index"
)]
pub(super) fn pick(s: &mut Stream, n: usize) -> usize {
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
    /// By kind of book.
    pub kinds: Vec<KindCoverage>,
    /// All ratios, sorted.
    #[serde(skip)]
    pub ratios: Vec<f64>,
}

/// [`Coverage`] of one kind of book.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KindCoverage {
    /// Kind.
    pub kind: BookKind,
    /// Books of this kind.
    pub books: usize,
    /// Share covered.
    pub covered: f64,
    /// Median of margin over ES99.
    pub median: f64,
    /// Smallest ratio.
    pub worst: f64,
}

/// One book judged.
#[derive(Clone, Copy)]
struct Judged {
    kind: BookKind,
    /// Scenario margin over ES99.
    ratio: f64,
    /// Whole margin over ES99.
    whole: f64,
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
    let mut judged: Vec<Judged> = random_books(model, books, seed)
        .into_par_iter()
        .map_init(
            || vec![0.0; matrix.scenarios()],
            |losses, book| judge(&table, matrix, &book, losses),
        )
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect();
    if judged.is_empty() {
        return Err(ModelError::Shape {
            what: "books that can lose",
        });
    }
    judged.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
    let ratios: Vec<f64> = judged.iter().map(|j| j.ratio).collect();
    let mut whole: Vec<f64> = judged.iter().map(|j| j.whole).collect();
    whole.sort_by(f64::total_cmp);
    let at = |all: &[f64], q: f64| all[order(q, all.len()) - 1];
    let covered = |all: &[f64]| all.iter().filter(|r| **r >= 1.0).count() as f64 / all.len() as f64;
    let mut all_kinds = BookKind::ALL.to_vec();
    all_kinds.dedup();
    let kinds = all_kinds
        .into_iter()
        .filter_map(|kind| {
            let of: Vec<f64> = judged
                .iter()
                .filter(|j| j.kind == kind)
                .map(|j| j.ratio)
                .collect();
            (!of.is_empty()).then(|| KindCoverage {
                kind,
                books: of.len(),
                covered: covered(&of),
                median: at(&of, 0.5),
                worst: of[0],
            })
        })
        .collect();
    Ok(Coverage {
        books: ratios.len(),
        covered: covered(&ratios),
        with_add_ons: [covered(&whole), at(&whole, 0.5), whole[0]],
        median: at(&ratios, 0.5),
        worst: ratios[0],
        quantiles: [0.01, 0.05, 0.25, 0.75, 0.95, 0.99].map(|q| at(&ratios, q)),
        kinds,
        ratios,
    })
}

/// `None` for a book that cannot lose.
fn judge(
    table: &[&Row],
    matrix: &LossMatrix,
    book: &RandomBook,
    losses: &mut [f64],
) -> Result<Option<Judged>, ModelError> {
    // Whole lots: about a thousand in the largest leg, as an account would hold them.
    let largest = book.lots.iter().map(|b| b.1.abs()).fold(0.0, f64::max);
    let lots: Vec<(usize, i64)> = book
        .lots
        .iter()
        .map(|(p, w)| (*p, whole_lots(w / largest * 1000.0)))
        .filter(|(_, n)| *n != 0)
        .collect();
    let float: Vec<(usize, f64)> = lots.iter().map(|(p, n)| (*p, *n as f64)).collect();
    matrix.book_into(&float, losses);
    let es = tail(losses, 0.99)?.es;
    let positions: Vec<(&Row, Exposure)> = lots
        .iter()
        .map(|(p, n)| {
            let exposure = Exposure {
                lots: *n,
                ..Exposure::default()
            };
            (table[*p], exposure)
        })
        .collect();
    let too_large = ModelError::Range {
        what: "integer margin",
        value: f64::INFINITY,
        rule: "below 2^63",
    };
    let margin = scenario_margin(&positions).ok_or(too_large.clone())?.usd();
    let whole = margin + add_ons(&positions).ok_or(too_large)?.usd();
    Ok((es > 1e-6).then(|| Judged {
        kind: book.kind,
        ratio: margin / es,
        whole: whole / es,
    }))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "at most a thousand in size"
)]
fn whole_lots(x: f64) -> i64 {
    x.round() as i64
}
