//! The client's side: the same book as the exchange's, or the word that it is not there now.
//!
//! ```text
//!                    usable snapshot
//! AwaitingSnapshot ───────────────────▶ Live ──┐ in order
//!        │                              ▲ │ ▲──┘
//!        │ gap, bad checksum,           │ │ gap, bad checksum, new epoch,
//!        │ new epoch, overflow: stays   │ ▼ overflow, reset
//!        │                usable snapshot Resyncing
//!        └──── end ────▶ Ended ◀──── end ──┘
//! ```

use std::collections::VecDeque;

use tessera_types::{InstrumentId, Phase, Seq, Timestamp};

use crate::book::{L2Book, Level};
use crate::checksum::checksum;
use crate::increment::{Increment, IncrementKind};
use crate::snapshot::{BookSnapshot, LastTrade};

/// One instrument's book, rebuilt from a snapshot and increments.
///
/// The book is shown only while it is exact: [`book`](Self::book) answers in state
/// [`MirrorState::Live`] and only with books that the exchange had between two commands. Increments
/// of a command are therefore held until its last fragment. When something is missing the state
/// becomes [`MirrorState::Resyncing`], increments are kept, and the caller has to ask for a new
/// snapshot.
///
/// On a stream that loses its tail nothing can be seen here; [`ChannelTracker`] sees it by the
/// channel's heartbeats, and [`on_channel_gap`](Self::on_channel_gap) then says so to the mirror.
#[derive(Clone, Debug)]
pub struct Mirror {
    instrument: InstrumentId,
    state: MirrorState,
    book: L2Book,
    phase: Phase,
    last_trade: Option<LastTrade>,
    seq: Seq,
    time: Timestamp,
    epoch: u64,
    /// Channel sequence up to which everything is taken in, staged increments included.
    channel_seq: u64,
    /// This instrument's number up to which everything is taken in, staged increments included.
    rpt_seq: u32,
    /// The command being taken in.
    stage: Vec<Increment>,
    /// Increments that wait for a snapshot, without holes.
    pending: VecDeque<Increment>,
    /// Epoch and channel sequence below which a snapshot is known to be old.
    floor: (u64, u64),
    pending_max: usize,
}

/// What a mirror can say about its book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorState {
    /// No book yet.
    AwaitingSnapshot,
    /// The book is exact as of the newest complete command.
    Live,
    /// The book was lost and a new snapshot is needed.
    Resyncing(ResyncReason),
    /// The subscription is over.
    Ended,
}

/// Why a book was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResyncReason {
    /// Increments are missing.
    Gap,
    /// The checksum says that the books differ.
    Checksum,
    /// The channel began a new life.
    Epoch,
    /// More increments were waiting than may.
    Overflow,
    /// The channel was reset.
    Reset,
}

/// What can happen to a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorInput {
    /// A snapshot that the waiting increments continue.
    Snapshot,
    /// A snapshot from before a gap.
    StaleSnapshot,
    /// The next increment.
    InOrder,
    /// The book is to be given up.
    Lost(ResyncReason),
    /// The subscription is over.
    End,
}

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// It was a repetition, of another instrument, or came after the end.
    Ignored,
    /// It waits for a snapshot.
    Buffered,
    /// It waits for the last fragment of its command.
    Staged,
    /// The book is new and exact.
    Applied,
    /// The book is lost (still or again): ask for a snapshot.
    SnapshotNeeded(ResyncReason),
}

impl MirrorState {
    /// The next state. Pure.
    #[must_use]
    pub const fn next(self, input: MirrorInput) -> Self {
        use MirrorInput::{End, InOrder, Lost, Snapshot, StaleSnapshot};
        match (self, input) {
            (Self::Ended, _) | (_, End) => Self::Ended,

            (Self::AwaitingSnapshot | Self::Resyncing(_) | Self::Live, Snapshot) => Self::Live,
            (Self::AwaitingSnapshot, StaleSnapshot) => Self::Resyncing(ResyncReason::Gap),
            (Self::Resyncing(reason), StaleSnapshot) => Self::Resyncing(reason),
            // A snapshot older than a live book is a repetition.
            (Self::Live, StaleSnapshot) => Self::Live,

            (Self::Live, Lost(reason)) => Self::Resyncing(reason),
            // Nothing to lose yet: the increments that are kept just start later.
            (Self::AwaitingSnapshot, Lost(_)) => Self::AwaitingSnapshot,
            // The first reason is the one that explains the state.
            (Self::Resyncing(reason), Lost(_)) => Self::Resyncing(reason),

            (state, InOrder) => state,
        }
    }
}

