//! From CSV files to estimates: readers that name file, line and column, and the reports of
//! `tessera risk calibrate`.
//!
//! Files are plain or gzip. Times are UTC or carry an offset; local time without one is refused,
//! because it is ambiguous twice a year. Series may have gaps; a repeated time is an error.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use crate::energy::{CapTable, Interval, Point, Transform, calibrate_filtered};
use crate::failure::{
    Episode, Lifetime, ShockDays, WeibullFit, estimate_pool, fit_negative_binomial, fit_weibull,
    kaplan_meier, shock_days,
};
use crate::margin::Book;
use crate::model::Model;
use crate::numeric::population_sd;
use crate::price::{ComputePriceFit, fit_compute_price};
use crate::quantise::LOTS_LIMIT;
use crate::repair::{RepairFit, fit_repair};
use crate::scenario::History;
use crate::units::{Estimate, FitError};

/// Why a data file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be opened or decompressed.
    #[error("{path}: {source}")]
    Io {
        /// Path.
        path: PathBuf,
        /// Reason.
        source: std::io::Error,
    },
    /// Not well-formed CSV.
    #[error("{path}:{line}: {message}; every row needs as many fields as the header")]
    Form {
        /// Path.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// A column is missing.
    #[error("{path}:1: no column {wanted}; the header has {found}")]
    Column {
        /// Path.
        path: PathBuf,
        /// The names that would do.
        wanted: String,
        /// The names that are there.
        found: String,
    },
    /// A field cannot be read.
    #[error("{path}:{line}: column {column}: {value:?} {reason}")]
    Field {
        /// Path.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Column name.
        column: String,
        /// What stands there.
        value: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// No row.
    #[error("{path}: no rows after the header")]
    Empty {
        /// Path.
        path: PathBuf,
    },
}

/// A CSV file with a header, in memory.
pub struct Table {
    path: PathBuf,
    header: Vec<String>,
    rows: Vec<(u64, csv::StringRecord)>,
    /// BLAKE3 of the bytes of the file, lower-case hex.
    pub blake3: String,
}

impl Table {
    /// Reads a plain or gzip file.
    ///
    /// # Errors
    /// [`ReadError`] if it cannot be read, is not CSV, or has no row.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io {
            path: path.into(),
            source,
        };
        let bytes = std::fs::read(path).map_err(io)?;
        let blake3 = blake3::hash(&bytes).to_hex().to_string();
        let reader: Box<dyn Read> = if bytes.starts_with(&[0x1f, 0x8b]) {
            Box::new(flate2::read::MultiGzDecoder::new(&bytes[..]))
        } else {
            Box::new(&bytes[..])
        };
        let mut csv = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(BufReader::new(reader));
        let form = |error: csv::Error| {
            let line = error.position().map_or(1, csv::Position::line);
            match error.into_kind() {
                csv::ErrorKind::Io(source) => ReadError::Io {
                    path: path.into(),
                    source,
                },
                kind => ReadError::Form {
                    path: path.into(),
                    line,
                    message: format!("{kind:?}"),
                },
            }
        };
        let header = csv
            .headers()
            .map_err(form)?
            .iter()
            .map(|h| h.trim_start_matches('\u{feff}').to_owned())
            .collect();
        let mut rows = Vec::new();
        for record in csv.records() {
            let record = record.map_err(form)?;
            let line = record.position().map_or(0, csv::Position::line);
            rows.push((line, record));
        }
        if rows.is_empty() {
            return Err(ReadError::Empty { path: path.into() });
        }
        Ok(Self {
            path: path.into(),
            header,
            rows,
            blake3,
        })
    }

    /// Does the header have this column?
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.header.iter().any(|h| h == name)
    }

    /// Index of the first of `names` that is there.
    fn column(&self, names: &[&str]) -> Result<usize, ReadError> {
        names
            .iter()
            .find_map(|name| self.header.iter().position(|h| h == name))
            .ok_or_else(|| ReadError::Column {
                path: self.path.clone(),
                wanted: names.join(" or "),
                found: self.header.join(", "),
            })
    }

    fn bad(&self, line: u64, column: usize, value: &str, reason: &str) -> ReadError {
        ReadError::Field {
            path: self.path.clone(),
            line,
            column: self.header.get(column).cloned().unwrap_or_default(),
            value: value.into(),
            reason: reason.into(),
        }
    }

    fn text<'a>(&self, row: &'a (u64, csv::StringRecord), column: usize) -> &'a str {
        row.1.get(column).unwrap_or("")
    }

    fn number(&self, row: &(u64, csv::StringRecord), column: usize) -> Result<f64, ReadError> {
        let text = self.text(row, column);
        match text.parse::<f64>() {
            Ok(x) if x.is_finite() => Ok(x),
            _ => Err(self.bad(
                row.0,
                column,
                text,
                "is not a finite number; correct or delete the row",
            )),
        }
    }

    fn second(&self, row: &(u64, csv::StringRecord), column: usize) -> Result<i64, ReadError> {
        let text = self.text(row, column);
        text.parse::<Timestamp>()
            .map(Timestamp::as_second)
            .map_err(|_| {
                let reason = "is not a time such as 2024-01-01T00:00Z or with an offset such as \
                              +01:00; local time without an offset is ambiguous when clocks change";
                self.bad(row.0, column, text, reason)
            })
    }
}

