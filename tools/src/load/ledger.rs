//! The load's own books: what was asked, what was answered, and whether the two agree.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use tessera_proto::Message;
use tessera_proto::codes::{EndReason, ExecType};
use tessera_proto::session::Request;
use tessera_types::{ClOrdId, RejectReason, Seq};

/// The requests of one session, under ids without holes, and their answers.
///
/// Every request has exactly one answer; what else a request causes (trades, the end of an order) is
/// no answer and is counted apart. An answer to nothing, or a second one, is a fault of the exchange.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Id of the first entry of `open`.
    base: u64,
    /// Requests from the oldest without an answer on; answered ones between them are `None`.
    open: VecDeque<Option<Sent>>,
    unanswered: usize,
    /// Header number of the last numbered message.
    last_server_seq: Option<u64>,
    last_engine_seq: Seq,
    last_match: u64,
    tally: Tally,
    faults: Vec<String>,
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) kind: Kind,
    /// From when its latency counts.
    pub(crate) at: Instant,
}

/// What kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    New,
    Replace,
    Cancel,
    Reduce,
    Mass,
    /// The load's own question whether everything before it has been told; it counts nowhere.
    Fence,
}

impl Kind {
    pub(crate) const fn of(request: &Request) -> Self {
        match request {
            Request::New(_) => Self::New,
            Request::Replace(_) => Self::Replace,
            Request::Cancel(_) => Self::Cancel,
            Request::Reduce(_) => Self::Reduce,
            Request::Mass(_) => Self::Mass,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Replace => "replace",
            Self::Cancel => "cancel",
            Self::Reduce => "reduce",
            Self::Mass => "mass_cancel",
            Self::Fence => "fence",
        }
    }
}

/// What happened so far. Counts of several sessions add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Requests sent, by kind.
    pub(crate) sent: BTreeMap<&'static str, u64>,
    /// Requests that the engine carried out.
    pub(crate) accepted: u64,
    /// Those of them that entered an order.
    pub(crate) orders: u64,
    /// Requests that the engine or the gateway refused, by reason.
    pub(crate) rejects: BTreeMap<&'static str, u64>,
    /// Requests that were refused as busy and went again, refusals that are not among the rejects.
    pub(crate) busy_again: u64,
    /// Trades, each once although both its orders may be this session's.
    pub(crate) fills: u64,
    /// Lots traded.
    pub(crate) volume: u64,
    /// Price times quantity of the trades, in ticks x lots.
    pub(crate) notional: i128,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        for (kind, count) in &other.sent {
            *self.sent.entry(kind).or_default() += count;
        }
        self.accepted += other.accepted;
        self.orders += other.orders;
        for (reason, count) in &other.rejects {
            *self.rejects.entry(reason).or_default() += count;
        }
        self.busy_again += other.busy_again;
        self.fills += other.fills;
        self.volume += other.volume;
        self.notional += other.notional;
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.values().sum()
    }

    pub(crate) fn rejected(&self) -> u64 {
        self.rejects.values().sum()
    }

    pub(crate) fn reject(&mut self, reason: Option<RejectReason>) {
        let word = reason.map_or("unknown", RejectReason::as_str);
        *self.rejects.entry(word).or_default() += 1;
    }
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) id: ClOrdId,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Carried out, by the command at this place in the journal.
    Accepted(Seq),
    Rejected(Option<RejectReason>),
}

/// A request whose answer has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) answer: Answer,
    pub(crate) sent: Sent,
}

