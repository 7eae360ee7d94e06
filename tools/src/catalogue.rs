//! The catalogue file: what an exchange lists when its data directory is fresh.
//!
//! A TOML file of classes, profiles, zones, tiers, contracts and plain instruments; the shipped one,
//! `tools/catalogue/default.toml`, explains the form. It is turned into ordinary journaled commands of
//! the venue, so that a replay needs no file. Everything is checked here, and a mistake is told with
//! its line, before the first of the commands exists.

mod facts;

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tessera_types::{
    Catalogue, ClassDef, ClientHeader, Command, ContractTerms, Efficiency, Instrument,
    ListInstrument, Name, Partition, Price, Qty, SetCatalogue, Timestamp,
};
use thiserror::Error;
use toml::Spanned;

use facts::{EfficiencyEntry, EnergyEntry, PlacementEntry, ReclaimEntry, Tier, Workload};
pub use facts::{EnergyIndex, PLACEMENTS, Placement, TierTerms, eta};

/// A checked catalogue file.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogueFile {
    /// Where it came from, for messages.
    source: String,
    catalogue: Catalogue,
    tiers: Vec<TierTerms>,
    energy: Vec<EnergyIndex>,
    contracts: Vec<Contract>,
    plain: Vec<Instrument>,
}

/// One line of the list of contracts, or one window of its series.
#[derive(Clone, Debug, PartialEq)]
struct Contract {
    line: usize,
    start: Start,
    /// The start hour in `terms` is filled in by [`CatalogueFile::commands`].
    instrument: Instrument,
    terms: ContractTerms,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Hours after the next full hour.
    InHours(u32),
    /// Hours since the Unix epoch.
    At(u32),
}

/// Why a catalogue cannot be used.
#[derive(Debug, Error)]
pub enum CatalogueError {
    /// The file cannot be read.
    #[error("{path}: cannot read the catalogue: {error}", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file says something that it must not.
    #[error("{source_name}:{line}: {reason}")]
    Invalid {
        /// Which file.
        source_name: String,
        /// In which line, from 1.
        line: usize,
        /// What is wrong and what would be right.
        reason: String,
    },
}

/// The catalogue at `path`, or the shipped one.
///
/// # Errors
/// [`CatalogueError`] when the file cannot be read or is wrong.
pub fn load(path: Option<&Path>) -> Result<CatalogueFile, CatalogueError> {
    let Some(path) = path else {
        return parse(SHIPPED, "catalogue/default.toml");
    };
    let text = std::fs::read_to_string(path).map_err(|error| CatalogueError::Read {
        path: path.to_owned(),
        error,
    })?;
    parse(&text, &path.display().to_string())
}

/// Reads and checks the text of a catalogue; `source_name` is for messages.
///
/// # Errors
/// [`CatalogueError::Invalid`] with the line of the first mistake.
pub fn parse(text: &str, source_name: &str) -> Result<CatalogueFile, CatalogueError> {
    let invalid = |problem: Problem| CatalogueError::Invalid {
        source_name: source_name.to_owned(),
        line: line_of(text, problem.at),
        reason: problem.reason,
    };
    let file: File = toml::from_str(text).map_err(|error| {
        invalid(Problem {
            at: error.span().map_or(0, |span| span.start),
            reason: error.message().to_owned(),
        })
    })?;
    Checker {
        text,
        source_name,
        file: &file,
    }
    .check()
    .map_err(invalid)
}

impl CatalogueFile {
    /// The commands that list everything, in order: the tables first, then the contracts, then the
    /// plain instruments. All are of the venue.
    ///
    /// # Errors
    /// [`CatalogueError::Invalid`] when a contract with an absolute start has already begun at `now`
    /// (UTC), or two contracts fall on the same coordinate.
    pub fn commands(&self, now: Timestamp) -> Result<Vec<Command>, CatalogueError> {
        let header = ClientHeader::default();
        let next_hour = now.nanos().div_ceil(HOUR_NS);
        let mut commands = vec![Command::SetCatalogue(Box::new(SetCatalogue {
            header,
            catalogue: self.catalogue.clone(),
        }))];
        let mut coordinates = HashMap::new();
        for contract in &self.contracts {
            let invalid = |reason: String| CatalogueError::Invalid {
                source_name: self.source.clone(),
                line: contract.line,
                reason,
            };
            let name = contract.instrument.name;
            let start = match contract.start {
                Start::InHours(hours) => next_hour + u64::from(hours),
                Start::At(hour) => u64::from(hour),
            };
            if start * HOUR_NS <= now.nanos() {
                return Err(invalid(format!("the window of contract {name} has begun")));
            }
            let start_hour = u32::try_from(start)
                .map_err(|_| invalid(format!("the window of contract {name} is too far away")))?;
            let terms = ContractTerms {
                start_hour,
                ..contract.terms
            };
            if let Some(other) = coordinates.insert(terms, name) {
                return Err(invalid(format!(
                    "contract {name} has the class, partition, tier, zone and window of {other}"
                )));
            }
            commands.push(Command::ListInstrument(Box::new(ListInstrument {
                header,
                instrument: Instrument {
                    terms: Some(terms),
                    ..contract.instrument
                },
            })));
        }
        commands.extend(self.plain.iter().map(|&instrument| {
            Command::ListInstrument(Box::new(ListInstrument { header, instrument }))
        }));
        Ok(commands)
    }

