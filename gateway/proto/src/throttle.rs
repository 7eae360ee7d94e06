//! Rate limits: two token buckets, so that ordinary traffic never uses up the right to cancel.
//!
//! A bucket is kept as one time stamp (the generic cell rate algorithm): the moment at which it will
//! be full again. That needs no timer, and no division that could lose tokens.

use crate::message::Template;
use crate::time::Monotime;

/// Rates of a session. A rate of 0 means "not limited".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Weight of ordinary requests per second in the long run.
    pub rate: u32,
    /// Weight of ordinary requests at once.
    pub burst: u32,
    /// Cancels per second in the long run.
    pub cancel_rate: u32,
    /// Cancels at once.
    pub cancel_burst: u32,
}

impl Rates {
    /// The venue's default.
    pub const DEFAULT: Self = Self {
        rate: 1_000,
        burst: 5_000,
        cancel_rate: 1_000,
        cancel_burst: 5_000,
    };

    /// No limit: development credentials and the demo.
    pub const UNLIMITED: Self = Self {
        rate: 0,
        burst: 0,
        cancel_rate: 0,
        cancel_burst: 0,
    };
}

/// The buckets of one session.
#[derive(Clone, Debug)]
pub struct Throttle {
    ordinary: Bucket,
    cancels: Bucket,
}

impl Throttle {
    /// Full buckets.
    #[must_use]
    pub const fn new(rates: Rates) -> Self {
        Self {
            ordinary: Bucket::new(rates.rate, rates.burst),
            cancels: Bucket::new(rates.cancel_rate, rates.cancel_burst),
        }
    }

    /// Takes the weight of one message.
    ///
    /// # Errors
    /// Nanoseconds until there is room for it; nothing has been taken then.
    pub fn take(&mut self, template: Template, now: Monotime) -> Result<(), u64> {
        match weight(template) {
            Weight::Free => Ok(()),
            Weight::Ordinary(quarters) => self.ordinary.take(quarters, now),
            Weight::Cancel(quarters) => self.cancels.take(quarters, now),
        }
    }
}

/// What a message costs, in quarters, because a quote entry will cost one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    Free,
    Ordinary(u32),
    Cancel(u32),
}

const fn weight(template: Template) -> Weight {
    use Template as T;
    match template {
        T::NewOrderSingle | T::CancelReplace | T::AdminInstrument | T::AdminPhase => {
            Weight::Ordinary(4)
        }
        T::AdminCommand => Weight::Ordinary(1),
        T::MdRequest => Weight::Ordinary(8),
        T::SecurityListRequest => Weight::Ordinary(80),
        T::Cancel | T::Reduce | T::MassAction => Weight::Cancel(4),
        _ => Weight::Free,
    }
}

#[derive(Clone, Debug)]
struct Bucket {
    /// Tokens per second, 0 = not limited.
    rate: u32,
    /// Tokens of a full bucket.
    burst: u32,
    /// When the bucket is full again, in scaled time: see `take`.
    full_at: u128,
}

impl Bucket {
    const fn new(rate: u32, burst: u32) -> Self {
        Self {
            rate,
            burst,
            full_at: 0,
        }
    }

    /// Time is scaled by 4 x rate here, so that the time which a quarter of a token takes to come
    /// back, 10^9 / (4 x rate) nanoseconds, is the whole number 10^9.
    fn take(&mut self, quarters: u32, now: Monotime) -> Result<(), u64> {
        const SECOND: u128 = 1_000_000_000;
        if self.rate == 0 {
            return Ok(());
        }
        let scale = 4 * u128::from(self.rate);
        let now = u128::from(now.nanos()) * scale;
        let full_at = self.full_at.max(now) + u128::from(quarters) * SECOND;
        // A full bucket serves any one message, also one that weighs more than the bucket holds.
        let latest = now + (4 * u128::from(self.burst)).max(u128::from(quarters)) * SECOND;
        if full_at > latest {
            let wait = (full_at - latest).div_ceil(scale);
            return Err(u64::try_from(wait).unwrap_or(u64::MAX));
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(ns: u64) -> Monotime {
        Monotime::from_nanos(ns)
    }

    fn throttle(rate: u32, burst: u32) -> Throttle {
        Throttle::new(Rates {
            rate,
            burst,
            cancel_rate: rate,
            cancel_burst: burst,
        })
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut throttle = throttle(1_000, 5_000);
        let now = at(17);
        for _ in 0..5_000 {
            assert_eq!(throttle.take(Template::NewOrderSingle, now), Ok(()));
        }
        assert_eq!(throttle.take(Template::NewOrderSingle, now), Err(1_000_000));
        let later = at(17 + 1_000_000);
        assert_eq!(throttle.take(Template::NewOrderSingle, later), Ok(()));
        assert!(throttle.take(Template::NewOrderSingle, later).is_err());
    }

    #[test]
    fn the_wait_that_is_named_is_enough_and_not_too_long() {
        for rate in [1, 3, 7, 1_000, 333_333] {
            let mut throttle = throttle(rate, 2);
            let mut now = at(5);
            let mut waits = 0;
            for _ in 0..50 {
                while let Err(wait) = throttle.take(Template::NewOrderSingle, now) {
                    let early = now.nanos() + wait - 1;
                    assert!(throttle.take(Template::NewOrderSingle, at(early)).is_err());
                    now = at(now.nanos() + wait);
                    waits += 1;
                }
            }
            assert_eq!(waits, 48, "one wait for each request after the burst");
            let ideal = 48 * SECOND / u64::from(rate);
            assert!(now.nanos() - 5 >= ideal && now.nanos() - 5 <= ideal + 48);
        }
    }

    #[test]
    fn ordinary_traffic_cannot_use_up_the_cancels() {
        let mut throttle = throttle(1, 1);
        assert_eq!(throttle.take(Template::NewOrderSingle, at(0)), Ok(()));
        assert!(throttle.take(Template::CancelReplace, at(0)).is_err());
        assert_eq!(throttle.take(Template::Cancel, at(0)), Ok(()));
        assert!(throttle.take(Template::MassAction, at(0)).is_err());
        assert_eq!(throttle.take(Template::Heartbeat, at(0)), Ok(()));
    }

    #[test]
    fn without_a_rate_nothing_is_refused() {
        let mut throttle = Throttle::new(Rates::UNLIMITED);
        for _ in 0..100_000 {
            assert_eq!(throttle.take(Template::NewOrderSingle, at(0)), Ok(()));
        }
    }
}
