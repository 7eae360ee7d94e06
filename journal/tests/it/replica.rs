//! What a replicated log needs of a journal: groups with a term, a commit cursor from outside, and the
//! truncation of what was never committed.

use std::sync::Arc;

use rustix::io::Errno;
use tessera_journal::storage::Storage;
use tessera_journal::storage::memory::{Fault, MemoryStorage};
use tessera_journal::{
    AppendError, CommitRule, Config, Durability, Journal, TruncateError, Verdict,
};
use tessera_types::Seq;

use crate::bed::{Bed, config, open, replayed, verify};

fn external() -> Config {
    Config {
        commit: CommitRule::External,
        ..config()
    }
}

fn storage(disk: &MemoryStorage) -> Arc<dyn Storage> {
    Arc::new(disk.clone())
}

/// Appends a group of `count` commands.
fn group(bed: &mut Bed, term: u64, index: u64, count: u64, bytes: usize) {
    loop {
        match bed.opened.writer.begin_group(term, index) {
            Err(error) if error.is_stall() => {
                bed.opened.preparer.prepare_if_needed().unwrap();
            }
            result => break result.unwrap(),
        }
    }
    bed.append_many(count, bytes);
    bed.commit();
}

/// Three groups of ten in term 1, two of ten in term 2.
fn grouped(bytes: usize) -> MemoryStorage {
    let disk = MemoryStorage::new();
    let mut bed = Bed::with(&disk, external());
    bed.opened.writer.begin_term(1).unwrap();
    for index in 1..=3 {
        group(&mut bed, 1, index, 10, bytes);
    }
    bed.opened.writer.begin_term(2).unwrap();
    for index in 4..=5 {
        group(&mut bed, 2, index, 10, bytes);
    }
    bed.finish();
    disk
}

#[test]
fn durable_moves_by_the_cursor_alone() {
    for mode in [Durability::Default, Durability::Strict, Durability::Async] {
        let disk = MemoryStorage::new();
        let mut bed = Bed::with(
            &disk,
            Config {
                durability: mode,
                ..external()
            },
        );
        bed.opened.writer.begin_term(1).unwrap();
        group(&mut bed, 1, 1, 5, 20);
        let status = bed.opened.status.clone();
        assert_eq!(
            (status.synced().get(), status.durable().get()),
            (5, 0),
            "{mode}"
        );
        let cursor = bed.opened.commit.clone().unwrap();
        assert_eq!(cursor.advance(Seq::new(3)).get(), 3);
        assert_eq!(cursor.advance(Seq::new(2)).get(), 3, "it never falls");
        assert_eq!(
            cursor.advance(Seq::new(9)).get(),
            5,
            "nor passes what is there"
        );
        assert_eq!(status.durable().get(), 5);
        assert_eq!(status.epoch(), 1);
    }
    assert!(Bed::new(&MemoryStorage::new()).opened.commit.is_none());
}

#[test]
fn terms_rise_and_groups_carry_the_one_in_force() {
    let disk = MemoryStorage::new();
    let mut bed = Bed::with(&disk, external());
    let term = |result: Result<(), AppendError>| matches!(result, Err(AppendError::Term { .. }));
    assert!(term(bed.opened.writer.begin_group(1, 1)));
    bed.opened.writer.begin_term(3).unwrap();
    assert!(term(bed.opened.writer.begin_term(3)));
    assert!(term(bed.opened.writer.begin_group(2, 1)));
    group(&mut bed, 3, 1, 2, 20);
    bed.finish();
    assert_eq!(verify(&disk).epoch, 3);
    // A start in between begins no term.
    let bed = Bed::with(&disk, external());
    assert_eq!(bed.opened.report.epoch, 3);
    bed.finish();
    assert_eq!(verify(&disk).epoch, 3);
}

#[test]
fn a_suffix_is_cut_at_the_border_of_a_group_and_nowhere_else() {
    for bytes in [20, 3000] {
        for keep in [10, 20, 30, 40, 50] {
            let disk = grouped(bytes);
            let before = verify(&disk).segments.len();
            assert_eq!(before > 1, bytes == 3000);
            let (keep, committed) = (Seq::new(keep), Seq::new(10));
            let cut = Journal::truncate_on(&storage(&disk), keep, committed).unwrap();
            assert_eq!(cut.last_seq, keep);
            assert_eq!(cut.slots > 0, keep.get() < 50);
            let report = verify(&disk);
            assert_eq!(
                report.verdict,
                Verdict::Clean,
                "{keep}: {:?}",
                report.findings
            );
            assert_eq!((report.last_seq, report.watermark_seq), (keep, keep));
            // Again is no harm, and it goes on.
            Journal::truncate_on(&storage(&disk), keep, committed).unwrap();
            let mut bed = Bed::with(&disk, external());
            assert_eq!(replayed(&bed.opened).len() as u64, keep.get());
            bed.opened.writer.begin_term(7).unwrap();
            group(&mut bed, 7, 9, 40, bytes);
            bed.finish();
            assert_eq!(verify(&disk).verdict, Verdict::Clean);
            assert_eq!(verify(&disk).last_seq.get(), keep.get() + 40);
        }
    }
    let disk = grouped(20);
    let inside = Journal::truncate_on(&storage(&disk), Seq::new(25), Seq::ZERO).unwrap_err();
    assert!(
        matches!(inside, TruncateError::NoBorder { before, after, .. }
            if (before.get(), after.get()) == (20, 30)),
        "{inside}"
    );
    let committed = Journal::truncate_on(&storage(&disk), Seq::new(20), Seq::new(30)).unwrap_err();
    assert!(
        matches!(committed, TruncateError::Committed { .. }),
        "{committed}"
    );
    let bed = Bed::with(&disk, external());
    let held = Journal::truncate_on(&storage(&disk), Seq::new(20), Seq::ZERO).unwrap_err();
    assert!(matches!(held, TruncateError::Locked { .. }), "{held}");
    drop(bed);
    assert_eq!(
        verify(&disk).last_seq.get(),
        50,
        "none of these changed anything"
    );
}