    /// The numbered tables.
    #[must_use]
    pub const fn tables(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Kinds of work, by number.
    #[must_use]
    pub fn workloads(&self) -> &[Name] {
        &self.catalogue.workloads
    }

    /// The efficiency table, in the order of the file.
    #[must_use]
    pub fn efficiency(&self) -> &[Efficiency] {
        &self.catalogue.efficiency
    }

    /// What the tiers promise, in the order of the file.
    #[must_use]
    pub fn tiers(&self) -> &[TierTerms] {
        &self.tiers
    }

    /// What the zones are billed by, in the order of the file.
    #[must_use]
    pub fn energy(&self) -> &[EnergyIndex] {
        &self.energy
    }

    /// Reference price of each contract by name, in ticks.
    pub fn reference_prices(&self) -> impl Iterator<Item = (Name, Price)> + '_ {
        self.contracts
            .iter()
            .filter_map(|contract| Some((contract.instrument.name, contract.instrument.ref_price?)))
    }
}

/// The file as it is written, before anything is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: Spanned<u16>,
    tick_micro_usd: Spanned<u32>,
    #[serde(default)]
    class: Vec<Spanned<Class>>,
    #[serde(default)]
    profile: Vec<Spanned<Profile>>,
    #[serde(default)]
    zone: Vec<Spanned<Zone>>,
    #[serde(default)]
    tier: Vec<Spanned<Tier>>,
    #[serde(default)]
    energy_index: Vec<Spanned<EnergyEntry>>,
    #[serde(default)]
    workload: Vec<Spanned<Workload>>,
    #[serde(default)]
    efficiency: Vec<Spanned<EfficiencyEntry>>,
    #[serde(default)]
    contract: Vec<Spanned<ContractEntry>>,
    #[serde(default)]
    plain: Vec<Spanned<PlainEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Class {
    name: Spanned<String>,
    #[serde(default)]
    slices: Option<Spanned<u8>>,
    #[serde(default)]
    stake: u64,
    /// For the reader of the file.
    #[serde(default, rename = "source")]
    _source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    name: Spanned<String>,
    share: Spanned<u32>,
    /// Where it lies on a device of seven slices.
    #[serde(default)]
    placement: Option<Spanned<PlacementEntry>>,
    #[serde(default, rename = "source")]
    _source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Zone {
    name: Spanned<String>,
    #[serde(default, rename = "source")]
    _source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContractEntry {
    name: Spanned<String>,
    class: Spanned<String>,
    partition: Spanned<String>,
    profile: Option<Spanned<String>>,
    tier: Spanned<String>,
    zone: Spanned<String>,
    start_in_hours: Option<Spanned<u32>>,
    start: Option<Spanned<toml::value::Datetime>>,
    hours: Option<Spanned<u16>>,
    windows: Option<Spanned<u32>>,
    reference_usd: Spanned<String>,
    tick: Option<Spanned<i64>>,
    weight: Option<Spanned<u32>>,
    reclaim: Option<Spanned<ReclaimEntry>>,
    #[serde(default, rename = "source")]
    _source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainEntry {
    name: Spanned<String>,
    tick: Option<Spanned<i64>>,
    lot: Option<Spanned<u64>>,
    #[serde(default, rename = "source")]
    _source: String,
}

/// What is wrong, and at which byte of the text.
struct Problem {
    at: usize,
    reason: String,
}

fn problem<T>(at: &Range<usize>, reason: impl Into<String>) -> Result<T, Problem> {
    Err(Problem {
        at: at.start,
        reason: reason.into(),
    })
}

struct Checker<'a> {
    text: &'a str,
    source_name: &'a str,
    file: &'a File,
}

impl Checker<'_> {
    fn check(&self) -> Result<CatalogueFile, Problem> {
        let file = self.file;
        if *file.version.get_ref() == 0 {
            return problem(&file.version.span(), "version begins at 1");
        }
        let tick = *file.tick_micro_usd.get_ref();
        if tick == 0 || !tick.is_multiple_of(60) {
            return problem(
                &file.tick_micro_usd.span(),
                format!(
                    "tick_micro_usd must be a multiple of 60, so that a minute of any price is a \
                     whole number of micro-USD; {tick} is not"
                ),
            );
        }
        let catalogue = Catalogue {
            version: *file.version.get_ref(),
            tick_micro_usd: tick,
            classes: self.classes()?,
            profiles: self.profiles()?,
            zones: table("zone", file.zone.iter().map(|zone| &zone.get_ref().name), 0)?,
            workloads: self.workloads()?,
            efficiency: self.efficiency()?,
        };
        let tiers = self.tiers()?;
        let energy = self.energy()?;
        let mut names = HashMap::new();
        let mut contracts = Vec::new();
        for entry in &file.contract {
            let line = line_of(self.text, entry.span().start);
            for contract in self.series(entry.get_ref(), line)? {
                self.unique(&mut names, contract.instrument.name, &entry.get_ref().name)?;
                contracts.push(contract);
            }
        }
        let mut plain = Vec::new();
        for entry in &file.plain {
            let entry = entry.get_ref();
            let instrument = plain_instrument(entry)?;
            self.unique(&mut names, instrument.name, &entry.name)?;
            plain.push(instrument);
        }
        Ok(CatalogueFile {
            source: self.source_name.to_owned(),
            catalogue,
            tiers,
            energy,
            contracts,
            plain,
        })
    }

    fn unique(
        &self,
        names: &mut HashMap<Name, usize>,
        name: Name,
        at: &Spanned<String>,
    ) -> Result<(), Problem> {
        let line = line_of(self.text, at.span().start);
        match names.insert(name, line) {
            None => Ok(()),
            Some(first) => problem(
                &at.span(),
                format!("an instrument named {name} is already in line {first}"),
            ),
        }
    }

    fn classes(&self) -> Result<Vec<ClassDef>, Problem> {
        let classes = &self.file.class;
        let names = table(
            "class",
            classes.iter().map(|class| &class.get_ref().name),
            0,
        )?;
        std::iter::zip(names, classes)
            .map(|(name, class)| {
                let class = class.get_ref();
                let slices = match &class.slices {
                    None => 0,
                    Some(slices) if matches!(slices.get_ref(), 0 | 7) => *slices.get_ref(),
                    Some(slices) => return problem(&slices.span(), "slices must be 0 or 7"),
                };
                Ok(ClassDef {
                    name,
                    slices,
                    stake: class.stake,
                })
            })
            .collect()
    }

    /// Number 0 is the whole device, so the file's own begin at 1.
    fn profiles(&self) -> Result<Vec<Name>, Problem> {
        let profiles = &self.file.profile;
        for profile in profiles {
            let share = &profile.get_ref().share;
            if !(1..=10_000).contains(share.get_ref()) {
                return problem(&share.span(), "share is 1 to 10000, in 1/10000 of a device");
            }
            if let Some(placement) = &profile.get_ref().placement {
                self.check_placement(profile.get_ref().name.get_ref(), placement)?;
            }
            if profile.get_ref().name.get_ref() == WHOLE {
                return problem(
                    &profile.get_ref().name.span(),
                    "`whole` is always there as number 0; leave it out",
                );
            }
        }
        let mut names = vec![fixed(WHOLE)];
        names.extend(table(
            "profile",
            profiles.iter().map(|profile| &profile.get_ref().name),
            1,
        )?);
        Ok(names)
    }

    fn series(&self, entry: &ContractEntry, line: usize) -> Result<Vec<Contract>, Problem> {
        let class = find("class", &entry.class, &self.file.class, |class| &class.name)?;
        let zone = find("zone", &entry.zone, &self.file.zone, |zone| &zone.name)?;
        let tier = find("tier", &entry.tier, &self.file.tier, |tier| &tier.name)?;
        let partition = partition(&entry.partition)?;
        let (profile, share) = self.profile(
            &entry.class,
            &entry.partition,
            entry.profile.as_ref(),
            partition,
            class,
        )?;
        let weight = match &entry.weight {
            None => share,
            Some(weight) if i32::try_from(*weight.get_ref()).is_ok_and(|weight| weight > 0) => {
                *weight.get_ref()
            }
            Some(weight) => return problem(&weight.span(), "weight is 1 to 2147483647"),
        };
        let hours = match &entry.hours {
            None => 1,
            Some(hours) if (1..=MAX_HOURS).contains(hours.get_ref()) => *hours.get_ref(),
            Some(hours) => {
                return problem(&hours.span(), format!("hours is 1 to {MAX_HOURS}"));
            }
        };
        let windows = match &entry.windows {
            None => 1,
            Some(windows) if (1..=MAX_WINDOWS).contains(windows.get_ref()) => *windows.get_ref(),
            Some(windows) => {
                return problem(&windows.span(), format!("windows is 1 to {MAX_WINDOWS}"));
            }
        };
        let reference = self.reference(&entry.reference_usd)?;
        let template = Instrument {
            tick: price_step(entry.tick.as_ref())?,
            max_price: Price::from_ticks(reference.ticks().saturating_mul(MAX_PRICE_TIMES)),
            max_qty: Qty::from_lots(MAX_LOTS),
            ref_price: Some(reference),
            protect: Some((reference.ticks().unsigned_abs() / 10).max(1)),
            tick_micro_usd: *self.file.tick_micro_usd.get_ref(),
            ..Instrument::plain(fixed(WHOLE))
        };
        let terms = ContractTerms {
            class: number(class),
            partition,
            profile,
            tier: self.file.tier[tier].get_ref().number(),
            zone: number(zone),
            start_hour: 0,
            hours,
            weight,
            windows: 1,
            reclaim: match &entry.reclaim {
                None => None,
                Some(reclaim) => Some(self.reclaim(reclaim, &entry.tier, tier)?),
            },
        };
        let first = start(entry)?;
        (0..windows)
            .map(|window| {
                let name = match windows {
                    1 => entry.name.get_ref().clone(),
                    _ => format!("{}.{window}", entry.name.get_ref()),
                };
                let later = window * u32::from(hours);
                Ok(Contract {
                    line,
                    start: match first {
                        Start::InHours(hours) => Start::InHours(hours.saturating_add(later)),
                        Start::At(hour) => Start::At(hour.saturating_add(later)),
                    },
                    instrument: Instrument {
                        name: instrument_name(&name, &entry.name.span())?,
                        ..template
                    },
                    terms,
                })
            })
            .collect()
    }

    /// Number of the profile, and the share of a device that a lot of it is.
    fn profile(
        &self,
        class_word: &Spanned<String>,
        partition_word: &Spanned<String>,
        profile: Option<&Spanned<String>>,
        partition: Partition,
        class: usize,
    ) -> Result<(u8, u32), Problem> {
        let whole = matches!(partition, Partition::Whole | Partition::Tee);
        let profile = match profile {
            None if whole => return Ok((0, 10_000)),
            None => {
                let reason = format!("partition {partition} needs a profile");
                return problem(&partition_word.span(), reason);
            }
            Some(profile) if whole => {
                let reason = format!("partition {partition} is a whole device and has no profile");
                return problem(&profile.span(), reason);
            }
            Some(profile) => profile,
        };
        let index = find("profile", profile, &self.file.profile, |profile| {
            &profile.name
        })?;
        if partition == Partition::Mig {
            let name = profile.get_ref().as_str();
            let known = PLACEMENTS.map(|placement| placement.profile);
            if !known.contains(&name) {
                let reason = format!("{name} is no mig profile: {}", known.join(", "));
                return problem(&profile.span(), reason);
            }
            let class = self.file.class[class].get_ref();
            if class
                .slices
                .as_ref()
                .is_none_or(|slices| *slices.get_ref() != 7)
            {
                let reason = format!("class {} has no slices for mig", class.name.get_ref());
                return problem(&class_word.span(), reason);
            }
        }
        let share = *self.file.profile[index].get_ref().share.get_ref();
        // At most 64 entries, checked with the table.
        Ok((u8::try_from(index + 1).unwrap_or(u8::MAX), share))
    }

    /// The nearest tick, halves upwards.
    fn reference(&self, text: &Spanned<String>) -> Result<Price, Problem> {
        let Some(micro_usd) = micro_usd(text.get_ref()) else {
            let reason = format!(
                "`{}` is no price: USD per unit-hour with up to six decimals, such as \"2.35\"",
                text.get_ref()
            );
            return problem(&text.span(), reason);
        };
        let tick = i64::from(*self.file.tick_micro_usd.get_ref());
        let ticks = (micro_usd + tick / 2) / tick;
        if !(1..=MAX_REFERENCE_TICKS).contains(&ticks) {
            let reason = format!(
                "the reference is {ticks} ticks of {tick} micro-USD; it must be 1 to {MAX_REFERENCE_TICKS}"
            );
            return problem(&text.span(), reason);
        }
        Ok(Price::from_ticks(ticks))
    }
}

fn plain_instrument(entry: &PlainEntry) -> Result<Instrument, Problem> {
    let name = instrument_name(entry.name.get_ref(), &entry.name.span())?;
    let mut instrument = Instrument::plain(name);
    instrument.tick = price_step(entry.tick.as_ref())?;
    instrument.min_price = Price::from_ticks(instrument.tick);
    if let Some(lot) = &entry.lot {
        if !(1..=MAX_LOTS).contains(lot.get_ref()) {
            return problem(&lot.span(), format!("lot is 1 to {MAX_LOTS}"));
        }
        instrument.lot = *lot.get_ref();
        instrument.min_qty = Qty::from_lots(instrument.lot);
    }
    Ok(instrument)
}

fn price_step(tick: Option<&Spanned<i64>>) -> Result<i64, Problem> {
    match tick {
        None => Ok(1),
        Some(tick) if (1..=MAX_REFERENCE_TICKS).contains(tick.get_ref()) => Ok(*tick.get_ref()),
        Some(tick) => problem(&tick.span(), format!("tick is 1 to {MAX_REFERENCE_TICKS}")),
    }
}

fn start(entry: &ContractEntry) -> Result<Start, Problem> {
    match (&entry.start_in_hours, &entry.start) {
        (Some(hours), None) => Ok(Start::InHours(*hours.get_ref())),
        (None, Some(at)) => {
            let timestamp: Result<jiff::Timestamp, _> = at.get_ref().to_string().parse();
            let Ok(timestamp) = timestamp else {
                return problem(
                    &at.span(),
                    "start needs date, time and offset, such as 2026-12-01T09:00:00Z",
                );
            };
            let seconds = timestamp.as_second();
            let hour = u32::try_from(seconds.div_euclid(3_600));
            match hour {
                Ok(hour) if seconds % 3_600 == 0 && timestamp.subsec_nanosecond() == 0 => {
                    Ok(Start::At(hour))
                }
                _ => problem(&at.span(), "a window starts on a full hour after 1970"),
            }
        }
        _ => problem(
            &entry.name.span(),
            "a contract has either start_in_hours or start",
        ),
    }
}

fn partition(word: &Spanned<String>) -> Result<Partition, Problem> {
    Partition::from_word(word.get_ref()).map_or_else(
        || {
            let words: Vec<_> = Partition::ALL.iter().map(|p| p.as_str()).collect();
            let mut reason = format!("`{}` is no partition: {}", word.get_ref(), words.join(", "));
            if let Some(near) = nearest(word.get_ref(), words.into_iter()) {
                reason += &format!("; did you mean `{near}`?");
            }
            problem(&word.span(), reason)
        },
        Ok,
    )
}

/// Names of one table, in order. `taken` entries are there beside those of the file.
fn table<'a>(
    what: &str,
    names: impl Iterator<Item = &'a Spanned<String>>,
    taken: usize,
) -> Result<Vec<Name>, Problem> {
    let mut table = Vec::new();
    for text in names {
        let name = instrument_name(text.get_ref(), &text.span())?;
        if table.contains(&name) {
            return problem(&text.span(), format!("{what} {name} is there twice"));
        }
        if table.len() + taken >= Catalogue::MAX_ENTRIES {
            let most = Catalogue::MAX_ENTRIES - taken;
            return problem(
                &text.span(),
                format!("more than {most} entries of [[{what}]]"),
            );
        }
        table.push(name);
    }
    Ok(table)
}

