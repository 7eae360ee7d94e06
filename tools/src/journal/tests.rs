//! The verbs over journals of real commands.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use clap::Parser;
use expect_test::{Expect, expect};
use serde_json::Value;
use tempfile::TempDir;
use tessera_engine::{EngineConfig, Exchange};
use tessera_journal::storage::Mapped;
use tessera_journal::{Config, Identity, Journal, Opened, Scan, Snapshots};
use tessera_types::{
    AccountId, AdvanceTime, Cancel, ClOrdId, ClientHeader, Command, Event, Generation, Instrument,
    InstrumentId, ListInstrument, Name, NewOrder, OrderTarget, Price, Qty, Seq, Sequenced,
    SessionId, Side, Timestamp, wire,
};

use super::{Args, ToolError, run_to};
use crate::exit;
use crate::serve::rebuild::{Rebuild, Taken};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// Runs `tessera journal LINE --data DIR` and gives exit code and output.
fn tool(dir: &Path, line: &str) -> Result<(u8, String), ToolError> {
    let words = std::iter::once("journal").chain(line.split_whitespace());
    let data = ["--data", dir.to_str().unwrap()];
    let args = Cli::try_parse_from(words.chain(data)).unwrap().args;
    let mut out = Vec::new();
    let code = run_to(&args, &mut out)?;
    Ok((code, String::from_utf8(out).unwrap()))
}

fn check(dir: &Path, line: &str, code: u8, expected: Expect) {
    let (found, out) = tool(dir, line).unwrap();
    // Times differ from run to run, and hashes with every change of the engine; nothing else must.
    let out = out
        .lines()
        .filter(|line| !line.starts_with("took"))
        .map(|line| {
            let line = cut(line.trim_start(), "\"elapsed_ms\":", ',');
            format!("{}\n", mask_hashes(&cut(&line, "\"commands_per_s\":", ',')))
        })
        .collect::<String>();
    expected.assert_eq(&out);
    assert_eq!(found, code);
}

/// Replaces words of 8 or 64 hex digits.
fn mask_hashes(line: &str) -> String {
    line.split_inclusive(|c: char| !c.is_ascii_alphanumeric())
        .map(|word| {
            let digits = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            let is_hash = matches!(digits.len(), 8 | 64)
                && digits
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            if is_hash {
                word.replace(digits, "HASH")
            } else {
                word.to_owned()
            }
        })
        .collect()
}

fn cut(line: &str, from: &str, to: char) -> String {
    match line.find(from) {
        None => line.to_owned(),
        Some(at) => {
            let rest = &line[at..];
            let end = rest.find(to).map_or(rest.len(), |end| end + 1);
            format!("{}{}", &line[..at], &rest[end..])
        }
    }
}

fn header(id: u64) -> ClientHeader {
    ClientHeader {
        session: SessionId::new(1),
        generation: Generation::new(1),
        account: AccountId::new(7),
        cl_ord_id: ClOrdId::new(id),
        ..ClientHeader::default()
    }
}

fn commands() -> Vec<Command> {
    let order = |id, side, price, qty| {
        let (price, qty) = (Price::from_ticks(price), Qty::from_lots(qty));
        Command::NewOrder(NewOrder::limit(
            header(id),
            InstrumentId::new(0),
            side,
            price,
            qty,
        ))
    };
    vec![
        Command::ListInstrument(Box::new(ListInstrument {
            header: ClientHeader::default(),
            instrument: Instrument::plain(Name::new("TEST").unwrap()),
        })),
        Command::SessionLogon(Box::new(tessera_types::SessionLogon {
            name: Name::new("MAKER").unwrap(),
            conn: tessera_types::ConnToken::new(1),
            received: Timestamp::ZERO,
        })),
        order(11, Side::Sell, 100, 5),
        order(12, Side::Buy, 101, 2),
        Command::Cancel(Cancel {
            header: header(13),
            target: OrderTarget::Client(ClOrdId::new(11)),
        }),
        Command::AdvanceTime(AdvanceTime),
    ]
}

