//! `tessera journal replay`: runs the engine over the journal and compares every state hash.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::json;
use tessera_engine::{EngineConfig, Exchange};
use tessera_journal::{Body, Record, hex};
use tessera_types::{Command, Event, Seq, Sequenced, wire};

use super::{Progress, Source, ToolError, judge, open};
use crate::exit;
use crate::sim::EventLines;

/// Options of `tessera journal replay`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Run the engine over the journal, compare every state hash, report the state at the end",
    after_help = "\
Examples:
  tessera journal replay --data ./exchange
  tessera journal replay --data ./exchange --to-seq 100000 --state-hash   # prints \"SEQ HASH\"
  tessera journal replay --data ./exchange --events events.jsonl

Exit status: 0 every state hash agrees, 1 no journal or it ends before --to-seq, 2 usage, 3 torn tail
(what was acknowledged has been replayed), 4 corrupt or a state hash that differs."
)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,

    /// Stop after this command
    #[arg(long, value_name = "N", conflicts_with = "to_time")]
    to_seq: Option<u64>,

    /// Stop before the first command later than this, in nanoseconds since 1970
    #[arg(long, value_name = "T")]
    to_time: Option<u64>,

    /// Print only the last sequence and the hash of the state after it
    #[arg(long, conflicts_with = "json")]
    state_hash: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Write every event as a line of JSON, as order scripts print them; - for standard output
    #[arg(long, value_name = "F")]
    events: Option<PathBuf>,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<u8, ToolError> {
    let scan = open(&args.source)?;
    let mut run = Run::new(Events::open(args.events.as_deref())?);
    let mut progress = Progress::new("commands");
    let report = scan.read(|record, segment| {
        let is_command = tessera_journal::kind::is_command(record.kind);
        let is_past = args.to_seq.is_some_and(|to| record.seq.get() > to)
            || args
                .to_time
                .is_some_and(|to| is_command && record.time.nanos() > to);
        if is_past {
            return ControlFlow::Break(());
        }
        progress.step();
        run.record(record, segment, out)
    });
    progress.end();
    let report = report?;
    run.flush()?;

    let last = run.engine.last_seq();
    if let Some(asked) = args
        .to_seq
        .filter(|to| *to > last.get() && run.stop.is_none())
    {
        judge(&report);
        return Err(ToolError::Beyond {
            last: last.get(),
            asked,
        });
    }
    let hash = hex(&run.engine.state_hash());
    let elapsed_ms = progress.elapsed_ms();
    let per_s = run.commands.saturating_mul(1000) / elapsed_ms.max(1);
    if args.state_hash {
        writeln!(out, "{last} {hash}")?;
    } else if args.json {
        let mismatch = match &run.stop {
            Some(Stopped::Hash {
                after,
                at,
                expected,
                found,
            }) => json!({
                "from_seq": after.get() + 1,
                "to_seq": at.get(),
                "expected": expected,
                "found": found,
            }),
            _ => json!(null),
        };
        let object = json!({
            "from_seq": run.first.get(),
            "to_seq": last.get(),
            "commands": run.commands,
            "events": run.events,
            "state_hash": hash,
            "state_hashes_checked": run.checked,
            "first_mismatch": mismatch,
            "elapsed_ms": elapsed_ms,
            "commands_per_s": per_s,
        });
        writeln!(out, "{object}")?;
    } else if !matches!(run.output, Events::Here) {
        writeln!(
            out,
            "commands      {} ({} to {last})",
            run.commands, run.first
        )?;
        writeln!(out, "events        {}", run.events)?;
        writeln!(out, "state hashes  {} checked", run.checked)?;
        writeln!(out, "state hash    {hash}")?;
        writeln!(out, "took          {elapsed_ms} ms, {per_s} commands/s")?;
    }
    match run.stop {
        None => Ok(judge(&report)),
        Some(Stopped::Hash {
            after,
            at,
            expected,
            found,
        }) => {
            eprintln!(
                "tessera: the state after command {at} has hash {found}, the journal says {expected}; \
                 the first difference lies between {} and {at}",
                after.next()
            );
            Ok(exit::CORRUPT)
        }
        Some(Stopped::Payload(message)) => {
            eprintln!("tessera: {message}");
            Ok(exit::CORRUPT)
        }
        Some(Stopped::Output(error)) => Err(error),
    }
}

