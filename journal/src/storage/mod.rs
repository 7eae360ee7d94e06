//! All file work of the journal goes through [`Storage`], so that the same code runs over real files
//! ([`Mapped`]) and over a disk whose failures and power cuts are scripted ([`memory::MemoryStorage`]).
//!
//! Names are relative to the journal's directory; `""` is the directory itself and one level of
//! sub-directories exists (`discard/...`).

pub mod mapped;
pub mod memory;
pub(crate) mod words;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use mapped::Mapped;
use words::Shipped;

use crate::slot::{SLOT_BYTES, Words, get_words, put_words};

/// A directory that holds one journal.
pub trait Storage: Send + Sync {
    /// The directory, for messages.
    fn path(&self) -> PathBuf;

    /// Entries of a directory, in any order.
    ///
    /// # Errors
    /// As the operating system says; `NotFound` for a sub-directory that does not exist.
    fn list(&self, directory: &str) -> io::Result<Vec<Entry>>;

    /// Makes a sub-directory unless it exists.
    ///
    /// # Errors
    /// As the operating system says.
    fn make_dir(&self, name: &str) -> io::Result<()>;

    /// Creates a file that must not exist, readable and writable by its owner.
    ///
    /// # Errors
    /// As the operating system says; `AlreadyExists` if there is one.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Opens a file that exists; symbolic links and directories are refused.
    ///
    /// # Errors
    /// As the operating system says.
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn File>>;

    /// Renames a file, replacing what had the new name.
    ///
    /// # Errors
    /// As the operating system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the operating system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// As the operating system says; after a failure nothing is known about the entries.
    fn sync_dir(&self, directory: &str) -> io::Result<()>;

    /// Takes the lock file for this process, creating it if necessary; held until the guard is dropped.
    ///
    /// # Errors
    /// [`LockError::Held`] with what the holder wrote into it.
    fn lock(&self, name: &str) -> Result<Box<dyn LockGuard>, LockError>;

    /// What the holder of the lock wrote into it; nothing if nobody holds it.
    ///
    /// # Errors
    /// As the operating system says.
    fn lock_holder(&self, name: &str) -> io::Result<Option<String>>;
}

/// One open file.
pub trait File: Send + Sync {
    /// Reserves blocks and sets the size.
    ///
    /// # Errors
    /// As the operating system says; `StorageFull` when there is no room.
    fn preallocate(&self, bytes: u64) -> io::Result<()>;

    /// Writes at an offset; may write less than asked.
    ///
    /// # Errors
    /// As the operating system says.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Reads at an offset; 0 at the end.
    ///
    /// # Errors
    /// As the operating system says.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;

    /// Size and identity.
    ///
    /// # Errors
    /// As the operating system says.
    fn stat(&self) -> io::Result<Stat>;

    /// Makes content and metadata durable.
    ///
    /// # Errors
    /// As the operating system says; the file must not be trusted after a failure.
    fn sync(&self) -> io::Result<()>;

    /// Makes the content durable.
    ///
    /// # Errors
    /// As the operating system says; the file must not be trusted after a failure.
    fn sync_data(&self) -> io::Result<()>;

    /// Maps the first `bytes` bytes, shared with every other mapping of the file.
    ///
    /// # Errors
    /// As the operating system says.
    fn map(&self, bytes: usize, how: MapAccess) -> io::Result<Region>;
}

/// A held lock; dropping it releases the lock.
pub trait LockGuard: Send + Sync {
    /// Replaces the text that names the holder.
    ///
    /// # Errors
    /// As the operating system says.
    fn write(&self, text: &str) -> io::Result<()>;
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another open journal holds it.
    #[error("held by {0}")]
    Held(String),
    /// The lock file cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry of a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else, symbolic links included.
    Other,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only reading.
    Read,
    /// Reading and writing.
    Write,
}

