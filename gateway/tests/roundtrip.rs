//! A client, a shard and a real engine: what is asked, what comes back, and when.

mod support;

use support::{Peer, QUIET, Setup, Venue, limit_order, patient, until};
use tessera_gateway::ShardEnd;
use tessera_proto::codes::{
    CancelOnDisconnect, CloseCode, EndReason, ExecType, KillAction, KillScope, LogoutReason,
    MassActionScope, MassActionType, MdMode, MdRejectReason, MdRequestKind, MdScope, OrdStatus,
    SideCode, StreamKind,
};
use tessera_proto::field::Reserved;
use tessera_proto::message::{
    AdminInstrument, AdminPhase, Cancel, CancelReplace, Changes, ExecInstBits, ExecutionReport,
    KillSwitch, Logout, MassAction, MdRequest, Message, SecurityListRequest, TestRequest,
};
use tessera_proto::{Lots, Protocol, Text};
use tessera_types::{
    AccountId, ClOrdId, ConnToken, Instrument, InstrumentId, Name, OrderId, Phase, Price,
    RejectReason, ServerSeq, Side, Timestamp,
};

fn report(message: Message) -> ExecutionReport {
    match message {
        Message::ExecutionReport(report) => report,
        other => panic!("expected an execution report, got {other:?}"),
    }
}

fn cancel(id: u64, of: u64) -> Cancel {
    Cancel {
        cl_ord_id: ClOrdId::new(id),
        account: AccountId::new(7),
        orig_cl_ord_id: ClOrdId::new(of),
        order_id: OrderId::new(0),
    }
}

#[tokio::test]
async fn nothing_leaves_before_it_is_durable() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let (mut wire, ack) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    assert_eq!(
        (ack.last_cl_ord_id.get(), ack.next_server_seq.get()),
        (0, 1)
    );

    let before = venue.applied();
    venue.hold_durable_at(before);
    wire.request(&limit_order(1, Side::Buy, 100, 5)).await;
    wire.request(&limit_order(2, Side::Sell, 100, 2)).await;
    until(|| venue.applied() == before + 2).await;
    assert!(
        wire.is_quiet().await,
        "an acknowledgement left before its command was durable"
    );

    venue.hold_durable_at(before + 1);
    let (seq, first) = wire.event().await;
    assert_eq!(seq, 1);
    let first = report(first);
    assert_eq!(
        (first.exec_type, first.engine_seq.get()),
        (ExecType::New, before + 1)
    );
    assert!(wire.is_quiet().await, "the second command is not durable");

    venue.release_durable();
    let mut told = Vec::new();
    for expected in 2..=4 {
        let (seq, message) = wire.event().await;
        assert_eq!(seq, expected);
        let report = report(message);
        told.push((
            report.cl_ord_id.get(),
            report.exec_type,
            report.leaves_qty.get(),
        ));
    }
    assert_eq!(
        told,
        [
            (2, ExecType::New, 2),
            (1, ExecType::Trade, 3),
            (2, ExecType::Trade, 0)
        ]
    );
    assert!(!venue.stats.snapshot().ack_latency_ns.is_empty());
}

