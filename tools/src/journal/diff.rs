//! `tessera journal diff`: the first place where two journals say different things.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tessera_engine::{EngineConfig, Exchange};
use tessera_journal::{Finding, Follower, Limit, Next, Record, Scan, kind};
use tessera_types::{Event, Seq, Timestamp};

use super::commands::{rules_message, sequenced, unknown_rules};
use super::line::Line;
use super::{Progress, ToolError};
use crate::exit;
use crate::sim::EventLines;

/// Options of `tessera journal diff`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Find the first command or state hash that differs between two journals",
    after_help = "\
Examples:
  tessera journal diff ./exchange ./copy
  tessera journal diff ./before ./after --events --json   # runs the engine over both

What belongs to the files and not to the history (segment borders, checkpoints, epochs, signatures) is
not compared.

Exit status: 0 equal, 1 they differ or one cannot be read, 2 usage, 4 one is corrupt before they differ."
)]
pub(super) struct Args {
    /// Directory of one journal
    a: PathBuf,

    /// Directory of the other
    b: PathBuf,

    /// Also compare the events of each command, which finds nothing unless the journals differ or one was
    /// written under other rules
    #[arg(long)]
    events: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<u8, ToolError> {
    let mut a = Side::open(&args.a, args.events)?;
    let mut b = Side::open(&args.b, args.events)?;
    let mut progress = Progress::towards("records", 0);
    let mut common = 0_u64;
    let difference = loop {
        let (left, right) = (a.next()?, b.next()?);
        if left.is_none() && right.is_none() {
            break None;
        }
        let is_equal = match (&left, &right) {
            (Some(left), Some(right)) => left.says == right.says,
            _ => false,
        };
        if !is_equal {
            break Some((left, right));
        }
        progress.step();
        common += 1;
    };
    progress.end();
    let first = difference.as_ref().and_then(|(a, b)| {
        let seqs = [a.as_ref(), b.as_ref()];
        seqs.into_iter().flatten().map(|entry| entry.seq).min()
    });
    let shown = |entry: &Option<Entry>| entry.as_ref().map(|entry| entry.shown.clone());
    let (left, right) = difference
        .as_ref()
        .map_or((None, None), |(a, b)| (shown(a), shown(b)));
    if args.json {
        let object = json!({
            "equal": difference.is_none(),
            "common_records": common,
            "first_diff_seq": first.map(Seq::get),
            "a": left,
            "b": right,
        });
        writeln!(out, "{object}")?;
    } else if let Some(seq) = first {
        writeln!(
            out,
            "{common} records are equal, the first difference is at {seq}"
        )?;
        for (name, side) in [(&args.a, left), (&args.b, right)] {
            let side = side.map_or_else(|| "ends before".to_owned(), |side| side.to_string());
            writeln!(out, "{}: {side}", name.display())?;
        }
    } else {
        writeln!(out, "equal: {common} records")?;
    }
    let mut corrupt = false;
    for side in [&a, &b] {
        if let Some(finding) = &side.damaged {
            eprintln!("tessera: {}: {finding}", side.path.display());
            corrupt = true;
        }
    }
    Ok(match (corrupt, difference.is_some()) {
        (true, _) => exit::CORRUPT,
        (false, true) => exit::FAILED,
        (false, false) => 0,
    })
}

/// One of the two journals.
struct Side {
    path: PathBuf,
    follower: Follower,
    replay: Option<Box<Replay>>,
    damaged: Option<Finding>,
}

struct Replay {
    engine: Exchange,
    events: Vec<Event>,
    lines: EventLines,
}

/// A record, as far as two journals must agree on it.
struct Entry {
    seq: Seq,
    says: (Seq, Timestamp, u8, Vec<u8>, String),
    shown: Value,
}

impl Side {
    fn open(path: &Path, events: bool) -> Result<Self, ToolError> {
        let scan = Scan::open(path)?;
        Ok(Self {
            path: path.to_owned(),
            follower: scan.follow(Some(Seq::new(1)), Limit::Good)?,
            replay: events.then(|| {
                Box::new(Replay {
                    engine: Exchange::new(EngineConfig::default()),
                    events: Vec::new(),
                    lines: EventLines::default(),
                })
            }),
            damaged: None,
        })
    }

    fn next(&mut self) -> Result<Option<Entry>, ToolError> {
        if self.damaged.is_some() {
            return Ok(None);
        }
        loop {
            match self.follower.poll()? {
                Next::Wait => return Ok(None),
                Next::Damaged(finding) => {
                    self.damaged = Some(finding);
                    return Ok(None);
                }
                Next::Record(record, segment) => {
                    if let Some(found) = unknown_rules(&record).filter(|_| self.replay.is_some()) {
                        return Err(ToolError::Rules(rules_message(found)));
                    }
                    if kind::has_seq(record.kind) || record.kind == kind::STATE_HASH {
                        return Entry::of(&record, segment, self.replay.as_deref_mut()).map(Some);
                    }
                }
            }
        }
    }
}

impl Entry {
    fn of(
        record: &Record<'_>,
        segment: &str,
        replay: Option<&mut Replay>,
    ) -> Result<Self, ToolError> {
        let unreadable = |error| ToolError::Replay(Line::unreadable(record, segment, &error));
        let mut events = String::new();
        if let Some(replay) = replay
            && let Some(command) = sequenced(record).map_err(unreadable)?
        {
            replay.events.clear();
            replay.engine.apply(&command, &mut replay.events);
            replay.lines.command(
                &command.command,
                record.seq,
                &replay.events,
                &replay.engine,
                &mut events,
            );
        }
        // A payload this program cannot read can still be compared.
        let mut shown = Line::of(record, segment).map_or_else(
            |_| json!({ "seq": record.seq.get(), "payload": tessera_journal::hex(record.payload) }),
            |line| line.json(),
        );
        if !events.is_empty() {
            shown["events"] = events.lines().collect();
        }
        Ok(Self {
            seq: record.seq,
            says: (
                record.seq,
                record.time,
                record.kind,
                record.payload.to_vec(),
                events,
            ),
            shown,
        })
    }
}
