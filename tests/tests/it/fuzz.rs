//! Decoders of outside bytes on random and mutated input: no panic, no hang, and errors that print.

use std::sync::Arc;

use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use tessera_journal::storage::memory::MemoryStorage;
use tessera_journal::{Config, Journal, Scan};
use tessera_proto::{Framer, Message};

use tessera_types::{Seq, Timestamp, wire};

/// Inputs per decoder in CI; `cargo xtask fuzz --count N` takes any number.
const COUNT: u64 = 100_000;

fn count(share: u64) -> u64 {
    let count = match std::env::var("TESSERA_FUZZ_COUNT") {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("TESSERA_FUZZ_COUNT={text}")),
        Err(_) => COUNT,
    };
    (count / share).max(1)
}

/// Flips, overwrites, cuts or repeats some of the bytes.
fn mutate(rng: &mut Pcg64Mcg, bytes: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..4) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
            2 => bytes.truncate(at),
            _ => bytes.insert(at, rng.random()),
        }
    }
}

#[test]
fn journal_payloads() {
    let mut rng = Pcg64Mcg::seed_from_u64(1);
    let mut bytes = Vec::new();
    let mut decoded = 0;
    for _ in 0..count(1) {
        let kind = rng.random_range(0..0x30);
        bytes.resize(rng.random_range(0..160), 0);
        rng.fill_bytes(&mut bytes);
        // Small numbers make codes and lengths plausible.
        for byte in &mut bytes {
            if *byte > 0x40 {
                *byte = 0;
            }
        }
        match wire::decode_command(kind, Timestamp::from_nanos(1 << 50), &bytes) {
            Ok(command) => {
                decoded += 1;
                let mut again = Vec::new();
                let time = Timestamp::from_nanos(1 << 50);
                let kind = wire::encode_command(&command, time, &mut again).unwrap();
                assert_eq!(wire::decode_command(kind, time, &again).unwrap(), command);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    println!("{decoded} decoded");
}

#[test]
fn client_streams() {
    let mut rng = Pcg64Mcg::seed_from_u64(2);
    let mut frames = 0;
    for _ in 0..count(1) {
        let mut framer = Framer::new(1_024);
        let mut bytes = vec![0; rng.random_range(0..200)];
        rng.fill_bytes(&mut bytes);
        if bytes.len() >= 16 {
            // A plausible header, so that the bodies are reached.
            let len = u16::try_from(rng.random_range(0..=bytes.len() - 16)).unwrap();
            bytes[..2].copy_from_slice(&len.to_le_bytes());
            let template: u16 = rng.random_range(0..110);
            bytes[2..4].copy_from_slice(&template.to_le_bytes());
            bytes[4] = rng.random_range(0..2);
            bytes[5..8].fill(0);
        }
        let mut input = &bytes[..];
        while let Ok(Some(frame)) = framer.next_frame(&mut input) {
            frames += 1;
            if let Err(error) = Message::decode(&frame.header, frame.body) {
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(frames > 0);
}

#[test]
fn journals() {
    let mut rng = Pcg64Mcg::seed_from_u64(3);
    let disk = MemoryStorage::new();
    let config = Config {
        segment_bytes: 64 * 1024,
        ..Config::default()
    };
    let mut opened = Journal::open_on(Arc::new(disk.clone()), config).unwrap();
    for seq in 1..=400 {
        let payload = vec![u8::try_from(seq % 251).unwrap(); usize::try_from(seq % 130).unwrap()];
        opened
            .writer
            .append(Seq::new(seq), Timestamp::from_nanos(seq), 0x01, &payload)
            .unwrap();
        opened.writer.publish();
        opened.syncer.sync_once().unwrap();
    }
    let name = disk
        .file_names()
        .into_iter()
        .find(|name| name.ends_with(".jnl"))
        .unwrap();
    let clean = disk.read_file(&name).unwrap();
    for _ in 0..count(1_000) {
        let broken = MemoryStorage::new();
        let mut bytes = clean.clone();
        mutate(&mut rng, &mut bytes);
        broken.put_file(&name, bytes);
        match Scan::on(Arc::new(broken)).verify() {
            Ok(report) => assert!(!format!("{:?}", report.verdict).is_empty()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

#[test]
fn order_scripts_and_catalogues() {
    let mut rng = Pcg64Mcg::seed_from_u64(4);
    let script =
        br#"{"op":"new","id":3,"party":"fund","side":"buy","price":251,"qty":12,"t":1000}"#;
    let catalogue = include_bytes!("../../../tools/catalogue/default.toml");
    for _ in 0..count(4) {
        let mut bytes = script.to_vec();
        mutate(&mut rng, &mut bytes);
        let _ = tessera::script::parse_line(&bytes);
    }
    for _ in 0..count(1_000) {
        let mut bytes = catalogue.to_vec();
        mutate(&mut rng, &mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        if let Err(error) = tessera::catalogue::parse(&text, "mutated.toml") {
            assert!(error.to_string().starts_with("mutated.toml:"), "{error}");
        }
    }
}
