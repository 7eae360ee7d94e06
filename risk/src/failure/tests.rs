//! Closed forms against simulation and against each other; recovery of known parameters.

use super::*;
use crate::sla::downtime;
use crate::units::MonteCarlo;

/// A probability from `n` yes-no draws must be within four standard errors of the closed form.
fn check_probability(exact: f64, n: u64, hit: impl Fn(u64) -> bool) {
    let draws: Vec<f64> = (0..n).map(|s| f64::from(u8::from(hit(s)))).collect();
    let mc = MonteCarlo::mean(&draws, 0).unwrap();
    let se = (exact * (1.0 - exact) / n as f64).sqrt();
    assert!(
        (mc.value - exact).abs() < 4.0 * se,
        "{} against {exact}",
        mc.value
    );
}

#[test]
fn takacs_agrees_with_simulated_downtime() {
    for (window, rate, repair_rate, d) in [
        (720.0, 0.01, 0.5, 10.0),
        (100.0, 0.05, 0.02, 60.0),
        (24.0, 0.1, 3.0, 0.0),
    ] {
        let exact = downtime_cdf(d, window, rate, repair_rate).unwrap();
        check_probability(exact, 20_000, |s| {
            let mut stream = Stream::new(3, s, 1);
            let repair = Repair::Exponential { rate: repair_rate };
            downtime(window, Baseline::Exponential { rate }, &repair, &mut stream) <= d
        });
    }
}

/// The density of the downtime integrates to the mean that the two-state chain gives.
#[test]
fn takacs_has_the_mean_of_the_two_state_chain() {
    let (window, rate, repair_rate) = (300.0_f64, 0.02_f64, 0.1_f64);
    let mean = integrate(
        |d| 1.0 - downtime_cdf(d, window, rate, repair_rate).unwrap(),
        0.0,
        window,
        1e-10,
    );
    let total = rate + repair_rate;
    let exact = rate / total * (window - -(-total * window).exp_m1() / total);
    assert!((mean - exact).abs() < 1e-7, "{mean} {exact}");
}

#[test]
fn takacs_survives_long_windows_and_the_ends() {
    let p = downtime_cdf(4000.0, 80_000.0, 0.05, 1.0).unwrap();
    assert!((0.0..=1.0).contains(&p) && p > 0.5, "{p}");
    assert_eq!(downtime_cdf(5.0, 5.0, 1.0, 1.0).unwrap(), 1.0);
    let none = downtime_cdf(0.0, 5.0, 0.1, 1.0).unwrap();
    assert!((none - (-0.5_f64).exp()).abs() < 1e-15);
    assert!(downtime_cdf(f64::NAN, 5.0, 0.1, 1.0).is_err());
}

#[test]
fn pools_with_and_without_a_shock_agree_with_simulation() {
    let (s, n, rate, c, t) = (2, 12, 0.01, 0.004, 10.0);
    check_probability(more_than_down(s, n, rate, t).unwrap(), 20_000, |k| {
        let mut stream = Stream::new(4, k, 0);
        (0..n).filter(|_| stream.exponential(rate) < t).count() > s as usize
    });
    check_probability(
        more_than_down_with_shock(s, n, rate, c, t).unwrap(),
        20_000,
        |k| {
            let mut stream = Stream::new(5, k, 0);
            let shock = stream.exponential(c) < t;
            shock || (0..n).filter(|_| stream.exponential(rate) < t).count() > s as usize
        },
    );
    assert_eq!(more_than_down_with_shock(12, 12, rate, c, t).unwrap(), 0.0);
    check_probability(marshall_olkin(20.0, 30.0, 0.01, 0.02, 0.005), 20_000, |k| {
        let mut stream = Stream::new(6, k, 0);
        let (one, two, both) = (
            stream.exponential(0.01),
            stream.exponential(0.02),
            stream.exponential(0.005),
        );
        one.min(both) > 20.0 && two.min(both) > 30.0
    });
}

#[test]
fn the_copula_agrees_with_simulation_and_its_limits() {
    let (s, n, p, rho) = (3_u32, 40_u32, 0.03, 0.3);
    let exact = copula_more_than(s, n, p, rho).unwrap();
    let barrier = normal_quantile(p);
    check_probability(exact, 20_000, |k| {
        let mut stream = Stream::new(7, k, 0);
        let m = stream.normal();
        (0..n)
            .filter(|_| f64::sqrt(rho) * m + f64::sqrt(1.0 - rho) * stream.normal() < barrier)
            .count()
            > s as usize
    });
    let independent = copula_more_than(s, n, p, 0.0).unwrap();
    assert!((independent - binomial_above(s, n, p)).abs() < 1e-12);
    // A pool of 20,000 is nearly the infinite one.
    let q = large_pool_quantile(0.05, 0.2, 0.99).unwrap();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of 20,000"
    )]
    let rank = (q * 20_000.0) as u32;
    let beyond = copula_more_than(rank, 20_000, 0.05, 0.2).unwrap();
    assert!((beyond - 0.01).abs() < 2e-4, "{beyond}");
}

