//! Accounts: money, positions, margin, limits, and the risk parameters behind them.
//!
//! Nothing of this exists for an exchange that was never asked for it: one flag sends orders past it.
//! From then on every order of a kept account (or of a session with limits) is *tracked* from its
//! acceptance to its end, so that what is open and what is held is known without looking for it.
//!
//! An order passes if cash and credit cover the margin after it; cancels, reduces and orders that only
//! bring a position nearer to zero always pass. The margin of an account is kept up by additions
//! ([`margin`]). Its exact value is needed near the limit only: `bound` is never below it and costs one
//! addition, and while it lies below [`NEAR`] of the funds it decides. So every decision is exact, and
//! the index of accounts near their limit is, too. The additions to the 64 losses themselves wait, at
//! most [`MAX_WAITING`] positions of an account, until somebody needs the value: an order that is
//! canceled before then costs none.
//!
//! A new set of parameters counts from its commit on. Accounts are brought up to it when a command
//! touches them, and otherwise a few with every command ([`SWEEP_POSITIONS`]), so that no command waits
//! for all of them. No order ends by it: a breach is an event, and blocks new risk.

mod commands;
mod hooks;
mod ledger;
mod limits;
mod margin;
mod params;
mod saved;
mod view;

use tessera_types::{AccountId, RejectReason, SessionId, Side};

pub(crate) use limits::{Ask, Print};
pub use view::{AccountView, PositionView, RiskView};

use crate::digest::Folder;
use ledger::Ledger;
use limits::{Scoped, value};
use margin::{LOTS_LIMIT, Losses, SCENARIOS, scenario_margin};
use params::{Params, Rate};

/// No place.
const NONE: u32 = u32::MAX;
/// Account ids are below this: they index a table.
const MAX_ACCOUNT: u32 = 1 << 20;
/// Most instruments in which one account holds or wants something: bounds the work of a re-margin.
const MAX_POSITIONS: usize = 1024;
/// An account is near its limit when its margin exceeds this part of its funds.
const NEAR: (i128, i128) = (4, 5);
/// A command re-margins accounts until it has looked at so many positions, or accounts.
const SWEEP_POSITIONS: usize = 96;
const SWEEP_ACCOUNTS: usize = 24;
/// Changes of positions that wait to be added to the losses of their account.
const MAX_WAITING: usize = 32;

/// Everything about accounts.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    /// Whether any of this was ever used.
    pub(crate) on: bool,
    /// Place of an account by its id.
    places: Vec<u32>,
    list: Vec<Account>,
    /// By session number.
    sessions: Vec<Option<Box<Scoped>>>,
    positions: Vec<Position>,
    free: Vec<u32>,
    /// By slot of the order.
    tracked: Vec<Tracked>,
    ledger: Ledger,
    pub(crate) params: Params,
    /// Accounts near their limit, in no order.
    near: Vec<u32>,
    /// Accounts whose margin or funds the running command changed.
    touched: Vec<u32>,
    /// The next account to re-margin after a switch; past the last when all are.
    sweep: usize,
}

#[derive(Debug)]
struct Account {
    id: AccountId,
    /// Its orders must be covered.
    margined: bool,
    /// Its margin exceeded its funds when it was last looked at.
    breached: bool,
    touched: bool,
    /// Place among those near their limit.
    near: u32,
    /// Of the parameters that `losses` and `add_ons` were computed with.
    epoch: u32,
    credit: i64,
    /// Without the changes that wait.
    losses: Losses,
    /// Positions whose changes since the last addition wait.
    waiting: Vec<u32>,
    /// While the bound is not above this, and nothing was told before, there is nothing to tell.
    quiet: i128,
    /// All add-ons and flat margins.
    add_ons: i128,
    /// Not below the margin.
    bound: i128,
    /// Sum of the larger worst case of every instrument, in lots, and in lots times weight.
    gross: i64,
    weighted: i128,
    scoped: Scoped,
    /// (instrument, place), by instrument.
    positions: Vec<(u32, u32)>,
}

