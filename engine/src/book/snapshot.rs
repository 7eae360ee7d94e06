//! The live orders as bytes: queue by queue, each queue from its first order to its last.
//!
//! Queues come in order of instrument, place, side and rank (the best first), so a book reads as it
//! stands. In the rooms where the order of arrival means nothing (stops), orders stand by age.

use tessera_types::{Backing, OrdType, Phase, Qty, SessionId, Side, TimeInForce};

use super::Book;
use super::order::{Ext, Order, Place, flag};
use super::slab::NONE;
use super::store::MAX_ORDERS;
use crate::exchange::Exchange;
use crate::orders::slices_fit;
use crate::snapshot::{Reader, SnapshotError, Writer};

/// The parts of an order that few have, as bits of one byte; each stands behind the order if it is set.
mod part {
    /// Slice and what is left of it.
    pub(super) const SLICES: u8 = 1;
    /// When it ends.
    pub(super) const EXPIRE: u8 = 2;
    /// What it is to become.
    pub(super) const STOP: u8 = 4;
    /// What stands behind an ask on a contract.
    pub(super) const BACKING: u8 = 8;
    /// It is the shadow of a group order, with the number of that; nothing else stands behind it.
    pub(super) const SHADOW: u8 = 16;
}

const PLACES: [Place; 4] = [Place::Book, Place::Market, Place::Stop, Place::Trail];

impl Exchange {
    /// Every queue that is not empty, with its orders.
    pub(crate) fn save_orders(&self, writer: &mut Writer) {
        for book in &self.books {
            for place in PLACES {
                for side in [Side::Buy, Side::Sell] {
                    self.save_place(book, place, side, writer);
                }
            }
        }
    }

    fn save_place(&self, book: &Book, place: Place, side: Side, writer: &mut Writer) {
        let (queues, nodes) = (&self.store.queues, &self.store.nodes);
        let room = match place {
            Place::Book => {
                let levels = book.side(side).queues(queues, nodes);
                return levels.for_each(|at| self.save_queue(at, writer));
            }
            Place::Stop => {
                let stops = book.rest.stops[side as usize].queues(queues, nodes);
                return stops.for_each(|at| self.save_queue(at, writer));
            }
            Place::Market => book.rest.markets[side as usize],
            Place::Trail => book.rest.trails[side as usize],
        };
        if room != NONE {
            self.save_queue(room, writer);
        }
    }

    fn save_queue(&self, at: u32, writer: &mut Writer) {
        let queue = &self.store.queues[at];
        writer.u32(queue.instrument().get());
        writer.u8(queue.place() as u8);
        writer.u8(queue.side() as u8);
        writer.i64(queue.price);
        writer.u32(queue.orders);
        let records = self.store.orders.all();
        let in_turn = self.in_turn(at);
        if matches!(queue.place(), Place::Book | Place::Market) {
            in_turn.for_each(|slot| self.save_order(slot, writer));
        } else {
            let mut by_age: Vec<u32> = in_turn.collect();
            by_age.sort_unstable_by_key(|&slot| records[slot as usize].id);
            by_age
                .into_iter()
                .for_each(|slot| self.save_order(slot, writer));
        }
    }

    /// The orders of a queue from the first in line to the last.
    fn in_turn(&self, at: u32) -> impl Iterator<Item = u32> {
        let records = self.store.orders.all();
        core::iter::successors(Some(self.store.queues[at].head), move |&slot| {
            Some(records[slot as usize].next).filter(|&next| next != NONE)
        })
    }

    fn save_order(&self, slot: u32, writer: &mut Writer) {
        let order = &self.store.orders[slot];
        writer.u64(order.id);
        writer.u64(order.cl_ord_id);
        writer.u64(order.leaves);
        writer.u64(self.store.cum(slot));
        writer.u32(order.session().get());
        writer.u32(order.account);
        writer.u16(order.flags());
        if !order.has(flag::INDEXED) {
            return writer.u8(part::SHADOW);
        }
        let contract = self.books[self.store.queues[order.queue].book()].contract;
        let backing = contract.then(|| self.saved_backing(slot)).flatten();
        // A record beside the order that says nothing but what has been filled is storage, not state.
        let ext = self.store.ext(slot).filter(|ext| !ext.is_plain());
        let parts = ext.map_or(0, |ext| {
            let bit = |on: bool, part: u8| if on { part } else { 0 };
            bit(ext.display != 0, part::SLICES)
                | bit(ext.expire != 0, part::EXPIRE)
                | bit(ext.stop.is_some() || ext.trail != 0, part::STOP)
        });
        let backed = if backing.is_some() { part::BACKING } else { 0 };
        writer.u8(parts | backed);
        if let Some(ext) = ext {
            Self::save_parts(ext, parts, writer);
        }
        if let Some(backing) = backing {
            writer.u32(backing.bits());
        }
    }