/// Names that a time column may have.
const TIME: [&str; 4] = ["interval_start_utc", "hour_start_utc", "time_utc", "time"];

/// A power price series as read.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceSeries {
    /// (start of interval in seconds since 1970 UTC, USD/MWh), by rising time.
    pub prices: Vec<(i64, f64)>,
    /// Most frequent distance of two intervals, seconds.
    pub step: i64,
    /// BLAKE3 of the file.
    pub blake3: String,
}

/// Daily or hourly means of complete days or hours.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregated {
    /// One point per complete period.
    pub points: Vec<Point>,
    /// Periods that were there but not complete.
    pub dropped: u64,
}

impl PriceSeries {
    /// Reads a series: a time column (`interval_start_utc`, `hour_start_utc`, `time_utc` or `time`)
    /// and `price_usd_per_mwh`. Rows may come in any order.
    ///
    /// # Errors
    /// [`ReadError`] for a bad field or a repeated time.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let table = Table::open(path)?;
        let time = table.column(&TIME)?;
        let price = table.column(&["price_usd_per_mwh", "usd_per_mwh"])?;
        let mut prices = table
            .rows
            .iter()
            .map(|row| Ok((table.second(row, time)?, table.number(row, price)?, row.0)))
            .collect::<Result<Vec<_>, ReadError>>()?;
        prices.sort_by_key(|p| p.0);
        if let Some(twice) = prices.windows(2).find(|w| w[0].0 == w[1].0) {
            let value = Timestamp::from_second(twice[1].0).map_or(String::new(), |t| t.to_string());
            let reason = format!(
                "occurs on line {} as well; keep one of them (an hour that repeats when clocks change needs its offset)",
                twice[0].2
            );
            return Err(table.bad(twice[1].2, time, &value, &reason));
        }
        let mut gaps: BTreeMap<i64, u64> = BTreeMap::new();
        for w in prices.windows(2) {
            *gaps.entry(w[1].0 - w[0].0).or_insert(0) += 1;
        }
        let step = gaps
            .iter()
            .max_by_key(|(gap, n)| (**n, std::cmp::Reverse(**gap)))
            .map_or(3600, |(gap, _)| *gap);
        Ok(Self {
            prices: prices.into_iter().map(|p| (p.0, p.1)).collect(),
            step,
            blake3: table.blake3,
        })
    }

    /// Means over complete UTC days or hours, each price moved into the legal range of its day
    /// first. A period with a missing interval is dropped and counted.
    #[must_use]
    pub fn aggregate(&self, interval: Interval, caps: &CapTable) -> Aggregated {
        let length = 86_400 / interval.per_day();
        let full = (length / self.step.max(1)).max(1);
        let mut points = Vec::new();
        let mut dropped = 0;
        for group in self
            .prices
            .chunk_by(|a, b| a.0.div_euclid(length) == b.0.div_euclid(length))
        {
            let index = group[0].0.div_euclid(length);
            if i64::try_from(group.len()) == Ok(full) {
                let sum: f64 = group
                    .iter()
                    .map(|(t, p)| caps.clamp(t.div_euclid(86_400), *p))
                    .sum();
                points.push(Point {
                    index,
                    price: sum / group.len() as f64,
                });
            } else {
                dropped += 1;
            }
        }
        Aggregated { points, dropped }
    }

    /// The part between two moments, seconds since 1970 UTC; the end is not included.
    #[must_use]
    pub fn between(mut self, from: Option<i64>, to: Option<i64>) -> Self {
        self.prices
            .retain(|(t, _)| from.is_none_or(|f| *t >= f) && to.is_none_or(|u| *t < u));
        self
    }

    /// First and last moment, for reports.
    #[must_use]
    pub fn span(&self) -> String {
        let show = |p: Option<&(i64, f64)>| {
            p.and_then(|p| Timestamp::from_second(p.0).ok())
                .map_or_else(|| "-".into(), |t| t.to_string())
        };
        format!(
            "{} to {}",
            show(self.prices.first()),
            show(self.prices.last())
        )
    }
}

/// Result of `calibrate failures`. Times are in days.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailureReport {
    /// Failures per node-day of up-time.
    pub rate: f64,
    /// Its standard error.
    pub rate_se: f64,
    /// Failures.
    pub failures: u64,
    /// Up node-days.
    pub exposure_node_days: f64,
    /// Up node-days per failure.
    pub mtbf: f64,
    /// 1 - merged downtime over node-days.
    pub availability: f64,
    /// Variance over mean of failures per node.
    pub dispersion: f64,
    /// Negative binomial shape.
    pub nb_r: Option<Estimate>,
    /// Gaps between failures of one node.
    pub weibull: Option<WeibullFit>,
    /// Repair times.
    pub repair: Option<RepairFit>,
    /// Failures per day of the whole pool.
    pub shocks: Option<ShockDays>,
    /// Failures per class.
    pub by_class: BTreeMap<String, u64>,
    /// Survival of gaps: (days, probability).
    #[serde(skip)]
    pub km: Vec<(f64, f64)>,
    /// BLAKE3 of the file.
    pub blake3: String,
}

