//! What is measured: streams of commands from fixed seeds, made before the clock starts.
//!
//! A flow knows no engine. Client ids are dense, 1, 2, 3 in order of the new orders; every command is
//! in the venue's session, as in an order script.

mod auction;
mod making;
mod market;
mod moves;
mod sweep;

use std::fmt;
use std::str::FromStr;

use tessera_types::{
    ClientHeader, Command, Instrument, ListInstrument, Name, Seq, Sequenced, Timestamp,
};

pub use market::Scenario;

/// A workload by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// One book, 1,000 resting orders, mostly moves near the touch.
    W1,
    /// As W1 with 1,000,000 resting orders.
    W2,
    /// 1,000 books with 1,000 resting orders each.
    W3,
    /// One of the five market scenarios.
    Market(Scenario),
    /// Orders that take many others at once.
    Sweep,
    /// Calls: orders collect, cross at one price, and a little trading follows.
    Auction,
}

impl Flow {
    /// Every flow, in the order of the tables.
    pub const ALL: [Self; 10] = [
        Self::W1,
        Self::W2,
        Self::W3,
        Self::Market(Scenario::Static),
        Self::Market(Scenario::Normal),
        Self::Market(Scenario::Swing25),
        Self::Market(Scenario::Swing40),
        Self::Market(Scenario::FlashCrash),
        Self::Sweep,
        Self::Auction,
    ];

    /// Its name in options and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::W1 => "W1",
            Self::W2 => "W2",
            Self::W3 => "W3",
            Self::Market(scenario) => scenario.name(),
            Self::Sweep => "sweep",
            Self::Auction => "auction",
        }
    }

    /// What it is, in a line.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::W1 => {
                "one book, 1,000 orders at the start; 52 % moves of a price, 40 % new orders and \
                 cancels that keep the number, 8 % immediate-or-cancel orders reaching 3 ticks across the mid"
            }
            Self::W2 => {
                "as W1 with 1,000,000 orders at the start, a quarter of them up to 5,000 ticks away"
            }
            Self::W3 => {
                "1,000 books with 1,000 orders each at the start, commands spread evenly over them"
            }
            Self::Market(scenario) => scenario.describe(),
            Self::Sweep => {
                "one book, about 2,000 orders on 100 levels; every tenth command takes up to 1,200 lots"
            }
            Self::Auction => {
                "one book; 1,000 crossing orders collect, an auction trades them, 200 commands of \
                 continuous trading, leftovers canceled, again"
            }
        }
    }

    /// The seed that is measured when none is asked for.
    #[must_use]
    pub const fn seed(self) -> u64 {
        match self {
            Self::Market(scenario) => scenario.seed(),
            _ => 23,
        }
    }

    /// The commands of this flow; `seed` chooses among equals.
    #[must_use]
    pub fn workload(self, commands: usize, seed: u64) -> Workload {
        let (books, fill, commands) = match self {
            Self::W1 => moves::flow(1, 1_000, commands, seed),
            Self::W2 => moves::flow(1, 1_000_000, commands, seed),
            Self::W3 => moves::flow(1_000, 1_000, commands, seed),
            Self::Market(scenario) => (1, Vec::new(), market::flow(scenario, commands, seed)),
            Self::Sweep => sweep::flow(commands, seed),
            Self::Auction => (1, Vec::new(), auction::flow(commands, seed)),
        };
        Workload::new(self.name(), books, fill, commands)
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Flow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|flow| flow.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("no flow is called {text}; there are {names}")
        })
    }
}

/// A flow's commands: what comes before the clock starts, and what is measured.
#[derive(Debug)]
pub struct Workload {
    /// The flow's name.
    pub name: &'static str,
    /// How many books there are, numbered from 0.
    pub books: u32,
    /// Lists the books.
    pub listings: Vec<Sequenced>,
    /// Fills them.
    pub fill: Vec<Sequenced>,
    /// What is measured.
    pub commands: Vec<Sequenced>,
}

impl Workload {
    /// A flow as W1, W2 and W3 are, of any size: books, orders of each, commands.
    #[must_use]
    pub fn moves(name: &'static str, books: u32, each: usize, count: usize, seed: u64) -> Self {
        let (books, fill, commands) = moves::flow(books, each, count, seed);
        Self::new(name, books, fill, commands)
    }

    fn new(name: &'static str, books: u32, fill: Vec<Command>, commands: Vec<Command>) -> Self {
        let mut seq = 0;
        let mut sequenced = |commands: Vec<Command>| -> Vec<Sequenced> {
            let next = |command| {
                seq += 1;
                Sequenced {
                    seq: Seq::new(seq),
                    time: Timestamp::from_nanos(seq),
                    command,
                }
            };
            commands.into_iter().map(next).collect()
        };
        Self {
            name,
            books,
            listings: sequenced((0..books).map(listing).collect()),
            fill: sequenced(fill),
            commands: sequenced(commands),
        }
    }
}

/// Lists book `number` as a plain instrument.
#[must_use]
pub fn listing(number: u32) -> Command {
    let name = Name::new(&format!("B{number}")).expect("a letter and a number are a name");
    Command::ListInstrument(Box::new(ListInstrument {
        header: ClientHeader::default(),
        instrument: Instrument::plain(name),
    }))
}
