//! A thread of the exchange: a name and a bounded amount of work.
//!
//! The threads call [`run`]; the simulator calls the same [`Agent::do_work`] of all agents from one
//! thread, in any order.

use std::io;
use std::thread::{Builder, JoinHandle};

use crate::idle::{Idle, IdleConfig};
use crate::park::Parker;
use crate::sync::{AtomicBool, Ordering};

/// What a thread does, without the thread.
pub trait Agent {
    /// Name of the thread and of its metrics.
    fn name(&self) -> &str;

    /// Does a bounded amount of work without blocking and returns how much, in whatever the agent
    /// counts; zero means that it looked at all its inputs and found nothing.
    fn do_work(&mut self) -> usize;

    /// Called once after the last [`Self::do_work`]: hand over or finish what is held.
    fn on_stop(&mut self) {}
}

/// Drives `agent` on this thread until `stop` is set, then calls [`Agent::on_stop`].
///
/// Whoever sets `stop` (with `Release`) wakes the parker afterwards, as for any other news.
pub fn run<A: Agent + ?Sized>(
    agent: &mut A,
    idle: IdleConfig,
    parker: &mut Parker,
    stop: &AtomicBool,
) {
    let mut idle = Idle::new(idle);
    while !stop.load(Ordering::Acquire) {
        let work = agent.do_work();
        // The re-check is a full round of work: an agent then has one list of inputs, and none can
        // be forgotten in a second one.
        idle.idle(work, parker, || {
            stop.load(Ordering::Acquire) || agent.do_work() > 0
        });
    }
    agent.on_stop();
}

/// [`run`] on a new thread named after the agent. Joining it gives the agent back.
///
/// # Errors
/// What the operating system says if it has no thread to give.
pub fn spawn<A: Agent + Send + 'static>(
    mut agent: A,
    idle: IdleConfig,
    mut parker: Parker,
    stop: std::sync::Arc<AtomicBool>,
) -> io::Result<JoinHandle<A>> {
    Builder::new().name(agent.name().to_owned()).spawn(move || {
        run(&mut agent, idle, &mut parker, &stop);
        agent
    })
}

#[cfg(all(test, not(tessera_loom)))]
mod tests {
    use super::*;
    use crate::park::Wake;
    use crate::spsc;
    use std::sync::Arc;
    use std::time::Duration;

    struct Adder {
        inbox: spsc::Consumer<u64>,
        done: spsc::Producer<u64>,
        sum: u64,
        stops: u32,
    }

    impl Agent for Adder {
        fn name(&self) -> &str {
            "adder"
        }

        fn do_work(&mut self) -> usize {
            self.inbox.pop_batch(4, |n| {
                self.sum += n;
                self.done.try_push(n).expect("the test takes every answer");
            })
        }

        fn on_stop(&mut self) {
            self.stops += 1;
        }
    }

    /// With a timeout of half a minute, finishing at all means that wake-ups arrive.
    #[test]
    fn an_agent_works_sleeps_wakes_and_stops() {
        let (mut numbers, inbox) = spsc::channel(16);
        let (done, mut answers) = spsc::channel(16);
        let parker = Parker::new();
        let unparker = parker.unparker();
        let stop = Arc::new(AtomicBool::new(false));
        let idle = IdleConfig {
            park_timeout: Duration::from_secs(30),
            ..IdleConfig::PARKING
        };
        let adder = Adder {
            inbox,
            done,
            sum: 0,
            stops: 0,
        };
        let thread = spawn(adder, idle, parker, stop.clone()).expect("one more thread");
        assert_eq!(thread.thread().name(), Some("adder"));

        for n in 1..=200 {
            numbers.try_push(n).expect("one number at a time");
            unparker.wake();
            while answers.try_pop().is_none() {
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::Release);
        unparker.wake();

        let adder = thread.join().expect("the agent does not panic");
        assert_eq!((adder.sum, adder.stops), (200 * 201 / 2, 1));
    }
}
