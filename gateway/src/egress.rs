//! From the rings of the core and the market data to the streams of clients, held until durable.

use std::rc::Rc;

use tessera_market_data::FeedItem;
use tessera_proto::convert::{Report, reports};
use tessera_ring::spsc::Consumer;
use tessera_types::{Event, EventRecord, Seq, ServerSeq, SessionId};
use tracing::error;

use crate::clock::utc;
use crate::link::Link;
use crate::shard::ShardState;

/// The consuming ends of a shard's two incoming rings.
#[derive(Debug)]
pub(crate) struct Egress {
    events: Consumer<EventRecord>,
    feed: Consumer<FeedItem>,
    /// Connections that got something in the drain in progress.
    touched: Vec<Rc<Link>>,
    /// Connections whose session is over in the engine: nothing comes for them any more.
    leaving: Vec<Rc<Link>>,
    /// Receive times of the commands answered in the drain in progress.
    received: Vec<u64>,
    answered: Seq,
}

impl Egress {
    pub(crate) fn new(events: Consumer<EventRecord>, feed: Consumer<FeedItem>) -> Self {
        Self {
            events,
            feed,
            touched: Vec::new(),
            leaving: Vec::new(),
            received: Vec::new(),
            answered: Seq::ZERO,
        }
    }

    /// Whether [`Egress::drain`] would do something, or the core has closed the ring.
    pub(crate) fn has_work(&self, state: &ShardState) -> bool {
        let durable = state.durable();
        let event = self.events.peek(0);
        event.is_some_and(|record| record.seq <= durable)
            || !self.feed.is_empty()
            || self.events.is_closed()
    }

    /// Whether the core has closed the ring. What it holds beyond `durable` does not leave.
    pub(crate) fn is_evicted(&self) -> bool {
        self.events.is_closed()
    }

    /// Moves a bounded number of events and feed items; true if there may be more at once.
    pub(crate) fn drain(&mut self, state: &ShardState) -> bool {
        let durable = state.durable();
        let mut events = 0;
        // Pairs with the cursor's Release: what is durable was written before.
        while events < MAX_EVENTS
            && self
                .events
                .peek(0)
                .is_some_and(|record| record.seq <= durable)
        {
            let Some(record) = self.events.try_pop() else {
                break;
            };
            events += 1;
            self.on_event(state, &record);
        }
        let mut items = 0;
        {
            let mut hub = state.hub.borrow_mut();
            items += self.feed.pop_batch(MAX_ITEMS, |item| {
                hub.on_item(item, &state.directory, durable);
            });
            hub.flush();
        }
        if events > 0 {
            for link in self.touched.drain(..) {
                link.flush(state);
            }
            for link in self.leaving.drain(..) {
                link.on_life_over();
            }
            self.count(state);
        }
        if items > 0 {
            state.ask_snapshots(); // answers have made room for more
        }
        events == MAX_EVENTS || items == MAX_ITEMS
    }

    fn on_event(&mut self, state: &ShardState, record: &EventRecord) {
        match record.event {
            Event::Level { .. } => return, // the market data's
            Event::SessionStarted { .. } => state.on_started(&record.event),
            Event::SessionFenced { .. } => self.leaving.extend(state.on_fenced(&record.event)),
            Event::PhaseChanged {
                instrument, phase, ..
            } => state.directory.set_phase(instrument, record.seq, phase),
            _ => {}
        }
        let mut told = false;
        let touched = &mut self.touched;
        let result = reports(record, |session, server_seq, report| {
            told |= tell(state, touched, session, server_seq, &report);
        });
        if let Err(error) = result {
            // Leaving the message out would be a hole in the numbers of whoever it is for.
            error!(seq = record.seq.get(), %error, "an event does not fit the protocol");
            for session in concerned(&record.event) {
                if let Some(link) = link_of(state, session) {
                    link.fail();
                }
            }
        }
        if told && record.seq > self.answered && record.received.nanos() != 0 {
            self.answered = record.seq;
            self.received.push(record.received.nanos());
        }
    }

    fn count(&mut self, state: &ShardState) {
        let now = utc().nanos();
        let mut tally = state.tally.borrow_mut();
        let latencies = self.received.drain(..).map(|then| now.saturating_sub(then));
        tally.ack_latencies_ns.extend(latencies);
        if tally.ack_latencies_ns.len() >= MAX_EVENTS {
            drop(tally);
            state.publish_stats();
        }
    }
}

fn tell(
    state: &ShardState,
    touched: &mut Vec<Rc<Link>>,
    session: SessionId,
    server_seq: ServerSeq,
    report: &Report,
) -> bool {
    let Some(link) = link_of(state, session) else {
        return false; // another shard's, or not connected
    };
    if link.queue(server_seq, report) {
        touched.push(link);
    }
    true
}

fn link_of(state: &ShardState, session: SessionId) -> Option<Rc<Link>> {
    state.life(session)?.link()
}

fn concerned(event: &Event) -> impl Iterator<Item = SessionId> {
    let (first, second) = match *event {
        Event::Trade { maker, taker, .. } => (Some(maker.session), Some(taker.session)),
        Event::OrderAccepted { party, .. }
        | Event::OrderCanceled { party, .. }
        | Event::OrderReduced { party, .. }
        | Event::OrderReplaced { party, .. }
        | Event::OrderTriggered { party, .. }
        | Event::OrderExpired { party, .. } => (Some(party.session), None),
        _ => (None, None),
    };
    first.into_iter().chain(second)
}

/// Events of one drain: enough to share one write among many, few enough that readers get their turn.
const MAX_EVENTS: usize = 1_024;
const MAX_ITEMS: usize = 1_024;