/// Estimates failures from episodes: `node`, `start_day`, `end_day`, optionally `class`. `nodes`
/// counts all nodes, also those that never failed and have no row.
///
/// # Errors
/// [`CalibrateError`] for a bad row or too few nodes.
pub fn failures(
    path: &Path,
    nodes: usize,
    span_days: f64,
) -> Result<FailureReport, CalibrateError> {
    let table = Table::open(path)?;
    let node = table.column(&["node"])?;
    let start = table.column(&["start_day"])?;
    let end = table.column(&["end_day"])?;
    let class = table.column(&["class"]).ok();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut by_class = BTreeMap::new();
    let mut episodes = Vec::new();
    for row in &table.rows {
        let next = names.len();
        let node = *names
            .entry(table.text(row, node).to_owned())
            .or_insert(next);
        let (from, to) = (table.number(row, start)?, table.number(row, end)?);
        if to < from {
            let text = table.text(row, end);
            return Err(table
                .bad(row.0, end, text, "lies before the start of the episode")
                .into());
        }
        if let Some(class) = class {
            let name = match table.text(row, class) {
                "" => "(none)",
                name => name,
            };
            *by_class.entry(name.to_owned()).or_insert(0) += 1;
        }
        episodes.push(Episode {
            node,
            start: from,
            end: to,
        });
    }
    let pool = estimate_pool(&episodes, nodes, span_days)?;
    let gaps = gaps(&episodes, span_days);
    let repairs: Vec<f64> = episodes.iter().map(|e| e.end - e.start).collect();
    let starts: Vec<f64> = episodes.iter().map(|e| e.start).collect();
    Ok(FailureReport {
        rate: pool.rate.value,
        rate_se: pool.rate.se,
        failures: pool.rate.n,
        exposure_node_days: pool.exposure,
        mtbf: pool.mtbf,
        availability: pool.availability,
        dispersion: pool.dispersion,
        nb_r: fit_negative_binomial(&pool.counts).ok(),
        weibull: fit_weibull(&gaps).ok(),
        repair: fit_repair(&repairs).ok(),
        shocks: shock_days(&starts, span_days).ok(),
        by_class,
        km: kaplan_meier(&gaps),
        blake3: table.blake3,
    })
}

/// Up-times after a repair: to the next failure of the same node, or censored at the span.
fn gaps(episodes: &[Episode], span: f64) -> Vec<Lifetime> {
    let mut by_node: BTreeMap<usize, Vec<&Episode>> = BTreeMap::new();
    for e in episodes {
        by_node.entry(e.node).or_default().push(e);
    }
    let mut gaps = Vec::new();
    for own in by_node.values_mut() {
        own.sort_by(|a, b| a.start.total_cmp(&b.start));
        let mut up = f64::NEG_INFINITY;
        for e in own.iter() {
            if up.is_finite() && e.start > up {
                gaps.push(Lifetime {
                    length: e.start - up,
                    ended: true,
                });
            }
            up = up.max(e.end);
        }
        if up < span {
            gaps.push(Lifetime {
                length: span - up,
                ended: false,
            });
        }
    }
    gaps
}

/// Why a calibration has no result.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The file.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The estimator.
    #[error(transparent)]
    Fit(#[from] FitError),
}

/// Preemptions of one zone and device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PreemptionRate {
    /// Zone.
    pub zone: String,
    /// Device.
    pub device: String,
    /// Up node-hours.
    pub up_hours: f64,
    /// Preemptions.
    pub preemptions: u64,
    /// Preemptions per up hour; `None` without up-time.
    pub rate_per_hour: Option<f64>,
    /// Its standard error.
    pub rate_se: Option<f64>,
    /// Share of wanted node-time that was up; `None` for lifetimes, which have no such share.
    pub availability: Option<f64>,
    /// Survival: (hours, probability); lifetimes only.
    pub km: Vec<(f64, f64)>,
}

/// Estimates preemption from run-length traces (`zone`, `device`, `nodes_wanted`, `gap_s`, `tick`,
/// `ticks`, `nodes_up`) or lifetimes (`zone`, `gpu`, `created_utc`, `last_seen_up_utc`,
/// `seen_down_utc`, `preempted`).
///
/// A lifetime that was not preempted ends when it was last seen up, censored; a preempted one ends
/// half-way between the last sight of it up and the first of it down.
///
/// # Errors
/// [`CalibrateError`] for a bad row.
pub fn preemption(path: &Path) -> Result<Vec<PreemptionRate>, CalibrateError> {
    let table = Table::open(path)?;
    if table.has("nodes_up") {
        Ok(traces(&table)?)
    } else {
        Ok(lifetimes(&table)?)
    }
}

