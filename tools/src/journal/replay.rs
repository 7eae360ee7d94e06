//! `tessera journal replay`: runs the engine over the journal and compares every state hash.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;
use tessera_engine::{EngineConfig, Exchange};
use tessera_journal::{Body, Copy, Record, hex, kind};
use tessera_types::{Command, Event, Seq, Timestamp};

use super::commands::{rules_message, sequenced, unknown_rules};
use super::line::Line;
use super::repair::copy;
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
  tessera journal replay --data ./exchange --speed 10 --events -   # ten times as fast as it was
  tessera journal replay --data ./exchange --to-seq 100000 --serve 127.0.0.1:7800   # look around there

--serve opens the state after the replay to feeds and views, with the journal's own credentials: time
stands still, sessions come and go, and every request that would change something is refused with
read_only. It serves a copy of the history in a temporary directory, so it needs as much room there.

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

    /// Keep the recorded gaps between commands, divided by X: 1 as it was, 10 ten times as fast
    #[arg(long, value_name = "X", value_parser = speed)]
    speed: Option<f64>,

    /// Print only the last sequence and the hash of the state after it
    #[arg(long, conflicts_with = "json")]
    state_hash: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Write every event as a line of JSON, as order scripts print them; - for standard output
    #[arg(long, value_name = "F")]
    events: Option<PathBuf>,

    /// Then serve the state on this UDP address, for looking around only, until a signal ends it
    #[arg(long, value_name = "ADDR", conflicts_with = "state_hash")]
    serve: Option<SocketAddr>,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<u8, ToolError> {
    let scan = open(&args.source)?;
    let mut run = Run::new(Events::open(args.events.as_deref())?);
    let mut progress = Progress::towards("commands", scan.extent()?.1.get());
    let mut pace = args.speed.map(Pace::new);
    let report = scan.read(|record, segment| {
        let is_command = tessera_journal::kind::is_command(record.kind);
        let is_past = args.to_seq.is_some_and(|to| record.seq.get() > to)
            || args
                .to_time
                .is_some_and(|to| is_command && record.time.nanos() > to);
        if is_past {
            return ControlFlow::Break(());
        }
        if kind::has_seq(record.kind) {
            progress.step();
            if let Some(pace) = &mut pace {
                // Whoever watches sees what has happened until now.
                if let Err(error) = out.flush().map_err(ToolError::from).and(run.flush()) {
                    run.stop = Some(Stopped::Output(error));
                    return ControlFlow::Break(());
                }
                pace.wait_for(record.time);
            }
        }
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
            "voids": run.voids,
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
        None => match args.serve {
            Some(listen) if last > Seq::ZERO => {
                judge(&report);
                out.flush()?;
                serve(args, last, listen)
            }
            _ => Ok(judge(&report)),
        },
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
        Some(Stopped::Rules(found)) => Err(ToolError::Rules(rules_message(found))),
        Some(Stopped::Output(error)) => Err(error),
    }
}

/// Serves a copy of the history up to `last`: the journal itself stays as it is, and may have a writer.
fn serve(args: &Args, last: Seq, listen: SocketAddr) -> Result<u8, ToolError> {
    let copied = tempfile::Builder::new()
        .prefix("tessera-replay-")
        .tempdir()?;
    let data = copied.path().join("data");
    copy(&open(&args.source)?, &data, Copy::Fork { at: last })?;
    copy_files(
        &args.source.data.join("credentials"),
        &data.join("credentials"),
    )?;
    match crate::serve::look_around(args.json, data, listen) {
        ExitCode::SUCCESS => Ok(0),
        _ => Ok(exit::FAILED),
    }
}

/// Copies the files of a directory, if there is one.
fn copy_files(from: &Path, to: &Path) -> Result<(), ToolError> {
    let failed = |path: &Path, error| ToolError::File {
        path: path.to_owned(),
        error,
    };
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(from, error)),
    };
    fs::create_dir_all(to).map_err(|error| failed(to, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| failed(from, error))?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let path = entry.path();
            fs::copy(&path, to.join(entry.file_name())).map_err(|error| failed(&path, error))?;
        }
    }
    Ok(())
}

/// Keeps the gaps of the recorded clock.
struct Pace {
    speed: f64,
    start: Option<(Instant, Timestamp)>,
}

impl Pace {
    const fn new(speed: f64) -> Self {
        Self { speed, start: None }
    }

    /// Waits until the moment of a record, counted from the first one.
    fn wait_for(&mut self, time: Timestamp) {
        let (begun, first) = *self.start.get_or_insert_with(|| (Instant::now(), time));
        let recorded = Duration::from_nanos(time.nanos_since(first));
        // A span beyond what can be waited for is waited for as long as there is patience.
        let due = Duration::try_from_secs_f64(recorded.as_secs_f64() / self.speed)
            .unwrap_or(Duration::MAX);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
    }
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if f64::is_finite(speed) && speed > 0.0 => Ok(speed),
        _ => Err("a factor above 0, such as 1 or 0.5".into()),
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
    voids: u64,
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
    Rules(u32),
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
            voids: 0,
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
            Ok(Body::StateHash {
                hash,
                events_digest,
            }) => self.compare(record.seq, &hash, events_digest),
            _ => match unknown_rules(record) {
                Some(found) => Err(Stopped::Rules(found)),
                None => self.command(record, segment, out),
            },
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
        segment: &str,
        out: &mut impl Write,
    ) -> Result<(), Stopped> {
        let sequenced = match sequenced(record) {
            Ok(Some(sequenced)) => sequenced,
            Ok(None) => return Ok(()),
            Err(error) => {
                return Err(Stopped::Payload(Line::unreadable(record, segment, &error)));
            }
        };
        if self.commands == 0 {
            self.first = record.seq;
        }
        self.commands += 1;
        self.voids += u64::from(record.kind == kind::VOID);
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
