//! `tessera demo`: a whole exchange on loopback, with participants, in one command.
//!
//! [`strategy`] is how the participants trade and [`desk`] their orders; [`board`] is what the feed
//! says; [`trading`] connects these to the exchange through [`link`], as QUIC clients like any other;
//! [`view`] is the terminal and [`summary`] what is left at the end. This file starts and ends
//! everything.

mod board;
mod desk;
mod link;
mod strategy;
mod summary;
mod trading;
mod view;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tessera_market_data::LevelEntry;
use tokio::signal::unix::{SignalKind, signal};

use self::summary::{Run, Summary};
use self::trading::{Shared, Trading};
use self::view::{ContractRow, Screen, SessionRow, TapeRow};
use crate::exit;
use crate::serve::{Node, NodeConfig, NodeStats};

/// Run an exchange with makers and takers on this machine, and watch it.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  tessera demo
  tessera demo --seed 7
  tessera demo --headless --seconds 10 > summary.json

Everything lives in a temporary directory and is gone at the end. Without a terminal on standard
output the demo is headless.")]
pub struct Args {
    /// Seed of the participants and of the index they follow.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// No terminal view: print a JSON summary at the end.
    #[arg(long)]
    headless: bool,
    /// End after this many seconds [default: 10 when headless, else when asked].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Print the JSON summary after the terminal view too.
    #[arg(long)]
    json: bool,
}

/// Runs the demo until its time is over, `q` is pressed, or a signal comes.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let started = Instant::now();
    let headless = args.headless || !io::stdout().is_terminal();
    let shared = Arc::new(Shared::new(args.seed, started));
    // Signals are caught before anything starts, so that one that comes early still drains.
    if let Err(error) = catch_signals(Arc::clone(&shared)) {
        return exit::failed(format_args!("cannot catch signals: {error}"));
    }
    let directory = match tempfile::Builder::new().prefix("tess-").tempdir() {
        Ok(directory) => directory,
        Err(error) => {
            return exit::failed(format_args!("cannot make a temporary directory: {error}"));
        }
    };
    let mut config = NodeConfig::new(directory.path().join("data"), ([127, 0, 0, 1], 0).into());
    config.credentials = directory.path().join("keys");
    config.segment_bytes = SEGMENT_BYTES;
    let credentials = config.credentials.clone();
    let node = match Node::start(config) {
        Ok(node) => node,
        Err(error) => return error.report(),
    };
    let addr = node.addr();
    let commands = next_commands(&addr.to_string(), &credentials.display().to_string());
    if headless {
        eprintln!("exchange on {addr}; from another terminal:");
        for command in &commands {
            eprintln!("  {command}");
        }
    }
    let trading = match Trading::start(addr, credentials, args.seed, Arc::clone(&shared)) {
        Ok(trading) => trading,
        Err(error) => {
            let _ = node.shutdown();
            return exit::failed(error);
        }
    };
    let deadline = match args.seconds {
        Some(seconds) => Some(started + Duration::from_secs(seconds)),
        None if headless => Some(started + HEADLESS_DEFAULT),
        None => None,
    };
    let watched = if headless {
        wait(&shared, deadline);
        Ok(())
    } else {
        watch(&node, &shared, addr.to_string(), commands, deadline)
    };
    // The participants log out before the exchange drains, and the figures are read in between.
    let outcome = trading.stop();
    let stats = node.stats();
    let drained = node.shutdown();
    let (contracts, lots) = shared.with_board(|board| (board.contracts().len(), board.lots()));
    let run = Run {
        seed: args.seed,
        elapsed: started.elapsed(),
        first_trade: shared.first_trade(),
        contracts,
        lots,
        participants: shared.participants(),
    };
    let summary = Summary::new(run, &stats, drained);
    if headless || args.json {
        match serde_json::to_string_pretty(&summary) {
            Ok(text) => println!("{text}"),
            Err(error) => return exit::failed(format_args!("cannot write the summary: {error}")),
        }
    } else {
        eprintln!(
            "{} orders, {} trades; drained seq={} state_hash={}",
            summary.orders, summary.trades, summary.seq, summary.state_hash
        );
    }
    if let Err(error) = directory.close() {
        eprintln!("tessera: cannot remove the temporary directory: {error}");
    }
    if let Err(error) = watched {
        return exit::failed(format_args!("the terminal failed: {error}"));
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::failed(error),
    }
}

/// The first SIGINT or SIGTERM ends the demo in order, the second one at once.
fn catch_signals(shared: Arc<Shared>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(guard);
    let mut next = async move || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    std::thread::Builder::new()
        .name("demo-signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                next().await;
                shared.stop();
                next().await;
                ratatui::restore();
                std::process::exit(i32::from(exit::FAILED));
            });
        })?;
    Ok(())
}

