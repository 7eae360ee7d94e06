//! Between messages and the engine's vocabulary: requests become commands, events become reports.
//!
//! Everything here is a pure function. The edge narrows quantities to the 32 bits of the wire with a
//! check, and what the protocol can say and the exchange cannot do yet is refused by name.

use tessera_types::{
    Aggressor, Cancel, ClOrdId, ClientHeader, Command, CommandKind, ContractTerms, Event,
    EventRecord, ExecInst, Generation, Instrument, InstrumentId, ListInstrument, MassCancel, Name,
    NewOrder, OrdType, OrderTarget, Partition, Party, Phase, Price, Qty, Reduce, RejectReason,
    Replace, Requester, ServerSeq, SessionId, SetPhase, Side, Timestamp, wire,
};

use crate::codes::{
    EndReason, ExecType, InstrumentKind, Liquidity, MassActionScope, MassActionType, OrdStatus,
    SideCode, cxl_rej_reason, ord_rej_reason,
};
use crate::field::{Lots, Text, TextError, TooManyLots};
use crate::header::Flags;
use crate::message::{
    AdminCommand, AdminInstrument, AdminPhase, AdminReply, Body, CancelReject, CancelReplace,
    Changes, ExecInstBits, ExecutionReport, MassAction, MassActionReport, NO_INSTRUMENT,
    NewOrderSingle, PayloadPart, SecurityDefinition,
};
use crate::session::Request;

/// What the gateway knows about a request beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The session.
    pub session: SessionId,
    /// Its present life.
    pub generation: Generation,
    /// When the request was received (UTC).
    pub received: Timestamp,
}

impl Origin {
    const fn header(self, account: tessera_types::AccountId, cl_ord_id: ClOrdId) -> ClientHeader {
        ClientHeader {
            session: self.session,
            generation: self.generation,
            account,
            cl_ord_id,
            received: self.received,
        }
    }
}

impl Request {
    /// The command that this request is.
    ///
    /// # Errors
    /// The reason to refuse it with before it reaches the engine: a feature that the protocol can
    /// express and the exchange does not have, or fields that contradict each other.
    pub fn command(&self, origin: Origin) -> Result<Command, RejectReason> {
        match self {
            Self::New(message) => new_order(message, origin).map(Command::NewOrder),
            Self::Replace(message) => replace(message, origin).map(Command::Replace),
            Self::Cancel(message) => Ok(Command::Cancel(Cancel {
                header: origin.header(message.account, message.cl_ord_id),
                target: target(message.order_id, message.orig_cl_ord_id)?,
            })),
            Self::Reduce(message) => Ok(Command::Reduce(Reduce {
                header: origin.header(message.account, message.cl_ord_id),
                target: target(message.order_id, message.orig_cl_ord_id)?,
                by: message.by.qty(),
            })),
            Self::Mass(message) => mass_cancel(message, origin).map(Command::MassCancel),
        }
    }

    /// The account that the request acts for, 0 = not said.
    #[must_use]
    pub const fn account(&self) -> tessera_types::AccountId {
        match self {
            Self::New(m) => m.account,
            Self::Replace(m) => m.account,
            Self::Cancel(m) => m.account,
            Self::Reduce(m) => m.account,
            Self::Mass(m) => m.account,
        }
    }
}

fn new_order(message: &NewOrderSingle, origin: Origin) -> Result<NewOrder, RejectReason> {
    if message.smp_id != 0 || message.mmp_group != 0 {
        return Err(RejectReason::Unsupported);
    }
    Ok(NewOrder {
        header: origin.header(message.account, message.cl_ord_id),
        instrument: message.instrument,
        side: message.side,
        ord_type: message.ord_type,
        time_in_force: message.time_in_force,
        self_match: message.smp_mode,
        exec_inst: exec_inst(message.exec_inst)?,
        price: message.price,
        qty: message.order_qty.qty(),
        min_qty: message.min_qty.qty(),
        display: message.display_qty.qty(),
        trigger: message.stop_px,
        expire: message.expire_time,
        budget: None,
        backing: tessera_types::Backing::NOTHING,
    })
}

fn exec_inst(bits: ExecInstBits) -> Result<ExecInst, RejectReason> {
    if bits.contains(ExecInstBits::REDUCE_ONLY) {
        return Err(RejectReason::Unsupported);
    }
    let pairs = [
        (ExecInstBits::POST_ONLY, ExecInst::POST_ONLY),
        (ExecInstBits::ALL_OR_NONE, ExecInst::ALL_OR_NONE),
        (
            ExecInstBits::STAY_ON_DISCONNECT,
            ExecInst::STAY_ON_DISCONNECT,
        ),
        (
            ExecInstBits::CANCEL_ON_SYSTEM_FAILURE,
            ExecInst::CANCEL_ON_SYSTEM_FAILURE,
        ),
    ];
    Ok(pairs
        .into_iter()
        .filter(|&(wire, _)| bits.contains(wire))
        .fold(ExecInst::NONE, |all, (_, bit)| all.with(bit)))
}

fn replace(message: &CancelReplace, origin: Origin) -> Result<Replace, RejectReason> {
    if message.changes == Changes::NONE {
        return Err(RejectReason::MissingField);
    }
    let unsupported = message.min_qty != Lots::ZERO
        || message.expire_time != Timestamp::ZERO
        || message.exec_inst != ExecInstBits::NONE;
    if unsupported {
        return Err(RejectReason::Unsupported);
    }
    let changes = |bit| message.changes.contains(bit);
    Ok(Replace {
        header: origin.header(message.account, message.cl_ord_id),
        target: target(message.order_id, message.orig_cl_ord_id)?,
        price: changes(Changes::PRICE).then_some(message.price),
        qty: changes(Changes::QTY).then(|| message.order_qty.qty()),
        stop: changes(Changes::STOP).then_some(message.stop_px),
        new_id: Some(message.cl_ord_id),
    })
}

