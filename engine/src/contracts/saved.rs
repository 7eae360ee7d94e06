//! Contracts in a snapshot: pools, leases, limits and group orders.
//!
//! The section comes before the orders, which refer to it: asks to what stands behind them, shadows to
//! their parents. What follows from these is not written but made again: the lists of asks and buys, the
//! weights, deadlines, and which quotes a request has.

use std::collections::BTreeMap;

use tessera_types::{
    AccountId, BackedBy, Backing, ClOrdId, ClientHeader, InstrumentId, MAX_CONTRACT_PRICE,
    MAX_CONTRACT_QTY, MigProfile, Name, Need, NewOrder, Partition, PoolId, PoolPath, Price, Qty,
    SessionId, Side, SubMode, SubOrder,
};

use super::carve::{Carve, Slice};
use super::deadlines::{CLOSE, LAPSE};
use super::groups::{Group, GroupKind};
use super::lattice::{PROFILES, State};
use super::leases::{self, Lease};
use super::listing::{self, MAX_HOURS, MAX_NOTICE};
use super::pools::{self, Ask, AskList, Hours, MAX_SCORE, Pool};
use super::rfq::{MAX_QUOTES, Quote, Rfq};
use super::substitution::{Sub, SubLeg};
use super::{Tag, Window};
use crate::book::order::{Ext, Order, Place};
use crate::book::store::MAX_ORDERS;
use crate::exchange::Exchange;
use crate::snapshot::{Reader, SnapshotError, Writer};

/// Kinds of group orders.
const SUB: u8 = 0;
const CARVE: u8 = 1;
const RFQ: u8 = 2;
const QUOTE: u8 = 3;

impl Exchange {
    pub(crate) fn save_contracts(&self, writer: &mut Writer) {
        let all = &self.contracts;
        if all.is_empty() {
            return;
        }
        writer.len(all.pools.len());
        for pool in &all.pools {
            save_pool(pool, writer);
        }
        writer.len(all.leases.len());
        for lease in &all.leases {
            writer.option(Some(lease).filter(|lease| lease.qty > 0), save_lease);
        }
        let limits = all.accounts.iter();
        let limits = limits.filter_map(|(account, entry)| Some((account, entry.limit?)));
        let limits: Vec<_> = limits.collect();
        writer.len(limits.len());
        for (account, limit) in limits {
            writer.u32(account.get());
            writer.u64(limit);
        }
        writer.len(all.displaced.len());
        for (&(book, account), &times) in &all.displaced {
            writer.u32(book);
            writer.u32(account.get());
            writer.u32(times);
        }
        writer.len(all.groups.len());
        for (&id, group) in &all.groups {
            let order = &self.store.orders[group.slot];
            writer.u64(id);
            writer.u64(order.cl_ord_id);
            writer.u32(order.session().get());
            writer.u32(order.account);
            writer.u64(order.leaves);
            writer.u64(self.store.cum(group.slot));
            save_group(&group.kind, writer);
        }
    }

    pub(crate) fn restore_contracts(
        &mut self,
        reader: &mut Reader<'_>,
    ) -> Result<(), SnapshotError> {
        self.contracts.in_use = true;
        for book in &mut self.books {
            book.contract = book.rest.instrument.terms.is_some();
        }
        for _ in 0..reader.len(64)? {
            self.restore_pool(reader)?;
        }
        self.check_devices(reader)?;
        for _ in 0..reader.len(1)? {
            self.restore_lease(reader)?;
        }
        let mut before = None;
        for _ in 0..reader.len(12)? {
            let account = AccountId::new(reader.u32()?);
            reader.ensure(before < Some(account), "limits out of order")?;
            before = Some(account);
            let limit = reader.u64()?;
            let entry = self.contracts.accounts.entry(account).or_default();
            entry.limit = Some(limit);
        }
        let mut before = None;
        for _ in 0..reader.len(12)? {
            let (book, account) = (reader.u32()?, AccountId::new(reader.u32()?));
            let times = reader.u32()?;
            let place = (book, account);
            let known = self.contract(InstrumentId::new(book)).is_ok();
            let most = self.contracts.leases.len();
            let fits = known && before < Some(place) && (1..=most).contains(&(times as usize));
            reader.ensure(fits, "holders displaced out of order, or too often")?;
            before = Some(place);
            self.contracts.displaced.insert(place, times);
        }
        let mut before = 0;
        for _ in 0..reader.len(41)? {
            let id = self.restore_group(reader)?;
            reader.ensure(before < id, "group orders out of order")?;
            before = id;
        }
        self.check_holds(reader)
    }

