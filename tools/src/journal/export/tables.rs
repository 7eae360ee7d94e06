//! The tables: their columns, and the rows that commands and events make.

use std::io;

use tessera_types::{Command, Event, InstrumentId, Party, Price, Qty, Sequenced, Side};

use crate::journal::describe::{command_json, kind_word, session};

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    #[cfg_attr(
        not(feature = "export"),
        expect(dead_code, reason = "CSV has no types")
    )]
    pub(super) kind: Kind,
}

impl Column {
    pub(super) const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind }
    }
}

/// Type of a column; every one can be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// 64-bit unsigned.
    Unsigned,
    /// 64-bit signed: prices in ticks.
    Signed,
    /// Nanoseconds since 1970, UTC.
    Time,
    /// UTF-8.
    Text,
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell<'a> {
    None,
    Unsigned(u64),
    Signed(i64),
    Time(u64),
    Text(&'a str),
}

/// Takes one row.
pub(super) type Put<'a> = &'a mut dyn FnMut(&[Cell<'_>]) -> io::Result<()>;

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    Commands,
    Events,
    Orders,
    Trades,
    L3,
    Books,
}

impl Rows {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Events => "events",
            Self::Orders => "orders",
            Self::Trades => "trades",
            Self::L3 => "l3",
            Self::Books => "books",
        }
    }

    pub(super) const fn columns(self) -> &'static [Column] {
        match self {
            Self::Commands => COMMANDS,
            Self::Events => EVENTS,
            Self::Orders => ORDERS,
            Self::Trades => TRADES,
            Self::L3 => super::l3::COLUMNS,
            Self::Books => BOOKS,
        }
    }

    /// The row of a command.
    pub(super) fn command(self, command: &Sequenced, put: Put<'_>) -> io::Result<()> {
        let header = command.command.header();
        let json = command_json(&command.command).to_string();
        put(&[
            Cell::Unsigned(command.seq.get()),
            Cell::Time(command.time.nanos()),
            Cell::Text(kind_word(0, Some(&command.command))),
            number(session(&command.command).map(u64::from)),
            number(header.map(|header| u64::from(header.account.get()))),
            number(header.map(|header| header.cl_ord_id.get())),
            number(instrument_of(&command.command).map(|id| u64::from(id.get()))),
            Cell::Text(&json),
        ])
    }

    /// The rows of a command's events as order scripts print them.
    pub(super) fn event_lines(
        self,
        command: &Sequenced,
        lines: &str,
        put: Put<'_>,
    ) -> io::Result<()> {
        for (index, line) in (0..).zip(lines.lines()) {
            let word = line
                .strip_prefix("{\"ev\":\"")
                .and_then(|rest| rest.split('"').next())
                .unwrap_or_default();
            put(&[
                Cell::Unsigned(command.seq.get()),
                Cell::Time(command.time.nanos()),
                Cell::Unsigned(index),
                Cell::Text(word),
                Cell::Text(line),
            ])?;
        }
        Ok(())
    }

    /// The rows of one event; none if it does not concern the table.
    pub(super) fn event(self, at: &Sequenced, event: &Event, put: Put<'_>) -> io::Result<()> {
        match self {
            Self::Orders => orders(at, event, put),
            Self::Trades => trade(at, event, put),
            Self::Books => level(at, event, put),
            Self::Commands | Self::Events | Self::L3 => Ok(()),
        }
    }
}

const COMMANDS: &[Column] = &[
    Column::new("seq", Kind::Unsigned),
    Column::new("time_ns", Kind::Time),
    Column::new("type", Kind::Text),
    Column::new("session", Kind::Unsigned),
    Column::new("account", Kind::Unsigned),
    Column::new("cl_ord_id", Kind::Unsigned),
    Column::new("instrument", Kind::Unsigned),
    Column::new("command", Kind::Text),
];

const EVENTS: &[Column] = &[
    Column::new("seq", Kind::Unsigned),
    Column::new("time_ns", Kind::Time),
    Column::new("index", Kind::Unsigned),
    Column::new("event", Kind::Text),
    Column::new("json", Kind::Text),
];

const ORDERS: &[Column] = &[
    Column::new("seq", Kind::Unsigned),
    Column::new("time_ns", Kind::Time),
    Column::new("event", Kind::Text),
    Column::new("order_id", Kind::Unsigned),
    Column::new("session", Kind::Unsigned),
    Column::new("account", Kind::Unsigned),
    Column::new("cl_ord_id", Kind::Unsigned),
    Column::new("instrument", Kind::Unsigned),
    Column::new("side", Kind::Text),
    Column::new("price", Kind::Signed),
    Column::new("qty", Kind::Unsigned),
    Column::new("open", Kind::Unsigned),
    Column::new("filled", Kind::Unsigned),
];

const TRADES: &[Column] = &[
    Column::new("seq", Kind::Unsigned),
    Column::new("time_ns", Kind::Time),
    Column::new("instrument", Kind::Unsigned),
    Column::new("price", Kind::Signed),
    Column::new("qty", Kind::Unsigned),
    Column::new("aggressor", Kind::Text),
    Column::new("maker_order_id", Kind::Unsigned),
    Column::new("maker_account", Kind::Unsigned),
    Column::new("maker_cl_ord_id", Kind::Unsigned),
    Column::new("taker_order_id", Kind::Unsigned),
    Column::new("taker_account", Kind::Unsigned),
    Column::new("taker_cl_ord_id", Kind::Unsigned),
];

const BOOKS: &[Column] = &[
    Column::new("seq", Kind::Unsigned),
    Column::new("time_ns", Kind::Time),
    Column::new("instrument", Kind::Unsigned),
    Column::new("side", Kind::Text),
    Column::new("price", Kind::Signed),
    Column::new("qty", Kind::Unsigned),
    Column::new("orders", Kind::Unsigned),
];

