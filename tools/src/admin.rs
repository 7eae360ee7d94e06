//! `tessera admin`: operating the exchange. Every change is journaled before it is answered.

pub(crate) mod accounts;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args as ClapArgs, Subcommand};
use serde::Serialize;
use tessera_client::AdminSession;
use tessera_client::admin::AdminDone;
use tessera_proto::codes::InstrumentKind;
use tessera_proto::message::SecurityDefinition;
use tessera_types::contract::{ContractTerms, Instrument, Name, Partition, Phase};
use tessera_types::{Command, Price, Qty, Timestamp};

use self::accounts::{AccountVerb, KillArgs, LimitArgs, MarginArgs, RiskVerb};
use crate::catalogue;
use crate::client_args::{ClientArgs, Instruments, VerbError, block_on, client, print};
use crate::trade::request::word;

/// List instruments and change their phases.
#[derive(Clone, Debug, ClapArgs)]
#[command(
    subcommand_required = true,
    after_help = "\
Examples:
  export TESSERA_ADDR=127.0.0.1:7700 TESSERA_CREDENTIALS=./exchange/credentials
  tessera admin instrument list --json
  tessera admin instrument add SPOT --tick 5 --max-price 100000
  tessera admin phase SPOT halt
  tessera admin phase SPOT auction --ref-price 500
  tessera admin catalogue check my-catalogue.toml
  tessera admin account deposit 7 5000000000
  tessera admin account open 7 --margined
  tessera admin limits --account 7 --collar-bps 500 --max-qty 1000
  tessera admin risk load set.json
  tessera admin kill --account 7 on

Exit status: 0 done, 1 the exchange refused or went away, 2 usage or a wrong catalogue file."
)]
pub struct Args {
    #[command(flatten)]
    client: ClientArgs,

    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Show the instruments, or list a new one
    #[command(subcommand)]
    Instrument(InstrumentAction),
    /// Change an instrument's phase
    Phase(PhaseArgs),
    /// Look at catalogue files; asks no exchange
    #[command(subcommand)]
    Catalogue(CatalogueAction),
    /// Keep an account, pay in or out, set its credit
    #[command(subcommand)]
    Account(AccountVerb),
    /// Set every pre-trade limit of an account or a session
    Limits(LimitArgs),
    /// Put the kill switch of an account or a session on or off
    Kill(KillArgs),
    /// Say how positions in an instrument are margined
    Margin(MarginArgs),
    /// Put risk parameters in force
    #[command(subcommand)]
    Risk(RiskVerb),
}

#[derive(Clone, Debug, Subcommand)]
enum CatalogueAction {
    /// Say whether `serve --catalogue` would take this file, or the first mistake with its line
    Check {
        /// A catalogue in the form of tools/catalogue/default.toml; without it the shipped one
        file: Option<PathBuf>,
    },
}

#[derive(Clone, Debug, Subcommand)]
enum InstrumentAction {
    /// Show every instrument
    List,
    /// List a new instrument
    Add(Box<Add>),
}

#[derive(Clone, Debug, ClapArgs)]
struct PhaseArgs {
    /// Name of the instrument
    name: String,
    /// continuous, auction, halt or closed
    #[arg(value_parser = word::<Phase>)]
    phase: Phase,
    /// Reference price of the uncross, in ticks
    #[arg(long, value_name = "TICKS", allow_negative_numbers = true)]
    ref_price: Option<i64>,
}

#[derive(Clone, Debug, ClapArgs)]
struct Add {
    /// Its name, 1 to 64 printable ASCII characters
    name: String,
    /// Price step in ticks
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..))]
    tick: i64,
    /// Quantity step in lots
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    lot: u64,
    /// Lowest limit price in ticks
    #[arg(
        long,
        value_name = "TICKS",
        default_value_t = 1,
        allow_negative_numbers = true
    )]
    min_price: i64,
    /// Highest limit price in ticks
    #[arg(long, value_name = "TICKS", default_value_t = i64::MAX, allow_negative_numbers = true,
          hide_default_value = true)]
    max_price: i64,
    /// Smallest order in lots
    #[arg(long, value_name = "LOTS", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..))]
    min_qty: u64,
    /// Largest order in lots
    #[arg(long, value_name = "LOTS")]
    max_qty: Option<u64>,
    /// Reference price of auctions in ticks; without it the last trade
    #[arg(long, value_name = "TICKS", allow_negative_numbers = true)]
    ref_price: Option<i64>,
    /// Market orders get the limit "best opposite price plus or minus this many ticks"
    #[arg(long, value_name = "TICKS")]
    protect: Option<u64>,
    #[command(flatten)]
    terms: Option<Terms>,
}

