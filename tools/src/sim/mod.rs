//! `tessera sim`: runs an order script, without a network, a journal or a clock.

mod contracts;
mod lines;
mod render;
mod render_accounts;
mod runner;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use tessera_engine::EngineConfig;
use thiserror::Error;

pub use lines::EventLines;
pub use runner::{Outcome, Runner};

/// Options of `tessera sim`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Run an order script: one command per line in, one event per line out",
    after_help = "\
Examples:
  tessera sim --script book.jsonl
  zcat day.jsonl.gz | tessera sim --script - --levels
  tessera sim --script book.jsonl --strict || echo \"stopped at the last line printed\"

Exit status: 0 done, 1 the script cannot be read, 2 usage, or a malformed line with --strict."
)]
pub struct Args {
    /// The script, or - for standard input
    #[arg(long, value_name = "FILE")]
    pub script: PathBuf,

    /// Stop after the first line that is malformed (parse_error, unknown_op, missing_field, bad_field)
    #[arg(long)]
    pub strict: bool,

    /// Print level events too: every change of a visible price level
    #[arg(long)]
    pub levels: bool,

    /// Event lines are JSON with or without this; every verb takes it
    #[arg(long)]
    pub json: bool,
}

/// Runs the script and says what the process should exit with.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    let result = if args.script.as_os_str() == OsStr::new("-") {
        stream(io::stdin().lock(), io::stdout().lock(), &args)
    } else {
        File::open(&args.script)
            .map_err(SimError::Read)
            .and_then(|file| stream(file, io::stdout().lock(), &args))
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever closed the pipe has seen enough and needs no message.
        Err(SimError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::FAILURE
        }
        Err(SimError::Write(error)) => {
            eprintln!("tessera: cannot write events to standard output: {error}");
            ExitCode::FAILURE
        }
        Err(SimError::Read(error)) => {
            eprintln!(
                "tessera: cannot read the script {}: {error}; name a readable file, or - for standard input",
                args.script.display()
            );
            ExitCode::FAILURE
        }
        Err(SimError::Malformed { line }) => {
            eprintln!(
                "tessera: line {line} is malformed, see the rejection above; run without --strict to go on after such lines"
            );
            ExitCode::from(2)
        }
    }
}

/// Why a script did not run to its end.
#[derive(Debug, Error)]
pub enum SimError {
    /// The script cannot be opened or read.
    #[error("cannot read the script: {0}")]
    Read(#[source] io::Error),
    /// The event lines cannot be written.
    #[error("cannot write the events: {0}")]
    Write(#[source] io::Error),
    /// A malformed line, with `--strict`.
    #[error("line {line} is malformed")]
    Malformed {
        /// Which, from 1.
        line: u64,
    },
}

/// Runs the script that `input` holds and writes the event lines to `output`.
///
/// # Errors
/// [`SimError`], after the events of all lines before it have been written.
pub fn stream(input: impl Read, mut output: impl Write, args: &Args) -> Result<(), SimError> {
    let mut input = BufReader::with_capacity(IN_BYTES, input);
    let mut runner = Runner::new(EngineConfig::default(), args.levels);
    let (mut line, mut events) = (Vec::new(), String::new());
    loop {
        // Before waiting for more input, whoever is at the other end gets what there is.
        if events.len() >= OUT_BYTES || input.buffer().is_empty() {
            write(&mut output, &mut events)?;
        }
        line.clear();
        if input.read_until(b'\n', &mut line).map_err(SimError::Read)? == 0 {
            return Ok(());
        }
        if runner.line(&line, &mut events) == Outcome::Malformed && args.strict {
            write(&mut output, &mut events)?;
            return Err(SimError::Malformed {
                line: runner.lines(),
            });
        }
    }
}

/// Bytes of the script read at once.
const IN_BYTES: usize = 1 << 16;
/// Bytes of event lines written at once.
const OUT_BYTES: usize = 1 << 16;

fn write(output: &mut impl Write, events: &mut String) -> Result<(), SimError> {
    output
        .write_all(events.as_bytes())
        .and_then(|()| output.flush())
        .map_err(SimError::Write)?;
    events.clear();
    Ok(())
}
