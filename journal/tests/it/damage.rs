//! Flipped bits: every one is found, or lies where a crash may leave anything.

use tessera_journal::Verdict;
use tessera_journal::segment::WATERMARK_AT;
use tessera_journal::storage::memory::MemoryStorage;
use tessera_types::Seq;

use crate::bed::{Bed, FIRST, HEADER, SEGMENT_BYTES, verify};

#[test]
fn several_threads_find_what_one_finds() {
    let disk = crate::bed::written(200, 1000);
    let names: Vec<_> = disk
        .file_names()
        .into_iter()
        .filter(|name| name.ends_with(".jnl"))
        .collect();
    assert!(names.len() > 3, "{names:?}");
    let compare = |disk: &MemoryStorage, context: &str| {
        let scan = tessera_journal::Scan::on(std::sync::Arc::new(disk.clone()));
        let one = scan.verify().unwrap();
        let seen = std::sync::atomic::AtomicU64::new(0);
        let many = scan
            .verify_with(3, |_, _| {
                seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            })
            .unwrap();
        assert_eq!(format!("{one:?}"), format!("{many:?}"), "{context}");
        assert!(seen.into_inner() >= many.counts.records);
        one.verdict
    };
    assert_eq!(compare(&disk, "clean"), Verdict::Clean);
    let mut damaged = 0;
    for name in &names {
        // Headers, first records, records in the middle, zeros behind the end.
        for bit in [
            100,
            4096 * 8 + 40,
            4096 * 8 + 300,
            20_000 * 8,
            40_001 * 8,
            65_000 * 8,
        ] {
            disk.flip_bit(name, bit);
            damaged += u32::from(compare(&disk, name) == Verdict::Corrupt);
            disk.flip_bit(name, bit);
        }
    }
    assert!(damaged > 20, "{damaged}");
    for name in &names[1..] {
        let copy = disk.after_power_cut(4096, |_| true);
        copy.remove_file(name);
        compare(&copy, name);
    }
}

#[test]
fn every_bit_of_a_segment() {
    let disk = MemoryStorage::new();
    let mut bed = Bed::new(&disk);
    for seq in 0..60 {
        bed.append([20, 36, 100, 0][seq % 4]);
    }
    bed.commit();
    let synced = bed.last;
    let durable_offset = end_of(&disk);
    for seq in 0..12 {
        bed.append([20, 100, 36][seq % 3]);
    }
    bed.publish();
    let last = bed.last;
    drop(bed);
    let end = end_of(&disk);
    assert_eq!(verify(&disk).verdict, Verdict::Clean);

    let bits = usize::try_from(SEGMENT_BYTES).unwrap() * 8;
    for bit in 0..bits {
        let at = bit / 8;
        // Far behind the end all bytes are alike; one bit of each slot, a different one, is enough.
        if at > end + 4096 && bit % 512 != at / 64 % 512 {
            continue;
        }
        disk.flip_bit(FIRST, bit);
        let report = verify(&disk);
        let context = || format!("bit {bit} (byte {at}): {report:?}");
        if WATERMARK_AT
            .iter()
            .any(|slot| (*slot..slot + 64).contains(&at))
        {
            assert_eq!(report.verdict, Verdict::Clean, "{}", context());
        } else if at < durable_offset {
            assert_eq!(report.verdict, Verdict::Corrupt, "{}", context());
            assert!(report.last_seq <= Seq::new(synced), "{}", context());
        } else if at < end {
            // A length can become zero, or one that reaches into the zeros behind the end: both look
            // unfinished. Everything else is damage, and nothing passes as good.
            assert_ne!(report.verdict, Verdict::Clean, "{}", context());
            assert!(report.last_seq < Seq::new(last), "{}", context());
            assert!(
                report.verdict == Verdict::Corrupt || at % 64 < 4,
                "{}",
                context()
            );
        } else {
            // A length where the next record will be may make it a finished slot; all else is unfinished.
            let may_be_finished = at < end + 4 && report.verdict == Verdict::Corrupt;
            assert!(
                may_be_finished || report.verdict == Verdict::Torn,
                "{}",
                context()
            );
            assert_eq!(report.last_seq, Seq::new(last), "{}", context());
        }
        disk.flip_bit(FIRST, bit);
    }
    assert_eq!(verify(&disk).verdict, Verdict::Clean);
}

/// Offset behind the last slot that is not zero.
fn end_of(disk: &MemoryStorage) -> usize {
    let bytes = disk.read_file(FIRST).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    assert!(last >= HEADER);
    last / 64 * 64 + 64
}

#[test]
fn garbage_for_a_segment_is_never_read_as_one() {
    use rand::{Rng, SeedableRng};
    let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(3);
    let good = crate::bed::written(30, 50);
    let bytes = good.read_file(FIRST).unwrap();
    for round in 0..300 {
        let mut damaged = bytes.clone();
        // Random bytes over a random part, so that the walk meets them behind valid records too.
        let from = (random.next_u32() as usize) % damaged.len();
        let length = 1 + (random.next_u32() as usize) % 2000;
        let end = (from + length).min(damaged.len());
        random.fill_bytes(&mut damaged[from..end]);
        good.put_file(FIRST, damaged.clone());
        let report = verify(&good);
        if damaged != bytes {
            let in_marks = from >= 1024 && end <= 2048 + 64;
            assert!(
                report.verdict != Verdict::Clean || in_marks,
                "round {round}: {from}..{end}"
            );
        }
    }
}
