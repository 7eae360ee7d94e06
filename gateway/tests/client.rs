//! The client library against a real shard and a real engine, through real sockets.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use tessera_client::admin::AdminError;
use tessera_client::orders::{cancel, mass_cancel, reduce, replace};
use tessera_client::{
    Client, Config, ConnectError, Feed, FeedEvent, OrderEvent, OrderSession, SendError,
    SessionError,
};
use tessera_market_data::{Increment, IncrementKind, MirrorState};
use tessera_proto::Lots;
use tessera_proto::codes::{
    CancelOnDisconnect, EndReason, ExecType, KillAction, LogoutReason, OrdStatus, SideCode,
};
use tessera_proto::message::{ExecutionReport, NewOrderSingle};
use tessera_types::{
    AccountId, ClOrdId, Instrument, InstrumentId, Name, Phase, Price, Qty, RejectReason, Side,
};

mod support;

use support::{PATIENCE, Setup, Venue};

const TEST: InstrumentId = InstrumentId::new(0);

fn config(venue: &Venue) -> Config {
    Config::new(venue.addr, venue.credentials.path().to_owned())
}

fn client(venue: &Venue) -> Client {
    Client::new(config(venue)).unwrap()
}

fn order(side: Side, price: i64, qty: u32) -> NewOrderSingle {
    NewOrderSingle::limit(
        ClOrdId::new(0),
        AccountId::new(7),
        TEST,
        side,
        Price::from_ticks(price),
        Lots::new(qty),
    )
}

async fn event(session: &mut OrderSession) -> OrderEvent {
    tokio::time::timeout(PATIENCE, session.next_event())
        .await
        .expect("an event comes")
        .expect("the session lives")
}

