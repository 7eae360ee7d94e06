//! Risk parameters: the set in force, the set that is being sent, and which instrument has which row.
//!
//! A set is announced, its rows are checked and staged one by one, and the commit puts it in force
//! whole. One bad row refuses the set; the old one stands until another is complete. Products have
//! numbers, in the order in which somebody first named them, that stay: so the switch is the exchange
//! of two tables, whatever their size.

use std::collections::BTreeMap;

use tessera_types::{
    AccountAction, AccountCommand, ClientHeader, Command, InstrumentId, MarginSpec, Name,
    RejectReason, RiskAction, RiskBegin, RiskCommit, RiskRow, Timestamp,
};

use super::margin::{LOSS_LIMIT, Table};
use super::saved::part;
use crate::digest::Folder;
use crate::exchange::Exchange;
use crate::snapshot::{Reader, SnapshotError, Writer};

const NO_PRODUCT: u32 = u32::MAX;

/// Rows by product. One of another attempt is not there.
type Rows = Vec<Option<Box<StoredRow>>>;

#[derive(Debug)]
struct StoredRow {
    /// Which announcement it belongs to; versions may be tried again.
    attempt: u64,
    table: Table,
    /// As it came, for a snapshot and for the hash.
    row: RiskRow,
}

/// Everything that says how positions are margined.
#[derive(Debug)]
pub(crate) struct Params {
    /// Rises whenever an account's margin may have to be computed anew.
    pub(crate) epoch: u32,
    /// Of the set in force, 0 before the first.
    pub(crate) version: u32,
    pub(crate) rows: u32,
    table_hash: [u8; 32],
    active_since: Timestamp,
    max_age_ns: u64,
    /// When the age is told next, in nanoseconds; `u64::MAX` = never.
    pub(crate) age_due: u64,
    current: Rows,
    staged: Rows,
    staging: Option<Staging>,
    /// Announcements so far, and the one that is in force.
    attempts: u64,
    attempt: u64,
    names: BTreeMap<Name, u32>,
    products: Vec<Name>,
    /// By product: instruments that have it.
    users: Vec<u32>,
    /// By instrument.
    instruments: Vec<Link>,
    /// Products in use that have a row in force.
    used_rows: u32,
}

/// The set that is being sent.
#[derive(Debug)]
struct Staging {
    begin: RiskBegin,
    rows: u32,
    last: Option<Name>,
    refused: bool,
    hasher: blake3::Hasher,
    /// Products in use that have a row in this set, and those that have one in force too.
    used: u32,
    kept: u32,
}

/// How an instrument is margined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    product: u32,
    /// Micro-USD per lot where the product has no row.
    flat: Option<i64>,
    /// Lots count so much for position limits.
    pub(crate) weight: u32,
    spec: Option<MarginSpec>,
}

/// What a position in an instrument is margined with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rate<'a> {
    Row(&'a Table),
    Flat(i64),
    None,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            epoch: 1,
            version: 0,
            rows: 0,
            table_hash: [0; 32],
            active_since: Timestamp::ZERO,
            max_age_ns: 0,
            age_due: u64::MAX,
            current: Vec::new(),
            staged: Vec::new(),
            staging: None,
            attempts: 0,
            attempt: 0,
            names: BTreeMap::new(),
            products: Vec::new(),
            users: Vec::new(),
            instruments: Vec::new(),
            used_rows: 0,
        }
    }
}

