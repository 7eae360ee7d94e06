//! `tessera load`: order flow through the gateway, with latencies and a check of every answer.
//!
//! [`mix`] decides what is sent, [`schedule`] and [`pacer`] when; [`ledger`] checks the answers,
//! [`stats`] measures them; [`mod@run`] is the sessions themselves and [`script`] the order scripts.

mod ledger;
mod mix;
mod pacer;
mod run;
mod schedule;
mod script;
mod script_run;
mod stats;

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use clap::Args as ClapArgs;
use serde::Serialize;
use serde_json::{Value, json};
use tessera_client::{Client, OrderSession};
use tessera_proto::codes::CancelOnDisconnect;
use tessera_types::ClOrdId;

use crate::client_args::{ClientArgs, Instruments, VerbError, block_on, client, print};
use crate::exit;
use ledger::Tally;
use mix::{Grid, Mix};
use run::{Acks, Lane, Pace};
use schedule::Schedule;
use stats::{Latencies, Percentiles, table};

/// Send order flow through the gateway, measure it and check every answer.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "\
Without --rate the loop is closed: --window requests wait for their answers at any time, and latency counts
from the write. With --rate requests go at fixed times whatever is answered, and latency counts from the time
that was meant, so that a stall shows in full.

The requests (--count) are limit orders that rest away from each other, one in ten a replace, and cancels that
keep about 1,000 orders a session resting. --seed decides them. The load's orders are cancelled when its session
ends. Every request must be answered exactly once, in numbers without holes.

--acks appends one line `CLIENT_ID SEQ` per acknowledged request, written at once. Client ids start at --first-id
(or above the highest id of the session, which is the default) and rise by one; with several sessions each takes
its part of that range.

--script sends an order script instead: parties become accounts, its ids rising client ids, `instrument` and
`phase` lines admin commands; `t`, `time`, `depth` and `orders` are not sent. gtd orders expire by the
exchange's clock.

Examples:
  export TESSERA_ADDR=127.0.0.1:7700 TESSERA_CREDENTIALS=./exchange/credentials
  tessera load --count 100000
  tessera load --count 100000 --rate 10000 --baseline --hist load.hdr
  tessera load --count 50000 --first-id 1 --acks acks.txt
  zcat day.jsonl.gz | tessera load --script - --json

Exit status: 0 done, 1 an answer was wrong or missing or the exchange went away, 2 usage.")]
pub struct Args {
    #[command(flatten)]
    client: ClientArgs,

    /// Requests to send, over all sessions
    #[arg(long, value_name = "N", required_unless_present = "script", conflicts_with = "script",
          value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Offered rate in requests per second, over all sessions; without it the loop is closed
    #[arg(long, value_name = "R", conflicts_with = "script",
          value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: Option<u64>,

    /// Instrument to trade
    #[arg(
        long,
        value_name = "NAME",
        default_value = "TEST",
        conflicts_with = "script"
    )]
    instrument: String,

    /// ClOrdID of the first request
    #[arg(long, value_name = "S", conflicts_with = "script",
          value_parser = clap::value_parser!(u64).range(1..))]
    first_id: Option<u64>,

    /// File to append a line `CLIENT_ID SEQ` to for each acknowledged request
    #[arg(long, value_name = "FILE")]
    acks: Option<PathBuf>,

    /// File for the latencies as an HDR histogram log
    #[arg(long, value_name = "FILE")]
    hist: Option<PathBuf>,

    /// Sessions, each with its own connection
    #[arg(long, value_name = "K", default_value_t = 1, conflicts_with = "script",
          value_parser = clap::value_parser!(u64).range(1..=1_000))]
    sessions: u64,

    /// Requests of a session without an answer at any time; of a script, those sent together
    #[arg(long, value_name = "W", value_parser = clap::value_parser!(u32).range(1..))]
    window: Option<u32>,

    /// Most requests in one write
    #[arg(long, value_name = "B", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,

    /// Seed of the requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Also measure a bare quinn echo at the same pace, and print it beside
    #[arg(long, conflicts_with = "script")]
    baseline: bool,

    /// Order script to send, or - for standard input
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
}

/// Runs the verb and says what the process should exit with.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    block_on(async {
        match &args.script {
            Some(path) => script_run::run(&args, path).await,
            None => load(&args).await,
        }
    })
}

