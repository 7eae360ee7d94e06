//! From the names of a script to the numbers of the engine, and back.

use std::collections::HashMap;

use tessera_types::{
    AccountAction, AccountCommand, AccountId, Backing, ClientHeader, Command, InstrumentId,
    ListInstrument, MassCancel, MassQuote, PoolId, QuoteEntry, RejectReason, Reopen, RiskParams,
    Scope, SetPhase,
};

use super::command::{ScriptCommand, ScriptQuote};
use super::contracts::ContractNames;

/// Knows the parties and instruments that a script has named so far.
///
/// Accounts are numbered from 1 in order of their first mention. Instruments have the numbers that
/// the exchange gave them, see [`Resolver::list`].
#[derive(Debug, Default)]
pub struct Resolver {
    accounts: HashMap<String, AccountId>,
    /// JSON text of each party's name; the index is the account number minus 1.
    parties: Vec<String>,
    instruments: HashMap<String, InstrumentId>,
    /// JSON text of each instrument's name, by instrument number.
    listed: Vec<String>,
    default_instrument: Option<InstrumentId>,
    pub(super) contracts: ContractNames,
}

impl Resolver {
    /// A resolver that knows no names.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The account of a party; a new name gets the next number.
    pub fn account(&mut self, party: &str) -> AccountId {
        if let Some(&account) = self.accounts.get(party) {
            return account;
        }
        self.parties.push(quoted(party));
        // A script with more parties than numbers does not fit into memory; should it, the last
        // number is shared instead of one being used twice unseen.
        let account = AccountId::new(u32::try_from(self.parties.len()).unwrap_or(u32::MAX));
        self.accounts.insert(party.to_owned(), account);
        account
    }

    /// The name of an account as JSON text, empty quotes for one that no name stands for.
    #[must_use]
    pub fn party_json(&self, account: AccountId) -> &str {
        (account.get() as usize)
            .checked_sub(1)
            .and_then(|index| self.parties.get(index))
            .map_or("\"\"", String::as_str)
    }

    /// Notes the number that an instrument has; the first one becomes the default instrument.
    pub fn list(&mut self, name: &str, id: InstrumentId) {
        let index = id.get() as usize;
        if self.listed.len() <= index {
            self.listed.resize(index + 1, String::new());
        }
        self.listed[index] = quoted(name);
        self.instruments.insert(name.to_owned(), id);
        self.default_instrument.get_or_insert(id);
    }

    /// Forgets every instrument.
    pub fn unlist_all(&mut self) {
        self.instruments.clear();
        self.listed.clear();
        self.default_instrument = None;
    }

    /// Notes the number that a pool has.
    pub fn note_pool(&mut self, name: &str, pool: PoolId) {
        self.contracts.note_pool(name, pool);
    }

    /// The name of a pool as JSON text, empty quotes for one that no name stands for.
    #[must_use]
    pub fn pool_json(&self, pool: PoolId) -> &str {
        self.contracts.pool_json(pool)
    }

    /// Notes that the exchange has taken the catalogue resolved last.
    pub fn note_catalogue(&mut self) {
        self.contracts.note_catalogue();
    }

    /// The instrument that stands for one left out.
    #[must_use]
    pub fn default_instrument(&self) -> Option<InstrumentId> {
        self.default_instrument
    }

    /// The name of an instrument as JSON text, empty quotes for one that is not listed.
    #[must_use]
    pub fn instrument_json(&self, id: InstrumentId) -> &str {
        self.listed
            .get(id.get() as usize)
            .map_or("\"\"", String::as_str)
    }

    /// The instrument of this name, the default one without a name.
    ///
    /// # Errors
    /// `unknown_instrument` when there is none.
    pub fn instrument(&self, name: Option<&str>) -> Result<InstrumentId, RejectReason> {
        match name {
            Some(name) => self.instruments.get(name).copied(),
            None => self.default_instrument,
        }
        .ok_or(RejectReason::UnknownInstrument)
    }

    /// The instrument of this name, all of them without a name.
    ///
    /// # Errors
    /// `unknown_instrument` when no instrument has the name.
    pub fn instrument_filter(
        &self,
        name: Option<&str>,
    ) -> Result<Option<InstrumentId>, RejectReason> {
        name.map(|name| self.instrument(Some(name))).transpose()
    }

