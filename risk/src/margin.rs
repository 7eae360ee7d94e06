//! What margin a book needs: expected shortfall over the margin period, and what is added to it.
//!
//! `margin = 0.75 ES99 + 0.25 stressed ES + liquidity + concentration + delivery`, floored. ES99 is
//! the larger of Monte Carlo and filtered historical simulation. The joint run is the base, so
//! wrong-way risk is in it and only shown; parameter uncertainty is reported beside it.
//!
//! # Source
//! `docs/risk.md`, margin.

use rayon::prelude::*;
use serde::Serialize;

use crate::model::{Model, Product};
use crate::numeric::{Tail, order, tail};
use crate::scenario::{History, Joint, LossMatrix};
use crate::stress;
use crate::units::{Estimate, MicroUsd, ModelError};

/// Positions of one account: (product index, lots), long positive.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Book {
    /// Account name.
    pub account: String,
    /// Lots per product; each product at most once.
    pub lots: Vec<(usize, i64)>,
}

/// How a margin run is done.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Joint scenarios.
    pub scenarios: usize,
    /// Seed.
    pub seed: u64,
    /// Parameter redraws for the uncertainty add-on; 0 leaves it out.
    pub redraws: u64,
    /// Scenarios per redraw.
    pub redraw_scenarios: usize,
    /// Innovations for filtered historical simulation, if there are any.
    pub history: Option<History>,
}

/// Margin of one account and its parts, USD except where a name says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccountMargin {
    /// Account.
    pub account: String,
    /// Expected shortfall at 99 %, Monte Carlo.
    pub es99_mc: Estimate,
    /// The same by filtered historical simulation; `None` without history.
    pub es99_fhs: Option<f64>,
    /// Mean of the three worst stress losses.
    pub stressed_es: f64,
    /// Name of the worst stress scenario.
    pub worst_stress: &'static str,
    /// `0.75 ES + 0.25 stressed ES`.
    pub mixed: f64,
    /// Half spread by size.
    pub liquidity: f64,
    /// Size against daily volume and zone capacity.
    pub concentration: f64,
    /// Replacement of failed deliveries, capped by damages.
    pub delivery: f64,
    /// Joint ES less ES with independent factors, floored at 0; shown, not charged.
    pub wrong_way: f64,
    /// 90th percentile of ES over redrawn parameters, less ES, floored at 0; shown, not charged.
    pub parameter_uncertainty: Option<f64>,
    /// The floor.
    pub floor: f64,
    /// What is charged.
    pub margin_uusd: MicroUsd,
}

