//! `tessera admin account|limits|kill|margin|risk`: money, limits, and what positions need.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;
use tessera_client::AdminSession;
use tessera_client::admin::{AdminDone, AdminError};
use tessera_risk::quantise::{Level, ParameterSet, Row, SetError};
use tessera_types::{
    AccountAction, AccountCommand, AccountId, CashMove, ClientHeader, Command, InstrumentId,
    Limits, MarginSpec, Name, Price, RejectReason, RiskAction, RiskBegin, RiskCommit, RiskParams,
    RiskRow, RiskStep, Scope, SessionId,
};

use crate::client_args::{Instruments, VerbError, print};

/// What is done to an account.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum AccountVerb {
    /// Keep the account, or switch its margin check on or off
    Open {
        /// Number of the account
        account: u32,
        /// Its orders must be covered by cash and credit
        #[arg(long)]
        margined: bool,
    },
    /// Pay in
    Deposit(Amount),
    /// Pay out
    Withdraw(Amount),
    /// Set how much it may owe beside its cash
    Credit(Amount),
}

/// An account and an amount.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub(super) struct Amount {
    /// Number of the account
    account: u32,
    /// Micro-USD
    #[arg(value_name = "UUSD", value_parser = clap::value_parser!(i64).range(0..))]
    amount: i64,
}

/// Whose orders it is about.
#[derive(Clone, Copy, Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub(super) struct Whose {
    /// Number of an account
    #[arg(long, value_name = "ID")]
    account: Option<u32>,
    /// Number of a session
    #[arg(long = "of-session", value_name = "ID")]
    of_session: Option<u32>,
}

impl Whose {
    fn scope(self) -> Scope {
        match (self.account, self.of_session) {
            (Some(account), _) => Scope::Account(AccountId::new(account)),
            (None, session) => Scope::Session(SessionId::new(session.unwrap_or(0))),
        }
    }
}

/// Every pre-trade limit; what is left out is not limited any more.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub(super) struct LimitArgs {
    #[command(flatten)]
    whose: Whose,
    /// Largest distance of a limit price from the reference, in 1/10000 of it
    #[arg(long, value_name = "BPS")]
    collar_bps: Option<u32>,
    /// Largest order
    #[arg(long, value_name = "LOTS")]
    max_qty: Option<u64>,
    /// Largest value of an order, ticks times lots
    #[arg(long, value_name = "VALUE")]
    max_value: Option<u64>,
    /// Largest quantity of all open orders
    #[arg(long, value_name = "LOTS")]
    max_open_qty: Option<u64>,
    /// Largest value of all open orders, ticks times lots
    #[arg(long, value_name = "VALUE")]
    max_open_value: Option<u64>,
    /// Largest position, 1/10000 of a device; accounts only
    #[arg(long, value_name = "UNITS", conflicts_with = "of_session")]
    max_position: Option<u64>,
    /// Refuse an order like the one before for so long
    #[arg(long, value_name = "MS")]
    duplicate_ms: Option<u64>,
}

/// The kill switch.
#[derive(Clone, Debug, ClapArgs)]
pub(super) struct KillArgs {
    #[command(flatten)]
    whose: Whose,
    /// on refuses new orders and cancels what is live; off lets it trade again
    #[arg(value_parser = ["on", "off"])]
    switch: String,
}

/// How an instrument is margined.
#[derive(Clone, Debug, ClapArgs)]
pub(super) struct MarginArgs {
    /// Name of the instrument
    name: String,
    /// Product and tenor bucket of the risk parameters; without it the instrument's own name
    #[arg(long)]
    product: Option<String>,
    /// Flat margin where there is no row, in 1/10000 of a lot's value
    #[arg(long, value_name = "BPS")]
    initial_margin_bps: Option<u32>,
    /// Price of that value in ticks; without it the instrument's reference price
    #[arg(long, value_name = "TICKS", allow_negative_numbers = true)]
    price: Option<i64>,
}

