//! The commands about compute contracts: their form, and their names turned into numbers.

use std::collections::HashMap;

use serde_json::value::RawValue;
use tessera_types::{
    AccountId, AttestPool, AwardQuote, BlockLimit, BlockOrder, CarveOrder, Catalogue, ClOrdId,
    ClassDef, ClientHeader, ColoLevel, Command, ContractCommand, ContractTerms, DeclarePool,
    Efficiency, Instrument, InstrumentId, Isolation, LeaseId, Leg, ListInstrument,
    MAX_CONTRACT_PRICE, MAX_CONTRACT_QTY, MigProfile, Name, Need, OrderTarget, Partition, PoolId,
    PoolPath, PreemptOrder, Price, Qty, Reclaim, RejectReason, RfqOrder, RfqQuote, SetCatalogue,
    SetLimit, SubMode, SubOrder, TimeInForce, Timestamp,
};

use super::Resolver;
use super::command::Text;
use super::fields::{Field, Fields, Form, string};

/// Most names of one list of a leg.
const MAX_NAMES: usize = 64;

/// A command about contracts with its names unresolved; numbers that names stand for are 0.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one of them at a time, boxed in its script command"
)]
pub enum ScriptContract<'a> {
    /// Set the catalogue.
    Catalog(ScriptCatalog<'a>),
    /// List a contract or a series.
    Instrument {
        /// The instrument with its terms.
        instrument: Instrument,
        /// What its terms name.
        place: Place<'a>,
    },
    /// Declare a pool.
    Pool {
        /// Its seller.
        party: Text<'a>,
        /// What it holds.
        place: Place<'a>,
        /// The rest.
        pool: Box<DeclarePool>,
    },
    /// Attest a pool.
    Attest {
        /// Which.
        pool: Text<'a>,
        /// The rest.
        attest: AttestPool,
    },
    /// Limit a party.
    Limit {
        /// Whom.
        party: Text<'a>,
        /// To what.
        max_weight: u64,
    },
    /// A substitution order.
    Sub {
        /// Owner.
        party: Text<'a>,
        /// Which column of the efficiency table.
        workload: Text<'a>,
        /// Names of each leg.
        legs: Vec<ScriptLeg<'a>>,
        /// Excluded sellers.
        exclude: Vec<Text<'a>>,
        /// The rest.
        sub: Box<SubOrder>,
    },
    /// A block.
    Block {
        /// Owner.
        party: Text<'a>,
        /// The first window.
        instrument: Option<Text<'a>>,
        /// Excluded sellers.
        exclude: Vec<Text<'a>>,
        /// The rest.
        block: Box<BlockOrder>,
    },
    /// A device in slices.
    Carve {
        /// Owner.
        party: Text<'a>,
        /// Which pool.
        pool: Text<'a>,
        /// The rest.
        carve: Box<CarveOrder>,
    },
    /// A request for quotes.
    Rfq {
        /// Owner.
        party: Text<'a>,
        /// Where.
        instrument: Option<Text<'a>>,
        /// Excluded sellers.
        exclude: Vec<Text<'a>>,
        /// The rest.
        rfq: Box<RfqOrder>,
    },
    /// A quote.
    Quote {
        /// Owner.
        party: Text<'a>,
        /// Which pool.
        pool: Text<'a>,
        /// The rest.
        quote: RfqQuote,
    },
    /// Take a quote.
    Award {
        /// The buyer.
        party: Text<'a>,
        /// The rest.
        award: AwardQuote,
    },
    /// A bid for the rest of leases.
    Preempt {
        /// Owner.
        party: Text<'a>,
        /// Where.
        instrument: Option<Text<'a>>,
        /// The rest.
        preempt: PreemptOrder,
    },
    /// Ask what of the pools is free.
    Pools {
        /// In which contract.
        instrument: Option<Text<'a>>,
    },
    /// Ask which gangs there are.
    GangDepth {
        /// In which contract.
        instrument: Option<Text<'a>>,
        /// Within what.
        level: ColoLevel,
    },
    /// Ask for leases.
    Leases {
        /// Holder filter.
        party: Option<Text<'a>>,
        /// Contract filter.
        instrument: Option<Text<'a>>,
    },
}

/// A catalogue as a script writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptCatalog<'a> {
    version: u16,
    tick_micro_usd: u32,
    classes: Vec<(Text<'a>, u8, u64)>,
    zones: Vec<Text<'a>>,
    efficiency: Vec<ScriptEfficiency<'a>>,
}

/// A row of the efficiency table; class, profile and workload are named.
#[derive(Clone, Debug, PartialEq)]
struct ScriptEfficiency<'a> {
    class: Text<'a>,
    profile: Option<Text<'a>>,
    workload: Text<'a>,
    row: Efficiency,
}

