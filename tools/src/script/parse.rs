//! From a line of text to a command, or to the reason why it is none.

use serde_json::value::RawValue;
use tessera_types::contract::{Instrument, MatchAlgo, Name, Phase, VolatilityGuard};
use tessera_types::{
    AccountId, Backing, Cancel, ClOrdId, ClientHeader, ExecInst, InstrumentId, NewOrder, OrdType,
    OrderTarget, Price, Qty, QuoteEntry, Reduce, RejectReason, Replace, Restart, SelfMatch, Side,
    TimeInForce, Timestamp,
};

use super::accounts;
use super::command::{BadLine, Op, ScriptCommand, ScriptLine, ScriptQuote, Text};
use super::contracts::{self, ScriptContract};
use super::fields::{Field, Fields, Form, integer, string};

/// Reads one line, with or without its line break. Nothing for an empty line or a comment.
///
/// A field that is there twice is a `bad_field` like an unknown one: whichever value were taken, the
/// other would be dropped without a word. Only a repeated `null` is harmless, as it counts as absent.
///
/// # Errors
/// [`BadLine`] with `parse_error`, `unknown_op`, `missing_field` or `bad_field`, the first of these
/// that applies.
pub fn parse_line(line: &[u8]) -> Result<Option<ScriptLine<'_>>, BadLine> {
    match line.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None | Some(b'#') => return Ok(None),
        Some(_) => {}
    }
    let fields = std::str::from_utf8(line)
        .ok()
        .and_then(Fields::parse)
        .ok_or(BadLine {
            reason: RejectReason::ParseError,
            op: None,
            id: None,
            time: None,
        })?;
    let word = fields.raw(Field::Op).and_then(string);
    let id = fields.raw(Field::Id).and_then(integer);
    let bad = |reason, time| BadLine {
        reason,
        op: word.as_deref().map(str::to_owned),
        id: id
            .filter(|&id| id >= 1)
            .map(|id| ClOrdId::new(id.unsigned_abs())),
        time,
    };
    let Some(op) = word.as_deref().and_then(Op::from_word) else {
        return Err(bad(RejectReason::UnknownOp, None));
    };

    let mut form = Form::new(&fields);
    let time = form.uint(Field::T, 0).map(Timestamp::from_nanos);
    let command = match op {
        Op::Instrument => instrument(&mut form),
        Op::New => Some(new(&mut form)),
        Op::Cancel => Some(cancel(&mut form)),
        Op::Reduce => Some(reduce(&mut form)),
        Op::Replace => Some(replace(&mut form)),
        Op::MassCancel => Some(mass_cancel(&mut form)),
        Op::MassQuote => Some(mass_quote(&mut form)),
        Op::Phase => Some(phase(&mut form)),
        Op::Time => {
            form.require(Field::T);
            Some(ScriptCommand::Time)
        }
        Op::Restart => Some(ScriptCommand::Restart(Restart {
            hold_ns: form.uint(Field::Hold, 0).unwrap_or(0),
            grace_ns: form.uint(Field::Grace, 0).unwrap_or(0),
        })),
        Op::Reopen => Some(ScriptCommand::Reopen),
        Op::Depth => Some(depth(&mut form)),
        Op::Catalog => Some(contract(contracts::catalog(&mut form))),
        Op::Pool => Some(contract(contracts::pool(&mut form))),
        Op::Attest => Some(contract(contracts::attest(&mut form))),
        Op::Limit => Some(contract(contracts::limit(&mut form))),
        Op::Sub => Some(contract(contracts::sub(&mut form))),
        Op::Block => Some(contract(contracts::block(&mut form))),
        Op::Carve => Some(contract(contracts::carve(&mut form))),
        Op::Rfq => Some(contract(contracts::rfq(&mut form))),
        Op::Quote => Some(contract(contracts::quote(&mut form))),
        Op::Award => Some(contract(contracts::award(&mut form))),
        Op::Preempt => Some(contract(contracts::preempt(&mut form))),
        Op::Pools => Some(contract(contracts::pools(&mut form))),
        Op::GangDepth => Some(contract(contracts::gang_depth(&mut form))),
        Op::Leases => Some(contract(contracts::leases(&mut form))),
        Op::Orders => Some(ScriptCommand::Orders {
            party: form.name(Field::Party),
            instrument: form.name(Field::Instrument),
        }),
        op => accounts::read(op, &mut form),
    };
    match (form.verdict(), command) {
        (Ok(()), Some(command)) => Ok(Some(ScriptLine { time, command })),
        (Ok(()), None) => Err(bad(RejectReason::BadField, time)),
        (Err(reason), _) => Err(bad(reason, time)),
    }
}