    fn restore_pool(&mut self, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let pool = Pool {
            name: reader.name()?,
            account: AccountId::new(reader.u32()?),
            class: reader.u16()?,
            partition: reader.code("no partition")?,
            profile: reader.u8()?,
            zone: reader.u16()?,
            path: restore_path(reader)?,
            first_device: reader.u32()?,
            devices: reader.u32()?,
            attested: reader.u32()?,
            since: reader.u64()?,
            until: reader.u64()?,
            score: reader.u16()?,
            stake: reader.u64()?,
            cover: reader.u32()?,
            taken: Hours::restore(reader)?,
            asks: Vec::new(),
            resold: std::collections::BTreeSet::new(),
        };
        let place = listing::check_numbers(
            self.catalogue.as_ref(),
            pool.class,
            pool.partition,
            pool.profile,
            pool.zone,
        );
        let end = u64::from(pool.first_device) + u64::from(pool.devices);
        let fits =
            place.is_ok() && (1..=MAX_CONTRACT_QTY).contains(&pool.devices) && end <= 1 << 32;
        reader.ensure(fits, "no pool could be declared like this")?;
        let now = self.clock.nanos();
        let fits = match pool.until {
            0 => pool.attested == 0 && pool.cover == 0,
            until => until > now && (1..=pool.devices).contains(&pool.attested),
        };
        let fits = fits && pool.since <= now && pool.score <= MAX_SCORE;
        let fits = fits && pool.cover <= pool.attested;
        reader.ensure(fits, "no attestation could be like this")?;
        let fits = pool.taken.iter().all(|(_, count)| count <= pool.devices);
        reader.ensure(fits, "more units sold than there are")?;
        let number = u32::try_from(self.contracts.pools.len()).unwrap_or(u32::MAX);
        reader.ensure(number < PoolId::MAX.get(), "more pools than there may be")?;
        let name: Name = pool.name;
        let twin = self.contracts.pool_names.insert(name, PoolId::new(number));
        reader.ensure(twin.is_none(), "two pools of one name")?;
        if pool.until > 0 {
            self.arm(u128::from(pool.until), LAPSE, u64::from(number));
        }
        self.contracts.pools.push(pool);
        Ok(())
    }