    fn save_parts(ext: &Ext, parts: u8, writer: &mut Writer) {
        if parts & part::SLICES != 0 {
            writer.u64(ext.display);
            writer.u64(ext.shown);
        }
        if parts & part::EXPIRE != 0 {
            writer.u64(ext.expire);
        }
        if parts & part::STOP != 0 {
            writer.u8(ext.ord_type.code());
            writer.u8(ext.time_in_force.code());
            writer.i64(ext.limit);
            writer.option(ext.stop, Writer::i64);
            writer.u64(ext.trail);
            writer.u64(ext.min_qty);
            writer.option(ext.budget, Writer::u64);
        }
    }

    pub(crate) fn restore_orders(&mut self, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let mut by_age = Vec::new();
        let mut before = None;
        while !reader.at_end() {
            let number = reader.u32()? as usize;
            let place = reader.u8()?;
            let place = *PLACES
                .get(usize::from(place))
                .ok_or_else(|| reader.bad("no place"))?;
            let side: Side = reader.code("no side")?;
            let price = reader.i64()?;
            let count = reader.u32()?;
            reader.ensure(count > 0, "an empty queue")?;
            let book = self
                .books
                .get(number)
                .ok_or_else(|| reader.bad("no such instrument"))?;
            let rank = match place {
                Place::Book => book.rank(side, price),
                Place::Stop => book.rank(side.opposite(), price),
                Place::Market | Place::Trail => 0,
            };
            let fits = match place {
                Place::Book | Place::Stop => book.price_fits(price),
                Place::Market | Place::Trail => price == 0,
            };
            reader.ensure(fits, "no queue has this price")?;
            let key = Some((number, place as u8, side as u8, rank));
            reader.ensure(before < key, "queues out of order")?;
            before = key;
            let mut age = 0;
            for _ in 0..count {
                let (slot, id) = self.restore_order(reader, number, (place, side, price))?;
                if matches!(place, Place::Stop | Place::Trail) {
                    reader.ensure(age < id, "stops out of order")?;
                    age = id;
                }
                if !self.contracts.is_group(id) {
                    by_age.push((id, slot));
                }
            }
        }
        by_age.sort_unstable();
        let distinct = by_age.windows(2).all(|pair| pair[0].0 < pair[1].0);
        reader.ensure(distinct, "two orders of one id")?;
        for &(_, slot) in &by_age {
            let taken = "two orders of one client id, or two quotes of one owner";
            reader.ensure(self.store.restore_ids(slot), taken)?;
        }
        for book in &self.books {
            self.check_restored(book, reader)?;
        }
        self.link_contract_orders(reader)
    }

    /// Reads one order into its queue; returns its record and its id.
    fn restore_order(
        &mut self,
        reader: &mut Reader<'_>,
        number: usize,
        home: (Place, Side, i64),
    ) -> Result<(u32, u64), SnapshotError> {
        let (place, side, price) = home;
        reader.ensure(self.store.orders.live() < MAX_ORDERS, "too many orders")?;
        let (id, cl_ord_id) = (reader.u64()?, reader.u64()?);
        let (leaves, cum) = (reader.u64()?, reader.u64()?);
        let (session, account) = (SessionId::new(reader.u32()?), reader.u32()?);
        let order = Order::restored(id, cl_ord_id, leaves, (session, account), reader.u16()?)
            .filter(|order| order.side() == side)
            .ok_or_else(|| reader.bad("no order of this queue has these flags"))?;
        reader.ensure((1..self.next_order_id).contains(&id), "an id of no order")?;
        reader.ensure(cl_ord_id != 0, "an order without a client id")?;
        let total = leaves.checked_add(cum);
        let fits = leaves > 0 && total.is_some_and(|total| total <= Qty::MAX.lots());
        reader.ensure(fits, "no order has these quantities")?;
        let known = session == SessionId::VENUE || self.sessions.get(session).is_some();
        reader.ensure(known, "an order of no session")?;
        let parts = reader.u8()?;
        if parts == part::SHADOW {
            reader.ensure(cum == 0, "no shadow has these quantities")?;
            let slot = self.restore_shadow(reader, number, home, order)?;
            return Ok((slot, id));
        }
        let taken = self.contracts.is_group(id);
        reader.ensure(!taken, "an order with the id of a group order")?;
        let ext = self.restore_ext(reader, number, leaves, parts & !part::BACKING)?;
        let backing = match parts & part::BACKING {
            0 => Backing::NOTHING,
            _ => Backing::from_bits(reader.u32()?),
        };
        let said = parts & part::BACKING == 0 || !backing.is_nothing();
        reader.ensure(said, "nothing behind an order that has something behind it")?;
        let trail = ext.as_ref().map_or(0, |ext| ext.trail);
        let stop = ext.as_ref().and_then(|ext| ext.stop);
        let ord_type = ext.as_ref().map_or(OrdType::Limit, |ext| ext.ord_type);
        let sliced = ext.as_ref().is_some_and(|ext| ext.display != 0);
        let fits = match place {
            Place::Book => ord_type == OrdType::Limit,
            Place::Market => ord_type == OrdType::Limit && !sliced,
            Place::Stop => {
                matches!(ord_type, OrdType::Stop | OrdType::StopLimit)
                    && (stop, trail, sliced) == (Some(price), 0, false)
            }
            Place::Trail => ord_type == OrdType::TrailingStop && trail > 0 && !sliced,
        };
        reader.ensure(fits, "no order of this queue waits so")?;
        if self.books[number].contract {
            let plain = matches!(place, Place::Book | Place::Market)
                && !sliced
                && !order.has(flag::ALL_OR_NONE);
            reader.ensure(plain, "no order on a contract is of this type")?;
            self.check_restored_backing(number, &order, backing, reader)?;
        } else {
            let plain = parts & part::BACKING == 0;
            reader.ensure(plain, "something behind an order on no contract")?;
        }
        let book = &mut self.books[number];
        let slot = self.store.restore_order(book, home, order, cum, ext);
        if self.books[number].contract {
            self.set_restored_backing(slot, backing);
        }
        Ok((slot, id))
    }

