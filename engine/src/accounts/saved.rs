//! Accounts, limits and risk parameters in a snapshot.
//!
//! Open quantities, margins and sums are not written: they follow from the orders, which are read
//! before, and from the positions.

use tessera_types::{
    AccountAction, AccountCommand, AccountId, ClientHeader, Command, Limits, RiskAction,
    RiskParams, Scope, SessionId, Side,
};

use super::limits::{Print, Scoped};
use super::{Ask, LOTS_LIMIT, MAX_POSITIONS, is_near};
use crate::exchange::Exchange;
use crate::snapshot::{Reader, SnapshotError, Writer};

/// What is true of an account, as bits.
const MARGINED: u8 = 1;
const BREACHED: u8 = 1 << 1;
const UP_TO_DATE: u8 = 1 << 2;
const NEAR_LIMIT: u8 = 1 << 3;

impl Exchange {
    pub(crate) fn save_accounts(&self, writer: &mut Writer) {
        let accounts = &self.accounts;
        if !accounts.on {
            return;
        }
        accounts.params.save(writer);
        writer.len(accounts.sweep);
        writer.len(accounts.list.len());
        for (place, account) in (0u32..).zip(&accounts.list) {
            writer.u32(account.id.get());
            let up_to_date = !account.margined || account.epoch == accounts.params.epoch;
            let flags = [
                (account.margined, MARGINED),
                (account.breached, BREACHED),
                (up_to_date, UP_TO_DATE),
                (account.near != super::NONE, NEAR_LIMIT),
            ];
            let set = flags.iter().filter(|flag| flag.0);
            writer.u8(set.fold(0, |bits, flag| bits | flag.1));
            writer.i64(account.credit);
            writer.i64(accounts.ledger.cash(place));
            account.scoped.save(writer);
            let held: Vec<_> = account
                .positions
                .iter()
                .map(|&(instrument, handle)| (instrument, accounts.positions[handle as usize].lots))
                .filter(|&(_, lots)| lots != 0)
                .collect();
            writer.len(held.len());
            for (instrument, lots) in held {
                writer.u32(instrument);
                writer.i64(lots);
            }
        }
        let sessions = (0u32..).zip(&accounts.sessions);
        let kept: Vec<_> = sessions
            .filter_map(|(number, scoped)| Some((number, scoped.as_deref()?)))
            .collect();
        writer.len(kept.len());
        for (number, scoped) in kept {
            writer.u32(number);
            scoped.save(writer);
        }
    }

    pub(crate) fn restore_accounts(
        &mut self,
        reader: &mut Reader<'_>,
    ) -> Result<(), SnapshotError> {
        self.accounts.on = true;
        for number in 0..self.books.len() {
            self.link_instrument(number);
        }
        self.restore_params(reader)?;
        let sweep = reader.u64()?;
        let mut flags_of = Vec::new();
        for _ in 0..reader.len(32)? {
            flags_of.push(self.restore_account(reader)?);
        }
        self.accounts.sweep = usize::try_from(sweep).unwrap_or(usize::MAX);
        reader.ensure(
            self.accounts.sweep <= self.accounts.list.len(),
            "more accounts looked at than there are",
        )?;
        for _ in 0..reader.len(8)? {
            let number = reader.u32()?;
            let session = SessionId::new(number);
            let known = session == SessionId::VENUE || self.sessions.get(session).is_some();
            reader.ensure(
                known && self.accounts.session(number).is_none(),
                "books of a session that is unknown or came before",
            )?;
            *self.accounts.open_session(session) = Scoped::restore(reader)?;
        }
        self.track_restored(reader)?;
        for (place, flags) in (0u32..).zip(flags_of) {
            let account = &mut self.accounts.list[place as usize];
            account.touched = false;
            reader.ensure(
                account.gross <= LOTS_LIMIT,
                "more lots than an account may have",
            )?;
            let near = flags & NEAR_LIMIT != 0;
            if flags & MARGINED != 0 {
                account.margined = true;
                if flags & UP_TO_DATE != 0 {
                    self.accounts.refresh(place);
                    let bound = self.accounts.list[place as usize].bound;
                    let funds = self.accounts.funds(place);
                    let fits =
                        near == is_near(bound, funds) && (flags & BREACHED != 0) == (bound > funds);
                    reader.ensure(fits, "flags that do not fit the margin")?;
                } else {
                    account.epoch = 0;
                    account.bound = i128::MAX / 8;
                }
            } else {
                reader.ensure(!near && flags & BREACHED == 0, "a breach without margin")?;
            }
            self.accounts.list[place as usize].breached = flags & BREACHED != 0;
            if near {
                self.accounts.set_near(place, true);
            }
        }
        self.accounts.touched.clear();
        Ok(())
    }