/// What a contract or a pool is of.
#[derive(Clone, Debug, PartialEq)]
pub struct Place<'a> {
    class: Text<'a>,
    partition: Partition,
    profile: Option<Text<'a>>,
    zone: Text<'a>,
}

/// Names of a leg; an absent list fits all.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptLeg<'a> {
    classes: Option<Vec<Text<'a>>>,
    partitions: Option<Vec<Text<'a>>>,
    profiles: Option<Vec<Text<'a>>>,
    zones: Option<Vec<Text<'a>>>,
    min_tier: u8,
    bias: i64,
}

impl ScriptContract<'_> {
    /// The word of the script.
    #[must_use]
    pub const fn op(&self) -> super::Op {
        use super::Op;
        match self {
            Self::Catalog(_) => Op::Catalog,
            Self::Instrument { .. } => Op::Instrument,
            Self::Pool { .. } => Op::Pool,
            Self::Attest { .. } => Op::Attest,
            Self::Limit { .. } => Op::Limit,
            Self::Sub { .. } => Op::Sub,
            Self::Block { .. } => Op::Block,
            Self::Carve { .. } => Op::Carve,
            Self::Rfq { .. } => Op::Rfq,
            Self::Quote { .. } => Op::Quote,
            Self::Award { .. } => Op::Award,
            Self::Preempt { .. } => Op::Preempt,
            Self::Pools { .. } => Op::Pools,
            Self::GangDepth { .. } => Op::GangDepth,
            Self::Leases { .. } => Op::Leases,
        }
    }

    /// True when it only asks.
    #[must_use]
    pub const fn asks(&self) -> bool {
        matches!(
            self,
            Self::Pools { .. } | Self::GangDepth { .. } | Self::Leases { .. }
        )
    }

    /// The id on the line.
    #[must_use]
    pub const fn id(&self) -> Option<ClOrdId> {
        match self {
            Self::Sub { sub, .. } => Some(sub.header.cl_ord_id),
            Self::Block { block, .. } => Some(block.header.cl_ord_id),
            Self::Carve { carve, .. } => Some(carve.header.cl_ord_id),
            Self::Rfq { rfq, .. } => Some(rfq.header.cl_ord_id),
            Self::Quote { quote, .. } => Some(quote.header.cl_ord_id),
            Self::Preempt { preempt, .. } => Some(preempt.header.cl_ord_id),
            _ => None,
        }
    }

    /// True when it stands or falls with an instrument that it leaves out.
    #[must_use]
    pub const fn uses_default_instrument(&self) -> bool {
        match self {
            Self::Block { instrument, .. }
            | Self::Rfq { instrument, .. }
            | Self::Preempt { instrument, .. }
            | Self::Pools { instrument }
            | Self::GangDepth { instrument, .. } => instrument.is_none(),
            _ => false,
        }
    }
}

// ---- form ----

/// The fields that make an instrument a contract.
const CONTRACT_FIELDS: [Field; 9] = [
    Field::Class,
    Field::Zone,
    Field::Partition,
    Field::Profile,
    Field::Tier,
    Field::Start,
    Field::Hours,
    Field::Windows,
    Field::Weight,
];

/// True when an instrument's fields make it a contract.
pub(super) fn is_contract(form: &Form<'_, '_>) -> bool {
    form.has(Field::Reclaim) || CONTRACT_FIELDS.into_iter().any(|field| form.has(field))
}

fn number<T: TryFrom<i64>>(
    form: &mut Form<'_, '_>,
    field: Field,
    range: core::ops::RangeInclusive<i64>,
) -> Option<T> {
    let value = form.int(field, -i64::MAX)?;
    let fits = range.contains(&value);
    let value = T::try_from(value).ok().filter(|_| fits);
    form.refuse_if(value.is_none());
    value
}

fn any_u32(form: &mut Form<'_, '_>, field: Field) -> Option<u32> {
    number(form, field, 0..=i64::from(u32::MAX))
}

fn qty(form: &mut Form<'_, '_>, field: Field) -> u32 {
    form.require(field);
    number(form, field, 1..=i64::from(MAX_CONTRACT_QTY)).unwrap_or(1)
}

fn ticks(form: &mut Form<'_, '_>, field: Field, least: i64) -> Option<i64> {
    number(form, field, least..=MAX_CONTRACT_PRICE)
}

fn required_name<'a>(form: &mut Form<'_, 'a>, field: Field) -> Text<'a> {
    form.require(field);
    form.name(field).unwrap_or_default()
}

fn header(form: &mut Form<'_, '_>) -> ClientHeader {
    form.require(Field::Id);
    let id = form.uint(Field::Id, 1).unwrap_or(0);
    ClientHeader {
        cl_ord_id: ClOrdId::new(id),
        ..ClientHeader::default()
    }
}