#[test]
fn checkpoint_intervals_minimise_the_slowdown() {
    let (cost, mtbf) = (0.1, 24.0);
    let daly = checkpoint_daly(cost, mtbf).unwrap();
    assert!((checkpoint_young(cost, mtbf).unwrap() - 4.8_f64.sqrt()).abs() < 1e-12);
    let at = |tau| checkpoint_slowdown(tau, cost, mtbf, 0.2).unwrap();
    let best = (1..4000)
        .map(|i| at(f64::from(i) * 0.002))
        .fold(f64::INFINITY, f64::min);
    assert!(at(daly) < best * 1.0001 && at(daly) >= best * 0.999_999);
    assert_eq!(checkpoint_daly(50.0, 24.0).unwrap(), 24.0);
}

#[test]
fn the_failure_charge_is_the_expected_lost_work() {
    let hazard = [0.02, 0.0, 0.05, 0.01];
    let charge = failure_charge(&hazard, MicroUsd::new(2_000_000)).unwrap();
    let draws: Vec<f64> = (0..40_000)
        .map(|s| {
            let mut stream = Stream::new(8, s, 0);
            hazard
                .iter()
                .position(|h| stream.uniform() < 1.0 - (-h).exp())
                .map_or(0.0, |h| 2.0 * (4 - h) as f64)
        })
        .collect();
    let mc = MonteCarlo::mean(&draws, 8).unwrap();
    assert!((mc.value - charge.usd()).abs() < 4.0 * mc.se);
    assert!(failure_charge(&[], MicroUsd::new(1)).is_err());
    assert!(failure_charge(&[f64::NAN], MicroUsd::new(1)).is_err());
}

fn lemons() -> Pool {
    Pool {
        baseline: Baseline::Exponential { rate: 0.004 },
        frailty: Some(0.8),
        factors: vec![1.0; 400],
        shocks: vec![Shock {
            rate: 0.03,
            first: 100,
            nodes: 60,
            hit: 0.3,
        }],
        repair: Repair::Lognormal {
            mu: -0.5,
            sigma: 1.4,
        },
    }
}

#[test]
fn a_simulated_pool_gives_back_its_parameters() {
    let pool = Pool {
        shocks: Vec::new(),
        ..lemons()
    };
    let episodes = pool.simulate(350.0, 21, 0).unwrap();
    let fit = estimate_pool(&episodes, 400, 350.0).unwrap();
    // The spread of the frailty adds to the Poisson error of the mean rate: 1/r per node.
    let se = fit.rate.se.hypot(0.004 / (0.8_f64 * 400.0).sqrt());
    assert!((fit.rate.value - 0.004).abs() < 4.0 * se, "{:?}", fit.rate);
    let r = fit_negative_binomial(&fit.counts).unwrap();
    assert!((r.value - 0.8).abs() < 4.0 * r.se, "{r:?}");
    let repairs: Vec<f64> = episodes.iter().map(|e| e.end - e.start).collect();
    let fit = crate::repair::fit_repair(&repairs).unwrap();
    assert!((fit.mu.value + 0.5).abs() < 4.0 * fit.mu.se);
}

/// The four features that a plain exponential model misses are there, and absent when switched off.
#[test]
fn lemons_and_shocks_leave_their_marks() {
    let clustered = Pool {
        baseline: Baseline::Weibull {
            shape: 0.7,
            scale: 200.0,
        },
        ..lemons()
    };
    let with = clustered.simulate(350.0, 22, 0).unwrap();
    let plain = Pool {
        frailty: None,
        shocks: Vec::new(),
        repair: Repair::Exponential { rate: 1.0 },
        ..lemons()
    };
    let without = plain.simulate(350.0, 22, 0).unwrap();
    let marks = |episodes: &[Episode]| {
        let pool = estimate_pool(episodes, 400, 350.0).unwrap();
        let starts: Vec<f64> = episodes.iter().map(|e| e.start).collect();
        let shocks = shock_days(&starts, 350.0).unwrap();
        let mut gaps = Vec::new();
        for node in 0..400 {
            let own: Vec<&Episode> = episodes.iter().filter(|e| e.node == node).collect();
            gaps.extend(own.windows(2).map(|w| Lifetime {
                length: w[1].start - w[0].end,
                ended: true,
            }));
            gaps.extend(own.last().filter(|e| e.end < 350.0).map(|e| Lifetime {
                length: 350.0 - e.end,
                ended: false,
            }));
        }
        let gaps = fit_weibull(&gaps).unwrap();
        (
            pool.dispersion,
            shocks.variance / shocks.mean,
            gaps.shape.value,
            gaps.p,
        )
    };
    let (dispersion, daily, shape, p) = marks(&with);
    assert!(
        dispersion > 2.0 && daily > 2.0 && shape < 0.9 && p < 1e-4,
        "{dispersion} {daily} {shape} {p}"
    );
    let (dispersion, daily, shape, p) = marks(&without);
    assert!(
        dispersion < 1.3 && daily < 1.3 && (shape - 1.0).abs() < 0.15 && p > 1e-4,
        "{dispersion} {daily} {shape} {p}"
    );
}

