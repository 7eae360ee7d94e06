//! Over real files and mappings.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use tessera_journal::{Config, Journal, OpenError, Opened, Scan, ScanError, Verdict};
use tessera_types::Seq;

use crate::bed::{Bed, FIRST, config, replayed};

fn open(directory: &Path) -> Result<Opened, OpenError> {
    Journal::open(
        directory,
        Config {
            identity: None,
            ..config()
        },
    )
}

fn error(directory: &Path) -> String {
    open(directory)
        .err()
        .map_or_else(|| "it opened".to_owned(), |error| error.to_string())
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn a_journal_over_several_starts() {
    let dir = TempDir::new().unwrap();
    for start in 0..4_u64 {
        let mut bed = Bed::from(open(dir.path()).unwrap());
        assert_eq!(replayed(&bed.opened).len() as u64, start * 700);
        assert_eq!(bed.opened.report.created, start == 0);
        bed.append_many(700, 90);
        bed.commit();
        if start % 2 == 0 {
            bed.finish();
        }
    }
    let report = Scan::open(dir.path()).unwrap().verify().unwrap();
    assert_eq!(
        (report.verdict, report.counts.commands),
        (Verdict::Clean, 2800)
    );
    assert!(report.segments.len() > 4);
    let names: Vec<_> = report
        .segments
        .iter()
        .map(|segment| segment.name.as_str())
        .collect();
    assert_eq!(names[0], FIRST);
}

#[test]
fn the_threads_of_a_running_journal() {
    let dir = TempDir::new().unwrap();
    let Opened {
        mut writer,
        mut syncer,
        mut preparer,
        status,
        ..
    } = open(dir.path()).unwrap();
    const COMMANDS: u64 = 30_000;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !preparer.is_finished() {
                preparer.prepare_if_needed().unwrap();
                preparer.wait(std::time::Duration::from_millis(100));
            }
        });
        scope.spawn(|| {
            for seq in 1..=COMMANDS {
                let time = tessera_types::Timestamp::from_nanos(seq * 10);
                let payload = crate::bed::payload(seq, 30);
                while let Err(error) =
                    writer.append(Seq::new(seq), time, crate::bed::kind_of(seq), &payload)
                {
                    assert!(error.is_stall(), "{error}");
                    writer.publish();
                    std::thread::yield_now();
                }
                if seq % 100 == 0 {
                    writer.publish();
                }
            }
            writer.publish();
            done.store(true, Ordering::Release);
        });
        // A reader of another process may look at any time; it sees a gapless prefix up to `durable`.
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let before = status.durable();
                let report = Scan::open(dir.path()).unwrap().verify().unwrap();
                assert_eq!(report.verdict, Verdict::Clean, "{:?}", report.findings);
                assert!(report.writer.is_some());
                assert!(report.last_seq >= before && report.last_seq <= status.durable());
            }
        });
        while !done.load(Ordering::Acquire) {
            if syncer.sync_once().unwrap().is_none() {
                std::thread::yield_now();
            }
        }
        assert_eq!(syncer.finish().unwrap(), Seq::new(COMMANDS));
    });
    assert_eq!(status.durable(), Seq::new(COMMANDS));
    drop((writer, preparer, status));
    assert_eq!(replayed(&open(dir.path()).unwrap()).len() as u64, COMMANDS);
}

#[test]
fn the_lock_names_its_holder_and_falls_with_the_last_part() {
    let dir = TempDir::new().unwrap();
    let opened = open(dir.path()).unwrap();
    let text = error(dir.path());
    assert!(
        text.contains("is in use by") && text.contains("pid="),
        "{text}"
    );
    let status = opened.status.clone();
    drop(opened);
    assert!(
        error(dir.path()).contains("is in use by"),
        "a status still holds it"
    );
    drop(status);
    open(dir.path()).unwrap();
}

#[test]
fn a_copy_of_a_live_directory_is_a_journal() {
    let dir = TempDir::new().unwrap();
    let mut bed = Bed::from(open(dir.path()).unwrap());
    bed.append_many(300, 90);
    let durable = bed.commit();
    bed.append_many(10, 90);
    bed.publish();
    let twin = TempDir::new().unwrap();
    copy(dir.path(), twin.path());
    let report = Scan::open(twin.path()).unwrap().verify().unwrap();
    assert_eq!(
        (report.verdict, report.last_seq.get()),
        (Verdict::Clean, 310)
    );
    assert_eq!(report.writer, None);
    // In the directory itself a reader stops at what is durable.
    let mut seen = 0;
    let scan = Scan::open(dir.path()).unwrap();
    let report = scan.read(|record, _| {
        seen = seen.max(record.seq.get());
        ControlFlow::Continue(())
    });
    assert_eq!((seen, report.unwrap().last_seq), (durable.get(), durable));
    // A copied LIVE page is no witness: the copy may be older than it.
    fs::copy(dir.path().join("LIVE"), twin.path().join("LIVE")).unwrap();
    assert_eq!(replayed(&open(twin.path()).unwrap()).len(), 310);
}

