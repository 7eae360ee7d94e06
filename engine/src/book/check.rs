//! Everything the structures must be to each other, looked at by walking all of it. For tests.

use tessera_types::Side;

use super::order::{Place, flag};
use super::slab::NONE;
use super::store::Store;
use super::{Book, Half};

impl Store {
    /// Panics unless every structure fits every other. Between commands only.
    pub(crate) fn check(&self, books: &[Book]) {
        self.orders.check();
        self.exts.check();
        self.queues.check();
        self.nodes.check();
        self.expiries.deadlines.check();
        assert!(self.touched.is_empty(), "touched levels were left over");
        assert!(self.auctions_touched.is_empty(), "touched auctions");
        assert_eq!(self.sum(), self.sum_from_scratch(), "state sum");
        let (mut orders, mut queues) = (0, 0);
        let mut nodes = self.expiries.ladder.check(&self.nodes);
        for book in books {
            let (mut stops, mut aon, mut waiting) = (0, 0, 0);
            for side in [Side::Buy, Side::Sell] {
                for (place, half) in [
                    (Place::Book, book.sides[side as usize]),
                    (Place::Stop, book.rest.stops[side as usize]),
                ] {
                    nodes += half.ladder.check(&self.nodes);
                    assert_eq!(
                        half.ladder.first(&self.nodes),
                        (half.best != NONE).then_some(half.best),
                        "best"
                    );
                    let mut last = None;
                    for at in half.queues(&self.queues, &self.nodes) {
                        assert!(last < Some(self.queues[at].rank), "ladder out of order");
                        last = Some(self.queues[at].rank);
                        queues += 1;
                        orders += self.check_queue(book, at, place, side, &half, &mut aon);
                        if place == Place::Stop {
                            stops += self.queues[at].orders;
                        }
                    }
                }
                for (place, at) in [
                    (Place::Market, book.rest.markets[side as usize]),
                    (Place::Trail, book.rest.trails[side as usize]),
                ] {
                    if at != NONE {
                        queues += 1;
                        let half = &Half::EMPTY;
                        orders += self.check_queue(book, at, place, side, half, &mut waiting);
                        if place == Place::Trail {
                            stops += self.queues[at].orders;
                        }
                    }
                }
            }
            assert_eq!(book.stops_waiting, stops, "waiting stops");
            assert_eq!(book.aon_resting, aon, "resting all-or-none orders");
            assert_eq!(book.rest.aon_waiting, waiting, "waiting all-or-none orders");
        }
        let groups = self
            .orders
            .iter()
            .filter(|(_, order)| order.queue == NONE)
            .count();
        assert_eq!(
            orders + groups,
            self.orders.live(),
            "orders outside of every queue"
        );
        assert_eq!(queues, self.queues.live(), "queues outside of every book");
        assert_eq!(
            nodes,
            self.nodes.live(),
            "trie nodes outside of every ladder"
        );
        let indexed = self
            .orders
            .iter()
            .filter(|(_, order)| order.has(flag::INDEXED))
            .count();
        assert_eq!(self.ids.live(), indexed, "ids in the index");
        let quotes = self
            .orders
            .iter()
            .filter(|(_, order)| order.has(flag::QUOTE))
            .count();
        assert_eq!(self.quotes.live(), quotes, "quotes in their index");
        self.check_expiries();
    }

    fn check_queue(
        &self,
        book: &Book,
        at: u32,
        place: Place,
        side: Side,
        half: &Half,
        aon: &mut u32,
    ) -> usize {
        let queue = &self.queues[at];
        assert_eq!(
            (queue.place(), queue.side()),
            (place, side),
            "home of a queue"
        );
        assert_eq!(queue.book(), book.number as usize, "book of a queue");
        assert!(!queue.touched(), "a touched mark was left over");
        assert!(queue.head != NONE, "an empty queue");
        if place == Place::Book {
            assert_eq!(queue.rank, book.rank(side, queue.price), "rank");
        }
        let mut ladder = half.ladder;
        if place == Place::Book || place == Place::Stop {
            assert_eq!(
                ladder.get(&self.nodes, queue.rank),
                Some(at),
                "ladder entry"
            );
        }
        let (mut count, mut visible, mut hidden) = (0u32, 0u128, 0u128);
        let (mut slot, mut prev) = (queue.head, NONE);
        while slot != NONE {
            let order = &self.orders[slot];
            assert_eq!(order.prev, prev, "back link");
            assert_eq!(order.queue, at, "queue of an order");
            assert_eq!(order.side(), side, "side of an order");
            assert!(order.leaves > 0, "a live order with nothing open");
            assert!(
                order.has(flag::INDEXED) || book.contract,
                "a live order without its id"
            );
            if order.has(flag::INDEXED) {
                assert_eq!(
                    self.find(order.session(), order.cl_ord_id),
                    Some(slot),
                    "client id"
                );
            }
            let shown = self.shown(order);
            assert!(shown > 0 && shown <= order.leaves, "visible quantity");
            count += 1;
            visible += u128::from(shown);
            hidden += u128::from(order.leaves - shown);
            let counts = matches!(place, Place::Book | Place::Market);
            *aon += u32::from(counts && order.has(flag::ALL_OR_NONE));
            (prev, slot) = (slot, order.next);
        }
        assert_eq!(queue.tail, prev, "tail");
        assert_eq!(
            (queue.orders, queue.visible, queue.hidden),
            (count, visible, hidden),
            "sums"
        );
        count as usize
    }

    fn check_expiries(&self) {
        let mut listed = 0;
        let mut first = u64::MAX;
        for (_, deadline) in self.expiries.deadlines.iter() {
            first = first.min(deadline.time);
            let (mut slot, mut prev, mut age) = (deadline.head, NONE, 0);
            while slot != NONE {
                let ext = self
                    .ext(slot)
                    .expect("an order that expires has an extension");
                assert_eq!(
                    (ext.expire, ext.expire_prev),
                    (deadline.time, prev),
                    "deadline"
                );
                assert!(
                    self.orders[slot].id > age,
                    "orders that end together are sorted by age"
                );
                age = self.orders[slot].id;
                listed += 1;
                (prev, slot) = (slot, ext.expire_next);
            }
            assert_eq!(deadline.tail, prev, "end of a deadline");
        }
        assert_eq!(self.expiries.next, first, "first deadline");
        let expected = self
            .orders
            .iter()
            .filter(|&(slot, _)| self.ext(slot).is_some_and(|ext| ext.expire != 0));
        assert_eq!(listed, expected.count(), "orders with a deadline");
    }
}
