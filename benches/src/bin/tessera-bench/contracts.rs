//! What the orders of compute contracts cost, and what they cost the plain orders beside them.

use std::process::ExitCode;
use std::time::Instant;

use tessera_engine::{EngineConfig, Exchange};
use tessera_types::{
    AccountId, AdvanceTime, AttestPool, Backing, BlockLimit, BlockOrder, Cancel, CarveOrder,
    Catalogue, ClOrdId, ClassDef, ClientHeader, ColoLevel, Command, ContractCommand, ContractTerms,
    DeclarePool, Efficiency, Event, Instrument, InstrumentId, Leg, ListInstrument, MigProfile,
    Name, Need, NewOrder, OrderTarget, Partition, PoolId, PoolPath, PreemptOrder, Price, Qty,
    Reclaim, RfqOrder, RfqQuote, Seq, Sequenced, SetCatalogue, Side, SubMode, SubOrder,
    TimeInForce, Timestamp,
};

/// What the orders of compute contracts cost.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Args {
    /// How often each command is timed.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// Resting substitution orders of the last table.
    #[arg(long, default_value_t = 100_000)]
    subs: u32,
    /// Contracts of the last table.
    #[arg(long, default_value_t = 10_000)]
    contracts: u32,
}

/// Prints the tables of `docs/performance.md`, section contracts.
pub(crate) fn run(args: &Args) -> ExitCode {
    println!("| command | median | slowest | events |\n|---|---:|---:|---:|");
    plain(args);
    substitution(args);
    strips(args);
    others(args);
    println!("\n| contracts | resting subs | plain command, ns |\n|---:|---:|---:|");
    crowd(args);
    ExitCode::SUCCESS
}

/// An exchange that numbers its commands.
struct Desk {
    exchange: Exchange,
    seq: u64,
    id: u64,
    events: Vec<Event>,
    instruments: u32,
    pools: u32,
}

impl Desk {
    fn new() -> Self {
        let name = |text: &str| Name::new(text).expect("a short name");
        let row = |class, partition, profile, factor| Efficiency {
            class,
            partition,
            profile,
            workload: 0,
            share: 10_000,
            overhead: 0,
            factor,
        };
        let mut efficiency: Vec<Efficiency> = (0..CLASSES)
            .map(|class| row(class, Partition::Whole, 0, 10_000))
            .collect();
        efficiency.extend((1..=6).map(|profile| row(0, Partition::Mig, profile, 1_000)));
        let profiles = MigProfile::ALL.iter().map(|profile| name(profile.as_str()));
        let catalogue = Catalogue {
            version: 1,
            tick_micro_usd: 60,
            classes: (0..CLASSES)
                .map(|class| ClassDef {
                    name: name(&format!("C{class}")),
                    slices: 7,
                    stake: 0,
                })
                .collect(),
            profiles: [name("whole")].into_iter().chain(profiles).collect(),
            zones: vec![name("z")],
            workloads: vec![name("w")],
            efficiency,
        };
        let mut desk = Self {
            exchange: Exchange::new(EngineConfig::default()),
            seq: 0,
            id: 0,
            events: Vec::new(),
            instruments: 0,
            pools: 0,
        };
        let header = ClientHeader::default();
        desk.must(Command::SetCatalogue(Box::new(SetCatalogue {
            header,
            catalogue,
        })));
        desk
    }

    fn header(&mut self, account: u32) -> ClientHeader {
        self.id += 1;
        ClientHeader {
            account: AccountId::new(account),
            cl_ord_id: ClOrdId::new(self.id),
            ..ClientHeader::default()
        }
    }

