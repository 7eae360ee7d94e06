//! Rule 12: volatility interruptions; and what an auction tells while it collects.

use super::{Model, Phase};

impl Model {
    /// True when a trade with this resting order would be further from the reference than the
    /// instrument allows.
    pub(super) fn is_beyond_band(&self, instrument: usize, age: u64) -> bool {
        let listing = &self.listings[instrument];
        let (Some(guard), Some(reference)) = (listing.terms.volatility, listing.reference_at_start)
        else {
            return false;
        };
        let price = self.orders[self.index_of(age)].price;
        let price = price.expect("only orders with a price are in the book");
        reference.abs_diff(price) > guard.band
    }

    /// Trading stops, an auction begins that the clock will end.
    pub(super) fn interrupt(&mut self, instrument: usize) {
        let guard = self.listings[instrument].terms.volatility;
        let guard = guard.expect("only a guard interrupts");
        let until = self.clock.saturating_add(guard.length_ns);
        self.set_phase(instrument, Phase::Auction);
        self.listings[instrument].interrupted_until = Some(until);
        let fields = format!(
            r#""instrument":{},"phase":"auction","reason":"volatility","until":{until}"#,
            self.name(instrument)
        );
        self.say("phase", &fields);
    }

    /// The clock ends an interruption: like a command of its own.
    pub(super) fn end_interruption(&mut self, instrument: usize) {
        self.listings[instrument].reference_at_start = self.listings[instrument].reference;
        self.set_phase(instrument, Phase::Continuous);
        let fields = format!(
            r#""instrument":{},"phase":"continuous","reason":"volatility""#,
            self.name(instrument)
        );
        self.say("phase", &fields);
        self.uncross(instrument);
        self.finish(&[instrument]);
        self.listings[instrument].reference_at_start = self.listings[instrument].reference;
    }

    pub(super) fn set_phase(&mut self, instrument: usize, phase: Phase) {
        let listing = &mut self.listings[instrument];
        listing.phase = phase;
        listing.interrupted_until = None;
        listing.held = None;
        if phase != Phase::Auction {
            listing.told = None;
        }
    }

    /// Every auction that collects tells its outcome when it is not what it told last.
    pub(super) fn tell_indications(&mut self) {
        for instrument in 0..self.listings.len() {
            let listing = &self.listings[instrument];
            if !listing.terms.indicative || listing.phase != Phase::Auction {
                continue;
            }
            let outcome = self.outcome(instrument);
            if outcome == self.listings[instrument].told {
                continue;
            }
            self.listings[instrument].told = outcome;
            let name = self.name(instrument);
            let fields = match outcome {
                Some((price, volume, surplus)) => format!(
                    r#""instrument":{name},"price":{price},"volume":{volume},"surplus":{surplus}"#
                ),
                None => format!(r#""instrument":{name},"volume":0"#),
            };
            self.say("indicative", &fields);
        }
    }
}