fn traces(table: &Table) -> Result<Vec<PreemptionRate>, ReadError> {
    let column = |name| table.column(&[name]);
    let (zone, device, wanted) = (column("zone")?, column("device")?, column("nodes_wanted")?);
    let (gap, tick, ticks, up) = (
        column("gap_s")?,
        column("tick")?,
        column("ticks")?,
        column("nodes_up")?,
    );
    let kind = column("kind").ok();
    let cloud = column("cloud_start").ok();
    #[derive(Default)]
    struct Sum {
        up: f64,
        wanted: f64,
        drops: f64,
    }
    let mut sums: BTreeMap<(String, String), Sum> = BTreeMap::new();
    let mut last: Option<(String, f64, f64)> = None;
    for row in &table.rows {
        let text = |c: usize| table.text(row, c).to_owned();
        let optional = |c: Option<usize>| c.map(text).unwrap_or_default();
        let series = [
            optional(kind),
            optional(cloud),
            text(zone),
            text(device),
            text(wanted),
        ]
        .join("|");
        let hours = table.number(row, gap)? * table.number(row, ticks)? / 3600.0;
        let (nodes, from) = (table.number(row, up)?, table.number(row, tick)?);
        if hours < 0.0 || nodes < 0.0 {
            let value = table.text(row, ticks);
            return Err(table.bad(row.0, ticks, value, "makes a negative length"));
        }
        let sum = sums.entry((text(zone), text(device))).or_default();
        sum.up += nodes * hours;
        sum.wanted += table.number(row, wanted)? * hours;
        // Only a drop between two runs that touch is a preemption.
        if let Some((series_before, end, nodes_before)) = &last
            && *series_before == series
            && *end == from
        {
            sum.drops += (nodes_before - nodes).max(0.0);
        }
        last = Some((series, from + table.number(row, ticks)?, nodes));
    }
    Ok(sums
        .into_iter()
        .map(|((zone, device), s)| {
            rate(
                zone,
                device,
                s.up,
                s.drops,
                Some(s.up / s.wanted),
                Vec::new(),
            )
        })
        .collect())
}

fn lifetimes(table: &Table) -> Result<Vec<PreemptionRate>, ReadError> {
    let column = |names: &[&str]| table.column(names);
    let (zone, device) = (column(&["zone"])?, column(&["gpu", "device"])?);
    let (created, seen) = (column(&["created_utc"])?, column(&["last_seen_up_utc"])?);
    let (down, preempted) = (column(&["seen_down_utc"])?, column(&["preempted"])?);
    let mut groups: BTreeMap<(String, String), Vec<Lifetime>> = BTreeMap::new();
    for row in &table.rows {
        let ended = match table.text(row, preempted) {
            "1" | "true" => true,
            "0" | "false" => false,
            other => return Err(table.bad(row.0, preempted, other, "is neither 0 nor 1")),
        };
        let start = table.second(row, created)?;
        let up = table.second(row, seen)?;
        let end = if ended {
            0.5 * (up as f64 + table.second(row, down)? as f64)
        } else {
            up as f64
        };
        let length = (end - start as f64) / 3600.0;
        if length < 0.0 {
            let value = table.text(row, seen);
            return Err(table.bad(row.0, seen, value, "lies before the start"));
        }
        groups
            .entry((table.text(row, zone).into(), table.text(row, device).into()))
            .or_default()
            .push(Lifetime { length, ended });
    }
    Ok(groups
        .into_iter()
        .map(|((zone, device), lives)| {
            let up: f64 = lives.iter().map(|l| l.length).sum();
            let ends = lives.iter().filter(|l| l.ended).count() as f64;
            rate(zone, device, up, ends, None, kaplan_meier(&lives))
        })
        .collect())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count, carried as a float"
)]
fn rate(
    zone: String,
    device: String,
    up_hours: f64,
    preemptions: f64,
    availability: Option<f64>,
    km: Vec<(f64, f64)>,
) -> PreemptionRate {
    let known = up_hours > 0.0;
    PreemptionRate {
        zone,
        device,
        up_hours,
        preemptions: preemptions as u64,
        rate_per_hour: known.then(|| preemptions / up_hours),
        rate_se: known.then(|| preemptions.sqrt() / up_hours),
        availability: availability.filter(|a| a.is_finite()),
        km,
    }
}

/// Fit of one class or instance type and zone.
#[derive(Clone, Debug, Serialize)]
pub struct ComputeReport {
    /// Class, or zone and instance type.
    pub class: String,
    /// The fit, or why there is none.
    pub fit: Result<ComputePriceFit, String>,
    /// Days with a price.
    pub days: u64,
}

