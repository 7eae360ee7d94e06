//! The malformed-input table of the protocol, row by row, through real QUIC sockets. The row's number
//! is in the name of its case. After every case the shard still serves, and nothing of the bad input
//! has reached the engine.

#![allow(clippy::unwrap_used)] // what fails here fails the test

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, ServerConfig, VarInt};
use support::{
    Peer, QUIET, Setup, Venue, Wire, client_config, limit_order, patient, rustls_client, until, utc,
};
use tessera_gateway::Credentials;
use tessera_proto::codes::{CloseCode, ExecType, LogoutReason, SessionRejectReason};
use tessera_proto::field::Reserved;
use tessera_proto::message::{Heartbeat, Logon, Logout, Message, NewOrderSingle, TestRequest};
use tessera_proto::throttle::Rates;
use tessera_proto::{Body, Flags, Header, Lots, Protocol, Template, Text};
use tessera_types::{ClOrdId, InstrumentId, RejectReason, ServerSeq, Side, Timestamp};

/// The reaction of the server, as the table's classes.
#[derive(Debug, PartialEq, Eq)]
enum Reaction {
    /// A: closed with this code, without a word.
    Close(CloseCode),
    /// B: a session reject for this reason and field, and the session goes on.
    Reject(SessionRejectReason, u16),
    /// C: a Logout with this reason, then closed.
    Logout(LogoutReason),
    /// E: nothing.
    Ignore,
}

/// Logs a session on, does something bad, and compares the reaction; nothing may reach the engine.
async fn check<F>(row: u32, bad: F, expected: Reaction)
where
    F: AsyncFnOnce(&mut Wire),
{
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let (mut wire, _) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    let before = venue.applied();
    bad(&mut wire).await;
    assert_reaction(row, &mut wire, &expected).await;
    // A session that is over is fenced, which is the shard's doing; anything else goes on.
    if matches!(expected, Reaction::Reject(..) | Reaction::Ignore) {
        assert_eq!(venue.applied(), before, "row {row} reached the engine");
        wire.client_seq = wire.client_seq.max(1);
        wire.send(&ping(1)).await;
        assert_eq!(pong(&mut wire).await, 1, "row {row}: the session goes on");
    } else {
        until(|| venue.sessions.is_empty()).await;
        assert_eq!(
            venue.applied(),
            before + 1,
            "row {row}: only the fence reaches the engine"
        );
    }
    serves(&venue, &peer).await;
}

/// The same before the Logon, on order entry.
async fn check_logon<F>(row: u32, change: F, expected: Reaction)
where
    F: FnOnce(&mut Logon),
{
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let before = venue.applied();
    let mut wire = peer.raw(&venue, Protocol::OrderEntry).await;
    let mut logon = peer.logon("ALICE");
    change(&mut logon);
    let sign = logon.signature == [0; 64];
    if sign {
        peer.sign(&wire, &mut logon);
    }
    wire.send(&logon).await;
    assert_reaction(row, &mut wire, &expected).await;
    assert_eq!(venue.applied(), before, "row {row} reached the engine");
    serves(&venue, &peer).await;
}

/// Waits for a reaction as long as it takes, and for silence only a while.
async fn assert_reaction(row: u32, wire: &mut Wire, expected: &Reaction) {
    let reaction = if *expected == Reaction::Ignore {
        match tokio::time::timeout(2 * QUIET, reaction(wire)).await {
            Ok(reaction) => reaction,
            Err(_) => Reaction::Ignore,
        }
    } else {
        reaction(wire).await
    };
    assert_eq!(reaction, *expected, "row {row}");
}

async fn reaction(wire: &mut Wire) -> Reaction {
    match wire.control_or_end().await {
        None => Reaction::Close(wire.closed().await),
        Some(Message::Reject(reject)) => Reaction::Reject(reject.reason, reject.ref_tag),
        Some(Message::Logout(logout)) => {
            assert_eq!(wire.closed().await, CloseCode::Done);
            Reaction::Logout(logout.reason)
        }
        Some(other) => panic!("unexpected reaction {other:?}"),
    }
}

async fn serves(venue: &Venue, peer: &Peer) {
    let (mut wire, ack) = peer.log_on(venue, Protocol::OrderEntry, "WITNESS").await;
    let id = ack.last_cl_ord_id.get() + 1;
    wire.request(&limit_order(id, Side::Buy, 1, 1)).await;
    let (_, message) = wire.event().await;
    let Message::ExecutionReport(report) = message else {
        panic!("the shard still serves, but said {message:?}");
    };
    assert_eq!(report.exec_type, ExecType::New);
}

