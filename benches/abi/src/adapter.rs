//! Messages to commands, events to reports.

use tessera_engine::{EngineConfig, Exchange};
use tessera_types::{
    AccountId, CancelReason, ClOrdId, ClientHeader, Command, CommandKind, Event, EventSink,
    Instrument, InstrumentId, ListInstrument, Name, OrderTarget, Price, Qty, Seq, Sequenced,
    SessionId, Side, TimeInForce, Timestamp,
};

use crate::layout::{Cancel, Message, Modify, NewOrder, Report, ReportKind, View};
use crate::outlet::Outlet;

/// The engine with one instrument, and where its reports go.
#[derive(Debug)]
pub(crate) struct Adapter {
    exchange: Exchange,
    reports: Reports,
    commands: u64,
}

const BOOK: InstrumentId = InstrumentId::new(0);
/// Prices may be anything that leaves room to calculate.
const PRICES: i64 = 1 << 62;

impl Adapter {
    /// An engine with an empty book. `seed` keys the id index, which changes no result.
    pub(crate) fn new(seed: u64, outlet: Outlet) -> Self {
        let exchange = Exchange::new(EngineConfig {
            index_seed: seed,
            ..EngineConfig::default()
        });
        let mut adapter = Self {
            exchange,
            reports: Reports {
                outlet,
                message: About::default(),
            },
            commands: 0,
        };
        let name = Name::new("BENCH").expect("five letters are a name");
        adapter.apply(Command::ListInstrument(Box::new(ListInstrument {
            header: ClientHeader::default(),
            instrument: Instrument {
                min_price: Price::from_ticks(-PRICES),
                max_price: Price::from_ticks(PRICES),
                ..Instrument::plain(name)
            },
        })));
        adapter
    }

    pub(crate) fn on_new_order(&mut self, new: &NewOrder) {
        self.reports.message = About {
            sequence_number: new.sequence_number,
            order_id: new.order_id,
            price_ticks: new.price_ticks,
            ..About::default()
        };
        self.apply(new_order(new));
    }

    pub(crate) fn on_cancel(&mut self, cancel: &Cancel) {
        self.reports.message = About {
            sequence_number: cancel.sequence_number,
            order_id: cancel.order_id,
            ..About::default()
        };
        self.apply(cancel_order(cancel.order_id));
    }

    /// The interface's modify always loses the place and names what is open from now on. A replace
    /// names the total, so what has been filled is added; and one at the same price with no more than
    /// is open would keep its place, so that becomes a cancel and a new order under the same id.
    pub(crate) fn on_modify(&mut self, modify: &Modify) {
        self.reports.message = About {
            sequence_number: modify.sequence_number,
            order_id: modify.order_id,
            price_ticks: modify.new_price_ticks,
            ..About::default()
        };
        let id = client_id(modify.order_id);
        let Some(order) = self.exchange.order(SessionId::VENUE, id) else {
            return self.reports.say(ReportKind::ModifyReject, 0, 0, 0);
        };
        let price = Price::from_ticks(modify.new_price_ticks);
        let open = Qty::from_lots(u64::from(modify.new_quantity));
        if order.price == Some(price) && open <= order.leaves && !open.is_zero() {
            self.reports.message.reinserts = true;
            self.apply(cancel_order(modify.order_id));
            return self.apply(new_order(&NewOrder {
                order_id: modify.order_id,
                sequence_number: modify.sequence_number,
                price_ticks: modify.new_price_ticks,
                quantity: modify.new_quantity,
                side: order.side as u8,
                ..NewOrder::default()
            }));
        }
        let total = order.cum.lots() + open.lots();
        self.apply(replace_order(
            modify.order_id,
            price,
            Some(Qty::from_lots(total)),
        ));
    }

    /// One message after the other. While many orders rest, the lines that coming messages will touch
    /// are asked for; nothing else is done with these before their turn.
    pub(crate) fn on_batch(&mut self, messages: &[Message]) {
        for (place, message) in messages.iter().enumerate() {
            self.exchange.look_ahead(|ahead| {
                messages
                    .get(place + ahead)?
                    .view()
                    .map(|coming| match coming {
                        View::New(new) => new_order(&new),
                        View::Cancel(cancel) => cancel_order(cancel.order_id),
                        View::Modify(modify) => {
                            let price = Price::from_ticks(modify.new_price_ticks);
                            replace_order(modify.order_id, price, None)
                        }
                    })
            });
            match message.view() {
                Some(View::New(new)) => self.on_new_order(&new),
                Some(View::Cancel(cancel)) => self.on_cancel(&cancel),
                Some(View::Modify(modify)) => self.on_modify(&modify),
                None => {}
            }
        }
    }

    pub(crate) fn flush(&mut self) {
        self.reports.outlet.flush();
    }

    /// The best price of a side in ticks.
    pub(crate) fn best(&self, side: Side) -> Option<i64> {
        let best = self.exchange.depth(BOOK, side).next();
        best.map(|level| level.price.ticks())
    }

    /// Lots that rest at a price.
    pub(crate) fn depth_at(&self, price_ticks: i64, side: Side) -> u64 {
        let price = Price::from_ticks(price_ticks);
        let level = self
            .exchange
            .depth(BOOK, side)
            .find(|level| level.price == price);
        level.map_or(0, |level| level.qty.lots())
    }

