"""A venue's authority of one's own: certificates and keys as a server and its clients need them.

A server with the development set that it makes itself has no rate limits; with this one it has.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    """Who signs certificates."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, name: x509.Name) -> None:
        self.key = key
        self.name = name

    @classmethod
    def of(cls, credentials: Path) -> Authority:
        """The one that a server made for itself."""
        key = load_pem_private_key((credentials / "ca.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(key, x509.load_pem_x509_certificate((credentials / "ca.crt").read_bytes()).subject)

    def sign(self, file: Path, subject: x509.Name, *, server: bool = False, expired: bool = False) -> None:
        """Writes FILE.crt and FILE.key, a client's certificate or a server's."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 9 * DAY)
            .not_valid_after(now - DAY if expired else now + DAY)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if server:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        file.with_suffix(".crt").write_bytes(certificate.public_bytes(Encoding.PEM))
        write_key(file.with_suffix(".key"), key)


def client_name(name: str, role: str) -> x509.Name:
    """The subject of a client's certificate."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role),
        ]
    )


def write_key(file: Path, key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> None:
    """Writes a key that nobody else may read."""
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    os.chmod(file, 0o600)


def found_venue(credentials: Path) -> None:
    """Fills an empty credentials directory: an authority, a server and a trader."""
    credentials.mkdir(parents=True)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority of a test")])
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (credentials / "ca.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    authority = Authority(key, name)
    authority.sign(
        credentials / "server",
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A server of a test")]),
        server=True,
    )
    authority.sign(credentials / "trader", client_name("trader", "trade"))
    logon = Ed25519PrivateKey.generate()
    write_key(credentials / "trader.logon", logon)
    public = logon.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    (credentials / "keys").write_text(f"trader trade trader * * {public}\n")
