//! Which 48 states of the world stand for the whole tail.
//!
//! A reference book `w`, scaled to an ES99 of 1, is margined at `r(w)`, the mean of the worst three of
//! its losses in the 64 representatives. The 48 are fitted: starting from tail states of 48 reference
//! books they are moved so that `r` is close to 1 for all reference books, with too little weighing
//! more than too much. That is stochastic gradient descent on 48 vectors.
//!
//! Two things make it work. A representative is `C a`, with `C C'` the covariance of the losses, and
//! the descent moves `a`: no representative can move a loss in a direction in which the model never
//! does, so a hedge that the model holds for perfect stays one, and a book of nearly no risk weighs as
//! much as any other. And power jumps, whose tail is heavy, are drawn evenly
//! ([`Joint::even_losses`](crate::scenario::Joint::even_losses)): otherwise the fit learns the noise
//! of one sample.
//!
//! The reference books are random books of the family that judges the result (from other seeds), and
//! hedges of few pairs, nearly perfect ones and those between tenors above all: these are covered worst. A fifth of the former takes no part in the fit and sets its scale
//! at the end.

use rayon::prelude::*;

use super::coverage::{close_hedges, fee, pick, random_books};
use super::{SCENARIOS, STRESS_COVER, TAIL_SCENARIOS, WORST};
use crate::model::Model;
use crate::numeric::{cholesky, dot, mean, order, tail};
use crate::rng::Stream;
use crate::scenario::LossMatrix;
use crate::units::ModelError;

/// Share of the held-out reference books that are covered.
const COVERED: f64 = 0.994;
/// What the cover is above 1 there, because ES99 is itself an estimate.
const SAMPLING: f64 = 0.045;
/// Passes over the reference books.
const EPOCHS: u32 = 60;
/// Books per step of the descent.
const BATCH: usize = 256;
/// Books per task within a batch; fixed, so that sums do not depend on the number of threads.
const TASK: usize = 64;
/// Step of the descent, in units of one standard deviation.
const STEP: f64 = 0.05;

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

/// Chooses the representatives of `matrix` with `books` reference books.
///
/// # Errors
/// [`ModelError`] if a loss is not finite or there are fewer than twice as many reference books as
/// scenarios.
pub fn representatives(
    model: &Model,
    matrix: &LossMatrix,
    stress_rows: &[Vec<f64>],
    books: usize,
    seed: u64,
) -> Result<Representatives, ModelError> {
    let factor = covariance_factor(matrix)?;
    let judged = random_books(model, books, seed);
    let close = close_hedges(model, books / 2, seed);
    let mut reference: Vec<Reference> = close
        .into_iter()
        .chain(judged)
        .collect::<Vec<_>>()
        .into_par_iter()
        .map_init(
            || vec![0.0; matrix.scenarios()],
            |losses, book| Reference::new(model, matrix, &factor, &book.lots, losses),
        )
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect();
    if reference.len() < 2 * SCENARIOS {
        return Err(ModelError::Shape {
            what: "reference books",
        });
    }
    let stress_cover: Vec<f64> = stress_rows
        .iter()
        .map(|row| stress_cover(&reference, row))
        .collect();
    let stresses: Vec<Vec<f64>> = stress_rows
        .iter()
        .zip(&stress_cover)
        .map(|(row, cover)| row.iter().map(|l| l * cover).collect())
        .collect();
    for r in &mut reference {
        r.stress = stresses.iter().map(|row| r.loss(row)).collect();
    }
    let held_out = books / 5;
    let books = reference.len();
    let held_out = reference.split_off(books - held_out);
    let mut rows = fit(&mut reference, matrix.products(), seed);
    let scale = scale(&held_out, &rows);
    for row in &mut rows {
        row.iter_mut().for_each(|a| *a *= scale);
    }
    let mut rows: Vec<Vec<f64>> = rows
        .iter()
        .map(|a| factor.iter().map(|c| dot(c, a)).collect())
        .collect();
    rows.extend(stresses);
    Ok(Representatives {
        rows,
        scale,
        stress_cover,
        books,
    })
}

