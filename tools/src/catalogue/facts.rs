//! What a catalogue says beyond names: how much work a partition does, what a tier promises, which
//! energy index a zone is billed by, and where the profiles of a device may lie.

use std::collections::HashMap;
use std::ops::Range;

use serde::Deserialize;
use tessera_types::{Efficiency, Name, Price, Reclaim};
use toml::Spanned;

use super::{Checker, Problem, find, instrument_name, line_of, partition, problem, table};

/// Work of one lot of this row in 1/10000 of the reference unit:
/// `floor(floor(share * (10000 - overhead) / 10000) * factor / 10000)`.
#[must_use]
pub fn eta(row: &Efficiency) -> i64 {
    let kept = 10_000 - i64::from(row.overhead);
    let share = (i64::from(row.share) * kept).div_euclid(10_000);
    (share * i64::from(row.factor)).div_euclid(10_000)
}

/// What a tier promises, in the words of its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierTerms {
    /// Its name.
    pub name: Name,
    /// 0 best effort, 1 reclaimable, 2 standard, 3 firm, 4 firm with damages.
    pub number: u8,
    /// Minutes to be delivered, in 1/10000 of all.
    pub target: u32,
    /// (below this share of minutes, credit of the price), both in 1/10000, mildest first.
    pub credits: Vec<(u32, u32)>,
    /// The most that is ever paid back, in 1/10000 of the price.
    pub cap: u32,
}

/// A published energy price that a zone is billed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnergyIndex {
    /// Its name.
    pub name: Name,
    /// Number of the zone.
    pub zone: u16,
    /// Length of one interval in minutes.
    pub interval_minutes: u32,
    /// Lowest and highest value that the market's rules allow, in USD per MWh.
    pub bounds_usd_mwh: Option<(i64, i64)>,
}

/// How a profile lies on a device of seven slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The profile's name.
    pub profile: &'static str,
    /// Compute slices of 7.
    pub compute: u8,
    /// Memory slots of 8.
    pub memory: u8,
    /// First memory slots that it may begin at.
    pub starts: &'static [u8],
}

/// The placements that the engine carves by; a file repeats them for its readers and may not differ.
pub const PLACEMENTS: [Placement; 6] = [
    placement("1g", 1, 1, &[0, 1, 2, 3, 4, 5, 6]),
    placement("1g+mem", 1, 2, &[0, 2, 4, 6]),
    placement("2g", 2, 2, &[0, 2, 4]),
    placement("3g", 3, 4, &[0, 4]),
    placement("4g", 4, 4, &[0]),
    placement("7g", 7, 8, &[0]),
];

