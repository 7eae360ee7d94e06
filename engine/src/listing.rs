//! Instruments and the catalogue: what may be listed.

use std::collections::BTreeSet;

use tessera_types::{
    Catalogue, ClassDef, ClientHeader, Command, CommandKind, Event, EventSink, Instrument,
    InstrumentId, ListInstrument, Name, Phase, Qty, RejectReason, SetCatalogue, Timestamp,
};

use crate::book::Book;
use crate::contracts::listing as contracts;
use crate::digest::Folder;
use crate::exchange::{Exchange, Subject};
use crate::snapshot::{Reader, SnapshotError, Writer};

/// Most instruments of one exchange.
const MAX_INSTRUMENTS: usize = 1 << 20;

impl Exchange {
    #[inline(never)]
    pub(crate) fn on_list_instrument<S: EventSink + ?Sized>(
        &mut self,
        request: &ListInstrument,
        sink: &mut S,
    ) {
        let header = &request.header;
        let listed = self
            .sessions
            .admit(header)
            .and_then(|()| check_form(&request.instrument))
            .and_then(|()| self.check_listing(&request.instrument));
        let number = match listed {
            Ok(number) => number,
            Err(reason) => {
                return self.reject(
                    header,
                    CommandKind::Instrument,
                    Subject::Nothing,
                    reason,
                    sink,
                );
            }
        };
        let mut instrument = request.instrument;
        let windows = instrument.terms.map_or(1, |terms| terms.windows);
        if let Some(terms) = &mut instrument.terms {
            terms.windows = 1;
        }
        for (number, window) in (number..).zip(0..windows) {
            if windows > 1
                && let Some(name) = series_name(&request.instrument.name, window)
            {
                instrument.name = name;
            }
            self.add_book(number, instrument);
            let by = self.requester(header);
            let instrument_id = InstrumentId::new(number);
            self.emit(
                Event::InstrumentListed {
                    instrument: instrument_id,
                    by,
                },
                sink,
            );
            if let Some(terms) = &mut instrument.terms {
                terms.start_hour += u32::from(terms.hours);
            }
        }
    }

    /// The book of a checked instrument.
    pub(crate) fn add_book(&mut self, number: u32, instrument: Instrument) {
        self.names
            .insert(instrument.name, InstrumentId::new(number));
        self.books.push(Book::new(number, instrument));
        if instrument.volatility.is_some() {
            self.interruptions.expect_book();
        }
        if self.accounts.on {
            self.link_instrument(number as usize);
        }
        if instrument.terms.is_some() {
            self.note_contract(number);
        }
    }

    /// The number of the new instrument, or why there is none.
    fn check_listing(&self, instrument: &Instrument) -> Result<u32, RejectReason> {
        if let Some(terms) = &instrument.terms {
            contracts::check_terms(self.catalogue.as_ref(), instrument, terms)?;
            self.check_contract_start(terms)?;
        }
        let windows = instrument.terms.map_or(1, |terms| terms.windows);
        let taken = match windows {
            1 => self.names.contains_key(&instrument.name),
            _ => (0..windows).any(|window| {
                series_name(&instrument.name, window)
                    .is_none_or(|name| self.names.contains_key(&name))
            }),
        };
        if taken {
            return Err(RejectReason::DuplicateInstrument);
        }
        if let Some(terms) = &instrument.terms {
            self.check_contract_free(terms)?;
        }
        u32::try_from(self.books.len())
            .ok()
            .filter(|_| self.books.len() + usize::from(windows) <= MAX_INSTRUMENTS)
            .ok_or(RejectReason::LimitReached)
    }

