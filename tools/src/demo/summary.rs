//! What a demo leaves: one JSON object.

use std::time::Duration;

use serde::Serialize;

use super::desk::Tally;
use crate::serve::{Drained, NodeStats, Percentiles};

/// Figures of a whole run, times in nanoseconds unless the name says otherwise.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) seconds: f64,
    pub(crate) seed: u64,
    pub(crate) contracts: usize,
    /// New orders that the exchange accepted from the participants.
    pub(crate) orders: u64,
    /// Trades of the exchange.
    pub(crate) trades: u64,
    pub(crate) lots: u64,
    /// From the start of the program to the first trade on the feed.
    pub(crate) first_trade_ms: Option<u64>,
    pub(crate) participants: Vec<Participant>,
    pub(crate) stages: Stages,
    /// Commands in the journal.
    pub(crate) seq: u64,
    pub(crate) syncs: u64,
    pub(crate) journal_bytes: u64,
    pub(crate) state_hash: String,
}

/// One participant's share.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Participant {
    pub(crate) name: &'static str,
    pub(crate) orders: u64,
    pub(crate) moves: u64,
    pub(crate) fills: u64,
    pub(crate) lots: u64,
    pub(crate) refused: u64,
}

/// Latency percentiles by stage.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Stages {
    /// Received by the gateway to its answer written.
    pub(crate) ack: Figures,
    /// Sequenced to matched.
    pub(crate) matching: Figures,
    /// Sequenced to stored in the journal's mapping.
    pub(crate) framing: Figures,
    /// Sequenced to synced.
    pub(crate) durability: Figures,
    /// One sync of the journal.
    pub(crate) sync: Figures,
    /// Sequenced to handed to the feed.
    pub(crate) tape: Figures,
}

/// Percentiles in nanoseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    count: u64,
    p50: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
}

impl From<Percentiles> for Figures {
    fn from(percentiles: Percentiles) -> Self {
        Self {
            count: percentiles.count,
            p50: percentiles.p50_ns,
            p99: percentiles.p99_ns,
            p99_9: percentiles.p99_9_ns,
            max: percentiles.max_ns,
        }
    }
}

impl Participant {
    pub(crate) const fn new(name: &'static str, tally: Tally) -> Self {
        Self {
            name,
            orders: tally.orders,
            moves: tally.moves,
            fills: tally.fills,
            lots: tally.lots,
            refused: tally.refused,
        }
    }
}

/// What the demo itself knows of a run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) elapsed: Duration,
    pub(crate) first_trade: Option<Duration>,
    pub(crate) contracts: usize,
    pub(crate) lots: u64,
    pub(crate) participants: Vec<Participant>,
}

impl Summary {
    pub(crate) fn new(run: Run, stats: &NodeStats, drained: Drained) -> Self {
        let first_trade_ms = |after: Duration| u64::try_from(after.as_millis()).ok();
        Self {
            // Whole milliseconds: more digits would claim a precision that a thread start has not.
            seconds: (run.elapsed.as_secs_f64() * 1e3).round() / 1e3,
            seed: run.seed,
            contracts: run.contracts,
            orders: run.participants.iter().map(|one| one.orders).sum(),
            trades: drained.trades,
            lots: run.lots,
            first_trade_ms: run.first_trade.and_then(first_trade_ms),
            participants: run.participants,
            stages: Stages {
                ack: stats.ack.into(),
                matching: stats.matching.into(),
                framing: stats.framing.into(),
                durability: stats.durability.into(),
                sync: stats.sync.into(),
                tape: stats.tape.into(),
            },
            seq: drained.seq.get(),
            syncs: stats.syncs,
            journal_bytes: drained.journal_bytes,
            state_hash: drained.state_hash,
        }
    }
}
