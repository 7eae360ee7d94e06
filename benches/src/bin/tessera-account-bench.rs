//! What do accounts cost: an order with the margin check, a whole flow with margin and limits, and the
//! commands after a switch of the risk parameters with 10,000 accounts?
//!
//! Plain and guarded runs alternate, so that a disturbance of the machine meets both; the medians and
//! the best of the rounds are shown. One thread; pin it (`taskset -c 1`). The answer is checked after
//! each run: the ledger's sum is 0 and no order was refused that the plain run accepted.

#![expect(
    clippy::expect_used,
    reason = "a bench says what is wrong by panicking"
)]

use std::hint::black_box;
use std::time::Instant;

use tessera_benches::flows::{Flow, Workload};
use tessera_engine::{EngineConfig, Exchange};
use tessera_types::{
    AccountAction, AccountCommand, AccountId, Cancel, CashMove, ClOrdId, ClientHeader, Command,
    Event, EventSink, Instrument, InstrumentId, Limits, ListInstrument, Name, NewOrder,
    OrderTarget, Price, Qty, RiskAction, RiskBegin, RiskCommit, RiskParams, RiskRow, Scope, Seq,
    Sequenced, Side, Timestamp,
};

/// Takes events and counts what matters.
#[derive(Debug, Default)]
struct Counter {
    events: u64,
    rejected: u64,
}

impl EventSink for Counter {
    #[inline]
    fn emit(&mut self, event: Event) {
        self.events += 1;
        self.rejected += u64::from(matches!(event, Event::Rejected { .. }));
        black_box(&event);
    }
}

fn main() {
    let rounds: usize = std::env::args().nth(1).map_or(5, |text| {
        text.parse().expect("the number of rounds, a whole number")
    });
    one_order(rounds);
    flow(rounds);
    switch();
}

/// An exchange and the next place in its history.
struct Venue {
    exchange: Exchange,
    seq: u64,
    sink: Counter,
}

impl Venue {
    fn new() -> Self {
        Self {
            exchange: Exchange::new(EngineConfig {
                expected_orders: 1 << 20,
                ..EngineConfig::default()
            }),
            seq: 0,
            sink: Counter::default(),
        }
    }

    fn ask(&mut self, command: Command) {
        self.seq += 1;
        let sequenced = Sequenced {
            seq: Seq::new(self.seq),
            time: Timestamp::from_nanos(self.seq),
            command,
        };
        self.exchange.apply(&sequenced, &mut self.sink);
    }

    fn account(&mut self, action: AccountAction) {
        self.ask(Command::Account(Box::new(AccountCommand {
            header: ClientHeader::default(),
            action,
        })));
    }

    /// Margin, money and every limit for an account, all far away.
    fn guard(&mut self, id: AccountId) {
        self.account(AccountAction::Move {
            account: id,
            movement: CashMove::Deposit,
            amount: 1 << 48,
        });
        self.account(AccountAction::Open {
            account: id,
            margined: true,
        });
        self.account(AccountAction::Limits {
            scope: Scope::Account(id),
            limits: Limits {
                collar_bps: Some(100_000),
                max_qty: Some(1 << 40),
                max_value: Some(1 << 60),
                max_open_qty: Some(1 << 50),
                max_open_value: Some(1 << 62),
                max_position: Some(1 << 60),
                duplicate_ns: None,
            },
        });
    }

    /// A row for every instrument.
    fn parameters(&mut self, version: u32) {
        let names: Vec<Name> = self.exchange.instruments().map(|i| i.1.name).collect();
        let mut names = names;
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        let risk = |action| {
            Command::RiskParams(Box::new(RiskParams {
                header: ClientHeader::default(),
                action,
            }))
        };
        let rows = u32::try_from(names.len()).expect("few instruments");
        self.ask(risk(RiskAction::Begin(RiskBegin {
            version,
            rows,
            model: 1,
            seed: 1,
            scenarios: 10_000,
            step_limit_bps: 0,
            input_hash: [0; 32],
        })));
        let mut hasher = blake3::Hasher::new();
        for (number, product) in (0i64..).zip(names) {
            let row = RiskRow {
                version,
                product,
                losses: core::array::from_fn(|s| {
                    (number * 7_919 + s as i64 * 104_729 + i64::from(version)) % 2_001 - 1_000
                }),
                liquidity: vec![],
                concentration: vec![],
                delivery: vec![],
            };
            let mut bytes = Vec::new();
            row.hashed_bytes(&mut bytes);
            hasher.update(&bytes);
            self.ask(risk(RiskAction::Row(row)));
        }
        let table_hash = *hasher.finalize().as_bytes();
        self.ask(risk(RiskAction::Commit(RiskCommit {
            version,
            rows,
            table_hash,
        })));
        let now = self.exchange.risk_params().expect("accounts are used");
        assert_eq!(now.version, version, "the set is in force");
    }
}

