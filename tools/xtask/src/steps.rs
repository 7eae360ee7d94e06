//! The verbs as sequences of commands.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{self, Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{arrows, instructions};

/// Everything that must pass before a change lands, cheapest first.
pub(crate) fn ci() -> Result<()> {
    let start = Instant::now();
    lint()?;
    step(
        "docs",
        cargo([
            "doc",
            "--workspace",
            "--no-deps",
            "--locked",
            "--document-private-items",
        ])
        // Built with private items, so that a module page may link to the rooms behind it.
        .env(
            "RUSTDOCFLAGS",
            "-D warnings -A rustdoc::private_intra_doc_links",
        ),
    )?;
    deny()?;
    loom()?;
    test()?;
    python()?;
    eprintln!(
        "xtask: everything passed in {} s",
        start.elapsed().as_secs()
    );
    Ok(())
}

/// Formatting, lints, arrows.
pub(crate) fn lint() -> Result<()> {
    step("format", &mut cargo(["fmt", "--all", "--check"]))?;
    arrows::check(&root()?)?;
    step(
        "clippy",
        &mut cargo([
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]),
    )
}

/// Doc tests first, so that the runner's summary is the last thing printed.
pub(crate) fn test() -> Result<()> {
    step(
        "doc tests",
        &mut cargo(["test", "--workspace", "--doc", "--locked"]),
    )?;
    if has("cargo-nextest") {
        step(
            "tests",
            &mut cargo([
                "nextest",
                "run",
                "--workspace",
                "--locked",
                "--no-fail-fast",
            ]),
        )
    } else {
        skipped(
            "nextest",
            "running `cargo test` instead",
            "cargo install cargo-nextest --locked",
        );
        step(
            "tests",
            &mut cargo(["test", "--workspace", "--all-targets", "--locked"]),
        )
    }
}

/// The rings and the journal's commit word under loom, in a target directory of their own because the cfg changes every package.
pub(crate) fn loom() -> Result<()> {
    let mut command = cargo([
        "test",
        "--package",
        "tessera-ring",
        "--package",
        "tessera-journal",
        "--lib",
        "--release",
        "--locked",
        "--",
        // The journal's other tests are over real threads and files, which loom does not know.
        "models",
    ]);
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    command.env("RUSTFLAGS", format!("{flags} --cfg tessera_loom"));
    command.env("CARGO_TARGET_DIR", target_dir()?.join("loom"));
    step("loom", &mut command)
}