/// Index of the entry with this name.
fn find<T>(
    what: &str,
    wanted: &Spanned<String>,
    entries: &[Spanned<T>],
    name: impl Fn(&T) -> &Spanned<String>,
) -> Result<usize, Problem> {
    let known = || entries.iter().map(|entry| name(entry.get_ref()).get_ref());
    known()
        .position(|name| name == wanted.get_ref())
        .map_or_else(
            || {
                let mut reason = format!(
                    "unknown {what} `{}`; the file has {}",
                    wanted.get_ref(),
                    known().map(String::as_str).collect::<Vec<_>>().join(", ")
                );
                if let Some(near) = nearest(wanted.get_ref(), known().map(String::as_str)) {
                    reason += &format!("; did you mean `{near}`?");
                }
                problem(&wanted.span(), reason)
            },
            Ok,
        )
}

/// The known name that a reader would take the wanted one for, if there is one.
fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_ascii_lowercase();
    known
        .map(|name| {
            (
                strsim::jaro_winkler(&wanted, &name.to_ascii_lowercase()),
                name,
            )
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.8)
        .map(|(_, name)| name)
}

/// Printable ASCII without spaces, at most 32 bytes: what fits the Symbol of every market-data format
/// that names contracts.
fn instrument_name(text: &str, at: &Range<usize>) -> Result<Name, Problem> {
    if text.len() > MAX_NAME {
        let reason = format!(
            "`{text}` has {} bytes, a name at most {MAX_NAME}",
            text.len()
        );
        return problem(at, reason);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return problem(at, "a name consists of printable ASCII without spaces");
    }
    Name::new(text).or_else(|error| problem(at, error.to_string()))
}