    #[inline(never)]
    pub(crate) fn on_set_catalogue<S: EventSink + ?Sized>(
        &mut self,
        request: &SetCatalogue,
        sink: &mut S,
    ) {
        let header = &request.header;
        let checked = self
            .sessions
            .admit(header)
            .and_then(|()| check_catalogue(self.catalogue.as_ref(), &request.catalogue));
        if let Err(reason) = checked {
            return self.reject(
                header,
                CommandKind::Catalogue,
                Subject::Nothing,
                reason,
                sink,
            );
        }
        self.catalogue = Some(request.catalogue.clone());
        let by = self.requester(header);
        self.emit(
            Event::CatalogueSet {
                by,
                version: request.catalogue.version,
            },
            sink,
        );
    }
}

impl Exchange {
    /// The catalogue as it was set.
    pub(crate) fn save_catalogue(&self, writer: &mut Writer) {
        if let Some(catalogue) = &self.catalogue {
            writer.command(&Command::SetCatalogue(Box::new(SetCatalogue {
                header: ClientHeader::default(),
                catalogue: catalogue.clone(),
            })));
        }
    }

    pub(crate) fn restore_catalogue(
        &mut self,
        reader: &mut Reader<'_>,
    ) -> Result<(), SnapshotError> {
        let Command::SetCatalogue(command) = reader.command()? else {
            return Err(reader.bad("no catalogue"));
        };
        check_catalogue(None, &command.catalogue)
            .map_err(|_| reader.bad("no catalogue could be like this"))?;
        self.catalogue = Some(command.catalogue);
        Ok(())
    }

    /// Each instrument as it was listed, and what has become of it since.
    pub(crate) fn save_instruments(&self, writer: &mut Writer) {
        writer.len(self.books.len());
        for book in &self.books {
            let rest = &book.rest;
            writer.command(&Command::ListInstrument(Box::new(ListInstrument {
                header: ClientHeader::default(),
                instrument: rest.instrument,
            })));
            writer.u8(book.phase.code());
            writer.option(book.last, Writer::i64);
            writer.option(rest.ref_price, Writer::i64);
            rest.top.into_iter().for_each(|top| writer.u64(top));
            if book.guarded {
                writer.option(rest.guard.reference, Writer::i64);
                writer.option(rest.guard.ends.map(Timestamp::nanos), Writer::u64);
            }
            if rest.instrument.indicative {
                writer.option(rest.announced, |writer, (price, volume, surplus)| {
                    writer.i64(price);
                    writer.u64(volume);
                    writer.i64(surplus);
                });
            }
        }
    }

    pub(crate) fn restore_instruments(
        &mut self,
        reader: &mut Reader<'_>,
    ) -> Result<(), SnapshotError> {
        let mut coordinates = BTreeSet::new();
        for _ in 0..reader.len(16)? {
            let Command::ListInstrument(command) = reader.command()? else {
                return Err(reader.bad("no instrument"));
            };
            let instrument = command.instrument;
            let terms = instrument.terms.as_ref();
            check_form(&instrument)
                .and_then(|()| {
                    terms.map_or(Ok(()), |t| {
                        contracts::check_listed(self.catalogue.as_ref(), &instrument, t)
                    })
                })
                .map_err(|_| reader.bad("no instrument could be like this"))?;
            let number = u32::try_from(self.books.len())
                .ok()
                .filter(|_| self.books.len() < MAX_INSTRUMENTS)
                .ok_or_else(|| reader.bad("more instruments than there may be"))?;
            let id = InstrumentId::new(number);
            let is_new = self.names.insert(instrument.name, id).is_none()
                && terms.is_none_or(|terms| coordinates.insert(contracts::coordinate(terms)));
            reader.ensure(is_new, "two instruments of one name or one contract")?;
            let mut book = Book::new(number, instrument);
            book.last = restore_book(reader, self.clock, &mut book)?;
            if let Some(ends) = book.rest.guard.ends {
                self.interruptions.restore(ends, number);
            }
            if book.guarded {
                self.interruptions.expect_book();
            }
            self.collecting += u32::from(book.collects());
            self.books.push(book);
            if terms.is_some() {
                self.note_contract(number);
            }
        }
        Ok(())
    }
}