impl Params {
    /// What a position in an instrument is margined with.
    #[inline]
    pub(crate) fn rate(&self, instrument: u32) -> Rate<'_> {
        let Some(link) = self.instruments.get(instrument as usize) else {
            return Rate::None;
        };
        match (
            in_force(&self.current, self.attempt, link.product),
            link.flat,
        ) {
            (Some(stored), _) => Rate::Row(&stored.table),
            (None, Some(flat)) => Rate::Flat(flat),
            (None, None) => Rate::None,
        }
    }

    pub(crate) fn weight(&self, instrument: u32) -> i64 {
        let link = self.instruments.get(instrument as usize);
        link.map_or(0, |link| i64::from(link.weight))
    }

    /// Sets how an instrument is margined: `flat` is what a lot needs without a row. Its own name is
    /// its product until a command says otherwise.
    pub(crate) fn link(
        &mut self,
        instrument: u32,
        name: &Name,
        weight: u32,
        spec: Option<MarginSpec>,
        flat: Option<i64>,
    ) {
        let at = instrument as usize;
        if self.instruments.len() <= at {
            let unknown = Link {
                product: NO_PRODUCT,
                flat: None,
                weight: 0,
                spec: None,
            };
            self.instruments.resize(at + 1, unknown);
        }
        let name = spec.and_then(|spec| spec.product).unwrap_or(*name);
        let product = self.product(&name);
        let before = self.instruments[at].product;
        self.instruments[at] = Link {
            product,
            flat,
            weight,
            spec,
        };
        if before != product {
            self.count_user(product, true);
            if before != NO_PRODUCT {
                self.count_user(before, false);
            }
        }
    }

    fn count_user(&mut self, product: u32, comes: bool) {
        let users = &mut self.users[product as usize];
        let was = *users;
        *users = if comes { was + 1 } else { was - 1 };
        if (was == 0) == (*users == 0) {
            return;
        }
        let by = if comes { 1 } else { u32::MAX }; // wrapping: one less
        let row = u32::from(in_force(&self.current, self.attempt, product).is_some());
        self.used_rows = self.used_rows.wrapping_add(by.wrapping_mul(row));
        if let Some(staging) = &mut self.staging {
            let staged = u32::from(in_force(&self.staged, self.attempts, product).is_some());
            staging.used = staging.used.wrapping_add(by.wrapping_mul(staged));
            staging.kept = staging.kept.wrapping_add(by.wrapping_mul(staged * row));
        }
    }

    fn product(&mut self, name: &Name) -> u32 {
        if let Some(&product) = self.names.get(name) {
            return product;
        }
        // Fewer than the instruments and rows that were ever named, which fit in memory.
        let product = u32::try_from(self.users.len()).unwrap_or(NO_PRODUCT - 1);
        self.names.insert(*name, product);
        self.products.push(*name);
        self.users.push(0);
        product
    }

    /// Announces a set; the one that was being sent is forgotten.
    pub(crate) fn begin(&mut self, begin: &RiskBegin) -> Result<(), RejectReason> {
        if begin.version <= self.version {
            return Err(RejectReason::StaleVersion);
        }
        self.attempts += 1;
        self.staging = Some(Staging {
            begin: *begin,
            rows: 0,
            last: None,
            refused: false,
            hasher: blake3::Hasher::new(),
            used: 0,
            kept: 0,
        });
        Ok(())
    }

    /// Rows of the announced set so far.
    pub(crate) fn staged_count(&self) -> u32 {
        self.staging.as_ref().map_or(0, |staging| staging.rows)
    }

    /// Takes the next row of the announced set.
    pub(crate) fn row(&mut self, row: &RiskRow) -> Result<(), RejectReason> {
        let checked = self.check_row(row);
        let staging = self.staging.as_mut().ok_or(RejectReason::RiskNotBegun)?;
        let table = match checked {
            Ok(table) => table,
            Err(reason) => {
                staging.refused = true;
                return Err(reason);
            }
        };
        let mut bytes = Vec::with_capacity(1024);
        row.hashed_bytes(&mut bytes);
        staging.hasher.update(&bytes);
        staging.rows += 1;
        staging.last = Some(row.product);
        let stored = StoredRow {
            attempt: self.attempts,
            table,
            row: row.clone(),
        };
        let product = self.product(&row.product);
        let at = product as usize;
        if self.staged.len() <= at {
            self.staged.resize_with(at + 1, || None);
        }
        match &mut self.staged[at] {
            Some(place) => **place = stored,
            place => *place = Some(Box::new(stored)),
        }
        let kept = u32::from(in_force(&self.current, self.attempt, product).is_some());
        if let Some(staging) = self.staging.as_mut().filter(|_| self.users[at] > 0) {
            staging.used += 1;
            staging.kept += kept;
        }
        Ok(())
    }

    fn check_row(&self, row: &RiskRow) -> Result<Table, RejectReason> {
        let staging = self.staging.as_ref().ok_or(RejectReason::RiskNotBegun)?;
        if staging.refused {
            return Err(RejectReason::RiskRefused);
        }
        let follows = staging
            .last
            .is_none_or(|last| last.as_str() < row.product.as_str());
        if row.version != staging.begin.version || !follows || row.product.validate().is_err() {
            return Err(RejectReason::RiskRow);
        }
        if staging.rows >= staging.begin.rows {
            return Err(RejectReason::RiskRows);
        }
        let table = Table::new(row).ok_or(RejectReason::RiskRow)?;
        let limit = staging.begin.step_limit_bps;
        if limit > 0
            && let Some(&product) = self.names.get(&row.product)
            && let Some(before) = in_force(&self.current, self.attempt, product)
        {
            for (was, is) in before.table.one_lot().into_iter().zip(table.one_lot()) {
                let step = i128::from(is) - i128::from(was);
                if step.abs() * 10_000 > i128::from(was) * i128::from(limit) {
                    return Err(RejectReason::RiskStep);
                }
            }
        }
        Ok(table)
    }

    /// Puts the announced set in force, if it is complete.
    pub(crate) fn commit(
        &mut self,
        commit: &RiskCommit,
        now: Timestamp,
    ) -> Result<(), RejectReason> {
        let staging = self.staging.as_ref().ok_or(RejectReason::RiskNotBegun)?;
        if staging.begin.version != commit.version {
            return Err(RejectReason::RiskNotBegun);
        }
        if staging.refused {
            return Err(RejectReason::RiskRefused);
        }
        if staging.rows != staging.begin.rows || staging.rows != commit.rows {
            return Err(RejectReason::RiskRows);
        }
        if *staging.hasher.finalize().as_bytes() != commit.table_hash {
            return Err(RejectReason::RiskHash);
        }
        if staging.kept != self.used_rows {
            return Err(RejectReason::RiskMissingRow);
        }
        self.used_rows = staging.used;
        self.staging = None;
        self.attempt = self.attempts;
        core::mem::swap(&mut self.current, &mut self.staged);
        self.version = commit.version;
        self.rows = commit.rows;
        self.table_hash = commit.table_hash;
        self.active_since = now;
        self.arm_age(now);
        self.epoch += 1;
        Ok(())
    }

    /// Sets the age that is told of.
    pub(crate) fn set_max_age(&mut self, max_age_ns: u64, now: Timestamp) {
        self.max_age_ns = max_age_ns;
        self.arm_age(now);
    }

    /// The first multiple of the age limit, counted from the switch, that lies after `now`.
    fn arm_age(&mut self, now: Timestamp) {
        let age = now.nanos_since(self.active_since);
        self.age_due = match age.checked_div(self.max_age_ns) {
            Some(times) if self.version > 0 => (times + 1)
                .checked_mul(self.max_age_ns)
                .and_then(|age| age.checked_add(self.active_since.nanos()))
                .unwrap_or(u64::MAX),
            _ => u64::MAX,
        };
    }

    /// The age of the set, when it is time to tell it.
    pub(crate) fn age(&mut self, now: Timestamp) -> Option<u64> {
        if now.nanos() < self.age_due {
            return None;
        }
        self.arm_age(now);
        Some(now.nanos_since(self.active_since))
    }

    pub(crate) fn active_since(&self) -> Timestamp {
        self.active_since
    }

    pub(crate) fn fold(&self, folder: &mut Folder) {
        folder.word(u64::from(self.version));
        folder.word(u64::from(self.rows));
        folder.word(self.active_since.nanos());
        folder.word(self.max_age_ns);
        // The rows in force follow from the hash that they were checked against.
        for part in self.table_hash.chunks_exact(8) {
            let mut word = [0; 8];
            word.copy_from_slice(part);
            folder.word(u64::from_le_bytes(word));
        }
        folder.word(u64::from(self.staging.is_some()));
        if let Some(staging) = &self.staging {
            folder.word(u64::from(staging.begin.version));
            folder.word(u64::from(staging.begin.rows));
            folder.word(u64::from(staging.begin.step_limit_bps));
            folder.word(u64::from(staging.rows));
            folder.word(u64::from(staging.refused));
            for (name, row) in self.staged_rows() {
                folder.name(name);
                row.table.fold(folder);
            }
        }
        // Weights and products that nobody chose follow from the listing.
        for (link, number) in self.instruments.iter().zip(0u64..) {
            if link.spec.is_some() {
                folder.word(number);
                folder.option(link.flat.map(i64::cast_unsigned));
                folder.name(&self.products[link.product as usize]);
            }
        }
    }

    /// Rows of the announced set by name.
    fn staged_rows(&self) -> impl Iterator<Item = (&Name, &StoredRow)> {
        self.names.iter().filter_map(|(name, &product)| {
            Some((name, in_force(&self.staged, self.attempts, product)?))
        })
    }

    /// Everything but what follows from the listings.
    pub(crate) fn save(&self, writer: &mut Writer) {
        writer.u32(self.version);
        writer.u32(self.rows);
        self.table_hash.iter().for_each(|&byte| writer.u8(byte));
        writer.u64(self.active_since.nanos());
        writer.u64(self.max_age_ns);
        save_rows(writer, &self.names, &self.current, self.attempt);
        writer.option(self.staging.as_ref(), |writer, staging| {
            writer.command(&part(RiskAction::Begin(staging.begin)));
            save_rows(writer, &self.names, &self.staged, self.attempts);
            writer.u8(u8::from(staging.refused));
        });
        let chosen: Vec<_> = (0u32..)
            .zip(&self.instruments)
            .filter_map(|(number, link)| Some((number, link.spec?, link.flat)))
            .collect();
        writer.len(chosen.len());
        for (number, spec, flat) in chosen {
            let instrument = InstrumentId::new(number);
            writer.command(&Command::Account(Box::new(AccountCommand {
                header: ClientHeader::default(),
                action: AccountAction::Margin { instrument, spec },
            })));
            writer.option(flat, Writer::i64);
        }
    }

    /// Panics at the first count that does not fit.
    pub(crate) fn check(&self) {
        let mut users = vec![0; self.users.len()];
        for link in self
            .instruments
            .iter()
            .filter(|link| link.product != NO_PRODUCT)
        {
            users[link.product as usize] += 1;
        }
        assert_eq!(users, self.users, "users of products");
        let used = (0..).zip(&users).filter(|&(product, &users)| {
            users > 0 && in_force(&self.current, self.attempt, product).is_some()
        });
        assert_eq!(used.count(), self.used_rows as usize, "rows in use");
    }
}

