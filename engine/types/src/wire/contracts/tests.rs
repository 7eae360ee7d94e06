//! Every request about contracts comes back from its bytes, and no shorter or longer bytes do.

use super::*;
use crate::command::{ClientHeader, OrderTarget, QuoteEntry, SelfMatch, TimeInForce};
use crate::contract::{ClassDef, ContractTerms, Partition};
use crate::contract_command::{ColoLevel, Isolation, LeaseId, SubMode};
use crate::ids::{ClOrdId, Generation, OrderId, SessionId};
use crate::units::Side;
use crate::wire::{decode_command, encode_command};

const TIME: Timestamp = Timestamp::from_nanos(1_000_000_000);

fn header() -> ClientHeader {
    ClientHeader {
        session: SessionId::new(3),
        generation: Generation::new(2),
        account: AccountId::new(7),
        cl_ord_id: ClOrdId::new(41),
        received: TIME,
    }
}

fn check(kind: u8, command: impl Into<Command>) {
    let command = command.into();
    let mut bytes = Vec::new();
    let encoded = encode_command(&command, TIME, &mut bytes).unwrap();
    assert_eq!(encoded, kind);
    assert_eq!(decode_command(kind, TIME, &bytes).unwrap(), command);
    for cut in 0..bytes.len() {
        assert!(decode_command(kind, TIME, &bytes[..cut]).is_err(), "{cut}");
    }
    bytes.push(0);
    assert!(decode_command(kind, TIME, &bytes).is_err());
}

impl From<ContractCommand> for Command {
    fn from(command: ContractCommand) -> Self {
        Self::Contract(command)
    }
}

fn need() -> Need {
    Need {
        isolation: Isolation::Hardware,
        min_notice_s: 60,
        exclude: vec![AccountId::new(4), AccountId::new(5)],
        min_score: 8_500,
        max_age_s: Some(7),
        min_stake: 100,
    }
}

#[test]
fn older_requests_with_more_fields() {
    let (header, instrument) = (header(), InstrumentId::new(5));
    let ask = NewOrder {
        backing: Backing::lease(LeaseId::new(9)),
        ..NewOrder::limit(
            header,
            instrument,
            Side::Sell,
            Price::from_ticks(4),
            Qty::from_lots(2),
        )
    };
    check(kind::NEW_ORDER_BACKED, Command::NewOrder(ask));
    let entry = QuoteEntry {
        instrument,
        refused: None,
        bid_id: ClOrdId::new(1),
        bid_price: Price::from_ticks(99),
        bid_qty: None,
        ask_id: ClOrdId::new(2),
        ask_price: Price::from_ticks(100),
        ask_qty: Some(Qty::from_lots(1)),
        backing: Backing::pool(PoolId::new(0)),
    };
    let plain = QuoteEntry {
        backing: Backing::NOTHING,
        ..entry
    };
    let quotes = |entries| {
        Command::MassQuote(Box::new(MassQuote {
            header,
            post_only: false,
            keep_priority: true,
            self_match: SelfMatch::None,
            entries,
        }))
    };
    check(kind::MASS_QUOTE_BACKED, quotes(vec![plain, entry]));
    check(crate::wire::kind::MASS_QUOTE, quotes(vec![plain]));
    let name = Name::new("d").unwrap();
    let terms = ContractTerms {
        class: 1,
        partition: Partition::Whole,
        profile: 0,
        tier: 1,
        zone: 0,
        start_hour: 300,
        hours: 12,
        weight: 10_000,
        windows: 3,
        reclaim: Some(Reclaim {
            notice_s: 3_600,
            compensation: 5_000,
            max_times: 1,
            min_run_s: 3_600,
            restart_minutes: 30,
        }),
    };
    check(
        kind::LIST_CONTRACT,
        Command::ListInstrument(Box::new(ListInstrument {
            header,
            instrument: Instrument {
                terms: Some(terms),
                ..Instrument::plain(name)
            },
        })),
    );
    check(
        kind::SET_CATALOGUE_WORKLOADS,
        Command::SetCatalogue(Box::new(SetCatalogue {
            header,
            catalogue: Catalogue {
                version: 1,
                tick_micro_usd: 60,
                classes: vec![ClassDef {
                    name,
                    slices: 7,
                    stake: 100,
                }],
                profiles: vec![name],
                zones: vec![name],
                workloads: vec![name],
                efficiency: vec![Efficiency {
                    class: 0,
                    partition: Partition::Mig,
                    profile: 1,
                    workload: 0,
                    share: 4_545,
                    overhead: -300,
                    factor: 14_328,
                }],
            },
        })),
    );
}