    /// No device is in two pools.
    fn check_devices(&self, reader: &Reader<'_>) -> Result<(), SnapshotError> {
        let pools = self.contracts.pools.iter();
        let mut ranges: Vec<(u16, u64, u64)> = pools
            .map(|pool| {
                let first = u64::from(pool.first_device);
                (pool.class, first, first + u64::from(pool.devices))
            })
            .collect();
        ranges.sort_unstable();
        let apart = ranges
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 || pair[0].2 <= pair[1].1);
        reader.ensure(apart, "a device in two pools")
    }

    fn restore_lease(&mut self, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let many = u32::try_from(self.contracts.leases.len()).is_ok_and(|many| many < u32::MAX);
        reader.ensure(many, "more leases than there may be")?;
        if !reader.flag()? {
            // Only its number is left of it.
            self.contracts.leases.push(Lease {
                account: AccountId::new(0),
                book: 0,
                pool: 0,
                qty: 0,
                price: 0,
                notice_s: 0,
                window: Window { start: 0, end: 1 },
                block: 0,
                asks: Vec::new(),
            });
            return Ok(());
        }
        let lease = Lease {
            account: AccountId::new(reader.u32()?),
            book: reader.u32()?,
            pool: reader.u32()?,
            qty: reader.u32()?,
            price: reader.i64()?,
            notice_s: reader.u32()?,
            window: Window {
                start: reader.u32()?,
                end: reader.u32()?,
            },
            block: reader.u64()?,
            asks: Vec::new(),
        };
        let number = self.contract(InstrumentId::new(lease.book));
        let number = number.map_err(|_| reader.bad("a lease of no contract"))?;
        let (window, whole) = (lease.window, self.window(number));
        let fits = (lease.pool as usize) < self.contracts.pools.len()
            && (1..=MAX_CONTRACT_QTY).contains(&lease.qty)
            && is_small(lease.price)
            && lease.notice_s <= MAX_NOTICE
            && (whole.start..whole.end).contains(&window.start)
            && window.end == whole.end
            && lease.block < self.next_order_id;
        reader.ensure(fits, "no lease could be like this")?;
        self.add_lease(lease);
        Ok(())
    }

    /// One group order without its shadows; returns its id.
    fn restore_group(&mut self, reader: &mut Reader<'_>) -> Result<u64, SnapshotError> {
        let (id, cl_ord_id) = (reader.u64()?, reader.u64()?);
        let (session, account) = (SessionId::new(reader.u32()?), AccountId::new(reader.u32()?));
        let (leaves, cum) = (reader.u64()?, reader.u64()?);
        let known = session == SessionId::VENUE || self.sessions.get(session).is_some();
        reader.ensure(known, "an order of no session")?;
        let fits = (1..self.next_order_id).contains(&id)
            && cl_ord_id != 0
            && !self.contracts.groups.contains_key(&id)
            && self.store.orders.live() < MAX_ORDERS
            && self.store.find(session, cl_ord_id).is_none();
        reader.ensure(fits, "an id that cannot be, or comes twice")?;
        let total = leaves.checked_add(cum);
        let fits = leaves > 0 && total.is_some_and(|total| total <= Qty::MAX.lots());
        reader.ensure(fits, "no order has these quantities")?;
        let (kind, side) = match reader.u8()? {
            SUB => (self.restore_sub(reader, leaves)?, Side::Buy),
            CARVE => (self.restore_carve(reader, account, leaves)?, Side::Sell),
            RFQ => (self.restore_rfq(reader, leaves)?, Side::Buy),
            QUOTE => (
                self.restore_quote(reader, (id, account), leaves)?,
                Side::Sell,
            ),
            _ => return Err(reader.bad("no kind of group order")),
        };
        let header = ClientHeader {
            session,
            account,
            cl_ord_id: ClOrdId::new(cl_ord_id),
            ..ClientHeader::default()
        };
        let instrument = InstrumentId::new(kind.book());
        let (price, qty) = (Price::from_ticks(0), Qty::from_lots(leaves));
        let request = NewOrder::limit(header, instrument, side, price, qty);
        let order = Order::new(id, &request);
        let slot = self.store.insert(order, Some(Ext { cum, ..Ext::PLAIN }));
        self.contracts.set_tag(slot, Tag::Group { group: id });
        match &kind {
            GroupKind::Carve(carve) => {
                let (at, window) = (carve.pool, carve.window);
                self.contracts.pools[at].asks.push(Ask { id, slot, window });
            }
            GroupKind::Quote(quote) => {
                let (at, window) = (quote.pool, self.window(quote.book as usize));
                self.contracts.pools[at].asks.push(Ask { id, slot, window });
            }
            GroupKind::Rfq(rfq) => self.arm(u128::from(rfq.closes), CLOSE, id),
            GroupKind::Sub(_) => {}
        }
        self.keep_group(slot, kind);
        Ok(id)
    }

    fn restore_sub(&self, reader: &mut Reader<'_>, open: u64) -> Result<GroupKind, SnapshotError> {
        let mode: SubMode = reader.code("neither units nor work")?;
        let (qty, limit) = (reader.u32()?, reader.i64()?);
        let need = restore_need(reader)?;
        let most = match mode {
            SubMode::Units => u64::from(qty),
            SubMode::Work => u64::from(qty) * 10_000,
        };
        let fits = (1..=MAX_CONTRACT_QTY).contains(&qty) && is_small(limit) && open <= most;
        reader.ensure(fits, "no substitution order could be like this")?;
        let count = reader.len(20)?;
        let fits = (1..=SubOrder::MAX_CONTRACTS).contains(&count);
        reader.ensure(fits, "no substitution order has so many contracts")?;
        let mut legs: Vec<SubLeg> = Vec::with_capacity(count);
        for _ in 0..count {
            let leg = SubLeg {
                book: reader.u32()?,
                eta: reader.i64()?,
                bias: reader.i64()?,
                shadow: 0,
            };
            let known = self.contract(InstrumentId::new(leg.book)).is_ok();
            let in_turn = legs.last().is_none_or(|last| last.book < leg.book);
            let fits = known && in_turn && leg.eta > 0 && is_small(leg.bias);
            reader.ensure(fits, "a contract of a substitution order that cannot be")?;
            legs.push(leg);
        }
        Ok(GroupKind::Sub(Box::new(Sub {
            mode,
            qty,
            open,
            limit,
            need,
            legs,
        })))
    }

    fn restore_carve(
        &self,
        reader: &mut Reader<'_>,
        account: AccountId,
        open: u64,
    ) -> Result<GroupKind, SnapshotError> {
        let pool = PoolId::new(reader.u32()?);
        let at = self.pool_of(account, pool);
        let at = at.map_err(|_| reader.bad("a carve of no pool of its owner"))?;
        let (start, hours) = (reader.u32()?, reader.u16()?);
        let end = start.checked_add(u32::from(hours));
        let end = end.filter(|_| (1..=MAX_HOURS).contains(&hours));
        let end = end.ok_or_else(|| reader.bad("no window is like this"))?;
        let window = Window { start, end };
        let state = State::restored(reader.u8()?, reader.u8()?);
        let state = state.ok_or_else(|| reader.bad("no slices of a device take this"))?;
        let pool = &self.contracts.pools[at];
        let mut slices = [None; PROFILES];
        for (slice, profile) in slices.iter_mut().zip(MigProfile::ALL) {
            let Some((book, price)) = reader.option(|reader| Ok((reader.u32()?, reader.i64()?)))?
            else {
                continue;
            };
            let number = self.contract(InstrumentId::new(book));
            let number = number.map_err(|_| reader.bad("a slice of no contract"))?;
            let terms = self.terms(number);
            let catalogue = self.catalogue.as_ref();
            let named = catalogue.and_then(|all| listing::mig_profile(all, terms.profile));
            let fits = terms.partition == Partition::Mig
                && named == Some(*profile)
                && (terms.class, terms.zone) == (pool.class, pool.zone)
                && self.window(number) == window
                && self.books[number].price_fits(price);
            reader.ensure(fits, "a slice that its contract is not about")?;
            *slice = Some(Slice {
                book,
                price,
                shadow: 0,
            });
        }
        let priced =
            |(at, slice): (usize, &Option<Slice>)| slice.is_some() && state.capacity(at) > 0;
        let fits = pool.partition == Partition::Whole
            && open == 1
            && slices.iter().enumerate().any(priced)
            && pool.cover > 0
            && (state != State::default() || pool.free(window) > 0);
        reader.ensure(fits, "no carve could be live like this")?;
        Ok(GroupKind::Carve(Box::new(Carve {
            pool: at,
            window,
            state,
            slices,
        })))
    }

    fn restore_rfq(&self, reader: &mut Reader<'_>, open: u64) -> Result<GroupKind, SnapshotError> {
        let rfq = Rfq {
            book: reader.u32()?,
            qty: reader.u32()?,
            price: reader.i64()?,
            level: reader.code("no level")?,
            closes: reader.u64()?,
            max_quotes: reader.u8()?,
            auto: reader.flag()?,
            need: restore_need(reader)?,
            quotes: Vec::new(),
        };
        let number = self.contract(InstrumentId::new(rfq.book));
        let number = number.map_err(|_| reader.bad("a request of no contract"))?;
        let book = &self.books[number];
        let fits = open == u64::from(rfq.qty)
            && book.qty_fits(open)
            && book.price_fits(rfq.price)
            && (1..=MAX_QUOTES).contains(&rfq.max_quotes)
            && rfq.closes > self.clock.nanos();
        reader.ensure(fits, "no request could be live like this")?;
        Ok(GroupKind::Rfq(Box::new(rfq)))
    }

    /// A quote, which its request then knows.
    fn restore_quote(
        &mut self,
        reader: &mut Reader<'_>,
        (id, account): (u64, AccountId),
        open: u64,
    ) -> Result<GroupKind, SnapshotError> {
        let request = reader.u64()?;
        let pool = PoolId::new(reader.u32()?);
        let (price, notice_s) = (reader.i64()?, reader.u32()?);
        let at = self.pool_of(account, pool);
        let at = at.map_err(|_| reader.bad("a quote of no pool of its owner"))?;
        let Some(Group {
            kind: GroupKind::Rfq(rfq),
            ..
        }) = self.contracts.groups.get(&request)
        else {
            return Err(reader.bad("a quote of no request"));
        };
        let (book, qty) = (rfq.book, rfq.qty);
        let fits = open == u64::from(qty)
            && rfq.quotes.len() < usize::from(rfq.max_quotes)
            && self.pool_fits(at, book as usize)
            && self.books[book as usize].price_fits(price)
            && price <= rfq.price
            && notice_s <= MAX_NOTICE;
        reader.ensure(fits, "no quote could be live like this")?;
        if let Some(Group {
            kind: GroupKind::Rfq(rfq),
            ..
        }) = self.contracts.groups.get_mut(&request)
        {
            rfq.quotes.push(id);
        }
        Ok(GroupKind::Quote(Quote {
            rfq: request,
            pool: at,
            book,
            qty,
            price,
            notice_s,
        }))
    }

    /// What quotes hold is among what is taken from their pools: else it could not be given back.
    fn check_holds(&self, reader: &Reader<'_>) -> Result<(), SnapshotError> {
        let mut held: BTreeMap<usize, Hours> = BTreeMap::new();
        for group in self.contracts.groups.values() {
            if let GroupKind::Quote(quote) = &group.kind {
                let window = self.window(quote.book as usize);
                let hours = held.entry(quote.pool).or_default();
                let room = u64::from(hours.most(window)) + u64::from(quote.qty);
                let most = u64::from(self.contracts.pools[quote.pool].devices);
                reader.ensure(room <= most, "quotes that hold more than there is")?;
                hours.add(window, i64::from(quote.qty));
            }
        }
        let covered = held.iter().all(|(&at, hours)| {
            let taken = &self.contracts.pools[at].taken;
            hours.iter().all(|(hour, count)| count <= taken.at(hour))
        });
        reader.ensure(covered, "a quote that holds nothing")
    }

    // ---- what the orders say about contracts ----

    /// What stands behind a queued ask on a contract.
    pub(crate) fn saved_backing(&self, slot: u32) -> Option<Backing> {
        match self.contracts.tag(slot) {
            Tag::Pool(pool) => Some(Backing::pool(pool)),
            Tag::Lease(lease) => Some(Backing::lease(lease)),
            _ => None,
        }
    }

    /// Whether an order may stand in the book of a contract with this behind it.
    pub(crate) fn check_restored_backing(
        &self,
        number: usize,
        order: &Order,
        backing: Backing,
        reader: &Reader<'_>,
    ) -> Result<(), SnapshotError> {
        let account = order.account_id();
        let free = match (order.side(), backing.by()) {
            (Side::Buy, BackedBy::Nothing) => Some(u64::from(MAX_CONTRACT_QTY)),
            (Side::Sell, BackedBy::Pool(pool)) => self
                .pool_of(account, pool)
                .ok()
                .filter(|&at| self.pool_fits(at, number))
                .map(|at| u64::from(self.contracts.pools[at].free(self.window(number)))),
            (Side::Sell, BackedBy::Lease(lease)) => self
                .check_lease(account, number, lease)
                .ok()
                .map(|at| self.lease_free(at)),
            _ => None,
        };
        let fits = free.is_some_and(|free| order.leaves <= free);
        reader.ensure(fits, "an order on a contract without enough behind it")
    }

    pub(crate) fn set_restored_backing(&mut self, slot: u32, backing: Backing) {
        self.contracts.set_tag(slot, Tag::from(backing));
    }

    /// Puts a shadow into its book, when it is exactly what its parent has there.
    pub(crate) fn restore_shadow(
        &mut self,
        reader: &Reader<'_>,
        number: usize,
        home: (Place, Side, i64),
        order: Order,
    ) -> Result<u32, SnapshotError> {
        let group = self.contracts.groups.get(&order.id);
        let group = group.ok_or_else(|| reader.bad("a shadow of no group order"))?;
        let parent = &self.store.orders[group.slot];
        let same = (parent.cl_ord_id, parent.owner_word()) == (order.cl_ord_id, order.owner_word());
        let (_, _, price) = home;
        let id = order.id;
        let expected = match &group.kind {
            GroupKind::Sub(sub) => {
                let mut legs = sub.legs.iter().enumerate();
                let leg = legs.find(|(_, leg)| leg.book as usize == number && leg.shadow == 0);
                leg.and_then(|(at, leg)| {
                    let price = self.shadow_price(sub, leg)?;
                    let tag = Tag::Shadow { group: id };
                    Some((at, price, sub.wanted(sub.open, leg), tag))
                })
            }
            GroupKind::Carve(carve) => {
                let mut slices = carve.slices.iter().enumerate();
                slices.find_map(|(at, slice)| {
                    let slice = slice.filter(|s| s.book as usize == number && s.shadow == 0)?;
                    let profile = MigProfile::ALL[at].code();
                    let open = u64::from(carve.state.capacity(at));
                    Some((at, slice.price, open, Tag::Slice { group: id, profile }))
                })
            }
            GroupKind::Rfq(_) | GroupKind::Quote(_) => None,
        };
        let expected = expected.filter(|&(_, at, open, _)| (at, open) == (price, order.leaves));
        let expected = expected.filter(|_| same && home.0 == Place::Book);
        let (at, .., tag) =
            expected.ok_or_else(|| reader.bad("a shadow that its group order has not"))?;
        let book = &mut self.books[number];
        let slot = self.store.restore_order(book, home, order, 0, None);
        self.contracts.set_tag(slot, tag);
        match self
            .contracts
            .groups
            .get_mut(&id)
            .map(|group| &mut group.kind)
        {
            Some(GroupKind::Sub(sub)) => sub.legs[at].shadow = slot,
            Some(GroupKind::Carve(carve)) => {
                if let Some(slice) = &mut carve.slices[at] {
                    slice.shadow = slot;
                }
            }
            _ => {}
        }
        Ok(slot)
    }

    /// Makes what follows from the orders: lists of asks and buys; no shadow is missing.
    pub(crate) fn link_contract_orders(
        &mut self,
        reader: &Reader<'_>,
    ) -> Result<(), SnapshotError> {
        if self.contracts.is_empty() {
            return Ok(());
        }
        let orders = self
            .store
            .orders
            .iter()
            .filter(|(_, order)| order.is_single());
        let mut by_age: Vec<(u64, u32)> = orders.map(|(slot, order)| (order.id, slot)).collect();
        by_age.sort_unstable();
        for (id, slot) in by_age {
            let number = self.book_of(slot);
            if !self.books[number].contract {
                continue;
            }
            let window = self.window(number);
            let list = match self.contracts.tag(slot) {
                Tag::Pool(pool) => AskList::Pool(pool.get() as usize),
                Tag::Lease(lease) => {
                    let at = lease.get() as usize - 1;
                    let pool = self.contracts.leases[at].pool as usize;
                    self.contracts.pools[pool].resold.insert(lease);
                    AskList::Lease(at)
                }
                _ => {
                    self.note_buy(slot);
                    continue;
                }
            };
            self.asks_mut(list).push(Ask { id, slot, window });
        }
        for pool in &mut self.contracts.pools {
            pool.asks.sort_unstable_by_key(|ask| ask.id);
        }
        let few = self
            .contracts
            .pools
            .iter()
            .all(|pool| pool.asks.len() <= pools::MAX_ASKS);
        let lists = self.contracts.leases.iter();
        let few = few
            && lists
                .map(|lease| lease.asks.len())
                .all(|len| len <= leases::MAX_ASKS);
        reader.ensure(few, "more asks on one pool or lease than there may be")?;
        for group in self.contracts.groups.values() {
            let complete = match &group.kind {
                GroupKind::Sub(sub) => {
                    let bids = |leg: &SubLeg| self.shadow_price(sub, leg).is_some();
                    sub.legs.iter().all(|leg| bids(leg) == (leg.shadow != 0))
                }
                GroupKind::Carve(carve) => carve.slices.iter().enumerate().all(|(at, slice)| {
                    slice.is_none_or(|slice| (carve.state.capacity(at) > 0) == (slice.shadow != 0))
                }),
                GroupKind::Rfq(_) | GroupKind::Quote(_) => true,
            };
            reader.ensure(complete, "a group order without one of its shadows")?;
        }
        Ok(())
    }
}