fn target(
    order_id: tessera_types::OrderId,
    cl_ord_id: ClOrdId,
) -> Result<OrderTarget, RejectReason> {
    match (order_id.get(), cl_ord_id.get()) {
        (0, 0) => Err(RejectReason::MissingField),
        (0, _) => Ok(OrderTarget::Client(cl_ord_id)),
        _ => Ok(OrderTarget::Exchange(order_id)),
    }
}

fn mass_cancel(message: &MassAction, origin: Origin) -> Result<MassCancel, RejectReason> {
    if message.product != 0 || message.mmp_group != 0 {
        return Err(RejectReason::Unsupported);
    }
    let account = message.account;
    Ok(MassCancel {
        header: origin.header(account, message.cl_ord_id),
        account: (account.get() != 0).then_some(account),
        instrument: match message.scope {
            MassActionScope::All => None,
            MassActionScope::Instrument => Some(message.instrument),
        },
        side: message.side.side(),
    })
}

/// A message of the engine to one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Something happened to an order.
    Execution(ExecutionReport),
    /// A cancel, replace or reduce was refused.
    CancelReject(CancelReject),
    /// A mass action is complete, or refused.
    MassAction(MassActionReport),
    /// An admin command is durable, or refused.
    Admin(AdminReply),
}

impl Report {
    /// Appends the frame with its ServerSeq.
    pub fn encode_frame(&self, seq: ServerSeq, out: &mut Vec<u8>) {
        let seq = seq.get();
        match self {
            Self::Execution(m) => m.encode_frame(seq, Flags::NONE, out),
            Self::CancelReject(m) => m.encode_frame(seq, Flags::NONE, out),
            Self::MassAction(m) => m.encode_frame(seq, Flags::NONE, out),
            Self::Admin(m) => m.encode_frame(seq, Flags::NONE, out),
        }
    }
}

/// Gives every message that an event is to sessions: none, one, or two for a trade (maker first).
/// Each comes with its session and ServerSeq; the venue's own session gets none.
///
/// # Errors
/// [`TooManyLots`] when a quantity does not fit the wire, which orders that came over it never cause.
pub fn reports(
    record: &EventRecord,
    mut tell: impl FnMut(SessionId, ServerSeq, Report),
) -> Result<(), TooManyLots> {
    let mut send = |session: SessionId, seq: ServerSeq, report: Report| {
        if session != SessionId::VENUE {
            tell(session, seq, report);
        }
    };
    match record.event {
        Event::OrderAccepted {
            party,
            instrument,
            side,
            price,
            qty,
        } => {
            let mut report = execution(record, &party, instrument, side.into(), ExecType::New);
            report.price = price;
            report.leaves_qty = qty.try_into()?;
            send(party.session, party.server_seq, Report::Execution(report));
        }
        Event::Trade {
            instrument,
            aggressor,
            maker_side,
            price,
            qty,
            maker,
            taker,
            maker_leaves,
            taker_leaves,
            maker_cum,
            taker_cum,
        } => {
            let (added, removed) = match aggressor {
                Aggressor::Buy | Aggressor::Sell => (Liquidity::Added, Liquidity::Removed),
                Aggressor::None => (Liquidity::Auction, Liquidity::Auction),
            };
            for (party, side, liquidity, leaves, cum) in [
                (maker, maker_side, added, maker_leaves, maker_cum),
                (
                    taker,
                    maker_side.opposite(),
                    removed,
                    taker_leaves,
                    taker_cum,
                ),
            ] {
                let mut report =
                    execution(record, &party, instrument, side.into(), ExecType::Trade);
                report.ord_status = live_status(leaves, cum);
                report.last_px = price;
                report.last_qty = qty.try_into()?;
                report.leaves_qty = leaves.try_into()?;
                report.cum_qty = cum.try_into()?;
                report.match_id = record.exec_id().get();
                report.liquidity = liquidity;
                send(party.session, party.server_seq, Report::Execution(report));
            }
        }
        Event::OrderCanceled {
            party,
            instrument,
            side,
            cum,
            reason,
            request,
            ..
        } => {
            let mut report = execution(record, &party, instrument, side.into(), ExecType::Canceled);
            by_request(&mut report, &party, request);
            report.ord_status = OrdStatus::Canceled;
            report.cum_qty = cum.try_into()?;
            report.end_reason = reason.into();
            send(party.session, party.server_seq, Report::Execution(report));
        }
        Event::OrderReduced {
            party,
            instrument,
            side,
            leaves,
            cum,
            self_match,
            inventory,
            request,
        } => {
            let mut report = execution(record, &party, instrument, side.into(), ExecType::Reduced);
            by_request(&mut report, &party, request);
            report.ord_status = live_status(leaves, cum);
            report.leaves_qty = leaves.try_into()?;
            report.cum_qty = cum.try_into()?;
            report.end_reason = if self_match {
                EndReason::SelfMatch
            } else if inventory {
                EndReason::Inventory
            } else {
                EndReason::User
            };
            send(party.session, party.server_seq, Report::Execution(report));
        }
        Event::OrderReplaced {
            party,
            old_id,
            instrument,
            side,
            price,
            qty,
            leaves,
        } => {
            let mut report = execution(record, &party, instrument, side.into(), ExecType::Replaced);
            let cum = qty.saturating_sub(leaves);
            report.orig_cl_ord_id = old_id;
            report.ord_status = live_status(leaves, cum);
            report.price = price;
            report.leaves_qty = leaves.try_into()?;
            report.cum_qty = cum.try_into()?;
            send(party.session, party.server_seq, Report::Execution(report));
        }
        Event::OrderTriggered {
            party,
            instrument,
            side,
            stop,
        } => {
            let mut report =
                execution(record, &party, instrument, side.into(), ExecType::Triggered);
            report.ord_status = OrdStatus::Unknown;
            report.price = stop;
            send(party.session, party.server_seq, Report::Execution(report));
        }
        Event::OrderExpired {
            party,
            instrument,
            side,
            cum,
            reason,
            ..
        } => {
            let mut report = execution(record, &party, instrument, side.into(), ExecType::Expired);
            report.ord_status = OrdStatus::Expired;
            report.cum_qty = cum.try_into()?;
            report.end_reason = reason.into();
            send(party.session, party.server_seq, Report::Execution(report));
        }
        Event::MassCanceled {
            session,
            account,
            server_seq,
            cl_ord_id,
            count,
        } => {
            let report = MassActionReport {
                report_id: record.seq,
                cl_ord_id,
                account,
                action: MassActionType::Cancel,
                affected: count,
                reason: None,
            };
            send(session, server_seq, Report::MassAction(report));
        }
        Event::Rejected {
            session,
            server_seq,
            ..
        } => {
            if let Some(report) = rejection(record) {
                send(session, server_seq, report);
            }
        }
        Event::InstrumentListed { instrument, by } | Event::PhaseChanged { by, instrument, .. } => {
            admin(record, by, instrument, &mut send);
        }
        Event::CatalogueSet { by, .. } => admin(record, by, NO_INSTRUMENT, &mut send),
        Event::Account(event) => {
            if let Some(by) = event.by() {
                admin(record, *by, NO_INSTRUMENT, &mut send);
            }
        }
        Event::AuctionCleared { .. }
        | Event::Indicative { .. }
        | Event::SessionStarted { .. }
        | Event::SessionFenced { .. }
        | Event::Contract(_)
        | Event::Level { .. } => {}
    }
    Ok(())
}

