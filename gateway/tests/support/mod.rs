//! An exchange in miniature around one shard, and a client that can misbehave.
//!
//! The core here is the real engine and the real feed builder on one thread; what the tests hold in
//! their hands is the `durable` cursor. The client speaks QUIC through quinn and bytes through
//! `tessera-proto`, without the client library, so that it can send what that would refuse to.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test binary uses its part

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use ring::signature::Ed25519KeyPair;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tessera_engine::{EngineConfig, Exchange};
use tessera_gateway::{
    Credentials, Directory, ServeError, Sessions, Shard, ShardConfig, ShardEnd, ShardHandle,
    ShardPorts, ShardStats, ShardWaker, SnapshotRequests, SpawnError,
};
use tessera_market_data::{Builder, BuilderConfig, FeedItem, SnapshotRequest};
use tessera_proto::auth::{EXPORTER_LABEL, EXPORTER_LEN, logon_signing_bytes};
use tessera_proto::codes::{CancelOnDisconnect, CloseCode};
use tessera_proto::header::MAX_SERVER_BODY;
use tessera_proto::message::{Logon, LogonAck, Message, NewOrderSingle};
use tessera_proto::{Body, Flags, Framer, Header, Lots, Protocol, Text};
use tessera_ring::spsc::{Consumer, Producer, channel};
use tessera_ring::{Cursor, CursorWriter, Parker, Unparker, Wake};
use tessera_types::{
    AccountId, AdvanceTime, ClOrdId, ClientHeader, Command, Event, EventRecord, Instrument,
    InstrumentId, ListInstrument, Name, Phase, Price, Seq, Sequenced, ServerSeq, Side, Timestamp,
};

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long a test waits to see that something does not happen.
pub const QUIET: Duration = Duration::from_millis(150);

/// A running shard over a real engine.
pub struct Venue {
    pub addr: SocketAddr,
    pub credentials: tempfile::TempDir,
    pub stats: Arc<ShardStats>,
    pub directory: Arc<Directory>,
    pub sessions: Arc<Sessions>,
    pub pressure: Arc<AtomicU64>,
    shard: Option<ShardHandle>,
    core: Option<JoinHandle<Core>>,
    control: Arc<CoreControl>,
    unparker: Unparker,
    core_wake: Arc<Tripwire>,
    seats: crossbeam::channel::Sender<Seat>,
    setup: Setup,
    config: ShardConfig,
    durable: Cursor,
    waker: Arc<ShardWaker>,
}

/// Wakes the core, or panics where a test wants the shard to.
struct Tripwire {
    core: Unparker,
    armed: AtomicBool,
}

impl Wake for Tripwire {
    fn wake(&self) {
        assert!(
            !self.armed.load(Ordering::SeqCst),
            "the test wants this panic"
        );
        self.core.wake();
    }
}

/// The shard's ends of its rings.
struct Rings {
    ingress: Producer<Command>,
    urgent: Producer<Command>,
    events: Consumer<EventRecord>,
}

/// The core's ends.
struct Seat {
    ingress: Consumer<Command>,
    urgent: Consumer<Command>,
    events: Producer<EventRecord>,
}

fn rings(setup: &Setup) -> (Rings, Seat) {
    let (ingress, ingress_out) = channel(setup.ingress);
    let (urgent, urgent_out) = channel(64);
    let (events_in, events) = channel(setup.events);
    let rings = Rings {
        ingress,
        urgent,
        events,
    };
    let seat = Seat {
        ingress: ingress_out,
        urgent: urgent_out,
        events: events_in,
    };
    (rings, seat)
}

/// Number of the shard, which is no index of anything.
const SHARD: u16 = 3;

/// What a test can tell the core.
#[derive(Default)]
pub struct CoreControl {
    /// `durable` does not pass this.
    limit: AtomicU64,
    /// The core takes nothing from its rings.
    frozen: AtomicBool,
    /// The core closes the event ring, as for a shard that lags.
    evict: AtomicBool,
    stop: AtomicBool,
    /// Commands applied.
    pub applied: AtomicU64,
}