const fn placement(
    profile: &'static str,
    compute: u8,
    memory: u8,
    starts: &'static [u8],
) -> Placement {
    Placement {
        profile,
        compute,
        memory,
        starts,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlacementEntry {
    compute: u8,
    memory: u8,
    starts: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Workload {
    name: Spanned<String>,
    #[serde(default, rename = "source")]
    _source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EfficiencyEntry {
    class: Spanned<String>,
    partition: Spanned<String>,
    profile: Option<Spanned<String>>,
    workload: Spanned<String>,
    share: Option<Spanned<u32>>,
    overhead: Option<Spanned<i32>>,
    factor: Option<Spanned<u32>>,
    #[serde(default, rename = "source")]
    _source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tier {
    pub(super) name: Spanned<String>,
    number: Spanned<u8>,
    #[serde(default)]
    target: Option<Spanned<u32>>,
    #[serde(default)]
    credits: Vec<Spanned<(u32, u32)>>,
    #[serde(default)]
    cap: Option<Spanned<u32>>,
    #[serde(default, rename = "source")]
    _source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReclaimEntry {
    notice_s: Spanned<u32>,
    compensation_usd: Option<Spanned<String>>,
    max_times: Option<u32>,
    #[serde(default)]
    min_run_s: u32,
    #[serde(default)]
    restart_minutes: u32,
}

impl Tier {
    pub(super) fn number(&self) -> u8 {
        *self.number.get_ref()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnergyEntry {
    name: Spanned<String>,
    zone: Spanned<String>,
    interval_minutes: Spanned<u32>,
    lowest_usd_mwh: Option<Spanned<i64>>,
    highest_usd_mwh: Option<Spanned<i64>>,
    #[serde(default, rename = "source")]
    _source: String,
}

impl Checker<'_> {
    /// A file that says where a profile lies says what the engine does.
    pub(super) fn check_placement(
        &self,
        profile: &str,
        entry: &Spanned<PlacementEntry>,
    ) -> Result<(), Problem> {
        let at = entry.span();
        let Some(known) = PLACEMENTS.iter().find(|known| known.profile == profile) else {
            return problem(
                &at,
                format!("{profile} is no mig profile and has no placement"),
            );
        };
        let entry = entry.get_ref();
        let said = (entry.compute, entry.memory, &entry.starts[..]);
        if said == (known.compute, known.memory, known.starts) {
            return Ok(());
        }
        let reason = format!(
            "{profile} takes {} of 7 compute slices and {} of 8 memory slots from one of {:?}",
            known.compute, known.memory, known.starts
        );
        problem(&at, reason)
    }

    pub(super) fn tiers(&self) -> Result<Vec<TierTerms>, Problem> {
        let tiers = &self.file.tier;
        let names = table("tier", tiers.iter().map(|tier| &tier.get_ref().name), 0)?;
        let mut seen = [false; 5];
        std::iter::zip(names, tiers)
            .map(|(name, tier)| {
                let tier = tier.get_ref();
                let number = &tier.number;
                match seen.get_mut(usize::from(*number.get_ref())) {
                    None => return problem(&number.span(), "the number of a tier is 0 to 4"),
                    Some(true) => {
                        let reason = format!("tier {} is there twice", number.get_ref());
                        return problem(&number.span(), reason);
                    }
                    Some(seen) => *seen = true,
                }
                tier_terms(name, tier)
            })
            .collect()
    }

    /// Terms of reclaiming, for tiers 0 and 1 only.
    pub(super) fn reclaim(
        &self,
        entry: &Spanned<ReclaimEntry>,
        tier_word: &Spanned<String>,
        tier: usize,
    ) -> Result<Reclaim, Problem> {
        if self.file.tier[tier].get_ref().number() > 1 {
            let reason = format!(
                "tier {} cannot be reclaimed; tiers 0 and 1 can",
                tier_word.get_ref()
            );
            return problem(&entry.span(), reason);
        }
        let entry = entry.get_ref();
        let notice_s = *entry.notice_s.get_ref();
        if notice_s > MAX_NOTICE_S {
            let reason = format!("notice_s is 0 to {MAX_NOTICE_S}");
            return problem(&entry.notice_s.span(), reason);
        }
        let compensation = match &entry.compensation_usd {
            None => 0,
            Some(usd) => self.reference(usd).map(Price::ticks)?,
        };
        Ok(Reclaim {
            notice_s,
            compensation,
            max_times: entry.max_times.unwrap_or(1),
            min_run_s: entry.min_run_s,
            restart_minutes: entry.restart_minutes,
        })
    }

    pub(super) fn workloads(&self) -> Result<Vec<Name>, Problem> {
        let names = self.file.workload.iter().map(|entry| &entry.get_ref().name);
        table("workload", names, 0)
    }

    pub(super) fn efficiency(&self) -> Result<Vec<Efficiency>, Problem> {
        let mut lines = HashMap::new();
        let mut rows = Vec::new();
        for entry in &self.file.efficiency {
            let line = line_of(self.text, entry.span().start);
            let at = entry.span();
            let entry = entry.get_ref();
            let class = find("class", &entry.class, &self.file.class, |class| &class.name)?;
            let partition_of = partition(&entry.partition)?;
            let (profile, _) = self.profile(
                &entry.class,
                &entry.partition,
                entry.profile.as_ref(),
                partition_of,
                class,
            )?;
            let workload = find("workload", &entry.workload, &self.file.workload, |w| {
                &w.name
            })?;
            let row = Efficiency {
                class: super::number(class),
                partition: partition_of,
                profile,
                workload: u8::try_from(workload).unwrap_or(u8::MAX),
                share: ratio("share", entry.share.as_ref())?,
                overhead: entry.overhead.as_ref().map_or(0, |value| *value.get_ref()),
                factor: ratio("factor", entry.factor.as_ref())?,
            };
            if eta(&row) <= 0 {
                return problem(
                    &at,
                    "share, overhead and factor leave no work, so that no order could ever use the row",
                );
            }
            let key = (row.class, row.partition, row.profile, row.workload);
            if let Some(first) = lines.insert(key, line) {
                let reason = format!(
                    "class, partition, profile and workload have a row already in line {first}"
                );
                return problem(&at, reason);
            }
            rows.push(row);
        }
        Ok(rows)
    }

    pub(super) fn energy(&self) -> Result<Vec<EnergyIndex>, Problem> {
        let entries = &self.file.energy_index;
        let names = entries.iter().map(|entry| &entry.get_ref().name);
        table("energy_index", names, 0)?;
        let mut billed: Vec<usize> = Vec::new();
        entries
            .iter()
            .map(|entry| {
                let entry = entry.get_ref();
                let zone = find("zone", &entry.zone, &self.file.zone, |zone| &zone.name)?;
                if billed.contains(&zone) {
                    let reason = format!("zone {} has an index already", entry.zone.get_ref());
                    return problem(&entry.zone.span(), reason);
                }
                billed.push(zone);
                let minutes = *entry.interval_minutes.get_ref();
                if minutes == 0 || 60 % minutes != 0 {
                    return problem(
                        &entry.interval_minutes.span(),
                        "interval_minutes divides an hour, so that every delivered hour is a whole number of intervals",
                    );
                }
                let bounds = match (&entry.lowest_usd_mwh, &entry.highest_usd_mwh) {
                    (None, None) => None,
                    (Some(low), Some(high)) if low.get_ref() < high.get_ref() => {
                        Some((*low.get_ref(), *high.get_ref()))
                    }
                    (Some(at), _) | (None, Some(at)) => {
                        let reason = "lowest_usd_mwh and highest_usd_mwh come together, the lower one first";
                        return problem(&at.span(), reason);
                    }
                };
                Ok(EnergyIndex {
                    name: instrument_name(entry.name.get_ref(), &entry.name.span())?,
                    zone: super::number(zone),
                    interval_minutes: minutes,
                    bounds_usd_mwh: bounds,
                })
            })
            .collect()
    }
}

fn tier_terms(name: Name, tier: &Tier) -> Result<TierTerms, Problem> {
    let target = bps(
        tier.target.as_ref(),
        0,
        10_000,
        "target is 0 to 10000, in 1/10000 of the minutes",
    )?;
    let cap = bps(
        tier.cap.as_ref(),
        10_000,
        20_000,
        "cap is 0 to 20000, in 1/10000 of the price",
    )?;
    let mut before: Option<(u32, u32)> = None;
    for step in &tier.credits {
        let (below, credit) = *step.get_ref();
        let at: Range<usize> = step.span();
        if below > target {
            let reason = format!("a credit begins at or below the target {target}, not at {below}");
            return problem(&at, reason);
        }
        if before.is_some_and(|(earlier, less)| below >= earlier || credit <= less) {
            return problem(&at, "credit steps go down in minutes and up in credit");
        }
        if credit == 0 || credit > cap {
            let reason = format!("a credit is 1 to the cap {cap}, in 1/10000 of the price");
            return problem(&at, reason);
        }
        before = Some((below, credit));
    }
    Ok(TierTerms {
        name,
        number: tier.number(),
        target,
        credits: tier.credits.iter().map(|step| *step.get_ref()).collect(),
        cap,
    })
}

fn bps(
    value: Option<&Spanned<u32>>,
    default: u32,
    most: u32,
    reason: &str,
) -> Result<u32, Problem> {
    match value {
        None => Ok(default),
        Some(value) if *value.get_ref() <= most => Ok(*value.get_ref()),
        Some(value) => problem(&value.span(), reason),
    }
}

fn ratio(what: &str, value: Option<&Spanned<u32>>) -> Result<u32, Problem> {
    match value {
        None => Ok(10_000),
        Some(value) if (1..=MAX_RATIO).contains(value.get_ref()) => Ok(*value.get_ref()),
        Some(value) => problem(
            &value.span(),
            format!("{what} is 1 to {MAX_RATIO}, in 1/10000"),
        ),
    }
}

const MAX_RATIO: u32 = 1 << 20;
const MAX_NOTICE_S: u32 = 2_592_000;