fn ping(test_req_id: u64) -> TestRequest {
    TestRequest {
        test_req_id,
        next_server_seq: ServerSeq::new(0),
    }
}

async fn pong(wire: &mut Wire) -> u64 {
    loop {
        match wire.control_or_end().await {
            Some(Message::Heartbeat(beat)) if beat.test_req_id != 0 => return beat.test_req_id,
            Some(Message::Heartbeat(_)) => {}
            other => panic!("expected a heartbeat, got {other:?}"),
        }
    }
}

fn order_bytes(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    limit_order(1, Side::Buy, 100, 1).encode_frame(1, Flags::NONE, &mut bytes);
    change(&mut bytes);
    let len = u16::try_from(bytes.len() - Header::LEN).unwrap();
    bytes[..2].copy_from_slice(&len.to_le_bytes());
    bytes
}

/// Offset in a frame of the field with this tag.
fn offset<R: tessera_proto::message::Record>(tag: u16) -> usize {
    let before = R::FIELDS.iter().take_while(|field| field.tag != tag);
    Header::LEN + before.map(|field| field.width).sum::<usize>()
}

async fn refused_by_tls(venue: &Venue, config: ClientConfig) {
    let peer = Peer::new(venue, "trader");
    // A client certificate is refused after the client's handshake is done: the first use shows it.
    let refused = match peer.connect_with(config).await {
        Err(_) => true,
        Ok(connection) => patient(async { connection.accept_uni().await.is_err() }).await,
    };
    assert!(refused);
}

#[tokio::test]
async fn row_01_what_tls_refuses() {
    let venue = Venue::open();
    let dir = venue.credentials.path();
    for alpn in [&b"txp-oe/2"[..], b"h3", b""] {
        refused_by_tls(&venue, client_config(dir, Some("trader"), alpn)).await;
    }
    refused_by_tls(&venue, client_config(dir, None, b"txp-oe/1")).await;

    // A certificate of another authority, with the right names in it.
    let other = tempfile::tempdir().unwrap();
    Credentials::load_or_create(other.path()).unwrap();
    let files = tempfile::tempdir().unwrap();
    std::fs::copy(dir.join("ca.crt"), files.path().join("ca.crt")).unwrap();
    for name in ["trader.crt", "trader.key"] {
        std::fs::copy(other.path().join(name), files.path().join(name)).unwrap();
    }
    refused_by_tls(
        &venue,
        client_config(files.path(), Some("trader"), b"txp-oe/1"),
    )
    .await;
    serves(&venue, &Peer::new(&venue, "trader")).await;
}

/// A ticket that allows early data comes from a server of the attacker's own with a copy of our
/// certificate and key, which is more than an attacker has. Ours gives no tickets.
#[tokio::test]
async fn row_02_early_data_is_never_accepted() {
    let venue = Venue::open();
    let dir = venue.credentials.path();
    let mut client = rustls_client(dir, Some("trader"), b"txp-oe/1");
    client.enable_early_data = true;
    let config = ClientConfig::new(Arc::new(
        QuicClientConfig::try_from(Arc::new(client)).unwrap(),
    ));

    // From our own server there is nothing to resume with.
    let peer = Peer::new(&venue, "trader");
    let first = peer.connect_with(config.clone()).await.unwrap();
    tokio::time::sleep(QUIET).await;
    first.close(0_u32.into(), b"");
    let again = peer
        .endpoint()
        .connect_with(config.clone(), venue.addr, "localhost");
    assert!(
        again.unwrap().into_0rtt().is_err(),
        "our server gave a ticket"
    );

    let careless = careless_server(dir);
    let addr = careless.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let connection = careless.accept().await.unwrap().await.unwrap();
        connection.closed().await;
    });
    let connection = peer
        .endpoint()
        .connect_with(config.clone(), addr, "localhost");
    let connection = connection.unwrap().await.unwrap();
    tokio::time::sleep(QUIET).await; // the ticket comes after the handshake
    connection.close(0_u32.into(), b"");
    patient(serving).await.unwrap();

    let before = venue.applied();
    let attempt = peer
        .endpoint()
        .connect_with(config, venue.addr, "localhost");
    let Ok((connection, accepted)) = attempt.unwrap().into_0rtt() else {
        panic!("the client has a ticket and sends early data");
    };
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    let mut bytes = Vec::new();
    peer.logon("EARLY").encode_frame(0, Flags::NONE, &mut bytes);
    let _ = send.write_all(&bytes).await;
    assert!(!patient(accepted).await, "early data was accepted");
    tokio::time::sleep(QUIET).await;
    assert_eq!(venue.applied(), before);
}

