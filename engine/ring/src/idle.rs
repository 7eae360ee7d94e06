//! What a thread does when it found nothing to do: spin a little, yield a little, then park.

use std::fmt;
use std::time::Duration;

use crate::park::Parker;
use crate::sync::Backoff;

/// How long to stay awake without work, and how deep to sleep after that.
///
/// Plain numbers, so that a configuration file can carry them. The default suits machines with fewer
/// cores than threads, where a spinning thread takes the core from the one it waits for;
/// [`Self::SPINNING`] suits a thread pinned to a core of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleConfig {
    /// Rounds without work that pause the processor and look again; the pauses double up to 64
    /// `pause` instructions, a few microseconds.
    pub spins: u32,
    /// Rounds after those that give the core to another thread and look again.
    pub yields: u32,
    /// Longest sleep after that. Wake-ups are not lost, so this bounds only how late an agent
    /// notices the clock.
    pub park_timeout: Duration,
    /// Never sleep: repeat the yields for ever, or the spins if there are no yields, then with the
    /// shortest pause.
    pub never_park: bool,
}

impl IdleConfig {
    /// For a core of its own: no system call, ever.
    pub const SPINNING: Self = Self {
        spins: 1,
        yields: 0,
        park_timeout: Duration::from_millis(1),
        never_park: true,
    };

    /// For threads nobody waits for: park at the first idle round.
    pub const PARKING: Self = Self {
        spins: 0,
        yields: 0,
        park_timeout: Duration::from_millis(10),
        never_park: false,
    };
}

impl Default for IdleConfig {
    /// A handful of spins (about a microsecond), two yields, then a park of at most a millisecond.
    fn default() -> Self {
        Self {
            spins: 5,
            yields: 2,
            park_timeout: Duration::from_millis(1),
            never_park: false,
        }
    }
}

/// The state of one thread's idleness.
pub struct Idle {
    config: IdleConfig,
    /// Rounds without work since the last one that had some, up to the first that parks.
    rounds: u32,
    backoff: Backoff,
}

impl Idle {
    /// A thread that has just been busy.
    pub fn new(config: IdleConfig) -> Self {
        Self {
            config,
            rounds: 0,
            backoff: Backoff::new(),
        }
    }

    /// Call after every round of work with the amount done.
    ///
    /// Any work starts over; without work this spins, yields or parks and returns what it did.
    /// `recheck` runs between announcing a park and parking, and must look at everything that a
    /// wake-up may be about; if it finds (or does) something, the thread stays awake.
    #[inline]
    pub fn idle(
        &mut self,
        work: usize,
        parker: &mut Parker,
        recheck: impl FnMut() -> bool,
    ) -> Rested {
        if work > 0 {
            self.busy();
            return Rested::NotAtAll;
        }
        self.rest(parker, recheck)
    }

    /// The configuration this was made with.
    pub fn config(&self) -> &IdleConfig {
        &self.config
    }

    #[inline]
    fn busy(&mut self) {
        // Under load this runs every round: store only if there is something to forget.
        if self.rounds > 0 {
            self.rounds = 0;
            self.backoff.reset();
        }
    }

    #[cold]
    fn rest(&mut self, parker: &mut Parker, recheck: impl FnMut() -> bool) -> Rested {
        let IdleConfig {
            spins,
            yields,
            park_timeout,
            never_park,
        } = self.config;
        let round = self.rounds;
        if round < spins {
            self.rounds += 1;
            self.backoff.spin();
            Rested::Spun
        } else if round - spins < yields {
            self.rounds += 1;
            std::thread::yield_now();
            Rested::Yielded
        } else if !never_park {
            if parker.park_unless(Some(park_timeout), recheck) {
                // After a park the rounds stay used up: if it was the timeout, sleep again at once.
                Rested::Parked
            } else {
                self.busy();
                Rested::NotAtAll
            }
        } else if yields > 0 {
            std::thread::yield_now();
            Rested::Yielded
        } else {
            std::hint::spin_loop();
            Rested::Spun
        }
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle")
            .field("config", &self.config)
            .field("rounds", &self.rounds)
            .finish_non_exhaustive()
    }
}

/// What [`Idle::idle`] did, for counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rested {
    /// There was work, or the re-check found some.
    NotAtAll,
    /// Paused the processor.
    Spun,
    /// Offered the core to another thread.
    Yielded,
    /// Slept until a wake-up or the timeout.
    Parked,
}

#[cfg(all(test, not(tessera_loom)))]
mod tests {
    use super::Rested::{NotAtAll, Parked, Spun, Yielded};
    use super::*;

    /// Feeds the amounts of work to a thread with this configuration, and `found` to every re-check.
    #[track_caller]
    fn check(config: IdleConfig, found: bool, work: &[usize], expected: &[Rested]) {
        let mut idle = Idle::new(config);
        let mut parker = Parker::new();
        let rested: Vec<Rested> = work
            .iter()
            .map(|&done| idle.idle(done, &mut parker, || found))
            .collect();
        assert_eq!(rested, expected);
    }

    const SHORT: IdleConfig = IdleConfig {
        spins: 2,
        yields: 1,
        park_timeout: Duration::from_micros(10),
        never_park: false,
    };

    #[test]
    fn spins_then_yields_then_parks_until_there_is_work() {
        check(
            SHORT,
            false,
            &[0, 0, 0, 0, 0, 3, 0, 0, 0, 0],
            &[
                Spun, Spun, Yielded, Parked, Parked, NotAtAll, Spun, Spun, Yielded, Parked,
            ],
        );
    }

    #[test]
    fn work_found_by_the_re_check_starts_over() {
        check(
            SHORT,
            true,
            &[0, 0, 0, 0, 0],
            &[Spun, Spun, Yielded, NotAtAll, Spun],
        );
    }

    #[test]
    fn a_pinned_thread_only_spins() {
        check(IdleConfig::SPINNING, false, &[0; 5], &[Spun; 5]);
    }

    #[test]
    fn a_thread_that_never_parks_keeps_yielding_if_it_may_yield() {
        let config = IdleConfig {
            spins: 1,
            never_park: true,
            ..SHORT
        };
        check(config, false, &[0; 4], &[Spun, Yielded, Yielded, Yielded]);
    }

    #[test]
    fn a_parking_thread_neither_spins_nor_yields() {
        let config = IdleConfig {
            park_timeout: Duration::from_micros(10),
            ..IdleConfig::PARKING
        };
        check(config, false, &[0, 1, 0], &[Parked, NotAtAll, Parked]);
    }
}