/// The answer that a message is, if it is one.
pub(crate) fn answer_of(message: &Message) -> Option<Answer> {
    let (id, reason, seq) = match message {
        Message::ExecutionReport(m) => {
            let by_request = m.orig_cl_ord_id.get() != 0;
            let answers = match m.exec_type {
                ExecType::New | ExecType::Rejected => true,
                ExecType::Replaced | ExecType::Reduced => by_request,
                // The answer to a mass cancel is its own report, after those of the orders.
                ExecType::Canceled => by_request && m.end_reason != EndReason::MassCancel,
                ExecType::Trade | ExecType::Expired | ExecType::Triggered => false,
            };
            if !answers {
                return None;
            }
            let rejected = m.exec_type == ExecType::Rejected;
            (m.cl_ord_id, rejected.then_some(m.reason), m.engine_seq)
        }
        Message::CancelReject(m) => (m.cl_ord_id, Some(m.reason), m.engine_seq),
        Message::BusinessReject(m) => (m.cl_ord_id, Some(m.reason), Seq::ZERO),
        Message::MassActionReport(m) => (
            m.cl_ord_id,
            m.reason.is_some().then_some(m.reason),
            m.report_id,
        ),
        _ => return None,
    };
    let outcome = reason.map_or(Outcome::Accepted(seq), Outcome::Rejected);
    Some(Answer { id, outcome })
}

impl Ledger {
    /// Books for a session whose first request will have this id.
    pub(crate) fn new(first: ClOrdId) -> Self {
        Self {
            base: first.get(),
            open: VecDeque::new(),
            unanswered: 0,
            last_server_seq: None,
            last_engine_seq: Seq::ZERO,
            last_match: 0,
            tally: Tally::default(),
            faults: Vec::new(),
        }
    }

    /// The id for the next request.
    pub(crate) fn next_id(&self) -> ClOrdId {
        ClOrdId::new(self.base + self.open.len() as u64)
    }

    /// Notes that the request with the next id is being sent.
    pub(crate) fn send(&mut self, kind: Kind, at: Instant) {
        self.open.push_back(Some(Sent { kind, at }));
        self.unanswered += 1;
        if kind != Kind::Fence {
            *self.tally.sent.entry(kind.as_str()).or_default() += 1;
        }
    }

    /// How many requests have no answer.
    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn tally_mut(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// Takes back that a new order or a replace was refused as busy: it is sent again under another id.
    pub(crate) fn forget_busy(&mut self) {
        if let Some(count) = self.tally.rejects.get_mut(RejectReason::Busy.as_str()) {
            *count -= 1;
            if *count == 0 {
                self.tally.rejects.remove(RejectReason::Busy.as_str());
            }
            self.tally.busy_again += 1;
        }
    }

    /// What the exchange did that it must not do, the first few.
    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Takes a message; `server_seq` is its header number on the stream of events. Gives the request
    /// that it answers.
    pub(crate) fn receive(&mut self, server_seq: Option<u64>, message: &Message) -> Option<Done> {
        if let Some(found) = server_seq {
            if let Some(last) = self.last_server_seq
                && found != last + 1
            {
                self.fault(format!("ServerSeq {found} came after {last}"));
            }
            self.last_server_seq = Some(found);
        }
        if let Message::ExecutionReport(m) = message {
            if m.engine_seq < self.last_engine_seq {
                let last = self.last_engine_seq;
                self.fault(format!(
                    "the report of command {} came after {last}",
                    m.engine_seq
                ));
            }
            self.last_engine_seq = m.engine_seq;
            if m.exec_type == ExecType::Trade && m.match_id != self.last_match {
                self.last_match = m.match_id;
                self.tally.fills += 1;
                self.tally.volume += m.last_qty.qty().lots();
                self.tally.notional += m.last_px.notional(m.last_qty.qty());
            }
        }
        let answer = answer_of(message)?;
        let Some(sent) = self.take(answer.id) else {
            self.fault(format!(
                "an answer came to request {}, which waits for none",
                answer.id
            ));
            return None;
        };
        match answer.outcome {
            _ if sent.kind == Kind::Fence => {}
            Outcome::Accepted(_) => {
                self.tally.accepted += 1;
                self.tally.orders += u64::from(sent.kind == Kind::New);
            }
            Outcome::Rejected(reason) => self.tally.reject(reason),
        }
        Some(Done { answer, sent })
    }

    fn take(&mut self, id: ClOrdId) -> Option<Sent> {
        let index = usize::try_from(id.get().checked_sub(self.base)?).ok()?;
        let sent = self.open.get_mut(index)?.take()?;
        self.unanswered -= 1;
        while let Some(None) = self.open.front() {
            self.open.pop_front();
            self.base += 1;
        }
        Some(sent)
    }

    fn fault(&mut self, what: String) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(what);
        }
    }
}

