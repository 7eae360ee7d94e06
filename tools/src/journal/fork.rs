//! `tessera journal fork`: a journal of its own with the history up to a command, to ask what if.

use std::io::Write;
use std::path::PathBuf;

use serde_json::json;
use tessera_journal::{Copy, hex};
use tessera_types::Seq;

use super::repair::copy;
use super::{Source, ToolError, open};

/// Options of `tessera journal fork`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Make another journal with the history up to a command, to try out what might have been",
    after_help = "\
Examples:
  tessera journal fork --data ./exchange --at 100000 --copy-to ./what-if
  tessera serve --data ./what-if --listen 127.0.0.1:0   # goes on from there, under another cluster id

Exit status: 0 done, 1 it was not made, 2 usage, 4 corrupt before --at."
)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,

    /// Last command of the shared history
    #[arg(long, value_name = "SEQ")]
    at: u64,

    /// Empty directory for the fork; made when it does not exist
    #[arg(long, value_name = "DIR")]
    copy_to: PathBuf,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<u8, ToolError> {
    let scan = open(&args.source)?;
    let what = Copy::Fork {
        at: Seq::new(args.at),
    };
    let copied = copy(&scan, &args.copy_to, what)?;
    let (cluster_id, parent_chain) = (hex(&copied.cluster_id), hex(&copied.parent_chain));
    if args.json {
        let object = json!({
            "last_seq": copied.last_seq.get(),
            "epoch": copied.epoch,
            "cluster_id": cluster_id,
            "parent_chain": parent_chain,
        });
        writeln!(out, "{object}")?;
    } else {
        writeln!(out, "history       up to command {}", copied.last_seq)?;
        writeln!(out, "epoch         {}", copied.epoch)?;
        writeln!(out, "cluster id    {cluster_id}")?;
        writeln!(out, "parent chain  {parent_chain}")?;
    }
    Ok(0)
}
