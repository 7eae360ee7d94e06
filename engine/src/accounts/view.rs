//! What can be asked about accounts without changing them.

use tessera_types::{AccountId, InstrumentId, Limits, SessionId, Timestamp};

use super::margin::{SCENARIOS, scenario_margin};
use super::params::Rate;
use super::{Accounts, LOTS_LIMIT, Position, narrow};
use crate::exchange::Exchange;

/// An account as it is now. Amounts are micro-USD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// Which.
    pub account: AccountId,
    /// Whether its orders must be covered.
    pub margined: bool,
    /// Whether its kill switch is on.
    pub killed: bool,
    /// Whether its margin exceeded its funds when it was last looked at.
    pub breached: bool,
    /// Whether it is in the index of accounts near their limit.
    pub near_limit: bool,
    /// What it has.
    pub cash: i64,
    /// What it may owe besides.
    pub credit: i64,
    /// What it needs under the parameters in force; 0 without margin.
    pub margin: i64,
    /// Lots of its open orders.
    pub open_qty: u128,
    /// Their value at their limits, ticks times lots.
    pub open_value: u128,
    /// Its pre-trade limits.
    pub limits: Limits,
    /// Positions and open orders by instrument.
    pub positions: Vec<PositionView>,
}

/// What an account holds and wants in one instrument, in lots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PositionView {
    /// Where.
    pub instrument: InstrumentId,
    /// Held, long positive.
    pub lots: i64,
    /// Open buys.
    pub buys: i64,
    /// Open sells.
    pub sells: i64,
}

/// The risk parameters in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RiskView {
    /// Their version, 0 before the first set.
    pub version: u32,
    /// Their rows.
    pub rows: u32,
    /// Since when they count.
    pub since: Timestamp,
    /// Accounts that have not been looked at under them.
    pub waiting: usize,
}

impl Exchange {
    /// Every kept account in order of its opening.
    pub fn accounts(&self) -> impl Iterator<Item = AccountView> {
        (0..self.accounts.list.len()).map(|place| self.accounts.view(place))
    }

    /// One account, when it is kept.
    #[must_use]
    pub fn account(&self, account: AccountId) -> Option<AccountView> {
        let place = self.accounts.place(account.get())?;
        Some(self.accounts.view(place as usize))
    }

    /// Accounts whose margin exceeds four fifths of their funds, by id.
    #[must_use]
    pub fn accounts_near_limit(&self) -> Vec<AccountId> {
        let near = self.accounts.near.iter();
        let mut ids: Vec<_> = near
            .map(|&place| self.accounts.list[place as usize].id)
            .collect();
        ids.sort_unstable();
        ids
    }

    /// Limits and kill switch of a session about which books are kept.
    #[must_use]
    pub fn session_limits(&self, session: SessionId) -> Option<(Limits, bool)> {
        let scoped = self.accounts.session(session.get())?;
        Some((scoped.limits, scoped.killed))
    }

    /// The risk parameters in force; none before accounts are used.
    #[must_use]
    pub fn risk_params(&self) -> Option<RiskView> {
        let params = &self.accounts.params;
        self.accounts.on.then(|| RiskView {
            version: params.version,
            rows: params.rows,
            since: params.active_since(),
            waiting: self.accounts.list.len() - self.accounts.sweep,
        })
    }

    /// What everything on the ledger is together in micro-USD: 0.
    #[must_use]
    pub fn ledger_sum(&self) -> i128 {
        self.accounts.ledger.sum()
    }

