//! Bad input at the command line: one clear line, the documented exit code, nothing lost.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::{Server, program, run, stderr, succeed, text};

/// Runs the program and checks its exit code and that its message says each of `says`.
fn check(args: &[&str], code: i32, says: &[&str]) {
    let output = run(args);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
    for part in says {
        assert!(
            message.contains(part),
            "{args:?}: {part:?} is not in {message:?}"
        );
    }
    assert!(!message.contains("panicked"), "{args:?}: {message}");
    if code != 2 {
        // Usage errors come with clap's hint; everything else is one line of ours.
        let lines: Vec<_> = message
            .lines()
            .filter(|l| l.starts_with("tessera: "))
            .collect();
        assert_eq!(lines.len(), 1, "{args:?}: {message:?}");
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

#[test]
fn usage_errors_exit_with_2() {
    check(&[], 2, &["Usage"]);
    check(&["serv"], 2, &["serve"]);
    check(&["serve"], 2, &["--data"]);
    check(&["serve", "--data", "x", "--colour"], 2, &["--colour"]);
    check(
        &["serve", "--data", "x", "--listen", "nowhere"],
        2,
        &["nowhere"],
    );
    check(
        &["serve", "--data", "x", "--durability", "hope"],
        2,
        &["default", "strict", "async"],
    );
    check(
        &["serve", "--data", "x", "--segment-mib", "0"],
        2,
        &["--segment-mib"],
    );
    let nowhere = tempfile::tempdir().unwrap();
    let data = nowhere.path().join("d");
    check(
        &["serve", "--activate-rules", "2", "--data", text(&data)],
        2,
        &["rules version 2", "versions 1 to 1"],
    );
    check(
        &["journal", "dump", "--data", "x", "--format", "xml"],
        2,
        &["seq-id"],
    );
    check(&["sim"], 2, &["--script"]);
}

#[test]
fn every_verb_has_help_with_an_example() {
    let verbs = [
        "serve", "demo", "sim", "trade", "feed", "load", "journal", "admin",
    ];
    for verb in verbs {
        let help = succeed(&[verb, "--help"]);
        assert!(help.contains(&format!("tessera {verb}")), "{verb}: {help}");
        assert!(help.contains("Examples:"), "{verb} has no example");
    }
}

#[test]
fn the_ready_line_says_what_an_acknowledgement_means_and_which_life_begins() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(
        (server.ready_word("epoch"), server.ready_word("durability")),
        ("1", "default")
    );
    let listed: u64 = server.ready_word("seq").parse().unwrap();
    assert!(listed > 24, "a fresh directory gets the shipped catalogue");
    assert_eq!(server.terminate().0, Some(0));
    // Each later start journals that it is one.
    for (life, mode, restarts) in [("2", "strict", 1), ("3", "async", 2)] {
        let server = Server::start(dir.path(), &["--durability", mode]);
        assert_eq!(
            (server.ready_word("epoch"), server.ready_word("durability")),
            (life, mode)
        );
        assert_eq!(server.ready_word("seq").parse(), Ok(listed + restarts));
        assert_eq!(server.terminate().0, Some(0));
    }
}

#[test]
fn a_data_directory_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let pid = format!("pid={}", server.pid());
    check(
        &[
            "serve",
            "--data",
            text(dir.path()),
            "--listen",
            "127.0.0.1:0",
        ],
        1,
        &["in use by", &pid],
    );
    let (code, log) = server.terminate();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_port_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    check(
        &[
            "serve",
            "--data",
            text(&dir.path().join("d")),
            "--listen",
            &addr,
            "--segment-mib",
            "1",
        ],
        1,
        &["cannot listen on", &addr],
    );
}

#[test]
fn development_credentials_stay_on_loopback() {
    let dir = tempfile::tempdir().unwrap();
    check(
        &[
            "serve",
            "--data",
            text(dir.path()),
            "--listen",
            "0.0.0.0:0",
            "--segment-mib",
            "1",
        ],
        2,
        &["development credentials", "127.0.0.1"],
    );
}

#[test]
fn wrong_directories_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = dir.path().join("home");
    fs::create_dir(&foreign).unwrap();
    write(&foreign.join("letter.txt"), b"dear");
    check(
        &["serve", "--data", text(&foreign), "--listen", "127.0.0.1:0"],
        1,
        &["letter.txt"],
    );
    let names: Vec<_> = fs::read_dir(&foreign)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".jnl") || name == "credentials")
        .collect();
    assert!(names.is_empty(), "{names:?}");

    let file = dir.path().join("file");
    write(&file, b"");
    check(
        &["serve", "--data", text(&file), "--listen", "127.0.0.1:0"],
        1,
        &[text(&file)],
    );

    let nothing = dir.path().join("nothing");
    for verb in ["verify", "dump", "replay"] {
        check(
            &["journal", verb, "--data", text(&nothing)],
            1,
            &[text(&nothing)],
        );
    }
    assert!(!nothing.exists(), "a tool made a directory");
}

