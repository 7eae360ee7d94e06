//! `tessera risk stress`: what fixed bad days would do to a book.

use std::path::PathBuf;

use serde::Serialize;
use tessera_risk::calibrate;
use tessera_risk::scenario::Joint;
use tessera_risk::stress::{STRESS_VERSION, losses, scenarios};
use tessera_risk::units::MicroUsd;

use super::{Common, ModelArgs, Stop};

/// Options of `stress`.
#[derive(Clone, Debug, clap::Args)]
#[command(about = "Losses of a book under fixed, versioned stress scenarios")]
pub(super) struct Args {
    /// Positions (account, instrument, lots), CSV or gzip
    #[arg(long, value_name = "FILE", required_unless_present = "list")]
    positions: Option<PathBuf>,
    /// Only this scenario
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// List scenarios and products
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct Loss<'a> {
    scenario: &'a str,
    account: &'a str,
    instrument: &'a str,
    lots: i64,
    loss_uusd: i64,
}

pub(super) fn run(args: &Args) -> Result<(), Stop> {
    let (model, _, _) = args.model.open()?;
    let all = scenarios();
    let output = args.common.output();
    let Some(path) = args.positions.as_ref().filter(|_| !args.list) else {
        let products: Vec<&str> = model.products.iter().map(|p| p.name.as_str()).collect();
        return output.report(&serde_json::json!({ "version": STRESS_VERSION, "scenarios": all, "products": products }));
    };
    if let Some(name) = &args.scenario
        && !all.iter().any(|s| s.name == name)
    {
        let names: Vec<&str> = all.iter().map(|s| s.name).collect();
        return Err(Stop::Usage(format!(
            "no scenario is called {name}; there are {}",
            names.join(", ")
        )));
    }
    let books = calibrate::positions(path, &model)?;
    let rows = losses(&Joint::new(&model)?);
    let mut detail = Vec::new();
    let mut totals = Vec::new();
    for (scenario, row) in all.iter().zip(&rows) {
        if args
            .scenario
            .as_ref()
            .is_some_and(|name| name != scenario.name)
        {
            continue;
        }
        for book in &books {
            let mut sum = 0.0;
            for (p, lots) in &book.lots {
                let loss = *lots as f64 * row[*p];
                sum += loss;
                detail.push(Loss {
                    scenario: scenario.name,
                    account: &book.account,
                    instrument: &model.products[*p].name,
                    lots: *lots,
                    loss_uusd: MicroUsd::up(loss)?.get(),
                });
            }
            totals.push(serde_json::json!({
                "scenario": scenario.name,
                "account": book.account,
                "loss_uusd": MicroUsd::up(sum)?.get(),
            }));
        }
    }
    output.table("losses.csv", &detail)?;
    output.report(&serde_json::json!({
        "version": STRESS_VERSION,
        "model_version": model.version,
        "accounts": totals,
        "instruments": detail,
    }))
}
