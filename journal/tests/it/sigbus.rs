//! A file that is truncated under its mapping: the next store ends the process with the documented code.

use std::process::Command;

use tessera_journal::{Config, Journal, sigbus};
use tessera_types::{Seq, Timestamp};

/// Set in the process that is to die.
const CHILD: &str = "TESSERA_SIGBUS_CHILD";

#[test]
fn truncation_under_a_mapping_ends_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sigbus::child", "--nocapture"])
        .env(CHILD, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(sigbus::EXIT), "{said}");
    assert!(said.contains("fail-stop: SIGBUS"), "{said}");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(
        out.contains("truncated") && !out.contains("survived"),
        "{out}"
    );
}

#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return; // only of use to the test above
    };
    sigbus::install().unwrap();
    let config = Config {
        segment_bytes: 1 << 20,
        segments_ahead: 1,
        ..Config::default()
    };
    let mut opened = Journal::open(dir.as_ref(), config).unwrap();
    let path = std::path::Path::new(&dir).join("00000000000000000001.jnl");
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(8192).unwrap();
    println!("truncated");
    // On a thread of its own, as the journal's are.
    std::thread::spawn(move || {
        for seq in 1..1000 {
            let time = Timestamp::from_nanos(seq);
            let _ = opened.writer.append(Seq::new(seq), time, 1, &[7; 36]);
        }
    })
    .join()
    .unwrap();
    println!("survived");
}
