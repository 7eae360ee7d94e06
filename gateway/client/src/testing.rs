//! Credentials for tests.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};

use crate::credentials::Credentials;

/// Writes a directory that [`Credentials::load`] takes: a self-signed certificate serves as its own
/// authority here.
pub(crate) fn write_credentials(dir: &Path) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let logon = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    for (name, mode, text) in [
        ("ca.crt", 0o644, certificate.pem()),
        ("trader.crt", 0o644, certificate.pem()),
        ("trader.key", 0o600, key.serialize_pem()),
        ("trader.logon", 0o600, logon.serialize_pem()),
    ] {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
}

pub(crate) fn credentials() -> Credentials {
    let dir = tempfile::tempdir().unwrap();
    write_credentials(dir.path());
    Credentials::load(dir.path(), "trader").unwrap()
}
