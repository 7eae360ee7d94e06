//! One script through the engine and through the model.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;
use tessera::sim::Runner;
use tessera_engine::EngineConfig;
use tessera_types::Side;

use crate::model::Model;

/// The first line of a script that engine and model answer differently, or that breaks a promise of
/// the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Index of the line in the script.
    pub line: usize,
    /// What the line says.
    pub command: String,
    /// Which promise was broken.
    pub what: &'static str,
    /// What the engine says.
    pub engine: String,
    /// What it should say.
    pub expected: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "line {}: {}", self.line + 1, self.what)?;
        writeln!(f, "{}", self.command)?;
        writeln!(f, "engine:\n{}", self.engine)?;
        writeln!(f, "expected:\n{}", self.expected)
    }
}

/// Runs the script and compares, after every line: the event lines, level events included; a mirror
/// of the book built from level events alone; and whether the engine's structures fit together.
///
/// # Errors
/// The first [`Difference`]; a panic of the engine is one too.
pub fn duel(script: &[String]) -> Result<(), Box<Difference>> {
    let mut engine = Runner::new(EngineConfig::default(), true);
    let mut model = Model::new(true);
    let mut mirror = Mirror::default();
    for (line, command) in script.iter().enumerate() {
        let differs = |what, engine: String, expected: String| {
            Err(Box::new(Difference {
                line,
                command: command.clone(),
                what,
                engine,
                expected,
            }))
        };
        let expected = model.line(command);
        let answer = catch_unwind(AssertUnwindSafe(|| {
            let mut out = String::new();
            let _ = engine.line(command.as_bytes(), &mut out);
            engine.exchange().check_invariants();
            out
        }));
        let Ok(answer) = answer else {
            return differs("the engine panicked", String::new(), expected);
        };
        if answer != expected {
            return differs("the events differ", answer, expected);
        }
        mirror.apply(&answer);
        let book = Mirror::of(&engine);
        if mirror != book {
            return differs(
                "the book differs from its mirror",
                format!("{book:?}"),
                format!("{mirror:?}"),
            );
        }
    }
    Ok(())
}

/// The shortest script found that still differs: lines go first, then single fields.
#[must_use]
pub fn shrink(script: &[String], differs: impl Fn(&[String]) -> bool) -> Vec<String> {
    let mut script = script.to_vec();
    let mut chunk = script.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < script.len() {
            let mut shorter = script.clone();
            shorter.drain(at..(at + chunk).min(script.len()));
            if differs(&shorter) {
                script = shorter;
            } else {
                at += chunk;
            }
        }
        chunk /= 2;
    }
    for line in 0..script.len() {
        let Ok(Value::Object(fields)) = serde_json::from_str(&script[line]) else {
            continue;
        };
        for name in fields.keys() {
            let Ok(Value::Object(mut fewer)) = serde_json::from_str(&script[line]) else {
                continue;
            };
            fewer.remove(name);
            let mut simpler = script.clone();
            simpler[line] = Value::Object(fewer).to_string();
            if differs(&simpler) {
                script = simpler;
            }
        }
    }
    script
}

/// Visible quantity and number of orders by instrument, side and price.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mirror(BTreeMap<(String, &'static str, i64), (u64, u64)>);

impl Mirror {
    /// What the level events among these lines say.
    fn apply(&mut self, lines: &str) {
        for line in lines
            .lines()
            .filter(|line| line.starts_with(r#"{"ev":"level""#))
        {
            let event: Value = serde_json::from_str(line).expect("event lines are JSON");
            let instrument = event["instrument"].as_str().expect("a name").to_owned();
            let side = match event["side"].as_str() {
                Some("buy") => Side::Buy,
                _ => Side::Sell,
            };
            let price = event["price"].as_i64().expect("a price");
            let level = (
                event["qty"].as_u64().expect("a quantity"),
                event["orders"].as_u64().expect("a count"),
            );
            let key = (instrument, side.as_str(), price);
            if level.1 == 0 {
                self.0.remove(&key);
            } else {
                self.0.insert(key, level);
            }
        }
    }

    /// What the engine's books show.
    fn of(engine: &Runner) -> Self {
        let exchange = engine.exchange();
        let mut levels = BTreeMap::new();
        for (id, instrument, _) in exchange.instruments() {
            for side in [Side::Buy, Side::Sell] {
                for level in exchange.depth(id, side) {
                    let key = (
                        instrument.name.as_str().to_owned(),
                        side.as_str(),
                        level.price.ticks(),
                    );
                    levels.insert(key, (level.qty.lots(), u64::from(level.orders)));
                }
            }
        }
        Self(levels)
    }
}