fn is_small(price: i64) -> bool {
    price.unsigned_abs() <= MAX_CONTRACT_PRICE.unsigned_abs()
}

fn save_pool(pool: &Pool, writer: &mut Writer) {
    writer.name(&pool.name);
    writer.u32(pool.account.get());
    writer.u16(pool.class);
    writer.u8(pool.partition.code());
    writer.u8(pool.profile);
    writer.u16(pool.zone);
    let path = pool.path.components();
    writer.len(path.len());
    for &part in path {
        writer.u32(part);
    }
    writer.u32(pool.first_device);
    writer.u32(pool.devices);
    writer.u32(pool.attested);
    writer.u64(pool.since);
    writer.u64(pool.until);
    writer.u16(pool.score);
    writer.u64(pool.stake);
    writer.u32(pool.cover);
    pool.taken.save(writer);
}

fn restore_path(reader: &mut Reader<'_>) -> Result<PoolPath, SnapshotError> {
    let mut parts = Vec::new();
    for _ in 0..reader.len(4)? {
        reader.ensure(parts.len() < PoolPath::MAX, "a path of too many parts")?;
        parts.push(reader.u32()?);
    }
    PoolPath::new(&parts).ok_or_else(|| reader.bad("a path of too many parts"))
}

impl Hours {
    /// Runs of hours that follow each other, each with its counts.
    fn save(&self, writer: &mut Writer) {
        let mut runs: Vec<(u32, Vec<u32>)> = Vec::new();
        for (hour, count) in self.iter() {
            match runs.last_mut() {
                Some((first, counts)) if u64::from(*first) + counts.len() as u64 == hour.into() => {
                    counts.push(count);
                }
                _ => runs.push((hour, vec![count])),
            }
        }
        writer.len(runs.len());
        for (first, counts) in runs {
            writer.u32(first);
            writer.len(counts.len());
            for count in counts {
                writer.u32(count);
            }
        }
    }

