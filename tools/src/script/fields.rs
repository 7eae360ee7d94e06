//! One JSON object as the fields of a command, and the judgement of its form.
//!
//! `serde_json` reads the grammar; numbers are kept as text, because the format's integers are
//! stricter than JSON's numbers and go beyond what a double can hold.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tessera_types::{Price, RejectReason};

use super::command::Text;

macro_rules! fields {
    ($($variant:ident = $word:literal),+ $(,)?) => {
        /// Every field that some command knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Field { $($variant),+ }

        impl Field {
            const COUNT: usize = [$(Self::$variant),+].len();

            fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

fields! {
    Op = "op", T = "t", Id = "id", Party = "party", Instrument = "instrument", Side = "side",
    Qty = "qty", Type = "type", Price = "price", Display = "display", Stop = "stop",
    Trail = "trail", Tif = "tif", Expire = "expire", PostOnly = "post_only", Stp = "stp",
    MinQty = "min_qty", Aon = "aon", Budget = "budget", By = "by", NewId = "new_id",
    Quotes = "quotes", KeepPriority = "keep_priority", BidId = "bid_id", BidPrice = "bid_price",
    BidQty = "bid_qty", AskId = "ask_id", AskPrice = "ask_price", AskQty = "ask_qty",
    Phase = "phase", RefPrice = "ref_price", Levels = "levels", Tick = "tick", Lot = "lot",
    MinPrice = "min_price", MaxPrice = "max_price", MaxQty = "max_qty", Protect = "protect",
    Algo = "algo", MinAlloc = "min_alloc", TopMin = "top_min", TopMax = "top_max",
    FifoPct = "fifo_pct", ViBand = "vi_band", ViNs = "vi_ns", Indicative = "indicative",
    Margined = "margined", Amount = "amount", CollarBps = "collar_bps", MaxValue = "max_value",
    MaxOpenQty = "max_open_qty", MaxOpenValue = "max_open_value", MaxPosition = "max_position",
    DuplicateNs = "duplicate_ns", On = "on", Product = "product",
    InitialMarginBps = "initial_margin_bps", Version = "version", Rows = "rows", Model = "model",
    Seed = "seed", Scenarios = "scenarios", StepLimitBps = "step_limit_bps",
    InputHash = "input_hash", Losses = "losses", Liquidity = "liquidity",
    Concentration = "concentration", Delivery = "delivery", TableHash = "table_hash",
    MaxAgeNs = "max_age_ns",
    Hold = "hold", Grace = "grace",

    // Compute contracts.
    Class = "class", Partition = "partition", Profile = "profile", Tier = "tier", Zone = "zone",
    Start = "start", Hours = "hours", Windows = "windows", Weight = "weight", Reclaim = "reclaim",
    Pool = "pool", Lease = "lease", Path = "path", FirstDevice = "first_device",
    Devices = "devices", Until = "until", Score = "score", Stake = "stake",
    MaxWeight = "max_weight", TickMicroUsd = "tick_micro_usd",
    Classes = "classes", Zones = "zones", Efficiency = "efficiency", Slices = "slices",
    Workload = "workload", Share = "share", Overhead = "overhead", Factor = "factor",
    Mode = "mode", Limit = "limit", Legs = "legs", Need = "need", Isolation = "isolation",
    MinNoticeS = "min_notice_s", Exclude = "exclude", MinScore = "min_score",
    MaxAgeS = "max_age_s", MinStake = "min_stake", MinTier = "min_tier", Bias = "bias",
    Flex = "flex", Level = "level", Moves = "moves", Fee = "fee", LimitTotal = "limit_total",
    Prices = "prices", Closes = "closes", MaxQuotes = "max_quotes", Auto = "auto", Rfq = "rfq",
    Quote = "quote", NoticeS = "notice_s", From = "from", Compensation = "compensation",
    MaxTimes = "max_times", MinRunS = "min_run_s", RestartMinutes = "restart_minutes",
}

const _: () = assert!(Field::COUNT <= 192, "a set of fields has so many bits");

impl Field {
    const fn bit(self) -> FieldSet {
        let mut set = FieldSet::EMPTY;
        set.0[self as usize / 64] = 1 << (self as usize % 64);
        set
    }
}

/// A set of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FieldSet([u64; 3]);

impl FieldSet {
    const EMPTY: Self = Self([0; 3]);

    fn add(&mut self, other: Self) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }

    fn meets(&self, other: Self) -> bool {
        self.0
            .iter()
            .zip(other.0)
            .any(|(word, other)| word & other != 0)
    }

    /// True when a field is in it that is not in `other`.
    fn has_beyond(&self, other: Self) -> bool {
        self.0
            .iter()
            .zip(other.0)
            .any(|(word, other)| word & !other != 0)
    }
}

/// The fields of one object, each as the JSON text of its value; `null` counts as absent.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    values: [Option<&'a str>; Field::COUNT],
    present: FieldSet,
    /// A field that no command knows, or one that is there twice.
    bad: bool,
}

impl<'a> Fields<'a> {
    /// The fields of the object in `json`, nothing when it is not exactly one JSON object.
    pub(super) fn parse(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// The JSON text of a field's value.
    pub(super) fn raw(&self, field: Field) -> Option<&'a str> {
        self.values[field as usize]
    }

    /// True when a field is there that no command knows, twice, or outside `known`.
    pub(super) fn has_other_than(&self, known: &[Field]) -> bool {
        let mut all = FieldSet::EMPTY;
        known.iter().for_each(|field| all.add(field.bit()));
        self.bad || self.present.has_beyond(all)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Fields {
                    values: [None; Field::COUNT],
                    present: FieldSet::EMPTY,
                    bad: false,
                };
                while let Some(Key(field)) = map.next_key()? {
                    let value: &'de RawValue = map.next_value()?;
                    match field {
                        _ if value.get() == "null" => {}
                        // A name that is there twice means that one of the two values would be
                        // dropped without a word, which is what "unknown field" guards against too.
                        Some(field) if fields.present.meets(field.bit()) => fields.bad = true,
                        Some(field) => {
                            fields.values[field as usize] = Some(value.get());
                            fields.present.add(field.bit());
                        }
                        None => fields.bad = true,
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// The name of a field, or none when no command knows it.
struct Key(Option<Field>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;

        impl Visitor<'_> for Word {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a field")
            }

            fn visit_str<E>(self, word: &str) -> Result<Key, E> {
                Ok(Key(Field::from_word(word)))
            }
        }

        deserializer.deserialize_identifier(Word)
    }
}

/// Reads the fields of one command and remembers what was wrong with them.
///
/// A getter returns `None` for a field that is absent or wrong; whoever needs a value in spite of
/// that takes any, because [`Form::verdict`] will refuse the command. Nothing returns early: a
/// missing field counts before a bad one wherever each of them stands.
#[derive(Debug)]
pub(super) struct Form<'f, 'a> {
    fields: &'f Fields<'a>,
    known: FieldSet,
    missing: bool,
    bad: bool,
}

impl<'f, 'a> Form<'f, 'a> {
    pub(super) fn new(fields: &'f Fields<'a>) -> Self {
        let mut known = Field::Op.bit();
        known.add(Field::T.bit());
        Self {
            fields,
            known,
            missing: false,
            bad: false,
        }
    }

    /// The form of an object inside a command, which knows neither operation nor time.
    pub(super) fn nested(fields: &'f Fields<'a>) -> Self {
        Self {
            known: FieldSet::EMPTY,
            ..Self::new(fields)
        }
    }

    /// The first thing wrong with the fields. One that no getter asked for is not known here.
    pub(super) fn verdict(&self) -> Result<(), RejectReason> {
        if self.missing {
            Err(RejectReason::MissingField)
        } else if self.bad || self.fields.bad || self.fields.present.has_beyond(self.known) {
            Err(RejectReason::BadField)
        } else {
            Ok(())
        }
    }

    /// True when the field is there, whatever its value.
    pub(super) fn has(&self, field: Field) -> bool {
        self.fields.raw(field).is_some()
    }

    /// The command cannot do without this field.
    pub(super) fn require(&mut self, field: Field) {
        self.missing |= !self.has(field);
    }

    /// The field is required when `wanted` and forbidden otherwise.
    pub(super) fn require_only_if(&mut self, wanted: bool, field: Field) {
        if wanted {
            self.require(field);
        } else {
            self.refuse_if(self.has(field));
        }
    }

    /// The command is missing something.
    pub(super) fn missing_if(&mut self, condition: bool) {
        self.missing |= condition;
    }

    /// The fields contradict each other or the command.
    pub(super) fn refuse_if(&mut self, condition: bool) {
        self.bad |= condition;
    }

    /// An integer of at least `min`.
    pub(super) fn int(&mut self, field: Field, min: i64) -> Option<i64> {
        self.value(field, |raw| integer(raw).filter(|&value| value >= min))
    }

    /// An integer of at least `min`, which is not negative.
    pub(super) fn uint(&mut self, field: Field, min: u32) -> Option<u64> {
        self.int(field, i64::from(min)).map(i64::unsigned_abs)
    }

    /// A price of any sign.
    pub(super) fn price(&mut self, field: Field) -> Option<Price> {
        self.int(field, -i64::MAX).map(Price::from_ticks)
    }

    /// `true` or `false`, by default false.
    pub(super) fn flag(&mut self, field: Field) -> bool {
        self.value(field, |raw| match raw {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        })
        .unwrap_or(false)
    }

    /// One of a set of words.
    pub(super) fn word<T>(
        &mut self,
        field: Field,
        from_word: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.value(field, |raw| from_word(&string(raw)?))
    }

    /// A name of 1 to 64 bytes.
    pub(super) fn name(&mut self, field: Field) -> Option<Text<'a>> {
        self.value(field, |raw| {
            string(raw).filter(|name| (1..=64).contains(&name.len()))
        })
    }

    /// An object.
    pub(super) fn object(&mut self, field: Field) -> Option<Fields<'a>> {
        self.value(field, Fields::parse)
    }

    /// The field is known here whatever is in it, and read by somebody else.
    pub(super) fn text(&mut self, field: Field) -> Option<&'a str> {
        self.value(field, Some)
    }

    /// A list, each element as its JSON text.
    pub(super) fn list(&mut self, field: Field) -> Option<Vec<&'a RawValue>> {
        self.value(field, |raw| serde_json::from_str(raw).ok())
    }

    fn value<T>(&mut self, field: Field, read: impl FnOnce(&'a str) -> Option<T>) -> Option<T> {
        self.known.add(field.bit());
        let value = read(self.fields.raw(field)?);
        self.bad |= value.is_none();
        value
    }
}

/// The integer that this JSON text is: digits after an optional minus, at most 2^63-1 in size.
pub(super) fn integer(raw: &str) -> Option<i64> {
    raw.parse().ok().filter(|&value| value != i64::MIN)
}

/// The string that this JSON text is.
pub(super) fn string(raw: &str) -> Option<Text<'_>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}
