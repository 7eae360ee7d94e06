//! What can be asked of the exchange without changing it.

use tessera_types::{
    AccountId, ClOrdId, ExecInst, Generation, InstrumentId, Name, OrderId, Price, Qty, ServerSeq,
    SessionId, Side,
};

/// One price of a book as market data shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepthLevel {
    /// The price.
    pub price: Price,
    /// Visible quantity in lots; a sum beyond 64 bits shows as 2^64-1.
    pub qty: Qty,
    /// Number of orders.
    pub orders: u32,
}

/// Where a live order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderState {
    /// In the book, or waiting for an auction.
    Open,
    /// Waiting for a trade price.
    Stop,
}

/// A live order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderView {
    /// The exchange's id; also its age, since ids are given in order of acceptance.
    pub order_id: OrderId,
    /// Whose session.
    pub session: SessionId,
    /// The owner.
    pub account: AccountId,
    /// The owner's id.
    pub cl_ord_id: ClOrdId,
    /// Where.
    pub instrument: InstrumentId,
    /// Which side.
    pub side: Side,
    /// In the book or waiting for its trigger.
    pub state: OrderState,
    /// Total: what has been filled and what is open.
    pub qty: Qty,
    /// What is open.
    pub leaves: Qty,
    /// What has been filled.
    pub cum: Qty,
    /// Its instructions.
    pub exec_inst: ExecInst,
    /// Its limit, for the types that have one.
    pub price: Option<Price>,
    /// Its trigger price, while it waits for one that is known.
    pub stop: Option<Price>,
}

/// A session's durable part: what a restart must bring back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Its number.
    pub session: SessionId,
    /// The peer's CompID.
    pub name: Name,
    /// Its current life.
    pub generation: Generation,
    /// The highest client id that has reached the engine.
    pub last_cl_ord_id: ClOrdId,
    /// Number of the next message to it.
    pub next_server_seq: ServerSeq,
    /// How many live orders it has.
    pub live_orders: usize,
}