async fn execution(session: &mut OrderSession) -> ExecutionReport {
    match event(session).await {
        OrderEvent::Execution { report, .. } => report,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_order_from_entry_to_logout() {
    let venue = Venue::open();
    let client = client(&venue);
    let mut session = client.orders("ALICE").await.unwrap();
    assert_eq!(session.info().last_cl_ord_id, ClOrdId::new(0));

    let id = session.send(order(Side::Buy, 100, 10)).await.unwrap();
    assert_eq!(id, ClOrdId::new(1));
    let report = execution(&mut session).await;
    assert_eq!((report.cl_ord_id, report.exec_type), (id, ExecType::New));
    assert_eq!(
        (report.leaves_qty, report.side),
        (Lots::new(10), SideCode::Buy)
    );

    session.send(reduce(id, Lots::new(3))).await.unwrap();
    let report = execution(&mut session).await;
    assert_eq!(
        (report.exec_type, report.leaves_qty),
        (ExecType::Reduced, Lots::new(7))
    );

    let new_id = session
        .send(replace(id, Some(Price::from_ticks(101)), None))
        .await
        .unwrap();
    let report = execution(&mut session).await;
    assert_eq!(report.exec_type, ExecType::Replaced);
    assert_eq!((report.cl_ord_id, report.orig_cl_ord_id), (new_id, id));
    assert_eq!(report.price, Price::from_ticks(101));

    // Under its old id the order is not there any more.
    session.send(cancel(id)).await.unwrap();
    let refused = event(&mut session).await;
    assert_eq!(refused.rejection(), Some(RejectReason::UnknownOrder));

    session.send(cancel(new_id)).await.unwrap();
    let report = execution(&mut session).await;
    assert_eq!(
        (report.exec_type, report.end_reason),
        (ExecType::Canceled, EndReason::User)
    );

    session.logout().await.unwrap();
    let again = client.orders("ALICE").await.unwrap();
    assert_eq!(
        again.info().last_cl_ord_id,
        ClOrdId::new(5),
        "the refused one counts"
    );
}

#[tokio::test]
async fn two_sessions_trade() {
    let venue = Venue::open();
    let client = client(&venue);
    let mut alice = client.orders("ALICE").await.unwrap();
    let mut bob = client.orders("BOB").await.unwrap();
    let maker = alice.send(order(Side::Sell, 210, 5)).await.unwrap();
    execution(&mut alice).await;
    let taker = bob.send(order(Side::Buy, 215, 8)).await.unwrap();
    execution(&mut bob).await;
    let sold = execution(&mut alice).await;
    let bought = execution(&mut bob).await;
    assert_eq!(
        (sold.cl_ord_id, sold.ord_status),
        (maker, OrdStatus::Filled)
    );
    assert_eq!(
        (bought.cl_ord_id, bought.ord_status),
        (taker, OrdStatus::PartiallyFilled)
    );
    assert_eq!(
        (bought.last_px, bought.leaves_qty),
        (Price::from_ticks(210), Lots::new(3))
    );
    assert_eq!(
        (sold.match_id, sold.engine_seq),
        (bought.match_id, bought.engine_seq)
    );
}

#[tokio::test]
async fn thousands_of_requests_in_few_writes_are_answered_in_order() {
    const COUNT: u64 = 20_000;
    // A ring that holds them all: a full one answers `busy`, and how soon it fills is the machine's.
    let venue = Venue::with(Setup {
        ingress: 32_768,
        ..Setup::default()
    });
    let session = client(&venue).orders("ALICE").await.unwrap();
    let (mut sender, mut events) = session.split();
    let started = Instant::now();
    let sending = tokio::spawn(async move {
        for index in 0..COUNT {
            let price = 1 + i64::try_from(index % 50).unwrap();
            sender.queue(order(Side::Buy, price, 1)).unwrap();
            if sender.queued() > 32 * 1024 {
                sender.flush().await.unwrap();
            }
        }
        sender.flush().await.unwrap();
        sender
    });
    for expected in 1..=COUNT {
        let next = tokio::time::timeout(PATIENCE, events.next_event());
        let OrderEvent::Execution { seq, report } = next.await.unwrap().unwrap() else {
            panic!("only executions");
        };
        assert_eq!((seq.get(), report.cl_ord_id.get()), (expected, expected));
    }
    let mut sender = sending.await.unwrap();
    println!("{COUNT} acknowledged in {:?}", started.elapsed());

    sender
        .send(mass_cancel(None, Some(TEST), None))
        .await
        .unwrap();
    let mut canceled = 0;
    loop {
        let next = tokio::time::timeout(PATIENCE, events.next_event());
        match next.await.unwrap().unwrap() {
            OrderEvent::Execution { .. } => canceled += 1,
            OrderEvent::MassAction { report, .. } => {
                assert_eq!(u64::from(report.affected), COUNT);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(canceled, COUNT);
    sender.logout().await.unwrap();
    assert!(matches!(
        events.next_event().await,
        Err(SessionError::LoggedOut {
            reason: LogoutReason::Normal,
            ..
        })
    ));
}

#[tokio::test]
async fn a_logout_loses_no_event_that_nobody_has_read_yet() {
    const COUNT: usize = 2_000;
    let venue = Venue::open();
    let (mut sender, mut events) = client(&venue).orders("ALICE").await.unwrap().split();
    for _ in 0..COUNT {
        sender.queue(order(Side::Buy, 100, 1)).unwrap();
    }
    sender.logout().await.unwrap();
    let mut came = 0;
    let end = loop {
        match tokio::time::timeout(PATIENCE, events.next_event())
            .await
            .unwrap()
        {
            Ok(OrderEvent::Execution { .. }) => came += 1,
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(came, COUNT);
    assert!(
        matches!(
            end,
            SessionError::LoggedOut {
                reason: LogoutReason::Normal,
                ..
            }
        ),
        "{end}"
    );
}

#[tokio::test]
async fn a_session_that_is_dropped_lets_its_name_go() {
    let venue = Venue::open();
    let client = client(&venue);
    drop(client.admin("OPS").await.unwrap());
    drop(client.orders("ALICE").await.unwrap());
    let deadline = Instant::now() + PATIENCE;
    while !venue.sessions.is_empty() {
        assert!(Instant::now() < deadline, "the server notices the close");
        tokio::task::yield_now().await;
    }
    client.orders("ALICE").await.unwrap();
}

#[tokio::test]
async fn what_is_refused_before_the_engine_says_so() {
    let venue = Venue::open();
    let mut session = client(&venue).orders("ALICE").await.unwrap();
    let mut unsupported = order(Side::Buy, 100, 1);
    unsupported.smp_id = 9;
    let id = session.send(unsupported).await.unwrap();
    let OrderEvent::Refused(reject) = event(&mut session).await else {
        panic!("refused in the gateway");
    };
    assert_eq!(
        (reject.cl_ord_id, reject.reason),
        (id, Some(RejectReason::Unsupported))
    );

    let mut low = order(Side::Buy, 100, 1);
    low.cl_ord_id = id;
    let error = session.send(low).await.unwrap_err();
    assert!(matches!(error, SendError::NotRising { last, given } if last == id && given == id));
}

#[tokio::test]
async fn a_kill_switch_cancels_and_refuses_until_it_is_released() {
    let venue = Venue::open();
    let mut session = client(&venue).orders("ALICE").await.unwrap();
    session.send(order(Side::Buy, 100, 1)).await.unwrap();
    execution(&mut session).await;
    session.sender().kill(KillAction::Engage).unwrap();
    assert_eq!(execution(&mut session).await.end_reason, EndReason::Kill);
    session.send(order(Side::Buy, 100, 1)).await.unwrap();
    let refused = event(&mut session).await;
    assert_eq!(refused.rejection(), Some(RejectReason::NotPermitted));
}

#[tokio::test]
async fn who_may_not_log_on_is_told_so() {
    let venue = Venue::open();
    let client = client(&venue);
    let _first = client.orders("ALICE").await.unwrap();
    let check = |error: ConnectError, expected: LogoutReason| match error {
        ConnectError::Refused { reason, .. } => assert_eq!(reason, expected),
        other => panic!("{other}"),
    };
    let second = client.orders("ALICE").await.unwrap_err();
    check(second, LogoutReason::DuplicateSession);

    let mut swapped = config(&venue);
    swapped.trader = "admin".to_owned();
    let error = Client::new(swapped)
        .unwrap()
        .orders("ALICE")
        .await
        .unwrap_err();
    check(error, LogoutReason::Auth);

    let too_long = client
        .orders("A NAME OF TOO MANY LETTERS")
        .await
        .unwrap_err();
    assert!(matches!(too_long, ConnectError::Logon { .. }), "{too_long}");

    let mut nowhere = config(&venue);
    nowhere.server_name = "elsewhere".to_owned();
    let error = Client::new(nowhere)
        .unwrap()
        .orders("BOB")
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Handshake { .. }), "{error}");
}

#[tokio::test]
async fn an_idle_session_stays_logged_on_and_a_draining_server_says_so() {
    let venue = Venue::open();
    let mut session = client(&venue).orders("ALICE").await.unwrap();
    // Longer than the server waits for a sign of life; nobody touches the session meanwhile.
    tokio::time::sleep(Duration::from_millis(3_000)).await;
    session.send(order(Side::Buy, 100, 1)).await.unwrap();
    execution(&mut session).await;
    let closing = tokio::task::spawn_blocking(move || venue.close());
    let end = tokio::time::timeout(PATIENCE, session.next_event())
        .await
        .unwrap();
    assert!(
        matches!(
            end,
            Err(SessionError::LoggedOut {
                reason: LogoutReason::Draining,
                ..
            })
        ),
        "{end:?}"
    );
    let error = session.send(order(Side::Buy, 100, 1)).await.unwrap_err();
    assert!(
        matches!(error, SendError::Session(SessionError::LoggedOut { .. })),
        "{error}"
    );
    closing.await.unwrap();
}

#[tokio::test]
async fn a_session_that_is_dropped_takes_its_orders_along() {
    let venue = Venue::open();
    let mut watcher = client(&venue).orders("BOB").await.unwrap();
    let mut config = config(&venue);
    config.cancel_on_disconnect = CancelOnDisconnect::Disconnect;
    let client = Client::new(config).unwrap();
    let mut alice = client.orders("ALICE").await.unwrap();
    alice.send(order(Side::Sell, 100, 1)).await.unwrap();
    execution(&mut alice).await;
    let applied = venue.applied();
    drop(alice);
    let deadline = Instant::now() + PATIENCE;
    while venue.applied() == applied {
        assert!(
            Instant::now() < deadline,
            "the fence comes when the connection is gone"
        );
        tokio::task::yield_now().await;
    }
    watcher.send(order(Side::Buy, 100, 1)).await.unwrap();
    assert_eq!(execution(&mut watcher).await.exec_type, ExecType::New);
    let (_, core) = tokio::task::spawn_blocking(move || venue.close())
        .await
        .unwrap();
    assert_eq!(
        core.exchange.live_orders(),
        1,
        "no trade: the sell order was canceled"
    );
}

#[tokio::test]
async fn an_operator_lists_and_halts() {
    let venue = Venue::open();
    let client = client(&venue);
    let mut admin = client.admin("OPS").await.unwrap();
    let instrument = Instrument::plain(Name::new("A100.whole.eu").unwrap());
    let listed = admin.list_instrument(&instrument).await.unwrap();
    assert_eq!(listed.instrument, InstrumentId::new(2));
    let error = admin.list_instrument(&instrument).await.unwrap_err();
    assert!(
        matches!(
            error,
            AdminError::Refused(RejectReason::DuplicateInstrument)
        ),
        "{error}"
    );
    let halted = admin
        .set_phase(listed.instrument, Phase::Halt, None)
        .await
        .unwrap();
    assert!(halted.seq > listed.seq);
    let unicode = Instrument::plain(Name::new("größe").unwrap());
    let error = admin.list_instrument(&unicode).await.unwrap_err();
    assert!(matches!(error, AdminError::Name(_)), "{error}");
    let definitions = admin.instruments().await.unwrap();
    let found = definitions
        .iter()
        .find(|one| one.instrument == listed.instrument)
        .unwrap();
    assert_eq!(
        (found.symbol.as_str(), found.phase),
        ("A100.whole.eu", Phase::Halt)
    );
    admin.logout().await.unwrap();
}

async fn feed_event(feed: &mut Feed) -> FeedEvent {
    tokio::time::timeout(PATIENCE, feed.next_event())
        .await
        .expect("an event comes")
        .expect("the session lives")
}

/// Reads until every mirror is live and at least at `seq`.
async fn settle(feed: &mut Feed, instruments: &[InstrumentId], seq: u64) -> Vec<Increment> {
    let mut increments = Vec::new();
    let mut reached = 0;
    loop {
        let live = instruments.iter().all(|&instrument| {
            let mirror = feed.mirror(instrument);
            mirror.is_some_and(|mirror| mirror.state() == MirrorState::Live)
        });
        if live && reached >= seq {
            return increments;
        }
        match feed_event(feed).await {
            FeedEvent::Increment(increment) => {
                reached = reached.max(increment.seq.get());
                increments.push(increment);
            }
            FeedEvent::Lost { reason, .. } => panic!("nothing was lost: {reason:?}"),
            FeedEvent::Book(_) | FeedEvent::Listed(_) => {}
        }
    }
}

#[tokio::test]
async fn mirrors_are_the_exchanges_books() {
    let venue = Venue::open();
    let client = client(&venue);
    let mut session = client.orders("ALICE").await.unwrap();
    let place = |step: u64| {
        let side = [Side::Buy, Side::Sell][usize::from(step.is_multiple_of(3))];
        let price = 95 + i64::try_from(step * 7 % 11).unwrap();
        let mut order = order(side, price, 1 + u32::try_from(step % 5).unwrap());
        order.instrument = InstrumentId::new(u32::try_from(step % 2).unwrap());
        order
    };
    for step in 0..200 {
        session.sender().queue(place(step)).unwrap();
    }
    session.sender().flush().await.unwrap();
    execution(&mut session).await;

    // In the middle of things: snapshots and increments have to fit.
    let mut feed = client.market_data().await.unwrap();
    feed.subscribe_all().await.unwrap();
    for step in 200..600 {
        session.send(place(step)).await.unwrap();
    }
    let mut admin = client.admin("OPS").await.unwrap();
    let third = Instrument::plain(Name::new("L40S").unwrap());
    let third = admin.list_instrument(&third).await.unwrap().instrument;
    let mut last = order(Side::Sell, 42, 9);
    last.instrument = third;
    let id = session.send(last).await.unwrap();
    let seq = loop {
        let report = execution(&mut session).await;
        if report.cl_ord_id == id {
            break report.engine_seq.get();
        }
    };
    let instruments = [TEST, InstrumentId::new(1), third];
    let increments = settle(&mut feed, &instruments, seq).await;
    assert_eq!(feed.definition(third).unwrap().symbol.as_str(), "L40S");
    let trades = increments
        .iter()
        .filter(|one| matches!(one.kind, IncrementKind::Trade { .. }));
    assert!(trades.count() > 0);
    for pair in increments.windows(2) {
        assert_eq!(
            pair[0].channel_seq + 1,
            pair[1].channel_seq,
            "no number is missing"
        );
    }

    let (_, core) = tokio::task::spawn_blocking(move || venue.close())
        .await
        .unwrap();
    for instrument in instruments {
        let mirror = feed.mirror(instrument).unwrap();
        for side in [Side::Buy, Side::Sell] {
            let book: Vec<(Price, Qty, u32)> = mirror
                .book()
                .unwrap()
                .levels(side)
                .map(|level| (level.price, level.qty, level.orders))
                .collect();
            let expected: Vec<(Price, Qty, u32)> = core
                .exchange
                .depth(instrument, side)
                .map(|level| (level.price, level.qty, level.orders))
                .collect();
            assert_eq!(book, expected, "{instrument} {side}");
        }
    }
}

#[tokio::test]
async fn a_subscription_to_one_instrument_tells_of_that_one() {
    let venue = Venue::open();
    let client = client(&venue);
    let mut feed = client.market_data().await.unwrap();
    feed.subscribe(InstrumentId::new(1)).unwrap();
    while feed.mirror(InstrumentId::new(1)).unwrap().state() != MirrorState::Live {
        feed_event(&mut feed).await;
    }
    let mut session = client.orders("ALICE").await.unwrap();
    session.send(order(Side::Buy, 100, 1)).await.unwrap();
    let mut other = order(Side::Buy, 100, 1);
    other.instrument = InstrumentId::new(1);
    session.send(other).await.unwrap();
    loop {
        if let FeedEvent::Increment(increment) = feed_event(&mut feed).await
            && increment.kind != IncrementKind::EndOfEvent
        {
            assert_eq!(increment.instrument, InstrumentId::new(1));
            break;
        }
    }
    assert!(feed.mirror(TEST).is_none());

    feed.subscribe(InstrumentId::new(99)).unwrap();
    let refused = loop {
        match tokio::time::timeout(PATIENCE, feed.next_event())
            .await
            .unwrap()
        {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, SessionError::MarketData { .. }),
        "{refused}"
    );
    feed.logout().await.unwrap();
}
