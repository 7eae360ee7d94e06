//! The plain reference model: a slow book written from `docs/order-script.md` alone.
//!
//! It shares the reader of script lines and the words of `tessera-types` with the program, and no
//! line of code with the engine. Orders live in one vector, every question is a linear scan, and
//! "what could really trade" is answered by trying it on a copy. Whoever doubts a result of the
//! engine should be able to check it here against the document, rule by rule.
//!
//! `book` has the orders and the matching, `auction` the uncross, `quotes` the mass quote, `lines`
//! the event lines, `contracts` what `docs/contracts.md` adds; this file has the other commands.

mod auction;
mod book;
pub mod contracts;
mod lines;
mod quotes;
mod restart;
mod sharing;
mod volatility;

use std::collections::{BTreeMap, VecDeque};

use tessera::script::{Op, ScriptCommand, ScriptLine, parse_line};
use tessera_types::contract::{Instrument, MatchAlgo, Name, Phase};
use tessera_types::{
    NewOrder, OrdType, OrderTarget, Reduce, RejectReason, Replace, Side, TimeInForce,
};

use book::{Order, State};
use contracts::{Contracts, Named, Refused};
use lines::quoted;

/// An exchange as the document describes it, for one script.
#[derive(Clone, Debug)]
pub struct Model {
    print_levels: bool,
    line: u64,
    seq: u64,
    out: String,
    clock: u64,
    listings: Vec<Listing>,
    /// Live orders in order of acceptance.
    orders: Vec<Order>,
    /// Elected stops that have not entered yet, in the order in which they will.
    elected: VecDeque<Order>,
    /// Number of the next order; a higher one is younger.
    next_age: u64,
    /// The next place at the back of a queue.
    next_place: u64,
    /// Trades of the running command (or of the running stop) that stops have not seen yet.
    unseen_trades: Vec<(usize, i64)>,
    contracts: Contracts,
}

/// An instrument and what the exchange knows about it.
#[derive(Clone, Debug)]
struct Listing {
    terms: Instrument,
    phase: Phase,
    ref_price: Option<i64>,
    last_trade: Option<i64>,
    /// Age of the order that last improved the best price, by side.
    top: [Option<u64>; 2],
    /// The newest of the last trade and a reference that was given.
    reference: Option<i64>,
    /// That reference when the running command began.
    reference_at_start: Option<i64>,
    /// When the interruption that runs ends.
    interrupted_until: Option<u64>,
    /// The outcome that was last told of an auction that collects.
    told: Option<(i64, u64, i64)>,
    /// A restart halted it: the phase it goes on in, and when the clock was to end that.
    held: Option<(Phase, Option<u64>)>,
    /// The coordinate, when it is a contract.
    contract: Option<contracts::Terms>,
}

impl Model {
    /// An exchange without instruments and orders, its clock at 0.
    #[must_use]
    pub fn new(print_levels: bool) -> Self {
        Self {
            print_levels,
            line: 0,
            seq: 0,
            out: String::new(),
            clock: 0,
            listings: Vec::new(),
            orders: Vec::new(),
            elected: VecDeque::new(),
            next_age: 1,
            next_place: 1,
            unseen_trades: Vec::new(),
            contracts: Contracts::default(),
        }
    }

    /// Runs the next line of a script and returns its event lines.
    pub fn line(&mut self, line: &str) -> String {
        self.line += 1;
        let shown_before = self.shown();
        for listing in &mut self.listings {
            listing.reference_at_start = listing.reference;
        }
        match parse_line(line.as_bytes()) {
            _ if self.contract_line(line) => {}
            Ok(None) => {}
            Ok(Some(line)) => self.run(line),
            Err(bad) => {
                if let Some(time) = bad.time
                    && time.nanos() >= self.clock
                {
                    self.move_clock(time.nanos());
                }
                self.reject(bad.op.as_deref(), bad.reason, bad.id.map(|id| id.get()));
            }
        }
        self.tell_indications();
        self.print_changed_levels(&shown_before);
        std::mem::take(&mut self.out)
    }

