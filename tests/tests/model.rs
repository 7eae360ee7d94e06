//! The engine against the plain reference model, on random scripts and on those that once differed.
//!
//! `TESSERA_MODEL_SEEDS=A..B` runs these seeds in place of the few that CI takes
//! (`cargo xtask model --seeds A..B` sets it); `TESSERA_MODEL_COMMANDS` sets the length of a script.

use std::collections::{BTreeSet, HashMap};
use std::env;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::Value;
use tessera::sim::Runner;
use tessera_engine::{EngineConfig, Exchange};
use tessera_tests::duel::{duel, shrink};
use tessera_tests::ledger::Ledger;
use tessera_tests::listing;
use tessera_tests::model::Model;
use tessera_tests::scripts::{Features, random_script};
use tessera_tests::sessions;
use tessera_types::{Event, Sequenced, wire};

/// Seeds that CI takes: a few seconds without optimisation.
const CI_SEEDS: Range<u64> = 0..300;
const COMMANDS: usize = 150;

#[test]
fn engine_and_model_agree_on_random_scripts() {
    for_each_seed(|seed, script| {
        if let Err(difference) = duel(script) {
            report(seed, script, difference.what);
        }
    });
    println!(
        "engine and model agree on the scripts of seeds {:?}",
        seeds()
    );
}

/// Scripts that no longer reach something would let every other test here pass.
#[test]
fn random_scripts_reach_every_event_and_reason() {
    let mut reached = BTreeSet::new();
    for seed in 0..80 {
        let mut engine = runner(0, 0, true);
        for line in random_script(seed, Features::ALL, COMMANDS) {
            let mut lines = String::new();
            let _ = engine.line(line.as_bytes(), &mut lines);
            for event in lines.lines() {
                let event: Value = serde_json::from_str(event).expect("an event line is JSON");
                let word = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
                let detail = ["reason", "aggressor", "state", "phase"].map(word).concat();
                reached.insert(format!("{} {detail}", word("ev")).trim_end().to_owned());
            }
        }
    }
    let expected = "\
        accepted, auction, canceled fok, canceled ioc, canceled mass_cancel, canceled min_qty, \
        canceled no_liquidity, canceled replaced, canceled requote, canceled stp, canceled user, \
        depth, expired day, expired gtd, fill buy, fill none, fill sell, indicative, instrument, \
        level, mass_canceled, order open, order stop, phase auction, phase closed, \
        phase continuous, phase halt, phase volatilityauction, phase volatilitycontinuous, reduced, reduced stp, rejected bad_field, rejected bad_price, \
        rejected bad_qty, rejected closed, rejected crossed_quote, rejected duplicate_id, \
        rejected duplicate_instrument, rejected expired, rejected halted, \
        rejected missing_field, rejected parse_error, rejected post_only, \
        rejected time_backwards, rejected unknown_instrument, rejected unknown_op, \
        rejected unknown_order, rejected wrong_phase, replaced, triggered";
    let missing: Vec<&str> = expected
        .split(", ")
        .filter(|kind| !reached.contains(*kind))
        .collect();
    assert!(missing.is_empty(), "not reached: {missing:?}");
}

/// The hash differs exactly when the model's state does, and does not tell how a state came about.
#[test]
fn the_state_hash_says_whether_two_states_are_equal() {
    for_each_seed(|seed, script| {
        let mut engine = runner(0, 0, false);
        let mut model = Model::new(false);
        let mut hash_of = HashMap::new();
        let mut state_of = HashMap::new();
        for line in script {
            let mut lines = String::new();
            let _ = engine.line(line.as_bytes(), &mut lines);
            assert_eq!(lines, model.line(line), "seed {seed}, without level events");
            let (state, hash) = (model.state(), engine.exchange().state_hash());
            let known = hash_of.entry(state.clone()).or_insert(hash);
            assert_eq!(*known, hash, "seed {seed}, {line}: one state, two hashes");
            let known = state_of.entry(hash).or_insert_with(|| state.clone());
            assert_eq!(*known, state, "seed {seed}, {line}: one hash, two states");
        }
    });
}

