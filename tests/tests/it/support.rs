//! The program under test: built once, started with its real arguments, ended by pid.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Long enough for a crowded machine, short enough for a hang to be seen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The program, built in the profile of this test unless `TESSERA_BIN` names one.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(path) = std::env::var_os("TESSERA_BIN") {
            return path.into();
        }
        // The test binary is TARGET/PROFILE/deps/it-HASH.
        let this = std::env::current_exe().expect("a test knows its own file");
        let profile_dir = this.ancestors().nth(2).expect("deps is two levels deep");
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "tessera",
            "--bin",
            "tessera",
        ]);
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        build
            .arg("--target-dir")
            .arg(profile_dir.parent().expect("a profile lies in a target"));
        if profile_dir.ends_with("release") {
            build.arg("--release");
        }
        assert!(
            build.status().expect("cargo starts").success(),
            "the program does not build"
        );
        profile_dir.join("tessera")
    })
}

/// Runs the program to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    Command::new(program())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

/// Standard output as text.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs the program and insists that it succeeds.
pub(crate) fn succeed(args: &[&str]) -> String {
    let output = run(args);
    assert!(
        output.status.success(),
        "{args:?} exited with {:?}: {}",
        output.status.code(),
        stderr(&output)
    );
    stdout(&output)
}

/// A running `tessera serve`; killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it serves.
    pub(crate) addr: String,
    ready: String,
    log: Option<JoinHandle<String>>,
}

impl Server {
    /// Starts it on a free port over `data` and waits for `READY`.
    pub(crate) fn start(data: &Path, extra: &[&str]) -> Self {
        let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--segment-mib", "1"];
        args.extend(["--data", text(data)]);
        args.extend(extra);
        Self::run(&args)
    }

    /// Starts any verb that serves, and waits for `READY`.
    pub(crate) fn run(args: &[&str]) -> Self {
        let mut child = Command::new(program())
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let log = child.stderr.take().map(drain_log);
        let stdout = child.stdout.take().expect("stdout is piped");
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            for line in lines {
                let is_ready = line.starts_with("READY");
                let _ = send.send(line);
                if is_ready {
                    return;
                }
            }
        });
        // A verb may say other things before.
        let ready = std::iter::from_fn(|| receive.recv_timeout(PATIENCE).ok())
            .find(|line| line.starts_with("READY"))
            .unwrap_or_default();
        let Some(addr) = ready
            .split_whitespace()
            .find_map(|word| word.strip_prefix("addr="))
        else {
            let _ = child.kill();
            let _ = child.wait();
            let log = log
                .map(|log| log.join().unwrap_or_default())
                .unwrap_or_default();
            panic!("no READY line but {ready:?}; it said: {log}");
        };
        Self {
            addr: addr.to_owned(),
            ready: ready.trim_end().to_owned(),
            child,
            log,
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and wait.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the server was running");
        let _ = self.child.wait();
    }

    /// SIGTERM, wait for the end, and return what it said on standard error.
    pub(crate) fn terminate(mut self) -> (Option<i32>, String) {
        let pid = i32::try_from(self.child.id()).expect("a pid is an i32");
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid is not 0");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait().expect("the server can be waited for") {
                Some(status) => break status,
                None if start.elapsed() > PATIENCE => panic!("the drain takes too long"),
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        let log = self.log.take().map(|log| log.join().unwrap_or_default());
        (status.code(), log.unwrap_or_default())
    }

    /// A word `KEY=VALUE` of the `READY` line.
    pub(crate) fn ready_word(&self, key: &str) -> &str {
        self.ready
            .split_whitespace()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("no {key} in {:?}", self.ready))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn drain_log(stderr: ChildStderr) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = BufReader::new(stderr).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A path as text for an argument list.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}
