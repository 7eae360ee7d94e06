//! Compute contracts: the worked examples of the document, and the lattice of a device in slices.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::env;
use std::ops::Range;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::Value;
use tessera::sim::Runner;
use tessera_engine::{EngineConfig, Exchange, SnapshotError};
use tessera_tests::contract_scripts::random_contract_script;
use tessera_tests::duel::{Difference, duel, shrink};
use tessera_tests::model::Model;
use tessera_tests::model::contracts::device::{Device, PROFILES};
use tessera_types::Sequenced;

/// A prelude or an example of the document.
struct Example {
    name: String,
    prelude: Option<String>,
    levels: bool,
    /// Each command with the events it must give; a prelude says none.
    steps: Vec<(String, Vec<String>)>,
}

#[test]
fn the_model_gives_the_worked_examples() {
    let examples = examples();
    assert_eq!(
        examples
            .iter()
            .filter(|example| !example.is_prelude())
            .count(),
        31
    );
    for example in examples.iter().filter(|example| !example.is_prelude()) {
        let mut model = Model::new(example.levels);
        for line in prelude(&examples, example.prelude.as_deref()) {
            for event in model.line(&line).lines() {
                assert!(
                    !event.contains(r#""ev":"rejected""#),
                    "{}: {line}: {event}",
                    example.name
                );
            }
        }
        for (command, expected) in &example.steps {
            let said: Vec<String> = model.line(command).lines().map(without_numbers).collect();
            let expected: Vec<String> = expected.iter().map(|line| without_numbers(line)).collect();
            assert_eq!(said, expected, "{}: {command}", example.name);
        }
    }
}

#[test]
fn the_engine_gives_the_worked_examples() {
    let examples = examples();
    for example in examples.iter().filter(|example| !example.is_prelude()) {
        let mut engine = Runner::new(EngineConfig::default(), example.levels);
        for line in prelude(&examples, example.prelude.as_deref()) {
            let _ = engine.line(line.as_bytes(), &mut String::new());
        }
        for (command, expected) in &example.steps {
            let mut said = String::new();
            let _ = engine.line(command.as_bytes(), &mut said);
            let said: Vec<String> = said.lines().map(without_numbers).collect();
            let expected: Vec<String> = expected.iter().map(|line| without_numbers(line)).collect();
            assert_eq!(said, expected, "{}: {command}", example.name);
        }
    }
}

/// `TESSERA_MODEL_SEEDS=A..B` runs these seeds in place of the few that CI takes.
fn seeds() -> Range<u64> {
    let seeds = env::var("TESSERA_MODEL_SEEDS").ok().and_then(|text| {
        let (first, end) = text.split_once("..")?;
        Some(first.parse().ok()?..end.parse().ok()?)
    });
    seeds.unwrap_or(CI_SEEDS)
}

#[test]
fn engine_and_model_agree_on_contract_scripts() {
    let mut differing = Vec::new();
    for seed in seeds() {
        let script = random_contract_script(seed, COMMANDS);
        let Err(first) = duel(&script) else { continue };
        differing.push((seed, first.what));
        if differing.len() <= SHOWN {
            // A shorter script counts when it differs in the same kind of command and answer.
            let kind = |difference: &Difference| {
                let word = |line: &str, field: &str| {
                    let value: Value = serde_json::from_str(line).unwrap_or_default();
                    value[field].as_str().map(str::to_owned)
                };
                let said = |answer: &str| {
                    let words = |line: &str| (word(line, "ev"), word(line, "reason"));
                    answer.lines().map(words).collect::<Vec<_>>()
                };
                (
                    word(&difference.command, "op"),
                    said(&difference.engine),
                    said(&difference.expected),
                )
            };
            let wanted = kind(&first);
            let same = |script: &[String]| duel(script).is_err_and(|other| kind(&other) == wanted);
            let short = shrink(&script, same);
            let difference = duel(&short).expect_err("it still differs");
            println!("seed {seed}:\n{}\n{difference}", short.join("\n"));
        }
    }
    assert!(
        differing.is_empty(),
        "{} scripts differ: {differing:?}",
        differing.len()
    );
}

const CI_SEEDS: Range<u64> = 0..60;
/// How many scripts that differ are shown.
const SHOWN: usize = 6;

/// Saved and restored at any point, an exchange with contracts goes on as if nothing had been.
#[test]
fn a_restored_exchange_goes_on_with_its_contracts() {
    let mut reached = BTreeSet::new();
    for seed in seeds() {
        let commands = commands(seed);
        let every = 1 + seed % 60;
        let mut original = Exchange::new(EngineConfig::default());
        let mut restored = Exchange::new(EngineConfig::default());
        let (mut events, mut others) = (Vec::new(), Vec::new());
        for command in &commands {
            let at = format!("seed {seed}, command {}", command.seq);
            events.clear();
            others.clear();
            original.apply(command, &mut events);
            restored.apply(command, &mut others);
            assert_eq!(events, others, "{at}: events");
            if command.seq.get() % every != 0 {
                continue;
            }
            let saved = original.save();
            assert_eq!(saved, restored.save(), "{at}: bytes");
            restored = restore(&saved).unwrap_or_else(|error| panic!("{at}: {error}"));
            restored.check_invariants();
            assert_eq!(saved, restored.save(), "{at}: bytes of the restored");
            assert_eq!(original.state_hash(), restored.state_hash(), "{at}: state");
            assert_eq!(original.next_deadline(), restored.next_deadline(), "{at}");
            assert!(original.leases().eq(restored.leases()), "{at}: leases");
            assert!(
                original.group_orders().eq(restored.group_orders()),
                "{at}: group orders"
            );
            reached.extend(restored.group_orders().map(|group| group.kind));
            if restored.leases().next().is_some() {
                reached.insert("lease");
            }
        }
    }
    let all = BTreeSet::from(["sub", "carve", "rfq", "quote", "lease"]);
    assert_eq!(reached, all, "what the restored states held");
}

/// Damaged bytes are refused, or another state that takes commands of any content.
#[test]
fn no_bytes_of_contracts_make_the_engine_panic() {
    let (mut accepted, mut refused) = (0, HashSet::new());
    for seed in seeds() {
        let commands = commands(seed);
        let (before, after) = commands.split_at(commands.len() / 2);
        let mut exchange = Exchange::new(EngineConfig::default());
        for command in before {
            exchange.apply(command, &mut Vec::new());
        }
        let saved = exchange.save();
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        for _ in 0..DAMAGES {
            let mut sections = saved.clone();
            let damaged = [INSTRUMENTS, CONTRACTS, ORDERS][rng.random_range(0..3)];
            let found = sections.iter_mut().find(|(id, _)| *id == damaged);
            let Some((_, bytes)) = found.filter(|(_, bytes)| bytes.len() > 2) else {
                continue;
            };
            let at = rng.random_range(2..bytes.len());
            match rng.random_range(0..8) {
                0 => bytes.truncate(at),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, rng.random()),
                3 => bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
                4 | 5 => bytes[at] = bytes[at].wrapping_add(1),
                _ => bytes[at] ^= 1 << rng.random_range(0..8),
            }
            let mut restored = match restore(&sections) {
                Ok(restored) => restored,
                Err(error) => {
                    refused.insert(std::mem::discriminant(&error));
                    continue;
                }
            };
            accepted += 1;
            restored.check_invariants();
            // Bounds of an instrument that are too wide for a contract come back narrower.
            let same = damaged == INSTRUMENTS || restored.save() == sections;
            assert!(same, "seed {seed}: section {damaged:#x} has another form");
            let again = restore(&restored.save()).expect("what was saved is a state");
            assert_eq!(again.state_hash(), restored.state_hash(), "seed {seed}");
            for command in after {
                restored.apply(command, &mut Vec::new());
            }
            restored.check_invariants();
        }
    }
    assert!(accepted > 200, "{accepted} damaged states were taken");
    assert!(refused.len() >= 3, "{} kinds of refusal", refused.len());
}