/// A server that gives tickets and accepts early data.
fn careless_server(dir: &std::path::Path) -> Endpoint {
    use rustls_pki_types::pem::PemObject;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = rustls_pki_types::CertificateDer::from_pem_file(dir.join("server.crt"));
    let key = rustls_pki_types::PrivateKeyDer::from_pem_file(dir.join("server.key"));
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.unwrap()], key.unwrap())
        .unwrap();
    config.alpn_protocols = vec![b"txp-oe/1".to_vec()];
    config.max_early_data_size = u32::MAX;
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(config).unwrap();
    let config = ServerConfig::with_crypto(Arc::new(crypto));
    Endpoint::server(config, ([127, 0, 0, 1], 0).into()).unwrap()
}

#[tokio::test]
async fn row_03_what_comes_first_must_be_a_logon_on_a_bidirectional_stream() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let connection = peer.connect(&venue, b"txp-oe/1").await.unwrap();
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(&order_bytes(|_| {})).await.unwrap();
    let closed = patient(connection.closed()).await;
    assert!(
        closed
            .to_string()
            .contains(&CloseCode::NoLogon.code().to_string()),
        "{closed}"
    );

    let mut wire = peer.raw(&venue, Protocol::OrderEntry).await;
    wire.send(&ping(1)).await;
    assert_eq!(wire.closed().await, CloseCode::NoLogon);
    serves(&venue, &peer).await;
}

#[tokio::test]
async fn row_04_a_connection_without_a_logon_is_closed_after_five_seconds() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let start = Instant::now();
    let silent = peer.connect(&venue, b"txp-oe/1").await.unwrap();
    let mut half = peer.raw(&venue, Protocol::MarketData).await;
    half.send_bytes(&[1]).await;
    assert_eq!(half.closed().await, CloseCode::LogonTimeout);
    patient(silent.closed()).await;
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(4_900), "{took:?}");
    assert!(took < Duration::from_secs(9), "{took:?}");
}

#[tokio::test]
async fn row_05_bad_signatures() {
    let auth = || Reaction::Logout(LogoutReason::Auth);
    check_logon(5, |logon| logon.signature = [7; 64], auth()).await;
    let other_key = |logon: &mut Logon| logon.username = Text::new("nobody").unwrap();
    check_logon(5, other_key, auth()).await;

    // A signature made for one connection is worthless on another.
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let first = peer.raw(&venue, Protocol::OrderEntry).await;
    let mut logon = peer.logon("ALICE");
    peer.sign(&first, &mut logon);
    let mut second = peer.raw(&venue, Protocol::OrderEntry).await;
    second.send(&logon).await;
    assert_reaction(5, &mut second, &auth()).await;
}

#[tokio::test]
async fn row_05_five_bad_signatures_block_the_right_one_too() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    for attempt in 0..6 {
        let mut wire = peer.raw(&venue, Protocol::OrderEntry).await;
        let mut logon = peer.logon("ALICE");
        if attempt < 5 {
            logon.signature = [7; 64];
        } else {
            peer.sign(&wire, &mut logon);
        }
        wire.send(&logon).await;
        assert_reaction(5, &mut wire, &Reaction::Logout(LogoutReason::Auth)).await;
    }
}

#[tokio::test]
async fn rows_06_and_07_clock_and_heartbeat() {
    let shifted = |seconds: i64| {
        move |logon: &mut Logon| {
            let now = utc().nanos();
            let by = seconds.unsigned_abs() * 1_000_000_000;
            let then = if seconds < 0 { now - by } else { now + by };
            logon.sending_time = Timestamp::from_nanos(then);
        }
    };
    let off = || Reaction::Logout(LogoutReason::SendingTime);
    check_logon(6, shifted(-6), off()).await;
    check_logon(6, shifted(6), off()).await;
    for interval in [0, 9, 601, u16::MAX] {
        let change = move |logon: &mut Logon| logon.heart_bt_int = interval;
        check_logon(7, change, Reaction::Logout(LogoutReason::HeartBtInt)).await;
    }
}