fn hours(form: &mut Form<'_, '_>) -> u16 {
    number(form, Field::Hours, 1..=8_784).unwrap_or(1)
}

fn tier(form: &mut Form<'_, '_>) -> u8 {
    number(form, Field::Tier, 0..=4).unwrap_or(2)
}

fn start(form: &mut Form<'_, '_>) -> u32 {
    form.require(Field::Start);
    any_u32(form, Field::Start).unwrap_or(0)
}

fn level(form: &mut Form<'_, '_>) -> ColoLevel {
    let level = form.word(Field::Level, ColoLevel::from_word);
    level.unwrap_or(ColoLevel::Pool)
}

fn place<'a>(form: &mut Form<'_, 'a>) -> Place<'a> {
    let word = form.word(Field::Partition, Partition::from_word);
    let partition = word.unwrap_or(Partition::Whole);
    if word.is_some() || !form.has(Field::Partition) {
        let whole = matches!(partition, Partition::Whole | Partition::Tee);
        form.require_only_if(!whole, Field::Profile);
    }
    Place {
        class: required_name(form, Field::Class),
        partition,
        profile: form.name(Field::Profile),
        zone: required_name(form, Field::Zone),
    }
}

/// Adds to the form of an instrument what makes it a contract.
pub(super) fn contract<'a>(
    form: &mut Form<'_, 'a>,
    mut instrument: Instrument,
) -> ScriptContract<'a> {
    for field in [
        Field::Lot,
        Field::RefPrice,
        Field::Protect,
        Field::Algo,
        Field::MinAlloc,
        Field::TopMin,
        Field::TopMax,
        Field::FifoPct,
        Field::ViBand,
        Field::ViNs,
        Field::Indicative,
    ] {
        form.refuse_if(form.has(field));
    }
    let place = place(form);
    let reclaim = form.has(Field::Reclaim).then(|| {
        let fields = form.object(Field::Reclaim);
        fields.map(|fields| nested(form, &fields, reclaim))
    });
    instrument.terms = Some(ContractTerms {
        class: 0,
        partition: place.partition,
        profile: 0,
        tier: tier(form),
        zone: 0,
        start_hour: start(form),
        hours: hours(form),
        weight: number(form, Field::Weight, 1..=i64::from(MAX_CONTRACT_QTY)).unwrap_or(10_000),
        windows: number(form, Field::Windows, 1..=720).unwrap_or(1),
        reclaim: reclaim.flatten(),
    });
    ScriptContract::Instrument { instrument, place }
}

fn reclaim(form: &mut Form<'_, '_>) -> Reclaim {
    form.require(Field::NoticeS);
    Reclaim {
        notice_s: number(form, Field::NoticeS, 0..=2_592_000).unwrap_or(0),
        compensation: ticks(form, Field::Compensation, 0).unwrap_or(0),
        max_times: any_u32(form, Field::MaxTimes).unwrap_or(1),
        min_run_s: any_u32(form, Field::MinRunS).unwrap_or(0),
        restart_minutes: any_u32(form, Field::RestartMinutes).unwrap_or(0),
    }
}

/// Reads an object inside a command; what is wrong with it is wrong with the command.
fn nested<'f, 'a, T>(
    form: &mut Form<'_, 'a>,
    fields: &'f Fields<'a>,
    read: impl FnOnce(&mut Form<'f, 'a>) -> T,
) -> T {
    let mut inner = Form::nested(fields);
    let value = read(&mut inner);
    match inner.verdict() {
        Ok(()) => {}
        Err(RejectReason::MissingField) => form.missing_if(true),
        Err(_) => form.refuse_if(true),
    }
    value
}

/// A list of objects, each read by `read`.
fn objects<'a, T>(
    form: &mut Form<'_, 'a>,
    field: Field,
    read: impl Fn(&mut Form<'_, 'a>) -> T,
) -> Vec<T> {
    let list: Vec<&'a RawValue> = form.list(field).unwrap_or_default();
    let mut values = Vec::with_capacity(list.len());
    for raw in list {
        match Fields::parse(raw.get()) {
            Some(fields) => values.push(nested(form, &fields, |inner| read(inner))),
            None => form.refuse_if(true),
        }
    }
    values
}

fn names<'a>(form: &mut Form<'_, 'a>, field: Field, most: usize) -> Option<Vec<Text<'a>>> {
    let list: Vec<&'a RawValue> = form.list(field)?;
    form.refuse_if(list.len() > most);
    let mut names = Vec::new();
    for raw in list {
        match string(raw.get()).filter(|name| (1..=64).contains(&name.len())) {
            Some(name) => names.push(name),
            None => form.refuse_if(true),
        }
    }
    Some(names)
}

