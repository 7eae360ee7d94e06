//! The whole state as bytes, and back: what a restart needs instead of the history.
//!
//! A saved state is a list of sections, one per module, each with a number; the container around them
//! (file, checksums, state hash) is the journal's. Layouts are in `docs/journal.md`. The bytes are
//! canonical: equal states have equal bytes however they came about, since orders stand in the order of
//! their queues and everything else by number, and no handle of a record is among them.
//!
//! **Whoever adds state that can influence a later event** adds it to the state hash and here: a `save`
//! and a `restore` beside the state, and one line in [`SECTIONS`]. A section that has nothing to say is
//! left out, so that exchanges without such state keep their bytes; one that this program does not know
//! is refused by number. A layout changes with its version only.

mod bytes;

use thiserror::Error;

pub(crate) use bytes::{Reader, Writer};

use crate::exchange::{EngineConfig, Exchange};

/// Version of the list of sections; every section has a version of its own besides.
pub const SNAPSHOT_SCHEMA: u32 = 1;

/// Why bytes are no state of an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// A later program wrote it.
    #[error(
        "section {0:#04x} is unknown to this program; start the version that wrote the snapshot"
    )]
    UnknownSection(u32),
    /// A section comes twice, or not in its turn.
    #[error("section {0} does not stand where it belongs")]
    Order(&'static str),
    /// A section is not there.
    #[error("section {0} is missing")]
    Missing(&'static str),
    /// A later program wrote the section.
    #[error(
        "section {section} has version {found}, this program reads version {known}; start the version \
         that wrote the snapshot"
    )]
    Version {
        /// Which section.
        section: &'static str,
        /// Its version.
        found: u16,
        /// The one that this program knows.
        known: u16,
    },
    /// A section ends early.
    #[error("section {section} ends at byte {offset}, in the middle of a field")]
    Short {
        /// Which section.
        section: &'static str,
        /// Where the field begins.
        offset: usize,
    },
    /// A section goes on behind its last field.
    #[error("section {section} goes on behind its end at byte {offset}")]
    Trailing {
        /// Which section.
        section: &'static str,
        /// The first byte that belongs to nothing.
        offset: usize,
    },
    /// A field says what cannot be.
    #[error("section {section}, byte {offset}: {what}")]
    Inconsistent {
        /// Which section.
        section: &'static str,
        /// Behind the field.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// A part of the state.
struct Section {
    id: u32,
    name: &'static str,
    version: u16,
    /// It is there however little it says.
    needed: bool,
    /// Writes nothing at all when there is nothing to say and the section is not needed.
    save: fn(&Exchange, &mut Writer),
    /// Reads everything, on an exchange that has what the sections before say.
    restore: fn(&mut Exchange, &mut Reader<'_>) -> Result<(), SnapshotError>,
}

/// Every section, in the order in which they are written and read.
const SECTIONS: &[Section] = &[
    Section {
        id: 0x01,
        name: "core",
        version: 1,
        needed: true,
        save: Exchange::save_core,
        restore: Exchange::restore_core,
    },
    Section {
        id: 0x02,
        name: "sessions",
        version: 1,
        needed: true,
        save: Exchange::save_sessions,
        restore: Exchange::restore_sessions,
    },
    Section {
        id: 0x03,
        name: "catalogue",
        version: 1,
        needed: false,
        save: Exchange::save_catalogue,
        restore: Exchange::restore_catalogue,
    },
    Section {
        id: 0x04,
        name: "instruments",
        version: 1,
        needed: true,
        save: Exchange::save_instruments,
        restore: Exchange::restore_instruments,
    },
    Section {
        id: 0x10,
        name: "contracts",
        version: 1,
        needed: false,
        save: Exchange::save_contracts,
        restore: Exchange::restore_contracts,
    },
    Section {
        id: 0x05,
        name: "orders",
        version: 1,
        needed: true,
        save: Exchange::save_orders,
        restore: Exchange::restore_orders,
    },
    Section {
        id: 0x06,
        name: "held",
        version: 1,
        needed: false,
        save: Exchange::save_held,
        restore: Exchange::restore_held,
    },
    Section {
        id: 0x20,
        name: "accounts",
        version: 1,
        needed: false,
        save: Exchange::save_accounts,
        restore: Exchange::restore_accounts,
    },
];

impl Exchange {
    /// Everything that can influence a later event, as numbered sections; between commands only.
    ///
    /// Takes about as much memory as the orders themselves.
    #[must_use]
    pub fn save(&self) -> Vec<(u32, Vec<u8>)> {
        let mut sections = Vec::with_capacity(SECTIONS.len());
        for section in SECTIONS {
            let mut writer = Writer::new(section.version);
            (section.save)(self, &mut writer);
            if section.needed || !writer.is_empty() {
                sections.push((section.id, writer.into_bytes()));
            }
        }
        sections
    }

    /// The exchange that [`save`](Self::save) was called on. `config` may be another one.
    ///
    /// The hash of its state is computed from what was read, so comparing it with the one that was
    /// noted beside the snapshot proves that nothing is missing.
    ///
    /// # Errors
    /// [`SnapshotError`] for every content that is not a state that could have been saved, as far as it
    /// could harm: whatever is read, nothing panics then or later.
    pub fn restore<B: AsRef<[u8]>>(
        config: EngineConfig,
        sections: &[(u32, B)],
    ) -> Result<Self, SnapshotError> {
        let mut exchange = Self::new(config);
        let mut given = sections.iter().peekable();
        for section in SECTIONS {
            let Some((_, bytes)) = given.next_if(|(id, _)| *id == section.id) else {
                if section.needed {
                    return Err(match given.peek() {
                        Some((id, _)) => misplaced(*id),
                        None => SnapshotError::Missing(section.name),
                    });
                }
                continue;
            };
            let mut reader = Reader::new(section.name, bytes.as_ref());
            let found = reader.u16()?;
            if found != section.version {
                return Err(SnapshotError::Version {
                    section: section.name,
                    found,
                    known: section.version,
                });
            }
            (section.restore)(&mut exchange, &mut reader)?;
            reader.finish()?;
        }
        match given.next() {
            Some((id, _)) => Err(misplaced(*id)),
            None => Ok(exchange),
        }
    }
}

fn misplaced(id: u32) -> SnapshotError {
    match SECTIONS.iter().find(|section| section.id == id) {
        Some(section) => SnapshotError::Order(section.name),
        None => SnapshotError::UnknownSection(id),
    }
}
