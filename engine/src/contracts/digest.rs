//! Contract events in the digest of events.

use tessera_types::{ContractEvent, Domain, Price, Requester};

use crate::digest::{combine, head, mark};

/// The code of contract events among all events.
const KIND: u8 = 18;

fn requester(by: &Requester) -> u64 {
    u64::from(by.session.get())
        ^ by.cl_ord_id.get().rotate_left(20)
        ^ by.server_seq.get().rotate_left(40)
}

const fn ticks(price: Price) -> u64 {
    price.ticks().cast_unsigned()
}

/// An event mixed into 64 bits.
pub(crate) fn word(event: &ContractEvent) -> u64 {
    match *event {
        ContractEvent::PoolDeclared {
            pool,
            account,
            ref by,
        } => combine([
            head(KIND, pool.get(), 1),
            u64::from(account.get()),
            requester(by),
        ]),
        ContractEvent::PoolAttested {
            pool,
            cover,
            ref by,
        } => combine([head(KIND, pool.get(), 2), u64::from(cover), requester(by)]),
        ContractEvent::PoolLapsed { pool } => combine([head(KIND, pool.get(), 3)]),
        ContractEvent::LimitSet {
            account,
            used,
            ref by,
        } => combine([head(KIND, account.get(), 4), used, requester(by)]),
        ContractEvent::Leased {
            lease,
            pool,
            of,
            account,
            instrument,
            qty,
            price,
            notice_s,
        } => combine([
            head(KIND, lease.get(), 5),
            u64::from(pool.get()) << 32 | u64::from(of.map_or(0, tessera_types::LeaseId::get)),
            u64::from(account.get()) << 32 | u64::from(instrument.get()),
            u64::from(qty) << 32 | u64::from(notice_s),
            ticks(price),
        ]),
        ContractEvent::BlockPlanned {
            ref party,
            instrument,
            windows,
            moves,
            cost,
        } => combine([
            head(KIND, instrument.get(), 6),
            mark(party),
            u64::from(windows) << 8 | u64::from(moves),
            cost.cast_unsigned(),
        ]),
        ContractEvent::BlockStretch { domain, windows } => match domain {
            Domain::Pool(pool) => combine([head(KIND, pool.get(), 7), u64::from(windows)]),
            Domain::Path(path) => {
                let mut words = [0; 6];
                for (word, &part) in words.iter_mut().zip(path.components()) {
                    *word = u64::from(part) + 1;
                }
                words[5] = u64::from(windows);
                combine([head(KIND, 0, 8), combine(words)])
            }
        },
        ContractEvent::Placed {
            ref party,
            lease,
            profile,
            starts,
            mem_mask,
            compute_used,
        } => combine([
            head(KIND, lease.get(), 9),
            mark(party),
            u64::from_le_bytes([profile.code(), 0, mem_mask, compute_used, 0, 0, 0, 0]),
            starts
                .as_slice()
                .iter()
                .fold(1, |word, &start| word << 8 | u64::from(start)),
        ]),
        ContractEvent::NoMatch { ref party, counts } => {
            let counts = counts.iter().fold(0u64, |sum, (reason, count)| {
                sum.wrapping_add(
                    crate::digest::lead(u64::from(reason.code()) + 1)
                        .wrapping_mul(u64::from(count)),
                )
            });
            combine([head(KIND, 0, 10), mark(party), counts])
        }
        ContractEvent::Preempted {
            ref party,
            lease,
            new_lease,
            victim,
            pool,
            qty,
            hours,
            price,
            floor,
            paid,
            refund,
            compensation,
            seller_gain,
        } => combine([
            head(KIND, lease.get(), 11),
            mark(party),
            u64::from(new_lease.get()) << 32 | u64::from(victim.get()),
            u64::from(pool.get()) << 32 | u64::from(qty),
            u64::from(hours),
            ticks(price),
            ticks(floor),
            paid.cast_unsigned(),
            refund.cast_unsigned(),
            compensation.cast_unsigned(),
            seller_gain.cast_unsigned(),
        ]),
    }
}