/// Risk parameters.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum RiskVerb {
    /// Send a set written by `tessera risk margin --emit` and put it in force
    Load {
        /// The set
        file: PathBuf,
        /// Refuse rows whose margin of one lot moves further from the set in force, in 1/10000; 0 = any
        #[arg(long, value_name = "BPS", default_value_t = 0)]
        step_limit_bps: u32,
    },
    /// Tell when the set in force has become so old, and again after each such time
    MaxAge {
        /// Seconds; 0 = never
        seconds: u64,
    },
}

fn account(action: AccountAction) -> Command {
    Command::Account(Box::new(AccountCommand {
        header: ClientHeader::default(),
        action,
    }))
}

/// A part of a set of risk parameters as a command.
pub(crate) fn risk(action: RiskAction) -> Command {
    Command::RiskParams(Box::new(RiskParams {
        header: ClientHeader::default(),
        action,
    }))
}

/// Asks for one change of an account.
pub(super) async fn on_account(
    verb: &AccountVerb,
    json: bool,
    session: &mut AdminSession,
) -> Result<(), VerbError> {
    let cash = |amount: &Amount, movement| AccountAction::Move {
        account: AccountId::new(amount.account),
        movement,
        amount: amount.amount,
    };
    let (what, id, action) = match verb {
        AccountVerb::Open {
            account: id,
            margined,
        } => {
            let action = AccountAction::Open {
                account: AccountId::new(*id),
                margined: *margined,
            };
            ("account", *id, action)
        }
        AccountVerb::Deposit(a) => ("deposit", a.account, cash(a, CashMove::Deposit)),
        AccountVerb::Withdraw(a) => ("withdraw", a.account, cash(a, CashMove::Withdraw)),
        AccountVerb::Credit(a) => {
            let action = AccountAction::Credit {
                account: AccountId::new(a.account),
                credit: a.amount,
            };
            ("credit", a.account, action)
        }
    };
    let done = session.command(&account(action)).await?;
    say(json, what, &format!("account {id}"), done)
}

/// Sets the limits of an account or a session.
pub(super) async fn on_limits(
    args: &LimitArgs,
    json: bool,
    session: &mut AdminSession,
) -> Result<(), VerbError> {
    let limits = Limits {
        collar_bps: args.collar_bps,
        max_qty: args.max_qty,
        max_value: args.max_value,
        max_open_qty: args.max_open_qty,
        max_open_value: args.max_open_value,
        max_position: args.max_position,
        duplicate_ns: args.duplicate_ms.map(|ms| ms.saturating_mul(1_000_000)),
    };
    let scope = args.whose.scope();
    let command = account(AccountAction::Limits { scope, limits });
    let done = session.command(&command).await?;
    say(json, "limits", &whose(scope), done)
}

/// Puts a kill switch on or off.
pub(super) async fn on_kill(
    args: &KillArgs,
    json: bool,
    session: &mut AdminSession,
) -> Result<(), VerbError> {
    let (scope, on) = (args.whose.scope(), args.switch == "on");
    let command = account(AccountAction::Kill { scope, on });
    let done = session.command(&command).await?;
    say(
        json,
        "kill",
        &format!("{} {}", whose(scope), args.switch),
        done,
    )
}

/// Says how an instrument is margined.
pub(super) async fn on_margin(
    args: &MarginArgs,
    json: bool,
    session: &mut AdminSession,
) -> Result<(), VerbError> {
    let product = args.product.as_deref().map(Name::new).transpose();
    let product = product.map_err(|error| VerbError::Usage(format!("--product: {error}")))?;
    let instruments = Instruments::new(session.instruments().await?);
    let instrument: InstrumentId = instruments.require(&args.name)?.instrument;
    let spec = MarginSpec {
        product,
        initial_margin_bps: args.initial_margin_bps,
        price: args.price.map(Price::from_ticks),
    };
    let command = account(AccountAction::Margin { instrument, spec });
    let done = session.command(&command).await?;
    say(json, "margin", &args.name, done)
}

