//! The byte codec: the only module of the workspace that calls bincode.
//!
//! Fixed-width little-endian integers, no varints, a limit on every decode, and every byte used.
//! Bodies are structs of fixed-width fields with enums as `u8` codes; the layout of a struct is its
//! fields in order without padding, so `docs/journal.md` and `docs/protocol.md` can state offsets.
//!
//! [`encode_into`] and [`decode_exact`] serve the wire messages of `tessera-proto`.
//! [`encode_command`] and [`decode_command`] are the journal payloads; one struct per (type, version),
//! never changed once released.
//!
//! Journal record types of commands:
//!
//! | type | command | payload bytes |
//! |---:|---|---:|
//! | 0x01 | `NewOrder`, compact | 36 |
//! | 0x02 | `NewOrder`, full | 92 |
//! | 0x03 | `Cancel` | 35 |
//! | 0x04 | `Reduce` | 43 |
//! | 0x05 | `Replace` | 68 |
//! | 0x06 | `MassCancel` | 36 |
//! | 0x07 | `MassQuote` | 37 + 54 per entry |
//! | 0x10 | `SessionLogon` | 81 |
//! | 0x11 | `SessionFence` | 16 |
//! | 0x20 | `ListInstrument` | varies with its options |
//! | 0x21 | `SetPhase` | 40 |
//! | 0x22 | `AdvanceTime` | 0 |
//! | 0x23 | `SetCatalogue` | varies |
//! | 0x25 | `Restart` | 16: hold, grace |
//! | 0x26 | `Reopen` | 0 |
//! | 0x24 | `ListInstrument` with rules of trading | varies: as 0x20, and 17 |
//! | 0x30 to 0x4f | compute contracts | see [`contracts::kind`] |
//! | 0x50 to 0x6f | accounts and risk parameters | see `accounts.rs` |

mod accounts;
pub mod contracts;

pub use bincode::{Decode, Encode};

use bincode::config::{self, Configuration, Fixint, Limit, LittleEndian};
use thiserror::Error;

use crate::command::{
    AdvanceTime, Cancel, ClientHeader, Command, ExecInst, ListInstrument, MassCancel, MassQuote,
    NewOrder, OrdType, OrderTarget, QuoteEntry, Reduce, Replace, SessionFence, SessionLogon,
    SetCatalogue, SetPhase, TimeInForce,
};
use crate::contract::{
    Catalogue, ClassDef, ContractTerms, Instrument, MatchAlgo, Name, NameError, Partition,
    VolatilityGuard,
};
use crate::contract_command::Backing;
use crate::ids::{AccountId, ClOrdId, ConnToken, Generation, InstrumentId, OrderId, SessionId};
use crate::reject::RejectReason;
use crate::restart_command::{Reopen, Restart};
use crate::units::{Price, Qty, Timestamp};

/// The largest journal payload in bytes.
pub const MAX_PAYLOAD: usize = 32 * 1024;

/// Why bytes are no value of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes end early, claim more than the limit, or hold an impossible value.
    #[error("{0}")]
    Malformed(String),
    /// Bytes are left over.
    #[error("{used} of {len} bytes used; the rest belongs to nothing")]
    Trailing {
        /// Bytes that the value took.
        used: usize,
        /// Bytes that were there.
        len: usize,
    },
    /// A coded field has a code that means nothing.
    #[error("field {field} has the unknown code {code}")]
    Code {
        /// Which field.
        field: &'static str,
        /// The code found.
        code: u64,
    },
    /// A name is malformed.
    #[error("field {field}: {source}")]
    Name {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        source: NameError,
    },
    /// A command of a type that this program does not know.
    #[error("record type {0:#04x} is no command of this version")]
    UnknownKind(u8),
}

/// Why a value could not be encoded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The value is larger than a payload may be.
    #[error("the value takes {0} bytes, more than {MAX_PAYLOAD}")]
    TooLarge(usize),
    /// The encoder refused.
    #[error("{0}")]
    Refused(String),
}

const fn config<const LIMIT: usize>() -> Configuration<LittleEndian, Fixint, Limit<LIMIT>> {
    config::standard()
        .with_little_endian()
        .with_fixed_int_encoding()
        .with_limit::<LIMIT>()
}

/// Appends `value` to `out`.
///
/// # Errors
/// [`EncodeError::Refused`] when the encoder fails; fixed-size bodies never do.
pub fn encode_into<T: Encode>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    bincode::encode_into_std_write(value, out, config::<MAX_PAYLOAD>())
        .map(|_| ())
        .map_err(|error| EncodeError::Refused(error.to_string()))
}

