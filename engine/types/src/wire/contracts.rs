//! Journal payloads of requests about compute contracts, 0x30 to 0x4f.

use super::{
    Decode, DecodeError, Encode, EncodeError, HeaderV1, ListInstrumentV1, MAX_PAYLOAD, MassQuoteV1,
    NewOrderFull, RulesV1, SetCatalogueV1, TargetV1, check_name, code, decode_exact, encode_into,
};
use crate::command::{Command, ListInstrument, MassQuote, NewOrder, SetCatalogue};
use crate::contract::{Catalogue, Efficiency, Instrument, Name, Reclaim};
use crate::contract_command::{
    AttestPool, AwardQuote, Backing, BlockLimit, BlockOrder, CarveOrder, ContractCommand,
    DeclarePool, Leg, MigProfile, Need, PoolId, PoolPath, PreemptOrder, RfqOrder, RfqQuote,
    SetLimit, SubOrder,
};
use crate::ids::{AccountId, InstrumentId};
use crate::units::{Price, Qty, Timestamp};

/// Record types of this file.
pub mod kind {
    /// `NewOrder` of an ask on a contract.
    pub const NEW_ORDER_BACKED: u8 = 0x30;
    /// `MassQuote` with asks on contracts.
    pub const MASS_QUOTE_BACKED: u8 = 0x31;
    /// `ListInstrument` of a series or of a reclaimable contract.
    pub const LIST_CONTRACT: u8 = 0x32;
    /// `SetCatalogue` with workloads.
    pub const SET_CATALOGUE_WORKLOADS: u8 = 0x33;
    /// `DeclarePool`.
    pub const POOL: u8 = 0x34;
    /// `AttestPool`.
    pub const ATTEST: u8 = 0x35;
    /// `SetLimit`.
    pub const LIMIT: u8 = 0x36;
    /// `SubOrder`.
    pub const SUB: u8 = 0x37;
    /// `BlockOrder`.
    pub const BLOCK: u8 = 0x38;
    /// `CarveOrder`.
    pub const CARVE: u8 = 0x39;
    /// `RfqOrder`.
    pub const RFQ: u8 = 0x3a;
    /// `RfqQuote`.
    pub const QUOTE: u8 = 0x3b;
    /// `AwardQuote`.
    pub const AWARD: u8 = 0x3c;
    /// `PreemptOrder`.
    pub const PREEMPT: u8 = 0x3d;
}

fn too_many(field: &'static str, len: usize) -> DecodeError {
    DecodeError::Code {
        field,
        code: len as u64,
    }
}

// ---- older requests with more fields ----

pub(super) fn encode_backed_order(order: &NewOrder, out: &mut Vec<u8>) -> Result<u8, EncodeError> {
    encode_into(&(NewOrderFull::from(order), order.backing), out)?;
    Ok(kind::NEW_ORDER_BACKED)
}

pub(super) fn encode_backed_quotes(
    quotes: &MassQuote,
    out: &mut Vec<u8>,
) -> Result<u8, EncodeError> {
    let backing: Vec<Backing> = quotes.entries.iter().map(|entry| entry.backing).collect();
    encode_into(&(MassQuoteV1::from(quotes), backing), out)?;
    Ok(kind::MASS_QUOTE_BACKED)
}

#[derive(Encode, Decode)]
struct ReclaimV1 {
    notice_s: u32,
    compensation: i64,
    max_times: u32,
    min_run_s: u32,
    restart_minutes: u32,
}

pub(super) fn is_plain_listing(instrument: &Instrument) -> bool {
    let more = instrument.terms.as_ref();
    more.is_none_or(|terms| terms.windows == 1 && terms.reclaim.is_none())
}

pub(super) fn encode_contract(list: &ListInstrument, out: &mut Vec<u8>) -> Result<u8, EncodeError> {
    let terms = list.instrument.terms.as_ref();
    let reclaim = terms.and_then(|terms| terms.reclaim).map(|r| ReclaimV1 {
        notice_s: r.notice_s,
        compensation: r.compensation,
        max_times: r.max_times,
        min_run_s: r.min_run_s,
        restart_minutes: r.restart_minutes,
    });
    let record = ListInstrumentV1 {
        header: (&list.header).into(),
        instrument: (&list.instrument).into(),
    };
    let windows = terms.map_or(1, |terms| terms.windows);
    encode_into(
        &(record, RulesV1::of(&list.instrument), windows, reclaim),
        out,
    )?;
    Ok(kind::LIST_CONTRACT)
}

