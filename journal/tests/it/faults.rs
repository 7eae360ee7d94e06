//! Calls that fail: nothing is acknowledged after a failed sync, and nothing acknowledged before is lost.

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use rustix::io::Errno;
use tessera_journal::storage::memory::{Call, Fault, MemoryStorage};
use tessera_journal::{AppendError, Durability, SyncError};
use tessera_types::Seq;

use crate::bed::{Bed, open, recovers, scaled, verify, with};
use crate::power::work;

#[test]
fn every_call_failing_in_turn() {
    let mut cases = 0;
    for seed in 1..=scaled(1) {
        for mode in [Durability::Default, Durability::Strict] {
            cases += fail_every_call(seed, mode);
        }
    }
    eprintln!("{cases} failed calls");
    assert!(cases > 400, "{cases}");
}

fn fail_every_call(seed: u64, mode: Durability) -> u32 {
    let run = |disk: &MemoryStorage| work(disk, &mut Pcg64Mcg::seed_from_u64(seed), 120, mode);
    let calls = {
        let disk = MemoryStorage::new();
        run(&disk);
        disk.calls()
    };
    let mut cases = 0;
    for (at, call) in calls.iter().enumerate() {
        if *call == Call::Write && at % 5 != 0 {
            continue; // filling a segment is many equal writes
        }
        for fault in [
            Fault::Error(Errno::IO),
            Fault::Error(Errno::NOSPC),
            Fault::Error(Errno::INTR),
            Fault::ShortWrite(100),
        ] {
            if matches!(fault, Fault::ShortWrite(_)) && *call != Call::Write {
                continue;
            }
            let disk = MemoryStorage::new();
            disk.fail_at(at as u64 + 1, fault);
            let acknowledged = run(&disk);
            // The file system may have dropped the pages of a failed sync, so the harder continuation is
            // a power cut that keeps nothing.
            recovers(&disk.after_power_cut(4096, |_| false), acknowledged);
            recovers(&disk, acknowledged);
            cases += 1;
        }
    }
    cases
}

#[test]
fn a_failed_sync_is_the_end_in_every_mode() {
    for mode in [Durability::Default, Durability::Strict, Durability::Async] {
        let disk = MemoryStorage::new();
        let mut bed = Bed::with(&disk, with(mode));
        bed.append_many(3, 20);
        bed.commit();
        bed.append_many(3, 20);
        disk.fail_next(Call::SyncData, Fault::Error(Errno::IO));
        bed.publish();
        let before = bed.opened.status.durable();
        let error = bed.opened.syncer.sync_once().unwrap_err();
        assert!(
            matches!(&error, SyncError::Io { durable, .. } if *durable == Seq::new(3)),
            "{error}"
        );

        // From here on the disk works again, and it does not matter.
        let status = bed.opened.status.clone();
        assert!(status.is_poisoned());
        for _ in 0..3 {
            assert!(matches!(
                bed.opened.syncer.sync_once(),
                Err(SyncError::Poisoned)
            ));
            assert!(matches!(
                bed.opened.syncer.settle(),
                Err(SyncError::Poisoned)
            ));
            assert!(matches!(bed.try_append(10), Err(AppendError::Poisoned)));
            let own = bed.opened.writer.append_state_hash(&[0; 32], 0);
            assert!(matches!(own, Err(AppendError::Poisoned)));
            bed.publish();
            assert_eq!(
                (status.durable(), status.synced()),
                (before, Seq::new(3)),
                "{mode}"
            );
        }
        assert!(matches!(
            bed.opened.syncer.finish(),
            Err(SyncError::Poisoned)
        ));
    }
}

#[test]
fn the_second_sync_of_strict_mode_counts_too() {
    let disk = MemoryStorage::new();
    let mut bed = Bed::with(&disk, with(Durability::Strict));
    bed.append(20);
    bed.publish();
    // The next SyncData is the data's; fail the one behind it.
    let next = disk.calls().len() as u64 + 1;
    disk.fail_at(next + 1, Fault::Error(Errno::IO));
    bed.opened.syncer.sync_once().unwrap_err();
    assert_eq!(
        disk.calls()[usize::try_from(next).unwrap() - 1..],
        [Call::SyncData, Call::SyncData]
    );
    assert_eq!(bed.opened.status.durable(), Seq::ZERO);
    assert!(bed.opened.status.is_poisoned());
}

