//! What do checksum and chain cost per record, apart from everything else?

use std::hint::black_box;

use tessera_journal::chain::{BLOCK_RECORDS, Chain};
use tessera_journal::slot::{Head, SLOT_BYTES, record_crc};
use tessera_types::{Seq, Timestamp};

use crate::Plan;
use crate::append::{per_record, timed};
use crate::bed::PAYLOAD;
use crate::table::{Goal, Table};

const RECORDS: u64 = 1 << 20;

pub(crate) fn run(plan: &Plan, table: &mut Table) {
    let mut best = [f64::INFINITY; 4];
    let mut keep = |index: usize, found: f64| best[index] = best[index].min(found);
    for _ in 0..plan.rounds {
        let mut crc = 0;
        keep(0, each(|slot| crc = record_crc(crc, slot)));
        black_box(crc);

        let mut chain = Chain::start(&[7; 32], &[0; 32], &[]);
        keep(1, each(|slot| absorb(&mut chain, slot)));

        let mut crc = 0;
        keep(
            2,
            each(|slot| {
                crc = record_crc(crc, slot);
                absorb(&mut chain, slot);
            }),
        );
        black_box(crc);

        let (mut seq, mut crc) = (0, 0);
        keep(
            3,
            each(|slot| {
                seq += 1;
                let head = Head {
                    payload_bytes: PAYLOAD.len(),
                    kind: 1,
                    flags: 0,
                    epoch_low: 1,
                    seq: Seq::new(seq),
                    time: Timestamp::from_nanos(seq),
                };
                crc = head.encode(black_box(&PAYLOAD), crc, slot);
            }),
        );
    }
    let rows = [
        ("checksum per record", Goal::None),
        ("chain per record, in blocks of 1,024", Goal::None),
        ("checksum and chain per record", Goal::AtMost(25.0)),
        ("encoding with checksum per record", Goal::None),
    ];
    for ((what, goal), best) in rows.into_iter().zip(best) {
        table.alone(what, "ns", best, goal);
    }
}

fn absorb(chain: &mut Chain, slot: &[u8]) {
    chain.absorb(slot);
    if chain.records() == BLOCK_RECORDS {
        black_box(chain.close());
    }
}

/// Nanoseconds of `work` per slot, over slots that are in the first-level cache.
fn each(mut work: impl FnMut(&mut [u8])) -> f64 {
    let mut slots = [[7_u8; SLOT_BYTES]; 128];
    let spent = timed(|| {
        for _ in 0..RECORDS / 128 {
            for slot in black_box(&mut slots) {
                work(&mut slot[..]);
            }
        }
    });
    per_record(spent, RECORDS)
}