    /// Nanoseconds that the engine takes for a command; its events are kept.
    fn time(&mut self, command: Command) -> u64 {
        self.seq += 1;
        let sequenced = Sequenced {
            seq: Seq::new(self.seq),
            time: Timestamp::from_nanos(1),
            command,
        };
        self.events.clear();
        let begun = Instant::now();
        self.exchange.apply(&sequenced, &mut self.events);
        u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A command that must not be refused: a fast refusal is no figure.
    fn must(&mut self, command: Command) -> u64 {
        let told = format!("{:?}", command.kind());
        let nanos = self.time(command);
        if let Some(event) = self
            .events
            .iter()
            .find(|event| matches!(event, Event::Rejected { .. }))
        {
            panic!("{told}: {event:?}");
        }
        nanos
    }

    fn list(&mut self, terms: ContractTerms) -> InstrumentId {
        let name = Name::new(&format!("i{}", self.instruments)).expect("a short name");
        let mut instrument = Instrument::plain(name);
        instrument.max_price = Price::from_ticks(1 << 40);
        instrument.max_qty = Qty::from_lots((1 << 31) - 1);
        instrument.tick_micro_usd = 60;
        instrument.terms = Some(terms);
        let header = ClientHeader::default();
        self.must(Command::ListInstrument(Box::new(ListInstrument {
            header,
            instrument,
        })));
        self.instruments += 1;
        InstrumentId::new(self.instruments - 1)
    }

    fn pool(&mut self, account: u32, class: u16, devices: u32) -> PoolId {
        let header = self.header(account);
        let number = self.pools;
        self.pools += 1;
        self.must(Command::Contract(ContractCommand::Pool(Box::new(
            DeclarePool {
                header,
                name: Name::new(&format!("p{number}")).expect("a short name"),
                class,
                partition: Partition::Whole,
                profile: 0,
                zone: 0,
                path: PoolPath::new(&[1, 1, number]).expect("three components"),
                first_device: number * 2_000,
                devices,
            },
        ))));
        let pool = PoolId::new(number);
        self.must(Command::Contract(ContractCommand::Attest(Box::new(
            AttestPool {
                header,
                pool,
                qty: devices,
                until: Timestamp::from_nanos(u64::MAX >> 1),
                score: Some(9_000),
                stake: Some(0),
            },
        ))));
        pool
    }

    fn order(
        &mut self,
        account: u32,
        at: InstrumentId,
        side: Side,
        price: i64,
        qty: u64,
    ) -> NewOrder {
        let header = self.header(account);
        NewOrder::limit(
            header,
            at,
            side,
            Price::from_ticks(price),
            Qty::from_lots(qty),
        )
    }

    fn ask(&mut self, account: u32, at: InstrumentId, pool: PoolId, price: i64, qty: u64) {
        let mut order = self.order(account, at, Side::Sell, price, qty);
        order.backing = Backing::pool(pool);
        self.must(Command::NewOrder(order));
    }

    fn cancel(&mut self, id: u64) -> u64 {
        let header = self.header(BUYER);
        let target = OrderTarget::Client(ClOrdId::new(id));
        self.must(Command::Cancel(Cancel { header, target }))
    }

    fn sub(&mut self, start_hour: u32, qty: u32, limit: i64, mode: SubMode) -> Command {
        let header = self.header(BUYER);
        Command::Contract(ContractCommand::Sub(Box::new(SubOrder {
            header,
            start_hour,
            hours: 1,
            mode,
            qty,
            workload: 0,
            limit,
            legs: vec![Leg::ALL],
            time_in_force: TimeInForce::Gtc,
            need: Need::NOTHING,
        })))
    }
}

/// Times of one command.
#[derive(Default)]
struct Times {
    nanos: Vec<u64>,
    events: usize,
}

impl Times {
    fn add(&mut self, nanos: u64, desk: &Desk) {
        self.nanos.push(nanos);
        self.events = self.events.max(desk.events.len());
    }

    fn print(mut self, what: &str) -> f64 {
        self.nanos.sort_unstable();
        let median = self.nanos[self.nanos.len() / 2];
        let slowest = self.nanos.last().copied().unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "times are far below 2^52")]
        let micro = |nanos: u64| nanos as f64 / 1e3;
        println!(
            "| {what} | {:.2} us | {:.2} us | {} |",
            micro(median),
            micro(slowest),
            self.events
        );
        micro(median)
    }
}

