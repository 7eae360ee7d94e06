//! What the exchange says of itself over HTTP: whether its agents work, whether it serves orders, and
//! its metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam::utils::CachePadded;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tessera_gateway::Health;
use tessera_ring::Agent;

use super::node::{NodeStats, Watch};
use super::stats::Percentiles;

/// An agent whose rounds are counted, so that others can see that it still makes them.
pub(crate) struct Ticking<A> {
    pub(crate) agent: A,
    ticks: Arc<CachePadded<AtomicU64>>,
}

/// The rounds of one agent.
#[derive(Clone, Debug)]
pub(crate) struct Pulse {
    name: String,
    ticks: Arc<CachePadded<AtomicU64>>,
}

impl<A: Agent> Ticking<A> {
    pub(crate) fn new(agent: A) -> (Self, Pulse) {
        let ticks = Arc::new(CachePadded::new(AtomicU64::new(0)));
        let pulse = Pulse {
            name: agent.name().to_owned(),
            ticks: Arc::clone(&ticks),
        };
        (Self { agent, ticks }, pulse)
    }
}

impl<A: Agent> Agent for Ticking<A> {
    fn name(&self) -> &str {
        self.agent.name()
    }

    #[inline]
    fn do_work(&mut self) -> usize {
        // One writer: a load and a store instead of a locked addition.
        let ticks = self.ticks.load(Ordering::Relaxed);
        self.ticks.store(ticks.wrapping_add(1), Ordering::Relaxed);
        self.agent.do_work()
    }

    fn on_stop(&mut self) {
        self.agent.on_stop();
    }
}

/// How long an agent may take for one round before it counts as standing still. A sync of a slow disk
/// is one round.
const STILL: Duration = Duration::from_secs(10);

/// The node behind HTTP, from before it starts until it is gone.
pub(crate) struct NodeHealth {
    node: OnceLock<Watch>,
    draining: std::sync::atomic::AtomicBool,
    /// Per agent: the rounds at the last look at which they had changed, and when that was.
    seen: parking_lot::Mutex<Vec<(u64, Instant)>>,
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Default for NodeHealth {
    fn default() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, describe);
        Self {
            node: OnceLock::new(),
            draining: std::sync::atomic::AtomicBool::new(false),
            seen: parking_lot::Mutex::default(),
            recorder,
            handle,
        }
    }
}

impl NodeHealth {
    /// The node serves from now on.
    pub(crate) fn started(&self, node: Watch) {
        // A process starts one node.
        let _ = self.node.set(node);
    }

    /// The node takes no more orders.
    pub(crate) fn draining(&self) {
        self.draining.store(true, Ordering::Release);
    }
}

impl Health for NodeHealth {
    fn live(&self) -> Result<(), String> {
        let Some(node) = self.node.get() else {
            // The replay is bounded by the journal; a supervisor should wait for it.
            return Ok(());
        };
        let now = Instant::now();
        let mut seen = self.seen.lock();
        seen.resize(node.pulses.len(), (u64::MAX, now));
        for (pulse, (ticks, at)) in node.pulses.iter().zip(seen.iter_mut()) {
            let found = pulse.ticks.load(Ordering::Relaxed);
            if found != *ticks {
                (*ticks, *at) = (found, now);
            } else if now.duration_since(*at) > STILL {
                let seconds = now.duration_since(*at).as_secs();
                return Err(format!("{} has stood still for {seconds} s", pulse.name));
            }
        }
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        let Some(node) = self.node.get() else {
            return Err("replaying the journal".into());
        };
        if self.draining.load(Ordering::Acquire) {
            return Err("draining".into());
        }
        if node.status.is_poisoned() {
            return Err("the journal has failed".into());
        }
        if node.low_disk.load(Ordering::Relaxed) {
            return Err(
                "the disk is nearly full: new orders are refused, cancels are served".into(),
            );
        }
        self.live()
    }

    fn metrics(&self) -> String {
        if let Some(node) = self.node.get() {
            metrics::with_local_recorder(&self.recorder, || publish(node));
        }
        self.handle.render()
    }
}

/// A metric with its unit and what it means: the table of `docs/operations.md`.
macro_rules! table {
    ($($kind:ident $name:literal $unit:ident $help:literal;)*) => {
        $($kind!($name, Unit::$unit, $help);)*
    };
}

