//! The demo as its users start it: the real program, headless.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tessera"));
    command
        .arg("demo")
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn summary(output: &Output) -> Value {
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{talk}");
    serde_json::from_slice(&output.stdout).expect("standard output is one JSON object")
}

#[test]
fn every_participant_trades_within_seconds() {
    let output = demo(&["--headless", "--seconds", "6", "--seed", "5"])
        .output()
        .expect("the program starts");
    let summary = summary(&output);
    assert!(summary["trades"].as_u64() > Some(0), "{summary}");
    assert!(
        summary["first_trade_ms"].as_u64() < Some(5_000),
        "{summary}"
    );
    assert!(summary["contracts"].as_u64() >= Some(25), "{summary}");
    let participants = summary["participants"].as_array().expect("a list");
    assert_eq!(participants.len(), 5);
    let mut orders = 0;
    for participant in participants {
        let entered = participant["orders"].as_u64();
        assert!(entered > Some(0), "{participant}");
        orders += entered.unwrap_or(0);
    }
    assert_eq!(summary["orders"].as_u64(), Some(orders));
    for stage in ["ack", "matching", "framing", "durability", "sync", "tape"] {
        let figures = &summary["stages"][stage];
        let at = |name: &str| figures[name].as_u64().expect("a number of nanoseconds");
        assert!(at("count") > 0, "{stage}: {figures}");
        assert!(at("p50") <= at("p99") && at("p99") <= at("p99_9") && at("p99_9") <= at("max"));
    }
    assert!(summary["journal_bytes"].as_u64() > Some(0));
    assert_eq!(summary["state_hash"].as_str().map(str::len), Some(64));
}

#[test]
fn an_interrupt_drains_and_leaves_nothing_behind() {
    let mut child = demo(&["--headless", "--seconds", "60"])
        .spawn()
        .expect("the program starts");
    let stderr = child.stderr.take().expect("it is piped");
    let mut lines = BufReader::new(stderr).lines();
    let directory = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| {
            let (_, credentials) = line.split_once(" TESSERA_CREDENTIALS=")?;
            Some(credentials.trim_end_matches("/keys").to_owned())
        })
        .expect("the next commands are printed");
    assert!(std::path::Path::new(&directory).exists());
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.is_ok_and(|status| status.success()));
    let output = child.wait_with_output().expect("it ends");
    let summary = summary(&output);
    assert_eq!(summary["state_hash"].as_str().map(str::len), Some(64));
    assert!(summary["seconds"].as_f64() < Some(60.0));
    assert!(!std::path::Path::new(&directory).exists());
}

#[test]
fn wrong_flags_are_usage_errors() {
    for arguments in [
        &["--seconds", "0"][..],
        &["--seconds", "x"],
        &["--sed", "1"],
    ] {
        let output = demo(arguments).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
    }
}