/// Writes `value` to the front of `out` and says how many bytes it took: for bodies of a known width,
/// where it saves the growing of a vector field by field.
///
/// # Errors
/// [`EncodeError::Refused`] when `out` is too short.
pub fn encode_to_slice<T: Encode>(value: &T, out: &mut [u8]) -> Result<usize, EncodeError> {
    bincode::encode_into_slice(value, out, config::<MAX_PAYLOAD>())
        .map_err(|error| EncodeError::Refused(error.to_string()))
}

/// Reads a value that takes exactly all of `bytes`, at most `LIMIT`.
///
/// # Errors
/// [`DecodeError::Malformed`] or [`DecodeError::Trailing`].
pub fn decode_exact<T: Decode<()>, const LIMIT: usize>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, used) = decode_prefix::<T, LIMIT>(bytes)?;
    if used == bytes.len() {
        Ok(value)
    } else {
        Err(DecodeError::Trailing {
            used,
            len: bytes.len(),
        })
    }
}

/// Reads a value from the start of `bytes` and says how many it took: for bodies of a higher minor
/// version, whose known prefix counts.
///
/// # Errors
/// [`DecodeError::Malformed`].
pub fn decode_prefix<T: Decode<()>, const LIMIT: usize>(
    bytes: &[u8],
) -> Result<(T, usize), DecodeError> {
    bincode::decode_from_slice(bytes, config::<LIMIT>())
        .map_err(|error| DecodeError::Malformed(error.to_string()))
}

/// Record types of commands.
pub mod kind {
    /// `NewOrder` in 36 bytes.
    pub const NEW_ORDER_COMPACT: u8 = 0x01;
    /// `NewOrder` with every field.
    pub const NEW_ORDER: u8 = 0x02;
    /// `Cancel`.
    pub const CANCEL: u8 = 0x03;
    /// `Reduce`.
    pub const REDUCE: u8 = 0x04;
    /// `Replace`.
    pub const REPLACE: u8 = 0x05;
    /// `MassCancel`.
    pub const MASS_CANCEL: u8 = 0x06;
    /// `MassQuote`.
    pub const MASS_QUOTE: u8 = 0x07;
    /// `SessionLogon`.
    pub const SESSION_LOGON: u8 = 0x10;
    /// `SessionFence`.
    pub const SESSION_FENCE: u8 = 0x11;
    /// `ListInstrument`.
    pub const LIST_INSTRUMENT: u8 = 0x20;
    /// `SetPhase`.
    pub const SET_PHASE: u8 = 0x21;
    /// `AdvanceTime`.
    pub const ADVANCE_TIME: u8 = 0x22;
    /// `SetCatalogue`.
    pub const SET_CATALOGUE: u8 = 0x23;
    /// `ListInstrument` of an instrument with a volatility guard or indicative prices.
    pub const LIST_INSTRUMENT_RULES: u8 = 0x24;
    /// `Restart`.
    pub const RESTART: u8 = 0x25;
    /// `Reopen`.
    pub const REOPEN: u8 = 0x26;
}

