//! Random operations against a plain list of commands.

use proptest::prelude::*;
use tessera_journal::storage::memory::MemoryStorage;
use tessera_journal::{Config, Durability, Verdict};
use tessera_types::Seq;

use crate::bed::{Bed, FIRST, config, replayed, verify, with};

#[derive(Clone, Debug)]
enum Op {
    Append(usize),
    StateHash,
    Publish,
    Sync,
    /// Ends without warning; the page cache survives.
    Kill,
    Finish,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (0_usize..200).prop_map(Op::Append),
        1 => (30_000_usize..=32_768).prop_map(Op::Append),
        1 => Just(Op::StateHash),
        3 => Just(Op::Publish),
        3 => Just(Op::Sync),
        1 => Just(Op::Kill),
        1 => Just(Op::Finish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_journal_is_a_list_of_commands(ops in proptest::collection::vec(op(), 1..300)) {
        let disk = MemoryStorage::new();
        let mut bed = Bed::new(&disk);
        let mut published = 0;
        for op in ops {
            match op {
                Op::Append(bytes) => bed.append(bytes),
                Op::StateHash => {
                    if let Err(error) = bed.opened.writer.append_state_hash(&[1; 32], 2) {
                        prop_assert!(error.is_stall(), "{error}");
                    }
                }
                Op::Publish => {
                    bed.publish();
                    published = bed.last;
                }
                Op::Sync => {
                    bed.opened.syncer.sync_once().unwrap();
                    prop_assert_eq!(bed.opened.status.durable().get(), published);
                }
                Op::Kill | Op::Finish => {
                    let last = bed.last;
                    if matches!(op, Op::Finish) {
                        bed.finish();
                        prop_assert_eq!(verify(&disk).watermark_seq, Seq::new(last));
                    } else {
                        drop(bed);
                    }
                    bed = Bed::new(&disk);
                    // What was stored in the mapping survives the process, published or not.
                    prop_assert_eq!(replayed(&bed.opened).len() as u64, last);
                    published = last;
                }
            }
        }
        bed.finish();
        let report = verify(&disk);
        prop_assert_eq!(report.verdict, Verdict::Clean);
    }
}

#[test]
fn payloads_of_every_size_and_many_rotations() {
    let disk = MemoryStorage::new();
    let mut bed = Bed::new(&disk);
    for bytes in (0..200).chain([4095, 4096, 32_767, 32_768, 0, 32_768, 1]) {
        bed.append(bytes);
    }
    bed.commit();
    assert!(bed.opened.status.rotations() >= 2);
    drop(bed);
    let bed = Bed::new(&disk);
    assert_eq!(replayed(&bed.opened).len(), 207);
    let sizes = sizes(&bed);
    assert!(
        (0..200)
            .chain([4095, 4096, 32_767, 32_768, 0, 32_768, 1])
            .eq(sizes)
    );
}

fn sizes(bed: &Bed) -> Vec<usize> {
    let mut sizes = Vec::new();
    let broke = bed.opened.replay.run(|record| {
        if tessera_journal::kind::is_command(record.kind) {
            sizes.push(record.payload.len());
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    broke.unwrap();
    sizes
}

#[test]
fn blocks_of_1024_records_are_closed_across_restarts() {
    let disk = MemoryStorage::new();
    let large = || Config {
        segment_bytes: 1 << 20,
        ..config()
    };
    for start in 0..5_u64 {
        let mut bed = Bed::with(&disk, large());
        bed.append_many(700, 8);
        bed.commit();
        if start % 2 == 0 {
            bed.finish();
        }
    }
    let report = verify(&disk);
    assert_eq!(report.findings, []);
    assert!(report.chain_ok);
    // 3,500 commands, 5 epochs, SegmentStart and Format make 3,507 records before checkpoints.
    assert_eq!(
        (report.counts.commands, report.counts.records),
        (3500, 3507 + 3)
    );
    assert_eq!(report.epoch, 5);
    assert_ne!(report.chain, [0; 32]);
}

#[test]
fn a_stalled_append_leaves_nothing_behind() {
    let disk = MemoryStorage::new();
    let mut bed = Bed::new(&disk);
    let kind = crate::bed::kind_of;
    // Fills both segments that exist without asking the preparer again.
    let mut stalled = None;
    for seq in 1..3000 {
        let time = tessera_types::Timestamp::from_nanos(seq * 10);
        let payload = crate::bed::payload(seq, 30);
        match bed
            .opened
            .writer
            .append(Seq::new(seq), time, kind(seq), &payload)
        {
            Ok(()) => bed.last = seq,
            Err(error) => {
                assert!(error.is_stall(), "{error}");
                stalled = Some(seq);
                break;
            }
        }
    }
    let stalled = stalled.unwrap();
    assert_eq!(bed.opened.status.stalls(), 1);
    bed.append(30);
    assert_eq!(bed.last, stalled);
    bed.commit();
    bed.finish();
    assert_eq!(verify(&disk).counts.commands, stalled);
}

#[test]
fn what_a_caller_must_not_do_is_refused_and_changes_nothing() {
    use tessera_journal::AppendError;
    use tessera_types::Timestamp;
    let disk = MemoryStorage::new();
    let mut bed = Bed::new(&disk);
    bed.append(4);
    let before = disk.read_file(FIRST);
    let writer = &mut bed.opened.writer;
    let mut refused = |seq, time, kind, bytes: &[u8]| {
        writer
            .append(Seq::new(seq), Timestamp::from_nanos(time), kind, bytes)
            .unwrap_err()
    };
    assert!(matches!(
        refused(3, 20, 1, &[]),
        AppendError::Sequence { .. }
    ));
    assert!(matches!(
        refused(1, 20, 1, &[]),
        AppendError::Sequence { .. }
    ));
    assert!(matches!(refused(2, 9, 1, &[]), AppendError::Time { .. }));
    assert!(matches!(refused(2, 20, 0, &[]), AppendError::Kind(0)));
    assert!(matches!(refused(2, 20, 0x80, &[]), AppendError::Kind(0x80)));
    assert!(matches!(
        refused(2, 20, 1, &[0; 32_769]),
        AppendError::Payload(32_769)
    ));
    assert_eq!(disk.read_file(FIRST), before);
}

#[test]
fn the_cursors_of_each_mode() {
    for (mode, durable_after_publish) in [
        (Durability::Default, 0),
        (Durability::Strict, 0),
        (Durability::Async, 3),
    ] {
        let disk = MemoryStorage::new();
        let mut bed = Bed::with(&disk, with(mode));
        bed.append_many(3, 10);
        let status = bed.opened.status.clone();
        assert_eq!(status.published(), Seq::ZERO);
        bed.publish();
        assert_eq!(status.published(), Seq::new(3));
        assert_eq!(status.durable(), Seq::new(durable_after_publish), "{mode}");
        assert_eq!(status.synced(), Seq::ZERO);
        let synced = bed.opened.syncer.sync_once().unwrap().unwrap();
        assert_eq!((synced.durable, synced.records), (Seq::new(3), 3));
        assert_eq!(
            (status.durable(), status.synced()),
            (Seq::new(3), Seq::new(3))
        );
        assert_eq!(bed.opened.syncer.sync_once().unwrap(), None);
    }
}
