//! Orders, and how an incoming one meets the book.

use tessera_types::SelfMatch;

use super::contracts::Backing;
use super::{MatchAlgo, Model, NewOrder, OrdType, Phase, Side, TimeInForce};

/// A live order, or an incoming one.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) id: u64,
    pub(super) party: String,
    pub(super) instrument: usize,
    pub(super) side: Side,
    /// A stop becomes a market or a limit order when it is elected.
    pub(super) kind: OrdType,
    pub(super) tif: TimeInForce,
    pub(super) self_match: SelfMatch,
    pub(super) post_only: bool,
    pub(super) all_or_none: bool,
    pub(super) price: Option<i64>,
    /// Trigger price; a trailing stop has none before the first trade.
    pub(super) stop: Option<i64>,
    pub(super) trail: Option<i64>,
    pub(super) open: u64,
    pub(super) filled: u64,
    pub(super) min_qty: u64,
    pub(super) display: Option<u64>,
    /// What is shown while it rests.
    pub(super) slice: u64,
    pub(super) expire: u64,
    pub(super) budget: Option<u64>,
    /// Higher is younger.
    pub(super) age: u64,
    /// Lower is further ahead in the queue of its price.
    pub(super) place: u64,
    pub(super) state: State,
    /// Came with a mass quote.
    pub(super) quote: bool,
    /// What stands behind a sell on a contract.
    pub(super) backing: Option<Backing>,
}

/// Where a live order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// In the book, or a market order waiting for an auction.
    Book,
    /// Waiting for a trade price.
    Stop,
}

impl Order {
    pub(super) fn new(party: &str, instrument: usize, new: &NewOrder, quote: bool) -> Self {
        use tessera_types::ExecInst;
        let is_stop = matches!(
            new.ord_type,
            OrdType::Stop | OrdType::StopLimit | OrdType::TrailingStop
        );
        Self {
            id: new.header.cl_ord_id.get(),
            party: party.to_owned(),
            instrument,
            side: new.side,
            kind: new.ord_type,
            tif: new.time_in_force,
            self_match: new.self_match,
            post_only: new.exec_inst.contains(ExecInst::POST_ONLY),
            all_or_none: new.exec_inst.contains(ExecInst::ALL_OR_NONE),
            price: new.ord_type.has_price().then_some(new.price.ticks()),
            stop: matches!(new.ord_type, OrdType::Stop | OrdType::StopLimit).then_some(new.trigger),
            trail: (new.ord_type == OrdType::TrailingStop).then_some(new.trigger),
            open: new.qty.lots(),
            filled: 0,
            min_qty: new.min_qty.lots(),
            display: (new.ord_type == OrdType::Iceberg).then_some(new.display.lots()),
            slice: 0,
            expire: new.expire.nanos(),
            budget: new.budget,
            age: 0,
            place: 0,
            state: if is_stop { State::Stop } else { State::Book },
            quote,
            backing: None,
        }
    }

    /// Total quantity: what has been filled and what is open.
    pub(super) fn total(&self) -> u64 {
        self.filled + self.open
    }

    /// Takes quantity off, hidden quantity first.
    pub(super) fn shrink(&mut self, by: u64) {
        self.open -= by;
        self.slice = self.slice.min(self.open);
    }

    /// The slice with which it joins a queue.
    pub(super) fn full_slice(&self) -> u64 {
        self.display
            .map_or(self.open, |display| display.min(self.open))
    }

    fn is_stop(&self) -> bool {
        matches!(
            self.kind,
            OrdType::Stop | OrdType::StopLimit | OrdType::TrailingStop
        )
    }
}

/// What has happened to an incoming order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traded {
    pub(super) qty: u64,
    pub(super) notional: i128,
    /// Self-trade prevention ended the incoming order.
    pub(super) ended: bool,
    /// The next trade would be beyond the band.
    pub(super) beyond: bool,
}

