//! Money as a double-entry ledger: whatever one entry gets, another gives.

use tessera_types::RejectReason;

use crate::digest::Folder;

/// Where money is. Only the outside may be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Minus everything paid in, plus everything paid out.
    External,
    /// Free money of an account, by its place.
    Cash(u32),
}

/// All money of the exchange in micro-USD; its sum is always 0.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    external: i64,
    cash: Vec<i64>,
}

impl Ledger {
    /// Begins an entry for the next account.
    pub(crate) fn open(&mut self) {
        self.cash.push(0);
    }

    pub(crate) fn cash(&self, place: u32) -> i64 {
        self.cash[place as usize]
    }

    /// True when so much can come from outside into a new account.
    pub(crate) fn takes(&self, amount: i64) -> bool {
        amount >= 1 && self.external.checked_sub(amount).is_some()
    }

    /// Moves money from one entry to another: the only way in which an entry changes.
    ///
    /// # Errors
    /// `bad_field` below 1, `insufficient_funds` when the source has less, `limit_reached` when an
    /// entry would leave 63 bits; then nothing has moved.
    pub(crate) fn transfer(
        &mut self,
        from: Entry,
        to: Entry,
        amount: i64,
    ) -> Result<(), RejectReason> {
        if amount < 1 {
            return Err(RejectReason::BadField);
        }
        let full = RejectReason::LimitReached;
        let source = self.entry(from).checked_sub(amount).ok_or(full)?;
        let target = self.entry(to).checked_add(amount).ok_or(full)?;
        if from != Entry::External && source < 0 {
            return Err(RejectReason::InsufficientFunds);
        }
        if to != Entry::External && from == to {
            return Ok(());
        }
        *self.entry_mut(from) = source;
        *self.entry_mut(to) = target;
        debug_assert_eq!(self.sum(), 0);
        Ok(())
    }

    /// What all entries are together: 0.
    pub(crate) fn sum(&self) -> i128 {
        let cash: i128 = self.cash.iter().map(|&cash| i128::from(cash)).sum();
        cash + i128::from(self.external)
    }

    pub(crate) fn fold(&self, folder: &mut Folder) {
        folder.signed(self.external);
        for &cash in &self.cash {
            folder.signed(cash);
        }
    }

    fn entry(&self, entry: Entry) -> i64 {
        match entry {
            Entry::External => self.external,
            Entry::Cash(place) => self.cash[place as usize],
        }
    }

    fn entry_mut(&mut self, entry: Entry) -> &mut i64 {
        match entry {
            Entry::External => &mut self.external,
            Entry::Cash(place) => &mut self.cash[place as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_movement_has_a_source_and_a_target() {
        let mut ledger = Ledger::default();
        ledger.open();
        ledger.open();
        let (a, b) = (Entry::Cash(0), Entry::Cash(1));
        let moves = [
            (Entry::External, a, 10, Ok(())),
            (a, b, 4, Ok(())),
            (a, b, 7, Err(RejectReason::InsufficientFunds)),
            (b, Entry::External, 5, Err(RejectReason::InsufficientFunds)),
            (b, Entry::External, 4, Ok(())),
            (a, a, 6, Ok(())),
            (a, b, 0, Err(RejectReason::BadField)),
            (a, b, -1, Err(RejectReason::BadField)),
            (
                Entry::External,
                b,
                i64::MAX,
                Err(RejectReason::LimitReached),
            ),
        ];
        for (from, to, amount, expected) in moves {
            assert_eq!(ledger.transfer(from, to, amount), expected, "{amount}");
            assert_eq!(ledger.sum(), 0);
        }
        assert_eq!((ledger.cash(0), ledger.cash(1)), (6, 0));
    }
}