fn decode_contract(payload: &[u8]) -> Result<ListInstrument, DecodeError> {
    type Record = (ListInstrumentV1, Option<RulesV1>, u16, Option<ReclaimV1>);
    let (record, rules, windows, reclaim) = decode_exact::<Record, MAX_PAYLOAD>(payload)?;
    let mut instrument: Instrument = record.instrument.try_into()?;
    if let Some(rules) = rules {
        rules.put(&mut instrument)?;
    }
    let terms = instrument.terms.as_mut().ok_or(DecodeError::Code {
        field: "terms",
        code: 0,
    })?;
    terms.windows = windows;
    terms.reclaim = reclaim.map(|r| Reclaim {
        notice_s: r.notice_s,
        compensation: r.compensation,
        max_times: r.max_times,
        min_run_s: r.min_run_s,
        restart_minutes: r.restart_minutes,
    });
    Ok(ListInstrument {
        header: record.header.into(),
        instrument,
    })
}

#[derive(Encode, Decode)]
struct EfficiencyV1 {
    class: u16,
    partition: u8,
    profile: u8,
    workload: u8,
    share: u32,
    overhead: i32,
    factor: u32,
}

pub(super) fn encode_workloads(set: &SetCatalogue, out: &mut Vec<u8>) -> Result<u8, EncodeError> {
    let record = SetCatalogueV1 {
        header: (&set.header).into(),
        catalogue: (&set.catalogue).into(),
    };
    let rows = set.catalogue.efficiency.iter().map(|row| EfficiencyV1 {
        class: row.class,
        partition: row.partition.code(),
        profile: row.profile,
        workload: row.workload,
        share: row.share,
        overhead: row.overhead,
        factor: row.factor,
    });
    let rows: Vec<_> = rows.collect();
    encode_into(&(record, &set.catalogue.workloads, rows), out)?;
    Ok(kind::SET_CATALOGUE_WORKLOADS)
}

fn decode_workloads(payload: &[u8]) -> Result<SetCatalogue, DecodeError> {
    type Record = (SetCatalogueV1, Vec<Name>, Vec<EfficiencyV1>);
    let (record, workloads, rows) = decode_exact::<Record, MAX_PAYLOAD>(payload)?;
    let mut catalogue: Catalogue = record.catalogue.try_into()?;
    if workloads.len() > Catalogue::MAX_ENTRIES {
        return Err(too_many("workloads", workloads.len()));
    }
    if rows.len() > Catalogue::MAX_EFFICIENCY {
        return Err(too_many("efficiency", rows.len()));
    }
    for name in &workloads {
        check_name(name, "workloads")?;
    }
    catalogue.workloads = workloads;
    let rows = rows.into_iter().map(|row| {
        Ok::<_, DecodeError>(Efficiency {
            class: row.class,
            partition: code("partition", row.partition)?,
            profile: row.profile,
            workload: row.workload,
            share: row.share,
            overhead: row.overhead,
            factor: row.factor,
        })
    });
    catalogue.efficiency = rows.collect::<Result<_, _>>()?;
    Ok(SetCatalogue {
        header: record.header.into(),
        catalogue,
    })
}

// ---- requests of their own ----

#[derive(Encode, Decode)]
struct PoolV1 {
    header: HeaderV1,
    name: Name,
    class: u16,
    partition: u8,
    profile: u8,
    zone: u16,
    path: Vec<u32>,
    first_device: u32,
    devices: u32,
}

#[derive(Encode, Decode)]
struct AttestV1 {
    header: HeaderV1,
    pool: PoolId,
    qty: u32,
    until: Timestamp,
    score: Option<u16>,
    stake: Option<u64>,
}

#[derive(Encode, Decode)]
struct LimitV1 {
    header: HeaderV1,
    max_weight: u64,
}

#[derive(Encode, Decode)]
struct NeedV1 {
    isolation: u8,
    min_notice_s: u32,
    exclude: Vec<AccountId>,
    min_score: u16,
    max_age_s: Option<u32>,
    min_stake: u64,
}

