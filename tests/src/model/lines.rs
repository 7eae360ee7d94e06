//! Event lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Model, Order, RejectReason, Side, State};

/// A name as JSON text.
pub(super) fn quoted(name: &str) -> String {
    serde_json::to_string(name).expect("a string has a JSON form")
}

impl Model {
    /// Prints one event; `fields` is JSON text without braces.
    pub(super) fn say(&mut self, event: &str, fields: &str) {
        self.seq += 1;
        writeln!(
            self.out,
            r#"{{"ev":"{event}","seq":{},"line":{},{fields}}}"#,
            self.seq, self.line
        )
        .expect("a string takes everything");
    }

    pub(super) fn reject(&mut self, op: Option<&str>, reason: RejectReason, id: Option<u64>) {
        let mut fields = String::new();
        if let Some(op) = op {
            fields += &format!(r#""op":{},"#, quoted(op));
        }
        fields += &format!(r#""reason":"{reason}""#);
        if let Some(id) = id {
            fields += &format!(r#","id":{id}"#);
        }
        self.say("rejected", &fields);
    }

    pub(super) fn say_canceled(&mut self, order: &Order, reason: &str) {
        let fields = format!(
            r#""id":{},"qty":{},"reason":"{reason}""#,
            order.id, order.open
        );
        self.say("canceled", &fields);
    }

    pub(super) fn say_replaced(&mut self, order: &Order, old_id: Option<u64>) {
        let old_id = old_id.map_or(String::new(), |id| format!(r#""old_id":{id},"#));
        let fields = format!(
            r#""id":{},{old_id}"price":{},"qty":{},"open":{}"#,
            order.id,
            order.price.or(order.stop).unwrap_or(0),
            order.total(),
            order.open
        );
        self.say("replaced", &fields);
    }

    pub(super) fn say_fill(
        &mut self,
        maker: &Order,
        taker: &Order,
        price: i64,
        qty: u64,
        aggressor: &str,
    ) {
        let fields = format!(
            r#""instrument":{},"maker":{},"taker":{},"price":{price},"qty":{qty},"aggressor":"{aggressor}","maker_open":{},"taker_open":{}"#,
            self.name(maker.instrument),
            maker.id,
            taker.id,
            maker.open,
            taker.open
        );
        self.say("fill", &fields);
    }

    pub(super) fn print_depth(&mut self, instrument: usize, most: usize) {
        let shown = self.shown();
        let side = |side: Side| {
            let mut levels: Vec<(i64, (u64, u64))> = shown
                .iter()
                .filter(|((at, of, _), _)| (*at, *of) == (instrument, side))
                .map(|((_, _, price), level)| (*price, *level))
                .collect();
            if side == Side::Buy {
                levels.reverse();
            }
            let levels: Vec<String> = levels
                .iter()
                .take(most)
                .map(|(price, (qty, orders))| format!("[{price},{qty},{orders}]"))
                .collect();
            levels.join(",")
        };
        let fields = format!(
            r#""instrument":{},"bids":[{}],"asks":[{}]"#,
            self.name(instrument),
            side(Side::Buy),
            side(Side::Sell)
        );
        self.say("depth", &fields);
    }

    pub(super) fn print_orders(&mut self, party: Option<&str>, instrument: Option<usize>) {
        let orders: Vec<Order> = self
            .orders
            .iter()
            .filter(|order| party.is_none_or(|party| party == order.party))
            .filter(|order| instrument.is_none_or(|wanted| wanted == order.instrument))
            .cloned()
            .collect();
        let mut lines = self.group_lines(party, instrument);
        for order in orders {
            let mut fields = format!(
                r#""id":{},"party":{},"instrument":{},"side":"{}","state":"{}","qty":{},"open":{}"#,
                order.id,
                quoted(&order.party),
                self.name(order.instrument),
                order.side,
                match order.state {
                    State::Book => "open",
                    State::Stop => "stop",
                },
                order.total(),
                order.open
            );
            if let Some(price) = order.price {
                fields += &format!(r#","price":{price}"#);
            }
            if let (State::Stop, Some(stop)) = (order.state, order.stop) {
                fields += &format!(r#","stop":{stop}"#);
            }
            lines.push((order.id, fields));
        }
        lines.sort_unstable();
        for (_, fields) in lines {
            self.say("order", &fields);
        }
    }

    /// Ends a command with what it changed in the visible book.
    pub(super) fn print_changed_levels(
        &mut self,
        before: &BTreeMap<(usize, Side, i64), (u64, u64)>,
    ) {
        if !self.print_levels {
            return;
        }
        let after = self.shown();
        let mut keys: Vec<_> = before.keys().chain(after.keys()).copied().collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            if before.get(&key) != after.get(&key) {
                let (qty, orders) = after.get(&key).copied().unwrap_or_default();
                let (instrument, side, price) = key;
                let fields = format!(
                    r#""instrument":{},"side":"{side}","price":{price},"qty":{qty},"orders":{orders}"#,
                    self.name(instrument)
                );
                self.say("level", &fields);
            }
        }
    }

    pub(super) fn name(&self, instrument: usize) -> String {
        quoted(self.listings[instrument].terms.name.as_str())
    }
}