/// What somebody with a second terminal would try next.
fn next_commands(addr: &str, credentials: &str) -> Vec<String> {
    vec![
        format!("export TESSERA_ADDR={addr} TESSERA_CREDENTIALS={credentials}"),
        "tessera feed --instrument H100.whole.std.us-tx.d1".to_owned(),
        "tessera trade place --instrument TEST --side buy --qty 5 --price 100".to_owned(),
        "tessera load --count 1000".to_owned(),
    ]
}

/// Sleeps until the time is over, or somebody ends it.
fn wait(shared: &Shared, deadline: Option<Instant>) {
    while !is_over(shared, deadline) {
        std::thread::sleep(FRAME);
    }
}

fn is_over(shared: &Shared, deadline: Option<Instant>) -> bool {
    shared.is_stopping() || deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// The terminal view. The terminal is put back whatever happens: at the end here, in a panic by the
/// hook that `ratatui::try_init` installs.
fn watch(
    node: &Node,
    shared: &Shared,
    addr: String,
    commands: Vec<String>,
    deadline: Option<Instant>,
) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let mut selected = 0;
    let mut screen = Screen {
        addr,
        commands,
        ..Screen::default()
    };
    let result = loop {
        if is_over(shared, deadline) {
            break Ok(());
        }
        fill(&mut screen, &node.stats(), shared, selected);
        let drawn = terminal.draw(|frame| view::draw(frame, &screen, selected));
        if let Err(error) = drawn {
            break Err(error);
        }
        match next_key(Instant::now() + FRAME) {
            Ok(Some(Key::Quit)) => break Ok(()),
            Ok(Some(Key::Up)) => selected = selected.saturating_sub(1),
            Ok(Some(Key::Down)) => {
                selected = (selected + 1).min(screen.contracts.len().saturating_sub(1));
            }
            Ok(None) => {}
            Err(error) => break Err(error),
        }
    };
    ratatui::try_restore().and(result)
}

enum Key {
    Quit,
    Up,
    Down,
}

/// The next key that means something, until the time of the next picture.
fn next_key(until: Instant) -> io::Result<Option<Key>> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if !event::poll(left)? {
            return Ok(None);
        }
        let Event::Key(key) = event::read()? else {
            return Ok(None); // the terminal changed its size: draw now
        };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Ok(Some(Key::Quit)),
            // In raw mode Ctrl-C is a key and no signal.
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Ok(Some(Key::Quit));
            }
            KeyCode::Up | KeyCode::Char('k') => return Ok(Some(Key::Up)),
            KeyCode::Down | KeyCode::Char('j') => return Ok(Some(Key::Down)),
            _ => {}
        }
    }
}

fn fill(screen: &mut Screen, stats: &NodeStats, shared: &Shared, selected: usize) {
    let participants = shared.participants();
    screen.uptime = stats.uptime;
    screen.seq = stats.seq.get();
    screen.lag = stats.seq.get().saturating_sub(stats.durable.get());
    screen.trades = stats.trades;
    screen.orders = participants.iter().map(|one| one.orders).sum();
    screen.sessions = participants
        .iter()
        .map(|one| SessionRow {
            name: one.name.to_owned(),
            up: shared.is_up(one.name),
            orders: one.orders,
            fills: one.fills,
        })
        .collect();
    screen.stages = vec![
        ("ack", stats.ack),
        ("match", stats.matching),
        ("frame", stats.framing),
        ("disk", stats.durability),
        ("tape", stats.tape),
    ];
    shared.with_board(|board| {
        screen.contracts.clear();
        for contract in board.contracts() {
            let top = contract.book.as_ref();
            screen.contracts.push(ContractRow {
                name: contract.name.clone(),
                tick_micro_usd: contract.tick_micro_usd,
                bid: top
                    .and_then(|top| top.bids.first())
                    .map(|level| level.price),
                ask: top
                    .and_then(|top| top.asks.first())
                    .map(|level| level.price),
                last: contract.last,
                volume: contract.volume,
                exact: top.is_some(),
            });
        }
        let contract = board.contracts().get(selected);
        let top = contract.and_then(|contract| contract.book.as_ref());
        let ladder = |levels: Option<&Vec<LevelEntry>>| {
            let levels = levels.into_iter().flatten();
            levels
                .map(|level| (level.price, level.qty.lots()))
                .collect()
        };
        screen.bids = ladder(top.map(|top| &top.bids));
        screen.asks = ladder(top.map(|top| &top.asks));
        screen.tape = board
            .tape()
            .filter_map(|print| {
                let contract = board.contracts().get(print.contract)?;
                Some(TapeRow {
                    name: contract.name.clone(),
                    tick_micro_usd: contract.tick_micro_usd,
                    price: print.price,
                    lots: print.lots,
                    aggressor: print.aggressor,
                })
            })
            .collect();
    });
}

/// Ten pictures per second.
const FRAME: Duration = Duration::from_millis(100);
const HEADLESS_DEFAULT: Duration = Duration::from_secs(10);
/// Small segments: a demo writes little, and a segment is zero-filled before it is used.
const SEGMENT_BYTES: u64 = 16 << 20;
