//! Hashes of state and events: equal on every machine, kept up as the state changes.
//!
//! The state hash must not depend on how a state was reached, so what changes often is a *sum* of
//! terms ([`StateSum`]), one per fact: "this order stands here with this much open", and "this order
//! stands directly behind that one". A fact that ends is subtracted. Each term is a product in which
//! every order has strongly mixed factors of its own ([`lead`], [`trail`]), made of its id; so facts
//! of different orders cannot make up for each other, and a change of one field of an order is one
//! multiplication. What is few or changes rarely (instruments, sessions) is folded in when the hash is
//! asked for.
//!
//! The digest of events leaves level events out: they say how the books changed, and the books are in
//! the state hash that is written beside it.
//!
//! These hashes find differences between replicas; they do not resist somebody who searches for
//! collisions. The journal's own chain does that.

use tessera_types::{AccountEvent, Event, InstrumentId, Name, Party, Requester, Scope};

/// Odd constants with no structure: the first digits of the fractional part of pi.
const KEYS: [u64; 18] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7345,
    0xa409_3822_299f_31d1,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
    0xbe54_66cf_34e9_0c6d,
    0xc0ac_29b7_c97c_50dd,
    0x3f84_d5b5_b547_0917,
    0x9216_d5d9_8979_fb1b,
    0xd131_0ba6_98df_b5ad,
    0x2ffd_72db_d01a_dfb7,
    0xb8e1_afed_6a26_7e97,
    0xba7c_9045_f12c_7f99,
    0x24a1_9947_b391_6cf7,
    0x0801_f2e2_858e_fc17,
    0x6369_20d8_7157_4e69,
    0xa458_fea3_f493_3d7f,
    0x0d95_748f_728e_b659,
];

/// 64 by 64 bits to 128, all of the product.
#[inline]
const fn multiply(a: u64, b: u64) -> u128 {
    a as u128 * b as u128
}

/// The product folded to 64 bits, so that every bit of the result depends on every bit put in.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the two halves are wanted")]
pub(crate) const fn fold_product(a: u64, b: u64) -> u64 {
    let product = multiply(a, b);
    product as u64 ^ (product >> 64) as u64
}

/// The factor of an order in facts of its own and in facts of the order behind it; 0 for id 0.
///
/// The multiplication carries the low bits up, the shift brings them down again.
#[inline]
pub(crate) const fn lead(id: u64) -> u64 {
    let up = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    up ^ up >> 29
}

/// The factor of an order in the fact of the order before it; 0 for id 0.
#[inline]
pub(crate) const fn trail(id: u64) -> u64 {
    lead(id).rotate_left(32)
}

/// Words times constants: every change of one word shows, and nothing waits for anything.
#[inline(always)]
pub(crate) const fn combine<const N: usize>(words: [u64; N]) -> u64 {
    const { assert!(N <= KEYS.len()) };
    let mut sum = 0u64;
    let mut at = 0;
    while at < N {
        sum = sum.wrapping_add(words[at].wrapping_mul(key(at)));
        at += 1;
    }
    sum
}

/// The odd constant of a place among the words of [`combine`]: 31 bits, since a multiplication takes
/// those from the instruction itself.
#[inline(always)]
pub(crate) const fn key(at: usize) -> u64 {
    KEYS[at] >> 33 | 1
}

/// A sum of facts that does not depend on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StateSum(u64);

impl StateSum {
    #[inline]
    pub(crate) fn add(&mut self, fact: u64) {
        self.0 = self.0.wrapping_add(fact);
    }

    #[inline]
    pub(crate) fn subtract(&mut self, fact: u64) {
        self.0 = self.0.wrapping_sub(fact);
    }

    pub(crate) const fn word(self) -> u64 {
        self.0
    }
}

/// Folds words in order into 256 bits: for what is walked when the state hash is asked for.
#[derive(Debug)]
pub(crate) struct Folder([u64; 4]);

impl Folder {
    pub(crate) fn new() -> Self {
        Self([KEYS[0], KEYS[1], KEYS[2], KEYS[3]])
    }

    pub(crate) fn word(&mut self, word: u64) {
        let [a, b, c, d] = self.0;
        self.0 = [
            fold_product(a ^ word, KEYS[4]) ^ d,
            fold_product(b ^ word, KEYS[5]) ^ a,
            fold_product(c ^ word, KEYS[6]) ^ b,
            fold_product(d ^ word, KEYS[7]) ^ c,
        ];
    }

    pub(crate) fn signed(&mut self, word: i64) {
        self.word(word.cast_unsigned());
    }

    pub(crate) fn option(&mut self, word: Option<u64>) {
        self.word(u64::from(word.is_some()));
        self.word(word.unwrap_or(0));
    }

