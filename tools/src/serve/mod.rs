//! `tessera serve`: the composition of an exchange, and the process around it.
//!
//! [`node`] puts the agents together and takes them apart in order; [`core`] is the matching thread,
//! [`journaling`] the journal, sync and preparer threads, [`market`] the feed, [`health`] what
//! monitoring sees; [`rebuild`] brings the engine back, [`shadow`] makes the snapshots that shorten that.
//! This file is the process: settings, the `READY` line, signals and exit codes.

mod core;
mod health;
mod journal_key;
mod journaling;
mod market;
mod node;
pub(crate) mod rebuild;
mod shadow;
mod stats;
mod supervisor;
mod sync_log;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args as ClapArgs;
use sd_notify::NotifyState;
use serde::{Deserialize, Serialize};
use tessera_gateway::{Health, HttpServer};
use tessera_journal::Retention;
use tessera_ring::IdleConfig;

pub use journal_key::JournalKeyError;
pub(crate) use journal_key::key_id as journal_key_id;
pub use node::{Drained, Durability, JournalStorage, Node, NodeConfig, NodeStats, StartError};
pub use rebuild::RebuildError;
pub use stats::{Percentiles, StageHistograms};

use self::health::NodeHealth;
use crate::config::{ConfigError, Layers};
use crate::exit;

/// Run the exchange.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  tessera serve --data /var/lib/tessera --listen 127.0.0.1:7700
  tessera serve --data ./exchange --listen 127.0.0.1:0 --durability strict")]
pub struct Args {
    /// Directory of the journal; made when it does not exist.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// UDP address to serve on; port 0 takes a free one, and `READY` says which [default: 127.0.0.1:7700].
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// TCP address of `/livez`, `/readyz` and `/metrics`; no HTTP unless given.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// CA, server certificate and known keys [default: DATA/credentials]; a development set is made
    /// where there is none.
    #[arg(long, value_name = "DIR")]
    credentials: Option<PathBuf>,
    /// Catalogue of a fresh data directory, instead of the shipped one.
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// What an acknowledgement means: `default` its group is synced, `strict` the watermark too,
    /// `async` stored in the mapping only (a power cut loses the last groups) [default: default].
    #[arg(long, value_enum)]
    durability: Option<Durability>,
    /// Size of a journal segment in MiB, 1 to 4096; it counts when a segment is made [default: 256].
    #[arg(long, value_name = "MIB")]
    segment_mib: Option<u32>,
    /// Gateway threads, each with its own socket, 1 to 16 [default: 1].
    #[arg(long)]
    shards: Option<u16>,
    /// Refuse new orders while the oldest unsynced command is older than this; cancels are served
    /// [default: 100].
    #[arg(long, value_name = "MS")]
    run_ahead_ms: Option<u64>,
    /// Make a snapshot of the engine every N commands; 0 makes none, and then no segment is retired
    /// either. While one is made, the memory of a second engine is in use [default: 1000000].
    #[arg(long, value_name = "N")]
    snapshot_every: Option<u64>,
    /// Segments that stay in the journal's directory although a verified snapshot holds all of them,
    /// the live one included [default: 4].
    #[arg(long, value_name = "N")]
    retain_segments: Option<u16>,
    /// Hours that a segment stays at least, counted from its last record to the begin of the live one
    /// [default: 24].
    #[arg(long, value_name = "H")]
    retain_hours: Option<u32>,
    /// After a restart cancel-only for this long, then trading goes on by a journaled command
    /// [default: 0].
    #[arg(long, value_name = "MS")]
    restart_hold_ms: Option<u64>,
    /// Orders whose time ended while the exchange was down end this long after the restart
    /// [default: 5000].
    #[arg(long, value_name = "MS")]
    restart_grace_ms: Option<u64>,
    /// Put this version of the engine's rules in force, by a journaled activation, if the journal is
    /// under an older one; it never goes back.
    #[arg(long, value_name = "VERSION")]
    activate_rules: Option<u32>,
    /// Commands from one state hash to the next: for tests of snapshots.
    #[arg(long, value_name = "N", default_value_t = 65_536, hide = true, value_parser = clap::value_parser!(u64).range(1..))]
    state_hash_every: u64,
    /// Print `READY` as a JSON object, and one more with the last sequence and state hash after a drain.
    #[arg(long)]
    json: bool,
    /// The core and journal threads spin and never park: for machines with cores to spare.
    #[arg(long)]
    spin: bool,
    /// Settings file instead of `tessera.toml` here, in the user's or the system's configuration
    /// directory. Flags go before `TESSERA__SECTION__KEY` variables, these before the file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the settings and end: 0 when they can be used, 2 when not.
    #[arg(long, conflicts_with = "print_config")]
    check_config: bool,
    /// Print every setting with what it is and where its value comes from, as a file for `--config`.
    #[arg(long)]
    print_config: bool,
}

