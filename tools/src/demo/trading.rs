//! The participants as clients: one thread with one single-threaded runtime, a connection for each
//! participant's orders, and one for the market data that all of them and the terminal read.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tessera_proto::message::SecurityDefinition;
use tessera_types::Price;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Listing};
use super::desk::{Desk, Tally};
use super::link::{FeedLink, LinkError, OrderLink};
use super::strategy::{Strategy, participants};
use super::summary::Participant;
use crate::catalogue;

/// What the trading thread and the thread of the terminal share.
pub(crate) struct Shared {
    started: Instant,
    board: Mutex<Board>,
    seats: Mutex<Vec<Seat>>,
    first_trade: OnceLock<Duration>,
    stop: CancellationToken,
}

/// A participant as the terminal sees it.
#[derive(Clone, Copy, Debug)]
struct Seat {
    name: &'static str,
    up: bool,
    tally: Tally,
}

impl Shared {
    /// Nothing is connected yet. `started` is the zero of [`first_trade`](Self::first_trade).
    pub(crate) fn new(seed: u64, started: Instant) -> Self {
        let seats = participants(seed)
            .iter()
            .map(|participant| Seat {
                name: participant.name(),
                up: false,
                tally: Tally::default(),
            })
            .collect();
        Self {
            started,
            board: Mutex::new(Board::new(seed, Vec::new())),
            seats: Mutex::new(seats),
            first_trade: OnceLock::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Reads or changes the board.
    pub(crate) fn with_board<T>(&self, work: impl FnOnce(&mut Board) -> T) -> T {
        work(&mut lock(&self.board))
    }

    /// What each participant has done.
    pub(crate) fn participants(&self) -> Vec<Participant> {
        lock(&self.seats)
            .iter()
            .map(|seat| Participant::new(seat.name, seat.tally))
            .collect()
    }

    /// True while the participant is logged on.
    pub(crate) fn is_up(&self, name: &str) -> bool {
        lock(&self.seats)
            .iter()
            .any(|seat| seat.name == name && seat.up)
    }

    /// From the start to the first trade on the feed.
    pub(crate) fn first_trade(&self) -> Option<Duration> {
        self.first_trade.get().copied()
    }

    /// True once a signal came or something failed.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Asks everybody to end.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    fn seat(&self, name: &str, change: impl FnOnce(&mut Seat)) {
        if let Some(seat) = lock(&self.seats).iter_mut().find(|seat| seat.name == name) {
            change(seat);
        }
    }
}

/// A panic in the other thread ends the demo by itself; what it left is still fit to be shown.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The running participants.
pub(crate) struct Trading {
    thread: JoinHandle<Result<(), LinkError>>,
    shared: Arc<Shared>,
}

impl Trading {
    /// Starts the thread; connections follow.
    ///
    /// # Errors
    /// [`LinkError::Thread`] when the system refuses the thread.
    pub(crate) fn start(
        addr: SocketAddr,
        credentials: PathBuf,
        seed: u64,
        shared: Arc<Shared>,
    ) -> Result<Self, LinkError> {
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("demo-trading".to_owned())
            .spawn(move || {
                let result = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(LinkError::Thread)
                    .and_then(|runtime| runtime.block_on(trade(addr, credentials, seed, &theirs)));
                theirs.stop.cancel();
                result
            })
            .map_err(LinkError::Thread)?;
        Ok(Self { thread, shared })
    }

    /// Logs everybody out and waits for it.
    ///
    /// # Errors
    /// What ended a connection before.
    pub(crate) fn stop(self) -> Result<(), LinkError> {
        self.shared.stop();
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

async fn trade(
    addr: SocketAddr,
    credentials: PathBuf,
    seed: u64,
    shared: &Arc<Shared>,
) -> Result<(), LinkError> {
    let stop = &shared.stop;
    let mut feed = FeedLink::connect(addr, &credentials).await?;
    let listings = listings(&feed).await?;
    shared.with_board(|board| *board = Board::new(seed, listings));
    feed.subscribe_all().await?;

    let mut tasks = tokio::task::JoinSet::new();
    let feeding = Arc::clone(shared);
    tasks.spawn(async move { read_feed(feed, &feeding).await });
    for (account, participant) in (1..).zip(participants(seed)) {
        let link = OrderLink::connect(addr, &credentials, participant.name(), account).await?;
        let shared = Arc::clone(shared);
        tasks.spawn(async move {
            let name = participant.name();
            let result = take_part(participant, link, &shared).await;
            shared.seat(name, |seat| seat.up = false);
            result
        });
    }
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        // One that is gone before its time ends the demo: the others would trade a market that is not
        // what it says it is.
        stop.cancel();
        let ended = ended.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Ok(()),
        });
        if result.is_ok() {
            result = ended;
        }
    }
    result
}

/// What is listed, with the reference prices of the shipped catalogue.
async fn listings(feed: &FeedLink) -> Result<Vec<Listing>, LinkError> {
    let file = catalogue::load(None)?;
    let references: HashMap<String, Price> = file
        .reference_prices()
        .map(|(name, price)| (name.as_str().to_owned(), price))
        .collect();
    let definitions = feed.definitions().await?;
    let listing = |definition: &SecurityDefinition| {
        let name = definition.symbol.as_str();
        Listing {
            instrument: definition.instrument,
            name: name.to_owned(),
            step: definition.tick,
            tick_micro_usd: definition.tick_micro_usd,
            reference: references.get(name).copied(),
        }
    };
    Ok(definitions.iter().map(listing).collect())
}

/// Keeps the board by the feed, and lets the index move.
async fn read_feed(mut feed: FeedLink, shared: &Shared) -> Result<(), LinkError> {
    let mut clock = tokio::time::interval(INDEX_STEP);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stepped = Instant::now();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return feed.log_out().await,
            _ = clock.tick() => {
                let elapsed = stepped.elapsed();
                stepped = Instant::now();
                shared.with_board(|board| board.step(elapsed));
            }
            came = feed.wait() => {
                came?;
                let trades = shared.with_board(|board| {
                    feed.update(board);
                    board.trades()
                });
                if trades > 0 {
                    shared.first_trade.get_or_init(|| shared.started.elapsed());
                }
            }
        }
    }
}

/// One participant, from logon to logout.
async fn take_part(
    mut participant: Box<dyn Strategy>,
    mut link: OrderLink,
    shared: &Shared,
) -> Result<(), LinkError> {
    let name = participant.name();
    let mut desk = Desk::new(link.last_cl_ord_id());
    shared.seat(name, |seat| seat.up = true);
    let mut clock = tokio::time::interval(participant.interval());
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut requests = Vec::new();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return link.log_out().await,
            reports = link.next_reports() => {
                for report in reports? {
                    desk.on_report(report);
                }
                shared.seat(name, |seat| seat.tally = desk.tally());
            }
            _ = clock.tick() => {
                let market = shared.with_board(|board| board.quotes());
                participant.on_tick(shared.started.elapsed(), &market, &mut desk, &mut requests);
                link.send(&requests).await?;
                requests.clear();
            }
        }
    }
}

const INDEX_STEP: Duration = Duration::from_millis(100);
