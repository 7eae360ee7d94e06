//! Hints to the memory system, the only `unsafe` code of the engine.
//!
//! With many books or orders nearly every command misses the caches several times in a row: entry of
//! the id index, order, level and neighbours in the queue, then the level it moves to. Each of these
//! says where the next one is, so a hint can only run one step ahead of what is already near. The ring
//! shows which commands come next; each of them gets its hints in turn, some commands apart.
#![expect(unsafe_code, reason = "the prefetch instruction takes a bare address")]

use tessera_types::{ClientHeader, Command, NewOrder, OrderTarget, Price, Side};

use crate::book::Book;
use crate::book::order::Order;
use crate::book::store::Store;

/// How far along a command is: what is asked for now, given that the steps before have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefetchStep {
    /// First: the place of its client id, and the book of a new order.
    Index,
    /// Then: the order that the id leads to; for a new order the leaf of its price.
    Order,
    /// Then: the level and the neighbours of the order; for a new order its level and the touch.
    Level,
    /// Then: the leaf of the new price; for a new order its neighbour and the first it may meet.
    Leaf,
    /// Last: the level of the new price.
    Target,
}

/// Asks for the lines that a command will touch.
#[inline]
pub(crate) fn prefetch(books: &[Book], store: &Store, command: &Command, step: PrefetchStep) {
    match command {
        Command::NewOrder(new) => new_order(books, store, new, step),
        Command::Cancel(cancel) => named_order(store, &cancel.header, cancel.target, step),
        Command::Reduce(reduce) => named_order(store, &reduce.header, reduce.target, step),
        Command::Replace(replace) => match (step, replace.price) {
            (PrefetchStep::Leaf | PrefetchStep::Target, Some(price)) => {
                let target = guess(store, &replace.header, replace.target);
                if let Some(order) = target.map(|slot| &store.orders[slot]) {
                    let book = &books[store.queues[order.queue].book()];
                    new_level(book, store, order.side(), price, step);
                }
            }
            _ => named_order(store, &replace.header, replace.target, step),
        },
        _ => {}
    }
}

#[inline]
fn new_order(books: &[Book], store: &Store, new: &NewOrder, step: PrefetchStep) {
    let Some(book) = books.get(new.instrument.get() as usize) else {
        return;
    };
    let touch = book.side(new.side.opposite()).best;
    match step {
        PrefetchStep::Index => {
            book_lines(book);
            let (session, id) = (new.header.session.get(), new.header.cl_ord_id.get());
            hint(store.ids.address(session, id));
        }
        PrefetchStep::Order => new_level(book, store, new.side, new.price, PrefetchStep::Leaf),
        PrefetchStep::Level => {
            new_level(book, store, new.side, new.price, PrefetchStep::Target);
            if let Some(touch) = store.queues.address(touch) {
                hint(touch);
            }
        }
        PrefetchStep::Leaf => {
            let rank = book.rank(new.side, new.price.ticks());
            let ladder = &book.side(new.side).ladder;
            order_lines(store, store.queues[ladder.guess(&store.nodes, rank)].tail);
            order_lines(store, store.queues[touch].head);
        }
        PrefetchStep::Target => {}
    }
}

#[inline]
fn named_order(store: &Store, header: &ClientHeader, target: OrderTarget, step: PrefetchStep) {
    if step == PrefetchStep::Index {
        if let OrderTarget::Client(id) = target {
            hint(store.ids.address(header.session.get(), id.get()));
        }
        return;
    }
    let Some(slot) = guess(store, header, target) else {
        return;
    };
    if step == PrefetchStep::Order {
        return order_lines(store, slot);
    }
    if step == PrefetchStep::Level {
        let order = &store.orders[slot];
        if let Some(queue) = store.queues.address(order.queue) {
            hint(queue);
        }
        order_lines(store, order.prev);
        order_lines(store, order.next);
    }
}

/// The leaf of a price, or the level that it leads to.
#[inline]
fn new_level(book: &Book, store: &Store, side: Side, price: Price, step: PrefetchStep) {
    let rank = book.rank(side, price.ticks());
    let ladder = &book.side(side).ladder;
    if step == PrefetchStep::Leaf {
        let (head, entry) = ladder.addresses(&store.nodes, rank);
        hint(head);
        hint(entry);
    } else if let Some(queue) = store.queues.address(ladder.guess(&store.nodes, rank)) {
        hint(queue);
    }
}

/// The order that a request most likely names.
#[inline]
fn guess(store: &Store, header: &ClientHeader, target: OrderTarget) -> Option<u32> {
    match target {
        OrderTarget::Client(id) => store.ids.guess(header.session.get(), id.get()),
        OrderTarget::Exchange(_) => None,
    }
}

#[inline]
fn book_lines(book: &Book) {
    let book = core::ptr::from_ref(book);
    hint(book);
    hint(book.cast::<u8>().wrapping_add(64));
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