/// Exact micro-USD of a decimal number such as `2.35`; nothing for anything else.
fn micro_usd(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let fraction: i64 = format!("{fraction:0<6}").parse().ok()?;
    whole.checked_mul(1_000_000)?.checked_add(fraction)
}

fn fixed(text: &str) -> Name {
    Name::new(text).expect("the word is 1 to 64 bytes long")
}

/// An index into a table of at most 64 entries.
fn number(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())]
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count()
}

const SHIPPED: &str = include_str!("../catalogue/default.toml");
const WHOLE: &str = "whole";
const HOUR_NS: u64 = 3_600_000_000_000;
const MAX_HOURS: u16 = 8_784;
const MAX_WINDOWS: u32 = 720;
const MAX_NAME: usize = 32;
const MAX_LOTS: u64 = (1 << 31) - 1;
const MAX_PRICE_TIMES: i64 = 20;
/// Times [`MAX_PRICE_TIMES`] it stays below the protocol's 2^40.
const MAX_REFERENCE_TICKS: i64 = 1 << 35;

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use tessera_types::SessionId;

    use super::*;

    const HEAD: &str = r#"version = 1
tick_micro_usd = 600
[[class]]
name = "H100"
slices = 7
[[class]]
name = "L40S"
[[profile]]
name = "1g"
share = 1212
[[profile]]
name = "1/2"
share = 5000
[[zone]]
name = "us-tx"
[[tier]]
name = "standard"
number = 2
"#;

    const CONTRACT: &str = r#"[[contract]]
