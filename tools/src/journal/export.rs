//! `tessera journal export`: tables for other programs.

#[cfg(feature = "export")]
mod columns;
mod csv;
mod l3;
mod tables;

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::json;
use tessera_engine::{EngineConfig, Exchange};
use tessera_types::{Event, Seq, Sequenced};

#[cfg(any(feature = "export", test))]
use self::tables::Kind;
use self::tables::{Cell, Column, Rows};
use super::commands::{rules_message, sequenced, unknown_rules};
use super::line::Line;
use super::{Progress, Source, ToolError, judge, open};

/// Options of `tessera journal export`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Write typed tables: commands, events, orders, trades, books by order and by level",
    after_help = "\
Examples:
  tessera journal export --data ./exchange --what trades --out ./tables
  tessera journal export --data ./exchange --what orders --format parquet --out ./tables

Times are UTC with nanoseconds: integers in CSV, timestamp columns in Parquet and Arrow. These two need a
program built with the feature `export`.

Exit status: 0 done, 1 no journal or a file cannot be written, 2 usage or a table or format this program
does not have, 3 torn tail, 4 corrupt (the good records are exported)."
)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,

    /// Which table
    #[arg(long, value_enum)]
    what: What,

    /// In which format
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,

    /// Directory for the file; made when it does not exist
    #[arg(long, value_name = "D")]
    out: PathBuf,

    /// First sequence to export
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,

    /// Last sequence to export
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// What was asked, one row per command.
    Commands,
    /// What came of it, one row per event.
    Events,
    /// What happened to orders, one row each.
    Orders,
    /// One row per trade.
    Trades,
    /// Each change of an order's place in a book.
    L3,
    /// Each change of a price level.
    Books,
    /// Risk parameters and margins.
    Risk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Comma separated values with a header line.
    Csv,
    /// Apache Parquet, zstd compressed.
    Parquet,
    /// Apache Arrow IPC file.
    Arrow,
}

