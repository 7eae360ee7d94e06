//! `tessera journal verify`: checks everything a start would check, without repairing.

use std::io::{self, Write};
use std::ops::ControlFlow;

use serde_json::{Value, json};
use tessera_journal::{Body, Finding, FindingKind, Report, SegmentReport, Verdict, hex};
use tessera_types::wire;

use super::{Progress, Source, ToolError, judge, open};

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

    /// Also report each segment
    #[arg(long)]
    segments: bool,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<u8, ToolError> {
    let scan = open(&args.source)?;
    let mut progress = Progress::new("records");
    let mut payload = None;
    let report = scan.read(|record, segment| {
        progress.step();
        if payload.is_none()
            && let Ok(Body::Command(bytes)) = record.body()
            && let Err(error) = wire::decode_command(record.kind, record.time, bytes)
        {
            payload = Some(Finding {
                kind: FindingKind::Payload,
                segment: segment.to_owned(),
                offset: record.offset,
                seq: record.seq,
                expected: "a command this program knows".into(),
                found: format!("record type {:#04x}", record.kind),
                message: format!("the command cannot be read: {error}"),
            });
        }
        ControlFlow::Continue(())
    });
    progress.end();
    let mut report = report?;
    if let Some(finding) = payload {
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
        "snapshot_seq": null,
        "epoch": report.epoch,
        "format": report.format,
        "cluster_id": hex(&report.cluster_id),
        "chain": hex(&report.chain),
        "chain_ok": report.chain_ok,
        "state_hashes": report.counts.state_hashes,
        "signatures": report.counts.signatures,
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
