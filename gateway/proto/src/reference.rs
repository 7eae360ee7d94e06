//! Tests of all messages together: golden bytes, round trips, hostile bytes, other codecs, and the
//! generated part of `docs/protocol.md`.

use std::fmt::Write as _;
use std::path::Path;

use expect_test::expect_file;
use proptest::prelude::*;
use tessera_types::{
    AccountId, ClOrdId, InstrumentId, OrdType, OrderId, Price, RejectReason, SelfMatch, Side,
    TimeInForce, Timestamp,
};

use crate::codes;
use crate::field::{FieldSpec, Lots};
use crate::header::{Flags, Header, MAX_CLIENT_BODY, MINOR};
use crate::message::{
    Body, Cancel, CancelReplace, Changes, ExecInstBits, Message, NewOrderSingle, Reduce, Sender,
    Template,
};
use crate::testing::{Random, body, header, random_value};

/// Byte `i` of a number is its offset in the body plus one, so that a field that moves, or two that
/// change places, show both in the bytes and in the values.
fn golden_value(at: usize, field: &FieldSpec) -> Vec<u8> {
    let pattern = |width: usize| {
        (at..at + width)
            .map(|i| u8::try_from(i % 128).expect("below 128") + 1)
            .collect()
    };
    match field.kind {
        "u8" | "u16" | "u32" | "u64" | "i64" | "bytes" => pattern(field.width),
        "text" => {
            let mut text = field.name.as_bytes().to_vec();
            text.resize(field.width, 0);
            text
        }
        "zero" => vec![0; field.width],
        _ => {
            let mut value = vec![0; field.width];
            value[0] = 1;
            value
        }
    }
}

#[test]
fn golden_bytes_of_every_message() {
    let mut text = String::new();
    for &template in Template::ALL {
        let body = body(template, 2, golden_value);
        let message = Message::decode(&header(template, &body), &body).unwrap();
        let mut frame = Vec::new();
        message.encode_frame(0x0807_0605_0403_0201, Flags::POSS_RESEND, &mut frame);
        assert_eq!(
            &frame[Header::LEN..],
            body,
            "{template:?} comes back as it went"
        );
        writeln!(text, "{} {}", template.number(), template.as_str()).unwrap();
        for (at, line) in frame.chunks(16).enumerate() {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "  {:4} {}", at * 16, hex.join(" ")).unwrap();
        }
        writeln!(text, "  {message:?}").unwrap();
    }
    expect_file!["../tests/golden/messages.txt"].assert_eq(&text);
}

#[test]
fn every_message_survives_the_way_there_and_back() {
    let mut random = Random::new(3);
    for &template in Template::ALL {
        for _ in 0..300 {
            let count = u8::try_from(random.below(5)).unwrap();
            let body = body(template, count, |_, field| random_value(&mut random, field));
            let message = Message::decode(&header(template, &body), &body).unwrap();
            let mut frame = Vec::new();
            message.encode_frame(7, Flags::NONE, &mut frame);
            assert_eq!(&frame[Header::LEN..], body, "{template:?}");
            let again = Header::parse(frame.first_chunk().unwrap()).unwrap();
            assert_eq!((again.seq, usize::from(again.body_len)), (7, body.len()));
            assert_eq!(Message::decode(&again, &frame[Header::LEN..]), Ok(message));
        }
    }
}

#[test]
fn every_truncation_and_every_extension_is_refused() {
    for &template in Template::ALL {
        let body = body(template, 1, golden_value);
        let header = header(template, &body);
        for len in 0..body.len() {
            assert!(
                Message::decode(&header, &body[..len]).is_err(),
                "{template:?} {len}"
            );
        }
        let mut longer = body.clone();
        longer.push(0);
        assert!(Message::decode(&header, &longer).is_err(), "{template:?}");
        let newer = Header {
            minor: MINOR + 1,
            ..header
        };
        assert_eq!(
            Message::decode(&newer, &longer),
            Message::decode(&header, &body),
            "{template:?}: a higher minor may append fields"
        );
    }
}