/// What an account holds and wants in one instrument, in lots; never all zero.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    account: u32,
    instrument: u32,
    lots: i64,
    buys: i64,
    sells: i64,
    /// `worst` as it is in the account's losses, where it may wait to be brought up to date.
    counted: (i64, i64),
    waits: bool,
    /// Its part of the account's add-ons.
    add_on: i128,
}

impl Position {
    /// If all buys fill, if all sells fill.
    fn worst(&self) -> (i64, i64) {
        (self.lots + self.buys, self.lots - self.sells)
    }

    fn is_flat(&self) -> bool {
        self.lots == 0 && self.buys == 0 && self.sells == 0
    }
}

/// A live order that somebody keeps books about; `open` is 0 in unused places.
#[derive(Clone, Copy, Debug)]
struct Tracked {
    open: u64,
    /// Its limit, 0 without one.
    price: i64,
    /// Of its account, none when only its session is limited.
    position: u32,
    session: u32,
    side: Side,
}

const UNTRACKED: Tracked = Tracked {
    open: 0,
    price: 0,
    position: NONE,
    session: 0,
    side: Side::Buy,
};

impl Accounts {
    /// The place of a kept account.
    #[inline]
    fn place(&self, account: u32) -> Option<u32> {
        let place = *self.places.get(account as usize)?;
        (place != NONE).then_some(place)
    }

    #[inline]
    fn session(&self, session: u32) -> Option<&Scoped> {
        self.sessions.get(session as usize)?.as_deref()
    }

    /// True when somebody keeps books about orders of this account or session.
    #[inline]
    fn keeps(&self, account: u32, session: u32) -> bool {
        self.place(account).is_some() || self.session(session).is_some()
    }

    /// The place of an account, which is kept from now on.
    fn open(&mut self, account: AccountId) -> Result<u32, RejectReason> {
        let id = account.get();
        if let Some(place) = self.place(id) {
            return Ok(place);
        }
        if id == 0 || id >= MAX_ACCOUNT {
            return Err(RejectReason::LimitReached);
        }
        let at = id as usize;
        if self.places.len() <= at {
            self.places.resize(at + 1, NONE);
        }
        let place = u32::try_from(self.list.len()).map_err(|_| RejectReason::LimitReached)?;
        self.places[at] = place;
        if self.sweep == self.list.len() {
            self.sweep += 1; // it begins under the parameters in force
        }
        self.list.push(Account {
            id: account,
            margined: false,
            breached: false,
            touched: false,
            near: NONE,
            epoch: self.params.epoch,
            credit: 0,
            losses: [0; SCENARIOS],
            waiting: Vec::new(),
            quiet: i128::MIN,
            add_ons: 0,
            bound: 0,
            gross: 0,
            weighted: 0,
            scoped: Scoped::default(),
            positions: Vec::new(),
        });
        self.ledger.open();
        Ok(place)
    }

    /// The books of a session, which are kept from now on.
    fn open_session(&mut self, session: SessionId) -> &mut Scoped {
        let at = session.get() as usize;
        if self.sessions.len() <= at {
            self.sessions.resize_with(at + 1, || None);
        }
        self.sessions[at].get_or_insert_with(Box::default)
    }

    fn funds(&self, place: u32) -> i128 {
        i128::from(self.ledger.cash(place)) + i128::from(self.list[place as usize].credit)
    }

    // ---- checks ----

    /// Whether an order may enter or change. The account is up to date.
    pub(crate) fn check(&self, ask: &Ask) -> Result<(), RejectReason> {
        let place = self.place(ask.account);
        if let Some(place) = place {
            self.list[place as usize].scoped.check(ask)?;
        }
        if let Some(session) = self.session(ask.session) {
            session.check(ask)?;
        }
        place.map_or(Ok(()), |place| self.check_exposure(place, ask))
    }

