//! The records of the store: orders, what few of them need besides, and the queues they stand in.

use tessera_types::{
    AccountId, ClOrdId, Event, ExecInst, InstrumentId, NewOrder, OrdType, OrderId, Party, Price,
    Qty, SelfMatch, ServerSeq, SessionId, Side, TimeInForce,
};

use super::slab::{NONE, Record};

/// A live order: 48 bytes, because a million of them must stay near the caches.
///
/// | bytes | field | |
/// |---:|---|---|
/// | 8 | id | the exchange's id, which is also its age; 0 marks a free record |
/// | 8 | cl_ord_id | the owner's id |
/// | 8 | leaves | what is open |
/// | 4 | account | |
/// | 4 | owner | session (20 bits), flags (12 bits) |
/// | 4, 4 | next, prev | neighbours in the queue |
/// | 4 | queue | the [`Queue`] it stands in; `NONE` while it is the incoming order |
/// | 4 | extra | what has been filled, or the handle of an [`Ext`] |
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) cl_ord_id: u64,
    pub(crate) leaves: u64,
    pub(crate) account: u32,
    owner: u32,
    pub(crate) next: u32,
    pub(crate) prev: u32,
    pub(crate) queue: u32,
    extra: u32,
}

const _: () = assert!(size_of::<Order>() == 48);

/// Flags in the low bits of [`Order::owner`].
pub(crate) mod flag {
    pub(crate) const SELL: u32 = 1;
    pub(crate) const DAY: u32 = 1 << 1;
    /// Three bits of self-trade mode.
    pub(crate) const STP_SHIFT: u32 = 2;
    pub(crate) const POST_ONLY: u32 = 1 << 5;
    pub(crate) const ALL_OR_NONE: u32 = 1 << 6;
    pub(crate) const STAY: u32 = 1 << 7;
    pub(crate) const CANCEL_ON_FAILURE: u32 = 1 << 8;
    /// Entered by a mass quote.
    pub(crate) const QUOTE: u32 = 1 << 9;
    /// `extra` is a handle.
    pub(crate) const EXT: u32 = 1 << 10;
    /// Its client id is in the index.
    pub(crate) const INDEXED: u32 = 1 << 11;
    /// What says how the record is stored, not what the order is.
    pub(crate) const STORAGE: u32 = EXT | INDEXED;
    pub(crate) const BITS: u32 = 12;
}

impl Order {
    /// The record of a new order, in no queue yet.
    #[inline(always)]
    pub(crate) fn new(id: u64, request: &NewOrder) -> Self {
        let inst = request.exec_inst;
        let set = |on: bool, bit: u32| if on { bit } else { 0 };
        let flags = set(request.side == Side::Sell, flag::SELL)
            | set(request.time_in_force == TimeInForce::Day, flag::DAY)
            | u32::from(request.self_match.code()) << flag::STP_SHIFT
            | set(inst.contains(ExecInst::POST_ONLY), flag::POST_ONLY)
            | set(inst.contains(ExecInst::ALL_OR_NONE), flag::ALL_OR_NONE)
            | set(inst.contains(ExecInst::STAY_ON_DISCONNECT), flag::STAY)
            | set(
                inst.contains(ExecInst::CANCEL_ON_SYSTEM_FAILURE),
                flag::CANCEL_ON_FAILURE,
            );
        Self {
            id,
            cl_ord_id: request.header.cl_ord_id.get(),
            leaves: request.qty.lots(),
            account: request.header.account.get(),
            owner: request.header.session.get() << flag::BITS | flags,
            next: NONE,
            prev: NONE,
            queue: NONE,
            extra: 0,
        }
    }

    /// The record of an order that was saved, in no queue yet; none when the flags cannot be.
    pub(crate) fn restored(
        id: u64,
        cl_ord_id: u64,
        leaves: u64,
        (session, account): (SessionId, u32),
        flags: u16,
    ) -> Option<Self> {
        let flags = u32::from(flags);
        let order = Self {
            id,
            cl_ord_id,
            leaves,
            account,
            owner: session.get() << flag::BITS | flags,
            ..Self::NULL
        };
        let known = flags < 1 << flag::BITS && flags & flag::STORAGE == 0;
        let mode = u32::from(order.self_match().code()) == flags >> flag::STP_SHIFT & 7;
        (known && mode).then_some(order)
    }