/// Nothing when there is no valid name, which an [`Instrument`] cannot be without.
fn instrument<'a>(form: &mut Form<'_, 'a>) -> Option<ScriptCommand<'a>> {
    form.require(Field::Instrument);
    let name = form.name(Field::Instrument)?;
    let mut instrument = Instrument::plain(Name::new(&name).ok()?);

    if let Some(tick) = form.int(Field::Tick, 1) {
        instrument.tick = tick;
    }
    if let Some(lot) = form.uint(Field::Lot, 1) {
        instrument.lot = lot;
    }
    if let Some(price) = form.price(Field::MinPrice) {
        instrument.min_price = price;
    }
    if let Some(price) = form.price(Field::MaxPrice) {
        instrument.max_price = price;
    }
    if let Some(qty) = form.uint(Field::MinQty, 1) {
        instrument.min_qty = Qty::from_lots(qty);
    }
    if let Some(qty) = form.uint(Field::MaxQty, 1) {
        instrument.max_qty = Qty::from_lots(qty);
    }
    instrument.ref_price = form.price(Field::RefPrice);
    instrument.protect = form.uint(Field::Protect, 0);
    if let Some(algo) = form.word(Field::Algo, MatchAlgo::from_word) {
        instrument.algo = algo;
    }
    if let Some(lots) = form.uint(Field::MinAlloc, 0) {
        instrument.min_alloc = lots;
    }
    if let Some(lots) = form.uint(Field::TopMin, 0) {
        instrument.top_min = lots;
    }
    if let Some(lots) = form.uint(Field::TopMax, 0) {
        instrument.top_max = lots;
    }
    if let Some(percent) = form.uint(Field::FifoPct, 0) {
        let percent = u8::try_from(percent).ok().filter(|&percent| percent <= 100);
        form.refuse_if(percent.is_none());
        instrument.fifo_pct = percent.unwrap_or(0);
    }
    form.missing_if(form.has(Field::ViBand) != form.has(Field::ViNs));
    let guard = form.uint(Field::ViBand, 1).zip(form.uint(Field::ViNs, 1));
    instrument.volatility = guard.map(|(band, length_ns)| VolatilityGuard { band, length_ns });
    instrument.indicative = form.flag(Field::Indicative);
    if contracts::is_contract(form) {
        return Some(contract(contracts::contract(form, instrument)));
    }
    Some(ScriptCommand::Instrument(Box::new(instrument)))
}

