//! Three nodes over three disks in memory, one simulated leader at a time: a deposed leader's tail is cut,
//! its engine is rebuilt, and no acknowledgement is lost.
//!
//! Election and transport are the simplest that are safe: a leader is chosen by whoever drives the test,
//! from the nodes a majority of which answers, and it is the one with the furthest log. What is under
//! test is what the journal gives such a protocol.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use rand::{Rng, RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use tessera_engine::{EngineConfig, Exchange};
use tessera_journal::storage::Storage;
use tessera_journal::storage::memory::MemoryStorage;
use tessera_journal::{Body, CommitRule, Config, Identity, Journal, Opened, Scan, Verdict};
use tessera_types::{
    AccountId, ClOrdId, ClientHeader, Command, Event, Instrument, InstrumentId, ListInstrument,
    Name, NewOrder, Price, Qty, Seq, Sequenced, Side, Timestamp, wire,
};

/// One group of the replicated log.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    term: u64,
    index: u64,
    commands: Vec<Sequenced>,
}

struct Node {
    disk: MemoryStorage,
    opened: Opened,
    engine: Exchange,
    entries: Vec<Entry>,
}

fn config(node: u64) -> Config {
    Config {
        segment_bytes: 64 * 1024,
        segments_ahead: 1,
        commit: CommitRule::External,
        node,
        identity: Some(Identity {
            cluster_id: *b"three replicas!!",
            hash_seed: [3; 32],
        }),
        wall_clock: || Timestamp::from_nanos(1),
        ..Config::default()
    }
}

impl Node {
    /// What a start makes of a disk: the log, and the engine after it.
    fn start(disk: MemoryStorage, number: u64) -> Self {
        let opened = Journal::open_on(Arc::new(disk.clone()), config(number)).unwrap();
        let mut engine = Exchange::new(EngineConfig::default());
        let mut entries: Vec<Entry> = Vec::new();
        let mut events: Vec<Event> = Vec::new();
        opened
            .replay
            .run(|record| {
                match record.body() {
                    Ok(Body::Batch { term, index, .. }) => entries.push(Entry {
                        term,
                        index,
                        commands: Vec::new(),
                    }),
                    Ok(Body::Command(payload)) => {
                        let command =
                            wire::decode_command(record.kind, record.time, payload).unwrap();
                        let sequenced = Sequenced {
                            seq: record.seq,
                            time: record.time,
                            command,
                        };
                        engine.apply(&sequenced, &mut events);
                        entries.last_mut().unwrap().commands.push(sequenced);
                    }
                    _ => {}
                }
                ControlFlow::<()>::Continue(())
            })
            .unwrap();
        Self {
            disk,
            opened,
            engine,
            entries,
        }
    }

    fn last(&self) -> (u64, u64) {
        self.entries
            .last()
            .map_or((0, 0), |entry| (entry.term, entry.index))
    }

    fn last_seq(&self) -> Seq {
        self.engine.last_seq()
    }

    /// Journals a group, syncs it, and lets the engine run ahead with it.
    fn append(&mut self, entry: Entry) {
        let opened = &mut self.opened;
        if opened.status.epoch() < entry.term {
            again(opened, |opened| opened.writer.begin_term(entry.term));
        }
        again(opened, |opened| {
            opened.writer.begin_group(entry.term, entry.index)
        });
        let mut events: Vec<Event> = Vec::new();
        for command in &entry.commands {
            let mut payload = Vec::new();
            let kind = wire::encode_command(&command.command, command.time, &mut payload).unwrap();
            again(opened, |opened| {
                opened
                    .writer
                    .append(command.seq, command.time, kind, &payload)
            });
            self.engine.apply(command, &mut events);
        }
        opened.writer.publish();
        opened.syncer.sync_once().unwrap();
        assert_eq!(opened.status.synced(), self.engine.last_seq());
        self.entries.push(entry);
    }
}

fn again(
    opened: &mut Opened,
    mut append: impl FnMut(&mut Opened) -> Result<(), tessera_journal::AppendError>,
) {
    while let Err(error) = append(opened) {
        assert!(error.is_stall(), "{error}");
        opened.preparer.prepare_if_needed().unwrap();
    }
}

struct Cluster {
    nodes: Vec<Option<Node>>,
    leader: usize,
    term: u64,
    /// What clients were told: by sequence, the id of the order.
    acknowledged: BTreeMap<u64, u64>,
    next_id: u64,
    committed: Seq,
    truncations: u32,
}

