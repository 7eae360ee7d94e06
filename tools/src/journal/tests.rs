//! The verbs over journals of real commands.

use std::fs;
use std::path::Path;

use clap::Parser;
use expect_test::{Expect, expect};
use tempfile::TempDir;
use tessera_engine::{EngineConfig, Exchange};
use tessera_journal::{Config, Identity, Journal, Opened};
use tessera_types::{
    AccountId, AdvanceTime, Cancel, ClOrdId, ClientHeader, Command, Event, Generation, Instrument,
    InstrumentId, ListInstrument, Name, NewOrder, OrderTarget, Price, Qty, Seq, Sequenced,
    SessionId, Side, Timestamp, wire,
};

use super::{Args, ToolError, run_to};
use crate::exit;

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
        epoch       1, format 1
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
        {"bytes":65536,"chain":"HASH","chain_ok":true,"cluster_id":"01010101010101010101010101010101","commands":6,"epoch":1,"errors":[],"first_seq":1,"format":1,"last_seq":6,"live":false,"records":10,"segments":1,"signatures":0,"snapshot_seq":null,"state_hashes":1,"torn":null,"verdict":"clean","watermark_seq":6}
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
                     0                   0    0 format          format=1 payload_schema=1 rules_version=1
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
        {"commands":4,"events":7,"first_mismatch":null,"from_seq":1,"state_hash":"HASH","state_hashes_checked":1,"to_seq":4}
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
    assert_eq!(error("tail --data x"), Some(ErrorKind::InvalidSubcommand));
}