/// One fault tends to bring thousands more; the first ones explain it.
const MAX_FAULTS: usize = 10;

#[cfg(test)]
mod tests {
    use tessera_proto::Lots;
    use tessera_proto::codes::{Liquidity, OrdStatus, SideCode};
    use tessera_proto::message::{BusinessReject, CancelReject, ExecutionReport, MassActionReport};
    use tessera_types::{AccountId, ExecId, InstrumentId, OrderId, Price, Timestamp};

    use super::*;

    pub(crate) fn report(exec_type: ExecType, id: u64, orig: u64, seq: u64) -> ExecutionReport {
        ExecutionReport {
            exec_id: ExecId::new(seq << 24),
            cl_ord_id: ClOrdId::new(id),
            orig_cl_ord_id: ClOrdId::new(orig),
            order_id: OrderId::new(1),
            account: AccountId::new(1),
            instrument: InstrumentId::new(0),
            side: SideCode::Buy,
            exec_type,
            ord_status: OrdStatus::New,
            price: Price::ZERO,
            last_px: Price::ZERO,
            last_qty: Lots::ZERO,
            leaves_qty: Lots::ZERO,
            cum_qty: Lots::ZERO,
            match_id: 0,
            liquidity: Liquidity::None,
            ord_rej_reason: 0,
            end_reason: EndReason::None,
            fee: 0,
            transact_time: Timestamp::ZERO,
            engine_seq: Seq::new(seq),
            reason: None,
        }
    }

    fn trade(id: u64, match_id: u64, price: i64, lots: u32, seq: u64) -> ExecutionReport {
        ExecutionReport {
            match_id,
            last_px: Price::from_ticks(price),
            last_qty: Lots::new(lots),
            ..report(ExecType::Trade, id, 0, seq)
        }
    }

    fn ledger(kinds: &[Kind]) -> Ledger {
        let mut ledger = Ledger::new(ClOrdId::new(100));
        for kind in kinds {
            ledger.send(*kind, Instant::now());
        }
        ledger
    }

    /// Feeds messages with rising ServerSeqs; gives the ids answered, then the faults.
    fn check(ledger: &mut Ledger, messages: &[Message]) -> (Vec<u64>, Vec<String>) {
        let answered = messages
            .iter()
            .zip(1..)
            .filter_map(|(message, seq)| ledger.receive(Some(seq), message))
            .map(|done| done.answer.id.get())
            .collect();
        (answered, ledger.faults().to_vec())
    }

    #[test]
    fn every_request_is_answered_once_whatever_else_happens() {
        use ExecType::{Canceled, New, Reduced, Replaced};
        let kinds = [
            Kind::New,
            Kind::New,
            Kind::Replace,
            Kind::Reduce,
            Kind::Cancel,
        ];
        let mut ledger = ledger(&kinds);
        let (answered, faults) = check(
            &mut ledger,
            &[
                report(New, 100, 0, 1).into(),
                report(New, 101, 0, 2).into(),
                trade(100, 9, 50, 3, 2).into(),
                trade(101, 9, 50, 3, 2).into(),
                report(Replaced, 102, 100, 3).into(),
                report(Reduced, 103, 102, 4).into(),
                report(Canceled, 104, 102, 5).into(),
                report(Canceled, 101, 0, 6).into(), // by the exchange: no answer
            ],
        );
        assert_eq!(answered, [100, 101, 102, 103, 104]);
        assert_eq!(faults, [""; 0]);
        let tally = ledger.tally();
        assert_eq!((tally.sent(), tally.accepted, tally.rejected()), (5, 5, 0));
        assert_eq!(tally.orders, 2);
        assert_eq!((tally.fills, tally.volume, tally.notional), (1, 3, 150));
        assert_eq!(ledger.unanswered(), 0);
        assert_eq!(ledger.next_id(), ClOrdId::new(105));
    }