    /// The flags that are the order's, not the storage's.
    pub(crate) fn flags(&self) -> u16 {
        let flags = self.owner & ((1 << flag::BITS) - 1) & !flag::STORAGE;
        u16::try_from(flags).expect("twelve bits")
    }

    /// True for an order of a book under a client id: no shadow, and no group order.
    #[inline]
    pub(crate) const fn is_single(&self) -> bool {
        self.has(flag::INDEXED) && self.queue != NONE
    }

    /// The record of a shadow of this group order: its number, owner and side, and no id.
    pub(crate) fn shadow(&self, leaves: u64) -> Self {
        let mut shadow = Self {
            leaves,
            next: NONE,
            prev: NONE,
            queue: NONE,
            extra: 0,
            ..*self
        };
        shadow.set(flag::EXT, false);
        shadow.set(flag::INDEXED, false);
        shadow
    }

    #[inline]
    pub(crate) const fn order_id(&self) -> OrderId {
        OrderId::new(self.id)
    }

    #[inline]
    pub(crate) const fn client_id(&self) -> ClOrdId {
        ClOrdId::new(self.cl_ord_id)
    }

    #[inline]
    pub(crate) const fn account_id(&self) -> AccountId {
        AccountId::new(self.account)
    }

    /// Its owner, to whom message `server_seq` goes.
    #[inline(always)]
    pub(crate) const fn party(&self, server_seq: ServerSeq) -> Party {
        Party {
            session: self.session(),
            account: self.account_id(),
            cl_ord_id: self.client_id(),
            order_id: self.order_id(),
            server_seq,
        }
    }

    #[inline]
    pub(crate) const fn session(&self) -> SessionId {
        SessionId::new(self.owner >> flag::BITS)
    }

    #[inline]
    pub(crate) const fn side(&self) -> Side {
        if self.has(flag::SELL) {
            Side::Sell
        } else {
            Side::Buy
        }
    }

    pub(crate) fn exec_inst(&self) -> ExecInst {
        [
            (flag::POST_ONLY, ExecInst::POST_ONLY),
            (flag::ALL_OR_NONE, ExecInst::ALL_OR_NONE),
            (flag::STAY, ExecInst::STAY_ON_DISCONNECT),
            (flag::CANCEL_ON_FAILURE, ExecInst::CANCEL_ON_SYSTEM_FAILURE),
        ]
        .into_iter()
        .filter(|&(bit, _)| self.has(bit))
        .fold(ExecInst::NONE, |all, (_, inst)| all.with(inst))
    }

    #[inline]
    pub(crate) const fn has(&self, bit: u32) -> bool {
        self.owner & bit != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, bit: u32, on: bool) {
        self.owner = if on {
            self.owner | bit
        } else {
            self.owner & !bit
        };
    }

    #[inline]
    pub(crate) fn self_match(&self) -> SelfMatch {
        match self.owner >> flag::STP_SHIFT & 7 {
            1 => SelfMatch::CancelNew,
            2 => SelfMatch::CancelOld,
            3 => SelfMatch::CancelBoth,
            4 => SelfMatch::Decrement,
            _ => SelfMatch::None,
        }
    }

    pub(crate) fn set_self_match(&mut self, mode: SelfMatch) {
        self.owner =
            self.owner & !(7 << flag::STP_SHIFT) | u32::from(mode.code()) << flag::STP_SHIFT;
    }

    /// Session and flags as far as they are the order's, not the storage's.
    #[inline]
    pub(crate) const fn owner_word(&self) -> u64 {
        (self.account as u64) << 32 | (self.owner & !flag::STORAGE) as u64
    }

    /// The handle of its [`Ext`], when it has one.
    #[inline]
    pub(crate) const fn ext(&self) -> Option<u32> {
        if self.has(flag::EXT) {
            Some(self.extra)
        } else {
            None
        }
    }

