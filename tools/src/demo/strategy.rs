//! How the participants of the demo trade. Pure: time and the market are arguments, chance comes from
//! a seed, orders go through the [`Desk`].
//!
//! Floats are at home here: they are opinions. They become ticks, with the rounding named, before they
//! enter a request.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use tessera_types::{ClOrdId, InstrumentId, Side};

use super::desk::{Desk, Request, Slot, Target};

/// What a participant sees of one contract.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quote {
    pub(crate) instrument: InstrumentId,
    /// Price step in ticks.
    pub(crate) step: i64,
    /// What the contract is worth by the index that everybody reads, in ticks.
    pub(crate) fair: f64,
    /// Best bid in ticks and its lots.
    pub(crate) bid: Option<(i64, u64)>,
    /// Best ask in ticks and its lots.
    pub(crate) ask: Option<(i64, u64)>,
    /// Recent aggressive buying (positive) and selling, -1 to 1.
    pub(crate) flow: f64,
}

/// A way to trade.
pub(crate) trait Strategy: Send {
    /// Name of the participant and its session, at most 16 bytes.
    fn name(&self) -> &'static str;

    /// How often it looks at the market.
    fn interval(&self) -> Duration;

    /// Looks at the market and asks for what it wants. `now` counts from the start.
    fn on_tick(&mut self, now: Duration, market: &[Quote], desk: &mut Desk, out: &mut Vec<Request>);
}

/// The five participants of the demo.
pub(crate) fn participants(seed: u64) -> Vec<Box<dyn Strategy>> {
    let rng = |stream: u64| Pcg64::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream);
    vec![
        Box::new(TightQuoter::new(rng(1))),
        Box::new(DeepQuoter::new()),
        Box::new(TrendLayers::new()),
        Box::new(BatchBuyer::new(rng(4))),
        Box::new(Opportunist::new(rng(5))),
    ]
}

/// The index: what each contract is worth, a slow random walk around its reference price that part of
/// the whole market shares.
#[derive(Debug)]
pub(crate) struct Index {
    rng: Pcg64,
    market: f64,
    contracts: Vec<(f64, f64)>,
}

impl Index {
    /// An index of contracts with these reference prices in ticks.
    pub(crate) fn new(seed: u64, references: impl IntoIterator<Item = f64>) -> Self {
        Self {
            rng: Pcg64::seed_from_u64(seed),
            market: 0.0,
            contracts: references.into_iter().map(|price| (price, 0.0)).collect(),
        }
    }

    /// Time passes.
    pub(crate) fn step(&mut self, elapsed: Duration) {
        let dt = elapsed.as_secs_f64();
        let pull = (-REVERSION_PER_S * dt).exp();
        self.market = self.market * pull + MARKET_VOL * dt.sqrt() * normal(&mut self.rng);
        for (_, own) in &mut self.contracts {
            *own = *own * pull + OWN_VOL * dt.sqrt() * normal(&mut self.rng);
        }
    }

    /// What contract number `at` is worth, in ticks.
    pub(crate) fn fair(&self, at: usize) -> f64 {
        self.contracts.get(at).map_or(0.0, |(reference, own)| {
            reference * (self.market + own).exp()
        })
    }
}

/// How much of a deviation is left after a second: e to the minus this.
const REVERSION_PER_S: f64 = 0.02;
/// Deviation of the whole market per square root of a second.
const MARKET_VOL: f64 = 0.0007;
/// Deviation of one contract per square root of a second.
const OWN_VOL: f64 = 0.0012;

/// Twelve uniform numbers minus six: mean 0, variance 1, and no tail beyond 6, which suits an index.
fn normal(rng: &mut Pcg64) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

/// Quotes both sides close to the index all the time, and leans against what it has bought or sold.
struct TightQuoter {
    rng: Pcg64,
    /// Where the next look begins, so that the limit on requests starves no contract.
    first: usize,
}

impl TightQuoter {
    const HALF_SPREAD: f64 = 0.001_5;
    /// Lots of position that move both quotes by one half spread.
    const LEAN_LOTS: f64 = 60.0;
    const REQUESTS_PER_LOOK: usize = 24;

    const fn new(rng: Pcg64) -> Self {
        Self { rng, first: 0 }
    }
}