/// What a run did, as it is printed.
#[derive(Debug, Serialize)]
struct Report {
    /// Every request was sent and answered.
    complete: bool,
    requests: u64,
    orders: u64,
    accepted: u64,
    unanswered: u64,
    rejects: u64,
    /// Refused as busy and sent again; not among the rejects.
    busy_again: u64,
    rejects_by_reason: std::collections::BTreeMap<&'static str, u64>,
    requests_by_kind: std::collections::BTreeMap<&'static str, u64>,
    fills: u64,
    volume: u64,
    notional: i128,
    sessions: u64,
    durability: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offered_per_s: Option<u64>,
    achieved_per_s: u64,
    elapsed_ns: u64,
    latency: Percentiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    echo: Option<Percentiles>,
    faults: Vec<String>,
}

impl Report {
    fn new(lanes: &[&Lane], elapsed: Duration) -> (Self, Latencies) {
        let (mut tally, mut latencies) = (Tally::default(), Latencies::new());
        let (mut unanswered, mut faults) = (0, Vec::new());
        for lane in lanes {
            tally.add(lane.ledger.tally());
            latencies.add(&lane.latencies);
            unanswered += lane.ledger.unanswered() as u64;
            faults.extend_from_slice(lane.ledger.faults());
        }
        let answered = tally.sent().saturating_sub(unanswered);
        let elapsed_ns = elapsed.as_nanos().max(1);
        let per_s = u128::from(answered) * 1_000_000_000 / elapsed_ns;
        let report = Self {
            complete: false,
            requests: tally.sent(),
            orders: tally.orders,
            accepted: tally.accepted,
            unanswered,
            rejects: tally.rejected(),
            busy_again: tally.busy_again,
            rejects_by_reason: tally.rejects,
            requests_by_kind: tally.sent,
            fills: tally.fills,
            volume: tally.volume,
            notional: tally.notional,
            sessions: lanes.len() as u64,
            durability: lanes
                .first()
                .map_or("", |lane| lane.events.info().ack.durability.as_str()),
            offered_per_s: None,
            achieved_per_s: u64::try_from(per_s).unwrap_or(u64::MAX),
            elapsed_ns: u64::try_from(elapsed_ns).unwrap_or(u64::MAX),
            latency: latencies.percentiles(),
            echo: None,
            faults,
        };
        (report, latencies)
    }

    fn json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_else(|error| json!({ "error": error.to_string() }))
    }

    fn text(&self) -> String {
        let counts = |counts: &std::collections::BTreeMap<&'static str, u64>| {
            let words: Vec<_> = counts
                .iter()
                .map(|(word, count)| format!("{word} {count}"))
                .collect();
            words.join(", ")
        };
        let mut lines = format!(
            "{} requests ({}), {} accepted, {} rejected, {} unanswered",
            self.requests,
            counts(&self.requests_by_kind),
            self.accepted,
            self.rejects,
            self.unanswered
        );
        if self.rejects > 0 {
            lines.push_str(&format!("\nrejects: {}", counts(&self.rejects_by_reason)));
        }
        if self.busy_again > 0 {
            lines.push_str(&format!(
                "\n{} refused as busy and sent again",
                self.busy_again
            ));
        }
        lines.push_str(&format!(
            "\norders {}, fills {}, volume {}, notional {}",
            self.orders, self.fills, self.volume, self.notional
        ));
        let offered = self.offered_per_s.map_or_else(
            || "closed loop".to_owned(),
            |rate| format!("offered {rate}/s"),
        );
        lines.push_str(&format!(
            "\n{offered}, achieved {}/s over {} ms, {} session(s), journal {}",
            self.achieved_per_s,
            self.elapsed_ns / 1_000_000,
            self.sessions,
            self.durability
        ));
        let mut columns = vec![("order-to-ack", self.latency)];
        if let Some(echo) = self.echo {
            columns.push(("bare quinn echo", echo));
        }
        lines.push('\n');
        lines.push_str(&table(&columns));
        lines
    }
}

