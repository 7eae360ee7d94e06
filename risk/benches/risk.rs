//! How long do joint paths, margins of many books and of one, and steps of a price path take?
//!
//! The goals are those of `docs/risk.md`, performance; each bench is the whole work that a goal names,
//! except that the margin of 10,000 accounts is measured on a tenth of them unless `RISK_BENCH_FULL` is
//! set. `quantlib.py` beside this file measures QuantLib's path step.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tessera_risk::energy::{Grid, OuJump};
use tessera_risk::margin::{Book, es_of_books};
use tessera_risk::model::Model;
use tessera_risk::numeric::tail;
use tessera_risk::quantise::{EmitSettings, Exposure, Row, emit, scenario_margin};
use tessera_risk::rng::Stream;
use tessera_risk::scenario::Joint;

const SEED: u64 = 20_261_122;

/// 100,000 scenarios of 48 steps of 8 correlated mean-reverting factors, on one core.
fn paths(c: &mut Criterion) {
    let mut group = c.benchmark_group("paths");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(8));
    group.bench_function("100000 x 48 x 8", |b| {
        b.iter(|| {
            let mut sum = 0.0;
            for s in 0..100_000_u64 {
                let mut stream = Stream::new(SEED, s, 0);
                let mut x = [0.0_f64; 8];
                for _ in 0..48 {
                    let m = stream.normal();
                    for x in &mut x {
                        *x = 0.98 * *x + 0.1 * (0.5 * m + 0.866 * stream.normal());
                    }
                }
                sum += x.iter().sum::<f64>();
            }
            black_box(sum)
        });
    });
    group.finish();
}

/// A step of a mean-reverting price with jumps.
fn steps(c: &mut Criterion) {
    let process = OuJump {
        kappa: 0.35,
        sigma: 0.22,
        lambda: 0.06,
        jump_mean: 0.5,
        jump_sd: 0.6,
    };
    let grid = Grid::new(&process, 1.0 / 24.0).expect("parameters in their domain");
    let mut group = c.benchmark_group("steps");
    group.throughput(Throughput::Elements(500));
    let mut scenario = 0;
    group.bench_function("mean-reverting with jumps, 500", |b| {
        b.iter(|| {
            scenario += 1;
            let mut stream = Stream::new(SEED, scenario, 1);
            black_box((0..500).fold(0.0, |x, _| grid.step(x, &mut stream)))
        });
    });
    group.finish();
}

/// ES99 of full scenarios, and the integer margin of the same books.
fn margins(c: &mut Criterion) {
    let model = Model::default_model();
    let joint = Joint::new(&model).expect("the shipped model");
    let matrix = joint
        .losses(10_000, SEED, None, &|_| {})
        .expect("scenarios and products");
    let accounts = if std::env::var_os("RISK_BENCH_FULL").is_some() {
        10_000
    } else {
        1000
    };
    let mut stream = Stream::new(SEED, 0, 9);
    let books: Vec<Book> = (0..accounts)
        .map(|a| Book {
            account: a.to_string(),
            lots: (0..64)
                .map(|p| (p, if stream.uniform() < 0.5 { 3 } else { -2 }))
                .collect(),
        })
        .collect();
    let mut group = c.benchmark_group("margin");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(8));
    group.bench_function(format!("{accounts} accounts x 64 x 10000"), |b| {
        b.iter(|| black_box(es_of_books(&matrix, &books).expect("finite losses")));
    });
    let lots: Vec<(usize, f64)> = books[0].lots.iter().map(|(p, n)| (*p, *n as f64)).collect();
    let mut losses = vec![0.0; matrix.scenarios()];
    group.bench_function("one account x 64 x 10000", |b| {
        b.iter(|| {
            matrix.book_into(&lots, &mut losses);
            black_box(tail(&mut losses, 0.99).expect("finite losses"))
        });
    });
    let settings = EmitSettings {
        version: 1,
        scenarios: 1000,
        seed: SEED,
        books: 300,
    };
    let set = emit(&model, Model::default_text(), settings, &|_| {}).expect("a set");
    let positions: Vec<(&Row, Exposure)> = set
        .rows
        .iter()
        .zip(&books[0].lots)
        .map(|(row, (_, lots))| {
            let exposure = Exposure {
                lots: *lots,
                ..Exposure::default()
            };
            (row, exposure)
        })
        .collect();
    group.bench_function("integers of one account x 64", |b| {
        b.iter(|| black_box(scenario_margin(black_box(&positions))));
    });
    group.finish();
}

criterion_group!(benches, paths, steps, margins);
criterion_main!(benches);