const CLASSES: u16 = 8;
const BUYER: u32 = 900;
const START: u32 = 1_000;

const fn whole(class: u16, start_hour: u32) -> ContractTerms {
    ContractTerms {
        class,
        partition: Partition::Whole,
        profile: 0,
        tier: 2,
        zone: 0,
        start_hour,
        hours: 1,
        weight: 10_000,
        windows: 1,
        reclaim: None,
    }
}

/// A plain order on a contract: the measure of the others.
fn plain(args: &Args) {
    let mut desk = Desk::new();
    let book = desk.list(whole(0, START));
    let pool = desk.pool(1, 0, 1_000);
    let (mut enter, mut fill, mut cancel) = (Times::default(), Times::default(), Times::default());
    for _ in 0..args.times {
        let order = desk.order(BUYER, book, Side::Buy, 90, 5);
        let id = desk.id;
        let nanos = desk.must(Command::NewOrder(order));
        enter.add(nanos, &desk);
        let nanos = desk.cancel(id);
        cancel.add(nanos, &desk);
        let order = desk.order(BUYER, book, Side::Buy, 90, 1);
        desk.must(Command::NewOrder(order));
        let mut order = desk.order(1, book, Side::Sell, 90, 1);
        order.backing = Backing::pool(pool);
        let nanos = desk.must(Command::NewOrder(order));
        fill.add(nanos, &desk);
    }
    enter.print("plain buy on a contract, rests");
    fill.print("plain sell on a contract, fills it");
    cancel.print("plain buy on a contract, canceled");
}

/// A resting substitution order in eight contracts: entry, fill and cancel.
fn substitution(args: &Args) {
    let mut desk = Desk::new();
    let books: Vec<InstrumentId> = (0..CLASSES)
        .map(|class| desk.list(whole(class, START)))
        .collect();
    let pools: Vec<PoolId> = (0..CLASSES)
        .map(|class| desk.pool(1, class, 1_000))
        .collect();
    for (book, pool) in books.iter().zip(&pools) {
        desk.ask(1, *book, *pool, 200, 10);
    }
    let (mut enter, mut fill, mut cancel) = (Times::default(), Times::default(), Times::default());
    for turn in 0..args.times {
        let sub = desk.sub(START, 5, 90, SubMode::Units);
        let id = desk.id;
        let nanos = desk.must(sub);
        enter.add(nanos, &desk);
        let at = usize::try_from(turn).unwrap_or(0) % books.len();
        let mut order = desk.order(1, books[at], Side::Sell, 90, 1);
        order.backing = Backing::pool(pools[at]);
        let nanos = desk.must(Command::NewOrder(order));
        fill.add(nanos, &desk);
        let nanos = desk.cancel(id);
        cancel.add(nanos, &desk);
    }
    enter.print("substitution in 8 contracts, rests");
    fill.print("plain sell, fills one shadow of 8");
    cancel.print("substitution in 8 contracts, canceled");
}

