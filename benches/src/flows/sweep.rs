//! Orders that take many others at once.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tessera_types::Command;

use super::making::{any_side, behind, cancel, immediate, resting};
use super::market::MID;
use crate::baseline::Baseline;

/// Levels of one side.
const REACH: i64 = 50;
/// Orders that the book is held at.
const RESTING: usize = 2_000;

/// One book, its first orders, and the commands that are measured.
///
/// A plain book runs along, so that what the sweeps take is what came: they are more frequent while
/// more than the intended number of orders rests.
pub(super) fn flow(count: usize, seed: u64) -> (u32, Vec<Command>, Vec<Command>) {
    let mut dice = Pcg64Mcg::seed_from_u64(seed);
    let mut book = Baseline::plain(1);
    let mut next_id = 0;
    let mut command = |filled: bool| {
        let sweeps = if book.resting() > RESTING { 16 } else { 5 };
        let roll = if filled {
            dice.random_range(0..100)
        } else {
            99
        };
        let command = if roll < sweeps {
            next_id += 1;
            let side = any_side(&mut dice);
            let price = behind(side, MID, -REACH);
            immediate(next_id, 0, side, price, dice.random_range(1..=1_200))
        } else if roll < sweeps + 10 && next_id > 0 {
            // Half of them name an order that is gone.
            cancel(next_id - dice.random_range(0..next_id.min(4_000)))
        } else {
            next_id += 1;
            let side = any_side(&mut dice);
            let price = behind(side, MID, dice.random_range(1..=REACH));
            resting(next_id, 0, side, price, dice.random_range(1..=100))
        };
        book.on_command(&command);
        command
    };
    let fill = (0..RESTING).map(|_| command(false)).collect();
    let commands = (0..count).map(|_| command(true)).collect();
    (1, fill, commands)
}
