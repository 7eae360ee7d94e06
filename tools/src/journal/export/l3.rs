//! The book order by order: which order took, changed or lost its place.

use std::collections::HashMap;
use std::io;

use tessera_engine::{Exchange, OrderState, OrderView};
use tessera_types::{Event, InstrumentId, OrderId, Party, Price, Qty, Sequenced, Side};

use super::tables::{Cell, Column, Kind, Put};

/// Where orders are, as told so far. Whoever applies the rows to a table by order id (`add` and `change` set a
/// row, `fill` lowers it, `remove` and a `fill` that leaves nothing delete it) has the books after any command.
#[derive(Default)]
pub(super) struct Places(HashMap<OrderId, Place>);

/// An order in a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    instrument: InstrumentId,
    side: Side,
    price: Option<Price>,
    open: Qty,
}

impl Place {
    fn of(view: &OrderView) -> Self {
        Self {
            instrument: view.instrument,
            side: view.side,
            price: view.price,
            open: view.leaves,
        }
    }
}

impl Places {
    /// The rows of a command, whose events `events` are, with the engine as it is after it.
    pub(super) fn command(
        &mut self,
        at: &Sequenced,
        events: &[Event],
        engine: &Exchange,
        put: Put<'_>,
    ) -> io::Result<()> {
        let mut index = 0;
        let mut row = |action, id: OrderId, place: &Place, traded: Option<Qty>| {
            let cells = [
                Cell::Unsigned(at.seq.get()),
                Cell::Time(at.time.nanos()),
                Cell::Unsigned(index),
                Cell::Unsigned(place.instrument.get().into()),
                Cell::Text(action),
                Cell::Unsigned(id.get()),
                Cell::Text(place.side.as_str()),
                place
                    .price
                    .map_or(Cell::None, |price| Cell::Signed(price.ticks())),
                traded.map_or(Cell::None, |qty| Cell::Unsigned(qty.lots())),
                Cell::Unsigned(place.open.lots()),
            ];
            index += 1;
            put(&cells)
        };
        // Orders that may stand elsewhere now than before the command.
        let mut touched: Vec<Party> = Vec::new();
        for event in events {
            match event {
                Event::Trade {
                    qty,
                    maker,
                    taker,
                    maker_leaves,
                    taker_leaves,
                    ..
                } => {
                    for (party, leaves) in [(maker, maker_leaves), (taker, taker_leaves)] {
                        let Some(place) = self.0.get_mut(&party.order_id) else {
                            continue;
                        };
                        place.open = *leaves;
                        row("fill", party.order_id, place, Some(*qty))?;
                        if *leaves == Qty::from_lots(0) {
                            self.0.remove(&party.order_id);
                        }
                    }
                }
                Event::OrderAccepted { party, .. }
                | Event::OrderReduced { party, .. }
                | Event::OrderReplaced { party, .. }
                | Event::OrderTriggered { party, .. }
                | Event::OrderCanceled { party, .. }
                | Event::OrderExpired { party, .. }
                    if touched.iter().all(|known| known.order_id != party.order_id) =>
                {
                    touched.push(*party);
                }
                _ => {}
            }
        }
        for party in touched {
            let id = party.order_id;
            let is_resting =
                |view: &OrderView| view.order_id == id && view.state == OrderState::Open;
            // A replaced order is known by its new name now; an ended one is not known at all.
            let names = events.iter().rev().find_map(|event| match event {
                Event::OrderReplaced { party, .. } if party.order_id == id => Some(*party),
                _ => None,
            });
            let party = names.unwrap_or(party);
            let now = engine
                .order(party.session, party.cl_ord_id)
                .filter(is_resting)
                .map(|view| Place::of(&view));
            match (self.0.get(&id).copied(), now) {
                (None, Some(place)) => row("add", id, &place, None)?,
                (Some(before), Some(place)) if before != place => row("change", id, &place, None)?,
                (Some(before), None) => {
                    let gone = Place {
                        open: Qty::from_lots(0),
                        ..before
                    };
                    row("remove", id, &gone, None)?;
                }
                _ => {}
            }
            match now {
                Some(place) => self.0.insert(id, place),
                None => self.0.remove(&id),
            };
        }
        Ok(())
    }
}