name = "a"
class = "H100"
partition = "whole"
tier = "standard"
zone = "us-tx"
start_in_hours = 24
reference_usd = "2.35"
"#;

    /// A day and ten minutes after the epoch.
    const NOW: Timestamp = Timestamp::from_nanos((24 * 60 + 10) * 60 * 1_000_000_000);

    fn listed(text: &str) -> Result<Vec<Instrument>, CatalogueError> {
        let commands = parse(text, "x.toml")?.commands(NOW)?;
        Ok(commands
            .into_iter()
            .filter_map(|command| match command {
                Command::ListInstrument(list) => Some(list.instrument),
                _ => None,
            })
            .collect())
    }

    /// One contract with a line changed, added (`= `) or both, against the error.
    fn check_error(change: impl Fn(&str) -> String, expect: &Expect) {
        let text = change(&format!("{HEAD}{CONTRACT}"));
        let error = listed(&text).expect_err("the file is wrong");
        expect.assert_eq(&error.to_string());
    }

    fn replace<'a>(from: &'a str, to: &'a str) -> impl Fn(&str) -> String + 'a {
        move |text| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        }
    }

    #[test]
    fn the_shipped_catalogue_is_complete() {
        let file = load(None).expect("the shipped catalogue is right");
        let commands = file.commands(NOW).expect("and fits any time");
        let Command::SetCatalogue(set) = &commands[0] else {
            panic!("the tables come first");
        };
        assert_eq!(&set.catalogue, file.tables());
        assert_eq!(set.catalogue.profiles[0].as_str(), "whole");
        let instruments: Vec<_> = commands[1..]
            .iter()
            .map(|command| match command {
                Command::ListInstrument(list) => {
                    assert_eq!(list.header.session, SessionId::VENUE);
                    list.instrument
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let contracts: Vec<_> = instruments.iter().filter_map(|i| i.terms).collect();
        assert!(contracts.len() >= 24, "{} contracts", contracts.len());
        for partition in Partition::ALL {
            assert!(
                contracts.iter().any(|terms| terms.partition == *partition),
                "{partition}"
            );
        }
        for tier in 0..5 {
            assert!(
                contracts.iter().any(|terms| terms.tier == tier),
                "tier {tier}"
            );
        }
        assert!(contracts.iter().all(|terms| terms.start_hour > 24));
        assert_eq!(file.reference_prices().count(), contracts.len());
        let last = instruments.last().expect("there are some");
        assert_eq!(*last, Instrument::plain(Name::new("TEST").unwrap()));
        // Every entry says where it comes from.
        let entries = SHIPPED.matches("\n[[").count() - SHIPPED.matches("\n[[plain]]").count();
        assert_eq!(SHIPPED.matches("\nsource = \"").count(), entries);
    }

    #[test]
    fn a_contract_has_its_coordinate_bounds_and_start() {
        let text = format!("{HEAD}{CONTRACT}hours = 24\n").replace(
            "partition = \"whole\"",
            "partition = \"mig\"\nprofile = \"1g\"",
        );
        let [contract] = listed(&text).unwrap()[..] else {
            panic!("one instrument");
        };
        assert_eq!(
            contract.terms,
            Some(ContractTerms {
                class: 0,
                partition: Partition::Mig,
                profile: 1,
                tier: 2,
                zone: 0,
                start_hour: 25 + 24,
                hours: 24,
                weight: 1212,
                windows: 1,
                reclaim: None,
            })
        );
        // 2,350,000 / 600 = 3916.67, to the nearest.
        assert_eq!(contract.ref_price, Some(Price::from_ticks(3_917)));
        assert_eq!(contract.max_price, Price::from_ticks(78_340));
        assert_eq!(contract.protect, Some(391));
        assert_eq!(
            (contract.tick, contract.lot, contract.tick_micro_usd),
            (1, 1, 600)
        );
    }

    #[test]
    fn a_series_lists_window_after_window() {
        let series = listed(&format!("{HEAD}{CONTRACT}hours = 4\nwindows = 3\n")).unwrap();
        let windows: Vec<_> = series
            .iter()
            .map(|i| (i.name.as_str().to_owned(), i.terms.unwrap().start_hour))
            .collect();
        let expected = [("a.0", 49), ("a.1", 53), ("a.2", 57)];
        assert_eq!(
            windows,
            expected.map(|(name, hour)| (name.to_owned(), hour))
        );
    }

    #[test]
    fn a_start_may_be_absolute() {
        let at = |start: &str| replace("start_in_hours = 24", start)(&format!("{HEAD}{CONTRACT}"));
        let [contract] = listed(&at("start = 1970-01-03T02:00:00+01:00")).unwrap()[..] else {
            panic!("one instrument");
        };
        assert_eq!(contract.terms.unwrap().start_hour, 49);
        let error = |start: &str| listed(&at(start)).unwrap_err().to_string();
        expect!["x.toml:19: the window of contract a has begun"]
            .assert_eq(&error("start = 1970-01-02T00:00:00Z"));
        expect!["x.toml:25: a window starts on a full hour after 1970"]
            .assert_eq(&error("start = 1970-01-03T00:30:00Z"));
        expect!["x.toml:25: start needs date, time and offset, such as 2026-12-01T09:00:00Z"]
            .assert_eq(&error("start = 1970-01-03T00:00:00"));
        expect!["x.toml:20: a contract has either start_in_hours or start"]
            .assert_eq(&error("start_in_hours = 3\nstart = 1970-01-03T00:00:00Z"));
    }

    #[test]
    fn prices_are_exact_decimals() {
        for (text, micro) in [
            ("0.4515", Some(451_500)),
            ("2", Some(2_000_000)),
            ("0.000001", Some(1)),
            ("1.", None),
            (".5", None),
            ("-1", None),
            ("1e3", None),
            ("0.0000001", None),
            ("99999999999999", None),
            ("", None),
        ] {
            assert_eq!(micro_usd(text), micro, "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        check_error(
            replace("name = \"us-tx\"", "name = \"us-tx\"\ncountry = \"us\""),
            &expect!["x.toml:16: unknown field `country`, expected `name` or `source`"],
        );
        check_error(
            replace("version = 1", "version ="),
            &expect!["x.toml:1: string values must be quoted, expected literal string"],
        );
        check_error(
            replace("slices = 7", "slices = 6"),
            &expect!["x.toml:5: slices must be 0 or 7"],
        );
        check_error(
            replace("slices = 7", "slices = \"7\""),
            &expect![[r#"x.toml:5: invalid type: string "7", expected u8"#]],
        );
        check_error(
            replace("= 600", "= 1000"),
            &expect![
                "x.toml:2: tick_micro_usd must be a multiple of 60, so that a minute of any price is a whole number of micro-USD; 1000 is not"
            ],
        );
        check_error(
            replace("share = 5000", "share = 0"),
            &expect!["x.toml:13: share is 1 to 10000, in 1/10000 of a device"],
        );
        check_error(
            replace("number = 2", "number = 5"),
            &expect!["x.toml:18: the number of a tier is 0 to 4"],
        );
        check_error(
            replace("\"L40S\"", "\"H100\""),
            &expect!["x.toml:7: class H100 is there twice"],
        );
        check_error(
            replace("class = \"H100\"", "class = \"H1000\""),
            &expect![
                "x.toml:21: unknown class `H1000`; the file has H100, L40S; did you mean `H100`?"
            ],
        );
        check_error(
            replace("zone = \"us-tx\"", "zone = \"mars\""),
            &expect!["x.toml:24: unknown zone `mars`; the file has us-tx"],
        );
        check_error(
            replace("\"whole\"", "\"half\""),
            &expect!["x.toml:22: `half` is no partition: time_slice, vgpu, mig, whole, tee"],
        );
        check_error(
            replace("\"whole\"", "\"mig\""),
            &expect!["x.toml:22: partition mig needs a profile"],
        );
        check_error(
            replace("\"whole\"", "\"whole\"\nprofile = \"1g\""),
            &expect!["x.toml:23: partition whole is a whole device and has no profile"],
        );
        check_error(
            replace("\"whole\"", "\"mig\"\nprofile = \"1/2\""),
            &expect!["x.toml:23: 1/2 is no mig profile: 1g, 1g+mem, 2g, 3g, 4g, 7g"],
        );
        check_error(
            |text| {
                text.replace("\"whole\"", "\"mig\"\nprofile = \"1g\"")
                    .replace("class = \"H100\"", "class = \"L40S\"")
            },
            &expect!["x.toml:21: class L40S has no slices for mig"],
        );
        check_error(
            replace("\"2.35\"", "\"2,35\""),
            &expect![[
                r#"x.toml:26: `2,35` is no price: USD per unit-hour with up to six decimals, such as "2.35""#
            ]],
        );
        check_error(
            replace("\"2.35\"", "\"0.0001\""),
            &expect![
                "x.toml:26: the reference is 0 ticks of 600 micro-USD; it must be 1 to 34359738368"
            ],
        );
        check_error(
            replace("\"2.35\"", "2.35"),
            &expect!["x.toml:26: invalid type: floating point `2.35`, expected a string"],
        );
        check_error(
            replace("\"2.35\"", "\"2.35\"\nhours = 0"),
            &expect!["x.toml:27: hours is 1 to 8784"],
        );
        check_error(
            replace("\"2.35\"", "\"2.35\"\nwindows = 1000"),
            &expect!["x.toml:27: windows is 1 to 720"],
        );
        check_error(
            replace("name = \"a\"", "name = \"a name with blanks\""),
            &expect!["x.toml:20: a name consists of printable ASCII without spaces"],
        );
        check_error(
            replace(
                "name = \"a\"",
                "name = \"H100.whole.standard.us-tx.december\"",
            ),
            &expect![
                "x.toml:20: `H100.whole.standard.us-tx.december` has 34 bytes, a name at most 32"
            ],
        );
        check_error(
            |text| format!("{text}{CONTRACT}"),
            &expect!["x.toml:28: an instrument named a is already in line 20"],
        );
        check_error(
            |text| format!("{text}{}", CONTRACT.replace("\"a\"", "\"b\"")),
            &expect!["x.toml:27: contract b has the class, partition, tier, zone and window of a"],
        );
        check_error(
            |text| format!("{text}[[plain]]\nname = \"a\"\n"),
            &expect!["x.toml:28: an instrument named a is already in line 20"],
        );
    }

    /// What the head does not have: workloads, an index, a tier with credits, placements.
    const FACTS: &str = r#"[[workload]]
name = "inference"
[[energy_index]]
name = "HUB"
zone = "us-tx"
interval_minutes = 15
[[tier]]
name = "firm"
number = 3
target = 9990
credits = [[9990, 1000], [9900, 2500]]
cap = 3000
[[efficiency]]
class = "H100"
partition = "mig"
profile = "1g"
workload = "inference"
share = 1212
overhead = 300
"#;

    fn check_facts_error(change: impl Fn(&str) -> String, expect: &Expect) {
        check_error(|text| format!("{text}{}", change(FACTS)), expect);
    }

    #[test]
    fn the_shipped_efficiencies_are_those_of_the_sources() {
        let file = load(None).unwrap();
        let class = |name: &str| {
            let classes = &file.tables().classes;
            classes
                .iter()
                .position(|class| class.name.as_str() == name)
                .unwrap()
        };
        let eta = |of: &str, partition, profile: &str, workload: &str| {
            let profiles = &file.tables().profiles;
            let row = file.efficiency().iter().find(|row| {
                usize::from(row.class) == class(of)
                    && row.partition == partition
                    && profiles[usize::from(row.profile)].as_str() == profile
                    && file.workloads()[usize::from(row.workload)].as_str() == workload
            });
            row.map(super::eta)
        };
        assert_eq!(
            eta("H100", Partition::Whole, "whole", "inference"),
            Some(10_000)
        );
        assert_eq!(
            eta("H200", Partition::Whole, "whole", "inference"),
            Some(14_328)
        );
        assert_eq!(eta("H100", Partition::Mig, "3g", "inference"), Some(4_408));
        assert_eq!(
            eta("H100", Partition::TimeSlice, "1/2", "inference"),
            Some(3_800)
        );
        assert_eq!(
            eta("H100", Partition::Tee, "whole", "inference"),
            Some(9_300)
        );
        assert_eq!(eta("H100", Partition::Tee, "whole", "training"), None);
        assert_eq!(eta("A100", Partition::Mig, "7g", "training"), Some(2_775));
        assert_eq!(file.tiers().len(), 5);
        assert_eq!(
            file.tiers()[3].credits,
            [(9_990, 1_000), (9_900, 2_500), (9_500, 10_000)]
        );
        assert_eq!(file.energy().len(), 2);
    }

    #[test]
    fn mistakes_in_facts_are_told_with_their_line() {
        assert!(listed(&format!("{HEAD}{CONTRACT}{FACTS}")).is_ok());
        check_facts_error(
            replace("\"inference\"\nshare", "\"infernce\"\nshare"),
            &expect![
                "x.toml:43: unknown workload `infernce`; the file has inference; did you mean `inference`?"
            ],
        );
        check_facts_error(
            replace("\"mig\"", "\"mgi\""),
            &expect!["x.toml:41: `mgi` is no partition: time_slice, vgpu, mig, whole, tee"],
        );
        check_facts_error(
            replace("overhead = 300", "overhead = 10000"),
            &expect![
                "x.toml:39: share, overhead and factor leave no work, so that no order could ever use the row"
            ],
        );
        check_facts_error(
            replace("share = 1212", "share = 0"),
            &expect!["x.toml:44: share is 1 to 1048576, in 1/10000"],
        );
        check_facts_error(
            |text| format!("{text}{}", &FACTS[FACTS.find("[[efficiency]]").unwrap()..]),
            &expect![
                "x.toml:46: class, partition, profile and workload have a row already in line 39"
            ],
        );
        check_facts_error(
            replace("[9990, 1000]", "[9991, 1000]"),
            &expect!["x.toml:37: a credit begins at or below the target 9990, not at 9991"],
        );
        check_facts_error(
            replace("[9900, 2500]", "[9900, 900]"),
            &expect!["x.toml:37: credit steps go down in minutes and up in credit"],
        );
        check_facts_error(
            replace("[9900, 2500]", "[9900, 3500]"),
            &expect!["x.toml:37: a credit is 1 to the cap 3000, in 1/10000 of the price"],
        );
        check_facts_error(
            replace("target = 9990", "target = 10001"),
            &expect!["x.toml:36: target is 0 to 10000, in 1/10000 of the minutes"],
        );
        check_facts_error(
            replace("interval_minutes = 15", "interval_minutes = 7"),
            &expect![
                "x.toml:32: interval_minutes divides an hour, so that every delivered hour is a whole number of intervals"
            ],
        );
        check_facts_error(
            replace(
                "interval_minutes = 15",
                "interval_minutes = 15\nlowest_usd_mwh = 5",
            ),
            &expect![
                "x.toml:33: lowest_usd_mwh and highest_usd_mwh come together, the lower one first"
            ],
        );
        let placed = |placement: &str| {
            let placement = format!("share = 1212\nplacement = {placement}");
            move |text: &str| text.replacen("share = 1212", &placement, 1)
        };
        check_error(
            placed("{ compute = 1, memory = 1, starts = [0, 1] }"),
            &expect![
                "x.toml:11: 1g takes 1 of 7 compute slices and 1 of 8 memory slots from one of [0, 1, 2, 3, 4, 5, 6]"
            ],
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load(Some(Path::new("/nowhere/catalogue.toml"))).unwrap_err();
        expect!["/nowhere/catalogue.toml: cannot read the catalogue: No such file or directory (os error 2)"]
            .assert_eq(&error.to_string());
    }
}
