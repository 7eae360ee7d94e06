//! Real file systems made for the purpose: a power cut under load, and a disk that is nearly full. Both need
//! root to mount something, and are skipped with a message without it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{PATIENCE, Server, program, run, stderr, stdout, succeed, text};

/// Cycles in CI; `TESSERA_POWER_CUTS` asks for more.
const CUTS: u32 = 2;

/// A mounted file system, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// Mounts, or says why the test is skipped.
    fn new(args: &[&str], at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let output = Command::new("mount").args(args).arg(at).output();
        match output {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            Ok(output) => {
                eprintln!("skipped: cannot mount here: {}", stderr(&output).trim());
                None
            }
            Err(error) => {
                eprintln!("skipped: no mount program: {error}");
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        for _ in 0..50 {
            match Command::new("umount").arg(&self.0).output() {
                Ok(output) if !output.status.success() => {
                    thread::sleep(Duration::from_millis(100));
                }
                _ => return,
            }
        }
    }
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: mounting a file system needs root");
    }
    root
}

fn load(server: &Server, data: &Path, acks: &Path) -> Child {
    Command::new(program())
        .args(["load", "--addr", &server.addr, "--count", "100000000"])
        .args(["--credentials", text(&data.join("credentials"))])
        .args(["--acks", text(acks)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn what_was_acknowledged_before_a_power_cut_is_on_the_disk() {
    if !is_root() {
        return;
    }
    let cuts = std::env::var("TESSERA_POWER_CUTS").map_or(CUTS, |text| text.parse().unwrap());
    let mut found = 0;
    for cut in 0..cuts {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        fs::File::create(&image).unwrap().set_len(96 << 20).unwrap();
        let made = Command::new("mkfs.ext4").arg("-q").arg(&image).output();
        if !made.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: no mkfs.ext4");
            return;
        }
        let Some(mount) = Mount::new(&["-o", "loop", text(&image)], &dir.path().join("disk"))
        else {
            return;
        };
        let data = mount.0.join("data");
        let server = Server::start(&data, &[]);
        // On another disk, as a client is.
        let acks = dir.path().join("acks");
        let mut load = load(&server, &data, &acks);
        let start = Instant::now();
        while fs::metadata(&acks).map_or(0, |meta| meta.len()) < 5000 {
            assert!(start.elapsed() < PATIENCE, "no acknowledgements");
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(u64::from(cut * 137 % 400)));
        // The server stands still while the image is copied, so that the copy is of one moment; what the
        // mounted file system has only in memory is not in it, as after a power cut.
        let pid = i32::try_from(server.pid()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        let before = fs::read_to_string(&acks).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        let copy = dir.path().join("copy");
        fs::copy(&image, &copy).unwrap();
        let _ = load.kill();
        let _ = load.wait();
        server.kill();
        drop(mount);

        let Some(mount) = Mount::new(&["-o", "loop", text(&copy)], &dir.path().join("after"))
        else {
            return;
        };
        let data = mount.0.join("data");
        let verify = run(&["journal", "verify", "--data", text(&data)]);
        assert!(
            matches!(verify.status.code(), Some(0 | 3)),
            "{} {}",
            stdout(&verify),
            stderr(&verify)
        );
        let (code, log) = Server::start(&data, &[]).terminate();
        assert_eq!(code, Some(0), "{log}");
        let dump = succeed(&[
            "journal",
            "dump",
            "--data",
            text(&data),
            "--format",
            "seq-id",
        ]);
        let lines: std::collections::HashSet<&str> = dump.lines().collect();
        for line in before.lines().filter(|line| line.contains(' ')) {
            let (id, seq) = line.split_once(' ').unwrap();
            assert!(
                lines.contains(format!("{seq} {id}").as_str()),
                "order {id} was acknowledged at {seq}"
            );
            found += 1;
        }
    }
    println!("{found} acknowledgements found again after {cuts} power cuts");
    assert!(found > 100);
}

#[test]
fn a_nearly_full_disk_refuses_new_orders_and_serves_cancels() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // The live segment and two ahead fit, with the credentials; a fourth does not.
    let Some(mount) = Mount::new(
        &["-t", "tmpfs", "-o", "size=3900k", "tmpfs"],
        &dir.path().join("disk"),
    ) else {
        return;
    };
    let data = mount.0.join("data");
    let server = Server::start(&data, &[]);
    let credentials = data.join("credentials");
    let client = |verb: &[&str], rest: &[&str]| {
        let mut args = verb.to_vec();
        args.extend([
            "--addr",
            &server.addr,
            "--credentials",
            text(&credentials),
            "--json",
        ]);
        args.extend(rest);
        run(&args)
    };
    let name = first_instrument(&data, server.ready_word("seq"));
    let order = [
        "--instrument",
        &name,
        "--side",
        "buy",
        "--qty",
        "10",
        "--price",
        "100",
    ];
    let placed = client(&["trade", "place"], &order);
    assert_eq!(
        placed.status.code(),
        Some(0),
        "{} {}",
        stdout(&placed),
        stderr(&placed)
    );
    let id = order_id(&stdout(&placed));

    // Fill segments until the exchange says that there is room for no more.
    let filled = client(&["load", "--count", "20000"], &["--session", "FILL"]);
    let summary: Value = serde_json::from_str(stdout(&filled).trim()).unwrap_or_default();
    let refused = client(&["trade", "place"], &order);
    assert_eq!(
        refused.status.code(),
        Some(1),
        "{} {}; the load said {summary}",
        stdout(&refused),
        stderr(&refused)
    );
    let canceled = client(&["trade", "cancel"], &["--order-id", &id]);
    assert_eq!(
        canceled.status.code(),
        Some(0),
        "{} {}",
        stdout(&canceled),
        stderr(&canceled)
    );
    assert!(summary["rejects"].as_u64() > Some(0), "{summary}");
    let (code, log) = server.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(
        log.contains("new orders are refused until there is room"),
        "{log}"
    );
    let verify = run(&["journal", "verify", "--data", text(&data)]);
    assert_eq!(verify.status.code(), Some(0), "{}", stderr(&verify));
}

fn first_instrument(data: &Path, seq: &str) -> String {
    let state = succeed(&[
        "journal",
        "state",
        "--data",
        text(data),
        "--at",
        seq,
        "--json",
    ]);
    let state: Value = serde_json::from_str(&state).unwrap();
    state["instruments"][0]["name"].as_str().unwrap().to_owned()
}

fn order_id(lines: &str) -> String {
    lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|report| match &report["order_id"] {
            Value::Number(id) => Some(id.to_string()),
            Value::String(id) => Some(id.clone()),
            _ => None,
        })
        .unwrap_or_else(|| panic!("no order id in {lines}"))
}