    fn check_exposure(&self, place: u32, ask: &Ask) -> Result<(), RejectReason> {
        let account = &self.list[place as usize];
        let instrument = ask.print.instrument;
        let position = self.position(account, instrument);
        if position.is_none()
            && account.positions.len() >= MAX_POSITIONS
            && self.held(account) >= MAX_POSITIONS
        {
            return Err(RejectReason::LotsLimit);
        }
        let now = position.unwrap_or_default();
        let before = ask.before.map_or(0, |(open, _)| open);
        let more = i64::try_from(i128::from(ask.print.qty) - i128::from(before));
        let more = more.ok().filter(|more| *more <= LOTS_LIMIT);
        let more = more.ok_or(RejectReason::LotsLimit)?;
        if more <= 0 {
            return Ok(());
        }
        let (long, short) = now.worst();
        let (by_long, by_short) = match ask.print.side {
            Side::Buy => (more, 0),
            Side::Sell => (0, -more),
        };
        let size = |long: i64, short: i64| long.abs().max(short.abs());
        let grows = size(long + by_long, short + by_short) - size(long, short);
        if grows > 0 && account.gross + grows > LOTS_LIMIT {
            return Err(RejectReason::LotsLimit);
        }
        if let Some(most) = account.scoped.limits.max_position {
            let grows = i128::from(grows) * i128::from(self.params.weight(instrument));
            if grows > 0 && account.weighted + grows > i128::from(most) {
                return Err(RejectReason::PositionLimit);
            }
        }
        let nearer_to_zero = match ask.print.side {
            Side::Buy => long + by_long <= 0,
            Side::Sell => short + by_short >= 0,
        };
        if !account.margined || nearer_to_zero {
            return Ok(());
        }
        let funds = self.funds(place);
        let (add_on, growth) = match self.params.rate(instrument) {
            Rate::None => return Err(RejectReason::NotMargined),
            rate => (
                rate.add_on(long + by_long, short + by_short) - now.add_on,
                rate.growth(by_long, by_short),
            ),
        };
        if account.bound + growth + add_on.max(0) <= funds {
            return Ok(());
        }
        let mut losses = self.up_to_date(account);
        if let Rate::Row(table) = self.params.rate(instrument) {
            table.shift(&mut losses, by_long, by_short);
        }
        let margin = i128::from(scenario_margin(&losses)) + account.add_ons + add_on;
        if margin <= funds {
            Ok(())
        } else {
            Err(RejectReason::InsufficientMargin)
        }
    }

    /// In how many instruments an account holds or wants something.
    fn held(&self, account: &Account) -> usize {
        let positions = account.positions.iter();
        let held = positions.filter(|&&(_, handle)| !self.positions[handle as usize].is_flat());
        held.count()
    }

    fn position(&self, account: &Account, instrument: u32) -> Option<Position> {
        let found = account.find(instrument).ok()?;
        Some(self.positions[account.positions[found].1 as usize])
    }

    // ---- changes ----

    /// Takes note of an accepted order.
    pub(crate) fn track(&mut self, slot: u32, ask: &Ask) {
        let at = slot as usize;
        if self.tracked.len() <= at {
            self.tracked.resize(at + 1, UNTRACKED);
        }
        let place = self.place(ask.account);
        let print = ask.print;
        let position = place.map_or(NONE, |place| self.position_of(place, print.instrument));
        self.tracked[at] = Tracked {
            open: 0,
            price: print.price.unwrap_or(0),
            position,
            session: ask.session,
            side: print.side,
        };
        self.set_open(slot, print.qty, print.price.unwrap_or(0));
        if ask.before.is_none() {
            let scopes = [
                place.map(|place| &mut self.list[place as usize].scoped),
                self.sessions
                    .get_mut(ask.session as usize)
                    .and_then(Option::as_deref_mut),
            ];
            for scoped in scopes.into_iter().flatten() {
                if scoped.limits.duplicate_ns.is_some() {
                    scoped.latest = Some(print);
                }
            }
        }
    }

    /// What is open of an order that is tracked.
    #[inline]
    pub(crate) fn open_of(&self, slot: u32) -> Option<(u64, i64)> {
        let tracked = self.tracked.get(slot as usize)?;
        (tracked.open > 0).then_some((tracked.open, tracked.price))
    }

