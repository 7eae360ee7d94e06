//! Bytes of every journal payload, and that they come back.

use super::*;
use crate::command::{FenceReason, SelfMatch};
use crate::contract::Phase;
use crate::units::Side;
use expect_test::{Expect, expect};
use proptest::prelude::*;

const TIME: Timestamp = Timestamp::from_nanos(1_000_000_000);

fn header() -> ClientHeader {
    ClientHeader {
        session: SessionId::new(3),
        generation: Generation::new(2),
        account: AccountId::new(7),
        cl_ord_id: ClOrdId::new(41),
        received: Timestamp::from_nanos(TIME.nanos() - 1_500),
    }
}

fn order() -> NewOrder {
    NewOrder::limit(
        header(),
        InstrumentId::new(5),
        Side::Sell,
        Price::from_ticks(-2),
        Qty::from_lots(9),
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check(command: &Command, expected: Expect) {
    let mut bytes = Vec::new();
    let kind = encode_command(command, TIME, &mut bytes).unwrap();
    assert_eq!(decode_command(kind, TIME, &bytes).unwrap(), *command);
    for cut in 0..bytes.len() {
        assert!(
            decode_command(kind, TIME, &bytes[..cut]).is_err(),
            "cut at {cut}"
        );
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(decode_command(kind, TIME, &longer).is_err());
    expected.assert_eq(&format!("{kind:#04x} {} {}", bytes.len(), hex(&bytes)));
}

#[test]
fn plain_orders_fit_one_slot() {
    check(
        &Command::NewOrder(order()),
        expect!["0x01 36 0300200007000000290000000000000005000000feffffffffffffff0900000001e02e00"],
    );
    let market = NewOrder {
        ord_type: OrdType::Market,
        price: Price::ZERO,
        time_in_force: TimeInForce::Fok,
        self_match: SelfMatch::Decrement,
        exec_inst: ExecInst::ALL,
        ..order()
    };
    check(
        &Command::NewOrder(market),
        expect!["0x01 36 0300200007000000290000000000000005000000000000000000000009000000cbe72e00"],
    );
}

#[test]
fn an_order_that_waited_long_is_written_in_full_and_stays_exact() {
    let mut late = order();
    late.header.received = Timestamp::from_nanos(1);
    check(
        &Command::NewOrder(late),
        expect![
            "0x02 92 0300000002000700000029000000000000000100000000000000050000000100000000feffffffffffffff09000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        ],
    );
}

#[test]
fn an_iceberg_takes_the_full_form() {
    let iceberg = NewOrder {
        ord_type: OrdType::Iceberg,
        display: Qty::from_lots(2),
        budget: Some(5),
        ..order()
    };
    check(
        &Command::NewOrder(iceberg),
        expect![
            "0x02 92 03000000020007000000290000000000000024c49a3b00000000050000000102000000feffffffffffffff09000000000000000000000000000000020000000000000000000000000000000000000000000000010500000000000000"
        ],
    );
}

#[test]
fn the_other_requests() {
    let target = OrderTarget::Client(ClOrdId::new(40));
    check(
        &Command::Cancel(Cancel {
            header: header(),
            target,
        }),
        expect!["0x03 35 03000000020007000000290000000000000024c49a3b00000000002800000000000000"],
    );
    check(
        &Command::Reduce(Reduce {
            header: header(),
            target: OrderTarget::Exchange(OrderId::new(77)),
            by: Qty::from_lots(1),
        }),
        expect![
            "0x04 43 03000000020007000000290000000000000024c49a3b00000000014d000000000000000100000000000000"
        ],
    );
    check(
        &Command::Replace(Replace {
            header: header(),
            target,
            price: Some(Price::from_ticks(4)),
            qty: None,
            stop: None,
            new_id: Some(ClOrdId::new(41)),
        }),
        expect![
            "0x05 68 03000000020007000000290000000000000024c49a3b00000000002800000000000000090400000000000000000000000000000000000000000000002900000000000000"
        ],
    );
    check(
        &Command::MassCancel(MassCancel {
            header: header(),
            account: None,
            instrument: Some(InstrumentId::new(5)),
            side: Some(Side::Sell),
        }),
        expect!["0x06 36 03000000020007000000290000000000000024c49a3b0000000006000000000500000001"],
    );
    check(&Command::AdvanceTime(AdvanceTime), expect!["0x22 0 "]);
    check(
        &Command::Restart(Restart {
            hold_ns: 258,
            grace_ns: 5,
        }),
        expect!["0x25 16 02010000000000000500000000000000"],
    );
    check(&Command::Reopen(Reopen), expect!["0x26 0 "]);
    check(
        &Command::SetPhase(SetPhase {
            header: header(),
            instrument: InstrumentId::new(5),
            phase: Phase::Auction,
            ref_price: Some(Price::from_ticks(100)),
        }),
        expect![
            "0x21 40 03000000020007000000290000000000000024c49a3b000000000500000001016400000000000000"
        ],
    );
    check(
        &Command::SessionFence(SessionFence {
            session: SessionId::new(3),
            generation: Generation::new(2),
            reason: FenceReason::Kill,
            cancel_orders: true,
            received: TIME,
        }),
        expect!["0x11 16 030000000200020100ca9a3b00000000"],
    );
}

#[test]
fn quotes_sessions_and_reference_data_round_trip() {
    let name = Name::new("H100.whole.firm.us-tx").unwrap();
    let entry = QuoteEntry {
        instrument: InstrumentId::new(1),
        refused: None,
        bid_id: ClOrdId::new(1),
        bid_price: Price::from_ticks(99),
        bid_qty: Some(Qty::from_lots(10)),
        ask_id: ClOrdId::new(2),
        ask_price: Price::ZERO,
        ask_qty: None,
        backing: Backing::NOTHING,
    };
    let refused = QuoteEntry {
        refused: Some(RejectReason::BadField),
        ..entry
    };
    let commands = [
        Command::MassQuote(Box::new(MassQuote {
            header: header(),
            post_only: true,
            keep_priority: false,
            self_match: SelfMatch::CancelOld,
            entries: vec![entry, refused],
        })),
        Command::SessionLogon(Box::new(SessionLogon {
            name,
            conn: ConnToken::new(8),
            received: TIME,
        })),
        Command::ListInstrument(Box::new(ListInstrument {
            header: header(),
            instrument: Instrument {
                terms: Some(ContractTerms {
                    class: 1,
                    partition: Partition::Mig,
                    profile: 3,
                    tier: 2,
                    zone: 4,
                    start_hour: 500_000,
                    hours: 24,
                    weight: 1_429,
                    windows: 1,
                    reclaim: None,
                }),
                protect: Some(5),
                ..Instrument::plain(name)
            },
        })),
        Command::ListInstrument(Box::new(ListInstrument {
            header: header(),
            instrument: Instrument {
                volatility: Some(VolatilityGuard {
                    band: 5,
                    length_ns: 1_000,
                }),
                ..Instrument::plain(name)
            },
        })),
        Command::ListInstrument(Box::new(ListInstrument {
            header: header(),
            instrument: Instrument {
                indicative: true,
                ..Instrument::plain(name)
            },
        })),
        Command::SetCatalogue(Box::new(SetCatalogue {
            header: header(),
            catalogue: Catalogue {
                version: 1,
                tick_micro_usd: 60,
                classes: vec![ClassDef {
                    name,
                    slices: 7,
                    stake: 1,
                }],
                profiles: vec![name],
                zones: vec![name, name],
                workloads: Vec::new(),
                efficiency: Vec::new(),
            },
        })),
    ];
    for command in &commands {
        let mut bytes = Vec::new();
        let kind = encode_command(command, TIME, &mut bytes).unwrap();
        assert_eq!(decode_command(kind, TIME, &bytes).unwrap(), *command);
        for cut in 0..bytes.len() {
            assert!(decode_command(kind, TIME, &bytes[..cut]).is_err());
        }
    }
}

#[test]
fn an_instrument_without_new_rules_keeps_its_older_form() {
    let listing = |instrument| {
        Command::ListInstrument(Box::new(ListInstrument {
            header: header(),
            instrument,
        }))
    };
    let bytes = |instrument| {
        let mut bytes = Vec::new();
        let kind = encode_command(&listing(instrument), TIME, &mut bytes).unwrap();
        (kind, bytes)
    };
    let plain = Instrument::plain(Name::new("I").unwrap());
    let (old_kind, old) = bytes(plain);
    let (new_kind, new) = bytes(Instrument {
        volatility: Some(VolatilityGuard {
            band: 5,
            length_ns: 1_000,
        }),
        indicative: true,
        ..plain
    });
    assert_eq!((old_kind, new_kind), (0x20, 0x24));
    assert_eq!(new[..old.len()], old[..]);
    assert_eq!(hex(&new[old.len()..]), "030500000000000000e803000000000000");
    for present in [0, 4] {
        let mut bad = new.clone();
        bad[old.len()] = present;
        assert!(decode_command(new_kind, TIME, &bad).is_err(), "{present}");
    }
}

#[test]
fn a_claimed_length_beyond_the_limit_is_an_error() {
    let mut bytes = vec![0; 28];
    bytes.extend_from_slice(&u64::MAX.to_le_bytes());
    assert!(decode_command(kind::MASS_QUOTE, TIME, &bytes).is_err());
    let mut bytes = vec![0; 28];
    bytes.extend_from_slice(&(1u64 << 45).to_le_bytes());
    assert!(decode_command(kind::MASS_QUOTE, TIME, &bytes).is_err());
}

#[test]
fn a_malformed_name_is_refused() {
    let mut name = [0u8; 65];
    name[0] = 3;
    name[1..5].copy_from_slice(b"abcd");
    let mut bytes = name.to_vec();
    bytes.extend_from_slice(&[0; 16]);
    assert_eq!(
        decode_command(kind::SESSION_LOGON, TIME, &bytes),
        Err(DecodeError::Name {
            field: "name",
            source: NameError::Malformed
        })
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(kind: u8, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_command(kind, TIME, &bytes);
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(kind in 1u8..7, bytes in proptest::collection::vec(any::<u8>(), 92)) {
        for len in [36, 35, 43, 68, 92] {
            if let Ok(command) = decode_command(kind, Timestamp::from_nanos(1 << 40), &bytes[..len]) {
                let mut again = Vec::new();
                let kind_again = encode_command(&command, Timestamp::from_nanos(1 << 40), &mut again).unwrap();
                prop_assert_eq!(decode_command(kind_again, Timestamp::from_nanos(1 << 40), &again).unwrap(), command);
            }
        }
    }

    #[test]
    fn every_order_survives(
        session in 0u32..1 << 20, generation in 0u16..1 << 12, account: u32, id: u64, received: u64,
        time: u64, price: i64, qty: u64, market: bool, tif in 0u8..4, stp in 0u8..5, inst in 0u8..16,
    ) {
        let time = Timestamp::from_nanos(time);
        let command = Command::NewOrder(NewOrder {
            header: ClientHeader {
                session: SessionId::new(session), generation: Generation::new(generation),
                account: AccountId::new(account), cl_ord_id: ClOrdId::new(id),
                received: Timestamp::from_nanos(received),
            },
            ord_type: if market { OrdType::Market } else { OrdType::Limit },
            time_in_force: TimeInForce::try_from(tif).unwrap(),
            self_match: SelfMatch::try_from(stp).unwrap(),
            exec_inst: ExecInst::from_bits(inst).unwrap(),
            price: Price::from_ticks(price), qty: Qty::from_lots(qty), ..order()
        });
        let mut bytes = Vec::new();
        let kind = encode_command(&command, time, &mut bytes).unwrap();
        prop_assert_eq!(decode_command(kind, time, &bytes).unwrap(), command);
    }
}
