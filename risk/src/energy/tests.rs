//! Closed forms against Monte Carlo and quadrature; recovery of known parameters.

use super::*;
use crate::units::MonteCarlo;

const SPIKY: OuJump = OuJump {
    kappa: 0.35,
    sigma: 0.22,
    lambda: 0.06,
    jump_mean: 0.5,
    jump_sd: 0.6,
};

fn check(exact: f64, seed: u64, payoff: impl Fn(&mut Stream) -> f64) {
    let draws: Vec<f64> = (0..40_000)
        .map(|s| payoff(&mut Stream::new(seed, s, 0)))
        .collect();
    let mc = MonteCarlo::mean(&draws, seed).unwrap();
    assert!(
        (mc.value - exact).abs() < 4.0 * mc.se,
        "{mc:?} against {exact}"
    );
}

#[test]
fn the_forward_agrees_with_simulation() {
    for (p, t) in [
        (SPIKY, 2.0),
        (SPIKY, 30.0),
        (
            OuJump {
                lambda: 0.0,
                ..SPIKY
            },
            7.0,
        ),
    ] {
        let exact = p.forward(3.5, 0.4, t).unwrap();
        check(exact, 1, |s| (3.5 + p.draw(0.4, t, s)).exp());
    }
}

#[test]
fn caplets_agree_with_simulation() {
    for (p, t, k, cap) in [
        (SPIKY, 5.0, 60.0, 200.0),
        (SPIKY, 2.0, 30.0, 5000.0),
        (
            OuJump {
                lambda: 0.0,
                ..SPIKY
            },
            7.0,
            40.0,
            90.0,
        ),
    ] {
        let exact = p.capped_caplet(3.5, 0.4, t, k, cap, 0.0001).unwrap();
        check(exact, 2, |s| {
            let price = (3.5 + p.draw(0.4, t, s)).exp();
            (price.min(cap) - k).max(0.0) * (-0.0001 * t).exp()
        });
    }
    assert_eq!(
        SPIKY.capped_caplet(3.5, 0.0, 1.0, 90.0, 90.0, 0.0).unwrap(),
        0.0
    );
}

/// Small steps of the grid have the law of the exact draw, but for jumps that wait for the end of a step.
#[test]
fn the_grid_agrees_with_the_forward() {
    let grid = Grid::new(&SPIKY, 1.0 / 48.0).unwrap();
    check(SPIKY.forward(3.5, 0.4, 2.0).unwrap(), 12, |s| {
        let x = (0..96).fold(0.4, |x, _| grid.step(x, s));
        (3.5 + x).exp()
    });
    assert!(Grid::new(&SPIKY, 0.0).is_err());
}

/// Without jumps the payoff can be integrated over the normal density.
#[test]
fn the_closed_caplet_agrees_with_quadrature_to_1e_9() {
    let p = OuJump {
        lambda: 0.0,
        ..SPIKY
    };
    let (f, x0, t, k) = (3.5, -0.3, 4.0, 35.0);
    let m = f + x0 * (-p.kappa * t).exp();
    let sd = p.diffusive_variance(t).sqrt();
    let from = (f64::ln(k) - m) / sd;
    let exact = integrate(
        |z| normal_pdf(z) * ((m + sd * z).exp() - k),
        from,
        12.0,
        1e-14,
    );
    assert!((p.caplet(f, x0, t, k, 0.0).unwrap() - exact).abs() < 1e-9);
}

/// A rare jump at λ T -> small: condition on at most two jumps with uniform ages.
#[test]
fn the_fourier_caplet_agrees_with_conditioning_on_jumps() {
    let p = OuJump {
        lambda: 0.001,
        ..SPIKY
    };
    let (f, x0, t, k) = (3.5, 0.2, 2.0, 50.0);
    let v = p.diffusive_variance(t);
    let value = |mean: f64, var: f64| black((mean + 0.5 * var).exp(), k, var);
    let base = f + x0 * (-p.kappa * t).exp();
    let age = |u: f64| (-p.kappa * u).exp();
    let one = integrate(
        |u| {
            value(
                base + p.jump_mean * age(u),
                v + (p.jump_sd * age(u)).powi(2),
            ) / t
        },
        0.0,
        t,
        1e-12,
    );
    let two = integrate(
        |u| {
            integrate(
                |w| {
                    let var = v + p.jump_sd.powi(2) * (age(u).powi(2) + age(w).powi(2));
                    value(base + p.jump_mean * (age(u) + age(w)), var) / (t * t)
                },
                0.0,
                t,
                1e-10,
            )
        },
        0.0,
        t,
        1e-10,
    );
    let a = p.lambda * t;
    let exact = (-a).exp() * (value(base, v) + a * one + 0.5 * a * a * two);
    let fourier = p.caplet(f, x0, t, k, 0.0).unwrap();
    // The third jump is worth a^3/6 times some tens of USD.
    assert!((fourier / exact - 1.0).abs() < 1e-6, "{fourier} {exact}");
}

#[test]
fn the_characteristic_function_has_the_right_forward_and_modulus() {
    let cf = |u: Complex64| SPIKY.characteristic(u, 0.4, 10.0);
    let forward = SPIKY.forward(0.0, 0.4, 10.0).unwrap();
    assert!((cf(-Complex64::i()).re / forward - 1.0).abs() < 1e-9);
    for u in [0.0, 0.5, 3.0, 40.0] {
        assert!(cf(Complex64::new(u, 0.0)).norm() <= 1.0 + 1e-12);
    }
}

