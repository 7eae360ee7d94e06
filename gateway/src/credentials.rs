//! The credentials directory: who the server is, whom it lets in, and the development set that it
//! makes for itself when there is none.
//!
//! | file | content | mode |
//! |---|---|---|
//! | `ca.crt` | certificate of the authority that signed all others, PEM | 0644 |
//! | `ca.key` | its key; only needed to sign more certificates | 0600 |
//! | `server.crt`, `server.key` | the server's certificate (localhost, 127.0.0.1, ::1) and key | 0644, 0600 |
//! | `NAME.crt`, `NAME.key` | a client's certificate and key: `trader` and `admin` | 0644, 0600 |
//! | `NAME.logon` | the same client's Ed25519 key for Logon signatures, PKCS #8 PEM | 0600 |
//! | `keys` | one line per Logon key the server knows, see [`LogonKey`] | 0644 |
//!
//! A client's certificate says who it is: its CN is the client's name and its OU is the [`Role`].
//! A key file that others may read is refused, because its owner could no longer be told from them.
//! No function of this module prints or formats a secret.

use std::fmt;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What the server needs to know about itself and its clients.
pub struct Credentials {
    pub(crate) ca: CertificateDer<'static>,
    pub(crate) server_chain: Vec<CertificateDer<'static>>,
    pub(crate) server_key: PrivateKeyDer<'static>,
    keys: Vec<LogonKey>,
    development: bool,
}

impl Credentials {
    /// Loads the directory, or makes a development set when it does not exist or is empty. Also says
    /// whether it was made now.
    ///
    /// The set appears at once or not at all: it is built in a directory beside and then renamed.
    ///
    /// # Errors
    /// [`CredentialsError`] naming the file and what to do about it. A directory that holds some of
    /// the files and not others is an error: replacing the rest would lock out known clients.
    pub fn load_or_create(dir: &Path) -> Result<(Self, bool), CredentialsError> {
        let created = if is_absent_or_empty(dir)? {
            create_development(dir)?;
            true
        } else {
            false
        };
        Ok((Self::load(dir)?, created))
    }

    /// Loads the directory.
    ///
    /// # Errors
    /// [`CredentialsError`] naming the file and what to do about it.
    pub fn load(dir: &Path) -> Result<Self, CredentialsError> {
        let ca = certificates(&dir.join("ca.crt"))?.remove(0);
        let server_chain = certificates(&dir.join("server.crt"))?;
        let server_key = private_key(&dir.join("server.key"))?;
        let keys = LogonKey::read_all(&dir.join("keys"))?;
        let subject = Subject::of(&ca).ok_or_else(|| CredentialsError::Certificate {
            path: dir.join("ca.crt"),
        })?;
        Ok(Self {
            development: subject.name == DEVELOPMENT_CA,
            ca,
            server_chain,
            server_key,
            keys,
        })
    }

    /// Whether these were made by [`Credentials::load_or_create`], by the name of their authority.
    ///
    /// Anybody who can read the directory can be anybody with them, so a server that uses them must
    /// listen on loopback addresses only.
    #[must_use]
    pub fn is_development(&self) -> bool {
        self.development
    }

    /// The Logon key with this id.
    #[must_use]
    pub fn key(&self, id: &str) -> Option<&LogonKey> {
        self.keys.iter().find(|key| key.id == id)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("development", &self.development)
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Enter orders and read market data.
    Trade,
    /// Operate the exchange and read market data.
    Admin,
}

impl Role {
    /// The word in a certificate's OU and in the `keys` file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trade => "trade",
            Self::Admin => "admin",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Trade, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == word)
    }
}

/// A key that may sign Logons, with what it may do.
///
/// One line of the `keys` file is `ID ROLE CERTIFICATE SESSIONS ACCOUNTS KEY`, separated by blanks;
/// `#` begins a comment. `CERTIFICATE` is the CN of the certificate that may present the key,
/// `SESSIONS` and `ACCOUNTS` are comma-separated lists or `*` for any, and `KEY` is the Ed25519
/// public key in 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct LogonKey {
    /// The name that a Logon refers to, at most 16 bytes.
    pub id: String,
    /// What it may do.
    pub role: Role,
    /// CN of the certificate that may present it.
    pub certificate: String,
    /// Sessions (CompIDs) it may log on as.
    pub sessions: Scope<String>,
    /// Accounts it may act for.
    pub accounts: Scope<u32>,
    /// The Ed25519 public key.
    pub public: [u8; 32],
}

