//! `tessera feed`: market data through the client's mirrors.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args as ClapArgs, ValueEnum};
use serde_json::{Value, json};
use tessera_client::{Feed, FeedEvent};
use tessera_market_data::{Increment, IncrementKind, L2Book, Mirror};
use tessera_types::{InstrumentId, Seq, Side, Timestamp};

use crate::client_args::{ClientArgs, Instruments, VerbError, block_on, client, print};

/// Print market data as it comes.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "\
Level l1 prints the best bid and offer whenever they change, and trades. Level l2 prints a book when it is
known exactly, then every change of a price level, trades and phases; a book that is lost says why
(resync) and is printed again. Each line has the engine's sequence, the number in the channel where it
comes from one, and the age of what it says.

Examples:
  export TESSERA_ADDR=127.0.0.1:7700 TESSERA_CREDENTIALS=./exchange/credentials
  tessera feed --instrument TEST
  tessera feed --level l2 --json --seconds 10
  tessera feed --instrument TEST --level l2 --count 1 --json | jq .bids

Exit status: 0 done, 1 the exchange refused or went away, 2 usage.")]
pub struct Args {
    #[command(flatten)]
    client: ClientArgs,

    /// Only this instrument; may be given more than once [default: all]
    #[arg(long = "instrument", value_name = "NAME")]
    instruments: Vec<String>,

    /// How much of the book
    #[arg(long, value_enum, default_value_t = Depth::L1)]
    level: Depth,

    /// Levels of a whole book that are printed on each side, 0 = all
    #[arg(long, value_name = "N", default_value_t = 10)]
    depth: usize,

    /// Stop after this many lines
    #[arg(long, value_name = "N")]
    count: Option<u64>,

    /// Stop after this many seconds
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Depth {
    /// Best bid and offer, and trades.
    L1,
    /// Every price level, trades and phases.
    L2,
}

/// Runs the verb and says what the process should exit with.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    block_on(watch(args))
}

async fn watch(args: Args) -> Result<ExitCode, VerbError> {
    let client = client(args.client.config()?)?;
    let mut feed = client.market_data().await?;
    let result = follow(&args, &mut feed).await;
    let logout = feed.logout().await;
    client.wait_idle().await;
    result?;
    logout?;
    Ok(ExitCode::SUCCESS)
}

async fn follow(args: &Args, feed: &mut Feed) -> Result<(), VerbError> {
    let known = Instruments::new(feed.instruments().await?);
    if args.instruments.is_empty() {
        feed.subscribe_all().await?;
    }
    for name in &args.instruments {
        feed.subscribe(known.require(name)?.instrument)?;
    }
    let mut view = View {
        args,
        names: known
            .all()
            .iter()
            .map(|m| (m.instrument, m.symbol.as_str().to_owned()))
            .collect(),
        shown: HashMap::new(),
    };
    let most = args.count.unwrap_or(u64::MAX);
    let seconds = Duration::from_secs(args.seconds.unwrap_or(u64::from(u32::MAX)));
    let end = tokio::time::sleep(seconds);
    tokio::pin!(end);
    let mut printed = 0;
    while printed < most {
        tokio::select! {
            event = feed.next_event() => {
                if let Some(line) = view.line(&event?, feed) {
                    print(&if args.client.json { line.to_string() } else { text(&line) })?;
                    printed += 1;
                }
            }
            () = &mut end => break,
            interrupt = tokio::signal::ctrl_c() => {
                interrupt?;
                break;
            }
        }
    }
    Ok(())
}

/// What has been printed, as far as it decides what is printed next.
struct View<'a> {
    args: &'a Args,
    names: HashMap<InstrumentId, String>,
    shown: HashMap<InstrumentId, Shown>,
}

/// An instrument whose book is known.
#[derive(Clone, Debug, PartialEq)]
struct Shown {
    /// The command up to which the printed book includes everything.
    seq: Seq,
    best: Value,
}

