//! Saved and restored at any point, an exchange goes on as if nothing had been; and no bytes make it
//! panic.

use proptest::prelude::*;
use tessera_engine::{EngineConfig, Exchange, SnapshotError};
use tessera_types::{
    AccountId, Catalogue, ClOrdId, ClassDef, ClientHeader, Command, ConnToken, ContractTerms,
    Event, Instrument, InstrumentId, ListInstrument, Name, NewOrder, OrdType, Partition, Price,
    Qty, Seq, Sequenced, SessionLogon, SetCatalogue, Side, Timestamp,
};

use crate::random::{Dice, Maker, Wildness};

type Sections = Vec<(u32, Vec<u8>)>;

/// Restores with another configuration: nothing in it may matter.
fn restore(sections: &Sections) -> Result<Exchange, SnapshotError> {
    let config = EngineConfig {
        index_seed: 0x5eed,
        expected_orders: 7,
        ..EngineConfig::default()
    };
    Exchange::restore(config, sections)
}

/// Every `every` commands a third exchange takes over from the second one's bytes.
fn run(seed: u64, count: u64, every: u64, wild: Wildness) {
    let mut maker = Maker::new(seed, wild);
    let mut original = Exchange::new(EngineConfig::default());
    let mut restored = Exchange::new(EngineConfig::default());
    let (mut events, mut others) = (Vec::new(), Vec::new());
    for seq in 1..=count {
        let command = maker.next(seq);
        events.clear();
        others.clear();
        original.apply(&command, &mut events);
        restored.apply(&command, &mut others);
        assert_eq!(events, others, "events of command {seq}");
        maker.hear(&events);
        if seq % every == 0 {
            let saved = original.save();
            assert_eq!(saved, restored.save(), "bytes after command {seq}");
            restored = restore(&saved).unwrap_or_else(|error| panic!("command {seq}: {error}"));
            restored.check_invariants();
            assert_eq!(
                saved,
                restored.save(),
                "bytes of the restored, command {seq}"
            );
            assert_eq!(original.state_hash(), restored.state_hash(), "state {seq}");
            assert_eq!(original.events_digest(), restored.events_digest());
            assert_eq!(original.last_seq(), restored.last_seq());
            assert_eq!(original.next_deadline(), restored.next_deadline());
            assert!(
                original.sessions().eq(restored.sessions()),
                "sessions {seq}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_restored_exchange_goes_on_like_the_original(
        seed in any::<u64>(),
        every in 1u64..60,
        sessions: bool,
    ) {
        run(seed, 800, every, Wildness { raw: 100, rare: 6, sessions });
    }

    /// Whatever is left of the bytes after some of them were changed: an error, or an exchange that
    /// takes commands of any content.
    #[test]
    fn no_bytes_make_it_panic(seed in any::<u64>(), changes in 1usize..6) {
        damage(seed, changes);
    }
}

/// Damages a state in several ways; returns how many of them were still a state.
fn damage(seed: u64, changes: usize) -> u32 {
    let wild = Wildness {
        raw: 100,
        rare: 6,
        sessions: true,
    };
    let mut maker = Maker::new(seed, wild);
    let mut exchange = Exchange::new(EngineConfig::default());
    let mut events: Vec<Event> = Vec::new();
    for seq in 1..=300 {
        events.clear();
        exchange.apply(&maker.next(seq), &mut events);
        maker.hear(&events);
    }
    let saved = exchange.save();
    let mut dice = Dice(seed | 1);
    let mut accepted = 0;
    for _ in 0..40 {
        let mut sections = saved.clone();
        for _ in 0..changes {
            let which = usize::try_from(dice.below(sections.len() as u64)).unwrap();
            let (id, bytes) = &mut sections[which];
            if bytes.is_empty() {
                continue;
            }
            let at = usize::try_from(dice.below(bytes.len() as u64)).unwrap();
            match dice.below(12) {
                0 => bytes.truncate(at),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, u8::try_from(dice.below(256)).unwrap()),
                3 => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = 0xff),
                4 => *id = u32::try_from(dice.below(8)).unwrap(),
                5..8 => bytes[at] = bytes[at].wrapping_add(1),
                _ => bytes[at] ^= 1 << dice.below(8),
            }
        }
        let Ok(mut restored) = restore(&sections) else {
            continue;
        };
        accepted += 1;
        restored.check_invariants();
        let mut maker = Maker::new(seed ^ 1, wild);
        for seq in 301..=420 {
            restored.apply(&maker.next(seq), &mut events);
        }
        restored.check_invariants();
    }
    accepted
}

#[test]
fn damaged_bytes_are_sometimes_another_state() {
    let accepted: u32 = (1..=20).map(|seed| damage(seed, 1)).sum();
    // Else the fuzzing above would only ever look at the first check.
    assert!(accepted > 50, "{accepted} of 800 damaged states were taken");
}

