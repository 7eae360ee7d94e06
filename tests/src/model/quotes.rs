//! Mass quotes.

use tessera::script::ScriptQuote;
use tessera_types::{
    ClOrdId, ExecInst, InstrumentId, NewOrder, Price, Qty, RejectReason, SelfMatch, Side,
};

use super::{Model, Op, Phase};

/// What holds for every entry of one mass quote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) party: &'a str,
    pub(super) post_only: bool,
    pub(super) keep_priority: bool,
    pub(super) self_match: SelfMatch,
}

/// One side of an entry that names its quantity.
#[derive(Clone, Copy, Debug)]
struct Leg {
    side: Side,
    id: u64,
    price: i64,
    qty: u64,
}

impl Model {
    /// Handles one entry; returns its instrument unless the entry is refused.
    pub(super) fn quote(&mut self, wanted: &Wanted<'_>, quote: &ScriptQuote<'_>) -> Option<usize> {
        match self.check_entry(quote) {
            Ok(instrument) => {
                self.requote(wanted, instrument, quote);
                Some(instrument)
            }
            Err(reason) => {
                self.reject(Some(Op::MassQuote.as_str()), reason, None);
                None
            }
        }
    }

    fn check_entry(&self, quote: &ScriptQuote<'_>) -> Result<usize, RejectReason> {
        let entry = &quote.entry;
        if let Some(reason) = entry.refused {
            return Err(reason);
        }
        let instrument = self.instrument(quote.instrument.as_deref())?;
        match self.listings[instrument].phase {
            Phase::Halt => return Err(RejectReason::Halted),
            Phase::Closed => return Err(RejectReason::Closed),
            Phase::Auction | Phase::Continuous => {}
        }
        let quoted = |qty: Option<Qty>| qty.is_some_and(|qty| !qty.is_zero());
        if quoted(entry.bid_qty) && quoted(entry.ask_qty) && entry.bid_price >= entry.ask_price {
            return Err(RejectReason::CrossedQuote);
        }
        Ok(instrument)
    }

    fn requote(&mut self, wanted: &Wanted<'_>, instrument: usize, quote: &ScriptQuote<'_>) {
        let entry = &quote.entry;
        let legs = [
            (Side::Buy, entry.bid_id, entry.bid_price, entry.bid_qty),
            (Side::Sell, entry.ask_id, entry.ask_price, entry.ask_qty),
        ];
        let legs: Vec<Leg> = legs
            .into_iter()
            .filter_map(|(side, id, price, qty)| {
                Some(Leg {
                    side,
                    id: id.get(),
                    price: price.ticks(),
                    qty: qty?.lots(),
                })
            })
            .collect();
        let mut enters = Vec::new();
        for leg in legs {
            if !self.keep_or_remove_earlier(wanted, instrument, leg) && leg.qty > 0 {
                enters.push(leg);
            }
        }
        for leg in enters {
            let mut new = NewOrder::limit(
                tessera_types::ClientHeader {
                    cl_ord_id: ClOrdId::new(leg.id),
                    ..Default::default()
                },
                InstrumentId::new(0),
                leg.side,
                Price::from_ticks(leg.price),
                Qty::from_lots(leg.qty),
            );
            new.self_match = wanted.self_match;
            if wanted.post_only {
                new.exec_inst = ExecInst::POST_ONLY;
            }
            if let Err(reason) = self.new_order(wanted.party, instrument, &new, true) {
                self.reject(Some(Op::MassQuote.as_str()), reason, Some(leg.id));
            }
        }
    }

    /// The party's earlier quote on that side goes, or is kept in its place (then true).
    fn keep_or_remove_earlier(&mut self, wanted: &Wanted<'_>, instrument: usize, leg: Leg) -> bool {
        let Some(index) = self.orders.iter().position(|order| {
            order.quote
                && order.party == wanted.party
                && order.instrument == instrument
                && order.side == leg.side
        }) else {
            return false;
        };
        let earlier = &self.orders[index];
        let id_is_free = leg.id == earlier.id || self.orders.iter().all(|order| order.id != leg.id);
        let kept = wanted.keep_priority
            && earlier.price == Some(leg.price)
            && (1..=earlier.open).contains(&leg.qty)
            && id_is_free
            && self.check_total(instrument, leg.qty).is_ok();
        if !kept {
            self.cancel(index, "requote");
            return false;
        }
        let order = &mut self.orders[index];
        let old_id = std::mem::replace(&mut order.id, leg.id);
        order.shrink(order.open - leg.qty);
        order.filled = 0;
        order.post_only = wanted.post_only;
        order.self_match = wanted.self_match;
        let order = order.clone();
        self.say_replaced(&order, Some(old_id));
        true
    }
}
