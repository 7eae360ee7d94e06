//! `tessera risk calibrate`: estimates with their errors from CSV files.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tessera_risk::calibrate::{self, PriceSeries};
use tessera_risk::energy::intensity::{Intensity, fit_intensity, jump_steps};
use tessera_risk::energy::regime::{RegimeFit, fit_regimes};
use tessera_risk::energy::two_factor::{TwoFactorFit, fit_two_factor};
use tessera_risk::energy::{
    Calibration, CapEntry, CapTable, Interval, Point, Transform, calibrate_filtered,
    calibrate_likelihood, realised_cap,
};
use tessera_risk::evt::{ParetoFit, fit_pareto, mean_excess};
use tessera_risk::model::Model;
use tessera_risk::report::{Kind, Plot, Series};

use super::{Common, Stop};

/// Options of `calibrate`.
#[derive(Clone, Debug, clap::Args)]
#[command(about = "Estimate a model from data, with standard errors")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// Rates, lemons, gaps, repairs and shocks from fault episodes (node, start_day, end_day, class)
    Failures {
        /// Episodes, CSV or gzip
        #[arg(long, value_name = "FILE")]
        faults: PathBuf,
        /// All nodes, also those that never failed
        #[arg(long)]
        nodes: usize,
        /// Days watched
        #[arg(long)]
        span_days: f64,
        #[command(flatten)]
        common: Common,
    },
    /// Preemption rates from run-length traces or lifetimes
    Preemption {
        /// Traces or lifetimes, CSV or gzip
        #[arg(long, value_name = "FILE")]
        trace: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Mean reversion, jumps and tail of power prices
    Energy {
        /// Prices (time, USD/MWh), CSV or gzip
        #[arg(long, value_name = "FILE")]
        prices: PathBuf,
        /// Estimator
        #[arg(long, value_enum, default_value = "filtered")]
        model: Estimator,
        /// Step of the model
        #[arg(long, value_enum, default_value = "day")]
        interval: Step,
        /// asinh(P / SCALE) instead of ln P, in USD/MWh; hourly prices need it
        #[arg(long, value_name = "SCALE")]
        asinh: Option<f64>,
        /// First moment, such as 2024-01-01T00:00Z
        #[arg(long)]
        from: Option<String>,
        /// End, not included
        #[arg(long)]
        to: Option<String>,
        /// Legal caps: CSV with from_utc, cap_usd_per_mwh, floor_usd_per_mwh; or the word ercot
        #[arg(long, value_name = "TABLE")]
        cap: Option<String>,
        /// Threshold of the tail as a quantile of the prices
        #[arg(long, default_value_t = 0.98)]
        tail: f64,
        /// Also fit two factors, Markov regimes and jump rates by season
        #[arg(long)]
        options: bool,
        /// Load (time, load_mw) for the jump rates, CSV or gzip; means over days or hours
        #[arg(long, value_name = "FILE", requires = "options")]
        load: Option<PathBuf>,
        /// Correlation of the two factors; spot prices cannot tell it
        #[arg(long, default_value_t = 0.0, allow_hyphen_values = true)]
        rho: f64,
        #[command(flatten)]
        common: Common,
    },
    /// Trend, reversion and falls of compute prices
    Compute {
        /// Prices (utc, class or instance_type, usd_per_hour), CSV or gzip
        #[arg(long, value_name = "FILE")]
        prices: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Print the shipped model file
    Default,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Estimator {
    Filtered,
    Likelihood,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Step {
    Day,
    Hour,
}

pub(super) fn run(args: &Args) -> Result<(), Stop> {
    match &args.what {
        What::Failures {
            faults,
            nodes,
            span_days,
            common,
        } => {
            let report = calibrate::failures(faults, *nodes, *span_days)?;
            let output = common.output();
            output.report(&report)?;
            output.table("survival.csv", &pairs("days", "survival", &report.km))?;
            output.plot(
                "survival.svg",
                &survival(
                    &report.km,
                    "days",
                    &format!("{nodes} nodes, {span_days} days"),
                ),
            )
        }
        What::Preemption { trace, common } => {
            let report = calibrate::preemption(trace)?;
            let output = common.output();
            output.report(&serde_json::json!({ "rates": report }))?;
            for r in report.iter().filter(|r| !r.km.is_empty()) {
                let name = format!("survival_{}_{}.svg", r.zone, r.device).replace('/', "_");
                output.plot(
                    &name,
                    &survival(&r.km, "hours", &format!("{} up hours", r.up_hours)),
                )?;
            }
            Ok(())
        }
        What::Energy {
            prices,
            model,
            interval,
            asinh,
            from,
            to,
            cap,
            tail,
            options,
            load,
            rho,
            common,
        } => {
            let series = PriceSeries::open(prices)?
                .between(moment(from.as_deref())?, moment(to.as_deref())?);
            let caps = caps(cap.as_deref())?;
            let interval = match interval {
                Step::Day => Interval::Day,
                Step::Hour => Interval::Hour,
            };
            let transform = match asinh {
                Some(scale) => Transform::Asinh { scale: *scale },
                None => Transform::Ln,
            };
            let periods = series.aggregate(interval, &caps);
            let calibration = match model {
                Estimator::Filtered => calibrate_filtered(&periods.points, interval, transform),
                Estimator::Likelihood => calibrate_likelihood(&periods.points, interval, transform),
            }?;
            let options = match options {
                false => None,
                true => Some(Options::new(
                    &periods.points,
                    interval,
                    transform,
                    load.as_deref(),
                    *rho,
                )?),
            };
            let fitted = Fitted {
                calibration,
                options,
                incomplete: periods.dropped,
            };
            energy(&series, &caps, fitted, *tail, common)
        }
        What::Compute { prices, common } => {
            let report = calibrate::compute(prices)?;
            common
                .output()
                .report(&serde_json::json!({ "series": report }))
        }
        What::Default => {
            print!("{}", Model::default_text());
            Ok(())
        }
    }
}

#[derive(Serialize)]
struct EnergyReport {
    calibration: Calibration,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Options>,
    gpd: Result<ParetoFit, String>,
    gpd_es99: Result<f64, String>,
    cap_values: Vec<CapValue>,
    days_used: u64,
    days_dropped: u64,
    span: String,
    blake3: String,
}

#[derive(Serialize)]
struct CapValue {
    strike_usd_per_mwh: f64,
    mean_payoff_usd_per_mwh: f64,
}

/// The models beside mean reversion with jumps; one that cannot be fitted says why.
#[derive(Serialize)]
struct Options {
    two_factor: Result<TwoFactorFit, String>,
    regimes: Result<RegimeFit, String>,
    jump_rate: Result<Intensity, String>,
}

impl Options {
    fn new(
        points: &[Point],
        interval: Interval,
        transform: Transform,
        load: Option<&Path>,
        rho: f64,
    ) -> Result<Self, Stop> {
        let load = match load {
            Some(path) => Some(calibrate::load(path, interval)?),
            None => None,
        };
        let at = |index: i64| load.as_ref().and_then(|l| l.get(&index).copied());
        let rate = jump_steps(points, interval, transform).and_then(|steps| {
            let by_load: Option<&dyn Fn(i64) -> Option<f64>> = load.is_some().then_some(&at);
            fit_intensity(&steps, interval, by_load)
        });
        Ok(Self {
            two_factor: fit_two_factor(points, interval, transform, rho).map_err(|e| e.to_string()),
            regimes: fit_regimes(points, interval, transform).map_err(|e| e.to_string()),
            jump_rate: rate.map_err(|e| e.to_string()),
        })
    }
}

struct Fitted {
    calibration: Calibration,
    options: Option<Options>,
    incomplete: u64,
}

fn energy(
    series: &PriceSeries,
    caps: &CapTable,
    fitted: Fitted,
    tail: f64,
    common: &Common,
) -> Result<(), Stop> {
    let prices: Vec<f64> = series
        .prices
        .iter()
        .map(|(t, p)| caps.clamp(t.div_euclid(86_400), *p))
        .collect();
    let mut sorted = prices.clone();
    sorted.sort_by(f64::total_cmp);
    let at = |q: f64| sorted[tessera_risk::numeric::order(q, sorted.len()) - 1];
    let gpd = fit_pareto(&prices, at(tail)).map_err(|e| e.to_string());
    let last = caps.at(series.prices.last().map_or(0, |p| p.0.div_euclid(86_400)));
    let es = |fit: &ParetoFit| match last {
        Some(entry) => fit.tail.es_capped(0.99, entry.cap),
        None => fit.tail.es(0.99),
    };
    let gpd_es99 = match &gpd {
        Ok(fit) => es(fit).map_err(|e| e.to_string()),
        Err(error) => Err(error.clone()),
    };
    let limit = last.map_or(f64::MAX, |e| e.cap);
    let cap_values = [50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0]
        .into_iter()
        .map(|strike| {
            Ok(CapValue {
                strike_usd_per_mwh: strike,
                mean_payoff_usd_per_mwh: realised_cap(&prices, strike, limit)?,
            })
        })
        .collect::<Result<Vec<_>, tessera_risk::units::ModelError>>()?;
    let output = common.output();
    let thresholds: Vec<f64> = (0..50)
        .map(|k| at(0.9 + 0.0995 * f64::from(k) / 49.0))
        .collect();
    output.plot(
        "mean_excess.svg",
        &Plot {
            title: "Mean excess".into(),
            x: "threshold, USD/MWh".into(),
            y: "mean excess, USD/MWh".into(),
            note: series.span(),
            series: vec![Series::new(
                "mean excess",
                Kind::Points,
                mean_excess(&prices, &thresholds),
            )],
        },
    )?;
    let Fitted {
        calibration,
        options,
        incomplete,
    } = fitted;
    output.report(&EnergyReport {
        days_used: calibration.used,
        days_dropped: calibration.dropped + incomplete,
        calibration,
        options,
        gpd,
        gpd_es99,
        cap_values,
        span: series.span(),
        blake3: series.blake3.clone(),
    })
}

fn survival(km: &[(f64, f64)], unit: &str, note: &str) -> Plot {
    Plot {
        title: "Kaplan-Meier survival".into(),
        x: unit.into(),
        y: "survival".into(),
        note: note.into(),
        series: vec![Series::new("Kaplan-Meier", Kind::Steps, km.to_vec())],
    }
}

fn pairs(x: &str, y: &str, points: &[(f64, f64)]) -> Vec<std::collections::BTreeMap<String, f64>> {
    // A map per row would lose the order of columns; CSV wants records, and the names sort as given.
    points
        .iter()
        .map(|(a, b)| [(x.to_owned(), *a), (y.to_owned(), *b)].into())
        .collect()
}

/// A moment in seconds since 1970 UTC.
pub(super) fn moment(text: Option<&str>) -> Result<Option<i64>, Stop> {
    let Some(text) = text else { return Ok(None) };
    text.parse::<jiff::Timestamp>()
        .map(|t| Some(t.as_second()))
        .map_err(|e| {
            Stop::Usage(format!(
                "{text:?} is not a moment such as 2024-01-01T00:00Z: {e}"
            ))
        })
}

/// A table of legal caps.
pub(super) fn caps(text: Option<&str>) -> Result<CapTable, Stop> {
    match text {
        None => Ok(CapTable::default()),
        Some("ercot") => Ok(CapTable::ercot()),
        Some(path) => {
            let failed = |e: csv::Error| match e.kind() {
                csv::ErrorKind::Io(_) => Stop::Failed(format!("{path}: {e}")),
                _ => Stop::Usage(format!(
                    "{path}: {e}; columns from_utc, cap_usd_per_mwh, floor_usd_per_mwh"
                )),
            };
            let mut entries = Vec::new();
            for (line, row) in (2..).zip(
                csv::Reader::from_path(path)
                    .map_err(failed)?
                    .deserialize::<CapRow>(),
            ) {
                let row = row.map_err(failed)?;
                entries.push(CapEntry {
                    from_day: moment(Some(&row.from_utc))
                        .map_err(|stop| match stop {
                            Stop::Usage(e) => {
                                Stop::Usage(format!("{path}:{line}: column from_utc: {e}"))
                            }
                            stop @ Stop::Failed(_) => stop,
                        })?
                        .unwrap_or(0)
                        .div_euclid(86_400),
                    cap: row.cap_usd_per_mwh,
                    floor: row.floor_usd_per_mwh,
                });
            }
            CapTable::new(entries).map_err(|e| {
                Stop::Usage(format!(
                    "{path}: {e}; a cap must lie above the floor of its row"
                ))
            })
        }
    }
}

#[derive(serde::Deserialize)]
struct CapRow {
    from_utc: String,
    cap_usd_per_mwh: f64,
    floor_usd_per_mwh: f64,
}