impl Strategy for TightQuoter {
    fn name(&self) -> &'static str {
        "maker-tight"
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(100)
    }

    fn on_tick(&mut self, _: Duration, market: &[Quote], desk: &mut Desk, out: &mut Vec<Request>) {
        let count = market.len();
        let enough = out.len() + Self::REQUESTS_PER_LOOK;
        for look in 0..count {
            if out.len() >= enough {
                self.first = (self.first + look) % count;
                return;
            }
            let quote = &market[(self.first + look) % count];
            let half = (quote.fair * Self::HALF_SPREAD).max(as_f64(quote.step));
            let position = as_f64(desk.position(quote.instrument));
            let lean = (position / Self::LEAN_LOTS).clamp(-3.0, 3.0) * half;
            let centre = quote.fair - lean;
            let lots = self.rng.random_range(4..=12);
            for (side, wanted) in [(Side::Buy, centre - half), (Side::Sell, centre + half)] {
                let slot = Slot::new(quote.instrument, side, 0);
                let price = passive(quote, side, wanted);
                // Small moves are not worth the place in the queue.
                let near = desk
                    .price(slot)
                    .is_some_and(|now| as_f64((now - price).abs()) < half / 3.0);
                let price = if near {
                    desk.price(slot).unwrap_or(price)
                } else {
                    price
                };
                out.extend(desk.quote(slot, Some(Target { price, lots })));
            }
        }
    }
}

/// Rests large orders far from the index and moves them rarely.
struct DeepQuoter {
    /// Slow average of the index by contract.
    average: Vec<f64>,
}

impl DeepQuoter {
    /// Distance from the average, and lots.
    const LAYERS: [(f64, u32); 3] = [(0.006, 30), (0.012, 60), (0.024, 120)];
    const WEIGHT: f64 = 0.1;

    const fn new() -> Self {
        Self {
            average: Vec::new(),
        }
    }
}

impl Strategy for DeepQuoter {
    fn name(&self) -> &'static str {
        "maker-deep"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn on_tick(&mut self, _: Duration, market: &[Quote], desk: &mut Desk, out: &mut Vec<Request>) {
        for (at, quote) in market.iter().enumerate() {
            if at == self.average.len() {
                self.average.push(quote.fair);
            }
            let average = &mut self.average[at];
            *average += Self::WEIGHT * (quote.fair - *average);
            for (layer, (distance, lots)) in (0..).zip(Self::LAYERS) {
                for (side, sign) in [(Side::Buy, -1.0), (Side::Sell, 1.0)] {
                    let slot = Slot::new(quote.instrument, side, layer);
                    let price = passive(quote, side, *average * (1.0 + sign * distance));
                    let near = desk
                        .price(slot)
                        .is_some_and(|now| as_f64((now - price).abs()) < *average * distance / 3.0);
                    let price = if near {
                        desk.price(slot).unwrap_or(price)
                    } else {
                        price
                    };
                    out.extend(desk.quote(slot, Some(Target { price, lots })));
                }
            }
        }
    }
}

/// Follows the flow: several layers on the side that the market runs to, one on the other.
struct TrendLayers;

impl TrendLayers {
    const SPACING: f64 = 0.002_5;
    const LAYERS: u8 = 3;
    const LOTS: u32 = 10;
    /// How far one-sided flow moves its opinion.
    const BELIEF: f64 = 0.002;
    /// Flow below this is noise.
    const NOISE: f64 = 0.2;

    const fn new() -> Self {
        Self
    }
}

impl Strategy for TrendLayers {
    fn name(&self) -> &'static str {
        "maker-trend"
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(250)
    }

    fn on_tick(&mut self, _: Duration, market: &[Quote], desk: &mut Desk, out: &mut Vec<Request>) {
        for quote in market {
            let centre = quote.fair * (1.0 + Self::BELIEF * quote.flow);
            for (side, sign) in [(Side::Buy, -1.0), (Side::Sell, 1.0)] {
                let with_trend = quote.flow * sign < -Self::NOISE;
                let layers = if with_trend { Self::LAYERS } else { 1 };
                for layer in 0..Self::LAYERS {
                    let slot = Slot::new(quote.instrument, side, layer);
                    let distance = Self::SPACING * f64::from(layer + 1);
                    let price = passive(quote, side, centre * (1.0 + sign * distance));
                    let near = desk.price(slot).is_some_and(|now| {
                        as_f64((now - price).abs()) < quote.fair * Self::SPACING / 3.0
                    });
                    let price = if near {
                        desk.price(slot).unwrap_or(price)
                    } else {
                        price
                    };
                    let target = (layer < layers).then_some(Target {
                        price,
                        lots: Self::LOTS * u32::from(layer + 1),
                    });
                    out.extend(desk.quote(slot, target));
                }
            }
        }
    }
}

