//! What the exchange says, as text for people and as JSON lines for programs.

use std::fmt::Write as _;

use serde::Serialize;
use tessera_proto::Message;
use tessera_proto::codes::{EndReason, ExecType, SideCode};
use tessera_proto::message::{
    BusinessReject, CancelReject, ExecutionReport, MassActionReport, Reject,
};
use tessera_types::{InstrumentId, RejectReason};

/// A message as one line, without the line break; nothing for messages that say nothing to a trader.
/// `name` gives an instrument's name.
pub fn line(
    message: &Message,
    server_seq: Option<u64>,
    json: bool,
    name: impl Fn(InstrumentId) -> String,
) -> Option<String> {
    let ev = Ev::of(message, server_seq, name)?;
    Some(if json { ev.json() } else { ev.text() })
}

#[derive(Debug, Serialize)]
#[serde(tag = "ev", rename_all = "snake_case")]
enum Ev {
    Execution(Execution),
    CancelReject(Refusal),
    BusinessReject(Refusal),
    MassCanceled(MassCanceled),
    SessionReject(SessionReject),
}

#[derive(Debug, Serialize)]
struct Execution {
    exec_type: &'static str,
    status: &'static str,
    cl_ord_id: u64,
    #[serde(skip_serializing_if = "is_zero")]
    orig_cl_ord_id: u64,
    #[serde(skip_serializing_if = "is_zero")]
    order_id: u64,
    account: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    instrument: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trade: Option<Fill>,
    leaves_qty: u32,
    cum_qty: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    transact_time_ns: u64,
    engine_seq: u64,
    exec_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_seq: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Fill {
    price: i64,
    qty: u32,
    liquidity: &'static str,
    match_id: u64,
}

/// A request that was refused and changed nothing.
#[derive(Debug, Serialize)]
struct Refusal {
    cl_ord_id: u64,
    #[serde(skip_serializing_if = "is_zero")]
    orig_cl_ord_id: u64,
    #[serde(skip_serializing_if = "is_zero")]
    order_id: u64,
    reason: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    retry_after_ns: u64,
    #[serde(skip_serializing_if = "is_zero")]
    engine_seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_seq: Option<u64>,
}

#[derive(Debug, Serialize)]
struct MassCanceled {
    cl_ord_id: u64,
    count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    engine_seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_seq: Option<u64>,
}

#[derive(Debug, Serialize)]
struct SessionReject {
    ref_seq: u64,
    ref_template: u16,
    ref_tag: u16,
    reason: &'static str,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes fields by reference"
)]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn reason_word(reason: Option<RejectReason>) -> &'static str {
    reason.map_or("unknown", RejectReason::as_str)
}

impl Ev {
    fn of(
        message: &Message,
        server_seq: Option<u64>,
        name: impl Fn(InstrumentId) -> String,
    ) -> Option<Self> {
        Some(match message {
            Message::ExecutionReport(m) => Self::Execution(Execution::of(m, server_seq, name)),
            Message::CancelReject(m) => Self::CancelReject(Refusal::of_cancel(m, server_seq)),
            Message::BusinessReject(m) => Self::BusinessReject(Refusal::of_business(m)),
            Message::MassActionReport(m) => Self::MassCanceled(MassCanceled::of(m, server_seq)),
            Message::Reject(m) => Self::SessionReject(SessionReject::of(m)),
            _ => return None,
        })
    }

    fn json(&self) -> String {
        serde_json::to_string(self).expect("plain structs of numbers and text are always JSON")
    }

    fn text(&self) -> String {
        match self {
            Self::Execution(e) => e.text(),
            Self::CancelReject(r) => format!(
                "refused    #{} about {}: {}",
                r.cl_ord_id,
                r.order_name(),
                r.reason
            ),
            Self::BusinessReject(r) => {
                let mut line = format!("refused    #{} before matching: {}", r.cl_ord_id, r.reason);
                if r.retry_after_ns > 0 {
                    let _ = write!(line, ", room again in {} us", r.retry_after_ns / 1_000);
                }
                line
            }
            Self::MassCanceled(m) => match m.reason {
                None => format!("mass       #{} canceled {} orders", m.cl_ord_id, m.count),
                Some(reason) => format!("refused    #{} mass cancel: {reason}", m.cl_ord_id),
            },
            Self::SessionReject(r) => format!(
                "malformed  message {} (template {}): field {}: {}",
                r.ref_seq, r.ref_template, r.ref_tag, r.reason
            ),
        }
    }
}

