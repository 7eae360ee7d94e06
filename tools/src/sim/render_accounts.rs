//! Event lines about accounts, limits and risk parameters.

use tessera_engine::AccountView;
use tessera_types::{AccountEvent, Scope};

use super::render::{Names, Printer};

impl Printer {
    /// Prints what happened to an account, a limit or the risk parameters.
    pub(super) fn account_event(
        &mut self,
        out: &mut String,
        event: &AccountEvent,
        names: &dyn Names,
    ) {
        match *event {
            AccountEvent::Opened {
                account, margined, ..
            } => self
                .open(out, "account_opened")
                .raw("party", names.party_json(account))
                .num("margined", margined),
            AccountEvent::CashMoved {
                account,
                movement,
                amount,
                cash,
                ..
            } => self
                .open(out, "cash")
                .raw("party", names.party_json(account))
                .word("why", movement.as_str())
                .num("amount", amount)
                .num("cash", cash),
            AccountEvent::CreditSet {
                account, credit, ..
            } => self
                .open(out, "credit")
                .raw("party", names.party_json(account))
                .num("amount", credit),
            AccountEvent::LimitsSet { scope, .. } => {
                let line = self.open(out, "limits");
                match scope {
                    Scope::Account(account) => line.raw("party", names.party_json(account)),
                    Scope::Session(_) => line,
                }
            }
            AccountEvent::KillSwitched {
                scope,
                on,
                canceled,
                ..
            } => {
                let line = self.open(out, "kill");
                let line = match scope {
                    Scope::Account(account) => line.raw("party", names.party_json(account)),
                    Scope::Session(_) => line,
                };
                line.num("on", on).num("count", canceled)
            }
            AccountEvent::MarginSet { instrument, .. } => self
                .open(out, "margin")
                .raw("instrument", names.instrument_json(instrument)),
            AccountEvent::MarginBreached {
                account,
                margin,
                funds,
            } => self
                .open(out, "breached")
                .raw("party", names.party_json(account))
                .num("margin", margin)
                .num("funds", funds),
            AccountEvent::MarginRestored {
                account,
                margin,
                funds,
            } => self
                .open(out, "restored")
                .raw("party", names.party_json(account))
                .num("margin", margin)
                .num("funds", funds),
            AccountEvent::RiskStaged { version, rows, .. } => self
                .open(out, "risk_staged")
                .num("version", version)
                .num("rows", rows),
            AccountEvent::RiskActive { version, rows, .. } => self
                .open(out, "risk_active")
                .num("version", version)
                .num("rows", rows),
            AccountEvent::RiskAgeSet { max_age_ns, .. } => {
                self.open(out, "risk_age").num("max_age_ns", max_age_ns)
            }
            AccountEvent::RiskAged { version, age_ns } => self
                .open(out, "risk_aged")
                .num("version", version)
                .num("age_ns", age_ns),
        }
        .close();
    }

    /// Prints one account.
    pub(super) fn account(&mut self, out: &mut String, names: &dyn Names, account: &AccountView) {
        let positions: Vec<String> = account
            .positions
            .iter()
            .map(|p| {
                let name = names.instrument_json(p.instrument);
                format!("[{name},{},{},{}]", p.lots, p.buys, p.sells)
            })
            .collect();
        self.open(out, "account")
            .raw("party", names.party_json(account.account))
            .num("margined", account.margined)
            .num("killed", account.killed)
            .num("breached", account.breached)
            .num("near_limit", account.near_limit)
            .num("cash", account.cash)
            .num("credit", account.credit)
            .num("margin", account.margin)
            .num("open_qty", account.open_qty)
            .num("open_value", account.open_value)
            .raw("positions", &format!("[{}]", positions.join(",")))
            .close();
    }
}
