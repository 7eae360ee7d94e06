//! How long does the journal thread take per record, and a group commit per group, beside a bare write
//! and fdatasync of the same bytes into a zero-filled file on the same disk?

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tessera_journal::{Config, Journal, Opened, Scan, Verdict};
use tessera_types::{Seq, Timestamp};

const SEGMENT_BYTES: u64 = 64 << 20;

/// A journal whose records say nothing.
struct Bench {
    opened: Opened,
    seq: u64,
}

impl Bench {
    fn open(directory: &Path) -> Self {
        let config = Config {
            segment_bytes: SEGMENT_BYTES,
            ..Config::default()
        };
        let opened = Journal::open(directory, config).expect("a fresh directory");
        Self { opened, seq: 0 }
    }

    /// Appends `count` one-slot records; the time that preparing a segment takes is not counted.
    fn append(&mut self, count: u64) -> Duration {
        let mut started = Instant::now();
        let mut spent = Duration::ZERO;
        for _ in 0..count {
            let (seq, time) = (Seq::new(self.seq + 1), Timestamp::from_nanos(self.seq));
            while let Err(error) = self.opened.writer.append(seq, time, 1, black_box(&[7; 36])) {
                assert!(error.is_stall(), "{error}");
                spent += started.elapsed();
                self.commit();
                self.opened
                    .preparer
                    .prepare_if_needed()
                    .expect("room on the disk");
                started = Instant::now();
            }
            self.seq += 1;
        }
        spent + started.elapsed()
    }

    fn commit(&mut self) {
        self.opened.writer.publish();
        self.opened.syncer.sync_once().expect("a disk that works");
    }

    /// Fast and wrong must not win.
    fn check(self, directory: &Path) {
        let commands = self.seq;
        self.opened.syncer.finish().expect("a disk that works");
        drop((self.opened.writer, self.opened.status, self.opened.preparer));
        let report = Scan::open(directory)
            .and_then(|scan| scan.verify())
            .expect("a journal");
        assert_eq!(
            (report.verdict, report.counts.commands),
            (Verdict::Clean, commands)
        );
    }
}

fn append(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut bench = Bench::open(dir.path());
    let mut group = c.benchmark_group("journal");
    group.throughput(Throughput::Elements(1));
    group.bench_function("append one-slot record", |b| {
        b.iter_custom(|count| {
            let spent = bench.append(count);
            bench.opened.writer.publish();
            spent
        });
    });
    group.finish();
    bench.commit();
    bench.check(dir.path());
}

fn group_commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("group commit");
    group.sample_size(20);
    for records in [1, 16, 256] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut bench = Bench::open(dir.path());
        group.bench_function(BenchmarkId::new("journal", records), |b| {
            b.iter_custom(|count| {
                let mut spent = Duration::ZERO;
                for _ in 0..count {
                    spent += bench.append(records);
                    let started = Instant::now();
                    bench.commit();
                    spent += started.elapsed();
                }
                spent
            });
        });
        bench.check(dir.path());

        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = zeros(&dir.path().join("bare"));
        let bytes = vec![7; usize::try_from(records).expect("small") * 64];
        let mut at = 0;
        group.bench_function(BenchmarkId::new("bare pwrite + fdatasync", records), |b| {
            b.iter(|| {
                file.write_all_at(&bytes, at).expect("room on the disk");
                file.sync_data().expect("a disk that works");
                at = (at + bytes.len() as u64) % (SEGMENT_BYTES - (1 << 20));
            });
        });
    }
    group.finish();
}

fn verify(c: &mut Criterion) {
    const COMMANDS: u64 = 500_000;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut bench = Bench::open(dir.path());
    bench.append(COMMANDS);
    bench.commit();
    bench.check(dir.path());
    let mut group = c.benchmark_group("journal");
    group.sample_size(10);
    group.throughput(Throughput::Elements(COMMANDS));
    group.bench_function("verify, warm, one core", |b| {
        b.iter(|| {
            let report = Scan::open(dir.path())
                .and_then(|scan| scan.verify())
                .expect("a journal");
            assert_eq!(report.counts.commands, COMMANDS);
        });
    });
    group.finish();
}

/// A file of real zeros, written as the journal's segments are.
fn zeros(path: &Path) -> File {
    let file = File::create_new(path).expect("a fresh name");
    for offset in (0..SEGMENT_BYTES).step_by(4096) {
        file.write_all_at(&[0; 4096], offset)
            .expect("room on the disk");
    }
    file.sync_all().expect("a disk that works");
    file
}

criterion_group!(benches, append, group_commit, verify);
criterion_main!(benches);
