//! An exchange that is warm allocates nothing, whatever it is asked.
//!
//! Random scripts with every feature run against one exchange again and again, each time from an
//! empty book, until its memory has grown to what they need; the last run is counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use tessera::sim::Runner;
use tessera_engine::{EngineConfig, Exchange};
use tessera_tests::scripts::{Features, random_script};
use tessera_types::{
    ClientHeader, Command, Event, MassCancel, Phase, Seq, Sequenced, SetPhase, Timestamp,
};

/// Scripts are this long in time at most; each run gets a span of its own.
const SPAN_NS: u64 = 1 << 20;
const RUNS: u64 = 6;

#[test]
fn a_warm_exchange_allocates_nothing() {
    let (mut trades, mut auctions, mut cold) = (0, 0, 0);
    for seed in 0..60 {
        let allowed = Features {
            malformed: false,
            extremes: false,
            ..Features::ALL
        };
        let (listings, commands) = commands(seed, allowed);
        let mut exchange = Exchange::new(EngineConfig::default());
        let mut clock = Clock::default();
        let mut events: Vec<Event> = Vec::with_capacity(100_000);
        for command in listings {
            exchange.apply(&clock.stamp(command), &mut events);
        }
        for run in 0..RUNS {
            let mut ready = clock.shift(&commands, run * SPAN_NS);
            ready.extend(empty(&exchange).map(|command| clock.stamp(command)));
            events.clear();
            let before = ALLOCATIONS.get();
            for command in &ready {
                exchange.apply(black_box(command), &mut events);
            }
            let allocated = ALLOCATIONS.get() - before;
            cold += if run == 0 { allocated } else { 0 };
            assert!(
                run + 1 < RUNS || allocated == 0,
                "seed {seed}: {allocated} allocations in a warm exchange"
            );
            assert_eq!(
                exchange.live_orders(),
                0,
                "each run begins with empty books"
            );
        }
        let count =
            |wanted: fn(&Event) -> bool| events.iter().filter(|&event| wanted(event)).count();
        trades += count(|event| matches!(event, Event::Trade { .. }));
        auctions += count(|event| matches!(event, Event::AuctionCleared { .. }));
    }
    assert!(cold > 0, "a cold exchange allocates, or nothing is counted");
    println!("{trades} trades and {auctions} auctions without an allocation");
    assert!(
        trades > 1_000 && auctions > 50,
        "{trades} trades, {auctions} auctions"
    );
}

/// The commands of a script, its listings apart.
fn commands(seed: u64, allowed: Features) -> (Vec<Command>, Vec<Sequenced>) {
    let mut runner = Runner::new(EngineConfig::default(), false);
    runner.keep_commands();
    for line in random_script(seed, allowed, 400) {
        let _ = runner.line(line.as_bytes(), &mut String::new());
    }
    let (mut listings, mut others) = (Vec::new(), Vec::new());
    for sequenced in runner.commands() {
        match &sequenced.command {
            Command::ListInstrument(_) => listings.push(sequenced.command.clone()),
            _ => others.push(sequenced.clone()),
        }
    }
    (listings, others)
}

/// What empties every book and opens it for trading.
fn empty(exchange: &Exchange) -> impl Iterator<Item = Command> + use<> {
    let header = ClientHeader::default();
    let numbers: Vec<_> = exchange.instruments().map(|(id, ..)| id).collect();
    let all = Command::MassCancel(MassCancel {
        header,
        account: None,
        instrument: None,
        side: None,
    });
    let open = numbers.into_iter().map(move |instrument| {
        Command::SetPhase(SetPhase {
            header,
            instrument,
            phase: Phase::Continuous,
            ref_price: None,
        })
    });
    core::iter::once(all).chain(open)
}

/// Sequence and time of the next command.
#[derive(Debug, Default)]
struct Clock {
    seq: Seq,
    now: u64,
}

impl Clock {
    fn stamp(&mut self, command: Command) -> Sequenced {
        self.seq = self.seq.next();
        Sequenced {
            seq: self.seq,
            time: Timestamp::from_nanos(self.now),
            command,
        }
    }

    /// The commands at their times after `start`.
    fn shift(&mut self, commands: &[Sequenced], start: u64) -> Vec<Sequenced> {
        let shift = |sequenced: &Sequenced| {
            self.now = start + sequenced.time.nanos();
            let mut command = sequenced.command.clone();
            if let Command::NewOrder(order) = &mut command
                && order.expire.nanos() != 0
            {
                order.expire = Timestamp::from_nanos(start + order.expire.nanos());
            }
            self.stamp(command)
        };
        commands.iter().map(shift).collect()
    }
}

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The system's allocator, counting what each thread asks of it.
struct Counting;

#[expect(unsafe_code, reason = "an allocator that counts has no safe form")]
// SAFETY: every call goes to `System` unchanged, which upholds the contract; counting touches a
// constant-initialised thread local without a destructor, which itself never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `memory` came from `alloc` above, so from `System`, with this layout.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as in `dealloc`, and the caller's promise about `size` is passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}