impl Cluster {
    fn new() -> Self {
        Self {
            nodes: (0..3)
                .map(|number| Some(Node::start(MemoryStorage::new(), number)))
                .collect(),
            leader: 0,
            term: 1,
            acknowledged: BTreeMap::new(),
            next_id: 1,
            committed: Seq::ZERO,
            truncations: 0,
        }
    }

    fn node(&mut self, index: usize) -> &mut Node {
        self.nodes[index].as_mut().unwrap()
    }

    /// The leader journals a group of its own; `reach` are the followers it can talk to.
    fn propose(&mut self, random: &mut impl Rng, reach: &[usize]) {
        let (term, leader) = (self.term, self.leader);
        let id = &mut self.next_id;
        let node = self.nodes[leader].as_mut().unwrap();
        let mut seq = node.last_seq();
        let commands = (0..random.random_range(1..6))
            .map(|_| {
                seq = seq.next();
                *id += 1;
                Sequenced {
                    seq,
                    time: Timestamp::from_nanos(seq.get() * 100),
                    command: command(seq, *id, random),
                }
            })
            .collect();
        let index = node.last().1 + 1;
        node.append(Entry {
            term,
            index,
            commands,
        });
        let mut have = 1;
        for follower in reach {
            self.replicate(*follower);
            have += 1;
        }
        if have >= 2 {
            self.commit();
        }
    }

    /// A majority has everything the leader has, the last group of its own term included.
    fn commit(&mut self) {
        let leader = self.leader;
        let node = self.node(leader);
        let seq = node.last_seq();
        let cursor = node.opened.commit.clone().unwrap();
        assert_eq!(cursor.advance(seq), seq);
        let told: Vec<_> = node
            .entries
            .iter()
            .flat_map(|entry| &entry.commands)
            .map(|command| (command.seq.get(), id_of(&command.command)))
            .collect();
        self.acknowledged.extend(told);
        self.committed = self.committed.max(seq);
    }

    /// Brings a follower to what the leader has, cutting what the leader has not.
    fn replicate(&mut self, follower: usize) {
        let entries = self.node(self.leader).entries.clone();
        let node = self.node(follower);
        let common = node
            .entries
            .iter()
            .zip(&entries)
            .take_while(|(a, b)| (a.term, a.index) == (b.term, b.index))
            .count();
        if common < node.entries.len() {
            let keep = entries[..common]
                .last()
                .and_then(|entry| entry.commands.last())
                .map_or(Seq::ZERO, |command| command.seq);
            let Node { disk, opened, .. } = self.nodes[follower].take().unwrap();
            let committed = opened.status.durable();
            drop(opened);
            let storage: Arc<dyn Storage> = Arc::new(disk.clone());
            // What this node was told to be committed is the least that must stay.
            let cut = Journal::truncate_on(&storage, keep, committed).unwrap();
            assert_eq!(cut.last_seq, keep);
            self.truncations += 1;
            self.nodes[follower] = Some(Node::start(disk, follower as u64));
            assert_eq!(self.node(follower).entries, entries[..common]);
        }
        let committed = self.committed;
        let node = self.node(follower);
        for entry in &entries[common..] {
            node.append(entry.clone());
        }
        let cursor = node.opened.commit.clone().unwrap();
        cursor.advance(committed);
    }

    /// The reachable node with the furthest log leads in a new term.
    fn elect(&mut self, reach: &[usize]) {
        assert!(reach.len() >= 2, "a majority elects");
        self.term += 1;
        self.leader = *reach
            .iter()
            .max_by_key(|index| self.nodes[**index].as_ref().unwrap().last())
            .unwrap();
    }

    /// The power of a node goes; what was synced, and some of the rest, is found again.
    fn power_cut(&mut self, index: usize, random: &mut impl Rng) {
        let node = self.nodes[index].take().unwrap();
        let disk = node.disk.after_power_cut(4096, |_| random.random());
        drop(node);
        self.nodes[index] = Some(Node::start(disk, index as u64));
    }