/// Needs capacity for one job after another and buys it in bursts, slice by slice.
struct BatchBuyer {
    rng: Pcg64,
    job: Job,
}

enum Job {
    Waiting {
        until: Duration,
    },
    Buying {
        instrument: InstrumentId,
        lots: u32,
        give_up: Duration,
        slice: Option<ClOrdId>,
    },
}

impl BatchBuyer {
    /// How far above the index it still buys.
    const PREMIUM: f64 = 0.01;

    const fn new(rng: Pcg64) -> Self {
        Self {
            rng,
            job: Job::Waiting {
                until: Duration::ZERO,
            },
        }
    }

    fn rest(&mut self, now: Duration) {
        let pause = Duration::from_millis(self.rng.random_range(200..1_500));
        self.job = Job::Waiting { until: now + pause };
    }

    fn next_job(&mut self, now: Duration, market: &[Quote]) {
        let offered: Vec<_> = market.iter().filter(|quote| quote.ask.is_some()).collect();
        if offered.is_empty() {
            return;
        }
        let quote = offered[self.rng.random_range(0..offered.len())];
        self.job = Job::Buying {
            instrument: quote.instrument,
            lots: self.rng.random_range(10..=60),
            give_up: now + Duration::from_secs(2),
            slice: None,
        };
    }
}

impl Strategy for BatchBuyer {
    fn name(&self) -> &'static str {
        "taker-batch"
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(50)
    }

    fn on_tick(
        &mut self,
        now: Duration,
        market: &[Quote],
        desk: &mut Desk,
        out: &mut Vec<Request>,
    ) {
        let fills = desk.take_fills();
        if let Job::Waiting { until } = self.job
            && now >= until
        {
            self.next_job(now, market);
        }
        let Job::Buying {
            instrument,
            lots,
            give_up,
            slice,
        } = &mut self.job
        else {
            return;
        };
        let bought: u32 = fills
            .iter()
            .filter(|fill| Some(fill.request) == *slice)
            .map(|fill| fill.lots)
            .sum();
        *lots = lots.saturating_sub(bought);
        if *lots == 0 || now >= *give_up {
            self.rest(now);
            return;
        }
        let Some(quote) = market.iter().find(|quote| quote.instrument == *instrument) else {
            return;
        };
        if let Some((ask, _)) = quote.ask
            && as_f64(ask) <= quote.fair * (1.0 + Self::PREMIUM)
        {
            let take = self.rng.random_range(3..=9).min(*lots);
            let request = desk.take(*instrument, Side::Buy, ask, take);
            *slice = Some(request.id);
            out.push(request);
        }
    }
}

/// Has an opinion of its own around the index, buys what is offered below it and hits what is bid
/// above it, and now and then gets rid of what it has.
struct Opportunist {
    rng: Pcg64,
}

impl Opportunist {
    /// What a trade must gain against its opinion.
    const EDGE: f64 = 0.000_5;
    /// Standard deviation of its opinion around the index.
    const OPINION: f64 = 0.001_5;
    const LOOKS: usize = 4;

    const fn new(rng: Pcg64) -> Self {
        Self { rng }
    }
}