/// The compute coordinate: all of it, or nothing for a plain instrument.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Compute contract (numbers of the catalogue)")]
struct Terms {
    /// GPU class
    #[arg(
        long,
        required = false,
        requires = "start_hour",
        requires = "hours",
        requires = "zone",
        requires = "tick_micro_usd"
    )]
    class: u16,
    /// time_slice, vgpu, mig, whole or tee
    #[arg(long, default_value = "whole", value_parser = partition, requires = "class")]
    partition: Partition,
    /// Partition profile, 0 for a whole device
    #[arg(long, default_value_t = 0, requires = "class")]
    profile: u8,
    /// 0 best effort, 1 reclaimable, 2 standard, 3 firm, 4 firm with damages
    #[arg(long, default_value_t = 2, requires = "class",
          value_parser = clap::value_parser!(u8).range(..=4))]
    tier: u8,
    /// Energy zone
    #[arg(long, required = false, requires = "class")]
    zone: u16,
    /// Start of delivery in hours since 1970 UTC
    #[arg(long, value_name = "HOUR", required = false, requires = "class")]
    start_hour: u32,
    /// Length of the window in hours
    #[arg(long, required = false, requires = "class",
          value_parser = clap::value_parser!(u16).range(1..=8_784))]
    hours: u16,
    /// 1/10,000 of a whole device per lot
    #[arg(long, default_value_t = 10_000, requires = "class")]
    weight: u32,
    /// Micro-USD per unit-hour of one tick, a multiple of 60
    #[arg(long, value_name = "UUSD", required = false, requires = "class")]
    tick_micro_usd: u32,
}

fn partition(text: &str) -> Result<Partition, String> {
    Partition::from_word(text)
        .ok_or_else(|| "write one of time_slice, vgpu, mig, whole, tee".to_owned())
}

impl Add {
    fn instrument(&self) -> Result<Instrument, VerbError> {
        let name = Name::new(&self.name).map_err(|error| VerbError::Usage(error.to_string()))?;
        let mut instrument = Instrument::plain(name);
        instrument.tick = self.tick;
        instrument.lot = self.lot;
        instrument.min_price = Price::from_ticks(self.min_price);
        instrument.max_price = Price::from_ticks(self.max_price);
        instrument.min_qty = Qty::from_lots(self.min_qty);
        instrument.max_qty = self.max_qty.map_or(Qty::MAX, Qty::from_lots);
        instrument.ref_price = self.ref_price.map(Price::from_ticks);
        instrument.protect = self.protect;
        if let Some(terms) = &self.terms {
            instrument.tick_micro_usd = terms.tick_micro_usd;
            instrument.terms = Some(ContractTerms {
                class: terms.class,
                partition: terms.partition,
                profile: terms.profile,
                tier: terms.tier,
                zone: terms.zone,
                start_hour: terms.start_hour,
                hours: terms.hours,
                weight: terms.weight,
                windows: 1,
                reclaim: None,
            });
        }
        Ok(instrument)
    }
}

/// Runs the verb and says what the process should exit with.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    block_on(admin(args))
}