impl Execution {
    fn of(
        m: &ExecutionReport,
        server_seq: Option<u64>,
        name: impl Fn(InstrumentId) -> String,
    ) -> Self {
        let rejected = m.exec_type == ExecType::Rejected;
        let priced = matches!(
            m.exec_type,
            ExecType::New | ExecType::Replaced | ExecType::Triggered
        );
        Self {
            exec_type: m.exec_type.as_str(),
            status: m.ord_status.as_str(),
            cl_ord_id: m.cl_ord_id.get(),
            orig_cl_ord_id: m.orig_cl_ord_id.get(),
            order_id: m.order_id.get(),
            account: m.account.get(),
            instrument: (!rejected).then(|| name(m.instrument)),
            side: (m.side != SideCode::Any).then(|| m.side.as_str()),
            price: priced.then(|| m.price.ticks()),
            trade: (m.exec_type == ExecType::Trade).then(|| Fill {
                price: m.last_px.ticks(),
                qty: m.last_qty.get(),
                liquidity: m.liquidity.as_str(),
                match_id: m.match_id,
            }),
            leaves_qty: m.leaves_qty.get(),
            cum_qty: m.cum_qty.get(),
            reason: if rejected {
                Some(reason_word(m.reason))
            } else {
                (m.end_reason != EndReason::None).then(|| m.end_reason.as_str())
            },
            transact_time_ns: m.transact_time.nanos(),
            engine_seq: m.engine_seq.get(),
            exec_id: m.exec_id.get(),
            server_seq,
        }
    }

    fn text(&self) -> String {
        let mut line = format!("{:<10} #{}", self.exec_type, self.cl_ord_id);
        if self.orig_cl_ord_id != 0 && self.orig_cl_ord_id != self.cl_ord_id {
            let _ = write!(line, " of #{}", self.orig_cl_ord_id);
        }
        for word in [self.side, self.instrument.as_deref()]
            .into_iter()
            .flatten()
        {
            let _ = write!(line, " {word}");
        }
        if let Some(fill) = &self.trade {
            let _ = write!(line, " {} @ {} ({})", fill.qty, fill.price, fill.liquidity);
        }
        if let Some(price) = self.price {
            let _ = write!(line, " @ {price}");
        }
        if let Some(reason) = self.reason {
            let _ = write!(line, " ({reason})");
        }
        if self.order_id != 0 {
            let (leaves, cum) = (self.leaves_qty, self.cum_qty);
            let _ = write!(
                line,
                " leaves {leaves} filled {cum} order {}",
                self.order_id
            );
        }
        let _ = write!(line, " seq {}", self.engine_seq);
        line
    }
}

impl Refusal {
    fn of_cancel(m: &CancelReject, server_seq: Option<u64>) -> Self {
        Self {
            cl_ord_id: m.cl_ord_id.get(),
            orig_cl_ord_id: m.orig_cl_ord_id.get(),
            order_id: m.order_id.get(),
            reason: reason_word(m.reason),
            retry_after_ns: 0,
            engine_seq: m.engine_seq.get(),
            server_seq,
        }
    }

    fn of_business(m: &BusinessReject) -> Self {
        Self {
            cl_ord_id: m.cl_ord_id.get(),
            orig_cl_ord_id: 0,
            order_id: 0,
            reason: reason_word(m.reason),
            retry_after_ns: m.retry_after,
            engine_seq: 0,
            server_seq: None,
        }
    }

    fn order_name(&self) -> String {
        match (self.orig_cl_ord_id, self.order_id) {
            (0, 0) => "an order it did not name".to_owned(),
            (0, id) => format!("order {id}"),
            (id, _) => format!("#{id}"),
        }
    }
}

impl MassCanceled {
    fn of(m: &MassActionReport, server_seq: Option<u64>) -> Self {
        Self {
            cl_ord_id: m.cl_ord_id.get(),
            count: m.affected,
            reason: m.reason.map(RejectReason::as_str),
            engine_seq: m.report_id.get(),
            server_seq,
        }
    }
}

