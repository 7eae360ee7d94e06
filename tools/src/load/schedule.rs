//! When each request of an open loop is meant to be sent.

use std::time::Duration;

/// Request `n` of a load at a fixed offered rate is due `n / rate` after the start.
///
/// The times are absolute: a generator that falls behind sends what is overdue at once and does not
/// shift the rest, and latency counts from the time that was meant. Otherwise a stall would stop the
/// clock for exactly the requests that it delays (coordinated omission).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// Requests per second of the whole load.
    rate: u64,
    /// This lane's first request, as a position in the whole load.
    offset: u64,
    /// Positions from one request of this lane to the next: the number of lanes.
    stride: u64,
}

impl Schedule {
    /// Lane `lane` of `lanes` that take turns at `rate` requests per second together; neither may
    /// be zero.
    pub(crate) const fn new(rate: u64, lane: u64, lanes: u64) -> Self {
        Self {
            rate,
            offset: lane,
            stride: lanes,
        }
    }

    /// When this lane's request `n`, counted from 0, is due, from the start of the run.
    pub(crate) fn due(&self, n: u64) -> Duration {
        let position = u128::from(self.offset) + u128::from(n) * u128::from(self.stride);
        let ns = position * 1_000_000_000 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// How many of this lane's requests are due by `elapsed`.
    pub(crate) fn due_by(&self, elapsed: Duration) -> u64 {
        // The last position p with p / rate <= elapsed, rounded as `due` rounds.
        let last = ((elapsed.as_nanos() + 1) * u128::from(self.rate) - 1) / 1_000_000_000;
        let Some(past) = last.checked_sub(u128::from(self.offset)) else {
            return 0;
        };
        u64::try_from(past / u128::from(self.stride) + 1).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_by_a_time_is_what_was_meant_before_it() {
        for (rate, lanes) in [
            (1, 1),
            (3, 2),
            (7, 3),
            (1_000, 1),
            (333_333, 4),
            (10_000_000, 1),
        ] {
            for lane in 0..lanes {
                let schedule = Schedule::new(rate, lane, lanes);
                for n in 0..50 {
                    let due = schedule.due(n);
                    assert_eq!(schedule.due_by(due), n + 1, "{rate} {lanes} {lane} {n}");
                    if let Some(before) = due.checked_sub(Duration::from_nanos(1)) {
                        assert_eq!(schedule.due_by(before), n, "{rate} {lanes} {lane} {n}");
                    }
                }
            }
        }
    }

    #[test]
    fn lanes_take_turns() {
        let lanes = [Schedule::new(1_000, 0, 2), Schedule::new(1_000, 1, 2)];
        let mut times: Vec<Duration> = (0..4).flat_map(|n| lanes.map(|lane| lane.due(n))).collect();
        times.sort();
        let expected: Vec<Duration> = (0..8).map(Duration::from_millis).collect();
        assert_eq!(times, expected);
    }

    #[test]
    fn a_late_look_does_not_move_the_schedule() {
        let schedule = Schedule::new(1_000, 0, 1);
        assert_eq!(schedule.due_by(Duration::from_secs(2)), 2_001);
        assert_eq!(schedule.due(2_001), Duration::from_micros(2_001_000));
    }
}