fn execution(
    record: &EventRecord,
    party: &Party,
    instrument: InstrumentId,
    side: SideCode,
    exec_type: ExecType,
) -> ExecutionReport {
    ExecutionReport {
        exec_id: record.exec_id(),
        cl_ord_id: party.cl_ord_id,
        orig_cl_ord_id: ClOrdId::new(0),
        order_id: party.order_id,
        account: party.account,
        instrument,
        side,
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
        transact_time: record.time,
        engine_seq: record.seq,
        reason: None,
    }
}

/// As FIX chains ids: the request's own first, the order's as the original.
fn by_request(report: &mut ExecutionReport, party: &Party, request: ClOrdId) {
    if request.get() != 0 {
        report.cl_ord_id = request;
        report.orig_cl_ord_id = party.cl_ord_id;
    }
}

const fn live_status(leaves: Qty, cum: Qty) -> OrdStatus {
    if leaves.is_zero() {
        OrdStatus::Filled
    } else if cum.is_zero() {
        OrdStatus::New
    } else {
        OrdStatus::PartiallyFilled
    }
}

fn rejection(record: &EventRecord) -> Option<Report> {
    let Event::Rejected {
        session,
        account,
        server_seq,
        cl_ord_id,
        target,
        kind,
        reason,
        instrument,
        side,
    } = record.event
    else {
        return None;
    };
    Some(match kind {
        CommandKind::New
        | CommandKind::MassQuote
        | CommandKind::Sub
        | CommandKind::Block
        | CommandKind::Carve
        | CommandKind::Rfq
        | CommandKind::Quote
        | CommandKind::Preempt => {
            let party = Party {
                session,
                account,
                cl_ord_id,
                order_id: tessera_types::OrderId::new(0),
                server_seq,
            };
            let mut report = execution(
                record,
                &party,
                instrument.unwrap_or(NO_INSTRUMENT),
                side.map_or(SideCode::Any, SideCode::from),
                ExecType::Rejected,
            );
            report.ord_status = OrdStatus::Rejected;
            report.ord_rej_reason = ord_rej_reason(reason);
            report.reason = Some(reason);
            Report::Execution(report)
        }
        CommandKind::Cancel | CommandKind::Reduce | CommandKind::Replace => {
            Report::CancelReject(CancelReject {
                cl_ord_id,
                orig_cl_ord_id: target,
                order_id: tessera_types::OrderId::new(0),
                cxl_rej_reason: cxl_rej_reason(reason),
                ord_status: OrdStatus::Unknown,
                account,
                engine_seq: record.seq,
                reason: Some(reason),
            })
        }
        CommandKind::MassCancel => Report::MassAction(MassActionReport {
            report_id: record.seq,
            cl_ord_id,
            account,
            action: MassActionType::Cancel,
            affected: 0,
            reason: Some(reason),
        }),
        CommandKind::Instrument
        | CommandKind::Phase
        | CommandKind::Catalogue
        | CommandKind::Pool
        | CommandKind::Attest
        | CommandKind::Limit
        | CommandKind::Award
        | CommandKind::Account
        | CommandKind::Deposit
        | CommandKind::Withdraw
        | CommandKind::Credit
        | CommandKind::Limits
        | CommandKind::Kill
        | CommandKind::Margin
        | CommandKind::RiskBegin
        | CommandKind::RiskRow
        | CommandKind::RiskCommit
        | CommandKind::RiskAge => Report::Admin(AdminReply {
            cl_ord_id,
            reason: Some(reason),
            instrument: NO_INSTRUMENT,
            engine_seq: record.seq,
        }),
        CommandKind::SessionLogon
        | CommandKind::SessionFence
        | CommandKind::Time
        | CommandKind::Restart
        | CommandKind::Reopen => return None,
    })
}