/// What may differ from test to test.
#[derive(Clone)]
pub struct Setup {
    pub ingress: usize,
    pub events: usize,
    pub instruments: Vec<&'static str>,
    pub tune: fn(&mut ShardConfig),
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            ingress: 4_096,
            events: 65_536,
            instruments: vec!["TEST", "H100"],
            tune: |_| {},
        }
    }
}

impl Venue {
    pub fn open() -> Self {
        Self::with(Setup::default())
    }

    pub fn with(setup: Setup) -> Self {
        Self::try_with(setup).expect("the shard starts")
    }

    /// What a shard says that does not start.
    pub fn refused(tune: fn(&mut ShardConfig)) -> String {
        let setup = Setup {
            tune,
            ..Setup::default()
        };
        match Self::try_with(setup) {
            Ok(_) => panic!("the shard starts"),
            Err(error) => error.to_string(),
        }
    }

    fn try_with(setup: Setup) -> Result<Self, SpawnError> {
        let credentials = tempfile::tempdir().unwrap();
        let (loaded, created) = Credentials::load_or_create(credentials.path()).unwrap();
        assert!(created);
        let (feed_in, feed) = channel(65_536);
        let (snapshots, snapshots_out) = crossbeam::channel::bounded(1_024);
        let waker = ShardWaker::new();
        let durable = CursorWriter::new(0, vec![Arc::clone(&waker) as Arc<dyn Wake>]);
        let settled = durable.reader();
        let parker = Parker::new();
        let unparker = parker.unparker();
        let directory = Arc::new(Directory::default());
        let sessions = Arc::new(Sessions::default());
        let pressure = Arc::new(AtomicU64::new(0));
        let stats = Arc::new(ShardStats::new());
        let core_wake = Arc::new(Tripwire {
            core: unparker.clone(),
            armed: AtomicBool::new(false),
        });
        let (rings, seat) = rings(&setup);
        let ports = ShardPorts {
            index: SHARD,
            ingress: rings.ingress,
            urgent: rings.urgent,
            core_wake: Arc::clone(&core_wake) as Arc<dyn Wake>,
            events: rings.events,
            feed,
            snapshots: SnapshotRequests {
                sender: snapshots,
                wake: Arc::new(unparker.clone()),
            },
            durable: durable.reader(),
            waker: Arc::clone(&waker),
            pressure: Arc::clone(&pressure),
            directory: Arc::clone(&directory),
            sessions: Arc::clone(&sessions),
            stats: Arc::clone(&stats),
        };
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = ShardConfig::new(listen, Arc::new(loaded));
        (setup.tune)(&mut config);
        let shard = Shard::spawn(ports, config.clone())?;
        config.listen = shard.addr();
        let control = Arc::new(CoreControl::default());
        control.limit.store(u64::MAX, Ordering::Relaxed);
        let (seats, new_seats) = crossbeam::channel::unbounded();
        let mut core = Core {
            exchange: Exchange::new(EngineConfig::default()),
            builder: Builder::new(1, BuilderConfig::default()),
            held: std::collections::VecDeque::new(),
            seq: 0,
            seat,
            seats: new_seats,
            feed: feed_in,
            snapshots: snapshots_out,
            durable,
            waker: Arc::clone(&waker),
            directory: Arc::clone(&directory),
            control: Arc::clone(&control),
            parker,
        };
        for name in &setup.instruments {
            let instrument = Instrument::plain(Name::new(name).unwrap());
            core.apply(Command::ListInstrument(Box::new(ListInstrument {
                header: ClientHeader::default(),
                instrument,
            })));
        }
        let core = std::thread::spawn(move || core.run());
        while settled.get() < setup.instruments.len() as u64 {
            std::thread::yield_now(); // until then the instruments are nobody's business
        }
        Ok(Self {
            addr: shard.addr(),
            credentials,
            stats,
            directory,
            sessions,
            pressure,
            shard: Some(shard),
            core: Some(core),
            control,
            unparker,
            core_wake,
            seats,
            setup,
            config,
            durable: settled,
            waker,
        })
    }

    /// The next wake-up of the core panics in the shard's thread.
    pub fn make_the_shard_panic(&self) {
        self.core_wake.armed.store(true, Ordering::SeqCst);
    }