pub(super) fn catalog<'a>(form: &mut Form<'_, 'a>) -> ScriptContract<'a> {
    form.require(Field::Version);
    let table = |form: &mut Form<'_, 'a>| {
        let class = required_name(form, Field::Class);
        let slices: u8 = number(form, Field::Slices, 0..=7).unwrap_or(0);
        form.refuse_if(slices != 0 && slices != 7);
        (class, slices, form.uint(Field::Stake, 0).unwrap_or(0))
    };
    let tick: u32 = number(form, Field::TickMicroUsd, 60..=i64::from(u32::MAX)).unwrap_or(60);
    form.refuse_if(!tick.is_multiple_of(60));
    ScriptContract::Catalog(ScriptCatalog {
        version: number(form, Field::Version, 0..=i64::from(u16::MAX)).unwrap_or(0),
        tick_micro_usd: tick,
        classes: objects(form, Field::Classes, table),
        zones: names(form, Field::Zones, MAX_NAMES).unwrap_or_default(),
        efficiency: objects(form, Field::Efficiency, efficiency),
    })
}

fn efficiency<'a>(form: &mut Form<'_, 'a>) -> ScriptEfficiency<'a> {
    let partition = form.word(Field::Partition, Partition::from_word);
    let partition = partition.unwrap_or(Partition::Whole);
    let whole = matches!(partition, Partition::Whole | Partition::Tee);
    form.require_only_if(!whole, Field::Profile);
    ScriptEfficiency {
        class: required_name(form, Field::Class),
        profile: form.name(Field::Profile),
        workload: required_name(form, Field::Workload),
        row: Efficiency {
            class: 0,
            partition,
            profile: 0,
            workload: 0,
            share: number(form, Field::Share, 0..=1 << 20).unwrap_or(10_000),
            overhead: number(
                form,
                Field::Overhead,
                i64::from(i32::MIN)..=i64::from(i32::MAX),
            )
            .unwrap_or(0),
            factor: number(form, Field::Factor, 0..=1 << 20).unwrap_or(10_000),
        },
    }
}

pub(super) fn pool<'a>(form: &mut Form<'_, 'a>) -> ScriptContract<'a> {
    form.require(Field::Path);
    form.require(Field::FirstDevice);
    let name = required_name(form, Field::Pool);
    let list: Vec<&RawValue> = form.list(Field::Path).unwrap_or_default();
    let parts: Option<Vec<u32>> = list.iter().map(|raw| raw.get().parse().ok()).collect();
    let path = parts.and_then(|parts| PoolPath::new(&parts));
    form.refuse_if(path.is_none());
    let place = place(form);
    ScriptContract::Pool {
        party: required_name(form, Field::Party),
        pool: Box::new(DeclarePool {
            header: ClientHeader::default(),
            name: Name::new(&name)
                .or_else(|_| Name::new("?"))
                .expect("one byte is a name"),
            class: 0,
            partition: place.partition,
            profile: 0,
            zone: 0,
            path: path.unwrap_or_default(),
            first_device: any_u32(form, Field::FirstDevice).unwrap_or(0),
            devices: qty(form, Field::Devices),
        }),
        place,
    }
}

pub(super) fn attest<'a>(form: &mut Form<'_, 'a>) -> ScriptContract<'a> {
    form.require(Field::Until);
    ScriptContract::Attest {
        pool: required_name(form, Field::Pool),
        attest: AttestPool {
            header: ClientHeader::default(),
            pool: PoolId::MAX,
            qty: qty(form, Field::Qty),
            until: Timestamp::from_nanos(form.uint(Field::Until, 0).unwrap_or(0)),
            score: number(form, Field::Score, 0..=10_000),
            stake: form.uint(Field::Stake, 0),
        },
    }
}

pub(super) fn limit<'a>(form: &mut Form<'_, 'a>) -> ScriptContract<'a> {
    form.require(Field::MaxWeight);
    ScriptContract::Limit {
        party: required_name(form, Field::Party),
        max_weight: form.uint(Field::MaxWeight, 0).unwrap_or(0),
    }
}

/// The need of an order, and the sellers that it excludes.
fn need<'a>(form: &mut Form<'_, 'a>) -> (Need, Vec<Text<'a>>) {
    let Some(fields) = form.object(Field::Need) else {
        return (Need::NOTHING, Vec::new());
    };
    nested(form, &fields, |form| {
        let exclude = names(form, Field::Exclude, Need::MAX_EXCLUDED).unwrap_or_default();
        let need = Need {
            isolation: form
                .word(Field::Isolation, Isolation::from_word)
                .unwrap_or(Isolation::None),
            min_notice_s: number(form, Field::MinNoticeS, 0..=2_592_000).unwrap_or(0),
            exclude: Vec::new(),
            min_score: number(form, Field::MinScore, 0..=10_000).unwrap_or(0),
            max_age_s: any_u32(form, Field::MaxAgeS),
            min_stake: form.uint(Field::MinStake, 0).unwrap_or(0),
        };
        (need, exclude)
    })
}

