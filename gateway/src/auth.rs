//! Who may log on: certificate, key, names and signature together, and a pause for those who guess.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use ring::signature::{ED25519, UnparsedPublicKey};
use tessera_proto::auth::{EXPORTER_LABEL, EXPORTER_LEN, logon_signing_bytes};
use tessera_proto::message::Logon;
use tessera_proto::{Monotime, Protocol};

use crate::credentials::{Credentials, LogonKey, Subject};
use crate::tls::admits;

/// The venue's name, which a Logon must address.
pub(crate) const VENUE: &str = "TESSERA";

/// The key of a Logon that proves itself. The peer learns only that it failed; `Err` is for the log.
pub(crate) fn verify<'a>(
    credentials: &'a Credentials,
    protocol: Protocol,
    subject: Option<&Subject>,
    connection: &quinn::Connection,
    logon: &Logon,
) -> Result<&'a LogonKey, &'static str> {
    let subject = subject.ok_or("the certificate has no common name")?;
    let key = credentials
        .key(logon.username.as_str())
        .ok_or("no such key")?;
    if key.certificate != subject.name {
        return Err("the key belongs to another certificate");
    }
    if subject.role != Some(key.role) || !admits(protocol, key.role) {
        return Err("the role may not speak this protocol");
    }
    if logon.target.as_str() != VENUE {
        return Err("the target is not this venue");
    }
    let sender = logon.sender.as_str();
    if sender.is_empty() || !key.sessions.contains(&sender.to_owned()) {
        return Err("the session is not one of the key");
    }
    let mut exporter = [0; EXPORTER_LEN];
    connection
        .export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
        .map_err(|_| "the exporter gave no value")?;
    let bytes = logon_signing_bytes(protocol, logon, &exporter);
    UnparsedPublicKey::new(&ED25519, key.public)
        .verify(&bytes, &logon.signature)
        .map_err(|_| "the signature is wrong")?;
    Ok(key)
}

/// Remembers failed Logons: five within a minute from one address with one key name, and that pair
/// is refused for a minute, right or wrong.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    failures: VecDeque<Failure>,
}

#[derive(Debug)]
struct Failure {
    address: IpAddr,
    key: [u8; 16],
    at: Monotime,
}

impl Guard {
    /// Whether the pair is blocked at the moment.
    pub(crate) fn blocks(&mut self, address: IpAddr, key: &[u8; 16], now: Monotime) -> bool {
        while self
            .failures
            .front()
            .is_some_and(|failure| now.since(failure.at) > WINDOW)
        {
            self.failures.pop_front();
        }
        self.failures
            .iter()
            .filter(|failure| failure.address == address && failure.key == *key)
            .count()
            >= MAX_FAILURES
    }

    /// Notes a failure. The oldest is forgotten when there are very many: the bound is on our memory,
    /// and a flood from everywhere is for the network to stop.
    pub(crate) fn failed(&mut self, address: IpAddr, key: [u8; 16], now: Monotime) {
        if self.failures.len() == MAX_REMEMBERED {
            self.failures.pop_front();
        }
        let at = now;
        self.failures.push_back(Failure { address, key, at });
    }
}

const WINDOW: Duration = Duration::from_secs(60);
const MAX_FAILURES: usize = 5;
const MAX_REMEMBERED: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_within_a_minute_block_the_pair_and_nobody_else() {
        let at = |seconds: u64| Monotime::from_nanos(seconds * 1_000_000_000);
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let (key, other) = ([1; 16], [2; 16]);
        let mut guard = Guard::default();
        for second in 0..5 {
            assert!(!guard.blocks(here, &key, at(second)));
            guard.failed(here, key, at(second));
        }
        assert!(guard.blocks(here, &key, at(5)));
        assert!(!guard.blocks(there, &key, at(5)));
        assert!(!guard.blocks(here, &other, at(5)));
        assert!(guard.blocks(here, &key, at(60)));
        assert!(!guard.blocks(here, &key, at(61)));
    }

    #[test]
    fn a_flood_does_not_grow_without_bound() {
        let mut guard = Guard::default();
        for index in 0..10_000_u32 {
            let address = IpAddr::from(index.to_be_bytes());
            guard.failed(address, [0; 16], Monotime::from_nanos(0));
        }
        assert_eq!(guard.failures.len(), MAX_REMEMBERED);
    }
}