/// Reads what has become of an instrument; returns the price of its last trade.
fn restore_book(
    reader: &mut Reader<'_>,
    clock: Timestamp,
    book: &mut Book,
) -> Result<Option<i64>, SnapshotError> {
    book.phase = reader.code("no phase")?;
    let last = reader.option(Reader::i64)?;
    let rest = &mut book.rest;
    rest.ref_price = reader.option(Reader::i64)?;
    rest.top = [reader.u64()?, reader.u64()?];
    if book.guarded {
        rest.guard.reference = reader.option(Reader::i64)?;
        rest.guard.ends = reader.option(Reader::u64)?.map(Timestamp::from_nanos);
        let fits = |ends| book.phase == Phase::Auction && ends > clock;
        reader.ensure(
            rest.guard.ends.is_none_or(fits),
            "an interruption that has ended",
        )?;
    }
    if rest.instrument.indicative {
        rest.announced =
            reader.option(|reader| Ok((reader.i64()?, reader.u64()?, reader.i64()?)))?;
        let fits = rest.announced.is_none() || book.phase == Phase::Auction;
        reader.ensure(fits, "an outcome of no auction")?;
    }
    Ok(last)
}

fn ensure(holds: bool, reason: RejectReason) -> Result<(), RejectReason> {
    if holds { Ok(()) } else { Err(reason) }
}

fn check_form(instrument: &Instrument) -> Result<(), RejectReason> {
    let fits = instrument.name.validate().is_ok()
        && instrument.tick >= 1
        && (1..=Qty::MAX.lots()).contains(&instrument.lot)
        && instrument.min_price <= instrument.max_price
        && instrument.min_qty >= Qty::from_lots(1)
        && instrument.min_qty <= instrument.max_qty
        && instrument.max_qty <= Qty::MAX
        && instrument
            .protect
            .is_none_or(|ticks| i64::try_from(ticks).is_ok())
        && instrument.fifo_pct <= 100
        && instrument.volatility.is_none_or(|guard| {
            (1..=i64::MAX.unsigned_abs()).contains(&guard.band) && guard.length_ns >= 1
        })
        && instrument.tick_micro_usd.is_multiple_of(60);
    ensure(fits, RejectReason::BadField)
}

/// The name of one contract of a series.
fn series_name(series: &Name, window: u16) -> Option<Name> {
    Name::new(&format!("{series}.{window}")).ok()
}

/// Versions rise, tables only grow at the end, and the tick stays: numbers keep their meaning.
fn check_catalogue(old: Option<&Catalogue>, new: &Catalogue) -> Result<(), RejectReason> {
    let names = new.classes.iter().map(|class| &class.name);
    let names = names
        .chain(&new.profiles)
        .chain(&new.zones)
        .chain(&new.workloads);
    let form = new.tick_micro_usd > 0
        && new.tick_micro_usd.is_multiple_of(60)
        && new
            .classes
            .iter()
            .all(|class| class.slices == 0 || class.slices == 7)
        && names.into_iter().all(|name| name.validate().is_ok());
    ensure(form, RejectReason::BadField)?;
    contracts::check_efficiency(new)?;
    let largest = new
        .classes
        .len()
        .max(new.profiles.len())
        .max(new.zones.len());
    ensure(
        largest <= Catalogue::MAX_ENTRIES,
        RejectReason::LimitReached,
    )?;
    let Some(old) = old else { return Ok(()) };
    ensure(new.version > old.version, RejectReason::StaleVersion)?;
    let names = |classes: &[ClassDef]| classes.iter().map(|class| class.name).collect::<Vec<_>>();
    let extends = names(&new.classes).starts_with(&names(&old.classes))
        && new.workloads.starts_with(&old.workloads)
        && new.profiles.starts_with(&old.profiles)
        && new.zones.starts_with(&old.zones)
        && new.tick_micro_usd == old.tick_micro_usd;
    ensure(extends, RejectReason::BadField)
}