/// Daily prices with a known season and mixture innovations, with gaps.
fn generated(days: i64, seed: u64) -> Vec<Point> {
    let season = Season {
        origin: 18_000,
        interval: Interval::Day,
        coefficients: vec![3.6, 0.05, 0.2, -0.1, 0.08, 0.03, -0.12],
    };
    let mut stream = Stream::new(seed, 0, 0);
    let mut x = 0.0;
    let mut points = Vec::new();
    for day in 18_000..18_000 + days {
        let law = NormalMixture {
            weight: 0.05,
            mean: [0.7 * x, 0.7 * x + 0.5],
            sd: [0.18, 0.7],
        };
        x = law.draw(&mut stream);
        if day % 97 != 5 {
            points.push(Point {
                index: day,
                price: (season.at(day) + x).exp(),
            });
        }
    }
    points
}

#[test]
fn both_estimators_recover_known_parameters() {
    let points = generated(3000, 4);
    let ml = calibrate_likelihood(&points, Interval::Day, Transform::Ln).unwrap();
    let within = |e: Estimate, truth: f64| (e.value - truth).abs() < 4.0 * e.se;
    assert!(within(ml.phi, 0.7), "{:?}", ml.phi);
    assert!(within(ml.lambda, 0.05), "{:?}", ml.lambda);
    assert!(within(ml.jump_mean, 0.5), "{:?}", ml.jump_mean);
    assert!(within(ml.jump_sd, 0.7), "{:?}", ml.jump_sd);
    let sigma = 0.18 * (2.0 * -f64::ln(0.7) / (1.0 - 0.49)).sqrt();
    assert!(within(ml.sigma, sigma), "{:?}", ml.sigma);
    let filtered = calibrate_filtered(&points, Interval::Day, Transform::Ln).unwrap();
    assert!(within(filtered.phi, 0.7), "{:?}", filtered.phi);
    // The filter sees only jumps beyond three standard deviations: rarer and larger, by design.
    assert!(filtered.lambda.value < 0.05 && filtered.lambda.value > 0.02);
    assert!(ml.log_likelihood >= filtered.log_likelihood);
    assert_eq!(filtered.dropped, 0);
    assert_eq!(filtered.used, points.len() as u64);
}

#[test]
fn hourly_prices_may_be_negative() {
    let mut stream = Stream::new(9, 0, 0);
    let mut x = 0.0;
    let points: Vec<Point> = (0..3000_i64)
        .map(|hour| {
            x = 0.8 * x + 0.4 * stream.normal();
            let daily = 0.5 * (hour.rem_euclid(24) as f64 / 24.0 * std::f64::consts::TAU).sin();
            Point {
                index: 430_000 + hour,
                price: 20.0 * (0.3 + daily + x).sinh(),
            }
        })
        .collect();
    assert!(points.iter().any(|p| p.price < 0.0));
    let fit =
        calibrate_filtered(&points, Interval::Hour, Transform::Asinh { scale: 20.0 }).unwrap();
    // Thirty seasonal coefficients take a little of the reversion with them.
    assert!(
        (fit.phi.value - 0.8).abs() < 5.0 * fit.phi.se,
        "{:?}",
        fit.phi
    );
    assert!((fit.kappa.value + 24.0 * fit.phi.value.ln()).abs() < 1e-9);
    let ln = calibrate_filtered(&points, Interval::Hour, Transform::Ln).unwrap();
    assert!(ln.dropped > 100);
}

#[test]
fn bad_series_are_named() {
    let fit = |points: &[Point]| calibrate_filtered(points, Interval::Day, Transform::Ln);
    assert!(matches!(fit(&[]), Err(FitError::TooFew { .. })));
    let flat: Vec<Point> = (0..400)
        .map(|i| Point {
            index: i,
            price: 30.0,
        })
        .collect();
    assert!(fit(&flat).is_err());
    let nan: Vec<Point> = (0..400)
        .map(|i| Point {
            index: i,
            price: f64::NAN,
        })
        .collect();
    assert!(fit(&nan).is_err());
    let gaps: Vec<Point> = generated(800, 1).into_iter().step_by(2).collect();
    assert!(matches!(fit(&gaps), Err(FitError::TooFew { .. })));
}

#[test]
fn caps_change_by_date() {
    let table = CapTable::ercot();
    assert_eq!(table.clamp(18_992, 9_500.0), 9000.0);
    assert_eq!(table.clamp(18_993, 9_500.0), 5000.0);
    assert_eq!(table.clamp(18_993, -500.0), -251.0);
    assert!(
        CapTable::new(vec![CapEntry {
            from_day: 0,
            cap: 1.0,
            floor: 1.0
        }])
        .is_err()
    );
}

#[test]
fn exposure_of_a_gpu_hour() {
    let mwh = gpu_hour_mwh(700.0, 1.5, 1.3).unwrap();
    assert!((mwh - 0.001_365).abs() < 1e-12);
    // At 5,000 USD/MWh an hour costs 6.8 USD: more than the rent.
    assert!((mwh * 5000.0 - 6.825).abs() < 1e-9);
    assert!((break_even_price(2.4, mwh).unwrap() - 1_758.241_758).abs() < 1e-5);
    assert!(
        (realised_cap(&[10.0, 60.0, 9000.0], 50.0, 5000.0).unwrap() - 4960.0 / 3.0).abs() < 1e-9
    );
    assert!(realised_cap(&[], 1.0, 2.0).is_err());
}
