//! `tessera risk stress`: what fixed bad days would do to a book.

use std::path::PathBuf;

use serde::Serialize;
use tessera_risk::calibrate;
use tessera_risk::report::{Kind, Plot, Series};
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
    let mut bars: Vec<Series> = books
        .iter()
        .map(|b| Series::new(b.account.clone(), Kind::Points, Vec::new()))
        .collect();
    for (number, (scenario, row)) in (1_u32..).zip(all.iter().zip(&rows)) {
        if args
            .scenario
            .as_ref()
            .is_some_and(|name| name != scenario.name)
        {
            continue;
        }
        for (book, bar) in books.iter().zip(&mut bars) {
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
            bar.points.push((f64::from(number), sum));
            totals.push(serde_json::json!({
                "scenario": scenario.name,
                "account": book.account,
                "loss_uusd": MicroUsd::up(sum)?.get(),
            }));
        }
    }
    let names: Vec<String> = (1..)
        .zip(&all)
        .filter(|(_, s)| args.scenario.as_ref().is_none_or(|n| n == s.name))
        .map(|(i, s)| format!("{i} {}", s.name))
        .collect();
    output.plot(
        "stress.svg",
        &Plot {
            title: "Stress losses by account".into(),
            x: names.join(", "),
            y: "USD".into(),
            note: format!(
                "stress list {STRESS_VERSION}, model {} version {}; fixed states, nothing is drawn",
                model.name, model.version
            ),
            series: bars,
        },
    )?;
    output.table("losses.csv", &detail)?;
    output.report(&serde_json::json!({
        "version": STRESS_VERSION,
        "model": model.name,
        "model_version": model.version,
        "seed": serde_json::Value::Null,
        "method": "fixed states of the world, nothing is drawn",
        "data": model.data,
        "accounts": totals,
        "instruments": detail,
    }))
}