fn contract(command: ScriptContract<'_>) -> ScriptCommand<'_> {
    ScriptCommand::Contract(Box::new(command))
}

fn new<'a>(form: &mut Form<'_, 'a>) -> ScriptCommand<'a> {
    for field in [Field::Id, Field::Party, Field::Side, Field::Qty] {
        form.require(field);
    }
    // A word that is no type or time in force refuses the command by itself; the fields that go
    // with it are judged only when it is known, since the missing ones would count first.
    let type_word = form.word(Field::Type, OrdType::from_word);
    let ord_type = type_word.unwrap_or(OrdType::Limit);
    if type_word.is_some() || !form.has(Field::Type) {
        form.require_only_if(ord_type.has_price(), Field::Price);
        form.require_only_if(ord_type == OrdType::Iceberg, Field::Display);
        form.require_only_if(
            matches!(ord_type, OrdType::Stop | OrdType::StopLimit),
            Field::Stop,
        );
        form.require_only_if(ord_type == OrdType::TrailingStop, Field::Trail);
    }
    let tif_word = form.word(Field::Tif, TimeInForce::from_word);
    let time_in_force = tif_word.unwrap_or(match ord_type {
        OrdType::Market => TimeInForce::Ioc,
        _ => TimeInForce::Gtc,
    });
    let immediate = matches!(time_in_force, TimeInForce::Ioc | TimeInForce::Fok);
    if tif_word.is_some() || !form.has(Field::Tif) {
        form.require_only_if(time_in_force == TimeInForce::Gtd, Field::Expire);
    }
    form.refuse_if(ord_type == OrdType::Market && !immediate);

    let qty = form.uint(Field::Qty, 1).unwrap_or(1);
    let display = form.uint(Field::Display, 1).unwrap_or(0);
    let min_qty = form.uint(Field::MinQty, 1).unwrap_or(0);
    form.refuse_if(display > qty || min_qty > qty);

    let post_only = form.flag(Field::PostOnly);
    let all_or_none = form.flag(Field::Aon);
    form.refuse_if(
        post_only
            && (!matches!(ord_type, OrdType::Limit | OrdType::Iceberg) || immediate || all_or_none),
    );
    form.refuse_if(all_or_none && (ord_type == OrdType::Iceberg || min_qty > 0));
    let budget = form.uint(Field::Budget, 0);
    form.refuse_if(budget.is_some() && time_in_force != TimeInForce::Fok);

    let mut exec_inst = ExecInst::NONE;
    if post_only {
        exec_inst = exec_inst.with(ExecInst::POST_ONLY);
    }
    if all_or_none {
        exec_inst = exec_inst.with(ExecInst::ALL_OR_NONE);
    }
    let stop = form.price(Field::Stop).map(Price::ticks);
    let trail = form.int(Field::Trail, 1);
    let side = side(form).unwrap_or(Side::Buy);
    let (pool, backing) = backing(form);
    form.refuse_if(side == Side::Buy && (form.has(Field::Pool) || form.has(Field::Lease)));
    ScriptCommand::New {
        party: form.name(Field::Party).unwrap_or_default(),
        instrument: form.name(Field::Instrument),
        pool,
        order: NewOrder {
            header: header(id(form, Field::Id)),
            instrument: InstrumentId::new(0),
            side,
            ord_type,
            time_in_force,
            self_match: form
                .word(Field::Stp, SelfMatch::from_word)
                .unwrap_or(SelfMatch::None),
            exec_inst,
            price: form.price(Field::Price).unwrap_or(Price::ZERO),
            qty: Qty::from_lots(qty),
            min_qty: Qty::from_lots(min_qty),
            display: Qty::from_lots(display),
            trigger: stop.or(trail).unwrap_or(0),
            expire: Timestamp::from_nanos(form.uint(Field::Expire, 0).unwrap_or(0)),
            budget,
            backing,
        },
    }
}

fn cancel<'a>(form: &mut Form<'_, 'a>) -> ScriptCommand<'a> {
    ScriptCommand::Cancel {
        party: form.name(Field::Party),
        cancel: Cancel {
            header: header(ClOrdId::new(0)),
            target: target(form),
        },
    }
}

fn reduce<'a>(form: &mut Form<'_, 'a>) -> ScriptCommand<'a> {
    form.require(Field::By);
    ScriptCommand::Reduce {
        party: form.name(Field::Party),
        reduce: Reduce {
            header: header(ClOrdId::new(0)),
            target: target(form),
            by: Qty::from_lots(form.uint(Field::By, 1).unwrap_or(1)),
        },
    }
}

fn replace<'a>(form: &mut Form<'_, 'a>) -> ScriptCommand<'a> {
    let changes = [Field::Price, Field::Qty, Field::Stop, Field::NewId];
    form.missing_if(!changes.into_iter().any(|field| form.has(field)));
    ScriptCommand::Replace {
        party: form.name(Field::Party),
        replace: Replace {
            header: header(ClOrdId::new(0)),
            target: target(form),
            price: form.price(Field::Price),
            // Zero is a total at or below what has been filled, so it cancels.
            qty: form.uint(Field::Qty, 0).map(Qty::from_lots),
            stop: form.price(Field::Stop),
            new_id: form.uint(Field::NewId, 1).map(ClOrdId::new),
        },
    }
}

fn mass_cancel<'a>(form: &mut Form<'_, 'a>) -> ScriptCommand<'a> {
    ScriptCommand::MassCancel {
        party: form.name(Field::Party),
        instrument: form.name(Field::Instrument),
        side: side(form),
    }
}

fn mass_quote<'a>(form: &mut Form<'_, 'a>) -> ScriptCommand<'a> {
    form.require(Field::Party);
    form.require(Field::Quotes);
    let quotes = form.list(Field::Quotes).unwrap_or_default();
    let mut entries = Vec::with_capacity(quotes.len());
    for entry in quotes.into_iter().map(quote) {
        match entry {
            Some(entry) => entries.push(entry),
            None => form.refuse_if(true),
        }
    }
    ScriptCommand::MassQuote {
        party: form.name(Field::Party).unwrap_or_default(),
        post_only: form.flag(Field::PostOnly),
        keep_priority: form.flag(Field::KeepPriority),
        self_match: form
            .word(Field::Stp, SelfMatch::from_word)
            .unwrap_or(SelfMatch::None),
        entries,
    }
}

/// One entry, or nothing when it refuses the whole command: no object, or an unknown field.
fn quote<'a>(raw: &'a RawValue) -> Option<ScriptQuote<'a>> {
    let fields = Fields::parse(raw.get())?;
    if fields.has_other_than(&[
        Field::Instrument,
        Field::BidId,
        Field::BidPrice,
        Field::BidQty,
        Field::AskId,
        Field::AskPrice,
        Field::AskQty,
        Field::Pool,
        Field::Lease,
    ]) {
        return None;
    }
    let mut form = Form::new(&fields);
    let instrument = form.name(Field::Instrument);
    let (bid_id, bid_price, bid_qty) =
        quote_side(&mut form, Field::BidId, Field::BidPrice, Field::BidQty);
    let (ask_id, ask_price, ask_qty) =
        quote_side(&mut form, Field::AskId, Field::AskPrice, Field::AskQty);
    let (pool, backing) = backing(&mut form);
    Some(ScriptQuote {
        instrument,
        pool,
        entry: QuoteEntry {
            instrument: InstrumentId::new(0),
            refused: form.verdict().err(),
            bid_id,
            bid_price,
            bid_qty,
            ask_id,
            ask_price,
            ask_qty,
            backing,
        },
    })
}