    /// Everything that can influence a later event, as text; places are counted within their queue,
    /// so that it does not tell how the queues came about.
    #[must_use]
    pub fn state(&self) -> String {
        let mut text = format!("clock {} next order {}\n", self.clock, self.next_age);
        text += &format!("{:?}\n", self.contracts);
        for listing in &self.listings {
            // Who improved the best price last matters to one algorithm only, and while it lives.
            let counts = listing.terms.algo == MatchAlgo::TopProRata;
            let lives = |&age: &u64| counts && self.orders.iter().any(|order| order.age == age);
            let top = listing.top.map(|top| top.filter(lives));
            text += &format!(
                "{:?} {} ref {:?} last {:?} top {top:?}",
                listing.terms, listing.phase, listing.ref_price, listing.last_trade
            );
            if listing.terms.volatility.is_some() {
                let guard = (listing.reference, listing.interrupted_until);
                text += &format!(" guard {guard:?}");
            }
            if let Some(held) = listing.held {
                text += &format!(" held {held:?}");
            }
            text += "\n";
        }
        for order in &self.orders {
            let ahead = self.orders.iter().filter(|other| {
                (other.instrument, other.side, other.price, other.state)
                    == (order.instrument, order.side, order.price, State::Book)
                    && other.place < order.place
            });
            let place = match order.state {
                State::Book => ahead.count(),
                State::Stop => 0,
            };
            let order = Order {
                place: place as u64,
                ..order.clone()
            };
            text += &format!("{order:?}\n");
        }
        text
    }