    fn restore(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let mut hours = Self::default();
        let mut next = None;
        for _ in 0..reader.len(16)? {
            let first = reader.u32()?;
            let count = reader.len(4)?;
            let apart = next < Some(u64::from(first));
            reader.ensure(apart && count > 0, "runs of hours that touch, or are empty")?;
            for hour in u64::from(first)..u64::from(first) + count as u64 {
                let taken = reader.u32()?;
                let at = u32::try_from(hour).ok().filter(|&hour| hour < u32::MAX);
                let at = at.filter(|_| taken > 0);
                let start =
                    at.ok_or_else(|| reader.bad("an hour in which nothing can be taken"))?;
                let end = start + 1;
                hours.add(Window { start, end }, i64::from(taken));
            }
            next = Some(u64::from(first) + count as u64);
        }
        Ok(hours)
    }
}

fn save_lease(writer: &mut Writer, lease: &Lease) {
    writer.u32(lease.account.get());
    writer.u32(lease.book);
    writer.u32(lease.pool);
    writer.u32(lease.qty);
    writer.i64(lease.price);
    writer.u32(lease.notice_s);
    writer.u32(lease.window.start);
    writer.u32(lease.window.end);
    writer.u64(lease.block);
}

fn save_need(need: &Need, writer: &mut Writer) {
    writer.u8(need.isolation.code());
    writer.u32(need.min_notice_s);
    writer.len(need.exclude.len());
    for account in &need.exclude {
        writer.u32(account.get());
    }
    writer.u16(need.min_score);
    writer.option(need.max_age_s, Writer::u32);
    writer.u64(need.min_stake);
}