    /// Waits for the shard to die and starts another in its place.
    pub fn replace_the_shard(&mut self) {
        let died = self.shard.take().unwrap().join();
        assert!(matches!(died, Err(ServeError::Panicked)), "{died:?}");
        let (rings, seat) = rings(&self.setup);
        self.seats.send(seat).unwrap();
        self.unparker.wake();
        let (_feed, feed) = channel(16);
        let (snapshots, _) = crossbeam::channel::bounded(16);
        let ports = ShardPorts {
            index: SHARD,
            ingress: rings.ingress,
            urgent: rings.urgent,
            core_wake: Arc::new(self.unparker.clone()),
            events: rings.events,
            feed,
            snapshots: SnapshotRequests {
                sender: snapshots,
                wake: Arc::new(self.unparker.clone()),
            },
            durable: self.durable.clone(),
            waker: Arc::clone(&self.waker),
            pressure: Arc::clone(&self.pressure),
            directory: Arc::clone(&self.directory),
            sessions: Arc::clone(&self.sessions),
            stats: Arc::clone(&self.stats),
        };
        self.shard = Some(Shard::spawn(ports, self.config.clone()).unwrap());
    }

    /// Lets `durable` go up to here and no further.
    pub fn hold_durable_at(&self, seq: u64) {
        self.control.limit.store(seq, Ordering::SeqCst);
        self.unparker.wake();
    }

    /// Lets `durable` follow the core again.
    pub fn release_durable(&self) {
        self.hold_durable_at(u64::MAX);
    }

    /// Commands applied so far.
    pub fn applied(&self) -> u64 {
        self.control.applied.load(Ordering::SeqCst)
    }

    pub fn freeze(&self, frozen: bool) {
        self.control.frozen.store(frozen, Ordering::SeqCst);
        self.unparker.wake();
    }

    pub fn evict(&self) {
        self.control.evict.store(true, Ordering::SeqCst);
        self.unparker.wake();
    }

    pub fn shard(&self) -> &ShardHandle {
        self.shard.as_ref().unwrap()
    }

    /// Drains the shard, stops the core and hands both ends back.
    pub fn close(mut self) -> (ShardEnd, Core) {
        self.shard().drain();
        let end = self.shard.take().unwrap().join().unwrap();
        (end, self.stop_core())
    }

    /// Waits for a shard that ends by itself.
    pub fn join(mut self) -> (ShardEnd, Core) {
        let end = self.shard.take().unwrap().join().unwrap();
        (end, self.stop_core())
    }

    pub fn stop_core(&mut self) -> Core {
        self.control.stop.store(true, Ordering::SeqCst);
        self.unparker.wake();
        self.core.take().unwrap().join().unwrap()
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        // Not joined: the peers of a test often end with it, and nobody is left to hear a farewell.
        if let Some(shard) = self.shard.take() {
            shard.drain();
        }
        if self.core.is_some() {
            self.stop_core();
        }
    }
}

/// Core, journal, sync and market-data threads in one.
pub struct Core {
    pub exchange: Exchange,
    builder: Builder,
    /// Records that the market data has not seen because they are not durable.
    held: std::collections::VecDeque<EventRecord>,
    seq: u64,
    seat: Seat,
    seats: crossbeam::channel::Receiver<Seat>,
    feed: Producer<FeedItem>,
    snapshots: crossbeam::channel::Receiver<SnapshotRequest>,
    durable: CursorWriter,
    waker: Arc<ShardWaker>,
    directory: Arc<Directory>,
    control: Arc<CoreControl>,
    parker: Parker,
}

impl Core {
    fn run(mut self) -> Self {
        while !self.control.stop.load(Ordering::SeqCst) {
            if self.control.evict.swap(false, Ordering::SeqCst) {
                self.seat.events.close();
                self.waker.wake();
            }
            let mut work = false;
            if let Ok(seat) = self.seats.try_recv() {
                while let Some(command) = self.take() {
                    self.apply(command); // all that the old rings still hold comes first
                }
                self.seat = seat;
            }
            if !self.control.frozen.load(Ordering::SeqCst) {
                for _ in 0..256 {
                    let Some(command) = self.take() else {
                        break;
                    };
                    self.apply(command);
                    work = true;
                }
            }
            work |= self.settle();
            if !work {
                self.parker
                    .prepare_park()
                    .park_timeout(Duration::from_millis(1));
            }
        }
        self
    }

