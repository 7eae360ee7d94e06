//! Copies: the good prefix, one command neutralised, a fork; the source stays as it is.

use std::ops::ControlFlow;
use std::sync::Arc;

use tessera_journal::storage::memory::MemoryStorage;
use tessera_journal::{Body, Copied, Copy, CopyError, Scan, Verdict, kind};
use tessera_types::Seq;

use crate::bed::{Bed, config, kind_of, open, payload, recovers, replayed, verify, written};

const REPAIR: Copy = Copy::Repair {
    accept_tail: None,
    void: None,
};

fn copy(disk: &MemoryStorage, what: Copy) -> Result<(MemoryStorage, Copied), CopyError> {
    let before: Vec<_> = contents(disk);
    let target = MemoryStorage::new();
    let copied = Scan::on(Arc::new(disk.clone())).copy_to(Arc::new(target.clone()), what);
    assert_eq!(contents(disk), before, "the source was written to");
    Ok((target, copied?))
}

fn contents(disk: &MemoryStorage) -> Vec<(String, Option<Vec<u8>>)> {
    let names = disk.file_names();
    names
        .into_iter()
        .map(|name| (name.clone(), disk.read_file(&name)))
        .collect()
}

/// Kind and payload of everything with a sequence.
fn commands(disk: &MemoryStorage) -> Vec<(u64, u8, Vec<u8>)> {
    let mut found = Vec::new();
    let report = Scan::on(Arc::new(disk.clone())).read(|record, _| {
        if kind::has_seq(record.kind) {
            found.push((record.seq.get(), record.kind, record.payload.to_vec()));
        }
        ControlFlow::Continue(())
    });
    assert_eq!(report.unwrap().verdict, Verdict::Clean);
    found
}

fn damage(disk: &MemoryStorage, name: &str, byte: usize) {
    disk.flip_bit(name, byte * 8);
}

#[test]
fn a_clean_journal_is_copied_as_it_is() {
    let disk = written(150, 1000);
    let (target, copied) = copy(&disk, REPAIR).unwrap();
    assert_eq!(commands(&target), commands(&disk));
    let (old, new) = (verify(&disk), verify(&target));
    assert_eq!((old.chain, old.epoch), (new.chain, new.epoch));
    assert_eq!(copied.discarded, None);
    assert_eq!(
        (copied.segments, copied.last_seq.get()),
        (old.segments.len(), 150)
    );
    assert_eq!(new.watermark_seq.get(), 150);
    for name in disk
        .file_names()
        .iter()
        .filter(|name| name.ends_with(".jnl"))
    {
        let (old, new) = (
            disk.read_file(name).unwrap(),
            target.read_file(name).unwrap(),
        );
        assert_eq!(old[4096..], new[4096..], "records of {name}");
    }
    assert!(
        target
            .file_names()
            .iter()
            .all(|name| name.ends_with(".jnl"))
    );
    assert_eq!(recovers(&target, Seq::new(150)), 150);
}

#[test]
fn a_torn_tail_is_left_out_and_kept_beside_the_copy() {
    let disk = MemoryStorage::new();
    let mut bed = Bed::new(&disk);
    bed.append_many(5, 20);
    bed.commit();
    bed.append_many(60, 20);
    bed.publish();
    let torn = disk.after_power_cut(512, |unit| match unit {
        tessera_journal::storage::memory::Unsynced::Page { offset, .. } => offset > 5000,
        _ => true,
    });
    let before = verify(&torn);
    assert_eq!(before.verdict, Verdict::Torn);
    let (target, copied) = copy(&torn, REPAIR).unwrap();
    let discarded = copied.discarded.unwrap();
    let cut = before.torn.unwrap();
    assert_eq!((discarded.from_seq, discarded.slots), (cut.seq, cut.slots));
    let kept = target.read_file(&discarded.file.unwrap()).unwrap();
    assert_eq!(kept.len() as u64, cut.slots * 64);
    assert_eq!(verify(&target).verdict, Verdict::Clean);
    assert_eq!(verify(&target).last_seq, before.last_seq);
    recovers(&target, Seq::new(5));
}

