//! `tessera journal tail`: the last records, and those that come.

use std::collections::VecDeque;
use std::io::Write;
use std::thread;
use std::time::Duration;

use tessera_journal::{Limit, Next};
use tessera_types::Seq;

use super::line::{Format, Line};
use super::{Source, ToolError, open};
use crate::exit;

/// Options of `tessera journal tail`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Print the last records, and with -f those that follow, none before it is durable",
    after_help = "\
Examples:
  tessera journal tail --data ./exchange
  tessera journal tail --data ./exchange -f --format json
  tessera journal tail --data ./exchange -f --from 1 --format seq-id

With -f it goes on over rotations and restarts of the exchange until it is ended.

Exit status: 0 done, 1 no journal, 2 usage, 4 damaged record met."
)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,

    /// Go on with what comes
    #[arg(short = 'f', long)]
    follow: bool,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,

    /// How many of the last records to begin with
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value_t = 10,
        conflicts_with = "from"
    )]
    lines: usize,

    /// First sequence to print
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,

    /// End after this sequence
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
}

/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<u8, ToolError> {
    let scan = open(&args.source)?;
    let format = if args.json { Format::Json } else { args.format };
    let mut follower = scan.follow(args.from.map(Seq::new), Limit::Durable)?;
    // Lines that are held back until it is known which are the last.
    let mut last: Option<VecDeque<Vec<u8>>> = args.from.is_none().then(VecDeque::new);
    loop {
        match follower.poll()? {
            Next::Record(record, segment) => {
                let seq = record.seq.get();
                if args.to.is_some_and(|to| seq > to) {
                    break;
                }
                if args.from.is_some_and(|from| seq < from) {
                    continue;
                }
                let line = match Line::of(&record, segment) {
                    Ok(line) => line,
                    Err(error) => {
                        let message = Line::unreadable(&record, segment, &error);
                        release(&mut last, out)?;
                        return damaged(&message, out);
                    }
                };
                match &mut last {
                    Some(held) => {
                        let mut text = Vec::new();
                        line.print(&mut text, format)?;
                        if !text.is_empty() {
                            held.push_back(text);
                        }
                        if held.len() > args.lines {
                            held.pop_front();
                        }
                    }
                    None => line.print(out, format)?,
                }
            }
            Next::Wait => {
                release(&mut last, out)?;
                out.flush()?;
                if !args.follow {
                    return Ok(0);
                }
                thread::sleep(PAUSE);
            }
            Next::Damaged(finding) => {
                let message = finding.to_string();
                release(&mut last, out)?;
                return damaged(&message, out);
            }
        }
    }
    release(&mut last, out)?;
    Ok(0)
}

fn release(held: &mut Option<VecDeque<Vec<u8>>>, out: &mut impl Write) -> Result<(), ToolError> {
    for line in held.take().into_iter().flatten() {
        out.write_all(&line)?;
    }
    Ok(())
}

fn damaged(message: &str, out: &mut impl Write) -> Result<u8, ToolError> {
    out.flush()?;
    eprintln!("tessera: {message}");
    Ok(exit::CORRUPT)
}