    fn restore_ext(
        &self,
        reader: &mut Reader<'_>,
        number: usize,
        leaves: u64,
        parts: u8,
    ) -> Result<Option<Ext>, SnapshotError> {
        let known = part::SLICES | part::EXPIRE | part::STOP;
        reader.ensure(parts & !known == 0, "no order has these parts")?;
        if parts == 0 {
            return Ok(None);
        }
        let mut ext = Ext::PLAIN;
        if parts & part::SLICES != 0 {
            ext.display = reader.u64()?;
            ext.shown = reader.u64()?;
            let fits = ext.display > 0
                && (1..=ext.display.min(leaves)).contains(&ext.shown)
                && slices_fit(leaves, ext.display);
            reader.ensure(fits, "no iceberg has these slices")?;
        }
        if parts & part::EXPIRE != 0 {
            ext.expire = reader.u64()?;
            let waits = ext.expire > self.clock.nanos();
            reader.ensure(waits, "an order that has expired")?;
        }
        if parts & part::STOP != 0 {
            ext.ord_type = reader.code("no type of order")?;
            ext.time_in_force = reader.code::<TimeInForce>("no time in force")?;
            ext.limit = reader.i64()?;
            let fits = match ext.ord_type {
                OrdType::StopLimit => self.books[number].price_fits(ext.limit),
                OrdType::Stop | OrdType::TrailingStop => ext.limit == 0,
                OrdType::Limit | OrdType::Market | OrdType::Iceberg => false,
            };
            reader.ensure(fits, "no stop of this type has this limit")?;
            ext.stop = reader.option(Reader::i64)?;
            ext.trail = reader.u64()?;
            let far = i64::try_from(ext.trail).is_ok();
            reader.ensure(far, "no stop trails so far behind")?;
            ext.min_qty = reader.u64()?;
            ext.budget = reader.option(Reader::u64)?;
            let fits = ext.budget.is_none() || ext.time_in_force == TimeInForce::Fok;
            reader.ensure(fits, "a budget of no fill-or-kill order")?;
        }
        Ok(Some(ext))
    }

    /// What can only be seen once all orders of a book are there.
    fn check_restored(&self, book: &Book, reader: &Reader<'_>) -> Result<(), SnapshotError> {
        for side in [Side::Buy, Side::Sell] {
            let top = book.rest.top[side as usize];
            let half = book.side(side);
            let mut orders = half
                .queues(&self.store.queues, &self.store.nodes)
                .flat_map(|at| self.in_turn(at));
            let stands = top == 0 || orders.any(|slot| self.store.orders[slot].id == top);
            reader.ensure(
                stands,
                "the order that is favoured does not stand in the book",
            )?;
        }
        // A bid with a need may stand beside asks that it does not take.
        let apart = book.contract || book.phase != Phase::Continuous || self.is_uncrossed(book);
        reader.ensure(apart, "a crossed book")
    }

    /// True when a book could trade on: only beside all-or-none orders may bids reach asks.
    pub(crate) fn is_uncrossed(&self, book: &Book) -> bool {
        let [bid, ask] = [Side::Buy, Side::Sell].map(|side| book.side(side).best);
        bid == NONE
            || ask == NONE
            || book.aon_resting > 0
            || self.store.queues[bid].price < self.store.queues[ask].price
    }
}