impl Strategy for Opportunist {
    fn name(&self) -> &'static str {
        "taker-value"
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(120)
    }

    fn on_tick(&mut self, _: Duration, market: &[Quote], desk: &mut Desk, out: &mut Vec<Request>) {
        desk.take_fills();
        if market.is_empty() {
            return;
        }
        for _ in 0..Self::LOOKS {
            let quote = &market[self.rng.random_range(0..market.len())];
            let most = self.rng.random_range(2..=10u32);
            let position = desk.position(quote.instrument);
            let tidy = self.rng.random_range(0..20) == 0;
            let worth = quote.fair * (1.0 + Self::OPINION * normal(&mut self.rng));
            let trade = match (quote.bid, quote.ask) {
                (_, Some((ask, lots)))
                    if as_f64(ask) < worth * (1.0 - Self::EDGE) || (tidy && position < -20) =>
                {
                    Some((Side::Buy, ask, lots))
                }
                (Some((bid, lots)), _)
                    if as_f64(bid) > worth * (1.0 + Self::EDGE) || (tidy && position > 20) =>
                {
                    Some((Side::Sell, bid, lots))
                }
                _ => None,
            };
            if let Some((side, price, there)) = trade {
                let lots = most.min(u32::try_from(there).unwrap_or(u32::MAX));
                out.push(desk.take(quote.instrument, side, price, lots));
            }
        }
    }
}

/// The wanted price on the contract's steps, away from the market: bids rounded down, asks up; at
/// least one step from a touch that it would cross, and never below one step.
fn passive(quote: &Quote, side: Side, wanted: f64) -> i64 {
    let steps = wanted / as_f64(quote.step);
    let price = match side {
        Side::Buy => to_i64(steps.floor()).saturating_mul(quote.step),
        Side::Sell => to_i64(steps.ceil()).saturating_mul(quote.step),
    };
    let price = match side {
        Side::Buy => quote
            .ask
            .map_or(price, |(ask, _)| price.min(ask - quote.step)),
        Side::Sell => quote
            .bid
            .map_or(price, |(bid, _)| price.max(bid + quote.step)),
    };
    price.max(quote.step)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "prices and positions of the demo are far below 2^53"
)]
fn as_f64(value: i64) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float-to-integer cast saturates, and the caller has rounded"
)]
fn to_i64(value: f64) -> i64 {
    value as i64
}

#[cfg(test)]
mod tests {
    use super::super::desk::{Report, RequestKind};
    use super::*;

    fn quote(fair: f64, bid: Option<i64>, ask: Option<i64>) -> Quote {
        Quote {
            instrument: InstrumentId::new(0),
            step: 1,
            fair,
            bid: bid.map(|price| (price, 10)),
            ask: ask.map(|price| (price, 10)),
            flow: 0.0,
        }
    }

    fn desk() -> Desk {
        Desk::new(ClOrdId::new(0))
    }

    fn tick(
        strategy: &mut dyn Strategy,
        at_ms: u64,
        market: &[Quote],
        desk: &mut Desk,
    ) -> Vec<Request> {
        let mut out = Vec::new();
        strategy.on_tick(Duration::from_millis(at_ms), market, desk, &mut out);
        out
    }

    fn prices(requests: &[Request], side: Side) -> Vec<i64> {
        requests
            .iter()
            .filter(|request| request.side == side)
            .filter_map(|request| match request.kind {
                RequestKind::Post { price, .. } | RequestKind::Move { price, .. } => Some(price),
                RequestKind::Take { .. } | RequestKind::Cancel { .. } => None,
            })
            .collect()
    }

    fn accept_all(desk: &mut Desk, requests: &[Request]) {
        for request in requests {
            desk.on_report(Report::Accepted { order: request.id });
        }
    }

