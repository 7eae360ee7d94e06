//! Commands a second and latencies of single commands, side by side.

use std::process::ExitCode;

use tessera_benches::baseline::Baseline;
use tessera_benches::contest::{self, Contender, Rounds, Row};
use tessera_benches::flows::Flow;
use tessera_benches::shape::Shape;
use tessera_benches::subject::Engine;

/// Commands a second and latencies of single commands, side by side.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these flows, separated by commas.
    #[arg(long, value_delimiter = ',')]
    flow: Vec<Flow>,
    /// How many commands of each flow; twice the new orders of a market scenario.
    #[arg(long, default_value_t = 2_000_000)]
    commands: usize,
    /// Rounds for throughput.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Rounds for latencies of single commands.
    #[arg(long, default_value_t = 3)]
    latency_rounds: u16,
    /// Chooses among equal flows; each has one of its own.
    #[arg(long)]
    seed: Option<u64>,
    /// One JSON object per line instead of a table.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// What the tables of `docs/performance.md` are made with.
    pub(crate) fn tables(commands: usize, rounds: u16) -> Self {
        Self {
            flow: Vec::new(),
            commands,
            rounds,
            latency_rounds: rounds.min(3),
            seed: None,
            json: false,
        }
    }
}

/// Fails when the engine and the baseline disagree on what traded.
pub(crate) fn run(args: &Args) -> ExitCode {
    let flows = if args.flow.is_empty() {
        &Flow::ALL
    } else {
        args.flow.as_slice()
    };
    let mut agree = true;
    for flow in flows {
        let workload = flow.workload(args.commands, args.seed.unwrap_or(flow.seed()));
        let shape = Shape::of(&workload);
        let rounds = Rounds {
            throughput: usize::from(args.rounds),
            latency: usize::from(args.latency_rounds),
        };
        let rows = contest::run(&workload, &contenders(*flow), rounds);
        if args.json {
            for row in &rows {
                println!(
                    "{}",
                    serde_json::json!({ "row": row, "resting": shape.resting, "levels": shape.levels })
                );
            }
        } else {
            print(*flow, &shape, &rows);
        }
        // The books of other crates may differ, and then do not count.
        agree &= rows[..OWN].iter().all(|row| row.agrees);
    }
    if agree {
        ExitCode::SUCCESS
    } else {
        eprintln!("tessera-bench: not all traded the same");
        ExitCode::FAILURE
    }
}

/// The baseline in two forms and the engine, which come first.
const OWN: usize = 3;

fn contenders(flow: Flow) -> Vec<Contender> {
    #[cfg_attr(
        not(feature = "peers"),
        expect(unused_mut, reason = "the peers are added")
    )]
    let mut contenders = vec![
        Contender::new("baseline", |workload| Baseline::plain(workload.books)),
        Contender::new("engine", Engine::new),
        Contender::new("baseline, std hash", |workload| {
            Baseline::std_hash(workload.books)
        }),
    ];
    #[cfg(feature = "peers")]
    add_peers(flow, &mut contenders);
    #[cfg(not(feature = "peers"))]
    let _ = flow;
    contenders
}

/// The books of other crates. They have no auctions.
#[cfg(feature = "peers")]
fn add_peers(flow: Flow, contenders: &mut Vec<Contender>) {
    use tessera_benches::peers::{Lobster, Matchcore, OrderbookRs, Peer, PeerBook};

    if flow != Flow::Auction {
        contenders.push(Contender::new(Matchcore::NAME, Peer::<Matchcore>::new).slow());
        contenders.push(Contender::new(Lobster::NAME, Peer::<Lobster>::new).slow());
        contenders.push(Contender::new(OrderbookRs::NAME, Peer::<OrderbookRs>::new).slow());
    }
}

fn print(flow: Flow, shape: &Shape, rows: &[Row]) {
    let Shape { resting, levels } = shape;
    let Some(first) = rows.first() else { return };
    println!(
        "\n### {flow}\n\n{}. {} commands, {resting:.0} orders rest on {levels:.0} levels on average, {} trades of {} lots.\n",
        flow.describe(),
        first.commands,
        first.trades,
        first.lots,
    );
    println!("| | M commands/s | median | ratio | p50 | p99 | p99.9 | p99.99 | max ns |");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for row in rows {
        let latency = row.latency.map_or(String::from(" | | | |"), |ns| {
            format!(
                "{} | {} | {} | {} | {}",
                ns.p50, ns.p99, ns.p999, ns.p9999, ns.max
            )
        });
        let Row {
            name,
            best,
            median,
            ratio,
            ..
        } = row;
        if row.agrees {
            println!("| {name} | {best:.2} | {median:.2} | {ratio:.2} | {latency} |");
        } else if row.commands < first.commands {
            println!(
                "| {name} | does not count: {best:.3}, stopped after {} commands | | | | | | | |",
                row.commands
            );
        } else {
            println!(
                "| {name} | does not count: {} trades of {} lots | | | | | | | |",
                row.trades, row.lots
            );
        }
    }
}