/// cargo-deny, where it is.
pub(crate) fn deny() -> Result<()> {
    if !has("cargo-deny") {
        skipped(
            "cargo-deny",
            "licences and advisories were not checked",
            "cargo install cargo-deny --locked",
        );
        return Ok(());
    }
    step(
        "cargo-deny",
        &mut cargo(["deny", "--offline", "check", "bans", "licenses", "sources"]),
    )?;
    // The advisory database is a git repository; a machine that cannot reach it must not fail here.
    let advisories = cargo(["deny", "--offline", "check", "advisories"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !advisories.success() {
        skipped(
            "advisories",
            "the advisory database is not on this machine, or has a finding",
            "cargo deny check advisories",
        );
    }
    Ok(())
}

/// The Python client: format, lints, types, and its tests and examples against a server of this build.
///
/// The dependencies that its `pyproject.toml` pins go into an environment below the target directory, once.
pub(crate) fn python() -> Result<()> {
    let Some(interpreter) = python_interpreter() else {
        skipped(
            "python",
            "the Python client was not tested; it needs Python 3.11 or later",
            "apt-get install python3 python3-venv",
        );
        return Ok(());
    };
    let package = root()?.join("gateway/python");
    let home = path::absolute(target_dir()?.join("python"))?;
    if !python_environment(interpreter, &package, &home)? {
        skipped(
            "python",
            "the Python client was not tested; its dependencies could not be installed",
            "cargo xtask python, with a way to a package index",
        );
        return Ok(());
    }
    let module = |name: &str, args: &[&str]| {
        let mut command = Command::new(home.join("bin/python"));
        command
            .args(["-m", name])
            .args(args)
            .current_dir(&package)
            .env("PYTHONPATH", "src");
        command
    };
    step(
        "python format",
        &mut module("ruff", &["format", "--no-cache", "--check", "--quiet", "."]),
    )?;
    step(
        "python lints",
        &mut module("ruff", &["check", "--no-cache", "--quiet", "."]),
    )?;
    step(
        "python types",
        module("mypy", &["--no-error-summary"])
            .arg("--cache-dir")
            .arg(home.join("mypy")),
    )?;
    let mut tests = module("pytest", &["-p", "no:cacheprovider", "-n", "4"]);
    if env::var_os("TESSERA_BIN").is_none() {
        step(
            "server",
            &mut cargo([
                "build",
                "--locked",
                "--package",
                "tessera",
                "--bin",
                "tessera",
            ]),
        )?;
        tests.env(
            "TESSERA_BIN",
            path::absolute(target_dir()?.join("debug/tessera"))?,
        );
    }
    step("python tests", &mut tests)
}

/// The newest Python on the path, if it is new enough.
fn python_interpreter() -> Option<&'static str> {
    ["python3.13", "python3.12", "python3.11", "python3"]
        .into_iter()
        .find(|name| {
            Command::new(name)
                .args(["-c", "import sys; sys.exit(sys.version_info < (3, 11))"])
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
}

/// Makes the environment in `home` when it is not there or `pyproject.toml` has changed since; false when
/// that cannot be done here.
fn python_environment(interpreter: &str, package: &Path, home: &Path) -> Result<bool> {
    let wanted =
        fs::read(package.join("pyproject.toml")).context("gateway/python/pyproject.toml")?;
    let stamp = home.join("installed.toml");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(true);
    }
    // Only what the package depends on: its own modules are read where they are.
    let install = "import subprocess, sys, tomllib; \
        project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        sys.exit(subprocess.call([sys.executable, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', \
        *project['dependencies'], *project['optional-dependencies']['dev']]))";
    let made = Command::new(interpreter)
        .args(["-m", "venv"])
        .arg(home)
        .status()?
        .success()
        && Command::new(home.join("bin/python"))
            .args(["-c", install])
            .current_dir(package)
            .status()?
            .success();
    if made {
        fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    }
    Ok(made)
}

/// Writes a generated report; `risk` is the one there is.
pub(crate) fn report(name: &str) -> Result<()> {
    if name != "risk" {
        bail!("no report is called {name}; there is: risk");
    }
    let mut command = cargo(["run", "--release", "--locked", "--package", "tessera-risk"]);
    command.args(["--example", "report", "--"]);
    command.arg(root()?.join("docs/risk-report"));
    step("risk report", &mut command)
}

/// Runs a study and writes its page's tables and pictures anew.
pub(crate) fn study(name: &str, seeds: u64, model: bool) -> Result<()> {
    if name != "market" {
        bail!("no study is called {name}; there is: market");
    }
    let mut command = cargo([
        "run",
        "--release",
        "--locked",
        "--package",
        "tessera-study",
        "--",
    ]);
    command.arg(root()?.join("docs/market-study"));
    command.args(["--seeds", &seeds.to_string()]);
    if model {
        command.arg("--model");
    }
    step("market study", &mut command)
}

/// The engine against the plain model over more seeds than CI takes.
pub(crate) fn model(seeds: &str) -> Result<()> {
    proof(
        "model",
        &["--test", "model"],
        ("TESSERA_MODEL_SEEDS", seeds),
    )
}

/// Line coverage of the engine by the tests against the model, unit tests apart.
pub(crate) fn coverage(seeds: &str, lines: bool) -> Result<()> {
    if !has("cargo-llvm-cov") {
        skipped(
            "coverage",
            "nothing was measured",
            "rustup component add llvm-tools && cargo install cargo-llvm-cov --locked",
        );
        return Ok(());
    }
    // What an earlier build left would be reported too.
    step("clean", &mut cargo(["llvm-cov", "clean", "--workspace"]))?;
    let mut run = cargo(["llvm-cov", "--no-report", "--locked"]);
    run.args(["--package", "tessera-tests", "--test", "model"]);
    run.env("TESSERA_MODEL_SEEDS", seeds);
    step("model under coverage", &mut run)?;
    let mut report = cargo(["llvm-cov", "report", "--package", "tessera-engine"]);
    report.arg("--summary-only");
    if lines {
        report.arg("--show-missing-lines");
    }
    step("coverage", &mut report)
}

/// cargo-mutants on the given files, with the engine's tests or those against the model as judge.
pub(crate) fn mutants(files: &[String], shard: &str, model: bool) -> Result<()> {
    if !has("cargo-mutants") {
        skipped(
            "mutants",
            "no fault was planted",
            "cargo install cargo-mutants --locked",
        );
        return Ok(());
    }
    let (judge, test) = if model {
        ("tessera-tests", "model")
    } else {
        ("tessera-engine", "it")
    };
    let mut command = cargo(["mutants", "--package", "tessera-engine"]);
    command
        .args(["--test-package", judge, "--shard", shard])
        .args(["--sharding", "round-robin", "--minimum-test-timeout", "60"])
        .arg("--output")
        .arg(target_dir()?)
        .args(files.iter().flat_map(|file| ["--file", file]))
        .args(["--", "--test", test])
        // A fault costs a build each: what the tests take longer without optimisation is less.
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0");
    step("mutants", &mut command)
}

/// More kill -9 cycles than CI takes.
pub(crate) fn kill9(cycles: u32) -> Result<()> {
    proof(
        "kill9",
        &["--test", "it", "kill9"],
        ("TESSERA_KILL9_CYCLES", &cycles.to_string()),
    )
}

/// More random inputs per decoder than CI takes: the journal's readers, then everything else.
pub(crate) fn fuzz(count: u64) -> Result<()> {
    let variable = ("TESSERA_FUZZ_COUNT", &*count.to_string());
    let tests = ["--test", "it", "fuzz"];
    proof_of("tessera-journal", "fuzz of the journal", &tests, variable)?;
    proof("fuzz", &tests, variable)
}

/// One journal, replayed by each build under everything that may differ between machines.
pub(crate) fn determinism(commands: u64) -> Result<()> {
    let mut programs = Vec::new();
    for (profile, name) in [("dev", "debug"), ("release", "release")] {
        let mut build = cargo([
            "build",
            "--locked",
            "--package",
            "tessera",
            "--bin",
            "tessera",
        ]);
        build.args(["--profile", profile]);
        step(&format!("build, {name}"), &mut build)?;
        programs.push(target_dir()?.join(name).join("tessera"));
    }
    let mut command = cargo([
        "test",
        "--release",
        "--locked",
        "--package",
        "tessera-tests",
    ]);
    command
        .args(["--test", "it", "determinism", "--", "--nocapture"])
        .env("TESSERA_DETERMINISM_COMMANDS", commands.to_string())
        .env("TESSERA_DETERMINISM_PROGRAMS", env::join_paths(programs)?);
    step("determinism", &mut command)
}

/// The packages with `unsafe`, and the bytes they share, under the tools that watch memory.
pub(crate) fn sanitize() -> Result<()> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let has_nightly = Command::new("rustup")
        .args(["which", "--toolchain", "nightly", "rustc"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_nightly {
        skipped(
            "sanitize",
            "memory was not watched",
            "rustup toolchain install nightly --component miri,rust-src",
        );
        return Ok(());
    }
    // The toolchain that runs this program is named in the environment and would go before `+nightly`.
    let nightly = |directory: &str| -> Result<Command> {
        let mut command = Command::new("rustup");
        command
            .args(["run", "nightly", "cargo"])
            .current_dir(root()?)
            .env_remove("CARGO")
            .env_remove("RUSTC")
            .env_remove("RUSTUP_TOOLCHAIN")
            .env("CARGO_TARGET_DIR", target_dir()?.join(directory));
        Ok(command)
    };
    let packages = ["--package", "tessera-ring", "--package", "tessera-journal"];
    if has("cargo-miri") {
        let mut miri = nightly("miri")?;
        miri.args(["miri", "test", "--locked", "--lib"])
            .args(["--package", "tessera-types"])
            .args(packages)
            .arg("--");
        for test in TOO_LONG_FOR_MIRI {
            miri.args(["--skip", test]);
        }
        miri.env("MIRIFLAGS", "-Zmiri-disable-isolation")
            .env("PROPTEST_CASES", "2");
        step("miri", &mut miri)?;
    } else {
        skipped("miri", "sanitizers only", "rustup component add miri");
    }
    // Frames of instrumented code are larger; the sanitizers give up on what the default stack cannot hold.
    let mut address = nightly("asan")?;
    address
        .args(["test", "--locked", "--lib", "--tests", "--target", TARGET])
        .args(packages)
        .env("RUSTFLAGS", "-Zsanitizer=address")
        .env("RUST_MIN_STACK", "16777216");
    step("address sanitizer", &mut address)?;
    // Without a standard library of its own it would report what it cannot see into.
    let mut thread = nightly("tsan")?;
    thread
        .args(["test", "--locked", "--lib", "--tests", "--target", TARGET])
        .arg("-Zbuild-std")
        .args(packages)
        .env("RUSTFLAGS", "-Zsanitizer=thread")
        .env("RUST_MIN_STACK", "16777216");
    step("thread sanitizer", &mut thread)
}

/// What takes an interpreter hours; the sanitizers run these.
const TOO_LONG_FOR_MIRI: [&str; 7] = [
    "every_flipped_bit_and_every_missing_byte_is_found",
    "whichever_call_fails_a_snapshot_is_there_whole_or_not_at_all",
    "what_was_written_is_read_for_any_sizes",
    "every_bit_counts",
    "a_position_is_never_read_half",
    "behaves_like_a_bounded_deque",
    "quotes_sessions_and_reference_data_round_trip",
];

/// More failing calls and power cuts over the scripted disk than CI takes; CI has 371 power cuts at a call.
pub(crate) fn faults(cases: u64) -> Result<()> {
    let scale = cases.div_ceil(371).max(1);
    let mut command = cargo([
        "test",
        "--release",
        "--locked",
        "--package",
        "tessera-journal",
        "--test",
        "it",
        "--",
        "--nocapture",
    ]);
    step(
        "faults",
        command.env("TESSERA_FAULT_SCALE", scale.to_string()),
    )
}

/// More power cuts on a real file system than CI takes.
pub(crate) fn power_cuts(cuts: u32) -> Result<()> {
    proof(
        "power-cuts",
        &["--test", "it", "real_disk"],
        ("TESSERA_POWER_CUTS", &cuts.to_string()),
    )
}

/// Writes the golden journal of this release and its hash; the diff is the review.
pub(crate) fn golden() -> Result<()> {
    proof(
        "golden",
        &["--test", "it", "golden_journals_verify"],
        ("TESSERA_GOLDEN", "write"),
    )
}

/// Some of the whole-system tests, in release, with their size in a variable, and what they print.
fn proof(name: &str, tests: &[&str], variable: (&str, &str)) -> Result<()> {
    proof_of("tessera-tests", name, tests, variable)
}

fn proof_of(
    package: &str,
    name: &str,
    tests: &[&str],
    (variable, value): (&str, &str),
) -> Result<()> {
    let mut command = cargo(["test", "--release", "--locked", "--package", package]);
    command
        .args(tests)
        .args(["--", "--nocapture"])
        .env(variable, value);
    step(name, &mut command)
}

/// Criterion benches; or the tables of whole workloads, or what valgrind counts of them.
pub(crate) fn bench(
    name: Option<&str>,
    tables: bool,
    instructions: bool,
    flows: &[String],
) -> Result<()> {
    if name == Some("journal") {
        let mut goals = cargo([
            "run",
            "--release",
            "--locked",
            "--package",
            "tessera-benches",
        ]);
        goals.args(["--bin", "tessera-journal-bench"]);
        step("the journal beside bare probes", &mut goals)?;
    }
    if !tables && !instructions {
        let mut command = cargo(["bench", "--package", "tessera-benches", "--benches"]);
        if let Some(name) = name {
            command.args(["--bench", name]);
        }
        return step("bench", &mut command);
    }
    let mut build = cargo([
        "build",
        "--release",
        "--locked",
        "--package",
        "tessera-benches",
    ]);
    if tables {
        build.args(["--features", "peers"]);
    }
    step("build", &mut build)?;
    let release = target_dir()?.join("release");
    let program = release.join("tessera-bench");
    if tables {
        step("tables", Command::new(&program).arg("tables"))?;
    }
    if instructions && !has("valgrind") {
        skipped(
            "instructions",
            "instructions and misses were not counted",
            "apt-get install valgrind",
        );
    } else if instructions {
        println!("\n### Instructions and misses per command\n");
        instructions::print(&program, flows, &release)?;
    }
    Ok(())
}

fn step(name: &str, command: &mut Command) -> Result<()> {
    let start = Instant::now();
    eprintln!("xtask: {name}");
    let status = command
        .status()
        .with_context(|| format!("{name}: cannot start {command:?}"))?;
    if !status.success() {
        bail!("{name} failed ({status}): {command:?}");
    }
    eprintln!("xtask: {name} took {} s", start.elapsed().as_secs());
    Ok(())
}

fn skipped(what: &str, consequence: &str, how: &str) {
    eprintln!("xtask: skipped {what}: {consequence}; get it with `{how}`");
}

fn cargo<I, S>(args: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    if let Ok(root) = root() {
        command.current_dir(root);
    }
    command
}

fn has(program: &str) -> bool {
    let Some(path) = env::var_os("PATH") else {
        return false;
    };
    env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn root() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .map(Path::to_path_buf)
        .context("tools/xtask is two levels below the workspace")
}

fn target_dir() -> Result<PathBuf> {
    Ok(match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => root()?.join("target"),
    })
}
