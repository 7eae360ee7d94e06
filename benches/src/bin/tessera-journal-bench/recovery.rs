//! How long does a start take, from the files to an engine that has every command in it?

use std::ops::ControlFlow;
use std::time::Instant;

use tessera_benches::flows::{Flow, Workload};
use tessera_engine::{EngineConfig, Exchange};
use tessera_journal::{Body, Config, Journal, Opened};
use tessera_types::{Event, EventSink, Sequenced, wire};

use crate::Plan;
use crate::table::{Goal, Table};

pub(crate) fn run(plan: &Plan, table: &mut Table) {
    let workload = Flow::W1.workload(plan.commands, 23);
    let dir = tempfile::tempdir_in(&plan.dir).expect("a directory that can be written");
    let config = Config::default();
    let hash = write(&workload, &config, dir.path());
    let (mut open, mut replay) = (f64::INFINITY, f64::INFINITY);
    let mut commands = 0;
    for _ in 0..plan.rounds.min(3) {
        let started = Instant::now();
        let opened = Journal::open(dir.path(), config.clone()).expect("a journal that is clean");
        open = open.min(started.elapsed().as_secs_f64());
        let started = Instant::now();
        let mut engine = engine();
        commands = 0_u32;
        opened
            .replay
            .run(|record| {
                if let Ok(Body::Command(payload)) = record.body() {
                    let command = wire::decode_command(record.kind, record.time, payload)
                        .expect("it was encoded by the same code");
                    let sequenced = Sequenced {
                        seq: record.seq,
                        time: record.time,
                        command,
                    };
                    engine.apply(&sequenced, &mut Discard);
                    commands += 1;
                }
                ControlFlow::<()>::Continue(())
            })
            .expect("a journal that can be read");
        replay = replay.min(started.elapsed().as_secs_f64());
        assert_eq!(engine.state_hash(), hash, "recovery comes to another state");
        opened.syncer.finish().expect("a disk that works");
    }
    let each = |seconds: f64| seconds * 1e9 / f64::from(commands);
    table.alone(
        "recovery, opening, per record",
        "ns",
        each(open),
        Goal::None,
    );
    table.alone(
        "recovery, replay, per command",
        "ns",
        each(replay),
        Goal::None,
    );
    let what = format!("recovery of {commands} commands from the first one");
    table.alone(&what, "s", open + replay, Goal::None);
    let what = "the same for 100,000,000, by proportion";
    table.alone(what, "s", each(open + replay) / 10.0, Goal::AtMost(30.0));
}

fn engine() -> Exchange {
    Exchange::new(EngineConfig {
        expected_orders: 2_000,
        ..EngineConfig::default()
    })
}

/// Writes the workload as a journal and returns the hash of the state after it.
fn write(workload: &Workload, config: &Config, directory: &std::path::Path) -> [u8; 32] {
    let Opened {
        mut writer,
        mut syncer,
        mut preparer,
        ..
    } = Journal::open(directory, config.clone()).expect("a fresh directory");
    let mut engine = engine();
    let mut payload = Vec::new();
    let all = [&workload.listings, &workload.fill, &workload.commands];
    for (index, sequenced) in all.into_iter().flatten().enumerate() {
        payload.clear();
        let kind = wire::encode_command(&sequenced.command, sequenced.time, &mut payload)
            .expect("a command that fits");
        while let Err(error) = writer.append(sequenced.seq, sequenced.time, kind, &payload) {
            assert!(error.is_stall(), "{error}");
            writer.publish();
            syncer.sync_once().expect("a disk that works");
            preparer.prepare_if_needed().expect("room on the disk");
        }
        engine.apply(sequenced, &mut Discard);
        if index % 65_536 == 65_535 {
            writer
                .append_state_hash(&engine.state_hash(), engine.events_digest())
                .expect("room in the segment");
            engine.restart_events_digest();
        }
    }
    writer.publish();
    syncer.finish().expect("a disk that works");
    engine.state_hash()
}

/// Takes events that nobody asked for.
struct Discard;

impl EventSink for Discard {
    fn emit(&mut self, _event: Event) {}
}
