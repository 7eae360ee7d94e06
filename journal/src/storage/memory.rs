//! A disk in memory whose failures are scripted: the test bed of the journal.
//!
//! Every file has two copies of each page, the volatile one that programs see and the durable one that a
//! power cut leaves; so has the directory. A sync copies volatile to durable. Calls are numbered from 1,
//! and a [`Fault`] says what happens at one of them. [`MemoryStorage::after_power_cut`] builds the disk
//! that the next start finds, asking for each page that was not synced whether it reached the disk.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Access, Entry, EntryKind, File, LockError, LockGuard, MapAccess, Region, Stat, Storage,
};

/// A directory in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryStorage {
    disk: Arc<Mutex<Disk>>,
}

/// What one call does instead of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Fails with this error number and has no effect.
    Error(rustix::io::Errno),
    /// A write that writes only this many bytes; other calls work.
    ShortWrite(usize),
    /// The power goes before the call: it and every later one fail, and the disk stays as it is now.
    PowerCut,
}

/// What kind of call a number stands for; see [`MemoryStorage::calls`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as the calls of the two traits")]
pub enum Call {
    List,
    MakeDir,
    Create,
    Open,
    Rename,
    Remove,
    SyncDir,
    Lock,
    Preallocate,
    Write,
    Read,
    Stat,
    Sync,
    SyncData,
    Map,
}

/// Something that was not yet durable when the power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced<'a> {
    /// A unit of a file, from this byte offset; its size is what `after_power_cut` was asked for.
    Page {
        /// Name of the file.
        file: &'a str,
        /// Bytes from its start.
        offset: usize,
    },
    /// A change of the directory. Changes reach the disk in order, so a `false` ends them.
    Entry {
        /// The name that was made, replaced or removed.
        name: &'a str,
    },
}

impl MemoryStorage {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Scripts what happens at the call with this number, counted from 1 since the disk was made.
    pub fn fail_at(&self, call: u64, fault: Fault) {
        self.disk().faults.insert(call, fault);
    }

    /// Scripts what happens at the next call of a kind, and forgets it afterwards.
    pub fn fail_next(&self, call: Call, fault: Fault) {
        self.disk().next_faults.push((call, fault));
    }