    #[inline]
    fn apply(&mut self, command: Command) {
        self.commands += 1;
        let sequenced = Sequenced {
            seq: Seq::new(self.commands),
            time: Timestamp::from_nanos(self.commands),
            command,
        };
        self.exchange.apply(&sequenced, &mut self.reports);
    }
}

/// A side as the interface writes it.
pub(crate) const fn side(code: u8) -> Side {
    if code == 0 { Side::Buy } else { Side::Sell }
}

/// Ids may start at 0, which no order of ours is called.
const fn client_id(order_id: u64) -> ClOrdId {
    ClOrdId::new(order_id.wrapping_add(1))
}

const fn order_id(id: ClOrdId) -> u64 {
    id.get().wrapping_sub(1)
}

#[inline]
fn header(order_id: u64) -> ClientHeader {
    ClientHeader {
        session: SessionId::VENUE,
        cl_ord_id: client_id(order_id),
        ..ClientHeader::default()
    }
}

#[inline]
fn new_order(new: &NewOrder) -> Command {
    let header = ClientHeader {
        account: AccountId::new(1),
        ..header(new.order_id)
    };
    let mut order = tessera_types::NewOrder::limit(
        header,
        BOOK,
        side(new.side),
        Price::from_ticks(new.price_ticks),
        Qty::from_lots(u64::from(new.quantity)),
    );
    if new.ioc != 0 {
        order.time_in_force = TimeInForce::Ioc;
    }
    Command::NewOrder(order)
}

#[inline]
fn cancel_order(order_id: u64) -> Command {
    Command::Cancel(tessera_types::Cancel {
        header: header(order_id),
        target: OrderTarget::Client(client_id(order_id)),
    })
}

#[inline]
fn replace_order(order_id: u64, price: Price, qty: Option<Qty>) -> Command {
    Command::Replace(tessera_types::Replace {
        header: header(order_id),
        target: OrderTarget::Client(client_id(order_id)),
        price: Some(price),
        qty,
        stop: None,
        new_id: None,
    })
}

/// Turns events into reports.
#[derive(Debug)]
struct Reports {
    outlet: Outlet,
    message: About,
}

/// What the reports of the current message say beside what the events tell.
#[derive(Debug, Default)]
struct About {
    sequence_number: u64,
    order_id: u64,
    /// The limit on the message.
    price_ticks: i64,
    /// A modify in the form of a cancel and a new order: the one acknowledgement is the latter's.
    reinserts: bool,
    /// Side of the order that was canceled: the change of its level, which says the price, follows.
    canceled: Option<u8>,
}

impl Reports {
    #[inline]
    fn say(&mut self, kind: ReportKind, side: u8, price_ticks: i64, quantity: u32) {
        self.outlet.push(Report {
            kind: kind as u8,
            side,
            sequence_number: self.message.sequence_number,
            order_id: self.message.order_id,
            price_ticks,
            quantity,
            ..Report::default()
        });
    }
}

impl EventSink for Reports {
    #[inline]
    fn emit(&mut self, event: Event) {
        match event {
            Event::OrderAccepted {
                side, price, qty, ..
            } => {
                let kind = if self.message.reinserts {
                    ReportKind::ModifyAck
                } else {
                    ReportKind::OrderAck
                };
                self.say(kind, side as u8, price.ticks(), lots(qty));
            }
            Event::Trade {
                price,
                qty,
                maker,
                taker,
                ..
            } => self.outlet.push(Report {
                kind: ReportKind::Trade as u8,
                sequence_number: self.message.sequence_number,
                price_ticks: price.ticks(),
                quantity: lots(qty),
                maker_order_id: order_id(maker.cl_ord_id),
                taker_order_id: order_id(taker.cl_ord_id),
                ..Report::default()
            }),
            Event::OrderCanceled {
                side, qty, reason, ..
            } => match reason {
                CancelReason::Ioc => {
                    let price = self.message.price_ticks;
                    self.say(ReportKind::CancelAck, side as u8, price, lots(qty));
                }
                CancelReason::Replaced => {
                    let price = self.message.price_ticks;
                    self.say(ReportKind::ModifyAck, side as u8, price, 0);
                }
                _ if self.message.reinserts => {}
                _ => self.message.canceled = Some(side as u8),
            },
            Event::Level { price, .. } => {
                if let Some(side) = self.message.canceled.take() {
                    self.say(ReportKind::CancelAck, side, price.ticks(), 0);
                }
            }
            Event::OrderReplaced {
                side,
                price,
                leaves,
                ..
            } => self.say(
                ReportKind::ModifyAck,
                side as u8,
                price.ticks(),
                lots(leaves),
            ),
            Event::Rejected { kind, .. } => match kind {
                CommandKind::Cancel => self.say(ReportKind::CancelReject, 0, 0, 0),
                CommandKind::Replace => self.say(ReportKind::ModifyReject, 0, 0, 0),
                // The interface has no word for a refused order.
                _ => {}
            },
            _ => {}
        }
    }
}

/// Quantities come in as 32 bits, so they go out as 32 bits.
#[inline]
fn lots(qty: Qty) -> u32 {
    u32::try_from(qty.lots()).unwrap_or(u32::MAX)
}