impl View<'_> {
    /// The line for an event, if it has one.
    fn line(&mut self, event: &FeedEvent, feed: &Feed) -> Option<Value> {
        match event {
            FeedEvent::Listed(definition) => {
                let name = definition.symbol.as_str().to_owned();
                self.names.insert(definition.instrument, name.clone());
                Some(
                    json!({ "ev": "listed", "instrument": name, "id": definition.instrument.get() }),
                )
            }
            FeedEvent::Increment(increment) => self.increment(increment),
            FeedEvent::Book(instrument) => self.book(feed.mirror(*instrument)?),
            FeedEvent::Lost { instrument, reason } => {
                self.shown.remove(instrument);
                let reason = format!("{reason:?}").to_lowercase();
                let name = self.name(*instrument);
                Some(json!({ "ev": "resync", "instrument": name, "reason": reason }))
            }
        }
    }

    fn name(&self, instrument: InstrumentId) -> String {
        let name = self.names.get(&instrument).cloned();
        name.unwrap_or_else(|| instrument.to_string())
    }

    fn book(&mut self, mirror: &Mirror) -> Option<Value> {
        let (book, instrument) = (mirror.book()?, mirror.instrument());
        let best = json!([top(book, Side::Buy, 1), top(book, Side::Sell, 1)]);
        let before = self.shown.get(&instrument);
        let l1 = self.args.level == Depth::L1;
        // At level 2 the increments say what changed; at level 1 only the best prices count.
        if before.is_some_and(|before| !l1 || before.best == best) {
            return None;
        }
        let seq = mirror.seq();
        self.shown.insert(
            instrument,
            Shown {
                seq,
                best: best.clone(),
            },
        );
        let mut line =
            json!({ "ev": if l1 { "bbo" } else { "book" }, "instrument": self.name(instrument) });
        if l1 {
            line["bid"] = best[0].get(0).cloned().unwrap_or(Value::Null);
            line["ask"] = best[1].get(0).cloned().unwrap_or(Value::Null);
        } else {
            line["phase"] = mirror
                .phase()
                .map_or(Value::Null, |phase| phase.as_str().into());
            line["bids"] = top(book, Side::Buy, self.args.depth);
            line["asks"] = top(book, Side::Sell, self.args.depth);
        }
        line["seq"] = seq.get().into();
        line["age_ns"] = age_ns(mirror.time()).into();
        Some(line)
    }

    fn increment(&self, increment: &Increment) -> Option<Value> {
        let shown = self.shown.get(&increment.instrument);
        let l1 = self.args.level == Depth::L1;
        // What the printed book includes already is not said again, and before there is one there is
        // nothing that a level could change. A trade happened whatever is known of the book.
        let told = shown.is_none_or(|shown| increment.seq <= shown.seq);
        let mut line = match increment.kind {
            IncrementKind::Trade {
                price,
                qty,
                aggressor,
                match_id,
            } => json!({
                "ev": "trade", "price": price.ticks(), "qty": qty.lots(),
                "aggressor": aggressor.as_str(), "match_id": match_id.get(),
            }),
            IncrementKind::Level {
                side,
                price,
                qty,
                orders,
                ..
            } if !l1 && !told => json!({
                "ev": "level", "side": side.as_str(), "price": price.ticks(), "qty": qty.lots(),
                "orders": orders,
            }),
            IncrementKind::Status { phase } => json!({ "ev": "status", "phase": phase.as_str() }),
            _ => return None,
        };
        line["instrument"] = self.name(increment.instrument).into();
        line["channel_seq"] = increment.channel_seq.into();
        line["epoch"] = increment.epoch.into();
        line["seq"] = increment.seq.get().into();
        line["age_ns"] = age_ns(increment.time).into();
        Some(line)
    }
}

/// The best levels of one side as `[price, quantity, orders]`, best first; `most` 0 means all.
pub(crate) fn top(book: &L2Book, side: Side, most: usize) -> Value {
    let most = if most == 0 { usize::MAX } else { most };
    let levels = book.levels(side).take(most);
    levels
        .map(|level| json!([level.price.ticks(), level.qty.lots(), level.orders]))
        .collect()
}

/// How long ago the exchange did it, by this machine's clock.
fn age_ns(time: Timestamp) -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_nanos())
        .unwrap_or(u64::MAX)
        .saturating_sub(time.nanos())
}

/// A line for people: the same fields in the same order of importance.
fn text(line: &Value) -> String {
    let word = |key: &str| line[key].as_str().unwrap_or("").to_owned();
    let level = |level: &Value| match level.as_array().map(Vec::as_slice) {
        Some([price, qty, orders]) => format!("{qty} @ {price} ({orders})"),
        _ => "none".to_owned(),
    };
    let said = match word("ev").as_str() {
        "bbo" => format!("bid {}  ask {}", level(&line["bid"]), level(&line["ask"])),
        "trade" => format!(
            "trade {} @ {} ({})",
            line["qty"],
            line["price"],
            word("aggressor")
        ),
        "level" => format!(
            "level {} {} @ {} ({})",
            word("side"),
            line["qty"],
            line["price"],
            line["orders"]
        ),
        "status" => format!("phase {}", word("phase")),
        "resync" => {
            return format!(
                "{:<24} lost the book ({}), asks for it again",
                word("instrument"),
                word("reason")
            );
        }
        "listed" => {
            return format!(
                "{:<24} listed as instrument {}",
                word("instrument"),
                line["id"]
            );
        }
        _ => {
            let side = |key: &str| {
                let levels = line[key].as_array().map_or(&[][..], Vec::as_slice);
                levels.iter().map(level).collect::<Vec<_>>().join(", ")
            };
            format!(
                "book in {}: bids [{}] asks [{}]",
                word("phase"),
                side("bids"),
                side("asks")
            )
        }
    };
    let channel = line["channel_seq"]
        .as_u64()
        .map_or_else(String::new, |seq| format!(" channel {seq}"));
    let age_us = line["age_ns"].as_u64().unwrap_or(0) / 1_000;
    format!(
        "{:<24} {said}  seq {}{channel} age {age_us} us",
        word("instrument"),
        line["seq"]
    )
}
