//! How fast is a whole check of a journal, beside a bare scan of the same warm pages?

use std::path::Path;

use tessera_journal::chain::Chain;
use tessera_journal::slot::{SLOT_BYTES, record_crc, stored_crc};
use tessera_journal::storage::{Access, MapAccess, Mapped, Storage as _};
use tessera_journal::{Scan, Verdict};

use crate::Plan;
use crate::append::{per_record, timed};
use crate::bed::{Bed, SEGMENT_BYTES, SEGMENT_RECORDS};
use crate::table::{Goal, Table};

const SEGMENTS: u64 = 4;

pub(crate) fn run(plan: &Plan, table: &mut Table) {
    let mut bed = Bed::new(&plan.dir);
    for _ in 0..SEGMENTS {
        bed.settle();
        (0..SEGMENT_RECORDS).for_each(|_| bed.append());
    }
    let commands = bed.seq();
    let dir = bed.close();
    let mut best = [f64::INFINITY; 3];
    let mut read = 0;
    for _ in 0..plan.rounds {
        let spent = timed(|| read = bare(dir.path(), false));
        best[0] = best[0].min(per_record(spent, read));
        let spent = timed(|| read = bare(dir.path(), true));
        best[1] = best[1].min(per_record(spent, read));
        let spent = timed(|| {
            let report = Scan::open(dir.path())
                .and_then(|scan| scan.verify())
                .expect("a journal");
            assert_eq!(
                (
                    report.verdict,
                    report.counts.commands,
                    report.counts.records
                ),
                (Verdict::Clean, commands, read)
            );
        });
        best[2] = best[2].min(per_record(spent, read));
    }
    let [scan, hashed, ours] = best.map(|ns| 1e3 / ns);
    let unit = "M records/s";
    let what = "verify, one core, beside a warm scan with checksum, sequence and chain hash";
    table.beside(what, unit, ours, hashed, Goal::RatioAtLeast(0.6));
    let what = "verify, one core, beside a warm scan with checksum and sequence only";
    table.beside(what, unit, ours, scan, Goal::None);
}

/// Maps every segment and checks checksum and sequence of each one-slot record, and hashes it if asked to;
/// returns how many there were.
fn bare(directory: &Path, hash: bool) -> u64 {
    let storage = Mapped::open(directory).expect("a directory");
    let mut names: Vec<String> = storage
        .list("")
        .expect("a directory")
        .into_iter()
        .map(|entry| entry.name)
        .filter(|name| name.ends_with(".jnl"))
        .collect();
    names.sort();
    let (mut records, mut seq) = (0, 0);
    for name in names {
        let file = storage.open(&name, Access::Read).expect("a segment");
        let bytes = usize::try_from(SEGMENT_BYTES).expect("it fits into memory");
        let region = file.map(bytes, MapAccess::Read).expect("a mapping");
        let header = region.load_slot(448);
        let mut crc = stored_crc(&header);
        let mut chain = Chain::start(&[0; 32], &[0; 32], &[]);
        let mut at = 4096;
        while at < bytes {
            let first = region.load_slot(at);
            let payload = u32::from_le_bytes([first[0], first[1], first[2], first[3]]);
            if payload == 0 {
                break;
            }
            // SegmentStart is the one record of two slots here.
            let mut slots = [0; 2 * SLOT_BYTES];
            slots[..SLOT_BYTES].copy_from_slice(&first);
            let mut len = SLOT_BYTES;
            if payload > 64 {
                slots[SLOT_BYTES..].copy_from_slice(&region.load_slot(at + SLOT_BYTES));
                len = 2 * SLOT_BYTES;
            }
            assert_eq!(record_crc(crc, &slots[..len]), stored_crc(&first));
            crc = stored_crc(&first);
            if first[4] < 0x80 {
                seq += 1;
            }
            assert_eq!(first[8..16], u64::to_le_bytes(seq));
            if hash {
                if chain.is_full() {
                    chain.close();
                }
                chain.absorb(&slots[..len]);
            }
            at += len;
            records += 1;
        }
    }
    records
}
