//! What may be done with a journal as it was found: the decision table. Pure.
//!
//! Let `s` be the sequence expected at the first slot that is not a valid record, and `H` the highest
//! position known to have been on disk.
//!
//! | Found | Verdict |
//! |---|---|
//! | all zero from `s` on, `s > H` | clean |
//! | zero or unfinished slot at `s`, anything non-zero from there on, `s > H` | torn: cut |
//! | finished slot with a bad checksum at `s`, `s > H` | corrupt: an operator decides |
//! | any of these with `s <= H` | corrupt |
//! | a rule broken behind a good checksum (sequence, epoch, chain, order), anywhere | corrupt |
//!
//! A slot is a cache line and its stores are ordered, so a crash leaves zero, unfinished or finished
//! slots. A finished record with a wrong checksum is therefore damage, never a tear.

use std::fmt;

use tessera_types::Seq;

/// What stands where the next record was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// Nothing but zeros.
    Zero,
    /// A commit word or mark is zero and something else is not.
    Unfinished,
    /// Finished, and its checksum or length is wrong.
    Damaged,
    /// Its checksum is good and it breaks a rule of the format.
    Broken,
}

/// What the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on behind the last record.
    Clean,
    /// Cut everything from here on; nothing acknowledged is in it.
    Cut,
    /// Stop; an operator may accept the loss of the tail.
    Ask,
    /// Stop; acknowledged records are damaged or missing.
    Stop,
}

impl Decision {
    /// The table. `rest_is_zero` covers everything behind the slot, following segments included;
    /// `above_mark` is `s > H`.
    #[must_use]
    pub const fn of(slot: SlotState, rest_is_zero: bool, above_mark: bool) -> Self {
        match (slot, rest_is_zero, above_mark) {
            (SlotState::Broken, _, _) | (_, _, false) => Self::Stop,
            (SlotState::Zero, true, true) => Self::Clean,
            (SlotState::Zero | SlotState::Unfinished, _, true) => Self::Cut,
            (SlotState::Damaged, _, true) => Self::Ask,
        }
    }

    /// The verdict that goes with it.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Clean => Verdict::Clean,
            Self::Cut => Verdict::Torn,
            Self::Ask | Self::Stop => Verdict::Corrupt,
        }
    }
}

/// Verdict over a whole journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Every record is good.
    #[default]
    Clean,
    /// The tail will be cut at the next start; nothing acknowledged is missing.
    Torn,
    /// Something is damaged or missing; the exchange will not start on it.
    Corrupt,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clean => "clean",
            Self::Torn => "torn",
            Self::Corrupt => "corrupt",
        })
    }
}

/// The highest position known to have been on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HighMark {
    /// From the watermarks: segment number and end offset of the last durable record, so that journal
    /// records are covered too.
    pub position: Option<(u64, u64)>,
    /// From anything that only knows sequences: verified snapshots, peers, the `LIVE` page.
    pub seq: Seq,
}

impl HighMark {
    /// True if the record that would begin at (segment, offset) with sequence `seq` is above the mark,
    /// so that nobody was told about it.
    #[must_use]
    pub fn is_below(&self, segment_no: u64, offset: u64, seq: Seq) -> bool {
        self.position
            .is_none_or(|mark| (segment_no, offset) >= mark)
            && seq > self.seq
    }
}

/// One thing that is wrong, with everything needed to look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// Name of the segment file.
    pub segment: String,
    /// Bytes from its start.
    pub offset: u64,
    /// First bad sequence.
    pub seq: Seq,
    /// What should have been there.
    pub expected: String,
    /// What was.
    pub found: String,
    /// All of that in a sentence.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: at byte {}, record {}: {}",
            self.segment, self.offset, self.seq, self.message
        )
    }
}

/// Kinds of findings, as `tessera journal verify` prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words are the documentation, see `as_str`")]
pub enum FindingKind {
    Header,
    Name,
    MissingSegment,
    Order,
    Crc,
    Sequence,
    Epoch,
    Chain,
    StateHash,
    Signature,
    Watermark,
    Length,
    Payload,
}

impl FindingKind {
    /// The word in machine-readable output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Name => "name",
            Self::MissingSegment => "missing_segment",
            Self::Order => "order",
            Self::Crc => "crc",
            Self::Sequence => "sequence",
            Self::Epoch => "epoch",
            Self::Chain => "chain",
            Self::StateHash => "state_hash",
            Self::Signature => "signature",
            Self::Watermark => "watermark",
            Self::Length => "length",
            Self::Payload => "payload",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn the_whole_table() {
        let mut table = String::new();
        for slot in [
            SlotState::Zero,
            SlotState::Unfinished,
            SlotState::Damaged,
            SlotState::Broken,
        ] {
            for rest_is_zero in [true, false] {
                for above in [true, false] {
                    let decision = Decision::of(slot, rest_is_zero, above);
                    table += &format!(
                        "{slot:?}, rest {}, {}: {decision:?} ({})\n",
                        if rest_is_zero { "zero" } else { "not zero" },
                        if above { "s > H" } else { "s <= H" },
                        decision.verdict(),
                    );
                }
            }
        }
        expect![[r#"
            Zero, rest zero, s > H: Clean (clean)
            Zero, rest zero, s <= H: Stop (corrupt)
            Zero, rest not zero, s > H: Cut (torn)
            Zero, rest not zero, s <= H: Stop (corrupt)
            Unfinished, rest zero, s > H: Cut (torn)
            Unfinished, rest zero, s <= H: Stop (corrupt)
            Unfinished, rest not zero, s > H: Cut (torn)
            Unfinished, rest not zero, s <= H: Stop (corrupt)
            Damaged, rest zero, s > H: Ask (corrupt)
            Damaged, rest zero, s <= H: Stop (corrupt)
            Damaged, rest not zero, s > H: Ask (corrupt)
            Damaged, rest not zero, s <= H: Stop (corrupt)
            Broken, rest zero, s > H: Stop (corrupt)
            Broken, rest zero, s <= H: Stop (corrupt)
            Broken, rest not zero, s > H: Stop (corrupt)
            Broken, rest not zero, s <= H: Stop (corrupt)
        "#]]
        .assert_eq(&table);
    }

    #[test]
    fn the_mark_compares_offsets_in_its_segment_and_sequences_elsewhere() {
        let mark = HighMark {
            position: Some((2, 5000)),
            seq: Seq::new(40),
        };
        let is_below = |segment, offset, seq| mark.is_below(segment, offset, Seq::new(seq));
        assert!(is_below(2, 5000, 41));
        assert!(!is_below(2, 4999, 41));
        assert!(is_below(3, 4096, 41));
        assert!(!is_below(1, 9000, 41));
        assert!(!is_below(2, 5000, 40), "a snapshot holds that sequence");
        assert!(HighMark::default().is_below(0, 4096, Seq::new(1)));
    }
}
