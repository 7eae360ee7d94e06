//! What may be listed, a second time: the rules for catalogues and contracts as a table of tests.
//!
//! Order scripts have no commands for these yet, so the comparison makes its own.

use std::collections::BTreeSet;

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tessera_engine::{EngineConfig, Exchange};
use tessera_types::{
    Catalogue, ClassDef, ClientHeader, Command, ContractTerms, Event, Instrument, ListInstrument,
    MatchAlgo, Name, Partition, RejectReason, Seq, Sequenced, SetCatalogue, Timestamp,
};

/// Offers an exchange random catalogues and contracts.
///
/// # Panics
/// When one is taken that should be refused, or refused for another reason.
pub fn compare(seed: u64, count: u64) {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut exchange = Exchange::new(EngineConfig::default());
    let mut known = Known::default();
    let header = ClientHeader::default();
    for seq in 1..=count {
        let (command, expected) = if rng.random_bool(0.3) {
            let catalogue = known.random_catalogue(&mut rng);
            let expected = known.offer_catalogue(&catalogue);
            let set = SetCatalogue { header, catalogue };
            (Command::SetCatalogue(Box::new(set)), expected)
        } else {
            let instrument = random_instrument(&mut rng);
            let expected = known.offer_instrument(&instrument);
            let list = ListInstrument { header, instrument };
            (Command::ListInstrument(Box::new(list)), expected)
        };
        let sequenced = Sequenced {
            seq: Seq::new(seq),
            time: Timestamp::ZERO,
            command,
        };
        let before = exchange.state_hash();
        let mut events: Vec<Event> = Vec::new();
        exchange.apply(&sequenced, &mut events);
        let found = match events[..] {
            [Event::Rejected { reason, .. }] => Err(reason),
            [Event::CatalogueSet { .. } | Event::InstrumentListed { .. }] => Ok(()),
            ref other => panic!("seed {seed}: {other:?}"),
        };
        assert_eq!(found, expected, "seed {seed}: {:?}", sequenced.command);
        assert_eq!(
            before == exchange.state_hash(),
            found.is_err(),
            "seed {seed}"
        );
        assert_eq!(exchange.catalogue(), known.catalogue.as_ref());
        assert_eq!(exchange.instruments().count(), known.names.len());
    }
}

/// What an exchange should have taken.
#[derive(Debug, Default)]
struct Known {
    catalogue: Option<Catalogue>,
    names: BTreeSet<Name>,
    contracts: Vec<ContractTerms>,
}

impl Known {
    /// Mostly the latest with something behind it, sometimes with something wrong.
    fn random_catalogue(&self, rng: &mut Pcg64Mcg) -> Catalogue {
        let mut new = self.catalogue.clone().unwrap_or(Catalogue {
            version: 0,
            tick_micro_usd: 60,
            classes: Vec::new(),
            profiles: Vec::new(),
            zones: Vec::new(),
            workloads: Vec::new(),
            efficiency: Vec::new(),
        });
        new.version = new.version.saturating_add(rng.random_range(0..3));
        for _ in 0..rng.random_range(0..3) {
            new.classes.push(ClassDef {
                name: name(rng.random_range(0..99)),
                slices: *[0, 7, 7, 7, 3].choose(rng).expect("five"),
                stake: rng.random_range(0..9),
            });
            new.profiles.push(name(rng.random_range(0..99)));
            new.zones.push(name(rng.random_range(0..99)));
        }
        match rng.random_range(0..20) {
            0 => new.tick_micro_usd = *[0, 61, 120].choose(rng).expect("three"),
            1 => drop(new.classes.pop()),
            2 => drop(new.profiles.pop()),
            3 => drop(new.zones.pop()),
            4 => new.zones.resize(Catalogue::MAX_ENTRIES + 1, name(1)),
            5 => new.classes.reverse(),
            _ => {}
        }
        new
    }

    fn offer_catalogue(&mut self, new: &Catalogue) -> Result<(), RejectReason> {
        let tick = new.tick_micro_usd;
        if tick == 0
            || !tick.is_multiple_of(60)
            || new.classes.iter().any(|c| ![0, 7].contains(&c.slices))
        {
            return Err(RejectReason::BadField);
        }
        let lengths = [new.classes.len(), new.profiles.len(), new.zones.len()];
        if lengths.into_iter().any(|length| length > 64) {
            return Err(RejectReason::LimitReached);
        }
        if let Some(old) = &self.catalogue {
            if new.version <= old.version {
                return Err(RejectReason::StaleVersion);
            }
            let kept = new
                .classes
                .iter()
                .zip(&old.classes)
                .all(|(a, b)| a.name == b.name)
                && new.profiles.iter().zip(&old.profiles).all(|(a, b)| a == b)
                && new.zones.iter().zip(&old.zones).all(|(a, b)| a == b)
                && new.classes.len() >= old.classes.len()
                && new.profiles.len() >= old.profiles.len()
                && new.zones.len() >= old.zones.len();
            if !kept || tick != old.tick_micro_usd {
                return Err(RejectReason::BadField);
            }
        }
        self.catalogue = Some(new.clone());
        Ok(())
    }