    /// Every call so far, in order; the first has number 1.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.disk().calls.clone()
    }

    /// The disk that the next start finds if the power goes now, or went at a scripted call.
    ///
    /// `survives` is asked for every unit of `unit` bytes (512 or 4096) whose volatile and durable copies
    /// differ, and for every directory change since its last sync. The new disk has no faults and no
    /// locks.
    #[must_use]
    pub fn after_power_cut(
        &self,
        unit: usize,
        mut survives: impl FnMut(Unsynced<'_>) -> bool,
    ) -> Self {
        let disk = self.disk();
        let image = disk.cut.as_ref().unwrap_or(&disk.image);
        let mut names = image.durable_names.clone();
        for change in &image.pending_names {
            let name = match change {
                NameChange::Set(name, _) | NameChange::Remove(name) => name,
            };
            if !survives(Unsynced::Entry { name }) {
                break;
            }
            change.apply(&mut names);
        }
        let mut fresh = Image {
            directories: image.directories.clone(),
            ..Image::default()
        };
        for (name, inode) in &names {
            let file = &image.files[inode];
            let mut bytes = file.durable.clone();
            let volatile = file.bytes();
            bytes.resize(bytes.len().max(volatile.len()), 0);
            let mut kept = file.durable.len();
            for at in (0..volatile.len()).step_by(unit) {
                let end = (at + unit).min(volatile.len());
                let differs = bytes[at..end] != volatile[at..end] || end > file.durable.len();
                if differs
                    && survives(Unsynced::Page {
                        file: name,
                        offset: at,
                    })
                {
                    bytes[at..end].copy_from_slice(&volatile[at..end]);
                    kept = kept.max(end);
                }
            }
            bytes.truncate(kept);
            let inode = fresh.next_inode();
            fresh.files.insert(inode, FileImage::from_bytes(bytes));
            fresh.names.insert(name.clone(), inode);
            fresh.durable_names.insert(name.clone(), inode);
        }
        let next = Self::default();
        next.disk().image = fresh;
        next
    }

    /// The bytes of a file as programs see it now.
    #[must_use]
    pub fn read_file(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.disk();
        let inode = disk.image.names.get(name)?;
        Some(disk.image.files[inode].bytes())
    }

    /// Replaces a file, durable at once: damage done from outside.
    pub fn put_file(&self, name: &str, bytes: Vec<u8>) {
        let image = &mut self.disk().image;
        let inode = image.next_inode();
        image.files.insert(inode, FileImage::from_bytes(bytes));
        image.names.insert(name.to_owned(), inode);
        image.durable_names.insert(name.to_owned(), inode);
        image.pending_names.retain(|change| change.name() != name);
    }

    /// Flips one bit of a file, in place: damage done from outside. The durable copy keeps its bit.
    pub fn flip_bit(&self, name: &str, bit: usize) {
        let disk = self.disk();
        if let Some(inode) = disk.image.names.get(name) {
            let word = &disk.image.files[inode].volatile[bit / 64];
            let mut bytes = word.load(Ordering::Relaxed).to_ne_bytes();
            bytes[bit % 64 / 8] ^= 1 << (bit % 8);
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
    }

    /// Removes a file, durable at once: damage done from outside.
    pub fn remove_file(&self, name: &str) {
        let image = &mut self.disk().image;
        image.names.remove(name);
        image.durable_names.remove(name);
        image.pending_names.retain(|change| change.name() != name);
    }

    /// Names of all files, sorted.
    #[must_use]
    pub fn file_names(&self) -> Vec<String> {
        self.disk().image.names.keys().cloned().collect()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and says what is to happen: nothing special, or a fault.
    fn enter(&self, call: Call) -> io::Result<(MutexGuard<'_, Disk>, Option<usize>)> {
        let mut disk = self.disk();
        disk.calls.push(call);
        if disk.cut.is_some() {
            return Err(io::Error::other("the power is off"));
        }
        let number = disk.calls.len() as u64;
        let mut fault = disk.faults.remove(&number);
        if let Some(at) = disk.next_faults.iter().position(|(kind, _)| *kind == call) {
            fault = Some(disk.next_faults.remove(at).1);
        }
        match fault {
            None => Ok((disk, None)),
            Some(Fault::ShortWrite(bytes)) => Ok((disk, Some(bytes))),
            Some(Fault::Error(errno)) => Err(errno.into()),
            Some(Fault::PowerCut) => {
                let image = disk.image.frozen();
                disk.cut = Some(image);
                Err(io::Error::other("the power is off"))
            }
        }
    }
}

#[derive(Default)]
struct Disk {
    image: Image,
    calls: Vec<Call>,
    faults: BTreeMap<u64, Fault>,
    next_faults: Vec<(Call, Fault)>,
    /// The disk as it was when the power went.
    cut: Option<Image>,
    locks: BTreeMap<String, String>,
}

#[derive(Default)]
struct Image {
    files: BTreeMap<u64, FileImage>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    pending_names: Vec<NameChange>,
    directories: Vec<String>,
}

#[derive(Clone)]
enum NameChange {
    Set(String, u64),
    Remove(String),
}

struct FileImage {
    /// Size as programs see it; the words are rounded up.
    bytes: usize,
    volatile: Arc<[AtomicU64]>,
    durable: Vec<u8>,
}

impl NameChange {
    fn name(&self) -> &str {
        match self {
            Self::Set(name, _) | Self::Remove(name) => name,
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Set(name, inode) => {
                // A rename keeps the file but not its old name.
                names.retain(|_, other| other != inode);
                names.insert(name.clone(), *inode);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Image {
    fn next_inode(&self) -> u64 {
        self.files.keys().next_back().map_or(1, |last| last + 1)
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    /// A copy that later stores into mappings do not reach.
    fn frozen(&self) -> Self {
        let files = self.files.iter().map(|(inode, file)| {
            let mut copy = FileImage::from_bytes(file.bytes());
            copy.durable.clone_from(&file.durable);
            (*inode, copy)
        });
        Self {
            files: files.collect(),
            names: self.names.clone(),
            durable_names: self.durable_names.clone(),
            pending_names: self.pending_names.clone(),
            directories: self.directories.clone(),
        }
    }
}

impl FileImage {
    fn from_bytes(durable: Vec<u8>) -> Self {
        let mut file = Self {
            bytes: 0,
            volatile: Arc::new([]),
            durable: Vec::new(),
        };
        file.resize(durable.len());
        file.store(0, &durable);
        file.durable = durable;
        file
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self
            .volatile
            .iter()
            .flat_map(|w| w.load(Ordering::Acquire).to_ne_bytes())
            .collect();
        bytes.truncate(self.bytes);
        bytes
    }

    fn resize(&mut self, bytes: usize) {
        let words = bytes.div_ceil(8);
        if words != self.volatile.len() {
            self.volatile = (0..words)
                .map(|i| {
                    AtomicU64::new(
                        self.volatile
                            .get(i)
                            .map_or(0, |w| w.load(Ordering::Relaxed)),
                    )
                })
                .collect();
        }
        self.bytes = bytes;
    }

    fn store(&self, offset: usize, bytes: &[u8]) {
        if offset.is_multiple_of(8) && bytes.len().is_multiple_of(8) {
            for (word, bytes) in self.volatile[offset / 8..]
                .iter()
                .zip(bytes.chunks_exact(8))
            {
                let mut value = [0; 8];
                value.copy_from_slice(bytes);
                word.store(u64::from_ne_bytes(value), Ordering::Relaxed);
            }
            return;
        }
        for (i, byte) in bytes.iter().enumerate() {
            let word = &self.volatile[(offset + i) / 8];
            let mut value = word.load(Ordering::Relaxed).to_ne_bytes();
            value[(offset + i) % 8] = *byte;
            word.store(u64::from_ne_bytes(value), Ordering::Relaxed);
        }
    }
}

impl Storage for MemoryStorage {
    fn path(&self) -> PathBuf {
        PathBuf::from("memory:")
    }

    fn list(&self, directory: &str) -> io::Result<Vec<Entry>> {
        let (disk, _) = self.enter(Call::List)?;
        if !directory.is_empty() && !disk.image.directories.iter().any(|d| d == directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let files = disk.image.names.keys().filter_map(|path| {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            (parent == directory).then(|| Entry {
                name: name.to_owned(),
                kind: EntryKind::File,
            })
        });
        let directories = disk
            .image
            .directories
            .iter()
            .filter(|_| directory.is_empty());
        let directories = directories.map(|name| Entry {
            name: name.clone(),
            kind: EntryKind::Directory,
        });
        Ok(files.chain(directories).collect())
    }

    fn make_dir(&self, name: &str) -> io::Result<()> {
        let (mut disk, _) = self.enter(Call::MakeDir)?;
        if !disk.image.directories.iter().any(|d| d == name) {
            disk.image.directories.push(name.to_owned());
        }
        Ok(())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let (mut disk, _) = self.enter(Call::Create)?;
        if disk.image.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = disk.image.next_inode();
        disk.image
            .files
            .insert(inode, FileImage::from_bytes(Vec::new()));
        disk.image.change(NameChange::Set(name.to_owned(), inode));
        Ok(Box::new(MemoryFile {
            storage: self.clone(),
            inode,
        }))
    }

    fn open(&self, name: &str, _access: Access) -> io::Result<Box<dyn File>> {
        let (disk, _) = self.enter(Call::Open)?;
        let inode = *disk.image.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(MemoryFile {
            storage: self.clone(),
            inode,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (mut disk, _) = self.enter(Call::Rename)?;
        let inode = *disk.image.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        disk.image.change(NameChange::Set(to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let (mut disk, _) = self.enter(Call::Remove)?;
        if !disk.image.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.image.change(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _directory: &str) -> io::Result<()> {
        let (mut disk, _) = self.enter(Call::SyncDir)?;
        disk.image.durable_names = disk.image.names.clone();
        disk.image.pending_names.clear();
        Ok(())
    }

    fn lock(&self, name: &str) -> Result<Box<dyn LockGuard>, LockError> {
        let (mut disk, _) = self.enter(Call::Lock)?;
        if let Some(holder) = disk.locks.get(name) {
            return Err(LockError::Held(holder.clone()));
        }
        disk.locks.insert(name.to_owned(), String::new());
        Ok(Box::new(MemoryLock {
            storage: self.clone(),
            name: name.to_owned(),
        }))
    }

    fn lock_holder(&self, name: &str) -> io::Result<Option<String>> {
        let (disk, _) = self.enter(Call::Lock)?;
        Ok(disk.locks.get(name).cloned())
    }
}

struct MemoryLock {
    storage: MemoryStorage,
    name: String,
}

impl LockGuard for MemoryLock {
    fn write(&self, text: &str) -> io::Result<()> {
        self.storage
            .disk()
            .locks
            .insert(self.name.clone(), text.trim_end().to_owned());
        Ok(())
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.storage.disk().locks.remove(&self.name);
    }
}

struct MemoryFile {
    storage: MemoryStorage,
    inode: u64,
}

impl MemoryFile {
    fn file<'d>(&self, disk: &'d mut Disk) -> io::Result<&'d mut FileImage> {
        disk.image
            .files
            .get_mut(&self.inode)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn make_durable(&self, call: Call) -> io::Result<()> {
        let (mut disk, _) = self.storage.enter(call)?;
        let file = self.file(&mut disk)?;
        file.durable = file.bytes();
        Ok(())
    }
}

impl File for MemoryFile {
    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        let (mut disk, _) = self.storage.enter(Call::Preallocate)?;
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        self.file(&mut disk)?.resize(bytes);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let (mut disk, short) = self.storage.enter(Call::Write)?;
        let bytes = &bytes[..short.unwrap_or(bytes.len()).min(bytes.len())];
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let file = self.file(&mut disk)?;
        if offset + bytes.len() > file.bytes {
            if Arc::strong_count(&file.volatile) > 1 {
                return Err(io::Error::other("a mapped file must not grow"));
            }
            file.resize(offset + bytes.len());
        }
        file.store(offset, bytes);
        Ok(bytes.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let (mut disk, _) = self.storage.enter(Call::Read)?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let file = self.file(&mut disk)?;
        let take = file.bytes.saturating_sub(offset).min(out.len());
        for (i, byte) in out[..take].iter_mut().enumerate() {
            let word = file.volatile[(offset + i) / 8].load(Ordering::Relaxed);
            *byte = word.to_ne_bytes()[(offset + i) % 8];
        }
        Ok(take)
    }

    fn stat(&self) -> io::Result<Stat> {
        let (mut disk, _) = self.storage.enter(Call::Stat)?;
        let bytes = self.file(&mut disk)?.bytes as u64;
        let links = disk
            .image
            .names
            .values()
            .filter(|inode| **inode == self.inode)
            .count() as u64;
        Ok(Stat {
            bytes,
            inode: self.inode,
            links,
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.make_durable(Call::Sync)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.make_durable(Call::SyncData)
    }

    fn map(&self, bytes: usize, _how: MapAccess) -> io::Result<Region> {
        let (mut disk, _) = self.storage.enter(Call::Map)?;
        let file = self.file(&mut disk)?;
        if bytes > file.bytes {
            return Err(io::Error::other(format!(
                "cannot map {bytes} bytes of {}",
                file.bytes
            )));
        }
        Ok(Region::heap(Arc::clone(&file.volatile)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_cut_keeps_what_was_synced_and_what_survives() {
        let disk = MemoryStorage::new();
        let file = disk.create("a").unwrap();
        file.preallocate(8192).unwrap();
        file.sync().unwrap();
        disk.sync_dir("").unwrap();
        let region = file.map(8192, MapAccess::Write).unwrap();
        region.store_slot(0, &[1; 64]);
        file.sync_data().unwrap();
        region.store_slot(64, &[2; 64]);
        region.store_slot(4096, &[3; 64]);
        disk.create("b").unwrap();

        let none = disk.after_power_cut(4096, |_| false);
        let bytes = none.read_file("a").unwrap();
        assert_eq!((bytes[0], bytes[64], bytes[4096]), (1, 0, 0));
        assert_eq!(none.file_names(), ["a"]);

        let second = disk.after_power_cut(4096, |u| {
            u == Unsynced::Page {
                file: "a",
                offset: 4096,
            }
        });
        let bytes = second.read_file("a").unwrap();
        assert_eq!((bytes[0], bytes[64], bytes[4096]), (1, 0, 3));

        let all = disk.after_power_cut(4096, |_| true);
        assert_eq!(all.read_file("a"), disk.read_file("a"));
        assert_eq!(all.file_names(), ["a", "b"]);
    }

    #[test]
    fn a_scripted_power_cut_freezes_the_disk() {
        let disk = MemoryStorage::new();
        let file = disk.create("a").unwrap();
        file.preallocate(4096).unwrap();
        file.sync().unwrap();
        disk.sync_dir("").unwrap();
        let region = file.map(4096, MapAccess::Write).unwrap();
        disk.fail_next(Call::SyncData, Fault::PowerCut);
        region.store_slot(0, &[1; 64]);
        file.sync_data().unwrap_err();
        region.store_slot(64, &[2; 64]);
        file.sync_data().unwrap_err();
        let bytes = disk.after_power_cut(4096, |_| true).read_file("a").unwrap();
        assert_eq!((bytes[0], bytes[64]), (1, 0));
    }

    #[test]
    fn faults_hit_the_call_they_were_meant_for() {
        let disk = MemoryStorage::new();
        disk.fail_at(2, Fault::Error(rustix::io::Errno::NOSPC));
        let file = disk.create("a").unwrap();
        assert_eq!(
            file.preallocate(10).unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
        disk.fail_next(Call::Write, Fault::ShortWrite(2));
        assert_eq!(file.write_at(0, b"abcd").unwrap(), 2);
        assert_eq!(file.write_at(2, b"cd").unwrap(), 2);
        assert_eq!(disk.read_file("a").unwrap(), b"abcd");
        assert_eq!(
            disk.calls(),
            [Call::Create, Call::Preallocate, Call::Write, Call::Write]
        );
    }
}