const INSTRUMENTS: u32 = 0x04;
const ORDERS: u32 = 0x05;
const CONTRACTS: u32 = 0x10;
/// How many damaged states of each script.
const DAMAGES: usize = 60;

/// The commands of a random script.
fn commands(seed: u64) -> Vec<Sequenced> {
    let mut runner = Runner::new(EngineConfig::default(), false);
    runner.keep_commands();
    for line in random_contract_script(seed, COMMANDS) {
        let _ = runner.line(line.as_bytes(), &mut String::new());
    }
    runner.commands().to_vec()
}

/// Restores with another configuration: nothing in it may matter.
fn restore(sections: &[(u32, Vec<u8>)]) -> Result<Exchange, SnapshotError> {
    let config = EngineConfig {
        index_seed: 0x5eed,
        expected_orders: 7,
        ..EngineConfig::default()
    };
    Exchange::restore(config, sections)
}

/// Scripts that no longer reach something would let the comparison with the engine pass.
#[test]
fn random_contract_scripts_reach_every_event_and_reason() {
    let mut reached = BTreeSet::new();
    for seed in 0..60 {
        let mut model = Model::new(true);
        for line in random_contract_script(seed, COMMANDS) {
            for event in model.line(&line).lines() {
                let event: Value = serde_json::from_str(event).expect("an event line is JSON");
                let word = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
                let detail = ["op", "reason", "aggressor", "phase"].map(word);
                let mut kind = word("ev");
                for detail in detail.iter().filter(|detail| !detail.is_empty()) {
                    kind += " ";
                    kind += detail;
                }
                if event.get("of").is_some() {
                    reached.insert("resale".to_owned());
                }
                for name in event["counts"]
                    .as_object()
                    .into_iter()
                    .flat_map(|counts| counts.keys())
                {
                    reached.insert(format!("no_match {name}"));
                }
                reached.insert(kind);
            }
        }
    }
    let missing: Vec<&str> = REACHED
        .split(", ")
        .filter(|kind| !reached.contains(*kind))
        .collect();
    assert!(
        missing.is_empty(),
        "not reached: {missing:?}; reached: {reached:?}"
    );
}

