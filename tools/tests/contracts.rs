//! The worked examples of compute contracts, number by number.

use std::collections::BTreeMap;

use serde_json::Value;
use tessera::sim::Runner;
use tessera_engine::{EngineConfig, Exchange};

/// A prelude or an example.
struct Section {
    base: Option<String>,
    levels: bool,
    lines: Vec<String>,
}

/// The sections of the file of examples: preludes by name, examples in order.
fn sections() -> (BTreeMap<String, Section>, Vec<(String, Section)>) {
    let (mut preludes, mut examples) = (BTreeMap::new(), Vec::new());
    let text = include_str!("data/contracts.txt");
    for part in text.split("\n== ").skip(1) {
        let (head, lines) = part.split_once('\n').expect("a section has lines");
        let lines = lines.lines().filter(|line| !line.is_empty());
        let lines = lines.map(str::to_owned).collect();
        if let Some(head) = head.strip_prefix("prelude ") {
            let (name, base) = head
                .split_once(" on ")
                .map_or((head, None), |(name, base)| (name, Some(base.to_owned())));
            let section = Section {
                base,
                levels: false,
                lines,
            };
            preludes.insert(name.to_owned(), section);
        } else {
            let head = head.strip_prefix("example on ").expect("an example");
            let (base, name) = head.split_once(": ").expect("base and name");
            let (base, levels) = match base.strip_suffix(" with levels") {
                Some(base) => (base, true),
                None => (base, false),
            };
            let section = Section {
                base: Some(base.to_owned()),
                levels,
                lines,
            };
            examples.push((name.to_owned(), section));
        }
    }
    (preludes, examples)
}

/// Event lines as values, without their numbers.
fn events(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| {
            let mut event: Value = serde_json::from_str(line).expect("an event line is JSON");
            let fields = event.as_object_mut().expect("an object");
            fields.remove("seq");
            fields.remove("line");
            event
        })
        .collect()
}

/// Runs an example and says where it differs; also replays its commands and compares the states.
fn check(name: &str, example: &Section, preludes: &BTreeMap<String, Section>) -> Vec<String> {
    let mut runner = Runner::new(EngineConfig::default(), example.levels);
    runner.keep_commands();
    let mut bases = Vec::new();
    let mut base = example.base.as_ref();
    while let Some(name) = base {
        let prelude = &preludes[name];
        bases.push(prelude);
        base = prelude.base.as_ref();
    }
    let mut out = String::new();
    for line in bases.iter().rev().flat_map(|prelude| &prelude.lines) {
        out.clear();
        let _ = runner.line(line.as_bytes(), &mut out);
        assert!(!out.contains("rejected"), "{name}: {line}: {out}");
    }
    let mut wrong = Vec::new();
    let mut lines = example.lines.iter().peekable();
    while let Some(line) = lines.next() {
        let command = line.strip_prefix("> ").expect("events follow a command");
        let mut expected = String::new();
        while let Some(event) = lines.next_if(|line| !line.starts_with("> ")) {
            expected.push_str(event);
            expected.push('\n');
        }
        out.clear();
        let _ = runner.line(command.as_bytes(), &mut out);
        runner.exchange().check_invariants();
        let (got, expected) = (events(&out), events(&expected));
        if got != expected {
            let text = |events: &[Value]| {
                events
                    .iter()
                    .map(|event| format!("    {event}\n"))
                    .collect::<String>()
            };
            wrong.push(format!(
                "{name}\n  > {command}\n  expected\n{}  got\n{}",
                text(&expected),
                text(&got)
            ));
        }
    }
    let mut replayed = Exchange::new(EngineConfig::default());
    for command in runner.commands() {
        replayed.apply(command, &mut Vec::new());
    }
    assert_eq!(
        replayed.state_hash(),
        runner.exchange().state_hash(),
        "{name}"
    );
    wrong
}

#[test]
fn every_worked_example() {
    let (preludes, examples) = sections();
    assert!(examples.len() >= 30, "{} examples", examples.len());
    let mut wrong = Vec::new();
    for (name, example) in &examples {
        wrong.extend(check(name, example, &preludes));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