/// Writes the commands, with a state hash after the fourth; `wrong` spoils that hash.
fn journal(wrong: bool) -> TempDir {
    let dir = TempDir::new().unwrap();
    let config = Config {
        segment_bytes: 64 * 1024,
        identity: Some(Identity {
            cluster_id: [1; 16],
            hash_seed: [2; 32],
        }),
        ..Config::default()
    };
    let Opened {
        mut writer, syncer, ..
    } = Journal::open(dir.path(), config).unwrap();
    let mut engine = Exchange::new(EngineConfig::default());
    let mut events: Vec<Event> = Vec::new();
    for (seq, command) in (1..).zip(commands()) {
        let (seq, time) = (Seq::new(seq), Timestamp::from_nanos(1_000 * seq));
        let mut payload = Vec::new();
        let kind = wire::encode_command(&command, time, &mut payload).unwrap();
        writer.append(seq, time, kind, &payload).unwrap();
        engine.apply(&Sequenced { seq, time, command }, &mut events);
        if seq.get() == 4 {
            let mut hash = engine.state_hash();
            hash[0] ^= u8::from(wrong);
            writer
                .append_state_hash(&hash, engine.events_digest())
                .unwrap();
            engine.restart_events_digest();
        }
    }
    writer.publish();
    syncer.finish().unwrap();
    dir
}

