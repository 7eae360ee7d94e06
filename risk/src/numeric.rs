//! The numerical tools that several models share: tail statistics, quadrature, maximisation, least
//! squares and a few distribution functions.

use libm::{erfc, lgamma};
use statrs::function::gamma::gamma_ur;

use crate::units::{FitError, ModelError, open_unit};

/// Distribution function of the standard normal, relative error about 1e-15 in the lower tail too
/// (`statrs` stops at 1e-11).
#[must_use]
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// Density of the standard normal.
#[must_use]
pub fn normal_pdf(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// Upper tail of the chi-square distribution with `df` degrees of freedom; 1 at or below 0.
#[must_use]
pub fn chi_square_p(statistic: f64, df: f64) -> f64 {
    if statistic <= 0.0 {
        1.0
    } else {
        gamma_ur(df / 2.0, statistic / 2.0)
    }
}

/// `ln Γ(x)` for positive `x`.
#[must_use]
pub fn ln_gamma(x: f64) -> f64 {
    lgamma(x)
}

/// `ln n!`, with the gamma function between the whole numbers.
#[must_use]
pub fn ln_factorial(n: f64) -> f64 {
    lgamma(n + 1.0)
}

/// Value at risk and expected shortfall of a sample of losses.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Tail {
    /// The ceil(q n)-th smallest loss.
    pub var: f64,
    /// Mean of the worst (1-q) n losses, the boundary loss with its fractional weight.
    pub es: f64,
    /// Standard error of `es`, from the spread beyond `var` and of the boundary itself.
    pub es_se: f64,
}

/// Tail statistics at level `q`; sorts `losses`.
///
/// # Errors
/// [`ModelError::Shape`] if `losses` is empty, [`ModelError::Range`] if `q` is not in (0, 1) or a
/// loss is not finite.
///
/// # Source
/// `docs/risk.md`, conventions; Acerbi and Tasche 2002.
pub fn tail(losses: &mut [f64], q: f64) -> Result<Tail, ModelError> {
    open_unit("level", q)?;
    if losses.is_empty() {
        return Err(ModelError::Shape { what: "losses" });
    }
    if let Some(bad) = losses.iter().find(|x| !x.is_finite()) {
        return Err(ModelError::Range {
            what: "loss",
            value: *bad,
            rule: "finite",
        });
    }
    let n = losses.len();
    let k = order(q, n);
    // Only the part beyond the boundary needs an order; the sum below wants a fixed one, so that
    // equal samples give equal bits whatever order they came in.
    losses.select_nth_unstable_by(k - 1, f64::total_cmp);
    let var = losses[k - 1];
    losses[k..].sort_unstable_by(f64::total_cmp);
    let beyond = &losses[k..];
    let mass = (1.0 - q) * n as f64;
    let sum: f64 = beyond.iter().sum();
    let es = if beyond.is_empty() {
        var
    } else {
        (sum + (mass - beyond.len() as f64).max(0.0) * var) / mass
    };
    let m = beyond.len() as f64;
    let es_se = if beyond.len() < 2 {
        f64::INFINITY
    } else {
        // Variance of the mean excess, plus that of the boundary: Var(ES) = (s² + q (ES-VaR)²) / m.
        let mean = sum / m;
        let s2 = beyond.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (m - 1.0);
        ((s2 + q * (mean - var).powi(2)) / m).sqrt()
    };
    Ok(Tail { var, es, es_se })
}

/// The rank ceil(q n), at least 1 and at most n. A product that is whole but for rounding counts as
/// whole: 0.99 times 100 is rank 99.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 1 and n by the clamp"
)]
pub fn order(q: f64, n: usize) -> usize {
    let exact = q * n as f64;
    let nearest = exact.round();
    let rank = if (exact - nearest).abs() < 1e-9 * (1.0 + nearest) {
        nearest
    } else {
        exact.ceil()
    };
    (rank.max(1.0) as usize).min(n)
}

