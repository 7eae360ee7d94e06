//! `tessera journal`: reads a journal, live or copied, and never writes to it.

mod describe;
mod dump;
mod replay;
#[cfg(test)]
mod tests;
mod verify;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tessera_journal::{Report, Scan, ScanError, Verdict};

use crate::exit;

/// Options of `tessera journal`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Check, print and replay a journal, live or copied; nothing is ever written to it",
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
        Err(error) => exit::failed(error),
    }
}

fn run_to(args: &Args, out: &mut impl Write) -> Result<u8, ToolError> {
    let code = match &args.verb {
        JournalVerb::Verify(args) => verify::run(args, out),
        JournalVerb::Dump(args) => dump::run(args, out),
        JournalVerb::Replay(args) => replay::run(args, out),
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
    match report.verdict {
        Verdict::Clean => 0,
        Verdict::Torn => exit::TORN,
        Verdict::Corrupt => exit::CORRUPT,
    }
}

/// Counts on standard error while something takes long, if anybody is there to see it.
struct Progress {
    started: Instant,
    shown: Option<Instant>,
    count: u64,
    what: &'static str,
    enabled: bool,
}

impl Progress {
    fn new(what: &'static str) -> Self {
        let enabled = io::stderr().is_terminal();
        Self {
            started: Instant::now(),
            shown: None,
            count: 0,
            what,
            enabled,
        }
    }

    fn step(&mut self) {
        self.count += 1;
        // The clock costs more than a record; look at it now and then.
        if self.enabled && self.count.is_multiple_of(1 << 14) {
            self.show();
        }
    }

    fn show(&mut self) {
        if self
            .shown
            .is_some_and(|at| at.elapsed() < Duration::from_millis(250))
        {
            return;
        }
        self.shown = Some(Instant::now());
        let millis = self.started.elapsed().as_millis().max(1);
        let rate = u128::from(self.count) * 1000 / millis;
        let _ = write!(io::stderr(), "\r{} {}, {rate}/s ", self.count, self.what);
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn end(&self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