fn admin(
    record: &EventRecord,
    by: Requester,
    instrument: InstrumentId,
    send: &mut impl FnMut(SessionId, ServerSeq, Report),
) {
    let reply = AdminReply {
        cl_ord_id: by.cl_ord_id,
        reason: None,
        instrument,
        engine_seq: record.seq,
    };
    send(by.session, by.server_seq, Report::Admin(reply));
}

impl SecurityDefinition {
    /// The message that describes an instrument.
    #[must_use]
    pub fn new(id: InstrumentId, instrument: &Instrument, phase: Phase) -> Self {
        let terms = instrument.terms;
        let hour = |hours: u64| Timestamp::from_nanos(hours.saturating_mul(HOUR_NS));
        let start = terms.map_or(0, |t| u64::from(t.start_hour));
        let hours = terms.map_or(0, |t| u64::from(t.hours));
        let weight = terms.map_or(0, |t| t.weight);
        Self {
            instrument: id,
            symbol: Text::clipped(instrument.name.as_str()),
            kind: kind(instrument),
            class: terms.map_or(0, |t| t.class),
            partition: terms.map_or(Partition::TimeSlice, |t| t.partition),
            profile: terms.map_or(0, |t| t.profile),
            tier: terms.map_or(0, |t| t.tier),
            zone: terms.map_or(0, |t| t.zone),
            delivery_start: hour(start),
            delivery_end: hour(if terms.is_some() { start + hours } else { 0 }),
            attestation: u8::from(terms.is_some_and(|t| t.partition == Partition::Tee)),
            tick: instrument.tick,
            lot: instrument.lot,
            lot_gpu_seconds: u32::try_from(hours * 3_600 * u64::from(weight) / 10_000)
                .unwrap_or(u32::MAX),
            min_price: instrument.min_price,
            max_price: instrument.max_price,
            min_qty: instrument.min_qty,
            max_qty: instrument.max_qty,
            tick_micro_usd: instrument.tick_micro_usd,
            weight,
            phase,
        }
    }
}

impl AdminInstrument {
    /// The message that lists an instrument.
    ///
    /// # Errors
    /// [`TextError`] when its name has other characters than printable ASCII.
    pub fn new(cl_ord_id: ClOrdId, instrument: &Instrument) -> Result<Self, TextError> {
        let terms = instrument.terms;
        Ok(Self {
            cl_ord_id,
            symbol: Text::new(instrument.name.as_str())?,
            kind: kind(instrument),
            class: terms.map_or(0, |t| t.class),
            partition: terms.map_or(Partition::TimeSlice, |t| t.partition),
            profile: terms.map_or(0, |t| t.profile),
            tier: terms.map_or(0, |t| t.tier),
            zone: terms.map_or(0, |t| t.zone),
            start_hour: terms.map_or(0, |t| t.start_hour),
            hours: terms.map_or(0, |t| t.hours),
            weight: terms.map_or(0, |t| t.weight),
            tick: instrument.tick,
            lot: instrument.lot,
            min_price: instrument.min_price,
            max_price: instrument.max_price,
            min_qty: instrument.min_qty,
            max_qty: instrument.max_qty,
            tick_micro_usd: instrument.tick_micro_usd,
            has_ref_price: instrument.ref_price.is_some(),
            ref_price: instrument.ref_price.unwrap_or(Price::ZERO),
            has_protect: instrument.protect.is_some(),
            protect: instrument.protect.unwrap_or(0),
            algo: instrument.algo,
            min_alloc: instrument.min_alloc,
            top_min: instrument.top_min,
            top_max: instrument.top_max,
            fifo_pct: instrument.fifo_pct,
        })
    }

    /// The command that this message is.
    ///
    /// # Errors
    /// [`RejectReason::BadField`] when it has no name. Everything else is judged by the engine.
    pub fn command(&self, origin: Origin) -> Result<Command, RejectReason> {
        let name = Name::new(self.symbol.as_str()).map_err(|_| RejectReason::BadField)?;
        let instrument = Instrument {
            name,
            tick: self.tick,
            lot: self.lot,
            min_price: self.min_price,
            max_price: self.max_price,
            min_qty: self.min_qty,
            max_qty: self.max_qty,
            ref_price: self.has_ref_price.then_some(self.ref_price),
            protect: self.has_protect.then_some(self.protect),
            algo: self.algo,
            min_alloc: self.min_alloc,
            top_min: self.top_min,
            top_max: self.top_max,
            fifo_pct: self.fifo_pct,
            tick_micro_usd: self.tick_micro_usd,
            volatility: None,
            indicative: false,
            terms: (self.kind == InstrumentKind::Compute).then_some(ContractTerms {
                class: self.class,
                partition: self.partition,
                profile: self.profile,
                tier: self.tier,
                zone: self.zone,
                start_hour: self.start_hour,
                hours: self.hours,
                weight: self.weight,
                windows: 1,
                reclaim: None,
            }),
        };
        let header = origin.header(tessera_types::AccountId::new(0), self.cl_ord_id);
        Ok(Command::ListInstrument(Box::new(ListInstrument {
            header,
            instrument,
        })))
    }
}