impl fmt::Debug for LogonKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogonKey")
            .field("id", &self.id)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// Any value, or only those of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope<T> {
    /// Any value.
    Any,
    /// Only these.
    Only(Vec<T>),
}

impl<T: PartialEq> Scope<T> {
    /// Whether this value is inside.
    #[must_use]
    pub fn contains(&self, value: &T) -> bool {
        match self {
            Self::Any => true,
            Self::Only(values) => values.contains(value),
        }
    }
}

impl<T: std::str::FromStr> Scope<T> {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let values = text.split(',').map(|part| part.parse().ok());
        values.collect::<Option<Vec<T>>>().map(Self::Only)
    }
}

impl LogonKey {
    fn read_all(path: &Path) -> Result<Vec<Self>, CredentialsError> {
        let text = fs::read_to_string(path).map_err(|source| CredentialsError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut keys: Vec<Self> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("").trim();
            if line.is_empty() {
                continue;
            }
            let bad = |what| CredentialsError::KeyLine {
                path: path.to_owned(),
                line: index + 1,
                what,
            };
            let key = Self::parse(line).map_err(bad)?;
            if keys.iter().any(|known| known.id == key.id) {
                return Err(bad("names a key id that an earlier line has"));
            }
            keys.push(key);
        }
        Ok(keys)
    }

    fn parse(line: &str) -> Result<Self, &'static str> {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [id, role, certificate, sessions, accounts, public] = columns[..] else {
            return Err("does not have the six columns ID ROLE CERTIFICATE SESSIONS ACCOUNTS KEY");
        };
        if id.len() > 16 {
            return Err("has a key id of more than 16 bytes");
        }
        Ok(Self {
            id: id.to_owned(),
            role: Role::from_word(role).ok_or("has a role other than trade and admin")?,
            certificate: certificate.to_owned(),
            sessions: Scope::parse(sessions).ok_or("has a malformed list of sessions")?,
            accounts: Scope::parse(accounts).ok_or("has a malformed list of accounts")?,
            public: from_hex(public).ok_or("has a key that is not 64 hexadecimal digits")?,
        })
    }
}

/// Who a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The CN.
    pub(crate) name: String,
    /// The OU, if it is a role.
    pub(crate) role: Option<Role>,
}

impl Subject {
    /// None when the certificate cannot be parsed or has no CN.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let subject = parsed.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let unit = subject.iter_organizational_unit().next();
        let role = unit
            .and_then(|unit| unit.as_str().ok())
            .and_then(Role::from_word);
        Some(Self { name, role })
    }
}