/// Everything `serve` is told, from all places.
struct Settings {
    node: NodeConfig,
    http: Option<SocketAddr>,
    log_filter: String,
    log_format: LogFormat,
}

/// How log entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LogFormat {
    Text,
    Json,
}

impl Args {
    /// Resolves every setting in `layers`, so that these then say where each came from.
    fn settings(&self, layers: &mut Layers) -> Result<Settings, ConfigError> {
        let listen = layers.required("gateway.listen", self.listen)?;
        let credentials = layers.optional("gateway.credentials", self.credentials.clone())?;
        let catalogue = layers.optional("journal.catalogue", self.catalogue.clone())?;
        let durability = layers.required("journal.durability", self.durability)?;
        let segment_mib = layers.within("journal.segment_mib", self.segment_mib, 1..=4096)?;
        let shards = layers.within("threads.shards", self.shards, 1..=16)?;
        let run_ahead_ms = layers.required("journal.run_ahead_ms", self.run_ahead_ms)?;
        let snapshot_every = layers.required("journal.snapshot_every", self.snapshot_every)?;
        let retain_segments =
            layers.within("journal.retain_segments", self.retain_segments, 1..=9999)?;
        let retain_hours = layers.required("journal.retain_hours", self.retain_hours)?;
        let hold_ms = layers.required("journal.restart_hold_ms", self.restart_hold_ms)?;
        let grace_ms = layers.required("journal.restart_grace_ms", self.restart_grace_ms)?;
        let spin = layers.required("threads.spin", self.spin.then_some(true))?;
        let http = layers.optional("http.listen", self.http)?;
        let log_filter = layers.required("log.filter", None)?;
        let log_format = layers.required("log.format", None)?;
        // Last, so that a print shows everything else when no directory is named.
        let data = layers.required("journal.data", self.data.clone())?;
        let mut node = NodeConfig::new(data, listen);
        if let Some(dir) = credentials {
            node.credentials = dir;
        }
        node.catalogue = catalogue;
        node.durability = durability;
        node.segment_bytes = u64::from(segment_mib) << 20;
        node.shards = shards;
        node.run_ahead = Duration::from_millis(run_ahead_ms);
        node.snapshot_every = snapshot_every;
        node.retention = Retention {
            segments: usize::from(retain_segments),
            age_ns: u64::from(retain_hours) * 3_600_000_000_000,
        };
        node.restart_hold = Duration::from_millis(hold_ms);
        node.restart_grace = Duration::from_millis(grace_ms);
        node.activate_rules = self.activate_rules;
        node.state_hash_every = self.state_hash_every;
        if spin {
            node.idle = IdleConfig::SPINNING;
        }
        Ok(Settings {
            node,
            http,
            log_filter,
            log_format,
        })
    }
}

/// Logs on standard error.
fn logs(settings: &Settings) -> Result<(), String> {
    let filter = tracing_subscriber::EnvFilter::try_new(&settings.log_filter)
        .map_err(|error| format!("`log.filter`: {error}"))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => logs
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init(),
        LogFormat::Json => logs.json().init(),
    }
    Ok(())
}

/// Serves until a signal ends it.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let mut layers = match Layers::read(args.config.as_deref()) {
        Ok(layers) => layers,
        Err(error) => return exit::with(exit::USAGE, error),
    };
    let settings = args.settings(&mut layers);
    if args.print_config {
        // A file without a directory is a fine beginning; any other mistake is none.
        if let Err(error) = settings
            && !matches!(error, ConfigError::Missing { .. })
        {
            return exit::with(exit::USAGE, error);
        }
        print!("{layers}");
        return ExitCode::SUCCESS;
    }
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return exit::with(exit::USAGE, error),
    };
    if let Err(error) = logs(&settings) {
        return exit::with(exit::USAGE, error);
    }
    if args.check_config {
        return ExitCode::SUCCESS;
    }
    serve(args.json, settings)
}

