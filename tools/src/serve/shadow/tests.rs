//! A journal in memory, snapshots of it, and what a restart makes of both.

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use rustix::io::Errno;
use tessera_engine::Exchange;
use tessera_journal::storage::memory::{Fault, MemoryStorage};
use tessera_journal::{AppendError, Config, Identity, Journal, Opened};
use tessera_types::{
    AccountId, Cancel, ClOrdId, ClientHeader, Command, ConnToken, Generation, Instrument,
    InstrumentId, ListInstrument, Name, NewOrder, OrderTarget, Price, Qty, Sequenced, SessionId,
    SessionLogon, Side, TimeInForce, Timestamp, wire,
};

use super::super::rebuild::rebuild;
use super::*;

const CLUSTER: [u8; 16] = *b"a test's cluster";
const HASHES: u64 = 64;

/// A journal that is written, with the engine that leads it.
struct Bed {
    disk: MemoryStorage,
    opened: Opened,
    engine: Exchange,
    rng: Pcg64Mcg,
    last_id: u64,
}

/// As a start of the node: the newest snapshot that can be used, the journal, the engine.
fn start(disk: &MemoryStorage) -> Result<(Opened, Rebuild), String> {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let snapshots = Snapshots::on(Arc::clone(&storage));
    let begin = Rebuild::newest(&snapshots, Seq::new(u64::MAX));
    let config = Config {
        segment_bytes: 64 * 1024,
        segments_ahead: 1,
        identity: Some(Identity {
            cluster_id: CLUSTER,
            hash_seed: [7; 32],
        }),
        covered: begin.as_ref().map_or(Seq::ZERO, Rebuild::begun_at),
        ..Config::default()
    };
    let opened = Journal::open_on(storage, config).map_err(|error| error.to_string())?;
    let rebuilt =
        rebuild(begin, &snapshots, &opened.replay, &CLUSTER).map_err(|error| error.to_string())?;
    Ok((opened, rebuilt))
}

impl Bed {
    fn new(commands: u64) -> Self {
        Self::on(&MemoryStorage::new(), commands)
    }

    /// Goes on where the disk ends.
    fn on(disk: &MemoryStorage, commands: u64) -> Self {
        let (opened, rebuilt) = start(disk).unwrap();
        let engine = rebuilt.engine;
        let last_id = engine
            .session(SessionId::new(1))
            .map_or(0, |session| session.last_cl_ord_id.get());
        let seed = engine.last_seq().get() + 1;
        let mut bed = Self {
            disk: disk.clone(),
            opened,
            engine,
            rng: Pcg64Mcg::seed_from_u64(seed),
            last_id,
        };
        if bed.engine.last_seq() == Seq::ZERO {
            bed.apply(Command::ListInstrument(Box::new(ListInstrument {
                header: ClientHeader::default(),
                instrument: Instrument::plain(Name::new("TEST").unwrap()),
            })));
            bed.apply(Command::SessionLogon(Box::new(SessionLogon {
                name: Name::new("alice").unwrap(),
                conn: ConnToken::new(1),
                received: Timestamp::ZERO,
            })));
        }
        bed.go_on(commands);
        bed
    }

    fn go_on(&mut self, commands: u64) {
        for _ in 0..commands {
            let command = self.command();
            self.apply(command);
        }
    }

    fn command(&mut self) -> Command {
        self.last_id += self.rng.random_range(1..3);
        let header = ClientHeader {
            session: SessionId::new(1),
            generation: Generation::new(1),
            account: AccountId::new(5),
            cl_ord_id: ClOrdId::new(self.last_id),
            received: Timestamp::ZERO,
        };
        if self.rng.random_range(0..4) == 0 {
            let back = self.rng.random_range(1..40.min(self.last_id).max(2));
            let target = OrderTarget::Client(ClOrdId::new(self.last_id.saturating_sub(back)));
            return Command::Cancel(Cancel { header, target });
        }
        let side = if self.rng.random() {
            Side::Buy
        } else {
            Side::Sell
        };
        let price = Price::from_ticks(self.rng.random_range(95..105));
        let qty = Qty::from_lots(self.rng.random_range(1..9));
        let mut order = NewOrder::limit(header, InstrumentId::new(0), side, price, qty);
        if self.rng.random_range(0..5) == 0 {
            order.time_in_force = TimeInForce::Gtd;
            let end = self.engine.clock().nanos() + self.rng.random_range(1..5_000);
            order.expire = Timestamp::from_nanos(end);
        }
        Command::NewOrder(order)
    }

