//! Requests about accounts, limits and risk parameters.

use tessera_types::{
    AccountAction, AccountCommand, AccountEvent, AccountId, CancelReason, CashMove, ClientHeader,
    CommandKind, Event, EventSink, InstrumentId, Limits, MarginSpec, Price, RejectReason,
    RiskAction, RiskParams, Scope, SessionId,
};

use super::ledger::Entry;
use super::params::flat_rate;
use crate::book::order::Order;
use crate::exchange::{Exchange, Subject};

/// Weight of a lot of an instrument that is no compute contract: one device.
const PLAIN_WEIGHT: u32 = 10_000;

/// Largest flat margin: ten times the value.
const MAX_BPS: u32 = 100_000;

impl Exchange {
    #[inline(never)]
    pub(crate) fn on_account<S: EventSink + ?Sized>(
        &mut self,
        request: &AccountCommand,
        kind: CommandKind,
        sink: &mut S,
    ) {
        let header = &request.header;
        let used = self.use_accounts();
        let done = self
            .sessions
            .admit(header)
            .and_then(|()| self.act_on_account(request, sink));
        if let Err(reason) = done {
            self.forget_use(used);
            self.reject(header, kind, Subject::Nothing, reason, sink);
        }
    }

    fn act_on_account<S: EventSink + ?Sized>(
        &mut self,
        request: &AccountCommand,
        sink: &mut S,
    ) -> Result<(), RejectReason> {
        let header = &request.header;
        match request.action {
            AccountAction::Open { account, margined } => {
                let place = self.keep_account(account)?;
                let kept = &mut self.accounts.list[place as usize];
                if kept.margined != margined {
                    kept.margined = margined;
                    kept.epoch = 0; // of no parameters: computed anew when it is judged
                    kept.bound = i128::MAX / 8;
                }
                let by = self.requester(header);
                let event = AccountEvent::Opened {
                    by,
                    account,
                    margined,
                };
                self.emit(Event::Account(event), sink);
                self.touch_account(place);
            }
            AccountAction::Move {
                account,
                movement,
                amount,
            } => {
                let place = match movement {
                    CashMove::Deposit if self.accounts.ledger.takes(amount) => {
                        self.keep_account(account)?
                    }
                    _ => self.known_account(account)?,
                };
                self.move_cash(place, movement, amount, sink)?;
                let event = AccountEvent::CashMoved {
                    by: self.requester(header),
                    account,
                    movement,
                    amount,
                    cash: self.accounts.ledger.cash(place),
                };
                self.emit(Event::Account(event), sink);
                self.touch_account(place);
            }
            AccountAction::Credit { account, credit } => {
                let place = self.known_account(account)?;
                if credit < 0 {
                    return Err(RejectReason::BadField);
                }
                self.accounts.list[place as usize].credit = credit;
                let by = self.requester(header);
                let event = AccountEvent::CreditSet {
                    by,
                    account,
                    credit,
                };
                self.emit(Event::Account(event), sink);
                self.touch_account(place);
            }
            AccountAction::Limits { scope, limits } => {
                self.set_limits(scope, limits)?;
                let by = self.requester(header);
                self.emit(Event::Account(AccountEvent::LimitsSet { by, scope }), sink);
            }
            AccountAction::Kill { scope, on } => self.switch_kill(header, scope, on, sink)?,
            AccountAction::Margin { instrument, spec } => {
                self.set_margin(instrument, spec)?;
                let by = self.requester(header);
                let event = AccountEvent::MarginSet { by, instrument };
                self.emit(Event::Account(event), sink);
            }
        }
        Ok(())
    }

    /// From here on accounts are kept: every instrument gets its product. Returns whether they were.
    fn use_accounts(&mut self) -> bool {
        let used = core::mem::replace(&mut self.accounts.on, true);
        if !used {
            for number in 0..self.books.len() {
                self.link_instrument(number);
            }
        }
        used
    }