/// Where event lines go.
enum Events {
    Nowhere,
    /// Among the data on standard output.
    Here,
    File(BufWriter<File>),
}

impl Events {
    fn open(path: Option<&Path>) -> Result<Self, ToolError> {
        match path {
            None => Ok(Self::Nowhere),
            Some(path) if path.as_os_str() == "-" => Ok(Self::Here),
            Some(path) => match File::create(path) {
                Ok(file) => Ok(Self::File(BufWriter::new(file))),
                Err(error) => Err(ToolError::File {
                    path: path.to_owned(),
                    error,
                }),
            },
        }
    }
}

/// An engine being driven by a journal.
struct Run {
    engine: Exchange,
    sink: Vec<Event>,
    lines: EventLines,
    text: String,
    output: Events,
    first: Seq,
    commands: u64,
    events: u64,
    checked: u64,
    last_equal: Seq,
    stop: Option<Stopped>,
}

/// Why a replay ended early.
enum Stopped {
    Hash {
        after: Seq,
        at: Seq,
        expected: String,
        found: String,
    },
    Payload(String),
    Output(ToolError),
}

impl Run {
    fn new(output: Events) -> Self {
        Self {
            engine: Exchange::new(EngineConfig::default()),
            sink: Vec::new(),
            lines: EventLines::default(),
            text: String::new(),
            output,
            first: Seq::ZERO,
            commands: 0,
            events: 0,
            checked: 0,
            last_equal: Seq::ZERO,
            stop: None,
        }
    }

    fn record(
        &mut self,
        record: &Record<'_>,
        segment: &str,
        out: &mut impl Write,
    ) -> ControlFlow<()> {
        let stopped = match record.body() {
            Ok(Body::Command(payload)) => self.command(record, payload, segment, out),
            Ok(Body::StateHash {
                hash,
                events_digest,
            }) => self.compare(record.seq, &hash, events_digest),
            _ => Ok(()),
        };
        match stopped {
            Ok(()) => ControlFlow::Continue(()),
            Err(stopped) => {
                self.stop = Some(stopped);
                ControlFlow::Break(())
            }
        }
    }

    fn command(
        &mut self,
        record: &Record<'_>,
        payload: &[u8],
        segment: &str,
        out: &mut impl Write,
    ) -> Result<(), Stopped> {
        let command = wire::decode_command(record.kind, record.time, payload).map_err(|error| {
            Stopped::Payload(format!(
                "{segment}: at byte {}, record {}: the command cannot be read: {error}",
                record.offset, record.seq
            ))
        })?;
        if self.commands == 0 {
            self.first = record.seq;
        }
        self.commands += 1;
        let sequenced = Sequenced {
            seq: record.seq,
            time: record.time,
            command,
        };
        self.sink.clear();
        self.engine.apply(&sequenced, &mut self.sink);
        self.events += self.sink.len() as u64;
        self.print(&sequenced.command, record.seq, out)
    }

    fn compare(&mut self, seq: Seq, hash: &[u8; 32], events_digest: u32) -> Result<(), Stopped> {
        let (found, digest) = (self.engine.state_hash(), self.engine.events_digest());
        if (found, digest) != (*hash, events_digest) {
            return Err(Stopped::Hash {
                after: self.last_equal,
                at: seq,
                expected: format!("{}/{events_digest:08x}", hex(hash)),
                found: format!("{}/{digest:08x}", hex(&found)),
            });
        }
        self.engine.restart_events_digest();
        self.last_equal = seq;
        self.checked += 1;
        Ok(())
    }

    fn print(&mut self, command: &Command, seq: Seq, out: &mut impl Write) -> Result<(), Stopped> {
        if matches!(self.output, Events::Nowhere) {
            return Ok(());
        }
        self.text.clear();
        self.lines
            .command(command, seq, &self.sink, &self.engine, &mut self.text);
        let written = match &mut self.output {
            Events::File(file) => file.write_all(self.text.as_bytes()),
            _ => out.write_all(self.text.as_bytes()),
        };
        written.map_err(|error| Stopped::Output(error.into()))
    }

    fn flush(&mut self) -> Result<(), ToolError> {
        match &mut self.output {
            Events::File(file) => Ok(file.flush()?),
            _ => Ok(()),
        }
    }
}