impl AdminPhase {
    /// The command that this message is.
    #[must_use]
    pub fn command(&self, origin: Origin) -> Command {
        Command::SetPhase(SetPhase {
            header: origin.header(tessera_types::AccountId::new(0), self.cl_ord_id),
            instrument: self.instrument,
            phase: self.phase,
            ref_price: self.has_ref_price.then_some(self.ref_price),
        })
    }
}

impl AdminCommand {
    /// The message that asks for this command; whose header does not travel.
    ///
    /// # Errors
    /// [`wire::EncodeError`] when the command is none of those that travel so.
    pub fn new(cl_ord_id: ClOrdId, command: &Command) -> Result<Self, wire::EncodeError> {
        let mut bytes = Vec::with_capacity(960);
        let record_type = wire::encode_command(command, Timestamp::ZERO, &mut bytes)?;
        let travels = matches!(command, Command::Account(_) | Command::RiskParams(_));
        let payload_len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let mut parts = Vec::with_capacity(bytes.len().div_ceil(8));
        for chunk in bytes.chunks(8) {
            let mut part = PayloadPart { bytes: [0; 8] };
            part.bytes[..chunk.len()].copy_from_slice(chunk);
            parts.push(part);
        }
        if !travels || parts.len() > Self::MAX_PARTS {
            return Err(wire::EncodeError::TooLarge(bytes.len()));
        }
        Ok(Self {
            cl_ord_id,
            record_type,
            payload_len,
            parts,
        })
    }

    /// The command that this message is.
    ///
    /// # Errors
    /// [`RejectReason::BadField`] when the bytes are no command about accounts or risk parameters.
    pub fn command(&self, origin: Origin) -> Result<Command, RejectReason> {
        let payload = self.parts.iter().map(|part| part.bytes);
        let payload: Vec<u8> = payload.flatten().collect();
        let len = usize::from(self.payload_len);
        let (payload, padding) = payload
            .split_at_checked(len)
            .ok_or(RejectReason::BadField)?;
        if padding.len() >= 8 || padding.iter().any(|&byte| byte != 0) {
            return Err(RejectReason::BadField);
        }
        let header = origin.header(tessera_types::AccountId::new(0), self.cl_ord_id);
        match wire::decode_command(self.record_type, Timestamp::ZERO, payload) {
            Ok(Command::Account(mut request)) => {
                request.header = header;
                Ok(Command::Account(request))
            }
            Ok(Command::RiskParams(mut request)) => {
                request.header = header;
                Ok(Command::RiskParams(request))
            }
            Ok(_) | Err(_) => Err(RejectReason::BadField),
        }
    }
}

const fn kind(instrument: &Instrument) -> InstrumentKind {
    if instrument.terms.is_some() {
        InstrumentKind::Compute
    } else {
        InstrumentKind::Plain
    }
}

impl NewOrderSingle {
    /// A plain good-till-cancel limit order; change what differs.
    #[must_use]
    pub const fn limit(
        cl_ord_id: ClOrdId,
        account: tessera_types::AccountId,
        instrument: InstrumentId,
        side: Side,
        price: Price,
        order_qty: Lots,
    ) -> Self {
        Self {
            cl_ord_id,
            account,
            instrument,
            side,
            ord_type: OrdType::Limit,
            time_in_force: tessera_types::TimeInForce::Gtc,
            price,
            order_qty,
            min_qty: Lots::ZERO,
            display_qty: Lots::ZERO,
            stop_px: 0,
            expire_time: Timestamp::ZERO,
            exec_inst: ExecInstBits::NONE,
            smp_id: 0,
            smp_mode: tessera_types::SelfMatch::None,
            mmp_group: 0,
            transact_time: Timestamp::ZERO,
        }
    }
}

const HOUR_NS: u64 = 3_600_000_000_000;

#[cfg(test)]
mod tests {
    use tessera_types::{
        AccountId, CancelReason, ExpireReason, MatchAlgo, OrderId, SelfMatch, Seq, TimeInForce,
    };

    use super::*;
    use crate::message::Cancel as CancelMessage;

    const ORIGIN: Origin = Origin {
        session: SessionId::new(3),
        generation: Generation::new(4),
        received: Timestamp::from_nanos(5),
    };

    fn party(id: u64, server_seq: u64) -> Party {
        Party {
            session: SessionId::new(3),
            account: AccountId::new(8),
            cl_ord_id: ClOrdId::new(id),
            order_id: OrderId::new(100 + id),
            server_seq: ServerSeq::new(server_seq),
        }
    }

    fn record(event: Event) -> EventRecord {
        EventRecord {
            seq: Seq::new(9),
            time: Timestamp::from_nanos(77),
            received: Timestamp::ZERO,
            index: 1,
            last: true,
            event,
        }
    }

    fn told(event: Event) -> Vec<(u64, Report)> {
        let mut told = Vec::new();
        reports(&record(event), |session, seq, report| {
            assert_eq!(session, SessionId::new(3));
            told.push((seq.get(), report));
        })
        .unwrap();
        told
    }

    fn execution_of(event: Event) -> ExecutionReport {
        match told(event)[..] {
            [(_, Report::Execution(report))] => report,
            ref other => panic!("{other:?}"),
        }
    }

    fn qty(lots: u64) -> Qty {
        Qty::from_lots(lots)
    }

    fn limit(id: u64) -> NewOrderSingle {
        NewOrderSingle::limit(
            ClOrdId::new(id),
            AccountId::new(8),
            InstrumentId::new(2),
            Side::Sell,
            Price::from_ticks(250),
            Lots::new(6),
        )
    }