/// Appends the payload of `command`, sequenced at `time`, and returns its record type.
///
/// # Errors
/// [`EncodeError`] when the payload would exceed [`MAX_PAYLOAD`]; then `out` is as before.
pub fn encode_command(
    command: &Command,
    time: Timestamp,
    out: &mut Vec<u8>,
) -> Result<u8, EncodeError> {
    let start = out.len();
    let kind = match command {
        Command::NewOrder(order) if !order.backing.is_nothing() => {
            contracts::encode_backed_order(order, out)?
        }
        Command::NewOrder(order) => match NewOrderCompact::pack(order, time) {
            Some(compact) => {
                encode_into(&compact, out)?;
                kind::NEW_ORDER_COMPACT
            }
            None => {
                encode_into(&NewOrderFull::from(order), out)?;
                kind::NEW_ORDER
            }
        },
        Command::Cancel(c) => {
            encode_into(
                &CancelV1 {
                    header: (&c.header).into(),
                    target: c.target.into(),
                },
                out,
            )?;
            kind::CANCEL
        }
        Command::Reduce(c) => {
            let record = ReduceV1 {
                header: (&c.header).into(),
                target: c.target.into(),
                by: c.by,
            };
            encode_into(&record, out)?;
            kind::REDUCE
        }
        Command::Replace(c) => {
            encode_into(&ReplaceV1::from(c), out)?;
            kind::REPLACE
        }
        Command::MassCancel(c) => {
            encode_into(&MassCancelV1::from(c), out)?;
            kind::MASS_CANCEL
        }
        Command::MassQuote(c) if c.entries.iter().any(|entry| !entry.backing.is_nothing()) => {
            contracts::encode_backed_quotes(c, out)?
        }
        Command::MassQuote(c) => {
            encode_into(&MassQuoteV1::from(&**c), out)?;
            kind::MASS_QUOTE
        }
        Command::SessionLogon(c) => {
            let record = SessionLogonV1 {
                name: c.name,
                conn: c.conn,
                received: c.received,
            };
            encode_into(&record, out)?;
            kind::SESSION_LOGON
        }
        Command::SessionFence(c) => {
            let record = SessionFenceV1 {
                session: c.session,
                generation: c.generation,
                reason: c.reason.code(),
                cancel_orders: c.cancel_orders,
                received: c.received,
            };
            encode_into(&record, out)?;
            kind::SESSION_FENCE
        }
        Command::ListInstrument(c) if !contracts::is_plain_listing(&c.instrument) => {
            contracts::encode_contract(c, out)?
        }
        Command::ListInstrument(c) => {
            let record = ListInstrumentV1 {
                header: (&c.header).into(),
                instrument: (&c.instrument).into(),
            };
            encode_into(&record, out)?;
            match RulesV1::of(&c.instrument) {
                None => kind::LIST_INSTRUMENT,
                Some(rules) => {
                    encode_into(&rules, out)?;
                    kind::LIST_INSTRUMENT_RULES
                }
            }
        }
        Command::SetPhase(c) => {
            let record = SetPhaseV1 {
                header: (&c.header).into(),
                instrument: c.instrument,
                phase: c.phase.code(),
                has_ref_price: c.ref_price.is_some(),
                ref_price: c.ref_price.unwrap_or_default(),
            };
            encode_into(&record, out)?;
            kind::SET_PHASE
        }
        Command::AdvanceTime(AdvanceTime) => kind::ADVANCE_TIME,
        Command::SetCatalogue(c)
            if !(c.catalogue.workloads.is_empty() && c.catalogue.efficiency.is_empty()) =>
        {
            contracts::encode_workloads(c, out)?
        }
        Command::SetCatalogue(c) => {
            let record = SetCatalogueV1 {
                header: (&c.header).into(),
                catalogue: (&c.catalogue).into(),
            };
            encode_into(&record, out)?;
            kind::SET_CATALOGUE
        }
        Command::Contract(c) => contracts::encode(c, out)?,
        Command::Account(c) => accounts::encode_account(c, out)?,
        Command::RiskParams(c) => accounts::encode_risk(c, out)?,
        Command::Restart(c) => {
            encode_into(&(c.hold_ns, c.grace_ns), out)?;
            kind::RESTART
        }
        Command::Reopen(Reopen) => kind::REOPEN,
    };
    let len = out.len() - start;
    if len > MAX_PAYLOAD {
        out.truncate(start);
        return Err(EncodeError::TooLarge(len));
    }
    Ok(kind)
}

/// Reads the command of a record of type `kind` and time `time`.
///
/// # Errors
/// [`DecodeError`] when the bytes are not exactly one command of that type.
pub fn decode_command(kind: u8, time: Timestamp, payload: &[u8]) -> Result<Command, DecodeError> {
    fn read<T: Decode<()>>(payload: &[u8]) -> Result<T, DecodeError> {
        decode_exact::<T, MAX_PAYLOAD>(payload)
    }
    Ok(match kind {
        kind::NEW_ORDER_COMPACT => {
            Command::NewOrder(read::<NewOrderCompact>(payload)?.unpack(time)?)
        }
        kind::NEW_ORDER => Command::NewOrder(read::<NewOrderFull>(payload)?.try_into()?),
        kind::CANCEL => {
            let r = read::<CancelV1>(payload)?;
            Command::Cancel(Cancel {
                header: r.header.into(),
                target: r.target.try_into()?,
            })
        }
        kind::REDUCE => {
            let r = read::<ReduceV1>(payload)?;
            Command::Reduce(Reduce {
                header: r.header.into(),
                target: r.target.try_into()?,
                by: r.by,
            })
        }
        kind::REPLACE => Command::Replace(read::<ReplaceV1>(payload)?.try_into()?),
        kind::MASS_CANCEL => Command::MassCancel(read::<MassCancelV1>(payload)?.try_into()?),
        kind::MASS_QUOTE => Command::MassQuote(Box::new(read::<MassQuoteV1>(payload)?.try_into()?)),
        kind::SESSION_LOGON => {
            let r = read::<SessionLogonV1>(payload)?;
            check_name(&r.name, "name")?;
            Command::SessionLogon(Box::new(SessionLogon {
                name: r.name,
                conn: r.conn,
                received: r.received,
            }))
        }
        kind::SESSION_FENCE => {
            let r = read::<SessionFenceV1>(payload)?;
            Command::SessionFence(SessionFence {
                session: r.session,
                generation: r.generation,
                reason: code("reason", r.reason)?,
                cancel_orders: r.cancel_orders,
                received: r.received,
            })
        }
        kind::LIST_INSTRUMENT => {
            let r = read::<ListInstrumentV1>(payload)?;
            Command::ListInstrument(Box::new(ListInstrument {
                header: r.header.into(),
                instrument: r.instrument.try_into()?,
            }))
        }
        kind::LIST_INSTRUMENT_RULES => {
            let (r, rules) = read::<(ListInstrumentV1, RulesV1)>(payload)?;
            let mut instrument = r.instrument.try_into()?;
            rules.put(&mut instrument)?;
            Command::ListInstrument(Box::new(ListInstrument {
                header: r.header.into(),
                instrument,
            }))
        }
        kind::SET_PHASE => {
            let r = read::<SetPhaseV1>(payload)?;
            Command::SetPhase(SetPhase {
                header: r.header.into(),
                instrument: r.instrument,
                phase: code("phase", r.phase)?,
                ref_price: r.has_ref_price.then_some(r.ref_price),
            })
        }
        kind::RESTART => {
            let (hold_ns, grace_ns) = read::<(u64, u64)>(payload)?;
            Command::Restart(Restart { hold_ns, grace_ns })
        }
        kind::REOPEN => {
            read::<()>(payload)?;
            Command::Reopen(Reopen)
        }
        kind::ADVANCE_TIME => {
            if !payload.is_empty() {
                return Err(DecodeError::Trailing {
                    used: 0,
                    len: payload.len(),
                });
            }
            Command::AdvanceTime(AdvanceTime)
        }
        kind::SET_CATALOGUE => {
            let r = read::<SetCatalogueV1>(payload)?;
            Command::SetCatalogue(Box::new(SetCatalogue {
                header: r.header.into(),
                catalogue: r.catalogue.try_into()?,
            }))
        }
        0x30..=0x4f => contracts::decode(kind, payload)?,
        kind if accounts::KINDS.contains(&kind) => accounts::decode(kind, payload)?,
        other => return Err(DecodeError::UnknownKind(other)),
    })
}

