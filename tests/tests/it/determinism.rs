//! One journal, replayed by every build there is and under whatever may differ between two machines: locale,
//! time zone, allocator, cores. The state is the same after every 8,192 commands and at the end.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use tessera::sim::Runner;
use tessera_engine::{EngineConfig, Exchange};
use tessera_journal::{Config, Journal, Opened, hex};
use tessera_tests::scripts::{Features, random_script};
use tessera_types::{Event, Seq, Sequenced, Timestamp, wire};

use crate::support::{program, stderr, stdout, text};

/// Commands in CI; `cargo xtask determinism --commands N` takes any number.
const COMMANDS: u64 = 30_000;
/// Commands of one random script; each has its own mix of order kinds and prices.
const SCRIPT: usize = 500;
/// Commands between two recorded hashes.
const HASHED: u64 = 8_192;

/// What a machine may have otherwise than another one.
const SURROUNDINGS: [(&str, &[(&str, &str)]); 4] = [
    ("as it is", &[]),
    (
        "another locale and language",
        &[
            ("LC_ALL", "tr_TR.UTF-8"),
            ("LANG", "tr_TR.UTF-8"),
            ("LANGUAGE", "tr"),
        ],
    ),
    ("another time zone", &[("TZ", "Pacific/Chatham")]),
    // Freshly allocated and freed memory is filled, nothing is cached, large blocks have mappings of their own.
    (
        "another allocation",
        &[
            ("MALLOC_PERTURB_", "165"),
            ("MALLOC_ARENA_MAX", "1"),
            (
                "GLIBC_TUNABLES",
                "glibc.malloc.tcache_count=0:glibc.malloc.mmap_threshold=65536",
            ),
        ],
    ),
];

#[test]
fn one_journal_replays_to_one_state_everywhere() {
    let commands =
        env::var("TESSERA_DETERMINISM_COMMANDS").map_or(COMMANDS, |text| text.parse().unwrap());
    let programs: Vec<PathBuf> = match env::var_os("TESSERA_DETERMINISM_PROGRAMS") {
        Some(paths) => env::split_paths(&paths).collect(),
        None => vec![program().to_owned()],
    };
    let dir = tempfile::tempdir().unwrap();
    let written = write(dir.path(), commands);
    println!(
        "{commands} commands with {} events, {} trades, {} rejections",
        written.events, written.trades, written.rejected
    );
    // A journal of refusals alone would prove little; two in three are what the scripts provoke.
    assert!(written.trades > commands / 20, "too few trades");
    assert!(written.rejected < commands / 5 * 4, "too many refusals");
    let expected = format!("{commands} {}\n", written.hash);
    for program in &programs {
        for (name, variables) in SURROUNDINGS {
            let mut replay = Command::new(program);
            replay.envs(variables.iter().copied());
            replay_and_compare(replay, name, program, dir.path(), &expected);
        }
        match Command::new("taskset").arg("--version").output() {
            Ok(_) => {
                let mut replay = Command::new("taskset");
                replay.args(["--cpu-list", "0"]).arg(program);
                replay_and_compare(replay, "on one core", program, dir.path(), &expected);
            }
            Err(_) => eprintln!("skipped one core: no taskset"),
        }
    }
}

fn replay_and_compare(
    mut replay: Command,
    surroundings: &str,
    program: &Path,
    data: &Path,
    expected: &str,
) {
    let started = Instant::now();
    let output = replay
        .args(["journal", "replay", "--state-hash", "--data", text(data)])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let name = format!("{}, {surroundings}", program.display());
    // Every recorded hash was compared on the way, else the status would be 4.
    assert_eq!(output.status.code(), Some(0), "{name}: {}", stderr(&output));
    assert_eq!(stdout(&output), expected, "{name}");
    println!("{name}: equal after {} ms", started.elapsed().as_millis());
}

/// What the journal's writer saw.
#[derive(Default)]
struct Written {
    events: u64,
    trades: u64,
    rejected: u64,
    hash: String,
}

/// Random scripts one after the other, all into one exchange: books, orders and phases that one script left
/// behind are what the next one meets.
fn write(directory: &Path, commands: u64) -> Written {
    let config = Config {
        segment_bytes: 32 << 20,
        ..Config::default()
    };
    let Opened {
        mut writer,
        mut syncer,
        mut preparer,
        ..
    } = Journal::open(directory, config).unwrap();
    let mut exchange = Exchange::new(EngineConfig::default());
    let mut seeds = Pcg64Mcg::seed_from_u64(7);
    let mut script: std::vec::IntoIter<Sequenced> = Vec::new().into_iter();
    let (mut events, mut payload) = (Vec::<Event>::new(), Vec::new());
    let mut written = Written::default();
    let (mut seq, mut epoch, mut last) = (0, 0, 0);
    while seq < commands {
        let Some(command) = script.next() else {
            epoch = last + 1;
            script = random_commands(seeds.random());
            continue;
        };
        seq += 1;
        last = epoch + command.time.nanos();
        let sequenced = Sequenced {
            seq: Seq::new(seq),
            time: Timestamp::from_nanos(last),
            command: command.command,
        };
        payload.clear();
        let kind = wire::encode_command(&sequenced.command, sequenced.time, &mut payload).unwrap();
        while let Err(error) = writer.append(sequenced.seq, sequenced.time, kind, &payload) {
            assert!(error.is_stall(), "{error}");
            writer.publish();
            syncer.sync_once().unwrap();
            preparer.prepare_if_needed().unwrap();
        }
        events.clear();
        exchange.apply(&sequenced, &mut events);
        written.events += events.len() as u64;
        for event in &events {
            match event {
                Event::Trade { .. } => written.trades += 1,
                Event::Rejected { .. } => written.rejected += 1,
                _ => {}
            }
        }
        if seq % HASHED == 0 {
            let (hash, digest) = (exchange.state_hash(), exchange.events_digest());
            while let Err(error) = writer.append_state_hash(&hash, digest) {
                assert!(error.is_stall(), "{error}");
                preparer.prepare_if_needed().unwrap();
            }
            exchange.restart_events_digest();
        }
    }
    writer.publish();
    syncer.finish().unwrap();
    written.hash = hex(&exchange.state_hash());
    written
}

/// The commands of a random script, as the runner of scripts makes them.
fn random_commands(seed: u64) -> std::vec::IntoIter<Sequenced> {
    let mut runner = Runner::new(EngineConfig::default(), false);
    runner.keep_commands();
    let mut out = String::new();
    for line in random_script(seed, Features::ALL, SCRIPT) {
        out.clear();
        // A line that is no command is part of what scripts are made of.
        let _ = runner.line(line.as_bytes(), &mut out);
    }
    runner.commands().to_vec().into_iter()
}