/// Prints the report; gives the code, and says on standard error what was wrong.
fn conclude(
    report: &Report,
    json: bool,
    extra: Option<(&str, Value)>,
) -> Result<ExitCode, VerbError> {
    if json {
        let mut value = report.json();
        if let Some((key, extra)) = extra {
            value[key] = extra;
        }
        print(&value.to_string())?;
    } else {
        print(&report.text())?;
        if let Some((key, extra)) = extra {
            print(&format!("{key}: {extra}"))?;
        }
    }
    for fault in &report.faults {
        eprintln!("tessera: wrong answer: {fault}");
    }
    Ok(if report.complete && report.faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(exit::FAILED)
    })
}

fn open_acks(args: &Args) -> Result<Option<RefCell<Acks>>, VerbError> {
    let Some(path) = &args.acks else {
        return Ok(None);
    };
    let acks = Acks::open(path).map_err(|error| {
        let path = path.display();
        VerbError::Failed(format!("{path}: cannot be opened to append to: {error}"))
    })?;
    Ok(Some(RefCell::new(acks)))
}

fn write_hist(
    args: &Args,
    latencies: &Latencies,
    started: SystemTime,
    took: Duration,
) -> Result<(), VerbError> {
    let Some(path) = &args.hist else {
        return Ok(());
    };
    latencies.write_log(path, started, took).map_err(|error| {
        let path = path.display();
        VerbError::Failed(format!("{path}: cannot be written: {error}"))
    })
}

/// The name of session `lane`: the first one's, with a number from the second on.
fn session_name(args: &Args, lane: u64) -> String {
    let name = args.client.session_or(SESSION);
    match lane {
        0 => name.to_owned(),
        _ => format!("{name}-{}", lane + 1),
    }
}

async fn connect(args: &Args) -> Result<(Client, Vec<OrderSession>), VerbError> {
    let mut config = args.client.config()?;
    // Neither a finished nor a killed load leaves its orders behind.
    config.cancel_on_disconnect = CancelOnDisconnect::Both;
    let client = client(config)?;
    let mut sessions = Vec::new();
    for lane in 0..args.sessions {
        sessions.push(client.orders(&session_name(args, lane)).await?);
    }
    Ok((client, sessions))
}

/// The part of a load that one session sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    /// Requests.
    count: u64,
    /// Place of its first client id in the range of the load.
    offset: u64,
}

fn shares(count: u64, sessions: u64) -> Vec<Share> {
    let mut offset = 0;
    (0..sessions)
        .map(|lane| {
            let count = count / sessions + u64::from(lane < count % sessions);
            let share = Share { count, offset };
            offset += count;
            share
        })
        .collect()
}

/// The first client id of the load: what was asked for, or higher where a session has used that.
fn first_id(asked: Option<u64>, shares: &[Share], last_ids: &[u64]) -> u64 {
    let used = shares.iter().zip(last_ids);
    let free = used.map(|(share, last)| (last + 1).saturating_sub(share.offset));
    let free = free.max().unwrap_or(1).max(1);
    asked.map_or(free, |asked| asked.max(free))
}