    /// A refused request changes nothing: what was not there before it is gone again.
    fn forget_use(&mut self, used: bool) {
        if !used {
            self.accounts = super::Accounts::default();
        }
    }

    /// Gives a listed instrument its product, which is named as it is, and its weight.
    pub(crate) fn link_instrument(&mut self, number: usize) {
        let book = &self.books[number];
        let instrument = &book.rest.instrument;
        let weight = instrument.terms.map_or(PLAIN_WEIGHT, |terms| terms.weight);
        self.accounts
            .params
            .link(book.number, &instrument.name, weight, None, None);
    }

    fn known_account(&self, account: AccountId) -> Result<u32, RejectReason> {
        self.accounts
            .place(account.get())
            .ok_or(RejectReason::UnknownAccount)
    }

    /// The place of an account, which is kept from now on, with the orders that it has.
    fn keep_account(&mut self, account: AccountId) -> Result<u32, RejectReason> {
        if let Some(place) = self.accounts.place(account.get()) {
            return Ok(place);
        }
        let of_account = |order: &Order| order.account_id() == account;
        self.adopt(of_account, true, |this| {
            this.accounts.open(account).map(|_| ())
        })?;
        self.known_account(account)
    }

    fn touch_account(&mut self, place: u32) {
        let account = &mut self.accounts.list[place as usize];
        if account.margined || account.breached || account.near != super::NONE {
            // Funds have changed, so what the bound stands for is not enough.
            account.bound = account.bound.max(i128::MAX / 8);
            if !account.touched {
                account.touched = true;
                self.accounts.touched.push(place);
            }
        }
    }

    fn move_cash<S: EventSink + ?Sized>(
        &mut self,
        place: u32,
        movement: CashMove,
        amount: i64,
        sink: &mut S,
    ) -> Result<(), RejectReason> {
        let cash = Entry::Cash(place);
        match movement {
            CashMove::Deposit => self.accounts.ledger.transfer(Entry::External, cash, amount),
            CashMove::Withdraw => {
                let account = self.accounts.list[place as usize].id;
                self.refresh_account(account.get(), sink);
                self.accounts.add_waiting(place);
                let kept = &self.accounts.list[place as usize];
                let left = self.accounts.funds(place) - i128::from(amount);
                if amount >= 1 && kept.margined && left < kept.margin() {
                    return Err(RejectReason::InsufficientFunds);
                }
                self.accounts.ledger.transfer(cash, Entry::External, amount)
            }
        }
    }

    fn set_limits(&mut self, scope: Scope, limits: Limits) -> Result<(), RejectReason> {
        match scope {
            Scope::Account(account) => {
                let place = self.keep_account(account)?;
                self.accounts.list[place as usize].scoped.limits = limits;
            }
            Scope::Session(session) => {
                if limits.max_position.is_some() {
                    return Err(RejectReason::BadField);
                }
                self.keep_session(session)?;
                self.accounts.open_session(session).limits = limits;
            }
        }
        Ok(())
    }

    /// Keeps books about a session, with the orders that it has.
    fn keep_session(&mut self, session: SessionId) -> Result<(), RejectReason> {
        if session != SessionId::VENUE && self.sessions.get(session).is_none() {
            return Err(RejectReason::UnknownSession);
        }
        if self.accounts.session(session.get()).is_some() {
            return Ok(());
        }
        self.adopt(
            |order| order.session() == session,
            false,
            |this| {
                this.accounts.open_session(session);
                Ok(())
            },
        )
    }