    /// Computes everything about accounts anew and panics at the first thing that differs.
    pub(crate) fn check_accounts_from_scratch(&self) {
        let accounts = &self.accounts;
        assert_eq!(accounts.ledger.sum(), 0, "ledger");
        accounts.params.check();
        let mut tracked = 0;
        for (slot, order) in self
            .store
            .orders
            .iter()
            .filter(|(_, order)| order.is_single())
        {
            let kept = accounts.keeps(order.account, order.session().get());
            let expected = kept.then(|| (order.leaves, self.store.limit(slot).unwrap_or(0)));
            assert_eq!(accounts.open_of(slot), expected, "order {}", order.id);
            tracked += usize::from(kept);
        }
        let live = accounts.tracked.iter().filter(|order| order.open > 0);
        assert_eq!(live.count(), tracked, "tracked orders");
        for (place, account) in (0u32..).zip(&accounts.list) {
            let view = accounts.view(place as usize);
            let (mut buys, mut sells, mut open_value) = (0, 0, 0);
            for (slot, order) in self
                .store
                .orders
                .iter()
                .filter(|(_, order)| order.is_single())
            {
                if order.account != account.id.get() {
                    continue;
                }
                match order.side() {
                    tessera_types::Side::Buy => buys += order.leaves,
                    tessera_types::Side::Sell => sells += order.leaves,
                }
                let price = self.store.limit(slot).unwrap_or(0);
                open_value += super::value(price, order.leaves);
            }
            let sum = |of: fn(&PositionView) -> i64| view.positions.iter().map(of).sum::<i64>();
            assert_eq!(sum(|p| p.buys).unsigned_abs(), buys, "buys");
            assert_eq!(sum(|p| p.sells).unsigned_abs(), sells, "sells");
            assert_eq!(view.open_qty, u128::from(buys + sells), "open quantity");
            assert_eq!(view.open_value, open_value, "open value");
            let (mut gross, mut weighted) = (0, 0);
            for &(instrument, handle) in &account.positions {
                let position = &accounts.positions[handle as usize];
                assert_eq!((position.account, position.instrument), (place, instrument));
                let waits = account.waiting.contains(&handle);
                assert_eq!(position.waits, waits, "waiting");
                assert!(!position.is_flat() || waits);
                let (long, short) = position.worst();
                let size = long.abs().max(short.abs());
                gross += size;
                weighted += i128::from(size) * i128::from(accounts.params.weight(instrument));
            }
            assert_eq!(
                (account.gross, account.weighted),
                (gross, weighted),
                "gross"
            );
            assert!(gross <= LOTS_LIMIT, "gross");
            assert!(!account.touched, "an account was left touched");
            if account.margined && account.epoch == accounts.params.epoch {
                let (losses, add_ons) = accounts.recomputed(place);
                assert_eq!(accounts.up_to_date(account), losses, "losses");
                assert_eq!(account.add_ons, add_ons, "add-ons");
                let margin = narrow_sum(&losses, add_ons);
                assert!(margin <= account.bound, "bound");
                let funds = accounts.funds(place);
                assert_eq!(account.breached, margin > funds, "breach");
                let near = super::is_near(margin, funds);
                assert_eq!(account.near != super::NONE, near, "near its limit");
            }
            if account.near != super::NONE {
                assert_eq!(accounts.near[account.near as usize], place, "index");
            }
        }
    }
}

/// The margin of these losses and add-ons.
fn narrow_sum(losses: &super::Losses, add_ons: i128) -> i128 {
    i128::from(scenario_margin(losses)) + add_ons
}

impl Accounts {
    /// Losses and add-ons of an account under the parameters in force.
    fn recomputed(&self, place: u32) -> (super::Losses, i128) {
        let (mut losses, mut add_ons) = ([0; SCENARIOS], 0);
        for &(instrument, handle) in &self.list[place as usize].positions {
            let (long, short) = self.positions[handle as usize].worst();
            let rate = self.params.rate(instrument);
            if let Rate::Row(table) = &rate {
                table.shift(&mut losses, long, short);
            }
            add_ons += rate.add_on(long, short);
        }
        (losses, add_ons)
    }

    fn view(&self, place: usize) -> AccountView {
        let account = &self.list[place];
        let number = u32::try_from(place).expect("an account has a place");
        let (losses, add_ons) = self.recomputed(number);
        let margin = if account.margined {
            narrow(i128::from(scenario_margin(&losses)) + add_ons)
        } else {
            0
        };
        let position = |&(instrument, handle): &(u32, u32)| {
            let Position {
                lots, buys, sells, ..
            } = self.positions[handle as usize];
            PositionView {
                instrument: InstrumentId::new(instrument),
                lots,
                buys,
                sells,
            }
        };
        AccountView {
            account: account.id,
            margined: account.margined,
            killed: account.scoped.killed,
            breached: account.breached,
            near_limit: account.near != super::NONE,
            cash: self.ledger.cash(number),
            credit: account.credit,
            margin,
            open_qty: account.scoped.open_qty,
            open_value: account.scoped.open_value,
            limits: account.scoped.limits,
            positions: account
                .positions
                .iter()
                .filter(|&&(_, handle)| !self.positions[handle as usize].is_flat())
                .map(position)
                .collect(),
        }
    }
}
