//! Order scripts with known answers through `tessera sim`.
//!
//! `tests/cases/*.jsonl` are scripts of our own whose event lines are pinned beside them
//! (`UPDATE_EXPECT=1` rewrites those; the diff is the review). Further cases, which are not part of
//! the repository, are looked for in `TESSERA_SHARED` or in `shared` beside the repository: facts
//! that scripts must give, and a slice of real order flow.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use flate2::read::GzDecoder;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tessera::sim::{Args, SimError, stream};
use tessera_tests::model::Model;

/// The event lines of a script, and how it ended.
fn run(script: &str, levels: bool, strict: bool) -> (String, Result<(), SimError>) {
    let args = Args {
        script: PathBuf::from("-"),
        strict,
        levels,
        json: false,
    };
    let mut events = Vec::new();
    let end = stream(script.as_bytes(), &mut events, &args);
    let events = String::from_utf8(events).expect("event lines are text");
    (events, end)
}

fn events_of(script: &str) -> Vec<Value> {
    let (events, end) = run(script, false, false);
    end.expect("the script runs to its end");
    events
        .lines()
        .map(|line| serde_json::from_str(line).expect("an event line is JSON"))
        .collect()
}

#[test]
fn our_scripts_give_the_pinned_events_from_engine_and_model() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut scripts: Vec<PathBuf> = fs::read_dir(&cases)
        .expect("tests/cases is part of the repository")
        .map(|entry| entry.expect("an entry of tests/cases").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 10, "only {scripts:?}");
    for path in scripts {
        let script = fs::read_to_string(&path).expect("a script of tests/cases");
        let (events, end) = run(&script, true, false);
        end.expect("the script runs to its end");
        let mut model = Model::new(true);
        let expected: String = script.lines().map(|line| model.line(line)).collect();
        assert_eq!(events, expected, "{}: the model differs", path.display());
        expect_file![path.with_extension("events")].assert_eq(&events);
    }
}

#[test]
fn the_example_of_the_document_is_answered_byte_for_byte() {
    let (events, _) = run(include_str!("../cases/example.jsonl"), false, false);
    assert_eq!(
        events,
        r#"{"ev":"instrument","seq":1,"line":2,"instrument":"H100.whole.eu.w31"}
{"ev":"accepted","seq":2,"line":3,"id":1,"party":"lab"}
{"ev":"accepted","seq":3,"line":4,"id":2,"party":"dc2"}
{"ev":"accepted","seq":4,"line":5,"id":3,"party":"fund"}
{"ev":"fill","seq":5,"line":5,"instrument":"H100.whole.eu.w31","maker":1,"taker":3,"price":250,"qty":4,"aggressor":"buy","maker_open":0,"taker_open":8}
{"ev":"fill","seq":6,"line":5,"instrument":"H100.whole.eu.w31","maker":2,"taker":3,"price":251,"qty":2,"aggressor":"buy","maker_open":4,"taker_open":6}
{"ev":"fill","seq":7,"line":5,"instrument":"H100.whole.eu.w31","maker":2,"taker":3,"price":251,"qty":2,"aggressor":"buy","maker_open":2,"taker_open":4}
{"ev":"fill","seq":8,"line":5,"instrument":"H100.whole.eu.w31","maker":2,"taker":3,"price":251,"qty":2,"aggressor":"buy","maker_open":0,"taker_open":2}
{"ev":"replaced","seq":9,"line":6,"id":3,"price":249,"qty":12,"open":2}
{"ev":"rejected","seq":10,"line":7,"op":"cancel","reason":"unknown_order","id":9}
{"ev":"depth","seq":11,"line":8,"instrument":"H100.whole.eu.w31","bids":[[249,2,1]],"asks":[]}
"#
    );
}

#[test]
fn strict_stops_after_the_first_malformed_line() {
    let script = "{\"op\":\"cancel\",\"id\":1}\n\n{\"op\":\"cancel\"}\n{\"op\":\"depth\"}\n";
    let (events, end) = run(script, false, true);
    assert!(
        matches!(end, Err(SimError::Malformed { line: 3 })),
        "{end:?}"
    );
    assert_eq!(
        events,
        "{\"ev\":\"rejected\",\"seq\":1,\"line\":1,\"op\":\"cancel\",\"reason\":\"unknown_order\",\"id\":1}\n\
         {\"ev\":\"rejected\",\"seq\":2,\"line\":3,\"op\":\"cancel\",\"reason\":\"missing_field\"}\n"
    );
}