pub(super) const COLUMNS: &[Column] = &[
    Column::new("seq", Kind::Unsigned),
    Column::new("time_ns", Kind::Time),
    Column::new("index", Kind::Unsigned),
    Column::new("instrument", Kind::Unsigned),
    Column::new("action", Kind::Text),
    Column::new("order_id", Kind::Unsigned),
    Column::new("side", Kind::Text),
    Column::new("price", Kind::Signed),
    Column::new("traded", Kind::Unsigned),
    Column::new("open", Kind::Unsigned),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Runner;
    use std::collections::BTreeMap;
    use tessera_engine::EngineConfig;

    /// A reader's table: order id to side, price and open quantity.
    type Table = BTreeMap<u64, (String, i64, u64)>;

    fn apply(table: &mut Table, row: &[Cell<'_>]) {
        let [
            _,
            _,
            _,
            _,
            Cell::Text(action),
            Cell::Unsigned(id),
            Cell::Text(side),
            price,
            _,
            Cell::Unsigned(open),
        ] = *row
        else {
            panic!("{row:?}");
        };
        let Cell::Signed(price) = price else {
            panic!("an order in a book has a price: {row:?}");
        };
        match action {
            "add" => assert!(
                table.insert(id, (side.to_owned(), price, open)).is_none(),
                "{row:?}"
            ),
            "change" => *table.get_mut(&id).unwrap() = (side.to_owned(), price, open),
            "fill" if open > 0 => table.get_mut(&id).unwrap().2 = open,
            "fill" | "remove" => assert!(table.remove(&id).is_some(), "{row:?}"),
            _ => panic!("{row:?}"),
        }
    }

    /// After every line of a script the rows so far give the books.
    fn check(script: &str, expected_actions: &[&str]) {
        let mut runner = Runner::new(EngineConfig::default(), false);
        runner.keep_commands();
        for line in script.lines() {
            let _ = runner.line(line.as_bytes(), &mut String::new());
        }
        let mut engine = Exchange::new(EngineConfig::default());
        let (mut places, mut table) = (Places::default(), Table::new());
        let mut actions = Vec::new();
        for command in runner.commands() {
            let mut events = Vec::new();
            engine.apply(command, &mut events);
            places
                .command(command, &events, &engine, &mut |row| {
                    apply(&mut table, row);
                    if let Cell::Text(action) = row[4] {
                        actions.push(action.to_owned());
                    }
                    Ok(())
                })
                .unwrap();
            let books: Table = engine
                .orders()
                .filter(|order| order.state == OrderState::Open)
                .map(|order| {
                    let place = Place::of(&order);
                    let price = place.price.unwrap().ticks();
                    let place = (place.side.as_str().to_owned(), price, place.open.lots());
                    (order.order_id.get(), place)
                })
                .collect();
            assert_eq!(table, books, "after {:?}", command.command);
        }
        assert_eq!(actions, expected_actions);
    }

    #[test]
    fn the_rows_give_the_books() {
        check(
            r#"{"op":"instrument","instrument":"X"}
{"op":"new","id":1,"party":"a","instrument":"X","side":"sell","price":100,"qty":5}
{"op":"new","id":2,"party":"b","instrument":"X","side":"sell","price":101,"qty":5}
{"op":"new","id":3,"party":"c","instrument":"X","side":"buy","price":100,"qty":7}
{"op":"replace","id":2,"price":99}
{"op":"new","id":4,"party":"b","instrument":"X","side":"sell","price":105,"qty":9}
{"op":"reduce","id":4,"by":2}
{"op":"new","id":5,"party":"c","instrument":"X","side":"buy","price":200,"qty":3,"tif":"ioc"}
{"op":"cancel","id":4}
{"op":"cancel","id":2}"#,
            // 1; 2; 3 takes 1 and rests; 2 moves onto 3; 4; smaller; 5 takes what is left of 2; 4 goes.
            &[
                "add", "add", "fill", "add", "fill", "fill", "change", "add", "change", "fill",
                "remove",
            ],
        );
    }
}