/// Why credentials could not be loaded or made.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// A file or the directory cannot be read.
    #[error(
        "{path}: cannot be read: {source}; point --credentials at a directory with a complete set, \
         or at an empty one to have a development set made"
    )]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or the directory cannot be written.
    #[error("{path}: cannot be written: {source}; the credentials directory must be writable once")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A private file is readable by others.
    #[error("{path}: has mode {mode:04o} and holds a secret; run `chmod 600` on it")]
    Mode {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file holds no PEM certificate that can be used.
    #[error("{path}: holds no PEM certificate with a common name; restore it or make a new set")]
    Certificate {
        /// Which.
        path: PathBuf,
    },
    /// A file holds no PEM private key.
    #[error("{path}: holds no PEM private key; restore it or make a new set")]
    PrivateKey {
        /// Which.
        path: PathBuf,
    },
    /// A line of the `keys` file is malformed.
    #[error("{path}:{line}: the line {what}; correct or remove it")]
    KeyLine {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A key or certificate could not be made.
    #[error("making development credentials failed: {0}")]
    Generate(#[from] rcgen::Error),
    /// The system has no random numbers to make a key from.
    #[error("making a Logon key failed: the system's random number generator refused")]
    Random,
}

const DEVELOPMENT_CA: &str = "Tessera development CA";
const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

fn is_absent_or_empty(dir: &Path) -> Result<bool, CredentialsError> {
    let read = |source| CredentialsError::Read {
        path: dir.to_owned(),
        source,
    };
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(true),
            Some(Ok(_)) => Ok(false),
            Some(Err(source)) => Err(read(source)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(source) => Err(read(source)),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let pem = fs::read(path).map_err(|source| CredentialsError::Read {
        path: path.to_owned(),
        source,
    })?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(CredentialsError::Certificate {
            path: path.to_owned(),
        }),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CredentialsError> {
    let read = |source| CredentialsError::Read {
        path: path.to_owned(),
        source,
    };
    let mode = fs::metadata(path).map_err(read)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(CredentialsError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    let pem = fs::read(path).map_err(read)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| CredentialsError::PrivateKey {
        path: path.to_owned(),
    })
}

/// Makes a whole set beside `dir` and renames it into place.
fn create_development(dir: &Path) -> Result<(), CredentialsError> {
    let write = |path: &Path, source| CredentialsError::Write {
        path: path.to_owned(),
        source,
    };
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(|source| write(parent, source))?;
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let staging = parent.join(name);
    let _ = fs::remove_dir_all(&staging); // left by a process with our number that was killed here
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&staging)
        .map_err(|source| write(&staging, source))?;
    let made = write_development(&staging).and_then(|()| {
        // Over an empty directory this succeeds; over one that another process filled meanwhile it
        // fails, and theirs is the one to use.
        match fs::rename(&staging, dir) {
            Err(_) if dir.join("keys").exists() => Ok(()),
            result => result.map_err(|source| write(dir, source)),
        }
    });
    let _ = fs::remove_dir_all(&staging);
    made?;
    if let Ok(parent) = fs::File::open(parent) {
        let _ = parent.sync_all(); // the rename; without it a crash leaves no set, and we make another
    }
    Ok(())
}

fn write_development(dir: &Path) -> Result<(), CredentialsError> {
    let ca_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut ca = params(DEVELOPMENT_CA, None, Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_certificate = ca.self_signed(&ca_key)?;
    write_file(dir, "ca.crt", PUBLIC, ca_certificate.pem().as_bytes())?;
    write_file(dir, "ca.key", PRIVATE, ca_key.serialize_pem().as_bytes())?;
    let issuer = Issuer::new(ca, ca_key);

    let server_names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let mut server = params("Tessera development server", None, server_names.to_vec())?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    write_pair(dir, "server", &server, &issuer)?;

    let mut keys = String::from("# ID ROLE CERTIFICATE SESSIONS ACCOUNTS KEY\n");
    for (name, role) in [("trader", Role::Trade), ("admin", Role::Admin)] {
        let mut client = params(name, Some(role), Vec::new())?;
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        write_pair(dir, name, &client, &issuer)?;

        let logon = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new())
            .map_err(|_| CredentialsError::Random)?;
        let pair =
            Ed25519KeyPair::from_pkcs8(logon.as_ref()).map_err(|_| CredentialsError::Random)?;
        let pem = pem_of(logon.as_ref())?;
        write_file(dir, &format!("{name}.logon"), PRIVATE, pem.as_bytes())?;
        let public = to_hex(pair.public_key().as_ref());
        keys.push_str(&format!("{name} {} {name} * * {public}\n", role.as_str()));
    }
    write_file(dir, "keys", PUBLIC, keys.as_bytes())
}

fn params(
    name: &str,
    role: Option<Role>,
    alternative_names: Vec<String>,
) -> Result<CertificateParams, CredentialsError> {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let mut params = CertificateParams::new(alternative_names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(role) = role {
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, role.as_str());
    }
    let now = SystemTime::now();
    params.not_before = (now - Duration::from_secs(24 * 3600)).into(); // clocks that run behind
    params.not_after = (now + 10 * YEAR).into();
    Ok(params)
}

fn write_pair(
    dir: &Path,
    name: &str,
    params: &CertificateParams,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<(), CredentialsError> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.signed_by(&key, issuer)?;
    write_file(
        dir,
        &format!("{name}.crt"),
        PUBLIC,
        certificate.pem().as_bytes(),
    )?;
    write_file(
        dir,
        &format!("{name}.key"),
        PRIVATE,
        key.serialize_pem().as_bytes(),
    )
}

/// Ed25519 keys of ring are PKCS #8 version 2, which rcgen wraps as it wraps its own.
fn pem_of(pkcs8: &[u8]) -> Result<String, CredentialsError> {
    let der = PrivatePkcs8KeyDer::from(pkcs8);
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ED25519)?;
    Ok(pair.serialize_pem())
}

/// Creates a file that was not there, with its mode from the first moment, and syncs it.
fn write_file(dir: &Path, name: &str, mode: u32, bytes: &[u8]) -> Result<(), CredentialsError> {
    let path = dir.join(name);
    let result = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&path)
        .and_then(|mut file| {
            file.set_permissions(Permissions::from_mode(mode))?; // whatever the umask says
            file.write_all(bytes)?;
            file.sync_all()
        });
    result.map_err(|source| CredentialsError::Write { path, source })
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn an_empty_directory_gets_a_development_set_once() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("data/credentials");
        let (first, created) = Credentials::load_or_create(&dir).unwrap();
        assert!(created && first.is_development());
        let (second, created) = Credentials::load_or_create(&dir).unwrap();
        assert!(!created && second.is_development());
        assert_eq!(first.keys, second.keys);
        assert_eq!(first.ca, second.ca);

        let mut names: Vec<String> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names.join(" "),
            "admin.crt admin.key admin.logon ca.crt ca.key keys server.crt server.key trader.crt \
             trader.key trader.logon"
        );
        for name in names {
            let secret = name.ends_with(".key") || name.ends_with(".logon");
            let expected = if secret { PRIVATE } else { PUBLIC };
            assert_eq!(mode(&dir.join(&name)), expected, "{name}");
        }
        assert_eq!(fs::read_dir(dir.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn certificates_name_their_role_and_keys_their_certificate() {
        let temp = tempfile::tempdir().unwrap();
        let (credentials, _) = Credentials::load_or_create(temp.path()).unwrap();
        for (name, role) in [("trader", Role::Trade), ("admin", Role::Admin)] {
            let chain = certificates(&temp.path().join(format!("{name}.crt"))).unwrap();
            let subject = Subject::of(&chain[0]).unwrap();
            assert_eq!((subject.name.as_str(), subject.role), (name, Some(role)));
            let key = credentials.key(name).unwrap();
            assert_eq!((key.role, key.certificate.as_str()), (role, name));
            assert!(key.accounts.contains(&77) && key.sessions.contains(&"ANY".to_owned()));

            let pem = fs::read(temp.path().join(format!("{name}.logon"))).unwrap();
            let PrivateKeyDer::Pkcs8(der) = PrivateKeyDer::from_pem_slice(&pem).unwrap() else {
                panic!("a Logon key is PKCS #8");
            };
            let pair = Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
            assert_eq!(pair.public_key().as_ref(), key.public);
        }
        assert_eq!(credentials.key("nobody"), None);
    }

    fn check_refused(break_it: impl FnOnce(&Path), message: &str) {
        let temp = tempfile::tempdir().unwrap();
        Credentials::load_or_create(temp.path()).unwrap();
        break_it(temp.path());
        let error = Credentials::load_or_create(temp.path()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(message), "{text}");
        assert!(!text.contains('\n'), "one line: {text}");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        check_refused(
            |dir| fs::remove_file(dir.join("server.crt")).unwrap(),
            "server.crt: cannot be read",
        );
        check_refused(
            |dir| {
                fs::set_permissions(dir.join("server.key"), Permissions::from_mode(0o640)).unwrap();
            },
            "server.key: has mode 0640 and holds a secret",
        );
        check_refused(
            |dir| fs::write(dir.join("server.key"), "nothing").unwrap(),
            "server.key: holds no PEM private key",
        );
        check_refused(
            |dir| fs::write(dir.join("ca.crt"), "nothing").unwrap(),
            "ca.crt: holds no PEM certificate",
        );
        check_refused(
            |dir| fs::write(dir.join("keys"), "\na trade a * 1,x 00\n").unwrap(),
            "keys:2: the line has a malformed list of accounts",
        );
        check_refused(
            |dir| fs::write(dir.join("keys"), "a trade a * *\n").unwrap(),
            "keys:1: the line does not have the six columns",
        );
    }

    #[test]
    fn nothing_secret_is_formatted() {
        let temp = tempfile::tempdir().unwrap();
        let (credentials, _) = Credentials::load_or_create(temp.path()).unwrap();
        let shown = format!("{credentials:?} {:?}", credentials.key("trader"));
        let PrivateKeyDer::Pkcs8(der) = &credentials.server_key else {
            panic!("rcgen writes PKCS #8");
        };
        assert!(!shown.contains(&to_hex(der.secret_pkcs8_der())[..16]));
        assert!(!shown.contains("PRIVATE"));
    }
}
