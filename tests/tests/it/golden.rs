//! Journals of each format, kept as they were written: they verify and replay to their recorded hashes for
//! as long as we say that we read them. `cargo xtask golden` writes those of this release anew.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use serde_json::{Value, json};
use tessera_engine::{EngineConfig, Exchange};
use tessera_journal::storage::memory::MemoryStorage;
use tessera_journal::{Config, Identity, Journal, Opened};
use tessera_types::{
    AccountId, Cancel, ClOrdId, ClientHeader, Command, Event, Instrument, InstrumentId,
    ListInstrument, Name, NewOrder, OrderTarget, Price, Qty, Seq, Sequenced, Side, Timestamp, wire,
};

use crate::support::{run, stderr, stdout, succeed, text};

/// Format of this release; its journal is the one that is compared with what would be written now.
const FORMAT: u16 = tessera_journal::segment::FORMAT;
const COMMANDS: u64 = 3000;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn command(seq: u64, random: &mut Pcg64Mcg) -> Command {
    let header = ClientHeader {
        account: AccountId::new(random.random_range(1..5)),
        cl_ord_id: ClOrdId::new(seq),
        ..ClientHeader::default()
    };
    if seq <= 2 {
        let name = if seq == 1 { "GOLD.A" } else { "GOLD.B" };
        return Command::ListInstrument(Box::new(ListInstrument {
            header: ClientHeader::default(),
            instrument: Instrument::plain(Name::new(name).unwrap()),
        }));
    }
    if random.random_range(0..4) == 0 {
        return Command::Cancel(Cancel {
            header,
            target: OrderTarget::Client(ClOrdId::new(random.random_range(1..=seq))),
        });
    }
    Command::NewOrder(NewOrder::limit(
        header,
        InstrumentId::new(random.random_range(0..2)),
        if random.random() {
            Side::Buy
        } else {
            Side::Sell
        },
        Price::from_ticks(random.random_range(90..110)),
        Qty::from_lots(random.random_range(1..20)),
    ))
}

