//! Same bits on any threads, marginal laws, and what the loss of a product is made of.

use super::*;
use crate::model::Model;
use crate::numeric::{integrate, mean, variance};

fn joint(model: &Model) -> Joint {
    Joint::new(model).unwrap()
}

fn on_threads(threads: usize) -> LossMatrix {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(|| joint(&Model::default_model()).losses(3000, 9, None, &|_| {}))
        .unwrap()
}

#[test]
fn the_bits_are_the_same_at_1_2_and_16_threads() {
    let one = on_threads(1);
    for threads in [2, 16] {
        let many = on_threads(threads);
        for p in 0..one.products() {
            let same = one
                .column(p)
                .iter()
                .zip(many.column(p))
                .all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{threads} threads, product {p}");
        }
    }
}

#[test]
fn a_scenario_does_not_depend_on_how_many_there_are() {
    let j = joint(&Model::default_model());
    let few = j.losses(100, 3, None, &|_| {}).unwrap();
    let more = j.losses(700, 3, None, &|_| {}).unwrap();
    for p in 0..few.products() {
        assert_eq!(few.column(p), &more.column(p)[..100]);
    }
    assert!(j.losses(0, 3, None, &|_| {}).is_err());
}

#[test]
fn progress_counts_every_scenario_once() {
    let done = std::sync::atomic::AtomicU64::new(0);
    joint(&Model::default_model())
        .losses(1000, 1, None, &|n| {
            done.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
        })
        .unwrap();
    assert_eq!(done.into_inner(), 1000);
}

/// Whatever the loading on M, power and price keep their own laws.
#[test]
fn loadings_do_not_change_the_marginals() {
    let model = Model::default_model();
    let z = &model.zones[0];
    let p = z.process();
    let t = f64::from(*joint(&model).horizons.last().unwrap());
    for loading in [0.0, 0.9] {
        let mut m = model.clone();
        m.systemic.power.value = loading;
        m.systemic.compute.value = loading;
        let j = joint(&m);
        let states: Vec<State> = (0..20_000)
            .map(|s| j.states(4, s, None, false).pop().unwrap())
            .collect();
        let x: Vec<f64> = states.iter().map(|s| s.zones[0].x).collect();
        // Innovations fall at the end of a day, so jumps keep e^{-κ k} of their size.
        let q = -(-p.lambda).exp_m1();
        let decay: f64 = (0..5).map(|k| (-p.kappa * f64::from(k)).exp()).sum();
        let decay2: f64 = (0..5).map(|k| (-2.0 * p.kappa * f64::from(k)).exp()).sum();
        let mean_x = q * p.jump_mean * decay;
        let jump2 = q * (p.jump_sd.powi(2) + p.jump_mean.powi(2)) - (q * p.jump_mean).powi(2);
        let var_x = p.diffusive_variance(t) + jump2 * decay2;
        assert!((mean(&x) - mean_x).abs() < 4.0 * (var_x / 20_000.0).sqrt());
        assert!(
            (variance(&x) / var_x - 1.0).abs() < 0.15,
            "{} {var_x}",
            variance(&x)
        );
        let y: Vec<f64> = states.iter().map(|s| s.classes[1]).collect();
        let c = model.classes[1].process();
        assert!((variance(&y) / c.variance_log(t) - 1.0).abs() < 0.15);
    }
}

/// The hazard lift has mean 1 whatever its loading: the systemic factor adds risk, not failures.
#[test]
fn the_mean_downtime_does_not_depend_on_the_loading() {
    let model = Model::default_model();
    let down = |m: &Model| -> Vec<f64> {
        let j = joint(m);
        (0..20_000)
            .map(|s| j.states(5, s, None, false)[0].zones[0].down)
            .collect()
    };
    let with = down(&model);
    let without = down(&model.independent());
    let se = ((variance(&with) + variance(&without)) / 20_000.0).sqrt();
    assert!((mean(&with) - mean(&without)).abs() < 4.0 * se);
}

#[test]
fn a_price_fall_costs_the_long_side_and_a_power_spike_the_short_one() {
    let model = Model::default_model();
    let j = joint(&model);
    let calm = j.revalue(&j.calm());
    let mut crash = j.calm();
    crash.classes.fill(0.5_f64.ln());
    let mut spike = j.calm();
    for z in &mut spike.zones {
        z.spike = Some((5000.0, 96.0));
    }
    let crashed = j.revalue(&crash);
    let spiked = j.revalue(&spike);
    for (p, product) in model.products.iter().enumerate() {
        assert!(
            crashed[p] > calm[p] + 0.3 * j.valuations[p].fee,
            "{}",
            product.name
        );
        if product.start_hours < 96.0 {
            assert!(spiked[p] < calm[p], "{}", product.name);
        }
    }
}

#[test]
fn the_mean_decay_over_a_window_is_the_integral() {
    let model = Model::default_model();
    let j = joint(&model);
    let product = model.product("H100_80_SXM/whole/firm/tx/-/month").unwrap();
    let p = &model.products[product];
    let days = f64::from(p.margin_days);
    let (from, to) = (
        p.start_hours / 24.0 - days,
        (p.start_hours + p.hours) / 24.0 - days,
    );
    let kappa = model.zones[0].kappa.value;
    let exact = integrate(|t| (-kappa * t).exp(), from, to, 1e-13) / (to - from);
    assert!((j.valuations[product].power_weight - exact).abs() < 1e-9);
}

#[test]
fn history_replaces_the_drawn_innovations() {
    let j = joint(&Model::default_model());
    let quiet = History {
        power: vec![0.0; 10],
        compute: vec![0.0; 10],
    };
    let state = j.states(1, 1, Some(&quiet), false).pop().unwrap();
    assert!(state.zones.iter().all(|z| z.x == 0.0));
}

/// Even jumps are those of the same model, and the tail that hangs on them is steadier: half the
/// variance is gone here, the rest is that of diffusion and of which day a jump falls on.
#[test]
fn even_jumps_keep_the_tail_and_lose_noise() {
    let model = Model::default_model();
    let j = joint(&model);
    let day = model.product("H100_80_SXM/whole/firm/tx/-/day").unwrap();
    let es = |matrix: &LossMatrix| {
        let mut losses = matrix.book(&[(day, -1.0)]);
        crate::numeric::tail(&mut losses, 0.99).unwrap().es
    };
    let spread = |es: &[f64]| variance(es).sqrt() / mean(es);
    let seeds = 40..56;
    let random: Vec<f64> = seeds
        .clone()
        .map(|s| es(&j.losses(4000, s, None, &|_| {}).unwrap()))
        .collect();
    let even: Vec<f64> = seeds
        .map(|s| es(&j.even_losses(4000, s, &|_| {}).unwrap()))
        .collect();
    let (was, is) = (spread(&random), spread(&even));
    println!("spread {was:.3} random, {is:.3} even");
    assert!(is < 0.85 * was, "{is} {was}");
    let apart = (mean(&random) - mean(&even)).abs() / mean(&random);
    assert!(apart < 4.0 * was / 16_f64.sqrt(), "{apart} {was}");
}