#[tokio::test]
async fn an_orders_life_is_told_as_it_happens() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let (mut wire, _) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;

    wire.request(&limit_order(10, Side::Buy, 100, 5)).await;
    let accepted = report(wire.event().await.1);
    assert_eq!(accepted.side, SideCode::Buy);
    assert_eq!(
        (accepted.price.ticks(), accepted.leaves_qty.get()),
        (100, 5)
    );

    wire.request(&CancelReplace {
        cl_ord_id: ClOrdId::new(11),
        account: AccountId::new(7),
        orig_cl_ord_id: ClOrdId::new(10),
        order_id: OrderId::new(0),
        price: Price::from_ticks(101),
        order_qty: Lots::new(4),
        min_qty: Lots::ZERO,
        stop_px: Price::ZERO,
        expire_time: Timestamp::ZERO,
        exec_inst: ExecInstBits::NONE,
        changes: Changes::PRICE.with(Changes::QTY),
        on_failure: Reserved,
        in_flight: Reserved,
    })
    .await;
    let replaced = report(wire.event().await.1);
    assert_eq!(
        (replaced.cl_ord_id.get(), replaced.orig_cl_ord_id.get()),
        (11, 10)
    );
    assert_eq!(
        (replaced.exec_type, replaced.price.ticks()),
        (ExecType::Replaced, 101)
    );

    wire.request(&cancel(12, 999)).await;
    let Message::CancelReject(reject) = wire.event().await.1 else {
        panic!("a cancel of an unknown order is rejected by the engine");
    };
    assert_eq!(
        (reject.cl_ord_id.get(), reject.reason),
        (12, Some(RejectReason::UnknownOrder))
    );

    wire.request(&cancel(13, 11)).await;
    let canceled = report(wire.event().await.1);
    assert_eq!(
        (canceled.cl_ord_id.get(), canceled.orig_cl_ord_id.get()),
        (13, 11)
    );
    assert_eq!(
        (canceled.ord_status, canceled.end_reason),
        (OrdStatus::Canceled, EndReason::User)
    );

    wire.request(&limit_order(13, Side::Buy, 100, 5)).await;
    let (seq, duplicate) = wire.event().await;
    let duplicate = report(duplicate);
    assert_eq!((seq, duplicate.ord_status), (5, OrdStatus::Rejected));
    assert_eq!(duplicate.reason, Some(RejectReason::DuplicateId));

    for id in 20..23 {
        wire.request(&limit_order(id, Side::Buy, 90, 1)).await;
        wire.event().await;
    }
    wire.request(&MassAction {
        cl_ord_id: ClOrdId::new(30),
        account: AccountId::new(0),
        action: MassActionType::Cancel,
        scope: MassActionScope::All,
        instrument: InstrumentId::new(0),
        product: 0,
        side: SideCode::Any,
        mmp_group: 0,
    })
    .await;
    for id in 20..23 {
        let canceled = report(wire.event().await.1);
        assert_eq!(
            (canceled.exec_type, canceled.orig_cl_ord_id.get()),
            (ExecType::Canceled, id)
        );
    }
    let Message::MassActionReport(done) = wire.event().await.1 else {
        panic!("a mass action ends with its report");
    };
    assert_eq!(
        (done.cl_ord_id.get(), done.affected, done.reason),
        (30, 3, None)
    );
}

#[tokio::test]
async fn both_sides_of_a_trade_are_told_on_their_own_connections() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let (mut alice, _) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    let (mut bob, _) = peer.log_on(&venue, Protocol::OrderEntry, "BOB").await;
    alice.request(&limit_order(1, Side::Sell, 50, 5)).await;
    alice.event().await;
    bob.request(&limit_order(1, Side::Buy, 60, 3)).await;
    let (seq, fill) = alice.event().await;
    let fill = report(fill);
    assert_eq!(
        (seq, fill.side, fill.last_qty.get()),
        (2, SideCode::Sell, 3)
    );
    assert_eq!((fill.last_px.ticks(), fill.leaves_qty.get()), (50, 2));
    let (seq, _) = bob.event().await;
    assert_eq!(seq, 1);
    let (seq, taken) = bob.event().await;
    let taken = report(taken);
    assert_eq!(
        (seq, taken.ord_status, taken.match_id),
        (2, OrdStatus::Filled, fill.match_id)
    );
}

#[tokio::test]
async fn a_second_connection_of_a_session_is_refused_and_a_later_one_resumes() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let (mut first, _) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    first.request(&limit_order(5, Side::Buy, 100, 1)).await;
    first.event().await;

    let mut second = peer.raw(&venue, Protocol::OrderEntry).await;
    let mut logon = peer.logon("ALICE");
    peer.sign(&second, &mut logon);
    second.send(&logon).await;
    let Message::Logout(logout) = second.control().await else {
        panic!("the second connection is logged out");
    };
    assert_eq!(logout.reason, LogoutReason::DuplicateSession);

    first.send(&goodbye(1)).await;
    // Cancel on disconnect says "both": the logout cancels, and the client is told before the end.
    let canceled = report(first.event().await.1);
    assert_eq!(canceled.exec_type, ExecType::Canceled);
    let Message::Logout(answer) = first.control().await else {
        panic!("a Logout is answered");
    };
    assert_eq!(answer.reason, LogoutReason::Normal);
    assert_eq!(first.closed().await, CloseCode::Done);
    until(|| venue.sessions.is_empty()).await;

    let (_, ack) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    assert_eq!(
        (ack.last_cl_ord_id.get(), ack.next_server_seq.get()),
        (5, 3)
    );
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
async fn requests_before_a_logout_are_served_before_it_is_answered() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let no_cancel = |logon: &mut tessera_proto::message::Logon| {
        logon.cancel_on_disconnect = CancelOnDisconnect::None;
    };
    let (mut wire, _) = peer
        .log_on_with(&venue, Protocol::OrderEntry, "ALICE", no_cancel)
        .await;
    venue.freeze(true);
    for id in 1..=20 {
        wire.request(&limit_order(id, Side::Buy, 100, 1)).await;
    }
    wire.send(&goodbye(20)).await;
    venue.freeze(false);
    for id in 1..=20 {
        let accepted = report(wire.event().await.1);
        assert_eq!(
            (accepted.cl_ord_id.get(), accepted.exec_type),
            (id, ExecType::New)
        );
    }
    assert!(matches!(wire.control().await, Message::Logout(_)));
    let (end, core) = venue.close();
    assert_eq!((end, core.exchange.live_orders()), (ShardEnd::Drained, 20));
}