/// 200,000 bodies: random ones, and valid ones with some bytes changed. What is accepted is exactly
/// what would be sent: there is one encoding of each message.
#[test]
fn hostile_bytes_never_panic_and_have_one_meaning() {
    let mut random = Random::new(4);
    let mut accepted = 0_u32;
    for round in 0..200_000 {
        let template = Template::ALL[random.below(Template::ALL.len())];
        let mut bytes = if round % 2 == 0 {
            let mut bytes = vec![0; random.below(2 * template.min_body() + 2)];
            random.fill(&mut bytes, 3);
            bytes
        } else {
            let mut bytes = body(template, 2, golden_value);
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] = random.next().to_le_bytes()[0];
            }
            bytes
        };
        bytes.truncate(MAX_CLIENT_BODY);
        if let Ok(message) = Message::decode(&header(template, &bytes), &bytes) {
            let mut frame = Vec::new();
            message.encode_frame(0, Flags::NONE, &mut frame);
            assert_eq!(&frame[Header::LEN..], bytes, "{template:?}");
            accepted += 1;
        }
    }
    assert!(
        accepted > 20_000,
        "{accepted}: the test must reach past the refusals"
    );
}

prop_compose! {
    fn orders()(
        ids in (any::<u64>(), any::<u32>(), any::<u32>()),
        codes in (0..2_u8, 0..6_u8, 0..5_u8, 0..5_u8),
        prices in (any::<i64>(), any::<i64>()),
        quantities in (any::<u32>(), any::<u32>(), any::<u32>()),
        rest in (any::<u64>(), 0..32_u16, any::<u32>(), any::<u8>(), any::<u64>()),
    ) -> NewOrderSingle {
        let bits = [
            ExecInstBits::POST_ONLY,
            ExecInstBits::REDUCE_ONLY,
            ExecInstBits::STAY_ON_DISCONNECT,
            ExecInstBits::CANCEL_ON_SYSTEM_FAILURE,
            ExecInstBits::ALL_OR_NONE,
        ];
        NewOrderSingle {
            cl_ord_id: ClOrdId::new(ids.0),
            account: AccountId::new(ids.1),
            instrument: InstrumentId::new(ids.2),
            side: Side::try_from(codes.0).unwrap(),
            ord_type: OrdType::try_from(codes.1).unwrap(),
            time_in_force: TimeInForce::try_from(codes.2).unwrap(),
            price: Price::from_ticks(prices.0),
            order_qty: Lots::new(quantities.0),
            min_qty: Lots::new(quantities.1),
            display_qty: Lots::new(quantities.2),
            stop_px: prices.1,
            expire_time: Timestamp::from_nanos(rest.0),
            exec_inst: bits
                .into_iter()
                .filter(|bit| rest.1 & bit.bits() != 0)
                .fold(ExecInstBits::NONE, ExecInstBits::with),
            smp_id: rest.2,
            smp_mode: SelfMatch::try_from(codes.3).unwrap(),
            mmp_group: rest.3,
            transact_time: Timestamp::from_nanos(rest.4),
        }
    }
}

prop_compose! {
    fn replaces()(
        ids in (any::<u64>(), any::<u32>(), any::<u64>(), any::<u64>()),
        prices in (any::<i64>(), any::<i64>()),
        quantities in (any::<u32>(), any::<u32>()),
        expire_time in any::<u64>(),
        changes in 0..8_u8,
    ) -> CancelReplace {
        let bits = [(1, Changes::PRICE), (2, Changes::QTY), (4, Changes::STOP)];
        CancelReplace {
            cl_ord_id: ClOrdId::new(ids.0),
            account: AccountId::new(ids.1),
            orig_cl_ord_id: ClOrdId::new(ids.2),
            order_id: OrderId::new(ids.3),
            price: Price::from_ticks(prices.0),
            order_qty: Lots::new(quantities.0),
            min_qty: Lots::new(quantities.1),
            stop_px: Price::from_ticks(prices.1),
            expire_time: Timestamp::from_nanos(expire_time),
            exec_inst: ExecInstBits::NONE,
            changes: bits
                .into_iter()
                .filter(|&(bit, _)| changes & bit != 0)
                .fold(Changes::NONE, |all, (_, bit)| all.with(bit)),
            on_failure: crate::field::Reserved,
            in_flight: crate::field::Reserved,
        }
    }
}