    fn apply(&mut self, command: Command) {
        let seq = self.engine.last_seq().next();
        let time = Timestamp::from_nanos(seq.get() * 10);
        let sequenced = Sequenced { seq, time, command };
        let mut payload = Vec::new();
        let kind = wire::encode_command(&sequenced.command, time, &mut payload).unwrap();
        while let Err(error) = self.opened.writer.append(seq, time, kind, &payload) {
            assert!(matches!(error, AppendError::Stalled), "{error}");
            self.opened.preparer.prepare_if_needed().unwrap();
        }
        self.engine.apply(&sequenced, &mut Vec::new());
        if seq.get().is_multiple_of(HASHES) {
            let (hash, digest) = (self.engine.state_hash(), self.engine.events_digest());
            self.engine.restart_events_digest();
            while let Err(error) = self.opened.writer.append_state_hash(&hash, digest) {
                assert!(matches!(error, AppendError::Stalled), "{error}");
                self.opened.preparer.prepare_if_needed().unwrap();
            }
        }
        if seq.get().is_multiple_of(16) {
            self.commit();
        }
    }

    fn commit(&mut self) {
        self.opened.writer.publish();
        self.opened.syncer.sync_once().unwrap();
    }

    /// The shadow of this journal, and the end that stops it.
    fn maker(&self, newest: u64) -> (Maker, Sender<()>) {
        let (stop, stopped) = bounded(0);
        let maker = Maker {
            storage: Arc::new(self.disk.clone()),
            status: self.opened.status.clone(),
            config: ShadowConfig {
                every: 500,
                state_hash_every: HASHES,
                retention: Retention {
                    segments: 1,
                    age_ns: 0,
                },
                cluster_id: CLUSTER,
                shard: 0,
            },
            stopped,
            newest: Seq::new(newest),
            progress: Arc::default(),
        };
        (maker, stop)
    }

    fn finish(mut self) -> (MemoryStorage, Exchange) {
        self.commit();
        self.opened.syncer.finish().unwrap();
        (self.disk, self.engine)
    }
}

/// Restarts on the disk and compares everything that a restart must bring back; returns the command of
/// the snapshot it began with and how many it replayed.
fn check_restart(disk: &MemoryStorage, engine: &Exchange) -> (u64, u64) {
    let (opened, rebuilt) = start(disk).unwrap();
    assert_eq!(rebuilt.engine.last_seq(), engine.last_seq());
    assert_eq!(rebuilt.engine.state_hash(), engine.state_hash());
    assert_eq!(rebuilt.engine.events_digest(), engine.events_digest());
    assert!(rebuilt.engine.sessions().eq(engine.sessions()));
    rebuilt.engine.check_invariants();
    drop(opened);
    (rebuilt.begun_at().get(), rebuilt.applied)
}

/// Snapshots every 500 commands of a journal of `count`.
fn with_snapshots(count: u64) -> (Bed, u64) {
    let mut bed = Bed::new(0);
    let mut newest = 0;
    while bed.engine.last_seq().get() < count {
        bed.go_on(700);
        bed.commit();
        let (mut maker, _stop) = bed.maker(newest);
        newest = maker.make(Seq::new(newest)).unwrap().get();
        maker.retire().unwrap();
    }
    (bed, newest)
}

#[test]
fn a_restart_from_a_snapshot_is_the_restart_from_the_first_command() {
    let (bed, newest) = with_snapshots(6_000);
    let last = bed.engine.last_seq().get();
    let (disk, engine) = bed.finish();
    let names = disk.file_names();
    let archived = names.iter().filter(|name| name.starts_with("archive/0"));
    assert!(archived.count() > 3, "{names:?}");
    let snaps = names.iter().filter(|name| name.ends_with(".snap")).count();
    assert_eq!(snaps, 3, "{names:?}");
    assert_eq!(check_restart(&disk, &engine), (newest, last - newest));

    // The archive may be on another disk by now.
    let short = disk.after_power_cut(4096, |_| true);
    for name in names.iter().filter(|name| name.starts_with("archive/0")) {
        short.remove_file(name);
    }
    assert_eq!(check_restart(&short, &engine), (newest, last - newest));
    // And from there it goes on, snapshots included.
    let bed = Bed::on(&short, 1_500);
    let (mut maker, _stop) = bed.maker(newest);
    let made = maker.make(Seq::new(newest)).unwrap().get();
    assert!(made >= newest + 500, "{made}");
    drop(maker); // it keeps the journal open
    let (disk, engine) = bed.finish();
    assert_eq!(check_restart(&disk, &engine).0, made);
}

