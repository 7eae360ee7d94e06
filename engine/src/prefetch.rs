//! Hints to the memory system, the only `unsafe` code of the engine.
//!
//! With many books or orders nearly every command misses the caches several times in a row: entry of
//! the id index, order, level and neighbours in the queue. Each of these says where the next one is,
//! so a hint can only run one step ahead of what is already near. The ring shows which commands come
//! next; a caller gives each of them the three hints in turn, some commands apart.
#![expect(unsafe_code, reason = "the prefetch instruction takes a bare address")]

use tessera_types::{Command, OrderTarget, SessionId};

use crate::book::Book;
use crate::book::order::Order;
use crate::book::slab::NONE;
use crate::book::store::Store;

/// How far along a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefetchStep {
    /// First: the entry of the id index, and the book of a new order.
    Index,
    /// Then: the order that the entry leads to.
    Order,
    /// Last: the level and the neighbours that the order leads to.
    Level,
}

/// Asks for the lines that a command will touch.
#[inline]
pub(crate) fn prefetch(books: &[Book], store: &Store, command: &Command, step: PrefetchStep) {
    let (session, target) = match command {
        Command::NewOrder(new) => {
            let book = books.get(new.instrument.get() as usize);
            match (step, book) {
                (PrefetchStep::Index, Some(book)) => {
                    hint(core::ptr::from_ref(book));
                    let id = new.header.cl_ord_id.get();
                    hint(
                        store
                            .ids
                            .address(store.ids.hash(new.header.session.get(), id)),
                    );
                }
                (PrefetchStep::Order, Some(book)) => {
                    for half in &book.sides {
                        if let Some(best) = store.queues.address(half.best) {
                            hint(best);
                        }
                    }
                }
                _ => {}
            }
            return;
        }
        Command::Cancel(cancel) => (cancel.header.session, cancel.target),
        Command::Reduce(reduce) => (reduce.header.session, reduce.target),
        Command::Replace(replace) => (replace.header.session, replace.target),
        _ => return,
    };
    let OrderTarget::Client(id) = target else {
        return;
    };
    target_lines(store, session, id.get(), step);
}

#[inline]
fn target_lines(store: &Store, session: SessionId, id: u64, step: PrefetchStep) {
    let hash = store.ids.hash(session.get(), id);
    if step == PrefetchStep::Index {
        return hint(store.ids.address(hash));
    }
    let Some(slot) = store.ids.guess(hash) else {
        return;
    };
    if step == PrefetchStep::Order {
        return order_lines(store, slot);
    }
    let order = &store.orders[slot];
    if let Some(queue) = store.queues.address(order.queue) {
        hint(queue);
    }
    for neighbour in [order.prev, order.next] {
        if neighbour != NONE {
            order_lines(store, neighbour);
        }
    }
}

/// An order may straddle two lines.
#[inline]
fn order_lines(store: &Store, slot: u32) {
    if let Some(order) = store.orders.address(slot) {
        hint(order);
        hint(order.cast::<u8>().wrapping_add(size_of::<Order>() - 1));
    }
}

#[inline]
fn hint<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch neither reads nor writes as far as the program can tell, and never
        // faults, whatever the address; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
