//! Mass quotes.

use tessera::script::{ScriptCommand, ScriptQuote};
use tessera_types::{ClOrdId, ExecInst, InstrumentId, NewOrder, Price, Qty, SelfMatch, Side};

use super::contracts::{Named, Refused};
use super::{Model, Op, Phase, word};

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
    /// All entries; `named` is what their asks name, when an entry names something.
    pub(super) fn mass_quote(
        &mut self,
        command: ScriptCommand<'_>,
        named: &[Result<Named, Refused>],
    ) -> Result<(), Refused> {
        let ScriptCommand::MassQuote {
            party,
            post_only,
            keep_priority,
            self_match,
            entries,
            ..
        } = command
        else {
            unreachable!("asked of mass quotes");
        };
        let wanted = Wanted {
            party: &party,
            post_only,
            keep_priority,
            self_match,
        };
        let nothing = Ok(Named::default());
        let mut touched = Vec::new();
        for (at, quote) in entries.iter().enumerate() {
            let named = named.get(at).unwrap_or(&nothing);
            if let Some(instrument) = self.quote(&wanted, quote, named) {
                touched.push(instrument);
            }
        }
        self.finish(&touched);
        Ok(())
    }

    /// Handles one entry; returns its instrument unless the entry is refused.
    fn quote(
        &mut self,
        wanted: &Wanted<'_>,
        quote: &ScriptQuote<'_>,
        named: &Result<Named, Refused>,
    ) -> Option<usize> {
        match self.check_entry(quote, named) {
            Ok((instrument, named)) => {
                self.requote(wanted, instrument, quote, named);
                Some(instrument)
            }
            Err(reason) => {
                self.refuse(Op::MassQuote.as_str(), reason, None);
                None
            }
        }
    }

    fn check_entry<'n>(
        &self,
        quote: &ScriptQuote<'_>,
        named: &'n Result<Named, Refused>,
    ) -> Result<(usize, &'n Named), Refused> {
        let entry = &quote.entry;
        if let Some(reason) = entry.refused {
            return Err(reason.as_str());
        }
        let named = named.as_ref().map_err(|reason| *reason)?;
        let instrument = self.instrument(quote.instrument.as_deref()).map_err(word)?;
        let asks = entry.ask_qty.is_some_and(|qty| !qty.is_zero());
        match (self.is_contract(instrument), asks, named.is_there()) {
            (true, true, false) => return Err("missing_field"),
            (true, false, true) | (false, _, true) => return Err("bad_field"),
            _ => {}
        }
        match self.listings[instrument].phase {
            Phase::Halt => return Err("halted"),
            Phase::Closed => return Err("closed"),
            Phase::Auction | Phase::Continuous => {}
        }
        let quoted = |qty: Option<Qty>| qty.is_some_and(|qty| !qty.is_zero());
        if quoted(entry.bid_qty) && quoted(entry.ask_qty) && entry.bid_price >= entry.ask_price {
            return Err("crossed_quote");
        }
        Ok((instrument, named))
    }

    fn requote(
        &mut self,
        wanted: &Wanted<'_>,
        instrument: usize,
        quote: &ScriptQuote<'_>,
        named: &Named,
    ) {
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
            if !self.keep_or_remove_earlier(wanted, instrument, leg, named) && leg.qty > 0 {
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
            let nothing = Named::default();
            let named = if leg.side == Side::Buy {
                &nothing
            } else {
                named
            };
            if let Err(reason) = self.new_order(wanted.party, instrument, &new, true, named) {
                self.refuse(Op::MassQuote.as_str(), reason, Some(leg.id));
            }
        }
    }

    /// The party's earlier quote on that side goes, or is kept in its place (then true).
    fn keep_or_remove_earlier(
        &mut self,
        wanted: &Wanted<'_>,
        instrument: usize,
        leg: Leg,
        named: &Named,
    ) -> bool {
        let Some(index) = self.orders.iter().position(|order| {
            order.quote
                && order.party == wanted.party
                && order.instrument == instrument
                && order.side == leg.side
        }) else {
            return false;
        };
        let earlier = &self.orders[index];
        let id_is_free = leg.id == earlier.id || !self.id_is_live(leg.id);
        let kept = wanted.keep_priority
            && earlier.price == Some(leg.price)
            && (1..=earlier.open).contains(&leg.qty)
            && id_is_free
            && (leg.side == Side::Buy || self.is_named(earlier.backing, named))
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
