//! One order flow through the whole way (client, QUIC, session, ring, engine, journal, feed), compared
//! with the same flow through the engine alone.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use serde_json::Value;

use crate::support::{Server, run, stderr, stdout, succeed, text};

/// A script of limit, immediate and market orders, cancels, reduces and replaces on two instruments.
fn script(seed: u64, lines: u64) -> String {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut text = String::from("{\"op\":\"instrument\",\"instrument\":\"FLOW.A\"}\n");
    text.push_str("{\"op\":\"instrument\",\"instrument\":\"FLOW.B\",\"tick\":5,\"lot\":10}\n");
    for id in 1..=lines {
        let (instrument, tick, lot) = if rng.random_range(0..4) == 0 {
            ("FLOW.B", 5, 10)
        } else {
            ("FLOW.A", 1, 1)
        };
        let side = if rng.random() { "buy" } else { "sell" };
        let price = (200 + rng.random_range(-12..12)) / tick * tick;
        let qty = rng.random_range(1..9) * lot;
        let party = rng.random_range(0..5);
        let old = rng.random_range(1..=id);
        let _ = match rng.random_range(0..20) {
            0..4 => writeln!(text, r#"{{"op":"cancel","id":{old}}}"#),
            4..6 => writeln!(
                text,
                r#"{{"op":"replace","id":{old},"price":{}}}"#,
                price / 5 * 5
            ),
            6 => writeln!(text, r#"{{"op":"reduce","id":{old},"by":{}}}"#, 10),
            7 => writeln!(
                text,
                r#"{{"op":"new","id":{id},"party":"p{party}","instrument":"{instrument}","side":"{side}","qty":{qty},"type":"market"}}"#
            ),
            kind => {
                let tif = ["gtc", "ioc", "fok"][if kind < 10 { kind - 7 } else { 0 } % 3];
                writeln!(
                    text,
                    r#"{{"op":"new","id":{id},"party":"p{party}","instrument":"{instrument}","side":"{side}","price":{price},"qty":{qty},"tif":"{tif}"}}"#
                )
            }
        };
    }
    text
}

/// What a flow did: fills, volume, notional, and the best ten levels of the first instrument.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    fills: u64,
    volume: u64,
    notional: u64,
    bids: Vec<(i64, u64)>,
    asks: Vec<(i64, u64)>,
}

fn levels(value: &Value) -> Vec<(i64, u64)> {
    value
        .as_array()
        .unwrap()
        .iter()
        .take(10)
        .map(|level| (level[0].as_i64().unwrap(), level[1].as_u64().unwrap()))
        .collect()
}

/// Through the engine alone.
fn simulated(dir: &Path, script: &Path) -> Outcome {
    let mut with_depth = fs::read_to_string(script).unwrap();
    with_depth.push_str("{\"op\":\"depth\",\"levels\":10}\n");
    let path = dir.join("with-depth.jsonl");
    fs::write(&path, with_depth).unwrap();
    let mut outcome = Outcome {
        fills: 0,
        volume: 0,
        notional: 0,
        bids: Vec::new(),
        asks: Vec::new(),
    };
    for line in succeed(&["sim", "--script", text(&path)]).lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        match event["ev"].as_str().unwrap() {
            "fill" => {
                let qty = event["qty"].as_u64().unwrap();
                outcome.fills += 1;
                outcome.volume += qty;
                outcome.notional += qty * event["price"].as_u64().unwrap();
            }
            "depth" => {
                outcome.bids = levels(&event["bids"]);
                outcome.asks = levels(&event["asks"]);
            }
            _ => {}
        }
    }
    outcome
}

/// Through a server, and then through its journal.
fn streamed(data: &Path, script: &Path) -> Outcome {
    // The comparison needs every order: a slow disk may delay it, but not have it refused as busy.
    let server = Server::start(data, &["--run-ahead-ms", "600000"]);
    let credentials = data.join("credentials");
    let output = run(&[
        "load",
        "--addr",
        &server.addr,
        "--credentials",
        text(&credentials),
        "--script",
        text(script),
        "--json",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let summary: Value = serde_json::from_str(stdout(&output).trim()).unwrap();
    let (code, log) = server.terminate();
    assert_eq!(code, Some(0), "{log}");

    let line = succeed(&["journal", "replay", "--data", text(data), "--state-hash"]);
    let (seq, hash) = line.trim().split_once(' ').unwrap();
    let drained = format!("drained seq={seq} state_hash={hash}");
    assert!(
        log.lines().any(|line| line == drained),
        "{drained} is not in {log}"
    );
    let verify = succeed(&["journal", "verify", "--data", text(data), "--json"]);
    let verify: Value = serde_json::from_str(verify.trim()).unwrap();
    assert_eq!(verify["verdict"], "clean");
    assert_eq!(verify["chain_ok"], true);
    assert_eq!(verify["last_seq"].to_string(), seq);

    let number = |key: &str| {
        summary[key]
            .as_u64()
            .unwrap_or_else(|| panic!("{key}: {summary}"))
    };
    Outcome {
        fills: number("fills"),
        volume: number("volume"),
        notional: number("notional"),
        bids: levels(&summary["final"]["bids"]),
        asks: levels(&summary["final"]["asks"]),
    }
}

#[test]
fn a_flow_through_quic_ends_as_it_does_in_the_engine_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flow.jsonl");
    fs::write(&path, script(7, 4_000)).unwrap();
    let alone = simulated(dir.path(), &path);
    assert!(alone.fills > 500, "{alone:?}");
    assert_eq!(streamed(&dir.path().join("data"), &path), alone);
}

#[test]
fn a_real_session_through_quic_gives_the_published_result() {
    let shared = std::env::var_os("TESSERA_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    let packed = shared.join("cases/lobster_aapl_20k.jsonl.gz");
    if !packed.exists() {
        println!("skipped: {} is not there", packed.display());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("aapl.jsonl");
    let unpacked = match Command::new("gzip").arg("-dc").arg(&packed).output() {
        Ok(output) if output.status.success() => output.stdout,
        _ => {
            println!("skipped: gzip is not on this machine");
            return;
        }
    };
    fs::write(&path, unpacked).unwrap();
    let expected = fs::read_to_string(shared.join("cases/lobster_aapl_20k.expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let number = |key: &str| expected[key].as_u64().unwrap();
    assert_eq!(
        streamed(&dir.path().join("data"), &path),
        Outcome {
            fills: number("fills"),
            volume: number("volume"),
            notional: number("notional"),
            bids: levels(&expected["final"]["bids"]),
            asks: levels(&expected["final"]["asks"]),
        }
    );
}