    fn take(&mut self) -> Option<Command> {
        let urgent = self.seat.urgent.try_pop();
        urgent.or_else(|| self.seat.ingress.try_pop())
    }

    /// Sequences and applies one command and publishes its events.
    pub fn apply(&mut self, command: Command) {
        self.seq += 1;
        let received = command.header().map_or(Timestamp::ZERO, |h| h.received);
        let sequenced = Sequenced {
            seq: Seq::new(self.seq),
            time: utc(),
            command,
        };
        let mut out: Vec<Event> = Vec::new();
        self.exchange.apply(&sequenced, &mut out);
        let last = out.len().saturating_sub(1);
        for (index, event) in out.into_iter().enumerate() {
            if let (Event::InstrumentListed { instrument, .. }, Command::ListInstrument(listing)) =
                (&event, &sequenced.command)
            {
                let definition = listing.instrument;
                self.directory
                    .list(*instrument, sequenced.seq, definition, Phase::Continuous);
            }
            let record = EventRecord {
                seq: sequenced.seq,
                time: sequenced.time,
                received,
                index: u32::try_from(index).unwrap(),
                last: index == last,
                event,
            };
            self.held.push_back(record);
            if self.seat.events.try_push(record).is_err() {
                self.seat.events.close();
            }
        }
        self.control.applied.store(self.seq, Ordering::SeqCst);
    }

    /// Moves `durable` as far as the test allows, and the market data with it.
    fn settle(&mut self) -> bool {
        let limit = self.control.limit.load(Ordering::SeqCst).min(self.seq);
        let mut moved = limit > self.durable.get();
        if moved {
            self.durable.publish(limit);
        }
        let mut items = Vec::new();
        while self
            .held
            .front()
            .is_some_and(|record| record.seq.get() <= limit)
        {
            let record = self.held.pop_front().unwrap();
            let batch = self.builder.on_record(&record);
            items.extend(
                batch
                    .iter()
                    .map(|&increment| FeedItem::Increment(increment)),
            );
        }
        while let Ok(request) = self.snapshots.try_recv() {
            self.builder.on_request(request);
        }
        while let Some((_, item)) = self.builder.poll_answer() {
            items.push(item);
        }
        moved |= !items.is_empty();
        for item in items {
            let _ = self.feed.try_push(item);
        }
        if moved {
            self.durable.wake_all();
        }
        moved
    }
}

/// A quinn endpoint with the credentials of `who`.
pub struct Peer {
    endpoint: Endpoint,
    addr: SocketAddr,
    key: Ed25519KeyPair,
    pub name: String,
}

impl Peer {
    pub fn new(venue: &Venue, who: &str) -> Self {
        Self::from_files(venue.credentials.path(), venue.addr, who)
    }

    pub fn from_files(dir: &Path, addr: SocketAddr, who: &str) -> Self {
        let pem = std::fs::read(dir.join(format!("{who}.logon"))).unwrap();
        let PrivateKeyDer::Pkcs8(der) = PrivateKeyDer::from_pem_slice(&pem).unwrap() else {
            panic!("a Logon key is PKCS #8");
        };
        Self {
            endpoint: Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap(),
            addr,
            key: Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap(),
            name: who.to_owned(),
        }
    }

    pub async fn connect(&self, venue: &Venue, alpn: &[u8]) -> Result<Connection, ConnectionError> {
        let config = client_config(venue.credentials.path(), Some(&self.name), alpn);
        self.connect_with(config).await
    }