fn code<T: TryFrom<u8, Error = u8>>(field: &'static str, code: u8) -> Result<T, DecodeError> {
    T::try_from(code).map_err(|code| DecodeError::Code {
        field,
        code: code.into(),
    })
}

fn check_name(name: &Name, field: &'static str) -> Result<(), DecodeError> {
    name.validate()
        .map_err(|source| DecodeError::Name { field, source })
}

/// | offset | field | width |
/// |---:|---|---:|
/// | 0 | session | 4 |
/// | 4 | generation | 2 |
/// | 6 | account | 4 |
/// | 10 | ClOrdID | 8 |
/// | 18 | received, ns | 8 |
#[derive(Encode, Decode)]
struct HeaderV1 {
    session: SessionId,
    generation: Generation,
    account: AccountId,
    cl_ord_id: ClOrdId,
    received: Timestamp,
}

impl From<&ClientHeader> for HeaderV1 {
    fn from(h: &ClientHeader) -> Self {
        Self {
            session: h.session,
            generation: h.generation,
            account: h.account,
            cl_ord_id: h.cl_ord_id,
            received: h.received,
        }
    }
}

impl From<HeaderV1> for ClientHeader {
    fn from(h: HeaderV1) -> Self {
        Self {
            session: h.session,
            generation: h.generation,
            account: h.account,
            cl_ord_id: h.cl_ord_id,
            received: h.received,
        }
    }
}

/// The common order in 36 bytes, so that its record is one slot of the journal.
///
/// | offset | field | width | note |
/// |---:|---|---:|---|
/// | 0 | session, generation | 4 | bits 0..20 session, 20..32 generation |
/// | 4 | account | 4 | |
/// | 8 | ClOrdID | 8 | |
/// | 16 | instrument | 4 | |
/// | 20 | price | 8 | ticks |
/// | 28 | quantity | 4 | lots |
/// | 32 | packed | 4 | bit 0 sell, 1 market, 2..4 time in force (gtc, ioc, fok, day), 4..7 self match, 7..11 instructions, 11..32 delay |
///
/// Delay is the record's time less the gateway's receive time in nanoseconds. An order that does not
/// fit (another type, an extra field, 2^32 lots, more than 2.09 ms on its way) is written in full.
#[derive(Encode, Decode)]
struct NewOrderCompact {
    session_generation: u32,
    account: AccountId,
    cl_ord_id: ClOrdId,
    instrument: InstrumentId,
    price: Price,
    qty: u32,
    packed: u32,
}

impl NewOrderCompact {
    const DELAY_BITS: u32 = 21;

