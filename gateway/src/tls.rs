//! TLS and QUIC settings of the server, fixed in code.
//!
//! The protocol gives different limits to order entry and to market data. quinn takes one
//! transport configuration per endpoint, before the ALPN of a connection is known, so the endpoint
//! starts every connection with the tighter set, order entry's, and `widen` raises what
//! may be raised on a connection once its protocol is known: quinn can change stream limits and
//! windows of a live connection. A second endpoint would need a second port for no gain.
//!
//! The idle timeout is the one setting that cannot follow: QUIC fixes it in the handshake, before the
//! Logon says the heartbeat interval. It is three times the longest interval, and the session's own
//! timers, which are shorter, close silent connections.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn::{IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use tessera_proto::Protocol;
use thiserror::Error;

use crate::credentials::{Credentials, Role};

/// Whether a client with this role may speak this protocol.
pub(crate) const fn admits(protocol: Protocol, role: Role) -> bool {
    match protocol {
        Protocol::OrderEntry => matches!(role, Role::Trade),
        Protocol::MarketData => true,
        Protocol::Admin => matches!(role, Role::Admin),
    }
}

/// Raises the limits of a connection from the endpoint's to this protocol's.
pub(crate) fn widen(protocol: Protocol, connection: &quinn::Connection) {
    match protocol {
        Protocol::OrderEntry | Protocol::Admin => {}
        Protocol::MarketData => connection.set_send_window(MARKET_DATA_SEND_WINDOW),
    }
}

/// Why the TLS configuration cannot be made from the credentials.
#[derive(Debug, Error)]
pub enum TlsError {
    /// rustls refuses the certificates or the key.
    #[error(
        "the server's certificate or key is not usable: {0}; `server.crt`, `server.key` and `ca.crt` \
         must belong together"
    )]
    Certificate(#[from] rustls::Error),
    /// The authority's certificate cannot verify clients.
    #[error("`ca.crt` cannot verify clients: {0}; it must be the certificate of an authority")]
    Authority(#[from] VerifierBuilderError),
    /// The crypto provider lacks what QUIC needs.
    #[error("the crypto provider has no cipher suite for QUIC: {0}")]
    Cipher(#[from] NoInitialCipherSuite),
}

/// rustls as we want it: TLS 1.3 only, a client certificate of our authority or no connection, no
/// early data, and no session tickets, so that every connection shows its certificate anew.
pub(crate) fn rustls_config(credentials: &Credentials) -> Result<rustls::ServerConfig, TlsError> {
    // Passed explicitly: a process-wide default would depend on which package was linked first.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(credentials.ca.clone())?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            credentials.server_chain.clone(),
            credentials.server_key.clone_key(),
        )?;
    config.alpn_protocols = Protocol::ALL
        .iter()
        .map(|protocol| protocol.alpn().as_bytes().to_vec())
        .collect();
    // A replayed first flight would be a second order.
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// The whole server configuration of an endpoint.
pub(crate) fn server_config(credentials: &Credentials) -> Result<ServerConfig, TlsError> {
    let crypto = QuicServerConfig::try_from(rustls_config(credentials)?)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(transport_config()))
        .migration(false) // a path change on an order connection is an attack or a broken network
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(INCOMING_BUFFER)
        .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL);
    Ok(config)
}

/// Order entry's limits, the tighter set: they bound what one peer can make us keep.
pub(crate) fn transport_config() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1)) // S0
        .max_concurrent_uni_streams(VarInt::from_u32(2)) // S1, and one to spare
        .stream_receive_window(VarInt::from_u32(64 * 1024))
        .receive_window(VarInt::from_u32(256 * 1024))
        .send_window(1024 * 1024)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(
            3 * LONGEST_HEARTBEAT_MS,
        ))))
        .keep_alive_interval(None) // liveness is the application's: a hung peer must not look alive
        .send_fairness(false) // strict stream priorities
        .datagram_receive_buffer_size(None) // datagrams from clients are not offered
        .datagram_send_buffer_size(256 * 1024)
        .initial_rtt(Duration::from_millis(10));
    transport
}

const LONGEST_HEARTBEAT_MS: u32 = 60_000;
const MARKET_DATA_SEND_WINDOW: u64 = 4 * 1024 * 1024;
const MAX_INCOMING: usize = 1_024;
const INCOMING_BUFFER: u64 = 16 * 1024;
const INCOMING_BUFFER_TOTAL: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        let temp = tempfile::tempdir().unwrap();
        Credentials::load_or_create(temp.path()).unwrap().0
    }

    #[test]
    fn early_data_and_tickets_are_off() {
        let config = rustls_config(&credentials()).unwrap();
        assert_eq!(config.max_early_data_size, 0);
        assert_eq!(config.send_tls13_tickets, 0);
        assert!(!config.session_storage.can_cache());
        assert!(!config.send_half_rtt_data);
    }

    #[test]
    fn only_our_protocols_are_offered_and_each_to_its_roles() {
        let config = rustls_config(&credentials()).unwrap();
        let names: Vec<&str> = config
            .alpn_protocols
            .iter()
            .map(|name| std::str::from_utf8(name).unwrap())
            .collect();
        assert_eq!(names, ["txp-oe/1", "txp-md/1", "txp-admin/1"]);
        for (protocol, trade, admin) in [
            (Protocol::OrderEntry, true, false),
            (Protocol::MarketData, true, true),
            (Protocol::Admin, false, true),
        ] {
            assert_eq!(admits(protocol, Role::Trade), trade, "{protocol:?}");
            assert_eq!(admits(protocol, Role::Admin), admin, "{protocol:?}");
        }
    }

    /// quinn has no getters, but formats every field; limits that a peer can feel are also tested
    /// through sockets in `tests/bad_input.rs`.
    #[test]
    fn transport_limits_are_those_of_the_protocol() {
        let text = format!("{:?}", transport_config());
        for field in [
            "max_concurrent_bidi_streams: 1,",
            "max_concurrent_uni_streams: 2,",
            "max_idle_timeout: Some(180000),",
            "stream_receive_window: 65536,",
            "receive_window: 262144,",
            "send_window: 1048576,",
            "send_fairness: false,",
            "keep_alive_interval: None,",
            "initial_rtt: 10ms,",
            "datagram_receive_buffer_size: None,",
            "datagram_send_buffer_size: 262144,",
            "enable_segmentation_offload: true,",
        ] {
            assert!(text.contains(field), "{field} is not in {text}");
        }
    }

    #[test]
    fn paths_do_not_migrate_and_half_open_connections_are_bounded() {
        let text = format!("{:?}", server_config(&credentials()).unwrap());
        for field in [
            "migration: false",
            "max_incoming: 1024",
            "incoming_buffer_size: 16384",
            "incoming_buffer_size_total: 4194304",
        ] {
            assert!(text.contains(field), "{field} is not in {text}");
        }
    }
}