#[test]
fn weibull_with_censoring_comes_back_within_four_errors() {
    for (shape, scale) in [(0.6, 900.0), (1.0, 5.0), (2.5, 0.01)] {
        let mut stream = Stream::new(30, 0, 0);
        let law = Baseline::Weibull { shape, scale };
        let data: Vec<Lifetime> = (0..2000)
            .map(|_| {
                let t = law.draw(1.0, &mut stream);
                let end = 2.0 * scale * stream.uniform();
                Lifetime {
                    length: t.min(end),
                    ended: t <= end,
                }
            })
            .collect();
        let fit = fit_weibull(&data).unwrap();
        assert!(
            (fit.shape.value - shape).abs() < 4.0 * fit.shape.se,
            "{fit:?}"
        );
        assert!(
            (fit.scale.value - scale).abs() < 4.0 * fit.scale.se,
            "{fit:?}"
        );
        assert_eq!(fit.p < 1e-6, shape != 1.0, "{fit:?}");
    }
}

#[test]
fn kaplan_meier_of_a_known_sample() {
    let life = |length, ended| Lifetime { length, ended };
    let curve = kaplan_meier(&[
        life(3.0, true),
        life(1.0, true),
        life(2.0, false),
        life(3.0, true),
        life(5.0, false),
    ]);
    assert_eq!(curve.len(), 2);
    assert!((curve[0].1 - 0.8).abs() < 1e-12 && (curve[1].1 - 0.8 / 3.0).abs() < 1e-12);
    assert!(kaplan_meier(&[]).is_empty());
}

#[test]
fn overlapping_and_empty_episodes_are_merged_not_counted_twice() {
    let e = |node, start, end| Episode { node, start, end };
    let fit = estimate_pool(
        &[
            e(0, 1.0, 3.0),
            e(0, 2.0, 4.0),
            e(1, 5.0, 5.0),
            e(1, 9.0, 20.0),
        ],
        3,
        10.0,
    )
    .unwrap();
    assert!((fit.exposure - 26.0).abs() < 1e-12);
    assert!((fit.availability - 26.0 / 30.0).abs() < 1e-12);
    assert_eq!(fit.counts, [2, 2, 0]);
    assert!(estimate_pool(&[e(3, 0.0, 1.0)], 3, 10.0).is_err());
    assert!(estimate_pool(&[e(0, 2.0, 1.0)], 3, 10.0).is_err());
    let empty = estimate_pool(&[], 3, 10.0).unwrap();
    assert_eq!(empty.rate.value, 0.0);
    assert!(fit_negative_binomial(&empty.counts).is_err());
    assert_eq!(
        fit_negative_binomial(&[1, 1, 1]).unwrap().value,
        f64::INFINITY
    );
}

#[test]
fn covariates_multiply_the_hazard() {
    let rows: Vec<Vec<f64>> = (0..200).map(|i| vec![f64::from(i % 2)]).collect();
    let pool = Pool {
        baseline: Baseline::Exponential { rate: 0.01 },
        frailty: None,
        factors: Pool::factors(&[f64::ln(3.0)], &rows).unwrap(),
        shocks: Vec::new(),
        repair: Repair::Exponential { rate: 10.0 },
    };
    let episodes = pool.simulate(1000.0, 1, 1).unwrap();
    let hot = episodes.iter().filter(|e| e.node % 2 == 1).count() as f64;
    let cold = episodes.len() as f64 - hot;
    assert!((hot / cold - 3.0).abs() < 4.0 * 3.0 * (1.0 / hot + 1.0 / cold).sqrt());
    assert!(Pool::factors(&[1.0, 2.0], &rows).is_err());
}