#[test]
fn verify_of_a_clean_journal() {
    let dir = journal(false);
    check(
        dir.path(),
        "verify --segments",
        0,
        expect![[r#"
            verdict     clean
            commands    1 to 6
            on disk     up to 6 (watermark)
            epoch       1, format 2
            chain       holds, HASH
            records     10 in 1 segments, 65536 bytes, 1 state hashes, 0 signatures
            00000000000000000001.jnl         10 records                    1 to 6
        "#]],
    );
    check(
        dir.path(),
        "verify --json",
        0,
        expect![[r#"
            {"bytes":65536,"chain":"HASH","chain_ok":true,"cluster_id":"01010101010101010101010101010101","commands":6,"epoch":1,"errors":[],"first_seq":1,"format":2,"last_seq":6,"live":false,"records":10,"segments":1,"signatures":0,"snapshot_seq":null,"state_hashes":1,"torn":null,"verdict":"clean","voids":0,"watermark_seq":6}
        "#]],
    );
}

#[test]
fn dump_in_every_format() {
    let dir = journal(false);
    check(
        dir.path(),
        "dump",
        0,
        expect![[r#"
            0                   0    0 segment_start   first_seq=1 previous_chain=HASH previous_crc=HASH
            0                   0    0 format          format=2 payload_schema=1 rules_version=1
            0                   0    1 epoch           durability=default epoch=1 reason=start
            1                1000    1 instrument      algo=fifo lot=1 max_price=9223372036854775807 max_qty=9223372036854775807 min_alloc=1 min_price=1 min_qty=1 name=TEST tick=1 top_max=9223372036854775807 top_min=1
            2                2000    1 session_logon   conn=1 name=MAKER
            3                3000    1 new             account=7 cl_ord_id=11 generation=1 instrument=0 ord_type=limit price=100 qty=5 self_match=none session=1 side=sell tif=gtc
            4                4000    1 new             account=7 cl_ord_id=12 generation=1 instrument=0 ord_type=limit price=101 qty=2 self_match=none session=1 side=buy tif=gtc
            4                4000    1 state_hash      events_digest=HASH hash=HASH
            5                5000    1 cancel          account=7 cl_ord_id=13 generation=1 session=1 target={"cl_ord_id":11}
            6                6000    1 time           
        "#]],
    );
    check(
        dir.path(),
        "dump --format seq-id",
        0,
        expect![[r#"
        1 0
        2 0
        3 11
        4 12
        5 13
        6 0
    "#]],
    );
    check(
        dir.path(),
        "dump --json --from 4 --to 4",
        0,
        expect![[r#"
        {"command":{"account":7,"budget":null,"cl_ord_id":12,"display":0,"exec_inst":[],"expire_ns":0,"generation":1,"instrument":0,"min_qty":0,"ord_type":"limit","price":101,"qty":2,"received_ns":0,"self_match":"none","session":1,"side":"buy","tif":"gtc","trigger":0},"crc":"HASH","epoch":1,"offset":4800,"segment":"00000000000000000001.jnl","seq":4,"session":1,"slots":1,"time_ns":4000,"type":"new"}
        {"command":null,"crc":"HASH","epoch":1,"offset":4864,"record":{"events_digest":"HASH","hash":"HASH"},"segment":"00000000000000000001.jnl","seq":4,"session":null,"slots":1,"time_ns":4000,"type":"state_hash"}
    "#]],
    );
    check(
        dir.path(),
        "dump --format hex --type cancel",
        0,
        expect![[r#"
        00000000000000000001.jnl 4928 5 03 HASH 010000000100070000000d000000000000000000000000000000000b00000000000000
    "#]],
    );
}

#[test]
fn replay_compares_and_reports() {
    let dir = journal(false);
    check(
        dir.path(),
        "replay",
        0,
        expect![[r#"
        commands      6 (1 to 6)
        events        9
        state hashes  1 checked
        state hash    HASH
    "#]],
    );
    check(
        dir.path(),
        "replay --json --to-seq 4",
        0,
        expect![[r#"
            {"commands":4,"events":7,"first_mismatch":null,"from_seq":1,"state_hash":"HASH","state_hashes_checked":1,"to_seq":4,"voids":0}
        "#]],
    );
    check(
        dir.path(),
        "replay --events -",
        0,
        expect![[r#"
        {"ev":"instrument","seq":1,"line":1,"instrument":"TEST"}
        {"ev":"accepted","seq":2,"line":3,"id":11,"party":"7"}
        {"ev":"accepted","seq":3,"line":4,"id":12,"party":"7"}
        {"ev":"fill","seq":4,"line":4,"instrument":"TEST","maker":11,"taker":12,"price":100,"qty":2,"aggressor":"buy","maker_open":3,"taker_open":0}
        {"ev":"canceled","seq":5,"line":5,"id":11,"qty":3,"reason":"user"}
    "#]],
    );
    let (_, by_seq) = tool(dir.path(), "replay --state-hash --to-seq 3").unwrap();
    let (_, by_time) = tool(dir.path(), "replay --state-hash --to-time 3999").unwrap();
    assert_eq!(by_seq, by_time);
    assert!(
        by_seq.starts_with("3 ") && by_seq.len() == 2 + 64 + 1,
        "{by_seq}"
    );
    let error = tool(dir.path(), "replay --to-seq 7")
        .unwrap_err()
        .to_string();
    assert!(error.contains("ends at 6, before 7"), "{error}");
}

#[test]
fn a_state_hash_that_differs_stops_the_replay_and_names_the_interval() {
    let dir = journal(true);
    let (code, out) = tool(dir.path(), "replay --json").unwrap();
    assert_eq!(code, exit::CORRUPT);
    let object: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(object["first_mismatch"]["from_seq"], 1);
    assert_eq!(object["first_mismatch"]["to_seq"], 4);
    assert_eq!(object["to_seq"], 4);
    // The journal itself is as it was written.
    assert_eq!(tool(dir.path(), "verify").unwrap().0, 0);
    assert_eq!(tool(dir.path(), "replay --to-seq 3").unwrap().0, 0);
}

#[test]
fn damage_and_tears_have_their_exit_codes() {
    let dir = journal(false);
    let path = dir.path().join("00000000000000000001.jnl");
    let good = fs::read(&path).unwrap();
    let mut bytes = good.clone();
    bytes[4096 + 5 * 64 + 30] ^= 1;
    fs::write(&path, &bytes).unwrap();
    for line in ["verify --json", "dump --format seq-id", "replay"] {
        assert_eq!(tool(dir.path(), line).unwrap().0, exit::CORRUPT, "{line}");
    }
    let (_, out) = tool(dir.path(), "verify --json").unwrap();
    let object: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(object["verdict"], "corrupt");
    assert_eq!(object["errors"][0]["kind"], "crc");

    let mut bytes = good;
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 64 * 64 + 64;
    bytes[end + 64..end + 80].fill(7);
    fs::write(&path, &bytes).unwrap();
    for line in ["verify --json", "dump --format seq-id", "replay"] {
        assert_eq!(tool(dir.path(), line).unwrap().0, exit::TORN, "{line}");
    }
    let (_, out) = tool(dir.path(), "dump --format seq-id").unwrap();
    assert_eq!(out, "1 0\n2 0\n3 11\n4 12\n5 13\n6 0\n");
}

#[test]
fn no_journal_is_said_in_one_line() {
    let dir = TempDir::new().unwrap();
    for (place, text) in [
        (dir.path().join("none"), "No such file"),
        (dir.path().into(), "no journal"),
    ] {
        let error = tool(&place, "verify").unwrap_err().to_string();
        assert!(error.contains(text) && !error.contains('\n'), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn usage_errors_are_found_before_anything_is_opened() {
    use clap::error::ErrorKind;
    let error = |line: &str| {
        let words = std::iter::once("journal").chain(line.split_whitespace());
        Cli::try_parse_from(words).err().map(|error| error.kind())
    };
    assert_eq!(error("verify --data x --json"), None);
    assert_eq!(error("verify"), Some(ErrorKind::MissingRequiredArgument));
    assert_eq!(
        error("dump --data x --format xml"),
        Some(ErrorKind::InvalidValue)
    );
    assert_eq!(
        error("dump --data x --json --format hex"),
        Some(ErrorKind::ArgumentConflict)
    );
    assert_eq!(
        error("replay --data x --to-seq a"),
        Some(ErrorKind::ValueValidation)
    );
    assert_eq!(error("wag --data x"), Some(ErrorKind::InvalidSubcommand));
    assert_eq!(
        error("replay --data x --speed 0"),
        Some(ErrorKind::ValueValidation)
    );
    assert_eq!(
        error("tail --data x --from 3 -n 4"),
        Some(ErrorKind::ArgumentConflict)
    );
    assert_eq!(
        error("verify --data x --threads 0"),
        Some(ErrorKind::ValueValidation)
    );
}

/// Runs `tessera journal LINE`, which names its own directories.
fn bare(line: &str) -> Result<(u8, String), ToolError> {
    let words = std::iter::once("journal").chain(line.split_whitespace());
    let args = Cli::try_parse_from(words).unwrap().args;
    let mut out = Vec::new();
    let code = run_to(&args, &mut out)?;
    Ok((code, String::from_utf8(out).unwrap()))
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_state_after_any_command() {
    let dir = journal(false);
    check(
        dir.path(),
        "state --at 4",
        0,
        expect![[r#"
            after command  4 at 4000
            state hash     HASH
            TEST (0) continuous, last 100
            sell          100            3 in 1 orders
            account 7: 1 live orders
        "#]],
    );
    check(
        dir.path(),
        "state --at 4 --json",
        0,
        expect![[r#"
            {"accounts":[{"account":7,"breached":null,"cash":null,"credit":null,"killed":null,"margin":null,"margined":null,"orders":[{"cl_ord_id":11,"filled":2,"instrument":0,"open":3,"order_id":1,"price":100,"qty":5,"session":1,"side":"sell","stop":null}],"positions":[]}],"contracts":[],"from_snapshot":null,"instruments":[{"asks":[{"orders":1,"price":100,"qty":3}],"bids":[],"instrument":0,"last":100,"name":"TEST","phase":"continuous"}],"risk_version":null,"seq":4,"state_hash":"HASH","time_ns":4000}
        "#]],
    );
    let (_, replayed) = tool(dir.path(), "replay --state-hash --to-seq 3").unwrap();
    let (_, state) = tool(dir.path(), "state --at 3 --json").unwrap();
    let hash = json(&state)["state_hash"].as_str().unwrap().to_owned();
    assert_eq!(replayed, format!("3 {hash}\n"));
    let (_, by_name) = tool(dir.path(), "state --at 4 --json --instrument TEST").unwrap();
    let (_, by_number) = tool(dir.path(), "state --at 4 --json --instrument 0").unwrap();
    assert_eq!(by_name, by_number);
    let (_, nobody) = tool(dir.path(), "state --at 4 --json --account 8").unwrap();
    assert_eq!(json(&nobody)["accounts"], serde_json::json!([]));
    for (line, says) in [
        ("state --at 7", "ends at 6, before 7"),
        ("state --at 4 --instrument GOLD", "no instrument \"GOLD\""),
    ] {
        let error = tool(dir.path(), line).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn the_state_from_a_snapshot_is_the_same() {
    let dir = journal(false);
    let (_, plain) = tool(dir.path(), "state --at 5 --json").unwrap();
    let scan = Scan::open(dir.path()).unwrap();
    let mut rebuild = Rebuild::genesis(&[1; 16]);
    scan.read(|record, _| match rebuild.take(record).unwrap() {
        Taken::On => ControlFlow::Continue(()),
        Taken::Equal => ControlFlow::Break(()),
    })
    .unwrap();
    let meta = rebuild.meta([1; 16], 0);
    let snapshots = Snapshots::on(Arc::new(Mapped::open(dir.path()).unwrap()));
    let sections = rebuild.engine.save();
    let sections: Vec<_> = sections
        .iter()
        .map(|(id, bytes)| (*id, bytes.as_slice()))
        .collect();
    snapshots.write(&meta, &sections).unwrap();
    let from = |line: &str| {
        let mut state = json(&tool(dir.path(), line).unwrap().1);
        (state["from_snapshot"].take(), state)
    };
    let plain = {
        let mut plain = json(&plain);
        assert!(plain["from_snapshot"].take().is_null());
        plain
    };
    // One that nobody has verified is not used, nor one beyond the place asked for.
    assert_eq!(from("state --at 5 --json"), (Value::Null, plain.clone()));
    snapshots
        .mark_verified(meta.seq, Seq::new(meta.seq.get() + 1))
        .unwrap();
    assert_eq!(from("state --at 5 --json"), (json("4"), plain));
    assert_eq!(from("state --at 4 --json").0, json("4"));
    assert_eq!(from("state --at 3 --json").0, Value::Null);
}

#[test]
fn two_journals_are_compared_by_what_they_say() {
    let (a, b) = (journal(false), journal(false));
    let names = |a: &TempDir, b: &TempDir| format!("{} {}", a.path().display(), b.path().display());
    for flags in ["", " --events"] {
        let (code, out) = bare(&format!("diff {}{flags}", names(&a, &b))).unwrap();
        assert_eq!((code, out.as_str()), (0, "equal: 7 records\n"));
    }
    // A fork of another cluster id, with other segments, says the same as far as it goes.
    let fork = TempDir::new().unwrap();
    let target = fork.path().join("fork");
    tool(
        a.path(),
        &format!("fork --at 3 --copy-to {}", target.display()),
    )
    .unwrap();
    let line = format!("diff {} {} --json", a.path().display(), target.display());
    let (code, out) = bare(&line).unwrap();
    assert_eq!(code, exit::FAILED);
    let out = json(&out);
    assert_eq!(out["equal"], false);
    assert_eq!(
        (&out["common_records"], &out["first_diff_seq"]),
        (&3.into(), &4.into())
    );
    assert_eq!(out["a"]["command"]["cl_ord_id"], 12);
    assert_eq!(out["b"], serde_json::Value::Null);
    // One bit in a state hash.
    let spoiled = journal(true);
    let (code, out) = bare(&format!("diff {} --json", names(&a, &spoiled))).unwrap();
    assert_eq!(code, exit::FAILED);
    assert_eq!(json(&out)["first_diff_seq"], 4);
    assert_eq!(json(&out)["a"]["type"], "state_hash");
    // Damage in one of them.
    let path = b.path().join("00000000000000000001.jnl");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096 + 5 * 64 + 30] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (code, _) = bare(&format!("diff {}", names(&a, &b))).unwrap();
    assert_eq!(code, exit::CORRUPT);
}

#[test]
fn the_tail_shows_the_last_and_never_more_than_is_durable() {
    let dir = journal(false);
    let (code, last) = tool(dir.path(), "tail -n 2 --format seq-id").unwrap();
    assert_eq!((code, last.as_str()), (0, "5 13\n6 0\n"));
    let (_, dumped) = tool(dir.path(), "dump --json").unwrap();
    let (_, tailed) = tool(dir.path(), "tail --from 0 --json").unwrap();
    assert_eq!(dumped, tailed);
    let (_, some) = tool(dir.path(), "tail -f --from 2 --to 4 --format seq-id").unwrap();
    assert_eq!(some, "2 0\n3 11\n4 12\n");

    // Records above the watermark of a journal that nobody writes are not shown: a start may cut them.
    let copy = TempDir::new().unwrap();
    let name = "00000000000000000001.jnl";
    let mut bytes = fs::read(dir.path().join(name)).unwrap();
    for at in [1024, 2048] {
        let seq = u64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap());
        if seq == 6 {
            bytes[at + 60] ^= 1; // caught half written
        }
    }
    fs::write(copy.path().join(name), &bytes).unwrap();
    let watermark = json(&tool(copy.path(), "verify --json").unwrap().1)["watermark_seq"].clone();
    let (_, shown) = tool(copy.path(), "tail --from 1 --format seq-id").unwrap();
    let last = shown.lines().last().map_or(0, |line| {
        line.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    assert_eq!(watermark, last);
    assert!(last < 6);
}

#[test]
fn tables_are_exported() {
    let dir = journal(false);
    let out = TempDir::new().unwrap();
    let export = |what: &str| {
        let line = format!("export --what {what} --json --out {}", out.path().display());
        let (code, text) = tool(dir.path(), &line).unwrap();
        assert_eq!(code, 0);
        let csv = fs::read_to_string(out.path().join(format!("{what}.csv"))).unwrap();
        let file = &json(&text)["files"][0];
        assert_eq!(file["rows"], csv.lines().count() as u64 - 1);
        assert_eq!(file["bytes"], csv.len() as u64);
        csv
    };
    let tables = ["orders", "trades", "books", "events"]
        .map(export)
        .join("\n");
    expect![[r#"
        seq,time_ns,event,order_id,session,account,cl_ord_id,instrument,side,price,qty,open,filled
        3,3000,accepted,1,1,7,11,0,sell,100,5,,
        4,4000,accepted,2,1,7,12,0,buy,101,2,,
        4,4000,fill,1,1,7,11,0,,100,2,3,2
        4,4000,fill,2,1,7,12,0,,100,2,0,2
        5,5000,canceled,1,1,7,11,0,sell,,3,0,2

        seq,time_ns,instrument,price,qty,aggressor,maker_order_id,maker_account,maker_cl_ord_id,taker_order_id,taker_account,taker_cl_ord_id
        4,4000,0,100,2,buy,1,7,11,2,7,12

        seq,time_ns,instrument,side,price,qty,orders
        3,3000,0,sell,100,5,1
        4,4000,0,sell,100,3,1
        5,5000,0,sell,100,0,0

        seq,time_ns,index,event,json
        1,1000,0,instrument,"{""ev"":""instrument"",""seq"":1,""line"":1,""instrument"":""TEST""}"
        3,3000,0,accepted,"{""ev"":""accepted"",""seq"":2,""line"":3,""id"":11,""party"":""7""}"
        4,4000,0,accepted,"{""ev"":""accepted"",""seq"":3,""line"":4,""id"":12,""party"":""7""}"
        4,4000,1,fill,"{""ev"":""fill"",""seq"":4,""line"":4,""instrument"":""TEST"",""maker"":11,""taker"":12,""price"":100,""qty"":2,""aggressor"":""buy"",""maker_open"":3,""taker_open"":0}"
        5,5000,0,canceled,"{""ev"":""canceled"",""seq"":5,""line"":5,""id"":11,""qty"":3,""reason"":""user""}"
    "#]].assert_eq(&tables);
    let commands = export("commands");
    let seqs: Vec<_> = commands
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap())
        .collect();
    assert_eq!(seqs, ["1", "2", "3", "4", "5", "6"]);
    let some = format!(
        "export --what commands --from 3 --to 4 --json --out {}",
        out.path().display()
    );
    let some = json(&tool(dir.path(), &some).unwrap().1);
    assert_eq!(some["files"][0]["first_seq"], 3);
    assert_eq!(some["files"][0]["last_seq"], 4);

    let other = |line: &str| {
        let line = format!("export {line} --out {}", out.path().display());
        tool(dir.path(), &line)
    };
    assert_eq!(other("--what l3").unwrap().0, 0);
    let error = other("--what risk").unwrap_err();
    assert!(matches!(error, ToolError::Usage(_)), "{error}");
    for format in ["parquet", "arrow"] {
        let result = other(&format!("--what trades --format {format}"));
        if cfg!(feature = "export") {
            assert_eq!(result.unwrap().0, 0);
            assert!(out.path().join(format!("trades.{format}")).exists());
        } else {
            let error = result.unwrap_err().to_string();
            assert!(error.contains("feature `export`"), "{error}");
        }
    }
}

#[test]
fn statistics_of_the_traffic() {
    let dir = journal(false);
    check(
        dir.path(),
        "stats",
        0,
        expect![[r#"
        segments      1, 65536 bytes
        records       10
        1 slots   7
        2 slots   2
        4 slots   1
        commands over 0.000005000 s
        cancel           1
        instrument       1
        new              2
        session_logon    1
        time             1
        per second    p50 6, p99 6, p99.9 6, max 6 of 1
        group commits unknown: there is no sync.hlog
    "#]],
    );
    check(
        dir.path(),
        "stats --json",
        0,
        expect![[r#"
        {"bytes":65536,"commands_by_type":{"cancel":1,"instrument":1,"new":2,"session_logon":1,"time":1},"group_records":null,"rate_per_s":{"count":1,"max":6,"p50":6,"p99":6,"p99_9":6},"records":10,"segments":1,"slots_per_record":{"1":7,"2":2,"4":1},"sync_ns":null,"time_span_ns":5000}
    "#]],
    );
}

#[test]
fn a_repaired_copy_and_a_fork() {
    let dir = journal(false);
    let out = TempDir::new().unwrap();
    let copy = |name: &str| out.path().join(name);
    let repair = |name: &str, flags: &str| {
        tool(
            dir.path(),
            &format!("repair --copy-to {} --json {flags}", copy(name).display()),
        )
    };
    let (code, text) = repair("clean", "").unwrap();
    assert_eq!(code, 0);
    expect![[r#"
        {"copied_records":10,"copied_segments":1,"discarded":null,"last_seq":6,"verdict":"clean","voided":null}
    "#]].assert_eq(&text);
    let (_, old) = tool(dir.path(), "replay --state-hash").unwrap();
    let (_, new) = tool(&copy("clean"), "replay --state-hash").unwrap();
    assert_eq!(old, new);

    // Without the cancel the maker's order is still there.
    let (code, _) = repair("void", "--void 5").unwrap();
    assert_eq!(code, 0);
    let (_, state) = tool(&copy("void"), "state --at 6 --json").unwrap();
    assert_eq!(json(&state)["accounts"][0]["orders"][0]["cl_ord_id"], 11);
    let (_, verify) = tool(&copy("void"), "verify --json").unwrap();
    assert_eq!(json(&verify)["voids"], 1);
    let (_, replay) = tool(&copy("void"), "replay --json").unwrap();
    assert_eq!(
        (&json(&replay)["voids"], &json(&replay)["commands"]),
        (&1.into(), &6.into())
    );
    let (_, dump) = tool(&copy("void"), "dump --from 5 --to 5 --json").unwrap();
    assert_eq!(json(dump.lines().next().unwrap())["type"], "void");
    let (_, ids) = tool(&copy("void"), "dump --format seq-id").unwrap();
    assert_eq!(ids, "1 0\n2 0\n3 11\n4 12\n5 0\n6 0\n");

    // The state hash behind a voided command is another: that is found, and said.
    repair("void3", "--void 3").unwrap();
    assert_eq!(tool(&copy("void3"), "replay").unwrap().0, exit::CORRUPT);

    let error = repair("clean", "").unwrap_err().to_string();
    assert!(error.contains("give an empty directory"), "{error}");
    let error = repair("beyond", "--void 7").unwrap_err().to_string();
    assert!(error.contains("end at 6"), "{error}");

    let path = dir.path().join("00000000000000000001.jnl");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096 + 9 * 64 + 30] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = repair("corrupt", "").unwrap_err();
    assert!(
        matches!(&error, ToolError::Copy(error) if error.is_corrupt()),
        "{error}"
    );
    let first = json(&tool(dir.path(), "verify --json").unwrap().1)["last_seq"]
        .as_u64()
        .unwrap()
        + 1;
    let (code, text) = repair("accepted", &format!("--accept-tail {first}")).unwrap();
    assert_eq!(code, 0);
    assert_eq!(json(&text)["discarded"]["from_seq"], first);
    assert_eq!(tool(&copy("accepted"), "verify").unwrap().0, 0);
}

#[test]
fn a_replay_keeps_the_recorded_gaps() {
    let dir = journal(false);
    // Five gaps of a microsecond; at this speed they are 250 ms.
    let started = std::time::Instant::now();
    tool(dir.path(), "replay --speed 0.00002").unwrap();
    assert!(started.elapsed() >= std::time::Duration::from_millis(250));
}

#[test]
fn rules_of_a_later_release_are_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let config = Config {
        segment_bytes: 64 * 1024,
        rules_version: 9,
        ..Config::default()
    };
    let opened = Journal::open(dir.path(), config).unwrap();
    opened.syncer.finish().unwrap();
    drop((opened.writer, opened.status, opened.preparer));
    assert_eq!(
        tool(dir.path(), "verify").unwrap().0,
        0,
        "the bytes are well"
    );
    for line in ["replay", "state --at 0"] {
        let error = tool(dir.path(), line).unwrap_err().to_string();
        assert!(
            error.contains("version 9") && error.contains("knows 1 to 1"),
            "{error}"
        );
    }
}