    fn switch_kill<S: EventSink + ?Sized>(
        &mut self,
        header: &ClientHeader,
        scope: Scope,
        on: bool,
        sink: &mut S,
    ) -> Result<(), RejectReason> {
        let mut canceled = 0;
        match scope {
            Scope::Account(account) => {
                let place = self.keep_account(account)?;
                self.accounts.list[place as usize].scoped.killed = on;
            }
            Scope::Session(session) => {
                self.keep_session(session)?;
                self.accounts.open_session(session).killed = on;
            }
        }
        if on {
            match scope {
                Scope::Account(account) => {
                    self.collect_orders(SessionId::VENUE, |order| order.account_id() == account);
                }
                Scope::Session(session) => {
                    self.collect_orders(SessionId::VENUE, |order| order.session() == session);
                }
            }
            canceled = self.cancel_collected(CancelReason::Kill, header.cl_ord_id, sink);
        }
        let event = AccountEvent::KillSwitched {
            by: self.requester(header),
            scope,
            on,
            canceled,
        };
        self.emit(Event::Account(event), sink);
        Ok(())
    }

    fn set_margin(
        &mut self,
        instrument: InstrumentId,
        spec: MarginSpec,
    ) -> Result<(), RejectReason> {
        let book = self
            .books
            .get(instrument.get() as usize)
            .ok_or(RejectReason::UnknownInstrument)?;
        let listed = &book.rest.instrument;
        if spec.product.is_some_and(|name| name.validate().is_err()) {
            return Err(RejectReason::BadField);
        }
        let flat = match spec.initial_margin_bps {
            None => None,
            Some(bps) if bps > MAX_BPS => return Err(RejectReason::BadField),
            Some(bps) => {
                let price = spec.price.map(Price::ticks).or(book.rest.ref_price);
                let price = price.ok_or(RejectReason::BadField)?;
                let hours = listed.terms.map_or(1, |terms| terms.hours);
                let flat = flat_rate(bps, price, listed.tick_micro_usd, hours);
                Some(flat.ok_or(RejectReason::BadField)?)
            }
        };
        let weight = listed.terms.map_or(PLAIN_WEIGHT, |terms| terms.weight);
        let (name, params) = (listed.name, &mut self.accounts.params);
        params.link(instrument.get(), &name, weight, Some(spec), flat);
        params.epoch += 1;
        self.accounts.begin_sweep();
        Ok(())
    }

    #[inline(never)]
    pub(crate) fn on_risk_params<S: EventSink + ?Sized>(
        &mut self,
        request: &RiskParams,
        kind: CommandKind,
        sink: &mut S,
    ) {
        let header = &request.header;
        let used = self.use_accounts();
        let done = self
            .sessions
            .admit(header)
            .and_then(|()| self.act_on_params(&request.action));
        let by = match done {
            Ok(()) => self.requester(header),
            Err(reason) => {
                self.forget_use(used);
                return self.reject(header, kind, Subject::Nothing, reason, sink);
            }
        };
        let event = match &request.action {
            RiskAction::Begin(begin) => AccountEvent::RiskStaged {
                by,
                version: begin.version,
                rows: 0,
            },
            RiskAction::Row(row) => AccountEvent::RiskStaged {
                by,
                version: row.version,
                rows: self.accounts.params.staged_count(),
            },
            RiskAction::Commit(commit) => AccountEvent::RiskActive {
                by,
                version: commit.version,
                rows: commit.rows,
            },
            RiskAction::MaxAge { max_age_ns } => AccountEvent::RiskAgeSet {
                by,
                max_age_ns: *max_age_ns,
            },
        };
        self.emit(Event::Account(event), sink);
    }

    fn act_on_params(&mut self, action: &RiskAction) -> Result<(), RejectReason> {
        let params = &mut self.accounts.params;
        match action {
            RiskAction::Begin(begin) => params.begin(begin),
            RiskAction::Row(row) => params.row(row),
            RiskAction::Commit(commit) => {
                params.commit(commit, self.clock)?;
                self.accounts.begin_sweep();
                Ok(())
            }
            RiskAction::MaxAge { max_age_ns } => {
                params.set_max_age(*max_age_ns, self.clock);
                Ok(())
            }
        }
    }
}
