//! The fields of a section: little endian, without padding, lengths in front.

use tessera_types::{Command, Name, Timestamp, wire};

use super::SnapshotError;

/// A section being written.
#[derive(Debug)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(version: u16) -> Self {
        let mut writer = Self { bytes: Vec::new() };
        writer.u16(version);
        writer
    }

    /// Nothing stands behind the version.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == size_of::<u16>()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// A count, which every list has in front.
    pub(crate) fn len(&mut self, len: usize) {
        self.u64(len as u64);
    }

    /// 1 and the value, or 0.
    pub(crate) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// Length (one byte) and UTF-8.
    pub(crate) fn name(&mut self, name: &Name) {
        let text = name.as_str().as_bytes();
        self.u8(u8::try_from(text.len()).expect("a name has at most 64 bytes"));
        self.bytes.extend_from_slice(text);
    }

    /// What was once commanded, as the journal holds it: record type, length of the payload (four
    /// bytes), payload. So every version that the journal's reader knows is known here.
    pub(crate) fn command(&mut self, command: &Command) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 5]);
        let kind = wire::encode_command(command, Timestamp::ZERO, &mut self.bytes)
            .expect("what was commanded fits into a record");
        let len = u32::try_from(self.bytes.len() - at - 5).expect("a record has at most 32 KiB");
        self.bytes[at] = kind;
        self.bytes[at + 1..at + 5].copy_from_slice(&len.to_le_bytes());
    }
}

/// A section being read.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    section: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(section: &'static str, bytes: &'a [u8]) -> Self {
        Self {
            section,
            bytes,
            at: 0,
        }
    }

    /// The field just read, or the ones before it, cannot be.
    pub(crate) const fn bad(&self, what: &'static str) -> SnapshotError {
        SnapshotError::Inconsistent {
            section: self.section,
            offset: self.at,
            what,
        }
    }

    /// [`bad`](Self::bad) unless it holds.
    pub(crate) const fn ensure(
        &self,
        holds: bool,
        what: &'static str,
    ) -> Result<(), SnapshotError> {
        if holds { Ok(()) } else { Err(self.bad(what)) }
    }

    /// Everything has been read.
    pub(crate) const fn at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(crate) const fn finish(self) -> Result<(), SnapshotError> {
        if self.at_end() {
            return Ok(());
        }
        Err(SnapshotError::Trailing {
            section: self.section,
            offset: self.at,
        })
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], SnapshotError> {
        let taken = self.bytes[self.at..].get(..len);
        let taken = taken.ok_or(SnapshotError::Short {
            section: self.section,
            offset: self.at,
        })?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, SnapshotError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, SnapshotError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, SnapshotError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, SnapshotError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, SnapshotError> {
        self.array().map(i64::from_le_bytes)
    }

    /// A count of things that take at least `least` bytes each: never more than could be there.
    pub(crate) fn len(&mut self, least: usize) -> Result<usize, SnapshotError> {
        let len = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
        let room = (self.bytes.len() - self.at) / least;
        self.ensure(len <= room, "more entries than there are bytes for")?;
        Ok(len)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, SnapshotError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.bad("neither 0 nor 1")),
        }
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, SnapshotError>,
    ) -> Result<Option<T>, SnapshotError> {
        self.flag()?.then(|| read(self)).transpose()
    }

    /// A coded field.
    pub(crate) fn code<T: TryFrom<u8>>(&mut self, what: &'static str) -> Result<T, SnapshotError> {
        let code = self.u8()?;
        T::try_from(code).map_err(|_| self.bad(what))
    }

    pub(crate) fn name(&mut self) -> Result<Name, SnapshotError> {
        let len = usize::from(self.u8()?);
        let text = core::str::from_utf8(self.take(len)?).map_err(|_| self.bad("not UTF-8"))?;
        Name::new(text).map_err(|_| self.bad("no name has this length"))
    }

    pub(crate) fn command(&mut self) -> Result<Command, SnapshotError> {
        let kind = self.u8()?;
        let len = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        let payload = self.take(len)?;
        wire::decode_command(kind, Timestamp::ZERO, payload)
            .map_err(|_| self.bad("no command that this program knows"))
    }
}
