//! One book per instrument, and the store that all books share.

mod check;
mod expiries;
pub(crate) mod ids;
pub(crate) mod index;
pub(crate) mod ladder;
pub(crate) mod matching;
pub(crate) mod order;
pub(crate) mod slab;
mod snapshot;
pub(crate) mod store;
mod touched;

use tessera_types::{Instrument, MatchAlgo, Phase, Price, Side};

use ladder::{Ladder, Node};
use order::{Place, Queue};
use slab::{NONE, Slab};

use crate::restart::Held;
use crate::volatility::GuardState;

/// One side of a book, or the waiting stops of one side: queues by rank, the best at hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Half {
    pub(crate) ladder: Ladder,
    /// The queue with the lowest rank.
    pub(crate) best: u32,
}

impl Half {
    const EMPTY: Self = Self {
        ladder: Ladder::EMPTY,
        best: NONE,
    };

    /// The queues from best to worst.
    pub(crate) fn queues<'a>(
        &self,
        queues: &'a Slab<Queue>,
        nodes: &'a Slab<Node>,
    ) -> impl Iterator<Item = u32> + use<'a> {
        let half = *self;
        let first = (half.best != NONE).then_some(half.best);
        core::iter::successors(first, move |&at| half.ladder.next(nodes, queues[at].rank))
    }
}

/// The book of one instrument: what every order touches, in two cache lines.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Book {
    /// Bids, asks.
    pub(crate) sides: [Half; 2],
    pub(crate) min_price: i64,
    pub(crate) max_price: i64,
    pub(crate) min_qty: u64,
    pub(crate) max_qty: u64,
    /// Price of the last trade.
    pub(crate) last: Option<i64>,
    /// Stops that wait, trailing ones included.
    pub(crate) stops_waiting: u32,
    /// All-or-none orders that rest.
    pub(crate) aon_resting: u32,
    /// Its number, which is also its place among the books.
    pub(crate) number: u32,
    pub(crate) phase: Phase,
    pub(crate) algo: MatchAlgo,
    /// It has a volatility guard.
    pub(crate) guarded: bool,
    /// Tick and lot are 1.
    pub(crate) unit_steps: bool,
    /// It is the book of a compute contract, whose orders take the way in `contracts`.
    pub(crate) contract: bool,
    pub(crate) rest: Box<BookRest>,
}

const _: () = assert!(size_of::<Book>() == 128);

/// What few orders touch.
#[derive(Debug)]
pub(crate) struct BookRest {
    pub(crate) instrument: Instrument,
    /// Reference of auctions, where one was given.
    pub(crate) ref_price: Option<i64>,
    /// Waiting stops by trigger: buys lowest first, sells highest first.
    pub(crate) stops: [Half; 2],
    /// Trailing stops.
    pub(crate) trails: [u32; 2],
    /// Market orders that wait for the auction to end.
    pub(crate) markets: [u32; 2],
    /// The order that last improved the best price, for the algorithms that favour it; 0 = none.
    pub(crate) top: [u64; 2],
    /// For the volatility guard, where there is one.
    pub(crate) guard: GuardState,
    /// All-or-none orders among the waiting market orders.
    pub(crate) aon_waiting: u32,
    /// What was last told of an auction that collects: price, volume, surplus.
    pub(crate) announced: Option<(i64, u64, i64)>,
    /// A restart has halted it, and where it goes on.
    pub(crate) held: Option<Held>,
}

impl Book {
    pub(crate) fn new(number: u32, instrument: Instrument) -> Self {
        Self {
            sides: [Half::EMPTY; 2],
            min_price: instrument.min_price.ticks(),
            max_price: instrument.max_price.ticks(),
            min_qty: instrument.min_qty.lots(),
            max_qty: instrument.max_qty.lots(),
            last: None,
            stops_waiting: 0,
            aon_resting: 0,
            number,
            phase: Phase::Continuous,
            algo: instrument.algo,
            guarded: instrument.volatility.is_some(),
            unit_steps: instrument.tick == 1 && instrument.lot == 1,
            contract: false,
            rest: Box::new(BookRest {
                ref_price: instrument.ref_price.map(Price::ticks),
                instrument,
                stops: [Half::EMPTY; 2],
                trails: [NONE; 2],
                markets: [NONE; 2],
                top: [0; 2],
                guard: GuardState {
                    reference: instrument.ref_price.map(Price::ticks),
                    ..GuardState::default()
                },
                aon_waiting: 0,
                announced: None,
                held: None,
            }),
        }
    }

    /// True while an auction collects whose outcome is told with every change.
    pub(crate) fn collects(&self) -> bool {
        self.phase == Phase::Auction && self.rest.instrument.indicative
    }

    #[inline]
    pub(crate) fn side(&self, side: Side) -> &Half {
        &self.sides[side as usize]
    }

    /// True when a change of an order that does not trade concerns this order alone.
    #[inline(always)]
    pub(crate) fn is_simple(&self) -> bool {
        self.phase == Phase::Continuous && self.aon_resting == 0 && !self.contract
    }

    /// True when the price lies on the tick and inside the bounds.
    #[inline(always)]
    pub(crate) fn price_fits(&self, price: i64) -> bool {
        (self.unit_steps || price % self.rest.instrument.tick == 0)
            && self.min_price <= price
            && price <= self.max_price
    }

    /// True when the quantity is a multiple of the lot.
    #[inline(always)]
    pub(crate) fn on_lot(&self, qty: u64) -> bool {
        self.unit_steps || qty.is_multiple_of(self.rest.instrument.lot)
    }

    /// True when an order may have this total.
    #[inline(always)]
    pub(crate) fn qty_fits(&self, qty: u64) -> bool {
        self.on_lot(qty) && self.min_qty <= qty && qty <= self.max_qty
    }

    /// Where a price stands on a ladder of this side: the best price has the lowest rank.
    ///
    /// Counted in steps of the tick, so that neighbouring prices share a leaf whatever the tick is.
    #[inline(always)]
    pub(crate) fn rank(&self, side: Side, price: i64) -> u64 {
        let step = if self.unit_steps {
            price
        } else {
            price.div_euclid(self.rest.instrument.tick)
        };
        let rising = step.cast_unsigned() ^ 1 << 63;
        // Turned round for the buy side, without a branch that no predictor can guess.
        rising ^ (side as u64).wrapping_sub(1)
    }

    /// The waiting room for a place without a ladder.
    pub(crate) fn room(&mut self, place: Place, side: Side) -> &mut u32 {
        match place {
            Place::Trail => &mut self.rest.trails[side as usize],
            _ => &mut self.rest.markets[side as usize],
        }
    }
}

/// True when an incoming order of this side with this limit trades at `price`.
#[inline(always)]
pub(crate) fn crosses(incoming: Side, limit: Option<i64>, price: i64) -> bool {
    let Some(limit) = limit else { return true };
    // For a seller both prices turned round, without a branch that no predictor can guess.
    let turn = -(incoming as i64);
    price ^ turn <= limit ^ turn
}
