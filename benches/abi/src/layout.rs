//! The interface's memory: little endian, natural alignment, as C lays it out.

use std::ffi::c_void;

/// A new order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NewOrder {
    /// Free to be used, dense from 0 or 1 on.
    pub order_id: u64,
    /// The message's number.
    pub sequence_number: u64,
    /// Limit in ticks.
    pub price_ticks: i64,
    /// Lots.
    pub quantity: u32,
    /// 0 buy, 1 sell.
    pub side: u8,
    /// 1 for immediate-or-cancel.
    pub ioc: u8,
    /// Nothing.
    pub reserved: [u8; 2],
}

/// Cancels an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Cancel {
    /// Which.
    pub order_id: u64,
    /// The message's number.
    pub sequence_number: u64,
}

/// Takes an order out and enters it anew, behind all others at its price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Modify {
    /// Which.
    pub order_id: u64,
    /// The message's number.
    pub sequence_number: u64,
    /// Its limit from now on, in ticks.
    pub new_price_ticks: i64,
    /// What is open from now on, in lots.
    pub new_quantity: u32,
    /// The order's side: 0 buy, 1 sell.
    pub side: u8,
    /// Nothing.
    pub reserved: [u8; 3],
}

/// One element of a batch. The three messages share its body; [`Message::view`] tells them apart.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Message {
    kind: u8,
    reserved: [u8; 7],
    body: Body,
}

#[derive(Clone, Copy)]
#[repr(C)]
union Body {
    new: NewOrder,
    cancel: Cancel,
    modify: Modify,
}

/// A message by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Kind 0.
    New(NewOrder),
    /// Kind 1.
    Cancel(Cancel),
    /// Kind 2.
    Modify(Modify),
}

impl Message {
    /// What kind of message it is; nothing for a kind that the interface does not know.
    #[must_use]
    #[inline]
    #[expect(unsafe_code, reason = "the fields of a C union are read by their tag")]
    pub fn view(&self) -> Option<View> {
        match self.kind {
            // SAFETY: every bit pattern of the integers in there is a value, whichever was written;
            // a shorter message leaves the rest of the body as the other side made it. What comes
            // through `From<View>` is written whole first. Test `messages_come_out_as_they_went_in`.
            0 => Some(View::New(unsafe { self.body.new })),
            // SAFETY: as above.
            1 => Some(View::Cancel(unsafe { self.body.cancel })),
            // SAFETY: as above.
            2 => Some(View::Modify(unsafe { self.body.modify })),
            _ => None,
        }
    }
}

impl From<View> for Message {
    fn from(view: View) -> Self {
        let mut body = Body {
            new: NewOrder::default(),
        };
        let kind = match view {
            View::New(new) => {
                body.new = new;
                0
            }
            View::Cancel(cancel) => {
                body.cancel = cancel;
                1
            }
            View::Modify(modify) => {
                body.modify = modify;
                2
            }
        };
        Self {
            kind,
            reserved: [0; 7],
            body,
        }
    }
}

/// What a [`Report`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ReportKind {
    /// A new order was accepted.
    OrderAck = 0,
    /// Two orders traded.
    Trade = 1,
    /// An order was canceled, or the rest of an immediate one.
    CancelAck = 2,
    /// An order was modified.
    ModifyAck = 3,
    /// The order to cancel does not rest.
    CancelReject = 4,
    /// The order to modify does not rest.
    ModifyReject = 5,
}

/// What became of a message, a cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Report {
    /// [`ReportKind`] as a number.
    pub kind: u8,
    /// 0 buy, 1 sell, where it means something.
    pub side: u8,
    /// Nothing.
    pub reserved: [u8; 6],
    /// The message's number; of a trade that of the incoming order.
    pub sequence_number: u64,
    /// Which order, but for trades.
    pub order_id: u64,
    /// Of a trade the resting order's price, in ticks.
    pub price_ticks: i64,
    /// Lots.
    pub quantity: u32,
    /// Nothing.
    pub reserved2: u32,
    /// Of a trade the resting order.
    pub maker_order_id: u64,
    /// Of a trade the incoming order.
    pub taker_order_id: u64,
    /// Nothing.
    pub reserved3: u64,
}

/// A queue of reports between the matching thread and the one that drains it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Transport {
    /// Room for at least so many reports; null when there is no memory.
    pub create: unsafe extern "C" fn(capacity: u32) -> *mut c_void,
    /// Producer: 1 when the report was taken, 0 when the queue is full.
    pub push: unsafe extern "C" fn(queue: *mut c_void, report: *const Report) -> i32,
    /// Consumer: takes up to `max` reports, returns how many.
    pub drain: unsafe extern "C" fn(queue: *mut c_void, out: *mut Report, max: u32) -> u32,
    /// Producer: lets the consumer see all that was pushed.
    pub flush: unsafe extern "C" fn(queue: *mut c_void),
    /// Ends it.
    pub destroy: unsafe extern "C" fn(queue: *mut c_void),
}

const _: () = {
    assert!(size_of::<NewOrder>() == 32);
    assert!(size_of::<Cancel>() == 16);
    assert!(size_of::<Modify>() == 32);
    assert!(size_of::<Message>() == 40 && std::mem::offset_of!(Message, body) == 8);
    assert!(size_of::<Report>() == 64);
    assert!(std::mem::offset_of!(Report, sequence_number) == 8);
    assert!(std::mem::offset_of!(Report, quantity) == 32);
    assert!(std::mem::offset_of!(Report, maker_order_id) == 40);
};
