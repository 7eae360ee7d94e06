//! What an operator's tools see: settings from all places, health, metrics, readiness.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use crate::support::{PATIENCE, Server, program, stderr, stdout, succeed, text};

/// Status line and body of a GET.
fn get(addr: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn health_and_every_documented_metric_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(
        dir.path(),
        &["--http", "127.0.0.1:0", "--durability", "strict"],
    );
    let http = server.ready_word("http");
    for path in ["/livez", "/readyz"] {
        let (status, body) = get(http, path);
        assert!(
            status.contains(" 200 ") && body == "ok\n",
            "{path}: {status} {body}"
        );
    }
    let (_, metrics) = get(http, "/metrics");
    let seq = server.ready_word("seq");
    for line in [
        format!("tessera_seq {seq}"),
        format!("tessera_durable_seq {seq}"),
        "tessera_connections 0".into(),
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} is not in\n{metrics}"
        );
    }
    assert!(metrics.contains("durability=\"strict\""), "{metrics}");

    let exposed: BTreeSet<_> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let book = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
    let book = fs::read_to_string(book).unwrap();
    let documented: BTreeSet<_> = book
        .lines()
        .filter_map(|line| line.strip_prefix("| `tessera_")?.split(['`', '{']).next())
        .collect();
    let exposed: BTreeSet<_> = exposed
        .into_iter()
        .filter_map(|name| name.strip_prefix("tessera_"))
        .collect();
    assert_eq!(exposed, documented, "docs/operations.md lists the metrics");
    assert_eq!(server.terminate().0, Some(0));
}

#[test]
fn settings_come_from_flag_environment_file_and_default() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("exchange.toml");
    fs::write(&file, "[journal]\nsegment_mib = 2\n[threads]\nshards = 2\n").unwrap();
    let output = Command::new(program())
        .args(["serve", "--print-config", "--data", "d", "--config"])
        .arg(&file)
        .env("TESSERA__THREADS__SHARDS", "3")
        .output()
        .unwrap();
    let printed = stdout(&output);
    let from_file = format!("segment_mib = 2 # {}:2", text(&file));
    for line in [
        "data = \"d\" # flag --data",
        &from_file,
        "shards = 3 # environment TESSERA__THREADS__SHARDS",
        "durability = \"default\" # default",
    ] {
        assert!(printed.contains(line), "{line} is not in\n{printed}");
    }

    let check = |line: &str, code: i32, says: &str| {
        fs::write(&file, line).unwrap();
        let output = Command::new(program())
            .args(["serve", "--check-config", "--data", "d", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{line}: {message}");
        assert!(message.contains(says), "{line}: {message}");
    };
    check("[log]\nformat = \"json\"\n", 0, "");
    check(
        "[log]\nfrmat = \"json\"\n",
        2,
        "exchange.toml:2: unknown setting `log.frmat`",
    );
    check(
        "[log]\nformat = \"xml\"\n",
        2,
        "exchange.toml:2: `log.format`",
    );
    check("[log]\nfilter = \"a=b=c\"\n", 2, "`log.filter`");
    check("[threads]\nshards = 99\n", 2, "99 is not in 1 to 16");
    assert!(!dir.path().join("d").exists(), "a check makes nothing");
}

#[test]
fn the_service_manager_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut child = Command::new(program())
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--segment-mib",
            "1",
            "--data",
        ])
        .arg(dir.path().join("data"))
        .env("NOTIFY_SOCKET", &path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut message = [0; 256];
    let mut next = || {
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    assert!(next().contains("READY=1"));
    let kill = Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(kill.success());
    assert!(next().contains("STOPPING=1"));
    assert!(child.wait().unwrap().success());
}

#[test]
fn completions_and_manual_pages_name_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            succeed(&["completions", shell]).contains("journal"),
            "{shell}"
        );
    }
    assert!(succeed(&["man"]).contains("serve"));
    assert!(succeed(&["man", "serve"]).contains("durability"));
}
