//! Configuration of `tessera serve`: flags, environment, one TOML file, defaults, in this order.
//!
//! [`SETTINGS`] is the whole list: what is not there is unknown, and what is there is documented,
//! printed with its origin by `--print-config`, and read from every place in the same way. Nothing in
//! it changes the result of a journaled command; what does (ticks, limits, phases) is set by admin
//! commands.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use toml::Value;
use toml::de::{DeTable, DeValue};

/// One thing that may be configured.
pub struct Setting {
    /// `section.key`.
    pub key: &'static str,
    /// The flag that goes before everything else, if there is one.
    pub flag: Option<&'static str>,
    /// TOML text of the default; None where leaving it out means something.
    pub default: Option<&'static str>,
    /// What it is, in one line, with its unit.
    pub doc: &'static str,
}

const fn setting(
    key: &'static str,
    flag: Option<&'static str>,
    default: Option<&'static str>,
    doc: &'static str,
) -> Setting {
    Setting {
        key,
        flag,
        default,
        doc,
    }
}

/// Everything that may be configured, in the order of a printed file.
pub const SETTINGS: &[Setting] = &[
    setting(
        "journal.data",
        Some("--data"),
        None,
        "directory of the journal; made when it does not exist",
    ),
    setting(
        "journal.durability",
        Some("--durability"),
        Some("\"default\""),
        "what an acknowledgement means: \"default\", \"strict\" or \"async\"",
    ),
    setting(
        "journal.segment_mib",
        Some("--segment-mib"),
        Some("256"),
        "size of a new journal segment, MiB, 1 to 4096",
    ),
    setting(
        "journal.run_ahead_ms",
        Some("--run-ahead-ms"),
        Some("100"),
        "refuse new orders while the oldest unsynced command is older than this, ms",
    ),
    setting(
        "journal.snapshot_every",
        Some("--snapshot-every"),
        Some("1000000"),
        "commands from one snapshot of the engine to the next; 0 makes none, and retires no segment",
    ),
    setting(
        "journal.retain_segments",
        Some("--retain-segments"),
        Some("4"),
        "segments that stay although a verified snapshot holds them, the live one included",
    ),
    setting(
        "journal.retain_hours",
        Some("--retain-hours"),
        Some("24"),
        "hours that a segment stays at least behind its last record",
    ),
    setting(
        "journal.restart_hold_ms",
        Some("--restart-hold-ms"),
        Some("0"),
        "cancel-only for this long after a restart, ms; then a journaled command reopens",
    ),
    setting(
        "journal.restart_grace_ms",
        Some("--restart-grace-ms"),
        Some("5000"),
        "orders whose time ended while the exchange was down end this long after the restart, ms",
    ),
    setting(
        "journal.catalogue",
        Some("--catalogue"),
        None,
        "catalogue of a fresh data directory, instead of the shipped one",
    ),
    setting(
        "threads.shards",
        Some("--shards"),
        Some("1"),
        "gateway threads, each with its own socket, 1 to 16",
    ),
    setting(
        "threads.spin",
        Some("--spin"),
        Some("false"),
        "core and journal threads never park: for machines with cores to spare",
    ),
    setting(
        "gateway.listen",
        Some("--listen"),
        Some("\"127.0.0.1:7700\""),
        "UDP address to serve on; port 0 takes a free one",
    ),
    setting(
        "gateway.credentials",
        Some("--credentials"),
        None,
        "CA, server certificate and known keys; DATA/credentials when left out",
    ),
    setting(
        "http.listen",
        Some("--http"),
        None,
        "TCP address of /livez, /readyz and /metrics; no HTTP when left out",
    ),
    setting(
        "log.filter",
        None,
        Some("\"info\""),
        "what is logged, as RUST_LOG writes it: \"info,tessera_gateway=debug\"",
    ),
    setting(
        "log.format",
        None,
        Some("\"text\""),
        "one line of \"text\" or one \"json\" object an entry",
    ),
];

