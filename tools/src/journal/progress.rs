//! Progress on standard error, for people who wait in front of a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counts on standard error while something takes long, if anybody is there to see it.
pub(super) struct Progress {
    started: Instant,
    shown: Option<Instant>,
    count: u64,
    total: u64,
    what: &'static str,
    enabled: bool,
}

impl Progress {
    /// Towards about `total`, 0 where nobody knows.
    pub(super) fn towards(what: &'static str, total: u64) -> Self {
        Self {
            started: Instant::now(),
            shown: None,
            count: 0,
            total,
            what,
            enabled: io::stderr().is_terminal(),
        }
    }

    pub(super) fn step(&mut self) {
        self.count += 1;
        // The clock costs more than a record; look at it now and then.
        if self.enabled && self.count.is_multiple_of(STRIDE) {
            let is_due = self.shown.is_none_or(|at| at.elapsed() >= PAUSE);
            if is_due {
                self.shown = Some(Instant::now());
                show(self.what, self.count, self.total, self.started.elapsed());
            }
        }
    }

    pub(super) fn elapsed_ms(&self) -> u64 {
        millis(self.started)
    }

    pub(super) fn end(&self) {
        if self.shown.is_some() {
            clear();
        }
    }
}

/// The same for work of several threads.
pub(super) struct Shared {
    started: Instant,
    /// Milliseconds after the start at which it was shown last.
    shown_ms: AtomicU64,
    count: AtomicU64,
    total: u64,
    what: &'static str,
    enabled: bool,
}

impl Shared {
    pub(super) fn new(what: &'static str, total: u64) -> Self {
        Self {
            started: Instant::now(),
            shown_ms: AtomicU64::new(0),
            count: AtomicU64::new(0),
            total,
            what,
            enabled: io::stderr().is_terminal(),
        }
    }

    pub(super) fn step(&self) {
        if !self.enabled {
            return;
        }
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_multiple_of(STRIDE) {
            let now = millis(self.started).max(1);
            let before = self.shown_ms.load(Ordering::Relaxed);
            let is_due = u128::from(now.saturating_sub(before)) >= PAUSE.as_millis();
            let is_mine = || {
                self.shown_ms
                    .compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
            };
            if is_due && is_mine() {
                show(self.what, count, self.total, self.started.elapsed());
            }
        }
    }

    pub(super) fn elapsed_ms(&self) -> u64 {
        millis(self.started)
    }

    pub(super) fn end(&self) {
        if self.shown_ms.load(Ordering::Relaxed) > 0 {
            clear();
        }
    }
}

fn show(what: &str, count: u64, total: u64, elapsed: Duration) {
    let _ = write!(io::stderr(), "\r{} ", line(what, count, total, elapsed));
}

fn line(what: &str, count: u64, total: u64, elapsed: Duration) -> String {
    let millis = elapsed.as_millis().max(1);
    let rate = u128::from(count) * 1000 / millis;
    let mut text = format!("{count} {what}, {rate}/s");
    if total > count && rate > 0 {
        let left = u128::from(total - count) / rate;
        text += &format!(", {}%, {left} s left", count.saturating_mul(100) / total);
    }
    text
}

fn clear() {
    let _ = write!(io::stderr(), "\r\x1b[K");
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

const STRIDE: u64 = 1 << 14;
const PAUSE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_rate_and_what_is_left() {
        let two = Duration::from_secs(2);
        assert_eq!(
            line("records", 500, 2000, two),
            "500 records, 250/s, 25%, 6 s left"
        );
        assert_eq!(line("records", 500, 0, two), "500 records, 250/s");
        assert_eq!(line("records", 500, 400, two), "500 records, 250/s");
    }
}
