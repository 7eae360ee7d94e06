//! TLS and QUIC settings of a client, fixed in code.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, IdleTimeout, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::client::Resumption;
use tessera_proto::Protocol;

use crate::credentials::Credentials;
use crate::error::ConnectError;

/// rustls as we want it: TLS 1.3 only, our certificate shown, the venue's authority trusted and no
/// other, no early data and nothing kept for resumption. Early data can be replayed by whoever
/// recorded it, and a replayed order is a second order.
pub(crate) fn rustls_config(
    credentials: &Credentials,
    protocol: Protocol,
) -> Result<rustls::ClientConfig, ConnectError> {
    // Passed explicitly: a process-wide default would depend on which package was linked first.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(credentials.authority.clone())?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = vec![protocol.alpn().as_bytes().to_vec()];
    config.enable_early_data = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The configuration of one connection.
pub(crate) fn client_config(
    credentials: &Credentials,
    protocol: Protocol,
    heartbeat: Duration,
) -> Result<ClientConfig, ConnectError> {
    let crypto = QuicClientConfig::try_from(rustls_config(credentials, protocol)?)
        .map_err(|_| ConnectError::Cipher)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport_config(protocol, heartbeat)));
    Ok(config)
}

fn transport_config(protocol: Protocol, heartbeat: Duration) -> TransportConfig {
    let window: u32 = match protocol {
        Protocol::MarketData => 8 * 1024 * 1024,
        Protocol::OrderEntry | Protocol::Admin => 1024 * 1024,
    };
    let idle = u32::try_from(3 * heartbeat.as_millis()).unwrap_or(u32::MAX);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0)) // the server opens none
        .max_concurrent_uni_streams(VarInt::from_u32(64))
        .stream_receive_window(VarInt::from_u32(window))
        .receive_window(VarInt::from_u32(2 * window))
        .send_window(1024 * 1024)
        // The session's own timers are shorter and say why; this one is the last resort.
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle.max(3_000)))))
        .keep_alive_interval(None)
        .send_fairness(false)
        .datagram_receive_buffer_size(None)
        .initial_rtt(Duration::from_millis(10));
    transport
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::credentials;

    #[test]
    fn early_data_and_resumption_are_off() {
        for protocol in Protocol::ALL {
            let config = rustls_config(&credentials(), protocol).unwrap();
            assert!(!config.enable_early_data);
            assert!(format!("{:?}", config.resumption).contains("Disabled"));
            assert_eq!(config.alpn_protocols, [protocol.alpn().as_bytes()]);
        }
    }

    /// quinn has no getters, but formats every field.
    #[test]
    fn the_server_may_open_no_bidirectional_stream_and_send_no_datagram() {
        let text = format!(
            "{:?}",
            transport_config(Protocol::OrderEntry, Duration::from_secs(1))
        );
        for field in [
            "max_concurrent_bidi_streams: 0,",
            "max_idle_timeout: Some(3000),",
            "keep_alive_interval: None,",
            "send_fairness: false,",
            "datagram_receive_buffer_size: None,",
        ] {
            assert!(text.contains(field), "{field} is not in {text}");
        }
    }
}