#[tokio::test]
async fn row_08_names_that_do_not_belong_to_the_certificate() {
    let auth = || Reaction::Logout(LogoutReason::Auth);
    let admin_key = |logon: &mut Logon| logon.username = Text::new("admin").unwrap();
    check_logon(8, admin_key, auth()).await;
    let nobody = |logon: &mut Logon| logon.sender = Text::EMPTY;
    check_logon(8, nobody, auth()).await;
    let elsewhere = |logon: &mut Logon| logon.target = Text::new("NASDAQ").unwrap();
    check_logon(8, elsewhere, auth()).await;

    let venue = Venue::open();
    for (who, protocol) in [("admin", Protocol::OrderEntry), ("trader", Protocol::Admin)] {
        let peer = Peer::new(&venue, who);
        let mut wire = peer.raw(&venue, protocol).await;
        let mut logon = peer.logon("ALICE");
        peer.sign(&wire, &mut logon);
        wire.send(&logon).await;
        assert_reaction(8, &mut wire, &auth()).await;
    }
}

#[tokio::test]
async fn row_09_a_second_logon() {
    let again = async |wire: &mut Wire| {
        let venue_logon = Logon {
            sender: Text::new("ALICE").unwrap(),
            ..blank_logon()
        };
        wire.send(&venue_logon).await;
    };
    check(9, again, Reaction::Logout(LogoutReason::SecondLogon)).await;
}

fn blank_logon() -> Logon {
    Logon {
        sender: Text::EMPTY,
        target: Text::EMPTY,
        heart_bt_int: 10,
        epoch: 0,
        next_server_seq: ServerSeq::new(0),
        schema_minor: 0,
        cancel_on_disconnect: tessera_proto::codes::CancelOnDisconnect::None,
        cancel_grace: 0,
        username: Text::EMPTY,
        sending_time: Timestamp::ZERO,
        signature: [0; 64],
        take_over: false,
    }
}

#[tokio::test]
async fn row_11_a_higher_minor_is_granted_what_the_server_has() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let (_, ack) = peer
        .log_on_with(&venue, Protocol::OrderEntry, "ALICE", |logon| {
            logon.schema_minor = 9
        })
        .await;
    assert_eq!(ack.schema_minor, tessera_proto::header::MINOR);
}

#[tokio::test]
async fn row_12_headers_that_are_none() {
    for (at, value) in [(6, 1), (7, 1), (5, 8), (5, 0x80)] {
        let bad = async |wire: &mut Wire| {
            wire.request_bytes(&order_bytes(|bytes| bytes[at] = value))
                .await;
        };
        check(12, bad, Reaction::Close(CloseCode::BadHeader)).await;
    }
}

#[tokio::test]
async fn row_13_a_body_above_the_limit_is_refused_before_it_is_read() {
    let bad = async |wire: &mut Wire| {
        let header = Header {
            body_len: 1_025,
            template: Template::NewOrderSingle.number(),
            minor: 0,
            flags: Flags::NONE,
            seq: 1,
        };
        wire.request_bytes(&header.to_bytes()).await;
    };
    check(13, bad, Reaction::Close(CloseCode::BodyTooLarge)).await;
}

#[tokio::test]
async fn rows_14_to_16_bodies_of_the_wrong_length() {
    let short = async |wire: &mut Wire| {
        wire.request_bytes(&order_bytes(|bytes| bytes.truncate(bytes.len() - 1)))
            .await;
    };
    check(
        14,
        short,
        Reaction::Reject(SessionRejectReason::BodyTooShort, 0),
    )
    .await;
    let long = async |wire: &mut Wire| {
        wire.request_bytes(&order_bytes(|bytes| bytes.push(0)))
            .await;
    };
    check(
        15,
        long,
        Reaction::Reject(SessionRejectReason::TrailingBytes, 0),
    )
    .await;

    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let (mut wire, _) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    let newer = order_bytes(|bytes| {
        bytes[4] = tessera_proto::header::MINOR + 1;
        bytes.extend_from_slice(&[1, 2, 3]);
    });
    wire.request_bytes(&newer).await;
    assert!(
        matches!(wire.event().await.1, Message::ExecutionReport(_)),
        "row 16"
    );
}

