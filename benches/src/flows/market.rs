//! Five scenarios of one liquid instrument, in the spirit of the public matching-engine benchmark.
//!
//! The mid walks (geometric Brownian motion, one step per new order). Buys are priced along the first
//! half of the walk and sells along the second, each passively at its distance from the mid; then
//! arrivals are shuffled. So orders meet where the shuffle brings prices of different times together:
//! the further the walk goes, the more of the standing book is reached again, and the thinner and
//! wider it is. How much stands is a matter of the walk that a seed gives: seeds are chosen by it.
//!
//! # Source
//! "Matching Engine Algorithm Performance Challenge" (arXiv 2606.01183), the description of its
//! workload; the generator and the random numbers are our own.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tessera_types::{Command, Side};

use super::making::{any_side, behind, cancel, immediate, replace, resting};

/// Where the mid starts, in ticks.
pub(super) const MID: i64 = 33_504;

/// One of the five.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// The mid stands still: a deep, narrow book.
    Static,
    /// A quiet day.
    Normal,
    /// A thin, wide book.
    Swing25,
    /// Thinner and wider.
    Swing40,
    /// A touch that runs away.
    FlashCrash,
}

impl Scenario {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Normal => "normal",
            Self::Swing25 => "swing-25",
            Self::Swing40 => "swing-40",
            Self::FlashCrash => "flash-crash",
        }
    }

    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Static => "the mid stands still: about 21,000 orders on 60 levels",
            Self::Normal => "the mid walks 2 %: about 2,700 orders on 290 levels",
            Self::Swing25 => "the mid walks 25 %: about 1,300 orders on 830 levels",
            Self::Swing40 => "the mid walks 40 %: about 700 orders on 560 levels",
            Self::FlashCrash => "the mid walks 60 %: about 240 orders on 210 levels",
        }
    }

    /// A seed whose walk leaves about as much standing as [`describe`](Self::describe) says, found
    /// with `tessera-bench flows --seeds`.
    pub(super) const fn seed(self) -> u64 {
        match self {
            Self::Static => 1,
            Self::Normal => 21,
            Self::Swing25 => 21,
            Self::Swing40 => 67,
            Self::FlashCrash => 127,
        }
    }

    /// Typical excursion of the mid over the run.
    const fn swing(self) -> f64 {
        match self {
            Self::Static => 0.0,
            Self::Normal => 0.02,
            Self::Swing25 => 0.25,
            Self::Swing40 => 0.40,
            Self::FlashCrash => 0.60,
        }
    }
}

/// Messages that come of one new order, on average.
const MESSAGES: f64 = 1.996;
/// Nanoseconds between new orders: 200 of them in a millisecond.
const SPACING_NS: f64 = 5_000.0;
/// Half of the orders that get canceled live no longer than this.
const MEDIAN_LIFE_NS: f64 = 431_000.0;
/// Ticks from the mid that most orders are placed at.
const HUMP: f64 = 8.0;
/// Standard deviation of the hump in ticks, and its share beside the power law.
const HUMP_WIDTH: f64 = 3.0;
const HUMP_WEIGHT: f64 = 0.8;
const EXPONENT: f64 = 2.23;
/// No order is placed further away.
const FURTHEST: usize = 45;

/// About `count` commands: half as many new orders and what becomes of them.
pub(super) fn flow(scenario: Scenario, count: usize, seed: u64) -> Vec<Command> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of commands is small"
    )]
    let orders = (count as f64 / MESSAGES).ceil() as usize;
    let mut dice = Pcg64Mcg::seed_from_u64(seed);
    let mut timeline = Vec::with_capacity(count + 16);
    for (place, placed) in placements(scenario, orders, &mut dice)
        .into_iter()
        .enumerate()
    {
        live(place, placed, &mut dice, &mut timeline);
    }
    // Stable, so that what an order does stays in its order.
    timeline.sort_by_key(|&(time, _)| time);
    timeline.into_iter().map(|(_, command)| command).collect()
}

