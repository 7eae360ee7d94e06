//! The program `tessera`: one binary with every verb.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use tessera::{admin, demo, feed, journal, load, risk, serve, sim, trade};

#[derive(Parser)]
#[command(
    name = "tessera",
    version,
    about = "Tessera: a deterministic exchange for compute",
    after_help = "Examples:
  tessera demo
  tessera serve --data ./exchange --listen 127.0.0.1:7700
  tessera sim --script orders.jsonl"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Serve(serve::Args),
    Demo(demo::Args),
    Sim(sim::Args),
    Journal(journal::Args),
    Trade(trade::Args),
    Feed(feed::Args),
    Load(load::Args),
    Admin(admin::Args),
    Risk(risk::Args),
}

fn main() -> ExitCode {
    // clap itself exits with 2 on a usage error and 0 on --help.
    match Cli::parse().verb {
        Verb::Serve(args) => {
            logs();
            serve::run(&args)
        }
        Verb::Demo(args) => demo::run(&args),
        Verb::Sim(args) => sim::run(args),
        Verb::Journal(args) => journal::run(&args),
        Verb::Trade(args) => trade::run(args),
        Verb::Feed(args) => feed::run(args),
        Verb::Load(args) => load::run(args),
        Verb::Admin(args) => admin::run(args),
        Verb::Risk(args) => risk::run(&args),
    }
}

/// Logs on standard error, one line each; `RUST_LOG` chooses, as in `RUST_LOG=tessera_gateway=debug`.
fn logs() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}
