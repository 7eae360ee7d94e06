//! `tessera journal` through the real program, over the journal of a real exchange, live and at rest.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{PATIENCE, Server, program, run, stderr, stdout, succeed, text};

fn load(server: &Server, data: &Path, count: &str) {
    succeed(&[
        "load",
        "--addr",
        &server.addr,
        "--credentials",
        text(&data.join("credentials")),
        "--count",
        count,
    ]);
}

fn tool(data: &Path, verb: &str, rest: &[&str]) -> (i32, Value, String) {
    let mut args = vec!["journal", verb, "--data", text(data), "--json"];
    args.extend(rest);
    let output = run(&args);
    let value = serde_json::from_str(stdout(&output).trim()).unwrap_or_default();
    (output.status.code().unwrap_or(-1), value, stderr(&output))
}

#[test]
fn the_tools_agree_with_each_other_about_a_real_journal() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data, &[]);
    load(&server, &data, "30000");
    // Beside the running exchange first.
    let (code, live, said) = tool(&data, "verify", &["--segments"]);
    assert_eq!((code, &live["live"]), (0, &Value::Bool(true)), "{said}");
    assert!(live["segments"].as_u64() >= Some(2), "{live}");
    let (code, _) = server.terminate();
    assert_eq!(code, Some(0));

    let (code, one, _) = tool(&data, "verify", &["--threads", "1"]);
    let (_, many, _) = tool(&data, "verify", &["--threads", "4"]);
    assert_eq!(code, 0);
    for field in [
        "verdict",
        "segments",
        "records",
        "commands",
        "last_seq",
        "chain",
        "signatures",
    ] {
        assert_eq!(one[field], many[field], "{field}");
        assert_ne!(one[field], Value::Null, "{field}");
    }
    let last = one["last_seq"].as_u64().unwrap();

    // Every sealed segment is signed with the key in the credentials.
    let keys = data.join("credentials/journal.pub");
    let (code, attested, said) = tool(&data, "attest", &["--keys", text(&keys)]);
    assert_eq!(code, 0, "{said}");
    let sealed = one["segments"].as_u64().unwrap() - 1;
    assert_eq!(
        (&attested["signed"], &attested["valid"]),
        (&sealed.into(), &sealed.into())
    );
    assert_eq!(attested["first_bad"], Value::Null);
    let strange = dir.path().join("strange.pub");
    fs::write(&strange, "").unwrap();
    let (code, attested, _) = tool(&data, "attest", &["--keys", text(&strange)]);
    assert_eq!((code, &attested["valid"]), (1, &0.into()));
    assert!(
        attested["first_bad"]["reason"]
            .as_str()
            .unwrap()
            .contains("not among the keys")
    );
    fs::write(&strange, "00000001 00").unwrap();
    let (code, _, said) = tool(&data, "attest", &["--keys", text(&strange)]);
    assert_eq!(code, 2, "{said}");

    // Group commits were noted while it ran.
    let (code, stats, _) = tool(&data, "stats", &[]);
    assert_eq!(code, 0);
    let commands: u64 = stats["commands_by_type"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_u64)
        .sum();
    assert_eq!(commands, last);
    assert!(stats["sync_ns"]["count"].as_u64() > Some(10), "{stats}");
    assert_eq!(stats["sync_ns"]["count"], stats["group_records"]["count"]);
    assert!(stats["sync_ns"]["p50"].as_u64() > Some(1000), "{stats}");

    // State, replay, a repaired copy and a fork come to the same hash.
    let at = last.to_string();
    let hash = |data: &Path| tool(data, "state", &["--at", &at]).1["state_hash"].clone();
    let expected = hash(&data);
    assert_eq!(tool(&data, "replay", &[]).1["state_hash"], expected);
    let copy = dir.path().join("copy");
    let (code, repaired, said) = tool(&data, "repair", &["--copy-to", text(&copy)]);
    assert_eq!((code, &repaired["verdict"]), (0, &"clean".into()), "{said}");
    assert_eq!(hash(&copy), expected);
    let (code, attested, _) = tool(&copy, "attest", &["--keys", text(&keys)]);
    assert_eq!(
        (code, &attested["valid"]),
        (0, &sealed.into()),
        "signatures survive a copy"
    );
    let fork = dir.path().join("fork");
    let (code, forked, said) = tool(&data, "fork", &["--at", &at, "--copy-to", text(&fork)]);
    assert_eq!(code, 0, "{said}");
    assert_ne!(forked["cluster_id"], one["cluster_id"]);
    assert_eq!(hash(&fork), expected);
    let output = run(&["journal", "diff", text(&data), text(&fork), "--events"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    // The fork serves.
    let server = Server::start(&fork, &[]);
    let restarted = at.parse::<u64>().unwrap() + 1;
    assert_eq!(server.ready_word("seq"), restarted.to_string());
    assert_eq!(server.terminate().0, Some(0));

    let tables = dir.path().join("tables");
    let (code, files, said) = tool(
        &data,
        "export",
        &["--what", "commands", "--out", text(&tables)],
    );
    assert_eq!(
        (code, &files["files"][0]["rows"]),
        (0, &last.into()),
        "{said}"
    );

    // One flipped bit in a segment that was signed.
    let path = copy.join("00000000000000000001.jnl");
    let mut bytes = fs::read(&path).unwrap();
    bytes[500_000] ^= 4;
    fs::write(&path, bytes).unwrap();
    for threads in ["1", "4"] {
        let (code, found, _) = tool(&copy, "verify", &["--threads", threads]);
        assert_eq!((code, &found["verdict"]), (4, &"corrupt".into()));
    }
    assert_eq!(tool(&copy, "attest", &["--keys", text(&keys)]).0, 4);
    let again = dir.path().join("again");
    let (code, _, said) = tool(&copy, "repair", &["--copy-to", text(&again)]);
    assert!(code == 4 && said.contains("--accept-tail"), "{said}");
}

#[test]
fn a_tail_beside_a_writer_that_is_killed_is_a_gapless_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data, &[]);
    let tail = || {
        let mut child = Command::new(program())
            .args(["journal", "tail", "-f", "--from", "1", "--format", "seq-id"])
            .args(["--data", text(&data)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let reader = thread::spawn(move || {
            let mut text = String::new();
            let _ = out.read_to_string(&mut text);
            text
        });
        (child, reader)
    };
    let (mut follower, shown) = tail();
    let mut load = Command::new(program())
        .args(["load", "--addr", &server.addr, "--count", "100000000"])
        .args(["--credentials", text(&data.join("credentials"))])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let bytes = || {
        fs::read_dir(&data)
            .unwrap()
            .filter_map(Result::ok)
            .filter(|e| e.path().extension().is_some_and(|e| e == "jnl"))
            .count()
    };
    let start = Instant::now();
    while bytes() < 3 {
        assert!(start.elapsed() < PATIENCE, "no rotation");
        thread::sleep(Duration::from_millis(10));
    }
    server.kill();
    let _ = load.kill();
    let _ = load.wait();
    // It goes on with the next life of the journal.
    let server = Server::start(&data, &[]);
    load_some(&server, &data);
    assert_eq!(server.terminate().0, Some(0));
    let last = tool(&data, "verify", &[]).1["last_seq"].as_u64().unwrap();
    let dump = succeed(&[
        "journal",
        "dump",
        "--data",
        text(&data),
        "--format",
        "seq-id",
    ]);
    let start = Instant::now();
    thread::sleep(Duration::from_millis(300));
    follower.kill().unwrap();
    let _ = follower.wait();
    let shown = shown.join().unwrap();
    let whole = shown.rfind('\n').map_or("", |end| &shown[..=end]);
    assert!(dump.starts_with(whole), "what was shown is not a prefix");
    let count = whole.lines().count() as u64;
    assert!(
        count > last / 2,
        "{count} of {last} after {:?}",
        start.elapsed()
    );
}

fn load_some(server: &Server, data: &Path) {
    load(server, data, "500");
}

#[test]
fn a_replayed_state_is_served_for_looking_around_only() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data, &[]);
    load(&server, &data, "2000");
    let (code, _) = server.terminate();
    assert_eq!(code, Some(0));
    let before = tool(&data, "state", &["--at", "1500"]).1;
    let files = || {
        let mut files: Vec<_> = fs::read_dir(&data)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (
                    entry.file_name(),
                    entry.metadata().unwrap().modified().unwrap(),
                )
            })
            .collect();
        files.sort();
        files
    };
    let source = files();
    let looking = Server::run(&[
        "journal",
        "replay",
        "--data",
        text(&data),
        "--to-seq",
        "1500",
        "--serve",
        "127.0.0.1:0",
    ]);
    assert_eq!(looking.ready_word("seq"), "1500");
    let credentials = data.join("credentials");
    let to_it = ["--addr", &looking.addr, "--credentials", text(&credentials)];

    // Feeds show the book as it was after that command.
    let instrument = before["instruments"]
        .as_array()
        .unwrap()
        .iter()
        .find(|instrument| !instrument["bids"].as_array().unwrap().is_empty())
        .expect("a load leaves orders in a book");
    let feed = [
        "feed",
        "--level",
        "l2",
        "--json",
        "--count",
        "1",
        "--instrument",
        instrument["name"].as_str().unwrap(),
    ];
    let look = || -> Value {
        let lines = succeed(&[&feed[..], &to_it[..]].concat());
        serde_json::from_str(lines.lines().next().unwrap()).unwrap()
    };
    let book = look();
    for side in ["bids", "asks"] {
        let levels = instrument[side].as_array().unwrap().iter().take(10);
        let levels: Value = levels
            .map(|level| json!([level["price"], level["qty"], level["orders"]]))
            .collect();
        assert_eq!(book[side], levels, "{book}\n{instrument}");
    }

    // Orders are refused and say why; nothing changes.
    let load = ["load", "--count", "50", "--json"];
    let output = run(&[&load[..], &to_it[..]].concat());
    let said = format!("{}{}", stdout(&output), stderr(&output));
    assert!(said.contains("read_only"), "{said}");
    let again = look();
    for side in ["bids", "asks"] {
        assert_eq!(again[side], book[side]);
    }
    let (code, log) = looking.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(files(), source, "the source was written to");
}