fn known(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The list of this module.
    Default,
    /// A line of a file.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file that was asked for is not there or cannot be read.
    #[error(
        "{path}: {source}; `tessera serve --data DIR --print-config > {path}` writes one with every \
         default and what it means"
    )]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{path}:{line}: {message}")]
    Toml {
        /// The file.
        path: String,
        /// Counted from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A key that nothing reads.
    #[error("{origin}: unknown setting `{key}`; the nearest known one is `{nearest}`")]
    Unknown {
        /// Where.
        origin: Origin,
        /// The key.
        key: String,
        /// A known one.
        nearest: &'static str,
    },
    /// A value that a setting cannot have.
    #[error("{origin}: `{key}`: {message}")]
    Value {
        /// Where.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// What is wrong.
        message: String,
    },
    /// A setting without a default was given nowhere.
    #[error("`{key}` is set nowhere: give {flag}, {variable}, or write it into tessera.toml")]
    Missing {
        /// The key.
        key: &'static str,
        /// Its flag.
        flag: &'static str,
        /// Its environment variable.
        variable: String,
    },
}

/// The values of all places, the strongest of each setting on top.
#[derive(Debug)]
pub struct Layers {
    values: BTreeMap<&'static str, (Value, Origin)>,
}

impl Layers {
    /// Reads the file (the one named, else the first of the usual places that exists) and the
    /// environment.
    ///
    /// # Errors
    /// [`ConfigError`] with the place. A file that was named must exist.
    pub fn read(named: Option<&Path>) -> Result<Self, ConfigError> {
        let mut layers = Self::defaults();
        let found = match named {
            Some(path) => Some(path.to_owned()),
            None => usual_places().into_iter().find(|path| path.is_file()),
        };
        if let Some(path) = found {
            let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Read {
                path: path.display().to_string(),
                source,
            })?;
            layers.add_file(&path, &text)?;
        }
        layers.add_environment(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))?;
        Ok(layers)
    }

    fn defaults() -> Self {
        let values = SETTINGS
            .iter()
            .filter_map(|setting| {
                let value = toml_value(setting.default?);
                Some((setting.key, (value, Origin::Default)))
            })
            .collect();
        Self { values }
    }

    fn add_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let line_of = |offset: usize| {
            let before = text.as_bytes().iter().take(offset);
            1 + before.filter(|&&byte| byte == b'\n').count()
        };
        let table = DeTable::parse(text).map_err(|error| ConfigError::Toml {
            path: path.display().to_string(),
            line: line_of(error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        for (section, value) in table.get_ref() {
            let origin = |offset| Origin::File(path.to_owned(), line_of(offset));
            let DeValue::Table(keys) = value.get_ref() else {
                return Err(unknown(section.get_ref(), origin(section.span().start)));
            };
            for (key, value) in keys {
                let name = format!("{}.{}", section.get_ref(), key.get_ref());
                let origin = origin(key.span().start);
                let Some(setting) = known(&name) else {
                    return Err(unknown(&name, origin));
                };
                // The text of one value is TOML by itself.
                let value = toml_value(&text[value.span()]);
                self.values.insert(setting.key, (value, origin));
            }
        }
        Ok(())
    }

    fn add_environment(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        for (name, text) in variables {
            if let Some((_, key)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
                let stronger = matches!(self.values.get(key), Some((_, Origin::Environment(_))));
                if !stronger {
                    let value = (Value::String(text), Origin::Environment(name));
                    self.values.insert(key, value);
                }
                continue;
            }
            let Some(path) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let key = path.to_ascii_lowercase().replace("__", ".");
            let origin = Origin::Environment(name);
            let Some(setting) = known(&key) else {
                return Err(unknown(&key, origin));
            };
            self.values.insert(setting.key, (toml_value(&text), origin));
        }
        Ok(())
    }

    /// A setting that may be left out; the flag goes first.
    ///
    /// # Errors
    /// [`ConfigError::Value`] when the text does not fit.
    pub fn optional<T: DeserializeOwned + Serialize>(
        &mut self,
        key: &'static str,
        flag: Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        if let Some(value) = flag {
            let name = known(key).and_then(|setting| setting.flag).unwrap_or(key);
            let shown = Value::try_from(&value).unwrap_or(Value::Boolean(true));
            self.values.insert(key, (shown, Origin::Flag(name)));
            return Ok(Some(value));
        }
        let Some((value, origin)) = self.values.get(key) else {
            return Ok(None);
        };
        let read =
            value
                .clone()
                .try_into()
                .map_err(|error: toml::de::Error| ConfigError::Value {
                    origin: origin.clone(),
                    key,
                    message: error.message().to_owned(),
                })?;
        Ok(Some(read))
    }

    /// A setting that must have a value.
    ///
    /// # Errors
    /// As [`Layers::optional`], and [`ConfigError::Missing`].
    pub fn required<T: DeserializeOwned + Serialize>(
        &mut self,
        key: &'static str,
        flag: Option<T>,
    ) -> Result<T, ConfigError> {
        self.optional(key, flag)?
            .ok_or_else(|| ConfigError::Missing {
                key,
                flag: known(key).and_then(|setting| setting.flag).unwrap_or("-"),
                variable: variable(key),
            })
    }

    /// A number that must lie in a range.
    ///
    /// # Errors
    /// As [`Layers::required`]; [`ConfigError::Value`] outside the range.
    pub fn within<T>(
        &mut self,
        key: &'static str,
        flag: Option<T>,
        range: std::ops::RangeInclusive<T>,
    ) -> Result<T, ConfigError>
    where
        T: DeserializeOwned + Serialize + PartialOrd + fmt::Display,
    {
        let value = self.required(key, flag)?;
        if range.contains(&value) {
            return Ok(value);
        }
        Err(ConfigError::Value {
            origin: self
                .values
                .get(key)
                .map_or(Origin::Default, |(_, origin)| origin.clone()),
            key,
            message: format!("{value} is not in {} to {}", range.start(), range.end()),
        })
    }
}

/// The whole configuration as a TOML file: each setting with what it is and where its value is from.
impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = "";
        for setting in SETTINGS {
            let (of, key) = setting.key.split_once('.').unwrap_or(("", setting.key));
            if of != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                writeln!(f, "{gap}[{of}]")?;
                section = of;
            }
            writeln!(f, "# {}", setting.doc)?;
            match self.values.get(setting.key) {
                Some((value, origin)) => writeln!(f, "{key} = {value} # {origin}")?,
                None => writeln!(f, "# {key} =")?,
            }
        }
        Ok(())
    }
}

