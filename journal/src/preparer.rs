//! The preparer's part: segments made ahead, so that neither the journal thread nor the sync thread ever
//! waits for block allocation or a page fault on fresh pages.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::segment::{
    FORMAT, HEADER_BYTES, HEADER_SECTOR, MIN_READER, NameBuf, SegmentHeader, Watermark,
};
use crate::status::{Segment, Shared};
use crate::storage::{Access, MapAccess, Storage, write_all};

/// Keeps segments ready. Owned by one thread, or called between other work.
pub struct Preparer {
    shared: Arc<Shared>,
}

/// Why the next segment could not be made. The journal goes on with those that are ready.
#[derive(Debug, thiserror::Error)]
#[error("{what} of {name} in {directory}: {source}")]
pub struct PrepareError {
    /// Which call.
    pub what: &'static str,
    /// The file.
    pub name: String,
    /// The journal's directory.
    pub directory: String,
    /// What the system said.
    pub source: io::Error,
}

impl Preparer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Prepares one segment if fewer are ready than configured; true if it did.
    ///
    /// # Errors
    /// [`PrepareError`], after removing the unfinished file; the call may be repeated later, for instance
    /// when there is room on the disk again.
    pub fn prepare_if_needed(&mut self) -> Result<bool, PrepareError> {
        let shared = &self.shared;
        let segment_no = {
            let ready = shared.ready();
            if ready.queue.len() >= shared.config.segments_ahead
                || ready.closed
                || shared.is_poisoned()
            {
                return Ok(false);
            }
            ready.next_no
        };
        let header = SegmentHeader {
            segment_no,
            segment_bytes: shared.config.segment_bytes,
            created_ns: (shared.config.wall_clock)().nanos(),
            rules_version: shared.rules(),
            ..shared.identity.clone()
        };
        let made = prepare(&*shared.storage, &header);
        let mut ready = shared.ready();
        match made {
            Ok(segment) => {
                ready.queue.push_back(Arc::new(segment));
                ready.next_no = segment_no + 1;
                ready.error = None;
                Ok(true)
            }
            Err(error) => {
                ready.error = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Waits until a segment is wanted, the journal has ended, or the time is over.
    pub fn wait(&self, timeout: Duration) {
        self.shared.wait_for_want(timeout);
    }

    /// True after the clean end; the thread may go.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.shared.ready().closed
    }
}

/// Makes a segment under its `.ready` name, mapped, populated and synced.
pub(crate) fn prepare(
    storage: &dyn Storage,
    header: &SegmentHeader,
) -> Result<Segment, PrepareError> {
    let new = NameBuf::new_file(header.segment_no);
    let ready = NameBuf::ready(header.segment_no);
    let failed = |what, source| PrepareError {
        what,
        name: new.as_str().to_owned(),
        directory: storage.path().display().to_string(),
        source,
    };
    match storage.remove(new.as_str()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("removal", error));
        }
        _ => {}
    }
    let file = storage
        .create(new.as_str())
        .map_err(|source| failed("creation", source))?;
    let filled = (|| {
        file.preallocate(header.segment_bytes)
            .map_err(|source| failed("allocation", source))?;
        write_pages(&*file, header).map_err(|source| failed("filling", source))?;
        file.sync().map_err(|source| failed("sync", source))?;
        storage
            .rename(new.as_str(), ready.as_str())
            .map_err(|source| failed("rename", source))?;
        storage
            .sync_dir("")
            .map_err(|source| failed("sync of the directory", source))
    })();
    if let Err(error) = filled {
        // Give the blocks back; if even that fails, the next start does it.
        let _ = storage.remove(new.as_str());
        return Err(error);
    }
    let mapped = map_segment(file, header.clone(), MapAccess::Populated).and_then(|segment| {
        // Populating for writing dirties every page; without this sync the first group pays for them.
        segment.file.sync()?;
        Ok(segment)
    });
    mapped.map_err(|source| failed("mapping", source))
}

/// Opens a segment that a former process left. Its pages are only read: writing them all again, at each
/// start, would cost more than the faults it saves.
pub(crate) fn adopt(
    storage: &dyn Storage,
    name: &str,
    header: SegmentHeader,
) -> Result<Segment, PrepareError> {
    let failed = |what, source| PrepareError {
        what,
        name: name.to_owned(),
        directory: storage.path().display().to_string(),
        source,
    };
    let file = storage
        .open(name, Access::Write)
        .map_err(|source| failed("opening", source))?;
    map_segment(file, header, MapAccess::Warm).map_err(|source| failed("mapping", source))
}

/// The header of the first segment of a new journal.
pub(crate) fn first_header(
    config: &crate::Config,
    cluster_id: [u8; 16],
    hash_seed: [u8; 32],
) -> SegmentHeader {
    SegmentHeader {
        format: FORMAT,
        min_reader: MIN_READER,
        cluster_id,
        shard: config.shard,
        segment_no: 0,
        segment_bytes: config.segment_bytes,
        created_ns: (config.wall_clock)().nanos(),
        hash_seed,
        rules_version: config.rules_version,
    }
}

fn map_segment(
    file: Box<dyn crate::storage::File>,
    header: SegmentHeader,
    how: MapAccess,
) -> io::Result<Segment> {
    let bytes = usize::try_from(header.segment_bytes).map_err(io::Error::other)?;
    let region = file.map(bytes, how)?;
    Ok(Segment {
        header,
        file,
        region,
    })
}

/// Real zeros, page by page: first writes into blocks that are only reserved need a metadata commit at
/// each sync, and a file filled with large writes sits in large folios, of which a sync writes the whole.
fn write_pages(file: &dyn crate::storage::File, header: &SegmentHeader) -> io::Result<()> {
    let mut page = [0; HEADER_BYTES];
    page[..HEADER_SECTOR].copy_from_slice(&header.encode());
    for generation in [0, 1] {
        let at = Watermark::slot_offset(generation);
        let mark = Watermark {
            generation,
            ..Watermark::default()
        };
        page[at..at + 64].copy_from_slice(&mark.encode());
    }
    write_all(file, 0, &page)?;
    let zeros = [0; HEADER_BYTES];
    for offset in (HEADER_BYTES as u64..header.segment_bytes).step_by(HEADER_BYTES) {
        write_all(file, offset, &zeros)?;
    }
    Ok(())
}