/// Blocks over 64 pools that find no plan within their limit: decided, and nothing changes.
fn strips(args: &Args) {
    let mut desk = Desk::new();
    let books: Vec<InstrumentId> = (0..720)
        .map(|window| desk.list(whole(0, START + window)))
        .collect();
    for number in 0..64 {
        let pool = desk.pool(1 + number, 0, 100);
        for (window, book) in books.iter().enumerate() {
            let price = 100 + i64::from(number) + i64::try_from(window % 7).unwrap_or(0);
            desk.ask(1 + number, *book, pool, price, 4);
        }
    }
    for (windows, moves, flex) in [
        (24, 0, 0),
        (24, 3, 0),
        (720, 0, 0),
        (720, 3, 0),
        (24, 0, 100),
    ] {
        let mut times = Times::default();
        for _ in 0..args.times.min(50) {
            let header = desk.header(BUYER);
            let block = BlockOrder {
                header,
                instrument: books[0],
                qty: 2,
                windows,
                flex,
                level: ColoLevel::Pool,
                moves,
                fee: 1,
                limit: BlockLimit::Average(50),
                need: Need::NOTHING,
            };
            let nanos = desk.must(Command::Contract(ContractCommand::Block(Box::new(block))));
            times.add(nanos, &desk);
        }
        times.print(&format!(
            "block of {windows} windows, 64 pools, {moves} moves, flex {flex}"
        ));
    }
    // One that trades everything it looked at.
    let mut times = Times::default();
    let header = desk.header(BUYER);
    let block = BlockOrder {
        header,
        instrument: books[0],
        qty: 2,
        windows: 720,
        flex: 0,
        level: ColoLevel::Pool,
        moves: 0,
        fee: 0,
        limit: BlockLimit::Average(1_000),
        need: Need::NOTHING,
    };
    let nanos = desk.must(Command::Contract(ContractCommand::Block(Box::new(block))));
    times.add(nanos, &desk);
    times.print("block of 720 windows, 64 pools, trades");
}