    /// The command with numbers in place of names, in the venue's session. Nothing for what only
    /// asks or only moves the clock.
    ///
    /// # Errors
    /// `unknown_instrument`.
    pub fn resolve(&mut self, command: ScriptCommand<'_>) -> Result<Option<Command>, RejectReason> {
        let command = match command {
            ScriptCommand::Instrument(instrument) => {
                Command::ListInstrument(Box::new(ListInstrument {
                    header: ClientHeader::default(),
                    instrument: *instrument,
                }))
            }
            ScriptCommand::New {
                party,
                instrument,
                pool,
                mut order,
            } => {
                if let Some(pool) = pool {
                    order.backing = Backing::pool(self.contracts.pool(&pool));
                }
                order.instrument = self.instrument(instrument.as_deref())?;
                order.header.account = self.account(&party);
                Command::NewOrder(order)
            }
            ScriptCommand::Cancel { party, mut cancel } => {
                cancel.header.account = self.owner(party.as_deref());
                Command::Cancel(cancel)
            }
            ScriptCommand::Reduce { party, mut reduce } => {
                reduce.header.account = self.owner(party.as_deref());
                Command::Reduce(reduce)
            }
            ScriptCommand::Replace { party, mut replace } => {
                replace.header.account = self.owner(party.as_deref());
                Command::Replace(replace)
            }
            ScriptCommand::MassCancel {
                party,
                instrument,
                side,
            } => Command::MassCancel(MassCancel {
                header: ClientHeader::default(),
                instrument: self.instrument_filter(instrument.as_deref())?,
                account: party.map(|party| self.account(&party)),
                side,
            }),
            ScriptCommand::MassQuote {
                party,
                post_only,
                keep_priority,
                self_match,
                entries,
            } => {
                let account = self.account(&party);
                let entries = entries
                    .into_iter()
                    .map(|quote| self.entry(&quote))
                    .collect();
                Command::MassQuote(Box::new(MassQuote {
                    header: ClientHeader {
                        account,
                        ..ClientHeader::default()
                    },
                    post_only,
                    keep_priority,
                    self_match,
                    entries,
                }))
            }
            ScriptCommand::Phase {
                instrument,
                phase,
                ref_price,
            } => Command::SetPhase(SetPhase {
                header: ClientHeader::default(),
                instrument: self.instrument(instrument.as_deref())?,
                phase,
                ref_price,
            }),
            ScriptCommand::Contract(command) => return self.resolve_contract(*command),
            ScriptCommand::Restart(restart) => Command::Restart(restart),
            ScriptCommand::Reopen => Command::Reopen(Reopen),
            ScriptCommand::Account {
                party,
                instrument,
                action,
            } => {
                let action =
                    self.account_action(party.as_deref(), instrument.as_deref(), action)?;
                Command::Account(Box::new(AccountCommand {
                    header: ClientHeader::default(),
                    action,
                }))
            }
            ScriptCommand::Risk(action) => Command::RiskParams(Box::new(RiskParams {
                header: ClientHeader::default(),
                action: *action,
            })),
            ScriptCommand::Time
            | ScriptCommand::Depth { .. }
            | ScriptCommand::Orders { .. }
            | ScriptCommand::Accounts => {
                return Ok(None);
            }
        };
        Ok(Some(command))
    }

    fn account_action(
        &mut self,
        party: Option<&str>,
        name: Option<&str>,
        mut action: AccountAction,
    ) -> Result<AccountAction, RejectReason> {
        let of_party = party.map(|party| self.account(party));
        match &mut action {
            AccountAction::Open { account, .. }
            | AccountAction::Move { account, .. }
            | AccountAction::Credit { account, .. }
            | AccountAction::Limits {
                scope: Scope::Account(account),
                ..
            }
            | AccountAction::Kill {
                scope: Scope::Account(account),
                ..
            } => *account = of_party.unwrap_or_default(),
            AccountAction::Margin { instrument, .. } => *instrument = self.instrument(name)?,
            AccountAction::Limits { .. } | AccountAction::Kill { .. } => {}
        }
        Ok(action)
    }

    /// An entry whose instrument is unknown is refused alone.
    fn entry(&self, quote: &ScriptQuote<'_>) -> QuoteEntry {
        let mut entry = quote.entry;
        if let Some(pool) = &quote.pool {
            entry.backing = Backing::pool(self.contracts.pool(pool));
        }
        if entry.refused.is_none() {
            match self.instrument(quote.instrument.as_deref()) {
                Ok(instrument) => entry.instrument = instrument,
                Err(reason) => entry.refused = Some(reason),
            }
        }
        entry
    }

    /// The account that a request names, 0 when it names none.
    fn owner(&mut self, party: Option<&str>) -> AccountId {
        party.map_or(AccountId::new(0), |party| self.account(party))
    }
}

fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}
