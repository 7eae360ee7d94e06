//! The orders of one participant: what is out, what is asked, what came back.
//!
//! No I/O: a strategy says where it wants its orders, the desk makes the requests for that, and the
//! reports change what the desk knows. At most one request per order is in flight, so that a request
//! never names an order that an earlier one has changed.

use std::collections::{BTreeMap, HashMap};

use tessera_types::{ClOrdId, InstrumentId, Side};

/// Where a resting order of a strategy belongs. A slot holds one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot {
    pub(crate) instrument: InstrumentId,
    /// `Side` has no order of its own; buys first.
    sell: bool,
    pub(crate) layer: u8,
}

/// What a strategy wants in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// In ticks.
    pub(crate) price: i64,
    /// Open quantity in lots.
    pub(crate) lots: u32,
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) id: ClOrdId,
    pub(crate) instrument: InstrumentId,
    pub(crate) side: Side,
    pub(crate) kind: RequestKind,
}

/// Which kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// Rest in the book, or be rejected.
    Post { price: i64, lots: u32 },
    /// Take at once what there is up to the price.
    Take { price: i64, lots: u32 },
    /// Move a resting order; `lots` is the total, what has been filled included.
    Move {
        order: ClOrdId,
        price: i64,
        lots: u32,
    },
    /// End a resting order.
    Cancel { order: ClOrdId },
}

/// What the exchange said about one of our orders or requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The order is in.
    Accepted { order: ClOrdId },
    /// The order has another id, price and size.
    Moved {
        order: ClOrdId,
        before: ClOrdId,
        leaves: u32,
    },
    /// A part was filled.
    Filled {
        order: ClOrdId,
        price: i64,
        lots: u32,
        leaves: u32,
    },
    /// The order ended otherwise.
    Ended { order: ClOrdId },
    /// The request changed nothing.
    Refused { request: ClOrdId },
}

/// A fill of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) request: ClOrdId,
    pub(crate) instrument: InstrumentId,
    pub(crate) side: Side,
    pub(crate) price: i64,
    pub(crate) lots: u32,
}

/// What a participant has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// New orders that were accepted.
    pub(crate) orders: u64,
    /// Orders moved.
    pub(crate) moves: u64,
    /// Fills.
    pub(crate) fills: u64,
    /// Lots filled.
    pub(crate) lots: u64,
    /// Requests refused, most often a post-only that would have traded.
    pub(crate) refused: u64,
}

/// One participant's orders.
#[derive(Debug)]
pub(crate) struct Desk {
    last_id: ClOrdId,
    /// Resting orders by slot.
    resting: BTreeMap<Slot, Resting>,
    /// Slot of a resting order, by its id now.
    slots: HashMap<ClOrdId, Slot>,
    /// Slot of the order that a request in flight is about.
    in_flight: HashMap<ClOrdId, Slot>,
    /// Orders that take and never rest.
    taking: HashMap<ClOrdId, (InstrumentId, Side)>,
    positions: HashMap<InstrumentId, i64>,
    fills: Vec<Fill>,
    tally: Tally,
}

#[derive(Clone, Copy, Debug)]
struct Resting {
    id: ClOrdId,
    price: i64,
    leaves: u32,
    cum: u32,
    /// What is in flight, if anything.
    asked: Option<Asked>,
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    New,
    Move { price: i64 },
    Cancel,
}

impl Slot {
    pub(crate) const fn new(instrument: InstrumentId, side: Side, layer: u8) -> Self {
        Self {
            instrument,
            sell: matches!(side, Side::Sell),
            layer,
        }
    }

    pub(crate) const fn side(self) -> Side {
        if self.sell { Side::Sell } else { Side::Buy }
    }
}