#[test]
fn the_last_segment_is_missed_in_place_and_after_a_clean_end() {
    for clean in [false, true] {
        let dir = TempDir::new().unwrap();
        let mut bed = Bed::from(open(dir.path()).unwrap());
        while bed.opened.status.rotations() < 2 {
            bed.append(1000);
        }
        let last_segment = format!("{:020}.jnl", bed.last);
        bed.commit();
        let twin = TempDir::new().unwrap();
        let place = if clean {
            bed.finish();
            copy(dir.path(), twin.path());
            twin.path()
        } else {
            drop(bed);
            dir.path()
        };
        fs::remove_file(place.join(&last_segment)).unwrap();
        let report = Scan::open(place).unwrap().verify().unwrap();
        assert_eq!(report.verdict, Verdict::Corrupt, "clean: {clean}");
        assert_eq!(report.findings[0].kind.as_str(), "missing_segment");
        let text = error(place);
        assert!(text.contains(&last_segment), "{text}");
        fs::remove_file(place.join(FIRST)).unwrap();
        let text = error(place);
        assert!(text.contains("no segment is left"), "{text}");
    }
}

#[test]
fn directories_that_are_no_journal() {
    let dir = TempDir::new().unwrap();
    let path = dir.path();

    let text = Scan::open(&path.join("none")).err().unwrap().to_string();
    assert!(
        text.contains("none") && text.contains("No such file"),
        "{text}"
    );
    let text = Scan::open(path).unwrap().verify().unwrap_err();
    assert!(matches!(text, ScanError::NoJournal { .. }), "{text}");
    assert_eq!(
        fs::read_dir(path).unwrap().count(),
        0,
        "reading makes nothing"
    );

    fs::write(path.join("thesis.txt"), "much work").unwrap();
    fs::write(path.join("draft.new"), "more work").unwrap();
    let text = error(path);
    assert!(
        text.contains("draft.new") || text.contains("thesis.txt"),
        "{text}"
    );
    assert!(path.join("thesis.txt").exists() && path.join("draft.new").exists());

    let file = path.join("thesis.txt");
    assert!(error(&file).contains("Not a directory"), "{}", error(&file));

    let missing = path.join("a/b");
    open(&missing).unwrap();
    assert!(missing.join(FIRST).exists(), "a missing directory is made");

    let companion = path.join("c");
    fs::create_dir_all(companion.join("credentials")).unwrap();
    open(&companion).unwrap();
}

#[test]
fn odd_things_under_a_segment_name() {
    let second = "00000000000000000900.jnl";
    for what in ["directory", "symlink", "empty", "garbage"] {
        let dir = TempDir::new().unwrap();
        drop(open(dir.path()).unwrap());
        let path = dir.path().join(second);
        match what {
            "directory" => fs::create_dir(&path).unwrap(),
            "symlink" => std::os::unix::fs::symlink(dir.path().join(FIRST), &path).unwrap(),
            "empty" => fs::write(&path, "").unwrap(),
            _ => fs::write(&path, vec![0x5a; 65_536]).unwrap(),
        }
        let report = Scan::open(dir.path()).unwrap().verify().unwrap();
        assert_eq!(report.verdict, Verdict::Corrupt, "{what}");
        let kind = report.findings[0].kind.as_str();
        let expected = match what {
            "directory" | "symlink" => "name",
            "empty" => "length",
            _ => "header",
        };
        assert_eq!(kind, expected, "{what}");
        assert!(
            error(dir.path()).contains(second),
            "{what}: {}",
            error(dir.path())
        );
    }
}

#[test]
fn another_shard_and_bad_settings() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()).unwrap());
    let result = Journal::open(
        dir.path(),
        Config {
            shard: 4,
            ..config()
        },
    );
    let text = result.err().unwrap().to_string();
    assert!(
        text.contains("shard 0") && text.contains("shard 4"),
        "{text}"
    );
    for segment_bytes in [0, 4096, 65_536 + 1] {
        let result = Journal::open(
            dir.path(),
            Config {
                segment_bytes,
                ..config()
            },
        );
        assert!(matches!(result.err().unwrap(), OpenError::Config(_)));
    }
}

#[test]
fn segments_of_a_new_size_follow_old_ones() {
    let dir = TempDir::new().unwrap();
    let mut bed = Bed::from(open(dir.path()).unwrap());
    bed.append_many(100, 30);
    bed.finish();
    let config = Config {
        segment_bytes: 128 * 1024,
        ..config()
    };
    let mut bed = Bed::from(Journal::open(dir.path(), config).unwrap());
    bed.append_many(2000, 30);
    bed.finish();
    let report = Scan::open(dir.path()).unwrap().verify().unwrap();
    let sizes: Vec<_> = report
        .segments
        .iter()
        .map(|segment| segment.bytes)
        .collect();
    assert_eq!(sizes, [65_536, 131_072]);
    assert_eq!(report.findings, []);
}

#[test]
fn a_file_truncated_under_the_running_node_is_noticed() {
    let dir = TempDir::new().unwrap();
    let mut bed = Bed::from(open(dir.path()).unwrap());
    bed.append(10);
    bed.commit();
    bed.opened.syncer.check_file().unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join(FIRST))
        .unwrap();
    file.set_len(70_000).unwrap();
    let text = bed.opened.syncer.check_file().unwrap_err().to_string();
    assert!(text.contains("truncated or extended"), "{text}");
}

#[test]
fn a_replay_that_ends_early_is_an_error() {
    let dir = TempDir::new().unwrap();
    let mut bed = Bed::from(open(dir.path()).unwrap());
    bed.append_many(50, 30);
    bed.finish();
    let opened = open(dir.path()).unwrap();
    let path = dir.path().join(FIRST);
    let mut bytes = fs::read(&path).unwrap();
    bytes[6000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = opened
        .replay
        .run(|_| ControlFlow::<()>::Continue(()))
        .unwrap_err();
    assert!(matches!(error, ScanError::Changed { .. }), "{error}");
}