/// Mean; NaN of nothing.
#[must_use]
pub fn mean(xs: &[f64]) -> f64 {
    xs.iter().sum::<f64>() / xs.len() as f64
}

/// Variance with divisor n - 1; NaN with fewer than two.
#[must_use]
pub fn variance(xs: &[f64]) -> f64 {
    let m = mean(xs);
    xs.iter().map(|x| (x - m).powi(2)).sum::<f64>() / (xs.len() as f64 - 1.0)
}

/// Population standard deviation (divisor n).
#[must_use]
pub fn population_sd(xs: &[f64]) -> f64 {
    let m = mean(xs);
    (xs.iter().map(|x| (x - m).powi(2)).sum::<f64>() / xs.len() as f64).sqrt()
}

/// Integral of `f` from `a` to `b`, to about `tolerance` absolute.
///
/// Adaptive bisection with 15-point Gauss-Legendre against its halves; 60 levels at most, so a jump
/// inside the interval costs work, not an endless loop.
pub fn integrate(f: impl Fn(f64) -> f64, a: f64, b: f64, tolerance: f64) -> f64 {
    fn go(f: &dyn Fn(f64) -> f64, a: f64, b: f64, whole: f64, tolerance: f64, depth: u32) -> f64 {
        let mid = 0.5 * (a + b);
        let left = panel(f, a, mid);
        let right = panel(f, mid, b);
        if depth == 0 || (left + right - whole).abs() <= tolerance {
            return left + right;
        }
        go(f, a, mid, left, 0.5 * tolerance, depth - 1)
            + go(f, mid, b, right, 0.5 * tolerance, depth - 1)
    }
    let whole = panel(&f, a, b);
    go(&f, a, b, whole, tolerance, 60)
}

/// 15-point Gauss-Legendre on one interval: exact for polynomials up to degree 29.
pub fn panel(f: &dyn Fn(f64) -> f64, a: f64, b: f64) -> f64 {
    let centre = 0.5 * (a + b);
    let half = 0.5 * (b - a);
    let mut sum = GL_W[0] * f(centre);
    for (x, w) in GL_X[1..].iter().zip(&GL_W[1..]) {
        sum += w * (f(centre - half * x) + f(centre + half * x));
    }
    half * sum
}

/// Nodes and weights of [`panel`] on [-1, 1], for callers that need more than one value per node.
#[must_use]
pub fn legendre() -> Vec<(f64, f64)> {
    let mut all = vec![(0.0, GL_W[0])];
    for (x, w) in GL_X[1..].iter().zip(&GL_W[1..]) {
        all.push((-x, *w));
        all.push((*x, *w));
    }
    all
}

const GL_X: [f64; 8] = [
    0.0,
    0.201_194_093_997_434_52,
    0.394_151_347_077_563_4,
    0.570_972_172_608_538_8,
    0.724_417_731_360_170_1,
    0.848_206_583_410_427_2,
    0.937_273_392_400_706,
    0.987_992_518_020_485_4,
];
const GL_W: [f64; 8] = [
    0.202_578_241_925_561_27,
    0.198_431_485_327_111_57,
    0.186_161_000_015_562_2,
    0.166_269_205_816_993_92,
    0.139_570_677_926_154_3,
    0.107_159_220_467_171_94,
    0.070_366_047_488_108_12,
    0.030_753_241_996_117_27,
];

/// A maximum of a log-likelihood: where, how high, and the standard errors there.
#[derive(Clone, Debug)]
pub struct Maximum {
    /// Parameters.
    pub at: Vec<f64>,
    /// Value of the function.
    pub value: f64,
    /// Standard errors from the observed information (inverse of the negative Hessian); infinite
    /// where the function is flat.
    pub se: Vec<f64>,
}