/// A second implementation of the layout, written by hand from the tables of `docs/protocol.md`.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (value, rest) = self.0.split_first_chunk().unwrap();
        self.0 = rest;
        *value
    }
    fn u8(&mut self) -> u8 {
        self.take::<1>()[0]
    }
    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
    fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.take())
    }
}

fn encoded(body: &impl Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    body.encode_body(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn orders_mean_the_same_to_three_codecs(order in orders()) {
        let bytes = encoded(&order);
        prop_assert_eq!(NewOrderSingle::decode_body(&bytes, MINOR), Ok(order));

        let mut read = Reader(&bytes);
        prop_assert_eq!(read.u64(), order.cl_ord_id.get());
        prop_assert_eq!(read.u32(), order.account.get());
        prop_assert_eq!(read.u32(), order.instrument.get());
        prop_assert_eq!(read.u8(), order.side as u8);
        prop_assert_eq!(read.u8(), order.ord_type.code());
        prop_assert_eq!(read.u8(), order.time_in_force.code());
        prop_assert_eq!(read.i64(), order.price.ticks());
        prop_assert_eq!(read.u32(), order.order_qty.get());
        prop_assert_eq!(read.u32(), order.min_qty.get());
        prop_assert_eq!(read.u32(), order.display_qty.get());
        prop_assert_eq!(read.i64(), order.stop_px);
        prop_assert_eq!(read.u64(), order.expire_time.nanos());
        prop_assert_eq!(read.u16(), order.exec_inst.bits());
        prop_assert_eq!(read.u32(), order.smp_id);
        prop_assert_eq!(read.u8(), order.smp_mode.code());
        prop_assert_eq!(read.u8(), order.mmp_group);
        prop_assert_eq!(read.u64(), order.transact_time.nanos());
        prop_assert!(read.0.is_empty());

        type Wire = (
            (u64, u32, u32, u8, u8, u8),
            (i64, u32, u32, u32, i64, u64),
            (u16, u32, u8, u8, u64),
        );
        let other: Wire = (
            (
                order.cl_ord_id.get(),
                order.account.get(),
                order.instrument.get(),
                order.side as u8,
                order.ord_type.code(),
                order.time_in_force.code(),
            ),
            (
                order.price.ticks(),
                order.order_qty.get(),
                order.min_qty.get(),
                order.display_qty.get(),
                order.stop_px,
                order.expire_time.nanos(),
            ),
            (
                order.exec_inst.bits(),
                order.smp_id,
                order.smp_mode.code(),
                order.mmp_group,
                order.transact_time.nanos(),
            ),
        );
        prop_assert_eq!(&wincode::serialize(&other).unwrap(), &bytes);
        prop_assert_eq!(wincode::deserialize_exact::<Wire>(&bytes).unwrap(), other);
    }

    #[test]
    fn replaces_mean_the_same_to_three_codecs(replace in replaces()) {
        let bytes = encoded(&replace);
        prop_assert_eq!(CancelReplace::decode_body(&bytes, MINOR), Ok(replace));

        let mut read = Reader(&bytes);
        prop_assert_eq!(read.u64(), replace.cl_ord_id.get());
        prop_assert_eq!(read.u32(), replace.account.get());
        prop_assert_eq!(read.u64(), replace.orig_cl_ord_id.get());
        prop_assert_eq!(read.u64(), replace.order_id.get());
        prop_assert_eq!(read.i64(), replace.price.ticks());
        prop_assert_eq!(read.u32(), replace.order_qty.get());
        prop_assert_eq!(read.u32(), replace.min_qty.get());
        prop_assert_eq!(read.i64(), replace.stop_px.ticks());
        prop_assert_eq!(read.u64(), replace.expire_time.nanos());
        prop_assert_eq!(read.u16(), 0);
        let changes = read.u8();
        for (bit, change) in [(1, Changes::PRICE), (2, Changes::QTY), (4, Changes::STOP)] {
            prop_assert_eq!(changes & bit != 0, replace.changes.contains(change));
        }
        prop_assert_eq!(read.u16(), 0);
        prop_assert!(read.0.is_empty());

        type Wire = ((u64, u32, u64, u64), (i64, u32, u32, i64, u64), (u16, u8, u8, u8));
        let other = wincode::deserialize_exact::<Wire>(&bytes).unwrap();
        prop_assert_eq!(other.0.2, replace.orig_cl_ord_id.get());
        prop_assert_eq!(other.1.3, replace.stop_px.ticks());
        prop_assert_eq!(&wincode::serialize(&other).unwrap(), &bytes);
    }

    #[test]
    fn cancels_and_reduces_mean_the_same_to_three_codecs(
        ids in (any::<u64>(), any::<u32>(), any::<u64>(), any::<u64>()),
        by in any::<u32>(),
    ) {
        let cancel = Cancel {
            cl_ord_id: ClOrdId::new(ids.0),
            account: AccountId::new(ids.1),
            orig_cl_ord_id: ClOrdId::new(ids.2),
            order_id: OrderId::new(ids.3),
        };
        let bytes = encoded(&cancel);
        prop_assert_eq!(Cancel::decode_body(&bytes, MINOR), Ok(cancel));
        let mut read = Reader(&bytes);
        prop_assert_eq!((read.u64(), read.u32(), read.u64(), read.u64()), ids);
        prop_assert_eq!(&wincode::serialize(&ids).unwrap(), &bytes);

        let reduce = Reduce {
            cl_ord_id: cancel.cl_ord_id,
            account: cancel.account,
            orig_cl_ord_id: cancel.orig_cl_ord_id,
            order_id: cancel.order_id,
            by: Lots::new(by),
        };
        let bytes = encoded(&reduce);
        prop_assert_eq!(Reduce::decode_body(&bytes, MINOR), Ok(reduce));
        let wire = (ids.0, ids.1, ids.2, ids.3, by);
        prop_assert_eq!(&wincode::serialize(&wire).unwrap(), &bytes);
    }
}

/// The part of `docs/protocol.md` between the markers is what the code says. With `UPDATE_EXPECT=1`
/// the file is rewritten instead.
#[test]
fn the_reference_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text
        .split_once(BEGIN)
        .expect("docs/protocol.md has the begin marker");
    let (found, after) = rest
        .split_once(END)
        .expect("docs/protocol.md has the end marker");
    let expected = reference();
    if found == expected {
        return;
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    let line = found
        .lines()
        .zip(expected.lines())
        .find(|(found, expected)| found != expected);
    panic!(
        "docs/protocol.md does not say what the code says, first at {line:?}; \
         run this test with UPDATE_EXPECT=1 and review the difference"
    );
}

const BEGIN: &str = "<!-- generated from gateway/proto: begin -->\n";
const END: &str = "<!-- generated from gateway/proto: end -->\n";

fn reference() -> String {
    let mut text = String::from("\n## 9. Messages, byte by byte\n");
    for &template in Template::ALL {
        let sender = match template.sender() {
            Sender::Client => "client",
            Sender::Server => "server",
            Sender::Both => "both",
        };
        let msg_type = match template.msg_type() {
            "" => String::new(),
            fix => format!(", FIX MsgType {fix}"),
        };
        let (number, name) = (template.number(), template.as_str());
        let doc = template.doc().trim();
        let group = template.group();
        let length = match group {
            None => format!("{} bytes", template.min_body()),
            Some(group) => {
                let entry: usize = group.fields.iter().map(|field| field.width).sum();
                let (fixed, max) = (template.min_body(), group.max);
                format!("{fixed} bytes and {entry} for each of at most {max} entries")
            }
        };
        writeln!(
            text,
            "\n### {number} {name}\n\n{doc} From {sender}{msg_type}; body {length}.\n"
        )
        .unwrap();
        fields(&mut text, template.fields());
        if let Some(group) = group {
            writeln!(text, "\nEach entry, offsets within it:\n").unwrap();
            fields(&mut text, group.fields);
        }
    }
    text.push_str("\n## 10. Codes\n");
    macro_rules! tables {
        ($($name:ident),+ $(,)?) => {$(
            table(&mut text, stringify!($name), codes::$name::ALL.iter().map(|code| {
                (u16::from(code.code()), code.as_str(), code.doc().trim())
            }));
        )+};
    }
    tables!(
        CancelOnDisconnect,
        Durability,
        EndReason,
        ExecType,
        InstrumentKind,
        KillAction,
        KillScope,
        LevelAction,
        Liquidity,
        LogoutReason,
        MassActionScope,
        MassActionType,
        MdMode,
        MdRejectReason,
        MdRequestKind,
        MdScope,
        OrdStatus,
        SessionRejectReason,
        SideCode,
        StreamKind,
    );
    macro_rules! words {
        ($($name:ident),+ $(,)?) => {$(
            table(&mut text, stringify!($name), tessera_types::$name::ALL.iter().map(|code| {
                (u16::from(code.code()), code.as_str(), "")
            }));
        )+};
    }
    words!(
        OrdType,
        TimeInForce,
        SelfMatch,
        Phase,
        Partition,
        Aggressor,
        MatchAlgo
    );
    let sides = [Side::Buy, Side::Sell].into_iter();
    table(
        &mut text,
        "Side",
        sides.map(|side| (side as u16, side.as_str(), "")),
    );
    text.push_str(
        "\n### RejectReason\n\nThe exact reason of a refusal, and FIX's nearest numbers.\n\n\
         | code | word | OrdRejReason | CxlRejReason | BusinessRejectReason |\n\
         |---:|---|---:|---:|---:|\n",
    );
    for &reason in RejectReason::ALL {
        writeln!(
            text,
            "| {} | `{}` | {} | {} | {} |",
            reason.code(),
            reason.as_str(),
            codes::ord_rej_reason(reason),
            codes::cxl_rej_reason(reason),
            codes::business_reject_reason(reason)
        )
        .unwrap();
    }
    table(
        &mut text,
        "CloseCode",
        codes::CloseCode::ALL
            .iter()
            .map(|code| (u16::from(code.code()), code.as_str(), code.doc().trim())),
    );
    text.push('\n');
    text
}

fn fields(text: &mut String, fields: &[FieldSpec]) {
    text.push_str("| offset | field | tag | width | type | unit and meaning |\n");
    text.push_str("|---:|---|---:|---:|---|---|\n");
    let mut offset = 0;
    for field in fields {
        let FieldSpec {
            name,
            tag,
            width,
            kind,
            doc,
        } = field;
        let kind = match *kind {
            "bool" => "u8, 0 or 1".to_owned(),
            "bits8" => "u8, bits".to_owned(),
            "bits16" => "u16, bits".to_owned(),
            "text" => format!("text, {width} bytes"),
            "bytes" => format!("{width} bytes"),
            "zero" => "0".to_owned(),
            "u8" | "u16" | "u32" | "u64" | "i64" => (*kind).to_owned(),
            code => format!("u8, {code}"),
        };
        let doc = doc.split_whitespace().collect::<Vec<_>>().join(" ");
        let doc = doc.replace(
            "[`logon_signing_bytes`](crate::auth::logon_signing_bytes)",
            "the bytes of section 4",
        );
        writeln!(
            text,
            "| {offset} | {name} | {tag} | {width} | {kind} | {doc} |"
        )
        .unwrap();
        offset += width;
    }
}

fn table<'a>(text: &mut String, name: &str, rows: impl Iterator<Item = (u16, &'a str, &'a str)>) {
    writeln!(
        text,
        "\n### {name}\n\n| code | word | meaning |\n|---:|---|---|"
    )
    .unwrap();
    for (code, word, doc) in rows {
        writeln!(text, "| {code} | `{word}` | {doc} |").unwrap();
    }
}
