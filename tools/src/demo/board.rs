//! What the feed says, kept for the participants and for the terminal.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tessera_market_data::{Increment, IncrementKind, LevelEntry, Mirror};
use tessera_types::{Aggressor, InstrumentId, Price, Side};

use super::strategy::{Index, Quote};

/// The top of every contract's book, the tape and the index.
pub(crate) struct Board {
    contracts: Vec<Contract>,
    by_instrument: HashMap<InstrumentId, usize>,
    index: Index,
    tape: VecDeque<Print>,
    trades: u64,
    lots: u64,
}

/// One listed contract.
pub(crate) struct Contract {
    pub(crate) name: String,
    /// Micro-USD per unit-hour of one tick; 0 when prices are plain ticks.
    pub(crate) tick_micro_usd: u32,
    /// The top of the book, best first; none while the mirror is not exact.
    pub(crate) book: Option<Top>,
    /// Lots traded since the start.
    pub(crate) volume: u64,
    pub(crate) last: Option<Price>,
    instrument: InstrumentId,
    step: i64,
    is_traded: bool,
    /// Aggressive buying minus selling, in lots, fading.
    flow_lots: f64,
}

/// The best levels of a book, at most [`TOP`] of each side.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Top {
    pub(crate) bids: Vec<LevelEntry>,
    pub(crate) asks: Vec<LevelEntry>,
}

/// What a contract is, for [`Board::new`].
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) instrument: InstrumentId,
    pub(crate) name: String,
    /// Price step in ticks.
    pub(crate) step: i64,
    pub(crate) tick_micro_usd: u32,
    /// In ticks; without one the participants leave the contract alone.
    pub(crate) reference: Option<Price>,
}

/// One trade.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Print {
    /// Index of the contract.
    pub(crate) contract: usize,
    pub(crate) price: Price,
    pub(crate) lots: u64,
    pub(crate) aggressor: Aggressor,
}

impl Board {
    pub(crate) fn new(seed: u64, listings: Vec<Listing>) -> Self {
        let references: Vec<_> = listings
            .iter()
            .map(|listing| listing.reference.map_or(0.0, ticks))
            .collect();
        let by_instrument = listings
            .iter()
            .enumerate()
            .map(|(at, listing)| (listing.instrument, at))
            .collect();
        let contracts = listings
            .into_iter()
            .map(|listing| Contract {
                name: listing.name,
                tick_micro_usd: listing.tick_micro_usd,
                book: None,
                volume: 0,
                last: None,
                instrument: listing.instrument,
                step: listing.step,
                is_traded: listing.reference.is_some(),
                flow_lots: 0.0,
            })
            .collect();
        Self {
            contracts,
            by_instrument,
            index: Index::new(seed, references),
            tape: VecDeque::new(),
            trades: 0,
            lots: 0,
        }
    }

    /// Takes an increment: of these, only trades are not in the books.
    pub(crate) fn on_increment(&mut self, increment: &Increment) {
        if let IncrementKind::Trade {
            price,
            qty,
            aggressor,
            ..
        } = increment.kind
            && let Some(&contract) = self.by_instrument.get(&increment.instrument)
        {
            self.on_trade(Print {
                contract,
                price,
                lots: qty.lots(),
                aggressor,
            });
        }
    }

    /// Copies the top of a mirror, if it is exact.
    pub(crate) fn on_book(&mut self, mirror: &Mirror) {
        let Some(&at) = self.by_instrument.get(&mirror.instrument()) else {
            return;
        };
        let top = &mut self.contracts[at].book;
        let Some(book) = mirror.book() else {
            *top = None;
            return;
        };
        let top = top.get_or_insert_default();
        top.bids.clear();
        top.bids.extend(book.levels(Side::Buy).take(TOP));
        top.asks.clear();
        top.asks.extend(book.levels(Side::Sell).take(TOP));
    }

    /// Time passes: the index moves and the flow fades.
    pub(crate) fn step(&mut self, elapsed: Duration) {
        self.index.step(elapsed);
        let fade = (-elapsed.as_secs_f64() / FLOW_MEMORY_S).exp();
        for contract in &mut self.contracts {
            contract.flow_lots *= fade;
        }
    }

    /// What the participants see: the contracts that have a reference price and an exact book.
    pub(crate) fn quotes(&self) -> Vec<Quote> {
        self.contracts
            .iter()
            .enumerate()
            .filter(|(_, contract)| contract.is_traded)
            .filter_map(|(at, contract)| {
                let book = contract.book.as_ref()?;
                let touch = |entry: &LevelEntry| (entry.price.ticks(), entry.qty.lots());
                Some(Quote {
                    instrument: contract.instrument,
                    step: contract.step,
                    fair: self.index.fair(at),
                    bid: book.bids.first().map(touch),
                    ask: book.asks.first().map(touch),
                    flow: (contract.flow_lots / FLOW_FULL_LOTS).clamp(-1.0, 1.0),
                })
            })
            .collect()
    }