/// A state with everything that the random commands leave out: a catalogue and contracts.
fn with_contracts() -> Exchange {
    let name = |text: &str| Name::new(text).unwrap();
    let header = ClientHeader::default();
    let mut plain = Instrument::plain(name("H100-1h"));
    plain.tick_micro_usd = 600;
    plain.terms = Some(ContractTerms {
        class: 0,
        partition: Partition::Mig,
        profile: 1,
        tier: 2,
        zone: 0,
        start_hour: 480_000,
        hours: 1,
        weight: 1428,
        windows: 1,
        reclaim: None,
    });
    let catalogue = Catalogue {
        version: 3,
        tick_micro_usd: 600,
        classes: vec![ClassDef {
            name: name("H100"),
            slices: 7,
            stake: 5,
        }],
        profiles: vec![name("whole"), name("1g")],
        zones: vec![name("DE")],
        workloads: Vec::new(),
        efficiency: Vec::new(),
    };
    let order = |id: u64, side, price, qty| {
        let header = ClientHeader {
            cl_ord_id: ClOrdId::new(id),
            account: AccountId::new(7),
            ..header
        };
        NewOrder::limit(
            header,
            InstrumentId::new(0),
            side,
            Price::from_ticks(price),
            Qty::from_lots(qty),
        )
    };
    let mut iceberg = order(2, Side::Sell, 120, 9);
    iceberg.ord_type = OrdType::Iceberg;
    iceberg.display = Qty::from_lots(2);
    let mut exchange = Exchange::new(EngineConfig::default());
    let commands = [
        Command::SetCatalogue(Box::new(SetCatalogue { header, catalogue })),
        Command::ListInstrument(Box::new(ListInstrument {
            header,
            instrument: plain,
        })),
        Command::SessionLogon(Box::new(SessionLogon {
            name: name("S"),
            conn: ConnToken::new(4),
            received: Timestamp::ZERO,
        })),
        Command::NewOrder(order(1, Side::Buy, 100, 5)),
        Command::NewOrder(iceberg),
        Command::NewOrder(order(3, Side::Buy, 120, 1)),
    ];
    for (seq, command) in (1..).zip(commands) {
        let sequenced = Sequenced {
            seq: Seq::new(seq),
            time: Timestamp::from_nanos(10 * seq),
            command,
        };
        exchange.apply(&sequenced, &mut Vec::new());
    }
    assert_eq!(exchange.live_orders(), 2);
    exchange
}

/// The bytes of `docs/journal.md`. Others mean another version of the section.
#[test]
fn the_layout_is_pinned() {
    let mut text = String::new();
    for (id, bytes) in with_contracts().save() {
        text += &format!("{id:#04x}\n");
        for line in bytes.chunks(32) {
            let words: Vec<_> = line
                .chunks(8)
                .map(|word| {
                    word.iter()
                        .map(|byte| format!("{byte:02x}"))
                        .collect::<String>()
                })
                .collect();
            text += &format!("{}\n", words.join(" "));
        }
    }
    expect_test::expect![[r#"
        0x01
        01003c0000000000 0000040000000000 0000060000000000 00008f3be29752e2
        2e47
        0x02
        0100010000000000 0000015301000000 0000000000000100 000000000000
        0x03
        0100234501000000 0000000000000000 0000000000000000 0000000000000000
        0003005802000001 0000000000000004 4831303000000000 0000000000000000
        0000000000000000 0000000000000000 0000000000000000 0000000000000000
        0000000000000000 0000000000000000 0705000000000000 0002000000000000
        000577686f6c6500 0000000000000000 0000000000000000 0000000000000000
        0000000000000000 0000000000000000 0000000000000000 0000000000000000
        0000023167000000 0000000000000000 0000000000000000 0000000000000000
        0000000000000000 0000000000000000 0000000000000000 0000000000000000
        0000000100000000 0000000244450000 0000000000000000 0000000000000000
        0000000000000000 0000000000000000 0000000000000000 0000000000000000
        0000000000000000 00000000
        0x04
        0100010000000000 000020bd00000000 0000000000000000 0000000000000000
        0000000000000000 0007483130302d31 6800000000000000 0000000000000000
        0000000000000000 0000000000000000 0000000000000000 0000000000000000
        0000000000000000 0000010000000000 0000010000000000 0000010000000000
        0000000000000001 0000010000000000 0000ffffff7f0000 0000000000010000
        0000000000010000 0000000000ffffff ffffffff7f005802 0000010000020102
        0000005307000100 9405000000017800 0000000000000000 0000000000000000
        00000000000000
        0x05
        0100000000000000 6400000000000000 0100000001000000 0000000001000000
        0000000005000000 0000000000000000 0000000000000000 0700000000000000
        0000000001780000 0000000000010000 0002000000000000 0002000000000000
        0008000000000000 0001000000000000 0000000000070000 0001000102000000
        0000000001000000 00000000
    "#]]
    .assert_eq(&text);
}

#[test]
fn contracts_and_catalogue_come_back() {
    let exchange = with_contracts();
    let restored = restore(&exchange.save()).unwrap();
    assert_eq!(restored.state_hash(), exchange.state_hash());
    assert_eq!(restored.catalogue(), exchange.catalogue());
    assert!(restored.instruments().eq(exchange.instruments()));
}

/// Every refusal by name: changes `sections` and expects the message.
fn check_refused(change: impl FnOnce(&mut Sections), message: &str) {
    let mut sections = with_contracts().save();
    change(&mut sections);
    let error = restore(&sections).expect_err(message);
    assert_eq!(error.to_string(), message);
}

#[test]
fn what_is_unknown_or_missing_is_named() {
    check_refused(
        |sections| sections.push((0x77, vec![1, 0])),
        "section 0x77 is unknown to this program; start the version that wrote the snapshot",
    );
    check_refused(|sections| drop(sections.pop()), "section orders is missing");
    check_refused(
        |sections| sections.swap(0, 1),
        "section sessions does not stand where it belongs",
    );
    check_refused(
        |sections| sections[1].1[0] = 9,
        "section sessions has version 9, this program reads version 1; start the version that wrote \
         the snapshot",
    );
    check_refused(
        |sections| sections[0].1.push(0),
        "section core goes on behind its end at byte 34",
    );
    check_refused(
        |sections| sections[0].1.truncate(20),
        "section core ends at byte 18, in the middle of a field",
    );
}
