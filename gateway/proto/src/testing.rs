//! What the tests of several modules share.

/// A small generator of numbers that only have to differ: SplitMix64, so that a test's input depends
/// on its seed alone.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    /// Fills `bytes`; about one byte in `sparse` is random, the others are 0 or 1, so that codes and
    /// flags are often valid.
    pub(crate) fn fill(&mut self, bytes: &mut [u8], sparse: usize) {
        for byte in bytes {
            let random = self.next().to_le_bytes();
            *byte = if self.below(sparse) == 0 {
                random[0]
            } else {
                random[1] & 1
            };
        }
    }
}