    fn offer_instrument(&mut self, instrument: &Instrument) -> Result<(), RejectReason> {
        let guard = instrument.volatility;
        if instrument.tick < 1
            || instrument.lot < 1
            || instrument.min_price > instrument.max_price
            || instrument.min_qty.is_zero()
            || instrument.min_qty > instrument.max_qty
            || instrument.fifo_pct > 100
            || !instrument.tick_micro_usd.is_multiple_of(60)
            || instrument.protect.is_some_and(|ticks| ticks > 1 << 62)
            || guard.is_some_and(|guard| guard.band < 1 || guard.length_ns < 1)
        {
            return Err(RejectReason::BadField);
        }
        if let Some(terms) = &instrument.terms {
            if instrument.lot != 1
                || instrument.algo != MatchAlgo::Fifo
                || guard.is_some()
                || instrument.indicative
            {
                return Err(RejectReason::BadField);
            }
            self.check_terms(terms)?;
            if terms.start_hour == 0 {
                return Err(RejectReason::Closed);
            }
        }
        if self.names.contains(&instrument.name) {
            return Err(RejectReason::DuplicateInstrument);
        }
        if let Some(terms) = instrument.terms {
            let same = |known: &ContractTerms| {
                ContractTerms {
                    weight: terms.weight,
                    ..*known
                } == terms
            };
            if self.contracts.iter().any(same) {
                return Err(RejectReason::DuplicateContract);
            }
            self.contracts.push(terms);
        }
        self.names.insert(instrument.name);
        Ok(())
    }

    fn check_terms(&self, terms: &ContractTerms) -> Result<(), RejectReason> {
        if terms.tier > 4 || terms.hours == 0 || terms.hours > 8_784 || terms.weight == 0 {
            return Err(RejectReason::BadField);
        }
        let (class, zone) = (usize::from(terms.class), usize::from(terms.zone));
        let Some(catalogue) = &self.catalogue else {
            return Err(RejectReason::UnknownClass);
        };
        if class >= catalogue.classes.len() {
            return Err(RejectReason::UnknownClass);
        }
        if zone >= catalogue.zones.len() {
            return Err(RejectReason::UnknownZone);
        }
        let profile = usize::from(terms.profile);
        let slices = ["1g", "1g+mem", "2g", "3g", "4g", "7g"];
        let slice = catalogue.profiles.get(profile);
        let slice = slice.is_some_and(|name| slices.contains(&name.as_str()));
        match terms.partition {
            Partition::Whole | Partition::Tee if profile == 0 => Ok(()),
            Partition::Whole | Partition::Tee => Err(RejectReason::BadField),
            Partition::Mig if slice && catalogue.classes[class].slices == 7 => Ok(()),
            Partition::TimeSlice | Partition::Vgpu if profile != 0 => Ok(()),
            _ => Err(RejectReason::UnknownProfile),
        }
    }
}

fn random_instrument(rng: &mut Pcg64Mcg) -> Instrument {
    let mut instrument = Instrument::plain(name(rng.random_range(0..60)));
    if rng.random_bool(0.8) {
        instrument.tick_micro_usd = 60;
        instrument.terms = Some(ContractTerms {
            class: rng.random_range(0..4),
            partition: *Partition::ALL.choose(rng).expect("five"),
            profile: rng.random_range(0..4),
            tier: rng.random_range(0..6),
            zone: rng.random_range(0..4),
            start_hour: rng.random_range(0..3),
            hours: *[0, 1, 2, 8_784, 8_785].choose(rng).expect("five"),
            weight: rng.random_range(0..4),
            windows: 1,
            reclaim: None,
        });
    }
    match rng.random_range(0..30) {
        0 => instrument.tick = 0,
        1 => instrument.lot = 0,
        2 => instrument.min_price = instrument.max_price,
        3 => {
            (instrument.min_price, instrument.max_price) =
                (instrument.max_price, instrument.min_price)
        }
        4 => instrument.fifo_pct = 101,
        5 => instrument.protect = Some(u64::MAX),
        6 => instrument.tick_micro_usd = 61,
        7 => instrument.min_qty = tessera_types::Qty::ZERO,
        8 => {
            instrument.volatility = Some(tessera_types::VolatilityGuard {
                band: rng.random_range(0..2),
                length_ns: rng.random_range(0..2),
            });
        }
        _ => {}
    }
    instrument
}

fn name(number: u32) -> Name {
    Name::new(&format!("N{number}")).expect("a short name")
}