/// The catalogue in the state hash.
pub(crate) fn fold_catalogue(catalogue: &Catalogue, folder: &mut Folder) {
    folder.word(u64::from(catalogue.tick_micro_usd));
    folder.word(catalogue.classes.len() as u64);
    for class in &catalogue.classes {
        folder.name(&class.name);
        folder.word(u64::from(class.slices));
        folder.word(class.stake);
    }
    for table in [&catalogue.profiles, &catalogue.zones] {
        folder.word(table.len() as u64);
        for name in table {
            folder.name(name);
        }
    }
    if catalogue.workloads.is_empty() {
        return;
    }
    folder.word(u64::from_le_bytes(*b"workload"));
    for name in &catalogue.workloads {
        folder.name(name);
    }
    for row in &catalogue.efficiency {
        let place = [
            u64::from(row.class),
            u64::from(row.partition.code()),
            u64::from(row.profile),
            u64::from(row.workload),
        ];
        folder.word(place.into_iter().fold(0, |word, part| word << 16 | part));
        folder.word(u64::from(row.share) << 32 | u64::from(row.factor));
        folder.signed(i64::from(row.overhead));
    }
}

impl Book {
    /// Definition and state of the instrument in the state hash; its orders are in the store's sum.
    pub(crate) fn fold(&self, folder: &mut Folder) {
        let instrument = &self.rest.instrument;
        folder.name(&instrument.name);
        folder.signed(instrument.tick);
        folder.word(instrument.lot);
        folder.signed(instrument.min_price.ticks());
        folder.signed(instrument.max_price.ticks());
        folder.word(instrument.min_qty.lots());
        folder.word(instrument.max_qty.lots());
        folder.option(instrument.protect);
        folder.word(u64::from(instrument.algo.code()));
        folder.word(instrument.min_alloc);
        folder.word(instrument.top_min);
        folder.word(instrument.top_max);
        folder.word(u64::from(instrument.fifo_pct));
        folder.word(u64::from(instrument.tick_micro_usd));
        folder.word(u64::from(instrument.terms.is_some()));
        if let Some(terms) = &instrument.terms {
            folder.word(u64::from(terms.class));
            folder.word(u64::from(terms.partition.code()));
            folder.word(u64::from(terms.profile));
            folder.word(u64::from(terms.tier));
            folder.word(u64::from(terms.zone));
            folder.word(u64::from(terms.start_hour));
            folder.word(u64::from(terms.hours));
            folder.word(u64::from(terms.weight));
            if let Some(reclaim) = &terms.reclaim {
                folder.word(u64::from_le_bytes(*b"reclaim\0"));
                folder.word(u64::from(reclaim.notice_s));
                folder.signed(reclaim.compensation);
                folder.word(u64::from(reclaim.max_times));
                folder.word(u64::from(reclaim.min_run_s));
                folder.word(u64::from(reclaim.restart_minutes));
            }
        }
        folder.word(u64::from(self.phase.code()));
        folder.option(self.last.map(i64::cast_unsigned));
        folder.option(self.rest.ref_price.map(i64::cast_unsigned));
        for top in self.rest.top {
            folder.word(top);
        }
        // Tags that no other word at this place can be, so that the hash of an exchange without
        // these rules is what it was before there were any.
        if let Some(guard) = &instrument.volatility {
            folder.word(u64::from_le_bytes(*b"volatile"));
            folder.word(guard.band);
            folder.word(guard.length_ns);
            folder.option(self.rest.guard.reference.map(i64::cast_unsigned));
            folder.option(self.rest.guard.ends.map(Timestamp::nanos));
        }
        if instrument.indicative {
            folder.word(u64::from_le_bytes(*b"indicate"));
        }
        crate::restart::fold_held(self, folder);
    }
}
