//! An exchange whose disk breaks under it: exit 6 at once, and no acknowledgement after the failure.
//!
//! The exchange runs in a child of this test binary, over real files with a storage around them whose
//! syncs fail on demand; the load comes from the real program.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tessera::serve::{JournalStorage, Node, NodeConfig};
use tessera_journal::storage::{
    Access, Entry, File, LockError, LockGuard, MapAccess, Mapped, Region, Stat, Storage,
};

use crate::support::{PATIENCE, program, run, succeed, text};

/// Set in the process that is to fail: its data directory.
const CHILD: &str = "TESSERA_FAILSTOP_CHILD";

/// A directory whose syncs of data fail once a switch is thrown.
struct Breaking {
    inner: Mapped,
    broken: Arc<AtomicBool>,
}

struct BreakingFile {
    inner: Box<dyn File>,
    broken: Arc<AtomicBool>,
}

impl Breaking {
    fn file(&self, inner: Box<dyn File>) -> Box<dyn File> {
        let broken = Arc::clone(&self.broken);
        Box::new(BreakingFile { inner, broken })
    }
}

impl Storage for Breaking {
    fn path(&self) -> PathBuf {
        self.inner.path()
    }

    fn list(&self, directory: &str) -> io::Result<Vec<Entry>> {
        self.inner.list(directory)
    }

    fn make_dir(&self, name: &str) -> io::Result<()> {
        self.inner.make_dir(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(self.file(self.inner.create(name)?))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn File>> {
        Ok(self.file(self.inner.open(name, access)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_dir(&self, directory: &str) -> io::Result<()> {
        self.inner.sync_dir(directory)
    }

    fn lock(&self, name: &str) -> Result<Box<dyn LockGuard>, LockError> {
        self.inner.lock(name)
    }

    fn lock_holder(&self, name: &str) -> io::Result<Option<String>> {
        self.inner.lock_holder(name)
    }
}

impl File for BreakingFile {
    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        self.inner.preallocate(bytes)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write_at(offset, bytes)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, out)
    }

    fn stat(&self) -> io::Result<Stat> {
        self.inner.stat()
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.broken.load(Ordering::Acquire) {
            eprintln!("BROKEN at {}", monotonic_ns());
            return Err(rustix::io::Errno::IO.into());
        }
        self.inner.sync_data()
    }

    fn map(&self, bytes: usize, how: MapAccess) -> io::Result<Region> {
        self.inner.map(bytes, how)
    }
}

fn monotonic_ns() -> u128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (sec, nsec) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    u128::from(sec) * 1_000_000_000 + u128::from(nsec)
}

#[test]
fn child() {
    let Some(data) = std::env::var_os(CHILD) else {
        return; // only of use to the test below
    };
    let broken = Arc::new(AtomicBool::new(false));
    fs::create_dir_all(&data).unwrap();
    let storage = Breaking {
        inner: Mapped::open(Path::new(&data)).unwrap(),
        broken: Arc::clone(&broken),
    };
    let mut config = NodeConfig::new(data.into(), "127.0.0.1:0".parse().unwrap());
    config.segment_bytes = 1 << 20;
    config.storage = Some(JournalStorage(Arc::new(storage)));
    let node = Node::start(config).unwrap();
    eprintln!("READY addr={}", node.addr());
    // The parent throws the switch by closing our standard input.
    let mut line = String::new();
    let _ = io::stdin().read_line(&mut line);
    broken.store(true, Ordering::Release);
    std::thread::sleep(PATIENCE);
    println!("survived");
}

#[test]
fn a_failed_sync_ends_the_process_within_100_ms_and_nothing_is_acknowledged_after_it() {
    let mut slowest = Duration::ZERO;
    for round in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "failstop::child", "--nocapture"])
            .env(CHILD, &data)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut log = String::new();
        let addr = loop {
            let from = log.len();
            assert!(stderr.read_line(&mut log).unwrap() > 0, "no READY: {log}");
            if let Some((_, addr)) = log[from..].split_once("READY addr=") {
                break addr.trim().to_owned();
            }
        };
        let acks = dir.path().join("acks");
        let mut load = Command::new(program())
            .args(["load", "--addr", &addr, "--count", "100000000"])
            .args(["--credentials", text(&data.join("credentials"))])
            .args(["--acks", text(&acks)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Under load: some acknowledgements are out before the disk breaks.
        let started = std::time::Instant::now();
        while fs::metadata(&acks).map_or(0, |meta| meta.len()) < 1000 * (round + 1) {
            assert!(started.elapsed() < PATIENCE, "no acknowledgements");
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(child.stdin.take());
        let status = child.wait().unwrap();
        let ended = monotonic_ns();
        io::Read::read_to_string(&mut stderr, &mut log).unwrap();
        assert_eq!(status.code(), Some(6), "{log}");
        let broken: u128 = log
            .split("BROKEN at ")
            .nth(1)
            .and_then(|rest| rest.lines().next()?.trim().parse().ok())
            .unwrap_or_else(|| panic!("the sync was never asked to fail: {log}"));
        let took = Duration::from_nanos(u64::try_from(ended - broken).unwrap());
        slowest = slowest.max(took);
        assert!(
            took < Duration::from_millis(100),
            "{took:?} from failure to exit"
        );
        assert_eq!(
            log.matches("BROKEN at").count(),
            1,
            "a failed sync is not tried again"
        );
        let durable: u64 = log
            .split("nothing after record ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no last durable record in {log}"));

        let _ = load.wait();
        let acknowledged = fs::read_to_string(&acks).unwrap();
        let seqs = acknowledged
            .lines()
            .map(|line| line.split_once(' ').unwrap().1.parse::<u64>().unwrap());
        let last = seqs.max().unwrap();
        assert!(
            last <= durable,
            "{last} was acknowledged, {durable} was durable"
        );
        let verify = run(&["journal", "verify", "--data", text(&data)]);
        assert!(matches!(verify.status.code(), Some(0 | 3)));
        let dump = succeed(&[
            "journal",
            "tail",
            "--data",
            text(&data),
            "--from",
            "1",
            "--format",
            "seq-id",
        ]);
        assert!(dump.lines().count() as u64 >= last);
    }
    println!("slowest exit after a failed sync: {slowest:?}");
}
