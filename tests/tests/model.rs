//! The engine against the plain reference model, on random scripts and on those that once differed.
//!
//! `TESSERA_MODEL_SEEDS=A..B` runs these seeds in place of the few that CI takes
//! (`cargo xtask model --seeds A..B` sets it); `TESSERA_MODEL_COMMANDS` sets the length of a script.

use std::env;
use std::ops::Range;
use std::thread;

use tessera_tests::duel::{duel, shrink};
use tessera_tests::scripts::{Features, random_script};

/// Seeds that CI takes: about ten seconds without optimisation.
const CI_SEEDS: Range<u64> = 0..400;
const COMMANDS: usize = 150;

#[test]
fn engine_and_model_agree_on_random_scripts() {
    let seeds = seeds();
    let commands = env::var("TESSERA_MODEL_COMMANDS")
        .map_or(COMMANDS, |text| text.parse().expect("a number of commands"));
    let workers = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    thread::scope(|scope| {
        for worker in 0..workers {
            let seeds = seeds.clone();
            scope.spawn(move || {
                for seed in seeds.filter(|seed| seed % workers == worker) {
                    let script = random_script(seed, Features::ALL, commands);
                    if let Err(difference) = duel(&script) {
                        report(seed, &script, difference.what);
                    }
                }
            });
        }
    });
}

fn seeds() -> Range<u64> {
    let Ok(text) = env::var("TESSERA_MODEL_SEEDS") else {
        return CI_SEEDS;
    };
    let range = text.split_once("..").and_then(|(first, end)| {
        let first = first.parse().ok()?;
        Some(first..end.parse().ok()?)
    });
    range.unwrap_or_else(|| panic!("TESSERA_MODEL_SEEDS is {text:?}, not a range such as 0..1000"))
}

/// Fails with the shortest script found that differs in the same way.
fn report(seed: u64, script: &[String], what: &str) -> ! {
    let same = |script: &[String]| duel(script).is_err_and(|difference| difference.what == what);
    let script = shrink(script, same);
    let difference = duel(&script).expect_err("a shrunk script still differs");
    panic!(
        "seed {seed}: {difference}\nthe script:\n{}\n",
        script.join("\n")
    );
}
