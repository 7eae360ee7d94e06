//! `tessera trade`: single requests of one session, and its execution reports.

pub mod render;
pub mod request;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};
use tessera_client::{OrderEvent, OrderEvents, OrderSender, OrderSession, SessionError};
use tessera_proto::Message;
use tessera_proto::codes::CancelOnDisconnect;
use tessera_types::ClOrdId;
use tokio::sync::mpsc;

use crate::client_args::{ClientArgs, Instruments, VerbError, block_on, client, print};
use crate::exit;
use request::{Cancel, MassCancel, Place, Reduce, Replace, RequestError, TradeRequest};

/// Send a request to the exchange and print what comes of it; or watch a session.
#[derive(Clone, Debug, ClapArgs)]
#[command(
    subcommand_required = true,
    after_help = "\
Prices are in ticks of the instrument, quantities in lots. Orders stay when the command ends unless
--cancel-on-disconnect says otherwise. An order is named by the ClOrdID that its report shows, or by the
exchange's own id.

Examples:
  export TESSERA_ADDR=127.0.0.1:7700 TESSERA_CREDENTIALS=./exchange/credentials
  tessera trade place --instrument TEST --side buy --qty 5 --price 100
  tessera trade place --instrument TEST --side sell --qty 2 --type market
  tessera trade replace --order 1 --price 101
  tessera trade cancel --order 2
  tessera trade mass-cancel --instrument TEST
  tessera trade watch --session DESK --json
  echo '{\"op\":\"place\",\"instrument\":\"TEST\",\"side\":\"buy\",\"qty\":5,\"price\":100}' | tessera trade -

Exit status: 0 done, 1 a request was rejected or the exchange refused or went away, 2 usage."
)]
pub struct Args {
    #[command(flatten)]
    client: ClientArgs,

    /// When the end of the session cancels its orders: none, disconnect, logout or both
    #[arg(long, global = true, value_name = "WHEN", default_value = "none",
          value_parser = cancel_on_disconnect)]
    cancel_on_disconnect: CancelOnDisconnect,

    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Enter an order
    Place(Place),
    /// Change price, total quantity or trigger of an order
    Replace(Replace),
    /// Take quantity off an order; it keeps its place
    Reduce(Reduce),
    /// Cancel one order
    Cancel(Cancel),
    /// Cancel the session's orders that pass the filters
    MassCancel(MassCancel),
    /// Print the session's execution reports until Ctrl-C
    Watch(Watch),
    /// Read requests from standard input, one JSON object per line
    #[command(name = "-", visible_alias = "stdin")]
    Lines,
}

#[derive(Clone, Debug, ClapArgs)]
struct Watch {
    /// Stop after this many reports
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Stop after this many seconds
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
}

fn cancel_on_disconnect(text: &str) -> Result<CancelOnDisconnect, String> {
    CancelOnDisconnect::ALL
        .iter()
        .copied()
        .find(|mode| mode.as_str() == text)
        .ok_or_else(|| "write one of none, disconnect, logout, both".to_owned())
}

/// Runs the verb and says what the process should exit with.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    block_on(trade(args))
}

async fn trade(args: Args) -> Result<ExitCode, VerbError> {
    let mut config = args.client.config()?;
    config.cancel_on_disconnect = args.cancel_on_disconnect;
    let client = client(config)?;
    let session = client.orders(args.client.session_or(SESSION)).await?;
    let instruments = Instruments::new(session.instruments().await?);
    let mut desk = Desk::new(session, instruments, &args.client);
    let result = match args.action {
        Action::Place(place) => desk.one(&TradeRequest::Place(place)).await,
        Action::Replace(replace) => desk.one(&TradeRequest::Replace(replace)).await,
        Action::Reduce(reduce) => desk.one(&TradeRequest::Reduce(reduce)).await,
        Action::Cancel(cancel) => desk.one(&TradeRequest::Cancel(cancel)).await,
        Action::MassCancel(mass) => desk.one(&TradeRequest::MassCancel(mass)).await,
        Action::Watch(watch) => desk.watch(&watch).await,
        Action::Lines => desk.lines().await,
    };
    // Also after a mistake: a session that just vanishes stays logged on until it is missed.
    let finished = desk.finish().await;
    client.wait_idle().await;
    result?;
    finished?;
    Ok(if desk.rejected {
        ExitCode::from(exit::FAILED)
    } else {
        ExitCode::SUCCESS
    })
}

/// A session and what it has said.
struct Desk<'a> {
    sender: OrderSender,
    events: OrderEvents,
    instruments: Instruments,
    args: &'a ClientArgs,
    /// Ids of the requests of this run: the first one, 0 before it, and the last one.
    sent: (ClOrdId, ClOrdId),
    rejected: bool,
}

impl<'a> Desk<'a> {
    fn new(session: OrderSession, instruments: Instruments, args: &'a ClientArgs) -> Self {
        let (sender, events) = session.split();
        Self {
            sender,
            events,
            instruments,
            args,
            sent: (ClOrdId::new(0), ClOrdId::new(0)),
            rejected: false,
        }
    }

    /// Sends a request; its reports come with [`Desk::finish`].
    async fn one(&mut self, request: &TradeRequest) -> Result<(), VerbError> {
        self.queue(request)?;
        Ok(self.sender.flush().await?)
    }