    #[test]
    fn an_order_keeps_every_field_on_its_way_to_the_engine() {
        let mut message = limit(7);
        message.ord_type = OrdType::Iceberg;
        message.time_in_force = TimeInForce::Gtd;
        message.min_qty = Lots::new(1);
        message.display_qty = Lots::new(2);
        message.stop_px = -3;
        message.expire_time = Timestamp::from_nanos(4);
        message.smp_mode = SelfMatch::Decrement;
        message.exec_inst = ExecInstBits::POST_ONLY.with(ExecInstBits::STAY_ON_DISCONNECT);
        let expected = NewOrder {
            header: ClientHeader {
                session: SessionId::new(3),
                generation: Generation::new(4),
                account: AccountId::new(8),
                cl_ord_id: ClOrdId::new(7),
                received: Timestamp::from_nanos(5),
            },
            instrument: InstrumentId::new(2),
            side: Side::Sell,
            ord_type: OrdType::Iceberg,
            time_in_force: TimeInForce::Gtd,
            self_match: SelfMatch::Decrement,
            exec_inst: ExecInst::POST_ONLY.with(ExecInst::STAY_ON_DISCONNECT),
            price: Price::from_ticks(250),
            qty: qty(6),
            min_qty: qty(1),
            display: qty(2),
            trigger: -3,
            expire: Timestamp::from_nanos(4),
            budget: None,
            backing: tessera_types::Backing::NOTHING,
        };
        assert_eq!(
            Request::New(message).command(ORIGIN),
            Ok(Command::NewOrder(expected))
        );
    }

    #[test]
    fn each_wire_instruction_is_one_of_the_engine() {
        for (wire, engine) in [
            (ExecInstBits::NONE, ExecInst::NONE),
            (ExecInstBits::POST_ONLY, ExecInst::POST_ONLY),
            (
                ExecInstBits::STAY_ON_DISCONNECT,
                ExecInst::STAY_ON_DISCONNECT,
            ),
            (
                ExecInstBits::CANCEL_ON_SYSTEM_FAILURE,
                ExecInst::CANCEL_ON_SYSTEM_FAILURE,
            ),
            (ExecInstBits::ALL_OR_NONE, ExecInst::ALL_OR_NONE),
        ] {
            assert_eq!(exec_inst(wire), Ok(engine));
        }
    }

    #[test]
    fn what_the_exchange_lacks_is_refused_by_name() {
        let refused = |change: fn(&mut NewOrderSingle)| {
            let mut message = limit(7);
            change(&mut message);
            let command = Request::New(message).command(ORIGIN);
            assert_eq!(command, Err(RejectReason::Unsupported));
        };
        refused(|order| order.exec_inst = ExecInstBits::REDUCE_ONLY);
        refused(|order| order.smp_id = 1);
        refused(|order| order.mmp_group = 1);
    }

    fn change(changes: Changes) -> CancelReplace {
        CancelReplace {
            cl_ord_id: ClOrdId::new(11),
            account: AccountId::new(8),
            orig_cl_ord_id: ClOrdId::new(7),
            order_id: OrderId::new(0),
            price: Price::from_ticks(1),
            order_qty: Lots::new(2),
            min_qty: Lots::ZERO,
            stop_px: Price::from_ticks(3),
            expire_time: Timestamp::ZERO,
            exec_inst: ExecInstBits::NONE,
            changes,
            on_failure: crate::field::Reserved,
            in_flight: crate::field::Reserved,
        }
    }

    #[test]
    fn a_replace_changes_what_its_bits_say() {
        for (changes, expected) in [
            (Changes::PRICE, (Some(1), None, None)),
            (Changes::QTY, (None, Some(2), None)),
            (Changes::STOP, (None, None, Some(3))),
            (Changes::PRICE.with(Changes::QTY), (Some(1), Some(2), None)),
        ] {
            let Ok(Command::Replace(replace)) = Request::Replace(change(changes)).command(ORIGIN)
            else {
                panic!("a replace");
            };
            let found = (
                replace.price.map(Price::ticks),
                replace.qty.map(Qty::lots),
                replace.stop.map(Price::ticks),
            );
            assert_eq!(found, expected);
            assert_eq!(replace.new_id, Some(ClOrdId::new(11)));
            assert_eq!(replace.target, OrderTarget::Client(ClOrdId::new(7)));
        }
        let nothing = Request::Replace(change(Changes::NONE)).command(ORIGIN);
        assert_eq!(nothing, Err(RejectReason::MissingField));
        let mut expiry = change(Changes::PRICE);
        expiry.expire_time = Timestamp::from_nanos(1);
        assert_eq!(
            Request::Replace(expiry).command(ORIGIN),
            Err(RejectReason::Unsupported)
        );
    }

    #[test]
    fn an_order_is_named_by_either_id() {
        let cancel = |orig: u64, order: u64| {
            let message = CancelMessage {
                cl_ord_id: ClOrdId::new(9),
                account: AccountId::new(0),
                orig_cl_ord_id: ClOrdId::new(orig),
                order_id: OrderId::new(order),
            };
            match Request::Cancel(message).command(ORIGIN) {
                Ok(Command::Cancel(cancel)) => Ok(cancel.target),
                Ok(other) => panic!("{other:?}"),
                Err(reason) => Err(reason),
            }
        };
        assert_eq!(cancel(7, 0), Ok(OrderTarget::Client(ClOrdId::new(7))));
        assert_eq!(cancel(7, 5), Ok(OrderTarget::Exchange(OrderId::new(5))));
        assert_eq!(cancel(0, 0), Err(RejectReason::MissingField));
    }

