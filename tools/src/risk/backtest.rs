//! `tessera risk backtest`: did the forecasts hold?

use std::path::PathBuf;

use serde::Serialize;
use tessera_risk::backtest::{self, Forecast, Verdict};
use tessera_risk::calibrate::PriceSeries;
use tessera_risk::energy::Interval;
use tessera_risk::report::{Kind, Plot, Series};

use super::calibrate::{caps, moment};
use super::{Common, Stop};

/// Options of `backtest`.
#[derive(Clone, Debug, clap::Args)]
#[command(about = "Test one-day forecasts of a seller short of energy against what happened")]
pub(super) struct Args {
    /// Prices (time, USD/MWh), CSV or gzip
    #[arg(long, value_name = "FILE")]
    prices: PathBuf,
    /// How forecasts are made
    #[arg(long, value_enum)]
    method: Method,
    /// Days of calibration or history
    #[arg(long)]
    window: usize,
    /// Level of VaR and ES
    #[arg(long, default_value_t = 0.99)]
    level: f64,
    /// First moment, such as 2024-01-01T00:00Z
    #[arg(long)]
    from: Option<String>,
    /// End, not included
    #[arg(long)]
    to: Option<String>,
    /// Legal caps, as for calibrate energy
    #[arg(long, value_name = "TABLE")]
    cap: Option<String>,
    /// Simulations for the p-value of Z2
    #[arg(long, default_value_t = 1000)]
    simulations: u64,
    /// Seed
    #[arg(long, default_value_t = 20_261_122)]
    seed: u64,
    /// Exit 1 if a test fails at 5 % or the light is red
    #[arg(long)]
    gate: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Method {
    Frozen,
    Rolling,
    Historical,
    Filtered,
}

#[derive(Serialize)]
struct Report {
    method: &'static str,
    window: usize,
    level: f64,
    #[serde(flatten)]
    verdict: Verdict,
    passed: bool,
    skipped: u64,
    days: usize,
    days_dropped: u64,
    span: String,
    blake3: String,
    seed: u64,
}

pub(super) fn run(args: &Args) -> Result<(), Stop> {
    let series = PriceSeries::open(&args.prices)?
        .between(moment(args.from.as_deref())?, moment(args.to.as_deref())?);
    let days = series.aggregate(Interval::Day, &caps(args.cap.as_deref())?);
    let method = match args.method {
        Method::Frozen => backtest::Method::Frozen,
        Method::Rolling => backtest::Method::Rolling,
        Method::Historical => backtest::Method::Historical,
        Method::Filtered => backtest::Method::Filtered,
    };
    let run = backtest::run(&days.points, method, args.window, args.level)?;
    let verdict = backtest::judge(&run, args.level, args.simulations, args.seed)?;
    let passed = verdict.passed();
    let output = args.common.output();
    output.table("forecasts.csv", &run.forecasts)?;
    let at =
        |f: &dyn Fn(&Forecast) -> f64| run.forecasts.iter().map(|x| (x.day as f64, f(x))).collect();
    output.plot(
        "forecasts.svg",
        &Plot {
            title: format!("{} {}: forecast and loss", method.name(), args.window),
            x: "day since 1970-01-01 UTC".into(),
            y: "USD/MWh".into(),
            note: format!("{}; {} forecasts", series.span(), verdict.n),
            series: vec![
                Series::new("loss", Kind::Line, at(&|f| f.loss)),
                Series::new("VaR", Kind::Line, at(&|f| f.var)),
                Series::new(
                    "exception",
                    Kind::Points,
                    run.forecasts
                        .iter()
                        .filter(|f| f.exception())
                        .map(|f| (f.day as f64, f.loss))
                        .collect(),
                ),
            ],
        },
    )?;
    output.report(&Report {
        method: method.name(),
        window: args.window,
        level: args.level,
        verdict,
        passed,
        skipped: run.skipped,
        days: days.points.len(),
        days_dropped: days.dropped,
        span: series.span(),
        blake3: series.blake3,
        seed: args.seed,
    })?;
    if args.gate && !passed {
        return Err(Stop::Failed("the back-test failed (see the report)".into()));
    }
    Ok(())
}