#[test]
fn damage_is_left_out_only_when_an_operator_says_so() {
    let disk = written(150, 1000);
    let names: Vec<_> = disk
        .file_names()
        .into_iter()
        .filter(|n| n.ends_with(".jnl"))
        .collect();
    damage(&disk, &names[1], 9000);
    let last = verify(&disk).last_seq;
    assert_eq!(verify(&disk).verdict, Verdict::Corrupt);
    let error = copy(&disk, REPAIR).err().unwrap();
    assert!(
        error.is_corrupt()
            && error
                .to_string()
                .contains(&format!("--accept-tail {}", last.next()))
    );
    let accept = |seq| Copy::Repair {
        accept_tail: Some(seq),
        void: None,
    };
    let error = copy(&disk, accept(last)).err().unwrap();
    assert!(matches!(error, CopyError::Accepted { .. }), "{error}");
    let (target, copied) = copy(&disk, accept(last.next())).unwrap();
    assert_eq!(copied.last_seq, last);
    let discarded = copied.discarded.unwrap();
    assert_eq!(discarded.from_seq, last.next());
    assert!(
        discarded.slots > 100,
        "the rest of a segment and those behind it"
    );
    assert_eq!(commands(&target).len() as u64, last.get());
    let mut accepted = false;
    Scan::on(Arc::new(target.clone()))
        .read(|record, _| {
            accepted |= matches!(record.body(), Ok(Body::Recovered { by_operator: true, from_seq, .. }) if from_seq == last.next());
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(accepted, "the copy says who accepted the loss");
    recovers(&target, last);
    let error = copy(&written(3, 10), accept(Seq::new(4))).err().unwrap();
    assert!(
        error.to_string().contains("nothing has to be accepted"),
        "{error}"
    );
}

#[test]
fn a_voided_command_keeps_its_place_and_loses_its_bytes() {
    let disk = written(150, 1000);
    for seq in [1, 60, 61, 149, 150] {
        let what = Copy::Repair {
            accept_tail: None,
            void: Some(Seq::new(seq)),
        };
        let (target, copied) = copy(&disk, what).unwrap();
        assert_eq!(copied.last_seq.get(), 150);
        let found = commands(&target);
        for (old, new) in commands(&disk).iter().zip(&found) {
            if old.0 == seq {
                let mut expected = vec![kind_of(seq)];
                expected.extend_from_slice(blake3_of(&payload(seq, 1000)).as_slice());
                assert_eq!(*new, (seq, kind::VOID, expected));
            } else {
                assert_eq!(old, new);
            }
        }
        let report = verify(&target);
        assert_eq!((report.counts.voids, report.counts.commands), (1, 149));
        assert_eq!(report.epoch, verify(&disk).epoch + 1);
        // Everything before the segment of the command is byte for byte the same.
        let same = disk
            .file_names()
            .iter()
            .filter(|name| name.ends_with(".jnl"))
            .take_while(|name| {
                disk.read_file(name).map(|b| b[4096..].to_vec())
                    == target.read_file(name).map(|b| b[4096..].to_vec())
            })
            .count();
        let before = verify(&disk)
            .segments
            .iter()
            .filter(|s| s.last_seq.get() < seq)
            .count();
        assert_eq!(same, before, "seq {seq}");
        // It goes on as a journal.
        let opened = open(&target, config()).unwrap();
        assert_eq!(opened.report.last_seq.get(), 150);
    }
    let beyond = Copy::Repair {
        accept_tail: None,
        void: Some(Seq::new(151)),
    };
    assert!(matches!(copy(&disk, beyond), Err(CopyError::Beyond { .. })));
}

#[test]
fn a_fork_shares_the_history_and_nothing_else() {
    let disk = written(150, 1000);
    for at in [0, 1, 70, 150] {
        let (target, copied) = copy(&disk, Copy::Fork { at: Seq::new(at) }).unwrap();
        assert_eq!(copied.last_seq.get(), at);
        let (old, new) = (verify(&disk), verify(&target));
        assert_ne!(old.cluster_id, new.cluster_id);
        assert_eq!(new.cluster_id, copied.cluster_id);
        assert_eq!(
            commands(&target),
            commands(&disk)[..usize::try_from(at).unwrap()]
        );
        assert_eq!(new.watermark_seq.get(), at);
        let opened = open(&target, config()).unwrap();
        assert_eq!(replayed(&opened).len() as u64, at);
    }
    let error = copy(&disk, Copy::Fork { at: Seq::new(151) }).err().unwrap();
    assert!(error.to_string().contains("end at 150"), "{error}");
    // Damage behind the place does not matter.
    let names: Vec<_> = disk
        .file_names()
        .into_iter()
        .filter(|n| n.ends_with(".jnl"))
        .collect();
    damage(&disk, &names[2], 9000);
    copy(&disk, Copy::Fork { at: Seq::new(50) }).unwrap();
}

#[test]
fn a_target_that_holds_something_is_refused() {
    let disk = written(3, 10);
    let target = MemoryStorage::new();
    target.put_file("note", vec![1]);
    let error = Scan::on(Arc::new(disk))
        .copy_to(Arc::new(target.clone()), REPAIR)
        .unwrap_err();
    assert!(error.to_string().contains("note"), "{error}");
    assert_eq!(target.file_names(), ["note"]);
}

#[test]
fn rules_rise_by_a_record_and_never_fall() {
    let disk = written(70, 1000);
    let with = |rules| tessera_journal::Config {
        activate_rules: rules,
        ..config()
    };
    assert_eq!(open(&disk, with(None)).unwrap().report.rules_version, 1);
    let mut bed = Bed::with(&disk, with(Some(3)));
    assert_eq!(
        bed.opened.report.rules_version, 1,
        "what the history came under"
    );
    bed.append_many(150, 1000);
    bed.commit();
    bed.finish();
    assert_eq!(verify(&disk).verdict, Verdict::Clean);
    assert_eq!(open(&disk, with(None)).unwrap().report.rules_version, 3);
    assert_eq!(open(&disk, with(Some(3))).unwrap().report.rules_version, 3);
    let error = open(&disk, with(Some(2))).err().unwrap().to_string();
    assert!(
        error.contains("version 3") && error.contains("version 2"),
        "{error}"
    );
    let mut activations = Vec::new();
    Scan::on(Arc::new(disk.clone()))
        .read(|record, _| {
            if let Ok(Body::Activation { rules_version }) = record.body() {
                activations.push((record.seq.get(), rules_version));
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(activations, [(70, 3)]);
    // A fork keeps it, whatever its segments are.
    let (target, _) = copy(&disk, Copy::Fork { at: Seq::new(150) }).unwrap();
    assert_eq!(open(&target, with(None)).unwrap().report.rules_version, 3);
    // A segment whose header names other rules than the records before it is damage.
    let last = disk
        .file_names()
        .into_iter()
        .rfind(|n| n.ends_with(".jnl"))
        .unwrap();
    let mut bytes = disk.read_file(&last).unwrap();
    bytes[96] = 1;
    let crc = crc32c::crc32c(&bytes[..508]);
    bytes[508..512].copy_from_slice(&crc.to_le_bytes());
    disk.put_file(&last, bytes);
    assert_eq!(verify(&disk).verdict, Verdict::Corrupt);
}

fn blake3_of(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}