/// Margins of all `books`; `progress` counts scenarios done.
///
/// # Errors
/// [`ModelError`] if a product index is out of range or a run has no scenario.
pub fn margins(
    model: &Model,
    books: &[Book],
    settings: &Settings,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<AccountMargin>, ModelError> {
    let unknown = books
        .iter()
        .flat_map(|b| &b.lots)
        .any(|(p, _)| *p >= model.products.len());
    if unknown {
        return Err(ModelError::Shape {
            what: "book (a product that the model does not have)",
        });
    }
    let joint = Joint::new(model)?;
    let run = |joint: &Joint, n: usize, history: Option<&History>| {
        joint.losses(n, settings.seed, history, progress)
    };
    let base = es_of_books(&run(&joint, settings.scenarios, None)?, books)?;
    let alone = Joint::new(&model.independent())?;
    let alone = es_of_books(&run(&alone, settings.scenarios, None)?, books)?;
    let historical = match &settings.history {
        Some(h) => Some(es_of_books(
            &run(&joint, settings.scenarios, Some(h))?,
            books,
        )?),
        None => None,
    };
    let redrawn = redraws(model, books, settings, progress)?;
    let stress_rows = stress::losses(&joint);
    let names = stress::scenarios();
    // The long-run level: the same book with power at its seasonal level.
    let mut long_run = model.clone();
    for zone in &mut long_run.zones {
        zone.x0.value = 0.0;
    }
    let long_run = Joint::new(&long_run)?;
    let long_run = es_of_books(&run(&long_run, settings.scenarios, None)?, books)?;

    let mut margins = Vec::with_capacity(books.len());
    for (i, book) in books.iter().enumerate() {
        let mut stressed: Vec<(f64, &'static str)> = stress_rows
            .iter()
            .zip(&names)
            .map(|(row, s)| {
                (
                    book.lots.iter().map(|(p, n)| *n as f64 * row[*p]).sum(),
                    s.name,
                )
            })
            .collect();
        stressed.sort_by(|a, b| b.0.total_cmp(&a.0));
        let stressed_es = (stressed.iter().take(3).map(|s| s.0).sum::<f64>() / 3.0).max(0.0);
        let es_mc = base[i].es;
        let es_fhs = historical.as_ref().map(|h| h[i].es);
        let es = es_mc.max(es_fhs.unwrap_or(f64::NEG_INFINITY)).max(0.0);
        let mixed = 0.75 * es + 0.25 * stressed_es;
        let floor = model.floor.value * long_run[i].es.max(0.0);
        let mut parts = [0.0; 3];
        for (p, lots) in &book.lots {
            let steps = AddOns::new(model, &model.products[*p])?;
            let size = lots.unsigned_abs() as f64;
            parts[0] += size * rate(&steps.liquidity, size);
            parts[1] += size * rate(&steps.concentration, size);
            if *lots < 0 {
                parts[2] += size * rate(&steps.delivery, size);
            }
        }
        let [liquidity, concentration, delivery] = parts;
        let uncertainty = redrawn.as_ref().map(|draws| {
            let mut es: Vec<f64> = draws.iter().map(|d| d[i].es).collect();
            es.sort_by(f64::total_cmp);
            (es[order(0.9, es.len()) - 1] - es_mc).max(0.0)
        });
        margins.push(AccountMargin {
            account: book.account.clone(),
            es99_mc: Estimate {
                value: es_mc,
                se: base[i].es_se,
                n: settings.scenarios as u64,
            },
            es99_fhs: es_fhs,
            stressed_es,
            worst_stress: stressed.first().map_or("", |s| s.1),
            mixed,
            liquidity,
            concentration,
            delivery,
            wrong_way: (es_mc - alone[i].es).max(0.0),
            parameter_uncertainty: uncertainty,
            floor,
            margin_uusd: MicroUsd::up(mixed.max(floor) + liquidity + concentration + delivery)?,
        });
    }
    Ok(margins)
}

fn redraws(
    model: &Model,
    books: &[Book],
    settings: &Settings,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Option<Vec<Vec<Tail>>>, ModelError> {
    if settings.redraws == 0 {
        return Ok(None);
    }
    (0..settings.redraws)
        .map(|draw| {
            let joint = Joint::new(&model.redrawn(settings.seed, draw))?;
            let matrix = joint.losses(settings.redraw_scenarios, settings.seed, None, progress)?;
            es_of_books(&matrix, books)
        })
        .collect::<Result<Vec<_>, _>>()
        .map(Some)
}

/// VaR and ES at 99 % of every book, in parallel over books; the order of sums within a book is
/// fixed.
///
/// # Errors
/// [`ModelError`] if a loss is not finite.
pub fn es_of_books(matrix: &LossMatrix, books: &[Book]) -> Result<Vec<Tail>, ModelError> {
    books
        .par_iter()
        .map_init(
            || vec![0.0; matrix.scenarios()],
            |losses, book| {
                let lots: Vec<(usize, f64)> =
                    book.lots.iter().map(|(p, n)| (*p, *n as f64)).collect();
                matrix.book_into(&lots, losses);
                tail(losses, 0.99)
            },
        )
        .collect()
}

/// Charges per lot by size of position, USD: the same tables that the parameter set carries.
#[derive(Clone, Debug, PartialEq)]
pub struct AddOns {
    /// (from this many lots, USD per lot): half spread, wider with size.
    pub liquidity: Vec<(u32, f64)>,
    /// Days to close out, and share of the zone.
    pub concentration: Vec<(u32, f64)>,
    /// Replacement cost of a failed delivery, short positions only.
    pub delivery: Vec<(u32, f64)>,
}

impl AddOns {
    /// Tables of one product.
    ///
    /// # Errors
    /// [`ModelError::Shape`] if the product names an unknown class or tier.
    pub fn new(model: &Model, product: &Product) -> Result<Self, ModelError> {
        let unknown = ModelError::Shape {
            what: "product with an unknown class or tier",
        };
        let class = model.class(&product.class).ok_or(unknown.clone())?;
        let tier = model.tier(&product.tier).ok_or(unknown)?;
        let fee = class.price_usd_hour.value * tier.price_fraction * product.share * product.hours;
        let half = fee * product.half_spread;
        let daily_sd = fee * class.sigma.value;
        let volume = lots(product.daily_lots);
        let capacity = lots(0.05 * product.capacity_lots);
        // A position of several days' volume is closed over those days: the spread doubles, and the
        // price moves against it with the root of the extra time.
        let liquidity = vec![(0, half), (volume, 1.5 * half), (5 * volume, 2.0 * half)];
        let concentration = vec![
            (0, 0.0),
            (volume.min(capacity).max(1), 0.5 * daily_sd),
            (5 * volume.min(capacity).max(1), 1.5 * daily_sd),
        ];
        // A seller that fails is replaced at the far side of a market that has lost it: four half
        // spreads, never more than the damages the contract grants.
        let replacement = (4.0 * half).min(tier.damages_cap * fee);
        Ok(Self {
            liquidity,
            concentration,
            delivery: vec![(0, replacement)],
        })
    }
}

/// Rate of the step that a size falls into.
fn rate(steps: &[(u32, f64)], size: f64) -> f64 {
    steps
        .iter()
        .rev()
        .find(|(from, _)| size >= f64::from(*from))
        .map_or(0.0, |(_, usd)| *usd)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the range of the target"
)]
fn lots(x: f64) -> u32 {
    x.clamp(1.0, 2e8) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            scenarios: 4000,
            seed: 3,
            redraws: 5,
            redraw_scenarios: 1000,
            history: None,
        }
    }

    fn books(model: &Model) -> Vec<Book> {
        let p = |name: &str| model.product(name).unwrap();
        let day = p("H100_80_SXM/whole/firm/tx/-/day");
        let week = p("H100_80_SXM/whole/firm/tx/-/week");
        let month = p("H100_80_SXM/whole/firm/tx/-/month");
        let other = p("H100_80_SXM/whole/firm/va/-/month");
        let book = |account: &str, lots: &[(usize, i64)]| Book {
            account: account.into(),
            lots: lots.to_vec(),
        };
        vec![
            book("flat", &[]),
            book("long", &[(day, 100)]),
            book("short", &[(day, -100), (week, -20)]),
            book("hedged", &[(month, 100), (other, -100)]),
        ]
    }

    #[test]
    fn parts_have_the_signs_they_should() {
        let model = Model::default_model();
        let m = margins(&model, &books(&model), &settings(), &|_| {}).unwrap();
        assert_eq!(m[0].margin_uusd, MicroUsd::new(0));
        assert_eq!(m[1].worst_stress, "compute-crash");
        assert_eq!(m[1].delivery, 0.0);
        assert!(m[2].delivery > 0.0 && m[2].liquidity > 0.0);
        // The crash of the long book is the same whatever power does; a short one pays for storms.
        assert!(m[2].worst_stress.contains("storm") || m[2].worst_stress.contains("squeeze"));
        assert!(m[3].es99_mc.value < 0.6 * m[1].es99_mc.value, "{:?}", m[3]);
        assert!(m[2].wrong_way >= 0.0 && m[2].parameter_uncertainty.unwrap() >= 0.0);
        for m in &m[1..] {
            assert!(m.margin_uusd.usd() >= m.mixed && m.es99_mc.se > 0.0);
        }
    }

    #[test]
    fn margins_are_the_same_bits_in_any_order_and_on_any_threads() {
        let model = Model::default_model();
        let settings = Settings {
            redraws: 0,
            ..settings()
        };
        let run = |books: &[Book], threads: usize| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap()
                .install(|| margins(&model, books, &settings, &|_| {}))
                .unwrap()
        };
        let forward = books(&model);
        let mut backward = forward.clone();
        backward.reverse();
        let one = run(&forward, 1);
        let mut many = run(&backward, 16);
        many.reverse();
        assert_eq!(one, many);
    }

    #[test]
    fn an_unknown_product_is_an_error() {
        let model = Model::default_model();
        let book = Book {
            account: "a".into(),
            lots: vec![(9999, 1)],
        };
        assert!(margins(&model, &[book], &settings(), &|_| {}).is_err());
    }

    #[test]
    fn history_counts_when_it_is_worse() {
        let model = Model::default_model();
        let mut power = vec![0.0; 98];
        power.extend([6.0, 6.0]);
        let history = History {
            power,
            compute: vec![4.0; 100],
        };
        let with = Settings {
            history: Some(history),
            redraws: 0,
            ..settings()
        };
        let m = margins(&model, &books(&model), &with, &|_| {}).unwrap();
        let short = &m[2];
        let fhs = short.es99_fhs.unwrap();
        assert!(fhs > short.es99_mc.value, "{short:?}");
        assert!((short.mixed - 0.75 * fhs - 0.25 * short.stressed_es).abs() < 1e-9);
    }
}
