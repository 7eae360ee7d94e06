//! The client's part of a credentials directory.
//!
//! | file | content | mode |
//! |---|---|---|
//! | `ca.crt` | certificate of the venue's authority, PEM | |
//! | `NAME.crt` | the client's certificate chain, PEM | |
//! | `NAME.key` | its private key, PEM | 0600 |
//! | `NAME.logon` | Ed25519 key that signs Logons, PKCS #8 PEM | 0600 |
//!
//! `NAME` is also the name of the Logon key (Username).

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ring::signature::Ed25519KeyPair;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tessera_proto::Text;
use thiserror::Error;

/// Who a client is. Never shows a secret in its `Debug`.
pub struct Credentials {
    pub(crate) username: Text<16>,
    pub(crate) authority: CertificateDer<'static>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) logon: Ed25519KeyPair,
}

/// Why credentials cannot be used.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error(
        "{path}: cannot be read: {source}; point --credentials at the directory that the server made"
    )]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A secret that others may read.
    #[error("{path}: has mode {mode:04o} and holds a secret; run `chmod 600` on it")]
    Mode {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file holds something else.
    #[error("{path}: holds no {expected}; restore it")]
    Content {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// A name that no Logon can carry.
    #[error("{0:?} cannot be the name of a key: at most 16 printable ASCII characters")]
    Name(String),
}

impl Credentials {
    /// Loads the files of `name` in `dir`.
    ///
    /// # Errors
    /// [`CredentialsError`], naming the file and what to do.
    pub fn load(dir: &Path, name: &str) -> Result<Self, CredentialsError> {
        let username = Text::new(name).map_err(|_| CredentialsError::Name(name.to_owned()))?;
        let file = |extension: &str| dir.join(format!("{name}.{extension}"));
        let authority = certificates(&dir.join("ca.crt"))?.swap_remove(0);
        let chain = certificates(&file("crt"))?;
        let key_path = file("key");
        let key = PrivateKeyDer::from_pem_slice(&secret(&key_path)?).map_err(|_| {
            CredentialsError::Content {
                path: key_path,
                expected: "PEM private key",
            }
        })?;
        let logon_path = file("logon");
        let pem = secret(&logon_path)?;
        let logon = match PrivateKeyDer::from_pem_slice(&pem) {
            Ok(PrivateKeyDer::Pkcs8(der)) => {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).ok()
            }
            _ => None,
        }
        .ok_or(CredentialsError::Content {
            path: logon_path,
            expected: "Ed25519 key in PKCS #8 PEM",
        })?;
        Ok(Self {
            username,
            authority,
            chain,
            key,
            logon,
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    fs::read(path).map_err(|source| CredentialsError::Read {
        path: path.to_owned(),
        source,
    })
}

fn secret(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    let metadata = fs::metadata(path).map_err(|source| CredentialsError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(CredentialsError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    read(path)
}

/// At least one certificate.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(CredentialsError::Content {
            path: path.to_owned(),
            expected: "PEM certificate",
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;
    use crate::testing::{credentials, write_credentials};

    fn check_refused(break_it: impl FnOnce(&Path), message: &str) {
        let dir = tempfile::tempdir().unwrap();
        write_credentials(dir.path());
        break_it(dir.path());
        let error = Credentials::load(dir.path(), "trader").unwrap_err();
        let text = error.to_string();
        assert!(text.contains(message), "{text}");
        assert!(!text.contains('\n'), "one line: {text}");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        check_refused(
            |dir| fs::remove_file(dir.join("ca.crt")).unwrap(),
            "ca.crt: cannot be read",
        );
        check_refused(
            |dir| {
                let mode = Permissions::from_mode(0o604);
                fs::set_permissions(dir.join("trader.logon"), mode).unwrap();
            },
            "trader.logon: has mode 0604 and holds a secret",
        );
        check_refused(
            |dir| fs::write(dir.join("trader.crt"), "nothing").unwrap(),
            "trader.crt: holds no PEM certificate",
        );
        check_refused(
            |dir| {
                let other = fs::read(dir.join("trader.key")).unwrap();
                fs::write(dir.join("trader.logon"), other).unwrap();
            },
            "trader.logon: holds no Ed25519 key",
        );
        let dir = tempfile::tempdir().unwrap();
        let error = Credentials::load(dir.path(), "a name that is too long").unwrap_err();
        assert!(matches!(error, CredentialsError::Name(_)));
    }

    #[test]
    fn nothing_secret_is_formatted() {
        let shown = format!("{:?}", credentials());
        assert_eq!(shown, "Credentials { username: \"trader\", .. }");
    }
}
