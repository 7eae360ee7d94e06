//! What may be listed as a contract, and how much of the reference a lot of it does.

use tessera_types::{
    Catalogue, ContractTerms, Instrument, MAX_CONTRACT_PRICE, MAX_CONTRACT_QTY, MatchAlgo,
    MigProfile, Partition, Price, Qty, RejectReason,
};

use super::{HOUR_NS, ensure};
use crate::book::Book;
use crate::exchange::Exchange;

/// What makes two contracts the same: class, partition, profile, tier, zone, start and length.
pub(crate) type Coordinate = (u16, u8, u8, u8, u16, u32, u16);

/// The longest window: 366 days.
pub(crate) const MAX_HOURS: u16 = 8_784;
/// Most contracts of one series.
const MAX_WINDOWS: u16 = 720;
/// The longest notice: 30 days.
pub(crate) const MAX_NOTICE: u32 = 2_592_000;
/// The largest share and factor of the efficiency table.
const MAX_RATIO: u32 = 1 << 20;

/// How long a series may be called: `.719` follows.
const MAX_SERIES_NAME: usize = 60;

pub(crate) const fn coordinate(terms: &ContractTerms) -> Coordinate {
    (
        terms.class,
        terms.partition.code(),
        terms.profile,
        terms.tier,
        terms.zone,
        terms.start_hour,
        terms.hours,
    )
}

/// Fields of the terms that are wrong by themselves.
fn check_form(instrument: &Instrument, terms: &ContractTerms) -> Result<(), RejectReason> {
    let end =
        u64::from(terms.start_hour) + u64::from(terms.hours) * u64::from(terms.windows.max(1));
    let reclaim = terms.reclaim.is_none_or(|reclaim| {
        terms.tier <= 1
            && reclaim.notice_s <= MAX_NOTICE
            && (0..=MAX_CONTRACT_PRICE).contains(&reclaim.compensation)
    });
    let fits = terms.tier <= 4
        && (1..=MAX_HOURS).contains(&terms.hours)
        && (1..=MAX_WINDOWS).contains(&terms.windows)
        && (1..=MAX_CONTRACT_QTY).contains(&terms.weight)
        && end <= u64::from(u32::MAX)
        && reclaim
        && (terms.windows == 1 || instrument.name.as_str().len() <= MAX_SERIES_NAME)
        && instrument.lot == 1
        && instrument.algo == MatchAlgo::Fifo
        && instrument.volatility.is_none()
        && !instrument.indicative;
    ensure(fits, RejectReason::BadField)
}

/// Checks the terms of a contract: their form, then class, zone and profile.
pub(crate) fn check_terms(
    catalogue: Option<&Catalogue>,
    instrument: &Instrument,
    terms: &ContractTerms,
) -> Result<(), RejectReason> {
    check_form(instrument, terms)?;
    let (class, partition) = (terms.class, terms.partition);
    check_coordinate(catalogue, class, partition, terms.profile, terms.zone)
}

/// Checks the terms of a contract that was listed, maybe under an earlier catalogue.
pub(crate) fn check_listed(
    catalogue: Option<&Catalogue>,
    instrument: &Instrument,
    terms: &ContractTerms,
) -> Result<(), RejectReason> {
    check_form(instrument, terms)?;
    ensure(terms.windows == 1, RejectReason::BadField)?;
    let (class, partition) = (terms.class, terms.partition);
    check_numbers(catalogue, class, partition, terms.profile, terms.zone)
}

/// Checks a coordinate against the catalogue: class, zone, profile.
pub(crate) fn check_coordinate(
    catalogue: Option<&Catalogue>,
    class: u16,
    partition: Partition,
    profile: u8,
    zone: u16,
) -> Result<(), RejectReason> {
    check_numbers(catalogue, class, partition, profile, zone)?;
    let classes = catalogue.map_or(&[][..], |catalogue| &catalogue.classes);
    let slices = classes
        .get(usize::from(class))
        .map_or(0, |class| class.slices);
    let fits = partition != Partition::Mig || slices == 7;
    ensure(fits, RejectReason::UnknownProfile)
}