#[tokio::test]
async fn rows_17_to_19_frames_that_never_become_whole() {
    let truncated = async |wire: &mut Wire| {
        let stream = wire.requests().await;
        stream.write_all(&order_bytes(|_| {})[..20]).await.unwrap();
        stream.finish().unwrap();
    };
    check(17, truncated, Reaction::Close(CloseCode::Truncated)).await;
    let reset = async |wire: &mut Wire| {
        let stream = wire.requests().await;
        stream.write_all(&order_bytes(|_| {})[..20]).await.unwrap();
        tokio::time::sleep(QUIET).await; // the server has the first part
        wire.requests().await.reset(VarInt::from_u32(0)).unwrap();
    };
    check(18, reset, Reaction::Close(CloseCode::Truncated)).await;
    let slow = async |wire: &mut Wire| {
        wire.request_bytes(&order_bytes(|_| {})[..20]).await;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
    };
    check(19, slow, Reaction::Close(CloseCode::SlowFrame)).await;
}

#[tokio::test]
async fn rows_20_and_21_templates() {
    // ResendRequest and SequenceReset (rows 37, 38 and 44) are templates of a later minor.
    for number in [4_u16, 6, 7, 30, 44, 9_999] {
        let bad = async |wire: &mut Wire| {
            let number = if number == 4 { 200 } else { number };
            let bytes = order_bytes(|bytes| bytes[2..4].copy_from_slice(&number.to_le_bytes()));
            wire.request_bytes(&bytes).await;
        };
        check(
            20,
            bad,
            Reaction::Reject(SessionRejectReason::UnknownTemplate, 0),
        )
        .await;
    }
    for template in [
        Template::Logon,
        Template::ExecutionReport,
        Template::MdRequest,
        Template::AdminPhase,
        Template::KillSwitch,
    ] {
        let bad = async |wire: &mut Wire| {
            let number = template.number();
            let bytes = order_bytes(|bytes| bytes[2..4].copy_from_slice(&number.to_le_bytes()));
            wire.request_bytes(&bytes).await;
        };
        check(21, bad, Reaction::Logout(LogoutReason::IllegalMessage)).await;
    }
    let order_on_control = async |wire: &mut Wire| {
        wire.send(&limit_order(1, Side::Buy, 100, 1)).await;
    };
    check(
        21,
        order_on_control,
        Reaction::Logout(LogoutReason::IllegalMessage),
    )
    .await;
}

#[tokio::test]
async fn rows_22_to_24_field_values() {
    for tag in [54, 40, 59, 2_964] {
        let bad = async |wire: &mut Wire| {
            let at = offset::<NewOrderSingle>(tag);
            wire.request_bytes(&order_bytes(|bytes| bytes[at] = 0xee))
                .await;
        };
        check(
            22,
            bad,
            Reaction::Reject(SessionRejectReason::ValueOutOfRange, tag),
        )
        .await;
    }
    let reserved = async |wire: &mut Wire| {
        let mut bytes = Vec::new();
        goodbye(0).encode_frame(0, Flags::NONE, &mut bytes);
        bytes[offset::<Logout>(20_100)] = 1;
        wire.send_bytes(&bytes).await;
    };
    let bad_format = |tag| Reaction::Reject(SessionRejectReason::BadFormat, tag);
    check(23, reserved, bad_format(20_100)).await;
    for text in [&b"\x1b["[..], b"\0a", b"\xff"] {
        let bad = async |wire: &mut Wire| {
            let mut bytes = Vec::new();
            goodbye(0).encode_frame(0, Flags::NONE, &mut bytes);
            let at = offset::<Logout>(58);
            bytes[at..at + text.len()].copy_from_slice(text);
            wire.send_bytes(&bytes).await;
        };
        check(24, bad, bad_format(58)).await;
    }
}

fn goodbye(last_client_seq: u64) -> Logout {
    Logout {
        reason: LogoutReason::Normal,
        reserved: Reserved,
        last_client_seq,
        text: Text::EMPTY,
    }
}

#[tokio::test]
async fn class_b_ten_times_is_tolerated_and_then_closes() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let (mut wire, _) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    for seq in 1..=11_u64 {
        let bytes = order_bytes(|bytes| {
            bytes.push(0);
            bytes[8..16].copy_from_slice(&seq.to_le_bytes());
        });
        wire.request_bytes(&bytes).await;
        if seq <= 10 {
            assert!(matches!(wire.control().await, Message::Reject(_)));
        }
    }
    assert_eq!(wire.closed().await, CloseCode::TooManyRejects);
}