const PREFIX: &str = "TESSERA__";

/// Variables that other verbs and other programs read too; `TESSERA__...` goes before them.
const ALIASES: [(&str, &str); 2] = [
    ("RUST_LOG", "log.filter"),
    ("TESSERA_CREDENTIALS", "gateway.credentials"),
];

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

/// A value written as TOML; anything else is taken as a string, so that `strict` needs no quotes in
/// the environment.
fn toml_value(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<toml::Table>();
    match parsed.ok().and_then(|mut table| table.remove("value")) {
        Some(value) => value,
        None => Value::String(text.to_owned()),
    }
}

fn unknown(key: &str, origin: Origin) -> ConfigError {
    let distance = |setting: &&Setting| strsim::levenshtein(setting.key, key);
    ConfigError::Unknown {
        origin,
        key: key.to_owned(),
        nearest: SETTINGS
            .iter()
            .min_by_key(distance)
            .map_or("", |setting| setting.key),
    }
}

/// `tessera.toml` here, in the user's and in the system's configuration directory.
fn usual_places() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("tessera.toml")];
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let user = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    if let Some(dir) = user.or_else(home) {
        places.push(dir.join("tessera/tessera.toml"));
    }
    places.push(PathBuf::from("/etc/tessera/tessera.toml"));
    places
}

#[cfg(test)]
mod tests;
