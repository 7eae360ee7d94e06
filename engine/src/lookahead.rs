//! Hints to the memory system about commands that are still to come.
//!
//! With many books or orders nearly every command misses the caches several times in a row: place of
//! its id, order, level and neighbours in the queue, then the level it moves to. Each of these says
//! where the next one is, so a hint can only run one step ahead of what is near already. Whoever feeds
//! the engine sees commands coming, in a ring or an array; [`Exchange::look_ahead`] takes each of them
//! through the steps, a few commands apart.
//!
//! What a step needs from the one before waits in a [`Hint`], so that the kind of a command is looked
//! at once: nobody can predict it, and a wrong guess costs as much as the rest of the hint. After that
//! every hint is treated alike. One that leads nowhere leads to a record that stands for none.

use core::borrow::Borrow;
use core::hint::select_unpredictable;

use tessera_types::{ClOrdId, Command, OrderTarget, Price, SessionId, Side};

use crate::book::order::flag;
use crate::book::slab::NONE;
use crate::exchange::Exchange;
use crate::prefetch::{hint, hint_both_ends};

/// How many commands ahead a command is seen first.
const SIGHT: usize = 12;
/// How many commands lie between two steps.
const STEP: usize = 2;
/// Places for hints; a power of two above [`SIGHT`].
const HINTS: usize = 16;

/// Live orders from which on the hints save more than they cost: about what a second-level cache of
/// 1 to 2 MB holds, with their levels and index entries.
pub(crate) const MANY_ORDERS: usize = 40_000;

/// The commands that are on their way.
#[derive(Debug)]
pub(crate) struct Lookahead {
    hints: [Hint; HINTS],
    /// Place of the command about to be applied.
    now: usize,
    from: usize,
}

impl Lookahead {
    /// `from`: live orders below which there are no hints.
    pub(crate) const fn new(from: usize) -> Self {
        Self {
            hints: [Hint::NOTHING; HINTS],
            now: 0,
            from,
        }
    }
}

/// What is known of a command on its way.
#[derive(Clone, Copy, Debug)]
struct Hint {
    session: SessionId,
    /// The order that it names, or its own id when it is new.
    id: ClOrdId,
    /// Where it goes to, if anywhere.
    price: Price,
    book: u32,
    sells: bool,
    // What the steps find out, each for the next.
    page: u32,
    order: u32,
    /// Leaf of the price, and its entry there.
    leaf: u32,
    entry: usize,
    touch: u32,
    level: u32,
}

impl Hint {
    const NOTHING: Self = Self {
        session: SessionId::VENUE,
        id: ClOrdId::new(0),
        price: Price::ZERO,
        book: 0,
        sells: false,
        page: NONE,
        order: NONE,
        leaf: NONE,
        entry: 0,
        touch: NONE,
        level: NONE,
    };

    /// Begins with what a command says. Only the places that it says something about are written,
    /// straight from registers; what the others hold leads to other records, which does no harm.
    #[inline]
    fn begin(&mut self, command: &Command) {
        let (header, target) = match command {
            Command::NewOrder(new) => {
                self.session = new.header.session;
                self.id = new.header.cl_ord_id;
                self.price = new.price;
                self.book = new.instrument.get();
                self.sells = new.side == Side::Sell;
                return;
            }
            Command::Cancel(cancel) => (&cancel.header, cancel.target),
            Command::Reduce(reduce) => (&reduce.header, reduce.target),
            Command::Replace(replace) => {
                self.price = replace.price.unwrap_or(self.price);
                (&replace.header, replace.target)
            }
            _ => return,
        };
        self.session = header.session;
        if let OrderTarget::Client(id) = target {
            self.id = id;
        }
    }
}