    #[test]
    fn a_mass_action_filters_by_what_it_says() {
        let mass = |account: u32, scope, side| {
            let message = MassAction {
                cl_ord_id: ClOrdId::new(9),
                account: AccountId::new(account),
                action: MassActionType::Cancel,
                scope,
                instrument: InstrumentId::new(2),
                product: 0,
                side,
                mmp_group: 0,
            };
            match Request::Mass(message).command(ORIGIN) {
                Ok(Command::MassCancel(mass)) => (mass.account, mass.instrument, mass.side),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            mass(0, MassActionScope::All, SideCode::Any),
            (None, None, None)
        );
        assert_eq!(
            mass(8, MassActionScope::Instrument, SideCode::Sell),
            (
                Some(AccountId::new(8)),
                Some(InstrumentId::new(2)),
                Some(Side::Sell)
            )
        );
    }

    #[test]
    fn both_sides_of_a_trade_are_told() {
        let trade = |aggressor, maker_side| Event::Trade {
            instrument: InstrumentId::new(2),
            aggressor,
            maker_side,
            price: Price::from_ticks(250),
            qty: qty(4),
            maker: party(1, 21),
            taker: party(2, 22),
            maker_leaves: qty(0),
            taker_leaves: qty(3),
            maker_cum: qty(6),
            taker_cum: qty(4),
        };
        for (aggressor, maker_side, sides, liquidity) in [
            (
                Aggressor::Buy,
                Side::Sell,
                [SideCode::Sell, SideCode::Buy],
                [Liquidity::Added, Liquidity::Removed],
            ),
            (
                Aggressor::Sell,
                Side::Buy,
                [SideCode::Buy, SideCode::Sell],
                [Liquidity::Added, Liquidity::Removed],
            ),
            (
                Aggressor::None,
                Side::Buy,
                [SideCode::Buy, SideCode::Sell],
                [Liquidity::Auction; 2],
            ),
            (
                Aggressor::None,
                Side::Sell,
                [SideCode::Sell, SideCode::Buy],
                [Liquidity::Auction; 2],
            ),
        ] {
            let told = told(trade(aggressor, maker_side));
            let [
                (21, Report::Execution(maker)),
                (22, Report::Execution(taker)),
            ] = told[..]
            else {
                panic!("{told:?}");
            };
            assert_eq!([maker.side, taker.side], sides);
            assert_eq!([maker.liquidity, taker.liquidity], liquidity);
            assert_eq!(maker.ord_status, OrdStatus::Filled);
            assert_eq!(taker.ord_status, OrdStatus::PartiallyFilled);
            assert_eq!((maker.leaves_qty.get(), maker.cum_qty.get()), (0, 6));
            assert_eq!((taker.leaves_qty.get(), taker.cum_qty.get()), (3, 4));
            for report in [maker, taker] {
                assert_eq!((report.last_px.ticks(), report.last_qty.get()), (250, 4));
                assert_eq!(report.match_id, (9 << 24) | 1);
                assert_eq!(report.exec_id.get(), report.match_id);
                assert_eq!(report.engine_seq, Seq::new(9));
                assert_eq!(report.transact_time.nanos(), 77);
            }
        }
    }

    #[test]
    fn a_cancel_names_request_and_order_as_fix_does() {
        let canceled = |request: u64| {
            execution_of(Event::OrderCanceled {
                party: party(1, 5),
                instrument: InstrumentId::new(2),
                side: Side::Buy,
                qty: qty(3),
                cum: qty(1),
                reason: CancelReason::User,
                request: ClOrdId::new(request),
            })
        };
        let asked = canceled(4);
        assert_eq!((asked.cl_ord_id.get(), asked.orig_cl_ord_id.get()), (4, 1));
        assert_eq!(asked.end_reason, EndReason::User);
        assert_eq!((asked.leaves_qty.get(), asked.cum_qty.get()), (0, 1));
        let unasked = canceled(0);
        assert_eq!(
            (unasked.cl_ord_id.get(), unasked.orig_cl_ord_id.get()),
            (1, 0)
        );
    }

    #[test]
    fn every_reason_of_an_end_has_its_own_word() {
        for &reason in CancelReason::ALL {
            assert_eq!(EndReason::from(reason).as_str(), reason.as_str());
        }
        for &reason in ExpireReason::ALL {
            assert_eq!(EndReason::from(reason).as_str(), reason.as_str());
        }
    }

    #[test]
    fn a_replace_and_a_reduce_tell_what_is_left() {
        let replaced = execution_of(Event::OrderReplaced {
            party: party(6, 5),
            old_id: ClOrdId::new(1),
            instrument: InstrumentId::new(2),
            side: Side::Buy,
            price: Price::from_ticks(249),
            qty: qty(12),
            leaves: qty(2),
        });
        assert_eq!(
            (replaced.cl_ord_id.get(), replaced.orig_cl_ord_id.get()),
            (6, 1)
        );
        assert_eq!((replaced.leaves_qty.get(), replaced.cum_qty.get()), (2, 10));
        assert_eq!(replaced.ord_status, OrdStatus::PartiallyFilled);
        let reduced = execution_of(Event::OrderReduced {
            party: party(1, 5),
            instrument: InstrumentId::new(2),
            side: Side::Buy,
            leaves: qty(3),
            cum: qty(0),
            self_match: true,
            request: ClOrdId::new(0),
            inventory: false,
        });
        assert_eq!(reduced.end_reason, EndReason::SelfMatch);
        assert_eq!(
            (reduced.leaves_qty.get(), reduced.ord_status),
            (3, OrdStatus::New)
        );
    }

    #[test]
    fn a_command_about_accounts_travels_as_the_journal_has_it() {
        use tessera_types::{AccountAction, AccountCommand, AccountId, CashMove};
        let command = |header| {
            Command::Account(Box::new(AccountCommand {
                header,
                action: AccountAction::Move {
                    account: AccountId::new(7),
                    movement: CashMove::Deposit,
                    amount: 5,
                },
            }))
        };
        let id = ClOrdId::new(9);
        let message = AdminCommand::new(id, &command(ClientHeader::default())).unwrap();
        let header = ORIGIN.header(AccountId::new(0), id);
        assert_eq!(message.command(ORIGIN), Ok(command(header)));
        let mut longer = message.clone();
        longer.parts.push(PayloadPart { bytes: [0; 8] });
        let mut padded = message.clone();
        padded.parts.last_mut().unwrap().bytes[7] = 1;
        let mut order = message.clone();
        order.record_type = wire::kind::CANCEL;
        for bad in [longer, padded, order] {
            assert_eq!(bad.command(ORIGIN), Err(RejectReason::BadField));
        }
        let time = Command::AdvanceTime(tessera_types::AdvanceTime);
        assert!(AdminCommand::new(id, &time).is_err());
    }

    #[test]
    fn a_rejection_goes_to_the_message_of_its_request() {
        let rejected = |kind, place: Option<(u32, Side)>| {
            let told = told(Event::Rejected {
                session: SessionId::new(3),
                account: AccountId::new(8),
                server_seq: ServerSeq::new(6),
                cl_ord_id: ClOrdId::new(2),
                target: ClOrdId::new(1),
                kind,
                reason: RejectReason::UnknownOrder,
                instrument: place.map(|(instrument, _)| InstrumentId::new(instrument)),
                side: place.map(|(_, side)| side),
            });
            match told[..] {
                [(6, report)] => report,
                ref other => panic!("{other:?}"),
            }
        };
        for &kind in CommandKind::ALL {
            let told_at_all = !matches!(
                kind,
                CommandKind::SessionLogon
                    | CommandKind::SessionFence
                    | CommandKind::Time
                    | CommandKind::Restart
                    | CommandKind::Reopen
            );
            if !told_at_all {
                continue;
            }
            let reason = match rejected(kind, None) {
                Report::Execution(report) => {
                    let orders = [CommandKind::New, CommandKind::MassQuote];
                    assert!(
                        orders.contains(&kind) || (13..50).contains(&kind.code()),
                        "{kind}"
                    );
                    assert_eq!(
                        (report.exec_type, report.ord_rej_reason),
                        (ExecType::Rejected, 5)
                    );
                    assert_eq!(
                        (report.instrument, report.side),
                        (NO_INSTRUMENT, SideCode::Any)
                    );
                    let Report::Execution(placed) = rejected(kind, Some((2, Side::Sell))) else {
                        panic!("another message for {kind}");
                    };
                    assert_eq!(
                        (placed.instrument, placed.side),
                        (InstrumentId::new(2), SideCode::Sell)
                    );
                    report.reason
                }
                Report::CancelReject(report) => {
                    assert_eq!((report.orig_cl_ord_id.get(), report.cxl_rej_reason), (1, 1));
                    report.reason
                }
                Report::MassAction(report) => report.reason,
                Report::Admin(report) => report.reason,
            };
            assert_eq!(reason, Some(RejectReason::UnknownOrder));
        }
    }

    #[test]
    fn the_venue_is_told_nothing_and_a_quantity_is_never_cut() {
        let mut venue = party(1, 0);
        venue.session = SessionId::VENUE;
        let accepted = |party, lots| Event::OrderAccepted {
            party,
            instrument: InstrumentId::new(2),
            side: Side::Buy,
            price: Price::ZERO,
            qty: qty(lots),
        };
        assert!(told(accepted(venue, 1)).is_empty());
        let lots = u64::from(u32::MAX) + 1;
        let result = reports(&record(accepted(party(1, 1), lots)), |_, _, _| {
            panic!("cut")
        });
        assert_eq!(result, Err(TooManyLots(qty(lots))));
    }

    #[test]
    fn an_instrument_comes_back_from_its_admin_message() {
        let mut plain = Instrument::plain(Name::new("TEST").unwrap());
        plain.protect = Some(0);
        let mut compute = Instrument::plain(Name::new("H100.whole.eu.w31").unwrap());
        compute.ref_price = Some(Price::from_ticks(-7));
        compute.algo = MatchAlgo::Split;
        compute.fifo_pct = 40;
        compute.tick_micro_usd = 600;
        compute.terms = Some(ContractTerms {
            class: 3,
            partition: Partition::Tee,
            profile: 1,
            tier: 2,
            zone: 4,
            start_hour: 500_000,
            hours: 24,
            weight: 5_000,
            windows: 1,
            reclaim: None,
        });
        for instrument in [plain, compute] {
            let message = AdminInstrument::new(ClOrdId::new(1), &instrument).unwrap();
            let Ok(Command::ListInstrument(listed)) = message.command(ORIGIN) else {
                panic!("a listing");
            };
            assert_eq!(listed.instrument, instrument);
        }
        let definition = SecurityDefinition::new(InstrumentId::new(5), &compute, Phase::Halt);
        assert_eq!(definition.delivery_start.nanos(), 500_000 * HOUR_NS);
        assert_eq!(definition.delivery_end.nanos(), 500_024 * HOUR_NS);
        assert_eq!(definition.lot_gpu_seconds, 24 * 3_600 / 2);
        assert_eq!((definition.attestation, definition.phase), (1, Phase::Halt));
        let definition = SecurityDefinition::new(InstrumentId::new(0), &plain, Phase::Continuous);
        assert_eq!(definition.delivery_end, Timestamp::ZERO);
    }
}
