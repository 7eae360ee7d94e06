//! The public benchmark's interface as its document reads, in the plainest form.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tessera_bench::layout::{Report, ReportKind, View};

/// A book, and the canonical lines of all that it was sent.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// By side, 0 for bids: price to (order, open), first come first.
    sides: [BTreeMap<i64, VecDeque<(u64, u32)>>; 2],
    /// Side and price of what rests.
    resting: HashMap<u64, (u8, i64)>,
    lines: Vec<Line>,
}

/// A line of the canonical text with what it is sorted by.
pub(crate) type Line = (u64, ReportKind, String);

impl Oracle {
    pub(crate) fn send(&mut self, message: View) {
        match message {
            View::New(new) => {
                // An id is free again when its order has ended; a second live one has no answer.
                if self.resting.contains_key(&new.order_id) || new.quantity == 0 {
                    return;
                }
                let (seq, id) = (new.sequence_number, new.order_id);
                let (side, price) = (new.side, new.price_ticks);
                self.say(
                    seq,
                    ReportKind::OrderAck,
                    format!("{side},{id},{price},{}", new.quantity),
                );
                let left = self.trade(seq, id, side, price, new.quantity);
                if left > 0 && new.ioc == 1 {
                    self.say(seq, ReportKind::CancelAck, format!("{side},{id},{price}"));
                } else if left > 0 {
                    self.rest(id, side, price, left);
                }
            }
            View::Cancel(cancel) => {
                let (seq, id) = (cancel.sequence_number, cancel.order_id);
                match self.remove(id) {
                    Some((side, price)) => {
                        self.say(seq, ReportKind::CancelAck, format!("{side},{id},{price}"));
                    }
                    None => self.say(seq, ReportKind::CancelReject, id.to_string()),
                }
            }
            View::Modify(modify) => {
                let (seq, id) = (modify.sequence_number, modify.order_id);
                let Some((side, _)) = self.remove(id) else {
                    return self.say(seq, ReportKind::ModifyReject, id.to_string());
                };
                let (price, qty) = (modify.new_price_ticks, modify.new_quantity);
                self.say(
                    seq,
                    ReportKind::ModifyAck,
                    format!("{side},{id},{price},{qty}"),
                );
                let left = self.trade(seq, id, side, price, qty);
                if left > 0 {
                    self.rest(id, side, price, left);
                }
            }
        }
    }

    /// The canonical text of everything so far.
    pub(crate) fn text(self) -> String {
        canonical(self.lines)
    }

    pub(crate) fn best_bid(&self) -> i64 {
        self.sides[0]
            .last_key_value()
            .map_or(i64::MIN, |level| *level.0)
    }

    pub(crate) fn best_ask(&self) -> i64 {
        self.sides[1]
            .first_key_value()
            .map_or(i64::MAX, |level| *level.0)
    }

    pub(crate) fn depth_at(&self, price: i64, side: u8) -> u64 {
        let level = self.sides[usize::from(side)].get(&price);
        level.map_or(0, |level| {
            level.iter().map(|order| u64::from(order.1)).sum()
        })
    }

    fn trade(&mut self, seq: u64, taker: u64, side: u8, limit: i64, mut left: u32) -> u32 {
        while left > 0 {
            let best = if side == 0 {
                self.best_ask()
            } else {
                self.best_bid()
            };
            let crosses = if side == 0 {
                best <= limit
            } else {
                best >= limit
            };
            let Some(level) = self.sides[usize::from(1 - side)].get_mut(&best) else {
                break;
            };
            if !crosses {
                break;
            }
            let (maker, open) = level.front_mut().expect("levels are not empty");
            let (maker, qty) = (*maker, left.min(*open));
            *open -= qty;
            left -= qty;
            if *open == 0 {
                self.remove(maker);
            }
            self.say(
                seq,
                ReportKind::Trade,
                format!("{best},{qty},{maker},{taker}"),
            );
        }
        left
    }

    fn rest(&mut self, id: u64, side: u8, price: i64, qty: u32) {
        let level = self.sides[usize::from(side)].entry(price).or_default();
        level.push_back((id, qty));
        self.resting.insert(id, (side, price));
    }

    fn remove(&mut self, id: u64) -> Option<(u8, i64)> {
        let (side, price) = self.resting.remove(&id)?;
        let levels = &mut self.sides[usize::from(side)];
        let level = levels.get_mut(&price)?;
        level.retain(|order| order.0 != id);
        if level.is_empty() {
            levels.remove(&price);
        }
        Some((side, price))
    }

    fn say(&mut self, seq: u64, kind: ReportKind, fields: String) {
        self.lines.push((seq, kind, fields));
    }
}

/// A report as a line.
pub(crate) fn line(report: &Report) -> Line {
    let &Report {
        side,
        order_id,
        price_ticks,
        quantity,
        maker_order_id,
        taker_order_id,
        ..
    } = report;
    let (kind, fields) = match report.kind {
        0 => (
            ReportKind::OrderAck,
            format!("{side},{order_id},{price_ticks},{quantity}"),
        ),
        1 => (
            ReportKind::Trade,
            format!("{price_ticks},{quantity},{maker_order_id},{taker_order_id}"),
        ),
        2 => (
            ReportKind::CancelAck,
            format!("{side},{order_id},{price_ticks}"),
        ),
        3 => (
            ReportKind::ModifyAck,
            format!("{side},{order_id},{price_ticks},{quantity}"),
        ),
        4 => (ReportKind::CancelReject, order_id.to_string()),
        5 => (ReportKind::ModifyReject, order_id.to_string()),
        other => panic!("a report of kind {other}"),
    };
    (report.sequence_number, kind, fields)
}

/// The text that the benchmark hashes: lines by number and kind, otherwise as they came.
pub(crate) fn canonical(mut lines: Vec<Line>) -> String {
    lines.sort_by_key(|line| (line.0, line.1));
    let lines = lines
        .into_iter()
        .map(|(seq, kind, fields)| format!("{},{seq},{fields}", kind as u8));
    lines.collect::<Vec<_>>().join("\n")
}
