//! When to give hints to the memory system, and how far ahead: the one rule for everybody who sees
//! commands coming.

use std::borrow::Borrow;

use tessera_types::Command;

use crate::exchange::Exchange;
use crate::prefetch::PrefetchStep;

/// How many commands ahead each hint is given. A hint can only go one step further than what is near
/// already, so a command gets them one after the other, each a few commands before the next.
const HINTS: [(usize, PrefetchStep); 5] = [
    (3, PrefetchStep::Target),
    (6, PrefetchStep::Leaf),
    (9, PrefetchStep::Level),
    (12, PrefetchStep::Order),
    (15, PrefetchStep::Index),
];

/// Live orders from which on the hints save more than they cost: about what a second-level cache of
/// 1 to 2 MB holds, with their levels and index entries.
const MANY_ORDERS: usize = 10_000;

impl Exchange {
    /// Hints for the commands that come after the one about to be applied: `coming(n)` shows the one
    /// `n` places after it, where that is known. Changes nothing, and does nothing while the books
    /// are small enough to stay in the caches by themselves.
    #[inline]
    pub fn look_ahead<C: Borrow<Command>>(&self, coming: impl Fn(usize) -> Option<C>) {
        if self.live_orders() < MANY_ORDERS {
            return;
        }
        for (distance, step) in HINTS {
            let Some(command) = coming(distance) else {
                break;
            };
            self.prefetch_step(command.borrow(), step);
        }
    }
}
