//! `tessera journal attest`: the chain, and the signatures over the ends of segments.

use std::collections::HashMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};
use tessera_journal::{Body, Verdict};
use tessera_types::Seq;

use super::{Progress, Source, ToolError, judge, open};
use crate::exit;
use crate::serve::journal_key_id;

/// Options of `tessera journal attest`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Check the hash chain and the signatures over the ends of segments",
    after_help = "\
Examples:
  tessera journal attest --data ./exchange --keys ./exchange/credentials/journal.pub
  tessera journal attest --data ./copy --keys venue-keys.txt --json

The file of keys has one line per key, \"KEY_ID PUBLIC_KEY\" in hex, as journal.pub beside the key of an
exchange. The last segment is signed when the next one begins.

Exit status: 0 every sealed segment is signed and every signature is right, 1 one is missing or wrong, or
no journal, 2 usage, 3 torn tail, 4 corrupt."
)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,

    /// File of public keys
    #[arg(long, value_name = "F")]
    keys: PathBuf,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A segment, as far as its end is attested.
#[derive(Clone, Debug)]
struct Sealed {
    segment: String,
    first_seq: Seq,
    last_seq: Seq,
    chain: [u8; 32],
    /// Why the signature does not hold; nothing if it does.
    bad: Option<String>,
    is_signed: bool,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<u8, ToolError> {
    let keys = read_keys(&args.keys)?;
    let scan = open(&args.source)?;
    let mut progress = Progress::towards("records", scan.extent()?.0 / 64);
    let mut sealed: Vec<Sealed> = Vec::new();
    let mut first_seq = Seq::ZERO;
    let mut voids = Vec::new();
    let report = scan.read(|record, segment| {
        progress.step();
        match record.body() {
            Ok(Body::SegmentStart(start)) => first_seq = start.first_seq,
            Ok(Body::SegmentEnd { chain }) => sealed.push(Sealed {
                segment: segment.to_owned(),
                first_seq,
                last_seq: record.seq,
                chain,
                bad: Some("there is no signature".into()),
                is_signed: false,
            }),
            Ok(Body::Signature { key_id, signature }) => {
                if let Some(last) = sealed.last_mut() {
                    last.is_signed = true;
                    last.bad = match keys.get(&key_id) {
                        None => Some(format!("key {key_id:08x} is not among the keys given")),
                        Some(key) => UnparsedPublicKey::new(&ED25519, key)
                            .verify(&last.chain, signature)
                            .err()
                            .map(|_| format!("the signature of key {key_id:08x} does not fit")),
                    };
                }
            }
            Ok(Body::Void { .. }) => voids.push(record.seq.get()),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    progress.end();
    let report = report?;
    let signed = sealed.iter().filter(|end| end.is_signed).count();
    let valid = sealed.iter().filter(|end| end.bad.is_none()).count();
    let first_bad = sealed.iter().find(|end| end.bad.is_some());
    let tail = sealed
        .last()
        .map_or(report.first_seq, |end| end.last_seq.next());
    let tail = (report.last_seq >= tail && report.last_seq > Seq::ZERO).then_some(tail);
    if args.json {
        let object = json!({
            "segments": report.segments.len(),
            "signed": signed,
            "valid": valid,
            "unsigned_tail_seq": tail.map(Seq::get),
            "first_bad": first_bad.map(bad),
            "voids": voids,
            "chain_ok": report.chain_ok,
            "verdict": report.verdict.to_string(),
        });
        writeln!(out, "{object}")?;
    } else {
        writeln!(
            out,
            "segments    {}, {} of them sealed",
            report.segments.len(),
            sealed.len()
        )?;
        writeln!(out, "signed      {signed}, {valid} of them right")?;
        let chain = if report.chain_ok {
            "holds"
        } else {
            "is broken"
        };
        writeln!(out, "chain       {chain}")?;
        if let Some(tail) = tail {
            writeln!(
                out,
                "not signed  from record {tail} on: their segment is not sealed yet"
            )?;
        }
        for seq in &voids {
            writeln!(out, "voided      command {seq}")?;
        }
    }
    if let Some(end) = first_bad {
        eprintln!(
            "tessera: {}: commands {} to {}: {}",
            end.segment,
            end.first_seq,
            end.last_seq,
            end.bad.as_deref().unwrap_or_default()
        );
    }
    Ok(match report.verdict {
        Verdict::Corrupt => judge(&report),
        _ if first_bad.is_some() => exit::FAILED,
        _ => judge(&report),
    })
}

fn bad(end: &Sealed) -> Value {
    json!({
        "segment": end.segment,
        "first_seq": end.first_seq.get(),
        "last_seq": end.last_seq.get(),
        "reason": end.bad,
    })
}

/// Public keys by their numbers, which are checked against them.
fn read_keys(path: &Path) -> Result<HashMap<u32, Vec<u8>>, ToolError> {
    let text = std::fs::read_to_string(path).map_err(|error| ToolError::File {
        path: path.to_owned(),
        error,
    })?;
    let mut keys = HashMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = line.split_once(' ').and_then(|(id, key)| {
            let id = u32::from_str_radix(id, 16).ok()?;
            let key = from_hex(key.trim()).filter(|key| key.len() == 32)?;
            (journal_key_id(&key) == id).then_some((id, key))
        });
        match parsed {
            Some((id, key)) => keys.insert(id, key),
            None => {
                return Err(ToolError::Usage(format!(
                    "{}: line {number} is not \"KEY_ID PUBLIC_KEY\" in hex, or the two do not belong \
                     together",
                    path.display()
                )));
            }
        };
    }
    Ok(keys)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
