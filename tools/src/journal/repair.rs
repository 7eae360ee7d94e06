//! `tessera journal repair`: the good prefix of a journal, as a copy.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tessera_journal::storage::Mapped;
use tessera_journal::{Copied, Copy, Discarded, Scan};
use tessera_types::Seq;

use super::{Source, ToolError, open};

/// Options of `tessera journal repair`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Copy the good prefix of a journal into a fresh directory; the journal itself stays as it is",
    after_help = "\
Examples:
  tessera journal repair --data ./exchange --copy-to ./repaired
  tessera journal repair --data ./exchange --copy-to ./repaired --accept-tail 4711
  tessera journal repair --data ./exchange --copy-to ./repaired --void 4711   # a command that ends the engine

A corrupt journal is copied only when --accept-tail names the first record that is lost: what was
acknowledged from there on is gone in the copy. The bytes that are left out are kept in its discard/.
Credentials and configuration are not copied.

Exit status: 0 the copy is clean, 1 it was not made, 2 usage, 4 the journal is corrupt and the loss was not
accepted."
)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,

    /// Empty directory for the copy; made when it does not exist
    #[arg(long, value_name = "DIR")]
    copy_to: PathBuf,

    /// Accept the loss of everything from this record on
    #[arg(long, value_name = "SEQ")]
    accept_tail: Option<u64>,

    /// Put this command out of force: a Void record takes its place, which verify and replay show
    #[arg(long, value_name = "SEQ")]
    void: Option<u64>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<u8, ToolError> {
    let scan = open(&args.source)?;
    let what = Copy::Repair {
        accept_tail: args.accept_tail.map(Seq::new),
        void: args.void.map(Seq::new),
    };
    let copied = copy(&scan, &args.copy_to, what)?;
    let verdict = Scan::open(&args.copy_to)?.verify()?.verdict;
    if args.json {
        let object = json!({
            "copied_segments": copied.segments,
            "copied_records": copied.records,
            "last_seq": copied.last_seq.get(),
            "discarded": copied.discarded.as_ref().map(discarded),
            "voided": args.void,
            "verdict": verdict.to_string(),
        });
        writeln!(out, "{object}")?;
    } else {
        writeln!(
            out,
            "copied      {} records in {} segments, up to command {}",
            copied.records, copied.segments, copied.last_seq
        )?;
        if let Some(Discarded {
            from_seq,
            slots,
            file,
        }) = &copied.discarded
        {
            let file = file.as_deref().unwrap_or("nowhere, they were all zero");
            writeln!(
                out,
                "left out    {slots} slots from record {from_seq} on, kept in {file}"
            )?;
        }
        if let Some(seq) = args.void {
            writeln!(out, "voided      command {seq}")?;
        }
        writeln!(out, "verdict     {verdict}")?;
    }
    Ok(super::code(verdict))
}

/// Makes the directory if necessary, and the copy in it.
pub(super) fn copy(scan: &Scan, target: &Path, what: Copy) -> Result<Copied, ToolError> {
    let failed = |error| ToolError::File {
        path: target.to_owned(),
        error,
    };
    std::fs::create_dir_all(target).map_err(failed)?;
    let storage = Mapped::open(target).map_err(failed)?;
    Ok(scan.copy_to(Arc::new(storage), what)?)
}

fn discarded(discarded: &Discarded) -> Value {
    json!({
        "from_seq": discarded.from_seq.get(),
        "slots": discarded.slots,
        "file": discarded.file,
    })
}
