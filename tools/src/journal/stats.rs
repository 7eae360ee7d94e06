//! `tessera journal stats`: the shape of the traffic, and how the disk kept up.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::{Value, json};
use tessera_journal::kind;

use super::line::Line;
use super::{Progress, Source, ToolError, judge, open};

/// Options of `tessera journal stats`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Print rates, sizes, and from sync.hlog the sizes and times of group commits",
    after_help = "\
Examples:
  tessera journal stats --data ./exchange
  tessera journal stats --data ./exchange --json

The rate is of commands in each second of the recorded clock that had one. Group commits are known for as
long as the exchange has kept sync.hlog.

Exit status: 0 done, 1 no journal, 2 usage, 3 torn tail, 4 corrupt (the good records are counted)."
)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<u8, ToolError> {
    let scan = open(&args.source)?;
    let mut progress = Progress::towards("records", scan.extent()?.0 / 64);
    let mut shape = Shape::default();
    let mut unreadable = None;
    let report = scan.read(|record, segment| {
        progress.step();
        *shape.slots.entry(record.slots).or_default() += 1;
        if !kind::has_seq(record.kind) {
            return ControlFlow::Continue(());
        }
        let word = match Line::of(record, segment) {
            Ok(line) => line.word(),
            Err(error) => {
                unreadable.get_or_insert_with(|| Line::unreadable(record, segment, &error));
                "unreadable"
            }
        };
        *shape.by_type.entry(word).or_default() += 1;
        shape.note_time(record.time.nanos());
        ControlFlow::Continue(())
    });
    progress.end();
    let report = report?;
    shape.end_second();
    let log = SyncLog::read(&args.source.data.join("sync.hlog"))?;
    let records: u64 = shape.slots.values().sum();
    let span = shape.last.saturating_sub(shape.first.unwrap_or(shape.last));
    if args.json {
        let object = json!({
            "commands_by_type": shape.by_type,
            "slots_per_record": shape.slots.iter().map(|(k, v)| (k.to_string(), *v)).collect::<BTreeMap<_, _>>(),
            "rate_per_s": percentiles(&shape.rates),
            "segments": report.segments.len(),
            "records": records,
            "bytes": report.bytes,
            "time_span_ns": span,
            "group_records": log.as_ref().map(|log| percentiles(&log.group_records)),
            "sync_ns": log.as_ref().map(|log| percentiles(&log.sync_ns)),
        });
        writeln!(out, "{object}")?;
    } else {
        writeln!(
            out,
            "segments      {}, {} bytes",
            report.segments.len(),
            report.bytes
        )?;
        writeln!(out, "records       {records}")?;
        for (slots, count) in &shape.slots {
            writeln!(out, "  {slots:>3} slots   {count}")?;
        }
        writeln!(out, "commands over {}.{:09} s", span / NS, span % NS)?;
        for (word, count) in &shape.by_type {
            writeln!(out, "  {word:<16} {count}")?;
        }
        writeln!(out, "per second    {}", words(&shape.rates))?;
        match &log {
            Some(log) => {
                writeln!(out, "group records {}", words(&log.group_records))?;
                writeln!(out, "sync ns       {}", words(&log.sync_ns))?;
            }
            None => writeln!(out, "group commits unknown: there is no sync.hlog")?,
        }
    }
    if let Some(message) = unreadable {
        eprintln!("tessera: {message}");
        return Ok(crate::exit::CORRUPT);
    }
    Ok(judge(&report))
}

const NS: u64 = 1_000_000_000;

struct Shape {
    by_type: BTreeMap<&'static str, u64>,
    slots: BTreeMap<u32, u64>,
    first: Option<u64>,
    last: u64,
    /// Commands of the second that is counted now.
    in_second: u64,
    rates: Histogram<u64>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            by_type: BTreeMap::new(),
            slots: BTreeMap::new(),
            first: None,
            last: 0,
            in_second: 0,
            rates: Histogram::new(3).expect("three digits are a valid precision"),
        }
    }
}

impl Shape {
    fn note_time(&mut self, nanos: u64) {
        if nanos / NS != self.last / NS {
            self.end_second();
        }
        self.first.get_or_insert(nanos);
        self.last = nanos;
        self.in_second += 1;
    }

    fn end_second(&mut self) {
        if self.in_second > 0 {
            self.rates.saturating_record(self.in_second);
            self.in_second = 0;
        }
    }
}

/// What `sync.hlog` says, over all its intervals.
struct SyncLog {
    group_records: Histogram<u64>,
    sync_ns: Histogram<u64>,
}

impl SyncLog {
    /// Reads the log, if there is one. Its last line may be unfinished: the log is disposable and not
    /// synced.
    fn read(path: &Path) -> Result<Option<Self>, ToolError> {
        use base64::Engine as _;
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let path = path.to_owned();
                return Err(ToolError::File { path, error });
            }
        };
        let empty = || Histogram::new(3).expect("three digits are a valid precision");
        let mut log = Self {
            group_records: empty(),
            sync_ns: empty(),
        };
        let mut deserializer = Deserializer::new();
        // Line by line: each start of the exchange writes a header of its own, which one reader of the
        // whole file would not accept twice.
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        for entry in lines.flat_map(IntervalLogIterator::new) {
            let Ok(LogEntry::Interval(interval)) = entry else {
                continue;
            };
            let decoded = base64::engine::general_purpose::STANDARD
                .decode(interval.encoded_histogram())
                .unwrap_or_default();
            let Ok(part) = deserializer.deserialize::<u64, _>(&mut decoded.as_slice()) else {
                continue;
            };
            let sum = match interval.tag().map(|tag| tag.as_str()) {
                Some("group_records") => &mut log.group_records,
                Some("sync_ns") => &mut log.sync_ns,
                _ => continue,
            };
            // Both resize themselves.
            let _ = sum.add(part);
        }
        Ok(Some(log))
    }
}

fn percentiles(histogram: &Histogram<u64>) -> Value {
    json!({
        "count": histogram.len(),
        "p50": histogram.value_at_quantile(0.5),
        "p99": histogram.value_at_quantile(0.99),
        "p99_9": histogram.value_at_quantile(0.999),
        "max": histogram.max(),
    })
}

fn words(histogram: &Histogram<u64>) -> String {
    format!(
        "p50 {}, p99 {}, p99.9 {}, max {} of {}",
        histogram.value_at_quantile(0.5),
        histogram.value_at_quantile(0.99),
        histogram.value_at_quantile(0.999),
        histogram.max(),
        histogram.len()
    )
}