#[tokio::test]
async fn rows_26_27_and_47_client_sequence() {
    let numbered = |seq: u64| {
        async move |wire: &mut Wire| {
            let bytes = order_bytes(|bytes| bytes[8..16].copy_from_slice(&seq.to_le_bytes()));
            wire.request_bytes(&bytes).await;
        }
    };
    check(26, numbered(2), Reaction::Logout(LogoutReason::SeqGap)).await;
    check(27, numbered(0), Reaction::Logout(LogoutReason::SeqLow)).await;
    check(
        47,
        numbered(u64::MAX),
        Reaction::Logout(LogoutReason::SeqExhausted),
    )
    .await;
}

#[tokio::test]
async fn rows_28_to_36_business_rejects_keep_the_session() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let (mut wire, _) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    let mut id = 0;
    let mut order = |change: &dyn Fn(&mut NewOrderSingle)| {
        id += 1;
        let mut order = limit_order(id, Side::Buy, 100, 1);
        change(&mut order);
        order
    };
    type Change<'a> = &'a dyn Fn(&mut NewOrderSingle);
    let cases: [(u32, Change<'_>, RejectReason); 5] = [
        (
            31,
            &|o| o.instrument = InstrumentId::new(99),
            RejectReason::UnknownInstrument,
        ),
        (
            32,
            &|o| o.price = tessera_types::Price::from_ticks(0),
            RejectReason::BadPrice,
        ),
        (33, &|o| o.order_qty = Lots::ZERO, RejectReason::BadQty),
        (35, &|o| o.smp_id = 5, RejectReason::Unsupported),
        (
            30,
            &|o| o.cl_ord_id = ClOrdId::new(1),
            RejectReason::DuplicateId,
        ),
    ];
    for (row, change, reason) in cases {
        wire.request(&order(change)).await;
        // What the gateway refuses comes on the control stream, what the engine refuses on S2.
        if reason == RejectReason::Unsupported {
            let Message::BusinessReject(reject) = wire.control().await else {
                panic!("row {row}");
            };
            assert_eq!(reject.reason, Some(reason), "row {row}");
        } else {
            let Message::ExecutionReport(report) = wire.event().await.1 else {
                panic!("row {row}");
            };
            assert_eq!(report.exec_type, ExecType::Rejected, "row {row}");
            assert_eq!(report.reason, Some(reason), "row {row}");
        }
    }
    wire.request(&order(&|_| {})).await;
    let Message::ExecutionReport(report) = wire.event().await.1 else {
        panic!("the session goes on");
    };
    assert_eq!(report.exec_type, ExecType::New);
    // Rows 28 and 29: sent again after a reconnect, known or not.
    for (id, expected) in [(id, ExecType::Rejected), (id + 1, ExecType::New)] {
        wire.client_seq += 1;
        let mut bytes = Vec::new();
        limit_order(id, Side::Buy, 100, 1).encode_frame(
            wire.client_seq,
            Flags::POSS_RESEND,
            &mut bytes,
        );
        wire.request_bytes(&bytes).await;
        let Message::ExecutionReport(report) = wire.event().await.1 else {
            panic!("rows 28 and 29");
        };
        assert_eq!(report.exec_type, expected);
    }
}

#[tokio::test]
async fn row_39_the_rate_limit_refuses_orders_and_not_cancels() {
    let venue = Venue::with(Setup {
        tune: |config| {
            config.rates = Rates {
                rate: 1,
                burst: 3,
                cancel_rate: 1,
                cancel_burst: 3,
            };
        },
        ..Setup::default()
    });
    let peer = Peer::new(&venue, "trader");
    let (mut wire, ack) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    assert_eq!((ack.rate, ack.burst), (1, 3));
    for id in 1..=4 {
        wire.request(&limit_order(id, Side::Buy, 100, 1)).await;
    }
    let Message::BusinessReject(reject) = wire.control().await else {
        panic!("the fourth order is one too many");
    };
    assert_eq!(
        (reject.cl_ord_id.get(), reject.reason),
        (4, Some(RejectReason::Throttled))
    );
    assert!(reject.retry_after > 0 && reject.retry_after <= 1_000_000_000);
    wire.request(&tessera_proto::message::Cancel {
        cl_ord_id: ClOrdId::new(4), // the refused request did not use it up
        account: tessera_types::AccountId::new(7),
        orig_cl_ord_id: ClOrdId::new(1),
        order_id: tessera_types::OrderId::new(0),
    })
    .await;
    for expected in [
        ExecType::New,
        ExecType::New,
        ExecType::New,
        ExecType::Canceled,
    ] {
        let Message::ExecutionReport(report) = wire.event().await.1 else {
            panic!("three orders and a cancel are served");
        };
        assert_eq!(report.exec_type, expected);
    }
}