    fn run(&mut self, line: ScriptLine<'_>) {
        let ScriptLine { time, command } = line;
        let op = command.op();
        let id = id_on_line(&command);
        if let Some(time) = time.map(|time| time.nanos()) {
            if time < self.clock {
                return self.reject(Some(op.as_str()), RejectReason::TimeBackwards, id);
            }
            if let ScriptCommand::Restart(restart) = &command {
                self.extend_over_outage(time, restart.grace_ns);
            }
            self.move_clock(time);
        }
        let implicit = self.listings.is_empty() && command.uses_default_instrument();
        if implicit {
            self.list(Instrument::plain(
                Name::new("SIM").expect("three letters are a name"),
            ));
        }
        let answered = self.out.len();
        if let Err(reason) = self.execute(command) {
            self.refuse(op.as_str(), reason, id);
        }
        // A refused command changes nothing, so the instrument it would have brought is gone again.
        let answers = &self.out[answered..];
        if implicit
            && !answers.is_empty()
            && answers
                .lines()
                .all(|line| line.starts_with(r#"{"ev":"rejected""#))
        {
            self.listings.clear();
        }
    }

    fn execute(&mut self, command: ScriptCommand<'_>) -> Result<(), Refused> {
        match command {
            ScriptCommand::Time => Ok(()),
            ScriptCommand::Instrument(terms) => {
                // Bounds that exclude each other; the document leaves the word to us.
                if terms.min_price > terms.max_price || terms.min_qty > terms.max_qty {
                    return Err("bad_field");
                }
                if self.find_instrument(terms.name.as_str()).is_some() {
                    return Err("duplicate_instrument");
                }
                let name = quoted(terms.name.as_str());
                self.list(*terms);
                self.say("instrument", &format!(r#""instrument":{name}"#));
                Ok(())
            }
            ScriptCommand::New {
                party,
                instrument,
                order,
                ..
            } => {
                let instrument = self.instrument(instrument.as_deref()).map_err(word)?;
                self.new_order(&party, instrument, &order, false, &Named::default())?;
                self.finish(&[instrument]);
                Ok(())
            }
            ScriptCommand::Cancel { party, cancel }
                if self.cancel_group(client_id(cancel.target), party.as_deref()) =>
            {
                Ok(())
            }
            ScriptCommand::Reduce {
                party,
                reduce: Reduce { target, .. },
            }
            | ScriptCommand::Replace {
                party,
                replace: Replace { target, .. },
            } if self.has_group(client_id(target), party.as_deref()) => Err("wrong_kind"),
            ScriptCommand::Cancel { party, cancel } => {
                let index = self
                    .find_order(cancel.target, party.as_deref())
                    .map_err(word)?;
                self.cancel(index, "user");
                Ok(())
            }
            ScriptCommand::Reduce { party, reduce } => {
                let index = self
                    .find_order(reduce.target, party.as_deref())
                    .map_err(word)?;
                let by = reduce.by.lots();
                if !by.is_multiple_of(self.listings[self.orders[index].instrument].terms.lot) {
                    return Err("bad_qty");
                }
                if by >= self.orders[index].open {
                    self.cancel(index, "user");
                } else {
                    self.orders[index].shrink(by);
                    let order = &self.orders[index];
                    let fields = format!(r#""id":{},"open":{}"#, order.id, order.open);
                    self.say("reduced", &fields);
                }
                Ok(())
            }
            ScriptCommand::Replace { party, replace } => {
                let index = self
                    .find_order(replace.target, party.as_deref())
                    .map_err(word)?;
                self.replace(index, &replace)
            }
            ScriptCommand::MassCancel {
                party,
                instrument,
                side,
            } => {
                let instrument = match instrument {
                    Some(name) => Some(self.instrument(Some(&name)).map_err(word)?),
                    None => None,
                };
                let mut ages: Vec<(u64, bool)> = self
                    .orders
                    .iter()
                    .filter(|order| {
                        party.as_ref().is_none_or(|party| *party == order.party)
                            && instrument.is_none_or(|wanted| wanted == order.instrument)
                            && side.is_none_or(|side| side == order.side)
                    })
                    .map(|order| (order.age, false))
                    .collect();
                let groups = self.groups_filtered(party.as_deref(), instrument, side);
                ages.extend(groups.into_iter().map(|age| (age, true)));
                ages.sort_unstable();
                let mut count = 0;
                for (age, is_group) in ages {
                    if is_group {
                        count += usize::from(self.mass_cancel_group(age));
                    } else {
                        self.cancel(self.index_of(age), "mass_cancel");
                        count += 1;
                    }
                }
                self.say("mass_canceled", &format!(r#""count":{count}"#));
                Ok(())
            }
            ScriptCommand::MassQuote { .. } => self.mass_quote(command, &[]),
            ScriptCommand::Phase {
                instrument,
                phase,
                ref_price,
            } => {
                let instrument = self.instrument(instrument.as_deref()).map_err(word)?;
                self.change_phase(instrument, phase, ref_price.map(|price| price.ticks()));
                Ok(())
            }
            ScriptCommand::Restart(restart) => {
                self.restart(restart.hold_ns);
                Ok(())
            }
            ScriptCommand::Reopen => {
                self.reopen();
                Ok(())
            }
            ScriptCommand::Depth { instrument, levels } => {
                let instrument = self.instrument(instrument.as_deref()).map_err(word)?;
                self.print_depth(instrument, levels.unwrap_or(usize::MAX));
                Ok(())
            }
            ScriptCommand::Contract(_) => unreachable!("lines about contracts were read before"),
            ScriptCommand::Account { .. } | ScriptCommand::Risk(_) | ScriptCommand::Accounts => {
                panic!("accounts have a model of their own, in engine/tests/it/accounts.rs")
            }
            ScriptCommand::Orders { party, instrument } => {
                let instrument = match instrument {
                    Some(name) => Some(self.instrument(Some(&name)).map_err(word)?),
                    None => None,
                };
                self.print_orders(party.as_deref(), instrument);
                Ok(())
            }
        }
    }

    /// Moves the clock; what lies on its way happens at its own time: by time, expiries before ends
    /// of interruptions, by age and by number.
    fn move_clock(&mut self, time: u64) {
        loop {
            let expiries = self
                .orders
                .iter()
                .filter(|order| order.tif == TimeInForce::Gtd)
                .map(|order| (order.expire, 1, order.age));
            let ends = self
                .listings
                .iter()
                .enumerate()
                .filter_map(|(at, listing)| Some((listing.interrupted_until?, 4, at as u64)));
            let all = expiries.chain(ends).chain(self.contract_deadline());
            let Some((due, kind, number)) = all.min().filter(|due| due.0 <= time) else {
                break;
            };
            self.clock = due;
            match kind {
                1 => self.expire(self.index_of(number), "gtd"),
                4 => self.end_interruption(usize::try_from(number).expect("an index")),
                _ => self.contract_due(kind, number),
            }
        }
        self.clock = time;
    }

    fn list(&mut self, terms: Instrument) {
        self.listings.push(Listing {
            ref_price: terms.ref_price.map(|price| price.ticks()),
            reference: terms.ref_price.map(|price| price.ticks()),
            reference_at_start: terms.ref_price.map(|price| price.ticks()),
            interrupted_until: None,
            told: None,
            held: None,
            contract: None,
            terms,
            phase: Phase::Continuous,
            last_trade: None,
            top: [None, None],
        });
    }

    /// Checks an order like any new one and enters it.
    fn new_order(
        &mut self,
        party: &str,
        instrument: usize,
        new: &NewOrder,
        quote: bool,
        named: &Named,
    ) -> Result<(), Refused> {
        self.check_named(instrument, new, named)?;
        let listing = &self.listings[instrument];
        let mut order = Order::new(party, instrument, new, quote);
        match listing.phase {
            Phase::Halt => return Err(word(RejectReason::Halted)),
            Phase::Closed => return Err(word(RejectReason::Closed)),
            Phase::Auction => {
                let immediate = order.tif == TimeInForce::Ioc && order.kind != OrdType::Market;
                let whole = order.tif == TimeInForce::Fok || order.all_or_none;
                if immediate || whole || order.min_qty > 0 {
                    return Err(word(RejectReason::WrongPhase));
                }
            }
            Phase::Continuous => {}
        }
        if self.id_is_live(order.id) {
            return Err(word(RejectReason::DuplicateId));
        }
        for price in [order.price, order.stop].into_iter().flatten() {
            self.check_price(instrument, price).map_err(word)?;
        }
        self.check_total(instrument, order.open).map_err(word)?;
        if order
            .display
            .is_some_and(|display| !display.is_multiple_of(listing.terms.lot))
        {
            return Err(word(RejectReason::BadQty));
        }
        if order.tif == TimeInForce::Gtd && order.expire <= self.clock {
            return Err(word(RejectReason::Expired));
        }
        if self.is_contract(instrument) {
            order.backing = self.check_contract_order(&order, named)?;
        }
        if order.post_only && self.would_cross(&order) {
            return Err(word(RejectReason::PostOnly));
        }

        order.age = self.next_age;
        self.next_age += 1;
        self.say(
            "accepted",
            &format!(r#""id":{},"party":{}"#, order.id, quoted(&order.party)),
        );
        self.enter_or_wait(order, true);
        Ok(())
    }

    fn replace(&mut self, index: usize, replace: &Replace) -> Result<(), Refused> {
        let mut order = self.orders[index].clone();
        let instrument = order.instrument;
        let no_stop = replace.stop.is_some() && order.state != State::Stop;
        let no_price = replace.price.is_some() && order.price.is_none();
        if no_stop || no_price {
            return Err(word(RejectReason::BadField));
        }
        match self.listings[instrument].phase {
            Phase::Halt => return Err(word(RejectReason::Halted)),
            Phase::Closed => return Err(word(RejectReason::Closed)),
            Phase::Auction | Phase::Continuous => {}
        }
        let new_id = replace.new_id.map(|id| id.get());
        if new_id.is_some_and(|id| id != order.id && self.id_is_live(id)) {
            return Err(word(RejectReason::DuplicateId));
        }
        for price in [replace.price, replace.stop].into_iter().flatten() {
            self.check_price(instrument, price.ticks()).map_err(word)?;
        }
        let total = replace.qty.map_or(order.total(), |qty| qty.lots());
        if !total.is_multiple_of(self.listings[instrument].terms.lot) {
            return Err(word(RejectReason::BadQty));
        }
        if total <= order.filled {
            self.cancel(index, "replaced");
            return Ok(());
        }
        if replace.qty.is_some() {
            self.check_total(instrument, total).map_err(word)?;
        }

        let before = (order.price, order.open);
        if let Some(price) = replace.price {
            order.price = Some(price.ticks());
        }
        if let Some(stop) = replace.stop {
            order.stop = Some(stop.ticks());
        }
        let open = total - order.filled;
        let keeps_place = order.price == before.0 && open <= before.1;
        if keeps_place {
            order.shrink(before.1 - open);
        } else {
            order.open = open;
        }
        if open > before.1 && self.is_contract(instrument) {
            match order.backing {
                Some(backing) if open > self.free_for(backing, instrument) => {
                    return Err("inventory");
                }
                Some(_) => {}
                // No accepted command raises what counts above the limit: invariant 11.
                None => {
                    let more = i128::from(open - before.1);
                    self.check_limit(&order.party, instrument, more)?;
                }
            }
        }
        if !keeps_place && order.state == State::Book && order.post_only && self.would_cross(&order)
        {
            return Err(word(RejectReason::PostOnly));
        }

        let old_id = order.id;
        order.id = new_id.unwrap_or(old_id);
        self.say_replaced(&order, new_id.is_some().then_some(old_id));
        if order.state == State::Book && keeps_place {
            self.orders[index] = order;
        } else {
            self.orders.remove(index);
            self.enter_or_wait(order, false);
        }
        self.finish(&[instrument]);
        Ok(())
    }

    fn change_phase(&mut self, instrument: usize, phase: Phase, ref_price: Option<i64>) {
        self.set_phase(instrument, phase);
        let listing = &mut self.listings[instrument];
        if ref_price.is_some() {
            listing.ref_price = ref_price;
            listing.reference = ref_price;
            listing.reference_at_start = ref_price;
        }
        let fields = format!(
            r#""instrument":{},"phase":"{phase}""#,
            quoted(listing.terms.name.as_str())
        );
        self.say("phase", &fields);
        match phase {
            Phase::Continuous => {
                self.uncross(instrument);
                if self.is_contract(instrument) {
                    self.meet_groups(instrument);
                }
            }
            Phase::Closed => {
                let ages: Vec<u64> = self
                    .orders
                    .iter()
                    .filter(|order| order.instrument == instrument)
                    .filter(|order| order.tif == TimeInForce::Day || order.kind == OrdType::Market)
                    .map(|order| order.age)
                    .collect();
                for age in ages {
                    self.expire(self.index_of(age), "day");
                }
            }
            Phase::Auction | Phase::Halt => {}
        }
        self.finish(&[instrument]);
    }

    /// What every command that can trade does last: all-or-none orders of the instruments it touched
    /// are tried again, then the stops that its trades elected enter.
    fn finish(&mut self, touched: &[usize]) {
        for &instrument in touched {
            self.retry_all_or_none(instrument);
        }
        self.run_stops();
    }

    fn find_instrument(&self, name: &str) -> Option<usize> {
        self.listings
            .iter()
            .position(|listing| listing.terms.name.as_str() == name)
    }

    fn instrument(&self, name: Option<&str>) -> Result<usize, RejectReason> {
        match name {
            Some(name) => self.find_instrument(name),
            None => (!self.listings.is_empty()).then_some(0),
        }
        .ok_or(RejectReason::UnknownInstrument)
    }

    fn find_order(&self, target: OrderTarget, party: Option<&str>) -> Result<usize, RejectReason> {
        let OrderTarget::Client(id) = target else {
            return Err(RejectReason::UnknownOrder);
        };
        self.orders
            .iter()
            .position(|order| {
                order.id == id.get() && party.is_none_or(|party| party == order.party)
            })
            .ok_or(RejectReason::UnknownOrder)
    }

    fn index_of(&self, age: u64) -> usize {
        self.orders
            .iter()
            .position(|order| order.age == age)
            .expect("the order is live")
    }

    fn check_price(&self, instrument: usize, price: i64) -> Result<(), RejectReason> {
        let terms = &self.listings[instrument].terms;
        let inside = terms.min_price.ticks() <= price && price <= terms.max_price.ticks();
        if inside && price % terms.tick == 0 {
            Ok(())
        } else {
            Err(RejectReason::BadPrice)
        }
    }

    fn check_total(&self, instrument: usize, total: u64) -> Result<(), RejectReason> {
        let terms = &self.listings[instrument].terms;
        let inside = terms.min_qty.lots() <= total && total <= terms.max_qty.lots();
        if inside && total.is_multiple_of(terms.lot) {
            Ok(())
        } else {
            Err(RejectReason::BadQty)
        }
    }

    fn cancel(&mut self, index: usize, reason: &str) {
        let order = self.orders.remove(index);
        self.say_canceled(&order, reason);
    }

    fn expire(&mut self, index: usize, reason: &str) {
        let order = self.orders.remove(index);
        let fields = format!(
            r#""id":{},"qty":{},"reason":"{reason}""#,
            order.id, order.open
        );
        self.say("expired", &fields);
    }

    /// What `depth` shows, by instrument, side and price.
    fn shown(&self) -> BTreeMap<(usize, Side, i64), (u64, u64)> {
        let mut levels = BTreeMap::new();
        for order in &self.orders {
            if let (State::Book, Some(price)) = (order.state, order.price) {
                let level: &mut (u64, u64) = levels
                    .entry((order.instrument, order.side, price))
                    .or_default();
                level.0 = level.0.saturating_add(order.slice);
                level.1 += 1;
            }
        }
        self.show_groups(&mut levels);
        levels
    }
}

/// The word of a reject.
fn word(reason: RejectReason) -> Refused {
    reason.as_str()
}

fn client_id(target: OrderTarget) -> u64 {
    match target {
        OrderTarget::Client(id) => id.get(),
        OrderTarget::Exchange(_) => 0,
    }
}

fn id_on_line(command: &ScriptCommand<'_>) -> Option<u64> {
    let target = match command {
        ScriptCommand::New { order, .. } => return Some(order.header.cl_ord_id.get()),
        ScriptCommand::Cancel { cancel, .. } => cancel.target,
        ScriptCommand::Reduce { reduce, .. } => reduce.target,
        ScriptCommand::Replace { replace, .. } => replace.target,
        _ => return None,
    };
    match target {
        OrderTarget::Client(id) => Some(id.get()),
        OrderTarget::Exchange(_) => None,
    }
}
