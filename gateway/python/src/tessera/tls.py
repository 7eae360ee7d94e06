"""What the protocol needs of TLS and aioquic does not offer: keying material for the application.

RFC 8446, section 7.5: the exporter value is derived from the exporter master secret, which is derived from
the master secret and the handshake up to the server's Finished. aioquic keeps the master secret and a
running hash of the handshake in `tls.Context.key_schedule`, but nothing that exports, so the secret is
taken at the one moment when both are right: a client's TLS engine announces the key with which it will read
application data after it has hashed the server's Finished and before it hashes anything of its own.

`aioquic` is pinned to the patch because of this module; that a server accepts a Logon proves it right, and
`tests/test_exporter.py` checks the derivation against the vectors of RFC 8448.
"""

from __future__ import annotations

from aioquic import tls
from aioquic.quic.connection import QuicConnection
from cryptography.hazmat.primitives import hashes, hmac

from tessera.errors import ConnectError


class ExportingConnection(QuicConnection):
    """A QUIC connection of a client that can export keying material."""

    _exporter_master: bytes | None = None
    _exporter_hash: hashes.HashAlgorithm | None = None

    def _update_traffic_key(
        self, direction: tls.Direction, epoch: tls.Epoch, cipher_suite: tls.CipherSuite, secret: bytes
    ) -> None:
        if direction is tls.Direction.DECRYPT and epoch is tls.Epoch.ONE_RTT:
            schedule = self.tls.key_schedule
            assert schedule is not None, "keys are announced by the schedule that made them"
            self._exporter_hash = schedule.algorithm
            self._exporter_master = schedule.derive_secret(b"exp master")
        super()._update_traffic_key(direction, epoch, cipher_suite, secret)

    def export_keying_material(self, label: bytes, context: bytes, length: int) -> bytes:
        """`length` bytes that both ends of this TLS connection, and nobody else, can compute.

        Raises:
            ConnectError: the handshake is not complete.
        """
        if self._exporter_master is None or self._exporter_hash is None:
            raise ConnectError("keying material can be exported after the handshake, not before")
        return export(self._exporter_hash, self._exporter_master, label, context, length)


def export(
    algorithm: hashes.HashAlgorithm, master: bytes, label: bytes, context: bytes, length: int
) -> bytes:
    """TLS-Exporter of RFC 8446, section 7.5, from the exporter master secret."""
    secret = expand_label(algorithm, master, label, _digest(algorithm, b""), algorithm.digest_size)
    return expand_label(algorithm, secret, b"exporter", _digest(algorithm, context), length)


def expand_label(
    algorithm: hashes.HashAlgorithm, secret: bytes, label: bytes, context: bytes, length: int
) -> bytes:
    """HKDF-Expand-Label of RFC 8446, section 7.1."""
    full = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(full)]) + full + bytes([len(context)]) + context
    out = block = b""
    counter = 1
    while len(out) < length:
        mac = hmac.HMAC(secret, algorithm)
        mac.update(block + info + bytes([counter]))
        block = mac.finalize()
        out += block
        counter += 1
    return out[:length]


def _digest(algorithm: hashes.HashAlgorithm, data: bytes) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()
