//! The decision table, row by row, on real journals.

use std::sync::Arc;

use tessera_journal::storage::memory::MemoryStorage;
use tessera_journal::{OpenError, Verdict};
use tessera_types::Seq;

use crate::bed::{Bed, FIRST, HEADER, open, recovers, verify};

/// A journal of which commands 1 to 5 are covered by the watermark on disk and 6 to 10 are not; each takes
/// one slot. The writer was killed.
fn half_synced() -> MemoryStorage {
    let disk = MemoryStorage::new();
    let mut bed = Bed::new(&disk);
    bed.append_many(5, 20);
    bed.commit();
    bed.append_many(5, 20);
    drop(bed);
    disk
}

/// Offset of the slot of a command: SegmentStart takes two slots, Format and Epoch one each.
fn slot_of(seq: usize) -> usize {
    HEADER + (3 + seq) * 64
}

fn edit(disk: &MemoryStorage, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = disk.read_file(name).unwrap();
    change(&mut bytes);
    disk.put_file(name, bytes);
}

/// Checks what a tool says and what a start does: they must agree.
fn check(disk: &MemoryStorage, verdict: Verdict, last: u64, what: &str) {
    let names = disk.file_names();
    let contents: Vec<_> = names.iter().map(|name| disk.read_file(name)).collect();
    let report = verify(disk);
    assert_eq!(report.verdict, verdict, "{what}: {:?}", report.findings);
    assert_eq!(report.last_seq, Seq::new(last), "{what}");
    assert_eq!(report.torn.is_some(), verdict == Verdict::Torn, "{what}");
    if verdict == Verdict::Corrupt {
        let Err(OpenError::Corrupt(corruption)) = open(disk, crate::bed::config()) else {
            panic!("{what}: opened");
        };
        assert_eq!(corruption.findings, report.findings, "{what}");
        assert_eq!(
            disk.file_names().len(),
            names.len(),
            "{what}: a corrupt journal is not changed"
        );
        for (name, content) in names.iter().zip(contents) {
            assert_eq!(
                disk.read_file(name),
                content,
                "{what}: a corrupt journal is not changed"
            );
        }
    } else {
        assert_eq!(recovers(disk, Seq::new(5)), last, "{what}");
        let kept = disk
            .file_names()
            .iter()
            .any(|name| name.starts_with("discard/"));
        assert_eq!(
            kept,
            verdict == Verdict::Torn,
            "{what}: {:?}",
            disk.file_names()
        );
    }
}

#[test]
fn all_zero_from_s_on() {
    check(&half_synced(), Verdict::Clean, 10, "a killed writer");
    let disk = half_synced();
    edit(&disk, FIRST, |bytes| bytes[slot_of(6)..].fill(0));
    check(
        &disk,
        Verdict::Clean,
        5,
        "everything above the watermark lost",
    );
    let disk = half_synced();
    edit(&disk, FIRST, |bytes| bytes[slot_of(5)..].fill(0));
    check(
        &disk,
        Verdict::Corrupt,
        4,
        "one record below the watermark lost",
    );
}

#[test]
fn a_hole_or_an_unfinished_slot() {
    let disk = half_synced();
    edit(&disk, FIRST, |bytes| bytes[slot_of(7)..slot_of(8)].fill(0));
    check(&disk, Verdict::Torn, 6, "a hole above the watermark");
    let disk = half_synced();
    edit(&disk, FIRST, |bytes| {
        bytes[slot_of(10)..slot_of(10) + 8].fill(0)
    });
    check(&disk, Verdict::Torn, 9, "the last slot unfinished");
    let disk = half_synced();
    edit(&disk, FIRST, |bytes| bytes[slot_of(3)..slot_of(4)].fill(0));
    check(&disk, Verdict::Corrupt, 2, "a hole below the watermark");
    let disk = half_synced();
    edit(&disk, FIRST, |bytes| {
        bytes[slot_of(5)..slot_of(5) + 8].fill(0)
    });
    check(
        &disk,
        Verdict::Corrupt,
        4,
        "an unfinished slot below the watermark",
    );
}

#[test]
fn an_unfinished_continuation_is_a_tear_above_the_watermark() {
    let disk = MemoryStorage::new();
    let mut bed = Bed::new(&disk);
    bed.append_many(5, 20);
    bed.commit();
    bed.append(200);
    drop(bed);
    edit(&disk, FIRST, |bytes| {
        bytes[slot_of(7)..slot_of(7) + 4].fill(0)
    });
    check(
        &disk,
        Verdict::Torn,
        5,
        "the mark of a continuation is missing",
    );
}

#[test]
fn a_finished_slot_with_a_bad_checksum_is_never_cut() {
    for (seq, last) in [(7, 6), (10, 9), (5, 4), (1, 0)] {
        let disk = half_synced();
        edit(&disk, FIRST, |bytes| bytes[slot_of(seq) + 30] ^= 4);
        check(&disk, Verdict::Corrupt, last, "a flipped bit");
        assert_eq!(verify(&disk).findings[0].kind.as_str(), "crc");
    }
}

