//! An order script through the gateway, in the script's order.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tessera_client::admin::AdminError;
use tessera_client::{AdminSession, Client, Feed};
use tessera_proto::Message;
use tessera_proto::codes::{EndReason, ExecType};
use tessera_proto::message::Cancel;
use tessera_proto::session::Request;
use tessera_types::contract::Instrument;
use tessera_types::{ClOrdId, InstrumentId, OrderId, RejectReason, Seq, Side};

use crate::client_args::{Instruments, VerbError, client};
use crate::feed::top;
use crate::load::ledger::Kind;
use crate::load::run::{Acks, Lane};
use crate::load::script::{Mapper, Step};
use crate::load::{Args, Report, conclude, open_acks, session_name, write_hist};
use crate::script::parse_line;

/// Sends the script at `path`.
pub(super) async fn run(args: &Args, path: &Path) -> Result<ExitCode, VerbError> {
    let acks = open_acks(args)?;
    let mut input: Box<dyn BufRead> = if path.as_os_str() == OsStr::new("-") {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file = File::open(path).map_err(|error| {
            let path = path.display();
            VerbError::Failed(format!(
                "cannot read the script {path}: {error}; name a readable file, or - for standard input"
            ))
        })?;
        Box::new(BufReader::with_capacity(1 << 16, file))
    };
    let client = client(args.client.config()?)?;
    let session = client.orders(&session_name(args, 0)).await?;
    let first = ClOrdId::new(session.info().last_cl_ord_id.get() + 1);
    let mut runner = Runner {
        lane: Lane::new(session, first),
        mapper: Mapper::default(),
        admin: None,
        client: &client,
        acks: acks.as_ref(),
        window: args.window.unwrap_or(WINDOW) as usize,
        last_change: LastChange::default(),
        open: false,
        busy: 0,
    };
    let (started, start) = (SystemTime::now(), Instant::now());
    let result = runner.script(&mut *input).await;
    let took = start.elapsed();
    let finished = runner.finish().await;
    let (mut report, latencies) = Report::new(&[&runner.lane], took);
    report.complete = result.is_ok() && report.unanswered == 0;
    write_hist(args, &latencies, started, took)?;
    let book = match (&result, runner.mapper.first_instrument()) {
        (Ok(()), Some((id, name))) => Some((
            "final",
            final_book(&client, *id, name, runner.last_change.seq).await?,
        )),
        _ => None,
    };
    let code = conclude(&report, args.client.json, book)?;
    result?;
    finished?;
    client.wait_idle().await;
    Ok(code)
}

struct Runner<'a> {
    lane: Lane,
    mapper: Mapper,
    /// Made when the script first needs it.
    admin: Option<AdminSession>,
    client: &'a Client,
    acks: Option<&'a std::cell::RefCell<Acks>>,
    window: usize,
    last_change: LastChange,
    /// The exchange has taken a request since everything was last answered.
    open: bool,
    /// Requests refused because the journal was behind, since the last look.
    busy: u64,
}

/// The last command that changed the visible book of the script's first instrument.
#[derive(Clone, Copy, Debug, Default)]
struct LastChange {
    seq: Seq,
    /// A new order of that command, whose fate decides whether it counts.
    before: Seq,
}

impl LastChange {
    fn note(&mut self, first: Option<&(InstrumentId, String)>, message: &Message) {
        let Message::ExecutionReport(m) = message else {
            return;
        };
        if first.is_none_or(|(id, _)| *id != m.instrument) {
            return;
        }
        match m.exec_type {
            ExecType::Rejected => {}
            // What never rested leaves the book as it was, unless it traded.
            ExecType::Canceled
                if matches!(
                    m.end_reason,
                    EndReason::Ioc | EndReason::Fok | EndReason::NoLiquidity | EndReason::MinQty
                ) && self.seq == m.engine_seq
                    && m.cum_qty.get() == 0 =>
            {
                self.seq = self.before;
            }
            _ if m.engine_seq > self.seq => (self.before, self.seq) = (self.seq, m.engine_seq),
            _ => {}
        }
    }
}

