"""The derivation of exported keying material, against RFC 8448 and against a second implementation."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tessera.tls import expand_label, export


def test_the_exporter_master_secret_of_rfc_8448() -> None:
    # Section 3, "simple 1-RTT handshake": master secret, hash of the handshake, exporter master secret.
    master = bytes.fromhex("18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919")
    handshake = bytes.fromhex("9608102a0f1ccc6db6250b7b7e417b1a000eaada3daae4777a7686c9ff83df13")
    assert expand_label(hashes.SHA256(), master, b"exp master", handshake, 32) == bytes.fromhex(
        "fe22f881176eda18eb8f44529e6792c50c9a3f89452f68d8ae311b4309d3cf50"
    )


def test_export_is_two_expansions_also_beyond_one_block() -> None:
    for algorithm in (hashes.SHA256(), hashes.SHA384()):
        master = bytes(range(algorithm.digest_size))

        def step(secret: bytes, label: bytes, data: bytes, length: int, by: hashes.HashAlgorithm) -> bytes:
            digest = hashes.Hash(by)
            digest.update(data)
            name = b"tls13 " + label
            info = length.to_bytes(2, "big") + bytes([len(name)]) + name
            info += bytes([by.digest_size]) + digest.finalize()
            return HKDFExpand(by, length, info).derive(secret)

        secret = step(master, b"EXPORTER-tessera-logon", b"", algorithm.digest_size, algorithm)
        for length in (16, 32, 100):
            expected = step(secret, b"exporter", b"some context", length, algorithm)
            assert export(algorithm, master, b"EXPORTER-tessera-logon", b"some context", length) == expected