/// How a file is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapAccess {
    /// Only loads.
    Read,
    /// Loads and stores.
    Write,
    /// Loads and stores, with every page faulted in for reading beforehand.
    Warm,
    /// Loads and stores, with every page faulted in for writing beforehand. The pages are dirty then.
    Populated,
}

/// Size and identity of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Size in bytes.
    pub bytes: u64,
    /// Number of the file within its file system.
    pub inode: u64,
    /// Names it still has; 0 after it was removed.
    pub links: u64,
}

/// Shared memory of a file, as atomic words: another thread or process may store while this one loads,
/// so nothing is ever borrowed as bytes. Loads and stores copy whole slots.
#[derive(Clone)]
pub struct Region(Memory);

#[derive(Clone)]
enum Memory {
    Mapped(Arc<mapped::Map>),
    Heap(Arc<[AtomicU64]>),
}

impl Region {
    pub(crate) fn mapped(map: mapped::Map) -> Self {
        Self(Memory::Mapped(Arc::new(map)))
    }

    pub(crate) fn heap(words: Arc<[AtomicU64]>) -> Self {
        Self(Memory::Heap(words))
    }

    /// Size in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a region is never empty")]
    pub fn len(&self) -> usize {
        self.words().len() * 8
    }

    /// Word at a byte offset that is a multiple of 8.
    pub(crate) fn word(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset.is_multiple_of(8));
        &self.words()[offset / 8]
    }

    /// Copies a slot out. The first word, which holds the commit word or the mark, is loaded first; the
    /// fence pairs with the Release store in [`Region::store_slot`], so that what the other words hold is
    /// at least as new as the first.
    ///
    /// # Panics
    /// If `offset` is no multiple of a slot, in debug builds, or lies beyond the end.
    #[must_use]
    pub fn load_slot(&self, offset: usize) -> [u8; SLOT_BYTES] {
        let mut out = [0; SLOT_BYTES];
        put_words(&self.load_words(offset), &mut out);
        out
    }

    /// As [`Region::load_slot`], as words.
    #[inline]
    pub(crate) fn load_words(&self, offset: usize) -> Words {
        let mut out = [0; SLOT_BYTES / 8];
        words::load_slot::<Shipped, _>(self.slot(offset), |index, value| {
            out[index] = u64::from_le(value);
        });
        out
    }

    /// Stores a slot, its first word last and with Release; see [`Region::load_slot`]. Into a region that was
    /// mapped for reading this is a fault.
    ///
    /// # Panics
    /// As [`Region::load_slot`].
    pub fn store_slot(&self, offset: usize, slot: &[u8]) {
        self.store_words(offset, &get_words(slot));
    }

    /// As [`Region::store_slot`], of words.
    #[inline]
    pub(crate) fn store_words(&self, offset: usize, words: &Words) {
        let values = words.iter().map(|word| word.to_le());
        words::store_slot::<Shipped, _>(self.slot(offset), values);
    }

    /// True if a slot holds nothing but zeros.
    pub(crate) fn is_zero_slot(&self, offset: usize) -> bool {
        self.slot(offset)
            .iter()
            .all(|word| word.load(Ordering::Relaxed) == 0)
    }

    /// Copies `out.len()` bytes, a multiple of 8, from an offset that is one too.
    pub(crate) fn load(&self, offset: usize, out: &mut [u8]) {
        let words = &self.words()[offset / 8..offset / 8 + out.len() / 8];
        for (word, bytes) in words.iter().zip(out.chunks_exact_mut(8)) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
    }

    #[inline]
    fn slot(&self, offset: usize) -> &[AtomicU64] {
        debug_assert!(offset.is_multiple_of(SLOT_BYTES));
        &self.words()[offset / 8..offset / 8 + SLOT_BYTES / 8]
    }

    #[inline]
    fn words(&self) -> &[AtomicU64] {
        match &self.0 {
            Memory::Mapped(map) => map.words(),
            Memory::Heap(words) => words,
        }
    }
}

/// Writes all of `bytes`, going on after short writes and interruptions.
pub(crate) fn write_all(file: &dyn File, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(offset, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