/// Sends risk parameters.
pub(super) async fn on_risk(
    verb: &RiskVerb,
    set: Option<Vec<(String, Command)>>,
    json: bool,
    session: &mut AdminSession,
) -> Result<(), VerbError> {
    match verb {
        RiskVerb::MaxAge { seconds } => {
            let max_age_ns = seconds.saturating_mul(1_000_000_000);
            let done = session
                .command(&risk(RiskAction::MaxAge { max_age_ns }))
                .await?;
            say(json, "risk_age", &format!("{seconds} s"), done)
        }
        RiskVerb::Load { file, .. } => {
            let mut last = None;
            for (what, command) in set.unwrap_or_default() {
                last = Some(send(&what, &command, file, session).await?);
            }
            match last {
                Some(done) => say(json, "risk_active", &file.display().to_string(), done),
                None => Ok(()),
            }
        }
    }
}

/// Sends one part; an exchange that is busy is asked again.
async fn send(
    what: &str,
    command: &Command,
    file: &Path,
    session: &mut AdminSession,
) -> Result<AdminDone, VerbError> {
    const TRIES: u32 = 200;
    let mut tries = 0;
    loop {
        match session.command(command).await {
            Err(AdminError::Refused(RejectReason::Busy | RejectReason::Throttled))
                if tries < TRIES =>
            {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(AdminError::Refused(reason)) => {
                return Err(VerbError::Failed(format!(
                    "{}: {what}: the exchange refused it: {reason}; the set in force stands",
                    file.display()
                )));
            }
            other => return Ok(other?),
        }
    }
}

/// The commands of a set file, each with the words for it. Nothing is sent of a file that is wrong
/// anywhere.
pub(crate) fn set_commands(
    path: &Path,
    step_limit_bps: u32,
) -> Result<Vec<(String, Command)>, VerbError> {
    let usage = |error: String| VerbError::Usage(error);
    let set = ParameterSet::open(path).map_err(|error| usage(placed(path, &error)))?;
    commands(&set, step_limit_bps).map_err(|(product, reason)| {
        let at = place_of(path, &product).unwrap_or_default();
        usage(format!("{}{at}: {product}: {reason}", path.display()))
    })
}

/// The commands that bring a checked set, or a product with what is wrong with it.
pub(crate) fn commands(
    set: &ParameterSet,
    step_limit_bps: u32,
) -> Result<Vec<(String, Command)>, (String, String)> {
    let bytes = |digits: &str| {
        hash(digits).ok_or_else(|| {
            (
                "set".to_owned(),
                "a hash is 64 hexadecimal digits".to_owned(),
            )
        })
    };
    let begin = RiskBegin {
        version: set.begin.version,
        rows: set.begin.rows,
        model: set.begin.model,
        seed: set.begin.seed,
        scenarios: set.begin.scenarios,
        step_limit_bps,
        input_hash: bytes(&set.begin.input_hash)?,
    };
    let mut all = vec![("begin".to_owned(), risk(RiskAction::Begin(begin)))];
    for (number, row) in (1..).zip(&set.rows) {
        let wrong = |reason: String| (row.product.clone(), reason);
        let row = self::row(row).map_err(wrong)?;
        let what = format!("row {number} ({})", row.product);
        all.push((what, risk(RiskAction::Row(row))));
    }
    let commit = RiskCommit {
        version: set.commit.version,
        rows: set.commit.rows,
        table_hash: bytes(&set.commit.table_hash)?,
    };
    all.push(("commit".to_owned(), risk(RiskAction::Commit(commit))));
    Ok(all)
}

fn row(row: &Row) -> Result<RiskRow, String> {
    let steps = |levels: &[Level]| -> Vec<RiskStep> {
        let step = |level: &Level| RiskStep {
            from_lots: level.from_lots,
            uusd_per_lot: level.uusd_per_lot,
        };
        levels.iter().map(step).collect()
    };
    let count = row.losses.len();
    Ok(RiskRow {
        version: row.version,
        product: Name::new(&row.product).map_err(|error| error.to_string())?,
        losses: row
            .losses
            .clone()
            .try_into()
            .map_err(|_| format!("{count} losses"))?,
        liquidity: steps(&row.liquidity),
        concentration: steps(&row.concentration),
        delivery: steps(&row.delivery),
    })
}

/// What is wrong with a file, with the line and column of the row that it is about.
fn placed(path: &Path, error: &SetError) -> String {
    match error {
        SetError::Row { product, .. } => {
            let at = place_of(path, product).unwrap_or_default();
            format!("{}{at}: {error}", path.display())
        }
        SetError::Frame { .. } => format!("{}: {error}", path.display()),
        _ => error.to_string(),
    }
}

/// `:line:column` of the first mention of a product.
fn place_of(path: &Path, product: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let quoted = serde_json::Value::from(product).to_string();
    let (line, column) = text
        .lines()
        .enumerate()
        .find_map(|(line, text)| Some((line + 1, text.find(&quoted)? + 1)))?;
    Some(format!(":{line}:{column}"))
}

fn hash(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn whose(scope: Scope) -> String {
    match scope {
        Scope::Account(id) => format!("account {id}"),
        Scope::Session(id) => format!("session {id}"),
    }
}

fn say(json: bool, ev: &str, what: &str, done: AdminDone) -> Result<(), VerbError> {
    let seq = done.seq.get();
    print(&if json {
        json!({ "ev": ev, "of": what, "engine_seq": seq }).to_string()
    } else {
        format!("{ev}: {what} (seq {seq})")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set of one product whose text is changed on the way.
    fn check(change: impl Fn(String) -> String) -> Result<usize, String> {
        let mut set = ParameterSet {
            format: 1,
            begin: tessera_risk::quantise::Begin {
                version: 1,
                rows: 1,
                model: 1,
                seed: 7,
                scenarios: 10,
                input_hash: "0".repeat(64),
            },
            rows: vec![Row {
                version: 1,
                product: "H100/day".into(),
                losses: vec![5; 64],
                liquidity: vec![],
                concentration: vec![],
                delivery: vec![Level {
                    from_lots: 0,
                    uusd_per_lot: 3,
                }],
            }],
            commit: tessera_risk::quantise::Commit {
                version: 1,
                rows: 1,
                table_hash: String::new(),
            },
        };
        set.commit.table_hash = set.table_hash();
        let text = serde_json::to_string_pretty(&set).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("set.json");
        std::fs::write(&path, change(text)).unwrap();
        set_commands(&path, 0)
            .map(|commands| commands.len())
            .map_err(|error| {
                error
                    .to_string()
                    .replace(&path.display().to_string(), "set.json")
            })
    }

    #[test]
    fn a_set_is_sent_whole_or_not_at_all() {
        assert_eq!(check(|text| text), Ok(3));
        let wrong = [
            ("\"version\": 1", "\"version\": x", "set.json:"),
            ("\"seed\"", "\"sed\"", "unknown field `sed`"),
            (
                "\"uusd_per_lot\": 3",
                "\"uusd_per_lot\": 4",
                "table hash is",
            ),
        ];
        for (from, to, message) in wrong {
            let error = check(|text| text.replacen(from, to, 1)).unwrap_err();
            assert!(
                error.contains(message) && error.contains("set.json"),
                "{error}"
            );
        }
        let syntax = check(|text| text.replacen("\"seed\": 7", "\"seed\": -7", 1)).unwrap_err();
        assert!(
            syntax.contains("line") && syntax.contains("column"),
            "{syntax}"
        );
    }

    /// The hash that the engine makes of the rows is that of the module's file.
    #[test]
    fn engine_and_module_hash_the_same_bytes() {
        let row = Row {
            version: 9,
            product: "H100/day".into(),
            losses: (0..64).map(|s| s * 1_000 - 32_000).collect(),
            liquidity: vec![Level {
                from_lots: 3,
                uusd_per_lot: 4,
            }],
            concentration: vec![],
            delivery: vec![],
        };
        let mut bytes = Vec::new();
        super::row(&row).unwrap().hashed_bytes(&mut bytes);
        assert_eq!(bytes, row.encode());
    }
}