impl From<&Need> for NeedV1 {
    fn from(need: &Need) -> Self {
        Self {
            isolation: need.isolation.code(),
            min_notice_s: need.min_notice_s,
            exclude: need.exclude.clone(),
            min_score: need.min_score,
            max_age_s: need.max_age_s,
            min_stake: need.min_stake,
        }
    }
}

impl TryFrom<NeedV1> for Need {
    type Error = DecodeError;
    fn try_from(r: NeedV1) -> Result<Self, DecodeError> {
        if r.exclude.len() > Self::MAX_EXCLUDED {
            return Err(too_many("exclude", r.exclude.len()));
        }
        Ok(Self {
            isolation: code("isolation", r.isolation)?,
            min_notice_s: r.min_notice_s,
            exclude: r.exclude,
            min_score: r.min_score,
            max_age_s: r.max_age_s,
            min_stake: r.min_stake,
        })
    }
}

#[derive(Encode, Decode)]
struct LegV1 {
    classes: u64,
    partitions: u8,
    profiles: u64,
    zones: u64,
    min_tier: u8,
    bias: i64,
}

#[derive(Encode, Decode)]
struct SubV1 {
    header: HeaderV1,
    start_hour: u32,
    hours: u16,
    mode: u8,
    qty: u32,
    workload: u8,
    limit: i64,
    legs: Vec<LegV1>,
    time_in_force: u8,
    need: NeedV1,
}

/// `limit_is_total`: the limit is the total, else the average.
#[derive(Encode, Decode)]
struct BlockV1 {
    header: HeaderV1,
    instrument: InstrumentId,
    qty: u32,
    windows: u32,
    flex: u32,
    level: u8,
    moves: u32,
    fee: i64,
    limit_is_total: bool,
    limit: i64,
    need: NeedV1,
}

#[derive(Encode, Decode)]
struct CarveV1 {
    header: HeaderV1,
    pool: PoolId,
    tier: u8,
    start_hour: u32,
    hours: u16,
    prices: [Option<Price>; MigProfile::ALL.len()],
}

#[derive(Encode, Decode)]
struct RfqV1 {
    header: HeaderV1,
    instrument: InstrumentId,
    qty: u32,
    price: i64,
    level: u8,
    closes: Timestamp,
    max_quotes: u8,
    auto: bool,
    need: NeedV1,
}

#[derive(Encode, Decode)]
struct QuoteV1 {
    header: HeaderV1,
    rfq: TargetV1,
    pool: PoolId,
    price: i64,
    notice_s: Option<u32>,
}

#[derive(Encode, Decode)]
struct AwardV1 {
    header: HeaderV1,
    rfq: TargetV1,
    quote: TargetV1,
}

#[derive(Encode, Decode)]
struct PreemptV1 {
    header: HeaderV1,
    instrument: InstrumentId,
    qty: Qty,
    price: Price,
    from_hour: u32,
}

