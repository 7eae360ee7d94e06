//! Segments that leave: when they may, what a start and the tools make of a journal without them.

use std::ops::ControlFlow;
use std::sync::Arc;

use rustix::io::Errno;
use tessera_journal::storage::memory::{Fault, MemoryStorage};
use tessera_journal::{
    Archive, Body, Retention, Scan, Signer, SnapshotMeta, Snapshots, Verdict, hex,
};
use tessera_types::{Seq, Timestamp};

use crate::bed::{Bed, config, open, replayed, verify, written};

const ALL: Seq = Seq::new(u64::MAX);
const NONE_KEPT: Retention = Retention {
    segments: 1,
    age_ns: 0,
};

fn snapshot(disk: &MemoryStorage, seq: u64, verified: bool) {
    let snaps = Snapshots::on(Arc::new(disk.clone()));
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
    snaps
        .write(&meta, &[(1, b"the state of an engine")])
        .unwrap();
    if verified {
        snaps.mark_verified(Seq::new(seq), Seq::new(seq)).unwrap();
    }
}

fn retire(disk: &MemoryStorage, retention: Retention, confirmed: Seq) -> Vec<u64> {
    let archive = Archive::on(Arc::new(disk.clone()));
    let left = archive.retire(retention, confirmed).unwrap();
    left.iter().map(|line| line.segment_no).collect()
}

fn live_segments(disk: &MemoryStorage) -> usize {
    let names = disk.file_names();
    names
        .iter()
        .filter(|name| name.ends_with(".jnl") && !name.contains('/'))
        .count()
}

#[test]
fn a_segment_leaves_only_when_everything_in_it_is_safe_elsewhere() {
    let disk = written(250, 1000);
    let all = verify(&disk).segments;
    assert_eq!(all.len(), 5);
    let kept = all[2].last_seq.get();
    assert_eq!(retire(&disk, NONE_KEPT, ALL), [], "there is no snapshot");
    snapshot(&disk, kept, false);
    assert_eq!(retire(&disk, NONE_KEPT, ALL), [], "nobody has verified it");
    snapshot(&disk, kept, true);
    let keep = |segments, age_ns| Retention { segments, age_ns };
    assert_eq!(retire(&disk, keep(5, 0), ALL), [], "five are to be kept");
    assert_eq!(retire(&disk, keep(1, 1 << 40), ALL), [], "all are young");
    assert_eq!(
        retire(&disk, NONE_KEPT, Seq::new(3)),
        [],
        "a replica is behind"
    );
    // By age: of the first segment only.
    let age = (all[3].last_seq.get() - all[0].last_seq.get()) * 10;
    assert_eq!(retire(&disk, keep(1, age), ALL), [0]);
    assert_eq!(retire(&disk, keep(4, 0), ALL), []);
    assert_eq!(
        retire(&disk, NONE_KEPT, ALL),
        [1, 2],
        "the snapshot covers no more"
    );
    assert_eq!(live_segments(&disk), 2);
    snapshot(&disk, 250, true);
    assert_eq!(retire(&disk, NONE_KEPT, ALL), [3], "the live one stays");
    assert_eq!(live_segments(&disk), 1);
}

#[test]
fn a_journal_goes_on_behind_its_archive() {
    let disk = written(250, 1000);
    let before = verify(&disk);
    snapshot(&disk, 130, true);
    let left = retire(&disk, NONE_KEPT, ALL).len();
    assert!(left >= 2);

    // With the archived files in their place nothing has changed for tools and replay.
    let report = verify(&disk);
    assert_eq!(report.verdict, Verdict::Clean, "{:?}", report.findings);
    assert_eq!(
        (report.first_seq, report.last_seq),
        (Seq::new(1), Seq::new(250))
    );
    assert_eq!((report.chain, report.segments.len()), (before.chain, 5));
    assert_eq!(report.snapshot_seq, Seq::new(130));
    let mut bed = Bed::new(&disk);
    assert_eq!(replayed(&bed.opened).len(), 250);
    bed.append_many(50, 1000);
    bed.commit();
    bed.finish();
    assert_eq!(verify(&disk).verdict, Verdict::Clean);

    // And without them the journal begins where it begins, still joined to what is gone.
    let short = disk.after_power_cut(4096, |_| true);
    for name in disk
        .file_names()
        .iter()
        .filter(|name| name.starts_with("archive/0"))
    {
        short.remove_file(name);
    }
    let report = verify(&short);
    assert_eq!(report.verdict, Verdict::Clean, "{:?}", report.findings);
    assert!(report.first_seq > Seq::new(100));
    assert_eq!(report.last_seq, Seq::new(300));
    let mut bed = Bed::new(&short);
    bed.append(1000);
    assert_eq!(bed.commit(), Seq::new(301));
    bed.finish();

    // A further segment that goes missing is missed, and so is a damaged index.
    let first = disk
        .file_names()
        .into_iter()
        .find(|n| n.ends_with(".jnl") && !n.contains('/'))
        .unwrap();
    let hole = short.after_power_cut(4096, |_| true);
    hole.remove_file(&first);
    assert_eq!(verify(&hole).verdict, Verdict::Corrupt);
    let index = short.read_file("archive/index.jsonl").unwrap();
    for at in (0..index.len()).step_by(37) {
        let bad = short.after_power_cut(4096, |_| true);
        bad.flip_bit("archive/index.jsonl", at * 8 + 1);
        assert_eq!(verify(&bad).verdict, Verdict::Corrupt, "byte {at}");
        assert!(open(&bad, config()).is_err());
    }
    short.remove_file("archive/index.jsonl");
    assert_eq!(
        verify(&short).verdict,
        Verdict::Corrupt,
        "nobody knows that segments left"
    );
}

