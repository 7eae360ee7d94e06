//! Two books compared in four bytes.

use tessera_types::Side;

use crate::book::L2Book;

/// How many levels of each side the checksum covers.
pub const CHECKSUM_DEPTH: usize = 10;

/// CRC-32C (Castagnoli, as in iSCSI and the journal) of the ten best levels of both sides.
///
/// The bytes are, all integers little-endian:
///
/// | offset | field | width | unit |
/// |---:|---|---:|---|
/// | 0 | number of bid levels `b`, 0 to 10 | 1 | |
/// | 1 | number of ask levels `a`, 0 to 10 | 1 | |
/// | 2 | `b` bid levels, best (highest) first, 20 bytes each | 20 b | |
/// | 2 + 20 b | `a` ask levels, best (lowest) first, 20 bytes each | 20 a | |
///
/// and of each level:
///
/// | offset | field | width | unit |
/// |---:|---|---:|---|
/// | 0 | price, signed | 8 | ticks |
/// | 8 | visible quantity | 8 | lots |
/// | 16 | number of orders | 4 | |
///
/// An empty book is the two bytes `00 00`.
#[must_use]
pub fn checksum(book: &L2Book) -> u32 {
    let mut bytes = [0u8; MAX_BYTES];
    let mut at = 2;
    for (count_at, side) in [(0, Side::Buy), (1, Side::Sell)] {
        for entry in book.levels(side).take(CHECKSUM_DEPTH) {
            bytes[count_at] += 1;
            bytes[at..at + 8].copy_from_slice(&entry.price.ticks().to_le_bytes());
            bytes[at + 8..at + 16].copy_from_slice(&entry.qty.lots().to_le_bytes());
            bytes[at + 16..at + 20].copy_from_slice(&entry.orders.to_le_bytes());
            at += LEVEL_BYTES;
        }
    }
    crc32c::crc32c(&bytes[..at])
}

const LEVEL_BYTES: usize = 20;
const MAX_BYTES: usize = 2 + 2 * CHECKSUM_DEPTH * LEVEL_BYTES;

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use tessera_types::{Price, Qty};

    use super::*;
    use crate::book::Level;

    fn book(levels: &[(Side, i64, u64, u32)]) -> L2Book {
        let mut book = L2Book::default();
        for &(side, price, qty, orders) in levels {
            let level = Level {
                qty: Qty::from_lots(qty),
                orders,
            };
            book.set(side, Price::from_ticks(price), level);
        }
        book
    }

    /// The definition above, written a second time without the fixed buffer.
    fn by_the_table(levels: [&[(i64, u64, u32)]; 2]) -> u32 {
        let mut bytes: Vec<u8> = levels
            .iter()
            .map(|side| u8::try_from(side.len()).unwrap())
            .collect();
        for &(price, qty, orders) in levels.into_iter().flatten() {
            bytes.extend(price.to_le_bytes());
            bytes.extend(qty.to_le_bytes());
            bytes.extend(orders.to_le_bytes());
        }
        crc32c::crc32c(&bytes)
    }

    #[test]
    fn golden_values() {
        let two_sided = book(&[
            (Side::Buy, 99, 5, 2),
            (Side::Buy, -98, 7, 1),
            (Side::Sell, 101, 3, 1),
        ]);
        let table = by_the_table([&[(99, 5, 2), (-98, 7, 1)], &[(101, 3, 1)]]);
        assert_eq!(checksum(&two_sided), table);
        expect!["0xf16177d2 0xebda8a2c"].assert_eq(&format!(
            "{:#010x} {:#010x}",
            checksum(&L2Book::default()),
            checksum(&two_sided)
        ));
    }

    #[test]
    fn every_field_within_ten_levels_counts_and_nothing_below() {
        let deep: Vec<_> = (0..12)
            .flat_map(|i| [(Side::Buy, 100 - i, 5, 1), (Side::Sell, 101 + i, 5, 1)])
            .collect();
        let reference = checksum(&book(&deep));
        for (at, &(side, price, qty, orders)) in deep.iter().enumerate() {
            let counted = at / 2 < CHECKSUM_DEPTH;
            for changed in [
                (side, price, qty + 1, orders),
                (side, price, qty, orders + 1),
            ] {
                let mut levels = deep.clone();
                levels[at] = changed;
                assert_eq!(checksum(&book(&levels)) != reference, counted, "level {at}");
            }
        }
    }

    #[test]
    fn a_level_that_changes_sides_changes_the_sum() {
        assert_ne!(
            checksum(&book(&[(Side::Buy, 99, 5, 2)])),
            checksum(&book(&[(Side::Sell, 99, 5, 2)]))
        );
    }
}