/// Lower factor of the covariance of the losses. The diagonal is lifted by a billionth, or by more
/// until there is a factor: products may depend on each other exactly.
fn covariance_factor(matrix: &LossMatrix) -> Result<Vec<Vec<f64>>, ModelError> {
    let products = matrix.products();
    let centred: Vec<Vec<f64>> = (0..products)
        .map(|p| {
            let column = matrix.column(p);
            let centre = mean(column);
            column.iter().map(|l| l - centre).collect()
        })
        .collect();
    let covariance: Vec<Vec<f64>> = centred
        .par_iter()
        .map(|a| {
            centred
                .iter()
                .map(|b| dot(a, b) / matrix.scenarios() as f64)
                .collect()
        })
        .collect();
    let largest = (0..products).map(|p| covariance[p][p]).fold(0.0, f64::max);
    if covariance.iter().flatten().any(|c| !c.is_finite()) || largest <= 0.0 {
        return Err(ModelError::Range {
            what: "variance of the losses",
            value: largest,
            rule: "finite and above 0",
        });
    }
    for lift in [1e-9, 1e-7, 1e-5, 1e-3] {
        let mut lifted = covariance.clone();
        for (p, row) in lifted.iter_mut().enumerate() {
            row[p] += lift * row[p].max(1e-12 * largest);
        }
        if let Some(factor) = cholesky(&lifted) {
            return Ok(factor);
        }
    }
    Err(ModelError::Shape {
        what: "covariance of the losses",
    })
}

/// Fraction at which a stress enters: [`STRESS_COVER`], or less where the stress alone would ask more
/// than ES99 of more than 3 % of the reference books.
fn stress_cover(reference: &[Reference], row: &[f64]) -> f64 {
    let mut asked: Vec<f64> = reference.iter().map(|r| r.loss(row)).collect();
    asked.sort_by(f64::total_cmp);
    let high = asked[order(0.97, asked.len()) - 1];
    if high > 1.0 / STRESS_COVER {
        1.0 / high
    } else {
        STRESS_COVER
    }
}

/// A reference book scaled to an ES99 of 1.
struct Reference {
    lots: Vec<(usize, f64)>,
    /// `C' w`: what one unit of each coordinate of a representative costs the book.
    direction: Vec<f64>,
    /// Losses in the stresses.
    stress: Vec<f64>,
}

impl Reference {
    /// `None` for a book that cannot lose a billionth of what it holds.
    fn new(
        model: &Model,
        matrix: &LossMatrix,
        factor: &[Vec<f64>],
        book: &[(usize, f64)],
        losses: &mut [f64],
    ) -> Result<Option<Self>, ModelError> {
        matrix.book_into(book, losses);
        let es = tail(losses, 0.99)?.es;
        let gross: f64 = book.iter().map(|(p, w)| w.abs() * fee(model, *p)).sum();
        if es <= 1e-9 * gross {
            return Ok(None);
        }
        let lots: Vec<(usize, f64)> = book.iter().map(|(p, w)| (*p, w / es)).collect();
        let mut direction = vec![0.0; factor.len()];
        for (p, w) in &lots {
            for (d, c) in direction.iter_mut().zip(&factor[*p]) {
                *d += w * c;
            }
        }
        Ok(Some(Self {
            lots,
            direction,
            stress: Vec::new(),
        }))
    }

    fn loss(&self, row: &[f64]) -> f64 {
        self.lots.iter().map(|(p, w)| w * row[*p]).sum()
    }

    /// Margin with the tail rows times `scale`, and the rows that make it.
    fn margin(&self, rows: &[Vec<f64>], scale: f64) -> (f64, [usize; WORST]) {
        let tails = rows.iter().map(|row| scale * dot(row, &self.direction));
        let mut worst = [(f64::NEG_INFINITY, usize::MAX); WORST];
        for (k, loss) in tails.chain(self.stress.iter().copied()).enumerate() {
            let mut entry = (loss, k);
            for slot in &mut worst {
                if entry.0 > slot.0 {
                    std::mem::swap(slot, &mut entry);
                }
            }
        }
        let sum: f64 = worst.iter().map(|w| w.0).sum();
        (sum / WORST as f64, worst.map(|w| w.1))
    }
}

