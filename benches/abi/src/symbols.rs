//! What the library exports. The harness calls these from one thread, `engine_init` first.
#![expect(
    unsafe_code,
    reason = "C calls these by name and passes pointers; the interface has one engine per process"
)]

use std::cell::UnsafeCell;
use std::ffi::c_void;

use tessera_types::Side;

use crate::adapter::{self, Adapter};
use crate::layout::{Cancel, Message, Modify, NewOrder, Transport};
use crate::outlet::Outlet;
use crate::ring;

struct Engine(UnsafeCell<Option<Adapter>>);

// SAFETY: the interface calls its functions from one thread; `driver` claims the engine before it does.
unsafe impl Sync for Engine {}

static ENGINE: Engine = Engine(UnsafeCell::new(None));

/// The engine between `engine_init` and `engine_shutdown`.
#[inline]
fn engine() -> &'static mut Adapter {
    // SAFETY: one thread calls, and no function of this module keeps the reference or calls another.
    let engine = unsafe { &mut *ENGINE.0.get() };
    engine
        .as_mut()
        .expect("engine_init comes first, engine_shutdown last")
}

/// # Safety
/// `transport` can be read, `sink` is a queue that its `create` made and that outlives the engine.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn engine_init(
    seed: u64,
    transport: *const Transport,
    sink: *mut c_void,
) {
    // SAFETY: the caller passes one that can be read.
    let transport = unsafe { &*transport };
    // SAFETY: the caller promises the queue.
    let outlet = unsafe { Outlet::new(transport, sink) };
    // SAFETY: as in `engine`.
    unsafe { *ENGINE.0.get() = Some(Adapter::new(seed, outlet)) };
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn engine_shutdown() {
    // SAFETY: as in `engine`.
    unsafe { *ENGINE.0.get() = None };
}

/// # Safety
/// `order` can be read.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn engine_on_new_order(order: *const NewOrder) {
    // SAFETY: the caller promises it.
    engine().on_new_order(unsafe { &*order });
}

/// # Safety
/// `cancel` can be read.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn engine_on_cancel(cancel: *const Cancel) {
    // SAFETY: the caller promises it.
    engine().on_cancel(unsafe { &*cancel });
}

/// # Safety
/// `modify` can be read.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn engine_on_modify(modify: *const Modify) {
    // SAFETY: the caller promises it.
    engine().on_modify(unsafe { &*modify });
}

/// # Safety
/// `messages` are `count` messages that can be read.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn engine_on_batch(messages: *const Message, count: u32) {
    if count > 0 {
        // SAFETY: the caller promises them.
        engine().on_batch(unsafe { std::slice::from_raw_parts(messages, count as usize) });
    }
}

/// Nothing to wait for: matching is done when a call returns. Makes the last reports visible.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn engine_flush() {
    engine().flush();
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn engine_query_best_bid() -> i64 {
    engine().best(Side::Buy).unwrap_or(i64::MIN)
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn engine_query_best_ask() -> i64 {
    engine().best(Side::Sell).unwrap_or(i64::MAX)
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn engine_query_depth_at(price_ticks: i64, side: u8) -> u64 {
    engine().depth_at(price_ticks, adapter::side(side))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn engine_get_transport() -> *const Transport {
    &raw const ring::TRANSPORT
}

/// Does nothing: a command is several times as large as its message, so making them ahead would trade
/// a little work for much memory traffic.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn engine_prebuild(_kind: u8, _message: *const c_void) {}