fn in_force(rows: &Rows, attempt: u64, product: u32) -> Option<&StoredRow> {
    let stored = rows.get(product as usize)?.as_deref()?;
    (stored.attempt == attempt).then_some(stored)
}

/// What a lot needs without a row, rounded up: `bps` of its value at `price`, in micro-USD. None when
/// it is out of range.
pub(crate) fn flat_rate(bps: u32, price: i64, tick_micro_usd: u32, hours: u16) -> Option<i64> {
    let lot = i128::from(price.unsigned_abs())
        * i128::from(tick_micro_usd.max(1))
        * i128::from(hours.max(1));
    let rate = (lot * i128::from(bps) + 9_999) / 10_000;
    i64::try_from(rate).ok().filter(|rate| *rate <= LOSS_LIMIT)
}

/// Rows of one set by name, each as the command that brought it.
fn save_rows(writer: &mut Writer, names: &BTreeMap<Name, u32>, rows: &Rows, attempt: u64) {
    let stored: Vec<_> = names
        .values()
        .filter_map(|&product| in_force(rows, attempt, product))
        .collect();
    writer.len(stored.len());
    for stored in stored {
        writer.command(&part(RiskAction::Row(stored.row.clone())));
    }
}

impl Exchange {
    /// The parameters, on an exchange whose instruments have their products.
    pub(super) fn restore_params(&mut self, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let version = reader.u32()?;
        let rows = reader.u32()?;
        let mut table_hash = [0; 32];
        for byte in &mut table_hash {
            *byte = reader.u8()?;
        }
        let active_since = Timestamp::from_nanos(reader.u64()?);
        let max_age_ns = reader.u64()?;
        let clock = self.clock;
        let params = &mut self.accounts.params;
        let found = reader.len(600)?;
        if version > 0 {
            let begin = RiskBegin {
                version,
                rows,
                model: 0,
                seed: 0,
                scenarios: 0,
                step_limit_bps: 0,
                input_hash: [0; 32],
            };
            let commit = RiskCommit {
                version,
                rows,
                table_hash,
            };
            let begun = params.begin(&begin);
            begun.map_err(|_| reader.bad("no such version"))?;
            for _ in 0..found {
                restore_row(params, reader)?;
            }
            let committed = params.commit(&commit, active_since);
            committed.map_err(|_| reader.bad("rows that are not those of the hash"))?;
        } else {
            reader.ensure(found == 0, "rows of no set")?;
        }
        if reader.flag()? {
            let Command::RiskParams(begin) = reader.command()? else {
                return Err(reader.bad("not the beginning of a set"));
            };
            let RiskAction::Begin(begin) = begin.action else {
                return Err(reader.bad("not the beginning of a set"));
            };
            let begun = params.begin(&begin);
            begun.map_err(|_| reader.bad("a set that is not newer"))?;
            for _ in 0..reader.len(600)? {
                restore_row(params, reader)?;
            }
            let refused = reader.flag()?;
            if let Some(staging) = &mut params.staging {
                staging.refused = refused;
            }
        }
        params.set_max_age(max_age_ns, clock);
        for _ in 0..reader.len(8)? {
            let (instrument, spec) = match reader.command()? {
                Command::Account(request) => match request.action {
                    AccountAction::Margin { instrument, spec } => (instrument, spec),
                    _ => return Err(reader.bad("not the margin of an instrument")),
                },
                _ => return Err(reader.bad("not the margin of an instrument")),
            };
            let flat = reader.option(Reader::i64)?;
            let number = instrument.get() as usize;
            reader.ensure(
                number < self.books.len()
                    && flat.is_none_or(|flat| (0..=LOSS_LIMIT).contains(&flat)),
                "the margin of an instrument that is not there, or too much",
            )?;
            let name = self.books[number].rest.instrument.name;
            let weight = self.accounts.params.weight(instrument.get());
            let weight = u32::try_from(weight).unwrap_or(u32::MAX);
            let params = &mut self.accounts.params;
            params.link(instrument.get(), &name, weight, Some(spec), flat);
        }
        Ok(())
    }
}

fn restore_row(params: &mut Params, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
    let Command::RiskParams(request) = reader.command()? else {
        return Err(reader.bad("not a row of risk parameters"));
    };
    let RiskAction::Row(row) = &request.action else {
        return Err(reader.bad("not a row of risk parameters"));
    };
    let taken = params.row(row);
    taken.map_err(|_| reader.bad("a row that breaks a rule"))
}