    #[test]
    fn rejections_answer_too_and_count_by_reason() {
        let mut ledger = ledger(&[Kind::New, Kind::Cancel, Kind::New, Kind::Mass, Kind::Mass]);
        let rejected = ExecutionReport {
            reason: Some(RejectReason::BadPrice),
            ..report(ExecType::Rejected, 100, 0, 1)
        };
        let cancel = CancelReject {
            cl_ord_id: ClOrdId::new(101),
            orig_cl_ord_id: ClOrdId::new(7),
            order_id: OrderId::new(0),
            cxl_rej_reason: 1,
            ord_status: OrdStatus::Unknown,
            account: AccountId::new(1),
            engine_seq: Seq::new(2),
            reason: Some(RejectReason::UnknownOrder),
        };
        let busy = BusinessReject {
            ref_seq: 3,
            ref_template: 20,
            business_reject_reason: 4,
            cl_ord_id: ClOrdId::new(102),
            reason: Some(RejectReason::Busy),
            retry_after: 0,
        };
        let mass = |id, reason| MassActionReport {
            report_id: Seq::new(5),
            cl_ord_id: ClOrdId::new(id),
            account: AccountId::new(0),
            action: tessera_proto::codes::MassActionType::Cancel,
            affected: 1,
            reason,
        };
        let by_mass = ExecutionReport {
            end_reason: EndReason::MassCancel,
            ..report(ExecType::Canceled, 103, 99, 5)
        };
        let (answered, faults) = check(
            &mut ledger,
            &[
                rejected.into(),
                cancel.into(),
                busy.into(),
                by_mass.into(),
                mass(103, None).into(),
                mass(104, Some(RejectReason::Throttled)).into(),
            ],
        );
        assert_eq!(answered, [100, 101, 102, 103, 104]);
        assert_eq!(faults, [""; 0]);
        let rejects: Vec<_> = ledger.tally().rejects.clone().into_iter().collect();
        assert_eq!(
            rejects,
            [
                ("bad_price", 1),
                ("busy", 1),
                ("throttled", 1),
                ("unknown_order", 1)
            ]
        );
        assert_eq!(ledger.tally().accepted, 1);
    }

    #[test]
    fn what_the_exchange_must_not_do_is_noticed() {
        let mut ledger = ledger(&[Kind::New]);
        let new = |id, seq| Message::from(report(ExecType::New, id, 0, seq));
        let (_, faults) = check(
            &mut ledger,
            &[new(100, 5), new(100, 5), new(99, 5), new(101, 4)],
        );
        assert_eq!(
            faults,
            [
                "an answer came to request 100, which waits for none",
                "an answer came to request 99, which waits for none",
                "the report of command 4 came after 5",
                "an answer came to request 101, which waits for none",
            ]
        );
        ledger.receive(Some(6), &new(1, 9));
        assert_eq!(ledger.faults()[4], "ServerSeq 6 came after 4");
    }

    #[test]
    fn answers_out_of_order_find_their_requests() {
        let mut ledger = ledger(&[Kind::New; 3]);
        let new = |id| Message::from(report(ExecType::New, id, 0, 1));
        let (answered, faults) = check(&mut ledger, &[new(102), new(100), new(101)]);
        assert_eq!((answered, faults.len()), (vec![102, 100, 101], 0));
        assert_eq!(ledger.next_id(), ClOrdId::new(103));
    }
}