#[tokio::test]
async fn a_lost_connection_cancels_after_its_grace_unless_the_session_comes_back() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let grace = |ms: u16| move |logon: &mut tessera_proto::message::Logon| logon.cancel_grace = ms;
    let (mut wire, _) = peer
        .log_on_with(&venue, Protocol::OrderEntry, "ALICE", grace(5_000))
        .await;
    wire.request(&limit_order(1, Side::Buy, 100, 1)).await;
    wire.event().await;
    let before = venue.applied();
    wire.connection.close(0_u32.into(), b"");
    // Back within the grace: one logon, no fence, and the order is still there.
    let (mut wire, ack) = loop {
        let mut wire = peer.raw(&venue, Protocol::OrderEntry).await;
        let mut logon = peer.logon("ALICE");
        peer.sign(&wire, &mut logon);
        wire.send(&logon).await;
        if let Message::LogonAck(ack) = wire.control().await {
            break (wire, ack);
        }
    };
    assert_eq!(ack.last_cl_ord_id.get(), 1);
    assert_eq!(venue.applied(), before + 1);
    wire.request(&cancel(2, 1)).await;
    assert_eq!(report(wire.event().await.1).exec_type, ExecType::Canceled);

    // Gone for good, without a grace: the order is canceled and the name is free.
    drop(wire);
    until(|| venue.sessions.is_empty()).await;
    let (mut wire, _) = peer
        .log_on_with(&venue, Protocol::OrderEntry, "ALICE", grace(0))
        .await;
    wire.request(&limit_order(3, Side::Buy, 100, 1)).await;
    wire.event().await;
    wire.connection.close(0_u32.into(), b"");
    until(|| venue.sessions.is_empty()).await;
    let (_, core) = venue.close();
    assert_eq!(core.exchange.live_orders(), 0);
}

#[tokio::test]
async fn the_kill_switch_overtakes_and_the_session_goes_on() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let (mut wire, _) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    wire.request(&limit_order(1, Side::Buy, 100, 1)).await;
    wire.event().await;
    venue.freeze(true);
    wire.request(&limit_order(2, Side::Buy, 100, 1)).await;
    // The order is in the ring before the kill is even sent.
    until(|| venue.stats.snapshot().commands_in == 3).await;
    wire.send(&kill(KillAction::Engage)).await;
    until(|| venue.stats.snapshot().commands_in == 4).await;
    venue.freeze(false);
    let killed = report(wire.event().await.1);
    assert_eq!(
        (killed.cl_ord_id.get(), killed.end_reason),
        (1, EndReason::Kill)
    );
    let late = report(wire.event().await.1);
    assert_eq!(
        (late.cl_ord_id.get(), late.reason),
        (2, Some(RejectReason::StaleSession))
    );

    wire.request(&limit_order(3, Side::Buy, 100, 1)).await;
    let Message::BusinessReject(reject) = wire.control().await else {
        panic!("a killed session may not add orders");
    };
    assert_eq!(reject.reason, Some(RejectReason::NotPermitted));
    wire.send(&kill(KillAction::Release)).await;
    // The control stream is read in order: when this is answered, the release has been read.
    wire.send(&TestRequest {
        test_req_id: 1,
        next_server_seq: ServerSeq::new(0),
    })
    .await;
    while !matches!(wire.control_or_end().await, Some(Message::Heartbeat(beat)) if beat.test_req_id == 1)
    {
    }
    wire.request(&limit_order(3, Side::Buy, 100, 1)).await;
    assert_eq!(report(wire.event().await.1).exec_type, ExecType::New);
}

