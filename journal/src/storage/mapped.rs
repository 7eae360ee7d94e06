//! Real files: calls relative to an open directory, memory maps through memmap2.

use std::io::{self, Read, Seek, Write};
use std::mem::size_of;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::fs::{AtFlags, FallocateFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{
    Access, Entry, EntryKind, File, LockError, LockGuard, MapAccess, Region, Stat, Storage,
};

/// A directory of a file system.
pub struct Mapped {
    path: PathBuf,
    directory: OwnedFd,
}

impl Mapped {
    /// Opens a directory that exists.
    ///
    /// # Errors
    /// As the operating system says: not found, not a directory, no permission.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self {
            path: path.to_path_buf(),
            directory,
        })
    }

    fn open_at(&self, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&self.directory, name, flags, Mode::from_raw_mode(0o600))?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        if kind != FileType::RegularFile {
            return Err(io::Error::other("is not a regular file"));
        }
        Ok(file)
    }

    fn directory(&self, name: &str) -> io::Result<OwnedFd> {
        let name = if name.is_empty() { "." } else { name };
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(rustix::fs::openat(
            &self.directory,
            name,
            flags,
            Mode::empty(),
        )?)
    }
}

impl Storage for Mapped {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn list(&self, directory: &str) -> io::Result<Vec<Entry>> {
        let directory = self.directory(directory)?;
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let mut kind = entry.file_type();
            if kind == FileType::Unknown {
                let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                kind = FileType::from_raw_mode(stat.st_mode);
            }
            entries.push(Entry {
                name: name.to_string_lossy().into_owned(),
                kind: match kind {
                    FileType::RegularFile => EntryKind::File,
                    FileType::Directory => EntryKind::Directory,
                    _ => EntryKind::Other,
                },
            });
        }
        Ok(entries)
    }

    fn make_dir(&self, name: &str) -> io::Result<()> {
        match rustix::fs::mkdirat(&self.directory, name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = self.open_at(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
        Ok(Box::new(MappedFile(file)))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn File>> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::RDWR,
        };
        Ok(Box::new(MappedFile(self.open_at(name, flags)?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(
            &self.directory,
            from,
            &self.directory,
            to,
        )?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.directory,
            name,
            AtFlags::empty(),
        )?)
    }

    fn sync_dir(&self, directory: &str) -> io::Result<()> {
        Ok(rustix::fs::fsync(self.directory(directory)?)?)
    }

    fn lock(&self, name: &str) -> Result<Box<dyn LockGuard>, LockError> {
        let mut file = std::fs::File::from(self.open_at(name, OFlags::RDWR | OFlags::CREATE)?);
        // A tool that looks whether the lock is held takes it for an instant, so one refusal is not yet
        // an answer.
        for attempt in 1.. {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if attempt < LOCK_ATTEMPTS => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(Errno::WOULDBLOCK) => {
                    let mut holder = String::new();
                    file.read_to_string(&mut holder)?;
                    return Err(LockError::Held(holder.trim_end().to_owned()));
                }
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        Ok(Box::new(MappedLock(file)))
    }

    fn lock_holder(&self, name: &str) -> io::Result<Option<String>> {
        let mut file = match self.open_at(name, OFlags::RDONLY) {
            Ok(file) => std::fs::File::from(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)?;
                Ok(Some(holder.trim_end().to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }
}

struct MappedLock(std::fs::File);

impl LockGuard for MappedLock {
    fn write(&self, text: &str) -> io::Result<()> {
        let mut file = &self.0;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(text.as_bytes())
    }
}

struct MappedFile(OwnedFd);

impl File for MappedFile {
    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(
            &self.0,
            FallocateFlags::empty(),
            0,
            bytes,
        )?)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::pwrite(&self.0, bytes, offset)?)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::pread(&self.0, out, offset)?)
    }

    fn stat(&self) -> io::Result<Stat> {
        let stat = rustix::fs::fstat(&self.0)?;
        Ok(Stat {
            bytes: u64::try_from(stat.st_size).unwrap_or(0),
            inode: stat.st_ino,
            links: stat.st_nlink,
        })
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.0)?)
    }

    fn map(&self, bytes: usize, how: MapAccess) -> io::Result<Region> {
        // A load beyond the end of the file is a SIGBUS, so the size is looked at before it is mapped.
        let found = self.stat()?.bytes;
        if found < bytes as u64 || bytes == 0 || !bytes.is_multiple_of(4096) {
            return Err(io::Error::other(format!(
                "cannot map {bytes} bytes of a file of {found}"
            )));
        }
        let mut options = MmapOptions::new();
        options.len(bytes);
        let map = match how {
            MapAccess::Read => options.map_raw_read_only(&self.0)?,
            MapAccess::Write | MapAccess::Warm | MapAccess::Populated => {
                options.map_raw(&self.0)?
            }
        };
        match how {
            MapAccess::Read | MapAccess::Write => {}
            MapAccess::Warm => map.advise(Advice::PopulateRead)?,
            MapAccess::Populated => map.advise(Advice::PopulateWrite)?,
        }
        Ok(Region::mapped(Map(map)))
    }
}

/// A mapped file seen as atomic words.
pub(crate) struct Map(MmapRaw);

impl Map {
    #[expect(
        unsafe_code,
        reason = "the one place where mapped memory becomes a Rust reference"
    )]
    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the rule at stake is that a reference must point to live, aligned memory which is only
        // changed in ways its type allows. The mapping begins at a page border, so it is aligned for
        // words; `map` refused sizes that are no multiple of a page or lie beyond the end of the file;
        // the memory stays mapped as long as `self`, to which the slice is bound. It is shared with other
        // threads and processes, which is what atomics allow: within this process every access goes
        // through this function. Read-only mappings are only loaded from (relaxed, see `load_slot`):
        // a store would be a fault that every test over real files would hit, not a silent error.
        unsafe {
            std::slice::from_raw_parts(
                self.0.as_ptr().cast::<AtomicU64>(),
                self.0.len() / size_of::<AtomicU64>(),
            )
        }
    }
}

const LOCK_ATTEMPTS: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