impl Mirror {
    /// Increments that a mirror keeps while it waits for a snapshot, unless told otherwise.
    pub const PENDING_MAX: usize = 65_536;

    /// A mirror without a book.
    #[must_use]
    pub fn new(instrument: InstrumentId) -> Self {
        Self::with_pending_max(instrument, Self::PENDING_MAX)
    }

    /// A mirror that keeps at most `pending_max` increments (at least one) at a time.
    #[must_use]
    pub fn with_pending_max(instrument: InstrumentId, pending_max: usize) -> Self {
        Self {
            instrument,
            state: MirrorState::AwaitingSnapshot,
            book: L2Book::new(),
            phase: Phase::Continuous,
            last_trade: None,
            seq: Seq::ZERO,
            time: Timestamp::ZERO,
            epoch: 0,
            channel_seq: 0,
            rpt_seq: 0,
            stage: Vec::new(),
            pending: VecDeque::new(),
            floor: (0, 0),
            pending_max: pending_max.max(1),
        }
    }

    /// Takes an increment, of whatever instrument.
    pub fn on_increment(&mut self, increment: &Increment) -> Update {
        if increment.instrument != self.instrument || increment.kind == IncrementKind::EndOfEvent {
            return Update::Ignored;
        }
        match self.state {
            MirrorState::Ended => Update::Ignored,
            MirrorState::Live => self.on_live(increment),
            MirrorState::AwaitingSnapshot | MirrorState::Resyncing(_) => self.wait(increment),
        }
    }

    /// Takes a snapshot, of whatever instrument, and then the increments that waited for it.
    pub fn on_snapshot(&mut self, snapshot: &BookSnapshot) -> Update {
        if snapshot.instrument != self.instrument || self.state == MirrorState::Ended {
            return Update::Ignored;
        }
        let at = (snapshot.epoch, snapshot.last_seq_applied);
        if self.state == MirrorState::Live && at <= (self.epoch, self.channel_seq) {
            self.state = self.state.next(MirrorInput::StaleSnapshot);
            return Update::Ignored;
        }
        if at < self.floor {
            return self.stale();
        }
        if let Some(last) = self.pending.back() {
            if snapshot.epoch < last.epoch {
                return self.stale();
            }
            while let Some(first) = self.pending.front()
                && (first.epoch, first.channel_seq) <= at
            {
                self.pending.pop_front();
            }
            if let Some(first) = self.pending.front()
                && (first.epoch != snapshot.epoch
                    || first.rpt_seq != snapshot.rpt_seq.wrapping_add(1))
            {
                return self.stale();
            }
        }
        self.state = self.state.next(MirrorInput::Snapshot);
        self.stage.clear();
        self.book = snapshot.book();
        self.phase = snapshot.phase;
        // A snapshot may come without it; what was seen before still happened.
        self.last_trade = snapshot.last_trade.or(self.last_trade);
        self.seq = snapshot.seq;
        self.time = snapshot.time;
        self.epoch = snapshot.epoch;
        self.channel_seq = snapshot.last_seq_applied;
        self.rpt_seq = snapshot.rpt_seq;
        let mut waiting = std::mem::take(&mut self.pending);
        for increment in waiting.drain(..) {
            // After a loss in between this goes back to `pending`.
            self.on_increment(&increment);
        }
        match self.state {
            MirrorState::Resyncing(reason) => Update::SnapshotNeeded(reason),
            _ => Update::Applied,
        }
    }

    /// Gives the book up because the channel was reset.
    pub fn on_reset(&mut self) -> Update {
        self.lose(ResyncReason::Reset)
    }