#[test]
fn an_impossible_length_is_damage() {
    let disk = half_synced();
    edit(&disk, FIRST, |bytes| {
        bytes[slot_of(8)..slot_of(8) + 4].fill(0xff)
    });
    check(&disk, Verdict::Corrupt, 7, "length of 2^32 - 1");
}

#[test]
fn the_header_and_the_zeros_around_it() {
    for at in [0, 8, 100, 500, 510, 600, 1023, 1100, 4095] {
        let disk = half_synced();
        edit(&disk, FIRST, |bytes| bytes[at] ^= 0x10);
        check(
            &disk,
            Verdict::Corrupt,
            0,
            &format!("byte {at} of the first page"),
        );
        assert_eq!(verify(&disk).findings[0].kind.as_str(), "header");
    }
}

#[test]
fn watermark_slots() {
    for slots in [&[1024][..], &[2048]] {
        let disk = half_synced();
        edit(&disk, FIRST, |bytes| {
            slots.iter().for_each(|at| bytes[at + 9] ^= 1)
        });
        check(&disk, Verdict::Clean, 10, "one slot caught half written");
    }
    let disk = half_synced();
    edit(&disk, FIRST, |bytes| {
        [1024, 2048].iter().for_each(|at| bytes[at + 9] ^= 1)
    });
    check(&disk, Verdict::Corrupt, 10, "both slots bad");
    assert_eq!(verify(&disk).findings[0].kind.as_str(), "watermark");
}

#[test]
fn a_file_of_another_length() {
    for length in [0, 100, 4095, 4096, 65_535, 65_537, 131_072] {
        let disk = half_synced();
        edit(&disk, FIRST, |bytes| bytes.resize(length, 0));
        check(&disk, Verdict::Corrupt, 0, &format!("{length} bytes"));
        assert_eq!(verify(&disk).findings[0].kind.as_str(), "length");
    }
}

/// A journal of four segments, killed in the last.
fn four_segments() -> (MemoryStorage, Vec<String>) {
    let disk = MemoryStorage::new();
    let mut bed = Bed::new(&disk);
    while bed.opened.status.rotations() < 4 {
        bed.append(1000);
        bed.commit();
    }
    bed.append_many(3, 10);
    bed.commit();
    drop(bed);
    let names: Vec<_> = disk
        .file_names()
        .into_iter()
        .filter(|name| name.ends_with(".jnl"))
        .collect();
    assert_eq!(names.len(), 4);
    (disk, names)
}

#[test]
fn segments_missing_swapped_doubled_and_foreign() {
    let kind = |disk: &MemoryStorage| verify(disk).findings[0].kind.as_str();

    for missing in 0..4 {
        let (disk, names) = four_segments();
        disk.remove_file(&names[missing]);
        let report = verify(&disk);
        assert_eq!(
            report.verdict,
            Verdict::Corrupt,
            "segment {missing} missing"
        );
        assert_eq!(
            report.findings[0].kind.as_str(),
            "missing_segment",
            "{:?}",
            report.findings
        );
        assert!(matches!(
            open(&disk, crate::bed::config()),
            Err(OpenError::Corrupt(_))
        ));
    }

    let (disk, names) = four_segments();
    let (one, two) = (
        disk.read_file(&names[1]).unwrap(),
        disk.read_file(&names[2]).unwrap(),
    );
    disk.put_file(&names[1], two.clone());
    disk.put_file(&names[2], one);
    check(
        &disk,
        Verdict::Corrupt,
        verify(&disk).last_seq.get(),
        "swapped",
    );
    assert_eq!(kind(&disk), "order");

    let (disk, names) = four_segments();
    disk.put_file(
        "00000000000000009999.jnl",
        disk.read_file(&names[3]).unwrap(),
    );
    check(
        &disk,
        Verdict::Corrupt,
        verify(&disk).last_seq.get(),
        "doubled",
    );
    assert_eq!(kind(&disk), "order");

    let (disk, names) = four_segments();
    disk.put_file(
        "00000000000000009999.jnl",
        disk.read_file(&names[3]).unwrap(),
    );
    disk.remove_file(&names[3]);
    assert_eq!(kind(&disk), "name", "the right segment under a wrong name");

    let (disk, names) = four_segments();
    let other = MemoryStorage::new();
    let identity = tessera_journal::Identity {
        cluster_id: [9; 16],
        hash_seed: [9; 32],
    };
    let config = tessera_journal::Config {
        identity: Some(identity),
        ..crate::bed::config()
    };
    let mut bed = Bed::with(&other, config);
    while bed.opened.status.rotations() < 4 {
        bed.append(1000);
        bed.commit();
    }
    drop(bed);
    disk.put_file(&names[2], other.read_file(&names[2]).unwrap());
    check(
        &disk,
        Verdict::Corrupt,
        verify(&disk).last_seq.get(),
        "foreign",
    );
    assert_eq!(kind(&disk), "header");

    let (disk, _) = four_segments();
    disk.put_file("7.jnl", vec![0; 65_536]);
    assert_eq!(kind(&disk), "name");
}