/// Fits compute prices: `utc` or `time`, `class` or `zone` and `instance_type`, and `usd_per_hour` or
/// `usd_per_gpu_hour`. An event series holds its price until the next row; the last price of a day
/// is that day's.
///
/// # Errors
/// [`ReadError`] for a bad row; a class that cannot be fitted is reported, not an error.
pub fn compute(path: &Path) -> Result<Vec<ComputeReport>, ReadError> {
    Ok(compute_series(path)?
        .into_iter()
        .map(|(class, points)| ComputeReport {
            fit: fit_compute_price(&points).map_err(|e| e.to_string()),
            days: points.len() as u64,
            class,
        })
        .collect())
}

/// Daily prices per class, as [`compute`] reads them.
///
/// # Errors
/// [`ReadError`] for a bad row or a price that is not positive.
pub fn compute_series(path: &Path) -> Result<BTreeMap<String, Vec<Point>>, ReadError> {
    let table = Table::open(path)?;
    let time = table.column(&["utc", "time", "time_utc"])?;
    let price = table.column(&["usd_per_gpu_hour", "usd_per_hour"])?;
    let class = table.column(&["class", "instance_type"])?;
    let zone = table.column(&["zone"]).ok();
    let mut last: BTreeMap<String, BTreeMap<i64, (i64, f64)>> = BTreeMap::new();
    for row in &table.rows {
        let second = table.second(row, time)?;
        let usd = table.number(row, price)?;
        if usd <= 0.0 {
            return Err(table.bad(
                row.0,
                price,
                table.text(row, price),
                "is not a positive price",
            ));
        }
        let name = match zone {
            Some(zone) => format!("{} {}", table.text(row, zone), table.text(row, class)),
            None => table.text(row, class).to_owned(),
        };
        let day = last.entry(name).or_default();
        let entry = day
            .entry(second.div_euclid(86_400))
            .or_insert((second, usd));
        if second >= entry.0 {
            *entry = (second, usd);
        }
    }
    Ok(last
        .into_iter()
        .map(|(name, days)| {
            let mut points: Vec<Point> = Vec::new();
            for (day, (_, price)) in days {
                if let Some(before) = points.last().copied() {
                    points.extend((before.index + 1..day).map(|index| Point { index, ..before }));
                }
                points.push(Point { index: day, price });
            }
            (name, points)
        })
        .collect())
}

/// Reads positions: `account`, `instrument`, `lots` (whole, long positive). Several rows of one account
/// and instrument are added. Accounts come out sorted by name.
///
/// # Errors
/// [`ReadError`] for an unknown instrument, a size that is not whole or beyond 2^28 lots.
pub fn positions(path: &Path, model: &Model) -> Result<Vec<Book>, ReadError> {
    let table = Table::open(path)?;
    let account = table.column(&["account"])?;
    let instrument = table.column(&["instrument", "product"])?;
    let lots = table.column(&["lots"])?;
    let mut books: BTreeMap<String, BTreeMap<usize, i64>> = BTreeMap::new();
    for row in &table.rows {
        let name = table.text(row, instrument);
        let Some(product) = model.product(name) else {
            let reason = "is no product of the model; `tessera risk stress --list` prints them";
            return Err(table.bad(row.0, instrument, name, reason));
        };
        let text = table.text(row, lots);
        let size = text.parse::<i64>().ok().filter(|n| n.abs() <= LOTS_LIMIT);
        let Some(size) = size else {
            let reason = "is not a whole number of lots up to 2^28";
            return Err(table.bad(row.0, lots, text, reason));
        };
        let owner = table.text(row, account);
        if owner.is_empty() {
            return Err(table.bad(
                row.0,
                account,
                owner,
                "is empty; every position has an account",
            ));
        }
        let sum = books
            .entry(owner.to_owned())
            .or_default()
            .entry(product)
            .or_insert(0);
        *sum += size;
        if sum.abs() > LOTS_LIMIT {
            return Err(table.bad(row.0, lots, text, "brings the position beyond 2^28 lots"));
        }
    }
    Ok(books
        .into_iter()
        .map(|(account, lots)| Book {
            account,
            lots: lots.into_iter().collect(),
        })
        .collect())
}

/// Innovations for filtered historical simulation: daily deviations from the calibrated model,
/// divided by their EWMA volatility (0.94, started at the first 50), then scaled to a variance of 1.
///
/// # Errors
/// [`FitError`] if the series cannot be calibrated or has fewer than 100 pairs of days.
pub fn history(points: &[Point]) -> Result<History, FitError> {
    let fit = calibrate_filtered(points, Interval::Day, Transform::Ln)?;
    let x: Vec<(i64, f64)> = points
        .iter()
        .filter_map(|p| {
            Some((
                p.index,
                fit.transform.forward(p.price)? - fit.season.at(p.index),
            ))
        })
        .collect();
    let innovations: Vec<f64> = x
        .windows(2)
        .filter(|w| w[1].0 == w[0].0 + 1)
        .map(|w| w[1].1 - fit.phi.value * w[0].1)
        .collect();
    if innovations.len() < 100 {
        return Err(FitError::TooFew {
            what: "filtered historical simulation",
            found: innovations.len(),
            needed: 100,
        });
    }
    let mut s2 = population_sd(&innovations[..50]).powi(2);
    let z: Vec<f64> = innovations
        .iter()
        .map(|e| {
            let z = e / s2.sqrt();
            s2 = 0.94 * s2 + 0.06 * e * e;
            z
        })
        .collect();
    let sd = population_sd(&z);
    Ok(History {
        power: z.iter().map(|z| z / sd).collect(),
        compute: Vec::new(),
    })
}

