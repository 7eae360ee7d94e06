//! `tessera risk`: what failure and energy cost, and what margin bears it.

mod backtest;
mod calibrate;
mod margin;
mod output;
mod price;
mod stress;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tessera_risk::calibrate::{CalibrateError, ReadError};
use tessera_risk::model::{Model, OpenError};

use crate::exit;
use output::Output;

/// Options of `tessera risk`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Models of failure, energy and price; premiums, margin, stress and back-tests",
    after_help = "\
Questions, one command each:
  what is the SLA guarantee worth, what does the right to preempt cost, and a spike at 5,000 USD/MWh
    tessera risk price --contract lease.toml --qty 8 --spike 5000
  what margin does this book need
    tessera risk margin --positions book.csv
  what would last winter's storm have done to it
    tessera risk stress --positions book.csv --scenario winter-storm
With --out DIR each writes its tables and SVG plots. More examples:
  tessera risk margin --emit set.json
  tessera risk calibrate energy --prices ercot.csv.gz --json
  tessera risk backtest --prices ercot.csv.gz --method filtered --window 250 --gate

Exit status: 0 done, 1 a limit is breached, a test failed with --gate or a file is missing, 2 usage or
bad input, with file, line and column."
)]
pub struct Args {
    #[command(subcommand)]
    verb: RiskVerb,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum RiskVerb {
    Calibrate(calibrate::Args),
    Price(price::Args),
    Margin(margin::Args),
    Stress(stress::Args),
    Backtest(backtest::Args),
}

/// Runs the verb.
pub fn run(args: &Args) -> ExitCode {
    let result = match &args.verb {
        RiskVerb::Calibrate(args) => calibrate::run(args),
        RiskVerb::Price(args) => price::run(args),
        RiskVerb::Margin(args) => margin::run(args),
        RiskVerb::Stress(args) => stress::run(args),
        RiskVerb::Backtest(args) => backtest::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Usage(message)) => exit::with(exit::USAGE, message),
        Err(Stop::Failed(message)) => exit::failed(message),
    }
}

/// Why a verb ends without 0.
#[derive(Debug)]
enum Stop {
    /// Bad input or usage: exit 2.
    Usage(String),
    /// The answer is no, or a file is missing: exit 1.
    Failed(String),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io { .. } => Self::Failed(error.to_string()),
            _ => Self::Usage(error.to_string()),
        }
    }
}

impl From<CalibrateError> for Stop {
    fn from(error: CalibrateError) -> Self {
        match error {
            CalibrateError::Read(error) => error.into(),
            CalibrateError::Fit(error) => Self::Usage(error.to_string()),
        }
    }
}

impl From<OpenError> for Stop {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Read { .. } => Self::Failed(error.to_string()),
            _ => Self::Usage(error.to_string()),
        }
    }
}

impl From<tessera_risk::units::ModelError> for Stop {
    fn from(error: tessera_risk::units::ModelError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<tessera_risk::units::FitError> for Stop {
    fn from(error: tessera_risk::units::FitError) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Options that every verb has.
#[derive(Clone, Debug, clap::Args)]
struct Common {
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
    /// Write report.json, CSV tables and SVG plots into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Common {
    fn output(&self) -> Output<'_> {
        Output::new(self.json, self.out.as_deref())
    }
}

/// The model and seed of a verb.
#[derive(Clone, Debug, clap::Args)]
struct ModelArgs {
    /// Model file; the shipped model when left out
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Seed; the model's when left out
    #[arg(long)]
    seed: Option<u64>,
}

impl ModelArgs {
    /// The model, its text and the seed.
    fn open(&self) -> Result<(Model, String, u64), Stop> {
        let (path, text) = match &self.model {
            None => (Path::new("default.toml"), Model::default_text().to_owned()),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|e| Stop::Failed(format!("{}: {e}", path.display())))?;
                (path.as_path(), text)
            }
        };
        let model = Model::parse(path, &text)?;
        let seed = self.seed.unwrap_or(model.seed);
        Ok((model, text, seed))
    }
}

/// A bar on standard error; silent when that is no terminal.
fn bar(total: u64) -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::new(total);
    let style =
        indicatif::ProgressStyle::with_template("{bar:40} {pos}/{len} scenarios, {eta} left");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}