fn kill(action: KillAction) -> KillSwitch {
    KillSwitch {
        action,
        scope: KillScope::Session,
    }
}

#[tokio::test]
async fn under_pressure_orders_are_refused_and_cancels_are_served() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let (mut wire, _) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    wire.request(&limit_order(1, Side::Buy, 100, 1)).await;
    wire.event().await;
    venue
        .pressure
        .store(u64::MAX, std::sync::atomic::Ordering::SeqCst);
    wire.request(&limit_order(2, Side::Buy, 100, 1)).await;
    let Message::BusinessReject(reject) = wire.control().await else {
        panic!("an order is refused under pressure");
    };
    assert_eq!(
        (reject.cl_ord_id.get(), reject.reason),
        (2, Some(RejectReason::Busy))
    );
    wire.request(&cancel(2, 1)).await;
    let canceled = report(wire.event().await.1);
    assert_eq!(
        (canceled.cl_ord_id.get(), canceled.exec_type),
        (2, ExecType::Canceled)
    );
}

#[tokio::test]
async fn a_full_ring_refuses_orders_and_holds_cancels() {
    let venue = Venue::with(Setup {
        ingress: 8,
        ..Setup::default()
    });
    let peer = Peer::new(&venue, "trader");
    let (mut wire, _) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    wire.request(&limit_order(1, Side::Buy, 100, 1)).await;
    wire.event().await;
    venue.freeze(true);
    for id in 2..=10 {
        wire.request(&limit_order(id, Side::Buy, 100, 1)).await;
    }
    let Message::BusinessReject(reject) = wire.control().await else {
        panic!("the ninth order finds no room");
    };
    assert_eq!(
        (reject.cl_ord_id.get(), reject.reason),
        (10, Some(RejectReason::Busy))
    );
    wire.request(&cancel(11, 1)).await;
    wire.request(&cancel(12, 2)).await;
    tokio::time::sleep(QUIET).await;
    venue.freeze(false);
    for id in 2..=9 {
        assert_eq!(report(wire.event().await.1).cl_ord_id.get(), id);
    }
    for (id, of) in [(11, 1), (12, 2)] {
        let canceled = report(wire.event().await.1);
        assert_eq!(
            (canceled.cl_ord_id.get(), canceled.orig_cl_ord_id.get()),
            (id, of)
        );
    }
}

#[tokio::test]
async fn a_drain_logs_out_fences_and_ends() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let (mut wire, _) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    wire.request(&limit_order(1, Side::Buy, 100, 1)).await;
    wire.event().await;
    let closing = tokio::task::spawn_blocking(move || venue.close());
    let Message::Logout(logout) = wire.control().await else {
        panic!("a drain logs out");
    };
    assert_eq!(logout.reason, LogoutReason::Draining);
    let canceled = report(wire.event().await.1);
    assert_eq!(
        canceled.end_reason,
        EndReason::System,
        "the client is told what became of it"
    );
    assert!(
        wire.control_or_end().await.is_none(),
        "one Logout is enough"
    );
    assert_eq!(wire.closed().await, CloseCode::Done);
    let (end, core) = patient(closing).await.unwrap();
    assert_eq!((end, core.exchange.live_orders()), (ShardEnd::Drained, 0));
}

#[tokio::test]
async fn an_evicted_shard_logs_everybody_out_and_ends() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let (mut wire, _) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    venue.evict();
    let Message::Logout(logout) = wire.control().await else {
        panic!("an eviction logs out");
    };
    assert_eq!(logout.reason, LogoutReason::Internal);
    let sessions = std::sync::Arc::clone(&venue.sessions);
    let (end, _) = patient(tokio::task::spawn_blocking(move || venue.join()))
        .await
        .unwrap();
    assert_eq!(end, ShardEnd::Evicted);
    assert!(sessions.is_empty());
}