impl SessionReject {
    fn of(m: &Reject) -> Self {
        Self {
            ref_seq: m.ref_seq,
            ref_template: m.ref_template,
            ref_tag: m.ref_tag,
            reason: m.reason.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use tessera_proto::Lots;
    use tessera_proto::codes::{Liquidity, OrdStatus};
    use tessera_types::{AccountId, ClOrdId, ExecId, OrderId, Price, Seq, Timestamp};

    use super::*;

    fn report(exec_type: ExecType) -> ExecutionReport {
        ExecutionReport {
            exec_id: ExecId::new(7 << 24),
            cl_ord_id: ClOrdId::new(12),
            orig_cl_ord_id: ClOrdId::new(0),
            order_id: OrderId::new(40),
            account: AccountId::new(1),
            instrument: InstrumentId::new(24),
            side: SideCode::Buy,
            exec_type,
            ord_status: OrdStatus::New,
            price: Price::from_ticks(100),
            last_px: Price::ZERO,
            last_qty: Lots::ZERO,
            leaves_qty: Lots::new(5),
            cum_qty: Lots::ZERO,
            match_id: 0,
            liquidity: Liquidity::None,
            ord_rej_reason: 0,
            end_reason: EndReason::None,
            fee: 0,
            transact_time: Timestamp::from_nanos(1_000),
            engine_seq: Seq::new(7),
            reason: None,
        }
    }

    fn check(message: impl Into<Message>, expected: Expect) {
        let message = message.into();
        let show = |json| line(&message, Some(3), json, |id| format!("I{id}")).unwrap();
        expected.assert_eq(&format!("{}\n{}\n", show(false), show(true)));
    }

    #[test]
    fn an_order_that_was_accepted() {
        check(
            report(ExecType::New),
            expect![[r#"
                new        #12 buy I24 @ 100 leaves 5 filled 0 order 40 seq 7
                {"ev":"execution","exec_type":"new","status":"new","cl_ord_id":12,"order_id":40,"account":1,"instrument":"I24","side":"buy","price":100,"leaves_qty":5,"cum_qty":0,"transact_time_ns":1000,"engine_seq":7,"exec_id":117440512,"server_seq":3}
            "#]],
        );
    }

    #[test]
    fn a_trade() {
        let trade = ExecutionReport {
            ord_status: OrdStatus::PartiallyFilled,
            last_px: Price::from_ticks(99),
            last_qty: Lots::new(2),
            leaves_qty: Lots::new(3),
            cum_qty: Lots::new(2),
            match_id: 9,
            liquidity: Liquidity::Removed,
            ..report(ExecType::Trade)
        };
        check(
            trade,
            expect![[r#"
                trade      #12 buy I24 2 @ 99 (removed) leaves 3 filled 2 order 40 seq 7
                {"ev":"execution","exec_type":"trade","status":"partially_filled","cl_ord_id":12,"order_id":40,"account":1,"instrument":"I24","side":"buy","trade":{"price":99,"qty":2,"liquidity":"removed","match_id":9},"leaves_qty":3,"cum_qty":2,"transact_time_ns":1000,"engine_seq":7,"exec_id":117440512,"server_seq":3}
            "#]],
        );
    }

    #[test]
    fn refusals() {
        let rejected = ExecutionReport {
            order_id: OrderId::new(0),
            side: SideCode::Any,
            reason: Some(RejectReason::BadPrice),
            leaves_qty: Lots::ZERO,
            ..report(ExecType::Rejected)
        };
        check(
            rejected,
            expect![[r#"
                rejected   #12 (bad_price) seq 7
                {"ev":"execution","exec_type":"rejected","status":"new","cl_ord_id":12,"account":1,"leaves_qty":0,"cum_qty":0,"reason":"bad_price","transact_time_ns":1000,"engine_seq":7,"exec_id":117440512,"server_seq":3}
            "#]],
        );
        let cancel = CancelReject {
            cl_ord_id: ClOrdId::new(13),
            orig_cl_ord_id: ClOrdId::new(12),
            order_id: OrderId::new(0),
            cxl_rej_reason: 1,
            ord_status: OrdStatus::Unknown,
            account: AccountId::new(1),
            engine_seq: Seq::new(8),
            reason: Some(RejectReason::UnknownOrder),
        };
        check(
            cancel,
            expect![[r#"
                refused    #13 about #12: unknown_order
                {"ev":"cancel_reject","cl_ord_id":13,"orig_cl_ord_id":12,"reason":"unknown_order","engine_seq":8,"server_seq":3}
            "#]],
        );
        let busy = BusinessReject {
            ref_seq: 4,
            ref_template: 20,
            business_reject_reason: 8,
            cl_ord_id: ClOrdId::new(14),
            reason: Some(RejectReason::Throttled),
            retry_after: 2_500,
        };
        check(
            busy,
            expect![[r#"
                refused    #14 before matching: throttled, room again in 2 us
                {"ev":"business_reject","cl_ord_id":14,"reason":"throttled","retry_after_ns":2500}
            "#]],
        );
    }

    #[test]
    fn the_end_of_an_order_names_its_request() {
        let canceled = ExecutionReport {
            orig_cl_ord_id: ClOrdId::new(4),
            leaves_qty: Lots::ZERO,
            end_reason: EndReason::User,
            ord_status: OrdStatus::Canceled,
            ..report(ExecType::Canceled)
        };
        check(
            canceled,
            expect![[r#"
                canceled   #12 of #4 buy I24 (user) leaves 0 filled 0 order 40 seq 7
                {"ev":"execution","exec_type":"canceled","status":"canceled","cl_ord_id":12,"orig_cl_ord_id":4,"order_id":40,"account":1,"instrument":"I24","side":"buy","leaves_qty":0,"cum_qty":0,"reason":"user","transact_time_ns":1000,"engine_seq":7,"exec_id":117440512,"server_seq":3}
            "#]],
        );
    }
}