pub(super) fn sub<'a>(form: &mut Form<'_, 'a>) -> ScriptContract<'a> {
    form.require(Field::Limit);
    form.require(Field::Legs);
    let tif = form.word(Field::Tif, TimeInForce::from_word);
    let tif = tif.unwrap_or(TimeInForce::Gtc);
    form.refuse_if(matches!(tif, TimeInForce::Day | TimeInForce::Gtd));
    let mut legs = objects(form, Field::Legs, leg);
    form.refuse_if(form.has(Field::Legs) && legs.is_empty());
    // One more than there may be is enough for the engine to refuse the order by its reason.
    legs.truncate(SubOrder::MAX_LEGS + 1);
    let (need, exclude) = need(form);
    ScriptContract::Sub {
        party: required_name(form, Field::Party),
        workload: required_name(form, Field::Workload),
        legs,
        exclude,
        sub: Box::new(SubOrder {
            header: header(form),
            start_hour: start(form),
            hours: hours(form),
            mode: form
                .word(Field::Mode, SubMode::from_word)
                .unwrap_or(SubMode::Units),
            qty: qty(form, Field::Qty),
            workload: u8::MAX,
            limit: ticks(form, Field::Limit, -MAX_CONTRACT_PRICE).unwrap_or(0),
            legs: Vec::new(),
            time_in_force: tif,
            need,
        }),
    }
}

fn leg<'a>(form: &mut Form<'_, 'a>) -> ScriptLeg<'a> {
    ScriptLeg {
        classes: names(form, Field::Class, MAX_NAMES),
        partitions: names(form, Field::Partition, MAX_NAMES),
        profiles: names(form, Field::Profile, MAX_NAMES),
        zones: names(form, Field::Zone, MAX_NAMES),
        min_tier: number(form, Field::MinTier, 0..=4).unwrap_or(0),
        bias: ticks(form, Field::Bias, -MAX_CONTRACT_PRICE).unwrap_or(0),
    }
}

pub(super) fn block<'a>(form: &mut Form<'_, 'a>) -> ScriptContract<'a> {
    let (average, total) = (form.has(Field::Limit), form.has(Field::LimitTotal));
    form.missing_if(!average && !total);
    form.refuse_if(average && total);
    let limit = ticks(form, Field::Limit, -MAX_CONTRACT_PRICE).unwrap_or(0);
    let limit_total = form.int(Field::LimitTotal, -i64::MAX);
    let (need, exclude) = need(form);
    form.require(Field::Instrument);
    ScriptContract::Block {
        party: required_name(form, Field::Party),
        instrument: form.name(Field::Instrument),
        exclude,
        block: Box::new(BlockOrder {
            header: header(form),
            instrument: InstrumentId::new(0),
            qty: qty(form, Field::Qty),
            windows: number(form, Field::Windows, 1..=i64::from(u32::MAX)).unwrap_or(1),
            flex: any_u32(form, Field::Flex).unwrap_or(0),
            level: level(form),
            moves: any_u32(form, Field::Moves).unwrap_or(0),
            fee: ticks(form, Field::Fee, 0).unwrap_or(0),
            limit: limit_total.map_or(BlockLimit::Average(limit), BlockLimit::Total),
            need,
        }),
    }
}

pub(super) fn carve<'a>(form: &mut Form<'_, 'a>) -> ScriptContract<'a> {
    form.require(Field::Prices);
    let mut prices = [None; MigProfile::ALL.len()];
    if let Some(raw) = form.text(Field::Prices) {
        let read: Option<HashMap<String, &RawValue>> = serde_json::from_str(raw).ok();
        form.refuse_if(read.as_ref().is_none_or(HashMap::is_empty));
        for (name, value) in read.unwrap_or_default() {
            let price = super::fields::integer(value.get())
                .filter(|price| price.unsigned_abs() <= MAX_CONTRACT_PRICE.unsigned_abs());
            match (MigProfile::from_word(&name), price) {
                (Some(profile), Some(price)) => {
                    prices[usize::from(profile.code())] = Some(Price::from_ticks(price));
                }
                _ => form.refuse_if(true),
            }
        }
    }
    ScriptContract::Carve {
        party: required_name(form, Field::Party),
        pool: required_name(form, Field::Pool),
        carve: Box::new(CarveOrder {
            header: header(form),
            pool: PoolId::MAX,
            tier: tier(form),
            start_hour: start(form),
            hours: hours(form),
            prices,
        }),
    }
}