#[test]
fn a_damaged_snapshot_is_left_for_an_older_one_or_none() {
    let (bed, newest) = with_snapshots(6_000);
    let (disk, engine) = bed.finish();
    let mut snaps: Vec<String> = disk.file_names();
    snaps.retain(|name| name.ends_with(".snap"));
    snaps.sort();
    let mut began = Vec::new();
    for name in snaps.iter().rev() {
        began.push(check_restart(&disk.after_power_cut(4096, |_| true), &engine).0);
        // Anywhere in the file: the mark says nothing about the bytes behind the header.
        let bits = disk.read_file(name).unwrap().len() * 8;
        disk.flip_bit(name, bits * 3 / 4);
    }
    began.push(check_restart(&disk.after_power_cut(4096, |_| true), &engine).0);
    assert_eq!(began[0], newest);
    assert!(began.is_sorted_by(|a, b| a > b), "{began:?}");
    assert_eq!(began.last(), Some(&0), "the archive is still there");

    // Without snapshot and archive there is no way, and that is said.
    for name in disk.file_names() {
        if name.starts_with("archive/0") {
            disk.remove_file(&name);
        }
    }
    let error = start(&disk).err().unwrap();
    assert!(error.contains("put the retired segments back"), "{error}");
}

/// A good snapshot of a journal with the same name, the same commands up to here and other ones before:
/// its state is not what this journal leads to.
#[test]
fn a_snapshot_of_another_history_is_left() {
    let (bed, newest) = with_snapshots(3_000);
    let (disk, engine) = bed.finish();
    let mut other = Bed::new(0);
    other.rng = Pcg64Mcg::seed_from_u64(99);
    other.go_on(newest + HASHES + 20);
    other.commit();
    let (mut maker, _stop) = other.maker(0);
    let seq = maker.make(Seq::new(newest - 500)).unwrap();
    assert_eq!(seq.get(), newest);
    for name in [
        format!("snap/{newest:020}.snap"),
        format!("snap/{newest:020}.ok"),
    ] {
        disk.remove_file(&name);
        disk.put_file(&name, other.disk.read_file(&name).unwrap());
    }
    let (began, _) = check_restart(&disk, &engine);
    assert!(0 < began && began < newest, "{began}");
}

/// Call after call is the last before the power goes, and some fail, while a snapshot is made and segments
/// retire; whatever is left, a restart finds everything that was synced.
#[test]
fn whichever_call_fails_around_a_snapshot_nothing_is_lost() {
    let (mut bed, newest) = with_snapshots(1_000);
    bed.go_on(650);
    let (disk, engine) = bed.finish();
    let fresh = || Bed::on(&disk.after_power_cut(4096, |_| true), 0);
    let (first, last) = {
        let bed = fresh();
        let first = bed.disk.calls().len();
        let (mut maker, _stop) = bed.maker(newest);
        maker.make(Seq::new(newest)).unwrap();
        maker.retire().unwrap();
        (first, bed.disk.calls().len())
    };
    let mut cases = 0;
    // A sample in CI, every call when `cargo xtask faults` asks for more.
    let all = std::env::var_os("TESSERA_FAULT_SCALE").is_some();
    let step = if all { 1 } else { ((last - first) / 30).max(1) };
    for call in (first + 1..=last).step_by(step) {
        let failure = [
            Fault::Error(Errno::IO),
            Fault::Error(Errno::NOSPC),
            Fault::ShortWrite(10),
        ][call / 3 % 3];
        let fails = call.is_multiple_of(3).then_some(failure);
        for fault in fails.into_iter().chain([Fault::PowerCut]) {
            let bed = fresh();
            bed.disk.fail_at(call as u64, fault);
            let (mut maker, _stop) = bed.maker(newest);
            let _ = maker.make(Seq::new(newest));
            let _ = maker.retire();
            for keep in [false, true] {
                let after = bed.disk.after_power_cut(4096, |_| keep);
                let (began, applied) = check_restart(&after, &engine);
                assert!(began >= newest, "call {call} {fault:?}: {began}");
                assert_eq!(began + applied, engine.last_seq().get());
                cases += 1;
            }
        }
    }
    let calls = last - first;
    eprintln!(
        "{cases} failures and power cuts at {calls} calls around a snapshot and a retirement"
    );
    assert!(cases > 60, "{cases}");
}