async fn load(args: &Args) -> Result<ExitCode, VerbError> {
    let acks = open_acks(args)?;
    let count = args.count.unwrap_or(0);
    let (client, sessions) = connect(args).await?;
    let Some(instruments) = sessions.first() else {
        return Ok(ExitCode::SUCCESS);
    };
    let instruments = Instruments::new(instruments.instruments().await?);
    let definition = instruments.require(&args.instrument)?;
    let grid = Grid::of(definition).map_err(|why| {
        VerbError::Failed(format!(
            "`{}` cannot take this load: {why}",
            args.instrument
        ))
    })?;
    let shares = shares(count, args.sessions);
    let last_ids: Vec<u64> = sessions
        .iter()
        .map(|session| session.info().last_cl_ord_id.get())
        .collect();
    let first = first_id(args.first_id, &shares, &last_ids);
    if args.first_id.is_some_and(|asked| asked != first) {
        eprintln!(
            "tessera: client ids up to {} are used already; starting at {first}",
            first - 1
        );
    }
    let window = args.window.unwrap_or(CLOSED_WINDOW) as usize;
    let pace = |lane, start| match args.rate {
        None => Pace::Closed { window },
        Some(rate) => {
            let schedule = Schedule::new(rate, lane, args.sessions);
            Pace::Open { schedule, start }
        }
    };

    let echo = if args.baseline {
        eprintln!("tessera: measuring the bare echo first");
        let one_lane = || match args.rate {
            None => Pace::Closed { window },
            Some(rate) => Pace::Open {
                schedule: Schedule::new(rate, 0, 1),
                start: Instant::now(),
            },
        };
        Some(
            run::echo(count, NEW_ORDER_BYTES, one_lane, args.batch)
                .await?
                .percentiles(),
        )
    } else {
        None
    };

    let mut lanes: Vec<(Lane, Mix)> = sessions
        .into_iter()
        .zip(&shares)
        .zip(0_u64..)
        .map(|((session, share), lane)| {
            let mix = Mix::new(
                args.seed.wrapping_add(lane),
                definition.instrument,
                args.client.account(),
                grid,
            );
            (Lane::new(session, ClOrdId::new(first + share.offset)), mix)
        })
        .collect();
    let (started, start) = (SystemTime::now(), Instant::now());
    let runs = lanes
        .iter_mut()
        .zip(&shares)
        .zip(0_u64..)
        .map(|(((lane, mix), share), number)| {
            lane.run(
                mix,
                share.count,
                pace(number, start),
                args.batch,
                acks.as_ref(),
            )
        });
    let result = all(runs).await;
    let took = start.elapsed();

    let finished = match &result {
        Ok(()) => all(lanes.iter_mut().map(|(lane, _)| lane.finish(|_| {}))).await,
        Err(_) => Ok(()),
    };
    let lanes: Vec<&Lane> = lanes.iter().map(|(lane, _)| lane).collect();
    let (mut report, latencies) = Report::new(&lanes, took);
    report.complete = result.is_ok() && report.requests == count && report.unanswered == 0;
    report.offered_per_s = args.rate;
    report.echo = echo;
    write_hist(args, &latencies, started, took)?;
    let code = conclude(&report, args.client.json, None)?;
    if let Err(error) = result {
        let answered = report.requests - report.unanswered;
        return Err(VerbError::Failed(format!(
            "stopped after {answered} of {count} requests were answered: {error}"
        )));
    }
    finished?;
    client.wait_idle().await;
    Ok(code)
}

/// Runs the lanes side by side; the first failure stops all.
async fn all(
    runs: impl Iterator<Item = impl Future<Output = Result<(), VerbError>>>,
) -> Result<(), VerbError> {
    let mut runs: Vec<_> = runs.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        let mut index = 0;
        while index < runs.len() {
            match runs[index].as_mut().poll(context) {
                std::task::Poll::Ready(Ok(())) => drop(runs.swap_remove(index)),
                std::task::Poll::Ready(Err(error)) => return std::task::Poll::Ready(Err(error)),
                std::task::Poll::Pending => index += 1,
            }
        }
        if runs.is_empty() {
            std::task::Poll::Ready(Ok(()))
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}

/// The session of a load that names none.
const SESSION: &str = "LOAD";
/// Requests without an answer in a closed loop that names no window.
const CLOSED_WINDOW: u32 = 32;
/// Bytes of a NewOrderSingle with its header: what the echo carries.
const NEW_ORDER_BYTES: usize = 87;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_share_a_range_of_ids_without_holes() {
        let shares = shares(10, 3);
        let parts: Vec<_> = shares
            .iter()
            .map(|share| (share.offset, share.count))
            .collect();
        assert_eq!(parts, [(0, 4), (4, 3), (7, 3)]);
    }

    #[test]
    fn ids_start_where_they_were_asked_to_or_above_what_is_used() {
        let shares = shares(10, 2);
        assert_eq!(first_id(None, &shares, &[0, 0]), 1);
        assert_eq!(first_id(None, &shares, &[7, 3]), 8);
        assert_eq!(first_id(None, &shares, &[7, 30]), 26);
        assert_eq!(first_id(Some(1), &shares, &[0, 0]), 1);
        assert_eq!(first_id(Some(100), &shares, &[7, 30]), 100);
        assert_eq!(first_id(Some(5), &shares, &[7, 0]), 8);
    }

    #[test]
    fn the_echo_carries_as_many_bytes_as_an_order() {
        use tessera_proto::message::{NewOrderSingle, Record};
        assert_eq!(
            NEW_ORDER_BYTES,
            tessera_proto::Header::LEN + NewOrderSingle::WIDTH
        );
    }
}
