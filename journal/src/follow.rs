//! Reading record by record, beside a running writer or over a journal at rest.

use std::sync::Arc;

use tessera_types::Seq;

use crate::open::known_seq;
use crate::reader::{Carry, Fault, Step, Walker, expected_name};
use crate::record::Record;
use crate::recovery::{Finding, FindingKind, SlotState};
use crate::scan::Scan;
use crate::segment::{FileName, NameBuf};
use crate::slot::read_u64;
use crate::storage::Storage;
use crate::survey::{
    ScanError, base_name, claimed_carry, joined, look_at_live, name_seq, open_segment,
};

/// Hands out the records of a journal one after the other, and no record that is not durable.
///
/// Beside a writer it stops at `durable`, as that stands at the moment of each question; without one it
/// stops at what the watermarks and a reliable `LIVE` page vouch for, or, if asked to, at the last good
/// record. It goes on over rotations and new epochs. The hash chain is not compared.
pub struct Follower {
    storage: Arc<dyn Storage>,
    walker: Option<(Walker, String)>,
    carry: Carry,
    limit: Limit,
    durable: Seq,
}

/// How far a follower reads while nobody writes the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Up to what is known to be on disk.
    Durable,
    /// Up to the last good record.
    Good,
}

/// What a follower has next.
#[derive(Debug)]
pub enum Next<'a> {
    /// A record, and the name of its segment file.
    Record(Record<'a>, &'a str),
    /// Nothing yet.
    Wait,
    /// Something that cannot be a record of this journal.
    Damaged(Finding),
}

impl Scan {
    /// Reads from the segment that holds `from`, whose earlier records come first; from the start of the
    /// last segment if nothing is asked for.
    ///
    /// # Errors
    /// [`ScanError`] if there is no journal or it cannot be read.
    pub fn follow(&self, from: Option<Seq>, limit: Limit) -> Result<Follower, ScanError> {
        Follower::open(self.storage(), from, limit)
    }
}

impl Follower {
    fn open(storage: Arc<dyn Storage>, from: Option<Seq>, limit: Limit) -> Result<Self, ScanError> {
        let mut names = segment_names(&*storage)?;
        let from = from.unwrap_or(Seq::new(u64::MAX));
        names.retain(|(seq, _)| *seq <= from.max(Seq::new(1)));
        let mut follower = Self {
            walker: None,
            carry: Carry::default(),
            limit,
            durable: Seq::ZERO,
            storage,
        };
        let Some((seq, name)) = names.pop() else {
            let (_, live) = look_at_live(&*follower.storage)?;
            if live.is_some_and(|live| live.is_started) {
                return Ok(follower);
            }
            let path = joined(&*follower.storage, "");
            return Err(ScanError::NoJournal { path });
        };
        if let Err(finding) = follower.enter(&name, seq)? {
            return Err(ScanError::Damaged {
                path: joined(&*follower.storage, ""),
                finding: Box::new(finding),
            });
        }
        Ok(follower)
    }

    /// The next record, as far as it may be seen.
    ///
    /// # Errors
    /// [`ScanError`] if a file cannot be read.
    pub fn poll(&mut self) -> Result<Next<'_>, ScanError> {
        loop {
            let Some((walker, _)) = &self.walker else {
                let name = expected_name(&self.carry);
                match self.enter(name.as_str(), self.carry.seq.next()) {
                    Ok(Ok(())) => continue,
                    Ok(Err(finding)) => return Ok(Next::Damaged(finding)),
                    // Between SegmentEnd and the rename.
                    Err(ScanError::Io { source, .. })
                        if source.kind() == std::io::ErrorKind::NotFound =>
                    {
                        return Ok(Next::Wait);
                    }
                    Err(error) => return Err(error),
                }
            };
            match walker.peek_seq() {
                Some(seq) if seq > self.durable => {
                    self.durable = self.look()?;
                    if seq > self.durable {
                        return Ok(Next::Wait);
                    }
                }
                Some(_) => break,
                None if walker.is_sealed() => {
                    self.carry = walker.carry();
                    self.walker = None;
                }
                None => return Ok(Next::Wait),
            }
        }
        // The walker is there: the loop ends nowhere else.
        let Some((walker, name)) = &mut self.walker else {
            return Ok(Next::Wait);
        };
        Ok(match walker.step() {
            Step::Record(record) => Next::Record(record, name),
            Step::Sealed => Next::Wait,
            Step::Stop(stop) if stop.state == SlotState::Zero => Next::Wait,
            Step::Stop(stop) => {
                let Fault {
                    kind,
                    expected,
                    found,
                    message,
                } = stop.fault;
                Next::Damaged(Finding {
                    kind,
                    segment: name.clone(),
                    offset: stop.offset as u64,
                    seq: Seq::ZERO,
                    expected,
                    found,
                    message,
                })
            }
        })
    }

    /// The last command that may be seen.
    fn look(&self) -> Result<Seq, ScanError> {
        let (writer, live) = look_at_live(&*self.storage)?;
        if writer.is_some() {
            return Ok(live.map_or(self.durable, |live| live.durable));
        }
        if self.limit == Limit::Good {
            return Ok(Seq::new(u64::MAX));
        }
        let mut known = known_seq(live.as_ref());
        for (seq, name) in segment_names(&*self.storage)?.into_iter().rev() {
            let segment = match open_segment(&*self.storage, &name, seq, true)? {
                Ok(segment) => segment,
                Err(_) => continue,
            };
            if let Some(mark) = segment.watermark().filter(|mark| mark.durable_offset > 0) {
                known = known.max(mark.durable_seq);
                break;
            }
        }
        Ok(known)
    }

    fn enter(&mut self, name: &str, seq: Seq) -> Result<Result<(), Finding>, ScanError> {
        let segment = match open_segment(&*self.storage, name, seq, true)? {
            Ok(segment) => segment,
            Err(finding) => return Ok(Err(finding)),
        };
        // At the first segment there is nothing to compare its claim with.
        let carry = if self.carry == Carry::default() {
            claimed_carry(&segment)
        } else {
            self.carry
        };
        if NameBuf::segment(carry.seq.next()).as_str() != base_name(name) {
            return Ok(Err(Finding {
                kind: FindingKind::Name,
                segment: name.to_owned(),
                offset: 0,
                seq,
                expected: NameBuf::segment(carry.seq.next()).as_str().to_owned(),
                found: name.to_owned(),
                message: "its first record names another first sequence".into(),
            }));
        }
        self.carry = carry;
        let walker = Walker::new(segment.region, segment.header, carry, false);
        self.walker = Some((walker, name.to_owned()));
        Ok(Ok(()))
    }
}

/// Names of the segments in use, by first sequence.
fn segment_names(storage: &dyn Storage) -> Result<Vec<(Seq, String)>, ScanError> {
    let entries = storage.list("").map_err(|source| ScanError::Io {
        path: joined(storage, ""),
        source,
    })?;
    let mut names: Vec<_> = entries
        .into_iter()
        .filter(|entry| matches!(FileName::parse(&entry.name), Ok(Some(FileName::Segment(_)))))
        .map(|entry| (name_seq(&entry.name), entry.name))
        .collect();
    names.sort();
    Ok(names)
}

impl Walker {
    /// Sequence of the record that stands next, if there is a finished one.
    fn peek_seq(&self) -> Option<Seq> {
        let first = self.first_slot()?;
        (read_u64(&first, 0) & 0xffff_ffff != 0).then(|| Seq::new(read_u64(&first, 8)))
    }
}