#[tokio::test]
async fn a_reader_of_nothing_is_logged_out_and_others_are_not_disturbed() {
    let venue = Venue::with(Setup {
        tune: |config| config.session_lag.messages = 2_000,
        ..Setup::default()
    });
    let peer = Peer::new(&venue, "trader");
    let (mut slow, _) = peer.log_on(&venue, Protocol::OrderEntry, "SLOW").await;
    let (mut fast, _) = peer.log_on(&venue, Protocol::OrderEntry, "FAST").await;
    // SLOW's events fill its stream's window and then the queue; FAST reads.
    let mut id = 0;
    while venue.stats.snapshot().slow_consumers == 0 {
        for _ in 0..500 {
            id += 1;
            slow.request(&limit_order(id, Side::Buy, 100, 1)).await;
        }
        fast.request(&limit_order(id, Side::Sell, 200, 1)).await;
        fast.event().await;
        assert!(id < 100_000, "the slow reader is noticed");
    }
    let Message::Logout(logout) = slow.control().await else {
        panic!("the slow reader is logged out");
    };
    assert_eq!(logout.reason, LogoutReason::SlowConsumer);
    fast.request(&limit_order(id + 1, Side::Sell, 200, 1)).await;
    fast.event().await;
}

#[tokio::test]
async fn a_logon_that_the_core_never_answers_is_given_up() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    venue.freeze(true);
    let mut wire = peer.raw(&venue, Protocol::OrderEntry).await;
    let mut logon = peer.logon("ALICE");
    peer.sign(&wire, &mut logon);
    wire.send(&logon).await;
    until(|| !venue.sessions.is_empty()).await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert!(!venue.sessions.is_empty(), "a slow disk is no reason");
    let Message::Logout(logout) = wire.control().await else {
        panic!("the logon is given up");
    };
    assert_eq!(logout.reason, LogoutReason::Internal);
    assert!(venue.sessions.is_empty());
    // The answer that comes late is nobody's; the next logon is served.
    venue.freeze(false);
    peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
}

#[tokio::test]
async fn a_shard_that_dies_leaves_no_session_and_no_order_behind() {
    let mut venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let keep = |logon: &mut tessera_proto::message::Logon| {
        logon.cancel_on_disconnect = CancelOnDisconnect::None;
    };
    let (mut alice, _) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    let (mut bob, _) = peer
        .log_on_with(&venue, Protocol::OrderEntry, "BOB", keep)
        .await;
    for wire in [&mut alice, &mut bob] {
        wire.request(&limit_order(1, Side::Buy, 100, 1)).await;
        wire.event().await;
    }
    venue.make_the_shard_panic();
    alice.request(&limit_order(2, Side::Buy, 100, 1)).await;
    let mut venue = patient(tokio::task::spawn_blocking(move || {
        venue.replace_the_shard();
        venue
    }))
    .await
    .unwrap();
    assert_eq!(bob.closed().await, CloseCode::Internal);
    until(|| venue.sessions.is_empty()).await;

    // Both may log on again. What ALICE sent before the panic was sequenced before her fence.
    let (_, ack) = peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    assert_eq!(ack.last_cl_ord_id.get(), 2);
    let (_, ack) = peer.log_on(&venue, Protocol::OrderEntry, "BOB").await;
    assert_eq!(ack.last_cl_ord_id.get(), 1);
    let core = venue.stop_core();
    let orders: Vec<_> = core
        .exchange
        .orders()
        .map(|one| one.cl_ord_id.get())
        .collect();
    assert_eq!(orders, [1], "BOB's, whose mode is none");
}

#[test]
fn development_credentials_stay_on_loopback() {
    let error = Venue::refused(|config| config.listen = ([0, 0, 0, 0], 0).into());
    assert!(
        error.contains("the credentials are development ones"),
        "{error}"
    );
    assert!(!error.contains('\n'), "{error}");
}

#[tokio::test]
async fn securities_are_listed_on_every_protocol() {
    let venue = Venue::open();
    for (who, protocol) in [
        ("trader", Protocol::OrderEntry),
        ("trader", Protocol::MarketData),
        ("admin", Protocol::Admin),
    ] {
        let peer = Peer::new(&venue, who);
        let (mut wire, _) = peer.log_on(&venue, protocol, who).await;
        wire.send(&SecurityListRequest { request_id: 9 }).await;
        let mut answer = loop {
            let (start, frames) = wire.accept().await;
            if start.kind == StreamKind::Answer {
                assert_eq!(start.request_id, 9);
                break frames;
            }
        };
        let mut names = Vec::new();
        loop {
            match patient(answer.next()).await {
                Some((_, Message::SecurityDefinition(one))) => names.push(one.symbol.to_string()),
                Some((_, Message::SecurityListEnd(end))) => {
                    assert_eq!((end.request_id, end.count), (9, 2));
                    break;
                }
                other => panic!("unexpected in a list: {other:?}"),
            }
        }
        assert!(
            patient(answer.next()).await.is_none(),
            "the list ends its stream"
        );
        assert_eq!(names, ["TEST", "H100"]);
    }
}