/// Maximises `f` from `start`; `scale` is a first step per parameter. `f` may return -infinity or
/// NaN outside its domain.
///
/// Nelder-Mead, restarted until a restart gains nothing, then a Hessian by central differences: the
/// likelihoods here have at most seven parameters and kinks at the border of their domain, which
/// gradient methods do not like.
///
/// # Errors
/// [`FitError::NoMaximum`] if no finite value is found.
pub fn maximise(
    what: &'static str,
    f: impl Fn(&[f64]) -> f64,
    start: &[f64],
    scale: &[f64],
) -> Result<Maximum, FitError> {
    let cost = |x: &[f64]| {
        let value = f(x);
        if value.is_finite() {
            -value
        } else {
            f64::INFINITY
        }
    };
    let mut best = start.to_vec();
    let mut low = cost(&best);
    for _ in 0..20 {
        let (at, value) = simplex(&cost, &best, scale);
        let gain = low - value;
        (best, low) = (at, value);
        if gain.abs() < 1e-10 * (1.0 + low.abs()) {
            break;
        }
    }
    if !low.is_finite() {
        return Err(FitError::NoMaximum { what });
    }
    let se = observed_se(&f, &best, scale);
    Ok(Maximum {
        at: best,
        value: -low,
        se,
    })
}

