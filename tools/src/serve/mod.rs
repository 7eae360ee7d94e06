//! `tessera serve`: the composition of an exchange, and the process around it.
//!
//! [`node`] puts the agents together and takes them apart in order; [`core`] is the matching thread,
//! [`journaling`] the journal, sync and preparer threads, [`market`] the feed. This file is the
//! process: arguments, the `READY` line, signals and exit codes.

mod core;
mod journal_key;
mod journaling;
mod market;
mod node;
mod stats;
mod supervisor;
mod sync_log;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;
use tessera_ring::IdleConfig;

pub use journal_key::JournalKeyError;
pub(crate) use journal_key::key_id as journal_key_id;
pub use node::{Drained, Durability, JournalStorage, Node, NodeConfig, NodeStats, StartError};
pub use stats::{Percentiles, StageHistograms};

use crate::exit;

/// Run the exchange.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  tessera serve --data /var/lib/tessera --listen 127.0.0.1:7700
  tessera serve --data ./exchange --listen 127.0.0.1:0 --durability strict")]
pub struct Args {
    /// Directory of the journal; made when it does not exist.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// UDP address to serve on; port 0 takes a free one, and `READY` says which.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7700")]
    listen: SocketAddr,
    /// CA, server certificate and known keys [default: DATA/credentials]; a development set is made
    /// where there is none.
    #[arg(long, value_name = "DIR", env = "TESSERA_CREDENTIALS")]
    credentials: Option<PathBuf>,
    /// Catalogue of a fresh data directory, instead of the shipped one.
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// What an acknowledgement means: `default` its group is synced, `strict` the watermark too,
    /// `async` stored in the mapping only (a power cut loses the last groups).
    #[arg(long, value_enum, default_value_t = Durability::Default)]
    durability: Durability,
    /// Size of a journal segment in MiB; it counts when a segment is made.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    segment_mib: u32,
    /// Gateway threads, each with its own socket.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    shards: u16,
    /// Refuse new orders while the oldest unsynced command is older than this; cancels are served.
    #[arg(long, value_name = "MS", default_value_t = 100)]
    run_ahead_ms: u64,
    /// Print `READY` as a JSON object, and one more with the last sequence and state hash after a drain.
    #[arg(long)]
    json: bool,
    /// The core and journal threads spin and never park: for machines with cores to spare.
    #[arg(long)]
    spin: bool,
}

impl Args {
    fn node_config(&self) -> NodeConfig {
        let mut config = NodeConfig::new(self.data.clone(), self.listen);
        if let Some(dir) = &self.credentials {
            config.credentials = dir.clone();
        }
        config.catalogue = self.catalogue.clone();
        config.durability = self.durability;
        config.segment_bytes = u64::from(self.segment_mib) << 20;
        config.shards = self.shards;
        config.run_ahead = Duration::from_millis(self.run_ahead_ms);
        if self.spin {
            config.idle = IdleConfig::SPINNING;
        }
        config
    }
}

/// Serves until a signal ends it.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
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
    let node = match Node::start(args.node_config()) {
        Ok(node) => node,
        Err(error) => return error.report(),
    };
    let ready = if args.json {
        serde_json::json!({
            "ready": true,
            "addr": node.addr().to_string(),
            "seq": node.ready_seq().get(),
            "epoch": node.epoch(),
            "durability": args.durability.to_string(),
        })
        .to_string()
    } else {
        format!(
            "READY addr={} seq={} epoch={} durability={}",
            node.addr(),
            node.ready_seq(),
            node.epoch(),
            args.durability,
        )
    };
    // Whoever closed standard output is told nothing, and the exchange serves all the same.
    let _ = writeln!(std::io::stdout(), "{ready}");
    let _ = std::io::stdout().flush();
    runtime.block_on(signals.wait());
    tracing::info!("draining");
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
    if args.json {
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