fn restore_need(reader: &mut Reader<'_>) -> Result<Need, SnapshotError> {
    let isolation = reader.code("no isolation")?;
    let min_notice_s = reader.u32()?;
    let count = reader.len(4)?;
    reader.ensure(count <= Need::MAX_EXCLUDED, "too many excluded sellers")?;
    let mut exclude = Vec::with_capacity(count);
    for _ in 0..count {
        exclude.push(AccountId::new(reader.u32()?));
    }
    Ok(Need {
        isolation,
        min_notice_s,
        exclude,
        min_score: reader.u16()?,
        max_age_s: reader.option(Reader::u32)?,
        min_stake: reader.u64()?,
    })
}

fn save_group(kind: &GroupKind, writer: &mut Writer) {
    let number = |pool: usize| u32::try_from(pool).expect("pools are numbered with 31 bits");
    match kind {
        GroupKind::Sub(sub) => {
            writer.u8(SUB);
            writer.u8(sub.mode.code());
            writer.u32(sub.qty);
            writer.i64(sub.limit);
            save_need(&sub.need, writer);
            writer.len(sub.legs.len());
            for leg in &sub.legs {
                writer.u32(leg.book);
                writer.i64(leg.eta);
                writer.i64(leg.bias);
            }
        }
        GroupKind::Carve(carve) => {
            writer.u8(CARVE);
            writer.u32(number(carve.pool));
            writer.u32(carve.window.start);
            writer.u16(u16::try_from(carve.window.hours()).expect("windows are bounded"));
            writer.u8(carve.state.mem_mask);
            writer.u8(carve.state.compute_used);
            for slice in carve.slices {
                writer.option(slice, |writer, slice| {
                    writer.u32(slice.book);
                    writer.i64(slice.price);
                });
            }
        }
        GroupKind::Rfq(rfq) => {
            writer.u8(RFQ);
            writer.u32(rfq.book);
            writer.u32(rfq.qty);
            writer.i64(rfq.price);
            writer.u8(rfq.level.code());
            writer.u64(rfq.closes);
            writer.u8(rfq.max_quotes);
            writer.u8(u8::from(rfq.auto));
            save_need(&rfq.need, writer);
        }
        GroupKind::Quote(quote) => {
            writer.u8(QUOTE);
            writer.u64(quote.rfq);
            writer.u32(number(quote.pool));
            writer.i64(quote.price);
            writer.u32(quote.notice_s);
        }
    }
}