#[tokio::test]
async fn an_operator_lists_an_instrument_and_changes_its_phase() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "admin");
    let (mut wire, _) = peer.log_on(&venue, Protocol::Admin, "OPS").await;
    let instrument = Instrument::plain(Name::new("B200").unwrap());
    let listing = |id| AdminInstrument::new(ClOrdId::new(id), &instrument).unwrap();
    let before = venue.applied();
    venue.hold_durable_at(before);
    wire.send(&listing(1)).await;
    until(|| venue.applied() == before + 1).await;
    assert_eq!(
        venue
            .directory
            .visible(tessera_types::Seq::new(before))
            .len(),
        2
    );
    venue.release_durable();
    let Message::AdminReply(reply) = wire.control().await else {
        panic!("a listing is answered");
    };
    assert_eq!((reply.cl_ord_id.get(), reply.reason), (1, None));
    assert_eq!(
        (reply.instrument.get(), reply.engine_seq.get()),
        (2, before + 1)
    );

    wire.send(&listing(2)).await;
    let Message::AdminReply(reply) = wire.control().await else {
        panic!("a refused listing is answered");
    };
    assert_eq!(reply.reason, Some(RejectReason::DuplicateInstrument));

    wire.send(&AdminPhase {
        cl_ord_id: ClOrdId::new(3),
        instrument: InstrumentId::new(2),
        phase: Phase::Halt,
        has_ref_price: false,
        ref_price: Price::ZERO,
    })
    .await;
    let Message::AdminReply(reply) = wire.control().await else {
        panic!("a phase change is answered");
    };
    assert_eq!((reply.cl_ord_id.get(), reply.reason), (3, None));
    let listed = venue.directory.get(InstrumentId::new(2), reply.engine_seq);
    assert_eq!(listed.unwrap().phase, Phase::Halt);
}

#[tokio::test]
async fn a_subscriber_gets_snapshots_then_increments_that_continue_them() {
    let venue = Venue::open();
    let trader = Peer::new(&venue, "trader");
    let (mut orders, _) = trader.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    orders.request(&limit_order(1, Side::Buy, 100, 5)).await;
    orders.event().await;

    let (mut wire, _) = trader.log_on(&venue, Protocol::MarketData, "READER").await;
    wire.send(&subscribe(77, MdScope::All)).await;
    let mut channel = None;
    let mut books = Vec::new();
    while books.len() < 2 || channel.is_none() {
        let (start, mut frames) = wire.accept().await;
        assert_eq!(start.request_id, 77);
        match start.kind {
            StreamKind::Channel => channel = Some((start, frames)),
            StreamKind::Snapshot => {
                let Some((header, Message::Snapshot(book))) = patient(frames.next()).await else {
                    panic!("a snapshot stream holds a snapshot");
                };
                assert!(header.flags.contains(tessera_proto::Flags::LAST_IN_BATCH));
                assert!(patient(frames.next()).await.is_none());
                books.push(book);
            }
            other => panic!("unexpected stream {other:?}"),
        }
    }
    let (start, mut channel) = channel.unwrap();
    books.sort_by_key(|book| book.instrument);
    let levels: Vec<_> = books[0]
        .entries
        .iter()
        .map(|level| {
            (
                level.side,
                level.price.ticks(),
                level.qty.lots(),
                level.orders,
            )
        })
        .collect();
    assert_eq!(levels, [(Side::Buy, 100, 5, 1)]);
    assert!(books[1].entries.is_empty());
    assert!(start.next_seq <= books[0].last_seq + 1);

    orders.request(&limit_order(2, Side::Sell, 100, 2)).await;
    let mut next_seq = start.next_seq;
    let mut seen = Vec::new();
    loop {
        let (header, message) = patient(channel.next()).await.unwrap();
        assert_eq!(header.seq, next_seq, "the channel's numbers have no holes");
        next_seq += 1;
        match message {
            Message::Trade(trade) => seen.push(format!("trade {}@{}", trade.qty, trade.price)),
            Message::L2Update(level) => {
                seen.push(format!("{} {}@{}", level.side, level.qty, level.price));
            }
            Message::EndOfEvent(_) => break,
            _ => {}
        }
    }
    assert_eq!(seen, ["trade 2@100", "buy 3@100"]);
}