pub(super) fn rfq<'a>(form: &mut Form<'_, 'a>) -> ScriptContract<'a> {
    form.require(Field::Price);
    form.require(Field::Closes);
    let (need, exclude) = need(form);
    let auto = !form.has(Field::Auto) || form.flag(Field::Auto);
    ScriptContract::Rfq {
        party: required_name(form, Field::Party),
        instrument: form.name(Field::Instrument),
        exclude,
        rfq: Box::new(RfqOrder {
            header: header(form),
            instrument: InstrumentId::new(0),
            qty: qty(form, Field::Qty),
            price: ticks(form, Field::Price, -MAX_CONTRACT_PRICE).unwrap_or(0),
            level: level(form),
            closes: Timestamp::from_nanos(form.uint(Field::Closes, 0).unwrap_or(0)),
            max_quotes: number(form, Field::MaxQuotes, 1..=64).unwrap_or(20),
            auto,
            need,
        }),
    }
}

fn order(form: &mut Form<'_, '_>, field: Field) -> OrderTarget {
    form.require(field);
    OrderTarget::Client(ClOrdId::new(form.uint(field, 1).unwrap_or(0)))
}

pub(super) fn quote<'a>(form: &mut Form<'_, 'a>) -> ScriptContract<'a> {
    form.require(Field::Price);
    ScriptContract::Quote {
        party: required_name(form, Field::Party),
        pool: required_name(form, Field::Pool),
        quote: RfqQuote {
            header: header(form),
            rfq: order(form, Field::Rfq),
            pool: PoolId::MAX,
            price: ticks(form, Field::Price, -MAX_CONTRACT_PRICE).unwrap_or(0),
            notice_s: number(form, Field::NoticeS, 0..=2_592_000),
        },
    }
}

pub(super) fn award<'a>(form: &mut Form<'_, 'a>) -> ScriptContract<'a> {
    ScriptContract::Award {
        party: required_name(form, Field::Party),
        award: AwardQuote {
            header: ClientHeader::default(),
            rfq: order(form, Field::Rfq),
            quote: order(form, Field::Quote),
        },
    }
}

pub(super) fn preempt<'a>(form: &mut Form<'_, 'a>) -> ScriptContract<'a> {
    form.require(Field::Price);
    form.require(Field::From);
    ScriptContract::Preempt {
        party: required_name(form, Field::Party),
        instrument: form.name(Field::Instrument),
        preempt: PreemptOrder {
            header: header(form),
            instrument: InstrumentId::new(0),
            qty: Qty::from_lots(qty(form, Field::Qty).into()),
            price: Price::from_ticks(ticks(form, Field::Price, -MAX_CONTRACT_PRICE).unwrap_or(0)),
            from_hour: any_u32(form, Field::From).unwrap_or(0),
        },
    }
}

pub(super) fn pools<'a>(form: &mut Form<'_, 'a>) -> ScriptContract<'a> {
    ScriptContract::Pools {
        instrument: form.name(Field::Instrument),
    }
}

pub(super) fn gang_depth<'a>(form: &mut Form<'_, 'a>) -> ScriptContract<'a> {
    ScriptContract::GangDepth {
        instrument: form.name(Field::Instrument),
        level: level(form),
    }
}

pub(super) fn leases<'a>(form: &mut Form<'_, 'a>) -> ScriptContract<'a> {
    ScriptContract::Leases {
        party: form.name(Field::Party),
        instrument: form.name(Field::Instrument),
    }
}

/// A lease number; one that no lease can have stays one that no lease has.
pub(super) fn lease(form: &mut Form<'_, '_>) -> Option<LeaseId> {
    let number = form.uint(Field::Lease, 1)?;
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    Some(LeaseId::new(number.min(LeaseId::MAX.get())))
}

// ---- names ----

/// Names that a script's catalogue and pools have brought up.
#[derive(Debug, Default)]
pub(super) struct ContractNames {
    /// The catalogue in force.
    catalogue: Option<Catalogue>,
    /// The one that has been sent and not yet been answered.
    sent: Option<Catalogue>,
    /// Profiles in order of their numbers; number 0 is the whole device.
    profiles: Vec<String>,
    pools: HashMap<String, PoolId>,
    /// JSON text of each pool's name, by number.
    pool_json: Vec<String>,
}

impl ContractNames {
    /// The number of a profile; a new name gets the next one.
    fn profile(&mut self, name: &str) -> u8 {
        if self.profiles.is_empty() {
            self.profiles.push("whole".to_owned());
            let slices = MigProfile::ALL
                .iter()
                .map(|profile| profile.as_str().to_owned());
            self.profiles.extend(slices);
        }
        let at = self.known_profile(name).unwrap_or_else(|| {
            self.profiles.push(name.to_owned());
            self.profiles.len() - 1
        });
        u8::try_from(at).unwrap_or(u8::MAX)
    }

