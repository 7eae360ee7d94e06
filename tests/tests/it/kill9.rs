//! SIGKILL at random moments under load: what was acknowledged is in the journal, once, at its place.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

use crate::support::{PATIENCE, Server, program, run, succeed, text};

/// Cycles in CI; `cargo xtask kill9 --cycles N` runs any number.
const CYCLES: u32 = 25;

#[test]
fn every_acknowledged_order_is_found_again_at_its_sequence() {
    kill_again_and_again(&["--snapshot-every", "0"]);
}

/// The same while snapshots are made and segments retire as fast as they can: the kill meets them too, and
/// every restart but the first begins with a snapshot.
#[test]
fn every_acknowledged_order_is_found_again_behind_snapshots() {
    let log = kill_again_and_again(&[
        "--snapshot-every",
        "2000",
        "--state-hash-every",
        "500",
        "--retain-segments",
        "1",
        "--retain-hours",
        "0",
    ]);
    assert!(
        !log.contains("cannot be used") && !log.contains("no snapshot could be made"),
        "{log}"
    );
    assert!(!log.contains("snapshot=0"), "no snapshot was used: {log}");
}

/// Returns the log of the last start.
fn kill_again_and_again(extra: &[&str]) -> String {
    let cycles = number("TESSERA_KILL9_CYCLES").unwrap_or(CYCLES);
    let seed = number("TESSERA_KILL9_SEED").unwrap_or(1);
    println!("{cycles} cycles with seed {seed}");
    let mut rng = Pcg64Mcg::seed_from_u64(u64::from(seed));
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let credentials = data.join("credentials");
    let mut acked: HashMap<u64, u64> = HashMap::new();
    let mut lines = 0;
    for cycle in 0..cycles {
        let server = Server::start(&data, extra);
        let acks = dir.path().join(format!("acks-{cycle}"));
        let mut load = Command::new(program())
            .args(["load", "--addr", &server.addr, "--count", "100000000"])
            .args(["--credentials", text(&credentials), "--acks", text(&acks)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(rng.random_range(1..900)));
        server.kill();
        let start = Instant::now();
        while load.try_wait().unwrap().is_none() {
            if start.elapsed() > PATIENCE {
                let _ = load.kill();
                panic!("cycle {cycle}: load does not notice that the server is gone");
            }
            thread::sleep(Duration::from_millis(10));
        }
        let text = std::fs::read_to_string(&acks).unwrap_or_default();
        for line in text.lines() {
            let (id, seq) = line.split_once(' ').expect("a line is `CLIENT_ID SEQ`");
            let (id, seq): (u64, u64) = (id.parse().unwrap(), seq.parse().unwrap());
            assert_eq!(
                acked.insert(seq, id),
                None,
                "cycle {cycle}: {seq} acknowledged twice"
            );
            lines += 1;
        }
        std::fs::remove_file(&acks).unwrap_or_default();
    }
    println!("{lines} acknowledgements in {cycles} cycles");
    assert!(lines > u64::from(cycles), "the load never got going");

    // The last restart recovers; then the journal is read as an operator would.
    let (code, log) = Server::start(&data, extra).terminate();
    assert_eq!(code, Some(0), "{log}");
    let verify = run(&["journal", "verify", "--data", text(&data), "--json"]);
    assert_eq!(verify.status.code(), Some(0));
    let dump = succeed(&[
        "journal",
        "dump",
        "--data",
        text(&data),
        "--format",
        "seq-id",
    ]);
    let mut found: HashMap<u64, u64> = HashMap::new();
    let mut expected_seq = 0;
    for line in dump.lines() {
        let (seq, id) = line.split_once(' ').expect("a line is `SEQ CLIENT_ID`");
        let (seq, id): (u64, u64) = (seq.parse().unwrap(), id.parse().unwrap());
        expected_seq += 1;
        assert_eq!(seq, expected_seq, "the journal has a hole");
        found.insert(seq, id);
    }
    for (seq, id) in &acked {
        assert_eq!(
            found.get(seq),
            Some(id),
            "order {id} was acknowledged at {seq}"
        );
    }
    let mut ids: Vec<_> = found.values().filter(|&&id| id != 0).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "a client id is in the journal twice");

    let (seq, hash) = replayed(text(&data));
    let drained = format!("drained seq={seq} state_hash={hash}");
    assert!(
        log.lines().any(|line| line == drained),
        "{drained} is not in {log}"
    );
    log
}

fn replayed(data: &str) -> (String, String) {
    let line = succeed(&["journal", "replay", "--data", data, "--state-hash"]);
    let (seq, hash) = line.trim().split_once(' ').expect("a line is `SEQ HASH`");
    (seq.to_owned(), hash.to_owned())
}

fn number(name: &str) -> Option<u32> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
    )
}