    pub(crate) fn name(&mut self, name: &Name) {
        let bytes = name.as_str().as_bytes();
        self.word(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    pub(crate) fn finish(mut self) -> [u8; 32] {
        // Two more rounds, so that the last word reaches all four lanes.
        self.word(0);
        self.word(0);
        let mut bytes = [0; 32];
        for (part, lane) in bytes.chunks_exact_mut(8).zip(self.0) {
            part.copy_from_slice(&lane.to_le_bytes());
        }
        bytes
    }
}

/// Running digest of the events, in order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EventsDigest(u64);

impl EventsDigest {
    /// Inlined into every place that emits, where the variant is known: then its fields go into the
    /// digest and into the sink from registers, and nobody matches on the event.
    #[inline(always)]
    pub(crate) fn add(&mut self, event: &Event) {
        // One multiplication waits for the event before; those inside `event_word` do not.
        self.0 = fold_product(self.0 ^ event_word(event), KEYS[9] ^ self.0.rotate_left(32));
    }

    /// All of it, to go on from somewhere else.
    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// Goes on from [`word`](Self::word).
    pub(crate) const fn resume(word: u64) -> Self {
        Self(word)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the two halves are wanted")]
    pub(crate) const fn value(self) -> u32 {
        self.0 as u32 ^ (self.0 >> 32) as u32
    }
}

/// Which order, and which message to its owner. The rest of a party follows from the order's id: it was
/// in the digest when the order was accepted, or is in the hash of the state.
#[inline(always)]
pub(crate) const fn mark(party: &Party) -> u64 {
    party.order_id.get() ^ party.server_seq.get().rotate_left(32)
}

#[inline(always)]
fn requester(by: &Requester) -> [u64; 3] {
    [
        u64::from(by.session.get()),
        by.cl_ord_id.get(),
        by.server_seq.get(),
    ]
}

/// Kind of event, instrument and side or a small code in one word.
#[inline]
pub(crate) fn head(kind: u8, instrument: u32, code: u8) -> u64 {
    u64::from(kind) << 56 | u64::from(code) << 48 | u64::from(instrument)
}

/// An event mixed into 64 bits: every field that does not follow from others.
#[inline(always)]
fn event_word(event: &Event) -> u64 {
    match *event {
        Event::Level { .. } => 0, // never added
        Event::Contract(ref event) => crate::contracts::digest::word(event),
        Event::OrderAccepted {
            party: ref owner,
            instrument,
            side,
            price,
            qty,
        } => combine([
            head(2, instrument.get(), side as u8),
            mark(owner),
            u64::from(owner.session.get()) << 32 | u64::from(owner.account.get()),
            owner.cl_ord_id.get(),
            price.ticks().cast_unsigned(),
            qty.lots(),
        ]),
        Event::Trade {
            instrument,
            aggressor,
            maker_side,
            price,
            qty,
            ref maker,
            ref taker,
            maker_leaves,
            taker_leaves,
            ..
        } => {
            let code = (maker_side as u8) << 2 | aggressor.code();
            combine([
                head(3, instrument.get(), code),
                price.ticks().cast_unsigned(),
                qty.lots(),
                mark(maker),
                mark(taker),
                maker_leaves.lots(),
                taker_leaves.lots(),
            ])
        }
        Event::OrderCanceled {
            party: ref owner,
            instrument,
            side,
            qty,
            cum,
            reason,
            request,
        } => {
            let head = head(4, instrument.get(), (side as u8) << 5 | reason.code());
            combine([head, mark(owner), qty.lots(), cum.lots(), request.get()])
        }
        Event::OrderReduced {
            party: ref owner,
            instrument,
            side,
            leaves,
            cum,
            self_match,
            inventory,
            request,
        } => {
            let head = head(
                5,
                instrument.get(),
                u8::from(inventory) << 2 | (side as u8) << 1 | u8::from(self_match),
            );
            combine([head, mark(owner), leaves.lots(), cum.lots(), request.get()])
        }
        Event::OrderReplaced {
            party: ref owner,
            instrument,
            side,
            price,
            qty,
            leaves,
            ..
        } => {
            let head = head(6, instrument.get(), side as u8);
            let price = price.ticks().cast_unsigned();
            let id = owner.cl_ord_id.get();
            combine([head, mark(owner), id, price, qty.lots(), leaves.lots()])
        }
        Event::OrderTriggered {
            party: ref owner,
            instrument,
            side,
            stop,
        } => {
            let head = head(7, instrument.get(), side as u8);
            combine([head, mark(owner), stop.ticks().cast_unsigned()])
        }
        Event::OrderExpired {
            party: ref owner,
            instrument,
            side,
            qty,
            cum,
            reason,
        } => {
            let head = head(8, instrument.get(), (side as u8) << 5 | reason.code());
            combine([head, mark(owner), qty.lots(), cum.lots()])
        }
        Event::Rejected {
            session,
            account,
            server_seq,
            cl_ord_id,
            target,
            kind,
            reason,
            instrument,
            side,
        } => combine([
            head(9, u32::from(kind.code()), reason.code()),
            u64::from(instrument.map_or(u32::MAX, InstrumentId::get)) << 2
                | side.map_or(2, |side| side as u64),
            u64::from(session.get()) << 32 | u64::from(account.get()),
            server_seq.get(),
            cl_ord_id.get(),
            target.get(),
        ]),
        Event::InstrumentListed { instrument, ref by } => {
            let [a, b, c] = requester(by);
            combine([head(10, instrument.get(), 0), a, b, c])
        }
        Event::CatalogueSet { ref by, version } => {
            let [a, b, c] = requester(by);
            combine([head(11, u32::from(version), 0), a, b, c])
        }
        Event::AuctionCleared {
            instrument,
            price,
            volume,
            surplus,
        } => combine([
            head(12, instrument.get(), 0),
            price.ticks().cast_unsigned(),
            volume.lots(),
            surplus.cast_unsigned(),
        ]),
        Event::PhaseChanged {
            ref by,
            instrument,
            phase,
            cause,
            until,
        } => {
            let [a, b, c] = requester(by);
            let code = phase.code() | cause.code() << 4;
            let until = until.map_or(0, |until| !until.nanos());
            combine([head(13, instrument.get(), code), a, b, c, until])
        }
        Event::Indicative {
            instrument,
            price,
            volume,
            surplus,
        } => combine([
            head(17, instrument.get(), u8::from(price.is_some())),
            price.map_or(0, |price| price.ticks().cast_unsigned()),
            volume.lots(),
            surplus.cast_unsigned(),
        ]),
        Event::MassCanceled {
            session,
            account,
            server_seq,
            cl_ord_id,
            count,
        } => combine([
            head(14, count, 0),
            u64::from(session.get()) << 32 | u64::from(account.get()),
            server_seq.get(),
            cl_ord_id.get(),
        ]),
        Event::SessionStarted {
            session,
            generation,
            conn,
            last_cl_ord_id,
            next_server_seq,
        } => combine([
            head(15, session.get(), 0),
            u64::from(generation.get()),
            conn.get(),
            last_cl_ord_id.get(),
            next_server_seq.get(),
        ]),
        Event::SessionFenced {
            session,
            generation,
            canceled,
        } => combine([
            head(16, session.get(), 0),
            u64::from(generation.get()) << 32 | u64::from(canceled),
        ]),
        Event::Account(ref event) => account_word(event),
    }
}

/// Events about accounts are rare, so nothing is saved on their words.
#[cold]
fn account_word(event: &AccountEvent) -> u64 {
    let scope = |scope: &Scope| match scope {
        Scope::Account(id) => u64::from(id.get()) << 1,
        Scope::Session(id) => u64::from(id.get()) << 1 | 1,
    };
    let [a, b, c] = event.by().map_or([0; 3], requester);
    let by = combine([a, b, c]);
    let words = match *event {
        AccountEvent::Opened {
            account, margined, ..
        } => [1, u64::from(account.get()), u64::from(margined), 0],
        AccountEvent::CashMoved {
            account,
            movement,
            amount,
            cash,
            ..
        } => [
            2 | u64::from(movement.code()) << 8,
            u64::from(account.get()),
            amount.cast_unsigned(),
            cash.cast_unsigned(),
        ],
        AccountEvent::CreditSet {
            account, credit, ..
        } => [3, u64::from(account.get()), credit.cast_unsigned(), 0],
        AccountEvent::LimitsSet { scope: ref of, .. } => [4, scope(of), 0, 0],
        AccountEvent::KillSwitched {
            scope: ref of,
            on,
            canceled,
            ..
        } => [5, scope(of), u64::from(on), u64::from(canceled)],
        AccountEvent::MarginSet { instrument, .. } => [6, u64::from(instrument.get()), 0, 0],
        AccountEvent::MarginBreached {
            account,
            margin,
            funds,
        } => [
            7,
            u64::from(account.get()),
            margin.cast_unsigned(),
            funds.cast_unsigned(),
        ],
        AccountEvent::MarginRestored {
            account,
            margin,
            funds,
        } => [
            8,
            u64::from(account.get()),
            margin.cast_unsigned(),
            funds.cast_unsigned(),
        ],
        AccountEvent::RiskStaged { version, rows, .. } => {
            [9, u64::from(version), u64::from(rows), 0]
        }
        AccountEvent::RiskActive { version, rows, .. } => {
            [10, u64::from(version), u64::from(rows), 0]
        }
        AccountEvent::RiskAgeSet { max_age_ns, .. } => [11, max_age_ns, 0, 0],
        AccountEvent::RiskAged { version, age_ns } => [12, u64::from(version), age_ns, 0],
    };
    let [kind, one, two, three] = words;
    combine([head(18, 0, 0), by, kind, one, two, three])
}