    /// One account without its orders; returns its flags, which count once these are there.
    fn restore_account(&mut self, reader: &mut Reader<'_>) -> Result<u8, SnapshotError> {
        let id = AccountId::new(reader.u32()?);
        let flags = reader.u8()?;
        reader.ensure(
            flags < NEAR_LIMIT << 1 && self.accounts.place(id.get()).is_none(),
            "an account with unknown flags, or twice",
        )?;
        let opened = self.accounts.open(id);
        let place = opened.map_err(|_| reader.bad("an account with an impossible number"))?;
        let credit = reader.i64()?;
        let cash = reader.i64()?;
        reader.ensure(credit >= 0 && cash >= 0, "a negative amount")?;
        if cash > 0 {
            let (from, to) = (
                super::ledger::Entry::External,
                super::ledger::Entry::Cash(place),
            );
            let paid = self.accounts.ledger.transfer(from, to, cash);
            paid.map_err(|_| reader.bad("more cash than a ledger holds"))?;
        }
        let scoped = Scoped::restore(reader)?;
        let positions = reader.len(12)?;
        reader.ensure(positions <= MAX_POSITIONS, "too many positions")?;
        for _ in 0..positions {
            let (instrument, lots) = (reader.u32()?, reader.i64()?);
            let fits = (instrument as usize) < self.books.len()
                && lots != 0
                && (-LOTS_LIMIT..=LOTS_LIMIT).contains(&lots)
                && self.accounts.list[place as usize].find(instrument).is_err();
            reader.ensure(fits, "a position that cannot be")?;
            let handle = self.accounts.position_of(place, instrument);
            self.accounts.expose(handle, lots, 0, 0);
            let gross = self.accounts.list[place as usize].gross;
            reader.ensure(gross <= LOTS_LIMIT, "more lots than an account may have")?;
        }
        let account = &mut self.accounts.list[place as usize];
        account.credit = credit;
        account.scoped = scoped;
        Ok(flags)
    }

    /// Takes note of every live order of a kept account or session.
    fn track_restored(&mut self, reader: &Reader<'_>) -> Result<(), SnapshotError> {
        let slots: Vec<u32> = self
            .store
            .orders
            .iter()
            .filter(|(_, order)| order.is_single())
            .map(|(slot, _)| slot)
            .collect();
        for slot in slots {
            let order = &self.store.orders[slot];
            let (account, session) = (order.account, order.session().get());
            if !self.accounts.keeps(account, session) {
                continue;
            }
            let ask = Ask {
                account,
                session,
                print: Print {
                    instrument: self.books[self.book_of(slot)].number,
                    side: order.side(),
                    price: self.store.limit(slot),
                    qty: order.leaves,
                    time: 0,
                },
                reference: None,
                before: Some((0, 0)),
            };
            if let Some(place) = self.accounts.place(account) {
                let kept = &self.accounts.list[place as usize];
                let open = kept.scoped.open_qty + u128::from(order.leaves);
                reader.ensure(
                    open <= 2 * u128::from(LOTS_LIMIT.unsigned_abs()),
                    "more open lots than an account may have",
                )?;
            }
            self.accounts.track(slot, &ask);
        }
        Ok(())
    }
}

impl Scoped {
    fn save(&self, writer: &mut Writer) {
        writer.command(&Command::Account(Box::new(AccountCommand {
            header: ClientHeader::default(),
            action: AccountAction::Limits {
                scope: Scope::Session(SessionId::VENUE),
                limits: self.limits,
            },
        })));
        writer.u8(u8::from(self.killed));
        writer.option(self.latest, |writer, latest| {
            writer.u32(latest.instrument);
            writer.u8(latest.side as u8);
            writer.option(latest.price, Writer::i64);
            writer.u64(latest.qty);
            writer.u64(latest.time);
        });
    }

    fn restore(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let limits: Option<Limits> = match reader.command()? {
            Command::Account(request) => match request.action {
                AccountAction::Limits { limits, .. } => Some(limits),
                _ => None,
            },
            _ => None,
        };
        let limits = limits.ok_or_else(|| reader.bad("no limits"))?;
        let killed = reader.flag()?;
        let latest = reader.option(|reader| {
            Ok(Print {
                instrument: reader.u32()?,
                side: reader.code::<Side>("no side")?,
                price: reader.option(Reader::i64)?,
                qty: reader.u64()?,
                time: reader.u64()?,
            })
        })?;
        Ok(Self {
            limits,
            killed,
            latest,
            ..Self::default()
        })
    }
}

/// A part of a set of risk parameters as a command of its own.
pub(super) fn part(action: RiskAction) -> Command {
    Command::RiskParams(Box::new(RiskParams {
        header: ClientHeader::default(),
        action,
    }))
}
