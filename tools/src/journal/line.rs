//! One record as it is printed, by every verb that prints records.

use std::io::{self, Write};

use serde_json::{Value, json};
use tessera_journal::{Body, Record, hex};
use tessera_types::{Command, wire};

use super::describe::{client_id, command_json, kind_word, own_record_json};

/// How records are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// One readable line per record.
    Text,
    /// One JSON object per record.
    Json,
    /// "SEQ CLIENT_ID" per command, 0 where a command has no client id.
    SeqId,
    /// Position and payload bytes of each record.
    Hex,
}

/// One record, ready to be printed.
pub(super) struct Line<'a> {
    record: &'a Record<'a>,
    segment: &'a str,
    command: Option<Command>,
}

impl<'a> Line<'a> {
    pub(super) fn of(record: &'a Record<'a>, segment: &'a str) -> Result<Self, wire::DecodeError> {
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

    /// What is said where a command cannot be read.
    pub(super) fn unreadable(
        record: &Record<'_>,
        segment: &str,
        error: &wire::DecodeError,
    ) -> String {
        format!(
            "{segment}: at byte {}, record {}: the command cannot be read: {error}",
            record.offset, record.seq
        )
    }

    pub(super) fn word(&self) -> &'static str {
        kind_word(self.record.kind, self.command.as_ref())
    }

    pub(super) fn print(&self, out: &mut impl Write, format: Format) -> io::Result<()> {
        let Record {
            seq,
            time,
            epoch,
            offset,
            crc,
            payload,
            ..
        } = *self.record;
        match format {
            Format::SeqId => match &self.command {
                Some(command) => writeln!(out, "{seq} {}", client_id(command)),
                // What stands in place of a command has its sequence and nobody's id.
                None if self.record.kind == tessera_journal::kind::VOID => {
                    writeln!(out, "{seq} 0")
                }
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
            Format::Json => writeln!(out, "{}", self.json()),
        }
    }

    /// All there is to say about it.
    pub(super) fn json(&self) -> Value {
        let Record {
            seq,
            time,
            epoch,
            offset,
            slots,
            crc,
            ..
        } = *self.record;
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
        object
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