    /// An order has another open quantity or limit; 0 ends it.
    pub(crate) fn set_open(&mut self, slot: u32, open: u64, price: i64) {
        let tracked = &mut self.tracked[slot as usize];
        let before = core::mem::replace(
            tracked,
            Tracked {
                open,
                price,
                ..*tracked
            },
        );
        if open == 0 {
            *tracked = UNTRACKED;
        }
        let (qty, worth) = (u128::from(open), value(price, open));
        let (qty_before, worth_before) =
            (u128::from(before.open), value(before.price, before.open));
        let count = |scoped: &mut Scoped| {
            scoped.open_qty = scoped.open_qty + qty - qty_before;
            scoped.open_value = scoped.open_value + worth - worth_before;
        };
        if let Some(Some(scoped)) = self.sessions.get_mut(before.session as usize) {
            count(scoped);
        }
        if before.position == NONE {
            return;
        }
        let account = self.positions[before.position as usize].account;
        count(&mut self.list[account as usize].scoped);
        let by = lots(open) - lots(before.open);
        if by != 0 {
            match before.side {
                Side::Buy => self.expose(before.position, 0, by, 0),
                Side::Sell => self.expose(before.position, 0, 0, by),
            }
        }
    }

    /// Part of an order has traded.
    #[inline]
    pub(crate) fn fill(&mut self, slot: u32, qty: u64) {
        let Some(&tracked) = self.tracked.get(slot as usize).filter(|t| t.open > 0) else {
            return;
        };
        let left = tracked.open - qty;
        if left == 0 {
            self.tracked[slot as usize] = UNTRACKED;
        } else {
            self.tracked[slot as usize].open = left;
        }
        let worth = value(tracked.price, qty);
        let count = |scoped: &mut Scoped| {
            scoped.open_qty -= u128::from(qty);
            scoped.open_value -= worth;
        };
        if let Some(Some(scoped)) = self.sessions.get_mut(tracked.session as usize) {
            count(scoped);
        }
        if tracked.position == NONE {
            return;
        }
        let account = self.positions[tracked.position as usize].account;
        count(&mut self.list[account as usize].scoped);
        let qty = lots(qty);
        match tracked.side {
            Side::Buy => self.expose(tracked.position, qty, -qty, 0),
            Side::Sell => self.expose(tracked.position, -qty, 0, -qty),
        }
    }

    /// An order has less open, for another reason than a trade.
    #[inline]
    pub(crate) fn shrink(&mut self, slot: u32, by: u64) {
        if let Some((open, price)) = self.open_of(slot) {
            self.set_open(slot, open.saturating_sub(by), price);
        }
    }

    /// An order has ended.
    #[inline]
    pub(crate) fn close(&mut self, slot: u32) {
        if let Some((_, price)) = self.open_of(slot) {
            self.set_open(slot, 0, price);
        }
    }

    /// The position of an account in an instrument, begun when there is none.
    fn position_of(&mut self, place: u32, instrument: u32) -> u32 {
        let account = &mut self.list[place as usize];
        let at = match account.find(instrument) {
            Ok(found) => return account.positions[found].1,
            Err(at) => at,
        };
        let position = Position {
            account: place,
            instrument,
            ..Position::default()
        };
        let handle = if let Some(handle) = self.free.pop() {
            self.positions[handle as usize] = position;
            handle
        } else {
            self.positions.push(position);
            u32::try_from(self.positions.len() - 1)
                .expect("no more positions than orders and trades")
        };
        account.positions.insert(at, (instrument, handle));
        handle
    }