#[derive(Clone, Copy)]
struct Placed {
    side: Side,
    price: i64,
    distance: usize,
}

/// Where the orders are placed, in order of arrival.
fn placements(scenario: Scenario, orders: usize, dice: &mut Pcg64Mcg) -> Vec<Placed> {
    let depth = Depth::new();
    let step = scenario.swing() / (orders.max(1) as f64).sqrt();
    let mut mid = MID as f64;
    let mut placed: Vec<_> = (0..orders)
        .map(|index| {
            mid *= (step * normal(dice) - 0.5 * step * step).exp();
            let side = if index < orders / 2 {
                Side::Buy
            } else {
                Side::Sell
            };
            let distance = depth.draw(dice);
            #[expect(clippy::cast_possible_truncation, reason = "a price fits")]
            let price = behind(side, mid.round() as i64, distance.cast_signed() as i64);
            Placed {
                side,
                price: price.max(1),
                distance,
            }
        })
        .collect();
    placed.shuffle(dice);
    placed
}

/// Everything that one order does.
fn live(place: usize, placed: Placed, dice: &mut Pcg64Mcg, timeline: &mut Vec<(u64, Command)>) {
    let id = place as u64 + 1;
    let Placed {
        side,
        mut price,
        distance,
    } = placed;
    let mut qty = dice.random_range(1..=100);
    let arrival = place as f64 * SPACING_NS;
    let mut at = |time: f64, command| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time of hours at most"
        )]
        timeline.push((time as u64, command));
    };
    if dice.random_bool(0.15) {
        return at(arrival, immediate(id, 0, side, price, qty));
    }
    at(arrival, resting(id, 0, side, price, qty));
    // Deeper orders live longer.
    let deeper = (0.5 + distance as f64 / (2.0 * HUMP)).min(3.0);
    let life = -dice.random::<f64>().max(1e-12).ln() * deeper * MEDIAN_LIFE_NS / 2_f64.ln();
    let modified = dice.random_bool(0.20);
    if modified {
        qty += 1;
        if dice.random_bool(0.80) {
            price = (price + if any_side(dice) == Side::Buy { 1 } else { -1 }).max(1);
        }
        at(
            arrival + life * dice.random::<f64>(),
            replace(id, price, Some(qty)),
        );
    }
    if dice.random_bool(0.95) {
        at(arrival + life, cancel(id));
        if modified && dice.random_bool(0.02) {
            at(arrival + life + SPACING_NS, replace(id, price, Some(qty)));
        }
        if dice.random_bool(0.02) {
            at(arrival + life + SPACING_NS, cancel(id));
        }
    }
}

/// Distances from the mid: a power law with a hump.
struct Depth {
    /// By distance - 1: the share of orders that are no further away.
    upto: Vec<f64>,
}

impl Depth {
    fn new() -> Self {
        let mut sum = 0.0;
        let mut upto: Vec<_> = (1..=FURTHEST)
            .map(|distance| {
                let distance = distance as f64;
                let off = (distance - HUMP) / HUMP_WIDTH;
                sum += distance.powf(-EXPONENT) + HUMP_WEIGHT * (-0.5 * off * off).exp();
                sum
            })
            .collect();
        for share in &mut upto {
            *share /= sum;
        }
        Self { upto }
    }

    /// In ticks, at least 1.
    fn draw(&self, dice: &mut Pcg64Mcg) -> usize {
        let share: f64 = dice.random();
        1 + self
            .upto
            .partition_point(|&upto| upto < share)
            .min(FURTHEST - 1)
    }
}

/// A standard normal (Box and Muller).
fn normal(dice: &mut Pcg64Mcg) -> f64 {
    let radius = (-2.0 * dice.random::<f64>().max(1e-300).ln()).sqrt();
    radius * (std::f64::consts::TAU * dice.random::<f64>()).cos()
}