fn describe() {
    table! {
        describe_gauge "tessera_info" Count "1, with the version and the durability mode as labels";
        describe_gauge "tessera_uptime_seconds" Seconds "Time since the start";
        describe_gauge "tessera_seq" Count "Sequence of the last command applied";
        describe_gauge "tessera_durable_seq" Count "Sequence of the last command that may be acknowledged";
        describe_counter "tessera_trades_total" Count "Trades since the start";
        describe_counter "tessera_evictions_total" Count "Event rings that overflowed";
        describe_counter "tessera_clock_clamps_total" Count "Times the wall clock stood behind the journal";
        describe_counter "tessera_journal_bytes_total" Bytes "Bytes of journal records";
        describe_counter "tessera_journal_syncs_total" Count "Group commits";
        describe_counter "tessera_journal_rotations_total" Count "Segments begun";
        describe_counter "tessera_journal_stalls_total" Count "Times no segment was ready";
        describe_gauge "tessera_journal_segments_ready" Count "Segments prepared ahead";
        describe_gauge "tessera_journal_low_disk" Count "1 while new orders are refused for want of disk";
        describe_gauge "tessera_snapshot_seq" Count "Last command of the newest verified snapshot";
        describe_counter "tessera_snapshots_total" Count "Snapshots made and verified since the start";
        describe_counter "tessera_snapshot_failures_total" Count "Snapshots that could not be made";
        describe_counter "tessera_segments_retired_total" Count "Journal segments retired since the start";
        describe_counter "tessera_feed_missed_total" Count "Feed items that a full ring did not take";
        describe_counter "tessera_feed_encoded_total" Count "Feed messages encoded, each once for all subscribers";
        describe_gauge "tessera_connections" Count "Connections that are open";
        describe_gauge "tessera_sessions" Count "Order-entry sessions that are logged on";
        describe_gauge "tessera_subscribers" Count "Market-data subscriptions that are live";
        describe_counter "tessera_commands_total" Count "Commands given to the core";
        describe_counter "tessera_messages_total" Count "Messages of the engine written to sessions";
        describe_counter "tessera_gateway_rejects_total" Count "Requests refused in the gateway";
        describe_counter "tessera_busy_rejects_total" Count "Of these, refused because the exchange was busy";
        describe_counter "tessera_protocol_errors_total" Count "Connections closed because their peer broke the protocol";
        describe_counter "tessera_slow_consumers_total" Count "Sessions and subscriptions that read too slowly";
        describe_gauge "tessera_latency_seconds" Seconds "Latency since the start by stage and quantile; quantile 1 is the largest";
        describe_counter "tessera_latency_count" Count "Values behind tessera_latency_seconds, by stage";
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge of this format is a float; sequences stay far below 2^53"
)]
fn publish(node: &Watch) {
    let stats: NodeStats = node.stats();
    let status = &node.status;
    gauge!(
        "tessera_info",
        "version" => env!("CARGO_PKG_VERSION"),
        "durability" => node.durability.to_string()
    )
    .set(1.0);
    gauge!("tessera_uptime_seconds").set(stats.uptime.as_secs_f64());
    gauge!("tessera_seq").set(stats.seq.get() as f64);
    gauge!("tessera_durable_seq").set(stats.durable.get() as f64);
    counter!("tessera_trades_total").absolute(stats.trades);
    counter!("tessera_evictions_total").absolute(stats.evictions);
    counter!("tessera_clock_clamps_total").absolute(stats.clock_clamps);
    counter!("tessera_journal_bytes_total").absolute(stats.journal_bytes);
    counter!("tessera_journal_syncs_total").absolute(stats.syncs);
    counter!("tessera_journal_rotations_total").absolute(status.rotations());
    counter!("tessera_journal_stalls_total").absolute(status.stalls());
    gauge!("tessera_journal_segments_ready").set(status.segments_ready() as f64);
    let low_disk = node.low_disk.load(Ordering::Relaxed);
    gauge!("tessera_journal_low_disk").set(f64::from(u8::from(low_disk)));
    gauge!("tessera_snapshot_seq").set(stats.snapshot_seq.get() as f64);
    counter!("tessera_snapshots_total").absolute(stats.snapshots);
    counter!("tessera_snapshot_failures_total").absolute(stats.snapshot_failures);
    counter!("tessera_segments_retired_total").absolute(stats.segments_retired);
    counter!("tessera_feed_missed_total").absolute(stats.feed_missed);
    let gateway = &stats.gateway;
    counter!("tessera_feed_encoded_total").absolute(gateway.feed_encoded);
    gauge!("tessera_connections").set(gateway.connections as f64);
    gauge!("tessera_sessions").set(gateway.sessions as f64);
    gauge!("tessera_subscribers").set(gateway.subscribers as f64);
    counter!("tessera_commands_total").absolute(gateway.commands_in);
    counter!("tessera_messages_total").absolute(gateway.messages_out);
    counter!("tessera_gateway_rejects_total").absolute(gateway.gateway_rejects);
    counter!("tessera_busy_rejects_total").absolute(gateway.busy_rejects);
    counter!("tessera_protocol_errors_total").absolute(gateway.protocol_errors);
    counter!("tessera_slow_consumers_total").absolute(gateway.slow_consumers);
    let stages: [(&'static str, &Percentiles); 6] = [
        ("matching", &stats.matching),
        ("framing", &stats.framing),
        ("durability", &stats.durability),
        ("sync", &stats.sync),
        ("tape", &stats.tape),
        ("ack", &stats.ack),
    ];
    for (stage, percentiles) in stages {
        let quantiles = [
            ("0.5", percentiles.p50_ns),
            ("0.99", percentiles.p99_ns),
            ("0.999", percentiles.p99_9_ns),
            ("1", percentiles.max_ns),
        ];
        for (quantile, ns) in quantiles {
            gauge!("tessera_latency_seconds", "stage" => stage, "quantile" => quantile)
                .set(ns as f64 / 1e9);
        }
        counter!("tessera_latency_count", "stage" => stage).absolute(percentiles.count);
    }
}
