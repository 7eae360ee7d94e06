//! What either side of a connection does about each frame, each timer and each decision of its shell.
//!
//! [`state`] is the server's state machine, [`server`] the session around it, [`client`] the other
//! side. None of them does anything: each input gives one output, which the shell acts on.

pub mod client;
pub mod server;
pub mod state;

pub use client::{ClientError, ClientOutput, ClientSession, ClientStream};
pub use server::{Control, Options, Output, Reply, Request, Session, Started};
pub use state::{Input, State, Unexpected};

/// Both sides against each other, over byte pipes that deliver in pieces and in any order between
/// streams, on a clock that the test turns.
#[cfg(test)]
mod duel {
    use tessera_types::{
        AccountId, ClOrdId, InstrumentId, OrderId, Price, Seq, ServerSeq, Side, Timestamp,
    };

    use super::*;
    use crate::codes::{
        CancelOnDisconnect, CloseCode, EndReason, ExecType, Liquidity, LogoutReason, OrdStatus,
        SideCode, StreamKind,
    };
    use crate::field::{Lots, Text};
    use crate::header::{Flags, MAX_CLIENT_BODY, MAX_SERVER_BODY};
    use crate::message::{Body, ExecutionReport, Logon, Message, NewOrderSingle, StreamStart};
    use crate::protocol::{Protocol, Stream};
    use crate::testing::Random;
    use crate::time::Monotime;
    use crate::{Framer, throttle::Rates};

    const UTC: Timestamp = Timestamp::from_nanos(1_800_000_000_000_000_000);

    /// Bytes on their way in one direction of one stream.
    struct Pipe {
        bytes: Vec<u8>,
        framer: Framer,
    }

    impl Pipe {
        const fn new(max_body: usize) -> Self {
            Self {
                bytes: Vec::new(),
                framer: Framer::new(max_body),
            }
        }

        fn put(&mut self, body: &impl Body, seq: u64) {
            body.encode_frame(seq, Flags::NONE, &mut self.bytes);
        }

        fn some(&mut self, random: &mut Random) -> Vec<u8> {
            let most = self.bytes.len().min(200);
            self.bytes.drain(..random.below(most + 1)).collect()
        }
    }

    struct World {
        random: Random,
        now: u64,
        server: Session,
        client: ClientSession,
        /// S0 and S1 towards the server, S0 and S2 towards the client.
        up: [Pipe; 2],
        down: [Pipe; 2],
        events_open: bool,
        next_server_seq: u64,
        cut: bool,
        answered: Vec<u64>,
        logged_on: bool,
        server_end: Option<CloseCode>,
        client_end: Option<Result<LogoutReason, ClientError>>,
    }

    impl World {
        fn new(seed: u64) -> Self {
            let logon = Logon {
                sender: Text::new("ALICE").unwrap(),
                target: Text::new("TESSERA").unwrap(),
                heart_bt_int: 10,
                epoch: 0,
                next_server_seq: ServerSeq::new(0),
                schema_minor: 0,
                cancel_on_disconnect: CancelOnDisconnect::None,
                cancel_grace: 0,
                username: Text::new("trader").unwrap(),
                sending_time: UTC,
                signature: [0; 64],
                take_over: false,
            };
            let options = Options {
                rates: Rates::UNLIMITED,
                ..Options::default()
            };
            let now = Monotime::from_nanos(0);
            let mut up = [Pipe::new(MAX_CLIENT_BODY), Pipe::new(MAX_CLIENT_BODY)];
            up[0].put(&logon, 0);
            Self {
                random: Random::new(seed),
                now: 0,
                server: Session::new(Protocol::OrderEntry, options, now),
                client: ClientSession::new(&logon, now),
                up,
                down: [Pipe::new(MAX_SERVER_BODY), Pipe::new(MAX_SERVER_BODY)],
                events_open: false,
                next_server_seq: 9,
                cut: false,
                answered: Vec::new(),
                logged_on: false,
                server_end: None,
                client_end: None,
            }
        }