const COMMANDS: usize = 200;
const REACHED: &str = "\
    accepted, attested, auction, block, canceled attestation, canceled fok, canceled infeasible, \
    canceled inventory, canceled ioc, canceled lost, canceled mass_cancel, canceled no_match, \
    canceled not_awarded, canceled requote, canceled rfq_ended, canceled user, catalog, \
    expired gtd, expired window, fill buy, fill none, fill sell, gang_depth, lapsed, lease, level, \
    limit, no_match age, no_match closed, no_match colo, no_match exclude, no_match isolation, \
    no_match min_run, no_match price, no_match score, no_match self, \
    no_match short, no_match silent, no_match stake, order, phase closed, placed, \
    pool, pool_free, preempted, reduced inventory, rejected block limit, \
    rejected carve post_only, rejected new inventory, rejected new limit, rejected new post_only, \
    rejected new unknown_lease, rejected new wrong_lease, rejected new wrong_pool, \
    rejected quote exclude, rejected quote inventory, rejected quote notice, rejected quote price, \
    rejected quote unknown_order, rejected sub limit, rejected sub no_efficiency, \
    rejected catalog stale_version, rejected replace wrong_kind, resale";

/// Rule 31 and the numbers of completions, against the enumeration kept beside the sources.
#[test]
fn the_lattice_of_a_device_is_the_enumerated_one() {
    let mut states = BTreeSet::from([Device::default()]);
    let mut waiting = vec![Device::default()];
    let mut lines = vec![HEAD.to_owned()];
    while let Some(state) = waiting.pop() {
        for (profile, known) in PROFILES.iter().enumerate() {
            for (start, next) in state.next(profile) {
                if states.insert(next) {
                    waiting.push(next);
                }
                let before = state.completions();
                let after = next.completions();
                lines.push(format!(
                    "{},{},{},{start},{},{},{before},{after}",
                    state.mask, state.compute, known.0, next.mask, next.compute
                ));
            }
        }
    }
    assert_eq!(states.len(), 336);
    let enumerated: BTreeSet<&str> = include_str!("../cases/mig_lattice.csv").lines().collect();
    let found: BTreeSet<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(found, enumerated);
}

const HEAD: &str = "mem_mask,compute_used,profile,start,next_mem_mask,next_compute_used,completions_before,completions_after";

impl Example {
    fn is_prelude(&self) -> bool {
        self.name.starts_with('P') && self.name.len() == 2
    }
}

fn examples() -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for line in include_str!("../cases/contracts_examples.txt").lines() {
        if let Some(head) = line.strip_prefix("prelude ") {
            let (name, prelude) = head
                .split_once(" = ")
                .map_or((head, None), |(a, b)| (a, Some(b)));
            examples.push(Example {
                name: name.to_owned(),
                prelude: prelude.map(str::to_owned),
                levels: false,
                steps: Vec::new(),
            });
        } else if let Some(head) = line.strip_prefix("example ") {
            let (kind, name) = head.split_once(": ").expect("an example has a name");
            let (prelude, levels) = kind
                .split_once(' ')
                .map_or((kind, false), |(p, _)| (p, true));
            examples.push(Example {
                name: name.to_owned(),
                prelude: Some(prelude.to_owned()),
                levels,
                steps: Vec::new(),
            });
        } else if let Some(command) = line.strip_prefix("> ") {
            let example = examples.last_mut().expect("a command is in an example");
            example.steps.push((command.to_owned(), Vec::new()));
        } else if line.starts_with('{') {
            let example = examples.last_mut().expect("an event is in an example");
            example
                .steps
                .last_mut()
                .expect("a command came before")
                .1
                .push(line.to_owned());
        }
    }
    examples
}

fn prelude(examples: &[Example], name: Option<&str>) -> Vec<String> {
    let Some(name) = name else {
        return Vec::new();
    };
    let found = examples
        .iter()
        .find(|example| example.name == name)
        .expect("a known prelude");
    let mut lines = prelude(examples, found.prelude.as_deref());
    lines.extend(found.steps.iter().map(|(command, _)| command.clone()));
    lines
}

/// An event without `seq` and `line`.
fn without_numbers(line: &str) -> String {
    let mut event: BTreeMap<String, Value> = serde_json::from_str(line).expect("an event is JSON");
    event.remove("seq");
    event.remove("line");
    serde_json::to_string(&event).expect("it was JSON")
}
