//! The UDP socket of a shard.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use thiserror::Error;

/// Why an address cannot be listened on.
#[derive(Debug, Error)]
#[error(
    "cannot listen on udp {addr}: {source}; choose another --listen address, or stop the \
    program that has it"
)]
pub struct BindError {
    /// The address.
    pub addr: SocketAddr,
    /// Why.
    pub source: io::Error,
}

/// A bound socket. With `reuse_port` several shards may bind the same address, and the kernel keeps
/// each peer with one of them, by a hash of both addresses; connections do not migrate, so it stays.
pub(crate) fn bind(addr: SocketAddr, reuse_port: bool) -> Result<UdpSocket, BindError> {
    try_bind(addr, reuse_port).map_err(|source| BindError { addr, source })
}

fn try_bind(addr: SocketAddr, reuse_port: bool) -> io::Result<UdpSocket> {
    let family = match addr {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = rustix::net::socket_with(
        family,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    if reuse_port {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    // Larger buffers than the default hold the packets of one scheduling gap. The kernel caps them
    // at its own limit, and a smaller one still works.
    let _ = sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER);
    let _ = sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER);
    rustix::net::bind(&socket, &addr)?;
    Ok(UdpSocket::from(socket))
}

const SOCKET_BUFFER: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_is_one_clear_line_unless_it_is_shared_on_purpose() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = bind(any, false).unwrap();
        let taken = first.local_addr().unwrap();
        let text = bind(taken, false).unwrap_err().to_string();
        assert!(
            text.starts_with(&format!("cannot listen on udp {taken}: ")),
            "{text}"
        );
        assert!(!text.contains('\n'));

        let shared = bind(any, true).unwrap().local_addr();
        let first = bind(shared.unwrap(), true).unwrap();
        bind(first.local_addr().unwrap(), true).unwrap();
    }
}