fn list(venue: &mut Venue, name: &str) {
    venue.ask(Command::ListInstrument(Box::new(ListInstrument {
        header: ClientHeader::default(),
        instrument: Instrument {
            ref_price: Some(Price::from_ticks(1_000)),
            ..Instrument::plain(Name::new(name).expect("a short name"))
        },
    })));
}

fn order(account: u32, id: u64, instrument: u32, side: Side, price: i64) -> Command {
    let header = ClientHeader {
        account: AccountId::new(account),
        cl_ord_id: ClOrdId::new(id),
        ..ClientHeader::default()
    };
    let instrument = InstrumentId::new(instrument);
    let (price, qty) = (Price::from_ticks(price), Qty::from_lots(10));
    Command::NewOrder(NewOrder::limit(header, instrument, side, price, qty))
}

fn cancel(id: u64) -> Command {
    let id = ClOrdId::new(id);
    Command::Cancel(Cancel {
        header: ClientHeader {
            cl_ord_id: id,
            ..ClientHeader::default()
        },
        target: OrderTarget::Client(id),
    })
}

/// An order that rests and its cancel, in a warm book of 1,000 orders of 8 accounts; and the same with
/// an account so near its limit that the exact margin decides.
fn one_order(rounds: usize) {
    const PAIRS: u32 = 200_000;
    let book = |guarded: bool| {
        let mut venue = Venue::new();
        list(&mut venue, "A");
        if guarded {
            venue.parameters(1);
            (1..=9).for_each(|id| venue.guard(AccountId::new(id)));
        }
        for place in 0..500 {
            let (id, off) = (1 + 2 * u64::from(place), 2 + i64::from(place % 25));
            venue.ask(order(1 + place % 8, id, 0, Side::Buy, 1_000 - off));
            venue.ask(order(1 + place % 8, id + 1, 0, Side::Sell, 1_000 + off));
        }
        venue
    };
    let time = |venue: &mut Venue| {
        let commands = [order(9, 5_000, 0, Side::Buy, 995), cancel(5_000)];
        let mut pair = commands.map(|command| Sequenced {
            seq: Seq::new(venue.seq),
            time: Timestamp::from_nanos(venue.seq),
            command,
        });
        let begin = Instant::now();
        for _ in 0..PAIRS {
            venue.exchange.apply(black_box(&pair[0]), &mut venue.sink);
            venue.exchange.apply(black_box(&pair[1]), &mut venue.sink);
        }
        let nanos = begin.elapsed().as_nanos() as f64 / f64::from(PAIRS);
        pair[0].seq = Seq::new(0);
        assert_eq!(venue.sink.rejected, 0);
        assert_eq!(venue.exchange.ledger_sum(), 0);
        nanos
    };
    let (mut plain, mut guarded, mut near) = (book(false), book(true), book(true));
    // 9 may hold what its one order needs, and hardly more.
    near.account(AccountAction::Move {
        account: AccountId::new(9),
        movement: CashMove::Withdraw,
        amount: (1 << 48) - 10_000,
    });
    assert_eq!(near.sink.rejected, 0);
    let mut figures = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        for (venue, figures) in [&mut plain, &mut guarded, &mut near]
            .into_iter()
            .zip(&mut figures)
        {
            figures.push(time(venue));
        }
    }
    let [plain, guarded, near] = figures.map(median);
    println!(
        "new and cancel, ns a pair: plain {plain:.1}, guarded {guarded:.1}, near its limit {near:.1}"
    );
    println!(
        "  more for one order (half a pair): {:.1} ns, near its limit {:.1} ns",
        (guarded - plain) / 2.0,
        (near - plain) / 2.0
    );
}