        fn at(&self) -> Monotime {
            Monotime::from_nanos(self.now * 1_000_000)
        }

        /// Lets `ms` milliseconds pass, with deliveries in each.
        fn run(&mut self, ms: u64) {
            for _ in 0..ms {
                self.now += 1;
                for _ in 0..4 {
                    if self.cut {
                        break;
                    }
                    match self.random.below(4) {
                        0 => self.serve(Stream::Control),
                        1 if self.server.reads_requests() => self.serve(Stream::Requests),
                        2 => self.receive(0),
                        _ => self.receive(1),
                    }
                }
                self.timers();
            }
        }

        fn serve(&mut self, stream: Stream) {
            let index = usize::from(stream == Stream::Requests);
            if self.server_end.is_some() {
                return;
            }
            let bytes = self.up[index].some(&mut self.random);
            if bytes.is_empty() {
                return;
            }
            let now = self.at();
            let mut input = bytes.as_slice();
            loop {
                let frame = self.up[index].framer.next_frame(&mut input).unwrap();
                let Some(frame) = frame else { break };
                let output = self
                    .server
                    .on_frame(now, UTC, stream, &frame.header, frame.body);
                self.act(output);
            }
            let partial = self.up[index].framer.is_partial();
            self.server.on_bytes(now, stream, partial);
        }

        fn act(&mut self, output: Output) {
            let now = self.at();
            match output {
                Output::Nothing => {}
                Output::Logon(_) => {
                    let started = Started {
                        epoch: 1,
                        last_cl_ord_id: ClOrdId::new(0),
                        next_server_seq: ServerSeq::new(self.next_server_seq),
                    };
                    let ack = self.server.started(now, UTC, started).unwrap();
                    self.down[0].put(&ack, 0);
                    let start = StreamStart {
                        kind: StreamKind::Events,
                        channel: 0,
                        instrument: InstrumentId::new(0),
                        request_id: 0,
                        epoch: 1,
                        next_seq: self.next_server_seq,
                    };
                    self.down[1].put(&start, 0);
                }
                Output::Request { request, .. } => {
                    let report = accepted(request.cl_ord_id());
                    self.down[1].put(&report, self.next_server_seq);
                    self.next_server_seq += 1;
                    let next = ServerSeq::new(self.next_server_seq);
                    self.server.on_sent(now, next);
                }
                Output::Reply(reply) => reply.encode_frame(&mut self.down[0].bytes),
                Output::PeerLogout(_) => {}
                Output::Close(code) => self.server_end = Some(code),
                other => panic!("{other:?}"),
            }
            let leaving = matches!(self.server.state(), State::LogoutPending { .. });
            // The answer goes out behind the answers to all requests.
            if leaving && self.server.requests_served() && self.server_end.is_none() {
                let answer = self.server.logout_answer();
                self.down[0].put(&answer, 0);
                self.server_end = Some(CloseCode::Done);
            }
        }

        fn receive(&mut self, index: usize) {
            if self.client_end.is_some() {
                return; // nobody reads, nothing is taken
            }
            let bytes = self.down[index].some(&mut self.random);
            if bytes.is_empty() {
                return;
            }
            let now = self.at();
            self.client.on_bytes(now);
            let mut input = bytes.as_slice();
            loop {
                let frame = self.down[index].framer.next_frame(&mut input).unwrap();
                let Some(frame) = frame else { break };
                let stream = match (index, self.events_open) {
                    (0, _) => ClientStream::Control,
                    (_, false) => ClientStream::New,
                    (_, true) => ClientStream::Opened(StreamKind::Events),
                };
                let output = self.client.on_frame(now, stream, &frame.header, frame.body);
                match output.unwrap() {
                    ClientOutput::Nothing => {}
                    ClientOutput::LoggedOn(_) => self.logged_on = true,
                    ClientOutput::Opened(_) => self.events_open = true,
                    ClientOutput::Deliver { message, .. } => match message {
                        Message::ExecutionReport(report) => {
                            self.answered.push(report.cl_ord_id.get());
                        }
                        other => panic!("{other:?}"),
                    },
                    ClientOutput::Reply(reply) => reply.encode_frame(&mut self.up[0].bytes),
                    ClientOutput::LoggedOut(logout) => self.client_end = Some(Ok(logout.reason)),
                    ClientOutput::Close => panic!("the answer comes in time"),
                }
            }
        }

