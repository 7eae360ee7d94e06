//! A crash after every message: ClOrdID marks, ServerSeq numbers and the whole state come back.

use std::ops::ControlFlow;
use std::sync::Arc;

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use tessera_engine::{EngineConfig, Exchange, SessionView};
use tessera_journal::storage::memory::MemoryStorage;
use tessera_journal::{Body, Config, Journal, Opened};
use tessera_types::{
    AccountId, Cancel, ClOrdId, ClientHeader, Command, ConnToken, Event, FenceReason, Generation,
    Instrument, InstrumentId, ListInstrument, MassCancel, Name, NewOrder, OrderTarget, Price, Qty,
    Replace, Seq, Sequenced, ServerSeq, SessionFence, SessionId, SessionLogon, Side, Timestamp,
    wire,
};

const MESSAGES: u64 = 300;

/// Random client traffic over three sessions: orders, replaces, cancels, repeats of old ids, requests
/// of a life that has ended, fences and new logons.
fn traffic(seed: u64) -> Vec<Command> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut commands = vec![Command::ListInstrument(Box::new(ListInstrument {
        header: ClientHeader::default(),
        instrument: Instrument::plain(Name::new("TEST").unwrap()),
    }))];
    let mut lives = [(0_u16, 0_u64); 3];
    let logon = |session: usize| {
        Command::SessionLogon(Box::new(SessionLogon {
            name: Name::new(["alice", "bob", "carol"][session]).unwrap(),
            conn: ConnToken::new(session as u64),
            received: Timestamp::ZERO,
        }))
    };
    for (session, life) in lives.iter_mut().enumerate() {
        commands.push(logon(session));
        life.0 = 1;
    }
    while (commands.len() as u64) < MESSAGES {
        let session = rng.random_range(0..3_usize);
        let (generation, mark) = &mut lives[session];
        let stale = rng.random_range(0..20) == 0;
        let repeats = rng.random_range(0..10) == 0;
        if !repeats && !stale {
            *mark += rng.random_range(1..5);
        }
        let header = ClientHeader {
            session: SessionId::new([1, 2, 3][session]),
            generation: Generation::new(if stale { 0 } else { *generation }),
            account: AccountId::new([10, 11, 12][session]),
            cl_ord_id: ClOrdId::new(*mark),
            received: Timestamp::ZERO,
        };
        let target = OrderTarget::Client(ClOrdId::new(rng.random_range(1..=(*mark).max(1))));
        let command = match rng.random_range(0..20) {
            0 => {
                let fence = SessionFence {
                    session: header.session,
                    generation: Generation::new(*generation),
                    reason: FenceReason::Disconnect,
                    cancel_orders: rng.random(),
                    received: Timestamp::ZERO,
                };
                *generation += 2; // the fence and the logon raise it
                commands.push(Command::SessionFence(fence));
                logon(session)
            }
            1 => Command::MassCancel(MassCancel {
                header,
                account: None,
                instrument: None,
                side: Some(Side::Buy),
            }),
            2..5 => Command::Cancel(Cancel { header, target }),
            5..8 => Command::Replace(Replace {
                header,
                target,
                price: Some(Price::from_ticks(rng.random_range(95..105))),
                qty: None,
                stop: None,
                new_id: Some(header.cl_ord_id),
            }),
            _ => Command::NewOrder(NewOrder::limit(
                header,
                InstrumentId::new(0),
                if rng.random() { Side::Buy } else { Side::Sell },
                Price::from_ticks(rng.random_range(95..105)),
                Qty::from_lots(rng.random_range(1..9)),
            )),
        };
        commands.push(command);
    }
    commands
}

fn sessions(engine: &Exchange) -> Vec<SessionView> {
    engine.sessions().collect()
}