    pub(crate) fn set_ext(&mut self, ext: u32) {
        self.extra = ext;
        self.set(flag::EXT, true);
    }

    /// What has been filled, when there is no [`Ext`] to hold it.
    #[inline]
    pub(crate) const fn plain_cum(&self) -> u64 {
        self.extra as u64
    }

    #[inline]
    pub(crate) fn add_plain_cum(&mut self, qty: u64) {
        debug_assert!(!self.has(flag::EXT));
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the caller has looked that it fits"
        )]
        let qty = qty as u32;
        self.extra += qty;
    }

    #[inline]
    pub(crate) fn set_plain_cum(&mut self, cum: u32) {
        debug_assert!(!self.has(flag::EXT));
        self.extra = cum;
    }
}

impl Record for Order {
    const NULL: Self = Self {
        id: 0,
        cl_ord_id: 0,
        leaves: 0,
        account: 0,
        owner: 0,
        next: NONE,
        prev: NONE,
        queue: NONE,
        extra: 0,
    };

    fn set_free(&mut self, next: u32) {
        self.id = 0;
        self.next = next;
    }

    fn next_free(&self) -> Option<u32> {
        (self.id == 0).then_some(self.next)
    }
}

/// What icebergs, stops, `gtd` orders and a few others need besides.
#[derive(Clone, Debug)]
pub(crate) struct Ext {
    /// What has been filled.
    pub(crate) cum: u64,
    /// Slice of an iceberg; 0 for every other order.
    pub(crate) display: u64,
    /// What is left of the slice.
    pub(crate) shown: u64,
    /// How the order was entered.
    pub(crate) ord_type: OrdType,
    pub(crate) time_in_force: TimeInForce,
    /// Limit of a waiting `stop_limit` order.
    pub(crate) limit: i64,
    /// Trigger of a waiting stop; none for a trailing stop before the first trade.
    pub(crate) stop: Option<i64>,
    /// Distance of a trailing stop; 0 for every other order.
    pub(crate) trail: u64,
    /// For when a stop enters.
    pub(crate) min_qty: u64,
    /// For when a stop enters.
    pub(crate) budget: Option<u64>,
    /// When a `gtd` order ends; 0 for every other order.
    pub(crate) expire: u64,
    /// Neighbours among the orders that end at the same time, oldest first.
    pub(crate) expire_next: u32,
    pub(crate) expire_prev: u32,
    /// Free list, while unused.
    pub(crate) free: Option<u32>,
}

impl Ext {
    /// The record of an order that needs none of it.
    pub(crate) const PLAIN: Self = Self {
        cum: 0,
        display: 0,
        shown: 0,
        ord_type: OrdType::Limit,
        time_in_force: TimeInForce::Gtc,
        limit: 0,
        stop: None,
        trail: 0,
        min_qty: 0,
        budget: None,
        expire: 0,
        expire_next: NONE,
        expire_prev: NONE,
        free: None,
    };

    /// True when nothing but `cum` is said here: then the order's hash must not show the record.
    pub(crate) const fn is_plain(&self) -> bool {
        self.display == 0 && self.expire == 0 && self.stop.is_none() && self.trail == 0
    }

    /// The visible part of what is open.
    pub(crate) const fn slice(&self, leaves: u64) -> u64 {
        if self.display == 0 || self.display > leaves {
            leaves
        } else {
            self.display
        }
    }
}

impl Record for Ext {
    const NULL: Self = Self::PLAIN;

    fn set_free(&mut self, next: u32) {
        self.free = Some(next);
    }

    fn next_free(&self) -> Option<u32> {
        self.free
    }
}

/// Which kind of queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Place {
    /// Orders at one price of the book.
    Book = 0,
    /// Market orders that wait for the auction to end.
    Market = 1,
    /// Stops with the same trigger.
    Stop = 2,
    /// Trailing stops of one side.
    Trail = 3,
}