    fn queue(&mut self, request: &TradeRequest) -> Result<(), VerbError> {
        let instruments = &self.instruments;
        let message = request
            .message(ClOrdId::new(0), self.args.account(), |name| {
                instruments.id(name)
            })
            .map_err(|error| match error {
                RequestError::UnknownInstrument(_) => VerbError::Failed(error.to_string()),
                _ => VerbError::Usage(error.to_string()),
            })?;
        let id = self.sender.queue(message)?;
        if self.sent.0 == ClOrdId::new(0) {
            self.sent.0 = id;
        }
        self.sent.1 = id;
        Ok(())
    }

    /// Sends each line of standard input as it comes and prints reports meanwhile.
    async fn lines(&mut self) -> Result<(), VerbError> {
        let mut input = Lines::new()?;
        loop {
            let line = tokio::select! {
                event = self.events.next_event() => {
                    self.on_event(&event?)?;
                    continue;
                }
                line = input.next() => line?,
            };
            match line {
                None => return Ok(()),
                Some(line) => self.line(input.number, &line).await?,
            }
        }
    }

    async fn line(&mut self, number: u64, line: &str) -> Result<(), VerbError> {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            return Ok(());
        }
        let at =
            |error: &dyn std::fmt::Display| VerbError::Usage(format!("line {number}: {error}"));
        let request = serde_json::from_str(line).map_err(|error| at(&error))?;
        self.queue(&request).map_err(|error| match error {
            VerbError::Usage(text) => at(&text),
            VerbError::Failed(text) => VerbError::Failed(format!("line {number}: {text}")),
            other => other,
        })?;
        Ok(self.sender.flush().await?)
    }

    async fn watch(&mut self, watch: &Watch) -> Result<(), VerbError> {
        let most = watch.count.unwrap_or(u64::MAX);
        let seconds = Duration::from_secs(watch.seconds.unwrap_or(u64::from(u32::MAX)));
        let end = tokio::time::sleep(seconds);
        tokio::pin!(end);
        let mut printed = 0;
        while printed < most {
            tokio::select! {
                event = self.events.next_event() => {
                    self.on_event(&event?)?;
                    printed += 1;
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

    /// Logs out, which the exchange answers when everything before is served, and prints what came
    /// up to then.
    async fn finish(&mut self) -> Result<(), VerbError> {
        let logout = self.sender.logout().await;
        loop {
            match self.events.next_event().await {
                Ok(event) => self.on_event(&event)?,
                // Everything before its end has been given; how it ended, the logout knows.
                Err(SessionError::NotRead(most)) => return Err(SessionError::NotRead(most).into()),
                Err(_) => return Ok(logout?),
            }
        }
    }

    fn on_event(&mut self, event: &OrderEvent) -> Result<(), VerbError> {
        let (seq, message) = message_of(event);
        let ours = event
            .cl_ord_id()
            .is_none_or(|id| id >= self.sent.0 && id <= self.sent.1);
        let refused = match event {
            OrderEvent::Malformed(_) | OrderEvent::Refused(_) => true,
            _ => event.rejection().is_some(),
        };
        self.rejected |= refused && ours && self.sent.0 != ClOrdId::new(0);
        let instruments = &self.instruments;
        match render::line(&message, seq, self.args.json, |id| instruments.name(id)) {
            Some(line) => print(&line),
            None => Ok(()),
        }
    }
}

/// The message of an event, and its ServerSeq where it has one.
pub(crate) fn message_of(event: &OrderEvent) -> (Option<u64>, Message) {
    match *event {
        OrderEvent::Execution { seq, report } => (Some(seq.get()), report.into()),
        OrderEvent::CancelReject { seq, report } => (Some(seq.get()), report.into()),
        OrderEvent::MassAction { seq, report } => (Some(seq.get()), report.into()),
        OrderEvent::Refused(reject) => (None, reject.into()),
        OrderEvent::Malformed(reject) => (None, reject.into()),
    }
}

/// Lines of standard input, which may be a file, a pipe or a terminal: only a thread can wait for
/// each of them. It ends with its input or with the program.
struct Lines {
    lines: mpsc::Receiver<io::Result<String>>,
    /// The line that was given last, from 1.
    number: u64,
}

impl Lines {
    fn new() -> Result<Self, VerbError> {
        let (sender, lines) = mpsc::channel(LINES);
        std::thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || {
                for line in io::stdin().lines() {
                    if sender.blocking_send(line).is_err() {
                        return; // nobody reads any more
                    }
                }
            })?;
        Ok(Self { lines, number: 0 })
    }

    /// The next line, nothing at the end of the input. Cancel safe.
    async fn next(&mut self) -> Result<Option<String>, VerbError> {
        let Some(line) = self.lines.recv().await else {
            return Ok(None);
        };
        self.number += 1;
        line.map(Some).map_err(|error| {
            VerbError::Failed(format!(
                "cannot read line {} of standard input: {error}",
                self.number
            ))
        })
    }
}

/// The session of a trader who names none.
const SESSION: &str = "TRADE";
/// Lines of input read ahead.
const LINES: usize = 1_024;