/// The journal of this release: the same bytes on every machine and in every build.
fn generate() -> (MemoryStorage, String) {
    let disk = MemoryStorage::new();
    let config = Config {
        segment_bytes: 64 * 1024,
        segments_ahead: 1,
        identity: Some(Identity {
            cluster_id: *b"a golden journal",
            hash_seed: [9; 32],
        }),
        wall_clock: || Timestamp::from_nanos(1_700_000_000_000_000_000),
        ..Config::default()
    };
    let Opened {
        mut writer,
        mut syncer,
        mut preparer,
        ..
    } = Journal::open_on(Arc::new(disk.clone()), config).unwrap();
    let mut engine = Exchange::new(EngineConfig::default());
    let mut random = Pcg64Mcg::seed_from_u64(2026);
    let mut events: Vec<Event> = Vec::new();
    let mut payload = Vec::new();
    for number in 1..=COMMANDS {
        let sequenced = Sequenced {
            seq: Seq::new(number),
            time: Timestamp::from_nanos(1_700_000_000_000_000_000 + number * 1_000),
            command: command(number, &mut random),
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
        engine.apply(&sequenced, &mut events);
        if number % 512 == 0 {
            preparer.prepare_if_needed().unwrap();
            writer
                .append_state_hash(&engine.state_hash(), engine.events_digest())
                .unwrap();
            engine.restart_events_digest();
        }
        if number % 100 == 0 {
            writer.publish();
            syncer.sync_once().unwrap();
        }
    }
    writer.publish();
    syncer.finish().unwrap();
    (disk, tessera_journal::hex(&engine.state_hash()))
}

/// The segments of a disk as one file: name and length in a line, then the bytes.
fn pack(disk: &MemoryStorage) -> Vec<u8> {
    let mut out = Vec::new();
    for name in disk
        .file_names()
        .iter()
        .filter(|name| name.ends_with(".jnl"))
    {
        let bytes = disk.read_file(name).unwrap();
        writeln!(out, "{name} {}", bytes.len()).unwrap();
        out.extend_from_slice(&bytes);
    }
    out
}

fn unpack(mut packed: &[u8], into: &Path) {
    fs::create_dir_all(into).unwrap();
    while let Some(end) = packed.iter().position(|byte| *byte == b'\n') {
        let line = std::str::from_utf8(&packed[..end]).unwrap();
        let (name, len) = line.split_once(' ').unwrap();
        let (bytes, rest) = packed[end + 1..].split_at(len.parse().unwrap());
        fs::write(into.join(name), bytes).unwrap();
        packed = rest;
    }
}

fn read_packed(path: &Path) -> Vec<u8> {
    let mut packed = Vec::new();
    GzDecoder::new(fs::File::open(path).unwrap())
        .read_to_end(&mut packed)
        .unwrap();
    packed
}

fn file_of(format: u16) -> PathBuf {
    directory().join(format!("format-{format}.gz"))
}

#[test]
fn golden_journals_verify_and_replay_to_their_hashes() {
    let (disk, hash) = generate();
    let packed = pack(&disk);
    let hashes = directory().join("hashes.json");
    if std::env::var_os("TESSERA_GOLDEN").is_some_and(|word| word == "write") {
        fs::create_dir_all(directory()).unwrap();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&packed).unwrap();
        fs::write(file_of(FORMAT), encoder.finish().unwrap()).unwrap();
        let mut all: Value = fs::read_to_string(&hashes)
            .map_or_else(|_| json!({}), |text| serde_json::from_str(&text).unwrap());
        all[format!("format-{FORMAT}")] = json!({ "last_seq": COMMANDS, "state_hash": hash });
        fs::write(&hashes, format!("{all:#}\n")).unwrap();
    }
    let all: Value = serde_json::from_str(&fs::read_to_string(&hashes).unwrap()).unwrap();
    let all = all.as_object().unwrap();
    assert!(all.contains_key(&format!("format-{FORMAT}")));
    for (name, expected) in all {
        let dir = tempfile::tempdir().unwrap();
        let packed = read_packed(&directory().join(format!("{name}.gz")));
        unpack(&packed, dir.path());
        let verify = run(&["journal", "verify", "--data", text(dir.path()), "--json"]);
        assert_eq!(verify.status.code(), Some(0), "{name}: {}", stderr(&verify));
        let verify: Value = serde_json::from_str(&stdout(&verify)).unwrap();
        assert_eq!(verify["last_seq"], expected["last_seq"], "{name}");
        let replay = succeed(&["journal", "replay", "--data", text(dir.path()), "--json"]);
        let replay: Value = serde_json::from_str(&replay).unwrap();
        assert_eq!(replay["state_hash"], expected["state_hash"], "{name}");
        assert!(
            replay["state_hashes_checked"].as_u64() >= Some(5),
            "{replay}"
        );
    }
    // What this release writes is what it wrote when the file was made; a change is a new format.
    assert!(
        read_packed(&file_of(FORMAT)) == packed,
        "the bytes of a journal are not what they were: raise the format, keep the old file, and run \
         `cargo xtask golden`"
    );
}

#[test]
fn a_golden_journal_of_the_future_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    unpack(&read_packed(&file_of(FORMAT)), dir.path());
    let path = dir.path().join("00000000000000000001.jnl");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8..10].copy_from_slice(&(FORMAT + 1).to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..508]);
    bytes[508..512].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    for verb in ["verify", "dump", "replay", "stats"] {
        let output = run(&["journal", verb, "--data", text(dir.path())]);
        assert_eq!(output.status.code(), Some(1), "{verb}");
        let said = stderr(&output);
        let (theirs, ours) = (format!("format {}", FORMAT + 1), format!("format {FORMAT}"));
        assert!(
            said.contains(&theirs) && said.contains(&ours),
            "{verb}: {said}"
        );
    }
}
