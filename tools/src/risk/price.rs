//! `tessera risk price`: every right in one contract.

use std::path::PathBuf;

use tessera_risk::contract::{Contract, PriceError, PriceSettings};

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
            error => Stop::Usage(format!("{}: {error}", args.contract.display())),
        })?;
    let output = args.common.output();
    output.report(&price)?;
    output.table("rights.csv", &price.rights)
}