/// The worst of the other commands: a pool with 256 asks that all shrink, a device cut seven times, a
/// request with 64 quotes, a preemption of many leases.
fn others(args: &Args) {
    let mut shrink = Times::default();
    for _ in 0..args.times.min(20) {
        let mut desk = Desk::new();
        let book = desk.list(whole(0, START));
        let pool = desk.pool(1, 0, 1_000);
        for place in 0..256 {
            desk.ask(1, book, pool, 100 + place, 1_000);
        }
        let order = desk.order(BUYER, book, Side::Buy, 100, 1);
        let nanos = desk.must(Command::NewOrder(order));
        shrink.add(nanos, &desk);
    }
    shrink.print("plain buy, one fill shrinks 255 asks of the pool");

    let mut sweep = Times::default();
    for _ in 0..args.times.min(20) {
        let mut desk = Desk::new();
        for class in 0..CLASSES {
            let book = desk.list(whole(class, START));
            for seller in 0..32 {
                let pool = desk.pool(1 + seller, class, 10);
                desk.ask(1 + seller, book, pool, 100 + i64::from(seller), 1);
            }
        }
        let sub = desk.sub(START, 256, 1_000, SubMode::Work);
        let nanos = desk.must(sub);
        sweep.add(nanos, &desk);
    }
    sweep.print("substitution takes 256 asks of 8 contracts");

    let (mut carve, mut slice) = (Times::default(), Times::default());
    for _ in 0..args.times.min(50) {
        let mut desk = Desk::new();
        let slices: Vec<InstrumentId> = (1..=6)
            .map(|profile| {
                desk.list(ContractTerms {
                    partition: Partition::Mig,
                    profile,
                    ..whole(0, START)
                })
            })
            .collect();
        let pool = desk.pool(1, 0, 8);
        for (book, price) in slices.iter().zip([5, 9, 9, 14, 18, 30]) {
            let order = desk.order(BUYER, *book, Side::Buy, price, 9);
            desk.must(Command::NewOrder(order));
        }
        let header = desk.header(1);
        let prices = [10, 12, 20, 30, 40, 70].map(|price| Some(Price::from_ticks(price)));
        let order = CarveOrder {
            header,
            pool,
            tier: 2,
            start_hour: START,
            hours: 1,
            prices,
        };
        let nanos = desk.must(Command::Contract(ContractCommand::Carve(Box::new(order))));
        carve.add(nanos, &desk);
        let order = desk.order(BUYER, slices[0], Side::Buy, 10, 7);
        let nanos = desk.must(Command::NewOrder(order));
        slice.add(nanos, &desk);
    }
    carve.print("carve in 6 profiles, rests");
    slice.print("plain buy of 7 slices, placed against resting demand");

    let (mut quote, mut award) = (Times::default(), Times::default());
    for _ in 0..args.times.min(20) {
        let mut desk = Desk::new();
        let book = desk.list(whole(0, START));
        let pools: Vec<PoolId> = (0..64).map(|seller| desk.pool(1 + seller, 0, 10)).collect();
        let header = desk.header(BUYER);
        let rfq = OrderTarget::Client(header.cl_ord_id);
        let order = RfqOrder {
            header,
            instrument: book,
            qty: 4,
            price: 1_000,
            level: ColoLevel::Pool,
            closes: Timestamp::from_nanos(1_000),
            max_quotes: 64,
            auto: true,
            need: Need::NOTHING,
        };
        desk.must(Command::Contract(ContractCommand::Rfq(Box::new(order))));
        for (seller, pool) in (1_u32..).zip(&pools) {
            let header = desk.header(seller);
            let order = RfqQuote {
                header,
                rfq,
                pool: *pool,
                price: 100 + i64::from(seller),
                notice_s: None,
            };
            let nanos = desk.must(Command::Contract(ContractCommand::Quote(Box::new(order))));
            quote.add(nanos, &desk);
        }
        desk.seq += 1;
        let sequenced = Sequenced {
            seq: Seq::new(desk.seq),
            time: Timestamp::from_nanos(2_000),
            command: Command::AdvanceTime(AdvanceTime),
        };
        desk.events.clear();
        let begun = Instant::now();
        desk.exchange.apply(&sequenced, &mut desk.events);
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        award.add(nanos, &desk);
    }
    quote.print("quote");
    award.print("request closes over 64 quotes");

    let mut preempt = Times::default();
    for _ in 0..args.times.min(20) {
        let mut desk = Desk::new();
        let book = desk.list(ContractTerms {
            tier: 1,
            hours: 12,
            reclaim: Some(Reclaim {
                notice_s: 60,
                compensation: 1,
                max_times: 10_000,
                min_run_s: 0,
                restart_minutes: 1,
            }),
            ..whole(0, START)
        });
        let pool = desk.pool(1, 0, 1_000);
        for holder in 0..1_000 {
            desk.ask(1, book, pool, 100, 1);
            let order = desk.order(10 + holder, book, Side::Buy, 100, 1);
            desk.must(Command::NewOrder(order));
        }
        let header = desk.header(BUYER);
        let order = PreemptOrder {
            header,
            instrument: book,
            qty: Qty::from_lots(1_000),
            price: Price::from_ticks(1_000),
            from_hour: START + 2,
        };
        let nanos = desk.must(Command::Contract(ContractCommand::Preempt(Box::new(order))));
        preempt.add(nanos, &desk);
    }
    preempt.print("preemption of 1,000 leases");
}

/// Plain orders beside many contracts and resting substitution orders.
fn crowd(args: &Args) {
    for subs in [0, args.subs] {
        let mut desk = Desk::new();
        let starts = args.contracts.div_ceil(u32::from(CLASSES));
        let mut books = Vec::new();
        for start in 0..starts {
            for class in 0..CLASSES {
                books.push(desk.list(whole(class, START + start)));
            }
        }
        for sub in 0..subs {
            let order = desk.sub(
                START + sub % starts,
                1,
                50 + i64::from(sub % 20),
                SubMode::Units,
            );
            desk.must(order);
        }
        let mut nanos = Vec::new();
        for turn in 0..100_000_usize {
            // A step that visits the books in no order that a cache would guess.
            let book = books[turn * 7_919 % books.len()];
            let order = desk.order(BUYER + 1, book, Side::Buy, 40, 1);
            let id = desk.id;
            nanos.push(desk.must(Command::NewOrder(order)));
            nanos.push(desk.cancel(id));
        }
        nanos.sort_unstable();
        println!("| {} | {subs} | {} |", books.len(), nanos[nanos.len() / 2]);
    }
}