    pub(crate) fn contracts(&self) -> &[Contract] {
        &self.contracts
    }

    /// The newest trades first.
    pub(crate) fn tape(&self) -> impl Iterator<Item = &Print> + '_ {
        self.tape.iter()
    }

    /// Trades seen.
    pub(crate) const fn trades(&self) -> u64 {
        self.trades
    }

    /// Lots traded.
    pub(crate) const fn lots(&self) -> u64 {
        self.lots
    }

    fn on_trade(&mut self, print: Print) {
        let contract = &mut self.contracts[print.contract];
        contract.last = Some(print.price);
        contract.volume += print.lots;
        #[expect(clippy::cast_precision_loss, reason = "an opinion about recent lots")]
        let lots = print.lots as f64;
        contract.flow_lots += match print.aggressor {
            Aggressor::Buy => lots,
            Aggressor::Sell => -lots,
            Aggressor::None => 0.0,
        };
        self.trades += 1;
        self.lots += print.lots;
        self.tape.truncate(TAPE - 1);
        self.tape.push_front(print);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "reference prices are far below 2^53 ticks"
)]
fn ticks(price: Price) -> f64 {
    price.ticks() as f64
}

/// After this many seconds a third of the flow is left.
const FLOW_MEMORY_S: f64 = 5.0;
/// One-sided lots within the memory that count as full flow.
const FLOW_FULL_LOTS: f64 = 60.0;
/// Levels per side that the largest terminal shows.
pub(crate) const TOP: usize = 40;
/// Trades kept for the terminal.
const TAPE: usize = 64;

#[cfg(test)]
mod tests {
    use tessera_market_data::BookSnapshot;
    use tessera_types::{ExecId, Phase, Qty, Seq, Timestamp};

    use super::*;

    fn listing(number: u32) -> Listing {
        Listing {
            instrument: InstrumentId::new(number),
            name: format!("c{number}"),
            step: 1,
            tick_micro_usd: 600,
            reference: Some(Price::from_ticks(4_000)),
        }
    }

    fn mirror(number: u32) -> Mirror {
        let level = |price| LevelEntry {
            price: Price::from_ticks(price),
            qty: Qty::from_lots(5),
            orders: 1,
        };
        let instrument = InstrumentId::new(number);
        let mut mirror = Mirror::new(instrument);
        mirror.on_snapshot(&BookSnapshot {
            request: 1,
            instrument,
            epoch: 1,
            last_seq_applied: 0,
            rpt_seq: 0,
            seq: Seq::ZERO,
            time: Timestamp::ZERO,
            phase: Phase::Continuous,
            bids: vec![level(3_990), level(3_980)],
            asks: vec![level(4_010)],
            last_trade: None,
        });
        mirror
    }

    fn trade() -> Increment {
        Increment {
            channel_seq: 1,
            epoch: 1,
            seq: Seq::new(1),
            time: Timestamp::ZERO,
            instrument: InstrumentId::new(0),
            rpt_seq: 1,
            last_fragment: true,
            kind: IncrementKind::Trade {
                price: Price::from_ticks(4_010),
                qty: Qty::from_lots(30),
                aggressor: Aggressor::Buy,
                match_id: ExecId::new(1),
            },
        }
    }

    #[test]
    fn participants_see_only_exact_books() {
        let mut board = Board::new(1, vec![listing(0), listing(1)]);
        assert_eq!(board.quotes(), []);
        let mut mirror = mirror(0);
        board.on_book(&mirror);
        board.on_increment(&trade());
        let [quote] = board.quotes()[..] else {
            panic!("one book is there");
        };
        assert_eq!((quote.bid, quote.ask), (Some((3_990, 5)), Some((4_010, 5))));
        assert!((quote.flow - 0.5).abs() < 1e-9);
        mirror.on_reset();
        board.on_book(&mirror);
        assert_eq!(board.quotes(), []);
        assert_eq!((board.trades(), board.lots()), (1, 30));
        let contract = &board.contracts()[0];
        assert_eq!(
            (contract.volume, contract.last),
            (30, Some(Price::from_ticks(4_010)))
        );
    }

    #[test]
    fn contracts_without_a_reference_are_left_alone() {
        let mut board = Board::new(
            1,
            vec![Listing {
                reference: None,
                ..listing(0)
            }],
        );
        board.on_book(&mirror(0));
        assert_eq!(board.quotes(), []);
        assert_eq!(
            board.contracts()[0].book.as_ref().map(|top| top.bids.len()),
            Some(2)
        );
    }

    #[test]
    fn flow_fades_and_the_tape_is_bounded() {
        let mut board = Board::new(1, vec![listing(0)]);
        board.on_book(&mirror(0));
        for _ in 0..2 * TAPE {
            board.on_increment(&trade());
        }
        assert_eq!(board.tape().count(), TAPE);
        board.step(Duration::from_secs(60));
        assert!(board.quotes()[0].flow < 0.01);
    }
}