pub(super) fn encode(command: &ContractCommand, out: &mut Vec<u8>) -> Result<u8, EncodeError> {
    let header = HeaderV1::from(command.header());
    Ok(match command {
        ContractCommand::Pool(c) => {
            let record = PoolV1 {
                header,
                name: c.name,
                class: c.class,
                partition: c.partition.code(),
                profile: c.profile,
                zone: c.zone,
                path: c.path.components().to_vec(),
                first_device: c.first_device,
                devices: c.devices,
            };
            encode_into(&record, out)?;
            kind::POOL
        }
        ContractCommand::Attest(c) => {
            let record = AttestV1 {
                header,
                pool: c.pool,
                qty: c.qty,
                until: c.until,
                score: c.score,
                stake: c.stake,
            };
            encode_into(&record, out)?;
            kind::ATTEST
        }
        ContractCommand::Limit(c) => {
            let max_weight = c.max_weight;
            encode_into(&LimitV1 { header, max_weight }, out)?;
            kind::LIMIT
        }
        ContractCommand::Sub(c) => {
            encode_into(&sub_record(header, c), out)?;
            kind::SUB
        }
        ContractCommand::Block(c) => {
            let (limit_is_total, limit) = match c.limit {
                BlockLimit::Average(limit) => (false, limit),
                BlockLimit::Total(limit) => (true, limit),
            };
            let record = BlockV1 {
                header,
                instrument: c.instrument,
                qty: c.qty,
                windows: c.windows,
                flex: c.flex,
                level: c.level.code(),
                moves: c.moves,
                fee: c.fee,
                limit_is_total,
                limit,
                need: (&c.need).into(),
            };
            encode_into(&record, out)?;
            kind::BLOCK
        }
        ContractCommand::Carve(c) => {
            let record = CarveV1 {
                header,
                pool: c.pool,
                tier: c.tier,
                start_hour: c.start_hour,
                hours: c.hours,
                prices: c.prices,
            };
            encode_into(&record, out)?;
            kind::CARVE
        }
        ContractCommand::Rfq(c) => {
            let record = RfqV1 {
                header,
                instrument: c.instrument,
                qty: c.qty,
                price: c.price,
                level: c.level.code(),
                closes: c.closes,
                max_quotes: c.max_quotes,
                auto: c.auto,
                need: (&c.need).into(),
            };
            encode_into(&record, out)?;
            kind::RFQ
        }
        ContractCommand::Quote(c) => {
            let record = QuoteV1 {
                header,
                rfq: c.rfq.into(),
                pool: c.pool,
                price: c.price,
                notice_s: c.notice_s,
            };
            encode_into(&record, out)?;
            kind::QUOTE
        }
        ContractCommand::Award(c) => {
            let record = AwardV1 {
                header,
                rfq: c.rfq.into(),
                quote: c.quote.into(),
            };
            encode_into(&record, out)?;
            kind::AWARD
        }
        ContractCommand::Preempt(c) => {
            let record = PreemptV1 {
                header,
                instrument: c.instrument,
                qty: c.qty,
                price: c.price,
                from_hour: c.from_hour,
            };
            encode_into(&record, out)?;
            kind::PREEMPT
        }
    })
}

fn sub_record(header: HeaderV1, c: &SubOrder) -> SubV1 {
    let leg = |leg: &Leg| LegV1 {
        classes: leg.classes,
        partitions: leg.partitions,
        profiles: leg.profiles,
        zones: leg.zones,
        min_tier: leg.min_tier,
        bias: leg.bias,
    };
    SubV1 {
        header,
        start_hour: c.start_hour,
        hours: c.hours,
        mode: c.mode.code(),
        qty: c.qty,
        workload: c.workload,
        limit: c.limit,
        legs: c.legs.iter().map(leg).collect(),
        time_in_force: c.time_in_force.code(),
        need: (&c.need).into(),
    }
}