/// The part of a coordinate that stays right once it was: the slices of a class may change later.
pub(crate) fn check_numbers(
    catalogue: Option<&Catalogue>,
    class: u16,
    partition: Partition,
    profile: u8,
    zone: u16,
) -> Result<(), RejectReason> {
    let catalogue = catalogue.ok_or(RejectReason::UnknownClass)?;
    let known = usize::from(class) < catalogue.classes.len();
    ensure(known, RejectReason::UnknownClass)?;
    ensure(
        usize::from(zone) < catalogue.zones.len(),
        RejectReason::UnknownZone,
    )?;
    let reason = match partition {
        Partition::Whole | Partition::Tee => RejectReason::BadField,
        _ => RejectReason::UnknownProfile,
    };
    let fits = match partition {
        Partition::Whole | Partition::Tee => profile == 0,
        Partition::Mig => mig_profile(catalogue, profile).is_some(),
        Partition::TimeSlice | Partition::Vgpu => profile != 0,
    };
    ensure(fits, reason)
}

/// The hardware slice that a profile number of the catalogue is.
pub(crate) fn mig_profile(catalogue: &Catalogue, profile: u8) -> Option<MigProfile> {
    let name = catalogue.profiles.get(usize::from(profile))?;
    MigProfile::from_word(name.as_str())
}

/// Rows of the efficiency table refer to what is there and stay in bounds.
pub(crate) fn check_efficiency(catalogue: &Catalogue) -> Result<(), RejectReason> {
    let fits = catalogue.efficiency.iter().all(|row| {
        usize::from(row.class) < catalogue.classes.len()
            && usize::from(row.workload) < catalogue.workloads.len()
            && row.share <= MAX_RATIO
            && row.factor <= MAX_RATIO
    });
    let few = catalogue.workloads.len() <= Catalogue::MAX_ENTRIES
        && catalogue.efficiency.len() <= Catalogue::MAX_EFFICIENCY;
    ensure(few, RejectReason::LimitReached)?;
    ensure(fits, RejectReason::BadField)
}

/// How much of the reference one lot does for a workload, in 1/10000; 0 when no row says so. \[1\]
pub(crate) fn eta(catalogue: &Catalogue, terms: &ContractTerms, workload: u8) -> i64 {
    let row = catalogue.efficiency.iter().rev().find(|row| {
        row.class == terms.class
            && row.partition == terms.partition
            && row.profile == terms.profile
            && row.workload == workload
    });
    row.map_or(0, |row| {
        let share = i128::from(row.share) * (10_000 - i128::from(row.overhead));
        let eta = share.div_euclid(10_000) * i128::from(row.factor);
        super::narrow(eta.div_euclid(10_000))
    })
}

impl Book {
    /// Prices and quantities of contracts are narrower than those of plain instruments.
    pub(crate) fn narrow_to_contract(&mut self) {
        let most = MAX_CONTRACT_PRICE;
        self.min_price = self.min_price.clamp(-most, most);
        self.max_price = self.max_price.clamp(-most, most);
        self.max_qty = self.max_qty.min(u64::from(MAX_CONTRACT_QTY));
        self.rest.instrument.min_price = Price::from_ticks(self.min_price);
        self.rest.instrument.max_price = Price::from_ticks(self.max_price);
        self.rest.instrument.max_qty = Qty::from_lots(self.max_qty);
    }
}

impl Exchange {
    /// Start and coordinates of a contract or series that is to be listed; its names are free.
    pub(crate) fn check_contract_start(&self, terms: &ContractTerms) -> Result<(), RejectReason> {
        let start = u128::from(terms.start_hour) * HOUR_NS;
        ensure(start > u128::from(self.clock.nanos()), RejectReason::Closed)
    }

    pub(crate) fn check_contract_free(&self, terms: &ContractTerms) -> Result<(), RejectReason> {
        let mut at = *terms;
        for _ in 0..terms.windows {
            let taken = self.contracts.coordinates.contains_key(&coordinate(&at));
            ensure(!taken, RejectReason::DuplicateContract)?;
            at.start_hour += u32::from(terms.hours);
        }
        Ok(())
    }

    /// Makes the contract of a new book known, and arms the start of its window.
    pub(crate) fn note_contract(&mut self, number: u32) {
        let terms = *self.terms(number as usize);
        self.books[number as usize].narrow_to_contract();
        self.books[number as usize].contract = self.contracts.in_use;
        self.contracts
            .coordinates
            .insert(coordinate(&terms), number);
        let window = (terms.start_hour, terms.hours);
        self.contracts
            .windows
            .entry(window)
            .or_default()
            .push(number);
        let start = u128::from(terms.start_hour) * HOUR_NS;
        if start > u128::from(self.clock.nanos()) {
            self.arm(start, super::deadlines::WINDOW, u64::from(number));
        }
    }
}
