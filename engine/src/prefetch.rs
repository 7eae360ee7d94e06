//! Hints to the memory system, the only `unsafe` code of the engine.
//!
//! With many books or orders nearly every command misses the caches several times in a row: id
//! index, order, level. The ring shows which commands come next, so their lines can be on the way
//! while the current one matches.
#![expect(unsafe_code, reason = "the prefetch instruction takes a bare address")]

use tessera_types::{Command, OrderTarget, SessionId};

use crate::book::Book;
use crate::book::store::Store;

/// Asks for the lines that a command will touch first.
#[inline]
pub(crate) fn prefetch(books: &[Book], store: &Store, command: &Command) {
    match command {
        Command::NewOrder(new) => {
            hint(
                store.ids.address(
                    store
                        .ids
                        .hash(new.header.session.get(), new.header.cl_ord_id.get()),
                ),
            );
            if let Some(book) = books.get(new.instrument.get() as usize) {
                hint(core::ptr::from_ref(book));
            }
        }
        Command::Cancel(cancel) => target(store, cancel.header.session, cancel.target),
        Command::Reduce(reduce) => target(store, reduce.header.session, reduce.target),
        Command::Replace(replace) => target(store, replace.header.session, replace.target),
        _ => {}
    }
}

/// The order that a command names. Reading the index entry here waits for it when it is far away;
/// that wait overlaps with nothing, but the order's own line, further away still, then does.
#[inline]
fn target(store: &Store, session: SessionId, target: OrderTarget) {
    if let OrderTarget::Client(id) = target
        && let Some(slot) = store.ids.guess(store.ids.hash(session.get(), id.get()))
        && let Some(order) = store.orders.address(slot)
    {
        hint(order);
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