impl Exchange {
    /// Hints for the commands that come after the one about to be applied: `coming(n)` shows the one
    /// `n` places after it, where that is known. Changes no result, and does nothing while the books
    /// are small enough to stay in the caches by themselves.
    #[inline]
    pub fn look_ahead<C: Borrow<Command>>(&mut self, coming: impl FnOnce(usize) -> Option<C>) {
        if self.live_orders() < self.lookahead.from {
            return;
        }
        let Lookahead { hints, now, .. } = &mut self.lookahead;
        *now = now.wrapping_add(1);
        if let Some(command) = coming(SIGHT) {
            hints[(*now + SIGHT) % HINTS].begin(command.borrow());
        }
        self.take_steps();
    }

    /// Hints for the orders behind one that is about to trade: a taker may go on to them.
    #[inline]
    pub(crate) fn look_behind(&self, maker: u32) {
        if self.live_orders() < self.lookahead.from {
            return;
        }
        let store = &self.store;
        let next = &store.orders[store.orders[maker].next];
        let page = store.ids.page_of(next.session().get(), next.cl_ord_id);
        hint(store.ids.entry(page, next.cl_ord_id));
        hint_both_ends(&store.orders[next.next]);
    }

    /// One step for each of the commands on their way.
    #[inline(never)]
    fn take_steps(&mut self) {
        let Self {
            books,
            store,
            lookahead,
            ..
        } = self;
        let books = books.as_slice();
        let Some(first) = books.first() else { return };
        let (orders, queues, nodes) = (store.orders.all(), store.queues.all(), store.nodes.all());
        // A hint may have grown old: what it leads to may be free, and a free record's links lead
        // anywhere. So every look is one that cannot fail.
        let (no_order, no_queue) = (&orders[NONE as usize], &queues[NONE as usize]);
        let order_at = |at: u32| orders.get(at as usize).unwrap_or(no_order);
        let queue_at = |at: u32| queues.get(at as usize).unwrap_or(no_queue);
        let (hints, now) = (&mut lookahead.hints, lookahead.now);
        let place = |ahead: usize| now.wrapping_add(ahead) % HINTS;

        // Where its id stands, and the book of a new order.
        let next = &mut hints[place(SIGHT)];
        next.page = store.ids.page_of(next.session.get(), next.id.get());
        hint(store.ids.entry(next.page, next.id.get()));
        let book = books.get(next.book as usize).unwrap_or(first);
        hint_both_ends(book);

        // The order.
        let next = &mut hints[place(SIGHT - STEP)];
        next.order = *store.ids.entry(next.page, next.id.get());
        hint_both_ends(order_at(next.order));

        // Its level and its neighbours.
        let next = &hints[place(SIGHT - 2 * STEP)];
        let order = order_at(next.order);
        hint(queue_at(order.queue));
        hint_both_ends(order_at(order.prev));
        hint_both_ends(order_at(order.next));

        // The leaf of the price that it goes to, and the level that it may meet.
        let next = &mut hints[place(SIGHT - 3 * STEP)];
        let order = order_at(next.order);
        let number = queue_at(order.queue).instrument().get();
        let named = next.order != NONE;
        next.book = select_unpredictable(named, number, next.book);
        next.sells = select_unpredictable(named, order.has(flag::SELL), next.sells);
        let book = books.get(next.book as usize).unwrap_or(first);
        let rank = book.rank(side(next.sells), next.price.ticks());
        let half = &book.sides[usize::from(next.sells)];
        (next.leaf, next.entry) = half.ladder.guess(rank);
        let leaf = &nodes[next.leaf as usize];
        hint(leaf);
        hint(leaf.entry(next.entry));
        next.touch = book.sides[usize::from(!next.sells)].best;
        hint(queue_at(next.touch));

        // The level itself, and the first order that it may meet.
        let next = &mut hints[place(SIGHT - 4 * STEP)];
        next.level = *nodes[next.leaf as usize].entry(next.entry);
        hint(queue_at(next.level));
        hint_both_ends(order_at(queue_at(next.touch).head));

        // The last order there.
        let next = &hints[place(SIGHT - 5 * STEP)];
        hint_both_ends(order_at(queue_at(next.level).tail));
    }
}

#[inline(always)]
fn side(sells: bool) -> Side {
    if sells { Side::Sell } else { Side::Buy }
}
