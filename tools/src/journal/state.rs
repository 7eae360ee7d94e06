//! `tessera journal state`: books and orders as they were after any command.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::{Value, json};
use tessera_engine::{AccountView, DepthLevel, Exchange, OrderView};
use tessera_journal::storage::Mapped;
use tessera_journal::{Report, Scan, ScanError, Snapshots, hex, kind};
use tessera_types::{AccountId, InstrumentId, Price, Seq, Side, Timestamp};

use super::{Progress, Source, ToolError, judge, open};
use crate::serve::rebuild::{Rebuild, RebuildError};

/// Options of `tessera journal state`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Print books and orders as they were after a command",
    after_help = "\
Examples:
  tessera journal state --data ./exchange --at 100000
  tessera journal state --data ./exchange --at 100000 --instrument H100-24H --json

Exit status: 0 done, 1 no journal, it ends before --at, or there is no such instrument, 2 usage, 4 corrupt
before --at."
)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,

    /// After this command
    #[arg(long, value_name = "SEQ")]
    at: u64,

    /// Only this instrument, by name or number
    #[arg(long, value_name = "I")]
    instrument: Option<String>,

    /// Only this account, by number
    #[arg(long, value_name = "A")]
    account: Option<u32>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<u8, ToolError> {
    let scan = open(&args.source)?;
    let snapshots = Mapped::open(&args.source.data)
        .map(|storage| Snapshots::on(Arc::new(storage)))
        .map_err(|error| ToolError::File {
            path: args.source.data.clone(),
            error,
        })?;
    // The newest verified snapshot that is not beyond the place asked for, else an older one, else none.
    let mut begin = Rebuild::newest(&snapshots, Seq::new(args.at.saturating_add(1)));
    let (rebuild, report) = loop {
        let rebuild = begin.unwrap_or_else(|| Rebuild::genesis(&[0; 16]));
        let from = rebuild.begun_at();
        match replay(&scan, rebuild, args.at) {
            Err(Failed::Rebuild(
                RebuildError::History(_)
                | RebuildError::StateHash { .. }
                | RebuildError::EventsDigest { .. },
            )) if from > Seq::ZERO => begin = Rebuild::newest(&snapshots, from),
            Err(Failed::Rebuild(RebuildError::Rules(message))) => {
                return Err(ToolError::Rules(message));
            }
            Err(Failed::Rebuild(error)) => return Err(ToolError::Replay(error.to_string())),
            Err(Failed::Scan(error)) => return Err(error.into()),
            Err(Failed::Begins(first)) => {
                return Err(ToolError::Replay(format!(
                    "the journal begins with command {first}, and no verified snapshot leads to command \
                     {}: put the retired segments back",
                    args.at
                )));
            }
            Ok(found) => break found,
        }
    };
    let from_snapshot = rebuild.begun_at();
    let engine = rebuild.engine;
    let time = engine.clock();
    let last = engine.last_seq().get();
    if last < args.at {
        let code = judge(&report);
        if code == crate::exit::CORRUPT {
            return Ok(code);
        }
        return Err(ToolError::Beyond {
            last,
            asked: args.at,
        });
    }
    let picked = pick(&engine, args.instrument.as_deref())?;
    let view = View {
        engine: &engine,
        time,
        from_snapshot,
        instrument: picked,
        account: args.account.map(AccountId::new),
    };
    if args.json {
        writeln!(out, "{}", view.json())?;
    } else {
        view.text(out)?;
    }
    Ok(0)
}

/// Why a replay did not reach its end.
enum Failed {
    Scan(ScanError),
    Rebuild(RebuildError),
    /// Everything before this command has left the directory.
    Begins(Seq),
}

/// Goes on from where `rebuild` stands up to command `at`; every state hash on the way is compared.
fn replay(scan: &Scan, mut rebuild: Rebuild, at: u64) -> Result<(Rebuild, Report), Failed> {
    let mut progress = Progress::towards("commands", at);
    let mut stopped = None;
    let mut is_first = true;
    let report = scan.read(|record, _| {
        let is_command = kind::has_seq(record.kind);
        if is_command && is_first && record.seq > rebuild.begun_at().next() {
            stopped = Some(Failed::Begins(record.seq));
            return ControlFlow::Break(());
        }
        if record.seq.get() > at {
            return ControlFlow::Break(());
        }
        if is_command {
            is_first = false;
            progress.step();
        }
        match rebuild.take(record) {
            Ok(_) => ControlFlow::Continue(()),
            Err(error) => {
                stopped = Some(Failed::Rebuild(error));
                ControlFlow::Break(())
            }
        }
    });
    progress.end();
    let report = report.map_err(Failed::Scan)?;
    match stopped {
        Some(failed) => Err(failed),
        None => Ok((rebuild, report)),
    }
}

fn pick(engine: &Exchange, wanted: Option<&str>) -> Result<Option<InstrumentId>, ToolError> {
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    let by_number = || {
        let id = InstrumentId::new(wanted.parse().ok()?);
        engine.instrument(id).map(|_| id)
    };
    match engine.instrument_by_name(wanted).or_else(by_number) {
        Some(id) => Ok(Some(id)),
        None => Err(ToolError::Replay(format!(
            "there is no instrument {wanted:?} after command {}; `tessera journal state` without \
             --instrument lists those there are",
            engine.last_seq()
        ))),
    }
}

struct View<'a> {
    engine: &'a Exchange,
    time: Timestamp,
    from_snapshot: Seq,
    instrument: Option<InstrumentId>,
    account: Option<AccountId>,
}

