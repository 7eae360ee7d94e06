//! Contracts in a snapshot: said to be there, and not yet restored.
//!
//! An exchange with pools, limits or group orders is saved with this section, which no program restores;
//! so whoever verifies the snapshot finds out, and a restart goes through the journal.

use crate::exchange::Exchange;
use crate::snapshot::{Reader, SnapshotError, Writer};

impl Exchange {
    pub(crate) fn save_contracts(&self, writer: &mut Writer) {
        if !self.contracts.is_empty() {
            writer.u8(0);
        }
    }

    #[expect(clippy::unused_self, reason = "a section's way back")]
    pub(crate) fn restore_contracts(
        &mut self,
        reader: &mut Reader<'_>,
    ) -> Result<(), SnapshotError> {
        Err(reader.bad("pools, leases and group orders are not restored by this version"))
    }
}