    fn known_profile(&self, name: &str) -> Option<usize> {
        self.profiles
            .iter()
            .skip(1)
            .position(|known| known == name)
            .map(|at| at + 1)
    }

    fn class(&self, name: &str) -> u16 {
        let classes = self.catalogue.as_ref().map(|all| &all.classes);
        let at = classes.and_then(|all| all.iter().position(|class| class.name.as_str() == name));
        at.and_then(|at| u16::try_from(at).ok()).unwrap_or(u16::MAX)
    }

    fn zone(&self, name: &str) -> u16 {
        let zones = self.catalogue.as_ref().map(|all| &all.zones);
        let at = zones.and_then(|all| all.iter().position(|zone| zone.as_str() == name));
        at.and_then(|at| u16::try_from(at).ok()).unwrap_or(u16::MAX)
    }

    fn workload(&self, name: &str) -> u8 {
        let all = self.catalogue.as_ref().map(|all| &all.workloads);
        let at = all.and_then(|all| all.iter().position(|known| known.as_str() == name));
        at.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
    }

    pub(super) fn pool(&self, name: &str) -> PoolId {
        self.pools.get(name).copied().unwrap_or(PoolId::MAX)
    }

    pub(super) fn note_pool(&mut self, name: &str, pool: PoolId) {
        let at = pool.get() as usize;
        if self.pool_json.len() <= at {
            self.pool_json.resize(at + 1, String::new());
        }
        self.pool_json[at] = serde_json::Value::from(name).to_string();
        self.pools.insert(name.to_owned(), pool);
    }

    pub(super) fn pool_json(&self, pool: PoolId) -> &str {
        self.pool_json
            .get(pool.get() as usize)
            .map_or("\"\"", String::as_str)
    }

    /// The exchange has taken the catalogue that was sent.
    pub(super) fn note_catalogue(&mut self) {
        self.catalogue = self.sent.take();
    }

    /// The whole new catalogue: what the script says, appended to what there was, since numbers keep
    /// their meaning.
    fn catalogue(&mut self, script: &ScriptCatalog<'_>) -> Result<Catalogue, RejectReason> {
        fn add(table: &mut Vec<Name>, name: &str) -> Result<usize, RejectReason> {
            let name = Name::new(name).map_err(|_| RejectReason::BadField)?;
            Ok(table
                .iter()
                .position(|known| *known == name)
                .unwrap_or_else(|| {
                    table.push(name);
                    table.len() - 1
                }))
        }
        let old = self.catalogue.clone().unwrap_or(Catalogue {
            version: 0,
            tick_micro_usd: script.tick_micro_usd,
            classes: Vec::new(),
            profiles: Vec::new(),
            zones: Vec::new(),
            workloads: Vec::new(),
            efficiency: Vec::new(),
        });
        let mut new = Catalogue {
            version: script.version,
            tick_micro_usd: script.tick_micro_usd,
            efficiency: Vec::new(),
            ..old
        };
        for (class, slices, stake) in &script.classes {
            let name = Name::new(class).map_err(|_| RejectReason::BadField)?;
            let class = ClassDef {
                name,
                slices: *slices,
                stake: *stake,
            };
            match new.classes.iter_mut().find(|known| known.name == name) {
                Some(known) => *known = class,
                None => new.classes.push(class),
            }
        }
        for zone in &script.zones {
            add(&mut new.zones, zone)?;
        }
        for entry in &script.efficiency {
            let class = new
                .classes
                .iter()
                .position(|known| known.name.as_str() == entry.class);
            let class = class
                .and_then(|at| u16::try_from(at).ok())
                .unwrap_or(u16::MAX);
            let workload = add(&mut new.workloads, &entry.workload)?;
            new.efficiency.push(Efficiency {
                class,
                profile: entry
                    .profile
                    .as_deref()
                    .map_or(0, |name| self.profile(name)),
                workload: u8::try_from(workload).unwrap_or(u8::MAX),
                ..entry.row
            });
        }
        self.profile("1g");
        new.profiles.clear();
        for name in &self.profiles {
            new.profiles
                .push(Name::new(name).map_err(|_| RejectReason::BadField)?);
        }
        self.sent = Some(new.clone());
        Ok(new)
    }