    fn pack(order: &NewOrder, time: Timestamp) -> Option<Self> {
        let h = &order.header;
        let market = match order.ord_type {
            OrdType::Limit => 0,
            OrdType::Market => 1,
            _ => return None,
        };
        if order.time_in_force == TimeInForce::Gtd
            || !order.min_qty.is_zero()
            || !order.display.is_zero()
            || order.trigger != 0
            || order.expire != Timestamp::ZERO
            || order.budget.is_some()
            || h.session > SessionId::MAX
            || h.generation.get() >= Generation::MODULUS
        {
            return None;
        }
        let qty = u32::try_from(order.qty.lots()).ok()?;
        let delay = u32::try_from(time.nanos().checked_sub(h.received.nanos())?)
            .ok()
            .filter(|&delay| delay < 1 << Self::DELAY_BITS)?;
        Some(Self {
            session_generation: h.session.get() | u32::from(h.generation.get()) << 20,
            account: h.account,
            cl_ord_id: h.cl_ord_id,
            instrument: order.instrument,
            price: order.price,
            qty,
            packed: u32::from(order.side as u8)
                | market << 1
                | u32::from(order.time_in_force.code()) << 2
                | u32::from(order.self_match.code()) << 4
                | u32::from(order.exec_inst.bits()) << 7
                | delay << 11,
        })
    }

    fn unpack(self, time: Timestamp) -> Result<NewOrder, DecodeError> {
        let field = |shift: u32, bits: u32| {
            u8::try_from(self.packed >> shift & ((1 << bits) - 1)).unwrap_or(u8::MAX)
        };
        let delay = u64::from(self.packed >> 11);
        let received = time.nanos().checked_sub(delay).ok_or(DecodeError::Code {
            field: "delay",
            code: delay,
        })?;
        let generation = u16::try_from(self.session_generation >> 20).unwrap_or(u16::MAX);
        Ok(NewOrder {
            header: ClientHeader {
                session: SessionId::new(self.session_generation & SessionId::MAX.get()),
                generation: Generation::new(generation),
                account: self.account,
                cl_ord_id: self.cl_ord_id,
                received: Timestamp::from_nanos(received),
            },
            instrument: self.instrument,
            side: code("side", field(0, 1))?,
            ord_type: if field(1, 1) == 1 {
                OrdType::Market
            } else {
                OrdType::Limit
            },
            time_in_force: code("time_in_force", field(2, 2))?,
            self_match: code("self_match", field(4, 3))?,
            exec_inst: exec_inst(field(7, 4))?,
            backing: Backing::NOTHING,
            price: self.price,
            qty: Qty::from_lots(self.qty.into()),
            min_qty: Qty::ZERO,
            display: Qty::ZERO,
            trigger: 0,
            expire: Timestamp::ZERO,
            budget: None,
        })
    }
}

fn exec_inst(bits: u8) -> Result<ExecInst, DecodeError> {
    ExecInst::from_bits(bits).ok_or(DecodeError::Code {
        field: "exec_inst",
        code: bits.into(),
    })
}

#[derive(Encode, Decode)]
struct NewOrderFull {
    header: HeaderV1,
    instrument: InstrumentId,
    side: u8,
    ord_type: u8,
    time_in_force: u8,
    self_match: u8,
    exec_inst: u8,
    price: Price,
    qty: Qty,
    min_qty: Qty,
    display: Qty,
    trigger: i64,
    expire: Timestamp,
    has_budget: bool,
    budget: u64,
}

impl From<&NewOrder> for NewOrderFull {
    fn from(o: &NewOrder) -> Self {
        Self {
            header: (&o.header).into(),
            instrument: o.instrument,
            side: o.side as u8,
            ord_type: o.ord_type.code(),
            time_in_force: o.time_in_force.code(),
            self_match: o.self_match.code(),
            exec_inst: o.exec_inst.bits(),
            price: o.price,
            qty: o.qty,
            min_qty: o.min_qty,
            display: o.display,
            trigger: o.trigger,
            expire: o.expire,
            has_budget: o.budget.is_some(),
            budget: o.budget.unwrap_or(0),
        }
    }
}

impl TryFrom<NewOrderFull> for NewOrder {
    type Error = DecodeError;
    fn try_from(r: NewOrderFull) -> Result<Self, DecodeError> {
        Ok(Self {
            header: r.header.into(),
            instrument: r.instrument,
            side: code("side", r.side)?,
            ord_type: code("ord_type", r.ord_type)?,
            time_in_force: code("time_in_force", r.time_in_force)?,
            self_match: code("self_match", r.self_match)?,
            exec_inst: exec_inst(r.exec_inst)?,
            backing: Backing::NOTHING,
            price: r.price,
            qty: r.qty,
            min_qty: r.min_qty,
            display: r.display,
            trigger: r.trigger,
            expire: r.expire,
            budget: r.has_budget.then_some(r.budget),
        })
    }
}