#[test]
fn a_newer_format_is_refused_with_both_versions() {
    let disk = half_synced();
    edit(&disk, FIRST, |bytes| {
        bytes[8] = 3;
        let crc = crc32c::crc32c(&bytes[..508]);
        bytes[508..512].copy_from_slice(&crc.to_le_bytes());
    });
    let before = disk.read_file(FIRST);
    let error = open(&disk, crate::bed::config()).err().unwrap().to_string();
    assert!(
        error.contains("format 3") && error.contains("format 2"),
        "{error}"
    );
    let error = tessera_journal::Scan::on(Arc::new(disk.clone()))
        .verify()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("format 3") && error.contains("format 2"),
        "{error}"
    );
    assert_eq!(disk.read_file(FIRST), before);
}

#[test]
fn edits_with_repaired_checksums_are_found_by_the_chain() {
    // A full block, then one byte changed and every checksum behind it repaired.
    let disk = MemoryStorage::new();
    let config = tessera_journal::Config {
        segment_bytes: 1 << 20,
        ..crate::bed::config()
    };
    let mut bed = Bed::with(&disk, config);
    bed.append_many(1500, 20);
    bed.commit();
    drop(bed);
    edit(&disk, FIRST, |bytes| {
        let mut previous = tessera_journal::slot::stored_crc(&bytes[slot_of(699)..]);
        bytes[slot_of(700) + 24] ^= 1;
        for slot in 700..=1500 {
            let at = slot_of(slot) + if slot > 1021 { 64 } else { 0 };
            let record = &mut bytes[at..at + 64];
            let crc = tessera_journal::slot::record_crc(previous, record);
            record[60..].copy_from_slice(&crc.to_le_bytes());
            previous = crc;
            if slot == 1021 {
                // The Checkpoint stands behind the 1,021st command.
                let record = &mut bytes[at + 64..at + 128];
                assert_eq!(record[4], tessera_journal::kind::CHECKPOINT);
                previous = tessera_journal::slot::record_crc(previous, record);
                record[60..].copy_from_slice(&previous.to_le_bytes());
            }
        }
    });
    let report = verify(&disk);
    assert_eq!(report.verdict, Verdict::Corrupt);
    assert!(!report.chain_ok);
    assert_eq!(report.findings[0].kind.as_str(), "chain");
    assert_eq!(report.last_seq, Seq::new(1021));
}

#[test]
fn a_torn_tail_takes_the_following_segment_with_it() {
    let disk = MemoryStorage::new();
    let mut bed = Bed::new(&disk);
    while bed.opened.status.rotations() < 2 {
        bed.append(1000);
        bed.commit();
    }
    let border = bed.last; // the first command of the second segment
    bed.append_many(5, 10);
    bed.publish();
    drop(bed);
    let names: Vec<_> = disk
        .file_names()
        .into_iter()
        .filter(|name| name.ends_with(".jnl"))
        .collect();
    // Nothing of the second segment was synced, and the end of the first one was lost.
    edit(&disk, &names[1], |bytes| {
        for (at, generation) in [(1024, 0), (2048, 1)] {
            let mark = tessera_journal::segment::Watermark {
                generation,
                ..Default::default()
            };
            bytes[at..at + 64].copy_from_slice(&mark.encode());
        }
    });
    let first = disk.read_file(FIRST).unwrap();
    let marks = [1024, 2048].map(|at| {
        tessera_journal::segment::Watermark::decode(first[at..at + 64].try_into().unwrap()).unwrap()
    });
    let last = marks.iter().map(|mark| mark.generation).max().unwrap();
    edit(&disk, FIRST, |bytes| {
        // Back to a watermark before the last group, which ends with the SegmentEnd.
        let old = *marks.iter().find(|mark| mark.generation != last).unwrap();
        let mark = tessera_journal::segment::Watermark {
            generation: last,
            ..old
        };
        let at = tessera_journal::segment::Watermark::slot_offset(last);
        bytes[at..at + 64].copy_from_slice(&mark.encode());
        let end = usize::try_from(old.durable_offset).unwrap();
        bytes[end..].fill(0);
    });
    // LIVE knows that the second segment was synced, so that is damage; without LIVE it is a legal tear.
    assert_eq!(verify(&disk).verdict, Verdict::Corrupt);
    disk.remove_file("LIVE");
    let report = verify(&disk);
    assert_eq!(report.verdict, Verdict::Torn, "{:?}", report.findings);
    assert_eq!(
        (report.last_seq.get(), report.torn.unwrap().seq.get()),
        (border - 1, border)
    );
    assert_eq!(recovers(&disk, Seq::new(border - 1)), border - 1);
    let kept = disk
        .file_names()
        .into_iter()
        .filter(|name| name.starts_with("discard/"));
    assert_eq!(
        kept.collect::<Vec<_>>(),
        [format!("discard/{border}-2-1.bin")]
    );
}
