//! The newest state instead of every change.

use tessera_types::InstrumentId;

/// Which instruments changed since a subscriber was last told: one bit each, so that a subscriber who
/// is slow gets the newest state and never a backlog.
///
/// The subscriber's timer (1, 10 or 100 ms) calls [`drain`](Self::drain) and reads the state from
/// the shard's [`Mirror`](crate::Mirror)s.
#[derive(Clone, Debug, Default)]
pub struct Conflator {
    words: Vec<u64>,
    dirty: usize,
}

impl Conflator {
    /// Nothing has changed.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            words: Vec::new(),
            dirty: 0,
        }
    }

    /// Notes a change; the second one before the next [`drain`](Self::drain) costs nothing more.
    pub fn mark(&mut self, instrument: InstrumentId) {
        let (word, bit) = place(instrument);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.dirty += usize::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    /// Forgets a change, for instance because the subscriber left the instrument.
    pub fn clear(&mut self, instrument: InstrumentId) {
        let (word, bit) = place(instrument);
        if let Some(word) = self.words.get_mut(word) {
            self.dirty -= usize::from(*word & bit != 0);
            *word &= !bit;
        }
    }

    /// How many instruments have changed.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.dirty
    }

    /// True when there is nothing to tell.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.dirty == 0
    }

    /// Takes the changed instruments out, in rising order. What the caller does not take out stays.
    pub fn drain(&mut self) -> impl Iterator<Item = InstrumentId> + '_ {
        let mut word = 0;
        std::iter::from_fn(move || {
            while self.dirty > 0 {
                let bits = self.words.get_mut(word)?;
                if *bits == 0 {
                    word += 1;
                    continue;
                }
                let bit = bits.trailing_zeros();
                *bits &= *bits - 1;
                self.dirty -= 1;
                let number = u32::try_from(word).ok()? * u64::BITS + bit;
                return Some(InstrumentId::new(number));
            }
            None
        })
    }
}

const fn place(instrument: InstrumentId) -> (usize, u64) {
    let number = instrument.get();
    ((number / u64::BITS) as usize, 1 << (number % u64::BITS))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_set(
            steps in prop::collection::vec((0u32..200, 0u8..8), 0..300),
            taken in 0usize..20,
        ) {
            let mut conflator = Conflator::new();
            let mut model = BTreeSet::new();
            for (number, step) in steps {
                match step {
                    0 => {
                        let some: Vec<_> = conflator.drain().take(taken).map(InstrumentId::get).collect();
                        let expected: Vec<_> = model.iter().copied().take(taken).collect();
                        prop_assert_eq!(&some, &expected);
                        for number in expected {
                            model.remove(&number);
                        }
                    }
                    1 => {
                        conflator.clear(InstrumentId::new(number));
                        model.remove(&number);
                    }
                    _ => {
                        conflator.mark(InstrumentId::new(number));
                        model.insert(number);
                    }
                }
                prop_assert_eq!(conflator.len(), model.len());
            }
            let rest: Vec<_> = conflator.drain().map(InstrumentId::get).collect();
            prop_assert_eq!(rest, model.into_iter().collect::<Vec<_>>());
            prop_assert!(conflator.is_empty());
        }
    }
}
