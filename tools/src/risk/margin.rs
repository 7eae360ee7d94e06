//! `tessera risk margin`: what a book needs, and the parameter set for the exchange.

use std::path::PathBuf;

use serde::Serialize;
use tessera_risk::calibrate::{self, PriceSeries};
use tessera_risk::energy::Interval;
use tessera_risk::margin::{AccountMargin, Settings, margins};
use tessera_risk::quantise::{EmitSettings, ParameterSet, Previous, emit};
use tessera_risk::report::{Kind, Plot, Series};

use super::{Common, ModelArgs, Stop, bar};
use crate::risk::calibrate::caps;

/// Options of `margin`.
#[derive(Clone, Debug, clap::Args)]
#[command(about = "Margin of every account and its parts; --emit writes the integer parameter set")]
pub(super) struct Args {
    /// Positions (account, instrument, lots), CSV or gzip
    #[arg(long, value_name = "FILE", required_unless_present = "emit")]
    positions: Option<PathBuf>,
    /// Joint scenarios
    #[arg(long, default_value_t = 20_000)]
    scenarios: u32,
    /// Parameter redraws for the uncertainty figure; 0 leaves it out
    #[arg(long, default_value_t = 20)]
    redraws: u64,
    /// Power prices for filtered historical simulation
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Legal caps of these prices
    #[arg(long, value_name = "TABLE")]
    cap: Option<String>,
    /// Exit 1 if an account needs more than this, USD
    #[arg(long, value_name = "USD")]
    limit: Option<f64>,
    /// Write the parameter set for `tessera admin` into this file
    #[arg(long, value_name = "FILE")]
    emit: Option<PathBuf>,
    /// Version of the set; one above that of --previous, else 1
    #[arg(long)]
    set_version: Option<u32>,
    /// The set in force: the new one must not step further than --step-limit from it
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// Largest change of a one-lot margin, as a fraction
    #[arg(long, default_value_t = 0.5)]
    step_limit: f64,
    /// Reference books behind the 48 tail scenarios
    #[arg(long, default_value_t = 20_000)]
    books: usize,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct Report<'a> {
    accounts: &'a [AccountMargin],
    scenarios: u32,
    seed: u64,
    model: &'a str,
    model_version: u32,
    data: &'a [tessera_risk::model::DataFile],
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<SetReport>,
}

#[derive(Serialize)]
struct SetReport {
    file: String,
    version: u32,
    rows: u32,
    table_hash: String,
    input_hash: String,
}