#[test]
fn a_cut_between_two_records_of_a_full_block_leaves_its_checkpoint_to_the_next_start() {
    // 1,024 records, then the Checkpoint, then more: cut just the Checkpoint and what follows.
    let large = |config| Config {
        segment_bytes: 256 * 1024,
        ..config
    };
    let disk = MemoryStorage::new();
    let mut bed = Bed::with(&disk, large(external()));
    bed.opened.writer.begin_term(1).unwrap();
    // SegmentStart, Format, Epoch and Batch are records too.
    group(&mut bed, 1, 1, 1020, 10);
    group(&mut bed, 1, 2, 5, 10);
    bed.finish();
    Journal::truncate_on(&storage(&disk), Seq::new(1020), Seq::ZERO).unwrap();
    let mut bed = Bed::with(&disk, external());
    group(&mut bed, 1, 3, 5, 10);
    bed.finish();
    let report = verify(&disk);
    assert_eq!(
        (report.verdict, report.last_seq.get()),
        (Verdict::Clean, 1025),
        "{:?}",
        report.findings
    );

    // The same by a power cut that keeps all pages but the last.
    let disk = MemoryStorage::new();
    let mut bed = Bed::with(&disk, large(config()));
    bed.append_many(1030, 10);
    bed.commit();
    let whole = disk.read_file(crate::bed::FIRST).unwrap();
    let checkpoint = (4096..whole.len())
        .step_by(64)
        .find(|at| whole[at + 4] == 0x80)
        .unwrap();
    drop(bed);
    let torn = disk.after_power_cut(4096, |_| true);
    torn.remove_file("LIVE");
    let mut bytes = torn.read_file(crate::bed::FIRST).unwrap();
    bytes[checkpoint..].fill(0);
    // The watermark of the start before, as if the last group had not been synced.
    bytes[1024..1088].copy_from_slice(&tessera_journal::segment::Watermark::default().encode());
    bytes[2048..2112].copy_from_slice(
        &tessera_journal::segment::Watermark {
            generation: 1,
            ..Default::default()
        }
        .encode(),
    );
    torn.put_file(crate::bed::FIRST, bytes);
    assert_eq!(verify(&torn).verdict, Verdict::Clean);
    assert!(crate::bed::recovers(&torn, Seq::ZERO) >= 1019);
}

#[test]
fn whichever_call_of_a_truncation_fails_what_is_committed_stays() {
    let (first, last) = {
        let disk = grouped(3000);
        let first = disk.calls().len();
        Journal::truncate_on(&storage(&disk), Seq::new(20), Seq::new(20)).unwrap();
        (first, disk.calls().len())
    };
    let mut cases = 0;
    for call in first + 1..=last {
        for fault in [
            Fault::Error(Errno::IO),
            Fault::Error(Errno::NOSPC),
            Fault::ShortWrite(100),
            Fault::PowerCut,
        ] {
            let disk = grouped(3000);
            disk.fail_at(call as u64, fault);
            let _ = Journal::truncate_on(&storage(&disk), Seq::new(20), Seq::new(20));
            let mut seed = call as u64;
            for keep in 0..4 {
                // None, all, and two different halves of the pages.
                let after = disk.after_power_cut(512, |_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    keep == 1 || keep > 1 && seed >> 63 == 1
                });
                let report = verify(&after);
                assert_ne!(
                    report.verdict,
                    Verdict::Corrupt,
                    "call {call} {fault:?} {keep}: {:?}",
                    report.findings
                );
                assert!(report.last_seq >= Seq::new(20));
                // A start cuts what is torn; then the truncation is done again.
                drop(open(&after, external()).unwrap());
                let done = Journal::truncate_on(&storage(&after), Seq::new(20), Seq::new(20));
                assert_eq!(done.unwrap().last_seq.get(), 20);
                assert_eq!(verify(&after).last_seq.get(), 20);
                cases += 1;
            }
        }
    }
    eprintln!("{cases} failed calls and power cuts in a truncation");
    assert!(cases > 200, "{cases}");
}