impl Desk {
    /// A desk whose session has used client ids up to `last_id`.
    pub(crate) fn new(last_id: ClOrdId) -> Self {
        Self {
            last_id,
            resting: BTreeMap::new(),
            slots: HashMap::new(),
            in_flight: HashMap::new(),
            taking: HashMap::new(),
            positions: HashMap::new(),
            fills: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Lots bought minus lots sold.
    pub(crate) fn position(&self, instrument: InstrumentId) -> i64 {
        self.positions.get(&instrument).copied().unwrap_or(0)
    }

    pub(crate) const fn tally(&self) -> Tally {
        self.tally
    }

    /// How many orders rest.
    #[cfg(test)]
    pub(crate) fn resting(&self) -> usize {
        self.resting.len()
    }

    /// Price of the order in a slot, in ticks.
    pub(crate) fn price(&self, slot: Slot) -> Option<i64> {
        self.resting.get(&slot).map(|order| order.price)
    }

    /// Fills since the last call.
    pub(crate) fn take_fills(&mut self) -> Vec<Fill> {
        std::mem::take(&mut self.fills)
    }

    /// The request that brings a slot to its target, if one is needed and nothing is in flight.
    /// An order at the right price is left in the queue until half of it is gone.
    pub(crate) fn quote(&mut self, slot: Slot, target: Option<Target>) -> Option<Request> {
        let Some(order) = self.resting.get(&slot).copied() else {
            return self.post(slot, target?);
        };
        if order.asked.is_some() {
            return None;
        }
        let (kind, asked) = match target {
            None => (RequestKind::Cancel { order: order.id }, Asked::Cancel),
            Some(target) if target.price == order.price && order.leaves >= target.lots / 2 => {
                return None;
            }
            Some(target) => (
                RequestKind::Move {
                    order: order.id,
                    price: target.price,
                    lots: order.cum.saturating_add(target.lots),
                },
                Asked::Move {
                    price: target.price,
                },
            ),
        };
        let id = self.next_id();
        self.in_flight.insert(id, slot);
        if let Some(order) = self.resting.get_mut(&slot) {
            order.asked = Some(asked);
        }
        Some(Request {
            id,
            instrument: slot.instrument,
            side: slot.side(),
            kind,
        })
    }

    /// An order that takes what there is up to a price.
    pub(crate) fn take(
        &mut self,
        instrument: InstrumentId,
        side: Side,
        price: i64,
        lots: u32,
    ) -> Request {
        let id = self.next_id();
        self.taking.insert(id, (instrument, side));
        Request {
            id,
            instrument,
            side,
            kind: RequestKind::Take { price, lots },
        }
    }

    /// Takes what the exchange said.
    pub(crate) fn on_report(&mut self, report: Report) {
        match report {
            Report::Accepted { order } => {
                self.tally.orders += 1;
                self.answered(order);
            }
            Report::Moved {
                order,
                before,
                leaves,
            } => {
                self.tally.moves += 1;
                if let Some(slot) = self.slots.remove(&before) {
                    self.slots.insert(order, slot);
                    if let Some(resting) = self.resting.get_mut(&slot) {
                        if let Some(Asked::Move { price }) = resting.asked {
                            resting.price = price;
                        }
                        resting.id = order;
                        resting.leaves = leaves;
                    }
                }
                self.answered(order);
            }
            Report::Filled {
                order,
                price,
                lots,
                leaves,
            } => self.on_fill(order, price, lots, leaves),
            Report::Ended { order } => {
                self.taking.remove(&order);
                if let Some(slot) = self.slots.remove(&order) {
                    self.resting.remove(&slot);
                    // The answer to a cancel needs no request any more.
                    self.in_flight.retain(|_, at| *at != slot);
                }
            }
            Report::Refused { request } => {
                self.tally.refused += 1;
                self.taking.remove(&request);
                let Some(slot) = self.in_flight.remove(&request) else {
                    return;
                };
                if let Some(order) = self.resting.get_mut(&slot) {
                    if matches!(order.asked, Some(Asked::New)) {
                        self.slots.remove(&order.id);
                        self.resting.remove(&slot);
                    } else {
                        order.asked = None;
                    }
                }
            }
        }
    }

    fn post(&mut self, slot: Slot, target: Target) -> Option<Request> {
        if target.lots == 0 {
            return None;
        }
        let id = self.next_id();
        self.resting.insert(
            slot,
            Resting {
                id,
                price: target.price,
                leaves: target.lots,
                cum: 0,
                asked: Some(Asked::New),
            },
        );
        self.slots.insert(id, slot);
        self.in_flight.insert(id, slot);
        Some(Request {
            id,
            instrument: slot.instrument,
            side: slot.side(),
            kind: RequestKind::Post {
                price: target.price,
                lots: target.lots,
            },
        })
    }

    fn answered(&mut self, request: ClOrdId) {
        if let Some(slot) = self.in_flight.remove(&request)
            && let Some(order) = self.resting.get_mut(&slot)
        {
            order.asked = None;
        }
    }

    fn on_fill(&mut self, order: ClOrdId, price: i64, lots: u32, leaves: u32) {
        let Some((instrument, side)) = self.slots.get(&order).map_or_else(
            || self.taking.get(&order).copied(),
            |slot| Some((slot.instrument, slot.side())),
        ) else {
            return;
        };
        self.tally.fills += 1;
        self.tally.lots += u64::from(lots);
        let signed = match side {
            Side::Buy => i64::from(lots),
            Side::Sell => -i64::from(lots),
        };
        *self.positions.entry(instrument).or_default() += signed;
        self.fills.push(Fill {
            request: order,
            instrument,
            side,
            price,
            lots,
        });
        if leaves == 0 {
            self.taking.remove(&order);
        }
        if let Some(&slot) = self.slots.get(&order) {
            if leaves == 0 {
                self.slots.remove(&order);
                self.resting.remove(&slot);
                self.in_flight.retain(|_, at| *at != slot);
            } else if let Some(resting) = self.resting.get_mut(&slot) {
                resting.leaves = leaves;
                resting.cum += lots;
            }
        }
    }

    fn next_id(&mut self) -> ClOrdId {
        self.last_id = ClOrdId::new(self.last_id.get() + 1);
        self.last_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = Slot::new(InstrumentId::new(4), Side::Sell, 0);

    fn id(number: u64) -> ClOrdId {
        ClOrdId::new(number)
    }

    fn at(price: i64, lots: u32) -> Option<Target> {
        Some(Target { price, lots })
    }

    fn kind(request: Option<Request>) -> Option<RequestKind> {
        request.map(|request| request.kind)
    }

    #[test]
    fn an_order_is_posted_moved_and_canceled_one_request_at_a_time() {
        let mut desk = Desk::new(id(10));
        let post = desk.quote(SLOT, at(100, 8)).unwrap();
        assert_eq!((post.id, post.side), (id(11), Side::Sell));
        assert_eq!(desk.quote(SLOT, at(101, 8)), None, "the answer is not here");
        desk.on_report(Report::Accepted { order: id(11) });
        assert_eq!(
            desk.quote(SLOT, at(100, 8)),
            None,
            "it is where it should be"
        );
        let filled = Report::Filled {
            order: id(11),
            price: 100,
            lots: 3,
            leaves: 5,
        };
        desk.on_report(filled);
        assert_eq!(
            kind(desk.quote(SLOT, at(99, 8))),
            Some(RequestKind::Move {
                order: id(11),
                price: 99,
                lots: 11
            }),
            "the total includes what has been filled"
        );
        let moved = Report::Moved {
            order: id(12),
            before: id(11),
            leaves: 8,
        };
        desk.on_report(moved);
        assert_eq!(desk.price(SLOT), Some(99));
        assert_eq!(
            kind(desk.quote(SLOT, None)),
            Some(RequestKind::Cancel { order: id(12) })
        );
        desk.on_report(Report::Ended { order: id(12) });
        assert_eq!(
            (desk.resting.len(), desk.position(SLOT.instrument)),
            (0, -3)
        );
        assert!(desk.quote(SLOT, at(99, 1)).is_some());
    }

    #[test]
    fn a_small_rest_is_filled_up() {
        let mut desk = Desk::new(id(0));
        desk.quote(SLOT, at(100, 8));
        desk.on_report(Report::Accepted { order: id(1) });
        let fill = |leaves| Report::Filled {
            order: id(1),
            price: 100,
            lots: 4,
            leaves,
        };
        desk.on_report(fill(4));
        assert_eq!(desk.quote(SLOT, at(100, 8)), None);
        desk.on_report(fill(3));
        assert!(desk.quote(SLOT, at(100, 8)).is_some());
    }

    #[test]
    fn a_refused_post_frees_its_slot_and_a_refused_move_does_not() {
        let mut desk = Desk::new(id(0));
        desk.quote(SLOT, at(100, 8));
        desk.on_report(Report::Refused { request: id(1) });
        assert_eq!(desk.resting.len(), 0);
        desk.quote(SLOT, at(100, 8));
        desk.on_report(Report::Accepted { order: id(2) });
        desk.quote(SLOT, at(90, 8));
        desk.on_report(Report::Refused { request: id(3) });
        assert_eq!(desk.price(SLOT), Some(100));
        assert!(desk.quote(SLOT, at(90, 8)).is_some());
    }

    #[test]
    fn a_fill_that_overtakes_a_move_ends_both() {
        let mut desk = Desk::new(id(0));
        desk.quote(SLOT, at(100, 8));
        desk.on_report(Report::Accepted { order: id(1) });
        desk.quote(SLOT, at(90, 8));
        desk.on_report(Report::Filled {
            order: id(1),
            price: 100,
            lots: 8,
            leaves: 0,
        });
        assert_eq!(desk.resting.len(), 0);
        desk.quote(SLOT, at(95, 8));
        desk.on_report(Report::Refused { request: id(2) });
        assert_eq!(
            desk.price(SLOT),
            Some(95),
            "the answer to the lost move is not the new order's"
        );
    }

    #[test]
    fn taking_orders_count_and_do_not_rest() {
        let mut desk = Desk::new(id(0));
        let take = desk.take(InstrumentId::new(1), Side::Buy, 100, 5);
        desk.on_report(Report::Accepted { order: take.id });
        desk.on_report(Report::Filled {
            order: take.id,
            price: 99,
            lots: 3,
            leaves: 2,
        });
        desk.on_report(Report::Ended { order: take.id });
        assert_eq!(desk.resting.len(), 0);
        assert_eq!(desk.position(InstrumentId::new(1)), 3);
        assert_eq!(desk.take_fills().len(), 1);
        assert_eq!(desk.take_fills(), []);
        let expected = Tally {
            orders: 1,
            fills: 1,
            lots: 3,
            ..Tally::default()
        };
        assert_eq!(desk.tally(), expected);
    }
}