/// Reads a record of one of this file's types.
pub(super) fn decode(kind: u8, payload: &[u8]) -> Result<Command, DecodeError> {
    fn read<T: Decode<()>>(payload: &[u8]) -> Result<T, DecodeError> {
        decode_exact::<T, MAX_PAYLOAD>(payload)
    }
    let command = match kind {
        kind::NEW_ORDER_BACKED => {
            let (record, backing) = read::<(NewOrderFull, Backing)>(payload)?;
            let order = NewOrder::try_from(record)?;
            return Ok(Command::NewOrder(NewOrder { backing, ..order }));
        }
        kind::MASS_QUOTE_BACKED => {
            let (record, backing) = read::<(MassQuoteV1, Vec<Backing>)>(payload)?;
            let mut quotes = MassQuote::try_from(record)?;
            if backing.len() != quotes.entries.len() {
                return Err(too_many("backing", backing.len()));
            }
            for (entry, backing) in quotes.entries.iter_mut().zip(backing) {
                entry.backing = backing;
            }
            return Ok(Command::MassQuote(Box::new(quotes)));
        }
        kind::LIST_CONTRACT => {
            return Ok(Command::ListInstrument(Box::new(decode_contract(payload)?)));
        }
        kind::SET_CATALOGUE_WORKLOADS => {
            return Ok(Command::SetCatalogue(Box::new(decode_workloads(payload)?)));
        }
        kind::POOL => ContractCommand::Pool(Box::new(pool(read(payload)?)?)),
        kind::ATTEST => {
            let r = read::<AttestV1>(payload)?;
            ContractCommand::Attest(Box::new(AttestPool {
                header: r.header.into(),
                pool: r.pool,
                qty: r.qty,
                until: r.until,
                score: r.score,
                stake: r.stake,
            }))
        }
        kind::LIMIT => {
            let r = read::<LimitV1>(payload)?;
            ContractCommand::Limit(Box::new(SetLimit {
                header: r.header.into(),
                max_weight: r.max_weight,
            }))
        }
        kind::SUB => ContractCommand::Sub(Box::new(sub(read(payload)?)?)),
        kind::BLOCK => {
            let r = read::<BlockV1>(payload)?;
            ContractCommand::Block(Box::new(BlockOrder {
                header: r.header.into(),
                instrument: r.instrument,
                qty: r.qty,
                windows: r.windows,
                flex: r.flex,
                level: code("level", r.level)?,
                moves: r.moves,
                fee: r.fee,
                limit: if r.limit_is_total {
                    BlockLimit::Total(r.limit)
                } else {
                    BlockLimit::Average(r.limit)
                },
                need: r.need.try_into()?,
            }))
        }
        kind::CARVE => {
            let r = read::<CarveV1>(payload)?;
            ContractCommand::Carve(Box::new(CarveOrder {
                header: r.header.into(),
                pool: r.pool,
                tier: r.tier,
                start_hour: r.start_hour,
                hours: r.hours,
                prices: r.prices,
            }))
        }
        kind::RFQ => {
            let r = read::<RfqV1>(payload)?;
            ContractCommand::Rfq(Box::new(RfqOrder {
                header: r.header.into(),
                instrument: r.instrument,
                qty: r.qty,
                price: r.price,
                level: code("level", r.level)?,
                closes: r.closes,
                max_quotes: r.max_quotes,
                auto: r.auto,
                need: r.need.try_into()?,
            }))
        }
        kind::QUOTE => {
            let r = read::<QuoteV1>(payload)?;
            ContractCommand::Quote(Box::new(RfqQuote {
                header: r.header.into(),
                rfq: r.rfq.try_into()?,
                pool: r.pool,
                price: r.price,
                notice_s: r.notice_s,
            }))
        }
        kind::AWARD => {
            let r = read::<AwardV1>(payload)?;
            ContractCommand::Award(Box::new(AwardQuote {
                header: r.header.into(),
                rfq: r.rfq.try_into()?,
                quote: r.quote.try_into()?,
            }))
        }
        kind::PREEMPT => {
            let r = read::<PreemptV1>(payload)?;
            ContractCommand::Preempt(Box::new(PreemptOrder {
                header: r.header.into(),
                instrument: r.instrument,
                qty: r.qty,
                price: r.price,
                from_hour: r.from_hour,
            }))
        }
        other => return Err(DecodeError::UnknownKind(other)),
    };
    Ok(Command::Contract(command))
}

fn pool(r: PoolV1) -> Result<DeclarePool, DecodeError> {
    check_name(&r.name, "name")?;
    Ok(DeclarePool {
        header: r.header.into(),
        name: r.name,
        class: r.class,
        partition: code("partition", r.partition)?,
        profile: r.profile,
        zone: r.zone,
        path: PoolPath::new(&r.path).ok_or_else(|| too_many("path", r.path.len()))?,
        first_device: r.first_device,
        devices: r.devices,
    })
}

fn sub(r: SubV1) -> Result<SubOrder, DecodeError> {
    // One leg more than there may be is kept, so that the engine can refuse the order by its name.
    if r.legs.len() > SubOrder::MAX_LEGS + 1 {
        return Err(too_many("legs", r.legs.len()));
    }
    let leg = |leg: LegV1| Leg {
        classes: leg.classes,
        partitions: leg.partitions,
        profiles: leg.profiles,
        zones: leg.zones,
        min_tier: leg.min_tier,
        bias: leg.bias,
    };
    Ok(SubOrder {
        header: r.header.into(),
        start_hour: r.start_hour,
        hours: r.hours,
        mode: code("mode", r.mode)?,
        qty: r.qty,
        workload: r.workload,
        limit: r.limit,
        legs: r.legs.into_iter().map(leg).collect(),
        time_in_force: code("time_in_force", r.time_in_force)?,
        need: r.need.try_into()?,
    })
}

#[cfg(test)]
mod tests;
