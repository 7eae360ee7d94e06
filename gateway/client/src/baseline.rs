//! A bare echo over quinn, to measure an exchange against: the same library, cipher suites and shape
//! of traffic (one connection, one long-lived stream, one write per batch), and nothing behind it.
//!
//! No session, no framing, no engine, no disk. What an order takes beyond this is Tessera's own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig, VarInt};
use rustls::RootCertStore;
use rustls_pki_types::PrivatePkcs8KeyDer;
use thiserror::Error;

/// An echo server on loopback in a thread of its own, and the stream to it.
#[derive(Debug)]
pub struct Echo {
    sender: EchoSender,
    receiver: EchoReceiver,
    connection: Connection,
    server: JoinHandle<()>,
    /// Keeps the client's socket open.
    endpoint: Endpoint,
}

/// Writes to the echo.
#[derive(Debug)]
pub struct EchoSender(SendStream);

/// Reads what comes back.
#[derive(Debug)]
pub struct EchoReceiver {
    stream: RecvStream,
    buffers: [Bytes; 16],
}

/// Why the echo cannot be measured.
#[derive(Debug, Error)]
pub enum EchoError {
    /// Its certificate could not be made.
    #[error("the echo's certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// rustls refuses the settings.
    #[error("the echo's TLS settings are refused: {0}")]
    Tls(#[from] rustls::Error),
    /// The crypto provider lacks what QUIC needs.
    #[error("the crypto provider has no cipher suite for QUIC; this is a fault of the build")]
    Cipher(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
    /// No socket or no thread.
    #[error("the echo could not be started: {0}")]
    Io(#[from] io::Error),
    /// The connection was not made.
    #[error("no connection to the echo: {0}")]
    Connect(#[from] quinn::ConnectError),
    /// The connection is gone.
    #[error("the connection to the echo is lost: {0}")]
    Lost(#[from] quinn::ConnectionError),
    /// The stream is gone.
    #[error("the stream to the echo is lost: {0}")]
    Write(#[from] quinn::WriteError),
    /// The stream is gone.
    #[error("the stream from the echo is lost: {0}")]
    Read(#[from] quinn::ReadError),
}

impl Echo {
    /// Starts the server and connects to it.
    ///
    /// # Errors
    /// [`EchoError`] when there is no socket, thread or connection.
    pub async fn start() -> Result<Self, EchoError> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let params = rcgen::CertificateParams::new(vec![NAME.to_owned()])?;
        let certificate = params.self_signed(&key)?.der().clone();
        let provider = Arc::new(rustls::crypto::ring::default_provider());

        let private = PrivatePkcs8KeyDer::from(key.serialize_der());
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], private.into())?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let server_config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));

        let mut roots = RootCertStore::empty();
        roots.add(certificate)?;
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let client_config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));

        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = socket.local_addr()?;
        let server = std::thread::Builder::new()
            .name("echo".to_owned())
            .spawn(move || serve(socket, server_config))?;

        let endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let connection = endpoint.connect_with(client_config, addr, NAME)?.await?;
        let (send, stream) = connection.open_bi().await?;
        Ok(Self {
            sender: EchoSender(send),
            receiver: EchoReceiver {
                stream,
                buffers: Default::default(),
            },
            connection,
            server,
            endpoint,
        })
    }

    /// Both directions, for a caller who sends while it waits.
    pub fn split(&mut self) -> (&mut EchoSender, &mut EchoReceiver) {
        (&mut self.sender, &mut self.receiver)
    }

    /// Closes the connection and waits for the server's thread.
    pub async fn stop(self) {
        self.connection.close(VarInt::from_u32(0), b"");
        self.endpoint.wait_idle().await;
        let _ = self.server.join(); // it says nothing, and it cannot matter any more
    }
}

impl EchoSender {
    /// Sends bytes; they count as sent when quinn has taken them.
    ///
    /// # Errors
    /// [`EchoError`] when the connection is gone.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), EchoError> {
        Ok(self.0.write_all(bytes).await?)
    }
}

impl EchoReceiver {
    /// Waits for bytes and gives their number; 0 when the server has closed. Cancel safe.
    ///
    /// # Errors
    /// [`EchoError`] when the connection is gone.
    pub async fn receive(&mut self) -> Result<usize, EchoError> {
        let chunks = self.stream.read_chunks(&mut self.buffers).await?;
        let filled = &mut self.buffers[..chunks.unwrap_or(0)];
        Ok(filled
            .iter_mut()
            .map(|chunk| std::mem::take(chunk).len())
            .sum())
    }
}

/// Serves one connection and ends with it.
fn serve(socket: std::net::UdpSocket, config: ServerConfig) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return; // the client's connect then times out and says so
    };
    let _ = runtime.block_on(async {
        let endpoint = Endpoint::new(
            quinn::EndpointConfig::default(),
            Some(config),
            socket,
            Arc::new(quinn::TokioRuntime),
        )?;
        if let Some(incoming) = endpoint.accept().await {
            let connection = incoming.await?;
            let (mut send, mut receive) = connection.accept_bi().await?;
            let mut buffers: [Bytes; 16] = Default::default();
            while let Some(count) = receive.read_chunks(&mut buffers).await? {
                send.write_all_chunks(&mut buffers[..count]).await?;
            }
        }
        Ok::<(), EchoError>(())
    });
}

const NAME: &str = "localhost";
const ALPN: &[u8] = b"echo";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_comes_back() {
        let mut echo = Echo::start().await.unwrap();
        let (sender, receiver) = echo.split();
        for size in [1, 87, 50_000] {
            sender.send(&vec![7; size]).await.unwrap();
            let mut back = 0;
            while back < size {
                back += receiver.receive().await.unwrap();
            }
            assert_eq!(back, size);
        }
        echo.stop().await;
    }
}