#[tokio::test]
async fn rows_40_and_41_streams_and_datagrams_beyond_the_limit() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let (mut wire, _) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    assert_eq!(wire.connection.max_datagram_size(), None, "row 41");
    let second = tokio::time::timeout(QUIET, wire.connection.open_bi()).await;
    assert!(
        second.is_err(),
        "row 40: a second bidirectional stream waits for ever"
    );
    wire.requests().await;
    let mut spare = wire.connection.open_uni().await.unwrap();
    let third = tokio::time::timeout(QUIET, wire.connection.open_uni()).await;
    assert!(
        third.is_err(),
        "row 40: a third unidirectional stream waits for ever"
    );
    wire.request(&limit_order(1, Side::Buy, 100, 1)).await;
    wire.event().await;
    spare.write_all(&[0]).await.unwrap();
    assert_eq!(wire.closed().await, CloseCode::BadStream);
}

#[tokio::test]
async fn row_43_a_connection_does_not_move_to_another_address() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let (mut wire, _) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    wire.send(&ping(1)).await;
    assert_eq!(pong(&mut wire).await, 1);
    let elsewhere = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.endpoint().rebind(elsewhere).unwrap();
    wire.send(&ping(2)).await;
    let answer = tokio::time::timeout(4 * QUIET, wire.control_or_end()).await;
    assert!(
        !matches!(answer, Ok(Some(_))),
        "the server answered to {answer:?}"
    );
}

#[tokio::test]
async fn rows_45_and_46_what_is_ignored() {
    let stray = async |wire: &mut Wire| {
        wire.send(&Heartbeat {
            test_req_id: 4_711,
            next_server_seq: ServerSeq::new(0),
        })
        .await;
    };
    check(45, stray, Reaction::Ignore).await;

    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let (mut wire, _) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    venue.freeze(true);
    wire.request(&limit_order(1, Side::Buy, 100, 1)).await;
    until(|| venue.stats.snapshot().commands_in == 2).await;
    wire.send(&goodbye(1)).await;
    until(|| venue.stats.snapshot().commands_in == 3).await;
    wire.request(&limit_order(2, Side::Buy, 100, 1)).await;
    wire.send(&ping(1)).await;
    tokio::time::sleep(QUIET).await;
    let before = venue.applied();
    venue.freeze(false);
    assert!(matches!(wire.control().await, Message::Logout(_)));
    // The order and the fence that cancels it; not the order after the Logout.
    until(|| venue.sessions.is_empty()).await;
    assert_eq!(venue.applied(), before + 2);
}

#[tokio::test]
async fn a_silent_client_is_asked_and_then_cut_off() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let (mut wire, _) = peer
        .log_on_with(&venue, Protocol::OrderEntry, "ALICE", |logon| {
            logon.heart_bt_int = 10
        })
        .await;
    wire.request(&limit_order(1, Side::Buy, 100, 1)).await;
    let start = Instant::now();
    loop {
        match wire.control_or_end().await {
            Some(Message::TestRequest(_)) => break,
            Some(Message::Heartbeat(_)) => {}
            other => panic!("expected to be asked, got {other:?}"),
        }
    }
    let asked = start.elapsed();
    assert_eq!(wire.closed().await, CloseCode::Silent);
    let closed = start.elapsed();
    assert!(asked > Duration::from_millis(1_000) && closed < Duration::from_millis(8_000));
    until(|| venue.sessions.is_empty()).await;
    let (_, core) = venue.close();
    assert_eq!(core.exchange.live_orders(), 0, "cancel on disconnect");
}

#[tokio::test]
async fn garbage_of_every_length_does_no_harm() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for length in [1, 15, 16, 17, 100, 1_000, 10_000, 100_000] {
        let garbage: Vec<u8> = (0..length)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[0]
            })
            .collect();
        let (mut wire, _) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
        tokio::select! {
            () = wire.request_bytes(&garbage) => {}
            () = tokio::time::sleep(QUIET) => {}
        }
        wire.connection.close(0_u32.into(), b"");
        until(|| venue.sessions.is_empty()).await;
    }
    serves(&venue, &peer).await;
}