pub(super) fn run(args: &Args) -> Result<(), Stop> {
    let (model, text, seed) = args.model.open()?;
    let output = args.common.output();
    let mut accounts = Vec::new();
    if let Some(path) = &args.positions {
        let books = calibrate::positions(path, &model)?;
        let history = match &args.prices {
            None => None,
            Some(path) => {
                let series = PriceSeries::open(path)?;
                let days = series.aggregate(Interval::Day, &caps(args.cap.as_deref())?);
                Some(calibrate::history(&days.points)?)
            }
        };
        let n = u64::from(args.scenarios);
        let runs = 3 + u64::from(history.is_some());
        let redraw_scenarios = args.scenarios.min(4000);
        let bar = bar(n * runs + args.redraws * u64::from(redraw_scenarios));
        let settings = Settings {
            scenarios: args.scenarios as usize,
            seed,
            redraws: args.redraws,
            redraw_scenarios: redraw_scenarios as usize,
            history,
        };
        accounts = margins(&model, &books, &settings, &|done| bar.inc(done))?;
        bar.finish_and_clear();
    }
    let set = match &args.emit {
        None => None,
        Some(path) => {
            let previous = match &args.previous {
                None => None,
                Some(path) => Some(ParameterSet::open(path).map_err(refused)?),
            };
            let version = args.set_version.unwrap_or_else(|| {
                previous
                    .as_ref()
                    .map_or(1, |p| p.begin.version.saturating_add(1))
            });
            let settings = EmitSettings {
                version,
                scenarios: args.scenarios,
                seed,
                books: args.books,
            };
            let bar = bar(u64::from(args.scenarios));
            let set = emit(&model, &text, settings, &|done| bar.inc(done)).map_err(refused)?;
            bar.finish_and_clear();
            let step = previous.as_ref().map(|set| Previous {
                set,
                step_limit: args.step_limit,
            });
            set.check(None, step).map_err(refused)?;
            let json =
                serde_json::to_string_pretty(&set).map_err(|e| Stop::Failed(e.to_string()))?;
            std::fs::write(path, json + "\n")
                .map_err(|e| Stop::Failed(format!("{}: {e}", path.display())))?;
            Some(SetReport {
                file: path.display().to_string(),
                version,
                rows: set.begin.rows,
                table_hash: set.commit.table_hash,
                input_hash: set.begin.input_hash,
            })
        }
    };
    output.report(&Report {
        accounts: &accounts,
        scenarios: args.scenarios,
        seed,
        model: &model.name,
        model_version: model.version,
        data: &model.data,
        set,
    })?;
    output.table(
        "margins.csv",
        &accounts.iter().map(Row::new).collect::<Vec<_>>(),
    )?;
    for (i, m) in accounts.iter().enumerate() {
        output.plot(&format!("margin_{i}.svg"), &waterfall(m, seed))?;
    }
    let breach = accounts
        .iter()
        .find(|m| args.limit.is_some_and(|limit| m.margin_uusd.usd() > limit));
    match breach {
        Some(m) => Err(Stop::Failed(format!(
            "{} needs {}, above the limit",
            m.account, m.margin_uusd
        ))),
        None => Ok(()),
    }
}

fn refused(error: tessera_risk::quantise::SetError) -> Stop {
    use tessera_risk::quantise::SetError;
    match error {
        SetError::Read { .. } => Stop::Failed(error.to_string()),
        _ => Stop::Usage(error.to_string()),
    }
}

fn waterfall(m: &AccountMargin, seed: u64) -> Plot {
    let parts = [
        m.mixed.max(m.floor),
        m.liquidity,
        m.concentration,
        m.delivery,
        m.margin_uusd.usd(),
    ];
    Plot {
        title: format!("Margin of {}", m.account),
        x: "1: ES and stress, 2: liquidity, 3: concentration, 4: delivery, 5: margin".into(),
        y: "USD".into(),
        note: format!("{} scenarios, seed {seed}", m.es99_mc.n),
        series: vec![Series::new(
            "parts",
            Kind::Bars,
            (1..).zip(parts).map(|(i, p)| (f64::from(i), p)).collect(),
        )],
    }
}

/// One line of margins.csv, units in the names.
#[derive(Serialize)]
struct Row<'a> {
    account: &'a str,
    es99_mc_usd: f64,
    es99_mc_se_usd: f64,
    es99_fhs_usd: Option<f64>,
    stressed_es_usd: f64,
    liquidity_usd: f64,
    concentration_usd: f64,
    delivery_usd: f64,
    wrong_way_usd: f64,
    parameter_uncertainty_usd: Option<f64>,
    floor_usd: f64,
    margin_uusd: i64,
}

impl<'a> Row<'a> {
    fn new(m: &'a AccountMargin) -> Self {
        Self {
            account: &m.account,
            es99_mc_usd: m.es99_mc.value,
            es99_mc_se_usd: m.es99_mc.se,
            es99_fhs_usd: m.es99_fhs,
            stressed_es_usd: m.stressed_es,
            liquidity_usd: m.liquidity,
            concentration_usd: m.concentration,
            delivery_usd: m.delivery,
            wrong_way_usd: m.wrong_way,
            parameter_uncertainty_usd: m.parameter_uncertainty,
            floor_usd: m.floor,
            margin_uusd: m.margin_uusd.get(),
        }
    }
}
