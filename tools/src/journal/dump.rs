//! `tessera journal dump`: the records in order, up to the first that is not valid.

use std::io::Write;
use std::ops::ControlFlow;

use super::line::{Format, Line};
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
                unreadable = Some(Line::unreadable(record, segment, &error));
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
