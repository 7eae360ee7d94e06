//! W1, W2, W3: mostly moves near the touch.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tessera_types::{Command, Side};

use super::making::{any_side, behind, cancel, immediate, replace, resting};
use super::market::MID;
use crate::baseline::Baseline;

/// Books, the orders that fill them, and the commands that are measured.
///
/// Plain books run along, so that commands name orders that rest and the number of these stays.
pub(super) fn flow(
    books: u32,
    resting: usize,
    count: usize,
    seed: u64,
) -> (u32, Vec<Command>, Vec<Command>) {
    let target = resting * books as usize;
    let mut moves = Moves {
        dice: Pcg64Mcg::seed_from_u64(seed),
        next_id: 0,
        mids: vec![MID; books as usize],
        live: Vec::with_capacity(target),
        shadow: Baseline::plain(books),
        target,
        deep: if resting > 100_000 { 5_000 } else { 40 },
    };
    let mut fill = Vec::with_capacity(target);
    for _ in 0..target {
        let command = moves.new_order();
        fill.push(moves.done(command));
    }
    let mut commands = Vec::with_capacity(count);
    for _ in 0..count {
        let command = moves.command();
        commands.push(moves.done(command));
    }
    (books, fill, commands)
}

struct Moves {
    dice: Pcg64Mcg,
    next_id: u64,
    /// By book, ticks.
    mids: Vec<i64>,
    /// Orders that rest unless they traded since.
    live: Vec<Live>,
    shadow: Baseline<foldhash::fast::FixedState>,
    /// Orders that rest, over all books.
    target: usize,
    /// How far from the mid a quarter of the orders may be, in ticks.
    deep: i64,
}

#[derive(Clone, Copy)]
struct Live {
    id: u64,
    book: u32,
    side: Side,
}

impl Moves {
    fn done(&mut self, command: Command) -> Command {
        self.shadow.on_command(&command);
        command
    }

    /// 52 moves, 8 takers, and 40 new orders or cancels, whichever brings the number of resting
    /// orders nearer to where it was. One in fifty moves and cancels comes too late.
    fn command(&mut self) -> Command {
        match self.dice.random_range(0..100) {
            0..52 => {
                let place = self.pick();
                let Live { id, book, side } = self.live[place];
                replace(id, self.price(book, side), None)
            }
            52..92 => {
                let less = self.dice.random_range(0..4) == 0;
                if less != (self.shadow.resting() >= self.target) {
                    let place = self.pick();
                    cancel(self.live.swap_remove(place).id)
                } else {
                    self.new_order()
                }
            }
            _ => self.taker(),
        }
    }

    /// Place of an order that rests, mostly.
    fn pick(&mut self) -> usize {
        loop {
            let place = self.dice.random_range(0..self.live.len());
            if self.shadow.rests(self.live[place].id) || self.dice.random_range(0..50) == 0 {
                return place;
            }
            self.live.swap_remove(place);
        }
    }

    fn new_order(&mut self) -> Command {
        self.next_id += 1;
        let id = self.next_id;
        let book = self.book();
        let side = any_side(&mut self.dice);
        let price = self.price(book, side);
        let qty = self.dice.random_range(1..=100);
        self.live.push(Live { id, book, side });
        resting(id, book, side, price, qty)
    }

    /// Takes about one order. In one of fifty the mid moves too.
    fn taker(&mut self) -> Command {
        self.next_id += 1;
        let book = self.book();
        if self.dice.random_range(0..50) == 0 {
            self.mids[book as usize] += self.dice.random_range(-1..=1);
        }
        let side = any_side(&mut self.dice);
        let price = behind(side, self.mids[book as usize], -3);
        let qty = self.dice.random_range(1..=60);
        immediate(self.next_id, book, side, price, qty)
    }

    fn book(&mut self) -> u32 {
        let books = u32::try_from(self.mids.len()).unwrap_or(u32::MAX);
        self.dice.random_range(0..books)
    }

    /// Passive, near the touch mostly.
    fn price(&mut self, book: u32, side: Side) -> i64 {
        let reach = if self.dice.random_range(0..4) == 0 {
            self.deep
        } else {
            8
        };
        let distance = 1 + self.dice.random_range(0..reach);
        behind(side, self.mids[book as usize], distance)
    }
}
