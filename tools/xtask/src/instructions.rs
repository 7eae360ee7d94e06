//! Instructions, branch and cache misses per command, counted by valgrind.
//!
//! Counts do not depend on how busy the machine is, so they show a change that times would bury. Two
//! levels of cache are simulated, of the sizes below whatever the machine has. Hints to the memory
//! system bring nothing in there: the misses are what a command would wait for without them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Flows that are counted when none is named; W2 and W3 need a million orders first.
const FLOWS: &[&str] = &["W1", "W2", "W3", "static", "normal"];
const SUBJECTS: &[&str] = &["engine", "baseline", "adapter"];
/// First-level caches of 32 and 48 KB and a second of 2 MB, as one core of today's servers has them.
const CACHES: [&str; 3] = ["--I1=32768,8,64", "--D1=49152,12,64", "--LL=2097152,16,64"];
/// The columns: a title and the events of callgrind that it sums.
const COLUMNS: &[(&str, &[&str])] = &[
    ("instructions", &["Ir"]),
    ("branches", &["Bc", "Bi"]),
    ("mispredicted", &["Bcm", "Bim"]),
    ("D1 misses", &["D1mr", "D1mw"]),
    ("L2 misses", &["DLmr", "DLmw"]),
    ("I1 misses", &["I1mr"]),
];

/// Prints one row per flow and subject. `program` is `tessera-bench` as built for release.
pub(crate) fn print(program: &Path, flows: &[String], scratch: &Path) -> Result<()> {
    let all: Vec<_> = FLOWS.iter().map(|&flow| flow.to_owned()).collect();
    let flows = if flows.is_empty() { &all } else { flows };
    let titles: Vec<_> = COLUMNS.iter().map(|column| column.0).collect();
    println!("| flow | | {} |", titles.join(" | "));
    println!("|---|---|{}", "---:|".repeat(COLUMNS.len()));
    for flow in flows {
        for subject in SUBJECTS {
            // The adapter's interface knows one book and no W flow.
            if *subject == "adapter" && flow.starts_with(['W', 'w']) {
                continue;
            }
            let counted = count(program, flow, subject, scratch)?;
            let cells: Vec<_> = COLUMNS
                .iter()
                .map(|(_, events)| format!("{:.2}", counted.per_command(events)))
                .collect();
            println!("| {flow} | {subject} | {} |", cells.join(" | "));
        }
    }
    Ok(())
}

/// What callgrind counted inside `run_all`.
#[derive(Debug, PartialEq)]
struct Counted {
    commands: f64,
    /// Events and their totals.
    totals: Vec<(String, f64)>,
}

impl Counted {
    fn per_command(&self, events: &[&str]) -> f64 {
        let wanted = self
            .totals
            .iter()
            .filter(|(event, _)| events.contains(&event.as_str()));
        wanted.map(|(_, total)| total).sum::<f64>() / self.commands
    }
}

fn count(program: &Path, flow: &str, subject: &str, scratch: &Path) -> Result<Counted> {
    let out = scratch.join(format!("callgrind.{flow}.{subject}"));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--cache-sim=yes", "--branch-sim=yes"])
        .args(CACHES)
        .args(["--collect-atstart=no", "--toggle-collect=*run_all*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args(["count", "--flow", flow, "--subject", subject])
        .stderr(Stdio::piped())
        .output()
        .context("cannot start valgrind")?;
    if !output.status.success() {
        bail!(
            "valgrind failed on {flow}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let commands = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .context("tessera-bench count did not say how many commands it did")?;
    let text =
        fs::read_to_string(&out).with_context(|| format!("cannot read {}", out.display()))?;
    totals(&text, commands)
}

/// The sums of a callgrind file.
fn totals(text: &str, commands: f64) -> Result<Counted> {
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let events = line("events:").context("no events in callgrind's file")?;
    let sums = line("totals:")
        .or_else(|| line("summary:"))
        .context("no totals in callgrind's file")?;
    let totals: Vec<_> = events
        .split_whitespace()
        .map(str::to_owned)
        .zip(
            sums.split_whitespace()
                .map(|sum| sum.parse().unwrap_or(0.0)),
        )
        .collect();
    if totals
        .first()
        .is_none_or(|(_, instructions)| *instructions == 0.0)
    {
        bail!("callgrind saw no `run_all`: is the program built with its symbols?");
    }
    Ok(Counted { commands, totals })
}

#[cfg(test)]
mod tests {
    use super::totals;

    #[test]
    fn sums_are_per_command_and_missing_columns_are_nothing() {
        let text = "version: 1\nevents: Ir Bc Bcm\nfn=(1) x\n1 2 3 4\ntotals: 1000 200 30\n";
        let counted = totals(text, 100.0).unwrap();
        assert_eq!(counted.per_command(&["Ir"]), 10.0);
        assert_eq!(counted.per_command(&["Bcm", "Bim"]), 0.3);
        assert_eq!(counted.per_command(&["D1mr"]), 0.0);
        assert!(totals("events: Ir\ntotals: 0\n", 1.0).is_err());
    }
}