fn subscribe(request_id: u64, scope: MdScope) -> MdRequest {
    MdRequest {
        request_id,
        kind: MdRequestKind::Subscribe,
        scope,
        instrument: InstrumentId::new(0),
        channel: 0,
        depth: 0,
        mode: MdMode::Stream,
    }
}

#[tokio::test]
async fn each_increment_is_encoded_once_for_all_subscribers() {
    let venue = Venue::open();
    let trader = Peer::new(&venue, "trader");
    let mut readers = Vec::new();
    for index in 0..5 {
        let name = format!("READER{index}");
        let (mut wire, _) = trader.log_on(&venue, Protocol::MarketData, &name).await;
        wire.send(&subscribe(1, MdScope::Instrument)).await;
        let mut channel = None;
        let mut snapshot = false;
        while channel.is_none() || !snapshot {
            let (start, frames) = wire.accept().await;
            match start.kind {
                StreamKind::Channel => channel = Some(frames),
                _ => snapshot = true,
            }
        }
        readers.push((wire, channel.unwrap()));
    }
    let (mut orders, _) = trader.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    let before = venue.stats.snapshot().feed_encoded;
    orders.request(&limit_order(1, Side::Buy, 100, 5)).await;
    orders.event().await;
    let mut frames = 0;
    for (_, channel) in &mut readers {
        loop {
            frames += 1;
            if let Message::EndOfEvent(_) = patient(channel.next()).await.unwrap().1 {
                break;
            }
        }
    }
    let per_reader = frames / readers.len() as u64;
    until(|| venue.stats.snapshot().feed_encoded - before == per_reader).await;
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_loses_its_channel_and_comes_back_with_a_snapshot() {
    let venue = Venue::with(Setup {
        tune: |config| config.feed_lag.messages = 500,
        ..Setup::default()
    });
    let trader = Peer::new(&venue, "trader");
    let (mut slow, _) = trader.log_on(&venue, Protocol::MarketData, "SLOW").await;
    slow.send(&subscribe(1, MdScope::Instrument)).await;
    let (mut orders, _) = trader.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
    let mut id = 0;
    while venue.stats.snapshot().slow_consumers == 0 {
        for _ in 0..200 {
            id += 1;
            let price = 100 + i64::try_from(id % 50).unwrap_or(0);
            orders.request(&limit_order(id, Side::Buy, price, 1)).await;
            orders.event().await;
        }
        assert!(id < 100_000, "the slow reader is noticed");
    }
    let Message::MdReject(note) = slow.control().await else {
        panic!("the subscriber is told");
    };
    assert_eq!((note.request_id, note.reason), (1, MdRejectReason::Lagged));
    assert_eq!(venue.stats.snapshot().subscribers, 0);
    // It asks again, and is served from a snapshot.
    slow.send(&subscribe(2, MdScope::Instrument)).await;
    loop {
        let (start, mut frames) = slow.accept_with(|start| start.request_id == 2).await;
        if start.kind == StreamKind::Snapshot {
            let Some((_, Message::Snapshot(book))) = patient(frames.next()).await else {
                panic!("a snapshot stream holds a snapshot");
            };
            let orders: u32 = book.entries.iter().map(|level| level.orders).sum();
            assert_eq!(u64::from(orders), id);
            break;
        }
    }
}

#[tokio::test]
async fn a_session_has_one_connection_across_all_shards() {
    let venue = Venue::open();
    let peer = Peer::new(&venue, "trader");
    let name = Name::new("ALICE").unwrap();
    let elsewhere = ConnToken::new(9 << 48 | 1);
    assert!(venue.sessions.claim(name, elsewhere));
    let mut wire = peer.raw(&venue, Protocol::OrderEntry).await;
    let mut logon = peer.logon("ALICE");
    peer.sign(&wire, &mut logon);
    wire.send(&logon).await;
    let Message::Logout(logout) = wire.control().await else {
        panic!("another shard has the session");
    };
    assert_eq!(logout.reason, LogoutReason::DuplicateSession);
    venue.sessions.release(name, elsewhere);
    peer.log_on(&venue, Protocol::OrderEntry, "ALICE").await;
}