/// Serves the exchange of a directory that nobody else uses, for looking around only, until a signal ends it.
pub(crate) fn look_around(json: bool, data: PathBuf, listen: SocketAddr) -> ExitCode {
    let node = NodeConfig {
        read_only: true,
        snapshot_every: 0,
        ..NodeConfig::new(data, listen)
    };
    let settings = Settings {
        node,
        http: None,
        log_filter: "warn".to_owned(),
        log_format: LogFormat::Text,
    };
    if let Err(error) = logs(&settings) {
        return exit::failed(error);
    }
    serve(json, settings)
}

fn serve(json: bool, settings: Settings) -> ExitCode {
    if let Err(error) = tessera_journal::sigbus::install() {
        return exit::failed(format_args!("cannot catch SIGBUS: {error}"));
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return exit::failed(format_args!("cannot start the control runtime: {error}"));
        }
    };
    // Signals are caught before anything starts, so that one that comes early still drains.
    let signals = match runtime.block_on(async { Signals::new() }) {
        Ok(signals) => signals,
        Err(error) => return exit::failed(format_args!("cannot catch signals: {error}")),
    };
    let health = Arc::new(NodeHealth::default());
    let http = match settings.http {
        None => None,
        Some(addr) => match HttpServer::start(addr, Arc::clone(&health) as Arc<dyn Health>) {
            Ok(server) => Some(server),
            Err(error) => {
                return exit::failed(format_args!("cannot serve HTTP on {addr}: {error}"));
            }
        },
    };
    let durability = settings.node.durability;
    let node = match Node::start(settings.node) {
        Ok(node) => node,
        Err(error) => return error.report(),
    };
    health.started(node.watch());
    let ready = if json {
        serde_json::json!({
            "ready": true,
            "addr": node.addr().to_string(),
            "seq": node.ready_seq().get(),
            "epoch": node.epoch(),
            "durability": durability.to_string(),
            "http": http.as_ref().map(|server| server.addr().to_string()),
        })
        .to_string()
    } else {
        let http = http
            .as_ref()
            .map_or_else(String::new, |server| format!(" http={}", server.addr()));
        format!(
            "READY addr={} seq={} epoch={} durability={durability}{http}",
            node.addr(),
            node.ready_seq(),
            node.epoch(),
        )
    };
    // Whoever closed standard output is told nothing, and the exchange serves all the same.
    let _ = writeln!(std::io::stdout(), "{ready}");
    let _ = std::io::stdout().flush();
    tell_service_manager(NotifyState::Ready);
    runtime.block_on(signals.wait());
    tracing::info!("draining");
    health.draining();
    tell_service_manager(NotifyState::Stopping);
    // A second signal ends the process at once: the journal is safe at any moment, the sessions are
    // only spared the courtesy.
    std::thread::spawn(move || {
        runtime.block_on(signals.again());
        std::process::exit(1);
    });
    let drained = node.shutdown();
    eprintln!(
        "drained seq={} state_hash={}",
        drained.seq, drained.state_hash
    );
    if json {
        let last = serde_json::json!({
            "drained": true,
            "seq": drained.seq.get(),
            "state_hash": drained.state_hash,
            "journal_bytes": drained.journal_bytes,
            "trades": drained.trades,
        });
        let _ = writeln!(std::io::stdout(), "{last}");
    }
    ExitCode::SUCCESS
}

/// Says it to the service manager that started this process with `NOTIFY_SOCKET`, if one did.
fn tell_service_manager(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}

/// SIGTERM and SIGINT.
#[derive(Clone)]
struct Signals(tokio::sync::watch::Receiver<u32>);

impl Signals {
    /// Must be called inside the runtime that will poll it.
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (count, receiver) = tokio::sync::watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                count.send_modify(|count| *count += 1);
            }
        });
        Ok(Self(receiver))
    }

    async fn wait(&self) {
        self.at_least(1).await;
    }

    async fn again(&self) {
        self.at_least(2).await;
    }

    async fn at_least(&self, times: u32) {
        let mut count = self.0.clone();
        // The sender lives as long as the runtime.
        let _ = count.wait_for(|&count| count >= times).await;
    }
}