/// A first-in first-out queue of orders: a price level, or one of the waiting rooms. One cache line.
///
/// Sums are 128 bits wide: 2^28 orders of 2^63 lots fit.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Queue {
    /// What market data shows.
    pub(crate) visible: u128,
    /// The hidden part of icebergs.
    pub(crate) hidden: u128,
    /// Price in ticks; the trigger in a queue of stops; 0 in the other waiting rooms.
    pub(crate) price: i64,
    /// Rank of the price on its ladder.
    pub(crate) rank: u64,
    /// First in line.
    pub(crate) head: u32,
    /// Last in line.
    pub(crate) tail: u32,
    /// How many orders stand here; `u32::MAX` marks a free record, whose `head` is the next one.
    pub(crate) orders: u32,
    /// Instrument (28 bits), place (2 bits), side, and whether this command has touched it.
    home: u32,
}

const _: () = assert!(size_of::<Queue>() == 64);

const QUEUE_FREE: u32 = u32::MAX;

impl Queue {
    pub(crate) const fn new(
        instrument: u32,
        place: Place,
        side: Side,
        price: i64,
        rank: u64,
    ) -> Self {
        Self {
            visible: 0,
            hidden: 0,
            price,
            rank,
            head: NONE,
            tail: NONE,
            orders: 0,
            home: instrument << 4 | (place as u32) << 2 | (side as u32) << 1,
        }
    }

    #[inline]
    pub(crate) const fn book(&self) -> usize {
        (self.home >> 4) as usize
    }

    #[inline]
    pub(crate) const fn instrument(&self) -> InstrumentId {
        InstrumentId::new(self.home >> 4)
    }

    #[inline]
    pub(crate) const fn place(&self) -> Place {
        match self.home >> 2 & 3 {
            0 => Place::Book,
            1 => Place::Market,
            2 => Place::Stop,
            _ => Place::Trail,
        }
    }

    #[inline]
    pub(crate) const fn side(&self) -> Side {
        if self.home & 2 == 0 {
            Side::Buy
        } else {
            Side::Sell
        }
    }

    #[inline]
    pub(crate) const fn touched(&self) -> bool {
        self.home & 1 != 0
    }

    #[inline]
    pub(crate) fn set_touched(&mut self, on: bool) {
        self.home = self.home & !1 | u32::from(on);
    }

    /// Instrument, place and side in one word; of two books' levels the smaller one comes first in
    /// the order of instrument and side.
    #[inline]
    pub(crate) const fn home(&self) -> u32 {
        self.home & !1
    }

    /// Instrument and side of a [`home`](Self::home).
    #[inline]
    pub(crate) const fn parse_home(home: u32) -> (InstrumentId, Side) {
        let side = if home & 2 == 0 { Side::Buy } else { Side::Sell };
        (InstrumentId::new(home >> 4), side)
    }

    #[inline]
    pub(crate) const fn price(&self) -> Price {
        Price::from_ticks(self.price)
    }

    /// What the queue is as a level of a book.
    #[inline]
    pub(crate) fn event(&self) -> Event {
        Event::Level {
            instrument: self.instrument(),
            side: self.side(),
            price: self.price(),
            qty: self.shown(),
            orders: self.orders,
        }
    }

    /// Changes one order's part in the sums: (open, visible) of it before and after.
    #[inline]
    pub(crate) fn change(&mut self, before: (u64, u64), after: (u64, u64)) {
        self.visible = self.visible - u128::from(before.1) + u128::from(after.1);
        self.hidden = self.hidden - u128::from(before.0 - before.1) + u128::from(after.0 - after.1);
    }

    /// All that is open.
    #[inline]
    pub(crate) const fn open(&self) -> u128 {
        self.visible + self.hidden
    }

    /// The visible quantity as events and depth show it.
    #[inline]
    pub(crate) fn shown(&self) -> Qty {
        Qty::from_lots(u64::try_from(self.visible).unwrap_or(u64::MAX))
    }
}

impl Record for Queue {
    const NULL: Self = Self {
        orders: QUEUE_FREE,
        ..Self::new(0, Place::Book, Side::Buy, 0, 0)
    };

    fn set_free(&mut self, next: u32) {
        self.orders = QUEUE_FREE;
        self.head = next;
    }

    fn next_free(&self) -> Option<u32> {
        (self.orders == QUEUE_FREE).then_some(self.head)
    }
}