    /// Gives the book up because a [`ChannelTracker`] saw a gap, in which there may have been
    /// increments of this instrument. A snapshot from before the end of the gap is not taken.
    pub fn on_channel_gap(&mut self, gap: ChannelGap) -> Update {
        self.floor = self.floor.max((gap.epoch, gap.to.saturating_sub(1)));
        self.lose(ResyncReason::Gap)
    }

    /// The subscription is over.
    pub fn on_end(&mut self) {
        self.state = self.state.next(MirrorInput::End);
        self.pending = VecDeque::new();
        self.stage = Vec::new();
    }

    /// What the mirror can say.
    #[must_use]
    pub const fn state(&self) -> MirrorState {
        self.state
    }

    /// The exchange's book after [`seq`](Self::seq), or nothing when that is not known exactly.
    #[must_use]
    pub fn book(&self) -> Option<&L2Book> {
        (self.state == MirrorState::Live).then_some(&self.book)
    }

    /// The phase, or nothing when it is not known.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        (self.state == MirrorState::Live).then_some(self.phase)
    }

    /// The last trade seen, of a lost book too: it happened.
    #[must_use]
    pub const fn last_trade(&self) -> Option<LastTrade> {
        self.last_trade
    }

    /// The instrument.
    #[must_use]
    pub const fn instrument(&self) -> InstrumentId {
        self.instrument
    }

    /// The engine command that the book is the result of.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// That command's time, from which the age of the book is known.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    fn on_live(&mut self, increment: &Increment) -> Update {
        if (increment.epoch, increment.channel_seq) <= (self.epoch, self.channel_seq) {
            return Update::Ignored;
        }
        if increment.epoch != self.epoch {
            return self.lose_at(ResyncReason::Epoch, increment);
        }
        if increment.rpt_seq != self.rpt_seq.wrapping_add(1) {
            return self.lose_at(ResyncReason::Gap, increment);
        }
        if self.stage.len() >= self.pending_max {
            return self.lose_at(ResyncReason::Overflow, increment);
        }
        self.state = self.state.next(MirrorInput::InOrder);
        self.channel_seq = increment.channel_seq;
        self.rpt_seq = increment.rpt_seq;
        self.stage.push(*increment);
        if increment.last_fragment {
            self.apply_stage()
        } else {
            Update::Staged
        }
    }

    fn apply_stage(&mut self) -> Update {
        for at in 0..self.stage.len() {
            let increment = self.stage[at];
            match increment.kind {
                IncrementKind::Level {
                    side,
                    price,
                    qty,
                    orders,
                    ..
                } => {
                    self.book.set(side, price, Level { qty, orders });
                }
                IncrementKind::Trade { price, qty, .. } => {
                    let time = increment.time;
                    self.last_trade = Some(LastTrade { price, qty, time });
                }
                IncrementKind::Status { phase } => self.phase = phase,
                IncrementKind::Listed => {
                    self.book.clear();
                    self.phase = Phase::Continuous;
                }
                IncrementKind::Checksum { crc } => {
                    if crc != checksum(&self.book) {
                        return self.lose(ResyncReason::Checksum);
                    }
                }
                IncrementKind::EndOfEvent => {}
            }
            self.seq = increment.seq;
            self.time = increment.time;
        }
        self.stage.clear();
        Update::Applied
    }

    /// Keeps an increment until a snapshot comes. A hole makes everything before it useless.
    fn wait(&mut self, increment: &Increment) -> Update {
        if let Some(last) = self.pending.back() {
            if (increment.epoch, increment.channel_seq) <= (last.epoch, last.channel_seq) {
                return Update::Ignored;
            }
            let reason = if increment.epoch != last.epoch {
                Some(ResyncReason::Epoch)
            } else if increment.rpt_seq != last.rpt_seq.wrapping_add(1) {
                Some(ResyncReason::Gap)
            } else if self.pending.len() >= self.pending_max {
                Some(ResyncReason::Overflow)
            } else {
                None
            };
            if let Some(reason) = reason {
                return self.lose_at(reason, increment);
            }
        }
        self.state = self.state.next(MirrorInput::InOrder);
        self.pending.push_back(*increment);
        Update::Buffered
    }

    /// Gives the book up and keeps the increment that showed it as the first to wait.
    fn lose_at(&mut self, reason: ResyncReason, increment: &Increment) -> Update {
        let update = self.lose(reason);
        self.pending.push_back(*increment);
        update
    }

    fn lose(&mut self, reason: ResyncReason) -> Update {
        self.state = self.state.next(MirrorInput::Lost(reason));
        self.floor = self.floor.max((self.epoch, self.channel_seq));
        self.stage.clear();
        self.pending.clear();
        self.book.clear();
        self.needed()
    }

    fn stale(&mut self) -> Update {
        self.state = self.state.next(MirrorInput::StaleSnapshot);
        self.needed()
    }

    const fn needed(&self) -> Update {
        match self.state {
            MirrorState::Resyncing(reason) => Update::SnapshotNeeded(reason),
            // The first snapshot is on its way, or the subscription is over.
            _ => Update::Ignored,
        }
    }
}