#[derive(Encode, Decode)]
struct TargetV1 {
    by: u8,
    id: u64,
}

impl From<OrderTarget> for TargetV1 {
    fn from(target: OrderTarget) -> Self {
        match target {
            OrderTarget::Client(id) => Self {
                by: 0,
                id: id.get(),
            },
            OrderTarget::Exchange(id) => Self {
                by: 1,
                id: id.get(),
            },
        }
    }
}

impl TryFrom<TargetV1> for OrderTarget {
    type Error = DecodeError;
    fn try_from(target: TargetV1) -> Result<Self, DecodeError> {
        match target.by {
            0 => Ok(Self::Client(ClOrdId::new(target.id))),
            1 => Ok(Self::Exchange(OrderId::new(target.id))),
            other => Err(DecodeError::Code {
                field: "target",
                code: other.into(),
            }),
        }
    }
}

#[derive(Encode, Decode)]
struct CancelV1 {
    header: HeaderV1,
    target: TargetV1,
}

#[derive(Encode, Decode)]
struct ReduceV1 {
    header: HeaderV1,
    target: TargetV1,
    by: Qty,
}

/// `present`: bit 0 price, 1 quantity, 2 stop, 3 new id; absent fields are zero.
#[derive(Encode, Decode)]
struct ReplaceV1 {
    header: HeaderV1,
    target: TargetV1,
    present: u8,
    price: Price,
    qty: Qty,
    stop: Price,
    new_id: ClOrdId,
}

impl From<&Replace> for ReplaceV1 {
    fn from(c: &Replace) -> Self {
        Self {
            header: (&c.header).into(),
            target: c.target.into(),
            present: u8::from(c.price.is_some())
                | u8::from(c.qty.is_some()) << 1
                | u8::from(c.stop.is_some()) << 2
                | u8::from(c.new_id.is_some()) << 3,
            price: c.price.unwrap_or_default(),
            qty: c.qty.unwrap_or_default(),
            stop: c.stop.unwrap_or_default(),
            new_id: c.new_id.unwrap_or_default(),
        }
    }
}

impl TryFrom<ReplaceV1> for Replace {
    type Error = DecodeError;
    fn try_from(r: ReplaceV1) -> Result<Self, DecodeError> {
        let has = |bit: u8| r.present >> bit & 1 == 1;
        if r.present > 0b1111 {
            return Err(DecodeError::Code {
                field: "present",
                code: r.present.into(),
            });
        }
        Ok(Self {
            header: r.header.into(),
            target: r.target.try_into()?,
            price: has(0).then_some(r.price),
            qty: has(1).then_some(r.qty),
            stop: has(2).then_some(r.stop),
            new_id: has(3).then_some(r.new_id),
        })
    }
}

/// `present`: bit 0 account, 1 instrument, 2 side; absent fields are zero.
#[derive(Encode, Decode)]
struct MassCancelV1 {
    header: HeaderV1,
    present: u8,
    account: AccountId,
    instrument: InstrumentId,
    side: u8,
}

impl From<&MassCancel> for MassCancelV1 {
    fn from(c: &MassCancel) -> Self {
        Self {
            header: (&c.header).into(),
            present: u8::from(c.account.is_some())
                | u8::from(c.instrument.is_some()) << 1
                | u8::from(c.side.is_some()) << 2,
            account: c.account.unwrap_or_default(),
            instrument: c.instrument.unwrap_or_default(),
            side: c.side.map_or(0, |side| side as u8),
        }
    }
}

impl TryFrom<MassCancelV1> for MassCancel {
    type Error = DecodeError;
    fn try_from(r: MassCancelV1) -> Result<Self, DecodeError> {
        let has = |bit: u8| r.present >> bit & 1 == 1;
        if r.present > 0b111 {
            return Err(DecodeError::Code {
                field: "present",
                code: r.present.into(),
            });
        }
        let side = code("side", r.side)?;
        Ok(Self {
            header: r.header.into(),
            account: has(0).then_some(r.account),
            instrument: has(1).then_some(r.instrument),
            side: has(2).then_some(side),
        })
    }
}

/// `present`: bit 0 the bid is quoted, 1 the ask is quoted.
#[derive(Encode, Decode)]
struct QuoteEntryV1 {
    instrument: InstrumentId,
    refused: u8,
    present: u8,
    bid_id: ClOrdId,
    bid_price: Price,
    bid_qty: Qty,
    ask_id: ClOrdId,
    ask_price: Price,
    ask_qty: Qty,
}

/// `flags`: bit 0 post-only, 1 keep priority.
#[derive(Encode, Decode)]
struct MassQuoteV1 {
    header: HeaderV1,
    flags: u8,
    self_match: u8,
    entries: Vec<QuoteEntryV1>,
}