/// The 48 rows in the coordinates of the factor.
fn fit(reference: &mut [Reference], products: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut stream = Stream::new(seed, 0, 0x3000_0000);
    // The most likely state that costs a book 1.3 of its ES99.
    let mut rows: Vec<Vec<f64>> = (0..TAIL_SCENARIOS)
        .map(|_| {
            let v = &reference[pick(&mut stream, reference.len())].direction;
            let square = dot(v, v).max(f64::MIN_POSITIVE);
            v.iter().map(|x| 1.3 * x / square).collect()
        })
        .collect();
    let mut descent = Descent::new(rows.len(), products);
    let steps = f64::from(EPOCHS) * reference.len().div_ceil(BATCH) as f64;
    for _ in 0..EPOCHS {
        for i in (1..reference.len()).rev() {
            reference.swap(i, pick(&mut stream, i + 1));
        }
        for batch in reference.chunks(BATCH) {
            let parts: Vec<Vec<Vec<f64>>> = batch
                .par_chunks(TASK)
                .map(|books| gradient(books, &rows, products))
                .collect();
            let mut sum = vec![vec![0.0; products]; rows.len()];
            for part in &parts {
                for (sum, part) in sum.iter_mut().zip(part) {
                    for (s, p) in sum.iter_mut().zip(part) {
                        *s += p / batch.len() as f64;
                    }
                }
            }
            descent.step(&mut rows, &sum, steps);
        }
    }
    rows
}

/// Slope of the loss `U0 (1-r) + U1/2 (1-r)² + U3/4 (1-r)⁴` below 1 and `1 - 1/r` above it, summed over books. Above,
/// it flattens: a book that a stress dominates is not worth the others' cover.
fn gradient(books: &[Reference], rows: &[Vec<f64>], products: usize) -> Vec<Vec<f64>> {
    const U0: f64 = 0.1;
    const U1: f64 = 40.0;
    const U3: f64 = 1000.0;
    let mut slope = vec![vec![0.0; products]; rows.len()];
    for book in books {
        let (r, worst) = book.margin(rows, 1.0);
        let by_margin = if r < 1.0 {
            -(U0 + U1 * (1.0 - r) + U3 * (1.0 - r).powi(3))
        } else {
            1.0 / (r * r)
        };
        for k in worst {
            // A stress stands where it is.
            if let Some(slope) = slope.get_mut(k) {
                for (s, v) in slope.iter_mut().zip(&book.direction) {
                    *s += by_margin / WORST as f64 * v;
                }
            }
        }
    }
    slope
}

/// Adaptive moments with a step that falls to zero along a cosine.
///
/// # Source
/// Kingma and Ba, Adam: a method for stochastic optimization (2015).
struct Descent {
    first: Vec<Vec<f64>>,
    second: Vec<Vec<f64>>,
    done: i32,
}

impl Descent {
    fn new(rows: usize, products: usize) -> Self {
        Self {
            first: vec![vec![0.0; products]; rows],
            second: vec![vec![0.0; products]; rows],
            done: 0,
        }
    }

    fn step(&mut self, rows: &mut [Vec<f64>], slope: &[Vec<f64>], steps: f64) {
        const KEEP: f64 = 0.9;
        const KEEP_SQUARE: f64 = 0.999;
        self.done += 1;
        let angle = std::f64::consts::PI * f64::from(self.done) / steps;
        let size = STEP * 0.5 * (1.0 + angle.cos()) / (1.0 - KEEP.powi(self.done));
        let correct = 1.0 - KEEP_SQUARE.powi(self.done);
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((row, slope), (first, second)) in rows.iter_mut().zip(slope).zip(moments) {
            let moments = first.iter_mut().zip(second);
            for ((a, s), (m, v)) in row.iter_mut().zip(slope).zip(moments) {
                *m = KEEP * *m + (1.0 - KEEP) * s;
                *v = KEEP_SQUARE * *v + (1.0 - KEEP_SQUARE) * s * s;
                *a -= size * *m / ((*v / correct).sqrt() + 1e-8);
            }
        }
    }
}

/// Factor on the tail rows at which [`COVERED`] of the held-out books are margined above their ES99.
fn scale(held_out: &[Reference], rows: &[Vec<f64>]) -> f64 {
    let reached = |scale: f64| {
        let mut margins: Vec<f64> = held_out
            .par_iter()
            .map(|r| r.margin(rows, scale).0)
            .collect();
        margins.sort_by(f64::total_cmp);
        margins[order(1.0 - COVERED, margins.len()) - 1]
    };
    let (mut low, mut high) = (0.25, 4.0);
    for _ in 0..30 {
        let mid = 0.5 * (low + high);
        if reached(mid) < 1.0 + SAMPLING {
            low = mid;
        } else {
            high = mid;
        }
    }
    high
}