impl Runner<'_> {
    async fn script(&mut self, input: &mut dyn BufRead) -> Result<(), VerbError> {
        let mut line = Vec::new();
        let mut number = 0_u64;
        loop {
            line.clear();
            let read = input.read_until(b'\n', &mut line).map_err(|error| {
                VerbError::Failed(format!(
                    "cannot read the script after line {number}: {error}"
                ))
            })?;
            if read == 0 {
                return self.settle().await;
            }
            number += 1;
            self.line(&line, number).await?;
        }
    }

    async fn line(&mut self, line: &[u8], number: u64) -> Result<(), VerbError> {
        let (mut settled, mut tries) = (false, 0);
        loop {
            let parsed = match parse_line(line) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => return Ok(()),
                Err(bad) => return self.refuse(number, bad.reason),
            };
            let next = self.lane.ledger.next_id();
            let step = self
                .mapper
                .step(parsed.command, next, settled)
                .map_err(|error| {
                    VerbError::Usage(format!("line {number} of the script: {error}"))
                })?;
            match step {
                Step::Skip => return Ok(()),
                Step::Refuse(reason) => return self.refuse(number, reason),
                Step::Send(request) => {
                    if self.send(Kind::of(&request), request).await? || tries == BUSY_TRIES {
                        return Ok(());
                    }
                    // Nothing was sent behind it, so it keeps its place in the script.
                    self.lane.ledger.forget_busy();
                    tries += 1;
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                Step::Settle { fence } => {
                    if fence {
                        // Cancels itself, an order that never was: its refusal comes after
                        // everything that the commands before it caused.
                        let id = self.lane.ledger.next_id();
                        let cancel = Cancel {
                            cl_ord_id: id,
                            account: tessera_types::AccountId::new(0),
                            orig_cl_ord_id: id,
                            order_id: OrderId::new(0),
                        };
                        self.send(Kind::Fence, Request::Cancel(cancel)).await?;
                    }
                    self.settle().await?;
                    settled = true;
                }
                Step::List { instrument, again } => {
                    self.settle().await?;
                    self.list(&instrument, number).await?;
                    if !again {
                        return Ok(());
                    }
                }
                Step::Phase(change) => {
                    self.settle().await?;
                    let admin = self.admin().await?;
                    let done = admin
                        .set_phase(change.instrument, change.phase, change.ref_price)
                        .await;
                    return match done {
                        Ok(_) => Ok(()),
                        Err(AdminError::Refused(reason)) => self.refuse(number, reason),
                        Err(error) => Err(error.into()),
                    };
                }
            }
        }
    }

    /// Sends a request; false when it was refused because the journal was behind, and may go again.
    async fn send(&mut self, kind: Kind, request: Request) -> Result<bool, VerbError> {
        self.lane.ledger.send(kind, Instant::now());
        self.lane.sender.queue(request)?;
        if !self.open && matches!(kind, Kind::New | Kind::Replace) {
            // The first order of a batch goes ahead alone: a disk that has just been slow may still
            // have the exchange refuse orders, and the rest must not pass this one.
            self.drain().await?;
            self.open = self.busy == 0;
            return Ok(self.open);
        }
        // Whole batches, each after the answers to the one before: when one is sent nothing waits
        // for the disk, so that its stalls do not have the exchange refuse part of it.
        if self.lane.ledger.unanswered() >= self.window {
            self.settle().await?;
        }
        Ok(true)
    }

    /// Waits until everything is answered.
    async fn settle(&mut self) -> Result<(), VerbError> {
        self.drain().await?;
        match self.busy {
            0 => Ok(()),
            busy => Err(VerbError::Failed(format!(
                "the exchange refused {busy} requests while its journal was behind, and later ones \
                 have passed them; repeat on a fresh exchange with a smaller --window, or with \
                 `serve --run-ahead-ms` above the disk's stalls"
            ))),
        }
    }

    async fn drain(&mut self) -> Result<(), VerbError> {
        (self.open, self.busy) = (false, 0);
        let (mapper, last_change, busy) = (&mut self.mapper, &mut self.last_change, &mut self.busy);
        self.lane
            .settle(self.acks, |message| {
                let refused = matches!(message, Message::BusinessReject(m) if m.reason == Some(RejectReason::Busy));
                *busy += u64::from(refused);
                mapper.on_message(message);
                last_change.note(mapper.first_instrument(), message);
            })
            .await
    }

    /// Counts a line that the exchange never sees, or that it refused to the operator.
    fn refuse(&mut self, number: u64, reason: RejectReason) -> Result<(), VerbError> {
        eprintln!("tessera: line {number} of the script: {reason}");
        self.lane.ledger.tally_mut().reject(Some(reason));
        Ok(())
    }

    async fn list(&mut self, instrument: &Instrument, number: u64) -> Result<(), VerbError> {
        let name = instrument.name;
        let admin = self.admin().await?;
        let listed = match admin.list_instrument(instrument).await {
            Ok(done) => done.instrument,
            Err(AdminError::Refused(RejectReason::DuplicateInstrument)) => {
                eprintln!("tessera: {name} is listed already; the script trades it as it is");
                let instruments = Instruments::new(admin.instruments().await?);
                instruments.require(name.as_str())?.instrument
            }
            Err(AdminError::Refused(reason)) => return self.refuse(number, reason),
            Err(error) => return Err(error.into()),
        };
        self.mapper.listed(name.as_str(), listed);
        Ok(())
    }

    async fn admin(&mut self) -> Result<&mut AdminSession, VerbError> {
        let session = match self.admin.take() {
            Some(session) => session,
            None => self.client.admin(ADMIN_SESSION).await?,
        };
        Ok(self.admin.insert(session))
    }

    async fn finish(&mut self) -> Result<(), VerbError> {
        let (mapper, last_change) = (&self.mapper, &mut self.last_change);
        self.lane
            .finish(|message| last_change.note(mapper.first_instrument(), message))
            .await?;
        if let Some(admin) = self.admin.take() {
            admin.logout().await?;
        }
        Ok(())
    }
}

