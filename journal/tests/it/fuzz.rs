//! Readers of the journal's bytes on arbitrary and damaged input: no panic, no hang, errors that print, and
//! whatever opens goes on and is clean afterwards.

use std::ops::ControlFlow;
use std::sync::Arc;

use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use tessera_journal::segment::{FileName, HEADER_BYTES, SegmentHeader, Watermark};
use tessera_journal::slot::{
    Commit, Head, MAX_PAYLOAD, MAX_SLOTS, SLOT_BYTES, copy_payload, record_crc, slots_for,
    stored_crc,
};
use tessera_journal::storage::memory::MemoryStorage;
use tessera_journal::{
    Archive, Body, Limit, Next, Retention, Scan, SnapshotMeta, Snapshots, Verdict, kind_name,
};
use tessera_types::{Seq, Timestamp};

use crate::bed::{Bed, FIRST, SEGMENT_BYTES, config, open, written};

/// Inputs per decoder in CI; `cargo xtask fuzz --count N` takes any number.
const COUNT: u64 = 100_000;

fn count(share: u64) -> u64 {
    let count = std::env::var("TESSERA_FUZZ_COUNT").map_or(COUNT, |text| text.parse().unwrap());
    (count / share).max(1)
}

/// Some of the bytes flipped, overwritten, swapped with others, cut off or repeated.
fn mutate(rng: &mut Pcg64Mcg, bytes: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..8) {
            0..4 => bytes[at] ^= 1 << rng.random_range(0..8),
            4 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
            5 => {
                let other = rng.random_range(0..bytes.len());
                bytes.swap(at, other);
            }
            6 => {
                let from = at / SLOT_BYTES * SLOT_BYTES;
                let to = (from + SLOT_BYTES * rng.random_range(1..4)).min(bytes.len());
                bytes[from..to].fill(0);
            }
            _ => bytes.truncate(at),
        }
    }
}

