//! Calls: orders collect, cross at one price, and a little trading follows.

use std::collections::VecDeque;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tessera_types::{ClientHeader, Command, InstrumentId, Phase, SetPhase};

use super::making::{any_side, behind, cancel, immediate, resting};
use super::market::MID;

/// Orders of one call.
const COLLECTED: usize = 1_000;
/// Commands of continuous trading after it.
const TRADED: usize = 200;
/// Orders that stay from one call to the next.
const CARRIED: usize = 1_000;

/// The commands that are measured, for one book.
pub(super) fn flow(count: usize, seed: u64) -> Vec<Command> {
    let mut calls = Calls {
        dice: Pcg64Mcg::seed_from_u64(seed),
        next_id: 0,
        mid: MID,
        live: VecDeque::new(),
    };
    let mut commands = Vec::with_capacity(count + COLLECTED + TRADED);
    while commands.len() < count {
        calls.call(&mut commands);
    }
    commands.truncate(count);
    commands
}

struct Calls {
    dice: Pcg64Mcg,
    next_id: u64,
    mid: i64,
    /// Orders that may rest, oldest first.
    live: VecDeque<u64>,
}

impl Calls {
    fn call(&mut self, commands: &mut Vec<Command>) {
        commands.push(phase(Phase::Auction));
        for _ in 0..COLLECTED {
            commands.push(if self.dice.random_range(0..10) == 0 {
                self.drop_oldest()
            } else {
                // From 20 ticks behind the mid to 20 across it: half of the orders cross.
                let distance = self.dice.random_range(-20..=20);
                self.enter(distance)
            });
        }
        commands.push(phase(Phase::Continuous));
        self.mid += self.dice.random_range(-2..=2);
        for _ in 0..TRADED {
            commands.push(match self.dice.random_range(0..10) {
                0..5 => {
                    let distance = self.dice.random_range(1..=20);
                    self.enter(distance)
                }
                5..8 => {
                    self.next_id += 1;
                    let side = any_side(&mut self.dice);
                    let price = behind(side, self.mid, -3);
                    immediate(
                        self.next_id,
                        0,
                        side,
                        price,
                        self.dice.random_range(1..=100),
                    )
                }
                _ => self.drop_oldest(),
            });
        }
        while self.live.len() > CARRIED {
            commands.push(self.drop_oldest());
        }
    }

    fn enter(&mut self, distance: i64) -> Command {
        self.next_id += 1;
        self.live.push_back(self.next_id);
        let side = any_side(&mut self.dice);
        let price = behind(side, self.mid, distance);
        resting(
            self.next_id,
            0,
            side,
            price,
            self.dice.random_range(1..=100),
        )
    }

    fn drop_oldest(&mut self) -> Command {
        // An id that never was is refused, as one that has traded is.
        cancel(self.live.pop_front().unwrap_or(u64::from(u32::MAX)))
    }
}

fn phase(phase: Phase) -> Command {
    Command::SetPhase(SetPhase {
        header: ClientHeader::default(),
        instrument: InstrumentId::new(0),
        phase,
        ref_price: None,
    })
}