/// The ten best levels on each side once the feed has shown the command `at_least`.
async fn final_book(
    client: &Client,
    instrument: InstrumentId,
    name: &str,
    at_least: Seq,
) -> Result<Value, VerbError> {
    let mut feed = client.market_data().await?;
    feed.subscribe(instrument)?;
    let shown = tokio::time::timeout(PATIENCE, follow(&mut feed, instrument, at_least)).await;
    let book = match shown {
        Ok(result) => result.map(|()| book(&feed, instrument))?,
        // A command that changed no visible level is never shown; the book stands all the same.
        Err(_) => book(&feed, instrument),
    };
    feed.logout().await?;
    let mut book = book.ok_or_else(|| {
        let patience = PATIENCE.as_secs();
        VerbError::Failed(format!(
            "the feed showed no book of `{name}` within {patience} s"
        ))
    })?;
    book["instrument"] = name.into();
    Ok(book)
}

fn book(feed: &Feed, instrument: InstrumentId) -> Option<Value> {
    let mirror = feed.mirror(instrument)?;
    let book = mirror.book()?;
    Some(json!({
        "seq": mirror.seq().get(),
        "bids": top(book, Side::Buy, LEVELS),
        "asks": top(book, Side::Sell, LEVELS),
    }))
}

async fn follow(feed: &mut Feed, instrument: InstrumentId, at_least: Seq) -> Result<(), VerbError> {
    loop {
        if let Some(mirror) = feed.mirror(instrument)
            && mirror.seq() >= at_least
            && mirror.book().is_some()
        {
            return Ok(());
        }
        feed.next_event().await?;
    }
}

/// How often and how long an order waits for a journal that is behind.
const BUSY_TRIES: u32 = 2_000;
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// Requests that are sent together.
const WINDOW: u32 = 64;
const ADMIN_SESSION: &str = "LOAD-ADMIN";
/// How long the feed may take to show the last command.
const PATIENCE: Duration = Duration::from_secs(3);
/// Levels of the final book on each side.
const LEVELS: usize = 10;