/// W3 without and with margin and limits for every account.
fn flow(rounds: usize) {
    const COMMANDS: usize = 1_000_000;
    const ACCOUNTS: u64 = 100;
    let mut workload = Flow::W3.workload(COMMANDS, Flow::W3.seed());
    // Orders belong to accounts by their ids; other requests do not say whose they are.
    let all = workload.fill.iter_mut().chain(&mut workload.commands);
    for sequenced in all {
        match &mut sequenced.command {
            Command::NewOrder(order) => {
                let account = 1 + order.header.cl_ord_id.get() % ACCOUNTS;
                let account = u32::try_from(account).expect("at most 100");
                order.header.account = AccountId::new(account);
            }
            Command::Cancel(cancel) => cancel.header.account = AccountId::new(0),
            Command::Replace(replace) => replace.header.account = AccountId::new(0),
            _ => {}
        }
    }
    let accounts: Vec<u32> = (1..=100).collect();
    println!(
        "W3: {} accounts, {} instruments",
        accounts.len(),
        workload.books
    );
    let run = |workload: &Workload, guarded: bool| {
        let mut venue = Venue::new();
        for listing in &workload.listings {
            venue.exchange.apply(listing, &mut venue.sink);
        }
        if guarded {
            venue.parameters(1);
            accounts
                .iter()
                .for_each(|&id| venue.guard(AccountId::new(id)));
        }
        for command in &workload.fill {
            venue.exchange.apply(command, &mut venue.sink);
        }
        let begin = Instant::now();
        for command in &workload.commands {
            venue.exchange.apply(black_box(command), &mut venue.sink);
        }
        let rate = COMMANDS as f64 / begin.elapsed().as_secs_f64() / 1e6;
        assert_eq!(venue.exchange.ledger_sum(), 0);
        (rate, venue.sink.rejected)
    };
    let (mut plain, mut guarded) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (rate, refused) = run(&workload, false);
        plain.push(rate);
        let (rate, refused_too) = run(&workload, true);
        guarded.push(rate);
        assert_eq!(refused, refused_too, "the accounts have refused orders");
    }
    let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
    println!(
        "  M commands/s: plain {:.2} (best {:.2}), guarded {:.2} (best {:.2}); ratio of the best {:.2}",
        median(plain.clone()),
        best(&plain),
        median(guarded.clone()),
        best(&guarded),
        best(&guarded) / best(&plain)
    );
}

/// 10,000 accounts with 5 positions each: what the commit takes, and each command after it.
fn switch() {
    const ACCOUNTS: u32 = 10_000;
    let mut venue = Venue::new();
    for number in 0..500 {
        list(&mut venue, &format!("I{number:03}"));
    }
    venue.parameters(1);
    for account in 1..=ACCOUNTS {
        venue.guard(AccountId::new(account));
        for part in 0..5 {
            let (id, number) = (
                u64::from(account * 8 + part),
                (account * 7 + part * 101) % 500,
            );
            let side = if part % 2 == 0 { Side::Buy } else { Side::Sell };
            let price = if part % 2 == 0 { 900 } else { 1_100 };
            venue.ask(order(account, id, number, side, price));
        }
    }
    assert_eq!(venue.sink.rejected, 0);
    venue.parameters(2);
    let mut nanos = Vec::new();
    let mut id = 1 << 40;
    while venue
        .exchange
        .risk_params()
        .is_some_and(|risk| risk.waiting > 0)
    {
        id += 1;
        let command = order(
            1 + (id % 10_000) as u32,
            id,
            (id % 500) as u32,
            Side::Buy,
            800,
        );
        let begin = Instant::now();
        venue.ask(command);
        nanos.push(begin.elapsed().as_nanos() as f64);
    }
    let count = nanos.len();
    let most = nanos.iter().copied().fold(0.0, f64::max);
    println!(
        "switch with {ACCOUNTS} accounts of 5 positions: {count} commands until all are looked at, \
         median {:.1} us, largest {:.1} us",
        median(nanos) / 1e3,
        most / 1e3
    );
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