/// ServerSeq numbers by session, as the events hand them out.
fn numbers(events: &[Event]) -> Vec<(SessionId, ServerSeq)> {
    let mut numbers = Vec::new();
    for event in events {
        match event {
            Event::OrderAccepted { party, .. }
            | Event::OrderCanceled { party, .. }
            | Event::OrderReduced { party, .. }
            | Event::OrderReplaced { party, .. } => numbers.push((party.session, party.server_seq)),
            Event::Trade { maker, taker, .. } => {
                numbers.push((maker.session, maker.server_seq));
                numbers.push((taker.session, taker.server_seq));
            }
            Event::Rejected {
                session,
                server_seq,
                ..
            }
            | Event::MassCanceled {
                session,
                server_seq,
                ..
            } => {
                numbers.push((*session, *server_seq));
            }
            _ => {}
        }
    }
    numbers.retain(|(session, _)| *session != SessionId::VENUE);
    numbers
}

/// What a restart makes of the disk: the engine and every number it hands out on the way.
fn restart(disk: &MemoryStorage) -> (Exchange, Vec<(SessionId, ServerSeq)>) {
    let opened = Journal::open_on(Arc::new(disk.clone()), config()).unwrap();
    let mut engine = Exchange::new(EngineConfig::default());
    let mut again = Vec::new();
    let mut events = Vec::new();
    opened
        .replay
        .run(|record| {
            if let Ok(Body::Command(payload)) = record.body() {
                let command = wire::decode_command(record.kind, record.time, payload).unwrap();
                events.clear();
                let sequenced = Sequenced {
                    seq: record.seq,
                    time: record.time,
                    command,
                };
                engine.apply(&sequenced, &mut events);
                again.extend(numbers(&events));
            }
            ControlFlow::<()>::Continue(())
        })
        .unwrap();
    (engine, again)
}

fn config() -> Config {
    Config {
        segment_bytes: 64 * 1024,
        ..Config::default()
    }
}

#[test]
fn a_crash_after_every_message_brings_back_marks_and_numbers() {
    for seed in 0..3 {
        let disk = MemoryStorage::new();
        let Opened {
            mut writer,
            mut syncer,
            mut preparer,
            ..
        } = Journal::open_on(Arc::new(disk.clone()), config()).unwrap();
        let mut engine = Exchange::new(EngineConfig::default());
        let mut given = Vec::new();
        let mut events = Vec::new();
        let mut payload = Vec::new();
        for (command, number) in traffic(seed).into_iter().zip(1..) {
            let sequenced = Sequenced {
                seq: Seq::new(number),
                time: Timestamp::from_nanos(number * 1_000),
                command,
            };
            payload.clear();
            let kind =
                wire::encode_command(&sequenced.command, sequenced.time, &mut payload).unwrap();
            preparer.prepare_if_needed().unwrap();
            writer
                .append(sequenced.seq, sequenced.time, kind, &payload)
                .unwrap();
            writer.publish();
            syncer.sync_once().unwrap();
            events.clear();
            engine.apply(&sequenced, &mut events);
            given.extend(numbers(&events));

            // The power goes now, and nothing that was not synced survives.
            let (recovered, again) = restart(&disk.after_power_cut(4096, |_| false));
            assert_eq!(recovered.last_seq(), sequenced.seq);
            assert_eq!(
                sessions(&recovered),
                sessions(&engine),
                "seed {seed}, message {number}"
            );
            assert_eq!(again, given, "seed {seed}, message {number}");
            assert_eq!(recovered.state_hash(), engine.state_hash());
        }
        for session in 1..=3 {
            let session = SessionId::new(session);
            let mine: Vec<_> = given
                .iter()
                .filter(|(whose, _)| *whose == session)
                .map(|n| n.1.get())
                .collect();
            let contiguous: Vec<_> = (1..=mine.len() as u64).collect();
            assert_eq!(
                mine, contiguous,
                "the numbers of session {session} have a hole"
            );
        }
        assert!(
            engine.live_orders() > 0,
            "the traffic left nothing to recover"
        );
    }
}