    #[test]
    fn names_fit_a_comp_id_and_differ() {
        let names: Vec<_> = participants(1).iter().map(|p| p.name()).collect();
        assert_eq!(names.len(), 5);
        assert!(names.iter().all(|name| name.len() <= 16));
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn makers_never_cross_the_touch() {
        // The index is far above the market, then far below.
        for fair in [4_000.0, 2_000.0] {
            let market = [quote(fair, Some(2_990), Some(3_010))];
            for mut maker in participants(7).drain(..3) {
                let requests = tick(maker.as_mut(), 0, &market, &mut desk());
                assert!(!requests.is_empty(), "{}", maker.name());
                assert!(prices(&requests, Side::Buy).iter().all(|&bid| bid < 3_010));
                assert!(prices(&requests, Side::Sell).iter().all(|&ask| ask > 2_990));
            }
        }
    }

    #[test]
    fn the_tight_quoter_leans_against_its_position() {
        let market = [quote(4_000.0, None, None)];
        let mut maker = TightQuoter::new(Pcg64::seed_from_u64(1));
        let mut desk = desk();
        let before = tick(&mut maker, 0, &market, &mut desk);
        accept_all(&mut desk, &before);
        let bid = before.iter().find(|r| r.side == Side::Buy).unwrap();
        desk.on_report(Report::Filled {
            order: bid.id,
            price: 3_994,
            lots: 120,
            leaves: 0,
        });
        let after = tick(&mut maker, 100, &market, &mut desk);
        assert!(prices(&after, Side::Buy)[0] < prices(&before, Side::Buy)[0]);
        assert!(prices(&after, Side::Sell)[0] < prices(&before, Side::Sell)[0]);
    }

    #[test]
    fn a_quiet_market_needs_no_requests() {
        let market = [quote(4_000.0, None, None)];
        for mut maker in participants(3).drain(..3) {
            let mut desk = desk();
            let first = tick(maker.as_mut(), 0, &market, &mut desk);
            accept_all(&mut desk, &first);
            assert_eq!(
                tick(maker.as_mut(), 1_000, &market, &mut desk),
                [],
                "{}",
                maker.name()
            );
        }
    }

    #[test]
    fn the_trend_maker_builds_layers_with_the_flow_and_takes_them_back() {
        let mut maker = TrendLayers::new();
        let mut desk = desk();
        let mut market = [quote(4_000.0, None, None)];
        let calm = tick(&mut maker, 0, &market, &mut desk);
        assert_eq!(calm.len(), 2);
        accept_all(&mut desk, &calm);
        market[0].flow = 0.9;
        let rising = tick(&mut maker, 250, &market, &mut desk);
        accept_all(&mut desk, &rising);
        assert_eq!(desk.resting(), 4);
        market[0].flow = 0.0;
        let calm = tick(&mut maker, 500, &market, &mut desk);
        let canceled = calm
            .iter()
            .filter(|r| matches!(r.kind, RequestKind::Cancel { .. }))
            .count();
        assert_eq!(canceled, 2);
    }

    #[test]
    fn the_batch_buyer_starts_with_the_first_offer_and_finishes_its_job() {
        let mut buyer = BatchBuyer::new(Pcg64::seed_from_u64(2));
        let mut desk = desk();
        assert_eq!(
            tick(&mut buyer, 0, &[quote(4_000.0, None, None)], &mut desk),
            []
        );
        let market = [quote(4_000.0, Some(3_990), Some(4_010))];
        let (mut bought, mut at) = (0, 50);
        loop {
            let requests = tick(&mut buyer, at, &market, &mut desk);
            let [request] = requests[..] else {
                break;
            };
            let RequestKind::Take { price: 4_010, lots } = request.kind else {
                panic!("{request:?}");
            };
            bought += lots;
            desk.on_report(Report::Filled {
                order: request.id,
                price: 4_010,
                lots,
                leaves: 0,
            });
            at += 50;
        }
        assert!((10..=60).contains(&bought), "{bought}");
    }

    #[test]
    fn nobody_buys_far_above_the_index() {
        let market = [quote(4_000.0, Some(4_100), Some(4_200))];
        let mut buyer = BatchBuyer::new(Pcg64::seed_from_u64(2));
        assert_eq!(tick(&mut buyer, 0, &market, &mut desk()), []);
        let mut opportunist = Opportunist::new(Pcg64::seed_from_u64(2));
        let sold = tick(&mut opportunist, 0, &market, &mut desk());
        assert!(!sold.is_empty());
        assert!(sold.iter().all(|request| request.side == Side::Sell));
    }

    #[test]
    fn the_index_stays_near_its_reference_and_follows_its_seed() {
        let run = |seed| {
            let mut index = Index::new(seed, [4_000.0, 500.0]);
            for _ in 0..6_000 {
                index.step(Duration::from_millis(100));
                let fair = index.fair(0);
                assert!((3_600.0..4_400.0).contains(&fair), "{fair}");
            }
            index.fair(1)
        };
        assert_eq!(run(1).to_bits(), run(1).to_bits());
        assert_ne!(run(1).to_bits(), run(2).to_bits());
    }
}