#[test]
fn a_full_catalogue_fits_a_record() {
    let name = Name::new(&"x".repeat(Name::MAX)).unwrap();
    let class = ClassDef {
        name,
        slices: 7,
        stake: u64::MAX,
    };
    let row = Efficiency {
        class: 0,
        partition: Partition::Mig,
        profile: 1,
        workload: 0,
        share: 1,
        overhead: 1,
        factor: 1,
    };
    check(
        kind::SET_CATALOGUE_WORKLOADS,
        Command::SetCatalogue(Box::new(SetCatalogue {
            header: header(),
            catalogue: Catalogue {
                version: 1,
                tick_micro_usd: 60,
                classes: vec![class; Catalogue::MAX_ENTRIES],
                profiles: vec![name; Catalogue::MAX_ENTRIES],
                zones: vec![name; Catalogue::MAX_ENTRIES],
                workloads: vec![name; Catalogue::MAX_ENTRIES],
                efficiency: vec![row; Catalogue::MAX_EFFICIENCY],
            },
        })),
    );
}

#[test]
fn requests_of_their_own() {
    let (header, instrument) = (header(), InstrumentId::new(5));
    let pool = PoolId::new(6);
    check(
        kind::POOL,
        ContractCommand::Pool(Box::new(DeclarePool {
            header,
            name: Name::new("a").unwrap(),
            class: 1,
            partition: Partition::TimeSlice,
            profile: 4,
            zone: 2,
            path: PoolPath::new(&[1, 2, 3]).unwrap(),
            first_device: 8,
            devices: 16,
        })),
    );
    check(
        kind::ATTEST,
        ContractCommand::Attest(Box::new(AttestPool {
            header,
            pool,
            qty: 8,
            until: TIME,
            score: Some(9_000),
            stake: None,
        })),
    );
    let max_weight = 20_000;
    check(
        kind::LIMIT,
        ContractCommand::Limit(Box::new(SetLimit { header, max_weight })),
    );
    let leg = Leg {
        classes: 6,
        bias: -4,
        ..Leg::ALL
    };
    check(
        kind::SUB,
        ContractCommand::Sub(Box::new(SubOrder {
            header,
            start_hour: 100,
            hours: 1,
            mode: SubMode::Work,
            qty: 8,
            workload: 1,
            limit: 40_000,
            legs: vec![leg, Leg::ALL],
            time_in_force: TimeInForce::Fok,
            need: need(),
        })),
    );
    for limit in [BlockLimit::Average(2_300), BlockLimit::Total(8_250)] {
        check(
            kind::BLOCK,
            ContractCommand::Block(Box::new(BlockOrder {
                header,
                instrument,
                qty: 1,
                windows: 4,
                flex: 2,
                level: ColoLevel::NvLink,
                moves: 1,
                fee: 50,
                limit,
                need: Need::NOTHING,
            })),
        );
    }
    check(
        kind::CARVE,
        ContractCommand::Carve(Box::new(CarveOrder {
            header,
            pool,
            tier: 2,
            start_hour: 100,
            hours: 1,
            prices: [11, 20, 0, 0, 0, 62]
                .map(|ticks| (ticks > 0).then_some(Price::from_ticks(ticks))),
        })),
    );
    check(
        kind::RFQ,
        ContractCommand::Rfq(Box::new(RfqOrder {
            header,
            instrument,
            qty: 8,
            price: 25_000,
            level: ColoLevel::Node,
            closes: TIME,
            max_quotes: 20,
            auto: true,
            need: need(),
        })),
    );
    let rfq = OrderTarget::Exchange(OrderId::new(4));
    check(
        kind::QUOTE,
        ContractCommand::Quote(Box::new(RfqQuote {
            header,
            rfq,
            pool,
            price: 21_000,
            notice_s: Some(43_200),
        })),
    );
    let quote = OrderTarget::Client(ClOrdId::new(4));
    check(
        kind::AWARD,
        ContractCommand::Award(Box::new(AwardQuote { header, rfq, quote })),
    );
    check(
        kind::PREEMPT,
        ContractCommand::Preempt(Box::new(PreemptOrder {
            header,
            instrument,
            qty: Qty::from_lots(8),
            price: Price::from_ticks(26_660),
            from_hour: 102,
        })),
    );
}

#[test]
fn what_stands_behind_an_ask() {
    use crate::contract_command::BackedBy::{Lease, Nothing, Pool};
    assert_eq!(Backing::NOTHING.by(), Nothing);
    for number in [0, 1, 1000, PoolId::MAX.get()] {
        assert_eq!(
            Backing::pool(PoolId::new(number)).by(),
            Pool(PoolId::new(number))
        );
        assert_eq!(
            Backing::lease(LeaseId::new(number)).by(),
            Lease(LeaseId::new(number))
        );
    }
}
