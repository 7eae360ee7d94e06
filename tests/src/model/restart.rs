//! Rule 14: a restart, the time before it in which nothing happened, and the hold behind it.

use super::{Model, Phase, TimeInForce};

impl Model {
    /// What should have happened until `time`, while nobody was there, happens `grace` behind it.
    pub(super) fn extend_over_outage(&mut self, time: u64, grace: u64) {
        let until = time.saturating_add(grace);
        for order in &mut self.orders {
            if order.tif == TimeInForce::Gtd && order.expire <= time {
                order.expire = until;
            }
        }
        self.extend_attestations(time, until);
        for listing in &mut self.listings {
            if listing.interrupted_until.is_some_and(|end| end <= time) {
                listing.interrupted_until = Some(until);
            }
        }
    }

    /// Everything that trades or collects is halted for `hold`; without a hold nothing is.
    pub(super) fn restart(&mut self, hold: u64) {
        if hold == 0 {
            return self.reopen();
        }
        let until = self.clock.saturating_add(hold);
        for instrument in 0..self.listings.len() {
            let listing = &self.listings[instrument];
            let goes_on = match listing.phase {
                Phase::Continuous | Phase::Auction => {
                    Some((listing.phase, listing.interrupted_until))
                }
                Phase::Halt | Phase::Closed => listing.held,
            };
            if goes_on.is_some() {
                self.set_phase(instrument, Phase::Halt);
                self.listings[instrument].held = goes_on;
                self.say_phase(instrument, Some(until));
            }
        }
    }

    /// What the restart halted goes on; an interruption that should have ended by now ends.
    pub(super) fn reopen(&mut self) {
        for instrument in 0..self.listings.len() {
            if let Some((phase, end)) = self.listings[instrument].held {
                self.set_phase(instrument, phase);
                let end = end.map(|end| end.max(self.clock));
                self.listings[instrument].interrupted_until = end;
                self.say_phase(instrument, end);
            }
        }
        self.move_clock(self.clock);
    }

    fn say_phase(&mut self, instrument: usize, until: Option<u64>) {
        let until = until.map_or(String::new(), |until| format!(r#","until":{until}"#));
        let fields = format!(
            r#""instrument":{},"phase":"{}","reason":"restart"{until}"#,
            self.name(instrument),
            self.listings[instrument].phase
        );
        self.say("phase", &fields);
    }
}