/// What stands behind an ask: a pool by its name, or a lease by its number; not both.
fn backing<'a>(form: &mut Form<'_, 'a>) -> (Option<Text<'a>>, Backing) {
    form.refuse_if(form.has(Field::Pool) && form.has(Field::Lease));
    let lease = contracts::lease(form).map_or(Backing::NOTHING, Backing::lease);
    (form.name(Field::Pool), lease)
}

/// A side that names a quantity above zero needs its id and its price.
fn quote_side(
    form: &mut Form<'_, '_>,
    id_field: Field,
    price_field: Field,
    qty_field: Field,
) -> (ClOrdId, Price, Option<Qty>) {
    let qty = form.uint(qty_field, 0);
    if qty.is_some_and(|qty| qty > 0) {
        form.require(id_field);
        form.require(price_field);
    }
    (
        id(form, id_field),
        form.price(price_field).unwrap_or(Price::ZERO),
        qty.map(Qty::from_lots),
    )
}

fn phase<'a>(form: &mut Form<'_, 'a>) -> ScriptCommand<'a> {
    form.require(Field::Phase);
    ScriptCommand::Phase {
        instrument: form.name(Field::Instrument),
        phase: form
            .word(Field::Phase, Phase::from_word)
            .unwrap_or(Phase::Continuous),
        ref_price: form.price(Field::RefPrice),
    }
}

fn depth<'a>(form: &mut Form<'_, 'a>) -> ScriptCommand<'a> {
    ScriptCommand::Depth {
        instrument: form.name(Field::Instrument),
        levels: form
            .uint(Field::Levels, 0)
            .map(|levels| usize::try_from(levels).unwrap_or(usize::MAX)),
    }
}

fn id(form: &mut Form<'_, '_>, field: Field) -> ClOrdId {
    ClOrdId::new(form.uint(field, 1).unwrap_or(0))
}

fn target(form: &mut Form<'_, '_>) -> OrderTarget {
    form.require(Field::Id);
    OrderTarget::Client(id(form, Field::Id))
}

fn side(form: &mut Form<'_, '_>) -> Option<Side> {
    form.word(Field::Side, |word| match word {
        "buy" => Some(Side::Buy),
        "sell" => Some(Side::Sell),
        _ => None,
    })
}