/// What an event says about one order.
struct OrderRow<'a> {
    word: &'static str,
    party: &'a Party,
    instrument: InstrumentId,
    side: Option<Side>,
    price: Option<Price>,
    qty: Option<Qty>,
    open: Option<Qty>,
    filled: Option<Qty>,
}

impl OrderRow<'_> {
    fn put(&self, at: &Sequenced, put: Put<'_>) -> io::Result<()> {
        let qty = |qty: Option<Qty>| number(qty.map(Qty::lots));
        put(&[
            Cell::Unsigned(at.seq.get()),
            Cell::Time(at.time.nanos()),
            Cell::Text(self.word),
            Cell::Unsigned(self.party.order_id.get()),
            Cell::Unsigned(self.party.session.get().into()),
            Cell::Unsigned(self.party.account.get().into()),
            Cell::Unsigned(self.party.cl_ord_id.get()),
            Cell::Unsigned(self.instrument.get().into()),
            self.side
                .map_or(Cell::None, |side| Cell::Text(side.as_str())),
            self.price
                .map_or(Cell::None, |price| Cell::Signed(price.ticks())),
            qty(self.qty),
            qty(self.open),
            qty(self.filled),
        ])
    }
}

fn orders(at: &Sequenced, event: &Event, put: Put<'_>) -> io::Result<()> {
    let row = |word, party, instrument, side| OrderRow {
        word,
        party,
        instrument,
        side,
        price: None,
        qty: None,
        open: None,
        filled: None,
    };
    match event {
        Event::OrderAccepted {
            party,
            instrument,
            side,
            price,
            qty,
            ..
        } => OrderRow {
            price: Some(*price),
            qty: Some(*qty),
            ..row("accepted", party, *instrument, Some(*side))
        }
        .put(at, put),
        Event::OrderCanceled {
            party,
            instrument,
            side,
            qty,
            cum,
            ..
        }
        | Event::OrderExpired {
            party,
            instrument,
            side,
            qty,
            cum,
            ..
        } => {
            let word = match event {
                Event::OrderExpired { .. } => "expired",
                _ => "canceled",
            };
            OrderRow {
                qty: Some(*qty),
                open: Some(Qty::from_lots(0)),
                filled: Some(*cum),
                ..row(word, party, *instrument, Some(*side))
            }
            .put(at, put)
        }
        Event::OrderReduced {
            party,
            instrument,
            side,
            leaves,
            cum,
            ..
        } => OrderRow {
            open: Some(*leaves),
            filled: Some(*cum),
            ..row("reduced", party, *instrument, Some(*side))
        }
        .put(at, put),
        Event::OrderReplaced {
            party,
            instrument,
            side,
            price,
            qty,
            leaves,
            ..
        } => OrderRow {
            price: Some(*price),
            qty: Some(*qty),
            open: Some(*leaves),
            ..row("replaced", party, *instrument, Some(*side))
        }
        .put(at, put),
        Event::OrderTriggered {
            party,
            instrument,
            side,
            stop,
            ..
        } => OrderRow {
            price: Some(*stop),
            ..row("triggered", party, *instrument, Some(*side))
        }
        .put(at, put),
        Event::Trade {
            instrument,
            price,
            qty,
            maker,
            taker,
            maker_leaves,
            taker_leaves,
            maker_cum,
            taker_cum,
            ..
        } => {
            for (party, leaves, cum) in [
                (maker, maker_leaves, maker_cum),
                (taker, taker_leaves, taker_cum),
            ] {
                OrderRow {
                    price: Some(*price),
                    qty: Some(*qty),
                    open: Some(*leaves),
                    filled: Some(*cum),
                    ..row("fill", party, *instrument, None)
                }
                .put(at, put)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn trade(at: &Sequenced, event: &Event, put: Put<'_>) -> io::Result<()> {
    let Event::Trade {
        instrument,
        aggressor,
        price,
        qty,
        maker,
        taker,
        ..
    } = event
    else {
        return Ok(());
    };
    put(&[
        Cell::Unsigned(at.seq.get()),
        Cell::Time(at.time.nanos()),
        Cell::Unsigned(instrument.get().into()),
        Cell::Signed(price.ticks()),
        Cell::Unsigned(qty.lots()),
        Cell::Text(aggressor.as_str()),
        Cell::Unsigned(maker.order_id.get()),
        Cell::Unsigned(maker.account.get().into()),
        Cell::Unsigned(maker.cl_ord_id.get()),
        Cell::Unsigned(taker.order_id.get()),
        Cell::Unsigned(taker.account.get().into()),
        Cell::Unsigned(taker.cl_ord_id.get()),
    ])
}

fn level(at: &Sequenced, event: &Event, put: Put<'_>) -> io::Result<()> {
    let Event::Level {
        instrument,
        side,
        price,
        qty,
        orders,
        ..
    } = event
    else {
        return Ok(());
    };
    put(&[
        Cell::Unsigned(at.seq.get()),
        Cell::Time(at.time.nanos()),
        Cell::Unsigned(instrument.get().into()),
        Cell::Text(side.as_str()),
        Cell::Signed(price.ticks()),
        Cell::Unsigned(qty.lots()),
        Cell::Unsigned((*orders).into()),
    ])
}

fn instrument_of(command: &Command) -> Option<InstrumentId> {
    match command {
        Command::NewOrder(order) => Some(order.instrument),
        Command::SetPhase(set) => Some(set.instrument),
        Command::MassCancel(mass) => mass.instrument,
        _ => None,
    }
}

fn number<'a>(value: Option<u64>) -> Cell<'a> {
    value.map_or(Cell::None, Cell::Unsigned)
}
