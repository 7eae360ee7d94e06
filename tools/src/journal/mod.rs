//! `tessera journal`: reads a journal, live or copied, and never writes to it.

mod attest;
pub(crate) mod commands;
mod contracts;
mod describe;
mod describe_accounts;
mod diff;
mod dump;
mod export;
mod fork;
mod line;
mod progress;
mod repair;
mod replay;
mod state;
mod stats;
mod tail;
#[cfg(test)]
mod tests;
mod verify;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tessera_journal::{CopyError, Report, Scan, ScanError, Verdict};

use progress::Progress;

use crate::exit;

/// Options of `tessera journal`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Check, print, replay and copy a journal, live or copied; nothing is ever written to it",
    after_help = "\
Examples:
  tessera journal verify --data ./exchange
  tessera journal dump --data ./exchange --format json | head
  tessera journal replay --data ./exchange --state-hash

Exit status: 0 done or clean, 1 no journal or it cannot be read, 2 usage, 3 torn tail (nothing
acknowledged is missing), 4 corrupt or a state hash that differs."
)]
pub struct Args {
    #[command(subcommand)]
    verb: JournalVerb,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum JournalVerb {
    Verify(verify::Args),
    Dump(dump::Args),
    Replay(replay::Args),
    State(state::Args),
    Diff(diff::Args),
    Tail(tail::Args),
    Export(export::Args),
    Stats(stats::Args),
    Repair(repair::Args),
    Fork(fork::Args),
    Attest(attest::Args),
}

/// Where the journal is; every verb takes it.
#[derive(Clone, Debug, clap::Args)]
struct Source {
    /// Directory of the journal, the one that `tessera serve --data` uses
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Runs the verb and says what the process should exit with.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    match run_to(
        args,
        &mut BufWriter::with_capacity(1 << 16, io::stdout().lock()),
    ) {
        Ok(code) => ExitCode::from(code),
        // Whoever closed the pipe has seen enough and needs no message.
        Err(ToolError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::FAILURE
        }
        Err(ToolError::Copy(error)) if error.is_corrupt() => exit::with(exit::CORRUPT, error),
        Err(error @ ToolError::Usage(_)) => exit::with(exit::USAGE, error),
        Err(error) => exit::failed(error),
    }
}

fn run_to(args: &Args, out: &mut impl Write) -> Result<u8, ToolError> {
    let code = match &args.verb {
        JournalVerb::Verify(args) => verify::run(args, out),
        JournalVerb::Dump(args) => dump::run(args, out),
        JournalVerb::Replay(args) => replay::run(args, out),
        JournalVerb::State(args) => state::run(args, out),
        JournalVerb::Diff(args) => diff::run(args, out),
        JournalVerb::Tail(args) => tail::run(args, out),
        JournalVerb::Export(args) => export::run(args, out),
        JournalVerb::Stats(args) => stats::run(args, out),
        JournalVerb::Repair(args) => repair::run(args, out),
        JournalVerb::Fork(args) => fork::run(args, out),
        JournalVerb::Attest(args) => attest::run(args, out),
    }?;
    out.flush()?;
    Ok(code)
}

/// Why a verb did not do its work.
#[derive(Debug, thiserror::Error)]
enum ToolError {
    /// There is no journal, or it cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Write(#[from] io::Error),
    /// A file that was asked for cannot be written.
    #[error("{path}: {error}", path = .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The options do not go together.
    #[error("{0}")]
    Usage(String),
    /// The journal is under rules that this program does not know.
    #[error("{0}")]
    Rules(String),
    /// A command cannot be read, or the engine comes to another state.
    #[error("{0}")]
    Replay(String),
    /// A copy was not made.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The journal ends before the place that was asked for.
    #[error(
        "the journal ends at {last}, before {asked}; nothing is printed for a place it has not"
    )]
    Beyond {
        /// Its last command.
        last: u64,
        /// What was asked for.
        asked: u64,
    },
}

fn open(source: &Source) -> Result<Scan, ToolError> {
    Ok(Scan::open(Path::new(&source.data))?)
}

/// The exit code of a verdict; what is wrong goes to standard error.
fn judge(report: &Report) -> u8 {
    for finding in &report.findings {
        eprintln!("tessera: {finding}");
    }
    if let Some(torn) = &report.torn {
        eprintln!(
            "tessera: {}: torn at byte {}: {} slots from record {} on were never acknowledged; the \
             next start of `tessera serve` cuts them and keeps the bytes in discard/",
            torn.segment, torn.offset, torn.slots, torn.seq
        );
    }
    code(report.verdict)
}

/// The exit code of a verdict.
const fn code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Clean => 0,
        Verdict::Torn => exit::TORN,
        Verdict::Corrupt => exit::CORRUPT,
    }
}