#[test]
fn slots() {
    let mut rng = Pcg64Mcg::seed_from_u64(11);
    let (mut finished, mut known) = (0, 0);
    let mut record = Vec::new();
    let mut payload = Vec::new();
    for _ in 0..count(1) {
        let mut first = [0; SLOT_BYTES];
        rng.fill_bytes(&mut first);
        // A possible length most of the time, else hardly anything would get past it.
        if rng.random_bool(0.8) {
            let len: u32 = match rng.random_range(0..8) {
                0 => rng.random_range(0..40_000),
                _ => rng.random_range(0..200),
            };
            first[..4].copy_from_slice(&len.to_le_bytes());
        }
        if rng.random_bool(0.5) {
            let sizes: [u32; 11] = [36, 36, 18, 13, 8, 32, 68, 24, 52, 33, 4];
            let kind = rng.random_range(0..sizes.len());
            first[..4].copy_from_slice(&(28 + sizes[kind]).to_le_bytes());
            first[4] = 0x80 + u8::try_from(kind).unwrap();
        }
        let Commit::Finished {
            payload_bytes,
            slots,
        } = Commit::of(&first)
        else {
            continue;
        };
        finished += 1;
        assert!(payload_bytes <= MAX_PAYLOAD && slots <= MAX_SLOTS);
        assert_eq!(slots, slots_for(payload_bytes));
        record.clear();
        record.resize(slots * SLOT_BYTES, 0);
        rng.fill_bytes(&mut record);
        record[..SLOT_BYTES].copy_from_slice(&first);
        let head = Head::decode(&first, payload_bytes);
        copy_payload(&record, payload_bytes, &mut payload);
        assert_eq!(payload.len(), payload_bytes);
        match Body::decode(head.kind, &payload) {
            Ok(Body::Command(bytes)) => assert_eq!(bytes, payload),
            Ok(body) => {
                known += 1;
                let mut again = vec![0; payload_bytes];
                assert_eq!(body.encode(&mut again), payload_bytes);
                assert_eq!(Body::decode(head.kind, &again), Ok(body));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        // What is written again has the same fields and a checksum of its own.
        let previous = rng.random();
        let crc = head.encode(&payload, previous, &mut record);
        assert_eq!(
            (crc, crc),
            (record_crc(previous, &record), stored_crc(&record))
        );
        let first: [u8; SLOT_BYTES] = record[..SLOT_BYTES].try_into().unwrap();
        assert_eq!(Head::decode(&first, payload_bytes), head);
    }
    println!("{finished} records, {known} of them the journal's own");
    assert!(finished > 0);
}

#[test]
fn headers_watermarks_and_names() {
    let mut rng = Pcg64Mcg::seed_from_u64(12);
    let disk = written(3, 36);
    let page = &disk.read_file(FIRST).unwrap()[..HEADER_BYTES];
    let header: [u8; 512] = page[..512].try_into().unwrap();
    let mark: [u8; SLOT_BYTES] = page[1024..1024 + SLOT_BYTES].try_into().unwrap();
    let names = [
        FIRST,
        "7.ready",
        "8.new",
        "LOCK",
        "snap",
        "18446744073709551615.ready",
    ];
    let (mut headers, mut marks) = (0, 0);
    for _ in 0..count(1) {
        let mut bytes = header;
        for _ in 0..rng.random_range(1..4) {
            bytes[rng.random_range(0..508)] = rng.random();
        }
        if rng.random_bool(0.9) {
            // As a header that was written so: what the checksum cannot see.
            let crc = crc32c::crc32c(&bytes[..508]);
            bytes[508..].copy_from_slice(&crc.to_le_bytes());
        }
        match SegmentHeader::decode(&bytes) {
            Ok(found) => {
                headers += 1;
                assert_eq!(SegmentHeader::decode(&found.encode()), Ok(found));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        let mut bytes = mark;
        bytes[rng.random_range(0..SLOT_BYTES)] = rng.random();
        if let Some(found) = Watermark::decode(&bytes) {
            marks += 1;
            assert_eq!(found.encode(), bytes);
        }
        let mut name = names[rng.random_range(0..names.len())].as_bytes().to_vec();
        mutate(&mut rng, &mut name);
        let name = String::from_utf8_lossy(&name);
        if let Ok(Some(FileName::Ready(no))) = FileName::parse(&name) {
            assert_eq!(name, format!("{no}.ready"));
        }
    }
    println!("{headers} headers and {marks} watermarks were taken");
    assert!(headers > 0 && marks > 0);
}

/// Records with right checksums that say anything: what the checksum cannot see must be seen behind it.
#[test]
fn forged_records() {
    let mut rng = Pcg64Mcg::seed_from_u64(13);
    let disk = written(40, 36);
    let clean = disk.read_file(FIRST).unwrap();
    let (mut good, mut refused) = (0, 0);
    for _ in 0..count(100) {
        let mut bytes = clean.clone();
        let header = SegmentHeader::decode(&bytes[..512].try_into().unwrap()).unwrap();
        // Follow the good records up to a random one, then go on with records of one's own.
        let (mut at, mut crc, mut seq) = (HEADER_BYTES, header.crc(), 0);
        for _ in 0..rng.random_range(0..60) {
            let first: [u8; SLOT_BYTES] = bytes[at..at + SLOT_BYTES].try_into().unwrap();
            let Commit::Finished { slots, .. } = Commit::of(&first) else {
                break;
            };
            crc = stored_crc(&first);
            seq = u64::from_le_bytes(first[8..16].try_into().unwrap());
            at += slots * SLOT_BYTES;
        }
        for _ in 0..rng.random_range(1..6) {
            let kind = match rng.random_range(0..4) {
                0 => rng.random(),
                1 => rng.random_range(1..0x80),
                _ => rng.random_range(0x80..0x8c),
            };
            let size = match kind_name(kind) {
                Some(_) => [4, 8, 13, 18, 24, 32, 33, 36, 52, 68][rng.random_range(0..10)],
                None => rng.random_range(0..120),
            };
            let mut payload = vec![0; size];
            if rng.random_bool(0.7) {
                rng.fill_bytes(&mut payload);
            }
            let head = Head {
                payload_bytes: size,
                kind,
                flags: u8::from(rng.random_bool(0.05)),
                epoch_low: [0, 1, 1, 1, 2][rng.random_range(0..5)],
                seq: Seq::new(seq + rng.random_range(0..3)),
                time: Timestamp::from_nanos(rng.random_range(0..1000)),
            };
            let end = at + slots_for(size) * SLOT_BYTES;
            crc = head.encode(&payload, crc, &mut bytes[at..end]);
            (at, seq) = (end, head.seq.get());
        }
        bytes[at..].fill(0);
        disk.put_file(FIRST, bytes);
        match look(&disk) {
            Some(Verdict::Clean) => good += 1,
            _ => refused += 1,
        }
    }
    println!("{good} clean, {refused} refused");
    assert!(refused > 0 && good > 0);
}

/// Every file of a data directory damaged in some way, and the start and every reader tried on it.
#[test]
fn recoveries() {
    let mut rng = Pcg64Mcg::seed_from_u64(14);
    let disk = whole_directory();
    let files: Vec<(String, Vec<u8>)> = disk
        .file_names()
        .into_iter()
        .map(|name| (name.clone(), disk.read_file(&name).unwrap()))
        .collect();
    assert!(files.len() > 8, "{:?}", disk.file_names());
    let (mut opened, mut refused) = (0, 0);
    for _ in 0..count(500) {
        let broken = MemoryStorage::new();
        let hit = rng.random_range(0..files.len());
        let other = rng.random_range(0..files.len());
        let how = rng.random_range(0..10);
        for (index, (name, bytes)) in files.iter().enumerate() {
            let mut bytes = bytes.clone();
            match how {
                // Missing, another one's content, nothing in it.
                0 if index == hit => continue,
                1 if index == hit => bytes.clone_from(&files[other].1),
                2 if index == hit => bytes.clear(),
                _ if index == hit => mutate(&mut rng, &mut bytes),
                _ => {}
            }
            broken.put_file(name, bytes);
        }
        look(&broken);
        match open(&broken, config()) {
            Ok(journal) => {
                opened += 1;
                let mut bed = Bed::from(journal);
                bed.append(50);
                bed.commit();
                bed.finish();
                // A start reads nothing of the archive, the tools do.
                let report = Scan::on(Arc::new(broken)).verify().unwrap();
                for finding in &report.findings {
                    let is_archived = finding.segment.starts_with("archive/");
                    assert!(is_archived, "{}, way {how}: {finding}", files[hit].0);
                }
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    println!("{opened} opened, {refused} refused");
    assert!(opened > 0 && refused > 0);
}

/// Live and archived segments, a spare one, snapshots, a discarded tail.
fn whole_directory() -> MemoryStorage {
    let disk = written(250, 1000);
    let storage = || Arc::new(disk.clone());
    let snapshots = Snapshots::on(storage());
    for seq in [100, 200] {
        let meta = SnapshotMeta {
            cluster_id: *b"a test's cluster",
            shard: 0,
            format: 2,
            engine_schema: 1,
            rules_version: 1,
            seq: Seq::new(seq),
            epoch: 1,
            time: Timestamp::from_nanos(seq * 10),
            chain: [0; 32],
            state_hash: [0; 32],
            events_digest: 0,
        };
        snapshots
            .write(&meta, &[(1, b"the state of an engine"), (2, &[5; 70_000])])
            .unwrap();
        snapshots
            .mark_verified(Seq::new(seq), Seq::new(seq))
            .unwrap();
    }
    let none_kept = Retention {
        segments: 1,
        age_ns: 0,
    };
    let retired = Archive::on(storage())
        .retire(none_kept, Seq::new(u64::MAX))
        .unwrap();
    assert!(!retired.is_empty());
    disk
}

/// Every reader there is, to its end; the verdict, where there is one.
fn look(disk: &MemoryStorage) -> Option<Verdict> {
    let storage = Arc::new(disk.clone());
    let scan = Scan::on(storage.clone());
    let report = scan.verify();
    let threads = scan.verify_with(3, |record, _| {
        let _ = record.body();
    });
    let mut records = 0;
    let read = scan.read(|record, _| {
        records += 1;
        let _ = record.body();
        if records < 300 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    let verdict = match (&report, &threads) {
        (Ok(report), Ok(threads)) => {
            assert_eq!(report.verdict, threads.verdict, "one thread and three");
            assert_eq!(report.findings, threads.findings, "one thread and three");
            for finding in &report.findings {
                assert!(!finding.to_string().is_empty());
            }
            Some(report.verdict)
        }
        (Err(one), Err(three)) => {
            assert_eq!(one.to_string(), three.to_string());
            None
        }
        (one, three) => panic!("{one:?} {three:?}"),
    };
    assert_eq!(read.is_ok(), report.is_ok());
    let _ = scan.extent();
    if let Ok(mut follower) = scan.follow(Some(Seq::new(1)), Limit::Good) {
        // A follower waits for ever at the end, so it is asked no more often than there are slots.
        for _ in 0..20 * SEGMENT_BYTES / SLOT_BYTES as u64 {
            if !matches!(follower.poll(), Ok(Next::Record(..))) {
                break;
            }
        }
    }
    let snapshots = Snapshots::on(storage.clone());
    if let Ok(list) = snapshots.list() {
        for entry in list {
            let _ = snapshots.read(entry.seq);
        }
    }
    let _ = Archive::on(storage).list();
    verdict
}
