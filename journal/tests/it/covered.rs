//! A start that goes on from a snapshot: what it leaves unread, and what it sees all the same.

use std::ops::ControlFlow;
use std::sync::Arc;

use tessera_journal::storage::memory::MemoryStorage;
use tessera_journal::{
    Archive, Config, OpenError, Replay, Retention, ScanError, SnapshotMeta, Snapshots, Verdict,
    kind,
};
use tessera_types::{Seq, Timestamp};

use crate::bed::{Bed, HEADER, config, open, verify, written};

fn covering(seq: Seq) -> Config {
    Config {
        covered: seq,
        ..config()
    }
}

/// The commands that a replay behind `after` hands out.
fn commands(replay: &Replay, after: Seq) -> Vec<u64> {
    let mut found = Vec::new();
    replay
        .run_from(after, |record| {
            if kind::is_command(record.kind) && record.seq > after {
                found.push(record.seq.get());
            }
            ControlFlow::<()>::Continue(())
        })
        .unwrap();
    found
}

fn copy(disk: &MemoryStorage) -> MemoryStorage {
    disk.after_power_cut(4096, |_| true)
}

#[test]
fn what_a_snapshot_holds_is_not_read_and_the_rest_is() {
    let disk = written(250, 1000);
    let all = verify(&disk).segments;
    assert_eq!(all.len(), 5);
    let mut unread = Vec::new();
    for covered in 0..=250 {
        let disk = copy(&disk);
        let opened = open(&disk, covering(Seq::new(covered))).unwrap();
        let sealed = all[..4].iter().filter(|s| s.last_seq.get() <= covered);
        assert_eq!(opened.report.segments_unread, sealed.count(), "{covered}");
        assert_eq!(opened.report.last_seq, Seq::new(250));
        let expected: Vec<u64> = (covered + 1..=250).collect();
        assert_eq!(commands(&opened.replay, Seq::new(covered)), expected);
        unread.push(opened.report.segments_unread);
        // And the journal goes on as one that was read whole.
        let mut bed = Bed::from(opened);
        bed.append_many(60, 1000);
        bed.commit();
        bed.finish();
        let report = verify(&disk);
        assert_eq!(report.verdict, Verdict::Clean, "{:?}", report.findings);
        assert_eq!(report.last_seq, Seq::new(310));
    }
    assert_eq!((unread[0], unread[250]), (0, 4));
}

/// Every byte of a segment that is not read: damage of its frame stops a start, damage of a record is
/// left to `verify`; no damage of any kind makes a start lose or change a command behind the snapshot.
#[test]
fn a_covered_segment_is_checked_where_it_is_joined() {
    let disk = written(250, 1000);
    let all = verify(&disk).segments;
    let covered = all[3].last_seq;
    let name = &all[2].name;
    let bytes = disk.read_file(name).unwrap().len();
    let (mut stopped, mut passed) = (0, 0);
    for at in (0..bytes).step_by(97) {
        let bad = copy(&disk);
        bad.flip_bit(name, at * 8 + at % 8);
        match open(&bad, covering(covered)) {
            Ok(opened) => {
                assert!(at >= HEADER, "byte {at} of the header page went unnoticed");
                let expected: Vec<u64> = (covered.get() + 1..=250).collect();
                assert_eq!(commands(&opened.replay, covered), expected, "byte {at}");
                passed += 1;
            }
            Err(OpenError::Corrupt(_)) => stopped += 1,
            Err(error) => panic!("byte {at}: {error}"),
        }
        assert_eq!(verify(&bad).verdict, Verdict::Corrupt, "byte {at}");
    }
    assert!(stopped > 30 && passed > 400, "{stopped} {passed}");

    // The other segments as ever: one that is missing, one that is shorter, one that is another's.
    for (index, segment) in all.iter().enumerate().take(4) {
        let bad = copy(&disk);
        bad.remove_file(&segment.name);
        let opened = open(&bad, covering(covered));
        assert!(
            matches!(opened, Err(OpenError::Corrupt(_))),
            "segment {index} is missing"
        );
    }
    let swapped = copy(&disk);
    swapped.put_file(&all[1].name, disk.read_file(&all[2].name).unwrap());
    assert!(open(&swapped, covering(covered)).is_err());
    // Behind the snapshot everything counts.
    for at in (HEADER..bytes).step_by(1021) {
        let bad = copy(&disk);
        let reached = bad.read_file(&all[4].name).unwrap()[at] != 0;
        bad.flip_bit(&all[4].name, at * 8);
        if reached {
            assert!(open(&bad, covering(covered)).is_err(), "byte {at}");
        }
    }
}

#[test]
fn a_replay_whose_beginning_is_gone_says_so() {
    let disk = written(250, 1000);
    let covered = verify(&disk).segments[2].last_seq;
    let snaps = Snapshots::on(Arc::new(disk.clone()));
    let meta = SnapshotMeta {
        cluster_id: *b"a test's cluster",
        shard: 0,
        format: 2,
        engine_schema: 1,
        rules_version: 1,
        seq: covered,
        epoch: 1,
        time: Timestamp::from_nanos(1),
        chain: [0; 32],
        state_hash: [0; 32],
        events_digest: 0,
    };
    snaps.write(&meta, &[]).unwrap();
    snaps.mark_verified(covered, covered).unwrap();
    let rule = Retention {
        segments: 1,
        age_ns: 0,
    };
    let left = Archive::on(Arc::new(disk.clone()))
        .retire(rule, Seq::new(u64::MAX))
        .unwrap();
    assert_eq!(left.len(), 3);
    let opened = open(&disk, covering(covered)).unwrap();
    assert_eq!(
        commands(&opened.replay, Seq::ZERO).len(),
        250,
        "the archive"
    );
    for line in &left {
        disk.remove_file(&format!("archive/{}", line.name));
    }
    assert_eq!(
        commands(&opened.replay, covered).len(),
        250 - usize::try_from(covered.get()).unwrap()
    );
    let error = opened
        .replay
        .run(|_| ControlFlow::<()>::Continue(()))
        .unwrap_err();
    let ScanError::Gone { first, wanted, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((first, wanted), (covered.next(), Seq::new(1)));
}