fn simplex(cost: &dyn Fn(&[f64]) -> f64, start: &[f64], scale: &[f64]) -> (Vec<f64>, f64) {
    let n = start.len();
    let mut points: Vec<(f64, Vec<f64>)> = Vec::with_capacity(n + 1);
    points.push((cost(start), start.to_vec()));
    for i in 0..n {
        let mut x = start.to_vec();
        x[i] += scale[i];
        points.push((cost(&x), x));
    }
    for _ in 0..400 * n {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let spread = points[n].0 - points[0].0;
        let size = (0..n)
            .map(|i| (points[n].1[i] - points[0].1[i]).abs() / scale[i].abs())
            .fold(0.0, f64::max);
        if spread.abs() <= 1e-13 * (1.0 + points[0].0.abs()) && size < 1e-7 {
            break;
        }
        let centre: Vec<f64> = (0..n)
            .map(|i| points[..n].iter().map(|p| p.1[i]).sum::<f64>() / n as f64)
            .collect();
        let worst = points[n].1.clone();
        let towards = |t: f64| -> (f64, Vec<f64>) {
            let x: Vec<f64> = centre
                .iter()
                .zip(&worst)
                .map(|(c, w)| c + t * (w - c))
                .collect();
            (cost(&x), x)
        };
        let reflected = towards(-1.0);
        if reflected.0 < points[0].0 {
            let expanded = towards(-2.0);
            points[n] = if expanded.0 < reflected.0 {
                expanded
            } else {
                reflected
            };
        } else if reflected.0 < points[n - 1].0 {
            points[n] = reflected;
        } else {
            let inside = reflected.0 >= points[n].0;
            let contracted = towards(if inside { 0.5 } else { -0.5 });
            if contracted.0 < points[n].0.min(reflected.0) {
                points[n] = contracted;
            } else {
                let best = points[0].1.clone();
                for point in &mut points[1..] {
                    for (x, b) in point.1.iter_mut().zip(&best) {
                        *x = b + 0.5 * (*x - b);
                    }
                    point.0 = cost(&point.1);
                }
            }
        }
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (value, at) = points.swap_remove(0);
    (at, value)
}

fn observed_se(f: &dyn Fn(&[f64]) -> f64, at: &[f64], scale: &[f64]) -> Vec<f64> {
    let n = at.len();
    let step: Vec<f64> = (0..n)
        .map(|i| 1e-4 * at[i].abs().max(0.1 * scale[i].abs()))
        .collect();
    let eval = |moves: &[(usize, f64)]| {
        let mut x = at.to_vec();
        for (i, t) in moves {
            x[*i] += t * step[*i];
        }
        f(&x)
    };
    let mut information = vec![vec![0.0; n]; n];
    let here = f(at);
    for i in 0..n {
        for j in 0..=i {
            let second = if i == j {
                (eval(&[(i, 1.0)]) - 2.0 * here + eval(&[(i, -1.0)])) / step[i].powi(2)
            } else {
                let corner = |a, b| eval(&[(i, a), (j, b)]);
                (corner(1.0, 1.0) - corner(1.0, -1.0) - corner(-1.0, 1.0) + corner(-1.0, -1.0))
                    / (4.0 * step[i] * step[j])
            };
            information[i][j] = -second;
            information[j][i] = -second;
        }
    }
    match cholesky(&information) {
        Some(lower) => inverse_diagonal(&lower)
            .into_iter()
            .map(f64::sqrt)
            .collect(),
        None => vec![f64::INFINITY; n],
    }
}

/// Ordinary least squares.
#[derive(Clone, Debug)]
pub struct Ols {
    /// One coefficient per column.
    pub beta: Vec<f64>,
    /// Standard errors under independent errors of equal variance.
    pub se: Vec<f64>,
    /// Response minus fit, one per row.
    pub residuals: Vec<f64>,
}

/// Least squares of `y` on the rows of `x` by modified Gram-Schmidt, which keeps the digits that the
/// normal equations lose.
///
/// # Errors
/// [`FitError::TooFew`] without more rows than columns, [`FitError::NoMaximum`] if columns are
/// linearly dependent.
pub fn ols(x: &[Vec<f64>], y: &[f64]) -> Result<Ols, FitError> {
    let what = "least squares";
    let columns = x.first().map_or(0, Vec::len);
    if x.len() <= columns || x.len() != y.len() || columns == 0 {
        return Err(FitError::TooFew {
            what,
            found: x.len(),
            needed: columns + 1,
        });
    }
    let mut q: Vec<Vec<f64>> = (0..columns)
        .map(|j| x.iter().map(|row| row[j]).collect())
        .collect();
    let mut r = vec![vec![0.0; columns]; columns];
    let mut rest = y.to_vec();
    let mut z = vec![0.0; columns];
    for j in 0..columns {
        let before = dot(&q[j], &q[j]).sqrt();
        // Twice is enough: a second pass removes what rounding left of the earlier columns.
        for _ in 0..2 {
            for k in 0..j {
                let (done, todo) = q.split_at_mut(j);
                let along = dot(&done[k], &todo[0]);
                r[k][j] += along;
                todo[0]
                    .iter_mut()
                    .zip(&done[k])
                    .for_each(|(a, b)| *a -= along * b);
            }
        }
        let norm = dot(&q[j], &q[j]).sqrt();
        if norm.is_nan() || norm <= 1e-10 * before {
            return Err(FitError::NoMaximum { what });
        }
        r[j][j] = norm;
        q[j].iter_mut().for_each(|a| *a /= norm);
        z[j] = dot(&q[j], &rest);
        let along = z[j];
        rest.iter_mut()
            .zip(&q[j])
            .for_each(|(a, b)| *a -= along * b);
    }
    let solve = |right: &[f64]| -> Vec<f64> {
        let mut b = right.to_vec();
        for i in (0..columns).rev() {
            let known: f64 = (i + 1..columns).map(|k| r[i][k] * b[k]).sum();
            b[i] = (b[i] - known) / r[i][i];
        }
        b
    };
    let beta = solve(&z);
    let s2 = dot(&rest, &rest) / (x.len() - columns) as f64;
    let mut var = vec![0.0; columns];
    for j in 0..columns {
        let mut unit = vec![0.0; columns];
        unit[j] = 1.0;
        for (v, c) in var.iter_mut().zip(solve(&unit)) {
            *v += c * c;
        }
    }
    Ok(Ols {
        beta,
        se: var.into_iter().map(|v| (v * s2).sqrt()).collect(),
        residuals: rest,
    })
}

/// Inner product.
#[must_use]
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Lower factor of a symmetric positive definite matrix, or `None` if it is not one.
#[must_use]
pub fn cholesky(a: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let n = a.len();
    let mut l = vec![vec![0.0; n]; n];
    for i in 0..n {
        for j in 0..=i {
            let sum = a[i][j] - dot(&l[i][..j], &l[j][..j]);
            if i == j {
                if sum.is_nan() || sum <= 0.0 {
                    return None;
                }
                l[i][i] = sum.sqrt();
            } else {
                l[i][j] = sum / l[j][j];
            }
        }
    }
    Some(l)
}

fn inverse_diagonal(l: &[Vec<f64>]) -> Vec<f64> {
    let n = l.len();
    let mut diagonal = vec![0.0; n];
    for unit in 0..n {
        let mut column = vec![0.0; n];
        for i in unit..n {
            let known = dot(&l[i][unit..i], &column[unit..i]);
            column[i] = (f64::from(u8::from(i == unit)) - known) / l[i][i];
        }
        diagonal[unit] = dot(&column, &column);
    }
    diagonal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_follows_the_conventions() {
        let check = |n: u32, q: f64, var: f64, es: f64| {
            let mut losses: Vec<f64> = (1..=n).rev().map(f64::from).collect();
            let tail = tail(&mut losses, q).unwrap();
            assert_eq!(tail.var, var);
            assert!((tail.es - es).abs() < 1e-12, "{} {es}", tail.es);
        };
        check(100, 0.99, 99.0, 100.0);
        check(200, 0.99, 198.0, 199.5);
        // (1-q) n = 1.5: the largest in full, the boundary with half its weight.
        check(150, 0.99, 149.0, (150.0 + 0.5 * 149.0) / 1.5);
        check(10, 0.99, 10.0, 10.0);
        assert!(tail(&mut [f64::NAN], 0.9).is_err());
        assert!(tail(&mut [], 0.9).is_err());
    }

    #[test]
    fn quadrature_is_exact_where_the_answer_is_known() {
        let pi = integrate(|x| 4.0 / (1.0 + x * x), 0.0, 1.0, 1e-14);
        assert!((pi - std::f64::consts::PI).abs() < 1e-13);
        let kink = integrate(|x| (x - 0.3).abs(), 0.0, 1.0, 1e-13);
        assert!((kink - 0.29).abs() < 1e-11);
        let weights: f64 = legendre().iter().map(|(_, w)| w).sum();
        assert!((weights - 2.0).abs() < 1e-14);
    }

    #[test]
    fn least_squares_recovers_an_exact_line_and_refuses_dependent_columns() {
        let x: Vec<Vec<f64>> = (0..20).map(|i| vec![1.0, 1e6 + f64::from(i)]).collect();
        let y: Vec<f64> = (0..20).map(|i| 3.0 + 2.0 * f64::from(i)).collect();
        let fit = ols(&x, &y).unwrap();
        assert!((fit.beta[1] - 2.0).abs() < 1e-9);
        let twice: Vec<Vec<f64>> = (0..20)
            .map(|i| vec![f64::from(i), 2.0 * f64::from(i)])
            .collect();
        assert!(matches!(ols(&twice, &y), Err(FitError::NoMaximum { .. })));
    }

    #[test]
    fn the_maximiser_finds_a_normal_fit_and_its_standard_errors() {
        let data: Vec<f64> = (0..100).map(|i| f64::from(i % 10)).collect();
        let f = |p: &[f64]| -> f64 {
            if p[1] <= 0.0 {
                return f64::NEG_INFINITY;
            }
            data.iter()
                .map(|x| -p[1].ln() - 0.5 * ((x - p[0]) / p[1]).powi(2))
                .sum()
        };
        let fit = maximise("normal", f, &[0.0, 1.0], &[1.0, 0.5]).unwrap();
        let sd = population_sd(&data);
        assert!((fit.at[0] - 4.5).abs() < 1e-5 && (fit.at[1] - sd).abs() < 1e-5);
        assert!((fit.se[0] - sd / 10.0).abs() < 1e-4);
        assert!((fit.se[1] - sd / 200_f64.sqrt()).abs() < 1e-4);
    }
}