#[test]
fn a_verified_snapshot_vouches_for_what_it_holds() {
    let disk = written(20, 20);
    snapshot(&disk, 25, false);
    assert_eq!(verify(&disk).verdict, Verdict::Clean);
    snapshot(&disk, 25, true);
    let report = verify(&disk);
    assert_eq!(
        report.verdict,
        Verdict::Corrupt,
        "five commands are missing"
    );
    assert!(open(&disk, config()).is_err());
}

#[test]
fn whichever_call_fails_while_a_segment_leaves_nothing_is_lost() {
    let fresh = || {
        let disk = written(250, 1000);
        snapshot(&disk, 130, true);
        disk
    };
    let (first, last) = {
        let disk = fresh();
        let first = disk.calls().len();
        retire(&disk, NONE_KEPT, ALL);
        (first, disk.calls().len())
    };
    let mut cases = 0;
    for call in first + 1..=last {
        for fault in [
            Fault::Error(Errno::IO),
            Fault::Error(Errno::NOSPC),
            Fault::ShortWrite(10),
            Fault::PowerCut,
        ] {
            let disk = fresh();
            disk.fail_at(call as u64, fault);
            let archive = Archive::on(Arc::new(disk.clone()));
            let _ = archive.retire(NONE_KEPT, ALL);
            for keep in [false, true] {
                let after = disk.after_power_cut(4096, |_| keep);
                let report = verify(&after);
                assert_eq!(
                    (
                        report.verdict,
                        report.last_seq.get(),
                        report.first_seq.get()
                    ),
                    (Verdict::Clean, 250, 1),
                    "call {call} {fault:?}: {:?}",
                    report.findings
                );
                retire(&after, NONE_KEPT, ALL);
                assert_eq!(verify(&after).counts.commands, 250);
                let opened = open(&after, config()).unwrap();
                assert_eq!(replayed(&opened).len(), 250);
                cases += 1;
            }
        }
    }
    eprintln!("{cases} failed calls and power cuts around a retirement");
    assert!(cases > 100, "{cases}");
}

/// Not a signature at all: enough to see what is signed, and where it stands.
#[derive(Debug)]
struct Echo;

impl Signer for Echo {
    fn key_id(&self) -> u32 {
        77
    }

    fn sign(&self, chain: &[u8; 32]) -> [u8; 64] {
        let mut out = [0; 64];
        out[..32].copy_from_slice(chain);
        out[32..].copy_from_slice(chain);
        out
    }
}

#[test]
fn each_sealed_segment_is_signed_in_the_next() {
    let disk = MemoryStorage::new();
    let mut bed = Bed::with(
        &disk,
        tessera_journal::Config {
            signer: Some(Arc::new(Echo)),
            ..config()
        },
    );
    bed.append_many(250, 1000);
    bed.commit();
    bed.finish();
    let mut ends = Vec::new();
    let mut signed = Vec::new();
    let report = Scan::on(Arc::new(disk.clone()))
        .read(|record, _| {
            match record.body() {
                Ok(Body::SegmentEnd { chain }) => ends.push(hex(&chain)),
                Ok(Body::Signature { key_id, signature }) => {
                    assert_eq!((key_id, &signature[..32]), (77, &signature[32..]));
                    signed.push(hex(&signature[..32]));
                }
                _ => {}
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(report.counts.signatures, 4);
    assert_eq!(signed, ends);
    // The archive keeps each signature with its segment.
    snapshot(&disk, 250, true);
    retire(&disk, NONE_KEPT, ALL);
    let lines = Archive::on(Arc::new(disk.clone())).list().unwrap();
    let kept: Vec<_> = lines
        .iter()
        .map(|line| line.signature.map(|(_, signature)| hex(&signature[..32])))
        .collect();
    assert_eq!(kept, ends.into_iter().map(Some).collect::<Vec<_>>());
}
