//! Elements for the rings: as large as a sequenced command, and checkable.

use tessera_types::Sequenced;

/// Words of an element as large as a sequenced command, which is what the busiest rings carry.
pub const COMMAND_WORDS: usize = size_of::<Sequenced>().div_ceil(size_of::<u64>());

/// An element as large as a sequenced command, carrying `n` where both ends of it can be checked.
pub fn command_sized(n: u64) -> [u64; COMMAND_WORDS] {
    let mut words = [n; COMMAND_WORDS];
    words[COMMAND_WORDS - 1] = !n;
    words
}

/// The `n` of an element, if it arrived whole.
pub fn number_of(element: &[u64; COMMAND_WORDS]) -> Option<u64> {
    (element[COMMAND_WORDS - 1] == !element[0]).then_some(element[0])
}