async fn admin(args: Args) -> Result<ExitCode, VerbError> {
    if let Action::Catalogue(CatalogueAction::Check { file }) = &args.action {
        print(&check_catalogue(file.as_deref(), args.client.json)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let client = client(args.client.config()?)?;
    // What is wrong with the flags is said before anybody is asked anything.
    let add = match &args.action {
        Action::Instrument(InstrumentAction::Add(add)) => Some(add.instrument()?),
        _ => None,
    };
    let set = match &args.action {
        Action::Risk(RiskVerb::Load {
            file,
            step_limit_bps,
        }) => Some(accounts::set_commands(file, *step_limit_bps)?),
        _ => None,
    };
    let mut session = client.admin(args.client.session_or(SESSION)).await?;
    let result = match &args.action {
        Action::Risk(verb) => accounts::on_risk(verb, set, args.client.json, &mut session).await,
        _ => act(&args, add, &mut session).await,
    };
    let logout = session.logout().await;
    client.wait_idle().await;
    result?;
    logout?;
    Ok(ExitCode::SUCCESS)
}

async fn act(
    args: &Args,
    add: Option<Instrument>,
    session: &mut AdminSession,
) -> Result<(), VerbError> {
    let json = args.client.json;
    match &args.action {
        Action::Account(verb) => accounts::on_account(verb, json, session).await,
        Action::Limits(limits) => accounts::on_limits(limits, json, session).await,
        Action::Kill(kill) => accounts::on_kill(kill, json, session).await,
        Action::Margin(margin) => accounts::on_margin(margin, json, session).await,
        Action::Risk(verb) => accounts::on_risk(verb, None, json, session).await,
        Action::Instrument(InstrumentAction::List) => {
            let instruments = Instruments::new(session.instruments().await?);
            for definition in instruments.all() {
                let listed = Listed::of(definition);
                print(&if json {
                    to_json(&listed)
                } else {
                    listed.text()
                })?;
            }
            Ok(())
        }
        Action::Instrument(InstrumentAction::Add(_)) => {
            let Some(instrument) = add else { return Ok(()) };
            let done = session.list_instrument(&instrument).await?;
            say(json, "instrument", instrument.name.as_str(), None, done)
        }
        Action::Phase(change) => {
            let instruments = Instruments::new(session.instruments().await?);
            let instrument = instruments.require(&change.name)?.instrument;
            let ref_price = change.ref_price.map(Price::from_ticks);
            let done = session
                .set_phase(instrument, change.phase, ref_price)
                .await?;
            say(json, "phase", &change.name, Some(change.phase), done)
        }
        Action::Catalogue(CatalogueAction::Check { .. }) => {
            unreachable!("a check asks no exchange and was done before the session")
        }
    }
}

/// Everything that loading would check, now, and what the file holds.
fn check_catalogue(path: Option<&Path>, json: bool) -> Result<String, VerbError> {
    #[derive(Serialize)]
    struct Checked {
        ev: &'static str,
        version: u16,
        classes: usize,
        profiles: usize,
        zones: usize,
        tiers: usize,
        energy_indices: usize,
        workloads: usize,
        efficiencies: usize,
        instruments: usize,
    }
    let wrong = |error: catalogue::CatalogueError| VerbError::Usage(error.to_string());
    let file = catalogue::load(path).map_err(wrong)?;
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since_epoch.map_or(0, |elapsed| elapsed.as_nanos());
    let now = Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    let commands = file.commands(now).map_err(wrong)?;
    let tables = file.tables();
    let checked = Checked {
        ev: "catalogue",
        version: tables.version,
        classes: tables.classes.len(),
        profiles: tables.profiles.len(),
        zones: tables.zones.len(),
        tiers: file.tiers().len(),
        energy_indices: file.energy().len(),
        workloads: file.workloads().len(),
        efficiencies: file.efficiency().len(),
        instruments: commands
            .iter()
            .filter(|command| matches!(command, Command::ListInstrument(_)))
            .count(),
    };
    if json {
        return Ok(to_json(&checked));
    }
    Ok(format!(
        "version {}: {} classes, {} profiles, {} zones, {} tiers, {} energy indices, {} workloads, \
         {} efficiencies, {} instruments; no mistake found",
        checked.version,
        checked.classes,
        checked.profiles,
        checked.zones,
        checked.tiers,
        checked.energy_indices,
        checked.workloads,
        checked.efficiencies,
        checked.instruments
    ))
}

fn say(
    json: bool,
    ev: &'static str,
    name: &str,
    phase: Option<Phase>,
    done: AdminDone,
) -> Result<(), VerbError> {
    #[derive(Serialize)]
    struct Done<'a> {
        ev: &'static str,
        instrument: &'a str,
        id: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        phase: Option<&'static str>,
        engine_seq: u64,
    }
    let phase = phase.map(Phase::as_str);
    let (id, engine_seq) = (done.instrument.get(), done.seq.get());
    if json {
        return print(&to_json(&Done {
            ev,
            instrument: name,
            id,
            phase,
            engine_seq,
        }));
    }
    print(&match phase {
        Some(phase) => format!("{name} is in phase {phase} (seq {engine_seq})"),
        None => format!("{name} is listed as instrument {id} (seq {engine_seq})"),
    })
}

#[derive(Debug, Serialize)]
struct Listed<'a> {
    instrument: &'a str,
    id: u32,
    phase: &'static str,
    kind: &'static str,
    tick: i64,
    lot: u64,
    min_price: i64,
    max_price: i64,
    min_qty: u64,
    max_qty: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    compute: Option<Compute>,
}