        fn timers(&mut self) {
            let now = self.at();
            while self.server_end.is_none() {
                match self.server.on_timer(now) {
                    Output::Nothing => break,
                    output => self.act(output),
                }
            }
            while self.client_end.is_none() {
                match self.client.on_timer(now) {
                    Ok(ClientOutput::Nothing) => break,
                    Ok(ClientOutput::Reply(reply)) => {
                        reply.encode_frame(&mut self.up[0].bytes);
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(error) => self.client_end = Some(Err(error)),
                }
            }
        }

        fn order(&mut self, id: u64) {
            let seq = self.client.take_client_seq();
            let order = NewOrderSingle::limit(
                ClOrdId::new(id),
                AccountId::new(1),
                InstrumentId::new(0),
                Side::Buy,
                Price::from_ticks(1),
                Lots::new(1),
            );
            self.up[1].put(&order, seq);
            let now = self.at();
            self.client.on_sent(now);
        }
    }

    fn accepted(id: ClOrdId) -> ExecutionReport {
        ExecutionReport {
            exec_id: tessera_types::ExecId::new(1),
            cl_ord_id: id,
            orig_cl_ord_id: ClOrdId::new(0),
            order_id: OrderId::new(1),
            account: AccountId::new(1),
            instrument: InstrumentId::new(0),
            side: SideCode::Buy,
            exec_type: ExecType::New,
            ord_status: OrdStatus::New,
            price: Price::from_ticks(1),
            last_px: Price::ZERO,
            last_qty: Lots::ZERO,
            leaves_qty: Lots::new(1),
            cum_qty: Lots::ZERO,
            match_id: 0,
            liquidity: Liquidity::None,
            ord_rej_reason: 0,
            end_reason: EndReason::None,
            fee: 0,
            transact_time: UTC,
            engine_seq: Seq::new(1),
            reason: None,
        }
    }

    /// Every seed is another order of deliveries.
    #[test]
    fn requests_are_answered_once_and_in_order_and_a_logout_loses_none() {
        for seed in 0..200 {
            let mut world = World::new(seed);
            world.run(200);
            assert!(world.logged_on, "seed {seed}");
            for id in 1..=40 {
                world.order(id);
                if id % 7 == 0 {
                    world.run(3);
                }
            }
            // Most of the requests are still on their way when the Logout overtakes them.
            let now = world.at();
            let logout = world.client.logout(now);
            world.up[0].put(&logout, 0);
            world.run(1_000);
            assert_eq!(
                world.client_end,
                Some(Ok(LogoutReason::Normal)),
                "seed {seed}"
            );
            world.client_end = None; // what is still on S2 is read to its end
            while !world.down[1].bytes.is_empty() {
                world.receive(1);
            }
            assert_eq!(world.answered, (1..=40).collect::<Vec<_>>(), "seed {seed}");
        }
    }

    #[test]
    fn an_idle_session_lives_for_as_long_as_bytes_can_travel() {
        let mut world = World::new(1);
        world.run(60_000);
        assert_eq!(world.server.state(), State::Active);
        assert!(world.client.is_active() && world.server_end.is_none());
    }

    #[test]
    fn both_sides_notice_a_cut_within_2_4_intervals() {
        for seed in 0..50 {
            let mut world = World::new(seed);
            world.run(1_000 + seed * 37);
            world.cut = true;
            world.run(2_400);
            assert_eq!(world.server_end, Some(CloseCode::Silent), "seed {seed}");
            assert!(
                matches!(world.client_end, Some(Err(ClientError::Silent(_)))),
                "seed {seed}"
            );
        }
    }
}
