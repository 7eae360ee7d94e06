//! `tessera journal dump`: the records in order, up to the first that is not valid.

use std::io::{self, Write};
use std::ops::ControlFlow;

use serde_json::{Value, json};
use tessera_journal::{Body, Record, hex};
use tessera_types::{Command, wire};

use super::describe::{client_id, command_json, kind_word, own_record_json};
use super::{Source, ToolError, judge, open};

/// Options of `tessera journal dump`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Print the records in order, up to the first that is not valid",
    after_help = "\
Examples:
  tessera journal dump --data ./exchange
  tessera journal dump --data ./exchange --format json --type new --from 1000 --to 1999
  tessera journal dump --data ./exchange --format seq-id   # one line \"SEQ CLIENT_ID\" per command

Exit status: 0 done, 1 no journal or a newer format, 2 usage, 3 torn tail, 4 corrupt; in the last two
cases the good records before it have been printed."
)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,

    /// Only records of this type, as the type field of --format json names it (new, checkpoint, ...)
    #[arg(long = "type", value_name = "T")]
    only: Option<String>,

    /// First sequence to print
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,

    /// Last sequence to print
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One readable line per record.
    Text,
    /// One JSON object per record.
    Json,
    /// "SEQ CLIENT_ID" per command, 0 where a command has no client id.
    SeqId,
    /// Position and payload bytes of each record.
    Hex,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<u8, ToolError> {
    let scan = open(&args.source)?;
    let format = if args.json { Format::Json } else { args.format };
    let mut failed = None;
    let mut unreadable = None;
    let report = scan.read(|record, segment| {
        let seq = record.seq.get();
        if args.to.is_some_and(|to| seq > to) {
            return ControlFlow::Break(());
        }
        if args.from.is_some_and(|from| seq < from) {
            return ControlFlow::Continue(());
        }
        let line = match Line::of(record, segment) {
            Ok(line) => line,
            Err(error) => {
                unreadable = Some(format!(
                    "{segment}: at byte {}, record {seq}: the command cannot be read: {error}",
                    record.offset
                ));
                return ControlFlow::Break(());
            }
        };
        if args.only.as_ref().is_some_and(|only| *only != line.word()) {
            return ControlFlow::Continue(());
        }
        match line.print(out, format) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    if let Some(message) = unreadable {
        eprintln!("tessera: {message}");
        return Ok(crate::exit::CORRUPT);
    }
    Ok(judge(&report))
}

/// One record, ready to be printed.
struct Line<'a> {
    record: &'a Record<'a>,
    segment: &'a str,
    command: Option<Command>,
}

impl<'a> Line<'a> {
    fn of(record: &'a Record<'a>, segment: &'a str) -> Result<Self, wire::DecodeError> {
        let command = match record.body() {
            Ok(Body::Command(bytes)) => {
                Some(wire::decode_command(record.kind, record.time, bytes)?)
            }
            _ => None,
        };
        Ok(Self {
            record,
            segment,
            command,
        })
    }

    fn word(&self) -> &'static str {
        kind_word(self.record.kind, self.command.as_ref())
    }

    fn print(&self, out: &mut impl Write, format: Format) -> io::Result<()> {
        let Record {
            seq,
            time,
            epoch,
            offset,
            slots,
            crc,
            payload,
            ..
        } = *self.record;
        match format {
            Format::SeqId => match &self.command {
                Some(command) => writeln!(out, "{seq} {}", client_id(command)),
                None => Ok(()),
            },
            Format::Hex => {
                let kind = self.record.kind;
                writeln!(
                    out,
                    "{} {offset} {seq} {kind:02x} {crc:08x} {}",
                    self.segment,
                    hex(payload)
                )
            }
            Format::Text => {
                write!(out, "{seq:>10} {time:>19} {epoch:>4} {:<15}", self.word())?;
                if let Value::Object(fields) = self.fields() {
                    for (name, value) in &fields {
                        match value {
                            value if name != "instrument" && is_unset(value) => {}
                            Value::String(text) => write!(out, " {name}={text}")?,
                            value => write!(out, " {name}={value}")?,
                        }
                    }
                }
                writeln!(out)
            }
            Format::Json => {
                let command = self.command.as_ref();
                let session = command.and_then(super::describe::session);
                let mut object = json!({
                    "seq": seq.get(),
                    "time_ns": time.nanos(),
                    "epoch": epoch,
                    "type": self.word(),
                    "slots": slots,
                    "segment": self.segment,
                    "offset": offset,
                    "crc": format!("{crc:08x}"),
                    "session": session,
                    "command": command.map(command_json),
                });
                if command.is_none() {
                    object["record"] = own_record_json(self.record);
                }
                writeln!(out, "{object}")
            }
        }
    }

    fn fields(&self) -> Value {
        self.command
            .as_ref()
            .map_or_else(|| own_record_json(self.record), command_json)
    }
}

/// What a reader of text does not miss; `--format json` has every field.
fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Array(values) => values.is_empty(),
        _ => false,
    }
}
