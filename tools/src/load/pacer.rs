//! Wakes a task at a time, to the microsecond.

use std::io;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// A kernel timer that the runtime waits for like for a socket.
///
/// tokio's own timers step in milliseconds, which at ten thousand requests per second would send ten
/// at a time and count the wait for the step as latency of the exchange.
#[derive(Debug)]
pub(crate) struct Pacer(AsyncFd<std::os::fd::OwnedFd>);

impl Pacer {
    /// A timer that is not set. Must be called inside a runtime with I/O.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types whose descriptor may change; an OwnedFd keeps its own"
        )]
        let fd = AsyncFd::new(fd)?;
        Ok(Self(fd))
    }

    /// Returns after `wait`, at once when it is zero. Cancel safe: a later call sets the timer anew.
    pub(crate) async fn sleep(&self, wait: Duration) -> io::Result<()> {
        if wait.is_zero() {
            return Ok(());
        }
        let value = Timespec::try_from(wait).map_err(io::Error::other)?;
        let spec = Itimerspec {
            it_interval: Timespec::default(),
            it_value: value,
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &spec)?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut expirations = [0; 8];
            match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut expirations)?)) {
                Ok(read) => return read.map(|_| ()),
                // Left over from a timer that was set anew before it was read.
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn run(future: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(future);
    }

    #[test]
    fn it_never_wakes_early_and_can_be_set_anew() {
        run(async {
            let pacer = Pacer::new().unwrap();
            for us in [1, 50, 300, 2_000] {
                let wait = Duration::from_micros(us);
                let before = Instant::now();
                pacer.sleep(wait).await.unwrap();
                assert!(before.elapsed() >= wait);
            }
            let long = pacer.sleep(Duration::from_secs(3_600));
            let cut = tokio::time::timeout(Duration::from_millis(1), long).await;
            assert!(cut.is_err());
            let before = Instant::now();
            pacer.sleep(Duration::from_micros(500)).await.unwrap();
            assert!(before.elapsed() < Duration::from_secs(60));
            pacer.sleep(Duration::ZERO).await.unwrap();
        });
    }
}
