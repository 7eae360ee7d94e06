//! The key that signs the ends of journal segments: `journal.key` in the credentials directory.
//!
//! Ed25519, PKCS #8 in one line of base64, mode 0600; made at the first start. Beside it lies
//! `journal.pub`, one line `KEY_ID PUBLIC_KEY` in hex, which is what `tessera journal attest --keys` reads.

use std::fmt;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tessera_journal::{Signer, hex};

/// A key that signs.
pub(crate) struct JournalKey {
    pair: Ed25519KeyPair,
    key_id: u32,
    /// Not on disk yet.
    unsaved: Option<String>,
}

impl fmt::Debug for JournalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JournalKey({:08x})", self.key_id)
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum JournalKeyError {
    /// The file cannot be read or written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read the key.
    #[error("{path}: has mode {mode:04o} and holds a secret; run `chmod 600` on it", path = .path.display())]
    Mode {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file holds no key.
    #[error(
        "{path}: holds no Ed25519 key as this program writes it; move it away to have a new one made, \
         and keep journal.pub for the signatures there are",
        path = .path.display()
    )]
    Content {
        /// Which file.
        path: PathBuf,
    },
    /// The system has no random numbers.
    #[error("cannot make a key: the system gives no random numbers")]
    Random,
}

impl JournalKey {
    /// The key of a credentials directory, or a new one that [`JournalKey::save`] puts there.
    pub(crate) fn load_or_make(dir: &Path) -> Result<Self, JournalKeyError> {
        let path = dir.join(NAME);
        let io = |source| JournalKeyError::Io {
            path: path.clone(),
            source,
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::make(),
            Err(error) => return Err(io(error)),
        };
        let mode = fs::metadata(&path).map_err(io)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(JournalKeyError::Mode { path, mode });
        }
        let pair = STANDARD
            .decode(text.trim_end())
            .ok()
            .and_then(|der| Ed25519KeyPair::from_pkcs8(&der).ok());
        match pair {
            Some(pair) => Ok(Self::of(pair, None)),
            None => Err(JournalKeyError::Content { path }),
        }
    }

    fn make() -> Result<Self, JournalKeyError> {
        let der = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new())
            .map_err(|_| JournalKeyError::Random)?;
        let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).map_err(|_| JournalKeyError::Random)?;
        Ok(Self::of(pair, Some(STANDARD.encode(der.as_ref()))))
    }

    fn of(pair: Ed25519KeyPair, unsaved: Option<String>) -> Self {
        let key_id = key_id(pair.public_key().as_ref());
        Self {
            pair,
            key_id,
            unsaved,
        }
    }

    /// Writes a new key and its public half; nothing if the key came from there.
    pub(crate) fn save(&self, dir: &Path) -> Result<(), JournalKeyError> {
        let Some(secret) = &self.unsaved else {
            return Ok(());
        };
        let public = format!(
            "{:08x} {}\n",
            self.key_id,
            hex(self.pair.public_key().as_ref())
        );
        // The secret last: a crash in between makes another key at the next start, not one without a
        // public half.
        write(&dir.join("journal.pub"), 0o644, &public)?;
        write(&dir.join(NAME), 0o600, &format!("{secret}\n"))
    }
}

impl Signer for JournalKey {
    fn key_id(&self) -> u32 {
        self.key_id
    }

    fn sign(&self, chain: &[u8; 32]) -> [u8; 64] {
        let signature = self.pair.sign(chain);
        let mut out = [0; 64];
        out.copy_from_slice(signature.as_ref());
        out
    }
}

/// The number of a public key: the first four bytes of its BLAKE3 hash, little endian.
pub(crate) fn key_id(public: &[u8]) -> u32 {
    let mut id = [0; 4];
    id.copy_from_slice(&blake3::hash(public).as_bytes()[..4]);
    u32::from_le_bytes(id)
}

/// Replaces a file, with its mode from the first moment, and syncs it.
fn write(path: &Path, mode: u32, text: &str) -> Result<(), JournalKeyError> {
    let io = |source| JournalKeyError::Io {
        path: path.to_owned(),
        source,
    };
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&new)
        .map_err(io)?;
    file.set_permissions(Permissions::from_mode(mode))
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&new, path))
        .map_err(io)
}

const NAME: &str = "journal.key";

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ED25519, UnparsedPublicKey};

    #[test]
    fn a_key_is_made_once_kept_closed_and_signs() {
        let dir = tempfile::tempdir().unwrap();
        let made = JournalKey::load_or_make(dir.path()).unwrap();
        assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
        made.save(dir.path()).unwrap();
        let path = dir.path().join(NAME);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        let again = JournalKey::load_or_make(dir.path()).unwrap();
        assert_eq!(again.key_id(), made.key_id());
        again.save(dir.path()).unwrap();

        let signature = again.sign(&[3; 32]);
        let public = UnparsedPublicKey::new(&ED25519, made.pair.public_key().as_ref());
        public.verify(&[3; 32], &signature).unwrap();
        public.verify(&[4; 32], &signature).unwrap_err();
        let secret = fs::read_to_string(&path).unwrap();
        assert!(!format!("{again:?}").contains(secret.trim_end()));

        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = JournalKey::load_or_make(dir.path())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("0640") && !error.contains(secret.trim_end()),
            "{error}"
        );
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "nonsense").unwrap();
        let error = JournalKey::load_or_make(dir.path()).unwrap_err();
        assert!(matches!(error, JournalKeyError::Content { .. }), "{error}");
    }
}
