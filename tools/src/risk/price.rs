//! `tessera risk price`: every right in one contract.

use std::path::PathBuf;

use serde::Serialize;
use tessera_risk::contract::{Contract, ContractPrice, PriceError, PriceSettings};
use tessera_risk::model::{DataFile, Model};
use tessera_risk::numeric::order;
use tessera_risk::report::{Kind, Plot, Series};
use tessera_risk::rng::Stream;

use super::{Common, ModelArgs, Stop};

/// Options of `price`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Price every right in a contract: guarantee, energy cap, preemption, swing, shutdown"
)]
pub(super) struct Args {
    /// Contract file (TOML: class, tier, zone, start_hours, hours, ...)
    #[arg(long, value_name = "FILE")]
    contract: PathBuf,
    /// Units
    #[arg(long, default_value_t = 1)]
    qty: u64,
    /// Scenarios per simulated right
    #[arg(long, default_value_t = 10_000)]
    scenarios: u64,
    /// Power price of the spike question, USD/MWh
    #[arg(long, default_value_t = 5000.0)]
    spike: f64,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: &Args) -> Result<(), Stop> {
    let (model, _, seed) = args.model.open()?;
    let contract = Contract::open(&args.contract)?;
    let settings = PriceSettings {
        scenarios: args.scenarios,
        seed,
        quantity: args.qty,
        spike_usd_mwh: args.spike,
    };
    let price = contract
        .price(&model, settings)
        .map_err(|error| match error {
            PriceError::Open(error) => error.into(),
            PriceError::Unknown { kind, .. } => {
                let line = line_of(&args.contract, kind);
                Stop::Usage(format!("{}:{line}: {error}", args.contract.display()))
            }
            error => Stop::Usage(format!("{}: {error}", args.contract.display())),
        })?;
    let output = args.common.output();
    let hours = f64::from(contract.hours) * args.qty as f64;
    output.report(&Report {
        spike_usd_mwh: args.spike,
        spike_cost_usd: price.spike_cost_per_unit_hour * hours,
        price: &price,
        model: &model.name,
        model_version: model.version,
        data: &model.data,
    })?;
    output.table("rights.csv", &price.rights)?;
    output.plot("premiums.svg", &premiums(&price))?;
    if let Some(plot) = fan(&model, &contract, seed) {
        output.plot("power_fan.svg", &plot)?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    price: &'a ContractPrice,
    /// Power price of the spike question.
    spike_usd_mwh: f64,
    /// Energy of the whole contract, all units, if every hour costs that.
    spike_cost_usd: f64,
    model: &'a str,
    model_version: u32,
    data: &'a [DataFile],
}

/// Line of `key = ...` in a contract file, 1 if it is not found.
fn line_of(path: &std::path::Path, key: &str) -> usize {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().position(|l| {
        l.trim_start()
            .strip_prefix(key)
            .is_some_and(|rest| rest.trim_start().starts_with('='))
    });
    line.map_or(1, |l| l + 1)
}

fn premiums(price: &ContractPrice) -> Plot {
    let names: Vec<String> = (1..)
        .zip(&price.rights)
        .map(|(i, r)| format!("{i}: {}", r.right))
        .collect();
    Plot {
        title: "Premium of every right".into(),
        x: names.join(", "),
        y: "micro-USD per unit-hour".into(),
        note: format!("{} scenarios, seed {}", price.scenarios, price.seed),
        series: vec![Series::new(
            "premium",
            Kind::Bars,
            (1..)
                .zip(&price.rights)
                .map(|(i, r)| (f64::from(i), r.premium_per_unit_hour_uusd.get() as f64))
                .collect(),
        )],
    }
}

/// Power price of the contract's zone to the end of its window; `None` for an unknown zone.
fn fan(model: &Model, contract: &Contract, seed: u64) -> Option<Plot> {
    const PATHS: u64 = 2000;
    let zone = model.zone(&contract.zone)?;
    let process = zone.process();
    let level = zone.level_usd_mwh.value.ln();
    let end = (contract.start_hours + f64::from(contract.hours)) / 24.0;
    let mut days: Vec<Vec<f64>> = vec![Vec::new()];
    while (days.len() as f64) < end.ceil().clamp(1.0, 366.0) + 1.0 {
        days.push(Vec::new());
    }
    for s in 0..PATHS {
        let mut stream = Stream::new(seed, s, 0);
        let mut x = zone.x0.value;
        for (d, day) in days.iter_mut().enumerate() {
            if d > 0 {
                x = process.draw(x, 1.0, &mut stream);
            }
            let price = (level + x).exp();
            day.push(price.clamp(zone.floor_usd_mwh.value, zone.cap_usd_mwh.value));
        }
    }
    for day in &mut days {
        day.sort_by(f64::total_cmp);
    }
    let line = |q: f64| {
        let points = days.iter().enumerate();
        let points = points.map(|(d, prices)| (d as f64, prices[order(q, prices.len()) - 1]));
        Series::new(format!("{:.0} %", 100.0 * q), Kind::Line, points.collect())
    };
    Some(Plot {
        title: format!("Power price in {}", zone.name),
        x: "days".into(),
        y: "USD/MWh".into(),
        note: format!("{PATHS} paths, seed {seed}, legal floor and cap applied"),
        series: [0.01, 0.25, 0.5, 0.75, 0.99].map(line).into(),
    })
}