#[derive(Debug, Serialize)]
struct Compute {
    class: u16,
    partition: &'static str,
    profile: u8,
    tier: u8,
    zone: u16,
    delivery_start_ns: u64,
    delivery_end_ns: u64,
    lot_gpu_seconds: u32,
    tick_uusd: u32,
    weight: u32,
}

impl<'a> Listed<'a> {
    fn of(m: &'a SecurityDefinition) -> Self {
        Self {
            instrument: m.symbol.as_str(),
            id: m.instrument.get(),
            phase: m.phase.as_str(),
            kind: m.kind.as_str(),
            tick: m.tick,
            lot: m.lot,
            min_price: m.min_price.ticks(),
            max_price: m.max_price.ticks(),
            min_qty: m.min_qty.lots(),
            max_qty: m.max_qty.lots(),
            compute: (m.kind == InstrumentKind::Compute).then(|| Compute {
                class: m.class,
                partition: m.partition.as_str(),
                profile: m.profile,
                tier: m.tier,
                zone: m.zone,
                delivery_start_ns: m.delivery_start.nanos(),
                delivery_end_ns: m.delivery_end.nanos(),
                lot_gpu_seconds: m.lot_gpu_seconds,
                tick_uusd: m.tick_micro_usd,
                weight: m.weight,
            }),
        }
    }

    fn text(&self) -> String {
        let mut line = format!(
            "{:>4} {:<40} {:<10} tick {} lot {}",
            self.id, self.instrument, self.phase, self.tick, self.lot
        );
        if let Some(compute) = &self.compute {
            line.push_str(&format!(
                " {} tier {} zone {} class {}",
                compute.partition, compute.tier, compute.zone, compute.class
            ));
        }
        line
    }
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain structs of numbers and text are always JSON")
}

/// The session of an operator who names none.
const SESSION: &str = "ADMIN";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }

    fn add(line: &str) -> Result<Instrument, String> {
        let words = ["admin", "instrument", "add"]
            .into_iter()
            .chain(line.split(' '));
        let program = Program::try_parse_from(words).map_err(|error| error.to_string())?;
        match program.args.action {
            Action::Instrument(InstrumentAction::Add(add)) => {
                add.instrument().map_err(|error| error.to_string())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_instrument_is_plain_unless_it_has_a_class() {
        let plain = add("SPOT --tick 5 --min-price -10").unwrap();
        assert_eq!(plain.name.as_str(), "SPOT");
        assert_eq!(
            (plain.tick, plain.min_price.ticks(), plain.terms),
            (5, -10, None)
        );
        let contract =
            "H --class 1 --zone 2 --start-hour 500 --hours 24 --tick-micro-usd 60 --partition tee";
        let terms = add(contract).unwrap().terms.unwrap();
        assert_eq!(
            (terms.class, terms.zone, terms.tier, terms.hours),
            (1, 2, 2, 24)
        );
        assert_eq!(terms.partition, Partition::Tee);
    }

    #[test]
    fn half_a_contract_is_refused() {
        for bad in [
            "H --class 1",
            "H --zone 2",
            "H --tier 3",
            "H --class 1 --zone 2 --hours 24",
        ] {
            let error = add(bad).unwrap_err();
            assert!(error.contains("required"), "{bad}: {error}");
        }
        assert!(add("H --tick 0").is_err());
    }
}