#[test]
fn the_border_between_segments_is_passed_only_when_all_of_it_is_on_disk() {
    // Old data, old watermark, directory, new data: whichever fails, durable stays before the border.
    for (call, skip) in [
        (Call::SyncData, 0),
        (Call::SyncData, 1),
        (Call::SyncDir, 0),
        (Call::SyncData, 2),
    ] {
        let disk = MemoryStorage::new();
        let mut bed = Bed::new(&disk);
        while bed.opened.status.rotations() < 2 {
            bed.append(1000);
            if bed.opened.status.rotations() < 2 {
                bed.commit();
            }
        }
        let before = bed.opened.status.durable();
        assert_eq!(before.get(), bed.last - 1);
        bed.publish();
        let made = disk.calls().len() as u64;
        // Old data, old watermark, directory, new data.
        let order = [
            Call::SyncData,
            Call::SyncData,
            Call::SyncDir,
            Call::SyncData,
        ];
        let at = order
            .iter()
            .enumerate()
            .filter(|(_, c)| **c == call)
            .nth(skip)
            .unwrap()
            .0;
        disk.fail_at(made + 1 + at as u64, Fault::Error(Errno::IO));
        bed.opened.syncer.sync_once().unwrap_err();
        assert_eq!(disk.calls()[usize::try_from(made).unwrap()..], order[..=at]);
        assert_eq!(bed.opened.status.durable(), before, "{call:?} {skip}");
        drop(bed);
        recovers(&disk.after_power_cut(4096, |_| false), before);
    }
}

#[test]
fn a_failed_rename_poisons() {
    let disk = MemoryStorage::new();
    let mut bed = Bed::new(&disk);
    bed.append(10);
    bed.opened.preparer.prepare_if_needed().unwrap();
    let acknowledged = bed.commit();
    disk.fail_next(Call::Rename, Fault::Error(Errno::IO));
    let error = loop {
        if let Err(error) = bed.try_append(1000) {
            break error;
        }
    };
    assert!(matches!(error, AppendError::Rename { .. }), "{error}");
    assert!(matches!(
        bed.opened.syncer.sync_once(),
        Err(SyncError::Poisoned)
    ));
    drop(bed);
    recovers(&disk, acknowledged);
}

#[test]
fn a_full_disk_hurts_only_the_next_segment() {
    let disk = MemoryStorage::new();
    let mut bed = Bed::new(&disk);
    bed.append(10);
    disk.fail_next(Call::Preallocate, Fault::Error(Errno::NOSPC));
    let error = bed.opened.preparer.prepare_if_needed().unwrap_err();
    assert!(error.to_string().contains("allocation of 1.new"), "{error}");
    assert!(bed.opened.status.prepare_error().is_some());
    assert!(
        !disk.file_names().contains(&"1.new".to_owned()),
        "its blocks are given back"
    );
    // The live segment goes on to its end.
    let error = loop {
        match bed.try_append(1000) {
            Ok(()) => _ = bed.commit(),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&error, AppendError::NoSegment(why) if why.contains("1.new")),
        "{error}"
    );
    assert!(!bed.opened.status.is_poisoned());
    let before = bed.last;
    // There is room again.
    assert!(bed.opened.preparer.prepare_if_needed().unwrap());
    bed.append(1000);
    assert_eq!(bed.opened.status.prepare_error(), None);
    assert_eq!(bed.commit().get(), before + 1);
    bed.finish();
    assert_eq!(verify(&disk).counts.commands, before + 1);
}

#[test]
fn a_changed_file_is_noticed() {
    let disk = MemoryStorage::new();
    let mut bed = Bed::new(&disk);
    bed.append(10);
    bed.commit();
    bed.opened.syncer.check_file().unwrap();
    disk.remove_file(crate::bed::FIRST);
    let error = bed.opened.syncer.check_file().unwrap_err();
    assert!(error.to_string().contains("removed or replaced"), "{error}");
    assert!(bed.opened.status.is_poisoned());
}

#[test]
fn a_second_opener_is_told_who_holds_the_lock() {
    let disk = MemoryStorage::new();
    let bed = Bed::new(&disk);
    let error = open(&disk, crate::bed::config()).err().unwrap().to_string();
    assert!(
        error.contains(&format!("pid={}", std::process::id())),
        "{error}"
    );
    assert!(error.contains("epoch=1"), "{error}");
    drop(bed);
    open(&disk, crate::bed::config()).unwrap();
}