/// Mean load per day or hour since the epoch: a time column as in [`PriceSeries::open`], and `load_mw`.
///
/// # Errors
/// [`ReadError`] for a bad field.
pub fn load(path: &Path, interval: Interval) -> Result<BTreeMap<i64, f64>, ReadError> {
    let table = Table::open(path)?;
    let time = table.column(&TIME)?;
    let column = table.column(&["load_mw"])?;
    let length = 86_400 / interval.per_day();
    let mut sums: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for row in &table.rows {
        let index = table.second(row, time)?.div_euclid(length);
        let sum = sums.entry(index).or_insert((0.0, 0.0));
        sum.0 += table.number(row, column)?;
        sum.1 += 1.0;
    }
    Ok(sums
        .into_iter()
        .map(|(index, (sum, n))| (index, sum / n))
        .collect())
}

/// The folder with the optional data: `$TESSERA_SHARED/data`, or `../shared/data` beside the
/// repository. `None` where it is not.
#[must_use]
pub fn shared_data() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("TESSERA_SHARED").map_or_else(beside, PathBuf::from);
    let data = shared.join("data");
    data.is_dir().then_some(data)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.csv");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    /// Every mistake names the line, the column and what to do.
    #[test]
    fn bad_price_files_are_named() {
        let check = |text: &str, parts: &[&str]| {
            let (_dir, path) = file(text);
            let error = PriceSeries::open(&path).unwrap_err().to_string();
            for part in parts.iter().chain(&["data.csv"]) {
                assert!(error.contains(part), "{error} lacks {part}");
            }
        };
        check("time,price_usd_per_mwh\n", &["no rows"]);
        check(
            "when,price_usd_per_mwh\n1,2\n",
            &["interval_start_utc", "when"],
        );
        check(
            "time,price_usd_per_mwh\n2024-01-01T00:00Z,abc\n",
            &[":2:", "price_usd_per_mwh", "abc"],
        );
        check(
            "time,price_usd_per_mwh\n2024-01-01T00:00Z,NaN\n",
            &[":2:", "finite"],
        );
        check(
            "time,price_usd_per_mwh\n2024-01-01T00:00Z,1\n2024-01-01T01:00,1\n",
            &[":3:", "offset"],
        );
        check(
            "time,price_usd_per_mwh\n2024-01-01T00:00Z,1,9\n",
            &[":2:", "fields"],
        );
        check(
            "time,price_usd_per_mwh\n2024-01-01T00:00Z,1\n2024-01-01T01:00+01:00,2\n",
            &[":3:", "line 2", "clocks"],
        );
        assert!(PriceSeries::open(Path::new("/nonexistent.csv")).is_err());
    }

    #[test]
    fn gzip_is_read_and_a_broken_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.csv.gz");
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(b"time,price_usd_per_mwh\n2024-01-01T00:00Z,-5\n2024-01-01T01:00Z,7\n")
            .unwrap();
        let mut bytes = gz.finish().unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let series = PriceSeries::open(&path).unwrap();
        assert_eq!(series.prices.len(), 2);
        assert_eq!(series.step, 3600);
        bytes.truncate(bytes.len() / 2);
        std::fs::write(&path, &bytes).unwrap();
        assert!(PriceSeries::open(&path).is_err());
    }

    /// Days are UTC: clock changes in local time neither lengthen nor shorten one; a day with a
    /// missing hour is dropped and counted; caps are applied before the mean.
    #[test]
    fn days_are_complete_utc_days_under_their_caps() {
        let mut text = String::from("time,price_usd_per_mwh\n");
        let start: Timestamp = "2024-03-30T00:00Z".parse().unwrap();
        for hour in 0..72_i64 {
            if hour == 30 {
                continue;
            }
            // European clocks change on 2024-03-31 at 01:00 UTC: the offset says which hour it is.
            let offset = if hour < 25 { "+01:00" } else { "+02:00" };
            let shift = if hour < 25 { 1 } else { 2 };
            let t = Timestamp::from_second(start.as_second() + (hour + shift) * 3600).unwrap();
            let local = t.to_string().replace('Z', offset);
            let price = if hour == 50 { 9000.0 } else { -1.0 };
            text.push_str(&format!("{local},{price}\n"));
        }
        let (_dir, path) = file(&text);
        let series = PriceSeries::open(&path).unwrap();
        let days = series.aggregate(Interval::Day, &CapTable::ercot());
        assert_eq!(days.dropped, 1);
        assert_eq!(days.points.len(), 2);
        assert_eq!(days.points[0].price, -1.0);
        assert!((days.points[1].price - (5000.0 - 23.0) / 24.0).abs() < 1e-9);
        let hours = series.aggregate(Interval::Hour, &CapTable::default());
        assert_eq!((hours.points.len(), hours.dropped), (71, 0));
    }

    /// An empty stretch, a series of one price, prices of zero and below: a result or a named error.
    #[test]
    fn empty_and_degenerate_series_are_named() {
        use crate::energy::regime::fit_regimes;
        use crate::energy::two_factor::fit_two_factor;
        use crate::energy::{Transform, calibrate_filtered, calibrate_likelihood};
        let mut text = String::from("time,price_usd_per_mwh\n");
        let start: Timestamp = "2024-01-01T00:00Z".parse().unwrap();
        for hour in 0..24 * 200_i64 {
            let t = Timestamp::from_second(start.as_second() + hour * 3600).unwrap();
            text.push_str(&format!("{t},{}\n", if hour % 7 == 0 { -20 } else { 0 }));
        }
        let (_dir, path) = file(&text);
        let series = PriceSeries::open(&path).unwrap();
        let check = |points: &[Point]| {
            for transform in [Transform::Ln, Transform::Asinh { scale: 30.0 }] {
                let day = Interval::Day;
                for result in [
                    calibrate_filtered(points, day, transform).map(|_| ()),
                    calibrate_likelihood(points, day, transform).map(|_| ()),
                    fit_two_factor(points, day, transform, 0.0).map(|_| ()),
                    fit_regimes(points, day, transform).map(|_| ()),
                ] {
                    if let Err(error) = result {
                        assert!(!error.to_string().is_empty());
                    }
                }
            }
            calibrate_filtered(points, Interval::Day, Transform::Ln)
        };
        let days = series.aggregate(Interval::Day, &CapTable::default());
        assert_eq!((days.points.len(), days.dropped), (200, 0));
        // No logarithm exists below zero: every day is dropped, and that is said.
        let error = check(&days.points).unwrap_err().to_string();
        assert!(error.contains("energy calibration"), "{error}");
        let none = series.clone().between(Some(0), Some(1));
        assert_eq!(none.span(), "- to -");
        let empty = none.aggregate(Interval::Day, &CapTable::ercot());
        assert_eq!((empty.points.len(), empty.dropped), (0, 0));
        assert!(check(&empty.points).is_err());
        assert!(check(&days.points[..1]).is_err());
    }

    #[test]
    fn load_is_averaged_and_its_mistakes_named() {
        let (_dir, path) =
            file("time,load_mw\n2024-01-01T00:00Z,10\n2024-01-01T12:00Z,30\n2024-01-03T00:00Z,5\n");
        let days = load(&path, Interval::Day).unwrap();
        assert_eq!(
            days.into_iter().collect::<Vec<_>>(),
            [(19_723, 20.0), (19_725, 5.0)]
        );
        let (_dir, path) = file("time,load_mw\n2024-01-01T00:00Z,lots\n");
        let error = load(&path, Interval::Day).unwrap_err().to_string();
        assert!(error.contains(":2: column load_mw"), "{error}");
        let (_dir, path) = file("time,mw\n2024-01-01T00:00Z,1\n");
        assert!(
            load(&path, Interval::Day)
                .unwrap_err()
                .to_string()
                .contains("load_mw")
        );
    }

    #[test]
    fn failures_count_nodes_without_a_row() {
        let (_dir, path) =
            file("node,start_day,end_day,class\na,1,3,GPU\na,2,4,GPU\nb,5,5,\nb,9,20,NIC\n");
        let r = failures(&path, 3, 10.0).unwrap();
        assert_eq!(r.failures, 4);
        assert!((r.exposure_node_days - 26.0).abs() < 1e-12);
        assert_eq!(r.by_class["GPU"], 2);
        assert_eq!(r.by_class["(none)"], 1);
        assert!(failures(&path, 1, 10.0).is_err());
        let (_dir, path) = file("node,start_day,end_day\na,3,1\n");
        assert!(
            failures(&path, 3, 10.0)
                .unwrap_err()
                .to_string()
                .contains(":2:")
        );
    }

    #[test]
    fn preemption_from_traces_counts_drops_between_touching_runs() {
        let (_dir, path) = file(
            "kind,nodes_wanted,cloud_start,zone,device,gap_s,tick,ticks,nodes_up\n\
             p,4,x,z,v,3600,0,10,4\np,4,x,z,v,3600,10,5,1\np,4,x,z,v,3600,20,5,0\np,1,x,y,v,3600,0,5,0\n",
        );
        let rates = preemption(&path).unwrap();
        assert_eq!(rates.len(), 2);
        assert_eq!(rates[0].rate_per_hour, None);
        assert_eq!(rates[0].availability, Some(0.0));
        assert_eq!(rates[1].preemptions, 3);
        assert!((rates[1].rate_per_hour.unwrap() - 3.0 / 45.0).abs() < 1e-12);
        assert!((rates[1].availability.unwrap() - 45.0 / 80.0).abs() < 1e-12);
    }

    #[test]
    fn lifetimes_are_censored_when_not_preempted() {
        let (_dir, path) = file(
            "zone,gpu,created_utc,last_seen_up_utc,seen_down_utc,preempted\n\
             z,v,2020-03-01T00:00:00Z,2020-03-01T01:00:00Z,2020-03-01T03:00:00Z,1\n\
             z,v,2020-03-01T00:00:00Z,2020-03-01T08:00:00Z,,0\n",
        );
        let r = &preemption(&path).unwrap()[0];
        assert_eq!((r.preemptions, r.up_hours), (1, 10.0));
        assert_eq!(r.km, [(2.0, 0.5)]);
        let (_dir, path) = file(
            "zone,gpu,created_utc,last_seen_up_utc,seen_down_utc,preempted\nz,v,2020-03-01T00:00:00Z,2020-03-01T01:00:00Z,,x\n",
        );
        assert!(
            preemption(&path)
                .unwrap_err()
                .to_string()
                .contains("neither")
        );
    }

    #[test]
    fn compute_prices_hold_until_the_next_row() {
        let (_dir, path) = file(
            "utc,zone,instance_type,usd_per_hour\n\
             2020-01-01T10:00:00Z,a,p3,2\n2020-01-01T20:00:00Z,a,p3,3\n2020-01-04T01:00:00Z,a,p3,4\n",
        );
        let series = compute_series(&path).unwrap();
        let prices: Vec<f64> = series["a p3"].iter().map(|p| p.price).collect();
        assert_eq!(prices, [3.0, 3.0, 3.0, 4.0]);
        assert!(compute(&path).unwrap()[0].fit.is_err());
        let (_dir, path) = file("utc,class,usd_per_hour\n2020-01-01T10:00:00Z,a,0\n");
        assert!(compute(&path).is_err());
    }

    #[test]
    fn positions_are_added_and_mistakes_named() {
        let model = Model::default_model();
        let name = &model.products[3].name;
        let (_dir, path) = file(&format!(
            "account,instrument,lots\nb,{name},5\na,{name},-2\nb,{name},1\n"
        ));
        let books = positions(&path, &model).unwrap();
        assert_eq!(books[0].account, "a");
        assert_eq!(books[1].lots, [(3, 6)]);
        for (row, part) in [
            ("a,nothing,1", "instrument"),
            (&format!("a,{name},1.5"), "lots"),
            (&format!("a,{name},999999999"), "lots"),
            (&format!(",{name},1"), "account"),
        ] {
            let (_dir, path) = file(&format!("account,instrument,lots\n{row}\n"));
            let error = positions(&path, &model).unwrap_err().to_string();
            assert!(error.contains(":2:") && error.contains(part), "{error}");
        }
    }

    #[test]
    fn history_is_standardised() {
        let mut stream = crate::rng::Stream::new(1, 0, 0);
        let mut x = 0.0;
        let points: Vec<Point> = (0..600)
            .map(|index| {
                x = 0.6 * x + 0.3 * stream.normal();
                Point {
                    index,
                    price: 30.0 * f64::exp(x),
                }
            })
            .collect();
        let h = history(&points).unwrap();
        assert!((population_sd(&h.power) - 1.0).abs() < 1e-12 && h.power.len() == 599);
        assert!(history(&points[..60]).is_err());
    }

    /// Runs only where the optional data are.
    #[test]
    fn the_shared_files_give_sane_estimates() {
        let Some(data) = shared_data() else {
            println!("skipped: no shared data (set TESSERA_SHARED)");
            return;
        };
        let r = failures(
            &data.join("failures/gpu_node_faults_stepfun_2024.csv.gz"),
            400,
            348.98,
        )
        .unwrap();
        assert_eq!(r.failures, 584);
        assert_eq!(r.repair.as_ref().unwrap().zeros, 14);
        assert!(r.dispersion > 1.5, "{}", r.dispersion);
        for file in [
            "ercot_hubavg_rt_15min_2024_2025",
            "ercot_hubavg_da_hourly_2024_2025",
            "pjm_dom_rt_hourly_2018_2022",
        ] {
            let series = PriceSeries::open(&data.join(format!("energy/{file}.csv.gz"))).unwrap();
            let days = series.aggregate(Interval::Day, &CapTable::default());
            let fit = crate::energy::calibrate_filtered(
                &days.points,
                Interval::Day,
                crate::energy::Transform::Ln,
            )
            .unwrap();
            assert!(
                fit.kappa.value > 0.0 && fit.half_life_days.value < 30.0,
                "{file}"
            );
        }
        let lives = preemption(&data.join("failures/spot_gpu_lifetimes_2020.csv.gz")).unwrap();
        assert!(lives.iter().map(|r| r.preemptions).sum::<u64>() > 100);
        assert!(
            !preemption(&data.join("failures/spot_availability_preemption_2022_2023.csv.gz"))
                .unwrap()
                .is_empty()
        );
        assert!(
            !compute(&data.join("prices/aws_gpu_spot_us_2019_2020.csv.gz"))
                .unwrap()
                .is_empty()
        );
    }
}