impl From<&MassQuote> for MassQuoteV1 {
    fn from(c: &MassQuote) -> Self {
        Self {
            header: (&c.header).into(),
            flags: u8::from(c.post_only) | u8::from(c.keep_priority) << 1,
            self_match: c.self_match.code(),
            entries: c
                .entries
                .iter()
                .map(|e| QuoteEntryV1 {
                    instrument: e.instrument,
                    refused: e.refused.map_or(0, RejectReason::code),
                    present: u8::from(e.bid_qty.is_some()) | u8::from(e.ask_qty.is_some()) << 1,
                    bid_id: e.bid_id,
                    bid_price: e.bid_price,
                    bid_qty: e.bid_qty.unwrap_or_default(),
                    ask_id: e.ask_id,
                    ask_price: e.ask_price,
                    ask_qty: e.ask_qty.unwrap_or_default(),
                })
                .collect(),
        }
    }
}

impl TryFrom<MassQuoteV1> for MassQuote {
    type Error = DecodeError;
    fn try_from(r: MassQuoteV1) -> Result<Self, DecodeError> {
        if r.flags > 0b11 {
            return Err(DecodeError::Code {
                field: "flags",
                code: r.flags.into(),
            });
        }
        if r.entries.len() > Self::MAX_ENTRIES {
            return Err(DecodeError::Code {
                field: "entries",
                code: r.entries.len() as u64,
            });
        }
        let entries = r
            .entries
            .into_iter()
            .map(|e| {
                if e.present > 0b11 {
                    return Err(DecodeError::Code {
                        field: "present",
                        code: e.present.into(),
                    });
                }
                Ok(QuoteEntry {
                    instrument: e.instrument,
                    refused: match e.refused {
                        0 => None,
                        reason => Some(code("refused", reason)?),
                    },
                    bid_id: e.bid_id,
                    bid_price: e.bid_price,
                    bid_qty: (e.present & 1 == 1).then_some(e.bid_qty),
                    ask_id: e.ask_id,
                    ask_price: e.ask_price,
                    ask_qty: (e.present & 2 == 2).then_some(e.ask_qty),
                    backing: Backing::NOTHING,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            header: r.header.into(),
            post_only: r.flags & 1 == 1,
            keep_priority: r.flags & 2 == 2,
            self_match: code("self_match", r.self_match)?,
            entries,
        })
    }
}

#[derive(Encode, Decode)]
struct SessionLogonV1 {
    name: Name,
    conn: ConnToken,
    received: Timestamp,
}

#[derive(Encode, Decode)]
struct SessionFenceV1 {
    session: SessionId,
    generation: Generation,
    reason: u8,
    cancel_orders: bool,
    received: Timestamp,
}

#[derive(Encode, Decode)]
struct SetPhaseV1 {
    header: HeaderV1,
    instrument: InstrumentId,
    phase: u8,
    has_ref_price: bool,
    ref_price: Price,
}

#[derive(Encode, Decode)]
struct TermsV1 {
    class: u16,
    partition: u8,
    profile: u8,
    tier: u8,
    zone: u16,
    start_hour: u32,
    hours: u16,
    weight: u32,
}

#[derive(Encode, Decode)]
struct InstrumentV1 {
    name: Name,
    tick: i64,
    lot: u64,
    min_price: Price,
    max_price: Price,
    min_qty: Qty,
    max_qty: Qty,
    ref_price: Option<Price>,
    protect: Option<u64>,
    algo: u8,
    min_alloc: u64,
    top_min: u64,
    top_max: u64,
    fifo_pct: u8,
    tick_micro_usd: u32,
    terms: Option<TermsV1>,
}

impl From<&Instrument> for InstrumentV1 {
    fn from(i: &Instrument) -> Self {
        Self {
            name: i.name,
            tick: i.tick,
            lot: i.lot,
            min_price: i.min_price,
            max_price: i.max_price,
            min_qty: i.min_qty,
            max_qty: i.max_qty,
            ref_price: i.ref_price,
            protect: i.protect,
            algo: i.algo.code(),
            min_alloc: i.min_alloc,
            top_min: i.top_min,
            top_max: i.top_max,
            fifo_pct: i.fifo_pct,
            tick_micro_usd: i.tick_micro_usd,
            terms: i.terms.as_ref().map(|t| TermsV1 {
                class: t.class,
                partition: t.partition.code(),
                profile: t.profile,
                tier: t.tier,
                zone: t.zone,
                start_hour: t.start_hour,
                hours: t.hours,
                weight: t.weight,
            }),
        }
    }
}

impl TryFrom<InstrumentV1> for Instrument {
    type Error = DecodeError;
    fn try_from(r: InstrumentV1) -> Result<Self, DecodeError> {
        check_name(&r.name, "name")?;
        let terms = r
            .terms
            .map(|t| {
                Ok::<_, DecodeError>(ContractTerms {
                    class: t.class,
                    partition: code::<Partition>("partition", t.partition)?,
                    profile: t.profile,
                    tier: t.tier,
                    zone: t.zone,
                    start_hour: t.start_hour,
                    hours: t.hours,
                    weight: t.weight,
                    windows: 1,
                    reclaim: None,
                })
            })
            .transpose()?;
        Ok(Self {
            name: r.name,
            tick: r.tick,
            lot: r.lot,
            min_price: r.min_price,
            max_price: r.max_price,
            min_qty: r.min_qty,
            max_qty: r.max_qty,
            ref_price: r.ref_price,
            protect: r.protect,
            algo: code::<MatchAlgo>("algo", r.algo)?,
            min_alloc: r.min_alloc,
            top_min: r.top_min,
            top_max: r.top_max,
            fifo_pct: r.fifo_pct,
            tick_micro_usd: r.tick_micro_usd,
            terms,
            volatility: None,
            indicative: false,
        })
    }
}

#[derive(Encode, Decode)]
struct ListInstrumentV1 {
    header: HeaderV1,
    instrument: InstrumentV1,
}

/// What follows the definition of an instrument that has any of it. `present`: bit 0 volatility
/// guard, 1 indicative prices; the fields of an absent guard are zero.
///
/// | offset | field | width |
/// |---:|---|---:|
/// | 0 | present | 1 |
/// | 1 | band, ticks | 8 |
/// | 9 | length, ns | 8 |
#[derive(Encode, Decode)]
struct RulesV1 {
    present: u8,
    band: u64,
    length_ns: u64,
}

impl RulesV1 {
    /// None for an instrument without any, whose record keeps its older form.
    fn of(instrument: &Instrument) -> Option<Self> {
        let guard = instrument.volatility;
        let present = u8::from(guard.is_some()) | u8::from(instrument.indicative) << 1;
        (present != 0).then(|| Self {
            present,
            band: guard.map_or(0, |guard| guard.band),
            length_ns: guard.map_or(0, |guard| guard.length_ns),
        })
    }

    fn put(&self, instrument: &mut Instrument) -> Result<(), DecodeError> {
        if !(1..=0b11).contains(&self.present) {
            return Err(DecodeError::Code {
                field: "present",
                code: self.present.into(),
            });
        }
        instrument.volatility = (self.present & 1 == 1).then_some(VolatilityGuard {
            band: self.band,
            length_ns: self.length_ns,
        });
        instrument.indicative = self.present & 2 == 2;
        Ok(())
    }
}

#[derive(Encode, Decode)]
struct ClassV1 {
    name: Name,
    slices: u8,
    stake: u64,
}

#[derive(Encode, Decode)]
struct CatalogueV1 {
    version: u16,
    tick_micro_usd: u32,
    classes: Vec<ClassV1>,
    profiles: Vec<Name>,
    zones: Vec<Name>,
}

#[derive(Encode, Decode)]
struct SetCatalogueV1 {
    header: HeaderV1,
    catalogue: CatalogueV1,
}

impl From<&Catalogue> for CatalogueV1 {
    fn from(c: &Catalogue) -> Self {
        Self {
            version: c.version,
            tick_micro_usd: c.tick_micro_usd,
            classes: c
                .classes
                .iter()
                .map(|d| ClassV1 {
                    name: d.name,
                    slices: d.slices,
                    stake: d.stake,
                })
                .collect(),
            profiles: c.profiles.clone(),
            zones: c.zones.clone(),
        }
    }
}

impl TryFrom<CatalogueV1> for Catalogue {
    type Error = DecodeError;
    fn try_from(r: CatalogueV1) -> Result<Self, DecodeError> {
        for (field, len) in [
            ("classes", r.classes.len()),
            ("profiles", r.profiles.len()),
            ("zones", r.zones.len()),
        ] {
            if len > Self::MAX_ENTRIES {
                return Err(DecodeError::Code {
                    field,
                    code: len as u64,
                });
            }
        }
        for class in &r.classes {
            check_name(&class.name, "classes")?;
        }
        for name in &r.profiles {
            check_name(name, "profiles")?;
        }
        for name in &r.zones {
            check_name(name, "zones")?;
        }
        Ok(Self {
            version: r.version,
            tick_micro_usd: r.tick_micro_usd,
            classes: r
                .classes
                .into_iter()
                .map(|d| ClassDef {
                    name: d.name,
                    slices: d.slices,
                    stake: d.stake,
                })
                .collect(),
            profiles: r.profiles,
            zones: r.zones,
            workloads: Vec::new(),
            efficiency: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests;