    pub async fn connect_with(&self, config: ClientConfig) -> Result<Connection, ConnectionError> {
        let connecting = self.endpoint.connect_with(config, self.addr, "localhost");
        connecting.unwrap().await
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A connection with its first stream open and nothing said.
    pub async fn raw(&self, venue: &Venue, protocol: Protocol) -> Wire {
        let connection = self
            .connect(venue, protocol.alpn().as_bytes())
            .await
            .expect("the handshake succeeds");
        Wire::new(connection, protocol).await
    }

    /// A connection that is logged on.
    pub async fn log_on(
        &self,
        venue: &Venue,
        protocol: Protocol,
        session: &str,
    ) -> (Wire, LogonAck) {
        self.log_on_with(venue, protocol, session, |_| {}).await
    }

    pub async fn log_on_with(
        &self,
        venue: &Venue,
        protocol: Protocol,
        session: &str,
        change: impl FnOnce(&mut Logon),
    ) -> (Wire, LogonAck) {
        let mut wire = self.raw(venue, protocol).await;
        let mut logon = self.logon(session);
        change(&mut logon);
        self.sign(&wire, &mut logon);
        wire.send(&logon).await;
        match wire.control().await {
            Message::LogonAck(ack) => (wire, ack),
            other => panic!("expected a LogonAck, got {other:?}"),
        }
    }

    /// A Logon without its signature.
    pub fn logon(&self, session: &str) -> Logon {
        Logon {
            sender: Text::new(session).unwrap(),
            target: Text::new("TESSERA").unwrap(),
            heart_bt_int: 100,
            epoch: 0,
            next_server_seq: ServerSeq::new(0),
            schema_minor: 0,
            cancel_on_disconnect: CancelOnDisconnect::Both,
            cancel_grace: 0,
            username: Text::new(&self.name).unwrap(),
            sending_time: utc(),
            signature: [0; 64],
            take_over: false,
        }
    }

    pub fn sign(&self, wire: &Wire, logon: &mut Logon) {
        let mut exporter = [0; EXPORTER_LEN];
        wire.connection
            .export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
            .unwrap();
        let bytes = logon_signing_bytes(wire.protocol, logon, &exporter);
        let signature = self.key.sign(&bytes);
        logon.signature.copy_from_slice(signature.as_ref());
    }
}

pub fn client_config(dir: &Path, who: Option<&str>, alpn: &[u8]) -> ClientConfig {
    ClientConfig::new(Arc::new(
        QuicClientConfig::try_from(rustls_client(dir, who, alpn)).unwrap(),
    ))
}

pub fn rustls_client(dir: &Path, who: Option<&str>, alpn: &[u8]) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(dir.join("ca.crt")).unwrap())
        .unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match who {
        Some(who) => {
            let certificate =
                CertificateDer::from_pem_file(dir.join(format!("{who}.crt"))).unwrap();
            let key = PrivateKeyDer::from_pem_file(dir.join(format!("{who}.key"))).unwrap();
            builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    if !alpn.is_empty() {
        config.alpn_protocols = vec![alpn.to_vec()];
    }
    config
}

/// One connection as bytes and frames.
pub struct Wire {
    pub connection: Connection,
    pub protocol: Protocol,
    pub control_out: SendStream,
    control_in: Frames,
    requests: Option<SendStream>,
    events: Option<Frames>,
    pub client_seq: u64,
}

impl Wire {
    async fn new(connection: Connection, protocol: Protocol) -> Self {
        let (control_out, control_in) = connection.open_bi().await.unwrap();
        Self {
            connection,
            protocol,
            control_out,
            control_in: Frames::new(control_in),
            requests: None,
            events: None,
            client_seq: 0,
        }
    }

    /// Sends on the control stream.
    pub async fn send(&mut self, body: &impl Body) {
        let mut bytes = Vec::new();
        body.encode_frame(0, Flags::NONE, &mut bytes);
        self.send_bytes(&bytes).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        // The server may have closed already; what it said about it is what tests look at.
        let _ = self.control_out.write_all(bytes).await;
    }

    /// Sends a request on S1, numbered.
    pub async fn request(&mut self, body: &impl Body) {
        self.client_seq += 1;
        let mut bytes = Vec::new();
        body.encode_frame(self.client_seq, Flags::NONE, &mut bytes);
        self.request_bytes(&bytes).await;
    }

    pub async fn request_bytes(&mut self, bytes: &[u8]) {
        let _ = self.requests().await.write_all(bytes).await;
    }

    pub async fn requests(&mut self) -> &mut SendStream {
        if self.requests.is_none() {
            self.requests = Some(self.connection.open_uni().await.unwrap());
        }
        self.requests.as_mut().unwrap()
    }

    /// The next message on the control stream that is not a heartbeat.
    pub async fn control(&mut self) -> Message {
        loop {
            let (_, message) = patient(self.control_in.next())
                .await
                .expect("a control message");
            if !matches!(message, Message::Heartbeat(_)) {
                return message;
            }
        }
    }

    /// Whatever comes next on the control stream.
    pub async fn control_or_end(&mut self) -> Option<Message> {
        patient(self.control_in.next())
            .await
            .map(|(_, message)| message)
    }

    /// The next message on S2, with its ServerSeq.
    pub async fn event(&mut self) -> (u64, Message) {
        if self.events.is_none() {
            self.events = Some(self.accept().await.1);
        }
        let events = self.events.as_mut().unwrap();
        let (header, message) = patient(events.next()).await.expect("an event");
        (header.seq, message)
    }

    /// Whether S2 stays silent for a while.
    pub async fn is_quiet(&mut self) -> bool {
        if self.events.is_none() {
            self.events = Some(self.accept().await.1);
        }
        let events = self.events.as_mut().unwrap();
        tokio::time::timeout(QUIET, events.next()).await.is_err()
    }

    /// The next stream of the server and how it introduces itself.
    pub async fn accept(&mut self) -> (tessera_proto::message::StreamStart, Frames) {
        let stream = patient(self.connection.accept_uni()).await.unwrap();
        let mut frames = Frames::new(stream);
        match patient(frames.next()).await {
            Some((_, Message::StreamStart(start))) => (start, frames),
            other => panic!("a stream must begin with StreamStart, not {other:?}"),
        }
    }

    /// The next stream of the server that introduces itself so.
    pub async fn accept_with(
        &mut self,
        wanted: impl Fn(&tessera_proto::message::StreamStart) -> bool,
    ) -> (tessera_proto::message::StreamStart, Frames) {
        loop {
            let stream = patient(self.connection.accept_uni()).await.unwrap();
            let mut frames = Frames::new(stream);
            // A stream that was reset has no beginning.
            if let Some((_, Message::StreamStart(start))) = patient(frames.next()).await
                && wanted(&start)
            {
                return (start, frames);
            }
        }
    }

    /// The application code with which the server closes.
    pub async fn closed(&self) -> CloseCode {
        match patient(self.connection.closed()).await {
            ConnectionError::ApplicationClosed(close) => {
                CloseCode::from_code(close.error_code.into_inner()).expect("a known code")
            }
            other => panic!("expected the server to close, got {other}"),
        }
    }
}

/// A stream cut into messages.
pub struct Frames {
    stream: RecvStream,
    framer: Framer,
    bytes: Vec<u8>,
}

impl Frames {
    fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            framer: Framer::new(MAX_SERVER_BODY),
            bytes: Vec::new(),
        }
    }

    /// The next frame; none when the stream has ended. Can be canceled without loss.
    pub async fn next(&mut self) -> Option<(Header, Message)> {
        loop {
            let mut input = &self.bytes[..];
            let frame = self
                .framer
                .next_frame(&mut input)
                .expect("the server sends frames")
                .map(|frame| {
                    let message = Message::decode(&frame.header, frame.body);
                    (frame.header, message.expect("the server sends messages"))
                });
            let used = self.bytes.len() - input.len();
            self.bytes.drain(..used);
            if frame.is_some() {
                return frame;
            }
            let chunk = self.stream.read_chunk(64 * 1024, true).await.ok()??;
            self.bytes.extend_from_slice(&chunk.bytes);
        }
    }
}

/// Waits for something that must happen.
pub async fn patient<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it happens within the test's patience")
}

/// Polls until something is true.
pub async fn until(mut what: impl FnMut() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(
            start.elapsed() < PATIENCE,
            "it becomes true within the test's patience"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub fn utc() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap())
}

pub fn limit_order(id: u64, side: Side, price: i64, lots: u32) -> NewOrderSingle {
    NewOrderSingle::limit(
        ClOrdId::new(id),
        AccountId::new(7),
        InstrumentId::new(0),
        side,
        Price::from_ticks(price),
        Lots::new(lots),
    )
}

/// Not used by the tests themselves: a command that only moves the clock.
pub fn tick() -> Command {
    Command::AdvanceTime(AdvanceTime)
}