    /// Changes what an account holds and wants, and its margin with it.
    fn expose(&mut self, handle: u32, by_lots: i64, by_buys: i64, by_sells: i64) {
        let position = &mut self.positions[handle as usize];
        let (long, short) = position.worst();
        position.lots += by_lots;
        position.buys += by_buys;
        position.sells += by_sells;
        let (new_long, new_short) = position.worst();
        let account = &mut self.list[position.account as usize];
        let size = |long: i64, short: i64| long.abs().max(short.abs());
        let grows = size(new_long, new_short) - size(long, short);
        account.gross += grows;
        let weight = self.params.weight(position.instrument);
        account.weighted += i128::from(grows) * i128::from(weight);
        if account.margined {
            if account.epoch == self.params.epoch {
                let rate = self.params.rate(position.instrument);
                let (by_long, by_short) = (new_long - long, new_short - short);
                if !position.waits {
                    position.waits = true;
                    account.waiting.push(handle);
                }
                let add_on = rate.add_on(new_long, new_short);
                let by = add_on - position.add_on;
                position.add_on = add_on;
                account.add_ons += by;
                account.bound += rate.growth(by_long, by_short) + by.max(0);
            }
            let told = account.near != NONE || account.breached;
            let stale = account.epoch != self.params.epoch;
            if !account.touched && (told || stale || account.bound > account.quiet) {
                account.touched = true;
                self.touched.push(position.account);
            }
            if account.waiting.len() >= MAX_WAITING {
                let place = position.account;
                return self.add_waiting(place);
            }
        }
        // One that waits leaves with the additions.
        if position.is_flat() && !position.waits {
            let instrument = position.instrument;
            if let Ok(at) = account.find(instrument) {
                account.positions.remove(at);
            }
            self.free.push(handle);
        }
    }

    /// The losses of an account with the changes that wait.
    fn up_to_date(&self, account: &Account) -> Losses {
        let mut losses = account.losses;
        for &handle in &account.waiting {
            let position = &self.positions[handle as usize];
            if let Rate::Row(table) = self.params.rate(position.instrument) {
                let (long, short) = position.worst();
                let (was_long, was_short) = position.counted;
                table.shift(&mut losses, long - was_long, short - was_short);
            }
        }
        losses
    }

    /// Adds the changes that wait to the losses of an account under the parameters in force.
    fn add_waiting(&mut self, place: u32) {
        let account = &self.list[place as usize];
        if account.waiting.is_empty() {
            return;
        }
        let losses = self.up_to_date(account);
        let account = &mut self.list[place as usize];
        account.losses = losses;
        let mut waiting = core::mem::take(&mut account.waiting);
        for handle in waiting.drain(..) {
            let position = &mut self.positions[handle as usize];
            position.counted = position.worst();
            position.waits = false;
            if position.is_flat() {
                let instrument = position.instrument;
                let account = &mut self.list[place as usize];
                if let Ok(at) = account.find(instrument) {
                    account.positions.remove(at);
                }
                self.free.push(handle);
            }
        }
        self.list[place as usize].waiting = waiting;
    }

    /// Computes the losses and add-ons of an account from its positions.
    fn refresh(&mut self, place: u32) {
        let account = &mut self.list[place as usize];
        account.epoch = self.params.epoch;
        account.losses = [0; SCENARIOS];
        account.add_ons = 0;
        account.waiting.clear();
        let (positions, free) = (&mut self.positions, &mut self.free);
        account.positions.retain(|&(_, handle)| {
            let flat = positions[handle as usize].is_flat();
            if flat {
                free.push(handle);
            }
            !flat
        });
        for &(instrument, handle) in &account.positions {
            let position = &mut self.positions[handle as usize];
            let (long, short) = position.worst();
            position.counted = (long, short);
            position.waits = false;
            let rate = self.params.rate(instrument);
            if let Rate::Row(table) = &rate {
                table.shift(&mut account.losses, long, short);
            }
            position.add_on = rate.add_on(long, short);
            account.add_ons += position.add_on;
        }
        account.bound = account.margin();
    }