#[test]
fn cases_beside_the_repository_give_their_facts() {
    let Some(path) = shared("cases/sample.jsonl") else {
        return;
    };
    let cases = fs::read_to_string(&path).expect("the cases are text");
    let mut failures = Vec::new();
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).expect("a case is JSON");
        for difference in check_case(&case) {
            failures.push(format!("{}: {difference}", case["id"]));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn real_order_flow_beside_the_repository_gives_its_digests() {
    let (Some(script), Some(expected)) = (
        shared("cases/lobster_aapl_20k.jsonl.gz"),
        shared("cases/lobster_aapl_20k.expected.json"),
    ) else {
        return;
    };
    let mut text = String::new();
    GzDecoder::new(File::open(script).expect("the script can be opened"))
        .read_to_string(&mut text)
        .expect("the script is compressed text");
    let expected = fs::read_to_string(expected).expect("the expected result is text");
    let expected: Value = serde_json::from_str(&expected).expect("the expected result is JSON");
    assert_eq!(summary(&events_of(&text)), expected);
}

/// A file of the cases that are not part of the repository; says so when it is not there.
fn shared(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let path = env::var_os("TESSERA_SHARED")
        .map_or_else(beside, PathBuf::from)
        .join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: there is no {}", path.display());
    None
}

/// What differs between the facts of a case and the events of its script.
fn check_case(case: &Value) -> Vec<String> {
    let facts = case["expect"].as_object().expect("a case expects facts");
    let events = events_of(&script_of(case));
    let of_kind =
        |kind: &str| -> Vec<&Value> { events.iter().filter(|event| event["ev"] == kind).collect() };
    let depths = of_kind("depth");
    let fills = joined(of_kind("fill").into_iter().map(|fill| {
        ["maker", "taker", "price", "qty"].map(|field| fill[field].as_i64().expect("an integer"))
    }));
    let mut totals: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for [maker, taker, price, qty] in &fills {
        for order in [maker, taker] {
            let total = totals.entry(order.to_string()).or_default();
            total.0 += qty;
            total.1 += price * qty;
        }
    }
    let total = |order: &String| totals.get(order).copied().unwrap_or_default();
    let by_id = |kind: &str, field: &str| -> BTreeMap<String, Value> {
        of_kind(kind)
            .into_iter()
            .map(|event| (event["id"].to_string(), event[field].clone()))
            .collect()
    };
    let levels = |depth: &Value, side: &str| -> Value {
        let levels = depth[side].as_array().expect("a list of levels");
        levels
            .iter()
            .map(|level| json!([level[0], level[1]]))
            .collect()
    };
    let ids = |kind: &str| -> Value {
        of_kind(kind)
            .iter()
            .map(|event| event["id"].clone())
            .collect()
    };
    // A map of facts counts for the orders it names; an empty one says that there are none.
    let named = |wanted: &Value, got: BTreeMap<String, Value>| -> Value {
        let wanted = wanted.as_object().expect("a map by order");
        if wanted.is_empty() {
            json!(got)
        } else {
            wanted
                .keys()
                .map(|id| (id.clone(), got.get(id).cloned().unwrap_or(Value::Null)))
                .collect()
        }
    };

    let mut differences = Vec::new();
    for (fact, wanted) in facts {
        let mut wanted = wanted.clone();
        let got = match fact.as_str() {
            "fills" => {
                let rows = wanted.as_array().expect("a list of fills").clone();
                wanted = json!(joined(rows.iter().map(|row| {
                    [0, 1, 2, 3].map(|column| row[column].as_i64().expect("an integer"))
                })));
                json!(fills)
            }
            "filled" => keyed(&wanted, |order| json!([total(order).0, total(order).1])),
            "filled_total" => keyed(&wanted, |order| json!(total(order).0)),
            "fill_count" => json!(of_kind("fill").len()),
            "volume" => json!(fills.iter().map(|fill| fill[3]).sum::<i64>()),
            "bids" | "asks" => {
                let rows = wanted.as_array().expect("a list of levels").clone();
                wanted = rows.iter().map(|row| json!([row[0], row[1]])).collect();
                levels(depths.last().expect("a depth event"), fact)
            }
            "depths" => {
                let count = wanted.as_array().expect("a list of depths").len();
                let top = |depth: &Value, side: &str| -> Value {
                    depth[side]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .take(5)
                        .cloned()
                        .collect()
                };
                depths
                    .iter()
                    .take(count)
                    .map(|depth| json!({"bids": top(depth, "bids"), "asks": top(depth, "asks")}))
                    .collect()
            }
            "rejects" => of_kind("rejected")
                .iter()
                .map(|event| json!([event["id"], event["reason"]]))
                .collect(),
            "canceled" => named(&wanted, by_id("canceled", "reason")),
            "cancel_qty" => named(&wanted, by_id("canceled", "qty")),
            "cancel_order" => ids("canceled"),
            "open" => named(&wanted, by_id("order", "open")),
            "triggered" => ids("triggered"),
            "expired" => ids("expired"),
            "auction" => {
                let last = of_kind("auction")
                    .last()
                    .copied()
                    .cloned()
                    .unwrap_or(Value::Null);
                keyed(&wanted, |field| last[field.as_str()].clone())
            }
            "books" => keyed(&wanted, |name| {
                let depth = depths
                    .iter()
                    .rev()
                    .find(|depth| depth["instrument"] == name.as_str());
                let sides = &wanted[name.as_str()];
                keyed(sides, |side| {
                    depth.map_or(Value::Null, |depth| levels(depth, side))
                })
            }),
            "events" => keyed(&wanted, |kind| {
                let rows = wanted[kind.as_str()].as_array().expect("a list of events");
                let got = of_kind(kind);
                if got.len() != rows.len() {
                    return json!(got);
                }
                rows.iter()
                    .zip(got)
                    .map(|(row, event)| keyed(row, |field| event[field.as_str()].clone()))
                    .collect()
            }),
            "auction_fill_order" => wanted.clone(),
            other => panic!("unknown fact {other}"),
        };
        if got != wanted {
            differences.push(format!("{fact}: expected {wanted}, got {got}"));
        }
    }
    differences
}

/// The keys of a map with the values that `value` gives them.
fn keyed(map: &Value, value: impl Fn(&String) -> Value) -> Value {
    let map = map.as_object().expect("a map");
    map.keys().map(|key| (key.clone(), value(key))).collect()
}

fn script_of(case: &Value) -> String {
    let mut lines: Vec<String> = case["script"]
        .as_array()
        .expect("a case has a script")
        .iter()
        .map(|line| {
            line["raw"]
                .as_str()
                .map_or_else(|| line.to_string(), str::to_owned)
        })
        .collect();
    for name in case["expect"]["books"]
        .as_object()
        .into_iter()
        .flat_map(|books| books.keys())
    {
        lines.push(json!({"op": "depth", "instrument": name}).to_string());
    }
    lines.push(r#"{"op":"depth"}"#.to_owned());
    lines.push(r#"{"op":"orders"}"#.to_owned());
    lines.join("\n")
}

/// Fills (maker, taker, price, quantity) with neighbours of the same pair and price as one.
fn joined(fills: impl Iterator<Item = [i64; 4]>) -> Vec<[i64; 4]> {
    let mut joined: Vec<[i64; 4]> = Vec::new();
    for fill in fills {
        match joined.last_mut() {
            Some(last) if last[..3] == fill[..3] => last[3] += fill[3],
            _ => joined.push(fill),
        }
    }
    joined
}

/// Fills, volume, rejects, final depth, and one digest over the fills before each depth event and
/// the depth itself.
fn summary(events: &[Value]) -> Value {
    let (mut digests, mut flow, mut last) = (Vec::new(), String::new(), Value::Null);
    let (mut fills, mut volume, mut notional, mut rejects) = (0, 0, 0, 0);
    for event in events {
        match event["ev"].as_str() {
            Some("fill") => {
                let [maker, taker, price, qty] = ["maker", "taker", "price", "qty"]
                    .map(|field| event[field].as_i64().expect("an integer"));
                fills += 1;
                volume += qty;
                notional += price * qty;
                flow += &format!("{maker},{taker},{price},{qty};");
            }
            Some("rejected") => rejects += 1,
            Some("depth") => {
                for side in ["bids", "asks"] {
                    flow.push('|');
                    for level in event[side].as_array().expect("a list of levels") {
                        flow += &format!("{}:{},", level[0], level[1]);
                    }
                }
                let hash = digest(&SHA256, flow.as_bytes());
                let hex = hash
                    .as_ref()
                    .iter()
                    .take(8)
                    .map(|byte| format!("{byte:02x}"));
                digests.push(hex.collect::<String>());
                flow.clear();
                last = json!({"bids": event["bids"], "asks": event["asks"]});
            }
            _ => {}
        }
    }
    json!({
        "fills": fills, "volume": volume, "notional": notional, "rejects": rejects,
        "final": last, "digests": digests,
    })
}
