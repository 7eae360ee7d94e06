//! The verbs in process: exit codes, files, and the set that comes out.

use std::path::Path;

use clap::Parser;
use tessera_risk::model::Model;
use tessera_risk::quantise::ParameterSet;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// Runs `tessera risk ...` and returns what stopped it.
fn check(arguments: &[&str]) -> Result<(), Stop> {
    let all = ["risk"].iter().chain(arguments);
    let args = Cli::try_parse_from(all)
        .map_err(|e| Stop::Usage(e.to_string()))?
        .args;
    match &args.verb {
        RiskVerb::Calibrate(args) => calibrate::run(args),
        RiskVerb::Price(args) => price::run(args),
        RiskVerb::Margin(args) => margin::run(args),
        RiskVerb::Stress(args) => stress::run(args),
        RiskVerb::Backtest(args) => backtest::run(args),
    }
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn book(dir: &Path) -> String {
    let product = &Model::default_model().products[0].name;
    write(
        dir,
        "book.csv",
        &format!("account,instrument,lots\na,{product},100\nb,{product},-50\n"),
    )
}

/// Daily prices with a season and noise, from a plain recurrence.
fn prices(dir: &Path) -> String {
    let mut text = String::from("time,price_usd_per_mwh\n");
    let mut state = 1_u64;
    let mut x = 0.0_f64;
    for hour in 0..24 * 500_i64 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        x = 0.97 * x + ((state >> 40) as f64 / f64::from(1 << 24) - 0.5) * 0.2;
        let time = jiff::Timestamp::from_second(1_700_006_400 + hour * 3600).unwrap();
        text.push_str(&format!("{time},{}\n", 30.0 * x.exp()));
    }
    write(dir, "prices.csv", &text)
}

#[test]
fn margin_writes_a_set_that_reads_back_and_files() {
    let dir = tempfile::tempdir().unwrap();
    let (book, set) = (book(dir.path()), dir.path().join("set.json"));
    let out = dir.path().join("out");
    let (set_text, out_text) = (set.display().to_string(), out.display().to_string());
    let common = [
        "margin",
        "--positions",
        &book,
        "--scenarios",
        "1000",
        "--redraws",
        "2",
        "--books",
        "200",
        "--json",
    ];
    let mut with = common.to_vec();
    with.extend(["--emit", &set_text, "--out", &out_text]);
    check(&with).unwrap();
    let first = ParameterSet::open(&set).unwrap();
    assert_eq!((first.begin.version, first.begin.rows), (1, 64));
    for file in ["report.json", "margins.csv", "margin_0.svg"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    // The same model and seed give the same table; the next version follows.
    let next = dir.path().join("next.json").display().to_string();
    let mut again = common.to_vec();
    again.extend(["--emit", &next, "--previous", &set_text]);
    check(&again).unwrap();
    let second = ParameterSet::open(Path::new(&next)).unwrap();
    assert_eq!(second.begin.version, 2);
    assert_eq!(second.rows[7].losses, first.rows[7].losses);
    let mut limited = common.to_vec();
    limited.extend(["--limit", "1"]);
    assert!(matches!(check(&limited), Err(Stop::Failed(_))));
}

#[test]
fn stress_price_and_backtest_answer_in_one_command() {
    let dir = tempfile::tempdir().unwrap();
    let book = book(dir.path());
    check(&[
        "stress",
        "--positions",
        &book,
        "--scenario",
        "winter-storm",
        "--json",
    ])
    .unwrap();
    check(&["stress", "--list"]).unwrap();
    let contract = write(
        dir.path(),
        "c.toml",
        "class = \"H100_80_SXM\"\ntier = \"firm\"\nzone = \"tx\"\nstart_hours = 24.0\nhours = 24\nenergy_strike_usd_mwh = 80.0\n",
    );
    check(&[
        "price",
        "--contract",
        &contract,
        "--qty",
        "8",
        "--scenarios",
        "500",
    ])
    .unwrap();
    let prices = prices(dir.path());
    let out = dir.path().join("bt").display().to_string();
    check(&[
        "backtest",
        "--prices",
        &prices,
        "--method",
        "historical",
        "--window",
        "250",
        "--simulations",
        "50",
        "--out",
        &out,
    ])
    .unwrap();
    let forecasts = std::fs::read_to_string(dir.path().join("bt/forecasts.csv")).unwrap();
    assert!(forecasts.starts_with("day,var,es,loss"), "{forecasts}");
    check(&[
        "calibrate",
        "energy",
        "--prices",
        &prices,
        "--model",
        "likelihood",
        "--json",
    ])
    .unwrap();
    check(&["calibrate", "default"]).unwrap();
}

/// Exit 2 for bad input with file and line, 1 for a missing file.
#[test]
fn mistakes_have_their_exit_code_and_place() {
    let dir = tempfile::tempdir().unwrap();
    let usage = |arguments: &[&str], part: &str| match check(arguments) {
        Err(Stop::Usage(message)) => assert!(message.contains(part), "{message} lacks {part}"),
        other => panic!("{other:?}"),
    };
    let bad = write(
        dir.path(),
        "bad.csv",
        "account,instrument,lots\na,nothing,1\n",
    );
    usage(
        &["margin", "--positions", &bad],
        "bad.csv:2: column instrument",
    );
    usage(
        &[
            "stress",
            "--positions",
            &book(dir.path()),
            "--scenario",
            "rain",
        ],
        "winter-storm",
    );
    let model = write(dir.path(), "m.toml", "format = 1\nversion = \"x\"\n");
    usage(&["stress", "--list", "--model", &model], "m.toml");
    usage(&["margin"], "--positions");
    usage(
        &["calibrate", "energy", "--prices", &bad],
        "interval_start_utc",
    );
    let missing = [
        "backtest",
        "--prices",
        "/nonexistent.csv",
        "--method",
        "frozen",
        "--window",
        "100",
    ];
    assert!(matches!(check(&missing), Err(Stop::Failed(_))));
}

#[test]
fn text_output_is_indented_names_and_values() {
    let value = serde_json::json!({ "a": 1, "list": [{ "b": null }], "flat": [1, 2] });
    let text = output::text(&value);
    assert!(
        text.contains("[1]\n    b") && text.contains("1, 2"),
        "{text}"
    );
}