    /// Looks whether an account is near its limit or beyond it. Returns what there is to tell:
    /// whether it is in breach now, with its margin and its funds.
    fn judge(&mut self, place: u32) -> Option<(bool, i64, i64)> {
        let funds = self.funds(place);
        let account = &mut self.list[place as usize];
        account.touched = false;
        let margined = account.margined;
        if margined && account.epoch != self.params.epoch {
            self.refresh(place);
        }
        let account = &mut self.list[place as usize];
        account.quiet = (funds * NEAR.0).div_euclid(NEAR.1);
        if account.near == NONE && !account.breached && !is_near(account.bound, funds) {
            return None; // the margin is not above the bound
        }
        if margined {
            self.add_waiting(place);
        }
        let account = &mut self.list[place as usize];
        account.bound = if margined { account.margin() } else { 0 };
        let near = margined && is_near(account.bound, funds);
        let breached = margined && account.bound > funds;
        let told = (account.breached != breached)
            .then(|| (breached, narrow(account.bound), narrow(funds)));
        account.breached = breached;
        if near != (account.near != NONE) {
            self.set_near(place, near);
        }
        told
    }

    fn set_near(&mut self, place: u32, near: bool) {
        if near {
            let at = u32::try_from(self.near.len()).expect("fewer than accounts");
            self.near.push(place);
            self.list[place as usize].near = at;
            return;
        }
        let at = core::mem::replace(&mut self.list[place as usize].near, NONE);
        self.near.swap_remove(at as usize);
        if let Some(&moved) = self.near.get(at as usize) {
            self.list[moved as usize].near = at;
        }
    }

    /// The parameters have changed: every account is looked at again, a few with every command.
    fn begin_sweep(&mut self) {
        self.sweep = 0;
    }

    /// True while accounts wait for their re-margin.
    #[inline]
    pub(crate) fn is_sweeping(&self) -> bool {
        self.sweep < self.list.len()
    }

    // ---- state hash ----

    /// What can influence a later event. Sums follow from positions and orders.
    pub(crate) fn fold(&self, folder: &mut Folder) {
        if !self.on {
            return;
        }
        folder.word(u64::from_le_bytes(*b"accounts"));
        self.ledger.fold(folder);
        self.params.fold(folder);
        folder.word(self.sweep as u64);
        for account in &self.list {
            folder.word(u64::from(account.id.get()));
            let up_to_date = !account.margined || account.epoch == self.params.epoch;
            let flags = [account.margined, account.breached, up_to_date];
            folder.word(
                flags
                    .iter()
                    .fold(0, |word, &flag| word << 1 | u64::from(flag)),
            );
            folder.signed(account.credit);
            account.scoped.fold(folder);
            for &(instrument, handle) in &account.positions {
                let lots = self.positions[handle as usize].lots;
                if lots != 0 {
                    folder.word(u64::from(instrument));
                    folder.signed(lots);
                }
            }
        }
        for (number, scoped) in (0u64..).zip(&self.sessions) {
            if let Some(scoped) = scoped {
                folder.word(number);
                scoped.fold(folder);
            }
        }
    }
}

impl Account {
    /// Where an instrument is or would be among the positions. Few have many, and these are sorted.
    #[inline]
    fn find(&self, instrument: u32) -> Result<usize, usize> {
        self.positions
            .binary_search_by_key(&instrument, |&(instrument, _)| instrument)
    }

    /// The exact margin, with the parameters of `epoch`.
    fn margin(&self) -> i128 {
        i128::from(scenario_margin(&self.losses)) + self.add_ons
    }
}

impl Rate<'_> {
    #[inline]
    fn add_on(&self, long: i64, short: i64) -> i128 {
        match *self {
            Self::Row(table) => table.add_on(long, short),
            Self::Flat(rate) => i128::from(long.abs().max(short.abs())) * i128::from(rate),
            Self::None => 0,
        }
    }

    #[inline]
    fn growth(&self, long: i64, short: i64) -> i128 {
        match *self {
            Self::Row(table) => table.growth(long, short),
            Self::Flat(_) | Self::None => 0,
        }
    }
}

fn is_near(margin: i128, funds: i128) -> bool {
    margin * NEAR.1 > funds * NEAR.0
}

/// A tracked order of an account has at most 2^28 lots.
#[expect(
    clippy::cast_possible_wrap,
    reason = "checked before the order was tracked"
)]
fn lots(qty: u64) -> i64 {
    debug_assert!(qty <= LOTS_LIMIT.unsigned_abs());
    qty as i64
}

fn narrow(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX })
}