/// Takes rows and writes them to a file.
trait Sink {
    fn row(&mut self, row: &[Cell<'_>]) -> std::io::Result<()>;

    /// Ends the file and gives its size in bytes.
    fn end(self: Box<Self>) -> std::io::Result<u64>;
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<u8, ToolError> {
    let table = match args.what {
        What::Commands => Rows::Commands,
        What::Events => Rows::Events,
        What::Orders => Rows::Orders,
        What::Trades => Rows::Trades,
        What::Books => Rows::Books,
        What::L3 => Rows::L3,
        What::Risk => {
            return Err(ToolError::Usage(
                "the table risk is not there: journals of this release hold no risk parameters; there are \
                 commands, events, orders, trades, l3 and books"
                    .to_owned(),
            ));
        }
    };
    check_format(args.format)?;
    let scan = open(&args.source)?;
    let path = args
        .out
        .join(format!("{}.{}", table.name(), extension(args.format)));
    let failed = |error| ToolError::File {
        path: path.clone(),
        error,
    };
    std::fs::create_dir_all(&args.out).map_err(failed)?;
    let mut export = Export {
        sink: sink(args.format, &path, table.columns()).map_err(failed)?,
        table,
        engine: Exchange::new(EngineConfig::default()),
        events: Vec::new(),
        rows: 0,
        first: None,
        last: Seq::ZERO,
        lines: crate::sim::EventLines::default(),
        places: l3::Places::default(),
    };
    let mut progress = Progress::towards("commands", scan.extent()?.1.get());
    let mut stopped = None;
    let report = scan.read(|record, segment| {
        let seq = record.seq.get();
        if args.to.is_some_and(|to| seq > to) {
            return ControlFlow::Break(());
        }
        if let Some(found) = unknown_rules(record) {
            stopped = Some(ToolError::Rules(rules_message(found)));
            return ControlFlow::Break(());
        }
        let command = match sequenced(record) {
            Ok(Some(command)) => command,
            Ok(None) => return ControlFlow::Continue(()),
            Err(error) => {
                stopped = Some(ToolError::Replay(Line::unreadable(record, segment, &error)));
                return ControlFlow::Break(());
            }
        };
        progress.step();
        let is_wanted = args.from.is_none_or(|from| seq >= from);
        match export.command(&command, is_wanted) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                stopped = Some(failed(error));
                ControlFlow::Break(())
            }
        }
    });
    progress.end();
    let report = report?;
    if let Some(error) = stopped {
        return Err(error);
    }
    let (rows, first, last) = (export.rows, export.first, export.last);
    let bytes = export.sink.end().map_err(failed)?;
    if args.json {
        let file = json!({
            "path": path.display().to_string(),
            "rows": rows,
            "bytes": bytes,
            "first_seq": first.map(Seq::get),
            "last_seq": first.map(|_| last.get()),
        });
        writeln!(out, "{}", json!({ "files": [file] }))?;
    } else {
        writeln!(out, "{}: {rows} rows, {bytes} bytes", path.display())?;
    }
    Ok(judge(&report))
}

/// An engine whose commands and events become rows.
struct Export {
    sink: Box<dyn Sink>,
    table: Rows,
    engine: Exchange,
    events: Vec<Event>,
    rows: u64,
    first: Option<Seq>,
    last: Seq,
    lines: crate::sim::EventLines,
    places: l3::Places,
}

impl Export {
    fn command(&mut self, command: &Sequenced, is_wanted: bool) -> std::io::Result<()> {
        if self.table != Rows::Commands {
            self.events.clear();
            self.engine.apply(command, &mut self.events);
        }
        // What these two say of a command depends on those before it.
        let learns = matches!(self.table, Rows::Events | Rows::L3);
        if !is_wanted && !learns {
            return Ok(());
        }
        let (sink, rows) = (&mut self.sink, &mut self.rows);
        let before = *rows;
        let mut put = |row: &[Cell<'_>]| {
            *rows += 1;
            sink.row(row)
        };
        match self.table {
            Rows::Commands => self.table.command(command, &mut put)?,
            Rows::Events => {
                let mut text = String::new();
                self.lines.command(
                    &command.command,
                    command.seq,
                    &self.events,
                    &self.engine,
                    &mut text,
                );
                if is_wanted {
                    self.table.event_lines(command, &text, &mut put)?;
                }
            }
            Rows::L3 => {
                self.places
                    .command(command, &self.events, &self.engine, &mut |row| {
                        if is_wanted { put(row) } else { Ok(()) }
                    })?;
            }
            _ => {
                for event in &self.events {
                    self.table.event(command, event, &mut put)?;
                }
            }
        }
        if self.rows > before {
            self.first.get_or_insert(command.seq);
            self.last = command.seq;
        }
        Ok(())
    }
}

const fn extension(format: Format) -> &'static str {
    match format {
        Format::Csv => "csv",
        Format::Parquet => "parquet",
        Format::Arrow => "arrow",
    }
}

#[cfg(feature = "export")]
fn check_format(_: Format) -> Result<(), ToolError> {
    Ok(())
}

#[cfg(not(feature = "export"))]
fn check_format(format: Format) -> Result<(), ToolError> {
    if format == Format::Csv {
        return Ok(());
    }
    Err(ToolError::Usage(format!(
        "this program was built without the feature `export`, which brings {}; use --format csv, or \
         build with `cargo build --features export`",
        extension(format)
    )))
}

fn sink(format: Format, path: &Path, columns: &'static [Column]) -> std::io::Result<Box<dyn Sink>> {
    match format {
        Format::Csv => Ok(Box::new(csv::Csv::create(path, columns)?)),
        #[cfg(feature = "export")]
        Format::Parquet => Ok(Box::new(columns::Parquet::create(path, columns)?)),
        #[cfg(feature = "export")]
        Format::Arrow => Ok(Box::new(columns::Ipc::create(path, columns)?)),
        #[cfg(not(feature = "export"))]
        Format::Parquet | Format::Arrow => Err(std::io::Error::other("not built in")),
    }
}