    fn check(&mut self) {
        let expected = self.node(0).engine.state_hash();
        for index in 0..3 {
            let acknowledged = self.acknowledged.clone();
            let node = self.node(index);
            assert_eq!(node.engine.state_hash(), expected, "node {index}");
            let mut found = BTreeMap::new();
            for command in node.entries.iter().flat_map(|entry| &entry.commands) {
                found.insert(command.seq.get(), id_of(&command.command));
            }
            for (seq, id) in acknowledged {
                assert_eq!(found.get(&seq), Some(&id), "node {index} lost {seq}");
            }
            let report = Scan::on(Arc::new(node.disk.clone())).verify().unwrap();
            assert_eq!(report.verdict, Verdict::Clean, "{:?}", report.findings);
            // Another start comes to the same.
            let disk = node.disk.after_power_cut(4096, |_| true);
            let again = Node::start(disk, 9);
            assert_eq!(again.engine.state_hash(), expected);
        }
    }
}

fn command(seq: Seq, id: u64, random: &mut impl Rng) -> Command {
    if seq == Seq::new(1) {
        return Command::ListInstrument(Box::new(ListInstrument {
            header: ClientHeader::default(),
            instrument: Instrument::plain(Name::new("TEST").unwrap()),
        }));
    }
    let header = ClientHeader {
        account: AccountId::new(1 + u32::from(random.random::<u8>() % 3)),
        cl_ord_id: ClOrdId::new(id),
        ..ClientHeader::default()
    };
    Command::NewOrder(NewOrder::limit(
        header,
        InstrumentId::new(0),
        if random.random() {
            Side::Buy
        } else {
            Side::Sell
        },
        Price::from_ticks(random.random_range(95..105)),
        Qty::from_lots(random.random_range(1..9)),
    ))
}

fn id_of(command: &Command) -> u64 {
    command.header().map_or(0, |header| header.cl_ord_id.get())
}

#[test]
fn a_deposed_leaders_tail_is_cut_and_its_engine_rebuilt() {
    let mut random = Pcg64Mcg::seed_from_u64(1);
    let mut cluster = Cluster::new();
    for _ in 0..5 {
        cluster.propose(&mut random, &[1, 2]);
    }
    let told = cluster.acknowledged.len();
    // The leader is cut off and does not know it: it journals and applies, and nobody is told.
    for _ in 0..4 {
        cluster.propose(&mut random, &[]);
    }
    assert_eq!(cluster.acknowledged.len(), told);
    let ahead = cluster.node(0).engine.state_hash();
    assert!(cluster.node(0).last_seq() > cluster.node(0).opened.status.durable());
    // The others go on without it.
    cluster.elect(&[1, 2]);
    let other = 3 - cluster.leader;
    for _ in 0..3 {
        cluster.propose(&mut random, &[other]);
    }
    assert!(cluster.acknowledged.len() > told);
    // It comes back.
    cluster.replicate(0);
    assert_eq!(cluster.truncations, 1);
    assert_ne!(cluster.node(0).engine.state_hash(), ahead);
    cluster.check();
}

#[test]
fn no_acknowledgement_is_lost_whoever_leads_and_whatever_power_goes() {
    let (mut told, mut cut) = (0, 0);
    for seed in 0..12 {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let mut cluster = Cluster::new();
        for _ in 0..60 {
            let others: Vec<usize> = (0..3).filter(|node| *node != cluster.leader).collect();
            let one = others[random.random_range(0..2)];
            match random.random_range(0..10) {
                0 => {
                    // The leader is out of reach for the other two.
                    cluster.propose(&mut random, &[]);
                    cluster.elect(&others);
                }
                1 => {
                    let reach = [cluster.leader, one];
                    cluster.elect(&reach);
                }
                2 => cluster.power_cut(one, &mut random),
                3 => {
                    let leader = cluster.leader;
                    cluster.power_cut(leader, &mut random);
                    cluster.elect(&[leader, one]);
                }
                4..7 => cluster.propose(&mut random, &[one]),
                _ => cluster.propose(&mut random, &others),
            }
        }
        // At the end everybody can talk to everybody.
        let all: Vec<usize> = (0..3).collect();
        cluster.elect(&all);
        let others: Vec<usize> = all
            .into_iter()
            .filter(|node| *node != cluster.leader)
            .collect();
        cluster.propose(&mut random, &others);
        cluster.check();
        told += cluster.acknowledged.len();
        cut += cluster.truncations;
    }
    println!("{told} acknowledgements, {cut} truncations");
    assert!(told > 1000 && cut > 20, "{told} {cut}");
}
