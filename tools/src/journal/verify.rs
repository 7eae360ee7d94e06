//! `tessera journal verify`: checks everything a start would check, without repairing.

use std::io::{self, Write};
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use tessera_journal::{Body, Finding, FindingKind, Report, SegmentReport, Verdict, hex};
use tessera_types::wire;

use super::progress::Shared;
use super::{Source, ToolError, judge, open};

/// Options of `tessera journal verify`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Check headers, checksums, sequences, epochs, the hash chain and every payload",
    after_help = "\
Examples:
  tessera journal verify --data ./exchange
  tessera journal verify --data ./copy --json --segments

Exit status: 0 clean, 1 no journal or a newer format, 2 usage, 3 torn tail, 4 corrupt."
)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Threads to check segments with [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,

    /// Also report each segment
    #[arg(long)]
    segments: bool,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<u8, ToolError> {
    let scan = open(&args.source)?;
    let threads = args.threads.map_or_else(
        || std::thread::available_parallelism().map_or(1, NonZero::get),
        NonZero::get,
    );
    let progress = Shared::new("records", scan.extent()?.0 / 64);
    // The first command that cannot be read, by sequence: the threads meet them in any order.
    let payload: Mutex<Option<Finding>> = Mutex::new(None);
    let report = scan.verify_with(threads, |record, segment| {
        progress.step();
        if let Ok(Body::Command(bytes)) = record.body()
            && let Err(error) = wire::decode_command(record.kind, record.time, bytes)
        {
            let mut payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
            if payload
                .as_ref()
                .is_some_and(|first| first.seq <= record.seq)
            {
                return;
            }
            *payload = Some(Finding {
                kind: FindingKind::Payload,
                segment: segment.to_owned(),
                offset: record.offset,
                seq: record.seq,
                expected: "a command this program knows".into(),
                found: format!("record type {:#04x}", record.kind),
                message: format!("the command cannot be read: {error}"),
            });
        }
    });
    progress.end();
    let mut report = report?;
    // Behind the first fault nothing is said, readable or not.
    let payload = payload.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(finding) = payload.filter(|finding| finding.seq <= report.last_seq) {
        report.verdict = Verdict::Corrupt;
        report.findings.push(finding);
    }
    if args.json {
        let mut object = object(&report, progress.elapsed_ms());
        if args.segments {
            object["segment_list"] = report.segments.iter().map(segment).collect();
        }
        writeln!(out, "{object}")?;
    } else {
        text(out, &report, args.segments, progress.elapsed_ms())?;
    }
    Ok(judge(&report))
}

fn object(report: &Report, elapsed_ms: u64) -> Value {
    json!({
        "verdict": report.verdict.to_string(),
        "segments": report.segments.len(),
        "records": report.counts.records,
        "commands": report.counts.commands,
        "first_seq": report.first_seq.get(),
        "last_seq": report.last_seq.get(),
        "watermark_seq": report.watermark_seq.get(),
        "snapshot_seq": (report.snapshot_seq.get() > 0).then_some(report.snapshot_seq.get()),
        "epoch": report.epoch,
        "format": report.format,
        "cluster_id": hex(&report.cluster_id),
        "chain": hex(&report.chain),
        "chain_ok": report.chain_ok,
        "state_hashes": report.counts.state_hashes,
        "signatures": report.counts.signatures,
        "voids": report.counts.voids,
        "bytes": report.bytes,
        "elapsed_ms": elapsed_ms,
        "live": report.writer.is_some(),
        "torn": report.torn.as_ref().map(|torn| json!({
            "segment": torn.segment,
            "offset": torn.offset,
            "seq": torn.seq.get(),
            "slots": torn.slots,
        })),
        "errors": report.findings.iter().map(error).collect::<Vec<_>>(),
    })
}

fn error(finding: &Finding) -> Value {
    json!({
        "kind": finding.kind.as_str(),
        "segment": finding.segment,
        "offset": finding.offset,
        "seq": finding.seq.get(),
        "expected": finding.expected,
        "found": finding.found,
        "message": finding.message,
    })
}

fn segment(segment: &SegmentReport) -> Value {
    json!({
        "segment": segment.name,
        "segment_no": segment.segment_no,
        "bytes": segment.bytes,
        "records": segment.records,
        "commands": segment.commands,
        "first_seq": segment.first_seq.get(),
        "last_seq": segment.last_seq.get(),
        "watermark_seq": segment.watermark_seq.get(),
    })
}

fn text(out: &mut impl Write, report: &Report, segments: bool, elapsed_ms: u64) -> io::Result<()> {
    writeln!(out, "verdict     {}", report.verdict)?;
    writeln!(
        out,
        "commands    {} to {}",
        report.first_seq, report.last_seq
    )?;
    writeln!(
        out,
        "on disk     up to {} (watermark)",
        report.watermark_seq
    )?;
    writeln!(
        out,
        "epoch       {}, format {}",
        report.epoch, report.format
    )?;
    let chain = if report.chain_ok {
        "holds"
    } else {
        "is broken"
    };
    writeln!(out, "chain       {chain}, {}", hex(&report.chain))?;
    writeln!(
        out,
        "records     {} in {} segments, {} bytes, {} state hashes, {} signatures",
        report.counts.records,
        report.segments.len(),
        report.bytes,
        report.counts.state_hashes,
        report.counts.signatures,
    )?;
    if report.counts.voids > 0 {
        let voids = report.counts.voids;
        writeln!(
            out,
            "voided      {voids} commands that an operator put out of force"
        )?;
    }
    if let Some(writer) = &report.writer {
        writeln!(out, "written by  {writer}; checked up to what is durable")?;
    }
    writeln!(out, "took        {elapsed_ms} ms")?;
    if segments {
        for segment in &report.segments {
            writeln!(
                out,
                "{} {:>10} records {:>20} to {}",
                segment.name, segment.records, segment.first_seq, segment.last_seq
            )?;
        }
    }
    Ok(())
}