    fn leg(&self, leg: &ScriptLeg<'_>) -> Leg {
        fn bits<T>(names: Option<&Vec<Text<'_>>>, number: impl Fn(&str) -> T) -> u64
        where
            u64: From<T>,
        {
            names.map_or(u64::MAX, |names| {
                let numbers = names.iter().map(|name| u64::from(number(name)));
                numbers
                    .filter(|&number| number < 64)
                    .fold(0, |set, number| set | 1 << number)
            })
        }
        let profile = |name: &str| self.known_profile(name).map_or(u64::MAX, |at| at as u64);
        let partition = |name: &str| Partition::from_word(name).map_or(u8::MAX, Partition::code);
        let partitions = bits(leg.partitions.as_ref(), partition) & 0xff;
        Leg {
            classes: bits(leg.classes.as_ref(), |name| self.class(name)),
            partitions: u8::try_from(partitions).unwrap_or(u8::MAX),
            profiles: bits(leg.profiles.as_ref(), profile),
            zones: bits(leg.zones.as_ref(), |name| self.zone(name)),
            min_tier: leg.min_tier,
            bias: leg.bias,
        }
    }
}

impl Resolver {
    /// A command about contracts with numbers in place of names; nothing for what only asks.
    pub(super) fn resolve_contract(
        &mut self,
        command: ScriptContract<'_>,
    ) -> Result<Option<Command>, RejectReason> {
        let exclude = |this: &mut Self, names: Vec<Text<'_>>| -> Vec<AccountId> {
            names.iter().map(|name| this.account(name)).collect()
        };
        let command = match command {
            ScriptContract::Catalog(script) => {
                let catalogue = self.contracts.catalogue(&script)?;
                let header = ClientHeader::default();
                let set = SetCatalogue { header, catalogue };
                return Ok(Some(Command::SetCatalogue(Box::new(set))));
            }
            ScriptContract::Instrument {
                mut instrument,
                place,
            } => {
                let names = &mut self.contracts;
                if let Some(terms) = &mut instrument.terms {
                    terms.class = names.class(&place.class);
                    terms.zone = names.zone(&place.zone);
                    terms.profile = place.profile.map_or(0, |name| names.profile(&name));
                }
                let header = ClientHeader::default();
                let list = ListInstrument { header, instrument };
                return Ok(Some(Command::ListInstrument(Box::new(list))));
            }
            ScriptContract::Pool {
                party,
                place,
                mut pool,
            } => {
                pool.header.account = self.account(&party);
                let names = &mut self.contracts;
                pool.class = names.class(&place.class);
                pool.zone = names.zone(&place.zone);
                pool.profile = place.profile.map_or(0, |name| names.profile(&name));
                ContractCommand::Pool(pool)
            }
            ScriptContract::Attest { pool, mut attest } => {
                attest.pool = self.contracts.pool(&pool);
                ContractCommand::Attest(Box::new(attest))
            }
            ScriptContract::Limit { party, max_weight } => {
                let account = self.account(&party);
                let header = ClientHeader {
                    account,
                    ..ClientHeader::default()
                };
                ContractCommand::Limit(Box::new(SetLimit { header, max_weight }))
            }
            ScriptContract::Sub {
                party,
                workload,
                legs,
                exclude: names,
                mut sub,
            } => {
                sub.header.account = self.account(&party);
                sub.workload = self.contracts.workload(&workload);
                sub.legs = legs.iter().map(|leg| self.contracts.leg(leg)).collect();
                sub.need.exclude = exclude(self, names);
                ContractCommand::Sub(sub)
            }
            ScriptContract::Block {
                party,
                instrument,
                exclude: names,
                mut block,
            } => {
                block.instrument = self.instrument(instrument.as_deref())?;
                block.header.account = self.account(&party);
                block.need.exclude = exclude(self, names);
                ContractCommand::Block(block)
            }
            ScriptContract::Carve {
                party,
                pool,
                mut carve,
            } => {
                carve.header.account = self.account(&party);
                carve.pool = self.contracts.pool(&pool);
                ContractCommand::Carve(carve)
            }
            ScriptContract::Rfq {
                party,
                instrument,
                exclude: names,
                mut rfq,
            } => {
                rfq.instrument = self.instrument(instrument.as_deref())?;
                rfq.header.account = self.account(&party);
                rfq.need.exclude = exclude(self, names);
                ContractCommand::Rfq(rfq)
            }
            ScriptContract::Quote {
                party,
                pool,
                mut quote,
            } => {
                quote.header.account = self.account(&party);
                quote.pool = self.contracts.pool(&pool);
                ContractCommand::Quote(Box::new(quote))
            }
            ScriptContract::Award { party, mut award } => {
                award.header.account = self.account(&party);
                ContractCommand::Award(Box::new(award))
            }
            ScriptContract::Preempt {
                party,
                instrument,
                mut preempt,
            } => {
                preempt.instrument = self.instrument(instrument.as_deref())?;
                preempt.header.account = self.account(&party);
                ContractCommand::Preempt(Box::new(preempt))
            }
            ScriptContract::Pools { .. }
            | ScriptContract::GangDepth { .. }
            | ScriptContract::Leases { .. } => return Ok(None),
        };
        Ok(Some(Command::Contract(command)))
    }
}
