//! Power cuts: whatever subset of the pages that were not synced survives, every command whose sync had
//! returned is found again, and nothing else than a prefix of what was written.

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tessera_journal::storage::memory::{Call, Fault, MemoryStorage, Unsynced};
use tessera_journal::{Durability, Verdict};
use tessera_types::Seq;

use crate::bed::{Bed, FIRST, config, open, recovers, scaled, verify, with};

/// Appends, publishes and commits by chance until an error or the end; returns what was acknowledged.
pub(crate) fn work(
    disk: &MemoryStorage,
    random: &mut impl Rng,
    steps: u32,
    mode: Durability,
) -> Seq {
    let Ok(opened) = open(disk, with(mode)) else {
        return Seq::ZERO;
    };
    let mut bed = Bed::from(opened);
    for _ in 0..steps {
        let done = match random.random_range(0..10) {
            0 => bed
                .opened
                .preparer
                .prepare_if_needed()
                .map(|_| ())
                .map_err(|e| e.to_string()),
            1..=2 => {
                bed.publish();
                bed.opened
                    .syncer
                    .sync_once()
                    .map(|_| ())
                    .map_err(|e| e.to_string())
            }
            3 => bed
                .try_append(random.random_range(2000..9000))
                .map_err(|e| e.to_string()),
            _ => bed
                .try_append(random.random_range(0..300))
                .map_err(|e| e.to_string()),
        };
        if done.is_err() {
            // The process ends; whatever was acknowledged until now counts.
            return bed.opened.status.durable();
        }
    }
    bed.opened.status.durable()
}

#[test]
fn a_cut_at_any_call_keeps_what_was_acknowledged() {
    let mut cuts = 0;
    for seed in 0..scaled(10) {
        let calls = {
            let disk = MemoryStorage::new();
            work(
                &disk,
                &mut Pcg64Mcg::seed_from_u64(seed),
                150,
                Durability::Default,
            );
            disk.calls()
        };
        // Filling a segment is many equal writes; one in eight of those is enough.
        let interesting = |at: &usize| calls[*at] != Call::Write || at.is_multiple_of(8);
        for at in (0..calls.len()).filter(interesting).step_by(2) {
            let disk = MemoryStorage::new();
            disk.fail_at(at as u64 + 1, Fault::PowerCut);
            let acknowledged = work(
                &disk,
                &mut Pcg64Mcg::seed_from_u64(seed),
                150,
                Durability::Default,
            );
            let mut random = Pcg64Mcg::seed_from_u64(seed << 32 | at as u64);
            let unit = if random.random() { 512 } else { 4096 };
            let chance = [0.0, 0.5, 0.9, 1.0][random.random_range(0..4)];
            let next = disk.after_power_cut(unit, |_| random.random_bool(chance));
            recovers(&next, acknowledged);
            cuts += 1;
        }
    }
    eprintln!("{cuts} power cuts");
    assert!(cuts > 300, "{cuts}");
}

#[test]
fn a_second_cut_during_recovery_loses_nothing_either() {
    for seed in 0..scaled(60) {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let disk = MemoryStorage::new();
        let acknowledged = work(&disk, &mut random, 200, Durability::Default);
        let torn = disk.after_power_cut(512, |_| random.random());
        let calls = {
            let copy = torn.after_power_cut(4096, |_| true);
            drop(open(&copy, config()));
            copy.calls().len() as u64
        };
        torn.fail_at(random.random_range(1..=calls), Fault::PowerCut);
        assert!(
            open(&torn, config()).is_err(),
            "the power went during the start"
        );
        let next = torn.after_power_cut(512, |_| random.random());
        recovers(&next, acknowledged);
    }
}

#[test]
fn every_subset_of_the_sectors_of_a_tail() {
    let mut cases = 0;
    let mut torn = 0;
    for tail in [
        &[20_usize; 50][..],
        &[100; 17],
        &[0, 2600, 0],
        &[37; 25],
        &[500, 36, 500, 36, 900],
        &[20, 20, 100, 20, 3000],
    ] {
        let disk = MemoryStorage::new();
        let mut bed = Bed::new(&disk);
        bed.append_many(3, 20);
        let acknowledged = bed.commit();
        tail.iter().for_each(|bytes| bed.append(*bytes));
        bed.publish();
        let mut units = Vec::new();
        let _ = disk.after_power_cut(512, |unit| {
            if let Unsynced::Page {
                file: FIRST,
                offset,
            } = unit
            {
                units.push(offset);
            }
            true
        });
        assert!((4..=9).contains(&units.len()), "{units:?}");
        for subset in 0..1_u32 << units.len() {
            let next = disk.after_power_cut(512, |unit| match unit {
                Unsynced::Page {
                    file: FIRST,
                    offset,
                } => subset & 1 << units.iter().position(|unit| *unit == offset).unwrap() != 0,
                _ => true,
            });
            let report = verify(&next);
            assert_ne!(report.verdict, Verdict::Corrupt, "{:?}", report.findings);
            assert!(report.last_seq >= acknowledged);
            torn += u32::from(report.verdict == Verdict::Torn);
            if subset % 4 == 0 {
                assert_eq!(recovers(&next, acknowledged), report.last_seq.get());
            }
            cases += 1;
        }
    }
    eprintln!("{cases} tails, {torn} torn");
    assert!(cases > 500 && torn > cases / 2, "{torn} torn of {cases}");
}

#[test]
fn every_subset_of_ten_pages() {
    let disk = MemoryStorage::new();
    let mut bed = Bed::new(&disk);
    bed.append_many(2, 20);
    let acknowledged = bed.commit();
    bed.append_many(8, 4000);
    bed.publish();
    let mut pages = Vec::new();
    let _ = disk.after_power_cut(4096, |unit| {
        if let Unsynced::Page {
            file: FIRST,
            offset,
        } = unit
        {
            pages.push(offset);
        }
        true
    });
    assert!((9..=12).contains(&pages.len()), "{pages:?}");
    for subset in 0..1_u32 << pages.len() {
        let next = disk.after_power_cut(4096, |unit| match unit {
            Unsynced::Page {
                file: FIRST,
                offset,
            } => subset & 1 << pages.iter().position(|page| *page == offset).unwrap() != 0,
            _ => true,
        });
        let report = verify(&next);
        assert_ne!(report.verdict, Verdict::Corrupt, "{:?}", report.findings);
        assert!(report.last_seq >= acknowledged);
    }
}

#[test]
fn in_strict_mode_the_watermark_on_disk_vouches_for_every_acknowledgement() {
    for seed in 0..scaled(40) {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let disk = MemoryStorage::new();
        let acknowledged = work(&disk, &mut random, 150, Durability::Strict);
        let next = disk.after_power_cut(4096, |_| random.random());
        assert!(verify(&next).watermark_seq >= acknowledged, "seed {seed}");
        recovers(&next, acknowledged);
    }
}

#[test]
fn async_mode_may_lose_the_tail_and_says_so() {
    let disk = MemoryStorage::new();
    let mut bed = Bed::with(&disk, with(Durability::Async));
    bed.append_many(5, 20);
    bed.commit();
    bed.append_many(5, 20);
    bed.publish();
    assert_eq!(
        bed.opened.status.durable(),
        Seq::new(10),
        "acknowledged before any sync"
    );
    let next = disk.after_power_cut(4096, |_| false);
    assert_eq!(
        recovers(&next, Seq::new(5)),
        5,
        "only what was synced is promised"
    );
}