/// Neither the configuration nor the way through the journal's bytes changes a state; and after every
/// command each order has what its events say.
#[test]
fn the_same_commands_lead_to_the_same_state() {
    for_each_seed(|seed, script| {
        let (mut one, mut other) = (runner(0, 0, true), runner(0x5eed, 10_000, true));
        one.keep_commands();
        for line in script {
            let (mut lines, mut other_lines) = (String::new(), String::new());
            let _ = one.line(line.as_bytes(), &mut lines);
            let _ = other.line(line.as_bytes(), &mut other_lines);
            assert_eq!(lines, other_lines, "seed {seed}, {line}");
            let hashes = [&one, &other].map(|runner| runner.exchange().state_hash());
            assert_eq!(hashes[0], hashes[1], "seed {seed}, {line}");
        }
        let mut replayed = Exchange::new(EngineConfig::default());
        let (mut ledger, mut events) = (Ledger::default(), Vec::<Event>::new());
        for sequenced in one.commands() {
            events.clear();
            replayed.apply(&through_the_journal(sequenced), &mut events);
            for event in &events {
                ledger.book(&sequenced.command, event);
            }
            ledger.compare(&replayed);
        }
        assert_eq!(
            replayed.state_hash(),
            one.exchange().state_hash(),
            "seed {seed}"
        );
        assert_eq!(replayed.events_digest(), one.exchange().events_digest());
    });
}

/// A restart from a snapshot is no event: an exchange restored again and again from its own bytes
/// answers as the original does, and equal states have equal bytes.
#[test]
fn a_restored_exchange_answers_like_the_original() {
    for_each_seed(|seed, script| {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut runner = runner(0, 0, true);
        runner.keep_commands();
        for line in script {
            let _ = runner.line(line.as_bytes(), &mut String::new());
        }
        let mut original = Exchange::new(EngineConfig::default());
        let mut restored = Exchange::new(EngineConfig::default());
        let (mut events, mut others) = (Vec::<Event>::new(), Vec::<Event>::new());
        for sequenced in runner.commands() {
            original.apply(sequenced, &mut events);
            restored.apply(sequenced, &mut others);
            assert_eq!(events, others, "seed {seed}, command {}", sequenced.seq);
            if rng.random_bool(0.2) {
                let config = EngineConfig {
                    index_seed: seed,
                    ..EngineConfig::default()
                };
                let saved = original.save();
                restored = Exchange::restore(config, &saved).expect("a saved state is restored");
                restored.check_invariants();
                assert_eq!(restored.save(), saved, "seed {seed}");
                assert_eq!(restored.state_hash(), original.state_hash(), "seed {seed}");
                assert_eq!(restored.events_digest(), original.events_digest());
                events.clear();
                others.clear();
            }
        }
    });
}

/// Sessions add numbers, permissions and fences to the rules of trading, and change none of them.
#[test]
fn sessions_get_what_the_venue_would_get() {
    for_each_seed(|seed, script| {
        let mut engine = runner(0, 0, false);
        engine.keep_commands();
        for line in script {
            let _ = engine.line(line.as_bytes(), &mut String::new());
        }
        sessions::compare(seed, engine.commands());
    });
}

/// A catalogue only grows, and a contract stands on what it holds.
#[test]
fn only_what_the_catalogue_knows_is_listed() {
    for seed in seeds().take(100) {
        listing::compare(seed, 200);
    }
}