impl Model {
    /// Takes an accepted or replaced order in: a stop waits for its trigger, anything else enters.
    pub(super) fn enter_or_wait(&mut self, mut order: Order, on_entry: bool) {
        if !order.is_stop() {
            return self.enter(order, on_entry);
        }
        let last = self.listings[order.instrument].last_trade;
        if on_entry && let Some(last) = last {
            follow(&mut order, last);
        }
        if last.is_some_and(|last| is_reached(&order, last)) {
            self.trigger(order);
        } else {
            order.state = State::Stop;
            self.keep(order);
        }
    }

    /// A stop becomes the order it was to become, and enters.
    fn trigger(&mut self, mut order: Order) {
        let stop = order.stop.take().expect("an elected stop has a trigger");
        order.trail = None;
        let fields = format!(r#""id":{},"stop":{stop}"#, order.id);
        self.say("triggered", &fields);
        order.kind = match order.kind {
            OrdType::StopLimit => OrdType::Limit,
            _ => OrdType::Market,
        };
        order.state = State::Book;
        self.enter(order, true);
    }

    /// Puts a live order back among the others, in order of acceptance.
    pub(super) fn keep(&mut self, order: Order) {
        let index = self
            .orders
            .iter()
            .position(|other| other.age > order.age)
            .unwrap_or(self.orders.len());
        self.orders.insert(index, order);
    }

    /// An order meets the book. `on_entry` when it does so for the first time.
    pub(super) fn enter(&mut self, mut order: Order, on_entry: bool) {
        if self.listings[order.instrument].phase != Phase::Continuous {
            // New orders of these kinds were refused, so these were stops.
            return match order.tif {
                TimeInForce::Fok if on_entry => self.say_canceled(&order, "fok"),
                _ if on_entry && order.min_qty > 0 => self.say_canceled(&order, "min_qty"),
                TimeInForce::Ioc if on_entry && order.kind != OrdType::Market => {
                    self.say_canceled(&order, "ioc");
                }
                _ => self.rest(order),
            };
        }
        let limit = self.limit_of(&order);
        let conditional =
            order.tif == TimeInForce::Fok || order.all_or_none || on_entry && order.min_qty > 0;
        let could = if conditional {
            self.try_out(&order, limit)
        } else {
            Traded::default()
        };
        let whole = could.qty == order.open;
        if order.tif == TimeInForce::Fok && !(whole && within_budget(&order, could.notional)) {
            return self.say_canceled(&order, "fok");
        }
        // Fill-or-kill asks for more than any minimum, one that a reduce left above the rest included.
        if on_entry && order.tif != TimeInForce::Fok && could.qty < order.min_qty {
            return self.say_canceled(&order, "min_qty");
        }
        if !order.all_or_none || whole {
            let traded = self.match_order(&mut order, limit);
            if traded.ended || order.open == 0 {
                return;
            }
            if traded.beyond {
                self.interrupt(order.instrument);
            }
        }
        let collects = self.listings[order.instrument].phase == Phase::Auction;
        match (order.kind, order.tif) {
            (OrdType::Market, _) if collects => self.rest(order),
            (OrdType::Market, _) => self.say_canceled(&order, "no_liquidity"),
            (_, TimeInForce::Ioc) => self.say_canceled(&order, "ioc"),
            _ => self.rest(order),
        }
    }

    /// The worst price at which the order trades; none = any.
    fn limit_of(&self, order: &Order) -> Option<i64> {
        if order.kind != OrdType::Market {
            return order.price;
        }
        let protect = self.listings[order.instrument].terms.protect?;
        let best = self.best_price(order.instrument, order.side.opposite())?;
        let protect = i64::try_from(protect).unwrap_or(i64::MAX);
        Some(match order.side {
            Side::Buy => best.saturating_add(protect),
            Side::Sell => best.saturating_sub(protect),
        })
    }

    /// What the order could really trade, found by letting it trade in a copy of the exchange.
    pub(super) fn try_out(&self, order: &Order, limit: Option<i64>) -> Traded {
        let mut copy = self.clone();
        copy.match_order(&mut order.clone(), limit)
    }

    /// True when a resting order on the other side has a price that this one accepts.
    pub(super) fn would_cross(&self, order: &Order) -> bool {
        if self.is_contract(order.instrument) {
            return self.would_meet(order);
        }
        self.listings[order.instrument].phase == Phase::Continuous
            && self
                .best_price(order.instrument, order.side.opposite())
                .is_some_and(|best| accepts(order.side, order.price, best))
    }

    pub(super) fn best_price(&self, instrument: usize, side: Side) -> Option<i64> {
        let prices = self
            .orders
            .iter()
            .filter(|order| {
                order.instrument == instrument && order.side == side && order.state == State::Book
            })
            .filter_map(|order| order.price);
        match side {
            Side::Buy => prices.max(),
            Side::Sell => prices.min(),
        }
    }

    fn rest(&mut self, mut order: Order) {
        order.state = State::Book;
        // A market order that waits for an auction is like any other, once a stop or not.
        if order.tif == TimeInForce::Ioc {
            order.tif = TimeInForce::Gtc;
        }
        order.slice = order.full_slice();
        order.place = self.next_place;
        self.next_place += 1;
        if let Some(price) = order.price {
            let best = self.best_price(order.instrument, order.side);
            if best.is_none_or(|best| is_better(order.side, price, best)) {
                self.listings[order.instrument].top[order.side as usize] = Some(order.age);
            }
        }
        self.keep(order);
    }

    /// Lets an incoming order trade until nothing is left that it can trade with.
    pub(super) fn match_order(&mut self, taker: &mut Order, limit: Option<i64>) -> Traded {
        if self.is_contract(taker.instrument) {
            return self.match_on_contract(taker, limit, false);
        }
        let mut sum = Traded::default();
        while taker.open > 0 {
            let Some(first) = self.first_maker(taker, limit) else {
                break;
            };
            if self.is_beyond_band(taker.instrument, first) {
                sum.beyond = true;
                break;
            }
            let shared = self.listings[taker.instrument].terms.algo != MatchAlgo::Fifo
                && self.share_level(taker, limit, &mut sum);
            if !shared {
                self.meet(taker, first, u64::MAX, &mut sum);
            }
            if sum.ended {
                break;
            }
        }
        sum
    }

    /// Age of the resting order that the incoming one meets next.
    fn first_maker(&self, taker: &Order, limit: Option<i64>) -> Option<u64> {
        self.makers(taker, limit).first().copied()
    }

    /// Ages of all resting orders that the incoming one accepts, in order of price and place.
    /// All-or-none orders that are too large for it are passed over.
    pub(super) fn makers(&self, taker: &Order, limit: Option<i64>) -> Vec<u64> {
        let mut makers: Vec<(i64, u64, u64)> = self
            .orders
            .iter()
            .filter(|maker| {
                maker.instrument == taker.instrument
                    && maker.side != taker.side
                    && maker.state == State::Book
                    && !(maker.all_or_none && maker.open > taker.open)
            })
            .filter_map(|maker| {
                let price = maker.price?;
                let rank = match maker.side {
                    Side::Sell => price,
                    Side::Buy => -price,
                };
                accepts(taker.side, limit, price).then_some((rank, maker.place, maker.age))
            })
            .collect();
        makers.sort_unstable();
        makers.into_iter().map(|(_, _, age)| age).collect()
    }

    /// The incoming order meets one resting order: they trade up to `most`, or self-trade prevention
    /// says what happens instead.
    pub(super) fn meet(&mut self, taker: &mut Order, age: u64, most: u64, sum: &mut Traded) {
        let index = self.index_of(age);
        if taker.self_match != SelfMatch::None && self.orders[index].party == taker.party {
            return self.prevent(taker, index, sum);
        }
        let maker = &mut self.orders[index];
        let price = maker
            .price
            .expect("only orders with a price are in the book");
        let qty = maker.slice.min(taker.open).min(most);
        maker.open -= qty;
        maker.filled += qty;
        maker.slice -= qty;
        taker.open -= qty;
        taker.filled += qty;
        sum.qty += qty;
        sum.notional += i128::from(price) * i128::from(qty);
        if maker.slice == 0 && maker.open > 0 {
            maker.slice = maker.full_slice();
            maker.place = self.next_place;
            self.next_place += 1;
        }
        let maker = maker.clone();
        if maker.open == 0 {
            self.orders.remove(index);
        }
        self.say_fill(&maker, taker, price, qty, taker.side.as_str());
        self.note_trade(taker.instrument, price);
    }

    pub(super) fn prevent(&mut self, taker: &mut Order, index: usize, sum: &mut Traded) {
        match taker.self_match {
            SelfMatch::None => {}
            SelfMatch::CancelNew => {
                self.say_canceled(taker, "stp");
                sum.ended = true;
            }
            SelfMatch::CancelOld => self.cancel(index, "stp"),
            SelfMatch::CancelBoth => {
                self.cancel(index, "stp");
                self.say_canceled(taker, "stp");
                sum.ended = true;
            }
            SelfMatch::Decrement => {
                let by = self.orders[index].open.min(taker.open);
                self.orders[index].shrink(by);
                let maker = self.orders[index].clone();
                if maker.open == 0 {
                    self.cancel(index, "stp");
                } else {
                    self.say_decremented(&maker);
                }
                taker.open -= by;
                if taker.open == 0 {
                    self.say_canceled(taker, "stp");
                    sum.ended = true;
                } else {
                    self.say_decremented(taker);
                }
            }
        }
    }

    fn say_decremented(&mut self, order: &Order) {
        let fields = format!(r#""id":{},"open":{},"reason":"stp""#, order.id, order.open);
        self.say("reduced", &fields);
    }

    /// A trade was made: the instrument remembers it, stops will look at it.
    pub(super) fn note_trade(&mut self, instrument: usize, price: i64) {
        self.listings[instrument].last_trade = Some(price);
        self.listings[instrument].reference = Some(price);
        self.unseen_trades.push((instrument, price));
    }

    /// Elected stops enter one by one; those that they elect queue behind.
    pub(super) fn run_stops(&mut self) {
        loop {
            self.elect();
            let Some(order) = self.elected.pop_front() else {
                return;
            };
            self.trigger(order);
        }
    }

    /// Shows the trades so far to the waiting stops, and queues those elected, oldest first.
    fn elect(&mut self) {
        let mut elected = Vec::new();
        for (instrument, price) in std::mem::take(&mut self.unseen_trades) {
            for order in &mut self.orders {
                if order.instrument == instrument && order.state == State::Stop {
                    if is_reached(order, price) {
                        elected.push(order.age);
                    } else {
                        follow(order, price);
                    }
                }
            }
            self.orders.retain(|order| {
                let goes = elected.contains(&order.age);
                if goes {
                    self.elected.push_back(order.clone());
                }
                !goes
            });
        }
        // Those that queued before stay ahead of those elected now.
        let ahead = self.elected.len() - elected.len();
        self.elected.make_contiguous()[ahead..].sort_by_key(|order| order.age);
    }
}

fn within_budget(order: &Order, notional: i128) -> bool {
    match (order.budget, order.side) {
        (None, _) => true,
        (Some(budget), Side::Buy) => notional <= i128::from(budget),
        (Some(budget), Side::Sell) => notional >= i128::from(budget),
    }
}

/// A trailing stop follows a trade price in its favour only.
fn follow(order: &mut Order, last: i64) {
    if let Some(trail) = order.trail {
        order.stop = Some(match order.side {
            Side::Sell => {
                let stop = last.saturating_sub(trail);
                order.stop.map_or(stop, |old| old.max(stop))
            }
            Side::Buy => {
                let stop = last.saturating_add(trail);
                order.stop.map_or(stop, |old| old.min(stop))
            }
        });
    }
}

/// A buy stop is elected at or above its trigger, a sell stop at or below.
fn is_reached(order: &Order, last: i64) -> bool {
    order.stop.is_some_and(|stop| match order.side {
        Side::Buy => last >= stop,
        Side::Sell => last <= stop,
    })
}

/// True when an order of this side and limit takes this price; no limit takes any.
pub(super) fn accepts(side: Side, limit: Option<i64>, price: i64) -> bool {
    limit.is_none_or(|limit| match side {
        Side::Buy => price <= limit,
        Side::Sell => price >= limit,
    })
}

/// True when `price` is better for the other side than `than`.
fn is_better(side: Side, price: i64, than: i64) -> bool {
    match side {
        Side::Buy => price > than,
        Side::Sell => price < than,
    }
}