#[test]
fn a_bad_catalogue_is_named_with_its_line_and_leaves_no_instrument() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = dir.path().join("bad.toml");
    write(&catalogue, b"version = 1\ntick_micro_usd = 61\n");
    let data = dir.path().join("data");
    let args = [
        "serve",
        "--data",
        text(&data),
        "--listen",
        "127.0.0.1:0",
        "--segment-mib",
        "1",
    ];
    check(
        &[&args[..], &["--catalogue", text(&catalogue)]].concat(),
        2,
        &["bad.toml:"],
    );
    let absent = dir.path().join("absent.toml");
    check(
        &[&args[..], &["--catalogue", text(&absent)]].concat(),
        2,
        &["absent.toml"],
    );
    // The same directory starts with a good one.
    let server = Server::start(&data, &[]);
    assert_eq!(server.terminate().0, Some(0));
}

#[test]
fn a_loose_key_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Server::start(dir.path(), &[]).terminate().0, Some(0));
    let key = dir.path().join("credentials/server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    check(
        &[
            "serve",
            "--data",
            text(dir.path()),
            "--listen",
            "127.0.0.1:0",
        ],
        1,
        &["server.key", "chmod 600"],
    );
}

#[test]
fn damaged_and_newer_journals_do_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    assert_eq!(Server::start(&data, &[]).terminate().0, Some(0));
    let segment = data.join("00000000000000000001.jnl");
    let good = fs::read(&segment).unwrap();
    let serve = ["serve", "--data", text(&data), "--listen", "127.0.0.1:0"];
    let verify = ["journal", "verify", "--data", text(&data), "--json"];

    // One bit of an acknowledged record.
    let mut bad = good.clone();
    bad[4096 + 64 * 8 + 30] ^= 4;
    write(&segment, &bad);
    check(&serve, 4, &["00000000000000000001.jnl"]);
    assert_eq!(run(&verify).status.code(), Some(4));
    assert_eq!(fs::read(&segment).unwrap(), bad, "the evidence was changed");

    // A format of the future: the number and its header checksum.
    let mut newer = good.clone();
    newer[8..10].copy_from_slice(&9_u16.to_le_bytes());
    newer[10..12].copy_from_slice(&9_u16.to_le_bytes());
    let crc = crc32c::crc32c(&newer[..508]);
    newer[508..512].copy_from_slice(&crc.to_le_bytes());
    write(&segment, &newer);
    check(&serve, 1, &["format", "9"]);
    assert_eq!(run(&verify).status.code(), Some(1));

    write(&segment, &good);
    assert_eq!(run(&verify).status.code(), Some(0));
    assert_eq!(Server::start(&data, &[]).terminate().0, Some(0));
}

#[test]
fn unreadable_and_malformed_scripts() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent.jsonl");
    check(&["sim", "--script", text(&absent)], 1, &["absent.jsonl"]);
    check(
        &["sim", "--script", text(dir.path())],
        1,
        &[text(dir.path())],
    );
    let script = dir.path().join("bad.jsonl");
    write(&script, b"{\"op\":\"new\"}\nnonsense\n{\"op\":\"fly\"}\n");
    let output = run(&["sim", "--script", text(&script)]);
    assert_eq!(output.status.code(), Some(0), "bad lines are events");
    assert_eq!(
        output.stdout.iter().filter(|&&byte| byte == b'\n').count(),
        3
    );
    let strict = run(&["sim", "--script", text(&script), "--strict"]);
    assert_eq!(strict.status.code(), Some(2));
    assert_eq!(
        strict.stdout.iter().filter(|&&byte| byte == b'\n').count(),
        1
    );
}

#[test]
fn clients_without_a_server_or_credentials_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    assert_eq!(Server::start(&data, &[]).terminate().0, Some(0));
    let credentials = data.join("credentials");
    // Nobody listens on a port that was just given back.
    let closed = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    for verb in [
        &["load", "--count", "1"][..],
        &["feed", "--seconds", "1"],
        &["trade", "watch"],
    ] {
        let to_nobody = [
            verb,
            &["--addr", &closed, "--credentials", text(&credentials)],
        ]
        .concat();
        check(&to_nobody, 1, &[&closed]);
        let without = dir.path().join("none");
        let no_keys = [verb, &["--addr", &closed, "--credentials", text(&without)]].concat();
        check(&no_keys, 1, &[text(&without)]);
    }
}

#[test]
fn a_second_program_of_the_same_build_answers_its_version() {
    let output = std::process::Command::new(program())
        .arg("--version")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("tessera "));
}