fn header(cl_ord_id: ClOrdId) -> ClientHeader {
    ClientHeader {
        cl_ord_id,
        account: AccountId::new(0),
        ..ClientHeader::default()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::{Expect, expect};

    use super::*;

    /// The verdict on each line of `script`.
    fn check(script: &str, expected: Expect) {
        let mut verdicts = String::new();
        for line in script.lines().map(str::trim) {
            let verdict = match parse_line(line.as_bytes()) {
                Ok(None) => "nothing".to_owned(),
                Ok(Some(line)) => format!("{} {:?}", line.command.op().as_str(), line.time),
                Err(bad) => format!("{:?} {:?} {:?} {:?}", bad.reason, bad.op, bad.id, bad.time),
            };
            writeln!(verdicts, "{verdict}").expect("a string takes everything");
        }
        expected.assert_eq(&verdicts);
    }

    /// The verdict on orders that all have the `new` fields but differ in those of each line.
    fn check_orders(fields: &[&str], expected: Expect) {
        let mut verdicts = String::new();
        for fields in fields {
            let line =
                format!(r#"{{"op":"new","id":1,"party":"P","side":"buy","qty":10,{fields}}}"#);
            let verdict = match parse_line(line.as_bytes()) {
                Ok(_) => "fine",
                Err(bad) => bad.reason.as_str(),
            };
            writeln!(verdicts, "{verdict:<13} {fields}").expect("a string takes everything");
        }
        expected.assert_eq(&verdicts);
    }

    #[test]
    fn what_is_no_command_is_told_apart() {
        check(
            r#"

            # {"op":"time","t":1}
            {"op":"time","t":7}
            {"op":"time","t":7} 1
            [{"op":"time","t":7}]
            7
            {"op":"time","t":7
            {"op":"time","t":NaN}
            {'op':'time'}
            {}
            {"op":null,"id":4}
            {"op":7,"t":3}
            {"op":"New","id":4,"t":3}
            {"\u006fp":"t\u0069me","\u0074":7}
            {"op":"\ud800","id":3}
            {"op":"a\"b","id":0}"#,
            expect![[r##"
                nothing
                nothing
                nothing
                time Some(Timestamp(7))
                ParseError None None None
                ParseError None None None
                ParseError None None None
                ParseError None None None
                ParseError None None None
                ParseError None None None
                UnknownOp None None None
                UnknownOp None Some(ClOrdId(4)) None
                UnknownOp None None None
                UnknownOp Some("New") Some(ClOrdId(4)) None
                time Some(Timestamp(7))
                UnknownOp None Some(ClOrdId(3)) None
                UnknownOp Some("a\"b") None None
            "##]],
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_a_parse_error_except_in_comments() {
        let verdict = |line: &[u8]| {
            parse_line(line)
                .map(|line| line.is_some())
                .map_err(|bad| bad.reason)
        };
        assert_eq!(verdict(b"# \xff\n"), Ok(false));
        assert_eq!(verdict(b" \t\r\n"), Ok(false));
        assert_eq!(
            verdict(b"{\"op\":\"cancel\",\"id\":1,\"party\":\"\xff\"}"),
            Err(RejectReason::ParseError)
        );
    }

    #[test]
    fn only_integers_are_integers() {
        check(
            r#"
            {"op":"cancel","id":9223372036854775807}
            {"op":"cancel","id":9223372036854775808}
            {"op":"cancel","id":1e1}
            {"op":"cancel","id":1e999}
            {"op":"cancel","id":5.0}
            {"op":"cancel","id":"5"}
            {"op":"cancel","id":true}
            {"op":"cancel","id":0}
            {"op":"cancel","id":-1}
            {"op":"time","t":-0}
            {"op":"time","t":-1}
            {"op":"replace","id":1,"price":-9223372036854775807}
            {"op":"replace","id":1,"price":-9223372036854775808}
            {"op":"replace","id":1,"price":99999999999999999999999999999999999999999999}"#,
            expect![[r#"
                nothing
                cancel None
                BadField Some("cancel") None None
                BadField Some("cancel") None None
                BadField Some("cancel") None None
                BadField Some("cancel") None None
                BadField Some("cancel") None None
                BadField Some("cancel") None None
                BadField Some("cancel") None None
                BadField Some("cancel") None None
                time Some(Timestamp(0))
                BadField Some("time") None None
                replace None
                BadField Some("replace") Some(ClOrdId(1)) None
                BadField Some("replace") Some(ClOrdId(1)) None
            "#]],
        );
    }

    #[test]
    fn a_missing_field_counts_before_a_bad_one_and_null_is_absent() {
        check(
            r#"
            {"op":"cancel","pirce":4,"t":3}
            {"op":"cancel","id":1,"pirce":4,"t":3}
            {"op":"cancel","id":1,"pirce":null,"party":null,"t":null}
            {"op":"cancel","id":null,"t":"x"}
            {"op":"cancel","id":1,"id":1}
            {"op":"cancel","id":null,"id":1}
            {"op":"cancel","id":1,"side":"buy"}
            {"op":"replace","id":1,"party":5}
            {"op":"replace","id":1,"qty":0}
            {"op":"replace","id":1,"new_id":0}
            {"op":"reduce","id":1,"by":0}
            {"op":"time"}
            {"op":"phase","phase":"open"}
            {"op":"depth","levels":0}
            {"op":"depth","levels":-1}
            {"op":"orders","party":""}"#,
            expect![[r#"
                nothing
                MissingField Some("cancel") None Some(Timestamp(3))
                BadField Some("cancel") Some(ClOrdId(1)) Some(Timestamp(3))
                cancel None
                MissingField Some("cancel") None None
                BadField Some("cancel") Some(ClOrdId(1)) None
                cancel None
                BadField Some("cancel") Some(ClOrdId(1)) None
                MissingField Some("replace") Some(ClOrdId(1)) None
                replace None
                BadField Some("replace") Some(ClOrdId(1)) None
                BadField Some("reduce") Some(ClOrdId(1)) None
                MissingField Some("time") None None
                BadField Some("phase") None None
                depth None
                BadField Some("depth") None None
                BadField Some("orders") None None
            "#]],
        );
    }

    #[test]
    fn names_have_1_to_64_bytes() {
        let verdict = |name: &str| {
            let line = format!(r#"{{"op":"instrument","instrument":"{name}"}}"#);
            parse_line(line.as_bytes())
                .map(|_| ())
                .map_err(|bad| bad.reason)
        };
        assert_eq!(verdict(""), Err(RejectReason::BadField));
        assert_eq!(verdict(&"x".repeat(64)), Ok(()));
        assert_eq!(verdict(&"x".repeat(65)), Err(RejectReason::BadField));
        assert_eq!(verdict(&"\\u00e9".repeat(32)), Ok(()));
        assert_eq!(verdict(&"\u{e9}".repeat(33)), Err(RejectReason::BadField));
    }

    #[test]
    fn each_order_type_has_its_own_fields() {
        check_orders(
            &[
                r#""price":5"#,
                r#""side":null"#,
                r#""type":"limit""#,
                r#""type":"limit","price":5,"stop":5"#,
                r#""type":"limit","price":5,"display":5"#,
                r#""type":"market""#,
                r#""type":"market","price":5"#,
                r#""type":"market","tif":"gtc""#,
                r#""type":"market","tif":"fok""#,
                r#""type":"iceberg","price":5"#,
                r#""type":"iceberg","price":5,"display":10"#,
                r#""type":"iceberg","price":5,"display":11"#,
                r#""type":"iceberg","price":5,"display":0"#,
                r#""type":"stop""#,
                r#""type":"stop","stop":5"#,
                r#""type":"stop","stop":5,"price":5"#,
                r#""type":"stop_limit","stop":5"#,
                r#""type":"stop_limit","stop":5,"price":5"#,
                r#""type":"trailing_stop","stop":5"#,
                r#""type":"trailing_stop","trail":1"#,
                r#""type":"trailing_stop","trail":0"#,
                r#""type":"peg","price":5"#,
                r#""type":"peg""#,
            ],
            expect![[r#"
                fine          "price":5
                missing_field "side":null
                missing_field "type":"limit"
                bad_field     "type":"limit","price":5,"stop":5
                bad_field     "type":"limit","price":5,"display":5
                fine          "type":"market"
                bad_field     "type":"market","price":5
                bad_field     "type":"market","tif":"gtc"
                fine          "type":"market","tif":"fok"
                missing_field "type":"iceberg","price":5
                fine          "type":"iceberg","price":5,"display":10
                bad_field     "type":"iceberg","price":5,"display":11
                bad_field     "type":"iceberg","price":5,"display":0
                missing_field "type":"stop"
                fine          "type":"stop","stop":5
                bad_field     "type":"stop","stop":5,"price":5
                missing_field "type":"stop_limit","stop":5
                fine          "type":"stop_limit","stop":5,"price":5
                missing_field "type":"trailing_stop","stop":5
                fine          "type":"trailing_stop","trail":1
                bad_field     "type":"trailing_stop","trail":0
                bad_field     "type":"peg","price":5
                bad_field     "type":"peg"
            "#]],
        );
    }

    #[test]
    fn instructions_that_exclude_each_other_are_bad_fields() {
        check_orders(
            &[
                r#""price":5,"tif":"gtd""#,
                r#""price":5,"tif":"gtd","expire":0"#,
                r#""price":5,"tif":"gtd","expire":-1"#,
                r#""price":5,"tif":"day","expire":9"#,
                r#""price":5,"tif":"never","expire":9"#,
                r#""price":5,"post_only":true"#,
                r#""price":5,"post_only":1"#,
                r#""price":5,"post_only":true,"tif":"ioc""#,
                r#""price":5,"post_only":true,"tif":"fok""#,
                r#""price":5,"post_only":true,"aon":true"#,
                r#""price":5,"post_only":true,"tif":"day","min_qty":2"#,
                r#""type":"market","post_only":true"#,
                r#""type":"market","post_only":false"#,
                r#""type":"stop_limit","stop":5,"price":5,"post_only":true"#,
                r#""price":5,"aon":true,"min_qty":2"#,
                r#""price":5,"aon":true,"tif":"fok""#,
                r#""type":"iceberg","price":5,"display":5,"aon":true"#,
                r#""price":5,"min_qty":11"#,
                r#""price":5,"min_qty":10"#,
                r#""price":5,"budget":5"#,
                r#""price":5,"tif":"fok","budget":0"#,
                r#""price":5,"stp":"decrement""#,
                r#""price":5,"stp":"cancel""#,
            ],
            expect![[r#"
                missing_field "price":5,"tif":"gtd"
                fine          "price":5,"tif":"gtd","expire":0
                bad_field     "price":5,"tif":"gtd","expire":-1
                bad_field     "price":5,"tif":"day","expire":9
                bad_field     "price":5,"tif":"never","expire":9
                fine          "price":5,"post_only":true
                bad_field     "price":5,"post_only":1
                bad_field     "price":5,"post_only":true,"tif":"ioc"
                bad_field     "price":5,"post_only":true,"tif":"fok"
                bad_field     "price":5,"post_only":true,"aon":true
                fine          "price":5,"post_only":true,"tif":"day","min_qty":2
                bad_field     "type":"market","post_only":true
                fine          "type":"market","post_only":false
                bad_field     "type":"stop_limit","stop":5,"price":5,"post_only":true
                bad_field     "price":5,"aon":true,"min_qty":2
                fine          "price":5,"aon":true,"tif":"fok"
                bad_field     "type":"iceberg","price":5,"display":5,"aon":true
                bad_field     "price":5,"min_qty":11
                fine          "price":5,"min_qty":10
                bad_field     "price":5,"budget":5
                fine          "price":5,"tif":"fok","budget":0
                fine          "price":5,"stp":"decrement"
                bad_field     "price":5,"stp":"cancel"
            "#]],
        );
    }

    #[test]
    fn a_bad_quote_is_refused_alone_and_a_strange_one_refuses_all() {
        let verdict = |quotes: &str| {
            let line = format!(r#"{{"op":"mass_quote","party":"M","quotes":{quotes}}}"#);
            match parse_line(line.as_bytes()) {
                Ok(Some(ScriptLine {
                    command: ScriptCommand::MassQuote { entries, .. },
                    ..
                })) => entries
                    .iter()
                    .map(|quote| quote.entry.refused.map_or("fine", RejectReason::as_str))
                    .collect::<Vec<_>>()
                    .join(" "),
                Ok(_) => "another command".to_owned(),
                Err(bad) => format!("all {}", bad.reason),
            }
        };
        assert_eq!(verdict("[]"), "");
        assert_eq!(verdict("{}"), "all bad_field");
        assert_eq!(verdict("[null]"), "all bad_field");
        assert_eq!(verdict(r#"[{"bid_qty":0},{"ask_id":2}]"#), "fine fine");
        assert_eq!(
            verdict(r#"[{"bid_qty":1},{"bid_qty":0},{"bid_qty":1,"bid_id":1,"bid_price":"5"}]"#),
            "missing_field fine bad_field"
        );
        assert_eq!(verdict(r#"[{"bid_qty":0},{"qty":0}]"#), "all bad_field");
        assert_eq!(verdict(r#"[{"bid_qty":0,"op":"new"}]"#), "all bad_field");
    }
}