impl View<'_> {
    fn json(&self) -> Value {
        json!({
            "seq": self.engine.last_seq().get(),
            "time_ns": self.time.nanos(),
            "from_snapshot": (self.from_snapshot > Seq::ZERO).then(|| self.from_snapshot.get()),
            "state_hash": hex(&self.engine.state_hash()),
            "risk_version": self.engine.risk_params().map(|risk| risk.version),
            "instruments": self.instruments(),
            "accounts": self.accounts(),
            "contracts": [],
        })
    }

    fn instruments(&self) -> Vec<Value> {
        let wanted = |id| self.instrument.is_none_or(|only| only == id);
        let all = self.engine.instruments().filter(|(id, ..)| wanted(*id));
        all.map(|(id, instrument, phase)| {
            json!({
                "instrument": id.get(),
                "name": instrument.name.as_str(),
                "phase": phase.as_str(),
                "bids": self.engine.depth(id, Side::Buy).map(level).collect::<Vec<_>>(),
                "asks": self.engine.depth(id, Side::Sell).map(level).collect::<Vec<_>>(),
                "last": self.engine.last_trade(id).map(Price::ticks),
            })
        })
        .collect()
    }

    fn accounts(&self) -> Vec<Value> {
        let accounts = self.orders();
        accounts
            .iter()
            .map(|(account, orders)| {
                let kept = self.engine.account(*account);
                json!({
                    "account": account.get(),
                    "cash": kept.as_ref().map(|kept| kept.cash),
                    "credit": kept.as_ref().map(|kept| kept.credit),
                    "margined": kept.as_ref().map(|kept| kept.margined),
                    "margin": kept.as_ref().map(|kept| kept.margin),
                    "breached": kept.as_ref().map(|kept| kept.breached),
                    "killed": kept.as_ref().map(|kept| kept.killed),
                    "positions": kept.map_or_else(Vec::new, |kept| self.positions(&kept)),
                    "orders": orders.iter().map(order).collect::<Vec<_>>(),
                })
            })
            .collect()
    }

    /// What a kept account holds and wants, by instrument.
    fn positions(&self, kept: &AccountView) -> Vec<Value> {
        let wanted = |id| self.instrument.is_none_or(|only| only == id);
        let positions = kept.positions.iter().filter(|p| wanted(p.instrument));
        positions
            .map(|p| {
                json!({
                    "instrument": p.instrument.get(),
                    "lots": p.lots,
                    "open_buys": p.buys,
                    "open_sells": p.sells,
                })
            })
            .collect()
    }

    /// Live orders by account, oldest first; kept accounts without any, too.
    fn orders(&self) -> BTreeMap<AccountId, Vec<OrderView>> {
        let mut accounts: BTreeMap<AccountId, Vec<OrderView>> = BTreeMap::new();
        for kept in self.engine.accounts() {
            if self.account.is_none_or(|only| only == kept.account) {
                accounts.insert(kept.account, Vec::new());
            }
        }
        for order in self.engine.orders() {
            let is_wanted = self.account.is_none_or(|only| only == order.account)
                && self.instrument.is_none_or(|only| only == order.instrument);
            if is_wanted {
                accounts.entry(order.account).or_default().push(order);
            }
        }
        for orders in accounts.values_mut() {
            orders.sort_unstable_by_key(|order| order.order_id);
        }
        accounts
    }

    fn text(&self, out: &mut impl Write) -> Result<(), ToolError> {
        let engine = self.engine;
        writeln!(out, "after command  {} at {}", engine.last_seq(), self.time)?;
        writeln!(out, "state hash     {}", hex(&engine.state_hash()))?;
        let wanted = |id| self.instrument.is_none_or(|only| only == id);
        for (id, instrument, phase) in engine.instruments().filter(|(id, ..)| wanted(*id)) {
            let last = engine
                .last_trade(id)
                .map_or_else(|| "none".to_owned(), |price| price.to_string());
            writeln!(
                out,
                "{} ({id}) {}, last {last}",
                instrument.name.as_str(),
                phase.as_str()
            )?;
            for side in [Side::Sell, Side::Buy] {
                let mut levels: Vec<DepthLevel> = engine.depth(id, side).collect();
                if side == Side::Sell {
                    levels.reverse();
                }
                for level in levels {
                    let DepthLevel { price, qty, orders } = level;
                    let side = side.as_str();
                    writeln!(out, "  {side:<4} {price:>12} {qty:>12} in {orders} orders")?;
                }
            }
        }
        for (account, orders) in self.orders() {
            write!(out, "account {account}: {} live orders", orders.len())?;
            if let Some(kept) = engine.account(account) {
                let breach = if kept.breached { ", in breach" } else { "" };
                write!(
                    out,
                    ", cash {} credit {} margin {} uUSD{breach}",
                    kept.cash, kept.credit, kept.margin
                )?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

fn level(level: DepthLevel) -> Value {
    json!({
        "price": level.price.ticks(),
        "qty": level.qty.lots(),
        "orders": level.orders,
    })
}

fn order(order: &OrderView) -> Value {
    json!({
        "order_id": order.order_id.get(),
        "session": order.session.get(),
        "cl_ord_id": order.cl_ord_id.get(),
        "instrument": order.instrument.get(),
        "side": order.side.as_str(),
        "price": order.price.map(Price::ticks),
        "stop": order.stop.map(Price::ticks),
        "qty": order.qty.lots(),
        "open": order.leaves.lots(),
        "filled": order.cum.lots(),
    })
}