/// Sees what is missing in a channel that is read in full, increments of all instruments included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelTracker {
    epoch: u64,
    next: u64,
}

/// Numbers of a channel that never came. Every mirror fed by it has lost its book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelGap {
    /// The life of the channel; higher than before when that is what happened.
    pub epoch: u64,
    /// First number missing.
    pub from: u64,
    /// The number after the last one missing.
    pub to: u64,
}

impl ChannelTracker {
    /// A tracker that takes the first number it sees as the beginning.
    #[must_use]
    pub const fn new() -> Self {
        Self { epoch: 0, next: 0 }
    }

    /// Takes the numbers of an increment.
    pub fn on_increment(&mut self, increment: &Increment) -> Option<ChannelGap> {
        let gap = self.on_heartbeat(increment.epoch, increment.channel_seq);
        if increment.epoch == self.epoch {
            self.next = self.next.max(increment.channel_seq + 1);
        }
        gap
    }

    /// Takes a heartbeat, which carries the number that the channel's next increment will have.
    pub fn on_heartbeat(&mut self, epoch: u64, next: u64) -> Option<ChannelGap> {
        if epoch < self.epoch || (epoch == self.epoch && next <= self.next) {
            return None; // a repetition
        }
        let first = self.next == 0;
        let from = if epoch == self.epoch { self.next } else { 1 };
        let new_life = epoch != self.epoch;
        self.epoch = epoch;
        self.next = next;
        (!first && (new_life || from < next)).then_some(ChannelGap {
            epoch,
            from,
            to: next,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::expect;
    use proptest::prelude::*;
    use tessera_types::{Price, Qty, Side};

    use super::*;
    use crate::testing::{Feed, commands};

    #[test]
    fn every_transition() {
        use MirrorInput::{End, InOrder, Lost, Snapshot, StaleSnapshot};
        let states = [
            MirrorState::AwaitingSnapshot,
            MirrorState::Live,
            MirrorState::Resyncing(ResyncReason::Checksum),
            MirrorState::Ended,
        ];
        let inputs = [
            Snapshot,
            StaleSnapshot,
            InOrder,
            Lost(ResyncReason::Gap),
            Lost(ResyncReason::Checksum),
            Lost(ResyncReason::Epoch),
            Lost(ResyncReason::Overflow),
            Lost(ResyncReason::Reset),
            End,
        ];
        let mut table = String::new();
        for state in states {
            for input in inputs {
                let (from, with) = (format!("{state:?}"), format!("{input:?}"));
                writeln!(table, "{from:<19} {with:<14} {:?}", state.next(input)).unwrap();
            }
        }
        expect![[r#"
            AwaitingSnapshot    Snapshot       Live
            AwaitingSnapshot    StaleSnapshot  Resyncing(Gap)
            AwaitingSnapshot    InOrder        AwaitingSnapshot
            AwaitingSnapshot    Lost(Gap)      AwaitingSnapshot
            AwaitingSnapshot    Lost(Checksum) AwaitingSnapshot
            AwaitingSnapshot    Lost(Epoch)    AwaitingSnapshot
            AwaitingSnapshot    Lost(Overflow) AwaitingSnapshot
            AwaitingSnapshot    Lost(Reset)    AwaitingSnapshot
            AwaitingSnapshot    End            Ended
            Live                Snapshot       Live
            Live                StaleSnapshot  Live
            Live                InOrder        Live
            Live                Lost(Gap)      Resyncing(Gap)
            Live                Lost(Checksum) Resyncing(Checksum)
            Live                Lost(Epoch)    Resyncing(Epoch)
            Live                Lost(Overflow) Resyncing(Overflow)
            Live                Lost(Reset)    Resyncing(Reset)
            Live                End            Ended
            Resyncing(Checksum) Snapshot       Live
            Resyncing(Checksum) StaleSnapshot  Resyncing(Checksum)
            Resyncing(Checksum) InOrder        Resyncing(Checksum)
            Resyncing(Checksum) Lost(Gap)      Resyncing(Checksum)
            Resyncing(Checksum) Lost(Checksum) Resyncing(Checksum)
            Resyncing(Checksum) Lost(Epoch)    Resyncing(Checksum)
            Resyncing(Checksum) Lost(Overflow) Resyncing(Checksum)
            Resyncing(Checksum) Lost(Reset)    Resyncing(Checksum)
            Resyncing(Checksum) End            Ended
            Ended               Snapshot       Ended
            Ended               StaleSnapshot  Ended
            Ended               InOrder        Ended
            Ended               Lost(Gap)      Ended
            Ended               Lost(Checksum) Ended
            Ended               Lost(Epoch)    Ended
            Ended               Lost(Overflow) Ended
            Ended               Lost(Reset)    Ended
            Ended               End            Ended
        "#]]
        .assert_eq(&table);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        /// A subscriber who joins anywhere, and whose snapshot comes any time after it was made, has
        /// the exchange's book at every event boundary from then on.
        #[test]
        fn a_mirror_that_joins_anywhere_is_exact(
            commands in commands(60),
            join in 0usize..60,
            made in 0usize..20,
            late in 0usize..60,
            every in 0u32..4,
        ) {
            let feed = Feed::run(&commands, every);
            let target = InstrumentId::new(0);
            let join = join.min(commands.len());
            let made_at = (join + made).min(commands.len());
            let comes_at = made_at + late;
            let mut mirror = Mirror::new(target);
            for at in join..=commands.len() {
                if at == comes_at.min(commands.len()) && let Some(snapshot) = feed.snapshot(made_at, target) {
                    prop_assert_eq!(mirror.on_snapshot(&snapshot), Update::Applied);
                    prop_assert_eq!(mirror.book(), Some(feed.book(at, target)), "after the snapshot");
                }
                let Some(increments) = feed.increments.get(at) else { break };
                for increment in increments {
                    let update = mirror.on_increment(increment);
                    prop_assert!(!matches!(update, Update::SnapshotNeeded(_)), "{update:?}");
                    if let Some(book) = mirror.book() {
                        prop_assert_eq!(book, feed.book_at_seq(mirror.seq(), target));
                    }
                }
                if let Some(book) = mirror.book() {
                    prop_assert_eq!(book, feed.book(at + 1, target), "after command {}", at);
                    prop_assert_eq!(mirror.phase(), feed.phase(at + 1, target));
                }
            }
            if feed.snapshot(made_at, target).is_some() {
                prop_assert_eq!(mirror.state(), MirrorState::Live);
            }
        }

        /// With increments lost and repeated, a mirror shows the book of the newest command it got
        /// something of, or none; and after a heartbeat and a snapshot it is exact again.
        #[test]
        fn a_loss_is_seen_with_the_next_increment(
            commands in commands(60),
            fate in prop::collection::vec(0u8..12, 1000),
        ) {
            let feed = Feed::run(&commands, 1);
            let target = InstrumentId::new(0);
            let mut mirror = Mirror::new(target);
            let mut tracker = ChannelTracker::new();
            let mut fate = fate.into_iter().cycle();
            let mut lost_own = false;
            for (at, increments) in feed.increments.iter().enumerate() {
                for increment in increments {
                    let own = increment.instrument == target && increment.kind != IncrementKind::EndOfEvent;
                    match fate.next() {
                        Some(0) => {
                            lost_own |= own;
                            continue;
                        }
                        Some(1) => {
                            mirror.on_increment(increment);
                            let again = mirror.on_increment(increment);
                            prop_assert!(matches!(again, Update::Ignored | Update::SnapshotNeeded(_)), "{again:?}");
                        }
                        _ => { mirror.on_increment(increment); }
                    }
                    if own && lost_own && mirror.state() == MirrorState::Live {
                        return Err(TestCaseError::fail("a gap went unnoticed"));
                    }
                    lost_own &= !own;
                    if let Some(book) = mirror.book() {
                        prop_assert_eq!(book, feed.book_at_seq(mirror.seq(), target));
                    }
                    tracker.on_increment(increment);
                }
                if !matches!(mirror.state(), MirrorState::Live) && let Some(snapshot) = feed.snapshot(at + 1, target) {
                    mirror.on_snapshot(&snapshot);
                    lost_own = false;
                    prop_assert_eq!(mirror.book(), Some(feed.book(at + 1, target)));
                }
            }
            if let Some(gap) = tracker.on_heartbeat(1, feed.next_channel_seq) {
                mirror.on_channel_gap(gap);
                prop_assert_eq!(mirror.book(), None);
                if let Some(old) = feed.snapshot(0, target) {
                    prop_assert!(matches!(mirror.on_snapshot(&old), Update::SnapshotNeeded(_)));
                }
            }
            if let Some(snapshot) = feed.snapshot(commands.len(), target) {
                mirror.on_snapshot(&snapshot);
                prop_assert_eq!(mirror.book(), Some(feed.book(commands.len(), target)));
            }
        }

        /// A level that arrives other than it was sent is found out by the checksum of its command.
        #[test]
        fn a_wrong_level_is_found_by_the_checksum(commands in commands(40), which in any::<prop::sample::Index>()) {
            let feed = Feed::run(&commands, 1);
            let target = InstrumentId::new(0);
            let levels: Vec<u64> = feed.increments.iter().flatten()
                .filter(|i| i.instrument == target && matches!(i.kind, IncrementKind::Level { .. }))
                .map(|i| i.channel_seq)
                .collect();
            prop_assume!(!levels.is_empty());
            let wrong = levels[which.index(levels.len())];
            let mut mirror = Mirror::new(target);
            let mut snapshot_taken = false;
            for (at, increments) in feed.increments.iter().enumerate() {
                if !snapshot_taken && let Some(snapshot) = feed.snapshot(at, target) {
                    mirror.on_snapshot(&snapshot);
                    snapshot_taken = true;
                }
                for increment in increments {
                    let mut increment = *increment;
                    if increment.channel_seq == wrong && let IncrementKind::Level { qty, .. } = &mut increment.kind {
                        *qty = Qty::from_lots(qty.lots() + 1);
                    }
                    mirror.on_increment(&increment);
                }
                if increments.iter().any(|i| i.channel_seq == wrong) {
                    prop_assert_eq!(mirror.state(), MirrorState::Resyncing(ResyncReason::Checksum));
                    prop_assert_eq!(mirror.book(), None);
                    return Ok(());
                }
                prop_assert!(!snapshot_taken || mirror.state() == MirrorState::Live);
            }
        }
    }

    fn level(rpt_seq: u32, channel_seq: u64, epoch: u64) -> Increment {
        Increment {
            channel_seq,
            epoch,
            seq: Seq::new(channel_seq),
            time: Timestamp::ZERO,
            instrument: InstrumentId::new(0),
            rpt_seq,
            last_fragment: true,
            kind: IncrementKind::Level {
                side: Side::Buy,
                price: Price::from_ticks(i64::from(rpt_seq)),
                qty: Qty::from_lots(1),
                orders: 1,
                action: crate::LevelAction::New,
            },
        }
    }

    fn snapshot(rpt_seq: u32, last_seq_applied: u64, epoch: u64) -> BookSnapshot {
        BookSnapshot {
            request: 1,
            instrument: InstrumentId::new(0),
            epoch,
            last_seq_applied,
            rpt_seq,
            seq: Seq::new(last_seq_applied),
            time: Timestamp::ZERO,
            phase: Phase::Halt,
            bids: Vec::new(),
            asks: Vec::new(),
            last_trade: None,
        }
    }

    #[test]
    fn a_new_epoch_voids_the_book_until_its_snapshot() {
        let mut mirror = Mirror::new(InstrumentId::new(0));
        assert_eq!(mirror.on_snapshot(&snapshot(4, 9, 1)), Update::Applied);
        assert_eq!(mirror.phase(), Some(Phase::Halt));
        let needed = Update::SnapshotNeeded(ResyncReason::Epoch);
        assert_eq!(mirror.on_increment(&level(1, 1, 2)), needed);
        assert_eq!(mirror.book(), None);
        assert_eq!(
            mirror.on_snapshot(&snapshot(5, 10, 1)),
            Update::SnapshotNeeded(ResyncReason::Epoch)
        );
        assert_eq!(mirror.on_snapshot(&snapshot(0, 0, 2)), Update::Applied);
        assert_eq!(mirror.book().map(|book| book.depth(Side::Buy)), Some(1));
        assert_eq!(
            mirror.on_increment(&level(5, 10, 1)),
            Update::Ignored,
            "the old life"
        );
    }

    #[test]
    fn the_number_of_an_instrument_wraps() {
        let mut mirror = Mirror::new(InstrumentId::new(0));
        mirror.on_snapshot(&snapshot(u32::MAX - 1, 9, 1));
        assert_eq!(
            mirror.on_increment(&level(u32::MAX, 10, 1)),
            Update::Applied
        );
        assert_eq!(mirror.on_increment(&level(0, 11, 1)), Update::Applied);
    }

    #[test]
    fn waiting_increments_are_bounded() {
        let mut mirror = Mirror::with_pending_max(InstrumentId::new(0), 3);
        for n in 1..=5 {
            mirror.on_increment(&level(n, u64::from(n), 1));
        }
        // 1 to 3 were given up when 4 came; a snapshot that ends before 4 does not help.
        assert_eq!(
            mirror.on_snapshot(&snapshot(2, 2, 1)),
            Update::SnapshotNeeded(ResyncReason::Gap)
        );
        assert_eq!(mirror.on_snapshot(&snapshot(3, 3, 1)), Update::Applied);
        assert_eq!(mirror.seq(), Seq::new(5));
    }

    #[test]
    fn nothing_is_taken_after_the_end() {
        let mut mirror = Mirror::new(InstrumentId::new(0));
        mirror.on_snapshot(&snapshot(0, 0, 1));
        mirror.on_end();
        assert_eq!(mirror.on_increment(&level(1, 1, 1)), Update::Ignored);
        assert_eq!(mirror.on_snapshot(&snapshot(9, 9, 1)), Update::Ignored);
        assert_eq!((mirror.state(), mirror.book()), (MirrorState::Ended, None));
    }

    #[test]
    fn a_heartbeat_shows_the_loss_of_the_tail() {
        let mut tracker = ChannelTracker::new();
        assert_eq!(tracker.on_increment(&level(1, 7, 1)), None, "the beginning");
        assert_eq!(tracker.on_increment(&level(2, 8, 1)), None);
        assert_eq!(tracker.on_heartbeat(1, 9), None);
        let gap = |epoch, from, to| Some(ChannelGap { epoch, from, to });
        assert_eq!(tracker.on_heartbeat(1, 12), gap(1, 9, 12));
        assert_eq!(tracker.on_heartbeat(1, 12), None, "said once");
        assert_eq!(tracker.on_increment(&level(3, 12, 1)), None);
        assert_eq!(tracker.on_increment(&level(3, 15, 1)), gap(1, 13, 15));
        assert_eq!(
            tracker.on_increment(&level(3, 14, 1)),
            None,
            "late, already counted as lost"
        );
        assert_eq!(
            tracker.on_increment(&level(1, 1, 2)),
            gap(2, 1, 1),
            "a new life"
        );
        assert_eq!(tracker.on_increment(&level(1, 2, 2)), None);
    }
}