/// Histories that differ in what cannot matter, such as the order of two cancels, a refused request or
/// a question, lead to one hash exactly when they lead to one state.
#[test]
fn the_state_hash_forgets_what_cannot_matter() {
    let met = AtomicU64::new(0);
    for_each_seed(|seed, script| {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut script = script.to_vec();
        // Random scripts seldom end two orders in a row, so let every other one end with that.
        let ids: Vec<String> = script.iter().filter_map(|line| new_id(line)).collect();
        for id in ids.iter().rev().take(if seed % 2 == 0 { 6 } else { 0 }) {
            script.push(format!(r#"{{"op":"cancel","id":{id}}}"#));
        }
        let mut other = script.clone();
        for at in 0..other.len() - 1 {
            let forgotten = may_swap(&other[at]) && may_swap(&other[at + 1]);
            // Now and then two that do matter, so that the states differ and the hashes must.
            if rng.random_bool(if forgotten { 0.5 } else { 0.003 }) {
                other.swap(at, at + 1);
            }
        }
        for _ in 0..10 {
            let at = rng.random_range(0..=other.len());
            let line = [
                r#"{"op":"cancel","id":99999999}"#,
                r#"{"op":"orders"}"#,
                r#"{"op":"new","id":0}"#,
            ];
            other.insert(at, line[at % line.len()].to_owned());
        }
        let run = |script: &[String]| {
            let (mut engine, mut model) = (runner(seed, 0, false), Model::new(false));
            // Accounts are numbered as a script names them first, and the number is in the hash.
            let parties = ["A", "B", "C", "D \\\"\u{1F680}\\\""]
                .map(|party| format!(r#"{{"op":"mass_quote","party":"{party}","quotes":[]}}"#));
            for line in parties.iter().chain(script) {
                let _ = engine.line(line.as_bytes(), &mut String::new());
                model.line(line);
            }
            (model.state(), engine.exchange().state_hash())
        };
        let (one, other) = (run(&script), run(&other));
        assert_eq!(one.0 == other.0, one.1 == other.1, "seed {seed}");
        met.fetch_add(u64::from(one.0 == other.0), Relaxed);
    });
    let (met, all) = (met.into_inner(), seeds().end - seeds().start);
    assert!(all < 100 || (0 < met && met < all), "{met} of {all} met");
}

/// The id on a line that enters an order.
fn new_id(line: &str) -> Option<String> {
    let line = line.strip_prefix("{\"op\":\"new\",\"id\":")?;
    Some(line.split_once(',')?.0.to_owned())
}

/// Requests that end or shrink orders, on a line that leaves the clock alone.
fn may_swap(line: &str) -> bool {
    let ends = ["cancel", "reduce", "mass_cancel"];
    ends.iter()
        .any(|op| line.starts_with(&format!(r#"{{"op":"{op}""#)))
        && !line.contains(r#""t":"#)
}

/// Scripts that engine and model once answered differently, shrunk.
fn agree(script: &str) {
    let script: Vec<String> = script.lines().map(|line| line.trim().to_owned()).collect();
    if let Err(difference) = duel(&script) {
        panic!("{difference}");
    }
}

#[test]
fn sharing_parameters_may_be_zero() {
    agree(
        r#"{"op":"instrument","instrument":"A","algo":"pro_rata","min_alloc":0}
        {"op":"instrument","instrument":"B","algo":"top_pro_rata","top_min":0,"top_max":0}"#,
    );
}

#[test]
fn a_total_of_zero_cancels() {
    agree(
        r#"{"op":"new","id":23,"party":"B","side":"sell","price":103,"qty":3}
        {"op":"replace","id":23,"qty":0}
        {"op":"new","id":15,"party":"B","side":"buy","qty":3,"type":"trailing_stop","trail":2}
        {"op":"replace","id":15,"qty":0}"#,
    );
}

#[test]
fn a_total_off_the_lot_is_refused_even_if_it_would_cancel() {
    agree(
        r#"{"op":"instrument","instrument":"I","lot":2}
        {"op":"new","id":4,"party":"B","side":"sell","price":98,"qty":18}
        {"op":"new","id":6,"party":"C","side":"buy","price":98,"qty":8}
        {"op":"replace","id":4,"qty":7}
        {"op":"replace","id":4,"qty":6}"#,
    );
}

#[test]
fn an_all_or_none_order_has_no_part_in_a_shared_level() {
    agree(
        r#"{"op":"instrument","instrument":"I","algo":"pro_rata"}
        {"op":"new","id":4,"party":"A","side":"sell","price":95,"qty":3,"aon":true}
        {"op":"new","id":15,"party":"B","side":"sell","price":95,"qty":8}
        {"op":"new","id":35,"party":"A","side":"buy","price":97,"qty":3,"stp":"cancel_new"}
        {"op":"new","id":36,"party":"C","side":"buy","price":97,"qty":8}"#,
    );
}

#[test]
fn a_level_is_shared_once_an_all_or_none_order_has_taken_its_part() {
    agree(
        r#"{"op":"instrument","instrument":"I","algo":"top_pro_rata"}
        {"op":"new","id":1,"party":"A","side":"buy","price":100,"qty":15,"aon":true}
        {"op":"new","id":2,"party":"C","side":"buy","price":100,"qty":10}
        {"op":"new","id":3,"party":"B","side":"buy","price":100,"qty":8}
        {"op":"new","id":4,"party":"B","side":"sell","price":99,"qty":22,"aon":true,"stp":"cancel_both"}"#,
    );
}

#[test]
fn an_all_or_none_stop_triggered_in_an_auction_stays_out_of_it() {
    agree(
        r#"{"op":"new","id":1,"party":"B","side":"buy","price":100,"qty":2}
        {"op":"new","id":2,"party":"B","side":"sell","price":100,"qty":2}
        {"op":"new","id":3,"party":"A","side":"buy","qty":1,"type":"stop","stop":101,"aon":true}
        {"op":"new","id":4,"party":"B","side":"sell","price":101,"qty":1}
        {"op":"phase","phase":"auction"}
        {"op":"replace","id":3,"stop":100}
        {"op":"phase","phase":"continuous"}"#,
    );
}

#[test]
fn a_share_of_an_iceberg_comes_slice_by_slice() {
    agree(
        r#"{"op":"instrument","instrument":"I","algo":"split","fifo_pct":76}
        {"op":"new","id":8,"party":"A","side":"buy","price":102,"qty":8,"type":"iceberg","display":1}
        {"op":"new","id":2,"party":"B","side":"buy","price":102,"qty":26}
        {"op":"new","id":11,"party":"C","side":"sell","price":102,"qty":14}"#,
    );
}

#[test]
fn a_stop_elected_before_an_interruption_waits_only_if_it_may() {
    agree(
        r#"{"op":"instrument","instrument":"V","vi_band":2,"vi_ns":10,"ref_price":100}
        {"op":"new","id":1,"party":"A","side":"sell","price":100,"qty":1}
        {"op":"new","id":2,"party":"A","side":"sell","price":110,"qty":9}
        {"op":"new","id":3,"party":"B","side":"buy","qty":20,"type":"stop","stop":100,"tif":"fok"}
        {"op":"new","id":4,"party":"B","side":"buy","price":110,"qty":20,"type":"stop_limit","stop":100,"tif":"ioc"}
        {"op":"new","id":5,"party":"B","side":"buy","price":110,"qty":2,"type":"stop_limit","stop":100,"min_qty":2}
        {"op":"new","id":6,"party":"B","side":"buy","qty":2,"type":"stop","stop":100}
        {"op":"new","id":7,"party":"B","side":"buy","price":110,"qty":2,"type":"stop_limit","stop":100,"aon":true}
        {"op":"new","id":8,"party":"C","side":"buy","price":111,"qty":2}
        {"op":"orders"}
        {"op":"time","t":10}
        {"op":"orders"}"#,
    );
}

#[test]
fn interruptions_end_by_time_then_by_instrument() {
    agree(
        r#"{"op":"instrument","instrument":"U","vi_band":1,"vi_ns":100,"ref_price":100}
        {"op":"instrument","instrument":"V","vi_band":1,"vi_ns":100,"ref_price":100}
        {"op":"instrument","instrument":"W","vi_band":1,"vi_ns":10,"ref_price":100}
        {"op":"new","id":1,"party":"A","side":"sell","price":110,"qty":1,"instrument":"U"}
        {"op":"new","id":2,"party":"A","side":"sell","price":110,"qty":1,"instrument":"V"}
        {"op":"new","id":3,"party":"A","side":"sell","price":110,"qty":2,"instrument":"W"}
        {"op":"new","id":4,"party":"B","side":"buy","price":110,"qty":1,"instrument":"V"}
        {"op":"new","id":5,"party":"B","side":"buy","price":110,"qty":1,"instrument":"U"}
        {"op":"new","id":6,"party":"B","side":"buy","price":110,"qty":1,"instrument":"W"}
        {"op":"new","id":7,"party":"C","side":"buy","price":90,"qty":1,"tif":"gtd","expire":100}
        {"op":"phase","phase":"auction","instrument":"W","t":5}
        {"op":"phase","phase":"continuous","instrument":"W","ref_price":100}
        {"op":"new","id":8,"party":"B","side":"buy","price":110,"qty":1,"instrument":"W"}
        {"op":"time","t":14}
        {"op":"time","t":200}"#,
    );
}

#[test]
fn an_order_reaches_past_what_passes_it_over_beyond_the_band() {
    agree(
        r#"{"op":"instrument","instrument":"V","vi_band":2,"vi_ns":10,"ref_price":100}
        {"op":"new","id":1,"party":"A","side":"sell","price":95,"qty":10,"aon":true}
        {"op":"new","id":2,"party":"A","side":"sell","price":101,"qty":3}
        {"op":"new","id":3,"party":"B","side":"buy","price":105,"qty":3,"tif":"fok"}
        {"op":"new","id":4,"party":"A","side":"sell","price":101,"qty":8}
        {"op":"new","id":5,"party":"B","side":"buy","price":105,"qty":5,"min_qty":4}
        {"op":"new","id":6,"party":"B","side":"buy","price":105,"qty":10,"tif":"fok"}
        {"op":"new","id":7,"party":"B","side":"buy","price":105,"qty":12,"tif":"ioc"}"#,
    );
}

#[test]
fn the_surplus_of_an_auction_ends_where_its_field_ends() {
    for [one, other] in [["buy", "sell"], ["sell", "buy"]] {
        let huge = i64::MAX;
        agree(&format!(
            r#"{{"op":"instrument","instrument":"I","indicative":true}}
            {{"op":"phase","phase":"auction"}}
            {{"op":"new","id":1,"party":"A","side":"{one}","price":100,"qty":{huge}}}
            {{"op":"new","id":2,"party":"A","side":"{one}","price":100,"qty":{huge}}}
            {{"op":"new","id":3,"party":"A","side":"{one}","price":100,"qty":{huge}}}
            {{"op":"new","id":4,"party":"B","side":"{other}","price":100,"qty":5}}
            {{"op":"new","id":5,"party":"B","side":"{other}","price":100,"qty":{huge}}}
            {{"op":"new","id":6,"party":"B","side":"{other}","price":100,"qty":{huge}}}
            {{"op":"phase","phase":"continuous"}}"#
        ));
    }
}

#[test]
fn a_triggered_stop_that_waits_for_an_auction_has_no_price() {
    agree(
        r#"{"op":"new","id":3,"party":"C","side":"buy","price":103,"qty":2}
        {"op":"new","id":4,"party":"B","side":"sell","price":95,"qty":2}
        {"op":"phase","phase":"auction"}
        {"op":"new","id":59,"party":"B","side":"sell","qty":3,"type":"stop","stop":103}
        {"op":"replace","id":59,"qty":3}
        {"op":"orders"}"#,
    );
}

/// What fell due while the exchange was down comes a grace behind the restart; a hold serves cancels
/// and lets nothing trade, and each instrument goes on where it was.
#[test]
fn a_restart_is_one_step_of_the_clock_and_may_be_held() {
    let script = r#"{"op":"instrument","instrument":"I"}
        {"op":"instrument","instrument":"V","vi_band":2,"vi_ns":10,"ref_price":100}
        {"op":"instrument","instrument":"C"}
        {"op":"phase","phase":"closed","instrument":"C"}
        {"op":"new","id":1,"party":"A","side":"buy","price":90,"qty":5,"tif":"gtd","expire":20,"instrument":"I"}
        {"op":"new","id":2,"party":"A","side":"buy","price":91,"qty":5,"tif":"gtd","expire":150,"instrument":"I"}
        {"op":"new","id":3,"party":"A","side":"sell","price":110,"qty":4,"instrument":"V"}
        {"op":"new","id":4,"party":"B","side":"buy","price":110,"qty":4,"instrument":"V"}
        {"op":"restart","t":100,"hold":40,"grace":7}
        {"op":"new","id":5,"party":"B","side":"sell","price":90,"qty":1,"instrument":"I"}
        {"op":"cancel","id":2}
        {"op":"time","t":120}
        {"op":"restart","t":130,"hold":5}
        {"op":"phase","phase":"auction","instrument":"I"}
        {"op":"reopen","t":140}
        {"op":"reopen"}"#;
    agree(script);
    let mut model = Model::new(false);
    let lines: String = script.lines().map(|line| model.line(line.trim())).collect();
    let told: Vec<&str> = lines.lines().collect();
    let says = |words: &[&str]| {
        told.iter()
            .filter(|line| words.iter().all(|word| line.contains(word)))
            .count()
    };
    assert_eq!(
        says(&["expired", r#""id":1,"#, r#""line":12"#]),
        1,
        "{lines}"
    );
    assert_eq!(says(&["rejected", "halted"]), 1, "{lines}");
    assert_eq!(
        says(&["phase", "halt", "restart", r#""until":140"#]),
        2,
        "{lines}"
    );
    assert_eq!(
        says(&["phase", "halt", "restart", r#""until":135"#]),
        2,
        "{lines}"
    );
    // The operator has decided for I; of the others V collects on, and its auction is over at once.
    assert_eq!(
        says(&["phase", "auction", "restart", r#""until":140"#]),
        1,
        "{lines}"
    );
    assert_eq!(says(&["phase", "continuous", "volatility"]), 1, "{lines}");
    assert_eq!(says(&["fill"]), 1, "{lines}");
}

#[test]
fn a_reduce_below_the_least_quantity_leaves_fill_or_kill_alone() {
    agree(
        r#"{"op":"new","id":4,"party":"C","side":"buy","qty":9,"type":"trailing_stop","trail":2,"tif":"fok","min_qty":3}
        {"op":"reduce","id":4,"by":7}
        {"op":"new","id":26,"party":"C","side":"buy","price":103,"qty":2}
        {"op":"new","id":18,"party":"C","side":"buy","price":98,"qty":6}
        {"op":"new","id":28,"party":"A","side":"sell","price":101,"qty":10}"#,
    );
}

fn runner(index_seed: u64, expected_orders: usize, levels: bool) -> Runner {
    let config = EngineConfig {
        index_seed,
        expected_orders,
        ..EngineConfig::default()
    };
    Runner::new(config, levels)
}

fn through_the_journal(sequenced: &Sequenced) -> Sequenced {
    let mut payload = Vec::new();
    let kind = wire::encode_command(&sequenced.command, sequenced.time, &mut payload)
        .expect("a command of a script fits a record");
    Sequenced {
        command: wire::decode_command(kind, sequenced.time, &payload)
            .expect("what was encoded can be decoded"),
        ..*sequenced
    }
}

/// Runs `test` on the script of every seed, on all processors.
fn for_each_seed(test: impl Fn(u64, &[String]) + Sync) {
    let seeds = seeds();
    let commands = env::var("TESSERA_MODEL_COMMANDS")
        .map_or(COMMANDS, |text| text.parse().expect("a number of commands"));
    let workers = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    thread::scope(|scope| {
        for worker in 0..workers {
            let (seeds, test) = (seeds.clone(), &test);
            scope.spawn(move || {
                for seed in seeds.filter(|seed| seed % workers == worker) {
                    test(seed, &random_script(seed, Features::ALL, commands));
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
